/* proxied_read.c - what passed the proxy, as it was stored: row by row, since there may be millions. */
#include "store/db.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Text of a column, NULL for none. */
static const char *text(sqlite3_stmt *q, int column)
{
    return (const char *)sqlite3_column_text(q, column);
}

/* Columns that are to hold a text. Their parameters are ?3 and on: session is one for two columns. */
struct match {
    const char *column, *wanted;
};
#define MATCHES 8

static void matches_of(const struct store_wanted *w, struct match out[MATCHES])
{
    const struct match all[MATCHES] = {{"id", w->id},         {"session", w->session},   {"model", w->model},
                                       {"client", w->client}, {"upstream", w->upstream}, {"state", w->state},
                                       {"kind", w->kind},     {"protocol", w->protocol}};
    memcpy(out, all, sizeof all);
}

/* A name, or how it begins. */
static bool begins(const struct store_wanted *w, const struct match *m)
{
    size_t n = m->wanted ? strlen(m->wanted) : 0;
    return w->by_beginnings && n && m->wanted[n - 1] == '*' && strcmp(m->column, "id") != 0;
}

static void add_match(struct jl_buf *sql, const struct store_wanted *w, const struct match *m, size_t number)
{
    const char *const columns[] = {m->column, "trace"};
    bool session = strcmp(m->column, "session") == 0;
    for (int i = 0; i < 1 + session; i++) {
        jl_buf_str(sql, i ? " OR " : session ? " AND (" : " AND ");
        if (begins(w, m))
            jl_buf_printf(sql, "substr(%s, 1, length(?%zu)) = ?%zu", columns[i], number, number);
        else
            jl_buf_printf(sql, "%s = ?%zu", columns[i], number);
    }
    jl_buf_str(sql, session ? ")" : "");
}

/* "WHERE a AND b" of what is wanted; the numbers of parameters are those of bind_wanted. */
static void add_wanted(struct jl_buf *sql, const struct store_wanted *w, bool accounts)
{
    struct match all[MATCHES];
    matches_of(w, all);
    jl_buf_str(sql, " WHERE 1");
    if (w->since_ns)
        jl_buf_str(sql, accounts ? " AND to_wall_ns > ?1" : " AND wall_ns >= ?1");
    if (w->until_ns)
        jl_buf_str(sql, accounts ? " AND from_wall_ns < ?2" : " AND wall_ns < ?2");
    for (size_t i = 0; i < MATCHES && !accounts; i++)
        if (all[i].wanted)
            add_match(sql, w, &all[i], i + 3);
    if (w->before.id)
        jl_buf_str(sql, " AND (wall_ns, id) < (?11, ?12)");
    if (w->after.id)
        jl_buf_str(sql, " AND (wall_ns, id) > (?13, ?14)");
    const char *way = w->newest_first ? " DESC" : "";
    if (accounts)
        jl_buf_printf(sql, " ORDER BY from_wall_ns%s LIMIT ?15", way);
    else
        jl_buf_printf(sql, " ORDER BY wall_ns%s, id%s LIMIT ?15", way, way);
}

static int bind_number(sqlite3_stmt *q, const char *parameter, int64_t x)
{
    int at = sqlite3_bind_parameter_index(q, parameter);
    return at ? sqlite3_bind_int64(q, at, x) : SQLITE_OK;
}

static int bind_word(sqlite3_stmt *q, const char *parameter, const char *text, size_t n)
{
    int at = text ? sqlite3_bind_parameter_index(q, parameter) : 0;
    return at ? sqlite3_bind_text(q, at, text, (int)n, SQLITE_STATIC) : SQLITE_OK;
}

static int bind_wanted(sqlite3_stmt *q, const struct store_wanted *w)
{
    struct match all[MATCHES];
    char parameter[8];
    matches_of(w, all);
    const struct {
        const char *parameter;
        int64_t x;
    } numbers[] = {{"?1", w->since_ns},
                   {"?2", w->until_ns},
                   {"?11", w->before.wall_ns},
                   {"?13", w->after.wall_ns},
                   {"?15", w->limit ? (int64_t)w->limit : -1}};
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < JL_COUNT(numbers); i++)
        rc = bind_number(q, numbers[i].parameter, numbers[i].x);
    for (size_t i = 0; rc == SQLITE_OK && i < MATCHES; i++) {
        snprintf(parameter, sizeof parameter, "?%zu", i + 3);
        rc = all[i].wanted ? bind_word(q, parameter, all[i].wanted, strlen(all[i].wanted) - begins(w, &all[i])) : SQLITE_OK;
    }
    if (rc == SQLITE_OK && w->before.id)
        rc = bind_word(q, "?12", w->before.id, strlen(w->before.id));
    return rc == SQLITE_OK && w->after.id ? bind_word(q, "?14", w->after.id, strlen(w->after.id)) : rc;
}

static int prepare_wanted(struct store *s, sqlite3_stmt **q, const char *what, const struct store_wanted *w, bool accounts)
{
    struct jl_buf sql;
    jl_buf_init(&sql, 4096);
    jl_buf_str(&sql, what);
    add_wanted(&sql, w, accounts);
    int rc = sql.failed ? SQLITE_NOMEM : sqlite3_prepare_v2(s->db, sql.data, -1, q, NULL);
    jl_buf_release(&sql);
    return rc == SQLITE_OK ? bind_wanted(*q, w) : rc;
}

static int64_t count_of(sqlite3_stmt *q, int column)
{
    return sqlite3_column_type(q, column) == SQLITE_NULL ? -1 : sqlite3_column_int64(q, column);
}

#define BODY_AT 46 /* behind all others */

static void read_energy(sqlite3_stmt *q, int at, struct joulet_energy *e)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    *e = unknown;
    e->net_j = sql_real(q, at);
    e->net_pm_j = sql_real(q, at + 1);
    e->gross_j = sql_real(q, at + 2);
    e->gross_pm_j = sql_real(q, at + 3);
    if (!isnan(e->gross_pm_j))
        e->u = (struct joulet_u){.b = sql_real(q, at + 4), .idle = sql_real(q, at + 5), .spec = sql_real(q, at + 6)};
    e->provenance = (enum joulet_provenance)sqlite3_column_int64(q, at + 7);
    e->method = "attribution/1";
}

/* Of a budget: what is not there adds nothing. */
static double term(sqlite3_stmt *q, int column)
{
    double u = sql_real(q, column);
    return isnan(u) ? 0 : u;
}

/* Its intervals follow from its budget (3). */
static void read_phase(sqlite3_stmt *q, int at, const struct joulet_energy *whole, struct joulet_energy *e)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    *e = unknown;
    if (sqlite3_column_type(q, at + 1) == SQLITE_NULL)
        return;
    e->net_j = sql_real(q, at);
    e->gross_j = sql_real(q, at + 1);
    e->u = (struct joulet_u){.b = term(q, at + 2), .idle = term(q, at + 3), .spec = term(q, at + 4), .event = term(q, at + 5)};
    double u_gross = sqrt(e->u.b * e->u.b + e->u.spec * e->u.spec + e->u.event * e->u.event);
    e->gross_pm_j = 2 * u_gross;
    e->net_pm_j = isnan(e->net_j) ? NAN : 2 * hypot(u_gross, e->u.idle);
    e->provenance = whole->provenance;
    e->method = whole->method;
}

static void read_request(sqlite3_stmt *q, struct store_proxied *r)
{
    *r = (struct store_proxied){.id = sql_text(q, 0),
                                .proxy = sql_text(q, 1),
                                .wall_ns = sqlite3_column_int64(q, 2),
                                .end_wall_ns = sqlite3_column_int64(q, 3),
                                .written_wall_ns = sqlite3_column_int64(q, 4),
                                .upstream = text(q, 5),
                                .model = text(q, 6),
                                .protocol = text(q, 7),
                                .kind = text(q, 8),
                                .client = text(q, 9),
                                .session = text(q, 10),
                                .parent = text(q, 11),
                                .trace = text(q, 12),
                                .state = sql_text(q, 13),
                                .failed = sqlite3_column_int64(q, 14) != 0,
                                .final = sqlite3_column_int64(q, 15) != 0,
                                .counted = sqlite3_column_int64(q, 16) != 0,
                                .tokens = {count_of(q, 17), count_of(q, 18), count_of(q, 19), count_of(q, 20)},
                                .duration_s = sql_real(q, 21),
                                .prefill_s = sql_real(q, 22),
                                .decode_s = sql_real(q, 23),
                                .devices = text(q, 24),
                                .body = sqlite3_column_count(q) > BODY_AT ? text(q, BODY_AT) : NULL};
    read_energy(q, 25, &r->energy);
    double u_event = sql_real(q, 33);
    if (!isnan(r->energy.gross_pm_j) && !isnan(u_event))
        r->energy.u.event = u_event;
    read_phase(q, 34, &r->energy, &r->prefill);
    read_phase(q, 40, &r->energy, &r->decode);
}

#define REQUEST_COLUMNS                                                                                                          \
    "SELECT id, proxy, wall_ns, end_wall_ns, written_wall_ns, upstream, model, protocol, kind, client, session, parent, trace,"  \
    " state, failed, final, counted, tokens_in, tokens_cached, tokens_out, tokens_reasoning, duration_s, prefill_s, decode_s,"   \
    " devices, net_j, net_pm_j, gross_j, gross_pm_j, u_b, u_idle, u_spec, provenance, u_event,"                                  \
    " prefill_net_j, prefill_gross_j, prefill_u_b, prefill_u_idle, prefill_u_spec, prefill_u_event,"                             \
    " decode_net_j, decode_gross_j, decode_u_b, decode_u_idle, decode_u_spec, decode_u_event"

/* Told of each row that is wanted until it returns false. */
typedef bool each_row(sqlite3_stmt *q, void *reader);

static enum joulet_status each(struct store *s, const char *what, const struct store_wanted *w, bool accounts, each_row *row,
                               void *reader, struct joulet_error *err)
{
    sqlite3_stmt *q = NULL;
    store_lock(s);
    int rc = prepare_wanted(s, &q, what, w, accounts);
    if (rc == SQLITE_OK)
        do
            rc = sqlite3_step(q);
        while (rc == SQLITE_ROW && row(q, reader));
    enum joulet_status st = jl_ok(err);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        st = store_fail(s, rc, accounts ? "reading the accounts of the proxy" : "reading requests of the proxy", err);
    sqlite3_finalize(q);
    store_unlock(s);
    return st;
}

struct request_reader {
    store_proxied_row *row;
    void *user;
};

static bool each_request(sqlite3_stmt *q, void *reader)
{
    const struct request_reader *to = reader;
    struct store_proxied r;
    read_request(q, &r);
    return to->row(to->user, &r);
}

enum joulet_status store_each_proxied(struct store *s, const struct store_wanted *w, bool body, store_proxied_row *row,
                                      void *user, struct joulet_error *err)
{
    struct request_reader reader = {row, user};
    return each(s, body ? REQUEST_COLUMNS ", body FROM proxied" : REQUEST_COLUMNS " FROM proxied", w, false, each_request,
                &reader, err);
}

struct account_reader {
    store_account_row *row;
    void *user;
};

static bool each_account(sqlite3_stmt *q, void *reader)
{
    const struct account_reader *to = reader;
    struct store_account a = {.proxy = sql_text(q, 0),
                              .device = sql_text(q, 1),
                              .from_wall_ns = sqlite3_column_int64(q, 2),
                              .to_wall_ns = sqlite3_column_int64(q, 3),
                              .provenance = (enum joulet_provenance)sqlite3_column_int64(q, 4),
                              .j = {.measured_j = sql_real(q, 5),
                                    .requests_j = sql_real(q, 6),
                                    .idle_shares_j = sql_real(q, 7),
                                    .vacant_j = sql_real(q, 8),
                                    .keep_alive_j = sql_real(q, 9),
                                    .other_j = sql_real(q, 10),
                                    .residual_j = sql_real(q, 11),
                                    .idle_device_j = sql_real(q, 15)},
                              .shared_s = sql_real(q, 16),
                              .unmeasured_s = sql_real(q, 12),
                              .idle = {.power_w = sql_real(q, 13), .u_w = sql_real(q, 14), .sd_w = NAN}};
    return to->row(to->user, &a);
}

enum joulet_status store_each_account(struct store *s, const struct store_wanted *w, store_account_row *row, void *user,
                                      struct joulet_error *err)
{
    static const char columns[] = "SELECT proxy, device, from_wall_ns, to_wall_ns, provenance, measured_j, requests_j, "
                                  "idle_shares_j, vacant_j, keep_alive_j,"
                                  " other_j, residual_j, unmeasured_s, idle_w, idle_u_w, idle_device_j, shared_s FROM accounts";
    struct store_wanted times = {.since_ns = w->since_ns, .until_ns = w->until_ns};
    struct account_reader reader = {row, user};
    return each(s, columns, &times, true, each_account, &reader, err);
}

enum joulet_status store_freeze(struct store *s, struct joulet_error *err)
{
    store_lock(s);
    int rc = sqlite3_exec(s->db, "BEGIN", NULL, NULL, NULL);
    if (rc == SQLITE_OK) /* it is as of the first thing that is read */
        rc = sqlite3_exec(s->db, "SELECT 1 FROM proxied LIMIT 1", NULL, NULL, NULL);
    enum joulet_status st = rc == SQLITE_OK ? jl_ok(err) : store_fail(s, rc, "reading requests of the proxy", err);
    store_unlock(s);
    if (st != JOULET_OK)
        store_thaw(s);
    return st;
}

void store_thaw(struct store *s)
{
    store_lock(s);
    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    store_unlock(s);
}

static void append(struct jl_buf *out, sqlite3_stmt *q, int column)
{
    const void *bytes = sqlite3_column_blob(q, column);
    int n = sqlite3_column_bytes(q, column);
    if (bytes && n > 0)
        jl_buf_add(out, bytes, (size_t)n);
}

enum joulet_status store_proxied_text(struct store *s, const char *id, struct jl_buf *request, struct jl_buf *answer,
                                      struct joulet_error *err)
{
    sqlite3_stmt *q = NULL;
    store_lock(s);
    int rc = sql_prepare(s->db, &q, "SELECT request, answer FROM proxied_texts WHERE id=?", "t", id);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(q);
    enum joulet_status st = rc == SQLITE_ROW    ? jl_ok(err)
                            : rc == SQLITE_DONE ? jl_fail(err, JOULET_NOT_FOUND,
                                                          "of request %.40s no text is kept: `joulet serve --keep-text` keeps "
                                                          "those that come after its start",
                                                          id)
                                                : store_fail(s, rc, "reading the text of a request", err);
    if (rc == SQLITE_ROW) {
        append(request, q, 0);
        append(answer, q, 1);
    }
    sqlite3_finalize(q);
    store_unlock(s);
    return st;
}
