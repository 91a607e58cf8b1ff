/* json_watch.h - follows a JSON object byte by byte, in any cut, and says what of it matters to who stands in between: which
 * members it has at its top, and where it ends. Keeps nothing of it. */
#ifndef SERVER_JSON_WATCH_H
#define SERVER_JSON_WATCH_H

#include "lib/base/base.h"

#define JSON_WATCH_DEPTH 256
#define JSON_WATCH_WORD  40 /* longest key or text that can be told */

/* Where a byte stands. */
enum json_place {
    JSON_INSIDE,
    JSON_ENDS,         /* the last brace of the object */
    JSON_USAGE_ENDS,   /* the last brace of its member "usage" */
    JSON_TIMINGS_ENDS, /* of its member "timings", as llama.cpp has it */
    JSON_ENERGY_ENDS,  /* of its member "energy", or of that of its usage or timings */
    JSON_BROKEN        /* no JSON object, or one too deep: nothing is known any more */
};

struct json_watch {
    unsigned char objects[JSON_WATCH_DEPTH / 8]; /* which of the open ones are objects */
    size_t depth;
    bool begun, over, broken;
    bool in_string, escaped, is_key, expects_key, scalar;
    char word[JSON_WATCH_WORD]; /* of the string or number that is being read */
    size_t word_n;
    char key[JSON_WATCH_WORD]; /* the last one at the top */
    bool reason_key;           /* the last key, at any depth, tells why the answer ended */
    bool empty[3];             /* nothing yet in the object, in its usage or timings, in its energy */
    bool in_usage, in_timings;
    size_t energy_depth; /* inside that member: where it was opened; 0: not in it */
    bool energy_next;    /* the key that was read last opens it */
    bool energy_source;  /* it tells who measured */
    /* what was found */
    bool done, stop, has_usage, has_energy, has_timings, has_text, ended, choices, no_choices;
    char type[JSON_WATCH_WORD];
};
void json_watch_init(struct json_watch *w);
enum json_place json_watch_byte(struct json_watch *w, char c);
/* What of these bytes is plain text inside a string, which tells nothing before it ends: taken at once. 0: the next byte is none.
 */
size_t json_watch_text(struct json_watch *w, const char *bytes, size_t n);
/* The object whose end was just told is the last of an answer with content, in any protocol. `usage`: the client gets the counts
 * in an object of their own, after the one that tells why the answer ended. */
bool json_watch_is_final(const struct json_watch *w, bool usage);

#endif
