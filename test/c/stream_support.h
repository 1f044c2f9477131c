/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of frames as the input of a fuzzer wants it: slots and the context of compression are kept, so that most frames are right unless they are meant not to be.
 */
#ifndef STREAM_SUPPORT_H
#define STREAM_SUPPORT_H

#include <zlib.h>

#include "bytes_support.h"
#include "frames_support.h"
#include "fuzz_support.h"

/* A message that has begun. */
typedef struct sending {
    int open;
    test_bytes body; /* as it travels */
    size_t at;       /* bytes of it that are sent */
} sending;

typedef struct stream {
    fuzz_in *in;
    int to_server;   /* requests and casts, or replies */
    uint64_t now;    /* for stamps, ms */
    test_bytes wire; /* what was written, and not taken by the fuzzer */
    size_t messages; /* written, at most */
    int with_context;
    z_stream context; /* of small messages that refer to those before */
    sending slots[FRAMES_SLOTS];
} stream;

void stream_open(stream *s, fuzz_in *in, int to_server);
void stream_close(stream *s);

/* Appends a frame: a message or a fragment, one without content, any values, any bytes, the last ones again. */
void stream_put(stream *s);

#endif
