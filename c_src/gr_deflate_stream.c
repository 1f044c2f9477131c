/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compression of large messages. A stream goes in laps, and after each it is known what that lap
 * was worth: zlib keeps up to a block to itself, so it is made to end one there.
 */
#include "gr_deflate_stream.h"

#include <string.h>

#include "gr_deflate_advice.h"
#include "gr_deflate_level.h"

/*
 * Half of zlib's usual memory. It also halves the blocks, and so what the step takes that ends one:
 * up to 0.1 ms.
 */
#define DEPTH 7

/* Bytes of input: ending a block costs some 80 bytes, so 0.1 % of this. */
#define LAP ((size_t)64 * 1024)

/* Laps that are stored at most before one is tried again. */
#define STORE_MAX 64

struct gr_deflate_stream {
    gr_deflate_streams *all;
    z_stream z;
    size_t lap_in;  /* bytes taken in this lap, LAP at most */
    size_t lap_out; /* bytes that came out in it */
    unsigned store; /* laps still to be stored, this one included; 0: it is compressed */
    unsigned next;  /* how many will be when the next that is compressed does not pay */
    int done;
};

void gr_deflate_streams_init(gr_deflate_streams *p, const gr_mem *mem, int level)
{
    memset(p, 0, sizeof *p);
    p->mem = mem;
    p->level = level;
}

static void stream_free(gr_deflate_stream *s)
{
    const gr_mem *mem = s->all->mem;
    deflateEnd(&s->z);
    gr_free(mem, s);
}

void gr_deflate_streams_trim(gr_deflate_streams *p)
{
    if (p->spare)
        stream_free(p->spare);
    p->spare = NULL;
}

/* Only between two laps, or before the first: nothing may be under way in zlib. */
static int set_level(gr_deflate_stream *s, int level)
{
    if (deflateParams(&s->z, level, Z_DEFAULT_STRATEGY) != Z_OK)
        return 0;
    if (level)
        gr_deflate_level_tune(&s->z, level);
    return 1;
}

static int stream_new(gr_deflate_stream **out, gr_deflate_streams *p)
{
    gr_deflate_stream *s = gr_alloc(p->mem, sizeof *s);
    if (!s)
        return GR_ENOMEM;
    memset(s, 0, sizeof *s);
    s->all = p;
    int rc = gr_deflate_level_init(&s->z, p->mem, p->level, GR_ZLIB_WINDOW_BITS, DEPTH);
    if (rc != GR_OK) {
        gr_free(p->mem, s);
        return rc;
    }
    *out = s;
    return GR_OK;
}

int gr_deflate_stream_open(gr_deflate_stream **out, gr_deflate_streams *p)
{
    if (p->open >= GR_DEFLATE_STREAMS_MAX)
        return GR_NONE;
    gr_deflate_stream *s = p->spare;
    int rc = s ? GR_OK : stream_new(&s, p);
    if (rc != GR_OK)
        return rc;
    if (p->spare) {
        p->spare = NULL;
        deflateReset(&s->z);
        set_level(s, p->level);
    }
    s->lap_in = 0;
    s->lap_out = 0;
    s->store = 0;
    s->next = 1;
    s->done = 0;
    p->open++;
    *out = s;
    return GR_OK;
}

void gr_deflate_stream_close(gr_deflate_stream *s)
{
    if (!s)
        return;
    s->all->open--;
    if (s->all->spare)
        stream_free(s);
    else
        s->all->spare = s;
}

size_t gr_deflate_stream_step(const gr_deflate_stream *s)
{
    size_t left = LAP - s->lap_in;
    size_t step = s->store ? LAP : gr_deflate_step(s->all->level);
    return left < step ? left : step;
}

/* After a lap, when all of it has come out: what the next one will be. */
static void turn(gr_deflate_stream *s)
{
    if (s->store) {
        if (s->store > 1 || set_level(s, s->all->level))
            s->store--;
    } else if (gr_deflate_pays(s->lap_in, s->lap_out)) {
        s->next = 1;
    } else if (set_level(s, 0)) {
        s->store = s->next;
        s->next = s->next < STORE_MAX ? s->next * 2 : STORE_MAX;
    }
    s->lap_in = 0;
    s->lap_out = 0;
}

int gr_deflate_stream_some(gr_deflate_stream *s, const uint8_t *in, size_t in_size, size_t *in_used,
                           uint8_t *out, size_t room, size_t *out_used, int last)
{
    *in_used = 0;
    *out_used = 0;
    if (s->done)
        return GR_ESTATE;
    if (!room)
        return GR_NONE;
    size_t take = gr_deflate_stream_step(s);
    if (take > in_size)
        take = in_size;
    int flush = Z_NO_FLUSH;
    if (last && take == in_size)
        flush = Z_FINISH;
    else if (s->lap_in + take == LAP)
        flush = Z_BLOCK;
    uInt avail = gr_zlib_size(room);
    s->z.next_in = (Bytef *)(uintptr_t)in;
    s->z.avail_in = (uInt)take;
    s->z.next_out = out;
    s->z.avail_out = avail;
    s->done = deflate(&s->z, flush) == Z_STREAM_END;
    *in_used = take - s->z.avail_in;
    *out_used = avail - s->z.avail_out;
    s->lap_in += *in_used;
    s->lap_out += *out_used;
    if (s->done)
        return GR_OK;
    if (!s->z.avail_out)
        return GR_NONE;
    if (flush == Z_BLOCK)
        turn(s);
    return GR_OK;
}

int gr_deflate_stream_done(const gr_deflate_stream *s)
{
    return s->done;
}
