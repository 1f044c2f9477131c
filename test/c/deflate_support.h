/* SPDX-License-Identifier: Apache-2.0 */
/* Data of every kind to compress, in pieces, and messages that one zlib stream after the other made. */
#ifndef DEFLATE_SUPPORT_H
#define DEFLATE_SUPPORT_H

#include <zlib.h>

#include "bytes_support.h"
#include "gr_base.h"

/* What the data is like. */
enum { DATA_TERMS, DATA_RANDOM, DATA_ZEROS, DATA_BITS, DATA_MIXED, DATA_KINDS };

void data_fill(uint8_t *data, size_t size, int kind, uint64_t seed);

/* Cuts it into 1 to max pieces of random sizes, empty ones too. Returns how many. */
size_t data_cut(gr_piece *pieces, size_t max, const uint8_t *data, size_t size, uint64_t *prng);

/* Raw deflate of it by zlib itself, appended; flush: Z_FINISH or Z_SYNC_FLUSH, with its tail. */
void data_deflate(test_bytes *out, const uint8_t *data, size_t size, int level, int flush);

/*
 * What zlib by itself makes of a raw stream, at most `most` bytes: *size of them. 1: the stream ends where
 * its input does; 0: it goes on; -1: it is corrupt, or more, or there is input behind it.
 */
int data_inflate(const uint8_t *in, size_t in_size, uint8_t *out, size_t most, size_t *size);

/*
 * Goes on with a stream without an end, of which the sync tail does not travel: whether the message has
 * just that size. z is made by data_inflate_open.
 */
void data_inflate_open(z_stream *z);
int data_inflate_context(z_stream *z, const uint8_t *in, size_t in_size, uint8_t *out, size_t size);

/* GR_SEED of the environment, or that one. */
uint64_t seed_first(uint64_t first);

/* Whether that seed is to run: with GR_SEED only that one is. */
int seed_goes_on(uint64_t seed, uint64_t last);

#endif
