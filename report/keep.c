/* keep.c - what a loaded model draws while nobody asks (4.1: L1 - L0), and after which time without a request unloading it saves
 * more than loading it again costs. From the idle levels and the load window of the record. */
#include "report/internal.h"

#include <math.h>
#include <string.h>

/* Sum of the last levels of that name over the channels of the total; false when one of them has none. */
static bool level_sum(const struct run *r, const char *level, double *sum_w, double *u_w)
{
    double u2 = 0;
    size_t n = 0;
    *sum_w = 0;
    for (size_t i = 0; i < r->n_channels; i++) {
        const struct run_baseline *last = NULL;
        if (!r->channels[i].in_total)
            continue;
        for (size_t k = 0; k < r->n_baselines; k++)
            if (!strcmp(r->baselines[k].channel, r->channels[i].id) && !strcmp(r->baselines[k].level, level) &&
                isfinite(r->baselines[k].b.power_w))
                last = &r->baselines[k];
        if (!last)
            return false;
        *sum_w += last->b.power_w;
        u2 += isnan(last->b.u_w) ? 0 : last->b.u_w * last->b.u_w;
        n++;
    }
    *u_w = sqrt(u2);
    return n > 0;
}

/* The last: it is the model that the last idle level belongs to. */
static const struct run_window *load_window(const struct run *r)
{
    for (size_t i = r->n_windows; i-- > 0;)
        if (!strcmp(r->windows[i].name, "load"))
            return &r->windows[i];
    return NULL;
}

bool keep_of(const struct run *r, struct joulet_keep *out)
{
    double l0_w, u_l0_w, l1_w, u_l1_w;
    const struct run_window *load = load_window(r);
    if (!level_sum(r, "L0", &l0_w, &u_l0_w) || !level_sum(r, "L1", &l1_w, &u_l1_w))
        return false;
    joulet_keep_of(l0_w, u_l0_w, l1_w, u_l1_w, load ? load->energy.total.net_j : NAN,
                   load ? load->energy.total.net_pm_j / 2 : NAN, out);
    return true;
}

static void say_break_even(struct jl_buf *b, const struct joulet_keep *k, const struct report_style *style)
{
    jl_buf_printf(b, "; unloading it saves more than loading it again costs after %s without a request (",
                  number_s(k->break_even_s, style).text);
    if (isfinite(k->to_s))
        jl_buf_printf(b, "%s to %s)", number_s(k->from_s, style).text, number_s(k->to_s, style).text);
    else
        jl_buf_printf(b, "%s at the least)", number_s(k->from_s, style).text);
}

void metrics_keep(const struct view *v)
{
    struct joulet_keep k;
    struct jl_buf b;
    /* An estimate follows the processor's load: memory that is held draws nothing in it, whatever the truth. */
    if (v->q || v->estimate || !keep_of(v->r, &k))
        return;
    jl_buf_init(&b, 4096);
    if (isfinite(k.break_even_s)) {
        jl_buf_str(&b, "what the loaded model draws while nobody asks");
        say_break_even(&b, &k, v->style);
    } else {
        jl_buf_str(&b, "the loaded model draws nothing that can be told from the idle machine");
    }
    text_item(v->out, v->style, "keep-alive", number_pm(k.power_w, 2 * k.u_w, "W", v->style).text, b.data, TONE_PLAIN);
    jl_buf_release(&b);
}
