/* session_processes.c - which processes the engine is, whose processor time it was during a request, and the CPU's energy that
 * goes with it (docs/method.md 6.4, docs/processes.md). An engine on another machine has none here. */
#include "cli/session_span.h"
#include "net/net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- where the engine is ------------------------------------------------------------------------------------------------- */

enum { ADDRESSES_MAX = 8 };

/* Who serves the engine's port here. A name with several addresses says nothing of the one that was taken. */
static void serving(const struct engine *e, struct jl_server *out)
{
    char all[ADDRESSES_MAX][NET_ADDRESS_SIZE];
    size_t n = net_url_addresses(e->url, all, ADDRESSES_MAX);
    int port = net_url_port(e->url);
    *out = (struct jl_server){.pid = -1};
    if (net_url_is_here(e->url)) {
        jl_server_of(n == 1 ? all[0] : NULL, port, out);
        return;
    }
    for (size_t i = 0; i < n && out->pid < 0; i++)
        out->pid = jl_server_inside(all[i], port);
    out->container = out->pid > 0;
}

void session_find_here(struct engine *e)
{
    struct jl_server server;
    if (e->local)
        return;
    serving(e, &server);
    e->local = server.pid > 0;
}

/* An address that only a container or a virtual machine of this one can have, and nobody to be seen who has it. */
static void note_bridge(struct session *s, const struct engine *e)
{
    char bridge[32];
    if (net_url_behind_bridge(e->url, bridge, sizeof bridge))
        run_note(
            &s->run,
            "the engine's address lies behind %s, a bridge of this machine, but no process that listens there is to be seen; "
            "if it is a container or a virtual machine of this one, name its process with --pid",
            bridge);
}

int session_locate(struct session *s, struct runtime_choice *choice)
{
    struct engine *e = choice->engine;
    int64_t pid = cli_int(s->cli, "pid", -1);
    struct jl_server server = {.pid = -1};
    if (choice->started)
        return CLI_DONE;
    if (pid > 0 && cli_flag(s->cli, "remote"))
        return cli_usage(s->cli, "--pid and --remote exclude each other: a process of this machine is not on another one");
    if (pid > 0 && !jl_pid_alive(pid))
        return cli_usage(s->cli, "process %lld does not run, so it cannot be the engine: give the number of the one that serves",
                         (long long)pid);
    if (pid > 0)
        e->local = true;
    else if (cli_flag(s->cli, "remote"))
        e->local = false;
    else
        session_find_here(e);
    if (!e->local && pid < 0 && !cli_flag(s->cli, "remote"))
        note_bridge(s, e);
    if (!e->local || pid > 0)
        return CLI_DONE;
    serving(e, &server);
    if (server.forwarded) {
        e->local = false;
        run_note(&s->run,
                 "the port of the engine is held by %s, which leads to another machine; name the process with --pid if "
                 "the engine runs here",
                 server.name);
    }
    return CLI_DONE;
}

static int64_t engine_pid(const struct session *s, const struct runtime_choice *choice)
{
    struct jl_server server;
    if (choice->started)
        return choice->server.process.pid;
    if (!choice->engine->local)
        return JOULET_NOBODY;
    int64_t given = cli_int(s->cli, "pid", -1);
    if (given > 0)
        return given;
    serving(choice->engine, &server);
    return server.pid > 0 ? server.pid : JOULET_NOBODY;
}

/* ---- following them ------------------------------------------------------------------------------------------------------- */

void session_follow(struct session *s, const struct runtime_choice *choice)
{
    struct joulet_error err;
    session_unfollow(s);
    s->watch.choice = choice;
    s->watch.pid = session_is_told(s) ? JOULET_NOBODY : engine_pid(s, choice);
    if (session_is_told(s))
        return;
    if (s->watch.pid == JOULET_NOBODY) {
        if (choice->engine->local && isnan(jl_process_cpu_s(1)))
            run_note(&s->run,
                     "the process of the engine was not found, for the system hides processes from this user (hidepid), so "
                     "its share of the processor time is not known; run joulet as the user of the engine, or with sudo");
        else if (choice->engine->local)
            run_note(&s->run, "the process of the engine was not found, so its share of the processor time is not known; name it "
                              "with --pid");
        return;
    }
    if (joulet_follow(&s->watch.followed, s->watch.pid, &err) != JOULET_OK) {
        run_note(&s->run, "%s", err.message);
        return;
    }
    run_pairs_set(&s->run.engine, "pid", 'n', "%lld", (long long)s->watch.pid);
    run_pairs_set(&s->run.engine, "processes", 's', "%s", joulet_follow_source(s->watch.followed));
}

void session_unfollow(struct session *s)
{
    joulet_unfollow(s->watch.followed);
    s->watch.followed = NULL;
}

/* What others did is what the engine, with all its processes, and we did not. */
static void known_time(const struct session *s, const struct joulet_cpu_look *l, struct joulet_surroundings *out)
{
    if (s->watch.followed && !isnan(l->used_s))
        out->known_s = jl_own_cpu_s() + l->used_s;
}

/* A command and all that it waited for: the kernel adds them up to the microsecond when they end. What outlives it is not there.
 */
static void look_at_children(struct joulet_cpu_look *l)
{
    *l = (struct joulet_cpu_look){.t_ns = joulet_now(), .used_s = jl_process_cpu_s(0), .tick_s = jl_tick_s()};
    if (!jl_cpu_time(&l->busy_s, &l->total_s))
        l->busy_s = l->total_s = NAN;
}

static void note_share(struct session *s, const struct joulet_cpu_look *now, int64_t processes, const char *source)
{
    struct joulet_cpu_use use;
    struct joulet_cpu_share share;
    struct run_cpu_time *t = &s->watch.cpu;
    joulet_cpu_use_between(&s->watch.look, now, &use);
    joulet_cpu_share_of(&use, &share);
    t->share = share.share;
    t->share_pm = share.share_pm;
    t->engine_s = share.used_s;
    t->busy_s = share.busy_s;
    t->processes = processes;
    snprintf(t->source, sizeof t->source, "%s", source);
}

void session_look_before(struct session *s)
{
    joulet_surroundings_now(s->watch.pid, &s->watch.before);
    if (s->watch.command)
        look_at_children(&s->watch.look);
    if (!s->watch.followed)
        return;
    joulet_follow_look(s->watch.followed, &s->watch.look);
    known_time(s, &s->watch.look, &s->watch.before);
}

void session_look_after(struct session *s, struct joulet_surroundings *after)
{
    struct joulet_cpu_look now;
    run_cpu_time_init(&s->watch.cpu);
    joulet_surroundings_now(s->watch.pid, after);
    if (s->watch.command) {
        look_at_children(&now);
        note_share(s, &now, -1, "command");
    }
    if (!s->watch.followed)
        return;
    joulet_follow_look(s->watch.followed, &now);
    known_time(s, &now, after);
    note_share(s, &now, (int64_t)now.processes, joulet_follow_source(s->watch.followed));
}

/* ---- the energy that goes with it -------------------------------------------------------------------------------- */

/* Where the total is read at the wall, the CPU is not in it; it is measured all the same. */
struct joulet_energy session_cpu_energy(const struct run *r, const struct run_energy *e)
{
    struct joulet_energy sum = JOULET_ENERGY_UNKNOWN;
    if (e->has_group[JOULET_GROUP_CPU])
        return e->groups[JOULET_GROUP_CPU];
    for (size_t i = 0; i < e->n_channels; i++) {
        const struct joulet_channel *c = run_channel(r, e->channels[i].channel);
        const struct joulet_channel *parent = c && *c->parent ? run_channel(r, c->parent) : NULL;
        if (c && c->group == JOULET_GROUP_CPU && !(parent && parent->group == JOULET_GROUP_CPU))
            joulet_energy_add(&sum, &e->channels[i].e, true);
    }
    return sum;
}

static void share_of(const struct run_cpu_time *t, struct joulet_cpu_share *out)
{
    *out = (struct joulet_cpu_share){t->share, t->share_pm, t->engine_s, t->busy_s};
}

void session_cpu_window(const struct session *s, struct run_window *w)
{
    struct joulet_cpu_share share;
    struct joulet_energy cpu = session_cpu_energy(&s->run, &w->energy);
    share_of(&w->cpu_time, &share);
    if (!isnan(share.used_s))
        joulet_energy_of_share(&cpu, &share, &w->cpu_time.e_llm);
}

void session_cpu_request(const struct session *s, struct run_request *q)
{
    struct joulet_cpu_share share;
    struct joulet_energy cpu = session_cpu_energy(&s->run, &q->energy), phases = JOULET_ENERGY_UNKNOWN;
    share_of(&q->cpu_time, &share);
    if (isnan(share.used_s))
        return;
    joulet_energy_of_share(&cpu, &share, &q->cpu_time.e_llm);
    for (size_t i = 0; i < q->n_windows; i++) {
        struct joulet_energy e = session_cpu_energy(&s->run, &q->windows[i].energy);
        if (!strcmp(q->windows[i].name, "prefill") || !strcmp(q->windows[i].name, "decode"))
            joulet_energy_chain(&phases, &e);
    }
    joulet_energy_of_share(&phases, &share, &q->cpu_time.m_eff);
}
