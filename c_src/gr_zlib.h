/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the users of zlib share: its memory comes from the core's allocator, and how far back a
 * compressed message may refer, on which both sides rely.
 */
#ifndef GR_ZLIB_H
#define GR_ZLIB_H

#include <limits.h>
#include <zlib.h>

#include "gr_base.h"

/*
 * The protocol's window: a receiver keeps 2^14 bytes of what it has decompressed. Terms repeat
 * themselves within less: with 2^15 the streams of both sides are twice as large, and a dump of a
 * table came out no smaller.
 */
#define GR_ZLIB_WINDOW_BITS 14

/* No header, no checksum: frames say what this is, TCP and TLS that it is whole. */
#define GR_ZLIB_RAW(bits) (-(bits))

static inline voidpf gr_zlib_alloc(voidpf ctx, uInt items, uInt size)
{
    if (size && items > SIZE_MAX / size)
        return Z_NULL;
    return gr_alloc(ctx, (size_t)items * size);
}

static inline void gr_zlib_free(voidpf ctx, voidpf ptr)
{
    gr_free(ctx, ptr);
}

/* All zero but for the allocator. */
static inline z_stream gr_zlib_stream(const gr_mem *mem)
{
    z_stream z = {0};
    z.zalloc = gr_zlib_alloc;
    z.zfree = gr_zlib_free;
    z.opaque = (voidpf)(uintptr_t)mem;
    return z;
}

/* As much of a size as zlib takes at once. */
static inline uInt gr_zlib_size(size_t size)
{
    return size > UINT_MAX ? UINT_MAX : (uInt)size;
}

#endif
