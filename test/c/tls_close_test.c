/* SPDX-License-Identifier: Apache-2.0 */
/* How a TLS connection ends: said, cut off, or before it has begun. */
#include <string.h>

#include "cmocka_support.h"
#include "raw_support.h"
#include "tls_support.h"

static tls_pair pair;
static raw_pair raw;

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

/* ---- goodbye ---- */

/* Who says goodbye has said so; what was written before it comes before it. */
static void goodbye_is_told(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        tls_pair_join_up(&pair);
        tls_end *from = i ? &pair.server : &pair.client;
        tls_end *to = i ? &pair.client : &pair.server;
        tls_end_write_pattern(from, 1, 40000);
        gr_tls_close(from->t);
        tls_pair_pump(&pair);
        tls_end_expect_pattern(to, 1, 40000);
        assert_rc(to->rc, GR_EEOF);
        /* It is an end like any other: the same again. */
        assert_rc(tls_end_eof(to), GR_EEOF);
    }
}

/* Both may say it at the same time. */
static void both_say_goodbye(void **state)
{
    (void)state;
    gr_tls_close(pair.client.t);
    gr_tls_close(pair.server.t);
    tls_pair_pump(&pair);
    assert_rc(pair.client.rc, GR_EEOF);
    assert_rc(pair.server.rc, GR_EEOF);
}

/* Who has said it can still hear what the other one has to say. */
static void goodbye_ends_one_direction(void **state)
{
    (void)state;
    gr_tls_close(pair.client.t);
    tls_end_write_pattern(&pair.server, 1, 5000);
    gr_tls_close(pair.server.t);
    tls_pair_pump(&pair);
    tls_end_expect_pattern(&pair.client, 1, 5000);
    assert_rc(pair.client.rc, GR_EEOF);
}

/* What comes behind a goodbye is none of our business. */
static void nothing_is_read_behind_a_goodbye(void **state)
{
    (void)state;
    test_bytes wire = {0};
    gr_tls_close(pair.client.t);
    tls_end_drain(&pair.client, &wire, SIZE_MAX);
    bytes_append(&wire, "and another thing", 17);
    tls_end_feed(&pair.server, wire.data, wire.size);
    assert_rc(pair.server.rc, GR_EEOF);
    tls_end_expect(&pair.server, NULL, 0);
    bytes_free(&wire);
}

/* Before the handshake is done there is nothing to say goodbye to, and after a failure nobody. */
static void goodbye_is_said_only_where_there_is_a_connection(void **state)
{
    (void)state;
    tls_pair_join(&pair);
    size_t hello = gr_tls_output(pair.client.t);
    gr_tls_close(pair.client.t);
    gr_tls_close(pair.server.t);
    assert_int_equal(gr_tls_output(pair.client.t), hello);
    assert_int_equal(gr_tls_output(pair.server.t), 0);
    tls_end_feed(&pair.server, "HELO", 4);
    assert_rc(pair.server.rc, GR_ETLS_NOT_TLS);
    gr_tls_close(pair.server.t);
    assert_int_equal(gr_tls_output(pair.server.t), 0);
}

/* A library of another make understands it, and is understood. */
static void library_alone_understands_goodbye(void **state)
{
    (void)state;
    uint8_t byte;
    raw_pair_open_up(&raw, GR_CLIENT, "full", NULL);
    gr_tls_close(raw.end.t);
    raw_pair_pump(&raw);
    assert_int_equal(mbedtls_ssl_read(&raw.raw.ssl, &byte, 1), MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY);
    assert_int_equal(mbedtls_ssl_close_notify(&raw.raw.ssl), 0);
    raw_pair_pump(&raw);
    assert_rc(raw.end.rc, GR_EEOF);
    raw_pair_close(&raw);
}

/* ---- cut off ---- */

/* Who closes without a word may have been cut off by somebody else, on either side. */
static void end_without_goodbye_is_told_apart(void **state)
{
    (void)state;
    assert_rc(tls_end_eof(&pair.client), GR_ETLS_TRUNCATED);
    assert_rc(tls_end_eof(&pair.server), GR_ETLS_TRUNCATED);
}

/* All that came whole is read before it. */
static void whole_records_are_read_before_the_end(void **state)
{
    (void)state;
    gr_iov v;
    test_bytes wire = {0};
    uint8_t buf[3000];
    size_t got;
    tls_end_write_pattern(&pair.client, 1, 1000);
    tls_end_write_pattern(&pair.client, 2, 2000);
    tls_end_drain(&pair.client, &wire, SIZE_MAX);
    assert_rc(gr_tls_space(pair.server.t, &v), GR_OK);
    memcpy(v.data, wire.data, wire.size);
    gr_tls_filled(pair.server.t, wire.size);
    gr_tls_eof(pair.server.t);
    assert_true(gr_tls_has_record(pair.server.t));
    assert_rc(gr_tls_read(pair.server.t, buf, sizeof buf, &got), GR_OK);
    assert_int_equal(got, 1000);
    assert_rc(gr_tls_read(pair.server.t, buf, sizeof buf, &got), GR_OK);
    assert_int_equal(got, 2000);
    assert_true(gr_tls_has_record(pair.server.t));
    assert_rc(gr_tls_read(pair.server.t, buf, sizeof buf, &got), GR_ETLS_TRUNCATED);
    bytes_free(&wire);
}

/* A record cut anywhere, its head included, is not read, and the end is one that was cut. */
static void record_can_be_cut_anywhere(void **state)
{
    (void)state;
    for (size_t cut = 1; cut < 121; cut++) {
        test_bytes wire = {0};
        tls_pair_join_up(&pair);
        tls_end_write_pattern(&pair.client, 1, 100);
        tls_end_drain(&pair.client, &wire, cut);
        tls_end_feed(&pair.server, wire.data, wire.size);
        assert_rc(pair.server.rc, GR_OK);
        assert_rc(tls_end_eof(&pair.server), GR_ETLS_TRUNCATED);
        tls_end_expect(&pair.server, NULL, 0);
        bytes_free(&wire);
    }
}

/* A goodbye, too, is one only when it is whole. */
static void goodbye_can_be_cut_anywhere(void **state)
{
    (void)state;
    size_t size = 2;
    for (size_t cut = 1; cut < size; cut++) {
        test_bytes wire = {0};
        tls_pair_join_up(&pair);
        gr_tls_close(pair.client.t);
        size = gr_tls_output(pair.client.t);
        tls_end_drain(&pair.client, &wire, cut);
        tls_end_feed(&pair.server, wire.data, wire.size);
        assert_rc(tls_end_eof(&pair.server), GR_ETLS_TRUNCATED);
        bytes_free(&wire);
    }
    assert_true(size > 10);
}

/* The other direction still works: what has been asked may be answered. */
static void cut_off_peer_can_be_written_to(void **state)
{
    (void)state;
    gr_tls_eof(pair.server.t);
    tls_end_write_pattern(&pair.server, 1, 100);
    tls_pair_pump(&pair);
    tls_end_expect_pattern(&pair.client, 1, 100);
}

/* ---- in the handshake ---- */

/* Runs a handshake that is cut after so many bytes to the side; then the stream ends. Its code. */
static int cut_handshake(int to_server, size_t cut)
{
    tls_pair_join(&pair);
    test_link *l = to_server ? &pair.up : &pair.down;
    tls_end *e = to_server ? &pair.server : &pair.client;
    tls_end *other = to_server ? &pair.client : &pair.server;
    for (int i = 0; i < 10 && l->moved < cut; i++) {
        test_bytes b = {0};
        tls_end_drain(e, &b, SIZE_MAX);
        tls_end_feed(other, b.data, b.size);
        b.size = 0;
        tls_end_drain(other, &b, SIZE_MAX);
        size_t n = b.size < cut - l->moved ? b.size : cut - (size_t)l->moved;
        tls_end_feed(e, b.data, n);
        l->moved += n;
        bytes_free(&b);
    }
    return tls_end_eof(e);
}

/* A stream that ends in the handshake, at any byte of a short one, was closed there. */
static void handshake_can_be_cut_anywhere(void **state)
{
    (void)state;
    for (int to_server = 0; to_server < 2; to_server++) {
        tls_pair_join_up(&pair);
        size_t size = (size_t)(to_server ? pair.up.moved : pair.down.moved);
        for (size_t cut = 0; cut < size; cut++) {
            assert_rc(cut_handshake(to_server, cut), GR_ETLS_CLOSED);
            /* Nobody is left to be told. */
            assert_rc(gr_tls_handshake(to_server ? pair.server.t : pair.client.t), GR_ETLS_CLOSED);
        }
        assert_rc(cut_handshake(to_server, size), GR_ETLS_TRUNCATED);
    }
}

/* The same for a whole handshake, near the ends of its messages. */
static void full_handshake_can_be_cut_anywhere(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
    tls_pair_close(&pair);
    c.tickets = 0;
    tls_pair_open_up(&pair, &c, NULL);
    size_t size = (size_t)pair.up.moved;
    for (size_t cut = 0; cut < size; cut += 61)
        assert_rc(cut_handshake(1, cut), GR_ETLS_CLOSED);
    size = (size_t)pair.down.moved;
    for (size_t cut = 0; cut < size; cut += 61)
        assert_rc(cut_handshake(0, cut), GR_ETLS_CLOSED);
}

/* An end is something to go on with: it is told that there is one. */
static void end_is_something_to_go_on_with(void **state)
{
    (void)state;
    tls_pair_join(&pair);
    assert_false(gr_tls_has_record(pair.server.t));
    gr_tls_eof(pair.server.t);
    assert_true(gr_tls_has_record(pair.server.t));
    assert_rc(gr_tls_handshake(pair.server.t), GR_ETLS_CLOSED);
    assert_int_equal(gr_tls_output(pair.server.t), 0);
}

/* A goodbye in the middle of the handshake is an end of it. */
static void goodbye_in_the_handshake_closes_it(void **state)
{
    (void)state;
    tls_pair_join(&pair);
    tls_end_feed(&pair.client, "\x15\x03\x03\x00\x02\x01\x00", 7);
    assert_rc(pair.client.rc, GR_ETLS_CLOSED);
}

/* The peer's alert is told as it is, also as the very first thing that it says. */
static void alert_in_the_handshake_is_told(void **state)
{
    (void)state;
    static const uint8_t descriptions[] = {40, 42, 48, 70, 71, 80, 86, 112, 255};
    for (size_t i = 0; i < COUNT_OF(descriptions); i++) {
        uint8_t alert[] = {0x15, 3, 3, 0, 2, 2, descriptions[i]};
        tls_pair_join(&pair);
        tls_end_feed(&pair.client, alert, sizeof alert);
        assert_rc(pair.client.rc, GR_ETLS_ALERT - descriptions[i]);
    }
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(goodbye_is_told),
        test_of(both_say_goodbye),
        test_of(goodbye_ends_one_direction),
        test_of(nothing_is_read_behind_a_goodbye),
        test_of(goodbye_is_said_only_where_there_is_a_connection),
        cmocka_unit_test(library_alone_understands_goodbye),
        test_of(end_without_goodbye_is_told_apart),
        test_of(whole_records_are_read_before_the_end),
        test_of(record_can_be_cut_anywhere),
        test_of(goodbye_can_be_cut_anywhere),
        test_of(cut_off_peer_can_be_written_to),
        test_of(handshake_can_be_cut_anywhere),
        test_of(full_handshake_can_be_cut_anywhere),
        test_of(end_is_something_to_go_on_with),
        test_of(goodbye_in_the_handshake_closes_it),
        test_of(alert_in_the_handshake_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
