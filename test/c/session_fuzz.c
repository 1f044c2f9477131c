/* SPDX-License-Identifier: Apache-2.0 */
/* Two sessions whose callers, workers, link and clock do what the input says; the ledger must agree. */
#include "fuzz_support.h"
#include "life_support.h"

static uint64_t below(void *ctx, uint64_t n)
{
    return fuzz_below(ctx, n);
}

static int goes_on(void *ctx)
{
    const fuzz_in *in = ctx;
    return in->size > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    uint64_t cuts = fuzz_byte(&in);
    life_dice dice = {below, goes_on, &in, cuts};
    life_run(&dice);
    return 0;
}
