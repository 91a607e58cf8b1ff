/* profile_scale.c - figures of the whole shape out of a model that was made with fewer of its layers: what lies in layers counts
 * as often as the shape has them, what lies outside counts once (docs/method.md 8.7).
 *
 * The last layer of a prefill is another one than the others: an engine asks for the logits of the last token alone, so its
 * feed-forward sees one row of each prompt. It counts once, the others for the rest. In a model of one layer there is no other,
 * and the feed-forward of a whole prompt never ran: it is put at the joules and seconds that attention takes for a FLOP, which
 * multiplies the same rows with matrices of the same format. That is assumed, not measured. */
#include "run/profile.h"

#include "run/internal.h"

#include <math.h>
#include <string.h>

static double number(const struct run_pairs *p, const char *key)
{
    double x;
    const char *text = run_pairs_get(p, key);
    return text && jl_parse_double(text, &x) && isfinite(x) ? x : NAN;
}

static int64_t count(const struct run_profile *p, const char *key)
{
    double x = number(&p->model, key);
    if (isnan(x))
        x = number(&p->settings, key);
    return x >= 1 && x <= RUN_PROFILE_LAYERS_MAX ? (int64_t)x : -1;
}

bool run_profile_layers(const struct run_profile *p, int64_t *layers, int64_t *layers_of)
{
    *layers = count(p, "layers");
    *layers_of = count(p, "layers_of");
    return *layers > 0 && *layers_of > *layers;
}

static bool in_layers(const struct run_profile_row *r)
{
    return r->layer >= 0 || jl_word_in("attention_norm,attention,ffn_norm,ffn,layer", ',', r->component);
}

static void multiply(struct run_profile_row *r, double times)
{
    r->seconds *= times;
    r->joules *= times;
    r->joules_pm *= times;
    r->limit_j *= times;
    r->flop *= times;
    r->bytes *= times;
}

static const struct run_profile_row *find(const struct run_profile *p, const char *phase, int64_t layer, const char *component,
                                          const char *part)
{
    for (size_t i = 0; i < p->n_rows; i++) {
        const struct run_profile_row *r = &p->rows[i];
        if (r->layer == layer && !strcmp(r->phase, phase) && !strcmp(r->component, component) && !strcmp(r->part, part))
            return r;
    }
    return NULL;
}

/* What the feed-forward (or its norm) of a prompt would take in a layer before the last one, from the attention (or its norm) of
 * the one layer there is. FLOP of a row are those of a token in decode, bytes are the weights: once a piece of the prompt. */
static bool other_layer(const struct run_profile *p, const struct run_profile_row *r, struct run_profile_row *out)
{
    bool norm = !strcmp(r->component, "ffn_norm");
    const struct run_profile_phase *prefill = run_profile_phase(p, "prefill"), *decode = run_profile_phase(p, "decode");
    const struct run_profile_row *row = find(p, "decode", r->layer, r->component, r->part);
    const struct run_profile_row *like = find(p, "prefill", r->layer, norm ? "attention_norm" : "attention", "");
    if (!prefill || !decode || prefill->tokens < 1 || decode->tokens < 1 || !row || !like || !(like->flop > 0))
        return false;
    *out = *r;
    out->flop = row->flop / (double)decode->tokens * (double)prefill->tokens;
    double times = out->flop / like->flop;
    out->seconds = like->seconds * times;
    out->joules = like->joules * times;
    out->joules_pm = like->joules_pm * times;
    out->limit_j = like->limit_j * times;
    return isfinite(times);
}

static double most(const struct run_profile_row *r)
{
    return isnan(r->joules) ? r->limit_j : r->joules + (isnan(r->joules_pm) ? 0 : r->joules_pm);
}

static void add(struct run_profile_row *to, const struct run_profile_row *x, double times)
{
    double limit_j = most(to) + times * most(x);
    to->joules_pm = hypot(to->joules_pm, times * x->joules_pm);
    to->joules += times * x->joules;
    to->limit_j = isnan(to->joules) ? limit_j : NAN;
    to->seconds += times * x->seconds;
    to->flop += times * x->flop;
    to->bytes += times * x->bytes;
}

struct run_profile_row run_profile_whole_row(const struct run_profile *p, const struct run_profile_row *r)
{
    struct run_profile_row whole = *r, other;
    int64_t layers, of;
    bool fewer = run_profile_layers(p, &layers, &of),
         last_row = !strcmp(r->component, "ffn") || !strcmp(r->component, "ffn_norm");
    if (!fewer || !in_layers(r))
        return whole;
    if (strcmp(r->phase, "prefill") || r->layer < 0 || (layers < 2 && strcmp(r->component, "layer") && !last_row))
        multiply(&whole, (double)of / (double)layers);
    else if (layers > 1)
        multiply(&whole, r->layer == layers - 1 ? 1 : (double)(of - 1) / (double)(layers - 1));
    else if (last_row && other_layer(p, r, &other))
        add(&whole, &other, (double)(of - 1));
    else
        multiply(&whole, NAN); /* a layer in one piece does not tell what of it is the feed-forward */
    return whole;
}

bool run_profile_whole_phase(const struct run_profile *p, struct run_profile_phase *x)
{
    double whole_j = 0, sum_j = 0, whole_s = 0, sum_s = 0;
    int64_t layers, of;
    bool any = false;
    if (!run_profile_layers(p, &layers, &of) || (strcmp(x->name, "prefill") && strcmp(x->name, "decode")))
        return false;
    for (size_t i = 0; i < p->n_rows; i++) {
        const struct run_profile_row *r = &p->rows[i];
        if (r->part[0] || strcmp(r->phase, x->name))
            continue;
        struct run_profile_row whole = run_profile_whole_row(p, r);
        sum_j += isnan(r->joules) ? (isnan(r->limit_j) ? 0 : r->limit_j / 2) : r->joules;
        whole_j += isnan(r->joules) ? (isnan(r->limit_j) ? 0 : whole.limit_j / 2) : whole.joules;
        sum_s += r->seconds;
        whole_s += whole.seconds;
        any = true;
    }
    x->scaled_joules = any && sum_j > 0 ? x->joules * whole_j / sum_j : NAN;
    x->scaled_joules_pm = any && sum_j > 0 ? x->joules_pm * whole_j / sum_j : NAN; /* the same share of a larger figure */
    x->scaled_seconds = any && sum_s > 0 ? x->seconds * whole_s / sum_s : NAN;
    return any;
}
