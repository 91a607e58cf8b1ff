/* metrics.c - the page for Prometheus: the server and its process, what requests came to by upstream, model and protocol and by
 * client, and where the energy of every device went. The number of series is bounded, because names of models and clients are the
 * clients' to invent (accounts.h, tallies.h). Counters never fall. */
#include "server/metrics.h"

#include "lib/platform/platform.h"
#include "report/live.h"
#include "report/prometheus.h"
#include "server/metering.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_S     0.3 /* over which power now is taken; longer for slow devices */
#define LOOK_MAX_S 2.5

static void one(struct jl_buf *out, const char *name, const char *type, const char *help, double value)
{
    prometheus_family(out, name, type, help);
    prometheus_sample(out, name, NULL, 0, value);
}

static double known(int64_t n)
{
    return n < 0 ? NAN : (double)n;
}

/* ---- the process and the server ------------------------------------------------------------------------------------------ */

static void put_process(struct jl_buf *out, const struct server *s)
{
    struct jl_self self;
    jl_self_get(&self);
    one(out, "process_cpu_seconds_total", "counter", "Processor time of this process, user and system.", self.cpu_s);
    one(out, "process_resident_memory_bytes", "gauge", "Resident memory.", known(self.resident_bytes));
    one(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.", known(self.virtual_bytes));
    one(out, "process_open_fds", "gauge", "Open files and sockets.", known(self.open_files));
    one(out, "process_max_fds", "gauge", "Files and sockets that it may open.", known(self.open_files_max));
    one(out, "process_threads", "gauge", "Threads.", known(self.threads));
    one(out, "process_start_time_seconds", "gauge", "When it began, in seconds since 1970.", s->process_start_s);
}

static void put_server(struct jl_buf *out, struct server *s, const struct rules *r)
{
    static const char up[] = "joulet_upstream_up";
    prometheus_family(out, "joulet_build_info", "gauge", "Always 1; the version is in the label.");
    prometheus_sample(out, "joulet_build_info", &(struct prometheus_label){"version", JOULET_VERSION}, 1, 1);
    one(out, "joulet_connections", "gauge", "Connections of clients.", net_server_connections(s->net));
    one(out, "joulet_exchanges_active", "gauge", "Exchanges under way, of all kinds.", server_active(s));
    one(out, "joulet_exchanges_total", "counter", "Exchanges that ended, of all kinds.", (double)server_served(s));
    one(out, "joulet_exchanges_not_wholly_seen_total", "counter",
        "Exchanges of which metering missed a part, because it was too slow.", (double)observation_lost(s->observation));
    prometheus_family(out, up, "gauge", "1 when the last exchange with the upstream was answered, else 0.");
    for (size_t i = 0; i < r->o.n_upstreams; i++) {
        const struct server_upstream *u = &r->o.upstreams[i];
        struct prometheus_label labels[] = {{"upstream", u->url}, {"prefix", u->prefix}, {"model", u->model}};
        prometheus_sample(out, up, labels, JL_COUNT(labels), !atomic_load(&r->upstreams[i].down));
    }
}

/* ---- requests ------------------------------------------------------------------------------------------------------------- */

struct sum {
    const char *names[3]; /* upstream, model, protocol; of clients: the client alone */
    uint64_t requests, failed, without_energy, without_tokens, prompt, cached, generated, reasoning;
    double net_j, gross_j, duration_s, prefill_s, decode_s;
    double phase_net_j[ACCOUNTS_PHASES], phase_gross_j[ACCOUNTS_PHASES];
};

static double more(double all, double x)
{
    return x > 0 ? all + x : all;
}

static void add(struct sum *to, const struct accounts_sums *a)
{
    to->requests += a->requests;
    to->failed += a->failed;
    to->without_energy += a->without_energy;
    to->without_tokens += a->without_tokens;
    to->prompt += a->prompt;
    to->cached += a->cached;
    to->generated += a->generated;
    to->reasoning += a->reasoning;
    to->net_j = more(to->net_j, a->most_net_j);
    to->gross_j = more(to->gross_j, a->most_gross_j);
    to->duration_s = more(to->duration_s, a->duration_s);
    to->prefill_s = more(to->prefill_s, a->prefill_s);
    to->decode_s = more(to->decode_s, a->decode_s);
    for (size_t i = 0; i < ACCOUNTS_PHASES; i++) {
        to->phase_net_j[i] = more(to->phase_net_j[i], a->most_phase_net_j[i]);
        to->phase_gross_j[i] = more(to->phase_gross_j[i], a->most_phase_gross_j[i]);
    }
}

/* Names are the same pointers when they are the same names (accounts.c). */
static struct sum *find(struct sum *sums, size_t *n, const char *const names[3])
{
    for (size_t i = 0; i < *n; i++)
        if (memcmp(sums[i].names, names, sizeof sums[i].names) == 0)
            return &sums[i];
    sums[*n] = (struct sum){.names = {names[0], names[1], names[2]}};
    return &sums[(*n)++];
}

#define FIELD(f) offsetof(struct sum, f)
static const struct family {
    const char *name, *help;
    size_t at;
    bool real;
    const char *label, *value; /* one more; NULL none */
} families[] = {
    {"requests_total", "Requests that ended and whose figures are final.", FIELD(requests), false, NULL, NULL},
    {"requests_failed_total", "Those of them without a whole answer, or with an error.", FIELD(failed), false, NULL, NULL},
    {"requests_without_energy_total", "Those of them whose energy is not known.", FIELD(without_energy), false, NULL, NULL},
    {"requests_without_tokens_total", "Those of them whose tokens are not known.", FIELD(without_tokens), false, NULL, NULL},
    {"prompt_tokens_total", "Tokens of prompts, cached ones too.", FIELD(prompt), false, NULL, NULL},
    {"cached_prompt_tokens_total", "Tokens of prompts that were cached.", FIELD(cached), false, NULL, NULL},
    {"generated_tokens_total", "Tokens that were generated, reasoning too.", FIELD(generated), false, NULL, NULL},
    {"reasoning_tokens_total", "Generated tokens of reasoning.", FIELD(reasoning), false, NULL, NULL},
    {"requests_net_energy_joules_total", "Energy of requests above the idle level.", FIELD(net_j), true, NULL, NULL},
    {"requests_gross_energy_joules_total", "Energy of requests with their part of the idle power.", FIELD(gross_j), true, NULL,
     NULL},
    {"requests_seconds_total", "Time of requests from arrival to end.", FIELD(duration_s), true, NULL, NULL},
    {"phase_seconds_total", "Time of requests by phase.", FIELD(prefill_s), true, "phase", "prefill"},
    {NULL, NULL, FIELD(decode_s), true, "phase", "decode"}, /* of the family above */
    {"phase_net_energy_joules_total", "Net energy of requests by phase, where it is known; load: of models, asked for by itself.",
     FIELD(phase_net_j[ACCOUNTS_LOAD]), true, "phase", "load"},
    {NULL, NULL, FIELD(phase_net_j[ACCOUNTS_PREFILL]), true, "phase", "prefill"},
    {NULL, NULL, FIELD(phase_net_j[ACCOUNTS_DECODE]), true, "phase", "decode"},
    {"phase_gross_energy_joules_total", "The same with their part of the idle power.", FIELD(phase_gross_j[ACCOUNTS_LOAD]), true,
     "phase", "load"},
    {NULL, NULL, FIELD(phase_gross_j[ACCOUNTS_PREFILL]), true, "phase", "prefill"},
    {NULL, NULL, FIELD(phase_gross_j[ACCOUNTS_DECODE]), true, "phase", "decode"},
};

static double value_of(const struct sum *s, const struct family *f)
{
    const char *at = (const char *)s + f->at;
    return f->real ? *(const double *)(const void *)at : (double)*(const uint64_t *)(const void *)at;
}

static void put_sums(struct jl_buf *out, const char *prefix, const char *const *label_names, size_t n_labels,
                     const struct sum *sums, size_t n)
{
    char name[80] = "";
    for (size_t i = 0; i < JL_COUNT(families); i++) {
        const struct family *f = &families[i];
        if (f->name) {
            snprintf(name, sizeof name, "%s%s", prefix, f->name);
            prometheus_family(out, name, "counter", f->help);
        }
        for (size_t k = 0; k < n; k++) {
            struct prometheus_label labels[4];
            size_t l = 0;
            for (; l < n_labels; l++)
                labels[l] = (struct prometheus_label){label_names[l], sums[k].names[l]};
            if (f->label)
                labels[l++] = (struct prometheus_label){f->label, f->value};
            prometheus_sample(out, name, labels, l, value_of(&sums[k], f));
        }
    }
}

static void put_requests(struct jl_buf *out, struct metering *m)
{
    static const char *const of_models[] = {"upstream", "model", "protocol"}, *const of_clients[] = {"client"};
    size_t n_rows = 0, n_models = 0, n_clients = 0;
    struct accounts_row *rows = accounts_snapshot(metering_accounts(m), &n_rows);
    struct sum *models = calloc(n_rows + 1, sizeof *models), *clients = calloc(n_rows + 1, sizeof *clients);
    for (size_t i = 0; rows && models && clients && i < n_rows; i++) {
        add(find(models, &n_models, (const char *const[]){rows[i].upstream, rows[i].model, rows[i].protocol}), &rows[i].sums);
        add(find(clients, &n_clients, (const char *const[]){rows[i].client, NULL, NULL}), &rows[i].sums);
    }
    put_sums(out, "joulet_", of_models, JL_COUNT(of_models), models, n_models);
    put_sums(out, "joulet_client_", of_clients, JL_COUNT(of_clients), clients, n_clients);
    free(rows);
    free(models);
    free(clients);
}

/* ---- sensors -------------------------------------------------------------------------------------------------------------- */

static double slowest_s(struct joulet *meter)
{
    double s = LOOK_S;
    struct joulet_channel ch;
    for (size_t i = 0; i < joulet_channel_count(meter); i++)
        if (joulet_channel_get(meter, i, &ch) == JOULET_OK)
            s = fmax(s, 3 * ch.period_s);
    return fmin(s, LOOK_MAX_S);
}

static void put_channels(struct jl_buf *out, const char *name, const char *help, const struct live *l, bool health)
{
    prometheus_family(out, name, "gauge", help);
    for (size_t i = 0; i < l->n; i++) {
        const struct joulet_channel *ch = &l->channels[i].ch;
        struct prometheus_label labels[] = {{"channel", ch->id},
                                            {"sensor", ch->sensor},
                                            {"group", joulet_group_name(ch->group)},
                                            {"provenance", joulet_provenance_name(ch->provenance)},
                                            {"in_total", ch->in_total ? "1" : "0"}};
        if (live_is_power(ch))
            prometheus_sample(out, name, labels, JL_COUNT(labels), health ? !l->channels[i].silent : l->channels[i].now);
    }
}

static void put_sensors(struct jl_buf *out, struct joulet *meter)
{
    struct live l;
    joulet_mark now = joulet_mark_now(meter);
    one(out, "joulet_sensor_problems", "gauge", "Sensors that exist here and cannot be read; `joulet doctor` says why.",
        (double)joulet_problem_count(meter));
    if (live_begin(&l, meter, now - jl_ns(slowest_s(meter)), NULL) == JOULET_OK) {
        live_row(&l, now);
        put_channels(out, "joulet_power_watts", "Power now. Sum only those with in_total=\"1\": others are parts of them.", &l,
                     false);
        put_channels(out, "joulet_sensor_up", "1 while the channel tells something new, 0 when it fell silent.", &l, true);
    }
    live_end(&l);
}

/* ---- all of it ------------------------------------------------------------------------------------------------------------ */

void metrics_write(struct server *s, const struct rules *r, struct jl_buf *out)
{
    put_server(out, s, r);
    if (s->o.metering) {
        put_requests(out, s->o.metering);
        metering_write_metrics(s->o.metering, out);
    }
    if (s->o.api.meter)
        put_sensors(out, s->o.api.meter);
    put_process(out, s);
}
