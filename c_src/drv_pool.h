/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few threads of the driver's own for what takes longer than a callback may. A job owns all that
 * it touches while it is in here.
 */
#ifndef DRV_POOL_H
#define DRV_POOL_H

typedef struct drv_job drv_job;
struct drv_job {
    void (*run)(drv_job *job); /* on a thread of the pool, once */
    drv_job *prev;             /* these are the pool's own */
    drv_job *next;
    unsigned rank;
    int queued;
};

/* In the driver's init and finish. drv_pool_finish runs what is queued, then joins the threads. */
int drv_pool_init(void);
void drv_pool_finish(void);

/* How many threads there are at most, 1 at first; those that run already stay. -1: not so many. */
int drv_pool_limit(int threads);

#define DRV_POOL_RANKS 24

typedef enum { DRV_POOL_LAST, DRV_POOL_FIRST } drv_pool_place;

/*
 * Has a job run: before all of a higher rank, and behind those of its own that are there or before them.
 * -1: it will not, because there is no thread for it.
 */
int drv_pool_submit(drv_job *job, unsigned rank, drv_pool_place place);

/* Takes a job back: it will not run. -1: a thread has it already. */
int drv_pool_withdraw(drv_job *job);

#endif
