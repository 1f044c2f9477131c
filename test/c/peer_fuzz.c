/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session whose peer is authentic and hostile: the input says which frames come, right ones, wrong
 * ones and any bytes, how they are cut, and what our own side does meanwhile. What we say stays within
 * the protocol, what we keep within the limits, and every call ends once.
 */
#include <string.h>

#include "cmocka_support.h"
#include "gr_frame.h"
#include "gr_lanes.h"
#include "pair_support.h"
#include "stream_support.h"

#define CALLS_MAX 256u
#define BODY_MAX ((size_t)300000)

/* Buffers and tables of a session that has little to do; and of compression, when it is on. */
#define MEMORY_BASE ((size_t)512 * 1024)
#define MEMORY_DEFLATE ((size_t)2 * 1024 * 1024)

/* A decompressor of a message in fragments. */
#define MEMORY_INFLATE ((size_t)32 * 1024)

typedef enum { UNUSED, WAITING, OPEN, ENDED } call_state;

typedef struct world {
    fuzz_in in;
    test_pair pair;
    test_end *end; /* the session */
    gr_role role;  /* of it */
    gr_session_config cfg;
    stream peer; /* what the peer says */
    frames_log said;
    call_state calls[CALLS_MAX + 1]; /* client: by id */
    uint8_t served[CALLS_MAX + 1];   /* server: whether that request runs; others are not kept */
    uint64_t made;
    size_t submitted; /* bytes of bodies that were submitted, ever, and what each takes beside */
    uint64_t ordered; /* bytes delivered, not yet taken */
} world;

static int is_server(const world *w)
{
    return w->role == GR_SERVER;
}

/* ---- our own side ---- */

static void on_event(void *ctx, test_end *e, gr_event *ev)
{
    world *w = ctx;
    (void)e;
    if (ev->type == GR_EV_REQUEST || ev->type == GR_EV_CAST || ev->type == GR_EV_REPLY)
        assert_true(ev->size <= w->cfg.auth.max_message);
    switch (ev->type) {
    case GR_EV_REQUEST:
        assert_true(is_server(w));
        if (ev->id <= CALLS_MAX) {
            assert_false(w->served[ev->id]);
            w->served[ev->id] = 1;
        }
        break;
    case GR_EV_CAST:
        assert_true(is_server(w));
        break;
    case GR_EV_CANCEL:
        if (ev->id <= CALLS_MAX) {
            assert_true(w->served[ev->id]);
            w->served[ev->id] = 0;
        }
        break;
    case GR_EV_REPLY:
    case GR_EV_TOOBIG:
        assert_in_range(ev->call->id, 1, w->made);
        assert_int_equal(w->calls[ev->call->id], OPEN);
        w->calls[ev->call->id] = ENDED;
        break;
    case GR_EV_READY:
        if (!is_server(w)) {
            assert_in_range(ev->call->id, 1, w->made);
            assert_int_equal(w->calls[ev->call->id], WAITING);
            w->calls[ev->call->id] = ENDED;
        }
        break;
    default:
        assert_null(ev->call);
    }
    if (ev->type == GR_EV_REQUEST || ev->type == GR_EV_CAST)
        w->ordered += ev->order == GR_UNORDERED ? 0 : ev->size;
}

static void check_code(const world *w, int rc)
{
    static const int codes[] = {GR_OK,         GR_EPROTO,    GR_EEOF,      GR_EEOFFRAME,
                                GR_EKEEPALIVE, GR_ESENDTIME, GR_ECLOSETIME};
    fuzz_check_code(&w->pair.mem, rc, codes, COUNT_OF(codes));
}

static void check_submitted(world *w, int rc)
{
    if (rc == GR_EBUSY || rc == GR_ETOOBIG || rc == GR_ECLOSING || rc == GR_ENOENT)
        return;
    check_code(w, rc);
    /* What a submission finds out ends the session as well. */
    if (GR_IS_FATAL(rc) && w->end->rc == GR_OK)
        w->end->rc = rc;
}

/* A body that compresses, or one that does not. */
static gr_blob body_of(world *w, size_t size)
{
    gr_blob b = mem_blob(&w->pair.mem, size, fuzz_byte(&w->in));
    if (size > 100 && b.data[0] & 1)
        memset(b.data + 50, b.data[1], size - 50);
    w->submitted += size + 1024;
    return b;
}

static void submit_call(world *w)
{
    if (w->made == CALLS_MAX)
        return;
    gr_submit who = submit_of(++w->made);
    size_t size = fuzz_size(&w->in, BODY_MAX);
    uint8_t how = fuzz_byte(&w->in);
    who.order = how & 1 ? GR_BROADCAST : GR_UNORDERED;
    who.deadline = how & 2 ? w->pair.now + how : GR_FOREVER;
    int rc = gr_session_admit(w->end->s, &who, size);
    w->calls[who.id] = rc == GR_EBUSY ? WAITING : ENDED;
    if (rc == GR_OK) {
        gr_blob b = body_of(w, size);
        gr_piece p[] = {{b.data, size / 3, NULL}, {b.data + size / 3, size - size / 3, b.owner}};
        rc = gr_session_call(w->end->s, &who, p, 2);
        mem_unref(&w->pair.mem, &b);
        w->calls[who.id] = rc == GR_OK ? OPEN : ENDED;
    }
    check_submitted(w, rc);
}

static void submit_cast(world *w)
{
    gr_order order = (gr_order)fuzz_below(&w->in, 3);
    size_t size = fuzz_size(&w->in, BODY_MAX);
    gr_blob b = body_of(w, size);
    gr_piece p = {b.data, size, b.owner};
    check_submitted(w, gr_session_cast(w->end->s, order, &p, 1));
    mem_unref(&w->pair.mem, &b);
}

static void reply(world *w)
{
    uint64_t id = fuzz_byte(&w->in);
    size_t size = fuzz_size(&w->in, BODY_MAX);
    gr_blob b = body_of(w, size);
    gr_piece p = {b.data, size, b.owner};
    int rc = gr_session_reply(w->end->s, id, &p, 1);
    if (w->end->rc == GR_OK && !GR_IS_FATAL(rc))
        assert_int_equal(rc == GR_ENOENT, !w->served[id]);
    check_submitted(w, rc);
    w->served[id] = 0;
    mem_unref(&w->pair.mem, &b);
}

static void cancel(world *w)
{
    uint64_t id = fuzz_byte(&w->in);
    int rc = gr_session_cancel(w->end->s, id);
    int known = w->calls[id] == OPEN || w->calls[id] == WAITING;
    assert_rc(rc, known ? GR_OK : GR_ENOENT);
    w->calls[id] = known ? ENDED : w->calls[id];
}

static void submit(world *w)
{
    uint8_t what = fuzz_byte(&w->in);
    if (is_server(w))
        reply(w);
    else if (what < 120)
        submit_call(w);
    else if (what < 180)
        submit_cast(w);
    else
        cancel(w);
}

static void pass_time(world *w)
{
    w->pair.now += fuzz_size(&w->in, 100000);
    end_tick(w->end, w->pair.now);
}

static void hold(world *w)
{
    gr_session_hold(w->end->s, (gr_hold)fuzz_below(&w->in, 3));
    end_take(w->end);
}

static void taken(world *w)
{
    uint8_t messages = fuzz_byte(&w->in);
    gr_session_taken(w->end->s, messages, w->ordered);
    w->ordered = 0;
    end_take(w->end);
}

static void control(world *w)
{
    uint8_t what = fuzz_byte(&w->in);
    if (what < 60)
        gr_session_trim(w->end->s);
    else if (what < 120)
        check_submitted(w, gr_session_close(w->end->s, what * 10u, what & 1));
    else if (what < 180)
        gr_session_below(w->end->s, what & 3);
    else if (what < 200)
        end_eof(w->end);
    else
        fuzz_fail_alloc(&w->in, &w->pair.mem);
}

/* What was said on that lane, as the protocol counts it. */
static uint64_t said_on(const world *w, unsigned lane)
{
    uint64_t n = 0;
    if (lane == GR_LANE_LARGE)
        return w->said.fragments;
    for (size_t i = 0; i < w->said.count; i++) {
        const frame_seen *f = &w->said.frames[i];
        if (f->type != FT_REQUEST && f->type != FT_CAST && f->type != FT_CANCEL)
            continue;
        if (lane == GR_LANE_ORDERED && f->flags & FF_ORDERED)
            n += GR_FRAME_CHARGE + (f->whole ? f->whole : f->size);
        else if (lane == GR_LANE_SMALL && !(f->flags & (FF_ORDERED | FF_LARGE)))
            n += GR_FRAME_CHARGE + f->wire + (f->whole > f->size ? f->whole - f->size : 0);
    }
    return n;
}

static void put_window(world *w)
{
    uint8_t how = fuzz_byte(&w->in);
    frame_seen f = {.type = FT_WINDOW, .slot = how % 3};
    f.id = how < 0x80   ? said_on(w, f.slot)
           : how < 0xc0 ? said_on(w, f.slot) - fuzz_byte(&w->in)
                        : fuzz_int(&w->in, 8);
    frames_put(&w->peer.wire, &f);
}

/* ---- the link ---- */

static void feed(world *w, size_t size)
{
    size_t n = size < w->peer.wire.size ? size : w->peer.wire.size;
    if (n)
        bytes_drop(&w->peer.wire, end_offer(w->end, w->peer.wire.data, n));
}

/* What we say is a stream of right frames, whatever is said to us. */
static void drain(world *w, size_t size)
{
    test_bytes out = {0};
    end_drain(w->end, &out, size);
    if (out.size)
        frames_feed(&w->said, out.data, out.size);
    bytes_free(&out);
    for (size_t i = 0; i < w->said.messages_count; i++)
        bytes_free(&w->said.messages[i].body);
    w->said.messages_count = 0;
}

static void step(world *w)
{
    static void (*const own[])(world *) = {submit, put_window, submit,  hold,
                                           taken,  pass_time,  control, put_window};
    uint8_t what = fuzz_byte(&w->in);
    w->peer.now = w->pair.now;
    if (what < 0x40)
        feed(w, fuzz_size(&w->in, 1000000));
    else if (what < 0x60)
        drain(w, fuzz_size(&w->in, 1000000));
    else if (what < 0xc0)
        stream_put(&w->peer);
    else
        own[what % COUNT_OF(own)](w);
}

/* ---- a life ---- */

static void configure(world *w)
{
    static const uint64_t messages[] = {1024 * 1024, 100000, 20000, 1000};
    uint8_t how = fuzz_byte(&w->in);
    w->role = how & 1 ? GR_SERVER : GR_CLIENT;
    w->cfg = end_config(w->role);
    w->cfg.auth.max_message = messages[how >> 1 & 3];
    w->cfg.frame_max = how & 8 ? GR_SESSION_FRAME_MIN : GR_SESSION_FRAME_MAX;
    w->cfg.compress = how & 16 ? 1 + how % 9 : 0;
    w->cfg.compress_context = how & 32;
    w->cfg.compress_min = how & 64 ? 1 : 1000;
    if (how & 128)
        w->cfg.send_timeout = w->cfg.keepalive_interval = w->cfg.idle_timeout = 4000;
    how = fuzz_byte(&w->in);
    w->cfg.output_limit = how & 1 ? 1000 : 100000;
    w->cfg.hold_pause = how & 2 ? 20 : 0;
    w->cfg.read_max = how & 4 ? 1 : 0;
}

static void open_world(world *w)
{
    gr_session_config other = end_config(w->role == GR_CLIENT ? GR_SERVER : GR_CLIENT);
    int client = w->role == GR_CLIENT;
    pair_open_up(&w->pair, client ? &w->cfg : &other, client ? &other : &w->cfg);
    w->end = client ? &w->pair.client : &w->pair.server;
    end_close(client ? &w->pair.server : &w->pair.client);
    w->end->hook = on_event;
    w->end->ctx = w;
    w->pair.mem.peak = w->pair.mem.bytes;
    stream_open(&w->peer, &w->in, is_server(w));
}

/* Messages being put together, requests that are held, what we submitted, and frames of control. */
static void check_memory(const world *w)
{
    size_t most = MEMORY_BASE + w->submitted + (size_t)w->cfg.auth.max_message +
                  2 * (size_t)w->cfg.output_limit + 8 * w->cfg.frame_max +
                  GR_SLOTS * MEMORY_INFLATE + w->peer.messages * 2 * sizeof(gr_call);
    if (w->cfg.compress)
        most += MEMORY_DEFLATE;
    if (is_server(w))
        most += (size_t)GR_SMALL_WINDOW + GR_ORDERED_WINDOW + (size_t)w->cfg.auth.max_message;
    assert_true(w->pair.mem.peak <= most);
}

/* Every call that has not ended is handed back, once. */
static void settle(world *w)
{
    gr_call *c;
    while ((c = gr_session_take(w->end->s)) != NULL) {
        if (!is_server(w)) {
            assert_in_range(c->id, 1, w->made);
            assert_true(w->calls[c->id] == OPEN || w->calls[c->id] == WAITING);
            w->calls[c->id] = ENDED;
        }
        gr_session_free_call(w->end->s, c);
    }
    for (size_t i = 1; i <= w->made; i++)
        assert_int_equal(w->calls[i], ENDED);
}

static void close_world(world *w)
{
    stream_close(&w->peer);
    frames_free(&w->said);
    pair_close(&w->pair);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static world w;
    memset(&w, 0, sizeof w);
    w.in = (fuzz_in){data, size};
    configure(&w);
    open_world(&w);
    while (w.in.size && w.end->rc == GR_OK)
        step(&w);
    w.pair.mem.fail_at = 0;
    feed(&w, SIZE_MAX);
    drain(&w, SIZE_MAX);
    check_code(&w, w.end->rc);
    check_memory(&w);
    settle(&w);
    close_world(&w);
    return 0;
}
