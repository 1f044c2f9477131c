/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions that a client may resume, one a server name, shared by all its connections. Thread-safe.
 * What was verified for the session holds for what resumes it, except time: whoever resumes looks at
 * the certificate's dates again.
 */
#ifndef GR_TLSCACHE_H
#define GR_TLSCACHE_H

#include "gr_auth.h"
#include "gr_tlscompat.h"

typedef struct gr_tlscache gr_tlscache;

/* GR_ENOMEM possible. Borrows mem for its life. */
int gr_tlscache_new(gr_tlscache **c, const gr_mem *mem);
void gr_tlscache_free(gr_tlscache *c);

/* Gives a handshake that has not begun the session of that name, if there is one. */
void gr_tlscache_offer(gr_tlscache *c, gr_str name, mbedtls_ssl_context *ssl);

/* Keeps the session of a completed handshake in the place of an earlier one. */
void gr_tlscache_keep(gr_tlscache *c, gr_str name, const mbedtls_ssl_context *ssl);

/* Forgets it. */
void gr_tlscache_drop(gr_tlscache *c, gr_str name);

#endif
