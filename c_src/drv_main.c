/* SPDX-License-Identifier: Apache-2.0 */
/* Driver entry: each callback is a cast and a call into the connection or the listener. */
#include <errno.h>
#include <erl_driver.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "drv_conn.h"
#include "drv_limit.h"
#include "drv_listener.h"
#include "drv_pool.h"
#include "drv_port.h"
#include "drv_receiver.h"
#include "drv_term.h"
#include "drv_tls.h"

uint64_t drv_now(void)
{
    /* A resolution of a few ms is enough; the VM's own clock takes a lock and costs several times more. */
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t drv_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

drv_port *drv_port_new(void)
{
    drv_port *p = driver_alloc(sizeof *p);
    if (p)
        memset(p, 0, sizeof *p);
    return p;
}

static int drv_init(void)
{
    if (!gr_mbedtls_same_version())
        return -1;
    drv_term_init();
    if (drv_pool_init() != 0)
        return -1;
    if (drv_tls_init() != 0)
        goto no_tls;
    if (drv_limit_init() == 0)
        return 0;
    drv_tls_finish();
no_tls:
    drv_pool_finish();
    return -1;
}

/* No port is left, but handshakes that nobody waits for may be. */
static void drv_finish(void)
{
    drv_pool_finish();
    drv_tls_finish();
    drv_limit_finish();
}

static ErlDrvData drv_start(ErlDrvPort ix, char *command)
{
    if (strcmp(command, DRV_NAME " " DRV_VERSION) != 0)
        return ERL_DRV_ERROR_BADARG;
    drv_port *p = drv_port_new();
    if (!p) {
        errno = ENOMEM;
        return ERL_DRV_ERROR_ERRNO;
    }
    p->ix = ix;
    p->id = driver_mk_port(ix);
    return (ErlDrvData)p;
}

static void drv_stop(ErlDrvData data)
{
    drv_port *p = (drv_port *)data;
    if (p->conn)
        drv_conn_stop(p->conn);
    if (p->listener)
        drv_listener_close(p->listener);
    if (p->tlsconf)
        drv_tls_unload(p->tlsconf);
    drv_receiver_close(p);
    driver_free(p);
}

static ErlDrvSSizeT listener_control(drv_listener *l, unsigned cmd)
{
    if (cmd != DRV_CMD_FLUSH)
        return -1;
    drv_listener_resume(l);
    return drv_result_none();
}

static ErlDrvSSizeT drv_control(ErlDrvData data, unsigned int cmd, char *buf, ErlDrvSizeT size,
                                char **rbuf, ErlDrvSizeT room)
{
    drv_port *p = (drv_port *)data;
    drv_result r = {rbuf, room};
    if (p->kind == DRV_KIND_CONN)
        return drv_conn_control(p->conn, cmd, buf, size, &r);
    if (p->kind == DRV_KIND_LISTENER)
        return listener_control(p->listener, cmd);
    if (cmd == DRV_CMD_CONNECT)
        return drv_conn_connect(p, buf, size, &r);
    if (cmd == DRV_CMD_LISTEN)
        return drv_listener_open(p, buf, size, &r);
    if (cmd == DRV_CMD_TLS_LOAD)
        return drv_tls_load(p, buf, size, &r);
    if (cmd == DRV_CMD_RECEIVE)
        return drv_receiver_open(p, &r);
    if (cmd == DRV_CMD_THREADS && p->kind == DRV_KIND_NEW && size == 1)
        return drv_pool_limit((uint8_t)buf[0]) == 0 ? drv_result_none() : -1;
    return -1;
}

static void drv_outputv(ErlDrvData data, ErlIOVec *ev)
{
    drv_port *p = (drv_port *)data;
    if (p->kind == DRV_KIND_CONN)
        drv_conn_outputv(p->conn, ev);
}

static void drv_ready_input(ErlDrvData data, ErlDrvEvent event)
{
    drv_port *p = (drv_port *)data;
    (void)event;
    if (p->kind == DRV_KIND_CONN)
        drv_conn_readable(p->conn);
    else if (p->kind == DRV_KIND_LISTENER)
        drv_listener_accept(p->listener);
}

static void drv_ready_output(ErlDrvData data, ErlDrvEvent event)
{
    drv_port *p = (drv_port *)data;
    (void)event;
    if (p->kind == DRV_KIND_CONN)
        drv_conn_writable(p->conn);
}

static void drv_timeout(ErlDrvData data)
{
    drv_port *p = (drv_port *)data;
    if (p->kind == DRV_KIND_CONN)
        drv_conn_timeout(p->conn);
    else if (p->kind == DRV_KIND_LISTENER)
        drv_listener_resume(p->listener);
}

/* Nobody is monitored for longer than it takes to see whether it is alive. */
static void drv_process_exit(ErlDrvData data, ErlDrvMonitor *monitor)
{
    (void)data;
    (void)monitor;
}

/* May run later, on any thread, without the port's lock. */
static void drv_stop_select(ErlDrvEvent event, void *reserved)
{
    (void)reserved;
    close((int)(intptr_t)event);
}

static ErlDrvEntry entry = {
    .init = drv_init,
    .start = drv_start,
    .stop = drv_stop,
    .ready_input = drv_ready_input,
    .ready_output = drv_ready_output,
    .driver_name = DRV_NAME,
    .finish = drv_finish,
    .control = drv_control,
    .timeout = drv_timeout,
    .outputv = drv_outputv,
    .extended_marker = (int)ERL_DRV_EXTENDED_MARKER,
    .major_version = ERL_DRV_EXTENDED_MAJOR_VERSION,
    .minor_version = ERL_DRV_EXTENDED_MINOR_VERSION,
    /* Admission is the session's: the VM's own queue limit would suspend callers without end. */
    .driver_flags = ERL_DRV_FLAG_USE_PORT_LOCKING | ERL_DRV_FLAG_NO_BUSY_MSGQ,
    .process_exit = drv_process_exit,
    .stop_select = drv_stop_select,
};

DRIVER_INIT(gen_rpc_drv)
{
    return &entry;
}
