/* write_samples.c FOLDER - one JSON file for every kind of record, for the check against the schema. */
#include "lib/platform/platform.h"
#include "tests/run/sample.h"

#include <stdio.h>
#include <stdlib.h>

typedef void make(struct run *r, enum sample_machine m);

static void make_empty(struct run *r, enum sample_machine m)
{
    struct run_request q;
    (void)m;
    run_init(r, "chat");
    run_request_init(&q);
    run_add_request(r, &q);
}

static void make_measured_again(struct run *r, enum sample_machine m)
{
    sample_bench(r, m);
    run_put_aside(r, 1700000000000000000);
}

static int write_one(const char *folder, const char *name, make *f, enum sample_machine m)
{
    struct run r;
    struct jl_buf b;
    struct joulet_error err;
    jl_buf_init(&b, RUN_JSON_MAX);
    f(&r, m);
    char *path = jl_strf("%s/%s-%d.json", folder, name, (int)m);
    bool ok = path && run_to_json(&r, &b, &err) == JOULET_OK && jl_write_file(path, b.data, b.len, 0644, &err) == JOULET_OK;
    if (!ok)
        fprintf(stderr, "%s\n", path ? err.message : "out of memory");
    free(path);
    jl_buf_release(&b);
    run_release(&r);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        make *f;
    } kinds[] = {{"bench", sample_bench},
                 {"single", sample_single},
                 {"exec", sample_exec},
                 {"empty", make_empty},
                 {"again", make_measured_again}};
    int failed = argc != 2;
    for (size_t i = 0; !failed && i < JL_COUNT(kinds); i++)
        for (int m = SAMPLE_SENSORS; !failed && m <= SAMPLE_MIXED; m++)
            failed = write_one(argv[1], kinds[i].name, kinds[i].f, (enum sample_machine)m);
    return failed;
}
