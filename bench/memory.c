/* memory.c - peak resident memory of the program: `monitor` beside a program that does nothing, and `run` with the HTTP module
 * and the store open. Peaks are the kernel's (ru_maxrss of the ended process). One JSON object a line; goals in
 * docs/performance.md. */
#include "lib/base/base.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t start(const char *const *argv, int out)
{
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(out < 0 ? null : out, 1);
        dup2(null, 2);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    return pid;
}

/* Peak resident memory in MiB; 0 when it could not be run or failed. */
static double peak_mib(const char *const *argv)
{
    struct rusage u;
    int status;
    pid_t pid = start(argv, -1);
    if (pid < 0 || wait4(pid, &status, 0, &u) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return 0;
    return (double)u.ru_maxrss / 1024;
}

static bool figure(const char *name, double value, const char *goal, double baseline, bool meets)
{
    if (value <= 0) {
        fprintf(stderr, "bench memory: %s could not be measured: the program failed\n", name);
        return false;
    }
    printf("{\"figure\": \"%s\", \"value\": %.2f, \"unit\": \"MiB\", \"goal\": %s, \"baseline\": %.2f, \"meets\": %s}\n", name,
           value, goal, baseline,
           strcmp(goal, "null") == 0 ? "null"
           : meets                   ? "true"
                                     : "false");
    fflush(stdout);
    return true;
}

static double peak_of_run(void)
{
    int ends[2], port = 0;
    char url[64];
    if (pipe(ends) != 0)
        return 0;
    pid_t engine = start((const char *const[]){SIM_ENGINE, "--port", "0", "--truth", "/dev/null", NULL}, ends[1]);
    close(ends[1]);
    FILE *f = fdopen(ends[0], "r");
    if (!f || fscanf(f, "listening %d", &port) != 1)
        port = 0;
    snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    const char *const argv[] = {JOULET_PROGRAM,
                                "run",
                                "--engine",
                                url,
                                "--sim",
                                "100",
                                "-n",
                                "64",
                                "--config",
                                "/dev/null",
                                "How much does this take?",
                                NULL};
    double peak = port ? peak_mib(argv) : 0;
    kill(engine, SIGTERM);
    waitpid(engine, NULL, 0);
    if (f)
        fclose(f);
    return peak;
}

int main(void)
{
    char dir[] = "/tmp/joulet-bench-XXXXXX";
    if (!mkdtemp(dir))
        return 1;
    setenv("JOULET_DATA_DIR", dir, 1);
    static const char *const nothing[] = {"/bin/true", NULL};
    static const char *const monitor[] = {JOULET_PROGRAM, "monitor",  "--samples", "20",        "--interval",
                                          "100ms",        "--stream", "--config",  "/dev/null", NULL};
    double bare = peak_mib(nothing), m = peak_mib(monitor), r = peak_of_run();
    bool ok = figure("peak memory of joulet monitor", m, "3", bare, m <= 3);
    ok &= figure("peak memory of joulet run", r, "null", bare, true);
    char *command = jl_strf("rm -rf '%s'", dir);
    int rc = command ? system(command) : 1;
    free(command);
    return ok && rc == 0 ? 0 : 1;
}
