/* api_usage.c - who asked for what since the server was started, and what it drew: sums of accounts.h, by what one wants to know.
 */
#include "server/api.h"
#include "server/metering.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX ((size_t)8 << 20)

static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;

static void put_sums(struct jl_buf *out, const struct accounts_sums *s)
{
    put_count(out, "requests", (int64_t)s->requests);
    put_count(out, "failed", (int64_t)s->failed);
    put_count(out, "without_energy", (int64_t)s->without_energy);
    put_count(out, "without_tokens", (int64_t)s->without_tokens);
    put_count(out, "counted", (int64_t)s->counted);
    put_begin(out, "tokens", '{');
    put_count(out, "prompt", (int64_t)s->prompt);
    put_count(out, "cached", (int64_t)s->cached);
    put_count(out, "generated", (int64_t)s->generated);
    put_count(out, "reasoning", (int64_t)s->reasoning);
    put_end(out, '}');
    put_real(out, "duration_s", s->duration_s);
    put_real(out, "prefill_s", s->prefill_s);
    put_real(out, "decode_s", s->decode_s);
    put_energy(out, "energy", &s->energy);
}

static void put_usage_row(struct jl_buf *out, const struct accounts_row *r)
{
    put_sep(out);
    jl_buf_str(out, "\n");
    put_begin(out, NULL, '{');
    put_text(out, "upstream", r->upstream);
    put_text(out, "model", r->model);
    put_text(out, "protocol", r->protocol);
    put_text(out, "client", r->client);
    put_sums(out, &r->sums);
    put_end(out, '}');
}

/* ---- by one name --------------------------------------------------------------------------------------------------------------
 */

static void add(struct accounts_sums *to, const struct accounts_sums *s)
{
    to->requests += s->requests;
    to->failed += s->failed;
    to->without_energy += s->without_energy;
    to->without_tokens += s->without_tokens;
    to->counted += s->counted;
    to->prompt += s->prompt;
    to->cached += s->cached;
    to->generated += s->generated;
    to->reasoning += s->reasoning;
    to->duration_s += s->duration_s;
    to->prefill_s += s->prefill_s;
    to->decode_s += s->decode_s;
    joulet_energy_chain(&to->energy, &s->energy);
}

static const char *const groups[] = {"all", "upstream", "model", "protocol", "client"};

static const char *name_in(const struct accounts_row *r, const char *group)
{
    const char *const names[] = {"", r->upstream, r->model, r->protocol, r->client};
    for (size_t i = 1; i < JL_COUNT(groups); i++)
        if (strcmp(groups[i], group) == 0)
            return names[i];
    return "";
}

static void keep_only(struct accounts_row *r, const char *group)
{
    const char **const names[] = {NULL, &r->upstream, &r->model, &r->protocol, &r->client};
    for (size_t i = 1; i < JL_COUNT(groups); i++)
        if (strcmp(groups[i], group) != 0)
            *names[i] = NULL;
}

/* Rows of one name become the first of them; how many are left. */
static size_t together(struct accounts_row *rows, size_t n, const char *group)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < kept && strcmp(name_in(&rows[k], group), name_in(&rows[i], group)) != 0)
            k++;
        if (k < kept) {
            add(&rows[k].sums, &rows[i].sums);
            continue;
        }
        rows[kept] = rows[i];
        keep_only(&rows[kept++], group);
    }
    return kept;
}

static const char *group_of(struct api_call *c)
{
    const char *group = api_query_get(&c->query, "group");
    for (size_t i = 0; group && i < JL_COUNT(groups); i++)
        if (strcmp(groups[i], group) == 0)
            return groups[i];
    if (!group)
        return groups[0];
    api_bad_query(c, "group is none of all, upstream, model, protocol, client");
    return NULL;
}

bool api_usage(struct api_call *c)
{
    struct jl_buf out;
    struct accounts_sums total = {.energy = unknown};
    size_t n;
    const char *group = group_of(c);
    if (!group)
        return true;
    if (!c->server->o.metering)
        return api_not_measured(c);
    struct accounts_row *rows = accounts_snapshot(metering_accounts(c->server->o.metering), &n);
    if (!rows)
        return api_no_memory(c);
    for (size_t i = 0; i < n; i++) /* of the same moment as the rows */
        add(&total, &rows[i].sums);
    n = strcmp(group, "all") == 0 ? n : together(rows, n, group);
    jl_buf_init(&out, ANSWER_MAX);
    put_begin(&out, NULL, '{');
    put_text(&out, "schema", "joulet.usage/1");
    put_time(&out, "since", jl_wall_ns() - (jl_mono_ns() - c->server->started_ns));
    put_text(&out, "group", group);
    put_begin(&out, "rows", '[');
    for (size_t i = 0; i < n; i++)
        put_usage_row(&out, &rows[i]);
    put_end(&out, ']');
    put_begin(&out, "total", '{');
    put_sums(&out, &total);
    jl_buf_str(&out, "}}\n");
    free(rows);
    bool ok = api_json(c, 200, &out);
    jl_buf_release(&out);
    return ok;
}
