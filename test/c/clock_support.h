/* SPDX-License-Identifier: Apache-2.0 */
/* The date, as mbedTLS sees it: real, or what a test makes it. */
#ifndef CLOCK_SUPPORT_H
#define CLOCK_SUPPORT_H

/*
 * Seconds since 1970, from now on and without going on; 0: the real date again. The time since the
 * machine was started is the same then, because mbedTLS 3.6 measures the age of tickets by it.
 */
void clock_stop_at(long long seconds);

/* Midnight at the beginning of this day, UTC. */
long long clock_date(int year, int month, int day);

#endif
