/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input of a fuzzer as a programme: decisions are read from it, byte by byte. When there is nothing
 * left all of them are 0. A failed assertion of cmocka ends a fuzzer as a crash does.
 */
#ifndef FUZZ_SUPPORT_H
#define FUZZ_SUPPORT_H

#include "gr_auth.h"
#include "mem_support.h"

typedef struct fuzz_in {
    const uint8_t *data;
    size_t size; /* bytes left */
} fuzz_in;

/* What libFuzzer calls; each fuzzer has its own. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A big-endian integer of so many bytes. */
uint64_t fuzz_int(fuzz_in *in, unsigned bytes);

uint8_t fuzz_byte(fuzz_in *in);

/* From 0 to n - 1, of as many bytes as n needs; n is not 0. */
uint64_t fuzz_below(fuzz_in *in, uint64_t n);

/* From 0 to max; of two bytes, so that small ones are exact and large ones are possible. */
size_t fuzz_size(fuzz_in *in, size_t max);

/* The next n bytes, or as many as there are. */
gr_str fuzz_take(fuzz_in *in, size_t n);

/* Takes one byte: which allocation from now on is to fail, if any. */
void fuzz_fail_alloc(fuzz_in *in, test_mem *mem);

/* Fails unless rc is one of these codes, or GR_ENOMEM when an allocation was made to fail. */
void fuzz_check_code(const test_mem *mem, int rc, const int *allowed, size_t count);

#endif
