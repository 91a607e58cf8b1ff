/* sample.c - see sample.h. */
#include "tests/run/sample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define T0 (123 * JL_NS_PER_S)

struct joulet_energy sample_energy(double net_j, double gross_j, enum joulet_provenance p)
{
    struct joulet_energy e = JOULET_ENERGY_UNKNOWN;
    e.net_j = net_j;
    e.gross_j = gross_j;
    e.net_pm_j = 0.06 * net_j;
    e.gross_pm_j = 0.06 * gross_j;
    e.min_j = (p == JOULET_ESTIMATED ? 0.4 : 0.9) * gross_j;
    e.max_j = (p == JOULET_ESTIMATED ? 2.5 : 1.1) * gross_j;
    e.u = (struct joulet_u){0.001, 0.004 * net_j, 0.002 * net_j, 0.001 * net_j, 0.005 * net_j, 0.0289 * net_j};
    e.provenance = p;
    e.flags = p == JOULET_ESTIMATED ? JOULET_FLAG_GUESSED : 0;
    e.method = p == JOULET_ESTIMATED ? "tdp/1" : "two-slope/1";
    return e;
}

/* ---- the machine ------------------------------------------------------------------------------------------------- */

static void add_channel(struct run *r, const char *id, const char *sensor, const char *device, enum joulet_group g,
                        double factor_lo, double factor_hi)
{
    bool estimate = factor_lo < 1;
    struct joulet_channel c = {.id = id,
                               .sensor = sensor,
                               .device = device,
                               .parent = "",
                               .quantity = JOULET_ENERGY,
                               .group = g,
                               .provenance = estimate ? JOULET_ESTIMATED : JOULET_MEASURED,
                               .in_total = true,
                               .period_s = 0.001,
                               .quantum_j = 6.1035e-05,
                               .u_lag_s = 0.0003,
                               .lag_max_s = 0.002,
                               .rise_s = 0.0003,
                               .spec = 0.05,
                               .power_min_w = NAN,
                               .power_max_w = NAN,
                               .factor_lo = factor_lo,
                               .factor_hi = factor_hi};
    struct joulet_baseline b = {.power_w = 30.2, .u_w = 0.31, .sd_w = 0.4, .from_ns = T0, .to_ns = T0 + 10 * JL_NS_PER_S};
    run_add_channel(r, &c);
    run_add_baseline(r, id, &b, !strcmp(r->kind, "exec") ? "L0" : "L1");
}

static void add_machine(struct run *r, enum sample_machine m)
{
    if (m == SAMPLE_SENSORS) {
        add_channel(r, "cpu0.package", "rapl", "Intel Xeon Gold 6338", JOULET_GROUP_CPU, 1, 1);
        add_channel(r, "cpu0.dram", "rapl", "", JOULET_GROUP_DRAM, 1, 1);
    } else {
        add_channel(r, "cpu0.estimate", "tdp", "QEMU Virtual CPU, 2 threads", JOULET_GROUP_CPU, 0.4, 2.5);
    }
    if (m != SAMPLE_ESTIMATE)
        add_channel(r, "gpu0.board", "nvml", "NVIDIA H200", JOULET_GROUP_GPU, 1, 1);
    struct run_pairs *p = &r->machine;
    run_pairs_set(p, "os", 's', "Debian GNU/Linux 12 (bookworm)");
    run_pairs_set(p, "cpu", 's', "%s", m == SAMPLE_SENSORS ? "Intel Xeon Gold 6338" : "QEMU Virtual CPU");
    run_pairs_set(p, "threads", 'n', "%d", 8);
    run_pairs_set(p, "load_average", 'n', "%.15g", 0.35);
    run_pairs_set(p, "temperature_before_c", 'n', "%.15g", NAN);
    run_pairs_set(p, "virtual_machine", 'b', "%s", m == SAMPLE_SENSORS ? "false" : "true");
    run_pairs_set(p, "power_source", 's', "mains");
    p = &r->factors;
    run_pairs_set(p, "grid_g_per_kwh", 'n', "445");
    run_pairs_set(p, "grid_source", 's', "IEA world average (Electricity 2025)");
    run_pairs_set(p, "pue", 'n', "%.15g", 1.0);
}

static void add_engine(struct run *r)
{
    run_pairs_set(&r->engine, "protocol", 's', "llama.cpp");
    run_pairs_set(&r->engine, "version", 's', "b11669");
    run_pairs_set(&r->engine, "url", 's', "http://127.0.0.1:8080");
    run_pairs_set(&r->engine, "gpu_layers", 'n', "%d", 0);
    run_pairs_set(&r->model, "name", 's', "llama-3.2-1b-q4_0.gguf");
    run_pairs_set(&r->model, "quantisation", 's', "Q4_0");
    run_pairs_set(&r->settings, "seed", 'n', "18446744073709551615");
    run_pairs_set(&r->settings, "temperature", 'n', "%.15g", 0.7);
    run_pairs_set(&r->settings, "repeat", 'n', "1");
}

static void begin(struct run *r, const char *kind, const char *id, enum sample_machine m)
{
    run_init(r, kind);
    snprintf(r->id, sizeof r->id, "%s", id);
    r->started_wall_ns = 1795274629000000000; /* 2026-11-21T15:23:49Z */
    r->start_ns = T0;
    r->wall_offset_ns = r->started_wall_ns - T0;
    free(r->status);
    r->status = jl_strdup("done");
    add_machine(r, m);
    run_pairs_set(&r->sampler, "cpu_s", 'n', "%.15g", 0.0123);
    run_pairs_set(&r->sampler, "reads", 'n', "4096");
}

/* ---- windows and requests ---------------------------------------------------------------------------------------- */

/* Net power split over the channels of the sample: half, a tenth, the rest. */
static void fill(const struct run *r, struct run_energy *e, double net_j, double seconds)
{
    static const double shares[] = {0.5, 0.1, 0.4};
    for (size_t i = 0; i < r->n_channels; i++) {
        double share = r->n_channels == 1 ? 1 : r->n_channels == 2 ? 0.5 : shares[i];
        struct joulet_energy x = sample_energy(share * net_j, share * net_j + 30.2 * seconds, r->channels[i].provenance);
        run_energy_add_channel(e, r->channels[i].id, &x);
    }
    run_energy_total(r, e);
}

static void add_window(const struct run *r, struct run_window **list, size_t *n, const char *name, double from_s, double to_s,
                       double net_w)
{
    struct run_window w;
    double idle_w = 30.2 * (double)r->n_channels;
    run_window_init(&w, name, T0 + jl_ns(from_s), T0 + jl_ns(to_s));
    w.u_start_s = 0.0005;
    w.u_end_s = 0.0005;
    w.power_min_w = idle_w + 0.8 * net_w;
    w.power_mean_w = idle_w + net_w;
    w.power_max_w = idle_w + 1.2 * net_w;
    w.updates = (int64_t)((to_s - from_s) * 1000);
    fill(r, &w.energy, net_w * (to_s - from_s), to_s - from_s);
    run_add_window(list, n, &w);
}

static void sum_windows(const struct run *r, struct run_request *q)
{
    for (size_t c = 0; c < r->n_channels; c++) {
        struct joulet_energy e = JOULET_ENERGY_UNKNOWN;
        for (size_t k = 0; k < q->n_windows; k++)
            joulet_energy_chain(&e, &q->windows[k].energy.channels[c].e);
        run_energy_add_channel(&q->energy, r->channels[c].id, &e);
    }
    run_energy_total(r, &q->energy);
}

static struct run_request *add_request(struct run *r, const char *category, int64_t number, double at_s, double prefill_s,
                                       double decode_s)
{
    static const char prompt[] = "In one sentence, say why the sky looks blue at noon.";
    struct run_request q;
    run_request_init(&q);
    q.index = (int64_t)r->n_requests;
    q.set = jl_strdup("own_v1");
    q.category = jl_strdup(category);
    q.number = number;
    q.repeat = 0;
    q.prompt = jl_strdup(prompt);
    q.answer =
        jl_strdup("Sunlight is scattered by the air, and blue light more than red; so the sky that\nwe see at noon is blue.");
    struct jl_sha256 sha;
    jl_sha256_init(&sha);
    jl_sha256_add(&sha, prompt, strlen(prompt));
    jl_sha256_hex(&sha, q.prompt_sha256);
    q.finish = jl_strdup("length");
    q.tokens = (struct run_tokens){.prompt = 13, .cached = 0, .generated = 64, .reasoning = -1};
    q.ttft_s = prefill_s + 0.002;
    q.tpot_s = decode_s / 64;
    q.itl_p50_s = 0.99 * q.tpot_s;
    q.itl_p95_s = 1.2 * q.tpot_s;
    q.itl_p99_s = 1.6 * q.tpot_s;
    q.server_prompt_s = prefill_s;
    q.server_decode_s = decode_s;
    q.phase_source = jl_strdup("server timings");
    q.temperature_before_c = 41.5;
    add_window(r, &q.windows, &q.n_windows, "queue", at_s, at_s + 0.0015, 5);
    add_window(r, &q.windows, &q.n_windows, "prefill", at_s + 0.0015, at_s + 0.0015 + prefill_s, 120);
    add_window(r, &q.windows, &q.n_windows, "decode", at_s + 0.0015 + prefill_s, at_s + 0.0015 + prefill_s + decode_s, 60);
    sum_windows(r, &q);
    return run_add_request(r, &q);
}

/* Two configurations that took turns. */
static void plan_of(struct run *r)
{
    struct run_series s = {.cell = 1, .number = 1, .repeats = 2, .dropped = 0, .steady = -1};
    run_pairs_set(&run_add_cell(r, "4 threads")->settings, "threads", 'n', "4");
    struct run_cell *c = run_add_cell(r, "8 threads, \"hot\"");
    run_pairs_set(&c->settings, "threads", 'n', "8");
    run_pairs_set(&c->settings, "model", 's', "llama-3.2-1b-q4_0.gguf");
    s.set = jl_strdup("own_v1");
    s.category = jl_strdup("long");
    run_add_series(r, &s);
    for (size_t i = 0; i < r->n_requests; i++) {
        r->requests[i].cell = (int64_t)i % 2;
        r->requests[i].position = (int64_t)i;
        r->requests[i].check = (int64_t)i % 3 - 1;
    }
    r->windows[1].cell = 0;
}

void sample_bench(struct run *r, enum sample_machine m)
{
    begin(r, "bench", "20261121-152349-5f3a", m);
    add_engine(r);
    r->title = jl_strdup("nine prompts");
    add_window(r, &r->windows, &r->n_windows, "idle", 0, 10, 0.1);
    add_window(r, &r->windows, &r->n_windows, "load", 10, 11.25, 80);
    add_request(r, "short", 1, 12, 0.06, 0.64)->warmup = true;
    add_request(r, "short", 1, 13, 0.06, 0.64);
    add_request(r, "short", 2, 14, 0.05, 0.65);
    add_request(r, "long", 1, 15, 0.9, 0.7);
    add_request(r, "long", 2, 17, 0.95, 0.72);
    plan_of(r);
    struct run_request *failed = add_request(r, "long", 3, 19, 0.9, 0.1);
    failed->outcome = RUN_FAILED;
    failed->error = jl_strdup("the engine closed the connection in mid-answer; look into its log");
    r->requests[3].windows[1].energy.total.flags |= JOULET_FLAG_MISMATCH;
    add_window(r, &r->windows, &r->n_windows, "cooldown", 20, 24.5, 8);
    r->end_ns = T0 + jl_ns(24.5);
    run_energy_from_requests(r);
    r->energy.total.tail_j = 36;
    run_note(r, "1 of 4096 sensor reads failed; what it would have seen is bridged by the counters on both sides");
}

void sample_single(struct run *r, enum sample_machine m)
{
    begin(r, "run", "20261121-160000-00aa", m);
    add_engine(r);
    run_pairs_set(&r->factors, "price_per_kwh", 'n', "%.15g", 0.3);
    run_pairs_set(&r->factors, "currency", 's', "EUR");
    add_window(r, &r->windows, &r->n_windows, "load", 1, 2.25, 80);
    struct run_request *q = add_request(r, "short", 1, 3, 0.06, 0.64);
    q->tail_j = q->energy.total.tail_j = 3.1;
    q->settle_s = 1.4;
    r->end_ns = T0 + jl_ns(5);
    run_energy_from_requests(r);
}

void sample_exec(struct run *r, enum sample_machine m)
{
    begin(r, "exec", "20261121-170000-00bb", m);
    r->argv = jl_strdup("make -j8 all");
    r->exit_code = 2;
    add_window(r, &r->windows, &r->n_windows, "run", 1, 13.345, 90);
    fill(r, &r->energy, 90 * 12.345, 12.345);
    r->end_ns = T0 + jl_ns(16);
}
