/* The probe inside engines of the stand-ins: what they compute stays the same, and the ring tells stages, sequences, layers and
 * components, for every way of calling and linking. */
#include "tests/probes/probed.h"

#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

static int begin(void **state)
{
    return scratch_open(state);
}

/* ---- what is told ---------------------------------------------------------------------------------------------------------- */

static void a_file_for_its_owner(void **state)
{
    struct told t;
    struct stat st;
    (void)state;
    probed(&t, ENGINE, "dense decode 10", "components", "1");
    char *path = ring_find(scratch_path("rings"), -1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(t.info.pid, strtoll(strrchr(path, '/') + 6, NULL, 10));
    assert_string_equal(t.info.ggml, "0.0-stand-in");
    assert_string_equal(t.info.device, "CPU");
    assert_string_equal(t.info.remark, "");
    free(path);
    free(t.records);
}

/* Ten steps of a model with three layers: counts of kinds at each level. */
static void counts_of_levels(void **state)
{
    static const struct {
        const char *architecture, *level;
        size_t n[WIRE_KINDS];
    } rows[] = {
        {"dense", "stages", {[WIRE_GRAPH] = 10}},
        {"dense", "layers", {[WIRE_GRAPH] = 10, [WIRE_EMBEDDING] = 10, [WIRE_LAYER] = 30, [WIRE_HEAD] = 10}},
        {"dense",
         "components",
         {[WIRE_GRAPH] = 10,
          [WIRE_EMBEDDING] = 10,
          [WIRE_ATTENTION_NORM] = 30,
          [WIRE_ATTENTION] = 30,
          [WIRE_FFN_NORM] = 30,
          [WIRE_FFN] = 30,
          [WIRE_OUTPUT_NORM] = 10,
          [WIRE_HEAD] = 10}},
        {"moe",
         "components",
         {[WIRE_GRAPH] = 10,
          [WIRE_EMBEDDING] = 10,
          [WIRE_ATTENTION_NORM] = 30,
          [WIRE_ATTENTION] = 30,
          [WIRE_FFN_NORM] = 30,
          [WIRE_FFN] = 30,
          [WIRE_OUTPUT_NORM] = 10,
          [WIRE_HEAD] = 10}},
        /* attention and feed-forward between the same norm and sum: their parts cannot be told apart */
        {"parallel",
         "components",
         {[WIRE_GRAPH] = 10,
          [WIRE_EMBEDDING] = 10,
          [WIRE_ATTENTION_NORM] = 30,
          [WIRE_LAYER] = 30,
          [WIRE_OUTPUT_NORM] = 10,
          [WIRE_HEAD] = 10}},
        /* no name is known: one stretch, from the first node to the end, so that nothing vanishes */
        {"strange", "components", {[WIRE_GRAPH] = 10, [WIRE_OTHER] = 10}},
        {"dense",
         "nodes", /* 11 nodes of attention that compute, 2 norms each, 5 of feed-forward */
         {[WIRE_GRAPH] = 10,
          [WIRE_EMBEDDING] = 10,
          [WIRE_ATTENTION_NORM] = 60,
          [WIRE_ATTENTION] = 300,
          [WIRE_FFN_NORM] = 60,
          [WIRE_FFN] = 150,
          [WIRE_OUTPUT_NORM] = 20,
          [WIRE_HEAD] = 10}},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct told t;
        char arguments[64];
        snprintf(arguments, sizeof(arguments), "%s decode 10", rows[i].architecture);
        probed(&t, ENGINE, arguments, rows[i].level, "1");
        for (int k = WIRE_GRAPH; k < WIRE_KINDS; k++)
            if (t.kinds[k] != rows[i].n[k])
                fail_msg("%s at %s: %zu of %s, not %zu", rows[i].architecture, rows[i].level, t.kinds[k],
                         ring_kind_name((enum wire_kind)k), rows[i].n[k]);
        assert_int_equal(t.kinds[WIRE_STEP], 10);
        assert_int_equal(t.kinds[WIRE_LOAD], 2);
        assert_int_equal(t.kinds[WIRE_SAMPLE], 10); /* not the members of the chain */
        assert_int_equal(t.kinds[WIRE_WAIT], 10);
        assert_int_equal(t.kinds[WIRE_TOKENISE], 1);
        assert_int_equal(t.kinds[WIRE_DETOKENISE], 10);
        free(t.records);
    }
}

static void parts_of_a_layer(void **state)
{
    static const struct {
        const char *architecture;
        size_t n[WIRE_PARTS];
    } rows[] = {
        {"dense",
         {[WIRE_QKV] = 3,
          [WIRE_ROPE] = 2,
          [WIRE_KV_WRITE] = 2,
          [WIRE_SCORES] = 1,
          [WIRE_PROJECTION] = 1,
          [WIRE_RESIDUAL] = 2,
          [WIRE_GATE] = 1,
          [WIRE_UP] = 1,
          [WIRE_ACTIVATION] = 1,
          [WIRE_DOWN] = 1,
          [WIRE_NORM] = 4}},
        {"moe",
         {[WIRE_QKV] = 3,
          [WIRE_ROPE] = 2,
          [WIRE_KV_WRITE] = 2,
          [WIRE_SCORES] = 1,
          [WIRE_PROJECTION] = 1,
          [WIRE_RESIDUAL] = 2,
          [WIRE_ROUTER] = 4,
          [WIRE_EXPERTS] = 5,
          [WIRE_NORM] = 4}},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct told t;
        char arguments[64];
        size_t n[WIRE_PARTS] = {0}, flash = 0;
        snprintf(arguments, sizeof(arguments), "%s process 1", rows[i].architecture);
        probed(&t, ENGINE, arguments, "nodes", "1");
        for (size_t k = 0; k < t.n; k++) {
            if (t.records[k].kind < WIRE_EMBEDDING || t.records[k].layer != 1)
                continue;
            n[wire_part_of(t.records[k].b)]++;
            flash += (t.records[k].flags & WIRE_FLASH) != 0;
        }
        for (int p = 0; p < WIRE_PARTS; p++)
            if (n[p] != rows[i].n[p])
                fail_msg("%s: %zu of '%s', not %zu", rows[i].architecture, n[p], ring_part_name((enum wire_part)p), rows[i].n[p]);
        assert_int_equal(flash, 1);
        free(t.records);
    }
}

/* A prompt of 7, then one token a step; every fourth step another sequence's prompt of 5 with it. */
static void tokens_by_sequence(void **state)
{
    static const char *const ways[] = {"dense decode 10", "dense process 10"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(ways); i++) {
        struct told t;
        struct steps *s = malloc(sizeof(*s));
        struct profile_step p;
        uint32_t n = 0;
        probed(&t, ENGINE, ways[i], "components", "1");
        steps_init(s);
        for (size_t k = 0; k < t.n; k++) {
            if (!steps_add(s, &t.records[k], &p))
                continue;
            bool mixed = n % 4 == 3;
            assert_int_equal(p.tokens, n == 0 ? 7 : mixed ? 6 : 1);
            assert_int_equal(p.decoded, n == 0 ? 0 : 1);
            assert_int_equal(p.prefilled, n == 0 ? 7 : mixed ? 5 : 0);
            assert_int_equal(p.n_sequences, mixed ? 2 : 1);
            assert_int_equal(p.sequences[0].id, 0);
            assert_int_equal(p.sequences[0].position, n == 0 ? 0 : 6 + n);
            if (mixed)
                assert_int_equal(p.sequences[1].id, 3);
            assert_int_equal(p.graphs, 1);
            assert_int_equal(p.watched, 1);
            assert_int_equal(p.stops, 3 * 4 + 3);
            assert_int_equal(p.kind_n[WIRE_FFN], 3);
            assert_int_equal(p.stretch_ns + p.stop_ns + p.open_ns + p.close_ns, p.graph_ns);
            assert_true(p.graph_ns <= p.t1_ns - p.t0_ns);
            n++;
        }
        assert_int_equal(n, 10);
        free(s);
        free(t.records);
    }
}

static void every_way_of_linking_and_calling(void **state)
{
    static const char *const programs[] = {ENGINE, LOADED};
    static const char *const ways[] = {"dense decode 12", "dense process 12", "dense foreign 12", "dense threads 12",
                                       "dense fork 12",   "dense born 12",    "dense batches 12", "dense launch 12"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(programs) * JL_COUNT(ways); i++) {
        struct told t;
        const char *way = ways[i / 2];
        size_t contexts = strstr(way, "threads") ? 2 : 1;
        probed(&t, programs[i % 2], way, "components", "1");
        assert_int_equal(t.kinds[WIRE_GRAPH], 12 * contexts); /* not those of a child */
        assert_int_equal(t.kinds[WIRE_ATTENTION], 36 * contexts);
        assert_int_equal(t.info.counts[WIRE_N_GRAPHS], 12 * contexts);
        assert_int_equal(t.info.counts[WIRE_N_FOREIGN], strstr(way, "foreign") ? t.info.counts[WIRE_N_SETTER] : 0);
        for (size_t k = 0, last = 0; contexts == 1 && k < t.n; k++) { /* stretches of a scheduler do not overlap */
            if (t.records[k].kind < WIRE_EMBEDDING)
                continue;
            assert_true(t.records[k].t0_ns >= t.records[last].t1_ns || last == 0);
            last = k;
        }
        free(t.records);
    }
}

/* A process that goes into the background before it loads a model computes there, and is seen. */
static void an_engine_in_the_background(void **state)
{
    struct told t = {.n = 0};
    char plain[1024], dir[256];
    (void)state;
    probed_empty();
    probed_engine(ENGINE, "dense background 12", NULL, plain);
    snprintf(dir, sizeof(dir), "JOULET_PROBE_DIR=%s", scratch_path("rings"));
    const char *const env[] = {"LD_PRELOAD=" PROBE, dir, "JOULET_PROBE_EVERY=1", NULL};
    int64_t pid = probed_engine(ENGINE, "dense background 12", env, t.said);
    assert_string_equal(t.said, plain);
    assert_int_equal(probed_files(), 1);
    char *path = ring_find(scratch_path("rings"), -1);
    read_all(path, &t);
    assert_int_not_equal(t.info.pid, pid);
    assert_int_equal(t.kinds[WIRE_GRAPH], 12);
    assert_int_equal(t.kinds[WIRE_ATTENTION], 36);
    free(path);
    free(t.records);
}

/* What it stands in for, and nothing else: no name of ours gets in the way of the engine's. */
static void only_names_of_the_engine(void **state)
{
    struct jl_buf b;
    size_t ours = 0, n = 0;
    (void)state;
    jl_buf_init(&b, (size_t)4 << 20);
    assert_int_equal(jl_read_file(PROBE, &b, NULL), JOULET_OK);
    const Elf64_Ehdr *e = (const void *)b.data;
    const Elf64_Shdr *s = (const void *)(b.data + e->e_shoff), *symbols = NULL;
    for (int i = 0; i < e->e_shnum; i++)
        symbols = s[i].sh_type == SHT_DYNSYM ? &s[i] : symbols;
    assert_non_null(symbols);
    const Elf64_Sym *all = (const void *)(b.data + symbols->sh_offset);
    const char *names = b.data + s[symbols->sh_link].sh_offset;
    for (size_t i = 0; i < symbols->sh_size / sizeof(*all); i++) {
        const char *name = names + all[i].st_name;
        if (all[i].st_shndx == SHN_UNDEF)
            continue;
        n++;
        if (!jl_starts(name, "llama_") && !jl_starts(name, "ggml_backend_") && !jl_starts(name, "_Z21common_sampler_sample") &&
            strcmp(name, "cudaGraphLaunch") != 0 && strcmp(name, "hipGraphLaunch") != 0)
            fail_msg("the probe shows %s", name);
        ours += strcmp(name, "llama_decode") == 0;
    }
    assert_int_equal(ours, 1);
    assert_true(n > 20);
    jl_buf_release(&b);
}

/* A foreign callback that ends a graph still ends it. */
static void a_graph_may_be_ended(void **state)
{
    struct told t;
    (void)state;
    probed(&t, ENGINE, "dense cancel 3", "components", "1");
    assert_int_equal(t.kinds[WIRE_GRAPH], 3);
    assert_int_equal(t.kinds[WIRE_ATTENTION_NORM], 3);
    assert_int_equal(t.kinds[WIRE_ATTENTION], 0);
    assert_int_equal(t.kinds[WIRE_HEAD], 0);
    free(t.records);
}

static void one_graph_in_so_many(void **state)
{
    struct told t;
    (void)state;
    probed(&t, ENGINE, "dense decode 800", "components", "8");
    assert_int_equal(t.kinds[WIRE_GRAPH], 800);
    assert_in_range(t.info.counts[WIRE_N_WATCHED], 60, 150);
    assert_int_equal(t.kinds[WIRE_FFN], 3 * t.info.counts[WIRE_N_WATCHED]);
    free(t.records);
    /* chosen: the graphs of the stand-in are far shorter than their stops */
    probed(&t, ENGINE, "dense decode 800", "components", "0");
    assert_in_range(t.info.counts[WIRE_N_WATCHED], 1, 80);
    free(t.records);
}

/* Each of four steps in another way; of those without the probe there is no more than when they ran. */
static void steps_in_turns(void **state)
{
    static const char *const ways[] = {"dense decode 400", "dense process 400", "dense foreign 400", "dense batches 400"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(ways); i++) {
        struct told t;
        struct steps *s = malloc(sizeof(*s));
        struct profile_step p;
        size_t n = 0, of[WIRE_TURNS] = {0}, watched[WIRE_TURNS] = {0};
        unsigned seen = 0;
        probed(&t, ENGINE, ways[i], "components", "turns");
        steps_init(s);
        for (size_t k = 0; k < t.n; k++) {
            if (!steps_add(s, &t.records[k], &p))
                continue;
            assert_int_equal(p.tokens, n == 0 ? 7 : n % 4 == 3 ? 6 : 1); /* whatever the turn */
            assert_int_equal(p.graphs, p.turn == WIRE_TURN_OFF ? 0 : 1);
            assert_int_equal(p.n_sequences > 0, p.turn != WIRE_TURN_OFF);
            of[p.turn]++;
            watched[p.turn] += p.watched;
            seen |= 1u << p.turn;
            if (++n % 4 == 0) {
                assert_int_equal(seen,
                                 1u << WIRE_TURN_OFF | 1u << WIRE_TURN_STAGES | 1u << WIRE_TURN_AS_SET | 1u << WIRE_TURN_ALL);
                seen = 0;
            }
        }
        for (int k = WIRE_TURN_OFF; k < WIRE_TURNS; k++)
            assert_int_equal(of[k], 100);
        assert_int_equal(watched[WIRE_TURN_OFF] + watched[WIRE_TURN_STAGES], 0);
        assert_int_equal(watched[WIRE_TURN_ALL], 100);
        assert_in_range(watched[WIRE_TURN_AS_SET], 1, 50);
        assert_int_equal(t.kinds[WIRE_GRAPH], 300);
        assert_int_equal(t.info.counts[WIRE_N_TABLE_FULL], 0);
        assert_int_equal(t.kinds[WIRE_FFN], 3 * (100 + watched[WIRE_TURN_AS_SET]));
        free(s);
        free(t.records);
    }
}

/* ---- where nothing can be told ------------------------------------------------------------------------------------------- */

static void nothing_without_being_asked(void **state)
{
    static const char *const folders[] = {"", "JOULET_PROBE_DIR=", "JOULET_PROBE_DIR=relative",
                                          "JOULET_PROBE_DIR=/nowhere/at/all"};
    (void)state;
    probed_empty();
    for (size_t i = 0; i < JL_COUNT(folders); i++) {
        char said[1024], plain[1024];
        const char *const env[] = {"LD_PRELOAD=" PROBE, folders[i], NULL};
        probed_engine(ENGINE, "dense process 5", NULL, plain);
        probed_engine(ENGINE, "dense process 5", i ? env : NULL, said);
        if (i == 3)
            assert_non_null(strstr(said, "nothing is recorded"));
        assert_non_null(strstr(said, strchr(plain, ' ')));
    }
    assert_int_equal(probed_files(), 0);
}

static void an_engine_linked_statically(void **state)
{
    char said[1024], dir[256];
    (void)state;
    probed_empty();
    snprintf(dir, sizeof(dir), "JOULET_PROBE_DIR=%s", scratch_path("rings"));
    const char *const env[] = {"LD_PRELOAD=" PROBE, dir, NULL};
    probed_engine(STATIC, "dense decode 5", env, said);
    assert_int_equal(probed_files(), 0);
    /* loads by the library, computes elsewhere: said by the probe itself */
    probed_engine(ENGINE, "dense load 5", env, said);
    assert_non_null(strstr(said, "no computation was seen"));
}

/* Why there is nothing, of processes that run: the loudest sentence that is true. */
static void why_nothing_is_seen(void **state)
{
    static const struct {
        const char *program, *architecture;
        bool preload, folder;
        enum joulet_status status;
        const char *words;
    } rows[] = {
        {ENGINE, "dense", true, true, JOULET_OK, ""},
        {ENGINE, "dense", false, true, JOULET_UNSUPPORTED, "without the probe"},
        {STATIC, "dense", true, true, JOULET_UNSUPPORTED, "linked into the program"},
        {ENGINE, "dense", true, false, JOULET_NOT_FOUND, "written nothing"},
    };
    char dir[256], *ring;
    struct joulet_error err;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct jl_process p;
        char said[256] = "";
        probed_empty();
        snprintf(dir, sizeof(dir), "JOULET_PROBE_DIR=%s", rows[i].folder ? scratch_path("rings") : "/nowhere/at/all");
        unlink(scratch_path("log"));
        const char *const argv[] = {rows[i].program, rows[i].architecture, "stay", "3", NULL};
        const char *const env[] = {dir, rows[i].preload ? "LD_PRELOAD=" PROBE : NULL, NULL};
        struct jl_spawn what = {.argv = argv, .env = env, .log = scratch_path("log")};
        assert_int_equal(jl_spawn(&p, &what, &err), JOULET_OK);
        while (!strstr(said, "told") && !jl_process_wait(&p, 0.01)) /* it computes before it speaks */
            jl_read_text(scratch_path("log"), said, sizeof(said), NULL);
        assert_false(p.ended);
        enum joulet_status status = probe_check(p.pid, scratch_path("rings"), &ring, &err);
        jl_process_stop(&p, 5);
        if (status != rows[i].status || !strstr(err.message, rows[i].words))
            fail_msg("row %zu: %d %s", i, (int)status, err.message);
        assert_true((ring != NULL) == (status == JOULET_OK));
        free(ring);
        assert_int_equal(probe_check(p.pid, scratch_path("rings"), &ring, &err), i == 0 ? JOULET_OK : JOULET_NOT_FOUND);
        free(ring);
    }
}

/* A model was loaded through us, and nothing computed. */
static void a_model_and_no_computation(void **state)
{
    char said[1024], dir[256], *ring;
    struct joulet_error err;
    (void)state;
    probed_empty();
    snprintf(dir, sizeof(dir), "JOULET_PROBE_DIR=%s", scratch_path("rings"));
    const char *const env[] = {"LD_PRELOAD=" PROBE, dir, NULL};
    int64_t pid = probed_engine(ENGINE, "dense load 5", env, said);
    assert_int_equal(probe_check(pid, scratch_path("rings"), &ring, &err), JOULET_NOT_FOUND);
    assert_non_null(strstr(err.message, "nothing computed"));
    free(ring);
}

static void where_the_probe_is(void **state)
{
    struct joulet_error err;
    (void)state;
    setenv("JOULET_MODULE_DIR", MODULE_DIR, 1);
    char *path = probe_library(&err), *folder;
    assert_non_null(path);
    assert_string_equal(path, PROBE);
    free(path);
    setenv("JOULET_MODULE_DIR", "/nowhere", 1);
    path = probe_library(&err);
    if (!path)
        assert_non_null(strstr(err.message, "install joulet again"));
    free(path);
    setenv("XDG_RUNTIME_DIR", scratch_path("runtime"), 1);
    mkdir(scratch_path("runtime"), 0700);
    folder = probe_folder(&err);
    struct stat st;
    assert_int_equal(stat(scratch_path("runtime/joulet/probes"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    free(folder);
    setenv("XDG_RUNTIME_DIR", scratch_path("missing"), 1);
    assert_null(probe_folder(&err));
    assert_non_null(strstr(err.message, "XDG_RUNTIME_DIR"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_for_its_owner),
        cmocka_unit_test(counts_of_levels),
        cmocka_unit_test(parts_of_a_layer),
        cmocka_unit_test(tokens_by_sequence),
        cmocka_unit_test(every_way_of_linking_and_calling),
        cmocka_unit_test(an_engine_in_the_background),
        cmocka_unit_test(only_names_of_the_engine),
        cmocka_unit_test(a_graph_may_be_ended),
        cmocka_unit_test(one_graph_in_so_many),
        cmocka_unit_test(steps_in_turns),
        cmocka_unit_test(nothing_without_being_asked),
        cmocka_unit_test(an_engine_linked_statically),
        cmocka_unit_test(why_nothing_is_seen),
        cmocka_unit_test(a_model_and_no_computation),
        cmocka_unit_test(where_the_probe_is),
    };
    return cmocka_run_group_tests(tests, begin, scratch_close);
}
