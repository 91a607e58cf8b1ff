/* serve_notify.c - what `serve` tells the service manager that started it, if one did. */
#include "cli/serve.h"

#include <inttypes.h>

static int64_t alive_next_ns; /* 0: nobody watches */

static void tell(const char *fmt, ...) JL_PRINTF(1, 2);
static void tell(const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    jl_service_tell(text);
}

void serve_notify_ready(const char *address)
{
    tell("READY=1\nSTATUS=listening on http://%s", address);
    alive_next_ns = jl_service_watchdog_s() > 0 ? jl_mono_ns() : 0;
}

void serve_notify_reloading(void)
{
    tell("RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=reading the settings again", jl_mono_ns() / 1000);
}

void serve_notify_stopping(unsigned left)
{
    tell("STOPPING=1\nSTATUS=waiting for %u answers under way", left);
}

/* Twice in each time that the manager allows. */
void serve_notify_alive(void)
{
    int64_t now_ns = jl_mono_ns();
    if (!alive_next_ns || now_ns < alive_next_ns)
        return;
    tell("WATCHDOG=1");
    alive_next_ns = now_ns + jl_ns(jl_service_watchdog_s() / 2);
}
