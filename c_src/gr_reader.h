/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input of one connection: a buffer for small frames; the content of fragments is read directly into
 * the blob of its message. Nothing is allocated for a size over the limit.
 */
#ifndef GR_READER_H
#define GR_READER_H

#include "gr_base.h"
#include "gr_frame.h"
#include "gr_slots.h"

typedef struct gr_reader {
    const gr_mem *mem;
    const gr_blob_ops *blobs;
    int from_server; /* whether the peer is the accepting side */
    uint8_t *buf;    /* NULL: nothing is buffered */
    size_t room;     /* of buf */
    size_t room_max; /* that it grows to */
    size_t start;    /* first byte not yet consumed */
    size_t end;      /* behind the last byte received */
    int filled_up;   /* the last read left no room: more room pays */
    gr_slots slots;
    gr_frame fragment;   /* whose content is being read; type 0: none */
    size_t left;         /* bytes of its content not yet taken */
    size_t budget;       /* bytes that may still be decompressed in this turn */
    int more;            /* it is spent, and there is work left */
    gr_inflate *small;   /* for small messages, each for itself; NULL: not made yet */
    gr_inflate *context; /* for those that refer to others; likewise */
    uint64_t large_in;   /* bytes of fragments ever taken, with their heads */
    size_t fragment_max; /* bytes of the largest one so far, with its head */
    uint64_t deflate_in; /* bytes ever decompressed */
} gr_reader;

/* A complete frame, or a message that is complete now. */
typedef struct gr_input {
    gr_frame frame;      /* of a message in fragments: the first one, with its whole size */
    const uint8_t *data; /* content; valid until the next gr_reader_space */
    gr_blob blob;        /* with an owner: holds it; the reference is the receiver's */
    size_t charge;       /* what a small frame counts for in its window */
    uint64_t arrived;    /* the session's: when, ms */
    uint64_t late;       /* and how late it was by then, ms */
} gr_input;

/* limit: of a message, and of all that are in use in fragments, bytes. */
void gr_reader_init(gr_reader *r, const gr_mem *mem, const gr_blob_ops *blobs, int from_server,
                    uint64_t limit);
void gr_reader_clear(gr_reader *r);

/* How large the buffer may grow, bytes. Brought into what a frame needs and a callback can take; 0: the most. */
void gr_reader_bound(gr_reader *r, uint64_t size);

/* Gives back what is empty. */
void gr_reader_trim(gr_reader *r);

/* A callback begins: a new allowance of computing. */
void gr_reader_turn(gr_reader *r);

/* Tells where to put what arrives next: one or two stretches, in this order. GR_ENOMEM possible. */
int gr_reader_space(gr_reader *r, gr_iov iov[2], size_t *count);

/* n bytes were put there. */
void gr_reader_filled(gr_reader *r, size_t n);

/* Raw bytes, for the handshake: what is buffered, and how much of it was used. */
gr_iov gr_reader_raw(const gr_reader *r);
void gr_reader_skip(gr_reader *r, size_t n);

/*
 * Takes the next complete frame or message: GR_OK; GR_NONE when there is none yet, or its turn is
 * over (r->more); or a fatal code. Slots of messages are the user's to release.
 */
int gr_reader_next(gr_reader *r, gr_input *in);

/* Whether what has arrived ends in the middle of a frame or a message. */
int gr_reader_in_frame(const gr_reader *r);

#endif
