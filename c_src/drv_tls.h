/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS in the driver: configurations, each held by a port and known to connections by its number,
 * and handshakes on the threads of the pool.
 */
#ifndef DRV_TLS_H
#define DRV_TLS_H

#include "drv_port.h"
#include "gr_tls.h"

/* In the driver's init and finish. */
int drv_tls_init(void);
void drv_tls_finish(void);

/* The command: loads a configuration, which belongs to the port. The result has its number. */
ErlDrvSSizeT drv_tls_load(drv_port *p, const char *buf, size_t size, drv_result *r);
void drv_tls_unload(drv_tlsconf *conf);

/* Returns a reference to the configuration of that number, or NULL if there is none for the role. */
gr_tlsconf *drv_tls_find(uint64_t number, gr_role role);

/* One step of a handshake that is or was on a thread of the pool. */
typedef struct drv_handshake drv_handshake;

/*
 * Where there are more steps than the processor can do, these come first: those of our own connections
 * to others; then those for addresses from where fewest are in their handshake; of these the ones that
 * we have answered before, in turn; and of the others the newest, since the oldest will soon be given up.
 */
typedef struct drv_turn {
    uint32_t crowd; /* in their handshake from that address, this one included; 0: our own */
    int answered;   /* we have done something for it before */
} drv_turn;

/*
 * Moves a session to the pool, which goes on with its handshake and then sends the port's owner
 * {Port, flush}. NULL: it could not, and the session is still the caller's.
 */
drv_handshake *drv_handshake_begin(ErlDrvTermData port, gr_tls *tls, drv_turn turn);

/* Whether it is over: the session is the caller's again, and *rc is how it went. */
int drv_handshake_end(drv_handshake *h, gr_tls **tls, int *rc);

/* Nobody waits for it any more: it is freed with its session, now or by its thread. */
void drv_handshake_abandon(drv_handshake *h);

#endif
