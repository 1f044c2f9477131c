/* SPDX-License-Identifier: Apache-2.0 */
/* What strangers send: garbage, malformed and truncated messages, in every stage of a handshake. */
#include <string.h>

#include "cmocka_support.h"
#include "forge_support.h"
#include "pair_support.h"

#define HEAD FORGE_HEAD
#define BODY_MAX 2304u

/* What the side under test waits for. */
enum { CLIENT_HELLO, SERVER_HELLO, PROOF, RESULT, STAGES };

static test_pair pair;

/* Runs a handshake up to a stage. Returns who waits; *next gets the message that it waits for. */
static test_end *open_at(int stage, test_bytes *next)
{
    test_end *from = &pair.client;
    test_end *to = &pair.server;
    pair_open(&pair, NULL, NULL);
    next->size = 0;
    for (int i = CLIENT_HELLO;; i++) {
        end_drain(from, next, SIZE_MAX);
        if (i == stage)
            return to;
        end_feed(to, next->data, next->size);
        next->size = 0;
        test_end *was = from;
        from = to;
        to = was;
    }
}

/* Feeds byte by byte. Returns after how many the session died; 0: it lives. */
static size_t dies_at(test_end *e, const test_bytes *b)
{
    for (size_t i = 0; i < b->size; i++)
        if (end_feed(e, b->data + i, 1) != GR_OK)
            return i + 1;
    return 0;
}

/* Changes one byte of the awaited message, and expects an end after exactly so many bytes. */
static void expect_death(int stage, size_t at, uint8_t value, int rc)
{
    test_bytes b = {0};
    test_end *e = open_at(stage, &b);
    b.data[at] = value;
    assert_int_equal(dies_at(e, &b), at + 1);
    assert_rc(e->rc, rc);
    bytes_free(&b);
    pair_close(&pair);
}

/* A stranger is refused by the very byte that gives him away, by the fourth at the latest. */
static void garbage_is_refused_by_its_first_wrong_byte(void **state)
{
    (void)state;
    static const uint8_t magic[3] = {0x8e, 'G', 'R'};
    for (int stage = CLIENT_HELLO; stage < STAGES; stage++)
        for (size_t at = 0; at < sizeof magic; at++)
            for (unsigned v = 0; v < 256; v++)
                if (v != magic[at])
                    expect_death(stage, at, (uint8_t)v, GR_EMAGIC);
}

/* The same when it all comes in one read; and a stranger gets no answer. */
static void garbage_in_one_read_is_refused_without_an_answer(void **state)
{
    (void)state;
    static const char *const texts[] = {"GET / HTTP/1.1\r\nHost: here\r\n\r\n", "\x16\x03\x01\x02",
                                        "\x8eGX", "\x8eGR\x01\x02\x00\x00", "n"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        pair_open(&pair, NULL, NULL);
        end_feed(&pair.server, texts[i], strlen(texts[i]));
        assert_rc(pair.server.rc, i == 3 ? GR_EPROTO : GR_EMAGIC);
        assert_int_equal(gr_session_output(pair.server.s), 0);
        pair_close(&pair);
    }
}

/* Version 0 does not exist; only a client's hello may be of a later version than ours. */
static void other_versions_are_refused_at_byte_four(void **state)
{
    (void)state;
    expect_death(CLIENT_HELLO, 3, 0, GR_EVERSION);
    for (int stage = SERVER_HELLO; stage < STAGES; stage++)
        for (unsigned v = 0; v < 256; v++)
            if (v != 1)
                expect_death(stage, 3, (uint8_t)v, GR_EVERSION);
}

/* Every client's hello of a later version is read, up to the last one there can be. */
static void later_hellos_are_not_refused_for_their_version(void **state)
{
    (void)state;
    test_bytes b = {0};
    for (unsigned v = 2; v < 256; v++) {
        test_end *e = open_at(CLIENT_HELLO, &b);
        b.data[3] = (uint8_t)v;
        assert_int_equal(dies_at(e, &b), 0);
        assert_int_equal(gr_session_output(e->s), HEAD + 44);
        pair_close(&pair);
    }
    bytes_free(&b);
}

/* Messages come in one order only. */
static void unexpected_kinds_are_refused_at_once(void **state)
{
    (void)state;
    for (int stage = CLIENT_HELLO; stage < STAGES; stage++)
        for (int kind = 0; kind < 256; kind++)
            if (kind != stage + 1)
                expect_death(stage, 4, (uint8_t)kind, GR_EPROTO);
}

/* A reserved byte that is set means something that we do not know. */
static void reserved_byte_is_refused_at_once(void **state)
{
    (void)state;
    for (int stage = CLIENT_HELLO; stage < STAGES; stage++)
        for (unsigned v = 1; v < 256; v++)
            expect_death(stage, 5, (uint8_t)v, GR_EPROTO);
}

/* A length over what any message may have is refused before a byte of the body. */
static void oversize_length_is_refused_by_the_header(void **state)
{
    (void)state;
    static const unsigned sizes[] = {BODY_MAX + 1, 4096, 0x8000, 0xffff};
    test_bytes b = {0};
    for (int stage = CLIENT_HELLO; stage < STAGES; stage++)
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            test_end *e = open_at(stage, &b);
            b.data[6] = (uint8_t)(sizes[i] >> 8);
            b.data[7] = (uint8_t)sizes[i];
            assert_int_equal(dies_at(e, &b), HEAD);
            assert_rc(e->rc, GR_EPROTO);
            pair_close(&pair);
        }
    bytes_free(&b);
}

/* Sends a message of this body in this stage. Returns what becomes of the session. */
static int send_body(int stage, const test_bytes *body)
{
    test_bytes b = {0};
    test_end *e = open_at(stage, &b);
    b.size = 0;
    forge_head(&b, 1, (uint8_t)(stage + 1), body->size);
    bytes_append(&b, body->data, body->size);
    end_feed(e, b.data, b.size);
    assert_false(e->up);
    int rc = e->rc;
    bytes_free(&b);
    pair_close(&pair);
    return rc;
}

/* A body that is cut short, with a length that fits it, lacks a field. */
static void bodies_that_lack_a_field_are_refused(void **state)
{
    (void)state;
    static const size_t whole[STAGES] = {44 + 2 + 11 + 2 + 12, 44, 32, 1 + 2 + 12 + 32};
    test_bytes good = {0};
    for (int stage = CLIENT_HELLO; stage < STAGES; stage++) {
        open_at(stage, &good);
        pair_close(&pair);
        bytes_drop(&good, HEAD);
        assert_int_equal(good.size, whole[stage]);
        while (good.size) {
            good.size--;
            assert_rc(send_body(stage, &good), GR_EPROTO);
        }
    }
    bytes_free(&good);
}

/* A proof has one size; what is behind a result's proof does not belong there. */
static void bodies_that_are_too_long_are_refused(void **state)
{
    (void)state;
    test_bytes good = {0};
    for (int stage = PROOF; stage < STAGES; stage++) {
        open_at(stage, &good);
        pair_close(&pair);
        bytes_drop(&good, HEAD);
        while (good.size < BODY_MAX) {
            bytes_append(&good, "x", 1);
            assert_rc(send_body(stage, &good), GR_EPROTO);
        }
    }
    bytes_free(&good);
}

/* A name of this claimed size, with as many bytes as there are. */
static void put_name(test_bytes *b, size_t claimed, size_t size)
{
    uint8_t head[2] = {(uint8_t)(claimed >> 8), (uint8_t)claimed};
    bytes_append(b, head, 2);
    while (size--)
        bytes_append(b, "n", 1);
}

static const size_t bad_names[][2] = {{0, 0},    {0, 5},       {1, 0},        {1021, 1021},
                                      {1021, 1}, {0xffff, 10}, {0x8000, 1021}};

/* Empty names, names over the limit and names longer than the message, in each place for one. */
static void bad_names_are_refused(void **state)
{
    (void)state;
    test_bytes b = {0};
    for (size_t i = 0; i < COUNT_OF(bad_names); i++)
        for (int place = 0; place < 3; place++) {
            uint8_t fixed[44] = {0};
            b.size = 0;
            bytes_append(&b, fixed, place == 2 ? 1 : sizeof fixed);
            if (place == 1)
                put_name(&b, 3, 3);
            put_name(&b, bad_names[i][0], bad_names[i][1]);
            assert_rc(send_body(place == 2 ? RESULT : CLIENT_HELLO, &b), GR_EPROTO);
        }
    bytes_free(&b);
}

/* A hello too short for its fixed fields is not read as something else. */
static void short_hello_is_not_taken_for_names(void **state)
{
    (void)state;
    test_bytes b = {0};
    put_name(&b, 1, 1);
    put_name(&b, 1, 1);
    assert_rc(send_body(CLIENT_HELLO, &b), GR_EPROTO);
    bytes_free(&b);
}

/* What an earlier message left in the buffer is no part of a later, shorter one. */
static void empty_result_has_no_status(void **state)
{
    (void)state;
    forge_hello h = {1, 0x01010101, 1000, NULL, NULL, 0};
    test_bytes b = {0};
    pair_open(&pair, NULL, NULL);
    forge_hello_put(&b, FORGE_SERVER_HELLO, &h);
    forge_head(&b, 1, FORGE_RESULT, 0);
    assert_rc(end_feed(&pair.client, b.data, b.size), GR_EPROTO);
    bytes_free(&b);
    pair_close(&pair);
}

/* Each message cut at every length, then the end of the stream: an end, and not a crash. */
static void truncated_messages_end_with_the_stream(void **state)
{
    (void)state;
    test_bytes b = {0};
    for (int stage = CLIENT_HELLO; stage < STAGES; stage++) {
        size_t size = 1;
        for (size_t cut = 0; cut < size; cut++) {
            test_end *e = open_at(stage, &b);
            size = b.size;
            end_feed(e, b.data, cut);
            assert_rc(e->rc, GR_OK);
            assert_rc(end_eof(e), GR_EEOF);
            assert_false(e->up);
            pair_close(&pair);
        }
    }
    bytes_free(&b);
}

/* The reason of a refusal counts more than the end of the stream right behind it. */
static void refusal_is_read_before_the_end_of_the_stream(void **state)
{
    (void)state;
    gr_session_config c = end_config(GR_CLIENT);
    c.auth.cookie = str_of("vanilla");
    pair_open(&pair, &c, NULL);
    while (pair.server.rc == GR_OK) {
        link_send(&pair, &pair.client, &pair.up);
        link_deliver(&pair, &pair.up, &pair.server);
        link_send(&pair, &pair.server, &pair.down);
        if (pair.server.rc == GR_OK)
            link_deliver(&pair, &pair.down, &pair.client);
    }
    gr_session_eof(pair.client.s, GR_EEOF);
    link_deliver(&pair, &pair.down, &pair.client);
    assert_rc(pair.client.rc, GR_ECOOKIE);
    pair_close(&pair);
}

/* A handshake costs four blocks of fixed size, whatever the stranger says. */
static void strangers_cannot_make_it_allocate(void **state)
{
    (void)state;
    uint64_t prng = 7;
    for (int i = 0; i < 300; i++) {
        test_bytes b = {0};
        test_end *e = open_at(i % STAGES, &b);
        size_t tries = pair.mem.tries;
        if (i & 4)
            b.data[HEAD + prng_below(&prng, b.size - HEAD)] ^= 1;
        while (b.size < 5000)
            bytes_append(&b, "garbage", 7);
        end_feed(e, b.data, b.size);
        assert_true(pair.mem.tries - tries <= 4);
        assert_true(pair.mem.largest <= 18 * 1024);
        bytes_free(&b);
        pair_close(&pair);
    }
}

/* Random changes and cuts: never a crash, and never up unless the bytes are as they were. */
static void mangled_messages_never_succeed(void **state)
{
    (void)state;
    test_bytes b = {0};
    for (uint64_t seed = 0; seed < 4000; seed++) {
        uint64_t prng = seed;
        test_end *e = open_at((int)(seed % STAGES), &b);
        test_bytes was = {0};
        bytes_append(&was, b.data, b.size);
        for (uint64_t n = 1 + prng_below(&prng, 4); n; n--)
            b.data[prng_below(&prng, b.size)] = (uint8_t)prng_next(&prng);
        if (prng_below(&prng, 4) == 0)
            b.size = (size_t)prng_below(&prng, b.size + 1);
        int changed = b.size != was.size || memcmp(b.data, was.data, b.size) != 0;
        end_feed(e, b.data, b.size);
        end_eof(e);
        assert_true(!changed || !e->up);
        bytes_free(&was);
        pair_close(&pair);
    }
    bytes_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(garbage_is_refused_by_its_first_wrong_byte),
        cmocka_unit_test(garbage_in_one_read_is_refused_without_an_answer),
        cmocka_unit_test(other_versions_are_refused_at_byte_four),
        cmocka_unit_test(later_hellos_are_not_refused_for_their_version),
        cmocka_unit_test(unexpected_kinds_are_refused_at_once),
        cmocka_unit_test(reserved_byte_is_refused_at_once),
        cmocka_unit_test(oversize_length_is_refused_by_the_header),
        cmocka_unit_test(bodies_that_lack_a_field_are_refused),
        cmocka_unit_test(bodies_that_are_too_long_are_refused),
        cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(short_hello_is_not_taken_for_names),
        cmocka_unit_test(empty_result_has_no_status),
        cmocka_unit_test(truncated_messages_end_with_the_stream),
        cmocka_unit_test(refusal_is_read_before_the_end_of_the_stream),
        cmocka_unit_test(strangers_cannot_make_it_allocate),
        cmocka_unit_test(mangled_messages_never_succeed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
