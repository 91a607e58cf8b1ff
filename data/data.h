/* data.h - figures compiled in, each from the CSV of the same name (sources and licences: data/README.md). */
#ifndef DATA_H
#define DATA_H

#include <stddef.h>

struct data_file {
    const char *name, *text; /* text is NUL-terminated */
    size_t len;
};
extern const struct data_file data_cpu_tdp;           /* linked into libjoulet */
extern const struct data_file data_benchmark_prompts; /* the program's own */
extern const struct data_file data_task_prompts;
extern const struct data_file data_model_shapes;
extern const struct data_file data_emission_factors_owid, data_emission_factors_subnational, data_emission_factors_cloud;
extern const struct data_file data_cloud_pue;
extern const struct data_file data_energy_benchmarks_hf, data_energy_benchmarks_jegham;

#endif
