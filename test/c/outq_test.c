/* SPDX-License-Identifier: Apache-2.0 */
/* Output queue: order, copies and references, and what it keeps in memory. */
#include <string.h>

#include "bytes_support.h"
#include "cmocka_support.h"
#include "gr_outq.h"
#include "mem_support.h"

#define REF_MIN 4096u     /* from here on owned pieces are referenced */
#define CHUNK_ROOM 16384u /* bytes of small pieces that share one stretch */
#define KIND 1u           /* where it makes no difference */

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
    assert_rc(gr_outq_put(&q, KIND, data, size, NULL, 0), GR_OK);
}

static void put_blob(const gr_blob *b)
{
    gr_piece p = {b->data, b->size, b->owner};
    assert_rc(gr_outq_put(&q, KIND, NULL, 0, &p, 1), GR_OK);
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
    assert_rc(gr_outq_put(&q, KIND, (const uint8_t *)"head", 4, p, 3), GR_OK);
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
    assert_rc(gr_outq_put(&q, KIND, NULL, 0, p, 2), GR_OK);
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
        assert_rc(
            gr_outq_put(&q, (unsigned)prng_below(prng, GR_OUTQ_KINDS), head, sizeof head, p, count),
            GR_OK);
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

/* ---- kinds ---- */

static void put_kind(unsigned kind, size_t size, uint64_t seed)
{
    gr_blob b = mem_blob(&mem, size, seed);
    gr_piece p = {b.data, b.size, b.owner};
    assert_rc(gr_outq_put(&q, kind, (const uint8_t *)"head", 4, &p, 1), GR_OK);
    mem_unref(&mem, &b);
}

/* Bytes that have left are counted for what they belong to, to the byte. */
static void bytes_are_counted_by_kind(void **state)
{
    (void)state;
    static const size_t sizes[] = {10, 5000, 40000, 0, 16384, 4096};
    uint64_t want[GR_OUTQ_KINDS] = {0};
    uint64_t prng = 5;
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        put_kind(i % GR_OUTQ_KINDS, sizes[i], i);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        size_t left = 4 + sizes[i];
        while (left) {
            size_t n = 1 + (size_t)prng_below(&prng, left);
            gr_outq_consume(&q, n);
            want[i % GR_OUTQ_KINDS] += n;
            left -= n;
            for (size_t k = 0; k < GR_OUTQ_KINDS; k++)
                assert_int_equal(q.done[k], want[k]);
        }
    }
    assert_int_equal(q.size, 0);
}

/* ---- in front ---- */

static void put_first(const void *head, size_t size)
{
    assert_rc(gr_outq_put_first(&q, 0, head, size), GR_OK);
}

/* In an empty queue it is a frame like any other. */
static void first_of_an_empty_queue(void **state)
{
    (void)state;
    put_first("ping", 4);
    put("frame", 5);
    put_first("pong", 4);
    assert_int_equal(q.in, 13);
    expect("pingpongframe", 13);
}

/* It goes before all that waits, but not before what was put so earlier. */
static void first_goes_before_what_has_not_begun(void **state)
{
    (void)state;
    put_kind(1, 20, 1);
    put_kind(2, 50000, 2);
    put_kind(1, 20, 3);
    put_first("one", 3);
    put_first("two", 3);
    expect("one", 3);
    put_first("three", 5);
    expect("twothreehead", 12);
    assert_int_equal(q.done[1], 4);
}

/* What has begun to leave is not torn, wherever it is: in its own bytes, or in a reference. */
static void first_does_not_tear_a_frame(void **state)
{
    (void)state;
    static const size_t sizes[] = {20, REF_MIN, 50000};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (int owned = 0; owned < 2; owned++)
            for (size_t cut = 1; cut <= 4 + sizes[i]; cut += cut < 10 ? 1 : 1997) {
                gr_blob b = mem_blob(&mem, sizes[i], i);
                gr_piece p = {b.data, b.size, owned ? b.owner : NULL};
                uint8_t other[30000] = {0};
                assert_rc(gr_outq_put(&q, 1, (const uint8_t *)"head", 4, &p, 1), GR_OK);
                assert_rc(gr_outq_put(&q, 2, other, sizeof other, NULL, 0), GR_OK);
                gr_outq_consume(&q, cut);
                put_first("ping", 4);
                if (cut < 4)
                    expect(&"head"[cut], 4 - cut);
                expect(b.data + (cut < 4 ? 0 : cut - 4), sizes[i] - (cut < 4 ? 0 : cut - 4));
                expect("ping", 4);
                expect(other, sizeof other);
                mem_unref(&mem, &b);
            }
}

/* Behind what was put first, frames begin where they can be told apart again. */
static void many_firsts_keep_their_order(void **state)
{
    (void)state;
    test_bytes want = {0};
    put_kind(1, 100, 1);
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t head[16];
        pattern_fill(head, sizeof head, i);
        put_first(head, sizeof head);
        bytes_append(&want, head, sizeof head);
    }
    expect(want.data, want.size);
    expect("head", 4);
    put_first("ping", 4);
    assert_int_equal(q.size, 104);
    bytes_free(&want);
}

/* Without memory for it, it says so, and nothing has changed. */
static void failed_first_can_be_cleared(void **state)
{
    (void)state;
    put("frame", 5);
    mem.fail_at = mem.tries + 1;
    assert_rc(gr_outq_put_first(&q, 0, (const uint8_t *)"ping", 4), GR_ENOMEM);
    expect("frame", 5);
}

/* ---- from one queue to another ---- */

/* What is moved keeps its order, and both queues count it; each frame's charge is told once. */
static void moved_frames_keep_their_order(void **state)
{
    (void)state;
    gr_outq from;
    test_bytes want = {0};
    size_t charged = 0;
    gr_outq_init(&from, &mem.vt, &mem.blobs);
    assert_int_equal(gr_outq_oldest(&from), 0);
    for (uint64_t i = 0; i < 200; i++) {
        gr_blob b = mem_blob(&mem, (size_t)(i * 97 % 9000), i);
        gr_piece p = {b.data, b.size, b.owner};
        assert_rc(gr_outq_put(&from, 1, (const uint8_t *)"head", 4, &p, 1), GR_OK);
        gr_outq_charge(&from, 100 + b.size);
        charged += 100 + b.size;
        bytes_append(&want, "head", 4);
        bytes_append(&want, b.data, b.size);
        mem_unref(&mem, &b);
    }
    put("before", 6);
    size_t moved = 0;
    while (from.size) {
        size_t n = gr_outq_oldest(&from);
        assert_true(n > 0);
        charged -= n;
        n = gr_outq_move(&q, &from);
        assert_true(n > 0);
        moved += n;
        assert_int_equal(from.out, moved);
        assert_int_equal(q.in, 6 + moved);
    }
    assert_int_equal(gr_outq_oldest(&from), 0);
    assert_int_equal(charged, 0);
    assert_int_equal(moved, want.size);
    /* The queue that is empty now works on. */
    assert_rc(gr_outq_put(&from, 1, (const uint8_t *)"again", 5, NULL, 0), GR_OK);
    put("behind", 6);
    expect("before", 6);
    expect(want.data, want.size);
    expect("behind", 6);
    assert_int_equal(q.done[1], want.size + 12);
    gr_outq_clear(&from);
    bytes_free(&want);
}

/* ---- frames in random use ---- */

/* A frame of the test: what it is, its number, its size, and a body that shows these. */
typedef struct tag {
    uint32_t first; /* whether it was put first */
    uint32_t number;
    uint32_t size;
} tag;

typedef struct frames {
    uint64_t prng;
    uint32_t put[2]; /* of those that were put first, and of the others */
    uint32_t seen[2];
    test_bytes taken; /* not yet a whole frame */
    gr_outq other;    /* some frames wait here before they are moved */
} frames;

static void put_one(frames *f, int first)
{
    gr_outq *to = !first && f->other.size ? &f->other : &q;
    if (!first && prng_below(&f->prng, 8) == 0)
        to = &f->other;
    tag t = {(uint32_t)first, f->put[first]++, first ? 0 : (uint32_t)prng_size(&f->prng, 40000)};
    gr_blob b = mem_blob(&mem, t.size, t.number);
    gr_piece p = {b.data, b.size, prng_below(&f->prng, 2) ? b.owner : NULL};
    if (first)
        assert_rc(gr_outq_put_first(to, 0, (const uint8_t *)&t, sizeof t), GR_OK);
    else
        assert_rc(gr_outq_put(to, 1 + t.number % 2, (const uint8_t *)&t, sizeof t, &p, 1), GR_OK);
    mem_unref(&mem, &b);
}

static void take_frames(frames *f, size_t n)
{
    while (n) {
        gr_iov v[2];
        tag t;
        assert_true(gr_outq_peek(&q, v, 2) > 0);
        size_t some = v[0].size < n ? v[0].size : n;
        bytes_append(&f->taken, v[0].data, some);
        gr_outq_consume(&q, some);
        n -= some;
        while (f->taken.size >= sizeof t) {
            memcpy(&t, f->taken.data, sizeof t);
            assert_true(t.first <= 1);
            assert_int_equal(t.number, f->seen[t.first]);
            if (f->taken.size < sizeof t + t.size)
                break;
            assert_true(pattern_matches(f->taken.data + sizeof t, t.size, t.number));
            bytes_drop(&f->taken, sizeof t + t.size);
            f->seen[t.first]++;
        }
    }
}

/* Whatever is put in front, and moved from where: frames stay whole, each sort in its order. */
static void random_firsts_and_moves_keep_frames_whole(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        frames f = {.prng = seed};
        gr_outq_init(&f.other, &mem.vt, &mem.blobs);
        for (int i = 0; i < 1000; i++) {
            uint64_t d = prng_below(&f.prng, 10);
            if (d < 4)
                put_one(&f, d == 0);
            else if (d < 5 && f.other.size)
                gr_outq_move(&q, &f.other);
            else
                take_frames(&f, prng_size(&f.prng, q.size));
        }
        while (f.other.size)
            gr_outq_move(&q, &f.other);
        take_frames(&f, q.size);
        assert_int_equal(f.taken.size, 0);
        assert_int_equal(f.seen[0], f.put[0]);
        assert_int_equal(f.seen[1], f.put[1]);
        bytes_free(&f.taken);
        gr_outq_clear(&f.other);
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
        rc = gr_outq_put(&q, KIND, (const uint8_t *)"head", 4, p, 3);
        assert_rc(rc, mem.failed ? GR_ENOMEM : GR_OK);
        mem.failed = 0;
        gr_outq_clear(&q);
        assert_int_equal(mem.live, 1);
        assert_int_equal(mem.refs, 1);
    }
    assert_int_equal(failures, 3); /* one for each reference and what comes before it; then none */
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
        test_of(bytes_are_counted_by_kind),
        test_of(first_of_an_empty_queue),
        test_of(first_goes_before_what_has_not_begun),
        test_of(first_does_not_tear_a_frame),
        test_of(many_firsts_keep_their_order),
        test_of(failed_first_can_be_cleared),
        test_of(moved_frames_keep_their_order),
        test_of(random_firsts_and_moves_keep_frames_whole),
        test_of(failed_put_can_be_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
