/* SPDX-License-Identifier: Apache-2.0 */
/* A connection port: one socket and one session. */
#ifndef DRV_CONN_H
#define DRV_CONN_H

#include "drv_listener.h"
#include "drv_port.h"

/*
 * Makes the connection of an accepted socket for a port that does not exist yet. The connection
 * takes over fd and its place in quota, unless drv_conn_disown frees it without touching them.
 * NULL when out of memory.
 */
drv_conn *drv_conn_accepted(drv_port *p, int fd, drv_quota *quota);
void drv_conn_disown(drv_conn *c);

/* Commands. A negative result makes port_control fail with badarg. */
ErlDrvSSizeT drv_conn_connect(drv_port *p, const char *buf, size_t size, drv_result *r);
ErlDrvSSizeT drv_conn_control(drv_conn *c, unsigned cmd, const char *buf, size_t size,
                              drv_result *r);

/* port_command: a large message, admitted before. */
void drv_conn_outputv(drv_conn *c, ErlIOVec *ev);

void drv_conn_readable(drv_conn *c);
void drv_conn_writable(drv_conn *c);
void drv_conn_timeout(drv_conn *c);

/* Answers all callers that wait, closes the socket, frees. */
void drv_conn_stop(drv_conn *c);

#endif
