/* failing_kernel.c - see failing.h: a controller behind /dev/ipmi0 and the energy events of a processor, as the kernel shows
 * them. They answer the same at all times. */
#include "lib/base/base.h"
#include "tests/sensors/failing.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ipmi.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- events -------------------------------------------------------------------------------------------------------------- */

static bool events[4096];

bool failing_is_event(int fd)
{
    return fd >= 0 && fd < (int)JL_COUNT(events) && events[fd];
}

void failing_add_event(int fd)
{
    if (fd >= 0 && fd < (int)JL_COUNT(events))
        events[fd] = true;
}

void failing_drop_event(int fd)
{
    if (failing_is_event(fd))
        events[fd] = false;
}

long __wrap_syscall(long number, ...);

/* perf_event_open is all that is called by number below. */
long __wrap_syscall(long number, ...)
{
    va_list args;
    va_start(args, number);
    const struct perf_event_attr *attr = va_arg(args, const struct perf_event_attr *);
    va_end(args);
    if (number != SYS_perf_event_open)
        abort();
    if (failing_now(FAILING_CALL) || attr->config == 0) {
        errno = attr->config ? EMFILE : EINVAL;
        return -1;
    }
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    failing_add_event(fd);
    return fd;
}

/* ---- the controller ------------------------------------------------------------------------------------------------------ */

static long asked_id;

static int answer(struct ipmi_recv *got)
{
    static const uint8_t full[19] = {0x00, 0xdc, 80, 0, 10, 0, 0xf4, 0x01, 80, 0, 0, 0, 0, 0, 0xe8, 0x03, 0, 0, 0x40};
    got->recv_type = IPMI_RESPONSE_RECV_TYPE;
    got->msgid = asked_id;
    got->msg.data_len = got->msg.data_len < sizeof(full) ? got->msg.data_len : sizeof(full);
    memcpy(got->msg.data, full, got->msg.data_len);
    return 0;
}

int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_ioctl(int fd, unsigned long request, ...);

/* Nothing else below is polled. */
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    (void)timeout_ms;
    if (failing_now(FAILING_CALL)) {
        errno = ENOMEM;
        return -1;
    }
    for (nfds_t i = 0; i < n; i++)
        fds[i].revents = POLLIN;
    return (int)n;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *p = va_arg(args, void *);
    va_end(args);
    if (request != IPMICTL_SEND_COMMAND && request != IPMICTL_RECEIVE_MSG_TRUNC)
        return __real_ioctl(fd, request, p);
    if (failing_now(FAILING_CALL)) {
        errno = EIO;
        return -1;
    }
    if (request == IPMICTL_RECEIVE_MSG_TRUNC)
        return answer(p);
    asked_id = ((const struct ipmi_req *)p)->msgid;
    return 0;
}
