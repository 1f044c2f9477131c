/* SPDX-License-Identifier: Apache-2.0 */
/* A TLS peer that is mbedTLS itself, without our rules: for peers that are hostile, or old. */
#ifndef RAW_SUPPORT_H
#define RAW_SUPPORT_H

#include "tls_support.h"

typedef struct raw_end {
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context rng;
    mbedtls_x509_crt cert;
    mbedtls_pk_context key;
    mbedtls_ssl_config conf; /* the test may change it until raw_pair_begin */
    mbedtls_ssl_context ssl;
    test_bytes *in;
    test_bytes *out;
    int rc; /* what the library last returned in the handshake */
} raw_end;

/* One of the two sides is raw. */
typedef struct raw_pair {
    test_mem mem;
    gr_tlsconf *conf;
    tls_end end;
    raw_end raw;
    test_bytes to_end;
    test_bytes to_raw;
} raw_pair;

/*
 * The raw side has this role, the library's defaults, and the certificate NAME.pem, or none; it
 * verifies nothing. NULL: default options for ours.
 */
void raw_pair_configure(raw_pair *p, gr_role role, const char *name, const gr_tlsconf_options *o);

/* Makes both sessions, in the place of those before. */
void raw_pair_begin(raw_pair *p);

/* Goes on with the handshakes, and moves bytes, until there are none. */
void raw_pair_pump(raw_pair *p);

/* All of the above; the handshake must succeed. */
void raw_pair_open_up(raw_pair *p, gr_role role, const char *name, const gr_tlsconf_options *o);

void raw_pair_close(raw_pair *p);

/*
 * A handshake of the library's own with our configurations, which must be a full one and succeed.
 * The caller frees *ssl.
 */
void raw_session(mbedtls_ssl_context *ssl, gr_tlsconf *client, gr_tlsconf *server);

/* Takes one record of the raw side, which is this alert. */
void raw_expect_alert(raw_pair *p, int description);

#endif
