/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether to try to compress the next message of a connection: when the last ones did not get smaller,
 * most of those that follow are not tried.
 */
#ifndef GR_DEFLATE_ADVICE_H
#define GR_DEFLATE_ADVICE_H

#include "gr_base.h"

/* All zero: nothing is known yet. */
typedef struct gr_deflate_advice {
    uint8_t skip; /* messages that are still to be passed over */
    uint8_t next; /* so many will be when the next one that is tried does not pay; 0 means 1 */
} gr_deflate_advice;

/* Called once for each message that could be compressed. Whether to try. */
int gr_deflate_worth_trying(gr_deflate_advice *a);

/* One was tried: its sizes before and after, the same if it was given up. */
void gr_deflate_tried(gr_deflate_advice *a, size_t before, size_t after);

/* Whether what is saved, a sixteenth or more, is worth the receiver's work. */
int gr_deflate_pays(size_t before, size_t after);

#endif
