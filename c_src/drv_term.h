/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that the driver sends. Atoms are made once, in init: driver_mk_atom is not thread-safe.
 * A receiver that is gone is nobody's error, so nothing here fails.
 */
#ifndef DRV_TERM_H
#define DRV_TERM_H

#include <erl_driver.h>

#include "gr_session.h"

/* Requests in one message to the acceptor. More of them save little and delay the first. */
#define DRV_BATCH_MAX 128

typedef struct drv_request {
    uint64_t id; /* 0: a cast */
    gr_order order;
    const uint8_t *data;
    size_t size;
    ErlDrvBinary *bin; /* holds data if not NULL; given away with the message */
} drv_request;

typedef enum {
    DRV_ATOM_UP,
    DRV_ATOM_DOWN,
    DRV_ATOM_REQUESTS,
    DRV_ATOM_FLUSH,
    DRV_ATOM_IDLE,
    DRV_ATOM_BYE,
    DRV_ATOM_NORMAL,
    DRV_ATOM_ACCEPTED,
    DRV_ATOM_REFUSED,
    DRV_ATOM_ACCEPT_ERROR,
    DRV_ATOM_READY,
    DRV_ATOM_LOST,
    DRV_ATOM_UNSENT,
    DRV_ATOM_TOO_BIG,
    DRV_ATOM_CLOSING,
    DRV_ATOM_CONNECT_TIMEOUT,
    DRV_ATOM_TLS,
    DRV_ATOM_ALERT,
    DRV_ATOM_CANCEL,
    DRV_ATOM_ORDERED,
    DRV_ATOM_BROADCAST,
    DRV_ATOM_COUNT
} drv_atom;

/* Why a connection is down: Atom, {tls, Atom} or {tls, {alert, Atom}}. */
typedef struct drv_reason {
    ErlDrvTermData atom;
    int tls;
    int alert; /* told by the peer */
} drv_reason;

void drv_term_init(void);

ErlDrvTermData drv_atom_errno(int error);

/* The reason that a result code of the core is, an errno, and an atom. */
drv_reason drv_reason_error(int rc);
drv_reason drv_reason_errno(int error);
drv_reason drv_reason_atom(drv_atom a);

/*
 * To the port's owner: {Port, What}, {Port, What, Arg}, {Port, down, Reason}, {Port, up, Node,
 * MaxMessage}. drv_tell is legal on any thread.
 */
void drv_tell(ErlDrvTermData port, drv_atom what);
void drv_tell_atom(ErlDrvTermData port, drv_atom what, ErlDrvTermData arg);
void drv_tell_down(ErlDrvTermData port, drv_reason reason);
void drv_tell_count(ErlDrvTermData port, drv_atom what, uint64_t n);
void drv_tell_up(ErlDrvTermData port, const gr_peer *peer);

/* {Port, accepted, Child, Address}. */
void drv_tell_accepted(ErlDrvTermData port, ErlDrvTermData child, const uint8_t *addr, size_t size);

/* {Port, requests, [{Id, Body} | {Id, Body, Order}]}. Drops the references that the batch holds. */
void drv_tell_requests(ErlDrvTermData port, drv_request *batch, size_t count);

/* {Port, cancel, Id}. */
void drv_tell_cancel(ErlDrvTermData port, uint64_t id);

/* To a caller: {Ref, Body}, {Ref, ready}, {Ref, {Kind, Reason}}, {Ref, {too_big, Size, Limit}}. */
void drv_answer_body(ErlDrvTermData port, const gr_call *c, const gr_event *ev);
void drv_answer_ready(ErlDrvTermData port, const gr_call *c);
void drv_answer_error(ErlDrvTermData port, const gr_call *c, drv_atom kind, drv_reason reason);
void drv_answer_too_big(ErlDrvTermData port, const gr_call *c, uint64_t size, uint64_t limit);

#endif
