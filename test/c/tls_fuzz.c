/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS: a stranger's bytes to either side, or two ends of which somebody in between changes, drops,
 * repeats and makes up records, in the handshake and behind it. Whatever he does, each side gets a prefix
 * of what the other wrote, and a client that is up has met the server. Keys and nonces are new each time,
 * so an input need not end twice in the same way.
 */
#include <string.h>

#include "cmocka_support.h"
#include "fuzz_support.h"
#include "tls_support.h"

#define RECORD_HEAD 5u

/* Written by each side at most, bytes. */
#define WRITTEN_MAX ((size_t)100000)

/* Buffers of both sides: input for two records, output for what was written. The library has its own. */
#define MEMORY_MAX ((size_t)256 * 1024)

/* Some of what a server and a client may be told. */
enum { MUTUAL, RESUMES, LAX, KINDS }; /* LAX: the server looks at no certificate */

/* What the one in between does with a record. */
enum { PASS, FLIP, CUT, REPEAT, DROP, INSERT, SWAP, WRITE, CLOSE, LEAVE, ACTIONS };

static struct {
    gr_tlsconf *client;
    gr_tlsconf *server;
} confs[KINDS];

typedef struct side {
    tls_end end;
    test_bytes out; /* of this side, not yet at the other one */
    uint64_t seed;  /* of what it writes */
    size_t written;
    int closed;
} side;

typedef struct world {
    fuzz_in in;
    test_mem mem;
    int kind;
    side client;
    side server;
    uint64_t prng; /* of cuts */
    int touched;   /* whether any byte was changed, lost or made up */
} world;

/*
 * Made once; what one input leaves in the cache of sessions may be resumed by the next one. Before the
 * first input, because libFuzzer puts what it sees compared into others, and keys are read here.
 */
__attribute__((constructor)) static void make_confs(void)
{
    static test_mem mem;
    mem_init(&mem);
    for (int i = 0; i < KINDS; i++) {
        gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
        gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
        c.tickets = s.tickets = i == RESUMES;
        s.verify = s.need_cert = i != LAX;
        confs[i].client = tls_conf(&mem, &c);
        confs[i].server = tls_conf(&mem, &s);
    }
}

static void check_code(const world *w, int rc)
{
    if (GR_IS_TLS(rc)) {
        assert_true(rc >= GR_ETLS_HANDSHAKE || (rc <= GR_ETLS_ALERT && rc >= GR_ETLS_ALERT_MAX));
        return;
    }
    static const int codes[] = {GR_OK, GR_NONE, GR_EEOF};
    fuzz_check_code(&w->mem, rc, codes, COUNT_OF(codes));
}

static int is_alive(const side *s)
{
    return s->end.rc == GR_OK || s->end.rc == GR_NONE;
}

static void feed(world *w, side *to, const uint8_t *data, size_t size)
{
    while (size) {
        size_t n = 1 + prng_size(&w->prng, size - 1);
        tls_end_feed(&to->end, data, n);
        data += n;
        size -= n;
    }
}

/* ---- a stranger ---- */

static void open_side(world *w, side *s, gr_role role)
{
    gr_tlsconf *conf = role == GR_CLIENT ? confs[w->kind].client : confs[w->kind].server;
    s->seed = role == GR_CLIENT ? 1 : 2;
    tls_end_open(&s->end, &w->mem, conf, role == GR_CLIENT ? "callee@there" : NULL, NULL);
}

/* Nobody without a key is ever let in. */
static void stranger(world *w, gr_role role)
{
    side *s = role == GR_CLIENT ? &w->client : &w->server;
    open_side(w, s, role);
    while (w->in.size && is_alive(s)) {
        gr_str some = fuzz_take(&w->in, 4096);
        feed(w, s, some.data, some.size);
    }
    tls_end_eof(&s->end);
    assert_false(s->end.up);
    assert_false(is_alive(s));
    tls_end_drain(&s->end, &s->out, SIZE_MAX);
}

/* ---- somebody in between ---- */

static void drain(world *w, side *s)
{
    (void)w;
    tls_end_drain(&s->end, &s->out, SIZE_MAX);
}

static size_t record_size(const test_bytes *b)
{
    if (b->size < RECORD_HEAD)
        return b->size;
    size_t size = RECORD_HEAD + ((size_t)b->data[3] << 8 | b->data[4]);
    return size < b->size ? size : b->size;
}

static void write_some(world *w, side *s)
{
    uint8_t data[2000];
    size_t size = 1 + fuzz_size(&w->in, sizeof data - 1);
    gr_iov v = {data, size};
    size_t taken = 0;
    if (s->end.rc != GR_OK || s->closed || s->written + size > WRITTEN_MAX)
        return;
    for (size_t i = 0; i < size; i++)
        data[i] = pattern_at(s->seed, s->written + i);
    int rc = gr_tls_write(s->end.t, &v, 1, &taken);
    if (rc == GR_OK)
        assert_int_equal(taken, size);
    else
        s->end.rc = rc;
    s->written += taken;
}

static void close_it(world *w, side *s)
{
    drain(w, s);
    if (s->end.rc == GR_OK && !s->closed) {
        gr_tls_close(s->end.t);
        s->closed = 1;
    }
}

/* The oldest record of one side, and what becomes of it on the way to the other. */
static void act(world *w, side *from, side *to, unsigned action)
{
    test_bytes *b = &from->out;
    size_t size = record_size(b);
    size_t at = (size_t)fuzz_int(&w->in, 2);
    gr_str extra = {NULL, 0};
    w->touched |= action != PASS;
    if (action == INSERT) {
        extra = fuzz_take(&w->in, at);
        feed(w, to, extra.data, extra.size);
    }
    if (!size)
        return;
    if (action == FLIP)
        b->data[at % size] ^= (uint8_t)(1 + fuzz_byte(&w->in) % 255);
    if (action == SWAP && b->size > size) {
        test_bytes first = {0};
        bytes_append(&first, b->data, size);
        bytes_drop(b, size);
        size = record_size(b);
        feed(w, to, b->data, size);
        bytes_drop(b, size);
        feed(w, to, first.data, first.size);
        bytes_free(&first);
        return;
    }
    if (action != DROP)
        feed(w, to, b->data, action == CUT ? at % size : size);
    if (action == REPEAT)
        feed(w, to, b->data, size);
    bytes_drop(b, size);
}

static void step(world *w)
{
    uint8_t what = fuzz_byte(&w->in);
    side *from = what & 0x80 ? &w->server : &w->client;
    side *to = what & 0x80 ? &w->client : &w->server;
    unsigned action = (what & 0x7f) < 0x40 ? (unsigned)PASS : what % ACTIONS;
    if (action == WRITE)
        write_some(w, from);
    else if (action == CLOSE)
        close_it(w, from);
    else if (action == LEAVE)
        tls_end_eof(&to->end);
    else
        act(w, from, to, action);
    w->touched |= action == LEAVE;
    drain(w, &w->client);
    drain(w, &w->server);
}

/* All that is left arrives. */
static void pump(world *w)
{
    drain(w, &w->client);
    drain(w, &w->server);
    while (w->client.out.size || w->server.out.size) {
        feed(w, &w->server, w->client.out.data, w->client.out.size);
        bytes_drop(&w->client.out, w->client.out.size);
        drain(w, &w->server);
        feed(w, &w->client, w->server.out.data, w->server.out.size);
        bytes_drop(&w->server.out, w->server.out.size);
        drain(w, &w->client);
    }
}

/* What came is what was written, up to some byte; all of it if the end was said. */
static void check_received(const world *w, const side *to, const side *from)
{
    assert_true(to->end.in.size <= from->written);
    assert_true(pattern_matches(to->end.in.data, to->end.in.size, from->seed));
    if (to->end.rc == GR_EEOF)
        assert_int_equal(to->end.in.size, from->written);
    check_code(w, to->end.rc);
}

static void check_up(const world *w)
{
    uint8_t hash[32];
    if (w->client.end.up) {
        assert_rc(gr_tls_binding(w->client.end.t, hash), GR_OK);
        assert_memory_equal(hash, gr_tlsconf_own_hash(confs[w->kind].server), sizeof hash);
        assert_true(gr_tls_is_for(w->client.end.t, str_of("callee@there")));
    }
    if (w->server.end.up && w->kind != LAX)
        assert_false(gr_tls_is_for(w->server.end.t, str_of("another@there")));
    if (!w->touched && !w->mem.failed)
        assert_true(w->client.end.up && w->server.end.up);
}

static void between(world *w)
{
    open_side(w, &w->server, GR_SERVER);
    open_side(w, &w->client, GR_CLIENT);
    drain(w, &w->client);
    while (w->in.size && (is_alive(&w->client) || is_alive(&w->server)))
        step(w);
    pump(w);
    check_up(w);
    check_received(w, &w->server, &w->client);
    check_received(w, &w->client, &w->server);
}

static void close_side(side *s)
{
    tls_end_close(&s->end);
    bytes_free(&s->out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static world w;
    memset(&w, 0, sizeof w);
    w.in = (fuzz_in){data, size};
    mem_init(&w.mem);
    uint8_t how = fuzz_byte(&w.in);
    w.kind = how / 4 % KINDS;
    w.prng = fuzz_byte(&w.in);
    if (how & 1)
        between(&w);
    else
        stranger(&w, how & 2 ? GR_SERVER : GR_CLIENT);
    assert_true(w.mem.peak <= MEMORY_MAX);
    close_side(&w.client);
    close_side(&w.server);
    mem_check_empty(&w.mem);
    return 0;
}
