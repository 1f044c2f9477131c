/* SPDX-License-Identifier: Apache-2.0 */
/* Lateness: how long a message was under way, when nobody knows the other side's clock. */
#include <string.h>

#include "bytes_support.h"
#include "cmocka_support.h"
#include "gr_late.h"

#define WINDOW UINT64_C(10000)

static gr_late l;

static int setup(void **state)
{
    (void)state;
    memset(&l, 0, sizeof l);
    return 0;
}

/* A message that was sent at that time of ours and is here now, by a sender whose clock is ahead. */
static uint32_t arrives(uint64_t sent, uint64_t now, uint32_t ahead)
{
    return gr_late_of(&l, (uint32_t)sent + ahead, now);
}

/* The first one is as fast as any that is known. */
static void first_message_is_not_late(void **state)
{
    (void)state;
    for (uint32_t ahead = 0; ahead < 10; ahead++) {
        memset(&l, 0, sizeof l);
        assert_int_equal(arrives(5000, 5000 + 100 * ahead, ahead * 0x1fffffff), 0);
    }
}

/* Whatever the clocks say: what took longer than the fastest one is late by the difference. */
static void lateness_is_beside_the_fastest(void **state)
{
    (void)state;
    const uint32_t aheads[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 12345678};
    for (size_t i = 0; i < COUNT_OF(aheads); i++) {
        memset(&l, 0, sizeof l);
        assert_int_equal(arrives(1000, 1020, aheads[i]), 0);
        assert_int_equal(arrives(1100, 1150, aheads[i]), 30);
        assert_int_equal(arrives(1200, 1205, aheads[i]), 0);
        assert_int_equal(arrives(1300, 1320, aheads[i]), 15);
        assert_int_equal(arrives(1400, 6400, aheads[i]), 4995);
    }
}

/* Both clocks go round at 2^32 ms, each at a time of its own. */
static void clocks_go_round(void **state)
{
    (void)state;
    const uint64_t around = (UINT64_C(1) << 32) - 30000;
    for (uint64_t t = around; t < around + 60000; t += 100)
        assert_int_equal(arrives(t, t + 10 + (t / 100 % 7 == 3 ? 40 : 0), 7777),
                         t / 100 % 7 == 3 ? 40 : 0);
}

/* A clock that is slower or faster by 0.05 % is never taken for lateness of more than some 10 ms. */
static void drift_is_forgotten(void **state)
{
    (void)state;
    for (int way = -1; way <= 1; way += 2) {
        memset(&l, 0, sizeof l);
        for (uint64_t t = 0; t < 24 * 3600 * 1000; t += 1000) {
            uint64_t theirs = t + 1000000 + (uint64_t)(way * (int64_t)(t / 2000));
            uint32_t late = gr_late_of(&l, (uint32_t)theirs, t + 5);
            assert_true(late <= 2 * WINDOW / 2000 + 1);
        }
    }
}

/* Also when there is little traffic: one of 0.01 % and a message every minute make 0.2 s at most. */
static void drift_is_forgotten_in_sparse_traffic(void **state)
{
    (void)state;
    const uint64_t pauses[] = {2000, 10000, 30000, 59000, 60000, 61000};
    for (size_t i = 0; i < COUNT_OF(pauses); i++) {
        memset(&l, 0, sizeof l);
        for (uint64_t t = 0; t < 24 * 3600 * 1000; t += pauses[i])
            assert_true(gr_late_of(&l, (uint32_t)(t - t / 10000), t + 5) <= 200);
    }
}

/* When nothing came for hours, what was the fastest then says nothing now. */
static void silence_is_forgotten(void **state)
{
    (void)state;
    const uint64_t pauses[] = {60001, 3600 * 1000, 86400 * 1000};
    for (size_t i = 0; i < COUNT_OF(pauses); i++) {
        memset(&l, 0, sizeof l);
        arrives(0, 0, 0);
        arrives(1000, 1000, 0);
        uint32_t drift = (uint32_t)(pauses[i] / 2000);
        assert_int_equal(arrives(1000 + pauses[i] - drift, 1000 + pauses[i], 0), 0);
    }
}

/* The fastest one counts for one window of traffic at least, and for two at most. */
static void minimum_is_of_the_last_windows(void **state)
{
    (void)state;
    uint64_t t = 1000;
    arrives(t, t, 0);
    for (t += 100; t < 1000 + WINDOW; t += 100)
        assert_int_equal(arrives(t, t + 50, 0), 50);
    for (; t < 1000 + 2 * WINDOW; t += 100)
        arrives(t, t + 50, 0);
    for (; t < 1000 + 4 * WINDOW; t += 100)
        assert_int_equal(arrives(t, t + 50, 0), 0);
    /* Better ones count at once. */
    assert_int_equal(arrives(t, t + 20, 0), 0);
    assert_int_equal(arrives(t + 100, t + 150, 0), 30);
}

/* A receiver that stood still finds in its socket what is late, and what came after that on time. */
static void stopped_receiver(void **state)
{
    (void)state;
    const uint64_t stops[] = {2000, 12000, 59000};
    for (size_t i = 0; i < COUNT_OF(stops); i++) {
        memset(&l, 0, sizeof l);
        uint64_t up = 1000 + stops[i];
        arrives(1000, 1001, 99);
        for (uint64_t t = 1100; t < up; t += 100)
            assert_int_equal(arrives(t, up + 1, 99), up - t);
        assert_int_equal(arrives(up + 500, up + 501, 99), 0);
    }
}

/* Stopped again and again, it is no better off. */
static void receiver_that_often_stops(void **state)
{
    (void)state;
    arrives(1000, 1001, 99);
    for (uint64_t up = 10000; up < 300000; up += 9000) {
        for (uint64_t t = up - 8000; t < up; t += 1000)
            assert_int_equal(arrives(t, up + 1, 99), up - t);
        assert_int_equal(arrives(up, up + 1, 99), 0);
    }
}

/* What comes out of a stop is no measure, even if nothing but that comes for a while. */
static void late_ones_are_no_measure(void **state)
{
    (void)state;
    arrives(1000, 1001, 99);
    for (uint64_t up = 13000; up < 80000; up += 12000)
        for (uint64_t t = up - 12000; t < up - 6000; t += 500)
            assert_int_equal(arrives(t, up + 1, 99), up - t);
}

/* A sender's clock that jumps ahead makes nothing late; one that stood still does, for two windows. */
static void jumps_end(void **state)
{
    (void)state;
    for (uint64_t t = 1000; t < 10000; t += 1000)
        assert_int_equal(arrives(t, t + 5, 0), 0);
    assert_int_equal(arrives(10000, 10005, 100000), 0);
    uint64_t t = 11000;
    assert_int_equal(arrives(t, t + 5, 0), 100000);
    for (; t < 11000 + 2 * WINDOW; t += 500)
        arrives(t, t + 5, 0);
    for (; t < 11000 + 4 * WINDOW; t += 500)
        assert_int_equal(arrives(t, t + 5, 0), 0);
}

/* Stamps without any sense are taken, and another connection has a memory of its own. */
static void any_stamp_is_taken(void **state)
{
    (void)state;
    uint64_t prng = 1;
    uint64_t now = 0;
    for (size_t i = 0; i < 100000; i++) {
        now += prng_below(&prng, 500);
        gr_late_of(&l, (uint32_t)prng_next(&prng), now);
    }
    gr_late other = {0};
    assert_int_equal(gr_late_of(&other, 5, now), 0);
}

#define test_of(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(first_message_is_not_late),
        test_of(lateness_is_beside_the_fastest),
        test_of(clocks_go_round),
        test_of(drift_is_forgotten),
        test_of(drift_is_forgotten_in_sparse_traffic),
        test_of(silence_is_forgotten),
        test_of(minimum_is_of_the_last_windows),
        test_of(stopped_receiver),
        test_of(receiver_that_often_stops),
        test_of(late_ones_are_no_measure),
        test_of(jumps_end),
        test_of(any_stamp_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
