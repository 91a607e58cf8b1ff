/* write_profiles.c FOLDER - one JSON file for every kind of profile, for the check against the schema and for looking at. */
#include "lib/platform/platform.h"
#include "tests/run/profile_sample.h"

#include <stdio.h>
#include <stdlib.h>

static int write_one(const char *folder, enum profile_sample s)
{
    struct run_profile p;
    struct jl_buf b;
    struct joulet_error err;
    jl_buf_init(&b, RUN_JSON_MAX);
    profile_sample(&p, s);
    char *path = jl_strf("%s/%s.json", folder, profile_sample_name(s));
    bool ok =
        path && run_profile_to_json(&p, &b, &err) == JOULET_OK && jl_write_file(path, b.data, b.len, 0644, &err) == JOULET_OK;
    if (!ok)
        fprintf(stderr, "%s\n", path ? err.message : "out of memory");
    free(path);
    jl_buf_release(&b);
    run_profile_release(&p);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    int failed = argc != 2;
    for (int s = 0; !failed && s < PROFILE_SAMPLES; s++)
        failed = write_one(argv[1], (enum profile_sample)s);
    return failed;
}
