/* net_head.c - heads of requests: looking up headers, and refusing what two readers could understand in two ways. The HTTP
 * library in front is lenient (of two lengths it takes one and passes both), and the upstream behind may take the other: what
 * follows would then be a request that nobody here has seen. Linked into the program and into the module. */
#include "net/net_server.h"

#include <string.h>
#include <strings.h>

const char *net_head_value(const struct net_header *headers, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(headers[i].name, name) == 0)
            return headers[i].value;
    return NULL;
}

static bool value_has_word(const char *value, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = value; *p;) {
        p += strspn(p, " \t,");
        size_t here = strcspn(p, " \t,;");
        if (here == n && strncasecmp(p, word, n) == 0)
            return true;
        p += strcspn(p, ",");
    }
    return false;
}

bool net_head_has_word(const struct net_header *headers, size_t n, const char *name, const char *word)
{
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(headers[i].name, name) == 0 && value_has_word(headers[i].value, word))
            return true;
    return false;
}

/* RFC 9110, 5.6.2. */
static bool is_token(const char *s)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (const char *p = s; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr(others, *p)))
            return false;
    return *s;
}

static bool is_digits(const char *s)
{
    size_t n = strspn(s, "0123456789");
    return n > 0 && n <= 18 && !s[n];
}

/* Tabs and whatever is above ASCII may stand in a value; other control characters end lines for some readers. */
static bool is_value(const char *s)
{
    for (; *s; s++)
        if (((unsigned char)*s < ' ' && *s != '\t') || *s == 0x7f)
            return false;
    return true;
}

static const char *target_problem(const char *target, const char *method)
{
    if (strcmp(target, "*") == 0 && strcmp(method, "OPTIONS") == 0)
        return NULL;
    if (*target != '/')
        return "the target of the request is no path";
    for (const char *p = target; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return "the target of the request holds a blank or a control character";
    return strchr(target, '#') ? "the target of the request holds a fragment" : NULL;
}

struct seen {
    size_t lengths, encodings, hosts;
};

/* libmicrohttpd 0.9.75 glues a folded line to the name of the header before it: "Content-Length: 1" and " 0" arrive as
 * "Content-Length0" with the value 1, and the body would be read as the next request. */
static bool begins_as_framing(const char *name)
{
    static const char *const framing[] = {"Content-Length", "Transfer-Encoding"};
    for (size_t i = 0; i < JL_COUNT(framing); i++)
        if (strncasecmp(name, framing[i], strlen(framing[i])) == 0)
            return true;
    return false;
}

static const char *header_problem(const struct net_header *h, const size_t *value_n, struct seen *seen)
{
    if (!is_token(h->name))
        return "the name of a header is none";
    if (!is_value(h->value) || (value_n && *value_n != strlen(h->value)))
        return "the value of a header holds a control character";
    if (strcasecmp(h->name, "Content-Length") == 0) {
        seen->lengths++;
        return is_digits(h->value) ? NULL : "the length of the body is no number";
    }
    if (strcasecmp(h->name, "Transfer-Encoding") == 0) {
        seen->encodings++;
        return strcasecmp(h->value, "chunked") == 0 ? NULL : "the transfer encoding is not chunked";
    }
    if (begins_as_framing(h->name))
        return "the name of a header is a folded line";
    seen->hosts += strcasecmp(h->name, "Host") == 0;
    return NULL;
}

const char *net_head_problem(const struct net_head *h, const size_t *values_n)
{
    struct seen seen = {0};
    const char *problem = is_token(h->method) ? target_problem(h->target, h->method) : "the method is none";
    for (size_t i = 0; i < h->n_headers && !problem; i++)
        problem = header_problem(&h->headers[i], values_n ? &values_n[i] : NULL, &seen);
    if (problem)
        return problem;
    if (seen.lengths > 1)
        return "the request has two lengths";
    if (seen.encodings > 1 || (seen.encodings && seen.lengths))
        return "the request has a length and a transfer encoding";
    if (seen.encodings && strcmp(h->version, "HTTP/1.1") != 0)
        return "the request has a transfer encoding, which its version of HTTP does not know";
    if (seen.hosts != 1)
        return seen.hosts ? "the request has two hosts" : "the request has no host";
    return NULL;
}
