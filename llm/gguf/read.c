/* read.c - the head of any GGUF file: what the model is, without touching its weights. Versions 2 and 3, little-endian.
 *
 * The bytes are foreign: every length is checked against what is left, counts and nesting have limits, and a file that ends
 * inside its head is told apart from one that is wrong, so that the file can be read in growing pieces. */
#include "llm/gguf/head.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX       ((uint64_t)1 << 16)
#define TENSORS_MAX    ((uint64_t)1 << 20)
#define NESTING_MAX    4
#define DIMENSIONS_MAX 8

enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64, VALUE_TYPES };
static const uint8_t value_bytes[VALUE_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

struct cursor {
    const uint8_t *at;
    size_t left;
    bool cut;          /* more bytes are needed */
    const char *wrong; /* what cannot be right; NULL so far */
};

struct text {
    const char *at;
    size_t n;
};

/* What the head says, before it is judged. */
struct facts {
    struct text architecture, name;
    int64_t file_type, layers, context, hidden, heads, kv_heads, vocab, tokens;
    int64_t alignment;
};

static bool good(const struct cursor *c)
{
    return !c->cut && !c->wrong;
}

static const uint8_t *take(struct cursor *c, uint64_t n)
{
    if (!good(c))
        return NULL;
    if (n > c->left) {
        c->cut = true;
        return NULL;
    }
    const uint8_t *p = c->at;
    c->at += n;
    c->left -= (size_t)n;
    return p;
}

static uint64_t number(struct cursor *c, int bytes)
{
    const uint8_t *p = take(c, (uint64_t)bytes);
    uint64_t v = 0;
    for (int i = bytes; p && i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

static struct text string(struct cursor *c)
{
    uint64_t n = number(c, 8);
    if (n > (uint64_t)64 << 20)
        c->wrong = "a text of more than 64 MiB";
    const uint8_t *p = take(c, n);
    return p ? (struct text){(const char *)p, (size_t)n} : (struct text){"", 0};
}

static bool is(struct text t, const char *word)
{
    return t.n == strlen(word) && memcmp(t.at, word, t.n) == 0;
}

/* The key without its first part: "llama.block_count" gives "block_count", whatever the architecture. */
static struct text after_dot(struct text key)
{
    const char *dot = memchr(key.at, '.', key.n);
    if (!dot)
        return (struct text){"", 0};
    return (struct text){dot + 1, key.n - (size_t)(dot + 1 - key.at)};
}

/* ---- values ---------------------------------------------------------------------------------------------------------- */

static void skip_value(struct cursor *c, uint64_t type, int depth);

static void skip_elements(struct cursor *c, uint64_t type, uint64_t n, int depth)
{
    if (type < VALUE_TYPES && value_bytes[type]) {
        take(c, n > UINT64_MAX / 8 ? UINT64_MAX : n * value_bytes[type]);
        return;
    }
    for (uint64_t i = 0; i < n && good(c); i++)
        skip_value(c, type, depth);
}

static void skip_value(struct cursor *c, uint64_t type, int depth)
{
    if (type == STRING) {
        string(c);
    } else if (type == ARRAY && depth < NESTING_MAX) {
        uint64_t inner = number(c, 4), n = number(c, 8);
        skip_elements(c, inner, n, depth + 1);
    } else if (type < VALUE_TYPES && value_bytes[type]) {
        take(c, value_bytes[type]);
    } else if (good(c)) {
        c->wrong = "a value of unknown type";
    }
}

/* An integer of any width, or the first element of an array of them (head counts by layer); -1 otherwise. Moves past the value.
 */
static int64_t integer(struct cursor *c, uint64_t type, uint64_t *elements)
{
    struct cursor inside = *c;
    *elements = 1;
    if (type == ARRAY) {
        type = number(&inside, 4);
        *elements = number(&inside, 8);
        skip_value(c, ARRAY, 0);
        if (*elements == 0)
            return -1;
    } else {
        skip_value(c, type, 0);
    }
    static const uint8_t is_integer[VALUE_TYPES] = {
        [U8] = 1, [I8] = 1, [U16] = 1, [I16] = 1, [U32] = 1, [I32] = 1, [U64] = 1, [I64] = 1};
    if (type >= VALUE_TYPES || !is_integer[type] || !good(c))
        return -1;
    uint64_t v = number(&inside, value_bytes[type]);
    bool has_sign = type == I8 || type == I16 || type == I32 || type == I64;
    uint64_t top = (uint64_t)1 << (8 * value_bytes[type] - 1);
    return v > INT64_MAX || (has_sign && v >= top) ? -1 : (int64_t)v;
}

static void read_key(struct cursor *c, struct facts *f)
{
    struct text key = string(c), rest = after_dot(key);
    uint64_t type = number(c, 4), elements = 0;
    const struct {
        bool here;
        int64_t *to;
    } numbers[] = {
        {is(key, "general.file_type"), &f->file_type},
        {is(key, "general.alignment"), &f->alignment},
        {is(rest, "block_count"), &f->layers},
        {is(rest, "context_length"), &f->context},
        {is(rest, "embedding_length"), &f->hidden},
        {is(rest, "attention.head_count"), &f->heads},
        {is(rest, "attention.head_count_kv"), &f->kv_heads},
        {is(rest, "vocab_size"), &f->vocab},
    };
    if (type == STRING && is(key, "general.architecture")) {
        f->architecture = string(c);
        return;
    }
    if (type == STRING && is(key, "general.name")) {
        f->name = string(c);
        return;
    }
    for (size_t i = 0; i < JL_COUNT(numbers); i++) {
        if (numbers[i].here) {
            *numbers[i].to = integer(c, type, &elements);
            return;
        }
    }
    if (type == ARRAY && is(key, "tokenizer.ggml.tokens")) {
        integer(c, type, &elements);
        f->tokens = elements <= INT64_MAX && good(c) ? (int64_t)elements : -1;
        return;
    }
    skip_value(c, type, 0);
}

/* ---- tensors --------------------------------------------------------------------------------------------------------- */

static const struct {
    int type;
    const char *name;
} tensor_types[] = {
    {0, "F32"},      {1, "F16"},     {2, "Q4_0"},     {3, "Q4_1"},   {6, "Q5_0"},    {7, "Q5_1"},   {8, "Q8_0"},
    {9, "Q8_1"},     {10, "Q2_K"},   {11, "Q3_K"},    {12, "Q4_K"},  {13, "Q5_K"},   {14, "Q6_K"},  {15, "Q8_K"},
    {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},
    {23, "IQ4_XS"},  {29, "IQ1_M"},  {30, "BF16"},    {34, "TQ1_0"}, {35, "TQ2_0"},  {39, "MXFP4"},
};
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

static void read_tensor(struct cursor *c, struct census *s)
{
    string(c);
    uint64_t dimensions = number(c, 4), elements = 1;
    if (good(c) && dimensions > DIMENSIONS_MAX)
        c->wrong = "a tensor of more than 8 dimensions";
    for (uint64_t i = 0; i < dimensions && good(c); i++) {
        uint64_t n = number(c, 8);
        if (n && elements > ((uint64_t)1 << 60) / n)
            c->wrong = "a tensor larger than any memory";
        else
            elements *= n;
    }
    uint64_t type = number(c, 4);
    number(c, 8);
    if (!good(c))
        return;
    s->parameters += elements;
    if (s->parameters > (uint64_t)1 << 60)
        c->wrong = "more parameters than any memory holds";
    if (type < TYPES_MAX)
        s->by_type[type] += elements;
}

/* What the file says of itself, else the type most weights have; "" unknown. */
static const char *quantisation(const struct facts *f, const struct census *s)
{
    for (size_t i = 0; i < JL_COUNT(file_types); i++)
        if (file_types[i].type == f->file_type)
            return file_types[i].name;
    uint64_t most = 0;
    const char *name = "";
    for (size_t i = 0; i < JL_COUNT(tensor_types); i++) {
        if (s->by_type[tensor_types[i].type] > most) {
            most = s->by_type[tensor_types[i].type];
            name = tensor_types[i].name;
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
static void copy_text(char *to, size_t size, struct text from)
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

static void begin(struct cursor *c, uint64_t *tensors, uint64_t *keys)
{
    const uint8_t *magic = take(c, 4);
    if (magic && memcmp(magic, "GGUF", 4) != 0)
        c->wrong = "not a GGUF file";
    uint64_t version = number(c, 4);
    if (good(c) && version != 2 && version != 3)
        c->wrong = version > 0xffffff ? "a big-endian file" : version == 1 ? "of GGUF version 1" : "of an unknown GGUF version";
    *tensors = number(c, 8);
    *keys = number(c, 8);
    if (good(c) && (*tensors > TENSORS_MAX || *keys > KEYS_MAX))
        c->wrong = "a head with too many entries";
}

enum joulet_status gguf_take_head(const uint8_t *bytes, size_t n, struct gguf_head *out, size_t *used, bool *cut,
                                  struct joulet_error *err)
{
    struct cursor c = {.at = bytes, .left = n};
    struct facts f = {
        .file_type = -1, .layers = -1, .context = -1, .hidden = -1, .heads = -1, .kv_heads = -1, .vocab = -1, .tokens = -1};
    struct census census = {0};
    uint64_t tensors, keys;
    begin(&c, &tensors, &keys);
    for (uint64_t i = 0; i < keys && good(&c); i++)
        read_key(&c, &f);
    for (uint64_t i = 0; i < tensors && good(&c); i++)
        read_tensor(&c, &census);
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
    copy_text(out->quantisation, sizeof(out->quantisation), (struct text){quant, strlen(quant)});
    out->params = tensors ? (int64_t)census.parameters : -1;
    out->tensors = (int64_t)tensors;
    out->layers = f.layers;
    out->context_length = f.context;
    out->hidden = f.hidden;
    out->heads = f.heads;
    out->kv_heads = f.kv_heads >= 0 ? f.kv_heads : f.heads;
    out->vocab = f.tokens >= 0 ? f.tokens : f.vocab;
    return jl_ok(err);
}

enum joulet_status gguf_parse_head(const uint8_t *bytes, size_t n, struct gguf_head *out, struct joulet_error *err)
{
    size_t used;
    bool cut;
    return gguf_take_head(bytes, n, out, &used, &cut, err);
}
