/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS between socket and session. What can hurt: while a thread of the pool has the TLS session,
 * c->tls is NULL, and nothing here may miss that.
 */
#include "drv_tlsio.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "drv_mem.h"
#include "drv_term.h"

/* Records sealed in one callback, some 30 to 60 us each. */
#define SEAL_RECORDS 2

/* Opening one of these takes so long that what came in it goes its way before the next one is opened. */
#define LARGE_RECORD (GR_TLS_RECORD / 2)

/* Stretches of plaintext that go into one record, and of ciphertext into one writev. */
#define IOV 32

/* ---- socket ---- */

/* 0 when all is written or the socket takes no more; else the errno. */
static int write_out(drv_conn *c)
{
    while (gr_tls_output(c->tls)) {
        gr_iov v[IOV];
        struct iovec iov[IOV];
        size_t n = gr_tls_peek(c->tls, v, IOV);
        for (size_t i = 0; i < n; i++) {
            iov[i].iov_base = v[i].data;
            iov[i].iov_len = v[i].size;
        }
        ssize_t w = writev(c->fd, iov, (int)n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : errno;
        gr_tls_consume(c->tls, (size_t)w);
    }
    return 0;
}

void drv_tlsio_fill(drv_conn *c)
{
    gr_iov v;
    int rc = gr_tls_space(c->tls, &v);
    if (rc != GR_OK) {
        drv_conn_fail(c, rc);
        return;
    }
    if (!v.size || c->eof)
        return;
    ssize_t got;
    do
        got = recv(c->fd, v.data, v.size, 0);
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        gr_tls_filled(c->tls, (size_t)got);
    } else if (got == 0) {
        gr_tls_eof(c->tls);
        c->eof = 1;
    } else if (errno != EAGAIN && errno != EWOULDBLOCK) {
        drv_conn_down(c, drv_reason_errno(errno));
    }
}

/* ---- handshake ---- */

/* Moves the session to the pool; until it is back there is nothing to be done with the socket. */
static int hand_over(drv_conn *c)
{
    c->handshake = drv_handshake_begin(c->port->id, c->tls, c->turn);
    if (!c->handshake)
        return GR_ENOMEM;
    c->tls = NULL;
    drv_io_select(c, ERL_DRV_READ, 0);
    drv_io_select(c, ERL_DRV_WRITE, 0);
    return GR_OK;
}

/* A stranger who says nothing costs no TLS session: a server makes it when the first byte is here. */
int drv_tlsio_begin(drv_conn *c, gr_str target, gr_str sni)
{
    c->state = DRV_CONN_SECURING;
    if (c->server) {
        drv_io_select(c, ERL_DRV_READ, 1);
        return GR_OK;
    }
    int rc = gr_tls_new(&c->tls, &drv_mem, &drv_blobs, c->tlsconf, target, sni);
    return rc == GR_OK ? hand_over(c) : rc;
}

static int make_server(drv_conn *c)
{
    const gr_str none = {NULL, 0};
    return gr_tls_new(&c->tls, &drv_mem, &drv_blobs, c->tlsconf, none, none);
}

static void hand_over_or_fail(drv_conn *c)
{
    int rc = hand_over(c);
    if (rc != GR_OK)
        drv_conn_fail(c, rc);
}

void drv_tlsio_readable(drv_conn *c)
{
    if (c->handshake)
        return;
    int rc = c->tls ? GR_OK : make_server(c);
    if (rc != GR_OK) {
        drv_conn_fail(c, rc);
        return;
    }
    drv_tlsio_fill(c);
    if (c->state == DRV_CONN_SECURING && gr_tls_has_record(c->tls))
        hand_over_or_fail(c);
}

void drv_tlsio_writable(drv_conn *c)
{
    if (!c->tls)
        return;
    int error = write_out(c);
    if (error)
        drv_conn_down(c, drv_reason_errno(error));
    else
        drv_io_select(c, ERL_DRV_WRITE, gr_tls_output(c->tls) != 0);
}

void drv_tlsio_continue(drv_conn *c)
{
    int rc;
    if (!c->handshake || !drv_handshake_end(c->handshake, &c->tls, &rc))
        return;
    c->handshake = NULL;
    c->turn.answered |= gr_tls_output(c->tls) != 0;
    drv_tlsio_writable(c);
    if (c->state != DRV_CONN_SECURING)
        return;
    if (rc == GR_OK)
        rc = drv_conn_open(c);
    else if (rc == GR_NONE)
        drv_io_select(c, ERL_DRV_READ, 1);
    if (GR_IS_FATAL(rc))
        drv_conn_fail(c, rc);
}

void drv_tlsio_free(drv_conn *c)
{
    if (c->handshake)
        drv_handshake_abandon(c->handshake);
    c->handshake = NULL;
    gr_tls_free(c->tls);
    c->tls = NULL;
}

/* ---- records ---- */

int drv_tlsio_open(drv_conn *c, size_t *budget)
{
    while (*budget) {
        gr_iov v[2];
        size_t n;
        size_t got;
        int rc = gr_session_space(c->session, v, &n);
        if (rc != GR_OK)
            return rc;
        size_t room = v[0].size < *budget ? v[0].size : *budget;
        if (!room)
            return GR_OK;
        rc = gr_tls_read(c->tls, v[0].data, room, &got);
        if (rc != GR_OK)
            return rc;
        gr_session_filled(c->session, got);
        *budget -= got;
        if (got >= LARGE_RECORD)
            break;
    }
    return GR_OK;
}

/* One record of the session's output. GR_NONE: there is none yet, because it is being compressed. */
static int seal(drv_conn *c)
{
    gr_iov v[IOV];
    size_t taken;
    size_t n = gr_session_peek(c->session, v, IOV);
    if (!n)
        return GR_NONE;
    int rc = gr_tls_write(c->tls, v, n, &taken);
    gr_session_consume(c->session, taken);
    gr_session_below(c->session, gr_tls_output(c->tls));
    return rc;
}

/*
 * A record is written before the next one is sealed, and nothing is sealed while ciphertext waits: so
 * never more than one record is sealed and unwritten, and the session sees soon enough that the peer
 * takes nothing.
 */
int drv_tlsio_write(drv_conn *c)
{
    int rc = GR_OK;
    int error = write_out(c);
    for (int i = 0; i < SEAL_RECORDS && rc == GR_OK && !error; i++) {
        if (gr_tls_output(c->tls) || !gr_session_output(c->session))
            break;
        rc = seal(c);
        error = GR_IS_FATAL(rc) ? ENOMEM : write_out(c);
    }
    gr_session_below(c->session, gr_tls_output(c->tls));
    return error;
}

void drv_tlsio_last_words(drv_conn *c, int refusal)
{
    if (!c->tls || c->fd < 0)
        return;
    if (refusal && c->session && gr_session_output(c->session))
        (void)seal(c);
    gr_tls_close(c->tls);
    (void)write_out(c);
}
