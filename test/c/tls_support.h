/* SPDX-License-Identifier: Apache-2.0 */
/* Files of make-certs, configurations out of them, and two TLS sessions joined in memory. */
#ifndef TLS_SUPPORT_H
#define TLS_SUPPORT_H

#include "gr_tls.h"
#include "pair_support.h"

/* Content of a file of make-certs, kept until the program ends. */
gr_str tls_file(const char *name);

/*
 * Options that work: certificate NAME.pem and its key, trust in ca.pem, one certificate between,
 * verification of both sides, tickets.
 */
gr_tlsconf_options tls_options(gr_role role, const char *name);

/* A configuration; fails the test when it cannot be made, and says why. */
gr_tlsconf *tls_conf(test_mem *mem, const gr_tlsconf_options *o);

/* One TLS session, driven as the driver does it. */
typedef struct tls_end {
    gr_tls *t;
    int rc;           /* GR_NONE: in the handshake; GR_OK: behind it; else what ended it */
    int up;           /* whether the handshake was ever done */
    test_bytes in;    /* plaintext that has come, not yet taken by the test */
    size_t read_size; /* of one read, bytes; 0: as large as a record */
} tls_end;

/* A client begins its handshake at once. */
void tls_end_open(tls_end *e, test_mem *mem, gr_tlsconf *conf, const char *peer, const char *sni);
void tls_end_close(tls_end *e);

/* Handshake, then plaintext, as far as the input lets it. */
void tls_end_go(tls_end *e);

/* Puts ciphertext in and goes on. A dead session takes and ignores all. */
void tls_end_feed(tls_end *e, const void *data, size_t size);

/* Moves at most max bytes of ciphertext to the end of *to. Returns how many. */
size_t tls_end_drain(tls_end *e, test_bytes *to, size_t max);

/* The peer's socket has closed. Returns e->rc. */
int tls_end_eof(tls_end *e);

/* Seals all of it, in as many records as it takes. */
void tls_end_write(tls_end *e, const void *data, size_t size);
void tls_end_write_pattern(tls_end *e, uint64_t seed, size_t size);

/* What has come in is exactly this; takes it. */
void tls_end_expect(tls_end *e, const void *data, size_t size);
void tls_end_expect_pattern(tls_end *e, uint64_t seed, size_t size);

gr_tls_info tls_end_info(const tls_end *e);

typedef struct tls_pair {
    test_mem mem; /* of both sides and of their configurations */
    gr_tlsconf *client_conf;
    gr_tlsconf *server_conf;
    tls_end client;
    tls_end server;
    test_link up;   /* to the server */
    test_link down; /* to the client */
    size_t chunk;   /* most that moves at once, bytes; 0: all there is */
    uint64_t prng;  /* state; 0: every move is as large as may be, else of random size */
} tls_pair;

/* Configurations only; NULL: the defaults, with callee and caller. */
void tls_pair_configure(tls_pair *p, const gr_tlsconf_options *client,
                        const gr_tlsconf_options *server);

/* Two new sessions of these configurations, for callee@there, in the place of those before. */
void tls_pair_join(tls_pair *p);

/* The same with other names; NULL: none. */
void tls_pair_join_as(tls_pair *p, const char *peer, const char *sni);

/* tls_pair_join, and the handshake, which must succeed on both sides. */
void tls_pair_join_up(tls_pair *p);

/* All of the above. */
void tls_pair_open_up(tls_pair *p, const gr_tlsconf_options *client,
                      const gr_tlsconf_options *server);

/* Moves bytes both ways until there are none. */
void tls_pair_pump(tls_pair *p);

/* Both sides are up, agree, and understand each other in both directions. */
void tls_pair_check_up(tls_pair *p);

/* Frees all and fails the test when anything is left. */
void tls_pair_close(tls_pair *p);

#endif
