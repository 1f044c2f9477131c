/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes, patterns and random numbers for the tests. Memory here is not under test: it aborts. */
#include "bytes_support.h"

#include <stdlib.h>
#include <string.h>

void bytes_append(test_bytes *b, const void *data, size_t size)
{
    if (b->size + size > b->room) {
        b->room = (b->size + size) * 2;
        b->data = realloc(b->data, b->room);
        if (!b->data)
            abort();
    }
    if (size)
        memcpy(b->data + b->size, data, size);
    b->size += size;
}

void bytes_drop(test_bytes *b, size_t n)
{
    if (n > b->size)
        abort();
    b->size -= n;
    if (b->size)
        memmove(b->data, b->data + n, b->size);
}

void bytes_free(test_bytes *b)
{
    free(b->data);
    memset(b, 0, sizeof *b);
}

uint8_t pattern_at(uint64_t seed, size_t i)
{
    return (uint8_t)(seed * 29 + i * 131 + (i >> 8) * 17 + (i >> 16) * 5);
}

void pattern_fill(uint8_t *data, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++)
        data[i] = pattern_at(seed, i);
}

int pattern_matches(const uint8_t *data, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++)
        if (data[i] != pattern_at(seed, i))
            return 0;
    return 1;
}

uint64_t prng_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

uint64_t prng_below(uint64_t *state, uint64_t n)
{
    return prng_next(state) % n;
}

size_t prng_size(uint64_t *state, size_t max)
{
    unsigned bits = 0;
    while (bits < 63 && max >> bits)
        bits++;
    uint64_t cap = UINT64_C(1) << prng_below(state, bits + 1);
    size_t n = (size_t)prng_below(state, cap);
    return n < max ? n : max;
}
