/* model_work.c - what a model has to do for a token: FLOP and bytes by component, from the shapes in its file
 * (docs/method.md 8.5). */
#include "cli/json.h"
#include "cli/model.h"
#include "profile/counts.h"

#include <math.h>

#define CONTEXT 1024 /* unless told; no longer than the model's own */
#define PIECE   512

struct work {
    double context;
    struct profile_counts decode, prefill;
};

static void work_release(struct work *w)
{
    profile_counts_release(&w->decode);
    profile_counts_release(&w->prefill);
}

static enum joulet_status count(const struct gguf_model *m, struct work *w, struct joulet_error *err)
{
    struct profile_shape s;
    enum joulet_status status = profile_shape_init(&s, m, NULL, NULL, err);
    if (status != JOULET_OK)
        return status;
    status = profile_counts_init(&w->decode, &s, err);
    if (status == JOULET_OK)
        status = profile_counts_init(&w->prefill, &s, err);
    if (status == JOULET_OK) {
        profile_count_decode(&w->decode, &s, w->context, 1, 1);
        profile_count_prefill(&w->prefill, &s, 0, w->context, PIECE);
    }
    profile_shape_release(&s);
    return status;
}

static enum joulet_status work_of(const char *path, int64_t context, struct work *w, struct joulet_error *err)
{
    struct gguf_model m;
    *w = (struct work){.context = (double)context};
    enum joulet_status status = gguf_read_model(path, &m, err);
    if (status != JOULET_OK)
        return status;
    if (context <= 0)
        w->context = m.head.context_length > 0 && m.head.context_length < CONTEXT ? (double)m.head.context_length : CONTEXT;
    status = count(&m, w, err);
    gguf_model_release(&m);
    return status;
}

/* ---- text ------------------------------------------------------------------------------------------------------------ */

static const char *figure(char *buf, size_t size, double x)
{
    static const char *const unit[] = {"", "k", "M", "G", "T", "P"};
    size_t i = 0;
    for (; x >= 999.5 && i + 1 < JL_COUNT(unit); i++)
        x /= 1000;
    snprintf(buf, size, i || x >= 100 ? "%.3g %s" : "%.0f %s", x, unit[i]);
    return buf;
}

static void text_row(struct jl_buf *out, const char *name, const struct profile_count *d, const struct profile_count *p,
                     const struct profile_count *all)
{
    char a[16], b[16], c[16], e[16];
    jl_buf_printf(out, "  %-16s  %9sFLOP  %9sB  %9sB  %5.1f %%  %9sFLOP\n", name, figure(a, sizeof a, d->flop),
                  figure(b, sizeof b, d->weight_bytes), figure(c, sizeof c, d->cache_read_bytes + d->cache_write_bytes),
                  100 * profile_count_bytes(d) / profile_count_bytes(all), figure(e, sizeof e, p->flop));
}

void model_work_text(struct jl_buf *out, const char *path, int64_t context)
{
    struct work w;
    struct joulet_error err;
    if (work_of(path, context, &w, &err) != JOULET_OK) {
        jl_buf_printf(out, "work          not counted: %s\n", err.message);
        work_release(&w);
        return;
    }
    struct profile_count all = profile_counts_all(&w.decode), prompt = profile_counts_all(&w.prefill);
    jl_buf_printf(out, "\nwork of one token with %.0f in the cache (F16), and of a prompt of %.0f\n", w.context, w.context);
    jl_buf_printf(out, "  %-16s  %13s  %10s  %10s  %7s  %13s\n", "component", "a token", "weights", "cache", "bytes",
                  "the prompt");
    for (int i = 0; i < PROFILE_COMPONENTS; i++) {
        enum profile_component c = (enum profile_component)i;
        struct profile_count d = profile_counts_component(&w.decode, c), p = profile_counts_component(&w.prefill, c);
        text_row(out, profile_component_name(c), &d, &p, &all);
    }
    text_row(out, "all", &all, &prompt, &all);
    work_release(&w);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------ */

static void json_count(struct jl_buf *out, const struct profile_count *c)
{
    jl_buf_printf(out,
                  "\"flop\": %.17g, \"weight_bytes\": %.17g, \"cache_read_bytes\": %.17g, \"cache_write_bytes\": %.17g, "
                  "\"activation_bytes\": %.17g",
                  c->flop, c->weight_bytes, c->cache_read_bytes, c->cache_write_bytes, c->activation_bytes);
}

static void json_phase(struct jl_buf *out, const char *name, const struct profile_counts *c)
{
    struct profile_count all = profile_counts_all(c);
    jl_buf_printf(out, ", \"%s\": {", name);
    json_count(out, &all);
    jl_buf_str(out, ", \"parts\": {");
    for (int i = 0; i < PROFILE_PARTS; i++) {
        struct profile_count p = profile_counts_part(c, (enum profile_part)i);
        jl_buf_printf(out, "%s\"%s\": {", i ? ", " : "", profile_part_name((enum profile_part)i));
        json_count(out, &p);
        jl_buf_str(out, "}");
    }
    jl_buf_str(out, "}}");
}

void model_work_json(struct jl_buf *out, const char *path, int64_t context)
{
    struct work w;
    if (work_of(path, context, &w, NULL) != JOULET_OK) {
        jl_buf_str(out, "null");
    } else {
        jl_buf_printf(out, "{\"context\": %.0f, \"cache\": \"F16\"", w.context);
        json_phase(out, "decode", &w.decode);
        json_phase(out, "prefill", &w.prefill);
        jl_buf_str(out, "}");
    }
    work_release(&w);
}
