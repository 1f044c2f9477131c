/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_pair.h"

#include <mbedtls/error.h>
#include <mbedtls/version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TICKET_SECONDS 86400

#if MBEDTLS_VERSION_MAJOR >= 3
#include <psa/crypto.h>

#define CONFIGURE_GROUPS mbedtls_ssl_conf_groups
#define GROUP_NONE MBEDTLS_SSL_IANA_TLS_GROUP_NONE
#define GROUP_X25519 MBEDTLS_SSL_IANA_TLS_GROUP_X25519
#define GROUP_SECP256R1 MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1
#define GROUP_SECP384R1 MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1
typedef uint16_t group_id;

static int prepare_library(void)
{
    return psa_crypto_init();
}

static int read_key(tls_pair *p, const char *file)
{
    return mbedtls_pk_parse_keyfile(&p->key, file, NULL, mbedtls_ctr_drbg_random, &p->random);
}

static void only_tls12(mbedtls_ssl_config *config)
{
    mbedtls_ssl_conf_min_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_max_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_2);
}

#else

#define CONFIGURE_GROUPS mbedtls_ssl_conf_curves
#define GROUP_NONE MBEDTLS_ECP_DP_NONE
#define GROUP_X25519 MBEDTLS_ECP_DP_CURVE25519
#define GROUP_SECP256R1 MBEDTLS_ECP_DP_SECP256R1
#define GROUP_SECP384R1 MBEDTLS_ECP_DP_SECP384R1
typedef mbedtls_ecp_group_id group_id;

static int prepare_library(void)
{
    return 0;
}

static int read_key(tls_pair *p, const char *file)
{
    return mbedtls_pk_parse_keyfile(&p->key, file, NULL);
}

static void only_tls12(mbedtls_ssl_config *config)
{
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
}

#endif

static const struct {
    const char *name;
    group_id id;
} groups[] = {
    {"x25519", GROUP_X25519}, {"secp256r1", GROUP_SECP256R1}, {"secp384r1", GROUP_SECP384R1}};

#define GROUPS (sizeof groups / sizeof groups[0])

uint64_t tls_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void tls_die(const char *what, int rc)
{
    char text[128] = "";
    mbedtls_strerror(rc, text, sizeof text);
    fprintf(stderr, "%s: %d %s\n", what, rc, text);
    exit(1);
}

static void must(int rc, const char *what)
{
    if (rc)
        tls_die(what, rc);
}

static int pipe_send(void *end, const unsigned char *data, size_t size)
{
    pipe_bytes *pipe = ((tls_end *)end)->out;
    if (pipe->begin == pipe->end)
        pipe->begin = pipe->end = 0;
    if (size > sizeof pipe->data - pipe->end)
        return MBEDTLS_ERR_SSL_WANT_WRITE;
    memcpy(pipe->data + pipe->end, data, size);
    pipe->end += size;
    return (int)size;
}

static int pipe_receive(void *end, unsigned char *data, size_t size)
{
    pipe_bytes *pipe = ((tls_end *)end)->in;
    size_t have = pipe->end - pipe->begin;
    if (have == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    if (size > have)
        size = have;
    memcpy(data, pipe->data + pipe->begin, size);
    pipe->begin += size;
    return (int)size;
}

static int count_verified(void *config, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    (void)crt;
    (void)depth;
    (void)flags;
    ((tls_config *)config)->verified++;
    return 0;
}

/* The others follow, because they may be the curve of a certificate. */
static void order_groups(mbedtls_ssl_config *config, const char *first)
{
    static group_id order[GROUPS + 1]; /* used as long as the configuration is */
    size_t n = 1;
    order[0] = GROUP_NONE;
    for (size_t i = 0; i < GROUPS; i++)
        order[strcmp(groups[i].name, first) == 0 ? 0 : n++] = groups[i].id;
    if (order[0] == GROUP_NONE)
        tls_die(first, 0);
    order[n] = GROUP_NONE;
    CONFIGURE_GROUPS(config, order);
}

static void configure_end(tls_pair *p, tls_config *c, int role, const char *curve)
{
    mbedtls_ssl_config_init(&c->ssl);
    must(mbedtls_ssl_config_defaults(&c->ssl, role, MBEDTLS_SSL_TRANSPORT_STREAM,
                                     MBEDTLS_SSL_PRESET_DEFAULT),
         "config");
    only_tls12(&c->ssl);
    mbedtls_ssl_conf_rng(&c->ssl, mbedtls_ctr_drbg_random, &p->random);
    mbedtls_ssl_conf_authmode(&c->ssl, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_verify(&c->ssl, count_verified, c);
    mbedtls_ssl_conf_ca_chain(&c->ssl, &p->authority, NULL);
    must(mbedtls_ssl_conf_own_cert(&c->ssl, &p->certificate, &p->key), "own certificate");
    mbedtls_ssl_conf_ciphersuites(&c->ssl, p->suites);
    order_groups(&c->ssl, curve);
}

static void configure_tickets(tls_pair *p)
{
    mbedtls_ssl_ticket_init(&p->tickets);
    must(mbedtls_ssl_ticket_setup(&p->tickets, mbedtls_ctr_drbg_random, &p->random,
                                  MBEDTLS_CIPHER_AES_256_GCM, TICKET_SECONDS),
         "tickets");
    mbedtls_ssl_conf_session_tickets_cb(&p->server_config.ssl, mbedtls_ssl_ticket_write,
                                        mbedtls_ssl_ticket_parse, &p->tickets);
    mbedtls_ssl_conf_session_tickets(&p->client_config.ssl, MBEDTLS_SSL_SESSION_TICKETS_ENABLED);
}

void tls_pair_configure(tls_pair *p, const tls_names *names)
{
    must(prepare_library(), "library");
    mbedtls_entropy_init(&p->entropy);
    mbedtls_ctr_drbg_init(&p->random);
    must(mbedtls_ctr_drbg_seed(&p->random, mbedtls_entropy_func, &p->entropy, NULL, 0), "random");
    mbedtls_x509_crt_init(&p->certificate);
    mbedtls_x509_crt_init(&p->authority);
    mbedtls_pk_init(&p->key);
    must(mbedtls_x509_crt_parse_file(&p->certificate, names->certificate), names->certificate);
    must(mbedtls_x509_crt_parse_file(&p->authority, names->authority), names->authority);
    must(read_key(p, names->key), names->key);
    p->suites[0] = mbedtls_ssl_get_ciphersuite_id(names->suite);
    if (p->suites[0] == 0)
        tls_die(names->suite, 0);
    configure_end(p, &p->client_config, MBEDTLS_SSL_IS_CLIENT, names->curve);
    configure_end(p, &p->server_config, MBEDTLS_SSL_IS_SERVER, names->curve);
    configure_tickets(p);
    p->client.in = p->server.out = &p->to_client;
    p->client.out = p->server.in = &p->to_server;
}

static void start_end(tls_end *end, const tls_config *config, const mbedtls_ssl_session *session)
{
    uint64_t begin = tls_clock();
    mbedtls_ssl_init(&end->ssl);
    must(mbedtls_ssl_setup(&end->ssl, &config->ssl), "setup");
    must(mbedtls_ssl_set_hostname(&end->ssl, NULL), "hostname");
    mbedtls_ssl_set_bio(&end->ssl, end, pipe_send, pipe_receive, NULL);
    if (session)
        must(mbedtls_ssl_set_session(&end->ssl, session), "session");
    end->spent += tls_clock() - begin;
}

/* Goes on until it needs what the other has not sent; 0 when it is done. */
static int shake(tls_end *end)
{
    uint64_t begin = tls_clock();
    int rc = mbedtls_ssl_handshake(&end->ssl);
    end->spent += tls_clock() - begin;
    if (rc && rc != MBEDTLS_ERR_SSL_WANT_READ)
        tls_die("handshake", rc);
    return rc;
}

void tls_pair_open(tls_pair *p, const mbedtls_ssl_session *session)
{
    int waits;
    p->to_client.begin = p->to_client.end = 0;
    p->to_server.begin = p->to_server.end = 0;
    start_end(&p->client, &p->client_config, session);
    start_end(&p->server, &p->server_config, NULL);
    do {
        waits = shake(&p->client);
        waits |= shake(&p->server);
    } while (waits);
}

static void stop_end(tls_end *end)
{
    uint64_t begin = tls_clock();
    mbedtls_ssl_free(&end->ssl);
    end->spent += tls_clock() - begin;
}

void tls_pair_close(tls_pair *p)
{
    stop_end(&p->client);
    stop_end(&p->server);
}
