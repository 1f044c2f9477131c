/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output queue: bytes waiting to be written, oldest first. Small pieces are copied into chunks so
 * that many of them share one write; large ones with an owner are kept by reference.
 */
#ifndef GR_OUTQ_H
#define GR_OUTQ_H

#include "gr_base.h"

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
} gr_outq;

/* Borrows both vtables for the life of the queue. */
void gr_outq_init(gr_outq *q, const gr_mem *mem, const gr_blob_ops *blobs);
void gr_outq_clear(gr_outq *q);

/* Gives back memory that is kept for speed only. */
void gr_outq_trim(gr_outq *q);

/*
 * Appends the header and then all pieces, or, on GR_ENOMEM, leaves a queue that can only be
 * cleared. Borrows the bytes; takes references of its own where it keeps them.
 */
int gr_outq_put(gr_outq *q, const uint8_t *head, size_t head_size, const gr_piece *pieces,
                size_t count);

/* Fills iov with the oldest bytes, at most max stretches. Returns how many it filled. */
size_t gr_outq_peek(const gr_outq *q, gr_iov *iov, size_t max);

/* Drops the oldest n bytes, n at most q->size. */
void gr_outq_consume(gr_outq *q, size_t n);

#endif
