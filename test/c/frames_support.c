/* SPDX-License-Identifier: Apache-2.0 */
/* A second implementation of frames and reassembly; shares nothing with c_src on purpose. */
#include "frames_support.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "cmocka_support.h"

#define HEAD 16u

static void put_int(test_bytes *out, uint64_t v, unsigned size)
{
    while (size--) {
        uint8_t byte = (uint8_t)(v >> (8 * size));
        bytes_append(out, &byte, 1);
    }
}

static uint64_t get_int(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;
    while (size--)
        v = v << 8 | *p++;
    return v;
}

static size_t fields_of(unsigned type, unsigned flags)
{
    if (type == FT_DATA)
        return 0;
    return (flags & FF_TIMED ? 8u : 0u) + (flags & (FF_LARGE | FF_DEFLATED) ? 4u : 0u);
}

#define ANY_FLAG 0x7fu
#define REPLY_FLAGS (FF_LARGE | FF_END | FF_DEFLATED | FF_CONTEXT)

typedef enum { NO, YES, EITHER } trit;

/* Section 3 of the protocol, line by line. */
static const struct {
    int client;
    int server;
    unsigned flags;
    trit id;   /* whether it is not 0 */
    trit slot; /* YES: a slot is always meant, EITHER: if LARGE */
    int message;
    uint32_t most; /* bytes of content without LARGE */
} types[] = {
    [FT_REQUEST] = {1, 0, ANY_FLAG, YES, EITHER, 1, 16384},
    [FT_CAST] = {1, 0, ANY_FLAG & ~(unsigned)FF_TIMED, NO, EITHER, 1, 16384},
    [FT_REPLY] = {0, 1, REPLY_FLAGS, YES, EITHER, 1, 16384},
    [FT_TOOBIG] = {0, 1, 0, YES, NO, 0, 16},
    [FT_PING] = {1, 1, 0, NO, NO, 0, 0},
    [FT_PONG] = {1, 1, 0, NO, NO, 0, 0},
    [FT_BYE] = {1, 1, 0, NO, NO, 0, 0},
    [FT_DATA] = {1, 1, FF_END, NO, YES, 0, 65536},
    [FT_ABORT] = {1, 1, 0, NO, YES, 0, 0},
    [FT_DONE] = {1, 1, 0, NO, YES, 0, 0},
    [FT_WINDOW] = {1, 1, 0, EITHER, EITHER, 0, 0},
    [FT_CANCEL] = {1, 0, 0, YES, NO, 0, 0},
};

static int flags_allowed(unsigned type, unsigned x)
{
    if (x & ~types[type].flags)
        return 0;
    if (type == FT_DATA)
        return 1;
    if ((x & FF_END && !(x & FF_LARGE)) || (x & FF_CONTEXT && !(x & FF_DEFLATED)) ||
        (x & FF_CONTEXT && x & (FF_LARGE | FF_ORDERED)) || (x & FF_BROADCAST && !(x & FF_ORDERED)))
        return 0;
    return type != FT_REQUEST || !(x & FF_ORDERED) || x & FF_BROADCAST;
}

static int slot_allowed(unsigned type, unsigned x, unsigned slot)
{
    if (type == FT_WINDOW)
        return slot <= 2;
    if (types[type].slot == YES || (types[type].slot == EITHER && x & FF_LARGE))
        return slot < 64;
    return slot == 0;
}

static int size_allowed(unsigned type, unsigned x, uint32_t size)
{
    size_t fields = types[type].message ? fields_of(type, x) : 0;
    size_t most = types[type].message && x & FF_LARGE ? 65536 : types[type].most;
    if (size < fields || size - fields > most)
        return 0;
    if (type == FT_DATA)
        return size > 0 || x & FF_END;
    return type != FT_TOOBIG || size == 16;
}

int frames_head_allowed(const uint8_t *p, int from_server)
{
    unsigned type = p[0], flags = p[1], slot = (unsigned)get_int(p + 2, 2);
    uint32_t size = (uint32_t)get_int(p + 4, 4);
    uint64_t id = get_int(p + 8, 8);
    if (type < FT_REQUEST || type > FT_CANCEL)
        return 0;
    if (!(from_server ? types[type].server : types[type].client))
        return 0;
    if (types[type].id != EITHER && (types[type].id == YES) != (id != 0))
        return 0;
    return flags_allowed(type, flags) && slot_allowed(type, flags, slot) &&
           size_allowed(type, flags, size);
}

void frames_put(test_bytes *out, const frame_seen *f)
{
    put_int(out, f->type, 1);
    put_int(out, f->flags, 1);
    put_int(out, f->slot, 2);
    put_int(out, f->size + fields_of(f->type, f->flags), 4);
    put_int(out, f->id, 8);
    if (f->flags & FF_TIMED) {
        put_int(out, f->left, 4);
        put_int(out, f->stamp, 4);
    }
    if (f->type != FT_DATA && f->flags & (FF_LARGE | FF_DEFLATED))
        put_int(out, f->whole, 4);
    if (f->data)
        bytes_append(out, f->data, f->size);
}

int frames_get(const test_bytes *in, size_t *at, frame_seen *f)
{
    size_t have = in->size - *at;
    const uint8_t *p = in->data + *at;
    if (have < HEAD)
        return 0;
    memset(f, 0, sizeof *f);
    f->type = p[0];
    f->flags = p[1];
    f->slot = (unsigned)get_int(p + 2, 2);
    f->id = get_int(p + 8, 8);
    size_t body = (size_t)get_int(p + 4, 4);
    size_t fields = fields_of(f->type, f->flags);
    assert_in_range(f->type, FT_REQUEST, FT_CANCEL);
    assert_true(body >= fields);
    if (have - HEAD < body)
        return 0;
    p += HEAD;
    if (f->flags & FF_TIMED) {
        f->left = (uint32_t)get_int(p, 4);
        f->stamp = (uint32_t)get_int(p + 4, 4);
        p += 8;
    }
    if (f->type != FT_DATA && f->flags & (FF_LARGE | FF_DEFLATED)) {
        f->whole = (uint32_t)get_int(p, 4);
        p += 4;
    }
    f->data = p;
    f->size = (uint32_t)(body - fields);
    f->wire = HEAD + body;
    *at += f->wire;
    return 1;
}

static void inflate_all(test_bytes *body, size_t whole)
{
    z_stream z = {0};
    test_bytes out = {0};
    uint8_t *room = malloc(whole + 1);
    assert_non_null(room);
    assert_int_equal(inflateInit2(&z, -15), Z_OK);
    z.next_in = body->data;
    z.avail_in = (uInt)body->size;
    z.next_out = room;
    z.avail_out = (uInt)whole + 1;
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.total_out, whole);
    assert_int_equal(z.avail_in, 0);
    inflateEnd(&z);
    bytes_append(&out, room, whole);
    free(room);
    bytes_free(body);
    *body = out;
}

void deflate_all(test_bytes *out, const uint8_t *data, size_t size, int level)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, -14, 8, Z_DEFAULT_STRATEGY), Z_OK);
    uLong most = deflateBound(&z, size);
    uint8_t *room = malloc(most);
    assert_non_null(room);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)size;
    z.next_out = room;
    z.avail_out = (uInt)most;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    bytes_append(out, room, most - z.avail_out);
    deflateEnd(&z);
    free(room);
}

static void complete(frames_log *l, const frame_seen *first, test_bytes *body)
{
    if (l->messages_count == l->messages_room) {
        l->messages_room = l->messages_room ? l->messages_room * 2 : 16;
        l->messages = realloc(l->messages, l->messages_room * sizeof *l->messages);
        assert_non_null(l->messages);
    }
    if (first->flags & FF_DEFLATED && !(first->flags & FF_CONTEXT))
        inflate_all(body, first->whole);
    frames_message *m = &l->messages[l->messages_count++];
    m->first = *first;
    m->first.data = NULL;
    m->body = *body;
    memset(body, 0, sizeof *body);
}

/* Sizes and slots of fragments as the protocol wants them. */
static void on_fragment(frames_log *l, const frame_seen *f)
{
    assert_true(f->slot < FRAMES_SLOTS);
    assert_true(f->size <= 64u * 1024);
    frames_slot *s = &l->slots[f->slot];
    if (f->type == FT_DATA) {
        assert_true(s->open);
        assert_true(f->size > 0 || f->flags & FF_END);
    } else {
        assert_false(s->open);
        assert_true(f->whole > FRAMES_SMALL_MAX);
        s->open = 1;
        s->first = *f;
        l->open++;
    }
    l->fragments += f->wire;
    bytes_append(&s->body, f->data, f->size);
    if (!(s->first.flags & FF_DEFLATED))
        assert_true(s->body.size <= s->first.whole);
    if (!(f->flags & FF_END))
        return;
    if (!(s->first.flags & FF_DEFLATED))
        assert_int_equal(s->body.size, s->first.whole);
    s->open = 0;
    l->open--;
    complete(l, &s->first, &s->body);
}

static void on_frame(frames_log *l, const frame_seen *f)
{
    if (f->flags & FF_LARGE || f->type == FT_DATA) {
        on_fragment(l, f);
    } else if (f->type == FT_ABORT) {
        frames_slot *s = &l->slots[f->slot];
        assert_true(f->slot < FRAMES_SLOTS && s->open);
        s->open = 0;
        l->open--;
        bytes_free(&s->body);
    } else if (f->type <= FT_REPLY) {
        test_bytes body = {0};
        assert_true(f->size <= FRAMES_SMALL_MAX);
        bytes_append(&body, f->data, f->size);
        complete(l, f, &body);
    }
}

void frames_feed(frames_log *l, const void *data, size_t size)
{
    frame_seen f;
    size_t at = 0;
    bytes_append(&l->in, data, size);
    l->bytes += size;
    while (frames_get(&l->in, &at, &f)) {
        on_frame(l, &f);
        if (l->count == l->room) {
            l->room = l->room ? l->room * 2 : 64;
            l->frames = realloc(l->frames, l->room * sizeof *l->frames);
            assert_non_null(l->frames);
        }
        f.data = NULL;
        l->frames[l->count++] = f;
    }
    bytes_drop(&l->in, at);
}

void frames_forget(frames_log *l)
{
    for (size_t i = 0; i < l->messages_count; i++)
        bytes_free(&l->messages[i].body);
    l->messages_count = 0;
    l->count = 0;
}

void frames_free(frames_log *l)
{
    frames_forget(l);
    for (size_t i = 0; i < FRAMES_SLOTS; i++)
        bytes_free(&l->slots[i].body);
    bytes_free(&l->in);
    free(l->messages);
    free(l->frames);
    memset(l, 0, sizeof *l);
}

size_t frames_find(const frames_log *l, size_t from, unsigned type, uint64_t id)
{
    while (from < l->count && !(l->frames[from].type == type && l->frames[from].id == id))
        from++;
    return from;
}

/* A body of less than 8 bytes is known by its size only. */
void body_fill(uint8_t *data, size_t size, uint64_t seed)
{
    size_t head = size < 8 ? 0 : 8;
    for (size_t i = 0; i < head; i++)
        data[i] = (uint8_t)(seed >> (8 * (7 - i)));
    if (size)
        pattern_fill(data + head, size - head, head ? seed : size);
}

uint64_t body_seed(const uint8_t *data, size_t size)
{
    size_t head = size < 8 ? 0 : 8;
    uint64_t seed = head ? get_int(data, 8) : size;
    assert_true(size == 0 || pattern_matches(data + head, size - head, seed));
    return seed;
}
