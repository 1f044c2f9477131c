/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLS side of a connection: between its socket and its session. What is computed in a callback
 * is a record or two; a handshake is not computed in a callback at all.
 */
#ifndef DRV_TLSIO_H
#define DRV_TLSIO_H

#include "drv_conn_impl.h"

/* Begins the handshake of a connected socket. 0, or a code of the core. */
int drv_tlsio_begin(drv_conn *c, gr_str target, gr_str sni);

/* Events while it is going on; it ends in drv_conn_open or drv_conn_fail. */
void drv_tlsio_readable(drv_conn *c);
void drv_tlsio_writable(drv_conn *c);
void drv_tlsio_continue(drv_conn *c);

/* Gives the session up: to the thread that has it, or at once. */
void drv_tlsio_free(drv_conn *c);

/* Reads ciphertext from the socket. */
void drv_tlsio_fill(drv_conn *c);

/*
 * Opens records into the session until *budget is spent, or a large one is open. GR_OK: there may be more.
 * GR_NONE: not now.
 */
int drv_tlsio_open(drv_conn *c, size_t *budget);

/* Seals output of the session and writes it. 0, or the errno; EAGAIN is none. */
int drv_tlsio_write(drv_conn *c);

/*
 * Before the socket is closed from this side: says so, and writes what it takes at once. refusal:
 * the session's output is its last message, and goes first.
 */
void drv_tlsio_last_words(drv_conn *c, int refusal);

#endif
