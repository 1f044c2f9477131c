/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompression of what a peer sends, beside zlib by itself: the same streams are taken, with the same
 * content, whatever size was declared and however both are cut; never a byte more than that.
 */
#include <stdlib.h>

#include "cmocka_support.h"
#include "deflate_support.h"
#include "fuzz_support.h"
#include "gr_inflate.h"

/* Results larger than this differ from others only in size. */
#define SIZE_MOST ((size_t)256 * 1024)
#define SMALL ((size_t)16 * 1024)

/* A stream's state and its window. */
#define MEMORY_MAX ((size_t)64 * 1024)

/* A size to declare: the right one, one that is nearly right, or any. */
static size_t declared(fuzz_in *in, size_t right, size_t most)
{
    uint8_t how = fuzz_byte(in);
    size_t size = how < 0xc0 ? right : how < 0xe0 ? right + how % 4 - 2 : fuzz_size(in, most);
    return size <= most ? size : most;
}

/* A block of just that size: a byte beyond it is found by the sanitizer. */
static uint8_t *room_for(size_t size)
{
    uint8_t *p = malloc(size ? size : 1);
    assert_non_null(p);
    return p;
}

/* Cut at random on both sides. GR_OK: complete. */
static int in_steps(gr_inflate *i, gr_str in, uint8_t *out, size_t size, uint64_t prng)
{
    size_t at = 0, filled = 0, given = prng_size(&prng, in.size);
    gr_inflate_begin(i, size);
    for (;;) {
        size_t used, got;
        size_t room = prng_size(&prng, size - filled);
        int rc = gr_inflate_some(i, in.data ? in.data + at : in.data, given - at, &used,
                                 size ? out + filled : out, room, &got);
        assert_true(used <= given - at && used <= GR_INFLATE_STEP && got <= room);
        at += used;
        filled += got;
        if (GR_IS_FATAL(rc))
            return rc;
        if (rc == GR_NONE)
            continue;
        if (!used && !got && given == in.size)
            return gr_inflate_done(i) && filled == size ? GR_OK : GR_EPROTO;
        given += (size_t)prng_below(&prng, in.size - given + 1);
    }
}

static void alone(fuzz_in *in, gr_inflate *i, uint64_t prng)
{
    static uint8_t model[SIZE_MOST];
    int small = fuzz_byte(in) & 1;
    uint8_t how[4];
    fuzz_in options = {how, sizeof how};
    for (size_t n = 0; n < sizeof how; n++)
        how[n] = fuzz_byte(in);
    gr_str content = fuzz_take(in, in->size);
    size_t right;
    int whole = data_inflate(content.data, content.size, model, SIZE_MOST, &right) == 1;
    size_t size = declared(&options, right, small ? SMALL : SIZE_MOST);
    uint8_t *out = room_for(size);
    int rc = small ? gr_inflate_small(i, content.data, content.size, out, size)
                   : in_steps(i, content, out, size, prng);
    assert_rc(rc, whole && right == size ? GR_OK : GR_EPROTO);
    if (rc == GR_OK && size)
        assert_memory_equal(out, model, size);
    free(out);
}

/* Messages of one context: what they say is what zlib says of all of them, with their tails. */
static void context(fuzz_in *in, gr_inflate *i)
{
    static uint8_t model[SMALL];
    z_stream z;
    int rc = GR_OK;
    data_inflate_open(&z);
    while (in->size && rc == GR_OK) {
        size_t size = fuzz_size(in, SMALL);
        gr_str content = fuzz_take(in, (size_t)fuzz_int(in, 2));
        uint8_t *out = room_for(size);
        rc = gr_inflate_context(i, content.data, content.size, out, size);
        int right = data_inflate_context(&z, content.data, content.size, model, size);
        assert_rc(rc, right ? GR_OK : GR_EPROTO);
        if (right && size)
            assert_memory_equal(out, model, size);
        free(out);
    }
    if (rc != GR_OK)
        assert_rc(gr_inflate_context(i, NULL, 0, NULL, 0), rc);
    inflateEnd(&z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    test_mem mem;
    gr_inflate *i = NULL;
    mem_init(&mem);
    uint8_t mode = fuzz_byte(&in);
    int rc = gr_inflate_new(&i, &mem.vt);
    assert_rc(rc, GR_OK);
    if (mode & 1)
        context(&in, i);
    else
        alone(&in, i, fuzz_byte(&in));
    gr_inflate_free(i);
    assert_true(mem.peak <= MEMORY_MAX);
    mem_check_empty(&mem);
    return 0;
}
