/* profile_rows.c - the rows of joulet.profile/1 (docs/profile-record.md): which member of which struct is which key. */
#include "run/profile_internal.h"

const struct field profile_fields[] = {
    ROW(run_profile, "id", FIELD_CHARS, id),
    ROW(run_profile, "title", FIELD_TEXT, title),
    ROW(run_profile, "joulet_version", FIELD_TEXT, version),
    ROW(run_profile, "started_wall_ns", FIELD_TIME, started_wall_ns),
    ROW(run_profile, "seconds", FIELD_REAL, seconds),
    ROW(run_profile, "sensor", FIELD_TEXT, sensor),
    END,
};

const struct field profile_how_fields[] = {
    ROW(run_profile_how, "path", FIELD_CHARS, path),
    ROW(run_profile_how, "reason", FIELD_CHARS, reason),
    ROW(run_profile_how, "level", FIELD_CHARS, level),
    ROW(run_profile_how, "every", FIELD_COUNT, every),
    ROW(run_profile_how, "slot", FIELD_COUNT, slot),
    ROW(run_profile_how, "first_tokens", FIELD_COUNT, first_tokens),
    ROW(run_profile_how, "requests", FIELD_COUNT, requests),
    ROW(run_profile_how, "condition", FIELD_REAL, condition),
    ROW(run_profile_how, "closure", FIELD_REAL, closure),
    ROW(run_profile_how, "instrumented", FIELD_REAL, instrumented),
    ROW(run_profile_how, "instrumented_pm", FIELD_REAL, instrumented_pm),
    ROW(run_profile_how, "stops", FIELD_REAL, stops),
    ROW(run_profile_how, "stops_pm", FIELD_REAL, stops_pm),
    ROW(run_profile_how, "stretches", FIELD_REAL, stretches),
    ROW(run_profile_how, "between", FIELD_REAL, between),
    ROW(run_profile_how, "lag_s", FIELD_REAL, lag_s),
    ROW(run_profile_how, "rise_s", FIELD_REAL, rise_s),
    ROW(run_profile_how, "idle_w", FIELD_REAL, idle_w),
    ROW(run_profile_how, "idle_w_pm", FIELD_REAL, idle_w_pm),
    ROW(run_profile_how, "windows", FIELD_COUNT, windows),
    ROW(run_profile_how, "records", FIELD_COUNT, records),
    ROW(run_profile_how, "lost", FIELD_COUNT, lost),
    ROW(run_profile_how, "measured_j", FIELD_REAL, measured_j),
    ROW(run_profile_how, "measured_pm", FIELD_REAL, measured_pm),
    ROW(run_profile_how, "flash", FIELD_BOOL, flash),
    ROW(run_profile_how, "layers_power", FIELD_CHARS, layers_power),
    ROW(run_profile_how, "layers_left_out", FIELD_COUNT, layers_left_out),
    ROW(run_profile_how, "layers_saved_j", FIELD_REAL, layers_saved_j),
    ROW(run_profile_how, "layers_told_j", FIELD_REAL, layers_told_j),
    ROW(run_profile_how, "layers_ratio", FIELD_REAL, layers_ratio),
    ROW(run_profile_how, "layers_ratio_pm", FIELD_REAL, layers_ratio_pm),
    ROW(run_profile_how, "estimated", FIELD_BOOL, estimated),
    ROW(run_profile_how, "simulated", FIELD_MAYBE, simulated),
    END,
};

const struct field profile_phase_fields[] = {
    ROW(run_profile_phase, "name", FIELD_CHARS, name),
    ROW(run_profile_phase, "tokens", FIELD_COUNT, tokens),
    ROW(run_profile_phase, "steps", FIELD_COUNT, steps),
    ROW(run_profile_phase, "seconds", FIELD_REAL, seconds),
    ROW(run_profile_phase, "joules", FIELD_REAL, joules),
    ROW(run_profile_phase, "joules_pm", FIELD_REAL, joules_pm),
    ROW(run_profile_phase, "limit_j", FIELD_REAL, limit_j),
    ROW(run_profile_phase, "power_of", FIELD_CHARS, power_of),
    ROW(run_profile_phase, "flop", FIELD_REAL, flop),
    ROW(run_profile_phase, "bytes", FIELD_REAL, bytes),
    ROW(run_profile_phase, "memory_bound", FIELD_BOOL, memory_bound),
    ROW(run_profile_phase, "least_s", FIELD_REAL, least_s),
    ROW(run_profile_phase, "scaled_joules", FIELD_REAL, scaled_joules),
    ROW(run_profile_phase, "scaled_joules_pm", FIELD_REAL, scaled_joules_pm),
    ROW(run_profile_phase, "scaled_seconds", FIELD_REAL, scaled_seconds),
    END,
};

/* In the order of the table: docs/profile-record.md. */
const struct field profile_row_fields[] = {
    ROW(run_profile_row, "layer", FIELD_COUNT, layer),
    ROW(run_profile_row, "component", FIELD_CHARS, component),
    ROW(run_profile_row, "part", FIELD_CHARS, part),
    ROW(run_profile_row, "phase", FIELD_CHARS, phase),
    ROW(run_profile_row, "joules", FIELD_REAL, joules),
    ROW(run_profile_row, "joules_pm", FIELD_REAL, joules_pm),
    ROW(run_profile_row, "limit_j", FIELD_REAL, limit_j),
    ROW(run_profile_row, "seconds", FIELD_REAL, seconds),
    ROW(run_profile_row, "flop", FIELD_REAL, flop),
    ROW(run_profile_row, "bytes", FIELD_REAL, bytes),
    END,
};

const struct field profile_point_fields[] = {
    ROW(run_profile_point, "series", FIELD_CHARS, series),
    ROW(run_profile_point, "phase", FIELD_CHARS, phase),
    ROW(run_profile_point, "component", FIELD_CHARS, component),
    ROW(run_profile_point, "label", FIELD_CHARS, label),
    ROW(run_profile_point, "x", FIELD_REAL, x),
    ROW(run_profile_point, "tokens", FIELD_REAL, tokens),
    ROW(run_profile_point, "seconds", FIELD_REAL, seconds),
    ROW(run_profile_point, "joules", FIELD_REAL, joules),
    ROW(run_profile_point, "joules_pm", FIELD_REAL, joules_pm),
    ROW(run_profile_point, "limit_j", FIELD_REAL, limit_j),
    END,
};

const struct field profile_replay_fields[] = {
    ROW(run_profile_replay, "component", FIELD_CHARS, component),
    ROW(run_profile_replay, "seconds", FIELD_REAL, seconds),
    ROW(run_profile_replay, "rounds", FIELD_REAL, rounds),
    ROW(run_profile_replay, "watts", FIELD_REAL, watts),
    ROW(run_profile_replay, "watts_pm", FIELD_REAL, watts_pm),
    ROW(run_profile_replay, "token_s", FIELD_REAL, token_s),
    ROW(run_profile_replay, "joules", FIELD_REAL, joules),
    ROW(run_profile_replay, "joules_pm", FIELD_REAL, joules_pm),
    ROW(run_profile_replay, "found_j", FIELD_REAL, found_j),
    ROW(run_profile_replay, "found_pm", FIELD_REAL, found_pm),
    ROW(run_profile_replay, "difference", FIELD_REAL, difference),
    ROW(run_profile_replay, "difference_pm", FIELD_REAL, difference_pm),
    ROW(run_profile_replay, "time_ratio", FIELD_REAL, time_ratio),
    ROW(run_profile_replay, "warm", FIELD_BOOL, warm),
    END,
};

const struct field profile_host_fields[] = {
    ROW(run_profile_host, "work", FIELD_CHARS, work),         ROW(run_profile_host, "seconds", FIELD_REAL, seconds),
    ROW(run_profile_host, "tokens", FIELD_REAL, tokens),      ROW(run_profile_host, "inside", FIELD_REAL, inside),
    ROW(run_profile_host, "watts", FIELD_REAL, watts),        ROW(run_profile_host, "watts_pm", FIELD_REAL, watts_pm),
    ROW(run_profile_host, "channels", FIELD_CHARS, channels), END,
};

const struct field profile_sample_fields[] = {
    ROW(run_profile_sample, "t_s", FIELD_REAL, t_s),
    ROW(run_profile_sample, "w", FIELD_REAL, w),
    END,
};

const struct field profile_span_fields[] = {
    ROW(run_profile_span, "stage", FIELD_CHARS, stage),
    ROW(run_profile_span, "from_s", FIELD_REAL, from_s),
    ROW(run_profile_span, "to_s", FIELD_REAL, to_s),
    END,
};

const struct field profile_advice_fields[] = {
    ROW(run_profile_advice, "rule", FIELD_CHARS, rule),          ROW(run_profile_advice, "why", FIELD_CHARS, why),
    ROW(run_profile_advice, "action", FIELD_CHARS, action),      ROW(run_profile_advice, "saving", FIELD_REAL, saving),
    ROW(run_profile_advice, "saving_pm", FIELD_REAL, saving_pm), ROW(run_profile_advice, "bench", FIELD_CHARS, bench),
    ROW(run_profile_advice, "compare", FIELD_CHARS, compare),    END,
};

const struct pairs_row profile_pairs[] = {
    {"machine", offsetof(struct run_profile, machine)},
    {"engine", offsetof(struct run_profile, engine)},
    {"model", offsetof(struct run_profile, model)},
    {"settings", offsetof(struct run_profile, settings)},
};
const size_t profile_pairs_count = JL_COUNT(profile_pairs);

#define LIST(key_, items_, n_, rows_, most_)                                                                                     \
    {                                                                                                                            \
        .key = key_, .items = offsetof(struct run_profile, items_), .n = offsetof(struct run_profile, n_),                       \
        .size = sizeof *((struct run_profile *)0)->items_, .rows = rows_, .most = most_                                          \
    }

const struct profile_list profile_lists[] = {
    LIST("phases", phases, n_phases, profile_phase_fields, RUN_PROFILE_PHASES_MAX),
    LIST("components", rows, n_rows, profile_row_fields, RUN_PROFILE_ROWS_MAX),
    LIST("points", points, n_points, profile_point_fields, RUN_PROFILE_POINTS_MAX),
    LIST("replay", replay, n_replay, profile_replay_fields, RUN_PROFILE_REPLAY_MAX),
    LIST("host", host, n_host, profile_host_fields, RUN_PROFILE_HOST_MAX),
    LIST("spans", spans, n_spans, profile_span_fields, RUN_PROFILE_SPANS_MAX),
    LIST("trace", trace, n_trace, profile_sample_fields, RUN_PROFILE_TRACE_MAX),
    LIST("advice", advice, n_advice, profile_advice_fields, RUN_PROFILE_ADVICE_MAX),
};
const size_t profile_lists_count = JL_COUNT(profile_lists);
