/* calibration.c - where calibrations are kept, and which of them belongs to a channel (docs/method.md 1.4): the same sensor and
 * device by its UUID, or by its name where it has none, read through the same driver. */
#include "lib/meter/calibration.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME   "calibration.txt"
#define WHOLE_RANGE 0.1 /* a window this near the period is the period: the windows looked at are few (1.4) */

const char *joulet_calibration_path(char *buf, size_t size)
{
    char *dir = jl_data_dir_name();
    snprintf(buf, size, "%s%s", dir ? dir : "", dir ? "/" FILE_NAME : "");
    free(dir);
    return buf;
}

void joulet_calibration_release(struct joulet_calibration_file *f)
{
    if (!f)
        return;
    free(f->entries);
    *f = (struct joulet_calibration_file){0};
}

enum joulet_status joulet_calibration_read(const char *path, struct joulet_calibration_file *out, struct joulet_error *err)
{
    struct jl_buf text;
    *out = (struct joulet_calibration_file){0};
    jl_buf_init(&text, CALIBRATION_FILE_MAX);
    enum joulet_status status = jl_read_file(path, &text, err);
    if (status == JOULET_OK)
        status = calibration_parse(text.data ? text.data : "", text.len, path, out, err);
    jl_buf_release(&text);
    return status;
}

/* ---- keeping --------------------------------------------------------------------------------------------------------- */

static bool put(struct joulet_calibration_file *f, const struct joulet_calibrated *e)
{
    for (size_t i = 0; i < f->n; i++)
        if (calibration_same(&f->entries[i], e)) {
            f->entries[i] = *e;
            return true;
        }
    struct joulet_calibrated *all = f->n < CALIBRATION_ENTRIES_MAX ? realloc(f->entries, (f->n + 1) * sizeof(*all)) : NULL;
    if (!all)
        return false;
    f->entries = all;
    all[f->n++] = *e;
    return true;
}

static enum joulet_status merge_and_write(const char *path, const struct joulet_calibration_file *add, struct joulet_error *err)
{
    struct joulet_calibration_file all;
    struct jl_buf text;
    bool fits = true;
    enum joulet_status status = joulet_calibration_read(path, &all, err);
    if (status != JOULET_OK)
        return status;
    for (size_t i = 0; i < add->n; i++)
        fits = put(&all, &add->entries[i]) && fits;
    if (add->cost.at_s)
        all.cost = add->cost;
    jl_buf_init(&text, CALIBRATION_FILE_MAX);
    if (!fits || !calibration_write(&all, &text))
        status = jl_fail(err, JOULET_LIMIT, "%s has no room for another calibration: move it away and calibrate again", path);
    else
        status = jl_write_file(path, text.data, text.len, 0644, err);
    jl_buf_release(&text);
    joulet_calibration_release(&all);
    return status;
}

enum joulet_status joulet_calibration_keep(const char *path, const struct joulet_calibration_file *add, struct joulet_error *err)
{
    int lock = jl_lock_file(path, err);
    if (lock < 0)
        return err ? err->status : JOULET_IO;
    enum joulet_status status = merge_and_write(path, add, err);
    jl_unlock_file(lock);
    return status;
}

/* ---- which entry is whose -------------------------------------------------------------------------------------------- */

/* As it can stand on a line. */
static void copy_name(char *out, size_t size, const char *s)
{
    snprintf(out, size, "%s", s);
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
}

static void copy_fact(const struct sensor *s, const char *id, const char *key, char *out, size_t size)
{
    size_t n = strcspn(id, ".");
    for (size_t i = 0; i < s->n_facts; i++)
        if (strlen(s->facts[i].device) == n && strncmp(s->facts[i].device, id, n) == 0 && strcmp(s->facts[i].key, key) == 0)
            copy_name(out, size, s->facts[i].value);
}

void calibration_identity(const struct sensor *s, const struct joulet_channel *ch, struct joulet_calibrated *out)
{
    *out = (struct joulet_calibrated){.ratio = NAN, .simulated = ch->provenance == JOULET_SIMULATED};
    copy_name(out->sensor, sizeof(out->sensor), ch->sensor);
    copy_name(out->channel, sizeof(out->channel), ch->id);
    copy_name(out->device, sizeof(out->device), ch->device);
    copy_fact(s, ch->id, "uuid", out->uuid, sizeof(out->uuid));
    copy_fact(s, ch->id, "driver", out->driver, sizeof(out->driver));
}

bool calibration_same(const struct joulet_calibrated *a, const struct joulet_calibrated *b)
{
    if (strcmp(a->sensor, b->sensor) != 0 || a->simulated != b->simulated || strcmp(a->uuid, b->uuid) != 0)
        return false;
    if (!a->uuid[0])
        return strcmp(a->channel, b->channel) == 0 && strcmp(a->device, b->device) == 0;
    const char *x = strchr(a->channel, '.'), *y = strchr(b->channel, '.'); /* gpu0 may be gpu1 after a restart */
    return x && y && strcmp(x, y) == 0;
}

const struct joulet_calibrated *calibration_find(const struct joulet_calibration_file *f, const struct joulet_calibrated *who,
                                                 enum joulet_calibration_state *state)
{
    *state = JOULET_CALIBRATION_ABSENT;
    for (size_t i = 0; i < f->n; i++) {
        if (!calibration_same(&f->entries[i], who))
            continue;
        *state = strcmp(f->entries[i].driver, who->driver) == 0 ? JOULET_CALIBRATION_USED : JOULET_CALIBRATION_STALE;
        return &f->entries[i];
    }
    return NULL;
}

void calibration_apply(const struct joulet_calibrated *e, struct joulet_channel *ch)
{
    ch->calibrated = true;
    ch->period_s = e->period_s;
    ch->lag_s = e->lag_s;
    ch->u_lag_s = e->u_lag_s;
    ch->lag_max_s = fmax(e->lag_s + 3 * e->u_lag_s, 0);
    if (ch->quantity != JOULET_POWER)
        return;
    ch->contiguous = fabs(e->window_s - e->period_s) <= WHOLE_RANGE * e->period_s;
    ch->window_s = ch->contiguous ? e->period_s : e->window_s;
}
