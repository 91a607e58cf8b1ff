/* pack.h - samples as bytes and back. */
#ifndef STORE_PACK_H
#define STORE_PACK_H

#include "lib/base/base.h"

/* Appends the blob of n samples; false on no memory. */
bool store_pack(struct jl_buf *out, const struct joulet_sample *samples, size_t n);
/* Exactly the samples that were packed. `samples` has room for n; false when the bytes are not the blob of n samples. */
bool store_unpack(const void *bytes, size_t size, struct joulet_sample *samples, size_t n);

/* The longest blob: 1 MiB of samples a second is far above any sensor. */
#define STORE_BLOB_MAX ((size_t)64 << 20)

#endif
