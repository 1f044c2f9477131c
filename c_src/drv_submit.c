/* SPDX-License-Identifier: Apache-2.0 */
/* Messages from Erlang: small ones in a port_control, large ones by reference in a port_command. */
#include <string.h>

#include "drv_args.h"
#include "drv_conn_impl.h"
#include "drv_receiver.h"
#include "drv_term.h"
#include "gr_wire.h"

/*
 * Head of a port_command: command, id, time, tag, and of CALL_FOR the receiver. A tag holds a reference:
 * node name and 40 bytes.
 */
#define HEAD_FIXED 17u
#define HEAD_MAX (HEAD_FIXED + GR_NAME_MAX + 64u)

/* Pieces that need no allocation. gen_rpc_port.erl packs messages of very many small ones. */
#define PIECES_MAX 64

static int is_submission(unsigned cmd)
{
    return (cmd >= DRV_CMD_CALL && cmd <= DRV_CMD_REPLY) ||
           (cmd >= DRV_CMD_ORDERED && cmd <= DRV_CMD_ASK) || cmd == DRV_CMD_CALL_FOR;
}

static int is_answered(unsigned cmd)
{
    return cmd == DRV_CMD_CALL || cmd == DRV_CMD_ASK || cmd == DRV_CMD_CALL_FOR;
}

static gr_order order_of(unsigned cmd)
{
    switch (cmd) {
    case DRV_CMD_ORDERED:
        return GR_ORDERED;
    case DRV_CMD_BROADCAST:
    case DRV_CMD_ASK:
        return GR_BROADCAST;
    default:
        return GR_UNORDERED;
    }
}

/* *receiver: who gets the reply; 0: nobody of that number. Room is waited for by the one who submits. */
static gr_submit get_submitter(drv_conn *c, unsigned cmd, drv_args *a, uintptr_t *receiver)
{
    gr_submit who;
    uint64_t now = drv_io_begin(c);
    who.id = drv_args_u64(a);
    uint64_t time = drv_args_time(a);
    who.deadline = time == GR_FOREVER ? GR_FOREVER : now + time;
    gr_str tag = drv_args_str(a);
    who.caller = driver_caller(c->port->ix);
    who.order = order_of(cmd);
    who.cast = cmd == DRV_CMD_CAST;
    who.tag = tag.data;
    who.tag_size = tag.size;
    *receiver = cmd == DRV_CMD_CALL_FOR ? drv_receiver_get(drv_args_u16(a)) : who.caller;
    return who;
}

static int queue(drv_conn *c, unsigned cmd, const gr_submit *who, const gr_piece *pieces, size_t n)
{
    if (is_answered(cmd))
        return gr_session_call(c->session, who, pieces, n);
    if (cmd != DRV_CMD_REPLY)
        return gr_session_cast(c->session, who->order, pieces, n);
    int rc = gr_session_reply(c->session, who->id, pieces, n);
    /* The caller has been told, or is gone. Either way the worker is done. */
    return rc == GR_ETOOBIG || rc == GR_ENOENT ? GR_OK : rc;
}

static ErlDrvSSizeT result_of(drv_conn *c, int rc, drv_result *r)
{
    uint8_t out[9] = {DRV_ST_TOO_BIG};
    switch (rc) {
    case GR_OK:
        return drv_result_none();
    case GR_EBUSY:
        return drv_result_status(r, DRV_ST_BUSY);
    case GR_ECLOSING:
        return drv_result_status(r, DRV_ST_CLOSING);
    case GR_ETOOBIG:
        gr_put64(out + 1, gr_session_limit(c->session));
        return drv_result_bytes(r, out, sizeof out);
    default:
        if (!GR_IS_FATAL(rc))
            return -1;
        drv_conn_fail(c, rc);
        return drv_result_status(r, DRV_ST_DOWN);
    }
}

ErlDrvSSizeT drv_submit(drv_conn *c, unsigned cmd, const char *buf, size_t size, drv_result *r)
{
    drv_args a = drv_args_of(buf, size);
    uintptr_t receiver;
    gr_submit who = get_submitter(c, cmd, &a, &receiver);
    uint64_t asked = (uint64_t)(a.end - a.at);
    if (cmd == DRV_CMD_ADMIT) {
        asked = drv_args_u64(&a);
        unsigned then = drv_args_u8(&a);
        who.order = order_of(then);
        who.cast = then == DRV_CMD_CAST;
    }
    if (a.short_of || !receiver)
        return -1;
    int rc = gr_session_admit(c->session, &who, asked);
    if (rc == GR_OK && cmd != DRV_CMD_ADMIT) {
        gr_piece body = {a.at, (size_t)asked, NULL};
        who.caller = receiver;
        rc = queue(c, cmd, &who, &body, 1);
        if (rc == GR_OK)
            drv_io_submitted(c);
    }
    return result_of(c, rc, r);
}

/* Whoever sent a large message learns by message what a small one learns by result. */
static void refuse(drv_conn *c, unsigned cmd, const gr_submit *who, int rc, uint64_t size)
{
    if (!is_answered(cmd) || rc == GR_EEXIST)
        return;
    gr_call *call = driver_alloc(sizeof *call + who->tag_size);
    if (!call)
        return;
    call->caller = who->caller;
    call->tag_size = who->tag_size;
    memcpy(call->tag, who->tag, who->tag_size);
    if (rc == GR_ETOOBIG)
        drv_answer_too_big(c->port->id, call, size, gr_session_limit(c->session));
    else
        drv_answer_error(c->port->id, call, DRV_ATOM_UNSENT, drv_reason_error(rc));
    driver_free(call);
}

/* The pieces of ev behind skip bytes. */
static size_t get_pieces(const ErlIOVec *ev, size_t skip, gr_piece *pieces)
{
    size_t n = 0;
    for (int i = 0; i < ev->vsize; i++) {
        size_t len = ev->iov[i].iov_len;
        size_t drop = skip < len ? skip : len;
        skip -= drop;
        if (len == drop)
            continue;
        pieces[n].data = (const uint8_t *)ev->iov[i].iov_base + drop;
        pieces[n].size = len - drop;
        pieces[n].owner = ev->binv[i];
        n++;
    }
    return n;
}

static int queue_vector(drv_conn *c, unsigned cmd, const gr_submit *who, const ErlIOVec *ev,
                        size_t skip)
{
    gr_piece few[PIECES_MAX];
    gr_piece *pieces = few;
    if (c->state != DRV_CONN_OPEN)
        return GR_EEOF;
    if (ev->vsize > PIECES_MAX)
        pieces = driver_alloc((size_t)ev->vsize * sizeof *pieces);
    if (!pieces)
        return GR_ENOMEM;
    int rc = queue(c, cmd, who, pieces, get_pieces(ev, skip, pieces));
    if (pieces != few)
        driver_free(pieces);
    return rc;
}

void drv_conn_outputv(drv_conn *c, ErlIOVec *ev)
{
    char head[HEAD_MAX];
    size_t have = driver_vec_to_buf(ev, head, ev->size < HEAD_MAX ? ev->size : HEAD_MAX);
    drv_args a = drv_args_of(head, have);
    unsigned cmd = drv_args_u8(&a);
    if (!c->session)
        return;
    uintptr_t receiver;
    gr_submit who = get_submitter(c, cmd, &a, &receiver);
    if (a.short_of || !receiver || !is_submission(cmd))
        return;
    who.caller = receiver;
    size_t skip = (size_t)(a.at - (const uint8_t *)head);
    int rc = queue_vector(c, cmd, &who, ev, skip);
    if (rc == GR_OK) {
        drv_io_submitted(c);
        return;
    }
    refuse(c, cmd, &who, rc, ev->size - skip);
    if (GR_IS_FATAL(rc) && c->state == DRV_CONN_OPEN)
        drv_conn_fail(c, rc);
}
