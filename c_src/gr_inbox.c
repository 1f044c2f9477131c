/* SPDX-License-Identifier: Apache-2.0 */
/* Inbox: a list. How much it holds is bounded by the windows that the sender keeps to. */
#include "gr_inbox.h"

#include <string.h>

struct gr_held {
    gr_held *next;
    gr_input in; /* has a blob */
};

void gr_inbox_init(gr_inbox *b, const gr_mem *mem, const gr_blob_ops *blobs)
{
    memset(b, 0, sizeof *b);
    b->mem = mem;
    b->blobs = blobs;
}

void gr_inbox_clear(gr_inbox *b)
{
    gr_input in;
    while (gr_inbox_take(b, &in))
        b->blobs->unref(b->blobs->ctx, in.blob.owner);
}

static int give_blob(gr_inbox *b, gr_input *in)
{
    if (in->blob.owner)
        return GR_OK;
    int rc = b->blobs->create(b->blobs->ctx, in->frame.size, &in->blob);
    if (rc != GR_OK)
        return rc;
    if (in->frame.size)
        memcpy(in->blob.data, in->data, in->frame.size);
    in->data = in->blob.data;
    return GR_OK;
}

int gr_inbox_put(gr_inbox *b, const gr_input *in)
{
    gr_held *h = gr_alloc(b->mem, sizeof *h);
    if (!h)
        return GR_ENOMEM;
    h->next = NULL;
    h->in = *in;
    int rc = give_blob(b, &h->in);
    if (rc != GR_OK) {
        gr_free(b->mem, h);
        return rc;
    }
    if (b->last)
        b->last->next = h;
    else
        b->first = h;
    b->last = h;
    b->bytes += in->frame.size;
    return GR_OK;
}

int gr_inbox_take(gr_inbox *b, gr_input *in)
{
    gr_held *h = b->first;
    if (!h)
        return 0;
    b->first = h->next;
    if (!b->first)
        b->last = NULL;
    *in = h->in;
    b->bytes -= in->frame.size;
    gr_free(b->mem, h);
    return 1;
}
