/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input of one connection: a buffer for small frames, and for each large one a blob of its exact
 * size into which the socket is read directly. Nothing is allocated for a length over the limit.
 */
#ifndef GR_READER_H
#define GR_READER_H

#include "gr_base.h"
#include "gr_frame.h"

typedef struct gr_reader {
    const gr_mem *mem;
    const gr_blob_ops *blobs;
    int from_server;    /* whether the peer is the accepting side */
    uint64_t limit;     /* largest body accepted, bytes */
    uint8_t *buf;       /* NULL: nothing is buffered */
    size_t room;        /* of buf */
    size_t start;       /* first byte not yet consumed */
    size_t end;         /* behind the last byte received */
    int filled_up;      /* the last read left no room: more room pays */
    gr_frame frame;     /* of the large body in progress */
    gr_blob body;       /* large body in progress; no owner: none */
    size_t body_filled; /* bytes of it received */
} gr_reader;

/* A complete frame. */
typedef struct gr_input {
    gr_frame frame;
    const uint8_t *data; /* body; valid until the next gr_reader_space */
    gr_blob blob;        /* with an owner: holds the body; the reference is the receiver's */
} gr_input;

void gr_reader_init(gr_reader *r, const gr_mem *mem, const gr_blob_ops *blobs, int from_server,
                    uint64_t limit);
void gr_reader_clear(gr_reader *r);

/* Gives back the buffer when it is empty. */
void gr_reader_trim(gr_reader *r);

/* Tells where to put what arrives next: one or two stretches, in this order. GR_ENOMEM possible. */
int gr_reader_space(gr_reader *r, gr_iov iov[2], size_t *count);

/* n bytes were put there. */
void gr_reader_filled(gr_reader *r, size_t n);

/* Raw bytes, for the handshake: what is buffered, and how much of it was used. */
gr_iov gr_reader_raw(const gr_reader *r);
void gr_reader_skip(gr_reader *r, size_t n);

/* Takes the next complete frame: GR_OK, GR_NONE when there is none yet, or a fatal code. */
int gr_reader_next(gr_reader *r, gr_input *in);

/* Whether what has arrived ends in the middle of a frame. */
int gr_reader_in_frame(const gr_reader *r);

#endif
