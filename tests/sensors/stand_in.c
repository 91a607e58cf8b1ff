/* stand_in.c - see stand_in.h. Counts move every millisecond in steps of 2^-14 J, like the registers behind perf events. */
#include "tests/sensors/stand_in.h"

#include "lib/base/base.h"
#include "lib/sensors/dcmi.h"
#include "lib/sensors/perf.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define HANDLE 1000000

struct stand_in stand_in;

double stand_in_power(int64_t t_ns)
{
    double t = jl_s(t_ns - stand_in.begin_ns), w = stand_in.power_w;
    for (int i = 0; i < stand_in.n_steps && stand_in.steps[i][0] <= t; i++)
        w = stand_in.steps[i][1];
    return w;
}

double stand_in_energy(int64_t t_ns)
{
    double t = jl_s(t_ns - stand_in.begin_ns), from = 0, w = stand_in.power_w, e = 0;
    for (int i = 0; i < stand_in.n_steps && stand_in.steps[i][0] < t; i++) {
        e += w * (stand_in.steps[i][0] - from);
        from = stand_in.steps[i][0];
        w = stand_in.steps[i][1];
    }
    return e + w * (t - from);
}

/* ---- perf --------------------------------------------------------------------------------------------------------------- */

static int event_open(uint32_t type, uint64_t config, int cpu)
{
    (void)type;
    (void)cpu;
    if (stand_in.open_error || config == 0) {
        errno = stand_in.open_error ? stand_in.open_error : EINVAL;
        return -1;
    }
    stand_in.opened++;
    return HANDLE;
}

static bool event_read(int handle, uint64_t *count)
{
    if (stand_in.read_error || handle != HANDLE) {
        errno = stand_in.read_error ? stand_in.read_error : EBADF;
        return false;
    }
    int64_t now = jl_mono_ns();
    double e = stand_in_energy(now - now % 1000000);
    *count = stand_in.counted ? stand_in.count : e > 0 ? (uint64_t)floor(e * 0x1p14) << 18 : 0;
    return true;
}

static void handle_close(int handle)
{
    (void)handle;
    stand_in.closed++;
}

static const struct perf_calls events = {event_open, event_read, handle_close};

/* ---- the controller ---------------------------------------------------------------------------------------------- */

static int bmc_open(const char *path)
{
    int error = stand_in.open_error ? stand_in.open_error : stand_in.controller_error;
    if (error || !strstr(path, "ipmi0")) {
        errno = error ? error : ENOENT;
        return -1;
    }
    stand_in.opened++;
    return HANDLE;
}

static void put(uint8_t *at, uint32_t v, int n)
{
    for (int i = 0; i < n; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

static int bmc_ask(int handle, uint8_t netfn, uint8_t command, const uint8_t *data, size_t n, uint8_t *answer, size_t room)
{
    static const uint8_t want[] = {0xdc, 0x01, 0x00, 0x00};
    uint8_t full[19] = {stand_in.code, stand_in.nonsense ? 0x00 : 0xdc};
    if (stand_in.read_error || handle != HANDLE) {
        errno = stand_in.read_error ? stand_in.read_error : EBADF;
        return -1;
    }
    if (netfn != 0x2c || command != 0x02 || n != sizeof(want) || memcmp(data, want, n) != 0)
        full[0] = 0xc1;
    uint32_t w = (uint32_t)lround(stand_in_power(jl_mono_ns()));
    put(full + 2, w, 2);
    put(full + 4, 10, 2);
    put(full + 6, 500, 2);
    put(full + 8, w, 2);
    put(full + 10, 1700000000, 4);
    put(full + 14, stand_in.period_ms, 4);
    full[18] = stand_in.inactive ? 0 : 0x40;
    size_t len = full[0] ? 1 : sizeof(full);
    len = len < room ? len : room;
    memcpy(answer, full, len);
    return (int)len;
}

static const struct dcmi_calls controller = {bmc_open, bmc_ask, handle_close};

void stand_in_begin(double power_w)
{
    stand_in = (struct stand_in){.power_w = power_w, .begin_ns = jl_mono_ns(), .period_ms = 1000};
    perf_calls = &events;
    dcmi_calls = &controller;
}

void stand_in_end(void)
{
    perf_calls = &perf_kernel;
    dcmi_calls = &dcmi_kernel;
}
