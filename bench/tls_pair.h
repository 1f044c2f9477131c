/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client and a server of mbedTLS joined in memory, in one thread, with mutual authentication by
 * TLS 1.2. Only what is here and in tls_pair.c depends on the version of mbedTLS, 2.28 or 3.x.
 */
#ifndef TLS_PAIR_H
#define TLS_PAIR_H

#include <stdint.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/x509_crt.h>

#define RECORD_MAX ((size_t)16384)
#define BATCH 64 /* records that a pipe has room for */

/* Bytes on the way to one of the two. */
typedef struct pipe_bytes {
    size_t begin;
    size_t end;
    uint8_t data[BATCH * (RECORD_MAX + 512)];
} pipe_bytes;

/* What one of the two has for all its connections. */
typedef struct tls_config {
    mbedtls_ssl_config ssl;
    unsigned verified; /* certificates of the peer seen: none by a resumed handshake */
} tls_config;

typedef struct tls_end {
    mbedtls_ssl_context ssl;
    pipe_bytes *in;
    pipe_bytes *out;
    uint64_t spent; /* CPU time, ns; set to 0 by whoever measures */
} tls_end;

/* Names as mbedTLS has them. */
typedef struct tls_names {
    const char *certificate;
    const char *key;
    const char *authority;
    const char *suite;
    const char *curve; /* first choice of both: x25519, secp256r1 or secp384r1 */
} tls_names;

typedef struct tls_pair {
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_x509_crt certificate;
    mbedtls_x509_crt authority;
    mbedtls_pk_context key;
    mbedtls_ssl_ticket_context tickets;
    int suites[2];
    tls_config client_config;
    tls_config server_config;
    tls_end client;
    tls_end server;
    pipe_bytes to_client;
    pipe_bytes to_server;
} tls_pair;

/* CPU time of this thread, ns: what others do on the machine does not count. */
uint64_t tls_clock(void);

/* Prints what went wrong and ends the program. */
void tls_die(const char *what, int rc);

/* Everything but a connection. */
void tls_pair_configure(tls_pair *p, const tls_names *names);

/* A handshake, full without a session, which it borrows; what it costs is added to `spent'. */
void tls_pair_open(tls_pair *p, const mbedtls_ssl_session *session);

void tls_pair_close(tls_pair *p);

#endif
