/* test_report.c - whole reports against golden files, and what holds for any record: no line too wide, no control character, no
 * figure where nothing is known. JOULET_GOLDEN names the folder; JOULET_GOLDEN_WRITE=1 writes the files anew, to be looked at
 * before they are committed. */
#include "lib/platform/platform.h"
#include "report/internal.h"
#include "tests/run/sample.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef void make(struct run *r, enum sample_machine m);

/* ---- how a sample is shown --------------------------------------------------------------------------------------- */

static void show_table(struct jl_buf *out, const struct run *r, const struct report_style *style)
{
    report_table(out, r, style);
}

static void show_block(struct jl_buf *out, const struct run *r, const struct report_style *style)
{
    report_block(out, r, NULL, style);
}

static void show_turn(struct jl_buf *out, const struct run *r, const struct report_style *style)
{
    report_block(out, r, &r->requests[r->n_requests - 1], style);
}

static void show_brief(struct jl_buf *out, const struct run *r, const struct report_style *style)
{
    report_turn(out, r, &r->requests[r->n_requests - 1], style);
}

static void show_run(struct jl_buf *out, const struct run *r, const struct report_style *style)
{
    report_run(out, r, style);
}

static void show_list(struct jl_buf *out, const struct run *r, const struct report_style *style)
{
    char model[] = "llama-3.2-1b-q4_0.gguf", command[] = "make -j8 all", done[] = "done", interrupted[] = "interrupted";
    struct store_row rows[] = {
        {.id = "20261121-170000-00bb",
         .kind = "exec",
         .title = command,
         .status = done,
         .net_j = 1111,
         .net_pm_j = 43,
         .tokens_out = -1},
        {.id = "20261121-152349-5f3a",
         .kind = "bench",
         .model = model,
         .status = done,
         .requests = 5,
         .net_j = r->energy.total.net_j,
         .net_pm_j = r->energy.total.net_pm_j,
         .tokens_out = 256,
         .provenance = r->energy.total.provenance},
        {.id = "20261121-152000-0001",
         .kind = "chat",
         .model = model,
         .status = interrupted,
         .requests = 2,
         .net_j = NAN,
         .net_pm_j = NAN,
         .gross_j = NAN,
         .tokens_out = 12,
         .provenance = JOULET_SIMULATED},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        rows[i].started_wall_ns = r->started_wall_ns - (int64_t)i * 60 * JL_NS_PER_S;
    report_list(out, rows, JL_COUNT(rows), style);
}

/* One configuration: the sample of bench without its cells. */
static void make_suite(struct run *r, enum sample_machine m)
{
    sample_bench(r, m);
    for (size_t i = 0; i < r->n_cells; i++) {
        free(r->cells[i].name);
        run_pairs_release(&r->cells[i].settings);
    }
    r->n_cells = 0;
}

/* The second cell is under load: its requests have no energy, their level has. */
static void make_plan(struct run *r, enum sample_machine m)
{
    sample_bench(r, m);
    struct run_window w = r->windows[1];
    run_energy_init(&w.energy);
    strcpy(w.name, "level");
    w.cell = 1;
    w.start_ns = r->requests[1].windows[0].start_ns;
    w.end_ns = r->requests[3].windows[2].end_ns;
    for (size_t i = 1; i < 4; i += 2) {
        struct run_request *q = &r->requests[i];
        q->stream = (int64_t)i / 2;
        for (size_t k = 0; k < q->energy.n_channels; k++)
            run_energy_add_channel(&w.energy, q->energy.channels[k].channel, &q->energy.channels[k].e);
        run_energy_release(&q->energy);
    }
    run_energy_total(r, &w.energy);
    run_add_window(&r->windows, &r->n_windows, &w);
    run_energy_from_requests(r);
}

/* A chat of three turns: the sample of bench by another name, without its warm-up. */
static void make_chat(struct run *r, enum sample_machine m)
{
    make_suite(r, m);
    strcpy(r->kind, "chat");
    r->requests[0].warmup = false;
}

/* Hardly anything is known. */
static void make_bare(struct run *r, enum sample_machine m)
{
    struct run_request q;
    struct run_window w;
    (void)m;
    run_init(r, "run");
    strcpy(r->id, "20261121-152349-0000");
    r->started_wall_ns = 1795274629000000000;
    run_request_init(&q);
    run_window_init(&w, "prefill", 0, JL_NS_PER_S);
    run_add_window(&q.windows, &q.n_windows, &w);
    run_add_request(r, &q);
}

/* The engine died: every request failed, the sensors were fine. */
static void make_failed(struct run *r, enum sample_machine m)
{
    make_suite(r, m);
    for (size_t i = 0; i < r->n_requests; i++) {
        r->requests[i].outcome = RUN_FAILED;
        free(r->requests[i].error);
        r->requests[i].error = jl_strdup("the engine died");
    }
    run_energy_from_requests(r);
}

/* A phase too short for its sensor, a device that left, text that means harm. */
static void make_odd(struct run *r, enum sample_machine m)
{
    sample_single(r, m);
    struct run_request *q = &r->requests[0];
    struct joulet_energy *e = &q->windows[0].energy.total;
    e->flags |= JOULET_FLAG_UNRESOLVED;
    q->windows[2].energy.total.flags |= JOULET_FLAG_JOINED;
    q->energy.total.flags |= JOULET_FLAG_GONE | JOULET_FLAG_PARTIAL;
    q->outcome = RUN_CANCELLED;
    free(q->error);
    q->error = jl_strdup("interrupted\033[2J by Ctrl-C");
    q->tokens.cached = 5;
    free(q->answer);
    q->answer = jl_strdup("\033]0;title\007 \u65e5\u672c\u8a9e \xff\xfe end");
    free(r->status);
    r->status = jl_strdup("interrupted");
    run_note(r, "a note with a very long word: %0200d", 7);
}

/* ---- golden files -------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    make *make;
    enum sample_machine machine;
    void (*show)(struct jl_buf *out, const struct run *r, const struct report_style *style);
    struct report_style style;
} cases[] = {
    {"run", sample_single, SAMPLE_SENSORS, show_turn, {.utf8 = true}},
    {"run-80-ascii", sample_single, SAMPLE_SENSORS, show_turn, {.width = 80}},
    {"run-estimated", sample_single, SAMPLE_ESTIMATE, show_turn, {.utf8 = true}},
    {"run-mixed", sample_single, SAMPLE_MIXED, show_turn, {.utf8 = true}},
    {"run-shown", sample_single, SAMPLE_SENSORS, show_run, {.utf8 = true}},
    {"run-bare", make_bare, SAMPLE_SENSORS, show_block, {.utf8 = true}},
    {"run-odd", make_odd, SAMPLE_SENSORS, show_run, {.utf8 = true, .width = 80}},
    {"exec", sample_exec, SAMPLE_SENSORS, show_block, {.utf8 = true}},
    {"exec-colour", sample_exec, SAMPLE_ESTIMATE, show_block, {.utf8 = true, .colour = true}},
    {"chat", make_chat, SAMPLE_SENSORS, show_block, {.utf8 = true}},
    {"turn", sample_single, SAMPLE_SENSORS, show_brief, {.utf8 = true, .width = 80}},
    {"turn-estimated", sample_single, SAMPLE_ESTIMATE, show_brief, {.utf8 = true, .width = 80}},
    {"bench-failed", make_failed, SAMPLE_SENSORS, show_table, {.utf8 = true}},
    {"plan", make_plan, SAMPLE_SENSORS, show_table, {.utf8 = true, .width = 140}},
    {"plan-80-ascii", make_plan, SAMPLE_ESTIMATE, show_table, {.width = 80}},
    {"bench", make_suite, SAMPLE_SENSORS, show_table, {.utf8 = true}},
    {"bench-80-ascii", make_suite, SAMPLE_SENSORS, show_table, {.width = 80}},
    {"bench-estimated", make_suite, SAMPLE_ESTIMATE, show_table, {.utf8 = true}},
    {"list", sample_bench, SAMPLE_ESTIMATE, show_list, {.utf8 = true}},
    {"list-60", sample_bench, SAMPLE_SENSORS, show_list, {.width = 60}},
};

static void compare(const char *name, const struct jl_buf *got)
{
    struct jl_buf want;
    struct joulet_error err;
    char *path = jl_strf("%s/%s.txt", getenv("JOULET_GOLDEN"), name);
    assert_non_null(path);
    if (getenv("JOULET_GOLDEN_WRITE"))
        assert_int_equal(jl_write_file(path, got->data, got->len, 0644, &err), JOULET_OK);
    jl_buf_init(&want, (size_t)1 << 20);
    if (jl_read_file(path, &want, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    if (want.len != got->len || memcmp(want.data, got->data, got->len))
        fail_msg("%s differs; this was written:\n%s", path, got->data);
    jl_buf_release(&want);
    free(path);
}

static void reports_are_as_agreed(void **state)
{
    (void)state;
    assert_non_null(getenv("JOULET_GOLDEN"));
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct run r;
        struct jl_buf b;
        jl_buf_init(&b, (size_t)1 << 20);
        cases[i].make(&r, cases[i].machine);
        cases[i].show(&b, &r, &cases[i].style);
        compare(cases[i].name, &b);
        jl_buf_release(&b);
        run_release(&r);
    }
}

/* ---- what always holds ---------------------------------------------------------------------------------------------- */

/* Every line of text within `columns`, printable, and in ASCII if so asked. */
static void check_lines(const struct jl_buf *b, int columns, bool ascii)
{
    for (const char *line = b->data, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end); /* the last line ends too */
        char *copy = jl_strf("%.*s", (int)(end - line), line);
        assert_non_null(copy);
        if (text_width(copy) > columns)
            fail_msg("%d columns where %d fit: %s", text_width(copy), columns, copy);
        if (end > line && end[-1] == ' ')
            fail_msg("blanks at the end: %s", copy);
        for (const char *p = copy; *p; p++) {
            unsigned char c = (unsigned char)*p;
            if (c < 0x20 || c == 0x7f || (ascii && c >= 0x80))
                fail_msg("character %02x in: %s", c, copy);
        }
        free(copy);
    }
}

static void no_line_is_too_wide(void **state)
{
    static make *const makers[] = {sample_bench, sample_single, sample_exec, make_chat, make_bare, make_odd};
    (void)state;
    for (size_t k = 0; k < JL_COUNT(makers); k++)
        for (int m = SAMPLE_SENSORS; m <= SAMPLE_MIXED; m++)
            for (int width = 20; width <= 130; width += 3) {
                struct run r;
                struct jl_buf b;
                struct report_style style = {.utf8 = width % 2, .width = width};
                jl_buf_init(&b, (size_t)1 << 20);
                makers[k](&r, (enum sample_machine)m);
                report_run(&b, &r, &style);
                report_block(&b, &r, NULL, &style);
                report_table(&b, &r, &style);
                show_list(&b, &r, &style);
                check_lines(&b, width, !style.utf8);
                jl_buf_release(&b);
                run_release(&r);
            }
}

/* Where nothing is known there is a "-", and never a nan, an inf or a zero. */
static void unknown_is_a_dash(void **state)
{
    static const struct report_style style = {.width = 100};
    struct run r;
    struct jl_buf b;
    (void)state;
    jl_buf_init(&b, (size_t)1 << 20);
    make_bare(&r, SAMPLE_SENSORS);
    report_run(&b, &r, &style);
    report_table(&b, &r, &style);
    assert_null(strstr(b.data, "nan"));
    assert_null(strstr(b.data, "inf"));
    assert_null(strstr(b.data, " 0 J"));
    assert_null(strstr(b.data, "0.0"));
    assert_non_null(strstr(b.data, "not known without an idle level"));
    jl_buf_release(&b);
    run_release(&r);
}

/* A share of processor time says to its end what it is and what it is blind to, for numbers of any length. */
static void a_share_says_what_it_is_blind_to(void **state)
{
    static const struct report_style style = {.utf8 = true, .width = 300};
    (void)state;
    for (int m = SAMPLE_SENSORS; m <= SAMPLE_MIXED; m++) {
        struct run r;
        struct jl_buf b;
        sample_single(&r, (enum sample_machine)m);
        struct run_cpu_time *t = &r.requests[0].cpu_time;
        *t = (struct run_cpu_time){.share = 0.1521, .share_pm = 0.0002, .engine_s = 1, .busy_s = 7, .processes = 12};
        strcpy(t->source, "process tree");
        t->e_llm = sample_energy(12345.678, 23456.789, m == SAMPLE_SENSORS ? JOULET_MEASURED : JOULET_ESTIMATED);
        t->m_eff = t->e_llm;
        jl_buf_init(&b, (size_t)1 << 20);
        report_block(&b, &r, &r.requests[0], &style);
        assert_non_null(strstr(b.data, "(process tree, 12 processes)"));
        assert_non_null(strstr(b.data, "its part of the CPU's energy by that share; blind to GPUs\n"));
        assert_non_null(strstr(b.data, "what of that fell into prefill and decode\n"));
        jl_buf_release(&b);
        run_release(&r);
    }
}

static void an_empty_list_says_what_to_do(void **state)
{
    static const struct report_style style = {.width = 100};
    struct jl_buf b;
    (void)state;
    jl_buf_init(&b, 1000);
    report_list(&b, NULL, 0, &style);
    assert_non_null(strstr(b.data, "joulet bench"));
    jl_buf_release(&b);
}

/* 3 channels of 30.2 W each with the model loaded; without it 30.2 - drop. Loading took 600 J. */
static char *kept_loaded(double drop_w, enum sample_machine m)
{
    static const struct report_style style = {.width = 400};
    struct run r;
    struct run_window w;
    struct jl_buf b;
    sample_bench(&r, m);
    for (size_t i = 0; i < r.n_channels; i++) {
        struct joulet_baseline l0 = {.power_w = 30.2 - drop_w, .u_w = 0.4};
        run_add_baseline(&r, r.channels[i].id, &l0, "L0");
    }
    run_window_init(&w, "load", r.start_ns, r.start_ns + JL_NS_PER_S);
    run_energy_init(&w.energy);
    w.energy.total = sample_energy(600, 700, JOULET_MEASURED);
    run_add_window(&r.windows, &r.n_windows, &w);
    jl_buf_init(&b, (size_t)1 << 20);
    report_table(&b, &r, &style);
    run_release(&r);
    return jl_buf_take(&b);
}

static void keep_alive_and_break_even(void **state)
{
    (void)state;
    char *text = kept_loaded(10, SAMPLE_SENSORS); /* 30 W, u = sqrt(3) hypot(.31, .4): 600 J are 20 s of it */
    assert_non_null(strstr(text, "keep-alive 30.0 +- 1.8 W"));
    if (!strstr(text, "after 20.0 s without a request (17.8 s to 22.5 s)"))
        fail_msg("%s", strstr(text, "keep-alive"));
    free(text);
    text = kept_loaded(.4, SAMPLE_SENSORS); /* may be nothing */
    assert_non_null(strstr(text, "at the least)"));
    free(text);
    text = kept_loaded(.1, SAMPLE_SENSORS);
    assert_non_null(strstr(text, "nothing that can be told from the idle machine"));
    free(text);
    text = kept_loaded(10, SAMPLE_ESTIMATE);
    assert_null(strstr(text, "keep-alive"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reports_are_as_agreed),
        cmocka_unit_test(no_line_is_too_wide),
        cmocka_unit_test(unknown_is_a_dash),
        cmocka_unit_test(a_share_says_what_it_is_blind_to),
        cmocka_unit_test(an_empty_list_says_what_to_do),
        cmocka_unit_test(keep_alive_and_break_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
