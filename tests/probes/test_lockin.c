/* What is executed again, and when it is left out: lockin.c alone, between a scheduler and a backend that are played here. That
 * repeats change nothing is tested with real engines (probe_real, probe_logits). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "probes/ggml/lockin.h"

#include <stdlib.h>
#include <string.h>

#define CALLED_OFF 5 /* executions after which a reader ends a loop */

struct ggml_cgraph {
    char bytes[512]; /* views are copied, more bytes than they have */
};

static struct wire_head head;
static struct wire_record last;
static unsigned executed, recorded;
static bool calls_off;

struct probe_settings probe_settings = {.level = WIRE_COMPONENTS, .repeat_rows = 4};
struct wire_head *_Atomic probe_head = &head;
__thread uint8_t probe_turn;
__thread struct step probe_step;

/* ---- what the probe has around it ------------------------------------------------------------------------------------------ */

void probe_record(const struct wire_record *r)
{
    last = *r;
    recorded++;
}

void probe_count(enum wire_count c)
{
    atomic_fetch_add(&head.counts[c], 1);
}

void probe_remark(const char *text)
{
    fail_msg("%s", text);
}

enum wire_kind names_stretch(enum mark from, enum mark to, uint16_t *flags)
{
    (void)from;
    *flags = 0;
    return to == MARK_LAYER ? WIRE_FFN : WIRE_OTHER;
}

uint64_t scheduler_random(struct scheduler *s)
{
    return ++s->random;
}

static int n_nodes(struct ggml_cgraph *g)
{
    (void)g;
    return 1;
}
struct ggml_calls ggml = {.n_nodes = n_nodes};

/* ---- the backend ----------------------------------------------------------------------------------------------------------- */

static struct ggml_tensor **nodes(struct ggml_cgraph *g)
{
    static struct ggml_tensor *one[1];
    (void)g;
    return one;
}

static int compute(struct backend *b, struct ggml_cgraph *g)
{
    (void)b, (void)g;
    executed++;
    if (calls_off && executed == CALLED_OFF)
        atomic_store(&head.control.loop_ms, 0);
    return 0;
}

static const char *backend_name(struct backend *b)
{
    (void)b;
    return "CPU";
}
struct layout_calls layout = {.nodes = nodes, .compute = compute, .backend_name = backend_name};

bool layout_find(const void *caller)
{
    (void)caller;
    return true;
}

void ranges_add(struct ranges *s, struct range r)
{
    (void)s, (void)r;
}

void ranges_written(struct ranges *own, struct ranges *leaves, struct ggml_tensor **all, int n)
{
    (void)own, (void)leaves, (void)all, (void)n;
}

bool ranges_needed(struct kept *in, struct ggml_tensor **all, int n, const struct ranges *written, const struct ranges *leaves)
{
    (void)in, (void)all, (void)n, (void)written, (void)leaves;
    return true;
}

bool kept_prepare(struct kept *k)
{
    (void)k;
    return true;
}

void kept_copy(struct kept *k)
{
    (void)k;
}

void kept_restore(const struct kept *k)
{
    (void)k;
}

bool kept_same(const struct kept *k)
{
    (void)k;
    return true;
}

/* ---- graphs ------------------------------------------------------------------------------------------------------------------
 */

static int begin(void **state)
{
    struct scheduler *s = calloc(1, sizeof(*s));
    if (!s)
        return -1;
    s->watched = true;
    s->builds = 1;
    memset(&head.control, 0, sizeof(head.control));
    executed = recorded = 0;
    calls_off = false;
    probe_step = (struct step){0};
    *state = s;
    return 0;
}

static int end(void **state)
{
    lockin_forget(*state);
    free(*state);
    return 0;
}

/* A graph with two layers, as the scheduler hands them over; how often a stretch was executed after it. */
static unsigned graph(struct scheduler *s, bool in_step, uint32_t tokens, bool decodes)
{
    static struct ggml_cgraph views[2];
    unsigned before = executed;
    probe_step = (struct step){.context = in_step ? (struct context *)s : NULL, .tokens = tokens, .decodes = decodes};
    s->stops = 2;
    s->mark = MARK_LAYER;
    lockin_begin(s, &views[0], NULL);
    for (int i = 0; i < 2; i++) {
        s->layer = i;
        lockin_before(s, NULL, &views[i]);
        lockin_after(s);
    }
    lockin_turn(s);
    return executed - before;
}

static void ask_for(uint32_t times, uint32_t loop_ms)
{
    atomic_store(&head.control.again[WIRE_AGAIN_FFN], times);
    atomic_store(&head.control.loop_ms, loop_ms);
    atomic_store(&head.control.segment_ms, 1);
}

/* Segments go by the clock: until one repeats. */
static void until_repeated(struct scheduler *s)
{
    while (graph(s, true, 1, true) == 0)
        continue;
}

/* ---- tests -------------------------------------------------------------------------------------------------------------------
 */

static void as_often_as_asked(void **state)
{
    struct scheduler *s = *state;
    ask_for(3, 0);
    for (int n = 0; n < 20;) {
        unsigned ran = graph(s, true, 1, true);
        assert_true(ran == 0 || ran == 6); /* a segment of none, or of two layers */
        n += ran > 0;
    }
    assert_int_equal(last.kind, WIRE_FFN);
    assert_int_equal(last.b, 3);
}

/* A graph of the same scheduler outside of a step (the KV cache is moved, an adapter is tried): what the last step noted is
 * stale, and may point into nodes that were built anew. */
static void nothing_outside_of_a_step(void **state)
{
    struct scheduler *s = *state;
    ask_for(3, 0);
    until_repeated(s);
    for (int i = 0; i < 50; i++)
        assert_int_equal(graph(s, false, 1, false), 0);
    until_repeated(s); /* and the next step is repeated again */
}

/* Batches of up to four answers are repeated; a prompt of up to four tokens is not. */
static void no_part_of_a_prompt(void **state)
{
    struct scheduler *s = *state;
    ask_for(3, 0);
    until_repeated(s);
    for (uint32_t i = 0; i < 200; i++)
        assert_int_equal(graph(s, true, 2 + i % 3, false), 0);
    for (unsigned ran = 0; ran == 0;)
        ran = graph(s, true, 4, true);
    for (uint32_t i = 0; i < 200; i++)
        assert_int_equal(graph(s, true, 5, true), 0);
}

/* A loop of a minute ends when its reader says so. */
static void a_loop_that_is_called_off(void **state)
{
    struct scheduler *s = *state;
    ask_for(1, 60000);
    calls_off = true;
    assert_int_equal(graph(s, true, 1, true), CALLED_OFF + 1); /* the round is finished */
    assert_true(last.flags & WIRE_LOOPED);
    assert_int_equal(last.b, (CALLED_OFF + 1) / 2);
    assert_int_equal(recorded, 1);
    assert_true(last.t1_ns - last.t0_ns < 60000000000u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(as_often_as_asked, begin, end),
        cmocka_unit_test_setup_teardown(nothing_outside_of_a_step, begin, end),
        cmocka_unit_test_setup_teardown(no_part_of_a_prompt, begin, end),
        cmocka_unit_test_setup_teardown(a_loop_that_is_called_off, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
