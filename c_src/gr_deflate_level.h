/* SPDX-License-Identifier: Apache-2.0 */
/* Levels of compression: how hard each looks for repetitions, and how much it may do at once. */
#ifndef GR_DEFLATE_LEVEL_H
#define GR_DEFLATE_LEVEL_H

#include "gr_zlib.h"

#define GR_DEFLATE_LEVEL_MIN 1
#define GR_DEFLATE_LEVEL_MAX 9

/* Most input that one callback compresses at that level, bytes. */
size_t gr_deflate_step(int level);

/* The highest level up to that one whose step is so large; the lowest if none is. */
int gr_deflate_level_for(int level, size_t size);

/*
 * Makes a stream, which borrows the vtable. On GR_ENOMEM there is nothing to end. The window is of
 * 2^bits bytes; depth is zlib's memLevel.
 */
int gr_deflate_level_init(z_stream *z, const gr_mem *mem, int level, int bits, int depth);

/* Searches as that level does, from now on. Does not cross from 3 to 4 or back. */
void gr_deflate_level_tune(z_stream *z, int level);

#endif
