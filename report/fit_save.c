/* fit_save.c - a fit as a set of coefficients for `joulet estimate` (docs/estimates.md). */
#include "report/estimate.h"
#include "report/fit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GAIN_LEAST 0.01 /* truth/figure: no sensor is worse */

/* "cpu0.package, cpu0.dram": channels of the total, or their sensors, each once. */
static char *channels(const struct run *r, bool sensors)
{
    struct jl_buf b;
    jl_buf_init(&b, 65536);
    for (size_t i = 0; i < r->n_channels; i++) {
        const char *name = sensors ? r->channels[i].sensor : r->channels[i].id;
        bool said = false;
        for (size_t k = 0; k < i && sensors; k++)
            said |= r->channels[k].in_total && !strcmp(r->channels[k].sensor, name);
        if (r->channels[i].in_total && !said)
            jl_buf_printf(&b, "%s%s", b.len ? ", " : "", name);
    }
    return jl_buf_take(&b);
}

static char *source(const struct fit *f)
{
    struct jl_buf b;
    size_t runs = 0;
    jl_buf_init(&b, 4096);
    for (size_t i = 0; i < f->n; i++)
        if ((i == 0 || f->rows[i].run != f->rows[i - 1].run) && ++runs <= 3)
            jl_buf_printf(&b, "%s%s", runs > 1 ? ", " : "fit of run ", f->rows[i].run->id);
    if (runs > 3)
        jl_buf_printf(&b, " and %zu more", runs - 3);
    return jl_buf_take(&b);
}

static char *day(const struct run *r)
{
    char text[40];
    jl_format_time(text, sizeof text, r->started_wall_ns);
    return jl_strf("%.10s", text);
}

static void describe(struct estimate_set *s, const struct fit *f)
{
    const struct run *r = f->rows[0].run;
    free(s->source); /* "" from the start */
    s->source = source(f);
    s->boundary = channels(r, false);
    s->sensor = channels(r, true);
    s->date = day(r);
    s->machine = jl_strdup(run_pairs_get(&r->machine, "cpu"));
    s->host = f->several_machines ? NULL : jl_strdup(run_pairs_get(&r->machine, "host"));
    s->net = !f->gross;
    s->provenance = f->provenance;
    s->provenance_known = true;
    s->gain_lo = f->truth_hi > 1 ? 1 / f->truth_hi : 1;
    s->gain_hi = f->truth_lo < 1 ? 1 / fmax(f->truth_lo, GAIN_LEAST) : 1;
}

/* The gain of the sensors is in a row of its own, and not in the covariance. */
static bool add_model(struct estimate_set *s, const struct fit *f)
{
    const char *name = run_pairs_get(&f->rows[0].run->model, "name");
    struct estimate_model m = {.name = jl_strdup(name && *name ? name : "model")};
    for (size_t i = 0; i < JL_TOKEN_TERMS; i++) {
        m.c.e[i] = f->model.e[i];
        for (size_t j = 0; j < JL_TOKEN_TERMS; j++)
            m.c.cov[i][j] = f->model.cov[i][j];
    }
    bool ok = m.name && estimate_set_add(s, &m);
    free(m.name);
    return ok;
}

enum joulet_status fit_save(const struct fit *f, const char *name, bool replace, struct joulet_error *err)
{
    struct estimate_set s;
    estimate_set_init(&s, name, ESTIMATE_FIT);
    describe(&s, f);
    enum joulet_status st = s.source && add_model(&s, f) ? estimate_set_save(&s, replace, err)
                                                         : jl_fail(err, JOULET_MEMORY, "out of memory while saving a fit");
    estimate_set_release(&s);
    return st;
}
