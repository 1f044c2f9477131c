/* SPDX-License-Identifier: Apache-2.0 */
/* Frames after authentication: a header of 16 bytes, then the body. See docs/PROTOCOL.md. */
#ifndef GR_FRAME_H
#define GR_FRAME_H

#include "gr_base.h"

#define GR_FRAME_HEAD 16u
#define GR_FRAME_BODY_MAX UINT32_MAX

typedef enum {
    GR_FRAME_REQUEST = 1, /* client to server; wants a reply of the same id */
    GR_FRAME_CAST = 2,    /* client to server; id 0 */
    GR_FRAME_REPLY = 3,   /* server to client */
    GR_FRAME_TOOBIG = 4,  /* server to client: the reply was too big; body: size u64, limit u64 */
    GR_FRAME_PING = 5,    /* either way; id 0, empty */
    GR_FRAME_PONG = 6,
    GR_FRAME_BYE = 7 /* either way: the sender starts nothing new */
} gr_frame_type;

typedef struct gr_frame {
    gr_frame_type type;
    uint32_t size; /* of the body, bytes */
    uint64_t id;
} gr_frame;

#define GR_TOOBIG_BODY 16u

void gr_frame_write(uint8_t out[GR_FRAME_HEAD], const gr_frame *f);

/* Reads and checks a header that came from a server (or from a client). GR_EPROTO if not allowed. */
int gr_frame_read(const uint8_t in[GR_FRAME_HEAD], int from_server, gr_frame *f);

#endif
