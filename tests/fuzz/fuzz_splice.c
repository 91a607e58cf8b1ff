/* Any answer with energy put in: the same wherever it is cut, and what was put in, taken out, leaves what came. With counts taken
 * out only the first holds. The first byte chooses framing and form, the second the cut. */
#include "server/splice.h"

#include <stdlib.h>
#include <string.h>

#define MEMBERS "\"energy\":{\"net_j\":1}"

static size_t members(void *user, char *out, size_t size)
{
    (void)user;
    if (size < sizeof MEMBERS - 1)
        return 0;
    memcpy(out, MEMBERS, sizeof MEMBERS - 1);
    return sizeof MEMBERS - 1;
}

static void collect(void *user, const char *bytes, size_t n)
{
    jl_buf_add(user, bytes, n);
}

static size_t splice(const struct splice_options *o, const char *bytes, size_t n, size_t cut, struct jl_buf *out)
{
    struct splice_options own = *o;
    struct splicer s;
    jl_buf_init(out, (size_t)1 << 26);
    own.user = out;
    splicer_init(&s, &own);
    splicer_bytes(&s, bytes, cut);
    splicer_bytes(&s, bytes + cut, n - cut);
    splicer_end(&s);
    if (out->len != n + s.added - s.dropped)
        abort();
    splicer_release(&s);
    return s.added;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct jl_buf whole, cut, asked;
    if (size < 2)
        return 0;
    struct splice_options o = {.framing = (enum splice_framing)(data[0] % 3),
                               .form = (enum splice_form)(data[0] / 3 % 3),
                               .asks_usage = data[0] & 64,
                               .drop_usage = data[0] & 128,
                               .drop_each = data[0] & 32,
                               .members = members,
                               .out = collect};
    const char *bytes = (const char *)data + 2;
    size_t n = size - 2;
    bool asks;
    size_t added = splice(&o, bytes, n, n, &whole);
    splice(&o, bytes, n, n ? data[1] % (n + 1) : 0, &cut);
    if (whole.len != cut.len || (whole.len && memcmp(whole.data, cut.data, whole.len) != 0))
        abort();
    if (!o.drop_usage && added) {
        size_t at = 0; /* the first byte that differs is in what was put in, or after it */
        while (at < n && whole.data[at] == bytes[at])
            at++;
        size_t back = 0;
        while (back < n - at && whole.data[whole.len - 1 - back] == bytes[n - 1 - back])
            back++;
        if (at + back < n)
            abort();
    }
    jl_buf_release(&whole);
    jl_buf_release(&cut);
    if (splice_ask_usage(bytes, n, data[1] & 1, &asked, &asks) && asked.len <= n)
        abort();
    jl_buf_release(&asked);
    return 0;
}
