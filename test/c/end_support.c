/* SPDX-License-Identifier: Apache-2.0 */
/* Drives one session by the rules of gr_session.h and copies what comes out of it. */
#include "end_support.h"

#include <stdlib.h>
#include <string.h>

#include "cmocka_support.h"

#define IOV_MAX_TEST 8

/* Time that a turn takes: what a system call and some work do. */
#define TURN_US 20

gr_str str_of(const char *z)
{
    gr_str s = {(const uint8_t *)z, strlen(z)};
    return s;
}

gr_session_config end_config(gr_role role)
{
    static uint64_t nonces;
    gr_session_config c;
    memset(&c, 0, sizeof c);
    c.auth.role = role;
    c.auth.cookie = str_of("chocolate");
    c.auth.name = str_of(role == GR_CLIENT ? "caller@here" : "callee@there");
    c.auth.target = str_of("callee@there");
    for (size_t i = 0; i < GR_NONCE_SIZE; i++)
        c.auth.nonce[i] = (uint8_t)prng_next(&nonces);
    c.auth.max_message = 1024 * 1024;
    c.output_limit = 64 * 1024;
    c.frame_max = GR_SESSION_FRAME_MAX;
    c.compress_min = 1024;
    c.auth_timeout = 5000;
    c.send_timeout = c.keepalive_interval = c.idle_timeout = GR_FOREVER;
    c.now = 1000;
    return c;
}

int end_open(test_end *e, test_mem *mem, const gr_session_config *cfg)
{
    memset(e, 0, sizeof *e);
    e->mem = mem;
    e->rc = gr_session_new(&e->s, &mem->vt, &mem->blobs, cfg);
    return e->rc;
}

void event_free(end_event *ev)
{
    bytes_free(&ev->tag);
    bytes_free(&ev->body);
}

void end_close(test_end *e)
{
    gr_session_free(e->s);
    for (size_t i = 0; i < e->count; i++)
        event_free(&e->events[i]);
    free(e->events);
    memset(e, 0, sizeof *e);
}

static void keep(test_end *e, const gr_event *ev)
{
    if (e->count == e->room) {
        e->room = e->room ? e->room * 2 : 8;
        e->events = realloc(e->events, e->room * sizeof *e->events);
        assert_non_null(e->events);
    }
    end_event *k = &e->events[e->count++];
    memset(k, 0, sizeof *k);
    k->type = ev->type;
    k->id = ev->id;
    k->order = ev->order;
    k->in_blob = ev->blob.owner != NULL;
    k->too_big_size = ev->too_big_size;
    k->too_big_limit = ev->too_big_limit;
    if (ev->call) {
        k->id = ev->call->id;
        k->caller = ev->call->caller;
        k->deadline = ev->call->deadline;
        bytes_append(&k->tag, ev->call->tag, ev->call->tag_size);
    }
    if (ev->type == GR_EV_REQUEST || ev->type == GR_EV_CAST || ev->type == GR_EV_REPLY)
        bytes_append(&k->body, ev->data, ev->size);
}

static void turn(test_end *e)
{
    gr_session_turn(e->s, e->us += TURN_US);
}

/* Takes what this turn allows. Returns what ended it. */
static int take_turn(test_end *e)
{
    gr_event ev;
    int rc = GR_OK;
    while (rc == GR_OK) {
        /* What the session does not set must not be believed. */
        memset(&ev, 0xa5, sizeof ev);
        rc = gr_session_event(e->s, &ev);
        if (rc != GR_OK)
            break;
        e->up |= ev.type == GR_EV_UP;
        e->ended |= ev.type == GR_EV_END;
        if (e->hook)
            e->hook(e->ctx, e, &ev);
        else
            keep(e, &ev);
        if (ev.call)
            gr_session_free_call(e->s, ev.call);
        if (ev.blob.owner)
            mem_unref(e->mem, &ev.blob);
    }
    return rc;
}

void end_take(test_end *e)
{
    int rc = e->rc;
    if (rc != GR_OK)
        return;
    rc = take_turn(e);
    while (rc == GR_NONE && gr_session_more(e->s)) {
        turn(e);
        rc = take_turn(e);
    }
    if (GR_IS_FATAL(rc))
        e->rc = rc;
    else
        assert_true(rc == GR_NONE);
}

size_t end_offer(test_end *e, const void *data, size_t size)
{
    const uint8_t *p = data;
    const uint8_t *end = size ? p + size : p;
    while (p < end && e->rc == GR_OK && !gr_session_is_paused(e->s)) {
        gr_iov v[2];
        size_t n;
        turn(e);
        int rc = gr_session_space(e->s, v, &n);
        if (rc != GR_OK) {
            e->rc = rc;
            break;
        }
        size_t moved = 0;
        for (size_t i = 0; i < n && p < end; i++) {
            size_t some = v[i].size < (size_t)(end - p) ? v[i].size : (size_t)(end - p);
            memcpy(v[i].data, p, some);
            p += some;
            moved += some;
        }
        /* A session that takes nothing would look to a socket like the end of the stream. */
        assert_true(moved > 0);
        gr_session_filled(e->s, moved);
        end_take(e);
    }
    return e->rc == GR_OK ? size - (size_t)(end - p) : size;
}

int end_feed(test_end *e, const void *data, size_t size)
{
    assert_int_equal(end_offer(e, data, size), size);
    return e->rc;
}

int end_feed_bytewise(test_end *e, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        end_feed(e, (const uint8_t *)data + i, 1);
    return e->rc;
}

/* What one write takes; a turn's work may bring nothing to write, and the next one something. */
static size_t drain_turn(test_end *e, test_bytes *to, size_t max)
{
    gr_iov v[IOV_MAX_TEST];
    size_t n;
    size_t moved = 0;
    do {
        turn(e);
        n = gr_session_peek(e->s, v, IOV_MAX_TEST);
    } while (!n && gr_session_more(e->s));
    for (size_t i = 0; i < n && moved < max; i++) {
        size_t some = v[i].size < max - moved ? v[i].size : max - moved;
        bytes_append(to, v[i].data, some);
        moved += some;
    }
    gr_session_consume(e->s, moved);
    return moved;
}

size_t end_drain(test_end *e, test_bytes *to, size_t max)
{
    size_t moved = 0;
    size_t some = 1;
    /* After a fatal code only a refusal may still leave. */
    if (!e->s || (e->rc != GR_OK && e->up))
        return 0;
    while (some && moved < max)
        moved += some = drain_turn(e, to, max - moved);
    end_take(e);
    return moved;
}

int end_eof(test_end *e)
{
    if (e->rc != GR_OK)
        return e->rc;
    gr_session_eof(e->s, GR_EEOF);
    end_take(e);
    return e->rc;
}

int end_tick(test_end *e, uint64_t now)
{
    if (e->rc != GR_OK)
        return e->rc;
    gr_session_clock(e->s, now);
    e->rc = gr_session_tick(e->s);
    if (e->rc == GR_OK && gr_session_is_up(e->s))
        assert_true(gr_session_due(e->s) > now);
    end_take(e);
    return e->rc;
}

static end_event remove_event(test_end *e, size_t i)
{
    assert_true(i < e->count);
    end_event ev = e->events[i];
    e->count--;
    memmove(e->events + i, e->events + i + 1, (e->count - i) * sizeof *e->events);
    return ev;
}

end_event end_expect(test_end *e, gr_event_type type)
{
    end_event ev = remove_event(e, 0);
    assert_int_equal(ev.type, type);
    return ev;
}

end_event end_find(test_end *e, gr_event_type type, uint64_t id)
{
    size_t i = 0;
    while (i < e->count && (e->events[i].type != type || e->events[i].id != id))
        i++;
    return remove_event(e, i);
}

void end_expect_only(test_end *e, gr_event_type type)
{
    end_event ev = end_expect(e, type);
    event_free(&ev);
}

void end_expect_none(const test_end *e)
{
    assert_int_equal(e->count, 0);
}

gr_session_stats end_stats(const test_end *e)
{
    gr_session_stats st;
    gr_session_stats_get(e->s, &st);
    return st;
}

static uintptr_t caller_of(uint64_t id)
{
    return (uintptr_t)(id * 3 + 1);
}

gr_submit submit_of(uint64_t id)
{
    static uint8_t tag[40];
    gr_submit who = {.id = id,
                     .deadline = GR_FOREVER,
                     .caller = caller_of(id),
                     .tag = tag,
                     .tag_size = 1 + (size_t)(id % (sizeof tag - 1))};
    pattern_fill(tag, who.tag_size, id);
    return who;
}

int end_call(test_end *e, uint64_t id, size_t size)
{
    gr_submit who = submit_of(id);
    gr_blob b = mem_blob(e->mem, size, id);
    gr_piece p = {b.data, b.size, b.owner};
    int rc = gr_session_call(e->s, &who, &p, 1);
    mem_unref(e->mem, &b);
    return rc;
}

int end_cast(test_end *e, uint64_t seed, size_t size)
{
    return end_cast_as(e, GR_UNORDERED, seed, size);
}

int end_cast_as(test_end *e, gr_order order, uint64_t seed, size_t size)
{
    gr_blob b = mem_blob(e->mem, size, seed);
    gr_piece p = {b.data, b.size, b.owner};
    int rc = gr_session_cast(e->s, order, &p, 1);
    mem_unref(e->mem, &b);
    return rc;
}

int end_reply(test_end *e, uint64_t id, size_t size)
{
    gr_blob b = mem_blob(e->mem, size, id + 7);
    gr_piece p = {b.data, b.size, b.owner};
    int rc = gr_session_reply(e->s, id, &p, 1);
    mem_unref(e->mem, &b);
    return rc;
}

static void check_reply(end_event *ev, uint64_t id, size_t size)
{
    gr_submit who = submit_of(id);
    assert_int_equal(ev->id, id);
    assert_int_equal(ev->caller, who.caller);
    assert_int_equal(ev->tag.size, who.tag_size);
    assert_true(pattern_matches(ev->tag.data, ev->tag.size, id));
    assert_int_equal(ev->body.size, size);
    assert_true(pattern_matches(ev->body.data, size, id + 7));
    event_free(ev);
}

static void check_request(end_event *ev, uint64_t id, size_t size)
{
    assert_int_equal(ev->id, id);
    assert_int_equal(ev->body.size, size);
    assert_true(pattern_matches(ev->body.data, size, id));
    event_free(ev);
}

void end_expect_reply(test_end *e, uint64_t id, size_t size)
{
    end_event ev = end_expect(e, GR_EV_REPLY);
    check_reply(&ev, id, size);
}

void end_expect_request(test_end *e, uint64_t id, size_t size)
{
    end_event ev = end_expect(e, GR_EV_REQUEST);
    check_request(&ev, id, size);
}

void end_find_reply(test_end *e, uint64_t id, size_t size)
{
    end_event ev = end_find(e, GR_EV_REPLY, id);
    check_reply(&ev, id, size);
}

void end_find_request(test_end *e, uint64_t id, size_t size)
{
    end_event ev = end_find(e, GR_EV_REQUEST, id);
    check_request(&ev, id, size);
}

void end_expect_cast(test_end *e, gr_order order, uint64_t seed, size_t size)
{
    end_event ev = end_expect(e, GR_EV_CAST);
    assert_int_equal(ev.order, order);
    assert_int_equal(ev.body.size, size);
    assert_true(pattern_matches(ev.body.data, size, seed));
    event_free(&ev);
}

void end_expect_cancel(test_end *e, uint64_t id)
{
    end_event ev = end_expect(e, GR_EV_CANCEL);
    assert_int_equal(ev.id, id);
    event_free(&ev);
}
