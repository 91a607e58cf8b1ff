/* What passed the proxy, in the store: whole rows, final ones over provisional ones, accounts that add up. */
#include "store/store.h"
#include "tests/store/scratch_store.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOUR_NS ((int64_t)3600 * 1000000000)

static struct store_proxied request(const char *id)
{
    return (struct store_proxied){.id = id,
                                  .proxy = "p1",
                                  .wall_ns = 5 * HOUR_NS,
                                  .end_wall_ns = 5 * HOUR_NS + 2000000000,
                                  .upstream = "http://127.0.0.1:8080",
                                  .model = "m",
                                  .protocol = "openai",
                                  .kind = "inference",
                                  .client = "tag:a",
                                  .session = "s",
                                  .parent = "p",
                                  .trace = "t",
                                  .state = "done",
                                  .failed = true,
                                  .final = true,
                                  .counted = true,
                                  .tokens = {11, 12, 13, -1},
                                  .duration_s = 2,
                                  .prefill_s = 0.5,
                                  .decode_s = NAN,
                                  .devices = "sim0.cpu",
                                  .energy = {.net_j = 3,
                                             .net_pm_j = 0.3,
                                             .gross_j = 4,
                                             .gross_pm_j = 0.2,
                                             .u = {.b = 0.06, .idle = 0.11, .spec = 0.08, .event = 0.03},
                                             .provenance = JOULET_SIMULATED},
                                  .prefill = {.net_j = 1,
                                              .net_pm_j = 0.3,
                                              .gross_j = 1.5,
                                              .gross_pm_j = 0.28,
                                              .u = {.b = 0.06, .idle = 0.0538516480713450, .spec = 0.12, .event = 0.04}},
                                  .decode = {.net_j = NAN, .gross_j = NAN},
                                  .body = "{\"id\":1}"};
}

static void put(struct store *s, const struct store_proxied *q, size_t n)
{
    struct joulet_error err;
    struct store_batch b = {.requests = q, .n_requests = n};
    if (store_put_proxied(s, &b, &err) != JOULET_OK)
        fail_msg("%s", err.message);
}

struct seen {
    size_t n, stop_at;
    char ids[256];
    double net_j, gross_pm_j;
    bool final;
};

static bool see(void *user, const struct store_proxied *q)
{
    struct seen *x = user;
    snprintf(x->ids + strlen(x->ids), sizeof x->ids - strlen(x->ids), "%s%s", x->n ? " " : "", q->id);
    x->net_j = q->energy.net_j;
    x->gross_pm_j = q->energy.gross_pm_j;
    x->final = q->final;
    return ++x->n != x->stop_at;
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool is_as_put(void *user, const struct store_proxied *q)
{
    struct store_proxied w = request("one");
    *(bool *)user = same_text(q->id, w.id) && same_text(q->proxy, w.proxy) && q->wall_ns == w.wall_ns &&
                    q->end_wall_ns == w.end_wall_ns && q->written_wall_ns > 0 && same_text(q->upstream, w.upstream) &&
                    same_text(q->model, w.model) && same_text(q->protocol, w.protocol) && same_text(q->kind, w.kind) &&
                    same_text(q->client, w.client) && same_text(q->session, w.session) && same_text(q->parent, w.parent) &&
                    same_text(q->trace, w.trace) && same_text(q->state, w.state) && q->failed && q->final && q->counted &&
                    q->tokens.prompt == 11 && q->tokens.cached == 12 && q->tokens.generated == 13 && q->tokens.reasoning == -1 &&
                    q->duration_s == 2 && q->prefill_s == 0.5 && isnan(q->decode_s) && same_text(q->devices, w.devices) &&
                    q->energy.net_j == 3 && q->energy.net_pm_j == 0.3 && q->energy.gross_j == 4 && q->energy.gross_pm_j == 0.2 &&
                    q->energy.u.b == 0.06 && q->energy.u.idle == 0.11 && q->energy.u.spec == 0.08 && q->energy.u.event == 0.03 &&
                    q->prefill.net_j == 1 && q->prefill.gross_j == 1.5 && fabs(q->prefill.gross_pm_j - 0.28) < 1e-12 &&
                    fabs(q->prefill.net_pm_j - 0.3) < 1e-9 && q->prefill.u.event == 0.04 &&
                    q->prefill.provenance == JOULET_SIMULATED && isnan(q->decode.gross_j) && isnan(q->decode.net_pm_j) &&
                    q->energy.provenance == JOULET_SIMULATED && same_text(q->body, w.body);
    return true;
}

static void rows_come_back_as_they_were(void **state)
{
    struct store *s = opened();
    struct store_proxied q = request("one");
    struct store_wanted all = {0};
    bool same = false;
    (void)state;
    put(s, &q, 1);
    store_close(s);
    s = opened();
    assert_int_equal(store_each_proxied(s, &all, true, is_as_put, &same, NULL), JOULET_OK);
    assert_true(same);
    store_close(s);
}

static void final_figures_stay(void **state)
{
    struct store *s = opened();
    struct store_proxied q = request("one");
    struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    struct store_wanted all = {0};
    struct seen x = {0};
    (void)state;
    q.final = false;
    q.energy = unknown;
    put(s, &q, 1);
    assert_int_equal(store_each_proxied(s, &all, false, see, &x, NULL), JOULET_OK);
    assert_true(x.n == 1 && !x.final && isnan(x.net_j) && isnan(x.gross_pm_j));
    struct store_proxied final = request("one"), other = request("one");
    put(s, &final, 1);
    put(s, &q, 1); /* late */
    other.proxy = "p2";
    other.energy.net_j = 99;
    put(s, &other, 1); /* of somebody else who gave the same id: the first stays */
    x = (struct seen){0};
    assert_int_equal(store_each_proxied(s, &all, false, see, &x, NULL), JOULET_OK);
    assert_true(x.n == 1 && x.final && x.net_j == 3);
    store_close(s);
}

static void rows_that_are_wanted(void **state)
{
    struct store *s = opened();
    struct store_proxied q[4];
    (void)state;
    for (size_t i = 0; i < JL_COUNT(q); i++) {
        static const char *const ids[] = {"a", "b", "c", "d"};
        q[i] = request(ids[i]);
        q[i].wall_ns = (int64_t)(i + 1) * HOUR_NS;
        q[i].model = i == 2 ? "other" : "m";
        q[i].client = i == 1 ? NULL : "tag:a";
        q[i].session = i == 3 ? "x" : NULL;
        q[i].trace = i == 0 ? "x" : NULL;
    }
    put(s, q, JL_COUNT(q));
    const struct {
        struct store_wanted w;
        const char *ids;
    } rows[] = {
        {{0}, "a b c d"},
        {{.newest_first = true, .limit = 2}, "d c"},
        {{.since_ns = 2 * HOUR_NS}, "b c d"},
        {{.until_ns = 2 * HOUR_NS}, "a"},
        {{.since_ns = 2 * HOUR_NS, .until_ns = 4 * HOUR_NS}, "b c"},
        {{.model = "other"}, "c"},
        {{.client = "tag:a", .upstream = "http://127.0.0.1:8080"}, "a c d"},
        {{.session = "x"}, "a d"},
        {{.id = "b"}, "b"},
        {{.id = "' OR 1 --"}, ""},
        {{.model = "m", .since_ns = 2 * HOUR_NS, .session = "x", .limit = 5}, "d"},
        {{.model = "o*"}, ""},
        {{.model = "o*", .by_beginnings = true}, "c"},
        {{.client = "tag*", .session = "*", .id = "d", .by_beginnings = true}, "d"},
        {{.state = "done", .kind = "inference", .protocol = "openai", .limit = 1}, "a"},
        {{.state = "cut"}, ""},
        {{.before = {3 * HOUR_NS, "c"}, .newest_first = true}, "b a"},
        {{.before = {3 * HOUR_NS, "c2"}, .newest_first = true, .limit = 1}, "c"},
        {{.after = {2 * HOUR_NS, "b"}, .limit = 1}, "c"},
        {{.after = {2 * HOUR_NS, "a"}, .model = "m"}, "b d"},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct seen x = {0};
        assert_int_equal(store_each_proxied(s, &rows[i].w, i % 2, see, &x, NULL), JOULET_OK);
        assert_string_equal(x.ids, rows[i].ids);
    }
    struct store_proxied e = request("e");
    struct store *writer = opened();
    assert_int_equal(store_freeze(s, NULL), JOULET_OK);
    put(writer, &e, 1);
    store_close(writer);
    for (int i = 0; i < 2; i++) {
        struct seen seen = {0};
        assert_int_equal(store_each_proxied(s, &rows[0].w, false, see, &seen, NULL), JOULET_OK);
        assert_string_equal(seen.ids, i ? "a b c d e" : "a b c d");
        store_thaw(s);
    }
    struct seen x = {.stop_at = 2};
    assert_int_equal(store_each_proxied(s, &rows[0].w, false, see, &x, NULL), JOULET_OK);
    assert_string_equal(x.ids, "a b");
    store_close(s);
}

struct sums {
    size_t n;
    double measured_j, vacant_j, idle_device_j, shared_s, idle_w;
    int64_t last_ns;
};

static bool sum(void *user, const struct store_account *a)
{
    struct sums *x = user;
    x->n++;
    x->measured_j += a->j.measured_j;
    x->vacant_j += a->j.vacant_j;
    x->idle_device_j += a->j.idle_device_j;
    x->shared_s += a->shared_s;
    x->idle_w = a->idle.power_w;
    x->last_ns = a->to_wall_ns;
    return true;
}

static void accounts_add_up(void **state)
{
    struct store *s = opened();
    struct store_account a = {.proxy = "p1",
                              .device = "sim0.cpu",
                              .from_wall_ns = 4 * STORE_QUARTER_NS,
                              .to_wall_ns = 4 * STORE_QUARTER_NS + 5,
                              .j = {.measured_j = 10, .vacant_j = 4, .requests_j = 6, .idle_device_j = 0.5},
                              .shared_s = 3,
                              .idle = {.power_w = 50, .u_w = 1}};
    struct store_batch b = {.accounts = &a, .n_accounts = 1};
    struct store_wanted all = {0}, later = {.since_ns = 4 * STORE_QUARTER_NS + 7}, before = {.until_ns = 4 * STORE_QUARTER_NS};
    struct sums x = {0};
    (void)state;
    assert_int_equal(store_put_proxied(s, &b, NULL), JOULET_OK);
    a.to_wall_ns += 2;
    a.idle.power_w = NAN; /* not known any more: the level that was known stays */
    assert_int_equal(store_put_proxied(s, &b, NULL), JOULET_OK);
    assert_int_equal(store_each_account(s, &all, sum, &x, NULL), JOULET_OK);
    assert_int_equal(x.n, 1);
    assert_true(x.measured_j == 20 && x.vacant_j == 8 && x.idle_device_j == 1 && x.shared_s == 6 && x.idle_w == 50 &&
                x.last_ns == 4 * STORE_QUARTER_NS + 7);
    a.from_wall_ns += STORE_QUARTER_NS;
    a.to_wall_ns += STORE_QUARTER_NS;
    assert_int_equal(store_put_proxied(s, &b, NULL), JOULET_OK);
    x = (struct sums){0};
    assert_int_equal(store_each_account(s, &later, sum, &x, NULL), JOULET_OK);
    assert_int_equal(x.n, 1);
    x = (struct sums){0};
    assert_int_equal(store_each_account(s, &before, sum, &x, NULL), JOULET_OK);
    assert_int_equal(x.n, 0);
    store_close(s);
}

/* Two proxies in front of one device: the time is in the rows of one of them, so that it is counted once. */
static void metered_by_two(void **state)
{
    static const int64_t second = 1000000000;
    static const struct {
        const char *device;
        enum joulet_provenance provenance;
        int64_t other_s; /* the other proxy's last row */
        double shared_s;
    } rows[] = {{"cpu0.package", JOULET_MEASURED, 100, 1},
                {"cpu0.package", JOULET_MEASURED, 98, 1}, /* it may not have written since */
                {"cpu0.package", JOULET_MEASURED, 90, 0}, /* it ended */
                {"sim0.cpu", JOULET_SIMULATED, 100, 0}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct store *s = opened();
        int64_t quarter = (int64_t)(4 + 10 * i) * STORE_QUARTER_NS;
        struct store_account a[] = {{.proxy = "p1", .device = rows[i].device, .to_wall_ns = quarter + rows[i].other_s * second},
                                    {.proxy = "p2", .device = rows[i].device, .to_wall_ns = quarter + 101 * second},
                                    {.proxy = "p2", .device = "cpu1.package", .to_wall_ns = quarter + 101 * second},
                                    {.proxy = "p1", .device = rows[i].device, .to_wall_ns = quarter + 101 * second}};
        for (size_t k = 0; k < JL_COUNT(a); k++) {
            a[k].from_wall_ns = quarter;
            a[k].since_wall_ns = a[k].to_wall_ns - second;
            a[k].provenance = rows[i].provenance;
            a[k].j.measured_j = 1;
        }
        struct store_batch b = {.accounts = a, .n_accounts = JL_COUNT(a)};
        struct store_wanted these = {.since_ns = quarter};
        struct sums x = {0};
        assert_int_equal(store_put_proxied(s, &b, NULL), JOULET_OK);
        assert_int_equal(store_each_account(s, &these, sum, &x, NULL), JOULET_OK);
        assert_true(x.measured_j == 4 && x.shared_s == rows[i].shared_s);
        store_close(s);
    }
}

static void texts_and_deleting(void **state)
{
    struct store *s = opened();
    struct store_proxied q[] = {request("old"), request("new")};
    struct store_text t[] = {
        {.id = "old", .request = "asked", .request_n = 5, .request_bytes = 5},
        {.id = "new", .request = "asked", .request_n = 3, .request_bytes = 9, .answer = "a\0b", .answer_n = 3}};
    struct store_batch b = {.requests = q, .n_requests = 2, .texts = t, .n_texts = 2, .durable = true};
    struct store_wanted all = {0};
    struct seen x = {0};
    struct jl_buf asked, answered;
    struct joulet_error err;
    int64_t deleted;
    (void)state;
    q[0].wall_ns = HOUR_NS;
    assert_int_equal(store_put_proxied(s, &b, NULL), JOULET_OK);
    jl_buf_init(&asked, 100);
    jl_buf_init(&answered, 100);
    assert_int_equal(store_proxied_text(s, "new", &asked, &answered, &err), JOULET_OK);
    assert_string_equal(asked.data, "ask");
    assert_int_equal(answered.len, 3);
    assert_memory_equal(answered.data, "a\0b", 3);
    assert_int_equal(store_delete_proxied(s, 2 * HOUR_NS, &deleted, &err), JOULET_OK);
    assert_int_equal(deleted, 1);
    assert_int_equal(store_each_proxied(s, &all, false, see, &x, NULL), JOULET_OK);
    assert_string_equal(x.ids, "new");
    assert_int_equal(store_proxied_text(s, "old", &asked, &answered, &err), JOULET_NOT_FOUND);
    jl_buf_release(&asked);
    jl_buf_release(&answered);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(rows_come_back_as_they_were, fresh),
        cmocka_unit_test_setup(final_figures_stay, fresh),
        cmocka_unit_test_setup(rows_that_are_wanted, fresh),
        cmocka_unit_test_setup(accounts_add_up, fresh),
        cmocka_unit_test_setup(metered_by_two, fresh),
        cmocka_unit_test_setup(texts_and_deleting, fresh),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
