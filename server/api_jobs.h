/* api_jobs.h - runs that the API starts: this program as a child, one at a time, in the order in which they were asked for.
 *
 * Why a child: what measures a run lives in the room of commands, which stands above this one; and a run that crashes, or takes
 * the sensors to itself, must not take the traffic with it. Its record goes to the database as it goes, where everybody finds it.
 */
#ifndef SERVER_API_JOBS_H
#define SERVER_API_JOBS_H

#include "lib/base/base.h"

#define JOBS_MAX     64 /* that are remembered */
#define JOBS_WAITING 16
#define JOB_ARGS_MAX 96

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_STOPPED };
const char *job_state_name(enum job_state s); /* static */

struct job_view {
    char id[40], kind[16];
    enum job_state state;
    int64_t asked_wall_ns, started_wall_ns, ended_wall_ns; /* 0: not yet */
    int64_t total;                                         /* requests that it will send; -1 not known */
    int code;                                              /* of the child, when it ended */
    char error[512];                                       /* its sentence when it failed; "" none */
};

struct jobs;
enum joulet_status jobs_open(struct jobs **out, struct joulet_error *err);
void jobs_close(struct jobs *j); /* asks what runs to end, and waits; NULL is fine */
/* argv NULL-terminated and key (NULL: none, never in argv) are copied. False: too many wait. */
bool jobs_add(struct jobs *j, const struct job_view *what, const char *const *argv, const char *key);
/* Of that id; false: not known. */
bool jobs_get(struct jobs *j, const char *id, struct job_view *out);
/* Newest first, at most JOBS_MAX. */
size_t jobs_list(struct jobs *j, struct job_view *out);
/* What waits is not begun, what runs is asked to end and keeps what it measured. False: not known. */
bool jobs_stop(struct jobs *j, const char *id);

#endif
