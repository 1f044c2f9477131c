/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the files of a TLS configuration. What can hurt: the library takes what it can read of a
 * file and leaves the rest, so each file is asked how many things it says that it has.
 */
#include "gr_tlsfile.h"

#include <mbedtls/oid.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "gr_tlserror.h"
#include "gr_tlskey.h"

/* Likewise for keys; with less, mbedTLS on the other side refuses them. */
#define RSA_BITS_MIN 2048u

#define CRT_BEGIN "-----BEGIN CERTIFICATE-----"
#define CRL_BEGIN "-----BEGIN X509 CRL-----"

int gr_tlsfile_wrong(gr_tlsconf_error *err, gr_tlsopt option, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err->option = option;
    (void)vsnprintf(err->why, sizeof err->why, format, args);
    va_end(args);
    return GR_ESTATE;
}

typedef int (*parser)(void *to, const unsigned char *data, size_t size);

static int parse_crt(void *to, const unsigned char *data, size_t size)
{
    return mbedtls_x509_crt_parse(to, data, size);
}

static int parse_crl(void *to, const unsigned char *data, size_t size)
{
    return mbedtls_x509_crl_parse(to, data, size);
}

static int parse_dh(void *to, const unsigned char *data, size_t size)
{
    return mbedtls_dhm_parse_dhm(to, data, size);
}

/* A positive error of the library says how many things it could not read. what: one of them. */
static int parse(const gr_mem *mem, gr_str file, parser how, void *to, gr_tlsopt option,
                 const char *what, gr_tlsconf_error *err)
{
    size_t size;
    uint8_t *copy = gr_tlskey_copy(mem, file, &size);
    if (!copy)
        return GR_ENOMEM;
    int error = how(to, copy, size);
    gr_tlskey_wipe(mem, copy, size);
    if (gr_tlserror_is_nomem(error))
        return GR_ENOMEM;
    if (error > 0)
        return gr_tlsfile_wrong(err, option, "%d of its %ss cannot be read", error, what);
    if (error < 0)
        return gr_tlsfile_wrong(err, option, "no %s can be read (mbedTLS: -0x%04x)", what,
                                (unsigned)-error);
    return GR_OK;
}

/* None in DER. The library stops without a word at one that is cut off. */
static size_t announced(gr_str file, const char *begin)
{
    size_t count = 0;
    size_t size = strlen(begin);
    for (size_t i = 0; i + size <= file.size; i++)
        count += memcmp(file.data + i, begin, size) == 0;
    return count;
}

static int check_count(gr_str file, const char *begin, size_t found, gr_tlsopt option,
                       const char *what, gr_tlsconf_error *err)
{
    size_t count = announced(file, begin);
    if (found >= count)
        return GR_OK;
    return gr_tlsfile_wrong(err, option, "only %zu of its %zu %ss can be read", found, count, what);
}

/* ---- certificates ---- */

static int read_chain(const gr_mem *mem, gr_str file, gr_tlsopt option, mbedtls_x509_crt *chain,
                      gr_tlsconf_error *err)
{
    int rc = parse(mem, file, parse_crt, chain, option, "certificate", err);
    size_t found = 0;
    for (const mbedtls_x509_crt *crt = chain; crt && rc == GR_OK; crt = crt->next)
        found++;
    return rc == GR_OK ? check_count(file, CRT_BEGIN, found, option, "certificate", err) : rc;
}

static int wrong_date(gr_tlsconf_error *err, gr_tlsopt option, const char *what,
                      const mbedtls_x509_time *t)
{
    return gr_tlsfile_wrong(err, option, "%s %04d-%02d-%02d %02d:%02d:%02d UTC", what, t->year,
                            t->mon, t->day, t->hour, t->min, t->sec);
}

static int check_dates(gr_tlsopt option, const mbedtls_x509_crt *crt, gr_tlsconf_error *err)
{
    if (mbedtls_x509_time_is_past(&crt->valid_to))
        return wrong_date(err, option, "expired on", &crt->valid_to);
    if (mbedtls_x509_time_is_future(&crt->valid_from))
        return wrong_date(err, option, "not valid before", &crt->valid_from);
    return GR_OK;
}

/* What every peer would refuse, and each would say it differently. */
static int check_use(const mbedtls_x509_crt *crt, gr_role role, gr_tlsconf_error *err)
{
    const char *use = role == GR_CLIENT ? MBEDTLS_OID_CLIENT_AUTH : MBEDTLS_OID_SERVER_AUTH;
    size_t size = MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH); /* of both */
    if (mbedtls_x509_crt_check_key_usage(crt, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) != 0)
        return gr_tlsfile_wrong(err, GR_TLSOPT_CERTFILE, "its key usage has no digitalSignature");
    if (mbedtls_x509_crt_check_extended_key_usage(crt, use, size) != 0)
        return gr_tlsfile_wrong(err, GR_TLSOPT_CERTFILE, "its extended key usage has no %s",
                                role == GR_CLIENT ? "clientAuth" : "serverAuth");
    size_t bits = mbedtls_pk_get_bitlen(&crt->pk);
    if (mbedtls_pk_can_do(&crt->pk, MBEDTLS_PK_RSA) && bits < RSA_BITS_MIN)
        return gr_tlsfile_wrong(err, GR_TLSOPT_CERTFILE, "its RSA key has %zu bits, %u are needed",
                                bits, RSA_BITS_MIN);
    return GR_OK;
}

int gr_tlsfile_own(const gr_mem *mem, gr_str file, gr_role role, mbedtls_x509_crt *crt,
                   gr_tlsconf_error *err)
{
    int rc = read_chain(mem, file, GR_TLSOPT_CERTFILE, crt, err);
    for (const mbedtls_x509_crt *each = crt; each && rc == GR_OK; each = each->next)
        rc = check_dates(GR_TLSOPT_CERTFILE, each, err);
    return rc == GR_OK ? check_use(crt, role, err) : rc;
}

int gr_tlsfile_ca(const gr_mem *mem, gr_str file, mbedtls_x509_crt *crt, gr_tlsconf_error *err)
{
    int rc = read_chain(mem, file, GR_TLSOPT_CACERTFILE, crt, err);
    if (rc != GR_OK)
        return rc;
    rc = GR_ESTATE;
    for (const mbedtls_x509_crt *each = crt; each && rc != GR_OK; each = each->next)
        rc = check_dates(GR_TLSOPT_CACERTFILE, each, err);
    return rc;
}

/* ---- the other files ---- */

int gr_tlsfile_crl(const gr_mem *mem, gr_str file, mbedtls_x509_crl *crl, gr_tlsconf_error *err)
{
    size_t found = 0;
    int rc = parse(mem, file, parse_crl, crl, GR_TLSOPT_CRLFILE, "revocation list", err);
    for (const mbedtls_x509_crl *each = crl; each && rc == GR_OK; each = each->next) {
        found++;
        if (!each->next_update.year)
            rc =
                gr_tlsfile_wrong(err, GR_TLSOPT_CRLFILE, "it does not say when the next one comes");
        else if (mbedtls_x509_time_is_past(&each->next_update))
            rc = wrong_date(err, GR_TLSOPT_CRLFILE, "expired on", &each->next_update);
    }
    if (rc != GR_OK)
        return rc;
    return check_count(file, CRL_BEGIN, found, GR_TLSOPT_CRLFILE, "revocation list", err);
}

int gr_tlsfile_dh(const gr_mem *mem, gr_str file, mbedtls_dhm_context *dh, gr_tlsconf_error *err)
{
    int rc = parse(mem, file, parse_dh, dh, GR_TLSOPT_DHFILE, "group", err);
    if (rc != GR_OK)
        return rc;
    size_t bits = gr_mbedtls_dh_bits(dh);
    if (bits < GR_TLSFILE_DH_BITS_MIN)
        return gr_tlsfile_wrong(err, GR_TLSOPT_DHFILE, "its prime has %zu bits, %u are needed",
                                bits, GR_TLSFILE_DH_BITS_MIN);
    return GR_OK;
}

static int wrong_key(int error, int has_password, gr_tlsconf_error *err)
{
    switch (error) {
    case MBEDTLS_ERR_PK_PASSWORD_REQUIRED:
        return gr_tlsfile_wrong(err, GR_TLSOPT_KEYFILE,
                                "it is encrypted: the option password is needed");
    case MBEDTLS_ERR_PK_PASSWORD_MISMATCH:
        return gr_tlsfile_wrong(err, GR_TLSOPT_PASSWORD, "the one that opens the key");
    case MBEDTLS_ERR_PK_UNKNOWN_PK_ALG:
        return gr_tlsfile_wrong(err, GR_TLSOPT_KEYFILE,
                                "neither an RSA key nor one of an elliptic curve");
    default:
        return gr_tlsfile_wrong(err, GR_TLSOPT_KEYFILE, "no%s key can be read (mbedTLS: -0x%04x)",
                                has_password ? " encrypted" : "", (unsigned)-error);
    }
}

int gr_tlsfile_key(const gr_mem *mem, gr_str file, gr_str password, const mbedtls_x509_crt *crt,
                   mbedtls_pk_context *key, mbedtls_ctr_drbg_context *rng, gr_tlsconf_error *err)
{
    int error = gr_tlskey_parse(key, mem, file, password, rng);
    if (gr_tlserror_is_nomem(error))
        return GR_ENOMEM;
    if (error != 0)
        return wrong_key(error, password.size != 0, err);
    error = gr_mbedtls_check_pair(&crt->pk, key, rng);
    if (gr_tlserror_is_nomem(error))
        return GR_ENOMEM;
    if (error != 0)
        return gr_tlsfile_wrong(err, GR_TLSOPT_KEYFILE,
                                "it is not the key of the certificate in certfile");
    return GR_OK;
}
