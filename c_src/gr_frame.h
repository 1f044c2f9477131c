/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames after authentication: a head of 16 bytes, fields that its flags announce, content. See
 * docs/PROTOCOL.md.
 */
#ifndef GR_FRAME_H
#define GR_FRAME_H

#include "gr_base.h"

#define GR_FRAME_HEAD 16u
#define GR_FRAME_FIELDS_MAX 12u
#define GR_FRAME_START_MAX (GR_FRAME_HEAD + GR_FRAME_FIELDS_MAX)

/* Largest message; also the largest sum of those that are under way in fragments. */
#define GR_MESSAGE_MAX UINT32_MAX

/* A message up to this travels in one frame. Small enough not to delay another one noticeably. */
#define GR_SMALL_MAX ((size_t)16 * 1024)

/* Content of one fragment at most. */
#define GR_FRAGMENT_MAX ((size_t)64 * 1024)

/* Messages in fragments at the same time, in one direction. */
#define GR_SLOTS 64u

typedef enum {
    GR_FRAME_REQUEST = 1, /* client to server; wants a reply of the same id */
    GR_FRAME_CAST = 2,    /* client to server; id 0 */
    GR_FRAME_REPLY = 3,   /* server to client */
    GR_FRAME_TOOBIG = 4,  /* server to client: the reply was too big; size u64, limit u64 */
    GR_FRAME_PING = 5,    /* either way; id 0, empty */
    GR_FRAME_PONG = 6,
    GR_FRAME_BYE = 7,     /* either way: the sender starts nothing new */
    GR_FRAME_DATA = 8,    /* either way: the next fragment of the message in that slot */
    GR_FRAME_ABORT = 9,   /* either way: the message in that slot will not be completed */
    GR_FRAME_DONE = 10,   /* either way: the message in that slot of the receiver has been used */
    GR_FRAME_WINDOW = 11, /* either way: bytes of that lane that have been used, ever */
    GR_FRAME_CANCEL = 12  /* client to server: nobody waits for the reply of that id */
} gr_frame_type;

enum {
    GR_FLAG_LARGE = 0x01,    /* the first fragment of a message; has its whole size */
    GR_FLAG_END = 0x02,      /* its last one */
    GR_FLAG_TIMED = 0x04,    /* a request with a time limit; has that, and the client's clock */
    GR_FLAG_DEFLATED = 0x08, /* has the size before compression */
    GR_FLAG_CONTEXT = 0x10,  /* compressed with what was sent before on this connection */
    GR_FLAG_ORDERED = 0x20,  /* on the ordered lane */
    GR_FLAG_BROADCAST = 0x40 /* with ORDERED: for a registered process */
};

/* Lanes, as WINDOW names them. */
typedef enum { GR_LANE_SMALL, GR_LANE_LARGE, GR_LANE_ORDERED, GR_LANES } gr_lane;

typedef struct gr_frame {
    gr_frame_type type;
    uint8_t flags;
    uint16_t slot;  /* LARGE, DATA, ABORT, DONE: slot; WINDOW: lane */
    uint32_t size;  /* of the content, bytes */
    uint64_t id;    /* WINDOW: bytes */
    uint32_t left;  /* TIMED: ms until the caller gives up */
    uint32_t stamp; /* TIMED: the client's clock when it was submitted, ms, low 32 bits */
    uint32_t whole; /* LARGE, DEFLATED: size of the message as its receiver gets it */
} gr_frame;

#define GR_TOOBIG_BODY 16u

/* What each message counts for in a window beside its bytes: its receiver keeps more than these. */
#define GR_FRAME_CHARGE 128u

/*
 * Bytes that the frame of a small message counts for in a window: with its size before compression, if
 * that is larger, because that is what its receiver has to hold.
 */
size_t gr_frame_charge(const gr_frame *f);

/* Bytes of the fields that these flags announce. */
size_t gr_frame_fields(uint8_t flags);

/* Writes head and fields; returns how many bytes. */
size_t gr_frame_write(uint8_t out[GR_FRAME_START_MAX], const gr_frame *f);

/*
 * Reads and checks a head that came from a server (or from a client). GR_EPROTO if not allowed.
 * The size of the content is in f then; the fields are read by gr_frame_read_fields.
 */
int gr_frame_read(const uint8_t in[GR_FRAME_HEAD], int from_server, gr_frame *f);
void gr_frame_read_fields(const uint8_t *in, gr_frame *f);

#endif
