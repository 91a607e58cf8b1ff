/* tallies.c - see tallies.h. Buckets are about a factor of 2 to 2.5 apart, from the least that a request takes to the most. */
#include "server/tallies.h"

#include "report/prometheus.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const double seconds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300};
static const double joules[] = {0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 50000};
static const double token_joules[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50};

static const struct form {
    const char *name, *help;
    const double *bounds;
    size_t n;
} forms[TALLIES] = {
    {"joulet_time_to_first_token_seconds", "From the arrival of a request to the first piece of its answer.", seconds,
     JL_COUNT(seconds)},
    {"joulet_request_duration_seconds", "From the arrival of a request to the end of its answer.", seconds, JL_COUNT(seconds)},
    {"joulet_request_energy_joules", "Net energy of a request, once it is final.", joules, JL_COUNT(joules)},
    {"joulet_generated_token_energy_joules", "Net energy of a request per generated token.", token_joules,
     JL_COUNT(token_joules)},
};

struct tallied {
    char *model;
    struct {
        uint64_t counts[TALLIES_BUCKETS];
        double sum;
    } of[TALLIES];
};

struct tallies {
    pthread_mutex_t lock;
    struct tallied models[TALLIES_MODELS + 1]; /* the last: other */
    size_t n;
};

struct tallies *tallies_open(void)
{
    struct tallies *t = calloc(1, sizeof *t);
    if (t)
        pthread_mutex_init(&t->lock, NULL);
    return t;
}

void tallies_close(struct tallies *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n; i++)
        free(t->models[i].model);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static struct tallied *find(struct tallies *t, const char *model)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->models[i].model, model) == 0)
            return &t->models[i];
    char *copy = t->n < TALLIES_MODELS ? jl_strdup(model) : NULL;
    if (!copy)
        return &t->models[TALLIES_MODELS];
    t->models[t->n].model = copy;
    return &t->models[t->n++];
}

void tallies_add(struct tallies *t, const char *model, const double value[TALLIES])
{
    pthread_mutex_lock(&t->lock);
    struct tallied *m = find(t, model && *model ? model : "unknown");
    for (size_t i = 0; i < TALLIES; i++) {
        if (!isfinite(value[i]))
            continue;
        size_t b = 0;
        while (b < forms[i].n && value[i] > forms[i].bounds[b])
            b++;
        m->of[i].counts[b]++;
        m->of[i].sum += fmax(0, value[i]); /* a sum never falls */
    }
    pthread_mutex_unlock(&t->lock);
}

void tallies_write(struct tallies *t, struct jl_buf *out)
{
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < TALLIES; i++) {
        const struct form *f = &forms[i];
        prometheus_family(out, f->name, "histogram", f->help);
        for (size_t k = 0; k <= TALLIES_MODELS; k++) {
            const struct tallied *m = &t->models[k];
            uint64_t any = 0;
            for (size_t b = 0; b <= f->n; b++)
                any |= m->of[i].counts[b];
            struct prometheus_label label = {"model", m->model ? m->model : "other"};
            if (any)
                prometheus_histogram(out, f->name, &label, 1, f->bounds, f->n, m->of[i].counts, m->of[i].sum);
        }
    }
    pthread_mutex_unlock(&t->lock);
}
