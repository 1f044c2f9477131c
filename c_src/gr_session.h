/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection as a pure state machine: bytes in, bytes and events out. Two sessions whose
 * outputs are fed to each other do everything that two nodes do. Not thread-safe; one owner.
 *
 *   fill:   gr_session_space, read, gr_session_filled; then gr_session_event until GR_NONE
 *   submit: gr_session_call, _cast, _reply
 *   drain:  gr_session_peek, write, gr_session_consume
 *   time:   gr_session_clock before anything else; gr_session_tick when gr_session_due has come
 *   work:   gr_session_turn before fill and drain: it allows some computing (compression). When
 *           gr_session_more says so there is some left for the next turn
 */
#ifndef GR_SESSION_H
#define GR_SESSION_H

#include "gr_auth.h"
#include "gr_base.h"
#include "gr_calls.h"

typedef struct gr_session gr_session;

/* A fragment of the least size still has a page of content; one of the largest has GR_FRAGMENT_MAX. */
#define GR_SESSION_FRAME_MIN ((size_t)4096)
#define GR_SESSION_FRAME_MAX ((size_t)64 * 1024)

/* Which lane a message takes: by its size, or in the order of submission. */
typedef enum { GR_UNORDERED, GR_ORDERED, GR_BROADCAST } gr_order;

/* Ordered messages are run one after the other, and so need no place among those that run at once. */
typedef enum { GR_HOLD_NONE, GR_HOLD_ALL, GR_HOLD_UNORDERED } gr_hold;

typedef struct gr_session_config {
    gr_auth_config auth;   /* auth.max_message: at most GR_MESSAGE_MAX */
    uint64_t output_limit; /* bytes queued on a lane from which on submitters get GR_EBUSY */
    size_t frame_max;      /* bytes of a fragment with its head: FRAME_MIN to FRAME_MAX */
    uint64_t read_max;     /* bytes of the input buffer, see gr_reader_bound */
    int compress;          /* level, 1 to 9; 0: nothing is compressed */
    int compress_context;  /* small messages refer to those before them */
    size_t compress_min;   /* bytes of the smallest message that is compressed */
    int (*alive)(void *ctx, uintptr_t caller); /* whether a caller is; NULL: all are */
    void *alive_ctx;
    uint64_t auth_timeout;       /* ms for the whole handshake; all times may be GR_FOREVER */
    uint64_t send_timeout;       /* ms without progress while output is queued */
    uint64_t keepalive_interval; /* ms of silence before a ping, and then to its answer */
    uint64_t idle_timeout;       /* ms without calls, casts and replies until GR_EV_IDLE */
    uint64_t hold_pause;         /* ms, see gr_session_is_paused; 0: never */
    uint64_t now;                /* ms */
} gr_session_config;

/* Who submits, and how to tell him about it later. */
typedef struct gr_submit {
    uint64_t id; /* of the call; of a cast: any that no other waiting submitter has */
    uint64_t
        deadline; /* ms; the server is told, and does not start a call too late; GR_FOREVER: none */
    gr_order order;
    int cast;           /* whether it is a cast that is to be admitted */
    uintptr_t caller;   /* comes back in gr_call */
    const uint8_t *tag; /* comes back in gr_call; copied */
    size_t tag_size;
} gr_submit;

typedef enum {
    GR_EV_NONE,
    GR_EV_UP,      /* the peer is authentic: gr_session_peer */
    GR_EV_REQUEST, /* id; order; data/blob */
    GR_EV_CAST,    /* order; data/blob */
    GR_EV_CANCEL,  /* id: of a request that was delivered; nobody waits for its reply any more */
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
    gr_order order;
    gr_call *call;       /* the receiver's to gr_session_free_call */
    const uint8_t *data; /* valid until the next gr_session_space, or as long as the blob */
    size_t size;
    gr_blob blob; /* with an owner: holds data; the reference is the receiver's */
    uint64_t too_big_size;
    uint64_t too_big_limit;
} gr_event;

typedef struct gr_session_stats {
    size_t calls;         /* client: calls that wait for a reply */
    size_t served;        /* server: requests not yet replied to */
    size_t waiting;       /* submitters that wait for room */
    uint64_t output;      /* bytes queued, on all lanes */
    uint64_t bytes_in;    /* ever */
    uint64_t bytes_out;   /* ever written */
    uint64_t frames_in;   /* ever, pings included */
    uint64_t frames_out;  /* ever queued, pings included */
    uint64_t late;        /* replies without a call: its caller timed out */
    uint64_t held;        /* bytes of requests and casts that cannot be delivered at the moment */
    uint64_t too_late;    /* requests that were not delivered, because their time was up */
    uint64_t cancels_in;  /* requests whose callers gave up, as told by the peer */
    uint64_t cancels_out; /* and by us */
    uint64_t aborted;     /* messages in fragments that their sender gave up, both ways */
    uint64_t blocked;     /* times that a submitter was told to wait */
    uint64_t blocked_ms;  /* for how long, those that were woken, all together */
    uint64_t deflate_in;  /* bytes before compression of what was sent compressed */
    uint64_t deflate_out; /* and after it */
    uint64_t read_max;    /* bytes that the input buffer may grow to */
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

/*
 * Which requests and casts are held back for now. What arrives meanwhile is kept, as much as the peer
 * was allowed to send; everything else goes on. To be set before each gr_session_event.
 */
void gr_session_hold(gr_session *s, gr_hold what);

/* Whether something is held back. */
int gr_session_is_holding(const gr_session *s);

/*
 * Whether what has arrived is not even looked at, and nothing more should be read: so it is from the
 * first request that is held back for hold_pause, because usually that can be delivered before, and
 * needs not be kept. Not longer, because cancels and the like wait as well.
 */
int gr_session_is_paused(const gr_session *s);

/* Whether so many replies wait that no new requests should be delivered. */
int gr_session_is_congested(const gr_session *s);

/* So many ordered messages, with so many bytes of content, have been taken up by what runs them. */
void gr_session_taken(gr_session *s, uint32_t messages, uint64_t bytes);

/* A callback begins: the time in us, and a new allowance of computing. */
void gr_session_turn(gr_session *s, uint64_t now_us);

/* Whether there is computing left to be done, in the next turn, though nothing more arrives. */
int gr_session_more(gr_session *s);

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
int gr_session_cast(gr_session *s, gr_order order, const gr_piece *pieces, size_t count);
int gr_session_reply(gr_session *s, uint64_t id, const gr_piece *pieces, size_t count);

/*
 * Forgets a call or a waiting submitter: GR_OK, or GR_ENOENT if it has been answered. The server is
 * told, or the request is not sent at all. Also legal after a fatal code.
 */
int gr_session_cancel(gr_session *s, uint64_t id);

/* Oldest output, at most max stretches. Legal once after a fatal handshake error: the refusal. */
size_t gr_session_peek(gr_session *s, gr_iov *iov, size_t max);
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

/* When to call gr_session_tick, and take events, next, ms; GR_FOREVER: no time is running. */
uint64_t gr_session_due(const gr_session *s);

/* After a fatal error or before freeing: a submitter that is still owed an answer, or NULL. */
gr_call *gr_session_take(gr_session *s);

/* Whether a part of that call's frame may have left. */
int gr_session_was_sent(const gr_session *s, const gr_call *c);

void gr_session_free_call(gr_session *s, gr_call *c);

int gr_session_is_up(const gr_session *s);
const gr_peer *gr_session_peer(const gr_session *s);

/* Whether there is something to write, and at least how many bytes. */
size_t gr_session_output(const gr_session *s);

/* Client: calls that wait for their replies. Server: requests not yet replied to. */
size_t gr_session_calls(const gr_session *s);

/* Frames that have arrived, ever. */
uint64_t gr_session_frames_in(const gr_session *s);

/* Largest body that both sides accept, bytes. */
uint64_t gr_session_limit(const gr_session *s);

void gr_session_stats_get(const gr_session *s, gr_session_stats *out);

#endif
