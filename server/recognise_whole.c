/* recognise_whole.c - answers that are one thing: embeddings, an order of documents, pictures, sound. What they cost is one
 * window; what it bought is counted here: pictures by the list of the answer, seconds of sound as the answer tells them, or as
 * the head of a WAV file does, of the answer or of what was sent (docs/proxy-recognition.md, "Protocols"). */
#include "server/recognise_private.h"

#include <math.h>
#include <string.h>

#define IMAGES_MAX 10000
#define WAV_MOST_S 1e6

/* ---- sound ------------------------------------------------------------------------------------------------------------ */

static uint32_t little(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* `there`: bytes of the file that were seen or announced after the head; a stream does not know its length when it begins. */
double recognise_wav_s(const char *bytes, size_t n, uint64_t there)
{
    const unsigned char *p = (const unsigned char *)bytes;
    uint32_t rate = 0;
    if (n < 12 || memcmp(p, "RIFF", 4) != 0 || memcmp(p + 8, "WAVE", 4) != 0)
        return NAN;
    for (size_t at = 12; n - at >= 8;) {
        uint32_t size = little(p + at + 4);
        if (memcmp(p + at, "fmt ", 4) == 0 && n - at >= 20)
            rate = little(p + at + 16);
        if (memcmp(p + at, "data", 4) == 0) {
            uint64_t head = at + 8, length = size;
            if (size == 0 || size >= 0x7fffffff || (there && head + size > there)) /* not known when it was written, or cut */
                length = there > head ? there - head : 0;
            double s = rate ? (double)length / rate : NAN;
            return s > 0 && s < WAV_MOST_S ? s : NAN;
        }
        if (size > n - at - 8)
            return NAN;
        at += 8 + size + (size & 1);
        if (at > n)
            return NAN;
    }
    return NAN;
}

static double seconds_told(const json_t *root)
{
    double s = wire_number(json_object_get(root, "usage"), "seconds", 1);
    return isnan(s) ? wire_number(root, "duration", 1) : s;
}

/* ---- counts ------------------------------------------------------------------------------------------------------------- */

/* Counts of what went in, under any of their names. */
static void counts(struct recogniser *r, const json_t *root)
{
    static const char *const names[] = {"prompt_tokens", "input_tokens", "total_tokens"};
    const json_t *usage = json_object_get(root, "usage"), *details = json_object_get(usage, "prompt_tokens_details");
    int64_t prompt = wire_count(root, "prompt_eval_count"), out = wire_count(usage, "output_tokens");
    for (size_t i = 0; i < JL_COUNT(names) && prompt < 0; i++)
        prompt = wire_count(usage, names[i]);
    if (prompt < 0) /* Cohere's and Jina's order of documents */
        prompt = wire_count(json_object_get(json_object_get(root, "meta"), "tokens"), "input_tokens");
    if (prompt >= 0)
        r->g.tokens.prompt = prompt;
    if (out >= 0)
        r->g.tokens.generated = out;
    if (wire_count(details, "cached_tokens") >= 0)
        r->g.tokens.cached = wire_count(details, "cached_tokens");
}

static void pictures(struct recogniser *r, const json_t *root)
{
    size_t n = json_array_size(json_object_get(root, "data"));
    if (!n)
        n = json_array_size(json_object_get(root, "images"));
    if (n && n < IMAGES_MAX)
        r->result.images = n;
}

static size_t text_n(const json_t *choice)
{
    static const char *const texts[] = {"content", "reasoning_content", "reasoning", "refusal"};
    const json_t *message = json_object_get(choice, "message");
    size_t n = json_string_length(json_object_get(choice, "text"));
    for (size_t i = 0; i < JL_COUNT(texts); i++)
        n += json_string_length(json_object_get(message, texts[i]));
    return n;
}

/* Several answers to one prompt: llama.cpp, which tells `timings`, counts the first of them alone, also in `usage`. The others
 * are counted in the ratio of their texts. */
void read_choices(struct recogniser *r, const char *bytes, size_t n)
{
    size_t i, first = 0, all = 0;
    json_t *choice, *root = memmem(bytes, n, "\"timings\"", 9) ? wire_object(bytes, n) : NULL;
    const json_t *choices = json_object_get(root, "choices");
    json_array_foreach(choices, i, choice)
    {
        first += i == 0 ? text_n(choice) : 0;
        all += text_n(choice);
    }
    r->scaled = json_array_size(choices) > 1 && first && json_is_object(json_object_get(root, "timings"));
    if (r->scaled && r->g.tokens.generated > 0)
        r->g.tokens.generated = (int64_t)llround((double)r->g.tokens.generated * (double)all / (double)first);
    json_decref(root);
}

/* A whole answer, or one event of a stream. */
void read_one_thing(struct recogniser *r, const char *bytes, size_t n, bool event)
{
    json_t *root = wire_object(bytes, n);
    const char *type = wire_string(root, "type");
    double s = seconds_told(root);
    if (root && !wire_error(&r->g, root)) {
        counts(r, root);
        if (r->result.kind == RECOGNISED_IMAGE && !event)
            pictures(r, root);
        if (r->result.kind == RECOGNISED_IMAGE && event && strstr(type, ".completed"))
            r->result.images = ++r->done_images;
        if (r->result.kind == RECOGNISED_AUDIO && s > 0 && s < WAV_MOST_S)
            r->result.audio_s = s;
        r->g.done |= !event || strstr(type, ".done") || strstr(type, ".completed");
    }
    json_decref(root);
}

/* Numbers and texts, in no object (TEI, llama.cpp), or bytes of sound and pictures. */
void read_other_thing(struct recogniser *r, const char *bytes, size_t n)
{
    const char *end = bytes + n;
    while (bytes < end && (*bytes == ' ' || *bytes == '\n' || *bytes == '\r' || *bytes == '\t'))
        bytes++;
    double s = r->result.kind == RECOGNISED_AUDIO ? recognise_wav_s(bytes, (size_t)(end - bytes), r->body_n) : NAN;
    if (!isnan(s))
        r->result.audio_s = s;
    r->g.done = r->result.status < 400;
}
