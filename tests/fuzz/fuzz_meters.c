/* Answers of meters: the first byte chooses the format, the rest is the body. What comes out is believable and has names. */
#include "meters/address.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static page_parser *const parsers[] = {page_shelly, page_tasmota, page_redfish, page_scaphandre};
    struct joulet_error err = {0};
    struct page p;
    char member[64];
    if (size == 0)
        return 0;
    struct page_ask ask = {.channel = (data[0] >> 4 & 7) - 1, .pid = data[0] & 128 ? 42 : 0};
    char *body = malloc(size); /* of its own length, so that a look behind its end is seen */
    if (!body)
        return 0;
    memcpy(body, data + 1, size - 1);
    if (parsers[data[0] & 3](body, size - 1, &ask, &p, &err) == JOULET_OK) {
        if (p.n == 0 || p.n > PAGE_VALUES)
            abort();
        for (size_t i = 0; i < p.n; i++)
            if (!p.values[i].name[0] || p.values[i].value < 0 || isinf(p.values[i].value))
                abort();
    } else if (strncmp(err.message, "answers", 7) != 0) {
        abort();
    }
    page_redfish_member(body, size - 1, 0, member, sizeof(member));
    if (page_redfish_link(body, size - 1, "Metrics", member, sizeof(member)) && (member[0] != '/' || member[1] == '/'))
        abort();
    page_redfish_is_absent(body, size - 1);
    struct meter_address a;
    body[size - 1] = '\0';
    if (meter_address_parse(body, &a, &err) == JOULET_OK && (!a.kind || !a.origin[0]))
        abort();
    free(body);
    return 0;
}
