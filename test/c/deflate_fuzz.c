/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compression, of small messages, of a context and of a stream: zlib by itself makes of it what went in,
 * whatever that was and however it was cut, and no more room is taken than was given.
 */
#include <stdlib.h>
#include <string.h>

#include "cmocka_support.h"
#include "deflate_support.h"
#include "fuzz_support.h"
#include "gr_deflate.h"
#include "gr_deflate_advice.h"
#include "gr_deflate_stream.h"

#define SMALL GR_DEFLATE_SMALL_MAX
#define LARGE ((size_t)200000)
#define PIECES 5u

/* Both streams of small messages, or those of large ones that are open at the same time. */
#define MEMORY_MAX ((size_t)2 * 1024 * 1024)

static uint8_t body[LARGE];
static uint8_t model[LARGE];

/* Bytes of the input, again and again; or data of some kind. */
static size_t next_body(fuzz_in *in, size_t most)
{
    uint8_t how = fuzz_byte(in);
    size_t size = fuzz_size(in, most);
    if (how & 1) {
        data_fill(body, size, how / 2 % DATA_KINDS, how);
        return size;
    }
    gr_str s = fuzz_take(in, fuzz_byte(in));
    for (size_t i = 0; i < size; i++)
        body[i] = s.size ? s.data[i % s.size] : how;
    return size;
}

static uint8_t *room_for(size_t size)
{
    uint8_t *p = malloc(size ? size : 1);
    assert_non_null(p);
    return p;
}

static void alone(fuzz_in *in, gr_deflate *d, gr_deflate_advice *a, uint64_t *prng)
{
    gr_piece pieces[PIECES];
    size_t size = next_body(in, SMALL + 1);
    size_t count = data_cut(pieces, PIECES, body, size, prng);
    uint8_t how = fuzz_byte(in);
    size_t room = how < 0x80 ? size : how < 0xc0 ? size + 64 : fuzz_size(in, SMALL);
    uint8_t *out = room_for(room);
    size_t filled, back;
    int tried = gr_deflate_worth_trying(a);
    int rc = gr_deflate_small(d, pieces, count, out, room, &filled);
    assert_int_equal(rc == GR_ETOOBIG, size > SMALL);
    assert_true(rc == GR_OK || rc == GR_NONE || rc == GR_ETOOBIG);
    if (tried && rc != GR_ETOOBIG)
        gr_deflate_tried(a, size, rc == GR_OK ? filled : size);
    if (rc == GR_OK) {
        assert_true(filled < room);
        assert_int_equal(data_inflate(out, filled, model, sizeof model, &back), 1);
        assert_int_equal(back, size);
        assert_memory_equal(body, model, size);
        assert_true(!gr_deflate_pays(size, filled) || filled < size);
    }
    free(out);
}

static void context(fuzz_in *in, gr_deflate *d, z_stream *z, uint64_t *prng)
{
    gr_piece pieces[PIECES];
    size_t size = next_body(in, SMALL);
    size_t count = data_cut(pieces, PIECES, body, size, prng);
    size_t room = gr_deflate_context_room(size);
    uint8_t *out = room_for(room);
    size_t filled;
    assert_rc(gr_deflate_context(d, pieces, count, out, room - 1, &filled), GR_ETOOBIG);
    assert_rc(gr_deflate_context(d, pieces, count, out, room, &filled), GR_OK);
    assert_true(filled <= room);
    assert_true(data_inflate_context(z, out, filled, model, size));
    if (size)
        assert_memory_equal(body, model, size);
    free(out);
}

static void small(fuzz_in *in, test_mem *mem, int level, uint64_t prng)
{
    gr_deflate *d;
    gr_deflate_advice advice = {0};
    z_stream z;
    data_inflate_open(&z);
    assert_rc(gr_deflate_new(&d, &mem->vt, level), GR_OK);
    while (in->size) {
        if (fuzz_byte(in) & 1)
            alone(in, d, &advice, &prng);
        else
            context(in, d, &z, &prng);
    }
    gr_deflate_free(d);
    inflateEnd(&z);
}

/* A message by streams, in steps of every size. */
static void stream(fuzz_in *in, gr_deflate_streams *streams, uint64_t *prng)
{
    gr_deflate_stream *s;
    test_bytes all = {0};
    size_t size = next_body(in, LARGE), at = 0, back;
    unsigned still = 0;
    assert_rc(gr_deflate_stream_open(&s, streams), GR_OK);
    while (!gr_deflate_stream_done(s)) {
        size_t step = gr_deflate_stream_step(s);
        /* Steps of some bytes, but not for all of a large message: it would take too long. */
        size_t least = size / 64 + 1;
        size_t have = least + prng_size(prng, LARGE), room = least + prng_size(prng, LARGE);
        size_t used, got;
        have = have < size - at ? have : size - at;
        uint8_t *out = room_for(room);
        int rc =
            gr_deflate_stream_some(s, body + at, have, &used, out, room, &got, at + have == size);
        assert_true(rc == GR_OK || rc == GR_NONE);
        assert_true(used <= step && used <= have && got <= room);
        /* Only the end of a lap can bring nothing, once. */
        still = used || got ? 0 : still + 1;
        assert_true(still < 2);
        at += used;
        bytes_append(&all, out, got);
        free(out);
    }
    gr_deflate_stream_close(s);
    assert_int_equal(at, size);
    assert_int_equal(data_inflate(all.data, all.size, model, sizeof model, &back), 1);
    assert_int_equal(back, size);
    assert_memory_equal(body, model, size);
    bytes_free(&all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    test_mem mem;
    mem_init(&mem);
    uint8_t how = fuzz_byte(&in);
    uint64_t prng = fuzz_byte(&in);
    int level = 1 + how / 2 % 9;
    if (how & 1) {
        small(&in, &mem, level, prng);
    } else {
        gr_deflate_streams streams;
        gr_deflate_streams_init(&streams, &mem.vt, level);
        for (int i = 0; i < 3 && in.size; i++)
            stream(&in, &streams, &prng);
        gr_deflate_streams_trim(&streams);
    }
    assert_true(mem.peak <= MEMORY_MAX);
    mem_check_empty(&mem);
    return 0;
}
