/* SPDX-License-Identifier: Apache-2.0 */
/* Messages: however their pieces lie, they are cut at the right places, and held no longer than needed. */
#include <string.h>

#include "bytes_support.h"
#include "cmocka_support.h"
#include "frames_support.h"
#include "gr_msg.h"
#include "mem_support.h"

#define HEAD 16u
#define WHOLE 4u
#define TIMED 8u
#define FRAME ((size_t)64 * 1024)
#define SMALL_MAX FRAMES_SMALL_MAX
#define PIECES_MAX 300

static test_mem mem;
static gr_outq q;
static frames_log seen;
static gr_deflate_streams streams;

static int setup(void **state)
{
    (void)state;
    mem_init(&mem);
    memset(&seen, 0, sizeof seen);
    gr_outq_init(&q, &mem.vt, &mem.blobs);
    gr_deflate_streams_init(&streams, &mem.vt, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gr_deflate_streams_trim(&streams);
    gr_outq_clear(&q);
    frames_free(&seen);
    mem_check_empty(&mem);
    return 0;
}

/* A body cut into pieces; each in a blob of its own or in memory that is gone after the call. */
typedef struct body {
    size_t size;
    size_t count;
    gr_blob blobs[PIECES_MAX];
    gr_piece pieces[PIECES_MAX];
    int owned[PIECES_MAX];
} body;

static void add_piece(body *b, size_t size, int owned)
{
    gr_blob blob = mem_blob(&mem, size, 0);
    b->blobs[b->count] = blob;
    b->owned[b->count] = owned;
    b->pieces[b->count++] = (gr_piece){blob.data, size, owned ? blob.owner : NULL};
    b->size += size;
}

/* Writes the body that says itself which it is into the pieces. */
static void fill(body *b, uint64_t id)
{
    test_bytes all = {0};
    uint8_t zero = 0;
    for (size_t i = 0; i < b->size; i++)
        bytes_append(&all, &zero, 1);
    if (b->size)
        body_fill(all.data, b->size, id);
    size_t at = 0;
    for (size_t i = 0; i < b->count; i++) {
        if (b->blobs[i].size)
            memcpy(b->blobs[i].data, all.data + at, b->blobs[i].size);
        at += b->blobs[i].size;
    }
    bytes_free(&all);
}

/* The test's own references go, as a caller's do; what is only lent is overwritten first. */
static void let_go(body *b)
{
    for (size_t i = 0; i < b->count; i++) {
        if (!b->owned[i] && b->blobs[i].size)
            memset(b->blobs[i].data, 0xee, b->blobs[i].size);
        mem_unref(&mem, &b->blobs[i]);
    }
    memset(b, 0, sizeof *b);
}

static gr_msg *message_of(body *b, uint64_t id, unsigned flags)
{
    gr_msg *m;
    gr_frame f = {.type = GR_FRAME_REQUEST,
                  .flags = (uint8_t)flags,
                  .size = (uint32_t)b->size,
                  .whole = (uint32_t)b->size,
                  .id = id,
                  .left = 77,
                  .stamp = 88};
    fill(b, id);
    assert_rc(gr_msg_new(&m, &mem.vt, &mem.blobs, &f, b->pieces, b->count), GR_OK);
    assert_int_equal(m->left, b->size);
    let_go(b);
    return m;
}

static void write_all(void)
{
    gr_iov v[1];
    while (gr_outq_peek(&q, v, 1)) {
        frames_feed(&seen, v[0].data, v[0].size);
        gr_outq_consume(&q, v[0].size);
    }
}

/* Puts all frames of it and writes them; they are counted, and none is over the limit. */
static size_t send_and_free(gr_msg *m, size_t frame_max)
{
    size_t frames = 0;
    int last = 0;
    size_t steps = 0;
    while (!last) {
        size_t bytes;
        uint64_t before = q.in;
        assert_rc(gr_msg_put_next(m, &q, 0, frame_max, &bytes, &last), GR_OK);
        assert_int_equal(q.in - before, bytes);
        assert_true(m->slot < 0 || bytes <= frame_max);
        frames += bytes != 0;
        assert_true(++steps < 100000);
    }
    assert_int_equal(m->left, 0);
    gr_msg_free(m, &mem.vt, &mem.blobs);
    write_all();
    assert_int_equal(seen.count, frames);
    return frames;
}

static void expect_it(uint64_t id, size_t size, unsigned flags)
{
    assert_int_equal(seen.messages_count, 1);
    const frames_message *m = &seen.messages[0];
    assert_int_equal(m->first.id, id);
    assert_int_equal(m->first.flags & flags, flags);
    assert_int_equal(m->body.size, size);
    assert_int_equal(body_seed(m->body.data, size), size < 8 ? size : id);
    frames_forget(&seen);
    assert_int_equal(mem.refs, 0);
}

/* One piece of every size around the places where frames end, owned or not. */
static void sizes_around_the_ends_of_frames(void **state)
{
    (void)state;
    const size_t frames[] = {4096, SMALL_MAX, FRAME};
    for (size_t k = 0; k < COUNT_OF(frames); k++) {
        size_t first = frames[k] - HEAD - WHOLE;
        size_t other = frames[k] - HEAD;
        for (size_t n = 0; n < 4; n++) {
            size_t end = first + n * other;
            for (size_t size = end - 2; size <= end + 2; size++) {
                if (size <= SMALL_MAX)
                    continue;
                for (int owned = 0; owned < 2; owned++) {
                    body b = {0};
                    add_piece(&b, size, owned);
                    gr_msg *m = message_of(&b, 5, 0);
                    m->slot = 3;
                    assert_int_equal(send_and_free(m, frames[k]), n + 1 + (size > end));
                    expect_it(5, size, FF_LARGE);
                }
            }
        }
    }
}

/* With a time limit the first frame has less room. */
static void fields_take_room(void **state)
{
    (void)state;
    for (size_t size = FRAME - HEAD - WHOLE - TIMED - 1; size <= FRAME - HEAD - WHOLE; size++) {
        body b = {0};
        add_piece(&b, size, 1);
        gr_msg *m = message_of(&b, 9, FF_TIMED);
        m->slot = 0;
        size_t frames = send_and_free(m, FRAME);
        assert_int_equal(frames, size <= FRAME - HEAD - WHOLE - TIMED ? 1 : 2);
        assert_int_equal(seen.messages[0].first.left, 77);
        assert_int_equal(seen.messages[0].first.stamp, 88);
        expect_it(9, size, FF_LARGE | FF_TIMED);
    }
}

/* Without a slot a message is one frame, without END or LARGE, whatever the limit. */
static void without_a_slot_it_is_one_frame(void **state)
{
    (void)state;
    for (size_t size = 0; size <= SMALL_MAX; size += size < 20 || size > SMALL_MAX - 20 ? 1 : 509) {
        for (size_t count = 0; count <= 200; count += 50) {
            body b = {0};
            for (size_t i = 0; i < count; i++)
                add_piece(&b, size / count, i & 1);
            add_piece(&b, size - b.size, 1);
            gr_msg *m = message_of(&b, 2, FF_ORDERED);
            assert_int_equal(send_and_free(m, 4096), 1);
            assert_int_equal(seen.frames[0].flags, FF_ORDERED);
            assert_int_equal(seen.frames[0].slot, 0);
            expect_it(2, size, FF_ORDERED);
        }
    }
}

/* Empty pieces in front, in between and behind change nothing. */
static void empty_pieces_are_nothing(void **state)
{
    (void)state;
    for (int slot = -1; slot < 1; slot++) {
        body b = {0};
        size_t size = slot < 0 ? 3000 : 100000;
        add_piece(&b, 0, 1);
        add_piece(&b, 0, 0);
        add_piece(&b, size / 3, 1);
        add_piece(&b, 0, 1);
        add_piece(&b, 0, 1);
        add_piece(&b, size / 3, 0);
        add_piece(&b, 0, 0);
        add_piece(&b, 0, 1);
        gr_msg *m = message_of(&b, 4, 0);
        m->slot = slot;
        send_and_free(m, 4096);
        expect_it(4, size / 3 * 2, 0);
    }
}

/* A message of nothing but empty pieces, or of no piece at all, is an empty one. */
static void empty_messages(void **state)
{
    (void)state;
    for (size_t count = 0; count < 4; count++) {
        body b = {0};
        for (size_t i = 0; i < count; i++)
            add_piece(&b, 0, i & 1);
        gr_msg *m = message_of(&b, 6, 0);
        assert_int_equal(send_and_free(m, FRAME), 1);
        expect_it(6, 0, 0);
    }
}

/* Owned pieces are held, once each, until the message is freed; frames in the queue hold their own. */
static void references_are_released_once(void **state)
{
    (void)state;
    body b = {0};
    add_piece(&b, 50000, 1);
    add_piece(&b, 50000, 0);
    gr_blob kept = b.blobs[0];
    mem.blobs.ref(mem.blobs.ctx, kept.owner);
    b.pieces[2] = b.pieces[0];
    b.size += 50000;
    gr_msg *m;
    gr_frame f = {.type = GR_FRAME_CAST, .size = 150000, .whole = 150000};
    assert_rc(gr_msg_new(&m, &mem.vt, &mem.blobs, &f, b.pieces, 3), GR_OK);
    assert_int_equal(mem_blob_refs(&kept), 4);
    assert_int_equal(mem_blob_refs(&b.blobs[1]), 1);
    let_go(&b);
    assert_int_equal(mem_blob_refs(&kept), 3);
    m->slot = 0;
    size_t bytes;
    int last;
    assert_rc(gr_msg_put_next(m, &q, 0, FRAME, &bytes, &last), GR_OK);
    assert_int_equal(mem_blob_refs(&kept), 4);
    gr_msg_free(m, &mem.vt, &mem.blobs);
    assert_int_equal(mem_blob_refs(&kept), 2);
    gr_outq_consume(&q, bytes);
    assert_int_equal(mem_blob_refs(&kept), 1);
    mem_unref(&mem, &kept);
}

/* Nothing is leaked, and nothing referenced, when there is no memory for it. */
static void no_memory_for_a_message(void **state)
{
    (void)state;
    body b = {0};
    add_piece(&b, 100, 1);
    add_piece(&b, 100, 0);
    gr_msg *m;
    gr_frame f = {.type = GR_FRAME_CAST, .size = 200, .whole = 200};
    mem.fail_at = mem.tries + 1;
    assert_rc(gr_msg_new(&m, &mem.vt, &mem.blobs, &f, b.pieces, b.count), GR_ENOMEM);
    assert_int_equal(mem.refs, 2);
    gr_msg_free(NULL, &mem.vt, &mem.blobs);
    mem.fail_at = 0;
    let_go(&b);
}

/* ---- compression ---- */

static void compress(gr_msg *m, int slot)
{
    m->slot = slot;
    m->frame.flags |= GR_FLAG_DEFLATED;
    assert_rc(gr_deflate_stream_open(&m->z, &streams), GR_OK);
}

/* Compressed ones, too: what arrives is what was sent, and each frame is within its limit. */
static void compressed_pieces_arrive(void **state)
{
    (void)state;
    for (int level = 1; level <= 9; level += 4) {
        gr_deflate_streams_trim(&streams);
        gr_deflate_streams_init(&streams, &mem.vt, level);
        for (size_t count = 1; count <= 256; count *= 4) {
            body b = {0};
            for (size_t i = 0; i < count; i++)
                add_piece(&b, 200000 / count + i % 3, i % 2);
            add_piece(&b, 0, 1);
            size_t size = b.size;
            gr_msg *m = message_of(&b, 8, FF_TIMED);
            compress(m, 0);
            send_and_free(m, 4096);
            assert_true(seen.bytes < size);
            seen.bytes = 0;
            expect_it(8, size, FF_LARGE | FF_TIMED | FF_DEFLATED);
            assert_int_equal(streams.open, 0);
        }
    }
}

/* Data that does not get smaller does not get much larger either. */
static void incompressible_bytes_arrive(void **state)
{
    (void)state;
    uint64_t prng = 1;
    body b = {0};
    add_piece(&b, 500000, 1);
    gr_blob kept = b.blobs[0];
    mem.blobs.ref(mem.blobs.ctx, kept.owner);
    gr_msg *m = message_of(&b, 8, 0);
    for (size_t i = 0; i < kept.size; i++)
        kept.data[i] = (uint8_t)prng_next(&prng);
    compress(m, 63);
    send_and_free(m, FRAME);
    assert_int_equal(seen.messages_count, 1);
    assert_int_equal(seen.messages[0].body.size, kept.size);
    assert_memory_equal(seen.messages[0].body.data, kept.data, kept.size);
    assert_true(seen.bytes < kept.size + kept.size / 50);
    mem_unref(&mem, &kept);
}

/* Given up half-way, a message gives back its stream and its references. */
static void compressed_message_is_given_up(void **state)
{
    (void)state;
    for (size_t steps = 0; steps < 20; steps++) {
        body b = {0};
        add_piece(&b, 300000, 1);
        gr_msg *m = message_of(&b, 8, 0);
        compress(m, 0);
        int last = 0;
        size_t bytes;
        for (size_t i = 0; i < steps && !last; i++)
            assert_rc(gr_msg_put_next(m, &q, 0, FRAME, &bytes, &last), GR_OK);
        gr_msg_free(m, &mem.vt, &mem.blobs);
        assert_int_equal(streams.open, 0);
        gr_outq_clear(&q);
        assert_int_equal(mem.refs, 0);
    }
}

/* ---- random pieces ---- */

/* However a message is cut into pieces and frames, its bytes are the same. */
static void random_pieces_arrive(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        uint64_t prng = seed;
        body b = {0};
        size_t count = 1 + (size_t)prng_below(&prng, 80);
        for (size_t i = 0; i < count; i++)
            add_piece(&b, prng_size(&prng, 9000), (int)prng_below(&prng, 2));
        if (b.size <= SMALL_MAX)
            add_piece(&b, SMALL_MAX + 1 - b.size, 1);
        size_t size = b.size;
        gr_msg *m = message_of(&b, seed, 0);
        if (prng_below(&prng, 3) == 0)
            compress(m, 1);
        m->slot = 1;
        send_and_free(m, 4096 + (size_t)prng_below(&prng, FRAME - 4095));
        expect_it(seed, size, FF_LARGE);
    }
}

/* ---- lists ---- */

static gr_msg *plain_message(uint64_t id, size_t size)
{
    body b = {0};
    add_piece(&b, size, 1);
    return message_of(&b, id, 0);
}

/* A list counts its messages and their bytes, and forgets none, wherever one is taken out. */
static void lists_count(void **state)
{
    (void)state;
    for (size_t out = 0; out < 3; out++) {
        gr_msgs list = {0};
        gr_msg *m[3];
        for (size_t i = 0; i < 3; i++) {
            m[i] = plain_message(i + 1, 10 * (i + 1));
            gr_msgs_append(&list, m[i]);
        }
        assert_int_equal(list.count, 3);
        assert_int_equal(list.left, 60);
        assert_ptr_equal(gr_msgs_find(&list, out + 1), m[out]);
        gr_msgs_remove(&list, m[out]);
        assert_null(gr_msgs_find(&list, out + 1));
        assert_int_equal(list.count, 2);
        assert_int_equal(list.left, 60 - 10 * (out + 1));
        gr_msgs_append(&list, m[out]);
        assert_ptr_equal(list.last, m[out]);
        size_t n = 0;
        for (gr_msg *at = list.last; at; at = at->prev)
            n++;
        assert_int_equal(n, 3);
        for (size_t i = 0; i < 3; i++) {
            gr_msg *first = list.first;
            gr_msgs_remove(&list, first);
            gr_msg_free(first, &mem.vt, &mem.blobs);
        }
        assert_null(list.first);
        assert_null(list.last);
        assert_int_equal(list.left, 0);
    }
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(sizes_around_the_ends_of_frames),
        test_of(fields_take_room),
        test_of(without_a_slot_it_is_one_frame),
        test_of(empty_pieces_are_nothing),
        test_of(empty_messages),
        test_of(references_are_released_once),
        test_of(no_memory_for_a_message),
        test_of(compressed_pieces_arrive),
        test_of(incompressible_bytes_arrive),
        test_of(compressed_message_is_given_up),
        test_of(random_pieces_arrive),
        test_of(lists_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
