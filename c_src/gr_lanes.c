/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes of a connection. */
#include "gr_lanes.h"

#include <string.h>

/* What the bytes in the output queue belong to: only small messages are counted. */
enum { KIND_OTHER, KIND_SMALL };

/* Frames of the large lane that wait in the output queue: one is written while the next follows. */
#define STAGED_FRAMES 2u

/*
 * Bytes that small messages can send ahead of a fragment that is ready: so a connection that is full
 * of small messages still gives a fifth of itself to large ones.
 */
#define SMALL_AHEAD ((uint64_t)256 * 1024)

void gr_lanes_init(gr_lanes *l, const gr_mem *mem, const gr_blob_ops *blobs, size_t frame_max,
                   int level)
{
    memset(l, 0, sizeof *l);
    l->mem = mem;
    l->blobs = blobs;
    l->frame_max = frame_max;
    gr_outq_init(&l->out, mem, blobs);
    gr_outq_init(&l->small, mem, blobs);
    gr_pace_init(&l->pace, GR_PACE_ACK(frame_max));
    gr_deflate_streams_init(&l->streams, mem, level);
}

static void clear_msgs(gr_lanes *l, gr_msgs *list)
{
    while (list->first) {
        gr_msg *m = list->first;
        gr_msgs_remove(list, m);
        gr_msg_free(m, l->mem, l->blobs);
    }
}

void gr_lanes_clear(gr_lanes *l)
{
    clear_msgs(l, &l->waiting);
    clear_msgs(l, &l->open);
    clear_msgs(l, &l->ordered);
    gr_outq_clear(&l->out);
    gr_outq_clear(&l->small);
    gr_deflate_streams_trim(&l->streams);
}

void gr_lanes_trim(gr_lanes *l)
{
    gr_outq_trim(&l->out);
    gr_outq_trim(&l->small);
    gr_deflate_streams_trim(&l->streams);
}

void gr_lanes_open(gr_lanes *l, int bounded, uint64_t peer_max)
{
    l->bounded = bounded;
    l->peer_max = peer_max;
}

void gr_lanes_turn(gr_lanes *l, uint64_t now_us)
{
    l->now_us = now_us;
    l->worked = 0;
}

/* ---- submissions ---- */

int gr_lanes_first(gr_lanes *l, const gr_frame *f)
{
    uint8_t head[GR_FRAME_START_MAX];
    return gr_outq_put_first(&l->out, KIND_OTHER, head, gr_frame_write(head, f));
}

int gr_lanes_last(gr_lanes *l, const gr_frame *f)
{
    uint8_t head[GR_FRAME_START_MAX];
    return gr_outq_put(&l->out, KIND_OTHER, head, gr_frame_write(head, f), NULL, 0);
}

/* The peer takes what fits into the window. */
static int small_may_leave(const gr_lanes *l, size_t charge)
{
    return !l->bounded || l->small_sent - l->small_used + charge <= GR_SMALL_WINDOW;
}

int gr_lanes_small(gr_lanes *l, const gr_frame *f, const gr_piece *pieces, size_t n)
{
    uint8_t head[GR_FRAME_START_MAX];
    size_t head_size = gr_frame_write(head, f);
    size_t size = head_size + f->size;
    size_t charge = gr_frame_charge(f);
    int direct = !l->small.size && small_may_leave(l, charge);
    l->small_in += size;
    if (direct) {
        l->small_sent += charge;
        return gr_outq_put(&l->out, KIND_SMALL, head, head_size, pieces, n);
    }
    int rc = gr_outq_put(&l->small, KIND_SMALL, head, head_size, pieces, n);
    if (rc == GR_OK)
        gr_outq_charge(&l->small, charge);
    return rc;
}

int gr_lanes_small_now(gr_lanes *l, const gr_frame *f)
{
    l->small_sent += gr_frame_charge(f);
    return gr_lanes_last(l, f);
}

uint64_t gr_lanes_small_gone(const gr_lanes *l)
{
    return l->out.done[KIND_SMALL];
}

/* What waits is the end of all that was ever put on the lane. */
int gr_lanes_small_moved(const gr_lanes *l, uint64_t position)
{
    return position < l->small_in - l->small.size;
}

/* Many streams at once would take too much memory: then the message goes as it is. */
static int begin_deflate(gr_lanes *l, gr_msg *m)
{
    int rc = gr_deflate_stream_open(&m->z, &l->streams);
    if (rc == GR_OK)
        m->frame.flags |= GR_FLAG_DEFLATED;
    return rc == GR_NONE ? GR_OK : rc;
}

static int put_msg(gr_lanes *l, gr_msgs *list, const gr_frame *f, const gr_piece *pieces,
                   size_t count, int deflate)
{
    gr_msg *m;
    int rc = gr_msg_new(&m, l->mem, l->blobs, f, pieces, count);
    if (rc != GR_OK)
        return rc;
    if (deflate)
        rc = begin_deflate(l, m);
    if (rc != GR_OK) {
        gr_msg_free(m, l->mem, l->blobs);
        return rc;
    }
    gr_msgs_append(list, m);
    return GR_OK;
}

static int is_cast(const gr_msg *m)
{
    return m->frame.type == GR_FRAME_CAST;
}

/* A message joins the large lane, or has left it. */
static void count(gr_lanes *l, const gr_msg *m, int joins)
{
    if (is_cast(m))
        l->cast_left += joins ? m->left : -m->left;
    else
        l->calls += joins ? 1 : (size_t)-1;
}

int gr_lanes_large(gr_lanes *l, const gr_frame *f, const gr_piece *pieces, size_t n, int deflate)
{
    int rc = put_msg(l, &l->waiting, f, pieces, n, deflate);
    if (rc == GR_OK)
        count(l, l->waiting.last, 1);
    return rc;
}

int gr_lanes_ordered(gr_lanes *l, const gr_frame *f, const gr_piece *pieces, size_t count,
                     int deflate)
{
    return put_msg(l, &l->ordered, f, pieces, count, deflate);
}

/* ---- slots ---- */

/* One message is always taken, so that one of the largest size can pass. */
static int slot_is_free(const gr_lanes *l, const gr_msg *m)
{
    return l->slots_used < GR_SLOTS &&
           (!l->slots_used || l->slots_bytes + m->frame.whole <= l->peer_max);
}

static void take_slot(gr_lanes *l, gr_msg *m)
{
    unsigned slot = 0;
    while (l->whole[slot])
        slot++;
    m->slot = (int)slot;
    l->whole[slot] = m->frame.whole;
    l->slots_used++;
    l->slots_bytes += m->frame.whole;
}

static void free_slot(gr_lanes *l, unsigned slot)
{
    l->slots_used--;
    l->slots_bytes -= l->whole[slot];
    l->whole[slot] = 0;
}

static int slot_is_sending(const gr_lanes *l, unsigned slot)
{
    for (const gr_msg *m = l->open.first; m; m = m->next)
        if (m->slot == (int)slot)
            return 1;
    return l->ordered.first && l->ordered.first->slot == (int)slot;
}

int gr_lanes_done(gr_lanes *l, unsigned slot)
{
    if (!l->whole[slot] || slot_is_sending(l, slot))
        return GR_EPROTO;
    free_slot(l, slot);
    return GR_OK;
}

int gr_lanes_window(gr_lanes *l, gr_lane lane, uint64_t used)
{
    uint64_t *at = lane == GR_LANE_SMALL ? &l->small_used : &l->ordered_used;
    uint64_t sent = lane == GR_LANE_SMALL ? l->small_sent : l->ordered_in;
    if (lane == GR_LANE_LARGE)
        return gr_pace_acked(&l->pace, used, l->now_us);
    if (!l->bounded || used < *at || used > sent)
        return GR_EPROTO;
    *at = used;
    return GR_OK;
}

/* ---- giving up ---- */

static uint64_t ordered_charge(const gr_msg *m)
{
    return m->frame.whole + GR_FRAME_CHARGE;
}

static gr_msg *find(const gr_lanes *l, uint64_t id)
{
    gr_msg *m = gr_msgs_find(&l->waiting, id);
    if (!m)
        m = gr_msgs_find(&l->open, id);
    return m ? m : gr_msgs_find(&l->ordered, id);
}

static gr_msgs *list_of(gr_lanes *l, const gr_msg *m)
{
    if (m->frame.flags & GR_FLAG_ORDERED)
        return &l->ordered;
    return m->slot < 0 ? &l->waiting : &l->open;
}

static int give_up(gr_lanes *l, gr_msg *m)
{
    gr_msgs *list = list_of(l, m);
    int rc = m->begun ? GR_EBUSY : GR_OK;
    gr_frame f = {.type = GR_FRAME_ABORT, .slot = (uint16_t)m->slot};
    gr_msgs_remove(list, m);
    if (list != &l->ordered)
        count(l, m, 0);
    if (m->slot >= 0) {
        free_slot(l, (unsigned)m->slot);
        if (list == &l->ordered)
            l->ordered_in -= ordered_charge(m);
    }
    if (m->begun) {
        l->aborted++;
        if (gr_lanes_last(l, &f) != GR_OK)
            rc = GR_ENOMEM;
    }
    gr_msg_free(m, l->mem, l->blobs);
    return rc;
}

int gr_lanes_cancel(gr_lanes *l, uint64_t id)
{
    gr_msg *m = find(l, id);
    return m ? give_up(l, m) : GR_ENOENT;
}

int gr_lanes_is_waiting(const gr_lanes *l, uint64_t id)
{
    const gr_msg *m = find(l, id);
    return m && !m->begun;
}

/* ---- from the lanes to the output ---- */

static int is_large(const gr_msg *m)
{
    return m->frame.whole > GR_SMALL_MAX;
}

static int can_work(const gr_lanes *l, const gr_msg *m)
{
    return !m->z || !l->worked;
}

static int ordered_window_is_open(const gr_lanes *l)
{
    return l->ordered_in - l->ordered_used < GR_ORDERED_WINDOW;
}

static int ordered_ready(const gr_lanes *l)
{
    const gr_msg *m = l->ordered.first;
    if (!m || !can_work(l, m) || (m->slot < 0 && !ordered_window_is_open(l)))
        return 0;
    if (!is_large(m))
        return 1;
    if (!gr_pace_room(&l->pace))
        return 0;
    return m->slot >= 0 || (slot_is_free(l, m) && !(l->ordered_had_slot && l->waiting.first));
}

/* The large message whose turn it is. */
static gr_msg *next_open(const gr_lanes *l)
{
    gr_msg *m = l->open.first;
    while (m && !can_work(l, m))
        m = m->next;
    return m;
}

/* It would wait for ever if smaller ones took what becomes free: so both lanes get slots in turn. */
static int ordered_wants_slot(const gr_lanes *l)
{
    const gr_msg *m = l->ordered.first;
    return m && is_large(m) && m->slot < 0 && ordered_window_is_open(l);
}

static int can_open(const gr_lanes *l)
{
    const gr_msg *m = l->waiting.first;
    return m && !(ordered_wants_slot(l) && !l->ordered_had_slot) && slot_is_free(l, m) &&
           can_work(l, m);
}

static int large_ready(const gr_lanes *l)
{
    return gr_pace_room(&l->pace) && (can_open(l) || next_open(l));
}

/* A message that has been put into the output as a whole keeps its slot until the peer is done. */
static int put_next(gr_lanes *l, gr_msgs *list, gr_msg *m, int *ended)
{
    size_t bytes;
    uint64_t before = m->left;
    int deflated = m->z != NULL;
    int rc = gr_msg_put_next(m, &l->out, KIND_OTHER, l->frame_max, &bytes, ended);
    list->left -= before - m->left;
    if (list != &l->ordered && is_cast(m))
        l->cast_left -= before - m->left;
    if (deflated) {
        l->worked = 1;
        l->deflate_in += before - m->left;
        l->deflate_out += bytes;
    }
    if (m->slot >= 0)
        gr_pace_sent(&l->pace, bytes, l->now_us);
    return rc;
}

/* Else the time until the next message would count as slowness of the path. */
static void tell_pace(gr_lanes *l)
{
    const gr_msg *m = l->ordered.first;
    if (!l->open.first && !l->waiting.first && !(m && is_large(m)))
        gr_pace_idle(&l->pace);
}

static int stage_large(gr_lanes *l)
{
    int ended;
    while (can_open(l)) {
        gr_msg *m = l->waiting.first;
        gr_msgs_remove(&l->waiting, m);
        take_slot(l, m);
        l->ordered_had_slot = 0;
        gr_msgs_append(&l->open, m);
    }
    gr_msg *m = next_open(l);
    int rc = put_next(l, &l->open, m, &ended);
    gr_msgs_remove(&l->open, m);
    if (ended) {
        count(l, m, 0);
        gr_msg_free(m, l->mem, l->blobs);
    } else {
        gr_msgs_append(&l->open, m);
    }
    tell_pace(l);
    return rc;
}

/* As many small messages as a fragment of a large one would be. */
static int stage_ordered(gr_lanes *l)
{
    size_t end = l->out.size + l->frame_max;
    int rc = GR_OK;
    while (rc == GR_OK && l->out.size < end && ordered_ready(l)) {
        int ended;
        gr_msg *m = l->ordered.first;
        if (m->slot < 0)
            l->ordered_in += ordered_charge(m);
        if (is_large(m) && m->slot < 0) {
            take_slot(l, m);
            l->ordered_had_slot = 1;
        }
        rc = put_next(l, &l->ordered, m, &ended);
        if (ended) {
            gr_msgs_remove(&l->ordered, m);
            gr_msg_free(m, l->mem, l->blobs);
            tell_pace(l);
        }
    }
    return rc;
}

static int out_is_short(const gr_lanes *l)
{
    return l->out.size < STAGED_FRAMES * l->frame_max || l->since_large >= SMALL_AHEAD;
}

static int small_ready(const gr_lanes *l)
{
    return l->small.size && small_may_leave(l, gr_outq_oldest(&l->small));
}

int gr_lanes_ready(const gr_lanes *l)
{
    return small_ready(l) || (out_is_short(l) && (ordered_ready(l) || large_ready(l)));
}

int gr_lanes_stage(gr_lanes *l)
{
    int rc = GR_OK;
    while (small_ready(l)) {
        l->small_sent += gr_outq_oldest(&l->small);
        (void)gr_outq_move(&l->out, &l->small);
    }
    while (rc == GR_OK && out_is_short(l)) {
        int ordered = ordered_ready(l);
        int large = large_ready(l);
        if (!ordered && !large)
            break;
        if (ordered && (l->ordered_turn || !large))
            rc = stage_ordered(l);
        else
            rc = stage_large(l);
        if (ordered && large)
            l->ordered_turn = !l->ordered_turn;
        l->since_large = 0;
    }
    return rc;
}

int gr_lanes_more(gr_lanes *l)
{
    if (!l->worked)
        return 0;
    l->worked = 0;
    int more = gr_lanes_ready(l);
    l->worked = 1;
    return more;
}

void gr_lanes_consume(gr_lanes *l, size_t n)
{
    gr_outq_consume(&l->out, n);
    l->since_large += n;
}

uint64_t gr_lanes_queued(const gr_lanes *l, gr_lane lane)
{
    switch (lane) {
    case GR_LANE_SMALL:
        return l->out.size + l->small.size;
    case GR_LANE_LARGE:
        return l->waiting.left + l->open.left;
    default:
        return l->ordered.left;
    }
}

uint64_t gr_lanes_pending(const gr_lanes *l)
{
    return l->out.size + l->small.size + l->waiting.left + l->open.left + l->ordered.left;
}

int gr_lanes_empty(const gr_lanes *l)
{
    return !l->small.size && !l->waiting.first && !l->open.first && !l->ordered.first;
}
