/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output queue: a list of chunks. Each has bytes of its own and, behind them, may have a reference to
 * a blob. A frame begins in a chunk's own bytes; what does not fit there follows in chunks that no
 * frame begins in.
 */
#include "gr_outq.h"

#include <string.h>

/* Room of a chunk: some 100 small messages, and one TLS record's worth of plaintext. */
#define CHUNK_ROOM ((size_t)16 * 1024)

/* A head that is followed by a reference needs no more. */
#define HEAD_ROOM ((size_t)64)

/* Room of a chunk for frames that are put first. */
#define FIRST_ROOM ((size_t)256)

/* A chunk that counts for so much takes no more frames: it is moved as a whole or not at all. */
#define CHARGE_MAX ((size_t)64 * 1024)

/* From here on a reference and one more iovec entry cost less than a copy. */
#define REF_MIN ((size_t)4 * 1024)

struct gr_chunk {
    gr_chunk *next;
    const uint8_t *data; /* first byte of its own not yet consumed */
    size_t size;         /* bytes of its own not yet consumed */
    const uint8_t *ref;  /* first byte of the reference not yet consumed */
    size_t ref_size;     /* bytes of the reference not yet consumed */
    void *owner;         /* blob that holds them; NULL: no reference */
    size_t room;         /* of room[] */
    size_t fill;         /* bytes of room[] in use, consumed ones included */
    size_t charge;       /* of the frames that end in it */
    unsigned kind;
    uint8_t starts; /* a frame begins at its first byte */
    uint8_t first;  /* was put first */
    uint8_t closed; /* takes no more frames */
    uint8_t bytes[];
};

void gr_outq_init(gr_outq *q, const gr_mem *mem, const gr_blob_ops *blobs)
{
    memset(q, 0, sizeof *q);
    q->mem = mem;
    q->blobs = blobs;
}

static void chunk_free(gr_outq *q, gr_chunk *c)
{
    if (c->owner)
        q->blobs->unref(q->blobs->ctx, c->owner);
    gr_free(q->mem, c);
}

void gr_outq_trim(gr_outq *q)
{
    gr_free(q->mem, q->spare);
    q->spare = NULL;
}

void gr_outq_clear(gr_outq *q)
{
    while (q->head) {
        gr_chunk *c = q->head;
        q->head = c->next;
        chunk_free(q, c);
    }
    q->tail = NULL;
    q->size = 0;
    gr_outq_trim(q);
}

static gr_chunk *chunk_new(gr_outq *q, unsigned kind, size_t room, int starts)
{
    gr_chunk *c = q->spare;
    if (room == CHUNK_ROOM && c) {
        q->spare = NULL;
    } else {
        c = gr_alloc(q->mem, sizeof *c + room);
        if (!c)
            return NULL;
    }
    memset(c, 0, sizeof *c);
    c->data = c->bytes;
    c->room = room;
    c->kind = kind;
    c->starts = (uint8_t)(starts != 0);
    return c;
}

static gr_chunk *append(gr_outq *q, unsigned kind, size_t room, int starts)
{
    gr_chunk *c = chunk_new(q, kind, room, starts);
    if (!c)
        return NULL;
    if (q->tail)
        q->tail->next = c;
    else
        q->head = c;
    q->tail = c;
    return c;
}

static void count_in(gr_outq *q, size_t n)
{
    q->size += n;
    q->in += n;
}

static void copy(gr_outq *q, gr_chunk *c, const uint8_t *data, size_t size)
{
    memcpy(c->bytes + c->fill, data, size);
    c->fill += size;
    c->size += size;
    count_in(q, size);
}

static int put_copy(gr_outq *q, unsigned kind, const uint8_t *data, size_t size)
{
    while (size) {
        gr_chunk *c = q->tail;
        if (c->owner || c->fill == c->room)
            c = append(q, kind, CHUNK_ROOM, 0);
        if (!c)
            return GR_ENOMEM;
        size_t n = c->room - c->fill;
        if (n > size)
            n = size;
        copy(q, c, data, n);
        data += n;
        size -= n;
    }
    return GR_OK;
}

static int put_ref(gr_outq *q, unsigned kind, const gr_piece *p)
{
    gr_chunk *c = q->tail;
    if (c->owner)
        c = append(q, kind, HEAD_ROOM, 0);
    if (!c)
        return GR_ENOMEM;
    q->blobs->ref(q->blobs->ctx, p->owner);
    c->owner = p->owner;
    c->ref = p->data;
    c->ref_size = p->size;
    count_in(q, p->size);
    return GR_OK;
}

static int is_ref(const gr_piece *p)
{
    return p->owner && p->size >= REF_MIN;
}

/*
 * Whether the last chunk can take a frame that begins with so many bytes to be copied: all of them, or
 * a part of what needs more than one chunk in any case.
 */
static int tail_takes(const gr_outq *q, unsigned kind, size_t copied)
{
    const gr_chunk *c = q->tail;
    return c && !c->owner && !c->first && !c->closed && c->kind == kind &&
           (copied <= c->room - c->fill || (copied > CHUNK_ROOM && c->fill < c->room));
}

int gr_outq_put(gr_outq *q, unsigned kind, const uint8_t *head, size_t head_size,
                const gr_piece *pieces, size_t count)
{
    size_t copied = head_size;
    int refs = 0;
    for (size_t i = 0; i < count && !refs; i++) {
        refs = is_ref(&pieces[i]);
        copied += refs ? 0 : pieces[i].size;
    }
    if (!tail_takes(q, kind, copied) &&
        !append(q, kind, refs && copied <= HEAD_ROOM ? HEAD_ROOM : CHUNK_ROOM, 1))
        return GR_ENOMEM;
    int rc = put_copy(q, kind, head, head_size);
    for (size_t i = 0; i < count && rc == GR_OK; i++)
        rc = is_ref(&pieces[i]) ? put_ref(q, kind, &pieces[i])
                                : put_copy(q, kind, pieces[i].data, pieces[i].size);
    return rc;
}

static int is_untouched(const gr_chunk *c)
{
    return c->data == c->bytes;
}

/* The link to the first chunk that can have another one before it. */
static gr_chunk **boundary(gr_outq *q, gr_chunk **before)
{
    gr_chunk **at = &q->head;
    *before = NULL;
    while (*at && !((*at)->starts && is_untouched(*at))) {
        *before = *at;
        at = &(*at)->next;
    }
    while (*at && (*at)->first) {
        *before = *at;
        at = &(*at)->next;
    }
    return at;
}

int gr_outq_put_first(gr_outq *q, unsigned kind, const uint8_t *head, size_t head_size)
{
    gr_chunk *before;
    gr_chunk **at = boundary(q, &before);
    if (!before || !before->first || before->kind != kind ||
        head_size > before->room - before->fill) {
        gr_chunk *c = chunk_new(q, kind, FIRST_ROOM, 1);
        if (!c)
            return GR_ENOMEM;
        c->first = 1;
        c->next = *at;
        *at = c;
        if (!c->next)
            q->tail = c;
        before = c;
    }
    copy(q, before, head, head_size);
    return GR_OK;
}

void gr_outq_charge(gr_outq *q, size_t charge)
{
    q->tail->charge += charge;
    q->tail->closed = q->tail->charge >= CHARGE_MAX;
}

size_t gr_outq_oldest(const gr_outq *q)
{
    size_t n = 0;
    for (const gr_chunk *c = q->head; c; c = c->next) {
        n += c->charge;
        if (!c->next || c->next->starts)
            break;
    }
    return n;
}

size_t gr_outq_move(gr_outq *to, gr_outq *from)
{
    gr_chunk *first = from->head;
    gr_chunk *last = first;
    size_t n = first->size + first->ref_size;
    while (last->next && !last->next->starts) {
        last = last->next;
        n += last->size + last->ref_size;
    }
    from->head = last->next;
    if (!from->head)
        from->tail = NULL;
    last->next = NULL;
    if (to->tail)
        to->tail->next = first;
    else
        to->head = first;
    to->tail = last;
    from->size -= n;
    from->out += n;
    count_in(to, n);
    return n;
}

size_t gr_outq_peek(const gr_outq *q, gr_iov *iov, size_t max)
{
    size_t n = 0;
    for (const gr_chunk *c = q->head; c && n < max; c = c->next) {
        if (c->size) {
            iov[n].data = (uint8_t *)(uintptr_t)c->data;
            iov[n++].size = c->size;
        }
        if (c->ref_size && n < max) {
            iov[n].data = (uint8_t *)(uintptr_t)c->ref;
            iov[n++].size = c->ref_size;
        }
    }
    return n;
}

static void chunk_retire(gr_outq *q, gr_chunk *c)
{
    if (!c->owner && c->room == CHUNK_ROOM && !q->spare)
        q->spare = c;
    else
        chunk_free(q, c);
}

/* Takes up to n bytes off a chunk; returns how many. */
static size_t chunk_consume(gr_chunk *c, size_t n)
{
    size_t own = n < c->size ? n : c->size;
    size_t ref = n - own < c->ref_size ? n - own : c->ref_size;
    c->data += own;
    c->size -= own;
    /* Without an owner it is NULL, to which C lets nobody add even 0. */
    if (ref)
        c->ref += ref;
    c->ref_size -= ref;
    return own + ref;
}

void gr_outq_consume(gr_outq *q, size_t n)
{
    q->size -= n;
    q->out += n;
    while (q->head) {
        gr_chunk *c = q->head;
        size_t taken = chunk_consume(c, n);
        q->done[c->kind] += taken;
        n -= taken;
        if (c->size || c->ref_size)
            return;
        q->head = c->next;
        if (!q->head)
            q->tail = NULL;
        chunk_retire(q, c);
    }
}
