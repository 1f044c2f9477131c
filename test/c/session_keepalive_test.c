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

static void expect_output(test_end *e, gr_frame_type type)
{
    test_bytes got = {0}, want = {0};
    end_drain(e, &got, SIZE_MAX);
    forge_frame_head(&want, (uint8_t)type, 0, 0);
    assert_int_equal(got.size, want.size);
    assert_memory_equal(got.data, want.data, want.size);
    bytes_free(&got);
    bytes_free(&want);
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
    forge_frame(&b, GR_FRAME_REPLY, 1, 50000);
    uint64_t before = end_stats(&pair.client).frames_out;
    for (size_t at = 0; at < b.size; at += 1000) {
        pair.now += INTERVAL - 1;
        assert_rc(end_tick(&pair.client, pair.now), GR_OK);
        end_feed(&pair.client, b.data + at, b.size - at < 1000 ? b.size - at : 1000);
    }
    assert_int_equal(end_stats(&pair.client).frames_out, before);
    end_expect_only(&pair.client, GR_EV_REPLY);
    bytes_free(&b);
}

/* So is one that goes out slowly: a pong can't come before the ping behind it has gone. */
static void large_message_going_out_counts_as_life(void **state)
{
    (void)state;
    assert_rc(end_cast(&pair.client, 1, 50000), GR_OK);
    while (gr_session_output(pair.client.s)) {
        pair.now += INTERVAL - 1;
        assert_rc(end_tick(&pair.client, pair.now), GR_OK);
        end_drain(&pair.client, &pair.up.bytes, 1000);
    }
    assert_rc(end_tick(&pair.client, pair.now + INTERVAL - 1), GR_OK);
    assert_rc(end_tick(&pair.client, pair.now + INTERVAL), GR_EKEEPALIVE);
}

/* The same with the ping already queued behind the message when it begins to move. */
static void ping_behind_a_large_message_has_time(void **state)
{
    (void)state;
    pair.now = START + INTERVAL;
    gr_session_clock(pair.client.s, pair.now);
    assert_rc(end_cast(&pair.client, 1, 50000), GR_OK);
    pair.now += INTERVAL;
    assert_rc(end_tick(&pair.client, pair.now), GR_OK);
    assert_int_equal(gr_session_output(pair.client.s), 50000 + 2 * GR_FRAME_HEAD);
    for (int i = 0; i < 40; i++) {
        pair.now += INTERVAL - 1;
        end_drain(&pair.client, &pair.up.bytes, 1000);
        assert_rc(end_tick(&pair.client, pair.now), GR_OK);
    }
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

/* Who does not read can't hear an answer, and starts anew when he reads again. */
static void silence_means_nothing_while_not_reading(void **state)
{
    (void)state;
    gr_session_reading(pair.client.s, 0);
    assert_true(gr_session_due(pair.client.s) == GR_FOREVER);
    pair.now = START + 100 * INTERVAL;
    assert_rc(end_tick(&pair.client, pair.now), GR_OK);
    assert_int_equal(gr_session_output(pair.client.s), 0);
    gr_session_reading(pair.client.s, 1);
    assert_true(gr_session_due(pair.client.s) == pair.now + INTERVAL);
    gr_session_reading(pair.client.s, 1);
    assert_rc(end_tick(&pair.client, pair.now + INTERVAL), GR_OK);
    expect_output(&pair.client, GR_FRAME_PING);
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
        test_of(ping_behind_a_large_message_has_time),
        test_of(trickle_of_calls_does_not_hide_a_frozen_peer),
        test_of(silence_means_nothing_while_not_reading),
        test_of(flood_of_pings_is_answered_within_the_limit),
        test_of(unasked_pong_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
