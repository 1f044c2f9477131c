/* SPDX-License-Identifier: Apache-2.0 */
/* When a connection counts as idle, and when not. */
#include "cmocka_support.h"
#include "forge_support.h"
#include "gr_frame.h"
#include "pair_support.h"

#define START 1000u
#define IDLE 4000u

static test_pair pair;

static int setup(void **state)
{
    (void)state;
    gr_session_config c = end_config(GR_CLIENT);
    gr_session_config s = end_config(GR_SERVER);
    c.idle_timeout = s.idle_timeout = IDLE;
    c.output_limit = 10000;
    pair_open_up(&pair, &c, &s);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pair_close(&pair);
    return 0;
}

/* Ticks at a time at which a session would long be idle, and expects that it is not. */
static void expect_busy(test_end *e)
{
    pair.now += 10 * IDLE;
    assert_rc(end_tick(e, pair.now), GR_OK);
    end_expect_none(e);
}

/* It is idle once its time is up, on either side; not a millisecond before; and once. */
static void idle_is_told_once_at_its_time(void **state)
{
    (void)state;
    test_end *const ends[] = {&pair.client, &pair.server};
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        assert_true(gr_session_due(ends[i]->s) == START + IDLE);
        end_tick(ends[i], START + IDLE - 1);
        end_expect_none(ends[i]);
        end_tick(ends[i], START + IDLE);
        end_expect_only(ends[i], GR_EV_IDLE);
        assert_true(gr_session_due(ends[i]->s) == GR_FOREVER);
        end_tick(ends[i], START + 10 * IDLE);
        end_expect_none(ends[i]);
    }
}

/* A call in flight is no idleness, however long it takes; neither is one that is being served. */
static void call_in_flight_is_not_idle(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 10), GR_OK);
    pair_pump(&pair);
    end_expect_request(&pair.server, 1, 10);
    expect_busy(&pair.client);
    expect_busy(&pair.server);
}

/* Output that waits is none either. */
static void queued_output_is_not_idle(void **state)
{
    (void)state;
    assert_rc(end_cast(&pair.client, 1, 10), GR_OK);
    expect_busy(&pair.client);
}

/* The time begins when the last byte of it is written, not when it was queued. */
static void long_output_is_activity_to_its_end(void **state)
{
    (void)state;
    assert_rc(end_cast(&pair.client, 1, 9000), GR_OK);
    pair.now += 10 * IDLE;
    assert_rc(end_tick(&pair.client, pair.now), GR_OK);
    end_drain(&pair.client, &pair.up.bytes, SIZE_MAX);
    assert_true(gr_session_due(pair.client.s) == pair.now + IDLE);
    end_expect_none(&pair.client);
}

/* Nor is a submitter that waits for room, in the moment before it is woken. */
static void waiting_submitter_is_not_idle(void **state)
{
    (void)state;
    gr_submit who = submit_of(5);
    assert_rc(end_cast(&pair.client, 1, 10000), GR_OK);
    assert_rc(gr_session_admit(pair.client.s, &who, 10), GR_EBUSY);
    gr_session_consume(pair.client.s, gr_session_output(pair.client.s));
    gr_session_clock(pair.client.s, START + 10 * IDLE);
    assert_rc(gr_session_tick(pair.client.s), GR_OK);
    end_take(&pair.client);
    end_expect_only(&pair.client, GR_EV_READY);
    end_expect_none(&pair.client);
}

/* Nor is half a frame that has arrived. */
static void half_a_frame_is_not_idle(void **state)
{
    (void)state;
    test_bytes b = {0};
    forge_message(&b, GR_FRAME_CAST, 0, 50000);
    end_feed(&pair.server, b.data, 1);
    expect_busy(&pair.server);
    end_feed(&pair.server, b.data + 1, 40000);
    expect_busy(&pair.server);
    bytes_free(&b);
}

/* Nor is a message of which some fragments have arrived, and nothing of the next one. */
static void half_a_message_is_not_idle(void **state)
{
    (void)state;
    test_bytes b = {0};
    const forge_start f = {.type = GR_FRAME_CAST, .whole = 50000};
    forge_fragment(&b, &f, 0, 30000);
    end_feed(&pair.server, b.data, b.size);
    expect_busy(&pair.server);
    bytes_free(&b);
}

/* Nor is a request that is held back. */
static void held_request_is_not_idle(void **state)
{
    (void)state;
    gr_session_hold(pair.server.s, GR_HOLD_ALL);
    assert_rc(end_cast(&pair.client, 1, 10), GR_OK);
    pair_pump(&pair);
    expect_busy(&pair.server);
    gr_session_hold(pair.server.s, GR_HOLD_NONE);
    end_take(&pair.server);
    end_expect_cast(&pair.server, GR_UNORDERED, 1, 10);
}

/* Nor is what the peer does not let leave yet. */
static void message_that_waits_for_the_peer_is_not_idle(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_rc(end_cast_as(&pair.client, GR_ORDERED, 1, 1000000), GR_OK);
    pair_pump(&pair);
    assert_int_equal(gr_session_output(pair.client.s), 0);
    expect_busy(&pair.client);
}

/* Each kind of message begins the time anew, on both sides. */
static void every_message_begins_the_time_anew(void **state)
{
    (void)state;
    pair_clock(&pair, START + 1000);
    assert_rc(end_cast(&pair.client, 1, 10), GR_OK);
    pair_pump(&pair);
    end_expect_only(&pair.server, GR_EV_CAST);
    assert_true(gr_session_due(pair.client.s) == START + 1000 + IDLE);
    assert_true(gr_session_due(pair.server.s) == START + 1000 + IDLE);
    pair_clock(&pair, START + 2000);
    assert_rc(end_call(&pair.client, 1, 10), GR_OK);
    pair_pump(&pair);
    end_expect_request(&pair.server, 1, 10);
    pair_clock(&pair, START + 3000);
    assert_rc(end_reply(&pair.server, 1, 10), GR_OK);
    pair_pump(&pair);
    end_expect_reply(&pair.client, 1, 10);
    assert_true(gr_session_due(pair.client.s) == START + 3000 + IDLE);
    assert_true(gr_session_due(pair.server.s) == START + 3000 + IDLE);
}

/* After traffic it can be idle again. */
static void idle_is_told_again_after_traffic(void **state)
{
    (void)state;
    end_tick(&pair.client, START + IDLE);
    end_expect_only(&pair.client, GR_EV_IDLE);
    pair_clock(&pair, START + IDLE);
    assert_rc(end_cast(&pair.client, 1, 10), GR_OK);
    pair_pump(&pair);
    end_tick(&pair.client, START + 2 * IDLE - 1);
    end_expect_none(&pair.client);
    end_tick(&pair.client, START + 2 * IDLE);
    end_expect_only(&pair.client, GR_EV_IDLE);
}

/* A call between the timer and the event takes the idleness back. */
static void call_takes_back_what_is_not_told_yet(void **state)
{
    (void)state;
    gr_session_clock(pair.client.s, START + IDLE);
    assert_rc(gr_session_tick(pair.client.s), GR_OK);
    assert_rc(end_call(&pair.client, 1, 10), GR_OK);
    end_take(&pair.client);
    end_expect_none(&pair.client);
}

/* Pings keep the connection alive, and idle. */
static void pings_are_no_traffic(void **state)
{
    (void)state;
    teardown(state);
    gr_session_config c = end_config(GR_CLIENT);
    gr_session_config s = end_config(GR_SERVER);
    c.idle_timeout = s.idle_timeout = IDLE;
    c.keepalive_interval = s.keepalive_interval = 300;
    pair_open_up(&pair, &c, &s);
    pair_advance(&pair, IDLE - 1);
    assert_true(end_stats(&pair.client).frames_out >= 10);
    end_expect_none(&pair.client);
    end_expect_none(&pair.server);
    pair_advance(&pair, 301);
    end_expect_only(&pair.client, GR_EV_IDLE);
    end_expect_only(&pair.server, GR_EV_IDLE);
    pair_advance(&pair, 10 * IDLE);
    end_expect_none(&pair.client);
    end_expect_none(&pair.server);
}

/* A connection that is being closed needs no reason to be. */
static void closing_connection_is_not_idle(void **state)
{
    (void)state;
    assert_rc(gr_session_close(pair.client.s, GR_FOREVER, 0), GR_OK);
    pair_pump(&pair);
    end_expect_only(&pair.client, GR_EV_BYE);
    expect_busy(&pair.client);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(idle_is_told_once_at_its_time),
        test_of(call_in_flight_is_not_idle),
        test_of(queued_output_is_not_idle),
        test_of(long_output_is_activity_to_its_end),
        test_of(waiting_submitter_is_not_idle),
        test_of(half_a_frame_is_not_idle),
        test_of(half_a_message_is_not_idle),
        test_of(held_request_is_not_idle),
        test_of(message_that_waits_for_the_peer_is_not_idle),
        test_of(every_message_begins_the_time_anew),
        test_of(idle_is_told_again_after_traffic),
        test_of(call_takes_back_what_is_not_told_yet),
        test_of(pings_are_no_traffic),
        test_of(closing_connection_is_not_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
