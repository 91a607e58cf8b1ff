/* engine_joulet.c - asking a joulet server in front of an engine what a request drew (docs/proxy.md). */
#include "llm/engine_joulet.h"
#include "lib/platform/platform.h"
#include "llm/engine_wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_PATH   "/joulet/t/"
#define ENERGY_MOST  1e12 /* J; what is above is no request's */
#define UNKNOWN_S    1.0  /* a request that ended a moment ago may not be in the server's table yet */
#define STEP_LEAST_S 0.02
#define STEP_MOST_S  0.25

static const char *wanted_token;

void engine_joulet_use_token(const char *token)
{
    wanted_token = token;
}

/* ---- the object ---------------------------------------------------------------------------------------------------------- */

static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;

void engine_told_init(struct engine_told *t)
{
    *t = (struct engine_told){.e = unknown, .prefill = unknown, .decode = unknown};
}

/* null and missing are unknown; what is neither that nor a number in its limits cannot be. */
static double number_in(const json_t *o, const char *key, double least, bool *wrong)
{
    const json_t *v = json_object_get(o, key);
    double x = json_is_number(v) ? json_number_value(v) : NAN;
    if (!v || json_is_null(v))
        return NAN;
    if (isfinite(x) && x >= least && x <= ENERGY_MOST)
        return x;
    *wrong = true;
    return NAN;
}

static bool provenance_in(const json_t *o, enum joulet_provenance *out)
{
    const char *name = wire_string(o, "provenance");
    for (int p = JOULET_MEASURED; *name && p <= JOULET_SIMULATED; p++)
        if (strcmp(joulet_provenance_name((enum joulet_provenance)p), name) == 0)
            return *out = (enum joulet_provenance)p, true;
    return false;
}

/* Letters, digits, '-', '/': what methods are called. */
static const char *method_in(const json_t *o)
{
    const char *name = wire_string(o, "method");
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-/.");
    return n && n < 48 && !name[n] ? run_intern(name) : run_intern("told/1");
}

static void add_word(char *out, size_t size, const char *word, size_t n)
{
    size_t at = strlen(out);
    if (at + 2 + n + 1 < size) {
        snprintf(out + at, size - at, "%s", at ? ", " : "");
        at += strlen(out + at);
        wire_clean(out + at, size - at, word, n);
    }
}

static void flags_in(const json_t *o, struct engine_told *t)
{
    size_t i;
    const json_t *name;
    json_array_foreach(json_object_get(o, "flags"), i, name)
    {
        const char *word = json_string_value(name);
        uint32_t bit = 1;
        if (!word || i >= 64)
            continue;
        while (bit && !(joulet_flag_name(bit) && strcmp(joulet_flag_name(bit), word) == 0))
            bit <<= 1;
        t->e.flags |= bit;
        t->elsewhere |= strcmp(word, "drawn elsewhere") == 0;
        if (!bit && !t->elsewhere)
            add_word(t->words, sizeof t->words, word, json_string_length(name));
    }
}

/* A half-width without a figure, or a figure without gross, is no energy. What is left open by the idle level stands in the
 * difference of the two intervals; the rest adds up linearly over requests, as the gain of a sensor does: how much of it would
 * cancel in a sum is not told. */
static void budget(struct joulet_energy *e)
{
    double net = isnan(e->net_pm_j) ? e->gross_pm_j : e->net_pm_j, gross = isnan(e->gross_pm_j) ? net : e->gross_pm_j;
    if (isnan(net))
        return;
    e->u = (struct joulet_u){.spec = gross / 2, .idle = net > gross ? sqrt(net * net - gross * gross) / 2 : 0};
}

static bool energy_in(const json_t *o, struct joulet_energy *e, bool *wrong)
{
    bool bad = false;
    *e = unknown;
    if (!json_is_object(o))
        return false;
    e->gross_j = number_in(o, "gross_j", 0, &bad);
    e->net_j = number_in(o, "net_j", -ENERGY_MOST, &bad);
    e->gross_pm_j = number_in(o, "gross_pm_j", 0, &bad);
    e->net_pm_j = number_in(o, "net_pm_j", 0, &bad);
    e->min_j = number_in(o, "min_j", 0, &bad);
    e->max_j = number_in(o, "max_j", 0, &bad);
    e->tail_j = number_in(o, "tail_j", -ENERGY_MOST, &bad);
    bad |= e->min_j > e->max_j || e->net_j > e->gross_j * (1 + 1e-6) + 1e-6;
    if ((json_object_get(o, "provenance") && !provenance_in(o, &e->provenance)) || bad) {
        *e = unknown; /* of figures one of which cannot be none is believed */
        *wrong = true;
        return true;
    }
    e->gross_pm_j = isnan(e->gross_j) ? NAN : e->gross_pm_j;
    e->net_pm_j = isnan(e->net_j) ? NAN : e->net_pm_j;
    e->method = method_in(o);
    budget(e);
    return true;
}

/* Both phases or none: one of them alone would leave a rest that nobody can name. */
static void phases_in(const json_t *root, struct engine_told *t)
{
    const json_t *windows = json_object_get(root, "windows");
    bool wrong = false;
    energy_in(json_object_get(json_object_get(windows, "prefill"), "energy"), &t->prefill, &wrong);
    energy_in(json_object_get(json_object_get(windows, "decode"), "energy"), &t->decode, &wrong);
    t->wrong |= wrong;
    if (wrong || isnan(t->prefill.gross_j) || isnan(t->decode.gross_j))
        t->prefill = t->decode = unknown;
    t->prefill.provenance = t->decode.provenance = t->e.provenance;
    t->prefill.flags |= t->e.flags;
    t->decode.flags |= t->e.flags;
}

static void devices_in(const json_t *root, struct engine_told *t)
{
    size_t i;
    const json_t *name;
    json_array_foreach(json_object_get(root, "devices"), i, name)
    {
        if (json_is_string(name) && i < 64)
            add_word(t->devices, sizeof t->devices, json_string_value(name), json_string_length(name));
    }
}

static void root_in(const json_t *root, const json_t *o, struct engine_told *t)
{
    engine_told_init(t);
    t->any = true;
    energy_in(o, &t->e, &t->wrong);
    if (!json_object_get(o, "provenance") && !isnan(t->e.gross_j)) {
        t->e = unknown; /* whether it was measured is a part of a figure */
        t->wrong = true;
    }
    t->provisional = json_is_true(json_object_get(o, "provisional"));
    flags_in(o, t);
    t->e.flags |= t->provisional ? JOULET_FLAG_PROVISIONAL : 0;
    phases_in(root, t);
    devices_in(root, t);
    const char *source = wire_string(o, "source");
    wire_clean(t->source, sizeof t->source, source, strlen(source));
}

bool engine_told_read(const char *json, size_t n, struct engine_told *t)
{
    json_t *root = wire_object(json, n);
    const json_t *o = json_object_get(root, "energy");
    if (!json_is_object(o))
        o = json_object_get(json_object_get(root, "usage"), "energy");
    bool any = json_is_object(o);
    if (any)
        root_in(root, o, t);
    json_decref(root);
    return any;
}

void engine_told_tokens(const char *json, size_t n, struct run_tokens *out, bool *timed)
{
    json_t *root = wire_object(json, n);
    const json_t *o = json_object_get(root, "tokens");
    const char *const keys[] = {"prompt", "cached", "generated", "reasoning"};
    int64_t *const to[] = {&out->prompt, &out->cached, &out->generated, &out->reasoning};
    for (size_t i = 0; i < JL_COUNT(keys); i++) {
        const json_t *v = json_object_get(o, keys[i]);
        *to[i] = json_is_integer(v) && json_integer_value(v) >= 0 ? json_integer_value(v) : -1;
    }
    const char *source = wire_string(o, "generated_source");
    *timed = strcmp(source, "timings") == 0 || strcmp(source, "usage") == 0;
    json_decref(root);
}

/* ---- the server ---------------------------------------------------------------------------------------------------------- */

/* Tokens by server, of addresses that have lost theirs. The main thread, before engines are opened. */
static struct {
    char origin[256], token[256];
} hidden[16];
static size_t n_hidden;

/* "http://gpu:8737" of an address, with or without its scheme. */
static void origin_of(const char *url, char *out, size_t size)
{
    const char *scheme = strstr(url, "://"), *host = scheme ? scheme + 3 : url;
    snprintf(out, size, "%.*s%.*s", scheme ? (int)(host - url) : 7, scheme ? url : "http://", (int)strcspn(host, "/"), host);
}

/* The first token in an address, which loses all that it has: also what is left of two of them may read as one. malloc'ed, NULL
 * when there is none. */
static char *cut_token(char *url)
{
    char *first = NULL;
    for (char *at = url; (at = strstr(at, TOKEN_PATH));) {
        char *from = at + strlen(TOKEN_PATH);
        size_t n = strcspn(from, "/");
        if (n && !first)
            first = jl_strf("%.*s", (int)n, from);
        if (n) {
            memmove(at, from + n, strlen(from + n) + 1);
            at = url;
        } else {
            at++;
        }
    }
    return first;
}

char *engine_joulet_cut_token(char *url)
{
    return cut_token(url);
}

void engine_joulet_hide_token(char *url)
{
    char *token = cut_token(url);
    if (token && n_hidden < JL_COUNT(hidden)) {
        origin_of(url, hidden[n_hidden].origin, sizeof hidden[0].origin);
        snprintf(hidden[n_hidden++].token, sizeof hidden[0].token, "%s", token);
    }
    free(token);
}

bool engine_joulet_take_token(struct engine *e)
{
    char origin[256];
    bool has = strstr(e->url, TOKEN_PATH) != NULL;
    e->joulet.token = cut_token(e->url);
    if (has)
        return e->joulet.token || strstr(e->url, TOKEN_PATH);
    origin_of(e->url, origin, sizeof origin);
    for (size_t i = n_hidden; i-- > 0 && !e->joulet.token;)
        if (strcmp(hidden[i].origin, origin) == 0 && !(e->joulet.token = jl_strdup(hidden[i].token)))
            return false;
    return true;
}

bool engine_joulet_refused(int status, const char *body, size_t n)
{
    if (status != 401)
        return false;
    json_t *root = wire_object(body, n);
    const json_t *error = json_object_get(root, "error");
    const char *says = json_is_string(error) ? json_string_value(error) : wire_string(error, "message");
    bool own = strcmp(wire_string(error, "code"), "no_token") == 0; /* on its own paths, where it does not say its name */
    bool ours = says && (own || jl_starts(says, "joulet: ")) && strstr(says, "X-Joulet-Token");
    json_decref(root);
    return ours;
}

bool engine_joulet_try_token(struct engine *e)
{
    const char *token = wanted_token && *wanted_token ? wanted_token : jl_env("JOULET_TOKEN");
    if (e->joulet.token || e->cloud || !token || !*token || strpbrk(token, "\r\n"))
        return false;
    e->joulet.token = jl_strdup(token);
    return e->joulet.token != NULL;
}

enum joulet_status engine_joulet_no_token(const struct engine *e, struct joulet_error *err)
{
    return jl_fail(err, JOULET_PERMISSION,
                   "the joulet server at %s wants %s token: give it with --token, in JOULET_TOKEN, or as /joulet/t/TOKEN behind "
                   "the address",
                   e->url, e->joulet.token ? "another" : "a");
}

/* One of our own paths at an address. NULL: something else came. patience_s 0: as for any small question. */
static json_t *page_within(const struct engine *e, const char *base, const char *path, double patience_s,
                           struct joulet_error *err)
{
    struct net_response r;
    struct engine at = *e;
    char *url = jl_strf("%s", base);
    json_t *root = NULL;
    if (!url)
        return NULL;
    at.url = url;
    at.key = NULL; /* it is the engine's */
    at.ops = NULL;
    if (engine_ask(&at, "GET", path, NULL, patience_s, &r, err) == JOULET_OK) {
        root = r.status == 200 ? wire_object(r.body.data ? r.body.data : "", r.body.len) : NULL;
        if (!root)
            jl_fail(err, r.status == 404 ? JOULET_NOT_FOUND : JOULET_ENGINE, "%s%s answers HTTP %d", base, path, r.status);
    }
    net_response_release(&r);
    free(url);
    return root;
}

static json_t *own_page(const struct engine *e, const char *base, const char *path, struct joulet_error *err)
{
    return page_within(e, base, path, 0, err);
}

static bool look_within(struct engine *e, const char *base, double patience_s, struct joulet_error *err)
{
    struct engine_joulet *j = &e->joulet;
    json_t *health = page_within(e, base, "/joulet/health", patience_s, err), *energy;
    const char *instance = wire_string(health, "instance"), *version = wire_string(health, "version");
    j->is = json_is_array(json_object_get(health, "upstreams")) && *wire_string(health, "status") && *version;
    if (j->is) {
        wire_clean(j->version, sizeof j->version, version, strlen(version));
        wire_clean(j->instance, sizeof j->instance, instance, strlen(instance));
        snprintf(j->url, sizeof j->url, "%s", base);
        const json_t *told = json_object_get(health, "meters");
        energy = told ? NULL : own_page(e, base, "/joulet/energy", NULL); /* servers that do not say it there */
        j->meters = told ? json_is_true(told) : json_is_object(json_object_get(energy, "total"));
        json_decref(energy);
    }
    json_decref(health);
    return j->is;
}

static bool look_at(struct engine *e, const char *base)
{
    return look_within(e, base, 0, NULL);
}

/* "http://gpu:8737" of what stands before its first path; false: it has none, or is too long. */
static bool root_of(const char *url, char *root, size_t size)
{
    const char *host = strstr(url, "://");
    if (!host || strlen(url) >= size)
        return false;
    snprintf(root, size, "%.*s", (int)(host + 3 + strcspn(host + 3, "/") - url), url);
    return true;
}

enum engine_joulet_found engine_joulet_at(const char *url, const char *token, double patience_s, const atomic_bool *cancel,
                                          struct engine_joulet *out)
{
    char root[sizeof out->url];
    struct engine_noticed noticed = {0};
    struct joulet_error err = {.status = JOULET_OK};
    struct engine e = {
        .url = (char *)(uintptr_t)url, .cancel = cancel, .noticed = &noticed, .joulet.token = (char *)(uintptr_t)token};
    *out = (struct engine_joulet){0};
    if (!root_of(url, root, sizeof root))
        return ENGINE_JOULET_OTHER;
    if (!look_within(&e, url, patience_s, &err) && err.status != JOULET_UNREACHABLE && strcmp(root, url) != 0)
        look_within(&e, root, patience_s, &err);
    *out = e.joulet;
    out->token = NULL;
    if (out->is)
        return ENGINE_JOULET_IS;
    if (noticed.wants_token)
        return ENGINE_JOULET_REFUSED;
    return err.status == JOULET_UNREACHABLE ? ENGINE_JOULET_SILENT : ENGINE_JOULET_OTHER;
}

/* A path of the record of a request; false: that is no id. */
static bool path_of(const char *id, char path[64])
{
    if (!*id || id[strspn(id, "0123456789abcdefABCDEF-")])
        return false;
    snprintf(path, 64, "/joulet/requests/%.24s", id);
    return true;
}

char *engine_joulet_record(const char *base, const char *token, const char *id, double patience_s, const atomic_bool *cancel,
                           struct joulet_error *err)
{
    char path[64];
    struct engine e = {.url = (char *)(uintptr_t)base, .cancel = cancel, .joulet.token = (char *)(uintptr_t)token};
    if (!path_of(id, path)) {
        jl_fail(err, JOULET_FORMAT, "the header " ENGINE_JOULET_HEADER " of its answer holds no number of a request");
        return NULL;
    }
    json_t *root = page_within(&e, base, path, patience_s, err);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

static void add_name(char *out, size_t size, const json_t *o, const char *key)
{
    const char *name = wire_string(o, key);
    add_word(out, size, name, strlen(name));
}

bool engine_joulet_state(const char *base, const char *token, double patience_s, const atomic_bool *cancel,
                         struct engine_joulet_state *out)
{
    struct engine e = {.url = (char *)(uintptr_t)base, .cancel = cancel, .joulet.token = (char *)(uintptr_t)token};
    json_t *health = page_within(&e, base, "/joulet/health", patience_s, NULL);
    json_t *energy = page_within(&e, base, "/joulet/energy", patience_s, NULL);
    const json_t *item;
    size_t i;
    *out = (struct engine_joulet_state){.meters = json_is_true(json_object_get(health, "meters"))};
    json_array_foreach(json_object_get(health, "upstreams"), i, item)
    {
        add_name(out->upstreams, sizeof out->upstreams, item, "url");
        if (json_is_false(json_object_get(item, "answers")))
            add_name(out->silent, sizeof out->silent, item, "url");
    }
    json_array_foreach(json_object_get(energy, "devices"), i, item)
    {
        add_name(out->sensors, sizeof out->sensors, item, "id");
        if (json_number_value(json_object_get(item, "unmeasured_s")) > 1)
            add_name(out->unmeasured, sizeof out->unmeasured, item, "id");
    }
    bool told = health != NULL;
    json_decref(health);
    json_decref(energy);
    return told;
}

/* Below the address that was given; or at its root, where the path is a prefix that leads to one of several upstreams. */
void engine_joulet_look(struct engine *e)
{
    char root[sizeof e->joulet.url];
    if (!root_of(e->url, root, sizeof root))
        return;
    if (!look_at(e, e->url) && strcmp(root, e->url) != 0)
        look_at(e, root);
}

enum joulet_status engine_joulet_energy(const struct engine *e, const char *id, double patience_s, struct engine_told *out,
                                        struct joulet_error *err)
{
    char path[64];
    int64_t start = jl_mono_ns();
    double step_s = STEP_LEAST_S, limit_s = UNKNOWN_S;
    if (!path_of(id, path))
        return jl_fail(err, JOULET_FORMAT, "the header " ENGINE_JOULET_HEADER " of its answer holds no number of a request");
    for (;;) {
        struct joulet_error why = {.status = JOULET_OK};
        json_t *root = own_page(e, e->joulet.url, path, &why);
        char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
        json_decref(root);
        if (text && engine_told_read(text, strlen(text), out))
            limit_s = patience_s;
        bool over = text && out->any && !out->provisional;
        free(text);
        if (over)
            return jl_ok(err);
        if (why.status != JOULET_OK && why.status != JOULET_NOT_FOUND)
            return jl_fail(err, why.status, "%s", why.message);
        if (jl_s(jl_mono_ns() - start) >= limit_s || (e->cancel && atomic_load(e->cancel)))
            return out->any ? jl_ok(err) : jl_fail(err, JOULET_NOT_FOUND, "%s", why.message);
        jl_sleep_until(jl_mono_ns() + jl_ns(step_s));
        step_s = fmin(2 * step_s, STEP_MOST_S);
    }
}
