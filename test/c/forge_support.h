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

/* A frame's header, and a whole frame with the pattern of its id. */
void forge_frame_head(test_bytes *out, uint8_t type, uint64_t id, uint32_t size);
void forge_frame(test_bytes *out, uint8_t type, uint64_t id, uint32_t size);

#endif
