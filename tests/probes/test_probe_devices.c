/* The probe where an engine is more than one model on one processor: a device that computes on its own and is waited for at
 * each stop, which captures graphs when nobody stops them; and an engine of three schedulers, a model, its draft and a vision
 * encoder. The device's clock is its own, so what a stop costs is known to the nanosecond whatever the machine does. */
#include "tests/probes/probed.h"

#include "profile/measure.h"
#include "tests/probes/stand_in/stand_in.h"

#include <math.h>

#define STEPS 200
#define STOPS 15              /* 4 a layer and 3 */
#define EQUAL (STEPS / 4 - 1) /* steps that are the third of their kind in a row */

static int begin(void **state)
{
    return scratch_open(state);
}

static struct profile_step *steps_of(const struct told *t, size_t *n, struct steps *s)
{
    struct profile_step *all = calloc(t->n + 1, sizeof(*all));
    assert_non_null(all);
    steps_init(s);
    for (size_t i = *n = 0; i < t->n; i++)
        *n += steps_add(s, &t->records[i], &all[*n]);
    return all;
}

/* ---- a device ------------------------------------------------------------------------------------------------------------ */

/* A step without stops is only begun by its call, and waited for later; one with stops waits for each. What that costs is found
 * from pairs of steps, and taken off every stretch. */
static void stops_that_wait_for_a_device(void **state)
{
    struct told t;
    struct step_cost c;
    struct steps *s = malloc(sizeof(*s));
    static struct measure m;
    size_t n;
    bool seen = false;
    (void)state;
    probed(&t, ENGINE, "dense gpu 200", "components", "2");
    assert_string_equal(t.info.device, "CUDA0,CPU");
    assert_int_equal(t.info.stop_ns, 40000); /* until it is measured; graphs are chosen by it */
    m.paired = steps_of(&t, &n, s);
    m.n_paired = n;
    assert_int_equal(n, STEPS);
    assert_true(steps_cost(m.paired, n, &c));
    assert_in_range(c.pairs, 4, 50);
    double extra_s = STOPS * STAND_IN_SYNC_NS * 1e-9, nodes = 3 * 20 + 4;
    if (!(fabs(c.extra_s / extra_s - 1) < 0.02))
        fail_msg("stops took %g s of a step, not %g; %zu pairs", c.extra_s, extra_s, c.pairs);
    assert_true(c.low_s > 0.98 * extra_s && c.high_s < 1.02 * extra_s);
    assert_true(fabs(c.plain_s / ((nodes * STAND_IN_NODE_NS + STAND_IN_SYNC_NS) * 1e-9) - 1) < 0.02);
    double stop_s = measure_stop_s(&m); /* what of it lies inside a stretch */
    assert_true(fabs(stop_s / (STAND_IN_SYNC_NS * 1e-9) - 1) < 0.02);
    for (size_t i = 0; i < n; i++) {
        struct profile_step p = m.paired[i];
        if (!p.watched)
            continue;
        seen = true;
        assert_true(fabs((double)p.kind_ns[WIRE_ATTENTION] / (3 * (11 * STAND_IN_NODE_NS + STAND_IN_SYNC_NS)) - 1) < 0.02);
        step_without_stops(&p, c.stop_s);
        assert_true(fabs((double)p.kind_ns[WIRE_ATTENTION] / (3 * 11 * STAND_IN_NODE_NS) - 1) < 0.02);
        assert_true(fabs((double)p.kind_ns[WIRE_FFN] / (3 * 5 * STAND_IN_NODE_NS) - 1) < 0.03);
        assert_true(fabs((double)p.graph_ns / (nodes * STAND_IN_NODE_NS) - 1) < 0.02);
    }
    assert_true(seen);
    free(m.paired);
    free(s);
    free(t.records);
}

/* The third equal step is launched as it was captured: whole without stops, in pieces with them; and where the ways alternate,
 * what begins alike is captured less often. */
static void graphs_that_are_captured(void **state)
{
    struct told t;
    char words[240];
    (void)state;
    probed(&t, ENGINE, "dense gpu 200", "components", "1");
    assert_int_equal(t.info.captured[0] + t.info.launches[0], 0);
    assert_int_equal(t.info.captured[1], EQUAL);
    assert_int_equal(t.info.launches[1], STOPS * EQUAL);
    assert_true(probe_capture(&t.info, words, sizeof(words)));
    assert_non_null(
        strstr(words, "in 0 % of the graphs without stops, and in 24 % of those with stops, there in 15 pieces each"));
    free(t.records);
    probed(&t, ENGINE, "dense gpu 200", "stages", "1");
    assert_int_equal(t.info.captured[0], EQUAL);
    assert_int_equal(t.info.launches[0], EQUAL);
    assert_int_equal(t.info.captured[1] + t.info.launches[1], 0);
    free(t.records);
    probed(&t, ENGINE, "dense gpu 200", "components", "2");
    assert_int_equal(t.info.captured[0],
                     0); /* never three alike in a row: the whole and its first piece begin with the same node */
    assert_true(t.info.launches[1] < STOPS * EQUAL);
    free(t.records);
    probed(&t, ENGINE, "dense decode 200", "components", "1"); /* a processor captures nothing */
    assert_int_equal(t.info.captured[0] + t.info.captured[1] + t.info.launches[0] + t.info.launches[1], 0);
    assert_false(probe_capture(&t.info, words, sizeof(words)));
    free(t.records);
}

/* ---- several schedulers ------------------------------------------------------------------------------------------------- */

struct of_scheduler {
    size_t graphs, attention, layers, outside, stretches;
};

static const struct of_scheduler *with(const struct of_scheduler all[8], size_t graphs, size_t attention, size_t layers)
{
    for (int i = 0; i < 8; i++)
        if (all[i].graphs == graphs && all[i].attention == attention && all[i].layers == layers)
            return &all[i];
    fail_msg("no scheduler has %zu graphs with %zu attentions and %zu layers", graphs, attention, layers);
    return NULL;
}

/* A model, its draft and a vision encoder, in one thread: each keeps what is its own, and a step holds nothing of the encoder's
 * graph before it. */
static void three_schedulers(void **state)
{
    static const char *const levels[] = {"components", "nodes"};
    (void)state;
    for (size_t l = 0; l < JL_COUNT(levels); l++) {
        struct told t;
        struct of_scheduler of[8] = {{0}};
        struct steps *s = malloc(sizeof(*s));
        size_t n;
        probed(&t, ENGINE, "dense vision 12", levels[l], "1");
        for (size_t i = 0; i < t.n; i++) {
            const struct ring_record *r = &t.records[i];
            if (r->kind < WIRE_GRAPH)
                continue;
            assert_true(r->source < 8);
            of[r->source].graphs += r->kind == WIRE_GRAPH;
            of[r->source].attention += r->kind == WIRE_ATTENTION && l == 0 && !(r->flags & WIRE_OUTSIDE);
            of[r->source].layers += r->kind == WIRE_LAYER;
            of[r->source].stretches += r->kind >= WIRE_EMBEDDING;
            of[r->source].outside += (r->flags & WIRE_OUTSIDE) != 0;
        }
        assert_int_equal(with(of, 12, l == 0 ? 36 : 0, 0)->outside, 0);
        if (l == 0)
            assert_int_equal(with(of, 12, 0, 36)->outside, 0);
        const struct of_scheduler *vision = with(of, 3, 0, 0);
        assert_int_equal(vision->outside, vision->graphs + vision->stretches);
        assert_true(vision->stretches >= vision->graphs);
        struct profile_step *all = steps_of(&t, &n, s);
        assert_int_equal(n, 24);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(all[i].graphs, 1);
            assert_int_equal(all[i].watched, 1);
            assert_int_equal(all[i].vectors, i / 2 % 4 == 3); /* what the encoder made, in place of text */
            assert_int_equal(all[i].context, i % 2 ? all[1].context : all[0].context);
            assert_int_equal(all[i].stretch_ns + all[i].stop_ns + all[i].open_ns + all[i].close_ns, all[i].graph_ns);
        }
        assert_int_equal(s->outside, 3);
        assert_true(s->outside_ns > 0);
        assert_int_equal(t.info.counts[WIRE_N_TABLE_FULL], 0);
        free(all);
        free(s);
        free(t.records);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_that_wait_for_a_device),
        cmocka_unit_test(graphs_that_are_captured),
        cmocka_unit_test(three_schedulers),
    };
    return cmocka_run_group_tests(tests, begin, scratch_close);
}
