/* SPDX-License-Identifier: Apache-2.0 */
/* What the errors of mbedTLS mean as codes of ours. */
#ifndef GR_TLSERROR_H
#define GR_TLSERROR_H

#include "gr_base.h"
#include "gr_tlscompat.h"

/* Whether an error of the library says that there was no memory. */
int gr_tlserror_is_nomem(int error);

/* The code of what is wrong with a certificate, by the flags of its verification (not 0). */
int gr_tlserror_of_flags(uint32_t flags);

/* The code of an error in the handshake, and of one behind it. */
int gr_tlserror_of_handshake(const mbedtls_ssl_context *ssl, int error, uint32_t flags);
int gr_tlserror_of_record(const mbedtls_ssl_context *ssl, int error);

#endif
