/* ipmi.c - power of a whole server from its management controller: DCMI "Get Power Reading" through /dev/ipmi0
 * (docs/sensors/ipmi.md). Whole watts, a new value every second or slower, averaged over the period that the controller tells. It
 * is measured at the power supplies and contains what all other sensors see: it stands beside the total. */
#include "lib/sensors/dcmi.h"
#include "lib/sensors/sensor.h"
#include "lib/sensors/sysfile.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ipmi.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MAX_W     60000.0
#define LEAST_S   1.0
#define MOST_S    60.0
#define ANSWER_MS 3000

/* ---- the kernel -------------------------------------------------------------------------------------------------- */

static int kernel_open(const char *path)
{
    return open(path, O_RDWR | O_CLOEXEC);
}

static bool send_command(int handle, uint8_t netfn, uint8_t command, const uint8_t *data, size_t n, long id)
{
    struct ipmi_system_interface_addr bmc = {.addr_type = IPMI_SYSTEM_INTERFACE_ADDR_TYPE, .channel = IPMI_BMC_CHANNEL};
    struct ipmi_req req = {.addr = (unsigned char *)&bmc,
                           .addr_len = sizeof(bmc),
                           .msgid = id,
                           .msg = {.netfn = netfn, .cmd = command, .data = (unsigned char *)data, .data_len = (unsigned short)n}};
    return ioctl(handle, IPMICTL_SEND_COMMAND, &req) == 0;
}

/* -1 with errno; 0: an answer to something else. */
static int receive(int handle, uint8_t *answer, size_t room, long id)
{
    struct ipmi_addr addr;
    struct ipmi_recv got = {
        .addr = (unsigned char *)&addr, .addr_len = sizeof(addr), .msg = {.data = answer, .data_len = (unsigned short)room}};
    if (ioctl(handle, IPMICTL_RECEIVE_MSG_TRUNC, &got) != 0 && errno != EMSGSIZE)
        return -1;
    return got.recv_type == IPMI_RESPONSE_RECV_TYPE && got.msgid == id ? got.msg.data_len : 0;
}

static int kernel_ask(int handle, uint8_t netfn, uint8_t command, const uint8_t *data, size_t n, uint8_t *answer, size_t room)
{
    static _Atomic long next = 1;
    long id = next++;
    if (!send_command(handle, netfn, command, data, n, id))
        return -1;
    int64_t until = jl_mono_ns() + ANSWER_MS * INT64_C(1000000);
    for (int64_t left = ANSWER_MS; left > 0; left = (until - jl_mono_ns()) / 1000000) {
        struct pollfd p = {.fd = handle, .events = POLLIN};
        int ready = poll(&p, 1, (int)left), len = 0;
        if (ready > 0)
            len = receive(handle, answer, room, id);
        if (len != 0 || (ready < 0 && errno != EINTR))
            return len > 0 ? len : -1;
    }
    errno = ETIMEDOUT;
    return -1;
}

static void kernel_close(int handle)
{
    close(handle);
}

const struct dcmi_calls dcmi_kernel = {kernel_open, kernel_ask, kernel_close};
const struct dcmi_calls *dcmi_calls = &dcmi_kernel;

/* ---- reading ----------------------------------------------------------------------------------------------------- */

extern const struct sensor_ops sensor_ipmi;

struct bmc {
    struct sensor base;
    int handle; /* -1 while it is away */
    int64_t look_ns;
    char path[SYSFILE_PATH];
};

static enum dcmi_result ask(int handle, struct dcmi_power *out, int *error)
{
    uint8_t answer[DCMI_RESPONSE + 13];
    int n = dcmi_calls->ask(handle, DCMI_NETFN, DCMI_POWER, dcmi_request, DCMI_REQUEST, answer, sizeof(answer));
    *error = n < 0 ? errno : 0;
    return dcmi_parse(answer, n < 0 ? 0 : (size_t)n, out);
}

static bool still_there(struct bmc *b, int64_t now)
{
    if (b->handle >= 0 || now - b->look_ns < sysfile_look_ns)
        return b->handle >= 0;
    b->look_ns = now;
    b->handle = dcmi_calls->open(b->path);
    return b->handle >= 0;
}

static void lose(struct bmc *b, int64_t now)
{
    dcmi_calls->close(b->handle);
    b->handle = -1;
    b->look_ns = now;
}

static enum joulet_status status_of(enum dcmi_result r, int error)
{
    if (error)
        return sysfile_status(error);
    return r == DCMI_REFUSED ? JOULET_PERMISSION : r == DCMI_NONE ? JOULET_GONE : r == DCMI_NONSENSE ? JOULET_FORMAT : JOULET_IO;
}

static void bmc_read(struct sensor *s, struct sensor_reading *readings, bool gauges)
{
    struct bmc *b = jl_container_of(s, struct bmc, base);
    struct dcmi_power power;
    int error;
    (void)gauges;
    readings[0] = (struct sensor_reading){.status = JOULET_GONE};
    if (!still_there(b, jl_mono_ns()))
        return;
    enum dcmi_result r = ask(b->handle, &power, &error);
    if (r == DCMI_OK) {
        readings[0].status = JOULET_OK;
        if (power.active) /* one that does not measure shows its last value, or 0 */
            jl_power_take((uint64_t)power.now_w * 1000000, MAX_W, &readings[0]);
        return;
    }
    readings[0].status = status_of(r, error);
    if (error && readings[0].status == JOULET_GONE)
        lose(b, jl_mono_ns());
}

static void bmc_close(struct sensor *s)
{
    struct bmc *b = jl_container_of(s, struct bmc, base);
    if (b->handle >= 0)
        dcmi_calls->close(b->handle);
    sensor_release(s);
    free(b);
}

/* ---- discovery ---------------------------------------------------------------------------------------------------------- */

/* Sampling periods that cannot be are not told. */
static double window_of(const struct dcmi_power *p)
{
    double s = p->period_ms * 1e-3;
    return s < LEAST_S ? LEAST_S : s > MOST_S ? MOST_S : s;
}

/* How often the controller takes a new value is not told: twice its averaging period is a cautious guess. */
static bool describe(struct bmc *b, const struct dcmi_power *p, enum joulet_provenance provenance, bool named)
{
    struct joulet_channel ch = SENSOR_CHANNEL_INIT;
    ch.id = "server0.power";
    ch.device = "whole server, by its management controller";
    ch.quantity = JOULET_POWER;
    ch.group = JOULET_GROUP_PLATFORM;
    ch.domain = JOULET_DOMAIN_CHASSIS;
    ch.in_total = named;
    ch.provenance = provenance;
    ch.window_s = window_of(p);
    ch.period_s = 2 * ch.window_s;
    ch.quantum_j = 1;
    ch.lag_s = ch.window_s / 2;
    ch.u_lag_s = ch.window_s / 2;
    ch.lag_max_s = 2 * ch.period_s;
    ch.rise_s = 0.1;
    ch.spec = 0.05;
    return sensor_channel_add(&b->base, &ch) && sensor_fact_add(&b->base, "server0", "driver", "IPMI DCMI") &&
           sensor_fact_add(&b->base, "server0", "averaged_s", "%.6g", p->period_ms * 1e-3) &&
           (p->active || sensor_fact_add(&b->base, "server0", "silent",
                                         "the management controller does not measure: power monitoring is off"));
}

static void tell(struct sensor_list *out, const char *path, enum dcmi_result r, int error)
{
    bool closed = error && sysfile_status(error) == JOULET_PERMISSION;
    if (closed || r == DCMI_REFUSED)
        sensor_list_problem(out, "ipmi", JOULET_PERMISSION,
                            "%s may be used by root only: run joulet with sudo, or leave out the power of the whole server",
                            path);
    else if (error)
        sensor_list_problem(
            out, "ipmi", JOULET_IO,
            "the management controller does not answer at %s (%s): `sudo modprobe ipmi_si` loads its driver; a restart of "
            "the controller may help",
            path, strerror(error));
    else if (r == DCMI_NONSENSE || r == DCMI_BUSY)
        sensor_list_problem(
            out, "ipmi", JOULET_FORMAT,
            "the management controller at %s answers a question for its power with something else: update its firmware", path);
}

static int open_any(struct bmc *b, int *error)
{
    static const char *const names[] = {"ipmi0", "ipmi/0", "ipmidev/0"};
    *error = ENOENT;
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        int n = snprintf(b->path, sizeof(b->path), "%s/%s", jl_devfs_root(), names[i]);
        if (n < 0 || (size_t)n >= sizeof(b->path))
            continue;
        b->handle = dcmi_calls->open(b->path);
        *error = b->handle < 0 ? errno : 0;
        if (*error != ENOENT && *error != ENOTDIR)
            break;
    }
    return b->handle;
}

static enum joulet_status ipmi_discover(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    struct dcmi_power power;
    int error = 0;
    struct bmc *b = calloc(1, sizeof(*b));
    if (!b)
        return jl_fail(err, JOULET_MEMORY, "out of memory while opening the management controller");
    b->base.ops = &sensor_ipmi;
    b->handle = -1;
    bool there = open_any(b, &error) >= 0;
    enum dcmi_result r = there ? ask(b->handle, &power, &error) : DCMI_NONE;
    bool named = opt && opt->sensors && jl_word_in(opt->sensors, ',', "ipmi");
    bool absent = !there && (error == ENOENT || error == ENOTDIR || error == ENODEV || error == ENXIO);
    if (r != DCMI_OK && !absent)
        tell(out, b->path, r, error);
    bool ok = r != DCMI_OK || describe(b, &power, sensor_provenance(opt, strcmp(jl_devfs_root(), "/dev") != 0), named);
    if (r == DCMI_OK && ok && sensor_list_add(out, &b->base))
        return jl_ok(err);
    bmc_close(&b->base);
    return r != DCMI_OK
               ? jl_ok(err)
               : jl_fail(err, JOULET_MEMORY, "the management controller could not be opened: out of memory or too many sensors");
}

const struct sensor_ops sensor_ipmi = {
    .name = "ipmi",
    .summary = "power of the whole server from its management controller (IPMI DCMI)",
    .cls = SENSOR_SLOW,
    .beside = true,
    .poll_ns = JL_NS_PER_S,
    .discover = ipmi_discover,
    .read = bmc_read,
    .close = bmc_close,
};
