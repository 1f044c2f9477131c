/* SPDX-License-Identifier: Apache-2.0 */
/* Data to compress. */
#include "deflate_support.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static void fill_terms(uint8_t *data, size_t size, uint64_t *prng)
{
    static const char *const words[] = {"gen_rpc", "call",    "undefined", "node@10.0.0.1",
                                        "user",    "order",   "updated",   "status",
                                        "active",  "\203h\3", "m\0\0\0\5", "a\1"};
    size_t i = 0;
    while (i < size) {
        const char *w = words[prng_below(prng, sizeof words / sizeof *words)];
        while (*w && i < size)
            data[i++] = (uint8_t)*w++;
        if (i < size)
            data[i++] = (uint8_t)prng_next(prng);
    }
}

static void fill_random(uint8_t *data, size_t size, unsigned values, uint64_t *prng)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)prng_below(prng, values);
}

void data_fill(uint8_t *data, size_t size, int kind, uint64_t seed)
{
    uint64_t prng = seed;
    switch (kind) {
    case DATA_TERMS:
        fill_terms(data, size, &prng);
        break;
    case DATA_RANDOM:
        fill_random(data, size, 256, &prng);
        break;
    case DATA_ZEROS:
        fill_random(data, size, 1, &prng);
        break;
    case DATA_BITS:
        fill_random(data, size, 2, &prng);
        break;
    default:
        for (size_t i = 0; i < size;) {
            size_t n = 1 + prng_size(&prng, 300000);
            if (n > size - i)
                n = size - i;
            data_fill(data + i, n, (int)prng_below(&prng, DATA_MIXED), prng_next(&prng));
            i += n;
        }
    }
}

size_t data_cut(gr_piece *pieces, size_t max, const uint8_t *data, size_t size, uint64_t *prng)
{
    size_t count = 1 + (size_t)prng_below(prng, max);
    for (size_t i = 0; i < count; i++) {
        size_t n = i + 1 < count ? prng_size(prng, size) : size;
        pieces[i] = (gr_piece){n ? data : NULL, n, NULL};
        data += n;
        size -= n;
    }
    return count;
}

void data_deflate(test_bytes *out, const uint8_t *data, size_t size, int level, int flush)
{
    static uint8_t room[64 * 1024];
    z_stream z = {0};
    if (deflateInit2(&z, level, Z_DEFLATED, -14, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort();
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)size;
    do {
        z.next_out = room;
        z.avail_out = sizeof room;
        deflate(&z, flush);
        bytes_append(out, room, sizeof room - z.avail_out);
    } while (!z.avail_out);
    deflateEnd(&z);
}

void data_inflate_open(z_stream *z)
{
    memset(z, 0, sizeof *z);
    if (inflateInit2(z, -14) != Z_OK)
        abort();
}

int data_inflate(const uint8_t *in, size_t in_size, uint8_t *out, size_t most, size_t *size)
{
    z_stream z;
    data_inflate_open(&z);
    z.next_in = (Bytef *)(uintptr_t)in;
    z.avail_in = (uInt)in_size;
    z.next_out = out;
    z.avail_out = (uInt)most;
    int rc = in_size ? inflate(&z, Z_SYNC_FLUSH) : Z_OK;
    *size = most - z.avail_out;
    uInt left = z.avail_in;
    uint8_t beyond;
    if (rc == Z_OK && !z.avail_out) {
        z.next_out = &beyond;
        z.avail_out = 1;
        rc = inflate(&z, Z_SYNC_FLUSH);
        left = z.avail_in;
        if (!z.avail_out)
            rc = Z_DATA_ERROR;
    }
    inflateEnd(&z);
    if (rc == Z_STREAM_END)
        return left ? -1 : 1;
    return rc == Z_OK || rc == Z_BUF_ERROR ? 0 : -1;
}

int data_inflate_context(z_stream *z, const uint8_t *in, size_t in_size, uint8_t *out, size_t size)
{
    static const uint8_t tail[] = {0, 0, 0xff, 0xff};
    test_bytes all = {0};
    if (!size)
        return !in_size;
    if (in_size)
        bytes_append(&all, in, in_size);
    bytes_append(&all, tail, sizeof tail);
    uint8_t *room = malloc(size + 1);
    if (!room)
        abort();
    z->next_in = all.data;
    z->avail_in = (uInt)all.size;
    z->next_out = room;
    z->avail_out = (uInt)size + 1;
    int rc = inflate(z, Z_SYNC_FLUSH);
    int right = (rc == Z_OK || rc == Z_BUF_ERROR) && !z->avail_in && z->avail_out == 1 &&
                z->data_type == 128;
    if (right)
        memcpy(out, room, size);
    free(room);
    bytes_free(&all);
    return right;
}

uint64_t seed_first(uint64_t first)
{
    const char *only = getenv("GR_SEED");
    return only ? strtoull(only, NULL, 10) : first;
}

int seed_goes_on(uint64_t seed, uint64_t last)
{
    return getenv("GR_SEED") ? seed == seed_first(0) : seed <= last;
}
