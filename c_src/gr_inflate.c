/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompressor. What can hurt: the stream is the peer's. zlib gets room for what is still missing and
 * no more; when nothing is, one byte beyond, to be told apart from a stream that only has its end to
 * come.
 */
#include "gr_inflate.h"

#include <string.h>

#include "gr_zlib.h"

/* What a message of a context ends with; it does not travel. */
static const uint8_t sync_tail[] = {0x00, 0x00, 0xff, 0xff};

/* zlib's data_type: no bits left over, not in the last block, and between two blocks. */
#define BETWEEN_BLOCKS 128

struct gr_inflate {
    const gr_mem *mem;
    z_stream z;
    uint64_t left; /* bytes of the message still to come out */
    int done;      /* the stream has ended, and rightly */
    int failed;    /* the code that ended it; GR_OK: none */
};

int gr_inflate_new(gr_inflate **out, const gr_mem *mem)
{
    gr_inflate *i = gr_alloc(mem, sizeof *i);
    if (!i)
        return GR_ENOMEM;
    memset(i, 0, sizeof *i);
    i->mem = mem;
    i->z = gr_zlib_stream(mem);
    if (inflateInit2(&i->z, GR_ZLIB_RAW(GR_ZLIB_WINDOW_BITS)) != Z_OK) {
        gr_free(mem, i);
        return GR_ENOMEM;
    }
    *out = i;
    return GR_OK;
}

void gr_inflate_free(gr_inflate *i)
{
    if (!i)
        return;
    inflateEnd(&i->z);
    gr_free(i->mem, i);
}

void gr_inflate_begin(gr_inflate *i, uint64_t size)
{
    inflateReset(&i->z);
    i->left = size;
    i->done = 0;
    i->failed = GR_OK;
}

static int fail(gr_inflate *i, int rc)
{
    i->failed = rc;
    return rc;
}

/* Returns Z_OK, also when zlib could do nothing, Z_STREAM_END, or what went wrong as a code of ours. */
static int run(gr_inflate *i, uint8_t *out, size_t room, int flush)
{
    i->z.next_out = out;
    i->z.avail_out = gr_zlib_size(room);
    int rc = inflate(&i->z, flush);
    if (rc == Z_MEM_ERROR)
        return fail(i, GR_ENOMEM);
    if (rc != Z_OK && rc != Z_BUF_ERROR && rc != Z_STREAM_END)
        return fail(i, GR_EPROTO);
    return rc == Z_STREAM_END ? Z_STREAM_END : Z_OK;
}

/*
 * Whether there is nothing to come without more input. To ask zlib for it nevertheless would change what
 * it says of where it is.
 */
static int is_at_rest(const gr_inflate *i)
{
    return !i->z.avail_in && i->z.data_type == BETWEEN_BLOCKS;
}

/*
 * Decompresses the input into room for at most what is missing, and goes on to the stream's end when
 * nothing is. As run, and GR_EPROTO when there is more.
 */
static int pump(gr_inflate *i, uint8_t *out, size_t room, size_t *filled, int flush)
{
    int rc = Z_OK;
    *filled = 0;
    if (i->left) {
        size_t most = room < i->left ? room : (size_t)i->left;
        rc = run(i, out, most, flush);
        if (rc < 0)
            return rc;
        *filled = (size_t)(i->z.next_out - out);
        i->left -= *filled;
    }
    if (!i->left && rc != Z_STREAM_END && !is_at_rest(i)) {
        uint8_t beyond;
        rc = run(i, &beyond, 1, flush);
        if (rc >= 0 && !i->z.avail_out)
            rc = fail(i, GR_EPROTO);
    }
    return rc;
}

int gr_inflate_some(gr_inflate *i, const uint8_t *in, size_t in_size, size_t *in_used, uint8_t *out,
                    size_t room, size_t *out_used)
{
    *in_used = 0;
    *out_used = 0;
    if (i->failed)
        return i->failed;
    if (i->done)
        return in_size ? fail(i, GR_EPROTO) : GR_OK;
    if (i->left && !room)
        return GR_NONE;
    size_t take = in_size < GR_INFLATE_STEP ? in_size : GR_INFLATE_STEP;
    i->z.next_in = (Bytef *)(uintptr_t)in;
    i->z.avail_in = (uInt)take;
    int rc = pump(i, out, room, out_used, Z_SYNC_FLUSH);
    if (rc < 0)
        return rc;
    *in_used = take - i->z.avail_in;
    if (rc != Z_STREAM_END)
        return i->left && *out_used == room ? GR_NONE : GR_OK;
    if (i->left || *in_used < in_size)
        return fail(i, GR_EPROTO);
    i->done = 1;
    return GR_OK;
}

int gr_inflate_done(const gr_inflate *i)
{
    return i->done;
}

int gr_inflate_small(gr_inflate *i, const uint8_t *in, size_t in_size, uint8_t *out, size_t size)
{
    size_t filled = 0;
    gr_inflate_begin(i, size);
    i->z.next_in = (Bytef *)(uintptr_t)in;
    i->z.avail_in = gr_zlib_size(in_size);
    /* Told that this is all, zlib needs no window of its own. */
    int rc = pump(i, out, size, &filled, Z_FINISH);
    if (rc < 0)
        return rc;
    if (rc != Z_STREAM_END || i->left || i->z.avail_in)
        return fail(i, GR_EPROTO);
    i->done = 1;
    return GR_OK;
}

static int feed(gr_inflate *i, const uint8_t *in, size_t in_size, uint8_t *out, size_t room,
                size_t *filled)
{
    i->z.next_in = (Bytef *)(uintptr_t)in;
    i->z.avail_in = gr_zlib_size(in_size);
    int rc = pump(i, out, room, filled, Z_SYNC_FLUSH);
    if (rc < 0)
        return rc;
    return rc == Z_STREAM_END || i->z.avail_in ? fail(i, GR_EPROTO) : GR_OK;
}

int gr_inflate_context(gr_inflate *i, const uint8_t *in, size_t in_size, uint8_t *out, size_t size)
{
    size_t filled = 0;
    if (i->failed)
        return i->failed;
    if (!size)
        return in_size ? fail(i, GR_EPROTO) : GR_OK;
    i->left = size;
    int rc = feed(i, in, in_size, out, size, &filled);
    if (rc == GR_OK)
        rc = feed(i, sync_tail, sizeof sync_tail, out + filled, size - filled, &filled);
    if (rc == GR_OK && (i->left || i->z.data_type != BETWEEN_BLOCKS))
        rc = fail(i, GR_EPROTO);
    return rc;
}

void gr_inflates_init(gr_inflates *p, const gr_mem *mem)
{
    p->mem = mem;
    p->spare = NULL;
}

void gr_inflates_trim(gr_inflates *p)
{
    gr_inflate_free(p->spare);
    p->spare = NULL;
}

int gr_inflates_get(gr_inflates *p, gr_inflate **i)
{
    if (!p->spare)
        return gr_inflate_new(i, p->mem);
    *i = p->spare;
    p->spare = NULL;
    return GR_OK;
}

void gr_inflates_put(gr_inflates *p, gr_inflate *i)
{
    if (p->spare)
        gr_inflate_free(i);
    else
        p->spare = i;
}
