/* json_watch.c - a JSON object followed without keeping it: a stack of bits, and the last word. Which members make an object the
 * last one of an answer is docs/engines.md: OpenAI's finish_reason or usage without choices, "done" of Ollama, "stop" of
 * llama.cpp, generated_text of TGI, the types of Anthropic's, LM Studio's and the responses' events. */
#include "server/json_watch.h"

#include <string.h>

#define TEXT_AT_ONCE                                                                                                             \
    ((size_t)256) /* far enough to be quick, near enough that four searches in text full of escapes are not slow */

void json_watch_init(struct json_watch *w)
{
    memset(w, 0, sizeof *w);
}

static bool in_object(const struct json_watch *w)
{
    return w->depth > 0 && (w->objects[(w->depth - 1) / 8] >> (w->depth - 1) % 8 & 1);
}

static bool is(const char *word, const char *what)
{
    return strcmp(word, what) == 0;
}

static void end_word(struct json_watch *w)
{
    w->word[w->word_n < sizeof w->word ? w->word_n : 0] = '\0'; /* longer than any that matters */
}

static void add_word(struct json_watch *w, char c)
{
    if (w->word_n < sizeof w->word - 1)
        w->word[w->word_n++] = c;
    else
        w->word_n = sizeof w->word;
}

/* A value at the top, or what tells why the answer ended. `string`: its quotes are taken off. */
static void value(struct json_watch *w, bool string)
{
    if (w->reason_key && string)
        w->ended = true;
    if (w->depth != 1)
        return;
    if (!string && is(w->word, "true")) {
        w->done |= is(w->key, "done");
        w->stop |= is(w->key, "stop");
    }
    if (string && is(w->key, "type"))
        memcpy(w->type, w->word, sizeof w->type);
    w->has_text |= string && is(w->key, "generated_text");
}

static void end_scalar(struct json_watch *w)
{
    if (!w->scalar)
        return;
    w->scalar = false;
    end_word(w);
    value(w, false);
}

static void end_string(struct json_watch *w)
{
    w->in_string = false;
    end_word(w);
    if (!w->is_key) {
        value(w, true);
        return;
    }
    bool there = w->depth == 1 || (w->depth == 2 && (w->in_usage || w->in_timings));
    w->energy_next = there && is(w->word, "energy");
    w->has_energy |= w->energy_next;
    w->energy_source |= w->energy_depth && w->depth == w->energy_depth + 1 && is(w->word, "source");
    w->reason_key = is(w->word, "finish_reason") || is(w->word, "stop_reason");
    if (w->depth == 1) {
        memcpy(w->key, w->word, sizeof w->key);
        w->has_timings |= is(w->key, "timings");
    }
}

static void open_one(struct json_watch *w, bool object)
{
    if (w->depth == JSON_WATCH_DEPTH || (w->depth == 0 && !object)) {
        w->broken = true;
        return;
    }
    if (w->reason_key && object) /* SGLang tells it in an object */
        w->ended = true;
    if (w->depth == 1 && is(w->key, "choices")) {
        w->choices = true;
        w->no_choices = !object;
    } else if (w->depth >= 2 && w->choices && is(w->key, "choices")) {
        w->no_choices = false;
    }
    if (w->energy_next && object) {
        w->energy_depth = w->depth;
        w->empty[2] = true;
        w->energy_source = false;
    }
    w->energy_next = false;
    if (w->depth == 1 && is(w->key, "usage") && object)
        w->has_usage = w->in_usage = w->empty[1] = true;
    if (w->depth == 1 && is(w->key, "timings") && object)
        w->in_timings = w->empty[1] = true;
    unsigned char bit = (unsigned char)(1u << w->depth % 8);
    w->objects[w->depth / 8] = (unsigned char)(object ? w->objects[w->depth / 8] | bit : w->objects[w->depth / 8] & ~bit);
    w->depth++;
    w->expects_key = object;
    w->reason_key = false;
}

static enum json_place close_one(struct json_watch *w, bool object)
{
    end_scalar(w);
    if (w->depth == 0 || in_object(w) != object) {
        w->broken = true;
        return JSON_BROKEN;
    }
    w->depth--;
    w->expects_key = false;
    if (w->depth == 0) {
        w->over = true;
        return JSON_ENDS;
    }
    if (w->energy_depth && w->depth == w->energy_depth) {
        w->energy_depth = 0;
        return JSON_ENERGY_ENDS;
    }
    if (w->depth == 1 && w->in_usage) {
        w->in_usage = false;
        return JSON_USAGE_ENDS;
    }
    if (w->depth == 1 && w->in_timings) {
        w->in_timings = false;
        return JSON_TIMINGS_ENDS;
    }
    return JSON_INSIDE;
}

static void in_text(struct json_watch *w, char c)
{
    if (w->escaped)
        w->escaped = false;
    else if (c == '\\')
        w->escaped = true;
    else if (c == '"') {
        end_string(w);
        return;
    }
    add_word(w, c);
}

static void begin_value(struct json_watch *w, char c)
{
    w->word_n = 0;
    if (c == '"') {
        w->in_string = true;
        w->is_key = in_object(w) && w->expects_key;
        w->expects_key = false;
    } else {
        w->scalar = true;
        add_word(w, c);
    }
}

static enum json_place outside_text(struct json_watch *w, char c)
{
    if (c == '{' || c == '[') {
        open_one(w, c == '{');
    } else if (c == '}' || c == ']') {
        return close_one(w, c == '}');
    } else if (c == ',') {
        end_scalar(w);
        w->expects_key = in_object(w);
        w->reason_key = w->energy_next = false;
    } else if (c == ':') {
        w->expects_key = false;
    } else if (w->scalar) {
        add_word(w, c);
    } else {
        begin_value(w, c);
    }
    return w->broken ? JSON_BROKEN : JSON_INSIDE;
}

enum json_place json_watch_byte(struct json_watch *w, char c)
{
    bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (w->broken)
        return JSON_BROKEN;
    if (w->in_string) {
        in_text(w, c);
        return JSON_INSIDE;
    }
    if (blank) {
        end_scalar(w);
        return JSON_INSIDE;
    }
    if (w->over || (!w->begun && c != '{')) {
        w->broken = true;
        return JSON_BROKEN;
    }
    if (!w->begun) {
        w->begun = w->empty[0] = true;
    } else {
        if (w->depth == 1 && c != '}')
            w->empty[0] = false;
        if (w->depth == 2 && (w->in_usage || w->in_timings) && c != '}')
            w->empty[1] = false;
        if (w->energy_depth && w->depth == w->energy_depth + 1 && c != '}')
            w->empty[2] = false;
    }
    return outside_text(w, c);
}

/* Where the first of that byte stands in n; n: nowhere. */
static size_t until(const char *bytes, size_t n, char c)
{
    const char *at = memchr(bytes, c, n);
    return at ? (size_t)(at - bytes) : n;
}

size_t json_watch_text(struct json_watch *w, const char *bytes, size_t n)
{
    if (!w->in_string || w->escaped || w->broken)
        return 0;
    n = n < TEXT_AT_ONCE ? n : TEXT_AT_ONCE;
    for (const char *c = "\"\\\n\r"; *c; c++)
        n = until(bytes, n, *c);
    if (w->word_n + n < sizeof w->word) {
        memcpy(w->word + w->word_n, bytes, n);
        w->word_n += n;
    } else if (n) {
        w->word_n = sizeof w->word;
    }
    return n;
}

bool json_watch_is_final(const struct json_watch *w, bool usage)
{
    static const char *const ends[] = {"message_delta",        "chat.end",          "response.completed",
                                       "response.incomplete",  "response.failed",   "image_generation.completed",
                                       "image_edit.completed", "speech.audio.done", "transcript.text.done"};
    if (w->broken || w->has_energy)
        return false;
    for (size_t i = 0; i < JL_COUNT(ends); i++)
        if (is(w->type, ends[i]))
            return true;
    if (w->done || w->stop || w->has_text)
        return true;
    if (w->choices)
        return usage ? w->has_usage && (w->no_choices || w->ended) : w->ended;
    return w->ended && !w->type[0];
}
