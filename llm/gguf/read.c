/* read.c - the head of any GGUF file: what the model is, without touching its weights. Versions 2 and 3, little-endian.
 *
 * The bytes are foreign: every length is checked against what is left, counts and nesting have limits, and a file that ends
 * inside its head is told apart from one that is wrong, so that the file can be read in growing pieces. */
#include "llm/gguf/head.h"

#include "llm/gguf/cursor.h"
#include "llm/gguf/model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX       ((uint64_t)1 << 16)
#define TENSORS_MAX    ((uint64_t)1 << 20)
#define DIMENSIONS_MAX 8

/* What the head says, before it is judged. */
struct facts {
    struct gguf_text architecture, name;
    int64_t layers_of, params_of, seed;
    int64_t file_type, layers, context, hidden, heads, kv_heads, vocab, tokens;
    int64_t alignment;
};

static void read_key(struct gguf_cursor *c, struct facts *f, struct gguf_model *whole)
{
    struct gguf_text key = gguf_string(c), rest = gguf_after_dot(key);
    uint64_t type = gguf_number(c, 4), elements = 0;
    if (whole)
        gguf_model_key(whole, rest, type, *c);
    const struct {
        bool here;
        int64_t *to;
    } numbers[] = {
        {gguf_is(key, "general.file_type"), &f->file_type},
        {gguf_is(key, "general.alignment"), &f->alignment},
        {gguf_is(key, "joulet.layers_of"), &f->layers_of},
        {gguf_is(key, "joulet.parameters_of"), &f->params_of},
        {gguf_is(key, "joulet.seed"), &f->seed},
        {gguf_is(rest, "block_count"), &f->layers},
        {gguf_is(rest, "context_length"), &f->context},
        {gguf_is(rest, "embedding_length"), &f->hidden},
        {gguf_is(rest, "attention.head_count"), &f->heads},
        {gguf_is(rest, "attention.head_count_kv"), &f->kv_heads},
        {gguf_is(rest, "vocab_size"), &f->vocab},
    };
    if (type == GGUF_VALUE_STRING && gguf_is(key, "general.architecture")) {
        f->architecture = gguf_string(c);
        return;
    }
    if (type == GGUF_VALUE_STRING && gguf_is(key, "general.name")) {
        f->name = gguf_string(c);
        return;
    }
    for (size_t i = 0; i < JL_COUNT(numbers); i++) {
        if (numbers[i].here) {
            *numbers[i].to = gguf_integer(c, type, &elements);
            return;
        }
    }
    if (type == GGUF_VALUE_ARRAY && gguf_is(key, "tokenizer.ggml.tokens")) {
        gguf_integer(c, type, &elements);
        f->tokens = elements <= INT64_MAX && gguf_good(c) ? (int64_t)elements : -1;
        return;
    }
    gguf_skip_value(c, type, 0);
}

/* ---- tensors --------------------------------------------------------------------------------------------------------- */

static const struct {
    int type;
    const char *name;
} file_types[] = {
    {0, "F32"},     {1, "F16"},     {2, "Q4_0"},     {3, "Q4_1"},    {7, "Q8_0"},    {8, "Q5_0"},    {9, "Q5_1"},
    {10, "Q2_K"},   {11, "Q3_K_S"}, {12, "Q3_K_M"},  {13, "Q3_K_L"}, {14, "Q4_K_S"}, {15, "Q4_K_M"}, {16, "Q5_K_S"},
    {17, "Q5_K_M"}, {18, "Q6_K"},   {19, "IQ2_XXS"}, {20, "IQ2_XS"}, {21, "Q2_K_S"}, {22, "IQ3_XS"}, {23, "IQ3_XXS"},
    {24, "IQ1_S"},  {25, "IQ4_NL"}, {26, "IQ3_S"},   {27, "IQ3_M"},  {28, "IQ2_S"},  {29, "IQ2_M"},  {30, "IQ4_XS"},
    {31, "IQ1_M"},  {32, "BF16"},   {36, "TQ1_0"},   {37, "TQ2_0"},  {38, "MXFP4"},
};

#define TYPES_MAX 64

struct census {
    uint64_t parameters, by_type[TYPES_MAX];
};

static void read_tensor(struct gguf_cursor *c, struct census *s, struct gguf_model *whole)
{
    struct gguf_text name = gguf_string(c);
    uint64_t dimensions = gguf_number(c, 4), elements = 1, size[DIMENSIONS_MAX] = {0};
    if (gguf_good(c) && dimensions > DIMENSIONS_MAX)
        c->wrong = "a tensor of more than 8 dimensions";
    for (uint64_t i = 0; i < dimensions && gguf_good(c); i++) {
        uint64_t n = gguf_number(c, 8);
        if (n && elements > ((uint64_t)1 << 60) / n)
            c->wrong = "a tensor larger than any memory";
        else
            elements *= n;
        size[i] = n;
    }
    uint64_t type = gguf_number(c, 4);
    gguf_number(c, 8);
    if (!gguf_good(c))
        return;
    s->parameters += elements;
    if (s->parameters > (uint64_t)1 << 60)
        c->wrong = "more parameters than any memory holds";
    if (type < TYPES_MAX)
        s->by_type[type] += elements;
    if (whole && !c->wrong)
        c->wrong = gguf_model_weight(whole, name, size, (size_t)dimensions, type);
}

/* What the file says of itself, else the type most weights have; "" unknown. */
static const char *quantisation(const struct facts *f, const struct census *s)
{
    for (size_t i = 0; i < JL_COUNT(file_types); i++)
        if (file_types[i].type == f->file_type)
            return file_types[i].name;
    uint64_t most = 0;
    const char *name = "";
    for (int i = 0; i < TYPES_MAX; i++) {
        const struct gguf_type *type = gguf_type_get(i);
        if (type && s->by_type[i] > most) {
            most = s->by_type[i];
            name = type->name;
        }
    }
    return name;
}

/* ---- the head -------------------------------------------------------------------------------------------------------- */

/* Length of the character at s if it is well-formed UTF-8 (RFC 3629) and prints, else 0. */
static size_t character(const uint8_t *s, size_t n)
{
    static const uint32_t least[5] = {0, 0x20, 0x80, 0x800, 0x10000};
    size_t len = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : (s[0] & 0xf8) == 0xf0 ? 4 : 0;
    if (len == 0 || len > n)
        return 0;
    uint32_t point = len == 1 ? s[0] : s[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (s[i] & 63);
    }
    bool odd = point < least[len] || point == 0x7f || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff);
    return odd ? 0 : len;
}

/* Into a fixed field as printable UTF-8, cut between characters: names reach terminals and JSON. */
static void copy_text(char *to, size_t size, struct gguf_text from)
{
    size_t used = 0;
    for (size_t i = 0; i < from.n;) {
        size_t len = character((const uint8_t *)from.at + i, from.n - i);
        if (used + (len ? len : 1) >= size)
            break;
        if (len)
            memcpy(to + used, from.at + i, len);
        else
            to[used] = '?';
        used += len ? len : 1;
        i += len ? len : 1;
    }
    to[used] = '\0';
}

static void begin(struct gguf_cursor *c, uint64_t *tensors, uint64_t *keys)
{
    const uint8_t *magic = gguf_take(c, 4);
    if (magic && memcmp(magic, "GGUF", 4) != 0)
        c->wrong = "not a GGUF file";
    uint64_t version = gguf_number(c, 4);
    if (gguf_good(c) && version != 2 && version != 3)
        c->wrong = version > 0xffffff ? "a big-endian file" : version == 1 ? "of GGUF version 1" : "of an unknown GGUF version";
    *tensors = gguf_number(c, 8);
    *keys = gguf_number(c, 8);
    if (gguf_good(c) && (*tensors > TENSORS_MAX || *keys > KEYS_MAX))
        c->wrong = "a head with too many entries";
}

/* whole: all that counts need besides, or NULL. */
static enum joulet_status read_all(const uint8_t *bytes, size_t n, struct gguf_head *out, struct gguf_model *whole, size_t *used,
                                   bool *cut, struct joulet_error *err)
{
    struct gguf_cursor c = {.at = bytes, .left = n};
    struct facts f = {.layers_of = -1,
                      .params_of = -1,
                      .seed = -1,
                      .file_type = -1,
                      .layers = -1,
                      .context = -1,
                      .hidden = -1,
                      .heads = -1,
                      .kv_heads = -1,
                      .vocab = -1,
                      .tokens = -1};
    struct census census = {0};
    uint64_t tensors, keys;
    begin(&c, &tensors, &keys);
    for (uint64_t i = 0; i < keys && gguf_good(&c); i++)
        read_key(&c, &f, whole);
    for (uint64_t i = 0; i < tensors && gguf_good(&c); i++)
        read_tensor(&c, &census, whole);
    *cut = c.cut;
    *used = n - c.left;
    *out = (struct gguf_head){.bytes = -1};
    if (c.wrong)
        return jl_fail(err, JOULET_FORMAT, "%s", c.wrong);
    if (c.cut)
        return jl_fail(err, JOULET_FORMAT, "the file ends inside its head");
    if (!f.architecture.n)
        return jl_fail(err, JOULET_FORMAT, "the head names no architecture");
    copy_text(out->architecture, sizeof(out->architecture), f.architecture);
    copy_text(out->name, sizeof(out->name), f.name);
    const char *quant = quantisation(&f, &census);
    copy_text(out->quantisation, sizeof(out->quantisation), (struct gguf_text){quant, strlen(quant)});
    out->params = tensors ? (int64_t)census.parameters : -1;
    out->tensors = (int64_t)tensors;
    out->layers = f.layers;
    bool fewer = f.layers > 0 && f.layers_of > f.layers;
    out->layers_of = fewer ? f.layers_of : -1;
    out->params_of = fewer ? f.params_of : -1;
    out->seed = f.seed;
    out->context_length = f.context;
    out->hidden = f.hidden;
    out->heads = f.heads;
    out->kv_heads = f.kv_heads >= 0 ? f.kv_heads : f.heads;
    out->vocab = f.tokens >= 0 ? f.tokens : f.vocab;
    return jl_ok(err);
}

enum joulet_status gguf_take_head(const uint8_t *bytes, size_t n, struct gguf_head *out, size_t *used, bool *cut,
                                  struct joulet_error *err)
{
    return read_all(bytes, n, out, NULL, used, cut, err);
}

enum joulet_status gguf_take_model(const uint8_t *bytes, size_t n, struct gguf_model *out, size_t *used, bool *cut,
                                   struct joulet_error *err)
{
    struct gguf_head head;
    gguf_model_init(out);
    enum joulet_status status = read_all(bytes, n, &head, out, used, cut, err);
    if (status != JOULET_OK)
        gguf_model_release(out);
    out->head = head;
    return status;
}

enum joulet_status gguf_parse_head(const uint8_t *bytes, size_t n, struct gguf_head *out, struct joulet_error *err)
{
    size_t used;
    bool cut;
    return gguf_take_head(bytes, n, out, &used, &cut, err);
}

enum joulet_status gguf_parse_model(const uint8_t *bytes, size_t n, struct gguf_model *out, struct joulet_error *err)
{
    size_t used;
    bool cut;
    return gguf_take_model(bytes, n, out, &used, &cut, err);
}
