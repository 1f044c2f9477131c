/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages made by hand, from the protocol's description and not with the core's own code: for
 * peers that are hostile, of a later version, or merely someone else's.
 */
#ifndef FORGE_SUPPORT_H
#define FORGE_SUPPORT_H

#include "bytes_support.h"

#define FORGE_CLIENT_HELLO 1
#define FORGE_SERVER_HELLO 2
#define FORGE_PROOF 3
#define FORGE_RESULT 4

#define FORGE_HEAD 8u

typedef struct forge_hello {
    uint8_t version;
    uint32_t features;
    uint64_t max_message;
    const char *name;   /* NULL: none, as in a server's */
    const char *target; /* likewise */
    size_t extra;       /* bytes behind what version 1 knows */
} forge_hello;

void forge_head(test_bytes *out, uint8_t version, uint8_t kind, size_t body_size);
void forge_hello_put(test_bytes *out, uint8_t kind, const forge_hello *h);

/* 32 bytes: the proof of the role over the messages so far. */
void forge_mac(uint8_t out[32], const char *role, const char *cookie, const test_bytes *seen);

/* A client's proof, and a server's good result, over the messages so far. */
void forge_proof(test_bytes *out, const char *cookie, const test_bytes *seen);
void forge_result(test_bytes *out, const char *cookie, const char *name, const test_bytes *seen);

#define FORGE_LARGE 0x01
#define FORGE_END 0x02
#define FORGE_TIMED 0x04
#define FORGE_DEFLATED 0x08
#define FORGE_CONTEXT 0x10
#define FORGE_ORDERED 0x20
#define FORGE_BROADCAST 0x40

/* The largest message in one frame, and the largest content of a fragment. */
#define FORGE_SMALL 16384u
#define FORGE_FRAGMENT 65536u

/* All that a frame can say before its content; what its flags do not announce is not written. */
typedef struct forge_start {
    uint8_t type;
    uint8_t flags;
    uint16_t slot;
    uint64_t id;
    uint32_t left;
    uint32_t stamp;
    uint32_t whole;
} forge_start;

/* Head and fields of a frame with content of that size. */
void forge_start_put(test_bytes *out, const forge_start *f, uint32_t size);

/* A head without flags and slot, and a whole frame with the pattern of its id. */
void forge_frame_head(test_bytes *out, uint8_t type, uint64_t id, uint32_t size);
void forge_frame(test_bytes *out, uint8_t type, uint64_t id, uint32_t size);

/*
 * The next fragment, of that many bytes, of a message with the pattern of its id; at: how many are behind
 * it already. f is its first frame: whole, id and slot count.
 */
void forge_fragment(test_bytes *out, const forge_start *f, uint32_t at, uint32_t size);

/* A message of any size: in one frame if it is small, else in fragments in slot 0. */
void forge_message(test_bytes *out, uint8_t type, uint64_t id, uint32_t size);

#endif
