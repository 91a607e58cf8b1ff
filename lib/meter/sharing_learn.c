/* sharing_learn.c - the weights of a model's steps, learnt from the sensor's windows while they come (7.5): sums of the normal
 * equations, solved again whenever enough was added. The ratios that were assumed remain as a prior of small weight, so that what
 * the windows cannot tell (with one request at a time, steps from decoded tokens) stays near them. */
#include "lib/meter/sharing.h"

#include <math.h>

#define MODEL_U     0.02 /* noise of a window: relative to its energy, */
#define FLOOR_W     0.5  /* and at least so many watts */
#define GATHER_S    0.05
#define OUTLIER     3.0 /* times its noise, or what windows are off by on average: one that is farther off counts less */
#define OFF_WINDOWS 50.0
#define FADE        0.8   /* of what came before a fit remains: steps were inferred by less then */
#define FIRST_FIT   8     /* so many of them before weights are joules */
#define GROWTH      1.3   /* fitted again when they are so many times as many, */
#define REFIT_S     600.0 /* and after so long; then older ones count half */
#define CARRY_LARGE 2.0   /* times the model of the window, */
#define CARRY_ROW   20    /* in so many windows running: the weights are wrong */

/* Ratios to the energy of a step, and how far they may be off. */
static const struct {
    double ratio, u;
} prior[SHARING_TERMS] = {{1, 0}, {0.02, 0.1}, {0.01, 0.02}, {0, 5e-5}};

static void add_prior(struct jl_equations *e, double step_j)
{
    for (size_t i = 1; i < SHARING_TERMS && step_j > 0; i++) {
        double row[SHARING_TERMS] = {-prior[i].ratio};
        row[i] = 1;
        jl_equations_add(e, row, 0, 1 / (prior[i].u * step_j));
    }
}

static void fit(struct joulet_sharing *s, joulet_mark t)
{
    struct jl_equations e = s->learnt;
    struct jl_regression r;
    add_prior(&e, e.xx[0][0] > 0 ? e.xy[0] / e.xx[0][0] : 0);
    jl_non_negative(&e, &r);
    if (!(r.x[0] + r.x[1] + r.x[2] + r.x[3] > 0))
        return;
    bool assumed = s->w.assumed && s->busy_windows < SHARING_LEARNT;
    sharing_weigh(s, r.x, assumed);
    s->fit_at = fmax(GROWTH * s->busy_windows, s->busy_windows + 1);
    jl_equations_scale(&s->learnt, FADE);
    if (s->fit_at > SHARING_LEARNT && s->busy_windows < SHARING_LEARNT)
        s->fit_at = SHARING_LEARNT;
    if (!s->fitted_ns)
        s->fitted_ns = t;
    if (jl_s(t - s->fitted_ns) < REFIT_S)
        return;
    s->fitted_ns = t;
    jl_equations_scale(&s->learnt, 0.5);
    s->busy_windows *= 0.5;
    s->fit_at = INFINITY; /* until as much time has passed again */
}

static void add_gathered(struct joulet_sharing *s)
{
    double sd = hypot(MODEL_U * fabs(s->gathered_j), FLOOR_W * s->gathered_s), off = 0;
    if (s->in_joules)
        off = s->gathered_j - s->gathered[0] * s->w.b0_j - s->gathered[1] * s->w.bp_j - s->gathered[2] * s->w.bd_j -
              s->gathered[3] * s->w.bc_j;
    s->off_j += (fabs(off) - s->off_j) / fmin(s->busy_windows + 1, OFF_WINDOWS);
    sd *= hypot(1, off / (OUTLIER * fmax(sd, s->off_j)));
    jl_equations_add(&s->learnt, s->gathered, s->gathered_j, sd > 0 ? 1 / sd : 1);
    s->busy_windows += 1;
    for (size_t i = 0; i < SHARING_TERMS; i++)
        s->gathered[i] = 0;
    s->gathered_j = s->gathered_s = 0;
}

/* While much is carried, what all who are there have is off. Where it becomes more and more the weights are wrong: what they were
 * learnt from holds no longer, and would outweigh what comes. Otherwise a window was off, and the next ones make up for it. */
static void look_at_carry(struct joulet_sharing *s, double model_j)
{
    double carry_j = fabs(s->carry_j);
    s->large_carries = carry_j > CARRY_LARGE * model_j ? s->large_carries + 1 : 0;
    if (s->large_carries % CARRY_ROW == 1) {
        bool wrong = s->large_carries > 1 && carry_j > s->row_carry_j;
        s->row_carry_j = carry_j;
        if (wrong && !s->w.assumed) {
            jl_equations_init(&s->learnt, SHARING_TERMS);
            s->busy_windows = s->fit_at = s->off_j = 0;
        }
    }
    for (size_t i = 0; i < s->n_requests && s->large_carries > CARRY_ROW; i++)
        s->requests[i].off |= s->requests[i].used;
}

void sharing_learn(struct joulet_sharing *s, const struct sharing_sums *x, double net_j, double seconds, joulet_mark to)
{
    for (size_t i = 0; i < SHARING_TERMS; i++)
        s->gathered[i] += x->row[i];
    s->gathered_j += net_j;
    s->gathered_s += seconds;
    look_at_carry(s, x->model_j);
    if (s->gathered_s < GATHER_S)
        return;
    add_gathered(s);
    bool due = s->busy_windows >= fmax(s->fit_at, FIRST_FIT) || (s->fitted_ns && jl_s(to - s->fitted_ns) >= REFIT_S);
    if (due)
        fit(s, to);
}
