/* processes.c - whose processor time it was (docs/method.md 6.4): lines of the block. Beside the whole, never instead of it. */
#include "report/internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The share with as many digits as its interval is worth. */
static struct number percent(const struct run_cpu_time *t, const struct report_style *style)
{
    int digits = t->share_pm < 0.001 ? 2 : t->share_pm < 0.01 ? 1 : 0;
    return number_f("%.*f %% %s %.*f %%", digits, t->share * 100, style->utf8 ? "±" : "+-", digits, fmax(t->share_pm, 0) * 100);
}

/* An estimate of the CPU makes an estimate of its part: the ends are those of the channel. */
void processes_figures(const struct run *r, const struct joulet_energy *e, struct figure *net, struct figure *gross)
{
    const char *channel = "";
    for (size_t i = 0; i < r->n_channels && !*channel; i++)
        if (r->channels[i].in_total && r->channels[i].group == JOULET_GROUP_CPU && r->channels[i].factor_hi > 1)
            channel = r->channels[i].id;
    figure_of_channel(r, channel, e, net, gross);
}

static void energy_line(const struct view *v, const char *name, const struct joulet_energy *e, const char *what)
{
    struct figure net, gross;
    if (!isfinite(e->gross_j))
        return;
    processes_figures(v->r, e, &net, &gross);
    char text[256]; /* longer than a number: cut, it would lose what it is blind to */
    snprintf(text, sizeof(text), "net, %s gross: %s", figure_text(&gross, v->style).text, what);
    text_item(v->out, v->style, name, figure_text(&net, v->style).text, text, TONE_PLAIN);
}

void metrics_cpu_time(const struct view *v)
{
    struct run_cpu_time t;
    if (v->q)
        t = v->q->cpu_time;
    else
        run_cpu_time_of(v->r, &t);
    if (isnan(t.share))
        return;
    struct number share = percent(&t, v->style), count = number_count(t.processes);
    char text[256];
    if (!strcmp(t.source, "command")) {
        text_item(v->out, v->style, "command", share.text,
                  "of the busy processor time was its own and that of the processes it waited for", TONE_PLAIN);
        energy_line(v, "its part", &t.e_llm, "the part of the CPU's energy by that share; blind to GPUs");
        return;
    }
    snprintf(text, sizeof(text), "of the busy processor time was the engine's (%s, %s process%s)", t.source, count.text,
             t.processes == 1 ? "" : "es");
    text_item(v->out, v->style, "engine", share.text, text, TONE_PLAIN);
    energy_line(v, "e_llm", &t.e_llm, "its part of the CPU's energy by that share; blind to GPUs");
    energy_line(v, "m_eff", &t.m_eff, "what of that fell into prefill and decode");
}
