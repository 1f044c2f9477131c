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
    drv_job *next;
};

/* In the driver's init and finish. drv_pool_finish runs what is queued, then joins the threads. */
int drv_pool_init(void);
void drv_pool_finish(void);

/* How many threads there are at most, 1 at first; those that run already stay. -1: not so many. */
int drv_pool_limit(int threads);

/* Has a job run, in the order of submission. -1: it will not, because there is no thread for it. */
int drv_pool_submit(drv_job *job);

#endif
