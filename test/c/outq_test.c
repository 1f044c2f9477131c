/* SPDX-License-Identifier: Apache-2.0 */
/* Output queue: order, copies and references, and what it keeps in memory. */
#include <string.h>

#include "bytes_support.h"
#include "cmocka_support.h"
#include "gr_outq.h"
#include "mem_support.h"

#define REF_MIN 4096u     /* from here on owned pieces are referenced */
#define CHUNK_ROOM 16384u /* bytes of small pieces that share one stretch */

static test_mem mem;
static gr_outq q;

static int setup(void **state)
{
    (void)state;
    mem_init(&mem);
    memset(&q, 0xa5, sizeof q);
    gr_outq_init(&q, &mem.vt, &mem.blobs);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gr_outq_clear(&q);
    mem_check_empty(&mem);
    return 0;
}

static void put(const void *data, size_t size)
{
    assert_rc(gr_outq_put(&q, data, size, NULL, 0), GR_OK);
}

static void put_blob(const gr_blob *b)
{
    gr_piece p = {b->data, b->size, b->owner};
    assert_rc(gr_outq_put(&q, NULL, 0, &p, 1), GR_OK);
}

/* Takes n bytes from the front and compares them. */
static void expect(const void *data, size_t n)
{
    const uint8_t *want = data;
    while (n) {
        gr_iov v[3];
        size_t got = gr_outq_peek(&q, v, 3);
        assert_true(got > 0);
        size_t some = v[0].size < n ? v[0].size : n;
        assert_memory_equal(v[0].data, want, some);
        gr_outq_consume(&q, some);
        want += some;
        n -= some;
    }
}

/* Nothing in, nothing out, and nothing is allocated for it. */
static void empty_queue_gives_nothing(void **state)
{
    (void)state;
    gr_iov v[1];
    put(NULL, 0);
    assert_int_equal(gr_outq_peek(&q, v, 1), 0);
    gr_outq_consume(&q, 0);
    gr_outq_trim(&q);
    assert_int_equal(mem.tries, 0);
    assert_int_equal(q.size, 0);
}

/* A message leaves as it was put: its header, then its pieces in their order. */
static void header_goes_before_pieces(void **state)
{
    (void)state;
    gr_piece p[] = {
        {(const uint8_t *)"one", 3, NULL}, {NULL, 0, NULL}, {(const uint8_t *)"two", 3, NULL}};
    assert_rc(gr_outq_put(&q, (const uint8_t *)"head", 4, p, 3), GR_OK);
    put("next", 4);
    assert_int_equal(q.size, 14);
    expect("headonetwonext", 14);
    assert_int_equal(q.size, 0);
}

/* The counters tell how far a message is: bytes ever queued and ever consumed. */
static void counters_count_bytes_ever(void **state)
{
    (void)state;
    put("abcdef", 6);
    gr_outq_consume(&q, 4);
    put("gh", 2);
    assert_int_equal(q.in, 8);
    assert_int_equal(q.out, 4);
    assert_int_equal(q.size, 4);
    expect("efgh", 4);
    assert_int_equal(q.out, 8);
}

/* What is borrowed for the call only, or too small to be worth a reference, is copied. */
static void small_or_borrowed_bytes_are_copied(void **state)
{
    (void)state;
    gr_blob small = mem_blob(&mem, REF_MIN - 1, 1);
    gr_blob large = mem_blob(&mem, 3 * CHUNK_ROOM, 2);
    put_blob(&small);
    put(large.data, large.size);
    assert_int_equal(mem.refs, 2);
    memset(small.data, 0, small.size);
    memset(large.data, 0, large.size);
    test_bytes want = {0};
    bytes_append(&want, small.data, small.size);
    bytes_append(&want, large.data, large.size);
    pattern_fill(want.data, small.size, 1);
    pattern_fill(want.data + small.size, large.size, 2);
    expect(want.data, want.size);
    bytes_free(&want);
    mem_unref(&mem, &small);
    mem_unref(&mem, &large);
}

/* A large piece is lent to the writer from where it lies, and held until its last byte has left. */
static void large_owned_piece_is_held_by_reference(void **state)
{
    (void)state;
    gr_blob b = mem_blob(&mem, REF_MIN, 3);
    put("head", 4);
    put_blob(&b);
    put("tail", 4);
    assert_int_equal(mem_blob_refs(&b), 2);
    gr_iov v[4];
    assert_int_equal(gr_outq_peek(&q, v, 4), 3);
    assert_ptr_equal(v[1].data, b.data);
    assert_int_equal(v[1].size, b.size);
    gr_outq_consume(&q, 4 + REF_MIN - 1);
    assert_int_equal(mem_blob_refs(&b), 2);
    assert_int_equal(gr_outq_peek(&q, v, 1), 1);
    assert_ptr_equal(v[0].data, b.data + REF_MIN - 1);
    gr_outq_consume(&q, 1);
    assert_int_equal(mem_blob_refs(&b), 1);
    expect("tail", 4);
    mem_unref(&mem, &b);
}

/* A reference may be to a part of a blob, and one blob may be in the queue more than once. */
static void each_reference_is_counted(void **state)
{
    (void)state;
    gr_blob b = mem_blob(&mem, 3 * REF_MIN, 4);
    gr_piece p[] = {{b.data + REF_MIN, REF_MIN, b.owner}, {b.data, 2 * REF_MIN, b.owner}};
    assert_rc(gr_outq_put(&q, NULL, 0, p, 2), GR_OK);
    assert_int_equal(mem_blob_refs(&b), 3);
    expect(b.data + REF_MIN, REF_MIN);
    assert_int_equal(mem_blob_refs(&b), 2);
    expect(b.data, 2 * REF_MIN);
    assert_int_equal(mem_blob_refs(&b), 1);
    mem_unref(&mem, &b);
}

/* A connection that dies with output queued must not keep other people's binaries. */
static void clear_releases_everything(void **state)
{
    (void)state;
    gr_blob b = mem_blob(&mem, 2 * REF_MIN, 5);
    for (int i = 0; i < 10; i++) {
        put("some bytes", 10);
        put_blob(&b);
    }
    gr_outq_consume(&q, 10 + 5 * REF_MIN);
    gr_outq_clear(&q);
    assert_int_equal(q.size, 0);
    assert_int_equal(mem_blob_refs(&b), 1);
    mem_unref(&mem, &b);
    mem_check_empty(&mem);
}

/* Many small messages go out in one stretch, so in one write. */
static void small_messages_share_a_stretch(void **state)
{
    (void)state;
    uint8_t msg[64] = {0};
    for (size_t i = 0; i < CHUNK_ROOM / sizeof msg; i++)
        put(msg, sizeof msg);
    gr_iov v[2];
    assert_int_equal(gr_outq_peek(&q, v, 2), 1);
    assert_int_equal(v[0].size, CHUNK_ROOM);
    put("x", 1);
    assert_int_equal(gr_outq_peek(&q, v, 2), 2);
    assert_int_equal(v[1].size, 1);
}

/* The writer decides how many stretches it can take. */
static void peek_fills_no_more_than_asked(void **state)
{
    (void)state;
    gr_iov v[2] = {{NULL, 0}, {NULL, 77}};
    gr_blob b = mem_blob(&mem, REF_MIN, 6);
    put_blob(&b);
    put_blob(&b);
    assert_int_equal(gr_outq_peek(&q, v, 0), 0);
    assert_int_equal(gr_outq_peek(&q, v, 1), 1);
    assert_int_equal(v[1].size, 77);
    mem_unref(&mem, &b);
}

/* One empty chunk is kept, so that a call now and then costs no allocation; trim gives it back. */
static void trickle_allocates_once(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        put("request", 7);
        expect("request", 7);
    }
    assert_int_equal(mem.tries, 1);
    assert_int_equal(mem.live, 1);
    gr_outq_trim(&q);
    assert_int_equal(mem.live, 0);
    put("again", 5);
    expect("again", 5);
}

/* After a burst only that one chunk is kept, not as many as there were. */
static void burst_leaves_one_spare_chunk(void **state)
{
    (void)state;
    test_bytes b = {0};
    for (int i = 0; i < 10; i++) {
        uint8_t block[CHUNK_ROOM] = {0};
        bytes_append(&b, block, sizeof block);
    }
    put(b.data, b.size);
    assert_int_equal(mem.live, 10);
    gr_outq_consume(&q, b.size);
    assert_int_equal(mem.live, 1);
    bytes_free(&b);
}

/* One random step on the queue and on the model, which is nothing but all the bytes in order. */
static void random_step(uint64_t *prng, test_bytes *model)
{
    if (prng_below(prng, 2)) {
        uint8_t head[16];
        gr_blob b[3];
        gr_piece p[3];
        size_t count = (size_t)prng_below(prng, 4);
        pattern_fill(head, sizeof head, prng_next(prng));
        bytes_append(model, head, sizeof head);
        for (size_t i = 0; i < count; i++) {
            b[i] = mem_blob(&mem, prng_size(prng, 20000), prng_next(prng));
            p[i] = (gr_piece){b[i].data, b[i].size, prng_below(prng, 2) ? b[i].owner : NULL};
            bytes_append(model, b[i].data, b[i].size);
        }
        assert_rc(gr_outq_put(&q, head, sizeof head, p, count), GR_OK);
        for (size_t i = 0; i < count; i++)
            mem_unref(&mem, &b[i]);
    } else {
        size_t n = prng_size(prng, q.size);
        expect(model->data, n);
        bytes_drop(model, n);
    }
    if (prng_below(prng, 50) == 0)
        gr_outq_trim(&q);
    assert_int_equal(q.size, model->size);
    assert_true(q.in - q.out == q.size);
}

/* Whatever is put and consumed, and in whatever portions, the bytes keep their order. */
static void random_use_keeps_the_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t prng = seed;
        test_bytes model = {0};
        for (int i = 0; i < 500; i++)
            random_step(&prng, &model);
        expect(model.data, model.size);
        bytes_free(&model);
        assert_int_equal(mem.refs, 0);
    }
}

/* Wherever memory runs out in a message, put says so and clear gives back all there is. */
static void failed_put_can_be_cleared(void **state)
{
    (void)state;
    gr_blob b = mem_blob(&mem, CHUNK_ROOM, 7);
    gr_piece p[] = {{b.data, b.size, b.owner}, {b.data, b.size, NULL}, {b.data, b.size, b.owner}};
    size_t failures = 0;
    for (int rc = GR_ENOMEM; rc != GR_OK; failures++) {
        mem.fail_at = mem.tries + failures + 1;
        rc = gr_outq_put(&q, (const uint8_t *)"head", 4, p, 3);
        assert_rc(rc, mem.failed ? GR_ENOMEM : GR_OK);
        mem.failed = 0;
        gr_outq_clear(&q);
        assert_int_equal(mem.live, 1);
        assert_int_equal(mem.refs, 1);
    }
    assert_int_equal(failures, 5); /* chunk, reference, chunk, reference; then none */
    mem_unref(&mem, &b);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(empty_queue_gives_nothing),
        test_of(header_goes_before_pieces),
        test_of(counters_count_bytes_ever),
        test_of(small_or_borrowed_bytes_are_copied),
        test_of(large_owned_piece_is_held_by_reference),
        test_of(each_reference_is_counted),
        test_of(clear_releases_everything),
        test_of(small_messages_share_a_stretch),
        test_of(peek_fills_no_more_than_asked),
        test_of(trickle_allocates_once),
        test_of(burst_leaves_one_spare_chunk),
        test_of(random_use_keeps_the_order),
        test_of(failed_put_can_be_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
