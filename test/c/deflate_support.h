/* SPDX-License-Identifier: Apache-2.0 */
/* Data of every kind to compress, in pieces, and messages that one zlib stream after the other made. */
#ifndef DEFLATE_SUPPORT_H
#define DEFLATE_SUPPORT_H

#include "bytes_support.h"
#include "gr_base.h"

/* What the data is like. */
enum { DATA_TERMS, DATA_RANDOM, DATA_ZEROS, DATA_BITS, DATA_MIXED, DATA_KINDS };

void data_fill(uint8_t *data, size_t size, int kind, uint64_t seed);

/* Cuts it into 1 to max pieces of random sizes, empty ones too. Returns how many. */
size_t data_cut(gr_piece *pieces, size_t max, const uint8_t *data, size_t size, uint64_t *prng);

/* Raw deflate of it by zlib itself, appended; flush: Z_FINISH or Z_SYNC_FLUSH, with its tail. */
void data_deflate(test_bytes *out, const uint8_t *data, size_t size, int level, int flush);

/* GR_SEED of the environment, or that one. */
uint64_t seed_first(uint64_t first);

/* Whether that seed is to run: with GR_SEED only that one is. */
int seed_goes_on(uint64_t seed, uint64_t last);

#endif
