/* The calibration file: what is accepted holds what it promises, and is read again as it is written. */
#include "lib/meter/calibration.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void check_entry(const struct joulet_calibrated *e)
{
    if (!e->sensor[0] || !e->channel[0] || !(e->period_s > 0) || !(e->window_s >= 0) || !(e->u_lag_s > 0) ||
        !isfinite(e->lag_s) || (unsigned)e->reading >= JOULET_READING_COUNT || (unsigned)e->verdict > JOULET_VERDICT_GOOD ||
        e->at_s < 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct joulet_calibration_file f, again;
    struct joulet_error err;
    struct jl_buf text;
    enum joulet_status status = calibration_parse((const char *)data, size, "fuzz", &f, &err);
    if (status != JOULET_OK) {
        if (!err.message[0] || f.n || f.entries)
            abort();
        return 0;
    }
    for (size_t i = 0; i < f.n; i++)
        check_entry(&f.entries[i]);
    jl_buf_init(&text, 2 * CALIBRATION_FILE_MAX);
    if (!calibration_write(&f, &text))
        abort();
    if (text.len <= CALIBRATION_FILE_MAX &&
        (calibration_parse(text.data, text.len, "again", &again, &err) != JOULET_OK || again.n != f.n))
        abort();
    if (text.len <= CALIBRATION_FILE_MAX)
        joulet_calibration_release(&again);
    jl_buf_release(&text);
    joulet_calibration_release(&f);
    return 0;
}
