/* SPDX-License-Identifier: Apache-2.0 */
/* Compression between two sessions: what is compressed when, and that no stream can do harm. */
#include <string.h>
#include <zlib.h>

#include "cmocka_support.h"
#include "flow_support.h"

#define MIB ((size_t)1024 * 1024)
#define LEAST 1024u /* the smallest message that is compressed */
#define CONTEXT_MAX 8192u
#define SMALL_MAX FRAMES_SMALL_MAX

static test_pair p;
static flow client;
static flow server;
static test_bytes tapped;

/* How the two sides compress; 0: not at all. */
static void open_levels(int up, int down, int context)
{
    gr_session_config c = end_config(GR_CLIENT);
    gr_session_config s = end_config(GR_SERVER);
    c.auth.max_message = s.auth.max_message = 64 * MIB;
    c.output_limit = s.output_limit = 4 * MIB;
    c.compress = up;
    s.compress = down;
    c.compress_context = s.compress_context = context;
    c.compress_min = s.compress_min = LEAST;
    memset(&tapped, 0, sizeof tapped);
    flow_open(&p, &client, &server, &c, &s);
    p.up.tap = &tapped;
}

static void close_all(void)
{
    bytes_free(&tapped);
    flow_close(&p, &client, &server);
}

static void reopen(int up, int down, int context)
{
    close_all();
    open_levels(up, down, context);
}

static int setup(void **state)
{
    (void)state;
    open_levels(6, 6, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_all();
    return 0;
}

static void both_live(void)
{
    assert_rc(p.client.rc, GR_OK);
    assert_rc(p.server.rc, GR_OK);
}

/* The frame that brought the cast or request that was sent last. */
static frame_seen last_frame(void)
{
    frame_seen f = {0};
    frame_seen next;
    size_t at = 0;
    while (frames_get(&tapped, &at, &next))
        if (next.type == FT_CAST || next.type == FT_REQUEST)
            f = next;
    tapped.size = 0;
    return f;
}

static frame_seen send_cast(gr_order order, uint64_t id, size_t size, int noise)
{
    assert_rc(noise ? flow_cast_noise(&p.client, order, id, size)
                    : flow_cast(&p.client, order, id, size),
              GR_OK);
    pair_pump(&p);
    both_live();
    assert_int_equal(flow_count(&server, GR_EV_CAST), 1);
    assert_int_equal(server.items[0].id, id);
    assert_int_equal(server.items[0].size, size);
    assert_int_equal(server.items[0].order, order);
    server.count = 0;
    return last_frame();
}

/* ---- what is compressed ---- */

/* From the threshold on, and not below, on every lane; and it arrives as it was. */
static void threshold_is_kept(void **state)
{
    (void)state;
    const size_t sizes[] = {8, 100, LEAST - 1, LEAST, LEAST + 1, SMALL_MAX, SMALL_MAX + 1, 3 * MIB};
    uint64_t id = 0;
    for (gr_order order = GR_UNORDERED; order <= GR_BROADCAST; order++) {
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            frame_seen f = send_cast(order, ++id, sizes[i], 0);
            assert_int_equal((f.flags & FF_DEFLATED) != 0, sizes[i] >= LEAST);
            assert_int_equal(f.flags & FF_CONTEXT, 0);
            assert_int_equal((f.flags & FF_LARGE) != 0, sizes[i] > SMALL_MAX);
            assert_int_equal(f.whole, sizes[i] >= LEAST ? sizes[i] : 0);
        }
    }
}

/* Level 0 compresses nothing, whatever the other side does; both understand each other. */
static void levels_may_differ(void **state)
{
    (void)state;
    const int levels[][2] = {{0, 9}, {9, 0}, {1, 9}, {5, 2}, {0, 0}};
    const size_t sizes[] = {500, 5000, 16000, 500000};
    for (size_t k = 0; k < COUNT_OF(levels); k++) {
        for (int context = 0; context < 2; context++) {
            reopen(levels[k][0], levels[k][1], context);
            server.replies = 1;
            for (uint64_t id = 1; id <= 40; id++) {
                server.reply_size = sizes[(id + 1) % 4];
                assert_rc(flow_call(&p.client, GR_UNORDERED, id, sizes[id % 4], GR_FOREVER), GR_OK);
                if (id % 3 == 0)
                    pair_pump(&p);
            }
            pair_pump(&p);
            both_live();
            assert_int_equal(flow_count(&client, GR_EV_REPLY), 40);
            assert_int_equal(end_stats(&p.client).deflate_in > 0, levels[k][0] > 0);
            assert_int_equal(end_stats(&p.server).deflate_in > 0, levels[k][1] > 0);
            assert_true(end_stats(&p.client).deflate_out <= end_stats(&p.client).deflate_in / 4);
        }
    }
}

/* The two counters tell what it was good for: bytes before and after, of what was compressed only. */
static void counters_tell_the_gain(void **state)
{
    (void)state;
    send_cast(GR_UNORDERED, 1, 500, 0);
    assert_int_equal(end_stats(&p.client).deflate_in, 0);
    frame_seen f = send_cast(GR_UNORDERED, 2, 10000, 0);
    assert_int_equal(end_stats(&p.client).deflate_in, 10000);
    assert_int_equal(end_stats(&p.client).deflate_out, f.size);
    assert_true(f.size < 5000);
    send_cast(GR_ORDERED, 3, MIB, 0);
    assert_int_equal(end_stats(&p.client).deflate_in, 10000 + MIB);
    assert_true(end_stats(&p.client).deflate_out < MIB / 4);
    assert_int_equal(end_stats(&p.server).deflate_in, 0);
}

/* What does not get smaller goes as it is, and soon is hardly tried; what does is soon found again. */
static void incompressible_messages_go_as_they_are(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 300; id++)
        assert_int_equal(send_cast(GR_UNORDERED, id, 3000, 1).flags, 0);
    assert_int_equal(end_stats(&p.client).deflate_in, 0);
    uint64_t id = 1000;
    while (!(send_cast(GR_UNORDERED, id, 3000, 0).flags & FF_DEFLATED))
        assert_true(++id < 1000 + 70);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(send_cast(GR_UNORDERED, ++id, 3000, 0).flags, FF_DEFLATED);
}

/* A large one that does not get smaller costs hardly more than itself. */
static void incompressible_large_message(void **state)
{
    (void)state;
    uint64_t before = end_stats(&p.client).bytes_out;
    send_cast(GR_UNORDERED, 1, 3 * MIB, 1);
    assert_true(end_stats(&p.client).bytes_out - before < 3 * MIB + 3 * MIB / 50);
}

/* More large ones than streams, all at once, with small ones among them. */
static void many_large_messages_at_once(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 40; id++)
        assert_rc(id % 3 ? flow_cast(&p.client, GR_UNORDERED, id, 300000)
                         : flow_cast_noise(&p.client, GR_UNORDERED, id, 3000 + 10000 * id),
                  GR_OK);
    pair_pump(&p);
    both_live();
    assert_int_equal(server.count, 40);
    flow_check_unique(&server, GR_EV_CAST);
}

/* ---- the context ---- */

/* Small messages that are like those before them become tiny; each is as it was. */
static void context_makes_similar_messages_tiny(void **state)
{
    (void)state;
    reopen(6, 6, 1);
    for (uint64_t id = 1; id <= 100; id++) {
        frame_seen f = send_cast(GR_UNORDERED, id % 3, 2000, 0);
        assert_int_equal(f.flags, FF_DEFLATED | FF_CONTEXT);
        assert_int_equal(f.whole, 2000);
        assert_true(id < 10 || f.size < 60);
        if (id % 2)
            gr_session_trim(p.client.s);
        gr_session_trim(p.server.s);
    }
    for (uint64_t id = 1; id <= 10; id++)
        assert_true(send_cast(GR_UNORDERED, 7, 6000, 0).size < (id == 1 ? 3000 : 120));
}

/* It is for small unordered messages up to 8 KiB; the others go beside it and do not disturb it. */
static void context_is_for_small_messages(void **state)
{
    (void)state;
    reopen(6, 6, 1);
    for (uint64_t id = 1; id <= 200; id++) {
        size_t size = id % 5 == 0   ? CONTEXT_MAX
                      : id % 5 == 1 ? CONTEXT_MAX + 1
                      : id % 5 == 2 ? 100000
                      : id % 5 == 3 ? 2000
                                    : 100;
        gr_order order = id % 7 == 0 ? GR_ORDERED : GR_UNORDERED;
        frame_seen f = send_cast(order, id, size, id % 11 == 0);
        int in_context = size >= LEAST && size <= CONTEXT_MAX && order == GR_UNORDERED;
        assert_int_equal((f.flags & FF_CONTEXT) != 0, in_context);
    }
}

/* Noise in the context is sent, although it gets larger, and what follows is right. */
static void noise_in_the_context(void **state)
{
    (void)state;
    reopen(9, 9, 1);
    for (uint64_t id = 1; id <= 100; id++) {
        frame_seen f = send_cast(GR_UNORDERED, id, CONTEXT_MAX - id % 3, id % 2 == 0);
        assert_int_equal(f.flags, FF_DEFLATED | FF_CONTEXT);
        assert_true(f.size <= CONTEXT_MAX + CONTEXT_MAX / 100 + 20);
    }
}

/* Giving back buffers must not cost the context, whoever does it whenever. */
static void trim_keeps_the_context(void **state)
{
    (void)state;
    for (int context = 0; context < 2; context++) {
        reopen(6, 6, context);
        server.replies = 1;
        server.reply_size = 3000;
        for (uint64_t id = 1; id <= 60; id++) {
            assert_rc(flow_call(&p.client, GR_UNORDERED, id, id % 4 ? 2000 : 50000, GR_FOREVER),
                      GR_OK);
            pair_pump(&p);
            if (id % 2)
                gr_session_trim(p.client.s);
            if (id % 3)
                gr_session_trim(p.server.s);
        }
        both_live();
        assert_int_equal(flow_count(&client, GR_EV_REPLY), 60);
    }
}

/* Without a context nothing is kept of compression when the buffers are given back. */
static void trim_gives_the_memory_back(void **state)
{
    (void)state;
    size_t live = p.mem.live;
    send_cast(GR_UNORDERED, 1, 2000, 0);
    send_cast(GR_UNORDERED, 2, 200000, 0);
    gr_session_trim(p.client.s);
    gr_session_trim(p.server.s);
    assert_true(p.mem.live <= live);
}

/* Requests that are held, given up, or late have been part of the context all the same. */
static void context_survives_what_is_dropped(void **state)
{
    (void)state;
    reopen(6, 6, 1);
    flow_hold(&server, &p.server, 1);
    for (uint64_t id = 1; id <= 3000; id++)
        assert_rc(flow_call(&p.client, GR_UNORDERED, id, 2000 + id % 100,
                            id % 5 ? GR_FOREVER : p.now + 50),
                  GR_OK);
    for (uint64_t id = 1; id <= 3000; id += 2) {
        assert_rc(gr_session_cancel(p.client.s, id), GR_OK);
        if (id % 7 == 0)
            pair_pump(&p);
    }
    pair_pump(&p);
    pair_clock(&p, p.now + 1000);
    flow_hold(&server, &p.server, 0);
    pair_pump(&p);
    both_live();
    for (uint64_t id = 2; id <= 3000; id += 2)
        if (id % 5)
            assert_true(flow_find(&server, GR_EV_REQUEST, id) < server.count);
}

/* ---- forged streams ---- */

/* What a hostile peer sends, and what has to become of it. */
static void expect_refused(const frame_seen *f)
{
    p.mem.largest = 0;
    assert_rc(flow_forge(&p.server, f), GR_EPROTO);
    assert_int_equal(server.count, 0);
    assert_true(p.mem.largest <= 128 * 1024);
    reopen(0, 0, 0);
}

static test_bytes zeros_deflated(size_t size)
{
    static uint8_t zeros[4 * 1024 * 1024];
    test_bytes z = {0};
    deflate_all(&z, zeros, size, 9);
    return z;
}

/* A small frame that says it is smaller than it is, or larger, or more than a small one can be. */
static void small_bombs_are_refused(void **state)
{
    (void)state;
    const size_t real[] = {1000, 1001, 16384, 16385, 1000000, 4000000};
    const uint32_t said[] = {0, 1, 1000, 16384, 16385, 1000000, UINT32_MAX};
    for (size_t r = 0; r < COUNT_OF(real); r++) {
        test_bytes z = zeros_deflated(real[r]);
        for (size_t s = 0; s < COUNT_OF(said); s++) {
            frame_seen f = {.type = FT_CAST,
                            .flags = FF_DEFLATED,
                            .size = (uint32_t)z.size,
                            .whole = said[s],
                            .data = z.data};
            if (said[s] != real[r] || said[s] > SMALL_MAX)
                expect_refused(&f);
        }
        bytes_free(&z);
    }
}

/* The same in fragments, in one or many. */
static void large_bombs_are_refused(void **state)
{
    (void)state;
    test_bytes z = zeros_deflated(4000000);
    const uint32_t said[] = {0, 16384, 16385, 3999999};
    for (size_t i = 0; i < COUNT_OF(said); i++) {
        frame_seen f = {.type = FT_CAST,
                        .flags = FF_DEFLATED | FF_LARGE | FF_END,
                        .size = (uint32_t)z.size,
                        .whole = said[i],
                        .data = z.data};
        assert_rc(flow_forge(&p.server, &f), GR_EPROTO);
        assert_int_equal(server.count, 0);
        reopen(0, 0, 0);
    }
    frame_seen first = {.type = FT_CAST,
                        .flags = FF_DEFLATED | FF_LARGE,
                        .size = 1,
                        .whole = 20000,
                        .data = z.data};
    int rc = flow_forge(&p.server, &first);
    for (size_t at = 1; rc == GR_OK && at < z.size; at++) {
        frame_seen f = {.type = FT_DATA, .size = 1, .data = z.data + at};
        rc = flow_forge(&p.server, &f);
    }
    assert_rc(rc, GR_EPROTO);
    bytes_free(&z);
}

/* Flags that make no sense together. */
static void senseless_flags_are_refused(void **state)
{
    (void)state;
    test_bytes z = zeros_deflated(2000);
    const unsigned bad[] = {FF_CONTEXT,
                            FF_CONTEXT | FF_ORDERED,
                            FF_CONTEXT | FF_DEFLATED | FF_ORDERED,
                            FF_CONTEXT | FF_DEFLATED | FF_LARGE | FF_END,
                            FF_DEFLATED | FF_END,
                            FF_BROADCAST,
                            FF_TIMED,
                            0x80};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        frame_seen f = {.type = FT_CAST,
                        .flags = bad[i],
                        .size = (uint32_t)z.size,
                        .whole = 2000,
                        .data = z.data};
        expect_refused(&f);
    }
    bytes_free(&z);
}

/* A message of the context without those before it refers to what its receiver has never seen. */
static void context_out_of_order_is_refused(void **state)
{
    (void)state;
    reopen(6, 0, 1);
    for (uint64_t id = 1; id <= 2; id++)
        assert_rc(flow_cast(&p.client, GR_UNORDERED, 5, 2000), GR_OK);
    test_bytes b = {0};
    frame_seen f;
    size_t at = 0;
    end_drain(&p.client, &b, SIZE_MAX);
    assert_true(frames_get(&b, &at, &f));
    assert_true(frames_get(&b, &at, &f));
    assert_int_equal(f.flags, FF_DEFLATED | FF_CONTEXT);
    assert_true(f.size < 50);
    expect_refused(&f);
    bytes_free(&b);
}

/* A context that ends its stream, or that is noise, or not of the size it says, is none. */
static void broken_context_is_refused(void **state)
{
    (void)state;
    static uint8_t noise[3000];
    uint64_t prng = 1;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)prng_next(&prng);
    noise[0] = 0x07; /* a block of the kind that there is none of */
    test_bytes z = zeros_deflated(2000);
    const frame_seen bad[] = {
        {.size = (uint32_t)z.size, .whole = 2000, .data = z.data},
        {.size = (uint32_t)z.size, .whole = 1999, .data = z.data},
        {.size = (uint32_t)z.size, .whole = 2001, .data = z.data},
        {.size = (uint32_t)z.size, .whole = 0, .data = z.data},
        {.size = 0, .whole = 5, .data = z.data},
        {.size = sizeof noise, .whole = 2000, .data = noise},
        {.size = sizeof noise, .whole = 16385, .data = noise},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        frame_seen f = bad[i];
        f.type = FT_CAST;
        f.flags = FF_DEFLATED | FF_CONTEXT;
        expect_refused(&f);
    }
    bytes_free(&z);
}

/* A flood of small bombs that are all right: one turn inflates no more than its allowance. */
static void one_turn_inflates_a_bounded_amount(void **state)
{
    (void)state;
    test_bytes z = zeros_deflated(SMALL_MAX);
    test_bytes b = {0};
    frame_seen f = {.type = FT_CAST,
                    .flags = FF_DEFLATED,
                    .size = (uint32_t)z.size,
                    .whole = SMALL_MAX,
                    .data = z.data};
    for (size_t i = 0; i < 50; i++)
        frames_put(&b, &f);
    gr_iov v[2];
    size_t count;
    gr_session_turn(p.server.s, 1000);
    assert_rc(gr_session_space(p.server.s, v, &count), GR_OK);
    assert_true(v[0].size >= b.size);
    memcpy(v[0].data, b.data, b.size);
    gr_session_filled(p.server.s, b.size);
    size_t came = 0;
    size_t turns = 0;
    do {
        gr_event ev;
        size_t before = came;
        gr_session_turn(p.server.s, 2000 + turns++);
        while (gr_session_event(p.server.s, &ev) == GR_OK) {
            assert_int_equal(ev.size, SMALL_MAX);
            mem_unref(&p.mem, &ev.blob);
            came++;
        }
        assert_in_range(came - before, 1, 9);
    } while (gr_session_more(p.server.s));
    assert_int_equal(came, 50);
    bytes_free(&z);
    bytes_free(&b);
}

/* Whatever happens to the bytes on their way, both sides survive it. */
static void damaged_streams_are_survived(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t prng = seed;
        reopen(6, 6, (int)(seed & 1));
        p.server.hook = NULL;
        for (uint64_t id = 1; id <= 6; id++)
            assert_rc(flow_cast(&p.client, id == 4 ? GR_ORDERED : GR_UNORDERED, id,
                                id % 3 ? 3000 : 30000),
                      GR_OK);
        test_bytes b = {0};
        end_drain(&p.client, &b, SIZE_MAX);
        for (uint64_t n = 1 + prng_below(&prng, 3); n; n--)
            b.data[prng_below(&prng, b.size)] ^= (uint8_t)(1u << prng_below(&prng, 8));
        end_feed(&p.server, b.data, b.size);
        int rc = p.server.rc;
        assert_true(rc == GR_OK || rc == GR_EPROTO);
        bytes_free(&b);
    }
}

/* ---- without memory, and without sense ---- */

/* Everything that a compressing pair does; returns the first code that is not GR_OK. */
static int try_all(void)
{
    for (uint64_t id = 1; id <= 6; id++) {
        gr_order order = id == 2 ? GR_BROADCAST : GR_UNORDERED;
        int rc = flow_call(&p.client, order, id, id % 3 ? 3000 : 40000, GR_FOREVER);
        if (rc == GR_OK)
            pair_pump(&p);
        rc = rc != GR_OK ? rc : p.client.rc != GR_OK ? p.client.rc : p.server.rc;
        if (rc != GR_OK)
            return rc;
    }
    return GR_OK;
}

static int reply_if_possible(void *ctx, const flow_item *i)
{
    (void)ctx;
    if (i->type == GR_EV_REQUEST)
        (void)flow_reply(&p.server, i->id, i->id % 2 ? 3000 : 40000);
    return 1;
}

/* Whichever allocation fails, it ends the side that wanted it, and nothing is left behind. */
static void every_failed_allocation_is_told(void **state)
{
    (void)state;
    for (int context = 0; context < 2; context++) {
        size_t i = 0;
        for (int failed = 1; failed;) {
            reopen(1, 1, context);
            server.keep = reply_if_possible;
            p.mem.fail_at = p.mem.tries + ++i;
            int rc = try_all();
            p.mem.fail_at = 0;
            failed = p.mem.failed;
            assert_true(failed ? rc == GR_ENOMEM : rc == GR_OK);
        }
        assert_true(i > 40);
    }
}

/* A level that there is none of is refused. */
static void levels_are_checked(void **state)
{
    (void)state;
    const int bad[] = {-1, 10, 1000};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        gr_session *s;
        gr_session_config c = end_config(GR_CLIENT);
        c.compress = bad[i];
        assert_rc(gr_session_new(&s, &p.mem.vt, &p.mem.blobs, &c), GR_ESTATE);
        assert_null(s);
    }
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(threshold_is_kept),
        test_of(levels_may_differ),
        test_of(counters_tell_the_gain),
        test_of(incompressible_messages_go_as_they_are),
        test_of(incompressible_large_message),
        test_of(many_large_messages_at_once),
        test_of(context_makes_similar_messages_tiny),
        test_of(context_is_for_small_messages),
        test_of(noise_in_the_context),
        test_of(trim_keeps_the_context),
        test_of(trim_gives_the_memory_back),
        test_of(context_survives_what_is_dropped),
        test_of(small_bombs_are_refused),
        test_of(large_bombs_are_refused),
        test_of(senseless_flags_are_refused),
        test_of(context_out_of_order_is_refused),
        test_of(broken_context_is_refused),
        test_of(one_turn_inflates_a_bounded_amount),
        test_of(damaged_streams_are_survived),
        test_of(every_failed_allocation_is_told),
        test_of(levels_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
