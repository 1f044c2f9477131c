/* SPDX-License-Identifier: Apache-2.0 */
/* Pings: when one is sent, what counts as an answer, and when a peer counts as dead. */
#include "cmocka_support.h"
#include "forge_support.h"
#include "gr_frame.h"
#include "pair_support.h"

#define START 1000u
#define INTERVAL 500u

static test_pair pair;

/* Only the client pings: the server shows that it need not know about it. */
static int setup(void **state)
{
    (void)state;
    gr_session_config c = end_config(GR_CLIENT);
    c.keepalive_interval = INTERVAL;
    pair_open_up(&pair, &c, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pair_close(&pair);
    return 0;
}

/* The next that leaves is such a head, and, if nothing else may, all. */
static void expect_next(test_end *e, gr_frame_type type, size_t max)
{
    test_bytes got = {0}, want = {0};
    end_drain(e, &got, max);
    forge_frame_head(&want, (uint8_t)type, 0, 0);
    assert_int_equal(got.size, want.size);
    assert_memory_equal(got.data, want.data, want.size);
    bytes_free(&got);
    bytes_free(&want);
}

static void expect_head(test_end *e, gr_frame_type type)
{
    expect_next(e, type, GR_FRAME_HEAD);
}

static void expect_output(test_end *e, gr_frame_type type)
{
    expect_next(e, type, SIZE_MAX);
}

/* After the interval without a word there is a ping, and not before. */
static void silence_brings_a_ping(void **state)
{
    (void)state;
    assert_true(gr_session_due(pair.client.s) == START + INTERVAL);
    assert_rc(end_tick(&pair.client, START + INTERVAL - 1), GR_OK);
    assert_int_equal(gr_session_output(pair.client.s), 0);
    assert_rc(end_tick(&pair.client, START + INTERVAL), GR_OK);
    expect_output(&pair.client, GR_FRAME_PING);
}

/* A ping is answered at once, and neither is an event. */
static void ping_is_answered_by_a_pong(void **state)
{
    (void)state;
    assert_rc(end_tick(&pair.client, START + INTERVAL), GR_OK);
    link_send(&pair, &pair.client, &pair.up);
    link_deliver(&pair, &pair.up, &pair.server);
    expect_output(&pair.server, GR_FRAME_PONG);
    end_expect_none(&pair.server);
    end_expect_none(&pair.client);
}

/* Two sessions that say nothing live for ever, whether one pings or both. */
static void answered_pings_keep_a_session_alive(void **state)
{
    (void)state;
    for (int both = 0; both < 2; both++) {
        pair_advance(&pair, 100 * INTERVAL);
        assert_rc(pair.client.rc, GR_OK);
        assert_rc(pair.server.rc, GR_OK);
        uint64_t pings = end_stats(&pair.client).frames_out;
        assert_true(pings >= 90 && pings <= 200);
        gr_session_config c = end_config(GR_CLIENT);
        gr_session_config s = end_config(GR_SERVER);
        c.keepalive_interval = s.keepalive_interval = INTERVAL;
        pair_close(&pair);
        pair_open_up(&pair, &c, &s);
    }
}

/* No answer for as long again: the peer is dead, though its kernel may still be there. */
static void unanswered_ping_ends_the_session(void **state)
{
    (void)state;
    assert_rc(end_tick(&pair.client, START + INTERVAL), GR_OK);
    end_drain(&pair.client, &pair.up.bytes, SIZE_MAX);
    assert_true(gr_session_due(pair.client.s) == START + 2 * INTERVAL);
    assert_rc(end_tick(&pair.client, START + 2 * INTERVAL - 1), GR_OK);
    assert_rc(end_tick(&pair.client, START + 2 * INTERVAL), GR_EKEEPALIVE);
}

/* Any byte is an answer, the first one of a frame too. */
static void any_byte_is_a_sign_of_life(void **state)
{
    (void)state;
    test_bytes b = {0};
    forge_frame_head(&b, GR_FRAME_PONG, 0, 0);
    assert_rc(end_tick(&pair.client, START + INTERVAL), GR_OK);
    end_drain(&pair.client, &pair.up.bytes, SIZE_MAX);
    gr_session_clock(pair.client.s, START + INTERVAL + 100);
    end_feed(&pair.client, b.data, 1);
    assert_true(gr_session_due(pair.client.s) == START + INTERVAL + 100 + INTERVAL);
    assert_rc(end_tick(&pair.client, START + 2 * INTERVAL + 100), GR_OK);
    expect_output(&pair.client, GR_FRAME_PING);
    bytes_free(&b);
}

/* Whoever hears something need not ask. */
static void traffic_makes_pings_superfluous(void **state)
{
    (void)state;
    uint64_t before = end_stats(&pair.client).frames_out;
    for (uint64_t id = 1; id <= 50; id++) {
        pair_advance(&pair, INTERVAL - 100);
        assert_rc(end_call(&pair.client, id, 10), GR_OK);
        pair_pump(&pair);
        assert_rc(end_reply(&pair.server, id, 10), GR_OK);
        pair_pump(&pair);
    }
    assert_int_equal(end_stats(&pair.client).frames_out - before, 50);
}

/* A large message that comes in slowly is life, though no frame is complete for long. */
static void large_message_coming_in_counts_as_life(void **state)
{
    (void)state;
    test_bytes b = {0};
    assert_rc(end_call(&pair.client, 1, 10), GR_OK);
    end_drain(&pair.client, &pair.up.bytes, SIZE_MAX);
    forge_message(&b, GR_FRAME_REPLY, 1, 50000);
    uint64_t before = end_stats(&pair.client).frames_out;
    for (size_t at = 0; at < b.size; at += 1000) {
        pair.now += INTERVAL - 1;
        assert_rc(end_tick(&pair.client, pair.now), GR_OK);
        end_feed(&pair.client, b.data + at, b.size - at < 1000 ? b.size - at : 1000);
    }
    /* No ping; only the report of the fragment, and the word that the message has been used. */
    test_bytes got = {0};
    end_drain(&pair.client, &got, SIZE_MAX);
    assert_int_equal(got.size, 2 * GR_FRAME_HEAD);
    assert_int_equal(got.data[0], GR_FRAME_WINDOW);
    assert_int_equal(got.data[GR_FRAME_HEAD], GR_FRAME_DONE);
    assert_int_equal(end_stats(&pair.client).frames_out, before + 2);
    bytes_free(&got);
    end_expect_only(&pair.client, GR_EV_REPLY);
    bytes_free(&b);
}

/* Lets the whole output leave, a little in each interval. */
static void trickle(void)
{
    while (gr_session_output(pair.client.s)) {
        pair.now += INTERVAL - 1;
        assert_rc(end_tick(&pair.client, pair.now), GR_OK);
        end_drain(&pair.client, &pair.up.bytes, 1000);
    }
}

/* So is one that goes out slowly: a pong can't come before the ping behind it has gone. */
static void large_message_going_out_counts_as_life(void **state)
{
    (void)state;
    assert_rc(end_cast(&pair.client, 1, 50000), GR_OK);
    end_drain(&pair.client, &pair.up.bytes, 1000);
    trickle();
    assert_rc(end_tick(&pair.client, pair.now + INTERVAL - 1), GR_OK);
    assert_rc(end_tick(&pair.client, pair.now + INTERVAL), GR_EKEEPALIVE);
}

/* The same with the ping already queued when the message in front of it begins to move again. */
static void ping_behind_a_begun_message_has_time(void **state)
{
    (void)state;
    assert_rc(end_cast(&pair.client, 1, 50000), GR_OK);
    end_drain(&pair.client, &pair.up.bytes, 1000);
    pair.now += INTERVAL;
    assert_rc(end_tick(&pair.client, pair.now), GR_OK);
    assert_int_equal(gr_session_output(pair.client.s), 50000 + 4 + 2 * GR_FRAME_HEAD - 1000);
    trickle();
}

/* A ping goes before a message that has not begun to leave, and so does its answer. */
static void ping_passes_a_large_message(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 10), GR_OK);
    pair_pump(&pair);
    assert_rc(end_cast(&pair.client, 1, 500000), GR_OK);
    assert_rc(end_reply(&pair.server, 1, 500000), GR_OK);
    pair_clock(&pair, START + INTERVAL);
    assert_rc(end_tick(&pair.client, pair.now), GR_OK);
    end_drain(&pair.client, &pair.up.bytes, GR_FRAME_HEAD);
    end_feed(&pair.server, pair.up.bytes.data, pair.up.bytes.size);
    bytes_free(&pair.up.bytes);
    expect_head(&pair.server, GR_FRAME_PONG);
}

/* Also before what may leave any moment: small messages, and fragments that wait to be written. */
static void ping_passes_what_is_queued(void **state)
{
    (void)state;
    gr_iov v[4];
    assert_rc(end_cast(&pair.client, 1, 500000), GR_OK);
    assert_int_equal(gr_session_peek(pair.client.s, v, COUNT_OF(v)), COUNT_OF(v));
    for (int i = 0; i < 5; i++)
        assert_rc(end_cast(&pair.client, 1, 10000), GR_OK);
    assert_rc(end_tick(&pair.client, START + INTERVAL), GR_OK);
    expect_head(&pair.client, GR_FRAME_PING);
}

/* Small messages and their replies pass as well while a large one takes its time: that is life. */
static void traffic_beside_a_large_message_is_life(void **state)
{
    (void)state;
    pair.chunk = 20000;
    assert_rc(end_cast(&pair.client, 1, 1000000), GR_OK);
    for (uint64_t id = 1; id <= 40; id++) {
        pair_clock(&pair, pair.now + INTERVAL - 1);
        assert_rc(end_tick(&pair.client, pair.now), GR_OK);
        assert_rc(end_call(&pair.client, id, 10), GR_OK);
        for (int i = 0; i < 8; i++) {
            link_send(&pair, &pair.client, &pair.up);
            link_deliver(&pair, &pair.up, &pair.server);
            link_send(&pair, &pair.server, &pair.down);
            link_deliver(&pair, &pair.down, &pair.client);
            while (pair.server.count) {
                end_event ev = end_expect(&pair.server, pair.server.events[0].type);
                if (ev.type == GR_EV_REQUEST)
                    assert_rc(end_reply(&pair.server, ev.id, 10), GR_OK);
                event_free(&ev);
            }
        }
    }
    assert_rc(pair.client.rc, GR_OK);
}

/* What the kernel takes is no sign of life: a stopped peer has one that takes a lot. */
static void trickle_of_calls_does_not_hide_a_frozen_peer(void **state)
{
    (void)state;
    for (uint64_t id = 1; pair.now < START + 2 * INTERVAL - 100; id++) {
        pair.now += 100;
        assert_rc(end_tick(&pair.client, pair.now), GR_OK);
        assert_rc(end_call(&pair.client, id, 64), GR_OK);
        end_drain(&pair.client, &pair.up.bytes, SIZE_MAX);
    }
    assert_rc(end_tick(&pair.client, START + 2 * INTERVAL), GR_EKEEPALIVE);
}

/* Who holds requests back still reads, and so knows who lives. */
static void pings_go_on_while_requests_are_held(void **state)
{
    (void)state;
    gr_session_hold(pair.server.s, GR_HOLD_ALL);
    assert_rc(end_call(&pair.client, 1, 10), GR_OK);
    pair_pump(&pair);
    pair_advance(&pair, 100 * INTERVAL);
    assert_rc(pair.client.rc, GR_OK);
    assert_true(end_stats(&pair.client).frames_in >= 90);
    end_expect_none(&pair.server);
}

/* Pings without end whose answers nobody takes do not fill the memory. */
static void flood_of_pings_is_answered_within_the_limit(void **state)
{
    (void)state;
    test_bytes b = {0};
    for (int i = 0; i < 20000; i++)
        forge_frame_head(&b, GR_FRAME_PING, 0, 0);
    end_feed(&pair.server, b.data, b.size);
    assert_rc(pair.server.rc, GR_OK);
    assert_int_equal(gr_session_output(pair.server.s), 64 * 1024); /* its output_limit */
    bytes_free(&b);
}

/* A pong that nobody asked for is a sign of life and nothing else. */
static void unasked_pong_is_ignored(void **state)
{
    (void)state;
    test_bytes b = {0};
    forge_frame_head(&b, GR_FRAME_PONG, 0, 0);
    assert_rc(end_feed(&pair.client, b.data, b.size), GR_OK);
    assert_rc(end_feed(&pair.server, b.data, b.size), GR_OK);
    end_expect_none(&pair.client);
    end_expect_none(&pair.server);
    assert_int_equal(gr_session_output(pair.server.s), 0);
    bytes_free(&b);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(silence_brings_a_ping),
        test_of(ping_is_answered_by_a_pong),
        test_of(answered_pings_keep_a_session_alive),
        test_of(unanswered_ping_ends_the_session),
        test_of(any_byte_is_a_sign_of_life),
        test_of(traffic_makes_pings_superfluous),
        test_of(large_message_coming_in_counts_as_life),
        test_of(large_message_going_out_counts_as_life),
        test_of(ping_behind_a_begun_message_has_time),
        test_of(ping_passes_a_large_message),
        test_of(ping_passes_what_is_queued),
        test_of(traffic_beside_a_large_message_is_life),
        test_of(trickle_of_calls_does_not_hide_a_frozen_peer),
        test_of(pings_go_on_while_requests_are_held),
        test_of(flood_of_pings_is_answered_within_the_limit),
        test_of(unasked_pong_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
