/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of a connection, shared by drv_conn.c (life), drv_io.c (socket), drv_tlsio.c (TLS) and
 * drv_submit.c (messages).
 */
#ifndef DRV_CONN_IMPL_H
#define DRV_CONN_IMPL_H

#include "drv_conn.h"
#include "drv_limit.h"
#include "drv_sock.h"
#include "drv_term.h"
#include "drv_tls.h"
#include "gr_session.h"

typedef enum {
    DRV_CONN_CONNECTING, /* the socket is; config is kept for the session to come */
    DRV_CONN_ACCEPTED,   /* waits for the owner's HANDSHAKE */
    DRV_CONN_SECURING,   /* TLS handshake */
    DRV_CONN_OPEN,       /* has a session */
    DRV_CONN_CLOSING, /* has said all; waits for the peer to close, or the kernel may drop what it has not sent */
    DRV_CONN_DOWN /* no socket; the session only remembers who waits */
} drv_conn_state;

struct drv_conn {
    drv_port *port;
    drv_conn_state state;
    int fd;              /* -1 when down */
    gr_session *session; /* NULL while connecting and until the handshake starts */
    gr_tlsconf *tlsconf; /* a reference; NULL: plain TCP */
    gr_tls *tls;         /* NULL: plain TCP, no byte has come yet, or a thread of the pool has it */
    drv_handshake *handshake; /* that has it; NULL: none */
    drv_turn turn;            /* of its next step */
    drv_quota *quota;         /* of the listener; NULL on the connecting side */
    uint8_t *config;          /* until open: the arguments, with the cookie: wiped when used */
    size_t config_size;
    uint64_t deadline;    /* of the connect, the TLS handshake, then of closing, ms */
    uint64_t armed;       /* when the timer fires, ms; GR_FOREVER: it does not run */
    uint64_t used;        /* last input or submission, ms */
    int trimmed;          /* gave its buffers back since then */
    drv_places places;    /* of workers: of the accepting side */
    int tell_cancels;     /* the owner wants to hear of calls that are given up */
    drv_reason reason;    /* why it is down */
    unsigned undelivered; /* messages of requests that the acceptor has not taken yet */
    int server;
    int active;        /* requests may be delivered */
    int eof;           /* nothing more to read */
    int reading;       /* selected for reading */
    int writing;       /* selected for writing */
    int flush_pending; /* the owner was asked to flush */
    int more;          /* records may have come in that are not opened yet */
};

/*
 * The socket is connected: starts the session, or TLS and then, by drv_conn_open, the session. 0, or
 * a code of the core.
 */
int drv_conn_connected(drv_conn *c);
int drv_conn_open(drv_conn *c);

/* Ends it: closes the socket, tells the owner. Who waits is answered by DRAIN or stop. */
void drv_conn_down(drv_conn *c, drv_reason reason);
void drv_conn_fail(drv_conn *c, int rc); /* with a code of the core as the reason */

/* Answers at most budget of those who wait. Whether there are more. */
int drv_conn_drain(drv_conn *c, size_t budget);

void drv_io_select(drv_conn *c, int mode, int on);

/* Before input, output or a submission: sets the session's clock. Returns the time, ms. */
uint64_t drv_io_begin(drv_conn *c);

/* Before input or output: a callback's allowance of computing, and its time to the microsecond. */
void drv_io_turn(drv_conn *c);

/* Sets the timer to what is due first, if that is earlier than what it is set to. */
void drv_io_arm(drv_conn *c);

/* After input, time or a command: delivers events, writes what is queued, sets the timer. */
void drv_io_settle(drv_conn *c);

/* All is written: closes this side's half, and goes down when the peer has closed its own. */
void drv_io_finish(drv_conn *c);

/* After a submission: writes at once or asks the owner to flush; sets the timer. */
void drv_io_submitted(drv_conn *c);

/* Commands that submit: CALL, CAST, REPLY, ADMIT. */
ErlDrvSSizeT drv_submit(drv_conn *c, unsigned cmd, const char *buf, size_t size, drv_result *r);

#endif
