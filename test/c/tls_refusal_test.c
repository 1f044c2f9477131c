/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates that must be refused: what is found, and which alert tells the other side. */
#include <stdlib.h>
#include <string.h>

#include "clock_support.h"
#include "cmocka_support.h"
#include "raw_support.h"
#include "tls_support.h"

/* Alerts of RFC 5246. */
enum {
    HANDSHAKE_FAILURE = 40,
    BAD_CERTIFICATE = 42,
    UNSUPPORTED_CERTIFICATE = 43,
    CERTIFICATE_REVOKED = 44,
    CERTIFICATE_EXPIRED = 45,
    CERTIFICATE_UNKNOWN = 46,
    UNKNOWN_CA = 48,
    ACCESS_DENIED = 49
};

/* What one side shows, and how the other one looks at it. */
typedef struct hostile {
    const char *name;
    const char *ca;  /* file; NULL: ca.pem */
    const char *crl; /* file; NULL: none */
    unsigned depth;  /* one more than that of the options; 0: 1 */
    int rc;
    int alert;
} hostile;

static raw_pair raw;
static tls_pair pair;

static int teardown(void **state)
{
    (void)state;
    clock_stop_at(0);
    return 0;
}

static gr_tlsconf_options options_of(const hostile *h, gr_role role)
{
    gr_tlsconf_options o = tls_options(role, role == GR_CLIENT ? "caller" : "callee");
    o.ca = tls_file(h->ca ? h->ca : "ca.pem");
    if (h->crl)
        o.crl = tls_file(h->crl);
    if (h->depth)
        o.depth = h->depth - 1;
    return o;
}

/* The peer is a library that does not care what is in its own certificate. */
static void show(const hostile *h, gr_role role, int need_cert)
{
    gr_tlsconf_options o = options_of(h, role == GR_CLIENT ? GR_SERVER : GR_CLIENT);
    o.need_cert = need_cert;
    raw_pair_configure(&raw, role, h->name, &o);
    raw.raw.cert.ext_types = 0;
    raw_pair_begin(&raw);
    raw_pair_pump(&raw);
}

static void expect_refused(const hostile *h, int alert)
{
    if (raw.end.rc != h->rc)
        fail_msg("%s: %s, not %s", h->name, gr_error_name(raw.end.rc), gr_error_name(h->rc));
    raw_expect_alert(&raw, alert);
    /* It stays refused. */
    assert_rc(gr_tls_handshake(raw.end.t), h->rc);
    assert_int_equal(gr_tls_output(raw.end.t), 0);
    raw_pair_close(&raw);
}

static void refused_as_client(const hostile *h)
{
    show(h, GR_CLIENT, 1);
    expect_refused(h, h->alert);
}

static void refused_as_server(const hostile *h)
{
    show(h, GR_SERVER, 1);
    expect_refused(h, h->alert);
}

/* By a server that would have let the client in without a certificate. */
static void refused_although_not_needed(const hostile *h)
{
    show(h, GR_CLIENT, 0);
    expect_refused(h, h->rc == GR_ETLS_EXPIRED ? CERTIFICATE_EXPIRED : BAD_CERTIFICATE);
}

/* Which are wrong for everybody. */
static const hostile bad_ones[] = {
    {"expired", NULL, NULL, 0, GR_ETLS_EXPIRED, CERTIFICATE_EXPIRED},
    {"future", NULL, NULL, 0, GR_ETLS_FUTURE, CERTIFICATE_UNKNOWN},
    {"other", NULL, NULL, 0, GR_ETLS_UNKNOWN_CA, UNKNOWN_CA},
    {"twin", NULL, NULL, 0, GR_ETLS_UNKNOWN_CA, UNKNOWN_CA},
    {"self", NULL, NULL, 0, GR_ETLS_UNKNOWN_CA, UNKNOWN_CA},
    {"of-not-a-ca", NULL, NULL, 0, GR_ETLS_UNKNOWN_CA, UNKNOWN_CA},
    {"of-expired-ca", "two-cas.pem", NULL, 0, GR_ETLS_EXPIRED, CERTIFICATE_EXPIRED},
    {"chain-expired", NULL, NULL, 0, GR_ETLS_EXPIRED, CERTIFICATE_EXPIRED},
    {"revoked", NULL, "crl.pem", 0, GR_ETLS_REVOKED, CERTIFICATE_REVOKED},
    {"revoked", NULL, "crl-two.pem", 0, GR_ETLS_REVOKED, CERTIFICATE_REVOKED},
    {"chain-revoked", NULL, "crl.pem", 0, GR_ETLS_REVOKED, CERTIFICATE_REVOKED},
    {"full", NULL, "crl-twin.pem", 0, GR_ETLS_CRL, CERTIFICATE_UNKNOWN},
    {"full", NULL, "crl-sha1.pem", 0, GR_ETLS_CRL, CERTIFICATE_UNKNOWN},
    {"full", NULL, "crl-future.pem", 0, GR_ETLS_CRL, CERTIFICATE_UNKNOWN},
    {"of-no-crl-ca", "no-crl-ca.pem", "crl-no-crl-ca.pem", 0, GR_ETLS_CRL, CERTIFICATE_UNKNOWN},
    {"chain-1", NULL, NULL, 1, GR_ETLS_DEPTH, ACCESS_DENIED},
    {"chain-2", NULL, NULL, 2, GR_ETLS_DEPTH, ACCESS_DENIED},
    {"chain-7", NULL, NULL, 7, GR_ETLS_DEPTH, ACCESS_DENIED},
    {"sha1", NULL, NULL, 0, GR_ETLS_BAD_CERT, CERTIFICATE_UNKNOWN},
    {"rsa1024", NULL, NULL, 0, GR_ETLS_BAD_CERT, UNSUPPORTED_CERTIFICATE},
    {"no-signature", NULL, NULL, 0, GR_ETLS_BAD_CERT, UNSUPPORTED_CERTIFICATE},
};

/* A client is told what its server found wrong. */
static void bad_client_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad_ones); i++)
        refused_as_client(&bad_ones[i]);
}

/* A server is told what its client found wrong. */
static void bad_server_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad_ones); i++)
        refused_as_server(&bad_ones[i]);
}

/* Who need not show a certificate had better show none than a bad one. */
static void bad_client_is_refused_where_none_is_needed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad_ones); i++)
        refused_although_not_needed(&bad_ones[i]);
}

/* A certificate for the other side of a connection only; each is good where it belongs. */
static void certificate_for_the_other_side_is_refused(void **state)
{
    (void)state;
    static const hostile client = {"only-server",          NULL, NULL, 0, GR_ETLS_BAD_CERT,
                                   UNSUPPORTED_CERTIFICATE};
    static const hostile server = {"only-client",          NULL, NULL, 0, GR_ETLS_BAD_CERT,
                                   UNSUPPORTED_CERTIFICATE};
    refused_as_client(&client);
    refused_although_not_needed(&client);
    refused_as_server(&server);
    raw_pair_open_up(&raw, GR_CLIENT, "only-client", NULL);
    raw_pair_close(&raw);
    raw_pair_open_up(&raw, GR_SERVER, "only-server", NULL);
    raw_pair_close(&raw);
}

/* A curve that is none of ours. */
static void unusual_curve_is_refused(void **state)
{
    (void)state;
    static const hostile h = {
        "secp256k1", NULL, NULL, 0, GR_ETLS_BAD_CERT, UNSUPPORTED_CERTIFICATE};
    refused_as_client(&h);
    refused_although_not_needed(&h);
}

/* More certificates than the library follows are too many, too, whatever the depth. */
static void endless_chain_is_refused(void **state)
{
    (void)state;
    static const hostile h = {"chain-9", NULL, NULL, 101, GR_ETLS_DEPTH, ACCESS_DENIED};
    refused_as_client(&h);
    refused_as_server(&h);
    show(&h, GR_CLIENT, 0);
    assert_rc(raw.end.rc, GR_ETLS_DEPTH);
    raw_pair_close(&raw);
}

/* A client looks for one node; another one's certificate is refused, however good. */
static void server_of_another_name_is_refused(void **state)
{
    (void)state;
    static const hostile h = {"stranger", NULL, NULL, 0, GR_ETLS_NAME, BAD_CERTIFICATE};
    static const hostile caller = {"caller", NULL, NULL, 0, GR_ETLS_NAME, BAD_CERTIFICATE};
    refused_as_server(&h);
    refused_as_server(&caller);
}

/* A server does not know yet who comes: it lets in who has a good certificate, and is asked later. */
static void client_of_another_name_is_told_apart_later(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "stranger");
    tls_pair_open_up(&pair, &c, NULL);
    tls_pair_check_up(&pair);
    assert_false(gr_tls_is_for(pair.server.t, str_of("caller@here")));
    assert_true(gr_tls_is_for(pair.server.t, str_of("stranger@nowhere")));
    tls_pair_close(&pair);
}

/* Without a certificate nobody gets in where one is needed. */
static void client_without_a_certificate_is_refused(void **state)
{
    (void)state;
    raw_pair_configure(&raw, GR_CLIENT, NULL, NULL);
    raw_pair_begin(&raw);
    raw_pair_pump(&raw);
    assert_rc(raw.end.rc, GR_ETLS_NO_CERT);
    raw_expect_alert(&raw, HANDSHAKE_FAILURE);
    raw_pair_close(&raw);
}

/* Several things wrong: what its owner has to mend first is told. */
static void worst_fault_is_told(void **state)
{
    (void)state;
    static const hostile unknown = {"of-expired-ca", NULL, NULL, 0, GR_ETLS_UNKNOWN_CA, UNKNOWN_CA};
    static const hostile revoked = {"revoked",          NULL, "crl-future.pem", 0, GR_ETLS_REVOKED,
                                    CERTIFICATE_REVOKED};
    refused_as_client(&unknown);
    refused_as_client(&revoked);
    /* The name is wrong as well. */
    static const hostile other = {"other-ca", NULL, NULL, 0, GR_ETLS_UNKNOWN_CA, BAD_CERTIFICATE};
    refused_as_server(&other);
}

/* ---- what is no certificate ---- */

/* The raw side shows these bytes as its certificate. Returns whether our side was ever up. */
static int show_bytes(gr_role role, const uint8_t *data, size_t size, int need_cert)
{
    gr_tlsconf_options o =
        role == GR_CLIENT ? tls_options(GR_SERVER, "callee") : tls_options(GR_CLIENT, "caller");
    o.need_cert = need_cert;
    raw_pair_configure(&raw, role, "full", &o);
    mbedtls_x509_buf *shown = &raw.raw.cert.raw;
    mbedtls_x509_buf own = *shown;
    uint8_t *copy = malloc(size);
    assert_non_null(copy);
    memcpy(copy, data, size);
    /* What is sent; all else that the library knows about the certificate stays. */
    shown->p = copy;
    shown->len = size;
    raw_pair_begin(&raw);
    raw_pair_pump(&raw);
    *shown = own;
    free(copy);
    return raw.end.up;
}

/* Bytes that cannot be read as a certificate, and certificates of what is not known here. */
static void malformed_certificate_is_refused(void **state)
{
    (void)state;
    uint8_t junk[300];
    gr_str der = tls_file("callee.der");
    pattern_fill(junk, sizeof junk, 3);
    for (int i = 0; i < 3; i++) {
        gr_role role = i ? GR_CLIENT : GR_SERVER;
        show_bytes(role, junk, sizeof junk, i < 2);
        assert_rc(raw.end.rc, GR_ETLS_BAD_CERT);
        raw_expect_alert(&raw, BAD_CERTIFICATE);
        raw_pair_close(&raw);
        show_bytes(role, der.data, der.size - 1, i < 2);
        assert_rc(raw.end.rc, GR_ETLS_BAD_CERT);
        raw_expect_alert(&raw, BAD_CERTIFICATE);
        raw_pair_close(&raw);
        /* Too short for any certificate; to mbedTLS 3.6 that is no message, not a bad certificate. */
        show_bytes(role, junk, 100, i < 2);
        assert_rc(raw.end.rc, GR_MBEDTLS_3 ? GR_ETLS_HANDSHAKE : GR_ETLS_BAD_CERT);
        raw_pair_close(&raw);
    }
}

/* Any changed byte of a good certificate makes it a bad one. */
static void changed_certificate_is_refused(void **state)
{
    (void)state;
    gr_str der = tls_file("callee.der");
    uint8_t changed[2048];
    uint64_t prng = 5;
    for (int i = 0; i < 100; i++) {
        memcpy(changed, der.data, der.size);
        changed[prng_below(&prng, der.size)] ^= (uint8_t)(1 + prng_below(&prng, 255));
        assert_false(show_bytes(i % 2 ? GR_CLIENT : GR_SERVER, changed, der.size, 1));
        assert_true(GR_IS_TLS(raw.end.rc) && !GR_IS_ALERT(raw.end.rc));
        raw_pair_close(&raw);
    }
}

/* The certificate of another, whose key the peer does not have. */
static void stolen_certificate_is_refused(void **state)
{
    (void)state;
    gr_str der = tls_file("callee.der");
    for (int i = 0; i < 3; i++) {
        assert_false(show_bytes(i ? GR_CLIENT : GR_SERVER, der.data, der.size, i < 2));
        assert_rc(raw.end.rc, GR_ETLS_HANDSHAKE);
        raw_pair_close(&raw);
    }
}

/* ---- two of ours ---- */

/* Who shows it in this pair; the other side's code is the alert. */
static void refused_between_two(const hostile *h, gr_role who)
{
    gr_tlsconf_options c = options_of(h, GR_CLIENT);
    gr_tlsconf_options s = options_of(h, GR_SERVER);
    gr_tlsconf_options *o = who == GR_CLIENT ? &c : &s;
    gr_tlsconf_options shown = tls_options(who, h->name);
    o->cert = shown.cert;
    o->key = shown.key;
    o->ca = tls_file("ca.pem");
    o->crl = str_of("");
    tls_pair_configure(&pair, &c, &s);
    tls_pair_join(&pair);
    tls_pair_pump(&pair);
    tls_end *finder = who == GR_CLIENT ? &pair.server : &pair.client;
    tls_end *told = who == GR_CLIENT ? &pair.client : &pair.server;
    if (finder->rc != h->rc)
        fail_msg("%s: %s, not %s", h->name, gr_error_name(finder->rc), gr_error_name(h->rc));
    assert_rc(told->rc, GR_ETLS_ALERT - h->alert);
    assert_false(finder->up || told->up);
    tls_pair_close(&pair);
}

/* Whether a configuration can be made of it. */
static int can_be_loaded(const char *name)
{
    static const char *const refused[] = {"expired", "future", "chain-expired", "no-signature",
                                          "rsa1024"};
    for (size_t i = 0; i < COUNT_OF(refused); i++)
        if (strcmp(name, refused[i]) == 0)
            return 0;
    return 1;
}

/* Whatever a configuration lets through is found by the other side, and both know. */
static void both_sides_know_why(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad_ones); i++) {
        if (!can_be_loaded(bad_ones[i].name))
            continue;
        refused_between_two(&bad_ones[i], GR_CLIENT);
        refused_between_two(&bad_ones[i], GR_SERVER);
    }
}

/* Sets out at one date, and connects at another. Both sides' codes. */
static void travel(const gr_tlsconf_options *c, const gr_tlsconf_options *s, long long from,
                   long long to, int client_rc, int server_rc)
{
    clock_stop_at(from);
    tls_pair_configure(&pair, c, s);
    clock_stop_at(to);
    tls_pair_join(&pair);
    tls_pair_pump(&pair);
    assert_rc(pair.client.rc, client_rc);
    assert_rc(pair.server.rc, server_rc);
    clock_stop_at(0);
    tls_pair_close(&pair);
}

/* What was good when a node was started may have expired since, or its clock may be wrong. */
static void time_goes_on_after_the_start(void **state)
{
    (void)state;
    long long before = clock_date(2059, 6, 1);
    long long after = clock_date(2060, 6, 1);
    gr_tlsconf_options c = tls_options(GR_CLIENT, "until-middle");
    gr_tlsconf_options s = tls_options(GR_SERVER, "until-middle");
    travel(&c, NULL, before, before, GR_OK, GR_OK);
    travel(&c, NULL, before, after, GR_ETLS_ALERT - CERTIFICATE_EXPIRED, GR_ETLS_EXPIRED);
    travel(NULL, &s, before, after, GR_ETLS_EXPIRED, GR_ETLS_ALERT - CERTIFICATE_EXPIRED);
    c = tls_options(GR_CLIENT, "future");
    s = tls_options(GR_SERVER, "future");
    long long late = clock_date(2089, 6, 1);
    travel(&c, NULL, late, late, GR_OK, GR_OK);
    travel(&c, NULL, late, after, GR_ETLS_ALERT - CERTIFICATE_UNKNOWN, GR_ETLS_FUTURE);
    travel(NULL, &s, late, after, GR_ETLS_FUTURE, GR_ETLS_ALERT - CERTIFICATE_UNKNOWN);
}

/* A list of revoked certificates that nobody renews refuses everybody from its end on. */
static void revocation_list_can_expire(void **state)
{
    (void)state;
    long long before = clock_date(2059, 6, 1);
    long long after = clock_date(2060, 6, 1);
    gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    c.crl = tls_file("crl-until-middle.pem");
    travel(&c, NULL, before, before, GR_OK, GR_OK);
    travel(&c, NULL, before, after, GR_ETLS_CRL_EXPIRED, GR_ETLS_ALERT - CERTIFICATE_UNKNOWN);
    s.crl = tls_file("crl-until-middle.pem");
    travel(NULL, &s, before, after, GR_ETLS_ALERT - CERTIFICATE_UNKNOWN, GR_ETLS_CRL_EXPIRED);
    /* Who is revoked is told that, and not that the list is old. */
    s = tls_options(GR_SERVER, "revoked");
    c.crl = tls_file("crl.pem");
    travel(&c, &s, before, after, GR_ETLS_REVOKED, GR_ETLS_ALERT - CERTIFICATE_REVOKED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_client_is_refused),
        cmocka_unit_test(bad_server_is_refused),
        cmocka_unit_test(bad_client_is_refused_where_none_is_needed),
        cmocka_unit_test(certificate_for_the_other_side_is_refused),
        cmocka_unit_test(unusual_curve_is_refused),
        cmocka_unit_test(endless_chain_is_refused),
        cmocka_unit_test(server_of_another_name_is_refused),
        cmocka_unit_test(client_of_another_name_is_told_apart_later),
        cmocka_unit_test(client_without_a_certificate_is_refused),
        cmocka_unit_test(worst_fault_is_told),
        cmocka_unit_test(malformed_certificate_is_refused),
        cmocka_unit_test(changed_certificate_is_refused),
        cmocka_unit_test(stolen_certificate_is_refused),
        cmocka_unit_test(both_sides_know_why),
        cmocka_unit_test_teardown(time_goes_on_after_the_start, teardown),
        cmocka_unit_test_teardown(revocation_list_can_expire, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
