/* dcmi.c - the answer to "Get Power Reading" of the Data Center Manageability Interface (DCMI 1.5, 6.6.1). Pure. */
#include "lib/sensors/dcmi.h"

#define GROUP 0xdc

const uint8_t dcmi_request[DCMI_REQUEST] = {GROUP, 0x01, 0x00, 0x00}; /* mode 1: system power statistics */

static uint32_t number(const uint8_t *b, unsigned n)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < n; i++)
        v |= (uint32_t)b[i] << (8 * i);
    return v;
}

static enum dcmi_result result_of(uint8_t code)
{
    switch (code) {
    case 0x00:
        return DCMI_OK;
    case 0xc1: /* invalid command */
    case 0xc2: /* invalid for this unit */
    case 0xcc: /* invalid field: no power statistics */
        return DCMI_NONE;
    case 0xd4: /* privilege */
        return DCMI_REFUSED;
    case 0xc0: /* busy */
    case 0xc3: /* timeout */
    case 0xd5: /* not in the present state */
        return DCMI_BUSY;
    default:
        return DCMI_NONSENSE;
    }
}

enum dcmi_result dcmi_parse(const uint8_t *answer, size_t n, struct dcmi_power *out)
{
    *out = (struct dcmi_power){.active = false};
    if (n < 1)
        return DCMI_NONSENSE;
    if (result_of(answer[0]) != DCMI_OK)
        return result_of(answer[0]);
    if (n < DCMI_RESPONSE || answer[1] != GROUP)
        return DCMI_NONSENSE;
    const uint8_t *b = answer + 1;
    *out = (struct dcmi_power){.now_w = number(b + 1, 2),
                               .least_w = number(b + 3, 2),
                               .most_w = number(b + 5, 2),
                               .mean_w = number(b + 7, 2),
                               .time_s = number(b + 9, 4),
                               .period_ms = number(b + 13, 4),
                               .active = (b[17] & 0x40) != 0};
    return DCMI_OK;
}
