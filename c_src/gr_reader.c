/* SPDX-License-Identifier: Apache-2.0 */
/* Input buffer and frame reader. */
#include "gr_reader.h"

#include <string.h>

/* An idle connection that got a ping holds this much. */
#define ROOM_MIN ((size_t)4 * 1024)

/*
 * A busy one grows to a bound between these: a small frame has to fit, and all replies that one read
 * brings are delivered in one callback: 3855 of the smallest in 64 KiB, in 1.3 ms.
 */
#define ROOM_BOUND_MIN (GR_FRAME_START_MAX + GR_SMALL_MAX)
#define ROOM_BOUND_MAX ((size_t)64 * 1024)

/*
 * Of what comes behind the fragment that is being read: enough for its next head and some small frames.
 * More would be content of the next fragment, which then had to be copied.
 */
#define BEHIND_MAX ((size_t)4 * 1024)

/* Bytes decompressed in one callback, some 0.4 ms. */
#define INFLATE_TURN ((size_t)128 * 1024)

void gr_reader_init(gr_reader *r, const gr_mem *mem, const gr_blob_ops *blobs, int from_server,
                    uint64_t limit)
{
    memset(r, 0, sizeof *r);
    r->mem = mem;
    r->blobs = blobs;
    r->from_server = from_server;
    r->room_max = ROOM_BOUND_MAX;
    r->budget = INFLATE_TURN;
    gr_slots_init(&r->slots, mem, blobs, limit);
}

void gr_reader_bound(gr_reader *r, uint64_t size)
{
    if (!size || size > ROOM_BOUND_MAX)
        size = ROOM_BOUND_MAX;
    r->room_max = size < ROOM_BOUND_MIN ? ROOM_BOUND_MIN : (size_t)size;
}

void gr_reader_clear(gr_reader *r)
{
    gr_slots_clear(&r->slots);
    gr_inflate_free(r->context);
    r->context = NULL;
    r->start = r->end = 0;
    gr_reader_trim(r);
}

void gr_reader_trim(gr_reader *r)
{
    gr_slots_trim(&r->slots);
    gr_inflate_free(r->small);
    r->small = NULL;
    if (r->start != r->end)
        return;
    gr_free(r->mem, r->buf);
    r->buf = NULL;
    r->room = r->start = r->end = 0;
}

void gr_reader_turn(gr_reader *r)
{
    r->budget = INFLATE_TURN;
    r->more = 0;
}

static int resize(gr_reader *r, size_t room)
{
    uint8_t *buf = r->mem->realloc(r->mem->ctx, r->buf, room);
    if (!buf)
        return GR_ENOMEM;
    r->buf = buf;
    r->room = room;
    return GR_OK;
}

/* The first byte not yet consumed; without a buffer there is none, and C adds not even 0 to NULL. */
static uint8_t *first_byte(const gr_reader *r)
{
    return r->buf ? r->buf + r->start : NULL;
}

/* Its content goes into a slot, and need not be there as a whole. */
static int is_fragment(const gr_frame *f)
{
    return f->flags & GR_FLAG_LARGE || f->type == GR_FRAME_DATA;
}

/* Bytes that the frame at the start needs in the buffer; a head's worth while none is known. */
static size_t frame_need(const gr_reader *r)
{
    gr_frame f;
    if (r->fragment.type || r->end - r->start < GR_FRAME_HEAD ||
        gr_frame_read(r->buf + r->start, r->from_server, &f) != GR_OK)
        return GR_FRAME_HEAD;
    size_t need = GR_FRAME_HEAD + gr_frame_fields(f.flags);
    return is_fragment(&f) ? need : need + f.size;
}

static int make_room(gr_reader *r)
{
    size_t have = r->end - r->start;
    if (have && r->start)
        memmove(r->buf, r->buf + r->start, have);
    r->start = 0;
    r->end = have;
    if (!r->buf)
        return resize(r, ROOM_MIN);
    if (r->room < r->room_max && (r->filled_up || frame_need(r) > r->room))
        return resize(r, r->room_max);
    return GR_OK;
}

/* Where content of the fragment goes; none if the buffer has some that comes before. */
static gr_iov direct_room(gr_reader *r)
{
    const gr_iov none = {NULL, 0};
    if (!r->fragment.type || !r->left || r->start != r->end)
        return none;
    return gr_slots_direct(&r->slots, r->fragment.slot, r->left);
}

int gr_reader_space(gr_reader *r, gr_iov iov[2], size_t *count)
{
    size_t n = 0;
    int rc = make_room(r);
    if (rc != GR_OK)
        return rc;
    gr_iov direct = direct_room(r);
    iov[n].data = r->buf + r->end;
    iov[n].size = r->room - r->end;
    if (direct.size) {
        iov[1] = iov[0];
        iov[n++] = direct;
        if (iov[1].size > BEHIND_MAX)
            iov[1].size = BEHIND_MAX;
    }
    *count = n + 1;
    return GR_OK;
}

void gr_reader_filled(gr_reader *r, size_t n)
{
    size_t direct = direct_room(r).size;
    if (direct > n)
        direct = n;
    if (direct) {
        gr_slots_filled(&r->slots, r->fragment.slot, direct);
        r->left -= direct;
    }
    r->end += n - direct;
    r->filled_up = r->end == r->room;
}

gr_iov gr_reader_raw(const gr_reader *r)
{
    gr_iov v = {first_byte(r), r->end - r->start};
    return v;
}

void gr_reader_skip(gr_reader *r, size_t n)
{
    r->start += n;
}

/* ---- fragments ---- */

/* Takes what is there of the content. GR_OK: the fragment is complete. */
static int take_content(gr_reader *r)
{
    size_t have = r->end - r->start;
    size_t used;
    if (have > r->left)
        have = r->left;
    int rc = gr_slots_put(&r->slots, r->fragment.slot, first_byte(r), have, &used, &r->budget);
    r->start += used;
    r->left -= used;
    r->more = rc == GR_NONE;
    if (rc != GR_OK)
        return rc;
    return r->left ? GR_NONE : GR_OK;
}

/* GR_OK: a message is complete. GR_NONE: go on with the next frame, or wait for more, as *wait says. */
static int go_on(gr_reader *r, gr_input *in, int *wait)
{
    int rc = take_content(r);
    *wait = rc == GR_NONE;
    if (rc != GR_OK)
        return rc;
    unsigned slot = r->fragment.slot;
    int last = r->fragment.flags & GR_FLAG_END;
    r->fragment.type = 0;
    if (!last)
        return GR_NONE;
    rc = gr_slots_end(&r->slots, slot, &in->frame, &in->blob);
    if (rc == GR_OK && in->frame.flags & GR_FLAG_DEFLATED)
        r->deflate_in += in->frame.whole;
    in->data = in->blob.data;
    return rc;
}

static int begin_fragment(gr_reader *r, const gr_frame *f)
{
    int rc = gr_slots_fragment(&r->slots, f);
    if (rc != GR_OK)
        return rc;
    r->fragment = *f;
    r->left = f->size;
    size_t bytes = GR_FRAME_HEAD + gr_frame_fields(f->flags) + f->size;
    r->large_in += bytes;
    if (bytes > r->fragment_max)
        r->fragment_max = bytes;
    return GR_OK;
}

/* ---- small frames ---- */

static int make_inflate(gr_reader *r, gr_inflate **z)
{
    return *z ? GR_OK : gr_inflate_new(z, r->mem);
}

/* What comes out is at most GR_SMALL_MAX bytes, so this needs no budget; it takes from it, though. */
static int inflate_small(gr_reader *r, gr_input *in)
{
    gr_frame *f = &in->frame;
    int with_context = f->flags & GR_FLAG_CONTEXT;
    gr_inflate **z = with_context ? &r->context : &r->small;
    if (f->whole > GR_SMALL_MAX)
        return GR_EPROTO;
    int rc = make_inflate(r, z);
    if (rc == GR_OK)
        rc = r->blobs->create(r->blobs->ctx, f->whole, &in->blob);
    if (rc != GR_OK) {
        in->blob.owner = NULL;
        return rc;
    }
    rc = with_context ? gr_inflate_context(*z, in->data, f->size, in->blob.data, f->whole)
                      : gr_inflate_small(*z, in->data, f->size, in->blob.data, f->whole);
    if (rc != GR_OK) {
        r->blobs->unref(r->blobs->ctx, in->blob.owner);
        in->blob.owner = NULL;
        return rc;
    }
    r->deflate_in += f->whole;
    size_t cost = f->whole + f->size;
    r->budget -= cost < r->budget ? cost : r->budget;
    f->size = f->whole;
    in->data = in->blob.data;
    return GR_OK;
}

/* The limit is on messages: a frame that says that one was too big has a small size of its own. */
static int is_over_limit(const gr_reader *r, const gr_frame *f)
{
    if (f->type != GR_FRAME_REQUEST && f->type != GR_FRAME_CAST && f->type != GR_FRAME_REPLY)
        return 0;
    return (f->flags & GR_FLAG_DEFLATED ? f->whole : f->size) > r->slots.limit;
}

/* Reads the head at the start. GR_NONE: it, or a small frame's content, is not complete. */
static int read_frame(gr_reader *r, gr_input *in)
{
    gr_frame *f = &in->frame;
    const uint8_t *at = first_byte(r);
    size_t have = r->end - r->start;
    if (have < GR_FRAME_HEAD)
        return GR_NONE;
    int rc = gr_frame_read(at, r->from_server, f);
    if (rc != GR_OK)
        return rc;
    size_t start = GR_FRAME_HEAD + gr_frame_fields(f->flags);
    int fragment = is_fragment(f);
    if (have < start || (!fragment && have - start < f->size))
        return GR_NONE;
    if (f->flags & GR_FLAG_DEFLATED && !fragment && !r->budget) {
        r->more = 1;
        return GR_NONE;
    }
    gr_frame_read_fields(at + GR_FRAME_HEAD, f);
    if (is_over_limit(r, f))
        return GR_EPROTO;
    in->data = at + start;
    in->charge = gr_frame_charge(f);
    r->start += start;
    if (fragment)
        return begin_fragment(r, f);
    r->start += f->size;
    return f->flags & GR_FLAG_DEFLATED ? inflate_small(r, in) : GR_OK;
}

int gr_reader_next(gr_reader *r, gr_input *in)
{
    in->blob.owner = NULL;
    for (;;) {
        int wait = 0;
        int rc = r->fragment.type ? GR_OK : read_frame(r, in);
        if (rc != GR_OK || !r->fragment.type)
            return rc;
        rc = go_on(r, in, &wait);
        if (rc != GR_NONE || wait)
            return rc;
    }
}

int gr_reader_in_frame(const gr_reader *r)
{
    return r->fragment.type || r->start != r->end || gr_slots_any_open(&r->slots);
}
