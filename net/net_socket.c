/* net_socket.c - see net_socket.h. */
#include "net/net_socket.h"

#include <fcntl.h>

int net_socket_opened(void *user, curl_socket_t fd, curlsocktype purpose)
{
    (void)user, (void)purpose;
    int flags = fcntl(fd, F_GETFD);
    if (flags >= 0)
        fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    return CURL_SOCKOPT_OK;
}
