/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of a session, shared by gr_session.c (life and output), gr_session_in.c (input) and
 * gr_session_time.c (times).
 */
#ifndef GR_SESSION_IMPL_H
#define GR_SESSION_IMPL_H

#include "gr_deflate.h"
#include "gr_deflate_advice.h"
#include "gr_inbox.h"
#include "gr_lanes.h"
#include "gr_late.h"
#include "gr_reader.h"
#include "gr_session.h"

/* Who waits for room waits for that of one of these. */
typedef enum { GR_ROOM_SMALL, GR_ROOM_CALL, GR_ROOM_CAST, GR_ROOM_ORDERED, GR_ROOMS } gr_room;

/* Positions of calls that are not on the small lane, and of submitters who wait. */
#define GR_POSITION_LANES GR_FOREVER
#define GR_POSITION_NONE (GR_FOREVER - 1)

struct gr_session {
    const gr_mem *mem;
    const gr_blob_ops *blobs;
    gr_role role;
    int failed;    /* fatal code that ended it; GR_OK: none */
    gr_auth *auth; /* NULL once the peer is authentic */
    gr_peer peer;
    gr_reader in;
    gr_inbox inbox;   /* server: what cannot be delivered yet */
    gr_inbox ordered; /* likewise, of what is ordered */
    gr_lanes lanes;
    gr_calls calls; /* client: wait for replies; server: requests not yet replied to */
    gr_calls waiters[GR_ROOMS];
    uint64_t woken[GR_ROOMS]; /* room kept for those who may try again, bytes or calls */
    size_t below;             /* bytes consumed but not written */
    int eof;                  /* the code for it if it is not expected; GR_OK: not yet */
    gr_hold hold;             /* which requests and casts are not delivered */
    uint64_t held_since;      /* the first one of them; GR_FOREVER: there is none */
    uint64_t hold_pause;
    int bye_wanted; /* nothing new is taken from this side */
    int bye_sent;
    int bye_seen;
    int end_told;
    int idle_due;  /* GR_EV_IDLE waits to be taken */
    int idle_told; /* and was; no other before there is traffic */
    uint64_t max_message;
    uint64_t output_limit;
    uint64_t auth_deadline;
    uint64_t close_deadline;
    uint64_t send_timeout;
    uint64_t keepalive_interval;
    uint64_t idle_timeout;
    int (*alive)(void *ctx, uintptr_t caller);
    void *alive_ctx;
    uint64_t now;
    uint64_t heard;    /* last byte from the peer */
    uint64_t progress; /* last byte that the socket took, or first one queued after none */
    uint64_t moved;    /* last time that something left a lane, or was put on an empty one */
    int pinging;       /* a ping waits for a sign of life */
    uint64_t ping_end; /* bytes ever queued with it; it has left when as many were written */
    uint64_t pinged;   /* when it left */
    uint64_t active;   /* last request, cast or reply, or part of one written */
    uint64_t work_end; /* bytes ever queued with the last of them */
    uint64_t swept;    /* last search for dead callers */
    gr_late lateness;  /* server: of requests */
    /* Bytes of the peer's lanes, ever: arrived, used, and what the peer has been told of that. */
    uint64_t small_in, small_used, small_told;
    uint64_t large_told; /* arrived: in.large_in, which is used at once */
    uint64_t ordered_in, ordered_taken, ordered_told;
    /* Compression. */
    int level;
    int with_context;
    size_t compress_min;
    gr_deflate *deflate; /* NULL: not made yet */
    uint8_t *scratch;    /* for what comes out of it; likewise */
    gr_deflate_advice advice;
    /* Counters, see gr_session_stats. */
    uint64_t deflate_in, deflate_out;
    uint64_t bytes_in, frames_in, frames_out;
    uint64_t late, too_late, cancels_in, cancels_out, aborted_in, blocked, blocked_ms;
};

static inline uint64_t gr_later(uint64_t t, uint64_t delay)
{
    return t > GR_FOREVER - delay ? GR_FOREVER : t + delay;
}

static inline uint64_t gr_min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t gr_max64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* When what has arrived is looked at again, if something is held back. */
static inline uint64_t gr_session_pause_end(const gr_session *s)
{
    return gr_later(s->held_since, s->hold_pause);
}

/* Remembers a fatal code; returns rc. */
int gr_session_fail(gr_session *s, int rc);

/* Whether all that was submitted has been written. */
int gr_session_is_written(const gr_session *s);

/* Queues a control frame in front of all that has not begun to leave. */
int gr_session_put_control(gr_session *s, gr_frame_type type, unsigned slot, uint64_t id);

/* Begins to say goodbye: as soon as all that was submitted before has left its lane. */
int gr_session_say_bye(gr_session *s);

/* There is traffic: what is queued by now belongs to it. */
void gr_session_touch(gr_session *s);

/* Takes back a call whose caller is gone: the server is told, if it can know of it. */
int gr_session_tell_cancel(gr_session *s, const gr_call *c);

/* Gives up what is on the large or the ordered lane, as gr_lanes_cancel. */
int gr_session_give_up(gr_session *s, uint64_t id);

/* A submitter who may try again now, taken out; or NULL. */
gr_call *gr_session_ready_waiter(gr_session *s);

/* Nothing is under way in either direction. */
int gr_session_is_idle(const gr_session *s);

size_t gr_session_waiting(const gr_session *s);

#endif
