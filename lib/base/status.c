/* status.c - a status for programs, a sentence for people.
 * Only what rooms outside libjoulet need too; the public texts of a status are in lib/api.c. */
#include "lib/base/base.h"

#include <stdio.h>

enum joulet_status jl_fail(struct joulet_error *err, enum joulet_status status, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        err->status = status;
        va_start(ap, fmt);
        int n = vsnprintf(err->message, sizeof(err->message), fmt, ap);
        va_end(ap);
        if (n < 0)
            err->message[0] = '\0';
        if (n < (int)sizeof(err->message))
            return status;
        /* A message cut inside a multi-byte character would not be UTF-8: step back to the start of that character. */
        size_t end = sizeof(err->message) - 1;
        while (end > 0 && ((unsigned char)err->message[end - 1] & 0xC0) == 0x80)
            end--;
        if (end > 0 && ((unsigned char)err->message[end - 1] & 0x80))
            end--;
        err->message[end] = '\0';
    }
    return status;
}

enum joulet_status jl_ok(struct joulet_error *err)
{
    if (err) {
        err->status = JOULET_OK;
        err->message[0] = '\0';
    }
    return JOULET_OK;
}
