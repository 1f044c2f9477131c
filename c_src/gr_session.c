/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Session: handshake, then frames, call table, timers and graceful close. What can hurt: after a
 * failed allocation in the middle of a frame the output is not a frame stream any more, so
 * GR_ENOMEM is fatal wherever it comes from.
 */
#include "gr_session.h"

#include <string.h>

#include "gr_frame.h"
#include "gr_outq.h"
#include "gr_reader.h"
#include "gr_wire.h"

/* How often open calls are searched for dead callers, ms, and how many are looked at each time. */
#define SWEEP_INTERVAL 1000u
#define SWEEP_BUDGET ((size_t)2000)

/* A live caller cancels at its deadline; only then is the call known to have no caller. */
#define DEADLINE_GRACE 1000u

struct gr_session {
    const gr_mem *mem;
    const gr_blob_ops *blobs;
    gr_role role;
    int failed;    /* fatal code that ended it; GR_OK: none */
    gr_auth *auth; /* NULL once the peer is authentic */
    gr_peer peer;
    gr_reader in;
    gr_outq out;
    gr_calls calls;   /* client: wait for replies; server: requests being served */
    gr_calls waiters; /* wait for room in the output */
    size_t below;     /* bytes consumed but not written */
    int eof;          /* the code for it if it is not expected; GR_OK: not yet */
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
    uint64_t now;
    uint64_t heard;    /* last byte from the peer */
    uint64_t progress; /* last byte that the socket took, or first one queued after none */
    int pinging;       /* a ping waits for a sign of life */
    uint64_t ping_end; /* bytes ever queued with it; it has left when as many were written */
    uint64_t pinged;   /* when it left */
    int reading;       /* whether bytes from the peer would be taken at all */
    uint64_t active;   /* last request, cast or reply, or part of one written */
    uint64_t work_end; /* bytes ever queued with the last of them */
    uint64_t swept;    /* last search for dead callers */
    uint64_t bytes_in;
    uint64_t frames_in;
    uint64_t frames_out;
    uint64_t late;
};

static uint64_t later(uint64_t t, uint64_t delay)
{
    return t > GR_FOREVER - delay ? GR_FOREVER : t + delay;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static int fail(gr_session *s, int rc)
{
    if (GR_IS_FATAL(rc) && s->failed == GR_OK)
        s->failed = rc;
    return rc;
}

int gr_session_new(gr_session **out, const gr_mem *mem, const gr_blob_ops *blobs,
                   const gr_session_config *cfg)
{
    *out = NULL;
    if (cfg->auth.max_message > GR_FRAME_BODY_MAX)
        return GR_ESTATE;
    gr_session *s = gr_alloc(mem, sizeof *s);
    if (!s)
        return GR_ENOMEM;
    memset(s, 0, sizeof *s);
    s->mem = mem;
    s->blobs = blobs;
    s->role = cfg->auth.role;
    s->max_message = cfg->auth.max_message;
    s->output_limit = cfg->output_limit;
    s->send_timeout = cfg->send_timeout;
    s->keepalive_interval = cfg->keepalive_interval;
    s->idle_timeout = cfg->idle_timeout;
    s->now = s->heard = s->progress = s->active = s->swept = cfg->now;
    s->reading = 1;
    s->auth_deadline = later(cfg->now, cfg->auth_timeout);
    s->close_deadline = GR_FOREVER;
    gr_reader_init(&s->in, mem, blobs, s->role == GR_CLIENT, s->max_message);
    gr_outq_init(&s->out, mem, blobs);
    gr_calls_init(&s->calls, mem);
    gr_calls_init(&s->waiters, mem);
    int rc = gr_auth_new(&s->auth, mem, &cfg->auth, &s->out);
    if (rc != GR_OK) {
        gr_session_free(s);
        return rc;
    }
    *out = s;
    return GR_OK;
}

void gr_session_free(gr_session *s)
{
    if (!s)
        return;
    gr_auth_free(s->auth);
    gr_reader_clear(&s->in);
    gr_outq_clear(&s->out);
    gr_calls_clear(&s->calls);
    gr_calls_clear(&s->waiters);
    gr_free(s->mem, s);
}

void gr_session_clock(gr_session *s, uint64_t now)
{
    s->now = now;
}

/* ---- output ---- */

static int is_written(const gr_session *s)
{
    return !s->out.size && !s->below;
}

static int put_frame(gr_session *s, gr_frame_type type, uint64_t id, const gr_piece *pieces,
                     size_t count, uint64_t size)
{
    gr_frame f = {type, (uint32_t)size, id};
    uint8_t head[GR_FRAME_HEAD];
    gr_frame_write(head, &f);
    if (is_written(s))
        s->progress = s->now;
    s->frames_out++;
    return fail(s, gr_outq_put(&s->out, head, sizeof head, pieces, count));
}

static int put_empty(gr_session *s, gr_frame_type type)
{
    return put_frame(s, type, 0, NULL, 0, 0);
}

static int say_bye(gr_session *s)
{
    if (s->bye_sent)
        return GR_OK;
    s->bye_sent = 1;
    return put_empty(s, GR_FRAME_BYE);
}

/* There is traffic: what is queued by now belongs to it. */
static void touch(gr_session *s)
{
    s->active = s->now;
    s->work_end = s->out.in;
    s->idle_due = s->idle_told = 0;
}

static uint64_t total_size(const gr_piece *pieces, size_t count)
{
    uint64_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += pieces[i].size;
    return n;
}

uint64_t gr_session_limit(const gr_session *s)
{
    return min64(s->max_message, s->peer.max_message);
}

/* Whether the session takes such a message at all. A reply is always taken, if only as TOOBIG. */
static int check(const gr_session *s, gr_role role, uint64_t size)
{
    if (s->failed != GR_OK)
        return s->failed;
    if (s->role != role || s->auth)
        return GR_ESTATE;
    if (role == GR_SERVER)
        return GR_OK;
    if (s->bye_sent || s->bye_seen)
        return GR_ECLOSING;
    return size > gr_session_limit(s) ? GR_ETOOBIG : GR_OK;
}

/* Submitters wake when half of the limit is free again, so that they don't wake for every write. */
static int may_wake(const gr_session *s)
{
    return s->out.size <= s->output_limit / 2;
}

/* Nobody overtakes those who wait. */
static int has_room(const gr_session *s)
{
    return may_wake(s) || (s->out.size < s->output_limit && !s->waiters.count);
}

int gr_session_admit(gr_session *s, const gr_submit *who, uint64_t size)
{
    int rc = check(s, s->role, size);
    if (rc != GR_OK)
        return rc;
    if (has_room(s))
        return GR_OK;
    if (!who->tag_size)
        return GR_EBUSY;
    gr_call *w;
    rc = gr_calls_put(&s->waiters, who->id, who->caller, who->tag, who->tag_size, &w);
    if (rc != GR_OK)
        return fail(s, rc);
    w->deadline = later(who->deadline, DEADLINE_GRACE);
    w->position = GR_FOREVER;
    return GR_EBUSY;
}

int gr_session_call(gr_session *s, const gr_submit *who, const gr_piece *pieces, size_t count)
{
    uint64_t size = total_size(pieces, count);
    int rc = check(s, GR_CLIENT, size);
    if (rc != GR_OK)
        return rc;
    gr_call *c;
    rc = gr_calls_put(&s->calls, who->id, who->caller, who->tag, who->tag_size, &c);
    if (rc != GR_OK)
        return fail(s, rc);
    c->deadline = later(who->deadline, DEADLINE_GRACE);
    c->position = s->out.in;
    rc = put_frame(s, GR_FRAME_REQUEST, who->id, pieces, count, size);
    touch(s);
    /* Whoever is told so now must not be handed back by gr_session_take, too. */
    if (rc != GR_OK)
        gr_call_free(&s->calls, gr_calls_take(&s->calls, who->id));
    return rc;
}

int gr_session_cast(gr_session *s, const gr_piece *pieces, size_t count)
{
    uint64_t size = total_size(pieces, count);
    int rc = check(s, GR_CLIENT, size);
    if (rc != GR_OK)
        return rc;
    rc = put_frame(s, GR_FRAME_CAST, 0, pieces, count, size);
    touch(s);
    return rc;
}

static int put_too_big(gr_session *s, uint64_t id, uint64_t size, uint64_t limit)
{
    uint8_t body[GR_TOOBIG_BODY];
    gr_put64(body, size);
    gr_put64(body + 8, limit);
    gr_piece p = {body, sizeof body, NULL};
    int rc = put_frame(s, GR_FRAME_TOOBIG, id, &p, 1, sizeof body);
    return rc == GR_OK ? GR_ETOOBIG : rc;
}

int gr_session_reply(gr_session *s, uint64_t id, const gr_piece *pieces, size_t count)
{
    uint64_t size = total_size(pieces, count);
    int rc = check(s, GR_SERVER, size);
    if (rc != GR_OK)
        return rc;
    gr_call *c = gr_calls_take(&s->calls, id);
    if (!c)
        return GR_ENOENT;
    gr_call_free(&s->calls, c);
    uint64_t limit = gr_session_limit(s);
    rc = size > limit ? put_too_big(s, id, size, limit)
                      : put_frame(s, GR_FRAME_REPLY, id, pieces, count, size);
    touch(s);
    return rc;
}

int gr_session_cancel(gr_session *s, uint64_t id)
{
    gr_calls *t = &s->waiters;
    gr_call *c = gr_calls_take(t, id);
    if (!c && s->role == GR_CLIENT) {
        t = &s->calls;
        c = gr_calls_take(t, id);
    }
    if (!c)
        return GR_ENOENT;
    gr_call_free(t, c);
    return GR_OK;
}

size_t gr_session_peek(const gr_session *s, gr_iov *iov, size_t max)
{
    return gr_outq_peek(&s->out, iov, max);
}

void gr_session_consume(gr_session *s, size_t n)
{
    if (!n)
        return;
    if (s->out.out < s->work_end)
        s->active = s->now;
    gr_outq_consume(&s->out, n);
    s->progress = s->now;
    if (s->pinging && s->pinged == GR_FOREVER && s->out.out >= s->ping_end)
        s->pinged = s->now;
}

void gr_session_below(gr_session *s, size_t n)
{
    if (n < s->below)
        s->progress = s->now;
    s->below = n;
}

/* ---- input ---- */

int gr_session_space(gr_session *s, gr_iov iov[2], size_t *count)
{
    return fail(s, gr_reader_space(&s->in, iov, count));
}

void gr_session_filled(gr_session *s, size_t n)
{
    gr_reader_filled(&s->in, n);
    s->bytes_in += n;
    s->heard = s->now;
    s->pinging = 0;
}

void gr_session_reading(gr_session *s, int on)
{
    if (on && !s->reading)
        s->heard = s->now;
    s->reading = on;
}

void gr_session_eof(gr_session *s, int rc)
{
    s->eof = rc;
}

static int handshake(gr_session *s, gr_event *ev)
{
    gr_iov raw = gr_reader_raw(&s->in);
    size_t used;
    if (is_written(s))
        s->progress = s->now;
    int rc = gr_auth_feed(s->auth, raw.data, raw.size, &used, &s->out, &s->peer);
    gr_reader_skip(&s->in, used);
    if (rc != GR_OK)
        return rc;
    gr_auth_free(s->auth);
    s->auth = NULL;
    s->active = s->now;
    ev->type = GR_EV_UP;
    return GR_OK;
}

static void body_event(const gr_input *in, gr_event *ev, gr_event_type type)
{
    ev->type = type;
    ev->id = in->frame.id;
    ev->data = in->data;
    ev->size = in->frame.size;
    ev->blob = in->blob;
}

static void drop_body(gr_session *s, const gr_input *in)
{
    if (in->blob.owner)
        s->blobs->unref(s->blobs->ctx, in->blob.owner);
}

/* A request behind a goodbye, or with the id of one being served, breaks the protocol. */
static int on_request(gr_session *s, const gr_input *in, gr_event *ev)
{
    gr_call *c;
    int rc = s->bye_seen ? GR_EPROTO : GR_OK;
    if (rc == GR_OK && in->frame.type == GR_FRAME_REQUEST)
        rc = gr_calls_put(&s->calls, in->frame.id, 0, NULL, 0, &c);
    if (rc != GR_OK) {
        drop_body(s, in);
        return rc == GR_ENOMEM ? rc : GR_EPROTO;
    }
    touch(s);
    body_event(in, ev, in->frame.type == GR_FRAME_REQUEST ? GR_EV_REQUEST : GR_EV_CAST);
    return GR_OK;
}

static int on_reply(gr_session *s, const gr_input *in, gr_event *ev)
{
    gr_call *c = gr_calls_take(&s->calls, in->frame.id);
    touch(s);
    if (!c) {
        s->late++;
        drop_body(s, in);
        return GR_NONE;
    }
    body_event(in, ev, in->frame.type == GR_FRAME_REPLY ? GR_EV_REPLY : GR_EV_TOOBIG);
    if (ev->type == GR_EV_TOOBIG) {
        ev->too_big_size = gr_get64(in->data);
        ev->too_big_limit = gr_get64(in->data + 8);
    }
    ev->call = c;
    return GR_OK;
}

static int on_bye(gr_session *s, gr_event *ev)
{
    if (s->bye_seen)
        return GR_EPROTO;
    s->bye_seen = 1;
    int rc = s->role == GR_CLIENT ? say_bye(s) : GR_OK;
    ev->type = GR_EV_BYE;
    return rc;
}

/* GR_NONE: the frame was dealt with and there is nothing to report. */
static int on_frame(gr_session *s, const gr_input *in, gr_event *ev)
{
    int rc;
    s->frames_in++;
    switch (in->frame.type) {
    case GR_FRAME_REQUEST:
    case GR_FRAME_CAST:
        return on_request(s, in, ev);
    case GR_FRAME_REPLY:
    case GR_FRAME_TOOBIG:
        return on_reply(s, in, ev);
    case GR_FRAME_PING:
        /* Over the limit what is queued is sign enough of life, and a flood of pings adds nothing. */
        rc = s->out.size < s->output_limit ? put_empty(s, GR_FRAME_PONG) : GR_OK;
        return rc == GR_OK ? GR_NONE : rc;
    case GR_FRAME_BYE:
        return on_bye(s, ev);
    default:
        return GR_NONE;
    }
}

static gr_call *ready_waiter(gr_session *s)
{
    return may_wake(s) ? gr_calls_take_oldest(&s->waiters) : NULL;
}

static int at_eof(gr_session *s, gr_event *ev)
{
    if (gr_reader_in_frame(&s->in))
        return s->eof == GR_EEOF ? GR_EEOFFRAME : s->eof;
    if (s->auth || !(s->bye_sent || s->bye_seen) || s->calls.count)
        return s->eof;
    s->end_told = 1;
    ev->type = GR_EV_END;
    return GR_OK;
}

/* A server that has said and heard goodbye and owes nothing closes; the client waits for that. */
static int server_done(const gr_session *s)
{
    return s->role == GR_SERVER && s->bye_seen && !s->calls.count;
}

static int next_event(gr_session *s, gr_event *ev)
{
    if (s->auth) {
        int rc = handshake(s, ev);
        if (rc != GR_NONE)
            return rc;
        return s->eof != GR_OK ? s->eof : GR_NONE;
    }
    ev->call = ready_waiter(s);
    if (ev->call) {
        ev->type = GR_EV_READY;
        return GR_OK;
    }
    gr_input in;
    int rc;
    while ((rc = gr_reader_next(&s->in, &in)) == GR_OK) {
        rc = on_frame(s, &in, ev);
        if (rc != GR_NONE)
            return rc;
    }
    if (rc != GR_NONE || s->end_told)
        return rc;
    if (server_done(s)) {
        rc = say_bye(s);
        if (rc != GR_OK || !is_written(s))
            return rc == GR_OK ? GR_NONE : rc;
        s->end_told = 1;
        ev->type = GR_EV_END;
        return GR_OK;
    }
    if (s->eof != GR_OK)
        return at_eof(s, ev);
    if (s->idle_due) {
        s->idle_due = 0;
        ev->type = GR_EV_IDLE;
        return GR_OK;
    }
    return GR_NONE;
}

int gr_session_event(gr_session *s, gr_event *ev)
{
    if (s->failed != GR_OK)
        return s->failed;
    ev->call = NULL;
    ev->blob.owner = NULL;
    return fail(s, next_event(s, ev));
}

/* ---- close and time ---- */

static int is_idle(const gr_session *s)
{
    return !s->auth && !s->calls.count && !s->waiters.count && is_written(s) &&
           !gr_reader_in_frame(&s->in);
}

int gr_session_close(gr_session *s, uint64_t linger, int only_idle)
{
    if (s->failed != GR_OK)
        return s->failed;
    if (s->auth)
        return GR_ESTATE;
    if (only_idle && !is_idle(s))
        return GR_EBUSY;
    s->close_deadline = min64(s->close_deadline, later(s->now, linger));
    return say_bye(s);
}

/*
 * A ping is due after an interval without a word, and its answer an interval after it has left: it
 * may wait behind a large message, and the time for that is send_timeout's. Whoever does not read
 * hears nothing, so then there is nothing to conclude.
 */
static uint64_t keepalive_due(const gr_session *s)
{
    if (!s->reading)
        return GR_FOREVER;
    return later(s->pinging ? s->pinged : s->heard, s->keepalive_interval);
}

static uint64_t stall_due(const gr_session *s)
{
    return is_written(s) ? GR_FOREVER : later(s->progress, s->send_timeout);
}

static uint64_t idle_due(const gr_session *s)
{
    if (s->idle_told || s->bye_sent || !is_idle(s))
        return GR_FOREVER;
    return later(s->active, s->idle_timeout);
}

static uint64_t sweep_due(const gr_session *s)
{
    int any = s->role == GR_CLIENT ? s->calls.count || s->waiters.count : s->waiters.count != 0;
    return any ? later(s->swept, SWEEP_INTERVAL) : GR_FOREVER;
}

uint64_t gr_session_due(const gr_session *s)
{
    if (s->failed != GR_OK)
        return GR_FOREVER;
    if (s->auth)
        return s->auth_deadline;
    uint64_t t = min64(s->close_deadline, keepalive_due(s));
    return min64(min64(t, stall_due(s)), min64(idle_due(s), sweep_due(s)));
}

static void sweep(gr_session *s, gr_calls *t)
{
    size_t budget = SWEEP_BUDGET;
    gr_call *c;
    while ((c = gr_calls_expire(t, s->now, &budget)) != NULL)
        gr_call_free(t, c);
}

static int keep_alive(gr_session *s)
{
    if (s->pinging)
        return GR_EKEEPALIVE;
    int rc = put_empty(s, GR_FRAME_PING);
    s->pinging = 1;
    s->ping_end = s->out.in;
    s->pinged = GR_FOREVER;
    return rc;
}

static int do_due(gr_session *s)
{
    uint64_t now = s->now;
    if (s->auth)
        return s->auth_deadline <= now ? GR_EAUTHTIME : GR_OK;
    if (s->close_deadline <= now)
        return GR_ECLOSETIME;
    if (stall_due(s) <= now)
        return GR_ESENDTIME;
    if (sweep_due(s) <= now) {
        if (s->role == GR_CLIENT)
            sweep(s, &s->calls);
        sweep(s, &s->waiters);
        s->swept = now;
    }
    if (idle_due(s) <= now)
        s->idle_due = s->idle_told = 1;
    return keepalive_due(s) <= now ? keep_alive(s) : GR_OK;
}

void gr_session_trim(gr_session *s)
{
    gr_outq_trim(&s->out);
    gr_reader_trim(&s->in);
}

int gr_session_tick(gr_session *s)
{
    return s->failed != GR_OK ? s->failed : fail(s, do_due(s));
}

/* ---- the end, and getters ---- */

gr_call *gr_session_take(gr_session *s)
{
    gr_call *c = gr_calls_take_oldest(&s->waiters);
    if (!c && s->role == GR_CLIENT)
        c = gr_calls_take_oldest(&s->calls);
    return c;
}

int gr_session_was_sent(const gr_session *s, const gr_call *c)
{
    return c->position < s->out.out;
}

void gr_session_free_call(gr_session *s, gr_call *c)
{
    gr_call_free(&s->calls, c);
}

int gr_session_is_up(const gr_session *s)
{
    return s->failed == GR_OK && !s->auth;
}

const gr_peer *gr_session_peer(const gr_session *s)
{
    return &s->peer;
}

size_t gr_session_output(const gr_session *s)
{
    return s->out.size;
}

void gr_session_stats_get(const gr_session *s, gr_session_stats *out)
{
    out->calls = s->role == GR_CLIENT ? s->calls.count : 0;
    out->served = s->role == GR_SERVER ? s->calls.count : 0;
    out->waiting = s->waiters.count;
    out->output = s->out.size;
    out->bytes_in = s->bytes_in;
    out->bytes_out = s->out.out;
    out->frames_in = s->frames_in;
    out->frames_out = s->frames_out;
    out->late = s->late;
}
