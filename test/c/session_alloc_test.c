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

#define CALLS 60u

/* Answers of any kind that each caller has had. */
static unsigned answers[CALLS + 1];
static test_pair pair;
static int told;     /* whether anybody has got GR_ENOMEM */
static int compress; /* 0: nothing; 1: each message for itself; 2: in a context */

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

/* Who gives up has his answer. */
static void cancel(uint64_t id)
{
    if (gr_session_cancel(pair.client.s, id) == GR_OK)
        answers[id]++;
}

static void on_event(void *ctx, test_end *e, gr_event *ev)
{
    (void)ctx;
    if (e == &pair.client && ev->call)
        answers[ev->call->id]++;
    if (ev->type == GR_EV_CAST && ev->order != GR_UNORDERED)
        gr_session_taken(e->s, 1, ev->size);
}

/* Small messages until submitters have to wait; with a compressor they need another pattern. */
static int fill_output(test_end *e, uint64_t reply)
{
    int rc = GR_OK;
    while (rc == GR_OK && end_stats(e).output < 60000)
        rc = e == &pair.client ? end_cast(e, 1, 15000) : end_reply(e, reply++, 15000);
    return rc;
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

/* Large and ordered messages side by side; one of each is given up when a part of it has left. */
static void large_and_ordered(void)
{
    static const size_t sizes[] = {300000, 20000, 100000, 250000};
    for (uint64_t id = 40; id < 44; id++) {
        OR_RETURN(call(id, sizes[id - 40]), GR_OK);
        OR_RETURN(end_cast_as(&pair.client, GR_ORDERED, id, sizes[43 - id]), GR_OK);
    }
    OR_RETURN(end_cast_as(&pair.client, GR_BROADCAST, 1, 2000), GR_OK);
    /* What leaves now is lost in neither case: it comes before the rest. */
    end_drain(&pair.client, &pair.up.bytes, 150000);
    if (dead())
        return;
    cancel(40);
    cancel(43);
    PUMP();
    OR_RETURN(end_reply(&pair.server, 41, 200000), GR_OK);
    OR_RETURN(end_reply(&pair.server, 42, 300000), GR_OK);
    end_drain(&pair.server, &pair.down.bytes, 70000);
    if (dead())
        return;
    cancel(42);
    PUMP();
}

/* Requests of all kinds are held back, and one is given up meanwhile. */
static void held_requests(void)
{
    static const size_t sizes[] = {10, 5000, 20000, 7};
    gr_session_hold(pair.server.s, GR_HOLD_ALL);
    for (uint64_t id = 45; id < 49; id++) {
        OR_RETURN(call(id, sizes[id - 45]), GR_OK);
        OR_RETURN(end_cast_as(&pair.client, GR_ORDERED, id, sizes[id - 45]), GR_OK);
    }
    PUMP();
    cancel(46);
    cancel(47);
    PUMP();
    gr_session_hold(pair.server.s, GR_HOLD_NONE);
    PUMP();
    OR_RETURN(end_reply(&pair.server, 45, 1), GR_OK);
    OR_RETURN(end_reply(&pair.server, 46, 1), GR_ENOENT);
    OR_RETURN(end_reply(&pair.server, 48, 1), GR_OK);
    PUMP();
    assert_int_equal(end_stats(&pair.client).calls, 0);
}

static void waiters_on_both_sides(void)
{
    OR_RETURN(fill_output(&pair.client, 0), GR_OK);
    for (uint64_t id = 20; id < 30; id++)
        OR_RETURN(wait_for_room(&pair.client, id), GR_EBUSY);
    PUMP();
    assert_int_equal(end_stats(&pair.client).waiting, 0);
    for (uint64_t id = 50; id < 60; id++)
        OR_RETURN(call(id, 1), GR_OK);
    PUMP();
    OR_RETURN(fill_output(&pair.server, 50), GR_OK);
    OR_RETURN(wait_for_room(&pair.server, 59), GR_EBUSY);
    PUMP();
    OR_RETURN(end_reply(&pair.server, 59, 1), GR_OK);
    PUMP();
    for (uint64_t id = 50; id < 59; id++)
        cancel(id);
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
    if (compress)
        c.compress = s.compress = 1;
    c.compress_context = s.compress_context = compress == 2;
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
        large_and_ordered();
    if (!pair.mem.failed)
        held_requests();
    if (!pair.mem.failed && !compress)
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
        assert_int_equal(answers[1] + answers[12] + answers[35] + answers[41] + answers[48], 5);
    if (!failed && !compress)
        assert_int_equal(answers[29] + answers[59], 2);
    pair_close(&pair);
    return failed;
}

/* One allocation fails, and then there is memory again. */
static void any_failed_allocation_ends_one_session_cleanly(void **state)
{
    (void)state;
    for (compress = 0; compress < 3; compress++) {
        size_t i = 1;
        while (run(i, 0))
            i++;
        assert_true(i > 100);
    }
}

/* Memory is gone and stays gone: also what is done about it must work. */
static void memory_that_stays_exhausted_ends_it_cleanly(void **state)
{
    (void)state;
    for (compress = 0; compress < 3; compress++) {
        size_t i = 1;
        while (run(i, 1))
            i++;
        assert_true(i > 100);
    }
}

/* Runs out of memory at the i-th allocation of a call of that size. Returns whether there was one. */
static int fail_call(size_t i, size_t size)
{
    gr_session_config c = end_config(GR_CLIENT);
    c.compress = compress != 0;
    pair_open_up(&pair, &c, NULL);
    assert_rc(end_call(&pair.client, 1, 1), GR_OK);
    pair_pump(&pair);
    gr_session_trim(pair.client.s); /* so that the next call needs memory */
    pair.mem.fail_at = pair.mem.tries + i;
    int rc = end_call(&pair.client, 2, size);
    int failed = pair.mem.failed;
    assert_rc(rc, failed ? GR_ENOMEM : GR_OK);
    gr_call *call = gr_session_take(pair.client.s);
    assert_non_null(call);
    assert_int_equal(call->id, 1);
    gr_session_free_call(pair.client.s, call);
    call = gr_session_take(pair.client.s);
    assert_int_equal(call != NULL, !failed);
    if (call)
        gr_session_free_call(pair.client.s, call);
    pair_close(&pair);
    return failed;
}

/*
 * A call that fails for want of memory in the middle of its message is not also handed back: its
 * caller knows already. What was submitted before it is.
 */
static void failed_call_is_not_handed_back_too(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 100, 10000, 50000};
    for (compress = 0; compress < 2; compress++)
        for (size_t k = 0; k < COUNT_OF(sizes); k++) {
            size_t i = 1;
            while (fail_call(i, sizes[k]))
                i++;
            assert_true(i >= (compress && sizes[k] >= 10000 ? 5 : 3));
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

static int do_large_cast(void)
{
    return end_cast(&pair.client, 2, 50000);
}

static int do_ordered_cast(void)
{
    return end_cast_as(&pair.client, GR_ORDERED, 2, 1);
}

static int do_large_reply(void)
{
    return end_reply(&pair.server, 1, 50000);
}

/* Whoever gives up is never told that there is no memory to tell the server. */
static int do_cancel(void)
{
    assert_rc(gr_session_cancel(pair.client.s, 1), GR_OK);
    end_take(&pair.client);
    return pair.client.rc;
}

/* What a server is fed needs memory to be read into; that is there. */
static int feed_server(const test_bytes *b)
{
    gr_iov v[2];
    size_t n;
    size_t fail_at = pair.mem.fail_at;
    pair.mem.fail_at = 0;
    assert_rc(gr_session_space(pair.server.s, v, &n), GR_OK);
    pair.mem.fail_at = fail_at;
    pair.mem.tries = fail_at - 1;
    end_feed(&pair.server, b->data, b->size);
    return pair.server.rc;
}

static int do_hold(void)
{
    test_bytes b = {0};
    gr_session_hold(pair.server.s, GR_HOLD_ALL);
    forge_frame(&b, GR_FRAME_CAST, 0, 10);
    int rc = feed_server(&b);
    bytes_free(&b);
    return rc;
}

static int do_fragment(void)
{
    const forge_start f = {.type = GR_FRAME_CAST, .whole = 20000};
    test_bytes b = {0};
    forge_fragment(&b, &f, 0, 10);
    int rc = feed_server(&b);
    bytes_free(&b);
    return rc;
}

static int do_inflate(void)
{
    const forge_start f = {.type = GR_FRAME_CAST, .flags = FORGE_DEFLATED, .whole = 100};
    test_bytes b = {0};
    forge_start_put(&b, &f, 1);
    bytes_append(&b, "x", 1);
    int rc = feed_server(&b);
    bytes_free(&b);
    return rc;
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
                                              do_large_cast,
                                              do_ordered_cast,
                                              do_large_reply,
                                              do_cancel,
                                              do_hold,
                                              do_fragment,
                                              do_inflate,
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
