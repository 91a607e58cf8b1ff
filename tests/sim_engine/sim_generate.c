/* sim_generate.c - one generation of the simulated engine: a schedule, the tokens at their times, the faults in between.
 *
 *     arrival .. overhead .. t_prefill .. prompt tokens .. t_decode (first token) .. t_end (last token)
 *
 * A change of power is written to the curve up to LEAD before it comes, so that a sensor never reads past it; a schedule that has
 * been announced is kept even when the client leaves. */
#include "tests/sim_engine/sim_internal.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LEAD_NS         20000000
#define TEMPLATE_TOKENS 8 /* what a chat template adds to the prompt */
#define JSON_TYPE       "application/json; charset=utf-8"
#define ns_of_ms(ms)    jl_ns((ms)*1e-3)

enum form { COMPLETION, CHAT, TEXT }; /* /completion, /v1/chat/completions, /v1/completions */

struct job {
    struct sim_connection *c;
    struct sim_engine *e;
    enum form form;
    bool stream, usage, has_eos;
    int64_t prompt, cached, tokens; /* tokens: to be made, an end token included */
    int64_t t_announced;
    bool to_idle; /* what was announced is the end */
    struct sim_truth t;
    struct jl_buf text;
};

static double fault_arg(const struct job *j, const char *name, double otherwise)
{
    const struct sim_fault *f = sim_fault_of(j->e, j->t.request, name);
    return !f ? NAN : isnan(f->arg) ? otherwise : f->arg;
}

static bool fault(const struct job *j, const char *name)
{
    return sim_fault_of(j->e, j->t.request, name) != NULL;
}

/* ---- the request ---------------------------------------------------------------------------------------------------- */

int64_t sim_count_words(const char *s)
{
    int64_t n = 0;
    for (; *s; n++) {
        s += strspn(s, " \t\r\n");
        size_t word = strcspn(s, " \t\r\n");
        if (!word)
            break;
        s += word;
    }
    return n;
}

/* All text of the request, for counting and for the prompt cache. */
static char *prompt_text(const json_t *root, enum form form)
{
    if (form != CHAT)
        return jl_strdup(json_string_value(json_object_get(root, "prompt")));
    struct jl_buf b;
    size_t i;
    json_t *m;
    jl_buf_init(&b, SIZE_MAX);
    json_array_foreach(json_object_get(root, "messages"), i, m)
    {
        const char *text = json_string_value(json_object_get(m, "content"));
        jl_buf_printf(&b, "%s%s", i ? "\n" : "", text ? text : "");
    }
    return b.len ? jl_buf_take(&b) : NULL;
}

static int64_t limit_of(const json_t *root, int64_t otherwise)
{
    static const char *const names[] = {"n_predict", "max_tokens", "max_completion_tokens"};
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        const json_t *v = json_object_get(root, names[i]);
        if (json_is_integer(v) && json_integer_value(v) >= 0)
            return json_integer_value(v) ? (int64_t)json_integer_value(v) : 1; /* 0 still makes one token there */
    }
    return otherwise;
}

/* A prompt that came before is cached but for its last token, unless the request forbids it. */
static int64_t cached_part(struct job *j, const json_t *root, const char *text)
{
    char digest[65];
    struct jl_sha256 s;
    jl_sha256_init(&s);
    jl_sha256_add(&s, text, strlen(text));
    jl_sha256_hex(&s, digest);
    pthread_mutex_lock(&j->e->lock);
    bool same = strcmp(digest, j->e->last_prompt) == 0;
    memcpy(j->e->last_prompt, digest, sizeof(digest));
    FILE *f = j->e->config.prompts ? fopen(j->e->config.prompts, "ae") : NULL;
    if (f) {
        fprintf(f, "%s %s\n", j->e->config.model, digest);
        fclose(f);
    }
    pthread_mutex_unlock(&j->e->lock);
    int64_t cached = same && !json_is_false(json_object_get(root, "cache_prompt")) && !j->e->config.openai ? j->prompt - 1 : 0;
    double told = fault_arg(j, "cached", 1);
    if (!isnan(told))
        cached = told < (double)j->prompt ? (int64_t)told : j->prompt - 1;
    return cached;
}

/* False when it has been refused. */
static bool understand(struct job *j, const struct sim_http *q)
{
    json_error_t e;
    json_t *root = json_loadb(q->body, q->body_len, 0, &e);
    char *text = json_is_object(root) ? prompt_text(root, j->form) : NULL;
    const char *model = json_string_value(json_object_get(root, "model"));
    bool ok = false;
    if (!text) {
        sim_error(j->c, 400, "invalid_request_error", j->form == CHAT ? "'messages' is required" : "key 'prompt' not found", "");
    } else if (fault(j, "unknown-model") || (j->e->config.openai && model && strcmp(model, j->e->config.model) != 0)) {
        sim_error(j->c, 404, j->e->config.openai ? "NotFoundError" : "not_found_error", "The model does not exist.", "");
    } else {
        j->prompt = sim_count_words(text) + (j->form == CHAT ? TEMPLATE_TOKENS : 0);
        j->cached = cached_part(j, root, text);
        j->tokens = limit_of(root, j->e->config.tokens);
        j->has_eos = j->e->config.eos > 0 && j->e->config.eos <= j->tokens;
        if (j->has_eos)
            j->tokens = j->e->config.eos;
        j->stream = json_is_true(json_object_get(root, "stream")) && !fault(j, "whole");
        j->usage = json_is_true(json_object_get(json_object_get(root, "stream_options"), "include_usage"));
        ok = true;
    }
    free(text);
    json_decref(root);
    return ok;
}

static bool fits(struct job *j)
{
    char more[96], message[160];
    if (j->prompt < j->e->config.context)
        return true;
    snprintf(more, sizeof(more), ",\"n_prompt_tokens\":%lld,\"n_ctx\":%lld", (long long)j->prompt,
             (long long)j->e->config.context);
    snprintf(message, sizeof(message),
             "request (%lld tokens) exceeds the available context size (%lld tokens), try increasing it", (long long)j->prompt,
             (long long)j->e->config.context);
    sim_error(j->c, 400, "exceed_context_size_error", message, more);
    return false;
}

/* Faults that take the place of an answer. */
static bool spoiled(struct job *j)
{
    static const char garbage[] = "\x16\x03\x01 220 this is no web server\r\n\r\n";
    if (fault(j, "garbage"))
        sim_send(j->c, garbage, sizeof(garbage) - 1);
    else if (fault(j, "html"))
        sim_reply(j->c, 200, "text/html", "<!doctype html><title>A page</title>");
    else if (fault(j, "oom"))
        sim_error(j->c, 500, "server_error", "failed to allocate compute buffers: out of memory", "");
    else if (fault(j, "internal"))
        sim_reply(j->c, 500, "text/plain", "");
    else if (!fault(j, "empty-reply"))
        return false;
    j->c->broken = true;
    return true;
}

/* ---- the answer ----------------------------------------------------------------------------------------------------- */

static const char *word(int64_t i)
{
    static const char *const words[] = {"one", " token", " takes", " so", " many", " joules", ",", " no", " more"};
    return words[i % (int64_t)JL_COUNT(words)];
}

static void put_timings(const struct job *j, struct jl_buf *b)
{
    if (j->e->config.openai || fault(j, "no-timings") || fault(j, "no-usage"))
        return;
    double scale = fault(j, "no-time") ? 0 : 1;
    double decode_ms = j->tokens > 1 ? (double)(j->tokens - 1) * j->e->config.decode_ms : 0.001;
    if ((j->e->config.stamps || j->e->config.step) && j->t.t_last_sent_ns > j->t.t_first_sent_ns)
        decode_ms = 1e3 * jl_s(j->t.t_last_sent_ns - j->t.t_first_sent_ns);
    jl_buf_printf(
        b, ",\"timings\":{\"cache_n\":%lld,\"prompt_n\":%lld,\"prompt_ms\":%.6g,\"predicted_n\":%lld,\"predicted_ms\":%.6g}",
        (long long)j->cached, (long long)(j->prompt - j->cached),
        scale * (j->e->config.step ? 1e3 * jl_s(j->t.t_decode_ns - j->t.t_prefill_ns)
                                   : (double)(j->prompt - j->cached) * j->e->config.prefill_ms),
        (long long)j->t.generated_tokens, j->t.generated_tokens ? scale * decode_ms : 0.0);
}

static void put_usage(const struct job *j, struct jl_buf *b)
{
    if (fault(j, "no-usage"))
        return;
    jl_buf_printf(b,
                  ",\"usage\":{\"completion_tokens\":%lld,\"prompt_tokens\":%lld,\"total_tokens\":%lld,"
                  "\"prompt_tokens_details\":{\"cached_tokens\":%lld}}",
                  (long long)j->t.generated_tokens, (long long)j->prompt, (long long)(j->prompt + j->t.generated_tokens),
                  (long long)j->cached);
}

/* `end` where it ended by itself, `limit` where it was stopped; what stands for neither with the fault. */
static const char *reason(const struct job *j, const char *end, const char *limit, const char *none)
{
    return fault(j, "no-reason") ? none : j->has_eos ? end : limit;
}

static void put_native_end(const struct job *j, struct jl_buf *b, const char *content)
{
    jl_buf_printf(b, "{\"index\":0,\"content\":\"%s\",\"tokens\":[],\"id_slot\":0,\"stop\":true,\"model\":\"%s\"", content,
                  j->e->config.model);
    if (!fault(j, "no-usage"))
        jl_buf_printf(b, ",\"tokens_predicted\":%lld,\"tokens_evaluated\":%lld", (long long)j->t.generated_tokens,
                      (long long)j->prompt);
    jl_buf_printf(b, ",\"truncated\":%s,\"stop_type\":\"%s\",\"stopping_word\":\"\"", fault(j, "truncated") ? "true" : "false",
                  reason(j, "eos", "limit", "none"));
    put_timings(j, b);
    jl_buf_str(b, "}");
}

static void put_token(const struct job *j, struct jl_buf *b, int64_t i)
{
    double thoughts = fault_arg(j, "thinking", 1);
    if (j->form == COMPLETION)
        jl_buf_printf(b, "data: {\"index\":0,\"content\":\"%s\",\"tokens\":[%lld],\"stop\":false,\"id_slot\":0}\n\n", word(i),
                      (long long)(100 + i));
    else if (j->form == TEXT)
        jl_buf_printf(
            b, "data: {\"choices\":[{\"text\":\"%s\",\"index\":0,\"finish_reason\":null}],\"object\":\"text_completion\"}\n\n",
            word(i));
    else
        jl_buf_printf(b, "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"%s\":\"%s\"}}]}\n\n",
                      !isnan(thoughts) && (double)i < thoughts ? "reasoning_content" : "content", word(i));
}

/* The timings stand on the last chunk before [DONE]: the usage chunk when there is one. */
static void put_end(const struct job *j, struct jl_buf *b)
{
    const char *finish = reason(j, "\"stop\"", "\"length\"", "null");
    if (j->form == COMPLETION) {
        jl_buf_str(b, "data: ");
        put_native_end(j, b, "");
        jl_buf_str(b, "\n\n");
        return;
    }
    jl_buf_printf(b, "data: {\"choices\":[{\"finish_reason\":%s,\"index\":0,%s}]", finish,
                  j->form == CHAT ? "\"delta\":{}" : "\"text\":\"\"");
    if (j->usage && !fault(j, "no-usage"))
        jl_buf_str(b, "}\n\ndata: {\"choices\":[]"), put_usage(j, b);
    put_timings(j, b);
    jl_buf_str(b, "}\n\ndata: [DONE]\n\n");
}

static void put_whole(const struct job *j, struct jl_buf *b)
{
    struct jl_buf text;
    jl_buf_init(&text, SIZE_MAX);
    for (int64_t i = 0; i < j->t.generated_tokens; i++)
        jl_buf_str(&text, word(i));
    const char *content = text.data ? text.data : "";
    if (j->form == COMPLETION) {
        put_native_end(j, b, content);
    } else {
        const char *finish = reason(j, "\"stop\"", "\"length\"", "null");
        if (j->form == CHAT)
            jl_buf_printf(
                b, "{\"choices\":[{\"finish_reason\":%s,\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\"}}]",
                finish, content);
        else
            jl_buf_printf(b, "{\"choices\":[{\"finish_reason\":%s,\"index\":0,\"text\":\"%s\"}]", finish, content);
        put_usage(j, b);
        put_timings(j, b);
        jl_buf_str(b, "}");
    }
    jl_buf_release(&text);
}

/* ---- time and power -------------------------------------------------------------------------------------------------- */

/* A sensor that follows the curve cannot have seen the change before it was written. */
static void tell_power(struct job *j, int64_t t_ns, double watts)
{
    sim_power(j->e, t_ns, watts);
    j->t.late_s = fmax(j->t.late_s, jl_s(jl_mono_ns() - t_ns));
}

/* Waits until LEAD before t and writes the change to the curve. */
static bool announce(struct job *j, int64_t t_ns, double watts)
{
    if (!sim_wait_until(j->c, t_ns - LEAD_NS))
        return false;
    tell_power(j, t_ns, watts);
    j->t_announced = t_ns;
    j->to_idle = watts == j->e->config.idle_w;
    return true;
}

static void close_books(struct job *j, const char *outcome, int64_t t_end)
{
    const struct sim_config *f = &j->e->config;
    struct sim_truth *t = &j->t;
    if (t_end < j->t_announced)
        t_end = j->t_announced; /* announced power has been drawn */
    t->t_end_ns = t_end;
    int64_t split = t->t_decode_ns < t_end ? t->t_decode_ns : t_end;
    t->prefill_j = f->prefill_w * jl_s(split - t->t_prefill_ns);
    t->decode_j = f->decode_w * jl_s(t_end - split);
    snprintf(t->outcome, sizeof(t->outcome), "%s", outcome);
    sim_add_truth(j->e, t);
}

/* Ends early: the power falls now, or where the schedule that has been announced ends. */
static void break_off(struct job *j, const char *outcome)
{
    int64_t now = jl_mono_ns();
    int64_t end = now > j->t_announced && !j->to_idle ? now : j->t_announced;
    tell_power(j, end, j->e->config.idle_w);
    close_books(j, outcome, end);
    j->c->broken = true;
}

/* ---- the stream ------------------------------------------------------------------------------------------------------ */

/* A fault that strikes after `made` tokens; true when the answer ends there. */
static bool struck(struct job *j, int64_t made)
{
    static const char error[] = "{\"code\":500,\"message\":\"decode failed: out of memory\",\"type\":\"server_error\"}";
    struct jl_buf b;
    jl_buf_init(&b, SIZE_MAX);
    if (fault_arg(j, "die", 0) == (double)made)
        sim_die(j->e);
    else if (fault_arg(j, "stall", 0) == (double)made)
        sim_wait_until(j->c, INT64_MAX);
    else if (fault_arg(j, "error", 0) == (double)made)
        jl_buf_printf(&b, "data: {\"error\":%s}\n\n", error);
    else if (fault_arg(j, "error-line", 0) == (double)made)
        jl_buf_printf(&b, "error: %s\n\n", error);
    else if (fault_arg(j, "bad-json", 0) == (double)made)
        jl_buf_str(&b, "data: {\"choices\":[{\"finish_reason\":nul\n\n");
    else if (fault_arg(j, "bad-utf8", 0) == (double)made)
        jl_buf_str(&b, "data: {\"content\":\"\xff\xfe\",\"stop\":false}\n\n");
    else if (fault_arg(j, "cut", 0) != (double)made)
        return false;
    if (b.len && sim_stream_piece(j->c, b.data, b.len))
        sim_stream_end(j->c);
    jl_buf_release(&b);
    return true;
}

static bool send_huge_line(struct job *j)
{
    static char zeros[65536];
    double left = fault_arg(j, "huge-line", 32e6);
    memset(zeros, 'x', sizeof(zeros));
    bool ok = sim_stream_piece(j->c, "data: {\"content\":\"", 18);
    for (; ok && left > 0; left -= sizeof(zeros))
        ok = sim_stream_piece(j->c, zeros, sizeof(zeros));
    return ok && sim_stream_piece(j->c, "\"}\n\n", 4);
}

static bool send_token(struct job *j, int64_t i)
{
    bool last = i == j->tokens - 1;
    jl_buf_clear(&j->text);
    if (i == 0 && j->form == CHAT)
        jl_buf_str(
            &j->text,
            "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\n\n");
    if (fault(j, "ping"))
        jl_buf_str(&j->text, ": ping\n\n");
    if (!(last && j->has_eos))
        put_token(j, &j->text, i);
    j->t.t_last_sent_ns = jl_mono_ns();
    if (i == 0)
        j->t.t_first_sent_ns = j->t.t_last_sent_ns;
    return !j->text.len || sim_stream_piece(j->c, j->text.data, j->text.len);
}

/* Tokens at their times; false when it ended early. */
static bool make_tokens(struct job *j)
{
    int64_t step = ns_of_ms(j->e->config.decode_ms), t_end = j->t.t_decode_ns + (j->tokens - 1) * step;
    bool announced = j->t_announced >= t_end;
    for (int64_t i = 0; i < j->tokens; i++) {
        int64_t t_ns = j->t.t_decode_ns + i * step;
        if (!announced && t_ns >= t_end - LEAD_NS) {
            announced = announce(j, t_end, j->e->config.idle_w);
            if (!announced)
                return false;
        }
        if (j->stream && struck(j, i))
            return false;
        if (!sim_wait_until(j->c, t_ns))
            return false;
        j->t.generated_tokens = i + 1;
        if (j->stream && !send_token(j, i))
            return false;
        if (j->stream && i == 0 && fault(j, "huge-line") && !send_huge_line(j))
            return false;
    }
    return !j->stream || !struck(j, j->tokens);
}

/* Steps that say themselves what they draw. One that comes late begins later: until then the engine draws what it drew last. */
static bool make_steps(struct job *j)
{
    const struct sim_config *f = &j->e->config;
    int64_t t = j->t.t_prefill_ns;
    t += f->step(f->step_user, t, &(struct sim_row){j->prompt - j->cached, j->cached, 0}, 1);
    for (int64_t i = 0; i < j->tokens; i++) {
        int64_t now = jl_mono_ns();
        t = t > now ? t : now;
        if (i == 0)
            j->t.t_decode_ns = t;
        int64_t next = i + 1 < j->tokens ? t + f->step(f->step_user, t, &(struct sim_row){1, j->prompt + i, 0}, 1) : t;
        if (i + 1 == j->tokens)
            tell_power(j, t, f->idle_w);
        if (!sim_wait_until(j->c, t))
            return false;
        j->t.generated_tokens = i + 1;
        if (j->stream && !send_token(j, i))
            return false;
        j->t_announced = t = next;
    }
    j->t.t_end_ns = t;
    return true;
}

/* Steps that are made for several at once. */
static bool make_shared_steps(struct job *j)
{
    int seat = sim_batch_take(j->e->batch, j->prompt, j->cached, j->tokens);
    bool ok = seat >= 0;
    for (int64_t i = 0; ok && i < j->tokens; i++) {
        int64_t t = sim_batch_wait(j->e->batch, seat, i + 1);
        if (i == 0)
            j->t.t_decode_ns = t;
        j->t_announced = j->t.t_end_ns = t;
        j->t.generated_tokens = i + 1;
        ok = t >= 0 && (!j->stream || send_token(j, i));
    }
    if (seat >= 0)
        sim_batch_leave(j->e->batch, seat);
    return ok;
}

static void finish(struct job *j)
{
    jl_buf_clear(&j->text);
    if (!j->stream) {
        put_whole(j, &j->text);
        sim_reply(j->c, 200, JSON_TYPE, j->text.data);
        return;
    }
    if (!fault(j, "no-done")) {
        put_end(j, &j->text);
        sim_stream_piece(j->c, j->text.data, j->text.len);
    }
    sim_stream_end(j->c);
}

static const char *outcome_of(const struct job *j)
{
    return sim_engine_dead(j->e) ? "died" : j->e->config.n_faults ? "failed" : "gone";
}

static void run(struct job *j)
{
    const struct sim_config *f = &j->e->config;
    struct sim_truth *t = &j->t;
    t->prompt_tokens = j->prompt;
    t->cached_tokens = j->cached;
    t->t_prefill_ns = jl_mono_ns() + ns_of_ms(f->overhead_ms);
    t->t_decode_ns = t->t_prefill_ns + (int64_t)((double)(j->prompt - j->cached) * f->prefill_ms * 1e6);
    if (fault(j, "no-tokens")) {
        t->t_decode_ns = t->t_prefill_ns;
        if (!j->stream || sim_stream_begin(j->c))
            finish(j);
        close_books(j, "failed", t->t_prefill_ns);
        return;
    }
    if (f->step) {
        bool shared = j->e->batch, ok = (!j->stream || sim_stream_begin(j->c)) && (shared ? make_shared_steps(j) : make_steps(j));
        if (ok)
            finish(j);
        else if (!shared) /* its power is that of the others too */
            break_off(j, outcome_of(j));
        j->c->broken |= !ok;
        return;
    }
    tell_power(j, t->t_prefill_ns, f->prefill_w);
    j->t_announced = t->t_prefill_ns;
    bool ok = (!j->stream || sim_stream_begin(j->c)) && announce(j, t->t_decode_ns, j->tokens > 1 ? f->decode_w : f->idle_w);
    if (!ok || !make_tokens(j)) {
        break_off(j, outcome_of(j));
        return;
    }
    close_books(j, "done", t->t_decode_ns + (j->tokens - 1) * ns_of_ms(f->decode_ms));
    finish(j);
}

static void remember(struct sim_engine *e, const struct sim_http *q, int64_t *number)
{
    char *body = jl_strf("%.*s", (int)q->body_len, q->body);
    pthread_mutex_lock(&e->lock);
    *number = e->n_generations++;
    free(e->last_body);
    e->last_body = body;
    pthread_mutex_unlock(&e->lock);
}

void sim_generate(struct sim_connection *c, const struct sim_http *q)
{
    struct sim_engine *e = c->engine;
    struct job j = {.c = c, .e = e, .t.t_arrival_ns = jl_mono_ns()};
    j.form = strcmp(q->path, "/completion") == 0 ? COMPLETION : strcmp(q->path, "/v1/completions") == 0 ? TEXT : CHAT;
    remember(e, q, &j.t.request);
    jl_buf_init(&j.text, SIZE_MAX);
    c->slow = fault(&j, "slow-chunks");
    bool alone = e->config.slots < 2;
    if (alone)
        pthread_mutex_lock(&e->slot);
    if (!spoiled(&j) && understand(&j, q) && fits(&j)) {
        atomic_store(&e->busy, true);
        run(&j);
        struct timespec end = {.tv_sec = j.t.t_end_ns / JL_NS_PER_S, .tv_nsec = j.t.t_end_ns % JL_NS_PER_S};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
            continue; /* announced power is drawn to its end before the next request */
        atomic_store(&e->busy, false);
    }
    if (alone)
        pthread_mutex_unlock(&e->slot);
    c->slow = false;
    jl_buf_release(&j.text);
}
