/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lives of two sessions against a ledger: every call ends exactly once, with its own reply, and every
 * cast arrives once, whatever is cut, held back, cancelled, refused, closed or lost on the way. What
 * happens is decided by dice.
 */
#ifndef LIFE_SUPPORT_H
#define LIFE_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

typedef struct life_dice {
    uint64_t (*below)(void *ctx, uint64_t n); /* from 0 to n - 1 */
    int (*goes_on)(void *ctx); /* whether to take another step, before all ends in peace */
    void *ctx;
    uint64_t cuts; /* seed of how the link cuts */
} life_dice;

/* How calls and lives ended, all of them together. */
enum {
    LIFE_REPLIES,
    LIFE_LARGE_REPLIES,
    LIFE_TOO_BIG,
    LIFE_BUSY,
    LIFE_REFUSED,
    LIFE_CANCELLED,
    LIFE_CANCEL_TOLD,
    LIFE_ORPHANS,
    LIFE_LOST,
    LIFE_UNSENT,
    LIFE_LATE,
    LIFE_TOO_LATE,
    LIFE_ABORTED,
    LIFE_HELD,
    LIFE_PAUSED,
    LIFE_IDLE,
    LIFE_PEACE,
    LIFE_CUT,
    LIFE_CASTS,
    LIFE_LARGE_CASTS,
    LIFE_ORDERED,
    LIFE_LARGE_ORDERED,
    LIFE_ORDERED_CALLS,
    LIFE_CASTS_BUSY,
    LIFE_DEFLATED,
    LIFE_KINDS
};
extern size_t life_seen[LIFE_KINDS];

/* A life from the beginning to the end. Fails the test when the ledger does not agree. */
void life_run(const life_dice *from);

#endif
