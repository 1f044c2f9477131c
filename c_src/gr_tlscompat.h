/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that differs between mbedTLS 2.28 and 3.6. Nothing else in the core asks for a version of the
 * library, so that the bodies have no conditions.
 */
#ifndef GR_TLSCOMPAT_H
#define GR_TLSCOMPAT_H

/* What 2.28 shows and 3.6 hides: the state of a handshake and the alert that ended it. */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS

#include <mbedtls/version.h>

#if !defined(MBEDTLS_VERSION_NUMBER) || MBEDTLS_VERSION_NUMBER < 0x021c0000 || \
    MBEDTLS_VERSION_NUMBER >= 0x04000000
#error "mbedTLS 2.28 or 3.x is needed"
#endif

#define GR_MBEDTLS_3 (MBEDTLS_VERSION_NUMBER >= 0x03000000)

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/dhm.h>
#include <mbedtls/entropy.h>
#include <mbedtls/pem.h>
#include <mbedtls/pk.h>
#include <mbedtls/pkcs5.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/sha256.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/threading.h>
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>

#if !defined(MBEDTLS_THREADING_C)
#error "this mbedTLS was built without MBEDTLS_THREADING_C: it cannot be shared between threads"
#endif
#if !defined(MBEDTLS_SSL_KEEP_PEER_CERTIFICATE)
#error "this mbedTLS was built without MBEDTLS_SSL_KEEP_PEER_CERTIFICATE"
#endif

#if GR_MBEDTLS_3

#include <psa/crypto.h>

#if defined(MBEDTLS_SSL_PROTO_TLS1_3)
#define GR_TLS_VERSION_MAX 13
#else
#define GR_TLS_VERSION_MAX 12
#endif

#define GR_MBEDTLS_BAD_VERSION MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION
#define GR_MBEDTLS_BAD_CERT MBEDTLS_ERR_SSL_BAD_CERTIFICATE
#define GR_MBEDTLS_TICKET_NEWS MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET

/* Whether an error says that the two sides have no suite in common. */
static inline int gr_mbedtls_is_no_cipher(int error)
{
    return error == MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE;
}

/* Once before all else, on any thread. 0 or an error of the library. */
static inline int gr_mbedtls_start(void)
{
    return psa_crypto_init() == PSA_SUCCESS ? 0 : -1;
}

static inline int gr_mbedtls_sha256(const uint8_t *data, size_t size, uint8_t out[32])
{
    return mbedtls_sha256(data, size, out, 0);
}

static inline int gr_mbedtls_parse_key(mbedtls_pk_context *pk, const uint8_t *key, size_t size,
                                       const uint8_t *password, size_t password_size,
                                       mbedtls_ctr_drbg_context *rng)
{
    return mbedtls_pk_parse_key(pk, key, size, password, password_size, mbedtls_ctr_drbg_random,
                                rng);
}

static inline int gr_mbedtls_check_pair(const mbedtls_pk_context *pub,
                                        const mbedtls_pk_context *prv,
                                        mbedtls_ctr_drbg_context *rng)
{
    return mbedtls_pk_check_pair(pub, prv, mbedtls_ctr_drbg_random, rng);
}

static inline int gr_mbedtls_pbkdf2(mbedtls_md_type_t md, const uint8_t *password,
                                    size_t password_size, const uint8_t *salt, size_t salt_size,
                                    unsigned iterations, uint8_t *key, size_t key_size)
{
    return mbedtls_pkcs5_pbkdf2_hmac_ext(md, password, password_size, salt, salt_size, iterations,
                                         (uint32_t)key_size, key);
}

static inline size_t gr_mbedtls_dh_bits(const mbedtls_dhm_context *dh)
{
    return mbedtls_dhm_get_bitlen(dh);
}

static inline void gr_mbedtls_versions(mbedtls_ssl_config *conf, int min, int max)
{
    mbedtls_ssl_conf_min_tls_version(conf, min >= 13 ? MBEDTLS_SSL_VERSION_TLS1_3
                                                     : MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_max_tls_version(conf, max >= 13 ? MBEDTLS_SSL_VERSION_TLS1_3
                                                     : MBEDTLS_SSL_VERSION_TLS1_2);
}

static inline int gr_mbedtls_version_of(const mbedtls_ssl_context *ssl)
{
    return mbedtls_ssl_get_version_number(ssl) == MBEDTLS_SSL_VERSION_TLS1_3 ? 13 : 12;
}

/* Fastest first. */
static inline void gr_mbedtls_groups(mbedtls_ssl_config *conf)
{
    static const uint16_t groups[] = {
        MBEDTLS_SSL_IANA_TLS_GROUP_X25519,    MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
        MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1, MBEDTLS_SSL_IANA_TLS_GROUP_SECP521R1,
        MBEDTLS_SSL_IANA_TLS_GROUP_NONE,
    };
    mbedtls_ssl_conf_groups(conf, groups);
}

static inline void gr_mbedtls_sig_algs(mbedtls_ssl_config *conf)
{
    (void)conf; /* 3.6 offers nothing weaker than SHA-256 */
}

/*
 * A ticket of TLS 1.3 does not hold the peer's certificate here, and a connection whose peer has no
 * certificate has no name: so TLS 1.3 always makes a full handshake.
 */
static inline void gr_mbedtls_no_tickets_13(mbedtls_ssl_config *conf)
{
#if defined(MBEDTLS_SSL_PROTO_TLS1_3)
    mbedtls_ssl_conf_tls13_key_exchange_modes(conf, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL);
#if defined(MBEDTLS_SSL_SRV_C) && defined(MBEDTLS_SSL_SESSION_TICKETS)
    mbedtls_ssl_conf_new_session_tickets(conf, 0);
#endif
#else
    (void)conf;
#endif
}

/* No name, said expressly: who has none and does not say so is refused from 3.6.3 on. */
static inline int gr_mbedtls_no_hostname(mbedtls_ssl_context *ssl)
{
    return mbedtls_ssl_set_hostname(ssl, NULL);
}

#else /* 2.28 */

#define GR_TLS_VERSION_MAX 12

#define GR_MBEDTLS_BAD_VERSION MBEDTLS_ERR_SSL_BAD_HS_PROTOCOL_VERSION
#define GR_MBEDTLS_BAD_CERT MBEDTLS_ERR_SSL_BAD_HS_CERTIFICATE
#define GR_MBEDTLS_TICKET_NEWS MBEDTLS_ERR_SSL_WANT_READ

static inline int gr_mbedtls_is_no_cipher(int error)
{
    return error == MBEDTLS_ERR_SSL_NO_USABLE_CIPHERSUITE ||
           error == MBEDTLS_ERR_SSL_NO_CIPHER_CHOSEN;
}

static inline int gr_mbedtls_start(void)
{
    return 0;
}

static inline int gr_mbedtls_sha256(const uint8_t *data, size_t size, uint8_t out[32])
{
    return mbedtls_sha256_ret(data, size, out, 0);
}

static inline int gr_mbedtls_parse_key(mbedtls_pk_context *pk, const uint8_t *key, size_t size,
                                       const uint8_t *password, size_t password_size,
                                       mbedtls_ctr_drbg_context *rng)
{
    (void)rng;
    return mbedtls_pk_parse_key(pk, key, size, password, password_size);
}

static inline int gr_mbedtls_check_pair(const mbedtls_pk_context *pub,
                                        const mbedtls_pk_context *prv,
                                        mbedtls_ctr_drbg_context *rng)
{
    (void)rng;
    return mbedtls_pk_check_pair(pub, prv);
}

static inline int gr_mbedtls_pbkdf2(mbedtls_md_type_t md, const uint8_t *password,
                                    size_t password_size, const uint8_t *salt, size_t salt_size,
                                    unsigned iterations, uint8_t *key, size_t key_size)
{
    mbedtls_md_context_t ctx;
    mbedtls_md_init(&ctx);
    int rc = mbedtls_md_setup(&ctx, mbedtls_md_info_from_type(md), 1);
    if (rc == 0)
        rc = mbedtls_pkcs5_pbkdf2_hmac(&ctx, password, password_size, salt, salt_size, iterations,
                                       (uint32_t)key_size, key);
    mbedtls_md_free(&ctx);
    return rc;
}

static inline size_t gr_mbedtls_dh_bits(const mbedtls_dhm_context *dh)
{
    return mbedtls_mpi_bitlen(&dh->P);
}

static inline void gr_mbedtls_versions(mbedtls_ssl_config *conf, int min, int max)
{
    (void)min;
    (void)max;
    mbedtls_ssl_conf_min_version(conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
}

static inline int gr_mbedtls_version_of(const mbedtls_ssl_context *ssl)
{
    (void)ssl;
    return 12;
}

/* Fastest first. */
static inline void gr_mbedtls_groups(mbedtls_ssl_config *conf)
{
    static const mbedtls_ecp_group_id groups[] = {
        MBEDTLS_ECP_DP_CURVE25519, MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_SECP384R1,
        MBEDTLS_ECP_DP_SECP521R1,  MBEDTLS_ECP_DP_NONE,
    };
    mbedtls_ssl_conf_curves(conf, groups);
}

static inline void gr_mbedtls_sig_algs(mbedtls_ssl_config *conf)
{
    static const int hashes[] = {MBEDTLS_MD_SHA256, MBEDTLS_MD_SHA384, MBEDTLS_MD_SHA512,
                                 MBEDTLS_MD_NONE};
    mbedtls_ssl_conf_sig_hashes(conf, hashes);
}

static inline void gr_mbedtls_no_tickets_13(mbedtls_ssl_config *conf)
{
    (void)conf;
}

static inline int gr_mbedtls_no_hostname(mbedtls_ssl_context *ssl)
{
    (void)ssl;
    return 0;
}

#endif

/* Whether the library that runs is of the series that this was compiled for. */
static inline int gr_mbedtls_same_version(void)
{
    return mbedtls_version_get_number() >> 16 == MBEDTLS_VERSION_NUMBER >> 16;
}

#endif
