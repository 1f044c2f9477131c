/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket side of a connection. What can hurt: drv_conn_down may be the end of any step here, so
 * whoever goes on after one asks whether the connection is still open.
 */
#include <errno.h>
#include <sys/uio.h>

#include "drv_conn_impl.h"
#include "drv_mem.h"
#include "drv_term.h"
#include "drv_tlsio.h"

/*
 * Bytes moved in one callback each way: some 100 us of copying. A frame costs as much again as the
 * copying of this many bytes, so of small ones fewer bytes are taken.
 */
#define READ_BUDGET ((size_t)512 * 1024)
#define FRAME_COST ((size_t)1024)
#define WRITE_BUDGET ((size_t)512 * 1024)

/* How long unused until a connection gives its buffers back, ms. */
#define TRIM_AFTER 1000u

/* Stretches in one writev. */
#define WRITE_IOV 32

/* Output that is written without waiting for company: a write of this size costs mostly copying. */
#define WRITE_AT_ONCE ((size_t)64 * 1024)

/* Plaintext opened in one callback: two records, and the question whether there is another one. */
#define OPEN_BUDGET (2 * GR_TLS_RECORD + 1)

/* Messages of requests on their way to the acceptor; it takes one while the next is filled. */
#define UNDELIVERED_MAX 8

void drv_io_select(drv_conn *c, int mode, int on)
{
    int *now = mode == ERL_DRV_READ ? &c->reading : &c->writing;
    if (*now == on)
        return;
    *now = on;
    driver_select(c->port->ix, drv_event(c->fd), on ? mode | ERL_DRV_USE : mode, on);
}

/* ---- events ---- */

/* The accepting side takes requests only as fast as they are started and their replies leave. */
static int may_deliver(const drv_conn *c)
{
    if (!c->server || !gr_session_is_up(c->session))
        return 1;
    return c->active && c->undelivered < UNDELIVERED_MAX &&
           gr_session_output(c->session) < c->output_limit;
}

static void add_request(drv_request *r, const gr_event *ev)
{
    r->id = ev->type == GR_EV_REQUEST ? ev->id : 0;
    r->data = ev->data;
    r->size = ev->size;
    r->bin = ev->blob.owner;
}

static void answer(drv_conn *c, gr_event *ev)
{
    ErlDrvTermData id = c->port->id;
    if (ev->type == GR_EV_REPLY)
        drv_answer_body(id, ev->call, ev);
    else if (ev->type == GR_EV_TOOBIG)
        drv_answer_too_big(id, ev->call, ev->too_big_size, ev->too_big_limit);
    else
        drv_answer_ready(id, ev->call);
    if (ev->blob.owner)
        drv_blobs.unref(drv_blobs.ctx, ev->blob.owner);
    gr_session_free_call(c->session, ev->call);
}

static void on_event(drv_conn *c, gr_event *ev)
{
    ErlDrvTermData id = c->port->id;
    switch (ev->type) {
    case GR_EV_UP:
        drv_tell_up(id, gr_session_peer(c->session));
        break;
    case GR_EV_BYE:
        drv_tell(id, DRV_ATOM_BYE);
        break;
    case GR_EV_IDLE:
        drv_tell(id, DRV_ATOM_IDLE);
        break;
    case GR_EV_END:
        drv_tlsio_last_words(c, 0);
        drv_conn_down(c, drv_reason_atom(DRV_ATOM_NORMAL));
        break;
    default:
        answer(c, ev);
    }
}

/* Takes events until there are none, a batch is full, or the acceptor has enough. */
static int pump_batch(drv_conn *c)
{
    drv_request batch[DRV_BATCH_MAX];
    size_t n = 0;
    int rc = GR_NONE;
    gr_event ev;
    while (n < DRV_BATCH_MAX && c->state == DRV_CONN_OPEN && may_deliver(c) &&
           (rc = gr_session_event(c->session, &ev)) == GR_OK) {
        if (ev.type == GR_EV_REQUEST || ev.type == GR_EV_CAST)
            add_request(&batch[n++], &ev);
        else
            on_event(c, &ev);
    }
    if (n) {
        c->undelivered++;
        drv_tell_requests(c->port->id, batch, n);
    }
    if (GR_IS_FATAL(rc))
        drv_conn_fail(c, rc);
    return n == DRV_BATCH_MAX;
}

static void pump(drv_conn *c)
{
    while (c->state == DRV_CONN_OPEN && pump_batch(c))
        ;
}

/* ---- writing ---- */

static size_t peek_output(const drv_conn *c, struct iovec *iov, size_t budget)
{
    gr_iov v[WRITE_IOV];
    size_t n = gr_session_peek(c->session, v, WRITE_IOV);
    size_t used = 0;
    for (; used < n && budget; used++) {
        iov[used].iov_base = v[used].data;
        iov[used].iov_len = v[used].size < budget ? v[used].size : budget;
        budget -= iov[used].iov_len;
    }
    return used;
}

/* 0: all that the budget allows is written; else the errno, EAGAIN included. */
static int write_some(drv_conn *c)
{
    size_t budget = WRITE_BUDGET;
    while (budget && gr_session_output(c->session)) {
        struct iovec iov[WRITE_IOV];
        size_t n = peek_output(c, iov, budget);
        ssize_t w = writev(c->fd, iov, (int)n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return errno;
        gr_session_consume(c->session, (size_t)w);
        budget -= (size_t)w;
    }
    return 0;
}

static void ask_flush(drv_conn *c)
{
    if (c->flush_pending)
        return;
    c->flush_pending = 1;
    drv_tell(c->port->id, DRV_ATOM_FLUSH);
}

/*
 * With TLS the socket may take more than was sealed. Then the owner, not the socket, says when to go
 * on: that costs less, and lets others run in between.
 */
static void flush(drv_conn *c)
{
    int error = c->tls ? drv_tlsio_write(c) : write_some(c);
    if (error && error != EAGAIN && error != EWOULDBLOCK) {
        drv_conn_down(c, drv_reason_errno(error));
        return;
    }
    size_t left = c->tls ? gr_tls_output(c->tls) : gr_session_output(c->session);
    drv_io_select(c, ERL_DRV_WRITE, left != 0);
    if (!left && gr_session_output(c->session))
        ask_flush(c);
}

/* ---- input of TLS ---- */

/* Opens records as long as the budget lasts and their content is taken. */
static void open_records(drv_conn *c)
{
    size_t budget = OPEN_BUDGET;
    int rc;
    do {
        size_t before = budget;
        rc = drv_tlsio_open(c, &budget);
        pump(c);
        if (before == budget)
            break;
    } while (c->state == DRV_CONN_OPEN && rc == GR_OK && budget && may_deliver(c));
    if (c->state != DRV_CONN_OPEN)
        return;
    c->more = rc == GR_OK;
    if (c->more && may_deliver(c))
        ask_flush(c);
    if (rc == GR_EEOF || rc == GR_ETLS_TRUNCATED) {
        c->eof = 1;
        gr_session_eof(c->session, rc);
        pump(c);
    } else if (GR_IS_FATAL(rc)) {
        drv_conn_fail(c, rc);
    }
}

/* ---- time ---- */

static uint64_t due_of(const drv_conn *c)
{
    if (!c->session)
        return c->deadline;
    uint64_t due = gr_session_due(c->session);
    uint64_t trim = c->trimmed ? GR_FOREVER : c->used + TRIM_AFTER;
    return due < trim ? due : trim;
}

/* Reads the clock for what comes; the connection is in use. */
uint64_t drv_io_begin(drv_conn *c)
{
    uint64_t now = drv_now();
    gr_session_clock(c->session, now);
    c->used = now;
    c->trimmed = 0;
    return now;
}

static void trim(drv_conn *c, uint64_t now)
{
    if (c->trimmed || now < c->used + TRIM_AFTER)
        return;
    gr_session_trim(c->session);
    if (c->tls)
        gr_tls_trim(c->tls);
    c->trimmed = 1;
}

void drv_io_arm(drv_conn *c)
{
    uint64_t due = due_of(c);
    if (due >= c->armed)
        return;
    uint64_t now = drv_now();
    c->armed = due;
    driver_set_timer(c->port->ix, (unsigned long)(due > now ? due - now : 0));
}

void drv_io_settle(drv_conn *c)
{
    if (c->state == DRV_CONN_SECURING)
        drv_io_arm(c);
    pump(c);
    if (c->state == DRV_CONN_OPEN && c->more && may_deliver(c))
        open_records(c);
    if (c->state == DRV_CONN_OPEN && !c->flush_pending && !c->writing)
        flush(c);
    if (c->state == DRV_CONN_OPEN)
        pump(c);
    if (c->state != DRV_CONN_OPEN)
        return;
    if (gr_session_output(c->session) && !c->flush_pending)
        drv_io_select(c, ERL_DRV_WRITE, 1);
    drv_io_select(c, ERL_DRV_READ, !c->eof && may_deliver(c));
    gr_session_reading(c->session, c->reading);
    drv_io_arm(c);
}

/*
 * A lone caller gains nothing by waiting. With more of them under way the owner's flush comes
 * after all that is runnable before it, so load makes batches.
 */
static int wants_company(const drv_conn *c)
{
    gr_session_stats st;
    if (gr_session_output(c->session) >= WRITE_AT_ONCE)
        return 0;
    gr_session_stats_get(c->session, &st);
    return c->server ? st.served > 0 : st.calls != 1;
}

void drv_io_submitted(drv_conn *c)
{
    if (!c->writing && !c->flush_pending) {
        if (wants_company(c)) {
            ask_flush(c);
        } else {
            drv_io_settle(c);
            return;
        }
    } else if (!c->writing && !c->tls && gr_session_output(c->session) >= WRITE_AT_ONCE) {
        c->flush_pending = 0;
        drv_io_settle(c);
        return;
    }
    drv_io_arm(c);
}

/* ---- callbacks ---- */

/* Bytes read; 0 at the end; -1 when there is nothing now or the connection is down. */
static ssize_t read_some(drv_conn *c, size_t budget, int *drained)
{
    gr_iov v[2];
    struct iovec iov[2];
    size_t n;
    size_t room = 0;
    int rc = gr_session_space(c->session, v, &n);
    if (rc != GR_OK) {
        drv_conn_fail(c, rc);
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        iov[i].iov_base = v[i].data;
        iov[i].iov_len = v[i].size < budget ? v[i].size : budget;
        room += iov[i].iov_len;
        if (iov[i].iov_len < v[i].size)
            n = i + 1; /* the second stretch comes behind all of the first */
    }
    ssize_t got;
    do
        got = readv(c->fd, iov, (int)n);
    while (got < 0 && errno == EINTR);
    if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        drv_conn_down(c, drv_reason_errno(errno));
    *drained = got < (ssize_t)room;
    return got;
}

static size_t frames_in(const drv_conn *c)
{
    gr_session_stats st;
    gr_session_stats_get(c->session, &st);
    return (size_t)st.frames_in;
}

static void read_tls(drv_conn *c)
{
    drv_tlsio_fill(c);
    if (c->state != DRV_CONN_OPEN)
        return;
    c->more = 1;
    if (may_deliver(c))
        open_records(c);
}

static void read_plain(drv_conn *c)
{
    size_t spent = 0;
    int drained = 0;
    while (c->state == DRV_CONN_OPEN && spent < READ_BUDGET && !drained && may_deliver(c)) {
        size_t frames = frames_in(c);
        ssize_t got = read_some(c, READ_BUDGET - spent, &drained);
        if (got > 0) {
            gr_session_filled(c->session, (size_t)got);
            spent += (size_t)got;
        } else if (got == 0) {
            gr_session_eof(c->session, GR_EEOF);
            c->eof = 1;
        }
        pump(c);
        spent += (frames_in(c) - frames) * FRAME_COST;
    }
}

void drv_conn_readable(drv_conn *c)
{
    if (c->state == DRV_CONN_SECURING)
        drv_tlsio_readable(c);
    if (c->state != DRV_CONN_OPEN)
        return;
    (void)drv_io_begin(c);
    if (c->tls)
        read_tls(c);
    else
        read_plain(c);
    if (c->state == DRV_CONN_OPEN)
        drv_io_settle(c);
}

void drv_conn_writable(drv_conn *c)
{
    if (c->state == DRV_CONN_CONNECTING) {
        int rc = drv_sock_connected(c->fd);
        if (rc < 0) {
            drv_conn_down(c, drv_reason_errno(-rc));
            return;
        }
        rc = drv_conn_connected(c);
        if (rc != GR_OK) {
            drv_conn_fail(c, rc);
            return;
        }
        drv_io_arm(c);
    } else if (c->state == DRV_CONN_SECURING) {
        drv_tlsio_writable(c);
    }
    if (c->state != DRV_CONN_OPEN)
        return;
    (void)drv_io_begin(c);
    if (!c->tls)
        c->flush_pending = 0;
    flush(c);
    if (c->state == DRV_CONN_OPEN)
        drv_io_settle(c);
}

void drv_conn_timeout(drv_conn *c)
{
    c->armed = GR_FOREVER;
    uint64_t now = drv_now();
    if (c->state == DRV_CONN_CONNECTING) {
        if (c->deadline <= now)
            drv_conn_down(c, drv_reason_atom(DRV_ATOM_CONNECT_TIMEOUT));
        else
            drv_io_arm(c);
        return;
    }
    if (c->state == DRV_CONN_SECURING) {
        if (c->deadline <= now)
            drv_conn_fail(c, GR_EAUTHTIME);
        else
            drv_io_arm(c);
        return;
    }
    if (c->state != DRV_CONN_OPEN)
        return;
    gr_session_clock(c->session, now);
    trim(c, now);
    int rc = gr_session_tick(c->session);
    if (rc != GR_OK)
        drv_conn_fail(c, rc);
    else
        drv_io_settle(c);
}
