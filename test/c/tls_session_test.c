/* SPDX-License-Identifier: Apache-2.0 */
/* Whole connections: sessions over TLS, as the driver puts them together. */
#include <string.h>

#include "cmocka_support.h"
#include "gr_frame.h"
#include "secure_support.h"

static secure_pair pair;

static int setup(void **state)
{
    (void)state;
    secure_pair_open_up(&pair);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    secure_pair_close(&pair);
    return 0;
}

static test_end *client(void)
{
    return &pair.client.session;
}

static test_end *server(void)
{
    return &pair.server.session;
}

/* Another connection of the same configurations; both sides must come up. */
static void join_up(void)
{
    secure_pair_join(&pair);
    secure_pair_pump(&pair);
    assert_rc(pair.client.rc, GR_OK);
    assert_rc(pair.server.rc, GR_OK);
    end_expect_only(client(), GR_EV_UP);
    end_expect_only(server(), GR_EV_UP);
}

static void call_and_reply(uint64_t id, size_t size)
{
    assert_rc(end_call(client(), id, size), GR_OK);
    secure_pair_pump(&pair);
    end_expect_request(server(), id, size);
    assert_rc(end_reply(server(), id, size + 1), GR_OK);
    secure_pair_pump(&pair);
    end_expect_reply(client(), id, size + 1);
}

/* ---- messages ---- */

/* Both sides know each other by name. */
static void both_sides_know_each_other(void **state)
{
    (void)state;
    const gr_peer *c = gr_session_peer(server()->s);
    const gr_peer *s = gr_session_peer(client()->s);
    assert_int_equal(c->name_size, 11);
    assert_memory_equal(c->name, "caller@here", 11);
    assert_int_equal(s->name_size, 12);
    assert_memory_equal(s->name, "callee@there", 12);
}

/* Calls, replies and casts of all sizes, from nothing to many records. */
static void messages_of_all_sizes_arrive(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,     1,     100,   4096,  16356, 16367,  16368,
                                   16369, 16384, 16385, 32768, 65536, 100000, 1000000};
    for (uint64_t i = 0; i < COUNT_OF(sizes); i++) {
        call_and_reply(i + 1, sizes[i]);
        for (gr_order o = GR_UNORDERED; o <= GR_BROADCAST; o++) {
            assert_rc(end_cast_as(client(), o, i, sizes[i]), GR_OK);
            secure_pair_pump(&pair);
            end_expect_cast(server(), o, i, sizes[i]);
            gr_session_taken(server()->s, o != GR_UNORDERED, o ? sizes[i] : 0);
        }
    }
    end_expect_none(client());
    end_expect_none(server());
}

/* Many small ones share records; their order stays. */
static void small_messages_share_records(void **state)
{
    (void)state;
    test_bytes wire = {0};
    for (uint64_t id = 1; id <= 200; id++)
        assert_rc(end_call(client(), id, 10), GR_OK);
    size_t plain = gr_session_output(client()->s);
    secure_end_drain(&pair.client, &wire, SIZE_MAX);
    assert_int_equal(wire.size, plain + 21);
    secure_end_feed(&pair.server, wire.data, wire.size);
    bytes_free(&wire);
    secure_pair_pump(&pair);
    for (uint64_t id = 1; id <= 200; id++) {
        end_expect_request(server(), id, 10);
        assert_rc(end_reply(server(), id, 20), GR_OK);
    }
    secure_pair_pump(&pair);
    for (uint64_t id = 1; id <= 200; id++)
        end_expect_reply(client(), id, 20);
}

/* One byte at a time, from the first one of TLS on. */
static void everything_works_in_small_pieces(void **state)
{
    (void)state;
    for (pair.chunk = 1; pair.chunk <= 7; pair.chunk += 2) {
        join_up();
        call_and_reply(1, 5000);
        call_and_reply(2, 0);
    }
}

/* Cut at random, both ways, with messages of random sizes on their way at the same time. */
static void everything_works_cut_at_random(void **state)
{
    (void)state;
    uint64_t prng = 77;
    for (int round = 0; round < 15; round++) {
        size_t sizes[21];
        pair.prng = 1000 + (uint64_t)round;
        join_up();
        for (uint64_t id = 1; id <= 20; id++) {
            sizes[id] = prng_size(&prng, 200000);
            assert_rc(end_call(client(), id, sizes[id]), GR_OK);
        }
        secure_pair_pump(&pair);
        for (uint64_t id = 1; id <= 20; id++) {
            end_find_request(server(), id, sizes[id]);
            assert_rc(end_reply(server(), id, sizes[21 - id]), GR_OK);
        }
        secure_pair_pump(&pair);
        for (uint64_t id = 1; id <= 20; id++)
            end_find_reply(client(), id, sizes[21 - id]);
    }
}

/* Compressed with every kind of compressor, likewise; on the wire there is less of it. */
static void compressed_messages_arrive(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 100, 2000, 16384, 16385, 100000, 1000000};
    for (int context = 0; context < 2; context++) {
        secure_pair_close(&pair);
        secure_pair_configure(&pair, NULL, NULL);
        pair.client_cfg.compress = pair.server_cfg.compress = 3;
        pair.client_cfg.compress_context = pair.server_cfg.compress_context = context;
        pair.prng = 5;
        join_up();
        for (uint64_t i = 0; i < COUNT_OF(sizes); i++)
            call_and_reply(i + 1, sizes[i]);
        gr_session_stats st = end_stats(client());
        assert_true(st.deflate_in > 1000000 && st.deflate_out < st.deflate_in / 2);
    }
}

/* A second connection has a short handshake and is bound as the first one was. */
static void resumed_connection_works(void **state)
{
    (void)state;
    gr_tls_info info;
    for (int i = 0; i < 3; i++) {
        join_up();
        gr_tls_info_get(pair.server.tls, &info);
        assert_true(info.resumed);
        call_and_reply(1, 20000);
    }
}

/* ---- who may come ---- */

/* New connections with these options; both sides' codes. */
static void expect_refused(const gr_tlsconf_options *c, const gr_tlsconf_options *s,
                           const char *name, const char *cookie, int client_rc, int server_rc)
{
    secure_pair_close(&pair);
    secure_pair_configure(&pair, c, s);
    if (name)
        pair.client_cfg.auth.name = str_of(name);
    if (cookie)
        pair.client_cfg.auth.cookie = str_of(cookie);
    /* The second time over a TLS session that was resumed. */
    for (int i = 0; i < 2; i++) {
        secure_pair_join(&pair);
        secure_pair_pump(&pair);
        assert_rc(pair.client.rc, client_rc);
        assert_rc(pair.server.rc, server_rc);
        assert_false(client()->up || server()->up);
    }
}

/* A client that says another name than its certificate does. */
static void client_must_be_who_it_says(void **state)
{
    (void)state;
    static const char *const names[] = {"other@here", "callee@there", "Caller@here", "caller@her"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        expect_refused(NULL, NULL, names[i], NULL, GR_ETLS_NAME_REFUSED, GR_ETLS_NAME);
}

/* And one that says its own name, with a certificate for another one. */
static void certificate_must_be_the_clients(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "stranger");
    expect_refused(&c, NULL, NULL, NULL, GR_ETLS_NAME_REFUSED, GR_ETLS_NAME);
    c = tls_options(GR_CLIENT, "callee");
    expect_refused(&c, NULL, NULL, NULL, GR_ETLS_NAME_REFUSED, GR_ETLS_NAME);
}

/* Who does not know the cookie is told that, and nothing about names. */
static void cookie_is_needed_beside_a_certificate(void **state)
{
    (void)state;
    expect_refused(NULL, NULL, NULL, "vanilla", GR_ECOOKIE, GR_ECOOKIE);
    expect_refused(NULL, NULL, "other@here", "vanilla", GR_ECOOKIE, GR_ECOOKIE);
}

/* A certificate for two nodes is not enough: it is the node that was meant that must answer. */
static void node_must_be_the_one_meant(void **state)
{
    (void)state;
    gr_tlsconf_options s = tls_options(GR_SERVER, "full");
    secure_pair_close(&pair);
    secure_pair_configure(&pair, NULL, &s);
    pair.server_cfg.auth.name = str_of("caller@here");
    secure_pair_join(&pair);
    secure_pair_pump(&pair);
    assert_rc(pair.client.rc, GR_EWRONGNODE);
    assert_rc(pair.server.rc, GR_EWRONGNODE);
}

/* A client looks at the server's certificate before it says a word. */
static void server_must_have_the_right_certificate(void **state)
{
    (void)state;
    gr_tlsconf_options s = tls_options(GR_SERVER, "stranger");
    expect_refused(NULL, &s, NULL, NULL, GR_ETLS_NAME, GR_ETLS_ALERT - 42);
}

/* Where certificates are not looked at, names are not, either; the cookie still counts. */
static void cookie_alone_counts_without_verification(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "stranger");
    gr_tlsconf_options s = tls_options(GR_SERVER, "self");
    c.verify = s.verify = 0;
    expect_refused(&c, &s, NULL, "vanilla", GR_ECOOKIE, GR_ECOOKIE);
    secure_pair_close(&pair);
    secure_pair_configure(&pair, &c, &s);
    join_up();
    call_and_reply(1, 100);
}

/* ---- ends ---- */

/* A graceful close is one on both sides: after both goodbyes nothing is cut off. */
static void graceful_close_is_complete(void **state)
{
    (void)state;
    for (int who = 0; who < 2; who++) {
        join_up();
        assert_rc(end_call(client(), 1, 50000), GR_OK);
        secure_pair_pump(&pair);
        test_end *closer = who ? server() : client();
        assert_rc(gr_session_close(closer->s, 1000, 0), GR_OK);
        secure_pair_pump(&pair);
        assert_false(client()->ended || server()->ended);
        end_expect_request(server(), 1, 50000);
        assert_rc(end_reply(server(), 1, 100000), GR_OK);
        secure_pair_pump(&pair);
        assert_true(client()->ended && server()->ended);
        assert_rc(pair.client.rc, GR_OK);
        assert_rc(pair.server.rc, GR_OK);
    }
}

/* A socket that closes without a word of TLS is told apart from one that closes with one. */
static void cut_connection_is_told_apart(void **state)
{
    (void)state;
    for (int goodbye = 0; goodbye < 2; goodbye++) {
        join_up();
        assert_rc(end_call(client(), 1, 100), GR_OK);
        secure_pair_pump(&pair);
        if (goodbye)
            gr_tls_close(pair.server.tls);
        secure_pair_pump(&pair);
        secure_end_eof(&pair.client);
        assert_rc(pair.client.rc, goodbye ? GR_EEOF : GR_ETLS_TRUNCATED);
        gr_call *c = gr_session_take(client()->s);
        assert_non_null(c);
        assert_true(gr_session_was_sent(client()->s, c));
        gr_session_free_call(client()->s, c);
    }
}

/* A goodbye of TLS in the middle of a frame: whole records, but half a message. */
static void goodbye_in_a_frame_is_told_apart(void **state)
{
    (void)state;
    for (int goodbye = 0; goodbye < 2; goodbye++) {
        test_bytes wire = {0};
        join_up();
        assert_rc(end_call(client(), 1, 50000), GR_OK);
        /* Two records of four. */
        secure_end_drain(&pair.client, &wire, SIZE_MAX);
        assert_true(gr_session_output(client()->s) > 0);
        if (goodbye) {
            gr_iov v;
            gr_tls_close(pair.client.tls);
            assert_int_equal(gr_tls_peek(pair.client.tls, &v, 1), 1);
            bytes_append(&wire, v.data, v.size);
        }
        secure_end_feed(&pair.server, wire.data, wire.size);
        secure_end_eof(&pair.server);
        assert_rc(pair.server.rc, goodbye ? GR_EEOFFRAME : GR_ETLS_TRUNCATED);
        bytes_free(&wire);
    }
}

/* A changed record ends the connection on both sides, and nothing of it is delivered. */
static void changed_record_ends_the_connection(void **state)
{
    (void)state;
    test_bytes wire = {0};
    assert_rc(end_call(client(), 1, 100), GR_OK);
    secure_end_drain(&pair.client, &wire, SIZE_MAX);
    wire.data[wire.size / 2] ^= 4;
    secure_end_feed(&pair.server, wire.data, wire.size);
    assert_rc(pair.server.rc, GR_ETLS_RECORD);
    end_expect_none(server());
    secure_pair_pump(&pair);
    assert_rc(pair.client.rc, GR_ETLS_ALERT - 20);
    bytes_free(&wire);
}

/* A peer that speaks TLS well and our protocol badly is refused as without TLS. */
static void protocol_is_checked_behind_tls(void **state)
{
    (void)state;
    gr_iov v = {(uint8_t *)(uintptr_t) "this is no frame of ours", 24};
    size_t taken;
    test_bytes wire = {0};
    assert_rc(gr_tls_write(pair.client.tls, &v, 1, &taken), GR_OK);
    secure_end_drain(&pair.client, &wire, SIZE_MAX);
    secure_end_feed(&pair.server, wire.data, wire.size);
    assert_rc(pair.server.rc, GR_EPROTO);
    bytes_free(&wire);
}

/* A peer that takes nothing is noticed, although all output has been sealed. */
static void peer_that_takes_nothing_is_given_up(void **state)
{
    (void)state;
    secure_pair_close(&pair);
    secure_pair_configure(&pair, NULL, NULL);
    pair.client_cfg.send_timeout = 3000;
    join_up();
    test_bytes wire = {0};
    assert_rc(end_cast(client(), 1, 1000), GR_OK);
    secure_end_drain(&pair.client, &wire, 10);
    assert_int_equal(gr_session_output(client()->s), 0);
    assert_true(gr_session_due(client()->s) == 1000 + 3000);
    assert_rc(end_tick(client(), 3999), GR_OK);
    secure_end_drain(&pair.client, &wire, 10);
    assert_true(gr_session_due(client()->s) == 3999 + 3000);
    assert_rc(end_tick(client(), 6999), GR_ESENDTIME);
    bytes_free(&wire);
}

/* Buffers can be given back between any two messages. */
static void buffers_can_be_given_back(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 5; id++) {
        call_and_reply(id, id * 10000);
        size_t before = pair.mem.live;
        gr_session_trim(client()->s);
        gr_session_trim(server()->s);
        gr_tls_trim(pair.client.tls);
        gr_tls_trim(pair.server.tls);
        assert_true(pair.mem.live < before);
    }
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(both_sides_know_each_other),
        test_of(messages_of_all_sizes_arrive),
        test_of(small_messages_share_records),
        test_of(everything_works_in_small_pieces),
        test_of(everything_works_cut_at_random),
        test_of(compressed_messages_arrive),
        test_of(resumed_connection_works),
        test_of(client_must_be_who_it_says),
        test_of(certificate_must_be_the_clients),
        test_of(cookie_is_needed_beside_a_certificate),
        test_of(node_must_be_the_one_meant),
        test_of(server_must_have_the_right_certificate),
        test_of(cookie_alone_counts_without_verification),
        test_of(graceful_close_is_complete),
        test_of(cut_connection_is_told_apart),
        test_of(goodbye_in_a_frame_is_told_apart),
        test_of(changed_record_ends_the_connection),
        test_of(protocol_is_checked_behind_tls),
        test_of(peer_that_takes_nothing_is_given_up),
        test_of(buffers_can_be_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
