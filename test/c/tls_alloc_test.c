/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configurations, handshakes and data with the first allocation failing, then with the second, and
 * so on until all passes: whoever needed the memory says so, nothing crashes, nothing is left.
 */
#include <string.h>

#include "cmocka_support.h"
#include "raw_support.h"
#include "tls_support.h"

static tls_pair pair;
static int told; /* whether anybody has got GR_ENOMEM */

/* All that a configuration can have. */
static gr_tlsconf_options options_with_all(gr_role role)
{
    gr_tlsconf_options o = tls_options(role, role == GR_CLIENT ? "caller" : "callee");
    o.dh = tls_file("dh2048.pem");
    o.crl = tls_file("crl.pem");
    return o;
}

/* ---- configurations ---- */

/* Without memory for it there is no configuration, and no option is blamed for that. */
static void configuration_needs_memory(void **state)
{
    (void)state;
    for (int fail_on = 0; fail_on < 2; fail_on++)
        for (int role = GR_CLIENT; role <= GR_SERVER; role++) {
            gr_tlsconf_options o = options_with_all((gr_role)role);
            size_t i = 0;
            int rc;
            do {
                test_mem mem;
                gr_tlsconf *c = (gr_tlsconf *)&mem;
                gr_tlsconf_error err;
                mem_init(&mem);
                mem.fail_at = ++i;
                mem.fail_on = fail_on;
                rc = gr_tlsconf_new(&c, &mem.vt, &o, &err);
                assert_rc(rc, mem.failed ? GR_ENOMEM : GR_OK);
                assert_int_equal(rc == GR_OK, c != NULL);
                gr_tlsconf_unref(c);
                mem_check_empty(&mem);
            } while (rc != GR_OK);
            assert_true(i > 5);
        }
}

/* ---- connections ---- */

static int make_configurations(void)
{
    gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    gr_tlsconf_error err;
    int rc = gr_tlsconf_new(&pair.client_conf, &pair.mem.vt, &c, &err);
    return rc == GR_OK ? gr_tlsconf_new(&pair.server_conf, &pair.mem.vt, &s, &err) : rc;
}

/* Whether it can go on; if not, somebody has said why. */
static int alive(const tls_end *e)
{
    if (e->rc == GR_OK || e->rc == GR_NONE)
        return 1;
    told |= e->rc == GR_ENOMEM;
    return 0;
}

static int both_alive(void)
{
    /* Both, so that either can tell. */
    return alive(&pair.client) & alive(&pair.server);
}

static int write_record(tls_end *e, uint64_t seed)
{
    static uint8_t data[GR_TLS_RECORD];
    gr_iov v[2] = {{data, 100}, {data + 100, sizeof data - 100}};
    size_t taken;
    pattern_fill(data, sizeof data, seed);
    e->rc = gr_tls_write(e->t, v, 2, &taken);
    assert_int_equal(taken, e->rc == GR_OK ? sizeof data : 0);
    return alive(e);
}

/* One connection from beginning to end. Whether it got there. */
static int connection(int goodbye)
{
    tls_pair_join(&pair);
    if (!both_alive())
        return 0;
    tls_pair_pump(&pair);
    if (!both_alive())
        return 0;
    assert_true(pair.client.up && pair.server.up);
    gr_tls_trim(pair.client.t);
    gr_tls_trim(pair.server.t);
    for (uint64_t i = 0; i < 3; i++) {
        if (!write_record(&pair.client, i) || !write_record(&pair.server, i + 1))
            return 0;
        tls_pair_pump(&pair);
        if (!both_alive())
            return 0;
        tls_end_expect_pattern(&pair.server, i, GR_TLS_RECORD);
        tls_end_expect_pattern(&pair.client, i + 1, GR_TLS_RECORD);
    }
    if (!goodbye)
        return 1;
    gr_tls_trim(pair.client.t);
    gr_tls_close(pair.client.t);
    tls_pair_pump(&pair);
    told |= pair.server.rc == GR_ENOMEM;
    return pair.server.rc == GR_EEOF;
}

/* Two of them, the second with a short handshake. Whether an allocation has failed. */
static int run(size_t fail_at, int fail_on, unsigned *passed_over)
{
    memset(&pair, 0, sizeof pair);
    mem_init(&pair.mem);
    pair.mem.fail_at = fail_at;
    pair.mem.fail_on = fail_on;
    told = 0;
    if (make_configurations() == GR_OK) {
        int done = connection(0) && connection(1);
        /* What keeps sessions may fail without a word, and so may a goodbye. */
        assert_true(told || done || pair.mem.failed);
        if (pair.mem.failed && !told)
            (*passed_over)++;
        if (!pair.mem.failed)
            assert_true(done && tls_end_info(&pair.client).resumed);
    }
    int failed = pair.mem.failed;
    tls_pair_close(&pair);
    return failed;
}

static void fail_each(int fail_on)
{
    unsigned passed_over = 0;
    size_t i = 1;
    while (run(i, fail_on, &passed_over))
        i++;
    assert_true(i > 25);
    assert_true(passed_over >= 1 && passed_over <= 3);
}

/* One allocation fails, and then there is memory again. */
static void any_failed_allocation_is_told(void **state)
{
    (void)state;
    fail_each(0);
}

/* Memory is gone and stays gone: also what is done about it must work. */
static void memory_that_stays_exhausted_is_told(void **state)
{
    (void)state;
    fail_each(1);
}

/* ---- one at a time ---- */

/* Once it has failed, a session stays so, though there is memory again. */
static void failed_session_stays_so(void **state)
{
    (void)state;
    uint8_t buf[10];
    gr_iov v = {buf, sizeof buf};
    size_t n;
    memset(buf, 0, sizeof buf);
    tls_pair_open_up(&pair, NULL, NULL);
    gr_tls_trim(pair.client.t);
    pair.mem.fail_at = pair.mem.tries + 1;
    assert_rc(gr_tls_write(pair.client.t, &v, 1, &n), GR_ENOMEM);
    assert_true(pair.mem.failed);
    assert_int_equal(n, 0);
    assert_rc(gr_tls_write(pair.client.t, &v, 1, &n), GR_ENOMEM);
    assert_rc(gr_tls_read(pair.client.t, buf, sizeof buf, &n), GR_ENOMEM);
    assert_rc(gr_tls_handshake(pair.client.t), GR_ENOMEM);
    gr_tls_close(pair.client.t);
    tls_pair_close(&pair);
}

/* No room to read into now is no failure: there may be some later. */
static void room_to_read_may_come_later(void **state)
{
    (void)state;
    gr_iov v;
    tls_pair_open_up(&pair, NULL, NULL);
    gr_tls_trim(pair.server.t);
    pair.mem.fail_at = pair.mem.tries + 1;
    assert_rc(gr_tls_space(pair.server.t, &v), GR_ENOMEM);
    assert_true(pair.mem.failed);
    tls_pair_check_up(&pair);
    tls_pair_close(&pair);
}

/* A session that cannot be kept costs the next connection a whole handshake, and nothing else. */
static void session_that_is_not_kept_does_no_harm(void **state)
{
    (void)state;
    tls_pair_configure(&pair, NULL, NULL);
    tls_pair_join(&pair);
    /* All but the client's last step. */
    while (gr_tls_output(pair.client.t) || gr_tls_output(pair.server.t)) {
        test_bytes b = {0};
        tls_end_drain(&pair.client, &b, SIZE_MAX);
        tls_end_feed(&pair.server, b.data, b.size);
        b.size = 0;
        tls_end_drain(&pair.server, &b, SIZE_MAX);
        if (pair.server.up)
            pair.mem.fail_at = pair.mem.tries + 1;
        tls_end_feed(&pair.client, b.data, b.size);
        bytes_free(&b);
    }
    assert_true(pair.mem.failed);
    tls_pair_check_up(&pair);
    tls_pair_join_up(&pair);
    assert_false(tls_end_info(&pair.client).resumed);
    tls_pair_join_up(&pair);
    assert_true(tls_end_info(&pair.client).resumed);
    tls_pair_close(&pair);
}

/* The alert for a bad record needs memory, too; without it the reason is that there is none. */
static void alert_needs_memory(void **state)
{
    (void)state;
    test_bytes wire = {0};
    tls_pair_open_up(&pair, NULL, NULL);
    tls_end_write_pattern(&pair.client, 1, 100);
    tls_end_drain(&pair.client, &wire, SIZE_MAX);
    wire.data[30] ^= 1;
    gr_tls_trim(pair.server.t);
    /* Behind the buffer to read into. */
    pair.mem.fail_at = pair.mem.tries + 2;
    tls_end_feed(&pair.server, wire.data, wire.size);
    assert_true(pair.mem.failed);
    assert_rc(pair.server.rc, GR_ENOMEM);
    bytes_free(&wire);
    tls_pair_close(&pair);
}

#if !GR_MBEDTLS_3

/* Nor can a peer be told that there will be no renegotiation. */
static void refusal_needs_memory(void **state)
{
    (void)state;
    static raw_pair raw;
    raw_pair_configure(&raw, GR_CLIENT, "full", NULL);
    mbedtls_ssl_conf_renegotiation(&raw.raw.conf, MBEDTLS_SSL_RENEGOTIATION_ENABLED);
    raw_pair_begin(&raw);
    raw_pair_pump(&raw);
    assert_rc(raw.end.rc, GR_OK);
    gr_tls_trim(raw.end.t);
    assert_int_equal(mbedtls_ssl_renegotiate(&raw.raw.ssl), MBEDTLS_ERR_SSL_WANT_READ);
    raw.mem.fail_at = raw.mem.tries + 2;
    raw_pair_pump(&raw);
    assert_true(raw.mem.failed);
    assert_rc(raw.end.rc, GR_ENOMEM);
    raw_pair_close(&raw);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configuration_needs_memory),
        cmocka_unit_test(any_failed_allocation_is_told),
        cmocka_unit_test(memory_that_stays_exhausted_is_told),
        cmocka_unit_test(failed_session_stays_so),
        cmocka_unit_test(room_to_read_may_come_later),
        cmocka_unit_test(session_that_is_not_kept_does_no_harm),
        cmocka_unit_test(alert_needs_memory),
#if !GR_MBEDTLS_3
        cmocka_unit_test(refusal_needs_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
