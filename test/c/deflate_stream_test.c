/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large messages through compressor streams and back: in any portions, several at a time, and what
 * becomes of data that does not get smaller. A failure names its seed.
 */
#include <stdlib.h>
#include <string.h>

#include "bytes_support.h"
#include "cmocka_support.h"
#include "deflate_support.h"
#include "gr_deflate_level.h"
#include "gr_deflate_stream.h"
#include "gr_inflate.h"
#include "mem_support.h"

#define LAP 65536u         /* bytes after which a stream decides anew */
#define BIG (4096u * 1024) /* a message of many laps */
#define OPEN 4             /* messages at once */

/* One message under way. */
typedef struct job {
    uint8_t *data;
    size_t size;
    size_t used;
    gr_deflate_stream *s;
    test_bytes out;
} job;

static test_mem mem;
static gr_deflate_streams all;
static uint64_t seed; /* of the case that runs; 0: none does */
static job jobs[OPEN];

static int setup(void **state)
{
    (void)state;
    mem_init(&mem);
    memset(&all, 0xa5, sizeof all);
    memset(jobs, 0, sizeof jobs);
    gr_deflate_streams_init(&all, &mem.vt, 6);
    seed = 0;
    return 0;
}

static void job_end(job *j)
{
    gr_deflate_stream_close(j->s);
    free(j->data);
    bytes_free(&j->out);
    memset(j, 0, sizeof *j);
}

static int teardown(void **state)
{
    (void)state;
    if (seed)
        print_error("run it alone: GR_SEED=%llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < OPEN; i++)
        job_end(&jobs[i]);
    assert_int_equal(all.open, 0);
    gr_deflate_streams_trim(&all);
    mem_check_empty(&mem);
    return 0;
}

static void job_begin(job *j, size_t size, int kind, uint64_t data_seed)
{
    memset(j, 0, sizeof *j);
    j->size = size;
    j->data = malloc(size + 1);
    data_fill(j->data, size, kind, data_seed);
    assert_rc(gr_deflate_stream_open(&j->s, &all), GR_OK);
}

/* One call with so much input at most and so much room. */
static void job_step(job *j, size_t most, size_t room)
{
    size_t left = j->size - j->used, take, got;
    size_t n = left < most ? left : most, step = gr_deflate_stream_step(j->s);
    uint8_t *out = malloc(room + 1);
    int rc = gr_deflate_stream_some(j->s, j->data + j->used, n, &take, out, room, &got, n == left);
    assert_true(rc == GR_OK || rc == GR_NONE);
    assert_true(take <= n && take <= step && got <= room);
    /* With room left all is taken that a step may take. */
    if (rc == GR_OK && !gr_deflate_stream_done(j->s))
        assert_int_equal(take, n < step ? n : step);
    if (rc == GR_NONE)
        assert_int_equal(got, room);
    bytes_append(&j->out, out, got);
    j->used += take;
    free(out);
}

static void job_run(job *j, size_t most, size_t room)
{
    while (!gr_deflate_stream_done(j->s))
        job_step(j, most, room);
}

/* The message is what a receiver gets, and behind its end there is nothing. */
static void job_check(const job *j)
{
    gr_inflate *inf;
    uint8_t *back = malloc(j->size + 1);
    size_t used = 0, filled = 0;
    assert_int_equal(j->used, j->size);
    assert_rc(gr_inflate_new(&inf, &mem.vt), GR_OK);
    gr_inflate_begin(inf, j->size);
    while (!gr_inflate_done(inf)) {
        size_t n, m;
        assert_rc(gr_inflate_some(inf, j->out.data + used, j->out.size - used, &n, back + filled,
                                  j->size - filled, &m),
                  GR_OK);
        assert_true(n || m || gr_inflate_done(inf));
        used += n;
        filled += m;
    }
    assert_int_equal(used, j->out.size);
    assert_int_equal(filled, j->size);
    assert_memory_equal(back, j->data, j->size);
    gr_inflate_free(inf);
    free(back);
}

/* Size of what comes out of so many bytes in portions of 16 kB. */
static size_t size_after(size_t size, int kind)
{
    job *j = &jobs[0];
    job_begin(j, size, kind, 5);
    job_run(j, 16384, 32768);
    job_check(j);
    size_t after = j->out.size;
    job_end(j);
    return after;
}

/* Whatever the size, kind, level, portions and room. */
static void messages_come_back(void **state)
{
    (void)state;
    for (seed = seed_first(1); seed_goes_on(seed, 150); seed++) {
        uint64_t prng = seed;
        gr_deflate_streams_trim(&all);
        gr_deflate_streams_init(&all, &mem.vt, 1 + (int)prng_below(&prng, 9));
        for (int i = 0; i < 3; i++) {
            job *j = &jobs[0];
            size_t size = prng_size(&prng, 1024 * 1024);
            job_begin(j, size, (int)prng_below(&prng, DATA_KINDS), prng_next(&prng));
            size_t most = prng_below(&prng, 2) ? size : size / 50 + prng_size(&prng, 100000);
            size_t room = 1 + size / 500 + prng_size(&prng, 100000);
            while (!gr_deflate_stream_done(j->s))
                job_step(j, 1 + prng_size(&prng, most), prng_below(&prng, room + 1));
            job_check(j);
            job_end(j);
        }
    }
    seed = 0;
}

/* Several at once, in turns of random length, some of them given up half way. */
static void streams_do_not_mix(void **state)
{
    (void)state;
    size_t whole = 0;
    for (seed = seed_first(1); seed_goes_on(seed, 20); seed++) {
        uint64_t prng = seed;
        for (int i = 0; i < 4000; i++) {
            job *j = &jobs[prng_below(&prng, OPEN)];
            if (!j->s)
                job_begin(j, prng_size(&prng, 300000), (int)prng_below(&prng, DATA_KINDS),
                          prng_next(&prng));
            job_step(j, prng_size(&prng, 30000), 1 + prng_size(&prng, 30000));
            if (gr_deflate_stream_done(j->s)) {
                job_check(j);
                whole++;
                job_end(j);
            } else if (prng_below(&prng, 100) == 0) {
                job_end(j);
            }
        }
        for (size_t i = 0; i < OPEN; i++)
            job_end(&jobs[i]);
    }
    seed = 0;
    assert_true(whole > 100);
}

/* A byte in, a byte out: through changes of mode too. */
static void single_bytes_are_enough(void **state)
{
    (void)state;
    for (int kind = 0; kind < DATA_KINDS; kind++) {
        job *j = &jobs[0];
        job_begin(j, 3 * LAP + 7, kind, 11);
        job_run(j, 1, 1);
        job_check(j);
        job_end(j);
    }
}

/* No room, no work; an empty message is one too. */
static void edges_are_quiet(void **state)
{
    (void)state;
    job *j = &jobs[0];
    size_t used, got;
    gr_deflate_stream_close(NULL);
    job_begin(j, 0, DATA_ZEROS, 0);
    assert_rc(gr_deflate_stream_some(j->s, NULL, 0, &used, NULL, 0, &got, 1), GR_NONE);
    job_run(j, 1, 100);
    job_check(j);
    assert_rc(gr_deflate_stream_some(j->s, NULL, 0, &used, NULL, 0, &got, 1), GR_ESTATE);
}

/* Work of one call is bounded by the level, or by the lap when nothing is compressed. */
static void step_bounds_one_call(void **state)
{
    (void)state;
    for (int level = 1; level <= 9; level++) {
        job *j = &jobs[0];
        gr_deflate_streams_trim(&all);
        gr_deflate_streams_init(&all, &mem.vt, level);
        job_begin(j, BIG, DATA_TERMS, 12);
        while (!gr_deflate_stream_done(j->s)) {
            assert_true(gr_deflate_stream_step(j->s) <= gr_deflate_step(level));
            job_step(j, BIG, 65536);
        }
        job_end(j);
        job_begin(j, LAP + 1, DATA_RANDOM, 12);
        while (j->used < LAP)
            job_step(j, BIG, 65536);
        assert_int_equal(gr_deflate_stream_step(j->s), LAP);
        job_end(j);
    }
}

/* Data that does not get smaller grows by less than 1 %, and soon nothing is tried any more. */
static void random_data_is_given_up(void **state)
{
    (void)state;
    job *j = &jobs[0];
    size_t stored = 0;
    job_begin(j, BIG, DATA_RANDOM, 13);
    while (!gr_deflate_stream_done(j->s)) {
        size_t before = j->used;
        int stores = gr_deflate_stream_step(j->s) > gr_deflate_step(6);
        job_step(j, BIG, 100000);
        if (stores)
            stored += j->used - before;
    }
    job_check(j);
    assert_true(j->out.size > BIG && j->out.size - BIG < BIG / 1000);
    assert_true(stored > BIG / 10 * 8);
}

/* In small portions the stored blocks are no smaller. */
static void stored_blocks_are_large(void **state)
{
    (void)state;
    job *j = &jobs[0];
    job_begin(j, BIG, DATA_RANDOM, 14);
    job_run(j, 1000, 300);
    job_check(j);
    assert_true(j->out.size - BIG < BIG / 100);
}

/* A message may become compressible again: half of this one is, and most of that is found. */
static void compression_is_taken_up_again(void **state)
{
    (void)state;
    job *j = &jobs[0];
    job_begin(j, BIG, DATA_RANDOM, 15);
    memset(j->data + BIG / 2, 'x', BIG / 2);
    job_run(j, 16384, 32768);
    job_check(j);
    /* 32 laps cannot be compressed: tried 1, stored 1, 1, 2, 1, 4, 1, 8, 1, 16 at most behind it. */
    assert_true(j->out.size < BIG / 2 + BIG / 4 + BIG / 100);
    job_end(j);
    assert_true(size_after(BIG, DATA_TERMS) < BIG / 2);
    assert_true(size_after(BIG, DATA_ZEROS) < BIG / 100);
    assert_true(size_after(BIG, DATA_MIXED) < BIG / 2);
}

/* Each time it does not pay it is given up for twice as long; when it does that is forgotten. */
static void giving_up_doubles(void **state)
{
    (void)state;
    char laps[20 + 1] = "";
    job *j = &jobs[0];
    job_begin(j, 20 * LAP, DATA_RANDOM, 18);
    memset(j->data + 8 * LAP, 'x', 8 * LAP);
    for (size_t i = 0; i < 20; i++) {
        laps[i] = gr_deflate_stream_step(j->s) == LAP ? 's' : 'c';
        while (j->used < (i + 1) * LAP)
            job_step(j, LAP, LAP * 2);
    }
    assert_string_equal(laps, "cscsscssss"
                              "cccccccscs");
}

/* So many at once and no more; closing one makes place. */
static void open_streams_are_limited(void **state)
{
    (void)state;
    gr_deflate_stream *s[GR_DEFLATE_STREAMS_MAX], *more = NULL;
    for (size_t i = 0; i < COUNT_OF(s); i++)
        assert_rc(gr_deflate_stream_open(&s[i], &all), GR_OK);
    assert_rc(gr_deflate_stream_open(&more, &all), GR_NONE);
    assert_null(more);
    gr_deflate_stream_close(s[3]);
    assert_rc(gr_deflate_stream_open(&s[3], &all), GR_OK);
    for (size_t i = 0; i < COUNT_OF(s); i++)
        gr_deflate_stream_close(s[i]);
}

/* One is kept for the next message, whatever state it was left in; trim gives it back. */
static void one_spare_is_kept(void **state)
{
    (void)state;
    job_begin(&jobs[0], 2 * LAP, DATA_RANDOM, 16);
    job_begin(&jobs[1], LAP, DATA_TERMS, 16);
    while (jobs[0].used < LAP + 1)
        job_step(&jobs[0], LAP, 100);
    size_t live = mem.live;
    job_end(&jobs[0]);
    assert_int_equal(mem.live, live);
    job_end(&jobs[1]);
    assert_int_equal(mem.live, live / 2);
    size_t tries = mem.tries;
    job *j = &jobs[0];
    job_begin(j, BIG, DATA_TERMS, 17);
    job_run(j, BIG, 65536);
    assert_int_equal(mem.tries, tries);
    assert_true(j->out.size < BIG / 2);
    job_check(j);
    job_end(j);
    gr_deflate_streams_trim(&all);
    assert_int_equal(mem.live, 0);
}

/* A message comes out the same from a stream that had another before, so nothing of that is left. */
static void spare_is_as_good_as_new(void **state)
{
    (void)state;
    for (int kind = 0; kind < DATA_KINDS; kind++) {
        gr_deflate_streams_trim(&all);
        gr_deflate_streams_init(&all, &mem.vt, 9);
        size_t fresh = size_after(5 * LAP, DATA_BITS);
        size_after(5 * LAP, kind);
        assert_int_equal(size_after(5 * LAP, DATA_BITS), fresh);
    }
}

/* Wherever memory runs out, opening says so and leaves nothing behind. */
static void failed_allocations_are_reported(void **state)
{
    (void)state;
    gr_deflate_stream *s = NULL;
    size_t tries = 0;
    for (int rc = GR_ENOMEM; rc != GR_OK; tries++) {
        mem.failed = 0;
        mem.fail_at = mem.tries + tries + 1;
        rc = gr_deflate_stream_open(&s, &all);
        assert_rc(rc, mem.failed ? GR_ENOMEM : GR_OK);
        if (rc != GR_OK) {
            assert_int_equal(all.open, 0);
            mem_check_empty(&mem);
        }
    }
    mem.fail_at = 0;
    assert_true(tries > 2);
    gr_deflate_stream_close(s);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(messages_come_back),
        test_of(streams_do_not_mix),
        test_of(single_bytes_are_enough),
        test_of(edges_are_quiet),
        test_of(step_bounds_one_call),
        test_of(random_data_is_given_up),
        test_of(stored_blocks_are_large),
        test_of(compression_is_taken_up_again),
        test_of(giving_up_doubles),
        test_of(open_streams_are_limited),
        test_of(one_spare_is_kept),
        test_of(spare_is_as_good_as_new),
        test_of(failed_allocations_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
