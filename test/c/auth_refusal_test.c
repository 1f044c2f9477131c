/* SPDX-License-Identifier: Apache-2.0 */
/* Handshakes that must fail: the wrong secret, the wrong node, and all that an attacker can do. */
#include <string.h>

#include "cmocka_support.h"
#include "forge_support.h"
#include "pair_support.h"

#define HEAD FORGE_HEAD

static test_pair pair;

/* Both sides with all that has left each of them so far. */
static test_bytes from_client;
static test_bytes from_server;

static void open_tapped(const gr_session_config *c, const gr_session_config *s)
{
    from_client.size = from_server.size = 0;
    pair_open(&pair, c, s);
    pair.up.tap = &from_client;
    pair.down.tap = &from_server;
}

static void expect_refused(int client_rc, int server_rc)
{
    assert_rc(pair.client.rc, client_rc);
    assert_rc(pair.server.rc, server_rc);
    assert_false(pair.client.up);
    assert_false(pair.server.up);
    end_expect_none(&pair.client);
    end_expect_none(&pair.server);
    pair_close(&pair);
}

static int group_teardown(void **state)
{
    (void)state;
    bytes_free(&from_client);
    bytes_free(&from_server);
    return 0;
}

/* Without the secret neither side comes up, and the client is told why. */
static void wrong_cookie_is_refused_on_both_sides(void **state)
{
    (void)state;
    static const char *const wrong[] = {"chocolat", "chocolatE", "chocolate ", "Chocolate", "x"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        gr_session_config c = end_config(GR_CLIENT);
        c.auth.cookie = str_of(wrong[i]);
        open_tapped(&c, NULL);
        pair_pump(&pair);
        assert_memory_equal(from_server.data + from_server.size - 9,
                            "\x8eGR\x01\x04\x00\x00\x01\x01", 9);
        expect_refused(GR_ECOOKIE, GR_ECOOKIE);
    }
}

/* The node at the address is not the one meant: the server says so, and nothing runs there. */
static void wrong_target_is_refused_on_both_sides(void **state)
{
    (void)state;
    static const char *const wrong[] = {"callee@ther", "callee@there2", "callee@THERE", "c"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        gr_session_config c = end_config(GR_CLIENT);
        c.auth.target = str_of(wrong[i]);
        open_tapped(&c, NULL);
        pair_pump(&pair);
        assert_memory_equal(from_server.data + from_server.size - 9,
                            "\x8eGR\x01\x04\x00\x00\x01\x02", 9);
        expect_refused(GR_EWRONGNODE, GR_EWRONGNODE);
    }
}

/* A stranger does not learn from the refusal which node this is: the cookie comes first. */
static void wrong_cookie_hides_a_wrong_target(void **state)
{
    (void)state;
    gr_session_config c = end_config(GR_CLIENT);
    c.auth.cookie = str_of("vanilla");
    c.auth.target = str_of("other@node");
    open_tapped(&c, NULL);
    pair_pump(&pair);
    assert_null(memmem(from_server.data, from_server.size, "callee@there", 12));
    expect_refused(GR_ECOOKIE, GR_ECOOKIE);
}

/* The layers below are not the same connection, so somebody sits between them. */
static void different_bindings_are_refused(void **state)
{
    (void)state;
    static const char *const bindings[][2] = {
        {"hash1", "hash2"}, {"", "hash"}, {"hash", ""}, {"hash", "hashh"}};
    for (size_t i = 0; i < COUNT_OF(bindings); i++) {
        gr_session_config c = end_config(GR_CLIENT);
        gr_session_config s = end_config(GR_SERVER);
        c.auth.binding = str_of(bindings[i][0]);
        s.auth.binding = str_of(bindings[i][1]);
        pair_open(&pair, &c, &s);
        pair_pump(&pair);
        expect_refused(GR_ECOOKIE, GR_ECOOKIE);
    }
}

/* The server may refuse for a reason that only later versions know. */
static void unknown_refusal_is_told_apart(void **state)
{
    (void)state;
    forge_hello h = {1, 0, 1000, NULL, NULL, 0};
    test_bytes hello = {0}, result = {0};
    forge_hello_put(&hello, FORGE_SERVER_HELLO, &h);
    forge_head(&result, 1, FORGE_RESULT, 3);
    bytes_append(&result, "\x09zz", 3);
    pair_open(&pair, NULL, NULL);
    end_feed(&pair.client, hello.data, hello.size);
    end_feed(&pair.client, result.data, result.size);
    expect_refused(GR_EREFUSED, GR_OK);
    bytes_free(&hello);
    bytes_free(&result);
}

/* A server that knows the cookie but is another node: the client notices by itself. */
static void server_that_admits_to_be_another_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"callee@other", "callee@ther", "callee@theree"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        forge_hello h = {1, 0, 1000, NULL, NULL, 0};
        test_bytes seen = {0}, hello = {0}, result = {0};
        pair_open(&pair, NULL, NULL);
        end_drain(&pair.client, &seen, SIZE_MAX);
        forge_hello_put(&hello, FORGE_SERVER_HELLO, &h);
        end_feed(&pair.client, hello.data, hello.size);
        bytes_append(&seen, hello.data, hello.size);
        end_drain(&pair.client, &seen, SIZE_MAX);
        forge_result(&result, "chocolate", names[i], &seen);
        end_feed(&pair.client, result.data, result.size);
        expect_refused(GR_EWRONGNODE, GR_OK);
        bytes_free(&seen);
        bytes_free(&hello);
        bytes_free(&result);
    }
}

/* ---- reflection ---- */

/* An attacker without the cookie sends a server its own messages, as they are and relabelled. */
static void server_refuses_its_own_messages(void **state)
{
    (void)state;
    for (int relabel = 0; relabel < 2; relabel++) {
        forge_hello h = {1, 0, 1000, "caller@here", "callee@there", 0};
        test_bytes hello = {0};
        open_tapped(NULL, NULL);
        forge_hello_put(&hello, FORGE_CLIENT_HELLO, &h);
        end_feed(&pair.server, hello.data, hello.size);
        end_drain(&pair.server, &from_server, SIZE_MAX);
        assert_int_equal(from_server.size, HEAD + 44);
        if (relabel) {
            /* As much of the server's hello as a proof holds: its nonce, where the proof is. */
            from_server.data[4] = FORGE_PROOF;
            from_server.data[7] = 32;
            memmove(from_server.data + HEAD, from_server.data + HEAD + 12, 32);
            from_server.size = HEAD + 32;
        }
        end_feed(&pair.server, from_server.data, from_server.size);
        expect_refused(GR_OK, relabel ? GR_ECOOKIE : GR_EPROTO);
        bytes_free(&hello);
    }
}

/* What the client has just said comes back to it as the next message of that kind. */
static void reflect(uint8_t kind)
{
    test_bytes own = {0};
    end_drain(&pair.client, &own, SIZE_MAX);
    assert_true(own.size > HEAD);
    if (kind)
        own.data[4] = kind;
    end_feed(&pair.client, own.data, own.size);
    bytes_free(&own);
}

/* A man in the middle reflects the client's bytes as they are. */
static void client_refuses_its_own_hello(void **state)
{
    (void)state;
    pair_open(&pair, NULL, NULL);
    reflect(0);
    expect_refused(GR_EPROTO, GR_OK);
}

/* He relabels the hello, which the client takes for a server's, and then reflects the proof. */
static void client_refuses_its_own_proof(void **state)
{
    (void)state;
    pair_open(&pair, NULL, NULL);
    reflect(FORGE_SERVER_HELLO);
    assert_rc(pair.client.rc, GR_OK);
    reflect(0);
    expect_refused(GR_EPROTO, GR_OK);
}

/* He packs the proof as a server's result, with the right name: it has the wrong role's label. */
static void client_refuses_its_own_proof_as_a_result(void **state)
{
    (void)state;
    test_bytes proof = {0}, result = {0};
    pair_open(&pair, NULL, NULL);
    reflect(FORGE_SERVER_HELLO);
    end_drain(&pair.client, &proof, SIZE_MAX);
    assert_int_equal(proof.size, HEAD + 32);
    forge_head(&result, 1, FORGE_RESULT, 1 + 2 + 12 + 32);
    bytes_append(&result,
                 "\x00\x00\x0c"
                 "callee@there",
                 15);
    bytes_append(&result, proof.data + HEAD, 32);
    end_feed(&pair.client, result.data, result.size);
    expect_refused(GR_ECOOKIE, GR_OK);
    bytes_free(&proof);
    bytes_free(&result);
}

/* A proof made under the client's label is no proof of a server, even over the right transcript. */
static void roles_have_proofs_of_their_own(void **state)
{
    (void)state;
    forge_hello h = {1, 0, 1000, NULL, NULL, 0};
    test_bytes seen = {0}, hello = {0}, result = {0};
    uint8_t mac[32];
    pair_open(&pair, NULL, NULL);
    end_drain(&pair.client, &seen, SIZE_MAX);
    forge_hello_put(&hello, FORGE_SERVER_HELLO, &h);
    end_feed(&pair.client, hello.data, hello.size);
    bytes_append(&seen, hello.data, hello.size);
    end_drain(&pair.client, &seen, SIZE_MAX);
    forge_result(&result, "chocolate", "callee@there", &seen);
    bytes_append(&seen, result.data, result.size - sizeof mac);
    forge_mac(mac, "client", "chocolate", &seen);
    memcpy(result.data + result.size - sizeof mac, mac, sizeof mac);
    end_feed(&pair.client, result.data, result.size);
    expect_refused(GR_ECOOKIE, GR_OK);
    bytes_free(&seen);
    bytes_free(&hello);
    bytes_free(&result);
}

/* He relays everything faithfully, but to a node that was not meant, which shares the cookie. */
static void relay_to_another_node_is_refused(void **state)
{
    (void)state;
    gr_session_config s = end_config(GR_SERVER);
    s.auth.name = str_of("victim@elsewhere");
    pair_open(&pair, NULL, &s);
    pair_pump(&pair);
    expect_refused(GR_EWRONGNODE, GR_EWRONGNODE);
}

/* ---- replay ---- */

/* All bytes of a handshake that succeeded. */
static void record_good_handshake(void)
{
    open_tapped(NULL, NULL);
    pair_pump(&pair);
    assert_true(pair.client.up && pair.server.up);
    pair_close(&pair);
}

/* A recorded client is refused by the same server's next session. */
static void replayed_client_is_refused(void **state)
{
    (void)state;
    record_good_handshake();
    pair_open(&pair, NULL, NULL);
    end_feed(&pair.server, from_client.data, from_client.size);
    expect_refused(GR_OK, GR_ECOOKIE);
}

/* A recorded server is refused by the same client's next session. */
static void replayed_server_is_refused(void **state)
{
    (void)state;
    record_good_handshake();
    pair_open(&pair, NULL, NULL);
    end_feed(&pair.client, from_server.data, from_server.size);
    expect_refused(GR_ECOOKIE, GR_OK);
}

/* The messages of one connection are no use in another that runs at the same time. */
static void proofs_of_two_connections_cannot_be_swapped(void **state)
{
    (void)state;
    static test_pair other;
    pair_open(&pair, NULL, NULL);
    pair_open(&other, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        test_pair *p = i ? &other : &pair;
        link_send(p, &p->client, &p->up);
        link_deliver(p, &p->up, &p->server);
        link_send(p, &p->server, &p->down);
        link_deliver(p, &p->down, &p->client);
        link_send(p, &p->client, &p->up);
    }
    end_feed(&other.server, pair.up.bytes.data, pair.up.bytes.size);
    end_feed(&pair.server, other.up.bytes.data, other.up.bytes.size);
    pair.up.bytes.size = other.up.bytes.size = 0;
    assert_rc(other.server.rc, GR_ECOOKIE);
    pair_close(&other);
    expect_refused(GR_OK, GR_ECOOKIE);
}

/* ---- bytes changed on their way ---- */

/* Runs a handshake in which one bit of one direction's stream is flipped. */
static void run_flipped(int to_server, size_t at, unsigned bit)
{
    pair_open(&pair, NULL, NULL);
    test_link *l = to_server ? &pair.up : &pair.down;
    int busy = 1;
    while (busy) {
        busy = link_send(&pair, &pair.client, &pair.up);
        busy |= link_send(&pair, &pair.server, &pair.down);
        if (at >= l->moved && at < l->moved + l->bytes.size)
            l->bytes.data[at - l->moved] ^= (uint8_t)(1u << bit);
        busy |= link_deliver(&pair, &pair.up, &pair.server);
        busy |= link_deliver(&pair, &pair.down, &pair.client);
    }
}

/*
 * Whichever bit is flipped, not both come up. On the way to the server: neither. On the way to the
 * client: not the client, and the server only if the hello had passed, so its view is the true one.
 */
static void any_flipped_bit_is_noticed(void **state)
{
    (void)state;
    record_good_handshake();
    for (int to_server = 0; to_server < 2; to_server++) {
        size_t size = to_server ? from_client.size : from_server.size;
        for (size_t at = 0; at < size; at++)
            for (unsigned bit = 0; bit < 8; bit++) {
                run_flipped(to_server, at, bit);
                assert_false(pair.client.up);
                assert_int_equal(pair.server.up, !to_server && at >= HEAD + 44);
                /* Half a message may keep both waiting; then the end of the stream ends it. */
                end_eof(&pair.client);
                assert_true(GR_IS_FATAL(pair.client.rc));
                pair_close(&pair);
            }
    }
}

/* Each bit of a proof counts. */
static void any_flipped_bit_of_a_proof_is_a_wrong_cookie(void **state)
{
    (void)state;
    record_good_handshake();
    for (size_t i = 0; i < 32 * 8; i++) {
        run_flipped(1, from_client.size - 32 + i / 8, i % 8);
        expect_refused(GR_ECOOKIE, GR_ECOOKIE);
        run_flipped(0, from_server.size - 32 + i / 8, i % 8);
        assert_rc(pair.client.rc, GR_ECOOKIE);
        pair_close(&pair);
    }
}

/* ---- what is left behind ---- */

/* However a handshake ends, no freed block has the cookie in it. */
static void cookie_is_wiped_before_memory_is_freed(void **state)
{
    (void)state;
    for (int good = 0; good < 2; good++) {
        gr_session_config c = end_config(GR_CLIENT);
        c.auth.target = str_of(good ? "callee@there" : "nobody@there");
        pair_open(&pair, &c, NULL);
        pair.mem.secret = "chocolate";
        pair_pump(&pair);
        assert_int_equal(pair.client.up, good);
        pair_close(&pair);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_cookie_is_refused_on_both_sides),
        cmocka_unit_test(wrong_target_is_refused_on_both_sides),
        cmocka_unit_test(wrong_cookie_hides_a_wrong_target),
        cmocka_unit_test(different_bindings_are_refused),
        cmocka_unit_test(unknown_refusal_is_told_apart),
        cmocka_unit_test(server_that_admits_to_be_another_is_refused),
        cmocka_unit_test(server_refuses_its_own_messages),
        cmocka_unit_test(client_refuses_its_own_hello),
        cmocka_unit_test(client_refuses_its_own_proof),
        cmocka_unit_test(client_refuses_its_own_proof_as_a_result),
        cmocka_unit_test(roles_have_proofs_of_their_own),
        cmocka_unit_test(relay_to_another_node_is_refused),
        cmocka_unit_test(replayed_client_is_refused),
        cmocka_unit_test(replayed_server_is_refused),
        cmocka_unit_test(proofs_of_two_connections_cannot_be_swapped),
        cmocka_unit_test(any_flipped_bit_is_noticed),
        cmocka_unit_test(any_flipped_bit_of_a_proof_is_a_wrong_cookie),
        cmocka_unit_test(cookie_is_wiped_before_memory_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, group_teardown);
}
