/* doctor.h - the rows of `joulet doctor`: each looks at one thing and says how it stands, and what to do. */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include "cli/live.h"

enum verdict {
    DOCTOR_OK,
    DOCTOR_ADVICE, /* works, could be better */
    DOCTOR_UNKNOWN,
    DOCTOR_FAILED /* in the way */
};

struct finding {
    enum verdict verdict;
    char text[512];    /* how it stands */
    char remedy[1024]; /* lines to type or to do; "" nothing */
};

struct doctor {
    const struct cli *cli;
    struct live live;          /* one short row of every sensor; meter NULL when not even an estimate is possible */
    struct joulet_error error; /* why, then */
    struct jl_machine machine;
};

struct check {
    const char *name; /* short and stable: kept in JSON */
    void (*look)(const struct doctor *d, struct finding *f);
};
extern const struct check doctor_checks[];
extern const size_t doctor_check_count;

/* Fill *f; printf-like. */
void found(struct finding *f, enum verdict v, const char *fmt, ...) JL_PRINTF(3, 4);
void remedy(struct finding *f, const char *fmt, ...) JL_PRINTF(2, 3);

/* doctor_calibration.c */
void doctor_calibration(const struct doctor *d, struct finding *f);

/* doctor_joulet.c */
void doctor_joulet(const struct doctor *d, struct finding *f);

/* doctor_models.c */
void doctor_models(const struct doctor *d, struct finding *f);
void doctor_models_json(const struct doctor *d, struct jl_buf *out); /* ends the list of checks, begins that of models */

/* doctor_fix.c: the commands themselves; exit codes */
int doctor_fix(const struct cli *c);
int doctor_undo(const struct cli *c);

/* doctor_sensors.c: one finding for each row of the sensor table that is used without being asked for. */
void doctor_sensor(const struct doctor *d, const struct joulet_sensor *row, struct finding *f);

#endif
