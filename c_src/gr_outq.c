/* SPDX-License-Identifier: Apache-2.0 */
/* Output queue: a list of chunks, each either memory of our own or a reference to a blob. */
#include "gr_outq.h"

#include <string.h>

/* Room of a chunk: some 100 small messages, and one TLS record's worth of plaintext. */
#define CHUNK_ROOM ((size_t)16 * 1024)

/* From here on a reference and one more iovec entry cost less than a copy. */
#define REF_MIN ((size_t)4 * 1024)

struct gr_chunk {
    gr_chunk *next;
    const uint8_t *data; /* first byte not yet consumed */
    size_t size;         /* bytes not yet consumed */
    void *owner;         /* blob that holds the data; NULL: room[] does */
    size_t fill;         /* bytes of room[] in use, consumed ones included */
    uint8_t room[];
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

static void chunk_link(gr_outq *q, gr_chunk *c)
{
    if (q->tail)
        q->tail->next = c;
    else
        q->head = c;
    q->tail = c;
}

static gr_chunk *chunk_new(gr_outq *q, size_t room)
{
    gr_chunk *c = q->spare;
    if (room && c) {
        q->spare = NULL;
    } else {
        c = gr_alloc(q->mem, sizeof *c + room);
        if (!c)
            return NULL;
    }
    memset(c, 0, sizeof *c);
    c->data = c->room;
    return c;
}

static int put_copy(gr_outq *q, const uint8_t *data, size_t size)
{
    while (size) {
        gr_chunk *c = q->tail;
        if (!c || c->owner || c->fill == CHUNK_ROOM) {
            c = chunk_new(q, CHUNK_ROOM);
            if (!c)
                return GR_ENOMEM;
            chunk_link(q, c);
        }
        size_t n = CHUNK_ROOM - c->fill;
        if (n > size)
            n = size;
        memcpy(c->room + c->fill, data, n);
        c->fill += n;
        c->size += n;
        q->size += n;
        q->in += n;
        data += n;
        size -= n;
    }
    return GR_OK;
}

static int put_ref(gr_outq *q, const gr_piece *p)
{
    gr_chunk *c = chunk_new(q, 0);
    if (!c)
        return GR_ENOMEM;
    q->blobs->ref(q->blobs->ctx, p->owner);
    c->owner = p->owner;
    c->data = p->data;
    c->size = p->size;
    chunk_link(q, c);
    q->size += p->size;
    q->in += p->size;
    return GR_OK;
}

int gr_outq_put(gr_outq *q, const uint8_t *head, size_t head_size, const gr_piece *pieces,
                size_t count)
{
    int rc = put_copy(q, head, head_size);
    for (size_t i = 0; i < count && rc == GR_OK; i++) {
        const gr_piece *p = &pieces[i];
        rc = p->owner && p->size >= REF_MIN ? put_ref(q, p) : put_copy(q, p->data, p->size);
    }
    return rc;
}

size_t gr_outq_peek(const gr_outq *q, gr_iov *iov, size_t max)
{
    size_t n = 0;
    for (const gr_chunk *c = q->head; c && n < max; c = c->next) {
        iov[n].data = (uint8_t *)(uintptr_t)c->data;
        iov[n].size = c->size;
        n++;
    }
    return n;
}

static void chunk_retire(gr_outq *q, gr_chunk *c)
{
    if (!c->owner && !q->spare)
        q->spare = c;
    else
        chunk_free(q, c);
}

void gr_outq_consume(gr_outq *q, size_t n)
{
    q->size -= n;
    q->out += n;
    while (q->head) {
        gr_chunk *c = q->head;
        size_t take = n < c->size ? n : c->size;
        c->data += take;
        c->size -= take;
        n -= take;
        if (c->size)
            return;
        q->head = c->next;
        if (!q->head)
            q->tail = NULL;
        chunk_retire(q, c);
    }
}
