/* SPDX-License-Identifier: Apache-2.0 */
/* Receivers by number. Shared by all ports without a lock: a place is taken and given up in one step. */
#include "drv_receiver.h"

#include <stdatomic.h>

#include "gr_wire.h"

/* gen_rpc has one for each scheduler, up to a limit below this one. */
#define RECEIVERS_MAX 64

static _Atomic uint64_t receivers[RECEIVERS_MAX]; /* ErlDrvTermData; 0: free */

static uint16_t enter(ErlDrvTermData process)
{
    for (uint16_t i = 0; i < RECEIVERS_MAX; i++) {
        uint64_t nobody = 0;
        if (atomic_compare_exchange_strong(&receivers[i], &nobody, process))
            return (uint16_t)(i + 1);
    }
    return 0;
}

ErlDrvSSizeT drv_receiver_open(drv_port *p, drv_result *r)
{
    uint8_t out[3] = {DRV_ST_YES};
    if (p->kind != DRV_KIND_NEW)
        return -1;
    p->receiver = enter(driver_caller(p->ix));
    if (!p->receiver)
        return drv_result_name(r, "system_limit");
    p->kind = DRV_KIND_RECEIVER;
    gr_put16(out + 1, p->receiver);
    return drv_result_bytes(r, out, sizeof out);
}

void drv_receiver_close(const drv_port *p)
{
    if (p->receiver)
        atomic_store(&receivers[p->receiver - 1], 0);
}

ErlDrvTermData drv_receiver_get(uint16_t number)
{
    return number >= 1 && number <= RECEIVERS_MAX ? (ErlDrvTermData)receivers[number - 1] : 0;
}
