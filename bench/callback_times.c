/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver with a clock around each of its callbacks. Linked with the objects of the driver itself,
 * whose driver_init is renamed, see bench/run.
 */
#include <erl_driver.h>
#include <string.h>

#include "cpu_times.h"

#define CMD_TAKE \
    255u /* u32 each: how many; ns of the longest; how many over each limit; begins anew */

static ErlDrvEntry *real;
static ErlDrvEntry timed;

ErlDrvEntry *untimed_driver_init(void);

static char *put(char *out, uint64_t n)
{
    uint32_t shown = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
    for (int shift = 24; shift >= 0; shift -= 8)
        *out++ = (char)(shown >> shift);
    return out;
}

/* The VM's own buffer for what a control returns takes 64 bytes. */
static ErlDrvSSizeT take(char *out)
{
    char *end = put(out, atomic_exchange(&count, 0));
    end = put(end, atomic_exchange(&longest, 0));
    for (size_t i = 0; i < LIMITS; i++)
        end = put(end, atomic_exchange(&over[i], 0));
    return end - out;
}

static ErlDrvSSizeT control(ErlDrvData data, unsigned int cmd, char *buf, ErlDrvSizeT size,
                            char **rbuf, ErlDrvSizeT room)
{
    if (cmd == CMD_TAKE)
        return take(*rbuf);
    uint64_t begin = cpu_ns();
    ErlDrvSSizeT result = real->control(data, cmd, buf, size, rbuf, room);
    note(begin);
    return result;
}

static void outputv(ErlDrvData data, ErlIOVec *ev)
{
    uint64_t begin = cpu_ns();
    real->outputv(data, ev);
    note(begin);
}

static void ready_input(ErlDrvData data, ErlDrvEvent event)
{
    uint64_t begin = cpu_ns();
    real->ready_input(data, event);
    note(begin);
}

static void ready_output(ErlDrvData data, ErlDrvEvent event)
{
    uint64_t begin = cpu_ns();
    real->ready_output(data, event);
    note(begin);
}

static void timeout(ErlDrvData data)
{
    uint64_t begin = cpu_ns();
    real->timeout(data);
    note(begin);
}

static void stop(ErlDrvData data)
{
    uint64_t begin = cpu_ns();
    real->stop(data);
    note(begin);
}

DRIVER_INIT(gen_rpc_drv)
{
    real = untimed_driver_init();
    memcpy(&timed, real, sizeof timed);
    timed.control = control;
    timed.outputv = outputv;
    timed.ready_input = ready_input;
    timed.ready_output = ready_output;
    timed.timeout = timeout;
    timed.stop = stop;
    return &timed;
}
