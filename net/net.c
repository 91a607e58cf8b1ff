/* net.c - opens the HTTP module on first need. It is a file of its own because libcurl's 37 libraries would cost every start of
 * the program 9 to 24 ms and 8 MiB, also of the commands that never talk to an engine. */
#include "lib/platform/platform.h"
#include "net/net_module.h"

#include <stdio.h>
#include <stdlib.h>

#ifndef NET_MODULE_INSTALL_DIR
#error "the build must say where modules are installed"
#endif

static _Atomic(const struct net_module *) module_loaded;

static bool exists(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f)
        fclose(f);
    return f != NULL;
}

/* NULL when the folder holds no module (then *err is untouched) or a module that cannot be used (then *err says why). */
static const void *open_in(const struct net_wanted *w, const char *dir, const char *below, struct joulet_error *err)
{
    char *path = jl_strf("%s%s/%s", dir, below, w->file);
    if (!path || !exists(path)) {
        free(path);
        return NULL;
    }
    const void *m = NULL;
    struct joulet_error why;
    void *lib = jl_lib_open(path, &why);
    if (lib)
        m = jl_lib_symbol(lib, w->symbol);
    if (!lib) {
        jl_fail(err, JOULET_UNSUPPORTED, "no HTTP here: %s; install %s or joulet again", why.message, w->needs);
    } else if (!m || !w->fits(m)) {
        jl_fail(err, JOULET_UNSUPPORTED, "the HTTP module %s belongs to another version of joulet: install joulet again", path);
        jl_lib_close(lib);
        m = NULL;
    }
    free(path);
    return m;
}

/* The first folder that holds the module decides, also when it cannot be used: falling through would hide what is wrong with it.
 */
const void *net_module_find(const struct net_wanted *w, struct joulet_error *err)
{
    struct joulet_error why = {.status = JOULET_OK};
    const char *chosen = jl_env("JOULET_MODULE_DIR");
    char *beside = jl_program_dir();
    const struct {
        const char *dir, *below;
    } places[] = {{chosen, ""}, {beside, ""}, {beside, "/../lib/joulet"}, {NET_MODULE_INSTALL_DIR, ""}};
    const void *m = NULL;
    for (size_t i = 0; i < JL_COUNT(places) && !m && why.status == JOULET_OK; i++) {
        if (places[i].dir)
            m = open_in(w, places[i].dir, places[i].below, &why);
    }
    if (!m && why.status != JOULET_OK)
        jl_fail(err, why.status, "%s", why.message);
    else if (!m)
        jl_fail(err, JOULET_UNSUPPORTED,
                "the HTTP module %s is not in %s%s%s, its ../lib/joulet nor %s: install joulet again, or set "
                "JOULET_MODULE_DIR to the module's folder",
                w->file, chosen ? chosen : "", chosen ? ", " : "", beside ? beside : "the program's folder",
                NET_MODULE_INSTALL_DIR);
    free(beside);
    return m;
}

static bool fits(const void *module)
{
    const struct net_module *m = module;
    return m->version == NET_MODULE_VERSION && m->request_size == sizeof(struct net_request) &&
           m->response_size == sizeof(struct net_response);
}

const struct net_module *net_module_get(struct joulet_error *err)
{
    static const struct net_wanted wanted = {NET_MODULE_FILE, NET_MODULE_SYMBOL, "libcurl (libcurl4 on Debian)", fits};
    const struct net_module *m = atomic_load(&module_loaded);
    if (m)
        return m;
    m = net_module_find(&wanted, err);
    if (m)
        atomic_store(&module_loaded, m); /* two threads may both open it: the loader counts */
    return m;
}

enum joulet_status net_http(const struct net_request *q, struct net_response *out, struct joulet_error *err)
{
    *out = (struct net_response){.status = 0};
    jl_buf_init(&out->body, 0);
    if (net_url_check(q->url, err) != JOULET_OK)
        return JOULET_USAGE;
    const struct net_module *m = net_module_get(err);
    return m ? m->http(q, out, err) : JOULET_UNSUPPORTED;
}

void net_response_release(struct net_response *r)
{
    jl_buf_release(&r->body);
}
