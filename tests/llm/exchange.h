/* exchange.h - a recorded HTTP answer, its framing taken off. */
#ifndef TESTS_EXCHANGE_H
#define TESTS_EXCHANGE_H

#include "lib/base/base.h"

struct exchange {
    int status;
    bool stream; /* text/event-stream */
    char *body;
    size_t n;
};
/* tests/fixtures/llama-server/NAME.response.http; ends the test when it is not there or not well formed. */
void exchange_load(struct exchange *x, const char *name);
void exchange_release(struct exchange *x);

#endif
