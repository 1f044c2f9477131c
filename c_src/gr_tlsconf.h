/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What connections over TLS share: certificates, keys, CAs, suites, random generator, session
 * tickets. Made once, never changed, counted by references, used by many threads at the same time.
 */
#ifndef GR_TLSCONF_H
#define GR_TLSCONF_H

#include "gr_auth.h"
#include "gr_tlscache.h"
#include "gr_tlscompat.h"
#include "gr_tlsfile.h"

/* Certificates that mbedTLS follows at most between a peer's certificate and its CA. */
#define GR_TLSCONF_DEPTH_MAX 8

typedef struct gr_tlsconf_options {
    gr_role role;
    gr_str cert; /* contents of files, PEM or DER; empty: not given */
    gr_str key;
    gr_str password;
    gr_str ca;
    gr_str dh;
    gr_str crl;
    gr_str ciphers;  /* names between colons */
    int min_version; /* 12 or 13; 0: all that the library has */
    int max_version;
    unsigned depth; /* certificates between a peer's and its CA */
    int verify;     /* whether the peer's certificate is looked at */
    int need_cert;  /* server: whether a client must have one */
    int tickets;    /* whether sessions can be resumed */
} gr_tlsconf_options;

typedef struct gr_tlsconf gr_tlsconf;

/*
 * Returns a reference to a new one. GR_ENOMEM; GR_ECRYPTO: the library has no random numbers;
 * GR_ESTATE: *err says which option cannot be used. Borrows the options until it returns.
 */
int gr_tlsconf_new(gr_tlsconf **c, const gr_mem *mem, const gr_tlsconf_options *opts,
                   gr_tlsconf_error *err);

void gr_tlsconf_ref(gr_tlsconf *c);
void gr_tlsconf_unref(gr_tlsconf *c); /* accepts NULL */

/* For gr_tls. All live as long as the configuration. */
const mbedtls_ssl_config *gr_tlsconf_ssl(const gr_tlsconf *c);
gr_role gr_tlsconf_role(const gr_tlsconf *c);
int gr_tlsconf_verifies(const gr_tlsconf *c);
unsigned gr_tlsconf_depth(const gr_tlsconf *c);
gr_tlscache *gr_tlsconf_cache(const gr_tlsconf *c); /* client with tickets; else NULL */

/* The hash of its own certificate: SHA-256 of its DER form. */
const uint8_t *gr_tlsconf_own_hash(const gr_tlsconf *c);

/* Whether the own certificate is for this node. */
int gr_tlsconf_is_for(const gr_tlsconf *c, gr_str node);

#endif
