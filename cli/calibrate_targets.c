/* calibrate_targets.c - which channels of this machine are calibrated, by which load, and how long that takes. */
#include "cli/calibrate.h"
#include "cli/live.h"
#include "cli/parse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define READY_S             10.0
#define FAST_S              0.010 /* shorter periods are read quickly to be found (1.4) */
#define CALIBRATION_PULSE_S 0.6   /* mean of a pulse and its pause */
#define QUICK_S             2.5
#define STEADY_S            6.5 /* one reading of counter against power */
#define SPEED_S             3.0 /* of an engine */
#define SETTLE_S            3.0

const char *load_words(enum load_kind kind)
{
    static const char *const names[] = {"threads that compute", "prompts to an engine", "the curve of a simulated device",
                                        "none"};
    return names[kind];
}

/* ---- what the user wants ------------------------------------------------------------------------------------------------ */

/* "gpu0", "gpu", "gpu0.board": a device, a group, or a channel. */
static bool named(const struct joulet_channel *ch, const char *word, size_t n)
{
    const char *group = joulet_group_name(ch->group);
    return (strncmp(ch->id, word, n) == 0 && (ch->id[n] == '\0' || ch->id[n] == '.')) ||
           (strlen(group) == n && strncmp(group, word, n) == 0);
}

static bool wanted(const char *list, const struct joulet_channel *ch)
{
    bool any = false;
    for (const char *p = list; p && *p && !any; p += strspn(p, ", ")) {
        size_t n = strcspn(p, ", ");
        any = n > 0 && named(ch, p, n);
        p += n;
    }
    return !list || any;
}

/* Every word of --devices must name something: a slip would calibrate less than the user thinks. */
static int check_devices(const struct calibration *k, const char *list)
{
    for (const char *p = list; p && *p; p += strspn(p, ", ")) {
        size_t n = strcspn(p, ", "), count = joulet_channel_count(k->meter);
        bool any = n == 0;
        for (size_t i = 0; i < count && !any; i++) {
            struct joulet_channel ch;
            any = joulet_channel_get(k->meter, i, &ch) == JOULET_OK && live_is_power(&ch) && named(&ch, p, n);
        }
        if (!any)
            return cli_usage(k->cli, "--devices: there is no device, group or channel \"%.*s\" here; `joulet sensors` lists them",
                             (int)n, p);
        p += n;
    }
    return CLI_DONE;
}

/* ---- simulated devices ---------------------------------------------------------------------------------------------------- */

/* The file that the devices of --sim follow. All of them one, because one load drives them. */
static int find_follow(struct calibration *k)
{
    static const char word[] = "follow:";
    const char *sim = cli_str(k->cli, "sim");
    for (const char *p = sim ? strstr(sim, word) : NULL; p; p = strstr(p, word)) {
        p += strlen(word);
        size_t n = strcspn(p, ";|");
        if (k->follow && (strlen(k->follow) != n || strncmp(k->follow, p, n) != 0))
            return cli_usage(k->cli, "--sim: calibrate drives one file, and two are followed");
        if (!k->follow)
            k->follow = jl_strf("%.*s", (int)n, p);
    }
    if (sim && !k->follow)
        return cli_usage(k->cli,
                         "--sim: a simulated device can be calibrated when it follows a file that calibrate writes, as in "
                         "--sim 'follow:/tmp/curve;group=gpu;lag=40ms'");
    return CLI_DONE;
}

/* ---- targets ----------------------------------------------------------------------------------------------------- */

static enum load_kind load_of(const struct calibration *k, const struct joulet_channel *ch)
{
    bool engine = cli_given(k->cli, "engine") || cli_given(k->cli, "model");
    if (ch->group == JOULET_GROUP_GPU && engine)
        return LOAD_ENGINE; /* a simulated engine writes what its simulated device follows */
    if (strcmp(ch->sensor, "sim") == 0)
        return LOAD_CURVE;
    return ch->group == JOULET_GROUP_GPU ? LOAD_NONE : LOAD_CPU;
}

static bool add_target(struct calibration *k, size_t index, const struct joulet_channel *ch)
{
    struct target *all = realloc(k->targets, (k->n + 1) * sizeof *all);
    if (!all)
        return false;
    k->targets = all;
    struct target *t = &all[k->n++];
    *t = (struct target){.index = index, .ch = *ch, .power = -1, .found_s = NAN};
    t->load = load_of(k, ch);
    t->fast = ch->quantity == JOULET_ENERGY && ch->period_s > 0 && ch->period_s < FAST_S;
    for (int i = 0; i < JOULET_READING_COUNT; i++)
        t->ratios[i] = NAN;
    joulet_calibrated_init(k->meter, index, &t->entry);
    k->simulated |= t->entry.simulated;
    if (t->load == LOAD_NONE) {
        t->status = JOULET_NOT_FOUND;
        snprintf(t->why, sizeof t->why, "needs an engine that computes on it: joulet calibrate -m MODEL");
    }
    return true;
}

/* A counter and the instantaneous power of the same device, which comes first. */
static void pair_up(struct calibration *k)
{
    for (size_t i = 0; i < k->n; i++)
        for (size_t j = 0; j < k->n && k->targets[i].power < 0; j++)
            if (k->targets[i].ch.quantity == JOULET_ENERGY && k->targets[j].ch.quantity == JOULET_POWER &&
                strcmp(k->targets[j].ch.parent, k->targets[i].ch.id) == 0)
                k->targets[i].power = (int)j;
}

static int nothing_to_do(const struct calibration *k, bool estimates, bool others)
{
    if (others)
        cli_warn(k->cli, "nothing of what was asked for can be calibrated: only sensors that measure energy or power can");
    else if (estimates)
        cli_warn(k->cli,
                 "there is nothing to calibrate: nothing here measures, and an estimate has neither lag nor window; `joulet "
                 "doctor` shows what is in the way");
    else
        cli_warn(
            k->cli,
            "there is nothing to calibrate: no sensor here reports power or energy; `joulet doctor` shows what is in the way");
    return CLI_NO_SENSOR;
}

int calibration_targets(struct calibration *k)
{
    const char *list = cli_str(k->cli, "devices");
    struct joulet_options o;
    struct joulet_error err;
    bool estimates = false, others = false;
    int code = find_follow(k);
    if (code != CLI_DONE)
        return code;
    calibration_meter_options(k, 0, &o);
    o.no_thread = true;
    if (joulet_open(&k->meter, &o, &err) != JOULET_OK || joulet_wait_ready(k->meter, READY_S, &err) != JOULET_OK)
        return cli_fail(k->cli, &err);
    code = check_devices(k, list);
    for (size_t i = 0; code == CLI_DONE && i < joulet_channel_count(k->meter); i++) {
        struct joulet_channel ch;
        if (joulet_channel_get(k->meter, i, &ch) != JOULET_OK || !live_is_power(&ch))
            continue;
        estimates |= live_is_estimate(&ch);
        others |= !live_is_estimate(&ch);
        if (!live_is_estimate(&ch) && wanted(list, &ch) && !add_target(k, i, &ch))
            return cli_usage(k->cli, "out of memory; end other programs and try again");
    }
    pair_up(k);
    return code == CLI_DONE && !k->n ? nothing_to_do(k, estimates, others) : code;
}

/* ---- how long it takes ------------------------------------------------------------------------------------------- */

static double kind_s(const struct calibration *k, enum load_kind kind)
{
    bool any = false, fast = false, pair = false;
    for (size_t i = 0; i < k->n; i++) {
        const struct target *t = &k->targets[i];
        if (t->load != kind)
            continue;
        any = true;
        fast |= t->fast;
        pair |= t->power >= 0;
    }
    if (!any || kind == LOAD_NONE)
        return 0;
    return SETTLE_S + (double)k->n_pulses * CALIBRATION_PULSE_S + (fast ? QUICK_S : 0) +
           (pair ? JOULET_READING_COUNT * STEADY_S : 0) + (kind == LOAD_ENGINE ? SPEED_S : 0);
}

double calibration_plan(const struct calibration *k, enum load_kind kind)
{
    double s = kind == LOAD_KINDS ? calibration_cost_s(k) : 0;
    for (int i = 0; i < LOAD_KINDS; i++)
        if (kind == LOAD_KINDS || kind == (enum load_kind)i)
            s += kind_s(k, (enum load_kind)i);
    return s;
}
