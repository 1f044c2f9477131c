/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every part of the core shares: error codes, the allocator, blobs.
 * The core performs no I/O, reads no clock and holds no global state.
 */
#ifndef GR_BASE_H
#define GR_BASE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Results. Zero is success. Codes above GR_FATAL leave the session usable; after one at or below
 * it only gr_session_free, gr_session_take, gr_session_cancel and the getters are legal.
 */
enum {
    GR_OK = 0,
    GR_NONE = -1,    /* nothing to report now; more input or time is needed */
    GR_EBUSY = -2,   /* output over its limit; the submitter was noted and will be told */
    GR_ETOOBIG = -3, /* message over the limit of this side or of the peer */
    GR_ECLOSING = -4,
    GR_ENOENT = -5, /* no call of that id is open */
    GR_EEXIST = -6, /* a call of that id is open already */
    GR_ESTATE = -7, /* not legal in this state or for this role */

    GR_FATAL = -100,
    GR_ENOMEM = -100,
    GR_EMAGIC = -101,     /* the peer does not speak this protocol */
    GR_EVERSION = -102,   /* no common protocol version */
    GR_EPROTO = -103,     /* bytes that the protocol does not allow */
    GR_ECOOKIE = -104,    /* the peer does not prove our cookie, or we do not prove its */
    GR_EWRONGNODE = -105, /* the node reached is not the node meant */
    GR_EAUTHTIME = -106,  /* handshake not complete within its time */
    GR_EKEEPALIVE = -107, /* no byte from the peer, not even an answer to a ping */
    GR_ESENDTIME = -108,  /* output queued, and the peer took none for send_timeout */
    GR_EEOF = -109,       /* the peer closed without saying goodbye */
    GR_EEOFFRAME = -110,  /* the peer closed in the middle of a frame */
    GR_ECRYPTO = -111,    /* the crypto library failed */
    GR_ECLOSETIME = -112, /* graceful close not complete within its time */
    GR_EREFUSED = -113,   /* the peer refused the handshake for a reason unknown to us */

    /* TLS: what this side found. */
    GR_ETLS = -200,
    GR_ETLS_NOT_TLS = -200,
    GR_ETLS_VERSION = -201,       /* no common version of TLS */
    GR_ETLS_CIPHER = -202,        /* no common suite */
    GR_ETLS_NO_CERT = -203,       /* the peer has none */
    GR_ETLS_UNKNOWN_CA = -204,    /* its certificate is of no CA of ours */
    GR_ETLS_EXPIRED = -205,       /* it, or one above it */
    GR_ETLS_FUTURE = -206,        /* not valid yet */
    GR_ETLS_REVOKED = -207,       /* by a CRL */
    GR_ETLS_CRL_EXPIRED = -208,   /* the CRL itself is too old */
    GR_ETLS_CRL = -209,           /* the CRL is not signed as it must be */
    GR_ETLS_BAD_CERT = -210,      /* weak, for another use, or malformed */
    GR_ETLS_DEPTH = -211,         /* too many certificates between it and the CA */
    GR_ETLS_NAME = -212,          /* it is not for the node that the peer is, or says it is */
    GR_ETLS_NAME_REFUSED = -213,  /* the peer found that of ours */
    GR_ETLS_RECORD = -214,        /* a record that nobody can have sent who has the keys */
    GR_ETLS_TRUNCATED = -215,     /* closed without a close_notify */
    GR_ETLS_RENEGOTIATION = -216, /* the peer wanted it */
    GR_ETLS_CLOSED = -217,        /* closed in the handshake */
    GR_ETLS_HANDSHAKE = -218,     /* failed for any other reason */

    /* The peer's alert of description d is GR_ETLS_ALERT - d. */
    GR_ETLS_ALERT = -1000,
    GR_ETLS_ALERT_MAX = -1255
};

#define GR_IS_FATAL(rc) ((rc) <= GR_FATAL)
#define GR_IS_TLS(rc) ((rc) <= GR_ETLS)
#define GR_IS_ALERT(rc) ((rc) <= GR_ETLS_ALERT)

/*
 * Returns the name of a code as a static lower-case identifier ("invalid_cookie"); that of an alert
 * is its name in RFC 8446.
 */
const char *gr_error_name(int rc);

/* Memory. Every allocation of the core goes through one of these, so tests can make any fail. */
typedef struct gr_mem {
    void *(*alloc)(void *ctx, size_t size);
    void *(*realloc)(void *ctx, void *ptr, size_t size);
    void (*free)(void *ctx, void *ptr); /* accepts NULL */
    void *ctx;
} gr_mem;

/* A counted block that can outlive the call: an Erlang binary in the driver. */
typedef struct gr_blob {
    void *owner; /* what the count belongs to; NULL: no blob */
    uint8_t *data;
    size_t size;
} gr_blob;

typedef struct gr_blob_ops {
    int (*create)(void *ctx, size_t size, gr_blob *out); /* returns a reference, or GR_ENOMEM */
    void (*ref)(void *ctx, void *owner);
    void (*unref)(void *ctx, void *owner);
    void *ctx;
} gr_blob_ops;

/* One piece of a message to submit. Borrowed; with an owner, the core may take a reference. */
typedef struct gr_piece {
    const uint8_t *data;
    size_t size;
    void *owner; /* NULL: the bytes live only until the call returns */
} gr_piece;

/* A stretch of memory to read into or write from. */
typedef struct gr_iov {
    uint8_t *data;
    size_t size;
} gr_iov;

#define GR_FOREVER UINT64_MAX

static inline void *gr_alloc(const gr_mem *m, size_t size)
{
    return m->alloc(m->ctx, size);
}

static inline void gr_free(const gr_mem *m, void *ptr)
{
    m->free(m->ctx, ptr);
}

#endif
