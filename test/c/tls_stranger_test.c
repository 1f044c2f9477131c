/* SPDX-License-Identifier: Apache-2.0 */
/* Who does not speak TLS, or one that is too old or too weak, and handshakes changed on their way. */
#include <string.h>

#include "cmocka_support.h"
#include "forge_support.h"
#include "raw_support.h"
#include "tls_support.h"

/* Alerts of RFC 5246. */
enum {
    UNEXPECTED_MESSAGE = 10,
    HANDSHAKE_FAILURE = 40,
    ILLEGAL_PARAMETER = 47,
    PROTOCOL_VERSION = 70
};

static tls_pair pair;
static raw_pair raw;

static int setup(void **state)
{
    (void)state;
    tls_pair_configure(&pair, NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tls_pair_close(&pair);
    return 0;
}

/* ---- other protocols ---- */

/* Both sides get these bytes, or the first of them, in the place of the peer's first ones. */
static void expect_not_tls(const void *data, size_t size)
{
    uint8_t first = *(const uint8_t *)data;
    /* What may be the head of a record is waited for. */
    for (int i = 0; i < (first >= 20 && first <= 23 ? 2 : 4); i++) {
        tls_pair_join(&pair);
        tls_end *e = i % 2 ? &pair.client : &pair.server;
        size_t before = gr_tls_output(e->t);
        if (i < 2)
            tls_end_feed(e, data, size);
        else
            tls_end_feed(e, data, 1);
        assert_rc(e->rc, GR_ETLS_NOT_TLS);
        /* A stranger is not answered in a language that he does not know. */
        assert_int_equal(gr_tls_output(e->t), before);
        assert_rc(gr_tls_handshake(e->t), GR_ETLS_NOT_TLS);
    }
}

/* Whoever speaks something else is known by his first byte or record, and gets no answer. */
static void other_protocols_are_told_apart(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "220 here ESMTP\r\n",
        "\x80\x2e\x01\x03\x01", /* hello of SSL 2.0 */
        "\x18\x03\x03\x01\x01", /* a heartbeat */
        "\xff",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        expect_not_tls(texts[i], strlen(texts[i]));
    expect_not_tls("\0\0\0\x10", 4);
    /* A change of ciphers that nobody has agreed upon, and data without a handshake. */
    expect_not_tls("\x14\x03\x03\0\x01\x01", 6);
    expect_not_tls("\x17\x03\x03\0\x01\x01", 6);
}

/* A node without TLS, in either role, sends what we know well, but not here. */
static void gen_rpc_without_tls_is_told_apart(void **state)
{
    (void)state;
    test_bytes hello = {0};
    forge_hello h = {1, 0, 1000, "caller@here", "callee@there", 0};
    forge_hello_put(&hello, FORGE_CLIENT_HELLO, &h);
    expect_not_tls(hello.data, hello.size);
    bytes_free(&hello);
}

/* And a node without TLS refuses ours by its very first byte. */
static void gen_rpc_without_tls_refuses_ours(void **state)
{
    (void)state;
    static test_pair plain;
    test_bytes hello = {0};
    tls_pair_join(&pair);
    tls_end_drain(&pair.client, &hello, SIZE_MAX);
    pair_open(&plain, NULL, NULL);
    assert_rc(end_feed(&plain.server, hello.data, 1), GR_EMAGIC);
    pair_close(&plain);
    bytes_free(&hello);
}

/* What begins like TLS and goes on like nothing is refused, or waits for more until the end. */
static void garbage_is_refused(void **state)
{
    (void)state;
    uint64_t prng = 23;
    for (int i = 0; i < 400; i++) {
        test_bytes b = {0};
        uint8_t head[] = {0x16,
                          3,
                          (uint8_t)(i % 4),
                          (uint8_t)prng_below(&prng, 8),
                          (uint8_t)prng_next(&prng),
                          (uint8_t)(1 + i % 3)};
        bytes_append(&b, head, i % 5 ? sizeof head : 1);
        for (size_t n = prng_size(&prng, 20000); n; n--) {
            uint8_t byte = (uint8_t)prng_next(&prng);
            bytes_append(&b, &byte, 1);
        }
        tls_pair_join(&pair);
        tls_end *e = i % 2 ? &pair.client : &pair.server;
        tls_end_feed(e, b.data, b.size);
        tls_end_eof(e);
        assert_true(GR_IS_TLS(e->rc));
        assert_false(e->up);
        bytes_free(&b);
    }
}

/* A record that claims more than any may have is refused by its head. */
static void oversize_record_is_refused_at_once(void **state)
{
    (void)state;
    static const char *const heads[] = {"\x16\x03\x01\x48\x01", "\x16\x03\x01\xff\xff"};
    for (size_t i = 0; i < 2 * COUNT_OF(heads); i++) {
        tls_pair_join(&pair);
        tls_end *e = i % 2 ? &pair.client : &pair.server;
        tls_end_feed(e, heads[i / 2], 5);
        assert_rc(e->rc, GR_ETLS_HANDSHAKE);
    }
}

/* A message of the handshake that claims more than one record can hold is not waited for. */
static void oversize_message_is_refused_at_once(void **state)
{
    (void)state;
    static const uint8_t lengths[][3] = {{0xff, 0xff, 0xff}, {1, 0, 0}, {0, 0x50, 0}};
    for (size_t i = 0; i < 2 * COUNT_OF(lengths); i++) {
        /* A hello of a client or of a server, and the beginning of what it claims to be. */
        uint8_t record[5 + 4 + 100] = {0x16, 3, 3, 0, 104, i % 2 ? 2 : 1};
        memcpy(record + 6, lengths[i / 2], 3);
        record[9] = record[10] = 3;
        tls_pair_join(&pair);
        tls_end *e = i % 2 ? &pair.client : &pair.server;
        tls_end_feed(e, record, sizeof record);
        assert_true(GR_IS_TLS(e->rc) && !GR_IS_ALERT(e->rc));
    }
}

/* Two clients that meet, and a client that meets itself. */
static void client_of_a_client_is_refused(void **state)
{
    (void)state;
    test_bytes hello = {0};
    tls_pair_join(&pair);
    tls_end_drain(&pair.client, &hello, SIZE_MAX);
    tls_end_feed(&pair.client, hello.data, hello.size);
    assert_rc(pair.client.rc, GR_ETLS_HANDSHAKE);
    tls_pair_join(&pair);
    tls_end_feed(&pair.client, hello.data, hello.size);
    assert_rc(pair.client.rc, GR_ETLS_HANDSHAKE);
    bytes_free(&hello);
}

/* ---- versions and suites ---- */

/* The raw side has this role; our code, and the alert that it gets. */
static void expect_refused(int rc, int alert)
{
    raw_pair_begin(&raw);
    raw_pair_pump(&raw);
    assert_rc(raw.end.rc, rc);
    raw_expect_alert(&raw, alert);
    raw_pair_close(&raw);
}

#if !GR_MBEDTLS_3

static void configure_old(gr_role role, int max)
{
    raw_pair_configure(&raw, role, "rsa", NULL);
    mbedtls_ssl_conf_min_version(&raw.raw.conf, MBEDTLS_SSL_MAJOR_VERSION_3,
                                 MBEDTLS_SSL_MINOR_VERSION_1);
    mbedtls_ssl_conf_max_version(&raw.raw.conf, MBEDTLS_SSL_MAJOR_VERSION_3, max);
}

/*
 * TLS 1.0 and 1.1 are refused on either side: a client is told why, and a server finds no suite among
 * ours that it could use.
 */
static void old_versions_are_refused(void **state)
{
    (void)state;
    for (int max = MBEDTLS_SSL_MINOR_VERSION_1; max <= MBEDTLS_SSL_MINOR_VERSION_2; max++) {
        configure_old(GR_CLIENT, max);
        expect_refused(GR_ETLS_VERSION, PROTOCOL_VERSION);
        configure_old(GR_SERVER, max);
        raw_pair_begin(&raw);
        raw_pair_pump(&raw);
        assert_rc(raw.end.rc, GR_ETLS_ALERT - HANDSHAKE_FAILURE);
        raw_pair_close(&raw);
    }
}

#endif

/* A hello of any older version, written by hand; and one of a version that does not exist yet. */
static void hello_of_an_old_version_is_refused(void **state)
{
    (void)state;
    for (uint8_t minor = 0; minor <= 2; minor++) {
        /* Version, random, no session, one suite (ECDHE-RSA-AES128-GCM-SHA256), no compression. */
        uint8_t hello[5 + 4 + 2 + 32 + 1 + 4 + 2] = {0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, minor};
        uint8_t rest[] = {0, 0, 2, 0xc0, 0x2f, 1, 0};
        test_bytes answer = {0};
        memcpy(hello + sizeof hello - sizeof rest, rest, sizeof rest);
        tls_pair_join(&pair);
        tls_end_feed(&pair.server, hello, sizeof hello);
        assert_rc(pair.server.rc, GR_ETLS_VERSION);
        tls_end_drain(&pair.server, &answer, SIZE_MAX);
        assert_int_equal(answer.size, 7);
        assert_int_equal(answer.data[0], 0x15);
        assert_int_equal(answer.data[6], PROTOCOL_VERSION);
        bytes_free(&answer);
    }
}

/* What the other side has, none of which is ours. */
static const int weak_suites[] = {
    MBEDTLS_TLS_RSA_WITH_AES_128_GCM_SHA256,         /* no forward secrecy */
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,   /* CBC */
    MBEDTLS_TLS_ECDHE_RSA_WITH_NULL_SHA,             /* no encryption */
    MBEDTLS_TLS_DHE_RSA_WITH_AES_128_GCM_SHA256,     /* no parameters for it */
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, /* no such key */
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8,
    MBEDTLS_TLS_PSK_WITH_AES_128_GCM_SHA256,
};

/* A client that has only suites that we do not want. */
static void weak_client_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(weak_suites); i++) {
        int list[] = {weak_suites[i], 0};
        gr_tlsconf_options s = tls_options(GR_SERVER, "rsa");
        if (!mbedtls_ssl_ciphersuite_from_id(list[0]))
            continue;
        raw_pair_configure(&raw, GR_CLIENT, "rsa", &s);
        mbedtls_ssl_conf_ciphersuites(&raw.raw.conf, list);
        mbedtls_ssl_conf_psk(&raw.raw.conf, (const uint8_t *)"0123456789abcdef", 16,
                             (const uint8_t *)"me", 2);
        expect_refused(GR_ETLS_CIPHER, HANDSHAKE_FAILURE);
    }
}

/* A server that has only such suites finds nothing that we offer, and says so. */
static void weak_server_finds_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(weak_suites); i++) {
        int list[] = {weak_suites[i], 0};
        if (!mbedtls_ssl_ciphersuite_from_id(list[0]))
            continue;
        raw_pair_configure(&raw, GR_SERVER, "rsa", NULL);
        mbedtls_ssl_conf_ciphersuites(&raw.raw.conf, list);
        raw_pair_begin(&raw);
        raw_pair_pump(&raw);
        assert_true(raw.raw.rc != 0);
        assert_rc(raw.end.rc, GR_ETLS_ALERT - HANDSHAKE_FAILURE);
        raw_pair_close(&raw);
    }
}

/* Two of ours that were told to use different suites. */
static void nothing_in_common_is_told_on_both_sides(void **state)
{
    (void)state;
    static tls_pair p;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    c.ciphers = str_of("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384");
    s.ciphers = str_of("ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-CCM");
    tls_pair_configure(&p, &c, &s);
    tls_pair_join(&p);
    tls_pair_pump(&p);
    assert_rc(p.server.rc, GR_ETLS_CIPHER);
    assert_rc(p.client.rc, GR_ETLS_ALERT - HANDSHAKE_FAILURE);
    tls_pair_close(&p);
}

/* A server whose key fits none of its suites. */
static void suites_must_fit_the_key(void **state)
{
    (void)state;
    static tls_pair p;
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    s.ciphers = str_of("ECDHE-RSA-AES128-GCM-SHA256");
    tls_pair_configure(&p, NULL, &s);
    tls_pair_join(&p);
    tls_pair_pump(&p);
    assert_rc(p.server.rc, GR_ETLS_CIPHER);
    assert_rc(p.client.rc, GR_ETLS_ALERT - HANDSHAKE_FAILURE);
    tls_pair_close(&p);
}

#if !GR_MBEDTLS_3

/* A client that knows no better hash than these for the server's signature. */
static void weak_signatures_are_refused(void **state)
{
    (void)state;
    static const int hashes[] = {MBEDTLS_MD_MD5, MBEDTLS_MD_SHA1, MBEDTLS_MD_SHA224};
    for (size_t i = 0; i < COUNT_OF(hashes); i++) {
        int list[] = {hashes[i], MBEDTLS_MD_NONE};
        raw_pair_configure(&raw, GR_CLIENT, "rsa", NULL);
        mbedtls_ssl_conf_sig_hashes(&raw.raw.conf, list);
        expect_refused(GR_ETLS_CIPHER, HANDSHAKE_FAILURE);
    }
}

/* A client that knows no curve of ours. */
static void unusual_curves_are_refused(void **state)
{
    (void)state;
    static const mbedtls_ecp_group_id curves[] = {MBEDTLS_ECP_DP_SECP192R1, MBEDTLS_ECP_DP_NONE};
    raw_pair_configure(&raw, GR_CLIENT, "rsa", NULL);
    mbedtls_ssl_conf_curves(&raw.raw.conf, curves);
    expect_refused(GR_ETLS_CIPHER, HANDSHAKE_FAILURE);
}

/* A server that does DHE with a prime that is too short for us. */
static void short_prime_is_refused(void **state)
{
    (void)state;
    static const int dhe[] = {MBEDTLS_TLS_DHE_RSA_WITH_AES_128_GCM_SHA256, 0};
    mbedtls_dhm_context dh;
    gr_str pem = tls_file("dh1536.pem");
    test_bytes z = {0};
    gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
    c.ciphers = str_of("DHE-RSA-AES128-GCM-SHA256");
    bytes_append(&z, pem.data, pem.size);
    bytes_append(&z, "", 1);
    mbedtls_dhm_init(&dh);
    assert_int_equal(mbedtls_dhm_parse_dhm(&dh, z.data, z.size), 0);
    raw_pair_configure(&raw, GR_SERVER, "rsa", &c);
    mbedtls_ssl_conf_ciphersuites(&raw.raw.conf, dhe);
    assert_int_equal(mbedtls_ssl_conf_dh_param_ctx(&raw.raw.conf, &dh), 0);
    raw_pair_begin(&raw);
    raw_pair_pump(&raw);
    assert_rc(raw.end.rc, GR_ETLS_HANDSHAKE);
    assert_int_equal(raw.raw.rc, MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE);
    raw_pair_close(&raw);
    mbedtls_dhm_free(&dh);
    bytes_free(&z);
}

#endif

/* ---- bytes changed on their way ---- */

/* Changes the server's first answer at this offset of its hello; our client's code. */
static int changed_server_hello(size_t at, uint8_t a, uint8_t b)
{
    test_bytes wire = {0};
    tls_pair_join(&pair);
    tls_end_drain(&pair.client, &wire, SIZE_MAX);
    tls_end_feed(&pair.server, wire.data, wire.size);
    wire.size = 0;
    tls_end_drain(&pair.server, &wire, SIZE_MAX);
    assert_true(wire.size > 9 + at && wire.data[5] == 2);
    wire.data[9 + at] = a;
    wire.data[9 + at + 1] = b;
    tls_end_feed(&pair.client, wire.data, wire.size);
    bytes_free(&wire);
    return pair.client.rc;
}

/* A man in the middle who would like an older version, or a suite that was not offered. */
static void downgrade_is_noticed(void **state)
{
    (void)state;
    assert_rc(changed_server_hello(0, 3, 2), GR_ETLS_VERSION);
    assert_rc(changed_server_hello(0, 3, 1), GR_ETLS_VERSION);
    test_bytes wire = {0};
    tls_pair_join(&pair);
    tls_end_drain(&pair.client, &wire, SIZE_MAX);
    tls_end_feed(&pair.server, wire.data, wire.size);
    wire.size = 0;
    tls_end_drain(&pair.server, &wire, SIZE_MAX);
    size_t suite = 2 + 32 + 1 + wire.data[9 + 2 + 32];
    bytes_free(&wire);
    static const uint8_t suites[][2] = {{0x00, 0x9c}, {0xc0, 0x27}, {0x00, 0x00}};
    for (size_t i = 0; i < COUNT_OF(suites); i++) {
        int rc = changed_server_hello(suite, suites[i][0], suites[i][1]);
        assert_true(GR_IS_TLS(rc) && !GR_IS_ALERT(rc));
    }
}

/* Any change of a client's hello: a refusal, or an answer, but no connection by itself. */
static void mangled_hello_is_survived(void **state)
{
    (void)state;
    uint64_t prng = 31;
    test_bytes hello = {0};
    tls_pair_join_as(&pair, "callee@there", "there.example");
    tls_end_drain(&pair.client, &hello, SIZE_MAX);
    for (int i = 0; i < 600; i++) {
        test_bytes b = {0};
        bytes_append(&b, hello.data, hello.size);
        for (uint64_t n = 1 + prng_below(&prng, 4); n; n--)
            b.data[5 + prng_below(&prng, b.size - 5)] ^= (uint8_t)(1u << prng_below(&prng, 8));
        tls_pair_join(&pair);
        tls_end_feed(&pair.server, b.data, b.size);
        tls_end_eof(&pair.server);
        assert_true(GR_IS_TLS(pair.server.rc));
        assert_false(pair.server.up);
        bytes_free(&b);
    }
    bytes_free(&hello);
}

/* Moves all bytes, one of which, at this offset of one direction, has one bit flipped. */
static void pump_flipped(int to_server, size_t at, unsigned bit)
{
    size_t moved[2] = {0, 0};
    int busy = 1;
    while (busy) {
        busy = 0;
        for (int i = 0; i < 2; i++) {
            test_bytes b = {0};
            tls_end_drain(i ? &pair.client : &pair.server, &b, SIZE_MAX);
            if (i == to_server && at >= moved[i] && at < moved[i] + b.size)
                b.data[at - moved[i]] ^= (uint8_t)(1u << bit);
            moved[i] += b.size;
            busy |= b.size != 0;
            tls_end_feed(i ? &pair.server : &pair.client, b.data, b.size);
            bytes_free(&b);
        }
    }
}

/* Whether both came up; if so, they understand each other: only the heads of records may differ. */
static int run_flipped(int to_server, size_t at, unsigned bit)
{
    tls_pair_join(&pair);
    pump_flipped(to_server, at, bit);
    int up = pair.client.rc == GR_OK && pair.server.rc == GR_OK;
    if (up)
        tls_pair_check_up(&pair);
    tls_end_eof(&pair.client);
    tls_end_eof(&pair.server);
    assert_true(GR_IS_FATAL(pair.client.rc) && GR_IS_FATAL(pair.server.rc));
    return up;
}

/* Each bit of a short handshake, on its way in either direction. */
static void any_flipped_bit_of_a_short_handshake_is_noticed(void **state)
{
    (void)state;
    tls_pair_join_up(&pair);
    tls_pair_join_up(&pair);
    assert_true(tls_end_info(&pair.client).resumed);
    unsigned up = 0;
    for (int to_server = 0; to_server < 2; to_server++) {
        size_t size = (size_t)(to_server ? pair.up.moved : pair.down.moved);
        for (size_t at = 0; at < size; at++) {
            /* A changed ticket makes it a whole one, and that costs time: a bit of each byte. */
            up += (unsigned)run_flipped(to_server, at, (unsigned)(at * 5 % 8));
            /* So that the next one is short. */
            if (!pair.client.up || !tls_end_info(&pair.client).resumed)
                tls_pair_join_up(&pair);
            tls_pair_join_up(&pair);
        }
    }
    /* The version in the head of the first record says nothing, so nothing is lost by it. */
    assert_true(up <= 4);
}

/* Random bits of whole handshakes. */
static void flipped_bits_of_a_handshake_are_noticed(void **state)
{
    (void)state;
    uint64_t prng = 41;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
    c.tickets = 0;
    tls_pair_close(&pair);
    tls_pair_configure(&pair, &c, NULL);
    tls_pair_join_up(&pair);
    uint64_t up = pair.up.moved;
    uint64_t down = pair.down.moved;
    unsigned survived = 0;
    for (int i = 0; i < 300; i++) {
        int to_server = i % 2;
        size_t at = (size_t)prng_below(&prng, to_server ? up : down);
        survived += (unsigned)run_flipped(to_server, at, (unsigned)prng_below(&prng, 8));
    }
    assert_true(survived <= 5);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(other_protocols_are_told_apart),
        test_of(gen_rpc_without_tls_is_told_apart),
        test_of(gen_rpc_without_tls_refuses_ours),
        test_of(garbage_is_refused),
        test_of(oversize_record_is_refused_at_once),
        test_of(oversize_message_is_refused_at_once),
        test_of(client_of_a_client_is_refused),
#if !GR_MBEDTLS_3
        cmocka_unit_test(old_versions_are_refused),
        cmocka_unit_test(weak_signatures_are_refused),
        cmocka_unit_test(unusual_curves_are_refused),
        cmocka_unit_test(short_prime_is_refused),
#endif
        test_of(hello_of_an_old_version_is_refused),
        cmocka_unit_test(weak_client_is_refused),
        cmocka_unit_test(weak_server_finds_nothing),
        cmocka_unit_test(nothing_in_common_is_told_on_both_sides),
        cmocka_unit_test(suites_must_fit_the_key),
        test_of(downgrade_is_noticed),
        test_of(mangled_hello_is_survived),
        test_of(any_flipped_bit_of_a_short_handshake_is_noticed),
        test_of(flipped_bits_of_a_handshake_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
