/* tune_show.c - what came of a search, as text and as JSON (docs/tune.md). */
#include "cli/tune.h"
#include "report/put.h"

#include <math.h>
#include <string.h>

static const char *unit(const struct tune *t)
{
    return t->per_request ? "J/request" : "J/token";
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

/* "-7.9 % (-10.6 to -5.1 %)" */
static void put_change(struct jl_buf *out, double ratio, double lo, double hi)
{
    if (isnan(ratio))
        return;
    jl_buf_printf(out, "%+.1f %%", 100 * (ratio - 1));
    if (lo > 0 && isfinite(hi))
        jl_buf_printf(out, " (%+.1f to %+.1f %%)", 100 * (lo - 1), 100 * (hi - 1));
    else
        jl_buf_str(out, " (too few rounds to tell)");
}

static const char *state_text(const struct tune_standing *x, bool defaults)
{
    static const char *const texts[] = {"", "lost", "too slow", "refused"};
    return defaults ? "" : texts[x->state];
}

static void put_row(struct jl_buf *out, const struct tune *t, size_t i, int width)
{
    const struct tune_standing *x = &t->tried[i];
    bool defaults = !x->c.n;
    struct jl_buf change;
    char j[32] = "-", rate[32] = "-";
    jl_buf_init(&change, 256);
    if (x->rounds && !isnan(x->mean))
        snprintf(j, sizeof j, "%.4g", x->mean);
    if (!isnan(x->rate))
        snprintf(rate, sizeof rate, "%.4g", x->rate);
    if (!defaults && x->rounds)
        put_change(&change, x->ratio, x->lo, x->hi);
    jl_buf_printf(out, "  %-*s  %10s  %-34s  %9s  %6zu  %s\n", width, x->c.name, j,
                  defaults      ? ""
                  : change.data ? change.data
                                : "-",
                  rate, x->rounds, state_text(x, defaults));
    jl_buf_release(&change);
}

static void put_tried(struct jl_buf *out, const struct tune *t)
{
    int width = 8;
    for (size_t i = 0; i < t->n_tried; i++)
        width = (int)strlen(t->tried[i].c.name) > width ? (int)strlen(t->tried[i].c.name) : width;
    jl_buf_printf(out, "  %-*s  %10s  %-34s  %9s  %6s\n", width, "tried", unit(t), "against the defaults", "tokens/s", "rounds");
    for (size_t i = 0; i < t->n_tried; i++)
        put_row(out, t, i, width);
}

static void put_verdict(struct jl_buf *out, const struct tune *t)
{
    const struct tune_standing *a = &t->last[0], *b = &t->last[1];
    const struct jl_comparison *c = &t->saving;
    jl_buf_printf(out, "\nThe choice against the defaults, measured again in %zu turns: %s\n", b->rounds, b->c.name);
    jl_buf_printf(out, "  %.4g against %.4g %s: ", a->mean * c->ratio, a->mean, unit(t));
    if (c->verdict == JL_DIFFERENT)
        jl_buf_printf(out, "%.1f %% %s (%.1f to %.1f %%)", 100 * fabs(c->ratio - 1), c->ratio < 1 ? "less" : "more",
                      100 * fmin(fabs(1 - c->lo95), fabs(1 - c->hi95)), 100 * fmax(fabs(1 - c->lo95), fabs(1 - c->hi95)));
    else if (c->verdict == JL_EQUAL)
        jl_buf_str(out, "equal within 3 %");
    else if (isnan(c->not_beyond))
        jl_buf_str(out, "no difference seen");
    else
        jl_buf_printf(out, "no difference seen; up to %.1f %% is not excluded", 100 * c->not_beyond);
    jl_buf_printf(out, "%s\n", t->estimated ? "   (estimated: no sensor measures this machine)" : "");
}

static const char *kept(const struct tune *t, size_t i)
{
    double rate = t->last[i].rate, pm = t->rate_pm[i];
    return rate - pm >= t->least_rate  ? "kept"
           : rate + pm < t->least_rate ? "missed"
           : rate >= t->least_rate     ? "kept, but not surely"
                                       : "missed, but not surely";
}

static void put_rates(struct jl_buf *out, const struct tune *t)
{
    const struct tune_standing *a = &t->last[0], *b = &t->last[1];
    jl_buf_printf(out, "  %.4g against %.4g tokens/s of a request", b->rate, a->rate);
    if (t->least_rate > 0)
        jl_buf_printf(out, "; at least %.6g: %s", t->least_rate, kept(t, 1));
    jl_buf_str(out, "\n");
}

static void put_best(struct jl_buf *out, const struct tune *t)
{
    const struct tune_candidate *best = tune_best(t);
    if (t->interrupted)
        jl_buf_printf(out, "\nInterrupted. Best so far: %s%s\n", best->name,
                      tune_uses_less(t) ? "" : ", which is not certain yet");
    else if (best->n)
        jl_buf_printf(out, "\nBest settings: %s\n", best->name);
    else
        jl_buf_str(out, "\nBest settings: the defaults; nothing that was tried surely uses less.\n");
    if (!best->n && t->n_tried && tune_too_slow(t, t->tried[0].rate))
        jl_buf_printf(out, "Nothing that was tried keeps %.6g tokens/s.\n", t->least_rate);
}

static void put_command(struct jl_buf *out, const struct tune *t, enum tune_use use)
{
    jl_buf_str(out, "  ");
    tune_command(out, use, &t->plan, tune_best(t));
    jl_buf_str(out, "\n");
}

/* The private engine is no program on PATH: who has another llama-server is told its line apart. */
static void put_commands(struct jl_buf *out, const struct tune *t)
{
    bool private_engine = strcmp(t->plan.engine, "private") == 0;
    if (!private_engine)
        put_command(out, t, TUNE_LLAMA_SERVER);
    put_command(out, t, TUNE_ENGINE_START);
    put_command(out, t, TUNE_BENCH);
    if (private_engine) {
        jl_buf_str(out, "For a llama-server of your own, as it was measured:\n");
        put_command(out, t, TUNE_LLAMA_SERVER);
    }
}

static void put_records(struct jl_buf *out, const struct tune *t)
{
    jl_buf_str(out, "\nRecords, one for each stage:");
    for (size_t i = 0; i < t->n_runs; i++)
        jl_buf_printf(out, " %s", t->runs[i]);
    if (tune_streams(&t->last[1].c, 1) > 1) { /* requests at once have no energies of their own that could be compared */
        jl_buf_printf(out, "\n  joulet runs show %s\n", t->runs[t->n_runs - 1]);
        return;
    }
    jl_buf_printf(out, "\n  joulet compare %s --metric %s%s\n", t->runs[t->n_runs - 1], t->per_request ? "j" : "j-per-token",
                  t->gross ? " --gross" : "");
}

void tune_text(struct jl_buf *out, const struct tune *t)
{
    const char *slash = strrchr(t->plan.model, '/');
    jl_buf_printf(out, "%s: least %s%s, searched for %.0f s%s\n\n", slash ? slash + 1 : t->plan.model, t->gross ? "gross " : "",
                  unit(t), tune_spent_s(t), t->estimated ? ", energies estimated" : "");
    put_tried(out, t);
    if (t->last[1].rounds) {
        put_verdict(out, t);
        put_rates(out, t);
    }
    put_best(out, t);
    put_commands(out, t);
    if (t->power_limit[0] && tune_asks(&t->ask, "power-cap"))
        jl_buf_printf(
            out, "\nNot tried: the power limit (%s). `nvidia-smi -pl WATTS` as root lowers it; then tune again, and compare.\n",
            t->power_limit);
    if (t->stored && t->n_runs)
        put_records(out, t);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void json_choices(struct jl_buf *out, const struct tune_candidate *c)
{
    put_text(out, "name", c->name);
    put_begin(out, "settings", '{');
    for (size_t i = 0; i < c->n; i++)
        put_text(out, c->choices[i].key, c->choices[i].value);
    put_end(out, '}');
}

static void json_standing(struct jl_buf *out, const struct tune *t, const struct tune_standing *x)
{
    static const char *const states[] = {"in", "lost", "too slow", "refused"};
    put_begin(out, NULL, '{');
    json_choices(out, &x->c);
    put_text(out, "state", states[x->state]);
    put_text(out, "why", x->why);
    put_count(out, "rounds", (int64_t)x->rounds);
    put_real(out, t->per_request ? "j_per_request" : "j_per_token", x->rounds ? x->mean : NAN);
    put_real(out, "tokens_per_s", x->rate);
    put_real(out, "ratio", x->ratio);
    put_real(out, "ratio_lo", x->lo > 0 ? x->lo : NAN);
    put_real(out, "ratio_hi", x->hi);
    put_end(out, '}');
}

static void json_saving(struct jl_buf *out, const struct tune *t)
{
    static const char *const verdicts[] = {"no difference seen", "different", "equal"};
    const struct jl_comparison *c = &t->saving;
    if (!t->last[1].rounds) {
        put_key(out, "saving");
        put_value(out, NULL);
        return;
    }
    put_begin(out, "saving", '{');
    put_text(out, "of", t->last[1].c.name);
    put_text(out, "verdict", verdicts[c->verdict]);
    put_real(out, "share", 1 - c->ratio);
    put_real(out, "share_lo", 1 - c->hi95);
    put_real(out, "share_hi", 1 - c->lo95);
    put_count(out, "turns", (int64_t)t->last[1].rounds);
    put_real(out, "defaults", t->last[0].mean);
    put_real(out, "choice", t->last[0].mean * c->ratio);
    put_real(out, "tokens_per_s", t->last[1].rate);
    put_real(out, "tokens_per_s_pm", t->rate_pm[1]);
    put_real(out, "defaults_tokens_per_s", t->last[0].rate);
    if (t->least_rate > 0)
        put_text(out, "min_tokens_per_s", kept(t, 1));
    put_end(out, '}');
}

static void json_commands(struct jl_buf *out, const struct tune *t)
{
    put_begin(out, "commands", '[');
    for (int use = TUNE_LLAMA_SERVER; use <= TUNE_BENCH; use++) {
        struct jl_buf line;
        jl_buf_init(&line, 16384);
        tune_command(&line, (enum tune_use)use, &t->plan, tune_best(t));
        put_string(out, line.data);
        jl_buf_release(&line);
    }
    put_end(out, ']');
}

void tune_json(struct jl_buf *out, const struct tune *t)
{
    put_begin(out, NULL, '{');
    put_text(out, "model", t->plan.model);
    put_text(out, "for", t->per_request ? "j-per-request" : "j-per-token");
    put_real(out, "min_tokens_per_s", t->least_rate);
    put_bool(out, "gross", t->gross);
    put_real(out, "seconds", tune_spent_s(t));
    put_count(out, "seed", (int64_t)t->seed);
    put_real(out, "error_rate", JL_RACE_ALPHA);
    put_bool(out, "estimated", t->estimated);
    put_bool(out, "interrupted", t->interrupted);
    put_begin(out, "tried", '[');
    for (size_t i = 0; i < t->n_tried; i++)
        json_standing(out, t, &t->tried[i]);
    put_end(out, ']');
    json_saving(out, t);
    put_begin(out, "best", '{');
    json_choices(out, tune_best(t));
    put_end(out, '}');
    json_commands(out, t);
    put_text(out, "power_limit", t->power_limit);
    put_begin(out, "runs", '[');
    for (size_t i = 0; i < t->n_runs; i++)
        put_string(out, t->runs[i]);
    put_end(out, ']');
    put_end(out, '}');
    jl_buf_str(out, "\n");
}
