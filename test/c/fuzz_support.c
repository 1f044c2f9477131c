/* SPDX-License-Identifier: Apache-2.0 */
/* Decisions out of bytes. */
#include "fuzz_support.h"

#include <stdlib.h>

#include "cmocka_support.h"

/* Sizes below this are taken as they are, those above in steps. */
#define EXACT 0xc000u

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* cmocka would leave by exit. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return setenv("CMOCKA_TEST_ABORT", "1", 1);
}

uint64_t fuzz_int(fuzz_in *in, unsigned bytes)
{
    uint64_t v = 0;
    while (bytes--) {
        v = v << 8 | (in->size ? *in->data : 0);
        if (in->size) {
            in->data++;
            in->size--;
        }
    }
    return v;
}

uint8_t fuzz_byte(fuzz_in *in)
{
    return (uint8_t)fuzz_int(in, 1);
}

uint64_t fuzz_below(fuzz_in *in, uint64_t n)
{
    unsigned bytes = 0;
    for (uint64_t most = n - 1; most; most >>= 8)
        bytes++;
    return fuzz_int(in, bytes) % n;
}

size_t fuzz_size(fuzz_in *in, size_t max)
{
    size_t n = (size_t)fuzz_int(in, 2);
    if (n > EXACT)
        n = EXACT + (n - EXACT) * (max / (0x10000 - EXACT) + 1);
    return n < max ? n : max;
}

gr_str fuzz_take(fuzz_in *in, size_t n)
{
    gr_str s = {in->data, n < in->size ? n : in->size};
    in->data += s.size;
    in->size -= s.size;
    return s;
}

void fuzz_fail_alloc(fuzz_in *in, test_mem *mem)
{
    uint8_t b = fuzz_byte(in);
    mem->fail_at = b & 1 ? mem->tries + 1 + (b >> 2) : 0;
    mem->fail_on = b & 2;
}

void fuzz_check_code(const test_mem *mem, int rc, const int *allowed, size_t count)
{
    if (rc == GR_ENOMEM && mem->failed)
        return;
    for (size_t i = 0; i < count; i++)
        if (rc == allowed[i])
            return;
    fail_msg("unexpected: %s", gr_error_name(rc));
}
