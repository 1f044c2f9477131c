/* SPDX-License-Identifier: Apache-2.0 */
/* The largest message: on either side, for requests and for replies. */
#include "cmocka_support.h"
#include "gr_frame.h"
#include "pair_support.h"

static test_pair pair;

static void open_with_limits(uint64_t at_client, uint64_t at_server)
{
    gr_session_config c = end_config(GR_CLIENT);
    gr_session_config s = end_config(GR_SERVER);
    c.auth.max_message = at_client;
    s.auth.max_message = at_server;
    c.output_limit = s.output_limit = 1 << 30;
    pair_open_up(&pair, &c, &s);
}

/* Pairs of limits: either side's may be the smaller, on either side of what is buffered. */
static const uint64_t limits[][2] = {{1000, 50},     {50, 1000}, {100000, 20000}, {20000, 100000},
                                     {16384, 16384}, {0, 0},     {5, 0},          {0, 5},
                                     {15, 100},      {16, 16},   {UINT32_MAX, 7}};

static uint64_t smaller(size_t i)
{
    return limits[i][0] < limits[i][1] ? limits[i][0] : limits[i][1];
}

/* The smaller of both limits holds, for both sides, and both can tell it. */
static void smaller_limit_holds_on_both_sides(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        open_with_limits(limits[i][0], limits[i][1]);
        assert_true(gr_session_limit(pair.client.s) == smaller(i));
        assert_true(gr_session_limit(pair.server.s) == smaller(i));
        pair_close(&pair);
    }
}

/* A message at the limit goes; one over it is refused before anything is queued for it. */
static void request_over_the_limit_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        size_t limit = (size_t)smaller(i);
        gr_submit who = submit_of(1);
        open_with_limits(limits[i][0], limits[i][1]);
        assert_rc(gr_session_admit(pair.client.s, &who, limit + 1), GR_ETOOBIG);
        assert_rc(end_call(&pair.client, 1, limit + 1), GR_ETOOBIG);
        assert_rc(end_cast(&pair.client, 1, limit + 1), GR_ETOOBIG);
        assert_rc(end_cast_as(&pair.client, GR_ORDERED, 1, limit + 1), GR_ETOOBIG);
        gr_session_stats st = end_stats(&pair.client);
        assert_int_equal(st.calls + st.waiting + st.output + st.frames_out, 0);
        assert_rc(gr_session_admit(pair.client.s, &who, limit), GR_OK);
        assert_rc(end_call(&pair.client, 1, limit), GR_OK);
        assert_rc(end_cast(&pair.client, 2, limit), GR_OK);
        pair_pump(&pair);
        end_expect_request(&pair.server, 1, limit);
        end_expect_only(&pair.server, GR_EV_CAST);
        pair_close(&pair);
    }
}

/* A reply over the limit tells its caller so, with both sizes, and the connection lives on. */
static void reply_over_the_limit_tells_the_caller(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        size_t limit = (size_t)smaller(i);
        open_with_limits(limits[i][0], limits[i][1]);
        for (uint64_t id = 1; id <= 2; id++)
            assert_rc(end_call(&pair.client, id, 0), GR_OK);
        pair_pump(&pair);
        assert_rc(end_reply(&pair.server, 1, limit + 1), GR_ETOOBIG);
        assert_rc(end_reply(&pair.server, 1, 0), GR_ENOENT);
        assert_rc(end_reply(&pair.server, 2, limit), GR_OK);
        pair_pump(&pair);
        end_event ev = end_expect(&pair.client, GR_EV_TOOBIG);
        assert_int_equal(ev.id, 1);
        assert_int_equal(ev.caller, submit_of(1).caller);
        assert_int_equal(ev.too_big_size, limit + 1);
        assert_int_equal(ev.too_big_limit, limit);
        event_free(&ev);
        end_expect_reply(&pair.client, 2, limit);
        assert_int_equal(end_stats(&pair.client).calls, 0);
        assert_int_equal(end_stats(&pair.server).served, 0);
        pair_close(&pair);
    }
}

/* That can go on for ever: what was too big takes no room of any window. */
static void replies_may_always_be_too_big(void **state)
{
    (void)state;
    open_with_limits(100, 100);
    for (uint64_t id = 1; id <= 100000; id++) {
        assert_rc(end_call(&pair.client, id, 0), GR_OK);
        pair_pump(&pair);
        end_expect_only(&pair.server, GR_EV_REQUEST);
        assert_rc(end_reply(&pair.server, id, 101), GR_ETOOBIG);
        pair_pump(&pair);
        end_expect_only(&pair.client, GR_EV_TOOBIG);
    }
    pair_close(&pair);
}

/* The limit is on the message as its receiver gets it, however small it is on its way. */
static void limit_is_on_what_comes_out(void **state)
{
    (void)state;
    static const size_t at[] = {10000, 100000};
    for (size_t i = 0; i < COUNT_OF(at); i++) {
        gr_session_config c = end_config(GR_CLIENT);
        gr_session_config s = end_config(GR_SERVER);
        c.compress = s.compress = 6;
        s.auth.max_message = at[i];
        pair_open_up(&pair, &c, &s);
        assert_rc(end_cast(&pair.client, 1, at[i] + 1), GR_ETOOBIG);
        assert_rc(end_cast(&pair.client, 1, at[i]), GR_OK);
        pair_pump(&pair);
        end_expect_cast(&pair.server, GR_UNORDERED, 1, at[i]);
        assert_true(end_stats(&pair.server).bytes_in < at[i]);
        pair_close(&pair);
    }
}

/* A limit over the protocol's is one that nobody could keep, and so is a fragment out of bounds. */
static void configuration_out_of_bounds_is_refused(void **state)
{
    (void)state;
    test_mem mem;
    gr_session *s;
    mem_init(&mem);
    for (int i = 0; i < 6; i++) {
        gr_session_config c = end_config(GR_CLIENT);
        if (i == 1)
            c.auth.max_message = (uint64_t)GR_MESSAGE_MAX + 1;
        if (i == 2)
            c.frame_max = GR_SESSION_FRAME_MIN - 1;
        if (i == 3)
            c.frame_max = GR_SESSION_FRAME_MAX + 1;
        if (i == 4)
            c.compress = -1;
        if (i == 5)
            c.compress = 10;
        assert_rc(gr_session_new(&s, &mem.vt, &mem.blobs, &c), i ? GR_ESTATE : GR_OK);
        gr_session_free(s);
        mem_check_empty(&mem);
    }
}

/* A worker is let in whatever the size of its reply: its caller must learn that it is too big. */
static void reply_is_admitted_whatever_its_size(void **state)
{
    (void)state;
    open_with_limits(100, 100);
    gr_submit who = submit_of(1);
    assert_rc(gr_session_admit(pair.server.s, &who, UINT64_MAX), GR_OK);
    pair_close(&pair);
}

#define PARTS 65536u

/* Sizes are added up in 64 bits: 4 GiB and one byte is not one byte. Nothing of it is read. */
static void total_of_many_pieces_does_not_wrap(void **state)
{
    (void)state;
    static gr_piece p[PARTS + 1];
    static const uint8_t part[PARTS];
    open_with_limits(UINT32_MAX, UINT32_MAX);
    for (size_t i = 0; i < PARTS; i++)
        p[i] = (gr_piece){part, PARTS, NULL};
    p[PARTS] = (gr_piece){part, 1, NULL};
    gr_submit who = submit_of(1);
    assert_rc(gr_session_call(pair.client.s, &who, p, COUNT_OF(p)), GR_ETOOBIG);
    assert_rc(gr_session_cast(pair.client.s, GR_UNORDERED, p, COUNT_OF(p)), GR_ETOOBIG);
    assert_rc(gr_session_cast(pair.client.s, GR_ORDERED, p, COUNT_OF(p)), GR_ETOOBIG);
    assert_int_equal(gr_session_output(pair.client.s), 0);
    pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smaller_limit_holds_on_both_sides),
        cmocka_unit_test(request_over_the_limit_is_refused),
        cmocka_unit_test(reply_over_the_limit_tells_the_caller),
        cmocka_unit_test(replies_may_always_be_too_big),
        cmocka_unit_test(limit_is_on_what_comes_out),
        cmocka_unit_test(configuration_out_of_bounds_is_refused),
        cmocka_unit_test(reply_is_admitted_whatever_its_size),
        cmocka_unit_test(total_of_many_pieces_does_not_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
