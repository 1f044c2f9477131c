/* SPDX-License-Identifier: Apache-2.0 */
/* The time that a handshake may take: one deadline for all of it. */
#include "cmocka_support.h"
#include "pair_support.h"

#define START 1000u
#define TIMEOUT 5000u

static test_pair pair;

/* A peer that says nothing is given up at the deadline, not a millisecond before or after. */
static void silent_peer_is_given_up_at_the_deadline(void **state)
{
    (void)state;
    test_end *const ends[] = {&pair.client, &pair.server};
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        pair_open(&pair, NULL, NULL);
        assert_true(gr_session_due(ends[i]->s) == START + TIMEOUT);
        assert_rc(end_tick(ends[i], START + TIMEOUT - 1), GR_OK);
        assert_rc(end_tick(ends[i], START + TIMEOUT), GR_EAUTHTIME);
        assert_true(gr_session_due(ends[i]->s) == GR_FOREVER);
        pair_close(&pair);
    }
}

/* One byte a second is no reason to wait any longer than for none. */
static void one_byte_a_second_does_not_move_the_deadline(void **state)
{
    (void)state;
    pair_open(&pair, NULL, NULL);
    end_drain(&pair.client, &pair.up.bytes, SIZE_MAX);
    for (uint64_t now = START; now < START + TIMEOUT; now += 1000) {
        assert_rc(end_tick(&pair.server, now), GR_OK);
        assert_rc(end_feed(&pair.server, pair.up.bytes.data, 1), GR_OK);
        bytes_drop(&pair.up.bytes, 1);
        assert_true(gr_session_due(pair.server.s) == START + TIMEOUT);
    }
    assert_rc(end_tick(&pair.server, START + TIMEOUT), GR_EAUTHTIME);
    pair_close(&pair);
}

/* Nor is a peer that stops in the middle, after a good hello: the deadline is for the whole. */
static void hello_does_not_move_the_deadline(void **state)
{
    (void)state;
    pair_open(&pair, NULL, NULL);
    pair_clock(&pair, START + TIMEOUT - 1);
    link_send(&pair, &pair.client, &pair.up);
    link_deliver(&pair, &pair.up, &pair.server);
    link_send(&pair, &pair.server, &pair.down);
    link_deliver(&pair, &pair.down, &pair.client);
    assert_rc(end_tick(&pair.server, START + TIMEOUT), GR_EAUTHTIME);
    assert_rc(end_tick(&pair.client, START + TIMEOUT), GR_EAUTHTIME);
    pair_close(&pair);
}

/* Once up, that deadline is gone. */
static void deadline_ends_with_the_handshake(void **state)
{
    (void)state;
    pair_open_up(&pair, NULL, NULL);
    assert_true(gr_session_due(pair.client.s) == GR_FOREVER);
    assert_true(gr_session_due(pair.server.s) == GR_FOREVER);
    assert_rc(end_tick(&pair.client, START + 10 * TIMEOUT), GR_OK);
    pair_close(&pair);
}

/* Other times do not run before a session is up. */
static void other_times_wait_for_the_handshake(void **state)
{
    (void)state;
    gr_session_config c = end_config(GR_CLIENT);
    c.send_timeout = c.keepalive_interval = c.idle_timeout = 10;
    pair_open(&pair, &c, NULL);
    assert_true(gr_session_due(pair.client.s) == START + TIMEOUT);
    assert_rc(end_tick(&pair.client, START + TIMEOUT - 1), GR_OK);
    end_expect_none(&pair.client);
    pair_close(&pair);
}

/* The time to send begins with the answer, however long the handshake has taken before it. */
static void last_answer_has_the_whole_time_to_be_sent(void **state)
{
    (void)state;
    gr_session_config s = end_config(GR_SERVER);
    s.send_timeout = 3000;
    pair_open(&pair, NULL, &s);
    link_send(&pair, &pair.client, &pair.up);
    link_deliver(&pair, &pair.up, &pair.server);
    link_send(&pair, &pair.server, &pair.down);
    link_deliver(&pair, &pair.down, &pair.client);
    pair_clock(&pair, START + 4000);
    link_send(&pair, &pair.client, &pair.up);
    link_deliver(&pair, &pair.up, &pair.server);
    assert_true(pair.server.up);
    assert_true(gr_session_output(pair.server.s) > 0);
    assert_true(gr_session_due(pair.server.s) == START + 4000 + 3000);
    pair_close(&pair);
}

/* A session may be told to wait for ever; adding to the end of time does not wrap round. */
static void timeout_can_be_for_ever(void **state)
{
    (void)state;
    gr_session_config c = end_config(GR_CLIENT);
    c.auth_timeout = GR_FOREVER;
    pair_open(&pair, &c, NULL);
    assert_true(gr_session_due(pair.client.s) == GR_FOREVER);
    assert_rc(end_tick(&pair.client, UINT64_MAX - 1), GR_OK);
    pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silent_peer_is_given_up_at_the_deadline),
        cmocka_unit_test(one_byte_a_second_does_not_move_the_deadline),
        cmocka_unit_test(hello_does_not_move_the_deadline),
        cmocka_unit_test(deadline_ends_with_the_handshake),
        cmocka_unit_test(other_times_wait_for_the_handshake),
        cmocka_unit_test(last_answer_has_the_whole_time_to_be_sent),
        cmocka_unit_test(timeout_can_be_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
