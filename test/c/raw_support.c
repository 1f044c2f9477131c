/* SPDX-License-Identifier: Apache-2.0 */
/* mbedTLS between two byte queues. */
#include "raw_support.h"

#include <stdio.h>
#include <string.h>

#include "cmocka_support.h"

static int on_send(void *ctx, const unsigned char *data, size_t size)
{
    raw_end *r = ctx;
    bytes_append(r->out, data, size);
    return (int)size;
}

static int on_receive(void *ctx, unsigned char *buf, size_t size)
{
    raw_end *r = ctx;
    size_t n = r->in->size < size ? r->in->size : size;
    if (!n)
        return MBEDTLS_ERR_SSL_WANT_READ;
    memcpy(buf, r->in->data, n);
    bytes_drop(r->in, n);
    return (int)n;
}

static void load(raw_end *r, const char *name)
{
    char file[64];
    snprintf(file, sizeof file, "%s.pem", name);
    gr_str cert = tls_file(file);
    snprintf(file, sizeof file, "%s.key", name);
    gr_str key = tls_file(file);
    test_bytes z = {0};
    bytes_append(&z, cert.data, cert.size);
    bytes_append(&z, "", 1);
    assert_int_equal(mbedtls_x509_crt_parse(&r->cert, z.data, z.size), 0);
    bytes_free(&z);
    bytes_append(&z, key.data, key.size);
    bytes_append(&z, "", 1);
    assert_int_equal(gr_mbedtls_parse_key(&r->key, z.data, z.size, NULL, 0, &r->rng), 0);
    bytes_free(&z);
    assert_int_equal(mbedtls_ssl_conf_own_cert(&r->conf, &r->cert, &r->key), 0);
}

static void raw_init(raw_end *r, gr_role role, const char *name)
{
    mbedtls_entropy_init(&r->entropy);
    mbedtls_ctr_drbg_init(&r->rng);
    mbedtls_x509_crt_init(&r->cert);
    mbedtls_pk_init(&r->key);
    mbedtls_ssl_config_init(&r->conf);
    mbedtls_ssl_init(&r->ssl);
    assert_int_equal(mbedtls_ctr_drbg_seed(&r->rng, mbedtls_entropy_func, &r->entropy, NULL, 0), 0);
    int endpoint = role == GR_CLIENT ? MBEDTLS_SSL_IS_CLIENT : MBEDTLS_SSL_IS_SERVER;
    assert_int_equal(mbedtls_ssl_config_defaults(&r->conf, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM,
                                                 MBEDTLS_SSL_PRESET_DEFAULT),
                     0);
    mbedtls_ssl_conf_rng(&r->conf, mbedtls_ctr_drbg_random, &r->rng);
    mbedtls_ssl_conf_authmode(&r->conf, MBEDTLS_SSL_VERIFY_NONE);
    if (name)
        load(r, name);
}

static void raw_free(raw_end *r)
{
    mbedtls_ssl_free(&r->ssl);
    mbedtls_ssl_config_free(&r->conf);
    mbedtls_pk_free(&r->key);
    mbedtls_x509_crt_free(&r->cert);
    mbedtls_ctr_drbg_free(&r->rng);
    mbedtls_entropy_free(&r->entropy);
}

void raw_pair_configure(raw_pair *p, gr_role role, const char *name, const gr_tlsconf_options *o)
{
    gr_tlsconf_options own =
        role == GR_CLIENT ? tls_options(GR_SERVER, "callee") : tls_options(GR_CLIENT, "caller");
    memset(p, 0, sizeof *p);
    mem_init(&p->mem);
    p->conf = tls_conf(&p->mem, o ? o : &own);
    raw_init(&p->raw, role, name);
}

void raw_pair_begin(raw_pair *p)
{
    raw_end *r = &p->raw;
    tls_end_close(&p->end);
    mbedtls_ssl_free(&r->ssl);
    mbedtls_ssl_init(&r->ssl);
    bytes_free(&p->to_end);
    bytes_free(&p->to_raw);
    r->in = &p->to_raw;
    r->out = &p->to_end;
    r->rc = MBEDTLS_ERR_SSL_WANT_READ;
    assert_int_equal(mbedtls_ssl_setup(&r->ssl, &r->conf), 0);
    mbedtls_ssl_set_bio(&r->ssl, r, on_send, on_receive, NULL);
    tls_end_open(&p->end, &p->mem, p->conf, "callee@there", NULL);
}

void raw_pair_pump(raw_pair *p)
{
    size_t moved;
    do {
        moved = tls_end_drain(&p->end, &p->to_raw, SIZE_MAX);
        if (p->raw.rc == MBEDTLS_ERR_SSL_WANT_READ)
            p->raw.rc = mbedtls_ssl_handshake(&p->raw.ssl);
        moved += p->to_end.size;
        tls_end_feed(&p->end, p->to_end.data, p->to_end.size);
        bytes_drop(&p->to_end, p->to_end.size);
    } while (moved);
}

void raw_pair_open_up(raw_pair *p, gr_role role, const char *name, const gr_tlsconf_options *o)
{
    raw_pair_configure(p, role, name, o);
    raw_pair_begin(p);
    raw_pair_pump(p);
    assert_int_equal(p->raw.rc, 0);
    assert_rc(p->end.rc, GR_OK);
}

void raw_pair_close(raw_pair *p)
{
    tls_end_close(&p->end);
    gr_tlsconf_unref(p->conf);
    raw_free(&p->raw);
    bytes_free(&p->to_end);
    bytes_free(&p->to_raw);
    mem_check_empty(&p->mem);
}

void raw_session(mbedtls_ssl_context *ssl, gr_tlsconf *client, gr_tlsconf *server)
{
    test_mem mem;
    tls_end end;
    raw_end r;
    test_bytes up = {0}, down = {0};
    int rc;
    mem_init(&mem);
    memset(&r, 0, sizeof r);
    r.in = &down;
    r.out = &up;
    mbedtls_ssl_init(ssl);
    assert_int_equal(mbedtls_ssl_setup(ssl, gr_tlsconf_ssl(client)), 0);
    assert_int_equal(gr_mbedtls_no_hostname(ssl), 0);
    mbedtls_ssl_set_bio(ssl, &r, on_send, on_receive, NULL);
    tls_end_open(&end, &mem, server, NULL, NULL);
    while ((rc = mbedtls_ssl_handshake(ssl)) == MBEDTLS_ERR_SSL_WANT_READ) {
        assert_true(up.size > 0);
        tls_end_feed(&end, up.data, up.size);
        bytes_drop(&up, up.size);
        tls_end_drain(&end, &down, SIZE_MAX);
    }
    assert_int_equal(rc, 0);
    assert_false(tls_end_info(&end).resumed);
    mbedtls_ssl_set_bio(ssl, NULL, NULL, NULL, NULL);
    tls_end_close(&end);
    bytes_free(&up);
    bytes_free(&down);
    mem_check_empty(&mem);
}

void raw_expect_alert(raw_pair *p, int description)
{
    uint8_t byte;
    int rc = p->raw.rc;
    if (rc == 0)
        rc = mbedtls_ssl_read(&p->raw.ssl, &byte, 1);
    assert_int_equal(rc, MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE);
    assert_int_equal(p->raw.ssl.in_msg[1], description);
}
