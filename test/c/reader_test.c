/* SPDX-License-Identifier: Apache-2.0 */
/* Reading frames: however the bytes are cut, the same frames; and what is allocated when. */
#include <string.h>

#include "bytes_support.h"
#include "cmocka_support.h"
#include "forge_support.h"
#include "gr_reader.h"
#include "mem_support.h"

#define HEAD GR_FRAME_HEAD
#define INLINE_MAX 16384u /* largest body delivered from the buffer */
#define LIMIT 1000000u

static test_mem mem;
static gr_reader r;
static test_bytes stream;
static size_t frames; /* in the stream */
static uint32_t size_of[400];
static size_t taken; /* frames read so far */

static int setup(void **state)
{
    (void)state;
    mem_init(&mem);
    memset(&r, 0xa5, sizeof r);
    gr_reader_init(&r, &mem.vt, &mem.blobs, 0, LIMIT);
    frames = taken = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gr_reader_clear(&r);
    bytes_free(&stream);
    mem_check_empty(&mem);
    return 0;
}

/* Adds a request to the stream; its id is its number, from 1. */
static void add(uint32_t size)
{
    assert_true(frames < COUNT_OF(size_of));
    size_of[frames++] = size;
    forge_frame(&stream, GR_FRAME_REQUEST, frames, size);
}

/* Takes what is complete and compares it with what was added. Returns what ended it. */
static int take(void)
{
    gr_input in;
    int rc;
    while ((rc = gr_reader_next(&r, &in)) == GR_OK) {
        assert_int_equal(in.frame.type, GR_FRAME_REQUEST);
        assert_int_equal(in.frame.id, taken + 1);
        assert_int_equal(in.frame.size, size_of[taken]);
        assert_true(pattern_matches(in.data, in.frame.size, taken + 1));
        assert_int_equal(in.blob.owner != NULL, in.frame.size > INLINE_MAX);
        if (in.blob.owner)
            mem_unref(&mem, &in.blob);
        taken++;
    }
    return rc;
}

/* Puts bytes where the reader wants them; does not take frames. */
static void fill(const uint8_t *data, size_t size)
{
    gr_iov v[2];
    size_t n;
    assert_rc(gr_reader_space(&r, v, &n), GR_OK);
    size_t moved = 0;
    for (size_t i = 0; i < n; i++) {
        size_t some = v[i].size < size - moved ? v[i].size : size - moved;
        memcpy(v[i].data, data + moved, some);
        moved += some;
    }
    assert_int_equal(moved, size);
    gr_reader_filled(&r, moved);
}

static size_t room(void)
{
    gr_iov v[2];
    size_t n;
    assert_rc(gr_reader_space(&r, v, &n), GR_OK);
    return v[0].size + (n > 1 ? v[1].size : 0);
}

/* Feeds the stream from..to in as few pieces as the reader allows. */
static void feed(size_t from, size_t to)
{
    while (from < to) {
        size_t n = room();
        n = n < to - from ? n : to - from;
        assert_true(n > 0);
        fill(stream.data + from, n);
        assert_rc(take(), GR_NONE);
        from += n;
    }
}

static void restart(void)
{
    assert_int_equal(taken, frames);
    assert_false(gr_reader_in_frame(&r));
    gr_reader_clear(&r);
    mem_check_empty(&mem);
    taken = 0;
}

/* Nothing in, nothing out, and no memory is held for it. */
static void unused_reader_holds_nothing(void **state)
{
    (void)state;
    gr_input in;
    assert_rc(gr_reader_next(&r, &in), GR_NONE);
    assert_false(gr_reader_in_frame(&r));
    assert_int_equal(gr_reader_raw(&r).size, 0);
    gr_reader_trim(&r);
    gr_reader_clear(&r);
    assert_int_equal(mem.tries, 0);
}

/* Small frames, cut anywhere in two, give the same frames. */
static void small_frames_cut_at_every_byte(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {0, 1, 2, 15, 16, 17, 100, 0, 4080, 3};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        add(sizes[i]);
    for (size_t cut = 1; cut < stream.size; cut++) {
        feed(0, cut);
        feed(cut, stream.size);
        restart();
    }
}

/* Around each size at which the reader does something else, cut anywhere in two. */
static void frames_around_each_boundary_cut_at_every_byte(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {4096 - HEAD - 1, 4096 - HEAD, 4096 - HEAD + 1, 4096,
                                     INLINE_MAX - 1,  INLINE_MAX,  INLINE_MAX + 1};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        frames = 0;
        bytes_free(&stream);
        add(sizes[i]);
        add(1);
        for (size_t cut = 1; cut < stream.size; cut++) {
            feed(0, cut);
            feed(cut, stream.size);
            restart();
        }
    }
}

/* The slowest peer there is: every byte comes alone. */
static void one_byte_at_a_time(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {0, 1, 4096, INLINE_MAX, INLINE_MAX + 1, 65536 - HEAD, 65536};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        add(sizes[i]);
    for (size_t i = 0; i < stream.size; i++) {
        feed(i, i + 1);
        if (i + 1 == HEAD)
            assert_int_equal(taken, 1);
    }
    restart();
}

/* A stream of frames of every order of size, in random portions. */
static void mixed_sizes_in_random_portions(void **state)
{
    (void)state;
    uint64_t prng = 1;
    for (int i = 0; i < 60; i++)
        add((uint32_t)prng_size(&prng, 200000));
    add(700000);
    for (int round = 0; round < 30; round++) {
        size_t at = 0;
        while (at < stream.size) {
            size_t n = 1 + prng_size(&prng, 100000);
            n = n < stream.size - at ? n : stream.size - at;
            feed(at, at + n);
            at += n;
        }
        restart();
    }
}

/* One read brings many calls; all of them are there at once. */
static void one_read_gives_many_frames(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++)
        add(80);
    fill(stream.data, stream.size);
    assert_rc(take(), GR_NONE);
    restart();
}

/* Whether an end of stream here cuts a frame in two. */
static void in_frame_between_first_and_last_byte(void **state)
{
    (void)state;
    add(20);
    add(INLINE_MAX + 5);
    for (size_t i = 0; i < stream.size; i++) {
        int at_edge = i == 0 || i == 20 + HEAD;
        assert_int_equal(gr_reader_in_frame(&r), !at_edge);
        feed(i, i + 1);
    }
    restart();
}

/* A large body is read where it will be delivered from: one blob of its exact size, no copy. */
static void large_body_is_read_into_its_blob(void **state)
{
    (void)state;
    gr_iov v[2];
    size_t n;
    gr_input in;
    add(300000);
    add(7);
    fill(stream.data, HEAD + 10);
    assert_rc(gr_reader_next(&r, &in), GR_NONE);
    assert_int_equal(mem.created, 1);
    assert_int_equal(r.body.size, 300000);
    assert_rc(gr_reader_space(&r, v, &n), GR_OK);
    assert_int_equal(n, 2);
    assert_ptr_equal(v[0].data, r.body.data + 10);
    assert_int_equal(v[0].size, 300000 - 10);
    const uint8_t *where = r.body.data;
    /* The frame behind it lands in the second stretch. */
    fill(stream.data + HEAD + 10, stream.size - HEAD - 10);
    assert_rc(gr_reader_space(&r, v, &n), GR_OK);
    assert_int_equal(n, 1);
    assert_rc(gr_reader_next(&r, &in), GR_OK);
    assert_ptr_equal(in.data, where);
    assert_ptr_equal(in.blob.data, where);
    assert_int_equal(in.blob.size, 300000);
    assert_true(pattern_matches(in.data, 300000, 1));
    mem_unref(&mem, &in.blob);
    taken = 1;
    assert_rc(take(), GR_NONE);
    assert_int_equal(mem.created, 1);
    restart();
}

/* A body that has arrived whole before it is looked at is complete at once. */
static void large_body_that_is_all_there_needs_no_second_read(void **state)
{
    (void)state;
    add(4096 + INLINE_MAX);
    add(5);
    /* A full read makes the reader ask for more the next time. */
    uint8_t zeros[4096] = {0};
    fill(zeros, sizeof zeros);
    gr_reader_skip(&r, sizeof zeros);
    assert_true(room() > stream.size);
    fill(stream.data, stream.size);
    assert_rc(take(), GR_NONE);
    restart();
}

/* More may be read before what is there is looked at, whatever it is. */
static void reads_may_go_on_before_frames_are_taken(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {80, 4000, 16384, 30000};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        frames = 0;
        bytes_free(&stream);
        add(sizes[i]);
        add(100);
        for (size_t at = 0; at < HEAD + 80; at += HEAD / 2)
            fill(stream.data + at, HEAD / 2);
        size_t got = HEAD + 80;
        assert_int_equal(mem.largest, sizes[i] == 16384 ? 65536 : 4096);
        assert_rc(take(), GR_NONE);
        feed(got, stream.size);
        mem.largest = 0;
        restart();
    }
    bytes_free(&stream);
    frames = 0;
    forge_frame_head(&stream, GR_FRAME_REPLY, 1, 0); /* an illegal one, noticed when it is taken */
    gr_input in;
    fill(stream.data, stream.size);
    assert_true(room() > 0);
    assert_rc(gr_reader_next(&r, &in), GR_EPROTO);
}

/* What the receiver got stays whole while the next frames are read. */
static void delivered_blob_outlives_the_next_reads(void **state)
{
    (void)state;
    gr_input first;
    add(50000);
    add(60000);
    fill(stream.data, HEAD);
    assert_rc(gr_reader_next(&r, &first), GR_NONE);
    fill(stream.data + HEAD, 50000);
    assert_rc(gr_reader_next(&r, &first), GR_OK);
    taken = 1;
    feed(HEAD + 50000, stream.size);
    assert_true(pattern_matches(first.data, 50000, 1));
    mem_unref(&mem, &first.blob);
    restart();
}

/* A length over the limit is refused by its header alone; nothing is allocated for it. */
static void length_over_the_limit_allocates_nothing(void **state)
{
    (void)state;
    static const uint32_t limits[] = {0, 100, INLINE_MAX - 1, INLINE_MAX, INLINE_MAX + 1, 100000};
    static const uint32_t over[] = {1, 1000, UINT32_MAX};
    for (size_t i = 0; i < COUNT_OF(limits); i++)
        for (size_t j = 0; j < COUNT_OF(over); j++) {
            gr_input in;
            uint32_t most = UINT32_MAX - limits[i];
            test_bytes head = {0};
            forge_frame_head(&head, GR_FRAME_REQUEST, 1,
                             limits[i] + (over[j] < most ? over[j] : most));
            gr_reader_init(&r, &mem.vt, &mem.blobs, 0, limits[i]);
            for (size_t k = 0; k < HEAD; k++) {
                assert_rc(gr_reader_next(&r, &in), GR_NONE);
                fill(head.data + k, 1);
            }
            size_t tries = mem.tries;
            assert_rc(gr_reader_next(&r, &in), GR_EPROTO);
            assert_int_equal(mem.tries, tries);
            assert_true(mem.largest <= 4096);
            bytes_free(&head);
            gr_reader_clear(&r);
        }
}

/* The limit itself is allowed, on either side of what is delivered from the buffer. */
static void length_at_the_limit_is_read(void **state)
{
    (void)state;
    static const uint32_t limits[] = {0, 1, INLINE_MAX, INLINE_MAX + 1, 100000};
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        frames = 0;
        bytes_free(&stream);
        add(limits[i]);
        gr_reader_init(&r, &mem.vt, &mem.blobs, 0, limits[i]);
        feed(0, stream.size);
        restart();
    }
}

/* "Too big" has a body of its own that says so; the limit for messages is not meant for it. */
static void limit_does_not_apply_to_too_big(void **state)
{
    (void)state;
    gr_input in;
    gr_reader_init(&r, &mem.vt, &mem.blobs, 1, 3);
    forge_frame(&stream, GR_FRAME_TOOBIG, 1, GR_TOOBIG_BODY);
    fill(stream.data, stream.size);
    assert_rc(gr_reader_next(&r, &in), GR_OK);
    assert_int_equal(in.frame.type, GR_FRAME_TOOBIG);
    assert_true(pattern_matches(in.data, GR_TOOBIG_BODY, 1));
}

/* A header that its rule forbids is refused, also one that the other direction may send. */
static void illegal_header_is_refused(void **state)
{
    (void)state;
    gr_input in;
    forge_frame(&stream, GR_FRAME_REPLY, 1, 0);
    fill(stream.data, stream.size);
    assert_rc(gr_reader_next(&r, &in), GR_EPROTO);
}

/* A connection that idles holds little; one that is busy reads much at once. */
static void buffer_grows_only_when_reads_fill_it(void **state)
{
    (void)state;
    assert_int_equal(room(), 4096);
    for (int i = 0; i < 40; i++)
        add(80);
    feed(0, stream.size);
    assert_int_equal(room(), 4096);
    frames = taken = 0;
    bytes_free(&stream);
    add(4096 - HEAD);
    feed(0, stream.size);
    assert_int_equal(room(), 65536);
}

/* An empty buffer is given back; one with half a frame in it is not. */
static void trim_gives_back_only_an_empty_buffer(void **state)
{
    (void)state;
    add(50);
    feed(0, 30);
    gr_reader_trim(&r);
    assert_int_equal(mem.live, 1);
    feed(30, stream.size);
    gr_reader_trim(&r);
    assert_int_equal(mem.live, 0);
    taken = 0;
    feed(0, stream.size);
    restart();
}

/* Before authentication bytes are looked at raw; what it leaves is read as frames. */
static void raw_bytes_go_before_frames(void **state)
{
    (void)state;
    bytes_append(&stream, "hello", 5);
    add(12);
    fill(stream.data, stream.size);
    gr_iov raw = gr_reader_raw(&r);
    assert_int_equal(raw.size, stream.size);
    assert_memory_equal(raw.data, "hello", 5);
    gr_reader_skip(&r, 2);
    raw = gr_reader_raw(&r);
    assert_int_equal(raw.size, stream.size - 2);
    assert_memory_equal(raw.data, "llo", 3);
    gr_reader_skip(&r, 3);
    assert_rc(take(), GR_NONE);
    restart();
}

/* A connection that dies in the middle of a large body leaves nothing behind. */
static void clear_releases_half_a_body(void **state)
{
    (void)state;
    add(100000);
    feed(0, 50000);
    assert_int_equal(mem.refs, 1);
    gr_reader_clear(&r);
    mem_check_empty(&mem);
}

/* Without memory for the buffer, for a larger one or for a body, it says so and can be cleared. */
static void failed_allocation_is_reported(void **state)
{
    (void)state;
    gr_iov v[2];
    size_t n;
    gr_input in;
    mem.fail_at = 1;
    assert_rc(gr_reader_space(&r, v, &n), GR_ENOMEM);
    add(5000);
    feed(0, 1000);
    mem.fail_at = mem.tries + 1;
    assert_rc(gr_reader_space(&r, v, &n), GR_ENOMEM);
    feed(1000, stream.size);
    bytes_free(&stream);
    forge_frame_head(&stream, GR_FRAME_CAST, 0, INLINE_MAX + 1);
    fill(stream.data, stream.size);
    mem.fail_at = mem.tries + 1;
    assert_rc(gr_reader_next(&r, &in), GR_ENOMEM);
    assert_int_equal(mem.refs, 0);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(unused_reader_holds_nothing),
        test_of(small_frames_cut_at_every_byte),
        test_of(frames_around_each_boundary_cut_at_every_byte),
        test_of(one_byte_at_a_time),
        test_of(mixed_sizes_in_random_portions),
        test_of(one_read_gives_many_frames),
        test_of(in_frame_between_first_and_last_byte),
        test_of(large_body_is_read_into_its_blob),
        test_of(large_body_that_is_all_there_needs_no_second_read),
        test_of(reads_may_go_on_before_frames_are_taken),
        test_of(delivered_blob_outlives_the_next_reads),
        test_of(length_over_the_limit_allocates_nothing),
        test_of(length_at_the_limit_is_read),
        test_of(limit_does_not_apply_to_too_big),
        test_of(illegal_header_is_refused),
        test_of(buffer_grows_only_when_reads_fill_it),
        test_of(trim_gives_back_only_an_empty_buffer),
        test_of(raw_bytes_go_before_frames),
        test_of(clear_releases_half_a_body),
        test_of(failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
