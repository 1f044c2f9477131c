/* SPDX-License-Identifier: Apache-2.0 */
/* Frame heads. Everything that a head alone can get wrong is refused here. */
#include "gr_frame.h"

#include "gr_wire.h"

#define TIMED_SIZE 8u
#define WHOLE_SIZE 4u

size_t gr_frame_fields(uint8_t flags)
{
    return (flags & GR_FLAG_TIMED ? TIMED_SIZE : 0) +
           (flags & (GR_FLAG_LARGE | GR_FLAG_DEFLATED) ? WHOLE_SIZE : 0);
}

size_t gr_frame_charge(const gr_frame *f)
{
    size_t size = f->flags & GR_FLAG_DEFLATED && f->whole > f->size ? f->whole : f->size;
    return GR_FRAME_CHARGE + GR_FRAME_HEAD + gr_frame_fields(f->flags) + size;
}

size_t gr_frame_write(uint8_t out[GR_FRAME_START_MAX], const gr_frame *f)
{
    uint8_t *at = out + GR_FRAME_HEAD;
    size_t fields = gr_frame_fields(f->flags);
    out[0] = (uint8_t)f->type;
    out[1] = f->flags;
    gr_put16(out + 2, f->slot);
    gr_put32(out + 4, f->size + (uint32_t)fields);
    gr_put64(out + 8, f->id);
    if (f->flags & GR_FLAG_TIMED) {
        gr_put32(at, f->left);
        gr_put32(at + 4, f->stamp);
        at += TIMED_SIZE;
    }
    if (f->flags & (GR_FLAG_LARGE | GR_FLAG_DEFLATED))
        gr_put32(at, f->whole);
    return GR_FRAME_HEAD + fields;
}

/* What a type may look like. */
typedef struct frame_rule {
    uint8_t from_client; /* whether a client, and a server, may send it */
    uint8_t from_server;
    uint8_t flags; /* allowed ones */
    enum { ID_NONE, ID_SOME, ID_ANY } id;
    enum { SLOT_NONE, SLOT_IF_LARGE, SLOT_SOME, SLOT_LANE } slot;
    enum { SIZE_NONE, SIZE_TOOBIG, SIZE_MESSAGE, SIZE_DATA } size;
} frame_rule;

#define MESSAGE_FLAGS (GR_FLAG_LARGE | GR_FLAG_END | GR_FLAG_DEFLATED | GR_FLAG_CONTEXT)
#define CLIENT_FLAGS (MESSAGE_FLAGS | GR_FLAG_ORDERED | GR_FLAG_BROADCAST)

static const frame_rule rules[] = {
    [GR_FRAME_REQUEST] = {1, 0, CLIENT_FLAGS | GR_FLAG_TIMED, ID_SOME, SLOT_IF_LARGE, SIZE_MESSAGE},
    [GR_FRAME_CAST] = {1, 0, CLIENT_FLAGS, ID_NONE, SLOT_IF_LARGE, SIZE_MESSAGE},
    [GR_FRAME_REPLY] = {0, 1, MESSAGE_FLAGS, ID_SOME, SLOT_IF_LARGE, SIZE_MESSAGE},
    [GR_FRAME_TOOBIG] = {0, 1, 0, ID_SOME, SLOT_NONE, SIZE_TOOBIG},
    [GR_FRAME_PING] = {1, 1, 0, ID_NONE, SLOT_NONE, SIZE_NONE},
    [GR_FRAME_PONG] = {1, 1, 0, ID_NONE, SLOT_NONE, SIZE_NONE},
    [GR_FRAME_BYE] = {1, 1, 0, ID_NONE, SLOT_NONE, SIZE_NONE},
    [GR_FRAME_DATA] = {1, 1, GR_FLAG_END, ID_NONE, SLOT_SOME, SIZE_DATA},
    [GR_FRAME_ABORT] = {1, 1, 0, ID_NONE, SLOT_SOME, SIZE_NONE},
    [GR_FRAME_DONE] = {1, 1, 0, ID_NONE, SLOT_SOME, SIZE_NONE},
    [GR_FRAME_WINDOW] = {1, 1, 0, ID_ANY, SLOT_LANE, SIZE_NONE},
    [GR_FRAME_CANCEL] = {1, 0, 0, ID_SOME, SLOT_NONE, SIZE_NONE},
};

#define TYPES (sizeof rules / sizeof rules[0])

/* END says something of fragments, CONTEXT of compression, BROADCAST of the ordered lane. */
static int flags_agree(const gr_frame *f)
{
    uint8_t x = f->flags;
    if (f->type == GR_FRAME_DATA)
        return 1;
    if (x & GR_FLAG_END && !(x & GR_FLAG_LARGE))
        return 0;
    if (x & GR_FLAG_CONTEXT && (x & (GR_FLAG_LARGE | GR_FLAG_ORDERED) || !(x & GR_FLAG_DEFLATED)))
        return 0;
    /* An ordered request is one for a registered process. */
    if (f->type == GR_FRAME_REQUEST && x & GR_FLAG_ORDERED && !(x & GR_FLAG_BROADCAST))
        return 0;
    return !(x & GR_FLAG_BROADCAST) || x & GR_FLAG_ORDERED;
}

static int slot_fits(const frame_rule *r, const gr_frame *f)
{
    switch (r->slot) {
    case SLOT_IF_LARGE:
        return f->flags & GR_FLAG_LARGE ? f->slot < GR_SLOTS : f->slot == 0;
    case SLOT_SOME:
        return f->slot < GR_SLOTS;
    case SLOT_LANE:
        return f->slot < GR_LANES;
    default:
        return f->slot == 0;
    }
}

/* Here the size is that of fields and content. */
static int size_fits(const frame_rule *r, const gr_frame *f)
{
    size_t fields = gr_frame_fields(f->flags);
    switch (r->size) {
    case SIZE_MESSAGE:
        return f->size >= fields &&
               f->size - fields <= (f->flags & GR_FLAG_LARGE ? GR_FRAGMENT_MAX : GR_SMALL_MAX);
    case SIZE_DATA:
        return f->size <= GR_FRAGMENT_MAX && (f->size > 0 || f->flags & GR_FLAG_END);
    case SIZE_TOOBIG:
        return f->size == GR_TOOBIG_BODY;
    default:
        return f->size == 0;
    }
}

int gr_frame_read(const uint8_t in[GR_FRAME_HEAD], int from_server, gr_frame *f)
{
    if (in[0] == 0 || in[0] >= TYPES)
        return GR_EPROTO;
    const frame_rule *r = &rules[in[0]];
    f->type = (gr_frame_type)in[0];
    f->flags = in[1];
    f->slot = gr_get16(in + 2);
    f->size = gr_get32(in + 4);
    f->id = gr_get64(in + 8);
    f->left = f->stamp = f->whole = 0;
    if (!(from_server ? r->from_server : r->from_client) || (f->flags & ~r->flags) != 0 ||
        !flags_agree(f) || !slot_fits(r, f) || !size_fits(r, f) ||
        (r->id == ID_NONE && f->id != 0) || (r->id == ID_SOME && f->id == 0))
        return GR_EPROTO;
    f->size -= (uint32_t)gr_frame_fields(f->flags);
    return GR_OK;
}

void gr_frame_read_fields(const uint8_t *in, gr_frame *f)
{
    if (f->flags & GR_FLAG_TIMED) {
        f->left = gr_get32(in);
        f->stamp = gr_get32(in + 4);
        in += TIMED_SIZE;
    }
    if (f->flags & (GR_FLAG_LARGE | GR_FLAG_DEFLATED))
        f->whole = gr_get32(in);
}
