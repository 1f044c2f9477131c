/* SPDX-License-Identifier: Apache-2.0 */
/* Places for workers. Shared by all ports, under a lock of its own, held for some instructions. */
#include "drv_limit.h"

#include "drv_term.h"

static ErlDrvMutex *lock;
static uint64_t taken;
static drv_places *first;
static drv_places *last;

int drv_limit_init(void)
{
    taken = 0;
    first = last = NULL;
    lock = erl_drv_mutex_create("gen_rpc_limit");
    return lock ? 0 : -1;
}

void drv_limit_finish(void)
{
    erl_drv_mutex_destroy(lock);
}

static void join(drv_places *p)
{
    if (p->waits)
        return;
    p->waits = 1;
    p->next = NULL;
    if (last)
        last->next = p;
    else
        first = p;
    last = p;
}

static void leave(drv_places *p)
{
    drv_places *before = NULL;
    if (!p->waits)
        return;
    for (drv_places *at = first; at != p; at = at->next)
        before = at;
    if (before)
        before->next = p->next;
    else
        first = p->next;
    if (last == p)
        last = before;
    p->waits = 0;
}

/* Whoever is first leaves the line with a place, and is told of it. */
static void grant_first(void)
{
    drv_places *p = first;
    leave(p);
    p->granted++;
    drv_tell(p->port, DRV_ATOM_FLUSH);
}

/*
 * Under the lock. A place goes from one to the next, and is never free while somebody waits: or who comes
 * again and again, with thousands of requests, would find it before the one that was told of it.
 */
static void pass_on(uint64_t places)
{
    while (places && first && taken - places < first->max) {
        grant_first();
        places--;
    }
    taken -= places;
}

static void give_back(uint64_t places)
{
    erl_drv_mutex_lock(lock);
    pass_on(places);
    erl_drv_mutex_unlock(lock);
}

int drv_limit_reserve(drv_places *p, int wait)
{
    if (!p->max || p->spare)
        return 1;
    erl_drv_mutex_lock(lock);
    if (p->granted) {
        p->granted--;
        p->spare = 1;
    } else if (taken < p->max) {
        taken++;
        p->spare = 1;
    } else if (wait) {
        join(p);
    }
    erl_drv_mutex_unlock(lock);
    return p->spare;
}

void drv_limit_use(drv_places *p)
{
    if (!p->spare)
        return;
    p->spare = 0;
    p->taken++;
}

void drv_limit_unreserve(drv_places *p)
{
    if (!p->spare)
        return;
    p->spare = 0;
    give_back(1);
}

void drv_limit_ended(drv_places *p, uint32_t workers)
{
    uint32_t n = workers < p->taken ? workers : p->taken;
    p->taken -= n;
    if (n)
        give_back(n);
}

void drv_limit_pass(drv_places *p)
{
    if (!p->max)
        return;
    erl_drv_mutex_lock(lock);
    leave(p);
    uint32_t granted = p->granted;
    p->granted = 0;
    pass_on(granted);
    erl_drv_mutex_unlock(lock);
}

void drv_limit_leave(drv_places *p)
{
    drv_limit_pass(p);
    drv_limit_unreserve(p);
    drv_limit_ended(p, p->taken);
}
