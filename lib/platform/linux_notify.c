/* linux_notify.c - tells the service manager that started this process how it is: datagrams to the socket that NOTIFY_SOCKET
 * names, as sd_notify(3) describes them; no library is needed for that. */
#include "lib/platform/platform.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

bool jl_service_tell(const char *state)
{
    const char *path = jl_env("NOTIFY_SOCKET");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n = path ? strlen(path) : 0;
    if (n < 2 || n >= sizeof(a.sun_path) || (path[0] != '/' && path[0] != '@'))
        return false;
    memcpy(a.sun_path, path, n);
    if (path[0] == '@') /* abstract: the name begins with a NUL */
        a.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&a,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    close(fd);
    return sent >= 0;
}

double jl_service_watchdog_s(void)
{
    const char *pid = jl_env("WATCHDOG_PID"), *us = jl_env("WATCHDOG_USEC");
    int64_t number;
    if (pid && (!jl_parse_i64(pid, &number) || number != getpid()))
        return 0; /* it is for another process */
    return us && jl_parse_i64(us, &number) && number > 0 ? (double)number / 1e6 : 0;
}
