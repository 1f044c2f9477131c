/* SPDX-License-Identifier: Apache-2.0 */
/* Private keys: in which forms they are read, and that what is wrong with them is told apart. */
#include <string.h>

#include "cmocka_support.h"
#include "gr_tlskey.h"
#include "tls_support.h"

static test_mem mem;
static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context rng;
static mbedtls_x509_crt cert; /* callee's */

static int group_setup(void **state)
{
    (void)state;
    gr_str der = tls_file("callee.der");
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&rng);
    mbedtls_x509_crt_init(&cert);
    return mbedtls_ctr_drbg_seed(&rng, mbedtls_entropy_func, &entropy, NULL, 0) != 0 ||
           mbedtls_x509_crt_parse_der(&cert, der.data, der.size) != 0;
}

static int group_teardown(void **state)
{
    (void)state;
    mbedtls_x509_crt_free(&cert);
    mbedtls_ctr_drbg_free(&rng);
    mbedtls_entropy_free(&entropy);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    mem_init(&mem);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mem_check_empty(&mem);
    return 0;
}

/* What the library says; if it is 0, the key is callee's. */
static int parse(gr_str key, const char *password)
{
    mbedtls_pk_context pk;
    mbedtls_pk_init(&pk);
    int rc = gr_tlskey_parse(&pk, &mem.vt, key, str_of(password), &rng);
    if (rc == 0)
        rc = gr_mbedtls_check_pair(&cert.pk, &pk, &rng);
    mbedtls_pk_free(&pk);
    return rc;
}

static int parse_file(const char *name, const char *password)
{
    return parse(tls_file(name), password);
}

static const char *const plain[] = {"callee.key", "callee-sec1.key", "callee-sec1.der",
                                    "callee-pkcs8.der"};

static const char *const encrypted_pem[] = {
    "callee-aes128-sec1.key",  "callee-des3-pkcs8.key",   "callee-aes128-pkcs8.key",
    "callee-aes192-pkcs8.key", "callee-aes256-pkcs8.key",
};

static const char *const encrypted_der[] = {"callee-des3-pkcs8.der", "callee-aes256-pkcs8.der"};

/* With and without a password, which is of no use for what is not encrypted. */
static void plain_keys_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(plain); i++) {
        assert_int_equal(parse_file(plain[i], ""), 0);
        assert_int_equal(parse_file(plain[i], "secret"), 0);
    }
}

/* As PEM has done it of old, and by PBES2 with all that openssl may choose for it. */
static void encrypted_keys_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(encrypted_pem); i++)
        assert_int_equal(parse_file(encrypted_pem[i], "secret"), 0);
}

/* The same in DER, which has no words to say what it is. */
static void encrypted_keys_are_read_in_der(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(encrypted_der); i++)
        assert_int_equal(parse_file(encrypted_der[i], "secret"), 0);
}

/* PEM says that it is encrypted, so a missing password is known to be missing. */
static void missing_password_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(encrypted_pem); i++)
        assert_int_equal(parse_file(encrypted_pem[i], ""), MBEDTLS_ERR_PK_PASSWORD_REQUIRED);
    for (size_t i = 0; i < COUNT_OF(encrypted_der); i++)
        assert_int_not_equal(parse_file(encrypted_der[i], ""), 0);
}

/*
 * Another password is told to be one, also where the padding happens to look right. Only in DER nothing
 * says then that it was a password that was wrong, and not the key.
 */
static void wrong_password_is_told(void **state)
{
    (void)state;
    char password[32];
    for (int n = 0; n < 60; n++) {
        snprintf(password, sizeof password, "wrong %d", n);
        for (size_t i = 0; i < COUNT_OF(encrypted_pem); i++)
            assert_int_equal(parse_file(encrypted_pem[i], password),
                             MBEDTLS_ERR_PK_PASSWORD_MISMATCH);
    }
    for (int n = 0; n < 60; n++) {
        snprintf(password, sizeof password, "wrong %d", n);
        for (size_t i = 0; i < COUNT_OF(encrypted_der); i++) {
            int rc = parse_file(encrypted_der[i], password);
            assert_true(rc == MBEDTLS_ERR_PK_PASSWORD_MISMATCH ||
                        rc == MBEDTLS_ERR_PK_KEY_INVALID_FORMAT);
        }
    }
}

/* A password is bytes: none of them ends it, and none is left away. */
static void password_is_bytes(void **state)
{
    (void)state;
    static const char *const wrong[] = {"secret ", " secret", "secre", "SECRET", "secret\n"};
    mbedtls_pk_context pk;
    mbedtls_pk_init(&pk);
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_int_not_equal(parse_file("callee-aes256-pkcs8.key", wrong[i]), 0);
    gr_str with_zero = {(const uint8_t *)"secret", 7};
    assert_int_not_equal(
        gr_tlskey_parse(&pk, &mem.vt, tls_file("callee-aes128-sec1.key"), with_zero, &rng), 0);
    mbedtls_pk_free(&pk);
}

/* What is encrypted in a way that is not known here is neither a wrong nor a missing password. */
static void unknown_encryption_is_told_apart(void **state)
{
    (void)state;
    static const char *const names[] = {"callee-scrypt-pkcs8.key", "callee-camellia-pkcs8.key"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        int rc = parse_file(names[i], "secret");
        assert_int_not_equal(rc, 0);
        assert_int_not_equal(rc, MBEDTLS_ERR_PK_PASSWORD_MISMATCH);
        assert_int_not_equal(rc, MBEDTLS_ERR_PK_PASSWORD_REQUIRED);
    }
}

/* Cut anywhere, with and without a password, a key is none; and nothing is read behind its end. */
static void keys_cut_anywhere_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"callee-aes256-pkcs8.der", "callee-des3-pkcs8.der",
                                        "callee-sec1.der", "callee-aes256-pkcs8.key"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        gr_str s = tls_file(names[i]);
        /* The last line's end is not missed. */
        for (size_t size = 1; size < s.size - 1; size++) {
            gr_str cut = {s.data, size};
            assert_int_not_equal(parse(cut, "secret"), 0);
        }
    }
}

/* Any flipped bit of an encrypted key is survived; most are noticed. */
static void damaged_keys_are_survived(void **state)
{
    (void)state;
    gr_str s = tls_file("callee-aes256-pkcs8.der");
    uint8_t damaged[512];
    gr_str key = {damaged, s.size};
    unsigned noticed = 0;
    for (size_t at = 0; at < s.size; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            memcpy(damaged, s.data, s.size);
            damaged[at] ^= (uint8_t)(1u << bit);
            noticed += parse(key, "secret") != 0;
        }
    assert_true(noticed > s.size * 8 * 9 / 10);
}

/* The copy that is worked on is wiped, whether the key could be read or not. */
static void copies_are_wiped(void **state)
{
    (void)state;
    static const char *const names[] = {"callee.key", "callee-sec1.key", "callee-aes256-pkcs8.key"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char secret[33] = "";
        gr_str s = tls_file(names[i]);
        memcpy(secret, s.data + s.size / 2 - 16, sizeof secret - 1);
        mem.secret = secret;
        parse(s, "secret");
        parse(s, "");
        parse(s, "wrong");
    }
    mem.secret = NULL;
}

/* Without memory for the copy there is no key. */
static void memory_for_the_copy_can_be_missing(void **state)
{
    (void)state;
    mem.fail_at = 1;
    assert_int_equal(parse_file("callee.key", ""), MBEDTLS_ERR_PK_ALLOC_FAILED);
    assert_true(mem.failed);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(plain_keys_are_read),
        test_of(encrypted_keys_are_read),
        test_of(encrypted_keys_are_read_in_der),
        test_of(missing_password_is_told),
        test_of(wrong_password_is_told),
        test_of(password_is_bytes),
        test_of(unknown_encryption_is_told_apart),
        test_of(keys_cut_anywhere_are_refused),
        test_of(damaged_keys_are_survived),
        test_of(copies_are_wiped),
        test_of(memory_for_the_copy_can_be_missing),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
