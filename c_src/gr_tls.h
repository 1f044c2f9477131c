/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS for one connection, over memory: ciphertext in and out, plaintext out and in. No sockets. It
 * may move from thread to thread, but only one may use it at a time.
 *
 *   input:     gr_tls_space, read, gr_tls_filled; then gr_tls_handshake or gr_tls_read
 *   output:    gr_tls_handshake or gr_tls_write; then gr_tls_peek, write, gr_tls_consume
 */
#ifndef GR_TLS_H
#define GR_TLS_H

#include "gr_tlsconf.h"

/* Plaintext of one record, bytes. */
#define GR_TLS_RECORD ((size_t)16 * 1024)

typedef struct gr_tls gr_tls;

typedef struct gr_tls_info {
    int version;       /* 12 or 13 */
    const char *suite; /* as IANA calls it; static */
    int resumed;       /* whether the handshake was a short one */
} gr_tls_info;

/*
 * Makes a session before its handshake, of the role of its configuration. Takes a reference to it,
 * borrows the vtables for its life. peer: the node meant, of a client; sni: the server name to send,
 * empty for none. Both are copied. GR_ENOMEM possible.
 */
int gr_tls_new(gr_tls **t, const gr_mem *mem, const gr_blob_ops *blobs, gr_tlsconf *conf,
               gr_str peer, gr_str sni);
void gr_tls_free(gr_tls *t); /* accepts NULL */

/* Where to put ciphertext; with room for two records if all before has been used. */
int gr_tls_space(gr_tls *t, gr_iov *v);
void gr_tls_filled(gr_tls *t, size_t n);

/* No more ciphertext will come. */
void gr_tls_eof(gr_tls *t);

/* Whether gr_tls_handshake or gr_tls_read can go on: a whole record, what can't be one, or the end. */
int gr_tls_has_record(const gr_tls *t);

/*
 * Goes on with the handshake as far as the input lets it; milliseconds of computing. GR_OK: done.
 * GR_NONE: more input is needed. Fatal: failed; an alert for the peer may be in the output.
 */
int gr_tls_handshake(gr_tls *t);

/*
 * After the handshake: plaintext of at most one record. GR_OK: *got is at least 1. GR_NONE: more
 * input is needed. GR_EEOF: the peer has closed, and said so. Fatal otherwise.
 */
int gr_tls_read(gr_tls *t, uint8_t *buf, size_t size, size_t *got);

/* Puts at most one record of these bytes into the output. *taken: how many bytes, all if they fit. */
int gr_tls_write(gr_tls *t, const gr_iov *iov, size_t count, size_t *taken);

/* Says that nothing more will come from here. */
void gr_tls_close(gr_tls *t);

/* Ciphertext to be written. */
size_t gr_tls_output(const gr_tls *t);
size_t gr_tls_peek(const gr_tls *t, gr_iov *iov, size_t max);
void gr_tls_consume(gr_tls *t, size_t n);

/* Gives back empty buffers. */
void gr_tls_trim(gr_tls *t);

/* What both sides know to be the server: the SHA-256 of its certificate. GR_ETLS_NO_CERT possible. */
int gr_tls_binding(const gr_tls *t, uint8_t out[32]);

/* Whether the peer's certificate is for that node, or certificates are not looked at. */
int gr_tls_is_for(const gr_tls *t, gr_str node);

void gr_tls_info_get(const gr_tls *t, gr_tls_info *out);

#endif
