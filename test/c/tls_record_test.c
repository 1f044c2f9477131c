/* SPDX-License-Identifier: Apache-2.0 */
/* Data behind the handshake: of every size, both ways, and what becomes of records that are changed. */
#include <stdlib.h>
#include <string.h>

#include "cmocka_support.h"
#include "raw_support.h"
#include "tls_support.h"

/* Head, explicit nonce and tag: what GCM and CCM add to the plaintext; ChaCha20 has no nonce. */
#define RECORD_ADDS 29u
#define RECORD_ADDS_CHACHA 21u

/* Alerts of RFC 5246. */
enum { UNEXPECTED_MESSAGE = 10, BAD_RECORD_MAC = 20, RECORD_OVERFLOW = 22, NO_RENEGOTIATION = 100 };

static tls_pair pair;
static raw_pair raw;

/* Makes new sessions by a short handshake, which costs little. */
static int setup(void **state)
{
    (void)state;
    tls_pair_open_up(&pair, NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tls_pair_close(&pair);
    return 0;
}

/* ---- sizes ---- */

/* All sizes around the ends of records arrive as they were; each record is as full as can be. */
static void data_of_every_size_arrives(void **state)
{
    (void)state;
    for (size_t records = 0; records <= 3; records++)
        for (int off = -3; off <= 3; off++) {
            if (!records && off < 0)
                continue;
            size_t size = records * GR_TLS_RECORD + (size_t)off;
            tls_end_write_pattern(&pair.client, size, size);
            size_t count = (size + GR_TLS_RECORD - 1) / GR_TLS_RECORD;
            assert_int_equal(gr_tls_output(pair.client.t), size + count * RECORD_ADDS_CHACHA);
            tls_pair_pump(&pair);
            tls_end_expect_pattern(&pair.server, size, size);
        }
}

/* Every small size, as a record of its own. */
static void small_data_arrives(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 300; size++) {
        tls_end_write_pattern(&pair.server, size, size);
        tls_pair_pump(&pair);
        tls_end_expect_pattern(&pair.client, size, size);
    }
}

/* Nothing to write is nothing written: no empty record leaves. */
static void nothing_is_no_record(void **state)
{
    (void)state;
    uint8_t byte = 0;
    gr_iov v[3] = {{&byte, 0}, {&byte, 0}, {&byte, 0}};
    for (size_t n = 1; n <= 3; n++) {
        size_t taken = 9;
        assert_rc(gr_tls_write(pair.client.t, v, n, &taken), GR_OK);
        assert_int_equal(taken, 0);
        assert_int_equal(gr_tls_output(pair.client.t), 0);
    }
}

#define STRETCHES 40

/* Writes stretches of these sizes, which lie one behind the other, in as many records as it takes. */
static void write_stretches(uint8_t *data, size_t *sizes, size_t count)
{
    for (size_t first = 0; first < count;) {
        gr_iov v[STRETCHES];
        size_t taken;
        uint8_t *at = data;
        for (size_t i = first; i < count; i++) {
            v[i - first] = (gr_iov){at, sizes[i]};
            at += sizes[i];
        }
        assert_rc(gr_tls_write(pair.client.t, v, count - first, &taken), GR_OK);
        assert_true(taken <= GR_TLS_RECORD);
        assert_true(taken > 0 || at == data || !sizes[first]);
        data += taken;
        for (; first < count && taken >= sizes[first]; first++)
            taken -= sizes[first];
        if (first < count)
            sizes[first] -= taken;
    }
}

/* Small stretches share a record, a large one has its own; the order stays. */
static void stretches_are_gathered(void **state)
{
    (void)state;
    uint64_t prng = 11;
    for (uint64_t round = 0; round < 60; round++) {
        size_t sizes[STRETCHES];
        size_t total = 0;
        size_t count = 1 + (size_t)prng_below(&prng, STRETCHES);
        for (size_t i = 0; i < count; i++)
            total += sizes[i] = prng_size(&prng, i % 5 ? 3000 : 40000);
        uint8_t *data = malloc(total + 1);
        assert_non_null(data);
        pattern_fill(data, total, round);
        write_stretches(data, sizes, count);
        free(data);
        tls_pair_pump(&pair);
        tls_end_expect_pattern(&pair.server, round, total);
    }
}

/* How many bytes are taken of some stretches of these sizes. */
static size_t taken_of(const size_t *sizes, size_t count)
{
    static uint8_t zeros[3 * GR_TLS_RECORD];
    gr_iov v[8];
    size_t taken;
    for (size_t i = 0; i < count; i++) {
        v[i].data = zeros;
        v[i].size = sizes[i];
    }
    assert_rc(gr_tls_write(pair.client.t, v, count, &taken), GR_OK);
    tls_pair_pump(&pair);
    bytes_drop(&pair.server.in, pair.server.in.size);
    return taken;
}

/* One record at a time: it is filled up from the next stretch unless the first is as large. */
static void one_record_is_taken_at_a_time(void **state)
{
    (void)state;
    static const struct {
        size_t sizes[3];
        size_t count;
        size_t taken;
    } cases[] = {
        {{10, 20, 30}, 3, 60},
        {{GR_TLS_RECORD, 20, 30}, 3, GR_TLS_RECORD},
        {{GR_TLS_RECORD - 1, 20, 30}, 3, GR_TLS_RECORD},
        {{GR_TLS_RECORD - 10, 10, 30}, 3, GR_TLS_RECORD},
        {{GR_TLS_RECORD + 1, 20, 30}, 3, GR_TLS_RECORD},
        {{3 * GR_TLS_RECORD}, 1, GR_TLS_RECORD},
        {{10, 3 * GR_TLS_RECORD}, 2, GR_TLS_RECORD},
        {{0, 3 * GR_TLS_RECORD}, 2, GR_TLS_RECORD},
        {{0, 0, 7}, 3, 7},
        {{GR_TLS_RECORD - 1}, 1, GR_TLS_RECORD - 1},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(taken_of(cases[i].sizes, cases[i].count), cases[i].taken);
}

/* Whoever reads a few bytes at a time gets all of them. */
static void data_can_be_read_in_small_pieces(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 7, 1000, GR_TLS_RECORD - 1, GR_TLS_RECORD};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        size_t total = sizes[i] < 100 ? 3000 : 50000;
        pair.server.read_size = sizes[i];
        tls_end_write_pattern(&pair.client, i, total);
        tls_pair_pump(&pair);
        tls_end_expect_pattern(&pair.server, i, total);
    }
}

/* Both sides write and read at the same time, in pieces of any size. */
static void both_directions_are_independent(void **state)
{
    (void)state;
    uint64_t prng = 3;
    test_bytes sent[2] = {{0}, {0}};
    pair.prng = 5;
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 2; i++) {
            uint8_t data[9000];
            size_t size = prng_size(&prng, sizeof data);
            pattern_fill(data, size, prng_next(&prng));
            tls_end_write(i ? &pair.server : &pair.client, data, size);
            bytes_append(&sent[i], data, size);
        }
        /* Not all of it moves before more is written. */
        test_bytes some = {0};
        tls_end_drain(&pair.server, &some, (size_t)prng_below(&prng, 5000));
        tls_end_feed(&pair.client, some.data, some.size);
        bytes_free(&some);
        if (round % 5 == 4)
            tls_pair_pump(&pair);
    }
    tls_pair_pump(&pair);
    tls_end_expect(&pair.server, sent[0].data, sent[0].size);
    tls_end_expect(&pair.client, sent[1].data, sent[1].size);
    bytes_free(&sent[0]);
    bytes_free(&sent[1]);
}

/* One byte of ciphertext at a time; a record is there with its last one, and not before. */
static void record_is_there_with_its_last_byte(void **state)
{
    (void)state;
    test_bytes wire = {0};
    tls_end_write_pattern(&pair.client, 1, 100);
    tls_end_write_pattern(&pair.client, 2, 200);
    tls_end_drain(&pair.client, &wire, SIZE_MAX);
    for (size_t i = 0; i < wire.size; i++) {
        gr_iov v;
        assert_false(gr_tls_has_record(pair.server.t));
        assert_rc(gr_tls_space(pair.server.t, &v), GR_OK);
        v.data[0] = wire.data[i];
        gr_tls_filled(pair.server.t, 1);
        size_t seen = i + 1;
        int whole = seen == 100 + RECORD_ADDS_CHACHA || seen == wire.size;
        assert_int_equal(gr_tls_has_record(pair.server.t), whole);
        tls_end_go(&pair.server);
        assert_int_equal(pair.server.in.size, seen < 121 ? 0 : seen < wire.size ? 100 : 300);
    }
    bytes_free(&wire);
}

/* There is always room for two records, and what is not used yet stays where it can be found. */
static void input_has_room_for_two_records(void **state)
{
    (void)state;
    test_bytes wire = {0};
    gr_iov v;
    uint8_t buf[GR_TLS_RECORD];
    size_t got;
    for (int i = 0; i < 3; i++)
        tls_end_write_pattern(&pair.client, (uint64_t)i, GR_TLS_RECORD);
    tls_end_drain(&pair.client, &wire, SIZE_MAX);
    while (gr_tls_output(pair.client.t))
        tls_end_drain(&pair.client, &wire, SIZE_MAX);
    assert_rc(gr_tls_space(pair.server.t, &v), GR_OK);
    assert_true(v.size >= 2 * (GR_TLS_RECORD + RECORD_ADDS));
    /* As much as fits: two records and the beginning of a third. */
    size_t first = v.size;
    memcpy(v.data, wire.data, first);
    gr_tls_filled(pair.server.t, first);
    assert_rc(gr_tls_space(pair.server.t, &v), GR_OK);
    assert_int_equal(v.size, 0);
    for (uint64_t i = 0; i < 3; i++) {
        assert_rc(gr_tls_read(pair.server.t, buf, sizeof buf, &got), GR_OK);
        assert_int_equal(got, sizeof buf);
        assert_true(pattern_matches(buf, sizeof buf, i));
        if (i == 1) {
            assert_rc(gr_tls_read(pair.server.t, buf, sizeof buf, &got), GR_NONE);
            assert_rc(gr_tls_space(pair.server.t, &v), GR_OK);
            memcpy(v.data, wire.data + first, wire.size - first);
            gr_tls_filled(pair.server.t, wire.size - first);
        }
    }
    assert_rc(gr_tls_read(pair.server.t, buf, sizeof buf, &got), GR_NONE);
    bytes_free(&wire);
}

/* ---- suites ---- */

/* With each suite, a record, two, and a small one, in both directions. */
static void every_suite_carries_data(void **state)
{
    (void)state;
    static const char *const suites[] = {"ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-CCM",
                                         "ECDHE-ECDSA-AES256-CCM", "ECDHE-ECDSA-AES128-GCM-SHA256",
                                         "ECDHE-ECDSA-AES256-GCM-SHA384"};
    static tls_pair p;
    for (size_t i = 0; i < COUNT_OF(suites); i++) {
        gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
        c.ciphers = str_of(suites[i]);
        tls_pair_open_up(&p, &c, NULL);
        for (size_t size = 1; size <= 2 * GR_TLS_RECORD; size += GR_TLS_RECORD - 1) {
            tls_end_write_pattern(&p.client, size, size);
            size_t adds = i ? RECORD_ADDS : RECORD_ADDS_CHACHA;
            size_t records = (size + GR_TLS_RECORD - 1) / GR_TLS_RECORD;
            assert_int_equal(gr_tls_output(p.client.t), size + records * adds);
            tls_end_write_pattern(&p.server, size + 1, size);
            tls_pair_pump(&p);
            tls_end_expect_pattern(&p.server, size, size);
            tls_end_expect_pattern(&p.client, size + 1, size);
        }
        tls_pair_close(&p);
    }
}

/* ---- memory ---- */

/* Buffers go back to the system when they are empty, and come again; what is in them stays. */
static void buffers_are_given_back_when_empty(void **state)
{
    (void)state;
    test_bytes wire = {0};
    tls_pair_check_up(&pair);
    size_t before = pair.mem.live;
    gr_tls_trim(pair.client.t);
    gr_tls_trim(pair.server.t);
    assert_true(pair.mem.live < before);
    size_t least = pair.mem.live;
    gr_tls_trim(pair.client.t);
    assert_int_equal(pair.mem.live, least);
    tls_pair_check_up(&pair);
    /* Half a record on one side, unsent output on the other. */
    tls_end_write_pattern(&pair.client, 1, 1000);
    tls_end_drain(&pair.client, &wire, 500);
    tls_end_feed(&pair.server, wire.data, wire.size);
    gr_tls_trim(pair.client.t);
    gr_tls_trim(pair.server.t);
    tls_pair_pump(&pair);
    tls_end_expect_pattern(&pair.server, 1, 1000);
    bytes_free(&wire);
}

/* Plaintext that was not read yet does not need the buffer of the ciphertext it came in. */
static void unread_plaintext_survives_a_trim(void **state)
{
    (void)state;
    test_bytes wire = {0};
    gr_iov v;
    uint8_t buf[100];
    size_t got;
    tls_end_write_pattern(&pair.client, 1, 100);
    tls_end_drain(&pair.client, &wire, SIZE_MAX);
    assert_rc(gr_tls_space(pair.server.t, &v), GR_OK);
    memcpy(v.data, wire.data, wire.size);
    gr_tls_filled(pair.server.t, wire.size);
    assert_rc(gr_tls_read(pair.server.t, buf, 10, &got), GR_OK);
    gr_tls_trim(pair.server.t);
    assert_rc(gr_tls_read(pair.server.t, buf + 10, 90, &got), GR_OK);
    assert_int_equal(got, 90);
    assert_true(pattern_matches(buf, 100, 1));
    bytes_free(&wire);
}

/* ---- damage ---- */

/* The server gets this; and then nothing any more. Returns its code. */
static int feed_and_end(const test_bytes *wire)
{
    tls_end_feed(&pair.server, wire->data, wire->size);
    tls_end_eof(&pair.server);
    return pair.server.rc;
}

/*
 * Two records, one bit of the first flipped, head included: nothing of it is delivered, and nothing
 * behind it. A length that has grown swallows part of the second, or waits for what never comes.
 */
static void any_flipped_bit_is_noticed(void **state)
{
    (void)state;
    enum { SIZE = 20, WIRE = SIZE + RECORD_ADDS_CHACHA };
    for (size_t bit = 0; bit < WIRE * 8; bit++) {
        test_bytes wire = {0};
        tls_pair_join_up(&pair);
        assert_true(tls_end_info(&pair.client).resumed);
        tls_end_write_pattern(&pair.client, 1, SIZE);
        tls_end_write_pattern(&pair.client, 2, 9000);
        tls_end_drain(&pair.client, &wire, SIZE_MAX);
        wire.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        size_t claimed = (size_t)wire.data[3] << 8 | wire.data[4];
        int rc = feed_and_end(&wire);
        int waits = claimed + 5 > wire.size && claimed <= GR_TLS_RECORD + 2048;
        assert_rc(rc, waits ? GR_ETLS_TRUNCATED : GR_ETLS_RECORD);
        tls_end_expect(&pair.server, NULL, 0);
        bytes_free(&wire);
    }
}

/* The other side is told, if there still is a way to. */
static void sender_is_told_of_a_bad_record(void **state)
{
    (void)state;
    test_bytes wire = {0};
    tls_end_write_pattern(&pair.client, 1, 100);
    tls_end_drain(&pair.client, &wire, SIZE_MAX);
    wire.data[50] ^= 1;
    tls_end_feed(&pair.server, wire.data, wire.size);
    assert_rc(pair.server.rc, GR_ETLS_RECORD);
    tls_pair_pump(&pair);
    assert_rc(pair.client.rc, GR_ETLS_ALERT - BAD_RECORD_MAC);
    bytes_free(&wire);
}

/* Records come in their order, each once, and back to nobody. */
static void records_cannot_be_moved(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        test_bytes first = {0}, second = {0};
        tls_pair_join_up(&pair);
        tls_end_write_pattern(&pair.client, 1, 100);
        tls_end_drain(&pair.client, &first, SIZE_MAX);
        tls_end_write_pattern(&pair.client, 2, 200);
        tls_end_drain(&pair.client, &second, SIZE_MAX);
        tls_end *to = how == 3 ? &pair.client : &pair.server;
        const test_bytes *wrong = how == 1 || how == 3 ? &first : &second;
        if (how == 1 || how == 2) {
            /* One is replayed, or the next one comes twice. */
            tls_end_feed(to, first.data, first.size);
            tls_end_expect_pattern(to, 1, 100);
        }
        if (how == 2) {
            tls_end_feed(to, second.data, second.size);
            tls_end_expect_pattern(to, 2, 200);
        }
        tls_end_feed(to, wrong->data, wrong->size);
        assert_rc(to->rc, GR_ETLS_RECORD);
        tls_end_expect(to, NULL, 0);
        bytes_free(&first);
        bytes_free(&second);
    }
}

/* Those of another connection, even between the same two, are no use. */
static void records_of_another_connection_are_refused(void **state)
{
    (void)state;
    test_bytes wire = {0};
    tls_end_write_pattern(&pair.client, 1, 100);
    tls_end_drain(&pair.client, &wire, SIZE_MAX);
    tls_pair_join_up(&pair);
    tls_end_feed(&pair.server, wire.data, wire.size);
    assert_rc(pair.server.rc, GR_ETLS_RECORD);
    bytes_free(&wire);
}

/* What was delivered before stays so; after the end nothing is taken and nothing written. */
static void bad_record_is_the_end(void **state)
{
    (void)state;
    uint8_t buf[10];
    gr_iov v = {buf, sizeof buf};
    size_t n = 5;
    memset(buf, 0, sizeof buf);
    tls_end_write_pattern(&pair.client, 1, 100);
    tls_pair_pump(&pair);
    tls_end_feed(&pair.server, "\x17\x03\x03\x00\x20 this is no record of ours at all", 37);
    assert_rc(pair.server.rc, GR_ETLS_RECORD);
    tls_end_expect_pattern(&pair.server, 1, 100);
    for (int i = 0; i < 2; i++) {
        assert_rc(gr_tls_read(pair.server.t, buf, sizeof buf, &n), GR_ETLS_RECORD);
        assert_int_equal(n, 0);
        assert_rc(gr_tls_write(pair.server.t, &v, 1, &n), GR_ETLS_RECORD);
        assert_int_equal(n, 0);
        assert_rc(gr_tls_handshake(pair.server.t), GR_ETLS_RECORD);
    }
    size_t output = gr_tls_output(pair.server.t);
    gr_tls_close(pair.server.t);
    assert_int_equal(gr_tls_output(pair.server.t), output);
}

/* Records that nobody may send, at once and without waiting for their end. */
static void impossible_records_are_refused_at_once(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } heads[] = {
        {"\x00", 1},                 /* no type */
        {"\x13\x03\x03\x00\x10", 5}, /* below the first */
        {"\x18\x03\x03\x00\x10", 5}, /* heartbeat */
        {"\xff\x03\x03\x00\x10", 5},
        {"G", 1},
        {"\x17\x03\x03\x48\x01", 5}, /* longer than any record */
        {"\x17\x03\x03\xff\xff", 5},
    };
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        tls_pair_join_up(&pair);
        tls_end_feed(&pair.server, heads[i].bytes, heads[i].size);
        assert_true(heads[i].size == 1 || pair.server.rc == GR_ETLS_RECORD);
        tls_end_feed(&pair.server, "0123456789", 10);
        assert_rc(pair.server.rc, GR_ETLS_RECORD);
    }
}

/* Garbage of any size, with a record's head or without: never data, never a crash. */
static void garbage_is_refused(void **state)
{
    (void)state;
    uint64_t prng = 17;
    for (int i = 0; i < 300; i++) {
        test_bytes wire = {0};
        tls_pair_join_up(&pair);
        size_t size = prng_size(&prng, 40000);
        uint8_t head[5] = {(uint8_t)(20 + prng_below(&prng, 4)), 3, 3, (uint8_t)(size >> 8),
                           (uint8_t)size};
        if (i % 4)
            bytes_append(&wire, head, sizeof head);
        for (size_t j = 0; j < size; j++) {
            uint8_t byte = (uint8_t)prng_next(&prng);
            bytes_append(&wire, &byte, 1);
        }
        int rc = feed_and_end(&wire);
        assert_true(rc == GR_ETLS_RECORD || rc == GR_ETLS_TRUNCATED);
        tls_end_expect(&pair.server, NULL, 0);
        bytes_free(&wire);
    }
}

/* ---- what a peer with the keys may do ---- */

static void raw_up(gr_role role)
{
    raw_pair_open_up(&raw, role, "full", NULL);
}

static void raw_write(const void *data, size_t size)
{
    assert_int_equal(mbedtls_ssl_write(&raw.raw.ssl, data, size), (int)size);
}

/* Empty records, as OpenSSL once sent them, carry nothing and end nothing. */
static void empty_records_are_passed_over(void **state)
{
    (void)state;
    for (int n = 1; n <= 3; n++) {
        raw_up(GR_CLIENT);
        for (int i = 0; i < n; i++)
            raw_write("", 0);
        raw_pair_pump(&raw);
        assert_rc(raw.end.rc, GR_OK);
        raw_write("hello", 5);
        raw_pair_pump(&raw);
        assert_rc(raw.end.rc, GR_OK);
        tls_end_expect(&raw.end, "hello", 5);
        for (int i = 0; i < n; i++)
            raw_write("", 0);
        raw_write("hello", 5);
        raw_pair_pump(&raw);
        tls_end_expect(&raw.end, "hello", 5);
        raw_pair_close(&raw);
    }
}

/* A row of them serves only to keep us busy. */
static void many_empty_records_are_refused(void **state)
{
    (void)state;
    raw_up(GR_CLIENT);
    for (int i = 0; i < 10; i++)
        raw_write("", 0);
    raw_pair_pump(&raw);
    assert_rc(raw.end.rc, GR_ETLS_RECORD);
    raw_pair_close(&raw);
}

/* A peer may ask for smaller records; what is written then takes more of them. */
static void peer_may_ask_for_small_records(void **state)
{
    (void)state;
    uint8_t data[5000];
    uint8_t got[sizeof data];
    size_t size = 0;
    int n;
    pattern_fill(data, sizeof data, 1);
    raw_pair_configure(&raw, GR_CLIENT, "full", NULL);
    assert_int_equal(mbedtls_ssl_conf_max_frag_len(&raw.raw.conf, MBEDTLS_SSL_MAX_FRAG_LEN_512), 0);
    raw_pair_begin(&raw);
    raw_pair_pump(&raw);
    assert_rc(raw.end.rc, GR_OK);
    gr_iov v = {data, sizeof data};
    size_t taken;
    assert_rc(gr_tls_write(raw.end.t, &v, 1, &taken), GR_OK);
    assert_int_equal(taken, 512);
    tls_end_write(&raw.end, data + taken, sizeof data - taken);
    raw_pair_pump(&raw);
    while ((n = mbedtls_ssl_read(&raw.raw.ssl, got + size, sizeof got - size)) > 0)
        size += (size_t)n;
    assert_int_equal(size, sizeof data);
    assert_memory_equal(got, data, size);
    raw_pair_close(&raw);
}

/* A warning ends nothing, unless it is the goodbye; what comes behind it is read. */
static void warnings_are_passed_over(void **state)
{
    (void)state;
    for (int role = GR_CLIENT; role <= GR_SERVER; role++) {
        raw_up((gr_role)role);
        for (int i = 0; i < 3; i++)
            assert_int_equal(mbedtls_ssl_send_alert_message(&raw.raw.ssl, 1, 90), 0);
        raw_write("hello", 5);
        assert_int_equal(mbedtls_ssl_send_alert_message(&raw.raw.ssl, 1, NO_RENEGOTIATION), 0);
        raw_write("again", 5);
        raw_pair_pump(&raw);
        assert_rc(raw.end.rc, GR_OK);
        tls_end_expect(&raw.end, "helloagain", 10);
        raw_pair_close(&raw);
    }
}

/* A fatal one is the end, with its own description, behind the data before it. */
static void fatal_alerts_are_told(void **state)
{
    (void)state;
    static const uint8_t descriptions[] = {10, 20, 22, 40, 47, 50, 80, 90, 255};
    for (size_t i = 0; i < COUNT_OF(descriptions); i++) {
        raw_up(i % 2 ? GR_SERVER : GR_CLIENT);
        raw_write("hello", 5);
        assert_int_equal(mbedtls_ssl_send_alert_message(&raw.raw.ssl, 2, descriptions[i]), 0);
        raw_pair_pump(&raw);
        tls_end_expect(&raw.end, "hello", 5);
        assert_rc(raw.end.rc, GR_ETLS_ALERT - descriptions[i]);
        assert_int_equal(gr_tls_output(raw.end.t), 0);
        raw_pair_close(&raw);
    }
}

/* ---- renegotiation ---- */

/* The peer wants to; our side's code, and that the peer is told. */
static void expect_renegotiation_refused(gr_role role, int with_data)
{
    raw_pair_configure(&raw, role, "full", NULL);
    mbedtls_ssl_conf_renegotiation(&raw.raw.conf, MBEDTLS_SSL_RENEGOTIATION_ENABLED);
    raw_pair_begin(&raw);
    raw_pair_pump(&raw);
    assert_rc(raw.end.rc, GR_OK);
    if (with_data < 0)
        raw_write("before", 6);
    int rc = mbedtls_ssl_renegotiate(&raw.raw.ssl);
    assert_true(rc == 0 || rc == MBEDTLS_ERR_SSL_WANT_READ);
    if (with_data > 0 && role == GR_SERVER)
        raw_write("behind", 6);
    assert_true(raw.to_end.size > 0);
    tls_end_feed(&raw.end, raw.to_end.data, raw.to_end.size);
    bytes_drop(&raw.to_end, raw.to_end.size);
    assert_rc(raw.end.rc, GR_ETLS_RENEGOTIATION);
    tls_end_expect(&raw.end, with_data < 0 ? "before" : NULL, with_data < 0 ? 6 : 0);
    assert_true(gr_tls_output(raw.end.t) > 0);
    raw_pair_close(&raw);
}

/* A client that wants a second handshake is refused: nothing is gained by it, and it costs much. */
static void client_cannot_renegotiate(void **state)
{
    (void)state;
    expect_renegotiation_refused(GR_CLIENT, 0);
    expect_renegotiation_refused(GR_CLIENT, -1);
}

/* A server that asks for one is refused, too. */
static void server_cannot_renegotiate(void **state)
{
    (void)state;
    expect_renegotiation_refused(GR_SERVER, 0);
    expect_renegotiation_refused(GR_SERVER, -1);
}

/* Also when it goes on with data right behind it, as if nothing had happened. */
static void renegotiation_does_not_hide_behind_data(void **state)
{
    (void)state;
    expect_renegotiation_refused(GR_SERVER, 1);
}

/* A message of a handshake that is over, of another kind. */
static void other_handshake_messages_are_refused(void **state)
{
    (void)state;
    for (int role = GR_CLIENT; role <= GR_SERVER; role++) {
        raw_up((gr_role)role);
        /* A record of a certificate request, sealed by the library as if it were its own. */
        raw.raw.ssl.out_msgtype = MBEDTLS_SSL_MSG_HANDSHAKE;
        raw_write("x", 1);
        test_bytes wire = {0};
        bytes_append(&wire, raw.to_end.data, raw.to_end.size);
        wire.data[0] = MBEDTLS_SSL_MSG_HANDSHAKE;
        tls_end_feed(&raw.end, wire.data, wire.size);
        assert_rc(raw.end.rc, GR_ETLS_RECORD);
        bytes_free(&wire);
        raw_pair_close(&raw);
    }
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(data_of_every_size_arrives),
        test_of(small_data_arrives),
        test_of(nothing_is_no_record),
        test_of(stretches_are_gathered),
        test_of(one_record_is_taken_at_a_time),
        test_of(data_can_be_read_in_small_pieces),
        test_of(both_directions_are_independent),
        test_of(record_is_there_with_its_last_byte),
        test_of(input_has_room_for_two_records),
        cmocka_unit_test(every_suite_carries_data),
        test_of(buffers_are_given_back_when_empty),
        test_of(unread_plaintext_survives_a_trim),
        test_of(any_flipped_bit_is_noticed),
        test_of(sender_is_told_of_a_bad_record),
        test_of(records_cannot_be_moved),
        test_of(records_of_another_connection_are_refused),
        test_of(bad_record_is_the_end),
        test_of(impossible_records_are_refused_at_once),
        test_of(garbage_is_refused),
        cmocka_unit_test(empty_records_are_passed_over),
        cmocka_unit_test(many_empty_records_are_refused),
        cmocka_unit_test(peer_may_ask_for_small_records),
        cmocka_unit_test(warnings_are_passed_over),
        cmocka_unit_test(fatal_alerts_are_told),
        cmocka_unit_test(client_cannot_renegotiate),
        cmocka_unit_test(server_cannot_renegotiate),
        cmocka_unit_test(renegotiation_does_not_hide_behind_data),
        cmocka_unit_test(other_handshake_messages_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
