/* SPDX-License-Identifier: Apache-2.0 */
/* Output over its limit: who waits, who is woken and when, and a peer that takes nothing. */
#include "cmocka_support.h"
#include "gr_frame.h"
#include "pair_support.h"

#define LIMIT 10000u

static test_pair pair;

static int setup(void **state)
{
    (void)state;
    gr_session_config c = end_config(GR_CLIENT);
    gr_session_config s = end_config(GR_SERVER);
    c.output_limit = s.output_limit = LIMIT;
    c.send_timeout = s.send_timeout = 3000;
    pair_open_up(&pair, &c, &s);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pair_close(&pair);
    return 0;
}

static int admit(test_end *e, uint64_t id)
{
    gr_submit who = submit_of(id);
    return gr_session_admit(e->s, &who, 10);
}

/* Queues so many bytes, frame header included. */
static void fill_output(test_end *e, size_t size)
{
    assert_rc(end_cast(e, 1, size - GR_FRAME_HEAD), GR_OK);
}

/* Lets so many bytes leave. */
static void take_output(test_end *e, size_t size)
{
    assert_int_equal(end_drain(e, &pair.up.bytes, size), size);
}

static void expect_ready(test_end *e, uint64_t id)
{
    end_event ev = end_expect(e, GR_EV_READY);
    gr_submit who = submit_of(id);
    assert_int_equal(ev.id, id);
    assert_int_equal(ev.caller, who.caller);
    assert_int_equal(ev.tag.size, who.tag_size);
    assert_true(pattern_matches(ev.tag.data, ev.tag.size, id));
    event_free(&ev);
}

/* At the limit, and not one byte below, submitters have to wait. */
static void submitters_wait_from_the_limit_on(void **state)
{
    (void)state;
    fill_output(&pair.client, LIMIT - 1);
    assert_rc(admit(&pair.client, 1), GR_OK);
    take_output(&pair.client, 16);
    fill_output(&pair.client, 17);
    assert_int_equal(gr_session_output(pair.client.s), LIMIT);
    assert_rc(admit(&pair.client, 1), GR_EBUSY);
    assert_int_equal(end_stats(&pair.client).waiting, 1);
    end_take(&pair.client);
    end_expect_none(&pair.client);
}

/* They are woken when half of the limit is free, in their order, with what they gave. */
static void waiters_are_woken_in_order_at_half_the_limit(void **state)
{
    (void)state;
    fill_output(&pair.client, LIMIT + 100);
    static const uint64_t ids[] = {7, 3, 99, 12};
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        assert_rc(admit(&pair.client, ids[i]), GR_EBUSY);
    take_output(&pair.client, LIMIT / 2 + 99);
    end_expect_none(&pair.client);
    take_output(&pair.client, 1);
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        expect_ready(&pair.client, ids[i]);
    end_expect_none(&pair.client);
    assert_int_equal(end_stats(&pair.client).waiting, 0);
}

/* While some wait, a newcomer does too, although there would be room for him. */
static void newcomer_does_not_overtake(void **state)
{
    (void)state;
    fill_output(&pair.client, LIMIT + 100);
    assert_rc(admit(&pair.client, 1), GR_EBUSY);
    take_output(&pair.client, LIMIT / 2);
    assert_rc(admit(&pair.client, 2), GR_EBUSY);
    take_output(&pair.client, 100);
    expect_ready(&pair.client, 1);
    expect_ready(&pair.client, 2);
}

/* Without a tag nobody could be woken, so nobody is noted; and it costs no memory. */
static void submitter_without_a_tag_is_not_noted(void **state)
{
    (void)state;
    gr_submit who = submit_of(1);
    who.tag_size = 0;
    fill_output(&pair.client, LIMIT);
    assert_rc(gr_session_admit(pair.client.s, &who, 10), GR_EBUSY);
    assert_int_equal(end_stats(&pair.client).waiting, 0);
    take_output(&pair.client, LIMIT);
    end_expect_none(&pair.client);
}

/* Empty buffers go back to the system when asked for, and come again when needed. */
static void trimmed_session_works_on(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 100), GR_OK);
    pair_pump(&pair);
    end_expect_request(&pair.server, 1, 100);
    size_t before = pair.mem.live;
    gr_session_trim(pair.client.s);
    gr_session_trim(pair.server.s);
    assert_true(pair.mem.live <= before - 2);
    assert_rc(end_reply(&pair.server, 1, 100), GR_OK);
    gr_session_trim(pair.server.s);
    pair_pump(&pair);
    end_expect_reply(&pair.client, 1, 100);
}

/* Who fills the output again as soon as he is woken keeps those behind him waiting. */
static void woken_waiter_may_fill_the_output_again(void **state)
{
    (void)state;
    gr_event ev;
    fill_output(&pair.client, LIMIT);
    for (uint64_t id = 1; id <= 3; id++)
        assert_rc(admit(&pair.client, id), GR_EBUSY);
    for (uint64_t id = 1; id <= 3; id++) {
        gr_session_consume(pair.client.s, gr_session_output(pair.client.s));
        assert_rc(gr_session_event(pair.client.s, &ev), GR_OK);
        assert_int_equal(ev.type, GR_EV_READY);
        assert_int_equal(ev.call->id, id);
        gr_session_free_call(pair.client.s, ev.call);
        fill_output(&pair.client, LIMIT);
        assert_rc(gr_session_event(pair.client.s, &ev), GR_NONE);
    }
}

/* A worker with a reply waits like any other. */
static void workers_wait_too(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 2; id++)
        assert_rc(end_call(&pair.client, id, 1), GR_OK);
    pair_pump(&pair);
    assert_rc(end_reply(&pair.server, 1, LIMIT), GR_OK);
    assert_rc(admit(&pair.server, 2), GR_EBUSY);
    end_drain(&pair.server, &pair.down.bytes, SIZE_MAX);
    end_expect_only(&pair.server, GR_EV_REQUEST);
    end_expect_only(&pair.server, GR_EV_REQUEST);
    expect_ready(&pair.server, 2);
    assert_rc(end_reply(&pair.server, 2, 5), GR_OK);
}

/* One submitter waits once. */
static void waiting_twice_is_refused(void **state)
{
    (void)state;
    fill_output(&pair.client, LIMIT);
    assert_rc(admit(&pair.client, 1), GR_EBUSY);
    assert_rc(admit(&pair.client, 1), GR_EEXIST);
    assert_int_equal(end_stats(&pair.client).waiting, 1);
}

/* Who gives up while he waits is not woken. */
static void cancelled_waiter_is_not_woken(void **state)
{
    (void)state;
    fill_output(&pair.client, LIMIT);
    assert_rc(admit(&pair.client, 1), GR_EBUSY);
    assert_rc(admit(&pair.client, 2), GR_EBUSY);
    assert_rc(gr_session_cancel(pair.client.s, 1), GR_OK);
    assert_rc(gr_session_cancel(pair.client.s, 1), GR_ENOENT);
    take_output(&pair.client, LIMIT);
    expect_ready(&pair.client, 2);
    end_expect_none(&pair.client);
}

/* A worker that dies while it waits can be forgotten on the serving side, too. */
static void server_can_cancel_a_waiter(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 1), GR_OK);
    pair_pump(&pair);
    assert_rc(end_reply(&pair.server, 1, LIMIT), GR_OK);
    assert_rc(admit(&pair.server, 2), GR_EBUSY);
    assert_rc(gr_session_cancel(pair.server.s, 2), GR_OK);
    pair_pump(&pair);
    end_expect_only(&pair.server, GR_EV_REQUEST);
    end_expect_none(&pair.server);
}

/* Once admitted, a message is queued whatever its size: the limit says only when to wait. */
static void submitting_does_not_ask_again(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 3; id++)
        assert_rc(end_call(&pair.client, id, LIMIT), GR_OK);
    assert_true(gr_session_output(pair.client.s) > 3 * LIMIT);
}

/* Whether a frame has begun to leave: from its first byte on it may have run. */
static void frame_is_sent_from_its_first_byte_on(void **state)
{
    (void)state;
    gr_call *c;
    assert_rc(end_call(&pair.client, 1, 100), GR_OK);
    assert_rc(end_call(&pair.client, 2, 100), GR_OK);
    fill_output(&pair.client, LIMIT);
    assert_rc(admit(&pair.client, 3), GR_EBUSY);
    take_output(&pair.client, GR_FRAME_HEAD + 100);
    /* Waiters first: nothing of theirs was ever queued. */
    static const struct {
        uint64_t id;
        int was_sent;
    } expected[] = {{3, 0}, {1, 1}, {2, 0}};
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        c = gr_session_take(pair.client.s);
        assert_non_null(c);
        assert_int_equal(c->id, expected[i].id);
        assert_int_equal(gr_session_was_sent(pair.client.s, c), expected[i].was_sent);
        if (c->id == 2) {
            take_output(&pair.client, 1);
            assert_true(gr_session_was_sent(pair.client.s, c));
        }
        gr_session_free_call(pair.client.s, c);
    }
    assert_null(gr_session_take(pair.client.s));
}

/* ---- a peer that takes nothing ---- */

/* Output that does not move for as long as allowed is the end. */
static void stalled_output_ends_the_session(void **state)
{
    (void)state;
    pair_clock(&pair, 2000);
    fill_output(&pair.client, 100);
    assert_true(gr_session_due(pair.client.s) == 2000 + 3000);
    assert_rc(end_tick(&pair.client, 4999), GR_OK);
    assert_rc(end_tick(&pair.client, 5000), GR_ESENDTIME);
}

/* Every byte that leaves gives it the whole time again; more output in the queue does not. */
static void progress_is_what_leaves(void **state)
{
    (void)state;
    pair_clock(&pair, 2000);
    fill_output(&pair.client, 100);
    pair_clock(&pair, 4000);
    take_output(&pair.client, 1);
    assert_true(gr_session_due(pair.client.s) == 4000 + 3000);
    pair_clock(&pair, 6000);
    fill_output(&pair.client, 100);
    assert_true(gr_session_due(pair.client.s) == 4000 + 3000);
    assert_rc(end_tick(&pair.client, 7000), GR_ESENDTIME);
}

/* A write that takes nothing is no progress. */
static void taking_nothing_is_no_progress(void **state)
{
    (void)state;
    pair_clock(&pair, 2000);
    fill_output(&pair.client, 100);
    pair_clock(&pair, 4000);
    gr_session_consume(pair.client.s, 0);
    assert_true(gr_session_due(pair.client.s) == 2000 + 3000);
}

/* Time does not run while there is nothing to take. */
static void empty_output_does_not_stall(void **state)
{
    (void)state;
    pair_clock(&pair, 2000);
    assert_true(gr_session_due(pair.client.s) == GR_FOREVER);
    fill_output(&pair.client, 100);
    take_output(&pair.client, 100);
    assert_true(gr_session_due(pair.client.s) == GR_FOREVER);
    assert_rc(end_tick(&pair.client, 100000), GR_OK);
    fill_output(&pair.client, 100);
    assert_true(gr_session_due(pair.client.s) == 100000 + 3000);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(submitters_wait_from_the_limit_on),
        test_of(waiters_are_woken_in_order_at_half_the_limit),
        test_of(newcomer_does_not_overtake),
        test_of(submitter_without_a_tag_is_not_noted),
        test_of(trimmed_session_works_on),
        test_of(woken_waiter_may_fill_the_output_again),
        test_of(workers_wait_too),
        test_of(waiting_twice_is_refused),
        test_of(cancelled_waiter_is_not_woken),
        test_of(server_can_cancel_a_waiter),
        test_of(submitting_does_not_ask_again),
        test_of(frame_is_sent_from_its_first_byte_on),
        test_of(stalled_output_ends_the_session),
        test_of(progress_is_what_leaves),
        test_of(taking_nothing_is_no_progress),
        test_of(empty_output_does_not_stall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
