/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handshake, both roles: the input is what the peer sends, message by message. Where it may, the proof
 * of the peer is made right, so that what lies behind it is reached; without that nobody gets in.
 */
#include <string.h>

#include "cmocka_support.h"
#include "end_support.h"
#include "forge_support.h"
#include "fuzz_support.h"

#define HEAD 8u
#define PROOF 32u
#define BODY_MAX 2304u

/* A gr_auth, and a queue with at most its answers in it. */
#define MEMORY_MAX ((size_t)32 * 1024)

enum { SERVER = 0x01, PROVES = 0x02, BOUND = 0x04, VOUCHED = 0x08, VOUCHES = 0x10, LONG = 0x20 };

/* One handshake. */
typedef struct shake {
    test_mem mem;
    unsigned options;
    uint64_t prng; /* of cuts; 0: byte by byte */
    gr_auth_config cfg;
    gr_auth *auth;
    gr_outq out;
    gr_peer peer;
    test_bytes seen; /* transcript: all messages before the one that is fed, and the binding */
    test_bytes said; /* all that the core ever said */
    size_t said_seen;
    int hellos; /* whether both are in the transcript */
    int proved; /* whether the peer's proof was right */
} shake;

static int vouches(void *ctx, gr_str name)
{
    const shake *h = ctx;
    assert_in_range(name.size, 1, GR_NAME_MAX);
    return (h->options & VOUCHES) != 0;
}

static int is_server(const shake *h)
{
    return (h->options & SERVER) != 0;
}

static int begin(shake *h, fuzz_in *in, int cut)
{
    static const uint8_t binding[32] = "what lies below, as both know it";
    static uint8_t name[GR_NAME_MAX];
    memset(h, 0, sizeof *h);
    memset(name, 'n', sizeof name);
    mem_init(&h->mem);
    h->options = fuzz_byte(in);
    h->prng = fuzz_byte(in);
    if (!cut)
        h->prng = 0;
    fuzz_fail_alloc(in, &h->mem);
    gr_session_config c = end_config(is_server(h) ? GR_SERVER : GR_CLIENT);
    h->cfg = c.auth;
    memset(h->cfg.nonce, 0x5a, sizeof h->cfg.nonce);
    if (h->options & LONG)
        h->cfg.name = h->cfg.target = (gr_str){name, sizeof name};
    if (h->options & BOUND)
        h->cfg.binding = (gr_str){binding, sizeof binding};
    if (h->options & VOUCHED)
        h->cfg.vouches = vouches;
    h->cfg.ctx = h;
    h->mem.secret = "chocolate";
    gr_outq_init(&h->out, &h->mem.vt, &h->mem.blobs);
    return gr_auth_new(&h->auth, &h->mem.vt, &h->cfg, &h->out);
}

static void end(shake *h)
{
    assert_true(h->mem.peak <= MEMORY_MAX);
    gr_auth_free(h->auth);
    gr_outq_clear(&h->out);
    mem_check_empty(&h->mem);
    bytes_free(&h->seen);
    bytes_free(&h->said);
}

static void drain(shake *h)
{
    gr_iov v;
    while (gr_outq_peek(&h->out, &v, 1)) {
        bytes_append(&h->said, v.data, v.size);
        gr_outq_consume(&h->out, v.size);
    }
}

/* Puts what was said since the last time into the transcript. */
static void hear(shake *h)
{
    drain(h);
    for (size_t i = h->said_seen; i < h->said.size; i++)
        bytes_append(&h->seen, &h->said.data[i], 1);
    h->said_seen = h->said.size;
}

static void bind(shake *h)
{
    if (!h->hellos)
        bytes_append(&h->seen, h->cfg.binding.data, h->cfg.binding.size);
    h->hellos = 1;
}

/* Makes the proof in a message of the peer right. */
static void prove(shake *h, test_bytes *msg)
{
    char cookie[] = "chocolate";
    test_bytes all = {0};
    uint8_t mac[PROOF];
    if (!h->hellos || msg->size < HEAD + PROOF)
        return;
    bytes_append(&all, h->seen.data, h->seen.size);
    if (!is_server(h))
        bytes_append(&all, msg->data, msg->size - PROOF);
    forge_mac(mac, is_server(h) ? "client" : "server", cookie, &all);
    memcpy(msg->data + msg->size - PROOF, mac, PROOF);
    h->proved = 1;
    bytes_free(&all);
}

/* The next message of the input: as long as its head says, or all that there is. */
static test_bytes next_message(fuzz_in *in)
{
    test_bytes msg = {0};
    size_t size = in->size;
    if (size >= HEAD) {
        size_t body = (size_t)in->data[6] << 8 | in->data[7];
        size = HEAD + (body < size - HEAD ? body : size - HEAD);
    }
    gr_str s = fuzz_take(in, size);
    bytes_append(&msg, s.data, s.size);
    return msg;
}

static int feed(shake *h, const test_bytes *msg)
{
    int rc = GR_NONE;
    size_t at = 0;
    while (rc == GR_NONE && at < msg->size) {
        size_t n = h->prng ? 1 + (size_t)prng_below(&h->prng, msg->size - at) : 1;
        size_t used;
        rc = gr_auth_feed(h->auth, msg->data + at, n, &used, &h->out, &h->peer);
        assert_true(rc == GR_NONE ? used == n : used <= n);
        at += used;
    }
    assert_true(rc != GR_OK || at == msg->size);
    return rc;
}

/* What the core says before the proof is of a size that is known. */
static void check_said(const shake *h)
{
    size_t names = h->cfg.name.size + h->cfg.target.size;
    size_t hello = HEAD + 44u;
    if (is_server(h))
        assert_true(h->said.size <=
                    hello + (h->proved ? HEAD + 3 + h->cfg.name.size + PROOF : HEAD + 1));
    else
        assert_true(h->said.size <= hello + 4 + names + HEAD + PROOF);
}

static void check_up(const shake *h, const test_bytes *last)
{
    assert_true(h->proved);
    assert_in_range(h->peer.name_size, 1, GR_NAME_MAX);
    assert_int_equal(h->peer.features, 0);
    if (is_server(h)) {
        assert_true(!(h->options & VOUCHED) || h->options & VOUCHES);
        assert_true(h->peer.name_size <= h->seen.size - HEAD - 46);
        assert_memory_equal(h->peer.name, h->seen.data + HEAD + 46, h->peer.name_size);
    } else {
        assert_int_equal(h->peer.name_size, h->cfg.target.size);
        assert_memory_equal(h->peer.name, h->cfg.target.data, h->peer.name_size);
        assert_true(last->data[HEAD] == 0);
    }
}

static int play(shake *h, fuzz_in *in)
{
    int rc = GR_NONE;
    hear(h);
    while (rc == GR_NONE && in->size) {
        test_bytes msg = next_message(in);
        int kind = is_server(h) ? FORGE_PROOF : FORGE_RESULT;
        if (h->options & PROVES && msg.size > 4 && msg.data[4] == kind)
            prove(h, &msg);
        rc = feed(h, &msg);
        if (rc == GR_OK)
            check_up(h, &msg);
        if (is_server(h) || !h->hellos)
            bytes_append(&h->seen, msg.data, msg.size);
        if (!is_server(h))
            bind(h);
        hear(h);
        if (is_server(h))
            bind(h);
        check_said(h);
        bytes_free(&msg);
    }
    return rc;
}

static int run(const uint8_t *data, size_t size, int cut)
{
    static const int client[] = {GR_OK,         GR_NONE,     GR_EMAGIC,
                                 GR_EVERSION,   GR_EPROTO,   GR_ECOOKIE,
                                 GR_EWRONGNODE, GR_EREFUSED, GR_ETLS_NAME_REFUSED};
    static const int server[] = {GR_OK,     GR_NONE,    GR_EMAGIC,     GR_EVERSION,
                                 GR_EPROTO, GR_ECOOKIE, GR_EWRONGNODE, GR_ETLS_NAME};
    fuzz_in in = {data, size};
    shake h;
    int rc = begin(&h, &in, cut);
    if (rc == GR_OK)
        rc = play(&h, &in);
    if (is_server(&h))
        fuzz_check_code(&h.mem, rc, server, COUNT_OF(server));
    else
        fuzz_check_code(&h.mem, rc, client, COUNT_OF(client));
    end(&h);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    assert_rc(run(data, size, 1), run(data, size, 0));
    return 0;
}
