/* linux_listen.c - who serves a TCP port of this machine: the process that holds the socket, one that a container or a network
 * namespace hides, or a tunnel to another machine. From the tables of linux_sockets.c and the descriptors of processes below
 * procfs.
 *
 * A port that a container publishes is held by its runtime (docker-proxy) or by nobody (rules of the firewall); the engine
 * listens in a network namespace of its own, of which each of its processes shows the table. */
#include "lib/platform/linux_sockets.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMESPACES_MAX 256

static bool holds_socket(int64_t pid, unsigned long inode)
{
    char dir[4096], path[4400], target[64], wanted[64];
    char **names;
    size_t n;
    bool found = false;
    snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
    snprintf(dir, sizeof(dir), "%s/%lld/fd", jl_procfs_root(), (long long)pid);
    if (jl_list_dir(dir, &names, &n, NULL) != JOULET_OK)
        return false;
    for (size_t i = 0; i < n && !found; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        ssize_t len = readlink(path, target, sizeof(target) - 1);
        if (len > 0) {
            target[len] = '\0';
            found = strcmp(target, wanted) == 0;
        }
    }
    jl_free_list(names, n);
    return found;
}

struct machine {
    int64_t *pids;
    size_t n;
};

static void list_pids(struct machine *m)
{
    char **names;
    size_t n;
    *m = (struct machine){0};
    if (jl_list_dir(jl_procfs_root(), &names, &n, NULL) != JOULET_OK)
        return;
    m->pids = calloc(n + 1, sizeof(*m->pids));
    for (size_t i = 0; m->pids && i < n; i++)
        if (isdigit((unsigned char)names[i][0]) && jl_parse_i64(names[i], &m->pids[m->n]) && m->pids[m->n] > 0)
            m->n++;
    jl_free_list(names, n);
}

/* Of several that share the socket, as after a fork, the first: the others are below it. */
static int64_t holder_of(const struct machine *m, unsigned long inode)
{
    int64_t first = -1;
    for (size_t i = 0; i < m->n; i++)
        if ((first < 0 || m->pids[i] < first) && holds_socket(m->pids[i], inode))
            first = m->pids[i];
    return first;
}

static bool field_of(int64_t pid, const char *file, const char *key, char *buf, size_t size)
{
    char path[4096], text[8192];
    snprintf(path, sizeof(path), "%s/%lld/%s", jl_procfs_root(), (long long)pid, file);
    if (jl_read_text(path, text, sizeof(text), NULL) != JOULET_OK)
        return false;
    const char *at = key ? strstr(text, key) : text;
    if (!at)
        return false;
    at += key ? strlen(key) : 0;
    at += strspn(at, " \t");
    snprintf(buf, size, "%.*s", (int)strcspn(at, "\n"), at);
    return true;
}

/* Descriptors of another user's process may not be listed, but its user may be seen. A service has a user of its own: its first
 * process is the one whose parent is somebody else's. Several such: unknown. */
static int64_t service_of(const struct machine *m, unsigned uid)
{
    char text[64], parent[64];
    int64_t found = -1, ppid;
    if (uid == 0 || uid == getuid())
        return -1;
    for (size_t i = 0; i < m->n; i++) {
        if (!field_of(m->pids[i], "status", "\nUid:", text, sizeof(text)) || (unsigned)atoi(text) != uid)
            continue;
        if (!field_of(m->pids[i], "status", "\nPPid:", parent, sizeof(parent)) || !jl_parse_i64(parent, &ppid))
            continue;
        if (field_of(ppid, "status", "\nUid:", text, sizeof(text)) && (unsigned)atoi(text) == uid)
            continue;
        if (found >= 0)
            return -1;
        found = m->pids[i];
    }
    return found;
}

/* ---- other network namespaces ---------------------------------------------------------------------------------------- */

/* What tells namespaces apart: their own name where it may be read, else the number of the table that all of one share, which
 * every user may see. */
static void namespace_of(int64_t pid, char *buf, size_t size)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%lld/ns/net", jl_procfs_root(), (long long)pid);
    ssize_t len = readlink(path, buf, size - 1);
    snprintf(path, sizeof(path), "%s/%lld/net/tcp", jl_procfs_root(), (long long)pid);
    if (len > 0)
        buf[len] = '\0';
    else if (stat(path, &st) == 0)
        snprintf(buf, size, "table %llu", (unsigned long long)st.st_ino);
    else
        jl_process_cgroup(pid, buf, size);
}

static bool remembered(char (*seen)[1024], size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(seen[i], name))
            return true;
    return false;
}

/* The first process of the same namespace that holds the socket; where descriptors are hidden, the first process seen in it. */
static int64_t holder_in(const struct machine *m, int64_t first, const char *name, unsigned long inode)
{
    char other[1024];
    int64_t holder = holder_of(m, inode);
    if (holder > 0)
        return holder;
    for (size_t i = 0; i < m->n; i++) {
        namespace_of(m->pids[i], other, sizeof(other));
        if (m->pids[i] < first && !strcmp(other, name))
            first = m->pids[i];
    }
    return first;
}

/* Who listens on `port` in another namespace than ours, one that has the address (NULL any); -1 when nobody does, or in several
 * places. */
static int64_t hidden_listener(const struct machine *m, const char *address, int port)
{
    char(*seen)[1024] = calloc(NAMESPACES_MAX, sizeof(*seen)), folder[4096];
    struct jl_listener here = {0}, s;
    unsigned long inode = 0;
    size_t n = 0;
    int64_t found = -1;
    bool listens_here = jl_listener_of(jl_procfs_root(), NULL, port, &here);
    for (size_t i = 0; seen && i < m->n && n < NAMESPACES_MAX; i++) {
        namespace_of(m->pids[i], seen[n], sizeof(seen[n]));
        if (remembered(seen, n, seen[n]))
            continue;
        n++;
        snprintf(folder, sizeof(folder), "%s/%lld", jl_procfs_root(), (long long)m->pids[i]);
        if (!jl_listener_of(folder, address, port, &s) || (listens_here && s.inode == here.inode) || s.inode == inode ||
            (address && !jl_has_address(folder, address)))
            continue;
        if (found >= 0) {
            found = -1;
            break;
        }
        inode = s.inode;
        found = holder_in(m, m->pids[i], seen[n - 1], s.inode);
    }
    free(seen);
    return found;
}

/* ---- programs that hold a port for somebody else --------------------------------------------------------------------- */

static bool is_one_of(const char *name, const char *const *list)
{
    for (; *list; list++)
        if (jl_starts(name, *list))
            return true;
    return false;
}

/* docker-proxy says whom it serves: "-container-ip 172.17.0.2 -container-port 80". False: not told. */
static bool told_by_proxy(int64_t pid, const char *key, char *out, size_t size)
{
    char path[4096];
    struct jl_buf b;
    bool found = false;
    snprintf(path, sizeof(path), "%s/%lld/cmdline", jl_procfs_root(), (long long)pid);
    jl_buf_init(&b, 1 << 16);
    if (jl_read_file(path, &b, NULL) == JOULET_OK && jl_buf_str(&b, ""))
        for (size_t i = 0; i < b.len && !found; i += strlen(b.data + i) + 1)
            if (!strcmp(b.data + i, key) && i + strlen(key) + 1 < b.len) {
                snprintf(out, size, "%s", b.data + i + strlen(key) + 1);
                found = *out != '\0';
            }
    jl_buf_release(&b);
    return found;
}

static int64_t behind_proxy(const struct machine *m, int64_t proxy, int port)
{
    char address[64], text[16];
    int64_t inner;
    bool told = told_by_proxy(proxy, "-container-port", text, sizeof(text)) && jl_parse_i64(text, &inner) && inner > 0;
    int at = told ? (int)inner : port;
    int64_t pid = told_by_proxy(proxy, "-container-ip", address, sizeof(address)) ? hidden_listener(m, address, at) : -1;
    return pid > 0 ? pid : hidden_listener(m, NULL, at);
}

void jl_server_of(const char *address, int port, struct jl_server *out)
{
    static const char *const tunnels[] = {"ssh", "autossh", "kubectl", "chisel", "tailscaled", "cloudflared", NULL};
    static const char *const runtimes[] = {"docker-proxy", "rootlessport", "rootlesskit", "pasta", "slirp4netns", NULL};
    struct machine m;
    struct jl_listener s;
    *out = (struct jl_server){.pid = -1};
    list_pids(&m);
    if (jl_listener_of(jl_procfs_root(), address, port, &s)) {
        out->pid = holder_of(&m, s.inode);
        if (out->pid > 0)
            field_of(out->pid, "comm", NULL, out->name, sizeof(out->name));
        out->forwarded = out->name[0] && is_one_of(out->name, tunnels);
        out->container = out->name[0] && is_one_of(out->name, runtimes);
        if (out->container)
            out->pid = behind_proxy(&m, out->pid, port);
        else if (out->pid < 0)
            out->pid = service_of(&m, s.uid);
        if (out->forwarded)
            out->pid = -1;
    } else {
        out->pid = hidden_listener(&m, NULL, port);
        out->container = out->pid > 0;
    }
    free(m.pids);
}

int64_t jl_server_inside(const char *address, int port)
{
    struct machine m;
    list_pids(&m);
    int64_t pid = hidden_listener(&m, address, port);
    free(m.pids);
    return pid;
}
