/* engine_joulet.h - a joulet server in front of the engine (docs/proxy.md): it is known by the header X-Joulet-Request that its
 * answers carry and by /joulet/health, and tells what each request drew on the machine where it measures. */
#ifndef LLM_ENGINE_JOULET_H
#define LLM_ENGINE_JOULET_H

#include "run/run.h"

#include <stdatomic.h>

struct engine;

/* What it says of one request. Its text is believed in nothing: figures that cannot be are left out, and said in `wrong`. */
struct engine_told {
    bool any;                                /* there was an energy object */
    bool provisional;                        /* the final figure comes later */
    bool elsewhere;                          /* the engine draws its power where the server does not measure */
    bool wrong;                              /* something in it cannot be */
    struct joulet_energy e, prefill, decode; /* unknown is NAN */
    char source[200];                        /* the server that measured, where it is another one; "" not told */
    char words[160];                         /* its flags that this version has no name for, ", " between; "" none */
    char devices[160];                       /* what it measures with: "gpu0.board, cpu0.package"; "" not told */
};
void engine_told_init(struct engine_told *t);
/* From a JSON object that has "energy" at its top or inside its "usage". False: there is none, and *t is as it was. */
bool engine_told_read(const char *json, size_t n, struct engine_told *t);
/* The tokens of a record of /joulet/requests/ID; -1 where it does not tell them. *timed: counted by the engine, not from pieces.
 */
void engine_told_tokens(const char *json, size_t n, struct run_tokens *out, bool *timed);

struct engine_joulet {
    bool is;       /* health is that of a joulet server */
    bool meters;   /* it has accounts of energy */
    char url[600]; /* what stands before /joulet/..., without a token */
    char version[32];
    char instance[24]; /* which of all servers it is; "" not told */
    char *token;       /* NULL: none */
};
/* What is noticed in answers while the engine is recognised. */
struct engine_noticed {
    bool joulet;      /* the header of a joulet server */
    bool wants_token; /* its refusal */
};
#define ENGINE_JOULET_HEADER "X-Joulet-Request"

/* The token for servers that ask for one (--token); NULL: that of JOULET_TOKEN. It is sent only to an address that it came with
 * (/joulet/t/TOKEN) and to who refuses as a joulet server does. Before engines are opened. */
void engine_joulet_use_token(const char *token);
/* Takes /joulet/t/TOKEN out of an address in place and keeps it for that server: for texts that are written, as plans. */
void engine_joulet_hide_token(char *url);
/* The same for that of the engine, which sends it from now on. False: no memory. */
bool engine_joulet_take_token(struct engine *e);
/* The answer is the one of a joulet server that wants a token. */
bool engine_joulet_refused(int status, const char *body, size_t n);
/* There is a token that was not tried yet: it is sent from now on. */
bool engine_joulet_try_token(struct engine *e);
enum joulet_status engine_joulet_no_token(const struct engine *e, struct joulet_error *err); /* the sentence */
/* Asks for /joulet/health, and fills e->joulet: where answers had the header. */
void engine_joulet_look(struct engine *e);
/* Whether a joulet server stands at an address, or at the root of it; asks for at most patience_s each. token NULL: none. */
enum engine_joulet_found {
    ENGINE_JOULET_SILENT,
    ENGINE_JOULET_OTHER,
    ENGINE_JOULET_REFUSED /* it wants a token */,
    ENGINE_JOULET_IS
};
enum engine_joulet_found engine_joulet_at(const char *url, const char *token, double patience_s, const atomic_bool *cancel,
                                          struct engine_joulet *out);
/* /joulet/t/TOKEN out of an address in place; malloc'ed, NULL: there is none. */
char *engine_joulet_cut_token(char *url);
/* How it says that it is; false: it does not. Lists with ", " between. */
struct engine_joulet_state {
    bool meters;
    char upstreams[200], silent[200];   /* all of them, and those that did not answer last */
    char sensors[200], unmeasured[200]; /* what it measures with, and those that had nothing to read for a part of the time */
};
bool engine_joulet_state(const char *base, const char *token, double patience_s, const atomic_bool *cancel,
                         struct engine_joulet_state *out);
/* The record of a request at `base`, once and without waiting for its figures; malloc'ed JSON. NULL: *err, JOULET_NOT_FOUND when
 * it has none of that id. */
char *engine_joulet_record(const char *base, const char *token, const char *id, double patience_s, const atomic_bool *cancel,
                           struct joulet_error *err);
/* The energy of the request with that id: waits until it is final, at most patience_s, and then gives what there is. JOULET_OK
 * also for a provisional one; *out is as it was when nothing came. */
enum joulet_status engine_joulet_energy(const struct engine *e, const char *id, double patience_s, struct engine_told *out,
                                        struct joulet_error *err);

#endif
