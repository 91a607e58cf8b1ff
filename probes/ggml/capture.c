/* capture.c - whether a device launches graphs that were captured whole. CUDA and HIP backends capture what is handed to them,
 * after some equal turns, and launch it by one call; a callback cuts a graph into pieces, each captured by itself or not at all,
 * and going from one way to the other begins again. So launches are counted, with stops and without. Seen only where the
 * backend's calls go through its procedure linkage table: none seen means nothing. */
#include "probes/ggml/scheduler.h"

EXPORT int cudaGraphLaunch(void *graph, void *stream);
EXPORT int hipGraphLaunch(void *graph, void *stream);

int cudaGraphLaunch(void *graph, void *stream)
{
    REAL(cudaGraphLaunch);
    scheduler_launched();
    return real(graph, stream);
}

int hipGraphLaunch(void *graph, void *stream)
{
    REAL(hipGraphLaunch);
    scheduler_launched();
    return real(graph, stream);
}
