/* vocabulary.c - a byte-level BPE vocabulary of any size for models without training: every text has tokens, and what is sampled
 * reads like syllables. The 256 bytes in the spelling that byte-level BPE gives them, syllables and a few common pairs made by
 * merges, then pseudo-words that no merge makes, then the control tokens of the Llama 3 chat format. */
#include "llm/gguf/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MERGES_MAX 256

static const char consonants[] = "bcdfghjklmnprstvwz", vowels[] = "aeiou";
static const char *const common[][2] = {{"t", "h"}, {"th", "e"}, {"i", "n"}, {"e", "r"}, {"a", "n"}, {"an", "d"},
                                        {"o", "n"}, {"e", "n"},  {"a", "t"}, {"o", "r"}, {"e", "s"}, {"i", "s"},
                                        {"i", "t"}, {"e", "d"},  {"o", "f"}, {"a", "l"}, {"a", "r"}, {"in", "g"}};
static const char *const control[GGUF_CONTROL_TOKENS] = {"<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>",
                                                         "<|end_header_id|>", "<|eot_id|>"};

static void put(struct gguf_vocabulary *v, const char *text)
{
    snprintf(v->token[v->n++], GGUF_TOKEN_MAX, "%s", text);
}

static bool has(const struct gguf_vocabulary *v, const char *text)
{
    for (size_t i = 0; i < v->n; i++)
        if (strcmp(v->token[i], text) == 0)
            return true;
    return false;
}

/* Bytes that print stand for themselves, the others for the code points from 256 on, in order. */
static void put_bytes(struct gguf_vocabulary *v)
{
    int others = 0;
    for (int b = 0; b < GGUF_BYTE_TOKENS; b++) {
        bool prints = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        int point = prints ? b : 256 + others++;
        char text[3] = {(char)point, 0, 0};
        if (point >= 0x80) {
            text[0] = (char)(0xc0 | point >> 6);
            text[1] = (char)(0x80 | (point & 63));
        }
        put(v, text);
    }
}

static void merge(struct gguf_vocabulary *v, const char *a, const char *b)
{
    char text[GGUF_TOKEN_MAX];
    snprintf(text, sizeof(text), "%s%s", a, b);
    if (v->n + GGUF_CONTROL_TOKENS >= v->cap || v->n_merges == MERGES_MAX || has(v, text))
        return;
    snprintf(v->merge[v->n_merges++], GGUF_TOKEN_MAX, "%s %s", a, b);
    put(v, text);
}

static void put_merges(struct gguf_vocabulary *v)
{
    const char *space = v->token[' '];
    for (const char *c = consonants; *c; c++)
        for (const char *w = vowels; *w; w++)
            merge(v, (char[]){*c, 0}, (char[]){*w, 0});
    for (const char *c = consonants; *c; c++)
        for (const char *w = vowels; *w; w++)
            merge(v, space, (char[]){*c, *w, 0});
    for (size_t i = 0; i < JL_COUNT(common); i++)
        merge(v, common[i][0], common[i][1]);
}

/* The n-th pseudo-word: two syllables, or more when those run out (90 syllables: 8100 pairs). */
static void put_word(struct gguf_vocabulary *v, long n)
{
    char text[GGUF_TOKEN_MAX];
    int used = snprintf(text, sizeof(text), "%s", v->token[' ']);
    int syllables = n < 8100 ? 2 : n < 8100 + 729000 ? 3 : 4;
    long left = n < 8100 ? n : n < 8100 + 729000 ? n - 8100 : n - 8100 - 729000;
    for (int i = 0; i < syllables; i++) {
        text[used++] = consonants[left % 18];
        left /= 18;
        text[used++] = vowels[left % 5];
        left /= 5;
    }
    text[used] = '\0';
    put(v, text);
}

bool gguf_vocabulary_init(struct gguf_vocabulary *v, size_t size)
{
    *v = (struct gguf_vocabulary){.cap = size};
    v->token = calloc(size, sizeof(*v->token));
    v->merge = calloc(MERGES_MAX, sizeof(*v->merge));
    if (!v->token || !v->merge || size < GGUF_BYTE_TOKENS + GGUF_CONTROL_TOKENS) {
        gguf_vocabulary_release(v);
        return false;
    }
    put_bytes(v);
    put_merges(v);
    for (long n = 0; v->n + GGUF_CONTROL_TOKENS < size; n++)
        put_word(v, n);
    for (size_t i = 0; i < GGUF_CONTROL_TOKENS; i++)
        put(v, control[i]);
    return true;
}

void gguf_vocabulary_release(struct gguf_vocabulary *v)
{
    free(v->token);
    free(v->merge);
    *v = (struct gguf_vocabulary){0};
}
