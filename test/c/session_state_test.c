/* SPDX-License-Identifier: Apache-2.0 */
/* What is legal when: before a session is up, and after it has failed. */
#include <string.h>

#include "cmocka_support.h"
#include "forge_support.h"
#include "gr_frame.h"
#include "pair_support.h"

static test_pair pair;

static int teardown(void **state)
{
    (void)state;
    pair_close(&pair);
    return 0;
}

static void expect_all(test_end *e, int rc)
{
    gr_submit who = submit_of(1);
    assert_rc(gr_session_admit(e->s, &who, 1), rc);
    assert_rc(end_call(e, 1, 1), rc);
    assert_rc(end_cast(e, 1, 1), rc);
    assert_rc(end_reply(e, 1, 1), rc);
    assert_rc(gr_session_close(e->s, 1000, 0), rc);
    assert_rc(gr_session_close(e->s, 1000, 1), rc);
}

/* Not a byte of a message goes to a stranger. */
static void nothing_is_submitted_before_the_session_is_up(void **state)
{
    (void)state;
    pair_open(&pair, NULL, NULL);
    size_t hello = gr_session_output(pair.client.s);
    expect_all(&pair.client, GR_ESTATE);
    expect_all(&pair.server, GR_ESTATE);
    assert_int_equal(gr_session_output(pair.client.s), hello);
    assert_int_equal(gr_session_output(pair.server.s), 0);
    assert_int_equal(end_stats(&pair.client).calls + end_stats(&pair.client).waiting, 0);
    assert_rc(gr_session_cancel(pair.client.s, 1), GR_ENOENT);
    assert_null(gr_session_take(pair.client.s));
    pair_pump(&pair);
    assert_true(pair.client.up && pair.server.up);
}

/* A session that nobody has spoken to has no events, however often it is asked. */
static void fresh_session_has_no_events(void **state)
{
    (void)state;
    pair_open(&pair, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        end_take(&pair.client);
        end_take(&pair.server);
    }
    end_expect_none(&pair.client);
    end_expect_none(&pair.server);
    assert_rc(pair.client.rc, GR_OK);
}

/* The first fatal code stays; whatever is tried gets it, and no timer runs any more. */
static void fatal_code_is_final(void **state)
{
    (void)state;
    static const uint8_t junk[GR_FRAME_HEAD];
    pair_open_up(&pair, NULL, NULL);
    test_end *const ends[] = {&pair.client, &pair.server};
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        test_end *e = ends[i];
        gr_event ev;
        assert_rc(end_feed(e, junk, sizeof junk), GR_EPROTO);
        expect_all(e, GR_EPROTO);
        gr_session_eof(e->s, GR_EEOF);
        gr_session_clock(e->s, 1000000);
        assert_rc(gr_session_event(e->s, &ev), GR_EPROTO);
        assert_rc(gr_session_tick(e->s), GR_EPROTO);
        assert_true(gr_session_due(e->s) == GR_FOREVER);
        assert_false(gr_session_is_up(e->s));
        assert_int_equal(gr_session_output(e->s), 0);
    }
}

/* What has arrived before a session fails is not delivered after it. */
static void nothing_is_delivered_after_a_fatal_code(void **state)
{
    (void)state;
    gr_session_config c = end_config(GR_CLIENT);
    gr_event ev;
    gr_iov v[2];
    size_t n;
    c.send_timeout = 1000;
    pair_open_up(&pair, &c, NULL);
    assert_rc(end_call(&pair.client, 1, 1), GR_OK);
    test_bytes b = {0};
    forge_frame(&b, GR_FRAME_REPLY, 1, 5);
    assert_rc(gr_session_space(pair.client.s, v, &n), GR_OK);
    memcpy(v[0].data, b.data, b.size);
    gr_session_filled(pair.client.s, b.size);
    gr_session_clock(pair.client.s, 10000);
    assert_rc(gr_session_tick(pair.client.s), GR_ESENDTIME);
    assert_rc(gr_session_event(pair.client.s, &ev), GR_ESENDTIME);
    bytes_free(&b);
}

/* Checks the next one to be handed back. */
static void expect_taken(uint64_t id, int was_sent)
{
    gr_submit who = submit_of(id);
    gr_call *c = gr_session_take(pair.client.s);
    assert_non_null(c);
    assert_int_equal(c->id, id);
    assert_int_equal(c->caller, who.caller);
    assert_int_equal(c->tag_size, who.tag_size);
    assert_true(pattern_matches(c->tag, c->tag_size, id));
    assert_int_equal(gr_session_was_sent(pair.client.s, c), was_sent);
    gr_session_free_call(pair.client.s, c);
}

/* All that wait are handed back once, those for room first; each knows whether it may have run. */
static void all_that_wait_are_handed_back(void **state)
{
    (void)state;
    static const uint8_t junk[GR_FRAME_HEAD];
    pair_open_up(&pair, NULL, NULL);
    for (uint64_t id = 1; id <= 6; id++)
        assert_rc(end_call(&pair.client, id, 15000), GR_OK);
    for (uint64_t id = 7; id <= 8; id++) {
        gr_submit who = submit_of(id);
        assert_rc(gr_session_admit(pair.client.s, &who, 1), GR_EBUSY);
    }
    /* The first has left, and one byte of the second. */
    end_drain(&pair.client, &pair.up.bytes, GR_FRAME_HEAD + 15000 + 1);
    end_feed(&pair.client, junk, sizeof junk);
    assert_rc(pair.client.rc, GR_EPROTO);
    expect_taken(7, 0);
    expect_taken(8, 0);
    expect_taken(1, 1);
    expect_taken(2, 1);
    for (uint64_t id = 3; id <= 6; id++)
        expect_taken(id, 0);
    assert_null(gr_session_take(pair.client.s));
}

/* The same of large and ordered ones, and of those that wait for room on any lane. */
static void large_calls_are_handed_back_too(void **state)
{
    (void)state;
    static const uint8_t junk[GR_FRAME_HEAD];
    pair_open_up(&pair, NULL, NULL);
    /* More than may be under way at once, in the order in which they begin. */
    for (uint64_t id = 1; id <= 64; id++)
        assert_rc(end_call(&pair.client, id, 30000), GR_OK);
    for (uint64_t id = 65; id <= 66; id++) {
        gr_submit who = submit_of(id);
        gr_piece p = {(const uint8_t *)"x", 1, NULL};
        who.order = GR_BROADCAST;
        assert_rc(gr_session_call(pair.client.s, &who, &p, 1), GR_OK);
        assert_rc(end_cast_as(&pair.client, GR_ORDERED, id, 1000000), GR_OK);
    }
    for (uint64_t id = 67; id <= 70; id++) {
        gr_submit who = submit_of(id);
        who.order = id % 2 ? GR_ORDERED : GR_UNORDERED;
        assert_rc(gr_session_admit(pair.client.s, &who, 100000), GR_EBUSY);
    }
    /* The first ordered one goes with the first fragments; the second is behind a whole window. */
    end_drain(&pair.client, &pair.up.bytes, 3 * GR_SESSION_FRAME_MAX);
    end_feed(&pair.client, junk, sizeof junk);
    assert_rc(pair.client.rc, GR_EPROTO);
    expect_taken(68, 0);
    expect_taken(70, 0);
    expect_taken(67, 0);
    expect_taken(69, 0);
    expect_taken(1, 1);
    size_t sent = 0;
    for (uint64_t id = 2; id <= 66; id++) {
        gr_call *c = gr_session_take(pair.client.s);
        assert_non_null(c);
        assert_int_equal(c->id, id);
        int was_sent = gr_session_was_sent(pair.client.s, c);
        assert_true(id != 64 || !was_sent);
        assert_true(id != 65 || was_sent);
        assert_true(id != 66 || !was_sent);
        sent += was_sent != 0;
        gr_session_free_call(pair.client.s, c);
    }
    assert_true(sent >= 3 && sent <= 10);
    assert_null(gr_session_take(pair.client.s));
}

/* The serving side owes its workers an answer only while they wait for room. */
static void server_hands_back_only_waiters(void **state)
{
    (void)state;
    pair_open_up(&pair, NULL, NULL);
    for (uint64_t id = 1; id <= 7; id++)
        assert_rc(end_call(&pair.client, id, 1), GR_OK);
    pair_pump(&pair);
    for (uint64_t id = 1; id <= 5; id++)
        assert_rc(end_reply(&pair.server, id, 15000), GR_OK);
    gr_submit who = submit_of(6);
    assert_rc(gr_session_admit(pair.server.s, &who, 1), GR_EBUSY);
    assert_rc(end_eof(&pair.server), GR_EEOF);
    gr_call *c = gr_session_take(pair.server.s);
    assert_non_null(c);
    assert_int_equal(c->id, 6);
    gr_session_free_call(pair.server.s, c);
    assert_null(gr_session_take(pair.server.s));
}

/* Freed in the middle of everything, a session leaves nothing behind; and NULL may be freed. */
static void free_releases_all_that_is_under_way(void **state)
{
    (void)state;
    gr_session_free(NULL);
    gr_auth_free(NULL);
    pair_open_up(&pair, NULL, NULL);
    assert_rc(end_call(&pair.client, 1, 300000), GR_OK);
    assert_rc(end_call(&pair.client, 2, 300000), GR_OK);
    assert_rc(end_cast_as(&pair.client, GR_ORDERED, 1, 100000), GR_OK);
    for (int i = 0; i < 7; i++)
        assert_rc(end_cast(&pair.client, 1, 10000), GR_OK);
    gr_submit who = submit_of(5);
    assert_rc(gr_session_admit(pair.client.s, &who, 1), GR_EBUSY);
    gr_session_hold(pair.server.s, GR_HOLD_ALL);
    end_drain(&pair.client, &pair.up.bytes, 300000);
    end_feed(&pair.server, pair.up.bytes.data, pair.up.bytes.size);
    assert_true(end_stats(&pair.server).held > 0);
}

#define test_of(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(nothing_is_submitted_before_the_session_is_up),
        test_of(fresh_session_has_no_events),
        test_of(fatal_code_is_final),
        test_of(nothing_is_delivered_after_a_fatal_code),
        test_of(all_that_wait_are_handed_back),
        test_of(large_calls_are_handed_back_too),
        test_of(server_hands_back_only_waiters),
        test_of(free_releases_all_that_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
