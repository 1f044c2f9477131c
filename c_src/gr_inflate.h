/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompressor: one message after the other, or all of them in one context. What it reads is the
 * peer's: it never gives more bytes than were declared, and one call never does more work than its
 * input and room allow.
 */
#ifndef GR_INFLATE_H
#define GR_INFLATE_H

#include "gr_base.h"

/* Most input that one call of gr_inflate_some takes, bytes: it can be all tables and no data. */
#define GR_INFLATE_STEP ((size_t)4 * 1024)

typedef struct gr_inflate gr_inflate;

/* Makes one that has seen nothing. Borrows the vtable for its life. GR_ENOMEM possible. */
int gr_inflate_new(gr_inflate **i, const gr_mem *mem);
void gr_inflate_free(gr_inflate *i); /* accepts NULL */

/* Begins a message that has so many bytes when it is decompressed; drops what went before. */
void gr_inflate_begin(gr_inflate *i, uint64_t size);

/*
 * Goes on with the message: *in_used bytes of input were taken, at most GR_INFLATE_STEP, *out_used
 * bytes of room filled. GR_OK: call again with the input behind, there may be some already. GR_NONE:
 * likewise, with new room (one byte is enough). GR_EPROTO: corrupt, or not of the size that was
 * declared, or input behind its end; it stays so until gr_inflate_begin. GR_ENOMEM possible.
 */
int gr_inflate_some(gr_inflate *i, const uint8_t *in, size_t in_size, size_t *in_used, uint8_t *out,
                    size_t room, size_t *out_used);

/* Whether the message is complete: the stream has ended, and with exactly the declared size. */
int gr_inflate_done(const gr_inflate *i);

/*
 * A whole message at once, of exactly that size, into out: gr_inflate_begin and all the rest.
 * GR_EPROTO as above, or when it is not complete. The caller keeps both sizes small.
 */
int gr_inflate_small(gr_inflate *i, const uint8_t *in, size_t in_size, uint8_t *out, size_t size);

/*
 * The next message of a context, of exactly that size, into out. An object used for this is used for
 * nothing else. GR_EPROTO as above, and from then on always. The caller keeps both sizes small.
 */
int gr_inflate_context(gr_inflate *i, const uint8_t *in, size_t in_size, uint8_t *out, size_t size);

/* Decompressors of one connection that are not in use: one at most is kept. */
typedef struct gr_inflates {
    const gr_mem *mem;
    gr_inflate *spare; /* NULL: none */
} gr_inflates;

/* Borrows the vtable until it is cleared. Allocates nothing. */
void gr_inflates_init(gr_inflates *p, const gr_mem *mem);
void gr_inflates_trim(gr_inflates *p);

/* Takes one out, for gr_inflate_begin. GR_ENOMEM possible. */
int gr_inflates_get(gr_inflates *p, gr_inflate **i);

/* Takes it back; accepts NULL. */
void gr_inflates_put(gr_inflates *p, gr_inflate *i);

#endif
