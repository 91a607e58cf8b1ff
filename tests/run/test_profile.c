/* test_profile.c - the record of a profile: export, import, export gives the same bytes, foreign bytes are refused with a
 * sentence that names the key, tables have the columns that are documented. */
#include "tests/run/near.h"
#include "tests/run/profile_sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

static char *to_json(const struct run_profile *p)
{
    struct jl_buf b;
    struct joulet_error err;
    jl_buf_init(&b, RUN_JSON_MAX);
    if (run_profile_to_json(p, &b, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    return jl_buf_take(&b);
}

static void check_round_trip(const struct run_profile *p, struct run_profile *again)
{
    struct joulet_error err;
    char *first = to_json(p);
    if (run_profile_from_json(first, strlen(first), again, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    char *second = to_json(again);
    assert_string_equal(first, second);
    free(first);
    free(second);
}

static void samples_survive(void **state)
{
    (void)state;
    for (int s = 0; s < PROFILE_SAMPLES; s++) {
        struct run_profile p, again;
        profile_sample(&p, (enum profile_sample)s);
        check_round_trip(&p, &again);
        assert_int_equal(again.n_rows, p.n_rows);
        assert_int_equal(again.n_points, p.n_points);
        assert_int_equal(again.n_trace, p.n_trace);
        assert_int_equal(again.n_notes, p.n_notes);
        run_profile_release(&p);
        run_profile_release(&again);
    }
}

static void values_are_kept(void **state)
{
    struct run_profile p, again;
    (void)state;
    profile_sample(&p, PROFILE_DENSE);
    assert_true(p.how.slot == -1 && p.how.first_tokens == -1 && p.how.requests == -1);
    p.how.slot = 0;
    p.how.first_tokens = 16;
    p.how.requests = 4;
    check_round_trip(&p, &again);
    struct run_profile_row ffn = run_profile_sum(&again, "decode", "ffn", 3), was = run_profile_sum(&p, "decode", "ffn", 3);
    assert_near(ffn.joules, was.joules, 1e-12 * was.joules);
    assert_near(ffn.bytes, was.bytes, 0);
    assert_true(isnan(run_profile_sum(&again, "decode", "ffn_norm", 3).joules));
    assert_int_equal(again.rows[0].layer, -1);
    assert_string_equal(again.how.path, "lock-in");
    assert_int_equal(again.how.every, 4);
    assert_true(again.how.flash && !again.how.estimated);
    assert_true(again.how.slot == 0 && again.how.first_tokens == 16 && again.how.requests == 4);
    assert_int_equal(again.how.layers_left_out, 8);
    assert_near(again.how.layers_ratio, 0.977, 0);
    assert_string_equal(again.advice[0].action, "use 4 threads");
    assert_int_equal(run_profile_phase(&again, "load")->tokens, -1);
    assert_int_equal(again.n_host, 2);
    assert_string_equal(again.host[1].work, "detokenise");
    assert_string_equal(again.host[1].channels, "cpu");
    assert_near(again.host[1].inside, 0.431, 0);
    assert_string_equal(run_profile_phase(&again, "tokenise")->power_of, "loop");
    assert_true(isnan(run_profile_phase(&again, "sample")->limit_j));
    assert_string_equal(run_pairs_get(&again.model, "quantisation"), "Q4_0");
    run_profile_release(&p);
    run_profile_release(&again);
}

/* A record that was read can be added to: its lists have the room that the adding counts on. */
static void what_was_read_can_grow(void **state)
{
    struct run_profile p, again;
    (void)state;
    profile_sample(&p, PROFILE_DENSE);
    for (int i = 0; i < 40; i++) {
        check_round_trip(&p, &again);
        size_t n = again.n_rows;
        struct run_profile_row row = again.rows[0]; /* lists move when they grow */
        struct run_profile_phase phase = again.phases[0];
        assert_non_null(run_profile_add_row(&again, &row));
        assert_non_null(run_profile_add_phase(&again, &phase));
        assert_int_equal(again.n_rows, n + 1);
        run_profile_release(&p);
        p = again;
    }
    run_profile_release(&p);
}

/* Names come from engines, which cut characters in half: what is written can be read. */
static void half_characters_are_readable(void **state)
{
    struct run_profile p, again;
    struct run_profile_point x = {.series = "model", .limit_j = NAN};
    (void)state;
    profile_sample(&p, PROFILE_EMPTY);
    memset(x.label, 'a', sizeof x.label - 2);
    x.label[sizeof x.label - 2] = (char)0xe2;
    run_profile_add_point(&p, &x);
    check_round_trip(&p, &again);
    assert_true(jl_starts(again.points[0].label, "aaaa"));
    run_profile_release(&p);
    run_profile_release(&again);
}

static void host_work_lies_in_a_phase(void **state)
{
    (void)state;
    assert_string_equal(run_profile_phase_of("tokenise"), "prefill");
    assert_string_equal(run_profile_phase_of("sample"), "decode");
    assert_string_equal(run_profile_phase_of("detokenise"), "decode");
    assert_null(run_profile_phase_of("decode"));
    assert_null(run_profile_phase_of(""));
}

/* ---- foreign bytes ----------------------------------------------------------------------------------------------- */

static char *changed(const char *from, const char *to)
{
    struct run_profile p;
    profile_sample(&p, PROFILE_DENSE);
    char *text = to_json(&p), *at = strstr(text, from), *out;
    run_profile_release(&p);
    if (!at)
        fail_msg("the sample holds no %s", from);
    *at = '\0';
    out = jl_strf("%s%s%s", text, to, at + strlen(from));
    free(text);
    return out;
}

static void bad_values_are_named(void **state)
{
    static const struct {
        const char *from, *to;
        enum joulet_status want;
        const char *says;
    } cases[] = {
        {"\"joulet.profile/1\"", "\"joulet.profile/2\"", JOULET_NEWER, "the profile is of version 2, this joulet"},
        {"\"joulet.profile/1\"", "\"joulet.run/1\"", JOULET_FORMAT, "this is no profile of joulet"},
        {"\"joulet.profile/1\"", "7", JOULET_FORMAT, "this is no profile of joulet"},
        {"\"id\": \"", "\"id\": \"../", JOULET_FORMAT, "no usable \"id\""},
        {"\"how\": {", "\"how\": 7, \"x\": {", JOULET_FORMAT, "how must be an object, there is a number"},
        {"\"how\": {", "\"x\": {", JOULET_FORMAT, "how must be an object, there is nothing"},
        {"\"condition\": ", "\"condition\": \"good\", \"x\": ", JOULET_FORMAT, "how.condition must be a number"},
        {"\"flash\": true", "\"flash\": null", JOULET_FORMAT, "how.flash must be a value"},
        {"\"every\": 4", "\"every\": -4", JOULET_FORMAT, "how.every must be a whole number inside its range"},
        {"\"phases\": [", "\"phases\": [7,", JOULET_FORMAT, "phases[0] must be an object"},
        {"\"components\": [", "\"components\": {\"x\": [", JOULET_FORMAT, "no valid JSON"},
        {"\"components\": [", "\"components\": [{\"layer\": \"one\"},", JOULET_FORMAT, "components[0].layer"},
        {"\"components\": [", "\"components\": [{\"joules\": 1e301},", JOULET_FORMAT, "components[0].joules"},
        {"\"component\": \"embedding\"", "\"component\": \"embedding that is far too long a name\"", JOULET_FORMAT,
         "components[0].component must be a shorter text"},
        {"\"trace\": [", "\"trace\": [[]],", JOULET_FORMAT, "no valid JSON"},
        {"\"spans\": [", "\"spans\": [null,", JOULET_FORMAT, "spans[0] must be an object"},
        {"\"notes\": []", "\"notes\": [7]", JOULET_FORMAT, "notes[0] must be a text"},
        {"\"id\":", "\"id\": \"x\", \"id\":", JOULET_FORMAT, "no valid JSON"},
        {"\"model\": {", "\"model\": {\"deep\": {},", JOULET_FORMAT, "model.deep"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct run_profile p;
        struct joulet_error err;
        char *text = changed(cases[i].from, cases[i].to);
        enum joulet_status st = run_profile_from_json(text, strlen(text), &p, &err);
        if (st != cases[i].want || !strstr(err.message, cases[i].says))
            fail_msg("case %zu: status %d, \"%s\"; expected \"%s\"", i, st, st ? err.message : "", cases[i].says);
        assert_true(!p.n_rows && !p.rows && !p.title);
        free(text);
    }
}

static void good_changes_are_read(void **state)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"\"how\": {", "\"from_the_future\": [1, {}], \"how\": {"},
        {"\"tokens\": 100", "\"tokens\": 100.0"},
        {"\"title\": null,", ""},
        {"\"notes\": []", "\"notes\": null"},
        {"\"points\": [", "\"points\": null, \"x\": ["},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct run_profile p;
        struct joulet_error err;
        char *text = changed(cases[i].from, cases[i].to);
        if (run_profile_from_json(text, strlen(text), &p, &err) != JOULET_OK)
            fail_msg("case %zu: %s", i, err.message);
        assert_int_equal(run_profile_phase(&p, "decode")->tokens, 100);
        run_profile_release(&p);
        free(text);
    }
}

/* More items than are read are refused before room is made for them. */
static void lists_have_limits(void **state)
{
    struct run_profile p;
    struct joulet_error err;
    struct jl_buf b;
    (void)state;
    jl_buf_init(&b, RUN_JSON_MAX);
    jl_buf_str(&b, "{\"schema\": \"joulet.profile/1\", \"id\": \"a\", \"started_wall_ns\": 1, "
                   "\"how\": {\"flash\": false, \"estimated\": false}, \"phases\": [");
    for (int i = 0; i <= RUN_PROFILE_PHASES_MAX; i++)
        jl_buf_str(&b, i ? ",{\"memory_bound\": false}" : "{\"memory_bound\": false}");
    jl_buf_str(&b, "]}");
    assert_int_equal(run_profile_from_json(b.data, b.len, &p, &err), JOULET_FORMAT);
    assert_non_null(strstr(err.message, "phases must be shorter"));
    jl_buf_release(&b);
}

static void every_cut_is_refused(void **state)
{
    struct run_profile p;
    struct joulet_error err;
    (void)state;
    profile_sample(&p, PROFILE_EMPTY);
    char *text = to_json(&p);
    run_profile_release(&p);
    for (size_t n = 0; n + 2 < strlen(text); n++) { /* the last two are "}\n" */
        char *cut = malloc(n + 1);
        memcpy(cut, text, n);
        assert_int_equal(run_profile_from_json(cut, n, &p, &err), JOULET_FORMAT);
        free(cut);
    }
    free(text);
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static void tables_have_their_columns(void **state)
{
    struct run_profile p;
    struct joulet_error err;
    struct jl_buf b;
    (void)state;
    profile_sample(&p, PROFILE_MOE);
    p.rows[0].joules = 0.25;
    jl_buf_init(&b, 1 << 20);
    assert_int_equal(run_profile_to_csv(&p, &b, &err), JOULET_OK);
    assert_true(jl_starts(
        b.data, "layer,component,part,phase,joules,joules_pm,limit_j,seconds,flop,bytes\r\n,embedding,,prefill,0.25,,"));
    assert_non_null(strstr(b.data, "\r\n5,ffn,experts,decode,"));
    size_t lines = 0;
    for (const char *s = b.data; (s = strstr(s, "\r\n")); s += 2)
        lines++;
    assert_int_equal(lines, p.n_rows + 1 + 4);
    assert_non_null(strstr(b.data, "\r\n,,,load,11,0.22,,1.2,,\r\n")); /* phases without components, too */
    assert_non_null(strstr(b.data, "\r\n,,,sample,,,0.1045,0.011,,\r\n"));
    jl_buf_release(&b);
    jl_buf_init(&b, 1 << 20);
    assert_int_equal(run_profile_trace_csv(&p, &b, &err), JOULET_OK);
    assert_true(jl_starts(b.data, "t_s,w,stage\r\n"));
    assert_non_null(strstr(b.data, ",decode\r\n"));
    assert_non_null(strstr(b.data, ",12,idle\r\n"));
    jl_buf_release(&b);
    jl_buf_init(&b, 100);
    assert_int_equal(run_profile_to_csv(&p, &b, &err), JOULET_LIMIT);
    jl_buf_release(&b);
    run_profile_release(&p);
}

/* What lies in a phase that is not above its own interval has no joules in the table; a phase without components has a limit. */
static void what_is_not_resolved_is_left_empty(void **state)
{
    struct run_profile p;
    struct jl_buf b;
    struct joulet_error err;
    (void)state;
    profile_sample(&p, PROFILE_MOE);
    for (size_t i = 0; i < p.n_phases; i++)
        if (!strcmp(p.phases[i].name, "decode") || !strcmp(p.phases[i].name, "load")) {
            p.phases[i].joules = -0.5;
            p.phases[i].joules_pm = 2;
        }
    jl_buf_init(&b, 1 << 20);
    assert_int_equal(run_profile_to_csv(&p, &b, &err), JOULET_OK);
    assert_non_null(strstr(b.data, "\r\n5,ffn,experts,decode,,,,"));
    assert_non_null(strstr(b.data, "\r\n,head,,decode,,,,"));
    assert_null(strstr(b.data, "\r\n,head,,prefill,,"));
    assert_non_null(strstr(b.data, "\r\n,,,load,,,2,1.2,,\r\n"));
    jl_buf_release(&b);
    run_profile_release(&p);
}

static void stages_are_found(void **state)
{
    static const struct {
        double t_s;
        const char *want;
    } cases[] = {{-1, ""}, {0, "load"}, {0.5, "load"}, {1, "decode"}, {1.5, "sample"}, {2.1, "decode"}, {3, ""}, {4.5, "idle"}};
    struct run_profile p;
    (void)state;
    profile_sample(&p, PROFILE_EMPTY);
    run_profile_add_span(&p, "load", 0, 1);
    run_profile_add_span(&p, "decode", 1, 3);
    run_profile_add_span(&p, "sample", 1.5, 2);
    run_profile_add_span(&p, "idle", 4, 5);
    for (size_t i = 0; i < JL_COUNT(cases); i++)
        assert_string_equal(run_profile_stage(&p, cases[i].t_s), cases[i].want);
    assert_string_equal(run_profile_stage(&p, NAN), "");
    run_profile_release(&p);
}

/* ---- fewer layers than the shape ---------------------------------------------------------------------------------- */

static void add_row(struct run_profile *p, const char *phase, int64_t layer, const char *component, double joules, double flop)
{
    struct run_profile_row r = {
        .layer = layer, .seconds = joules / 10, .joules = joules, .joules_pm = joules / 20, .limit_j = NAN, .flop = flop};
    snprintf(r.phase, sizeof r.phase, "%s", phase);
    snprintf(r.component, sizeof r.component, "%s", component);
    run_profile_add_row(p, &r);
}

/* A shape of 80 layers whose every layer costs the same, of which so many ran: in decode 2 J of attention and 5 of feed-forward,
 * in prefill of 30 tokens 60 J and 150 J, but for the last layer, whose feed-forward sees one token. 3 J of head. */
static void few_layers(struct run_profile *p, int layers)
{
    struct run_profile_phase phase = {.name = "decode", .tokens = 10, .joules = 3 + 7 * layers, .seconds = 1};
    run_profile_init(p);
    run_pairs_set(&p->model, "layers", 'n', "%d", layers);
    run_pairs_set(&p->model, "layers_of", 'n', "80");
    for (int l = 0; l < layers; l++) {
        bool last = l == layers - 1;
        add_row(p, "decode", l, "attention", 2, 10 * 40);
        add_row(p, "decode", l, "ffn", 5, 10 * 100);
        add_row(p, "prefill", l, "attention", 60, 30 * 40);
        add_row(p, "prefill", l, "ffn", last ? 8 : 150, last ? 100 : 30 * 100);
    }
    add_row(p, "decode", -1, "head", 3, 500);
    add_row(p, "prefill", -1, "head", 3, 500);
    run_profile_add_phase(p, &phase);
    phase = (struct run_profile_phase){.name = "prefill", .tokens = 30, .joules = 3 + 60 * layers + 150 * (layers - 1) + 8};
    phase.seconds = phase.joules / 10;
    run_profile_add_phase(p, &phase);
}

/* What all 80 would have drawn is known; from one layer too where attention and feed-forward need the same for a FLOP. */
static void missing_layers_count_as_those_that_ran(void **state)
{
    static const int layers[] = {1, 2, 4, 79};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(layers); i++) {
        struct run_profile p;
        few_layers(&p, layers[i]);
        for (size_t k = 0; k < p.n_phases; k++)
            assert_true(run_profile_whole_phase(&p, &p.phases[k]));
        const struct run_profile_phase *decode = run_profile_phase(&p, "decode"), *prefill = run_profile_phase(&p, "prefill");
        assert_near(decode->scaled_joules, 3 + 7 * 80, 1e-9);
        assert_near(prefill->scaled_joules, 3 + 60 * 80 + 150 * 79 + 8, 1e-9);
        assert_near(prefill->scaled_seconds, (3 + 60 * 80 + 150 * 79 + 8) / 10.0, 1e-9);
        run_profile_release(&p);
    }
}

static void what_has_all_layers_is_not_scaled(void **state)
{
    struct run_profile p;
    struct run_profile_phase phase = {.name = "decode", .tokens = 10, .joules = 5, .scaled_joules = NAN};
    (void)state;
    run_profile_init(&p);
    run_pairs_set(&p.model, "layers", 'n', "2");
    add_row(&p, "decode", 0, "ffn", 5, 100);
    assert_false(run_profile_whole_phase(&p, &phase));
    assert_true(isnan(phase.scaled_joules));
    assert_near(run_profile_whole_row(&p, &p.rows[0]).joules, 5, 1e-12);
    run_profile_release(&p);
}

/* A whole layer in one piece says nothing of its feed-forward; rows that nobody resolved keep their limit. */
static void what_one_layer_does_not_tell_is_unknown(void **state)
{
    struct run_profile p;
    (void)state;
    few_layers(&p, 1);
    add_row(&p, "prefill", 0, "layer", 5, 100);
    assert_true(isnan(run_profile_whole_row(&p, &p.rows[p.n_rows - 1]).joules));
    p.rows[0].joules = p.rows[0].joules_pm = NAN;
    p.rows[0].limit_j = 0.5;
    struct run_profile_row whole = run_profile_whole_row(&p, &p.rows[0]);
    assert_true(isnan(whole.joules));
    assert_near(whole.limit_j, 40, 1e-12);
    run_profile_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_survive),
        cmocka_unit_test(values_are_kept),
        cmocka_unit_test(what_was_read_can_grow),
        cmocka_unit_test(half_characters_are_readable),
        cmocka_unit_test(host_work_lies_in_a_phase),
        cmocka_unit_test(bad_values_are_named),
        cmocka_unit_test(good_changes_are_read),
        cmocka_unit_test(lists_have_limits),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(tables_have_their_columns),
        cmocka_unit_test(what_is_not_resolved_is_left_empty),
        cmocka_unit_test(stages_are_found),
        cmocka_unit_test(missing_layers_count_as_those_that_ran),
        cmocka_unit_test(what_has_all_layers_is_not_scaled),
        cmocka_unit_test(what_one_layer_does_not_tell_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
