/* SPDX-License-Identifier: Apache-2.0 */
/* Lateness by a windowed minimum. A wrong stamp can only make its sender's own requests late. */
#include "gr_late.h"

/*
 * A window of traffic. The minimum must be young, because a clock can stand still when its host sleeps,
 * and then everything looks late until what was before is forgotten.
 */
#define WINDOW_MS 10000u

/*
 * A pause in the traffic counts as no more: after it, if it was our own, late messages come first. Nor
 * does it count at all beyond the other limit: clocks drift by some 0.1 ms a second.
 */
#define GAP_MS 1000u
#define GAP_MAX 60000u

/* Differences are compared around the circle of 32 bits. */
static int is_less(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static void start_over(gr_late *l, uint32_t took)
{
    l->any = 1;
    l->best = l->next = took;
    l->spent = 0;
}

uint32_t gr_late_of(gr_late *l, uint32_t stamp, uint64_t now)
{
    uint32_t took = (uint32_t)now - stamp;
    uint64_t gap = now - l->last;
    if (!l->any || gap > GAP_MAX)
        start_over(l, took);
    else
        l->spent += gap < GAP_MS ? (uint32_t)gap : GAP_MS;
    l->last = now;
    if (l->spent >= WINDOW_MS) {
        l->best = l->next;
        l->next = took;
        l->spent = 0;
    }
    if (is_less(took, l->next))
        l->next = took;
    if (is_less(took, l->best))
        l->best = took;
    return took - l->best;
}
