/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a TLS configuration out of the contents of files. What can hurt: many threads use it at the
 * same time. All that it holds is read only, but for what mbedTLS locks by itself: the random
 * generator, RSA keys, the keys of the tickets.
 */
#include "gr_tlsconf.h"

#include <stdatomic.h>
#include <string.h>

#include "gr_tlsname.h"
#include "gr_tlssuite.h"

/* How long a session can be resumed, s. mbedTLS changes the key of the tickets as often. */
#define TICKET_LIFETIME 3600u

static const unsigned char seed_label[] = "gen_rpc";

struct gr_tlsconf {
    const gr_mem *mem;
    atomic_size_t refs;
    gr_role role;
    int verify;
    unsigned depth;
    int dhe; /* has parameters for it */
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context rng;
    mbedtls_x509_crt own; /* and what lies between it and its CA */
    mbedtls_pk_context key;
    mbedtls_x509_crt ca;
    mbedtls_x509_crl crl;
    mbedtls_dhm_context dh;
    mbedtls_ssl_ticket_context tickets; /* of a server */
    mbedtls_ssl_config ssl;
    gr_tlscache *cache; /* of a client */
    uint8_t own_hash[32];
    int suites[GR_TLSSUITE_MAX];
};

/* ---- the parts ---- */

static int load_files(gr_tlsconf *c, const gr_tlsconf_options *o, gr_tlsconf_error *err)
{
    int rc = gr_tlsfile_own(c->mem, o->cert, o->role, &c->own, err);
    if (rc == GR_OK)
        rc = gr_tlsfile_key(c->mem, o->key, o->password, &c->own, &c->key, &c->rng, err);
    if (rc == GR_OK && o->ca.size)
        rc = gr_tlsfile_ca(c->mem, o->ca, &c->ca, err);
    if (rc == GR_OK && o->dh.size)
        rc = gr_tlsfile_dh(c->mem, o->dh, &c->dh, err);
    if (rc == GR_OK && o->crl.size)
        rc = gr_tlsfile_crl(c->mem, o->crl, &c->crl, err);
    if (rc != GR_OK)
        return rc;
    c->dhe = o->dh.size != 0;
    return gr_mbedtls_sha256(c->own.raw.p, c->own.raw.len, c->own_hash) == 0 ? GR_OK : GR_ECRYPTO;
}

static int choose_suites(gr_tlsconf *c, const gr_tlsconf_options *o, gr_tlsconf_error *err)
{
    gr_str bad;
    gr_tlssuite_default(c->dhe, c->suites);
    if (o->ciphers.size && gr_tlssuite_parse(o->ciphers, c->suites, &bad) != GR_OK)
        return gr_tlsfile_wrong(
            err, GR_TLSOPT_CIPHERS,
            "names of suites with forward secrecy and authenticated encryption, and '%.*s' is none",
            (int)(bad.size < 64 ? bad.size : 64), (const char *)bad.data);
    mbedtls_ssl_conf_ciphersuites(&c->ssl, c->suites);
    return GR_OK;
}

/* A version without a suite would be agreed on, and then there would be nothing to agree on. */
static int choose_versions(gr_tlsconf *c, const gr_tlsconf_options *o, gr_tlsconf_error *err)
{
    int min = o->min_version ? o->min_version : 12;
    int max = o->max_version ? o->max_version : GR_TLS_VERSION_MAX;
    if (min < 12 || min > max || max > GR_TLS_VERSION_MAX)
        return gr_tlsfile_wrong(err, GR_TLSOPT_VERSIONS, "%s, all that mbedTLS %s has here",
                                GR_TLS_VERSION_MAX == 12 ? "tlsv1.2" : "tlsv1.2 and tlsv1.3",
                                MBEDTLS_VERSION_STRING);
    if (!gr_tlssuite_serves(c->suites, 12) && min == 12)
        min = 13;
    if (!gr_tlssuite_serves(c->suites, 13) && max == 13)
        max = 12;
    if (min > max)
        return gr_tlsfile_wrong(err, GR_TLSOPT_CIPHERS, "suites of the versions that are allowed");
    gr_mbedtls_versions(&c->ssl, min, max);
    return GR_OK;
}

static int set_tickets(gr_tlsconf *c, int on)
{
    mbedtls_ssl_conf_session_tickets(&c->ssl, on ? MBEDTLS_SSL_SESSION_TICKETS_ENABLED
                                                 : MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    gr_mbedtls_no_tickets_13(&c->ssl);
    if (!on)
        return GR_OK;
    if (c->role == GR_CLIENT)
        return gr_tlscache_new(&c->cache, c->mem);
    if (mbedtls_ssl_ticket_setup(&c->tickets, mbedtls_ctr_drbg_random, &c->rng,
                                 MBEDTLS_CIPHER_AES_256_GCM, TICKET_LIFETIME) != 0)
        return GR_ECRYPTO;
    mbedtls_ssl_conf_session_tickets_cb(&c->ssl, mbedtls_ssl_ticket_write, mbedtls_ssl_ticket_parse,
                                        &c->tickets);
    return GR_OK;
}

/* A server that does not insist still has the library look at the certificate of who has one. */
static int auth_mode(const gr_tlsconf_options *o)
{
    if (!o->verify)
        return MBEDTLS_SSL_VERIFY_NONE;
    return o->role == GR_CLIENT || o->need_cert ? MBEDTLS_SSL_VERIFY_REQUIRED
                                                : MBEDTLS_SSL_VERIFY_OPTIONAL;
}

static int configure(gr_tlsconf *c, const gr_tlsconf_options *o, gr_tlsconf_error *err)
{
    if (mbedtls_ssl_config_defaults(
            &c->ssl, o->role == GR_CLIENT ? MBEDTLS_SSL_IS_CLIENT : MBEDTLS_SSL_IS_SERVER,
            MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT) != 0)
        return GR_ENOMEM;
    mbedtls_ssl_conf_rng(&c->ssl, mbedtls_ctr_drbg_random, &c->rng);
    mbedtls_ssl_conf_authmode(&c->ssl, auth_mode(o));
    mbedtls_ssl_conf_renegotiation(&c->ssl, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
    mbedtls_ssl_conf_dhm_min_bitlen(&c->ssl, GR_TLSFILE_DH_BITS_MIN);
    gr_mbedtls_groups(&c->ssl);
    gr_mbedtls_sig_algs(&c->ssl);
    if (o->ca.size)
        mbedtls_ssl_conf_ca_chain(&c->ssl, &c->ca, o->crl.size ? &c->crl : NULL);
    if (mbedtls_ssl_conf_own_cert(&c->ssl, &c->own, &c->key) != 0)
        return GR_ENOMEM;
    if (c->dhe && o->role == GR_SERVER && mbedtls_ssl_conf_dh_param_ctx(&c->ssl, &c->dh) != 0)
        return GR_ENOMEM;
    int rc = choose_suites(c, o, err);
    if (rc == GR_OK)
        rc = choose_versions(c, o, err);
    return rc == GR_OK ? set_tickets(c, o->tickets) : rc;
}

static int start_random(gr_tlsconf *c)
{
    if (gr_mbedtls_start() != 0)
        return GR_ECRYPTO;
    return mbedtls_ctr_drbg_seed(&c->rng, mbedtls_entropy_func, &c->entropy, seed_label,
                                 sizeof seed_label - 1) == 0
               ? GR_OK
               : GR_ECRYPTO;
}

static int check_given(const gr_tlsconf_options *o, gr_tlsconf_error *err)
{
    if (!o->cert.size)
        return gr_tlsfile_wrong(err, GR_TLSOPT_CERTFILE, "it is empty");
    if (!o->key.size)
        return gr_tlsfile_wrong(err, GR_TLSOPT_KEYFILE, "it is empty");
    if (o->verify && !o->ca.size)
        return gr_tlsfile_wrong(err, GR_TLSOPT_CACERTFILE, "it is empty");
    return GR_OK;
}

static void init_all(gr_tlsconf *c)
{
    mbedtls_entropy_init(&c->entropy);
    mbedtls_ctr_drbg_init(&c->rng);
    mbedtls_x509_crt_init(&c->own);
    mbedtls_pk_init(&c->key);
    mbedtls_x509_crt_init(&c->ca);
    mbedtls_x509_crl_init(&c->crl);
    mbedtls_dhm_init(&c->dh);
    mbedtls_ssl_ticket_init(&c->tickets);
    mbedtls_ssl_config_init(&c->ssl);
}

static void free_all(gr_tlsconf *c)
{
    gr_tlscache_free(c->cache);
    mbedtls_ssl_config_free(&c->ssl);
    mbedtls_ssl_ticket_free(&c->tickets);
    mbedtls_dhm_free(&c->dh);
    mbedtls_x509_crl_free(&c->crl);
    mbedtls_x509_crt_free(&c->ca);
    mbedtls_pk_free(&c->key);
    mbedtls_x509_crt_free(&c->own);
    mbedtls_ctr_drbg_free(&c->rng);
    mbedtls_entropy_free(&c->entropy);
}

int gr_tlsconf_new(gr_tlsconf **out, const gr_mem *mem, const gr_tlsconf_options *o,
                   gr_tlsconf_error *err)
{
    *out = NULL;
    memset(err, 0, sizeof *err);
    int rc = check_given(o, err);
    if (rc != GR_OK)
        return rc;
    gr_tlsconf *c = gr_alloc(mem, sizeof *c);
    if (!c)
        return GR_ENOMEM;
    memset(c, 0, sizeof *c);
    c->mem = mem;
    c->role = o->role;
    c->verify = o->verify;
    c->depth = o->depth;
    atomic_init(&c->refs, 1);
    init_all(c);
    rc = start_random(c);
    if (rc == GR_OK)
        rc = load_files(c, o, err);
    if (rc == GR_OK)
        rc = configure(c, o, err);
    if (rc != GR_OK) {
        gr_tlsconf_unref(c);
        return rc;
    }
    *out = c;
    return GR_OK;
}

void gr_tlsconf_ref(gr_tlsconf *c)
{
    atomic_fetch_add(&c->refs, 1);
}

void gr_tlsconf_unref(gr_tlsconf *c)
{
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    const gr_mem *mem = c->mem;
    free_all(c);
    mbedtls_platform_zeroize(c, sizeof *c);
    gr_free(mem, c);
}

const mbedtls_ssl_config *gr_tlsconf_ssl(const gr_tlsconf *c)
{
    return &c->ssl;
}

gr_role gr_tlsconf_role(const gr_tlsconf *c)
{
    return c->role;
}

int gr_tlsconf_verifies(const gr_tlsconf *c)
{
    return c->verify;
}

unsigned gr_tlsconf_depth(const gr_tlsconf *c)
{
    return c->depth;
}

gr_tlscache *gr_tlsconf_cache(const gr_tlsconf *c)
{
    return c->cache;
}

const uint8_t *gr_tlsconf_own_hash(const gr_tlsconf *c)
{
    return c->own_hash;
}

int gr_tlsconf_is_for(const gr_tlsconf *c, gr_str node)
{
    return gr_tlsname_matches(&c->own, node);
}
