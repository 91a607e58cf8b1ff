/* linux_sockets.c - who listens where, and which addresses a network namespace has: proc(5) net/tcp, net/tcp6, net/fib_trie and
 * net/if_inet6, which every process shows of its own namespace. */
#include "lib/platform/linux_sockets.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define LISTEN 0x0au

struct address {
    unsigned char bytes[16];
    size_t n; /* 4 or 16; an IPv4 address in IPv6 clothes is the IPv4 one */
};

static void undress(struct address *a)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (a->n == 16 && memcmp(a->bytes, mapped, sizeof(mapped)) == 0) {
        memmove(a->bytes, a->bytes + 12, 4);
        a->n = 4;
    }
}

static bool read_address(const char *text, struct address *out)
{
    out->n = 0;
    if (text && inet_pton(AF_INET, text, out->bytes) == 1)
        out->n = 4;
    else if (text && inet_pton(AF_INET6, text, out->bytes) == 1)
        out->n = 16;
    undress(out);
    return out->n > 0;
}

/* The tables write words of four bytes in the order of the processor. */
static bool read_hex(const char *hex, struct address *out)
{
    size_t digits = strlen(hex);
    if (digits != 8 && digits != 32)
        return false;
    for (out->n = 0; out->n < digits / 2; out->n += 4) {
        unsigned v;
        if (sscanf(hex + 2 * out->n, "%8x", &v) != 1)
            return false;
        memcpy(out->bytes + out->n, &v, 4);
    }
    undress(out);
    return true;
}

static bool is_any(const struct address *a)
{
    for (size_t i = 0; i < a->n; i++)
        if (a->bytes[i])
            return false;
    return true;
}

static bool same(const struct address *a, const struct address *b)
{
    return a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0;
}

/* ---- listeners --------------------------------------------------------------------------------------------------------- */

/* How well a listener answers to an address: 0 it may be another one. */
static int rank_of(const struct address *wanted, const struct address *local)
{
    return wanted->n && same(wanted, local) ? 2 : is_any(local);
}

/* "sl local:PORT remote st ... uid timeout inode". *best: rank of *out so far, -1 none. */
static void look_into(const char *folder, const char *table, const struct address *wanted, int port, struct jl_listener *out,
                      int *best)
{
    char path[4400], line[512], hex[40];
    snprintf(path, sizeof(path), "%s/net/%s", folder, table);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f)) {
        unsigned local = 0, state = 0;
        struct jl_listener one;
        struct address at;
        if (sscanf(line, " %*d: %39[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %u %*s %lu", hex, &local, &state, &one.uid,
                   &one.inode) != 5 ||
            state != LISTEN || local != (unsigned)port || !read_hex(hex, &at) || rank_of(wanted, &at) <= *best)
            continue;
        *out = one;
        *best = rank_of(wanted, &at);
    }
    if (f)
        fclose(f);
}

bool jl_listener_of(const char *folder, const char *address, int port, struct jl_listener *out)
{
    struct address wanted;
    int best = -1;
    read_address(address, &wanted);
    look_into(folder, "tcp", &wanted, port, out, &best);
    look_into(folder, "tcp6", &wanted, port, out, &best);
    return best >= 0;
}

/* ---- addresses --------------------------------------------------------------------------------------------------------- */

/* An address of an interface is a leaf "|-- 172.17.0.2" with "/32 host LOCAL" below it. */
static bool in_trie(const char *folder, const struct address *wanted)
{
    char path[4400], line[256], text[64];
    struct address leaf = {.n = 0};
    bool found = false;
    snprintf(path, sizeof(path), "%s/net/fib_trie", folder);
    FILE *f = fopen(path, "re");
    while (f && !found && fgets(line, sizeof(line), f)) {
        const char *at = strstr(line, "|-- ");
        if (at && sscanf(at + 4, "%63s", text) == 1)
            read_address(text, &leaf);
        found = !at && strstr(line, "/32 host LOCAL") && same(&leaf, wanted);
    }
    if (f)
        fclose(f);
    return found;
}

/* "fe80000000000000024211fffe000001 0a 40 20 80 docker0", in the order of the network. */
static bool in_interfaces(const char *folder, const struct address *wanted)
{
    char path[4400], line[256], hex[33], ours[33];
    bool found = false;
    for (size_t i = 0; i < 16; i++)
        snprintf(ours + 2 * i, 3, "%02x", wanted->bytes[i]);
    snprintf(path, sizeof(path), "%s/net/if_inet6", folder);
    FILE *f = fopen(path, "re");
    while (f && !found && fgets(line, sizeof(line), f))
        found = sscanf(line, "%32s", hex) == 1 && strcmp(hex, ours) == 0;
    if (f)
        fclose(f);
    return found;
}

bool jl_has_address(const char *folder, const char *address)
{
    struct address wanted;
    if (!read_address(address, &wanted))
        return false;
    return wanted.n == 4 ? in_trie(folder, &wanted) : in_interfaces(folder, &wanted);
}
