/* test_usage.c - sums of what passed the proxy: no line is negative whatever is provisional, phases add up, what waits to be
 * stored counts once; and trees of calls whose parents go in circles, name themselves or stand deeper than anybody looks. */
#include "report/internal.h"
#include "report/usage.h"
#include "tests/store/scratch_store.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define QUARTER(i) ((int64_t)(i)*STORE_QUARTER_NS)
#define CALLS      3000

static struct run factors;

static struct joulet_energy energy(double net_j, double gross_j)
{
    struct joulet_energy e = JOULET_ENERGY_UNKNOWN;
    e.net_j = net_j;
    e.gross_j = gross_j;
    e.net_pm_j = e.gross_pm_j = isnan(gross_j) ? NAN : 0.2;
    e.u.b = isnan(gross_j) ? 0 : 0.1;
    e.provenance = JOULET_SIMULATED;
    return e;
}

static struct store_proxied request(const char *id, const char *session, const char *parent)
{
    return (struct store_proxied){.id = id,
                                  .proxy = "p1",
                                  .wall_ns = QUARTER(8) + 1000000000,
                                  .end_wall_ns = QUARTER(8) + 2000000000,
                                  .model = "m",
                                  .kind = "inference",
                                  .client = "tag:a",
                                  .session = session,
                                  .parent = parent,
                                  .state = "done",
                                  .final = true,
                                  .tokens = {10, -1, 5, -1},
                                  .duration_s = 1,
                                  .prefill_s = NAN,
                                  .decode_s = NAN,
                                  .devices = "sim0.cpu",
                                  .energy = energy(3, 4),
                                  .prefill = energy(1, 1.5),
                                  .decode = energy(2, 2.5),
                                  .body = "{}"};
}

static void put(struct store *s, const struct store_proxied *q, size_t n, const struct store_account *a, size_t n_a)
{
    struct joulet_error err;
    struct store_batch b = {.requests = q, .n_requests = n, .accounts = a, .n_accounts = n_a};
    if (store_put_proxied(s, &b, &err) != JOULET_OK)
        fail_msg("%s", err.message);
}

static struct store_account account(double requests_j)
{
    return (struct store_account){
        .proxy = "p1",
        .device = "sim0.cpu",
        .from_wall_ns = QUARTER(8),
        .to_wall_ns = QUARTER(8) + 3000000000,
        .j = {.measured_j = requests_j + 7, .requests_j = requests_j, .vacant_j = 4, .keep_alive_j = 1, .idle_device_j = 2},
        .idle = {.power_w = 2, .u_w = 0.1}};
}

static const struct usage_wanted all = {.by = {USAGE_MODEL}, .n_by = 1, .factors = &factors};

static void must_add_up(const struct usage *u)
{
    const struct usage_line *const lines[] = {&u->listed, &u->unlisted, &u->vacant,     &u->keep_alive,
                                              &u->other,  &u->residual, &u->idle_device};
    double sum_j = 0;
    for (size_t i = 0; i < JL_COUNT(lines); i++) {
        assert_true(lines[i]->j >= 0);
        sum_j += lines[i]->j;
    }
    assert_true(fabs(sum_j - u->measured.j) < 1e-9);
    double rows_j = isnan(u->total.energy.gross_j) ? 0 : u->total.energy.gross_j;
    assert_true(fabs(u->listed.j + u->beyond.j - rows_j) < 1e-9);
}

/* Rows by themselves are 8 J; the accounts know of as much, of less, and of more. */
static void no_line_is_negative(void **state)
{
    static const struct {
        double requests_j, listed_j, beyond_j, unlisted_j;
    } rows[] = {{8, 8, 0, 0}, {3, 3, 5, 0}, {11, 8, 0, 3}, {0, 0, 8, 0}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct usage u;
        struct joulet_error err;
        fresh(NULL);
        struct store *s = opened();
        struct store_proxied q[] = {request("a", NULL, NULL), request("b", NULL, NULL)};
        struct store_account a = account(rows[i].requests_j);
        q[1].final = false;
        put(s, q, 2, &a, 1);
        assert_int_equal(usage_read(&u, s, &all, &err), JOULET_OK);
        must_add_up(&u);
        assert_true(fabs(u.listed.j - rows[i].listed_j) < 1e-9 && fabs(u.beyond.j - rows[i].beyond_j) < 1e-9 &&
                    fabs(u.unlisted.j - rows[i].unlisted_j) < 1e-9);
        struct jl_buf out;
        jl_buf_init(&out, 1 << 20);
        usage_text(&out, &u, &(struct report_style){.width = 200});
        assert_true((strstr(out.data, "are in no account") != NULL) == (rows[i].beyond_j > 0));
        for (const char *p = out.data; (p = strchr(p, '-')); p++)
            assert_false(p[1] >= '0' && p[1] <= '9');
        jl_buf_release(&out);
        usage_release(&u);
        store_close(s);
    }
}

static void phases_are_summed(void **state)
{
    struct usage u;
    struct joulet_error err;
    struct store *s = opened();
    struct store_proxied q[] = {request("a", NULL, NULL), request("b", NULL, NULL), request("c", NULL, NULL),
                                request("d", NULL, NULL)};
    struct jl_buf out;
    (void)state;
    q[1].kind = "embeddings";
    q[1].prefill = q[1].energy;
    q[1].decode = energy(NAN, NAN);
    q[2].kind = "load";
    q[2].prefill = q[2].decode = energy(NAN, NAN);
    q[3].prefill = q[3].decode = energy(NAN, NAN);
    put(s, q, 4, NULL, 0);
    assert_int_equal(usage_read(&u, s, &all, &err), JOULET_OK);
    assert_true(u.total.prefill.gross_j == 5.5 && u.total.decode.gross_j == 2.5 && u.total.load.gross_j == 4);
    assert_true(u.total.prefill.net_j == 4 && u.total.without_phases == 1 && u.total.energy.gross_j == 16);
    assert_true(fabs(u.total.prefill.gross_pm_j - 2 * hypot(0.1, 0.1)) < 1e-6);
    jl_buf_init(&out, 1 << 20);
    usage_json(&out, &u);
    json_t *root = json_loads(out.data, JSON_REJECT_DUPLICATES, NULL), *total = json_object_get(root, "total"),
           *phases = json_object_get(total, "phases");
    assert_non_null(root);
    assert_true(json_number_value(json_object_get(json_object_get(phases, "prefill"), "gross_j")) == 5.5);
    assert_true(json_number_value(json_object_get(json_object_get(phases, "load"), "net_j")) == 3);
    assert_int_equal(json_integer_value(json_object_get(total, "without_phases")), 1);
    json_decref(root);
    jl_buf_clear(&out);
    usage_csv(&out, &u);
    assert_non_null(strstr(out.data, ",4,5.5,2.5,1\r\n"));
    jl_buf_clear(&out);
    usage_text(&out, &u, &(struct report_style){.width = 200});
    assert_non_null(strstr(out.data, "prefill"));
    assert_non_null(strstr(out.data, "loaded models"));
    assert_non_null(strstr(out.data, "of one request it is not known how much"));
    jl_buf_release(&out);
    usage_release(&u);
    store_close(s);
}

/* A request that waits is newer than its row, and one outside of the time counts neither way. */
static void what_waits_counts_once(void **state)
{
    struct usage u;
    struct joulet_error err;
    struct store *s = opened();
    struct store_proxied q[] = {request("a", NULL, NULL), request("b", NULL, NULL)}, waits = request("b", NULL, NULL),
                         new = request("c", NULL, NULL), late = request("d", NULL, NULL);
    struct store_account a = account(8), more = account(6);
    struct usage_wanted w = all;
    (void)state;
    q[1].final = false;
    waits.energy = energy(5, 6);
    late.wall_ns = QUARTER(9);
    w.until_ns = QUARTER(9);
    put(s, q, 2, &a, 1);
    assert_int_equal(usage_begin(&u, &w, &err), JOULET_OK);
    usage_add(&u, &waits);
    usage_add(&u, &new);
    usage_add(&u, &late);
    usage_add_account(&u, &more);
    assert_int_equal(usage_finish(&u, s, &err), JOULET_OK);
    assert_int_equal(u.total.requests, 3);
    assert_int_equal(u.total.provisional, 0);
    assert_true(u.total.energy.gross_j == 14 && u.n == 1 && u.measured.j == 28);
    must_add_up(&u);
    usage_release(&u);
    store_close(s);
}

/* ---- trees ---------------------------------------------------------------------------------------------------------------- */

static size_t calls_in(const json_t *call)
{
    size_t n = 1, i;
    json_t *below;
    json_array_foreach(json_object_get(call, "calls"), i, below) n += calls_in(below);
    return n;
}

struct counted {
    size_t calls, sessions;
    double gross_j; /* of the sessions at the top */
};

static void count_session(const json_t *session, struct counted *c)
{
    size_t i;
    json_t *x;
    c->sessions++;
    json_array_foreach(json_object_get(session, "calls"), i, x)
    {
        c->calls += calls_in(x);
    }
    json_array_foreach(json_object_get(session, "sessions"), i, x)
    {
        count_session(x, c);
    }
}

static struct counted tree_of(struct store *s)
{
    struct usage_tree *t;
    struct joulet_error err;
    struct counted c = {0};
    struct jl_buf out;
    size_t i;
    json_t *session;
    if (usage_tree_read(&t, s, &all, NULL, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    jl_buf_init(&out, 1 << 26);
    usage_tree_text(&out, t, &(struct report_style){.width = 100});
    assert_false(out.failed);
    jl_buf_clear(&out);
    usage_tree_json(&out, t);
    json_t *root = json_loads(out.data, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    json_array_foreach(json_object_get(root, "sessions"), i, session)
    {
        c.gross_j += json_number_value(json_object_get(session, "gross_j"));
        count_session(session, &c);
    }
    json_decref(root);
    jl_buf_release(&out);
    usage_tree_release(t);
    return c;
}

/* Each call is shown once and counted once, whatever its parents say. */
static void circles_are_cut(void **state)
{
    struct store *s = opened();
    const struct store_proxied q[] = {
        request("a", "s", "b"), request("b", "s", "a"), request("c", "s", "c"), request("d", "s", "e"),
        request("e", "s", "f"), request("f", "s", "d"), request("g", "x", "y"), request("h", "y", "z"),
        request("i", "z", "x"), request("j", "w", "w"), request("k", "v", "a"), request("l", "u", "nobody"),
        request("m", "s", "k"), request("n", "v", "m"),
    };
    (void)state;
    put(s, q, JL_COUNT(q), NULL, 0);
    struct counted c = tree_of(s);
    assert_int_equal(c.calls, JL_COUNT(q));
    assert_int_equal(c.sessions, 7);
    assert_true(fabs(c.gross_j - 4.0 * JL_COUNT(q)) < 1e-6);
    store_close(s);
}

/* Chains of calls and of sessions, built from above and from below. */
static void deep_chains_are_cut(void **state)
{
    static struct store_proxied q[CALLS];
    static char names[CALLS + 2][24];
    (void)state;
    for (int way = 0; way < 4; way++) {
        bool sessions = way & 1, upwards = way & 2;
        fresh(NULL);
        struct store *s = opened();
        for (int i = 0; i < CALLS + 2; i++)
            snprintf(names[i], sizeof names[i], "%s%05d", sessions ? "s" : "c", i);
        for (int i = 0; i < CALLS; i++) {
            static char ids[CALLS][24];
            snprintf(ids[i], sizeof ids[i], "%016x", i);
            const char *parent = upwards ? names[i + 2] : i ? names[i] : NULL;
            q[i] = sessions ? request(ids[i], names[i + 1], parent) : request(names[i + 1], "s", parent);
            q[i].wall_ns += i;
        }
        put(s, q, CALLS, NULL, 0);
        struct counted c = tree_of(s);
        assert_int_equal(c.calls, CALLS);
        assert_int_equal(c.sessions, sessions ? CALLS : 1);
        assert_true(fabs(c.gross_j - 4.0 * CALLS) < 1e-6);
        store_close(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(no_line_is_negative, fresh),    cmocka_unit_test_setup(phases_are_summed, fresh),
        cmocka_unit_test_setup(what_waits_counts_once, fresh), cmocka_unit_test_setup(circles_are_cut, fresh),
        cmocka_unit_test_setup(deep_chains_are_cut, fresh),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
