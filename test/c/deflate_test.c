/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small messages through the compressor and back, by themselves and in a context, and the advice
 * whether to try. A failure names its seed.
 */
#include <stdlib.h>
#include <string.h>

#include "bytes_support.h"
#include "cmocka_support.h"
#include "deflate_support.h"
#include "gr_deflate.h"
#include "gr_deflate_advice.h"
#include "gr_deflate_level.h"
#include "gr_inflate.h"
#include "mem_support.h"

#define MAX GR_DEFLATE_SMALL_MAX
#define OUT_ROOM (2 * MAX)
#define PIECES 5

static test_mem mem;
static gr_deflate *d;
static gr_inflate *inf;
static uint64_t seed; /* of the case that runs; 0: none does */
static uint8_t in[MAX + 1];
static uint8_t out[OUT_ROOM];
static uint8_t back[MAX];

static int setup(void **state)
{
    (void)state;
    mem_init(&mem);
    seed = 0;
    d = NULL;
    inf = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (seed)
        print_error("run it alone: GR_SEED=%llu\n", (unsigned long long)seed);
    gr_deflate_free(d);
    gr_inflate_free(inf);
    mem_check_empty(&mem);
    return 0;
}

static void make(int level)
{
    gr_deflate_free(d);
    gr_inflate_free(inf);
    assert_rc(gr_deflate_new(&d, &mem.vt, level), GR_OK);
    assert_rc(gr_inflate_new(&inf, &mem.vt), GR_OK);
}

static int small(size_t n, uint8_t *to, size_t room, size_t *size)
{
    gr_piece p = {in, n, NULL};
    return gr_deflate_small(d, &p, 1, to, room, size);
}

static int context(size_t n, size_t room, size_t *size)
{
    gr_piece p = {in, n, NULL};
    return gr_deflate_context(d, &p, 1, out, room, size);
}

/* Nothing is allocated but what is used; free accepts what was never made. */
static void streams_are_made_at_first_use(void **state)
{
    (void)state;
    size_t n;
    gr_deflate_free(NULL);
    assert_rc(gr_deflate_new(&d, &mem.vt, 6), GR_OK);
    assert_int_equal(mem.live, 1);
    data_fill(in, 1000, DATA_TERMS, 1);
    assert_rc(small(1000, out, sizeof out, &n), GR_OK);
    size_t live = mem.live;
    assert_true(live > 1);
    size_t tries = mem.tries;
    for (int i = 0; i < 100; i++)
        assert_rc(small(1000, out, sizeof out, &n), GR_OK);
    assert_int_equal(mem.tries, tries);
    assert_rc(context(1000, sizeof out, &n), GR_OK);
    assert_true(mem.live > live);
}

/* Whatever the message, its pieces, the level and the room: it comes back, or was refused. */
static void small_messages_come_back(void **state)
{
    (void)state;
    size_t refused = 0;
    for (seed = seed_first(1); seed_goes_on(seed, 600); seed++) {
        uint64_t prng = seed;
        make(1 + (int)prng_below(&prng, 9));
        for (int i = 0; i < 5; i++) {
            gr_piece p[PIECES];
            size_t size = prng_size(&prng, MAX);
            data_fill(in, size, (int)prng_below(&prng, DATA_KINDS), prng_next(&prng));
            size_t count = data_cut(p, PIECES, in, size, &prng);
            size_t room = prng_below(&prng, 2) ? OUT_ROOM : prng_size(&prng, size);
            uint8_t *exact = malloc(room ? room : 1);
            size_t n = SIZE_MAX;
            int rc = gr_deflate_small(d, p, count, exact, room, &n);
            assert_true(rc == GR_OK || (rc == GR_NONE && room < OUT_ROOM));
            if (rc == GR_OK) {
                assert_true(n < room);
                assert_rc(gr_inflate_small(inf, exact, n, back, size), GR_OK);
                assert_true(gr_inflate_done(inf));
                assert_memory_equal(back, in, size);
            } else {
                refused++;
            }
            free(exact);
        }
    }
    seed = 0;
    assert_true(refused > 10 || getenv("GR_SEED"));
}

/* A message that would not fit does not pay; the next one is not the worse for it. */
static void small_message_fits_or_is_refused(void **state)
{
    (void)state;
    size_t n, m;
    make(6);
    data_fill(in, 2000, DATA_TERMS, 3);
    assert_rc(small(2000, out, sizeof out, &n), GR_OK);
    assert_true(n < 1900);
    for (size_t room = 0; room <= n; room++)
        assert_rc(small(2000, out, room, &m), GR_NONE);
    assert_rc(small(2000, out, n + 1, &m), GR_OK);
    assert_int_equal(m, n);
    data_fill(in, 2000, DATA_RANDOM, 3);
    assert_rc(small(2000, out, 2000 - 2000 / 16, &m), GR_NONE);
    assert_rc(small(0, out, sizeof out, &n), GR_OK);
    assert_rc(gr_inflate_small(inf, out, n, NULL, 0), GR_OK);
}

/* A message over the limit costs nothing, and a sum of pieces does not run over. */
static void messages_over_the_limit_are_refused(void **state)
{
    (void)state;
    size_t n;
    make(1);
    size_t tries = mem.tries;
    gr_piece huge[] = {{in, MAX, NULL}, {in, SIZE_MAX, NULL}};
    assert_rc(small(MAX + 1, out, sizeof out, &n), GR_ETOOBIG);
    assert_rc(gr_deflate_small(d, huge, 2, out, sizeof out, &n), GR_ETOOBIG);
    assert_rc(context(MAX + 1, sizeof out, &n), GR_ETOOBIG);
    assert_rc(gr_deflate_context(d, huge, 2, out, sizeof out, &n), GR_ETOOBIG);
    assert_rc(context(100, gr_deflate_context_room(100) - 1, &n), GR_ETOOBIG);
    assert_int_equal(mem.tries, tries);
}

/* Hundreds of messages of every kind in one context; whatever they are, they fit the room. */
static void context_carries_all_messages(void **state)
{
    (void)state;
    for (seed = seed_first(1); seed_goes_on(seed, 27); seed++) {
        uint64_t prng = seed;
        make(1 + (int)(seed % 9));
        for (int i = 0; i < 300; i++) {
            gr_piece p[PIECES];
            size_t size = prng_size(&prng, MAX);
            data_fill(in, size, (int)prng_below(&prng, DATA_KINDS), prng_below(&prng, 50));
            size_t count = data_cut(p, PIECES, in, size, &prng);
            size_t room = gr_deflate_context_room(size), n = SIZE_MAX;
            uint8_t *exact = malloc(room);
            assert_rc(gr_deflate_context(d, p, count, exact, room, &n), GR_OK);
            assert_rc(gr_inflate_context(inf, exact, n, back, size), GR_OK);
            assert_memory_equal(back, in, size);
            free(exact);
        }
    }
    seed = 0;
}

/* The worst for the room: no two bytes alike, in blocks too long to be stored; or many short matches. */
static void context_room_is_enough(void **state)
{
    (void)state;
    for (int level = 1; level <= 9; level++) {
        make(level);
        for (size_t size = 1; size <= MAX; size = size * 5 / 3 + 1) {
            for (int kind = 0; kind < 3; kind++) {
                size_t n;
                for (size_t i = 0; i < size; i++)
                    in[i] = kind ? (uint8_t)(144 + (i * i >> kind) % 112) : 0;
                if (!kind)
                    data_fill(in, size, DATA_RANDOM, size);
                assert_rc(context(size, gr_deflate_context_room(size), &n), GR_OK);
                assert_rc(gr_inflate_context(inf, out, n, back, size), GR_OK);
                assert_memory_equal(back, in, size);
            }
        }
    }
}

/* What the context is for: the second of two messages that are alike is next to nothing. */
static void context_remembers(void **state)
{
    (void)state;
    size_t first, second, alone;
    make(6);
    data_fill(in, 300, DATA_TERMS, 7);
    assert_rc(small(300, out, sizeof out, &alone), GR_OK);
    assert_rc(context(300, sizeof out, &first), GR_OK);
    assert_rc(context(300, sizeof out, &second), GR_OK);
    assert_true(second < 20 && second * 5 < alone);
}

/* Neither is an empty one a step of the context, nor one that was refused, nor one by itself. */
static void context_is_left_as_it_was(void **state)
{
    (void)state;
    size_t n;
    make(6);
    data_fill(in, 500, DATA_TERMS, 8);
    for (int i = 0; i < 10; i++) {
        assert_rc(context(0, sizeof out, &n), GR_OK);
        assert_int_equal(n, 0);
        assert_rc(gr_inflate_context(inf, out, 0, NULL, 0), GR_OK);
        assert_rc(context(500, 100, &n), GR_ETOOBIG);
        assert_rc(small(500, out, sizeof out, &n), GR_OK);
        assert_rc(context(500, sizeof out, &n), GR_OK);
        assert_rc(gr_inflate_context(inf, out, n, back, 500), GR_OK);
        assert_memory_equal(back, in, 500);
    }
}

/* A level that is too slow for a size gives way to one that is not, never to a higher one. */
static void level_gives_way_to_size(void **state)
{
    (void)state;
    assert_int_equal(gr_deflate_level_for(9, 100), 9);
    assert_int_equal(gr_deflate_level_for(1, 100), 1);
    for (int level = 1; level <= 9; level++) {
        assert_true(gr_deflate_step(gr_deflate_level_for(level, MAX)) >= MAX);
        for (size_t size = 1; size <= MAX; size += 100) {
            int got = gr_deflate_level_for(level, size);
            assert_true(got <= level && gr_deflate_step(got) >= size);
            /* zlib would have to change its way of searching in the middle of a context. */
            assert_int_equal(got > 3, level > 3);
        }
    }
}

/* Wherever memory runs out it is said, and nothing is lost or freed twice. */
static void failed_allocations_are_reported(void **state)
{
    (void)state;
    int rc = GR_ENOMEM;
    size_t tries = 0;
    data_fill(in, 500, DATA_TERMS, 9);
    for (; rc != GR_OK; tries++) {
        size_t n;
        mem.failed = 0;
        mem.fail_at = mem.tries + tries + 1;
        rc = gr_deflate_new(&d, &mem.vt, 6);
        if (rc == GR_OK)
            rc = small(500, out, sizeof out, &n);
        if (rc == GR_OK)
            rc = context(500, sizeof out, &n);
        assert_rc(rc, mem.failed ? GR_ENOMEM : GR_OK);
        gr_deflate_free(d);
        d = NULL;
        mem_check_empty(&mem);
    }
    assert_true(tries > 3);
    mem.fail_at = 0;
}

/* After one that failed, the same object may be asked again. */
static void failed_stream_can_be_made_later(void **state)
{
    (void)state;
    size_t n;
    make(6);
    data_fill(in, 500, DATA_TERMS, 9);
    mem.fail_at = mem.tries + 2;
    assert_rc(small(500, out, sizeof out, &n), GR_ENOMEM);
    assert_rc(small(500, out, sizeof out, &n), GR_OK);
    mem.fail_at = mem.tries + 3;
    assert_rc(context(500, sizeof out, &n), GR_ENOMEM);
    assert_rc(context(500, sizeof out, &n), GR_OK);
}

/* Messages out of n that are tried when none of them gets smaller. */
static size_t tried_of(gr_deflate_advice *a, size_t n)
{
    size_t tried = 0;
    for (size_t i = 0; i < n; i++) {
        if (!gr_deflate_worth_trying(a))
            continue;
        tried++;
        gr_deflate_tried(a, 1000, 1000);
    }
    return tried;
}

/* Messages that do not get smaller are tried more and more rarely, but never not at all. */
static void advice_backs_off(void **state)
{
    (void)state;
    gr_deflate_advice a = {0};
    /* 1 tried, 1 not, 1 tried, 2 not, ... 1 tried, 64 not; then one of 65. */
    assert_int_equal(tried_of(&a, 7 + 127), 7);
    assert_int_equal(tried_of(&a, 6500), 100);
}

/* One that does get smaller ends that. */
static void advice_recovers_at_once(void **state)
{
    (void)state;
    gr_deflate_advice a = {0};
    tried_of(&a, 7 + 127);
    assert_true(gr_deflate_worth_trying(&a));
    gr_deflate_tried(&a, 1000, 900);
    for (int i = 0; i < 100; i++) {
        assert_true(gr_deflate_worth_trying(&a));
        gr_deflate_tried(&a, 1000, 900);
    }
    assert_int_equal(tried_of(&a, 3), 2);
    /* Also one that was tried without being asked for. */
    tried_of(&a, 7 + 127);
    gr_deflate_tried(&a, 1000, 1000);
    assert_false(gr_deflate_worth_trying(&a));
    gr_deflate_tried(&a, 1000, 900);
    assert_true(gr_deflate_worth_trying(&a));
}

/* A sixteenth must be saved. */
static void a_sixteenth_pays(void **state)
{
    (void)state;
    assert_true(gr_deflate_pays(1600, 1500));
    assert_false(gr_deflate_pays(1600, 1501));
    assert_false(gr_deflate_pays(100, 200));
    /* Of few bytes a sixteenth is less than one; one must be saved. */
    assert_false(gr_deflate_pays(15, 15));
    assert_true(gr_deflate_pays(15, 14));
    assert_true(gr_deflate_pays(SIZE_MAX, 0));
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(streams_are_made_at_first_use),
        test_of(small_messages_come_back),
        test_of(small_message_fits_or_is_refused),
        test_of(messages_over_the_limit_are_refused),
        test_of(context_carries_all_messages),
        test_of(context_room_is_enough),
        test_of(context_remembers),
        test_of(context_is_left_as_it_was),
        test_of(level_gives_way_to_size),
        test_of(failed_allocations_are_reported),
        test_of(failed_stream_can_be_made_later),
        test_of(advice_backs_off),
        test_of(advice_recovers_at_once),
        test_of(a_sixteenth_pays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
