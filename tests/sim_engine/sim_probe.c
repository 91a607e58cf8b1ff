/* sim_probe.c - steps of the simulated engine, stretch by stretch: into its curve and into a ring file. */
#include "tests/sim_engine/sim_probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RECORDS 65536u

const struct sim_part sim_parts[] = {
    {WIRE_EMBEDDING, 0.05, 15}, {WIRE_ATTENTION_NORM, 0.3, 40}, {WIRE_ATTENTION, 2.4, 30}, {WIRE_FFN_NORM, 0.3, 40},
    {WIRE_FFN, 3.0, 95},        {WIRE_OUTPUT_NORM, 0.3, 40},    {WIRE_HEAD, 4.5, 60},
};
const size_t sim_part_count = JL_COUNT(sim_parts);

struct sim_probe {
    struct sim_engine *engine;
    struct wire_head *head;
    struct wire_record *records;
    double slower;
    bool refuses; /* to execute anything again */
    uint32_t graph;
    struct jl_rng rng;
    int order[WIRE_AGAIN + 1], at, n; /* segments of this block; -1 the one without repeats */
    int64_t segment_until_ns;
};

static bool in_layers(enum wire_kind k)
{
    return k == WIRE_ATTENTION_NORM || k == WIRE_ATTENTION || k == WIRE_FFN_NORM || k == WIRE_FFN;
}

double sim_component_j(enum wire_kind kind)
{
    double j = kind == WIRE_NONE ? SIM_REST_MS * 1e-3 * SIM_REST_WATTS : 0;
    for (size_t i = 0; i < sim_part_count; i++)
        if (sim_parts[i].kind == kind)
            j = sim_parts[i].ms * 1e-3 * sim_parts[i].watts * (in_layers(kind) ? SIM_LAYERS : 1);
    return j;
}

double sim_component_token_j(void)
{
    double j = sim_component_j(WIRE_NONE);
    for (size_t i = 0; i < sim_part_count; i++)
        j += sim_component_j(sim_parts[i].kind);
    return j;
}

struct sim_probe *sim_probe_open(const char *folder, double slower, bool refuses)
{
    struct sim_probe *p = calloc(1, sizeof(*p));
    int64_t now = jl_mono_ns();
    char path[4096];
    const char *level = getenv("JOULET_PROBE_LEVEL");
    size_t bytes = WIRE_HEAD_BYTES + RECORDS * sizeof(struct wire_record);
    snprintf(path, sizeof(path), "%s/" WIRE_FILE, folder, (long long)getpid(), (unsigned long long)now);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    void *at =
        fd >= 0 && ftruncate(fd, (off_t)bytes) == 0 ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (fd >= 0)
        close(fd);
    if (!p || at == MAP_FAILED) {
        free(p);
        return NULL;
    }
    p->head = at;
    p->records = (struct wire_record *)((char *)at + WIRE_HEAD_BYTES);
    p->slower = slower;
    p->refuses = refuses;
    p->rng = (struct jl_rng){1};
    *p->head = (struct wire_head){.version = WIRE_VERSION,
                                  .head_bytes = WIRE_HEAD_BYTES,
                                  .record_bytes = sizeof(struct wire_record),
                                  .level = level && strcmp(level, "nodes") == 0 ? WIRE_NODES : WIRE_COMPONENTS,
                                  .capacity = RECORDS,
                                  .pid = getpid(),
                                  .start_ns = (uint64_t)now,
                                  .start_wall_ns = (uint64_t)jl_wall_ns(),
                                  .every = 2};
    snprintf(p->head->engine, sizeof(p->head->engine), "simulated");
    snprintf(p->head->device, sizeof(p->head->device), "CPU");
    memcpy(p->head->magic, WIRE_MAGIC, sizeof(p->head->magic));
    return p;
}

void sim_probe_engine(struct sim_probe *p, struct sim_engine *e)
{
    p->engine = e;
}

void sim_probe_close(struct sim_probe *p)
{
    if (p)
        munmap(p->head, WIRE_HEAD_BYTES + RECORDS * sizeof(struct wire_record));
    free(p);
}

static void record(struct sim_probe *p, const struct wire_record *r)
{
    uint64_t n = atomic_fetch_add(&p->head->reserved, 1);
    struct wire_record *to = &p->records[n % RECORDS];
    atomic_store(&to->stamp, 0);
    struct wire_record whole = *r;
    atomic_init(&whole.stamp, 0);
    whole.source = 1;
    whole.c = p->graph;
    whole.thread = 1;
    memcpy((char *)to + sizeof(to->stamp), (const char *)&whole + sizeof(to->stamp), sizeof(whole) - sizeof(to->stamp));
    atomic_store(&to->stamp, wire_stamp(n));
}

/* ---- a step -----------------------------------------------------------------------------------------------------------------
 */

struct step {
    struct sim_probe *p;
    int64_t t_ns;
    double scale;
    uint32_t tokens, stops;
    uint16_t flags;
    bool watched;
};

static void tell(struct step *s, const struct sim_part *part, int layer, bool again, enum wire_part below, int64_t from,
                 int64_t to)
{
    record(s->p, &(struct wire_record){.kind = (uint16_t)part->kind,
                                       .layer = (int16_t)layer,
                                       .tokens = s->tokens,
                                       .b = wire_place(below, 0),
                                       .flags = (uint16_t)(s->flags | (again ? WIRE_REPEATED : 0)),
                                       .t0_ns = (uint64_t)from,
                                       .t1_ns = (uint64_t)to});
    s->stops += !again;
}

/* At level nodes attention is told in three parts, without flash attention. */
static void tell_nodes(struct step *s, const struct sim_part *part, int layer, int64_t end)
{
    int64_t third = (end - s->t_ns) / 3;
    tell(s, part, layer, false, WIRE_QKV, s->t_ns, s->t_ns + third);
    tell(s, part, layer, false, WIRE_SCORES, s->t_ns + third, s->t_ns + 2 * third);
    tell(s, part, layer, false, WIRE_PROJECTION, s->t_ns + 2 * third, end);
}

static void run_part(struct step *s, const struct sim_part *part, int layer, bool again)
{
    int64_t end = s->t_ns + jl_ns(part->ms * 1e-3 * s->scale);
    sim_engine_power(s->p->engine, s->t_ns, SIM_IDLE_WATTS + part->watts);
    if (s->watched && s->p->head->level == WIRE_NODES && part->kind == WIRE_ATTENTION && !again)
        tell_nodes(s, part, layer, end);
    else if (s->watched)
        tell(s, part, layer, again, WIRE_PART_NONE, s->t_ns, end);
    if (again)
        atomic_fetch_add(&s->p->head->counts[WIRE_N_REPEATS], 1);
    s->t_ns = end;
}

static const struct sim_part *part_of(enum wire_kind kind)
{
    for (size_t i = 0; i < sim_part_count; i++)
        if (sim_parts[i].kind == kind)
            return &sim_parts[i];
    return NULL;
}

static void run_kind(struct step *s, enum wire_kind kind, bool again)
{
    for (int layer = 0; layer < (in_layers(kind) ? SIM_LAYERS : 1); layer++)
        run_part(s, part_of(kind), in_layers(kind) ? layer : -1, again);
}

static void run_graph(struct step *s)
{
    static const enum wire_kind layer[] = {WIRE_ATTENTION_NORM, WIRE_ATTENTION, WIRE_FFN_NORM, WIRE_FFN};
    run_kind(s, WIRE_EMBEDDING, false);
    for (int l = 0; l < SIM_LAYERS; l++)
        for (size_t k = 0; k < JL_COUNT(layer); k++)
            run_part(s, part_of(layer[k]), l, false);
    run_kind(s, WIRE_OUTPUT_NORM, false);
    run_kind(s, WIRE_HEAD, false);
}

/* Kinds that are executed again together. */
static const enum wire_kind groups[WIRE_AGAIN][3] = {
    {WIRE_ATTENTION_NORM, WIRE_FFN_NORM, WIRE_OUTPUT_NORM}, {WIRE_ATTENTION}, {WIRE_FFN}, {WIRE_HEAD}};

static int segment(struct sim_probe *p, int64_t now)
{
    bool any = false;
    for (int g = 0; g < WIRE_AGAIN; g++)
        any |= atomic_load(&p->head->control.again[g]) > 0;
    if (!any || p->refuses)
        return -1;
    if (now >= p->segment_until_ns) {
        if (p->at >= p->n) {
            for (p->n = 0; p->n <= WIRE_AGAIN; p->n++)
                p->order[p->n] = p->n - 1;
            for (int i = p->n - 1; i > 0; i--) {
                int j = (int)jl_rng_below(&p->rng, (uint64_t)i + 1), other = p->order[i];
                p->order[i] = p->order[j];
                p->order[j] = other;
            }
            p->at = 0;
        }
        p->at++;
        p->segment_until_ns = now + (int64_t)atomic_load(&p->head->control.segment_ms) * 1000000;
    }
    return p->order[p->at - 1];
}

static bool watches(struct sim_probe *p)
{
    uint32_t asked = atomic_load(&p->head->control.watch);
    return asked == WIRE_AS_SET ? jl_rng_below(&p->rng, 2) == 0 : asked == WIRE_WATCH_ALL;
}

int64_t sim_probe_step(void *probe, int64_t t_ns, int64_t tokens, int64_t position)
{
    struct sim_probe *p = probe;
    struct step s = {.p = p,
                     .t_ns = t_ns,
                     .scale = p->slower * (tokens > 1 ? SIM_WIDE : 1),
                     .tokens = (uint32_t)tokens,
                     .watched = watches(p)};
    int group = tokens == 1 ? segment(p, t_ns) : -1;
    s.flags = group >= 0 ? wire_segment(groups[group][0]) : 0;
    p->graph++;
    atomic_fetch_add(&p->head->counts[WIRE_N_GRAPHS], 1);
    atomic_fetch_add(&p->head->counts[WIRE_N_DECODE], 1);
    run_graph(&s);
    int64_t graph_end = s.t_ns;
    for (uint32_t k = 0; group >= 0 && k < atomic_load(&p->head->control.again[group]); k++)
        for (int i = 0; i < 3 && groups[group][i]; i++)
            run_kind(&s, groups[group][i], true);
    record(p, &(struct wire_record){.kind = WIRE_GRAPH,
                                    .layer = -1,
                                    .tokens = s.tokens,
                                    .a = 100,
                                    .b = s.stops,
                                    .flags = (uint16_t)(s.flags | (s.watched ? WIRE_WATCHED : 0)),
                                    .t0_ns = (uint64_t)t_ns,
                                    .t1_ns = (uint64_t)graph_end});
    record(p, &(struct wire_record){.kind = WIRE_SEQUENCE,
                                    .layer = -1,
                                    .tokens = s.tokens,
                                    .b = (uint32_t)position,
                                    .t0_ns = (uint64_t)t_ns,
                                    .t1_ns = (uint64_t)s.t_ns});
    record(p, &(struct wire_record){
                  .kind = WIRE_STEP, .layer = -1, .tokens = s.tokens, .t0_ns = (uint64_t)t_ns, .t1_ns = (uint64_t)s.t_ns});
    int64_t end = s.t_ns + jl_ns(SIM_REST_MS * 1e-3 * p->slower);
    sim_engine_power(p->engine, s.t_ns, SIM_IDLE_WATTS + SIM_REST_WATTS);
    record(p, &(struct wire_record){
                  .kind = WIRE_SAMPLE, .layer = -1, .t0_ns = (uint64_t)s.t_ns, .t1_ns = (uint64_t)(s.t_ns + (end - s.t_ns) / 2)});
    return end - t_ns;
}
