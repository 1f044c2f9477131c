/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the core's result codes; the glue turns them into atoms. */
#include "gr_base.h"

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
    default:
        return "unknown_error";
    }
}
