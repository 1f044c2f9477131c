/* SPDX-License-Identifier: Apache-2.0 */
/* Windows between two sessions: whoever cannot take more stops the other one, and loses nothing by it. */
#include <string.h>

#include "cmocka_support.h"
#include "flow_support.h"

#define SMALL_WINDOW ((size_t)4 * 1024 * 1024)
#define ORDERED_WINDOW ((size_t)1024 * 1024)
#define CHARGE 128u /* what each message counts for beside its bytes */
#define HEAD 16u
#define MIB ((size_t)1024 * 1024)
#define BUFFER ((size_t)200000) /* of a socket */

static test_pair p;
static flow client;
static flow server;

/* What a test changes in the configuration of both sides. */
typedef struct tuning {
    uint64_t send_timeout;
    uint64_t output_limit;
    uint64_t max_message;
    uint64_t hold_pause;
    int compress;
} tuning;

static void open_pair(const tuning *t)
{
    gr_session_config c = end_config(GR_CLIENT);
    gr_session_config s = end_config(GR_SERVER);
    c.output_limit = s.output_limit = t && t->output_limit ? t->output_limit : 4 * MIB;
    c.auth.max_message = s.auth.max_message = t && t->max_message ? t->max_message : 64 * MIB;
    c.send_timeout = t && t->send_timeout ? t->send_timeout : GR_FOREVER;
    s.send_timeout = c.send_timeout;
    s.hold_pause = t ? t->hold_pause : 0;
    c.compress = s.compress = t ? t->compress : 0;
    flow_open(&p, &client, &server, &c, &s);
}

static int setup(void **state)
{
    (void)state;
    open_pair(NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    flow_close(&p, &client, &server);
    return 0;
}

static void both_live(void)
{
    assert_rc(p.client.rc, GR_OK);
    assert_rc(p.server.rc, GR_OK);
}

static void expect_casts(uint64_t first, uint64_t last)
{
    size_t n = 0;
    for (size_t i = 0; i < server.count; i++)
        if (server.items[i].type == GR_EV_CAST)
            assert_int_equal(server.items[i].id, first + n++);
    assert_int_equal(first + n, last + 1);
}

/* ---- a server that holds back ---- */

/* The client sends a window's worth and no more; later all of it comes, once and in order. */
static void held_server_stops_the_client(void **state)
{
    (void)state;
    const uint64_t n = 3000;
    const size_t size = 5000;
    flow_hold(&server, &p.server, 1);
    for (uint64_t i = 1; i <= n; i++)
        assert_rc(flow_cast(&p.client, GR_UNORDERED, i, size), GR_OK);
    pair_pump(&p);
    both_live();
    assert_int_equal(flow_count(&server, GR_EV_CAST), 0);
    gr_session_stats st = end_stats(&p.server);
    assert_int_equal(st.held, SMALL_WINDOW / (size + HEAD + CHARGE) * size);
    assert_true(gr_session_is_holding(p.server.s));
    assert_true(end_stats(&p.client).output >= n * size - SMALL_WINDOW);
    assert_int_equal(gr_session_output(p.client.s), 0);
    flow_hold(&server, &p.server, 0);
    pair_pump(&p);
    expect_casts(1, n);
    assert_false(gr_session_is_holding(p.server.s));
    assert_int_equal(end_stats(&p.server).held, 0);
    assert_int_equal(end_stats(&p.client).output, 0);
}

/* Meanwhile everything that is no request passes: replies, cancels, pings, the end of large ones. */
static void control_passes_a_full_window(void **state)
{
    (void)state;
    assert_rc(flow_call(&p.client, GR_UNORDERED, 1, 100, GR_FOREVER), GR_OK);
    assert_rc(flow_call(&p.client, GR_UNORDERED, 2, 100, GR_FOREVER), GR_OK);
    pair_pump(&p);
    flow_hold(&server, &p.server, 1);
    for (uint64_t i = 1; i <= 3000; i++)
        assert_rc(flow_cast(&p.client, GR_UNORDERED, i, 5000), GR_OK);
    pair_pump(&p);
    assert_rc(flow_reply(&p.server, 1, 3 * MIB), GR_OK);
    assert_rc(gr_session_cancel(p.client.s, 2), GR_OK);
    pair_pump(&p);
    assert_int_equal(flow_find(&client, GR_EV_REPLY, 1), 0);
    assert_true(flow_find(&server, GR_EV_CANCEL, 2) < server.count);
    assert_int_equal(flow_count(&server, GR_EV_CAST), 0);
    both_live();
}

/* A request that is given up while it is held is not delivered, and its id can't be answered. */
static void held_request_is_given_up(void **state)
{
    (void)state;
    flow_hold(&server, &p.server, 1);
    for (uint64_t id = 1; id <= 10; id++)
        assert_rc(flow_call(&p.client, GR_UNORDERED, id, id % 2 ? 100 : 100000, GR_FOREVER), GR_OK);
    pair_pump(&p);
    for (uint64_t id = 1; id <= 10; id += 3)
        assert_rc(gr_session_cancel(p.client.s, id), GR_OK);
    pair_pump(&p);
    flow_hold(&server, &p.server, 0);
    pair_pump(&p);
    assert_int_equal(flow_count(&server, GR_EV_REQUEST), 6);
    assert_int_equal(flow_count(&server, GR_EV_CANCEL), 0);
    for (uint64_t id = 1; id <= 10; id++) {
        int there = flow_find(&server, GR_EV_REQUEST, id) < server.count;
        assert_int_equal(there, id % 3 != 1);
        assert_rc(flow_reply(&p.server, id, 10), there ? GR_OK : GR_ENOENT);
    }
    pair_pump(&p);
    assert_int_equal(flow_count(&client, GR_EV_REPLY), 6);
    assert_int_equal(end_stats(&p.server).served, 0);
    assert_int_equal(end_stats(&p.server).cancels_in, 4);
    assert_int_equal(end_stats(&p.server).too_late, 0);
}

/* Large messages are held in their slots: as many as there are, and as much as one side may send. */
static void held_large_messages_are_bounded(void **state)
{
    (void)state;
    flow_hold(&server, &p.server, 1);
    for (uint64_t i = 1; i <= 100; i++)
        assert_rc(flow_cast(&p.client, GR_UNORDERED, i, 20000), GR_OK);
    for (uint64_t i = 101; i <= 110; i++)
        assert_rc(flow_cast(&p.client, GR_UNORDERED, i, 30 * MIB), GR_OK);
    pair_pump(&p);
    assert_int_equal(end_stats(&p.server).held, 64 * 20000);
    flow_hold(&server, &p.server, 0);
    flow_hold(&server, &p.server, 1);
    pair_pump(&p);
    assert_true(end_stats(&p.server).held <= 64 * MIB);
    flow_hold(&server, &p.server, 0);
    pair_pump(&p);
    expect_casts(1, 110);
    both_live();
}

/* What is compressed counts as what its receiver has to hold. */
static void compression_does_not_widen_the_window(void **state)
{
    (void)state;
    const tuning t = {.compress = 6};
    teardown(NULL);
    open_pair(&t);
    flow_hold(&server, &p.server, 1);
    for (uint64_t i = 1; i <= 2000; i++)
        assert_rc(flow_cast(&p.client, GR_UNORDERED, i, 16000), GR_OK);
    pair_pump(&p);
    assert_true(end_stats(&p.server).held <= SMALL_WINDOW);
    assert_true(end_stats(&p.server).held >= SMALL_WINDOW / 2);
    flow_hold(&server, &p.server, 0);
    pair_pump(&p);
    expect_casts(1, 2000);
}

/* The smallest messages take the most memory for each of their bytes: they are bounded, too. */
static void tiny_messages_are_bounded(void **state)
{
    (void)state;
    flow_hold(&server, &p.server, 1);
    size_t before = p.mem.live;
    for (uint64_t i = 0; i < 50000; i++)
        assert_rc(flow_cast(&p.client, i % 2 ? GR_UNORDERED : GR_ORDERED, 1, 1), GR_OK);
    pair_pump(&p);
    /* Two blocks for each that is held: what the client keeps are chunks, and messages in their order. */
    size_t held = (SMALL_WINDOW + ORDERED_WINDOW) / CHARGE;
    assert_true(end_stats(&p.server).held <= held);
    assert_true(p.mem.live - before <= 2 * held + 25000 + 1000);
    flow_hold(&server, &p.server, 0);
    pair_pump(&p);
    assert_int_equal(server.count, 50000);
    both_live();
}

/* Ordered messages, which need no worker of their own, can be let through alone, in their order. */
static void ordered_messages_pass_those_that_are_held(void **state)
{
    (void)state;
    gr_session_hold(p.server.s, GR_HOLD_ALL);
    p.server.hook = NULL;
    for (uint64_t i = 1; i <= 60; i++)
        assert_rc(end_cast_as(&p.client, i % 3 ? GR_UNORDERED : GR_ORDERED, i, i % 2 ? 100 : 50000),
                  GR_OK);
    pair_pump(&p);
    end_expect_none(&p.server);
    gr_session_hold(p.server.s, GR_HOLD_UNORDERED);
    end_take(&p.server);
    assert_true(gr_session_is_holding(p.server.s));
    for (uint64_t i = 3; i <= 60; i += 3)
        end_expect_cast(&p.server, GR_ORDERED, i, i % 2 ? 100 : 50000);
    end_expect_none(&p.server);
    gr_session_taken(p.server.s, 20, 10 * 50100);
    assert_rc(end_cast_as(&p.client, GR_BROADCAST, 61, 10), GR_OK);
    pair_pump(&p);
    end_expect_cast(&p.server, GR_BROADCAST, 61, 10);
    gr_session_hold(p.server.s, GR_HOLD_NONE);
    pair_pump(&p);
    end_take(&p.server);
    assert_int_equal(p.server.count, 40);
    assert_false(gr_session_is_holding(p.server.s));
}

/* ---- the pause ---- */

static const tuning pausing = {.hold_pause = 20};

static int setup_pausing(void **state)
{
    (void)state;
    open_pair(&pausing);
    return 0;
}

/* A hold of a moment costs one kept message, however many have arrived. */
static void nothing_behind_the_first_held_message_is_looked_at(void **state)
{
    (void)state;
    flow_hold(&server, &p.server, 1);
    for (uint64_t i = 1; i <= 1000; i++)
        assert_rc(flow_cast(&p.client, GR_UNORDERED, i, 100), GR_OK);
    pair_pump(&p);
    assert_true(gr_session_is_paused(p.server.s));
    assert_int_equal(end_stats(&p.server).held, 100);
    assert_true(end_stats(&p.server).bytes_in < 100000);
    assert_int_equal(gr_session_due(p.server.s), p.now + 20);
    flow_hold(&server, &p.server, 0);
    assert_false(gr_session_is_paused(p.server.s));
    pair_pump(&p);
    expect_casts(1, 1000);
    both_live();
}

/* What lasts longer must not keep signs of life, or cancels, from being seen. */
static void pause_is_over_before_the_hold_is(void **state)
{
    (void)state;
    flow_hold(&server, &p.server, 1);
    assert_rc(flow_call(&p.client, GR_UNORDERED, 1, 100, GR_FOREVER), GR_OK);
    assert_rc(flow_call(&p.client, GR_UNORDERED, 2, 100, GR_FOREVER), GR_OK);
    pair_pump(&p);
    assert_rc(gr_session_cancel(p.client.s, 2), GR_OK);
    pair_advance(&p, 19);
    pair_pump(&p);
    assert_int_equal(end_stats(&p.server).cancels_in, 0);
    pair_advance(&p, 1);
    pair_pump(&p);
    assert_false(gr_session_is_paused(p.server.s));
    assert_int_equal(end_stats(&p.server).cancels_in, 1);
    assert_int_equal(server.count, 0);
    /* Not again, until all that was held has been delivered. */
    assert_rc(flow_cast(&p.client, GR_UNORDERED, 3, 100), GR_OK);
    pair_pump(&p);
    assert_false(gr_session_is_paused(p.server.s));
    assert_int_equal(end_stats(&p.server).held, 300);
    flow_hold(&server, &p.server, 0);
    assert_int_equal(server.count, 2);
    flow_hold(&server, &p.server, 1);
    assert_rc(flow_cast(&p.client, GR_UNORDERED, 4, 100), GR_OK);
    pair_pump(&p);
    assert_true(gr_session_is_paused(p.server.s));
    both_live();
}

/* The end of the stream is behind what is not looked at. */
static void end_of_the_stream_waits_for_the_pause(void **state)
{
    (void)state;
    flow_hold(&server, &p.server, 1);
    assert_rc(flow_cast(&p.client, GR_UNORDERED, 1, 100), GR_OK);
    pair_pump(&p);
    assert_rc(end_eof(&p.server), GR_OK);
    pair_clock(&p, p.now + 20);
    assert_rc(end_tick(&p.server, p.now), GR_EEOF);
    assert_int_equal(server.count, 0);
}

/* ---- the ordered window ---- */

/* Ordered messages that nobody has taken up are bounded, however fast they are delivered. */
static void untaken_messages_stop_the_ordered_lane(void **state)
{
    (void)state;
    const size_t size = 10000;
    server.take_ordered = 0;
    for (uint64_t i = 1; i <= 500; i++)
        assert_rc(flow_cast(&p.client, i % 3 ? GR_ORDERED : GR_BROADCAST, i, size), GR_OK);
    for (uint64_t i = 501; i <= 600; i++)
        assert_rc(flow_cast(&p.client, GR_UNORDERED, i, size), GR_OK);
    pair_pump(&p);
    size_t first = ORDERED_WINDOW / (size + CHARGE) + 1;
    assert_int_equal(server.count, first + 100);
    size_t taken = 0;
    while (taken < 500) {
        size_t came = server.count - 100;
        assert_true(came - taken <= first);
        assert_true(came > taken);
        gr_session_taken(p.server.s, (uint32_t)(came - taken), (came - taken) * size);
        taken = came;
        end_take(&p.server);
        pair_pump(&p);
    }
    uint64_t last = 0;
    for (size_t i = 0; i < server.count; i++) {
        if (server.items[i].order == GR_UNORDERED)
            continue;
        assert_int_equal(server.items[i].id, ++last);
        assert_int_equal(server.items[i].order, last % 3 ? GR_ORDERED : GR_BROADCAST);
    }
    both_live();
}

/* More taken than ever came is no credit for later. */
static void taken_too_much_is_cut(void **state)
{
    (void)state;
    server.take_ordered = 0;
    assert_rc(flow_cast(&p.client, GR_ORDERED, 1, 100), GR_OK);
    pair_pump(&p);
    gr_session_taken(p.server.s, 1, UINT64_MAX);
    gr_session_taken(p.server.s, UINT32_MAX, 5);
    for (uint64_t i = 2; i <= 500; i++)
        assert_rc(flow_cast(&p.client, GR_ORDERED, i, 10000), GR_OK);
    pair_pump(&p);
    assert_in_range(server.count, ORDERED_WINDOW / (10000 + CHARGE),
                    ORDERED_WINDOW / (10000 + CHARGE) + 2);
    both_live();
}

/* One that is larger than the window passes when there is room for a byte. */
static void largest_ordered_message_passes(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 5; i++)
        assert_rc(flow_cast(&p.client, GR_ORDERED, i, 20 * MIB), GR_OK);
    pair_pump(&p);
    expect_casts(1, 5);
}

/* ---- hostile peers ---- */

/* A client that sends on when the window is full is thrown out at the first frame too much. */
static void small_window_is_enforced(void **state)
{
    (void)state;
    static const uint8_t body[10000];
    const frame_seen f = {.type = FT_CAST, .size = sizeof body, .data = body};
    size_t fits = SMALL_WINDOW / (sizeof body + HEAD + CHARGE);
    server.hold = 1;
    gr_session_hold(p.server.s, GR_HOLD_ALL);
    for (size_t i = 0; i < fits; i++)
        assert_rc(flow_forge(&p.server, &f), GR_OK);
    assert_rc(flow_forge(&p.server, &f), GR_EPROTO);
}

/* The same on the ordered lane, also with messages that have no content. */
static void ordered_window_is_enforced(void **state)
{
    (void)state;
    static const uint8_t body[10000];
    const size_t sizes[] = {sizeof body, 0, 1};
    for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        teardown(NULL);
        open_pair(NULL);
        server.take_ordered = 0;
        /* That the bodies are all the same is nothing to check here. */
        p.server.hook = NULL;
        const frame_seen f = {
            .type = FT_CAST, .flags = FF_ORDERED, .size = (uint32_t)sizes[k], .data = body};
        size_t fits = ORDERED_WINDOW / (sizes[k] + CHARGE);
        for (size_t i = 0; i < fits; i++)
            assert_rc(flow_forge(&p.server, &f), GR_OK);
        int rc = flow_forge(&p.server, &f);
        if (rc == GR_OK)
            rc = flow_forge(&p.server, &f);
        assert_rc(rc, GR_EPROTO);
    }
}

static void slots_are_enforced(void **state)
{
    (void)state;
    static const uint8_t byte[1];
    frame_seen f = {.type = FT_CAST, .flags = FF_LARGE, .size = 1, .whole = 20000, .data = byte};
    for (unsigned i = 0; i < FRAMES_SLOTS; i++) {
        f.slot = i;
        assert_rc(flow_forge(&p.server, &f), GR_OK);
    }
    f.slot = 3;
    assert_rc(flow_forge(&p.server, &f), GR_EPROTO);
    teardown(NULL);
    open_pair(NULL);
    f.slot = 0;
    f.whole = 60 * (uint32_t)MIB;
    assert_rc(flow_forge(&p.server, &f), GR_OK);
    f.slot = 1;
    f.whole = 5 * (uint32_t)MIB;
    assert_rc(flow_forge(&p.server, &f), GR_EPROTO);
}

/* Acks of what was never sent, to either side. */
static void false_acks_are_refused(void **state)
{
    (void)state;
    const frame_seen bad[] = {
        {.type = FT_WINDOW, .slot = 0, .id = 1},
        {.type = FT_WINDOW, .slot = 1, .id = 1},
        {.type = FT_WINDOW, .slot = 2, .id = 1},
        {.type = FT_WINDOW, .slot = 3, .id = 0},
        {.type = FT_WINDOW, .slot = 0, .id = UINT64_MAX},
        {.type = FT_DONE, .slot = 0},
        {.type = FT_DONE, .slot = 64},
        {.type = FT_ABORT, .slot = 0},
        {.type = FT_DATA, .slot = 0, .size = 0, .flags = FF_END},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_rc(flow_forge(&p.server, &bad[i]), GR_EPROTO);
        assert_rc(flow_forge(&p.client, &bad[i]), GR_EPROTO);
        teardown(NULL);
        open_pair(NULL);
    }
}

/* An id that is held, even one that was given up, cannot be used for another request. */
static void held_id_is_not_used_twice(void **state)
{
    (void)state;
    const frame_seen request = {.type = FT_REQUEST, .id = 5};
    const frame_seen cancel = {.type = FT_CANCEL, .id = 5};
    gr_session_hold(p.server.s, GR_HOLD_ALL);
    assert_rc(flow_forge(&p.server, &request), GR_OK);
    assert_rc(flow_forge(&p.server, &cancel), GR_OK);
    assert_rc(flow_forge(&p.server, &cancel), GR_OK);
    assert_rc(flow_forge(&p.server, &request), GR_EPROTO);
}

/* Cancels of nothing, as many as there may be, cost nothing and stop nothing. */
static void flood_of_cancels_is_harmless(void **state)
{
    (void)state;
    const frame_seen cancel = {.type = FT_CANCEL, .id = 99};
    test_bytes b = {0};
    for (size_t i = 0; i < 1000; i++)
        frames_put(&b, &cancel);
    gr_session_hold(p.server.s, GR_HOLD_ALL);
    size_t live = p.mem.live;
    for (size_t i = 0; i < 200; i++)
        assert_rc(end_feed(&p.server, b.data, b.size), GR_OK);
    assert_true(p.mem.live <= live + 4);
    assert_true(end_stats(&p.server).output < 64 * 1024);
    assert_int_equal(end_stats(&p.server).cancels_in, 0);
    bytes_free(&b);
}

/* ---- blocked, and time passes ---- */

/* A client whose requests are held back by a server that lives is never cut off. */
static void blocked_by_a_living_peer_for_ever(void **state)
{
    (void)state;
    const tuning t = {.send_timeout = 1000};
    teardown(NULL);
    open_pair(&t);
    flow_hold(&server, &p.server, 1);
    for (uint64_t i = 1; i <= 2000; i++)
        assert_rc(flow_cast(&p.client, GR_UNORDERED, i, 5000), GR_OK);
    assert_rc(flow_cast(&p.client, GR_ORDERED, 2001, 3 * MIB), GR_OK);
    assert_rc(flow_cast(&p.client, GR_ORDERED, 2002, 3 * MIB), GR_OK);
    pair_pump(&p);
    pair_advance(&p, 3600 * 1000);
    both_live();
    uint64_t frames = end_stats(&p.server).frames_in;
    assert_true(frames < 20000);
    flow_hold(&server, &p.server, 0);
    pair_pump(&p);
    assert_int_equal(server.count, 2002);
    both_live();
}

/* Moves time on for the client alone: what it writes goes into a socket that takes it all. */
static int client_alone(uint64_t until)
{
    test_bytes gone = {0};
    while (p.client.rc == GR_OK) {
        uint64_t due = gr_session_due(p.client.s);
        if (due > until)
            break;
        p.now = due > p.now ? due : p.now;
        end_tick(&p.client, p.now);
        end_drain(&p.client, &gone, SIZE_MAX);
    }
    p.now = until;
    gr_session_clock(p.client.s, until);
    bytes_free(&gone);
    return p.client.rc;
}

/* One that does not even answer a ping is given up when send_timeout has passed without a byte. */
static void blocked_by_a_dead_peer(void **state)
{
    (void)state;
    const tuning t = {.send_timeout = 1000};
    for (int lane = 0; lane < 3; lane++) {
        teardown(NULL);
        open_pair(&t);
        flow_hold(&server, &p.server, 1);
        size_t size = lane == 0 ? 5000 : lane == 1 ? MIB : 10000;
        for (uint64_t i = 1; i <= (lane == 1 ? 100u : 2000u); i++)
            assert_rc(flow_cast(&p.client, lane == 2 ? GR_ORDERED : GR_UNORDERED, i, size), GR_OK);
        pair_pump(&p);
        pair_advance(&p, 700);
        both_live();
        uint64_t heard = p.now;
        uint64_t pings = end_stats(&p.client).frames_out;
        assert_rc(client_alone(heard + 700), GR_OK);
        assert_true(end_stats(&p.client).frames_out > pings);
        assert_rc(client_alone(heard + 1000), GR_ESENDTIME);
        assert_true(p.client.s != NULL);
    }
}

/* With nothing to send nobody is asked, and nobody is given up. */
static void idle_client_does_not_ask(void **state)
{
    (void)state;
    const tuning t = {.send_timeout = 1000};
    teardown(NULL);
    open_pair(&t);
    assert_rc(flow_call(&p.client, GR_UNORDERED, 1, 10, GR_FOREVER), GR_OK);
    pair_pump(&p);
    uint64_t frames = end_stats(&p.client).frames_out;
    assert_rc(client_alone(p.now + 100000), GR_OK);
    assert_int_equal(end_stats(&p.client).frames_out, frames);
}

/* Whoever gives up something large after a long wait is not late with the abort itself. */
static void abort_after_a_long_wait_is_no_stall(void **state)
{
    (void)state;
    const tuning t = {.send_timeout = 1000};
    teardown(NULL);
    open_pair(&t);
    test_bytes gone = {0};
    assert_rc(flow_call(&p.client, GR_UNORDERED, 1, 50 * MIB, GR_FOREVER), GR_OK);
    end_drain(&p.client, &gone, SIZE_MAX);
    const frame_seen ping = {.type = FT_PING};
    for (size_t i = 0; i < 20; i++) {
        p.now += 400;
        assert_rc(end_tick(&p.client, p.now), GR_OK);
        assert_rc(flow_forge(&p.client, &ping), GR_OK);
        end_drain(&p.client, &gone, SIZE_MAX);
    }
    p.now += 400;
    gr_session_clock(p.client.s, p.now);
    assert_rc(gr_session_cancel(p.client.s, 1), GR_OK);
    assert_true(gr_session_due(p.client.s) > p.now);
    assert_rc(end_tick(&p.client, p.now), GR_OK);
    bytes_free(&gone);
}

/* ---- both directions full ---- */

/* Replies that nobody takes: no new requests are delivered, but cancels and acks are still read. */
static void untaken_replies_stop_the_deliveries(void **state)
{
    (void)state;
    const tuning t = {.output_limit = 256 * 1024};
    teardown(NULL);
    open_pair(&t);
    server.replies = 1;
    server.reply_size = 10000;
    server.hold_congested = 1;
    uint64_t id = 0;
    for (size_t i = 0; i < 100; i++) {
        for (size_t n = 0; n < 20; n++)
            assert_rc(flow_call(&p.client, GR_UNORDERED, ++id, 100, GR_FOREVER), GR_OK);
        while (link_send(&p, &p.client, &p.up) | link_deliver(&p, &p.up, &p.server))
            ;
    }
    size_t delivered = server.count;
    assert_in_range(delivered, 20, 40);
    assert_true(end_stats(&p.server).output <= 256 * 1024 + 20 * 10100);
    for (; id > 1500; id--)
        assert_rc(gr_session_cancel(p.client.s, id), GR_OK);
    while (link_send(&p, &p.client, &p.up) | link_deliver(&p, &p.up, &p.server))
        ;
    assert_int_equal(end_stats(&p.server).cancels_in, 500);
    assert_int_equal(server.count, delivered);
    /* Taken again, all goes on. The hook sees only events, so someone must ask again. */
    for (size_t i = 0; i < 100000 && end_stats(&p.client).calls; i++) {
        pair_pump(&p);
        flow_hold(&server, &p.server, 0);
    }
    assert_int_equal(flow_count(&server, GR_EV_REQUEST), 1500);
    assert_int_equal(flow_count(&client, GR_EV_REPLY), 1500);
    both_live();
}

/* What a client that floods and the server that answers it have to say to each other. */
static void flood(size_t ask, size_t answer, size_t calls)
{
    const tuning t = {.output_limit = 256 * 1024, .send_timeout = 5000};
    teardown(NULL);
    open_pair(&t);
    server.replies = 1;
    server.reply_size = answer;
    server.hold_congested = 1;
    uint64_t id = 0;
    size_t idle = 0;
    while (flow_count(&client, GR_EV_REPLY) < calls) {
        gr_submit who = submit_of(id + 1);
        who.tag_size = 0;
        while (id < calls && gr_session_admit(p.client.s, &who, ask) == GR_OK) {
            assert_rc(flow_call(&p.client, GR_UNORDERED, ++id, ask, GR_FOREVER), GR_OK);
            who.id = id + 1;
        }
        int moved = flow_move(&p, BUFFER);
        flow_hold(&server, &p.server, 0);
        idle = moved ? 0 : idle + 1;
        assert_true(idle < 10);
        assert_true(end_stats(&p.client).output <= 256 * 1024 + 70 * ask);
    }
    both_live();
    assert_int_equal(flow_count(&server, GR_EV_REQUEST), calls);
}

/* Two nodes that flood each other never stop for good, whatever the sizes are. */
static void flooding_each_other_never_stops(void **state)
{
    (void)state;
    flood(100, 100, 20000);
    flood(100, 12000, 8000);
    flood(12000, 100, 8000);
    flood(16000, 16000, 4000);
    flood(100000, 100, 500);
    flood(100, 100000, 500);
    flood(300000, 300000, 200);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(held_server_stops_the_client),
        test_of(control_passes_a_full_window),
        test_of(held_request_is_given_up),
        test_of(held_large_messages_are_bounded),
        test_of(compression_does_not_widen_the_window),
        test_of(tiny_messages_are_bounded),
        test_of(ordered_messages_pass_those_that_are_held),
        cmocka_unit_test_setup_teardown(nothing_behind_the_first_held_message_is_looked_at,
                                        setup_pausing, teardown),
        cmocka_unit_test_setup_teardown(pause_is_over_before_the_hold_is, setup_pausing, teardown),
        cmocka_unit_test_setup_teardown(end_of_the_stream_waits_for_the_pause, setup_pausing,
                                        teardown),
        test_of(untaken_messages_stop_the_ordered_lane),
        test_of(taken_too_much_is_cut),
        test_of(largest_ordered_message_passes),
        test_of(small_window_is_enforced),
        test_of(ordered_window_is_enforced),
        test_of(slots_are_enforced),
        test_of(false_acks_are_refused),
        test_of(held_id_is_not_used_twice),
        test_of(flood_of_cancels_is_harmless),
        test_of(blocked_by_a_living_peer_for_ever),
        test_of(blocked_by_a_dead_peer),
        test_of(idle_client_does_not_ask),
        test_of(abort_after_a_long_wait_is_no_stall),
        test_of(untaken_replies_stop_the_deliveries),
        test_of(flooding_each_other_never_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
