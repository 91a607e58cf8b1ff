/* dcmi.h - what the ipmi sensor asks of a management controller, so that a stand-in can answer, and what the answer means. */
#ifndef JL_DCMI_H
#define JL_DCMI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DCMI_NETFN    0x2c
#define DCMI_POWER    0x02
#define DCMI_REQUEST  4
#define DCMI_RESPONSE 19 /* completion code and 18 bytes */

extern const uint8_t dcmi_request[DCMI_REQUEST];

struct dcmi_calls {
    /* A handle, or -1 with errno. */
    int (*open)(const char *path);
    /* Sends a command to the controller and waits for its answer: bytes of it, completion code first, or -1 with errno. */
    int (*ask)(int handle, uint8_t netfn, uint8_t command, const uint8_t *data, size_t n, uint8_t *answer, size_t room);
    void (*close)(int handle);
};
extern const struct dcmi_calls dcmi_kernel;
/* What is asked; tests put a stand-in here, nothing else writes it. */
extern const struct dcmi_calls *dcmi_calls;

enum dcmi_result {
    DCMI_OK,
    DCMI_NONE,    /* the controller does not know the command */
    DCMI_REFUSED, /* it does, and not for us */
    DCMI_BUSY,    /* it may answer later */
    DCMI_NONSENSE /* short, of another group, or failed with another code */
};
struct dcmi_power {
    unsigned now_w, least_w, most_w, mean_w;
    uint32_t time_s, period_ms;
    bool active; /* the controller is measuring */
};
/* The answer to dcmi_request, completion code first. Pure. */
enum dcmi_result dcmi_parse(const uint8_t *answer, size_t n, struct dcmi_power *out);

#endif
