/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One scenario with all that a session does, run with the first allocation failing, then with the
 * second, and so on until it passes: no crash, no leak, no caller without an answer or with two.
 */
#include <string.h>

#include "cmocka_support.h"
#include "forge_support.h"
#include "gr_frame.h"
#include "pair_support.h"

#define CALLS 40u

/* Answers of any kind that each caller has had. */
static unsigned answers[CALLS + 1];
static test_pair pair;
static int told; /* whether anybody has got GR_ENOMEM */

/* Ends the scenario, which is a function that returns nothing, when memory has run out. */
#define OR_RETURN(rc, expected)   \
    do {                          \
        int rc_ = (rc);           \
        if (rc_ == GR_ENOMEM) {   \
            told = 1;             \
            return;               \
        }                         \
        assert_rc(rc_, expected); \
    } while (0)

static int dead(void)
{
    return pair.client.rc != GR_OK || pair.server.rc != GR_OK;
}

#define PUMP()            \
    do {                  \
        pair_pump(&pair); \
        if (dead())       \
            return;       \
    } while (0)

/* A caller is answered by an error of the submission, or later; never by both. */
static int call(uint64_t id, size_t size)
{
    int rc = end_call(&pair.client, id, size);
    if (rc != GR_OK)
        answers[id]++;
    return rc;
}

static int wait_for_room(test_end *e, uint64_t id)
{
    gr_submit who = submit_of(id);
    int rc = gr_session_admit(e->s, &who, 1);
    if (e == &pair.client && rc != GR_EBUSY)
        answers[id]++;
    return rc;
}

static void on_event(void *ctx, test_end *e, gr_event *ev)
{
    (void)ctx;
    if (e == &pair.client && ev->call)
        answers[ev->call->id]++;
}

static void calls_of_every_size(void)
{
    static const size_t sizes[] = {0, 100, 5000, 20000, 150000, 7, 7, 7, 7, 7, 7, 7};
    for (uint64_t id = 1; id <= COUNT_OF(sizes); id++) {
        OR_RETURN(call(id, sizes[id - 1]), GR_OK);
        if (id % 2)
            PUMP();
    }
    OR_RETURN(end_cast(&pair.client, 1, 30000), GR_OK);
    PUMP();
    OR_RETURN(end_reply(&pair.server, 1, 300), GR_OK);
    OR_RETURN(end_reply(&pair.server, 2, 2000000), GR_ETOOBIG);
    for (uint64_t id = 3; id <= COUNT_OF(sizes); id++)
        OR_RETURN(end_reply(&pair.server, id, sizes[COUNT_OF(sizes) - id]), GR_OK);
    PUMP();
    assert_int_equal(end_stats(&pair.client).calls, 0);
}

static void waiters_on_both_sides(void)
{
    OR_RETURN(end_cast(&pair.client, 1, 100000), GR_OK);
    for (uint64_t id = 20; id < 30; id++)
        OR_RETURN(wait_for_room(&pair.client, id), GR_EBUSY);
    PUMP();
    assert_int_equal(end_stats(&pair.client).waiting, 0);
    OR_RETURN(call(30, 1), GR_OK);
    OR_RETURN(call(31, 1), GR_OK);
    PUMP();
    OR_RETURN(end_reply(&pair.server, 30, 100000), GR_OK);
    OR_RETURN(wait_for_room(&pair.server, 31), GR_EBUSY);
    PUMP();
    OR_RETURN(end_reply(&pair.server, 31, 1), GR_OK);
    PUMP();
}

/* The client pings, gives its memory back, and closes with a call in flight. */
static void silence_and_goodbye(void)
{
    pair_advance(&pair, 1000);
    if (dead())
        return;
    OR_RETURN(call(35, 1), GR_OK);
    PUMP();
    OR_RETURN(gr_session_close(pair.client.s, 1000, 0), GR_OK);
    PUMP();
    OR_RETURN(end_reply(&pair.server, 35, 1), GR_OK);
    PUMP();
    end_eof(&pair.client);
    if (dead())
        return;
    assert_true(pair.server.ended && pair.client.ended);
}

static int open_both(void)
{
    gr_session_config c = end_config(GR_CLIENT);
    gr_session_config s = end_config(GR_SERVER);
    c.keepalive_interval = 300;
    c.output_limit = s.output_limit = 60000;
    int rc = end_open(&pair.client, &pair.mem, &c);
    if (rc == GR_OK)
        rc = end_open(&pair.server, &pair.mem, &s);
    pair.now = c.now;
    pair.client.hook = pair.server.hook = on_event;
    return rc;
}

static void scenario(void)
{
    OR_RETURN(open_both(), GR_OK);
    PUMP();
    assert_true(pair.client.up && pair.server.up);
    calls_of_every_size();
    if (!pair.mem.failed)
        waiters_on_both_sides();
    if (!pair.mem.failed)
        silence_and_goodbye();
}

/* Everything that still waits is handed back, so that every caller has had one answer. */
static void take_the_rest(void)
{
    gr_call *c;
    while (pair.client.s && (c = gr_session_take(pair.client.s)) != NULL) {
        answers[c->id]++;
        gr_session_free_call(pair.client.s, c);
    }
}

/* The side that has memory may find the other dead. */
static void check_code(int rc)
{
    assert_true(rc == GR_OK || rc == GR_ENOMEM || rc == GR_EKEEPALIVE);
}

/* Runs it once. Returns whether an allocation has failed. */
static int run(size_t fail_at, int fail_on)
{
    memset(answers, 0, sizeof answers);
    told = 0;
    memset(&pair, 0, sizeof pair);
    mem_init(&pair.mem);
    pair.mem.fail_at = fail_at;
    pair.mem.fail_on = fail_on;
    scenario();
    told |= pair.client.rc == GR_ENOMEM || pair.server.rc == GR_ENOMEM;
    assert_int_equal(told, pair.mem.failed);
    check_code(pair.client.rc);
    check_code(pair.server.rc);
    take_the_rest();
    for (size_t id = 0; id <= CALLS; id++)
        assert_true(answers[id] <= 1);
    int failed = pair.mem.failed;
    if (!failed)
        assert_int_equal(answers[1] + answers[12] + answers[29] + answers[31] + answers[35], 5);
    pair_close(&pair);
    return failed;
}

/* One allocation fails, and then there is memory again. */
static void any_failed_allocation_ends_one_session_cleanly(void **state)
{
    (void)state;
    size_t i = 1;
    while (run(i, 0))
        i++;
    assert_true(i > 50);
}

/* Memory is gone and stays gone: also what is done about it must work. */
static void memory_that_stays_exhausted_ends_it_cleanly(void **state)
{
    (void)state;
    size_t i = 1;
    while (run(i, 1))
        i++;
    assert_true(i > 50);
}

/*
 * A call that fails for want of memory in the middle of its message is not also handed back: its
 * caller knows already. What was submitted before it is.
 */
static void failed_call_is_not_handed_back_too(void **state)
{
    (void)state;
    for (size_t i = 1; i <= 3; i++) {
        pair_open_up(&pair, NULL, NULL);
        assert_rc(end_call(&pair.client, 1, 1), GR_OK);
        pair_pump(&pair);
        gr_session_trim(pair.client.s); /* so that the next call needs memory */
        pair.mem.fail_at = pair.mem.tries + i;
        assert_rc(end_call(&pair.client, 2, 50000), GR_ENOMEM);
        assert_true(pair.mem.failed);
        gr_call *c = gr_session_take(pair.client.s);
        assert_non_null(c);
        assert_int_equal(c->id, 1);
        gr_session_free_call(pair.client.s, c);
        assert_null(gr_session_take(pair.client.s));
        pair_close(&pair);
    }
}

static int do_call(void)
{
    return end_call(&pair.client, 2, 1);
}

static int do_cast(void)
{
    return end_cast(&pair.client, 2, 1);
}

static int do_reply(void)
{
    return end_reply(&pair.server, 1, 1);
}

static int do_reply_too_big(void)
{
    return end_reply(&pair.server, 1, 2000000);
}

static int do_close(void)
{
    return gr_session_close(pair.server.s, 1000, 0);
}

static int do_ping(void)
{
    return end_tick(&pair.client, pair.now + 1000);
}

static int do_pong(void)
{
    test_bytes b = {0};
    forge_frame_head(&b, GR_FRAME_PING, 0, 0);
    end_feed(&pair.server, b.data, b.size);
    bytes_free(&b);
    return pair.server.rc;
}

/* What a server's goodbye makes a client say, and the other way round. */
static int do_answer_bye(int to_server)
{
    test_bytes b = {0};
    test_end *e = to_server ? &pair.server : &pair.client;
    forge_frame_head(&b, GR_FRAME_BYE, 0, 0);
    if (to_server)
        assert_rc(end_reply(e, 1, 1), GR_OK);
    gr_session_consume(e->s, gr_session_output(e->s));
    gr_session_trim(e->s);
    /* Not the buffer to read into, but the frame to answer with. */
    pair.mem.fail_at = pair.mem.tries + 2;
    end_feed(e, b.data, b.size);
    bytes_free(&b);
    return e->rc;
}

static int do_answer_bye_of_client(void)
{
    return do_answer_bye(1);
}

static int do_answer_bye_of_server(void)
{
    return do_answer_bye(0);
}

/* Each thing that can need memory says so when there is none after a time of quiet. */
static void every_operation_reports_that_memory_is_out(void **state)
{
    (void)state;
    static int (*const operations[])(void) = {do_call,
                                              do_cast,
                                              do_reply,
                                              do_reply_too_big,
                                              do_close,
                                              do_ping,
                                              do_pong,
                                              do_answer_bye_of_client,
                                              do_answer_bye_of_server};
    for (size_t i = 0; i < COUNT_OF(operations); i++) {
        gr_session_config c = end_config(GR_CLIENT);
        c.keepalive_interval = 1000;
        pair_open_up(&pair, &c, NULL);
        assert_rc(end_call(&pair.client, 1, 1), GR_OK);
        pair_pump(&pair);
        gr_session_trim(pair.client.s);
        gr_session_trim(pair.server.s);
        pair.mem.fail_at = pair.mem.tries + 1;
        pair.mem.fail_on = 1;
        if (operations[i] == do_answer_bye_of_client)
            pair.mem.fail_at = 0;
        assert_rc(operations[i](), GR_ENOMEM);
        pair_close(&pair);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_reports_that_memory_is_out),
        cmocka_unit_test(any_failed_allocation_ends_one_session_cleanly),
        cmocka_unit_test(memory_that_stays_exhausted_ends_it_cleanly),
        cmocka_unit_test(failed_call_is_not_handed_back_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
