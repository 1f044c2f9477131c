/* SPDX-License-Identifier: Apache-2.0 */
/* What the library's errors mean: which code is told, and which of several. */
#include <string.h>

#include "cmocka_support.h"
#include "gr_tlserror.h"

/* In the order in which their owner has to mend them. */
static const struct {
    uint32_t flag;
    int rc;
} meanings[] = {
    {MBEDTLS_X509_BADCERT_MISSING, GR_ETLS_NO_CERT},
    {MBEDTLS_X509_BADCERT_REVOKED, GR_ETLS_REVOKED},
    {MBEDTLS_X509_BADCERT_NOT_TRUSTED, GR_ETLS_UNKNOWN_CA},
    {MBEDTLS_X509_BADCERT_EXPIRED, GR_ETLS_EXPIRED},
    {MBEDTLS_X509_BADCERT_FUTURE, GR_ETLS_FUTURE},
    {MBEDTLS_X509_BADCRL_EXPIRED, GR_ETLS_CRL_EXPIRED},
    {MBEDTLS_X509_BADCRL_NOT_TRUSTED, GR_ETLS_CRL},
    {MBEDTLS_X509_BADCERT_OTHER, GR_ETLS_DEPTH},
    {MBEDTLS_X509_BADCERT_CN_MISMATCH, GR_ETLS_NAME},
};

/* Each flag has its code; of two, the first is told. */
static void first_of_several_faults_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(meanings); i++)
        for (size_t j = i; j < COUNT_OF(meanings); j++)
            assert_rc(gr_tlserror_of_flags(meanings[i].flag | meanings[j].flag), meanings[i].rc);
}

/* All that can be wrong with a list is the same to its owner. */
static void faults_of_lists_are_alike(void **state)
{
    (void)state;
    static const uint32_t flags[] = {MBEDTLS_X509_BADCRL_NOT_TRUSTED, MBEDTLS_X509_BADCRL_FUTURE,
                                     MBEDTLS_X509_BADCRL_BAD_MD, MBEDTLS_X509_BADCRL_BAD_PK,
                                     MBEDTLS_X509_BADCRL_BAD_KEY};
    for (size_t i = 0; i < COUNT_OF(flags); i++)
        assert_rc(gr_tlserror_of_flags(flags[i]), GR_ETLS_CRL);
}

/* What has no code of its own makes it a bad certificate: also flags of later versions. */
static void other_faults_make_a_bad_certificate(void **state)
{
    (void)state;
    static const uint32_t flags[] = {
        MBEDTLS_X509_BADCERT_KEY_USAGE, MBEDTLS_X509_BADCERT_EXT_KEY_USAGE,
        MBEDTLS_X509_BADCERT_BAD_MD,    MBEDTLS_X509_BADCERT_BAD_PK,
        MBEDTLS_X509_BADCERT_BAD_KEY,   0x40000000,
    };
    for (size_t i = 0; i < COUNT_OF(flags); i++)
        assert_rc(gr_tlserror_of_flags(flags[i]), GR_ETLS_BAD_CERT);
}

/* Memory is missing, whichever part of the library says so, alone or as the cause of something. */
static void missing_memory_is_known(void **state)
{
    (void)state;
    static const int missing[] = {
        MBEDTLS_ERR_SSL_ALLOC_FAILED,
        MBEDTLS_ERR_X509_ALLOC_FAILED,
        MBEDTLS_ERR_PK_ALLOC_FAILED,
        MBEDTLS_ERR_PEM_ALLOC_FAILED,
        MBEDTLS_ERR_ECP_ALLOC_FAILED,
        MBEDTLS_ERR_DHM_ALLOC_FAILED,
        MBEDTLS_ERR_MD_ALLOC_FAILED,
        MBEDTLS_ERR_MPI_ALLOC_FAILED,
        MBEDTLS_ERR_ASN1_ALLOC_FAILED,
        MBEDTLS_ERR_X509_INVALID_FORMAT + MBEDTLS_ERR_ASN1_ALLOC_FAILED,
        MBEDTLS_ERR_PK_KEY_INVALID_FORMAT + MBEDTLS_ERR_MPI_ALLOC_FAILED,
    };
    static const int others[] = {0,
                                 1,
                                 16,
                                 -1,
                                 MBEDTLS_ERR_X509_INVALID_FORMAT,
                                 MBEDTLS_ERR_X509_INVALID_FORMAT + MBEDTLS_ERR_ASN1_OUT_OF_DATA,
                                 MBEDTLS_ERR_PK_PASSWORD_MISMATCH,
                                 MBEDTLS_ERR_SSL_WANT_READ};
    for (size_t i = 0; i < COUNT_OF(missing); i++)
        assert_true(gr_tlserror_is_nomem(missing[i]));
    for (size_t i = 0; i < COUNT_OF(others); i++)
        assert_false(gr_tlserror_is_nomem(others[i]));
}

static int of_handshake(int error)
{
    mbedtls_ssl_context ssl;
    mbedtls_ssl_init(&ssl);
    int rc = gr_tlserror_of_handshake(&ssl, error, MBEDTLS_X509_BADCERT_EXPIRED);
    mbedtls_ssl_free(&ssl);
    return rc;
}

/* Errors of the handshake; only a refused certificate is asked for its flags. */
static void errors_of_the_handshake_have_codes(void **state)
{
    (void)state;
    static const struct {
        int error;
        int rc;
    } errors[] = {
        {MBEDTLS_ERR_SSL_CONN_EOF, GR_ETLS_CLOSED},
        {MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY, GR_ETLS_CLOSED},
        {MBEDTLS_ERR_X509_CERT_VERIFY_FAILED, GR_ETLS_EXPIRED},
        {MBEDTLS_ERR_X509_FATAL_ERROR, GR_ETLS_DEPTH},
        {MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE, GR_ETLS_NO_CERT},
        {GR_MBEDTLS_BAD_CERT, GR_ETLS_BAD_CERT},
#if GR_MBEDTLS_3
        {MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE, GR_ETLS_CIPHER},
#else
        {MBEDTLS_ERR_SSL_NO_CIPHER_CHOSEN, GR_ETLS_CIPHER},
        {MBEDTLS_ERR_SSL_NO_USABLE_CIPHERSUITE, GR_ETLS_CIPHER},
#endif
        {GR_MBEDTLS_BAD_VERSION, GR_ETLS_VERSION},
        {MBEDTLS_ERR_SSL_INVALID_MAC, GR_ETLS_RECORD},
        {MBEDTLS_ERR_SSL_ALLOC_FAILED, GR_ENOMEM},
        {MBEDTLS_ERR_X509_ALLOC_FAILED, GR_ENOMEM},
        {MBEDTLS_ERR_PK_ALLOC_FAILED, GR_ENOMEM},
        {MBEDTLS_ERR_ECP_ALLOC_FAILED, GR_ENOMEM},
        {MBEDTLS_ERR_MPI_ALLOC_FAILED, GR_ENOMEM},
        {MBEDTLS_ERR_X509_INVALID_FORMAT, GR_ETLS_BAD_CERT},
        {MBEDTLS_ERR_X509_INVALID_FORMAT + MBEDTLS_ERR_ASN1_OUT_OF_DATA, GR_ETLS_BAD_CERT},
        {MBEDTLS_ERR_X509_INVALID_DATE, GR_ETLS_BAD_CERT},
        {MBEDTLS_ERR_X509_UNKNOWN_VERSION, GR_ETLS_BAD_CERT},
        {MBEDTLS_ERR_PK_UNKNOWN_PK_ALG, GR_ETLS_BAD_CERT},
        {MBEDTLS_ERR_PK_INVALID_PUBKEY + MBEDTLS_ERR_ASN1_UNEXPECTED_TAG, GR_ETLS_BAD_CERT},
        {MBEDTLS_ERR_SSL_INVALID_RECORD, GR_ETLS_HANDSHAKE},
        {MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE, GR_ETLS_HANDSHAKE},
        {MBEDTLS_ERR_ECP_VERIFY_FAILED, GR_ETLS_HANDSHAKE},
        {MBEDTLS_ERR_RSA_VERIFY_FAILED, GR_ETLS_HANDSHAKE},
        {-1, GR_ETLS_HANDSHAKE},
    };
    for (size_t i = 0; i < COUNT_OF(errors); i++)
        assert_rc(of_handshake(errors[i].error), errors[i].rc);
}

/* And behind it. */
static void errors_of_records_have_codes(void **state)
{
    (void)state;
    static const struct {
        int error;
        int rc;
    } errors[] = {
        {0, GR_ETLS_TRUNCATED},
        {MBEDTLS_ERR_SSL_CONN_EOF, GR_ETLS_TRUNCATED},
        {MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY, GR_EEOF},
        {MBEDTLS_ERR_SSL_ALLOC_FAILED, GR_ENOMEM},
        {MBEDTLS_ERR_SSL_INVALID_MAC, GR_ETLS_RECORD},
        {MBEDTLS_ERR_SSL_INVALID_RECORD, GR_ETLS_RECORD},
        {MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE, GR_ETLS_RECORD},
        {-1, GR_ETLS_RECORD},
    };
    mbedtls_ssl_context ssl;
    mbedtls_ssl_init(&ssl);
    for (size_t i = 0; i < COUNT_OF(errors); i++)
        assert_rc(gr_tlserror_of_record(&ssl, errors[i].error), errors[i].rc);
    mbedtls_ssl_free(&ssl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_of_several_faults_is_told),
        cmocka_unit_test(faults_of_lists_are_alike),
        cmocka_unit_test(other_faults_make_a_bad_certificate),
        cmocka_unit_test(missing_memory_is_known),
        cmocka_unit_test(errors_of_the_handshake_have_codes),
        cmocka_unit_test(errors_of_records_have_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
