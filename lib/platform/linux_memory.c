/* linux_memory.c - memory that the program holds without needing it: the kernel maps whole neighbourhoods of every page of a
 * library that is touched, and the loader touches all of them once. */
#include "lib/platform/platform.h"

#include <link.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A debugger has written its breakpoints into the pages that would be read anew. */
static bool traced(void)
{
    char text[4096];
    FILE *f = fopen("/proc/self/status", "re");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = '\0';
    return !strstr(text, "TracerPid:\t0\n");
}

static int give_back(struct dl_phdr_info *info, size_t size, void *user)
{
    uintptr_t page = *(const uintptr_t *)user;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t from = (info->dlpi_addr + p->p_vaddr + page - 1) & ~(page - 1);
        uintptr_t to = (info->dlpi_addr + p->p_vaddr + p->p_filesz) & ~(page - 1);
        if (p->p_type == PT_LOAD && !(p->p_flags & PF_W) && from < to)
            madvise((void *)from, to - from, MADV_DONTNEED);
    }
    return 0;
}

void jl_memory_trim(void)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (!traced())
        dl_iterate_phdr(give_back, &page);
}

void jl_heap_of_few(void)
{
#ifdef M_ARENA_MAX
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    mallopt(M_ARENA_MAX, processors > 2 ? (int)processors : 2);
#endif
}

void jl_heap_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}
