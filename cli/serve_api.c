/* serve_api.c - what the JSON API of `serve` starts children with: this program, and the options that say what it measures with.
 */
#include "cli/serve.h"

#include <stdlib.h>
#include <string.h>

#define ARGUMENTS_MAX 64

struct serve_api {
    char *program;
    const char *arguments[ARGUMENTS_MAX + 1];
    char *texts[ARGUMENTS_MAX]; /* "--sim" and what follows */
    size_t n;
};

static void add(struct serve_api *a, const char *name, const char *value)
{
    char *flag = jl_strf("--%s", name), *text = jl_strdup(value);
    if (flag && (text || !value) && a->n + 2 <= ARGUMENTS_MAX) {
        a->texts[a->n++] = flag;
        if (text)
            a->texts[a->n++] = text;
        return;
    }
    free(flag);
    free(text);
}

/* A child measures with what serve measures with. */
static void add_all(struct serve_api *a, const struct cli *c)
{
    static const char *const single[] = {"sensors", "sim", "replay", "calibration"};
    const char *const *meters;
    size_t n = cli_list(c, "meter", &meters);
    for (size_t i = 0; i < JL_COUNT(single); i++)
        if (cli_str(c, single[i]))
            add(a, single[i], cli_str(c, single[i]));
    for (size_t i = 0; i < n; i++)
        add(a, "meter", meters[i]);
    if (cli_flag(c, "trust-root"))
        add(a, "trust-root", NULL);
    for (size_t i = 0; i < a->n; i++)
        a->arguments[i] = a->texts[i];
}

struct serve_api *serve_api_open(const struct cli *c, const struct serve_meter *m, struct server_api *out)
{
    struct serve_api *a = calloc(1, sizeof *a);
    char *folder = jl_program_dir();
    if (a) {
        a->program = folder ? jl_strf("%s/joulet", folder) : NULL;
        add_all(a, c);
        *out = (struct server_api){
            .meter = serve_meter_of(m), .program = a->program, .arguments = a->arguments, .db = cli_str(c, "db")};
    }
    free(folder);
    return a;
}

void serve_api_close(struct serve_api *a)
{
    for (size_t i = 0; a && i < a->n; i++)
        free(a->texts[i]);
    if (a)
        free(a->program);
    free(a);
}
