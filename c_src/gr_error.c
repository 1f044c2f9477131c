/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the core's result codes; the glue turns them into atoms. */
#include "gr_base.h"

#include <stddef.h>

typedef struct alert {
    int description;
    const char *name;
} alert;

static const alert alerts[] = {
    {0, "close_notify"},
    {10, "unexpected_message"},
    {20, "bad_record_mac"},
    {21, "decryption_failed"},
    {22, "record_overflow"},
    {40, "handshake_failure"},
    {42, "bad_certificate"},
    {43, "unsupported_certificate"},
    {44, "certificate_revoked"},
    {45, "certificate_expired"},
    {46, "certificate_unknown"},
    {47, "illegal_parameter"},
    {48, "unknown_ca"},
    {49, "access_denied"},
    {50, "decode_error"},
    {51, "decrypt_error"},
    {70, "protocol_version"},
    {71, "insufficient_security"},
    {80, "internal_error"},
    {86, "inappropriate_fallback"},
    {90, "user_canceled"},
    {100, "no_renegotiation"},
    {109, "missing_extension"},
    {110, "unsupported_extension"},
    {112, "unrecognized_name"},
    {113, "bad_certificate_status_response"},
    {115, "unknown_psk_identity"},
    {116, "certificate_required"},
    {120, "no_application_protocol"},
};

static const char *alert_name(int description)
{
    for (size_t i = 0; i < sizeof alerts / sizeof alerts[0]; i++)
        if (alerts[i].description == description)
            return alerts[i].name;
    return "unknown_alert";
}

const char *gr_error_name(int rc)
{
    switch (rc) {
    case GR_OK:
        return "ok";
    case GR_NONE:
        return "none";
    case GR_EBUSY:
        return "busy";
    case GR_ETOOBIG:
        return "message_too_big";
    case GR_ECLOSING:
        return "closing";
    case GR_ENOENT:
        return "no_such_call";
    case GR_EEXIST:
        return "duplicate_call";
    case GR_ESTATE:
        return "bad_state";
    case GR_ENOMEM:
        return "enomem";
    case GR_EMAGIC:
        return "not_gen_rpc";
    case GR_EVERSION:
        return "protocol_version";
    case GR_EPROTO:
        return "protocol_error";
    case GR_ECOOKIE:
        return "invalid_cookie";
    case GR_EWRONGNODE:
        return "wrong_node";
    case GR_EAUTHTIME:
        return "authentication_timeout";
    case GR_EKEEPALIVE:
        return "keepalive_timeout";
    case GR_ESENDTIME:
        return "send_timeout";
    case GR_EEOF:
        return "closed";
    case GR_EEOFFRAME:
        return "closed_in_frame";
    case GR_ECRYPTO:
        return "crypto_error";
    case GR_ECLOSETIME:
        return "close_timeout";
    case GR_EREFUSED:
        return "refused";
    case GR_ETLS_NOT_TLS:
        return "not_tls";
    case GR_ETLS_VERSION:
        return "protocol_version";
    case GR_ETLS_CIPHER:
        return "no_shared_cipher";
    case GR_ETLS_NO_CERT:
        return "no_certificate";
    case GR_ETLS_UNKNOWN_CA:
        return "unknown_ca";
    case GR_ETLS_EXPIRED:
        return "certificate_expired";
    case GR_ETLS_FUTURE:
        return "certificate_not_yet_valid";
    case GR_ETLS_REVOKED:
        return "certificate_revoked";
    case GR_ETLS_CRL_EXPIRED:
        return "crl_expired";
    case GR_ETLS_CRL:
        return "crl_invalid";
    case GR_ETLS_BAD_CERT:
        return "certificate_invalid";
    case GR_ETLS_DEPTH:
        return "chain_too_long";
    case GR_ETLS_NAME:
        return "wrong_name";
    case GR_ETLS_NAME_REFUSED:
        return "name_refused";
    case GR_ETLS_RECORD:
        return "bad_record";
    case GR_ETLS_TRUNCATED:
        return "truncated";
    case GR_ETLS_RENEGOTIATION:
        return "renegotiation";
    case GR_ETLS_CLOSED:
        return "closed";
    case GR_ETLS_HANDSHAKE:
        return "handshake_failed";
    default:
        return GR_IS_ALERT(rc) && rc >= GR_ETLS_ALERT_MAX ? alert_name(GR_ETLS_ALERT - rc)
                                                          : "unknown_error";
    }
}
