/* SPDX-License-Identifier: Apache-2.0 */
/* A listening port: accepts many connections an event, each as a port of its own. */
#ifndef DRV_LISTENER_H
#define DRV_LISTENER_H

#include "drv_port.h"

/* Counts a listener's open connections. Shared with them, also after the listener is closed. */
typedef struct drv_quota drv_quota;

void drv_quota_leave(drv_quota *q);

ErlDrvSSizeT drv_listener_open(drv_port *p, const char *buf, size_t size, drv_result *r);
void drv_listener_close(drv_listener *l);
void drv_listener_accept(drv_listener *l);

/* After a pause, or when the owner has looked at all that was accepted. */
void drv_listener_resume(drv_listener *l);

#endif
