/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many workers run at once in this node, all connections together. Ports that find no place wait in
 * line; when there is one the first gets it, and its owner is told to flush it.
 */
#ifndef DRV_LIMIT_H
#define DRV_LIMIT_H

#include <erl_driver.h>
#include <stdint.h>

/* One connection's part in it. All zero but the port: it has no place and does not wait. */
typedef struct drv_places {
    ErlDrvTermData port;
    uint32_t max;     /* of the node; 0: no limit */
    uint32_t taken;   /* by workers of this connection; its port's */
    int spare;        /* one more, for what may come next; its port's */
    uint32_t granted; /* places that it waited for, and has not seen yet; the lock's */
    int waits;        /* is in the line; the lock's */
    struct drv_places *next;
} drv_places;

int drv_limit_init(void);
void drv_limit_finish(void);

/* Whether there is a place for one more worker; it is kept as the spare one. Else p may wait in line. */
int drv_limit_reserve(drv_places *p, int wait);

/* The spare place is used; or it is given back if it was not. */
void drv_limit_use(drv_places *p);
void drv_limit_unreserve(drv_places *p);

/* So many of its workers have ended. */
void drv_limit_ended(drv_places *p, uint32_t workers);

/*
 * The connection has ended: it wants no more places, and those that it was granted go to the next. Its
 * workers still have theirs.
 */
void drv_limit_pass(drv_places *p);

/* The port closes: its workers count no more. */
void drv_limit_leave(drv_places *p);

#endif
