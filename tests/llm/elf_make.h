/* elf_make.h - the smallest 64-bit ELF file that asks for libraries and a loader, for tests of what reads them. */
#ifndef TESTS_LLM_ELF_MAKE_H
#define TESTS_LLM_ELF_MAKE_H

#include "lib/base/base.h"

#include <string.h>

static inline void elf_put(struct jl_buf *b, uint64_t v, int bytes)
{
    uint8_t le[8];
    for (int i = 0; i < 8; i++)
        le[i] = (uint8_t)(v >> (8 * i));
    jl_buf_add(b, le, (size_t)bytes);
}

static inline void elf_segment(struct jl_buf *b, uint32_t type, uint64_t offset, uint64_t bytes)
{
    elf_put(b, type, 4);
    elf_put(b, 4, 4);                /* flags */
    elf_put(b, offset, 8);           /* in the file */
    elf_put(b, offset + 0x10000, 8); /* in memory */
    elf_put(b, 0, 8);
    elf_put(b, bytes, 8);
    elf_put(b, bytes, 8);
    elf_put(b, 16, 8);
}

/* needs: NULL-terminated sonames; interpreter NULL for a library. */
static inline void elf_make(struct jl_buf *b, const char *const *needs, const char *interpreter)
{
    struct jl_buf strings, dynamic;
    uint64_t headers = interpreter ? 3 : 2, start = 64 + 56 * headers, n_needs = 0;
    jl_buf_init(&strings, 65536);
    jl_buf_init(&dynamic, 65536);
    jl_buf_add(&strings, "", 1);
    for (; needs[n_needs]; n_needs++) {
        elf_put(&dynamic, 1, 8);
        elf_put(&dynamic, strings.len, 8);
        jl_buf_add(&strings, needs[n_needs], strlen(needs[n_needs]) + 1);
    }
    uint64_t dynamic_bytes = 16 * (n_needs + 3), strings_at = start + dynamic_bytes, interp_at = strings_at + strings.len;
    elf_put(&dynamic, 5, 8);
    elf_put(&dynamic, strings_at + 0x10000, 8);
    elf_put(&dynamic, 10, 8);
    elf_put(&dynamic, strings.len, 8);
    elf_put(&dynamic, 0, 8);
    elf_put(&dynamic, 0, 8);
    uint64_t end = interp_at + (interpreter ? strlen(interpreter) + 1 : 0);
    jl_buf_init(b, 1 << 20);
    jl_buf_add(b, "\x7f\x45LF\x02\x01\x01\0\0\0\0\0\0\0\0\0", 16);
    elf_put(b, 3, 2), elf_put(b, 62, 2), elf_put(b, 1, 4);
    elf_put(b, 0, 8), elf_put(b, 64, 8), elf_put(b, 0, 8);
    elf_put(b, 0, 4), elf_put(b, 64, 2), elf_put(b, 56, 2), elf_put(b, headers, 2);
    elf_put(b, 0, 2), elf_put(b, 0, 2), elf_put(b, 0, 2);
    elf_segment(b, 1, 0, end);
    elf_segment(b, 2, start, dynamic_bytes);
    if (interpreter)
        elf_segment(b, 3, interp_at, end - interp_at);
    jl_buf_add(b, dynamic.data, dynamic.len);
    jl_buf_add(b, strings.data, strings.len);
    if (interpreter)
        jl_buf_add(b, interpreter, strlen(interpreter) + 1);
    jl_buf_release(&strings);
    jl_buf_release(&dynamic);
}

#endif
