/* SPDX-License-Identifier: Apache-2.0 */
/* Input buffer and frame reader. */
#include "gr_reader.h"

#include <string.h>

/* An idle connection that got a ping holds this much; a busy one grows to the other. */
#define ROOM_MIN ((size_t)4 * 1024)
#define ROOM_MAX ((size_t)64 * 1024)

/* Frames up to this are delivered from the buffer; larger ones get a blob of their own. */
#define INLINE_MAX ((size_t)16 * 1024)

void gr_reader_init(gr_reader *r, const gr_mem *mem, const gr_blob_ops *blobs, int from_server,
                    uint64_t limit)
{
    memset(r, 0, sizeof *r);
    r->mem = mem;
    r->blobs = blobs;
    r->from_server = from_server;
    r->limit = limit;
}

void gr_reader_clear(gr_reader *r)
{
    if (r->body.owner)
        r->blobs->unref(r->blobs->ctx, r->body.owner);
    r->body.owner = NULL;
    r->start = r->end = 0;
    gr_reader_trim(r);
}

void gr_reader_trim(gr_reader *r)
{
    if (r->start != r->end)
        return;
    gr_free(r->mem, r->buf);
    r->buf = NULL;
    r->room = r->start = r->end = 0;
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

/* Bytes that the frame at the start needs in the buffer; a header's worth while none is known. */
static size_t frame_need(const gr_reader *r)
{
    gr_frame f;
    if (r->end - r->start < GR_FRAME_HEAD)
        return GR_FRAME_HEAD;
    if (gr_frame_read(r->buf + r->start, r->from_server, &f) != GR_OK || f.size > INLINE_MAX)
        return GR_FRAME_HEAD;
    return GR_FRAME_HEAD + f.size;
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
    if (r->room < ROOM_MAX && (r->filled_up || frame_need(r) > r->room))
        return resize(r, ROOM_MAX);
    return GR_OK;
}

int gr_reader_space(gr_reader *r, gr_iov iov[2], size_t *count)
{
    size_t n = 0;
    int rc = make_room(r);
    if (rc != GR_OK)
        return rc;
    if (r->body.owner && r->body_filled < r->body.size) {
        iov[n].data = r->body.data + r->body_filled;
        iov[n++].size = r->body.size - r->body_filled;
    }
    iov[n].data = r->buf + r->end;
    iov[n++].size = r->room - r->end;
    *count = n;
    return GR_OK;
}

void gr_reader_filled(gr_reader *r, size_t n)
{
    if (r->body.owner) {
        size_t direct = r->body.size - r->body_filled;
        if (direct > n)
            direct = n;
        r->body_filled += direct;
        n -= direct;
    }
    r->end += n;
    r->filled_up = r->end == r->room;
}

gr_iov gr_reader_raw(const gr_reader *r)
{
    gr_iov v = {NULL, 0};
    if (r->buf) {
        v.data = r->buf + r->start;
        v.size = r->end - r->start;
    }
    return v;
}

void gr_reader_skip(gr_reader *r, size_t n)
{
    r->start += n;
}

/* Begins a blob with what the buffer has of the body; the rest will be read into it directly. */
static int begin_body(gr_reader *r, const gr_frame *f)
{
    int rc = r->blobs->create(r->blobs->ctx, f->size, &r->body);
    if (rc != GR_OK) {
        r->body.owner = NULL;
        return rc;
    }
    r->frame = *f;
    r->start += GR_FRAME_HEAD;
    size_t have = r->end - r->start;
    if (have > f->size)
        have = f->size;
    memcpy(r->body.data, r->buf + r->start, have);
    r->start += have;
    r->body_filled = have;
    return GR_OK;
}

static int finish_body(gr_reader *r, gr_input *in)
{
    if (r->body_filled < r->body.size)
        return GR_NONE;
    in->frame = r->frame;
    in->data = r->body.data;
    in->blob = r->body;
    r->body.owner = NULL;
    return GR_OK;
}

int gr_reader_next(gr_reader *r, gr_input *in)
{
    if (r->body.owner)
        return finish_body(r, in);
    size_t have = r->end - r->start;
    if (have < GR_FRAME_HEAD)
        return GR_NONE;
    int rc = gr_frame_read(r->buf + r->start, r->from_server, &in->frame);
    if (rc != GR_OK)
        return rc;
    /* The limit is on messages: a frame that says that one was too big has a small size of its own. */
    if (in->frame.size > r->limit && in->frame.type != GR_FRAME_TOOBIG)
        return GR_EPROTO;
    if (in->frame.size > INLINE_MAX) {
        rc = begin_body(r, &in->frame);
        return rc == GR_OK ? finish_body(r, in) : rc;
    }
    if (have - GR_FRAME_HEAD < in->frame.size)
        return GR_NONE;
    in->data = r->buf + r->start + GR_FRAME_HEAD;
    in->blob.owner = NULL;
    r->start += GR_FRAME_HEAD + in->frame.size;
    return GR_OK;
}

int gr_reader_in_frame(const gr_reader *r)
{
    return r->body.owner != NULL || r->start != r->end;
}
