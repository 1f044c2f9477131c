/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listener. What can hurt: descriptors may run out, and then the listening socket stays readable
 * for ever; so accepting pauses, and goes on by a timer.
 */
#include "drv_listener.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "drv_args.h"
#include "drv_conn.h"
#include "drv_sock.h"
#include "drv_term.h"
#include "gr_wire.h"

/* Connections accepted in one callback, some 5 us each. */
#define ACCEPT_BUDGET 64

/* Pause after the system had no descriptor or memory for one more connection, ms. */
#define ACCEPT_PAUSE 100

struct drv_quota {
    atomic_size_t refs; /* the listener and each open connection */
    atomic_size_t open;
    size_t max;
};

struct drv_listener {
    drv_port *port;
    int fd;
    int failing; /* the owner knows that accepting fails; until it succeeds again */
    drv_quota *quota;
};

static drv_quota *quota_new(size_t max)
{
    drv_quota *q = driver_alloc(sizeof *q);
    if (!q)
        return NULL;
    atomic_init(&q->refs, 1);
    atomic_init(&q->open, 0);
    q->max = max;
    return q;
}

static void quota_drop(drv_quota *q)
{
    if (atomic_fetch_sub(&q->refs, 1) == 1)
        driver_free(q);
}

/* Only the listener enters, so reading before adding is no race. */
static int quota_enter(drv_quota *q)
{
    if (atomic_load(&q->open) >= q->max)
        return 0;
    atomic_fetch_add(&q->open, 1);
    atomic_fetch_add(&q->refs, 1);
    return 1;
}

void drv_quota_leave(drv_quota *q)
{
    if (!q)
        return;
    atomic_fetch_sub(&q->open, 1);
    quota_drop(q);
}

ErlDrvSSizeT drv_listener_open(drv_port *p, const char *buf, size_t size, drv_result *r)
{
    drv_args a = drv_args_of(buf, size);
    drv_addr addr;
    socklen_t addr_size = drv_args_addr(&a, &addr);
    drv_sockopts opts = drv_args_sockopts(&a);
    uint32_t max = drv_args_u32(&a);
    if (!drv_args_done(&a) || !addr_size || p->kind != DRV_KIND_NEW)
        return -1;
    int fd = drv_sock_listen(&addr, addr_size, &opts);
    if (fd < 0)
        return drv_result_name(r, erl_errno_id(-fd));
    drv_listener *l = driver_alloc(sizeof *l);
    drv_quota *q = quota_new(max);
    if (!l || !q) {
        close(fd);
        if (l)
            driver_free(l);
        if (q)
            quota_drop(q);
        return drv_result_name(r, "enomem");
    }
    l->port = p;
    l->fd = fd;
    l->failing = 0;
    l->quota = q;
    p->listener = l;
    p->kind = DRV_KIND_LISTENER;
    driver_select(p->ix, drv_event(fd), ERL_DRV_READ | ERL_DRV_USE, 1);
    uint8_t out[3] = {DRV_ST_YES};
    gr_put16(out + 1, drv_sock_port(fd));
    return drv_result_bytes(r, out, sizeof out);
}

void drv_listener_close(drv_listener *l)
{
    driver_cancel_timer(l->port->ix);
    driver_select(l->port->ix, drv_event(l->fd), ERL_DRV_USE, 0);
    quota_drop(l->quota);
    driver_free(l);
}

/*
 * Makes the connection a port. Its data is complete before the port exists, because the VM may use
 * it as soon as this callback is over.
 */
static int adopt(drv_listener *l, int fd, const drv_addr *peer)
{
    drv_port *child = drv_port_new();
    drv_conn *conn = child ? drv_conn_accepted(child, fd, l->quota) : NULL;
    if (!conn) {
        if (child)
            driver_free(child);
        return -ENOMEM;
    }
    ErlDrvTermData owner = driver_connected(l->port->ix);
    ErlDrvPort ix = driver_create_port(l->port->ix, owner, DRV_NAME, (ErlDrvData)child);
    if (ix == (ErlDrvPort)-1) {
        drv_conn_disown(conn);
        driver_free(child);
        return -ENFILE;
    }
    child->ix = ix;
    child->id = driver_mk_port(ix);
    uint8_t addr[19];
    size_t size = drv_sock_format(peer, addr);
    drv_tell_accepted(l->port->id, child->id, addr, size);
    return 0;
}

static void stop_accepting(drv_listener *l)
{
    driver_select(l->port->ix, drv_event(l->fd), ERL_DRV_READ, 0);
}

static void pause_accepting(drv_listener *l, int rc)
{
    stop_accepting(l);
    driver_set_timer(l->port->ix, ACCEPT_PAUSE);
    if (!l->failing)
        drv_tell_atom(l->port->id, DRV_ATOM_ACCEPT_ERROR, drv_atom_errno(-rc));
    l->failing = 1;
}

/* These say something of one connection, not of the listener. */
static int is_passing(int rc)
{
    return rc == -ECONNABORTED || rc == -EINTR || rc == -EPROTO || rc == -EPERM;
}

/*
 * What has been accepted is the owner's to look at, who is slower than this. So it is asked to say when
 * it has: behind these, so that never more than ACCEPT_BUDGET of them wait for it.
 */
static void wait_for_owner(drv_listener *l)
{
    stop_accepting(l);
    drv_tell(l->port->id, DRV_ATOM_FLUSH);
}

void drv_listener_accept(drv_listener *l)
{
    uint64_t refused = 0;
    int adopted = 0;
    for (int i = 0; i < ACCEPT_BUDGET; i++) {
        drv_addr peer;
        int fd = drv_sock_accept(l->fd, &peer);
        if (fd == -EAGAIN || fd == -EWOULDBLOCK)
            break;
        if (is_passing(fd))
            continue;
        int rc = fd < 0 ? fd : 0;
        if (rc == 0 && !quota_enter(l->quota)) {
            close(fd);
            refused++;
            continue;
        }
        if (rc == 0 && (rc = adopt(l, fd, &peer)) < 0) {
            drv_quota_leave(l->quota);
            close(fd);
        }
        if (rc < 0) {
            pause_accepting(l, rc);
            break;
        }
        l->failing = 0;
        adopted++;
    }
    if (refused)
        drv_tell_count(l->port->id, DRV_ATOM_REFUSED, refused);
    if (adopted && !l->failing)
        wait_for_owner(l);
}

void drv_listener_resume(drv_listener *l)
{
    driver_select(l->port->ix, drv_event(l->fd), ERL_DRV_READ | ERL_DRV_USE, 1);
}
