/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors of mbedTLS as codes of ours. Where several things are wrong with a certificate, the first
 * of the list is named: what its owner would have to mend before all else.
 */
#include "gr_tlserror.h"

typedef struct meaning {
    uint32_t flag;
    int rc;
} meaning;

static const meaning meanings[] = {
    {MBEDTLS_X509_BADCERT_MISSING, GR_ETLS_NO_CERT},
    {MBEDTLS_X509_BADCERT_REVOKED, GR_ETLS_REVOKED},
    {MBEDTLS_X509_BADCERT_NOT_TRUSTED, GR_ETLS_UNKNOWN_CA},
    {MBEDTLS_X509_BADCERT_EXPIRED, GR_ETLS_EXPIRED},
    {MBEDTLS_X509_BADCERT_FUTURE, GR_ETLS_FUTURE},
    {MBEDTLS_X509_BADCRL_EXPIRED, GR_ETLS_CRL_EXPIRED},
    {MBEDTLS_X509_BADCRL_NOT_TRUSTED | MBEDTLS_X509_BADCRL_FUTURE | MBEDTLS_X509_BADCRL_BAD_MD |
         MBEDTLS_X509_BADCRL_BAD_PK | MBEDTLS_X509_BADCRL_BAD_KEY,
     GR_ETLS_CRL},
    {MBEDTLS_X509_BADCERT_OTHER, GR_ETLS_DEPTH},
    {MBEDTLS_X509_BADCERT_CN_MISMATCH, GR_ETLS_NAME},
};

/* An error is a sum: the high part is of the module that was asked, the low part tells more. */
int gr_tlserror_is_nomem(int error)
{
    int high = error < 0 ? -(-error & 0xff80) : 0;
    int low = error < 0 ? -(-error & 0x7f) : 0;
    switch (high) {
    case MBEDTLS_ERR_SSL_ALLOC_FAILED:
    case MBEDTLS_ERR_X509_ALLOC_FAILED:
    case MBEDTLS_ERR_PK_ALLOC_FAILED:
    case MBEDTLS_ERR_PEM_ALLOC_FAILED:
    case MBEDTLS_ERR_ECP_ALLOC_FAILED:
    case MBEDTLS_ERR_DHM_ALLOC_FAILED:
    case MBEDTLS_ERR_MD_ALLOC_FAILED:
        return 1;
    default:
        return low == MBEDTLS_ERR_ASN1_ALLOC_FAILED || low == MBEDTLS_ERR_MPI_ALLOC_FAILED;
    }
}

int gr_tlserror_of_flags(uint32_t flags)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
        if (flags & meanings[i].flag)
            return meanings[i].rc;
    return GR_ETLS_BAD_CERT;
}

/* The alert is the last message that came in: its level, then its description. */
static int of_alert(const mbedtls_ssl_context *ssl)
{
    return GR_ETLS_ALERT - ssl->in_msg[1];
}

/* An error in reading a certificate or its key, with or without what was wrong with the ASN.1. */
static int of_parser(int error)
{
    int high = -(-error & 0xff80);
    int x509 =
        high <= MBEDTLS_ERR_X509_FEATURE_UNAVAILABLE && high >= MBEDTLS_ERR_X509_BUFFER_TOO_SMALL;
    int pk = high <= MBEDTLS_ERR_PK_SIG_LEN_MISMATCH && high >= MBEDTLS_ERR_PK_ALLOC_FAILED;
    return x509 || pk ? GR_ETLS_BAD_CERT : GR_ETLS_HANDSHAKE;
}

int gr_tlserror_of_handshake(const mbedtls_ssl_context *ssl, int error, uint32_t flags)
{
    if (gr_tlserror_is_nomem(error))
        return GR_ENOMEM;
    if (gr_mbedtls_is_no_cipher(error))
        return GR_ETLS_CIPHER;
    switch (error) {
    case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
        return of_alert(ssl);
    case MBEDTLS_ERR_SSL_CONN_EOF:
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        return GR_ETLS_CLOSED;
    case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
        return gr_tlserror_of_flags(flags);
    case MBEDTLS_ERR_X509_FATAL_ERROR:
        return GR_ETLS_DEPTH; /* more of them than the library follows, whatever the option says */
    case MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE:
        return GR_ETLS_NO_CERT;
    case GR_MBEDTLS_BAD_CERT:
        return GR_ETLS_BAD_CERT;
    case GR_MBEDTLS_BAD_VERSION:
        return GR_ETLS_VERSION;
    case MBEDTLS_ERR_SSL_INVALID_MAC:
        return GR_ETLS_RECORD;
    default:
        return of_parser(error);
    }
}

int gr_tlserror_of_record(const mbedtls_ssl_context *ssl, int error)
{
    switch (error) {
    case 0:
    case MBEDTLS_ERR_SSL_CONN_EOF:
        return GR_ETLS_TRUNCATED;
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        return GR_EEOF;
    case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
        return of_alert(ssl);
    case MBEDTLS_ERR_SSL_ALLOC_FAILED:
        return GR_ENOMEM;
    default:
        return GR_ETLS_RECORD;
    }
}
