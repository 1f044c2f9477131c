/* SPDX-License-Identifier: Apache-2.0 */
/* Session: what arrives. Everything here is the peer's: it can be wrong in every way. */
#include <string.h>

#include "gr_session_impl.h"
#include "gr_wire.h"

/* The peer hears of what was used when it is so much of the window, so it never stands still for it. */
#define TELL_SMALL (GR_SMALL_WINDOW / 4)
#define TELL_ORDERED (GR_ORDERED_WINDOW / 4)

/* A request is not too late for the resolution of two clocks, ms. */
#define LATE_SLACK 10u

/* Position of a request on the server. One that was given up in the inbox keeps its id until then. */
enum { HELD, DELIVERED, GIVEN_UP };

int gr_session_space(gr_session *s, gr_iov iov[2], size_t *count)
{
    return gr_session_fail(s, gr_reader_space(&s->in, iov, count));
}

void gr_session_filled(gr_session *s, size_t n)
{
    gr_reader_filled(&s->in, n);
    s->bytes_in += n;
    s->heard = s->now;
    s->pinging = 0;
}

void gr_session_hold(gr_session *s, gr_hold what)
{
    s->hold = what;
    if (what == GR_HOLD_NONE || !gr_session_is_holding(s))
        s->held_since = GR_FOREVER;
}

int gr_session_is_holding(const gr_session *s)
{
    return s->inbox.first || s->ordered.first;
}

int gr_session_is_paused(const gr_session *s)
{
    return s->held_since != GR_FOREVER && s->now < gr_session_pause_end(s);
}

void gr_session_taken(gr_session *s, uint32_t messages, uint64_t bytes)
{
    uint64_t left = s->ordered_in - s->ordered_taken;
    bytes = gr_later(bytes, messages * GR_FRAME_CHARGE);
    s->ordered_taken += bytes < left ? bytes : left;
}

void gr_session_eof(gr_session *s, int rc)
{
    s->eof = rc;
}

static int handshake(gr_session *s, gr_event *ev)
{
    gr_iov raw = gr_reader_raw(&s->in);
    size_t used;
    if (!s->lanes.out.size)
        s->progress = s->now;
    int rc = gr_auth_feed(s->auth, raw.data, raw.size, &used, &s->lanes.out, &s->peer);
    gr_reader_skip(&s->in, used);
    if (rc != GR_OK)
        return rc;
    gr_auth_free(s->auth);
    s->auth = NULL;
    s->active = s->moved = s->now;
    gr_lanes_open(&s->lanes, s->role == GR_CLIENT, s->peer.max_message);
    ev->type = GR_EV_UP;
    return GR_OK;
}

/* ---- windows ---- */

/* Counts what arrives on a lane. GR_EPROTO: the peer was not allowed to send it yet. */
static int count_in(gr_session *s, const gr_input *in)
{
    const gr_frame *f = &in->frame;
    if (f->flags & GR_FLAG_ORDERED) {
        if (s->ordered_in - s->ordered_told >= GR_ORDERED_WINDOW)
            return GR_EPROTO;
        s->ordered_in += f->size + GR_FRAME_CHARGE;
    } else if (!(f->flags & GR_FLAG_LARGE)) {
        s->small_in += in->charge;
        if (s->small_in - s->small_told > GR_SMALL_WINDOW)
            return GR_EPROTO;
    }
    return GR_OK;
}

static int tell_window(gr_session *s, gr_lane lane, uint64_t used, uint64_t *told, uint64_t step)
{
    if (used == *told || used - *told < step)
        return GR_OK;
    *told = used;
    return gr_session_put_control(s, GR_FRAME_WINDOW, lane, used);
}

/* When all that has arrived has been looked at: so there is one for a whole batch. */
static int tell_windows(gr_session *s)
{
    int rc = tell_window(s, GR_LANE_SMALL, s->small_used, &s->small_told, TELL_SMALL);
    if (rc == GR_OK)
        rc = tell_window(s, GR_LANE_LARGE, s->in.large_in, &s->large_told,
                         GR_PACE_ACK(s->in.fragment_max));
    if (rc == GR_OK)
        rc = tell_window(s, GR_LANE_ORDERED, s->ordered_taken, &s->ordered_told, TELL_ORDERED);
    return rc;
}

/* A message has been delivered or dropped: its room is free for another one. */
static int use(gr_session *s, const gr_input *in)
{
    const gr_frame *f = &in->frame;
    if (f->flags & GR_FLAG_LARGE) {
        gr_slots_release(&s->in.slots, f->slot);
        /* Whoever sends and does not read could make us queue these without end. */
        if (s->lanes.out.size / 2 > s->output_limit + 2 * s->lanes.frame_max)
            return GR_EPROTO;
        return gr_session_put_control(s, GR_FRAME_DONE, f->slot, 0);
    }
    if (!(f->flags & GR_FLAG_ORDERED) && s->role == GR_SERVER)
        s->small_used += in->charge;
    return GR_OK;
}

/* The event that it was to be will not be seen if that fails. */
static int use_or_drop(gr_session *s, const gr_input *in)
{
    int rc = use(s, in);
    if (rc != GR_OK && in->blob.owner)
        s->blobs->unref(s->blobs->ctx, in->blob.owner);
    return rc;
}

/* GR_NONE: nothing to report. */
static int drop(gr_session *s, const gr_input *in)
{
    if (in->blob.owner)
        s->blobs->unref(s->blobs->ctx, in->blob.owner);
    if (in->frame.flags & GR_FLAG_ORDERED)
        gr_session_taken(s, 1, in->frame.size);
    int rc = use(s, in);
    return rc == GR_OK ? GR_NONE : rc;
}

/* ---- requests and casts ---- */

static void body_event(const gr_input *in, gr_event *ev, gr_event_type type)
{
    const uint8_t flags = in->frame.flags;
    ev->type = type;
    ev->id = in->frame.id;
    ev->order = flags & GR_FLAG_BROADCAST ? GR_BROADCAST
                : flags & GR_FLAG_ORDERED ? GR_ORDERED
                                          : GR_UNORDERED;
    ev->data = in->data;
    ev->size = in->frame.size;
    ev->blob = in->blob;
}

/* The time in our own inbox says nothing of the way here, but counts. */
static int is_too_late(const gr_session *s, const gr_input *in)
{
    if (!(in->frame.flags & GR_FLAG_TIMED))
        return 0;
    return in->late + (s->now - in->arrived) > (uint64_t)in->frame.left + LATE_SLACK;
}

/* A request whose caller has given up meanwhile, or must have, is not started. */
static int deliver(gr_session *s, const gr_input *in, gr_event *ev)
{
    int is_request = in->frame.type == GR_FRAME_REQUEST;
    int late = is_too_late(s, in);
    gr_call *c = is_request ? gr_calls_find(&s->calls, in->frame.id) : NULL;
    if (c && (late || c->position == GIVEN_UP)) {
        s->too_late += c->position != GIVEN_UP;
        gr_call_free(&s->calls, gr_calls_take(&s->calls, c->id));
        return drop(s, in);
    }
    if (c)
        c->position = DELIVERED;
    body_event(in, ev, is_request ? GR_EV_REQUEST : GR_EV_CAST);
    return use_or_drop(s, in);
}

static gr_inbox *inbox_of(gr_session *s, const gr_input *in)
{
    return in->frame.flags & GR_FLAG_ORDERED ? &s->ordered : &s->inbox;
}

static int is_held(const gr_session *s, const gr_inbox *b)
{
    return s->hold == GR_HOLD_ALL || (s->hold == GR_HOLD_UNORDERED && b == &s->inbox);
}

/* A request behind a goodbye, or with the id of one being served, breaks the protocol. */
static int on_request(gr_session *s, gr_input *in, gr_event *ev)
{
    gr_call *c;
    in->arrived = s->now;
    if (in->frame.flags & GR_FLAG_TIMED)
        in->late = gr_late_of(&s->lateness, in->frame.stamp, s->now);
    int rc = s->bye_seen ? GR_EPROTO : count_in(s, in);
    if (rc == GR_OK && in->frame.type == GR_FRAME_REQUEST)
        rc = gr_calls_put(&s->calls, in->frame.id, 0, NULL, 0, &c);
    if (rc == GR_OK) {
        gr_session_touch(s);
        gr_inbox *b = inbox_of(s, in);
        if (!b->first && !is_held(s, b))
            return deliver(s, in, ev);
        rc = gr_inbox_put(b, in);
        if (rc == GR_OK) {
            s->held_since = gr_min64(s->held_since, s->now);
            return GR_NONE;
        }
    }
    if (in->blob.owner)
        s->blobs->unref(s->blobs->ctx, in->blob.owner);
    return rc == GR_ENOMEM ? rc : GR_EPROTO;
}

/* What has been answered is not in the table, but its answer may still be on its way. */
static int cancel_reply(gr_session *s, uint64_t id)
{
    int rc = gr_session_give_up(s, id);
    return rc == GR_ENOMEM ? rc : GR_NONE;
}

static int on_cancel(gr_session *s, const gr_input *in, gr_event *ev)
{
    s->small_in += in->charge;
    s->small_used += in->charge;
    gr_call *c = gr_calls_find(&s->calls, in->frame.id);
    if (!c)
        return cancel_reply(s, in->frame.id);
    s->cancels_in += c->position != GIVEN_UP;
    if (c->position != DELIVERED) {
        c->position = GIVEN_UP;
        return GR_NONE;
    }
    gr_call_free(&s->calls, gr_calls_take(&s->calls, c->id));
    ev->type = GR_EV_CANCEL;
    ev->id = in->frame.id;
    return GR_OK;
}

/* ---- the rest ---- */

static int on_reply(gr_session *s, const gr_input *in, gr_event *ev)
{
    gr_session_touch(s);
    if (!gr_calls_find(&s->calls, in->frame.id)) {
        s->late++;
        return drop(s, in);
    }
    int rc = use_or_drop(s, in);
    if (rc != GR_OK)
        return rc;
    body_event(in, ev, in->frame.type == GR_FRAME_REPLY ? GR_EV_REPLY : GR_EV_TOOBIG);
    if (ev->type == GR_EV_TOOBIG) {
        ev->too_big_size = gr_get64(in->data);
        ev->too_big_limit = gr_get64(in->data + 8);
    }
    ev->call = gr_calls_take(&s->calls, in->frame.id);
    return GR_OK;
}

static int on_bye(gr_session *s, gr_event *ev)
{
    if (s->bye_seen)
        return GR_EPROTO;
    s->bye_seen = 1;
    int rc = s->role == GR_CLIENT ? gr_session_say_bye(s) : GR_OK;
    ev->type = GR_EV_BYE;
    return rc;
}

/* Over the limit what is queued is sign enough of life, and a flood of pings adds nothing. */
static int on_ping(gr_session *s)
{
    if (s->lanes.out.size >= s->output_limit)
        return GR_NONE;
    int rc = gr_session_put_control(s, GR_FRAME_PONG, 0, 0);
    return rc == GR_OK ? GR_NONE : rc;
}

static int on_window(gr_session *s, const gr_frame *f)
{
    s->moved = s->now;
    int rc = f->type == GR_FRAME_DONE ? gr_lanes_done(&s->lanes, f->slot)
                                      : gr_lanes_window(&s->lanes, (gr_lane)f->slot, f->id);
    return rc == GR_OK ? GR_NONE : rc;
}

static int on_abort(gr_session *s, const gr_frame *f)
{
    int rc = gr_slots_abort(&s->in.slots, f->slot);
    s->aborted_in++;
    return rc == GR_OK ? GR_NONE : rc;
}

/* GR_NONE: the frame was dealt with and there is nothing to report. */
static int on_frame(gr_session *s, gr_input *in, gr_event *ev)
{
    s->frames_in++;
    switch (in->frame.type) {
    case GR_FRAME_REQUEST:
    case GR_FRAME_CAST:
        return on_request(s, in, ev);
    case GR_FRAME_REPLY:
    case GR_FRAME_TOOBIG:
        return on_reply(s, in, ev);
    case GR_FRAME_PING:
        return on_ping(s);
    case GR_FRAME_BYE:
        return on_bye(s, ev);
    case GR_FRAME_ABORT:
        return on_abort(s, &in->frame);
    case GR_FRAME_DONE:
    case GR_FRAME_WINDOW:
        return on_window(s, &in->frame);
    case GR_FRAME_CANCEL:
        return on_cancel(s, in, ev);
    default:
        return GR_NONE;
    }
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
    return s->role == GR_SERVER && s->bye_seen && !s->calls.count && !gr_session_is_holding(s) &&
           !gr_slots_any_open(&s->in.slots);
}

/* GR_NONE: nothing that is held can be delivered. */
static int next_held(gr_session *s, gr_event *ev)
{
    gr_inbox *const inboxes[] = {&s->ordered, &s->inbox};
    gr_input in;
    int rc = GR_NONE;
    for (size_t i = 0; i < 2; i++)
        while (rc == GR_NONE && !is_held(s, inboxes[i]) && gr_inbox_take(inboxes[i], &in))
            rc = deliver(s, &in, ev);
    return rc;
}

static int next_input(gr_session *s, gr_event *ev)
{
    gr_input in;
    int rc = next_held(s, ev);
    if (rc != GR_NONE)
        return rc;
    while (!gr_session_is_paused(s) && (rc = gr_reader_next(&s->in, &in)) == GR_OK) {
        rc = on_frame(s, &in, ev);
        if (rc != GR_NONE)
            return rc;
    }
    return rc == GR_NONE ? tell_windows(s) : rc;
}

static int next_event(gr_session *s, gr_event *ev)
{
    if (s->auth) {
        int rc = handshake(s, ev);
        if (rc != GR_NONE)
            return rc;
        return s->eof != GR_OK ? s->eof : GR_NONE;
    }
    ev->call = gr_session_ready_waiter(s);
    if (ev->call) {
        ev->type = GR_EV_READY;
        return GR_OK;
    }
    ev->type = GR_EV_NONE;
    int rc = next_input(s, ev);
    if (rc != GR_OK || ev->type != GR_EV_NONE)
        return rc;
    if (s->end_told || s->in.more || gr_session_is_paused(s))
        return GR_NONE;
    if (server_done(s)) {
        rc = gr_session_say_bye(s);
        if (rc != GR_OK || !gr_session_is_written(s))
            return rc == GR_OK ? GR_NONE : rc;
        s->end_told = 1;
        ev->type = GR_EV_END;
        return GR_OK;
    }
    /* Who has said goodbye still wants his casts to be run. */
    if (s->eof != GR_OK && !(s->bye_seen && gr_session_is_holding(s)))
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
    return gr_session_fail(s, next_event(s, ev));
}
