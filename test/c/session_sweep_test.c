/* SPDX-License-Identifier: Apache-2.0 */
/* Calls whose callers died without a word: dropped, and the server is told. */
#include "cmocka_support.h"
#include "gr_frame.h"
#include "pair_support.h"

#define START 1000u
#define AGE 1000u      /* of a call before anybody asks whether its caller lives */
#define INTERVAL 1000u /* between two searches */
#define BUDGET 500u    /* calls that one search looks at */

static test_pair pair;
static int (*is_dead)(uint64_t id); /* NULL: nobody is */
static size_t asked;                /* how often it was asked */

/* The opposite of submit_of. */
static int alive(void *ctx, uintptr_t caller)
{
    assert_ptr_equal(ctx, &pair);
    asked++;
    return !is_dead || !is_dead((caller - 1) / 3);
}

static int nobody(uint64_t id)
{
    (void)id;
    return 0;
}

static int everybody(uint64_t id)
{
    (void)id;
    return 1;
}

static int the_odd(uint64_t id)
{
    return id % 2 != 0;
}

static int setup(void **state)
{
    (void)state;
    gr_session_config c = end_config(GR_CLIENT);
    gr_session_config s = end_config(GR_SERVER);
    c.output_limit = s.output_limit = 100000;
    c.alive = s.alive = alive;
    c.alive_ctx = s.alive_ctx = &pair;
    pair_open_up(&pair, &c, &s);
    is_dead = nobody;
    asked = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pair_close(&pair);
    return 0;
}

/* A call that arrives, whose request is taken. */
static void call(uint64_t id)
{
    assert_rc(end_call(&pair.client, id, 0), GR_OK);
    pair_pump(&pair);
    end_expect_request(&pair.server, id, 0);
}

static int wait_for_room(test_end *e, uint64_t id)
{
    gr_submit who = submit_of(id);
    return gr_session_admit(e->s, &who, 1);
}

/* Small messages until submitters have to wait. */
static void fill_output(test_end *e)
{
    for (int i = 0; i < 11; i++)
        assert_rc(e == &pair.client ? end_cast(e, 1, 10000) : end_reply(e, (uint64_t)i + 1, 10000),
                  GR_OK);
}

/* It goes at the first search after it is old enough; the server is told; nobody else is. */
static void call_of_a_dead_caller_is_dropped(void **state)
{
    (void)state;
    call(1);
    is_dead = everybody;
    pair_advance(&pair, AGE - 1);
    assert_int_equal(end_stats(&pair.client).calls, 1);
    pair_advance(&pair, INTERVAL);
    assert_int_equal(end_stats(&pair.client).calls, 0);
    assert_int_equal(end_stats(&pair.client).cancels_out, 1);
    end_expect_none(&pair.client);
    end_expect_cancel(&pair.server, 1);
    assert_int_equal(end_stats(&pair.server).served, 0);
    assert_rc(end_reply(&pair.server, 1, 10), GR_ENOENT);
    assert_rc(pair.client.rc, GR_OK);
}

/* Nobody asks about a call that is young: most are answered soon. */
static void young_call_is_not_asked_about(void **state)
{
    (void)state;
    uint64_t id = 1;
    is_dead = everybody;
    call(id);
    for (int i = 0; i < 50; i++) {
        pair_advance(&pair, AGE / 2);
        assert_rc(end_reply(&pair.server, id, 0), GR_OK);
        call(++id);
        end_expect_reply(&pair.client, id - 1, 0);
    }
    assert_int_equal(asked, 0);
}

/* A reply that was on its way meanwhile is a late one. */
static void reply_to_a_dropped_call_is_late(void **state)
{
    (void)state;
    call(1);
    is_dead = everybody;
    assert_rc(end_reply(&pair.server, 1, 10), GR_OK);
    end_drain(&pair.server, &pair.down.bytes, SIZE_MAX);
    pair_advance(&pair, AGE + INTERVAL);
    end_expect_none(&pair.client);
    assert_int_equal(end_stats(&pair.client).late, 1);
}

/* A call of a caller that lives waits for ever, whatever its deadline: ending it is the caller's. */
static void call_of_the_living_stays(void **state)
{
    (void)state;
    static const uint64_t deadlines[] = {GR_FOREVER, GR_FOREVER - 1, START, START + 5000};
    for (uint64_t i = 0; i < COUNT_OF(deadlines); i++) {
        gr_submit who = submit_of(i + 1);
        who.deadline = deadlines[i];
        assert_rc(gr_session_call(pair.client.s, &who, NULL, 0), GR_OK);
    }
    pair_pump(&pair);
    for (int i = 0; i < 10; i++) {
        pair_clock(&pair, pair.now + 1000000);
        end_tick(&pair.client, pair.now);
    }
    assert_int_equal(end_stats(&pair.client).calls, COUNT_OF(deadlines));
    assert_int_equal(asked, 10 * COUNT_OF(deadlines));
}

/* Where nobody can be asked, all live. */
static void without_an_answer_all_live(void **state)
{
    (void)state;
    pair_close(&pair);
    pair_open_up(&pair, NULL, NULL);
    call(1);
    pair_advance(&pair, 100 * INTERVAL);
    assert_int_equal(end_stats(&pair.client).calls, 1);
}

/* Nothing to search, no timer. */
static void timer_runs_only_while_somebody_waits(void **state)
{
    (void)state;
    assert_true(gr_session_due(pair.client.s) == GR_FOREVER);
    call(1);
    assert_true(gr_session_due(pair.client.s) == START + INTERVAL);
    assert_true(gr_session_due(pair.server.s) == GR_FOREVER);
    assert_rc(gr_session_cancel(pair.client.s, 1), GR_OK);
    assert_true(gr_session_due(pair.client.s) == GR_FOREVER);
}

/* Dead submitters that wait for room are dropped, too, on either side; the peer never knew of them. */
static void waiters_of_dead_submitters_are_dropped(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 11; id++)
        call(id);
    fill_output(&pair.server);
    fill_output(&pair.client);
    test_end *const ends[] = {&pair.client, &pair.server};
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        is_dead = nobody;
        assert_rc(wait_for_room(ends[i], 21), GR_EBUSY);
        assert_rc(wait_for_room(ends[i], 22), GR_EBUSY);
        is_dead = the_odd;
        /* Of the calls that wait for replies, only those of the living are looked at here. */
        for (uint64_t id = 1; i == 0 && id <= 11; id++)
            assert_rc(gr_session_cancel(pair.client.s, id), GR_OK);
        uint64_t told = end_stats(ends[i]).cancels_out;
        end_tick(ends[i], START + AGE + INTERVAL);
        assert_int_equal(end_stats(ends[i]).waiting, 1);
        assert_int_equal(end_stats(ends[i]).cancels_out, told);
        assert_rc(wait_for_room(ends[i], 22), GR_EEXIST);
        assert_rc(wait_for_room(ends[i], 21), GR_EBUSY);
    }
}

/* A large request that has not begun to leave is not sent; one that has is given up in the middle. */
static void large_request_of_a_dead_caller_is_not_sent(void **state)
{
    (void)state;
    static const size_t part[] = {0, 1, 100000, GR_SESSION_FRAME_MAX};
    for (size_t i = 0; i < COUNT_OF(part); i++) {
        assert_rc(end_call(&pair.client, 1, 500000), GR_OK);
        end_drain(&pair.client, &pair.up.bytes, part[i]);
        is_dead = everybody;
        pair_clock(&pair, pair.now + AGE + INTERVAL);
        end_tick(&pair.client, pair.now);
        gr_session_stats st = end_stats(&pair.client);
        assert_int_equal(st.calls + st.cancels_out, 0);
        assert_int_equal(st.aborted, part[i] != 0);
        pair_pump(&pair);
        assert_true(end_stats(&pair.client).bytes_out < 400000);
        assert_int_equal(end_stats(&pair.server).aborted, part[i] != 0);
        assert_rc(pair.server.rc, GR_OK);
        end_expect_none(&pair.server);
        /* Its slot can be used again. */
        is_dead = nobody;
        assert_rc(end_call(&pair.client, 2, 1000000), GR_OK);
        pair_pump(&pair);
        end_expect_request(&pair.server, 2, 1000000);
        pair_close(&pair);
        setup(state);
    }
}

/* One search looks at a bounded number, so many dead calls take several; then all are gone. */
static void many_dead_calls_go_in_several_searches(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 5 * BUDGET; id++)
        call(id);
    is_dead = the_odd;
    for (size_t i = 1; i <= 5; i++) {
        pair_clock(&pair, START + AGE + i * INTERVAL);
        end_tick(&pair.client, pair.now);
        assert_int_equal(asked, i * BUDGET);
        assert_int_equal(end_stats(&pair.client).calls, (10 - i) * BUDGET / 2);
        end_tick(&pair.client, pair.now + INTERVAL - 1);
        assert_int_equal(asked, i * BUDGET);
    }
    pair_pump(&pair);
    for (uint64_t id = 1; id <= 5 * BUDGET; id += 2)
        end_expect_cancel(&pair.server, id);
    end_expect_none(&pair.server);
}

/* Requests that are being served have no caller here; only a reply or a cancel ends them. */
static void served_requests_are_not_searched(void **state)
{
    (void)state;
    call(1);
    assert_rc(gr_session_cancel(pair.client.s, 1), GR_OK);
    bytes_free(&pair.up.bytes);
    end_drain(&pair.client, &pair.up.bytes, SIZE_MAX);
    bytes_free(&pair.up.bytes);
    is_dead = everybody;
    pair_advance(&pair, 100 * INTERVAL);
    assert_int_equal(asked, 0);
    assert_int_equal(end_stats(&pair.client).calls, 0);
    assert_int_equal(end_stats(&pair.server).served, 1);
}

/* A close does not wait for dead callers once they are known to be. */
static void close_does_not_wait_for_the_dead(void **state)
{
    (void)state;
    call(1);
    is_dead = everybody;
    assert_rc(gr_session_close(pair.client.s, 100000, 0), GR_OK);
    pair_advance(&pair, AGE + INTERVAL);
    end_expect_only(&pair.server, GR_EV_BYE);
    end_expect_cancel(&pair.server, 1);
    end_expect_only(&pair.server, GR_EV_END);
    assert_rc(end_eof(&pair.client), GR_OK);
    end_expect_only(&pair.client, GR_EV_BYE);
    end_expect_only(&pair.client, GR_EV_END);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(call_of_a_dead_caller_is_dropped),
        test_of(young_call_is_not_asked_about),
        test_of(reply_to_a_dropped_call_is_late),
        test_of(call_of_the_living_stays),
        test_of(without_an_answer_all_live),
        test_of(timer_runs_only_while_somebody_waits),
        test_of(waiters_of_dead_submitters_are_dropped),
        test_of(large_request_of_a_dead_caller_is_not_sent),
        test_of(many_dead_calls_go_in_several_searches),
        test_of(served_requests_are_not_searched),
        test_of(close_does_not_wait_for_the_dead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
