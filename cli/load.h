/* load.h - work that makes a device draw more at known times, for `joulet calibrate`: threads that compute, prompts for an
 * engine, or the power curve of a simulated device. */
#ifndef CLI_LOAD_H
#define CLI_LOAD_H

#include "llm/runtime.h"

struct load;
struct load_ops {
    /* Busy from out->on_ns to out->off_ns, about on_s later; marks both on m. The caller waits between pulses. */
    enum joulet_status (*pulse)(struct load *l, struct joulet *m, double on_s, struct joulet_pulse *out,
                                struct joulet_error *err);
    /* Busy without a pause until it is switched off; on: returns when the device is. */
    enum joulet_status (*steady)(struct load *l, bool on, struct joulet_error *err);
    void (*close)(struct load *l);
};
struct load {
    const struct load_ops *ops;
};

/* Threads that compute and read memory, on all hardware threads but one: that one is the sampler's. */
enum joulet_status load_cpu_open(struct load **out, struct joulet_error *err);
/* Appends "nanoseconds watts" to a file that a simulated device follows. JOULET_USAGE when the file holds something else. */
enum joulet_status load_curve_open(struct load **out, const char *path, struct joulet_error *err);
/* Prompts of random words. The engine must outlive the load. Two requests find out its speed. */
enum joulet_status load_engine_open(struct load **out, struct engine *engine, const char *model, uint64_t seed,
                                    struct joulet_error *err);
void load_close(struct load *l); /* NULL is fine */

#endif
