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
    {"nvml", "two-sockets", false, false, NULL},
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

static void prepare(struct bench *b, const char *row, const char *machine)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    const struct shown *s = shown(row);
    memset(b, 0, sizeof(*b));
    b->opt = opt;
    b->row = row;
    amdgpu_look_s = 0.005;
    sysfile_look_ns = 50000000;
    machine_open(&b->machine, machine ? machine : s ? s->machine : "two-sockets");
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

void rows_prepare(struct bench *b, const char *row)
{
    prepare(b, row, NULL);
}

void rows_clean(struct bench *b)
{
    close_sensors(&b->list);
    machine_close(&b->machine);
    free(b->replay);
    unsetenv("JOULET_NVML");
    unsetenv("JOULET_POWERMETRICS");
    unsetenv("FAKE_NVML_LOST_S");
    unsetenv("FAKE_NVML_NOW");
    unsetenv("FAKE_NVML_RESET_S");
    unsetenv("FAKE_NVML_PERIOD_MS");
    stand_in_end();
}

/* ---- leaving and returning ---------------------------------------------------------------------------------------------- */

bool rows_can_leave(const char *row)
{
    return shown(row) != NULL;
}

void rows_leave(struct bench *b)
{
    if (strcmp(b->row, "nvml") == 0)
        setenv("FAKE_NVML_LOST_S", "0", 1);
    else if (shown(b->row)->stand_in)
        stand_in.read_error = stand_in.open_error = ENODEV;
    else
        machine_empty(&b->machine);
}

void rows_return(struct bench *b)
{
    stand_in.read_error = stand_in.open_error = 0;
    unsetenv("FAKE_NVML_LOST_S");
    if (shown(b->row)->stand_in || strcmp(b->row, "nvml") == 0)
        return;
    machine_lay_out_device(&b->machine, shown(b->row)->machine);
    write_bytes(b);
}

/* ---- counters at their ends ------------------------------------------------------------------------------------------- */

static void put_zone(struct bench *b, uint64_t raw)
{
    machine_write(&b->machine, "sys/class/powercap/intel-rapl:0/energy_uj", "%llu\n", (unsigned long long)raw);
}

static void put_event(struct bench *b, uint64_t raw)
{
    (void)b;
    stand_in.count = raw;
    stand_in.counted = true;
}

static void put_register(struct bench *b, uint64_t raw)
{
    uint8_t bytes[8] = {(uint8_t)raw, (uint8_t)(raw >> 8), (uint8_t)(raw >> 16), (uint8_t)(raw >> 24)};
    machine_write_at(&b->machine, "dev/cpu/0/msr", 0xC001029B, bytes, sizeof(bytes));
}

/* The stand-in's boards draw 60 W and begin at 5 kJ; from 100000 s on they count anew. */
static void put_board(struct bench *b, uint64_t raw)
{
    char now[32];
    (void)b;
    bool early = raw >= 5000000;
    snprintf(now, sizeof(now), "%.3f", early ? (double)(raw - 5000000) / 60000 : 100000 + (double)raw / 60000);
    setenv("FAKE_NVML_NOW", now, 1);
    setenv("FAKE_NVML_RESET_S", "100000", 1);
    setenv("FAKE_NVML_PERIOD_MS", "1", 1);
}

static void put_card(struct bench *b, uint64_t raw, unsigned content, size_t at)
{
    uint8_t table[120];
    memset(table, 0xff, sizeof(table));
    memcpy(table, (const uint8_t[]){120, 0, 1, (uint8_t)content}, 4);
    for (size_t i = 0; i < 8; i++)
        table[at + i] = (uint8_t)(raw >> (8 * i));
    machine_write_at(&b->machine, "sys/devices/pci0000:00/0000:00:01.1/0000:03:00.0/gpu_metrics", 0, table, sizeof(table));
}

static void put_old_card(struct bench *b, uint64_t raw)
{
    put_card(b, raw, 3, 24);
}

static void put_new_card(struct bench *b, uint64_t raw)
{
    put_card(b, raw, 6, 16);
}

static void put_hwmon3(struct bench *b, uint64_t raw)
{
    machine_write(&b->machine, "sys/class/hwmon/hwmon3/energy1_input", "%llu\n", (unsigned long long)raw);
}

static void put_socket(struct bench *b, uint64_t raw)
{
    machine_write(&b->machine, "sys/class/hwmon/hwmon4/energy2_input", "%llu\n", (unsigned long long)raw);
}

/* What is drawn is what is missing. */
static void put_charge(struct bench *b, uint64_t raw)
{
    machine_write(&b->machine, "sys/class/power_supply/BAT1/status", "Discharging\n");
    machine_write(&b->machine, "sys/class/power_supply/BAT1/energy_now", "%llu\n", 40000000 - (unsigned long long)raw);
}

static const struct counting counters[] = {
    {"rapl", "powercap", NULL, "cpu1.package", 1, 262143328850, 0, put_zone},
    {"perf", "64 bits of the kernel", NULL, "cpu0.package", 2.3283064365386962890625e-4, 0, UINT64_C(1) << 48, put_event},
    {"msr", "32 bits of a register", NULL, "cpu0.package", 0x1p-16 * 1e6, UINT64_C(1) << 32, 0, put_register},
    {"nvml", "millijoules", NULL, "gpu0.board", 1000, 0, UINT64_C(1) << 32, put_board},
    {"amdgpu", "older cards", NULL, "amd0.board", 0x1p-16 * 1e6, UINT64_C(1) << 32, 0, put_old_card},
    {"amdgpu", "newer cards", NULL, "amd0.board", 0x1p-16 * 1e6, 0, UINT64_C(1) << 32, put_new_card},
    {"intelgpu", "hwmon", NULL, "intel0.card", 1, 0, UINT64_C(1) << 32, put_hwmon3},
    {"hwmon", "energy of sockets", "server", "amd_energy0.esocket0", 1, 0, UINT64_C(1) << 32, put_socket},
    {"battery", "charge", NULL, "bat1.energy", 3600, 0, 10000000, put_charge},
};

const struct counting *rows_counting(const char *row, size_t i)
{
    for (size_t k = 0; k < JL_COUNT(counters); k++)
        if (strcmp(counters[k].row, row) == 0 && i-- == 0)
            return &counters[k];
    return NULL;
}

void rows_prepare_counting(struct bench *b, const struct counting *c)
{
    prepare(b, c->row, c->machine);
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

/* ---- without rights ---------------------------------------------------------------------------------------------- */

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
