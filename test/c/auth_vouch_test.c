/* SPDX-License-Identifier: Apache-2.0 */
/* A client's name that is known by something below the handshake, such as its certificate. */
#include <string.h>

#include "cmocka_support.h"
#include "forge_support.h"
#include "pair_support.h"

static test_pair pair;
static test_bytes from_server;

/* What the server asked, how often, and what it is answered. */
typedef struct question {
    int answer;
    unsigned asked;
    char name[64];
} question;

static int vouches(void *ctx, gr_str name)
{
    question *q = ctx;
    q->asked++;
    assert_true(name.size < sizeof q->name);
    memcpy(q->name, name.data, name.size);
    q->name[name.size] = 0;
    return q->answer;
}

static void run(question *q, const gr_session_config *client)
{
    gr_session_config s = end_config(GR_SERVER);
    s.auth.vouches = vouches;
    s.auth.ctx = q;
    from_server.size = 0;
    pair_open(&pair, client, &s);
    pair.down.tap = &from_server;
    pair_pump(&pair);
}

/* The name that the client gives, and no other, is asked about once. */
static void known_name_is_let_in(void **state)
{
    (void)state;
    question q = {1, 0, ""};
    run(&q, NULL);
    assert_true(pair.client.up && pair.server.up);
    assert_int_equal(q.asked, 1);
    assert_string_equal(q.name, "caller@here");
    pair_close(&pair);
}

/* Any answer but no is yes. */
static void any_number_but_zero_is_yes(void **state)
{
    (void)state;
    question q = {-1, 0, ""};
    run(&q, NULL);
    assert_true(pair.client.up && pair.server.up);
    pair_close(&pair);
}

/* The client is told that it is the name; nothing else comes behind the refusal. */
static void unknown_name_is_refused_on_both_sides(void **state)
{
    (void)state;
    question q = {0, 0, ""};
    run(&q, NULL);
    assert_rc(pair.client.rc, GR_ETLS_NAME_REFUSED);
    assert_rc(pair.server.rc, GR_ETLS_NAME);
    assert_false(pair.client.up || pair.server.up);
    assert_int_equal(q.asked, 1);
    assert_memory_equal(from_server.data + from_server.size - 9, "\x8eGR\x01\x04\x00\x00\x01\x03",
                        9);
    pair_close(&pair);
}

/* Who does not know the cookie learns nothing about names, and costs no search for one. */
static void wrong_cookie_comes_before_the_name(void **state)
{
    (void)state;
    question q = {0, 0, ""};
    gr_session_config c = end_config(GR_CLIENT);
    c.auth.cookie = str_of("vanilla");
    run(&q, &c);
    assert_rc(pair.client.rc, GR_ECOOKIE);
    assert_rc(pair.server.rc, GR_ECOOKIE);
    assert_int_equal(q.asked, 0);
    pair_close(&pair);
}

/* Nor does who has come to the wrong place. */
static void wrong_target_comes_before_the_name(void **state)
{
    (void)state;
    question q = {0, 0, ""};
    gr_session_config c = end_config(GR_CLIENT);
    c.auth.target = str_of("other@node");
    run(&q, &c);
    assert_rc(pair.client.rc, GR_EWRONGNODE);
    assert_rc(pair.server.rc, GR_EWRONGNODE);
    assert_int_equal(q.asked, 0);
    pair_close(&pair);
}

/* A client asks nobody: its own layer below has looked at the server before. */
static void client_asks_nobody(void **state)
{
    (void)state;
    question q = {0, 0, ""};
    gr_session_config c = end_config(GR_CLIENT);
    c.auth.vouches = vouches;
    c.auth.ctx = &q;
    pair_open(&pair, &c, NULL);
    pair_pump(&pair);
    assert_true(pair.client.up && pair.server.up);
    assert_int_equal(q.asked, 0);
    pair_close(&pair);
}

/* What is refused behind that is for later versions to know. */
static void next_reason_is_unknown(void **state)
{
    (void)state;
    static const struct {
        uint8_t status;
        int rc;
    } reasons[] = {{1, GR_ECOOKIE},
                   {2, GR_EWRONGNODE},
                   {3, GR_ETLS_NAME_REFUSED},
                   {4, GR_EREFUSED},
                   {255, GR_EREFUSED}};
    for (size_t i = 0; i < COUNT_OF(reasons); i++) {
        forge_hello h = {1, 0, 1000, NULL, NULL, 0};
        test_bytes answer = {0};
        forge_hello_put(&answer, FORGE_SERVER_HELLO, &h);
        forge_head(&answer, 1, FORGE_RESULT, 1);
        bytes_append(&answer, &reasons[i].status, 1);
        pair_open(&pair, NULL, NULL);
        assert_rc(end_feed(&pair.client, answer.data, answer.size), reasons[i].rc);
        pair_close(&pair);
        bytes_free(&answer);
    }
}

static int group_teardown(void **state)
{
    (void)state;
    bytes_free(&from_server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_name_is_let_in),
        cmocka_unit_test(any_number_but_zero_is_yes),
        cmocka_unit_test(unknown_name_is_refused_on_both_sides),
        cmocka_unit_test(wrong_cookie_comes_before_the_name),
        cmocka_unit_test(wrong_target_comes_before_the_name),
        cmocka_unit_test(client_asks_nobody),
        cmocka_unit_test(next_reason_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, group_teardown);
}
