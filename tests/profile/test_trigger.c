/* test_trigger.c - which steps count: by slot, by place in an answer, by request. Each row is a series of steps, each of which is
 * the sequences in it; beside it which of them are wanted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "profile/trigger.h"

#include <string.h>

#define STEP_NS 1000000

struct in {
    struct step_sequence of[2]; /* tokens 0: none */
};
struct row {
    const char *name;
    struct trigger_wish wish;
    struct in steps[12];
    const char *wanted; /* a letter a step: w wanted, b wanted and a request begins, . not wanted */
    int64_t begun;
};

static const struct row rows[] = {
    {"everything", {0, -1, 0}, {{{{0, 5, 0}}}, {{{0, 1, 5}}}, {{{0, 1, 6}}}}, "bww", 1},
    {"a prompt in pieces is one request", {0, -1, 0}, {{{{0, 512, 0}}}, {{{0, 88, 512}}}, {{{0, 1, 600}}}}, "bww", 1},
    {"the next prompt of a slot is another request",
     {0, -1, 0},
     {{{{0, 5, 0}}}, {{{0, 1, 5}}}, {{{0, 7, 0}}}, {{{0, 1, 7}}}},
     "bwbw",
     2},
    {"so is one that goes on with what is cached", {0, -1, 0}, {{{{0, 5, 0}}}, {{{0, 1, 5}}}, {{{0, 4, 6}}}}, "bwb", 2},
    {"and one of which a single token is left", {0, -1, 0}, {{{{0, 5, 0}}}, {{{0, 1, 5}}}, {{{0, 1, 4}}}}, "bwb", 2},
    {"first tokens: that of the prompt is the first",
     {3, -1, 0},
     {{{{0, 5, 0}}}, {{{0, 1, 5}}}, {{{0, 1, 6}}}, {{{0, 1, 7}}}, {{{0, 5, 0}}}, {{{0, 1, 5}}}},
     "bww.bw",
     2},
    {"first tokens: as long as one slot has some",
     {2, -1, 0},
     {{{{0, 5, 0}}}, {{{0, 1, 5}}}, {{{0, 1, 6}}}, {{{0, 1, 7}, {1, 5, 0}}}, {{{0, 1, 8}, {1, 1, 5}}}, {{{0, 1, 9}, {1, 1, 6}}}},
     "bw.bw.",
     2},
    {"a slot", {0, 1, 0}, {{{{0, 5, 0}}}, {{{0, 1, 5}, {1, 4, 0}}}, {{{0, 1, 6}, {1, 1, 4}}}, {{{0, 1, 7}}}}, ".bw.", 1},
    {"a slot that has none", {0, 7, 0}, {{{{0, 5, 0}}}, {{{0, 1, 5}}}}, "..", 0},
    {"one request", {0, -1, 1}, {{{{0, 5, 0}}}, {{{0, 1, 5}}}, {{{0, 5, 0}}}, {{{0, 1, 5}}}}, "bw..", 1},
    {"one request, and another slot meanwhile",
     {0, -1, 1},
     {{{{0, 5, 0}}}, {{{0, 1, 5}, {1, 4, 0}}}, {{{1, 1, 4}}}, {{{0, 1, 6}, {1, 1, 5}}}},
     "bw.w",
     1},
    {"two requests of a slot, the first tokens of each",
     {2, 1, 2},
     {{{{1, 5, 0}}}, {{{1, 1, 5}}}, {{{1, 1, 6}}}, {{{0, 5, 0}}}, {{{1, 5, 0}}}, {{{1, 1, 5}}}, {{{1, 5, 0}}}},
     "bw..bw.",
     2},
    {"under way when it begins", {0, -1, 0}, {{{{0, 1, 77}}}, {{{0, 1, 78}}}}, "bw", 1},
    {"prompts without answers, of which a part is cached",
     {0, -1, 0},
     {{{{0, 40, 0}}}, {{{0, 8, 32}}}, {{{0, 9, 32}}}},
     "bbb",
     3},
    {"places that are not told",
     {2, -1, 0},
     {{{{0, 5, WIRE_UNKNOWN}}}, {{{0, 1, WIRE_UNKNOWN}}}, {{{0, 1, WIRE_UNKNOWN}}}},
     "bw.",
     1},
};

static struct profile_step step_of(const struct in *in, int64_t t0_ns)
{
    struct profile_step s = {.t0_ns = t0_ns, .t1_ns = t0_ns + STEP_NS};
    for (int i = 0; i < 2; i++)
        if (in->of[i].tokens)
            s.sequences[s.n_sequences++] = in->of[i];
    return s;
}

static void what_counts(void **state)
{
    (void)state;
    for (size_t r = 0; r < JL_COUNT(rows); r++) {
        struct trigger t;
        trigger_init(&t, &rows[r].wish);
        for (size_t i = 0; i < strlen(rows[r].wanted); i++) {
            struct trigger_seen seen;
            struct profile_step s = step_of(&rows[r].steps[i], (int64_t)i * STEP_NS);
            trigger_step(&t, &s, &seen);
            char is = seen.begins ? 'b' : seen.wanted ? 'w' : '.';
            if (is != rows[r].wanted[i])
                fail_msg("%s, step %zu: %c, not %c", rows[r].name, i, is, rows[r].wanted[i]);
            assert_int_equal(t.wanted, seen.wanted);
        }
        if (t.begun != rows[r].begun)
            fail_msg("%s: %lld requests, not %lld", rows[r].name, (long long)t.begun, (long long)rows[r].begun);
    }
}

/* Images in a prompt: their vectors have places for the side alone, so that text goes on before the place that would follow. */
static const struct {
    const char *name;
    struct in steps[8];
    const char *vectors, *wanted; /* a letter a step: v of vectors */
} images[] = {
    {"256 vectors", {{{{0, 9, 0}}}, {{{0, 256, 9}}}, {{{0, 12, 25}}}, {{{0, 1, 37}}}, {{{0, 1, 38}}}}, ".v...", "bwwww"},
    {"in pieces, all of one place, and another image",
     {{{{0, 9, 0}}}, {{{0, 256, 9}}}, {{{0, 44, 9}}}, {{{0, 64, 26}}}, {{{0, 3, 34}}}, {{{0, 1, 37}}}},
     ".vvv..",
     "bwwwww"},
    {"in place of another one, after what is cached",
     {{{{0, 9, 0}}}, {{{0, 256, 9}}}, {{{0, 1, 25}}}, {{{0, 1, 26}}}, {{{0, 256, 9}}}, {{{0, 2, 25}}}, {{{0, 1, 27}}}},
     ".v..v..",
     "bwwwbww"},
    {"the next request begins before it", {{{{0, 9, 0}}}, {{{0, 256, 9}}}, {{{0, 9, 0}}}}, ".v.", "bwb"},
};

static void images_are_of_their_prompt(void **state)
{
    (void)state;
    for (size_t r = 0; r < JL_COUNT(images); r++) {
        struct trigger t;
        trigger_init(&t, &(struct trigger_wish){.slot = -1});
        for (size_t i = 0; i < strlen(images[r].wanted); i++) {
            struct trigger_seen seen;
            struct profile_step s = step_of(&images[r].steps[i], (int64_t)i * STEP_NS);
            s.vectors = images[r].vectors[i] == 'v';
            trigger_step(&t, &s, &seen);
            char is = seen.begins ? 'b' : seen.wanted ? 'w' : '.';
            if (is != images[r].wanted[i])
                fail_msg("%s, step %zu: %c, not %c", images[r].name, i, is, images[r].wanted[i]);
        }
    }
}

static void tokens_by_whose_they_are(void **state)
{
    struct trigger t;
    struct trigger_seen seen;
    const struct in mixed = {{{3, 40, 8}, {5, 1, 100}}};
    struct profile_step s = step_of(&mixed, 0);
    (void)state;
    trigger_init(&t, &(struct trigger_wish){.slot = 3});
    trigger_step(&t, &s, &seen);
    assert_int_equal(seen.own, 40);
    assert_int_equal(seen.others, 1);
    assert_true(seen.prompt == 40 && seen.position == 8);
}

static void it_is_over_when_all_are(void **state)
{
    struct trigger t;
    struct trigger_seen seen;
    const struct in first = {{{0, 5, 0}}}, other = {{{0, 5, 0}}};
    struct profile_step s = step_of(&first, 0);
    (void)state;
    trigger_init(&t, &(struct trigger_wish){.slot = -1, .requests = 1});
    assert_false(trigger_over(&t, 100 * STEP_NS, STEP_NS));
    trigger_step(&t, &s, &seen);
    assert_false(trigger_over(&t, STEP_NS + 5, 10));
    assert_true(trigger_over(&t, STEP_NS + 50, 10));
    s = step_of(&other, 2 * STEP_NS); /* its slot serves another one */
    trigger_step(&t, &s, &seen);
    assert_true(trigger_over(&t, 3 * STEP_NS, JL_NS_PER_S));
    trigger_init(&t, &(struct trigger_wish){.slot = -1});
    trigger_step(&t, &s, &seen);
    assert_false(trigger_over(&t, JL_NS_PER_S, 1));
}

/* More slots than there is room for: the one that was silent longest makes way, and nothing is written beyond. */
static void many_slots(void **state)
{
    struct trigger t;
    struct trigger_seen seen;
    (void)state;
    trigger_init(&t, &(struct trigger_wish){.slot = -1});
    for (uint32_t i = 0; i < 3 * TRIGGER_SLOTS; i++) {
        struct profile_step s = {.t0_ns = i, .t1_ns = i + 1, .n_sequences = 5000, .sequences = {{i, 1, 9}}};
        for (int k = 1; k < STEP_SEQUENCES; k++)
            s.sequences[k] = (struct step_sequence){1000 + (uint32_t)k, UINT32_MAX, UINT32_MAX};
        trigger_step(&t, &s, &seen);
        assert_true(seen.wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_counts), cmocka_unit_test(images_are_of_their_prompt),
                                       cmocka_unit_test(tokens_by_whose_they_are), cmocka_unit_test(it_is_over_when_all_are),
                                       cmocka_unit_test(many_slots)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
