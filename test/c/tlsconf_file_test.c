/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a configuration: in which forms they are read, and what is said of those that are not. */
#include <string.h>

#include "clock_support.h"
#include "cmocka_support.h"
#include "tls_support.h"

static test_mem mem;
static gr_tlsconf_options o;
static test_bytes file; /* made by a test */

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
    clock_stop_at(0);
    bytes_free(&file);
    mem_check_empty(&mem);
    return 0;
}

/* The options can be used; and nothing of them is needed any longer. */
static void accepts(void)
{
    gr_tlsconf *c = tls_conf(&mem, &o);
    gr_tlsconf_unref(c);
}

/* They cannot, for this reason: the words are in what is said, all of it printable. */
static void refuses(gr_tlsopt option, const char *words)
{
    gr_tlsconf *c = (gr_tlsconf *)&mem;
    gr_tlsconf_error err;
    memset(&err, 0x5a, sizeof err);
    assert_rc(gr_tlsconf_new(&c, &mem.vt, &o, &err), GR_ESTATE);
    assert_null(c);
    assert_int_equal(err.option, option);
    assert_true(strlen(err.why) < sizeof err.why - 1);
    if (!strstr(err.why, words))
        fail_msg("'%s' is not in '%s'", words, err.why);
    for (const char *p = err.why; *p; p++)
        assert_true(*p >= ' ' && *p <= '~');
}

static gr_str text(const char *content)
{
    return str_of(content);
}

/* A file, and behind it the first bytes of another one. */
static gr_str joined(const char *first, const char *second, size_t size)
{
    gr_str a = tls_file(first);
    gr_str b = tls_file(second);
    bytes_free(&file);
    bytes_append(&file, a.data, a.size);
    bytes_append(&file, b.data, size < b.size ? size : b.size);
    gr_str s = {file.data, file.size};
    return s;
}

/* A file with one byte changed, somewhere in its base64. */
static gr_str damaged(const char *name)
{
    gr_str s = joined(name, name, 0);
    file.data[s.size / 2] ^= 0x02;
    return s;
}

static const char garbage[] = "neither PEM nor DER, but long enough to be looked at: 0123456789";
static const char empty_pem[] = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";

/* ---- certfile ---- */

/* PEM, DER, and a chain of PEM with whatever text between its parts. */
static void certificate_is_read_in_every_form(void **state)
{
    (void)state;
    accepts();
    o.cert = tls_file("callee.der");
    accepts();
    o = tls_options(GR_SERVER, "chain-2");
    accepts();
    o.cert = joined("chain-2.pem", "dh2048.pem", SIZE_MAX);
    accepts();
    bytes_append(&file, garbage, sizeof garbage - 1);
    o.cert.data = file.data;
    o.cert.size = file.size;
    accepts();
}

/* Keys of every kind that is allowed. */
static void certificates_of_all_keys_are_read(void **state)
{
    (void)state;
    static const char *const names[] = {"callee", "P-384", "P-521", "rsa", "rsa-of-rsa", "full"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        o = tls_options(GR_CLIENT, names[i]);
        accepts();
    }
}

/* Without one there is nothing to say who we are; on either side. */
static void certificate_is_needed(void **state)
{
    (void)state;
    o.cert = text("");
    refuses(GR_TLSOPT_CERTFILE, "empty");
    o.role = GR_CLIENT;
    o.verify = 0;
    refuses(GR_TLSOPT_CERTFILE, "empty");
}

/* What is no certificate is told with the library's number. */
static void what_is_no_certificate_is_refused(void **state)
{
    (void)state;
    o.cert = text(garbage);
    refuses(GR_TLSOPT_CERTFILE, "no certificate can be read (mbedTLS: -0x");
    o.cert = text(empty_pem);
    refuses(GR_TLSOPT_CERTFILE, "no certificate can be read");
    o.cert = tls_file("callee.key");
    refuses(GR_TLSOPT_CERTFILE, "no certificate can be read");
    o.cert = tls_file("callee.der");
    o.cert.size--;
    refuses(GR_TLSOPT_CERTFILE, "no certificate can be read");
    o.cert = tls_file("callee.pem");
    o.cert.size -= 10;
    refuses(GR_TLSOPT_CERTFILE, "no certificate can be read");
    o = tls_options(GR_SERVER, "ed25519");
    refuses(GR_TLSOPT_CERTFILE, "no certificate can be read");
}

/* Half a chain would be sent as a whole one; a file may be cut anywhere in its second part. */
static void damaged_part_of_a_chain_is_refused(void **state)
{
    (void)state;
    o.cert = joined("callee.pem", "ed25519.pem", SIZE_MAX);
    refuses(GR_TLSOPT_CERTFILE, "1 of its certificates cannot be read");
    for (size_t size = 30; size < tls_file("ca.pem").size - 2; size += 50) {
        o.cert = joined("callee.pem", "ca.pem", size);
        refuses(GR_TLSOPT_CERTFILE, "only 1 of its 2 certificates can be read");
    }
}

/* A key so short that no peer of ours would accept it. */
static void short_key_is_refused(void **state)
{
    (void)state;
    o = tls_options(GR_SERVER, "rsa1024");
    refuses(GR_TLSOPT_CERTFILE, "its RSA key has 1024 bits, 2048 are needed");
}

/* A certificate that nobody would accept is told at once, with its date. */
static void certificate_out_of_its_time_is_refused(void **state)
{
    (void)state;
    o = tls_options(GR_SERVER, "expired");
    refuses(GR_TLSOPT_CERTFILE, "expired on 2020-02-01 00:00:00 UTC");
    o = tls_options(GR_SERVER, "future");
    refuses(GR_TLSOPT_CERTFILE, "not valid before 2089-01-01 00:00:00 UTC");
    o = tls_options(GR_SERVER, "chain-expired");
    refuses(GR_TLSOPT_CERTFILE, "expired on 2020-02-01 00:00:00 UTC");
    o = tls_options(GR_SERVER, "until-middle");
    clock_stop_at(clock_date(2060, 1, 1) - 1);
    accepts();
    clock_stop_at(clock_date(2060, 1, 1) + 1);
    refuses(GR_TLSOPT_CERTFILE, "expired on 2060-01-01 00:00:00 UTC");
}

/* A certificate for another use is told at once: peers would refuse it, each in its own words. */
static void certificate_for_another_use_is_refused(void **state)
{
    (void)state;
    o = tls_options(GR_SERVER, "only-server");
    accepts();
    o.role = GR_CLIENT;
    refuses(GR_TLSOPT_CERTFILE, "its extended key usage has no clientAuth");
    o = tls_options(GR_CLIENT, "only-client");
    accepts();
    o.role = GR_SERVER;
    refuses(GR_TLSOPT_CERTFILE, "its extended key usage has no serverAuth");
    for (int role = GR_CLIENT; role <= GR_SERVER; role++) {
        o = tls_options((gr_role)role, "no-signature");
        refuses(GR_TLSOPT_CERTFILE, "its key usage has no digitalSignature");
        o = tls_options((gr_role)role, "full");
        accepts();
    }
}

/* ---- keyfile, password ---- */

/* PKCS#1, SEC 1, PKCS#8; PEM and DER. */
static void key_is_read_in_every_form(void **state)
{
    (void)state;
    static const char *const names[] = {"callee.key", "callee-sec1.key", "callee-sec1.der",
                                        "callee-pkcs8.der"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        o.key = tls_file(names[i]);
        accepts();
    }
    o = tls_options(GR_SERVER, "rsa");
    o.key = tls_file("rsa-pkcs1.key");
    accepts();
}

/* Encrypted keys, as PEM has done it of old and as PKCS#8 does it. */
static void encrypted_keys_are_opened(void **state)
{
    (void)state;
    static const char *const names[] = {"callee-aes128-sec1.key", "callee-des3-pkcs8.key",
                                        "callee-des3-pkcs8.der", "callee-aes256-pkcs8.key"};
    o.password = text("secret");
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        o.key = tls_file(names[i]);
        accepts();
    }
    o = tls_options(GR_SERVER, "rsa");
    o.key = tls_file("rsa-aes256-pkcs1.key");
    o.password = text("secret");
    accepts();
}

/* The password is missing, or it is not the right one: these are two things to mend. */
static void wrong_and_missing_passwords_are_told_apart(void **state)
{
    (void)state;
    static const char *const names[] = {"callee-aes128-sec1.key", "callee-des3-pkcs8.key",
                                        "callee-aes256-pkcs8.key"};
    static const char *const wrong[] = {"secre", "secrets", "Secret", "x"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        o.key = tls_file(names[i]);
        o.password = text("");
        refuses(GR_TLSOPT_KEYFILE, "it is encrypted: the option password is needed");
        for (size_t j = 0; j < COUNT_OF(wrong); j++) {
            o.password = text(wrong[j]);
            refuses(GR_TLSOPT_PASSWORD, "opens the key");
        }
    }
}

/* A password for what is not encrypted is not needed, and does no harm. */
static void unneeded_password_is_ignored(void **state)
{
    (void)state;
    o.password = text("secret");
    accepts();
    o.key = tls_file("callee-sec1.der");
    accepts();
}

/* A certificate alone proves nothing. */
static void key_is_needed(void **state)
{
    (void)state;
    o.key = text("");
    refuses(GR_TLSOPT_KEYFILE, "empty");
}

/* What is no key, or one that cannot be used for TLS. */
static void what_is_no_key_is_refused(void **state)
{
    (void)state;
    o.key = text(garbage);
    refuses(GR_TLSOPT_KEYFILE, "no key can be read");
    o.key = tls_file("callee.pem");
    refuses(GR_TLSOPT_KEYFILE, "no key can be read");
    o.key = damaged("callee-sec1.key");
    refuses(GR_TLSOPT_KEYFILE, "key");
    o.key = tls_file("callee-sec1.der");
    o.key.size--;
    refuses(GR_TLSOPT_KEYFILE, "no key can be read");
    o.key = tls_file("ed25519.key");
    refuses(GR_TLSOPT_KEYFILE, "neither an RSA key nor one of an elliptic curve");
}

/* The key of another certificate, of the same kind or another. */
static void key_must_be_that_of_the_certificate(void **state)
{
    (void)state;
    static const char *const names[] = {"caller.key", "callee2.key", "P-384.key", "rsa.key"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        o.key = tls_file(names[i]);
        refuses(GR_TLSOPT_KEYFILE, "not the key of the certificate in certfile");
    }
    o = tls_options(GR_SERVER, "rsa");
    o.key = tls_file("rsa1024.key");
    refuses(GR_TLSOPT_KEYFILE, "not the key of the certificate in certfile");
}

/* In a chain it is the first certificate that the key is for. */
static void key_is_that_of_the_first_certificate(void **state)
{
    (void)state;
    o = tls_options(GR_SERVER, "chain-1");
    o.key = tls_file("inter1.key");
    refuses(GR_TLSOPT_KEYFILE, "not the key of the certificate in certfile");
}

/* No copy of the key's file is left in memory that is given back. */
static void copies_of_the_key_are_wiped(void **state)
{
    (void)state;
    static const char *const names[] = {"callee.key", "callee-sec1.key", "caller.key"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char secret[33] = "";
        gr_tlsconf *c;
        gr_tlsconf_error err;
        o.key = tls_file(names[i]);
        memcpy(secret, o.key.data + o.key.size / 2 - 16, sizeof secret - 1);
        assert_null(strchr(secret, '\n'));
        mem.secret = secret;
        assert_rc(gr_tlsconf_new(&c, &mem.vt, &o, &err), i == 2 ? GR_ESTATE : GR_OK);
        gr_tlsconf_unref(c);
    }
    mem.secret = NULL;
}

/* ---- cacertfile ---- */

/* One or several, PEM or DER; a certificate that is trusted by itself is one, too. */
static void authorities_are_read_in_every_form(void **state)
{
    (void)state;
    static const char *const names[] = {"ca.pem", "ca.der", "all-cas.pem", "rsa-ca.pem",
                                        "callee.pem"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        o.ca = tls_file(names[i]);
        accepts();
    }
}

/* One that is too old may well lie beside a good one, in either order; alone it is no use. */
static void one_authority_must_be_good(void **state)
{
    (void)state;
    o.ca = tls_file("two-cas.pem");
    accepts();
    o.ca = joined("ca.pem", "expired-ca.pem", SIZE_MAX);
    accepts();
    o.ca = tls_file("expired-ca.pem");
    refuses(GR_TLSOPT_CACERTFILE, "expired on 2020-02-01 00:00:00 UTC");
    clock_stop_at(clock_date(2020, 1, 15));
    accepts();
}

/* Who verifies needs to know by whom. */
static void authority_is_needed_to_verify(void **state)
{
    (void)state;
    o.ca = text("");
    refuses(GR_TLSOPT_CACERTFILE, "empty");
    o.need_cert = 0;
    refuses(GR_TLSOPT_CACERTFILE, "empty");
    o.role = GR_CLIENT;
    refuses(GR_TLSOPT_CACERTFILE, "empty");
    o.verify = 0;
    accepts();
}

/* What is no certificate, and what is one only in part. */
static void what_is_no_authority_is_refused(void **state)
{
    (void)state;
    o.ca = text(garbage);
    refuses(GR_TLSOPT_CACERTFILE, "no certificate can be read");
    o.ca = tls_file("ca.key");
    refuses(GR_TLSOPT_CACERTFILE, "no certificate can be read");
    o.ca = joined("ca.pem", "ed25519.pem", SIZE_MAX);
    refuses(GR_TLSOPT_CACERTFILE, "1 of its certificates cannot be read");
    for (size_t size = 30; size < tls_file("rsa-ca.pem").size - 2; size += 50) {
        o.ca = joined("ca.pem", "rsa-ca.pem", size);
        refuses(GR_TLSOPT_CACERTFILE, "only 1 of its 2 certificates can be read");
    }
    o.ca = joined("ca.pem", "ed25519.pem", SIZE_MAX);
    /* Also of who does not verify: he meant something by it. */
    o.verify = 0;
    refuses(GR_TLSOPT_CACERTFILE, "1 of its certificates cannot be read");
}

/* ---- dhfile ---- */

/* PEM and DER; a client may have them and has no use for them. */
static void dh_parameters_are_read_in_every_form(void **state)
{
    (void)state;
    o.dh = tls_file("dh2048.pem");
    accepts();
    o.dh = tls_file("dh2048.der");
    accepts();
    o.role = GR_CLIENT;
    accepts();
}

/* A short prime is refused, and it is told how long it would have to be. */
static void short_dh_parameters_are_refused(void **state)
{
    (void)state;
    o.dh = tls_file("dh1536.pem");
    refuses(GR_TLSOPT_DHFILE, "its prime has 1536 bits, 2048 are needed");
}

/* What is none, is cut short, or is of another format by nearly the same name. */
static void what_is_no_dh_parameters_is_refused(void **state)
{
    (void)state;
    o.dh = text(garbage);
    refuses(GR_TLSOPT_DHFILE, "no group can be read (mbedTLS: -0x");
    o.dh = tls_file("ca.pem");
    refuses(GR_TLSOPT_DHFILE, "no group can be read");
    o.dh = tls_file("dh-x942.pem");
    refuses(GR_TLSOPT_DHFILE, "no group can be read");
    o.dh = tls_file("dh2048.der");
    o.dh.size--;
    refuses(GR_TLSOPT_DHFILE, "no group can be read");
}

/* ---- crlfile ---- */

/* A list of revoked certificates that does not say when the next one comes; openssl makes none. */
static const uint8_t open_list[] = {
    0x30, 0x81, 0x9a, 0x30, 0x42, 0x02, 0x01, 0x01, 0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x04, 0x03, 0x02, 0x30, 0x12, 0x31, 0x10, 0x30, 0x0e, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c,
    0x07, 0x74, 0x65, 0x73, 0x74, 0x20, 0x43, 0x41, 0x17, 0x0d, 0x32, 0x30, 0x30, 0x31, 0x30, 0x31,
    0x30, 0x30, 0x30, 0x30, 0x30, 0x30, 0x5a, 0xa0, 0x0e, 0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55,
    0x1d, 0x14, 0x04, 0x03, 0x02, 0x01, 0x01, 0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
    0x04, 0x03, 0x02, 0x03, 0x48, 0x00, 0x30, 0x45, 0x02, 0x21, 0x00, 0xa4, 0x56, 0x33, 0x1f, 0x60,
    0x10, 0xb7, 0x3d, 0xff, 0x91, 0xa8, 0xe5, 0x46, 0xa7, 0xd2, 0xab, 0x90, 0x54, 0x2a, 0x12, 0x4c,
    0x5f, 0xd5, 0xcc, 0xd0, 0x27, 0x49, 0x51, 0xef, 0x7e, 0xb8, 0x96, 0x02, 0x20, 0x7f, 0xe6, 0x75,
    0x73, 0xa1, 0x08, 0x90, 0x22, 0x49, 0x1b, 0xbf, 0xf9, 0x59, 0x3e, 0xed, 0xde, 0x31, 0x3c, 0x93,
    0x76, 0x96, 0x4e, 0xc6, 0xbb, 0x99, 0x13, 0x5f, 0x81, 0x03, 0x39, 0x7b, 0xfa,
};

/* mbedTLS would take such a list for one that expired in the year 0, at every connection. */
static void endless_list_is_refused(void **state)
{
    (void)state;
    o.crl.data = open_list;
    o.crl.size = sizeof open_list;
    refuses(GR_TLSOPT_CRLFILE, "it does not say when the next one comes");
}

/* PEM and DER, one and several; what is in them is looked at when it is needed. */
static void revocation_lists_are_read_in_every_form(void **state)
{
    (void)state;
    static const char *const names[] = {"crl.pem",       "crl.der",       "crl-none.pem",
                                        "crl-other.pem", "crl-two.pem",   "crl-twin.pem",
                                        "crl-sha1.pem",  "crl-future.pem"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        o.crl = tls_file(names[i]);
        accepts();
    }
}

/* One that is too old would have every connection refused; also as one of several. */
static void expired_revocation_list_is_refused(void **state)
{
    (void)state;
    o.crl = tls_file("crl-expired.pem");
    refuses(GR_TLSOPT_CRLFILE, "expired on 2020-02-01 00:00:00 UTC");
    o.crl = joined("crl-other.pem", "crl-expired.pem", SIZE_MAX);
    refuses(GR_TLSOPT_CRLFILE, "expired on 2020-02-01 00:00:00 UTC");
    clock_stop_at(clock_date(2020, 1, 15));
    accepts();
}

/* What is none, and what is cut short. */
static void what_is_no_revocation_list_is_refused(void **state)
{
    (void)state;
    o.crl = text(garbage);
    refuses(GR_TLSOPT_CRLFILE, "no revocation list can be read (mbedTLS: -0x");
    o.crl = tls_file("ca.pem");
    refuses(GR_TLSOPT_CRLFILE, "no revocation list can be read");
    for (size_t size = 30; size < tls_file("crl.pem").size - 2; size += 50) {
        o.crl = joined("crl-other.pem", "crl.pem", size);
        refuses(GR_TLSOPT_CRLFILE, "revocation list");
    }
    o.crl = tls_file("crl.der");
    o.crl.size--;
    refuses(GR_TLSOPT_CRLFILE, "no revocation list can be read");
}

/* ---- any of them ---- */

/* Random damage never does worse than being refused. */
static void damaged_files_are_refused_or_read(void **state)
{
    (void)state;
    static const char *const names[] = {"callee.pem", "callee.der", "callee-sec1.der",
                                        "callee.key", "ca.der",     "dh2048.der",
                                        "crl.der",    "crl.pem",    "callee-des3-pkcs8.der"};
    uint64_t prng = 42;
    for (int i = 0; i < 400; i++) {
        const char *name = names[prng_below(&prng, COUNT_OF(names))];
        gr_tlsconf *c;
        gr_tlsconf_error err;
        gr_str s = joined(name, name, 0);
        for (uint64_t n = 1 + prng_below(&prng, 4); n; n--)
            file.data[prng_below(&prng, s.size)] ^= (uint8_t)(1u << prng_below(&prng, 8));
        s.size -= (size_t)prng_below(&prng, 4) * (size_t)prng_below(&prng, s.size / 4);
        o = tls_options(GR_SERVER, "callee");
        o.password = text("secret");
        gr_str *const fields[] = {&o.cert, &o.key, &o.ca, &o.dh, &o.crl};
        *fields[prng_below(&prng, COUNT_OF(fields))] = s;
        int rc = gr_tlsconf_new(&c, &mem.vt, &o, &err);
        assert_true(rc == GR_OK || rc == GR_ESTATE);
        assert_int_equal(rc == GR_OK, c != NULL);
        gr_tlsconf_unref(c);
    }
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(certificate_is_read_in_every_form),
        test_of(certificates_of_all_keys_are_read),
        test_of(certificate_is_needed),
        test_of(what_is_no_certificate_is_refused),
        test_of(damaged_part_of_a_chain_is_refused),
        test_of(short_key_is_refused),
        test_of(certificate_out_of_its_time_is_refused),
        test_of(certificate_for_another_use_is_refused),
        test_of(key_is_read_in_every_form),
        test_of(encrypted_keys_are_opened),
        test_of(wrong_and_missing_passwords_are_told_apart),
        test_of(unneeded_password_is_ignored),
        test_of(key_is_needed),
        test_of(what_is_no_key_is_refused),
        test_of(key_must_be_that_of_the_certificate),
        test_of(key_is_that_of_the_first_certificate),
        test_of(copies_of_the_key_are_wiped),
        test_of(authorities_are_read_in_every_form),
        test_of(one_authority_must_be_good),
        test_of(authority_is_needed_to_verify),
        test_of(what_is_no_authority_is_refused),
        test_of(dh_parameters_are_read_in_every_form),
        test_of(short_dh_parameters_are_refused),
        test_of(what_is_no_dh_parameters_is_refused),
        test_of(revocation_lists_are_read_in_every_form),
        test_of(expired_revocation_list_is_refused),
        test_of(endless_list_is_refused),
        test_of(what_is_no_revocation_list_is_refused),
        test_of(damaged_files_are_refused_or_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
