/* exchange.h - a recorded HTTP answer, its framing taken off. */
#ifndef TESTS_EXCHANGE_H
#define TESTS_EXCHANGE_H

#include "lib/base/base.h"

struct exchange {
    int status;
    bool stream; /* text/event-stream or lines of JSON */
    char *body;
    size_t n;
};
/* tests/fixtures/llama-server/NAME.response.http; ends the test when it is not there or not well formed. */
void exchange_load(struct exchange *x, const char *name);
/* The same of another folder of tests/fixtures. Interim answers (100) are passed over; a body that was cut stays cut. */
void exchange_load_from(struct exchange *x, const char *folder, const char *name);
void exchange_release(struct exchange *x);

#endif
