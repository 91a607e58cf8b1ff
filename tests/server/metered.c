/* metered.c - the meter of a simulated sensor, the metering on it, and what it says. */
#include "tests/server/metered.h"

#include "lib/platform/platform.h"
#include "tests/base/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_NS ((int64_t)300 * JL_NS_PER_S)

void open_metering_on(struct metered_server *s, const char *sim, const struct metering_options *what)
{
    struct joulet_options o = JOULET_OPTIONS_INIT;
    struct metering_options m = *what;
    struct joulet_error err;
    *s = (struct metered_server){0};
    o.sim = sim;
    o.sensors = "sim";
    o.calibration = "";
    assert_int_equal(joulet_open(&s->meter, &o, &err), JOULET_OK);
    assert_int_equal(joulet_wait_ready(s->meter, 10, &err), JOULET_OK);
    m.meter = s->meter;
    assert_int_equal(metering_open(&s->metering, &m, &err), JOULET_OK);
}

void open_metering(struct metered_server *s, const char *sim)
{
    open_metering_on(s, sim, &(struct metering_options){.n_channels = 1, .devices = 1});
}

void close_metering(struct metered_server *s)
{
    server_close(s->server);
    if (metering_close(s->metering))
        joulet_close(s->meter);
}

json_t *get(const struct server *s, const char *target, int status)
{
    struct answer a;
    char *request = jl_strf("GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", target);
    ask(s, request, &a);
    assert_int_equal(a.status, status);
    json_t *root = json_loads(a.body, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    answer_release(&a);
    free(request);
    return root;
}

double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    assert_non_null(v);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

/* Once everything is final and nothing waits. */
json_t *settled(const struct server *s, double n)
{
    for (int64_t until = jl_mono_ns() + PATIENCE_NS; jl_mono_ns() < until; jl_sleep_until(jl_mono_ns() + 50000000)) {
        json_t *all = get(s, "/joulet/energy", 200);
        if (number(all, "final") == n && number(all, "running") == 0)
            return all;
        json_decref(all);
    }
    fail_msg("requests do not become final");
    return NULL;
}

void assert_conserved(const json_t *accounts)
{
    double sum = number(accounts, "requests_j") + number(accounts, "idle_shares_j") + number(accounts, "vacant_j") +
                 number(accounts, "other_j") + number(accounts, "residual_j") + number(accounts, "idle_device_j");
    if (!isnan(number(accounts, "keep_alive_j")))
        sum += number(accounts, "keep_alive_j");
    assert_near(sum, number(accounts, "measured_j"), 1e-6 * fmax(1, number(accounts, "measured_j")));
}

char *post(const char *path, const char *body)
{
    return jl_strf("POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", path,
                   strlen(body), body);
}

void *ask_one(void *arg)
{
    struct asker *x = arg;
    struct answer a;
    ask(x->server, x->request, &a);
    answer_release(&a);
    return NULL;
}
