/* SPDX-License-Identifier: Apache-2.0 */
/* What drv_conn.c, drv_io.c and drv_tlsio.c do with a socket, done with queues of bytes. */
#include "secure_support.h"

#include <string.h>

#include "cmocka_support.h"

/* As the driver does it. */
#define SEAL_RECORDS 2
#define IOV 32

#define TURN_US 20

/* ---- one side ---- */

static int is_client(const secure_end *e)
{
    return e->cfg.auth.role == GR_CLIENT;
}

static int vouches(void *ctx, gr_str name)
{
    const secure_end *e = ctx;
    return gr_tls_is_for(e->tls, name);
}

static void seal(secure_end *e)
{
    gr_iov v[IOV];
    size_t taken;
    size_t n;
    do {
        gr_session_turn(e->session.s, e->session.us += TURN_US);
        n = gr_session_peek(e->session.s, v, IOV);
    } while (!n && gr_session_more(e->session.s));
    if (!n)
        return;
    assert_rc(gr_tls_write(e->tls, v, n, &taken), GR_OK);
    gr_session_consume(e->session.s, taken);
    gr_session_below(e->session.s, gr_tls_output(e->tls));
}

/* Last words: a refusal and a goodbye, or the alert that lies in the output already. */
static void end_with(secure_end *e, int rc)
{
    if (e->rc != GR_OK)
        return;
    e->rc = rc;
    if (rc != GR_ECOOKIE && rc != GR_EWRONGNODE && rc != GR_ETLS_NAME)
        return;
    if (e->session.s && gr_session_output(e->session.s))
        seal(e);
    gr_tls_close(e->tls);
}

static void take(secure_end *e)
{
    end_take(&e->session);
    if (e->session.rc != GR_OK)
        end_with(e, e->session.rc);
}

static void open_session(secure_end *e)
{
    uint8_t binding[32];
    int rc = gr_tls_binding(e->tls, binding);
    if (rc != GR_OK) {
        end_with(e, rc);
        return;
    }
    e->cfg.auth.binding.data = binding;
    e->cfg.auth.binding.size = sizeof binding;
    if (!is_client(e)) {
        e->cfg.auth.vouches = vouches;
        e->cfg.auth.ctx = e;
    }
    assert_rc(end_open(&e->session, e->session.mem, &e->cfg), GR_OK);
}

static void open_records(secure_end *e)
{
    while (e->rc == GR_OK && e->session.s) {
        gr_iov v[2];
        size_t n;
        size_t got;
        gr_session_turn(e->session.s, e->session.us += TURN_US);
        assert_rc(gr_session_space(e->session.s, v, &n), GR_OK);
        assert_true(v[0].size > 0);
        int rc = gr_tls_read(e->tls, v[0].data, v[0].size, &got);
        if (rc == GR_NONE)
            return;
        if (rc == GR_OK) {
            gr_session_filled(e->session.s, got);
        } else if (rc == GR_EEOF || rc == GR_ETLS_TRUNCATED) {
            gr_session_eof(e->session.s, rc);
        } else {
            end_with(e, rc);
            return;
        }
        take(e);
        if (rc != GR_OK)
            return;
    }
}

static void handshake(secure_end *e)
{
    int rc = gr_tls_handshake(e->tls);
    if (rc == GR_OK)
        open_session(e);
    else if (rc != GR_NONE)
        end_with(e, rc);
}

static void go(secure_end *e)
{
    if (e->rc == GR_OK && !e->session.s && gr_tls_has_record(e->tls))
        handshake(e);
    open_records(e);
}

void secure_end_open(secure_end *e, test_mem *mem, gr_tlsconf *conf, const gr_session_config *cfg)
{
    const gr_str none = {NULL, 0};
    memset(e, 0, sizeof *e);
    e->cfg = *cfg;
    e->session.mem = mem;
    assert_rc(gr_tls_new(&e->tls, &mem->vt, &mem->blobs, conf,
                         is_client(e) ? cfg->auth.target : none, none),
              GR_OK);
    if (is_client(e))
        handshake(e);
}

void secure_end_close(secure_end *e)
{
    gr_tls_free(e->tls);
    end_close(&e->session);
    memset(e, 0, sizeof *e);
}

void secure_end_feed(secure_end *e, const void *data, size_t size)
{
    const uint8_t *p = data;
    while (size && e->rc == GR_OK && !e->session.ended) {
        gr_iov v;
        assert_rc(gr_tls_space(e->tls, &v), GR_OK);
        size_t n = v.size < size ? v.size : size;
        assert_true(n > 0);
        memcpy(v.data, p, n);
        gr_tls_filled(e->tls, n);
        p += n;
        size -= n;
        go(e);
    }
}

/* Nothing is sealed while ciphertext waits. The goodbye of TLS comes behind the session's last byte. */
static void seal_some(secure_end *e)
{
    if (e->rc != GR_OK || !e->session.s || gr_tls_output(e->tls))
        return;
    for (int i = 0; i < SEAL_RECORDS && gr_session_output(e->session.s); i++)
        seal(e);
    take(e);
}

size_t secure_end_drain(secure_end *e, test_bytes *to, size_t max)
{
    gr_iov v[IOV];
    size_t moved = 0;
    int ended = e->session.ended;
    if (!e->tls || e->gone)
        return 0;
    seal_some(e);
    size_t n = gr_tls_peek(e->tls, v, IOV);
    for (size_t i = 0; i < n && moved < max; i++) {
        size_t some = v[i].size < max - moved ? v[i].size : max - moved;
        bytes_append(to, v[i].data, some);
        moved += some;
    }
    gr_tls_consume(e->tls, moved);
    if (e->session.s && e->rc == GR_OK) {
        gr_session_below(e->session.s, gr_tls_output(e->tls));
        take(e);
    }
    if (e->session.ended && !ended)
        gr_tls_close(e->tls);
    return moved;
}

void secure_end_eof(secure_end *e)
{
    if (e->rc != GR_OK || e->session.ended)
        return;
    gr_tls_eof(e->tls);
    go(e);
}

/* ---- both ---- */

void secure_pair_configure(secure_pair *p, const gr_tlsconf_options *client,
                           const gr_tlsconf_options *server)
{
    gr_tlsconf_options c = client ? *client : tls_options(GR_CLIENT, "caller");
    gr_tlsconf_options s = server ? *server : tls_options(GR_SERVER, "callee");
    memset(p, 0, sizeof *p);
    mem_init(&p->mem);
    p->client_conf = tls_conf(&p->mem, &c);
    p->server_conf = tls_conf(&p->mem, &s);
    p->client_cfg = end_config(GR_CLIENT);
    p->server_cfg = end_config(GR_SERVER);
    /* A fragment is a record. */
    p->client_cfg.frame_max = p->server_cfg.frame_max = GR_TLS_RECORD;
}

static void drop_sides(secure_pair *p)
{
    secure_end_close(&p->client);
    secure_end_close(&p->server);
    bytes_free(&p->up.bytes);
    bytes_free(&p->down.bytes);
}

void secure_pair_join(secure_pair *p)
{
    drop_sides(p);
    secure_end_open(&p->server, &p->mem, p->server_conf, &p->server_cfg);
    secure_end_open(&p->client, &p->mem, p->client_conf, &p->client_cfg);
}

void secure_pair_open_up(secure_pair *p)
{
    secure_pair_configure(p, NULL, NULL);
    secure_pair_join(p);
    secure_pair_pump(p);
    end_expect_only(&p->client.session, GR_EV_UP);
    end_expect_only(&p->server.session, GR_EV_UP);
}

static size_t portion(secure_pair *p, size_t have)
{
    size_t n = p->chunk && p->chunk < have ? p->chunk : have;
    return p->prng && n ? 1 + (size_t)prng_below(&p->prng, n) : n;
}

static int move(secure_pair *p, secure_end *from, test_link *l, secure_end *to)
{
    size_t left = secure_end_drain(from, &l->bytes, portion(p, SIZE_MAX));
    size_t n = portion(p, l->bytes.size);
    secure_end_feed(to, l->bytes.data, n);
    bytes_drop(&l->bytes, n);
    /* Who is through closes his socket. */
    int through = from->tls && !from->gone && (from->rc != GR_OK || from->session.ended) &&
                  !gr_tls_output(from->tls) && !l->bytes.size;
    if (through) {
        from->gone = 1;
        secure_end_eof(to);
    }
    return left || n || through;
}

void secure_pair_pump(secure_pair *p)
{
    int busy = 1;
    while (busy) {
        busy = move(p, &p->client, &p->up, &p->server);
        busy |= move(p, &p->server, &p->down, &p->client);
    }
}

void secure_pair_close(secure_pair *p)
{
    drop_sides(p);
    gr_tlsconf_unref(p->client_conf);
    gr_tlsconf_unref(p->server_conf);
    mem_check_empty(&p->mem);
    memset(p, 0, sizeof *p);
}
