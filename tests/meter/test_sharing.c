/* Shares of concurrent requests (7): the vector of the method, conservation, and the sums of 7.4 against shares added up step by
 * step. */
#include "lib/base/base.h"
#include "tests/base/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN_NS (5 * JL_NS_PER_S)

static joulet_mark at(double t_s)
{
    return ORIGIN_NS + (int64_t)llround(t_s * 1e9);
}

struct told {
    struct joulet_share shares[4096];
    size_t n;
};

static void tell(void *user, const struct joulet_share *share)
{
    struct told *t = user;
    assert_true(t->n < JL_COUNT(t->shares));
    t->shares[t->n++] = *share;
}

static const struct joulet_share *share_of(const struct told *t, uint64_t id)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->shares[i].id == id)
            return &t->shares[i];
    fail_msg("request %llu got no share", (unsigned long long)id);
    return NULL;
}

static void ok(enum joulet_status status, const struct joulet_error *err)
{
    if (status != JOULET_OK)
        fail_msg("%s", err->message);
}

static const struct joulet_weights vector_weights = {.b0_j = 1.25, .bp_j = .015, .bd_j = .012, .bc_j = 1e-5, .u_share = .03};

/* A sensor window of vector 13. */
struct closing {
    double end_s, net_j;
    void (*look)(const struct joulet_books *before, const struct joulet_books *after, size_t i);
};

/* The steps of vector 13; each window is told as soon as every event before its end was. */
static void tell_vector(struct joulet_sharing *s, const struct closing *windows, size_t n)
{
    static const double ends[] = {.010, .016, .030, .036, .042};
    struct joulet_error err;
    size_t a, b = 0, k = 0;
    double from = 0;
    ok(joulet_sharing_join(s, 'A', at(0), &a, &err), &err);
    for (size_t i = 0; i < JL_COUNT(ends); i++) {
        double start = i ? ends[i - 1] : 0;
        struct joulet_books before, after;
        if (i == 1)
            ok(joulet_sharing_decode(s, a, 200, at(start), &err), &err);
        if (i == 2)
            ok(joulet_sharing_join(s, 'B', at(start), &b, &err), &err);
        if (i == 3)
            ok(joulet_sharing_decode(s, b, 300, at(start), &err), &err);
        if (i == 4)
            ok(joulet_sharing_leave(s, a, at(start), &err), &err);
        struct joulet_prefill computes = {i == 0 ? a : b, i == 0 ? 200 : 300};
        ok(joulet_sharing_step(s, at(start), at(ends[i]), &computes, i == 0 || i == 2, &err), &err);
        if (i == 4)
            ok(joulet_sharing_leave(s, b, at(ends[i]), &err), &err);
        for (; k < n && windows[k].end_s <= ends[i]; from = windows[k++].end_s) {
            joulet_sharing_books(s, &before);
            ok(joulet_sharing_window(s, at(from), at(windows[k].end_s), windows[k].net_j, .1, 0, &err), &err);
            joulet_sharing_books(s, &after);
            windows[k].look(&before, &after, k);
        }
    }
}

/* lam from the sum of lam over the steps in the window (7.4), M from what was shared, G from both (7.3). */
static void look_at_window(const struct joulet_books *before, const struct joulet_books *after, size_t i)
{
    static const struct {
        double steps, E, M, G, lam, carry;
    } want[] = {{2 + 4. / 14, 7.4, 7.160860, .944548, 1.031544, .013261},
                {10. / 14 + 2, 7.6, 6.661180, .941138, 1.134517, .056041}};
    double lam = (after->AN - before->AN) / want[i].steps, M = (after->attributed_j - before->attributed_j) / lam;
    double held = want[i].E + before->residual_j;
    assert_near(lam, want[i].lam, 1e-6);
    assert_near(M, want[i].M, 1e-6);
    assert_near((lam - 1) / (held / M - 1), want[i].G, 1e-5); /* a quotient of small differences */
    assert_near(after->residual_j, want[i].carry, 1e-6);
}

/* Vector 13. */
static void test_vector(void **state)
{
    static const struct closing windows[] = {{.020, 7.4, look_at_window}, {.042, 7.6, look_at_window}};
    struct joulet_sharing *s;
    struct joulet_error err;
    struct joulet_books books;
    struct told told = {.n = 0};
    (void)state;
    ok(joulet_sharing_open(&s, 75, &vector_weights, tell, &told, &err), &err);
    tell_vector(s, windows, JL_COUNT(windows));
    joulet_sharing_books(s, &books);
    assert_int_equal(told.n, 2);
    assert_near(share_of(&told, 'A')->net_j, 7.119077, 1e-6);
    assert_near(share_of(&told, 'B')->net_j, 7.824881, 1e-6);
    assert_near(books.residual_j, .056041, 1e-6);
    assert_near(books.AF, 4.317410, 1e-6);
    assert_near(books.AN, 5.437216, 1e-6);
    assert_near(books.AK, 11.183352, 1e-6);
    assert_near(share_of(&told, 'A')->idle_share_j, 1.95, 1e-9);
    assert_near(share_of(&told, 'B')->idle_share_j, 1.2, 1e-9);
    assert_near(share_of(&told, 'A')->u_j, 7.119077 * hypot(sqrt(.02) / 15, .03), 1e-6);
    assert_near(books.attributed_j + books.idle_j + books.residual_j, 15, 1e-12);
    assert_false(share_of(&told, 'A')->weights_assumed);
    joulet_sharing_close(s);
}

/* Where a window holds one step and draws what the model says, nothing is scaled. */
static void look_at_step(const struct joulet_books *before, const struct joulet_books *after, size_t i)
{
    static const double model_j[] = {4.25, 1.264, 5.76401, 1.27902, 1.26501};
    assert_near(after->AN - before->AN, 1, 1e-9);
    assert_near(after->attributed_j - before->attributed_j, model_j[i], 1e-6);
    assert_near(after->residual_j, 0, 1e-9);
}

static void test_vector_unscaled(void **state)
{
    static const struct closing windows[] = {{.010, 4.25, look_at_step},
                                             {.016, 1.264, look_at_step},
                                             {.030, 5.76401, look_at_step},
                                             {.036, 1.27902, look_at_step},
                                             {.042, 1.26501, look_at_step}};
    struct joulet_sharing *s;
    struct joulet_error err;
    struct told told = {.n = 0};
    (void)state;
    ok(joulet_sharing_open(&s, 75, &vector_weights, tell, &told, &err), &err);
    tell_vector(s, windows, JL_COUNT(windows));
    assert_near(share_of(&told, 'A')->net_j, 6.79203, 1e-6);
    assert_near(share_of(&told, 'B')->net_j, 7.03001, 1e-6);
    joulet_sharing_close(s);
}

/* ---- a simulated engine ------------------------------------------------------------------------------------------------- */

enum { SLOTS = 12 };

struct guest {
    bool here, decoding;
    uint64_t id;
    size_t slot;
    double prompt, context, left, true_j;
};

/* What stands between clients and the engine sees of it, and what the sensor told meanwhile. */
struct proxy {
    struct joulet_seen seen[4096];
    joulet_mark pieces[4096][72];
    double window_j[4096];
    size_t n, n_windows;
};

struct engine {
    double more;         /* of the energy of its steps than the weights say */
    struct proxy *proxy; /* NULL: nobody looks, and the engine stands still now and then */
    uint64_t seed, next_id;
    struct guest guests[SLOTS];
    double t_s, true_j[4096];
    double step_from_s, step_to_s, step_j;
};

static double chance(struct engine *e)
{
    e->seed ^= e->seed << 13;
    e->seed ^= e->seed >> 7;
    e->seed ^= e->seed << 17;
    return (double)(e->seed >> 11) / 9007199254740992.0;
}

static const struct joulet_weights truth = {.b0_j = 1.1, .bp_j = .02, .bd_j = .03, .bc_j = 2e-5, .u_share = .03};

static void note_arrival(const struct engine *e, const struct guest *g)
{
    if (e->proxy) {
        e->proxy->seen[g->id] =
            (struct joulet_seen){.id = g->id, .arrived = at(e->t_s), .prompt_tokens = g->prompt, .context = g->prompt};
        e->proxy->n = g->id + 1;
    }
}

static void note_piece(struct engine *e, const struct guest *g)
{
    if (!e->proxy)
        return;
    struct joulet_seen *r = &e->proxy->seen[g->id];
    assert_true(r->n_pieces < 72);
    r->ended = at(e->t_s) + (int64_t)(3e5 * chance(e));
    e->proxy->pieces[g->id][r->n_pieces++] = r->ended;
}

static void arrive(struct engine *e, struct joulet_sharing *s)
{
    struct joulet_error err;
    for (size_t i = 0; i < SLOTS; i++) {
        struct guest *g = &e->guests[i];
        if (g->here || chance(e) > .2)
            continue;
        *g = (struct guest){
            .here = true, .id = e->next_id++, .prompt = 20 + floor(400 * chance(e)), .left = 1 + floor(60 * chance(e))};
        ok(joulet_sharing_join(s, g->id, at(e->t_s), &g->slot, &err), &err);
        note_arrival(e, g);
    }
}

/* One step: its energy by the true weights, to each guest the Shapley value of it. */
static void step(struct engine *e, struct joulet_sharing *s)
{
    struct joulet_prefill prefill[SLOTS];
    struct joulet_error err;
    size_t n = 0, members = 0;
    double before_s = e->t_s, sum = truth.b0_j;
    for (size_t i = 0; i < SLOTS; i++) {
        if (!e->guests[i].here)
            continue;
        members++;
        if (!e->guests[i].decoding)
            prefill[n++] = (struct joulet_prefill){e->guests[i].slot, e->guests[i].prompt};
    }
    e->t_s += .006 + .004 * chance(e) + .01 * (double)n;
    for (size_t i = 0; i < SLOTS; i++) {
        struct guest *g = &e->guests[i];
        if (!g->here)
            continue;
        double own = g->decoding ? truth.bd_j + truth.bc_j * g->context : truth.bp_j * g->prompt;
        e->true_j[g->id] += own + truth.b0_j / (double)members;
        sum += own;
    }
    ok(joulet_sharing_step(s, at(before_s), at(e->t_s), prefill, n, &err), &err);
    e->step_from_s = before_s;
    e->step_to_s = e->t_s;
    e->step_j = members ? sum : 0;
    for (size_t i = 0; i < SLOTS; i++) {
        struct guest *g = &e->guests[i];
        if (!g->here)
            continue;
        g->context += 1;
        note_piece(e, g);
        if (!g->decoding) {
            g->decoding = true;
            g->context = g->prompt;
            ok(joulet_sharing_decode(s, g->slot, g->context, at(e->t_s), &err), &err);
        } else if (--g->left <= 0) {
            g->here = false;
            ok(joulet_sharing_leave(s, g->slot, at(e->t_s), &err), &err);
        }
    }
}

/* Plays `steps` steps with windows of 0.1 s, and idle time now and then. Returns the energy handed in. */
static double play(struct engine *e, struct joulet_sharing *s, int steps, double noise)
{
    struct joulet_error err;
    double window_s = e->t_s, energy_j = 0, sum_j = 0;
    for (int k = 0; k < steps; k++) {
        if (!e->proxy && chance(e) > .97)
            e->t_s += .35 * chance(e);
        arrive(e, s);
        step(e, s);
        double from_s = e->step_from_s;
        while (e->step_to_s >= window_s + .1) { /* the step is spread over the windows that it touches */
            double f = fmax(0, window_s + .1 - fmax(from_s, window_s)) / (e->step_to_s - e->step_from_s);
            double in_window = (1 + e->more) * (energy_j + f * e->step_j) * (1 + noise * (chance(e) - .5));
            sum_j += in_window;
            if (e->proxy)
                e->proxy->window_j[e->proxy->n_windows++] = in_window;
            ok(joulet_sharing_window(s, at(window_s), at(window_s + .1), in_window, 0, 0, &err), &err);
            energy_j = 0;
            window_s += .1;
            from_s = fmax(from_s, window_s);
        }
        energy_j += e->step_j * (e->step_to_s - fmax(from_s, window_s)) / (e->step_to_s - e->step_from_s);
    }
    return sum_j;
}

/* With true weights and exact energies everyone gets the Shapley value; with noise nothing is lost. */
static void test_shares_of_a_busy_engine(void **state)
{
    (void)state;
    for (int noisy = 0; noisy < 2; noisy++) {
        struct engine *e = calloc(1, sizeof *e);
        struct told *told = calloc(1, sizeof *told);
        struct joulet_sharing *s;
        struct joulet_error err;
        struct joulet_books books;
        e->seed = 42;
        ok(joulet_sharing_open(&s, 60, &truth, tell, told, &err), &err);
        double handed_j = play(e, s, 3000, noisy ? .1 : 0), off = 0, all = 0;
        joulet_sharing_books(s, &books);
        assert_near(books.measured_j, handed_j, 1e-9 * handed_j);
        assert_near(books.attributed_j + books.idle_j + books.residual_j, handed_j, 1e-9 * handed_j);
        assert_true(told->n > 200);
        for (size_t i = 0; i < told->n; i++) {
            off += fabs(told->shares[i].net_j - e->true_j[told->shares[i].id]);
            all += e->true_j[told->shares[i].id];
        }
        assert_true(off / all < (noisy ? .02 : .001));
        joulet_sharing_close(s);
        free(told);
        free(e);
    }
}

/* Without weights they are learnt; what was shared before says so. Nothing is lost where they change. */
static void test_weights_are_learnt(void **state)
{
    struct engine *e = calloc(1, sizeof *e);
    struct told *told = calloc(1, sizeof *told);
    struct joulet_sharing *s;
    struct joulet_error err;
    struct joulet_books books;
    (void)state;
    e->seed = 7;
    ok(joulet_sharing_open(&s, 60, NULL, tell, told, &err), &err);
    double handed_j = play(e, s, 4000, .02), off = 0, all = 0;
    joulet_sharing_books(s, &books);
    assert_false(books.weights.assumed);
    assert_near(books.weights.b0_j, truth.b0_j, .2 * truth.b0_j);
    assert_near(books.weights.bp_j, truth.bp_j, .1 * truth.bp_j);
    assert_near(books.attributed_j + books.idle_j + books.residual_j, handed_j, 1e-9 * handed_j);
    assert_true(told->shares[0].weights_assumed);
    assert_false(told->shares[told->n - 1].weights_assumed);
    for (size_t i = 0; i < told->n; i++) {
        if (told->shares[i].weights_assumed)
            continue;
        off += fabs(told->shares[i].net_j - e->true_j[told->shares[i].id]);
        all += e->true_j[told->shares[i].id];
    }
    assert_true(off / all < .03);
    joulet_sharing_close(s);
    free(told);
    free(e);
}

/* What steps draw becomes six times as much at once: where the carry stays large all who were there are flagged, and the weights
 * are soon right again. */
static void test_weights_that_are_off(void **state)
{
    struct engine *e = calloc(1, sizeof *e);
    struct told *told = calloc(1, sizeof *told);
    struct joulet_sharing *s;
    struct joulet_error err;
    struct joulet_books books;
    (void)state;
    e->seed = 11;
    ok(joulet_sharing_open(&s, 60, &truth, tell, told, &err), &err);
    double handed_j = play(e, s, 3000, .02);
    size_t before = told->n, off = 0;
    for (size_t i = 0; i < before; i++)
        off += told->shares[i].weights_off;
    assert_int_equal(off, 0);
    e->more = 5;
    handed_j += play(e, s, 1500, .02);
    size_t between = told->n;
    for (size_t i = before; i < between; i++)
        off += told->shares[i].weights_off;
    assert_true(off > 0 && off < between - before);
    handed_j += play(e, s, 1000, .02);
    joulet_sharing_books(s, &books);
    assert_true(fabs(books.residual_j) < 100);
    assert_near(books.attributed_j + books.idle_j + books.residual_j, handed_j, 1e-9 * handed_j);
    assert_near(books.weights.bp_j, 6 * truth.bp_j, .1 * 6 * truth.bp_j);
    for (size_t i = between; i < told->n; i++)
        assert_false(told->shares[i].weights_off);
    joulet_sharing_close(s);
    free(told);
    free(e);
}

/* ---- steps inferred (7.6) ------------------------------------------------------------------------------------------------ */

/* The simulated engine as a proxy sees it, each token up to 0.3 ms late, against the true shares: nearly the same, and conserved.
 */
static void test_steps_inferred(void **state)
{
    struct engine *e = calloc(1, sizeof *e);
    struct told *told = calloc(1, sizeof *told);
    struct proxy *proxy = calloc(1, sizeof *proxy);
    struct joulet_sharing *s;
    struct joulet_error err;
    struct joulet_books books;
    double off = 0, all = 0;
    size_t compared = 0;
    (void)state;
    e->seed = 5;
    e->proxy = proxy;
    ok(joulet_sharing_open(&s, 60, &truth, tell, told, &err), &err);
    double handed_j = play(e, s, 1500, 0);
    joulet_sharing_close(s);
    told->n = 0;
    for (size_t i = 0; i < proxy->n; i++)
        proxy->seen[i].pieces = proxy->pieces[i];
    ok(joulet_sharing_open(&s, 60, &truth, tell, told, &err), &err);
    ok(joulet_sharing_infer(s, proxy->seen, proxy->n, 0, &err), &err);
    for (size_t i = 0; i < proxy->n_windows; i++)
        ok(joulet_sharing_window(s, at(.1 * (double)i), at(.1 * (double)(i + 1)), proxy->window_j[i], 0, 0, &err), &err);
    joulet_sharing_books(s, &books);
    assert_near(books.attributed_j + books.idle_j + books.residual_j, handed_j, 1e-9 * handed_j);
    assert_near(books.weights.u_share, .06, 0);
    for (size_t i = 0; i < told->n; i++, compared++) {
        off += fabs(told->shares[i].net_j - e->true_j[told->shares[i].id]);
        all += e->true_j[told->shares[i].id];
    }
    assert_true(compared > 150);
    if (!(off / all < .03))
        fail_msg("%g of the energy at the wrong request", off / all);
    joulet_sharing_close(s);
    free(proxy);
    free(told);
    free(e);
}

/* Two requests by hand: A computes its prompt alone from 0 to 10 ms, then a token every 10 ms; B comes at 20 ms, its first token
 * at 40 ms; A has none at 50 ms (B alone), both at 60 ms. */
static const joulet_mark a_pieces[] = {ORIGIN_NS + 10000000, ORIGIN_NS + 20000000, ORIGIN_NS + 30000000, ORIGIN_NS + 40000000,
                                       ORIGIN_NS + 60000000},
                         b_pieces[] = {ORIGIN_NS + 40000000, ORIGIN_NS + 50000000, ORIGIN_NS + 60000000};
static const double b_tokens[] = {1, 3, 1};

static void test_steps_by_hand(void **state)
{
    const struct joulet_weights w = {.b0_j = 1, .bp_j = .1, .bd_j = .25, .bc_j = .01};
    const struct joulet_seen seen[] = {
        {.id = 'B',
         .arrived = at(.020),
         .ended = at(.060),
         .prompt_tokens = 6,
         .context = 16,
         .pieces = b_pieces,
         .tokens = b_tokens,
         .n_pieces = 3},
        {.id = 'A', .arrived = at(0), .ended = at(.060), .prompt_tokens = 5, .context = 5, .pieces = a_pieces, .n_pieces = 5}};
    /* A: prompt 1 + .5; alone twice with contexts 6, 7 but half of b0 from 20 ms on; 8; not at 50 ms; 9 */
    double a_j = 1.5 + (1 + .25 + .06) + (.5 + .25 + .07) + (.5 + .25 + .08) + (.5 + .25 + .09);
    /* B: 3 tokens of its prompt in each of two steps, alone with context 17, then 20 */
    double b_j = (.5 + .3) + (.5 + .3) + (1 + .25 + .17) + (.5 + .25 + .20);
    struct joulet_sharing *s;
    struct joulet_error err;
    struct told told = {.n = 0};
    (void)state;
    ok(joulet_sharing_open(&s, 0, &w, tell, &told, &err), &err);
    ok(joulet_sharing_infer(s, seen, 2, 0, &err), &err);
    ok(joulet_sharing_window(s, at(0), at(.060), a_j + b_j, 0, 0, &err), &err);
    ok(joulet_sharing_window(s, at(.060), at(.1), 0, 0, 0, &err), &err);
    assert_int_equal(told.n, 2);
    assert_near(share_of(&told, 'A')->net_j, a_j, 1e-9);
    assert_near(share_of(&told, 'B')->net_j, b_j, 1e-9);
    joulet_sharing_close(s);
}

/* With one place B's prompt begins when A has ended; with two at once. Who gets no token at all computed until its end. */
static void test_places_and_requests_without_tokens(void **state)
{
    const struct joulet_weights w = {.b0_j = 1, .bp_j = .1};
    const joulet_mark pieces[] = {at(.010), at(.020)}, late[] = {at(.040)};
    const struct joulet_seen seen[] = {
        {.id = 'A', .arrived = at(0), .ended = at(.020), .prompt_tokens = 10, .context = 10, .pieces = pieces, .n_pieces = 2},
        {.id = 'B', .arrived = at(0), .ended = at(.040), .prompt_tokens = 10, .context = 10, .pieces = late, .n_pieces = 1},
        {.id = 'C', .arrived = at(.060), .ended = at(.070), .prompt_tokens = 4, .context = 4}};
    (void)state;
    for (size_t slots = 1; slots <= 2; slots++) {
        struct joulet_sharing *s;
        struct joulet_error err;
        struct told told = {.n = 0};
        double a_j = slots == 1 ? 3 : 2, b_j = slots == 1 ? 2 : 3;
        ok(joulet_sharing_open(&s, 0, &w, tell, &told, &err), &err);
        ok(joulet_sharing_infer(s, seen, 3, slots, &err), &err);
        ok(joulet_sharing_window(s, at(0), at(.050), 5, 0, 0, &err), &err);
        ok(joulet_sharing_window(s, at(.050), at(.1), 1.4, 0, 0, &err), &err);
        assert_int_equal(told.n, 3);
        assert_near(share_of(&told, 'A')->net_j, a_j, 1e-9);
        assert_near(share_of(&told, 'B')->net_j, b_j, 1e-9);
        assert_near(share_of(&told, 'C')->net_j, 1.4, 1e-9);
        joulet_sharing_close(s);
    }
}

static void test_impossible_requests(void **state)
{
    const joulet_mark pieces[] = {at(.010), at(.020)}, back[] = {at(.020), at(.010)};
    const double none[] = {1, 0};
    const struct joulet_seen good = {
        .id = 1, .arrived = at(0), .ended = at(.020), .prompt_tokens = 1, .context = 1, .pieces = pieces, .n_pieces = 2};
    struct joulet_seen bad[6] = {good, good, good, good, good, good};
    struct joulet_sharing *s;
    struct joulet_error err;
    struct told told = {.n = 0};
    (void)state;
    bad[0].ended = at(-.1);
    bad[1].pieces = back;
    bad[2].tokens = none;
    bad[3].prompt_tokens = NAN;
    bad[4].context = 0;
    bad[5].pieces = NULL;
    ok(joulet_sharing_open(&s, 0, &truth, tell, &told, &err), &err);
    for (size_t i = 0; i < JL_COUNT(bad); i++)
        assert_int_equal(joulet_sharing_infer(s, &bad[i], 1, 0, &err), JOULET_USAGE);
    ok(joulet_sharing_infer(s, NULL, 0, 0, &err), &err);
    ok(joulet_sharing_infer(s, &good, 1, 0, &err), &err);
    assert_int_equal(joulet_sharing_infer(s, &good, 1, 0, &err), JOULET_USAGE); /* told already */
    joulet_sharing_close(s);
}

static void test_vacant_time_is_nobody_s(void **state)
{
    struct joulet_sharing *s;
    struct joulet_error err;
    struct joulet_books books;
    struct told told = {.n = 0};
    size_t a;
    (void)state;
    ok(joulet_sharing_open(&s, 10, &truth, tell, &told, &err), &err);
    ok(joulet_sharing_window(s, at(0), at(1), .5, 0, 0, &err), &err);
    ok(joulet_sharing_join(s, 1, at(1.5), &a, &err), &err); /* waits, computes nothing, gives up */
    ok(joulet_sharing_leave(s, a, at(2.5), &err), &err);
    ok(joulet_sharing_window(s, at(1), at(3), -.2, 0, 0, &err), &err); /* below idle counts as measured */
    joulet_sharing_books(s, &books);
    assert_near(books.idle_j, .3, 1e-12);
    assert_near(books.attributed_j, 0, 0);
    assert_near(share_of(&told, 1)->net_j, 0, 0);
    assert_near(share_of(&told, 1)->idle_share_j, 10, 1e-9);
    joulet_sharing_close(s);
}

/* The gain of a sensor is as wrong in the hundredth window as in the first; what each window has of its own averages out. */
static void test_what_windows_have_in_common_stays(void **state)
{
    struct joulet_sharing *s;
    struct joulet_error err;
    struct told told = {.n = 0};
    size_t a;
    (void)state;
    ok(joulet_sharing_open(&s, 0, &vector_weights, tell, &told, &err), &err);
    ok(joulet_sharing_join(s, 1, at(0), &a, &err), &err);
    ok(joulet_sharing_decode(s, a, 5, at(0), &err), &err);
    for (int i = 0; i < 100; i++) {
        ok(joulet_sharing_step(s, at(.1 * i), at(.1 * (i + 1)), NULL, 0, &err), &err);
        if (i == 99)
            ok(joulet_sharing_leave(s, a, at(10), &err), &err);
        ok(joulet_sharing_window(s, at(.1 * i), at(.1 * (i + 1)), 1, .1, .05, &err), &err);
    }
    const struct joulet_share *share = share_of(&told, 1);
    assert_near(share->u_sensor_j / share->net_j, hypot(sqrt(100) * .1, 100 * .05) / 100, 1e-9);
    joulet_sharing_close(s);
}

static void test_mistakes(void **state)
{
    struct joulet_sharing *s;
    struct joulet_error err;
    struct told told = {.n = 0};
    size_t a;
    (void)state;
    assert_int_equal(joulet_sharing_open(&s, -1, NULL, tell, &told, &err), JOULET_USAGE);
    assert_int_equal(joulet_sharing_open(&s, 1, NULL, NULL, NULL, &err), JOULET_USAGE);
    ok(joulet_sharing_open(&s, 1, NULL, tell, &told, &err), &err);
    assert_int_equal(joulet_sharing_leave(s, 0, at(0), &err), JOULET_NOT_FOUND);
    ok(joulet_sharing_join(s, 1, at(1), &a, &err), &err);
    assert_int_equal(joulet_sharing_step(s, at(1), at(2), &(struct joulet_prefill){a + 1, 3}, 1, &err), JOULET_NOT_FOUND);
    assert_int_equal(joulet_sharing_step(s, at(1), at(1), &(struct joulet_prefill){a, 3}, 1, &err), JOULET_USAGE);
    assert_int_equal(joulet_sharing_step(s, at(.5), at(2), &(struct joulet_prefill){a, 3}, 1, &err), JOULET_USAGE);
    ok(joulet_sharing_decode(s, a, 5, at(1), &err), &err);
    assert_int_equal(joulet_sharing_decode(s, a, 5, at(1), &err), JOULET_USAGE);
    assert_int_equal(joulet_sharing_step(s, at(1), at(2), &(struct joulet_prefill){a, 3}, 1, &err), JOULET_USAGE);
    ok(joulet_sharing_leave(s, a, at(2), &err), &err);
    assert_int_equal(joulet_sharing_decode(s, a, 5, at(2), &err), JOULET_NOT_FOUND);
    assert_int_equal(joulet_sharing_window(s, at(2), at(2), 1, 0, 0, &err), JOULET_USAGE);
    assert_int_equal(joulet_sharing_window(s, at(0), at(1), NAN, 0, 0, &err), JOULET_USAGE);
    joulet_sharing_close(s);
    joulet_sharing_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_vector_unscaled),
        cmocka_unit_test(test_shares_of_a_busy_engine),
        cmocka_unit_test(test_weights_are_learnt),
        cmocka_unit_test(test_weights_that_are_off),
        cmocka_unit_test(test_steps_inferred),
        cmocka_unit_test(test_steps_by_hand),
        cmocka_unit_test(test_places_and_requests_without_tokens),
        cmocka_unit_test(test_impossible_requests),
        cmocka_unit_test(test_vacant_time_is_nobody_s),
        cmocka_unit_test(test_what_windows_have_in_common_stays),
        cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
