/* profiled_how.c - how the energy came to the components, for someone who has not read the manual (docs/method.md 8). */
#include "report/profile_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *path_words(const char *path)
{
    static const struct {
        const char *path, *words;
    } rows[] = {
        {"plain",
         "the sensor gives values faster than tokens come, so the energy of components was found from plain decoding, by least "
         "squares over the sensor's windows"},
        {"lock-in",
         "stretches of the model were executed again in random order, and the energy of components was found from what each "
         "repetition added to the sensor's windows"},
        {"time",
         "energy is shared by time: every component is taken to draw the same power, which errs by 9 to 12 % for attention and "
         "feed-forward and by half for norms"},
        {"stages", "without a probe in the engine there are stages, and no components"},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        if (!strcmp(rows[i].path, path))
            return rows[i].words;
    return NULL;
}

static void say(const struct profiled_view *v, bool *first, const char *text, enum tone tone)
{
    if (*first)
        jl_buf_str(v->out, "\n");
    text_item(v->out, v->style, *first ? "how" : "", NULL, text ? text : "", tone);
    *first = false;
}

static void path_line(const struct profiled_view *v, bool *first)
{
    const struct run_profile_how *h = &v->p->how;
    const char *words = path_words(h->path);
    if (!strcmp(h->path, "stages") && h->every > 0)
        words = !strcmp(h->level, "stages") ? "at level stages the probe in the engine tells of stages, and of no components"
                                            : "the probe in the engine told of stages alone, and of no components";
    bool time = !strcmp(h->path, "time");
    if (!words)
        return;
    bool few = !strcmp(h->reason, joulet_components_reason_text(JOULET_COMPONENTS_FEW_WINDOWS));
    char *text = jl_strf("%s%s%s%s", words, h->reason[0] ? "; because " : "", h->reason,
                         few ? "; measure for longer (-n, --duration)" : "");
    say(v, first, text, time ? TONE_WARN : TONE_PLAIN);
    free(text);
}

static void quality_line(const struct profiled_view *v, bool *first)
{
    const struct run_profile_how *h = &v->p->how;
    struct jl_buf b;
    jl_buf_init(&b, 4096);
    if (isfinite(h->closure))
        jl_buf_printf(&b, "before any scaling the components add up to %s %% of what was measured (95 to 105 %% is accepted)",
                      number_digits(100 * h->closure, 3).text);
    if (isfinite(h->condition))
        jl_buf_printf(&b, "%scondition number %s (up to 30 is accepted)", b.len ? "; " : "", number_digits(h->condition, 2).text);
    if (h->windows > 0)
        jl_buf_printf(&b, "%s%lld sensor windows", b.len ? "; " : "", (long long)h->windows);
    if (b.len)
        say(v, first, b.data, TONE_PLAIN);
    jl_buf_release(&b);
}

static void probe_line(const struct profiled_view *v, bool *first)
{
    const struct run_profile_how *h = &v->p->how;
    struct jl_buf b;
    jl_buf_init(&b, 4096);
    bool stages = !strcmp(h->level, "stages"); /* there it looks into no graph */
    if (h->every == 1 && !stages)
        jl_buf_printf(&b, "the probe looked at every graph, level %s", h->level[0] ? h->level : "unknown");
    else if (h->every > 1 && !stages)
        jl_buf_printf(&b, "the probe looked at one graph in %lld, level %s", (long long)h->every,
                      h->level[0] ? h->level : "unknown");
    if (isfinite(h->instrumented))
        jl_buf_printf(&b, "%sa token with the probe takes %s the energy of one without", b.len ? "; " : "",
                      number_pm(h->instrumented, h->instrumented_pm, "times", v->style).text);
    if (isfinite(h->stops))
        jl_buf_printf(&b, "%sits stops take %s of a step", b.len ? "; " : "",
                      number_pm(100 * h->stops, 100 * h->stops_pm, "%", v->style).text);
    if (isfinite(h->stretches))
        jl_buf_printf(&b, "%sstretches explain %s %% of the time of graphs", b.len ? "; " : "",
                      number_digits(100 * h->stretches, 3).text);
    if (isfinite(h->between) && h->between >= 0.001)
        jl_buf_printf(&b, ", the stops between them %s %%", number_digits(100 * h->between, 2).text);
    if (h->lost > 0)
        jl_buf_printf(&b, "%s%lld of %lld records were lost", b.len ? "; " : "", (long long)h->lost,
                      (long long)(h->lost + h->records));
    if (b.len)
        say(v, first, b.data, h->lost > 0 ? TONE_WARN : TONE_PLAIN);
    jl_buf_release(&b);
}

static const struct run_profile_host *loop_of(const struct run_profile *p, const char *work)
{
    for (size_t i = 0; i < p->n_host; i++)
        if (!strcmp(p->host[i].work, work))
            return &p->host[i];
    return NULL;
}

/* Whose power the seconds of a host work have; false: an older record does not tell. */
static bool whose_power(const struct profiled_view *v, const struct run_profile_phase *x, struct jl_buf *b)
{
    const struct run_profile_host *loop = loop_of(v->p, x->name);
    bool unknown = isnan(x->joules) && isnan(x->limit_j) && x->seconds > 0;
    if (!strcmp(x->power_of, "loop") && loop)
        jl_buf_printf(b, "of %s %s, measured while it ran over and over (for %s, %s %% of it the work itself)", x->name,
                      number_pm(loop->watts, loop->watts_pm, "W", v->style).text, number_s(loop->seconds, v->style).text,
                      number_digits(100 * loop->inside, 2).text);
    else if (!strcmp(x->power_of, "rest"))
        jl_buf_printf(b, "of %s that of the rest of %s", x->name, run_profile_phase_of(x->name));
    else if (!strcmp(x->power_of, "other"))
        jl_buf_printf(b, "of %s that of other host work over and over", x->name);
    else if (unknown)
        jl_buf_printf(b, "of %s none is known", x->name);
    return unknown || x->power_of[0];
}

static void host_line(const struct profiled_view *v, bool *first)
{
    struct jl_buf b;
    bool any = false;
    jl_buf_init(&b, 4096);
    jl_buf_str(&b, "host work is too short for a sensor, so its energy is its seconds times a power: ");
    for (size_t i = 0; i < RUN_PROFILE_WORKS; i++) {
        const struct run_profile_phase *x = run_profile_phase(v->p, run_profile_works[i].name);
        size_t before = b.len;
        if (any)
            jl_buf_str(&b, "; ");
        if (x && whose_power(v, x, &b))
            any = true;
        else
            b.len = before;
    }
    if (any && !b.failed) {
        b.data[b.len] = '\0';
        say(v, first, b.data, TONE_PLAIN);
    }
    jl_buf_release(&b);
}

/* Rows of a phase whose tables are drawn. */
static bool is_drawn(const struct profiled_view *v, const char *phase)
{
    return v->only ? !strcmp(phase, v->only) : !strcmp(phase, "decode") || !strcmp(phase, "prefill");
}

/* Any that is drawn: in the tables of phases, of components, of what was varied. */
static bool any_limit(const struct profiled_view *v)
{
    const struct run_profile *p = v->p;
    for (size_t i = 0; i < p->n_phases; i++)
        if (isnan(p->phases[i].joules) && isfinite(p->phases[i].limit_j))
            return true;
    for (size_t i = 0; i < p->n_rows; i++) {
        struct run_profile_row r = run_profile_known_row(p, &p->rows[i]);
        if (is_drawn(v, r.phase) && isnan(r.joules) && isfinite(r.limit_j))
            return true;
    }
    for (size_t i = 0; i < p->n_points; i++)
        if (!p->points[i].component[0] && isfinite(p->points[i].limit_j))
            return true;
    return false;
}

static void expected_line(const struct profiled_view *v, bool *first)
{
    bool work = false, roof = v->peak_flops > 0 && v->bytes_per_s > 0;
    for (size_t i = 0; i < v->p->n_rows; i++)
        work |= v->p->rows[i].flop > 0;
    if (work)
        say(v, first,
            roof
                ? "expected is the share by the roofline, from the shapes of the model and the best rates of the larger parts of "
                  "this profile; of roofline is how near a part comes to the best rate at moving data (mem) or at computing "
                  "(comp), and a small part can be above it"
                : "expected is the share by bytes in decode and by FLOP in prefill, from the shapes of the model",
            TONE_PLAIN);
}

/* What leaving layers out has shown of the power that layers are given, or that nobody looked. */
static void layers_line(const struct profiled_view *v, bool *first)
{
    static const struct {
        const char *power, *said, *after;
    } rows[] = {
        {"assumed", "is assumed", ", which is too uncertain to tell"},
        {"checked", "was checked", ""},
        {"differs", "does not hold", ": figures by layer are wrong"},
    };
    static const char base[] = "a layer has its own seconds at the power of the kind: that a kind draws the same in each layer ";
    const struct run_profile_how *h = &v->p->how;
    struct jl_buf b;
    jl_buf_init(&b, 4096);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        if (strcmp(h->layers_power, rows[i].power) != 0)
            continue;
        jl_buf_str(&b, base);
        if (isnan(h->layers_ratio)) {
            jl_buf_str(&b, "is assumed, not measured");
            continue;
        }
        jl_buf_printf(&b, "%s: leaving %lld out saves %s of what their rows say%s", rows[i].said, (long long)h->layers_left_out,
                      number_pm(100 * h->layers_ratio, 100 * h->layers_ratio_pm, "%", v->style).text, rows[i].after);
    }
    if (b.len)
        say(v, first, b.data, strcmp(h->layers_power, "differs") != 0 ? TONE_PLAIN : TONE_WARN);
    jl_buf_release(&b);
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

struct meaning {
    const char *name, *said, *words;
};
static const struct meaning stages[] = {
    {"load", "load", "the model is read into memory"}, {"tokenise", "tokenise", "the prompt is cut into tokens, pieces of words"},
    {"prefill", "prefill", "the prompt is read"},      {"decode", "decode", "the answer is made, token by token"},
    {"sample", "sample", "the next token is picked"},  {"detokenise", "detokenise", "tokens become text"},
};
static const struct meaning components[] = {
    {"embedding", "embedding", "the numbers of a token are looked up"},
    {"attention", "attention", "a token looks back at those before it"},
    {"ffn", "ffn", "feed-forward, each token by itself, with most of the weights"},
    {"attention_norm", "norms", "numbers are scaled before attention, ffn and head"},
    {"head", "head", "every token that could follow is rated"},
    {"rest", "rest", "what the engine does in between"},
};

static bool has_component(const struct run_profile *p, const char *name)
{
    for (size_t i = 0; i < p->n_rows; i++)
        if (!strcmp(p->rows[i].component, name))
            return true;
    return false;
}

static void add_meaning(struct jl_buf *b, const struct meaning *m)
{
    jl_buf_printf(b, "%s%s: %s", b->len ? "; " : "", m->said, m->words);
}

/* What stages and components are, for someone who sees them for the first time: those that are shown. */
static void meanings(const struct profiled_view *v)
{
    struct jl_buf b;
    bool first = true;
    jl_buf_init(&b, 4096);
    for (size_t i = 0; i < JL_COUNT(stages); i++)
        if (run_profile_phase(v->p, stages[i].name))
            add_meaning(&b, &stages[i]);
    for (int below = 0; below < 2; below++) {
        if (b.len)
            text_item(v->out, v->style, first ? "words" : "", NULL, b.data, TONE_FAINT);
        first = first && !b.len;
        jl_buf_clear(&b);
        for (size_t i = 0; i < JL_COUNT(components) && !below; i++)
            if (has_component(v->p, components[i].name))
                add_meaning(&b, &components[i]);
    }
    jl_buf_release(&b);
}

void profiled_how(const struct profiled_view *v)
{
    const struct run_profile_how *h = &v->p->how;
    bool first = true;
    path_line(v, &first);
    quality_line(v, &first);
    probe_line(v, &first);
    if (any_limit(v))
        say(v, &first,
            "< is an upper limit: what has it is too small to be resolved, and holds no more than that in 97.5 of 100 cases",
            TONE_PLAIN);
    host_line(v, &first);
    layers_line(v, &first);
    if (h->flash)
        say(v, &first, "flash attention computes scores, softmax and values as one node, so they are one figure", TONE_PLAIN);
    if (h->estimated)
        say(v, &first,
            "the sensor is an estimate from rated power and load: shares of components say nothing that their time does not",
            TONE_WARN);
    if (isfinite(h->idle_w)) {
        char *text =
            jl_strf("every energy is above the idle level of %s", number_pm(h->idle_w, h->idle_w_pm, "W", v->style).text);
        say(v, &first, text, TONE_PLAIN);
        free(text);
    }
    expected_line(v, &first);
    meanings(v);
}
