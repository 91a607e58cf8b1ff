/* model_lists.c - asking several upstreams what models they have. An upstream that does not answer keeps the list it had: its
 * requests get the sentence that says it is down, instead of going astray. */
#include "server/model_lists.h"

#include "lib/platform/platform.h"
#include "llm/engine.h"
#include "net/net.h"
#include "server/rules.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define EVERY_NS  ((int64_t)30 * JL_NS_PER_S)
#define SOON_NS   ((int64_t)2 * JL_NS_PER_S) /* at least between two rounds, whatever is asked for */
#define LOOK_NS   ((int64_t)100 * 1000000)
#define ANSWER_S  2.0
#define LIST_MAX  ((size_t)4 << 20)
#define LISTS_MAX 32

static const struct form {
    const char *target, *list, *name, *other_name;
    bool openai;
} forms[] = {{"/v1/models", "data", "id", "id", true}, {"/api/tags", "models", "name", "model", false}};
enum { FORMS = 2 };

struct list {
    char *url;
    json_t *models[FORMS];  /* arrays; NULL: it has no such list */
    bool not_spoken[FORMS]; /* it answered, and with something else: not asked for again while it is known */
};

struct model_lists {
    struct rules *(*rules)(void *user);
    void *user;
    struct jl_thread *thread;
    atomic_bool stop, wanted;
    pthread_mutex_t lock; /* of the lists; the thread alone changes them */
    struct list lists[LISTS_MAX];
    size_t n;
};

/* ---- asking -------------------------------------------------------------------------------------------------------------- */

static json_t *ask(const struct model_lists *m, const struct server_upstream *u, const char *ca_file, const struct form *f,
                   bool *answered)
{
    char *url = jl_strf("%s%s", u->url, f->target), *key = u->key ? jl_strf("Bearer %s", u->key) : NULL;
    struct net_header headers[2] = {{"Accept", "application/json"}, {"Authorization", key}};
    struct net_request q = {.method = "GET",
                            .url = url,
                            .headers = headers,
                            .n_headers = key ? 2 : 1,
                            .connect_timeout_s = ANSWER_S,
                            .total_timeout_s = ANSWER_S,
                            .max_bytes = LIST_MAX,
                            .ca_file = ca_file,
                            .cancel = &m->stop};
    struct net_response r = {0};
    json_t *root = NULL, *list = NULL;
    *answered = url && (key || !u->key) && net_http(&q, &r, NULL) == JOULET_OK && r.complete;
    if (*answered && r.status == 200)
        root = json_loadb(r.body.data ? r.body.data : "", r.body.len, 0, NULL);
    if (json_is_array(json_object_get(root, f->list)))
        list = json_incref(json_object_get(root, f->list));
    json_decref(root);
    net_response_release(&r);
    free(url);
    free(key);
    return list;
}

static void release(struct list *l)
{
    for (size_t k = 0; k < FORMS; k++)
        json_decref(l->models[k]);
    free(l->url);
    *l = (struct list){0};
}

static const struct list *known(const struct model_lists *m, const char *url)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->lists[i].url, url) == 0)
            return &m->lists[i];
    return NULL;
}

/* The list of one upstream as it is now, with what is still good of the one before. */
static bool look_at(const struct model_lists *m, const struct server_upstream *u, const char *ca_file, struct list *out)
{
    const struct list *before = known(m, u->url);
    *out = (struct list){.url = jl_strdup(u->url)};
    for (size_t k = 0; out->url && k < FORMS; k++) {
        bool answered = false;
        out->not_spoken[k] = before && before->not_spoken[k];
        if (!out->not_spoken[k])
            out->models[k] = ask(m, u, ca_file, &forms[k], &answered);
        if (!out->models[k] && !answered && before)
            out->models[k] = json_incref(before->models[k]);
        out->not_spoken[k] |= answered && !out->models[k] && k > 0; /* /v1/models may be loading, or want a key */
    }
    return out->url != NULL;
}

static bool is_plain(const struct server_upstream *u)
{
    return !u->prefix && !u->model;
}

static void round_of(struct model_lists *m)
{
    struct rules *r = m->rules(m->user);
    struct list fresh[LISTS_MAX] = {0};
    size_t n = 0, plain = 0;
    for (size_t i = 0; i < r->o.n_upstreams; i++)
        plain += is_plain(&r->o.upstreams[i]);
    for (size_t i = 0; plain > 1 && i < r->o.n_upstreams && n < LISTS_MAX && !atomic_load(&m->stop); i++)
        if (is_plain(&r->o.upstreams[i]))
            n += look_at(m, &r->o.upstreams[i], r->o.ca_file, &fresh[n]);
    rules_drop(r);
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->n; i++)
        release(&m->lists[i]);
    memcpy(m->lists, fresh, n * sizeof *fresh);
    m->n = n;
    pthread_mutex_unlock(&m->lock);
}

static void run(void *user)
{
    struct model_lists *m = user;
    int64_t last = jl_mono_ns();
    while (!atomic_load(&m->stop)) {
        int64_t since = jl_mono_ns() - last;
        if (since >= EVERY_NS || (since >= SOON_NS && atomic_exchange(&m->wanted, false))) {
            round_of(m);
            last = jl_mono_ns();
        }
        jl_sleep_until(jl_mono_ns() + LOOK_NS);
    }
}

enum joulet_status model_lists_open(struct model_lists **out, struct rules *(*rules)(void *user), void *user,
                                    struct joulet_error *err)
{
    struct model_lists *m = calloc(1, sizeof *m);
    *out = NULL;
    if (!m)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    m->rules = rules;
    m->user = user;
    pthread_mutex_init(&m->lock, NULL);
    round_of(m);
    if (jl_thread_start(&m->thread, "models", run, m, err) != JOULET_OK) {
        model_lists_close(m);
        return err->status;
    }
    *out = m;
    return JOULET_OK;
}

void model_lists_close(struct model_lists *m)
{
    if (!m)
        return;
    atomic_store(&m->stop, true);
    jl_thread_join(m->thread);
    for (size_t i = 0; i < m->n; i++)
        release(&m->lists[i]);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* ---- what is known ------------------------------------------------------------------------------------------------------- */

static const char *name_in(const json_t *model, const struct form *f)
{
    const char *name = json_string_value(json_object_get(model, f->name));
    return name ? name : json_string_value(json_object_get(model, f->other_name));
}

static bool has(const struct list *l, const char *model, bool exactly)
{
    for (size_t k = 0; k < FORMS; k++) {
        size_t i;
        const json_t *item;
        json_array_foreach(l->models[k], i, item)
        {
            const char *name = name_in(item, &forms[k]);
            if (name && (exactly ? strcmp(name, model) == 0 : engine_same_name(name, model)))
                return true;
        }
    }
    return false;
}

const struct server_upstream *model_lists_find(struct model_lists *m, const struct server_upstream *u, size_t n,
                                               const char *model)
{
    const struct server_upstream *found = NULL;
    pthread_mutex_lock(&m->lock);
    for (int exactly = 1; exactly >= 0 && !found && m->n > 1; exactly--)
        for (size_t i = 0; i < n && !found; i++) {
            const struct list *l = is_plain(&u[i]) ? known(m, u[i].url) : NULL;
            found = l && has(l, model, exactly) ? &u[i] : NULL;
        }
    bool several = m->n > 1;
    pthread_mutex_unlock(&m->lock);
    if (several && !found)
        atomic_store(&m->wanted, true);
    return found;
}

static bool is_there(const json_t *all, const char *name, const struct form *f)
{
    size_t i;
    const json_t *item;
    json_array_foreach(all, i, item)
    {
        const char *other = name_in(item, f);
        if (other && strcmp(other, name) == 0)
            return true;
    }
    return false;
}

/* False: nobody has that list. */
static bool merge(const struct model_lists *m, size_t k, json_t *all)
{
    bool any = false;
    for (size_t i = 0; i < m->n; i++) {
        size_t j;
        json_t *item;
        any |= m->lists[i].models[k] != NULL;
        json_array_foreach(m->lists[i].models[k], j, item)
        {
            const char *name = name_in(item, &forms[k]);
            if (name && !is_there(all, name, &forms[k]))
                json_array_append(all, item);
        }
    }
    return any;
}

bool model_lists_merged(struct model_lists *m, const char *target, struct jl_buf *out)
{
    size_t k = 0, n = strcspn(target, "?");
    while (k < FORMS && (strlen(forms[k].target) != n || strncmp(target, forms[k].target, n) != 0))
        k++;
    json_t *all = k < FORMS ? json_array() : NULL;
    if (!all)
        return false;
    pthread_mutex_lock(&m->lock);
    bool any = m->n > 1 && merge(m, k, all);
    char *text = any ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all); /* references are not counted by atomic operations everywhere: within the lock */
    pthread_mutex_unlock(&m->lock);
    if (text)
        jl_buf_printf(out, forms[k].openai ? "{\"object\":\"list\",\"data\":%s}\n" : "{\"models\":%s}\n", text);
    bool ok = text && !out->failed;
    free(text);
    return ok;
}
