/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arithmetic of some 40 us, over and over, for so many ms: how often it took longer than it can, by the
 * CPU time of its thread, is what the machine adds. Prints as many floats as callback_times.c has
 * figures: how many; us of the longest; how many over 0.4, 0.7 and 1 ms.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cpu_times.h"

#define STEPS 40000

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: arithmetic MS\n");
        return 2;
    }
    uint64_t end = now_ns() + strtoull(argv[1], NULL, 10) * 1000000u;
    volatile uint64_t x = 1;
    do {
        uint64_t begin = cpu_ns();
        for (int i = 0; i < STEPS; i++)
            x = x * 6364136223846793005u + 1;
        note(begin);
    } while (now_ns() < end);
    printf("%.1f %.1f", (double)count, (double)longest / 1000);
    for (size_t i = 0; i < LIMITS; i++)
        printf(" %.1f", (double)over[i]);
    printf("\n");
    return 0;
}
