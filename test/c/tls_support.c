/* SPDX-License-Identifier: Apache-2.0 */
/* Drives TLS sessions by the rules of gr_tls.h, over links that cut as the test likes. */
#include "tls_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_support.h"

#define FILES_MAX 256
#define IOV_TEST 8

/* ---- files ---- */

typedef struct test_file {
    char name[64];
    test_bytes content;
} test_file;

static test_file files[FILES_MAX];

static void load(test_file *f, const char *name)
{
    char path[4096];
    uint8_t buf[4096];
    size_t n;
    snprintf(path, sizeof path, "%s/%s", TEST_CERTS, name);
    FILE *in = fopen(path, "rb");
    if (!in)
        fail_msg("%s cannot be read", path);
    while ((n = fread(buf, 1, sizeof buf, in)) > 0)
        bytes_append(&f->content, buf, n);
    fclose(in);
    snprintf(f->name, sizeof f->name, "%s", name);
}

gr_str tls_file(const char *name)
{
    test_file *f = files;
    while (f->name[0] && strcmp(f->name, name) != 0)
        f++;
    assert_true(f < files + FILES_MAX - 1);
    if (!f->name[0])
        load(f, name);
    gr_str s = {f->content.data, f->content.size};
    return s;
}

/* ---- configurations ---- */

gr_tlsconf_options tls_options(gr_role role, const char *name)
{
    char file[64];
    gr_tlsconf_options o;
    memset(&o, 0, sizeof o);
    o.role = role;
    snprintf(file, sizeof file, "%s.pem", name);
    o.cert = tls_file(file);
    snprintf(file, sizeof file, "%s.key", name);
    o.key = tls_file(file);
    o.ca = tls_file("ca.pem");
    o.min_version = o.max_version = 12;
    o.depth = 1;
    o.verify = o.need_cert = o.tickets = 1;
    return o;
}

gr_tlsconf *tls_conf(test_mem *mem, const gr_tlsconf_options *o)
{
    gr_tlsconf *c;
    gr_tlsconf_error err;
    int rc = gr_tlsconf_new(&c, &mem->vt, o, &err);
    if (rc != GR_OK)
        fail_msg("%s: option %d: %s", gr_error_name(rc), (int)err.option, err.why);
    return c;
}

/* ---- one side ---- */

void tls_end_open(tls_end *e, test_mem *mem, gr_tlsconf *conf, const char *peer, const char *sni)
{
    memset(e, 0, sizeof *e);
    e->rc = gr_tls_new(&e->t, &mem->vt, &mem->blobs, conf, str_of(peer ? peer : ""),
                       str_of(sni ? sni : ""));
    if (e->rc != GR_OK)
        return;
    e->rc = gr_tlsconf_role(conf) == GR_CLIENT ? gr_tls_handshake(e->t) : GR_NONE;
}

void tls_end_close(tls_end *e)
{
    gr_tls_free(e->t);
    bytes_free(&e->in);
    memset(e, 0, sizeof *e);
}

static void take(tls_end *e)
{
    uint8_t buf[GR_TLS_RECORD];
    size_t got;
    while (e->up && e->rc == GR_OK) {
        int rc = gr_tls_read(e->t, buf, e->read_size ? e->read_size : sizeof buf, &got);
        assert_true(rc == GR_OK ? got > 0 : got == 0);
        if (rc == GR_NONE)
            return;
        e->rc = rc;
        bytes_append(&e->in, buf, got);
    }
}

void tls_end_go(tls_end *e)
{
    if (e->rc == GR_NONE && gr_tls_has_record(e->t)) {
        e->rc = gr_tls_handshake(e->t);
        e->up = e->rc == GR_OK;
        /* Else a whole record would lie there and nobody would be told. */
        assert_false(e->rc == GR_NONE && gr_tls_has_record(e->t));
    }
    take(e);
}

void tls_end_feed(tls_end *e, const void *data, size_t size)
{
    const uint8_t *p = data;
    while (size && (e->rc == GR_OK || e->rc == GR_NONE)) {
        gr_iov v;
        int rc = gr_tls_space(e->t, &v);
        if (rc != GR_OK) {
            e->rc = rc;
            return;
        }
        size_t n = v.size < size ? v.size : size;
        assert_true(n > 0);
        memcpy(v.data, p, n);
        gr_tls_filled(e->t, n);
        p += n;
        size -= n;
        tls_end_go(e);
    }
}

size_t tls_end_drain(tls_end *e, test_bytes *to, size_t max)
{
    gr_iov v[IOV_TEST];
    size_t moved = 0;
    if (!e->t)
        return 0;
    size_t n = gr_tls_peek(e->t, v, IOV_TEST);
    for (size_t i = 0; i < n && moved < max; i++) {
        size_t some = v[i].size < max - moved ? v[i].size : max - moved;
        bytes_append(to, v[i].data, some);
        moved += some;
    }
    gr_tls_consume(e->t, moved);
    return moved;
}

int tls_end_eof(tls_end *e)
{
    if (e->rc != GR_OK && e->rc != GR_NONE)
        return e->rc;
    gr_tls_eof(e->t);
    tls_end_go(e);
    return e->rc;
}

void tls_end_write(tls_end *e, const void *data, size_t size)
{
    gr_iov v = {(uint8_t *)(uintptr_t)data, size};
    size_t taken = 0;
    while (v.size) {
        assert_rc(gr_tls_write(e->t, &v, 1, &taken), GR_OK);
        assert_true(taken > 0 && taken <= v.size);
        v.data += taken;
        v.size -= taken;
    }
}

void tls_end_write_pattern(tls_end *e, uint64_t seed, size_t size)
{
    uint8_t *data = malloc(size + 1);
    assert_non_null(data);
    pattern_fill(data, size, seed);
    tls_end_write(e, data, size);
    free(data);
}

void tls_end_expect(tls_end *e, const void *data, size_t size)
{
    assert_int_equal(e->in.size, size);
    if (size)
        assert_memory_equal(e->in.data, data, size);
    bytes_drop(&e->in, size);
}

void tls_end_expect_pattern(tls_end *e, uint64_t seed, size_t size)
{
    assert_int_equal(e->in.size, size);
    assert_true(pattern_matches(e->in.data, size, seed));
    bytes_drop(&e->in, size);
}

gr_tls_info tls_end_info(const tls_end *e)
{
    gr_tls_info info;
    gr_tls_info_get(e->t, &info);
    return info;
}

/* ---- both ---- */

void tls_pair_configure(tls_pair *p, const gr_tlsconf_options *client,
                        const gr_tlsconf_options *server)
{
    gr_tlsconf_options c = client ? *client : tls_options(GR_CLIENT, "caller");
    gr_tlsconf_options s = server ? *server : tls_options(GR_SERVER, "callee");
    memset(p, 0, sizeof *p);
    mem_init(&p->mem);
    p->client_conf = tls_conf(&p->mem, &c);
    p->server_conf = tls_conf(&p->mem, &s);
}

void tls_pair_join_as(tls_pair *p, const char *peer, const char *sni)
{
    tls_end_close(&p->client);
    tls_end_close(&p->server);
    bytes_free(&p->up.bytes);
    bytes_free(&p->down.bytes);
    p->up.moved = p->down.moved = 0;
    tls_end_open(&p->server, &p->mem, p->server_conf, NULL, NULL);
    tls_end_open(&p->client, &p->mem, p->client_conf, peer, sni);
}

void tls_pair_join(tls_pair *p)
{
    tls_pair_join_as(p, "callee@there", NULL);
}

void tls_pair_join_up(tls_pair *p)
{
    tls_pair_join(p);
    tls_pair_pump(p);
    assert_rc(p->client.rc, GR_OK);
    assert_rc(p->server.rc, GR_OK);
}

void tls_pair_open_up(tls_pair *p, const gr_tlsconf_options *client,
                      const gr_tlsconf_options *server)
{
    tls_pair_configure(p, client, server);
    tls_pair_join_up(p);
}

static size_t portion(tls_pair *p, size_t have)
{
    size_t n = p->chunk && p->chunk < have ? p->chunk : have;
    return p->prng && n ? 1 + (size_t)prng_below(&p->prng, n) : n;
}

static int move(tls_pair *p, tls_end *from, test_link *l, tls_end *to)
{
    size_t before = l->bytes.size;
    size_t left = from->t ? portion(p, gr_tls_output(from->t)) : 0;
    tls_end_drain(from, &l->bytes, left);
    if (l->tap)
        bytes_append(l->tap, l->bytes.data + before, l->bytes.size - before);
    size_t n = portion(p, l->bytes.size);
    if (l->moved < l->stop && n > l->stop - l->moved)
        n = (size_t)(l->stop - l->moved);
    tls_end_feed(to, l->bytes.data, n);
    bytes_drop(&l->bytes, n);
    l->moved += n;
    return left || n;
}

void tls_pair_pump(tls_pair *p)
{
    int busy = 1;
    while (busy) {
        busy = move(p, &p->client, &p->up, &p->server);
        busy |= move(p, &p->server, &p->down, &p->client);
    }
}

void tls_pair_check_up(tls_pair *p)
{
    uint8_t client[32];
    uint8_t server[32];
    assert_rc(p->client.rc, GR_OK);
    assert_rc(p->server.rc, GR_OK);
    assert_rc(gr_tls_binding(p->client.t, client), GR_OK);
    assert_rc(gr_tls_binding(p->server.t, server), GR_OK);
    assert_memory_equal(client, server, sizeof client);
    gr_tls_info c = tls_end_info(&p->client);
    gr_tls_info s = tls_end_info(&p->server);
    assert_string_equal(c.suite, s.suite);
    assert_int_equal(c.version, s.version);
    assert_int_equal(c.resumed, s.resumed);
    tls_end_write_pattern(&p->client, 1, 1000);
    tls_end_write_pattern(&p->server, 2, 2000);
    tls_pair_pump(p);
    tls_end_expect_pattern(&p->server, 1, 1000);
    tls_end_expect_pattern(&p->client, 2, 2000);
}

void tls_pair_close(tls_pair *p)
{
    tls_end_close(&p->client);
    tls_end_close(&p->server);
    gr_tlsconf_unref(p->client_conf);
    gr_tlsconf_unref(p->server_conf);
    bytes_free(&p->up.bytes);
    bytes_free(&p->down.bytes);
    mem_check_empty(&p->mem);
    memset(p, 0, sizeof *p);
}
