/* linux_listen.c - who serves a TCP port of this machine: the process that holds the socket, one that a container or a network
 * namespace hides, or a tunnel to another machine. From net/tcp and the descriptors of processes below procfs.
 *
 * A port that a container publishes is held by its runtime (docker-proxy) or by nobody (rules of the firewall); the engine
 * listens in a network namespace of its own, of which each of its processes shows the table. */
#include "lib/platform/platform.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAMESPACES_MAX 256

struct socket_found {
    unsigned long inode;
    unsigned uid;
};

/* The listener on `port` in net/tcp or net/tcp6 ("sl local:PORT remote st ... uid timeout inode"; state 0A is LISTEN). */
static bool listener_in(const char *folder, const char *table, int port, struct socket_found *out)
{
    char path[4400], line[512];
    snprintf(path, sizeof(path), "%s/net/%s", folder, table);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool found = false;
    while (!found && fgets(line, sizeof(line), f)) {
        unsigned local = 0, state = 0;
        found = sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %u %*s %lu", &local, &state, &out->uid,
                       &out->inode) == 4 &&
                state == 0x0a && local == (unsigned)port;
    }
    fclose(f);
    return found;
}

static bool listener(const char *folder, int port, struct socket_found *out)
{
    return listener_in(folder, "tcp", port, out) || listener_in(folder, "tcp6", port, out);
}

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

/* What tells namespaces apart: their own name where it may be read, else the control group. */
static void namespace_of(int64_t pid, char *buf, size_t size)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%lld/ns/net", jl_procfs_root(), (long long)pid);
    ssize_t len = readlink(path, buf, size - 1);
    if (len > 0)
        buf[len] = '\0';
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

/* Who listens on `port` elsewhere than here; -1 when nobody does, or in several places. */
static int64_t hidden_listener(const struct machine *m, int port)
{
    char(*seen)[1024] = calloc(NAMESPACES_MAX, sizeof(*seen)), folder[4096];
    struct socket_found here = {0}, s;
    unsigned long inode = 0;
    size_t n = 0;
    int64_t found = -1;
    bool listens_here = listener(jl_procfs_root(), port, &here);
    for (size_t i = 0; seen && i < m->n && n < NAMESPACES_MAX; i++) {
        namespace_of(m->pids[i], seen[n], sizeof(seen[n]));
        if (remembered(seen, n, seen[n]))
            continue;
        n++;
        snprintf(folder, sizeof(folder), "%s/%lld", jl_procfs_root(), (long long)m->pids[i]);
        if (!listener(folder, port, &s) || (listens_here && s.inode == here.inode) || s.inode == inode)
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

/* docker-proxy says which port of the container it serves: "-container-port 80". */
static int container_port(int64_t pid, int port)
{
    static const char key[] = "-container-port";
    char path[4096];
    struct jl_buf b;
    int found = port;
    snprintf(path, sizeof(path), "%s/%lld/cmdline", jl_procfs_root(), (long long)pid);
    jl_buf_init(&b, 1 << 16);
    if (jl_read_file(path, &b, NULL) == JOULET_OK)
        for (size_t i = 0; i < b.len; i += strnlen(b.data + i, b.len - i) + 1)
            if (!strcmp(b.data + i, key) && i + sizeof(key) < b.len && atoi(b.data + i + sizeof(key)) > 0)
                found = atoi(b.data + i + sizeof(key));
    jl_buf_release(&b);
    return found;
}

void jl_server_of(int port, struct jl_server *out)
{
    static const char *const tunnels[] = {"ssh", "autossh", "kubectl", "chisel", "tailscaled", "cloudflared", NULL};
    static const char *const runtimes[] = {"docker-proxy", "rootlessport", "rootlesskit", "pasta", "slirp4netns", NULL};
    struct machine m;
    struct socket_found s;
    *out = (struct jl_server){.pid = -1};
    list_pids(&m);
    if (listener(jl_procfs_root(), port, &s)) {
        out->pid = holder_of(&m, s.inode);
        if (out->pid > 0)
            field_of(out->pid, "comm", NULL, out->name, sizeof(out->name));
        out->forwarded = out->name[0] && is_one_of(out->name, tunnels);
        out->container = out->name[0] && is_one_of(out->name, runtimes);
        if (out->container)
            out->pid = hidden_listener(&m, container_port(out->pid, port));
        else if (out->pid < 0)
            out->pid = service_of(&m, s.uid);
        if (out->forwarded)
            out->pid = -1;
    } else {
        out->pid = hidden_listener(&m, port);
        out->container = out->pid > 0;
    }
    free(m.pids);
}
