/* serve_meter.c - what `serve` measures with: the sensors, those of them that the upstreams draw from, and the metering on them.
 */
#include "cli/json.h"
#include "cli/live.h"
#include "cli/serve.h"
#include "meters/meters.h"
#include "profile/probe.h"
#include "server/metering.h"
#include "server/who.h"

#include <stdlib.h>
#include <string.h>

#define READY_S      10.0
#define MEMORY_BYTES ((size_t)32 << 20)

struct serve_meter {
    struct joulet *meter;
    struct meters *meters; /* of --meter; NULL none */
    struct joulet_channel *channels;
    size_t n;
    struct metering_options options;
    char *learnt; /* path; NULL: no folder of this user's */
    char *probes; /* folder; NULL likewise */
    uint8_t secret[WHO_SECRET];
    struct metering *metering;
};

/* "gpu0", "gpu", "gpu0.board": a device, a group, or a channel. */
static bool is_named(const struct joulet_channel *ch, const char *word, size_t n)
{
    const char *group = joulet_group_name(ch->group);
    bool id = strncmp(ch->id, word, n) == 0, whole = id && ch->id[n] == '\0';
    return whole || (ch->in_total && ((id && ch->id[n] == '.') || (strlen(group) == n && strncmp(group, word, n) == 0)));
}

/* Place of a channel among those that are metered; SIZE_MAX: there are too many. */
static size_t place_of(struct serve_meter *m, size_t channel)
{
    struct metering_options *o = &m->options;
    for (size_t i = 0; i < o->n_channels; i++)
        if (o->channels[i] == channel)
            return i;
    if (o->n_channels == METERING_DEVICES)
        return SIZE_MAX;
    o->channels[o->n_channels] = channel;
    return o->n_channels++;
}

static void add(struct serve_meter *m, size_t channel, uint32_t *devices)
{
    size_t i = place_of(m, channel);
    if (i != SIZE_MAX)
        *devices |= (uint32_t)1 << i;
}

/* Every word must name something: a slip would leave out what the user means. */
static int name_devices(struct serve_meter *m, const struct cli *c, const char *list, size_t len, uint32_t *devices)
{
    for (const char *p = list, *end = list + len; p < end;) {
        size_t n = strcspn(p, ", ");
        n = n < (size_t)(end - p) ? n : (size_t)(end - p);
        bool any = n == 0;
        for (size_t i = 0; i < m->n && n; i++)
            if (live_is_power(&m->channels[i]) && is_named(&m->channels[i], p, n)) {
                add(m, i, devices);
                any = true;
            }
        if (!any)
            return cli_usage(c, "--devices: there is no device, group or channel \"%.*s\" here; `joulet sensors` lists them",
                             (int)n, p);
        p += n;
        p += strspn(p, ", ");
    }
    return CLI_DONE;
}

static const struct server_upstream *upstream_named(const struct server_upstream *all, size_t n, const char *name, size_t len)
{
    for (size_t i = 0; i < n; i++) {
        const char *const names[] = {all[i].prefix, all[i].model, all[i].url};
        for (size_t k = 0; k < JL_COUNT(names); k++)
            if (names[k] && strlen(names[k]) == len && strncmp(names[k], name, len) == 0)
                return &all[i];
    }
    return NULL;
}

/* "gpu0,cpu", or "/o=gpu0" of one upstream. */
static int one_part(struct serve_meter *m, const struct cli *c, const char *part, size_t len,
                    const struct server_upstream *upstreams, size_t n)
{
    struct metering_options *o = &m->options;
    size_t name = len;
    while (name && part[name - 1] != '=')
        name--;
    if (!name) {
        o->everywhere = true;
        return name_devices(m, c, part, len, &o->devices);
    }
    const struct server_upstream *u = upstream_named(upstreams, n, part, name - 1);
    if (!u)
        return cli_usage(c,
                         "--devices: no upstream is called \"%.*s\": name its prefix, its model or its address as in --upstream",
                         (int)(name - 1), part);
    if (o->n_upstreams == METERING_UPSTREAMS)
        return cli_usage(c, "--devices: at most %d upstreams can be named", METERING_UPSTREAMS);
    o->upstreams[o->n_upstreams].url = u->url;
    return name_devices(m, c, part + name, len - name, &o->upstreams[o->n_upstreams++].devices);
}

/* Those that are not named: their processes tell. */
static void look_for(struct metering_options *o, const char *url)
{
    for (size_t i = 0; i < o->n_upstreams; i++)
        if (strcmp(o->upstreams[i].url, url) == 0)
            return;
    if (o->n_upstreams < METERING_UPSTREAMS)
        o->upstreams[o->n_upstreams++] = (struct metering_upstream){.url = url, .look_up = true};
}

static int choose(struct serve_meter *m, const struct cli *c, const struct server_upstream *upstreams, size_t n)
{
    const char *list = cli_str(c, "devices");
    int code = CLI_DONE;
    for (const char *p = list; p && *p && code == CLI_DONE; p += strspn(p, "; ")) {
        size_t len = strcspn(p, ";");
        code = one_part(m, c, p, len, upstreams, n);
        p += len;
    }
    for (size_t i = 0; i < m->n && code == CLI_DONE && !m->options.everywhere; i++)
        if (m->channels[i].in_total)
            add(m, i, &m->options.devices);
    for (size_t i = 0; i < n && code == CLI_DONE; i++)
        look_for(&m->options, upstreams[i].url);
    return code;
}

static bool measures(const struct serve_meter *m)
{
    for (size_t i = 0; i < m->options.n_channels; i++)
        if (!live_is_estimate(&m->channels[m->options.channels[i]]))
            return true;
    return false;
}

static enum joulet_status open_sensors(struct serve_meter *m, const struct cli *c, struct joulet_error *err)
{
    struct joulet_options o = JOULET_OPTIONS_INIT;
    cli_meter_options(c, &o);
    o.memory_bytes = MEMORY_BYTES;
    if (cli_meters_check(c, &o, err) != JOULET_OK || joulet_open(&m->meter, &o, err) != JOULET_OK ||
        cli_meters_open(c, m->meter, &m->meters, err) != JOULET_OK)
        return err->status;
    if (joulet_wait_ready(m->meter, READY_S, err) != JOULET_OK)
        cli_warn(c, "%s", err->message);
    m->n = joulet_channel_count(m->meter);
    m->channels = calloc(m->n + 1, sizeof *m->channels);
    for (size_t i = 0; m->channels && i < m->n; i++)
        joulet_channel_get(m->meter, i, &m->channels[i]);
    return m->channels ? JOULET_OK : jl_fail(err, JOULET_MEMORY, "out of memory");
}

static void on_said(void *user, const char *sentence)
{
    cli_warn(user, "%s", sentence);
}

static int prepare(struct serve_meter *m, const struct cli *c, const struct server_upstream *upstreams, size_t n)
{
    struct joulet_error err;
    enum joulet_status status = open_sensors(m, c, &err);
    if (status == JOULET_NO_SENSOR && !cli_flag(c, "measured-only")) {
        cli_warn(c, "nothing is measured, requests only pass: %s", err.message);
        return CLI_DONE;
    }
    if (status != JOULET_OK)
        return cli_fail(c, &err);
    int code = choose(m, c, upstreams, n);
    if (code == CLI_DONE && cli_flag(c, "measured-only") && !measures(m)) {
        cli_warn(c, "nothing here can be measured and --measured-only was given; `joulet doctor` shows what is in the way");
        return CLI_NO_SENSOR;
    }
    if (code != CLI_DONE || !m->options.n_channels)
        return code;
    char *folder = jl_data_dir(NULL);
    m->learnt = folder ? jl_strf("%s/learnt.txt", folder) : NULL;
    free(folder);
    m->options.learnt_path = m->learnt;
    m->probes = probe_folder_name();
    m->options.probes = m->probes;
    m->options.meter = m->meter;
    if (who_secret(m->secret, &err) == JOULET_OK)
        m->options.secret = m->secret;
    else
        cli_warn(c, "the keys of clients are not told apart: %s", err.message);
    m->options.keeps = !cli_flag(c, "no-store");
    m->options.db = cli_str(c, "db");
    m->options.keeps_text = cli_flag(c, "keep-text");
    m->options.said = on_said;
    m->options.user = (void *)(uintptr_t)c;
    m->options.look_up = !cli_str(c, "sim"); /* a simulated sensor sees nothing of this machine's processes */
    return metering_open(&m->metering, &m->options, &err) == JOULET_OK ? CLI_DONE : cli_fail(c, &err);
}

int serve_meter_open(struct serve_meter **out, const struct cli *c, const struct server_upstream *upstreams, size_t n)
{
    struct joulet_error err;
    *out = NULL;
    if (cli_flag(c, "no-meter"))
        return CLI_DONE;
    struct serve_meter *m = calloc(1, sizeof *m);
    if (!m) {
        jl_fail(&err, JOULET_MEMORY, "out of memory");
        return cli_fail(c, &err);
    }
    int code = prepare(m, c, upstreams, n);
    if (code == CLI_DONE && m->metering)
        *out = m;
    else
        serve_meter_close(m);
    return code;
}

struct metering *serve_metering(const struct serve_meter *m)
{
    return m ? m->metering : NULL;
}

struct joulet *serve_meter_of(const struct serve_meter *m)
{
    return m ? m->meter : NULL;
}

void serve_meter_text(struct jl_buf *out, const struct serve_meter *m)
{
    for (size_t i = 0; m && i < m->options.n_channels; i++) {
        const struct joulet_channel *ch = &m->channels[m->options.channels[i]];
        jl_buf_printf(out, "%s%s (%s)", i ? ", " : "measures ", ch->id, joulet_provenance_name(ch->provenance));
    }
    jl_buf_str(out, m ? "\n" : "");
}

void serve_meter_json(struct jl_buf *out, const struct serve_meter *m)
{
    jl_buf_str(out, "[");
    for (size_t i = 0; m && i < m->options.n_channels; i++) {
        jl_buf_str(out, i ? "," : "");
        cli_json_string(out, m->channels[m->options.channels[i]].id);
    }
    jl_buf_str(out, "]");
}

void serve_meter_close(struct serve_meter *m)
{
    if (!m || !metering_close(m->metering))
        return;
    meters_close(m->meters);
    joulet_close(m->meter);
    free(m->channels);
    free(m->learnt);
    free(m->probes);
    free(m);
}
