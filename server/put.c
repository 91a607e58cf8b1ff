/* put.c - writing JSON member by member. */
#include "server/put.h"
#include "server/internal.h"

#include <inttypes.h>
#include <math.h>

void put_sep(struct jl_buf *out)
{
    size_t n = out->len;
    while (n && (out->data[n - 1] == '\n' || out->data[n - 1] == ' '))
        n--;
    char last = n ? out->data[n - 1] : '{';
    if (last != '{' && last != '[' && last != ',' && last != ':')
        jl_buf_str(out, ",");
}

void put_key(struct jl_buf *out, const char *key)
{
    put_sep(out);
    server_json_string(out, key);
    jl_buf_str(out, ":");
}

void put_string(struct jl_buf *out, const char *s)
{
    put_sep(out);
    if (s)
        server_json_string(out, s);
    else
        jl_buf_str(out, "null");
}

void put_text(struct jl_buf *out, const char *key, const char *text)
{
    put_key(out, key);
    put_string(out, text && *text ? text : NULL);
}

void put_real(struct jl_buf *out, const char *key, double x)
{
    put_key(out, key);
    if (isfinite(x))
        jl_buf_printf(out, "%.12g", x);
    else
        jl_buf_str(out, "null");
}

void put_count(struct jl_buf *out, const char *key, int64_t n)
{
    put_key(out, key);
    if (n >= 0)
        jl_buf_printf(out, "%" PRId64, n);
    else
        jl_buf_str(out, "null");
}

void put_bool(struct jl_buf *out, const char *key, bool on)
{
    put_key(out, key);
    jl_buf_str(out, on ? "true" : "false");
}

void put_time(struct jl_buf *out, const char *key, int64_t wall_ns)
{
    char time[40] = "";
    if (wall_ns)
        jl_format_time(time, sizeof time, wall_ns);
    put_text(out, key, time);
}

void put_begin(struct jl_buf *out, const char *key, char bracket)
{
    if (key)
        put_key(out, key);
    else
        put_sep(out);
    jl_buf_add(out, &bracket, 1);
}

void put_end(struct jl_buf *out, char bracket)
{
    jl_buf_add(out, &bracket, 1);
}
