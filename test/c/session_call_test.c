/* SPDX-License-Identifier: Apache-2.0 */
/* Calls, casts and replies of two sessions that are up. */
#include <string.h>

#include "cmocka_support.h"
#include "forge_support.h"
#include "gr_frame.h"
#include "pair_support.h"

static test_pair pair;

static int setup(void **state)
{
    (void)state;
    pair_open_up(&pair, NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pair_close(&pair);
    return 0;
}

/* Sizes at which something is done in another way: copied or referenced, buffered or not. */
static const size_t sizes[] = {0,     1,     100,   4095,  4096,   16383,  16384,
                               16385, 65519, 65520, 65536, 300000, 1048576};

/* A call arrives with its body, and its reply with what the caller gave to know it by. */
static void call_is_replied_to(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        uint64_t id = i + 1;
        assert_rc(end_call(&pair.client, id, sizes[i]), GR_OK);
        pair_pump(&pair);
        end_expect_request(&pair.server, id, sizes[i]);
        size_t answer = sizes[COUNT_OF(sizes) - 1 - i];
        assert_rc(end_reply(&pair.server, id, answer), GR_OK);
        pair_pump(&pair);
        end_expect_reply(&pair.client, id, answer);
    }
    end_expect_none(&pair.client);
    end_expect_none(&pair.server);
}

/* The same however the bytes are cut. */
static void calls_survive_any_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        uint64_t prng = seed;
        pair.prng = seed;
        pair.chunk = seed % 8 == 0 ? 1 : 1 + prng_size(&prng, 100000);
        size_t most = pair.chunk < 100 ? 3000 : 200000;
        size_t ask = prng_size(&prng, most);
        size_t answer = prng_size(&prng, most);
        assert_rc(end_call(&pair.client, seed, ask), GR_OK);
        pair_pump(&pair);
        end_expect_request(&pair.server, seed, ask);
        assert_rc(end_reply(&pair.server, seed, answer), GR_OK);
        pair_pump(&pair);
        end_expect_reply(&pair.client, seed, answer);
    }
}

/* A message in many pieces is one message. */
static void pieces_are_joined(void **state)
{
    (void)state;
    gr_blob b = mem_blob(&pair.mem, 100000, 5);
    gr_piece p[] = {{b.data, 3, NULL},
                    {b.data + 3, 0, b.owner},
                    {b.data + 3, 5000, b.owner},
                    {b.data + 5003, 100, b.owner},
                    {b.data + 5103, 94897, b.owner}};
    gr_submit who = submit_of(5);
    assert_rc(gr_session_call(pair.client.s, &who, p, COUNT_OF(p)), GR_OK);
    pair_pump(&pair);
    end_expect_request(&pair.server, 5, 100000);
    mem_unref(&pair.mem, &b);
}

static void reopen_with_frames(size_t frame_max)
{
    gr_session_config c = end_config(GR_CLIENT);
    gr_session_config s = end_config(GR_SERVER);
    c.frame_max = s.frame_max = frame_max;
    pair_close(&pair);
    pair_open_up(&pair, &c, &s);
}

/* Also when there are more pieces than one fragment takes, on every lane and with fragments of any size. */
static void many_pieces_are_joined(void **state)
{
    (void)state;
    static const size_t totals[] = {500, 16384, 16385, 100000};
    static const size_t frames[] = {GR_SESSION_FRAME_MIN, 16384, GR_SESSION_FRAME_MAX};
    static const gr_order orders[] = {GR_UNORDERED, GR_ORDERED, GR_BROADCAST};
    gr_piece p[100];
    for (size_t f = 0; f < COUNT_OF(frames); f++) {
        reopen_with_frames(frames[f]);
        for (size_t i = 0; i < COUNT_OF(totals); i++)
            for (size_t o = 0; o < COUNT_OF(orders); o++) {
                gr_blob b = mem_blob(&pair.mem, totals[i], 5);
                size_t each = totals[i] / COUNT_OF(p);
                for (size_t k = 0; k < COUNT_OF(p); k++)
                    p[k] = (gr_piece){b.data + k * each, each, k % 3 ? b.owner : NULL};
                p[COUNT_OF(p) - 1].size += totals[i] % COUNT_OF(p);
                assert_rc(gr_session_cast(pair.client.s, orders[o], p, COUNT_OF(p)), GR_OK);
                pair_pump(&pair);
                end_expect_cast(&pair.server, orders[o], 5, totals[i]);
                end_expect_none(&pair.server);
                gr_session_taken(pair.server.s, orders[o] != GR_UNORDERED,
                                 orders[o] ? totals[i] : 0);
                mem_unref(&pair.mem, &b);
            }
    }
}

/* Of every size around those at which a message takes another way, ordered or not, all of it arrives. */
static void every_size_arrives_whole(void **state)
{
    (void)state;
    static const size_t frames[] = {GR_SESSION_FRAME_MIN, 5000, 16384, GR_SESSION_FRAME_MAX};
    static const size_t around[] = {4096, 5000, 8192, 16384, 32768, 65536, 131072};
    for (size_t f = 0; f < COUNT_OF(frames); f++) {
        reopen_with_frames(frames[f]);
        for (size_t i = 0; i < COUNT_OF(around); i++)
            for (size_t size = around[i] - 40; size <= around[i] + 40; size += 1 + size % 7)
                for (gr_order o = GR_UNORDERED; o <= GR_BROADCAST; o++) {
                    assert_rc(end_cast_as(&pair.client, o, size, size), GR_OK);
                    pair_pump(&pair);
                    end_expect_cast(&pair.server, o, size, size);
                    end_expect_none(&pair.server);
                    gr_session_taken(pair.server.s, o != GR_UNORDERED, o ? size : 0);
                }
    }
}

/* A large body comes in a blob that is the receiver's, and is let go by the sender when sent. */
static void large_bodies_come_in_blobs(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        assert_rc(end_cast(&pair.client, 1, sizes[i]), GR_OK);
        pair_pump(&pair);
        end_event ev = end_expect(&pair.server, GR_EV_CAST);
        assert_int_equal(ev.in_blob, sizes[i] > 16384);
        event_free(&ev);
        assert_int_equal(pair.mem.refs, 0);
    }
}

/* Small casts arrive in their order, and nobody waits for them; large ones do not hold them up. */
static void small_casts_arrive_in_order(void **state)
{
    (void)state;
    size_t next = 0;
    size_t large = 0;
    for (size_t i = 0; i < 100; i++)
        assert_rc(end_cast(&pair.client, i, sizes[i % 12]), GR_OK);
    assert_int_equal(end_stats(&pair.client).calls, 0);
    pair_pump(&pair);
    assert_int_equal(end_stats(&pair.server).served, 0);
    for (size_t i = 0; i < 100; i++) {
        end_event ev = end_expect(&pair.server, GR_EV_CAST);
        assert_int_equal(ev.order, GR_UNORDERED);
        if (ev.body.size > 16384) {
            large++;
        } else {
            while (sizes[next % 12] > 16384)
                next++;
            assert_int_equal(ev.body.size, sizes[next % 12]);
            assert_true(pattern_matches(ev.body.data, ev.body.size, next));
            next++;
        }
        event_free(&ev);
    }
    assert_int_equal(large, 100 / 12 * 5);
}

/* Ordered ones arrive in their order whatever their sizes, those for a runner and broadcasts alike. */
static void ordered_casts_arrive_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < 100; i++)
        assert_rc(end_cast_as(&pair.client, i % 3 ? GR_ORDERED : GR_BROADCAST, i, sizes[i % 12]),
                  GR_OK);
    for (size_t i = 0; i < 100; i++) {
        pair_pump(&pair);
        end_expect_cast(&pair.server, i % 3 ? GR_ORDERED : GR_BROADCAST, i, sizes[i % 12]);
        gr_session_taken(pair.server.s, 1, sizes[i % 12]);
    }
    end_expect_none(&pair.server);
}

/* An ordered call comes in the order of ordered casts, and is replied to as any other. */
static void ordered_call_is_replied_to(void **state)
{
    (void)state;
    static const size_t asks[] = {10, 100000};
    for (uint64_t id = 1; id <= COUNT_OF(asks); id++) {
        gr_submit who = submit_of(id);
        gr_blob b = mem_blob(&pair.mem, asks[id - 1], id);
        gr_piece p = {b.data, b.size, b.owner};
        who.order = GR_BROADCAST;
        assert_rc(end_cast_as(&pair.client, GR_BROADCAST, 7, 50000), GR_OK);
        assert_rc(gr_session_call(pair.client.s, &who, &p, 1), GR_OK);
        mem_unref(&pair.mem, &b);
        assert_rc(end_cast_as(&pair.client, GR_BROADCAST, 8, 3), GR_OK);
        pair_pump(&pair);
        end_expect_cast(&pair.server, GR_BROADCAST, 7, 50000);
        end_event ev = end_expect(&pair.server, GR_EV_REQUEST);
        assert_int_equal(ev.order, GR_BROADCAST);
        assert_int_equal(ev.id, id);
        assert_true(pattern_matches(ev.body.data, ev.body.size, id));
        event_free(&ev);
        end_expect_cast(&pair.server, GR_BROADCAST, 8, 3);
        gr_session_taken(pair.server.s, 3, 50000 + asks[id - 1] + 3);
        assert_rc(end_reply(&pair.server, id, 20), GR_OK);
        pair_pump(&pair);
        end_expect_reply(&pair.client, id, 20);
    }
}

/* Replies may come in any order; each finds its own caller. */
static void replies_out_of_order_find_their_callers(void **state)
{
    (void)state;
    uint64_t order[500];
    uint64_t prng = 3;
    for (uint64_t i = 0; i < COUNT_OF(order); i++) {
        uint64_t j = prng_below(&prng, i + 1);
        order[i] = order[j];
        order[j] = i + 1;
        assert_rc(end_call(&pair.client, i + 1, i), GR_OK);
    }
    pair_pump(&pair);
    for (uint64_t i = 0; i < COUNT_OF(order); i++)
        end_expect_request(&pair.server, i + 1, i);
    assert_int_equal(end_stats(&pair.server).served, COUNT_OF(order));
    for (size_t i = 0; i < COUNT_OF(order); i++)
        assert_rc(end_reply(&pair.server, order[i], order[i] * 3), GR_OK);
    pair_pump(&pair);
    for (size_t i = 0; i < COUNT_OF(order); i++)
        end_expect_reply(&pair.client, order[i], order[i] * 3);
    assert_int_equal(end_stats(&pair.server).served, 0);
    assert_int_equal(end_stats(&pair.client).calls, 0);
}

/* Replies to all requests that have come; to the first one with a large body. */
static void reply_to_all(void)
{
    while (pair.server.count) {
        end_event ev = end_expect(&pair.server, GR_EV_REQUEST);
        assert_true(pattern_matches(ev.body.data, ev.body.size, ev.id));
        assert_rc(end_reply(&pair.server, ev.id, ev.id == 1 ? 800000 : 20), GR_OK);
        event_free(&ev);
    }
}

/* Small calls and replies pass large ones that are on their way in either direction. */
static void calls_interleave_with_large_ones(void **state)
{
    (void)state;
    uint64_t calls = 1;
    uint64_t answers = 0;
    uint64_t before_large = 0;
    pair.chunk = 10000;
    assert_rc(end_call(&pair.client, 1, 900000), GR_OK);
    for (int round = 0; answers < calls; round++) {
        if (calls < 100)
            assert_rc(end_call(&pair.client, ++calls, 10), GR_OK);
        link_send(&pair, &pair.client, &pair.up);
        link_deliver(&pair, &pair.up, &pair.server);
        reply_to_all();
        link_send(&pair, &pair.server, &pair.down);
        link_deliver(&pair, &pair.down, &pair.client);
        while (pair.client.count) {
            end_event ev = end_expect(&pair.client, GR_EV_REPLY);
            assert_int_equal(ev.body.size, ev.id == 1 ? 800000 : 20);
            assert_true(pattern_matches(ev.body.data, ev.body.size, ev.id + 7));
            if (ev.id == 1)
                before_large = answers;
            answers++;
            event_free(&ev);
        }
        assert_true(round < 1000);
    }
    assert_true(before_large >= 90);
}

/* Large messages take turns, so that the shortest of them is through first. */
static void large_calls_take_turns(void **state)
{
    (void)state;
    static const size_t asks[] = {600000, 300000, 100000};
    for (uint64_t id = 1; id <= COUNT_OF(asks); id++)
        assert_rc(end_call(&pair.client, id, asks[id - 1]), GR_OK);
    pair_pump(&pair);
    for (uint64_t id = COUNT_OF(asks); id; id--)
        end_expect_request(&pair.server, id, asks[id - 1]);
}

/* Tag, caller and deadline come back with the answer. */
static void answer_carries_what_the_caller_gave(void **state)
{
    (void)state;
    const uint8_t tag[] = "a reference";
    gr_submit who = {
        .id = 77, .deadline = 5000, .caller = 0xabcdef, .tag = tag, .tag_size = sizeof tag};
    assert_rc(gr_session_call(pair.client.s, &who, NULL, 0), GR_OK);
    pair_pump(&pair);
    end_expect_only(&pair.server, GR_EV_REQUEST);
    assert_rc(end_reply(&pair.server, 77, 1), GR_OK);
    pair_pump(&pair);
    end_event ev = end_expect(&pair.client, GR_EV_REPLY);
    assert_int_equal(ev.caller, 0xabcdef);
    assert_int_equal(ev.deadline, 5000);
    assert_int_equal(ev.tag.size, sizeof tag);
    assert_memory_equal(ev.tag.data, tag, sizeof tag);
    event_free(&ev);
}

/* Two calls that wait cannot have one id; the first is not disturbed. */
static void id_of_an_open_call_is_refused(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 10), GR_OK);
    assert_rc(end_call(&pair.client, 1, 20), GR_EEXIST);
    pair_pump(&pair);
    end_expect_request(&pair.server, 1, 10);
    end_expect_none(&pair.server);
    assert_rc(end_reply(&pair.server, 1, 5), GR_OK);
    pair_pump(&pair);
    end_expect_reply(&pair.client, 1, 5);
    assert_rc(end_call(&pair.client, 1, 30), GR_OK);
}

/* A request is replied to once; what nobody asked is not sent. */
static void second_reply_is_refused(void **state)
{
    (void)state;
    assert_rc(end_reply(&pair.server, 1, 5), GR_ENOENT);
    assert_rc(end_call(&pair.client, 1, 10), GR_OK);
    pair_pump(&pair);
    assert_rc(end_reply(&pair.server, 1, 5), GR_OK);
    assert_rc(end_reply(&pair.server, 1, 5), GR_ENOENT);
    assert_int_equal(gr_session_output(pair.server.s), GR_FRAME_HEAD + 5);
}

/* A caller that gave up hears nothing more; a reply that was on its way is counted and thrown away. */
static void late_reply_is_counted_and_not_delivered(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 3; id++)
        assert_rc(end_call(&pair.client, id, 10), GR_OK);
    pair_pump(&pair);
    assert_rc(end_reply(&pair.server, 1, 100000), GR_OK);
    assert_rc(end_reply(&pair.server, 2, 2000000), GR_ETOOBIG);
    assert_rc(end_reply(&pair.server, 3, 7), GR_OK);
    end_drain(&pair.server, &pair.down.bytes, SIZE_MAX);
    assert_rc(gr_session_cancel(pair.client.s, 1), GR_OK);
    assert_rc(gr_session_cancel(pair.client.s, 2), GR_OK);
    assert_rc(gr_session_cancel(pair.client.s, 2), GR_ENOENT);
    pair_pump(&pair);
    end_expect_reply(&pair.client, 3, 7);
    end_expect_none(&pair.client);
    assert_int_equal(end_stats(&pair.client).late, 2);
    assert_int_equal(end_stats(&pair.client).cancels_out, 2);
    assert_int_equal(end_stats(&pair.server).cancels_in, 0);
    assert_int_equal(pair.mem.refs, 0);
}

/* The word of a cancel stays behind its request, also when that waits for the server's window. */
static void cancel_does_not_overtake_its_request(void **state)
{
    (void)state;
    gr_session_hold(pair.server.s, GR_HOLD_ALL);
    for (int i = 0; i < 500; i++)
        assert_rc(end_cast(&pair.client, 1, 10000), GR_OK);
    assert_rc(end_call(&pair.client, 1, 10), GR_OK);
    pair_pump(&pair);
    assert_true(end_stats(&pair.client).output > 10000);
    assert_rc(gr_session_cancel(pair.client.s, 1), GR_OK);
    pair_pump(&pair);
    gr_session_hold(pair.server.s, GR_HOLD_NONE);
    pair_pump(&pair);
    for (int i = 0; i < 500; i++)
        end_expect_cast(&pair.server, GR_UNORDERED, 1, 10000);
    assert_int_equal(end_stats(&pair.server).served, 0);
    assert_int_equal(end_stats(&pair.client).cancels_out, 1);
    assert_int_equal(end_stats(&pair.server).cancels_in, 1);
}

/* Ordered calls that are given up half-way leave their lane as it was, however many they are. */
static void abandoned_ordered_calls_leave_no_trace(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 10; id++) {
        gr_submit who = submit_of(id);
        gr_blob b = mem_blob(&pair.mem, 600000, id);
        gr_piece p = {b.data, b.size, b.owner};
        who.order = GR_BROADCAST;
        assert_rc(gr_session_call(pair.client.s, &who, &p, 1), GR_OK);
        mem_unref(&pair.mem, &b);
        end_drain(&pair.client, &pair.up.bytes, 100000);
        assert_rc(gr_session_cancel(pair.client.s, id), GR_OK);
        pair_pump(&pair);
        assert_int_equal(end_stats(&pair.server).aborted, id);
        assert_rc(end_cast_as(&pair.client, GR_ORDERED, id, 1000), GR_OK);
        pair_pump(&pair);
        end_expect_cast(&pair.server, GR_ORDERED, id, 1000);
        end_expect_none(&pair.server);
        gr_session_taken(pair.server.s, 1, 1000);
    }
    assert_int_equal(end_stats(&pair.client).cancels_out, 0);
}

/* Ordered messages go on, in their order, when only the others are held back. */
static void ordered_messages_pass_those_held_back(void **state)
{
    (void)state;
    static const size_t held[] = {10, 100000, 5000};
    gr_session_hold(pair.server.s, GR_HOLD_UNORDERED);
    for (size_t i = 0; i < COUNT_OF(held); i++) {
        assert_rc(end_cast(&pair.client, i, held[i]), GR_OK);
        assert_rc(end_cast_as(&pair.client, GR_ORDERED, i, held[i]), GR_OK);
    }
    pair_pump(&pair);
    for (size_t i = 0; i < COUNT_OF(held); i++)
        end_expect_cast(&pair.server, GR_ORDERED, i, held[i]);
    end_expect_none(&pair.server);
    assert_true(end_stats(&pair.server).held >= 10 + 100000 + 5000);
    /* Behind what all of them wait for, they keep their order too. */
    gr_session_hold(pair.server.s, GR_HOLD_ALL);
    assert_rc(end_cast_as(&pair.client, GR_ORDERED, 7, 7), GR_OK);
    pair_pump(&pair);
    end_expect_none(&pair.server);
    gr_session_hold(pair.server.s, GR_HOLD_UNORDERED);
    assert_rc(end_cast_as(&pair.client, GR_ORDERED, 8, 8), GR_OK);
    pair_pump(&pair);
    end_expect_cast(&pair.server, GR_ORDERED, 7, 7);
    end_expect_cast(&pair.server, GR_ORDERED, 8, 8);
    end_expect_none(&pair.server);
    gr_session_hold(pair.server.s, GR_HOLD_NONE);
    pair_pump(&pair);
    end_expect_cast(&pair.server, GR_UNORDERED, 0, 10);
    end_expect_cast(&pair.server, GR_UNORDERED, 2, 5000);
    end_expect_cast(&pair.server, GR_UNORDERED, 1, 100000);
    assert_int_equal(end_stats(&pair.server).held, 0);
}

/* What has been answered cannot be cancelled; the caller learns that its answer is there. */
static void answered_call_cannot_be_cancelled(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 10), GR_OK);
    pair_pump(&pair);
    assert_rc(end_reply(&pair.server, 1, 5), GR_OK);
    pair_pump(&pair);
    assert_rc(gr_session_cancel(pair.client.s, 1), GR_ENOENT);
    end_expect_reply(&pair.client, 1, 5);
    assert_int_equal(gr_session_output(pair.client.s), 0);
}

/* The serving side has nothing of its own to cancel: a request stays one until its reply. */
static void server_cannot_cancel_a_request(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 10), GR_OK);
    pair_pump(&pair);
    assert_rc(gr_session_cancel(pair.server.s, 1), GR_ENOENT);
    assert_int_equal(end_stats(&pair.server).served, 1);
}

/* Messages go from the side that connected, replies from the other; nothing goes the wrong way. */
static void each_role_submits_only_its_own(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.server, 1, 1), GR_ESTATE);
    assert_rc(end_cast(&pair.server, 1, 1), GR_ESTATE);
    assert_rc(end_reply(&pair.client, 1, 1), GR_ESTATE);
    assert_int_equal(gr_session_output(pair.server.s), 0);
    assert_int_equal(gr_session_output(pair.client.s), 0);
}

/* The figures that a user sees count every frame and byte. */
static void statistics_count_both_directions(void **state)
{
    (void)state;
    gr_session_stats before = end_stats(&pair.client);
    assert_rc(end_call(&pair.client, 1, 10), GR_OK);
    assert_rc(end_cast(&pair.client, 1, 100), GR_OK);
    assert_int_equal(end_stats(&pair.client).output, 2 * GR_FRAME_HEAD + 110);
    assert_int_equal(end_stats(&pair.client).calls, 1);
    pair_pump(&pair);
    assert_rc(end_reply(&pair.server, 1, 20), GR_OK);
    pair_pump(&pair);
    gr_session_stats c = end_stats(&pair.client);
    gr_session_stats s = end_stats(&pair.server);
    assert_int_equal(c.frames_out, 2);
    assert_int_equal(c.frames_in, 1);
    assert_int_equal(c.bytes_out - before.bytes_out, 2 * GR_FRAME_HEAD + 110);
    assert_int_equal(c.bytes_in - before.bytes_in, GR_FRAME_HEAD + 20);
    assert_int_equal(s.bytes_in, c.bytes_out);
    assert_int_equal(s.bytes_out, c.bytes_in);
    assert_int_equal(s.frames_in, 2);
    assert_int_equal(s.frames_out, 1);
    assert_int_equal(c.output + c.calls + s.served + s.output + c.waiting + s.waiting, 0);
    assert_int_equal(c.late + s.held + s.too_late + s.cancels_in + c.cancels_out, 0);
    assert_int_equal(c.aborted + s.aborted + c.blocked + s.blocked + c.blocked_ms, 0);
    assert_int_equal(c.deflate_in + c.deflate_out + s.deflate_in + s.deflate_out, 0);
}

/* A large message is one frame in the figures of what was queued, and as many as came in the others. */
static void statistics_count_fragments_as_one(void **state)
{
    (void)state;
    gr_session_stats before = end_stats(&pair.client);
    assert_rc(end_call(&pair.client, 1, 200000), GR_OK);
    assert_int_equal(end_stats(&pair.client).output, 200000);
    pair_pump(&pair);
    end_expect_request(&pair.server, 1, 200000);
    gr_session_stats c = end_stats(&pair.client);
    gr_session_stats s = end_stats(&pair.server);
    assert_int_equal(c.frames_out, 1);
    assert_int_equal(s.frames_in, 1);
    /* Four fragments, the first with the size of the whole. */
    assert_int_equal(c.bytes_out - before.bytes_out, 200000 + 4 * GR_FRAME_HEAD + 4);
    assert_int_equal(s.bytes_in, c.bytes_out);
    assert_int_equal(c.frames_in, s.frames_out);
    assert_int_equal(c.output, 0);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(call_is_replied_to),
        test_of(calls_survive_any_cut),
        test_of(pieces_are_joined),
        test_of(many_pieces_are_joined),
        test_of(every_size_arrives_whole),
        test_of(large_bodies_come_in_blobs),
        test_of(small_casts_arrive_in_order),
        test_of(ordered_casts_arrive_in_order),
        test_of(ordered_call_is_replied_to),
        test_of(replies_out_of_order_find_their_callers),
        test_of(calls_interleave_with_large_ones),
        test_of(large_calls_take_turns),
        test_of(answer_carries_what_the_caller_gave),
        test_of(id_of_an_open_call_is_refused),
        test_of(second_reply_is_refused),
        test_of(late_reply_is_counted_and_not_delivered),
        test_of(cancel_does_not_overtake_its_request),
        test_of(abandoned_ordered_calls_leave_no_trace),
        test_of(ordered_messages_pass_those_held_back),
        test_of(answered_call_cannot_be_cancelled),
        test_of(server_cannot_cancel_a_request),
        test_of(each_role_submits_only_its_own),
        test_of(statistics_count_both_directions),
        test_of(statistics_count_fragments_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
