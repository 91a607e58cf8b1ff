/* own.c - errors that the server answers itself, in the words of the API that the path belongs to. */
#include "report/put.h"
#include "server/internal.h"

#include <stdio.h>
#include <string.h>

static bool answer_json(struct net_call *call, int status, const char *json, size_t n, bool close)
{
    static const struct net_header headers[] = {
        {"Content-Type", "application/json"}, {"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}};
    struct net_answer a = {
        .status = status, .headers = headers, .n_headers = JL_COUNT(headers), .body = json, .length = (int64_t)n, .close = close};
    return net_call_answer(call, &a);
}

void server_json_string(struct jl_buf *out, const char *s)
{
    put_value(out, s);
}

static const char *kind_of(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 413:
        return "request_too_large";
    default:
        return status < 500 ? "invalid_request_error" : "upstream_error";
    }
}

static const char *code_of(int status)
{
    switch (status) {
    case 400:
        return "bad_request";
    case 401:
        return "no_token";
    case 403:
        return "forbidden_host";
    case 404:
        return "not_found";
    case 413:
        return "too_large";
    default:
        return "unavailable";
    }
}

void server_error_json(struct jl_buf *out, const char *code, const char *message, const char *remedy)
{
    put_begin(out, NULL, '{');
    put_begin(out, "error", '{');
    put_text(out, "message", message);
    if (remedy)
        put_text(out, "remedy", remedy);
    put_text(out, "code", code);
    jl_buf_str(out, "}}\n");
}

/* Ollama's clients look for a string under "error", all others for an object with a message. */
bool server_refuse(struct net_call *call, const char *target, int status, const char *sentence, bool close)
{
    struct jl_buf out, text;
    jl_buf_init(&out, 1 << 14);
    jl_buf_init(&text, 1 << 12);
    jl_buf_printf(&text, "joulet: %s", sentence);
    if (server_is_own(target)) {
        server_error_json(&out, code_of(status), sentence, NULL);
    } else if (jl_starts(target, "/api/")) {
        jl_buf_str(&out, "{\"error\":");
        server_json_string(&out, text.data);
        jl_buf_str(&out, "}\n");
    } else {
        jl_buf_str(&out, "{\"error\":{\"message\":");
        server_json_string(&out, text.data);
        jl_buf_printf(&out, ",\"type\":\"%s\",\"code\":%d}}\n", kind_of(status), status);
    }
    bool ok = answer_json(call, status, out.data, out.len, close);
    jl_buf_release(&out);
    jl_buf_release(&text);
    return ok;
}
