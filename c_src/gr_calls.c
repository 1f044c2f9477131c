/* SPDX-License-Identifier: Apache-2.0 */
/* Call table by linear hashing. Ids are made on our own node, or bounded by what a peer may send. */
#include "gr_calls.h"

#include <string.h>

#define ROOM_MIN ((size_t)8)

void gr_calls_init(gr_calls *t, const gr_mem *mem)
{
    memset(t, 0, sizeof *t);
    t->mem = mem;
}

void gr_call_free(gr_calls *t, gr_call *c)
{
    gr_free(t->mem, c);
}

void gr_calls_clear(gr_calls *t)
{
    gr_call *c;
    while ((c = gr_calls_take_oldest(t)) != NULL)
        gr_call_free(t, c);
    gr_free(t->mem, t->buckets);
    gr_calls_init(t, t->mem);
}

static size_t hash(uint64_t id)
{
    id ^= id >> 32;
    id *= UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(id ^ id >> 29);
}

/* A bucket that is not in use yet shares the one of half the room below it. */
static gr_call **bucket(const gr_calls *t, uint64_t id)
{
    size_t i = hash(id) & (t->room - 1);
    return &t->buckets[i < t->used ? i : i - t->room / 2];
}

static int grow(gr_calls *t)
{
    if (t->used == t->room) {
        size_t room = t->room ? t->room * 2 : ROOM_MIN;
        gr_call **b = t->mem->realloc(t->mem->ctx, t->buckets, room * sizeof(gr_call *));
        if (!b)
            return GR_ENOMEM;
        t->buckets = b;
        t->used = t->room ? t->room : ROOM_MIN / 2 + 1;
        if (!t->room)
            memset(b, 0, t->used * sizeof *b);
        t->room = room;
    }
    return GR_OK;
}

/* Brings one more bucket into use and moves to it what belongs there. */
static void split(gr_calls *t)
{
    size_t fresh = t->used++;
    gr_call **from = &t->buckets[fresh - t->room / 2];
    t->buckets[fresh] = NULL;
    while (*from) {
        gr_call *c = *from;
        if ((hash(c->id) & (t->room - 1)) == fresh) {
            *from = c->chain;
            c->chain = t->buckets[fresh];
            t->buckets[fresh] = c;
        } else {
            from = &c->chain;
        }
    }
}

static void append(gr_calls *t, gr_call *c)
{
    c->older = t->newest;
    c->newer = NULL;
    if (t->newest)
        t->newest->newer = c;
    else
        t->oldest = c;
    t->newest = c;
}

int gr_calls_put(gr_calls *t, uint64_t id, uintptr_t caller, const uint8_t *tag, size_t tag_size,
                 gr_call **out)
{
    if (t->count >= t->used) {
        if (grow(t) != GR_OK)
            return GR_ENOMEM;
        if (t->used < t->room)
            split(t);
    }
    gr_call **b = bucket(t, id);
    for (const gr_call *c = *b; c; c = c->chain)
        if (c->id == id)
            return GR_EEXIST;
    gr_call *c = gr_alloc(t->mem, sizeof *c + tag_size);
    if (!c)
        return GR_ENOMEM;
    c->id = id;
    c->deadline = GR_FOREVER;
    c->position = c->since = c->size = 0;
    c->caller = caller;
    c->tag_size = tag_size;
    if (tag_size)
        memcpy(c->tag, tag, tag_size);
    c->chain = *b;
    *b = c;
    append(t, c);
    t->count++;
    *out = c;
    return GR_OK;
}

gr_call *gr_calls_find(const gr_calls *t, uint64_t id)
{
    gr_call *c = t->count ? *bucket(t, id) : NULL;
    while (c && c->id != id)
        c = c->chain;
    return c;
}

gr_call *gr_calls_take(gr_calls *t, uint64_t id)
{
    if (!t->count)
        return NULL;
    gr_call **b = bucket(t, id);
    while (*b && (*b)->id != id)
        b = &(*b)->chain;
    gr_call *c = *b;
    if (!c)
        return NULL;
    *b = c->chain;
    if (t->cursor == c)
        t->cursor = c->newer;
    if (c->older)
        c->older->newer = c->newer;
    else
        t->oldest = c->newer;
    if (c->newer)
        c->newer->older = c->older;
    else
        t->newest = c->older;
    t->count--;
    return c;
}

gr_call *gr_calls_take_oldest(gr_calls *t)
{
    return t->oldest ? gr_calls_take(t, t->oldest->id) : NULL;
}

gr_call *gr_calls_walk(gr_calls *t, size_t *budget)
{
    if (!t->cursor)
        t->cursor = t->oldest;
    if (!t->cursor || !*budget)
        return NULL;
    gr_call *c = t->cursor;
    (*budget)--;
    t->cursor = c->newer;
    if (!t->cursor)
        *budget = 0;
    return c;
}
