/* SPDX-License-Identifier: Apache-2.0 */
/* Handshakes that succeed: with all kinds of keys and suites, however their bytes are cut. */
#include <string.h>

#include "cmocka_support.h"
#include "raw_support.h"
#include "tls_support.h"

static tls_pair pair;
static raw_pair raw;

static void expect_suite(const char *suite)
{
    gr_tls_info info = tls_end_info(&pair.client);
    assert_int_equal(info.version, 12);
    assert_string_equal(info.suite, suite);
}

/* ---- keys and suites ---- */

/* Both sides verify each other, whatever kind of key either has. */
static void any_key_on_either_side(void **state)
{
    (void)state;
    static const char *const names[] = {"full", "P-384", "P-521", "rsa"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        for (size_t j = 0; j < COUNT_OF(names); j++) {
            gr_tlsconf_options c = tls_options(GR_CLIENT, names[i]);
            gr_tlsconf_options s = tls_options(GR_SERVER, names[j]);
            tls_pair_open_up(&pair, &c, &s);
            tls_pair_check_up(&pair);
            expect_suite(j == 3 ? "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"
                                : "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256");
            assert_true(gr_tls_is_for(pair.client.t, str_of("callee@there")));
            assert_true(gr_tls_is_for(pair.server.t, str_of("caller@here")));
            assert_false(gr_tls_is_for(pair.server.t, str_of("other@here")));
            tls_pair_close(&pair);
        }
}

/* Certificates of an RSA authority, too; and of another one on each side. */
static void authorities_may_differ(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
    gr_tlsconf_options s = tls_options(GR_SERVER, "rsa-of-rsa");
    c.ca = tls_file("rsa-ca.pem");
    tls_pair_open_up(&pair, &c, &s);
    tls_pair_check_up(&pair);
    tls_pair_close(&pair);
    c = tls_options(GR_CLIENT, "rsa-of-rsa");
    s.ca = c.ca = tls_file("all-cas.pem");
    tls_pair_open_up(&pair, &c, &s);
    tls_pair_check_up(&pair);
    tls_pair_close(&pair);
}

/* A certificate that is trusted by itself needs no authority. */
static void certificate_can_be_its_own_authority(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
    gr_tlsconf_options s = tls_options(GR_SERVER, "self");
    c.ca = tls_file("self.pem");
    tls_pair_open_up(&pair, &c, &s);
    tls_pair_check_up(&pair);
    tls_pair_close(&pair);
}

/* Every suite that is allowed works between two of ours, with a key that fits it. */
static void every_suite_works(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *suite;
        const char *server;
    } suites[] = {
        {"ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "full"},
        {"ECDHE-ECDSA-AES128-CCM", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM", "full"},
        {"ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "full"},
        {"ECDHE-ECDSA-AES256-CCM", "TLS_ECDHE_ECDSA_WITH_AES_256_CCM", "full"},
        {"ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "full"},
        {"ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "rsa"},
        {"ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "rsa"},
        {"ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "rsa"},
        {"DHE-RSA-CHACHA20-POLY1305", "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "rsa"},
        {"DHE-RSA-AES128-GCM-SHA256", "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", "rsa"},
        {"DHE-RSA-AES256-GCM-SHA384", "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", "rsa"},
    };
    for (size_t i = 0; i < COUNT_OF(suites); i++) {
        gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
        gr_tlsconf_options s = tls_options(GR_SERVER, suites[i].server);
        c.ciphers = str_of(suites[i].name);
        s.dh = tls_file("dh2048.pem");
        tls_pair_open_up(&pair, &c, &s);
        tls_pair_check_up(&pair);
        expect_suite(suites[i].suite);
        tls_pair_close(&pair);
    }
}

/* The server's list decides, of what the client has. */
static void server_prefers(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    c.ciphers = str_of("ECDHE-ECDSA-AES128-CCM:ECDHE-ECDSA-AES256-GCM-SHA384");
    s.ciphers = str_of("ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:"
                       "ECDHE-ECDSA-AES128-CCM");
    tls_pair_open_up(&pair, &c, &s);
    tls_pair_check_up(&pair);
    expect_suite("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
    tls_pair_close(&pair);
}

/* Without parameters for it a server does no DHE, whatever the client would like. */
static void dhe_needs_parameters(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
    gr_tlsconf_options s = tls_options(GR_SERVER, "rsa");
    c.ciphers = str_of("DHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384");
    tls_pair_open_up(&pair, &c, &s);
    tls_pair_check_up(&pair);
    expect_suite("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384");
    tls_pair_close(&pair);
    s.dh = tls_file("dh2048.pem");
    s.ciphers = c.ciphers;
    tls_pair_open_up(&pair, &c, &s);
    tls_pair_check_up(&pair);
    expect_suite("TLS_DHE_RSA_WITH_AES_128_GCM_SHA256");
    tls_pair_close(&pair);
}

/* Certificates between a peer's and its authority, as many as the depth allows, and of one more. */
static void chain_may_be_as_long_as_the_depth(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned depth;
    } chains[] = {{"full", 0}, {"chain-1", 1}, {"chain-2", 2}, {"chain-7", 8}, {"chain-8", 8}};
    for (size_t i = 0; i < COUNT_OF(chains); i++) {
        gr_tlsconf_options c = tls_options(GR_CLIENT, chains[i].name);
        gr_tlsconf_options s = tls_options(GR_SERVER, chains[i].name);
        c.depth = s.depth = chains[i].depth;
        tls_pair_open_up(&pair, &c, &s);
        tls_pair_check_up(&pair);
        tls_pair_close(&pair);
    }
}

/* ---- who needs which certificate ---- */

/* A list of revoked certificates does no harm to others; one of another authority to nobody. */
static void those_who_are_not_revoked_are_let_in(void **state)
{
    (void)state;
    static const char *const lists[] = {"crl.pem", "crl-none.pem", "crl-other.pem", "crl-two.pem"};
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        gr_tlsconf_options c = tls_options(GR_CLIENT, "chain-1");
        gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
        c.crl = s.crl = tls_file(lists[i]);
        tls_pair_open_up(&pair, &c, &s);
        tls_pair_check_up(&pair);
        tls_pair_close(&pair);
    }
}

/* Who does not verify takes any certificate, and any name; the binding is still the server's. */
static void nothing_is_verified_when_told_so(void **state)
{
    (void)state;
    static const char *const names[] = {"other", "self", "stranger", "revoked", "sha1"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        gr_tlsconf_options c = tls_options(GR_CLIENT, names[i]);
        gr_tlsconf_options s = tls_options(GR_SERVER, names[i]);
        c.verify = s.verify = 0;
        c.crl = s.crl = tls_file("crl.pem");
        tls_pair_open_up(&pair, &c, &s);
        tls_pair_check_up(&pair);
        assert_true(gr_tls_is_for(pair.client.t, str_of("anybody")));
        assert_true(gr_tls_is_for(pair.server.t, str_of("anybody")));
        tls_pair_close(&pair);
    }
}

/* A client without a name to look for takes any certificate of its authority. */
static void client_may_look_for_no_name(void **state)
{
    (void)state;
    gr_tlsconf_options s = tls_options(GR_SERVER, "stranger");
    tls_pair_configure(&pair, NULL, &s);
    for (int i = 0; i < 2; i++) {
        tls_pair_join_as(&pair, NULL, NULL);
        tls_pair_pump(&pair);
        tls_pair_check_up(&pair);
        /* Nor is a session kept for nobody. */
        assert_false(tls_end_info(&pair.client).resumed);
    }
    tls_pair_close(&pair);
}

/* A server that does not insist lets in who has no certificate, and vouches for any name of his. */
static void client_may_have_no_certificate(void **state)
{
    (void)state;
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    s.need_cert = 0;
    raw_pair_open_up(&raw, GR_CLIENT, NULL, &s);
    assert_true(gr_tls_is_for(raw.end.t, str_of("anybody@here")));
    raw_pair_close(&raw);
}

/* It still looks at the certificate of who has one, and at the name. */
static void certificate_that_is_not_needed_is_looked_at(void **state)
{
    (void)state;
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    s.need_cert = 0;
    tls_pair_open_up(&pair, NULL, &s);
    tls_pair_check_up(&pair);
    assert_true(gr_tls_is_for(pair.server.t, str_of("caller@here")));
    assert_false(gr_tls_is_for(pair.server.t, str_of("anybody@here")));
    tls_pair_close(&pair);
}

/* A server that does not verify asks for no certificate at all. */
static void server_that_does_not_verify_asks_for_none(void **state)
{
    (void)state;
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    s.verify = 0;
    tls_pair_open_up(&pair, NULL, &s);
    tls_pair_check_up(&pair);
    assert_true(gr_tls_is_for(pair.server.t, str_of("anybody@here")));
    tls_pair_close(&pair);
}

/* ---- the server name ---- */

/* Whether this text is in the client's first flight. */
static int hello_has(const char *text)
{
    test_bytes hello = {0};
    tls_end_drain(&pair.client, &hello, SIZE_MAX);
    assert_true(hello.size > 0);
    int found = memmem(hello.data, hello.size, text, strlen(text)) != NULL;
    bytes_free(&hello);
    return found;
}

/* The name asked for is sent as it is, and it is not the node's name. */
static void server_name_is_sent_when_given(void **state)
{
    (void)state;
    tls_pair_configure(&pair, NULL, NULL);
    tls_pair_join_as(&pair, "callee@there", "there.example");
    assert_true(hello_has("there.example"));
    tls_pair_join_as(&pair, "callee@there", "there.example");
    assert_false(hello_has("callee@"));
    tls_pair_join_as(&pair, "callee@there", NULL);
    assert_false(hello_has("there"));
    tls_pair_close(&pair);
}

/* It is no reason to refuse a certificate: that is for a node. */
static void server_name_need_not_be_in_the_certificate(void **state)
{
    (void)state;
    tls_pair_configure(&pair, NULL, NULL);
    tls_pair_join_as(&pair, "callee@there", "elsewhere.example");
    tls_pair_pump(&pair);
    tls_pair_check_up(&pair);
    tls_pair_close(&pair);
}

/* The longest that fits is sent; a longer one is left away, as one that no server could have. */
static void server_name_has_a_longest(void **state)
{
    (void)state;
    char name[300];
    tls_pair_configure(&pair, NULL, NULL);
    for (size_t size = 250; size < 260; size++) {
        memset(name, 'n', size);
        name[size] = 0;
        tls_pair_join_as(&pair, "callee@there", name);
        assert_rc(pair.client.rc, GR_NONE);
        assert_int_equal(hello_has(name), size <= 255);
    }
    tls_pair_close(&pair);
}

/* A server looks for nobody by name, whatever it is given. */
static void server_ignores_names(void **state)
{
    (void)state;
    tls_pair_configure(&pair, NULL, NULL);
    tls_pair_join(&pair);
    tls_end_close(&pair.server);
    tls_end_open(&pair.server, &pair.mem, pair.server_conf, "nobody@nowhere", "x.example");
    tls_pair_pump(&pair);
    tls_pair_check_up(&pair);
    tls_pair_close(&pair);
}

/* A name that no node can have is refused before anything is made. */
static void names_have_a_longest(void **state)
{
    (void)state;
    char name[GR_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[GR_NAME_MAX + 1] = 0;
    tls_pair_configure(&pair, NULL, NULL);
    tls_pair_join_as(&pair, name, NULL);
    assert_rc(pair.client.rc, GR_ESTATE);
    assert_null(pair.client.t);
    name[GR_NAME_MAX] = 0;
    tls_pair_join_as(&pair, name, NULL);
    assert_rc(pair.client.rc, GR_NONE);
    tls_pair_close(&pair);
}

/* ---- how the bytes come ---- */

/* One byte at a time, or a few: the handshake is the same, and asked for only when it can go on. */
static void handshake_works_in_small_pieces(void **state)
{
    (void)state;
    static const size_t chunks[] = {1, 2, 3, 5, 6, 7, 64, 1000};
    tls_pair_configure(&pair, NULL, NULL);
    for (size_t i = 0; i < COUNT_OF(chunks); i++) {
        gr_tlsconf_unref(pair.client_conf); /* which would remember the session */
        gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
        pair.client_conf = tls_conf(&pair.mem, &c);
        pair.chunk = chunks[i];
        tls_pair_join_up(&pair);
        tls_pair_check_up(&pair);
        assert_false(tls_end_info(&pair.client).resumed);
    }
    tls_pair_close(&pair);
}

/* Joins with one split of one direction's stream, at every offset from..to. */
static void split_at_every(test_link *l, uint64_t from, uint64_t to)
{
    for (uint64_t at = from; at < to; at++) {
        l->stop = at;
        tls_pair_join_up(&pair);
        tls_pair_check_up(&pair);
    }
    l->stop = 0;
}

/* The bytes of a short handshake cut in two, at every place there is. */
static void short_handshake_can_be_cut_anywhere(void **state)
{
    (void)state;
    tls_pair_open_up(&pair, NULL, NULL);
    tls_pair_join_up(&pair);
    assert_true(tls_end_info(&pair.client).resumed);
    uint64_t up = pair.up.moved;
    uint64_t down = pair.down.moved;
    split_at_every(&pair.up, 1, up);
    split_at_every(&pair.down, 1, down);
    tls_pair_close(&pair);
}

/*
 * A whole one, cut near the ends of its records: there what is left of one comes together with the
 * next one. Cuts between them are all alike.
 */
static void full_handshake_can_be_cut_anywhere(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
    test_bytes all[2] = {{0}, {0}};
    c.tickets = 0;
    tls_pair_configure(&pair, &c, NULL);
    pair.up.tap = &all[0];
    pair.down.tap = &all[1];
    tls_pair_join_up(&pair);
    pair.up.tap = pair.down.tap = NULL;
    for (int i = 0; i < 2; i++) {
        test_link *l = i ? &pair.down : &pair.up;
        for (size_t at = 0; at < all[i].size;) {
            size_t size = 5 + (size_t)(all[i].data[at + 3] << 8 | all[i].data[at + 4]);
            split_at_every(l, at + 1, at + 8);
            split_at_every(l, at + size - 2, at + size);
            at += size;
        }
        bytes_free(&all[i]);
    }
    tls_pair_close(&pair);
}

/* Cut at random, both ways, again and again. */
static void handshake_can_be_cut_at_random(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "chain-2");
    gr_tlsconf_options s = tls_options(GR_SERVER, "chain-2");
    c.depth = s.depth = 2;
    c.tickets = 0;
    tls_pair_configure(&pair, &c, &s);
    pair.prng = 7;
    for (int i = 0; i < 60; i++) {
        tls_pair_join_up(&pair);
        tls_pair_check_up(&pair);
    }
    tls_pair_close(&pair);
}

/* What a client sends right behind its handshake may come in one piece with the end of it. */
static void data_may_come_with_the_end_of_the_handshake(void **state)
{
    (void)state;
    tls_pair_open_up(&pair, NULL, NULL);
    tls_pair_join(&pair);
    tls_end_drain(&pair.client, &pair.up.bytes, SIZE_MAX);
    tls_end_feed(&pair.server, pair.up.bytes.data, pair.up.bytes.size);
    bytes_drop(&pair.up.bytes, pair.up.bytes.size);
    tls_end_drain(&pair.server, &pair.down.bytes, SIZE_MAX);
    tls_end_feed(&pair.client, pair.down.bytes.data, pair.down.bytes.size);
    bytes_drop(&pair.down.bytes, pair.down.bytes.size);
    assert_rc(pair.client.rc, GR_OK);
    assert_rc(pair.server.rc, GR_NONE);
    tls_end_write(&pair.client, "hello", 5);
    tls_end_drain(&pair.client, &pair.up.bytes, SIZE_MAX);
    tls_end_feed(&pair.server, pair.up.bytes.data, pair.up.bytes.size);
    bytes_drop(&pair.up.bytes, pair.up.bytes.size);
    tls_end_expect(&pair.server, "hello", 5);
    tls_pair_check_up(&pair);
    tls_pair_close(&pair);
}

/* ---- what it can do with ---- */

/* One that is done is done: asking again changes nothing. */
static void handshake_is_done_once(void **state)
{
    (void)state;
    tls_pair_open_up(&pair, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        assert_rc(gr_tls_handshake(pair.client.t), GR_OK);
        assert_rc(gr_tls_handshake(pair.server.t), GR_OK);
    }
    assert_int_equal(gr_tls_output(pair.client.t) + gr_tls_output(pair.server.t), 0);
    tls_pair_check_up(&pair);
    tls_pair_close(&pair);
}

/* Without input there is nothing to be done, however often one asks. */
static void handshake_waits_for_input(void **state)
{
    (void)state;
    tls_pair_configure(&pair, NULL, NULL);
    tls_pair_join(&pair);
    size_t size = gr_tls_output(pair.client.t);
    for (int i = 0; i < 3; i++) {
        assert_rc(gr_tls_handshake(pair.client.t), GR_NONE);
        assert_rc(gr_tls_handshake(pair.server.t), GR_NONE);
        assert_false(gr_tls_has_record(pair.client.t));
        assert_false(gr_tls_has_record(pair.server.t));
    }
    assert_int_equal(gr_tls_output(pair.client.t), size);
    assert_int_equal(gr_tls_output(pair.server.t), 0);
    tls_pair_close(&pair);
}

/* Freed in the middle of a handshake, at every step of it, nothing is left behind. */
static void handshake_can_be_given_up_at_any_time(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
    c.tickets = 0;
    tls_pair_configure(&pair, &c, NULL);
    for (int steps = 0; steps < 4; steps++) {
        tls_pair_join(&pair);
        for (int i = 0; i < steps; i++) {
            test_bytes b = {0};
            tls_end_drain(i % 2 ? &pair.server : &pair.client, &b, SIZE_MAX);
            tls_end_feed(i % 2 ? &pair.client : &pair.server, b.data, b.size);
            bytes_free(&b);
        }
    }
    tls_pair_close(&pair);
    gr_tls_free(NULL);
}

/* A library of another make understands us, on either side. */
static void library_alone_understands_us(void **state)
{
    (void)state;
    static const char *const names[] = {"full", "rsa"};
    for (int role = GR_CLIENT; role <= GR_SERVER; role++)
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            uint8_t buf[16];
            raw_pair_open_up(&raw, (gr_role)role, names[i], NULL);
            assert_int_equal(mbedtls_ssl_write(&raw.raw.ssl, (const uint8_t *)"hello", 5), 5);
            tls_end_write(&raw.end, "good day", 8);
            raw_pair_pump(&raw);
            tls_end_expect(&raw.end, "hello", 5);
            assert_int_equal(mbedtls_ssl_read(&raw.raw.ssl, buf, sizeof buf), 8);
            assert_memory_equal(buf, "good day", 8);
            raw_pair_close(&raw);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_key_on_either_side),
        cmocka_unit_test(authorities_may_differ),
        cmocka_unit_test(certificate_can_be_its_own_authority),
        cmocka_unit_test(every_suite_works),
        cmocka_unit_test(server_prefers),
        cmocka_unit_test(dhe_needs_parameters),
        cmocka_unit_test(chain_may_be_as_long_as_the_depth),
        cmocka_unit_test(those_who_are_not_revoked_are_let_in),
        cmocka_unit_test(nothing_is_verified_when_told_so),
        cmocka_unit_test(client_may_look_for_no_name),
        cmocka_unit_test(client_may_have_no_certificate),
        cmocka_unit_test(certificate_that_is_not_needed_is_looked_at),
        cmocka_unit_test(server_that_does_not_verify_asks_for_none),
        cmocka_unit_test(server_name_is_sent_when_given),
        cmocka_unit_test(server_name_need_not_be_in_the_certificate),
        cmocka_unit_test(server_name_has_a_longest),
        cmocka_unit_test(server_ignores_names),
        cmocka_unit_test(names_have_a_longest),
        cmocka_unit_test(handshake_works_in_small_pieces),
        cmocka_unit_test(short_handshake_can_be_cut_anywhere),
        cmocka_unit_test(full_handshake_can_be_cut_anywhere),
        cmocka_unit_test(handshake_can_be_cut_at_random),
        cmocka_unit_test(data_may_come_with_the_end_of_the_handshake),
        cmocka_unit_test(handshake_is_done_once),
        cmocka_unit_test(handshake_waits_for_input),
        cmocka_unit_test(handshake_can_be_given_up_at_any_time),
        cmocka_unit_test(library_alone_understands_us),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
