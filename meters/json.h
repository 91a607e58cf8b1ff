/* json.h - numbers out of foreign JSON. */
#ifndef METERS_JSON_H
#define METERS_JSON_H

#include "meters/page.h"

#include <jansson.h>

/* NULL and the sentence when it is no JSON object. */
json_t *meters_json(const char *body, size_t n, struct joulet_error *err);
/* A number, also one in quotes; of an array its index-th, or the sum with index -1. NAN: none. */
double meters_number(const json_t *v, int index);

/* The step in which a device prints a number that always has the same decimals: 0.001 for "Total":3.200. NAN: it is not there. */
double meters_step(const char *body, size_t n, const char *key);

#endif
