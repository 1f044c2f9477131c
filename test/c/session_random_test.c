/* SPDX-License-Identifier: Apache-2.0 */
/* Random lives of two sessions. A failure names its seed. */
#include <stdlib.h>

#include "bytes_support.h"
#include "cmocka_support.h"
#include "life_support.h"

#define SEEDS 800u

static uint64_t seed; /* of the life that runs */

static uint64_t roll(void *ctx, uint64_t n)
{
    return prng_below(ctx, n);
}

static int always(void *ctx)
{
    (void)ctx;
    return 1;
}

/* Every call ends once, and in many lives in every way in which one can. */
static void every_call_ends_exactly_once(void **state)
{
    (void)state;
    const char *only = getenv("GR_SEED");
    for (seed = only ? strtoull(only, NULL, 10) : 1; seed <= SEEDS; seed++) {
        uint64_t prng = seed;
        life_dice dice = {roll, always, &prng, seed + 1};
        life_run(&dice);
        if (only)
            return;
    }
    for (size_t i = 0; i < LIFE_KINDS; i++)
        if (life_seen[i] < 20)
            fail_msg("only %zu of kind %zu", life_seen[i], i);
    seed = 0;
}

static int name_seed(void **state)
{
    (void)state;
    if (seed)
        print_error("run it alone: GR_SEED=%llu\n", (unsigned long long)seed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_call_ends_exactly_once, name_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
