/* rows.c - see rows.h. */
#include "tests/sensors/rows.h"

#include "lib/sensors/amdgpu.h"
#include "lib/sensors/sysfile.h"
#include "tests/base/test.h"
#include "tests/sensors/stand_in.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct shown {
    const char *row, *machine;
    bool files;         /* its values are read from files of the machine */
    bool stand_in;      /* its values come from a stand-in of the kernel or controller */
    const char *closed; /* names of the files that are closed to a user without rights; NULL: none are */
} all[] = {
    {"rapl", "two-sockets", true, false, "energy_uj"},
    {"perf", "perf-desktop", false, true, NULL},
    {"msr", "msr-amd", true, false, "msr"},
    {"amdgpu", "amd-cards", true, false, "[pg][op][wu][e_]*"},
    {"intelgpu", "intel-cards", true, false, "energy*_input"},
    {"hwmon", "jetson", true, false, "*_input"},
    {"battery", "laptop", true, false, NULL},
    {"ipmi", "server", false, true, NULL},
};

static const struct shown *shown(const char *row)
{
    for (size_t i = 0; i < JL_COUNT(all); i++)
        if (strcmp(all[i].row, row) == 0)
            return &all[i];
    return NULL;
}

/* Registers and tables are bytes, which the text of a fixture cannot hold. */
static void write_bytes(const struct bench *b)
{
    static const uint8_t registers[] = {0x03, 0x10, 0xd0, 0x07, 0, 0, 0, 0, 0, 0};
    static const char *const cards[] = {"sys/devices/pci0000:00/0000:00:01.1/0000:03:00.0/gpu_metrics",
                                        "sys/devices/pci0000:00/0000:00:03.1/0000:0a:00.0/gpu_metrics"};
    uint8_t table[120];
    memset(table, 0xff, sizeof(table));
    memcpy(table, "\x78\x00\x01\x06", 4);
    memcpy(table + 16, "\x40\x42\x0f\x00\x00\x00\x00\x00", 8);
    if (strcmp(b->row, "msr") == 0)
        machine_write_at(&b->machine, "dev/cpu/0/msr", 0xC0010299, registers, sizeof(registers));
    for (size_t i = 0; strcmp(b->row, "amdgpu") == 0 && i < JL_COUNT(cards); i++)
        machine_write_at(&b->machine, cards[i], 0, table, sizeof(table));
}

void rows_prepare(struct bench *b, const char *row)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    const struct shown *s = shown(row);
    memset(b, 0, sizeof(*b));
    b->opt = opt;
    b->row = row;
    amdgpu_look_s = 0.005;
    sysfile_look_ns = 50000000;
    machine_open(&b->machine, s ? s->machine : "two-sockets");
    machine_write(&b->machine, "trace.csv",
                  "t_s,channel,quantity,value\n0,cpu0.package,energy,7\n0,gpu0.temperature,temperature,40000\n"
                  "3600,cpu0.package,energy,9\n3600,gpu0.temperature,temperature,40000\n");
    b->replay = jl_strf("%s/trace.csv", b->machine.dir);
    b->opt.replay = b->replay;
    b->opt.sim = "0:60,2:300|45;group=gpu;kind=power;window=1s";
    setenv("JOULET_NVML", FAKE_NVML, 1);
    setenv("FAKE_NVML_GPUS", "2", 1);
    setenv("JOULET_POWERMETRICS", POWERMETRICS, 1);
    write_bytes(b);
    if (s && s->stand_in)
        stand_in_begin(80);
}

void rows_clean(struct bench *b)
{
    close_sensors(&b->list);
    machine_close(&b->machine);
    free(b->replay);
    unsetenv("JOULET_NVML");
    unsetenv("JOULET_POWERMETRICS");
    stand_in_end();
}

/* ---- leaving and returning ---------------------------------------------------------------------------------------------- */

bool rows_can_leave(const char *row)
{
    return shown(row) != NULL;
}

void rows_leave(struct bench *b)
{
    if (shown(b->row)->stand_in)
        stand_in.read_error = stand_in.open_error = ENODEV;
    else
        machine_empty(&b->machine);
}

void rows_return(struct bench *b)
{
    stand_in.read_error = stand_in.open_error = 0;
    if (shown(b->row)->stand_in)
        return;
    machine_lay_out_device(&b->machine, shown(b->row)->machine);
    write_bytes(b);
}

/* ---- garbage --------------------------------------------------------------------------------------------------------------- */

bool rows_has_files(const char *row)
{
    return shown(row) && shown(row)->files;
}

static const char *garbage;

static int overwrite(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)at;
    if (type != FTW_F)
        return 0;
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, garbage, strlen(garbage)), strlen(garbage));
    close(fd);
    return 0;
}

static void walk(const struct bench *b, int (*each)(const char *, const struct stat *, int, struct FTW *))
{
    static const char *const parts[] = {"sys", "dev"};
    for (size_t i = 0; i < JL_COUNT(parts); i++) {
        char *path = jl_strf("%s/%s", b->machine.dir, parts[i]);
        nftw(path, each, 16, FTW_PHYS);
        free(path);
    }
}

void rows_overwrite(struct bench *b, const char *text)
{
    garbage = text;
    walk(b, overwrite);
}

/* ---- without rights ----------------------------------------------------------------------------------------------------------
 */

static const char *closing;

static int close_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    if (type == FTW_F && fnmatch(closing, path + at->base, 0) == 0)
        assert_int_equal(chmod(path, 0), 0);
    return 0;
}

static int look_without_rights(struct bench *b, const struct sensor_ops *ops)
{
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        return 2;
    bool ok = ops->discover(&b->list, &b->opt, NULL) == JOULET_OK && b->list.n_problems > 0;
    const char *text = b->list.n_problems ? b->list.problems[0].message : "nothing";
    ok = ok && b->list.problems[0].status == JOULET_PERMISSION && strstr(text, "sudo");
    size_t readable = 0;
    for (size_t i = 0; i < b->list.n; i++)
        readable += b->list.items[i]->n_channels;
    ok = ok && readable == 0;
    if (!ok)
        fprintf(stderr, "%s: %zu channels, problem: %s\n", ops->name, readable, text);
    return ok ? 0 : 1;
}

int rows_closed(struct bench *b, const struct sensor_ops *ops)
{
    const struct shown *s = shown(ops->name);
    int status = -1;
    if (!s || (!s->closed && !s->stand_in))
        return ROWS_NOT_SHOWN;
    rows_prepare(b, ops->name);
    stand_in.open_error = EACCES;
    closing = s->closed ? s->closed : "";
    walk(b, close_file);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(look_without_rights(b, ops));
    assert_int_equal(waitpid(child, &status, 0), child);
    rows_clean(b);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}
