/* sim_llama.h - a simulated llama-server whose settings change what it draws: the command line of the real one, the power and
 * time of sim_energy.h. */
#ifndef SIM_LLAMA_H
#define SIM_LLAMA_H

#include "tests/sim_engine/sim_energy.h"
#include "tests/sim_engine/sim_engine.h"

/* The machine and model of every sim_llama: a step of some milliseconds, in which scores and cache weigh as much as weights. */
void sim_llama_machine(struct sim_machine *m, struct sim_model *model);
/* Its settings without options: as many threads as cores, no flash attention, a cache of 16 bits. */
struct sim_settings sim_llama_settings(void);
/* Times and powers of an engine with these settings. */
void sim_llama_config(const struct sim_settings *s, struct sim_config *out);
/* The same with a share of the layers on a GPU: all of them take half the time, and four times the power above idle. */
#define SIM_LLAMA_LAYERS 5 /* the four of "tiny", and the head */
void sim_llama_on_gpu(struct sim_config *c, double share);
/* Net J of a request, as such an engine draws them. */
double sim_llama_request_j(const struct sim_settings *s, double prompt, double answer);

#endif
