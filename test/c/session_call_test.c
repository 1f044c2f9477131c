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

/* Casts arrive in their order, and nobody waits for them. */
static void casts_arrive_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < 100; i++)
        assert_rc(end_cast(&pair.client, i, sizes[i % 12]), GR_OK);
    assert_int_equal(end_stats(&pair.client).calls, 0);
    pair_pump(&pair);
    assert_int_equal(end_stats(&pair.server).served, 0);
    for (size_t i = 0; i < 100; i++) {
        end_event ev = end_expect(&pair.server, GR_EV_CAST);
        assert_int_equal(ev.body.size, sizes[i % 12]);
        assert_true(pattern_matches(ev.body.data, ev.body.size, i));
        event_free(&ev);
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

/* Small calls and replies go on while a large one is on its way in either direction. */
static void calls_interleave_with_large_ones(void **state)
{
    (void)state;
    pair.chunk = 10000;
    uint64_t next = 1;
    assert_rc(end_call(&pair.client, next++, 500000), GR_OK);
    for (int round = 0; round < 60; round++) {
        assert_rc(end_call(&pair.client, next, 10), GR_OK);
        next++;
        link_send(&pair, &pair.client, &pair.up);
        link_deliver(&pair, &pair.up, &pair.server);
        while (pair.server.count) {
            end_event ev = end_expect(&pair.server, GR_EV_REQUEST);
            assert_rc(end_reply(&pair.server, ev.id, ev.id == 1 ? 400000 : 20), GR_OK);
            event_free(&ev);
        }
        link_send(&pair, &pair.server, &pair.down);
        link_deliver(&pair, &pair.down, &pair.client);
    }
    pair_pump(&pair);
    for (uint64_t id = 2; pair.server.count; id++) {
        end_event ev = end_expect(&pair.server, GR_EV_REQUEST);
        assert_rc(end_reply(&pair.server, ev.id, 20), GR_OK);
        event_free(&ev);
    }
    pair_pump(&pair);
    for (uint64_t id = 1; id < next; id++)
        end_expect_reply(&pair.client, id, id == 1 ? 400000 : 20);
}

/* Tag, caller and deadline come back with the answer; the deadline with some time for a cancel. */
static void answer_carries_what_the_caller_gave(void **state)
{
    (void)state;
    const uint8_t tag[] = "a reference";
    gr_submit who = {77, 5000, 0xabcdef, tag, sizeof tag};
    assert_rc(gr_session_call(pair.client.s, &who, NULL, 0), GR_OK);
    pair_pump(&pair);
    end_expect_only(&pair.server, GR_EV_REQUEST);
    assert_rc(end_reply(&pair.server, 77, 1), GR_OK);
    pair_pump(&pair);
    end_event ev = end_expect(&pair.client, GR_EV_REPLY);
    assert_int_equal(ev.caller, 0xabcdef);
    assert_int_equal(ev.deadline, 5000 + 1000);
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

/* A caller that gave up hears nothing more; its reply is counted and thrown away. */
static void late_reply_is_counted_and_not_delivered(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 3; id++)
        assert_rc(end_call(&pair.client, id, 10), GR_OK);
    pair_pump(&pair);
    assert_rc(gr_session_cancel(pair.client.s, 1), GR_OK);
    assert_rc(gr_session_cancel(pair.client.s, 2), GR_OK);
    assert_rc(gr_session_cancel(pair.client.s, 2), GR_ENOENT);
    assert_rc(end_reply(&pair.server, 1, 100000), GR_OK);
    assert_rc(end_reply(&pair.server, 2, 2000000), GR_ETOOBIG);
    assert_rc(end_reply(&pair.server, 3, 7), GR_OK);
    pair_pump(&pair);
    end_expect_reply(&pair.client, 3, 7);
    end_expect_none(&pair.client);
    assert_int_equal(end_stats(&pair.client).late, 2);
    assert_int_equal(pair.mem.refs, 0);
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
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(call_is_replied_to),
        test_of(calls_survive_any_cut),
        test_of(pieces_are_joined),
        test_of(large_bodies_come_in_blobs),
        test_of(casts_arrive_in_order),
        test_of(replies_out_of_order_find_their_callers),
        test_of(calls_interleave_with_large_ones),
        test_of(answer_carries_what_the_caller_gave),
        test_of(id_of_an_open_call_is_refused),
        test_of(second_reply_is_refused),
        test_of(late_reply_is_counted_and_not_delivered),
        test_of(answered_call_cannot_be_cancelled),
        test_of(server_cannot_cancel_a_request),
        test_of(each_role_submits_only_its_own),
        test_of(statistics_count_both_directions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
