/* api_metrics.c - /joulet/metrics: the page of metrics.h behind the checks of all paths below /joulet/. */
#include "report/prometheus.h"
#include "server/api.h"
#include "server/metrics.h"

#define PAGE_MAX ((size_t)16 << 20)

bool api_metrics(struct api_call *c)
{
    struct jl_buf out;
    struct net_header headers[5] = {
        {"Content-Type", PROMETHEUS_TYPE}, {"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}};
    size_t n = 3 + api_origin_headers(c, headers + 3);
    jl_buf_init(&out, PAGE_MAX);
    metrics_write(c->server, c->rules, &out);
    struct net_answer a = {.status = 200, .headers = headers, .n_headers = n, .body = out.data, .length = (int64_t)out.len};
    bool ok = out.failed ? api_no_memory(c) : net_call_answer(c->call, &a);
    jl_buf_release(&out);
    return ok;
}
