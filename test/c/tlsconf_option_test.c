/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration is made of beside files, what it tells, and how long it lives. */
#include <stdio.h>
#include <string.h>

#include "cmocka_support.h"
#include "tls_support.h"

static test_mem mem;
static gr_tlsconf_options o;

static int setup(void **state)
{
    (void)state;
    mem_init(&mem);
    o = tls_options(GR_SERVER, "callee");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mem_check_empty(&mem);
    return 0;
}

static void accepts(void)
{
    gr_tlsconf_unref(tls_conf(&mem, &o));
}

/* The words are in what is said, which fits into its room. */
static void refuses(gr_tlsopt option, const char *words)
{
    gr_tlsconf *c;
    gr_tlsconf_error err;
    memset(&err, 0x5a, sizeof err);
    assert_rc(gr_tlsconf_new(&c, &mem.vt, &o, &err), GR_ESTATE);
    assert_null(c);
    assert_int_equal(err.option, option);
    assert_true(strlen(err.why) < sizeof err.why - 1);
    if (!strstr(err.why, words))
        fail_msg("'%s' is not in '%s'", words, err.why);
}

/* ---- ciphers ---- */

/* A list of names in the place of the default; one name is one, too. */
static void suites_can_be_chosen(void **state)
{
    (void)state;
    o.ciphers = str_of("ECDHE-ECDSA-AES128-GCM-SHA256");
    accepts();
    o.ciphers = str_of("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:ECDHE-RSA-CHACHA20-POLY1305");
    accepts();
    o.role = GR_CLIENT;
    accepts();
}

/* What cannot be used is named. */
static void suite_that_is_not_allowed_is_named(void **state)
{
    (void)state;
    o.ciphers = str_of("ECDHE-ECDSA-AES128-GCM-SHA256:AES128-SHA:RC4");
    refuses(GR_TLSOPT_CIPHERS, "'AES128-SHA'");
    refuses(GR_TLSOPT_CIPHERS, "suites with forward secrecy and authenticated encryption");
    o.ciphers = str_of("ECDHE-ECDSA-AES128-GCM-SHA256:");
    refuses(GR_TLSOPT_CIPHERS, "''");
}

/* A name of any length leaves room for the words about it. */
static void long_name_is_cut(void **state)
{
    (void)state;
    char name[1000];
    char quoted[67];
    memset(name, 'x', sizeof name);
    for (size_t size = 60; size < sizeof name; size += 1 + size / 7) {
        gr_str s = {(const uint8_t *)name, size};
        o.ciphers = s;
        snprintf(quoted, sizeof quoted, "'%.*s'", (int)(size < 64 ? size : 64), name);
        refuses(GR_TLSOPT_CIPHERS, quoted);
        refuses(GR_TLSOPT_CIPHERS, "suites with forward secrecy and authenticated encryption");
    }
}

/* ---- versions ---- */

/* Who asks for none gets all that are good; else what the library has is said. */
static void versions_are_those_of_the_library(void **state)
{
    (void)state;
    static const int bad[][2] = {{11, 12}, {10, 10}, {1, 0},  {13, 12},
                                 {12, 11}, {12, 14}, {14, 14}};
    const char *why = GR_TLS_VERSION_MAX == 12 ? "tlsv1.2" : "tlsv1.2 and tlsv1.3";
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        o.min_version = bad[i][0];
        o.max_version = bad[i][1];
        refuses(GR_TLSOPT_VERSIONS, why);
        refuses(GR_TLSOPT_VERSIONS, "mbedTLS " MBEDTLS_VERSION_STRING);
    }
    for (int min = 12; min <= 13; min++)
        for (int max = min; max <= 13; max++) {
            o.min_version = min;
            o.max_version = max;
            if (max <= GR_TLS_VERSION_MAX)
                accepts();
            else
                refuses(GR_TLSOPT_VERSIONS, why);
        }
}

/* Either end may be left open: from a version on, or up to one. */
static void versions_may_be_open(void **state)
{
    (void)state;
    static const int open[][2] = {{0, 0}, {0, 12}, {12, 0}};
    for (size_t i = 0; i < COUNT_OF(open); i++) {
        o.min_version = open[i][0];
        o.max_version = open[i][1];
        accepts();
    }
}

/* A version without a suite of its own could be agreed upon, and then nothing else: it is left out. */
static void versions_need_suites(void **state)
{
    (void)state;
    if (GR_TLS_VERSION_MAX < 13)
        return;
    static const struct {
        const char *ciphers;
        int min;
        int max;
        int good;
    } cases[] = {
        {"TLS_AES_128_GCM_SHA256", 12, 13, 1},      {"TLS_AES_128_GCM_SHA256", 13, 13, 1},
        {"TLS_AES_128_GCM_SHA256", 12, 12, 0},      {"ECDHE-RSA-AES128-GCM-SHA256", 12, 13, 1},
        {"ECDHE-RSA-AES128-GCM-SHA256", 12, 12, 1}, {"ECDHE-RSA-AES128-GCM-SHA256", 13, 13, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        o.ciphers = str_of(cases[i].ciphers);
        o.min_version = cases[i].min;
        o.max_version = cases[i].max;
        if (cases[i].good)
            accepts();
        else
            refuses(GR_TLSOPT_CIPHERS, "suites of the versions that are allowed");
    }
}

/* ---- several mistakes ---- */

/* One is told at a time, in the order of the options; none hides behind what is right. */
static void first_mistake_is_told(void **state)
{
    (void)state;
    static const gr_tlsopt order[] = {GR_TLSOPT_CERTFILE, GR_TLSOPT_KEYFILE, GR_TLSOPT_CACERTFILE,
                                      GR_TLSOPT_DHFILE,   GR_TLSOPT_CRLFILE, GR_TLSOPT_CIPHERS,
                                      GR_TLSOPT_VERSIONS};
    gr_tlsconf_options good = o;
    for (size_t i = 0; i < COUNT_OF(order); i++) {
        gr_tlsconf *c;
        gr_tlsconf_error err;
        gr_str bad = str_of("nonsense");
        gr_str *const fields[] = {&o.cert, &o.key, &o.ca, &o.dh, &o.crl, &o.ciphers};
        o = good;
        for (size_t j = i; j < COUNT_OF(fields); j++)
            *fields[j] = bad;
        o.min_version = 11;
        assert_rc(gr_tlsconf_new(&c, &mem.vt, &o, &err), GR_ESTATE);
        assert_int_equal(err.option, order[i]);
    }
}

/* ---- what it tells ---- */

/* What is asked for is what it says. */
static void configuration_tells_what_it_was_made_of(void **state)
{
    (void)state;
    for (int i = 0; i < 16; i++) {
        o.role = i & 1 ? GR_CLIENT : GR_SERVER;
        o.verify = (i & 2) != 0;
        o.tickets = (i & 4) != 0;
        o.depth = (unsigned)i;
        o.need_cert = (i & 8) != 0;
        gr_tlsconf *c = tls_conf(&mem, &o);
        assert_int_equal(gr_tlsconf_role(c), o.role);
        assert_int_equal(gr_tlsconf_verifies(c), o.verify);
        assert_int_equal(gr_tlsconf_depth(c), i);
        assert_int_equal(gr_tlsconf_cache(c) != NULL, o.role == GR_CLIENT && o.tickets);
        assert_non_null(gr_tlsconf_ssl(c));
        gr_tlsconf_unref(c);
    }
}

/* The hash is that of the certificate's DER form, however its file is written, chain or not. */
static void hash_is_that_of_the_own_certificate(void **state)
{
    (void)state;
    uint8_t expected[32];
    gr_str der = tls_file("callee.der");
    assert_int_equal(gr_mbedtls_sha256(der.data, der.size, expected), 0);
    gr_tlsconf *pem = tls_conf(&mem, &o);
    o.cert = der;
    gr_tlsconf *same = tls_conf(&mem, &o);
    o = tls_options(GR_SERVER, "callee2");
    gr_tlsconf *other = tls_conf(&mem, &o);
    assert_memory_equal(gr_tlsconf_own_hash(pem), expected, 32);
    assert_memory_equal(gr_tlsconf_own_hash(same), expected, 32);
    assert_memory_not_equal(gr_tlsconf_own_hash(other), expected, 32);
    gr_tlsconf_unref(pem);
    gr_tlsconf_unref(same);
    gr_tlsconf_unref(other);
}

/* Whoever has it can be warned that its certificate is for another node. */
static void own_certificate_is_for_a_node(void **state)
{
    (void)state;
    gr_tlsconf *c = tls_conf(&mem, &o);
    assert_true(gr_tlsconf_is_for(c, str_of("callee@there")));
    assert_false(gr_tlsconf_is_for(c, str_of("caller@here")));
    assert_false(gr_tlsconf_is_for(c, str_of("")));
    gr_tlsconf_unref(c);
    o = tls_options(GR_SERVER, "chain-1");
    c = tls_conf(&mem, &o);
    assert_true(gr_tlsconf_is_for(c, str_of("callee@there")));
    assert_true(gr_tlsconf_is_for(c, str_of("caller@here")));
    assert_false(gr_tlsconf_is_for(c, str_of("inter1")));
    gr_tlsconf_unref(c);
}

/* ---- how long it lives ---- */

/* It lives as long as anybody has a reference, and not longer; nobody may have none. */
static void references_are_counted(void **state)
{
    (void)state;
    gr_tlsconf *c = tls_conf(&mem, &o);
    for (int i = 0; i < 10; i++)
        gr_tlsconf_ref(c);
    for (int i = 0; i < 10; i++)
        gr_tlsconf_unref(c);
    assert_true(mem.live > 0);
    assert_true(gr_tlsconf_is_for(c, str_of("callee@there")));
    gr_tlsconf_unref(c);
    assert_int_equal(mem.live, 0);
    gr_tlsconf_unref(NULL);
}

/* A session keeps its configuration, although who made it has let go of it. */
static void session_keeps_its_configuration(void **state)
{
    (void)state;
    static tls_pair p;
    tls_pair_configure(&p, NULL, NULL);
    tls_pair_join(&p);
    gr_tlsconf_unref(p.client_conf);
    gr_tlsconf_unref(p.server_conf);
    p.client_conf = p.server_conf = NULL;
    tls_pair_pump(&p);
    tls_pair_check_up(&p);
    tls_pair_close(&p);
}

/* Several are independent of each other: the end of one is not the end of any other. */
static void configurations_are_independent(void **state)
{
    (void)state;
    static tls_pair p;
    gr_tlsconf *first = tls_conf(&mem, &o);
    tls_pair_configure(&p, NULL, NULL);
    o = tls_options(GR_CLIENT, "rsa");
    gr_tlsconf *second = tls_conf(&mem, &o);
    tls_pair_join_up(&p);
    gr_tlsconf_unref(first);
    gr_tlsconf_unref(second);
    assert_int_equal(mem.live, 0);
    tls_pair_check_up(&p);
    tls_pair_join_up(&p);
    tls_pair_check_up(&p);
    tls_pair_close(&p);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(suites_can_be_chosen),
        test_of(suite_that_is_not_allowed_is_named),
        test_of(long_name_is_cut),
        test_of(versions_are_those_of_the_library),
        test_of(versions_may_be_open),
        test_of(versions_need_suites),
        test_of(first_mistake_is_told),
        test_of(configuration_tells_what_it_was_made_of),
        test_of(hash_is_that_of_the_own_certificate),
        test_of(own_certificate_is_for_a_node),
        test_of(references_are_counted),
        test_of(session_keeps_its_configuration),
        test_of(configurations_are_independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
