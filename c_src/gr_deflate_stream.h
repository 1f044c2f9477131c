/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compression of large messages, a little at a time, several of them at once on one connection. Data
 * that does not get smaller is noticed on the way and stored as it is for a while.
 */
#ifndef GR_DEFLATE_STREAM_H
#define GR_DEFLATE_STREAM_H

#include "gr_base.h"

/* Streams that are open at once on one connection: each takes some 140 kB. */
#define GR_DEFLATE_STREAMS_MAX 8

typedef struct gr_deflate_stream gr_deflate_stream;

/* The streams of one connection. */
typedef struct gr_deflate_streams {
    const gr_mem *mem;
    int level;                /* GR_DEFLATE_LEVEL_MIN to GR_DEFLATE_LEVEL_MAX */
    size_t open;              /* streams that are open, GR_DEFLATE_STREAMS_MAX at most */
    gr_deflate_stream *spare; /* one that is not in use, kept for the next message; NULL: none */
} gr_deflate_streams;

/* Borrows the vtable until it is cleared. Allocates nothing. */
void gr_deflate_streams_init(gr_deflate_streams *p, const gr_mem *mem, int level);

/* Gives back the spare one; the caller has closed all others if this is the end. */
void gr_deflate_streams_trim(gr_deflate_streams *p);

/*
 * Begins a message. GR_NONE: as many are open as may be, send it as it is. GR_ENOMEM possible. The
 * stream borrows *p until it is closed.
 */
int gr_deflate_stream_open(gr_deflate_stream **s, gr_deflate_streams *p);

/* Ends it, complete or not; accepts NULL. */
void gr_deflate_stream_close(gr_deflate_stream *s);

/* Most bytes of input that the next call will take, so that it stays well under 1 ms. */
size_t gr_deflate_stream_step(const gr_deflate_stream *s);

/*
 * Goes on with what comes next of the message, one step at most: *in_used bytes of input were taken,
 * *out_used bytes of room filled. last: nothing comes behind this input. GR_OK: call again with the
 * input behind, there may be some already. GR_NONE: likewise, with new room. GR_ENOMEM possible.
 */
int gr_deflate_stream_some(gr_deflate_stream *s, const uint8_t *in, size_t in_size, size_t *in_used,
                           uint8_t *out, size_t room, size_t *out_used, int last);

/* Whether all of the message has come out: then only gr_deflate_stream_close is legal. */
int gr_deflate_stream_done(const gr_deflate_stream *s);

#endif
