/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that wait or are cut into fragments. */
#include "gr_msg.h"

#include <string.h>

/* Pieces of a message that one fragment takes at most: of crumbs it is a small fragment. */
#define PIECES_MAX 256

/* Bytes that have to be copied, because nobody will hold them for us. */
static size_t loose_bytes(const gr_piece *pieces, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += pieces[i].owner ? 0 : pieces[i].size;
    return n;
}

static void advance(gr_msg *m, size_t n)
{
    m->left -= n;
    m->at += n;
    while (m->piece < m->count && m->at >= m->pieces[m->piece].size) {
        m->at -= m->pieces[m->piece].size;
        m->piece++;
    }
}

int gr_msg_new(gr_msg **out, const gr_mem *mem, const gr_blob_ops *blobs, const gr_frame *frame,
               const gr_piece *pieces, size_t count)
{
    gr_msg *m = gr_alloc(mem, sizeof *m + count * sizeof *pieces + loose_bytes(pieces, count));
    *out = m;
    if (!m)
        return GR_ENOMEM;
    memset(m, 0, sizeof *m);
    uint8_t *loose = (uint8_t *)&m->pieces[count];
    m->frame = *frame;
    m->slot = -1;
    m->count = count;
    for (size_t i = 0; i < count; i++) {
        m->pieces[i] = pieces[i];
        m->left += pieces[i].size;
        if (pieces[i].owner) {
            blobs->ref(blobs->ctx, pieces[i].owner);
        } else if (pieces[i].size) {
            memcpy(loose, pieces[i].data, pieces[i].size);
            m->pieces[i].data = loose;
            loose += pieces[i].size;
        }
    }
    advance(m, 0);
    return GR_OK;
}

void gr_msg_free(gr_msg *m, const gr_mem *mem, const gr_blob_ops *blobs)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->count; i++)
        if (m->pieces[i].owner)
            blobs->unref(blobs->ctx, m->pieces[i].owner);
    gr_deflate_stream_close(m->z);
    gr_free(mem, m);
}

/* The next bytes, at most max; returns how many pieces they are. */
static size_t slice(const gr_msg *m, size_t max, gr_piece *out, size_t *size)
{
    size_t n = 0;
    size_t at = m->at;
    *size = 0;
    for (size_t i = m->piece; i < m->count && *size < max && n < PIECES_MAX; i++) {
        const gr_piece *p = &m->pieces[i];
        size_t take = p->size - at < max - *size ? p->size - at : max - *size;
        if (take) {
            out[n].data = p->data + at;
            out[n].owner = p->owner;
            out[n++].size = take;
        }
        *size += take;
        at = 0;
    }
    return n;
}

/* The first fragment has all that is known of the message, those behind it only the slot. */
static gr_frame next_frame(const gr_msg *m)
{
    gr_frame f = m->frame;
    if (m->slot < 0)
        return f;
    if (m->begun) {
        memset(&f, 0, sizeof f);
        f.type = GR_FRAME_DATA;
    } else {
        f.flags |= GR_FLAG_LARGE;
    }
    f.slot = (uint16_t)m->slot;
    return f;
}

static int put_frame(gr_msg *m, gr_outq *q, unsigned kind, const gr_piece *pieces, size_t count,
                     size_t size, int last, size_t *bytes)
{
    uint8_t head[GR_FRAME_START_MAX];
    gr_frame f = next_frame(m);
    f.size = (uint32_t)size;
    if (m->slot >= 0 && last)
        f.flags |= GR_FLAG_END;
    size_t head_size = gr_frame_write(head, &f);
    *bytes = head_size + size;
    m->begun = 1;
    return gr_outq_put(q, kind, head, head_size, pieces, count);
}

static size_t content_max(const gr_msg *m, size_t frame_max)
{
    gr_frame f = next_frame(m);
    return frame_max - GR_FRAME_HEAD - gr_frame_fields(f.flags);
}

/* Small enough for that, and nobody could put its parts together. */
static int put_whole(gr_msg *m, gr_outq *q, unsigned kind, size_t *bytes, int *last)
{
    size_t size = (size_t)m->left;
    *last = 1;
    m->left = 0;
    return put_frame(m, q, kind, m->pieces, m->count, size, 1, bytes);
}

static int put_plain(gr_msg *m, gr_outq *q, unsigned kind, size_t frame_max, size_t *bytes,
                     int *last)
{
    gr_piece pieces[PIECES_MAX];
    size_t size;
    size_t n = slice(m, content_max(m, frame_max), pieces, &size);
    *last = size == m->left;
    int rc = put_frame(m, q, kind, pieces, n, size, *last, bytes);
    advance(m, size);
    return rc;
}

/* What comes next in one stretch, at most max bytes; none at the end. */
static gr_piece stretch(const gr_msg *m, size_t max)
{
    gr_piece p = {NULL, 0, NULL};
    if (m->piece < m->count) {
        p.data = m->pieces[m->piece].data + m->at;
        p.size = m->pieces[m->piece].size - m->at;
        if (p.size > max)
            p.size = max;
    }
    return p;
}

/* A step's worth of input becomes at most a frame. */
static int put_deflated(gr_msg *m, gr_outq *q, unsigned kind, size_t frame_max, size_t *bytes,
                        int *last)
{
    uint8_t room[GR_SMALL_MAX];
    size_t used;
    gr_piece in = stretch(m, gr_deflate_stream_step(m->z));
    gr_piece out = {room, 0, NULL};
    size_t max = content_max(m, frame_max);
    if (max > sizeof room)
        max = sizeof room;
    int rc = gr_deflate_stream_some(m->z, in.data, in.size, &used, room, max, &out.size,
                                    in.size == m->left);
    if (rc != GR_OK && rc != GR_NONE)
        return rc;
    advance(m, used);
    *last = gr_deflate_stream_done(m->z);
    *bytes = 0;
    if (!out.size && !*last)
        return GR_OK;
    return put_frame(m, q, kind, &out, 1, out.size, *last, bytes);
}

int gr_msg_put_next(gr_msg *m, gr_outq *q, unsigned kind, size_t frame_max, size_t *bytes,
                    int *last)
{
    if (m->slot < 0)
        return put_whole(m, q, kind, bytes, last);
    return m->z ? put_deflated(m, q, kind, frame_max, bytes, last)
                : put_plain(m, q, kind, frame_max, bytes, last);
}

void gr_msgs_append(gr_msgs *l, gr_msg *m)
{
    m->next = NULL;
    m->prev = l->last;
    if (l->last)
        l->last->next = m;
    else
        l->first = m;
    l->last = m;
    l->count++;
    l->left += m->left;
}

void gr_msgs_remove(gr_msgs *l, gr_msg *m)
{
    if (m->prev)
        m->prev->next = m->next;
    else
        l->first = m->next;
    if (m->next)
        m->next->prev = m->prev;
    else
        l->last = m->prev;
    l->count--;
    l->left -= m->left;
}

gr_msg *gr_msgs_find(const gr_msgs *l, uint64_t id)
{
    for (gr_msg *m = l->first; m; m = m->next)
        if (m->frame.id == id)
            return m;
    return NULL;
}
