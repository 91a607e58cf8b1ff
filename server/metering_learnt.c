/* metering_learnt.c - what was learnt of models is kept in a file of lines, so that shares are right from the first request after
 * a restart (7.5): channel, device, upstream and model, and the line of joulet_attribution_learnt, with tabs in between. */
#include "server/metering_private.h"

#include <stdlib.h>
#include <string.h>

#define FILE_MAX  ((size_t)1 << 20)
#define LINES_MAX 1000 /* the newest */

/* "channel\tdevice\tupstream\tmodel\t" */
static bool put_key(struct jl_buf *out, const struct metering_device *d, const struct metering_engine *e)
{
    const char *const parts[] = {d->ch.id, d->ch.device ? d->ch.device : "", e->upstream, e->model};
    for (size_t i = 0; i < JL_COUNT(parts); i++) {
        if (strpbrk(parts[i], "\t\n"))
            return false;
        jl_buf_printf(out, "%s\t", parts[i]);
    }
    return !out->failed;
}

/* The newest line with that key, without it; NULL none. Lines end with \n. */
static const char *find_line(const struct jl_buf *text, const char *key)
{
    const char *found = NULL, *at = text->data;
    size_t n = strlen(key);
    while (at && *at) {
        if (strncmp(at, key, n) == 0)
            found = at + n;
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    return found;
}

void metering_learnt_read(struct metering *m)
{
    jl_buf_init(&m->learnt, FILE_MAX);
    if (m->o.learnt_path && jl_read_file(m->o.learnt_path, &m->learnt, NULL) != JOULET_OK)
        jl_buf_clear(&m->learnt);
}

void metering_learnt_recall(struct metering *m, const struct metering_engine *e)
{
    for (size_t i = 0; i < m->o.n_channels && e->engine != NOWHERE; i++) {
        struct jl_buf key;
        char line[JOULET_LEARNT_MAX];
        jl_buf_init(&key, 4096);
        const char *found = put_key(&key, &m->devices[i], e) ? find_line(&m->learnt, key.data) : NULL;
        size_t n = found ? strcspn(found, "\n") : 0;
        if (e->devices & (uint32_t)1 << i && n && n < sizeof line) {
            memcpy(line, found, n);
            line[n] = '\0';
            joulet_attribution_recall(m->attribution, e->engine, m->devices[i].device, line, NULL);
        }
        jl_buf_release(&key);
    }
}

/* Ours, as they are now. */
static void put_ours(struct metering *m, struct jl_buf *out)
{
    for (size_t k = 0; k < m->n_engines; k++)
        for (size_t i = 0; i < m->o.n_channels; i++) {
            const struct metering_engine *e = &m->engines[k];
            struct joulet_weights w;
            struct jl_buf key;
            char line[JOULET_LEARNT_MAX];
            if (e->engine == NOWHERE || !(e->devices & (uint32_t)1 << i) ||
                joulet_attribution_learnt(m->attribution, e->engine, m->devices[i].device, line, sizeof line, &w, NULL) !=
                    JOULET_OK ||
                w.assumed)
                continue;
            jl_buf_init(&key, 4096);
            if (put_key(&key, &m->devices[i], e))
                jl_buf_printf(out, "%s%s\n", key.data, line);
            jl_buf_release(&key);
        }
}

static size_t lines_of(const struct jl_buf *b)
{
    size_t n = 0;
    for (const char *at = b->data; at && (at = strchr(at, '\n')); at++)
        n++;
    return n;
}

/* Lines of others, which may have been written meanwhile; older ones of ours go, and the oldest of all when there are many. */
static void put_others(const struct jl_buf *ours, const struct jl_buf *text, struct jl_buf *out)
{
    size_t n = lines_of(text), skip = n > LINES_MAX ? n - LINES_MAX : 0;
    for (const char *at = text->data, *end; at && (end = strchr(at, '\n')); at = end + 1) {
        const char *key = at;
        for (int tabs = 0; key < end && tabs < 4; key++)
            tabs += *key == '\t';
        char *own = jl_strf("%.*s", (int)(key - at), at);
        if (skip)
            skip--;
        else if (own && !find_line(ours, own))
            jl_buf_add(out, at, (size_t)(end - at) + 1);
        free(own);
    }
}

void metering_learnt_keep(struct metering *m)
{
    struct jl_buf ours, text, out;
    if (!m->o.learnt_path)
        return;
    jl_buf_init(&ours, FILE_MAX);
    jl_buf_init(&text, FILE_MAX);
    jl_buf_init(&out, FILE_MAX);
    pthread_mutex_lock(&m->lock);
    put_ours(m, &ours);
    pthread_mutex_unlock(&m->lock);
    if (ours.len) {
        if (jl_read_file(m->o.learnt_path, &text, NULL) == JOULET_OK)
            put_others(&ours, &text, &out);
        jl_buf_add(&out, ours.data, ours.len);
        if (!out.failed)
            jl_write_file(m->o.learnt_path, out.data, out.len, 0600, NULL);
    }
    jl_buf_release(&ours);
    jl_buf_release(&text);
    jl_buf_release(&out);
}
