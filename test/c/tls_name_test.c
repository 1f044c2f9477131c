/* SPDX-License-Identifier: Apache-2.0 */
/* Which node a certificate is for. The certificates are made here: no CA would write some of them. */
#include <string.h>

#include "cmocka_support.h"
#include "gr_tlsname.h"
#include "pair_support.h"

#include <mbedtls/oid.h>

/* Kinds of alternative names, as in RFC 5280. */
enum { OTHER = 0, EMAIL = 1, DNS = 2, DIRECTORY = 4, URI = 6, ADDRESS = 7 };

#define DER_MAX 4096
#define LITERAL(text) text, sizeof(text) - 1

static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context rng;
static mbedtls_pk_context key;
static mbedtls_x509write_cert draft;
static test_bytes names; /* of the draft: alternative names, one behind the other */
static mbedtls_x509_crt crt;

static int group_setup(void **state)
{
    (void)state;
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&rng);
    mbedtls_pk_init(&key);
    return mbedtls_ctr_drbg_seed(&rng, mbedtls_entropy_func, &entropy, NULL, 0) != 0 ||
           mbedtls_pk_setup(&key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)) != 0 ||
           mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(key),
                               mbedtls_ctr_drbg_random, &rng) != 0;
}

static int group_teardown(void **state)
{
    (void)state;
    mbedtls_pk_free(&key);
    mbedtls_ctr_drbg_free(&rng);
    mbedtls_entropy_free(&entropy);
    return 0;
}

/* ---- making a certificate ---- */

static int setup(void **state)
{
    (void)state;
    mbedtls_x509write_crt_init(&draft);
    mbedtls_x509_crt_init(&crt);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mbedtls_x509write_crt_free(&draft);
    mbedtls_x509_crt_free(&crt);
    bytes_free(&names);
    return 0;
}

/* A part of the subject, by its object identifier. Each call adds one. */
static void add_subject(const char *oid, size_t oid_size, const char *value, size_t size)
{
    /* The library has one of each kind; so it gets another kind, and then this one. */
    mbedtls_asn1_named_data *part = calloc(1, sizeof *part);
    assert_non_null(part);
    part->oid.p = calloc(1, oid_size);
    part->val.p = calloc(1, size + 1);
    assert_non_null(part->oid.p);
    assert_non_null(part->val.p);
    memcpy(part->oid.p, oid, oid_size);
    memcpy(part->val.p, value, size);
    part->oid.len = oid_size;
    part->val.len = size;
    part->val.tag = MBEDTLS_ASN1_UTF8_STRING;
    part->next = draft.subject;
    draft.subject = part;
}

static void add_cn(const char *value, size_t size)
{
    add_subject(LITERAL(MBEDTLS_OID_AT_CN), value, size);
}

static void put_der(test_bytes *out, uint8_t tag, const void *data, size_t size)
{
    uint8_t head[] = {tag, 0x82, (uint8_t)(size >> 8), (uint8_t)size};
    uint8_t small[] = {tag, (uint8_t)size};
    if (size < 128)
        bytes_append(out, small, sizeof small);
    else
        bytes_append(out, head, sizeof head);
    bytes_append(out, data, size);
}

static void add_name(uint8_t kind, const char *value, size_t size)
{
    int constructed = kind == OTHER || kind == DIRECTORY;
    put_der(&names, (uint8_t)(0x80 | (constructed ? 0x20 : 0) | kind), value, size);
}

static int set_serial(void)
{
#if GR_MBEDTLS_3
    uint8_t one[] = {1};
    return mbedtls_x509write_crt_set_serial_raw(&draft, one, sizeof one);
#else
    mbedtls_mpi one;
    mbedtls_mpi_init(&one);
    int rc = mbedtls_mpi_lset(&one, 1);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_serial(&draft, &one);
    mbedtls_mpi_free(&one);
    return rc;
#endif
}

static void finish(void)
{
    static uint8_t der[DER_MAX];
    test_bytes extension = {0};
    assert_int_equal(set_serial(), 0);
    mbedtls_x509write_crt_set_version(&draft, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&draft, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&draft, &key);
    mbedtls_x509write_crt_set_issuer_key(&draft, &key);
    assert_int_equal(mbedtls_x509write_crt_set_issuer_name(&draft, "O=nobody"), 0);
    assert_int_equal(mbedtls_x509write_crt_set_validity(&draft, "20200101000000", "20400101000000"),
                     0);
    if (names.size) {
        put_der(&extension, 0x30, names.data, names.size);
        assert_int_equal(mbedtls_x509write_crt_set_extension(&draft,
                                                             LITERAL(MBEDTLS_OID_SUBJECT_ALT_NAME),
                                                             0, extension.data, extension.size),
                         0);
        bytes_free(&extension);
    }
    int size = mbedtls_x509write_crt_der(&draft, der, sizeof der, mbedtls_ctr_drbg_random, &rng);
    assert_true(size > 0);
    assert_int_equal(mbedtls_x509_crt_parse_der(&crt, der + sizeof der - size, (size_t)size), 0);
}

static int is_for(const char *node, size_t size)
{
    gr_str s = {(const uint8_t *)node, size};
    return gr_tlsname_matches(&crt, s);
}

#define assert_for(node) assert_true(is_for(LITERAL(node)))
#define assert_not_for(node) assert_false(is_for(LITERAL(node)))

/* ---- common names ---- */

/* The common name is the node's, to the last byte. */
static void common_name_is_the_node(void **state)
{
    (void)state;
    add_cn(LITERAL("callee@there"));
    finish();
    assert_for("callee@there");
    assert_not_for("callee@ther");
    assert_not_for("callee@there2");
    assert_not_for("allee@there");
    assert_not_for("caller@here");
    assert_not_for("");
}

/* Erlang knows letters by their case, and so do certificates of its nodes. */
static void case_matters(void **state)
{
    (void)state;
    add_cn(LITERAL("callee@there"));
    add_name(DNS, LITERAL("there.example"));
    finish();
    assert_not_for("Callee@there");
    assert_not_for("callee@THERE");
    assert_not_for("There.example");
    assert_for("there.example");
}

/* A node of several names has one certificate. */
static void any_of_several_common_names_will_do(void **state)
{
    (void)state;
    add_cn(LITERAL("first@there"));
    add_subject(LITERAL(MBEDTLS_OID_AT_ORGANIZATION), LITERAL("nobody@all"));
    add_cn(LITERAL("second@there"));
    add_cn(LITERAL("third@there"));
    finish();
    assert_for("first@there");
    assert_for("second@there");
    assert_for("third@there");
    assert_not_for("nobody@all");
    assert_not_for("fourth@there");
}

/* What else a subject says is no name of a node. */
static void other_parts_of_the_subject_are_no_names(void **state)
{
    (void)state;
    add_subject(LITERAL(MBEDTLS_OID_AT_ORGANIZATION), LITERAL("callee@there"));
    add_subject(LITERAL(MBEDTLS_OID_AT_ORG_UNIT), LITERAL("callee@there"));
    add_subject(LITERAL(MBEDTLS_OID_AT_GIVEN_NAME), LITERAL("callee@there"));
    add_subject(LITERAL(MBEDTLS_OID_PKCS9_EMAIL), LITERAL("callee@there"));
    finish();
    assert_not_for("callee@there");
}

/* ---- alternative names ---- */

/* An e-mail address, a DNS name and a URI are taken as they stand. */
static void alternative_names_are_nodes(void **state)
{
    (void)state;
    add_cn(LITERAL("somebody"));
    add_name(EMAIL, LITERAL("by-email@there"));
    add_name(DNS, LITERAL("by-dns@there"));
    add_name(URI, LITERAL("by-uri@there"));
    finish();
    assert_for("by-email@there");
    assert_for("by-dns@there");
    assert_for("by-uri@there");
    assert_not_for("by-email@ther");
    assert_not_for("by-email@there2");
    assert_not_for("there");
}

/* Alternative names do not push the common name aside, as they do where hosts are meant. */
static void common_name_counts_beside_alternative_names(void **state)
{
    (void)state;
    add_cn(LITERAL("callee@there"));
    add_name(EMAIL, LITERAL("other@there"));
    finish();
    assert_for("callee@there");
    assert_for("other@there");
}

/* Of kinds that are no text, the bytes mean something else. */
static void other_kinds_are_no_names(void **state)
{
    (void)state;
    add_cn(LITERAL("somebody"));
    add_name(ADDRESS, LITERAL("a@bc"));
    add_name(OTHER, LITERAL("\x06\x03\x2a\x03\x04\xa0\x0e\x0c\x0c"
                            "callee@there"));
    finish();
    assert_not_for("a@bc");
    assert_not_for("callee@there");
}

/* A name with a zero in it is not the name before the zero. */
static void zero_does_not_end_a_name(void **state)
{
    (void)state;
    add_cn("callee@there\0.evil", 18);
    add_cn("caller@here\0", 12);
    add_name(EMAIL, "by-email@there\0.evil", 20);
    add_name(DNS, "\0", 1);
    finish();
    assert_not_for("callee@there");
    assert_not_for("caller@here");
    assert_not_for("by-email@there");
    assert_not_for("");
    assert_true(is_for("callee@there\0.evil", 18));
}

/* A star is a letter like any other: who could sign for all nodes would be a CA. */
static void wildcards_match_nothing_but_themselves(void **state)
{
    (void)state;
    add_cn(LITERAL("*"));
    add_cn(LITERAL("*@there"));
    add_cn(LITERAL("callee@*"));
    add_name(DNS, LITERAL("*.example"));
    add_name(DNS, LITERAL("*"));
    add_name(EMAIL, LITERAL(".example"));
    finish();
    assert_not_for("callee@there");
    assert_not_for("there.example");
    assert_not_for("callee@there.example");
    assert_for("*@there");
}

/* Without any name it is for nobody; an empty name is none. */
static void certificate_without_names_is_for_nobody(void **state)
{
    (void)state;
    add_subject(LITERAL(MBEDTLS_OID_AT_ORGANIZATION), LITERAL("nobody"));
    finish();
    assert_not_for("callee@there");
    assert_not_for("nobody");
    assert_not_for("");
}

/* Not even the subject has to be there. */
static void certificate_without_a_subject_can_be_for_a_node(void **state)
{
    (void)state;
    add_name(EMAIL, LITERAL("callee@there"));
    finish();
    assert_for("callee@there");
    assert_not_for("");
}

/* The longest name that a node can have fits into an alternative name. */
static void longest_name_is_found(void **state)
{
    (void)state;
    char name[GR_NAME_MAX];
    memset(name, 'n', sizeof name);
    name[200] = '@';
    add_name(EMAIL, LITERAL("short@there"));
    add_name(EMAIL, name, sizeof name);
    finish();
    assert_true(is_for(name, sizeof name));
    assert_false(is_for(name, sizeof name - 1));
    name[GR_NAME_MAX - 1] = 'm';
    assert_false(is_for(name, sizeof name));
}

/* The last of many is found like the first. */
static void many_names_are_all_looked_at(void **state)
{
    (void)state;
    char name[16];
    for (int i = 0; i < 100; i++)
        add_name(i % 2 ? EMAIL : DNS, name, (size_t)snprintf(name, sizeof name, "n%d@there", i));
    finish();
    for (int i = 0; i < 100; i++)
        assert_true(is_for(name, (size_t)snprintf(name, sizeof name, "n%d@there", i)));
    assert_not_for("n100@there");
}

/* What has not been read is for nobody. */
static void empty_certificate_is_for_nobody(void **state)
{
    (void)state;
    assert_not_for("callee@there");
    assert_not_for("");
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(common_name_is_the_node),
        test_of(case_matters),
        test_of(any_of_several_common_names_will_do),
        test_of(other_parts_of_the_subject_are_no_names),
        test_of(alternative_names_are_nodes),
        test_of(common_name_counts_beside_alternative_names),
        test_of(other_kinds_are_no_names),
        test_of(zero_does_not_end_a_name),
        test_of(wildcards_match_nothing_but_themselves),
        test_of(certificate_without_names_is_for_nobody),
        test_of(certificate_without_a_subject_can_be_for_a_node),
        test_of(longest_name_is_found),
        test_of(many_names_are_all_looked_at),
        test_of(empty_certificate_is_for_nobody),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
