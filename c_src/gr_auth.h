/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handshake: hello, proof, result. Both sides prove the cookie over the whole transcript, each under
 * a label of its own role. Everything that it reads is hostile: fixed buffers, no recursion.
 */
#ifndef GR_AUTH_H
#define GR_AUTH_H

#include "gr_base.h"
#include "gr_outq.h"

#define GR_PROTOCOL_VERSION 1u
#define GR_NONCE_SIZE 32u
#define GR_PROOF_SIZE 32u
#define GR_NAME_MAX 1020u   /* an atom: 255 characters of at most 4 bytes */
#define GR_COOKIE_MAX 1020u /* likewise */
#define GR_BINDING_MAX 64u  /* a certificate's hash */

typedef enum { GR_CLIENT, GR_SERVER } gr_role;

/* Bytes with a length; not a C string. */
typedef struct gr_str {
    const uint8_t *data;
    size_t size;
} gr_str;

typedef struct gr_auth_config {
    gr_role role;
    gr_str cookie;  /* at most GR_COOKIE_MAX bytes */
    gr_str name;    /* of the own node, at most GR_NAME_MAX bytes */
    gr_str target;  /* client: the node meant; server: ignored */
    gr_str binding; /* what lies below, the same on both sides; empty over plain TCP */
    /* Server: whether what lies below knows the client by this name. NULL: any name will do. */
    int (*vouches)(void *ctx, gr_str name);
    void *ctx;
    uint8_t nonce[GR_NONCE_SIZE]; /* fresh from a cryptographic generator, used once */
    uint64_t max_message;         /* largest body that this side accepts, bytes */
} gr_auth_config;

/* What a completed handshake has established. */
typedef struct gr_peer {
    size_t name_size;
    uint8_t name[GR_NAME_MAX];
    uint64_t max_message; /* largest body that the peer accepts, bytes */
    uint32_t features;    /* bits that both sides have */
} gr_peer;

typedef struct gr_auth gr_auth;

/*
 * Makes a handshake; the client's hello goes to out at once. Borrows mem, copies the rest.
 * GR_ESTATE when a name or the cookie is empty or over its limit.
 */
int gr_auth_new(gr_auth **a, const gr_mem *mem, const gr_auth_config *cfg, gr_outq *out);

/* Wipes and frees. Accepts NULL. */
void gr_auth_free(gr_auth *a);

/*
 * Takes input and puts answers to out; *used tells how much of data it took. GR_OK: the peer is
 * authentic, *peer is filled, and data behind *used belongs to what follows. GR_NONE: it took all
 * and wants more. Fatal: refused; out may hold the refusal, worth one try to write.
 */
int gr_auth_feed(gr_auth *a, const uint8_t *data, size_t size, size_t *used, gr_outq *out,
                 gr_peer *peer);

#endif
