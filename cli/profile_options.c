/* profile_options.c - what of --engine-option goes where, and what a server of our own was really given. A request may have
 * members of any name, which a server passes over when it does not know them: nothing that is sent there may count as a setting
 * of the server. */
#include "cli/profile.h"

#include <stdlib.h>
#include <string.h>

static size_t name_length(const char *option)
{
    return strcspn(option, "=");
}

/* A member of a request has a value; most of llama-server's names have a hyphen, and of those that have none these are no
 * members of its requests. */
static bool is_of_server(const char *option)
{
    static const char *const words[] = {"device", "mmproj", "numa", "poll", "pooling", "prio", "rpc", "verbosity"};
    size_t n = name_length(option);
    bool server = !option[n] || memchr(option, '-', n);
    for (size_t i = 0; i < JL_COUNT(words); i++)
        server |= strlen(words[i]) == n && strncmp(option, words[i], n) == 0;
    return server;
}

bool profile_options(struct profiling *x)
{
    size_t n = x->q.n_options, requests = n;
    const char **sorted = calloc(n + 1, sizeof *sorted);
    if (!sorted)
        return false;
    x->n_server_options = 0;
    for (size_t i = 0; i < n; i++)
        if (is_of_server(x->q.options[i]))
            sorted[x->n_server_options++] = x->q.options[i];
    for (size_t i = n; i-- > 0;)
        if (!is_of_server(x->q.options[i]))
            sorted[--requests] = x->q.options[i];
    x->options = sorted;
    x->q.options = sorted + requests;
    x->q.n_options = n - requests;
    return true;
}

void profile_options_to_requests(struct profiling *x)
{
    if (!x->options)
        return;
    x->q.options = x->options;
    x->q.n_options += x->n_server_options;
    x->n_server_options = 0;
}

void profile_options_release(struct profiling *x)
{
    free(x->options);
    x->options = NULL;
}

/* The variables are llama-server's own; a command line overrides them. */
const char *profile_option(const struct profiling *x, const char *name)
{
    static const struct {
        const char *name, *variable;
    } known[] = {{"cache-type-k", "LLAMA_ARG_CACHE_TYPE_K"},
                 {"cache-type-v", "LLAMA_ARG_CACHE_TYPE_V"},
                 {"ubatch-size", "LLAMA_ARG_UBATCH"},
                 {"batch-size", "LLAMA_ARG_BATCH"},
                 {"flash-attn", "LLAMA_ARG_FLASH_ATTN"}};
    if (!x->choice.started)
        return NULL;
    for (size_t i = x->n_server_options; i-- > 0;) /* the last one counts */
        if (name_length(x->options[i]) == strlen(name) && jl_starts(x->options[i], name))
            return strchr(x->options[i], '=') ? strchr(x->options[i], '=') + 1 : "";
    for (size_t i = 0; i < JL_COUNT(known); i++)
        if (strcmp(known[i].name, name) == 0)
            return getenv(known[i].variable);
    return NULL;
}
