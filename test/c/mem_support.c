/* SPDX-License-Identifier: Apache-2.0 */
/* Counting and failing allocator. Blocks come straight from malloc: ASan sees their ends. */
#include "mem_support.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "bytes_support.h"
#include "cmocka_support.h"

typedef struct test_blob {
    size_t refs;
    uint8_t data[];
} test_blob;

static int refused(test_mem *m, size_t size)
{
    m->tries++;
    if (size > m->largest)
        m->largest = size;
    if (!m->fail_at || m->tries < m->fail_at || (m->tries > m->fail_at && !m->fail_on))
        return 0;
    m->failed = 1;
    return 1;
}

/* A block has become of another size. */
static void grown(test_mem *m, size_t before, size_t after)
{
    m->bytes += after - before;
    if (m->bytes > m->peak)
        m->peak = m->bytes;
}

static void *alloc(void *ctx, size_t size)
{
    test_mem *m = ctx;
    if (refused(m, size))
        return NULL;
    void *p = malloc(size);
    assert_non_null(p);
    /* What the core reads before it writes shall not be zero by chance. */
    memset(p, 0xa5, size);
    m->live++;
    grown(m, 0, malloc_usable_size(p));
    return p;
}

static void *resize(void *ctx, void *ptr, size_t size)
{
    test_mem *m = ctx;
    if (!ptr)
        return alloc(ctx, size);
    if (refused(m, size))
        return NULL;
    size_t before = malloc_usable_size(ptr);
    void *p = realloc(ptr, size);
    assert_non_null(p);
    grown(m, before, malloc_usable_size(p));
    return p;
}

static void release(void *ctx, void *ptr)
{
    test_mem *m = ctx;
    if (!ptr)
        return;
    assert_true(m->live > 0);
    if (m->secret)
        assert_null(memmem(ptr, malloc_usable_size(ptr), m->secret, strlen(m->secret)));
    m->live--;
    m->bytes -= malloc_usable_size(ptr);
    free(ptr);
}

static int blob_create(void *ctx, size_t size, gr_blob *out)
{
    test_mem *m = ctx;
    test_blob *b = alloc(m, sizeof *b + size);
    if (!b) {
        /* No reference, whatever is there: the caller must not believe it. */
        out->owner = out;
        return GR_ENOMEM;
    }
    b->refs = 1;
    m->refs++;
    m->created++;
    out->owner = b;
    out->data = b->data;
    out->size = size;
    return GR_OK;
}

static void blob_ref(void *ctx, void *owner)
{
    test_mem *m = ctx;
    test_blob *b = owner;
    b->refs++;
    m->refs++;
}

static void blob_unref(void *ctx, void *owner)
{
    test_mem *m = ctx;
    test_blob *b = owner;
    assert_true(b->refs > 0 && m->refs > 0);
    m->refs--;
    if (--b->refs == 0)
        release(m, b);
}

void mem_init(test_mem *m)
{
    memset(m, 0, sizeof *m);
    m->vt = (gr_mem){alloc, resize, release, m};
    m->blobs = (gr_blob_ops){blob_create, blob_ref, blob_unref, m};
}

void mem_check_empty(const test_mem *m)
{
    assert_int_equal(m->refs, 0);
    assert_int_equal(m->live, 0);
    assert_int_equal(m->bytes, 0);
}

gr_blob mem_blob(test_mem *m, size_t size, uint64_t seed)
{
    gr_blob b;
    size_t fail_at = m->fail_at;
    m->fail_at = 0;
    assert_rc(blob_create(m, size, &b), GR_OK);
    m->fail_at = fail_at;
    /* The test's own allocation is not one of those that are counted to fail. */
    m->tries--;
    pattern_fill(b.data, size, seed);
    return b;
}

void mem_unref(test_mem *m, const gr_blob *b)
{
    blob_unref(m, b->owner);
}

size_t mem_blob_refs(const gr_blob *b)
{
    return ((const test_blob *)b->owner)->refs;
}
