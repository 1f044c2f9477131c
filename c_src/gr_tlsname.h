/* SPDX-License-Identifier: Apache-2.0 */
/* Which node a certificate is for. */
#ifndef GR_TLSNAME_H
#define GR_TLSNAME_H

#include "gr_auth.h"
#include "gr_tlscompat.h"

/*
 * Whether a common name or an alternative name (DNS, e-mail or URI) of the certificate is this node
 * name, byte for byte: no wildcards, no ignoring of case.
 */
int gr_tlsname_matches(const mbedtls_x509_crt *crt, gr_str node);

#endif
