/* capture.c - whether a device launches graphs that were captured whole. CUDA and HIP backends capture what is handed to them,
 * after some equal turns, and launch it by one call; a callback cuts a graph into pieces, each captured by itself or not at all,
 * and going from one way to the other begins again. So launches are counted, with stops and without. Seen only where the
 * backend's calls go through its procedure linkage table: none seen means nothing. */
#include "probes/ggml/scheduler.h"

#include <string.h>

#define SITES     32
#define NOT_FOUND 302 /* cudaErrorSharedObjectSymbolNotFound, hipErrorSharedObjectSymbolNotFound */

typedef int launch(void *graph, void *stream);
/* A place in the process that launches. Others than the engine do too, each by the runtime it is linked with, and some only ask
 * whether there is such a function: none is handed the one of another, and none is ended where there is none. */
struct site {
    const void *_Atomic caller; /* NULL: free */
    launch *_Atomic real;       /* NULL: not known yet */
};

EXPORT int cudaGraphLaunch(void *graph, void *stream);
EXPORT int hipGraphLaunch(void *graph, void *stream);

static launch *look_up(const char *name, launch *ours, const void *caller)
{
    launch *real;
    void *found = probe_find(name, (const void *)ours, caller);
    memcpy(&real, &found, sizeof(found));
    return real;
}

static launch *real_of(struct site sites[SITES], const char *name, launch *ours, const void *caller)
{
    for (int i = 0; i < SITES; i++) {
        const void *there = atomic_load_explicit(&sites[i].caller, memory_order_relaxed);
        if (!there && atomic_compare_exchange_strong(&sites[i].caller, &there, caller))
            there = caller;
        if (there != caller)
            continue;
        launch *real = atomic_load_explicit(&sites[i].real, memory_order_relaxed);
        if (!real) {
            real = look_up(name, ours, caller);
            atomic_store_explicit(&sites[i].real, real, memory_order_relaxed);
        }
        return real;
    }
    return look_up(name, ours, caller);
}

#define LAUNCH(name)                                                                                                             \
    int name(void *graph, void *stream)                                                                                          \
    {                                                                                                                            \
        static struct site sites[SITES];                                                                                         \
        launch *real = real_of(sites, #name, name, __builtin_return_address(0));                                                 \
        if (!real)                                                                                                               \
            return NOT_FOUND;                                                                                                    \
        scheduler_launched();                                                                                                    \
        return real(graph, stream);                                                                                              \
    }
LAUNCH(cudaGraphLaunch)
LAUNCH(hipGraphLaunch)
