/* Plans: what people write, what comes of it, and what is refused with its line before anything starts. */
#include "tests/llm/scratch.h"

#include "llm/plans/matrix.h"

#include <math.h>

static enum joulet_status read_plan(struct plan_matrix *m, const char *text, struct joulet_error *err)
{
    struct plan_draft *d = plan_draft_open();
    *m = (struct plan_matrix){0};
    enum joulet_status st = plan_draft_parse(d, "my.plan", text, strlen(text), err);
    if (st == JOULET_OK)
        st = plan_draft_finish(d, m, err);
    plan_draft_close(d);
    return st;
}

static void good_plan(struct plan_matrix *m, const char *text)
{
    struct joulet_error err;
    if (read_plan(m, text, &err) != JOULET_OK)
        fail_msg("%s", err.message);
}

static const char whole[] = "# a comment\n"
                            "version = 1\n"
                            "title = \"A, B\"   # said once\n"
                            "repeat = 4\r\n"
                            "order = abba\n"
                            "baseline = 500ms\n"
                            "max-tokens = 16\n"
                            "prompts = chat\n"
                            "\n[matrix]\n"
                            "model = models/a.gguf, b.gguf\n"
                            "threads = 2,4\n"
                            "system = \"\", \"Be \\\"brief\\\",\\nplease.\"\n"
                            "server.ubatch-size = 64\n"
                            "[cell odd one]\n"
                            "model = c.gguf\n"
                            "temperature = 0.5\n";

static void a_plan_is_every_combination(void **state)
{
    struct plan_matrix m;
    (void)state;
    good_plan(&m, whole);
    assert_int_equal(m.n_cells, 9);
    assert_string_equal(m.title, "A, B");
    assert_int_equal(m.repeat, 4);
    assert_int_equal(m.warmup, 1);
    assert_true(m.baseline_s == 0.5 && m.baseline_most_s == 0.5); /* what was asked for is not extended */
    assert_true(m.cooldown_s == 10);
    assert_true(isnan(m.baseline_every_s));
    assert_string_equal(m.cells[0].name, "a, 2 threads, no system prompt");
    assert_string_equal(m.cells[3].name, "a, 4 threads, system \"Be \"brief\", please.\"");
    assert_string_equal(m.cells[4].name, "b, 2 threads, no system prompt");
    assert_string_equal(m.cells[8].name, "odd one");
    assert_string_equal(plan_cell_text(&m.cells[3], "system"), "Be \"brief\",\nplease.");
    assert_string_equal(plan_cell_text(&m.cells[3], "model"), "models/a.gguf");
    assert_int_equal(plan_cell_int(&m.cells[3], "threads", -1), 4);
    assert_int_equal(plan_cell_int(&m.cells[8], "threads", -1), -1);
    assert_int_equal(plan_cell_int(&m.cells[8], "max-tokens", -1), 16);
    assert_true(plan_cell_real(&m.cells[8], "temperature") == 0.5);
    assert_true(isnan(plan_cell_real(&m.cells[0], "temperature")));
    assert_true(plan_same_server(&m.cells[0], &m.cells[1]));
    assert_false(plan_same_server(&m.cells[0], &m.cells[2]));
    assert_false(plan_same_server(&m.cells[0], &m.cells[8]));
    assert_int_equal(m.n_sets, 1);
    char **options;
    size_t n;
    assert_true(plan_cell_options(&m.cells[0], "server.", &options, &n));
    assert_int_equal(n, 1);
    assert_string_equal(options[0], "ubatch-size=64");
    plan_free_options(options, n);
    plan_matrix_release(&m);
}

/* The text of a plan is that plan again, so that a run can be resumed from its record. */
static void its_text_is_the_same_plan(void **state)
{
    static const char *const plans[] = {whole,
                                        "",
                                        "max-ttft = 1.5\nfind-rate = yes\n",
                                        "model = x-{quantisation}.gguf\n[matrix]\nquantisation = q4_0, q8_0\n",
                                        "servers = apart\n[matrix]\nrate = 0.5, 2\n",
                                        "order = shuffled\norder-seed = 7\n[matrix]\nstreams = 1, 4"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(plans); i++) {
        struct plan_matrix a, b;
        good_plan(&a, plans[i]);
        good_plan(&b, a.text);
        assert_string_equal(a.text, b.text);
        assert_string_equal(a.sha256, b.sha256);
        assert_int_equal(a.n_cells, b.n_cells);
        plan_matrix_release(&a);
        plan_matrix_release(&b);
    }
}

static void quantisations_fill_in_the_name(void **state)
{
    struct plan_matrix m;
    (void)state;
    good_plan(&m, "model = x-{quantisation}.gguf\n[matrix]\nquantisation = q4_0, q8_0\n");
    assert_string_equal(plan_cell_text(&m.cells[1], "model"), "x-q8_0.gguf");
    assert_string_equal(m.cells[1].name, "q8_0");
    plan_matrix_release(&m);
}

static void bad_plans_are_refused(void **state)
{
    static const struct {
        const char *text, *says;
        enum joulet_status want;
    } rows[] = {
        {"repeat 4\n", "line 1: neither", JOULET_FORMAT},
        {"\nthread = 4\n", "line 2: there is no key \"thread\"", JOULET_FORMAT},
        {"version = 2\n", "version 2", JOULET_NEWER},
        {"version = 99 # later\n", "update joulet", JOULET_NEWER},
        {"version = one\n", "the version must be 1", JOULET_FORMAT},
        {"repeat = 0\n", "line 1: repeat: 0 is out of range", JOULET_FORMAT},
        {"repeat = many\n", "not a whole number", JOULET_FORMAT},
        {"order = aabb\n", "not one of listed,shuffled,abba", JOULET_FORMAT},
        {"baseline = soon\n", "not a time", JOULET_FORMAT},
        {"raw = maybe\n", "neither yes nor no", JOULET_FORMAT},
        {"repeat = 2\nrepeat = 3\n", "line 2: repeat is given already, in line 1", JOULET_FORMAT},
        {"title = \"open\n", "line 1: the quotes do not end", JOULET_FORMAT},
        {"title = \"a\" b\n", "behind the quotes", JOULET_FORMAT},
        {"model =\n", "it is empty", JOULET_FORMAT},
        {"[matrix]\nthreads = 2,,4\n", "line 2: a value of the list is empty", JOULET_FORMAT},
        {"[matrix]\nthreads = 2, 2\n", "2 stands there twice", JOULET_FORMAT},
        {"[matrix]\nrepeat = 2\n", "before the first [section]", JOULET_FORMAT},
        {"threads = 2\n[matrix]\nthreads = 2, 4\n", "line 3: threads is given already, in line 1", JOULET_FORMAT},
        {"[matrix\n", "does not end with a bracket", JOULET_FORMAT},
        {"[cells]\n", "sections are", JOULET_FORMAT},
        {"[cell x]\nrepeat = 2\n", "before the first", JOULET_FORMAT},
        {"server.BAD! = 2\n", "no key", JOULET_FORMAT},
        {"streams = 4\nrate = 2\n", "exclude each other", JOULET_USAGE},
        {"duration = 4\n", "duration belongs to a rate", JOULET_USAGE},
        {"raw = yes\nsystem = x\n", "does not go with system", JOULET_USAGE},
        {"[cell a]\nthreads = 2\n[cell b]\nraw = yes\nsystem = x\n", "cell \"b\": raw", JOULET_USAGE},
        {"find-rate = yes\n", "find-rate needs a limit", JOULET_USAGE},
        {"find-rate = yes\nmax-ttft = 1\n[matrix]\nthreads = 1, 2\n", "has 2 cells", JOULET_USAGE},
        {"quantisation = q4_0\nmodel = x.gguf\n", "needs {quantisation}", JOULET_USAGE},
        {"model = x-{quantisation}.gguf\n", "gives none", JOULET_USAGE},
        {"prompts = none.txt\n", "none.txt", JOULET_NOT_FOUND},
        {"repeat = 1000000\n", "about 9000000 requests", JOULET_LIMIT},
        {"rate = 10000\nduration = 1000\n", "about 10000000 requests", JOULET_LIMIT},
        {"a\xff = 2\n", "byte 2 is not UTF-8", JOULET_FORMAT},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct plan_matrix m;
        struct joulet_error err;
        enum joulet_status st = read_plan(&m, rows[i].text, &err);
        if (st != rows[i].want || !strstr(err.message, rows[i].says))
            fail_msg("row %zu: %d \"%s\"", i, st, err.message);
        assert_null(m.cells);
    }
}

static void too_many_combinations_are_counted(void **state)
{
    struct plan_matrix m;
    struct joulet_error err;
    struct jl_buf b;
    (void)state;
    jl_buf_init(&b, 1 << 20);
    jl_buf_str(&b, "[matrix]\n");
    for (int k = 0; k < 3; k++) {
        jl_buf_printf(&b, "%s = 1", k == 0 ? "threads" : k == 1 ? "top-k" : "seed");
        for (int i = 2; i <= 11; i++)
            jl_buf_printf(&b, ", %d", i);
        jl_buf_str(&b, "\n");
    }
    assert_int_equal(read_plan(&m, b.data, &err), JOULET_LIMIT);
    assert_says(err.message, "1331 combinations");
    jl_buf_release(&b);
}

static void options_add_to_a_plan(void **state)
{
    struct plan_matrix m;
    struct joulet_error err;
    struct plan_draft *d = plan_draft_open();
    static const char text[] = "threads = 2\n[matrix]\ncontext = 512, 1024\n";
    (void)state;
    assert_int_equal(plan_draft_parse(d, "my.plan", text, sizeof text - 1, &err), JOULET_OK);
    assert_int_equal(plan_draft_set(d, "threads", "8", &err), JOULET_OK);
    assert_int_equal(plan_draft_set(d, "context", "8", &err), JOULET_USAGE);
    assert_says(err.message, "my.plan varies context in line 3");
    assert_int_equal(plan_draft_set(d, "threads", "none", &err), JOULET_USAGE);
    assert_int_equal(plan_draft_set(d, "threads", "8", &err), JOULET_OK);
    assert_int_equal(plan_draft_vary(d, "temperature=0,1", &err), JOULET_OK);
    assert_int_equal(plan_draft_vary(d, "temperature=0,1", &err), JOULET_USAGE);
    assert_int_equal(plan_draft_vary(d, "threads=0,1", &err), JOULET_USAGE);
    assert_int_equal(plan_draft_vary(d, "repeat=1,2", &err), JOULET_USAGE);
    assert_int_equal(plan_draft_vary(d, "nonsense", &err), JOULET_USAGE);
    assert_int_equal(plan_draft_vary(d, "nonsense=1", &err), JOULET_USAGE);
    assert_int_equal(plan_draft_value(d, "model", "a", &err), JOULET_OK);
    assert_int_equal(plan_draft_value(d, "model", "b", &err), JOULET_OK);
    assert_int_equal(plan_draft_finish(d, &m, &err), JOULET_OK);
    assert_int_equal(m.n_cells, 8);
    assert_string_equal(m.cells[7].name, "context 1024, temperature 1, b");
    assert_int_equal(plan_cell_int(&m.cells[7], "threads", -1), 8);
    plan_matrix_release(&m);
    plan_draft_close(d);
}

/* ---- order -------------------------------------------------------------------------------------------------------------- */

static void steps_of(struct plan_matrix *m, const char *text, struct plan_step **steps, size_t *n)
{
    good_plan(m, text);
    assert_int_equal(plan_steps(m, 0, steps, n, NULL), JOULET_OK);
}

/* Each once, and the cells as letters for the prompt that is asked for. */
static void cells_of(const struct plan_step *s, size_t n, size_t prompt, char *out)
{
    for (size_t i = 0; i < n; i++)
        if (s[i].prompt == prompt)
            *out++ = (char)('A' + s[i].cell);
    *out = '\0';
}

static void abba_takes_turns(void **state)
{
    struct plan_matrix m;
    struct plan_step *s;
    size_t n;
    char order[128];
    (void)state;
    steps_of(&m, "prompts = chat\nrepeat = 8\n[matrix]\nthreads = 1, 2\n", &s, &n);
    assert_int_equal(n, 8 * 8 * 2);
    cells_of(s, n, 0, order);
    assert_string_equal(order, "ABBABAABBAABABBA");
    cells_of(s, n, 1, order);
    assert_string_equal(order, "BAABABBAABBABAAB");
    for (size_t i = 0; i < n; i += 2) { /* a pair is neighbours */
        assert_int_equal(s[i].prompt, s[i + 1].prompt);
        assert_int_equal(s[i].repeat, s[i + 1].repeat);
        assert_int_not_equal(s[i].cell, s[i + 1].cell);
    }
    free(s);
    plan_matrix_release(&m);
}

static void shuffled_is_repeatable(void **state)
{
    struct plan_matrix m;
    struct plan_step *s, *again;
    size_t n, seen[3][8][4] = {0}, moved = 0;
    (void)state;
    steps_of(&m, "prompts = chat\nrepeat = 4\norder = shuffled\norder-seed = 3\n[matrix]\nthreads = 1, 2, 3\n", &s, &n);
    assert_int_equal(plan_steps(&m, 0, &again, &n, NULL), JOULET_OK);
    for (size_t i = 0; i < n; i++) {
        seen[s[i].cell][s[i].prompt][s[i].repeat]++;
        assert_memory_equal(&s[i], &again[i], sizeof s[i]);
        moved += i && s[i].cell != s[i - 1].cell;
    }
    for (size_t i = 0; i < 3 * 8 * 4; i++)
        assert_int_equal((&seen[0][0][0])[i], 1);
    assert_true(moved > 20);
    free(again);
    m.seed = 4;
    assert_int_equal(plan_steps(&m, 0, &again, &n, NULL), JOULET_OK);
    assert_memory_not_equal(s, again, n * sizeof *s);
    free(s);
    free(again);
    plan_matrix_release(&m);
}

static void levels_stay_together(void **state)
{
    struct plan_matrix m;
    struct plan_step *s;
    size_t n, blocks = 0;
    (void)state;
    steps_of(&m, "prompts = chat\nrepeat = 4\n[matrix]\nstreams = 1, 4\n", &s, &n);
    for (size_t i = 0; i < n; i++)
        blocks += !i || s[i].cell != s[i - 1].cell;
    assert_int_equal(n, 64);
    assert_int_equal(blocks, 6); /* A BB A B AA B: neighbours of one cell are one block */
    free(s);
    plan_matrix_release(&m);
}

/* Mean and spread of the gaps are those of a Poisson process of that rate. */
static void arrivals_are_poisson(void **state)
{
    struct plan_matrix m;
    struct plan_step *s;
    size_t n;
    double sum = 0, squares = 0;
    (void)state;
    steps_of(&m, "prompts = chat\nrate = 10\nduration = 1000\n", &s, &n);
    for (size_t i = 1; i < n; i++) {
        double gap = s[i].at_s - s[i - 1].at_s;
        assert_true(gap > 0);
        sum += gap;
        squares += gap * gap;
        assert_int_equal(s[i].prompt, i % 8);
    }
    double mean = sum / (double)(n - 1), sd = sqrt(squares / (double)(n - 1) - mean * mean);
    assert_true(fabs(mean - 0.1) < 0.004 && fabs(sd - 0.1) < 0.006);
    free(s);
    plan_matrix_release(&m);
    steps_of(&m, "prompts = chat\nrate = 0.001\nduration = 2\n", &s, &n);
    assert_int_equal(n, 1); /* one at least, inside the duration */
    assert_true(s[0].at_s < 2);
    free(s);
    plan_matrix_release(&m);
}

static void search_finds_the_rate(void **state)
{
    static const double limits[] = {0.07, 0.9, 1.0, 3.3, 47};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(limits); i++) {
        struct plan_search s;
        plan_search_init(&s, 1);
        while (plan_search_next(&s, s.rate <= limits[i]))
            ;
        assert_true(s.good <= limits[i] && s.bad > limits[i] && s.bad / s.good <= 1.1);
        assert_true(s.levels < 16);
    }
    struct plan_search never;
    plan_search_init(&never, 1);
    while (plan_search_next(&never, false))
        ;
    assert_true(isnan(never.good) && never.levels == 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_is_every_combination),
        cmocka_unit_test(its_text_is_the_same_plan),
        cmocka_unit_test(quantisations_fill_in_the_name),
        cmocka_unit_test(bad_plans_are_refused),
        cmocka_unit_test(too_many_combinations_are_counted),
        cmocka_unit_test(options_add_to_a_plan),
        cmocka_unit_test(abba_takes_turns),
        cmocka_unit_test(shuffled_is_repeatable),
        cmocka_unit_test(levels_stay_together),
        cmocka_unit_test(arrivals_are_poisson),
        cmocka_unit_test(search_finds_the_rate),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
