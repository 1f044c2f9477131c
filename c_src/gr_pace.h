/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pace: how many bytes of the large lane may be under way, that is given to the socket and not yet
 * consumed by the receiver. All of them are in front of every later small message, so no more than
 * the path needs: the rate at which the receiver consumed lately, times the round trip of a path
 * that is not filled, and a little more, so that the lane notices when it could go faster.
 * Hurts: a receiver that at rest holds back 2 * GR_PACE_ACK or more stops the lane for good.
 */
#ifndef GR_PACE_H
#define GR_PACE_H

#include "gr_base.h"

/*
 * The receiver reports when so many bytes, a fragment but no more than 64 KiB, have been consumed since
 * its last report. It never holds back twice that: the lane always moves as long as that is so.
 */
#define GR_PACE_ACK(FragmentMax) \
    ((FragmentMax) < (size_t)64 * 1024 ? (uint64_t)(FragmentMax) : (uint64_t)64 * 1024)

/* Enough for eight samples of the round trip in each, however large the limit is. */
#define GR_PACE_MARKS 16u

/* So many rounds later a rate is forgotten. */
#define GR_PACE_RATES 8u

typedef enum {
    GR_PACE_RUN,
    GR_PACE_DRAIN,  /* nothing leaves until only `target` bytes are under way */
    GR_PACE_MEASURE /* no more than that while the round trip is measured anew */
} gr_pace_phase;

typedef struct gr_pace_mark {
    uint64_t position; /* bytes ever sent when it left, itself included */
    uint64_t time;     /* us, when it left */
} gr_pace_mark;

/* Time in us on any monotonic clock. Private to gr_pace.c, here only to be embedded. */
typedef struct gr_pace {
    uint64_t ack;   /* bytes after which the receiver reports */
    uint64_t sent;  /* bytes ever */
    uint64_t acked; /* bytes ever that the receiver has consumed */
    uint64_t limit; /* bytes that may be under way */
    uint64_t last;  /* time of the last call that moved something */
    uint64_t gap; /* value of `sent` when there was last nothing to send although there was room */
    int empty;    /* whether the lane is empty */

    uint64_t rates[GR_PACE_RATES]; /* bytes a second, of the last rounds that tell */
    size_t rates_at;               /* where the next one goes */
    uint64_t rate;                 /* largest of them; 0: none yet */
    uint64_t rate_last;            /* the newest of them */
    uint64_t rate_base;            /* rate that `flat` counts from */
    uint64_t rate_ref;             /* largest rate since the last probe */
    unsigned flat;                 /* rounds since the rate last grew by a quarter */

    uint64_t rtt;        /* us, least average of a round since the last probe; UINT64_MAX: none */
    uint64_t rtt_time;   /* when it was last confirmed */
    uint64_t probe_time; /* when the last probe ended; 0: none yet */
    gr_pace_phase phase;
    uint64_t target; /* bytes, while a probe runs */

    uint64_t round_time;     /* when the round began */
    uint64_t round_acked;    /* value of `acked` then */
    uint64_t round_from;     /* only what left after this position tells the round trip */
    uint64_t round_end;      /* position that ends it; UINT64_MAX until its first report */
    gr_pace_mark round_mark; /* value of `newest` then */
    uint64_t rtt_sum;        /* us, of the samples of this round */
    uint64_t rtt_count;
    int full; /* whether the limit was reached in this round */

    gr_pace_mark marks[GR_PACE_MARKS]; /* ring, oldest at marks_at */
    size_t marks_at;
    size_t marks_count;
    gr_pace_mark newest; /* newest that is consumed */
} gr_pace;

/* ack: bytes after which the receiver reports. */
void gr_pace_init(gr_pace *p, uint64_t ack);

/* More bytes of large messages have left the lane. May go beyond the room by a fragment. */
void gr_pace_sent(gr_pace *p, uint64_t bytes, uint64_t now_us);

/*
 * The receiver has consumed `total` bytes ever. GR_EPROTO, and nothing changes, when it cannot: it
 * is more than was sent, or less than before.
 */
int gr_pace_acked(gr_pace *p, uint64_t total, uint64_t now_us);

/*
 * The lane has become empty. To be told each time: else the time until the next message counts as
 * slowness of the path. Ends with the next gr_pace_sent.
 */
void gr_pace_idle(gr_pace *p);

/* Bytes that may leave now; 0: wait for a report. A whole fragment may leave when it is not 0. */
size_t gr_pace_room(const gr_pace *p);

/* Bytes that may be under way. */
uint64_t gr_pace_limit(const gr_pace *p);

#endif
