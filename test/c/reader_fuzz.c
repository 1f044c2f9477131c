/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames and messages in fragments, beside a reader that has all of the stream at once and follows
 * docs/PROTOCOL.md step by step: however the bytes are cut, the same messages come out, and the same
 * streams are refused.
 */
#include <stdlib.h>
#include <string.h>

#include "cmocka_support.h"
#include "deflate_support.h"
#include "frames_support.h"
#include "fuzz_support.h"
#include "gr_reader.h"
#include "stream_support.h"

#define LIMIT ((uint32_t)200000)
#define HEAD 16u

/* Buffers, and a decompressor for each slot; beside these only the messages. */
#define MEMORY_MAX ((size_t)512 * 1024 + GR_SLOTS * 32 * 1024 + LIMIT)

/* A frame or a message as the model has it. */
typedef struct item {
    unsigned type;
    uint64_t id;
    test_bytes body; /* of a message, decompressed */
} item;

typedef struct model {
    const test_bytes *wire;
    size_t at;
    struct {
        int open;
        frame_seen first;
        test_bytes content;
    } slots[FRAMES_SLOTS];
    uint64_t bytes; /* of messages in slots */
    z_stream context;
    item *items;
    size_t count;
    size_t room;
    int rc; /* GR_OK: go on; GR_NONE: the stream ends here; GR_EPROTO */
} model;

static uint8_t scratch[LIMIT + 1];

/* ---- the model ---- */

static void add(model *m, const frame_seen *f, const uint8_t *data, size_t size)
{
    if (m->count == m->room) {
        m->room = m->room ? m->room * 2 : 16;
        m->items = realloc(m->items, m->room * sizeof *m->items);
        assert_non_null(m->items);
    }
    item *i = &m->items[m->count++];
    memset(i, 0, sizeof *i);
    i->type = f->type;
    i->id = f->id;
    if (size)
        bytes_append(&i->body, data, size);
}

static void drop_slot(model *m, unsigned slot)
{
    m->slots[slot].open = 0;
    m->slots[slot].content.size = 0;
    m->bytes -= m->slots[slot].first.whole;
}

/* What is known of a message so far. */
static int content_fits(model *m, unsigned slot, int last)
{
    const frame_seen *f = &m->slots[slot].first;
    const test_bytes *c = &m->slots[slot].content;
    size_t size = c->size;
    if (!(f->flags & FF_DEFLATED))
        return last ? size == f->whole : size <= f->whole;
    int state = data_inflate(c->data, c->size, scratch, f->whole, &size);
    if (state < 0 || (state == 1 && size != f->whole))
        return 0;
    return !last || state == 1;
}

/* A fragment, of which `have` bytes of content are there. */
static void on_fragment(model *m, const frame_seen *f, const uint8_t *data, size_t have)
{
    if (f->type != FT_DATA) {
        if (m->slots[f->slot].open || f->whole <= FRAMES_SMALL_MAX || f->whole > LIMIT ||
            m->bytes + f->whole > LIMIT) {
            m->rc = GR_EPROTO;
            return;
        }
        m->slots[f->slot].open = 1;
        m->slots[f->slot].first = *f;
        m->bytes += f->whole;
    }
    const frame_seen *first = &m->slots[f->slot].first;
    test_bytes *c = &m->slots[f->slot].content;
    if (!m->slots[f->slot].open ||
        (!(first->flags & FF_DEFLATED) && c->size + f->size > first->whole)) {
        m->rc = GR_EPROTO;
        return;
    }
    if (have)
        bytes_append(c, data, have);
    int whole = have == f->size;
    if (!content_fits(m, f->slot, whole && f->flags & FF_END)) {
        m->rc = GR_EPROTO;
    } else if (!whole) {
        m->rc = GR_NONE;
    } else if (f->flags & FF_END) {
        add(m, first, first->flags & FF_DEFLATED ? scratch : c->data, first->whole);
        drop_slot(m, f->slot);
    }
}

static void on_small(model *m, const frame_seen *f, const uint8_t *data)
{
    size_t size;
    int message = f->type == FT_REQUEST || f->type == FT_CAST || f->type == FT_REPLY;
    if (f->type == FT_ABORT) {
        if (m->slots[f->slot].open)
            drop_slot(m, f->slot);
        else
            m->rc = GR_EPROTO;
    } else if (!message || !(f->flags & FF_DEFLATED)) {
        m->rc = message && f->size > LIMIT ? GR_EPROTO : m->rc;
    } else if (f->whole > FRAMES_SMALL_MAX) {
        m->rc = GR_EPROTO;
    } else if (f->flags & FF_CONTEXT) {
        if (!data_inflate_context(&m->context, data, f->size, scratch, f->whole))
            m->rc = GR_EPROTO;
    } else if (data_inflate(data, f->size, scratch, f->whole, &size) != 1 || size != f->whole) {
        m->rc = GR_EPROTO;
    }
    if (m->rc == GR_OK)
        add(m, f, f->flags & FF_DEFLATED ? scratch : data,
            f->flags & FF_DEFLATED ? f->whole : f->size);
}

static uint32_t get32(const uint8_t *p)
{
    fuzz_in in = {p, 4};
    return (uint32_t)fuzz_int(&in, 4);
}

static void next(model *m, int from_server)
{
    size_t have = m->wire->size - m->at;
    const uint8_t *p = m->wire->data + m->at;
    m->rc = GR_NONE;
    if (have < HEAD)
        return;
    if (!frames_head_allowed(p, from_server)) {
        m->rc = GR_EPROTO;
        return;
    }
    frame_seen f = {.type = p[0], .flags = p[1], .slot = p[3]};
    fuzz_in id = {p + 8, 8};
    f.id = fuzz_int(&id, 8);
    size_t fields = f.type == FT_DATA ? 0 : (f.flags & FF_TIMED ? 8u : 0u);
    size_t start = HEAD + fields;
    if (f.type != FT_DATA && f.flags & (FF_LARGE | FF_DEFLATED))
        start += 4;
    f.size = get32(p + 4) - (uint32_t)(start - HEAD);
    int fragment = f.type == FT_DATA || f.flags & FF_LARGE;
    if (have < start || (!fragment && have - start < f.size))
        return;
    if (start - HEAD > fields)
        f.whole = get32(p + HEAD + fields);
    size_t content = have - start < f.size ? have - start : f.size;
    m->rc = GR_OK;
    m->at += start + content;
    if (fragment)
        on_fragment(m, &f, p + start, content);
    else
        on_small(m, &f, p + start);
}

static void model_run(model *m, const test_bytes *wire, int from_server)
{
    memset(m, 0, sizeof *m);
    m->wire = wire;
    data_inflate_open(&m->context);
    while (m->rc == GR_OK && wire->size)
        next(m, from_server);
}

static void model_free(model *m)
{
    for (size_t i = 0; i < m->count; i++)
        bytes_free(&m->items[i].body);
    for (size_t i = 0; i < FRAMES_SLOTS; i++)
        bytes_free(&m->slots[i].content);
    free(m->items);
    inflateEnd(&m->context);
}

/* ---- the reader ---- */

typedef struct run {
    test_mem mem;
    gr_reader r;
    const model *m;
    size_t seen; /* items that came */
    uint64_t prng;
} run;

/* What a session does with it. */
static int use(run *x, gr_input *in)
{
    if (in->blob.owner)
        mem_unref(&x->mem, &in->blob);
    if (in->frame.flags & GR_FLAG_LARGE)
        gr_slots_release(&x->r.slots, in->frame.slot);
    return in->frame.type == GR_FRAME_ABORT ? gr_slots_abort(&x->r.slots, in->frame.slot) : GR_OK;
}

static void check_item(const run *x, const gr_input *in)
{
    assert_true(x->seen < x->m->count);
    const item *i = &x->m->items[x->seen];
    assert_int_equal(in->frame.type, i->type);
    assert_true(in->frame.id == i->id);
    assert_int_equal(in->frame.size, i->body.size);
    if (i->body.size)
        assert_memory_equal(in->data, i->body.data, i->body.size);
}

/* All there is, in as many turns as it takes; none of them does too much. */
static int take(run *x)
{
    gr_input in;
    int rc;
    do {
        uint64_t before = x->r.deflate_in;
        gr_reader_turn(&x->r);
        while ((rc = gr_reader_next(&x->r, &in)) == GR_OK) {
            /* An ABORT for nothing is refused by who uses it. */
            if (in.frame.type != GR_FRAME_ABORT || x->seen < x->m->count)
                check_item(x, &in);
            rc = use(x, &in);
            if (rc != GR_OK)
                return rc;
            x->seen++;
        }
        assert_true(x->r.deflate_in - before <= 256 * 1024 + LIMIT);
    } while (rc == GR_NONE && x->r.more);
    return rc;
}

static int feed(run *x, const test_bytes *wire)
{
    size_t at = 0;
    int rc = GR_NONE;
    while (rc == GR_NONE && at < wire->size) {
        gr_iov v[2];
        size_t n, moved = 0, most = 1 + prng_size(&x->prng, 100000);
        assert_rc(gr_reader_space(&x->r, v, &n), GR_OK);
        for (size_t i = 0; i < n; i++) {
            size_t some = v[i].size < most - moved ? v[i].size : most - moved;
            some = some < wire->size - at ? some : wire->size - at;
            if (some)
                memcpy(v[i].data, wire->data + at, some);
            at += some;
            moved += some;
        }
        assert_true(moved > 0);
        gr_reader_filled(&x->r, moved);
        rc = take(x);
        if (prng_below(&x->prng, 16) == 0)
            gr_reader_trim(&x->r);
    }
    return rc;
}

static void compare(const model *m, const test_bytes *wire, int from_server, uint64_t prng)
{
    static run x;
    memset(&x, 0, sizeof x);
    mem_init(&x.mem);
    x.m = m;
    x.prng = prng;
    gr_reader_init(&x.r, &x.mem.vt, &x.mem.blobs, from_server, LIMIT);
    if (prng & 1)
        gr_reader_bound(&x.r, 1);
    assert_rc(feed(&x, wire), m->rc == GR_EPROTO ? GR_EPROTO : GR_NONE);
    assert_int_equal(x.seen, m->count);
    assert_true(x.mem.peak <= MEMORY_MAX);
    gr_reader_clear(&x.r);
    mem_check_empty(&x.mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static stream s;
    static model m;
    fuzz_in in = {data, size};
    int from_server = fuzz_byte(&in) & 1;
    uint64_t prng = fuzz_byte(&in);
    stream_open(&s, &in, !from_server);
    while (in.size)
        stream_put(&s);
    model_run(&m, &s.wire, from_server);
    compare(&m, &s.wire, from_server, prng);
    compare(&m, &s.wire, from_server, prng + 1);
    model_free(&m);
    stream_close(&s);
    return 0;
}
