/* SPDX-License-Identifier: Apache-2.0 */
/* An allocator and blobs that count, and that fail when told to. */
#ifndef MEM_SUPPORT_H
#define MEM_SUPPORT_H

#include "gr_base.h"

typedef struct test_mem {
    gr_mem vt;          /* for the core */
    gr_blob_ops blobs;  /* likewise; blobs are allocated through vt */
    size_t live;        /* blocks not freed yet, blobs included */
    size_t bytes;       /* of these */
    size_t peak;        /* most that they ever were */
    size_t tries;       /* allocations asked for, ever; growing a block is one */
    size_t largest;     /* allocation asked for, bytes */
    size_t created;     /* blobs, ever */
    size_t refs;        /* references to blobs, all blobs together */
    size_t fail_at;     /* the try that fails, counted from 1; 0: none */
    int fail_on;        /* whether all behind it fail too */
    int failed;         /* whether one has failed */
    const char *secret; /* is in no block when it is freed; NULL: nothing is looked for */
} test_mem;

void mem_init(test_mem *m);

/* Fails the test when anything is left. */
void mem_check_empty(const test_mem *m);

/* Returns a reference to a blob with the pattern of that seed. */
gr_blob mem_blob(test_mem *m, size_t size, uint64_t seed);
void mem_unref(test_mem *m, const gr_blob *b);

/* References to this blob. */
size_t mem_blob_refs(const gr_blob *b);

#endif
