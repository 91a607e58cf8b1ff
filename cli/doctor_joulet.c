/* doctor_joulet.c - a joulet server, where one stands in front of the engine or at its usual place: which one it is, in front of
 * what, and whether it measures (docs/proxy.md). */
#include "cli/doctor.h"
#include "llm/engine_joulet.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_S 1.0

/* Where it listens unless told otherwise, or what --engine names; with a token of its own. */
static enum engine_joulet_found look(const struct doctor *d, char *url, size_t size, struct engine_joulet *out, char **token)
{
    const char *given = cli_str(d->cli, "engine"), *wanted = cli_str(d->cli, "token");
    bool address = given && (strstr(given, "://") || strchr(given, ':'));
    snprintf(url, size, "%s%s", address && !strstr(given, "://") ? "http://" : "", address ? given : "http://127.0.0.1:8737");
    *token = engine_joulet_cut_token(url);
    if (!*token && wanted && *wanted)
        *token = jl_strdup(wanted);
    return engine_joulet_at(url, *token, ANSWER_S, &cli_cancel, out);
}

void doctor_joulet(const struct doctor *d, struct finding *f)
{
    struct engine_joulet j;
    struct engine_joulet_state s;
    char url[640], *token;
    enum engine_joulet_found is = look(d, url, sizeof url, &j, &token);
    if (is == ENGINE_JOULET_REFUSED) {
        found(f, DOCTOR_ADVICE, "a joulet server answers at %s and wants %s token", url, token ? "another" : "a");
        remedy(f, "joulet doctor --token TOKEN   # or JOULET_TOKEN");
    } else if (is != ENGINE_JOULET_IS) {
        found(f, DOCTOR_OK, "no joulet server at %s; `joulet serve` stands in front of an engine and measures what passes", url);
    } else if (!engine_joulet_state(j.url, token, ANSWER_S, &cli_cancel, &s)) {
        found(f, DOCTOR_UNKNOWN, "joulet %s serves at %s and does not say how it is", j.version, j.url);
    } else {
        bool silent = s.silent[0], blind = s.meters && s.unmeasured[0];
        found(f, silent || blind || !s.meters ? DOCTOR_ADVICE : DOCTOR_OK,
              "joulet %s serves at %s in front of %s, %s%s%s%s%s%s%s", j.version, j.url, s.upstreams,
              s.meters ? "and measures with " : "and does not measure", s.meters ? s.sensors : "",
              blind ? "; of these it had nothing to read for a while: " : "", blind ? s.unmeasured : "",
              silent ? "; the last request was not answered by " : "", s.silent, "");
        if (silent)
            remedy(f, "start the engine there again");
        if (blind)
            remedy(f, "joulet doctor   # on the machine of that server");
        if (!s.meters)
            remedy(f, "joulet serve ...   # there, without --no-meter");
    }
    free(token);
}
