/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions kept for another time: by name, as many as there is room for, the oldest makes room. */
#include <stdio.h>
#include <string.h>

#include "cmocka_support.h"
#include "gr_tlscache.h"
#include "raw_support.h"
#include "tls_support.h"

/* For how many names there is room. */
#define ENTRIES 256

static test_mem conf_mem;
static gr_tlsconf *client;
static gr_tlsconf *server;
static mbedtls_ssl_context done[2]; /* whose sessions are kept */
static mbedtls_ssl_session sessions[2];
static test_mem mem;
static gr_tlscache *cache;

static int group_setup(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    mem_init(&conf_mem);
    client = tls_conf(&conf_mem, &c);
    server = tls_conf(&conf_mem, &s);
    for (int i = 0; i < 2; i++) {
        raw_session(&done[i], client, server);
        mbedtls_ssl_session_init(&sessions[i]);
        assert_int_equal(mbedtls_ssl_get_session(&done[i], &sessions[i]), 0);
    }
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        mbedtls_ssl_free(&done[i]);
        mbedtls_ssl_session_free(&sessions[i]);
    }
    gr_tlsconf_unref(client);
    gr_tlsconf_unref(server);
    mem_check_empty(&conf_mem);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    mem_init(&mem);
    assert_rc(gr_tlscache_new(&cache, &mem.vt), GR_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gr_tlscache_free(cache);
    mem_check_empty(&mem);
    return 0;
}

/* Which of the two sessions is offered under that name; -1: none. */
static int offered_as(gr_str name)
{
    mbedtls_ssl_context ssl;
    int found = -1;
    mbedtls_ssl_init(&ssl);
    assert_int_equal(mbedtls_ssl_setup(&ssl, gr_tlsconf_ssl(client)), 0);
    gr_tlscache_offer(cache, name, &ssl);
    for (int i = 0; i < 2; i++)
        if (memcmp(ssl.session_negotiate->master, sessions[i].master, 48) == 0)
            found = i;
    /* With all that makes it of use: the ticket, and whose it is. */
    assert_int_equal(found >= 0, ssl.session_negotiate->ticket_len > 0);
    assert_int_equal(found >= 0, ssl.session_negotiate->peer_cert != NULL);
    mbedtls_ssl_free(&ssl);
    return found;
}

static int offered(const char *name)
{
    return offered_as(str_of(name));
}

static void keep_as(gr_str name, int which)
{
#if GR_MBEDTLS_3
    /* Which lets a session be copied once. */
    done[which].session->exported = 0;
#endif
    gr_tlscache_keep(cache, name, &done[which]);
}

static void keep(const char *name, int which)
{
    keep_as(str_of(name), which);
}

static const char *numbered(int n)
{
    static char name[32];
    snprintf(name, sizeof name, "node%d@there", n);
    return name;
}

/* An empty one has nothing to offer, and nothing to forget. */
static void empty_cache_offers_nothing(void **state)
{
    (void)state;
    assert_int_equal(offered("a@b"), -1);
    assert_int_equal(offered(""), -1);
    gr_tlscache_drop(cache, str_of("a@b"));
    gr_tlscache_drop(cache, str_of(""));
    gr_tlscache_free(NULL);
}

/* What is kept under a name is offered under it, as often as asked for, and under no other. */
static void session_is_offered_under_its_name(void **state)
{
    (void)state;
    keep("callee@there", 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(offered("callee@there"), 0);
    static const char *const others[] = {
        "", "callee@ther", "callee@there2", "Callee@there", "callee", "allee@there", "@"};
    for (size_t i = 0; i < COUNT_OF(others); i++)
        assert_int_equal(offered(others[i]), -1);
}

/* A later one takes the place of an earlier one, and needs no more memory. */
static void later_session_replaces_an_earlier_one(void **state)
{
    (void)state;
    keep("a@b", 0);
    keep("c@d", 0);
    size_t live = mem.live;
    for (int i = 1; i < 20; i++) {
        keep("a@b", i % 2);
        assert_int_equal(offered("a@b"), i % 2);
        assert_int_equal(offered("c@d"), 0);
    }
    assert_int_equal(mem.live, live);
}

/* What is dropped is not offered any more, and its place is used again. */
static void dropped_session_is_gone(void **state)
{
    (void)state;
    keep("a@b", 0);
    keep("c@d", 1);
    size_t live = mem.live;
    gr_tlscache_drop(cache, str_of("a@b"));
    gr_tlscache_drop(cache, str_of("a@b"));
    gr_tlscache_drop(cache, str_of("unknown"));
    assert_int_equal(offered("a@b"), -1);
    assert_int_equal(offered("c@d"), 1);
    keep("e@f", 0);
    assert_int_equal(offered("e@f"), 0);
    assert_int_equal(offered("c@d"), 1);
    assert_int_equal(mem.live, live);
    keep("a@b", 1);
    assert_int_equal(offered("a@b"), 1);
}

/* The oldest makes room for what does not fit, one for one. */
static void oldest_makes_room(void **state)
{
    (void)state;
    for (int i = 0; i < ENTRIES; i++)
        keep(numbered(i), i % 2);
    for (int i = 0; i < ENTRIES; i++)
        assert_int_equal(offered(numbered(i)), i % 2);
    size_t live = mem.live;
    for (int i = ENTRIES; i < ENTRIES + 30; i++) {
        keep(numbered(i), i % 2);
        assert_int_equal(offered(numbered(i)), i % 2);
        assert_int_equal(offered(numbered(i - ENTRIES)), -1);
        assert_int_equal(offered(numbered(i - ENTRIES + 1)), (i + 1) % 2);
    }
    assert_int_equal(mem.live, live);
}

/* What has been kept again is young again; to be offered does not count. */
static void kept_again_is_young_again(void **state)
{
    (void)state;
    for (int i = 0; i < ENTRIES; i++)
        keep(numbered(i), 0);
    keep(numbered(0), 1);
    assert_int_equal(offered(numbered(1)), 0);
    keep("new@there", 0);
    assert_int_equal(offered(numbered(0)), 1);
    assert_int_equal(offered(numbered(1)), -1);
    assert_int_equal(offered(numbered(2)), 0);
}

/* A place that is free is used before anybody has to make room. */
static void free_place_is_used_first(void **state)
{
    (void)state;
    for (int i = 0; i < ENTRIES; i++)
        keep(numbered(i), 0);
    gr_tlscache_drop(cache, str_of(numbered(100)));
    keep("new@there", 1);
    for (int i = 0; i < ENTRIES; i++)
        assert_int_equal(offered(numbered(i)), i == 100 ? -1 : 0);
    assert_int_equal(offered("new@there"), 1);
}

/* No name, or one that no node can have, is nobody's; the longest that one can have is kept. */
static void names_are_of_nodes(void **state)
{
    (void)state;
    uint8_t name[GR_NAME_MAX + 1];
    memset(name, 'n', sizeof name);
    gr_str longest = {name, GR_NAME_MAX};
    gr_str too_long = {name, GR_NAME_MAX + 1};
    size_t live = mem.live;
    keep("", 0);
    keep_as(too_long, 0);
    assert_int_equal(mem.live, live);
    assert_int_equal(offered(""), -1);
    assert_int_equal(offered_as(too_long), -1);
    keep_as(longest, 0);
    assert_int_equal(offered_as(longest), 0);
    longest.size--;
    assert_int_equal(offered_as(longest), -1);
}

/* A handshake that is not done has nothing to be kept, and what was there before is gone. */
static void session_must_be_complete(void **state)
{
    (void)state;
    mbedtls_ssl_context fresh;
    mbedtls_ssl_init(&fresh);
    assert_int_equal(mbedtls_ssl_setup(&fresh, gr_tlsconf_ssl(client)), 0);
    gr_tlscache_keep(cache, str_of("a@b"), &fresh);
    assert_int_equal(offered("a@b"), -1);
    keep("a@b", 0);
    gr_tlscache_keep(cache, str_of("a@b"), &fresh);
    assert_int_equal(offered("a@b"), -1);
    mbedtls_ssl_free(&fresh);
}

/* Without memory a session is not kept, and that is all: those before stay, those later may fit. */
static void memory_can_be_missing(void **state)
{
    (void)state;
    keep("a@b", 0);
    mem.fail_at = mem.tries + 1;
    keep("c@d", 1);
    assert_true(mem.failed);
    assert_int_equal(offered("a@b"), 0);
    assert_int_equal(offered("c@d"), -1);
    keep("c@d", 1);
    assert_int_equal(offered("c@d"), 1);
}

/* Nor is there a cache without memory. */
static void cache_needs_memory(void **state)
{
    (void)state;
    gr_tlscache *c = cache;
    mem.fail_at = mem.tries + 1;
    assert_rc(gr_tlscache_new(&c, &mem.vt), GR_ENOMEM);
    assert_null(c);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(empty_cache_offers_nothing),
        test_of(session_is_offered_under_its_name),
        test_of(later_session_replaces_an_earlier_one),
        test_of(dropped_session_is_gone),
        test_of(oldest_makes_room),
        test_of(kept_again_is_young_again),
        test_of(free_place_is_used_first),
        test_of(names_are_of_nodes),
        test_of(session_must_be_complete),
        test_of(memory_can_be_missing),
        test_of(cache_needs_memory),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
