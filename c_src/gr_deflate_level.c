/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Levels of compression. What can hurt: zlib looks for repetitions along chains of places that may
 * be one, and there is data for which each is long and none is good. A level's step is bounded by
 * what it takes then, not by what it takes usually.
 */
#include "gr_deflate_level.h"

typedef struct tuning {
    int good;    /* with a match of this length only a quarter of the chain is looked at */
    int lazy;    /* with one of this length the next byte is not looked at for a longer one */
    int nice;    /* one of this length is taken at once */
    int chain;   /* places looked at */
    size_t step; /* bytes */
} tuning;

/*
 * As in zlib up to 7. Its 8 and 9 look at 1024 and 4096 places, which makes real terms less than
 * 1 % smaller than 256 do, and takes 0.7 and 1.6 ms for a kilobyte of the worst data.
 * Steps: the worst that a search over generated data found (short alphabets, broken periods) takes
 * 0.23 to 0.48 ms for each of them on an EPYC of the cloud, so a core of half its speed stays under
 * 1 ms. Terms and JSON take 5 to 40 us for a kilobyte.
 */
static const tuning tunings[] = {{4, 4, 8, 4, 16 * 1024},        /* 1 */
                                 {4, 5, 16, 8, 16 * 1024},       /* 2 */
                                 {4, 6, 32, 32, 16 * 1024},      /* 3 */
                                 {4, 4, 16, 16, 16 * 1024},      /* 4: from here on lazy */
                                 {8, 16, 32, 32, 8 * 1024},      /* 5 */
                                 {8, 16, 128, 128, 4 * 1024},    /* 6 */
                                 {8, 32, 128, 256, 2 * 1024},    /* 7 */
                                 {16, 128, 258, 256, 1 * 1024},  /* 8 */
                                 {32, 258, 258, 256, 1 * 1024}}; /* 9 */

static const tuning *tuning_of(int level)
{
    return &tunings[level - GR_DEFLATE_LEVEL_MIN];
}

size_t gr_deflate_step(int level)
{
    return tuning_of(level)->step;
}

int gr_deflate_level_for(int level, size_t size)
{
    while (level > GR_DEFLATE_LEVEL_MIN && gr_deflate_step(level) < size)
        level--;
    return level;
}

int gr_deflate_level_init(z_stream *z, const gr_mem *mem, int level, int bits, int depth)
{
    *z = gr_zlib_stream(mem);
    int rc = deflateInit2(z, level, Z_DEFLATED, GR_ZLIB_RAW(bits), depth, Z_DEFAULT_STRATEGY);
    if (rc != Z_OK)
        return GR_ENOMEM;
    gr_deflate_level_tune(z, level);
    return GR_OK;
}

void gr_deflate_level_tune(z_stream *z, int level)
{
    const tuning *t = tuning_of(level);
    deflateTune(z, t->good, t->lazy, t->nice, t->chain);
}
