/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arithmetic of some 40 us, over and over, for so many ms: how often it took longer than it can, by the
 * CPU time of its thread, is what the machine adds. Prints as many floats as callback_times.c has
 * figures: how many; us of the longest; how many over 0.4, 0.7 and 1 ms.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define STEPS 40000
#define LIMITS 3

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
    static const uint64_t limits_ns[LIMITS] = {400000, 700000, 1000000};
    if (argc != 2) {
        fprintf(stderr, "usage: arithmetic MS\n");
        return 2;
    }
    uint64_t end = clock_ns(CLOCK_MONOTONIC) + strtoull(argv[1], NULL, 10) * 1000000u;
    uint64_t count = 0, longest = 0, over[LIMITS] = {0};
    volatile uint64_t x = 1;
    do {
        uint64_t begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        for (int i = 0; i < STEPS; i++)
            x = x * 6364136223846793005u + 1;
        uint64_t time = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
        count++;
        longest = time > longest ? time : longest;
        for (size_t i = 0; i < LIMITS; i++)
            over[i] += time > limits_ns[i];
    } while (clock_ns(CLOCK_MONOTONIC) < end);
    printf("%.1f %.1f", (double)count, (double)longest / 1000);
    for (size_t i = 0; i < LIMITS; i++)
        printf(" %.1f", (double)over[i]);
    printf("\n");
    return 0;
}
