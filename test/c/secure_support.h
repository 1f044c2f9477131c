/* SPDX-License-Identifier: Apache-2.0 */
/* Two sessions over two TLS sessions, joined in memory; each side does what the driver does. */
#ifndef SECURE_SUPPORT_H
#define SECURE_SUPPORT_H

#include "tls_support.h"

typedef struct secure_end {
    gr_tls *tls;
    test_end session; /* without a session until TLS is done */
    gr_session_config cfg;
    int rc;   /* what ended it, of TLS or of the session; GR_OK: nothing has */
    int gone; /* its socket is closed: the other side has been told */
} secure_end;

typedef struct secure_pair {
    test_mem mem;
    gr_tlsconf *client_conf;
    gr_tlsconf *server_conf;
    gr_session_config client_cfg;
    gr_session_config server_cfg;
    secure_end client;
    secure_end server;
    test_link up;   /* to the server */
    test_link down; /* to the client */
    size_t chunk;   /* most that moves at once, bytes; 0: all there is */
    uint64_t prng;  /* state; 0: every move is as large as may be, else of random size */
} secure_pair;

/* One side alone; the client looks for the node that its session is for. */
void secure_end_open(secure_end *e, test_mem *mem, gr_tlsconf *conf, const gr_session_config *cfg);
void secure_end_close(secure_end *e);

/* Puts ciphertext in and goes on. A dead side takes and ignores all. */
void secure_end_feed(secure_end *e, const void *data, size_t size);

/* Seals what there is and moves at most max bytes to the end of *to. Returns how many. */
size_t secure_end_drain(secure_end *e, test_bytes *to, size_t max);

/* The peer's socket has closed. */
void secure_end_eof(secure_end *e);

/* Configurations, of TLS (NULL: callee and caller) and, to be changed, of sessions (end_config). */
void secure_pair_configure(secure_pair *p, const gr_tlsconf_options *client,
                           const gr_tlsconf_options *server);

/* Two new connections' sides, in the place of those before. */
void secure_pair_join(secure_pair *p);

/* All of the above, and both handshakes, which must succeed. */
void secure_pair_open_up(secure_pair *p);

/* Moves bytes both ways, and ends of streams, until there is nothing to move. */
void secure_pair_pump(secure_pair *p);

/* Frees all and fails the test when anything is left. */
void secure_pair_close(secure_pair *p);

#endif
