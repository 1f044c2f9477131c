/* SPDX-License-Identifier: Apache-2.0 */
/* Reassembly. All that it reads is the peer's: sizes are checked before anything is allocated. */
#include "gr_slots.h"

#include <string.h>

struct gr_slot {
    gr_frame frame; /* the first one; type 0: the slot is free */
    gr_blob blob;   /* no owner: the message is complete and has been given away */
    size_t filled;  /* bytes of it */
    gr_inflate *z;  /* NULL: the content is the message */
};

void gr_slots_init(gr_slots *s, const gr_mem *mem, const gr_blob_ops *blobs, uint64_t limit)
{
    memset(s, 0, sizeof *s);
    s->mem = mem;
    s->blobs = blobs;
    s->limit = limit;
    gr_inflates_init(&s->inflates, mem);
}

void gr_slots_clear(gr_slots *s)
{
    for (unsigned i = 0; s->slot && i < GR_SLOTS; i++)
        if (s->slot[i].frame.type)
            gr_slots_release(s, i);
    gr_slots_trim(s);
}

void gr_slots_trim(gr_slots *s)
{
    gr_inflates_trim(&s->inflates);
    if (s->used)
        return;
    gr_free(s->mem, s->slot);
    s->slot = NULL;
}

static gr_slot *find(const gr_slots *s, unsigned slot)
{
    return s->slot && s->slot[slot].frame.type ? &s->slot[slot] : NULL;
}

static int make_table(gr_slots *s)
{
    if (s->slot)
        return GR_OK;
    s->slot = gr_alloc(s->mem, GR_SLOTS * sizeof *s->slot);
    if (!s->slot)
        return GR_ENOMEM;
    memset(s->slot, 0, GR_SLOTS * sizeof *s->slot);
    return GR_OK;
}

/* One of the largest size is always taken. Smaller ones have no business in fragments. */
static int may_begin(const gr_slots *s, const gr_frame *f)
{
    return !find(s, f->slot) && f->whole > GR_SMALL_MAX && f->whole <= s->limit &&
           (!s->used || s->bytes + f->whole <= s->limit);
}

static int begin(gr_slots *s, const gr_frame *f)
{
    if (!may_begin(s, f))
        return GR_EPROTO;
    int rc = make_table(s);
    if (rc != GR_OK)
        return rc;
    gr_slot *m = &s->slot[f->slot];
    memset(m, 0, sizeof *m);
    rc = s->blobs->create(s->blobs->ctx, f->whole, &m->blob);
    if (rc != GR_OK)
        return rc;
    m->frame = *f;
    s->used++;
    s->bytes += f->whole;
    if (!(f->flags & GR_FLAG_DEFLATED))
        return GR_OK;
    rc = gr_inflates_get(&s->inflates, &m->z);
    if (rc == GR_OK)
        gr_inflate_begin(m->z, f->whole);
    return rc;
}

int gr_slots_fragment(gr_slots *s, const gr_frame *f)
{
    if (f->type != GR_FRAME_DATA) {
        int rc = begin(s, f);
        if (rc != GR_OK)
            return rc;
    }
    const gr_slot *m = find(s, f->slot);
    if (!m || !m->blob.owner)
        return GR_EPROTO;
    return m->z || f->size <= m->blob.size - m->filled ? GR_OK : GR_EPROTO;
}

gr_iov gr_slots_direct(gr_slots *s, unsigned slot, size_t n)
{
    const gr_slot *m = &s->slot[slot];
    gr_iov v = {m->blob.data + m->filled, m->z ? 0 : n};
    return v;
}

void gr_slots_filled(gr_slots *s, unsigned slot, size_t n)
{
    s->slot[slot].filled += n;
}

/* When all of the message is there, only the end of the stream can follow. */
static int inflate_some(gr_slot *m, const uint8_t *data, size_t size, size_t *used, size_t *budget)
{
    uint8_t none;
    size_t room = m->blob.size - m->filled;
    size_t got;
    if (room > *budget)
        room = *budget;
    int rc = gr_inflate_some(m->z, data, size, used, room ? m->blob.data + m->filled : &none,
                             room ? room : 1, &got);
    if (rc != GR_OK && rc != GR_NONE)
        return rc;
    if (!room && got)
        return GR_EPROTO;
    m->filled += got;
    /* Input costs as well: it can be all tables and no result. */
    *budget -= got + *used < *budget ? got + *used : *budget;
    return rc;
}

int gr_slots_put(gr_slots *s, unsigned slot, const uint8_t *data, size_t size, size_t *used,
                 size_t *budget)
{
    gr_slot *m = &s->slot[slot];
    *used = size;
    if (!m->z) {
        if (size)
            memcpy(m->blob.data + m->filled, data, size);
        m->filled += size;
        return GR_OK;
    }
    int rc = GR_NONE;
    for (*used = 0; *used < size || rc == GR_NONE;) {
        size_t n;
        if (!*budget)
            return GR_NONE;
        rc = inflate_some(m, *used ? data + *used : data, size - *used, &n, budget);
        if (rc != GR_OK && rc != GR_NONE)
            return rc;
        *used += n;
    }
    return GR_OK;
}

int gr_slots_end(gr_slots *s, unsigned slot, gr_frame *f, gr_blob *blob)
{
    gr_slot *m = &s->slot[slot];
    if (m->filled != m->blob.size || (m->z && !gr_inflate_done(m->z)))
        return GR_EPROTO;
    gr_inflates_put(&s->inflates, m->z);
    m->z = NULL;
    *f = m->frame;
    f->size = f->whole;
    *blob = m->blob;
    m->blob.owner = NULL;
    return GR_OK;
}

void gr_slots_release(gr_slots *s, unsigned slot)
{
    gr_slot *m = &s->slot[slot];
    if (m->blob.owner)
        s->blobs->unref(s->blobs->ctx, m->blob.owner);
    gr_inflates_put(&s->inflates, m->z);
    s->bytes -= m->frame.whole;
    s->used--;
    memset(m, 0, sizeof *m);
}

int gr_slots_abort(gr_slots *s, unsigned slot)
{
    const gr_slot *m = find(s, slot);
    if (!m || !m->blob.owner)
        return GR_EPROTO;
    gr_slots_release(s, slot);
    return GR_OK;
}

int gr_slots_any_open(const gr_slots *s)
{
    for (unsigned i = 0; s->used && i < GR_SLOTS; i++)
        if (s->slot[i].frame.type && s->slot[i].blob.owner)
            return 1;
    return 0;
}
