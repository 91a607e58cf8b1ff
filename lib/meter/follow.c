/* follow.c - processor time of a process tree over several looks (docs/method.md 6.4). A process is its number and its start,
 * so that a number used again is somebody else. Who was followed stays followed when its parent ends.
 *
 * A process that ends and is waited for goes on living in the counters of who waited: utime, stime, cutime and cstime of the
 * ended one are added to cutime and cstime there. What had been seen of it before is taken off again, so each tick is counted
 * once. One that nobody of the tree waits for keeps what was seen of it; what it did after the last look is lost. */
#include "lib/meter/follow.h"

#include <stdlib.h>

static size_t place_of(const struct jl_process_time *all, size_t n, int64_t pid)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (all[mid].pid < pid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && all[lo].pid == pid ? lo : SIZE_MAX;
}

/* The same process in another list. */
static size_t same_in(const struct jl_process_time *all, size_t n, const struct jl_process_time *p)
{
    size_t i = place_of(all, n, p->pid);
    return i != SIZE_MAX && all[i].start == p->start ? i : SIZE_MAX;
}

/* Descendants of members become members. A parent is never younger than its child. */
static void spread(const struct jl_process_time *all, bool *member, size_t n)
{
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < n; i++) {
            size_t parent = member[i] ? SIZE_MAX : place_of(all, n, all[i].parent);
            if (parent == SIZE_MAX || !member[parent] || parent == i || all[parent].start > all[i].start)
                continue;
            member[i] = more = true;
        }
    }
}

static void take(struct jl_follow *f, struct jl_process_time *all, bool *member, size_t n)
{
    free(f->all);
    free(f->member);
    f->all = all;
    f->member = member;
    f->n = n;
    f->members = 0;
    f->readings = 0;
    for (size_t i = 0; i < n; i++) {
        f->members += member[i];
        f->readings += member[i] ? all[i].children ? 4 : 2 : 0; /* utime, stime, cutime, cstime: each is cut to ticks */
    }
}

bool jl_follow_begin(struct jl_follow *f, int64_t pid, struct jl_process_time *all, size_t n)
{
    size_t root = place_of(all, n, pid);
    bool *member = root == SIZE_MAX ? NULL : calloc(n, sizeof(*member));
    *f = (struct jl_follow){0};
    if (!member) {
        free(all);
        return false;
    }
    member[root] = true;
    spread(all, member, n);
    take(f, all, member, n);
    return true;
}

/* The nearest follower still alive above one that has ended, in the new list; SIZE_MAX: nobody. Ancestors are those of the last
 * look. */
static size_t who_waited(const struct jl_follow *f, size_t ended, const struct jl_process_time *all, size_t n)
{
    size_t i = ended;
    for (size_t steps = 0; steps < f->n; steps++) {
        size_t parent = place_of(f->all, f->n, f->all[i].parent);
        if (parent == SIZE_MAX || !f->member[parent] || parent == i)
            return SIZE_MAX;
        size_t now = same_in(all, n, &f->all[parent]);
        if (now != SIZE_MAX)
            return now;
        i = parent;
    }
    return SIZE_MAX;
}

static uint64_t rise(uint64_t before, uint64_t now)
{
    return now > before ? now - before : 0;
}

/* Ticks used since the last look. `seen`: n zeros; what was already counted of processes that the follower has waited for. */
static uint64_t gained(const struct jl_follow *f, const struct jl_process_time *all, const bool *member, uint64_t *seen, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < f->n; i++) {
        size_t waited = f->member[i] && same_in(all, n, &f->all[i]) == SIZE_MAX ? who_waited(f, i, all, n) : SIZE_MAX;
        if (waited != SIZE_MAX)
            seen[waited] += f->all[i].own + f->all[i].children;
    }
    for (size_t i = 0; i < n; i++) {
        if (!member[i])
            continue;
        size_t before = same_in(f->all, f->n, &all[i]);
        if (before == SIZE_MAX) /* born since the last look */
            sum += all[i].own + all[i].children;
        else if (f->member[before])
            sum += rise(f->all[before].own, all[i].own) + rise(f->all[before].children + seen[i], all[i].children);
        /* else: it was there and somebody else's: it counts from now on */
    }
    return sum;
}

bool jl_follow_next(struct jl_follow *f, struct jl_process_time *all, size_t n)
{
    bool *member = calloc(n + 1, sizeof(*member));
    uint64_t *seen = calloc(n + 1, sizeof(*seen));
    if (!member || !seen) {
        free(member);
        free(seen);
        free(all);
        return false;
    }
    for (size_t i = 0; i < f->n; i++) {
        size_t now = f->member[i] ? same_in(all, n, &f->all[i]) : SIZE_MAX;
        if (now != SIZE_MAX)
            member[now] = true;
    }
    spread(all, member, n);
    f->used_ticks += gained(f, all, member, seen, n);
    free(seen);
    take(f, all, member, n);
    return true;
}

bool jl_follow_has(const struct jl_follow *f, int64_t pid)
{
    size_t i = place_of(f->all, f->n, pid);
    return i != SIZE_MAX && f->member[i];
}

void jl_follow_end(struct jl_follow *f)
{
    free(f->all);
    free(f->member);
    *f = (struct jl_follow){0};
}
