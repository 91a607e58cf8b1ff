/* Files of the probe: recorded ones, made ones whose every record is known, and bad ones. */
#include "tests/llm/scratch.h"

#include "profile/measure.h"
#include "profile/steps.h"

#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAPACITY 64u
#define BYTES    (WIRE_HEAD_BYTES + CAPACITY * sizeof(struct wire_record))

static _Alignas(64) uint8_t bytes[BYTES];

static struct wire_head *head(void)
{
    return (struct wire_head *)bytes;
}

static struct wire_record *slot(uint64_t number)
{
    return (struct wire_record *)(bytes + WIRE_HEAD_BYTES) + number % CAPACITY;
}

static void write_record(uint64_t number, enum wire_kind kind, uint64_t t0, uint64_t t1)
{
    *slot(number) = (struct wire_record){
        .stamp = wire_stamp(number), .kind = (uint16_t)kind, .t0_ns = t0, .t1_ns = t1, .layer = -1, .a = (uint32_t)number};
}

static void make(uint64_t n)
{
    memset(bytes, 0, sizeof(bytes));
    memcpy(head()->magic, WIRE_MAGIC, 8);
    head()->version = WIRE_VERSION;
    head()->head_bytes = WIRE_HEAD_BYTES;
    head()->record_bytes = sizeof(struct wire_record);
    head()->level = WIRE_NODES;
    head()->capacity = CAPACITY;
    head()->pid = 42;
    strcpy(head()->ggml, "0.27.0");
    for (uint64_t i = n > CAPACITY ? n - CAPACITY : 0; i < n; i++)
        write_record(i, WIRE_WAIT, 10 * i, 10 * i + 5);
    head()->reserved = n;
}

static struct ring *open_made(void)
{
    struct ring *r;
    struct joulet_error err;
    if (ring_open_bytes(&r, bytes, sizeof(bytes), &err) != JOULET_OK)
        fail_msg("%s", err.message);
    return r;
}

/* ---- reading ------------------------------------------------------------------------------------------------------------------
 */

static void read_while_it_is_written(void **state)
{
    struct ring_record out[CAPACITY + 8];
    (void)state;
    make(10);
    struct ring *r = open_made();
    assert_int_equal(ring_read(r, out, 4), 4);
    assert_int_equal(out[3].a, 3);
    assert_int_equal(ring_read(r, out, CAPACITY), 6);
    assert_int_equal(ring_read(r, out, CAPACITY), 0);
    head()->reserved = 13; /* two are taken, the second is written first */
    write_record(11, WIRE_SAMPLE, 1, 2);
    assert_int_equal(ring_read(r, out, CAPACITY), 0);
    write_record(10, WIRE_SAMPLE, 1, 2);
    assert_int_equal(ring_read(r, out, CAPACITY), 2);
    write_record(12, WIRE_SAMPLE, 1, 2);
    assert_int_equal(ring_read(r, out, CAPACITY), 1);
    assert_int_equal(out[0].number, 12);
    assert_int_equal(ring_lost(r), 0);
    ring_close(r);
}

static void what_was_overwritten_is_lost(void **state)
{
    struct ring_record out[CAPACITY + 8];
    (void)state;
    make(1000);
    struct ring *r = open_made();
    assert_int_equal(ring_read(r, out, CAPACITY + 8), CAPACITY);
    assert_int_equal(out[0].number, 1000 - CAPACITY);
    assert_int_equal(out[CAPACITY - 1].number, 999);
    assert_int_equal(ring_lost(r), 1000 - CAPACITY);
    ring_close(r);
    /* a writer that died over its record holds nobody up */
    make(CAPACITY);
    slot(3)->stamp = 0;
    r = open_made();
    assert_int_equal(ring_read(r, out, CAPACITY), CAPACITY - 1);
    assert_int_equal(ring_lost(r), 1);
    ring_close(r);
}

static void what_makes_no_sense_is_counted(void **state)
{
    struct ring_record out[CAPACITY];
    (void)state;
    make(8);
    slot(0)->kind = WIRE_KINDS;
    slot(1)->kind = WIRE_NONE;
    slot(2)->kind = 12; /* between stages and stretches */
    slot(3)->t1_ns = slot(3)->t0_ns - 1;
    slot(4)->t1_ns = UINT64_MAX;
    slot(5)->layer = -2;
    struct ring *r = open_made();
    assert_int_equal(ring_read(r, out, CAPACITY), 2);
    assert_int_equal(ring_broken(r), 6);
    assert_int_equal(out[0].a, 6);
    ring_close(r);
}

static void numbers_go_round(void **state)
{
    struct ring_record out[CAPACITY];
    uint64_t n = (uint64_t)UINT32_MAX + 20; /* stamps have 32 bits */
    (void)state;
    make(n);
    struct ring *r = open_made();
    assert_int_equal(ring_read(r, out, CAPACITY), CAPACITY);
    assert_int_equal(out[CAPACITY - 1].number, n - 1);
    head()->reserved = 5; /* backwards: nothing to read, and no harm */
    assert_int_equal(ring_read(r, out, CAPACITY), 0);
    head()->reserved = UINT64_MAX;
    assert_true(ring_read(r, out, CAPACITY) <= CAPACITY);
    ring_close(r);
}

static void names_stand_in_the_head(void **state)
{
    struct ring_record out[2];
    char name[32];
    (void)state;
    make(2);
    write_record(0, WIRE_ATTENTION, 1, 2);
    slot(0)->b = wire_place(WIRE_QKV, 7);
    write_record(1, WIRE_ATTENTION, 1, 2);
    slot(1)->b = wire_place(WIRE_QKV, 9999);
    strcpy(head()->names[6].text, "Qcur:MUL\x01MAT");
    head()->names[6].state = 2;
    struct ring *r = open_made();
    assert_int_equal(ring_read(r, out, 2), 2);
    ring_name(r, &out[0], name, sizeof(name));
    assert_string_equal(name, "Qcur:MUL?MAT");
    ring_name(r, &out[1], name, sizeof(name));
    assert_string_equal(name, "");
    memset(head()->names[6].text, 'x', sizeof(head()->names[6].text));
    ring_name(r, &out[0], name, 8);
    assert_string_equal(name, "xxxxxxx");
    ring_close(r);
}

/* ---- bad files
 * ----------------------------------------------------------------------------------------------------------------- */

static void bad_heads(void **state)
{
    static const struct {
        const char *words;
        size_t at, n;
        uint8_t with;
        enum joulet_status status;
    } rows[] = {
        {"is no file", 0, 1, 'X', JOULET_FORMAT},
        {"just being made", 0, 8, 0, JOULET_BUSY},
        {"version 2", offsetof(struct wire_head, version), 1, 2, JOULET_FORMAT},
        {"version", offsetof(struct wire_head, head_bytes), 1, 1, JOULET_FORMAT},
        {"version", offsetof(struct wire_head, record_bytes), 1, 47, JOULET_FORMAT},
        {"damaged", offsetof(struct wire_head, level), 1, WIRE_LEVELS, JOULET_FORMAT},
        {"damaged", offsetof(struct wire_head, capacity), 8, 0, JOULET_FORMAT},
        {"damaged", offsetof(struct wire_head, capacity), 1, 65, JOULET_FORMAT},
        {"damaged", offsetof(struct wire_head, capacity), 1, 128, JOULET_FORMAT}, /* more than there is */
        {"damaged", offsetof(struct wire_head, capacity), 8, 0xff, JOULET_FORMAT},
    };
    struct ring *r;
    struct joulet_error err;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        make(3);
        memset(bytes + rows[i].at, rows[i].with, rows[i].n);
        assert_int_equal(ring_open_bytes(&r, bytes, sizeof(bytes), &err), rows[i].status);
        assert_null(r);
        if (!strstr(err.message, rows[i].words))
            fail_msg("row %zu: %s", i, err.message);
    }
    make(3);
    for (size_t n = 0; n < sizeof(bytes); n += 1 + n / 16) { /* cut off */
        assert_int_equal(ring_open_bytes(&r, bytes, n, &err), JOULET_FORMAT);
        assert_null(r);
    }
    assert_int_equal(ring_open(&r, "/nowhere/at/all", &err), JOULET_NOT_FOUND);
    assert_int_equal(ring_open(&r, "/dev/null", &err), JOULET_FORMAT);
}

/* Only what is a probe's file is written to, and there nothing but `control`. */
static void asking_the_writer(void **state)
{
    const struct ring_control c = {
        .watch = WIRE_WATCH_ALL, .segment_ms = 7, .again = {[WIRE_AGAIN_FFN] = 3, [WIRE_AGAIN_HEAD] = 1}, .loop_ms = 9};
    static const char *const bad[] = {"not-one", "link", "pipe", "folder", "missing"};
    struct joulet_error err;
    struct wire_head now;
    struct jl_buf b;
    (void)state;
    assert_int_equal(scratch_open(NULL), 0);
    make(3);
    assert_int_equal(jl_write_file(scratch_path("ring"), bytes, sizeof(bytes), 0600, &err), JOULET_OK);
    assert_int_equal(ring_ask(scratch_path("ring"), &c, &err), JOULET_OK);
    jl_buf_init(&b, (size_t)1 << 20);
    assert_int_equal(jl_read_file(scratch_path("ring"), &b, &err), JOULET_OK);
    assert_int_equal(b.len, sizeof(bytes));
    memcpy(&now, b.data, sizeof(now));
    assert_int_equal(atomic_load(&now.control.watch), WIRE_WATCH_ALL);
    assert_int_equal(atomic_load(&now.control.segment_ms), 7);
    assert_int_equal(atomic_load(&now.control.loop_ms), 9);
    for (int i = 0; i < WIRE_AGAIN; i++)
        assert_int_equal(atomic_load(&now.control.again[i]), c.again[i]);
    memcpy(b.data + offsetof(struct wire_head, control), bytes + offsetof(struct wire_head, control), sizeof(now.control));
    assert_memory_equal(b.data, bytes, sizeof(bytes));
    jl_buf_release(&b);
    bytes[0] = 'X';
    assert_int_equal(jl_write_file(scratch_path("not-one"), bytes, sizeof(bytes), 0600, &err), JOULET_OK);
    assert_int_equal(symlink("ring", scratch_path("link")), 0);
    assert_int_equal(mkfifo(scratch_path("pipe"), 0600), 0);
    assert_int_equal(mkdir(scratch_path("folder"), 0700), 0);
    for (size_t i = 0; i < JL_COUNT(bad); i++)
        assert_int_not_equal(ring_ask(scratch_path(bad[i]), &c, &err), JOULET_OK);
    jl_buf_init(&b, (size_t)1 << 20);
    assert_int_equal(jl_read_file(scratch_path("not-one"), &b, &err), JOULET_OK);
    assert_int_equal(b.len, sizeof(bytes));
    assert_memory_equal(b.data, bytes, sizeof(bytes));
    jl_buf_release(&b);
    scratch_close(NULL);
}

/* ---- recorded
 * ------------------------------------------------------------------------------------------------------------------ */

static struct ring *open_recorded(const char *name)
{
    struct ring *r;
    struct joulet_error err;
    char *path = jl_strf("%s/probe/%s", FIXTURES, name);
    if (ring_open(&r, path, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    free(path);
    return r;
}

/* Two versions that name their nodes and call their steps differently. */
static const struct recorded {
    const char *components, *nodes, *ggml, *engine;
    size_t decoding; /* steps */
    enum wire_count calls;
} recorded[] = {
    /* the first of twenty comes from the prompt */
    {"llama-server-0.7.0-components.ring", "llama-server-0.7.0-nodes.ring", "0.27.0", "0.7.0", 19, WIRE_N_PROCESS},
    {"llama-0.5.0-components.ring", "llama-0.5.0-nodes.ring", "0.25.1", "0.5.0-dev", 39, WIRE_N_DECODE},
};

static void check_answer(const struct recorded *row)
{
    struct ring *r = open_recorded(row->components);
    struct ring_record *records = calloc(1024, sizeof(*records));
    struct steps *s = malloc(sizeof(*s));
    struct profile_step p;
    struct ring_info info;
    size_t n = ring_read(r, records, 1024), decoding = 0, stretches = 0;
    uint32_t position = 0;
    steps_init(s);
    for (size_t i = 0; i < n; i++) {
        if (!steps_add(s, &records[i], &p))
            continue;
        assert_int_equal(p.graphs, 1);
        assert_int_equal(p.stops, 4 * 4 + 3);
        assert_int_equal(p.n_sequences, 1);
        assert_true(p.stretch_ns + p.stop_ns > 0.99 * (double)p.graph_ns);
        assert_int_equal(p.stretch_ns + p.stop_ns + p.open_ns + p.close_ns, p.graph_ns);
        for (int k = WIRE_EMBEDDING; k < WIRE_KINDS; k++)
            stretches += p.kind_n[k];
        if (p.decoded != 1)
            continue;
        if (decoding++ > 0)
            assert_int_equal(p.sequences[0].position, position + 1);
        position = p.sequences[0].position;
    }
    assert_int_equal(decoding, row->decoding);
    ring_info(r, &info);
    assert_string_equal(info.ggml, row->ggml);
    assert_string_equal(info.engine, row->engine);
    assert_string_equal(info.device, "CPU");
    assert_int_equal(info.level, WIRE_COMPONENTS);
    assert_int_equal(info.counts[WIRE_N_STOPS], stretches);
    assert_true(info.counts[row->calls] > row->decoding);
    assert_int_equal(ring_lost(r) + ring_broken(r), 0);
    ring_close(r);
    free(s);
    free(records);
}

static void recorded_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(recorded); i++)
        check_answer(&recorded[i]);
}

static void check_nodes(const struct recorded *row)
{
    struct ring *r = open_recorded(row->nodes);
    struct ring_record *records = calloc(1024, sizeof(*records));
    size_t n = ring_read(r, records, 1024), router = 0, experts = 0;
    char name[40];
    assert_int_equal(n, 1024);
    assert_true(ring_lost(r) > 0);
    for (size_t i = 0; i < n; i++) {
        if (records[i].kind < WIRE_EMBEDDING)
            continue;
        ring_name(r, &records[i], name, sizeof(name));
        assert_non_null(strchr(name, ':'));
        enum wire_part part = wire_part_of(records[i].b);
        router += part == WIRE_ROUTER;
        experts += part == WIRE_EXPERTS;
        if ((records[i].kind == WIRE_FFN) != (jl_starts(name, "ffn_moe") || jl_starts(name, "l_out") || part == WIRE_EXPERTS))
            fail_msg("%s: %s is of kind %d", row->nodes, name, records[i].kind);
    }
    assert_true(router > 0 && experts > 0);
    ring_close(r);
    free(records);
}

static void recorded_nodes(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(recorded); i++)
        check_nodes(&recorded[i]);
}

/* ---- cost
 * ---------------------------------------------------------------------------------------------------------------------- */

static struct profile_step step(int64_t at, int64_t ns, bool watched)
{
    return (struct profile_step){.t0_ns = at,
                                 .t1_ns = at + ns,
                                 .tokens = 1,
                                 .decoded = 1,
                                 .n_sequences = 1,
                                 .graphs = 1,
                                 .watched = watched,
                                 .stops = watched * 20u};
}

static void cost_of_watching(void **state)
{
    struct profile_step steps[100];
    struct step_cost c;
    int64_t t = 0;
    (void)state;
    for (int i = 0; i < 100; i++) { /* slower from step to step, as a context that grows: drift must cancel */
        steps[i] = step(t, 1000000 + 1000 * i + (i % 2 ? 40000 : 0), i % 2);
        t = steps[i].t1_ns;
    }
    steps[50].prefilled = 5; /* no decoding step: not compared, nor its neighbours with it */
    assert_true(steps_cost(steps, 100, &c));
    assert_int_equal(c.pairs, 94);
    assert_true(fabs(c.extra_s - 40e-6) < 1e-9);
    assert_true(fabs(c.stop_s - 2e-6) < 1e-10);
    assert_true(c.low_s <= c.extra_s && c.extra_s <= c.high_s);
    assert_true(fabs(c.plain_s - 1.05e-3) < 4e-6);
    static struct measure m; /* an interval that holds 0 takes nothing off */
    m.paired = steps;
    m.n_paired = 100;
    assert_true(fabs(measure_stop_s(&m) - 2e-6) < 1e-10);
    for (int i = 1; i < 100; i += 4)
        steps[i].t1_ns = steps[i].t0_ns + 1000000;
    assert_true(measure_stop_s(&m) == 0);
    for (int i = 0; i < 100; i++)
        steps[i].watched = 1;
    assert_true(steps_cost(steps, 100, &c));
    assert_int_equal(c.pairs, 0);
    assert_true(isnan(c.extra_s) && isnan(c.stop_s) && isnan(c.plain_s));
    assert_true(steps_cost(steps, 0, &c));
}

/* Steps of one token in turns; those that watch take 30 us longer, and the engine is slower from step to step. */
static void cost_of_turns(void **state)
{
    enum { N = 401 };
    static const enum wire_turn order[4][4] = {{1, 2, 3, 4}, {4, 2, 1, 3}, {3, 4, 2, 1}, {2, 1, 4, 3}};
    static struct profile_step steps[N];
    struct step_cost c;
    int64_t t = 0;
    (void)state;
    for (int i = 0; i < N; i++) {
        enum wire_turn turn = order[i / 4 % 4][i % 4];
        steps[i] = (struct profile_step){.t0_ns = t, .t1_ns = t + 500, .tokens = 1, .turn = turn};
        t += 1000000 + 10 * i + (turn == WIRE_TURN_ALL ? 30000 : 0);
    }
    assert_true(steps_turn_cost(steps, N, WIRE_TURN_ALL, &c));
    assert_int_equal(c.pairs, 100);
    assert_true(fabs(c.extra_s - 30e-6) < 1e-7 && c.low_s <= c.extra_s && c.extra_s <= c.high_s && isnan(c.stop_s));
    assert_true(steps_turn_cost(steps, N, WIRE_TURN_STAGES, &c));
    assert_true(fabs(c.extra_s) < 1e-7 && fabs(c.plain_s - 1.002e-3) < 1e-6);
    steps[100].tokens = 5; /* a prompt: its four do not count, nor those whose last is followed by it */
    assert_true(steps_turn_cost(steps, N, WIRE_TURN_ALL, &c));
    assert_int_equal(c.pairs, 98);
    assert_true(steps_turn_cost(steps, 4, WIRE_TURN_ALL, &c)); /* when the fourth ended is not known */
    assert_int_equal(c.pairs, 0);
}

/* Two kinds in one step, three stops of 40 us of which 10 lie between stretches; 10 us before the first stretch. */
static void stops_are_taken_off(void **state)
{
    struct profile_step p = {.graph_ns = 1010000, .stretch_ns = 970000, .stop_ns = 30000, .stops = 3}, same;
    const struct ring_record r = {.t0_ns = 5, .t1_ns = 100005};
    (void)state;
    p.kind_ns[WIRE_ATTENTION] = 950000;
    p.kind_n[WIRE_ATTENTION] = 2;
    p.kind_ns[WIRE_FFN] = 20000;
    p.kind_n[WIRE_FFN] = 1;
    same = p;
    double inside_s = step_stop_inside_s(&p, 40e-6);
    assert_true(fabs(inside_s - 30e-6) < 1e-12);
    assert_true(fabs(step_stretch_s(&r, inside_s) - 70e-6) < 1e-12);
    assert_true(step_stretch_s(&r, 1) == 0);
    step_without_stops(&p, 40e-6);
    assert_int_equal(p.kind_ns[WIRE_ATTENTION], 890000);
    assert_int_equal(p.kind_ns[WIRE_FFN], 0); /* shorter than what is believed of its stop */
    assert_int_equal(p.stretch_ns, 890000);
    assert_int_equal(p.graph_ns, 890000); /* less by the three stops, and as long as its stretches at least */
    assert_int_equal(p.stop_ns, 0);
    assert_int_equal(p.stops, 0);
    for (int i = 0; i < 3; i++) { /* not known, none, in error below 0: nothing is taken off */
        const double none[] = {NAN, 0, -1e-6};
        p = same;
        step_without_stops(&p, none[i]);
        assert_int_equal(p.kind_ns[WIRE_ATTENTION], 950000);
        assert_int_equal(p.stretch_ns, 970000);
        assert_int_equal(p.graph_ns, 1010000);
        assert_int_equal(p.stop_ns, 30000);
    }
}

/* A graph of two stretches, as a reader gets it. */
static bool a_graph(struct steps *s, int64_t at, uint32_t number, uint32_t stops, bool second, struct profile_step *out)
{
    const struct ring_record records[] = {
        {.kind = WIRE_ATTENTION, .c = number, .thread = 7, .t0_ns = at + 3, .t1_ns = at + 40},
        {.kind = WIRE_FFN, .c = number, .thread = 7, .t0_ns = at + 45, .t1_ns = at + 90},
        {.kind = WIRE_FFN, .flags = WIRE_REPEATED, .c = number, .thread = 7, .t0_ns = at + 200, .t1_ns = at + 245},
        {.kind = WIRE_GRAPH, .flags = WIRE_WATCHED, .b = stops, .c = number, .thread = 7, .t0_ns = at, .t1_ns = at + 100},
        {.kind = WIRE_STEP, .thread = 7, .t0_ns = at, .t1_ns = at + 101},
    };
    bool ended = false;
    for (size_t i = 0; i < JL_COUNT(records); i++)
        if (i != 1 || second)
            ended = steps_add(s, &records[i], out);
    return ended;
}

/* Graph time is stretches, stops between them, what comes before and after: nothing is missing, nothing counted twice. */
static void time_between_stretches_is_of_stops(void **state)
{
    struct steps *s = calloc(1, sizeof(*s));
    struct profile_step p;
    (void)state;
    assert_true(a_graph(s, 1000, 1, 2, true, &p));
    assert_int_equal(p.stretch_ns, 82);
    assert_int_equal(p.stop_ns, 5);
    assert_int_equal(p.open_ns, 3);
    assert_int_equal(p.close_ns, 10);
    assert_int_equal(p.stretch_ns + p.stop_ns + p.open_ns + p.close_ns, p.graph_ns);
    assert_true(a_graph(s, 5000, 2, 2, true, &p)); /* what lies between two graphs is of neither */
    assert_int_equal(p.stop_ns, 5);
    assert_true(a_graph(s, 9000, 3, 2, false, &p)); /* a stretch was lost: the gap it leaves is no stop */
    assert_int_equal(p.stretch_ns, 37);
    assert_int_equal(p.stop_ns + p.open_ns + p.close_ns, 0);
    free(s);
}

/* A loop counts where it is told, and nothing else of its pass does. */
static void loops_are_kept_apart(void **state)
{
    struct measure *m;
    struct joulet_error err;
    (void)state;
    assert_int_equal(measure_open(&m, &err), JOULET_OK);
    m->phases[MEASURE_DECODE].first_s[MEASURE_FFN] = 1; /* 500 stretches of 2 ms */
    m->phases[MEASURE_DECODE].first_n[MEASURE_FFN] = 500;
    struct ring_record r = {.t0_ns = 1000,
                            .t1_ns = 2000001000,
                            .kind = WIRE_FFN,
                            .layer = -1,
                            .flags = WIRE_REPEATED | WIRE_LOOPED,
                            .tokens = 16,
                            .a = 1600000,
                            .b = 100};
    measure_begin(m, MEASURE_REPLAY, 1);
    measure_record(m, &r);
    r.flags = WIRE_WATCHED;
    measure_record(m, &r);
    r.flags = WIRE_REPEATED | WIRE_LOOPED | WIRE_FAILED;
    measure_record(m, &r);
    assert_int_equal(m->n_loops, 1);
    assert_int_equal(m->loops[0].kind, MEASURE_FFN);
    assert_true(m->loops[0].rounds == 100 && m->loops[0].stretches == 1600);
    assert_true(fabs(measure_loop_ratio(m, MEASURE_FFN) - 0.5) < 1e-12); /* 1 ms each: its weights stayed near */
    assert_true(isnan(measure_loop_ratio(m, MEASURE_HEAD)));
    assert_int_equal(m->n_pending, 0);
    r.flags = WIRE_REPEATED | WIRE_LOOPED;
    for (size_t i = 0; i < 2 * MEASURE_LOOPS; i++)
        measure_record(m, &r);
    assert_int_equal(m->n_loops, MEASURE_LOOPS);
    measure_close(m);
}

/* A fast sensor and long tokens need no repeats, unless a large component comes in pieces that are short for it. */
static void what_needs_repeats(void **state)
{
    static const struct {
        double token_s, reading_s, norm, norms; /* share and number of the norms in a token */
        bool repeats;
    } rows[] = {
        {0.074, 0.001, 0.004, 33, false}, /* small: a limit will do */
        {0.024, 0.001, 0.06, 25, true},   /* 58 us */
        {0.050, 0.001, 0.10, 33, false},  /* 152 us */
        {0.019, 0.001, 0.10, 5, true},    /* the token is short */
        {0.074, 0.1, 0.004, 33, true},    /* the sensor is slow */
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct measure *m;
        struct ring_control c;
        assert_int_equal(measure_open(&m, NULL), JOULET_OK);
        struct measure_of_phase *p = &m->phases[MEASURE_DECODE];
        p->units = 10;
        p->kind_s[MEASURE_NORM] = 10 * rows[i].token_s * rows[i].norm;
        p->kind_s[MEASURE_FFN] = 10 * rows[i].token_s * (1 - rows[i].norm);
        p->first_s[MEASURE_NORM] = p->kind_s[MEASURE_NORM];
        p->first_n[MEASURE_NORM] = (uint64_t)(10 * rows[i].norms);
        p->first_s[MEASURE_FFN] = p->kind_s[MEASURE_FFN];
        p->first_n[MEASURE_FFN] = 160;
        assert_true(measure_plan(m, rows[i].reading_s, &c) == rows[i].repeats);
        assert_true(!rows[i].repeats || (c.again[WIRE_AGAIN_NORM] > 0 && c.again[WIRE_AGAIN_HEAD] == 0));
        measure_close(m);
    }
}

/* An hour of 1B at nodes is 100 million records at most; what reads them keeps none. */
static void a_long_stream_takes_no_memory(void **state)
{
    enum { STEPS = 200000, EACH = 16 };
    struct ring_record out[CAPACITY];
    static struct steps s;
    struct profile_step p;
    size_t ended = 0;
    uint64_t number = 0;
    (void)state;
    steps_init(&s);
    make(0);
    struct ring *r = open_made();
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < STEPS; i++) {
        for (int k = 0; k < EACH; k++, number++)
            write_record(number, k == EACH - 1 ? WIRE_STEP : k == EACH - 2 ? WIRE_GRAPH : WIRE_FFN, number, number + 1);
        head()->reserved = number;
        size_t n = ring_read(r, out, CAPACITY);
        assert_int_equal(n, EACH);
        for (size_t k = 0; k < n; k++)
            ended += steps_add(&s, &out[k], &p);
    }
    struct mallinfo2 after = mallinfo2();
    assert_int_equal(ended, STEPS);
    assert_int_equal(p.kind_n[WIRE_FFN], EACH - 2);
    assert_int_equal(ring_lost(r) + s.dropped, 0);
    assert_int_equal(after.uordblks + after.hblkhd, before.uordblks + before.hblkhd);
    ring_close(r);
}

/* What is not named as a ring, or whose process runs, is not touched. */
static void rings_of_ended_processes_go(void **state)
{
    struct joulet_error err;
    (void)state;
    pid_t ended = fork();
    if (ended == 0)
        _exit(0);
    assert_int_equal(waitpid(ended, NULL, 0), ended);
    char *names[] = {jl_strf(WIRE_FILE, (long long)ended, 0x12ull),    jl_strf(WIRE_FILE, (long long)ended, 0xabcdull),
                     jl_strf(WIRE_FILE, (long long)getpid(), 0x12ull), jl_strf(WIRE_FILE ".txt", (long long)ended, 0x12ull),
                     jl_strf("other-%lld-12.ring", (long long)ended),  jl_strdup("notes")};
    for (size_t i = 0; i < JL_COUNT(names); i++)
        assert_int_equal(jl_write_file(scratch_path(names[i]), "x", 1, 0600, &err), JOULET_OK);
    ring_remove_ended(scratch);
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        if ((access(scratch_path(names[i]), F_OK) == 0) != (i > 1))
            fail_msg("%s is %s", names[i], i > 1 ? "gone" : "still there");
        free(names[i]);
    }
    ring_remove_ended(scratch_path("no-folder"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_are_taken_off),
        cmocka_unit_test(time_between_stretches_is_of_stops),
        cmocka_unit_test(loops_are_kept_apart),
        cmocka_unit_test(what_needs_repeats),
        cmocka_unit_test(a_long_stream_takes_no_memory),
        cmocka_unit_test(read_while_it_is_written),
        cmocka_unit_test(what_was_overwritten_is_lost),
        cmocka_unit_test(what_makes_no_sense_is_counted),
        cmocka_unit_test(numbers_go_round),
        cmocka_unit_test(names_stand_in_the_head),
        cmocka_unit_test(bad_heads),
        cmocka_unit_test(asking_the_writer),
        cmocka_unit_test(recorded_answers),
        cmocka_unit_test(recorded_nodes),
        cmocka_unit_test(cost_of_watching),
        cmocka_unit_test(cost_of_turns),
        cmocka_unit_test_setup_teardown(rings_of_ended_processes_go, scratch_open, scratch_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
