/* SPDX-License-Identifier: Apache-2.0 */
/* Reading messages: however the bytes are cut, the same messages; and what is allocated when. */
#include <string.h>
#include <zlib.h>

#include "bytes_support.h"
#include "cmocka_support.h"
#include "forge_support.h"
#include "gr_reader.h"
#include "mem_support.h"

#define HEAD GR_FRAME_HEAD
#define INLINE_MAX FORGE_SMALL /* largest body delivered from the buffer */
#define LIMIT 1000000u

static test_mem mem;
static gr_reader r;
static test_bytes stream;
static uint64_t last_id; /* of the messages in the stream */
static struct {
    uint64_t id;
    uint32_t size;
} expected[400];      /* in the order in which they become complete */
static size_t frames; /* of these */
static size_t taken;  /* read so far */

static int setup(void **state)
{
    (void)state;
    mem_init(&mem);
    memset(&r, 0xa5, sizeof r);
    gr_reader_init(&r, &mem.vt, &mem.blobs, 0, LIMIT);
    frames = taken = 0;
    last_id = 0;
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

static void expect_next(uint64_t id, uint32_t size)
{
    assert_true(frames < COUNT_OF(expected));
    expected[frames].id = id;
    expected[frames++].size = size;
}

/* Adds a request to the stream, in fragments if it is large. */
static void add(uint32_t size)
{
    expect_next(++last_id, size);
    forge_message(&stream, GR_FRAME_REQUEST, last_id, size);
}

static void forget_stream(void)
{
    frames = taken = 0;
    last_id = 0;
    bytes_free(&stream);
}

/* Adds so many large requests whose fragments, of random sizes, are mixed, and small ones between them. */
static void add_mixed(uint64_t *prng, unsigned count, uint32_t largest)
{
    forge_start open[GR_SLOTS];
    uint32_t at[GR_SLOTS] = {0};
    unsigned left = count;
    for (unsigned i = 0; i < count; i++)
        open[i] = (forge_start){.type = GR_FRAME_REQUEST,
                                .id = ++last_id,
                                .slot = (uint16_t)(i * 31 % GR_SLOTS),
                                .whole = FORGE_SMALL + 1 +
                                         (uint32_t)prng_below(prng, largest - FORGE_SMALL)};
    while (left) {
        unsigned i = (unsigned)prng_below(prng, left);
        uint32_t size = 1 + (uint32_t)prng_size(prng, FORGE_FRAGMENT - 1);
        if (size > open[i].whole - at[i])
            size = open[i].whole - at[i];
        forge_fragment(&stream, &open[i], at[i], size);
        at[i] += size;
        if (at[i] == open[i].whole) {
            expect_next(open[i].id, open[i].whole);
            open[i] = open[--left];
            at[i] = at[left];
        }
        if (prng_below(prng, 8) == 0)
            add((uint32_t)prng_size(prng, 2000));
    }
}

/* A message has been used. */
static void done(gr_input *in)
{
    if (in->blob.owner)
        mem_unref(&mem, &in->blob);
    if (in->frame.flags & GR_FLAG_LARGE)
        gr_slots_release(&r.slots, in->frame.slot);
    taken++;
}

static void check(const gr_input *in)
{
    assert_int_equal(in->frame.type, GR_FRAME_REQUEST);
    assert_true(taken < frames);
    assert_int_equal(in->frame.id, expected[taken].id);
    assert_int_equal(in->frame.size, expected[taken].size);
    assert_true(pattern_matches(in->data, in->frame.size, in->frame.id));
    assert_int_equal(in->blob.owner != NULL, in->frame.size > INLINE_MAX);
    assert_int_equal((in->frame.flags & GR_FLAG_LARGE) != 0, in->frame.size > INLINE_MAX);
    if (in->blob.owner) {
        assert_int_equal(in->blob.size, in->frame.size);
        assert_ptr_equal(in->blob.data, in->data);
    } else {
        assert_int_equal(in->charge, gr_frame_charge(&in->frame));
    }
}

/* Takes what is complete and compares it with what was added. Returns what ended it. */
static int take(void)
{
    gr_input in;
    int rc;
    while ((rc = gr_reader_next(&r, &in)) == GR_OK) {
        check(&in);
        done(&in);
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

/* A full read makes the reader ask for more the next time. */
static void grow_buffer(void)
{
    uint8_t zeros[4096] = {0};
    fill(zeros, sizeof zeros);
    gr_reader_skip(&r, sizeof zeros);
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
        forget_stream();
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
    static const uint32_t sizes[] = {
        0, 1, 4096, INLINE_MAX, INLINE_MAX + 1, 65536 - 1, 65536 + 1, 65536 - HEAD - 4, 130000};
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

/* Messages whose fragments are mixed, in random portions: each is put together of its own. */
static void mixed_fragments_in_random_portions(void **state)
{
    (void)state;
    static const unsigned counts[] = {2, 5, 20, GR_SLOTS};
    gr_slots_init(&r.slots, &mem.vt, &mem.blobs, 10 * LIMIT);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t prng = seed;
        unsigned count = counts[seed % COUNT_OF(counts)];
        size_t at = 0;
        forget_stream();
        add_mixed(&prng, count, count > 10 ? 50000 : 300000);
        while (at < stream.size) {
            size_t n = 1 + prng_size(&prng, 200000);
            n = n < stream.size - at ? n : stream.size - at;
            feed(at, at + n);
            at += n;
        }
        assert_int_equal(mem.refs, 0);
        assert_int_equal(r.slots.used, 0);
        assert_true(r.slots.bytes == 0);
        restart();
    }
}

/* What has arrived of fragments is counted with their heads, as soon as they begin. */
static void bytes_of_fragments_are_counted(void **state)
{
    (void)state;
    add(100);
    add(70000);
    add(100);
    feed(0, stream.size);
    assert_int_equal(r.large_in, 70000 + 2 * HEAD + 4);
    restart();
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

/* Or a message between two of its fragments, whatever comes between them; but not one given up. */
static void in_frame_while_a_message_is_open(void **state)
{
    (void)state;
    gr_input in;
    const forge_start f = {.type = GR_FRAME_REQUEST, .id = 1, .slot = 9, .whole = 20000};
    forge_fragment(&stream, &f, 0, 10000);
    feed(0, stream.size);
    assert_true(gr_reader_in_frame(&r));
    bytes_free(&stream);
    last_id = 1;
    add(5);
    feed(0, stream.size);
    assert_true(gr_reader_in_frame(&r));
    bytes_free(&stream);
    forge_fragment(&stream, &f, 10000, 10000);
    expect_next(1, 20000);
    fill(stream.data, stream.size);
    assert_rc(gr_reader_next(&r, &in), GR_OK);
    /* It is complete, though its slot is not free yet. */
    assert_false(gr_reader_in_frame(&r));
    check(&in);
    done(&in);
    bytes_free(&stream);
    forge_fragment(&stream, &f, 0, 10000);
    feed(0, stream.size);
    assert_true(gr_reader_in_frame(&r));
    assert_rc(gr_slots_abort(&r.slots, 9), GR_OK);
    assert_false(gr_reader_in_frame(&r));
    assert_int_equal(mem.refs, 0);
}

/* A large body is read where it will be delivered from: one blob of its exact size, no copy. */
static void large_body_is_read_into_its_blob(void **state)
{
    (void)state;
    gr_iov v[2];
    size_t n;
    gr_input in;
    size_t start = HEAD + 4;
    add(60000);
    add(7);
    fill(stream.data, start + 10);
    assert_rc(gr_reader_next(&r, &in), GR_NONE);
    assert_int_equal(mem.created, 1);
    assert_rc(gr_reader_space(&r, v, &n), GR_OK);
    assert_int_equal(n, 2);
    assert_int_equal(v[0].size, 60000 - 10);
    /* Not much more than that at once, or the next fragment would have to be copied. */
    assert_true(v[1].size >= HEAD + 7 && v[1].size <= 4096);
    const uint8_t *where = v[0].data - 10;
    /* The frame behind it lands in the second stretch. */
    fill(stream.data + start + 10, stream.size - start - 10);
    assert_rc(gr_reader_space(&r, v, &n), GR_OK);
    assert_int_equal(n, 1);
    assert_rc(gr_reader_next(&r, &in), GR_OK);
    assert_ptr_equal(in.data, where);
    check(&in);
    done(&in);
    assert_rc(take(), GR_NONE);
    assert_int_equal(mem.created, 1);
    restart();
}

/* Each fragment of it goes on where the last one ended. */
static void fragments_are_read_into_one_blob(void **state)
{
    (void)state;
    gr_iov v[2];
    size_t n;
    add(300000);
    const uint8_t *where = NULL;
    for (uint32_t at = 0; at < 300000; at += FORGE_FRAGMENT) {
        size_t from = at + HEAD * (at / FORGE_FRAGMENT) + (at ? 4 : 0);
        size_t to = at ? from + HEAD : HEAD + 4;
        feed(from, to);
        assert_rc(gr_reader_space(&r, v, &n), GR_OK);
        assert_int_equal(n, 2);
        if (!where)
            where = v[0].data;
        assert_ptr_equal(v[0].data, where + at);
        size_t size = 300000 - at < FORGE_FRAGMENT ? 300000 - at : FORGE_FRAGMENT;
        assert_int_equal(v[0].size, size);
        feed(to, to + size);
    }
    assert_int_equal(mem.created, 1);
    restart();
}

/* A body that has arrived whole before it is looked at is complete at once. */
static void large_body_that_is_all_there_needs_no_second_read(void **state)
{
    (void)state;
    add(4096 + INLINE_MAX);
    add(5);
    grow_buffer();
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
        forget_stream();
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

/* What the receiver got stays whole while the next messages are read, in the same slot even. */
static void delivered_blob_outlives_the_next_reads(void **state)
{
    (void)state;
    gr_input first;
    add(50000);
    add(60000);
    fill(stream.data, HEAD + 4);
    assert_rc(gr_reader_next(&r, &first), GR_NONE);
    fill(stream.data + HEAD + 4, 50000);
    assert_rc(gr_reader_next(&r, &first), GR_OK);
    check(&first);
    taken = 1;
    gr_slots_release(&r.slots, first.frame.slot);
    feed(HEAD + 4 + 50000, stream.size);
    assert_true(pattern_matches(first.data, 50000, 1));
    mem_unref(&mem, &first.blob);
    restart();
}

/* Puts the start of a frame in, byte by byte; it is refused with its last byte, without an allocation. */
static void expect_refused_start(const test_bytes *start)
{
    gr_input in;
    for (size_t k = 0; k < start->size; k++) {
        assert_rc(gr_reader_next(&r, &in), GR_NONE);
        fill(start->data + k, 1);
    }
    size_t tries = mem.tries;
    assert_rc(gr_reader_next(&r, &in), GR_EPROTO);
    assert_int_equal(mem.tries, tries);
    assert_true(mem.largest <= 4096);
}

/* A size over the limit is refused by the start of its frame alone; nothing is allocated for it. */
static void length_over_the_limit_allocates_nothing(void **state)
{
    (void)state;
    static const uint32_t limits[] = {0, 100, INLINE_MAX - 1, INLINE_MAX, INLINE_MAX + 1, 100000};
    static const uint32_t over[] = {1, 1000, UINT32_MAX};
    static const uint8_t flags[] = {FORGE_LARGE, FORGE_LARGE | FORGE_END,
                                    FORGE_LARGE | FORGE_DEFLATED};
    for (size_t i = 0; i < COUNT_OF(limits); i++)
        for (size_t j = 0; j < COUNT_OF(over); j++)
            for (size_t k = 0; k < COUNT_OF(flags); k++) {
                uint32_t most = UINT32_MAX - limits[i];
                uint32_t size = limits[i] + (over[j] < most ? over[j] : most);
                forge_start f = {
                    .type = GR_FRAME_REQUEST, .flags = flags[k], .id = 1, .whole = size};
                test_bytes start = {0};
                gr_reader_init(&r, &mem.vt, &mem.blobs, 0, limits[i]);
                forge_start_put(&start, &f, 100);
                expect_refused_start(&start);
                bytes_free(&start);
                gr_reader_clear(&r);
            }
}

/* A small message over the limit, and one that says that it would be when decompressed. */
static void small_message_over_the_limit_is_refused(void **state)
{
    (void)state;
    static const uint32_t limits[] = {0, 100, 10000, INLINE_MAX - 1};
    static const uint8_t flags[] = {0, FORGE_DEFLATED, FORGE_DEFLATED | FORGE_CONTEXT};
    for (size_t i = 0; i < COUNT_OF(limits); i++)
        for (size_t k = 0; k < COUNT_OF(flags); k++) {
            gr_input in;
            forge_start f = {
                .type = GR_FRAME_REQUEST, .flags = flags[k], .id = 1, .whole = limits[i] + 1};
            uint32_t size = flags[k] ? 1 : limits[i] + 1;
            bytes_free(&stream);
            forge_start_put(&stream, &f, size);
            for (size_t n = 0; n < size; n++)
                bytes_append(&stream, "x", 1);
            gr_reader_init(&r, &mem.vt, &mem.blobs, 0, limits[i]);
            for (size_t at = 0; at < stream.size;) {
                size_t n = room() < stream.size - at ? room() : stream.size - at;
                assert_rc(gr_reader_next(&r, &in), GR_NONE);
                fill(stream.data + at, n);
                at += n;
            }
            assert_rc(gr_reader_next(&r, &in), GR_EPROTO);
            assert_int_equal(mem.created, 0);
            gr_reader_clear(&r);
        }
}

/* A frame over what may be one is refused by its head, whatever the limit. */
static void hostile_sizes_are_refused_by_the_head(void **state)
{
    (void)state;
    static const struct {
        uint8_t type;
        uint8_t flags;
        uint32_t size; /* of the content */
    } bad[] = {
        {GR_FRAME_REQUEST, 0, INLINE_MAX + 1},
        {GR_FRAME_REQUEST, 0, UINT32_MAX},
        {GR_FRAME_REQUEST, FORGE_DEFLATED, INLINE_MAX + 1},
        {GR_FRAME_REQUEST, FORGE_LARGE, FORGE_FRAGMENT + 1},
        {GR_FRAME_REQUEST, FORGE_LARGE, UINT32_MAX - 4},
        {GR_FRAME_REQUEST, FORGE_LARGE, UINT32_MAX - 3}, /* with its fields it wraps round */
        {GR_FRAME_REQUEST, FORGE_TIMED, UINT32_MAX - 1},
        {GR_FRAME_DATA, 0, FORGE_FRAGMENT + 1},
        {GR_FRAME_DATA, FORGE_END, UINT32_MAX},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        forge_start f = {
            .type = bad[i].type, .flags = bad[i].flags, .id = bad[i].type == 1, .whole = 20000};
        test_bytes start = {0};
        gr_reader_init(&r, &mem.vt, &mem.blobs, 0, UINT32_MAX);
        forge_start_put(&start, &f, bad[i].size);
        start.size = HEAD;
        expect_refused_start(&start);
        bytes_free(&start);
        gr_reader_clear(&r);
    }
}

/* The limit itself is allowed, on either side of what is delivered from the buffer. */
static void length_at_the_limit_is_read(void **state)
{
    (void)state;
    static const uint32_t limits[] = {0, 1, INLINE_MAX, INLINE_MAX + 1, 100000};
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        forget_stream();
        add(limits[i]);
        gr_reader_init(&r, &mem.vt, &mem.blobs, 0, limits[i]);
        feed(0, stream.size);
        restart();
    }
}

/* What is open together is under the limit, too; the first one may use all of it. */
static void limit_is_for_all_that_is_open(void **state)
{
    (void)state;
    gr_input in;
    const forge_start a = {.type = GR_FRAME_REQUEST, .id = 1, .slot = 0, .whole = 60000};
    const forge_start b = {.type = GR_FRAME_REQUEST, .id = 2, .slot = 1, .whole = 40000};
    const forge_start c = {.type = GR_FRAME_REQUEST, .id = 3, .slot = 2, .whole = INLINE_MAX + 1};
    gr_reader_init(&r, &mem.vt, &mem.blobs, 0, 100000);
    forge_fragment(&stream, &a, 0, 100);
    forge_fragment(&stream, &b, 0, 100);
    feed(0, stream.size);
    assert_int_equal(mem.created, 2);
    bytes_free(&stream);
    forge_fragment(&stream, &c, 0, 100);
    fill(stream.data, stream.size);
    assert_rc(gr_reader_next(&r, &in), GR_EPROTO);
    assert_int_equal(mem.created, 2);
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

/* However small or large it was asked to be, every frame fits, and one read brings not too many. */
static void buffer_has_a_bound(void **state)
{
    (void)state;
    static const struct {
        uint64_t asked;
        size_t bound;
    } cases[] = {{1, GR_FRAME_START_MAX + GR_SMALL_MAX},
                 {30000, 30000},
                 {65536, 65536},
                 {65537, 65536},
                 {UINT64_MAX, 65536},
                 {0, 65536}};
    uint64_t prng = 7;
    for (int i = 0; i < 60; i++)
        add((uint32_t)prng_size(&prng, INLINE_MAX));
    for (int i = 0; i < 6; i++)
        add(INLINE_MAX);
    add(100000);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        gr_reader_bound(&r, cases[i].asked);
        feed(0, stream.size);
        assert_int_equal(r.room, cases[i].bound);
        restart();
    }
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
    forget_stream();
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

/* Without memory for the buffer, for a larger one, for slots or for a body, it says so. */
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
    for (size_t i = 1; i <= 2; i++) {
        gr_reader_clear(&r);
        bytes_free(&stream);
        forge_message(&stream, GR_FRAME_CAST, 0, INLINE_MAX + 1);
        gr_reader_init(&r, &mem.vt, &mem.blobs, 0, LIMIT);
        fill(stream.data, HEAD + 4);
        mem.fail_at = mem.tries + i;
        assert_rc(gr_reader_next(&r, &in), GR_ENOMEM);
        assert_int_equal(mem.refs, 0);
    }
}

/* ---- compressed messages ---- */

/* The pattern of the last id, compressed as the protocol has it: raw, with a window of 2^14. */
static void deflate_pattern(test_bytes *out, uint32_t size)
{
    z_stream z = {0};
    uint8_t *plain = test_malloc(size + 1);
    size_t room_for = size + size / 4 + 100;
    uint8_t *packed = test_malloc(room_for);
    pattern_fill(plain, size, last_id);
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, -14, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = plain;
    z.avail_in = size;
    z.next_out = packed;
    z.avail_out = (uInt)room_for;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    bytes_append(out, packed, room_for - z.avail_out);
    deflateEnd(&z);
    test_free(plain);
    test_free(packed);
}

/* Adds a compressed request; a large one in fragments of that many bytes, in slot 0. */
static void add_deflated(uint32_t size, size_t fragment)
{
    forge_start f = {.type = GR_FRAME_REQUEST, .flags = FORGE_DEFLATED, .id = ++last_id};
    test_bytes z = {0};
    deflate_pattern(&z, size);
    f.whole = size;
    if (size <= INLINE_MAX) {
        forge_start_put(&stream, &f, (uint32_t)z.size);
        bytes_append(&stream, z.data, z.size);
    }
    for (size_t at = 0; size > INLINE_MAX && at < z.size; at += fragment) {
        const forge_start next = {.type = GR_FRAME_DATA};
        size_t n = z.size - at < fragment ? z.size - at : fragment;
        forge_start start = at ? next : f;
        start.flags |= (uint8_t)((at ? 0 : FORGE_LARGE) | (at + n == z.size ? FORGE_END : 0));
        forge_start_put(&stream, &start, (uint32_t)n);
        bytes_append(&stream, z.data + at, n);
    }
    bytes_free(&z);
}

/* Takes one message, in as many turns as it takes. Returns how many these were. */
static size_t take_deflated(uint32_t size)
{
    gr_input in;
    size_t turns = 1;
    int rc;
    while ((rc = gr_reader_next(&r, &in)) == GR_NONE && r.more) {
        gr_reader_turn(&r);
        turns++;
    }
    assert_rc(rc, GR_OK);
    assert_int_equal(in.frame.size, size);
    assert_int_equal(in.frame.whole, size);
    assert_int_equal(in.blob.size, size);
    assert_true(pattern_matches(in.data, size, in.frame.id));
    done(&in);
    return turns;
}

/* Compressed messages of any size come out as they were, however they are cut. */
static void compressed_messages_come_out(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {0, 1, 100, INLINE_MAX, INLINE_MAX + 1, 100000, 900000};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (size_t fragment = 1; fragment < FORGE_FRAGMENT; fragment = fragment * 5 + 3) {
            forget_stream();
            if (sizes[i] > 100000 && fragment < 10)
                continue;
            add_deflated(sizes[i], fragment);
            gr_reader_turn(&r);
            for (size_t at = 0; at < stream.size - 1;) {
                gr_input in;
                size_t n = room() < stream.size - 1 - at ? room() : stream.size - 1 - at;
                fill(stream.data + at, n);
                at += n;
                while (gr_reader_next(&r, &in) == GR_NONE && r.more)
                    gr_reader_turn(&r);
            }
            assert_true(gr_reader_in_frame(&r));
            fill(stream.data + stream.size - 1, 1);
            take_deflated(sizes[i]);
            assert_false(gr_reader_in_frame(&r));
            assert_int_equal(mem.refs, 0);
        }
}

/* A turn decompresses no more than so much; what is left waits for the next one. */
static void turn_has_an_allowance(void **state)
{
    (void)state;
    grow_buffer();
    gr_reader_turn(&r);
    add_deflated(900000, FORGE_FRAGMENT);
    fill(stream.data, stream.size);
    size_t turns = take_deflated(900000);
    assert_true(turns >= 6 && turns <= 12);
    /* Small ones take from it as well. */
    forget_stream();
    gr_reader_turn(&r);
    for (int i = 0; i < 20; i++)
        add_deflated(INLINE_MAX, 0);
    fill(stream.data, stream.size);
    turns = 0;
    for (int i = 0; i < 20; i++)
        turns += take_deflated(INLINE_MAX) - 1;
    assert_int_equal(turns, 20 / 8);
    assert_true(r.deflate_in == 900000 + 20 * INLINE_MAX);
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
        test_of(mixed_fragments_in_random_portions),
        test_of(bytes_of_fragments_are_counted),
        test_of(one_read_gives_many_frames),
        test_of(in_frame_between_first_and_last_byte),
        test_of(in_frame_while_a_message_is_open),
        test_of(large_body_is_read_into_its_blob),
        test_of(fragments_are_read_into_one_blob),
        test_of(large_body_that_is_all_there_needs_no_second_read),
        test_of(reads_may_go_on_before_frames_are_taken),
        test_of(delivered_blob_outlives_the_next_reads),
        test_of(length_over_the_limit_allocates_nothing),
        test_of(small_message_over_the_limit_is_refused),
        test_of(hostile_sizes_are_refused_by_the_head),
        test_of(length_at_the_limit_is_read),
        test_of(limit_is_for_all_that_is_open),
        test_of(limit_does_not_apply_to_too_big),
        test_of(illegal_header_is_refused),
        test_of(buffer_has_a_bound),
        test_of(buffer_grows_only_when_reads_fill_it),
        test_of(trim_gives_back_only_an_empty_buffer),
        test_of(raw_bytes_go_before_frames),
        test_of(clear_releases_half_a_body),
        test_of(failed_allocation_is_reported),
        test_of(compressed_messages_come_out),
        test_of(turn_has_an_allowance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
