/* linux_sockets.h - tables of the network below a folder of procfs, for linux_listen.c. */
#ifndef JL_LINUX_SOCKETS_H
#define JL_LINUX_SOCKETS_H

#include "lib/platform/platform.h"

struct jl_listener {
    unsigned long inode;
    unsigned uid;
};
/* Who listens on the port in FOLDER/net/tcp and tcp6: of several the one on that address (numeric; NULL any), then the one on all
 * addresses, then any. */
bool jl_listener_of(const char *folder, const char *address, int port, struct jl_listener *out);
/* The address is one of the namespace's own: FOLDER/net/fib_trie and if_inet6. */
bool jl_has_address(const char *folder, const char *address);

#endif
