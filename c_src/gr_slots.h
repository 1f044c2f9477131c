/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that arrive in fragments: each is put together in a blob of its own, whose size is known
 * and allowed before it is allocated. A slot is in use until the message has been used.
 */
#ifndef GR_SLOTS_H
#define GR_SLOTS_H

#include "gr_frame.h"
#include "gr_inflate.h"

typedef struct gr_slot gr_slot;

typedef struct gr_slots {
    const gr_mem *mem;
    const gr_blob_ops *blobs;
    uint64_t limit; /* of the sizes of all messages in use, bytes */
    uint64_t bytes; /* sum of them */
    size_t used;
    gr_slot *slot; /* GR_SLOTS of them; NULL: none is in use */
    gr_inflates inflates;
} gr_slots;

/* Borrows the vtables. */
void gr_slots_init(gr_slots *s, const gr_mem *mem, const gr_blob_ops *blobs, uint64_t limit);
void gr_slots_clear(gr_slots *s);
void gr_slots_trim(gr_slots *s);

/* A fragment begins, the first of a message or another one. GR_EPROTO or GR_ENOMEM possible. */
int gr_slots_fragment(gr_slots *s, const gr_frame *f);

/* Where n bytes of its content can be put directly; no size if they have to be looked at first. */
gr_iov gr_slots_direct(gr_slots *s, unsigned slot, size_t n);
void gr_slots_filled(gr_slots *s, unsigned slot, size_t n);

/*
 * Puts content there, as long as *budget, bytes of result, lasts. *used: bytes of data taken. GR_OK:
 * all was taken and worked off. GR_NONE: the budget is spent. GR_EPROTO or GR_ENOMEM possible.
 */
int gr_slots_put(gr_slots *s, unsigned slot, const uint8_t *data, size_t size, size_t *used,
                 size_t *budget);

/* The last fragment is complete: the frame of the message and its blob, a reference. */
int gr_slots_end(gr_slots *s, unsigned slot, gr_frame *f, gr_blob *blob);

/* The message has been used: the slot is free. */
void gr_slots_release(gr_slots *s, unsigned slot);

/* The sender gives the message up. GR_EPROTO if it is complete, or there is none. */
int gr_slots_abort(gr_slots *s, unsigned slot);

/* Whether a message is incomplete. */
int gr_slots_any_open(const gr_slots *s);

#endif
