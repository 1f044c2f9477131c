/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates, lists and parameters out of files, with all that can be wrong with them in words.
 * Each function returns GR_OK, GR_ENOMEM, or GR_ESTATE with *err.
 */
#ifndef GR_TLSFILE_H
#define GR_TLSFILE_H

#include "gr_auth.h"
#include "gr_tlscompat.h"

/* What a shorter prime protects can be read by others. */
#define GR_TLSFILE_DH_BITS_MIN 2048u

/* In the order of gen_rpc_port.erl. */
typedef enum {
    GR_TLSOPT_CERTFILE,
    GR_TLSOPT_KEYFILE,
    GR_TLSOPT_PASSWORD,
    GR_TLSOPT_CACERTFILE,
    GR_TLSOPT_DHFILE,
    GR_TLSOPT_CRLFILE,
    GR_TLSOPT_CIPHERS,
    GR_TLSOPT_VERSIONS
} gr_tlsopt;

/*
 * Which option is wrong, and why, in words: what is the matter with the file, or what the value of
 * another option must be.
 */
typedef struct gr_tlsconf_error {
    gr_tlsopt option;
    char why[192];
} gr_tlsconf_error;

/* Fills *err. Returns GR_ESTATE. */
int gr_tlsfile_wrong(gr_tlsconf_error *err, gr_tlsopt option, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The node's own certificate and what lies between it and its CA: all valid, for this role. */
int gr_tlsfile_own(const gr_mem *mem, gr_str file, gr_role role, mbedtls_x509_crt *crt,
                   gr_tlsconf_error *err);

/* CAs. At least one must be valid: a bundle may well hold old ones beside it. */
int gr_tlsfile_ca(const gr_mem *mem, gr_str file, mbedtls_x509_crt *crt, gr_tlsconf_error *err);

/* Revocation lists, all valid. */
int gr_tlsfile_crl(const gr_mem *mem, gr_str file, mbedtls_x509_crl *crl, gr_tlsconf_error *err);

/* Parameters of a Diffie-Hellman group that is large enough. */
int gr_tlsfile_dh(const gr_mem *mem, gr_str file, mbedtls_dhm_context *dh, gr_tlsconf_error *err);

/* The key of that certificate. */
int gr_tlsfile_key(const gr_mem *mem, gr_str file, gr_str password, const mbedtls_x509_crt *crt,
                   mbedtls_pk_context *key, mbedtls_ctr_drbg_context *rng, gr_tlsconf_error *err);

#endif
