/* What the server reads of strangers before anything else does: names of hosts, tokens in paths, the model of a body, heads of
 * requests. The first byte chooses; what comes out must be bounded and the same from a copy that ends where the input ends. */
#include "server/guard.h"
#include "server/headers.h"
#include "server/route.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void model(const char *text, size_t n)
{
    char found[64];
    bool is = route_model(text, n, found, sizeof(found));
    if (is && (!found[0] || strlen(found) >= sizeof(found)))
        abort();
}

static void guard(const char *text)
{
    static const char *const allowed[] = {"llm.example"};
    struct guard g = {.listen = "127.0.0.1:8737", .allow_hosts = allowed, .n_allow_hosts = 1, .token = "a-long-token"};
    const char *token, *rest;
    size_t n;
    if (guard_host(&g, text, -1) && strchr(text, '/'))
        abort(); /* no name holds one */
    guard_origin(&g, text, -1);
    rest = guard_strip(text, &token, &n);
    if (*rest != '/' && rest != text)
        abort();
    if (guard_token(&g, token, n) && (n != 12 || strncmp(token, "a-long-token", 12) != 0))
        abort();
}

/* Lines "name: value" after a target: what is let through has one meaning. */
static void head(char *text)
{
    struct net_header in[64], out[65];
    struct net_head h = {.method = "POST", .version = "HTTP/1.1", .target = text, .headers = in};
    for (char *line = strchr(text, '\n'); line && h.n_headers < 64;) {
        *line++ = '\0';
        char *value = strchr(line, ':'), *next = strchr(line, '\n');
        if (!value || (next && next < value))
            break;
        *value++ = '\0';
        in[h.n_headers++] = (struct net_header){line, value};
        line = next;
    }
    if (net_head_problem(&h, NULL))
        return;
    size_t lengths = 0, encodings = 0, n = headers_up(in, h.n_headers, out, false);
    for (size_t i = 0; i < h.n_headers; i++) {
        lengths += strcasecmp(in[i].name, "Content-Length") == 0;
        encodings += strcasecmp(in[i].name, "Transfer-Encoding") == 0;
    }
    if (lengths + encodings > 1 || n > h.n_headers)
        abort();
    for (size_t i = 0; i < n; i++)
        if (strpbrk(out[i].value, "\r\n") || strncasecmp(out[i].name, "X-Joulet-", 9) == 0)
            abort();
    headers_down(in, h.n_headers, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct server_upstream u;
    if (size < 2)
        return 0;
    char *text = malloc(size); /* as long as the input: whoever reads on is seen */
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    if (data[0] % 4 == 0)
        model(text, size - 1);
    text[size - 1] = '\0';
    if (data[0] % 4 == 1)
        guard(text);
    if (data[0] % 4 == 2)
        head(text);
    if (data[0] % 4 == 3 && route_parse(text, &u, NULL) == JOULET_OK && (!u.url || (u.prefix && u.model)))
        abort();
    free(text);
    return 0;
}
