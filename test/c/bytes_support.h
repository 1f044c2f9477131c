/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that grow, bodies that can be checked without keeping them, and seeded random numbers. */
#ifndef BYTES_SUPPORT_H
#define BYTES_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

/* A queue of bytes. All zero is an empty one. */
typedef struct test_bytes {
    uint8_t *data;
    size_t size;
    size_t room;
} test_bytes;

void bytes_append(test_bytes *b, const void *data, size_t size);

/* Drops the first n. */
void bytes_drop(test_bytes *b, size_t n);
void bytes_free(test_bytes *b);

/* A body of its own for each seed; no two positions near each other look alike. */
uint8_t pattern_at(uint64_t seed, size_t i);
void pattern_fill(uint8_t *data, size_t size, uint64_t seed);
int pattern_matches(const uint8_t *data, size_t size, uint64_t seed);

/* splitmix64: any state is a good one, zero too. */
uint64_t prng_next(uint64_t *state);

/* From 0 to n - 1; n is not 0. */
uint64_t prng_below(uint64_t *state, uint64_t n);

/* From 0 to max; every order of magnitude is as likely as any other. */
size_t prng_size(uint64_t *state, size_t max);

#endif
