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
    GR_EREFUSED = -113    /* the peer refused the handshake for a reason unknown to us */
};

#define GR_IS_FATAL(rc) ((rc) <= GR_FATAL)

/* Returns the name of a code as a static lower-case identifier ("invalid_cookie"). */
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
