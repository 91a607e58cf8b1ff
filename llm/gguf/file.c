/* file.c - reads as much of a GGUF file as its head needs, and names the file by a digest of that. */
#include "llm/gguf/head.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FIRST_READ ((size_t)1 << 20)
#define HEAD_MAX   ((size_t)256 << 20) /* large vocabularies take about 10 MiB */

static enum joulet_status open_file(const char *path, FILE **f, int64_t *bytes, struct joulet_error *err)
{
    struct stat st;
    *f = fopen(path, "rb");
    if (!*f && errno == ENOENT)
        return jl_fail(err, JOULET_NOT_FOUND, "%s: no such file; `joulet model list` shows the models there are", path);
    if (!*f && errno == EACCES)
        return jl_fail(err, JOULET_PERMISSION, "%s may not be read by this user: change its permissions", path);
    if (!*f)
        return jl_fail(err, JOULET_IO, "%s could not be opened: %s", path, strerror(errno));
    if (fstat(fileno(*f), &st) == 0 && S_ISREG(st.st_mode)) {
        *bytes = (int64_t)st.st_size;
        return jl_ok(err);
    }
    fclose(*f);
    return jl_fail(err, JOULET_FORMAT, "%s is no regular file: give a GGUF file", path);
}

static void make_digest(struct gguf_head *h, const uint8_t *head, size_t n)
{
    struct jl_sha256 s;
    uint8_t size[8];
    for (int i = 0; i < 8; i++)
        size[i] = (uint8_t)((uint64_t)h->bytes >> (8 * i));
    jl_sha256_init(&s);
    jl_sha256_add(&s, head, n);
    jl_sha256_add(&s, size, sizeof(size));
    jl_sha256_hex(&s, h->digest);
}

/* Reads on until the head is whole, in pieces that double. model: all of the head, or NULL. */
static enum joulet_status read_head(FILE *f, const char *path, int64_t bytes, struct gguf_head *out, struct gguf_model *model,
                                    struct joulet_error *err)
{
    uint8_t *head = NULL;
    size_t have = 0, want = FIRST_READ, used = 0;
    enum joulet_status status;
    struct joulet_error why = {0};
    bool cut = true;
    do {
        uint8_t *more = realloc(head, want);
        if (!more) {
            free(head);
            return jl_fail(err, JOULET_MEMORY, "%s: out of memory for its head", path);
        }
        head = more;
        have += fread(head + have, 1, want - have, f);
        status =
            model ? gguf_take_model(head, have, model, &used, &cut, &why) : gguf_take_head(head, have, out, &used, &cut, &why);
        if (status == JOULET_OK || !cut || have < want)
            break;
        want *= 2;
    } while (want <= HEAD_MAX);
    if (status == JOULET_OK) {
        if (model)
            *out = model->head;
        out->bytes = bytes;
        make_digest(out, head, used);
        jl_ok(err);
    } else {
        jl_fail(err, status, "%s cannot be read as a model: %s; give a whole GGUF file", path, why.message);
    }
    free(head);
    return status;
}

static enum joulet_status read_path(const char *path, struct gguf_head *out, struct gguf_model *model, struct joulet_error *err)
{
    FILE *f;
    int64_t bytes = -1;
    *out = (struct gguf_head){.bytes = -1};
    enum joulet_status status = open_file(path, &f, &bytes, err);
    if (status != JOULET_OK)
        return status;
    setvbuf(f, NULL, _IONBF, 0);
    status = read_head(f, path, bytes, out, model, err);
    fclose(f);
    return status;
}

enum joulet_status gguf_read_head(const char *path, struct gguf_head *out, struct joulet_error *err)
{
    return read_path(path, out, NULL, err);
}

enum joulet_status gguf_read_model(const char *path, struct gguf_model *out, struct joulet_error *err)
{
    struct gguf_head head;
    *out = (struct gguf_model){.weights = NULL};
    enum joulet_status status = read_path(path, &head, out, err);
    out->head = head;
    return status;
}

/* ---- a model of ours ---------------------------------------------------------------------------------------------------- */

static bool begins_with(const char *path, const struct jl_buf *head, uint64_t bytes)
{
    FILE *f;
    int64_t have = -1;
    if (open_file(path, &f, &have, NULL) != JOULET_OK)
        return false;
    char *start = (uint64_t)have == bytes ? malloc(head->len) : NULL;
    bool same = start && fread(start, 1, head->len, f) == head->len && memcmp(start, head->data, head->len) == 0;
    free(start);
    fclose(f);
    return same;
}

bool gguf_is_written(const char *path, const struct gguf_shape *shape, enum gguf_quant quant, uint64_t seed)
{
    struct gguf_layout layout;
    struct jl_buf head;
    if (gguf_layout_init(&layout, shape, quant, NULL) != JOULET_OK)
        return false;
    bool same = gguf_head_make(&head, shape, &layout, quant, seed, NULL) == JOULET_OK;
    if (same) {
        same = begins_with(path, &head, head.len + layout.data_bytes);
        jl_buf_release(&head);
    }
    gguf_layout_release(&layout);
    return same;
}

/* "-layers4-ffn512": what was changed of a shape, in the order of its name. */
static bool change_again(struct gguf_shape *s, const char *rest)
{
    char change[32];
    while (*rest == '-') {
        size_t key = strcspn(++rest, "0123456789"), n = key + strspn(rest + key, "0123456789");
        if (!key || n == key || (rest[n] && rest[n] != '-') || n + 2 > sizeof change)
            return false;
        snprintf(change, sizeof change, "%.*s=%.*s", (int)key, rest, (int)(n - key), rest + key);
        if (gguf_shape_change(s, change, NULL) != JOULET_OK)
            return false;
        rest += n;
    }
    return *rest == '\0';
}

bool gguf_find_made(const char *path, struct gguf_made *out)
{
    static const char tail[] = "-synthetic";
    struct gguf_head h;
    struct joulet_error err;
    size_t n;
    if (gguf_read_head(path, &h, &err) != JOULET_OK || h.seed < 0 || !gguf_quant_find(h.quantisation, &out->quant))
        return false;
    n = strlen(h.name);
    if (n <= sizeof tail - 1 || strcmp(h.name + n - (sizeof tail - 1), tail) != 0)
        return false;
    h.name[n - (sizeof tail - 1)] = '\0';
    out->seed = (uint64_t)h.seed;
    for (size_t i = 0; gguf_shape_get(i, &out->shape); i++)
        if (jl_starts(h.name, out->shape.name) && change_again(&out->shape, h.name + strlen(out->shape.name)) &&
            gguf_is_written(path, &out->shape, out->quant, out->seed))
            return true;
    return false;
}
