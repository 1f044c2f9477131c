/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of a connection: connecting or accepted, with TLS securing, open, down. Going down closes the socket at once;
 * the port lives until its owner closes it, because a driver that ends its own port pulls the
 * ground from under the callback that does so.
 */
#include "drv_conn.h"

#include <mbedtls/platform_util.h>
#include <string.h>
#include <sys/random.h>

#include "drv_args.h"
#include "drv_conn_impl.h"
#include "drv_mem.h"
#include "drv_term.h"
#include "drv_tlsio.h"
#include "gr_wire.h"

/* Callers answered in one callback when a connection is lost, some 300 ns each. */
#define DRAIN_BUDGET ((size_t)1000)

/* How long nothing is read when no request can be delivered, ms. */
#define HOLD_PAUSE 20u

/* Of the session's configuration: everything but the timeout of the connect before it. */
typedef struct conn_config {
    gr_session_config session;
    uint32_t max_running; /* workers of the node at once; 0: no limit */
    int tell_cancels;
    drv_keepalive keepalive;
    uint64_t tls; /* number of the configuration; 0: plain TCP */
    gr_str sni;
} conn_config;

static int read_config(gr_role role, const uint8_t *buf, size_t size, conn_config *out)
{
    drv_args a = drv_args_of(buf, size);
    gr_session_config *s = &out->session;
    memset(out, 0, sizeof *out);
    s->auth.role = role;
    s->auth_timeout = drv_args_time(&a);
    s->send_timeout = drv_args_time(&a);
    s->keepalive_interval = drv_args_time(&a);
    s->idle_timeout = drv_args_time(&a);
    s->output_limit = drv_args_u64(&a);
    s->auth.max_message = drv_args_u64(&a);
    out->max_running = drv_args_u32(&a);
    out->tell_cancels = drv_args_u8(&a);
    s->compress = drv_args_u8(&a);
    s->compress_context = drv_args_u8(&a);
    s->compress_min = drv_args_u32(&a);
    s->read_max = drv_args_u32(&a);
    out->keepalive.idle = drv_args_u32(&a);
    out->keepalive.interval = drv_args_u32(&a);
    out->keepalive.count = drv_args_u32(&a);
    s->auth.name = drv_args_str(&a);
    s->auth.target = drv_args_str(&a);
    s->auth.cookie = drv_args_str(&a);
    out->tls = drv_args_u64(&a);
    out->sni = drv_args_str(&a);
    s->hold_pause = HOLD_PAUSE;
    s->now = drv_now();
    return drv_args_done(&a) ? GR_OK : GR_ESTATE;
}

/* Takes a reference to the TLS configuration that is asked for, if any. */
static int find_tls(drv_conn *c, const conn_config *cfg)
{
    if (!cfg->tls)
        return GR_OK;
    c->tlsconf = drv_tls_find(cfg->tls, cfg->session.auth.role);
    return c->tlsconf ? GR_OK : GR_ESTATE;
}

static void forget_config(drv_conn *c)
{
    if (!c->config)
        return;
    mbedtls_platform_zeroize(c->config, c->config_size);
    driver_free(c->config);
    c->config = NULL;
}

static int keep_config(drv_conn *c, const void *buf, size_t size)
{
    c->config = driver_alloc(size + 1);
    if (!c->config)
        return GR_ENOMEM;
    memcpy(c->config, buf, size);
    c->config_size = size;
    return GR_OK;
}

static int vouches(void *ctx, gr_str name)
{
    const drv_conn *c = ctx;
    return gr_tls_is_for(c->tls, name);
}

/* The handshake of the session proves the same secret on the same TLS connection, or fails. */
static int bind_to_tls(drv_conn *c, gr_session_config *s, uint8_t binding[32])
{
    int rc = gr_tls_binding(c->tls, binding);
    s->auth.binding.data = binding;
    s->auth.binding.size = 32;
    if (c->server) {
        s->auth.vouches = vouches;
        s->auth.ctx = c;
    }
    if (c->deadline != GR_FOREVER)
        s->auth_timeout = c->deadline > s->now ? c->deadline - s->now : 0;
    return rc;
}

/*
 * Whether a process is alive: only of those that are not it can be known at once. A signal to it is the
 * price, so it is asked of calls alone that take long.
 */
static int is_alive(void *ctx, uintptr_t caller)
{
    const drv_conn *c = ctx;
    ErlDrvMonitor monitor;
    int rc = driver_monitor_process(c->port->ix, (ErlDrvTermData)caller, &monitor);
    if (rc == 0)
        (void)driver_demonitor_process(c->port->ix, &monitor);
    return rc <= 0;
}

static int open_session(drv_conn *c, conn_config *cfg)
{
    uint8_t binding[32];
    cfg->session.frame_max = c->tls ? GR_TLS_RECORD : GR_SESSION_FRAME_MAX;
    cfg->session.alive = is_alive;
    cfg->session.alive_ctx = c;
    int rc = c->tls ? bind_to_tls(c, &cfg->session, binding) : GR_OK;
    if (rc != GR_OK)
        return rc;
    if (getrandom(cfg->session.auth.nonce, GR_NONCE_SIZE, 0) != (ssize_t)GR_NONCE_SIZE)
        return GR_ECRYPTO;
    rc = gr_session_new(&c->session, &drv_mem, &drv_blobs, &cfg->session);
    if (rc != GR_OK)
        return rc;
    forget_config(c);
    c->places.port = c->port->id;
    c->places.max = c->server ? cfg->max_running : 0;
    c->tell_cancels = cfg->tell_cancels;
    c->more = c->tls != NULL;
    c->state = DRV_CONN_OPEN;
    return GR_OK;
}

static int secure(drv_conn *c, const conn_config *cfg)
{
    const gr_session_config *s = &cfg->session;
    c->deadline = s->auth_timeout == GR_FOREVER ? GR_FOREVER : s->now + s->auth_timeout;
    return drv_tlsio_begin(c, s->auth.target, cfg->sni);
}

static int begin(drv_conn *c, conn_config *cfg)
{
    if (drv_sock_tune(c->fd, &cfg->keepalive) < 0)
        return GR_EEOF; /* the kernel refuses options of a socket whose peer is gone */
    return c->tlsconf ? secure(c, cfg) : open_session(c, cfg);
}

static int read_kept(const drv_conn *c, conn_config *cfg)
{
    return read_config(c->server ? GR_SERVER : GR_CLIENT, c->config, c->config_size, cfg);
}

int drv_conn_connected(drv_conn *c)
{
    conn_config cfg;
    int rc = read_kept(c, &cfg);
    return rc == GR_OK ? begin(c, &cfg) : rc;
}

int drv_conn_open(drv_conn *c)
{
    conn_config cfg;
    int rc = read_kept(c, &cfg);
    if (rc == GR_OK)
        rc = open_session(c, &cfg);
    if (rc == GR_OK)
        drv_io_settle(c);
    return rc;
}

static drv_conn *conn_new(drv_port *p, int fd)
{
    drv_conn *c = driver_alloc(sizeof *c);
    if (!c)
        return NULL;
    memset(c, 0, sizeof *c);
    c->port = p;
    c->fd = fd;
    c->armed = c->deadline = GR_FOREVER;
    c->reason = drv_reason_error(GR_EEOF);
    p->conn = c;
    p->kind = DRV_KIND_CONN;
    return c;
}

drv_conn *drv_conn_accepted(drv_port *p, int fd, drv_quota *quota)
{
    drv_conn *c = conn_new(p, fd);
    if (!c)
        return NULL;
    c->state = DRV_CONN_ACCEPTED;
    c->quota = quota;
    c->server = 1;
    return c;
}

void drv_conn_disown(drv_conn *c)
{
    driver_free(c);
}

static void close_socket(drv_conn *c)
{
    if (c->fd < 0)
        return;
    driver_cancel_timer(c->port->ix);
    driver_select(c->port->ix, drv_event(c->fd), ERL_DRV_USE, 0);
    c->fd = -1;
    drv_quota_leave(c->quota);
    c->quota = NULL;
}

void drv_conn_down(drv_conn *c, drv_reason reason)
{
    if (c->state == DRV_CONN_DOWN)
        return;
    c->state = DRV_CONN_DOWN;
    c->reason = reason;
    close_socket(c);
    drv_limit_pass(&c->places);
    drv_tell_down(c->port->id, reason);
}

/* A refused stranger gets the refusal in one write, if the socket takes it. */
static void write_refusal(const drv_conn *c)
{
    gr_iov v;
    if (c->fd >= 0 && c->session && gr_session_peek(c->session, &v, 1) == 1)
        (void)!send(c->fd, v.data, v.size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void drv_conn_fail(drv_conn *c, int rc)
{
    int refused = rc == GR_ECOOKIE || rc == GR_EWRONGNODE || rc == GR_ETLS_NAME;
    if (c->tls)
        drv_tlsio_last_words(c, refused);
    else if (refused)
        write_refusal(c);
    drv_conn_down(c, drv_reason_error(rc));
}

int drv_conn_drain(drv_conn *c, size_t budget)
{
    gr_call *call = NULL;
    while (c->session && budget-- && (call = gr_session_take(c->session)) != NULL) {
        drv_atom kind = gr_session_was_sent(c->session, call) ? DRV_ATOM_LOST : DRV_ATOM_UNSENT;
        drv_answer_error(c->port->id, call, kind, c->reason);
        gr_session_free_call(c->session, call);
    }
    return call != NULL;
}

void drv_conn_stop(drv_conn *c)
{
    if (c->state == DRV_CONN_OPEN)
        drv_tlsio_last_words(c, 0);
    close_socket(c);
    drv_tlsio_free(c);
    gr_tlsconf_unref(c->tlsconf);
    drv_limit_leave(&c->places);
    while (drv_conn_drain(c, SIZE_MAX))
        ;
    gr_session_free(c->session);
    forget_config(c);
    driver_free(c);
}

/* ---- commands ---- */

ErlDrvSSizeT drv_conn_connect(drv_port *p, const char *buf, size_t size, drv_result *r)
{
    drv_args a = drv_args_of(buf, size);
    drv_addr addr;
    conn_config cfg;
    socklen_t addr_size = drv_args_addr(&a, &addr);
    drv_sockopts opts = drv_args_sockopts(&a);
    uint64_t timeout = drv_args_time(&a);
    size_t left = (size_t)(a.end - a.at);
    if (a.short_of || !addr_size || p->kind != DRV_KIND_NEW ||
        read_config(GR_CLIENT, a.at, left, &cfg) != GR_OK)
        return -1;
    drv_conn *c = conn_new(p, -1);
    if (!c || keep_config(c, a.at, left) != GR_OK)
        return drv_result_name(r, "enomem");
    if (find_tls(c, &cfg) != GR_OK)
        return drv_result_name(r, "no_such_tls_configuration");
    int fd = drv_sock_connect(&addr, addr_size, &opts);
    if (fd < 0)
        return drv_result_name(r, erl_errno_id(-fd));
    c->fd = fd;
    c->deadline = timeout == GR_FOREVER ? GR_FOREVER : drv_now() + timeout;
    /* A socket that is connected already is writable at once. */
    drv_io_select(c, ERL_DRV_WRITE, 1);
    drv_io_arm(c);
    return drv_result_none();
}

static ErlDrvSSizeT do_handshake(drv_conn *c, const char *buf, size_t size)
{
    drv_args a = drv_args_of(buf, size);
    conn_config cfg;
    uint32_t crowd = drv_args_u32(&a);
    size_t left = (size_t)(a.end - a.at);
    if (a.short_of || !crowd || c->state != DRV_CONN_ACCEPTED ||
        read_config(GR_SERVER, a.at, left, &cfg) != GR_OK || find_tls(c, &cfg) != GR_OK)
        return -1;
    c->turn.crowd = crowd;
    int rc = c->tlsconf ? keep_config(c, a.at, left) : GR_OK;
    if (rc == GR_OK)
        rc = begin(c, &cfg);
    if (rc != GR_OK)
        drv_conn_fail(c, rc);
    else
        drv_io_settle(c);
    return drv_result_none();
}

static ErlDrvSSizeT do_close(drv_conn *c, const char *buf, size_t size, drv_result *r)
{
    drv_args a = drv_args_of(buf, size);
    uint64_t linger = drv_args_time(&a);
    int only_idle = drv_args_u8(&a);
    if (!drv_args_done(&a))
        return -1;
    if (c->state == DRV_CONN_DOWN)
        return drv_result_status(r, DRV_ST_DOWN);
    if (c->state == DRV_CONN_CLOSING)
        return drv_result_status(r, DRV_ST_CLOSING);
    if (c->session)
        gr_session_clock(c->session, drv_now());
    int rc = c->session ? gr_session_close(c->session, linger, only_idle) : GR_ESTATE;
    if (rc == GR_EBUSY)
        return drv_result_status(r, DRV_ST_BUSY);
    if (GR_IS_FATAL(rc))
        drv_conn_fail(c, rc);
    else if (rc != GR_OK)
        return drv_result_status(r, DRV_ST_CLOSING);
    else
        drv_io_settle(c);
    return drv_result_none();
}

static ErlDrvSSizeT do_cancel(drv_conn *c, const char *buf, size_t size, drv_result *r)
{
    drv_args a = drv_args_of(buf, size);
    uint64_t id = drv_args_u64(&a);
    if (!drv_args_done(&a))
        return -1;
    if (c->state == DRV_CONN_OPEN)
        (void)drv_io_begin(c);
    int rc = c->session ? gr_session_cancel(c->session, id) : GR_ENOENT;
    if (c->state == DRV_CONN_OPEN && rc == GR_OK)
        drv_io_submitted(c);
    return drv_result_status(r, rc == GR_OK ? DRV_ST_YES : DRV_ST_NO);
}

static int is_holding(const drv_conn *c)
{
    return c->session && gr_session_is_holding(c->session);
}

static ErlDrvSSizeT do_settle(drv_conn *c)
{
    if (c->state == DRV_CONN_SECURING)
        drv_tlsio_continue(c);
    if (c->state == DRV_CONN_DOWN || c->state == DRV_CONN_CLOSING)
        drv_limit_pass(&c->places);
    if (c->state != DRV_CONN_OPEN)
        return drv_result_none();
    gr_session_clock(c->session, drv_now());
    drv_io_turn(c);
    drv_io_settle(c);
    return drv_result_none();
}

/* The workers of a connection outlive it, and have their places until they end. */
static ErlDrvSSizeT do_ended(drv_conn *c, const char *buf, size_t size)
{
    drv_args a = drv_args_of(buf, size);
    uint32_t workers = drv_args_u32(&a);
    if (!drv_args_done(&a))
        return -1;
    drv_limit_ended(&c->places, workers);
    return drv_result_none();
}

static ErlDrvSSizeT do_taken(drv_conn *c, const char *buf, size_t size)
{
    drv_args a = drv_args_of(buf, size);
    uint32_t messages = drv_args_u32(&a);
    uint64_t bytes = drv_args_u64(&a);
    if (!drv_args_done(&a))
        return -1;
    if (c->state != DRV_CONN_OPEN)
        return drv_result_none();
    gr_session_taken(c->session, messages, bytes);
    return do_settle(c);
}

#define INFO_COUNTERS 18
#define INFO_FIXED (2 + INFO_COUNTERS * 8 + 6 * 4)
#define INFO_SUITE_MAX 64

/* Version (0: no TLS), whether resumed, name of the suite. Returns how many bytes it put. */
static size_t put_tls_info(const drv_conn *c, uint8_t *out)
{
    gr_tls_info info;
    out[0] = 0;
    if (!c->tls || !c->session)
        return 1;
    gr_tls_info_get(c->tls, &info);
    size_t size = info.suite ? strlen(info.suite) : 0;
    if (size > INFO_SUITE_MAX)
        size = INFO_SUITE_MAX;
    out[0] = (uint8_t)info.version;
    out[1] = (uint8_t)info.resumed;
    if (size)
        memcpy(out + 2, info.suite, size);
    return 2 + size;
}

static ErlDrvSSizeT do_info(const drv_conn *c, drv_result *r)
{
    gr_session_stats st;
    drv_keepalive k;
    uint32_t sndbuf = 0;
    uint32_t recbuf = 0;
    uint8_t out[INFO_FIXED + 2 + INFO_SUITE_MAX] = {(uint8_t)c->state, (uint8_t)(c->server != 0)};
    memset(&st, 0, sizeof st);
    memset(&k, 0, sizeof k);
    if (c->session)
        gr_session_stats_get(c->session, &st);
    if (c->fd >= 0) {
        drv_sock_keepalive(c->fd, &k);
        drv_sock_sizes(c->fd, &sndbuf, &recbuf);
    }
    const uint64_t counters[INFO_COUNTERS] = {
        st.calls,       st.served,     st.waiting, st.output,     st.bytes_in,   st.bytes_out,
        st.frames_in,   st.frames_out, st.late,    st.held,       st.too_late,   st.cancels_in,
        st.cancels_out, st.aborted,    st.blocked, st.blocked_ms, st.deflate_in, st.deflate_out};
    uint8_t *at = out + 2;
    for (size_t i = 0; i < INFO_COUNTERS; i++, at += 8)
        gr_put64(at, counters[i]);
    gr_put32(at, k.idle);
    gr_put32(at + 4, k.interval);
    gr_put32(at + 8, k.count);
    gr_put32(at + 12, sndbuf);
    gr_put32(at + 16, recbuf);
    gr_put32(at + 20, (uint32_t)st.read_max);
    return drv_result_bytes(r, out, INFO_FIXED + put_tls_info(c, out + INFO_FIXED));
}

ErlDrvSSizeT drv_conn_control(drv_conn *c, unsigned cmd, const char *buf, size_t size,
                              drv_result *r)
{
    switch (cmd) {
    case DRV_CMD_CALL:
    case DRV_CMD_CAST:
    case DRV_CMD_REPLY:
    case DRV_CMD_ADMIT:
    case DRV_CMD_ORDERED:
    case DRV_CMD_BROADCAST:
    case DRV_CMD_ASK:
    case DRV_CMD_CALL_FOR:
        if (c->state == DRV_CONN_OPEN)
            return drv_submit(c, cmd, buf, size, r);
        return drv_result_status(r, DRV_ST_DOWN);
    case DRV_CMD_FLUSH:
        c->flush_pending = 0;
        return do_settle(c);
    case DRV_CMD_CREDIT:
        if (c->undelivered)
            c->undelivered--;
        return is_holding(c) ? do_settle(c) : drv_result_none();
    case DRV_CMD_ACTIVATE:
        if (c->state == DRV_CONN_DOWN)
            return drv_result_status(r, DRV_ST_DOWN);
        c->active = 1;
        return do_settle(c);
    case DRV_CMD_ENDED:
        return do_ended(c, buf, size);
    case DRV_CMD_TAKEN:
        return do_taken(c, buf, size);
    case DRV_CMD_CANCEL:
        return do_cancel(c, buf, size, r);
    case DRV_CMD_CLOSE:
        return do_close(c, buf, size, r);
    case DRV_CMD_DRAIN:
        return drv_result_status(r, drv_conn_drain(c, DRAIN_BUDGET) ? DRV_ST_YES : DRV_ST_NO);
    case DRV_CMD_INFO:
        return do_info(c, r);
    case DRV_CMD_HANDSHAKE:
        return do_handshake(c, buf, size);
    default:
        return -1;
    }
}
