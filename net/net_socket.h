/* net_socket.h - what every socket that libcurl opens for us gets. */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include <curl/curl.h>

/* CURLOPT_SOCKOPTFUNCTION: children that we start must not hold our connections open. */
int net_socket_opened(void *user, curl_socket_t fd, curlsocktype purpose);

#endif
