/* session_span.h - spans of time that are measured channel by channel: shared by the files of a session that make energies. */
#ifndef CLI_SESSION_SPAN_H
#define CLI_SESSION_SPAN_H

#include "cli/session.h"

/* Consecutive windows, measured together; `gap` is the time before the first that belongs to nobody. */
struct session_span {
    struct run_window *windows;
    size_t n;
    joulet_mark gap_from; /* 0: none */
    bool isolated;
    joulet_mark quiet_until;
    joulet_mark until; /* end of what is looked at; 0: now */
};

bool session_has_energy(const struct joulet_channel *c);
/* What the sensors of this machine see is not what the engine does. */
bool session_elsewhere(const struct session *s);
/* A note with the library's sentence, and with the channel where it does not name it. */
void session_note_failure(struct session *s, const struct joulet_trace *t, const char *what, const struct joulet_error *err);

/* Every channel over the span: energies and shape of its windows, and of the whole. idle: n_channels; NULL: no net figures. */
void session_measure(struct session *s, const struct session_span *sp, const struct joulet_baseline *idle,
                     struct run_energy *whole);
/* What a model's file tells, where no engine does. */
void session_model_file(struct run_pairs *model, const char *path);
/* What the CPU drew of it, in the total or inside it. */
struct joulet_energy session_cpu_energy(const struct run *r, const struct run_energy *e);
/* m_eff of a level, when its requests are in the run. until: end of what is looked at; 0: now. */
void session_level_phases(struct session *s, struct run_window *level, joulet_mark until);
/* The parts of a decode, with the windows before it as the neighbours they had. */
void session_measure_parts(struct session *s, const struct session_span *sp, const struct joulet_baseline *idle,
                           struct run_request *q);

#endif
