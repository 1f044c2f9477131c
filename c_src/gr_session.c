/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Session: life, submissions, output and graceful close. What can hurt: after a failed allocation in
 * the middle of a frame the output is not a frame stream any more, so GR_ENOMEM is fatal wherever it
 * comes from.
 */
#include "gr_session.h"

#include <string.h>

#include "gr_deflate_level.h"
#include "gr_session_impl.h"
#include "gr_wire.h"

/* Replies in fragments, bytes in all, beyond which no new requests are delivered; or one of any size. */
#define LARGE_REPLIES_MAX ((uint64_t)64 * 1024 * 1024)

/* Messages of a context are at most this long, so that one that grows by it still fits a small frame. */
#define CONTEXT_MAX ((size_t)8 * 1024)

int gr_session_fail(gr_session *s, int rc)
{
    if (GR_IS_FATAL(rc) && s->failed == GR_OK)
        s->failed = rc;
    return rc;
}

static int is_valid(const gr_session_config *cfg)
{
    return cfg->auth.max_message <= GR_MESSAGE_MAX && cfg->frame_max >= GR_SESSION_FRAME_MIN &&
           cfg->frame_max <= GR_SESSION_FRAME_MAX && cfg->compress >= 0 &&
           cfg->compress <= GR_DEFLATE_LEVEL_MAX;
}

static void configure(gr_session *s, const gr_session_config *cfg)
{
    s->role = cfg->auth.role;
    s->max_message = cfg->auth.max_message;
    s->output_limit = cfg->output_limit;
    s->send_timeout = cfg->send_timeout;
    s->keepalive_interval = cfg->keepalive_interval;
    s->idle_timeout = cfg->idle_timeout;
    s->hold_pause = cfg->hold_pause;
    s->held_since = GR_FOREVER;
    s->level = cfg->compress;
    s->with_context = cfg->compress_context;
    s->compress_min = cfg->compress_min;
    s->alive = cfg->alive;
    s->alive_ctx = cfg->alive_ctx;
    s->now = s->heard = s->progress = s->moved = s->active = s->swept = cfg->now;
    s->auth_deadline = gr_later(cfg->now, cfg->auth_timeout);
    s->close_deadline = GR_FOREVER;
}

int gr_session_new(gr_session **out, const gr_mem *mem, const gr_blob_ops *blobs,
                   const gr_session_config *cfg)
{
    *out = NULL;
    if (!is_valid(cfg))
        return GR_ESTATE;
    gr_session *s = gr_alloc(mem, sizeof *s);
    if (!s)
        return GR_ENOMEM;
    memset(s, 0, sizeof *s);
    s->mem = mem;
    s->blobs = blobs;
    configure(s, cfg);
    gr_reader_init(&s->in, mem, blobs, s->role == GR_CLIENT, s->max_message);
    gr_reader_bound(&s->in, cfg->read_max);
    gr_inbox_init(&s->inbox, mem, blobs);
    gr_inbox_init(&s->ordered, mem, blobs);
    gr_lanes_init(&s->lanes, mem, blobs, cfg->frame_max, cfg->compress);
    gr_calls_init(&s->calls, mem);
    for (int i = 0; i < GR_ROOMS; i++)
        gr_calls_init(&s->waiters[i], mem);
    int rc = gr_auth_new(&s->auth, mem, &cfg->auth, &s->lanes.out);
    if (rc != GR_OK) {
        gr_session_free(s);
        return rc;
    }
    *out = s;
    return GR_OK;
}

static void free_scratch(gr_session *s)
{
    gr_free(s->mem, s->scratch);
    s->scratch = NULL;
}

void gr_session_free(gr_session *s)
{
    if (!s)
        return;
    gr_auth_free(s->auth);
    gr_reader_clear(&s->in);
    gr_inbox_clear(&s->inbox);
    gr_inbox_clear(&s->ordered);
    gr_lanes_clear(&s->lanes);
    gr_calls_clear(&s->calls);
    for (int i = 0; i < GR_ROOMS; i++)
        gr_calls_clear(&s->waiters[i]);
    gr_deflate_free(s->deflate);
    free_scratch(s);
    gr_free(s->mem, s);
}

void gr_session_clock(gr_session *s, uint64_t now)
{
    s->now = now;
}

void gr_session_turn(gr_session *s, uint64_t now_us)
{
    gr_lanes_turn(&s->lanes, now_us);
    gr_reader_turn(&s->in);
}

int gr_session_more(gr_session *s)
{
    if (s->failed != GR_OK || s->auth)
        return 0;
    return (s->in.more && !gr_session_is_paused(s)) || gr_lanes_more(&s->lanes);
}

/* ---- output ---- */

int gr_session_is_written(const gr_session *s)
{
    return !s->lanes.out.size && !s->below && gr_lanes_empty(&s->lanes);
}

/* Before anything is queued: a stretch without output has not been one without progress. */
static void note_output(gr_session *s)
{
    if (!s->lanes.out.size && !s->below)
        s->progress = s->now;
    if (gr_lanes_empty(&s->lanes))
        s->moved = s->now;
}

static void note_frame(gr_session *s)
{
    note_output(s);
    s->frames_out++;
}

int gr_session_put_control(gr_session *s, gr_frame_type type, unsigned slot, uint64_t id)
{
    gr_frame f = {.type = type, .slot = (uint16_t)slot, .id = id};
    note_frame(s);
    return gr_session_fail(s, gr_lanes_first(&s->lanes, &f));
}

/* The client's comes behind all of its requests; the server's replies may come behind its own. */
static int put_bye(gr_session *s)
{
    gr_frame f = {.type = GR_FRAME_BYE};
    if (!s->bye_wanted || s->bye_sent || (s->role == GR_CLIENT && !gr_lanes_empty(&s->lanes)))
        return GR_OK;
    note_frame(s);
    s->bye_sent = 1;
    return gr_session_fail(s, gr_lanes_last(&s->lanes, &f));
}

int gr_session_say_bye(gr_session *s)
{
    s->bye_wanted = 1;
    return put_bye(s);
}

void gr_session_touch(gr_session *s)
{
    s->active = s->now;
    s->work_end = s->lanes.out.in;
    s->idle_due = s->idle_told = 0;
}

/* Puts into the output queue what may leave now. */
static int stage(gr_session *s)
{
    if (s->failed != GR_OK || s->auth)
        return GR_OK;
    uint64_t before = s->lanes.out.in;
    if (!s->lanes.out.size && !s->below && gr_lanes_ready(&s->lanes))
        s->progress = s->now;
    int rc = gr_session_fail(s, gr_lanes_stage(&s->lanes));
    if (s->lanes.out.in != before) {
        s->moved = s->active = s->now;
        s->work_end = s->lanes.out.in;
    }
    return rc == GR_OK ? put_bye(s) : rc;
}

size_t gr_session_peek(gr_session *s, gr_iov *iov, size_t max)
{
    return stage(s) == GR_OK ? gr_outq_peek(&s->lanes.out, iov, max) : 0;
}

size_t gr_session_output(const gr_session *s)
{
    size_t n = s->lanes.out.size;
    if (n || s->failed != GR_OK || s->auth)
        return n;
    return gr_lanes_ready(&s->lanes) ? s->lanes.frame_max : 0;
}

void gr_session_consume(gr_session *s, size_t n)
{
    if (!n)
        return;
    if (s->lanes.out.out < s->work_end)
        s->active = s->now;
    gr_lanes_consume(&s->lanes, n);
    s->progress = s->now;
    if (s->pinging && s->pinged == GR_FOREVER && s->lanes.out.out >= s->ping_end)
        s->pinged = s->now;
}

void gr_session_below(gr_session *s, size_t n)
{
    if (n < s->below)
        s->progress = s->now;
    s->below = n;
}

/* ---- room ---- */

uint64_t gr_session_limit(const gr_session *s)
{
    return gr_min64(s->max_message, s->peer.max_message);
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
    if (s->bye_wanted || s->bye_seen)
        return GR_ECLOSING;
    return size > gr_session_limit(s) ? GR_ETOOBIG : GR_OK;
}

static gr_room room_for(const gr_submit *who, uint64_t size)
{
    if (who->order != GR_UNORDERED)
        return GR_ROOM_ORDERED;
    if (size <= GR_SMALL_MAX)
        return GR_ROOM_SMALL;
    return who->cast ? GR_ROOM_CAST : GR_ROOM_CALL;
}

/* Bytes that are queued; of large calls and replies their number, as their submitters wait for them. */
static uint64_t queued(const gr_session *s, gr_room room)
{
    switch (room) {
    case GR_ROOM_SMALL:
        return gr_lanes_queued(&s->lanes, GR_LANE_SMALL);
    case GR_ROOM_CALL:
        return s->lanes.calls;
    case GR_ROOM_CAST:
        return s->lanes.cast_left;
    default:
        return gr_lanes_queued(&s->lanes, GR_LANE_ORDERED);
    }
}

static uint64_t room_limit(const gr_session *s, gr_room room)
{
    return room == GR_ROOM_CALL ? GR_LARGE_MAX : s->output_limit;
}

/* Submitters wake when half of the limit is free again, so that they don't wake for every write. */
static int may_wake(const gr_session *s, gr_room room)
{
    return queued(s, room) <= room_limit(s, room) / 2;
}

static uint64_t in_room(gr_room room, uint64_t size)
{
    return room == GR_ROOM_CALL ? 1 : size;
}

/* Nobody overtakes those who wait; for those who have waited room is kept. */
static int take_room(gr_session *s, gr_room room, uint64_t size)
{
    if (queued(s, room) >= room_limit(s, room))
        return 0;
    if (s->woken[room]) {
        s->woken[room] -= gr_min64(s->woken[room], in_room(room, size));
        return 1;
    }
    return !s->waiters[room].count || may_wake(s, room);
}

static int has_room_to_keep(const gr_session *s, gr_room room)
{
    return may_wake(s, room) && queued(s, room) + s->woken[room] < room_limit(s, room);
}

/* No more of them than there is room for: each that has to wait again has been woken for nothing. */
gr_call *gr_session_ready_waiter(gr_session *s)
{
    int closing = s->role == GR_CLIENT && (s->bye_wanted || s->bye_seen);
    for (gr_room room = GR_ROOM_SMALL; room < GR_ROOMS; room++) {
        if (!s->waiters[room].count || (!closing && !has_room_to_keep(s, room)))
            continue;
        gr_call *w = gr_calls_take_oldest(&s->waiters[room]);
        s->woken[room] += closing ? 0 : in_room(room, w->size);
        s->blocked_ms += s->now - w->since;
        return w;
    }
    return NULL;
}

size_t gr_session_waiting(const gr_session *s)
{
    size_t n = 0;
    for (int i = 0; i < GR_ROOMS; i++)
        n += s->waiters[i].count;
    return n;
}

int gr_session_is_congested(const gr_session *s)
{
    return gr_session_waiting(s) || queued(s, GR_ROOM_SMALL) >= s->output_limit ||
           queued(s, GR_ROOM_CALL) >= GR_LARGE_MAX ||
           gr_lanes_queued(&s->lanes, GR_LANE_LARGE) >= LARGE_REPLIES_MAX;
}

int gr_session_admit(gr_session *s, const gr_submit *who, uint64_t size)
{
    int rc = check(s, s->role, size);
    if (rc != GR_OK)
        return rc;
    gr_room room = room_for(who, size);
    if (take_room(s, room, size))
        return GR_OK;
    if (!who->tag_size)
        return GR_EBUSY;
    gr_call *w;
    rc = gr_calls_put(&s->waiters[room], who->id, who->caller, who->tag, who->tag_size, &w);
    if (rc != GR_OK)
        return gr_session_fail(s, rc);
    w->deadline = who->deadline;
    w->position = GR_POSITION_NONE;
    w->since = s->now;
    w->size = size;
    s->blocked++;
    return GR_EBUSY;
}

/* ---- submissions ---- */

static uint64_t total_size(const gr_piece *pieces, size_t count)
{
    uint64_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += pieces[i].size;
    return n;
}

static int make_deflate(gr_session *s)
{
    if (!s->scratch)
        s->scratch = gr_alloc(s->mem, GR_SMALL_MAX);
    if (!s->scratch)
        return GR_ENOMEM;
    return s->deflate ? GR_OK : gr_deflate_new(&s->deflate, s->mem, s->level);
}

/* A message for itself, if that pays. */
static int deflate_alone(gr_session *s, const gr_piece *pieces, size_t count, size_t size,
                         size_t *out_size)
{
    if (!gr_deflate_worth_trying(&s->advice))
        return GR_NONE;
    int rc = make_deflate(s);
    if (rc == GR_OK)
        rc = gr_deflate_small(s->deflate, pieces, count, s->scratch, size, out_size);
    if (GR_IS_FATAL(rc))
        return rc;
    gr_deflate_tried(&s->advice, size, rc == GR_OK ? *out_size : size);
    return rc == GR_OK && !gr_deflate_pays(size, *out_size) ? GR_NONE : rc;
}

/* All of those that may use the context do, because it has to see them in order. */
static int deflate_in_context(gr_session *s, const gr_piece *pieces, size_t count, size_t *out_size)
{
    int rc = make_deflate(s);
    if (rc != GR_OK)
        return rc;
    return gr_deflate_context(s->deflate, pieces, count, s->scratch, GR_SMALL_MAX, out_size);
}

/* Compresses a small message if that pays: then f says so, and *out is what to send. */
static int deflate_small(gr_session *s, gr_frame *f, const gr_piece *pieces, size_t count,
                         gr_piece *out)
{
    size_t size = f->whole;
    int context = s->with_context && size <= CONTEXT_MAX && !(f->flags & GR_FLAG_ORDERED);
    int rc = context ? deflate_in_context(s, pieces, count, &out->size)
                     : deflate_alone(s, pieces, count, size, &out->size);
    if (rc != GR_OK)
        return rc;
    out->data = s->scratch;
    out->owner = NULL;
    s->deflate_in += size;
    s->deflate_out += out->size;
    f->flags |= GR_FLAG_DEFLATED | (context ? GR_FLAG_CONTEXT : 0);
    f->size = (uint32_t)out->size;
    return GR_OK;
}

/* Puts a message on the lane that it belongs to. */
static int put_message(gr_session *s, gr_frame *f, const gr_piece *pieces, size_t count)
{
    gr_piece small;
    int large = f->whole > GR_SMALL_MAX;
    int deflate = s->level && f->whole >= s->compress_min;
    note_frame(s);
    if (deflate && !large) {
        int rc = deflate_small(s, f, pieces, count, &small);
        if (GR_IS_FATAL(rc))
            return gr_session_fail(s, rc);
        if (rc == GR_OK) {
            pieces = &small;
            count = 1;
        }
    }
    int rc;
    if (f->flags & GR_FLAG_ORDERED)
        rc = gr_lanes_ordered(&s->lanes, f, pieces, count, deflate && large);
    else if (large)
        rc = gr_lanes_large(&s->lanes, f, pieces, count, deflate);
    else
        rc = gr_lanes_small(&s->lanes, f, pieces, count);
    return gr_session_fail(s, rc);
}

static uint8_t order_flags(gr_order order)
{
    static const uint8_t flags[] = {0, GR_FLAG_ORDERED, GR_FLAG_ORDERED | GR_FLAG_BROADCAST};
    return flags[order];
}

/* The time that is left goes with the request, and our clock, so that the way there counts, too. */
static void put_deadline(const gr_session *s, const gr_submit *who, gr_frame *f)
{
    if (who->deadline == GR_FOREVER)
        return;
    uint64_t left = who->deadline > s->now ? who->deadline - s->now : 0;
    f->flags |= GR_FLAG_TIMED;
    f->left = left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
    f->stamp = (uint32_t)s->now;
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
        return gr_session_fail(s, rc);
    int on_lane = who->order != GR_UNORDERED || size > GR_SMALL_MAX;
    c->deadline = who->deadline;
    c->since = s->now;
    c->position = on_lane ? GR_POSITION_LANES : s->lanes.small_in;
    gr_frame f = {.type = GR_FRAME_REQUEST,
                  .flags = order_flags(who->order),
                  .size = (uint32_t)size,
                  .whole = (uint32_t)size,
                  .id = who->id};
    put_deadline(s, who, &f);
    rc = put_message(s, &f, pieces, count);
    gr_session_touch(s);
    /* Whoever is told so now must not be handed back by gr_session_take, too. */
    if (rc != GR_OK)
        gr_call_free(&s->calls, gr_calls_take(&s->calls, who->id));
    return rc;
}

int gr_session_cast(gr_session *s, gr_order order, const gr_piece *pieces, size_t count)
{
    uint64_t size = total_size(pieces, count);
    int rc = check(s, GR_CLIENT, size);
    if (rc != GR_OK)
        return rc;
    gr_frame f = {.type = GR_FRAME_CAST,
                  .flags = order_flags(order),
                  .size = (uint32_t)size,
                  .whole = (uint32_t)size};
    rc = put_message(s, &f, pieces, count);
    gr_session_touch(s);
    return rc;
}

static int put_too_big(gr_session *s, uint64_t id, uint64_t size, uint64_t limit)
{
    uint8_t body[GR_TOOBIG_BODY];
    gr_frame f = {.type = GR_FRAME_TOOBIG, .size = sizeof body, .id = id};
    gr_put64(body, size);
    gr_put64(body + 8, limit);
    gr_piece p = {body, sizeof body, NULL};
    note_frame(s);
    int rc = gr_session_fail(s, gr_lanes_small(&s->lanes, &f, &p, 1));
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
    gr_frame f = {
        .type = GR_FRAME_REPLY, .size = (uint32_t)size, .whole = (uint32_t)size, .id = id};
    rc = size > limit ? put_too_big(s, id, size, limit) : put_message(s, &f, pieces, count);
    gr_session_touch(s);
    return rc;
}

/* ---- giving up ---- */

int gr_session_give_up(gr_session *s, uint64_t id)
{
    note_output(s);
    int rc = gr_session_fail(s, gr_lanes_cancel(&s->lanes, id));
    /* It may have been the last one that a goodbye was waiting for. */
    return GR_IS_FATAL(rc) || put_bye(s) == GR_OK ? rc : s->failed;
}

/*
 * A request that has not begun to leave is not sent at all if it is large. CANCEL must not overtake its
 * request; but it need not wait with others for the window when that has left.
 */
int gr_session_tell_cancel(gr_session *s, const gr_call *c)
{
    gr_frame f = {.type = GR_FRAME_CANCEL, .id = c->id};
    if (s->failed != GR_OK || s->auth)
        return GR_OK;
    if (c->position == GR_POSITION_LANES) {
        int rc = gr_session_give_up(s, c->id);
        if (rc != GR_ENOENT)
            return rc == GR_EBUSY ? GR_OK : rc;
    }
    note_frame(s);
    s->cancels_out++;
    int gone = c->position == GR_POSITION_LANES || gr_lanes_small_moved(&s->lanes, c->position);
    return gr_session_fail(s, gone ? gr_lanes_small_now(&s->lanes, &f)
                                   : gr_lanes_small(&s->lanes, &f, NULL, 0));
}

int gr_session_cancel(gr_session *s, uint64_t id)
{
    for (int i = 0; i < GR_ROOMS; i++) {
        gr_call *w = gr_calls_take(&s->waiters[i], id);
        if (w) {
            gr_call_free(&s->waiters[i], w);
            return GR_OK;
        }
    }
    gr_call *c = s->role == GR_CLIENT ? gr_calls_take(&s->calls, id) : NULL;
    if (!c)
        return GR_ENOENT;
    (void)gr_session_tell_cancel(s, c);
    gr_call_free(&s->calls, c);
    return GR_OK;
}

/* ---- close ---- */

int gr_session_is_idle(const gr_session *s)
{
    return !s->auth && !s->calls.count && !gr_session_waiting(s) && gr_session_is_written(s) &&
           !gr_session_is_holding(s) && !gr_reader_in_frame(&s->in);
}

int gr_session_close(gr_session *s, uint64_t linger, int only_idle)
{
    if (s->failed != GR_OK)
        return s->failed;
    if (s->auth)
        return GR_ESTATE;
    if (only_idle && !gr_session_is_idle(s))
        return GR_EBUSY;
    s->close_deadline = gr_min64(s->close_deadline, gr_later(s->now, linger));
    return gr_session_say_bye(s);
}

/* The context must survive: the peer has one that goes with it. */
void gr_session_trim(gr_session *s)
{
    gr_lanes_trim(&s->lanes);
    gr_reader_trim(&s->in);
    free_scratch(s);
    if (s->with_context)
        return;
    gr_deflate_free(s->deflate);
    s->deflate = NULL;
}

/* ---- the end, and getters ---- */

gr_call *gr_session_take(gr_session *s)
{
    gr_call *c = NULL;
    for (int i = 0; i < GR_ROOMS && !c; i++)
        c = gr_calls_take_oldest(&s->waiters[i]);
    if (!c && s->role == GR_CLIENT)
        c = gr_calls_take_oldest(&s->calls);
    return c;
}

int gr_session_was_sent(const gr_session *s, const gr_call *c)
{
    if (c->position == GR_POSITION_NONE)
        return 0;
    if (c->position == GR_POSITION_LANES)
        return !gr_lanes_is_waiting(&s->lanes, c->id);
    return c->position < gr_lanes_small_gone(&s->lanes);
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

size_t gr_session_calls(const gr_session *s)
{
    return s->calls.count;
}

uint64_t gr_session_frames_in(const gr_session *s)
{
    return s->frames_in;
}

void gr_session_stats_get(const gr_session *s, gr_session_stats *out)
{
    memset(out, 0, sizeof *out);
    out->calls = s->role == GR_CLIENT ? s->calls.count : 0;
    out->served = s->role == GR_SERVER ? s->calls.count : 0;
    out->waiting = gr_session_waiting(s);
    out->output = gr_lanes_pending(&s->lanes);
    out->bytes_in = s->bytes_in;
    out->bytes_out = s->lanes.out.out;
    out->frames_in = s->frames_in;
    out->frames_out = s->frames_out;
    out->late = s->late;
    out->held = s->inbox.bytes + s->ordered.bytes;
    out->too_late = s->too_late;
    out->cancels_in = s->cancels_in;
    out->cancels_out = s->cancels_out;
    out->aborted = s->lanes.aborted + s->aborted_in;
    out->blocked = s->blocked;
    out->blocked_ms = s->blocked_ms;
    out->deflate_in = s->deflate_in + s->lanes.deflate_in;
    out->deflate_out = s->deflate_out + s->lanes.deflate_out;
    out->read_max = s->in.room_max;
}
