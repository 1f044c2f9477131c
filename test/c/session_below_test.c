/* SPDX-License-Identifier: Apache-2.0 */
/* What a layer below the session keeps of its output, such as TLS what it has sealed. */
#include "cmocka_support.h"
#include "forge_support.h"
#include "gr_frame.h"
#include "pair_support.h"

#define START 1000u
#define SEND 3000u
#define IDLE 50000u

static test_pair pair;

static int setup(void **state)
{
    (void)state;
    gr_session_config c = end_config(GR_CLIENT);
    gr_session_config s = end_config(GR_SERVER);
    c.send_timeout = s.send_timeout = SEND;
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

/* All output of the client goes into the layer below, where it becomes so many bytes. */
static void seal(size_t size)
{
    test_bytes sealed = {0};
    assert_rc(end_cast(&pair.client, 1, 1000), GR_OK);
    end_drain(&pair.client, &sealed, SIZE_MAX);
    gr_session_below(pair.client.s, size);
    bytes_free(&sealed);
}

static uint64_t due(void)
{
    return gr_session_due(pair.client.s);
}

/* A peer that takes nothing is noticed, although the session itself has nothing left to write. */
static void what_is_kept_below_stalls_too(void **state)
{
    (void)state;
    pair_clock(&pair, 2000);
    seal(1100);
    assert_true(due() == 2000 + SEND);
    assert_rc(end_tick(&pair.client, 2000 + SEND - 1), GR_OK);
    assert_rc(end_tick(&pair.client, 2000 + SEND), GR_ESENDTIME);
}

/* Each byte that leaves the layer below gives it the whole time again; the same size does not. */
static void progress_is_what_leaves_the_layer_below(void **state)
{
    (void)state;
    pair_clock(&pair, 2000);
    seal(1100);
    pair_clock(&pair, 3000);
    gr_session_below(pair.client.s, 1100);
    assert_true(due() == 2000 + SEND);
    gr_session_below(pair.client.s, 1099);
    assert_true(due() == 3000 + SEND);
}

/* What is queued meanwhile does not give the peer more time for what lies below. */
static void new_output_is_no_progress(void **state)
{
    (void)state;
    pair_clock(&pair, 2000);
    seal(1100);
    pair_clock(&pair, 4000);
    assert_rc(end_cast(&pair.client, 1, 10), GR_OK);
    assert_true(due() == 2000 + SEND);
}

/* When all has left, no time runs, and the next output has the whole of it. */
static void nothing_below_does_not_stall(void **state)
{
    (void)state;
    pair_clock(&pair, 2000);
    seal(1100);
    pair_clock(&pair, 3000);
    gr_session_below(pair.client.s, 0);
    assert_true(due() == 2000 + IDLE);
    pair_clock(&pair, 20000);
    seal(500);
    assert_true(due() == 20000 + SEND);
}

/* A connection that still has to write is not idle. */
static void what_is_kept_below_is_not_idle(void **state)
{
    (void)state;
    seal(1100);
    /* Once a second one byte leaves, so that it does not stall. */
    for (size_t left = 1100; left > 1000; left--) {
        gr_session_below(pair.client.s, left);
        assert_rc(end_tick(&pair.client, pair.now += 1000), GR_OK);
        end_expect_none(&pair.client);
    }
    assert_rc(gr_session_close(pair.client.s, 1000, 1), GR_EBUSY);
    gr_session_below(pair.client.s, 0);
    end_tick(&pair.client, pair.now += IDLE);
    end_expect_only(&pair.client, GR_EV_IDLE);
    assert_rc(gr_session_close(pair.client.s, 1000, 1), GR_OK);
}

/* The server closes the socket only when its goodbye is in it. */
static void server_ends_only_when_all_is_written(void **state)
{
    (void)state;
    test_bytes sealed = {0};
    assert_rc(gr_session_close(pair.client.s, 1000, 0), GR_OK);
    link_send(&pair, &pair.client, &pair.up);
    gr_session_below(pair.server.s, 40);
    link_deliver(&pair, &pair.up, &pair.server);
    end_expect_only(&pair.server, GR_EV_BYE);
    end_drain(&pair.server, &sealed, SIZE_MAX);
    for (size_t left = 40; left > 0; left--) {
        gr_session_below(pair.server.s, left);
        end_take(&pair.server);
        assert_false(pair.server.ended);
    }
    gr_session_below(pair.server.s, 0);
    end_take(&pair.server);
    end_expect_only(&pair.server, GR_EV_END);
    bytes_free(&sealed);
}

/* Whether there is room for submitters is not asked below. */
static void waiters_are_woken_by_the_output_alone(void **state)
{
    (void)state;
    test_bytes sealed = {0};
    gr_submit who = submit_of(7);
    assert_rc(end_cast(&pair.client, 1, 10000), GR_OK);
    assert_rc(gr_session_admit(pair.client.s, &who, 1), GR_EBUSY);
    gr_session_below(pair.client.s, 16000);
    end_drain(&pair.client, &sealed, SIZE_MAX);
    end_expect_only(&pair.client, GR_EV_READY);
    assert_rc(gr_session_admit(pair.client.s, &who, 1), GR_OK);
    bytes_free(&sealed);
}

/* ---- the end of the stream, as the layer below sees it ---- */

static int eof(test_end *e, int rc)
{
    gr_session_eof(e->s, rc);
    end_take(e);
    return e->rc;
}

/* The layer below knows better than the session what an end means. */
static void unexpected_end_has_the_code_from_below(void **state)
{
    (void)state;
    assert_rc(eof(&pair.client, GR_ETLS_TRUNCATED), GR_ETLS_TRUNCATED);
    assert_rc(eof(&pair.server, GR_ETLS_TRUNCATED), GR_ETLS_TRUNCATED);
}

/* In the middle of a frame a plain end is one in a frame; one that was cut below is that. */
static void end_in_a_frame_has_the_code_from_below(void **state)
{
    (void)state;
    end_feed(&pair.client, "\x07", 1);
    end_feed(&pair.server, "\x01", 1);
    assert_rc(eof(&pair.client, GR_ETLS_TRUNCATED), GR_ETLS_TRUNCATED);
    assert_rc(eof(&pair.server, GR_EEOF), GR_EEOFFRAME);
}

/* The same in the handshake, where the session may still be no more than its hello. */
static void end_in_the_handshake_has_the_code_from_below(void **state)
{
    (void)state;
    pair_close(&pair);
    pair_open(&pair, NULL, NULL);
    assert_rc(eof(&pair.client, GR_ETLS_TRUNCATED), GR_ETLS_TRUNCATED);
    assert_rc(eof(&pair.server, GR_EEOF), GR_EEOF);
}

/* After both goodbyes nothing can be cut off any more, whatever the layer below thinks. */
static void expected_end_is_one_whatever_is_below(void **state)
{
    (void)state;
    assert_rc(gr_session_close(pair.client.s, 1000, 0), GR_OK);
    pair_pump(&pair);
    assert_rc(eof(&pair.client, GR_ETLS_TRUNCATED), GR_OK);
    assert_true(pair.client.ended && pair.server.ended);
}

/* Who still waits for a reply is told what has happened below. */
static void callers_are_told_the_code_from_below(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 10), GR_OK);
    pair_pump(&pair);
    assert_rc(gr_session_close(pair.client.s, 1000, 0), GR_OK);
    pair_pump(&pair);
    assert_rc(eof(&pair.client, GR_ETLS_TRUNCATED), GR_ETLS_TRUNCATED);
    gr_call *c = gr_session_take(pair.client.s);
    assert_non_null(c);
    gr_session_free_call(pair.client.s, c);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(what_is_kept_below_stalls_too),
        test_of(progress_is_what_leaves_the_layer_below),
        test_of(new_output_is_no_progress),
        test_of(nothing_below_does_not_stall),
        test_of(what_is_kept_below_is_not_idle),
        test_of(server_ends_only_when_all_is_written),
        test_of(waiters_are_woken_by_the_output_alone),
        test_of(unexpected_end_has_the_code_from_below),
        test_of(end_in_a_frame_has_the_code_from_below),
        test_of(end_in_the_handshake_has_the_code_from_below),
        test_of(expected_end_is_one_whatever_is_below),
        test_of(callers_are_told_the_code_from_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
