/* What goes between the program and the process that recognises: any records give no reply that is none, and any bytes in place
 * of what was recognised give something that could have been. The first byte chooses. */
#include "server/recognise_wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void on_reply(void *user, const struct apart_reply *r, const void *bytes)
{
    (void)user;
    if (r->n != 0 && r->n != sizeof(struct recognised_wire))
        abort();
    if (r->n && !bytes)
        abort();
}

static void records(const uint8_t *data, size_t size)
{
    struct apart_worker *w = apart_worker_open(on_reply, NULL);
    if (!w)
        abort();
    while (size >= 4) { /* which, of which exchange, a flag, how long */
        struct apart_record r = {
            .what = data[0] % 10, .x = data[1] % 5, .whole = data[2] & 1, .status = (uint16_t)(data[2] * 3), .t_ns = 7};
        r.n = data[3] < size - 4 ? data[3] : (uint32_t)(size - 4);
        char *bytes = malloc(r.n ? r.n : 1);
        memcpy(bytes, data + 4, r.n);
        apart_worker_record(w, &r, bytes);
        free(bytes);
        data += 4 + r.n;
        size -= 4 + r.n;
    }
    apart_worker_close(w);
}

static void recognised(const uint8_t *data, size_t size)
{
    struct recognised_wire wire;
    struct recognised r;
    memset(&wire, 0, sizeof wire);
    memcpy(&wire, data, size < sizeof wire ? size : sizeof wire);
    recognised_from_wire(&wire, &r);
    if (!recognised_kind_name(r.kind) || !recognised_source_name(r.generated_source) || !recognised_source_name(r.prompt_source))
        abort();
    if (r.tokens.prompt < -1 || r.tokens.generated < -1 || r.computed < -1 || (!isnan(r.audio_s) && !(r.audio_s >= 0)))
        abort();
    if (!memchr(r.model, '\0', sizeof r.model) || !memchr(r.error, '\0', sizeof r.error) ||
        !memchr(r.finish, '\0', sizeof r.finish))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (data[0] & 1)
        records(data + 1, size - 1);
    else
        recognised(data + 1, size - 1);
    return 0;
}
