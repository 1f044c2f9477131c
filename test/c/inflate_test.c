/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decompressor against honest streams in any portions, and against all others: corrupt, cut off,
 * too long, too short, bombs, contexts out of step. A failure names its seed.
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "bytes_support.h"
#include "cmocka_support.h"
#include "deflate_support.h"
#include "gr_deflate.h"
#include "gr_inflate.h"
#include "mem_support.h"

#define TAIL 4u /* bytes that Z_SYNC_FLUSH ends with */

static test_mem mem;
static gr_inflate *inf;
static uint64_t seed; /* of the case that runs; 0: none does */
static test_bytes made;
static test_bytes got;

static int setup(void **state)
{
    (void)state;
    mem_init(&mem);
    seed = 0;
    assert_rc(gr_inflate_new(&inf, &mem.vt), GR_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (seed)
        print_error("run it alone: GR_SEED=%llu\n", (unsigned long long)seed);
    gr_inflate_free(inf);
    inf = NULL;
    bytes_free(&made);
    bytes_free(&got);
    mem_check_empty(&mem);
    return 0;
}

static uint8_t *data_new(size_t size, int kind, uint64_t data_seed)
{
    uint8_t *data = malloc(size + 1);
    data_fill(data, size, kind, data_seed);
    return data;
}

/* One call; its room lies in a block of its own, so that a byte beyond it would be seen. */
static int some(const uint8_t *in, size_t size, size_t room, size_t *used)
{
    size_t n;
    uint8_t *out = malloc(room + 1);
    int rc = gr_inflate_some(inf, in, size, used, out, room, &n);
    assert_true(*used <= size && *used <= GR_INFLATE_STEP && n <= room);
    if (rc == GR_NONE)
        assert_int_equal(n, room);
    bytes_append(&got, out, n);
    free(out);
    return rc;
}

/*
 * A whole stream in portions of most bytes at most, into room bytes at most. Returns GR_OK: complete;
 * GR_NONE: cut off; or what was wrong. Never more comes out than was declared.
 */
static int inflate_all(const uint8_t *in, size_t size, uint64_t declared, size_t most, size_t room)
{
    int rc = GR_OK;
    bytes_drop(&got, got.size);
    gr_inflate_begin(inf, declared);
    for (size_t at = 0; !gr_inflate_done(inf);) {
        size_t n = size - at < most ? size - at : most, used, before = got.size;
        rc = some(in + at, n, room, &used);
        assert_true(got.size <= declared);
        if (rc != GR_OK && rc != GR_NONE)
            return rc;
        at += used;
        if (!used && got.size == before && at == size)
            break;
    }
    assert_true(!gr_inflate_done(inf) || got.size == declared);
    return gr_inflate_done(inf) ? GR_OK : GR_NONE;
}

/* Nothing wrong is ever taken for right: what is complete is of the declared size. */
static int inflate_made(uint64_t declared)
{
    return inflate_all(made.data, made.size, declared, SIZE_MAX, 5000);
}

static void make(const uint8_t *data, size_t size, int level)
{
    bytes_drop(&made, made.size);
    data_deflate(&made, data, size, level, Z_FINISH);
}

/* Every kind of block in any portions. */
static void honest_streams_come_out(void **state)
{
    (void)state;
    for (seed = seed_first(1); seed_goes_on(seed, 300); seed++) {
        uint64_t prng = seed;
        size_t size = prng_size(&prng, 500000);
        uint8_t *data = data_new(size, (int)prng_below(&prng, DATA_KINDS), seed);
        make(data, size, (int)prng_below(&prng, 10));
        size_t most = 1 + made.size / 300 + prng_size(&prng, 100000);
        size_t room = 1 + size / 300 + prng_size(&prng, 100000);
        assert_rc(inflate_all(made.data, made.size, size, most, room), GR_OK);
        assert_memory_equal(got.data, data, size);
        free(data);
    }
    seed = 0;
}

/* Byte by byte, in and out. */
static void single_bytes_are_enough(void **state)
{
    (void)state;
    for (int level = 0; level < 10; level += 3) {
        uint8_t *data = data_new(20000, DATA_TERMS, 3);
        make(data, 20000, level);
        assert_rc(inflate_all(made.data, made.size, 20000, 1, 1), GR_OK);
        assert_memory_equal(got.data, data, 20000);
        assert_rc(inflate_all(made.data, made.size, 20000, 1, 30000), GR_OK);
        free(data);
    }
}

/* Without room nothing is done, unless only the end is still to come. */
static void no_room_is_no_work(void **state)
{
    (void)state;
    static const uint8_t last_block[] = {0x03, 0x00};
    size_t used, n;
    uint8_t *data = data_new(100, DATA_RANDOM, 4), out[100];
    data_deflate(&made, data, 100, 6, Z_SYNC_FLUSH);
    gr_inflate_begin(inf, 100);
    assert_rc(gr_inflate_some(inf, made.data, made.size, &used, NULL, 0, &n), GR_NONE);
    assert_int_equal(used + n, 0);
    assert_rc(gr_inflate_some(inf, made.data, made.size, &used, out, 100, &n), GR_OK);
    assert_int_equal(used, made.size);
    assert_int_equal(n, 100);
    assert_false(gr_inflate_done(inf));
    assert_rc(gr_inflate_some(inf, last_block, sizeof last_block, &used, NULL, 0, &n), GR_OK);
    assert_true(gr_inflate_done(inf));
    assert_memory_equal(out, data, 100);
    free(data);
    bytes_drop(&made, made.size);
    make(NULL, 0, 6);
    gr_inflate_begin(inf, 0);
    assert_false(gr_inflate_done(inf));
    assert_rc(gr_inflate_some(inf, made.data, made.size, &used, NULL, 0, &n), GR_OK);
    assert_true(gr_inflate_done(inf));
}

/* A size declared that is not the true one is found out, whatever the difference. */
static void declared_size_must_be_true(void **state)
{
    (void)state;
    static const uint64_t wrong[] = {0, 1, 29999, 30001, 60000, UINT32_MAX, UINT64_MAX};
    for (int kind = 0; kind < DATA_KINDS; kind++) {
        uint8_t *data = data_new(30000, kind, 5);
        uint8_t out[30002];
        make(data, 30000, 6);
        for (size_t i = 0; i < COUNT_OF(wrong); i++) {
            for (size_t room = 1; room < 100000; room = room * 40 - 1)
                assert_rc(inflate_all(made.data, made.size, wrong[i], 3000, room), GR_EPROTO);
            assert_false(gr_inflate_done(inf));
            if (wrong[i] < sizeof out)
                assert_rc(gr_inflate_small(inf, made.data, made.size, out, (size_t)wrong[i]),
                          GR_EPROTO);
        }
        assert_rc(gr_inflate_small(inf, made.data, made.size, out, 30000), GR_OK);
        assert_memory_equal(out, data, 30000);
        free(data);
    }
}

/* A stream of zeros: a thousandth of what comes out goes in. */
static void bombs_are_bounded(void **state)
{
    (void)state;
    size_t size = 50u << 20, used, n;
    uint8_t *data = calloc(1, size), out[1000];
    make(data, size, 9);
    free(data);
    assert_true(made.size < size / 900);
    assert_rc(inflate_made(1000), GR_EPROTO);
    assert_int_equal(got.size, 1000);
    assert_rc(gr_inflate_small(inf, made.data, made.size, out, sizeof out), GR_EPROTO);
    assert_true(mem.largest < 40000);
    /* With a size that allows it each call still gives no more than its room. */
    gr_inflate_begin(inf, UINT32_MAX);
    for (int i = 0; i < 1000; i++) {
        assert_rc(gr_inflate_some(inf, made.data, made.size, &used, out, sizeof out, &n), GR_NONE);
        assert_int_equal(n, sizeof out);
        bytes_drop(&made, used);
    }
    assert_rc(inflate_made(UINT32_MAX), GR_EPROTO);
}

/* Cut off anywhere it is not complete, and not an error that could be known. */
static void truncated_streams_are_not_done(void **state)
{
    (void)state;
    uint8_t *data = data_new(3000, DATA_TERMS, 6), out[3000];
    make(data, 3000, 6);
    for (size_t n = 0; n < made.size; n++) {
        assert_rc(inflate_all(made.data, n, 3000, 100, 100), GR_NONE);
        assert_memory_equal(got.data, data, got.size);
        assert_rc(gr_inflate_small(inf, made.data, n, out, 3000), GR_EPROTO);
    }
    free(data);
}

/* Input behind the end is not of this message: at once, and when it comes later. */
static void nothing_may_come_behind_the_end(void **state)
{
    (void)state;
    uint8_t *data = data_new(3000, DATA_TERMS, 7), out[3000];
    size_t used;
    make(data, 3000, 6);
    assert_rc(inflate_made(3000), GR_OK);
    assert_rc(some(NULL, 0, 10, &used), GR_OK);
    assert_rc(some(data, 1, 10, &used), GR_EPROTO);
    assert_rc(some(NULL, 0, 10, &used), GR_EPROTO);
    bytes_append(&made, "x", 1);
    assert_rc(inflate_made(3000), GR_EPROTO);
    assert_rc(gr_inflate_small(inf, made.data, made.size, out, 3000), GR_EPROTO);
    free(data);
}

/* Every bit of a stream changed: an error, or other data of the same size, or not complete. */
static void corrupt_streams_do_no_harm(void **state)
{
    (void)state;
    size_t ends[3] = {0};
    for (int level = 0; level < 10; level += 3) {
        uint8_t *data = data_new(2000, DATA_TERMS, 8), out[2000];
        make(data, 2000, level);
        for (size_t bit = 0; bit < made.size * 8; bit++) {
            made.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            int rc = inflate_made(2000);
            ends[rc == GR_OK ? 0 : rc == GR_NONE ? 1 : 2]++;
            assert_true(rc == GR_OK || rc == GR_NONE || rc == GR_EPROTO);
            int whole = gr_inflate_small(inf, made.data, made.size, out, 2000);
            assert_rc(whole, rc == GR_NONE ? GR_EPROTO : rc);
            inflate_made(UINT32_MAX);
            made.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_rc(inflate_made(2000), GR_OK);
        free(data);
    }
    assert_true(ends[0] && ends[1] && ends[2]);
}

/* Nor does what never was a stream, nor a valid beginning with anything behind it. */
static void random_input_does_no_harm(void **state)
{
    (void)state;
    for (seed = seed_first(1); seed_goes_on(seed, 3000); seed++) {
        uint64_t prng = seed;
        uint8_t noise[600], *data = data_new(1000, (int)prng_below(&prng, DATA_KINDS), seed);
        make(data, 1000, (int)prng_below(&prng, 10));
        size_t keep = prng_size(&prng, made.size), size = prng_size(&prng, sizeof noise);
        data_fill(noise, size, DATA_RANDOM, seed);
        bytes_append(&made, NULL, 0);
        made.size = keep;
        bytes_append(&made, noise, size);
        size_t most = 1 + prng_size(&prng, 700), room = 1 + prng_size(&prng, 700);
        int rc = inflate_all(made.data, made.size, prng_size(&prng, 100000), most, room);
        assert_true(rc == GR_OK || rc == GR_NONE || rc == GR_EPROTO);
        free(data);
    }
    seed = 0;
}

/* What refers further back than the protocol's window is refused: no receiver keeps that. */
static void window_is_the_protocols(void **state)
{
    (void)state;
    z_stream z = {0};
    static uint8_t out[40000];
    uint8_t *data = data_new(20000 + 200, DATA_RANDOM, 9);
    memcpy(data + 20000, data, 200);
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = data;
    z.avail_in = 20200;
    z.next_out = out;
    z.avail_out = sizeof out;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    assert_rc(inflate_all(out, z.total_out, 20200, 1000, 1000), GR_EPROTO);
    deflateEnd(&z);
    free(data);
}

/* One that failed begins anew; a small message needs no window. */
static void begin_forgets_everything(void **state)
{
    (void)state;
    uint8_t *data = data_new(9000, DATA_TERMS, 10), *out = malloc(9000);
    make(data, 9000, 6);
    size_t tries = mem.tries;
    for (int i = 0; i < 3; i++)
        assert_rc(gr_inflate_small(inf, made.data, made.size, out, 9000), GR_OK);
    assert_int_equal(mem.tries, tries);
    for (int i = 0; i < 3; i++) {
        inflate_all(made.data, made.size / 2, 9000, 50, 50);
        assert_rc(inflate_made(8999), GR_EPROTO);
        assert_rc(inflate_made(9000), GR_OK);
        assert_memory_equal(got.data, data, 9000);
    }
    assert_int_equal(mem.tries, tries + 1);
    free(out);
    free(data);
}

/* ---- contexts ---- */

#define MESSAGES 40

static gr_deflate *sender;
static test_bytes sent[MESSAGES];    /* as it travels */
static uint8_t plain[MESSAGES][400]; /* as it was */

static int setup_context(void **state)
{
    setup(state);
    memset(sent, 0, sizeof sent);
    assert_rc(gr_deflate_new(&sender, &mem.vt, 6), GR_OK);
    for (size_t i = 0; i < MESSAGES; i++) {
        uint8_t out[1000];
        size_t n;
        gr_piece p = {plain[i], sizeof plain[i], NULL};
        data_fill(plain[i], sizeof plain[i], DATA_TERMS, i % 7);
        assert_rc(gr_deflate_context(sender, &p, 1, out, sizeof out, &n), GR_OK);
        bytes_append(&sent[i], out, n);
    }
    return 0;
}

static int teardown_context(void **state)
{
    gr_deflate_free(sender);
    for (size_t i = 0; i < MESSAGES; i++)
        bytes_free(&sent[i]);
    return teardown(state);
}

static int take(size_t i, size_t declared)
{
    uint8_t *out = malloc(declared + 1);
    int rc = gr_inflate_context(inf, sent[i].data, sent[i].size, out, declared);
    if (rc == GR_OK && declared == sizeof plain[i])
        assert_memory_equal(out, plain[i], declared);
    free(out);
    return rc;
}

static void restart(void)
{
    gr_inflate_free(inf);
    assert_rc(gr_inflate_new(&inf, &mem.vt), GR_OK);
}

static void context_follows(void **state)
{
    (void)state;
    for (size_t i = 0; i < MESSAGES; i++)
        assert_rc(take(i, sizeof plain[i]), GR_OK);
}

/* A receiver that missed the beginning has nothing to refer to. */
static void context_out_of_step_fails(void **state)
{
    (void)state;
    for (size_t missed = 1; missed < MESSAGES; missed++) {
        int rc = GR_OK;
        restart();
        for (size_t i = missed; i < MESSAGES && rc == GR_OK; i++) {
            uint8_t out[400];
            rc = gr_inflate_context(inf, sent[i].data, sent[i].size, out, sizeof out);
        }
        assert_rc(rc, GR_EPROTO);
    }
}

/* A size that is not the true one, at any place; and it stays an error. */
static void context_size_must_be_true(void **state)
{
    (void)state;
    static const size_t wrong[] = {0, 1, 399, 401, 100000};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        restart();
        assert_rc(take(0, 400), GR_OK);
        assert_rc(take(1, wrong[i]), GR_EPROTO);
        assert_rc(take(2, 400), GR_EPROTO);
    }
}

/* Cut anywhere, a message does not end between two blocks, or has not enough in it. */
static void context_message_must_be_whole(void **state)
{
    (void)state;
    for (size_t n = 0; n < sent[1].size; n++) {
        uint8_t out[400];
        restart();
        assert_rc(take(0, 400), GR_OK);
        assert_rc(gr_inflate_context(inf, sent[1].data, n, out, 400), GR_EPROTO);
    }
}

/* Neither the tail itself, nor the end of a stream, nor another block may be there. */
static void context_tail_does_not_travel(void **state)
{
    (void)state;
    static const uint8_t tail[] = {0x00, 0x00, 0xff, 0xff};
    uint8_t out[400];
    size_t whole = sent[0].size;
    for (size_t n = 1; n <= sizeof tail; n++) {
        restart();
        sent[0].size = whole;
        bytes_append(&sent[0], tail, n);
        assert_rc(take(0, 400), GR_EPROTO);
    }
    restart();
    make(plain[0], 400, 6);
    assert_rc(gr_inflate_context(inf, made.data, made.size, out, 400), GR_EPROTO);
    restart();
    bytes_drop(&made, made.size);
    data_deflate(&made, plain[0], 400, 6, Z_SYNC_FLUSH);
    assert_rc(gr_inflate_context(inf, made.data, made.size - TAIL, out, 400), GR_OK);
    assert_memory_equal(out, plain[0], 400);
}

/* Every bit of one message changed: an error there or later, or other bytes; never a crash. */
/* What another program leaves out may be the end of bytes that are as they were before. */
static void context_tail_may_be_content(void **state)
{
    (void)state;
    static const uint8_t stored[] = {0x00, 6, 0, 0xf9, 0xff, 'a', 'b'};
    uint8_t out[6];
    restart();
    assert_rc(gr_inflate_context(inf, stored, sizeof stored, out, sizeof out), GR_OK);
    assert_memory_equal(out, "ab\0\0\xff\xff", sizeof out);
    assert_rc(gr_inflate_context(inf, stored, sizeof stored, out, sizeof out), GR_OK);
    restart();
    assert_rc(gr_inflate_context(inf, stored, sizeof stored, out, sizeof out - 1), GR_EPROTO);
}

static void corrupt_context_does_no_harm(void **state)
{
    (void)state;
    size_t failed = 0;
    for (size_t bit = 0; bit < sent[1].size * 8; bit++) {
        int rc = GR_OK;
        restart();
        sent[1].data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        for (size_t i = 0; i < 10 && rc == GR_OK; i++) {
            uint8_t out[400];
            rc = gr_inflate_context(inf, sent[i].data, sent[i].size, out, sizeof out);
        }
        sent[1].data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        failed += rc == GR_EPROTO;
        assert_true(rc == GR_OK || rc == GR_EPROTO);
    }
    assert_true(failed > sent[1].size);
}

/* ---- memory ---- */

/* One is kept for the next message, no more; trim gives it back. */
static void one_spare_is_kept(void **state)
{
    (void)state;
    gr_inflates p;
    gr_inflate *i[3];
    size_t live = mem.live;
    gr_inflates_init(&p, &mem.vt);
    gr_inflates_put(&p, NULL);
    for (size_t k = 0; k < COUNT_OF(i); k++)
        assert_rc(gr_inflates_get(&p, &i[k]), GR_OK);
    size_t each = (mem.live - live) / COUNT_OF(i);
    for (size_t k = 0; k < COUNT_OF(i); k++)
        gr_inflates_put(&p, i[k]);
    assert_int_equal(mem.live, live + each);
    size_t tries = mem.tries;
    assert_rc(gr_inflates_get(&p, &i[0]), GR_OK);
    assert_int_equal(mem.tries, tries);
    gr_inflates_put(&p, i[0]);
    gr_inflates_put(&p, NULL);
    assert_int_equal(mem.live, live + each);
    gr_inflates_trim(&p);
    assert_int_equal(mem.live, live);
}

/* Wherever memory runs out it is said: when one is made, and when a window is. */
static void failed_allocations_are_reported(void **state)
{
    (void)state;
    uint8_t *data = data_new(50000, DATA_TERMS, 11);
    make(data, 50000, 6);
    gr_inflate_free(inf);
    inf = NULL;
    size_t tries = 0;
    for (int rc = GR_ENOMEM; rc != GR_OK; tries++) {
        mem.failed = 0;
        mem.fail_at = mem.tries + tries + 1;
        rc = gr_inflate_new(&inf, &mem.vt);
        if (rc == GR_OK)
            rc = inflate_made(50000);
        assert_rc(rc, mem.failed ? GR_ENOMEM : GR_OK);
        if (rc != GR_OK && inf) {
            size_t used;
            assert_rc(some(made.data, made.size, 10, &used), GR_ENOMEM);
            assert_rc(inflate_made(50000), GR_OK);
        }
        gr_inflate_free(inf);
        inf = NULL;
        mem_check_empty(&mem);
    }
    assert_int_equal(tries, 4);
    free(data);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define context_test_of(name) cmocka_unit_test_setup_teardown(name, setup_context, teardown_context)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(honest_streams_come_out),
        test_of(single_bytes_are_enough),
        test_of(no_room_is_no_work),
        test_of(declared_size_must_be_true),
        test_of(bombs_are_bounded),
        test_of(truncated_streams_are_not_done),
        test_of(nothing_may_come_behind_the_end),
        test_of(corrupt_streams_do_no_harm),
        test_of(random_input_does_no_harm),
        test_of(window_is_the_protocols),
        test_of(begin_forgets_everything),
        context_test_of(context_follows),
        context_test_of(context_out_of_step_fails),
        context_test_of(context_tail_may_be_content),
        context_test_of(context_size_must_be_true),
        context_test_of(context_message_must_be_whole),
        context_test_of(context_tail_does_not_travel),
        context_test_of(corrupt_context_does_no_harm),
        test_of(one_spare_is_kept),
        test_of(failed_allocations_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
