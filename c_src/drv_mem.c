/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation for the core by driver_alloc and driver_alloc_binary. */
#include "drv_mem.h"

#include <erl_driver.h>

static void *mem_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return driver_alloc(size);
}

static void *mem_realloc(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    return ptr ? driver_realloc(ptr, size) : driver_alloc(size);
}

static void mem_free(void *ctx, void *ptr)
{
    (void)ctx;
    if (ptr)
        driver_free(ptr);
}

static int blob_create(void *ctx, size_t size, gr_blob *out)
{
    (void)ctx;
    ErlDrvBinary *b = driver_alloc_binary(size);
    if (!b)
        return GR_ENOMEM;
    out->owner = b;
    out->data = (uint8_t *)b->orig_bytes;
    out->size = size;
    return GR_OK;
}

static void blob_ref(void *ctx, void *owner)
{
    (void)ctx;
    driver_binary_inc_refc(owner);
}

static void blob_unref(void *ctx, void *owner)
{
    (void)ctx;
    driver_free_binary(owner);
}

const gr_mem drv_mem = {mem_alloc, mem_realloc, mem_free, NULL};
const gr_blob_ops drv_blobs = {blob_create, blob_ref, blob_unref, NULL};
