/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queue of frames to be written, oldest first. Small pieces are copied into chunks so that many of
 * them share one write; large ones with an owner are kept by reference. It knows where frames begin,
 * so one can be put in front of those that have not begun to leave.
 */
#ifndef GR_OUTQ_H
#define GR_OUTQ_H

#include "gr_base.h"

/* Bytes that are counted separately: what they belong to is the user's business. */
#define GR_OUTQ_KINDS 3

typedef struct gr_chunk gr_chunk;

typedef struct gr_outq {
    const gr_mem *mem;
    const gr_blob_ops *blobs;
    gr_chunk *head;
    gr_chunk *tail;
    gr_chunk *spare; /* one empty chunk kept so that a steady trickle does not allocate */
    size_t size;     /* bytes queued */
    uint64_t in;     /* bytes ever queued */
    uint64_t out;    /* bytes ever consumed */
    uint64_t done[GR_OUTQ_KINDS]; /* of these, by kind */
} gr_outq;

/* Borrows both vtables for the life of the queue. */
void gr_outq_init(gr_outq *q, const gr_mem *mem, const gr_blob_ops *blobs);
void gr_outq_clear(gr_outq *q);

/* Gives back memory that is kept for speed only. */
void gr_outq_trim(gr_outq *q);

/*
 * Appends a frame, the head and then all pieces, or, on GR_ENOMEM, leaves a queue that can only be
 * cleared. Borrows the bytes; takes references of its own where it keeps them.
 */
int gr_outq_put(gr_outq *q, unsigned kind, const uint8_t *head, size_t head_size,
                const gr_piece *pieces, size_t count);

/*
 * Puts a frame without a body in front of all that have not begun to leave, but behind those that
 * were put so before. head_size is at most GR_OUTQ_FIRST_MAX.
 */
#define GR_OUTQ_FIRST_MAX 64u
int gr_outq_put_first(gr_outq *q, unsigned kind, const uint8_t *head, size_t head_size);

/* The frame put last counts for so much, by whatever measure. */
void gr_outq_charge(gr_outq *q, size_t charge);

/* What the oldest frames, a chunk's worth, count for; 0 if there are none. */
size_t gr_outq_oldest(const gr_outq *q);

/* Moves these to the end of another queue. Returns how many bytes. */
size_t gr_outq_move(gr_outq *to, gr_outq *from);

/* Fills iov with the oldest bytes, at most max stretches. Returns how many it filled. */
size_t gr_outq_peek(const gr_outq *q, gr_iov *iov, size_t max);

/* Drops the oldest n bytes, n at most q->size. */
void gr_outq_consume(gr_outq *q, size_t n);

#endif
