/* metering_ledger.c - see metering_ledger.h. The metering puts requests into a list and goes on; a few times a second this thread
 * takes those that are due, makes rows of them and writes these in one transaction. A request that ended is due after a moment,
 * because its final figures are often there by then and it is written once. */
#include "server/metering_ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_NS     ((int64_t)200 * 1000000)
#define DUE_NS      ((int64_t)300 * 1000000) /* after the end, for figures that are not final */
#define AGAIN_NS    ((int64_t)1000 * 1000000)
#define ACCOUNTS_NS ((int64_t)800 * 1000000) /* when nobody asks for anything: with a tick less than a second */
#define CLOSE_NS    ((int64_t)10 * JL_NS_PER_S)
#define BUSY_MS     2000
#define WRITING_S   4 /* longer than a lock of others is waited for */
#define BATCH       512
#define HEADS       ((size_t)8192)

struct item {
    struct item *before, *after, *chain;
    uint64_t key;
    int64_t due_ns;
    struct metered x; /* of one that is not final the table knows more */
    bool has_text;
    struct ledger_text text;
};

struct row {
    struct item *item;
    struct metered x;
    char devices[512], client[WHO_CLIENT];
    struct jl_buf body;
};

struct ledger {
    struct metering *m;
    char proxy[20];
    size_t most; /* that wait */
    struct jl_thread *thread;
    atomic_bool stop, ended;
    /* of its thread */
    struct store *store;
    struct row *rows; /* BATCH */
    struct store_proxied *stored;
    struct store_text *texts;
    struct joulet_accounts done[METERING_DEVICES]; /* what the store has of these */
    double done_lost_s[METERING_DEVICES];
    int64_t accounts_ns, again_ns;
    int64_t done_wall_ns;    /* until then; 0: nothing yet */
    pthread_mutex_t writing; /* held while rows are on their way to the store; before any other lock */
    pthread_mutex_t lock;    /* of all below; taken after that of the metering */
    struct item *first, *last, *heads[HEADS];
    size_t n, text_bytes, taken; /* taken: out of the list, on their way to the store */
    bool failing;
    uint64_t n_stored, n_dropped, n_said;
};

/* ---- texts -------------------------------------------------------------------------------------------------------------- */

void ledger_text_init(struct ledger_text *t)
{
    *t = (struct ledger_text){0};
    jl_buf_init(&t->request, LEDGER_TEXT);
    jl_buf_init(&t->answer, LEDGER_TEXT);
}

void ledger_text_release(struct ledger_text *t)
{
    jl_buf_release(&t->request);
    jl_buf_release(&t->answer);
}

static size_t text_bytes(const struct item *i)
{
    return i->has_text ? i->text.request.len + i->text.answer.len : 0;
}

static void item_free(struct item *i)
{
    if (i->has_text)
        ledger_text_release(&i->text);
    free(i);
}

/* ---- the list: under the lock ------------------------------------------------------------------------------------------- */

static struct item **head_of(struct ledger *l, uint64_t key)
{
    return &l->heads[key % HEADS];
}

static struct item *find(struct ledger *l, uint64_t key)
{
    for (struct item *i = *head_of(l, key); i; i = i->chain)
        if (i->key == key)
            return i;
    return NULL;
}

static void append(struct ledger *l, struct item *i)
{
    struct item **head = head_of(l, i->key);
    i->chain = *head;
    *head = i;
    i->after = NULL;
    i->before = l->last;
    *(l->last ? &l->last->after : &l->first) = i;
    l->last = i;
    l->n++;
    l->text_bytes += text_bytes(i);
}

static void take_out(struct ledger *l, struct item *i)
{
    struct item **at = head_of(l, i->key);
    while (*at != i)
        at = &(*at)->chain;
    *at = i->chain;
    *(i->before ? &i->before->after : &l->first) = i->after;
    *(i->after ? &i->after->before : &l->last) = i->before;
    l->n--;
    l->text_bytes -= text_bytes(i);
}

/* NULL: it is dropped. A text that is one too many is left out, and its length still told. */
static struct item *new_item(struct ledger *l, const struct metered *x, struct ledger_text *text)
{
    struct item *i = l->n < l->most ? calloc(1, sizeof *i) : NULL;
    if (!i) {
        l->n_dropped++;
        return NULL;
    }
    i->key = x->key;
    i->x = *x;
    if (text) {
        i->has_text = true;
        i->text = *text;
        ledger_text_init(text);
        if (l->text_bytes + text_bytes(i) > LEDGER_TEXT_ALL) {
            jl_buf_release(&i->text.request);
            jl_buf_release(&i->text.answer);
        }
    }
    append(l, i);
    return i;
}

void ledger_ended(struct ledger *l, const struct metered *x, struct ledger_text *text)
{
    pthread_mutex_lock(&l->lock);
    struct item *i = new_item(l, x, text);
    if (i)
        i->due_ns = jl_mono_ns() + DUE_NS;
    pthread_mutex_unlock(&l->lock);
}

void ledger_final(struct ledger *l, const struct metered *x)
{
    pthread_mutex_lock(&l->lock);
    struct item *i = find(l, x->key);
    if (i)
        i->x = *x;
    else
        i = new_item(l, x, NULL);
    if (i)
        i->due_ns = 0;
    pthread_mutex_unlock(&l->lock);
}

void ledger_state(struct ledger *l, struct metering_kept *out)
{
    pthread_mutex_lock(&l->lock);
    *out = (struct metering_kept){l->n_stored, l->n_dropped, l->n + l->taken, l->failing};
    pthread_mutex_unlock(&l->lock);
}

/* Those that are due, at most BATCH; all when it ends. */
static size_t take_due(struct ledger *l, bool all)
{
    int64_t now = jl_mono_ns();
    size_t n = 0;
    pthread_mutex_lock(&l->lock);
    for (struct item *i = l->first, *next; i && n < BATCH; i = next) {
        next = i->after;
        if (!all && i->due_ns > now)
            continue;
        take_out(l, i);
        l->rows[n++].item = i;
    }
    l->taken = n;
    pthread_mutex_unlock(&l->lock);
    return n;
}

/* They could not be written. Of one whose final figures came meanwhile only these are wanted. */
static void put_back(struct ledger *l, size_t n)
{
    pthread_mutex_lock(&l->lock);
    l->taken = 0;
    for (size_t k = 0; k < n; k++) {
        struct item *i = l->rows[k].item, *newer = find(l, i->key);
        if (!newer && l->n < l->most) {
            append(l, i);
            continue;
        }
        if (newer && !newer->has_text && i->has_text) {
            newer->has_text = true;
            newer->text = i->text;
            l->text_bytes += text_bytes(newer);
            i->has_text = false;
        }
        l->n_dropped += !newer;
        item_free(i);
    }
    pthread_mutex_unlock(&l->lock);
}

/* ---- rows --------------------------------------------------------------------------------------------------------------- */

/* The table has what is not final yet, and never forgets that; when it is gone, its final figures wait behind. body NULL: without
 * its JSON. */
static bool row_of(struct ledger *l, const struct metered *item, struct row *r, struct store_proxied *q, struct jl_buf *body)
{
    struct metering *m = l->m;
    const struct metered *x = item;
    pthread_mutex_lock(&m->lock);
    if (metering_waits(x))
        x = metering_find(m, item->id);
    if (x) {
        r->x = *x;
        metering_row(m, &r->x, q, r->devices, sizeof r->devices, r->client, body);
        q->proxy = l->proxy;
    }
    pthread_mutex_unlock(&m->lock);
    return x != NULL;
}

static bool make_row(struct ledger *l, struct row *r, struct store_proxied *q)
{
    jl_buf_init(&r->body, 1 << 20);
    return row_of(l, &r->item->x, r, q, &r->body) && !r->body.failed;
}

/* What is kept of a text ends at a whole letter, so that the store has nothing but text. */
static size_t whole_letters(const struct jl_buf *b)
{
    size_t n = b->len;
    for (size_t back = 1; back <= 4 && back <= n; back++) {
        unsigned char c = (unsigned char)b->data[n - back];
        if (c < 0x80)
            return n;
        if (c >= 0xc0) {
            size_t whole = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
            return back < whole ? n - back : n;
        }
    }
    return n;
}

static void make_text(const struct item *i, struct store_text *t)
{
    *t = (struct store_text){.id = i->x.id,
                             .request = i->text.request.data,
                             .answer = i->text.answer.data,
                             .request_n = whole_letters(&i->text.request),
                             .answer_n = whole_letters(&i->text.answer),
                             .request_bytes = i->text.request_bytes,
                             .answer_bytes = i->text.answer_bytes};
}

/* Since the store was told last; *now: what it will have then. */
static size_t make_accounts(struct ledger *l, struct store_account *out, struct joulet_accounts *now, double *now_lost_s)
{
    struct metering *m = l->m;
    int64_t wall_ns = jl_wall_ns();
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->o.n_channels; i++) {
        const struct metering_device *d = &m->devices[i];
        struct joulet_accounts *a = &now[i], *was = &l->done[i];
        *a = *was;
        joulet_attribution_accounts(m->attribution, d->device, a, NULL);
        now_lost_s[i] = d->lost_s;
        out[i] = (struct store_account){.proxy = l->proxy,
                                        .device = d->ch.id,
                                        .from_wall_ns = wall_ns / STORE_QUARTER_NS * STORE_QUARTER_NS,
                                        .to_wall_ns = wall_ns,
                                        .since_wall_ns = l->done_wall_ns,
                                        .provenance = d->ch.provenance,
                                        .j = {.measured_j = a->measured_j - was->measured_j,
                                              .requests_j = a->requests_j - was->requests_j,
                                              .idle_shares_j = a->idle_shares_j - was->idle_shares_j,
                                              .vacant_j = a->vacant_j - was->vacant_j,
                                              .keep_alive_j = a->keep_alive_j - was->keep_alive_j,
                                              .other_j = a->other_j - was->other_j,
                                              .residual_j = a->residual_j - was->residual_j,
                                              .idle_device_j = a->idle_device_j - was->idle_device_j},
                                        .unmeasured_s = d->lost_s - l->done_lost_s[i],
                                        .idle = d->idle};
    }
    pthread_mutex_unlock(&m->lock);
    return m->o.n_channels;
}

/* ---- writing ------------------------------------------------------------------------------------------------------------ */

static void say(const struct ledger *l, const char *sentence)
{
    if (l->m->o.said)
        l->m->o.said(l->m->o.user, sentence);
}

/* Said when it begins, and when it is over. */
static void tell_failure(struct ledger *l, const struct joulet_error *why)
{
    struct joulet_error said;
    pthread_mutex_lock(&l->lock);
    bool news = !l->failing;
    l->failing = true;
    pthread_mutex_unlock(&l->lock);
    l->again_ns = jl_mono_ns() + AGAIN_NS;
    if (!news)
        return;
    jl_fail(&said, why->status, "requests are not stored at present and wait in memory: %s", why->message);
    say(l, said.message);
}

static void tell_success(struct ledger *l, size_t n)
{
    struct joulet_error said;
    pthread_mutex_lock(&l->lock);
    bool news = l->failing;
    uint64_t dropped = l->n_dropped - l->n_said;
    l->n_said = l->n_dropped;
    l->failing = false;
    l->n_stored += n;
    l->taken = 0;
    pthread_mutex_unlock(&l->lock);
    if (dropped) {
        jl_fail(&said, JOULET_LIMIT, "requests are stored again; %llu of them were lost meanwhile, because too many waited",
                (unsigned long long)dropped);
        say(l, said.message);
    } else if (news) {
        say(l, "requests are stored again, and none was lost");
    }
}

enum joulet_status ledger_store(const struct ledger *l, struct store **out, struct joulet_error *err)
{
    const char *db = l->m->o.db;
    char *folder = db ? NULL : jl_data_dir(err), *path = folder ? jl_strf("%s/joulet.db", folder) : NULL;
    enum joulet_status status = JOULET_IO; /* of a folder that cannot be: *err is set */
    if (db || path)
        status = store_open_within(out, db ? db : path, BUSY_MS, err);
    else if (folder)
        status = jl_fail(err, JOULET_MEMORY, "out of memory");
    free(path);
    free(folder);
    return status;
}

static bool store_is_open(struct ledger *l)
{
    struct joulet_error err;
    if (!l->store && ledger_store(l, &l->store, &err) != JOULET_OK) {
        l->store = NULL;
        tell_failure(l, &err);
    }
    return l->store != NULL;
}

/* One transaction of the rows that were taken, and the accounts. */
static bool write_rows(struct ledger *l, size_t n)
{
    struct store_account accounts[METERING_DEVICES];
    struct joulet_accounts now[METERING_DEVICES];
    double now_lost_s[METERING_DEVICES];
    struct joulet_error err;
    struct store_batch b = {.requests = l->stored, .texts = l->texts, .accounts = accounts, .durable = n > 0};
    for (size_t k = 0; k < n; k++) {
        b.n_requests += make_row(l, &l->rows[k], &l->stored[b.n_requests]);
        if (l->rows[k].item->has_text)
            make_text(l->rows[k].item, &l->texts[b.n_texts++]);
    }
    b.n_accounts = make_accounts(l, accounts, now, now_lost_s);
    bool ok = store_put_proxied(l->store, &b, &err) == JOULET_OK;
    for (size_t k = 0; k < n; k++)
        jl_buf_release(&l->rows[k].body);
    if (!ok) {
        tell_failure(l, &err);
        return false;
    }
    memcpy(l->done, now, b.n_accounts * sizeof *now);
    memcpy(l->done_lost_s, now_lost_s, b.n_accounts * sizeof *now_lost_s);
    l->accounts_ns = jl_mono_ns();
    l->done_wall_ns = b.n_accounts ? accounts[0].to_wall_ns : 0;
    tell_success(l, b.n_requests);
    return true;
}

/* Whether the sensors showed anything since the accounts were written; asked seldom. */
static bool accounts_are_due(struct ledger *l)
{
    struct metering *m = l->m;
    bool due = false;
    if (jl_mono_ns() - l->accounts_ns < ACCOUNTS_NS)
        return false;
    l->accounts_ns = jl_mono_ns();
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->o.n_channels && !due; i++) {
        struct joulet_accounts a = l->done[i];
        joulet_attribution_accounts(m->attribution, m->devices[i].device, &a, NULL);
        due = a.measured_j != l->done[i].measured_j || m->devices[i].lost_s != l->done_lost_s[i];
    }
    pthread_mutex_unlock(&m->lock);
    return due;
}

/* Some of what is due. *more: there is more. False: it could not be written. */
static bool write_some(struct ledger *l, bool all, bool *more)
{
    size_t n = take_due(l, all);
    *more = n == BATCH;
    if (!n && !all && !accounts_are_due(l))
        return true;
    bool ok = store_is_open(l) && write_rows(l, n);
    if (!ok)
        put_back(l, n);
    for (size_t k = 0; ok && k < n; k++)
        item_free(l->rows[k].item);
    return ok;
}

/* Everything that is due. */
static void flush(struct ledger *l, bool all)
{
    bool ok = true, more = true;
    while (ok && more) {
        pthread_mutex_lock(&l->writing);
        ok = write_some(l, all, &more);
        pthread_mutex_unlock(&l->writing);
    }
}

static void run(void *arg)
{
    struct ledger *l = arg;
    struct joulet_error said;
    store_is_open(l);
    while (!atomic_load(&l->stop)) {
        int64_t now = jl_mono_ns();
        if (now >= l->again_ns)
            flush(l, false);
        jl_sleep_until(now + TICK_NS);
    }
    flush(l, true);
    pthread_mutex_lock(&l->lock);
    size_t left = l->n + (size_t)(l->n_dropped - l->n_said);
    pthread_mutex_unlock(&l->lock);
    if (left) {
        jl_fail(&said, JOULET_IO, "%zu requests were not stored: the store could not be written", left);
        say(l, said.message);
    }
    store_close(l->store);
    atomic_store(&l->ended, true);
}

/* ---- reading ------------------------------------------------------------------------------------------------------------- */

static bool on_row(void *user, const struct store_proxied *q)
{
    jl_buf_str(user, q->body);
    jl_buf_str(user, "\n");
    return false;
}

bool ledger_read(struct ledger *l, const char *id, struct jl_buf *out)
{
    struct store_wanted w = {.id = id, .limit = 1};
    struct store *s;
    if (ledger_store(l, &s, NULL) != JOULET_OK)
        return false;
    bool found = store_each_proxied(s, &w, true, on_row, out, NULL) == JOULET_OK && out->len > 0;
    store_close(s);
    return found;
}

/* While nothing is on its way nobody else takes items out of the list, or frees them. */
static enum joulet_status add_waiting(struct ledger *l, struct usage *u, struct joulet_error *err)
{
    pthread_mutex_lock(&l->lock);
    size_t n = 0, most = l->n;
    struct item **items = malloc((most + 1) * sizeof *items);
    for (struct item *i = l->first; items && i; i = i->after)
        items[n++] = i;
    pthread_mutex_unlock(&l->lock);
    for (size_t k = 0; k < n; k++) {
        struct row r;
        struct store_proxied q;
        struct metered x;
        pthread_mutex_lock(&l->lock);
        x = items[k]->x;
        pthread_mutex_unlock(&l->lock);
        if (row_of(l, &x, &r, &q, NULL))
            usage_add(u, &q);
    }
    free(items);
    return items ? JOULET_OK : jl_fail(err, JOULET_MEMORY, "out of memory");
}

static void add_accounts(struct ledger *l, struct usage *u)
{
    struct store_account accounts[METERING_DEVICES];
    struct joulet_accounts now[METERING_DEVICES];
    double now_lost_s[METERING_DEVICES];
    int64_t since_ns = u->w.since_ns, until_ns = u->w.until_ns;
    for (size_t i = 0, n = make_accounts(l, accounts, now, now_lost_s); i < n; i++)
        if ((!since_ns || accounts[i].to_wall_ns > since_ns) && (!until_ns || accounts[i].from_wall_ns < until_ns))
            usage_add_account(u, &accounts[i]);
}

/* What is stored is read as it is at the moment in which what waits is added. */
enum joulet_status ledger_usage(struct ledger *l, const struct usage_wanted *w, struct usage *u, struct joulet_error *err)
{
    struct store *s;
    struct timespec until;
    enum joulet_status status = ledger_store(l, &s, err);
    if (status != JOULET_OK)
        return status;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WRITING_S;
    status = usage_begin(u, w, err);
    if (status == JOULET_OK && pthread_mutex_timedlock(&l->writing, &until) == 0) {
        status = store_freeze(s, err);
        if (status == JOULET_OK)
            status = add_waiting(l, u, err);
        if (status == JOULET_OK)
            add_accounts(l, u);
        pthread_mutex_unlock(&l->writing);
    } else if (status == JOULET_OK) {
        status = jl_fail(err, JOULET_BUSY,
                         "the store does not answer: what waits for it cannot be told from what it has; try again later");
    }
    if (status == JOULET_OK)
        status = usage_finish(u, s, err);
    store_thaw(s);
    store_close(s);
    if (status != JOULET_OK)
        usage_release(u);
    return status;
}

/* ---- all of it ---------------------------------------------------------------------------------------------------------- */

static void ledger_free(struct ledger *l)
{
    for (struct item *i = l->first, *next; i; i = next) {
        next = i->after;
        item_free(i);
    }
    pthread_mutex_destroy(&l->lock);
    pthread_mutex_destroy(&l->writing);
    free(l->rows);
    free(l->stored);
    free(l->texts);
    free(l);
}

enum joulet_status ledger_open(struct ledger **out, struct metering *m, struct joulet_error *err)
{
    struct jl_rng r = {(uint64_t)jl_wall_ns() ^ (uint64_t)getpid() << 40};
    struct ledger *l = calloc(1, sizeof *l);
    *out = NULL;
    if (!l)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    l->m = m;
    l->most = m->o.waiting_most ? m->o.waiting_most : LEDGER_ITEMS;
    l->accounts_ns = jl_mono_ns();
    snprintf(l->proxy, sizeof l->proxy, "%016llx", (unsigned long long)jl_rng_next(&r));
    pthread_mutex_init(&l->lock, NULL);
    pthread_mutex_init(&l->writing, NULL);
    l->rows = calloc(BATCH, sizeof *l->rows);
    l->stored = calloc(BATCH, sizeof *l->stored);
    l->texts = calloc(BATCH, sizeof *l->texts);
    enum joulet_status status = l->rows && l->stored && l->texts ? jl_thread_start(&l->thread, "ledger", run, l, err)
                                                                 : jl_fail(err, JOULET_MEMORY, "out of memory");
    if (status == JOULET_OK)
        *out = l;
    else
        ledger_free(l);
    return status;
}

bool ledger_close(struct ledger *l)
{
    struct joulet_error said;
    if (!l)
        return true;
    atomic_store(&l->stop, true);
    for (int64_t until = jl_mono_ns() + CLOSE_NS; !atomic_load(&l->ended) && jl_mono_ns() < until;)
        jl_sleep_until(jl_mono_ns() + TICK_NS / 10);
    if (!atomic_load(&l->ended)) {
        jl_fail(&said, JOULET_BUSY, "the store hangs: requests that waited for it were not stored");
        say(l, said.message);
        return false;
    }
    jl_thread_join(l->thread);
    ledger_free(l);
    return true;
}
