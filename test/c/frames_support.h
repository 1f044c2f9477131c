/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames as another implementation would read and write them: made from the protocol's description,
 * with nothing of c_src. Reading fails the test when the stream breaks a rule of the protocol.
 */
#ifndef FRAMES_SUPPORT_H
#define FRAMES_SUPPORT_H

#include "bytes_support.h"

enum {
    FT_REQUEST = 1,
    FT_CAST,
    FT_REPLY,
    FT_TOOBIG,
    FT_PING,
    FT_PONG,
    FT_BYE,
    FT_DATA,
    FT_ABORT,
    FT_DONE,
    FT_WINDOW,
    FT_CANCEL
};

enum {
    FF_LARGE = 0x01,
    FF_END = 0x02,
    FF_TIMED = 0x04,
    FF_DEFLATED = 0x08,
    FF_CONTEXT = 0x10,
    FF_ORDERED = 0x20,
    FF_BROADCAST = 0x40
};

#define FRAMES_SLOTS 64u
#define FRAMES_SMALL_MAX ((size_t)16 * 1024)

/* One frame. To write one, data can be NULL if there is no content. */
typedef struct frame_seen {
    unsigned type;
    unsigned flags;
    unsigned slot;
    uint32_t size; /* of the content, bytes */
    uint64_t id;
    uint32_t left;
    uint32_t stamp;
    uint32_t whole;
    const uint8_t *data;
    size_t wire; /* bytes of all of it; set by reading */
} frame_seen;

/* A message that is complete: decompressed, if it was not for a context. */
typedef struct frames_message {
    frame_seen first;
    test_bytes body;
} frames_message;

typedef struct frames_slot {
    int open;
    frame_seen first;
    test_bytes body;
} frames_slot;

/* A stream of frames as it goes on. All zero is a new one. */
typedef struct frames_log {
    test_bytes in;      /* not a whole frame yet */
    frame_seen *frames; /* all frames, without their content */
    size_t count;
    size_t room;
    frames_message *messages; /* those that are complete */
    size_t messages_count;
    size_t messages_room;
    frames_slot slots[FRAMES_SLOTS];
    size_t open;        /* slots that are open */
    uint64_t fragments; /* bytes of fragments, ever */
    uint64_t bytes;     /* of everything, ever */
} frames_log;

/* Whether the protocol allows a head of 16 bytes to come from a server, or from a client. */
int frames_head_allowed(const uint8_t *head, int from_server);

/* Appends a frame. */
void frames_put(test_bytes *out, const frame_seen *f);

/* Reads the frame at *at and moves *at behind it; 0 if it is not complete. */
int frames_get(const test_bytes *in, size_t *at, frame_seen *f);

/* Takes more of the stream. */
void frames_feed(frames_log *l, const void *data, size_t size);

/* Forgets the frames and messages, not the state of the stream. */
void frames_forget(frames_log *l);
void frames_free(frames_log *l);

/* Where the first frame of that type and id is, from there on; l->count if there is none. */
size_t frames_find(const frames_log *l, size_t from, unsigned type, uint64_t id);

/* Bodies that say themselves which they are, for those that have no id. */
void body_fill(uint8_t *data, size_t size, uint64_t seed);

/* The seed of such a body; fails the test if a byte of it is wrong. */
uint64_t body_seed(const uint8_t *data, size_t size);

/* Raw deflate, as zlib's own documentation says; appended to *out. */
void deflate_all(test_bytes *out, const uint8_t *data, size_t size, int level);

#endif
