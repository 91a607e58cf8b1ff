/* recognise_request.c - what the client asks for: the few members that matter, in any of the protocols' words. A body that was
 * not seen to its end is read as far as it goes. */
#include "server/json_watch.h"
#include "server/recognise_private.h"

#include <stdio.h>
#include <string.h>

#define DEPTH_MAX  32
#define IMAGES_MAX 10000

/* Bytes of text under it; pictures and the like, which come as text too, are none. */
static int64_t text_bytes(const json_t *v, int depth)
{
    int64_t sum = 0;
    size_t i;
    const char *key;
    json_t *item;
    if (depth > DEPTH_MAX)
        return 0;
    if (json_is_string(v)) {
        const char *s = json_string_value(v);
        return strncmp(s, "data:", 5) == 0 ? 0 : (int64_t)json_string_length(v);
    }
    if (json_is_array(v)) {
        json_array_foreach(v, i, item)
        {
            sum += text_bytes(item, depth + 1);
        }
    } else if (json_is_object(v)) {
        json_object_foreach((json_t *)v, key, item)
        {
            if (strcmp(key, "images") != 0 && strcmp(key, "image_url") != 0 && strcmp(key, "input_audio") != 0 &&
                strcmp(key, "role") != 0 && strcmp(key, "type") != 0)
                sum += text_bytes(item, depth + 1);
        }
    }
    return sum;
}

int64_t request_text_bytes(const json_t *v)
{
    return text_bytes(v, 0);
}

static const char *const prompts[] = {"prompt",       "messages",     "input",        "inputs",       "text",      "content",
                                      "system",       "suffix",       "instructions", "query",        "documents", "texts",
                                      "input_prefix", "input_suffix", "template",     "system_prompt"};

static void read_members(struct recognised *x, const json_t *root)
{
    const char *model = wire_string(root, "model");
    const json_t *stream = json_object_get(root, "stream");
    wire_clean(x->model, sizeof x->model, model, strlen(model));
    x->asks_stream = stream ? json_is_true(stream) : strcmp(x->protocol, "ollama") == 0 && x->kind == RECOGNISED_INFERENCE;
    x->asks_usage = json_is_true(json_object_get(json_object_get(root, "stream_options"), "include_usage"));
    x->prompt_bytes = 0;
    for (size_t i = 0; i < JL_COUNT(prompts); i++)
        x->prompt_bytes += text_bytes(json_object_get(root, prompts[i]), 0);
    int64_t images = wire_count(root, "n");
    if (x->kind == RECOGNISED_IMAGE && images < 1) /* of Stable Diffusion's pages */
        images = wire_count(root, "batch_size");
    if (x->kind == RECOGNISED_IMAGE)
        x->images = images > 0 && images < IMAGES_MAX ? (size_t)images : 1;
}

/* Value of a field of a form; false: it has none of that name. */
static bool form_field(const char *body, size_t n, const char *name, char *out, size_t size)
{
    char part[64];
    int len = snprintf(part, sizeof part, "name=\"%s\"\r\n\r\n", name);
    const char *at = memmem(body, n, part, (size_t)len);
    if (!at)
        return false;
    at += len;
    size_t left = n - (size_t)(at - body), text = 0;
    while (text < left && at[text] != '\r')
        text++;
    wire_clean(out, size, at, text);
    return true;
}

/* A form, as sound is sent: some of its parts are words, one is a file. */
static void read_form(struct recognised *x, const char *body, size_t n)
{
    char word[32] = "";
    int64_t images;
    form_field(body, n, "model", x->model, sizeof x->model);
    if (form_field(body, n, "stream", word, sizeof word))
        x->asks_stream = strcmp(word, "true") == 0;
    if (x->kind == RECOGNISED_IMAGE)
        x->images =
            form_field(body, n, "n", word, sizeof word) && jl_parse_i64(word, &images) && images > 0 && images < IMAGES_MAX
                ? (size_t)images
                : 1;
    const char *wav = x->kind == RECOGNISED_AUDIO ? memmem(body, n, "RIFF", 4) : NULL;
    if (wav)
        x->audio_s = recognise_wav_s(wav, n - (size_t)(wav - body), 0);
}

/* As much as there is: the model's name, when it is short, and whether it streams. */
static void read_beginning(struct recognised *x, const char *body, size_t n)
{
    struct json_watch w;
    json_watch_init(&w);
    for (size_t i = 0; i < n && !w.broken; i++) {
        bool was_text = w.in_string && !w.is_key && w.depth == 1, was_scalar = w.scalar && w.depth == 1;
        json_watch_byte(&w, body[i]);
        if (was_text && !w.in_string && strcmp(w.key, "model") == 0)
            wire_clean(x->model, sizeof x->model, w.word, strlen(w.word));
        if (was_scalar && !w.scalar && strcmp(w.key, "stream") == 0)
            x->asks_stream = strcmp(w.word, "true") == 0;
    }
    x->prompt_bytes = (int64_t)n;
}

void read_request(struct recognised *x, const char *body, size_t n, bool whole)
{
    json_t *root = whole ? wire_object(body, n) : NULL;
    if (root)
        read_members(x, root);
    else if (n >= 2 && memcmp(body, "--", 2) == 0)
        read_form(x, body, n);
    else
        read_beginning(x, body, n);
    json_decref(root);
}
