/* The writer: the same bytes for a seed, weights that scatter as they should, and a path that holds a whole file or the old one.
 */
#include "tests/llm/scratch.h"

#include "llm/gguf/layout.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct gguf_shape tiny(void)
{
    struct gguf_shape s;
    assert_int_equal(gguf_shape_find("tiny", &s, NULL), JOULET_OK);
    return s;
}

static void assert_near(double got, double want, double within)
{
    if (!(fabs(got - want) <= within))
        fail_msg("%.12g is not within %g of %.12g", got, within, want);
}

/* ---- bytes --------------------------------------------------------------------------------------------------------------- */

/* These bytes are a promise: models made on two machines, or by two versions, are the same model. */
static void bytes_are_fixed_by_the_seed(void **state)
{
    struct gguf_shape micro = {.name = "micro",
                               .layers = 2,
                               .hidden = 64,
                               .heads = 4,
                               .kv_heads = 2,
                               .head_dim = 16,
                               .ffn = 128,
                               .vocab = 600,
                               .context = 128,
                               .rope_theta = 10000};
    const struct {
        struct gguf_shape shape;
        enum gguf_quant quant;
        uint64_t seed;
        const char *sha256;
    } rows[] = {
        {micro, GGUF_F32, 1, "f2e1941b3c52b8d0cc4e46133df69148791382aff206bf858180c59485a8a977"},
        {micro, GGUF_F16, 1, "ddb0cac773d3419851eb271f28a42d1abb945d2a2d8546206121ced5d6cb7392"},
        {micro, GGUF_Q8_0, 1, "4e11ce113000d95db8af4e99af4a63ed3c0de6286ed217f856e9ca6184a20075"},
        {micro, GGUF_Q4_0, 1, "d82500e51d7c2200e87887dae76a75853e1e63d370e55ac25be9dd731bc0bd0d"},
        {micro, GGUF_Q4_0, 2, "a300dc0724ef214fd755e80b6d867b2d0f8268d5319d788392b09be5d380534e"},
        {tiny(), GGUF_Q4_0, 1, "7f3d40d6c90a508abfe7b42baa082f29fb7f4966a30a0e8ff716e798655b3f6a"},
    };
    char sha256[65];
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const char *path = scratch_path("m.gguf");
        assert_int_equal(gguf_write(path, &rows[i].shape, rows[i].quant, rows[i].seed, NULL, NULL, NULL), JOULET_OK);
        scratch_sha256(path, sha256);
        assert_string_equal(sha256, rows[i].sha256);
        assert_true(gguf_is_written(path, &rows[i].shape, rows[i].quant, rows[i].seed));
        assert_false(gguf_is_written(path, &rows[i].shape, rows[i].quant, rows[i].seed + 1));
    }
}

/* A model with fewer layers says of how many, and how many parameters those would have. */
static void fewer_layers_are_told(void **state)
{
    struct gguf_shape s = tiny();
    struct gguf_head h;
    const char *path = scratch_path("fewer.gguf");
    int64_t whole = gguf_shape_params(&s);
    (void)state;
    assert_int_equal(gguf_shape_change(&s, "layers=2", NULL), JOULET_OK);
    assert_int_equal(gguf_write(path, &s, GGUF_Q4_0, 1, NULL, NULL, NULL), JOULET_OK);
    assert_int_equal(gguf_read_head(path, &h, NULL), JOULET_OK);
    assert_int_equal(h.layers, 2);
    assert_int_equal(h.layers_of, 4);
    assert_int_equal(h.params_of, whole);
    s = tiny();
    assert_int_equal(gguf_write(path, &s, GGUF_Q4_0, 1, NULL, NULL, NULL), JOULET_OK);
    assert_int_equal(gguf_read_head(path, &h, NULL), JOULET_OK);
    assert_true(h.layers == 4 && h.layers_of == -1 && h.params_of == -1);
}

/* What a file was written from is found again from its head, changes included. */
static void what_was_written_is_found(void **state)
{
    static const struct {
        const char *changes[2];
        enum gguf_quant quant;
        uint64_t seed;
    } rows[] = {{{NULL, NULL}, GGUF_Q4_0, 1}, {{"layers=2", NULL}, GGUF_Q8_0, 7}, {{"ffn=512", "heads=4"}, GGUF_F16, 1}};
    const char *path = scratch_path("found.gguf");
    struct gguf_made made;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct gguf_shape s = tiny();
        for (int k = 0; k < 2 && rows[i].changes[k]; k++)
            assert_int_equal(gguf_shape_change(&s, rows[i].changes[k], NULL), JOULET_OK);
        assert_int_equal(gguf_write(path, &s, rows[i].quant, rows[i].seed, NULL, NULL, NULL), JOULET_OK);
        assert_true(gguf_find_made(path, &made));
        assert_string_equal(made.shape.name, s.name);
        assert_true(made.shape.layers == s.layers && made.shape.ffn == s.ffn && made.shape.heads == s.heads &&
                    made.shape.layers_of == s.layers_of && made.quant == rows[i].quant && made.seed == rows[i].seed);
    }
    struct gguf_shape s = tiny();
    snprintf(s.name, sizeof s.name, "tiny-layers2-"); /* names that say nothing known */
    assert_int_equal(gguf_write(path, &s, GGUF_Q4_0, 1, NULL, NULL, NULL), JOULET_OK);
    assert_false(gguf_find_made(path, &made));
    assert_false(gguf_find_made(scratch_path("nowhere.gguf"), &made));
}

static void size_is_foretold(void **state)
{
    static const enum gguf_quant quants[] = {GGUF_F16, GGUF_Q8_0, GGUF_Q4_0};
    struct gguf_shape s = tiny();
    (void)state;
    for (size_t i = 0; i < JL_COUNT(quants); i++) {
        struct gguf_head h;
        assert_int_equal(gguf_write(scratch_path("m.gguf"), &s, quants[i], 1, NULL, NULL, NULL), JOULET_OK);
        assert_int_equal(gguf_read_head(scratch_path("m.gguf"), &h, NULL), JOULET_OK);
        assert_near((double)gguf_shape_bytes(&s, quants[i]), (double)h.bytes, 0.01 * (double)h.bytes);
    }
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

static void quantiles_are_normal(void **state)
{
    (void)state;
    for (double p = 1.0 / 131072; p < 1; p += 1.0 / 1024) {
        double x = gguf_normal_quantile(p);
        assert_near(0.5 * erfc(-x / sqrt(2)), p, 1e-8 * p + 1e-9);
        assert_near(gguf_normal_quantile(1 - p), -x, 1e-6);
    }
}

static void halves_round_to_even(void **state)
{
    static const struct {
        float f;
        uint16_t half;
    } rows[] = {{0, 0},
                {1, 0x3c00},
                {-2, 0xc000},
                {65504, 0x7bff},
                {65520, 0x7c00},
                {1e10f, 0x7c00},
                {0x1p-24f, 0x0001},
                {0x1p-25f, 0x0000},
                {0x1.8p-25f, 0x0001},
                {0x1p-14f, 0x0400},
                {1e-30f, 0},
                {0x1.004p0f, 0x3c01},
                {0x1.002p0f, 0x3c00},
                {0x1.006p0f, 0x3c02},
                {0x1.ff8p-15f, 0x03ff},
                {0x1.ffcp-15f, 0x0400}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        assert_int_equal(gguf_half(rows[i].f), rows[i].half);
}

static double from_half(const uint8_t *p)
{
    int bits = p[0] | p[1] << 8, exponent = bits >> 10 & 31, fraction = bits & 1023;
    double v = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return bits & 0x8000 ? -v : v;
}

/* The i-th weight of a row, as ggml reads it. */
static double weight(enum gguf_quant q, const uint8_t *row, size_t i)
{
    const uint8_t *b;
    float f;
    switch (q) {
    case GGUF_F32:
        memcpy(&f, row + 4 * i, sizeof(f)); /* the tests run on little-endian machines */
        return (double)f;
    case GGUF_F16:
        return from_half(row + 2 * i);
    case GGUF_Q8_0:
        b = row + i / 32 * 34;
        return from_half(b) * (int8_t)b[2 + i % 32];
    case GGUF_Q4_0:
        b = row + i / 32 * 18;
        return from_half(b) * ((i % 32 < 16 ? b[2 + i % 32] & 15 : b[2 + i % 32 - 16] >> 4) - 8);
    }
    return NAN;
}

static void weights_scatter_as_asked(void **state)
{
    static const enum gguf_quant quants[] = {GGUF_F32, GGUF_F16, GGUF_Q8_0, GGUF_Q4_0};
    enum { COLUMNS = 4096, ROWS = 32 };
    struct gguf_tables *t = gguf_tables_open();
    uint8_t row[COLUMNS * 4];
    (void)state;
    for (size_t q = 0; q < JL_COUNT(quants); q++) {
        struct gguf_tensor x = {.columns = COLUMNS, .rows = ROWS, .quant = quants[q], .deviation = 0.02};
        double sum = 0, squares = 0, n = (double)COLUMNS * ROWS;
        for (uint64_t r = 0; r < ROWS; r++) {
            gguf_fill_row(t, &x, 3, r, 1, 7, row);
            for (size_t i = 0; i < COLUMNS; i++) {
                double w = weight(quants[q], row, i);
                sum += w;
                squares += w * w;
            }
        }
        double step = quants[q] == GGUF_Q4_0 ? 0.02 * 2.7 / 8 : 0; /* coarse codes add their own variance, and clip */
        assert_near(sum / n, 0, 0.02 * 5 / sqrt(n) + step / 8);
        assert_near(sqrt(squares / n), 0.02, 0.02 * 0.03);
    }
    gguf_tables_close(t);
}

static void rows_differ_and_repeat(void **state)
{
    struct gguf_tables *t = gguf_tables_open();
    struct gguf_tensor x = {.columns = 256, .rows = 4, .quant = GGUF_Q8_0, .deviation = 1};
    uint8_t a[272], b[272];
    (void)state;
    gguf_fill_row(t, &x, 1, 2, 1, 9, a);
    gguf_fill_row(t, &x, 1, 2, 1, 9, b);
    assert_memory_equal(a, b, sizeof(a));
    gguf_fill_row(t, &x, 1, 3, 1, 9, b);
    assert_memory_not_equal(a, b, sizeof(a));
    gguf_fill_row(t, &x, 2, 2, 1, 9, b);
    assert_memory_not_equal(a, b, sizeof(a));
    gguf_fill_row(t, &x, 1, 2, 1, 10, b);
    assert_memory_not_equal(a, b, sizeof(a));
    gguf_tables_close(t);
}

static void vocabulary_is_whole(void **state)
{
    static const size_t sizes[] = {261, 300, 2048, 32000, 128256};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(sizes); i++) {
        struct gguf_vocabulary v;
        assert_true(gguf_vocabulary_init(&v, sizes[i]));
        assert_int_equal(v.n, sizes[i]);
        for (size_t k = 0; k < v.n; k++)
            assert_true(v.token[k][0] || k == 0);
        assert_string_equal(v.token[v.n - 1], "<|eot_id|>");
        assert_string_equal(v.token['A'], "A");
        assert_string_equal(v.token[' '], "\xc4\xa0"); /* U+0120, as byte-level BPE writes a space */
        gguf_vocabulary_release(&v);
    }
}

/* ---- the path ---------------------------------------------------------------------------------------------------- */

static bool stop_at_half(void *user, double done)
{
    int *calls = user;
    (*calls)++;
    return done < 0.5;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void interrupted_writing_leaves_the_old_file(void **state)
{
    struct gguf_shape s = tiny();
    struct joulet_error err;
    int calls = 0;
    (void)state;
    scratch_write("keep.gguf", "old", 3);
    assert_int_equal(gguf_write(scratch_path("keep.gguf"), &s, GGUF_F32, 1, stop_at_half, &calls, &err), JOULET_CANCELLED);
    assert_true(calls >= 2);
    char sha256[65], old[65];
    scratch_sha256(scratch_path("keep.gguf"), sha256);
    scratch_write("old", "old", 3);
    scratch_sha256(scratch_path("old"), old);
    assert_string_equal(sha256, old);
    assert_false(exists(scratch_path("keep.gguf.part")));
}

static void what_a_killed_writer_left_is_written_over(void **state)
{
    struct gguf_shape s = tiny();
    struct gguf_head h;
    (void)state;
    char *junk = calloc(1, 5 << 20); /* longer than the model */
    scratch_write("over.gguf.part", junk, 5 << 20);
    free(junk);
    assert_int_equal(gguf_write(scratch_path("over.gguf"), &s, GGUF_Q4_0, 1, NULL, NULL, NULL), JOULET_OK);
    assert_int_equal(gguf_read_head(scratch_path("over.gguf"), &h, NULL), JOULET_OK);
    assert_true(gguf_is_written(scratch_path("over.gguf"), &s, GGUF_Q4_0, 1));
    assert_false(exists(scratch_path("over.gguf.part")));
}

/* A file that may not grow is what a full disk looks like from inside. */
static void no_room_names_what_is_needed(void **state)
{
    struct gguf_shape s = tiny();
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = {1 << 20, 1 << 20};
        struct joulet_error err;
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        enum joulet_status status = gguf_write(scratch_path("big.gguf"), &s, GGUF_F16, 1, NULL, NULL, &err);
        _exit(status == JOULET_IO && strstr(err.message, "needs 9.0 MB") ? 0 : 1);
    }
    int how;
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    assert_false(exists(scratch_path("big.gguf")));
    assert_false(exists(scratch_path("big.gguf.part")));
}

static void more_than_the_disk_is_refused_at_once(void **state)
{
    struct gguf_shape s;
    struct joulet_error err;
    (void)state;
    int64_t room = jl_disk_free(scratch);
    assert_int_equal(gguf_shape_find("llama-3.1-405b", &s, NULL), JOULET_OK);
    if (room < 0 || room > gguf_shape_bytes(&s, GGUF_F32)) /* 1.6 TB */
        skip();
    assert_int_equal(gguf_write(scratch_path("huge.gguf"), &s, GGUF_F32, 1, NULL, NULL, &err), JOULET_IO);
    assert_says(err.message, "free some space");
    assert_false(exists(scratch_path("huge.gguf.part")));
}

static void only_one_writes_at_a_time(void **state)
{
    struct gguf_shape s = tiny();
    struct joulet_error err;
    int ready[2], done[2];
    (void)state;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(done), 0);
    pid_t pid = fork();
    if (pid == 0) { /* locks belong to processes, so another one must hold it */
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int fd = open(scratch_path("busy.gguf.part"), O_RDWR | O_CREAT, 0600);
        char c = (char)(fcntl(fd, F_SETLK, &lock) == 0);
        ssize_t n = write(ready[1], &c, 1);
        close(done[1]);
        n += read(done[0], &c, 1);
        _exit(n < 0);
    }
    char held = 0;
    assert_int_equal(read(ready[0], &held, 1), 1);
    assert_int_equal(held, 1);
    assert_int_equal(gguf_write(scratch_path("busy.gguf"), &s, GGUF_Q4_0, 1, NULL, NULL, &err), JOULET_BUSY);
    assert_says(err.message, "another process");
    assert_true(exists(scratch_path("busy.gguf.part"))); /* it is the other's */
    close(done[0]);
    close(done[1]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_wrong_folder_is_named(void **state)
{
    struct gguf_shape s = tiny();
    struct joulet_error err;
    (void)state;
    assert_int_equal(gguf_write(scratch_path("no/such/folder/m.gguf"), &s, GGUF_Q4_0, 1, NULL, NULL, &err), JOULET_NOT_FOUND);
    assert_says(err.message, "folder does not exist");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_fixed_by_the_seed),
        cmocka_unit_test(fewer_layers_are_told),
        cmocka_unit_test(what_was_written_is_found),
        cmocka_unit_test(size_is_foretold),
        cmocka_unit_test(quantiles_are_normal),
        cmocka_unit_test(halves_round_to_even),
        cmocka_unit_test(weights_scatter_as_asked),
        cmocka_unit_test(rows_differ_and_repeat),
        cmocka_unit_test(vocabulary_is_whole),
        cmocka_unit_test(interrupted_writing_leaves_the_old_file),
        cmocka_unit_test(what_a_killed_writer_left_is_written_over),
        cmocka_unit_test(no_room_names_what_is_needed),
        cmocka_unit_test(more_than_the_disk_is_refused_at_once),
        cmocka_unit_test(only_one_writes_at_a_time),
        cmocka_unit_test(a_wrong_folder_is_named),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
