/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection as a pure state machine: bytes in, bytes and events out. Two sessions whose
 * outputs are fed to each other do everything that two nodes do. Not thread-safe; one owner.
 *
 *   fill:   gr_session_space, read, gr_session_filled; then gr_session_event until GR_NONE
 *   submit: gr_session_call, _cast, _reply
 *   drain:  gr_session_peek, write, gr_session_consume
 *   time:   gr_session_clock before anything else; gr_session_tick when gr_session_due has come
 */
#ifndef GR_SESSION_H
#define GR_SESSION_H

#include "gr_auth.h"
#include "gr_base.h"
#include "gr_calls.h"

typedef struct gr_session gr_session;

typedef struct gr_session_config {
    gr_auth_config auth;         /* auth.max_message: at most GR_FRAME_BODY_MAX */
    uint64_t output_limit;       /* bytes queued from which on submitters get GR_EBUSY */
    uint64_t auth_timeout;       /* ms for the whole handshake; all times may be GR_FOREVER */
    uint64_t send_timeout;       /* ms without progress while output is queued */
    uint64_t keepalive_interval; /* ms of silence before a ping, and then to its answer */
    uint64_t idle_timeout;       /* ms without calls, casts and replies until GR_EV_IDLE */
    uint64_t now;                /* ms */
} gr_session_config;

/* Who submits, and how to tell him about it later. */
typedef struct gr_submit {
    uint64_t id;        /* of the call; of a cast: any that no other waiting submitter has */
    uint64_t deadline;  /* ms; an open call behind it is dropped in time; GR_FOREVER: never */
    uintptr_t caller;   /* comes back in gr_call */
    const uint8_t *tag; /* comes back in gr_call; copied */
    size_t tag_size;
} gr_submit;

typedef enum {
    GR_EV_UP,      /* the peer is authentic: gr_session_peer */
    GR_EV_REQUEST, /* id; data/blob */
    GR_EV_CAST,    /* data/blob */
    GR_EV_REPLY,   /* call; data/blob */
    GR_EV_TOOBIG,  /* call; size, limit: the reply was too big to be sent */
    GR_EV_READY,   /* call: a submitter that got GR_EBUSY may try again */
    GR_EV_BYE,     /* the peer starts nothing new */
    GR_EV_IDLE,    /* idle_timeout has passed; once until there is traffic again */
    GR_EV_END      /* graceful close is complete */
} gr_event_type;

typedef struct gr_event {
    gr_event_type type;
    uint64_t id;
    gr_call *call;       /* the receiver's to gr_session_free_call */
    const uint8_t *data; /* valid until the next gr_session_space, or as long as the blob */
    size_t size;
    gr_blob blob; /* with an owner: holds data; the reference is the receiver's */
    uint64_t too_big_size;
    uint64_t too_big_limit;
} gr_event;

typedef struct gr_session_stats {
    size_t calls;        /* client: calls that wait for a reply */
    size_t served;       /* server: requests not yet replied to */
    size_t waiting;      /* submitters that wait for room */
    size_t output;       /* bytes queued */
    uint64_t bytes_in;   /* ever */
    uint64_t bytes_out;  /* ever written */
    uint64_t frames_in;  /* ever, pings included */
    uint64_t frames_out; /* ever queued, pings included */
    uint64_t late;       /* replies without a call: its caller timed out */
} gr_session_stats;

/*
 * Makes a session; the client's hello is then in its output. Borrows the vtables for its life and
 * the configuration until it returns. GR_ENOMEM, or GR_ESTATE for a configuration out of bounds.
 */
int gr_session_new(gr_session **s, const gr_mem *mem, const gr_blob_ops *blobs,
                   const gr_session_config *cfg);

/* Frees it and all that waits in it. Accepts NULL. */
void gr_session_free(gr_session *s);

/* Sets the time, ms, never going back. */
void gr_session_clock(gr_session *s, uint64_t now);

int gr_session_space(gr_session *s, gr_iov iov[2], size_t *count);
void gr_session_filled(gr_session *s, size_t n);

/* Whether what the peer sends is read at the moment. While it is not, silence means nothing. */
void gr_session_reading(gr_session *s, int on);

/*
 * The peer will send nothing more. What has arrived can still be taken as events. rc: what ends the
 * session if it does not expect this: GR_EEOF, or what the layer below knows better.
 */
void gr_session_eof(gr_session *s, int rc);

/* GR_OK and an event, GR_NONE, or a fatal code. */
int gr_session_event(gr_session *s, gr_event *ev);

/*
 * Whether a message of size bytes may be submitted now: GR_OK, GR_ETOOBIG, GR_ECLOSING, GR_EEXIST
 * (a submitter of that id waits already), or GR_EBUSY, after which GR_EV_READY or gr_session_take
 * returns the submitter; without a tag nobody is noted.
 */
int gr_session_admit(gr_session *s, const gr_submit *who, uint64_t size);

/*
 * Queue a message, whether or not the output is over its limit: gr_session_admit decides that.
 * GR_ETOOBIG, GR_ECLOSING and GR_EEXIST change nothing, except that a reply too big is replaced by
 * a frame that says so. After any other code than GR_OK nobody is owed an answer for this message.
 * Borrow pieces; take references of owners where it pays.
 */
int gr_session_call(gr_session *s, const gr_submit *who, const gr_piece *pieces, size_t count);
int gr_session_cast(gr_session *s, const gr_piece *pieces, size_t count);
int gr_session_reply(gr_session *s, uint64_t id, const gr_piece *pieces, size_t count);

/*
 * Forgets a call or a waiting submitter: GR_OK, or GR_ENOENT if it has been answered. Also legal
 * after a fatal code.
 */
int gr_session_cancel(gr_session *s, uint64_t id);

/* Oldest output, at most max stretches. Legal once after a fatal handshake error: the refusal. */
size_t gr_session_peek(const gr_session *s, gr_iov *iov, size_t max);
void gr_session_consume(gr_session *s, size_t n);

/*
 * How many bytes of what was consumed, in whatever form, have not been written yet: what a layer
 * below keeps. Until there are none the session does not end, and it watches that they get fewer.
 */
void gr_session_below(gr_session *s, size_t n);

/*
 * Begins a graceful close: says goodbye, takes no more submissions, lets open calls finish within
 * linger ms; then GR_EV_END. only_idle: GR_EBUSY, and no close, if anything is under way.
 */
int gr_session_close(gr_session *s, uint64_t linger, int only_idle);

/* Gives back empty buffers, kept so far for speed only. The data of events taken before is gone. */
void gr_session_trim(gr_session *s);

/* Does what is due. GR_OK or a fatal code. */
int gr_session_tick(gr_session *s);

/* When gr_session_tick is to be called next, ms; GR_FOREVER: no time is running. */
uint64_t gr_session_due(const gr_session *s);

/* After a fatal error or before freeing: a submitter that is still owed an answer, or NULL. */
gr_call *gr_session_take(gr_session *s);

/* Whether a part of that call's frame may have left. */
int gr_session_was_sent(const gr_session *s, const gr_call *c);

void gr_session_free_call(gr_session *s, gr_call *c);

int gr_session_is_up(const gr_session *s);
const gr_peer *gr_session_peer(const gr_session *s);
size_t gr_session_output(const gr_session *s);

/* Largest body that both sides accept, bytes. */
uint64_t gr_session_limit(const gr_session *s);

void gr_session_stats_get(const gr_session *s, gr_session_stats *out);

#endif
