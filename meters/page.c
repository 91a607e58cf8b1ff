/* page.c - what all formats share: figures that can be believed. */
#include "meters/page.h"

#include <math.h>

#define WATTS_MAX  1e7
#define JOULES_MAX 9e12 /* as microjoule it still is an int64 */

bool page_believable(double value, bool counter)
{
    return isfinite(value) && value >= 0 && value <= (counter ? JOULES_MAX : WATTS_MAX);
}

bool page_add(struct page *out, const struct page_value *v)
{
    if (out->n == PAGE_VALUES || !page_believable(v->value, v->counter))
        return false;
    out->values[out->n++] = *v;
    return true;
}
