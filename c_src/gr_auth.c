/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handshake state machine. What can hurt: any byte here comes from a stranger. A message is at most
 * MSG_MAX bytes, its head is checked as the bytes arrive, and its body only when complete.
 */
#include "gr_auth.h"

#include <mbedtls/md.h>
#include <mbedtls/platform_util.h>
#include <string.h>

#include "gr_wire.h"

#define HEAD_SIZE 8u
/* The largest hello of this version is 2,088 bytes; the rest is for later ones. */
#define BODY_MAX 2304u
#define MSG_MAX (HEAD_SIZE + BODY_MAX)
#define HELLO_FIXED 44u /* features, max_message, nonce */
#define LABEL_SIZE 24u
/* Two hellos, the binding, the proof, and a result as long as a peer may make it. */
#define TRANSCRIPT_MAX (LABEL_SIZE + 3 * MSG_MAX + GR_BINDING_MAX + HEAD_SIZE + GR_PROOF_SIZE)

static const uint8_t magic[3] = {0x8e, 'G', 'R'};
static const char client_label[LABEL_SIZE] = "gen_rpc client proof v1";
static const char server_label[LABEL_SIZE] = "gen_rpc server proof v1";

/* In wire order. */
enum { KIND_CLIENT_HELLO = 1, KIND_SERVER_HELLO, KIND_PROOF, KIND_RESULT };
enum { STATUS_OK = 0, STATUS_COOKIE = 1, STATUS_WRONG_NODE = 2, STATUS_NAME = 3 };

struct gr_auth {
    const gr_mem *mem;
    gr_role role;
    int expect;           /* kind of the message to come */
    uint64_t max_message; /* own limit, bytes */
    uint8_t nonce[GR_NONCE_SIZE];
    size_t cookie_size;
    size_t name_size;
    size_t target_size;
    size_t binding_size;
    uint8_t cookie[GR_COOKIE_MAX];
    uint8_t name[GR_NAME_MAX];
    uint8_t target[GR_NAME_MAX]; /* server: as the client's hello has it */
    uint8_t binding[GR_BINDING_MAX];
    int (*vouches)(void *ctx, gr_str name); /* server; NULL: for all */
    void *ctx;
    gr_peer peer;
    size_t in_size; /* bytes of the incoming message so far */
    uint8_t in[MSG_MAX];
    size_t seen; /* bytes of transcript, label included */
    uint8_t transcript[TRANSCRIPT_MAX];
};

static void record(gr_auth *a, const uint8_t *data, size_t size)
{
    memcpy(a->transcript + a->seen, data, size);
    a->seen += size;
}

static int prove(gr_auth *a, const char *label, uint8_t out[GR_PROOF_SIZE])
{
    memcpy(a->transcript, label, LABEL_SIZE);
    const mbedtls_md_info_t *md = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
    int rc = mbedtls_md_hmac(md, a->cookie, a->cookie_size, a->transcript, a->seen, out);
    if (rc == 0)
        return GR_OK;
    return rc == MBEDTLS_ERR_MD_ALLOC_FAILED ? GR_ENOMEM : GR_ECRYPTO;
}

/* Takes the same time wherever the first difference lies. */
static int equal_proofs(const uint8_t *x, const uint8_t *y)
{
    volatile uint8_t diff = 0;
    for (size_t i = 0; i < GR_PROOF_SIZE; i++)
        diff = (uint8_t)(diff | (x[i] ^ y[i]));
    return diff == 0;
}

static size_t put_head(uint8_t *msg, int kind, size_t body_size)
{
    memcpy(msg, magic, sizeof magic);
    msg[3] = GR_PROTOCOL_VERSION;
    msg[4] = (uint8_t)kind;
    msg[5] = 0;
    gr_put16(msg + 6, (uint16_t)body_size);
    return HEAD_SIZE;
}

static size_t put_str(uint8_t *out, const uint8_t *data, size_t size)
{
    gr_put16(out, (uint16_t)size);
    memcpy(out + 2, data, size);
    return 2 + size;
}

static int send_hello(gr_auth *a, gr_outq *out)
{
    uint8_t msg[MSG_MAX];
    size_t n = HEAD_SIZE;
    gr_put32(msg + n, 0);
    gr_put64(msg + n + 4, a->max_message);
    memcpy(msg + n + 12, a->nonce, GR_NONCE_SIZE);
    n += HELLO_FIXED;
    if (a->role == GR_CLIENT) {
        n += put_str(msg + n, a->name, a->name_size);
        n += put_str(msg + n, a->target, a->target_size);
    }
    put_head(msg, a->role == GR_CLIENT ? KIND_CLIENT_HELLO : KIND_SERVER_HELLO, n - HEAD_SIZE);
    record(a, msg, n);
    return gr_outq_put(out, 0, msg, n, NULL, 0);
}

static int send_proof(gr_auth *a, gr_outq *out)
{
    uint8_t msg[HEAD_SIZE + GR_PROOF_SIZE];
    put_head(msg, KIND_PROOF, GR_PROOF_SIZE);
    int rc = prove(a, client_label, msg + HEAD_SIZE);
    if (rc != GR_OK)
        return rc;
    record(a, msg, sizeof msg);
    return gr_outq_put(out, 0, msg, sizeof msg, NULL, 0);
}

static int send_refusal(gr_outq *out, uint8_t status, int reason)
{
    uint8_t msg[HEAD_SIZE + 1];
    put_head(msg, KIND_RESULT, 1);
    msg[HEAD_SIZE] = status;
    int rc = gr_outq_put(out, 0, msg, sizeof msg, NULL, 0);
    return rc == GR_OK ? reason : rc;
}

static int send_result(gr_auth *a, gr_outq *out)
{
    uint8_t msg[HEAD_SIZE + 1 + 2 + GR_NAME_MAX + GR_PROOF_SIZE];
    size_t n = HEAD_SIZE;
    msg[n++] = STATUS_OK;
    n += put_str(msg + n, a->name, a->name_size);
    put_head(msg, KIND_RESULT, n + GR_PROOF_SIZE - HEAD_SIZE);
    record(a, msg, n);
    int rc = prove(a, server_label, msg + n);
    if (rc != GR_OK)
        return rc;
    return gr_outq_put(out, 0, msg, n + GR_PROOF_SIZE, NULL, 0);
}

/* Reads a length and as many bytes at *p; returns NULL when they are not all there. */
static const uint8_t *get_str(const uint8_t **p, const uint8_t *end, size_t *size)
{
    if (end - *p < 2)
        return NULL;
    size_t n = gr_get16(*p);
    const uint8_t *s = *p + 2;
    if ((size_t)(end - s) < n || n == 0 || n > GR_NAME_MAX)
        return NULL;
    *size = n;
    *p = s + n;
    return s;
}

static int take_name(const uint8_t **p, const uint8_t *end, uint8_t *name, size_t *size)
{
    const uint8_t *s = get_str(p, end, size);
    if (!s)
        return GR_EPROTO;
    memcpy(name, s, *size);
    return GR_OK;
}

/* What both hellos begin with. Bytes behind the known fields belong to later versions. */
static int take_hello(gr_auth *a, const uint8_t **p, const uint8_t *end)
{
    if (end - *p < (ptrdiff_t)HELLO_FIXED)
        return GR_EPROTO;
    a->peer.features = 0;
    a->peer.max_message = gr_get64(*p + 4);
    *p += HELLO_FIXED;
    return GR_OK;
}

static int on_client_hello(gr_auth *a, const uint8_t *p, const uint8_t *end, gr_outq *out)
{
    int rc = take_hello(a, &p, end);
    if (rc == GR_OK)
        rc = take_name(&p, end, a->peer.name, &a->peer.name_size);
    if (rc == GR_OK)
        rc = take_name(&p, end, a->target, &a->target_size);
    if (rc != GR_OK)
        return rc;
    record(a, a->in, a->in_size);
    rc = send_hello(a, out);
    record(a, a->binding, a->binding_size);
    a->expect = KIND_PROOF;
    return rc == GR_OK ? GR_NONE : rc;
}

static int on_server_hello(gr_auth *a, const uint8_t *p, const uint8_t *end, gr_outq *out)
{
    int rc = take_hello(a, &p, end);
    if (rc != GR_OK)
        return rc;
    record(a, a->in, a->in_size);
    record(a, a->binding, a->binding_size);
    rc = send_proof(a, out);
    a->expect = KIND_RESULT;
    return rc == GR_OK ? GR_NONE : rc;
}

static int on_proof(gr_auth *a, const uint8_t *p, const uint8_t *end, gr_outq *out)
{
    uint8_t proof[GR_PROOF_SIZE];
    if (end - p != (ptrdiff_t)GR_PROOF_SIZE)
        return GR_EPROTO;
    int rc = prove(a, client_label, proof);
    if (rc != GR_OK)
        return rc;
    if (!equal_proofs(proof, p))
        return send_refusal(out, STATUS_COOKIE, GR_ECOOKIE);
    if (a->target_size != a->name_size || memcmp(a->target, a->name, a->name_size) != 0)
        return send_refusal(out, STATUS_WRONG_NODE, GR_EWRONGNODE);
    gr_str name = {a->peer.name, a->peer.name_size};
    if (a->vouches && !a->vouches(a->ctx, name))
        return send_refusal(out, STATUS_NAME, GR_ETLS_NAME);
    record(a, a->in, a->in_size);
    return send_result(a, out);
}

static int on_result(gr_auth *a, const uint8_t *p, const uint8_t *end)
{
    if (end - p < 1)
        return GR_EPROTO;
    uint8_t status = *p++;
    if (status == STATUS_COOKIE)
        return GR_ECOOKIE;
    if (status == STATUS_WRONG_NODE)
        return GR_EWRONGNODE;
    if (status == STATUS_NAME)
        return GR_ETLS_NAME_REFUSED;
    if (status != STATUS_OK)
        return GR_EREFUSED;
    int rc = take_name(&p, end, a->peer.name, &a->peer.name_size);
    if (rc != GR_OK)
        return rc;
    if (end - p != (ptrdiff_t)GR_PROOF_SIZE)
        return GR_EPROTO;
    uint8_t proof[GR_PROOF_SIZE];
    record(a, a->in, a->in_size - GR_PROOF_SIZE);
    rc = prove(a, server_label, proof);
    if (rc != GR_OK)
        return rc;
    if (!equal_proofs(proof, p))
        return GR_ECOOKIE;
    int meant =
        a->peer.name_size == a->target_size && memcmp(a->peer.name, a->target, a->target_size) == 0;
    return meant ? GR_OK : GR_EWRONGNODE;
}

static int on_message(gr_auth *a, gr_outq *out)
{
    const uint8_t *body = a->in + HEAD_SIZE;
    const uint8_t *end = a->in + a->in_size;
    switch (a->expect) {
    case KIND_CLIENT_HELLO:
        return on_client_hello(a, body, end, out);
    case KIND_SERVER_HELLO:
        return on_server_hello(a, body, end, out);
    case KIND_PROOF:
        return on_proof(a, body, end, out);
    default:
        return on_result(a, body, end);
    }
}

/*
 * Checks as much of the head as has arrived. A client's hello of a later version is answered in
 * this one; every other message must be of this one.
 */
static int check_head(const gr_auth *a)
{
    size_t n = a->in_size;
    if (memcmp(a->in, magic, n < sizeof magic ? n : sizeof magic) != 0)
        return GR_EMAGIC;
    if (n > 3 && (a->expect == KIND_CLIENT_HELLO ? a->in[3] < GR_PROTOCOL_VERSION
                                                 : a->in[3] != GR_PROTOCOL_VERSION))
        return GR_EVERSION;
    if ((n > 4 && a->in[4] != a->expect) || (n > 5 && a->in[5] != 0))
        return GR_EPROTO;
    if (n >= HEAD_SIZE && gr_get16(a->in + 6) > BODY_MAX)
        return GR_EPROTO;
    return GR_OK;
}

static size_t wanted(const gr_auth *a)
{
    return a->in_size < HEAD_SIZE ? HEAD_SIZE : HEAD_SIZE + gr_get16(a->in + 6);
}

int gr_auth_feed(gr_auth *a, const uint8_t *data, size_t size, size_t *used, gr_outq *out,
                 gr_peer *peer)
{
    int rc = GR_NONE;
    *used = 0;
    while (rc == GR_NONE && *used < size) {
        size_t n = wanted(a) - a->in_size;
        if (n > size - *used)
            n = size - *used;
        memcpy(a->in + a->in_size, data + *used, n);
        a->in_size += n;
        *used += n;
        int bad = check_head(a);
        if (bad != GR_OK)
            return bad;
        if (a->in_size >= HEAD_SIZE && a->in_size == wanted(a)) {
            rc = on_message(a, out);
            a->in_size = 0;
        }
    }
    if (rc == GR_OK)
        memcpy(peer, &a->peer, sizeof *peer);
    return rc;
}

static int valid(const gr_auth_config *c)
{
    int target_ok = c->role == GR_SERVER || (c->target.size > 0 && c->target.size <= GR_NAME_MAX);
    return c->cookie.size > 0 && c->cookie.size <= GR_COOKIE_MAX && c->name.size > 0 &&
           c->name.size <= GR_NAME_MAX && target_ok && c->binding.size <= GR_BINDING_MAX;
}

static void copy_str(uint8_t *to, size_t *to_size, const gr_str *from)
{
    if (from->size)
        memcpy(to, from->data, from->size);
    *to_size = from->size;
}

int gr_auth_new(gr_auth **out_a, const gr_mem *mem, const gr_auth_config *cfg, gr_outq *out)
{
    *out_a = NULL;
    if (!valid(cfg))
        return GR_ESTATE;
    gr_auth *a = gr_alloc(mem, sizeof *a);
    if (!a)
        return GR_ENOMEM;
    memset(a, 0, sizeof *a);
    a->mem = mem;
    a->role = cfg->role;
    a->max_message = cfg->max_message;
    a->seen = LABEL_SIZE;
    memcpy(a->nonce, cfg->nonce, sizeof a->nonce);
    copy_str(a->cookie, &a->cookie_size, &cfg->cookie);
    copy_str(a->name, &a->name_size, &cfg->name);
    copy_str(a->binding, &a->binding_size, &cfg->binding);
    a->vouches = cfg->vouches;
    a->ctx = cfg->ctx;
    a->expect = KIND_CLIENT_HELLO;
    if (cfg->role == GR_CLIENT) {
        copy_str(a->target, &a->target_size, &cfg->target);
        a->expect = KIND_SERVER_HELLO;
        int rc = send_hello(a, out);
        if (rc != GR_OK) {
            gr_auth_free(a);
            return rc;
        }
    }
    *out_a = a;
    return GR_OK;
}

void gr_auth_free(gr_auth *a)
{
    if (!a)
        return;
    const gr_mem *mem = a->mem;
    mbedtls_platform_zeroize(a, sizeof *a);
    gr_free(mem, a);
}
