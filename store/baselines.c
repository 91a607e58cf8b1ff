/* baselines.c - the last idle level of each machine and engine state, so that a run need not wait for one (docs/method.md 4.2).
 */
#include "store/db.h"

#include <math.h>

struct put {
    const char *key, *channel;
    const struct joulet_baseline *b;
    int64_t wall_ns;
};

static int put_work(struct store *s, void *arg)
{
    const struct put *p = arg;
    return sql_run(s->db,
                   "INSERT OR REPLACE INTO baselines(key, channel, wall_ns, power_w, u_w, sd_w, from_ns, to_ns, flags) "
                   "VALUES(?,?,?,?,?,?,?,?,?)",
                   "ttidddiii", p->key, p->channel, p->wall_ns, p->b->power_w, p->b->u_w, p->b->sd_w, p->b->from_ns, p->b->to_ns,
                   (int64_t)p->b->flags);
}

enum joulet_status store_put_baseline(struct store *s, const char *key, const char *channel, const struct joulet_baseline *b,
                                      int64_t wall_ns, struct joulet_error *err)
{
    struct put p = {key, channel, b, wall_ns};
    return store_transact(s, false, put_work, &p, "writing an idle level", err);
}

static bool young(int64_t wall_ns, double max_age_s)
{
    /* A level from the future means that the clock was set: its age is not known. */
    double age_s = ((double)jl_wall_ns() - (double)wall_ns) * 1e-9;
    return age_s >= -1 && age_s <= max_age_s;
}

static enum joulet_status get(struct store *s, const char *key, const char *channel, double max_age_s, struct joulet_baseline *b,
                              struct joulet_error *err)
{
    sqlite3_stmt *q = NULL;
    int rc = sql_prepare(s->db, &q,
                         "SELECT wall_ns, power_w, u_w, sd_w, from_ns, to_ns, flags FROM baselines WHERE key=? AND channel=?",
                         "tt", key, channel);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(q);
    enum joulet_status st = jl_ok(err);
    if (rc == SQLITE_ROW && young(sqlite3_column_int64(q, 0), max_age_s))
        *b = (struct joulet_baseline){sql_real(q, 1),
                                      sql_real(q, 2),
                                      sql_real(q, 3),
                                      sqlite3_column_int64(q, 4),
                                      sqlite3_column_int64(q, 5),
                                      (uint32_t)sqlite3_column_int64(q, 6)};
    else if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        st = jl_fail(err, JOULET_NOT_FOUND, "%s: no idle level younger than %g s is stored; `joulet bench` takes one", channel,
                     max_age_s);
    else
        st = store_fail(s, rc, "reading an idle level", err);
    sqlite3_finalize(q);
    return st;
}

enum joulet_status store_get_baseline(struct store *s, const char *key, const char *channel, double max_age_s,
                                      struct joulet_baseline *b, struct joulet_error *err)
{
    *b = (struct joulet_baseline)JOULET_BASELINE_NONE;
    store_lock(s);
    enum joulet_status st = get(s, key, channel, max_age_s, b, err);
    store_unlock(s);
    return st;
}
