/* SPDX-License-Identifier: Apache-2.0 */
/* Calls whose callers died without a word: dropped some time behind their deadline. */
#include "cmocka_support.h"
#include "gr_frame.h"
#include "pair_support.h"

#define START 1000u
#define GRACE 1000u    /* behind a deadline, for the cancel of a caller that lives */
#define INTERVAL 1000u /* between two searches */

static test_pair pair;

static int setup(void **state)
{
    (void)state;
    gr_session_config c = end_config(GR_CLIENT);
    gr_session_config s = end_config(GR_SERVER);
    c.output_limit = s.output_limit = 100000;
    pair_open_up(&pair, &c, &s);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pair_close(&pair);
    return 0;
}

static void call_until(uint64_t id, uint64_t deadline)
{
    gr_submit who = submit_of(id);
    who.deadline = deadline;
    assert_rc(gr_session_call(pair.client.s, &who, NULL, 0), GR_OK);
}

static int wait_until(test_end *e, uint64_t id, uint64_t deadline)
{
    gr_submit who = submit_of(id);
    who.deadline = deadline;
    return gr_session_admit(e->s, &who, 1);
}

/* It goes when deadline and grace are over, within one search; not before; and nobody is told. */
static void call_of_a_dead_caller_is_dropped(void **state)
{
    (void)state;
    uint64_t gone = START + 3000 + GRACE;
    call_until(1, START + 3000);
    pair_pump(&pair);
    pair_advance(&pair, gone - START);
    assert_int_equal(end_stats(&pair.client).calls, 1);
    pair_advance(&pair, INTERVAL);
    assert_int_equal(end_stats(&pair.client).calls, 0);
    end_expect_none(&pair.client);
    assert_rc(pair.client.rc, GR_OK);
}

/* Its reply is then a late one. */
static void reply_to_a_dropped_call_is_late(void **state)
{
    (void)state;
    call_until(1, START + 100);
    pair_pump(&pair);
    pair_advance(&pair, 100 + GRACE + INTERVAL);
    assert_rc(end_reply(&pair.server, 1, 10), GR_OK);
    pair_pump(&pair);
    end_expect_none(&pair.client);
    assert_int_equal(end_stats(&pair.client).late, 1);
}

/* A call without a deadline waits for ever, and one near the end of time does not wrap round. */
static void call_without_a_deadline_stays(void **state)
{
    (void)state;
    call_until(1, GR_FOREVER);
    call_until(2, GR_FOREVER - 1);
    call_until(3, START);
    pair_pump(&pair);
    for (int i = 0; i < 10; i++) {
        pair_clock(&pair, pair.now + 1000000);
        end_tick(&pair.client, pair.now);
    }
    assert_int_equal(end_stats(&pair.client).calls, 2);
}

/* Nothing to search, no timer. */
static void timer_runs_only_while_somebody_waits(void **state)
{
    (void)state;
    assert_true(gr_session_due(pair.client.s) == GR_FOREVER);
    call_until(1, GR_FOREVER);
    assert_true(gr_session_due(pair.client.s) == START + INTERVAL);
    pair_pump(&pair);
    assert_true(gr_session_due(pair.server.s) == GR_FOREVER);
    assert_rc(gr_session_cancel(pair.client.s, 1), GR_OK);
    assert_true(gr_session_due(pair.client.s) == GR_FOREVER);
}

/* Dead submitters that wait for room are dropped, too, on either side. */
static void waiters_of_dead_submitters_are_dropped(void **state)
{
    (void)state;
    call_until(1, GR_FOREVER);
    pair_pump(&pair);
    assert_rc(end_reply(&pair.server, 1, 200000), GR_OK);
    assert_rc(end_cast(&pair.client, 1, 200000), GR_OK);
    test_end *const ends[] = {&pair.client, &pair.server};
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        assert_rc(wait_until(ends[i], 11, START + 500), GR_EBUSY);
        assert_rc(wait_until(ends[i], 12, GR_FOREVER), GR_EBUSY);
        end_tick(ends[i], START + 500 + GRACE + INTERVAL);
        assert_int_equal(end_stats(ends[i]).waiting, 1);
        assert_rc(wait_until(ends[i], 12, GR_FOREVER), GR_EEXIST);
    }
}

/* One search looks at a bounded number, so many dead calls take several; then all are gone. */
static void many_dead_calls_go_in_several_searches(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 9000; id++)
        call_until(id, id % 3 ? START : GR_FOREVER);
    pair_pump(&pair);
    pair_clock(&pair, START + GRACE + INTERVAL);
    end_tick(&pair.client, pair.now);
    size_t left = end_stats(&pair.client).calls;
    assert_true(left < 9000 && left >= 9000 - 2000);
    end_tick(&pair.client, pair.now + INTERVAL - 1);
    assert_int_equal(end_stats(&pair.client).calls, left);
    pair_advance(&pair, 10 * INTERVAL);
    assert_int_equal(end_stats(&pair.client).calls, 3000);
}

/* Requests that are being served have no caller here; only a reply ends them. */
static void served_requests_are_not_searched(void **state)
{
    (void)state;
    call_until(1, START);
    pair_pump(&pair);
    pair_advance(&pair, 100 * INTERVAL);
    assert_int_equal(end_stats(&pair.client).calls, 0);
    assert_int_equal(end_stats(&pair.server).served, 1);
}

/* A close does not wait for dead callers once they are known to be. */
static void close_does_not_wait_for_the_dead(void **state)
{
    (void)state;
    call_until(1, START);
    pair_pump(&pair);
    assert_rc(gr_session_close(pair.client.s, 100000, 0), GR_OK);
    pair_advance(&pair, GRACE + 2 * INTERVAL);
    assert_rc(end_eof(&pair.client), GR_OK);
    end_expect_only(&pair.client, GR_EV_END);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(call_of_a_dead_caller_is_dropped),
        test_of(reply_to_a_dropped_call_is_late),
        test_of(call_without_a_deadline_stays),
        test_of(timer_runs_only_while_somebody_waits),
        test_of(waiters_of_dead_submitters_are_dropped),
        test_of(many_dead_calls_go_in_several_searches),
        test_of(served_requests_are_not_searched),
        test_of(close_does_not_wait_for_the_dead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
