/* net_url.c - the little that must be known of a URL before it is handed to the HTTP library: its scheme, its host, and whether
 * that host is this machine. Linked into the program and into the module. */
#include "net/net_module.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Start of the authority ("user@host:port"), NULL unless the scheme is http or https. */
static const char *authority(const char *url, size_t *n)
{
    size_t skip = strncasecmp(url, "http://", 7) == 0 ? 7 : strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
    if (!skip)
        return NULL;
    *n = strcspn(url + skip, "/?#");
    return url + skip;
}

/* Host without user, port and brackets. A user part may look like a host ("http://127.0.0.1@elsewhere"): the last @ decides. */
bool net_url_host(const char *url, char *host, size_t size)
{
    size_t n = 0;
    const char *p = authority(url, &n);
    if (!p)
        return false;
    for (size_t i = n; i > 0; i--) {
        if (p[i - 1] == '@') {
            p += i;
            n -= i;
            break;
        }
    }
    if (n && p[0] == '[') {
        const char *close = memchr(p, ']', n);
        if (!close)
            return false;
        n = (size_t)(close - p) - 1;
        p++;
    } else {
        const char *colon = memchr(p, ':', n);
        n = colon ? (size_t)(colon - p) : n;
    }
    if (n == 0 || n >= size)
        return false;
    memcpy(host, p, n);
    host[n] = '\0';
    return true;
}

const char *net_url_origin(const char *url, char *buf, size_t size)
{
    size_t n = 0;
    const char *p = authority(url, &n);
    if (!p) {
        snprintf(buf, size, "%s", url);
        return buf;
    }
    size_t scheme = (size_t)(p - url);
    for (size_t i = n; i > 0; i--) {
        if (p[i - 1] == '@') {
            p += i;
            n -= i;
            break;
        }
    }
    snprintf(buf, size, "%.*s%.*s", (int)scheme, url, (int)n, p);
    return buf;
}

enum joulet_status net_url_check(const char *url, struct joulet_error *err)
{
    char host[256];
    if (!url || !url[0])
        return jl_fail(err, JOULET_USAGE, "the address is empty: give one as in http://127.0.0.1:8080");
    for (const char *p = url; *p; p++) {
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return jl_fail(err, JOULET_USAGE, "the address \"%.200s\" holds a blank or a control character: percent-encode it",
                           url);
    }
    if (!net_url_host(url, host, sizeof(host)))
        return jl_fail(err, JOULET_USAGE, "\"%.200s\" is no http:// or https:// address: give one as in http://127.0.0.1:8080",
                       url);
    return jl_ok(err);
}

/* 127.0.0.0/8 in four decimal parts. */
static bool is_loopback_v4(const char *host)
{
    unsigned a, b, c, d;
    char rest;
    return sscanf(host, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d, &rest) == 4 && a == 127 && b < 256 && c < 256 && d < 256;
}

bool net_url_is_local(const char *url)
{
    char host[256];
    if (!url || !net_url_host(url, host, sizeof(host)))
        return false;
    size_t n = strlen(host);
    if (n > 1 && host[n - 1] == '.')
        host[--n] = '\0';
    if (strcasecmp(host, "localhost") == 0 || (n > 10 && strcasecmp(host + n - 10, ".localhost") == 0))
        return true;
    if (strcmp(host, "::1") == 0 || strcmp(host, "0:0:0:0:0:0:0:1") == 0)
        return true;
    if (strncasecmp(host, "::ffff:", 7) == 0)
        return is_loopback_v4(host + 7);
    return is_loopback_v4(host);
}

int net_url_port(const char *url)
{
    size_t n = 0;
    const char *p = url ? authority(url, &n) : NULL;
    if (!p)
        return -1;
    for (size_t i = n; i > 0 && p[i - 1] != ']'; i--)
        if (p[i - 1] == ':')
            return i < n ? atoi(p + i) : -1;
    return strncasecmp(url, "https", 5) == 0 ? 443 : 80;
}

char *net_escape(const char *s)
{
    static const char hex[] = "0123456789ABCDEF";
    char *out = malloc(strlen(s) * 3 + 1), *p = out;
    if (!out)
        return NULL;
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c)) {
            *p++ = (char)c;
        } else {
            *p++ = '%';
            *p++ = hex[c >> 4];
            *p++ = hex[c & 15];
        }
    }
    *p = '\0';
    return out;
}

enum joulet_status net_untrusted(const char *where, const char *why, struct joulet_error *err)
{
    return jl_fail(
        err, JOULET_PERMISSION,
        "the certificate of %s is not trusted (%s): name the file of the one that signed it in JOULET_ENGINE_CA, for a "
        "meter in JOULET_METER_CA",
        where, why);
}

/* ---- base64 (RFC 4648, 4) ---------------------------------------------------------------------------------------------------
 */

void net_base64(const void *bytes, size_t n, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = bytes;
    for (size_t i = 0; i < n; i += 3) {
        unsigned char b[3] = {0};
        size_t have = n - i < 3 ? n - i : 3;
        memcpy(b, in + i, have);
        *out++ = digits[b[0] >> 2];
        *out++ = digits[(b[0] & 3) << 4 | b[1] >> 4];
        *out++ = have > 1 ? digits[(b[1] & 15) << 2 | b[2] >> 6] : '=';
        *out++ = have > 2 ? digits[b[2] & 63] : '=';
    }
    *out = '\0';
}
