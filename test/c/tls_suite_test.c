/* SPDX-License-Identifier: Apache-2.0 */
/* Names and order of cipher suites. */
#include <string.h>

#include "cmocka_support.h"
#include "gr_tlscompat.h"
#include "gr_tlssuite.h"
#include "pair_support.h"

/* What is allowed in TLS 1.2, in the default order; numbers of the registry. */
static const struct {
    int id;
    const char *iana;
    const char *openssl;
} suites[] = {
    {0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"},
    {0xc0ac, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM", "ECDHE-ECDSA-AES128-CCM"},
    {0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
    {0xc0ad, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM", "ECDHE-ECDSA-AES256-CCM"},
    {0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"},
    {0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "DHE-RSA-CHACHA20-POLY1305"},
    {0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", "DHE-RSA-AES128-GCM-SHA256"},
    {0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", "DHE-RSA-AES256-GCM-SHA384"},
};

/* TLS 1.3 has no other name for them than IANA's. */
static const struct {
    int id;
    const char *name;
} suites_13[] = {
    {0x1303, "TLS_CHACHA20_POLY1305_SHA256"},
    {0x1304, "TLS_AES_128_CCM_SHA256"},
    {0x1301, "TLS_AES_128_GCM_SHA256"},
    {0x1302, "TLS_AES_256_GCM_SHA384"},
};

#define DHE 3u /* of the first table, at its end */

/* Whether the library has TLS 1.3, and so its suites. */
#define HAS_13 (GR_TLS_VERSION_MAX >= 13)

/* Expects a good list with so many suites, and a zero behind them. */
static void parse(const char *names, int ids[GR_TLSSUITE_MAX], size_t count)
{
    gr_str bad;
    memset(ids, 0x5a, sizeof(int) * GR_TLSSUITE_MAX);
    assert_rc(gr_tlssuite_parse(str_of(names), ids, &bad), GR_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_not_equal(ids[i], 0);
    assert_int_equal(ids[count], 0);
}

static void refuses(const char *names, const char *expected)
{
    int ids[GR_TLSSUITE_MAX];
    gr_str bad = {NULL, 0};
    assert_rc(gr_tlssuite_parse(str_of(names), ids, &bad), GR_ENOENT);
    assert_non_null(bad.data);
    assert_int_equal(bad.size, strlen(expected));
    assert_memory_equal(bad.data, expected, bad.size);
}

/* Who asks for nothing gets the fastest first, those of TLS 1.3, if there are any, before all others. */
static void default_order_is_by_speed(void **state)
{
    (void)state;
    for (int dhe = 0; dhe < 2; dhe++) {
        int ids[GR_TLSSUITE_MAX];
        size_t n = 0;
        gr_tlssuite_default(dhe, ids);
        for (size_t i = 0; HAS_13 && i < COUNT_OF(suites_13); i++)
            assert_int_equal(ids[n++], suites_13[i].id);
        for (size_t i = 0; i < COUNT_OF(suites) - (dhe ? 0 : DHE); i++)
            assert_int_equal(ids[n++], suites[i].id);
        assert_int_equal(ids[n], 0);
    }
}

/* Each by either name, alone; and what it is called in the end is IANA's name. */
static void every_suite_has_two_names(void **state)
{
    (void)state;
    int ids[GR_TLSSUITE_MAX];
    for (size_t i = 0; i < COUNT_OF(suites); i++) {
        parse(suites[i].iana, ids, 1);
        assert_int_equal(ids[0], suites[i].id);
        parse(suites[i].openssl, ids, 1);
        assert_int_equal(ids[0], suites[i].id);
        assert_string_equal(gr_tlssuite_name(suites[i].id), suites[i].iana);
    }
}

/* Those of TLS 1.3 can be named where the library has them, and not be offered where it has not. */
static void suites_of_tls_13_are_known_where_it_is(void **state)
{
    (void)state;
    int ids[GR_TLSSUITE_MAX];
    for (size_t i = 0; i < COUNT_OF(suites_13); i++) {
        assert_string_equal(gr_tlssuite_name(suites_13[i].id), suites_13[i].name);
        if (HAS_13) {
            parse(suites_13[i].name, ids, 1);
            assert_int_equal(ids[0], suites_13[i].id);
        } else {
            refuses(suites_13[i].name, suites_13[i].name);
        }
    }
}

/* A suite that the library does not have would be offered by nobody; all of TLS 1.2 are there. */
static void library_has_all_of_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(suites); i++)
        assert_non_null(mbedtls_ssl_ciphersuite_from_id(suites[i].id));
}

/* A list is in the order of the one who wrote it, whichever names he used. */
static void list_keeps_its_order(void **state)
{
    (void)state;
    int ids[GR_TLSSUITE_MAX];
    parse("ECDHE-RSA-AES256-GCM-SHA384:TLS_ECDHE_ECDSA_WITH_AES_128_CCM:"
          "DHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-CCM",
          ids, 4);
    static const int expected[] = {0xc030, 0xc0ac, 0x009e, 0xc0ad};
    assert_memory_equal(ids, expected, sizeof expected);
}

/* All of them, each twice by different names, many times over: each counts once, where it was first. */
static void duplicates_count_once(void **state)
{
    (void)state;
    int ids[GR_TLSSUITE_MAX];
    test_bytes list = {0};
    for (int again = 0; again < 3; again++)
        for (size_t i = 0; i < COUNT_OF(suites); i++) {
            bytes_append(&list, suites[i].openssl, strlen(suites[i].openssl));
            bytes_append(&list, ":", 1);
            bytes_append(&list, suites[i].iana, strlen(suites[i].iana));
            bytes_append(&list, ":", 1);
        }
    list.data[list.size - 1] = 0;
    parse((const char *)list.data, ids, COUNT_OF(suites));
    for (size_t i = 0; i < COUNT_OF(suites); i++)
        assert_int_equal(ids[i], suites[i].id);
    bytes_free(&list);
}

/* The first name that cannot be used is told, so that it can be mended. */
static void unknown_names_are_told(void **state)
{
    (void)state;
    refuses("nonsense", "nonsense");
    refuses("ECDHE-RSA-AES128-GCM-SHA256:nonsense", "nonsense");
    refuses("nonsense:ECDHE-RSA-AES128-GCM-SHA256", "nonsense");
    refuses("first:second", "first");
    /* Names are whole, and in their own case. */
    refuses("ECDHE-RSA-AES128-GCM-SHA25", "ECDHE-RSA-AES128-GCM-SHA25");
    refuses("ECDHE-RSA-AES128-GCM-SHA2566", "ECDHE-RSA-AES128-GCM-SHA2566");
    refuses("ecdhe-rsa-aes128-gcm-sha256", "ecdhe-rsa-aes128-gcm-sha256");
    refuses(" ECDHE-RSA-AES128-GCM-SHA256", " ECDHE-RSA-AES128-GCM-SHA256");
    refuses("ECDHE-RSA-AES128-GCM-SHA256,ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-RSA-AES128-GCM-SHA256,ECDHE-RSA-AES256-GCM-SHA384");
}

/* OpenSSL's words for groups of suites are no names: they would mean something else here. */
static void words_of_openssl_are_refused(void **state)
{
    (void)state;
    static const char *const words[] = {"ALL", "HIGH", "DEFAULT", "!aNULL", "-RSA", "@STRENGTH"};
    for (size_t i = 0; i < COUNT_OF(words); i++)
        refuses(words[i], words[i]);
}

/* Between two colons there is a name, even an empty one. */
static void empty_names_are_refused(void **state)
{
    (void)state;
    refuses("", "");
    refuses(":", "");
    refuses(":ECDHE-RSA-AES128-GCM-SHA256", "");
    refuses("ECDHE-RSA-AES128-GCM-SHA256:", "");
    refuses("ECDHE-RSA-AES128-GCM-SHA256::ECDHE-RSA-AES256-GCM-SHA384", "");
}

/* What protects nothing, or nothing later, or not its own integrity, is none of ours by any name. */
static void weak_suites_are_refused(void **state)
{
    (void)state;
    static const char *const weak[] = {
        "NULL-SHA256",
        "TLS_RSA_WITH_NULL_SHA256",
        "ECDHE-ECDSA-NULL-SHA",
        "AES128-GCM-SHA256",
        "TLS_RSA_WITH_AES_128_GCM_SHA256",
        "TLS-RSA-WITH-AES-128-GCM-SHA256",
        "ECDHE-RSA-AES128-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
        "ECDHE-ECDSA-AES256-SHA384",
        "DHE-RSA-AES256-SHA",
        "ECDH-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDH_RSA_WITH_AES_128_GCM_SHA256",
        "PSK-AES128-GCM-SHA256",
        "ADH-AES128-GCM-SHA256",
        "RC4-SHA",
        "DES-CBC3-SHA",
        "ECDHE-ECDSA-AES128-CCM8",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8",
        "TLS_EMPTY_RENEGOTIATION_INFO_SCSV",
    };
    for (size_t i = 0; i < COUNT_OF(weak); i++)
        refuses(weak[i], weak[i]);
}

/* A name may have any byte in it, and ends where its length says, not at a zero. */
static void names_are_bytes(void **state)
{
    (void)state;
    static const uint8_t with_zero[] = "ECDHE-RSA-AES128-GCM-SHA256\0";
    int ids[GR_TLSSUITE_MAX];
    gr_str bad;
    gr_str names = {with_zero, sizeof with_zero - 1};
    assert_rc(gr_tlssuite_parse(names, ids, &bad), GR_ENOENT);
    assert_int_equal(bad.size, names.size);
    names.size--;
    assert_rc(gr_tlssuite_parse(names, ids, &bad), GR_OK);
}

/* Which versions a list is good for is known by its numbers. */
static void lists_serve_versions(void **state)
{
    (void)state;
    static const struct {
        int ids[4];
        int serves_12;
        int serves_13;
    } lists[] = {{{0}, 0, 0},
                 {{0xcca8, 0}, 1, 0},
                 {{0x1301, 0}, 0, 1},
                 {{0x1303, 0x009e, 0}, 1, 1},
                 {{0xc02f, 0xc030, 0x1304, 0}, 1, 1}};
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        assert_int_equal(gr_tlssuite_serves(lists[i].ids, 12), lists[i].serves_12);
        assert_int_equal(gr_tlssuite_serves(lists[i].ids, 13), lists[i].serves_13);
    }
}

/* What is not allowed has no name here, whatever the library knows. */
static void others_have_no_name(void **state)
{
    (void)state;
    static const int ids[] = {0, -1, 0x009c, 0xc027, 0xc02d, 0x00ff, 0x1305, 0x10000};
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        assert_null(gr_tlssuite_name(ids[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_order_is_by_speed),
        cmocka_unit_test(every_suite_has_two_names),
        cmocka_unit_test(suites_of_tls_13_are_known_where_it_is),
        cmocka_unit_test(library_has_all_of_them),
        cmocka_unit_test(list_keeps_its_order),
        cmocka_unit_test(duplicates_count_once),
        cmocka_unit_test(unknown_names_are_told),
        cmocka_unit_test(words_of_openssl_are_refused),
        cmocka_unit_test(empty_names_are_refused),
        cmocka_unit_test(weak_suites_are_refused),
        cmocka_unit_test(names_are_bytes),
        cmocka_unit_test(lists_serve_versions),
        cmocka_unit_test(others_have_no_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
