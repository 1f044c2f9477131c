/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments of port commands, as gen_rpc_port.erl encodes them. A reader that runs past the end
 * gives zeros and remembers it, so a command checks once, after its last field.
 */
#ifndef DRV_ARGS_H
#define DRV_ARGS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "gr_auth.h"

/* Any process may call a port, so its arguments are checked like a stranger's. */
typedef struct drv_args {
    const uint8_t *at;
    const uint8_t *end;
    int short_of; /* a field was missing */
} drv_args;

typedef union drv_addr {
    struct sockaddr sa;
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
} drv_addr;

/* What a socket is opened with. */
typedef struct drv_sockopts {
    int v6only;      /* if it is of IPv6, it does not speak IPv4 as well */
    uint32_t sndbuf; /* bytes; 0: the system's size, which it may change with the connection */
    uint32_t recbuf; /* likewise */
} drv_sockopts;

static inline drv_args drv_args_of(const void *buf, size_t size)
{
    drv_args a = {buf, (const uint8_t *)buf + size, 0};
    return a;
}

uint8_t drv_args_u8(drv_args *a);
uint16_t drv_args_u16(drv_args *a);
uint32_t drv_args_u32(drv_args *a);
uint64_t drv_args_u64(drv_args *a);

/* Milliseconds in 32 bits; all ones stand for GR_FOREVER. */
uint64_t drv_args_time(drv_args *a);

/* A 16-bit length and as many bytes, which stay where they are. */
gr_str drv_args_str(drv_args *a);

/* The same with a 32-bit length. */
gr_str drv_args_blob(drv_args *a);

/* Family (4 or 6), port, address. Returns the address's size, 0 if it is not one. */
socklen_t drv_args_addr(drv_args *a, drv_addr *addr);

/* Whether IPv6 only, size to send from, size to receive into. */
drv_sockopts drv_args_sockopts(drv_args *a);

/* 0 when a field was missing or something is left over. */
int drv_args_done(const drv_args *a);

#endif
