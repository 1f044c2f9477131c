/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool's threads start with the first jobs, so that a node without TLS has none. All state is
 * under one lock, which is held for a few instructions.
 */
#include "drv_pool.h"

#include <erl_driver.h>
#include <string.h>

#define THREADS_MAX 64

typedef struct queue {
    drv_job *head;
    drv_job *tail;
} queue;

static struct {
    ErlDrvMutex *lock;
    ErlDrvCond *work;
    queue ranks[DRV_POOL_RANKS];
    ErlDrvTid threads[THREADS_MAX];
    int count;  /* of threads */
    int idle;   /* of them, that wait for a job */
    int queued; /* jobs */
    int max;    /* threads to be started */
    int stopping;
} pool;

int drv_pool_init(void)
{
    memset(&pool, 0, sizeof pool);
    pool.max = 1;
    pool.lock = erl_drv_mutex_create("gen_rpc_pool");
    pool.work = erl_drv_cond_create("gen_rpc_pool");
    if (pool.lock && pool.work)
        return 0;
    drv_pool_finish();
    return -1;
}

int drv_pool_limit(int threads)
{
    if (threads < 1 || threads > THREADS_MAX)
        return -1;
    erl_drv_mutex_lock(pool.lock);
    pool.max = threads;
    erl_drv_mutex_unlock(pool.lock);
    return 0;
}

static void put(drv_job *job, drv_pool_place place)
{
    queue *q = &pool.ranks[job->rank];
    job->prev = place == DRV_POOL_LAST ? q->tail : NULL;
    job->next = place == DRV_POOL_LAST ? NULL : q->head;
    *(job->prev ? &job->prev->next : &q->head) = job;
    *(job->next ? &job->next->prev : &q->tail) = job;
    job->queued = 1;
    pool.queued++;
}

static void drop(drv_job *job)
{
    queue *q = &pool.ranks[job->rank];
    *(job->prev ? &job->prev->next : &q->head) = job->next;
    *(job->next ? &job->next->prev : &q->tail) = job->prev;
    job->queued = 0;
    pool.queued--;
}

static drv_job *first(void)
{
    const queue *q = pool.ranks;
    while (!q->head)
        q++;
    return q->head;
}

static drv_job *take(void)
{
    erl_drv_mutex_lock(pool.lock);
    pool.idle++;
    while (!pool.queued && !pool.stopping)
        erl_drv_cond_wait(pool.work, pool.lock);
    pool.idle--;
    drv_job *job = pool.queued ? first() : NULL;
    if (job)
        drop(job);
    erl_drv_mutex_unlock(pool.lock);
    return job;
}

static void *work(void *arg)
{
    drv_job *job;
    while ((job = take()) != NULL)
        job->run(job);
    return arg;
}

static void start_thread(void)
{
    if (erl_drv_thread_create("gen_rpc_pool", &pool.threads[pool.count], work, NULL, NULL) == 0)
        pool.count++;
}

int drv_pool_submit(drv_job *job, unsigned rank, drv_pool_place place)
{
    int rc = 0;
    job->rank = rank;
    erl_drv_mutex_lock(pool.lock);
    if (pool.queued >= pool.idle && pool.count < pool.max)
        start_thread();
    if (pool.count) {
        put(job, place);
        erl_drv_cond_signal(pool.work);
    } else {
        rc = -1;
    }
    erl_drv_mutex_unlock(pool.lock);
    return rc;
}

int drv_pool_withdraw(drv_job *job)
{
    erl_drv_mutex_lock(pool.lock);
    int rc = job->queued ? 0 : -1;
    if (job->queued)
        drop(job);
    erl_drv_mutex_unlock(pool.lock);
    return rc;
}

void drv_pool_finish(void)
{
    if (pool.lock && pool.work) {
        erl_drv_mutex_lock(pool.lock);
        pool.stopping = 1;
        erl_drv_cond_broadcast(pool.work);
        erl_drv_mutex_unlock(pool.lock);
        for (int i = 0; i < pool.count; i++)
            erl_drv_thread_join(pool.threads[i], NULL);
    }
    if (pool.work)
        erl_drv_cond_destroy(pool.work);
    if (pool.lock)
        erl_drv_mutex_destroy(pool.lock);
    memset(&pool, 0, sizeof pool);
}
