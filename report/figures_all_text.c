/* figures_all_text.c - the list of metrics as a table, JSON and CSV. */
#include "report/carbon.h"
#include "report/figures_all.h"
#include "report/internal.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Two digits; an exponent only where there would be a row of zeros. */
static struct number two_digits(double x)
{
    return x == 0 || (fabs(x) >= 1e-3 && fabs(x) < 1e6) ? number_digits(x, 2) : number_f("%.2g", x);
}

static struct number figure(const struct metric_value *v, bool estimate, const struct report_style *style)
{
    double pm = (v->hi - v->lo) / 2;
    if (!isfinite(v->x))
        return number_f("-");
    if (!isfinite(pm))
        return number_f("%.4g", v->x);
    if (estimate)
        return number_f("%s %s (%s..%s)", text_about(style), two_digits(v->x).text, two_digits(v->lo).text,
                        two_digits(v->hi).text);
    if (fabs(v->x) < 1e-4)
        return number_f("%.3g %s %.2g", v->x, text_pm(style), pm);
    struct number n = number_pm(v->x, pm, "", style);
    for (size_t len = strlen(n.text); len && n.text[len - 1] == ' ';)
        n.text[--len] = '\0';
    return n;
}

void report_metrics(struct jl_buf *out, const struct run *r, const struct report_style *style)
{
    static const struct grid_column columns[] = {{"metric", false, 0}, {"unit", false, 2}, {"net", true, 0}, {"gross", true, 1}};
    struct metric_list *list = malloc(sizeof *list);
    struct grid g;
    if (!list)
        return;
    metrics_of_run(r, list);
    char *title = jl_strf("metrics of %s", r->id);
    text_rule(out, style, title ? title : "metrics", list->provenance, TONE_STRONG);
    free(title);
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < list->n; i++) {
        const struct metric *m = &list->rows[i];
        struct number net = figure(&m->net, list->estimate, style), gross = figure(&m->gross, list->estimate, style);
        const char *currency = run_pairs_get(&r->factors, "currency"), *unit = m->unit;
        if (!strcmp(unit, "currency"))
            unit = currency && *currency ? currency : "currency";
        const char *const cells[] = {m->key, unit, net.text, isfinite(m->gross.x) ? gross.text : ""};
        if (isfinite(m->net.x) || isfinite(m->gross.x)) /* what is not known is in the JSON as null */
            grid_add(&g, TONE_PLAIN, cells);
    }
    grid_write(&g, out, style);
    for (size_t i = 0; i < carbon_equivalent_count; i++)
        text_item(out, style, "", NULL, number_f("%s: %s", carbon_equivalents[i].key, carbon_equivalents[i].what).text,
                  TONE_FAINT);
    for (size_t i = 0; i < carbon_equivalent_count; i++)
        text_item(out, style, "source", NULL, carbon_equivalents[i].source, TONE_FAINT);
    free(list);
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

enum joulet_status metrics_to_json(const struct run *r, struct jl_buf *out, struct joulet_error *err)
{
    struct metric_list *list = malloc(sizeof *list);
    json_t *root = json_pack("{s:s}", "run", r->id), *metrics = json_object();
    bool good = list && root && metrics;
    if (list)
        metrics_of_run(r, list);
    for (size_t i = 0; good && i < list->n; i++) {
        const struct metric *m = &list->rows[i];
        good =
            json_object_set_new(metrics, m->key,
                                json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "unit", m->unit, "net", number(m->net.x),
                                          "net_lo", number(m->net.lo), "net_hi", number(m->net.hi), "gross", number(m->gross.x),
                                          "gross_lo", number(m->gross.lo), "gross_hi", number(m->gross.hi))) == 0;
    }
    good = good && json_object_set_new(root, "provenance", json_string(list->provenance)) == 0 &&
           json_object_set(root, "metrics", metrics) == 0;
    char *text = good ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    good = text && jl_buf_str(out, text) && jl_buf_str(out, "\n");
    free(text);
    json_decref(metrics);
    json_decref(root);
    free(list);
    return good ? jl_ok(err) : jl_fail(err, JOULET_MEMORY, "out of memory for the metrics of %s", r->id);
}

static void cell(struct jl_buf *out, double x)
{
    jl_buf_str(out, ",");
    if (isfinite(x))
        jl_buf_printf(out, "%.15g", x);
}

void metrics_to_csv(const struct run *r, struct jl_buf *out)
{
    struct metric_list *list = malloc(sizeof *list);
    if (!list)
        return;
    metrics_of_run(r, list);
    jl_buf_str(out, "run_id,metric,unit,net,net_lo,net_hi,gross,gross_lo,gross_hi,measured_at\r\n");
    const char *at = run_pairs_get(&r->engine, "measured_at");
    for (size_t i = 0; i < list->n; i++) {
        const struct metric *m = &list->rows[i];
        jl_buf_printf(out, "%s,%s,%s", r->id, m->key, m->unit);
        const double x[] = {m->net.x, m->net.lo, m->net.hi, m->gross.x, m->gross.lo, m->gross.hi};
        for (size_t k = 0; k < JL_COUNT(x); k++)
            cell(out, x[k]);
        jl_buf_printf(out, ",%s\r\n", at ? at : "");
    }
    free(list);
}
