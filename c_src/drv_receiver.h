/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that get the replies to calls which others submit. The VM has no way to make a pid of bytes,
 * so each of them says once who it is, and calls name it by its number.
 */
#ifndef DRV_RECEIVER_H
#define DRV_RECEIVER_H

#include <stddef.h>

#include "drv_port.h"

/* The process that asks becomes a receiver, until this port, which serves nothing else, is closed. */
ErlDrvSSizeT drv_receiver_open(drv_port *p, drv_result *r);
void drv_receiver_close(const drv_port *p);

/* The process of that number, which may have ended; 0: there is none. */
ErlDrvTermData drv_receiver_get(uint16_t number);

#endif
