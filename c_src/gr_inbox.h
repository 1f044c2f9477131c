/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and casts that have arrived and cannot be delivered yet, oldest first. */
#ifndef GR_INBOX_H
#define GR_INBOX_H

#include "gr_reader.h"

typedef struct gr_held gr_held;

typedef struct gr_inbox {
    const gr_mem *mem;
    const gr_blob_ops *blobs;
    gr_held *first;
    gr_held *last;
    size_t bytes; /* of all their content */
} gr_inbox;

/* Borrows the vtables. */
void gr_inbox_init(gr_inbox *b, const gr_mem *mem, const gr_blob_ops *blobs);
void gr_inbox_clear(gr_inbox *b);

/* Takes the blob of in, or copies its content into one. GR_ENOMEM: in is as before. */
int gr_inbox_put(gr_inbox *b, const gr_input *in);

/* The oldest one, whose blob is the caller's then. Whether there is one. */
int gr_inbox_take(gr_inbox *b, gr_input *in);

#endif
