/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all ports of the driver share: the pool of threads and the handshakes on it, places for workers,
 * receivers, TLS configurations. Used by several threads at once, as schedulers do, under ThreadSanitizer.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_support.h"
#include "driver_api.h"
#include "drv_limit.h"
#include "drv_mem.h"
#include "drv_pool.h"
#include "drv_receiver.h"
#include "drv_tls.h"
#include "gr_wire.h"
#include "tls_support.h"

#define THREADS 4

/* Runs it on several threads at once, each with a number from 0 on. */
static void on_threads(void *(*run)(void *))
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

/* ---- the pool ---- */

#define JOBS 2000

typedef struct test_job {
    drv_job job;
    int ran; /* not atomic: a job is one thread's at a time */
    int withdrawn;
} test_job;

static test_job jobs[THREADS][JOBS];

static void run_job(drv_job *j)
{
    ((test_job *)j)->ran++;
}

static void *submit_jobs(void *arg)
{
    test_job *mine = jobs[(uintptr_t)arg];
    for (int i = 0; i < JOBS; i++) {
        mine[i].job.run = run_job;
        mine[i].ran = 0;
        mine[i].withdrawn = 0;
        assert_int_equal(drv_pool_submit(&mine[i].job, (unsigned)i % DRV_POOL_RANKS, i % 5 == 0),
                         0);
        /* Whether one of a moment ago has run by now is up to chance. */
        if (i >= 10 && i % 4 == 0)
            mine[i - 10].withdrawn = drv_pool_withdraw(&mine[i - 10].job) == 0;
    }
    return NULL;
}

/* Each job runs once, also those that are still queued when the pool ends, or is withdrawn and does not. */
static void each_job_runs_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 8; threads *= 2) {
        assert_int_equal(drv_pool_init(), 0);
        assert_int_equal(drv_pool_limit(threads), 0);
        on_threads(submit_jobs);
        drv_pool_finish();
        for (int t = 0; t < THREADS; t++)
            for (int i = 0; i < JOBS; i++)
                assert_int_equal(jobs[t][i].ran + jobs[t][i].withdrawn, 1);
    }
}

/* A job that keeps the only thread until the others are there, and what ran after it. */
static atomic_int at_gate;
static atomic_int gate;
static const drv_job *order[3 * DRV_POOL_RANKS];
static size_t ordered;

static void wait_at_gate(drv_job *j)
{
    (void)j;
    atomic_store(&at_gate, 1);
    while (!atomic_load(&gate))
        sched_yield();
}

static void run_in_order(drv_job *j)
{
    order[ordered++] = j;
}

/*
 * Those of a lower rank run first, whenever they came; of the same rank, who was put first before who
 * was put last. Who is withdrawn does not run, wherever it was.
 */
static void jobs_run_by_rank(void **state)
{
    static drv_job j[3 * DRV_POOL_RANKS];
    static drv_job gone[3 * DRV_POOL_RANKS];
    drv_job first = {.run = wait_at_gate};
    (void)state;
    assert_int_equal(drv_pool_init(), 0);
    assert_int_equal(drv_pool_submit(&first, 0, DRV_POOL_LAST), 0);
    while (!atomic_load(&at_gate))
        sched_yield();
    for (unsigned rank = DRV_POOL_RANKS; rank-- > 0;) {
        const drv_pool_place places[] = {DRV_POOL_LAST, DRV_POOL_LAST, DRV_POOL_FIRST};
        for (unsigned i = 0; i < 3; i++) {
            drv_job *job = &j[3 * rank + (i + 1) % 3];
            job->run = run_in_order;
            gone[3 * rank + i].run = run_in_order;
            assert_int_equal(drv_pool_submit(job, rank, places[i]), 0);
            assert_int_equal(drv_pool_submit(&gone[3 * rank + i], rank, places[i]), 0);
        }
    }
    for (size_t i = 0; i < COUNT_OF(gone); i++)
        assert_int_equal(drv_pool_withdraw(&gone[i]), 0);
    assert_int_equal(drv_pool_withdraw(&first), -1);
    atomic_store(&gate, 1);
    drv_pool_finish();
    assert_int_equal(ordered, COUNT_OF(j));
    for (size_t i = 0; i < ordered; i++)
        assert_ptr_equal(order[i], &j[i]);
}

/* A number of threads that there can't be changes nothing. */
static void pool_has_bounds(void **state)
{
    (void)state;
    assert_int_equal(drv_pool_init(), 0);
    assert_int_equal(drv_pool_limit(0), -1);
    assert_int_equal(drv_pool_limit(65), -1);
    assert_int_equal(drv_pool_limit(64), 0);
    drv_pool_finish();
}

/* ---- places for workers ---- */

#define PLACES 3
#define TURNS 3000

static atomic_int at_work;
static atomic_int most;

static void work(void)
{
    int now = atomic_fetch_add(&at_work, 1) + 1;
    int before = atomic_load(&most);
    while (now > before && !atomic_compare_exchange_weak(&most, &before, now))
        ;
    sched_yield();
    atomic_fetch_sub(&at_work, 1);
}

/* A connection with one request after the other; now and then it closes while it waits. */
static void *take_places(void *arg)
{
    uint64_t prng = (uintptr_t)arg + 1;
    api_owner owner = {0};
    drv_places p = {.port = api_port(&owner), .max = PLACES};
    for (int i = 0; i < TURNS;) {
        if (drv_limit_reserve(&p, 1)) {
            if (prng_below(&prng, 10) == 0) {
                drv_limit_unreserve(&p);
                continue;
            }
            drv_limit_use(&p);
            work();
            drv_limit_ended(&p, 1);
            i++;
        } else if (prng_below(&prng, 5) == 0) {
            drv_limit_leave(&p);
            atomic_store(&owner.flushes, 0);
        } else {
            api_await_flush(&owner);
        }
    }
    drv_limit_leave(&p);
    return NULL;
}

/*
 * Never more at once than there are places, whoever waits gets one, and in the end all are free: a place
 * that was granted to somebody who left is not lost.
 */
static void places_are_neither_lost_nor_made(void **state)
{
    (void)state;
    api_owner owner = {0};
    assert_int_equal(drv_limit_init(), 0);
    atomic_store(&most, 0);
    on_threads(take_places);
    assert_true(atomic_load(&most) <= PLACES);
    drv_places p = {.port = api_port(&owner), .max = PLACES};
    for (int i = 0; i < PLACES; i++) {
        assert_int_equal(drv_limit_reserve(&p, 0), 1);
        drv_limit_use(&p);
    }
    assert_int_equal(drv_limit_reserve(&p, 0), 0);
    drv_limit_leave(&p);
    drv_limit_finish();
}

/* Places go to those who wait in the order in which they came, and not to who asks meanwhile. */
static void places_go_in_turn(void **state)
{
    (void)state;
    api_owner owners[3] = {0};
    drv_places p[3];
    assert_int_equal(drv_limit_init(), 0);
    for (int i = 0; i < 3; i++) {
        drv_places fresh = {.port = api_port(&owners[i]), .max = 1};
        p[i] = fresh;
    }
    assert_int_equal(drv_limit_reserve(&p[0], 1), 1);
    drv_limit_use(&p[0]);
    assert_int_equal(drv_limit_reserve(&p[1], 1), 0);
    assert_int_equal(drv_limit_reserve(&p[2], 1), 0);
    drv_limit_ended(&p[0], 1);
    assert_int_equal(atomic_load(&owners[1].flushes), 1);
    assert_int_equal(drv_limit_reserve(&p[0], 1), 0);
    assert_int_equal(drv_limit_reserve(&p[1], 1), 1);
    drv_limit_unreserve(&p[1]);
    assert_int_equal(atomic_load(&owners[2].flushes), 1);
    /* The one that has a place and has not seen it leaves. */
    drv_limit_leave(&p[2]);
    assert_int_equal(atomic_load(&owners[0].flushes), 1);
    assert_int_equal(drv_limit_reserve(&p[0], 1), 1);
    drv_limit_leave(&p[0]);
    drv_limit_leave(&p[1]);
    drv_limit_finish();
}

/* ---- receivers ---- */

static atomic_int holders[65];

static void *enter_and_leave(void *arg)
{
    ErlDrvTermData me = (ErlDrvTermData)arg + 1;
    api_set_caller(me);
    for (int i = 0; i < 20000; i++) {
        drv_port p = {.kind = DRV_KIND_NEW};
        char buf[8];
        char *at = buf;
        drv_result r = {&at, sizeof buf};
        assert_int_equal(drv_receiver_open(&p, &r), 3);
        assert_int_equal(atomic_fetch_add(&holders[p.receiver], 1), 0);
        assert_true(drv_receiver_get(p.receiver) == me);
        /* Anybody's number may be asked for at any time. */
        (void)drv_receiver_get((uint16_t)(i % 70));
        atomic_fetch_sub(&holders[p.receiver], 1);
        drv_receiver_close(&p);
    }
    return NULL;
}

static void receivers_are_one_process_each(void **state)
{
    (void)state;
    on_threads(enter_and_leave);
    for (uint16_t i = 0; i < 70; i++)
        assert_true(drv_receiver_get(i) == 0);
}

/* ---- TLS ---- */

static gr_tlsconf *client_conf;
static gr_tlsconf *server_conf;

static gr_tlsconf *make_conf(gr_role role)
{
    gr_tlsconf_options o = tls_options(role, "full");
    gr_tlsconf_error err;
    gr_tlsconf *c;
    assert_rc(gr_tlsconf_new(&c, &drv_mem, &o, &err), GR_OK);
    return c;
}

/* One step on the pool. 0: it was given up in the middle of that. */
static int step(api_owner *owner, gr_tls **t, int *rc, uint64_t *prng)
{
    drv_turn turn = {(uint32_t)prng_next(prng), (int)prng_below(prng, 2)};
    drv_handshake *h = drv_handshake_begin(api_port(owner), *t, turn);
    assert_non_null(h);
    if (prng_below(prng, 12) == 0) {
        drv_handshake_abandon(h);
        *t = NULL;
        return 0;
    }
    /* It may be told of one that was given up before as well. */
    do
        api_await_flush(owner);
    while (!drv_handshake_end(h, t, rc));
    return 1;
}

static void move(gr_tls *from, gr_tls *to)
{
    gr_iov in;
    gr_iov out[1];
    while (gr_tls_peek(from, out, 1) != 0) {
        assert_rc(gr_tls_space(to, &in), GR_OK);
        size_t size = out[0].size < in.size ? out[0].size : in.size;
        assert_true(size > 0);
        memcpy(in.data, out[0].data, size);
        gr_tls_filled(to, size);
        gr_tls_consume(from, size);
    }
}

static atomic_int completed;
static api_owner owners[THREADS];

/* The owner outlives the handshakes: a thread may be about to tell it of one that was given up. */
static void shake_hands(api_owner *owner, uint64_t *prng)
{
    const gr_str none = {NULL, 0};
    gr_tls *end[2];
    int rc[2] = {GR_NONE, GR_NONE};
    int at = 0;
    assert_rc(gr_tls_new(&end[0], &drv_mem, &drv_blobs, client_conf, str_of("callee@there"), none),
              GR_OK);
    assert_rc(gr_tls_new(&end[1], &drv_mem, &drv_blobs, server_conf, none, none), GR_OK);
    while (rc[0] != GR_OK || rc[1] != GR_OK) {
        if (!step(owner, &end[at], &rc[at], prng))
            break;
        assert_true(rc[at] == GR_OK || rc[at] == GR_NONE);
        move(end[at], end[!at]);
        at = !at;
    }
    if (end[0] && end[1])
        atomic_fetch_add(&completed, 1);
    gr_tls_free(end[0]);
    gr_tls_free(end[1]);
}

static void *make_handshakes(void *arg)
{
    uint64_t prng = (uintptr_t)arg + 1;
    for (int i = 0; i < 40; i++)
        shake_hands(&owners[(uintptr_t)arg], &prng);
    return NULL;
}

/* Steps run beside the port that they are for, and whether it waits or has gone, nothing is left. */
static void handshakes_run_on_the_pool(void **state)
{
    (void)state;
    long before = api_live();
    assert_int_equal(drv_pool_init(), 0);
    assert_int_equal(drv_pool_limit(3), 0);
    client_conf = make_conf(GR_CLIENT);
    server_conf = make_conf(GR_SERVER);
    on_threads(make_handshakes);
    drv_pool_finish();
    gr_tlsconf_unref(client_conf);
    gr_tlsconf_unref(server_conf);
    assert_true(atomic_load(&completed) > 10);
    assert_int_equal(api_live(), before);
}

static void put_blob(test_bytes *b, gr_str s)
{
    uint8_t size[4];
    gr_put32(size, (uint32_t)s.size);
    bytes_append(b, size, 4);
    bytes_append(b, s.data, s.size);
}

/* As gen_rpc_port.erl encodes it. */
static void encode(test_bytes *b, const gr_tlsconf_options *o)
{
    const uint8_t head[] = {o->role == GR_SERVER,
                            (uint8_t)o->verify,
                            (uint8_t)o->need_cert,
                            (uint8_t)o->tickets,
                            (uint8_t)o->depth,
                            (uint8_t)o->min_version,
                            (uint8_t)o->max_version,
                            0,
                            6,
                            'a',
                            '@',
                            'h',
                            'o',
                            's',
                            't'};
    const gr_str blobs[] = {o->cert, o->key, o->password, o->ca, o->dh, o->crl, o->ciphers};
    bytes_append(b, head, sizeof head);
    for (size_t i = 0; i < COUNT_OF(blobs); i++)
        put_blob(b, blobs[i]);
}

static atomic_ulong newest; /* number of a configuration that was there a moment ago */

static void *load_and_find(void *arg)
{
    gr_tlsconf_options o = tls_options(GR_SERVER, "full");
    test_bytes b = {0};
    (void)arg;
    encode(&b, &o);
    for (int i = 0; i < 30; i++) {
        drv_port p = {.kind = DRV_KIND_NEW};
        char buf[64];
        char *at = buf;
        drv_result r = {&at, sizeof buf};
        assert_int_equal(drv_tls_load(&p, (const char *)b.data, b.size, &r), 10);
        uint64_t number = gr_get64((uint8_t *)buf + 1);
        atomic_store(&newest, number);
        assert_null(drv_tls_find(number, GR_CLIENT));
        gr_tlsconf *mine = drv_tls_find(number, GR_SERVER);
        assert_non_null(mine);
        for (int k = 0; k < 1000; k++)
            gr_tlsconf_unref(drv_tls_find(atomic_load(&newest), GR_SERVER));
        drv_tls_unload(p.tlsconf);
        assert_null(drv_tls_find(number, GR_SERVER));
        /* What was found stays as long as it is held. */
        assert_int_equal(gr_tlsconf_role(mine), GR_SERVER);
        gr_tlsconf_unref(mine);
    }
    bytes_free(&b);
    return NULL;
}

static void configurations_come_and_go(void **state)
{
    (void)state;
    long before = api_live();
    assert_int_equal(drv_tls_init(), 0);
    on_threads(load_and_find);
    drv_tls_finish();
    assert_int_equal(api_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_job_runs_once),
        cmocka_unit_test(jobs_run_by_rank),
        cmocka_unit_test(pool_has_bounds),
        cmocka_unit_test(places_are_neither_lost_nor_made),
        cmocka_unit_test(places_go_in_turn),
        cmocka_unit_test(receivers_are_one_process_each),
        cmocka_unit_test(handshakes_run_on_the_pool),
        cmocka_unit_test(configurations_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
