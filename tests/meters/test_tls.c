/* test_tls.c - a management controller behind TLS: openssl plays it, with a certificate that nobody has signed. Said and skipped
 * where there is no openssl. */
#include "lib/platform/platform.h"
#include "meters/meters.h"
#include "tests/base/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    char dir[64], address[160];
    int port;
    pid_t pid;
} bmc;

/* In the folder, with nothing to read or say. */
static pid_t start(const char *command)
{
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        if (chdir(bmc.dir) != 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
            _exit(126);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static bool run(const char *command)
{
    int status = -1;
    return waitpid(start(command), &status, 0) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static void await_port(void)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)bmc.port)};
    bool open = false;
    for (int64_t until = jl_mono_ns() + 180 * JL_NS_PER_S; !open && jl_mono_ns() < until;) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        open = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
        close(fd);
        jl_sleep_until(jl_mono_ns() + 20000000);
    }
    assert_true(open);
}

/* Files below its folder are whole answers. */
static int begin(void **state)
{
    static const char make[] = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=bmc "
                               "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem";
    char serve[160];
    (void)state;
    strcpy(bmc.dir, "/tmp/joulet-tls-XXXXXX");
    assert_non_null(mkdtemp(bmc.dir));
    if (!run(make)) {
        printf("meters_tls: openssl makes no certificate here: skipped\n");
        return 0;
    }
    char *folder = jl_strf("%s/redfish/v1/Chassis/1", bmc.dir), *file = jl_strf("%s/EnvironmentMetrics", folder);
    assert_int_equal(jl_make_dirs(folder, NULL), JOULET_OK);
    FILE *f = fopen(file, "w");
    fprintf(f, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"PowerWatts\":{\"Reading\":321}}");
    fclose(f);
    free(folder);
    free(file);
    bmc.port = free_port();
    snprintf(serve, sizeof(serve), "exec openssl s_server -HTTP -accept 127.0.0.1:%d -cert cert.pem -key key.pem", bmc.port);
    bmc.pid = start(serve);
    assert_true(bmc.pid > 0);
    snprintf(bmc.address, sizeof(bmc.address), "redfish+https://127.0.0.1:%d/redfish/v1/Chassis/1", bmc.port);
    await_port();
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (bmc.pid > 0) {
        kill(bmc.pid, SIGTERM);
        waitpid(bmc.pid, NULL, 0);
    }
    return run("rm -rf redfish *.pem; rmdir \"$PWD\"") ? 0 : -1;
}

static char said[1024];

/* Whether the meter is read with that; *p: the last sentence. A machine that is busy may take longer for a connection than the
 * meters wait: then it is tried again. */
static bool is_read(const char *ca, const char *rest, struct joulet_problem *p)
{
    bool known = false;
    for (int tries = 0; tries < 40; tries++) {
        struct joulet_options o = JOULET_OPTIONS_INIT;
        struct joulet *m;
        struct meters *all;
        char *address = jl_strf("%s%s", bmc.address, rest);
        *p = (struct joulet_problem){.message = ""};
        o.sensors = "nvml";
        o.pushes = true;
        o.calibration = "";
        assert_int_equal(joulet_open(&m, &o, NULL), JOULET_OK);
        if (ca)
            setenv("JOULET_METER_CA", ca, 1);
        assert_int_equal(meters_open(&all, m, (const char *const[]){address}, 1, NULL), JOULET_OK);
        for (size_t k = 0; k < joulet_problem_count(m); k++)
            joulet_problem_get(m, k, p);
        known = joulet_channel_count(m) == 1;
        snprintf(said, sizeof said, "%s", p->message);
        p->message = said;
        meters_close(all);
        joulet_close(m);
        unsetenv("JOULET_METER_CA");
        free(address);
        if (!strstr(said, "does not answer"))
            break;
    }
    return known;
}

static void whom_it_believes(void **state)
{
    char *own = jl_strf("%s/cert.pem", bmc.dir), *other = jl_strf("%s/key.pem", bmc.dir);
    const struct {
        const char *ca, *rest, *says; /* says NULL: it is read */
    } rows[] = {{NULL, "", "is not trusted"},
                {own, "", NULL},
                {NULL, "?insecure", NULL},
                {other, "", "is not trusted"},
                {"/nonexistent/ca.pem", "", "/nonexistent/ca.pem"}};
    (void)state;
    for (size_t i = 0; bmc.pid > 0 && i < JL_COUNT(rows); i++) {
        struct joulet_problem p;
        bool read = is_read(rows[i].ca, rows[i].rest, &p);
        if (rows[i].says ? !strstr(p.message, rows[i].says) : !read)
            fail_msg("row %zu: %s", i, p.message);
    }
    free(own);
    free(other);
    if (bmc.pid <= 0)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whom_it_believes)};
    return cmocka_run_group_tests(tests, begin, end);
}
