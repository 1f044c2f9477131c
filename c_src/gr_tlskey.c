/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private keys. mbedTLS 2.28 cannot open what OpenSSL writes by default, PKCS#8 by PBES2 with AES, so
 * its pieces are put together here (RFC 8018). The file is its owner's, not a stranger's, but it is
 * read with the same care.
 */
#include "gr_tlskey.h"

#include <mbedtls/aes.h>
#include <mbedtls/asn1.h>
#include <mbedtls/oid.h>
#include <mbedtls/pem.h>
#include <mbedtls/pkcs5.h>
#include <string.h>

#define BLOCK ((size_t)16)
#define KEY_MAX ((size_t)32)

#define PEM_BEGIN "-----BEGIN ENCRYPTED PRIVATE KEY-----"
#define PEM_END "-----END ENCRYPTED PRIVATE KEY-----"

/* 2.16.840.1.101.3.4.1.n: AES in CBC mode with a key of 128, 192 or 256 bits. */
static const uint8_t aes_cbc[] = {0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01};

/* What PBES2 says of itself; the pieces lie in the key's DER form. */
typedef struct pbes2 {
    mbedtls_asn1_buf salt;
    int iterations;
    mbedtls_md_type_t md;
    size_t key_size;
    mbedtls_asn1_buf iv;
    mbedtls_asn1_buf data;
} pbes2;

static int contains(gr_str s, const char *text)
{
    size_t size = strlen(text);
    for (size_t i = 0; i + size <= s.size; i++)
        if (memcmp(s.data + i, text, size) == 0)
            return 1;
    return 0;
}

uint8_t *gr_tlskey_copy(const gr_mem *mem, gr_str s, size_t *size)
{
    uint8_t *copy = gr_alloc(mem, s.size + 1);
    if (!copy)
        return NULL;
    if (s.size)
        memcpy(copy, s.data, s.size);
    copy[s.size] = 0;
    *size = contains(s, "-----BEGIN ") ? s.size + 1 : s.size;
    return copy;
}

void gr_tlskey_wipe(const gr_mem *mem, uint8_t *copy, size_t size)
{
    mbedtls_platform_zeroize(copy, size);
    gr_free(mem, copy);
}

static int enter(uint8_t **p, uint8_t **end, int tag)
{
    size_t size;
    int rc = mbedtls_asn1_get_tag(p, *end, &size, tag);
    if (rc == 0)
        *end = *p + size;
    return rc;
}

static int get_octets(uint8_t **p, const uint8_t *end, mbedtls_asn1_buf *out)
{
    int rc = mbedtls_asn1_get_tag(p, end, &out->len, MBEDTLS_ASN1_OCTET_STRING);
    if (rc != 0)
        return rc;
    out->p = *p;
    *p += out->len;
    return 0;
}

/* Salt, iterations, the length of the key if it is told, the hash if it is not SHA-1. */
static int read_kdf(const mbedtls_asn1_buf *params, pbes2 *e)
{
    uint8_t *p = params->p;
    uint8_t *end = p + params->len;
    int ignored;
    mbedtls_asn1_buf prf;
    int rc = get_octets(&p, end, &e->salt);
    if (rc == 0)
        rc = mbedtls_asn1_get_int(&p, end, &e->iterations);
    if (rc != 0)
        return rc;
    e->md = MBEDTLS_MD_SHA1;
    if (p != end && *p == MBEDTLS_ASN1_INTEGER)
        rc = mbedtls_asn1_get_int(&p, end, &ignored);
    if (rc == 0 && p != end)
        rc = mbedtls_asn1_get_alg_null(&p, end, &prf);
    else
        return rc;
    return rc == 0 ? mbedtls_oid_get_md_hmac(&prf, &e->md) : rc;
}

static size_t aes_key_size(const mbedtls_asn1_buf *oid)
{
    if (oid->len != sizeof aes_cbc + 1 || memcmp(oid->p, aes_cbc, sizeof aes_cbc) != 0)
        return 0;
    switch (oid->p[sizeof aes_cbc]) {
    case 2:
        return 16;
    case 22:
        return 24;
    case 42:
        return 32;
    default:
        return 0;
    }
}

static int read_schemes(const mbedtls_asn1_buf *params, pbes2 *e)
{
    uint8_t *p = params->p;
    const uint8_t *end = p + params->len;
    mbedtls_asn1_buf kdf, kdf_params, cipher;
    int rc = mbedtls_asn1_get_alg(&p, end, &kdf, &kdf_params);
    if (rc == 0)
        rc = mbedtls_asn1_get_alg(&p, end, &cipher, &e->iv);
    if (rc == 0)
        rc = read_kdf(&kdf_params, e);
    if (rc != 0)
        return rc;
    e->key_size = aes_key_size(&cipher);
    int known = MBEDTLS_OID_CMP(MBEDTLS_OID_PKCS5_PBKDF2, &kdf) == 0 && e->key_size &&
                e->iv.tag == MBEDTLS_ASN1_OCTET_STRING && e->iv.len == BLOCK && e->iterations > 0;
    return known ? 0 : MBEDTLS_ERR_PKCS5_FEATURE_UNAVAILABLE;
}

static int read_encrypted(uint8_t *p, size_t size, pbes2 *e)
{
    uint8_t *end = p + size;
    mbedtls_asn1_buf alg, params;
    int rc = enter(&p, &end, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE);
    if (rc == 0)
        rc = mbedtls_asn1_get_alg(&p, end, &alg, &params);
    if (rc == 0)
        rc = get_octets(&p, end, &e->data);
    if (rc != 0)
        return rc;
    if (MBEDTLS_OID_CMP(MBEDTLS_OID_PKCS5_PBES2, &alg) != 0 || !e->data.len ||
        e->data.len % BLOCK != 0)
        return MBEDTLS_ERR_PKCS5_FEATURE_UNAVAILABLE;
    return read_schemes(&params, e);
}

/* Decrypts e->data in place. */
static int decrypt(const pbes2 *e, gr_str password)
{
    uint8_t key[KEY_MAX];
    uint8_t iv[BLOCK];
    mbedtls_aes_context aes;
    mbedtls_aes_init(&aes);
    memcpy(iv, e->iv.p, BLOCK);
    int rc = gr_mbedtls_pbkdf2(e->md, password.data, password.size, e->salt.p, e->salt.len,
                               (unsigned)e->iterations, key, e->key_size);
    if (rc == 0)
        rc = mbedtls_aes_setkey_dec(&aes, key, (unsigned)e->key_size * 8);
    if (rc == 0)
        rc =
            mbedtls_aes_crypt_cbc(&aes, MBEDTLS_AES_DECRYPT, e->data.len, iv, e->data.p, e->data.p);
    mbedtls_aes_free(&aes);
    mbedtls_platform_zeroize(key, sizeof key);
    return rc;
}

/* Size without the padding; 0: the padding is none, so the password was another one. */
static size_t unpadded(const mbedtls_asn1_buf *b)
{
    size_t pad = b->p[b->len - 1];
    if (!pad || pad > BLOCK)
        return 0;
    for (size_t i = 1; i <= pad; i++)
        if (b->p[b->len - i] != pad)
            return 0;
    return b->len - pad;
}

/* der is overwritten. */
static int parse_der(mbedtls_pk_context *pk, uint8_t *der, size_t size, gr_str password,
                     mbedtls_ctr_drbg_context *rng)
{
    pbes2 e;
    int rc = read_encrypted(der, size, &e);
    if (rc == 0)
        rc = decrypt(&e, password);
    if (rc != 0)
        return rc;
    size_t plain = unpadded(&e.data);
    if (!plain || gr_mbedtls_parse_key(pk, e.data.p, plain, NULL, 0, rng) != 0)
        return MBEDTLS_ERR_PK_PASSWORD_MISMATCH;
    return 0;
}

static int parse_pbes2(mbedtls_pk_context *pk, uint8_t *data, size_t size, gr_str password,
                       mbedtls_ctr_drbg_context *rng)
{
    mbedtls_pem_context pem;
    size_t used;
    mbedtls_pem_init(&pem);
    /* Only a zero behind it makes it PEM for the library. */
    int rc = data[size - 1] == 0
                 ? mbedtls_pem_read_buffer(&pem, PEM_BEGIN, PEM_END, data, NULL, 0, &used)
                 : MBEDTLS_ERR_PEM_NO_HEADER_FOOTER_PRESENT;
    if (rc == 0)
        rc = parse_der(pk, pem.buf, pem.buflen, password, rng);
    else if (rc == MBEDTLS_ERR_PEM_NO_HEADER_FOOTER_PRESENT)
        rc = parse_der(pk, data, size, password, rng);
    mbedtls_pem_free(&pem);
    return rc;
}

int gr_tlskey_parse(mbedtls_pk_context *pk, const gr_mem *mem, gr_str key, gr_str password,
                    mbedtls_ctr_drbg_context *rng)
{
    size_t size;
    uint8_t *copy = gr_tlskey_copy(mem, key, &size);
    if (!copy)
        return MBEDTLS_ERR_PK_ALLOC_FAILED;
    int rc = gr_mbedtls_parse_key(pk, copy, size, password.size ? password.data : NULL,
                                  password.size, rng);
    /* The second one is what it says of DER. */
    if ((rc == MBEDTLS_ERR_PKCS5_FEATURE_UNAVAILABLE || rc == MBEDTLS_ERR_PK_KEY_INVALID_FORMAT) &&
        password.size) {
        mbedtls_pk_free(pk);
        mbedtls_pk_init(pk);
        int second = parse_pbes2(pk, copy, size, password, rng);
        if (second == 0 || second == MBEDTLS_ERR_PK_PASSWORD_MISMATCH)
            rc = second;
    }
    gr_tlskey_wipe(mem, copy, size);
    /* One wrong password in 256 leaves what looks decrypted, and then is no key. */
    int high = -(-rc & 0xff80);
    if (high == MBEDTLS_ERR_PK_KEY_INVALID_FORMAT && password.size && contains(key, "ENCRYPTED"))
        return MBEDTLS_ERR_PK_PASSWORD_MISMATCH;
    return rc;
}
