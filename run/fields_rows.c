/* fields_rows.c - the rows of joulet.run/1 (docs/record.md): which member of which struct is which key. */
#include "run/internal.h"

/* ---- names ------------------------------------------------------------------------------------------------------- */

static const char *provenance_name(unsigned i)
{
    return i <= JOULET_SIMULATED ? joulet_provenance_name((enum joulet_provenance)i) : NULL;
}

static const char *group_name(unsigned i)
{
    return i < JOULET_GROUP_COUNT ? joulet_group_name((enum joulet_group)i) : NULL;
}

const char *run_quantity_name(enum joulet_quantity q)
{
    static const char *const names[] = {"energy",      "power",  "temperature", "clock",
                                        "utilisation", "memory", "power_limit", "throttle"};
    return (unsigned)q < JL_COUNT(names) ? names[q] : NULL;
}

static const char *quantity_name(unsigned i)
{
    return run_quantity_name((enum joulet_quantity)i);
}

const char *run_outcome_name(enum run_outcome o)
{
    static const char *const names[] = {"ok", "failed", "cancelled"};
    return (unsigned)o < JL_COUNT(names) ? names[o] : NULL;
}

static const char *outcome_name(unsigned i)
{
    return run_outcome_name((enum run_outcome)i);
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static const struct field u_fields[] = {
    ROW(joulet_u, "q", FIELD_REAL, q),
    ROW(joulet_u, "b", FIELD_REAL, b),
    ROW(joulet_u, "time", FIELD_REAL, time),
    ROW(joulet_u, "event", FIELD_REAL, event),
    ROW(joulet_u, "idle", FIELD_REAL, idle),
    ROW(joulet_u, "spec", FIELD_REAL, spec),
    END,
};

const struct field energy_fields[] = {
    ROW(joulet_energy, "net_j", FIELD_REAL, net_j),
    ROW(joulet_energy, "net_pm_j", FIELD_REAL, net_pm_j),
    ROW(joulet_energy, "gross_j", FIELD_REAL, gross_j),
    ROW(joulet_energy, "gross_pm_j", FIELD_REAL, gross_pm_j),
    ROW(joulet_energy, "min_j", FIELD_REAL, min_j),
    ROW(joulet_energy, "max_j", FIELD_REAL, max_j),
    ROW(joulet_energy, "tail_j", FIELD_REAL, tail_j),
    OBJECT(joulet_energy, "u", u, u_fields),
    NAME(joulet_energy, "provenance", provenance, provenance_name),
    ROW(joulet_energy, "method", FIELD_METHOD, method),
    ROW(joulet_energy, "flags", FIELD_FLAGS, flags),
    END,
};

const struct field cpu_time_fields[] = {
    ROW(run_cpu_time, "share", FIELD_REAL, share),
    ROW(run_cpu_time, "share_pm", FIELD_REAL, share_pm),
    ROW(run_cpu_time, "engine_s", FIELD_REAL, engine_s),
    ROW(run_cpu_time, "busy_s", FIELD_REAL, busy_s),
    ROW(run_cpu_time, "processes", FIELD_COUNT, processes),
    ROW(run_cpu_time, "source", FIELD_CHARS, source),
    OBJECT(run_cpu_time, "e_llm", e_llm, energy_fields),
    OBJECT(run_cpu_time, "m_eff", m_eff, energy_fields),
    END,
};

const struct field window_fields[] = {
    ROW(run_window, "start_ns", FIELD_TIME, start_ns),       ROW(run_window, "end_ns", FIELD_TIME, end_ns),
    ROW(run_window, "u_start_s", FIELD_REAL, u_start_s),     ROW(run_window, "u_end_s", FIELD_REAL, u_end_s),
    ROW(run_window, "power_min_w", FIELD_REAL, power_min_w), ROW(run_window, "power_mean_w", FIELD_REAL, power_mean_w),
    ROW(run_window, "power_max_w", FIELD_REAL, power_max_w), ROW(run_window, "power_p50_w", FIELD_REAL, power_p50_w),
    ROW(run_window, "power_p95_w", FIELD_REAL, power_p95_w), ROW(run_window, "ramp_s", FIELD_REAL, ramp_s),
    ROW(run_window, "updates", FIELD_COUNT, updates),        END,
};

static const struct field token_fields[] = {
    ROW(run_tokens, "prompt", FIELD_COUNT, prompt),
    ROW(run_tokens, "cached", FIELD_COUNT, cached),
    ROW(run_tokens, "generated", FIELD_COUNT, generated),
    ROW(run_tokens, "reasoning", FIELD_COUNT, reasoning),
    END,
};

const struct field request_fields[] = {
    ROW(run_request, "index", FIELD_COUNT, index),
    ROW(run_request, "set", FIELD_TEXT, set),
    ROW(run_request, "category", FIELD_TEXT, category),
    ROW(run_request, "number", FIELD_COUNT, number),
    ROW(run_request, "repeat", FIELD_COUNT, repeat),
    ROW(run_request, "cell", FIELD_COUNT, cell),
    ROW(run_request, "position", FIELD_COUNT, position),
    ROW(run_request, "stream", FIELD_COUNT, stream),
    ROW(run_request, "warmup", FIELD_BOOL, warmup),
    ROW(run_request, "check", FIELD_MAYBE, check),
    ROW(run_request, "prompt", FIELD_TEXT, prompt),
    ROW(run_request, "answer", FIELD_TEXT, answer),
    ROW(run_request, "prompt_sha256", FIELD_CHARS, prompt_sha256),
    NAME(run_request, "outcome", outcome, outcome_name),
    ROW(run_request, "error", FIELD_TEXT, error),
    ROW(run_request, "finish", FIELD_TEXT, finish),
    OBJECT(run_request, "tokens", tokens, token_fields),
    ROW(run_request, "ttft_s", FIELD_REAL, ttft_s),
    ROW(run_request, "tpot_s", FIELD_REAL, tpot_s),
    ROW(run_request, "itl_p50_s", FIELD_REAL, itl_p50_s),
    ROW(run_request, "itl_p95_s", FIELD_REAL, itl_p95_s),
    ROW(run_request, "itl_p99_s", FIELD_REAL, itl_p99_s),
    ROW(run_request, "server_prompt_s", FIELD_REAL, server_prompt_s),
    ROW(run_request, "server_decode_s", FIELD_REAL, server_decode_s),
    ROW(run_request, "server_load_s", FIELD_REAL, server_load_s),
    ROW(run_request, "server_queue_s", FIELD_REAL, server_queue_s),
    ROW(run_request, "phase_source", FIELD_TEXT, phase_source),
    ROW(run_request, "tail_j", FIELD_REAL, tail_j),
    ROW(run_request, "settle_s", FIELD_REAL, settle_s),
    ROW(run_request, "temperature_before_c", FIELD_REAL, temperature_before_c),
    ROW(run_request, "temperature_after_c", FIELD_REAL, temperature_after_c),
    ROW(run_request, "draft_tokens", FIELD_COUNT, draft_tokens),
    ROW(run_request, "draft_accepted", FIELD_COUNT, draft_accepted),
    ROW(run_request, "tool_calls", FIELD_COUNT, tool_calls),
    ROW(run_request, "server_tokens_per_s", FIELD_REAL, server_tokens_per_s),
    ROW(run_request, "power_p50_w", FIELD_REAL, power_p50_w),
    ROW(run_request, "power_p95_w", FIELD_REAL, power_p95_w),
    END,
};

const struct field channel_fields[] = {
    ROW(joulet_channel, "id", FIELD_WORD, id),
    ROW(joulet_channel, "sensor", FIELD_WORD, sensor),
    ROW(joulet_channel, "device", FIELD_WORD, device),
    ROW(joulet_channel, "parent", FIELD_WORD, parent),
    NAME(joulet_channel, "quantity", quantity, quantity_name),
    NAME(joulet_channel, "group", group, group_name),
    NAME(joulet_channel, "provenance", provenance, provenance_name),
    ROW(joulet_channel, "in_total", FIELD_BOOL, in_total),
    ROW(joulet_channel, "calibrated", FIELD_BOOL, calibrated),
    ROW(joulet_channel, "contiguous", FIELD_BOOL, contiguous),
    ROW(joulet_channel, "period_s", FIELD_REAL, period_s),
    ROW(joulet_channel, "window_s", FIELD_REAL, window_s),
    ROW(joulet_channel, "quantum_j", FIELD_REAL, quantum_j),
    ROW(joulet_channel, "lag_s", FIELD_REAL, lag_s),
    ROW(joulet_channel, "u_lag_s", FIELD_REAL, u_lag_s),
    ROW(joulet_channel, "lag_max_s", FIELD_REAL, lag_max_s),
    ROW(joulet_channel, "rise_s", FIELD_REAL, rise_s),
    ROW(joulet_channel, "spec", FIELD_REAL, spec),
    ROW(joulet_channel, "power_min_w", FIELD_REAL, power_min_w),
    ROW(joulet_channel, "power_max_w", FIELD_REAL, power_max_w),
    ROW(joulet_channel, "factor_lo", FIELD_REAL, factor_lo),
    ROW(joulet_channel, "factor_hi", FIELD_REAL, factor_hi),
    END,
};

const struct field baseline_fields[] = {
    ROW(run_baseline, "channel", FIELD_WORD, channel),
    ROW(run_baseline, "level", FIELD_CHARS, level),
    ROW(run_baseline, "power_w", FIELD_REAL, b.power_w),
    ROW(run_baseline, "u_w", FIELD_REAL, b.u_w),
    ROW(run_baseline, "sd_w", FIELD_REAL, b.sd_w),
    ROW(run_baseline, "from_ns", FIELD_TIME, b.from_ns),
    ROW(run_baseline, "to_ns", FIELD_TIME, b.to_ns),
    ROW(run_baseline, "flags", FIELD_FLAGS, b.flags),
    END,
};

const struct field cell_fields[] = {
    ROW(run_cell, "name", FIELD_WORD, name),
    END,
};

const struct field series_fields[] = {
    ROW(run_series, "cell", FIELD_COUNT, cell),        ROW(run_series, "set", FIELD_TEXT, set),
    ROW(run_series, "category", FIELD_TEXT, category), ROW(run_series, "number", FIELD_COUNT, number),
    ROW(run_series, "repeats", FIELD_COUNT, repeats),  ROW(run_series, "dropped", FIELD_COUNT, dropped),
    ROW(run_series, "steady", FIELD_MAYBE, steady),    END,
};

const struct field former_fields[] = {
    ROW(run_former, "joulet_version", FIELD_TEXT, version),
    ROW(run_former, "replaced_wall_ns", FIELD_TIME, replaced_wall_ns),
    END,
};

/* Of a request whose figures were replaced. */
const struct field former_request_fields[] = {
    ROW(run_request, "index", FIELD_COUNT, index),
    END,
};

const struct field run_fields[] = {
    ROW(run, "id", FIELD_CHARS, id),
    ROW(run, "kind", FIELD_CHARS, kind),
    ROW(run, "title", FIELD_TEXT, title),
    ROW(run, "status", FIELD_TEXT, status),
    ROW(run, "joulet_version", FIELD_TEXT, version),
    ROW(run, "figures_version", FIELD_TEXT, figures_version),
    ROW(run, "started_wall_ns", FIELD_TIME, started_wall_ns),
    ROW(run, "start_ns", FIELD_TIME, start_ns),
    ROW(run, "end_ns", FIELD_TIME, end_ns),
    ROW(run, "wall_offset_ns", FIELD_TIME, wall_offset_ns),
    ROW(run, "argv", FIELD_TEXT, argv),
    ROW(run, "exit_code", FIELD_COUNT, exit_code),
    END,
};

const struct pairs_row pairs_rows[] = {
    {"machine", offsetof(struct run, machine)}, {"engine", offsetof(struct run, engine)},
    {"model", offsetof(struct run, model)},     {"settings", offsetof(struct run, settings)},
    {"factors", offsetof(struct run, factors)}, {"sampler", offsetof(struct run, sampler)},
};
const size_t pairs_count = JL_COUNT(pairs_rows);
