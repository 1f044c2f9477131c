/* SPDX-License-Identifier: Apache-2.0 */
/* Private keys out of files, PEM or DER, encrypted or not. */
#ifndef GR_TLSKEY_H
#define GR_TLSKEY_H

#include "gr_auth.h"
#include "gr_tlscompat.h"

/*
 * Fills pk. Borrows the rest. Returns 0 or an error of the library: MBEDTLS_ERR_PK_PASSWORD_REQUIRED
 * and MBEDTLS_ERR_PK_PASSWORD_MISMATCH are told apart from a key that cannot be read at all.
 */
int gr_tlskey_parse(mbedtls_pk_context *pk, const gr_mem *mem, gr_str key, gr_str password,
                    mbedtls_ctr_drbg_context *rng);

/*
 * A copy with a zero behind it, as the parsers of the library want PEM; for DER *size is that
 * without the zero. NULL when out of memory. Free it by gr_tlskey_wipe.
 */
uint8_t *gr_tlskey_copy(const gr_mem *mem, gr_str s, size_t *size);
void gr_tlskey_wipe(const gr_mem *mem, uint8_t *copy, size_t size);

#endif
