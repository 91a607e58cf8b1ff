/* engine_body.c - the body of a request. What was not asked for is not sent, so that the engine's default stays. */
#include "llm/engine_wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX ((size_t)64 << 20)

/* ---- what no engine could answer --------------------------------------------------------------------------------------- */

static bool is_blank(const char *s)
{
    return !s || s[strspn(s, " \t\r\n")] == '\0';
}

enum joulet_status body_check(const struct generation *q, struct joulet_error *err)
{
    if (!q->messages_json && is_blank(q->prompt))
        return jl_fail(err, JOULET_USAGE, "the prompt is empty: give a text as an argument, or - to read it from standard input");
    if (q->raw && q->messages_json)
        return jl_fail(err, JOULET_USAGE, "messages need the model's chat template: leave raw away, or give one text");
    if (q->raw && q->system)
        return jl_fail(err, JOULET_USAGE,
                       "a system prompt needs the model's chat template: leave raw away, or put it into the text");
    if (q->raw && q->tools_json)
        return jl_fail(err, JOULET_USAGE, "tools need the model's chat template: leave raw away, or leave out the tools");
    if (q->keep_alive && !engine_keep_alive(q->keep_alive, &(double){0}))
        return jl_fail(err, JOULET_USAGE, "the time to keep the model loaded, \"%.40s\", is none: say 90s, 5m, 0 or forever",
                       q->keep_alive);
    for (size_t i = 0; i < q->n_options; i++) {
        static const char ours[] = "stream,stream_options,messages,prompt,model,n";
        const char *eq = strchr(q->options[i], '=');
        char key[64];
        if (!eq || eq == q->options[i] || (size_t)(eq - q->options[i]) >= sizeof(key))
            return jl_fail(err, JOULET_USAGE, "the engine option \"%.80s\" is not of the form KEY=VALUE", q->options[i]);
        memcpy(key, q->options[i], (size_t)(eq - q->options[i]));
        key[eq - q->options[i]] = '\0';
        if (jl_word_in(ours, ',', key))
            return jl_fail(err, JOULET_USAGE, "the engine option %s cannot be set: the measurement needs it as it is", key);
    }
    return jl_ok(err);
}

bool engine_keep_alive(const char *text, double *seconds)
{
    int64_t ns;
    if (strcmp(text, "forever") == 0 || strcmp(text, "-1") == 0)
        *seconds = INFINITY;
    else if (strcmp(text, "0") == 0)
        *seconds = 0;
    else if (jl_parse_duration(text, &ns) && ns >= 0)
        *seconds = jl_s(ns);
    else
        return false;
    return true;
}

const char *thinking_name(enum thinking t)
{
    static const char *const names[] = {NULL, "off", "on", "low", "medium", "high"};
    return (size_t)t < JL_COUNT(names) ? names[t] : NULL;
}

/* ---- members ------------------------------------------------------------------------------------------------------------ */

enum joulet_status body_string(json_t *root, const char *key, const char *text, struct joulet_error *err)
{
    json_t *s = json_string(text);
    if (!s)
        return jl_fail(err, JOULET_USAGE, "the %s is not UTF-8 text: convert it, as with iconv -f latin1 -t utf-8", key);
    json_object_set_new(root, key, s);
    return JOULET_OK;
}

void body_count(json_t *root, const char *key, int64_t value)
{
    if (value >= 0)
        json_object_set_new(root, key, json_integer(value));
}

void body_number(json_t *root, const char *key, double value)
{
    if (!isnan(value))
        json_object_set_new(root, key, json_real(value));
}

static enum joulet_status add_message(json_t *list, const char *role, const char *text, struct joulet_error *err)
{
    json_t *m = json_object();
    json_object_set_new(m, "role", json_string(role));
    enum joulet_status status = body_string(m, "content", text, err);
    if (status != JOULET_OK)
        jl_fail(err, status, "the %s prompt is not UTF-8 text: convert it, as with iconv -f latin1 -t utf-8", role);
    json_array_append_new(list, m);
    return status;
}

/* An array of objects with a role each; content is text, or parts, or absent beside tool calls. */
static enum joulet_status check_messages(const json_t *list, struct joulet_error *err)
{
    size_t i;
    json_t *m;
    if (!json_is_array(list) || json_array_size(list) == 0)
        return jl_fail(err, JOULET_USAGE, "the messages are not a JSON array of objects with role and content");
    json_array_foreach(list, i, m)
    {
        if (!json_is_string(json_object_get(m, "role")) || !(json_object_get(m, "content") || json_object_get(m, "tool_calls")))
            return jl_fail(err, JOULET_USAGE, "message %zu is not an object with role and content", i + 1);
    }
    return JOULET_OK;
}

enum joulet_status body_messages(json_t *root, const struct generation *q, struct joulet_error *err)
{
    json_error_t e;
    json_t *list = q->messages_json ? json_loads(q->messages_json, 0, &e) : json_array();
    if (!list)
        return jl_fail(err, JOULET_USAGE, "the messages are not JSON: line %d: %s", e.line, e.text);
    json_object_set_new(root, "messages", list);
    if (q->messages_json)
        return check_messages(list, err);
    enum joulet_status status = q->system ? add_message(list, "system", q->system, err) : JOULET_OK;
    return status == JOULET_OK ? add_message(list, "user", q->prompt, err) : status;
}

static enum joulet_status check_tools(const json_t *list, struct joulet_error *err)
{
    size_t i;
    json_t *t;
    if (!json_is_array(list) || json_array_size(list) == 0)
        return jl_fail(err, JOULET_USAGE, "the tools are not a JSON array of objects with type and function");
    json_array_foreach(list, i, t)
    {
        if (!wire_string(json_object_get(t, "function"), "name")[0])
            return jl_fail(err, JOULET_USAGE, "tool %zu is not an object with a function that has a name", i + 1);
    }
    return JOULET_OK;
}

enum joulet_status body_lacks(const struct engine *e, bool given, const char *what, struct joulet_error *err)
{
    if (!given)
        return JOULET_OK;
    return jl_fail(err, JOULET_ENGINE, "the protocol %s has no %s: leave it out, or speak another protocol with the engine at %s",
                   e->ops->name, what, e->url);
}

enum joulet_status body_tools(json_t *root, const struct generation *q, struct joulet_error *err)
{
    json_error_t e;
    if (!q->tools_json)
        return JOULET_OK;
    json_t *list = json_loads(q->tools_json, 0, &e);
    if (!list)
        return jl_fail(err, JOULET_USAGE, "the tools are not JSON: line %d: %s", e.line, e.text);
    json_object_set_new(root, "tools", list);
    return check_tools(list, err);
}

enum joulet_status body_stop(json_t *root, const struct generation *q, struct joulet_error *err)
{
    if (!q->n_stop)
        return JOULET_OK;
    json_t *list = json_array();
    json_object_set_new(root, "stop", list);
    for (size_t i = 0; i < q->n_stop; i++) {
        json_t *s = json_string(q->stop[i]);
        if (!s || !q->stop[i][0]) {
            json_decref(s);
            return jl_fail(err, JOULET_USAGE, "stop text %zu is empty or not UTF-8", i + 1);
        }
        json_array_append_new(list, s);
    }
    return JOULET_OK;
}

/* VALUE is JSON when it reads as JSON, else text: "ignore_eos=true", "mirostat=2", "grammar=root ::= ...". Checked by body_check.
 */
enum joulet_status body_options(json_t *root, const struct generation *q, struct joulet_error *err)
{
    for (size_t i = 0; i < q->n_options; i++) {
        const char *eq = strchr(q->options[i], '=');
        char *key = jl_strf("%.*s", (int)(eq - q->options[i]), q->options[i]);
        json_error_t e;
        json_t *value = json_loads(eq + 1, JSON_DECODE_ANY, &e);
        if (!value)
            value = json_string(eq + 1);
        bool ok = key && value && json_object_set_new(root, key, value) == 0;
        free(key);
        if (!ok)
            return jl_fail(err, JOULET_USAGE, "the engine option \"%.80s\" is not UTF-8 text", q->options[i]);
    }
    return JOULET_OK;
}

enum joulet_status engine_check(const struct generation *q, struct joulet_error *err)
{
    json_t *root = json_object();
    enum joulet_status status = body_check(q, err);
    if (status == JOULET_OK)
        status = q->raw ? body_string(root, "prompt", q->prompt, err) : body_messages(root, q, err);
    if (status == JOULET_OK)
        status = body_tools(root, q, err);
    if (status == JOULET_OK)
        status = body_stop(root, q, err);
    if (status == JOULET_OK)
        status = body_options(root, q, err);
    json_decref(root);
    return status;
}

static int add_bytes(const char *bytes, size_t n, void *user)
{
    return jl_buf_add(user, bytes, n) ? 0 : -1;
}

enum joulet_status body_finish(json_t *root, struct jl_buf *out, struct joulet_error *err)
{
    jl_buf_init(out, BODY_MAX);
    int failed = json_dump_callback(root, add_bytes, out, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(root);
    if (failed)
        return jl_fail(err, JOULET_LIMIT, "the prompt is longer than %zu MiB: shorten it", BODY_MAX >> 20);
    return jl_ok(err);
}
