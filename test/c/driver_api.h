/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the VM's driver API that the shared parts of the glue use, on pthreads, which is what the
 * VM has it on. For tests with threads, which ThreadSanitizer could not follow through the VM itself.
 */
#ifndef DRIVER_API_H
#define DRIVER_API_H

#include <erl_driver.h>
#include <stdatomic.h>

/* A port's owner: how often it was told to flush, and not looked. */
typedef struct api_owner {
    atomic_uint flushes;
} api_owner;

/* As the driver names it. */
ErlDrvTermData api_port(api_owner *o);

/* Waits until it is told. */
void api_await_flush(api_owner *o);

/* What driver_caller returns to this thread. */
void api_set_caller(ErlDrvTermData caller);

/* Blocks and binaries that are allocated. */
long api_live(void);

#endif
