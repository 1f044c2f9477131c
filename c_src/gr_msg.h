/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message that waits to be sent, or is sent in fragments: it holds references to its pieces until
 * the last byte of it is in the output queue.
 */
#ifndef GR_MSG_H
#define GR_MSG_H

#include "gr_deflate_stream.h"
#include "gr_frame.h"
#include "gr_outq.h"

typedef struct gr_msg {
    struct gr_msg *next; /* in the list that it is in */
    struct gr_msg *prev;
    gr_frame frame;       /* of the whole message: without LARGE, END and slot */
    int slot;             /* -1: it has none, and goes as one frame */
    int begun;            /* a part of it has been put into the output queue */
    uint64_t left;        /* bytes not yet taken from the pieces */
    gr_deflate_stream *z; /* NULL: it goes as it is */
    size_t piece;         /* of which the next byte is */
    size_t at;            /* offset of that byte in it */
    size_t count;
    gr_piece pieces[]; /* without an owner: the bytes are in this same block */
} gr_msg;

/* The first has no prev, the last no next. */
typedef struct gr_msgs {
    gr_msg *first;
    gr_msg *last;
    size_t count;
    uint64_t left; /* bytes of all of them that have not been taken */
} gr_msgs;

/* Makes a message. Borrows the pieces, takes references to their owners. GR_ENOMEM possible. */
int gr_msg_new(gr_msg **m, const gr_mem *mem, const gr_blob_ops *blobs, const gr_frame *frame,
               const gr_piece *pieces, size_t count);

/* Drops its references. It must be in no list. Accepts NULL. */
void gr_msg_free(gr_msg *m, const gr_mem *mem, const gr_blob_ops *blobs);

/*
 * Puts its next frame, of at most frame_max bytes, into the queue: *bytes of it, and *last if nothing
 * is left. One that has no slot goes as one frame. With compression that is one step of work, and
 * may be no frame at all: *bytes is 0 then.
 */
int gr_msg_put_next(gr_msg *m, gr_outq *q, unsigned kind, size_t frame_max, size_t *bytes,
                    int *last);

void gr_msgs_append(gr_msgs *l, gr_msg *m);
void gr_msgs_remove(gr_msgs *l, gr_msg *m);

/* The message of that call, or NULL. */
gr_msg *gr_msgs_find(const gr_msgs *l, uint64_t id);

#endif
