/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes: what leaves first, what has to wait, and that nothing is lost, doubled or torn on the way. */
#include <stdlib.h>
#include <string.h>

#include "bytes_support.h"
#include "cmocka_support.h"
#include "frames_support.h"
#include "gr_lanes.h"
#include "mem_support.h"

#define HEAD 16u
#define FRAME ((size_t)64 * 1024)
#define RECORD ((size_t)16 * 1024)
#define SMALL_WINDOW ((size_t)GR_SMALL_WINDOW)
#define ORDERED_WINDOW ((size_t)GR_ORDERED_WINDOW)
#define CHARGE 128u /* what each message counts for in a window beside its bytes */
#define MIB ((size_t)1024 * 1024)
#define STAGED_MAX (3 * FRAME)

static test_mem mem;
static gr_lanes l;
static frames_log seen;
static uint64_t seed; /* of a random run */

static void open_lanes(size_t frame_max, int level, uint64_t peer_max)
{
    mem_init(&mem);
    memset(&l, 0xa5, sizeof l);
    memset(&seen, 0, sizeof seen);
    gr_lanes_init(&l, &mem.vt, &mem.blobs, frame_max, level);
    gr_lanes_open(&l, 1, peer_max);
    gr_lanes_turn(&l, 1000000);
}

static void close_lanes(void)
{
    gr_lanes_clear(&l);
    frames_free(&seen);
    mem_check_empty(&mem);
}

static int setup(void **state)
{
    (void)state;
    open_lanes(FRAME, 0, 512 * MIB);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_lanes();
    if (seed)
        print_error("run it alone: GR_SEED=%llu\n", (unsigned long long)seed);
    seed = 0;
    return 0;
}

/* ---- submissions ---- */

static gr_frame frame_of(unsigned type, unsigned flags, uint64_t id, size_t size)
{
    gr_frame f = {.type = (gr_frame_type)type,
                  .flags = (uint8_t)flags,
                  .size = (uint32_t)size,
                  .whole = (uint32_t)size,
                  .id = id};
    return f;
}

static gr_blob body_blob(size_t size, uint64_t body)
{
    gr_blob b = mem_blob(&mem, size, 0);
    body_fill(b.data, size, body);
    return b;
}

static int put_small(uint64_t id, size_t size)
{
    gr_frame f = frame_of(FT_REQUEST, 0, id, size);
    gr_blob b = body_blob(size, id);
    gr_piece p = {b.data, size, b.owner};
    int rc = gr_lanes_small(&l, &f, &p, 1);
    mem_unref(&mem, &b);
    return rc;
}

static int put_large(uint64_t id, size_t size, int deflate)
{
    gr_frame f = frame_of(FT_REQUEST, 0, id, size);
    gr_blob b = body_blob(size, id);
    gr_piece p = {b.data, size, b.owner};
    int rc = gr_lanes_large(&l, &f, &p, 1, deflate);
    mem_unref(&mem, &b);
    return rc;
}

static int put_ordered(uint64_t id, size_t size, int deflate)
{
    gr_frame f = frame_of(FT_REQUEST, FF_ORDERED, id, size);
    gr_blob b = body_blob(size, id);
    gr_piece p = {b.data, size, b.owner};
    int rc = gr_lanes_ordered(&l, &f, &p, 1, deflate);
    mem_unref(&mem, &b);
    return rc;
}

static void small(uint64_t id, size_t size)
{
    assert_rc(put_small(id, size), GR_OK);
}

static void large(uint64_t id, size_t size)
{
    assert_rc(put_large(id, size, 0), GR_OK);
}

static void ordered(uint64_t id, size_t size)
{
    assert_rc(put_ordered(id, size, 0), GR_OK);
}

static void control(unsigned type)
{
    gr_frame f = frame_of(type, 0, 0, 0);
    assert_rc(gr_lanes_first(&l, &f), GR_OK);
}

/* ---- the socket, and a receiver that uses all at once or nothing ---- */

/* Takes at most n bytes of what may leave. Returns how many. */
static size_t take(size_t n)
{
    size_t taken = 0;
    while (taken < n) {
        gr_iov v[4];
        assert_rc(gr_lanes_stage(&l), GR_OK);
        if (!gr_outq_peek(&l.out, v, 4))
            break;
        size_t some = v[0].size < n - taken ? v[0].size : n - taken;
        frames_feed(&seen, v[0].data, some);
        gr_lanes_consume(&l, some);
        taken += some;
    }
    return taken;
}

static void take_all(void)
{
    while (take(SIZE_MAX) || gr_lanes_more(&l))
        gr_lanes_turn(&l, l.now_us + 100);
}

/* The large lane's bytes are used as they arrive. */
static void ack(void)
{
    gr_lanes_turn(&l, l.now_us + 1000);
    assert_rc(gr_lanes_window(&l, GR_LANE_LARGE, seen.fragments), GR_OK);
}

/* Goes on until nothing more comes although all fragments were acknowledged. */
static void take_and_ack(void)
{
    uint64_t before;
    do {
        before = seen.bytes;
        ack();
        take_all();
    } while (seen.bytes != before);
}

static void expect_frame(size_t i, unsigned type, uint64_t id)
{
    assert_true(i < seen.count);
    assert_int_equal(seen.frames[i].type, type);
    assert_int_equal(seen.frames[i].id, id);
}

static void expect_message(size_t i, uint64_t id, size_t size)
{
    assert_true(i < seen.messages_count);
    assert_int_equal(seen.messages[i].first.id, id);
    assert_int_equal(seen.messages[i].body.size, size);
    assert_int_equal(body_seed(seen.messages[i].body.data, size), size < 8 ? size : id);
}

/* ---- order ---- */

/* Pings and windows must not wait behind anybody's data. */
static void control_leaves_first(void **state)
{
    (void)state;
    large(1, MIB);
    small(2, 100);
    ordered(3, 100);
    control(FT_PING);
    control(FT_PONG);
    take_all();
    expect_frame(0, FT_PING, 0);
    expect_frame(1, FT_PONG, 0);
}

/* All that waits is sorted when it leaves: small messages before the large one that came earlier. */
static void small_leaves_before_large(void **state)
{
    (void)state;
    large(1, MIB);
    small(2, 100);
    small(3, FRAMES_SMALL_MAX);
    take_and_ack();
    expect_frame(0, FT_REQUEST, 2);
    expect_frame(1, FT_REQUEST, 3);
    assert_int_equal(seen.messages_count, 3);
    expect_message(2, 1, MIB);
}

/* While a large message is being sent, a small one waits for no more than what is staged of it. */
static void small_waits_for_staged_bytes_only(void **state)
{
    (void)state;
    large(1, 50 * MIB);
    for (uint64_t id = 2; id < 50; id++) {
        take(10000);
        ack();
        uint64_t before = seen.bytes;
        small(id, 64);
        while (frames_find(&seen, 0, FT_REQUEST, id) == seen.count)
            assert_true(take(1000) > 0);
        assert_true(seen.bytes - before <= STAGED_MAX + 2000);
        frames_forget(&seen);
    }
}

/* Large messages that are open get the same number of bytes, whatever their sizes are. */
static void large_ones_share_by_bytes(void **state)
{
    (void)state;
    const size_t sizes[] = {3 * MIB, 5 * MIB, 20 * MIB, 4 * MIB + 12345};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        large(i + 1, sizes[i]);
    while (!seen.messages_count) {
        assert_true(take(FRAME) > 0);
        ack();
        size_t least = SIZE_MAX;
        size_t most = 0;
        for (size_t s = 0; s < COUNT_OF(sizes); s++) {
            size_t n = seen.slots[s].body.size;
            least = n < least ? n : least;
            most = n > most ? n : most;
        }
        if (!seen.messages_count)
            assert_true(most - least <= 2 * FRAME);
    }
    expect_message(0, 1, sizes[0]);
}

/* A message of many small pieces gets no less than one in a single block. */
static void crumbs_get_their_share_too(void **state)
{
    (void)state;
    enum { PIECES = 2000, PIECE = 600 };
    static gr_piece p[PIECES];
    test_bytes b = {0};
    uint8_t none[PIECE] = {0};
    for (size_t i = 0; i < PIECES; i++)
        bytes_append(&b, none, PIECE);
    body_fill(b.data, b.size, 1);
    for (size_t i = 0; i < PIECES; i++)
        p[i] = (gr_piece){b.data + i * PIECE, PIECE, NULL};
    gr_frame f = frame_of(FT_REQUEST, 0, 1, b.size);
    assert_rc(gr_lanes_large(&l, &f, p, PIECES, 0), GR_OK);
    large(2, b.size);
    bytes_free(&b);
    take_and_ack();
    size_t first = seen.messages[0].first.id == 1 ? 0 : 1;
    expect_message(first, 1, (size_t)PIECES * PIECE);
    size_t crumbs = 0;
    size_t blocks = 0;
    for (size_t i = 0; i < seen.count; i++)
        *(seen.frames[i].slot ? &blocks : &crumbs) += 1;
    assert_true(crumbs <= 2 * blocks);
}

/* The ordered lane keeps the order of small and large ones, whatever else is sent. */
static void ordered_lane_keeps_order(void **state)
{
    (void)state;
    size_t n = 0;
    large(1001, 2 * MIB);
    for (uint64_t id = 1; id <= 60; id++) {
        ordered(id, id % 7 == 0 ? 40000 : 100 * (size_t)id % 16385);
        if (id % 10 == 0)
            large(1000 + id, 100000);
        if (id % 3 == 0)
            small(2000 + id, 500);
    }
    take_and_ack();
    for (size_t i = 0; i < seen.messages_count; i++)
        if (seen.messages[i].first.flags & FF_ORDERED)
            assert_int_equal(seen.messages[i].first.id, ++n);
    assert_int_equal(n, 60);
    assert_int_equal(seen.messages_count, 60 + 7 + 20);
    assert_true(gr_lanes_empty(&l));
    assert_int_equal(gr_lanes_pending(&l), 0);
}

/* While the first part of an ordered message is under way, no other ordered one overtakes it. */
static void ordered_lane_has_one_open_message(void **state)
{
    (void)state;
    ordered(1, 300000);
    ordered(2, 10);
    ordered(3, 300000);
    take_and_ack();
    assert_int_equal(seen.messages_count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(seen.messages[i].first.id, i + 1);
    size_t end_of_first = 0;
    while (!(seen.frames[end_of_first].flags & FF_END))
        end_of_first++;
    assert_true(frames_find(&seen, 0, FT_REQUEST, 2) == end_of_first + 1);
}

/* ---- shares ---- */

/* A stream of small messages that never ends leaves a fifth to the large ones. */
static void large_gets_a_share_of_endless_small(void **state)
{
    (void)state;
    l.bounded = 0;
    large(1, 400 * MIB);
    uint64_t id = 2;
    for (size_t i = 0; i < 4000; i++) {
        while (gr_lanes_queued(&l, GR_LANE_SMALL) < 2 * MIB)
            small(id++, 900);
        take(10000);
        ack();
        frames_forget(&seen);
    }
    assert_true(seen.fragments >= seen.bytes / 6);
    assert_true(seen.fragments <= seen.bytes / 3);
}

/* The same for the ordered lane. */
static void ordered_gets_a_share_of_endless_small(void **state)
{
    (void)state;
    l.bounded = 0;
    uint64_t id = 2;
    uint64_t of_ordered = 0;
    for (size_t i = 0; i < 2000; i++) {
        while (gr_lanes_queued(&l, GR_LANE_SMALL) < 2 * MIB)
            small(id++, 900);
        while (gr_lanes_queued(&l, GR_LANE_ORDERED) < MIB)
            ordered(id++, 900);
        take(10000);
        l.ordered_used = l.ordered_in;
        for (size_t m = 0; m < seen.count; m++)
            of_ordered += seen.frames[m].flags & FF_ORDERED ? seen.frames[m].wire : 0;
        frames_forget(&seen);
    }
    assert_true(of_ordered >= seen.bytes / 6);
    assert_true(of_ordered <= seen.bytes / 3);
}

/* Ordered and large ones take turns: neither gets less than a third of what the other gets. */
static void ordered_and_large_take_turns(void **state)
{
    (void)state;
    uint64_t id = 1;
    uint64_t of_ordered = 0;
    for (; id <= 3; id++)
        large(id, 60 * MIB);
    for (size_t i = 0; i < 2000; i++) {
        while (gr_lanes_queued(&l, GR_LANE_ORDERED) < MIB)
            ordered(id, 1 + id * 37 % 16000), id++;
        take(FRAME);
        ack();
        l.ordered_used = l.ordered_in;
        for (size_t m = 0; m < seen.count; m++)
            of_ordered += seen.frames[m].flags & FF_ORDERED ? seen.frames[m].wire : 0;
        frames_forget(&seen);
    }
    assert_true(of_ordered >= seen.bytes / 3);
    assert_true(of_ordered <= seen.bytes * 2 / 3);
}

/* ---- windows ---- */

/* Small messages leave as long as they fit into the window to the byte, and no byte more. */
static void small_window_is_strict(void **state)
{
    (void)state;
    size_t whole = SMALL_WINDOW / 1024;
    for (uint64_t id = 1; id <= whole + 1; id++)
        small(id, 1024 - HEAD - CHARGE);
    take_all();
    assert_int_equal(seen.bytes, SMALL_WINDOW - whole * CHARGE);
    assert_int_equal(seen.messages_count, whole);
    assert_false(gr_lanes_empty(&l));
    assert_rc(gr_lanes_window(&l, GR_LANE_SMALL, 1023), GR_OK);
    take_all();
    assert_int_equal(seen.messages_count, whole);
    assert_rc(gr_lanes_window(&l, GR_LANE_SMALL, 1024), GR_OK);
    take_all();
    assert_int_equal(seen.messages_count, whole + 1);
    assert_true(gr_lanes_empty(&l));
}

/* Whoever waits for the small window waits alone: all other lanes go on. */
static void full_small_window_stops_only_its_lane(void **state)
{
    (void)state;
    const size_t all = SMALL_WINDOW / 1000;
    for (uint64_t id = 1; id <= all; id++)
        small(id, 1000);
    take_all();
    size_t before = seen.messages_count;
    frames_forget(&seen);
    assert_true(before < all);
    large(70001, 100000);
    ordered(70002, 100);
    control(FT_PING);
    take_and_ack();
    assert_int_equal(seen.messages_count, 2);
    expect_frame(0, FT_PING, 0);
    assert_rc(gr_lanes_window(&l, GR_LANE_SMALL, l.small_sent), GR_OK);
    take_all();
    assert_int_equal(before + seen.messages_count - 2, all);
}

/* What compression made tiny counts as what it will be again, but never waits for more than a window. */
static void tiny_compressed_messages_leave_in_the_end(void **state)
{
    (void)state;
    const uint8_t content[30] = {0};
    const gr_piece piece = {content, sizeof content, NULL};
    const size_t all = 2000;
    for (uint64_t id = 1; id <= all; id++) {
        gr_frame f = frame_of(FT_REQUEST, FF_DEFLATED | FF_CONTEXT, id, sizeof content);
        f.whole = FRAMES_SMALL_MAX;
        assert_rc(gr_lanes_small(&l, &f, &piece, 1), GR_OK);
    }
    const size_t charge = CHARGE + HEAD + 4 + FRAMES_SMALL_MAX;
    take_all();
    assert_int_equal(seen.messages_count, SMALL_WINDOW / charge);
    for (size_t before = 0; before != seen.messages_count; take_all()) {
        before = seen.messages_count;
        assert_rc(gr_lanes_window(&l, GR_LANE_SMALL, before * charge), GR_OK);
    }
    assert_int_equal(seen.messages_count, all);
}

/* Behind one that does not fit nobody slips through, however small: the lane is in order. */
static void small_lane_is_in_order(void **state)
{
    (void)state;
    uint64_t id = 1;
    for (; l.small_sent + 12000 <= SMALL_WINDOW; id++)
        small(id, 12000 - HEAD - CHARGE);
    small(id++, 16000);
    for (size_t i = 0; i < 50; i++)
        small(id++, i);
    take_all();
    assert_rc(gr_lanes_window(&l, GR_LANE_SMALL, l.small_sent), GR_OK);
    take_all();
    assert_int_equal(seen.messages_count, id - 1);
    for (size_t i = 0; i < seen.messages_count; i++)
        assert_int_equal(seen.messages[i].first.id, i + 1);
}

/* A side that sends replies has no window: they were asked for. */
static void replies_have_no_window(void **state)
{
    (void)state;
    gr_lanes_open(&l, 0, 512 * MIB);
    for (uint64_t id = 1; id <= 2000; id++)
        small(id, 10000);
    take_all();
    assert_int_equal(seen.messages_count, 2000);
    assert_rc(gr_lanes_window(&l, GR_LANE_SMALL, 0), GR_EPROTO);
    assert_rc(gr_lanes_window(&l, GR_LANE_ORDERED, 0), GR_EPROTO);
}

/* The ordered window lets one message begin as long as it is not full, so the largest can pass. */
static void ordered_window_lets_one_begin(void **state)
{
    (void)state;
    ordered(1, ORDERED_WINDOW - CHARGE - 1);
    ordered(2, 3 * ORDERED_WINDOW - CHARGE);
    ordered(3, 1);
    take_and_ack();
    assert_int_equal(seen.messages_count, 2);
    assert_rc(gr_lanes_window(&l, GR_LANE_ORDERED, 3 * ORDERED_WINDOW - 1), GR_OK);
    take_and_ack();
    assert_int_equal(seen.messages_count, 2);
    assert_rc(gr_lanes_window(&l, GR_LANE_ORDERED, 3 * ORDERED_WINDOW), GR_OK);
    take_and_ack();
    assert_int_equal(seen.messages_count, 3);
}

/* A peer that says it has used what it never got, or less than before, is refused. */
static void false_windows_are_refused(void **state)
{
    (void)state;
    small(1, 1000);
    ordered(2, 1000);
    large(3, 100000);
    take_all();
    assert_rc(gr_lanes_window(&l, GR_LANE_SMALL, 1000 + HEAD + CHARGE + 1), GR_EPROTO);
    assert_rc(gr_lanes_window(&l, GR_LANE_ORDERED, 1001 + CHARGE), GR_EPROTO);
    assert_rc(gr_lanes_window(&l, GR_LANE_LARGE, seen.fragments + 1), GR_EPROTO);
    assert_rc(gr_lanes_window(&l, GR_LANE_SMALL, 1000), GR_OK);
    assert_rc(gr_lanes_window(&l, GR_LANE_SMALL, 999), GR_EPROTO);
    assert_rc(gr_lanes_window(&l, GR_LANE_ORDERED, 1000 + CHARGE), GR_OK);
    assert_rc(gr_lanes_window(&l, GR_LANE_ORDERED, 999 + CHARGE), GR_EPROTO);
    assert_rc(gr_lanes_window(&l, GR_LANE_LARGE, seen.fragments), GR_OK);
    assert_rc(gr_lanes_window(&l, GR_LANE_LARGE, seen.fragments - 1), GR_EPROTO);
    assert_rc(gr_lanes_window(&l, GR_LANE_SMALL, UINT64_MAX), GR_EPROTO);
}

/* A cancel of something that has left goes although the window is full, and counts in it. */
static void cancel_of_what_left_needs_no_window(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= SMALL_WINDOW / 1024 + 1; id++)
        small(id, 1024 - HEAD - CHARGE);
    take_all();
    gr_frame f = frame_of(FT_CANCEL, 0, 1, 0);
    assert_rc(gr_lanes_small_now(&l, &f), GR_OK);
    frames_forget(&seen);
    take_all();
    assert_int_equal(seen.count, 1);
    expect_frame(0, FT_CANCEL, 1);
    assert_rc(gr_lanes_window(&l, GR_LANE_SMALL, 1024), GR_OK);
    take_all();
    assert_int_equal(seen.messages_count, 0);
    assert_rc(gr_lanes_window(&l, GR_LANE_SMALL, SMALL_WINDOW + HEAD + CHARGE), GR_OK);
    take_all();
    assert_int_equal(seen.messages_count, 1);
}

/* The pace of the large lane: what is not acknowledged stops it, and nothing but it. */
static void unacknowledged_bytes_stop_the_large_lane(void **state)
{
    (void)state;
    large(1, 100 * MIB);
    take_all();
    uint64_t first = seen.fragments;
    assert_true(first < 2 * MIB);
    small(2, 100);
    ordered(3, 100);
    take_all();
    assert_int_equal(seen.fragments, first);
    assert_int_equal(seen.messages_count, 2);
    ack();
    take_all();
    assert_true(seen.fragments > first);
}

/* ---- slots ---- */

/* At most 64 large messages are open; the next one begins when a slot is given back, and not before. */
static void slots_are_bound_by_number(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= FRAMES_SLOTS + 2; id++)
        large(id, 20000);
    take_and_ack();
    assert_int_equal(seen.messages_count, FRAMES_SLOTS);
    assert_int_equal(l.waiting.count, 2);
    assert_rc(gr_lanes_done(&l, 17), GR_OK);
    take_and_ack();
    assert_int_equal(seen.messages_count, FRAMES_SLOTS + 1);
    assert_int_equal(seen.messages[FRAMES_SLOTS].first.slot, 17);
    assert_rc(gr_lanes_done(&l, 17), GR_OK);
    take_and_ack();
    assert_int_equal(seen.messages_count, FRAMES_SLOTS + 2);
}

/* What the peer must hold at once is bound by bytes, too; one of any size is always taken. */
static void slots_are_bound_by_bytes(void **state)
{
    (void)state;
    l.peer_max = 100000;
    large(1, 60000);
    large(2, 40000);
    large(3, 17000);
    large(4, 100000);
    take_and_ack();
    assert_int_equal(seen.messages_count, 2);
    assert_rc(gr_lanes_done(&l, 1), GR_OK);
    take_and_ack();
    assert_int_equal(seen.messages_count, 3);
    assert_rc(gr_lanes_done(&l, 0), GR_OK);
    take_and_ack();
    assert_int_equal(seen.messages_count, 3);
    assert_rc(gr_lanes_done(&l, 1), GR_OK);
    take_and_ack();
    assert_int_equal(seen.messages_count, 4);
}

/* A slot that is free, not there yet, or still being sent to cannot be given back. */
static void false_dones_are_refused(void **state)
{
    (void)state;
    assert_rc(gr_lanes_done(&l, 0), GR_EPROTO);
    large(1, 10 * MIB);
    take_all();
    assert_rc(gr_lanes_done(&l, 0), GR_EPROTO);
    assert_rc(gr_lanes_done(&l, 1), GR_EPROTO);
    take_and_ack();
    assert_int_equal(seen.messages_count, 1);
    assert_rc(gr_lanes_done(&l, 0), GR_OK);
    assert_rc(gr_lanes_done(&l, 0), GR_EPROTO);
    ordered(2, 10 * MIB);
    take_all();
    assert_rc(gr_lanes_done(&l, 0), GR_EPROTO);
}

/* An ordered message gets a slot in the end, even if large ones never cease to want one. */
static void ordered_gets_a_slot_in_the_end(void **state)
{
    (void)state;
    const size_t sizes[] = {100000, 200000, 300000, 400000};
    for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        close_lanes();
        open_lanes(FRAME, 0, 500000);
        uint64_t id = 1;
        large(id++, sizes[k]);
        take(1);
        ordered(9999, 450000);
        size_t rounds = 0;
        int begun = 0;
        for (; !begun && rounds < 300; rounds++) {
            while (l.waiting.count + l.open.count < 4)
                large(id++, sizes[k]);
            take(FRAME / 2);
            ack();
            begun = frames_find(&seen, 0, FT_REQUEST, 9999) < seen.count;
            for (; seen.messages_count; frames_forget(&seen))
                for (size_t i = 0; i < seen.messages_count; i++)
                    assert_rc(gr_lanes_done(&l, seen.messages[i].first.slot), GR_OK);
        }
        assert_true(begun);
    }
}

/* And the other way round: ordered ones that never cease do not keep large ones out. */
static void large_gets_a_slot_in_the_end(void **state)
{
    (void)state;
    const size_t sizes[] = {20000, 100000, 450000};
    for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        close_lanes();
        open_lanes(FRAME, 0, 500000);
        uint64_t id = 1;
        ordered(id++, 450000);
        take(1);
        large(9999, sizes[k]);
        size_t rounds = 0;
        int begun = 0;
        for (; !begun && rounds < 300; rounds++) {
            while (l.ordered.count < 4)
                ordered(id++, 450000);
            take(FRAME / 2);
            ack();
            l.ordered_used = l.ordered_in;
            begun = frames_find(&seen, 0, FT_REQUEST, 9999) < seen.count;
            for (; seen.messages_count; frames_forget(&seen))
                for (size_t i = 0; i < seen.messages_count; i++)
                    assert_rc(gr_lanes_done(&l, seen.messages[i].first.slot), GR_OK);
        }
        assert_true(begun);
    }
}

/* ---- giving up ---- */

/* What has not begun to leave is forgotten, and the peer never hears of it. */
static void waiting_message_is_taken_back(void **state)
{
    (void)state;
    large(1, 100000);
    ordered(2, 100);
    ordered(3, 100000);
    assert_true(gr_lanes_is_waiting(&l, 1));
    assert_true(gr_lanes_is_waiting(&l, 3));
    assert_rc(gr_lanes_cancel(&l, 1), GR_OK);
    assert_rc(gr_lanes_cancel(&l, 2), GR_OK);
    assert_rc(gr_lanes_cancel(&l, 3), GR_OK);
    assert_rc(gr_lanes_cancel(&l, 3), GR_ENOENT);
    assert_int_equal(gr_lanes_pending(&l), 0);
    take_all();
    assert_int_equal(seen.bytes, 0);
    assert_int_equal(l.aborted, 0);
    assert_int_equal(mem.refs, 0);
}

/* One that has begun is aborted behind its last fragment, and its slot can be used again at once. */
static void open_message_is_aborted(void **state)
{
    (void)state;
    large(1, MIB);
    large(2, MIB);
    take(3 * FRAME);
    assert_false(gr_lanes_is_waiting(&l, 1));
    assert_rc(gr_lanes_cancel(&l, 1), GR_EBUSY);
    assert_rc(gr_lanes_cancel(&l, 1), GR_ENOENT);
    assert_int_equal(l.aborted, 1);
    large(3, 50000);
    take_and_ack();
    assert_int_equal(seen.messages_count, 2);
    expect_message(0, 3, 50000);
    assert_int_equal(seen.messages[0].first.slot, 0);
    expect_message(1, 2, MIB);
    size_t abort_at = 0;
    while (seen.frames[abort_at].type != FT_ABORT)
        abort_at++;
    for (size_t i = 0; i < abort_at; i++)
        assert_true(seen.frames[i].id != 3);
    assert_int_equal(seen.open, 0);
}

/* One whose last byte is in the output queue is not to be had any more; its slot stays taken. */
static void complete_message_stays(void **state)
{
    (void)state;
    large(1, 50000);
    assert_rc(gr_lanes_stage(&l), GR_OK);
    assert_rc(gr_lanes_cancel(&l, 1), GR_ENOENT);
    assert_false(gr_lanes_is_waiting(&l, 1));
    large(2, 50000);
    take_and_ack();
    assert_int_equal(seen.messages_count, 2);
    assert_int_equal(seen.messages[1].first.slot, 1);
}

/* An ordered message that was aborted never arrives: its bytes must come back to the window. */
static void aborted_ordered_message_gives_its_window_back(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 10; id++) {
        ordered(id, 3 * MIB);
        take(FRAME);
        assert_rc(gr_lanes_cancel(&l, id), GR_EBUSY);
        take_and_ack();
    }
    ordered(11, 100);
    take_and_ack();
    assert_int_equal(seen.messages_count, 1);
    assert_rc(gr_lanes_window(&l, GR_LANE_ORDERED, 100 + CHARGE), GR_OK);
    assert_rc(gr_lanes_window(&l, GR_LANE_ORDERED, 101 + CHARGE), GR_EPROTO);
}

/* The one that waits behind an aborted one takes its place. */
static void ordered_lane_goes_on_behind_an_abort(void **state)
{
    (void)state;
    ordered(1, MIB);
    ordered(2, 40000);
    ordered(3, 10);
    take(FRAME);
    assert_rc(gr_lanes_cancel(&l, 1), GR_EBUSY);
    take_and_ack();
    assert_int_equal(seen.messages_count, 2);
    expect_message(0, 2, 40000);
    expect_message(1, 3, 10);
}

/* ---- frames that are half written ---- */

/* Fills a queue with every kind of frame. */
static void fill_mixed(void)
{
    small(1, 100);
    small(2, 5000);
    large(3, 70000);
    small(4, 16000);
    ordered(5, 3000);
    small(6, 0);
    ordered(7, 20000);
    small(8, 4096);
}

/* Wherever the writer stops in the stream, a control frame finds the end of the frame it is in. */
static void control_waits_for_the_frame_that_is_being_written(void **state)
{
    (void)state;
    fill_mixed();
    take_all();
    size_t whole = (size_t)seen.bytes;
    for (size_t cut = 0; cut <= whole; cut += cut < 200 || whole - cut < 200 ? 1 : 397) {
        close_lanes();
        open_lanes(FRAME, 0, 512 * MIB);
        fill_mixed();
        take(cut);
        uint64_t before = seen.bytes;
        control(FT_PING);
        control(FT_PONG);
        while (frames_find(&seen, 0, FT_PONG, 0) == seen.count)
            assert_true(take(1 + cut % 97) > 0);
        /* A chunk of copied frames that has begun to leave, or one frame. */
        assert_true(seen.bytes - before <= FRAME + 2 * HEAD + 64 + 97);
        assert_true(frames_find(&seen, 0, FT_PING, 0) + 1 == frames_find(&seen, 0, FT_PONG, 0));
        take_all();
        assert_int_equal(seen.messages_count, 8);
        assert_int_equal(seen.in.size, 0);
    }
}

/* ---- compression ---- */

/* More large messages than there may be streams: the others go as they are. */
static void too_many_streams_go_plain(void **state)
{
    (void)state;
    close_lanes();
    open_lanes(FRAME, 1, 512 * MIB);
    for (uint64_t id = 1; id <= 12; id++)
        assert_rc(put_large(id, 200000, 1), GR_OK);
    assert_rc(put_ordered(13, 200000, 1), GR_OK);
    take_and_ack();
    assert_int_equal(seen.messages_count, 13);
    size_t deflated = 0;
    for (size_t i = 0; i < 13; i++) {
        deflated += (seen.messages[i].first.flags & FF_DEFLATED) != 0;
        expect_message(i, seen.messages[i].first.id, 200000);
    }
    assert_int_equal(deflated, 8);
    assert_int_equal(l.streams.open, 0);
}

/* One step of compression a turn; whoever is not compressed goes on meanwhile. */
static void compression_takes_one_step_a_turn(void **state)
{
    (void)state;
    close_lanes();
    open_lanes(FRAME, 6, 512 * MIB);
    assert_rc(put_large(1, MIB, 1), GR_OK);
    assert_rc(put_ordered(2, MIB, 1), GR_OK);
    uint64_t before = 0;
    for (size_t turns = 0; turns < 4; turns++) {
        before = l.deflate_in;
        gr_lanes_turn(&l, l.now_us + 100);
        take(SIZE_MAX);
        assert_true(l.deflate_in > before && l.deflate_in <= before + 16384);
    }
    before = l.deflate_in;
    assert_true(gr_lanes_more(&l));
    assert_false(gr_lanes_ready(&l));
    take(SIZE_MAX);
    assert_int_equal(l.deflate_in, before);
    large(3, 100000);
    take(SIZE_MAX);
    assert_int_equal(seen.messages_count, 1);
    take_and_ack();
    assert_int_equal(seen.messages_count, 3);
    assert_int_equal(l.deflate_in, 2 * MIB);
    assert_true(l.deflate_out < MIB);
}

/* The window counts a message once, however many steps its compression takes. */
static void compressed_ordered_message_counts_once(void **state)
{
    (void)state;
    const size_t sizes[] = {20000, 100000, 3 * MIB};
    for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        close_lanes();
        open_lanes(FRAME, 6, 512 * MIB);
        assert_rc(put_ordered(1, sizes[k], 1), GR_OK);
        take_and_ack();
        assert_int_equal(seen.messages_count, 1);
        expect_message(0, 1, sizes[k]);
        assert_rc(gr_lanes_window(&l, GR_LANE_ORDERED, sizes[k] + CHARGE + 1), GR_EPROTO);
        assert_rc(gr_lanes_window(&l, GR_LANE_ORDERED, sizes[k] + CHARGE), GR_OK);
    }
}

/* Given up before the first byte has come out of compression, it has never been there. */
static void compressed_ordered_message_is_given_up(void **state)
{
    (void)state;
    close_lanes();
    open_lanes(FRAME, 6, 512 * MIB);
    for (uint64_t id = 1; id <= 40; id++) {
        assert_rc(put_ordered(id, 100000, 1), GR_OK);
        for (uint64_t turns = 0; turns < id; turns++) {
            take(SIZE_MAX);
            gr_lanes_turn(&l, l.now_us + 100);
        }
        int rc = gr_lanes_cancel(&l, id);
        if (rc == GR_ENOENT)
            break;
        take_and_ack();
    }
    assert_true(seen.messages_count == 1);
    assert_rc(gr_lanes_done(&l, seen.messages[0].first.slot), GR_OK);
    assert_rc(gr_lanes_window(&l, GR_LANE_ORDERED, 100000 + CHARGE), GR_OK);
    assert_int_equal(l.ordered_in, l.ordered_used);
    assert_int_equal(l.slots_used, 0);
    assert_int_equal(l.streams.open, 0);
}

/* A compressed message that is given up gives its stream back. */
static void aborted_stream_is_closed(void **state)
{
    (void)state;
    close_lanes();
    open_lanes(FRAME, 1, 512 * MIB);
    for (uint64_t id = 1; id <= 20; id++) {
        assert_rc(put_large(id, MIB, 1), GR_OK);
        for (uint64_t turns = 0; turns < id; turns++) {
            take(SIZE_MAX);
            gr_lanes_turn(&l, l.now_us + 100);
        }
        int rc = gr_lanes_cancel(&l, id);
        assert_true(rc == GR_OK || rc == GR_EBUSY);
        assert_int_equal(l.streams.open, 0);
        take_all();
    }
    assert_int_equal(seen.messages_count, 0);
    assert_int_equal(seen.open, 0);
    assert_int_equal(l.slots_used, 0);
    gr_lanes_trim(&l);
    assert_int_equal(mem.live, 0);
}

/* ---- small messages that are no fragments ---- */

/* A small ordered message is one frame, however small the fragments are to be. */
static void small_ordered_message_is_one_frame(void **state)
{
    (void)state;
    const size_t frames[] = {4096, RECORD, FRAME};
    for (size_t k = 0; k < COUNT_OF(frames); k++) {
        close_lanes();
        open_lanes(frames[k], 0, 512 * MIB);
        uint64_t id = 0;
        for (size_t size = FRAMES_SMALL_MAX - 40; size <= FRAMES_SMALL_MAX; size++)
            ordered(++id, size);
        take_and_ack();
        assert_int_equal(seen.count, id);
        for (size_t i = 0; i < id; i++)
            expect_message(i, i + 1, FRAMES_SMALL_MAX - 40 + i);
    }
}

/* Also when it is made of very many pieces. */
static void small_ordered_message_of_many_pieces_is_one_frame(void **state)
{
    (void)state;
    uint8_t body[1000];
    gr_piece p[COUNT_OF(body)];
    body_fill(body, sizeof body, 7);
    for (size_t i = 0; i < COUNT_OF(p); i++)
        p[i] = (gr_piece){body + i, 1, NULL};
    gr_frame f = frame_of(FT_REQUEST, FF_ORDERED, 7, sizeof body);
    assert_rc(gr_lanes_ordered(&l, &f, p, COUNT_OF(p), 0), GR_OK);
    take_all();
    assert_int_equal(seen.count, 1);
    expect_message(0, 7, sizeof body);
}

/* ---- everything at once ---- */

#define IDS 4000u

/* What the receiver and the test remember of each message. */
typedef struct entry {
    enum { NONE, SMALL, LARGE, ORDERED } lane;
    size_t size;
    int cancelled;
    int arrived;
} entry;

typedef struct world {
    uint64_t prng;
    entry of[IDS];
    uint64_t made;
    uint64_t small_came, small_used;
    uint64_t ordered_came, ordered_used;
    uint64_t last_ordered;
    unsigned slots[FRAMES_SLOTS]; /* complete, not used yet */
    size_t slots_count;
} world;

static size_t random_size(world *w)
{
    switch (prng_below(&w->prng, 4)) {
    case 0:
        return FRAMES_SMALL_MAX + 1 + prng_size(&w->prng, 400000);
    case 1:
        return FRAMES_SMALL_MAX - (size_t)prng_below(&w->prng, 40);
    default:
        return prng_size(&w->prng, 16000);
    }
}

static void random_submit(world *w)
{
    if (w->made == IDS - 1)
        return;
    uint64_t id = ++w->made;
    size_t size = random_size(w);
    entry *e = &w->of[id];
    e->size = size;
    if (prng_below(&w->prng, 3) == 0) {
        e->lane = ORDERED;
        assert_rc(
            put_ordered(id, size,
                        l.streams.level && size > FRAMES_SMALL_MAX && prng_below(&w->prng, 2)),
            GR_OK);
    } else if (size > FRAMES_SMALL_MAX) {
        e->lane = LARGE;
        assert_rc(put_large(id, size, l.streams.level && prng_below(&w->prng, 2)), GR_OK);
    } else {
        e->lane = SMALL;
        small(id, size);
    }
}

static void random_cancel(world *w)
{
    uint64_t id = w->made ? 1 + prng_below(&w->prng, w->made) : 0;
    if (!id || w->of[id].lane == SMALL)
        return;
    int rc = gr_lanes_cancel(&l, id);
    assert_true(rc == GR_OK || rc == GR_EBUSY || rc == GR_ENOENT);
    if (rc == GR_ENOENT)
        return;
    assert_false(w->of[id].cancelled || w->of[id].arrived);
    w->of[id].cancelled = 1;
}

static void receive_message(world *w, const frames_message *m)
{
    uint64_t id = m->first.id;
    assert_true(id >= 1 && id <= w->made);
    entry *e = &w->of[id];
    assert_false(e->arrived || e->cancelled);
    assert_int_equal(m->body.size, e->size);
    assert_int_equal(body_seed(m->body.data, m->body.size), e->size < 8 ? e->size : id);
    assert_int_equal((m->first.flags & FF_ORDERED) != 0, e->lane == ORDERED);
    e->arrived = 1;
    if (m->first.flags & FF_LARGE)
        w->slots[w->slots_count++] = m->first.slot;
    else if (e->lane == SMALL)
        w->small_came += m->first.wire + CHARGE;
    assert_true(w->small_came - w->small_used <= SMALL_WINDOW);
    if (e->lane != ORDERED)
        return;
    assert_true(id > w->last_ordered);
    assert_true(w->ordered_came - w->ordered_used < ORDERED_WINDOW);
    w->last_ordered = id;
    w->ordered_came += e->size + CHARGE;
}

static void receive(world *w, size_t n)
{
    gr_lanes_turn(&l, l.now_us + prng_below(&w->prng, 3000));
    take(n);
    for (size_t i = 0; i < seen.messages_count; i++)
        receive_message(w, &seen.messages[i]);
    frames_forget(&seen);
    assert_true(seen.open + w->slots_count <= FRAMES_SLOTS);
}

static void use_some(world *w, int all)
{
    while (w->slots_count && (all || prng_below(&w->prng, 3))) {
        size_t i = (size_t)prng_below(&w->prng, w->slots_count);
        assert_rc(gr_lanes_done(&l, w->slots[i]), GR_OK);
        w->slots[i] = w->slots[--w->slots_count];
    }
    w->small_used = all ? w->small_came
                        : w->small_used + prng_below(&w->prng, w->small_came - w->small_used + 1);
    w->ordered_used =
        all ? w->ordered_came
            : w->ordered_used + prng_below(&w->prng, w->ordered_came - w->ordered_used + 1);
    assert_rc(gr_lanes_window(&l, GR_LANE_SMALL, w->small_used), GR_OK);
    assert_rc(gr_lanes_window(&l, GR_LANE_ORDERED, w->ordered_used), GR_OK);
    assert_rc(gr_lanes_window(&l, GR_LANE_LARGE, seen.fragments), GR_OK);
}

static void random_step(world *w)
{
    switch (prng_below(&w->prng, 8)) {
    case 0:
    case 1:
    case 2:
        for (uint64_t n = prng_below(&w->prng, 5); n; n--)
            random_submit(w);
        break;
    case 3:
        random_cancel(w);
        break;
    case 4:
        control(prng_below(&w->prng, 2) ? FT_PING : FT_PONG);
        break;
    case 5:
        use_some(w, 0);
        break;
    default:
        receive(w, prng_size(&w->prng, 400000));
    }
}

static void live(void)
{
    static world w;
    const size_t frames[] = {4096, RECORD, FRAME};
    memset(&w, 0, sizeof w);
    w.prng = seed;
    close_lanes();
    open_lanes(frames[prng_below(&w.prng, 3)], prng_below(&w.prng, 2) ? 1 : 0,
               prng_below(&w.prng, 2) ? 500000 : 100 * MIB);
    for (size_t i = 0; i < 1200; i++)
        random_step(&w);
    uint64_t before;
    do {
        before = seen.bytes;
        use_some(&w, 1);
        receive(&w, SIZE_MAX);
    } while (seen.bytes != before || gr_lanes_more(&l));
    assert_true(gr_lanes_empty(&l));
    for (uint64_t id = 1; id <= w.made; id++)
        assert_int_equal(w.of[id].arrived, !w.of[id].cancelled);
    use_some(&w, 1);
    assert_int_equal(gr_lanes_pending(&l), 0);
    assert_int_equal(l.slots_used, 0);
    assert_int_equal(l.slots_bytes, 0);
    assert_int_equal(mem.refs, 0);
}

/* Every message arrives once or was given up, whole, in order and within the windows. */
static void random_traffic_arrives_exactly_once(void **state)
{
    (void)state;
    const char *only = getenv("GR_SEED");
    for (seed = only ? strtoull(only, NULL, 10) : 1; seed <= 60 || only; seed++) {
        live();
        if (only)
            break;
    }
    seed = 0;
}

/* Submits one of each kind and writes it; returns the first code that is not GR_OK. */
static int try_all(void)
{
    int rc = put_small(1, 6000);
    if (rc == GR_OK)
        rc = put_large(2, 100000, 1);
    if (rc == GR_OK)
        rc = put_ordered(3, 100000, 1);
    if (rc == GR_OK)
        rc = put_ordered(4, 100, 0);
    gr_frame f = frame_of(FT_PING, 0, 0, 0);
    if (rc == GR_OK)
        rc = gr_lanes_first(&l, &f);
    for (size_t i = 0; i < 40 && rc == GR_OK; i++) {
        gr_lanes_turn(&l, l.now_us + 100);
        rc = gr_lanes_stage(&l);
        if (rc == GR_OK)
            gr_lanes_consume(&l, l.out.size);
        if (i == 3 && rc == GR_OK)
            rc = gr_lanes_cancel(&l, 2) == GR_ENOMEM ? GR_ENOMEM : GR_OK;
    }
    return rc;
}

/* Whichever allocation fails, the lanes say so and can be cleared. */
static void every_failed_allocation_is_told(void **state)
{
    (void)state;
    size_t i = 0;
    for (int rc = GR_ENOMEM; rc != GR_OK;) {
        close_lanes();
        open_lanes(FRAME, 1, 512 * MIB);
        mem.fail_at = ++i;
        rc = try_all();
        assert_rc(rc, mem.failed ? GR_ENOMEM : GR_OK);
    }
    assert_true(i > 12);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(control_leaves_first),
        test_of(small_leaves_before_large),
        test_of(small_waits_for_staged_bytes_only),
        test_of(large_ones_share_by_bytes),
        test_of(crumbs_get_their_share_too),
        test_of(ordered_lane_keeps_order),
        test_of(ordered_lane_has_one_open_message),
        test_of(large_gets_a_share_of_endless_small),
        test_of(ordered_gets_a_share_of_endless_small),
        test_of(ordered_and_large_take_turns),
        test_of(small_window_is_strict),
        test_of(full_small_window_stops_only_its_lane),
        test_of(tiny_compressed_messages_leave_in_the_end),
        test_of(small_lane_is_in_order),
        test_of(replies_have_no_window),
        test_of(ordered_window_lets_one_begin),
        test_of(false_windows_are_refused),
        test_of(cancel_of_what_left_needs_no_window),
        test_of(unacknowledged_bytes_stop_the_large_lane),
        test_of(slots_are_bound_by_number),
        test_of(slots_are_bound_by_bytes),
        test_of(false_dones_are_refused),
        test_of(ordered_gets_a_slot_in_the_end),
        test_of(large_gets_a_slot_in_the_end),
        test_of(waiting_message_is_taken_back),
        test_of(open_message_is_aborted),
        test_of(complete_message_stays),
        test_of(aborted_ordered_message_gives_its_window_back),
        test_of(ordered_lane_goes_on_behind_an_abort),
        test_of(control_waits_for_the_frame_that_is_being_written),
        test_of(too_many_streams_go_plain),
        test_of(compression_takes_one_step_a_turn),
        test_of(compressed_ordered_message_counts_once),
        test_of(compressed_ordered_message_is_given_up),
        test_of(aborted_stream_is_closed),
        test_of(small_ordered_message_is_one_frame),
        test_of(small_ordered_message_of_many_pieces_is_one_frame),
        test_of(random_traffic_arrives_exactly_once),
        test_of(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
