/* SPDX-License-Identifier: Apache-2.0 */
/* Locks, threads and memory of the driver API. */
#include "driver_api.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "drv_term.h"

struct ErlDrvMutex_ {
    pthread_mutex_t m;
};

struct ErlDrvCond_ {
    pthread_cond_t c;
};

static atomic_long live;
static _Thread_local ErlDrvTermData caller;

/* ---- owners ---- */

ErlDrvTermData api_port(api_owner *o)
{
    return (ErlDrvTermData)o;
}

void drv_tell(ErlDrvTermData port, drv_atom what)
{
    if (what == DRV_ATOM_FLUSH)
        atomic_fetch_add(&((api_owner *)port)->flushes, 1);
}

void api_await_flush(api_owner *o)
{
    while (!atomic_load(&o->flushes))
        sched_yield();
    atomic_fetch_sub(&o->flushes, 1);
}

void api_set_caller(ErlDrvTermData c)
{
    caller = c;
}

ErlDrvTermData driver_caller(ErlDrvPort ix)
{
    (void)ix;
    return caller;
}

/* ---- memory ---- */

long api_live(void)
{
    return atomic_load(&live);
}

void *driver_alloc(ErlDrvSizeT size)
{
    atomic_fetch_add(&live, 1);
    return malloc(size);
}

void *driver_realloc(void *p, ErlDrvSizeT size)
{
    return realloc(p, size);
}

void driver_free(void *p)
{
    atomic_fetch_sub(&live, 1);
    free(p);
}

/* With its references before it. */
typedef struct counted {
    atomic_long refs;
    ErlDrvBinary bin;
} counted;

static counted *counted_of(ErlDrvBinary *b)
{
    return (counted *)((char *)b - offsetof(counted, bin));
}

ErlDrvBinary *driver_alloc_binary(ErlDrvSizeT size)
{
    counted *c = driver_alloc(sizeof *c + size);
    atomic_init(&c->refs, 1);
    c->bin.orig_size = (ErlDrvSInt)size;
    return &c->bin;
}

ErlDrvSInt driver_binary_inc_refc(ErlDrvBinary *b)
{
    return atomic_fetch_add(&counted_of(b)->refs, 1) + 1;
}

void driver_free_binary(ErlDrvBinary *b)
{
    if (atomic_fetch_sub(&counted_of(b)->refs, 1) == 1)
        driver_free(counted_of(b));
}

/* ---- locks and threads ---- */

ErlDrvMutex *erl_drv_mutex_create(char *name)
{
    (void)name;
    ErlDrvMutex *m = malloc(sizeof *m);
    pthread_mutex_init(&m->m, NULL);
    return m;
}

void erl_drv_mutex_destroy(ErlDrvMutex *m)
{
    pthread_mutex_destroy(&m->m);
    free(m);
}

void erl_drv_mutex_lock(ErlDrvMutex *m)
{
    pthread_mutex_lock(&m->m);
}

void erl_drv_mutex_unlock(ErlDrvMutex *m)
{
    pthread_mutex_unlock(&m->m);
}

ErlDrvCond *erl_drv_cond_create(char *name)
{
    (void)name;
    ErlDrvCond *c = malloc(sizeof *c);
    pthread_cond_init(&c->c, NULL);
    return c;
}

void erl_drv_cond_destroy(ErlDrvCond *c)
{
    pthread_cond_destroy(&c->c);
    free(c);
}

void erl_drv_cond_signal(ErlDrvCond *c)
{
    pthread_cond_signal(&c->c);
}

void erl_drv_cond_broadcast(ErlDrvCond *c)
{
    pthread_cond_broadcast(&c->c);
}

void erl_drv_cond_wait(ErlDrvCond *c, ErlDrvMutex *m)
{
    pthread_cond_wait(&c->c, &m->m);
}

int erl_drv_thread_create(char *name, ErlDrvTid *tid, void *(*func)(void *), void *arg,
                          ErlDrvThreadOpts *opts)
{
    (void)name;
    (void)opts;
    return pthread_create((pthread_t *)tid, NULL, func, arg);
}

int erl_drv_thread_join(ErlDrvTid tid, void **result)
{
    return pthread_join((pthread_t)tid, result);
}
