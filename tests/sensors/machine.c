/* machine.c - lays fixture machines out and opens sensors on them. */
#include "tests/sensors/machine.h"

#include "tests/base/test.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *path_of(const struct machine *m, const char *file)
{
    char *path = jl_strf("%s/%s", m->dir, file);
    assert_non_null(path);
    return path;
}

static void make_parent(char *path)
{
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(jl_make_dirs(path, NULL), JOULET_OK);
    *slash = '/';
}

static void append(const struct machine *m, const char *file, const char *text)
{
    char *path = path_of(m, file);
    make_parent(path);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    fprintf(f, "%s\n", text);
    fclose(f);
    free(path);
}

static void lay_out(const struct machine *m, char *line)
{
    char *text = line + strcspn(line, " \t\n");
    if (!*line || *line == '#' || *line == '\n')
        return;
    if (*text)
        *text++ = '\0';
    text += strspn(text, " \t");
    text[strcspn(text, "\n")] = '\0';
    if (strncmp(text, "-> ", 3) != 0) {
        append(m, line, text);
        return;
    }
    char *path = path_of(m, line);
    make_parent(path);
    assert_int_equal(symlink(text + 3, path), 0);
    free(path);
}

static void lay_out_all(const struct machine *m, const char *name, const char *but)
{
    char line[8192], *tree = jl_strf("%s/machines/%s.tree", FIXTURES, name);
    FILE *f = fopen(tree, "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        if (!but || !jl_starts(line, but))
            lay_out(m, line);
    fclose(f);
    free(tree);
}

void machine_lay_out(const struct machine *m, const char *name)
{
    lay_out_all(m, name, NULL);
}

void machine_lay_out_device(const struct machine *m, const char *name)
{
    lay_out_all(m, name, "proc/");
}

void machine_open(struct machine *m, const char *name)
{
    strcpy(m->dir, "/tmp/joulet-machine-XXXXXX");
    assert_non_null(mkdtemp(m->dir));
    machine_lay_out(m, name);
    char *sys = path_of(m, "sys"), *proc = path_of(m, "proc"), *dev = path_of(m, "dev");
    chmod(m->dir, 0755); /* the test of permissions reads it as another user */
    setenv("JOULET_SYSFS", sys, 1);
    setenv("JOULET_PROCFS", proc, 1);
    setenv("JOULET_DEVFS", dev, 1);
    free(sys);
    free(proc);
    free(dev);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void machine_close(struct machine *m)
{
    nftw(m->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    unsetenv("JOULET_SYSFS");
    unsetenv("JOULET_PROCFS");
    unsetenv("JOULET_DEVFS");
}

void machine_write_at(const struct machine *m, const char *file, int64_t at, const void *bytes, size_t n)
{
    char *path = path_of(m, file);
    make_parent(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, (off_t)at), n);
    close(fd);
    free(path);
}

void machine_empty(const struct machine *m)
{
    const char *parts[] = {"sys", "dev"};
    for (size_t i = 0; i < JL_COUNT(parts); i++) {
        char *path = path_of(m, parts[i]);
        nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        free(path);
    }
}

void machine_write(const struct machine *m, const char *file, const char *fmt, ...)
{
    char *path = path_of(m, file);
    FILE *f = fopen(path, "w");
    va_list args;
    assert_non_null(f);
    va_start(args, fmt);
    vfprintf(f, fmt, args);
    va_end(args);
    fclose(f);
    free(path);
}

void machine_remove(const struct machine *m, const char *file)
{
    char *path = path_of(m, file);
    assert_int_equal(remove(path), 0);
    free(path);
}

void machine_chmod(const struct machine *m, const char *file, unsigned mode)
{
    char *path = path_of(m, file);
    assert_int_equal(chmod(path, mode), 0);
    free(path);
}

/* ---- sensors ------------------------------------------------------------------------------------------------------- */

const struct sensor_ops *find_sensor(const char *name)
{
    for (size_t i = 0; sensor_table[i]; i++)
        if (strcmp(sensor_table[i]->name, name) == 0)
            return sensor_table[i];
    return NULL;
}

enum joulet_status open_sensors(struct sensor_list *l, const char *name, const struct joulet_options *opt,
                                struct joulet_error *err)
{
    struct joulet_options defaults = JOULET_OPTIONS_INIT;
    memset(l, 0, sizeof(*l));
    assert_non_null(find_sensor(name));
    return find_sensor(name)->discover(l, opt ? opt : &defaults, err);
}

void close_sensors(struct sensor_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        l->items[i]->ops->close(l->items[i]);
    for (size_t i = 0; i < l->n_problems; i++)
        free((char *)l->problems[i].message);
    memset(l, 0, sizeof(*l));
}

static struct sensor *find(struct sensor_list *l, const char *id, size_t *channel)
{
    for (size_t i = 0; i < l->n; i++)
        for (*channel = 0; *channel < l->items[i]->n_channels; (*channel)++)
            if (strcmp(l->items[i]->channels[*channel].id, id) == 0)
                return l->items[i];
    fail_msg("there is no channel %s", id);
    return NULL;
}

struct joulet_channel *find_channel(struct sensor_list *l, const char *id)
{
    size_t k;
    struct sensor *s = find(l, id, &k);
    return &s->channels[k];
}

struct sensor_reading read_channel(struct sensor_list *l, const char *id)
{
    struct sensor_reading readings[JL_CHANNELS_MAX];
    size_t k;
    struct sensor *s = find(l, id, &k);
    s->ops->read(s, readings, true);
    return readings[k];
}

const char *find_fact(struct sensor_list *l, const char *device, const char *key)
{
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < l->items[i]->n_facts; k++) {
            const struct joulet_fact *f = &l->items[i]->facts[k];
            if (strcmp(f->device, device) == 0 && strcmp(f->key, key) == 0)
                return f->value;
        }
    return NULL;
}
