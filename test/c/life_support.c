/* SPDX-License-Identifier: Apache-2.0 */
/* What callers, workers, the link and the clock do in a life, and the ledger of it. */
#include "life_support.h"

#include <string.h>

#include "cmocka_support.h"
#include "gr_frame.h"
#include "pair_support.h"

#define STEPS 400u
#define MANY ((size_t)STEPS)
#define MAX_MESSAGE 200000u
#define SIZE_TRIED 220000u
#define IDLE_TIMEOUT 500u
#define FRAME_RANGE (GR_SESSION_FRAME_MAX - GR_SESSION_FRAME_MIN + 1)

/* Submitters of casts that wait for room have ids of their own. */
#define CAST_ID (UINT64_C(1) << 40)

typedef enum { UNUSED, WAITING, OPEN, ENDED } call_state;

typedef struct call_entry {
    call_state state;
    gr_order order;
    size_t ask;        /* size of the request */
    size_t answer;     /* size of the reply */
    uint64_t deadline; /* its caller cancels then */
    size_t turn;       /* ordered: which one of those that were ever submitted */
    int orphan;        /* its caller has died without a word */
    int arrived;       /* whether the server has seen it */
    int replied;       /* whether the server has answered it */
    int cancelled;     /* whether the server was told that nobody waits */
} call_entry;

typedef struct cast_entry {
    gr_order order;
    size_t size;
    size_t turn; /* as above; of small unordered ones: among these */
    int sent;
    int seen;
} cast_entry;

/* An ordered message, as it was submitted. */
typedef struct ordered_entry {
    uint64_t id; /* of a call; 0: it is a cast */
} ordered_entry;

typedef struct world {
    test_pair pair;
    const life_dice *dice;
    call_entry calls[MANY];
    size_t made;
    cast_entry casts[MANY];
    size_t casts_made;
    size_t small_sent; /* small unordered casts */
    size_t small_seen;
    ordered_entry ordered[2 * MANY];
    size_t ordered_made;
    size_t ordered_seen;    /* up to which they have come, or never will */
    uint64_t serving[MANY]; /* ids of requests that run on the server */
    size_t serving_count;
    size_t untaken[2 * MANY]; /* sizes of ordered messages that nothing runs yet, oldest first */
    size_t untaken_count;
    gr_hold hold;
    size_t deaths;
    int closing;  /* whether a side has begun to close */
    int cut;      /* whether the link was cut */
    int can_idle; /* whether it has an idle timeout */
} world;

size_t life_seen[LIFE_KINDS];

static uint64_t dice(world *w, uint64_t n)
{
    return w->dice->below(w->dice->ctx, n);
}

static call_entry *entry_of(world *w, uint64_t id)
{
    assert_true(id >= 1 && id <= w->made);
    return &w->calls[id - 1];
}

/* As prng_size. */
static size_t dice_size(world *w, size_t max)
{
    unsigned bits = 0;
    while (bits < 63 && max >> bits)
        bits++;
    size_t n = (size_t)dice(w, UINT64_C(1) << dice(w, bits + 1));
    return n < max ? n : max;
}

/* Of every order of magnitude; large ones more often than that, so that some are under way together. */
static size_t random_size(world *w)
{
    return dice(w, 4) ? dice_size(w, SIZE_TRIED) : (size_t)dice(w, SIZE_TRIED);
}

/* ---- the callers ---- */

static gr_submit submitter(world *w, uint64_t id)
{
    gr_submit who = submit_of(id);
    who.deadline = entry_of(w, id)->deadline;
    who.order = entry_of(w, id)->order;
    return who;
}

/* What submit_of makes of an id. */
static int alive(void *ctx, uintptr_t caller)
{
    world *w = ctx;
    uint64_t id = (caller - 1) / 3;
    return id >= CAST_ID || !entry_of(w, id)->orphan;
}

/* An ordered message gets its turn when it is submitted. */
static size_t next_turn(world *w, gr_order order, uint64_t id)
{
    if (order != GR_UNORDERED)
        w->ordered[w->ordered_made++].id = id;
    return w->ordered_made - 1;
}

static void check_refusal(world *w, int rc, size_t size)
{
    if (rc == GR_ETOOBIG)
        assert_true(size > MAX_MESSAGE);
    else if (rc == GR_ECLOSING)
        assert_true(w->closing);
    else
        assert_true(rc == GR_OK || rc == GR_EBUSY);
}

/* Tries to get a call on its way; also after it was woken. */
static void try_call(world *w, uint64_t id)
{
    call_entry *c = entry_of(w, id);
    gr_submit who = submitter(w, id);
    int rc = gr_session_admit(w->pair.client.s, &who, c->ask);
    c->state = rc == GR_EBUSY ? WAITING : ENDED;
    life_seen[LIFE_BUSY] += rc == GR_EBUSY;
    life_seen[LIFE_REFUSED] += rc == GR_ECLOSING;
    check_refusal(w, rc, c->ask);
    if (rc != GR_OK)
        return;
    gr_blob b = mem_blob(&w->pair.mem, c->ask, id);
    size_t half = c->ask / 2;
    gr_piece p[] = {{b.data, half, NULL}, {b.data + half, c->ask - half, b.owner}};
    c->state = OPEN;
    c->turn = next_turn(w, c->order, id);
    assert_rc(gr_session_call(w->pair.client.s, &who, p, 2), GR_OK);
    mem_unref(&w->pair.mem, &b);
}

static int client_is_up(const world *w)
{
    return w->pair.client.rc == GR_OK && w->pair.client.up;
}

static void new_call(world *w)
{
    if (w->made == MANY || !client_is_up(w))
        return;
    call_entry *c = &w->calls[w->made++];
    memset(c, 0, sizeof *c);
    c->ask = random_size(w);
    c->answer = random_size(w);
    c->deadline = dice(w, 3) ? GR_FOREVER : w->pair.now + dice(w, 3000);
    c->order = dice(w, 8) ? GR_UNORDERED : GR_BROADCAST;
    try_call(w, w->made);
}

/* With its number in its first bytes. */
static void send_cast(world *w, size_t number)
{
    cast_entry *c = &w->casts[number];
    gr_blob b = mem_blob(&w->pair.mem, c->size, number);
    memcpy(b.data, &number, sizeof number);
    gr_piece p[] = {{b.data, sizeof number, NULL},
                    {b.data + sizeof number, c->size - sizeof number, b.owner}};
    int rc = gr_session_cast(w->pair.client.s, c->order, p, 2);
    mem_unref(&w->pair.mem, &b);
    check_refusal(w, rc, c->size);
    assert_true(rc != GR_EBUSY);
    if (rc != GR_OK)
        return;
    c->sent = 1;
    c->turn = next_turn(w, c->order, 0);
    if (c->order == GR_UNORDERED && c->size <= GR_SMALL_MAX)
        c->turn = w->small_sent++;
    life_seen[LIFE_CASTS]++;
    life_seen[LIFE_LARGE_CASTS] += c->order == GR_UNORDERED && c->size > GR_SMALL_MAX;
    life_seen[LIFE_ORDERED] += c->order != GR_UNORDERED;
    life_seen[LIFE_LARGE_ORDERED] += c->order != GR_UNORDERED && c->size > GR_SMALL_MAX;
}

static void try_cast(world *w, size_t number)
{
    cast_entry *c = &w->casts[number];
    gr_submit who = submit_of(CAST_ID + number);
    who.cast = 1;
    who.order = c->order;
    int rc = gr_session_admit(w->pair.client.s, &who, c->size);
    check_refusal(w, rc, c->size);
    life_seen[LIFE_CASTS_BUSY] += rc == GR_EBUSY;
    if (rc == GR_OK)
        send_cast(w, number);
}

/* Some do not ask whether there is room. */
static void new_cast(world *w)
{
    if (w->casts_made == MANY || !client_is_up(w))
        return;
    cast_entry *c = &w->casts[w->casts_made++];
    memset(c, 0, sizeof *c);
    c->size = sizeof(size_t) + random_size(w);
    c->order = dice(w, 2) ? (gr_order)dice(w, 3) : GR_UNORDERED;
    if (dice(w, 4))
        try_cast(w, w->casts_made - 1);
    else
        send_cast(w, w->casts_made - 1);
}

/* What has not ended can be cancelled, and what has cannot. */
static void cancel(world *w, uint64_t id)
{
    call_entry *c = entry_of(w, id);
    int rc = gr_session_cancel(w->pair.client.s, id);
    if (c->orphan)
        assert_true(rc == GR_OK || rc == GR_ENOENT);
    else
        assert_rc(rc, c->state == ENDED ? GR_ENOENT : GR_OK);
    c->state = ENDED;
    life_seen[LIFE_CANCELLED] += rc == GR_OK;
}

static void cancel_overdue(world *w)
{
    for (uint64_t id = 1; id <= w->made && w->pair.client.rc == GR_OK; id++) {
        const call_entry *c = &w->calls[id - 1];
        if (c->state != ENDED && !c->orphan && c->deadline <= w->pair.now)
            cancel(w, id);
    }
}

static void on_ready(world *w, uint64_t id)
{
    if (id >= CAST_ID) {
        try_cast(w, (size_t)(id - CAST_ID));
        return;
    }
    call_entry *c = entry_of(w, id);
    assert_int_equal(c->state, WAITING);
    /* The dead do not try again. */
    if (c->orphan)
        c->state = ENDED;
    else
        try_call(w, id);
}

static void on_client_event(void *ctx, test_end *e, gr_event *ev)
{
    world *w = ctx;
    (void)e;
    life_seen[LIFE_IDLE] += ev->type == GR_EV_IDLE;
    if (!ev->call)
        return;
    uint64_t id = ev->call->id;
    gr_submit who = submit_of(id);
    assert_int_equal(ev->call->caller, who.caller);
    assert_int_equal(ev->call->tag_size, who.tag_size);
    assert_memory_equal(ev->call->tag, who.tag, who.tag_size);
    if (ev->type == GR_EV_READY) {
        on_ready(w, id);
        return;
    }
    call_entry *c = entry_of(w, id);
    assert_int_equal(c->state, OPEN);
    assert_true(c->replied);
    c->state = ENDED;
    life_seen[ev->type == GR_EV_TOOBIG ? LIFE_TOO_BIG : LIFE_REPLIES]++;
    if (ev->type == GR_EV_TOOBIG) {
        assert_int_equal(ev->too_big_size, c->answer);
        assert_int_equal(ev->too_big_limit, MAX_MESSAGE);
        return;
    }
    assert_int_equal(ev->type, GR_EV_REPLY);
    assert_int_equal(ev->size, c->answer);
    assert_true(pattern_matches(ev->data, ev->size, id + 7));
    life_seen[LIFE_LARGE_REPLIES] += ev->size > GR_SMALL_MAX;
}

/* ---- the workers ---- */

/* A caller that has given up is told nothing, and the server knows that. */
static void try_reply(world *w, uint64_t id)
{
    call_entry *c = entry_of(w, id);
    gr_submit who = submit_of(id);
    int rc = gr_session_admit(w->pair.server.s, &who, c->answer);
    if (rc == GR_EBUSY)
        return;
    assert_rc(rc, GR_OK);
    assert_false(c->replied);
    c->replied = 1;
    rc = end_reply(&w->pair.server, id, c->answer);
    if (c->cancelled)
        assert_rc(rc, GR_ENOENT);
    else
        assert_rc(rc, c->answer > MAX_MESSAGE ? GR_ETOOBIG : GR_OK);
}

static void finish_one(world *w)
{
    if (!w->serving_count || w->pair.server.rc != GR_OK)
        return;
    size_t i = (size_t)dice(w, w->serving_count);
    uint64_t id = w->serving[i];
    w->serving[i] = w->serving[--w->serving_count];
    try_reply(w, id);
}

/* What runs ordered messages begins with the oldest. */
static void take_one(world *w)
{
    if (!w->untaken_count)
        return;
    gr_session_taken(w->pair.server.s, 1, w->untaken[0]);
    memmove(w->untaken, w->untaken + 1, --w->untaken_count * sizeof w->untaken[0]);
}

/* In its turn; only calls can have been given up before it. */
static void on_ordered(world *w, const gr_event *ev, size_t turn)
{
    assert_true(turn >= w->ordered_seen && turn < w->ordered_made);
    for (size_t i = w->ordered_seen; i < turn; i++) {
        assert_true(w->ordered[i].id != 0);
        const call_entry *c = entry_of(w, w->ordered[i].id);
        assert_true(c->state == ENDED || c->orphan);
    }
    w->ordered_seen = turn + 1;
    w->untaken[w->untaken_count++] = ev->size;
}

static void on_cast(world *w, const gr_event *ev)
{
    size_t number;
    /* The last one of all. */
    if (!ev->size)
        return;
    assert_true(ev->size >= sizeof number);
    memcpy(&number, ev->data, sizeof number);
    assert_true(number < w->casts_made);
    cast_entry *c = &w->casts[number];
    assert_true(c->sent && !c->seen);
    c->seen = 1;
    assert_int_equal(ev->order, c->order);
    assert_int_equal(ev->size, c->size);
    for (size_t i = sizeof number; i < ev->size; i++)
        if (ev->data[i] != pattern_at(number, i))
            fail_msg("cast %zu differs at %zu", number, i);
    if (c->order != GR_UNORDERED) {
        on_ordered(w, ev, c->turn);
    } else if (c->size <= GR_SMALL_MAX) {
        assert_int_equal(c->turn, w->small_seen);
        w->small_seen++;
    }
}

static void on_request(world *w, const gr_event *ev)
{
    call_entry *c = entry_of(w, ev->id);
    assert_false(c->arrived);
    assert_true(c->state == OPEN || c->state == ENDED);
    c->arrived = 1;
    assert_int_equal(ev->order, c->order);
    assert_int_equal(ev->size, c->ask);
    assert_true(pattern_matches(ev->data, ev->size, ev->id));
    w->serving[w->serving_count++] = ev->id;
    if (c->order == GR_UNORDERED)
        return;
    on_ordered(w, ev, c->turn);
    life_seen[LIFE_ORDERED_CALLS]++;
}

/* Only of what was delivered, once, and when the caller has indeed given up. */
static void on_cancel(world *w, const gr_event *ev)
{
    call_entry *c = entry_of(w, ev->id);
    assert_true(c->arrived && !c->replied && !c->cancelled);
    assert_true(c->state == ENDED || c->orphan);
    c->cancelled = 1;
    life_seen[LIFE_CANCEL_TOLD]++;
}

static void on_server_event(void *ctx, test_end *e, gr_event *ev)
{
    world *w = ctx;
    (void)e;
    int is_message = ev->type == GR_EV_REQUEST || ev->type == GR_EV_CAST;
    assert_false(is_message && w->hold == GR_HOLD_ALL);
    assert_false(is_message && w->hold != GR_HOLD_NONE && ev->order == GR_UNORDERED);
    if (ev->type == GR_EV_READY)
        try_reply(w, ev->call->id);
    else if (ev->type == GR_EV_CAST)
        on_cast(w, ev);
    else if (ev->type == GR_EV_REQUEST)
        on_request(w, ev);
    else if (ev->type == GR_EV_CANCEL)
        on_cancel(w, ev);
}

/* ---- the link and the clock ---- */

static void move_some(world *w)
{
    test_pair *p = &w->pair;
    for (uint64_t n = dice(w, 6); n; n--) {
        switch (dice(w, 4)) {
        case 0:
            link_send(p, &p->client, &p->up);
            break;
        case 1:
            link_deliver(p, &p->up, &p->server);
            break;
        case 2:
            link_send(p, &p->server, &p->down);
            break;
        default:
            link_deliver(p, &p->down, &p->client);
        }
    }
}

/* Callers whose time is up cancel before anything else happens at that time, as real ones do. */
static void pass_time(world *w)
{
    pair_clock(&w->pair, w->pair.now + dice(w, 200));
    cancel_overdue(w);
    end_tick(&w->pair.client, w->pair.now);
    end_tick(&w->pair.server, w->pair.now);
}

/* What was on its way is lost, from some byte on. */
static void cut_link(world *w)
{
    test_pair *p = &w->pair;
    w->cut = 1;
    p->up.bytes.size = (size_t)dice(w, p->up.bytes.size + 1);
    p->down.bytes.size = (size_t)dice(w, p->down.bytes.size + 1);
    end_feed(&p->client, p->down.bytes.data, p->down.bytes.size);
    size_t fed = end_offer(&p->server, p->up.bytes.data, p->up.bytes.size);
    while (gr_session_is_paused(p->server.s) && p->server.rc == GR_OK) {
        pass_time(w);
        fed += end_offer(&p->server, p->up.bytes.data + fed, p->up.bytes.size - fed);
    }
    end_eof(&p->server);
    end_eof(&p->client);
}

static void begin_close(world *w)
{
    test_end *e = dice(w, 2) ? &w->pair.client : &w->pair.server;
    if (e->rc != GR_OK || !e->up)
        return;
    int rc = gr_session_close(e->s, 5000 + dice(w, 20000), dice(w, 2) == 0);
    assert_true(rc == GR_OK || rc == GR_EBUSY);
    w->closing |= rc == GR_OK;
}

/* The server holds back for a while at random, and while too many replies wait. */
static void set_hold(world *w, int on)
{
    w->hold = on ? (gr_hold)(1 + dice(w, 2)) : GR_HOLD_NONE;
    if (gr_session_is_congested(w->pair.server.s))
        w->hold = GR_HOLD_ALL;
    gr_session_hold(w->pair.server.s, w->hold);
    life_seen[LIFE_HELD] += end_stats(&w->pair.server).held > 0;
    life_seen[LIFE_PAUSED] += gr_session_is_paused(w->pair.server.s) && w->pair.up.bytes.size;
}

/* A caller dies without a word. */
static void die(world *w)
{
    if (!w->made)
        return;
    call_entry *c = entry_of(w, 1 + dice(w, w->made));
    if (c->state == ENDED)
        return;
    c->orphan = 1;
    w->deaths++;
    life_seen[LIFE_ORPHANS]++;
}

static void step(world *w)
{
    uint64_t d = dice(w, 100);
    if (d < 15)
        new_call(w);
    else if (d < 25)
        new_cast(w);
    else if (d < 40)
        finish_one(w);
    else if (d < 43 && w->made && w->pair.client.rc == GR_OK)
        cancel(w, 1 + dice(w, w->made));
    else if (d < 46)
        pass_time(w);
    else if (d == 46 && dice(w, 8) == 0)
        begin_close(w);
    else if (d < 50)
        set_hold(w, dice(w, 3) == 0);
    else if (d < 60)
        take_one(w);
    else if (d == 60)
        die(w);
    else
        move_some(w);
    if (w->hold && dice(w, 30) == 0)
        set_hold(w, 0);
}

/* ---- a life ---- */

static void configure(world *w, gr_session_config *c)
{
    static const int levels[] = {0, 1, 6};
    static const size_t thresholds[] = {1, 1000, 20000};
    c->auth_timeout = GR_FOREVER;
    c->frame_max = dice(w, 4) ? GR_SESSION_FRAME_MIN + dice(w, FRAME_RANGE) : GR_SESSION_FRAME_MAX;
    c->output_limit = 1000 + dice(w, 200000);
    c->compress = levels[dice(w, COUNT_OF(levels))];
    c->compress_context = dice(w, 2) != 0;
    c->compress_min = thresholds[dice(w, COUNT_OF(thresholds))];
    c->alive = alive;
    c->alive_ctx = w;
}

static void open_world(world *w, const life_dice *from)
{
    gr_session_config c = end_config(GR_CLIENT);
    gr_session_config s = end_config(GR_SERVER);
    memset(w, 0, sizeof *w);
    w->dice = from;
    configure(w, &c);
    configure(w, &s);
    c.auth.max_message = MAX_MESSAGE;
    s.auth.max_message = MAX_MESSAGE + dice(w, 2) * 100000;
    if (dice(w, 2))
        c.keepalive_interval = s.keepalive_interval = c.send_timeout = s.send_timeout = 4000;
    w->can_idle = dice(w, 2) != 0;
    if (w->can_idle)
        c.idle_timeout = s.idle_timeout = IDLE_TIMEOUT;
    s.hold_pause = dice(w, 3) * 300;
    pair_open(&w->pair, &c, &s);
    w->pair.prng = from->cuts;
    w->pair.chunk = 1 + dice_size(w, 300000);
    w->pair.client.hook = on_client_event;
    w->pair.server.hook = on_server_event;
    w->pair.client.ctx = w->pair.server.ctx = w;
}

static int dead(const world *w)
{
    return w->pair.client.rc != GR_OK || w->pair.server.rc != GR_OK || w->cut;
}

/* Until nothing moves any more. */
static void finish_all(world *w)
{
    test_pair *p = &w->pair;
    int busy = 1;
    while (busy) {
        set_hold(w, 0);
        pair_pump(p);
        busy = w->serving_count || w->untaken_count || w->hold;
        while (w->serving_count)
            finish_one(w);
        while (w->untaken_count)
            take_one(w);
        /* The dead are noticed within a second; room that they were woken for is then given to others. */
        gr_session_stats st = end_stats(&p->client);
        if (!busy && w->deaths && st.waiting + st.calls) {
            pair_advance(p, 1000);
            cancel_overdue(w);
            busy = 1;
        }
    }
}

/* Lets all that is under way finish, and closes. */
static void finish_in_peace(world *w)
{
    test_pair *p = &w->pair;
    p->chunk = 0;
    p->prng = 0;
    finish_all(w);
    gr_session_stats c = end_stats(&p->client);
    gr_session_stats s = end_stats(&p->server);
    assert_int_equal(c.waiting + c.calls + c.output, 0);
    assert_int_equal(s.waiting + s.served + s.output + s.held, 0);
    for (size_t i = 0; i < w->casts_made; i++)
        assert_int_equal(w->casts[i].seen, w->casts[i].sent);
    /* When nothing is under way any more, whoever can get idle does. */
    size_t idle = life_seen[LIFE_IDLE];
    if (!w->closing)
        assert_rc(gr_session_cast(p->client.s, GR_UNORDERED, NULL, 0), GR_OK);
    pair_pump(p);
    pair_advance(p, IDLE_TIMEOUT);
    assert_int_equal(life_seen[LIFE_IDLE] > idle, w->can_idle && !w->closing);
    w->closing = 1;
    assert_rc(gr_session_close(dice(w, 2) ? p->client.s : p->server.s, 1000, 0), GR_OK);
    pair_pump(p);
    assert_true(p->server.ended);
    end_eof(&p->client);
    assert_true(p->client.ended);
}

/* Only the kinds of end that this life can bring. */
static void check_code(int rc)
{
    static const int possible[] = {GR_OK,         GR_EEOF,      GR_EEOFFRAME,
                                   GR_EKEEPALIVE, GR_ESENDTIME, GR_ECLOSETIME};
    for (size_t i = 0; i < COUNT_OF(possible); i++)
        if (rc == possible[i])
            return;
    fail_msg("ended with %s", gr_error_name(rc));
}

static void take_back(world *w, gr_call *taken)
{
    int sent = gr_session_was_sent(w->pair.client.s, taken);
    if (taken->id >= CAST_ID) {
        const cast_entry *c = &w->casts[taken->id - CAST_ID];
        assert_true(!sent && !c->sent);
        return;
    }
    call_entry *c = entry_of(w, taken->id);
    assert_true(c->state == WAITING || c->state == OPEN);
    assert_true(c->state == OPEN || !sent);
    /* What the server has seen has been sent; what has been sent may have been lost. */
    assert_true(sent || !c->arrived);
    c->state = ENDED;
    life_seen[sent ? LIFE_LOST : LIFE_UNSENT]++;
}

/* What is handed back must be what had not ended; the rest must have. */
static void settle(world *w)
{
    gr_session *s = w->pair.client.s;
    gr_call *taken;
    while ((taken = gr_session_take(s)) != NULL) {
        take_back(w, taken);
        gr_session_free_call(s, taken);
    }
    for (size_t i = 0; i < w->made; i++)
        assert_true(w->calls[i].state == ENDED || w->calls[i].orphan);
    gr_session_stats c = end_stats(&w->pair.client);
    gr_session_stats v = end_stats(&w->pair.server);
    life_seen[LIFE_LATE] += c.late;
    life_seen[LIFE_TOO_LATE] += v.too_late;
    life_seen[LIFE_ABORTED] += c.aborted + v.aborted;
    life_seen[LIFE_DEFLATED] += c.deflate_in + v.deflate_in > 0;
    life_seen[LIFE_PEACE] += w->pair.client.ended != 0;
    life_seen[LIFE_CUT] += w->cut != 0;
}

void life_run(const life_dice *from)
{
    static world the_world;
    world *w = &the_world;
    open_world(w, from);
    size_t cut_at = dice(w, 3) ? SIZE_MAX : (size_t)dice(w, STEPS);
    for (size_t i = 0; i < STEPS && !dead(w) && from->goes_on(from->ctx); i++)
        if (i == cut_at)
            cut_link(w);
        else
            step(w);
    if (!dead(w))
        finish_in_peace(w);
    check_code(w->pair.client.rc);
    check_code(w->pair.server.rc);
    settle(w);
    pair_close(&w->pair);
}
