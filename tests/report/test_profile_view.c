/* test_profile_view.c - views of profiles against golden files, and what holds for any record: no line too wide, no control
 * character, the same data for charts as for tables. JOULET_GOLDEN names the folder; JOULET_GOLDEN_WRITE=1 writes the files anew,
 * to be looked at before they are committed. */
#include "lib/platform/platform.h"
#include "report/internal.h"
#include "report/profile.h"
#include "tests/run/near.h"
#include "tests/run/profile_sample.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

static char *shown(enum profile_sample s, const struct report_profile_options *options, const struct report_style *style)
{
    struct run_profile p;
    struct jl_buf out;
    jl_buf_init(&out, 1 << 24);
    profile_sample(&p, s);
    report_profile(&out, &p, options, style);
    run_profile_release(&p);
    assert_false(out.failed);
    return jl_buf_take(&out);
}

static char *compared(enum profile_sample a, enum profile_sample b, const struct report_style *style)
{
    struct run_profile x, y;
    struct jl_buf out;
    jl_buf_init(&out, 1 << 24);
    profile_sample(&x, a);
    profile_sample(&y, b);
    report_profile_compare(&out, &x, &y, style);
    run_profile_release(&x);
    run_profile_release(&y);
    return jl_buf_take(&out);
}

static double number(json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

/* ---- golden files ------------------------------------------------------------------------------------------------ */

static void check_golden(const char *name, const char *text)
{
    const char *folder = getenv("JOULET_GOLDEN");
    assert_non_null(folder);
    char *path = jl_strf("%s/%s.txt", folder, name);
    struct jl_buf want;
    struct joulet_error err;
    if (getenv("JOULET_GOLDEN_WRITE"))
        assert_int_equal(jl_write_file(path, text, strlen(text), 0644, &err), JOULET_OK);
    jl_buf_init(&want, 1 << 24);
    if (jl_read_file(path, &want, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    if (strlen(text) != want.len || memcmp(text, want.data, want.len))
        fail_msg("%s is not what is shown now:\n%s", path, text);
    jl_buf_release(&want);
    free(path);
}

static void views_are_the_golden_ones(void **state)
{
    static const struct {
        const char *name;
        enum profile_sample sample;
        struct report_profile_options options;
        struct report_style style;
    } cases[] = {
        {"profile-80", PROFILE_DENSE, {0}, {.utf8 = true, .width = 80}},
        {"profile-80-ascii", PROFILE_DENSE, {0}, {.width = 80}},
        {"profile-200", PROFILE_DENSE, {0}, {.utf8 = true, .width = 200}},
        {"profile-colour", PROFILE_DENSE, {.phase = "decode"}, {.utf8 = true, .colour = true, .width = 80}},
        {"profile-layers", PROFILE_DENSE, {.layers = true, .phase = "decode"}, {.utf8 = true, .width = 80}},
        {"profile-moe", PROFILE_MOE, {0}, {.utf8 = true, .width = 100}},
        {"profile-large", PROFILE_LARGE, {.phase = "decode"}, {.utf8 = true, .width = 80}},
        {"profile-time", PROFILE_TIME, {.phase = "decode"}, {.utf8 = true, .width = 80}},
        {"profile-stages", PROFILE_STAGES, {0}, {.utf8 = true, .width = 80}},
        {"profile-empty", PROFILE_EMPTY, {0}, {.utf8 = true, .width = 80}},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        char *text = shown(cases[i].sample, &cases[i].options, &cases[i].style);
        check_golden(cases[i].name, text);
        free(text);
    }
}

/* A machine so busy, or a model so small, that decode is not above its own interval; prefill is. */
static void leave_decode_unresolved(struct run_profile *p)
{
    for (size_t i = 0; i < p->n_phases; i++)
        if (!strcmp(p->phases[i].name, "decode")) {
            p->phases[i].joules = -0.5;
            p->phases[i].joules_pm = 2;
        }
    for (size_t i = 0; i < p->n_rows; i++)
        if (!strcmp(p->rows[i].phase, "decode") && !isnan(p->rows[i].joules))
            p->rows[i].joules *= i % 2 ? -0.01 : 0.02;
}

/* Its components have no energy anywhere: in tables, in maps, in what charts get, in comparisons. */
static void what_is_not_resolved_has_no_components(void **state)
{
    static const struct report_style style = {.utf8 = true, .width = 100};
    struct run_profile p, q;
    struct jl_buf out;
    json_t *bar, *map;
    size_t i, bars = 0;
    (void)state;
    profile_sample(&p, PROFILE_DENSE);
    profile_sample(&q, PROFILE_DENSE);
    leave_decode_unresolved(&p);
    jl_buf_init(&out, 1 << 24);
    report_profile(&out, &p, NULL, &style);
    check_golden("profile-unresolved", out.data);
    jl_buf_clear(&out);
    report_profile(&out, &p, &(struct report_profile_options){.layers = true, .phase = "decode"}, &style);
    assert_null(strstr(out.data, "decode by layer"));
    jl_buf_clear(&out);
    report_profile_data(&out, &p);
    json_t *o = json_loadb(out.data, out.len, 0, NULL);
    json_array_foreach(json_object_get(o, "sankey"), i, bar)
    {
        double j = number(bar, "joules");
        bool of_decode = !strcmp(json_string_value(json_object_get(bar, "source")), "decode") ||
                         !strcmp(json_string_value(json_object_get(bar, "target")), "decode");
        assert_true(of_decode ? isnan(j) : j > 0 || number(bar, "limit_j") > 0);
    }
    assert_near(number(json_array_get(json_object_get(o, "sankey"), 0), "joules"), 11, 1e-9);
    json_array_foreach(json_object_get(o, "bars"), i, bar)
    {
        static const char *const keys[] = {"joules", "joules_pm",  "limit_j",   "j_per_token", "limit_j_per_token",
                                           "share",  "j_per_flop", "j_per_byte"};
        for (size_t k = 0; k < JL_COUNT(keys) && !strcmp(json_string_value(json_object_get(bar, "phase")), "decode"); k++)
            assert_true(json_is_null(json_object_get(bar, keys[k])));
        assert_true(number(bar, "time_share") > 0);
        bars++;
    }
    assert_int_equal(bars, 14);
    json_array_foreach(json_object_get(o, "heatmap"), i, map)
    {
        assert_int_equal(json_is_null(json_array_get(json_array_get(json_object_get(map, "j_per_token"), 3), 0)),
                         !strcmp(json_string_value(json_object_get(map, "phase")), "decode"));
    }
    json_array_foreach(json_object_get(o, "series"), i, bar)
    {
        assert_int_equal(isnan(number(bar, "j_per_token")),
                         !strcmp(json_string_value(json_object_get(bar, "series")), "position"));
    }
    json_decref(o);
    jl_buf_clear(&out);
    report_profile_compare(&out, &p, &q, &style);
    check_golden("profile-compare-unresolved", out.data);
    jl_buf_clear(&out);
    struct report_profile_list *list = report_profile_list_new();
    report_profile_list_add(list, &p, &style);
    report_profile_list_write(list, &out, &style);
    assert_non_null(strstr(out.data, "not resolved"));
    jl_buf_release(&out);
    run_profile_release(&p);
    run_profile_release(&q);
}

/* A repeat that took less time than in a token found its data in a cache; one that took more did not. */
static void repeats_that_took_longer_are_not_called_warm(void **state)
{
    static const struct {
        double attention, ffn; /* time again */
        const char *says, *never;
    } rows[] = {
        {0.98, 0.81, "ffn: again took less than 0.9 of the time in a token, so the data was warm", "more than 1.1"},
        {1.25, 1.01, "attention: again took more than 1.1 of the time in a token, so the machine was slower", "was warm"},
        {0.5, 1.3, "ffn: again took more than 1.1", "attention, ffn: again"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct run_profile p;
        struct jl_buf out;
        jl_buf_init(&out, 1 << 24);
        profile_sample(&p, PROFILE_DENSE);
        p.replay[0].time_ratio = rows[i].attention;
        p.replay[1].time_ratio = rows[i].ffn;
        for (size_t k = 0; k < 2; k++)
            p.replay[k].warm = p.replay[k].time_ratio < 0.9 || p.replay[k].time_ratio > 1.1;
        report_profile(&out, &p, NULL, &(struct report_style){.utf8 = true, .width = 250});
        if (!strstr(out.data, rows[i].says) || strstr(out.data, rows[i].never))
            fail_msg("row %zu: not \"%s\" in\n%s", i, rows[i].says, out.data);
        jl_buf_release(&out);
        run_profile_release(&p);
    }
}

/* What the view of the whole sample says; nothing of what it must not say. */
static void must_show(struct run_profile *p, const char *phase, const char *says, const char *never)
{
    struct jl_buf out;
    jl_buf_init(&out, 1 << 24);
    report_profile(&out, p, &(struct report_profile_options){.phase = phase}, &(struct report_style){.width = 500});
    if ((says && !strstr(out.data, says)) || (never && strstr(out.data, never)))
        fail_msg("not \"%s\", or \"%s\", in\n%s", says ? says : "", never ? never : "", out.data);
    jl_buf_release(&out);
    run_profile_release(p);
}

static void few_readings_have_a_remedy(void **state)
{
    struct run_profile p;
    (void)state;
    profile_sample(&p, PROFILE_TIME);
    snprintf(p.how.reason, sizeof p.how.reason, "%s", joulet_components_reason_text(JOULET_COMPONENTS_FEW_WINDOWS));
    must_show(&p, NULL, "assuming equal power; measure for longer (-n, --duration)", NULL);
    profile_sample(&p, PROFILE_TIME);
    snprintf(p.how.reason, sizeof p.how.reason, "%s", joulet_components_reason_text(JOULET_COMPONENTS_COSTLY));
    must_show(&p, NULL, "assuming equal power", "measure for longer");
}

static void one_thread_is_no_threads(void **state)
{
    struct run_profile p;
    (void)state;
    profile_sample(&p, PROFILE_DENSE);
    run_pairs_set(&p.settings, "threads", 'n', "1");
    must_show(&p, NULL, "b6000, 1 thread\n", NULL);
}

/* Only where one of the tables has it: those of another phase are not drawn. */
static void limits_are_explained_where_they_are(void **state)
{
    static const char said[] = "< is an upper limit";
    struct run_profile p;
    (void)state;
    profile_sample(&p, PROFILE_DENSE);
    must_show(&p, "decode", said, NULL);
    profile_sample(&p, PROFILE_DENSE);
    for (size_t i = 0; i < p.n_rows; i++)
        if (!strcmp(p.rows[i].phase, "decode"))
            p.rows[i].limit_j = NAN;
    must_show(&p, "decode", NULL, said);
    profile_sample(&p, PROFILE_STAGES);
    run_profile_add_point(&p, &(struct run_profile_point){
                                  .series = "model", .phase = "decode", .label = "one layer", .x = 3, .joules = 1, .limit_j = 2});
    must_show(&p, NULL, said, NULL);
}

/* What leaving layers out has shown, or that nobody looked, or that it was too uncertain. */
static void what_is_known_of_layers(void **state)
{
    static const struct {
        const char *power, *says;
        double ratio, pm;
    } rows[] = {
        {"assumed", "each layer is assumed, not measured", NAN, NAN},
        {"assumed", "is assumed: leaving 8 out saves 90 ± 30 % of what their rows say, which is too uncertain to tell", 0.9, 0.3},
        {"checked", "was checked: leaving 8 out saves 98.0 ± 2.0 % of what their rows say", 0.98, 0.02},
        {"differs", "does not hold: leaving 8 out saves 130.0 ± 4.0 % of what their rows say: figures by layer are wrong", 1.3,
         0.04},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct run_profile p;
        struct jl_buf out;
        jl_buf_init(&out, 1 << 24);
        profile_sample(&p, PROFILE_DENSE);
        snprintf(p.how.layers_power, sizeof p.how.layers_power, "%s", rows[i].power);
        p.how.layers_ratio = rows[i].ratio;
        p.how.layers_ratio_pm = rows[i].pm;
        report_profile(&out, &p, NULL, &(struct report_style){.utf8 = true, .width = 250});
        if (!strstr(out.data, rows[i].says))
            fail_msg("row %zu: not \"%s\" in\n%s", i, rows[i].says, out.data);
        jl_buf_release(&out);
        run_profile_release(&p);
    }
}

static void comparisons_are_the_golden_ones(void **state)
{
    static const struct {
        const char *name;
        enum profile_sample a, b;
        struct report_style style;
    } cases[] = {
        {"profile-compare", PROFILE_DENSE, PROFILE_MOE, {.utf8 = true, .width = 100}},
        {"profile-compare-80-ascii", PROFILE_DENSE, PROFILE_TIME, {.width = 80}},
        {"profile-compare-scaled", PROFILE_DENSE, PROFILE_LARGE, {.utf8 = true, .width = 100}},
        {"profile-compare-nothing", PROFILE_DENSE, PROFILE_EMPTY, {.utf8 = true, .width = 100}},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        char *text = compared(cases[i].a, cases[i].b, &cases[i].style);
        check_golden(cases[i].name, text);
        free(text);
    }
}

/* ---- any record -------------------------------------------------------------------------------------------------- */

/* Without the sequences that set colours, which take no columns. */
static void without_colours(char *s)
{
    char *to = s;
    while (*s)
        if (*s == '\033')
            s += strcspn(s, "m") + 1;
        else
            *to++ = *s++;
    *to = '\0';
}

/* A command of advice, which is to be copied: whole, however wide that is. */
static bool is_command(const char *line)
{
    bool command = strstr(line, "try it: joulet ") || strstr(line, "compare: joulet ");
    if (command && !strstr(line, " --repeat 10") && !strstr(line, "joulet compare last"))
        fail_msg("broken: \"%s\"", line);
    return command;
}

static void no_line_is_too_wide(void **state)
{
    static const int widths[] = {40, 60, 80, 100, 137, 200, 500};
    (void)state;
    for (size_t w = 0; w < JL_COUNT(widths); w++)
        for (int s = 0; s < PROFILE_SAMPLES; s++)
            for (int k = 0; k < 8; k++) {
                struct report_style style = {.utf8 = k & 1, .colour = k & 2, .width = widths[w]};
                struct report_profile_options options = {.layers = k & 4};
                char *text = shown((enum profile_sample)s, &options, &style);
                without_colours(text);
                for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
                    if (!is_command(line) && text_width(line) > widths[w])
                        fail_msg("%s at %d: \"%s\"", profile_sample_name((enum profile_sample)s), widths[w], line);
                    for (const char *c = line; *c; c++)
                        assert_true((unsigned char)*c >= 0x20 && (style.utf8 || (unsigned char)*c < 0x7f));
                }
                free(text);
            }
}

/* Names of a foreign file do not command the terminal. */
static void foreign_names_are_harmless(void **state)
{
    static const struct report_style style = {.utf8 = true, .width = 80};
    struct run_profile p;
    struct jl_buf out;
    (void)state;
    profile_sample(&p, PROFILE_DENSE);
    for (size_t i = 0; i < p.n_rows; i++)
        memcpy(p.rows[i].component, "\033[31m\n", 7);
    for (size_t i = 0; i < p.n_phases; i++)
        memcpy(p.phases[i].name, "a\033[2J", 6);
    for (size_t i = 0; i < p.n_rows; i++)
        memcpy(p.rows[i].phase, "a\033[2J", 6);
    for (size_t i = 0; i < p.n_spans; i++)
        memcpy(p.spans[i].stage, "\033[2J", 5);
    for (size_t i = 0; i < p.n_points; i++)
        memcpy(p.points[i].component, "\033[2J", 5);
    memcpy(p.advice[0].rule, "\033[2J", 5);
    memcpy(p.how.level, "\033[2J", 5);
    run_profile_note(&p, "\033]0;title\007");
    jl_buf_init(&out, 1 << 24);
    for (int layers = 0; layers < 2; layers++) {
        struct report_profile_options options = {.layers = layers, .phase = p.phases[2].name};
        report_profile(&out, &p, &options, &style);
    }
    for (size_t i = 0; i < out.len; i++)
        if (out.data[i] != '\n' && (unsigned char)out.data[i] < 0x20)
            fail_msg("control character %d in: %.40s", out.data[i], out.data + (i > 20 ? i - 20 : 0));
    jl_buf_release(&out);
    run_profile_release(&p);
}

/* ---- figures ----------------------------------------------------------------------------------------------------- */

static json_t *data_of(enum profile_sample s)
{
    struct run_profile p;
    struct jl_buf out;
    json_error_t err;
    jl_buf_init(&out, 1 << 24);
    profile_sample(&p, s);
    report_profile_data(&out, &p);
    json_t *o = json_loadb(out.data, out.len, 0, &err);
    if (!o)
        fail_msg("%s: %s in line %d", profile_sample_name(s), err.text, err.line);
    jl_buf_release(&out);
    run_profile_release(&p);
    return o;
}

/* Of each phase what flows into it flows out again, as a Sankey wants it. */
static void flows_are_conserved(void **state)
{
    (void)state;
    for (int s = PROFILE_DENSE; s <= PROFILE_TIME; s++) {
        json_t *o = data_of((enum profile_sample)s), *link;
        double in = NAN, out = 0;
        size_t i;
        json_array_foreach(json_object_get(o, "sankey"), i, link)
        {
            const char *source = json_string_value(json_object_get(link, "source")),
                       *target = json_string_value(json_object_get(link, "target"));
            double j = number(link, "joules");
            if (!strcmp(source, "model") && !strcmp(target, "decode"))
                in = j;
            if (!strcmp(source, "decode") && !isnan(j))
                out += j;
        }
        assert_near(out, in, 1e-9 * in);
        json_decref(o);
    }
}

static void shares_add_up(void **state)
{
    (void)state;
    for (int s = PROFILE_DENSE; s <= PROFILE_TIME; s++) {
        json_t *o = data_of((enum profile_sample)s), *bar;
        double share = 0, expected = 0, time = 0, limits = 0;
        size_t i;
        json_array_foreach(json_object_get(o, "bars"), i, bar)
        {
            const char *phase = json_string_value(json_object_get(bar, "phase"));
            if (strcmp(phase, "decode") || json_is_string(json_object_get(bar, "part")))
                continue;
            double x = number(bar, "share");
            share += isnan(x) ? 0 : x;
            limits += isnan(x);
            expected += number(bar, "expected_share");
            time += number(bar, "time_share");
        }
        assert_near(share, 1, 0.001); /* what is only limited has the rest */
        assert_true(limits > 0);
        assert_near(expected, 1, 1e-9);
        assert_near(time, 1, 1e-9);
        json_decref(o);
    }
}

/* A record whose energies are a millionth: no figure begins with a row of noughts. */
static void small_energies_have_small_units(void **state)
{
    const struct report_style style = {.width = 100, .utf8 = true};
    const struct report_profile_options options = {.layers = false};
    struct run_profile p;
    struct jl_buf out;
    (void)state;
    jl_buf_init(&out, 1 << 24);
    profile_sample(&p, PROFILE_DENSE);
    for (size_t i = 0; i < p.n_rows; i++) {
        p.rows[i].joules *= 1e-9;
        p.rows[i].joules_pm *= 1e-9;
        p.rows[i].limit_j *= 1e-9;
    }
    report_profile(&out, &p, &options, &style);
    run_profile_release(&p);
    char *text = jl_buf_take(&out);
    for (char *at = text; (at = strstr(at, "\u00b5J")); at++) {
        char *number = at;
        while (number > text && number[-1] == ' ')
            number--;
        while (number > text && number[-1] != ' ' && number[-1] != '\n')
            number--;
        assert_true(strncmp(number, "0.0", 3) != 0);
    }
    assert_non_null(strstr(text, " nJ"));
    free(text);
}

/* Four of eighty layers: energy of a token is of all eighty, joules are of the four. */
static void layers_are_scaled(void **state)
{
    json_t *o = data_of(PROFILE_LARGE), *bar;
    size_t i;
    struct run_profile p;
    (void)state;
    profile_sample(&p, PROFILE_LARGE);
    double last = run_profile_sum(&p, "prefill", "ffn", 3).joules / 64;
    run_profile_release(&p);
    assert_near(number(o, "scale"), 20, 1e-12);
    json_array_foreach(json_object_get(o, "bars"), i, bar)
    {
        const char *component = json_string_value(json_object_get(bar, "component"));
        bool decode = !strcmp(json_string_value(json_object_get(bar, "phase")), "decode");
        double per_token = number(bar, "joules") / (decode ? 100 : 64);
        if (!strcmp(component, "ffn") && decode)
            assert_near(number(bar, "j_per_token"), 20 * per_token, 1e-9);
        if (!strcmp(component, "ffn") && !decode) /* the last layer of a prefill is another one */
            assert_near(number(bar, "j_per_token"), (per_token - last) * 79 / 3 + last, 1e-9);
        if (!strcmp(component, "head"))
            assert_near(number(bar, "j_per_token"), per_token, 1e-9);
    }
    json_decref(o);
}

static void set_phase(struct run_profile *p, const char *name, double seconds, double j, double pm, double limit_j)
{
    struct run_profile_phase x = {
        .tokens = 10, .steps = -1, .seconds = seconds, .joules = j, .joules_pm = pm, .limit_j = limit_j};
    snprintf(x.name, sizeof x.name, "%s", name);
    x.scaled_joules = x.scaled_joules_pm = x.scaled_seconds = x.flop = x.bytes = x.least_s = NAN;
    run_profile_add_phase(p, &x);
}

/* What was taken out of a phase is in it with its interval: in their sum it is not, and 100 +- 1 J stay that. Host work without a
 * power was not taken out, and its seconds are those of decode. */
static void the_sum_of_phases_has_the_interval_of_what_was_measured(void **state)
{
    struct run_profile p;
    struct jl_buf out;
    (void)state;
    profile_sample(&p, PROFILE_EMPTY);
    set_phase(&p, "prefill", 2, 50 - 4, hypot(0.75, 3), NAN);
    set_phase(&p, "tokenise", 1, 4, 3, NAN);
    set_phase(&p, "decode", 4, 100 - 1.5, hypot(1, 1.5), NAN);
    set_phase(&p, "sample", 0.5, NAN, NAN, 3);
    set_phase(&p, "detokenise", 2.5, NAN, NAN, NAN);
    jl_buf_init(&out, 1 << 24);
    report_profile(&out, &p, NULL, &(struct report_style){.width = 120});
    if (!strstr(out.data, "  all         7.50 s          150.0 +- 1.2 J"))
        fail_msg("%s", out.data);
    jl_buf_release(&out);
    run_profile_release(&p);
}

/* B against A with known figures: the ratio, its interval, and each way of dividing. */
static void differences_have_their_interval(void **state)
{
    struct run_profile a, b;
    struct jl_buf out;
    (void)state;
    profile_sample(&a, PROFILE_DENSE);
    profile_sample(&b, PROFILE_DENSE);
    for (size_t i = 0; i < b.n_phases; i++) {
        a.phases[i].joules_pm = 0.03 * a.phases[i].joules;
        b.phases[i].joules *= 1.2;
        b.phases[i].joules_pm = 0.04 * b.phases[i].joules;
        b.phases[i].flop *= 2;
    }
    run_pairs_set(&b.model, "parameters", 'n', "%.0f", 1.5 * 1.236e9);
    jl_buf_init(&out, 1 << 20);
    report_profile_compare_json(&out, &a, &b);
    json_t *o = json_loadb(out.data, out.len, 0, NULL), *bar = json_array_get(json_object_get(o, "bars"), 0);
    assert_string_equal(json_string_value(json_object_get(bar, "phase")), "prefill");
    assert_near(number(json_object_get(bar, "per_token"), "change"), 0.2, 1e-9);
    assert_near(number(json_object_get(bar, "per_token"), "pm"), 1.2 * 0.05, 1e-9);
    assert_near(number(json_object_get(bar, "per_parameter"), "change"), 1.2 / 1.5 - 1, 1e-9);
    assert_near(number(json_object_get(bar, "per_flop"), "change"), 1.2 / 2 - 1, 1e-9);
    assert_int_equal(json_array_size(json_object_get(o, "not_comparable")), 0);
    json_decref(o);
    jl_buf_release(&out);
    run_profile_release(&a);
    run_profile_release(&b);
}

/* What else differs between the two is said, in words; two versions of an engine too. */
static void other_differences_are_named(void **state)
{
    static const char *const words[] = {"engine: A b6000, B b7000: the difference is of engine and model together",
                                        "machine: A Example CPU with 4 cores, B Other CPU", "threads: A 4, B 8",
                                        "energy of B is of a simulated or replayed sensor",
                                        "what counts: A all, B slot 0, the first 16 tokens of each answer: "};
    static const struct report_style wide = {.utf8 = true, .width = 200};
    struct run_profile a, b;
    struct jl_buf out;
    (void)state;
    profile_sample(&a, PROFILE_DENSE);
    profile_sample(&b, PROFILE_DENSE);
    run_pairs_set(&b.engine, "version", 's', "b7000");
    run_pairs_set(&b.machine, "cpu", 's', "Other CPU");
    run_pairs_set(&b.settings, "threads", 'n', "8");
    b.how.simulated = 1;
    b.how.slot = 0;
    b.how.first_tokens = 16;
    jl_buf_init(&out, 1 << 20);
    report_profile_compare(&out, &a, &b, &wide);
    jl_buf_add(&out, "", 1);
    for (size_t i = 0; i < JL_COUNT(words); i++)
        if (!strstr(out.data, words[i]))
            fail_msg("\"%s\" is not in:\n%s", words[i], out.data);
    jl_buf_release(&out);
    run_profile_release(&a);
    run_profile_release(&b);
}

/* A profile of some steps is not taken for one of all. */
static void what_alone_counts_is_in_the_head(void **state)
{
    static const struct report_style wide = {.width = 200};
    struct run_profile p;
    struct jl_buf out;
    (void)state;
    for (int some = 0; some < 2; some++) {
        profile_sample(&p, PROFILE_DENSE);
        p.how.slot = some ? 0 : -1;
        p.how.first_tokens = some ? 16 : -1;
        p.how.requests = some ? 4 : -1;
        jl_buf_init(&out, 1 << 24);
        report_profile(&out, &p, NULL, &wide);
        jl_buf_add(&out, "", 1);
        bool said = strstr(out.data, "slot 0, the first 16 tokens of each answer, 4 requests of its clients\n") != NULL;
        if (said != some || (strstr(out.data, "  only ") != NULL) != some)
            fail_msg("%s", out.data);
        jl_buf_release(&out);
        run_profile_release(&p);
    }
}

/* A probe that tells of stages alone is not called none, and looks into no graph. */
static void stages_with_a_probe_are_told_apart(void **state)
{
    static const struct {
        int64_t every;
        const char *level, *says, *not ;
    } rows[] = {{-1, "stages", "without a probe in the engine there are stages", "the probe"},
                {1, "stages", "at level stages the probe in the engine tells of stages", "looked at"},
                {1, "components", "the probe in the engine told of stages alone", "without a probe in the engine"}};
    static const struct report_style wide = {.width = 200};
    struct run_profile p;
    struct jl_buf out;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        profile_sample(&p, PROFILE_STAGES);
        p.how.every = rows[i].every;
        snprintf(p.how.level, sizeof p.how.level, "%s", rows[i].level);
        jl_buf_init(&out, 1 << 24);
        report_profile(&out, &p, NULL, &wide);
        jl_buf_add(&out, "", 1);
        if (!strstr(out.data, rows[i].says) || strstr(out.data, rows[i].not ))
            fail_msg("%s", out.data);
        jl_buf_release(&out);
        run_profile_release(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_are_the_golden_ones),
        cmocka_unit_test(what_is_known_of_layers),
        cmocka_unit_test(few_readings_have_a_remedy),
        cmocka_unit_test(one_thread_is_no_threads),
        cmocka_unit_test(limits_are_explained_where_they_are),
        cmocka_unit_test(repeats_that_took_longer_are_not_called_warm),
        cmocka_unit_test(what_is_not_resolved_has_no_components),
        cmocka_unit_test(comparisons_are_the_golden_ones),
        cmocka_unit_test(no_line_is_too_wide),
        cmocka_unit_test(foreign_names_are_harmless),
        cmocka_unit_test(flows_are_conserved),
        cmocka_unit_test(shares_add_up),
        cmocka_unit_test(small_energies_have_small_units),
        cmocka_unit_test(layers_are_scaled),
        cmocka_unit_test(the_sum_of_phases_has_the_interval_of_what_was_measured),
        cmocka_unit_test(differences_have_their_interval),
        cmocka_unit_test(other_differences_are_named),
        cmocka_unit_test(what_alone_counts_is_in_the_head),
        cmocka_unit_test(stages_with_a_probe_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
