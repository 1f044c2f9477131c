/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressor for the small messages of one connection: each for itself, or all in one context, which
 * remembers what went before. Raw deflate (RFC 1951). Not for messages that take more than one frame:
 * those are for gr_deflate_stream.h.
 */
#ifndef GR_DEFLATE_H
#define GR_DEFLATE_H

#include "gr_base.h"

/*
 * The longest message that one call compresses, bytes. A level that could take over 1 ms for one of
 * its size (see gr_deflate_level.h) gives way to the highest that does not.
 */
#define GR_DEFLATE_SMALL_MAX ((size_t)16 * 1024)

typedef struct gr_deflate gr_deflate;

/*
 * Makes a compressor; level is from 1 to 9. Borrows the vtable for its life. Its two streams are made when they are first used. GR_ENOMEM possible.
 */
int gr_deflate_new(gr_deflate **d, const gr_mem *mem, int level);
void gr_deflate_free(gr_deflate *d); /* accepts NULL */

/*
 * Compresses a message for itself into less than room bytes. GR_OK: *size of them are filled. GR_NONE:
 * it takes as many or more, so it does not pay. GR_ETOOBIG: over GR_DEFLATE_SMALL_MAX, nothing was done.
 * GR_ENOMEM possible.
 */
int gr_deflate_small(gr_deflate *d, const gr_piece *pieces, size_t count, uint8_t *out, size_t room,
                     size_t *size);

/* Room that gr_deflate_context needs for a message of that size, bytes; more than it will fill. */
size_t gr_deflate_context_room(size_t size);

/*
 * Compresses a message behind all that the context has seen; whoever decompresses must get all of
 * them, in this order. GR_OK: *size bytes are filled, none for an empty message, and they can be
 * more than the message. GR_ETOOBIG: over GR_DEFLATE_SMALL_MAX, or less than that room; nothing was
 * done, the context is as before. GR_ENOMEM possible.
 */
int gr_deflate_context(gr_deflate *d, const gr_piece *pieces, size_t count, uint8_t *out,
                       size_t room, size_t *size);

#endif
