/* trace.c - the trace switch: JOULET_TRACE=sensor,engine names the components that explain themselves on stderr.
 * Read at each call, so that a test or a debugger can switch it; a call costs one look into the environment. */
#include "lib/base/base.h"

#include <stdio.h>
#include <stdlib.h>

bool jl_trace_on(const char *component)
{
    /* secure_getenv: a privileged process must not be talked into printing what it reads. */
    const char *list = secure_getenv("JOULET_TRACE");
    return list && (jl_word_in(list, ',', component) || jl_word_in(list, ',', "all"));
}

void jl_trace(const char *component, const char *fmt, ...)
{
    if (!jl_trace_on(component))
        return;
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    /* One call a line: lines of several threads stay whole. */
    fprintf(stderr, "joulet %.6f %s: %s\n", jl_s(jl_mono_ns()), component, line);
}
