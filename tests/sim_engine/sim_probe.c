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
    {WIRE_EMBEDDING, 0.05, 15, 0.5, 0}, {WIRE_ATTENTION_NORM, 0.3, 40, 0.1, 0}, {WIRE_ATTENTION, 2.4, 30, 0.5, 0.02},
    {WIRE_FFN_NORM, 0.3, 40, 0.1, 0},   {WIRE_FFN, 3.0, 95, 0.15, 0.03},        {WIRE_OUTPUT_NORM, 0.3, 40, 0.1, 0},
    {WIRE_HEAD, 4.5, 60, 0.15, 0.03},
};
const size_t sim_part_count = JL_COUNT(sim_parts);

struct sim_probe {
    struct sim_engine *engine;
    struct wire_head *head;
    struct wire_record *records;
    struct sim_probe_options o;
    uint32_t graph;
    struct jl_rng rng;
    int order[WIRE_AGAIN + 1], at, n; /* segments of this block; -1 the one without repeats */
    int64_t segment_until_ns;
    int looped; /* the kind that was looped last */
};

static bool in_layers(enum wire_kind k)
{
    return k == WIRE_ATTENTION_NORM || k == WIRE_ATTENTION || k == WIRE_FFN_NORM || k == WIRE_FFN;
}

static int layers_of(const struct sim_probe_options *o)
{
    return o->layers > 0 ? o->layers : SIM_LAYERS;
}

static double or_one(double x)
{
    return x > 0 ? x : 1;
}

/* Seconds and watts of one stretch in a step of n sequences. */
static double part_s(const struct sim_probe_options *o, const struct sim_part *part, size_t n, double position)
{
    double s = part->ms * 1e-3 * o->slower * (1 + part->more_time * (double)(n - 1));
    if (part->kind == WIRE_ATTENTION)
        s *= or_one(o->attention) * (o->context > 0 ? 1 + position / o->context : 1);
    else if (part->kind == WIRE_FFN)
        s *= or_one(o->ffn);
    else if (part->kind == WIRE_HEAD)
        s *= or_one(o->head);
    return s;
}

static double part_w(const struct sim_part *part, size_t n)
{
    return part->watts * (1 + part->more_power * (double)(n - 1));
}

static double layer_w(const struct sim_probe_options *o, int layer)
{
    return layer == SIM_LAYERS - 1 ? or_one(o->last) : 1;
}

/* Layers, each counted by its power. */
static double powered(const struct sim_probe_options *o)
{
    double sum = 0;
    for (int i = 0; i < layers_of(o); i++)
        sum += layer_w(o, i);
    return sum;
}

static double rest_s(const struct sim_probe_options *o, size_t n)
{
    return SIM_REST_MS * 1e-3 * o->slower * (1 + SIM_MORE_REST * (double)(n - 1));
}

double sim_step_j(const struct sim_probe_options *o, enum wire_kind kind, size_t n, double position)
{
    double j = kind == WIRE_NONE ? rest_s(o, n) * SIM_REST_WATTS : 0;
    for (size_t i = 0; i < sim_part_count; i++)
        if (sim_parts[i].kind == kind)
            j += part_s(o, &sim_parts[i], n, position) * part_w(&sim_parts[i], n) * (in_layers(kind) ? powered(o) : 1);
    return j;
}

double sim_whole_step_j(const struct sim_probe_options *o, size_t n, double position)
{
    double j = sim_step_j(o, WIRE_NONE, n, position);
    for (size_t i = 0; i < sim_part_count; i++)
        j += sim_step_j(o, sim_parts[i].kind, n, position);
    return j;
}

static double wide(const struct sim_probe_options *o, double tokens)
{
    return SIM_WIDE * (o->prompt > 0 ? 1 + tokens / o->prompt : 1);
}

double sim_prompt_j(const struct sim_probe_options *o, double tokens)
{
    return wide(o, tokens) * (sim_whole_step_j(o, 1, 0) - sim_step_j(o, WIRE_NONE, 1, 0));
}

static const struct sim_probe_options plain = {.slower = 1};

double sim_component_j(enum wire_kind kind)
{
    return sim_step_j(&plain, kind, 1, 0);
}

double sim_component_token_j(void)
{
    return sim_whole_step_j(&plain, 1, 0);
}

struct sim_probe *sim_probe_open(const char *folder, const struct sim_probe_options *o)
{
    struct sim_probe *p = calloc(1, sizeof(*p));
    int64_t now = jl_mono_ns();
    char path[4096];
    const char *level = getenv("JOULET_PROBE_LEVEL");
    size_t bytes = WIRE_HEAD_BYTES + RECORDS * sizeof(struct wire_record);
    snprintf(path, sizeof(path), "%s/" WIRE_FILE, folder ? folder : "", (long long)getpid(), (unsigned long long)now);
    int fd = folder ? open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : memfd_create("ring", MFD_CLOEXEC);
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
    p->o = *o;
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
    double scale, position;
    size_t n; /* sequences */
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
    int64_t end = s->t_ns + jl_ns(part_s(&s->p->o, part, s->n, s->position) * s->scale);
    sim_engine_power(s->p->engine, s->t_ns, SIM_IDLE_WATTS + part_w(part, s->n) * layer_w(&s->p->o, layer));
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
    for (int layer = 0; layer < (in_layers(kind) ? layers_of(&s->p->o) : 1); layer++)
        run_part(s, part_of(kind), in_layers(kind) ? layer : -1, again);
}

static void run_graph(struct step *s)
{
    static const enum wire_kind layer[] = {WIRE_ATTENTION_NORM, WIRE_ATTENTION, WIRE_FFN_NORM, WIRE_FFN};
    run_kind(s, WIRE_EMBEDDING, false);
    for (int l = 0; l < layers_of(&s->p->o); l++)
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
    if (!any || p->o.refuses)
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

/* The kinds that are asked for in turn, one after each step; -1 none. */
static int loop_group(struct sim_probe *p)
{
    for (int i = 1; i <= WIRE_AGAIN && !p->o.refuses; i++) {
        int group = (p->looped + i) % WIRE_AGAIN;
        if (atomic_load(&p->head->control.again[group]))
            return p->looped = group;
    }
    return -1;
}

/* One kind over and over, at the power of its first part; warm data makes it faster. */
static void loop(struct step *s, int group, int64_t for_ns)
{
    struct wire_record r = {.kind = (uint16_t)groups[group][0],
                            .layer = -1,
                            .flags = (uint16_t)(WIRE_REPEATED | WIRE_LOOPED | wire_segment(groups[group][0])),
                            .t0_ns = (uint64_t)s->t_ns};
    const struct sim_probe_options *o = &s->p->o;
    double round_s = 0;
    for (int i = 0; i < 3 && groups[group][i]; i++) {
        int n = in_layers(groups[group][i]) ? layers_of(o) : 1;
        round_s += n * part_s(o, part_of(groups[group][i]), s->n, s->position);
        r.tokens += (uint32_t)n;
    }
    sim_engine_power(s->p->engine, s->t_ns, SIM_IDLE_WATTS + part_w(part_of(groups[group][0]), s->n));
    int64_t round_ns = jl_ns(round_s * (groups[group][0] == WIRE_HEAD ? SIM_WARM : 1));
    r.b = (uint32_t)(for_ns / round_ns + 1);
    s->t_ns += r.b * round_ns;
    r.t1_ns = (uint64_t)s->t_ns;
    r.a = (uint32_t)(r.b * round_ns / 1000);
    record(s->p, &r);
    atomic_fetch_add(&s->p->head->counts[WIRE_N_REPEATS], 1);
}

static bool watches(struct sim_probe *p)
{
    uint32_t asked = atomic_load(&p->head->control.watch);
    return asked == WIRE_AS_SET ? jl_rng_below(&p->rng, 2) == 0 : asked == WIRE_WATCH_ALL;
}

static void tell_sequences(struct sim_probe *p, const struct step *s, int64_t t_ns, const struct sim_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        record(p, &(struct wire_record){.kind = WIRE_SEQUENCE,
                                        .layer = -1,
                                        .tokens = (uint32_t)rows[i].tokens,
                                        .a = (uint32_t)rows[i].slot,
                                        .b = (uint32_t)rows[i].position,
                                        .t0_ns = (uint64_t)t_ns,
                                        .t1_ns = (uint64_t)s->t_ns});
    record(p, &(struct wire_record){
                  .kind = WIRE_STEP, .layer = -1, .tokens = s->tokens, .t0_ns = (uint64_t)t_ns, .t1_ns = (uint64_t)s->t_ns});
}

static void begin_step(struct step *s, struct sim_probe *p, int64_t t_ns, const struct sim_row *rows, size_t n)
{
    double position = 0, tokens = 0;
    for (size_t i = 0; i < n; i++) {
        position += (double)rows[i].position / (double)n;
        tokens += (double)rows[i].tokens;
    }
    bool prompt = rows[0].tokens > 1;
    *s = (struct step){.p = p,
                       .t_ns = t_ns,
                       .scale = prompt ? wide(&p->o, tokens) : 1,
                       .position = prompt ? 0 : position,
                       .n = n,
                       .tokens = (uint32_t)tokens,
                       .watched = watches(p)};
}

/* Text into tokens, or back: its end. */
static int64_t text_stretch(struct sim_probe *p, int64_t t_ns, int64_t tokens, bool back)
{
    int64_t end = t_ns + jl_ns(1e-6 * SIM_TEXT_US * p->o.slower * (double)tokens);
    sim_engine_power(p->engine, t_ns, SIM_IDLE_WATTS + (back ? SIM_DETOKENISE_WATTS : SIM_TOKENISE_WATTS));
    record(p, &(struct wire_record){.kind = back ? WIRE_DETOKENISE : WIRE_TOKENISE,
                                    .layer = -1,
                                    .tokens = (uint32_t)tokens,
                                    .t0_ns = (uint64_t)t_ns,
                                    .t1_ns = (uint64_t)end});
    return end;
}

int64_t sim_probe_text(void *probe, int64_t t_ns, int64_t tokens, bool back)
{
    struct sim_probe *p = probe;
    int64_t end = text_stretch(p, t_ns, tokens, back);
    sim_engine_power(p->engine, end, SIM_IDLE_WATTS);
    return end;
}

static int64_t tokens_of(const struct sim_row *rows, size_t n)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += rows[i].tokens;
    return sum;
}

int64_t sim_probe_step(void *probe, int64_t t_ns, const struct sim_row *rows, size_t n)
{
    struct sim_probe *p = probe;
    struct step s;
    int64_t begin = t_ns;
    bool prompt = rows[0].tokens > 1;
    if (prompt && p->o.text)
        t_ns = text_stretch(p, t_ns, tokens_of(rows, n), false);
    begin_step(&s, p, t_ns, rows, n);
    int64_t loop_ns = (int64_t)atomic_load(&p->head->control.loop_ms) * 1000000;
    int group = prompt ? -1 : loop_ns ? loop_group(p) : segment(p, t_ns);
    s.flags = group >= 0 ? wire_segment(groups[group][0]) : 0;
    p->graph++;
    atomic_fetch_add(&p->head->counts[WIRE_N_GRAPHS], 1);
    atomic_fetch_add(&p->head->counts[WIRE_N_DECODE], 1);
    run_graph(&s);
    int64_t graph_end = s.t_ns;
    if (group >= 0 && loop_ns)
        loop(&s, group, loop_ns);
    for (uint32_t k = 0; group >= 0 && !loop_ns && k < atomic_load(&p->head->control.again[group]); k++)
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
    tell_sequences(p, &s, t_ns, rows, n);
    int64_t end = s.t_ns + jl_ns(rest_s(&p->o, n));
    sim_engine_power(p->engine, s.t_ns, SIM_IDLE_WATTS + SIM_REST_WATTS);
    record(p, &(struct wire_record){
                  .kind = WIRE_SAMPLE, .layer = -1, .t0_ns = (uint64_t)s.t_ns, .t1_ns = (uint64_t)(s.t_ns + (end - s.t_ns) / 2)});
    if (!prompt && p->o.text)
        end = text_stretch(p, end, (int64_t)n, true);
    return end - begin;
}
