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

/* What had come before may still be there, until the session is freed. */
static void expect_refused(test_end *e)
{
    assert_rc(e->rc, GR_EPROTO);
    end_expect_none(e);
    pair_close(&pair);
    setup(NULL);
}

static void expect_violation(test_end *e)
{
    assert_int_equal(pair.mem.refs, 0);
    expect_refused(e);
}

/* What this side may get at all, whatever the id and size. */
static int may_get(const test_end *e, unsigned type)
{
    int by_client = type == GR_FRAME_REQUEST || type == GR_FRAME_CAST;
    int by_server = type == GR_FRAME_REPLY || type == GR_FRAME_TOOBIG;
    int by_both = type >= GR_FRAME_PING && type <= GR_FRAME_WINDOW;
    by_client |= type == GR_FRAME_CANCEL;
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
        {1, GR_FRAME_CANCEL, 0, 0, 0},
        {1, GR_FRAME_CANCEL, 0, 1, 1},
        {1, GR_FRAME_CANCEL, 3, 1, 0},
        {0, GR_FRAME_DATA, 0, 0, 0},
        {0, GR_FRAME_DATA, 0, 1, 1},
        {1, GR_FRAME_ABORT, 0, 1, 0},
        {1, GR_FRAME_ABORT, 0, 0, 1},
        {1, GR_FRAME_DONE, 0, 1, 0},
        {1, GR_FRAME_DONE, 2, 0, 0},
        {1, GR_FRAME_WINDOW, 0, 0, 8},
        {1, GR_FRAME_WINDOW, 2, 0, 0},
        {1, GR_FRAME_REQUEST, 0, 1, FORGE_SMALL + 1},
        {1, GR_FRAME_CAST, 0, 0, FORGE_SMALL + 1},
        {0, GR_FRAME_REPLY, 0, 1, FORGE_SMALL + 1},
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
    forge_message(&b, GR_FRAME_REQUEST, 2, 50000);
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

/* An id that was given up is free when its request has been thrown away, and not before. */
static void id_of_a_held_request_stays_taken(void **state)
{
    (void)state;
    gr_session_hold(pair.server.s, GR_HOLD_ALL);
    feed_header(&pair.server, GR_FRAME_REQUEST, 0, 5, 0);
    feed_header(&pair.server, GR_FRAME_CANCEL, 0, 5, 0);
    feed_header(&pair.server, GR_FRAME_CANCEL, 0, 5, 0);
    assert_rc(pair.server.rc, GR_OK);
    assert_int_equal(end_stats(&pair.server).cancels_in, 1);
    gr_session_hold(pair.server.s, GR_HOLD_NONE);
    feed_header(&pair.server, GR_FRAME_REQUEST, 0, 5, 0);
    assert_rc(pair.server.rc, GR_OK);
    end_expect_request(&pair.server, 5, 0);
    end_expect_none(&pair.server);
    gr_session_hold(pair.server.s, GR_HOLD_ALL);
    feed_header(&pair.server, GR_FRAME_REQUEST, 0, 6, 0);
    feed_header(&pair.server, GR_FRAME_CANCEL, 0, 6, 0);
    feed_header(&pair.server, GR_FRAME_REQUEST, 0, 6, 0);
    expect_refused(&pair.server);
}

/* Who cancels what is answered, or was never asked, has only been slow. */
static void unknown_cancels_are_ignored(void **state)
{
    (void)state;
    feed_header(&pair.server, GR_FRAME_REQUEST, 0, 1, 0);
    end_expect_request(&pair.server, 1, 0);
    assert_rc(end_reply(&pair.server, 1, 0), GR_OK);
    for (uint64_t id = 1; id < 1000; id++)
        feed_header(&pair.server, GR_FRAME_CANCEL, 0, id, 0);
    assert_rc(pair.server.rc, GR_OK);
    end_expect_none(&pair.server);
    assert_int_equal(end_stats(&pair.server).cancels_in, 0);
}

/* ---- messages in fragments ---- */

/* One frame with content of that size. */
typedef struct step {
    forge_start f;
    uint32_t size;
} step;

#define LARGE(slot_, whole_, flags_, size_)                                                       \
    {                                                                                             \
        {.type = GR_FRAME_CAST, .flags = FORGE_LARGE | (flags_), .slot = slot_, .whole = whole_}, \
            size_                                                                                 \
    }
#define DATA(slot_, flags_, size_)                                     \
    {                                                                  \
        {.type = GR_FRAME_DATA, .flags = flags_, .slot = slot_}, size_ \
    }
#define BARE(type_, slot_, id_)                      \
    {                                                \
        {.type = type_, .slot = slot_, .id = id_}, 0 \
    }

static void feed_step(test_end *e, const step *s)
{
    test_bytes b = {0};
    forge_start_put(&b, &s->f, s->size);
    for (uint32_t i = 0; i < s->size; i++)
        bytes_append(&b, "x", 1);
    end_feed(e, b.data, b.size);
    bytes_free(&b);
}

/* The last step is the one that is not allowed. */
#define STEPS_MAX 4

/* Fragments that do not belong together, or not there. */
static void fragments_out_of_order_end_the_session(void **state)
{
    (void)state;
    static const step bad[][STEPS_MAX] = {
        /* A slot that is not in use. */
        {DATA(0, 0, 100)},
        {DATA(63, FORGE_END, 0)},
        {LARGE(0, 20000, 0, 100), DATA(1, 0, 100)},
        {BARE(GR_FRAME_ABORT, 5, 0)},
        {LARGE(0, 20000, 0, 100), BARE(GR_FRAME_ABORT, 0, 0), DATA(0, 0, 100)},
        {LARGE(0, 20000, 0, 100), BARE(GR_FRAME_ABORT, 0, 0), BARE(GR_FRAME_ABORT, 0, 0)},
        {LARGE(0, 20000, FORGE_END, 20000), DATA(0, 0, 1)},
        {LARGE(0, 20000, FORGE_END, 20000), BARE(GR_FRAME_ABORT, 0, 0)},
        /* One that is. */
        {LARGE(3, 20000, 0, 100), LARGE(3, 20000, 0, 100)},
        /* More or less than was announced. */
        {LARGE(0, 20000, FORGE_END, 19999)},
        {LARGE(0, 20000, FORGE_END, 0)},
        {LARGE(0, 20000, 0, 20001)},
        {LARGE(0, 20000, 0, 20000), DATA(0, 0, 1)},
        {LARGE(0, 20000, 0, 10000), DATA(0, FORGE_END, 9999)},
        {LARGE(0, 20000, 0, 10000), DATA(0, FORGE_END, 10001)},
        /* What is small, or larger than may be. */
        {LARGE(0, FORGE_SMALL, 0, 100)},
        {LARGE(0, 0, FORGE_END, 0)},
        {LARGE(0, LIMIT + 1, 0, 100)},
        {LARGE(0, UINT32_MAX, 0, 100)},
        {LARGE(0, LIMIT - 20000, 0, 100), LARGE(1, 20001, 0, 100)},
        {LARGE(0, LIMIT, 0, 100), LARGE(1, 20000, 0, 100)},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        size_t n = 0;
        while (n < STEPS_MAX && bad[i][n].f.type)
            n++;
        for (size_t k = 0; k < n; k++) {
            assert_rc(pair.server.rc, GR_OK);
            feed_step(&pair.server, &bad[i][k]);
        }
        if (pair.server.count)
            end_expect_only(&pair.server, GR_EV_CAST);
        expect_refused(&pair.server);
    }
}

/* Neither does a large message that is held back give its slot away. */
static void slot_of_a_held_message_is_in_use(void **state)
{
    (void)state;
    static const step whole = LARGE(7, 20000, FORGE_END, 20000);
    static const step bad[] = {LARGE(7, 20000, 0, 1), DATA(7, 0, 1), BARE(GR_FRAME_ABORT, 7, 0)};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        gr_session_hold(pair.server.s, GR_HOLD_ALL);
        feed_step(&pair.server, &whole);
        assert_rc(pair.server.rc, GR_OK);
        feed_step(&pair.server, &bad[i]);
        expect_refused(&pair.server);
    }
}

/* Compressed content that is none, or of another size than was announced. */
static void corrupt_compression_ends_the_session(void **state)
{
    (void)state;
    static const step bad[] = {
        {{.type = GR_FRAME_CAST, .flags = FORGE_DEFLATED, .whole = 100}, 50},
        {{.type = GR_FRAME_CAST, .flags = FORGE_DEFLATED, .whole = 0}, 0},
        {{.type = GR_FRAME_CAST, .flags = FORGE_DEFLATED, .whole = FORGE_SMALL + 1}, 50},
        {{.type = GR_FRAME_CAST, .flags = FORGE_DEFLATED, .whole = UINT32_MAX}, 50},
        {{.type = GR_FRAME_CAST, .flags = FORGE_DEFLATED | FORGE_CONTEXT, .whole = 100}, 50},
        {{.type = GR_FRAME_CAST, .flags = FORGE_DEFLATED | FORGE_CONTEXT, .whole = 0}, 1},
        LARGE(0, 20000, FORGE_DEFLATED, 100),
        LARGE(0, 20000, FORGE_DEFLATED | FORGE_END, 0),
        LARGE(0, UINT32_MAX, FORGE_DEFLATED, 100),
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        feed_step(&pair.server, &bad[i]);
        expect_refused(&pair.server);
    }
}

/* ---- windows ---- */

/* A peer has used no more than it got, and never less than before; replies have no window. */
static void wrong_windows_end_the_session(void **state)
{
    (void)state;
    static const struct {
        int to_server;
        step s;
    } bad[] = {
        {0, BARE(GR_FRAME_DONE, 0, 0)},
        {1, BARE(GR_FRAME_DONE, 9, 0)},
        {0, BARE(GR_FRAME_WINDOW, 0, 1)},
        {0, BARE(GR_FRAME_WINDOW, 1, 1)},
        {0, BARE(GR_FRAME_WINDOW, 2, UINT64_MAX)},
        {1, BARE(GR_FRAME_WINDOW, 0, 0)},
        {1, BARE(GR_FRAME_WINDOW, 1, 1)},
        {1, BARE(GR_FRAME_WINDOW, 2, 0)},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        test_end *e = bad[i].to_server ? &pair.server : &pair.client;
        feed_step(e, &bad[i].s);
        expect_violation(e);
    }
    static const step sent = BARE(GR_FRAME_WINDOW, 0, 10 + GR_FRAME_HEAD);
    static const step less = BARE(GR_FRAME_WINDOW, 0, 9);
    assert_rc(end_cast(&pair.client, 1, 10), GR_OK);
    feed_step(&pair.client, &sent);
    assert_rc(pair.client.rc, GR_OK);
    feed_step(&pair.client, &less);
    assert_rc(pair.client.rc, GR_EPROTO);
}

/* A message whose slot is given back before it has been sent has not been used. */
static void slot_is_not_done_while_it_is_sent(void **state)
{
    (void)state;
    static const step done = BARE(GR_FRAME_DONE, 0, 0);
    assert_rc(end_cast(&pair.client, 1, 1000000), GR_OK);
    end_drain(&pair.client, &pair.up.bytes, 1000);
    feed_step(&pair.client, &done);
    assert_rc(pair.client.rc, GR_EPROTO);
}

/* Sends casts of this kind to a server that holds them back; how many until it ends the session. */
static size_t flood(uint8_t flags, uint32_t size)
{
    const step s = {{.type = GR_FRAME_CAST, .flags = flags}, size};
    size_t n = 0;
    gr_session_hold(pair.server.s, GR_HOLD_ALL);
    for (; pair.server.rc == GR_OK && n < 1000000; n++)
        feed_step(&pair.server, &s);
    assert_rc(pair.server.rc, GR_EPROTO);
    assert_true(end_stats(&pair.server).held <= 8 << 20);
    pair_close(&pair);
    setup(NULL);
    return n;
}

/* Who does not keep to the windows is not listened to; so what is held back has an end. */
static void windows_bound_what_is_held(void **state)
{
    (void)state;
    size_t n = flood(0, 10000);
    assert_true(n > 100 && n < 1000);
    n = flood(FORGE_ORDERED, 10000);
    assert_true(n > 50 && n < 500);
    assert_true(flood(0, 0) < 300000);
    assert_true(flood(FORGE_ORDERED, 0) < 20000);
}

/* Replies that nobody waits for are not wrong: their callers gave up. They are counted. */
static void unknown_replies_are_counted(void **state)
{
    (void)state;
    test_bytes b = {0};
    forge_frame(&b, GR_FRAME_REPLY, 1, 100);
    forge_message(&b, GR_FRAME_REPLY, 1, 100000);
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
            junk[0] = (uint8_t)(junk[0] % 14);
            junk[1] &= (uint8_t)prng_next(&prng) & (uint8_t)prng_next(&prng);
            junk[2] = junk[4] = junk[5] = 0;
            junk[3] &= 3;
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
        test_of(id_of_a_held_request_stays_taken),
        test_of(unknown_cancels_are_ignored),
        test_of(fragments_out_of_order_end_the_session),
        test_of(slot_of_a_held_message_is_in_use),
        test_of(corrupt_compression_ends_the_session),
        test_of(wrong_windows_end_the_session),
        test_of(slot_is_not_done_while_it_is_sent),
        test_of(windows_bound_what_is_held),
        test_of(unknown_replies_are_counted),
        test_of(frames_before_a_violation_are_delivered),
        test_of(garbage_ends_the_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
