/* shapes.c - the model shapes we can write: "tiny", the same with experts, and the rows of data/model_shapes.csv that are plain
 * Llama.
 *
 * A row is plain Llama when it has a gated feed-forward, RMSNorm, full rotary embedding, no query/key/value bias, no experts and
 * no sliding window shorter than its context, and when the weights of such a model add up to the row's own total: that last test
 * leaves out models with further norms (Gemma, Qwen 3, OLMo 2) without naming them. */
#include "data/data.h"
#include "llm/gguf/layout.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct gguf_shape tiny = {
    .name = "tiny",
    .layers = 4,
    .hidden = 256,
    .heads = 8,
    .kv_heads = 4,
    .head_dim = 32,
    .ffn = 1024,
    .vocab = 2048,
    .context = 8192,
    .tied = true,
    .rope_theta = 500000,
};

#define BUILT_IN 2

static struct gguf_shape built_in(size_t i)
{
    struct gguf_shape s = tiny;
    if (i == 1) {
        memcpy(s.name, "tiny-moe", sizeof("tiny-moe"));
        s.ffn = 512;
        s.experts = 8;
        s.experts_used = 2;
    }
    return s;
}

enum column {
    HF_ID,
    SHORT_NAME,
    N_LAYERS,
    HIDDEN_SIZE,
    N_HEADS,
    N_KV_HEADS,
    HEAD_DIM,
    FFN_SIZE,
    VOCAB_SIZE,
    CONTEXT_LENGTH,
    TIED,
    ROPE_THETA,
    FFN_KIND,
    N_EXPERTS,
    ROTARY_FRACTION,
    SLIDING_WINDOW,
    NORM,
    QKV_BIAS,
    PARAMS_TOTAL,
    COLUMNS
};
static const char *const column_names[COLUMNS] = {"hf_id",           "short_name", "n_layers", "hidden_size", "n_heads",
                                                  "n_kv_heads",      "head_dim",   "ffn_size", "vocab_size",  "context_length",
                                                  "tied_embeddings", "rope_theta", "ffn_kind", "n_experts",   "rotary_fraction",
                                                  "sliding_window",  "norm",       "qkv_bias", "params_total"};

struct rows {
    struct jl_csv csv;
    size_t at[COLUMNS];
    struct gguf_shape shape; /* of the current row */
};

static bool rows_open(struct rows *r)
{
    jl_csv_init(&r->csv, data_model_shapes.text, data_model_shapes.len);
    if (!jl_csv_next(&r->csv))
        return false;
    for (int c = 0; c < COLUMNS; c++) {
        for (r->at[c] = 0; r->at[c] < r->csv.n; r->at[c]++)
            if (strcmp(r->csv.fields[r->at[c]], column_names[c]) == 0)
                break;
        if (r->at[c] == r->csv.n)
            return false;
    }
    return true;
}

static const char *field(const struct rows *r, enum column c)
{
    return r->at[c] < r->csv.n ? r->csv.fields[r->at[c]] : "";
}

static bool whole(const struct rows *r, enum column c, int *out)
{
    int64_t v;
    if (!jl_parse_i64(field(r, c), &v) || v < 1 || v > INT32_MAX)
        return false;
    *out = (int)v;
    return true;
}

static bool read_shape(const struct rows *r, struct gguf_shape *s)
{
    const char *name = field(r, SHORT_NAME);
    *s = (struct gguf_shape){.tied = strcmp(field(r, TIED), "1") == 0};
    if (strlen(name) >= sizeof(s->name))
        return false;
    for (size_t i = 0; name[i]; i++)
        s->name[i] = (char)tolower((unsigned char)name[i]);
    return whole(r, N_LAYERS, &s->layers) && whole(r, HIDDEN_SIZE, &s->hidden) && whole(r, N_HEADS, &s->heads) &&
           whole(r, N_KV_HEADS, &s->kv_heads) && whole(r, HEAD_DIM, &s->head_dim) && whole(r, FFN_SIZE, &s->ffn) &&
           whole(r, VOCAB_SIZE, &s->vocab) && whole(r, CONTEXT_LENGTH, &s->context) &&
           jl_parse_double(field(r, ROPE_THETA), &s->rope_theta);
}

static bool is_plain_llama(const struct rows *r, const struct gguf_shape *s)
{
    double rotary;
    int window;
    int64_t params;
    return strcmp(field(r, FFN_KIND), "gated") == 0 && strcmp(field(r, NORM), "RMSNorm") == 0 && *field(r, N_EXPERTS) == '\0' &&
           strcmp(field(r, QKV_BIAS), "0") == 0 && jl_parse_double(field(r, ROTARY_FRACTION), &rotary) && rotary >= 1 &&
           (!whole(r, SLIDING_WINDOW, &window) || window >= s->context) && jl_parse_i64(field(r, PARAMS_TOTAL), &params) &&
           params == gguf_shape_params(s);
}

static bool rows_next(struct rows *r)
{
    while (jl_csv_next(&r->csv))
        if (read_shape(r, &r->shape) && is_plain_llama(r, &r->shape))
            return true;
    return false;
}

bool gguf_shape_get(size_t i, struct gguf_shape *out)
{
    struct rows r;
    bool found = false;
    *out = built_in(i);
    if (i < BUILT_IN)
        return true;
    i -= BUILT_IN;
    if (rows_open(&r))
        while (!found && rows_next(&r))
            found = i-- == 0;
    if (found)
        *out = r.shape;
    jl_csv_release(&r.csv);
    return found;
}

size_t gguf_shape_count(void)
{
    struct rows r;
    size_t n = BUILT_IN;
    if (rows_open(&r))
        while (rows_next(&r))
            n++;
    jl_csv_release(&r.csv);
    return n;
}

/* ---- by name ------------------------------------------------------------------------------------------------------- */

#define NAME_MAX_LETTERS 64

/* Letters and digits only, in lower case. */
static size_t letters(const char *name, char out[NAME_MAX_LETTERS])
{
    size_t n = 0;
    for (; *name && n < NAME_MAX_LETTERS; name++)
        if (isalnum((unsigned char)*name))
            out[n++] = (char)tolower((unsigned char)*name);
    return n;
}

/* Fewest letters to change, insert or leave out until `asked` is the beginning of `name` (Levenshtein, with a free end). */
static size_t distance(const char *asked, const char *name)
{
    char a[NAME_MAX_LETTERS], b[NAME_MAX_LETTERS];
    size_t n = letters(asked, a), m = letters(name, b), row[NAME_MAX_LETTERS + 1], best = n;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        best = i;
        for (size_t j = 1; j <= m; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]), other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < other ? change : other;
            best = row[j] < best ? row[j] : best;
        }
    }
    return best;
}

static void near_names(const char *name, struct jl_buf *out)
{
    const char *slash = strrchr(name, '/');
    const char *last = slash ? slash + 1 : name;
    char own[NAME_MAX_LETTERS];
    size_t best = letters(last, own) / 4;
    int listed = 0;
    struct gguf_shape s;
    for (size_t i = 0; gguf_shape_get(i, &s); i++)
        best = distance(last, s.name) < best ? distance(last, s.name) : best;
    for (size_t i = 0; *last && listed < 6 && gguf_shape_get(i, &s); i++)
        if (distance(last, s.name) == best)
            jl_buf_printf(out, "%s%s", listed++ ? ", " : "", s.name);
}

static enum joulet_status no_such_shape(const char *name, struct joulet_error *err)
{
    struct jl_buf names;
    jl_buf_init(&names, 400);
    near_names(name, &names);
    if (names.len)
        jl_fail(err, JOULET_NOT_FOUND, "no model shape is called '%.64s': near it are %s", name, names.data);
    else
        jl_fail(err, JOULET_NOT_FOUND,
                "no model shape is called '%.64s': `joulet model list` names the %zu there are, such as tiny or %s", name,
                gguf_shape_count(), "llama-3.2-1b");
    jl_buf_release(&names);
    return JOULET_NOT_FOUND;
}

enum joulet_status gguf_shape_find(const char *name, struct gguf_shape *out, struct joulet_error *err)
{
    struct rows r;
    bool found = false;
    for (size_t i = 0; i < BUILT_IN && !found; i++) {
        *out = built_in(i);
        found = strcasecmp(name, out->name) == 0;
    }
    if (found)
        return jl_ok(err);
    if (rows_open(&r))
        while (!found && rows_next(&r))
            found = strcasecmp(name, r.shape.name) == 0 || strcasecmp(name, field(&r, HF_ID)) == 0;
    if (found)
        *out = r.shape;
    jl_csv_release(&r.csv);
    return found ? jl_ok(err) : no_such_shape(name, err);
}

/* ---- changed ------------------------------------------------------------------------------------------------------- */

enum joulet_status gguf_shape_change(struct gguf_shape *s, const char *change, struct joulet_error *err)
{
    struct gguf_shape to = *s;
    const struct {
        const char *key;
        int *value;
        int step, most; /* rows of quantised weights are whole blocks */
    } rows[] = {{"layers", &to.layers, 1, GGUF_LAYERS_MAX},
                {"ffn", &to.ffn, 256, 1 << 20},
                {"heads", &to.heads, to.kv_heads, 1 << 12},
                {"vocab", &to.vocab, 64, 1 << 24}};
    const char *sign = strchr(change, '=');
    for (size_t i = 0; sign && i < JL_COUNT(rows); i++) {
        int64_t x;
        if (strlen(rows[i].key) != (size_t)(sign - change) || !jl_starts(change, rows[i].key))
            continue;
        if (!jl_parse_i64(sign + 1, &x) || x < rows[i].step || x > rows[i].most || x % rows[i].step)
            return jl_fail(err, JOULET_USAGE, "'%.40s': %s of %s must be a multiple of %d between %d and %d", change, rows[i].key,
                           s->name, rows[i].step, rows[i].step, rows[i].most);
        if (rows[i].value == &to.layers && x < s->layers)
            to.layers_of = s->layers_of ? s->layers_of : s->layers;
        *rows[i].value = (int)x;
        int n = snprintf(to.name, sizeof to.name, "%s-%s%lld", s->name, rows[i].key, (long long)x);
        if (n >= (int)sizeof to.name)
            return jl_fail(err, JOULET_USAGE, "'%.40s': too many changes of one shape; make do with fewer", change);
        *s = to;
        return jl_ok(err);
    }
    return jl_fail(err, JOULET_USAGE, "'%.40s' changes nothing that a shape has: it is layers=N, ffn=N, heads=N or vocab=N",
                   change);
}

/* ---- sizes --------------------------------------------------------------------------------------------------------- */

int64_t gguf_shape_params(const struct gguf_shape *s)
{
    int64_t d = s->hidden, q = (int64_t)s->heads * s->head_dim, kv = (int64_t)s->kv_heads * s->head_dim;
    int64_t ffn = 3 * d * s->ffn * (s->experts > 0 ? s->experts : 1) + d * s->experts;
    int64_t layer = 2 * d + 2 * d * q + 2 * d * kv + ffn;
    return s->layers * layer + d + (s->tied ? 1 : 2) * d * s->vocab;
}

int64_t gguf_shape_bytes(const struct gguf_shape *s, enum gguf_quant q)
{
    struct gguf_layout l;
    if (gguf_layout_init(&l, s, q, NULL) != JOULET_OK)
        return -1;
    /* The head: a token takes about 23 bytes, its type included, a tensor's description about 70. */
    int64_t bytes = (int64_t)l.data_bytes + 23 * (int64_t)s->vocab + 70 * (int64_t)l.n;
    gguf_layout_release(&l);
    return bytes;
}

static const struct {
    enum gguf_quant quant;
    const char *name;
} quants[] = {{GGUF_F32, "f32"}, {GGUF_F16, "f16"}, {GGUF_Q8_0, "q8_0"}, {GGUF_Q4_0, "q4_0"}};

const char *gguf_quant_name(enum gguf_quant q)
{
    for (size_t i = 0; i < JL_COUNT(quants); i++)
        if (quants[i].quant == q)
            return quants[i].name;
    return "unknown";
}

bool gguf_quant_find(const char *name, enum gguf_quant *out)
{
    for (size_t i = 0; i < JL_COUNT(quants); i++) {
        if (strcasecmp(name, quants[i].name) == 0) {
            *out = quants[i].quant;
            return true;
        }
    }
    return false;
}
