/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS session between two memory buffers. What can hurt: until the handshake is done every byte is
 * a stranger's, and after it a peer's with a certificate; so what one call does is bounded by the
 * input buffer, and whoever wants to renegotiate is refused.
 */
#include "gr_tls.h"

#include <string.h>

#include "gr_outq.h"
#include "gr_tlserror.h"
#include "gr_tlsname.h"
#include "gr_tlssuite.h"
#include "gr_wire.h"

/* Head, nonce and tag of our suites, and then some. */
#define RECORD_EXTRA ((size_t)256 + 5)
#define ROOM (2 * (GR_TLS_RECORD + RECORD_EXTRA))

/* The longest record that RFC 5246 allows. */
#define RECORD_MAX (GR_TLS_RECORD + 2048 + 5)

/* First bytes of a record. */
#define TYPE_CHANGE_CIPHER_SPEC 20
#define TYPE_ALERT 21
#define TYPE_HANDSHAKE 22
#define TYPE_APPLICATION_DATA 23

/* Type, version, length. */
#define RECORD_HEAD 5

struct gr_tls {
    const gr_mem *mem;
    gr_tlsconf *conf;
    mbedtls_ssl_context ssl;
    gr_outq out;      /* ciphertext */
    uint8_t *in;      /* ciphertext, ROOM bytes; NULL: none */
    size_t start;     /* first byte not yet used */
    size_t end;       /* behind the last byte received */
    size_t left;      /* bytes of a record that the library has begun to take */
    int eof;          /* nothing comes behind it */
    int failed;       /* the fatal code that ended it; GR_OK: none */
    int out_failed;   /* no memory for output */
    int begun;        /* the first byte has been looked at */
    int full;         /* the handshake was not a short one */
    int opened;       /* a record has been, after the handshake */
    int told;         /* by an alert that was not encrypted; 0: none was */
    int alerts;       /* that the library has sent by itself, ever */
    uint32_t flags;   /* what is wrong with the peer's chain */
    size_t peer_size; /* of a client; 0: any name will do */
    uint8_t peer[GR_NAME_MAX];
};

static gr_str peer_of(const gr_tls *t)
{
    gr_str s = {t->peer, t->peer_size};
    return s;
}

/* ---- callbacks of the library ---- */

static int on_send(void *ctx, const unsigned char *data, size_t size)
{
    gr_tls *t = ctx;
    if (size && data[0] == TYPE_ALERT)
        t->alerts++;
    if (gr_outq_put(&t->out, 0, data, size, NULL, 0) != GR_OK) {
        t->out_failed = 1;
        return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    }
    return (int)size;
}

/*
 * Size of the whole record that the input begins with; 0: it is not whole yet. What cannot become
 * one, or can no longer, is as much as there is.
 */
static size_t whole_record(const gr_tls *t)
{
    size_t have = t->end - t->start;
    if (!have)
        return 0;
    const uint8_t *head = t->in + t->start;
    if (t->eof || head[0] < TYPE_CHANGE_CIPHER_SPEC || head[0] > TYPE_APPLICATION_DATA)
        return have;
    if (have < RECORD_HEAD)
        return 0;
    size_t size = RECORD_HEAD + gr_get16(head + RECORD_HEAD - 2);
    if (size > RECORD_MAX)
        return have;
    return have >= size ? size : 0;
}

/*
 * An alert that is not encrypted: type, version, length 2, level, description. In the handshake of
 * TLS 1.3 mbedTLS 3.6 sends such a one, and does not take it.
 */
static void note_alert(gr_tls *t)
{
    if (t->left == RECORD_HEAD + 2 && t->in[t->start] == TYPE_ALERT)
        t->told = GR_ETLS_ALERT - t->in[t->start + RECORD_HEAD + 1];
}

/* The library gets whole records only, so that it stops between two of them. */
static int on_receive(void *ctx, unsigned char *buf, size_t size)
{
    gr_tls *t = ctx;
    if (!t->left) {
        t->left = whole_record(t);
        note_alert(t);
    }
    if (!t->left)
        return t->eof ? 0 : MBEDTLS_ERR_SSL_WANT_READ;
    size_t n = t->left < size ? t->left : size;
    memcpy(buf, t->in + t->start, n);
    t->start += n;
    t->left -= n;
    return (int)n;
}

/* For each certificate, from the CA's (highest depth) to the peer's own (0). */
static int on_verify(void *ctx, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    gr_tls *t = ctx;
    if (depth > (int)gr_tlsconf_depth(t->conf) + 1)
        *flags |= MBEDTLS_X509_BADCERT_OTHER;
    if (depth == 0) {
        /* The library knows a host name at best; a node's name is what counts here. */
        *flags &= ~(uint32_t)MBEDTLS_X509_BADCERT_CN_MISMATCH;
        if (t->peer_size && !gr_tlsname_matches(crt, peer_of(t)))
            *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    }
    t->flags |= *flags;
    return 0;
}

/* ---- making and freeing ---- */

static int set_up(gr_tls *t, gr_str sni)
{
    char name[256];
    if (mbedtls_ssl_setup(&t->ssl, gr_tlsconf_ssl(t->conf)) != 0)
        return GR_ENOMEM;
    mbedtls_ssl_set_bio(&t->ssl, t, on_send, on_receive, NULL);
    mbedtls_ssl_set_verify(&t->ssl, on_verify, t);
    if (gr_tlsconf_role(t->conf) == GR_SERVER)
        return GR_OK;
    int rc;
    if (sni.size && sni.size < sizeof name) {
        memcpy(name, sni.data, sni.size);
        name[sni.size] = 0;
        rc = mbedtls_ssl_set_hostname(&t->ssl, name);
    } else {
        rc = gr_mbedtls_no_hostname(&t->ssl);
    }
    if (rc != 0)
        return GR_ENOMEM;
    if (gr_tlsconf_cache(t->conf))
        gr_tlscache_offer(gr_tlsconf_cache(t->conf), peer_of(t), &t->ssl);
    return GR_OK;
}

int gr_tls_new(gr_tls **out, const gr_mem *mem, const gr_blob_ops *blobs, gr_tlsconf *conf,
               gr_str peer, gr_str sni)
{
    *out = NULL;
    if (peer.size > GR_NAME_MAX)
        return GR_ESTATE;
    gr_tls *t = gr_alloc(mem, sizeof *t);
    if (!t)
        return GR_ENOMEM;
    memset(t, 0, sizeof *t);
    t->mem = mem;
    t->conf = conf;
    gr_tlsconf_ref(conf);
    gr_outq_init(&t->out, mem, blobs);
    mbedtls_ssl_init(&t->ssl);
    if (peer.size && gr_tlsconf_role(conf) == GR_CLIENT) {
        memcpy(t->peer, peer.data, peer.size);
        t->peer_size = peer.size;
    }
    int rc = set_up(t, sni);
    if (rc != GR_OK) {
        gr_tls_free(t);
        return rc;
    }
    *out = t;
    return GR_OK;
}

void gr_tls_free(gr_tls *t)
{
    if (!t)
        return;
    mbedtls_ssl_free(&t->ssl);
    gr_outq_clear(&t->out);
    gr_free(t->mem, t->in);
    gr_tlsconf_unref(t->conf);
    gr_free(t->mem, t);
}

/* ---- input ---- */

int gr_tls_space(gr_tls *t, gr_iov *v)
{
    size_t have = t->end - t->start;
    if (!t->in) {
        t->in = gr_alloc(t->mem, ROOM);
        if (!t->in)
            return GR_ENOMEM;
    }
    if (have && t->start)
        memmove(t->in, t->in + t->start, have);
    t->start = 0;
    t->end = have;
    v->data = t->in + have;
    v->size = ROOM - have;
    return GR_OK;
}

void gr_tls_filled(gr_tls *t, size_t n)
{
    t->end += n;
}

void gr_tls_eof(gr_tls *t)
{
    t->eof = 1;
}

void gr_tls_trim(gr_tls *t)
{
    gr_outq_trim(&t->out);
    if (t->start != t->end)
        return;
    gr_free(t->mem, t->in);
    t->in = NULL;
    t->start = t->end = 0;
}

int gr_tls_has_record(const gr_tls *t)
{
    return whole_record(t) != 0 || (t->eof && t->start == t->end);
}

static int fail(gr_tls *t, int rc)
{
    if (t->failed == GR_OK)
        t->failed = t->out_failed ? GR_ENOMEM : rc;
    return t->failed;
}

/* ---- handshake ---- */

/* What is no record of a handshake is not TLS, whatever the library might make of it. */
static int check_first_byte(gr_tls *t)
{
    if (t->begun || t->start == t->end)
        return GR_OK;
    uint8_t first = t->in[t->start];
    t->begun = 1;
    return first == TYPE_HANDSHAKE || first == TYPE_ALERT ? GR_OK : GR_ETLS_NOT_TLS;
}

static void say_why(gr_tls *t, unsigned char alert)
{
    (void)mbedtls_ssl_send_alert_message(&t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, alert);
}

/*
 * What the library has not looked at: a certificate that was not asked for but is wrong, and dates
 * of one that was verified when the session began that is resumed now.
 */
static int check_peer(gr_tls *t)
{
    const mbedtls_x509_crt *crt = mbedtls_ssl_get_peer_cert(&t->ssl);
    if (!gr_tlsconf_verifies(t->conf) || !crt)
        return GR_OK;
    uint32_t flags = t->flags | mbedtls_ssl_get_verify_result(&t->ssl);
    int rc = GR_OK;
    if (flags)
        rc = gr_tlserror_of_flags(flags);
    else if (mbedtls_x509_time_is_past(&crt->valid_to))
        rc = GR_ETLS_EXPIRED;
    else if (t->peer_size && !gr_tlsname_matches(crt, peer_of(t)))
        rc = GR_ETLS_NAME;
    if (rc != GR_OK)
        say_why(t, rc == GR_ETLS_EXPIRED ? MBEDTLS_SSL_ALERT_MSG_CERT_EXPIRED
                                         : MBEDTLS_SSL_ALERT_MSG_BAD_CERT);
    return rc;
}

static int finish(gr_tls *t)
{
    gr_tlscache *cache = gr_tlsconf_cache(t->conf);
    int rc = check_peer(t);
    if (gr_mbedtls_version_of(&t->ssl) != 12)
        t->full = 1;
    else if (cache && rc != GR_OK)
        gr_tlscache_drop(cache, peer_of(t));
    else if (cache && t->full)
        gr_tlscache_keep(cache, peer_of(t), &t->ssl);
    return rc == GR_OK ? rc : fail(t, rc);
}

/* The library does not send an alert with every failure, but a peer should not have to guess. */
static int refuse(gr_tls *t, int rc)
{
    if (!t->alerts && !GR_IS_ALERT(rc) && rc != GR_ETLS_CLOSED)
        say_why(t, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE);
    return fail(t, rc);
}

/* mbedTLS 3.6 waits for all of a message, though it can hold no more than a record. */
static int is_too_long(const gr_tls *t)
{
    return t->ssl.in_hslen > GR_TLS_RECORD;
}

int gr_tls_handshake(gr_tls *t)
{
    if (t->failed != GR_OK)
        return t->failed;
    int rc = check_first_byte(t);
    if (rc != GR_OK)
        return fail(t, rc);
    while (t->ssl.state != MBEDTLS_SSL_HANDSHAKE_OVER) {
        if (t->ssl.state == MBEDTLS_SSL_CLIENT_KEY_EXCHANGE)
            t->full = 1;
        int error = mbedtls_ssl_handshake_step(&t->ssl);
        if (error == MBEDTLS_ERR_SSL_WANT_READ)
            return is_too_long(t) ? refuse(t, GR_ETLS_HANDSHAKE) : GR_NONE;
        if (error == MBEDTLS_ERR_SSL_INVALID_MAC && t->told)
            return fail(t, t->told);
        if (error != 0)
            return refuse(t, gr_tlserror_of_handshake(&t->ssl, error, t->flags));
    }
    return finish(t);
}

/* ---- records ---- */

/*
 * In TLS 1.3 a client is done before the server has looked at its certificate, and the alert by which
 * mbedTLS 3.6 refuses that is sealed with keys that the client no longer has.
 */
static int record_error(const gr_tls *t, int error)
{
    if (error == MBEDTLS_ERR_SSL_INVALID_MAC && !t->opened &&
        gr_tlsconf_role(t->conf) == GR_CLIENT && gr_mbedtls_version_of(&t->ssl) == 13)
        return GR_ETLS_HANDSHAKE;
    return gr_tlserror_of_record(&t->ssl, error);
}

/* Nothing to report so far: an empty record, a warning, a ticket. */
static int is_nothing(int n)
{
    return n == 0 || n == MBEDTLS_ERR_SSL_WANT_READ || n == GR_MBEDTLS_TICKET_NEWS;
}

/*
 * Each turn takes a record at least, so the input bounds them. An alert that the library sends while
 * it reads, and that does not end the connection, says that there will be no renegotiation.
 */
int gr_tls_read(gr_tls *t, uint8_t *buf, size_t size, size_t *got)
{
    *got = 0;
    if (t->failed != GR_OK)
        return t->failed;
    int alerts = t->alerts;
    int n;
    do {
        n = mbedtls_ssl_read(&t->ssl, buf, size);
        if (t->alerts != alerts && (n > 0 || is_nothing(n)))
            return fail(t, GR_ETLS_RENEGOTIATION);
    } while (is_nothing(n) && whole_record(t));
    if (n > 0) {
        t->opened = 1;
        *got = (size_t)n;
        return GR_OK;
    }
    if (is_nothing(n) && !(n == 0 && t->eof))
        return GR_NONE;
    return fail(t, record_error(t, n));
}

/* The first stretch if it fills a record; else as many as fit, one behind the other in room. */
static gr_iov gather(const gr_iov *iov, size_t count, uint8_t room[GR_TLS_RECORD])
{
    gr_iov v = {room, 0};
    if (!count)
        return v;
    v = iov[0];
    if (v.size >= GR_TLS_RECORD || count == 1) {
        v.size = v.size < GR_TLS_RECORD ? v.size : GR_TLS_RECORD;
        return v;
    }
    v.data = room;
    v.size = 0;
    for (size_t i = 0; i < count && v.size < GR_TLS_RECORD; i++) {
        size_t n = GR_TLS_RECORD - v.size;
        n = iov[i].size < n ? iov[i].size : n;
        memcpy(room + v.size, iov[i].data, n);
        v.size += n;
    }
    return v;
}

int gr_tls_write(gr_tls *t, const gr_iov *iov, size_t count, size_t *taken)
{
    uint8_t room[GR_TLS_RECORD];
    *taken = 0;
    if (t->failed != GR_OK)
        return t->failed;
    gr_iov v = gather(iov, count, room);
    if (!v.size)
        return GR_OK;
    /* on_send takes all, so a record is never left half written in the library. */
    int n = mbedtls_ssl_write(&t->ssl, v.data, v.size);
    if (n < 0)
        return fail(t, n == MBEDTLS_ERR_SSL_ALLOC_FAILED ? GR_ENOMEM : GR_ECRYPTO);
    *taken = (size_t)n;
    return GR_OK;
}

void gr_tls_close(gr_tls *t)
{
    if (t->failed == GR_OK && t->ssl.state == MBEDTLS_SSL_HANDSHAKE_OVER)
        (void)mbedtls_ssl_close_notify(&t->ssl);
}

size_t gr_tls_output(const gr_tls *t)
{
    return t->out.size;
}

size_t gr_tls_peek(const gr_tls *t, gr_iov *iov, size_t max)
{
    return gr_outq_peek(&t->out, iov, max);
}

void gr_tls_consume(gr_tls *t, size_t n)
{
    gr_outq_consume(&t->out, n);
}

/* ---- what was agreed ---- */

int gr_tls_binding(const gr_tls *t, uint8_t out[32])
{
    if (gr_tlsconf_role(t->conf) == GR_SERVER) {
        memcpy(out, gr_tlsconf_own_hash(t->conf), 32);
        return GR_OK;
    }
    const mbedtls_x509_crt *crt = mbedtls_ssl_get_peer_cert(&t->ssl);
    if (!crt)
        return GR_ETLS_NO_CERT;
    return gr_mbedtls_sha256(crt->raw.p, crt->raw.len, out) == 0 ? GR_OK : GR_ECRYPTO;
}

int gr_tls_is_for(const gr_tls *t, gr_str node)
{
    const mbedtls_x509_crt *crt = mbedtls_ssl_get_peer_cert(&t->ssl);
    /* Without one: whoever insists on certificates has refused the peer before. */
    return !gr_tlsconf_verifies(t->conf) || !crt || gr_tlsname_matches(crt, node);
}

void gr_tls_info_get(const gr_tls *t, gr_tls_info *out)
{
    const char *name = mbedtls_ssl_get_ciphersuite(&t->ssl);
    out->version = gr_mbedtls_version_of(&t->ssl);
    out->suite = gr_tlssuite_name(name ? mbedtls_ssl_get_ciphersuite_id(name) : 0);
    out->resumed = !t->full;
}
