/* Any bytes as a package index, a Release file, the log of an engine and an ELF file: what an installation and a start read. */
#include "llm/runtime_private.h"

#include <stdlib.h>
#include <string.h>

static void check_index(const char *text, size_t n)
{
    struct package_index x;
    if (package_index_init(&x, text, n, NULL) != JOULET_OK)
        return;
    for (int libraries_only = 0; libraries_only < 2; libraries_only++) {
        struct package_set set;
        if (package_closure(&x, "tool", libraries_only, &set, NULL) != JOULET_OK)
            continue;
        for (size_t i = 0; i < set.n; i++)
            for (size_t k = 0; k < i; k++)
                if (set.items[i] == set.items[k]) /* once each, whatever circles there are */
                    abort();
        package_set_release(&set);
    }
    package_index_release(&x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct telling t;
    struct elf_needs needs;
    int64_t unix_s;
    check_index(text, size);
    package_release_date(text, size, &unix_s);
    runtime_telling(text, size, &t);
    if (strlen(t.line) >= sizeof(t.line))
        abort();
    if (elf_needs_parse(data, size, &needs, NULL) == JOULET_OK) {
        for (size_t i = 0; i < needs.n; i++)
            if (!needs.names[i][0] || strchr(needs.names[i], '/'))
                abort();
        elf_needs_release(&needs);
    }
    return 0;
}
