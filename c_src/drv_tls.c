/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configurations and handshakes. What can hurt: a handshake runs beside the port that it is for, and
 * the port may be gone before it ends; so its state says who frees it, and changes only once.
 */
#include "drv_tls.h"

#include <stdatomic.h>
#include <string.h>

#include "drv_args.h"
#include "drv_mem.h"
#include "drv_pool.h"
#include "drv_term.h"
#include "gr_wire.h"

/* ---- configurations ---- */

struct drv_tlsconf {
    uint64_t number;
    gr_tlsconf *conf;
    drv_tlsconf *next;
};

static struct {
    ErlDrvMutex *lock;
    drv_tlsconf *first;
    uint64_t last_number;
} confs;

int drv_tls_init(void)
{
    memset(&confs, 0, sizeof confs);
    confs.lock = erl_drv_mutex_create("gen_rpc_tls");
    return confs.lock ? 0 : -1;
}

void drv_tls_finish(void)
{
    erl_drv_mutex_destroy(confs.lock);
}

static uint64_t publish(drv_tlsconf *c)
{
    erl_drv_mutex_lock(confs.lock);
    c->number = ++confs.last_number;
    c->next = confs.first;
    confs.first = c;
    erl_drv_mutex_unlock(confs.lock);
    return c->number;
}

void drv_tls_unload(drv_tlsconf *c)
{
    erl_drv_mutex_lock(confs.lock);
    drv_tlsconf **at = &confs.first;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    erl_drv_mutex_unlock(confs.lock);
    gr_tlsconf_unref(c->conf);
    driver_free(c);
}

gr_tlsconf *drv_tls_find(uint64_t number, gr_role role)
{
    gr_tlsconf *conf = NULL;
    erl_drv_mutex_lock(confs.lock);
    for (drv_tlsconf *c = confs.first; c && !conf; c = c->next)
        if (c->number == number && gr_tlsconf_role(c->conf) == role)
            conf = c->conf;
    if (conf)
        gr_tlsconf_ref(conf);
    erl_drv_mutex_unlock(confs.lock);
    return conf;
}

static int read_options(drv_args *a, gr_tlsconf_options *o, gr_str *node)
{
    memset(o, 0, sizeof *o);
    o->role = drv_args_u8(a) ? GR_SERVER : GR_CLIENT;
    o->verify = drv_args_u8(a);
    o->need_cert = drv_args_u8(a);
    o->tickets = drv_args_u8(a);
    o->depth = drv_args_u8(a);
    o->min_version = drv_args_u8(a);
    o->max_version = drv_args_u8(a);
    *node = drv_args_str(a);
    o->cert = drv_args_blob(a);
    o->key = drv_args_blob(a);
    o->password = drv_args_blob(a);
    o->ca = drv_args_blob(a);
    o->dh = drv_args_blob(a);
    o->crl = drv_args_blob(a);
    o->ciphers = drv_args_blob(a);
    return drv_args_done(a);
}

static ErlDrvSSizeT tell_wrong(drv_result *r, const gr_tlsconf_error *err)
{
    uint8_t out[2 + sizeof err->why] = {DRV_ST_NO, (uint8_t)err->option};
    size_t size = strlen(err->why);
    memcpy(out + 2, err->why, size);
    return drv_result_bytes(r, out, 2 + size);
}

static ErlDrvSSizeT tell_loaded(drv_port *p, drv_result *r, gr_tlsconf *conf, gr_str node)
{
    drv_tlsconf *c = driver_alloc(sizeof *c);
    if (!c) {
        gr_tlsconf_unref(conf);
        return drv_result_name(r, "enomem");
    }
    c->conf = conf;
    uint8_t out[10] = {DRV_ST_YES};
    gr_put64(out + 1, publish(c));
    out[9] = (uint8_t)gr_tlsconf_is_for(conf, node);
    p->tlsconf = c;
    p->kind = DRV_KIND_TLSCONF;
    return drv_result_bytes(r, out, sizeof out);
}

ErlDrvSSizeT drv_tls_load(drv_port *p, const char *buf, size_t size, drv_result *r)
{
    drv_args a = drv_args_of(buf, size);
    gr_tlsconf_options o;
    gr_tlsconf_error err;
    gr_tlsconf *conf;
    gr_str node;
    if (!read_options(&a, &o, &node) || p->kind != DRV_KIND_NEW)
        return -1;
    int rc = gr_tlsconf_new(&conf, &drv_mem, &o, &err);
    if (rc == GR_ESTATE)
        return tell_wrong(r, &err);
    if (rc != GR_OK)
        return drv_result_name(r, gr_error_name(rc));
    return tell_loaded(p, r, conf, node);
}

/* ---- handshakes ---- */

enum { RUNNING, DONE, ABANDONED };

struct drv_handshake {
    drv_job job;
    ErlDrvTermData port;
    gr_tls *tls;
    int rc;
    atomic_int state;
};

static void handshake_free(drv_handshake *h)
{
    gr_tls_free(h->tls);
    driver_free(h);
}

/* Whoever changes the state from RUNNING first leaves the rest to the other. */
static int leave(drv_handshake *h, int state)
{
    int running = RUNNING;
    return atomic_compare_exchange_strong(&h->state, &running, state);
}

static void run(drv_job *job)
{
    drv_handshake *h = (drv_handshake *)job;
    ErlDrvTermData port = h->port;
    if (atomic_load(&h->state) == RUNNING)
        h->rc = gr_tls_handshake(h->tls);
    if (leave(h, DONE))
        drv_tell(port, DRV_ATOM_FLUSH);
    else
        handshake_free(h);
}

/* The first one is our own; then two for crowds of 1, 2 and 3, 4 to 7, and so on. */
static unsigned rank_of(drv_turn turn)
{
    unsigned rank = 0;
    for (uint32_t crowd = turn.crowd; crowd; crowd >>= 1)
        rank += 2;
    rank -= turn.crowd && turn.answered;
    return rank < DRV_POOL_RANKS ? rank : DRV_POOL_RANKS - 1;
}

drv_handshake *drv_handshake_begin(ErlDrvTermData port, gr_tls *tls, drv_turn turn)
{
    drv_handshake *h = driver_alloc(sizeof *h);
    if (!h)
        return NULL;
    memset(h, 0, sizeof *h);
    h->job.run = run;
    h->port = port;
    h->tls = tls;
    atomic_init(&h->state, RUNNING);
    drv_pool_place place = turn.crowd && !turn.answered ? DRV_POOL_FIRST : DRV_POOL_LAST;
    if (drv_pool_submit(&h->job, rank_of(turn), place) == 0)
        return h;
    driver_free(h);
    return NULL;
}

int drv_handshake_end(drv_handshake *h, gr_tls **tls, int *rc)
{
    if (atomic_load(&h->state) != DONE)
        return 0;
    *tls = h->tls;
    *rc = h->rc;
    driver_free(h);
    return 1;
}

void drv_handshake_abandon(drv_handshake *h)
{
    if (drv_pool_withdraw(&h->job) == 0 || !leave(h, ABANDONED))
        handshake_free(h);
}
