/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What leaves a connection, and in which order: control frames first, then small messages, then the
 * large ones in turn, a fragment of each. Ordered messages have a lane of their own and keep their
 * order. What the peer has no room for yet waits here.
 */
#ifndef GR_LANES_H
#define GR_LANES_H

#include "gr_msg.h"
#include "gr_pace.h"

/*
 * Small requests and casts that the peer has not used yet, bytes as gr_frame_charge counts them: what a
 * server must be ready to hold of one connection. At 100 ms of round trip that is 40 MB a second.
 */
#define GR_SMALL_WINDOW ((uint64_t)4 * 1024 * 1024)

/* The same for ordered messages, which are run one after the other. */
#define GR_ORDERED_WINDOW ((uint64_t)1024 * 1024)

/* Messages that are open or wait on the large lane, beyond which submitters wait. */
#define GR_LARGE_MAX ((size_t)GR_SLOTS)

typedef struct gr_lanes {
    const gr_mem *mem;
    const gr_blob_ops *blobs;
    size_t frame_max;     /* bytes of a fragment with its head */
    uint64_t peer_max;    /* bytes of all messages at once that the peer puts together */
    int bounded;          /* whether the small lane has a window: requests have, replies have not */
    gr_outq out;          /* may be written now */
    gr_outq small;        /* waits for the peer's window */
    gr_msgs waiting;      /* large, no slot yet */
    gr_msgs open;         /* large, the first one is the next to be continued */
    size_t calls;         /* large requests and replies, in both */
    uint64_t cast_left;   /* bytes of large casts, in both */
    gr_msgs ordered;      /* in order; only the first one can be open */
    int ordered_turn;     /* the ordered lane comes before the large ones */
    int ordered_had_slot; /* the last slot was for the ordered lane */
    uint64_t since_large; /* bytes consumed since a fragment was put into out */
    uint64_t whole[GR_SLOTS]; /* sizes of messages whose slots are in use; 0: free */
    size_t slots_used;
    uint64_t slots_bytes;  /* sum of these */
    uint64_t small_in;     /* bytes ever put on the small lane */
    uint64_t small_sent;   /* bytes ever put into out that the peer counts as small */
    uint64_t small_used;   /* of these, used by the peer */
    uint64_t ordered_in;   /* bodies ever taken from the ordered lane, bytes */
    uint64_t ordered_used; /* of these, used by the peer */
    gr_pace pace;          /* of the large lane */
    uint64_t now_us;
    int worked; /* a step of compression has been done in this turn */
    gr_deflate_streams streams;
    uint64_t aborted;     /* messages given up when a part of them was sent */
    uint64_t deflate_in;  /* bytes ever compressed */
    uint64_t deflate_out; /* and what became of them */
} gr_lanes;

/* Borrows the vtables. level: of compression; 0: none. */
void gr_lanes_init(gr_lanes *l, const gr_mem *mem, const gr_blob_ops *blobs, size_t frame_max,
                   int level);
void gr_lanes_clear(gr_lanes *l);
void gr_lanes_trim(gr_lanes *l);

/* The peer is known: whether requests go to it, and how much it puts together. */
void gr_lanes_open(gr_lanes *l, int bounded, uint64_t peer_max);

/* A callback begins: the time, us, and a new allowance of computing. */
void gr_lanes_turn(gr_lanes *l, uint64_t now_us);

/* Frames without content. First: in front of all that has not begun to leave. */
int gr_lanes_first(gr_lanes *l, const gr_frame *f);
int gr_lanes_last(gr_lanes *l, const gr_frame *f);

/* A small message, or a frame that must stay behind one. Borrows the pieces. */
int gr_lanes_small(gr_lanes *l, const gr_frame *f, const gr_piece *pieces, size_t n);

/* Likewise, behind a message that has been put into the output queue: it need not wait. */
int gr_lanes_small_now(gr_lanes *l, const gr_frame *f);

/* Bytes of the small lane that have begun to leave, to compare with small_in before a message. */
uint64_t gr_lanes_small_gone(const gr_lanes *l);

/* Whether the message before which small_in was that has been put into the output queue. */
int gr_lanes_small_moved(const gr_lanes *l, uint64_t position);

/* A large or an ordered message. frame.whole is its size. deflate: worth a try. */
int gr_lanes_large(gr_lanes *l, const gr_frame *f, const gr_piece *pieces, size_t n, int deflate);
int gr_lanes_ordered(gr_lanes *l, const gr_frame *f, const gr_piece *pieces, size_t count,
                     int deflate);

/*
 * Gives up a large or ordered message of that id. GR_OK: nothing of it has been sent. GR_EBUSY: its
 * receiver is told to forget it. GR_ENOENT: all of it has been put into the output queue, or it never
 * was on these lanes. GR_ENOMEM possible.
 */
int gr_lanes_cancel(gr_lanes *l, uint64_t id);

/* Whether the large or ordered message of that id has not been begun. */
int gr_lanes_is_waiting(const gr_lanes *l, uint64_t id);

/* The peer has used so many bytes of a lane, ever; or a message in a slot. GR_EPROTO possible. */
int gr_lanes_window(gr_lanes *l, gr_lane lane, uint64_t used);
int gr_lanes_done(gr_lanes *l, unsigned slot);

/* Puts what may leave now into the output queue, as long as that is short. GR_OK or GR_ENOMEM. */
int gr_lanes_stage(gr_lanes *l);

/* Whether gr_lanes_stage would put something there. */
int gr_lanes_ready(const gr_lanes *l);

/* Whether there is work left that has to wait for the next turn. */
int gr_lanes_more(gr_lanes *l);

void gr_lanes_consume(gr_lanes *l, size_t n);

/* Bytes that wait on a lane, the output queue included for small ones; and on all of them. */
uint64_t gr_lanes_queued(const gr_lanes *l, gr_lane lane);
uint64_t gr_lanes_pending(const gr_lanes *l);

/* Whether all that was ever submitted is in the output queue. */
int gr_lanes_empty(const gr_lanes *l);

#endif
