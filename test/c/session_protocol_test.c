/* SPDX-License-Identifier: Apache-2.0 */
/* An authentic peer that breaks the protocol: its connection ends at once. */
#include "cmocka_support.h"
#include "forge_support.h"
#include "gr_frame.h"
#include "pair_support.h"

#define LIMIT (1024u * 1024u) /* of end_config */

static test_pair pair;

static int setup(void **state)
{
    (void)state;
    pair_open_up(&pair, NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pair_close(&pair);
    return 0;
}

/* Puts one header with this type, flags or reserved byte, id and size into a session. */
static void feed_header(test_end *e, unsigned type, unsigned odd_byte, uint64_t id, uint32_t size)
{
    test_bytes b = {0};
    forge_frame_head(&b, (uint8_t)type, id, size);
    if (odd_byte)
        b.data[odd_byte] = 1;
    end_feed(e, b.data, b.size);
    bytes_free(&b);
}

static void expect_violation(test_end *e)
{
    assert_rc(e->rc, GR_EPROTO);
    end_expect_none(e);
    assert_int_equal(pair.mem.refs, 0);
    pair_close(&pair);
    setup(NULL);
}

/* What this side may get at all, whatever the id and size. */
static int may_get(const test_end *e, unsigned type)
{
    int by_client = type == GR_FRAME_REQUEST || type == GR_FRAME_CAST;
    int by_server = type == GR_FRAME_REPLY || type == GR_FRAME_TOOBIG;
    int by_both = type >= GR_FRAME_PING && type <= GR_FRAME_BYE;
    return by_both || (e == &pair.server ? by_client : by_server);
}

/* Types that do not exist, or that only the other side may send. */
static void frames_of_the_wrong_type_end_the_session(void **state)
{
    (void)state;
    test_end *const ends[] = {&pair.client, &pair.server};
    for (size_t i = 0; i < COUNT_OF(ends); i++)
        for (unsigned type = 0; type < 256; type++)
            for (uint64_t id = 0; id < 2; id++)
                if (!may_get(ends[i], type)) {
                    feed_header(ends[i], type, 0, id, 0);
                    expect_violation(ends[i]);
                }
}

/* Every rule on ids, sizes, flags and reserved bytes of the types that a side may get. */
static void frames_with_the_wrong_fields_end_the_session(void **state)
{
    (void)state;
    static const struct {
        int to_server;
        gr_frame_type type;
        unsigned odd_byte;
        uint64_t id;
        uint32_t size;
    } bad[] = {
        {1, GR_FRAME_REQUEST, 0, 0, 0},
        {1, GR_FRAME_CAST, 0, 1, 0},
        {0, GR_FRAME_REPLY, 0, 0, 0},
        {0, GR_FRAME_TOOBIG, 0, 0, 16},
        {0, GR_FRAME_TOOBIG, 0, 1, 15},
        {0, GR_FRAME_TOOBIG, 0, 1, 17},
        {0, GR_FRAME_TOOBIG, 0, 1, 0},
        {0, GR_FRAME_TOOBIG, 0, 1, UINT32_MAX},
        {1, GR_FRAME_PING, 0, 1, 0},
        {0, GR_FRAME_PING, 0, 0, 1},
        {1, GR_FRAME_PONG, 0, 1, 0},
        {0, GR_FRAME_PONG, 0, 0, 1},
        {1, GR_FRAME_BYE, 0, 1, 0},
        {0, GR_FRAME_BYE, 0, 0, 1},
        {1, GR_FRAME_REQUEST, 1, 1, 0},
        {1, GR_FRAME_REQUEST, 2, 1, 0},
        {1, GR_FRAME_REQUEST, 3, 1, 0},
        {1, GR_FRAME_CAST, 1, 0, 0},
        {0, GR_FRAME_REPLY, 1, 1, 0},
        {0, GR_FRAME_PING, 1, 0, 0},
        {1, GR_FRAME_PONG, 3, 0, 0},
        {0, GR_FRAME_BYE, 2, 0, 0},
        {1, GR_FRAME_REQUEST, 0, 1, LIMIT + 1},
        {1, GR_FRAME_CAST, 0, 0, LIMIT + 1},
        {0, GR_FRAME_REPLY, 0, 1, LIMIT + 1},
        {1, GR_FRAME_CAST, 0, 0, UINT32_MAX},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        test_end *e = bad[i].to_server ? &pair.server : &pair.client;
        feed_header(e, bad[i].type, bad[i].odd_byte, bad[i].id, bad[i].size);
        expect_violation(e);
    }
}

/* A client that has said goodbye begins nothing more, and says it once. */
static void nothing_may_follow_a_goodbye(void **state)
{
    (void)state;
    static const gr_frame_type types[] = {GR_FRAME_REQUEST, GR_FRAME_CAST, GR_FRAME_BYE};
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        feed_header(&pair.server, GR_FRAME_REQUEST, 0, 1, 0);
        feed_header(&pair.server, GR_FRAME_BYE, 0, 0, 0);
        assert_rc(pair.server.rc, GR_OK);
        end_expect_only(&pair.server, GR_EV_REQUEST);
        end_expect_only(&pair.server, GR_EV_BYE);
        feed_header(&pair.server, types[i], 0, types[i] == GR_FRAME_REQUEST ? 2 : 0, 0);
        expect_violation(&pair.server);
    }
    feed_header(&pair.client, GR_FRAME_BYE, 0, 0, 0);
    end_expect_only(&pair.client, GR_EV_BYE);
    feed_header(&pair.client, GR_FRAME_BYE, 0, 0, 0);
    expect_violation(&pair.client);
}

/* A large request behind a goodbye is let go again. */
static void large_body_of_a_refused_request_is_released(void **state)
{
    (void)state;
    test_bytes b = {0};
    forge_frame_head(&b, GR_FRAME_REQUEST, 1, 0);
    forge_frame_head(&b, GR_FRAME_BYE, 0, 0);
    forge_frame(&b, GR_FRAME_REQUEST, 2, 50000);
    end_feed(&pair.server, b.data, b.size);
    end_expect_only(&pair.server, GR_EV_REQUEST);
    end_expect_only(&pair.server, GR_EV_BYE);
    expect_violation(&pair.server);
    bytes_free(&b);
}

/* A goodbye does not forbid the rest: pings are answered, replies are read. */
static void pings_and_replies_may_follow_a_goodbye(void **state)
{
    (void)state;
    assert_rc(end_call(&pair.client, 1, 0), GR_OK);
    feed_header(&pair.client, GR_FRAME_BYE, 0, 0, 0);
    feed_header(&pair.client, GR_FRAME_PING, 0, 0, 0);
    feed_header(&pair.client, GR_FRAME_REPLY, 0, 1, 0);
    assert_rc(pair.client.rc, GR_OK);
    end_expect_only(&pair.client, GR_EV_BYE);
    end_expect_only(&pair.client, GR_EV_REPLY);
}

/* Two requests with one id could not be told apart by their replies. */
static void id_that_is_being_served_ends_the_session(void **state)
{
    (void)state;
    feed_header(&pair.server, GR_FRAME_REQUEST, 0, 1, 0);
    end_expect_only(&pair.server, GR_EV_REQUEST);
    feed_header(&pair.server, GR_FRAME_REQUEST, 0, 1, 0);
    expect_violation(&pair.server);
}

/* Once its reply is queued, an id may come again. */
static void id_may_come_again_after_its_reply(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        feed_header(&pair.server, GR_FRAME_REQUEST, 0, 1, 0);
        end_expect_only(&pair.server, GR_EV_REQUEST);
        assert_rc(end_reply(&pair.server, 1, 0), GR_OK);
    }
}

/* Replies that nobody waits for are not wrong: their callers gave up. They are counted. */
static void unknown_replies_are_counted(void **state)
{
    (void)state;
    test_bytes b = {0};
    forge_frame(&b, GR_FRAME_REPLY, 1, 100);
    forge_frame(&b, GR_FRAME_REPLY, 1, 100000);
    forge_frame(&b, GR_FRAME_TOOBIG, UINT64_MAX, 16);
    assert_rc(end_feed(&pair.client, b.data, b.size), GR_OK);
    end_expect_none(&pair.client);
    assert_int_equal(end_stats(&pair.client).late, 3);
    bytes_free(&b);
}

/* What came before the violation is delivered, nothing behind it. */
static void frames_before_a_violation_are_delivered(void **state)
{
    (void)state;
    test_bytes b = {0};
    forge_frame(&b, GR_FRAME_CAST, 0, 10);
    forge_frame_head(&b, GR_FRAME_REPLY, 1, 0);
    forge_frame(&b, GR_FRAME_CAST, 0, 20);
    end_feed(&pair.server, b.data, b.size);
    end_expect_only(&pair.server, GR_EV_CAST);
    expect_violation(&pair.server);
    bytes_free(&b);
}

/* Random bytes end it sooner or later and never crash it. */
static void garbage_ends_the_session(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 500; seed++) {
        uint64_t prng = seed;
        test_end *e = seed & 1 ? &pair.client : &pair.server;
        for (int i = 0; i < 50 && e->rc == GR_OK; i++) {
            uint8_t junk[64];
            for (size_t j = 0; j < sizeof junk; j++)
                junk[j] = (uint8_t)prng_next(&prng);
            /* Headers that begin well get further. */
            junk[0] = (uint8_t)(junk[0] % 9);
            junk[1] = junk[2] = junk[3] = junk[4] = 0;
            end_feed(e, junk, sizeof junk);
        }
        end_eof(e);
        assert_true(GR_IS_FATAL(e->rc));
        pair_close(&pair);
        setup(state);
    }
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(frames_of_the_wrong_type_end_the_session),
        test_of(frames_with_the_wrong_fields_end_the_session),
        test_of(nothing_may_follow_a_goodbye),
        test_of(large_body_of_a_refused_request_is_released),
        test_of(pings_and_replies_may_follow_a_goodbye),
        test_of(id_that_is_being_served_ends_the_session),
        test_of(id_may_come_again_after_its_reply),
        test_of(unknown_replies_are_counted),
        test_of(frames_before_a_violation_are_delivered),
        test_of(garbage_ends_the_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
