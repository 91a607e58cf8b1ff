/* runtime_elf.c - what a program or library asks the loader for: DT_NEEDED and PT_INTERP of a 64-bit little-endian ELF file
 * (System V ABI, chapters 4 and 5). Every offset comes from the file and is checked before use. */
#include "llm/runtime_private.h"

#include <stdlib.h>
#include <string.h>

#define NAMES_MAX 256

enum { PT_LOAD = 1, PT_DYNAMIC = 2, PT_INTERP = 3, DT_NULL = 0, DT_NEEDED = 1, DT_STRTAB = 5, DT_STRSZ = 10 };

struct elf {
    const uint8_t *at;
    size_t n;
    uint64_t headers, header_size, header_count;
};
struct segment {
    uint64_t type, offset, address, bytes;
};
struct dynamic {
    uint64_t offset, bytes;         /* of the dynamic section in the file */
    uint64_t strings, string_bytes; /* of its string table in the file; 0: none */
};

static uint64_t number(const struct elf *e, uint64_t at, int bytes)
{
    uint64_t v = 0;
    if (at > e->n || (uint64_t)bytes > e->n - at)
        return 0;
    for (int i = bytes; i-- > 0;)
        v = v << 8 | e->at[at + (uint64_t)i];
    return v;
}

static bool segment_at(const struct elf *e, uint64_t i, struct segment *s)
{
    uint64_t at = e->headers + i * e->header_size;
    if (at > e->n || e->header_size > e->n - at)
        return false;
    *s = (struct segment){number(e, at, 4), number(e, at + 8, 8), number(e, at + 16, 8), number(e, at + 32, 8)};
    return s->offset <= e->n && s->bytes <= e->n - s->offset;
}

/* Where an address of the loaded program lies in the file; UINT64_MAX: nowhere. */
static uint64_t file_offset(const struct elf *e, uint64_t address)
{
    struct segment s;
    for (uint64_t i = 0; i < e->header_count; i++)
        if (segment_at(e, i, &s) && s.type == PT_LOAD && address >= s.address && address - s.address < s.bytes)
            return s.offset + (address - s.address);
    return UINT64_MAX;
}

/* A NUL-terminated string inside [offset, offset + limit) of the file; NULL if it is not one. */
static const char *string_at(const struct elf *e, uint64_t offset, uint64_t limit)
{
    if (offset >= e->n)
        return NULL;
    uint64_t left = e->n - offset < limit ? e->n - offset : limit;
    return memchr(e->at + offset, 0, (size_t)left) ? (const char *)e->at + offset : NULL;
}

static void find_strings(const struct elf *e, struct dynamic *d)
{
    for (uint64_t at = 0; at + 16 <= d->bytes; at += 16) {
        uint64_t tag = number(e, d->offset + at, 8), value = number(e, d->offset + at + 8, 8);
        if (tag == DT_NULL)
            return;
        if (tag == DT_STRTAB)
            d->strings = file_offset(e, value);
        if (tag == DT_STRSZ)
            d->string_bytes = value;
    }
}

static enum joulet_status add_needed(const struct elf *e, const struct dynamic *d, uint64_t value, struct elf_needs *out,
                                     struct joulet_error *err)
{
    const char *name = NULL;
    if (d->strings < e->n && value < d->string_bytes && value < e->n - d->strings)
        name = string_at(e, d->strings + value, d->string_bytes - value);
    if (!name || !*name || strchr(name, '/') || out->n == NAMES_MAX)
        return jl_fail(err, JOULET_FORMAT, "it names its libraries in a damaged table");
    char **names = realloc(out->names, (out->n + 1) * sizeof(*names));
    char *copy = jl_strdup(name);
    if (names)
        out->names = names;
    if (!names || !copy) {
        free(copy);
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    }
    out->names[out->n++] = copy;
    return jl_ok(err);
}

static enum joulet_status read_dynamic(const struct elf *e, struct dynamic *d, struct elf_needs *out, struct joulet_error *err)
{
    enum joulet_status status = jl_ok(err);
    find_strings(e, d);
    for (uint64_t at = 0; at + 16 <= d->bytes && status == JOULET_OK; at += 16) {
        uint64_t tag = number(e, d->offset + at, 8);
        if (tag == DT_NULL)
            break;
        if (tag == DT_NEEDED)
            status = add_needed(e, d, number(e, d->offset + at + 8, 8), out, err);
    }
    return status;
}

static enum joulet_status read_segment(const struct elf *e, const struct segment *s, struct elf_needs *out,
                                       struct joulet_error *err)
{
    if (s->type == PT_DYNAMIC)
        return read_dynamic(e, &(struct dynamic){.offset = s->offset, .bytes = s->bytes}, out, err);
    if (s->type == PT_INTERP && !out->interpreter) {
        const char *path = string_at(e, s->offset, s->bytes);
        out->interpreter = path ? jl_strdup(path) : NULL;
        if (!out->interpreter)
            return jl_fail(err, JOULET_FORMAT, "it names no loader");
    }
    return jl_ok(err);
}

enum joulet_status elf_needs_parse(const uint8_t *bytes, size_t n, struct elf_needs *out, struct joulet_error *err)
{
    static const uint8_t magic[6] = {0x7f, 'E', 'L', 'F', 2, 1}; /* 64 bits, little-endian */
    struct elf e = {.at = bytes, .n = n};
    struct segment s;
    *out = (struct elf_needs){0};
    if (n < 64 || memcmp(bytes, magic, sizeof(magic)) != 0)
        return jl_fail(err, JOULET_FORMAT, "it is no 64-bit ELF file");
    e.headers = number(&e, 32, 8);
    e.header_size = number(&e, 54, 2);
    e.header_count = number(&e, 56, 2);
    enum joulet_status status = jl_ok(err);
    if (e.headers > n || e.header_size < 56)
        status = jl_fail(err, JOULET_FORMAT, "its program headers are damaged");
    for (uint64_t i = 0; i < e.header_count && status == JOULET_OK; i++) {
        if (!segment_at(&e, i, &s))
            status = jl_fail(err, JOULET_FORMAT, "it is cut off");
        else
            status = read_segment(&e, &s, out, err);
    }
    if (status != JOULET_OK)
        elf_needs_release(out);
    return status;
}

void elf_needs_release(struct elf_needs *e)
{
    for (size_t i = 0; i < e->n; i++)
        free(e->names[i]);
    free(e->names);
    free(e->interpreter);
    *e = (struct elf_needs){0};
}
