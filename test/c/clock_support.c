/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for time() and clock_gettime() of the C library, also for the libraries that the tests
 * are linked with.
 */
#include "clock_support.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static atomic_llong stopped;

int clock_gettime(clockid_t id, struct timespec *out)
{
    long long now = atomic_load(&stopped);
    if (id != CLOCK_BOOTTIME || !now)
        return (int)syscall(SYS_clock_gettime, id, out);
    out->tv_sec = (time_t)now;
    out->tv_nsec = 0;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    now.tv_sec = (time_t)atomic_load(&stopped);
    if (!now.tv_sec)
        clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

void clock_stop_at(long long seconds)
{
    atomic_store(&stopped, seconds);
}

long long clock_date(int year, int month, int day)
{
    struct tm tm;
    memset(&tm, 0, sizeof tm);
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    tm.tm_mday = day;
    return timegm(&tm);
}
