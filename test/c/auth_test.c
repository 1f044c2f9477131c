/* SPDX-License-Identifier: Apache-2.0 */
/* Handshakes that succeed: what travels, what both sides know then, and however it is cut. */
#include <stdlib.h>
#include <string.h>

#include "cmocka_support.h"
#include "forge_support.h"
#include "gr_frame.h"
#include "pair_support.h"

static test_pair pair;

/* Both names differ from each other in every part, so that a mix-up shows. */
static void check_peers(const gr_session_config *c, const gr_session_config *s)
{
    const gr_peer *at_client = gr_session_peer(pair.client.s);
    const gr_peer *at_server = gr_session_peer(pair.server.s);
    assert_int_equal(at_client->name_size, s->auth.name.size);
    assert_memory_equal(at_client->name, s->auth.name.data, s->auth.name.size);
    assert_int_equal(at_server->name_size, c->auth.name.size);
    assert_memory_equal(at_server->name, c->auth.name.data, c->auth.name.size);
    assert_true(at_client->max_message == s->auth.max_message);
    assert_true(at_server->max_message == c->auth.max_message);
    assert_int_equal(at_client->features, 0);
    assert_int_equal(at_server->features, 0);
}

/* After it both are up and know the other's name and limit. */
static void both_sides_come_up_and_know_each_other(void **state)
{
    (void)state;
    gr_session_config c = end_config(GR_CLIENT);
    gr_session_config s = end_config(GR_SERVER);
    c.auth.max_message = 1000;
    s.auth.max_message = UINT32_MAX;
    pair_open(&pair, &c, &s);
    assert_false(gr_session_is_up(pair.client.s));
    assert_false(gr_session_is_up(pair.server.s));
    pair_pump(&pair);
    end_expect_only(&pair.client, GR_EV_UP);
    end_expect_only(&pair.server, GR_EV_UP);
    end_expect_none(&pair.client);
    end_expect_none(&pair.server);
    assert_true(gr_session_is_up(pair.client.s));
    assert_true(gr_session_is_up(pair.server.s));
    check_peers(&c, &s);
    pair_close(&pair);
}

/* The server waits for the stranger to speak first; the client does not wait. */
static void client_speaks_first(void **state)
{
    (void)state;
    pair_open(&pair, NULL, NULL);
    end_take(&pair.client);
    end_take(&pair.server);
    assert_true(gr_session_output(pair.client.s) > 0);
    assert_int_equal(gr_session_output(pair.server.s), 0);
    pair_close(&pair);
}

static void unhex(test_bytes *out, const char *hex)
{
    for (; *hex; hex += 2) {
        char digits[3] = {hex[0], hex[1], 0};
        uint8_t byte = (uint8_t)strtoul(digits, NULL, 16);
        bytes_append(out, &byte, 1);
    }
}

static void count_up(uint8_t nonce[GR_NONCE_SIZE], unsigned from)
{
    for (unsigned i = 0; i < GR_NONCE_SIZE; i++)
        nonce[i] = (uint8_t)(from + i);
}

/* Every byte of one handshake, as computed by a program in another language. */
static void bytes_are_those_of_another_implementation(void **state)
{
    (void)state;
    static const char up[] =
        "8e47520101000036000000000000000000100000000102030405060708090a0b0c0d0e0f1011121314151617"
        "18191a1b1c1d1e1f000361406200036340648e47520103000020562f9cc0b7a6e5b4bf88898ce57815d0fffa"
        "bdf9a026d47a485a14c2a131d299";
    static const char down[] =
        "8e4752010200002c000000000000000000200000202122232425262728292a2b2c2d2e2f3031323334353637"
        "38393a3b3c3d3e3f8e475201040000260000036340640146e126a260972fad20f73055eae5160980cba02865"
        "68bc3e586ac394e96704";
    test_bytes want_up = {0}, want_down = {0}, got_up = {0}, got_down = {0};
    gr_session_config c = end_config(GR_CLIENT);
    gr_session_config s = end_config(GR_SERVER);
    c.auth.name = str_of("a@b");
    c.auth.target = s.auth.name = str_of("c@d");
    c.auth.cookie = s.auth.cookie = str_of("secret");
    c.auth.binding = s.auth.binding = str_of("cert");
    s.auth.max_message = 0x200000;
    count_up(c.auth.nonce, 0);
    count_up(s.auth.nonce, 32);
    unhex(&want_up, up);
    unhex(&want_down, down);
    pair_open(&pair, &c, &s);
    pair.up.tap = &got_up;
    pair.down.tap = &got_down;
    pair_pump(&pair);
    assert_int_equal(got_up.size, want_up.size);
    assert_memory_equal(got_up.data, want_up.data, want_up.size);
    assert_int_equal(got_down.size, want_down.size);
    assert_memory_equal(got_down.data, want_down.data, want_down.size);
    test_bytes *all[] = {&want_up, &want_down, &got_up, &got_down};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        bytes_free(all[i]);
    pair_close(&pair);
}

/* Names, cookie and binding work at their shortest and their longest, in every combination. */
static void shortest_and_longest_names_and_cookies(void **state)
{
    (void)state;
    static uint8_t data[4][GR_NAME_MAX];
    for (unsigned i = 0; i < 4; i++)
        pattern_fill(data[i], GR_NAME_MAX, i);
    for (unsigned mask = 0; mask < 16; mask++) {
        gr_session_config c = end_config(GR_CLIENT);
        gr_session_config s = end_config(GR_SERVER);
        c.auth.name = (gr_str){data[0], mask & 1 ? GR_NAME_MAX : 1};
        c.auth.target = s.auth.name = (gr_str){data[1], mask & 2 ? GR_NAME_MAX : 1};
        c.auth.cookie = s.auth.cookie = (gr_str){data[2], mask & 4 ? GR_COOKIE_MAX : 1};
        c.auth.binding = s.auth.binding = (gr_str){data[3], mask & 8 ? GR_BINDING_MAX : 0};
        pair_open_up(&pair, &c, &s);
        check_peers(&c, &s);
        pair_close(&pair);
    }
}

/* What a configuration lends is copied: it may be gone when the handshake runs. */
static void configuration_may_be_gone_afterwards(void **state)
{
    (void)state;
    gr_session_config c = end_config(GR_CLIENT);
    gr_session_config s = end_config(GR_SERVER);
    char words[4][16] = {"x@y", "secret", "z@w", "hash"};
    c.auth.name = str_of(words[0]);
    c.auth.cookie = s.auth.cookie = str_of(words[1]);
    c.auth.target = s.auth.name = str_of(words[2]);
    c.auth.binding = s.auth.binding = str_of(words[3]);
    pair_open(&pair, &c, &s);
    memset(words, 0, sizeof words);
    memset(&c, 0, sizeof c);
    memset(&s, 0, sizeof s);
    pair_pump(&pair);
    end_expect_only(&pair.client, GR_EV_UP);
    end_expect_only(&pair.server, GR_EV_UP);
    assert_memory_equal(gr_session_peer(pair.client.s)->name, "z@w", 3);
    pair_close(&pair);
}

/* Sizes of both streams of a handshake. */
static void measure(size_t *up, size_t *down)
{
    pair_open_up(&pair, NULL, NULL);
    *up = (size_t)pair.up.moved;
    *down = (size_t)pair.down.moved;
    pair_close(&pair);
}

/* A read may end anywhere. */
static void input_cut_at_every_byte(void **state)
{
    (void)state;
    size_t up, down;
    measure(&up, &down);
    for (size_t cut = 1; cut < (up > down ? up : down); cut++) {
        pair_open(&pair, NULL, NULL);
        pair.up.stop = pair.down.stop = cut;
        pair_pump(&pair);
        end_expect_only(&pair.client, GR_EV_UP);
        end_expect_only(&pair.server, GR_EV_UP);
        pair_close(&pair);
    }
}

/* Every read may bring no more than one byte. */
static void one_byte_at_a_time(void **state)
{
    (void)state;
    pair_open(&pair, NULL, NULL);
    pair.chunk = 1;
    pair_pump(&pair);
    end_expect_only(&pair.client, GR_EV_UP);
    end_expect_only(&pair.server, GR_EV_UP);
    pair_close(&pair);
}

/* The server may speak right behind its result; one read can bring both. */
static void frames_right_behind_the_handshake_are_read(void **state)
{
    (void)state;
    pair_open(&pair, NULL, NULL);
    while (!pair.server.up) {
        link_send(&pair, &pair.client, &pair.up);
        link_deliver(&pair, &pair.up, &pair.server);
        if (!pair.server.up)
            link_send(&pair, &pair.server, &pair.down);
        if (!pair.server.up)
            link_deliver(&pair, &pair.down, &pair.client);
    }
    assert_rc(gr_session_close(pair.server.s, 1000, 0), GR_OK);
    link_send(&pair, &pair.server, &pair.down);
    link_deliver(&pair, &pair.down, &pair.client);
    end_expect_only(&pair.client, GR_EV_UP);
    end_expect_only(&pair.client, GR_EV_BYE);
    pair_close(&pair);
}

/* The secret itself is in none of the bytes. */
static void cookie_never_travels(void **state)
{
    (void)state;
    test_bytes seen = {0};
    pair_open(&pair, NULL, NULL);
    pair.up.tap = pair.down.tap = &seen;
    pair_pump(&pair);
    assert_true(pair.client.up && pair.server.up);
    assert_null(memmem(seen.data, seen.size, "chocolate", 9));
    bytes_free(&seen);
    pair_close(&pair);
}

/* Once up, a session keeps nothing of the handshake: not its buffers, and not the cookie. */
static void handshake_is_freed_when_it_is_over(void **state)
{
    (void)state;
    pair_open(&pair, NULL, NULL);
    size_t with_handshake = pair.mem.live;
    assert_true(with_handshake > 0);
    pair_pump(&pair);
    gr_session_trim(pair.client.s);
    gr_session_trim(pair.server.s);
    assert_int_equal(pair.mem.live, 2);
    pair_close(&pair);
}

static void refuses_config(const gr_session_config *c)
{
    test_end e;
    test_mem mem;
    mem_init(&mem);
    assert_rc(end_open(&e, &mem, c), GR_ESTATE);
    assert_null(e.s);
    mem_check_empty(&mem);
}

/* What the wire cannot carry is refused when the session is made. */
static void configuration_out_of_bounds_is_refused(void **state)
{
    (void)state;
    static const uint8_t data[GR_NAME_MAX + 1];
    static const size_t bad[] = {0, GR_NAME_MAX + 1};
    for (int role = GR_CLIENT; role <= GR_SERVER; role++) {
        const gr_session_config good = end_config((gr_role)role);
        gr_session_config c;
        for (size_t i = 0; i < COUNT_OF(bad); i++) {
            const gr_str str = {data, bad[i]};
            c = good;
            c.auth.name = str;
            refuses_config(&c);
            c = good;
            c.auth.cookie = str;
            refuses_config(&c);
            c = good;
            c.auth.target = str;
            if (role == GR_CLIENT)
                refuses_config(&c);
        }
        c = good;
        c.auth.binding = (gr_str){data, GR_BINDING_MAX + 1};
        refuses_config(&c);
        c = good;
        c.auth.max_message = (uint64_t)GR_MESSAGE_MAX + 1;
        refuses_config(&c);
    }
}

/* A server is not told whom it will be asked for. */
static void server_needs_no_target(void **state)
{
    (void)state;
    gr_session_config s = end_config(GR_SERVER);
    s.auth.target = (gr_str){NULL, 0};
    pair_open_up(&pair, NULL, &s);
    pair_close(&pair);
}

/* ---- peers of other makes ---- */

/* A client by hand: its hello, then its proof over both hellos. Returns the server's code. */
static int forged_client(const forge_hello *h, test_bytes *answers)
{
    test_bytes hello = {0}, proof = {0};
    pair_open(&pair, NULL, NULL);
    forge_hello_put(&hello, FORGE_CLIENT_HELLO, h);
    end_feed(&pair.server, hello.data, hello.size);
    end_drain(&pair.server, answers, SIZE_MAX);
    bytes_append(&hello, answers->data, answers->size);
    forge_proof(&proof, "chocolate", &hello);
    int rc = end_feed(&pair.server, proof.data, proof.size);
    end_drain(&pair.server, answers, SIZE_MAX);
    bytes_free(&hello);
    bytes_free(&proof);
    return rc;
}

/* A client of a later version is answered in this one, and may go on in it. */
static void later_version_is_answered_in_this_one(void **state)
{
    (void)state;
    forge_hello h = {2, 0x80000001, UINT64_MAX, "caller@here", "callee@there", 0};
    test_bytes answers = {0};
    assert_rc(forged_client(&h, &answers), GR_OK);
    assert_int_equal(answers.data[3], 1);
    end_expect_only(&pair.server, GR_EV_UP);
    assert_true(gr_session_peer(pair.server.s)->max_message == UINT64_MAX);
    assert_int_equal(gr_session_peer(pair.server.s)->features, 0);
    bytes_free(&answers);
    pair_close(&pair);
}

/* What later versions add behind the known fields is covered by the proof and otherwise ignored. */
static void longer_hellos_are_understood(void **state)
{
    (void)state;
    static const size_t extra[] = {1, 100, 2304 - 44 - 13 - 14};
    for (size_t i = 0; i < COUNT_OF(extra); i++) {
        forge_hello h = {1, 0, 5000, "caller@here", "callee@there", extra[i]};
        test_bytes answers = {0};
        assert_rc(forged_client(&h, &answers), GR_OK);
        end_expect_only(&pair.server, GR_EV_UP);
        bytes_free(&answers);
        pair_close(&pair);
    }
}

/* The same for a server's hello, up to the largest that fits. */
static void longer_hello_of_a_server_is_understood(void **state)
{
    (void)state;
    static const size_t extra[] = {0, 1, 2304 - 44};
    for (size_t i = 0; i < COUNT_OF(extra); i++) {
        forge_hello h = {1, UINT32_MAX, 77, NULL, NULL, extra[i]};
        test_bytes seen = {0}, hello = {0}, result = {0};
        pair_open(&pair, NULL, NULL);
        end_drain(&pair.client, &seen, SIZE_MAX);
        forge_hello_put(&hello, FORGE_SERVER_HELLO, &h);
        end_feed(&pair.client, hello.data, hello.size);
        bytes_append(&seen, hello.data, hello.size);
        end_drain(&pair.client, &seen, SIZE_MAX);
        forge_result(&result, "chocolate", "callee@there", &seen);
        assert_rc(end_feed(&pair.client, result.data, result.size), GR_OK);
        end_expect_only(&pair.client, GR_EV_UP);
        assert_int_equal(gr_session_limit(pair.client.s), 77);
        bytes_free(&seen);
        bytes_free(&hello);
        bytes_free(&result);
        pair_close(&pair);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_come_up_and_know_each_other),
        cmocka_unit_test(client_speaks_first),
        cmocka_unit_test(bytes_are_those_of_another_implementation),
        cmocka_unit_test(shortest_and_longest_names_and_cookies),
        cmocka_unit_test(configuration_may_be_gone_afterwards),
        cmocka_unit_test(input_cut_at_every_byte),
        cmocka_unit_test(one_byte_at_a_time),
        cmocka_unit_test(frames_right_behind_the_handshake_are_read),
        cmocka_unit_test(cookie_never_travels),
        cmocka_unit_test(handshake_is_freed_when_it_is_over),
        cmocka_unit_test(configuration_out_of_bounds_is_refused),
        cmocka_unit_test(server_needs_no_target),
        cmocka_unit_test(later_version_is_answered_in_this_one),
        cmocka_unit_test(longer_hellos_are_understood),
        cmocka_unit_test(longer_hello_of_a_server_is_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
