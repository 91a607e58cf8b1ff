/* commands.c - every command: one file cmd_NAME.c and one row here, in the order of the help. */
#include "cli/parse.h"

#include <string.h>

extern const struct command cmd_doctor, cmd_sensors, cmd_calibrate, cmd_monitor, cmd_exec, cmd_run, cmd_bench, cmd_profile,
    cmd_tune, cmd_runs, cmd_compare, cmd_fit, cmd_engine, cmd_model, cmd_carbon, cmd_estimate, cmd_serve, cmd_tail, cmd_usage,
    cmd_help;

const struct command *const command_table[] = {
    &cmd_doctor,  &cmd_sensors,  &cmd_calibrate, &cmd_monitor, &cmd_exec,  &cmd_run,    &cmd_bench,
    &cmd_profile, &cmd_tune,     &cmd_runs,      &cmd_compare, &cmd_fit,   &cmd_engine, &cmd_model,
    &cmd_carbon,  &cmd_estimate, &cmd_serve,     &cmd_tail,    &cmd_usage, &cmd_help,   NULL,
};

const struct command *command_find(const char *name)
{
    for (const struct command *const *c = command_table; *c; c++)
        if (strcmp((*c)->name, name) == 0)
            return *c;
    return NULL;
}
