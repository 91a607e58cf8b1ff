/* served.c - see served.h. What a process holds is the kernel's word: /proc/PID/status, smaps_rollup and fd (proc(5)). */
#include "bench/proxy/served.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

pid_t served_child(void)
{
    pid_t pid = fork();
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

/* ---- the program -------------------------------------------------------------------------------------------------------- */

static void be_joulet(const struct served *s, int upstream_port, unsigned connections, const char *sim, int out)
{
    char upstream[64], most[16];
    snprintf(upstream, sizeof(upstream), "http://127.0.0.1:%d", upstream_port);
    snprintf(most, sizeof(most), "%u", connections ? connections : 4096);
    dup2(out, 1);
    setenv("JOULET_DATA_DIR", s->folder, 1);
    execl(JOULET_PROGRAM, "joulet", "serve", "--listen", "127.0.0.1:0", "--upstream", upstream, "--connections", most, "--sim",
          sim ? sim : "20", "--sensors", "sim", (char *)NULL);
    _exit(127);
}

/* The port in its first line; 0: none came. */
static int port_told(int fd)
{
    char line[256] = "";
    for (size_t n = 0; n + 1 < sizeof(line) && !strchr(line, '\n');) {
        ssize_t got = read(fd, line + n, sizeof(line) - 1 - n);
        if (got <= 0)
            return 0;
        n += (size_t)got;
        line[n] = '\0';
    }
    const char *at = strstr(line, "http://"), *colon = at ? strchr(at + 7, ':') : NULL;
    return colon ? atoi(colon + 1) : 0;
}

bool served_start(struct served *s, int upstream_port, unsigned connections, const char *sim)
{
    int out[2];
    *s = (struct served){.folder = "/tmp/joulet-soak-XXXXXX"};
    if (!mkdtemp(s->folder) || pipe(out))
        return false;
    s->pid = served_child();
    if (s->pid == 0)
        be_joulet(s, upstream_port, connections, sim, out[1]);
    close(out[1]);
    s->port = s->pid > 0 ? port_told(out[0]) : 0;
    return s->port > 0; /* its standard output stays open: it may write to it */
}

void served_stop(struct served *s)
{
    if (s->pid > 0) {
        kill(s->pid, SIGTERM);
        waitpid(s->pid, NULL, 0);
    }
    char *command = s->folder[0] ? jl_strf("rm -rf %s", s->folder) : NULL;
    if (command && system(command))
        fprintf(stderr, "soak: %s could not be removed\n", s->folder);
    free(command);
}

/* ---- what it holds ------------------------------------------------------------------------------------------------------ */

static double number_in(pid_t pid, const char *file, const char *key)
{
    char path[64], text[4096];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    const char *line = jl_read_text(path, text, sizeof(text), NULL) == JOULET_OK ? strstr(text, key) : NULL;
    return line ? strtod(line + strlen(key), NULL) : (double)NAN;
}

static double files_of(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    double n = d ? -2 : (double)NAN; /* . and .. */
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

struct held served_held(pid_t pid)
{
    return (struct held){.resident_kb = number_in(pid, "status", "VmRSS:"),
                         .share_kb = number_in(pid, "smaps_rollup", "\nPss:"),
                         .threads = number_in(pid, "status", "Threads:"),
                         .files = files_of(pid)};
}

pid_t served_recogniser(pid_t pid)
{
    char path[64], text[256];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
    if (jl_read_text(path, text, sizeof(text), NULL) == JOULET_OK && text[0])
        return (pid_t)atoi(text);
    /* started by another thread of it: those are looked through */
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    pid_t found = 0;
    for (const struct dirent *e; d && !found && (e = readdir(d));) {
        char *children = jl_strf("/proc/%d/task/%s/children", (int)pid, e->d_name);
        if (children && jl_read_text(children, text, sizeof(text), NULL) == JOULET_OK)
            found = (pid_t)atoi(text);
        free(children);
    }
    if (d)
        closedir(d);
    return found;
}
