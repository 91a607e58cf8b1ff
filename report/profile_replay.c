/* profile_replay.c - the cross-check of a profile: components that ran over and over by themselves, beside what was found for
 * them in tokens, and what a difference between the two may come from (docs/method.md 8.8). */
#include "report/profile_private.h"

#include <math.h>
#include <stdlib.h>

static const struct grid_column columns[] = {{"component", false, 0},     {"alone for", true, 2}, {"mean W", true, 1},
                                             {"a token, alone", true, 0}, {"as found", true, 0},  {"difference", true, 0},
                                             {"time again", true, 1}};

static void row(struct grid *g, const struct profiled_view *v, const struct run_profile_replay *x)
{
    char *name = text_clean(x->component, v->style);
    struct number seconds = number_s(x->seconds, v->style), watts = number_watts(x->watts);
    struct number alone = profiled_joules(x->joules, x->joules_pm, NAN, v->style);
    struct number found = profiled_joules(x->found_j, x->found_pm, NAN, v->style);
    struct number difference = {"-"}, again = {"-"};
    if (!isnan(x->difference_pm))
        difference = number_pm(100 * x->difference, 100 * x->difference_pm, "%", v->style);
    else if (!isnan(x->difference))
        difference = number_f("%+.1f %%", 100 * x->difference);
    if (!isnan(x->time_ratio))
        again = number_f("%.2f", x->time_ratio);
    const char *const cells[] = {name ? name : "", seconds.text, watts.text, alone.text, found.text, difference.text, again.text};
    grid_add(g, x->warm ? TONE_WARN : TONE_PLAIN, cells);
    free(name);
}

/* Components whose repeats took the time of warm data, or of a machine that was slower then. */
static void repeats(const struct profiled_view *v, bool slower, const char *label, const char *why)
{
    struct jl_buf names;
    jl_buf_init(&names, 4096);
    for (size_t i = 0; i < v->p->n_replay; i++)
        if (v->p->replay[i].warm && (v->p->replay[i].time_ratio > 1) == slower)
            jl_buf_printf(&names, "%s%s", names.len ? ", " : "", v->p->replay[i].component);
    char *clean = names.len ? text_clean(names.data, v->style) : NULL;
    char *text = clean ? jl_strf("%s: again took %s", clean, why) : NULL;
    if (text)
        text_item(v->out, v->style, label, NULL, text, TONE_WARN);
    free(text);
    free(clean);
    jl_buf_release(&names);
}

void profiled_replay(const struct profiled_view *v)
{
    struct grid g;
    if (!v->p->n_replay)
        return;
    jl_buf_str(v->out, "\n");
    text_rule(v->out, v->style, "cross-check: components alone", "", TONE_PLAIN);
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < v->p->n_replay; i++)
        row(&g, v, &v->p->replay[i]);
    grid_write(&g, v->out, v->style);
    repeats(v, false, "warm", "less than 0.9 of the time in a token, so the data was warm, and its power another one");
    repeats(v, true, "slower",
            "more than 1.1 of the time in a token, so the machine was slower then, or the data had left its cache, and its power "
            "was another one");
    text_item(
        v->out, v->style, "", NULL,
        "a check, no better figure: alone, a component keeps caches to itself, and it ran at another time, so drift of power "
        "and clock is in the difference",
        TONE_FAINT);
}
