/* sim_llama.c - settings to times and powers (sim_llama.h). */
#include "tests/sim_engine/sim_llama.h"

#include <math.h>
#include <stddef.h>

#define CONTEXT 40 /* tokens; a step is taken for one length of the cache */
#define PROMPT  20

void sim_llama_machine(struct sim_machine *m, struct sim_model *model)
{
    *m = (struct sim_machine){.cores = 4,
                              .bytes_per_s = 3e8,
                              .core_flops = 2e9,
                              .saturation = 2,
                              .overlap = 8,
                              .idle_w = 10,
                              .core_w = 8,
                              .waiting = 0.8,
                              .second_w = 0.2,
                              .crowding = 0.2,
                              .base_w = 3,
                              .byte_j = 1e-9,
                              .flop_j = 1e-12,
                              .clock_power = 2.5,
                              .flash_compute = 1,
                              .unpack = 0.05};
    *model = (struct sim_model){.params = 1e6, .cache_width = 8000, .scores = 1000};
}

struct sim_settings sim_llama_settings(void)
{
    return (struct sim_settings){.threads = 4, .at_once = 1, .weight_bits = 4.5, .cache_bits = 16};
}

void sim_llama_config(const struct sim_settings *s, struct sim_config *out)
{
    struct sim_machine m;
    struct sim_model model;
    sim_llama_machine(&m, &model);
    struct sim_cost step = sim_step(&m, &model, s, CONTEXT), prompt = sim_prefill(&m, &model, s, PROMPT);
    sim_config_init(out);
    out->idle_w = m.idle_w;
    out->decode_w = m.idle_w + step.j / step.s;
    out->decode_ms = 1e3 * step.s;
    out->prefill_w = m.idle_w + prompt.j / prompt.s;
    out->prefill_ms = 1e3 * prompt.s / PROMPT;
}

void sim_llama_on_gpu(struct sim_config *c, double share)
{
    double faster = 1 - 0.5 * fmin(share, 1), more = 1 + 3 * fmin(share, 1);
    c->decode_ms *= faster;
    c->prefill_ms *= faster;
    c->decode_w = c->idle_w + more * (c->decode_w - c->idle_w);
    c->prefill_w = c->idle_w + more * (c->prefill_w - c->idle_w);
}

double sim_llama_request_j(const struct sim_settings *s, double prompt, double answer)
{
    struct sim_config c;
    sim_llama_config(s, &c);
    return 1e-3 * (prompt * c.prefill_ms * (c.prefill_w - c.idle_w) + (answer - 1) * c.decode_ms * (c.decode_w - c.idle_w));
}
