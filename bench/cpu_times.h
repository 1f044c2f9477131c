/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times of many short pieces of work, on any thread: the CPU time of the thread, so that the time in which
 * it waits for a core is not in it. What a hypervisor or an interrupt takes from it is.
 */
#ifndef CPU_TIMES_H
#define CPU_TIMES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define LIMITS 3

static const uint64_t limits_ns[LIMITS] = {400000, 700000, 1000000};
static _Atomic uint64_t count, longest, over[LIMITS]; /* longest: ns */

static inline uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A piece of work that began then is done. */
static inline void note(uint64_t begin)
{
    uint64_t time = cpu_ns() - begin;
    uint64_t known = longest;
    count++;
    for (size_t i = 0; i < LIMITS; i++)
        over[i] += time > limits_ns[i];
    while (time > known && !atomic_compare_exchange_weak(&longest, &known, time))
        ;
}

#endif
