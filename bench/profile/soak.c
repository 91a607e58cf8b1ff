/* soak.c - `joulet profile` of a real llama-server for an hour (or MINUTES): what its process holds and what lies on the disk,
 * every minute: memory and its peak (VmHWM), the data folder (records, database) and the file of the probe. A tiny model and a
 * sensor that reads a thousand times a second are the worst there is: more records, samples and requests a second than any other.
 * One object a minute and a row of FILE each; at the end the figures with their goals: 50 MB of memory, 100 MB on disk, and how
 * fast both grew in the second half. soak [MINUTES [FILE [MODEL [SENSOR]]]] */
#include "lib/platform/platform.h"

#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MINUTES_MOST = 24 * 60, STARTS_S = 60 /* the idle level, loading and the last record are not in MINUTES */, ENDS_S = 300 };
#define MEMORY_MOST_MB 50.0
#define DISK_MOST_MB   100.0
#define MB             1e6
#define SENSOR         "50;device=amdgpu-energy"

struct held {
    double resident_mb, peak_mb, data_mb, ring_mb;
};

static double blocks; /* of 512 bytes, of the walk under way */

static int add_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)path;
    (void)at;
    if (type == FTW_F)
        blocks += (double)st->st_blocks;
    return 0;
}

static double folder_mb(const char *folder)
{
    blocks = 0;
    nftw(folder, add_file, 8, FTW_PHYS);
    return blocks * 512 / MB;
}

static double status_mb(pid_t pid, const char *key)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    const char *line = jl_read_text(path, text, sizeof text, NULL) == JOULET_OK ? strstr(text, key) : NULL;
    return line ? strtod(line + strlen(key), NULL) * 1024 / MB : (double)NAN;
}

/* ---- the program -------------------------------------------------------------------------------------------------------- */

struct trial {
    char folder[64], data[96], runtime[96], seconds[24];
    const char *model, *sensor;
    pid_t pid;
};

/* The engine is the user's own, through a link: nothing else of his is touched. */
static bool prepare(struct trial *t)
{
    char *data = jl_data_dir_name(), *engine = data ? jl_strf("%s/engine", data) : NULL;
    snprintf(t->folder, sizeof t->folder, "/tmp/joulet-soak-XXXXXX");
    bool ok = engine && access(engine, R_OK) == 0 && mkdtemp(t->folder);
    if (ok) {
        snprintf(t->data, sizeof t->data, "%s/data", t->folder);
        snprintf(t->runtime, sizeof t->runtime, "%s/runtime", t->folder);
        char *own = jl_strf("%s/joulet", t->data), *link = jl_strf("%s/engine", own);
        ok = own && link && mkdir(t->data, 0700) == 0 && mkdir(own, 0700) == 0 && mkdir(t->runtime, 0700) == 0 &&
             symlink(engine, link) == 0;
        free(own);
        free(link);
    } else {
        fprintf(stderr, "soak: there is no llama-server of joulet's own: `joulet engine install` gets one\n");
    }
    free(engine);
    free(data);
    return ok;
}

static void be_joulet(const struct trial *t, const char *const *argv)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    dup2(null, 0);
    dup2(null, 1);
    setenv("JOULET_DATA_DIR", t->data, 1);
    setenv("XDG_RUNTIME_DIR", t->runtime, 1);
    execv(JOULET_PROGRAM, (char *const *)argv);
    _exit(127);
}

static pid_t start(const struct trial *t, const char *const *argv)
{
    pid_t pid = fork();
    if (pid == 0)
        be_joulet(t, argv);
    return pid;
}

static bool make_model(struct trial *t, char *path, size_t size)
{
    int status;
    snprintf(path, size, "%s/tiny.gguf", t->folder);
    const char *const argv[] = {"joulet", "model", "make", "--shape", "tiny", "-o", path, NULL};
    pid_t pid = start(t, argv);
    t->model = path;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- looking ------------------------------------------------------------------------------------------------------------ */

static struct held look(const struct trial *t)
{
    return (struct held){.resident_mb = status_mb(t->pid, "VmRSS:"),
                         .peak_mb = status_mb(t->pid, "VmHWM:"),
                         .data_mb = folder_mb(t->data),
                         .ring_mb = folder_mb(t->runtime)};
}

static void write_minute(FILE *rows, double minute, const struct held *h)
{
    fprintf(rows, "%.1f,%.2f,%.2f,%.2f,%.2f\n", minute, h->resident_mb, h->peak_mb, h->data_mb, h->ring_mb);
    fflush(rows);
    printf("{\"minute\": %.1f, \"resident_mb\": %.2f, \"peak_mb\": %.2f, \"data_mb\": %.2f, \"ring_mb\": %.2f}\n", minute,
           h->resident_mb, h->peak_mb, h->data_mb, h->ring_mb);
    fflush(stdout);
}

/* Until it has ended or `until`; true: it has ended. The peak is looked at all the time: the last one comes at the end, when the
 * record is made. */
static bool ended_by(const struct trial *t, int64_t until_ns, double *peak_mb, int *status)
{
    while (jl_mono_ns() < until_ns) {
        double peak = status_mb(t->pid, "VmHWM:");
        *peak_mb = peak > *peak_mb ? peak : *peak_mb;
        if (waitpid(t->pid, status, WNOHANG) == t->pid)
            return true;
        usleep(100000);
    }
    return false;
}

static void figure(const char *name, double value, const char *unit, double goal)
{
    char want[32] = "null", verdict[8] = "null", got[32] = "null";
    if (isfinite(value))
        snprintf(got, sizeof got, "%.4g", value);
    if (isfinite(goal)) {
        snprintf(want, sizeof want, "%g", goal);
        snprintf(verdict, sizeof verdict, "%s", value <= goal ? "true" : "false");
    }
    printf(
        "{\"figure\": \"profile.soak.%s\", \"value\": %s, \"unit\": \"%s\", \"goal\": %s, \"baseline\": null, \"meets\": %s}\n",
        name, got, unit, want, verdict);
}

/* MB an hour from one look to another. */
static double growth(double from_mb, double to_mb, double minutes)
{
    return minutes > 0 ? (to_mb - from_mb) / minutes * 60 : (double)NAN;
}

static bool soak(struct trial *t, size_t minutes, FILE *rows)
{
    struct held middle = {NAN, NAN, NAN, NAN}, last = middle, most = {0, 0, 0, 0};
    int status = 0;
    bool ended = false;
    double middle_minute = NAN, last_minute = NAN;
    int64_t from = jl_mono_ns(), until = from + jl_ns(60.0 * (double)minutes + STARTS_S + ENDS_S);
    fprintf(rows, "minute,resident_mb,peak_mb,data_mb,ring_mb\n");
    for (size_t i = 1; !ended && jl_mono_ns() < until; i++) {
        ended = ended_by(t, from + (int64_t)i * 60 * JL_NS_PER_S, &most.peak_mb, &status);
        if (ended)
            break;
        last = look(t);
        last_minute = jl_s(jl_mono_ns() - from) / 60;
        write_minute(rows, last_minute, &last);
        if (isnan(middle_minute) && last_minute >= (double)minutes / 2) {
            middle = last;
            middle_minute = last_minute;
        }
        most.data_mb = fmax(most.data_mb, last.data_mb + last.ring_mb);
    }
    if (!ended) {
        kill(t->pid, SIGTERM);
        waitpid(t->pid, &status, 0);
    }
    double records_mb = folder_mb(t->data);
    bool whole = ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    figure("minutes", jl_s(jl_mono_ns() - from) / 60, "min", NAN);
    figure("memory_peak", most.peak_mb, "MB", MEMORY_MOST_MB);
    figure("disk_peak", fmax(most.data_mb, records_mb), "MB", DISK_MOST_MB);
    figure("disk_after", records_mb, "MB", DISK_MOST_MB);
    figure("memory_growth_second_half", growth(middle.resident_mb, last.resident_mb, last_minute - middle_minute), "MB/h", NAN);
    figure("disk_growth_second_half",
           growth(middle.data_mb + middle.ring_mb, last.data_mb + last.ring_mb, last_minute - middle_minute), "MB/h", NAN);
    if (!whole)
        fprintf(stderr, "soak: joulet profile did not end well (status %d)\n", status);
    return whole && most.peak_mb <= MEMORY_MOST_MB && fmax(most.data_mb, records_mb) <= DISK_MOST_MB;
}

int main(int argc, char **argv)
{
    size_t minutes = argc > 1 ? strtoul(argv[1], NULL, 10) : 60;
    struct trial t = {.model = argc > 3 ? argv[3] : NULL, .sensor = argc > 4 ? argv[4] : SENSOR};
    char path[128];
    if (minutes < 2 || minutes > MINUTES_MOST) {
        fprintf(stderr, "usage: soak [MINUTES [FILE [MODEL [SENSOR]]]]: at least 2 minutes\n");
        return 2;
    }
    FILE *rows = fopen(argc > 2 ? argv[2] : "/dev/null", "we");
    bool ok = rows && prepare(&t) && (t.model || make_model(&t, path, sizeof path));
    if (ok) {
        snprintf(t.seconds, sizeof t.seconds, "%zus", 60 * minutes);
        const char *const profile[] = {"joulet", "profile", "--engine",   "private", "-m",      t.model, "--threads", "1",
                                       "--sim",  t.sensor,  "--duration", t.seconds, "--color", "never", NULL};
        t.pid = start(&t, profile);
        ok = t.pid > 0 && soak(&t, minutes, rows);
    } else {
        fprintf(stderr, "soak: nothing was profiled\n");
    }
    char *command = t.folder[0] ? jl_strf("rm -rf %s", t.folder) : NULL;
    if (command && system(command))
        fprintf(stderr, "soak: %s could not be removed\n", t.folder);
    free(command);
    if (rows)
        fclose(rows);
    return ok ? 0 : 1;
}
