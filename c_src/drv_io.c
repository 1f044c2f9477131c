/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket side of a connection. What can hurt: drv_conn_down may be the end of any step here, so
 * whoever goes on after one asks whether the connection is still open.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
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

/*
 * And for how long each way, us: memory that is touched for the first time can take ten times as long to
 * fill, and a write over loopback does the work of the other side as well. The clock is looked at between
 * two reads of some 64 KiB and two writes of this size.
 */
#define IO_TIME 150u
#define WRITE_STEP ((size_t)128 * 1024)

/* How long a peer may take to close when all has been said, ms. */
#define CLOSING_MAX 5000u

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

/* Until the acceptor has it nobody has to know. */
static int is_unowned(const drv_conn *c)
{
    return c->server && !c->active && gr_session_is_up(c->session);
}

/*
 * Requests are delivered only as fast as they are started and their replies leave. First the place: what
 * is not used is passed on to others that wait for one.
 */
static gr_hold what_to_hold(drv_conn *c)
{
    if (!c->server)
        return GR_HOLD_NONE;
    int place = drv_limit_reserve(&c->places, gr_session_is_holding(c->session));
    if (!c->active || c->undelivered >= UNDELIVERED_MAX || gr_session_is_congested(c->session))
        return GR_HOLD_ALL;
    return place ? GR_HOLD_NONE : GR_HOLD_UNORDERED;
}

static gr_hold hold(drv_conn *c)
{
    gr_hold what = what_to_hold(c);
    gr_session_hold(c->session, what);
    return what;
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
        if (!is_unowned(c))
            drv_tell(id, DRV_ATOM_BYE);
        break;
    case GR_EV_IDLE:
        drv_tell(id, DRV_ATOM_IDLE);
        break;
    case GR_EV_END:
        drv_tlsio_last_words(c, 0);
        drv_io_finish(c);
        break;
    default:
        answer(c, ev);
    }
}

/* Requests on their way to the acceptor. */
typedef struct batch {
    size_t count;
    drv_request requests[DRV_BATCH_MAX];
} batch;

/* Ordered ones are run one after the other, and need no place. */
static void add_request(drv_conn *c, batch *b, const gr_event *ev)
{
    drv_request *r = &b->requests[b->count++];
    r->id = ev->type == GR_EV_REQUEST ? ev->id : 0;
    r->order = ev->order;
    r->data = ev->data;
    r->size = ev->size;
    r->bin = ev->blob.owner;
    if (r->order == GR_UNORDERED)
        drv_limit_use(&c->places);
}

static void send_batch(drv_conn *c, batch *b)
{
    if (!b->count)
        return;
    c->undelivered++;
    drv_tell_requests(c->port->id, b->requests, b->count);
    b->count = 0;
}

/* A request that is given up in the same breath need not be started. */
static int drop_request(drv_conn *c, batch *b, uint64_t id)
{
    for (size_t i = 0; i < b->count; i++) {
        drv_request *r = &b->requests[i];
        if (r->id != id)
            continue;
        if (r->order == GR_UNORDERED)
            drv_limit_ended(&c->places, 1);
        else
            gr_session_taken(c->session, 1, r->size);
        if (r->bin)
            driver_free_binary(r->bin);
        memmove(r, r + 1, (--b->count - i) * sizeof *r);
        return 1;
    }
    return 0;
}

static void on_cancel(drv_conn *c, batch *b, uint64_t id)
{
    if (drop_request(c, b, id) || !c->tell_cancels)
        return;
    send_batch(c, b);
    drv_tell_cancel(c->port->id, id);
}

/* Takes events until there are none or a batch is full. */
static int pump_batch(drv_conn *c)
{
    batch b;
    int rc = GR_OK;
    gr_hold what = hold(c);
    b.count = 0;
    while (b.count < DRV_BATCH_MAX && c->state == DRV_CONN_OPEN) {
        gr_event ev;
        /* Within a batch only places run out, and what is held changes what to do next. */
        if (what != GR_HOLD_NONE || c->places.max)
            what = hold(c);
        rc = gr_session_event(c->session, &ev);
        if (rc != GR_OK)
            break;
        if (ev.type == GR_EV_REQUEST || ev.type == GR_EV_CAST)
            add_request(c, &b, &ev);
        else if (ev.type == GR_EV_CANCEL)
            on_cancel(c, &b, ev.id);
        else
            on_event(c, &ev);
    }
    int full = b.count == DRV_BATCH_MAX;
    drv_limit_unreserve(&c->places);
    send_batch(c, &b);
    if (GR_IS_FATAL(rc))
        drv_conn_fail(c, rc);
    return full;
}

static void pump(drv_conn *c)
{
    while (c->state == DRV_CONN_OPEN && pump_batch(c))
        ;
}

/* ---- writing ---- */

static size_t peek_output(drv_conn *c, struct iovec *iov, size_t budget)
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

/* 0: all that budget and time allow is written; else the errno, EAGAIN included. */
static int write_some(drv_conn *c)
{
    size_t budget = WRITE_BUDGET;
    uint64_t end = drv_now_us() + IO_TIME;
    while (budget && gr_session_output(c->session) && drv_now_us() < end) {
        struct iovec iov[WRITE_IOV];
        size_t n = peek_output(c, iov, budget < WRITE_STEP ? budget : WRITE_STEP);
        if (!n)
            break; /* it has failed, which its next event tells */
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
    } while (c->state == DRV_CONN_OPEN && rc == GR_OK && budget &&
             !gr_session_is_paused(c->session) && !gr_session_more(c->session));
    if (c->state != DRV_CONN_OPEN)
        return;
    c->more = rc == GR_OK;
    if (c->more && !gr_session_is_paused(c->session))
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
    if (!c->session || c->state == DRV_CONN_CLOSING)
        return c->deadline;
    uint64_t due = gr_session_due(c->session);
    uint64_t own = c->trimmed ? GR_FOREVER : c->used + TRIM_AFTER;
    return due < own ? due : own;
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

void drv_io_turn(drv_conn *c)
{
    gr_session_turn(c->session, drv_now_us());
}

static void trim(drv_conn *c, uint64_t now)
{
    if (now < c->used + TRIM_AFTER)
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

void drv_io_finish(drv_conn *c)
{
    if (!c->server || c->eof) {
        drv_conn_down(c, drv_reason_atom(DRV_ATOM_NORMAL));
        return;
    }
    c->state = DRV_CONN_CLOSING;
    drv_limit_pass(&c->places);
    c->deadline = drv_now() + CLOSING_MAX;
    (void)shutdown(c->fd, SHUT_WR);
    drv_io_select(c, ERL_DRV_WRITE, 0);
    drv_io_select(c, ERL_DRV_READ, 1);
    drv_io_arm(c);
}

/* What the peer still sends is of no use to anybody. */
static void read_rest(drv_conn *c)
{
    uint8_t rest[4096];
    ssize_t got = 1;
    for (int i = 0; i < 16 && got > 0; i++)
        got = recv(c->fd, rest, sizeof rest, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        drv_conn_down(c, drv_reason_atom(DRV_ATOM_NORMAL));
}

void drv_io_settle(drv_conn *c)
{
    if (c->state == DRV_CONN_SECURING)
        drv_io_arm(c);
    pump(c);
    if (c->state == DRV_CONN_OPEN && c->more && !gr_session_is_paused(c->session))
        open_records(c);
    if (c->state == DRV_CONN_OPEN && !c->flush_pending && !c->writing)
        flush(c);
    if (c->state == DRV_CONN_OPEN)
        pump(c);
    if (c->state != DRV_CONN_OPEN)
        return;
    if (gr_session_output(c->session) && !c->flush_pending)
        drv_io_select(c, ERL_DRV_WRITE, 1);
    if (gr_session_more(c->session))
        ask_flush(c);
    drv_io_select(c, ERL_DRV_READ, !c->eof && !gr_session_is_paused(c->session));
    drv_io_arm(c);
}

/*
 * A lone caller gains nothing by waiting. With more of them under way the owner's flush comes
 * after all that is runnable before it, so load makes batches.
 */
static int wants_company(const drv_conn *c)
{
    if (gr_session_output(c->session) >= WRITE_AT_ONCE)
        return 0;
    return c->server ? gr_session_calls(c->session) > 0 : gr_session_calls(c->session) != 1;
}

void drv_io_submitted(drv_conn *c)
{
    if (!c->writing && !c->flush_pending) {
        if (wants_company(c)) {
            ask_flush(c);
        } else {
            drv_io_turn(c);
            drv_io_settle(c);
            return;
        }
    } else if (!c->writing && !c->tls && gr_session_output(c->session) >= WRITE_AT_ONCE) {
        c->flush_pending = 0;
        drv_io_turn(c);
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

static void read_tls(drv_conn *c)
{
    drv_tlsio_fill(c);
    if (c->state != DRV_CONN_OPEN)
        return;
    c->more = 1;
    if (!gr_session_is_paused(c->session))
        open_records(c);
}

static void read_plain(drv_conn *c)
{
    size_t spent = 0;
    int drained = 0;
    uint64_t end = drv_now_us() + IO_TIME;
    while (c->state == DRV_CONN_OPEN && spent < READ_BUDGET && !drained &&
           !gr_session_is_paused(c->session) && !gr_session_more(c->session)) {
        uint64_t frames = gr_session_frames_in(c->session);
        ssize_t got = read_some(c, READ_BUDGET - spent, &drained);
        if (got > 0) {
            gr_session_filled(c->session, (size_t)got);
            spent += (size_t)got;
        } else if (got == 0) {
            gr_session_eof(c->session, GR_EEOF);
            c->eof = 1;
        }
        pump(c);
        spent += (size_t)(gr_session_frames_in(c->session) - frames) * FRAME_COST;
        if (drv_now_us() >= end)
            break;
    }
}

static void read_input(drv_conn *c)
{
    if (c->tls)
        read_tls(c);
    else
        read_plain(c);
}

void drv_conn_readable(drv_conn *c)
{
    if (c->state == DRV_CONN_SECURING)
        drv_tlsio_readable(c);
    if (c->state == DRV_CONN_CLOSING)
        read_rest(c);
    if (c->state != DRV_CONN_OPEN)
        return;
    (void)drv_io_begin(c);
    drv_io_turn(c);
    read_input(c);
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
    drv_io_turn(c);
    if (!c->tls)
        c->flush_pending = 0;
    flush(c);
    if (c->state == DRV_CONN_OPEN)
        drv_io_settle(c);
}

/* The deadline of a state that has one; only with a session there are other times. */
static void time_is_up(drv_conn *c)
{
    switch (c->state) {
    case DRV_CONN_CONNECTING:
        drv_conn_down(c, drv_reason_atom(DRV_ATOM_CONNECT_TIMEOUT));
        break;
    case DRV_CONN_SECURING:
        drv_conn_fail(c, GR_EAUTHTIME);
        break;
    case DRV_CONN_CLOSING:
        drv_conn_down(c, drv_reason_atom(DRV_ATOM_NORMAL));
        break;
    default:
        break;
    }
}

/*
 * The VM itself may have stood still, or have had too much else to do. So what has come meanwhile, and
 * room that there is by now, count before the time does.
 */
static void catch_up(drv_conn *c)
{
    flush(c);
    if (c->state == DRV_CONN_OPEN && !c->eof && !gr_session_is_paused(c->session))
        read_input(c);
}

void drv_conn_timeout(drv_conn *c)
{
    c->armed = GR_FOREVER;
    uint64_t now = drv_now();
    if (c->state != DRV_CONN_OPEN) {
        if (c->deadline <= now)
            time_is_up(c);
        else
            drv_io_arm(c);
        return;
    }
    gr_session_clock(c->session, now);
    drv_io_turn(c);
    catch_up(c);
    if (c->state != DRV_CONN_OPEN)
        return;
    trim(c, now); /* behind the look, which may have taken a buffer */
    int rc = gr_session_tick(c->session);
    if (rc != GR_OK)
        drv_conn_fail(c, rc);
    else
        drv_io_settle(c);
}
