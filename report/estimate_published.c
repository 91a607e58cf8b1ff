/* estimate_published.c - the published sets (data/README.md): the AI Energy Score, measured, by prompt tokens alone; Jegham et
 * al., modelled, three workloads a model. */
#include "report/estimate_private.h"

#include "data/data.h"

#include <stdlib.h>
#include <string.h>

#define J_PER_WH 3600.0

/* model_id,model_id_as_stored,task,class,gpu_wh_per_query,gpu_wh_per_1000_queries,input_tokens_per_1000_queries,... */
static bool hf_row(struct estimate_set *s, char **f)
{
    double wh, tokens;
    struct estimate_model m = {.name = f[0], .no_output = true};
    if (!jl_parse_double(f[5], &wh) || !jl_parse_double(f[6], &tokens) || !(wh > 0) || !(tokens > 0))
        return true; /* not known, so not there */
    m.c.e[JOULET_E_IN] = wh * J_PER_WH / tokens;
    return estimate_set_add(s, &m) != NULL;
}

/* model,host,wh_100in_300out,sd_..,wh_1000in_1000out,sd_..,wh_10000in_1500out,sd_..,... */
static bool jegham_row(struct estimate_set *s, char **f)
{
    static const double tokens_in[] = {100, 1000, 10000}, tokens_out[] = {300, 1000, 1500};
    struct estimate_model m = {.name = f[0]};
    for (size_t i = 0; i < JL_COUNT(tokens_in); i++) {
        double wh, sd;
        if (!jl_parse_double(f[2 + 2 * i], &wh) || !(wh > 0))
            continue;
        if (!jl_parse_double(f[3 + 2 * i], &sd))
            sd = 0;
        m.workloads[m.n_workloads++] = (struct joulet_workload){tokens_in[i], tokens_out[i], wh * J_PER_WH, sd * J_PER_WH};
    }
    return m.n_workloads == 0 || estimate_set_add(s, &m);
}

static const struct published {
    const char *name, *source, *boundary, *date, *machine;
    bool measured;
    const struct data_file *file;
    size_t columns;
    bool (*row)(struct estimate_set *s, char **fields);
} published[ESTIMATE_PUBLISHED_SETS] = {
    {"ai-energy-score", "AI Energy Score (Hugging Face), text generation", "the GPU alone", "2025-12-06",
     "NVIDIA H100 80GB, FP16, batch size 1", true, &data_energy_benchmarks_hf, 11, hf_row},
    {"jegham-2025", "Jegham et al. 2025, arXiv 2505.09598 v6, table 4", "the whole system with PUE, as the paper assumes it",
     "2025", "servers as the paper assumes them", false, &data_energy_benchmarks_jegham, 18, jegham_row},
};

const char *estimate_published_name(size_t i)
{
    return published[i].name;
}

bool estimate_is_published(const char *name)
{
    for (size_t i = 0; i < ESTIMATE_PUBLISHED_SETS; i++)
        if (!strcmp(published[i].name, name))
            return true;
    return false;
}

static enum joulet_status read_file(struct estimate_set *s, const struct published *p, struct joulet_error *err)
{
    struct jl_csv csv;
    bool good = true;
    jl_csv_init(&csv, p->file->text, p->file->len);
    jl_csv_next(&csv); /* the header */
    while (good && jl_csv_next(&csv))
        good = csv.n != p->columns || p->row(s, csv.fields);
    jl_csv_release(&csv);
    if (good && s->n)
        return jl_ok(err);
    estimate_set_release(s);
    return jl_fail(err, JOULET_MEMORY, "out of memory for the set %s", p->name);
}

enum joulet_status estimate_published(struct estimate_set *s, const char *name, struct joulet_error *err)
{
    const struct published *p = published;
    while (strcmp(p->name, name))
        p++;
    estimate_set_init(s, name, ESTIMATE_PUBLISHED);
    free(s->source);
    s->source = jl_strdup(p->source);
    s->boundary = jl_strdup(p->boundary);
    s->date = jl_strdup(p->date);
    s->machine = jl_strdup(p->machine);
    s->net = false;
    s->provenance = p->measured ? JOULET_MEASURED : JOULET_ESTIMATED;
    s->provenance_known = true;
    return read_file(s, p, err);
}
