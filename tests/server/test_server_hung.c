/* What becomes of the traffic when what measures it hangs: the read of a sensor that does not end. Every byte is as the engine
 * sent it, and the energy put in says that it is not final. */
#include "lib/platform/platform.h"
#include "tests/base/test.h"
#include "tests/server/metered.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
#define EVENT   "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"abc\"},\"finish_reason\":null}]}\n\n"
#define LAST    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]"
#define END     "}\n\ndata: [DONE]\n\n"
#define ANSWER  EVENT EVENT EVENT LAST END
#define REQUEST "{\"model\":\"m\",\"stream\":true,\"messages\":[]}"

/* The sensor reads a pipe: without a writer there is nothing more to be read, with a silent one the read does not end. */
static char pipe_path[64];

static void *write_first(void *arg)
{
    char line[64];
    int fd = open(pipe_path, O_WRONLY); /* until the sensor opens it */
    int n = snprintf(line, sizeof line, "%lld 100\n", (long long)jl_mono_ns());
    (void)arg;
    if (fd >= 0 && write(fd, line, (size_t)n) == n)
        close(fd);
    return NULL;
}

/* One answer, whose bytes but for the energy are the engine's. True: energy was in it. */
static bool is_whole(const struct server *s, const char *request)
{
    struct answer a;
    ask(s, request, &a);
    assert_int_equal(a.status, 200);
    assert_true(a.whole);
    char *energy = strstr(a.body, ",\"energy\":{"), *end = energy ? strstr(energy, "]}" END) : NULL;
    if (energy) { /* its list of flags is its last member */
        assert_non_null(end);
        assert_non_null(strstr(energy, "\"provisional\":true"));
        memmove(energy, end + 2, strlen(end + 2) + 1);
    }
    assert_string_equal(a.body, ANSWER);
    answer_release(&a);
    return energy != NULL;
}

static void hung_sensor(void **state)
{
    static const struct play plays[] = {{.bytes = HEAD ANSWER, .cut = sizeof HEAD, .piece = 60, .then = THEN_CLOSE}};
    struct metered_server s;
    struct front f;
    pthread_t writer;
    char sim[96];
    char *request = post("/v1/chat/completions", REQUEST);
    size_t with_energy = 0;
    (void)state;
    snprintf(pipe_path, sizeof pipe_path, "/tmp/joulet-hung-%d", (int)getpid());
    snprintf(sim, sizeof sim, "follow:%s", pipe_path);
    unlink(pipe_path);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_int_equal(pthread_create(&writer, NULL, write_first, NULL), 0);
    open_metering(&s, sim);
    pthread_join(writer, NULL);
    struct server_options o = {.metering = s.metering, .inject = SPLICE_ENERGY};
    front_start(&f, plays, 1, &o);
    is_whole(f.server, request);
    int silent = open(pipe_path, O_WRONLY);
    assert_true(silent >= 0);
    usleep(100000); /* it reads every 10 ms: now it hangs, until the end */
    for (int i = 0; i < 50; i++)
        with_energy += is_whole(f.server, request);
    assert_int_equal(with_energy, 50);
    front_stop(&f);
    close(silent);
    close_metering(&s);
    unlink(pipe_path);
    free(request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(hung_sensor)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
