/* who.c - see who.h. A header is a stranger's text: what is no printable ASCII becomes '?', and what is too long is cut. */
#include "server/who.h"

#include "lib/base/base.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- names ------------------------------------------------------------------------------------------------------------- */

static void take_name(char *out, size_t size, const char *value)
{
    size_t n = 0;
    for (value += strspn(value, " \t"); *value && n + 1 < size; value++)
        out[n++] = *value >= ' ' && *value <= '~' ? *value : '?';
    while (n && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

static bool take_hex(const char **at, size_t digits, char *out)
{
    size_t n = strspn(*at, "0123456789abcdef");
    if (n != digits)
        return false;
    memcpy(out, *at, digits);
    out[digits] = '\0';
    *at += digits;
    return true;
}

static bool all_zero(const char *hex)
{
    return hex[strspn(hex, "0")] == '\0';
}

bool who_traceparent(const char *value, char trace[33], char parent[17])
{
    char version[3], flags[3], t[33], p[17];
    value += strspn(value, " \t");
    if (!take_hex(&value, 2, version) || *value++ != '-' || !take_hex(&value, 32, t) || *value++ != '-' ||
        !take_hex(&value, 16, p) || *value++ != '-' || !take_hex(&value, 2, flags))
        return false;
    value += strspn(value, " \t");
    if (strcmp(version, "ff") == 0 || all_zero(t) || all_zero(p) ||
        (*value && (strcmp(version, "00") == 0 || *value != '-'))) /* later versions may say more */
        return false;
    memcpy(trace, t, sizeof t);
    memcpy(parent, p, sizeof p);
    return true;
}

/* ---- keys --------------------------------------------------------------------------------------------------------------- */

/* Where clients put their keys: OpenAI and its like, Anthropic, Azure, Google. */
static bool is_key(const char *name)
{
    static const char *const names[] = {"Authorization", "x-api-key", "api-key", "x-goog-api-key"};
    for (size_t i = 0; i < JL_COUNT(names); i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

/* The same key in two headers is one client: the word "Bearer" is not part of it. */
static void take_key(struct who *w, const uint8_t *secret, const char *value)
{
    uint8_t mac[32];
    value += strspn(value, " \t");
    if (strncasecmp(value, "Bearer ", 7) == 0)
        value += 7;
    value += strspn(value, " \t");
    size_t n = strlen(value);
    while (n && (value[n - 1] == ' ' || value[n - 1] == '\t'))
        n--;
    if (!n)
        return;
    if (!secret) {
        snprintf(w->key, sizeof w->key, "unknown");
        return;
    }
    jl_hmac_sha256(secret, WHO_SECRET, value, n, mac);
    for (size_t i = 0; i < (sizeof w->key - 1) / 2; i++)
        snprintf(w->key + 2 * i, 3, "%02x", mac[i]);
    explicit_bzero(mac, sizeof mac);
}

/* ---- all of it ---------------------------------------------------------------------------------------------------------- */

void who_read(struct who *w, const uint8_t *secret, const struct net_header *headers, size_t n, const char *peer)
{
    char span[17] = "";
    *w = (struct who){0};
    for (size_t i = 0; i < n; i++) {
        const char *name = headers[i].name, *value = headers[i].value;
        if (strcasecmp(name, "X-Joulet-Tag") == 0 && !*w->tag)
            take_name(w->tag, sizeof w->tag, value);
        else if (strcasecmp(name, "X-Joulet-Session") == 0 && !*w->session)
            take_name(w->session, sizeof w->session, value);
        else if (strcasecmp(name, "X-Joulet-Parent") == 0 && !*w->parent)
            take_name(w->parent, sizeof w->parent, value);
        else if (strcasecmp(name, "traceparent") == 0 && !*w->trace)
            who_traceparent(value, w->trace, span);
        else if (!*w->key && is_key(name))
            take_key(w, secret, value);
    }
    if (!*w->session)
        memcpy(w->session, w->trace, sizeof w->trace);
    if (!*w->parent)
        memcpy(w->parent, span, sizeof span);
    if (!*w->tag && !*w->key)
        snprintf(w->address, sizeof w->address, "%s", peer);
}

void who_client(const struct who *w, char out[WHO_CLIENT])
{
    if (*w->tag)
        snprintf(out, WHO_CLIENT, "tag:%s", w->tag);
    else if (*w->key)
        snprintf(out, WHO_CLIENT, "key:%s", w->key);
    else
        snprintf(out, WHO_CLIENT, "addr:%s", *w->address ? w->address : "unknown");
}
