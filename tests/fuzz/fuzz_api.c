/* Targets below /joulet/ as strangers write them: the route, the name in the path, and the query. What is let through must be
 * text that fits its place, of names that the route knows, each once; and it must mean the same when it is written out again. */
#include "server/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void is_clean(const char *text, size_t size)
{
    if (strlen(text) >= size)
        abort();
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < ' ' || *p == 0x7f)
            abort();
}

/* Every byte as %XX: read again, it must be the same. */
static void again(const struct api_query *q, const char *names)
{
    struct api_query second;
    struct jl_buf out;
    char why[200];
    jl_buf_init(&out, 1 << 20);
    jl_buf_str(&out, "");
    for (size_t i = 0; i < q->n; i++) {
        jl_buf_printf(&out, "%s%s=", i ? "&" : "", q->pairs[i].name);
        for (const unsigned char *p = (const unsigned char *)q->pairs[i].value; *p; p++)
            jl_buf_printf(&out, "%%%02x", *p);
    }
    if (!api_query_parse(&second, out.data, names, why, sizeof why) || second.n != q->n)
        abort();
    for (size_t i = 0; i < q->n; i++)
        if (strcmp(second.pairs[i].value, q->pairs[i].value) != 0)
            abort();
    jl_buf_release(&out);
}

static void query(const char *text, const char *names)
{
    struct api_query q;
    char why[200] = "";
    if (!api_query_parse(&q, text, names, why, sizeof why)) {
        if (!why[0])
            abort();
        return;
    }
    for (size_t i = 0; i < q.n; i++) {
        is_clean(q.pairs[i].value, API_VALUE_MAX);
        if (!names || !jl_word_in(names, ' ', q.pairs[i].name) || !q.pairs[i].value[0] ||
            api_query_get(&q, q.pairs[i].name) != q.pairs[i].value)
            abort();
    }
    again(&q, names);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "OPTIONS", "PUT"};
    char name[API_NAME_MAX], allow[64], *target = malloc(n + 9);
    if (!target || n == 0) {
        free(target);
        return 0;
    }
    memcpy(target, "/joulet/", 8);
    memcpy(target + 8, bytes + 1, n - 1);
    target[8 + n - 1] = '\0';
    size_t path_n = strcspn(target, "?");
    const struct api_route *r =
        api_find(methods[bytes[0] % JL_COUNT(methods)], target, path_n, name, sizeof name, allow, sizeof allow);
    is_clean(name, sizeof name);
    if (strlen(allow) >= sizeof allow || (r && !allow[0]))
        abort();
    query(target[path_n] ? target + path_n + 1 : "", r ? r->query : api_routes[bytes[0] % api_routes_n].query);
    free(target);
    return 0;
}
