/* stand_in.h - a kernel and a management controller that answer like real ones and play a power: perf events and IPMI for the
 * production readers. */
#ifndef STAND_IN_H
#define STAND_IN_H

#include <stdbool.h>
#include <stdint.h>

struct stand_in {
    double power_w; /* of every counter; the energy of the package runs with it from stand_in_begin on */
    int64_t begin_ns;
    int open_error;       /* errno of opening; 0: none */
    int controller_error; /* of opening the controller alone */
    int read_error;       /* of reading and asking */
    int opened, closed;   /* handles */
    uint32_t period_ms;   /* of the controller */
    bool inactive;
    uint8_t code;             /* completion code */
    bool nonsense;            /* answers of another group */
    const double (*steps)[2]; /* {s since begin, W}, ascending, instead of power_w; NULL: none */
    int n_steps;
    bool counted; /* events show `count` instead */
    uint64_t count;
};
extern struct stand_in stand_in;

/* Both answer from now on instead of the kernel. */
void stand_in_begin(double power_w);
void stand_in_end(void);
/* Joules since stand_in_begin, and watts, at that time. */
double stand_in_energy(int64_t t_ns);
double stand_in_power(int64_t t_ns);

#endif
