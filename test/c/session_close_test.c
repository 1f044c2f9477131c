/* SPDX-License-Identifier: Apache-2.0 */
/* Graceful close from either side, and every way in which a stream can end. */
#include <string.h>

#include "cmocka_support.h"
#include "forge_support.h"
#include "gr_frame.h"
#include "pair_support.h"

#define LINGER 2000u

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

static int close_end(test_end *e)
{
    return gr_session_close(e->s, LINGER, 0);
}

static int admit(test_end *e, uint64_t id)
{
    gr_submit who = submit_of(id);
    return gr_session_admit(e->s, &who, 10);
}

/* Queues small casts until submitters have to wait. */
static void fill_output(test_end *e)
{
    for (int i = 0; i < 7; i++)
        assert_rc(end_cast(e, 1, 10000), GR_OK);
}

/* The server is through, closes its socket, and so the client is through. */
static void expect_end_of_both(void)
{
    end_expect_only(&pair.server, GR_EV_END);
    assert_false(pair.client.ended);
    assert_rc(end_eof(&pair.client), GR_OK);
    end_expect_only(&pair.client, GR_EV_END);
    end_expect_none(&pair.client);
    end_expect_none(&pair.server);
}

/* With nothing under way, a goodbye from the client is answered and that is all. */
static void idle_client_closes(void **state)
{
    (void)state;
    assert_rc(close_end(&pair.client), GR_OK);
    pair_pump(&pair);
    end_expect_only(&pair.server, GR_EV_BYE);
    end_expect_only(&pair.client, GR_EV_BYE);
    expect_end_of_both();
}

/* The same from the server's side; it is always the server that closes the socket first. */
static void idle_server_closes(void **state)
{
    (void)state;
    assert_rc(close_end(&pair.server), GR_OK);
    pair_pump(&pair);
    end_expect_only(&pair.client, GR_EV_BYE);
    end_expect_only(&pair.server, GR_EV_BYE);
    expect_end_of_both();
}

/* Both may begin at once; their goodbyes cross on the way. */
static void both_close_at_once(void **state)
{
    (void)state;
    assert_rc(close_end(&pair.client), GR_OK);
    assert_rc(close_end(&pair.server), GR_OK);
    pair_pump(&pair);
    end_expect_only(&pair.client, GR_EV_BYE);
    end_expect_only(&pair.server, GR_EV_BYE);
    expect_end_of_both();
}

/* Calls that are open when it begins are finished, whoever began. */
static void open_calls_are_finished(test_end *closer)
{
    static const size_t asks[] = {10, 200000, 0};
    for (uint64_t id = 1; id <= 3; id++) {
        assert_rc(end_call(&pair.client, id, asks[id - 1]), GR_OK);
        if (id == 2)
            pair_pump(&pair); /* the third is still in the output when it begins */
    }
    assert_rc(close_end(closer), GR_OK);
    pair_pump(&pair);
    for (uint64_t id = 1; id <= 3; id++)
        end_expect_request(&pair.server, id, asks[id - 1]);
    end_expect_only(&pair.server, GR_EV_BYE);
    if (closer == &pair.server)
        end_expect_only(&pair.client, GR_EV_BYE);
    for (uint64_t id = 3; id; id--) {
        size_t answer = id == 1 ? 10000 : 100000;
        assert_false(pair.server.ended);
        assert_rc(end_reply(&pair.server, id, answer), GR_OK);
        pair_pump(&pair);
        end_expect_reply(&pair.client, id, answer);
    }
    if (closer == &pair.client)
        end_expect_only(&pair.client, GR_EV_BYE);
    expect_end_of_both();
}

/* A client that closes waits for its replies. */
static void closing_client_gets_its_replies(void **state)
{
    (void)state;
    open_calls_are_finished(&pair.client);
}

/* A server that closes finishes what it serves, and what was on its way to it. */
static void closing_server_finishes_what_it_serves(void **state)
{
    (void)state;
    open_calls_are_finished(&pair.server);
}

/* A server says goodbye as soon as it owes nothing new; a large reply may come behind that. */
static void large_reply_may_come_behind_the_goodbye(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 1), GR_OK);
    pair_pump(&pair);
    assert_rc(close_end(&pair.client), GR_OK);
    pair_pump(&pair);
    end_expect_request(&pair.server, 1, 1);
    end_expect_only(&pair.server, GR_EV_BYE);
    assert_rc(end_reply(&pair.server, 1, 1000000), GR_OK);
    pair_pump(&pair);
    end_expect_only(&pair.client, GR_EV_BYE);
    end_expect_reply(&pair.client, 1, 1000000);
    expect_end_of_both();
}

/* A client's goodbye comes behind all that it has submitted, on whatever lane. */
static void goodbye_of_a_client_waits_for_its_lanes(void **state)
{
    (void)state;
    static const size_t sizes[] = {1000000, 900000, 10, 300000};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        assert_rc(end_cast(&pair.client, i, sizes[i]), GR_OK);
        assert_rc(end_cast_as(&pair.client, GR_ORDERED, i, sizes[i]), GR_OK);
    }
    assert_rc(close_end(&pair.client), GR_OK);
    pair_pump(&pair);
    size_t casts = 0;
    while (casts < 2 * COUNT_OF(sizes)) {
        /* The ordered lane waits for what runs its messages. */
        if (!pair.server.count) {
            assert_false(pair.server.ended);
            pair_pump(&pair);
        }
        end_event ev = end_expect(&pair.server, GR_EV_CAST);
        if (ev.order == GR_ORDERED)
            gr_session_taken(pair.server.s, 1, ev.body.size);
        event_free(&ev);
        casts++;
    }
    pair_pump(&pair);
    end_expect_only(&pair.server, GR_EV_BYE);
    end_expect_only(&pair.client, GR_EV_BYE);
    expect_end_of_both();
}

/* If the last of it is given up before it has left, there is nothing left to wait for. */
static void goodbye_does_not_wait_for_what_is_given_up(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 100000), GR_OK);
    assert_rc(close_end(&pair.client), GR_OK);
    assert_int_equal(end_stats(&pair.client).frames_out, 1);
    assert_rc(gr_session_cancel(pair.client.s, 1), GR_OK);
    pair_pump(&pair);
    end_expect_only(&pair.server, GR_EV_BYE);
    end_expect_only(&pair.client, GR_EV_BYE);
    expect_end_of_both();
}

/* Requests that are held back are finished as well, once they can be delivered. */
static void held_requests_are_finished(void **state)
{
    (void)state;
    gr_session_hold(pair.server.s, GR_HOLD_ALL);
    assert_rc(end_call(&pair.client, 1, 100), GR_OK);
    assert_rc(end_call(&pair.client, 2, 100000), GR_OK);
    assert_rc(end_cast(&pair.client, 3, 10), GR_OK);
    assert_rc(close_end(&pair.client), GR_OK);
    pair_pump(&pair);
    end_expect_only(&pair.server, GR_EV_BYE);
    end_expect_none(&pair.server);
    gr_session_hold(pair.server.s, GR_HOLD_NONE);
    pair_pump(&pair);
    end_expect_request(&pair.server, 1, 100);
    end_expect_cast(&pair.server, GR_UNORDERED, 3, 10);
    end_expect_request(&pair.server, 2, 100000);
    assert_rc(end_reply(&pair.server, 1, 5), GR_OK);
    assert_rc(end_reply(&pair.server, 2, 5), GR_OK);
    pair_pump(&pair);
    end_expect_reply(&pair.client, 1, 5);
    end_expect_reply(&pair.client, 2, 5);
    end_expect_only(&pair.client, GR_EV_BYE);
    expect_end_of_both();
}

/* Nothing new is taken once either side has said goodbye; refusing changes nothing. */
static void nothing_new_is_submitted_while_closing(void **state)
{
    (void)state;
    test_end *const ends[] = {&pair.client, &pair.server};
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        assert_rc(end_call(&pair.client, 1, 1), GR_OK);
        pair_pump(&pair);
        assert_rc(close_end(ends[i]), GR_OK);
        pair_pump(&pair);
        assert_rc(end_call(&pair.client, 2, 1), GR_ECLOSING);
        assert_rc(end_cast(&pair.client, 2, 1), GR_ECLOSING);
        assert_rc(admit(&pair.client, 2), GR_ECLOSING);
        assert_int_equal(end_stats(&pair.client).calls, 1);
        assert_int_equal(end_stats(&pair.client).waiting, 0);
        assert_int_equal(gr_session_output(pair.client.s), 0);
        /* Only the client begins anything: a worker may still reply. */
        assert_rc(admit(&pair.server, 1), GR_OK);
        pair_close(&pair);
        setup(state);
    }
}

/* Submitters that wait when it begins are woken and told when they try. */
static void waiters_are_woken_to_be_refused(void **state)
{
    (void)state;
    fill_output(&pair.client);
    assert_rc(admit(&pair.client, 5), GR_EBUSY);
    assert_rc(close_end(&pair.client), GR_OK);
    pair_pump(&pair);
    end_expect_only(&pair.client, GR_EV_READY);
    assert_rc(admit(&pair.client, 5), GR_ECLOSING);
}

/* Only a whole goodbye is one: what is queued before it leaves before it. */
static void server_ends_only_when_its_output_has_left(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 1), GR_OK);
    pair_pump(&pair);
    assert_rc(close_end(&pair.client), GR_OK);
    link_send(&pair, &pair.client, &pair.up);
    link_deliver(&pair, &pair.up, &pair.server);
    assert_rc(end_reply(&pair.server, 1, 500), GR_OK);
    end_take(&pair.server);
    size_t left = gr_session_output(pair.server.s);
    assert_int_equal(left, 16 + 500 + 16);
    end_drain(&pair.server, &pair.down.bytes, left - 1);
    assert_false(pair.server.ended);
    end_drain(&pair.server, &pair.down.bytes, 1);
    assert_true(pair.server.ended);
}

/* A caller that gave up is waited for by nobody: the serving side hears of it. */
static void cancelled_call_holds_neither_side(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 1), GR_OK);
    pair_pump(&pair);
    assert_rc(gr_session_cancel(pair.client.s, 1), GR_OK);
    assert_rc(close_end(&pair.client), GR_OK);
    pair_pump(&pair);
    end_expect_request(&pair.server, 1, 1);
    end_expect_cancel(&pair.server, 1);
    end_expect_only(&pair.server, GR_EV_BYE);
    end_expect_only(&pair.client, GR_EV_BYE);
    expect_end_of_both();
}

/* What does not finish within the time given is cut; the callers are handed back. */
static void linger_ends_a_close_that_does_not_finish(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 1), GR_OK);
    pair_pump(&pair);
    assert_rc(close_end(&pair.client), GR_OK);
    assert_true(gr_session_due(pair.client.s) <= pair.now + LINGER);
    assert_rc(end_tick(&pair.client, pair.now + LINGER - 1), GR_OK);
    assert_rc(end_tick(&pair.client, pair.now + LINGER), GR_ECLOSETIME);
    gr_call *c = gr_session_take(pair.client.s);
    assert_non_null(c);
    assert_true(gr_session_was_sent(pair.client.s, c));
    gr_session_free_call(pair.client.s, c);
}

/* A second close says goodbye no second time and can only shorten the wait. */
static void second_close_only_shortens_the_wait(void **state)
{
    (void)state;
    assert_rc(close_end(&pair.client), GR_OK);
    assert_rc(gr_session_close(pair.client.s, 10 * LINGER, 0), GR_OK);
    assert_true(gr_session_due(pair.client.s) == pair.now + LINGER);
    assert_rc(gr_session_close(pair.client.s, LINGER / 2, 0), GR_OK);
    assert_true(gr_session_due(pair.client.s) == pair.now + LINGER / 2);
    assert_int_equal(gr_session_output(pair.client.s), GR_FRAME_HEAD);
    pair_pump(&pair);
    assert_rc(pair.server.rc, GR_OK);
}

/* A close without a limit of time waits as long as it takes. */
static void linger_can_be_for_ever(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 1), GR_OK);
    pair_pump(&pair);
    assert_rc(gr_session_close(pair.server.s, GR_FOREVER, 0), GR_OK);
    assert_rc(end_tick(&pair.server, UINT64_MAX - 1), GR_OK);
    assert_true(gr_session_due(pair.server.s) == GR_FOREVER);
}

/* What is asked to close only when idle refuses for each thing that may be under way. */
static void close_if_idle_refuses_while_anything_is_under_way(void **state)
{
    (void)state;
    test_bytes half = {0};
    forge_frame_head(&half, GR_FRAME_REPLY, 1, 0);
    test_bytes sent = {0};
    assert_rc(end_cast(&pair.client, 1, 100000), GR_OK); /* a large message that waits */
    assert_rc(gr_session_close(pair.client.s, LINGER, 1), GR_EBUSY);
    assert_int_equal(end_drain(&pair.client, &sent, SIZE_MAX), 100000 + 2 * GR_FRAME_HEAD + 4);
    fill_output(&pair.client); /* output */
    assert_rc(gr_session_close(pair.client.s, LINGER, 1), GR_EBUSY);
    assert_rc(admit(&pair.client, 2), GR_EBUSY);
    gr_session_consume(pair.client.s, gr_session_output(pair.client.s)); /* a waiter */
    assert_rc(gr_session_close(pair.client.s, LINGER, 1), GR_EBUSY);
    end_take(&pair.client);
    assert_rc(end_call(&pair.client, 1, 1), GR_OK);
    gr_session_consume(pair.client.s, gr_session_output(pair.client.s)); /* a call */
    assert_rc(gr_session_close(pair.client.s, LINGER, 1), GR_EBUSY);
    assert_rc(gr_session_cancel(pair.client.s, 1), GR_OK);
    assert_rc(gr_session_close(pair.client.s, LINGER, 1), GR_EBUSY); /* the word of that */
    gr_session_consume(pair.client.s, gr_session_output(pair.client.s));
    end_feed(&pair.client, half.data, half.size - 1); /* half a frame */
    assert_rc(gr_session_close(pair.client.s, LINGER, 1), GR_EBUSY);
    assert_int_equal(gr_session_output(pair.client.s), 0);
    assert_true(gr_session_due(pair.client.s) == GR_FOREVER);
    end_feed(&pair.client, half.data + half.size - 1, 1);
    assert_rc(gr_session_close(pair.client.s, LINGER, 1), GR_OK);
    assert_int_equal(gr_session_output(pair.client.s), GR_FRAME_HEAD);
    bytes_free(&half);
    bytes_free(&sent);
}

/* A request that is being served is under way for the server. */
static void server_that_serves_is_not_idle(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 1), GR_OK);
    pair_pump(&pair);
    assert_rc(gr_session_close(pair.server.s, LINGER, 1), GR_EBUSY);
    assert_rc(end_reply(&pair.server, 1, 1), GR_OK);
    pair_pump(&pair);
    assert_rc(gr_session_close(pair.server.s, LINGER, 1), GR_OK);
}

/* ---- the end of the stream ---- */

/* Without a goodbye it is an end of its own kind, also with nothing under way. */
static void stream_that_ends_without_goodbye_is_closed(void **state)
{
    (void)state;
    assert_rc(end_eof(&pair.client), GR_EEOF);
    assert_rc(end_eof(&pair.server), GR_EEOF);
}

/* Nor does a goodbye help when somebody still waits for a reply. */
static void stream_that_ends_before_the_replies_is_closed(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 1), GR_OK);
    pair_pump(&pair);
    assert_rc(close_end(&pair.server), GR_OK);
    pair_pump(&pair);
    assert_rc(end_eof(&pair.client), GR_EEOF);
    assert_rc(end_eof(&pair.server), GR_EEOF);
}

/* In the middle of a frame, anywhere in it, or between fragments, it is told apart: something was cut. */
static void stream_that_ends_in_a_frame_is_told_apart(void **state)
{
    (void)state;
    test_bytes small = {0}, large = {0};
    forge_frame(&small, GR_FRAME_REQUEST, 1, 20);
    forge_message(&large, GR_FRAME_REQUEST, 1, 70000);
    for (size_t cut = 1; cut < large.size;
         cut += cut < 100 || (cut > 65500 && cut < 65700) ? 1 : 997) {
        const test_bytes *b = cut < small.size ? &small : &large;
        end_feed(&pair.server, b->data, cut);
        assert_rc(end_eof(&pair.server), GR_EEOFFRAME);
        pair_close(&pair);
        setup(state);
    }
    bytes_free(&small);
    bytes_free(&large);
}

/* Also between two goodbyes: half a frame is half a frame. */
static void goodbye_does_not_excuse_half_a_frame(void **state)
{
    (void)state;
    assert_rc(close_end(&pair.client), GR_OK);
    end_feed(&pair.client, "\x07", 1);
    assert_rc(end_eof(&pair.client), GR_EEOFFRAME);
}

/* What has arrived before the end is delivered before it. */
static void what_has_arrived_is_delivered_first(void **state)
{
    (void)state;
    gr_iov v[2];
    size_t n;
    gr_event ev;
    test_bytes b = {0};
    forge_frame(&b, GR_FRAME_CAST, 0, 20);
    forge_frame(&b, GR_FRAME_CAST, 0, 30);
    assert_rc(gr_session_space(pair.server.s, v, &n), GR_OK);
    memcpy(v[0].data, b.data, b.size);
    gr_session_filled(pair.server.s, b.size);
    gr_session_eof(pair.server.s, GR_EEOF);
    for (size_t size = 20; size <= 30; size += 10) {
        assert_rc(gr_session_event(pair.server.s, &ev), GR_OK);
        assert_int_equal(ev.type, GR_EV_CAST);
        assert_int_equal(ev.size, size);
    }
    assert_rc(gr_session_event(pair.server.s, &ev), GR_EEOF);
    bytes_free(&b);
}

/* The end is told once. */
static void end_is_told_once(void **state)
{
    (void)state;
    assert_rc(close_end(&pair.client), GR_OK);
    pair_pump(&pair);
    end_eof(&pair.client);
    end_eof(&pair.client);
    end_eof(&pair.server);
    end_take(&pair.server);
    end_expect_only(&pair.client, GR_EV_BYE);
    end_expect_only(&pair.client, GR_EV_END);
    end_expect_only(&pair.server, GR_EV_BYE);
    end_expect_only(&pair.server, GR_EV_END);
    end_expect_none(&pair.client);
    end_expect_none(&pair.server);
    assert_rc(pair.client.rc, GR_OK);
    assert_rc(pair.server.rc, GR_OK);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(idle_client_closes),
        test_of(idle_server_closes),
        test_of(both_close_at_once),
        test_of(closing_client_gets_its_replies),
        test_of(closing_server_finishes_what_it_serves),
        test_of(large_reply_may_come_behind_the_goodbye),
        test_of(goodbye_of_a_client_waits_for_its_lanes),
        test_of(goodbye_does_not_wait_for_what_is_given_up),
        test_of(held_requests_are_finished),
        test_of(nothing_new_is_submitted_while_closing),
        test_of(waiters_are_woken_to_be_refused),
        test_of(server_ends_only_when_its_output_has_left),
        test_of(cancelled_call_holds_neither_side),
        test_of(linger_ends_a_close_that_does_not_finish),
        test_of(second_close_only_shortens_the_wait),
        test_of(linger_can_be_for_ever),
        test_of(close_if_idle_refuses_while_anything_is_under_way),
        test_of(server_that_serves_is_not_idle),
        test_of(stream_that_ends_without_goodbye_is_closed),
        test_of(stream_that_ends_before_the_replies_is_closed),
        test_of(stream_that_ends_in_a_frame_is_told_apart),
        test_of(goodbye_does_not_excuse_half_a_frame),
        test_of(what_has_arrived_is_delivered_first),
        test_of(end_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
