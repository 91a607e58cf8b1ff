/* json.c - numbers out of foreign JSON: as numbers, in quotes, in arrays of one a channel. */
#include "meters/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

json_t *meters_json(const char *body, size_t n, struct joulet_error *err)
{
    json_error_t why;
    json_t *root = json_loadb(body, n, JSON_DECODE_INT_AS_REAL | JSON_REJECT_DUPLICATES, &why);
    if (json_is_object(root))
        return root;
    json_decref(root);
    size_t blank = 0;
    while (blank < n && (body[blank] == ' ' || body[blank] == '\n' || body[blank] == '\r' || body[blank] == '\t'))
        blank++;
    if (blank < n && body[blank] == '<')
        jl_fail(err, JOULET_FORMAT, "answers with a web page instead of figures; check the address and the kind of the meter");
    else
        jl_fail(err, JOULET_FORMAT, "answers with something that is no JSON object; check the kind of the meter");
    return NULL;
}

static double single(const json_t *v)
{
    double value;
    if (json_is_real(v))
        return json_real_value(v);
    return json_is_string(v) && jl_parse_double(json_string_value(v), &value) ? value : NAN;
}

double meters_number(const json_t *v, int index)
{
    if (!json_is_array(v))
        return index > 0 ? NAN : single(v);
    if (index >= 0)
        return single(json_array_get(v, (size_t)index));
    double sum = json_array_size(v) ? 0 : NAN;
    for (size_t i = 0; i < json_array_size(v); i++)
        sum += single(json_array_get(v, i));
    return sum;
}

double meters_step(const char *body, size_t n, const char *key)
{
    char quoted[32];
    int length = snprintf(quoted, sizeof(quoted), "\"%s\"", key);
    const char *p = n ? memmem(body, n, quoted, (size_t)length) : NULL, *end = body + n;
    double step = 1;
    if (!p)
        return NAN;
    p += length;
    while (p < end && *p && strchr(" \t\r\n:[\"-", *p))
        p++;
    const char *first = p;
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    if (p == first)
        return NAN;
    if (p < end && *p == '.')
        for (p++; p < end && *p >= '0' && *p <= '9'; p++)
            step /= 10;
    return step;
}
