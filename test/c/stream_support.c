/* SPDX-License-Identifier: Apache-2.0 */
/* Frames by the bytes of a fuzzer: most of them right, or they would never get far. */
#include "stream_support.h"

#include <string.h>

#include "cmocka_support.h"

/* Of a message, bytes: some fragments. */
#define BODY_MAX ((size_t)150000)
#define FRAGMENT_MAX ((size_t)64 * 1024)
#define HEAD 16u

void stream_open(stream *s, fuzz_in *in, int to_server)
{
    memset(s, 0, sizeof *s);
    s->in = in;
    s->to_server = to_server;
}

void stream_close(stream *s)
{
    if (s->with_context)
        deflateEnd(&s->context);
    for (size_t i = 0; i < FRAMES_SLOTS; i++)
        bytes_free(&s->slots[i].body);
    bytes_free(&s->wire);
}

static void flush_context(stream *s, test_bytes *out, const test_bytes *body)
{
    static uint8_t room[2 * FRAMES_SMALL_MAX];
    if (!body->size)
        return;
    if (!s->with_context)
        assert_int_equal(deflateInit2(&s->context, 1, Z_DEFLATED, -14, 8, Z_DEFAULT_STRATEGY),
                         Z_OK);
    s->with_context = 1;
    s->context.next_in = body->data;
    s->context.avail_in = (uInt)body->size;
    s->context.next_out = room;
    s->context.avail_out = sizeof room;
    assert_int_equal(deflate(&s->context, Z_SYNC_FLUSH), Z_OK);
    bytes_append(out, room, sizeof room - s->context.avail_out - 4);
}

/* The flags that go together: most of the frames shall be right ones. */
static unsigned flags_of(const stream *s, unsigned how)
{
    unsigned flags = 0;
    if (how & 0x01)
        flags |= FF_DEFLATED;
    if (how & 0x02 && flags)
        flags |= FF_CONTEXT;
    if (!s->to_server)
        return flags;
    if (how & 0x04)
        flags = (flags & ~(unsigned)FF_CONTEXT) | FF_ORDERED | FF_BROADCAST;
    return how & 0x08 ? flags | FF_TIMED : flags;
}

static void start_of(stream *s, frame_seen *f, test_bytes *body)
{
    unsigned how = fuzz_byte(s->in);
    memset(f, 0, sizeof *f);
    f->flags = flags_of(s, how);
    f->type = s->to_server ? how & 0x10 ? FT_CAST : FT_REQUEST : FT_REPLY;
    if (f->type == FT_CAST)
        f->flags &= ~(unsigned)FF_TIMED;
    f->id = f->type == FT_CAST ? 0 : fuzz_byte(s->in);
    f->left = how & 0x20 ? fuzz_byte(s->in) : 10000;
    f->stamp = (uint32_t)s->now;
    size_t size = fuzz_size(s->in, BODY_MAX);
    uint8_t filler = fuzz_byte(s->in);
    static uint8_t room[BODY_MAX];
    memset(room, filler, size);
    if (how & 0x40)
        pattern_fill(room, size, filler);
    bytes_append(body, room, size);
    f->whole = (uint32_t)size + (how & 0x80 ? (uint32_t)fuzz_byte(s->in) - 128 : 0);
}

/* The next fragment of a message; ends it when all is sent. */
static void put_fragment(stream *s, frame_seen *f, size_t size)
{
    sending *m = &s->slots[f->slot];
    size_t left = m->body.size - m->at;
    f->size = (uint32_t)(size < left ? size : left);
    f->data = f->size ? m->body.data + m->at : NULL;
    if (f->size == left)
        f->flags |= FF_END;
    frames_put(&s->wire, f);
    m->at += f->size;
    if (f->size < left)
        return;
    bytes_free(&m->body);
    memset(m, 0, sizeof *m);
}

static void put_small(stream *s, frame_seen *f, const test_bytes *body)
{
    test_bytes out = {0};
    if (f->flags & FF_CONTEXT)
        flush_context(s, &out, body);
    else if (f->flags & FF_DEFLATED)
        deflate_all(&out, body->data, body->size, 1);
    const test_bytes *content = f->flags & FF_DEFLATED ? &out : body;
    f->data = content->data;
    f->size = (uint32_t)content->size;
    frames_put(&s->wire, f);
    bytes_free(&out);
}

/* Its first fragment. What was in the slot is forgotten. */
static void put_large(stream *s, frame_seen *f, const test_bytes *body)
{
    f->flags = (f->flags & ~(unsigned)FF_CONTEXT) | FF_LARGE;
    f->slot = fuzz_byte(s->in) % FRAMES_SLOTS;
    sending *m = &s->slots[f->slot];
    m->body.size = m->at = 0;
    m->open = 1;
    if (f->flags & FF_DEFLATED)
        deflate_all(&m->body, body->data, body->size, 1);
    else
        bytes_append(&m->body, body->data, body->size);
    put_fragment(s, f, fuzz_size(s->in, FRAGMENT_MAX));
}

static void put_message(stream *s)
{
    test_bytes body = {0};
    frame_seen f;
    start_of(s, &f, &body);
    s->messages++;
    if (body.size > FRAMES_SMALL_MAX)
        put_large(s, &f, &body);
    else
        put_small(s, &f, &body);
    bytes_free(&body);
}

static void put_data(stream *s)
{
    frame_seen f = {.type = FT_DATA, .slot = fuzz_byte(s->in) % FRAMES_SLOTS};
    if (s->slots[f.slot].open)
        put_fragment(s, &f, fuzz_size(s->in, FRAGMENT_MAX));
    else
        frames_put(&s->wire, &f);
}

static void put_control(stream *s)
{
    static const uint8_t types[] = {FT_PING, FT_PONG, FT_ABORT,  FT_DONE,
                                    FT_DONE, FT_BYE,  FT_TOOBIG, FT_CANCEL};
    static const uint8_t sizes[16] = {0};
    frame_seen f = {.type = types[fuzz_byte(s->in) % COUNT_OF(types)]};
    if (f.type == FT_ABORT || f.type == FT_DONE)
        f.slot = fuzz_byte(s->in) % FRAMES_SLOTS;
    if (f.type == FT_CANCEL || f.type == FT_TOOBIG)
        f.id = fuzz_byte(s->in);
    if (f.type == FT_TOOBIG) {
        f.data = sizes;
        f.size = sizeof sizes;
    }
    if (f.type == FT_ABORT)
        bytes_free(&s->slots[f.slot].body);
    if (f.type == FT_ABORT)
        memset(&s->slots[f.slot], 0, sizeof s->slots[f.slot]);
    frames_put(&s->wire, &f);
}

/* Any values, with so much content as is said, or not. */
static void put_any(stream *s)
{
    test_bytes content = {0};
    frame_seen f = {.type = fuzz_byte(s->in), .flags = fuzz_byte(s->in)};
    f.slot = (unsigned)fuzz_int(s->in, 2);
    f.id = fuzz_byte(s->in);
    f.whole = (uint32_t)fuzz_int(s->in, 4);
    f.left = f.whole;
    gr_str some = fuzz_take(s->in, fuzz_byte(s->in));
    bytes_append(&content, some.data, some.size);
    f.data = content.data;
    f.size = (uint32_t)content.size;
    s->messages++;
    frames_put(&s->wire, &f);
    bytes_free(&content);
}

static void put_raw(stream *s)
{
    gr_str some = fuzz_take(s->in, (size_t)fuzz_int(s->in, 2));
    s->messages += some.size / HEAD;
    bytes_append(&s->wire, some.data, some.size);
}

/* The last bytes of the wire again and again, from small to many. */
static void flood(stream *s)
{
    size_t size = fuzz_size(s->in, 1024);
    uint8_t times = fuzz_byte(s->in);
    size = size < s->wire.size ? size : s->wire.size;
    for (unsigned i = 0; i < times && size; i++) {
        uint8_t copy[1024];
        memcpy(copy, s->wire.data + s->wire.size - size, size);
        bytes_append(&s->wire, copy, size);
        s->messages += 1 + size / HEAD;
    }
}

void stream_put(stream *s)
{
    static void (*const kinds[])(stream *) = {put_message, put_data, put_message, put_control,
                                              put_data,    put_any,  put_raw,     flood};
    kinds[fuzz_byte(s->in) % COUNT_OF(kinds)](s);
}
