/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The suites that are allowed at all: an ephemeral key exchange, so that a key that is stolen later
 * opens nothing, and authenticated encryption. Their order is the default one, by speed: mbedTLS
 * 2.28 writes and reads on one core of the build machine ChaCha20-Poly1305 at 530 and 510 MB/s,
 * AES-128-CCM at 670 and 430, AES-128-GCM at 320 both ways, AES-256 some 10% slower (bench/tls_limit).
 */
#include "gr_tlssuite.h"

#include <string.h>

#include "gr_tlscompat.h"

typedef struct suite {
    int id;
    int dhe; /* only by default with parameters for it */
    const char *iana;
    const char *openssl;
} suite;

static const suite suites[] = {
    /* TLS 1.3; their numbers are those of the registry, which 2.28 does not have. */
    {0x1303, 0, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"},
    {0x1304, 0, "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_SHA256"},
    {0x1301, 0, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"},
    {0x1302, 0, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"},
    /* TLS 1.2 */
    {MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, 0,
     "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, 0,
     "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"},
    {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM, 0, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM",
     "ECDHE-ECDSA-AES128-CCM"},
    {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 0, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
     "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, 0, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
     "ECDHE-RSA-AES128-GCM-SHA256"},
    {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_CCM, 0, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM",
     "ECDHE-ECDSA-AES256-CCM"},
    {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, 0, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
     "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, 0, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
     "ECDHE-RSA-AES256-GCM-SHA384"},
    {MBEDTLS_TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256, 1,
     "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "DHE-RSA-CHACHA20-POLY1305"},
    {MBEDTLS_TLS_DHE_RSA_WITH_AES_128_GCM_SHA256, 1, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
     "DHE-RSA-AES128-GCM-SHA256"},
    {MBEDTLS_TLS_DHE_RSA_WITH_AES_256_GCM_SHA384, 1, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
     "DHE-RSA-AES256-GCM-SHA384"},
};

#define SUITES (sizeof suites / sizeof suites[0])

_Static_assert(SUITES < GR_TLSSUITE_MAX, "a list of all of them must end with a zero");

/* Those of TLS 1.3 are none of 2.28's, which would stumble over them in a handshake. */
static int is_available(const suite *s)
{
    return mbedtls_ssl_ciphersuite_from_id(s->id) != NULL;
}

void gr_tlssuite_default(int with_dhe, int ids[GR_TLSSUITE_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < SUITES; i++)
        if (is_available(&suites[i]) && (with_dhe || !suites[i].dhe))
            ids[n++] = suites[i].id;
    ids[n] = 0;
}

static int is_name(gr_str s, const char *name)
{
    return s.size == strlen(name) && memcmp(s.data, name, s.size) == 0;
}

static const suite *find(gr_str name)
{
    for (size_t i = 0; i < SUITES; i++)
        if (is_available(&suites[i]) &&
            (is_name(name, suites[i].iana) || is_name(name, suites[i].openssl)))
            return &suites[i];
    return NULL;
}

static int contains(const int *ids, size_t n, int id)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] == id)
            return 1;
    return 0;
}

int gr_tlssuite_parse(gr_str names, int ids[GR_TLSSUITE_MAX], gr_str *bad)
{
    size_t n = 0;
    const uint8_t *end = names.data + names.size;
    for (const uint8_t *at = names.data;;) {
        const uint8_t *colon = memchr(at, ':', (size_t)(end - at));
        gr_str name = {at, (size_t)((colon ? colon : end) - at)};
        const suite *s = find(name);
        *bad = name;
        if (!s)
            return GR_ENOENT;
        if (!contains(ids, n, s->id))
            ids[n++] = s->id;
        if (!colon)
            break;
        at = colon + 1;
    }
    ids[n] = 0;
    return GR_OK;
}

/* The numbers that begin with 13 are those of TLS 1.3. */
int gr_tlssuite_serves(const int *ids, int version)
{
    for (; *ids; ids++)
        if ((*ids >> 8 == 0x13) == (version == 13))
            return 1;
    return 0;
}

const char *gr_tlssuite_name(int id)
{
    for (size_t i = 0; i < SUITES; i++)
        if (suites[i].id == id)
            return suites[i].iana;
    return NULL;
}
