/* quick.c - the simulated engine with an address for --engine, and records as the program writes them. */
#include "tests/cli/quick.h"
#include "tests/cli/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void quick_start(struct quick *k, const struct sim_config *c)
{
    struct joulet_error err;
    k->engine = sim_engine_start(c, &err);
    assert_non_null(k->engine);
    snprintf(k->url, sizeof k->url, "http://127.0.0.1:%d", sim_engine_port(k->engine));
}

void quick_open(struct quick *k, const char *fault)
{
    struct sim_config c;
    sim_config_init(&c);
    c.prefill_ms = c.decode_ms = 1;
    if (fault)
        assert_true(sim_config_fault(&c, fault));
    quick_start(k, &c);
}

void quick_close(struct quick *k)
{
    sim_engine_stop(k->engine);
    k->engine = NULL;
}

void record_read(const char *name, struct run *r)
{
    struct joulet_error err;
    char *text = scratch_read(name);
    assert_non_null(text);
    if (run_from_json(text, strlen(text), r, &err) != JOULET_OK)
        fail_msg("%s: %s", name, err.message);
    free(text);
}

void record_last(struct run *r)
{
    struct program p = {0};
    program_run(&p, ARGS("runs", "export", "last", "-o", scratch("last.json")));
    if (p.code != 0)
        fail_msg("%s", kept(&p.err));
    program_release(&p);
    record_read("last.json", r);
}
