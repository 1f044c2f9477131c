/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets: all are non-blocking and close-on-exec. Results: an fd or 0, else a negative errno. */
#ifndef DRV_SOCK_H
#define DRV_SOCK_H

#include "drv_args.h"

typedef struct drv_keepalive {
    uint32_t idle;     /* s without traffic before the first probe */
    uint32_t interval; /* s between probes */
    uint32_t count;    /* probes without answer until the connection is dead */
} drv_keepalive;

/* Starts to connect. The socket becomes writable when it is connected or has failed. */
int drv_sock_connect(const drv_addr *addr, socklen_t size, const drv_sockopts *o);

/* Whether the connect that has become writable succeeded. */
int drv_sock_connected(int fd);

/* Listens with the longest backlog that the system allows. What is accepted has the same sizes. */
int drv_sock_listen(const drv_addr *addr, socklen_t size, const drv_sockopts *o);

int drv_sock_accept(int fd, drv_addr *peer);

/* Turns on TCP_NODELAY and keepalive, bounds what waits in the kernel; the first failure is returned, the rest is tried. */
int drv_sock_tune(int fd, const drv_keepalive *k);

/* What the kernel has; zeros where keepalive is off. */
void drv_sock_keepalive(int fd, drv_keepalive *k);

/* Sizes of the kernel's buffers, bytes. Linux counts its own overhead: twice what was asked for. */
void drv_sock_sizes(int fd, uint32_t *sndbuf, uint32_t *recbuf);

/* Port that the socket is bound to; 0 if it is not. */
uint16_t drv_sock_port(int fd);

/*
 * Family (4 or 6), port and address to out, at most 19 bytes. Returns how many. An address of IPv4 that
 * an IPv6 socket has mapped is one of IPv4.
 */
size_t drv_sock_format(const drv_addr *addr, uint8_t out[19]);

#endif
