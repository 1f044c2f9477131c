/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be the same in every version of TLS that the library has: TLS 1.2, and with mbedTLS 3.6
 * TLS 1.3, where a client is up before the server has looked at it.
 */
#include <string.h>

#include "cmocka_support.h"
#include "raw_support.h"
#include "secure_support.h"

#define FOR_EACH_VERSION(v) for (int v = 12; v <= GR_TLS_VERSION_MAX; v++)

static tls_pair pair;
static raw_pair raw;

static gr_tlsconf_options options(gr_role role, const char *name, int version)
{
    gr_tlsconf_options o = tls_options(role, name);
    o.min_version = o.max_version = version;
    return o;
}

static void open_up(int version)
{
    gr_tlsconf_options c = options(GR_CLIENT, "caller", version);
    gr_tlsconf_options s = options(GR_SERVER, "callee", version);
    tls_pair_open_up(&pair, &c, &s);
    assert_int_equal(tls_end_info(&pair.client).version, version);
    assert_int_equal(tls_end_info(&pair.server).version, version);
}

/* ---- which ---- */

/* Who asks for no version gets the newest that both sides have. */
static void newest_version_is_agreed_upon(void **state)
{
    (void)state;
    FOR_EACH_VERSION(v)
    {
        for (int side = 0; side < 2; side++) {
            gr_tlsconf_options c = options(GR_CLIENT, "caller", 0);
            gr_tlsconf_options s = options(GR_SERVER, "callee", 0);
            if (side)
                c.max_version = v;
            else
                s.max_version = v;
            tls_pair_open_up(&pair, &c, &s);
            tls_pair_check_up(&pair);
            assert_int_equal(tls_end_info(&pair.client).version, v);
            tls_pair_close(&pair);
        }
    }
}

/* A list of suites decides, too: a version without one is not offered. */
static void suites_choose_the_version(void **state)
{
    (void)state;
    gr_tlsconf_options c = options(GR_CLIENT, "caller", 0);
    c.ciphers = str_of("ECDHE-ECDSA-AES128-GCM-SHA256");
    tls_pair_open_up(&pair, &c, NULL);
    assert_int_equal(tls_end_info(&pair.client).version, 12);
    tls_pair_close(&pair);
    if (GR_TLS_VERSION_MAX < 13)
        return;
    gr_tlsconf_options s = options(GR_SERVER, "callee", 0);
    c.ciphers = str_of("TLS_AES_128_CCM_SHA256");
    tls_pair_open_up(&pair, &c, &s);
    tls_pair_check_up(&pair);
    assert_int_equal(tls_end_info(&pair.client).version, 13);
    assert_string_equal(tls_end_info(&pair.client).suite, "TLS_AES_128_CCM_SHA256");
    tls_pair_close(&pair);
}

/*
 * Two that have no version in common both know it; only that a server of TLS 1.2 does not understand
 * which versions a client of 1.3 has, and finds no suite among his.
 */
static void versions_must_meet(void **state)
{
    (void)state;
    if (GR_TLS_VERSION_MAX < 13)
        return;
    for (int v = 12; v <= 13; v++) {
        gr_tlsconf_options c = options(GR_CLIENT, "caller", v);
        gr_tlsconf_options s = options(GR_SERVER, "callee", 25 - v);
        tls_pair_configure(&pair, &c, &s);
        tls_pair_join(&pair);
        tls_pair_pump(&pair);
        assert_rc(pair.server.rc, v == 12 ? GR_ETLS_VERSION : GR_ETLS_CIPHER);
        assert_rc(pair.client.rc, GR_ETLS_ALERT - (v == 12 ? 70 : 40));
        tls_pair_close(&pair);
    }
}

/* Each suite of the newest version carries data of all sizes. */
static void every_suite_carries_data(void **state)
{
    (void)state;
    static const char *const suites[][4] = {
        {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM",
         "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
        {"TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_CCM_SHA256", "TLS_AES_128_GCM_SHA256",
         "TLS_AES_256_GCM_SHA384"},
    };
    FOR_EACH_VERSION(v)
    {
        for (size_t i = 0; i < 4; i++) {
            gr_tlsconf_options c = options(GR_CLIENT, "caller", v);
            gr_tlsconf_options s = options(GR_SERVER, "callee", v);
            s.ciphers = str_of(suites[v - 12][i]);
            tls_pair_open_up(&pair, &c, &s);
            assert_string_equal(tls_end_info(&pair.client).suite, suites[v - 12][i]);
            for (size_t size = 1; size < 5 * GR_TLS_RECORD; size = size * 7 + 1) {
                tls_end_write_pattern(&pair.client, size, size);
                tls_end_write_pattern(&pair.server, size + 1, size);
                tls_pair_pump(&pair);
                tls_end_expect_pattern(&pair.server, size, size);
                tls_end_expect_pattern(&pair.client, size + 1, size);
            }
            tls_pair_close(&pair);
        }
    }
}

/* ---- the same in each ---- */

/* Any kind of key on either side, and both know whom they speak to. */
static void any_key_on_either_side(void **state)
{
    (void)state;
    static const char *const names[] = {"full", "P-384", "P-521", "rsa"};
    FOR_EACH_VERSION(v)
    {
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            gr_tlsconf_options c = options(GR_CLIENT, names[i], v);
            gr_tlsconf_options s = options(GR_SERVER, names[COUNT_OF(names) - 1 - i], v);
            tls_pair_open_up(&pair, &c, &s);
            tls_pair_check_up(&pair);
            assert_true(gr_tls_is_for(pair.server.t, str_of("caller@here")));
            assert_false(gr_tls_is_for(pair.server.t, str_of("other@here")));
            tls_pair_close(&pair);
        }
    }
}

/* One byte at a time, a few, and at random. */
static void bytes_may_come_in_any_pieces(void **state)
{
    (void)state;
    FOR_EACH_VERSION(v)
    {
        open_up(v);
        for (pair.chunk = 1; pair.chunk < 8; pair.chunk++) {
            tls_pair_join_up(&pair);
            tls_pair_check_up(&pair);
        }
        pair.chunk = 0;
        for (pair.prng = 1; pair.prng < 20; pair.prng++) {
            uint64_t seed = pair.prng;
            tls_pair_join_up(&pair);
            tls_pair_check_up(&pair);
            pair.prng = seed;
        }
        tls_pair_close(&pair);
    }
}

/* Only TLS 1.2 has short handshakes: a ticket of 1.3 would not say who the peer is. */
static void sessions_are_resumed_in_tls_12_only(void **state)
{
    (void)state;
    FOR_EACH_VERSION(v)
    {
        open_up(v);
        for (int i = 0; i < 3; i++) {
            tls_pair_join_up(&pair);
            assert_int_equal(tls_end_info(&pair.client).resumed, v == 12);
            tls_pair_check_up(&pair);
            assert_true(gr_tls_is_for(pair.server.t, str_of("caller@here")));
            assert_false(gr_tls_is_for(pair.server.t, str_of("other@here")));
        }
        tls_pair_close(&pair);
    }
}

/* What one side refuses, and the alert that the other one gets. */
typedef struct hostile {
    const char *name;
    int rc;
    int alert;
} hostile;

static const hostile bad_ones[] = {
    {"other", GR_ETLS_UNKNOWN_CA, 48}, {"self", GR_ETLS_UNKNOWN_CA, 48},
    {"revoked", GR_ETLS_REVOKED, 44},  {"chain-revoked", GR_ETLS_REVOKED, 44},
    {"chain-2", GR_ETLS_DEPTH, 49},    {"sha1", GR_ETLS_BAD_CERT, 46},
};

/* Opens this pair, in which who shows the certificate is refused. */
static void expect_refused(const hostile *h, gr_role who, int version)
{
    gr_tlsconf_options c = options(GR_CLIENT, who == GR_CLIENT ? h->name : "caller", version);
    gr_tlsconf_options s = options(GR_SERVER, who == GR_SERVER ? h->name : "callee", version);
    /* Else its own side would refuse it, too. */
    if (who == GR_CLIENT)
        s.crl = tls_file("crl.pem");
    else
        c.crl = tls_file("crl.pem");
    tls_pair_configure(&pair, &c, &s);
    tls_pair_join(&pair);
    tls_pair_pump(&pair);
    const tls_end *finder = who == GR_CLIENT ? &pair.server : &pair.client;
    const tls_end *told = who == GR_CLIENT ? &pair.client : &pair.server;
    if (finder->rc != h->rc)
        fail_msg("%s: %s, not %s", h->name, gr_error_name(finder->rc), gr_error_name(h->rc));
    assert_false(finder->up);
    /* In TLS 1.3 a client may learn no more than that it was refused. */
    if (told->rc != GR_ETLS_HANDSHAKE || version == 12 || who == GR_SERVER)
        assert_rc(told->rc, GR_ETLS_ALERT - h->alert);
    tls_pair_close(&pair);
}

/* Certificates are looked at in the same way. */
static void bad_certificates_are_refused(void **state)
{
    (void)state;
    static const hostile stranger = {"stranger", GR_ETLS_NAME, 42};
    FOR_EACH_VERSION(v)
    {
        for (size_t i = 0; i < COUNT_OF(bad_ones); i++) {
            expect_refused(&bad_ones[i], GR_CLIENT, v);
            expect_refused(&bad_ones[i], GR_SERVER, v);
        }
        expect_refused(&stranger, GR_SERVER, v);
    }
}

/* A client without a certificate, where one is needed, and where none is. */
static void certificate_may_be_needed(void **state)
{
    (void)state;
    FOR_EACH_VERSION(v)
    {
        for (int need = 0; need < 2; need++) {
            gr_tlsconf_options s = options(GR_SERVER, "callee", v);
            s.need_cert = need;
            raw_pair_configure(&raw, GR_CLIENT, NULL, &s);
            raw_pair_begin(&raw);
            raw_pair_pump(&raw);
            assert_rc(raw.end.rc, need ? GR_ETLS_NO_CERT : GR_OK);
            raw_pair_close(&raw);
        }
    }
}

/* One that is not needed is looked at all the same. */
static void certificate_that_is_not_needed_is_looked_at(void **state)
{
    (void)state;
    FOR_EACH_VERSION(v)
    {
        gr_tlsconf_options s = options(GR_SERVER, "callee", v);
        s.need_cert = 0;
        raw_pair_configure(&raw, GR_CLIENT, "other", &s);
        raw_pair_begin(&raw);
        raw_pair_pump(&raw);
        assert_rc(raw.end.rc, GR_ETLS_UNKNOWN_CA);
        assert_false(raw.end.up);
        raw_pair_close(&raw);
    }
}

/* Whichever bit of a record is flipped, nothing of it is delivered, and nothing behind it. */
static void any_flipped_bit_is_noticed(void **state)
{
    (void)state;
    FOR_EACH_VERSION(v)
    {
        open_up(v);
        for (size_t bit = 0; bit < 8 * 40; bit += v == 12 ? 1 : 3) {
            test_bytes wire = {0};
            tls_pair_join_up(&pair);
            tls_end_write_pattern(&pair.client, 1, 20);
            tls_end_write_pattern(&pair.client, 2, 9000);
            tls_end_drain(&pair.client, &wire, SIZE_MAX);
            wire.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            tls_end_feed(&pair.server, wire.data, wire.size);
            tls_end_eof(&pair.server);
            assert_true(pair.server.rc == GR_ETLS_RECORD || pair.server.rc == GR_ETLS_TRUNCATED);
            tls_end_expect(&pair.server, NULL, 0);
            bytes_free(&wire);
        }
        tls_pair_close(&pair);
    }
}

/* Said, cut off, and cut in the handshake. */
static void ends_are_told_apart(void **state)
{
    (void)state;
    FOR_EACH_VERSION(v)
    {
        open_up(v);
        tls_end_write_pattern(&pair.client, 1, 100);
        gr_tls_close(pair.client.t);
        tls_pair_pump(&pair);
        tls_end_expect_pattern(&pair.server, 1, 100);
        assert_rc(pair.server.rc, GR_EEOF);
        assert_rc(tls_end_eof(&pair.client), GR_ETLS_TRUNCATED);
        tls_pair_join(&pair);
        assert_rc(tls_end_eof(&pair.client), GR_ETLS_CLOSED);
        assert_rc(tls_end_eof(&pair.server), GR_ETLS_CLOSED);
        tls_pair_close(&pair);
    }
}

/* An alert in the clear, at any time before the handshake is done, is told as it is. */
static void alerts_of_the_handshake_are_told(void **state)
{
    (void)state;
    static const uint8_t alert[] = {0x15, 3, 3, 0, 2, 2, 80};
    FOR_EACH_VERSION(v)
    {
        gr_tlsconf_options c = options(GR_CLIENT, "caller", v);
        gr_tlsconf_options s = options(GR_SERVER, "callee", v);
        c.tickets = 0;
        tls_pair_configure(&pair, &c, &s);
        tls_pair_join(&pair);
        tls_end_feed(&pair.client, alert, sizeof alert);
        assert_rc(pair.client.rc, GR_ETLS_ALERT - 80);
        /* A server, after its own part of it. */
        test_bytes wire = {0};
        tls_pair_join(&pair);
        tls_end_drain(&pair.client, &wire, SIZE_MAX);
        tls_end_feed(&pair.server, wire.data, wire.size);
        tls_end_feed(&pair.server, alert, sizeof alert);
        assert_rc(pair.server.rc, GR_ETLS_ALERT - 80);
        bytes_free(&wire);
        tls_pair_close(&pair);
    }
}

/* Random bits of handshakes: never a crash, and never two that disagree. */
static void flipped_bits_of_a_handshake_are_noticed(void **state)
{
    (void)state;
    uint64_t prng = 91;
    FOR_EACH_VERSION(v)
    {
        gr_tlsconf_options c = options(GR_CLIENT, "caller", v);
        gr_tlsconf_options s = options(GR_SERVER, "callee", v);
        c.tickets = 0;
        tls_pair_configure(&pair, &c, &s);
        unsigned survived = 0;
        for (int i = 0; i < 120; i++) {
            size_t at = (size_t)prng_below(&prng, 1500);
            size_t moved = 0;
            tls_pair_join(&pair);
            for (int busy = 1; busy;) {
                busy = 0;
                for (int side = 0; side < 2; side++) {
                    test_bytes b = {0};
                    tls_end_drain(side ? &pair.server : &pair.client, &b, SIZE_MAX);
                    if (side == i % 2 && at >= moved && at < moved + b.size)
                        b.data[at - moved] ^= (uint8_t)(1u << prng_below(&prng, 8));
                    moved += side == i % 2 ? b.size : 0;
                    busy |= b.size != 0;
                    tls_end_feed(side ? &pair.client : &pair.server, b.data, b.size);
                    bytes_free(&b);
                }
            }
            if (pair.client.rc == GR_OK && pair.server.rc == GR_OK) {
                tls_pair_check_up(&pair);
                survived += at < moved;
            }
            tls_end_eof(&pair.client);
            tls_end_eof(&pair.server);
            assert_true(GR_IS_FATAL(pair.client.rc) && GR_IS_FATAL(pair.server.rc));
        }
        assert_true(survived <= 5);
        tls_pair_close(&pair);
    }
}

/* ---- whole connections ---- */

/* Sessions over it: calls of all sizes, cut at random; the wrong cookie and the wrong name. */
static void sessions_work_over_it(void **state)
{
    (void)state;
    static secure_pair p;
    static const size_t sizes[] = {0, 100, 16384, 300000};
    FOR_EACH_VERSION(v)
    {
        gr_tlsconf_options c = options(GR_CLIENT, "caller", v);
        gr_tlsconf_options s = options(GR_SERVER, "callee", v);
        secure_pair_configure(&p, &c, &s);
        for (int i = 0; i < 3; i++) {
            p.prng = (uint64_t)(i * 7);
            secure_pair_join(&p);
            secure_pair_pump(&p);
            end_expect_only(&p.client.session, GR_EV_UP);
            end_expect_only(&p.server.session, GR_EV_UP);
            for (uint64_t id = 0; id < COUNT_OF(sizes); id++) {
                assert_rc(end_call(&p.client.session, id + 1, sizes[id]), GR_OK);
                secure_pair_pump(&p);
                end_expect_request(&p.server.session, id + 1, sizes[id]);
                assert_rc(end_reply(&p.server.session, id + 1, sizes[id]), GR_OK);
                secure_pair_pump(&p);
                end_expect_reply(&p.client.session, id + 1, sizes[id]);
            }
        }
        p.client_cfg.auth.cookie = str_of("vanilla");
        secure_pair_join(&p);
        secure_pair_pump(&p);
        assert_rc(p.client.rc, GR_ECOOKIE);
        assert_rc(p.server.rc, GR_ECOOKIE);
        p.client_cfg = end_config(GR_CLIENT);
        p.client_cfg.auth.name = str_of("other@here");
        secure_pair_join(&p);
        secure_pair_pump(&p);
        assert_rc(p.client.rc, GR_ETLS_NAME_REFUSED);
        assert_rc(p.server.rc, GR_ETLS_NAME);
        secure_pair_close(&p);
    }
}

/* ---- memory ---- */

/* One connection, the first allocation failing, then the second, and so on. */
static void failed_allocations_are_told(void **state)
{
    (void)state;
    FOR_EACH_VERSION(v)
    {
        int failed = 1;
        open_up(v);
        for (size_t i = 1; failed; i++) {
            pair.mem.failed = 0;
            tls_end_close(&pair.client);
            tls_end_close(&pair.server);
            pair.mem.fail_at = pair.mem.tries + i;
            tls_pair_join(&pair);
            if (pair.client.t && pair.server.t)
                tls_pair_pump(&pair);
            failed = pair.mem.failed;
            pair.mem.fail_at = 0;
            if (failed)
                assert_true(pair.client.rc == GR_ENOMEM || pair.server.rc == GR_ENOMEM);
            else
                tls_pair_check_up(&pair);
        }
        tls_pair_close(&pair);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newest_version_is_agreed_upon),
        cmocka_unit_test(suites_choose_the_version),
        cmocka_unit_test(versions_must_meet),
        cmocka_unit_test(every_suite_carries_data),
        cmocka_unit_test(any_key_on_either_side),
        cmocka_unit_test(bytes_may_come_in_any_pieces),
        cmocka_unit_test(sessions_are_resumed_in_tls_12_only),
        cmocka_unit_test(bad_certificates_are_refused),
        cmocka_unit_test(certificate_may_be_needed),
        cmocka_unit_test(certificate_that_is_not_needed_is_looked_at),
        cmocka_unit_test(any_flipped_bit_is_noticed),
        cmocka_unit_test(ends_are_told_apart),
        cmocka_unit_test(alerts_of_the_handshake_are_told),
        cmocka_unit_test(flipped_bits_of_a_handshake_are_noticed),
        cmocka_unit_test(sessions_work_over_it),
        cmocka_unit_test(failed_allocations_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
