/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names in certificates. A node name has an @, which only an e-mail address may have among the
 * alternative names; that of a DNS name or a URI is taken, too, because CAs differ.
 */
#include "gr_tlsname.h"

#include <mbedtls/oid.h>
#include <string.h>

/* GeneralName: the number of the choice, in a context-specific tag. */
#define CHOICE_EMAIL 1
#define CHOICE_DNS 2
#define CHOICE_URI 6

static int equal(const mbedtls_asn1_buf *b, gr_str node)
{
    return b->len == node.size && memcmp(b->p, node.data, node.size) == 0;
}

static int in_common_names(const mbedtls_x509_crt *crt, gr_str node)
{
    for (const mbedtls_x509_name *n = &crt->subject; n; n = n->next)
        if (n->oid.p && MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &n->oid) == 0 && equal(&n->val, node))
            return 1;
    return 0;
}

static int is_text(const mbedtls_asn1_buf *b)
{
    int choice = b->tag & MBEDTLS_ASN1_TAG_VALUE_MASK;
    return choice == CHOICE_EMAIL || choice == CHOICE_DNS || choice == CHOICE_URI;
}

static int in_alternative_names(const mbedtls_x509_crt *crt, gr_str node)
{
    for (const mbedtls_x509_sequence *n = &crt->subject_alt_names; n; n = n->next)
        if (n->buf.p && is_text(&n->buf) && equal(&n->buf, node))
            return 1;
    return 0;
}

int gr_tlsname_matches(const mbedtls_x509_crt *crt, gr_str node)
{
    return in_common_names(crt, node) || in_alternative_names(crt, node);
}
