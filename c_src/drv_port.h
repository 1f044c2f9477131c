/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a port of this driver is, and the numbers of its commands. gen_rpc_port.erl has the same
 * numbers; DRV_VERSION changes with any of them, and a port of another version does not open.
 */
#ifndef DRV_PORT_H
#define DRV_PORT_H

#include <erl_driver.h>
#include <stdint.h>

#define DRV_NAME "gen_rpc_drv"
#define DRV_VERSION "5"

enum {
    DRV_CMD_CONNECT = 1,
    DRV_CMD_LISTEN = 2,
    DRV_CMD_HANDSHAKE = 3, /* on an accepted port */
    DRV_CMD_ACTIVATE = 4,  /* deliver requests */
    DRV_CMD_CALL = 5,      /* also as the first byte of port_command's data */
    DRV_CMD_CAST = 6,      /* likewise */
    DRV_CMD_REPLY = 7,     /* likewise */
    DRV_CMD_ADMIT = 8,     /* asks what a command that submits would be answered */
    DRV_CMD_FLUSH = 9,
    DRV_CMD_CREDIT = 10,
    DRV_CMD_CANCEL = 11,
    DRV_CMD_CLOSE = 12,
    DRV_CMD_DRAIN = 13, /* after down: answers some of the callers that are left */
    DRV_CMD_INFO = 14,
    DRV_CMD_TLS_LOAD = 15,
    DRV_CMD_ORDERED = 16,   /* a cast on the ordered lane; as CALL */
    DRV_CMD_BROADCAST = 17, /* likewise, for a registered process */
    DRV_CMD_ASK = 18,       /* likewise, and with a reply */
    DRV_CMD_ENDED = 19,     /* so many workers of this connection have ended */
    DRV_CMD_TAKEN = 20,     /* so many ordered messages, of so many bytes, are being run */
    DRV_CMD_CALL_FOR = 21,  /* as CALL; another process gets the reply */
    DRV_CMD_RECEIVE =
        22, /* on a new port: the process that asks becomes a receiver of such replies */
    DRV_CMD_THREADS = 23 /* on a new port: how many there are for handshakes */
};

/* First byte of a command's result; success of a submission is an empty result. */
enum {
    DRV_ST_BUSY = 1,    /* {Ref, ready} will follow */
    DRV_ST_CLOSING = 2, /* nothing new on this connection */
    DRV_ST_DOWN = 3,
    DRV_ST_TOO_BIG = 4, /* then the limit, 64 bits */
    DRV_ST_ERROR = 5,   /* then a name */
    DRV_ST_YES = 6,
    DRV_ST_NO = 7
};

typedef struct drv_conn drv_conn;
typedef struct drv_listener drv_listener;
typedef struct drv_tlsconf drv_tlsconf;

typedef enum {
    DRV_KIND_NEW,
    DRV_KIND_CONN,
    DRV_KIND_LISTENER,
    DRV_KIND_TLSCONF,
    DRV_KIND_RECEIVER
} drv_kind;

/* A port's data. Protected by the port's own lock; only the driver's callbacks touch it. */
typedef struct drv_port {
    ErlDrvPort ix;
    ErlDrvTermData id;
    drv_kind kind;
    drv_conn *conn;
    drv_listener *listener;
    drv_tlsconf *tlsconf;
    uint16_t receiver; /* its number */
} drv_port;

/* A descriptor as driver_select wants it. */
static inline ErlDrvEvent drv_event(int fd)
{
    return (ErlDrvEvent)(intptr_t)fd;
}

/* Where a command writes its result. buf is the VM's and small. */
typedef struct drv_result {
    char **buf;
    size_t room;
} drv_result;

/* Each returns what the control callback returns: the result's size. */
ErlDrvSSizeT drv_result_none(void);
ErlDrvSSizeT drv_result_status(drv_result *r, int status);
ErlDrvSSizeT drv_result_name(drv_result *r, const char *name); /* DRV_ST_ERROR and the name */
ErlDrvSSizeT drv_result_bytes(drv_result *r, const void *data, size_t size);

/* Makes a port's data; NULL when out of memory. */
drv_port *drv_port_new(void);

/* Monotonic milliseconds, from some start. */
uint64_t drv_now(void);

/* Monotonic microseconds, of a clock that costs more. */
uint64_t drv_now_us(void);

#endif
