/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seeds of the fuzzers, out of real traffic: two ends talk to each other, and what they say is written
 * to files, with the options in front that each fuzzer reads. Usage: fuzz_seeds <folder>
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmocka_support.h"
#include "deflate_support.h"
#include "frames_support.h"
#include "life_support.h"
#include "tls_support.h"

static const char *folder;

/* A seed of that fuzzer: options, then content. */
static void write_seed(const char *fuzzer, const char *name, const gr_str *options,
                       const test_bytes *content)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, fuzzer);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", folder, fuzzer, name);
    FILE *out = fopen(path, "wb");
    if (!out) {
        perror(path);
        exit(1);
    }
    if (options->size)
        fwrite(options->data, 1, options->size, out);
    if (content->size)
        fwrite(content->data, 1, content->size, out);
    if (ferror(out) | fclose(out)) {
        perror(path);
        exit(1);
    }
}

/* Options of auth_fuzz: what is known and done, the seed of cuts, no allocation that fails. */
static void auth_seeds(void)
{
    static const uint8_t server[] = {0x03, 7, 0}, client[] = {0x02, 7, 0};
    const gr_str to_server = {server, sizeof server}, to_client = {client, sizeof client};
    test_pair p;
    test_bytes up = {0}, down = {0};
    pair_open(&p, NULL, NULL);
    p.up.tap = &up;
    p.down.tap = &down;
    pair_pump(&p);
    write_seed("auth", "client", &to_server, &up);
    write_seed("auth", "server", &to_client, &down);
    pair_close(&p);
    bytes_free(&up);
    bytes_free(&down);
}

/* ---- frames ---- */

/* A little of everything that two sessions say to each other, compressed or not. */
static void talk(test_bytes *up, test_bytes *down, int level, int context)
{
    gr_session_config c = end_config(GR_CLIENT), s = end_config(GR_SERVER);
    test_pair p;
    c.compress = s.compress = level;
    c.compress_context = s.compress_context = context;
    c.compress_min = s.compress_min = 16;
    pair_open_up(&p, &c, &s);
    p.up.tap = up;
    p.down.tap = down;
    for (uint64_t id = 1; id <= 4; id++)
        assert_rc(end_call(&p.client, id, id * 20), GR_OK);
    assert_rc(end_cast_as(&p.client, GR_ORDERED, 5, 30), GR_OK);
    assert_rc(end_cast_as(&p.client, GR_BROADCAST, 6, 30), GR_OK);
    assert_rc(end_call(&p.client, 7, level ? 20000 : 40), GR_OK);
    pair_pump(&p);
    assert_rc(gr_session_cancel(p.client.s, 2), GR_OK);
    for (uint64_t id = 3; id <= 4; id++)
        assert_rc(end_reply(&p.server, id, id * 30), GR_OK);
    assert_rc(end_reply(&p.server, 7, level ? 20000 : 40), GR_OK);
    assert_rc(end_reply(&p.server, 1, 2000000), GR_ETOOBIG);
    pair_pump(&p);
    assert_rc(gr_session_close(p.client.s, 1000, 0), GR_OK);
    pair_pump(&p);
    pair_close(&p);
}

static void append_byte(test_bytes *b, unsigned v)
{
    uint8_t byte = (uint8_t)v;
    bytes_append(b, &byte, 1);
}

static void append_16(test_bytes *b, size_t v)
{
    append_byte(b, (unsigned)(v >> 8));
    append_byte(b, (unsigned)v);
}

/* As stream_put_raw of stream_support reads it. */
static void append_raw(test_bytes *to, const test_bytes *bytes)
{
    append_byte(to, 6);
    append_16(to, bytes->size);
    bytes_append(to, bytes->data, bytes->size);
}

/* To a reader, to a session, and its heads alone. */
static void stream_seeds(const test_bytes *bytes, int from_server, int number)
{
    char name[40];
    test_bytes reader = {0}, peer = {0}, heads = {0};
    snprintf(name, sizeof name, "%s-%d", from_server ? "server" : "client", number);
    append_raw(&reader, bytes);
    write_seed("reader", name, &(gr_str){(uint8_t[]){(uint8_t)from_server, 1}, 2}, &reader);
    append_byte(&peer, 0x60);
    append_raw(&peer, bytes);
    for (int i = 0; i < 3; i++) {
        append_byte(&peer, i & 1 ? 0x40 : 0);
        append_16(&peer, 0xffff);
    }
    write_seed("peer", name, &(gr_str){(uint8_t[]){from_server ? 0x10 : 0x11, 0}, 2}, &peer);
    frame_seen f;
    for (size_t at = 0, before = 0; frames_get(bytes, &at, &f); before = at) {
        uint8_t head[28] = {0};
        memcpy(head, bytes->data + before, f.wire < sizeof head ? f.wire : sizeof head);
        bytes_append(&heads, head, sizeof head);
    }
    write_seed("frame", name, &(gr_str){NULL, 0}, &heads);
    bytes_free(&reader);
    bytes_free(&peer);
    bytes_free(&heads);
}

static void frame_seeds(void)
{
    for (int i = 0; i < 3; i++) {
        test_bytes up = {0}, down = {0};
        talk(&up, &down, i ? 6 : 0, i == 2);
        stream_seeds(&up, 0, i);
        stream_seeds(&down, 1, i);
        bytes_free(&up);
        bytes_free(&down);
    }
}

/* ---- compression ---- */

/* Options of inflate_fuzz: of one message, or of a context; data_deflate is zlib's own. */
static void inflate_seeds(void)
{
    static uint8_t data[60000];
    test_bytes context = {0}, whole = {0};
    for (int kind = 0; kind < DATA_KINDS; kind++) {
        char name[40];
        test_bytes out = {0};
        size_t size = kind == DATA_ZEROS ? sizeof data : 700;
        data_fill(data, size, kind, 1);
        data_deflate(&out, data, size, 6, Z_FINISH);
        snprintf(name, sizeof name, "alone-%d", kind);
        write_seed("inflate", name, &(gr_str){(uint8_t[]){0, 1, 0, 0, 0, 0, 0}, 7}, &out);
        out.size = 0;
        data_deflate(&out, data, 300, 6, Z_SYNC_FLUSH);
        append_16(&context, 300);
        append_16(&context, out.size - 4);
        bytes_append(&context, out.data, out.size - 4);
        bytes_free(&out);
    }
    write_seed("inflate", "context", &(gr_str){(uint8_t[]){1}, 1}, &context);
    bytes_free(&context);
    bytes_free(&whole);
}

/* ---- lives ---- */

typedef struct roll {
    uint64_t prng;
    test_bytes bytes; /* that make fuzz_below throw the same */
} roll;

static uint64_t below(void *ctx, uint64_t n)
{
    roll *r = ctx;
    uint64_t v = prng_below(&r->prng, n);
    unsigned bytes = 0;
    for (uint64_t most = n - 1; most; most >>= 8)
        bytes++;
    while (bytes--)
        append_byte(&r->bytes, (unsigned)(v >> (8 * bytes)));
    return v;
}

static int goes_on(void *ctx)
{
    const roll *r = ctx;
    return r->bytes.size < 3000;
}

static void session_seeds(void)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        char name[40];
        roll r = {seed, {0}};
        life_dice dice = {below, goes_on, &r, seed};
        life_run(&dice);
        snprintf(name, sizeof name, "life-%u", (unsigned)seed);
        write_seed("session", name, &(gr_str){(uint8_t[]){(uint8_t)seed}, 1}, &r.bytes);
        bytes_free(&r.bytes);
    }
}

/* ---- TLS ---- */

/* What each side says in a handshake and behind it; there are no keys in that. */
static void tls_seeds(void)
{
    static const uint8_t flips[] = {0, 0, 0, 0, 0, 0, 0x41, 0, 60, 1, 0xc1, 0, 70, 2};
    tls_pair p;
    test_bytes up = {0}, down = {0}, programme = {0};
    tls_pair_configure(&p, NULL, NULL);
    p.up.tap = &up;
    p.down.tap = &down;
    tls_pair_join_up(&p);
    tls_pair_check_up(&p);
    write_seed("tls", "client", &(gr_str){(uint8_t[]){2, 1}, 2}, &up);
    write_seed("tls", "server", &(gr_str){(uint8_t[]){0, 1}, 2}, &down);
    tls_pair_close(&p);
    bytes_append(&programme, flips, sizeof flips);
    for (uint8_t kind = 0; kind < 3; kind++) {
        char name[40];
        snprintf(name, sizeof name, "between-%u", kind);
        write_seed("tls", name, &(gr_str){(uint8_t[]){(uint8_t)(1 + 4 * kind), 1}, 2}, &programme);
    }
    bytes_free(&up);
    bytes_free(&down);
    bytes_free(&programme);
}

/* Where there is no traffic: anything, to begin with. */
static void other_seeds(const char *fuzzer)
{
    uint64_t prng = 1;
    for (unsigned i = 0; i < 8; i++) {
        char name[40];
        test_bytes b = {0};
        for (size_t n = 0; n < 50u * (i + 1); n++)
            append_byte(&b, (unsigned)prng_below(&prng, 256));
        snprintf(name, sizeof name, "any-%u", i);
        write_seed(fuzzer, name, &(gr_str){NULL, 0}, &b);
        bytes_free(&b);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: fuzz_seeds <folder>\n");
        return 1;
    }
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    folder = argv[1];
    mkdir(folder, 0777);
    auth_seeds();
    frame_seeds();
    inflate_seeds();
    session_seeds();
    tls_seeds();
    other_seeds("calls");
    other_seeds("deflate");
    return 0;
}
