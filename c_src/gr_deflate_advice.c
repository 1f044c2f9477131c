/* SPDX-License-Identifier: Apache-2.0 */
/* Whether to try to compress: the less it pays, the more rarely. */
#include "gr_deflate_advice.h"

/* Messages passed over at most: trying one of 65 costs little, and change is noticed soon enough. */
#define SKIP_MAX 64

int gr_deflate_worth_trying(gr_deflate_advice *a)
{
    if (!a->skip)
        return 1;
    a->skip--;
    return 0;
}

void gr_deflate_tried(gr_deflate_advice *a, size_t before, size_t after)
{
    if (gr_deflate_pays(before, after)) {
        a->skip = 0;
        a->next = 0;
        return;
    }
    a->skip = a->next ? a->next : 1;
    a->next = a->skip < SKIP_MAX ? (uint8_t)(a->skip * 2) : SKIP_MAX;
}

int gr_deflate_pays(size_t before, size_t after)
{
    return after <= before && before - after >= before / 16 + (before % 16 != 0);
}
