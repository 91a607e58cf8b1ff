/* tree.c - one machine, one view: which channels see the same joules, and which of them count (docs/method.md 1.1).
 *
 * A channel is inside another because it says so (`parent`), or because of what both cover: the plug contains the platform, that
 * the package, that the cores. Memory and graphics cards lie beside the package. Two sensors that cover the same thing at the
 * same place read the same joules. Pure: tables of machines test it. */
#include "lib/meter/tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONE JOULET_TOTAL

/* ---- domains ------------------------------------------------------------------------------------------------------- */

static bool ends(const char *id, const char *suffix)
{
    size_t n = strlen(id), m = strlen(suffix);
    return n >= m && strcmp(id + n - m, suffix) == 0;
}

/* Channels of before domains were told, and those of played curves. */
static enum joulet_domain domain_from_name(const struct joulet_channel *c)
{
    static const struct {
        const char *suffix;
        enum joulet_domain domain;
    } rows[] = {{".package", JOULET_DOMAIN_PACKAGE}, {".core", JOULET_DOMAIN_CORE}, {".uncore", JOULET_DOMAIN_UNCORE},
                {".dram", JOULET_DOMAIN_DRAM},       {".psys", JOULET_DOMAIN_PSYS}, {".board", JOULET_DOMAIN_GPU},
                {".module", JOULET_DOMAIN_MODULE},   {"psys", JOULET_DOMAIN_PSYS}};
    const char *id = c->id ? c->id : "";
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        if (ends(id, rows[i].suffix))
            return rows[i].domain;
    return JOULET_DOMAIN_NONE;
}

enum joulet_domain joulet_domain_of(const struct joulet_channel *c)
{
    if (c->domain > JOULET_DOMAIN_NONE && c->domain < JOULET_DOMAIN_COUNT)
        return c->domain;
    return domain_from_name(c);
}

static int64_t place_of(const struct joulet_channel *c)
{
    unsigned socket;
    if (c->place || !c->id || sscanf(c->id, "cpu%3u.", &socket) != 1)
        return c->place;
    return 1 + (int64_t)socket;
}

static bool has_joules(const struct joulet_channel *c)
{
    return c->quantity == JOULET_ENERGY || c->quantity == JOULET_POWER;
}

static bool is_estimate(const struct joulet_channel *c)
{
    return c->provenance == JOULET_ESTIMATED || c->factor_lo < c->factor_hi;
}

static bool whole_machine(enum joulet_domain d)
{
    return d >= JOULET_DOMAIN_WALL && d <= JOULET_DOMAIN_PSYS;
}

static bool in_package(enum joulet_domain d)
{
    return d >= JOULET_DOMAIN_CORE && d <= JOULET_DOMAIN_NPU;
}

/* Sockets are told from sockets, cards from cards; a card tells nothing about a socket. */
static bool same_place(const struct joulet_channel *a, const struct joulet_channel *b)
{
    int64_t card = JOULET_PLACE_PCI(0, 0, 0, 0), x = place_of(a), y = place_of(b);
    return x == y || !x || !y || (x >= card) != (y >= card);
}

/* By what they cover, not by what they say. */
static bool covers(const struct joulet_channel *a, const struct joulet_channel *b)
{
    enum joulet_domain outer = joulet_domain_of(a), inner = joulet_domain_of(b);
    if (whole_machine(outer))
        return inner > outer || inner == JOULET_DOMAIN_NONE;
    switch (outer) {
    case JOULET_DOMAIN_MODULE:
        return inner == JOULET_DOMAIN_PACKAGE || in_package(inner) ||
               (inner >= JOULET_DOMAIN_GPU && inner <= JOULET_DOMAIN_GPU_MEMORY && place_of(a) == place_of(b));
    case JOULET_DOMAIN_SOC:
        return inner == JOULET_DOMAIN_PACKAGE || in_package(inner);
    case JOULET_DOMAIN_PACKAGE:
        return in_package(inner) && same_place(a, b);
    case JOULET_DOMAIN_GPU:
        return (inner == JOULET_DOMAIN_GPU_CHIP || inner == JOULET_DOMAIN_GPU_MEMORY) && place_of(a) &&
               place_of(a) == place_of(b);
    default:
        return false;
    }
}

/* Two sensors that read the same thing. Cards are the same only where both say where they are: a machine has several. */
static bool same_joules(const struct joulet_channel *a, const struct joulet_channel *b)
{
    enum joulet_domain d = joulet_domain_of(a);
    if (a == b || d != joulet_domain_of(b) || d == JOULET_DOMAIN_NONE || d == JOULET_DOMAIN_PART || d == JOULET_DOMAIN_PROCESS)
        return false;
    if (place_of(a) && place_of(a) == place_of(b))
        return strcmp(a->sensor, b->sensor) != 0;
    if (strcmp(a->sensor, b->sensor) == 0 || d == JOULET_DOMAIN_WALL || d >= JOULET_DOMAIN_GPU)
        return false;
    return whole_machine(d) || same_place(a, b);
}

/* ---- relations ------------------------------------------------------------------------------------------------------ */

struct relations {
    const struct joulet_channel *all;
    size_t n;
    bool *inside; /* [outer * n + inner]: transitive */
};

static size_t told_parent(const struct joulet_channel *all, size_t n, size_t i)
{
    if (!all[i].parent || !all[i].parent[0])
        return NONE;
    for (size_t k = 0; k < n; k++)
        if (k != i && has_joules(&all[k]) && strcmp(all[k].id, all[i].parent) == 0)
            return k;
    return NONE;
}

static bool contains(const struct relations *r, size_t outer, size_t inner)
{
    return r->inside[outer * r->n + inner];
}

/* A circle of parents would be a fault of a sensor; a channel is never inside itself. */
static void close_over(struct relations *r)
{
    for (size_t k = 0; k < r->n; k++)
        for (size_t i = 0; i < r->n; i++)
            for (size_t j = 0; contains(r, i, k) && j < r->n; j++)
                if (contains(r, k, j) && i != j)
                    r->inside[i * r->n + j] = true;
}

/* Power beside the counter of one device, say: another look at its parent, which does the containing. */
static bool second_look(const struct joulet_channel *all, size_t n, size_t i)
{
    size_t parent = told_parent(all, n, i);
    return parent != NONE && joulet_domain_of(&all[parent]) == joulet_domain_of(&all[i]);
}

static bool relations_init(struct relations *r, const struct joulet_channel *all, size_t n)
{
    *r = (struct relations){.all = all, .n = n, .inside = calloc(n ? n * n : 1, sizeof(bool))};
    for (size_t i = 0; r->inside && i < n; i++) {
        size_t parent = told_parent(all, n, i);
        if (parent != NONE)
            r->inside[parent * n + i] = true;
        for (size_t k = 0; k < n; k++)
            if (k != i && !second_look(all, n, k) && has_joules(&all[k]) && has_joules(&all[i]) && covers(&all[k], &all[i]))
                r->inside[k * n + i] = true;
    }
    if (r->inside)
        close_over(r);
    return r->inside != NULL;
}

static bool overlap(const struct relations *r, size_t a, size_t b)
{
    return contains(r, a, b) || contains(r, b, a) || same_joules(&r->all[a], &r->all[b]);
}

/* ---- the total ------------------------------------------------------------------------------------------------------- */

#define RANKS 7

/* Packages, memory and cards first: that is the sum that section 1.1 asks for. A module is read where its card has no meter of
 * its own: then it stands for both. */
static int rank_of(enum joulet_domain d)
{
    static const int ranks[JOULET_DOMAIN_COUNT] = {
        [JOULET_DOMAIN_NONE] = 1, [JOULET_DOMAIN_MODULE] = 0,     [JOULET_DOMAIN_PACKAGE] = 1,  [JOULET_DOMAIN_DRAM] = 1,
        [JOULET_DOMAIN_GPU] = 1,  [JOULET_DOMAIN_PART] = 1,       [JOULET_DOMAIN_CORE] = 2,     [JOULET_DOMAIN_UNCORE] = 2,
        [JOULET_DOMAIN_IGPU] = 2, [JOULET_DOMAIN_NPU] = 2,        [JOULET_DOMAIN_GPU_CHIP] = 2, [JOULET_DOMAIN_GPU_MEMORY] = 2,
        [JOULET_DOMAIN_SOC] = 3,  [JOULET_DOMAIN_PSYS] = 3,       [JOULET_DOMAIN_BATTERY] = 4,  [JOULET_DOMAIN_CHASSIS] = 5,
        [JOULET_DOMAIN_WALL] = 6, [JOULET_DOMAIN_PROCESS] = RANKS};
    return ranks[d];
}

static bool free_of_counted(const struct relations *r, const bool *counts, size_t i)
{
    for (size_t k = 0; k < r->n; k++)
        if (k != i && counts[k] && overlap(r, k, i))
            return false;
    return true;
}

static void count_rank(const struct relations *r, bool estimates, int rank, bool *counts)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct joulet_channel *c = &r->all[i];
        bool asked = c->in_total && has_joules(c) && is_estimate(c) == estimates && rank_of(joulet_domain_of(c)) == rank;
        if (asked && !counts[i])
            counts[i] = free_of_counted(r, counts, i);
    }
}

void joulet_tree_count(struct joulet_channel *channels, size_t n)
{
    struct relations r;
    bool *counts = calloc(n ? n : 1, sizeof(*counts));
    if (counts && relations_init(&r, channels, n)) {
        for (int estimates = 0; estimates < 2; estimates++)
            for (int rank = 0; rank < RANKS; rank++)
                count_rank(&r, estimates, rank, counts);
        for (size_t i = 0; i < n; i++)
            channels[i].in_total = counts[i];
        free(r.inside);
    }
    free(counts);
}

/* ---- the tree --------------------------------------------------------------------------------------------------------- */

static bool same_device(const struct joulet_channel *a, const struct joulet_channel *b)
{
    size_t n = strcspn(a->id, ".");
    return strcspn(b->id, ".") == n && memcmp(a->id, b->id, n) == 0;
}

/* The innermost of those that contain it: the one that all others contain. Of several, such as two meters of the whole machine,
 * that of its own device. */
static size_t parent_of(const struct relations *r, size_t i)
{
    size_t best = told_parent(r->all, r->n, i);
    if (best != NONE)
        return best;
    for (size_t k = 0; k < r->n; k++) {
        if (!contains(r, k, i))
            continue;
        bool innermost = true;
        for (size_t other = 0; other < r->n && innermost; other++)
            innermost = !(contains(r, other, i) && contains(r, k, other));
        if (innermost && (best == NONE || (same_device(&r->all[k], &r->all[i]) && !same_device(&r->all[best], &r->all[i]))))
            best = k;
    }
    return best;
}

static size_t twin_of(const struct relations *r, size_t i)
{
    for (size_t k = 0; k < r->n && !r->all[i].in_total; k++)
        if (r->all[k].in_total && same_joules(&r->all[k], &r->all[i]))
            return k;
    return NONE;
}

static enum joulet_counted counted(const struct relations *r, size_t i, size_t twin)
{
    if (r->all[i].in_total)
        return JOULET_COUNTED;
    if (twin != NONE)
        return JOULET_COUNTED_TWIN;
    enum joulet_counted found = JOULET_COUNTED_APART;
    for (size_t k = 0; k < r->n; k++) {
        if (!r->all[k].in_total)
            continue;
        if (contains(r, k, i))
            return JOULET_COUNTED_ABOVE;
        if (contains(r, i, k))
            found = JOULET_COUNTED_BELOW;
    }
    return found;
}

struct growth {
    const struct relations *r;
    const size_t *parents;
    bool *done;
    struct joulet_tree_node *nodes;
    size_t n;
};

static void grow(struct growth *g, size_t parent, unsigned depth)
{
    for (size_t i = 0; i < g->r->n; i++) {
        if (g->done[i] || g->parents[i] != parent || !has_joules(&g->r->all[i]))
            continue;
        size_t twin = twin_of(g->r, i);
        g->done[i] = true;
        g->nodes[g->n++] = (struct joulet_tree_node){i, parent, twin, depth, counted(g->r, i, twin)};
        grow(g, i, depth + 1);
    }
}

size_t joulet_tree_of(const struct joulet_channel *channels, size_t n, struct joulet_tree_node *nodes)
{
    struct relations r;
    size_t *parents = calloc(n ? n : 1, sizeof(*parents));
    bool *done = calloc(n ? n : 1, sizeof(*done));
    struct growth g = {.r = &r, .parents = parents, .done = done, .nodes = nodes};
    if (parents && done && relations_init(&r, channels, n)) {
        for (size_t i = 0; i < n; i++)
            parents[i] = parent_of(&r, i);
        grow(&g, NONE, 0);
        for (size_t i = 0; i < n; i++) /* whatever a circle of parents keeps from the roots */
            if (!done[i] && has_joules(&channels[i])) {
                done[i] = true;
                nodes[g.n++] = (struct joulet_tree_node){i, NONE, NONE, 0, counted(&r, i, NONE)};
            }
        free(r.inside);
    }
    free(parents);
    free(done);
    return g.n;
}

/* ---- what a total lacks ------------------------------------------------------------------------------------------------- */

static bool of_processor(const struct joulet_channel *c, enum joulet_domain d)
{
    return (d >= JOULET_DOMAIN_MODULE && d <= JOULET_DOMAIN_NPU) || (d == JOULET_DOMAIN_NONE && c->group == JOULET_GROUP_CPU);
}

static bool of_card(const struct joulet_channel *c, enum joulet_domain d)
{
    return d == JOULET_DOMAIN_MODULE || d == JOULET_DOMAIN_SOC || d == JOULET_DOMAIN_IGPU ||
           (d >= JOULET_DOMAIN_GPU && d <= JOULET_DOMAIN_GPU_MEMORY) || c->group == JOULET_GROUP_GPU;
}

static void list_add(char *buf, size_t size, const char *word, const char *joint)
{
    size_t n = strlen(buf);
    snprintf(buf + n, size - n, "%s%s", joint, word);
}

static void add_covered(const struct joulet_channel *all, size_t n, char *buf, size_t size)
{
    size_t left = 0, said = 0;
    for (size_t i = 0; i < n; i++)
        left += all[i].in_total && has_joules(&all[i]);
    for (size_t i = 0; i < n; i++) {
        if (!all[i].in_total || !has_joules(&all[i]))
            continue;
        list_add(buf, size, all[i].id, !said ? "covers " : left == 1 ? " and " : ", ");
        said++;
        left--;
    }
}

/* What is in the total, or inside something that is. */
static bool is_covered(const struct relations *r, size_t i)
{
    bool covered = r->all[i].in_total;
    for (size_t k = 0; k < r->n && !covered; k++)
        covered = r->all[k].in_total && contains(r, k, i);
    return covered && has_joules(&r->all[i]);
}

struct covered {
    bool any, processor, memory, card, board, plug;
    bool card_here, battery_here;
};

static void look_at(struct covered *c, const struct relations *r, size_t i)
{
    const struct joulet_channel *x = &r->all[i];
    enum joulet_domain d = joulet_domain_of(x);
    c->card_here |= of_card(x, d);
    c->battery_here |= d == JOULET_DOMAIN_BATTERY;
    if (!is_covered(r, i))
        return;
    c->any |= x->in_total;
    c->processor |= of_processor(x, d) || whole_machine(d);
    c->memory |= d == JOULET_DOMAIN_DRAM || x->group == JOULET_GROUP_DRAM || whole_machine(d);
    c->card |= of_card(x, d) || whole_machine(d);
    c->board |= whole_machine(d);
    c->plug |= d == JOULET_DOMAIN_WALL || d == JOULET_DOMAIN_CHASSIS;
}

const char *joulet_total_text(const struct joulet_channel *all, size_t n, char *buf, size_t size)
{
    struct covered c = {.any = false};
    struct relations r;
    buf[0] = '\0';
    if (!relations_init(&r, all, n))
        return buf;
    for (size_t i = 0; i < n; i++)
        look_at(&c, &r, i);
    free(r.inside);
    const struct {
        bool lacks;
        const char *what;
    } parts[] = {{!c.processor, "the processor"},
                 {!c.memory, "memory"},
                 {c.card_here && !c.card, "graphics"},
                 {!c.board, c.battery_here ? "screen, board, disks and fans" : "board, disks and fans"},
                 {!c.plug, "losses of the power supply"}};
    const char *joint = "; lacks ";
    if (c.any)
        add_covered(all, n, buf, size);
    for (size_t i = 0; c.any && i < JL_COUNT(parts); i++)
        if (parts[i].lacks) {
            list_add(buf, size, parts[i].what, joint);
            joint = ", ";
        }
    return buf;
}

/* ---- the live meter ------------------------------------------------------------------------------------------------------ */

void meter_count(struct joulet *m)
{
    size_t n = atomic_load(&m->n_channels);
    struct joulet_channel *all = calloc(n ? n : 1, sizeof(*all));
    for (size_t i = 0; all && i < n; i++) {
        all[i] = m->channels[i]->pub;
        all[i].in_total = m->channels[i]->asks;
    }
    if (all)
        joulet_tree_count(all, n);
    for (size_t i = 0; all && i < n; i++)
        m->channels[i]->pub.in_total = all[i].in_total;
    free(all);
}
