/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configurations that threads share, and sessions that move from one thread to another. Built for
 * ThreadSanitizer, which sees what our code does to memory, and what the library does by memcpy.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_support.h"
#include "tls_support.h"

#define THREADS 4

/* ---- memory that threads share ---- */

static atomic_long live;

static void *take(void *ctx, size_t size)
{
    (void)ctx;
    atomic_fetch_add(&live, 1);
    return malloc(size);
}

static void *resize(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    if (!ptr)
        atomic_fetch_add(&live, 1);
    return realloc(ptr, size);
}

static void give(void *ctx, void *ptr)
{
    (void)ctx;
    if (ptr)
        atomic_fetch_sub(&live, 1);
    free(ptr);
}

static const gr_mem shared_mem = {take, resize, give, NULL};

static gr_tlsconf *make(const gr_tlsconf_options *o)
{
    gr_tlsconf *c;
    gr_tlsconf_error err;
    int rc = gr_tlsconf_new(&c, &shared_mem, o, &err);
    return rc == GR_OK ? c : NULL;
}

/* ---- the two that are used at the moment ---- */

static struct {
    pthread_mutex_t lock;
    gr_tlsconf *client;
    gr_tlsconf *server;
} current = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void use(gr_tlsconf *client, gr_tlsconf *server)
{
    pthread_mutex_lock(&current.lock);
    gr_tlsconf *old[] = {current.client, current.server};
    current.client = client;
    current.server = server;
    pthread_mutex_unlock(&current.lock);
    gr_tlsconf_unref(old[0]);
    gr_tlsconf_unref(old[1]);
}

static void find(gr_tlsconf **client, gr_tlsconf **server)
{
    pthread_mutex_lock(&current.lock);
    gr_tlsconf_ref(*client = current.client);
    gr_tlsconf_ref(*server = current.server);
    pthread_mutex_unlock(&current.lock);
}

/* ---- what a thread does ---- */

static atomic_uint handshakes[2]; /* whole and short ones */
static atomic_uint unfinished;    /* threads that have not come to their end */

/*
 * A connection of its own: handshake, data both ways, goodbye. The checks of cmocka write nothing
 * unless they fail, and then the program is lost anyway.
 */
static void connect_once(uint64_t seed)
{
    tls_pair p;
    memset(&p, 0, sizeof p);
    mem_init(&p.mem);
    find(&p.client_conf, &p.server_conf);
    p.prng = seed;
    tls_pair_join_up(&p);
    tls_pair_check_up(&p);
    atomic_fetch_add(&handshakes[tls_end_info(&p.client).resumed], 1);
    for (uint64_t i = 0; i < 3; i++) {
        tls_end_write_pattern(&p.client, seed + i, 30000);
        tls_end_write_pattern(&p.server, seed - i, 20000);
        tls_pair_pump(&p);
        tls_end_expect_pattern(&p.server, seed + i, 30000);
        tls_end_expect_pattern(&p.client, seed - i, 20000);
    }
    assert_true(gr_tls_is_for(p.server.t, str_of("caller@here")));
    gr_tls_close(p.client.t);
    tls_pair_pump(&p);
    assert_rc(p.server.rc, GR_EEOF);
    tls_pair_close(&p);
}

typedef struct job {
    pthread_t thread;
    uint64_t seed;
    unsigned rounds;
} job;

static void *run(void *arg)
{
    job *j = arg;
    for (unsigned i = 0; i < j->rounds; i++) {
        connect_once(j->seed * 1000 + i + 1);
        /* Every third handshake is a whole one again, for everybody. */
        if (i % 3 == 2) {
            gr_tlsconf *client;
            gr_tlsconf *server;
            find(&client, &server);
            gr_tlscache_drop(gr_tlsconf_cache(client), str_of("callee@there"));
            gr_tlsconf_unref(client);
            gr_tlsconf_unref(server);
        }
    }
    atomic_fetch_sub(&unfinished, 1);
    return NULL;
}

static void start(job *jobs, unsigned rounds)
{
    atomic_store(&handshakes[0], 0);
    atomic_store(&handshakes[1], 0);
    atomic_store(&unfinished, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        jobs[i].seed = i + 1;
        jobs[i].rounds = rounds;
        assert_int_equal(pthread_create(&jobs[i].thread, NULL, run, &jobs[i]), 0);
    }
}

static void finish(job *jobs, unsigned rounds)
{
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(jobs[i].thread, NULL), 0);
    assert_int_equal(atomic_load(&unfinished), 0);
    unsigned full = atomic_load(&handshakes[0]);
    unsigned resumed = atomic_load(&handshakes[1]);
    assert_int_equal(full + resumed, THREADS * rounds);
    assert_true(full >= 1);
}

/* ---- tests ---- */

/* Any kind of key, and the parameters for DHE, used by several threads at the same time. */
static void configurations_are_shared(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *ciphers;
        int version; /* 0: the newest */
    } kinds[] = {{"full", "", 12}, {"P-384", "", 12},
                 {"rsa", "", 12},  {"rsa", "DHE-RSA-AES128-GCM-SHA256", 12},
                 {"full", "", 0},  {"rsa", "", 0}};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        job jobs[THREADS];
        gr_tlsconf_options c = tls_options(GR_CLIENT, kinds[i].name);
        gr_tlsconf_options s = tls_options(GR_SERVER, kinds[i].name);
        c.crl = s.crl = tls_file("crl.pem");
        c.ciphers = str_of(kinds[i].ciphers);
        c.min_version = c.max_version = s.min_version = s.max_version = kinds[i].version;
        s.dh = tls_file("dh2048.pem");
        use(make(&c), make(&s));
        start(jobs, 8);
        finish(jobs, 8);
        if (kinds[i].version == 12)
            assert_true(atomic_load(&handshakes[1]) >= 1);
        use(NULL, NULL);
        assert_int_equal(atomic_load(&live), 0);
    }
}

/* They are made anew while others use them; the last who has one lets go of it. */
static void configurations_are_replaced_in_use(void **state)
{
    (void)state;
    job jobs[THREADS];
    gr_tlsconf_options c = tls_options(GR_CLIENT, "full");
    gr_tlsconf_options s = tls_options(GR_SERVER, "full");
    use(make(&c), make(&s));
    start(jobs, 15);
    for (int i = 0; atomic_load(&unfinished); i++) {
        s = tls_options(GR_SERVER, i % 2 ? "rsa" : "P-384");
        use(make(&c), make(&s));
    }
    finish(jobs, 15);
    use(NULL, NULL);
    assert_int_equal(atomic_load(&live), 0);
}

static void *step(void *arg)
{
    tls_end_go(arg);
    return NULL;
}

/* Each step of a handshake on a thread of its own, as the driver's pool may do it. */
static void session_moves_from_thread_to_thread(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "full");
    gr_tlsconf_options s = tls_options(GR_SERVER, "full");
    use(make(&c), make(&s));
    for (int round = 0; round < 5; round++) {
        tls_pair p;
        memset(&p, 0, sizeof p);
        mem_init(&p.mem);
        find(&p.client_conf, &p.server_conf);
        tls_pair_join(&p);
        for (int i = 0; i < 10 && !(p.client.up && p.server.up); i++) {
            tls_end *to = i % 2 ? &p.client : &p.server;
            test_bytes wire = {0};
            gr_iov v;
            pthread_t thread;
            tls_end_drain(i % 2 ? &p.server : &p.client, &wire, SIZE_MAX);
            assert_rc(gr_tls_space(to->t, &v), GR_OK);
            assert_true(wire.size <= v.size);
            memcpy(v.data, wire.data, wire.size);
            gr_tls_filled(to->t, wire.size);
            assert_int_equal(pthread_create(&thread, NULL, step, to), 0);
            assert_int_equal(pthread_join(thread, NULL), 0);
            bytes_free(&wire);
        }
        tls_pair_check_up(&p);
        tls_pair_close(&p);
    }
    use(NULL, NULL);
    assert_int_equal(atomic_load(&live), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configurations_are_shared),
        cmocka_unit_test(configurations_are_replaced_in_use),
        cmocka_unit_test(session_moves_from_thread_to_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
