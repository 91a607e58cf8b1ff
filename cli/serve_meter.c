/* serve_meter.c - what `serve` measures with: the sensors, those of them that the upstreams draw from, and the metering on them.
 */
#include "cli/json.h"
#include "cli/live.h"
#include "cli/serve.h"
#include "meters/meters.h"
#include "server/metering.h"

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
    struct metering *metering;
};

/* "gpu0", "gpu", "gpu0.board": a device, a group, or a channel. */
static bool is_named(const struct joulet_channel *ch, const char *word, size_t n)
{
    const char *group = joulet_group_name(ch->group);
    bool id = strncmp(ch->id, word, n) == 0, whole = id && ch->id[n] == '\0';
    return whole || (ch->in_total && ((id && ch->id[n] == '.') || (strlen(group) == n && strncmp(group, word, n) == 0)));
}

static bool add(struct serve_meter *m, size_t channel)
{
    struct metering_options *o = &m->options;
    for (size_t i = 0; i < o->n_channels; i++)
        if (o->channels[i] == channel)
            return true;
    if (o->n_channels == METERING_DEVICES)
        return false;
    o->channels[o->n_channels++] = channel;
    return true;
}

/* Every word must name something: a slip would leave out what the user means. */
static int choose(struct serve_meter *m, const struct cli *c)
{
    const char *list = cli_str(c, "devices");
    for (size_t i = 0; i < m->n && !list; i++)
        if (m->channels[i].in_total)
            add(m, i);
    for (const char *p = list; p && *p; p += strspn(p, ", ")) {
        size_t n = strcspn(p, ", ");
        bool any = n == 0;
        for (size_t i = 0; i < m->n && n; i++)
            if (live_is_power(&m->channels[i]) && is_named(&m->channels[i], p, n))
                any |= add(m, i);
        if (!any)
            return cli_usage(c, "--devices: there is no device, group or channel \"%.*s\" here; `joulet sensors` lists them",
                             (int)n, p);
        p += n;
    }
    m->options.everywhere = list != NULL;
    return CLI_DONE;
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

static int prepare(struct serve_meter *m, const struct cli *c)
{
    struct joulet_error err;
    enum joulet_status status = open_sensors(m, c, &err);
    if (status == JOULET_NO_SENSOR && !cli_flag(c, "measured-only")) {
        cli_warn(c, "nothing is measured, requests only pass: %s", err.message);
        return CLI_DONE;
    }
    if (status != JOULET_OK)
        return cli_fail(c, &err);
    int code = choose(m, c);
    if (code == CLI_DONE && cli_flag(c, "measured-only") && !measures(m)) {
        cli_warn(c, "nothing here can be measured and --measured-only was given; `joulet doctor` shows what is in the way");
        return CLI_NO_SENSOR;
    }
    if (code != CLI_DONE || !m->options.n_channels)
        return code;
    m->options.meter = m->meter;
    return metering_open(&m->metering, &m->options, &err) == JOULET_OK ? CLI_DONE : cli_fail(c, &err);
}

int serve_meter_open(struct serve_meter **out, const struct cli *c)
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
    int code = prepare(m, c);
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
    if (!m)
        return;
    metering_close(m->metering);
    meters_close(m->meters);
    joulet_close(m->meter);
    free(m->channels);
    free(m);
}
