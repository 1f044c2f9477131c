/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Call table: the calls that wait, by id, and in the order in which they came. Grows one bucket at
 * a time, so no insertion ever stops to rehash the whole table.
 */
#ifndef GR_CALLS_H
#define GR_CALLS_H

#include "gr_base.h"

typedef struct gr_call {
    uint64_t id;
    uint64_t deadline; /* ms on the caller's clock; GR_FOREVER: none */
    uint64_t position; /* the session's: where on its lane this call's frame is */
    uint64_t since;    /* ms: when it was put into the table */
    uint64_t size;     /* the session's: of what a submitter who waits wants to submit, bytes */
    uintptr_t caller;  /* opaque to the core: the process to answer */
    struct gr_call *chain;
    struct gr_call *older;
    struct gr_call *newer;
    size_t tag_size;
    uint8_t tag[]; /* opaque to the core: comes back with the answer */
} gr_call;

typedef struct gr_calls {
    const gr_mem *mem;
    gr_call **buckets;
    size_t room;  /* buckets allocated, a power of two; 0 before the first call */
    size_t used;  /* buckets in use: room / 2 < used <= room */
    size_t count; /* calls */
    gr_call *oldest;
    gr_call *newest;
    gr_call *cursor; /* where the next gr_calls_walk goes on; NULL: at the oldest */
} gr_calls;

/* Borrows mem for the life of the table. */
void gr_calls_init(gr_calls *t, const gr_mem *mem);

/* Frees all calls that are left. */
void gr_calls_clear(gr_calls *t);

/* Adds a call; GR_EEXIST when the id is there. Copies the tag. The entry belongs to the table. */
int gr_calls_put(gr_calls *t, uint64_t id, uintptr_t caller, const uint8_t *tag, size_t tag_size,
                 gr_call **out);

/* The call, which stays the table's; NULL when there is none. */
gr_call *gr_calls_find(const gr_calls *t, uint64_t id);

/* Removes the call and returns it, now the caller's to gr_call_free; NULL when there is none. */
gr_call *gr_calls_take(gr_calls *t, uint64_t id);

/* Removes the oldest call, as gr_calls_take. */
gr_call *gr_calls_take_oldest(gr_calls *t);

/*
 * Walks through the table, oldest first, and again from the start at the next call after it has come
 * to the end: the next one, which stays the table's, or NULL when the budget is used up or the end is
 * reached. Each call takes one from the budget.
 */
gr_call *gr_calls_walk(gr_calls *t, size_t *budget);

void gr_call_free(gr_calls *t, gr_call *c);

#endif
