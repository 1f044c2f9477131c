/* SPDX-License-Identifier: Apache-2.0 */
/* Reassembly: interleaved messages come out whole, and what a hostile peer may cost is bounded. */
#include <string.h>

#include "bytes_support.h"
#include "cmocka_support.h"
#include "frames_support.h"
#include "gr_slots.h"
#include "mem_support.h"

#define LIMIT ((uint64_t)1024 * 1024)
#define PLENTY ((size_t)16 * 1024 * 1024)
#define LEAST (FRAMES_SMALL_MAX + 1)

static test_mem mem;
static gr_slots s;
static size_t budget;

static int setup(void **state)
{
    (void)state;
    mem_init(&mem);
    memset(&s, 0xa5, sizeof s);
    gr_slots_init(&s, &mem.vt, &mem.blobs, LIMIT);
    budget = PLENTY;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gr_slots_clear(&s);
    mem_check_empty(&mem);
    return 0;
}

static gr_frame frame_of(unsigned type, unsigned flags, unsigned slot, size_t whole, size_t size)
{
    gr_frame f = {.type = (gr_frame_type)type,
                  .flags = (uint8_t)flags,
                  .slot = (uint16_t)slot,
                  .size = (uint32_t)size,
                  .id = type == FT_DATA ? 0 : slot + 100,
                  .whole = (uint32_t)whole};
    return f;
}

/* Content of a fragment that has begun, all of it, with as many turns as it takes. */
static int put(unsigned slot, const uint8_t *data, size_t size)
{
    size_t at = 0;
    for (size_t turns = 0; turns < 100000; turns++) {
        size_t used;
        int rc = gr_slots_put(&s, slot, data + at, size - at, &used, &budget);
        assert_true(used <= size - at);
        at += used;
        if (rc != GR_NONE) {
            assert_true(rc != GR_OK || at == size);
            return rc;
        }
        assert_int_equal(budget, 0);
        budget = 1000;
    }
    fail_msg("no end");
    return GR_NONE;
}

static int begin(unsigned flags, unsigned slot, size_t whole, const uint8_t *data, size_t size)
{
    gr_frame f = frame_of(FT_REQUEST, FF_LARGE | flags, slot, whole, size);
    int rc = gr_slots_fragment(&s, &f);
    return rc == GR_OK ? put(slot, data, size) : rc;
}

static int go_on(unsigned slot, const uint8_t *data, size_t size)
{
    gr_frame f = frame_of(FT_DATA, 0, slot, 0, size);
    int rc = gr_slots_fragment(&s, &f);
    return rc == GR_OK ? put(slot, data, size) : rc;
}

/* The message in the slot is complete, and it is that one. */
static void expect_end(unsigned slot, size_t whole, uint64_t seed)
{
    gr_frame f;
    gr_blob b;
    assert_rc(gr_slots_end(&s, slot, &f, &b), GR_OK);
    assert_int_equal(f.id, slot + 100);
    assert_int_equal(f.size, whole);
    assert_int_equal(b.size, whole);
    assert_int_equal(body_seed(b.data, b.size), seed);
    mem_unref(&mem, &b);
}

static test_bytes body_of(size_t size, uint64_t seed)
{
    static const uint8_t zeros[4096];
    test_bytes b = {0};
    while (b.size < size)
        bytes_append(&b, zeros, size - b.size < sizeof zeros ? size - b.size : sizeof zeros);
    body_fill(b.data, size, seed);
    return b;
}

/* ---- what is allowed ---- */

/* All slots at once, a fragment of each in turn, of odd sizes: each message comes out whole. */
static void interleaved_messages_come_out_whole(void **state)
{
    (void)state;
    size_t at[GR_SLOTS] = {0};
    test_bytes b[GR_SLOTS];
    uint64_t prng = 1;
    size_t open = GR_SLOTS;
    gr_slots_clear(&s);
    gr_slots_init(&s, &mem.vt, &mem.blobs, 64 * LIMIT);
    for (unsigned i = 0; i < GR_SLOTS; i++)
        b[i] = body_of(LEAST + (size_t)prng_below(&prng, 100000), i);
    while (open) {
        for (unsigned i = 0; i < GR_SLOTS; i++) {
            size_t n = (size_t)prng_below(&prng, 9000);
            if (at[i] == SIZE_MAX)
                continue;
            if (n > b[i].size - at[i])
                n = b[i].size - at[i];
            assert_rc(at[i] ? go_on(i, b[i].data + at[i], n) : begin(0, i, b[i].size, b[i].data, n),
                      GR_OK);
            at[i] += n ? n : 0;
            if (!at[i])
                assert_rc(gr_slots_abort(&s, i), GR_OK);
            if (at[i] != b[i].size)
                continue;
            expect_end(i, b[i].size, i);
            at[i] = SIZE_MAX;
            open--;
        }
    }
    for (unsigned i = 0; i < GR_SLOTS; i++) {
        gr_slots_release(&s, i);
        bytes_free(&b[i]);
    }
    assert_int_equal(s.used, 0);
    assert_int_equal(s.bytes, 0);
}

/* Content can be read to where it belongs, and bytes that were copied go on behind it. */
static void direct_and_copied_bytes_join(void **state)
{
    (void)state;
    test_bytes b = body_of(50000, 1);
    gr_frame f = frame_of(FT_CAST, FF_LARGE, 0, 50000, 50000);
    size_t used;
    assert_rc(gr_slots_fragment(&s, &f), GR_OK);
    assert_rc(gr_slots_put(&s, 0, b.data, 1000, &used, &budget), GR_OK);
    gr_iov v = gr_slots_direct(&s, 0, 30000);
    assert_int_equal(v.size, 30000);
    memcpy(v.data, b.data + 1000, 20000);
    gr_slots_filled(&s, 0, 20000);
    assert_rc(gr_slots_put(&s, 0, b.data + 21000, 29000, &used, &budget), GR_OK);
    assert_int_equal(budget, PLENTY);
    expect_end(0, 50000, 1);
    bytes_free(&b);
}

/* A slot is in use until its message has been used, not only until it is complete. */
static void complete_message_keeps_its_slot(void **state)
{
    (void)state;
    test_bytes b = body_of(600000, 1);
    assert_rc(begin(FF_END, 5, b.size, b.data, b.size), GR_OK);
    expect_end(5, b.size, 1);
    assert_false(gr_slots_any_open(&s));
    assert_rc(begin(0, 5, LEAST, b.data, 1), GR_EPROTO);
    assert_rc(begin(0, 6, LIMIT - b.size + 1, b.data, 1), GR_EPROTO);
    assert_rc(begin(0, 6, LIMIT - b.size, b.data, 1), GR_OK);
    assert_rc(gr_slots_abort(&s, 6), GR_OK);
    gr_slots_release(&s, 5);
    assert_rc(begin(0, 5, LEAST, b.data, 1), GR_OK);
    bytes_free(&b);
}

/* ---- limits ---- */

/* Too small for fragments, too large for us, too much in all: refused before anything is allocated. */
static void sizes_are_checked_first(void **state)
{
    (void)state;
    const uint8_t byte = 0;
    size_t tries = mem.tries;
    assert_rc(begin(0, 0, 0, &byte, 0), GR_EPROTO);
    assert_rc(begin(0, 0, LEAST - 1, &byte, 1), GR_EPROTO);
    assert_rc(begin(0, 0, LIMIT + 1, &byte, 1), GR_EPROTO);
    assert_rc(begin(0, 0, UINT32_MAX, &byte, 1), GR_EPROTO);
    assert_rc(begin(FF_DEFLATED, 0, LIMIT + 1, &byte, 1), GR_EPROTO);
    assert_int_equal(mem.tries, tries);
    assert_rc(begin(0, 0, LIMIT, &byte, 1), GR_OK);
    tries = mem.tries;
    assert_rc(begin(0, 1, LEAST, &byte, 1), GR_EPROTO);
    assert_int_equal(mem.tries, tries);
}

/* Without memory there is no message, and what was made for it is given back. */
static void no_memory_for_a_message(void **state)
{
    (void)state;
    test_bytes b = body_of(30000, 1);
    test_bytes z = {0};
    deflate_all(&z, b.data, b.size, 6);
    size_t i = 0;
    for (int rc = GR_ENOMEM; rc != GR_OK;) {
        gr_slots_clear(&s);
        mem_check_empty(&mem);
        mem.failed = 0;
        mem.fail_at = mem.tries + ++i;
        rc = begin(FF_DEFLATED | FF_END, 9, b.size, z.data, z.size);
        assert_rc(rc, mem.failed ? GR_ENOMEM : GR_OK);
    }
    assert_true(i >= 4); /* table, blob, stream, and what zlib wants */
    mem.fail_at = 0;
    bytes_free(&b);
    bytes_free(&z);
}

/* ---- hostile fragments ---- */

static void data_without_a_message_is_refused(void **state)
{
    (void)state;
    const uint8_t byte = 0;
    assert_rc(go_on(0, &byte, 1), GR_EPROTO);
    assert_rc(begin(0, 3, LEAST, &byte, 1), GR_OK);
    assert_rc(go_on(4, &byte, 1), GR_EPROTO);
    assert_rc(go_on(2, &byte, 1), GR_EPROTO);
    assert_rc(go_on(3, &byte, 1), GR_OK);
}

/* A second beginning in a slot would throw the first message away. */
static void second_beginning_is_refused(void **state)
{
    (void)state;
    const uint8_t byte = 0;
    assert_rc(begin(0, 3, LEAST, &byte, 1), GR_OK);
    assert_rc(begin(0, 3, LEAST, &byte, 1), GR_EPROTO);
}

/* More content than the message has is refused with the fragment's head, before it is read. */
static void too_much_is_refused(void **state)
{
    (void)state;
    test_bytes b = body_of(40000, 1);
    gr_frame f = frame_of(FT_CAST, FF_LARGE, 0, 20000, 20001);
    assert_rc(gr_slots_fragment(&s, &f), GR_EPROTO);
    gr_slots_clear(&s);
    assert_rc(begin(0, 0, 20000, b.data, 19999), GR_OK);
    f = frame_of(FT_DATA, 0, 0, 0, 2);
    assert_rc(gr_slots_fragment(&s, &f), GR_EPROTO);
    assert_rc(go_on(0, b.data, 1), GR_OK);
    assert_rc(go_on(0, b.data, 1), GR_EPROTO);
    bytes_free(&b);
}

/* An END before all is there would hand out memory that was never written. */
static void too_little_is_refused(void **state)
{
    (void)state;
    test_bytes b = body_of(40000, 1);
    gr_frame f;
    gr_blob blob;
    assert_rc(begin(FF_END, 0, 40000, b.data, 39999), GR_OK);
    assert_rc(gr_slots_end(&s, 0, &f, &blob), GR_EPROTO);
    bytes_free(&b);
}

/* Behind its end a message takes neither data nor an abort, until its slot is free. */
static void nothing_comes_behind_the_end(void **state)
{
    (void)state;
    test_bytes b = body_of(LEAST, 1);
    assert_rc(begin(FF_END, 0, b.size, b.data, b.size), GR_OK);
    expect_end(0, b.size, 1);
    assert_rc(go_on(0, b.data, 1), GR_EPROTO);
    assert_rc(go_on(0, b.data, 0), GR_EPROTO);
    assert_rc(gr_slots_abort(&s, 0), GR_EPROTO);
    gr_slots_release(&s, 0);
    assert_rc(go_on(0, b.data, 1), GR_EPROTO);
    bytes_free(&b);
}

static void abort_of_nothing_is_refused(void **state)
{
    (void)state;
    const uint8_t byte = 0;
    assert_rc(gr_slots_abort(&s, 0), GR_EPROTO);
    assert_rc(begin(0, 3, LEAST, &byte, 1), GR_OK);
    assert_rc(gr_slots_abort(&s, 2), GR_EPROTO);
    assert_rc(gr_slots_abort(&s, 3), GR_OK);
    assert_rc(gr_slots_abort(&s, 3), GR_EPROTO);
}

/* An abort gives back all that the message had, and its slot can be used again. */
static void aborted_slot_is_free(void **state)
{
    (void)state;
    test_bytes b = body_of(LEAST, 1);
    test_bytes z = {0};
    deflate_all(&z, b.data, b.size, 6);
    for (size_t i = 0; i < 10; i++) {
        assert_rc(begin(i & 1 ? FF_DEFLATED : 0, 3, LEAST, i & 1 ? z.data : b.data, 50), GR_OK);
        assert_true(gr_slots_any_open(&s));
        assert_rc(gr_slots_abort(&s, 3), GR_OK);
        assert_int_equal(mem.refs, 0);
        assert_int_equal(s.bytes, 0);
        assert_false(gr_slots_any_open(&s));
    }
    assert_rc(begin(FF_END, 3, b.size, b.data, b.size), GR_OK);
    expect_end(3, b.size, 1);
    bytes_free(&b);
    bytes_free(&z);
}

/* ---- compressed ones ---- */

/* Cut anywhere, with any budget, the message is the same. */
static void compressed_message_is_put_together(void **state)
{
    (void)state;
    test_bytes b = body_of(300000, 7);
    test_bytes z = {0};
    deflate_all(&z, b.data, b.size, 6);
    for (size_t cut = 1; cut < z.size; cut += 1 + cut / 2) {
        gr_iov v;
        gr_frame f = frame_of(FT_REQUEST, FF_LARGE | FF_DEFLATED, 1, b.size, cut);
        assert_rc(gr_slots_fragment(&s, &f), GR_OK);
        v = gr_slots_direct(&s, 1, cut);
        assert_int_equal(v.size, 0);
        assert_rc(put(1, z.data, cut), GR_OK);
        for (size_t at = cut; at < z.size; at += cut)
            assert_rc(go_on(1, z.data + at, z.size - at < cut ? z.size - at : cut), GR_OK);
        expect_end(1, b.size, 7);
        gr_slots_release(&s, 1);
        budget = cut;
    }
    bytes_free(&b);
    bytes_free(&z);
}

/* One call does no more than the budget allows, and what is left is done in later turns. */
static void budget_bounds_the_work(void **state)
{
    (void)state;
    test_bytes b = body_of(LIMIT, 7);
    test_bytes z = {0};
    memset(b.data + 8, 0, b.size - 8);
    deflate_all(&z, b.data, b.size, 9);
    assert_true(z.size < 4000);
    gr_frame f = frame_of(FT_REQUEST, FF_LARGE | FF_DEFLATED, 1, b.size, z.size);
    assert_rc(gr_slots_fragment(&s, &f), GR_OK);
    size_t at = 0;
    size_t turns = 0;
    for (int rc = GR_NONE; rc == GR_NONE; turns++) {
        size_t used;
        budget = 10000;
        rc = gr_slots_put(&s, 1, z.data + at, z.size - at, &used, &budget);
        assert_true(rc == GR_OK || rc == GR_NONE);
        at += used;
    }
    assert_true(turns >= LIMIT / 10000);
    gr_blob blob;
    assert_rc(gr_slots_end(&s, 1, &f, &blob), GR_OK);
    assert_memory_equal(blob.data, b.data, b.size);
    mem_unref(&mem, &blob);
    bytes_free(&b);
    bytes_free(&z);
}

/* Input that gives nothing costs, too: empty blocks for ever use the budget up. */
static void empty_blocks_cost_their_size(void **state)
{
    (void)state;
    test_bytes z = {0};
    const uint8_t stored[] = {0x00, 0x00, 0x00, 0xff, 0xff};
    for (size_t i = 0; i < 10000; i++)
        bytes_append(&z, stored, sizeof stored);
    gr_frame f = frame_of(FT_REQUEST, FF_LARGE | FF_DEFLATED, 1, LEAST, z.size);
    assert_rc(gr_slots_fragment(&s, &f), GR_OK);
    size_t used;
    budget = 10000;
    assert_rc(gr_slots_put(&s, 1, z.data, z.size, &used, &budget), GR_NONE);
    assert_true(used <= 10000 + GR_INFLATE_STEP);
    assert_int_equal(budget, 0);
    bytes_free(&z);
}

/* Deflated bytes of a body that is larger than declared, by one byte or by a lot. */
static void bomb_is_refused(void **state)
{
    (void)state;
    const size_t sizes[] = {LEAST + 1, LEAST + 100, 50 * LEAST};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        test_bytes b = body_of(sizes[i], 7);
        test_bytes z = {0};
        memset(b.data, 0, b.size);
        deflate_all(&z, b.data, b.size, 9);
        assert_rc(begin(FF_DEFLATED | FF_END, 1, LEAST, z.data, z.size), GR_EPROTO);
        gr_slots_clear(&s);
        /* A byte at a time, each in a fragment of its own. */
        int rc = begin(FF_DEFLATED, 1, LEAST, z.data, 1);
        for (size_t at = 1; rc == GR_OK && at < z.size; at++)
            rc = go_on(1, z.data + at, 1);
        assert_rc(rc, GR_EPROTO);
        gr_slots_clear(&s);
        assert_true(mem.largest <= 64 * 1024);
        bytes_free(&b);
        bytes_free(&z);
    }
}

/* A stream that stops before its end, anywhere, or gives less than declared, is no message. */
static void truncated_stream_is_refused(void **state)
{
    (void)state;
    test_bytes b = body_of(20000, 7);
    test_bytes z = {0};
    gr_frame f;
    gr_blob blob;
    deflate_all(&z, b.data, b.size, 6);
    for (size_t n = 0; n < z.size; n += 1 + z.size / 200) {
        assert_rc(begin(FF_DEFLATED | FF_END, 1, b.size, z.data, n), GR_OK);
        assert_rc(gr_slots_end(&s, 1, &f, &blob), GR_EPROTO);
        gr_slots_clear(&s);
    }
    assert_rc(begin(FF_DEFLATED | FF_END, 1, b.size, z.data, z.size - 1), GR_OK);
    assert_rc(gr_slots_end(&s, 1, &f, &blob), GR_EPROTO);
    gr_slots_clear(&s);
    int rc = begin(FF_DEFLATED | FF_END, 1, b.size + 1, z.data, z.size);
    if (rc == GR_OK)
        rc = gr_slots_end(&s, 1, &f, &blob);
    assert_rc(rc, GR_EPROTO);
    bytes_free(&b);
    bytes_free(&z);
}

/* Bytes behind the end of the stream, in the same fragment or in another one. */
static void bytes_behind_the_stream_are_refused(void **state)
{
    (void)state;
    test_bytes b = body_of(20000, 7);
    test_bytes z = {0};
    deflate_all(&z, b.data, b.size, 6);
    size_t size = z.size;
    bytes_append(&z, "x", 1);
    assert_rc(begin(FF_DEFLATED | FF_END, 1, b.size, z.data, z.size), GR_EPROTO);
    gr_slots_clear(&s);
    assert_rc(begin(FF_DEFLATED, 1, b.size, z.data, size), GR_OK);
    assert_rc(go_on(1, z.data + size, 1), GR_EPROTO);
    gr_slots_clear(&s);
    /* An empty last fragment is allowed. */
    assert_rc(begin(FF_DEFLATED, 1, b.size, z.data, size), GR_OK);
    assert_rc(go_on(1, z.data + size, 0), GR_OK);
    expect_end(1, b.size, 7);
    bytes_free(&b);
    bytes_free(&z);
}

/* Whatever bytes say they are a stream, they end in an error or in a message, never beyond its memory. */
static void noise_is_survived(void **state)
{
    (void)state;
    size_t refused = 0;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        uint64_t prng = seed;
        test_bytes b = body_of(20000, 7);
        test_bytes z = {0};
        deflate_all(&z, b.data, b.size, 6);
        size_t flips = 1 + (size_t)prng_below(&prng, 4);
        while (flips--)
            z.data[prng_below(&prng, z.size)] ^= (uint8_t)(1u << prng_below(&prng, 8));
        gr_frame f;
        gr_blob blob;
        int rc = begin(FF_DEFLATED | FF_END, 1, b.size, z.data, z.size);
        if (rc == GR_OK)
            rc = gr_slots_end(&s, 1, &f, &blob);
        assert_true(rc == GR_OK || rc == GR_EPROTO);
        if (rc == GR_OK)
            mem_unref(&mem, &blob);
        refused += rc != GR_OK;
        gr_slots_clear(&s);
        bytes_free(&b);
        bytes_free(&z);
    }
    assert_true(refused > 1000);
}

/* A slot used again after a compressed message does not see what went before. */
static void streams_are_used_again(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20; i++) {
        test_bytes b = body_of(20000 + i * 1000, i);
        test_bytes z = {0};
        deflate_all(&z, b.data, b.size, 1 + (int)(i % 9));
        assert_rc(begin(FF_DEFLATED | FF_END, 1, b.size, z.data, z.size), GR_OK);
        expect_end(1, b.size, i);
        gr_slots_release(&s, 1);
        if (i % 5 == 4) {
            gr_slots_trim(&s);
            assert_int_equal(mem.live, 0);
        }
        bytes_free(&b);
        bytes_free(&z);
    }
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(interleaved_messages_come_out_whole),
        test_of(direct_and_copied_bytes_join),
        test_of(complete_message_keeps_its_slot),
        test_of(sizes_are_checked_first),
        test_of(no_memory_for_a_message),
        test_of(data_without_a_message_is_refused),
        test_of(second_beginning_is_refused),
        test_of(too_much_is_refused),
        test_of(too_little_is_refused),
        test_of(nothing_comes_behind_the_end),
        test_of(abort_of_nothing_is_refused),
        test_of(aborted_slot_is_free),
        test_of(compressed_message_is_put_together),
        test_of(budget_bounds_the_work),
        test_of(empty_blocks_cost_their_size),
        test_of(bomb_is_refused),
        test_of(truncated_stream_is_refused),
        test_of(bytes_behind_the_stream_are_refused),
        test_of(noise_is_survived),
        test_of(streams_are_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
