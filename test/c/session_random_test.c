/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random lives of two sessions against a ledger: every call ends exactly once, with its own reply,
 * whatever is cut, cancelled, refused, closed or lost on the way. A failure names its seed.
 */
#include <stdlib.h>
#include <string.h>

#include "cmocka_support.h"
#include "pair_support.h"

#define SEEDS 800u
#define STEPS 400u
#define CALLS_MAX ((size_t)STEPS)
#define MAX_MESSAGE 40000u
#define SIZE_TRIED 50000u
#define IDLE_TIMEOUT 500u

typedef enum { UNUSED, WAITING, OPEN, ENDED } call_state;

typedef struct call_entry {
    call_state state;
    size_t ask;        /* size of the request */
    size_t answer;     /* size of the reply */
    uint64_t deadline; /* its caller cancels then */
    uint64_t start;    /* offset of its frame in the client's output */
    int arrived;       /* whether the server has seen it */
    int replied;       /* whether the server has answered it */
} call_entry;

typedef struct world {
    test_pair pair;
    uint64_t prng;
    call_entry calls[CALLS_MAX];
    size_t made;
    uint64_t serving[CALLS_MAX]; /* ids of requests that run on the server */
    size_t serving_count;
    size_t casts_sent;
    size_t casts_seen;
    int closing;  /* whether a side has begun to close */
    int cut;      /* whether the link was cut */
    int can_idle; /* whether it has an idle timeout */
} world;

/* How calls and lives ended, all seeds together: no kind may go missing unnoticed. */
enum { REPLIES, TOO_BIG, BUSY, REFUSED, CANCELLED, LOST, UNSENT, LATE, IDLE, PEACE, CUT, KINDS };
static size_t seen[KINDS];
static uint64_t seed; /* of the life that runs */

static uint64_t dice(world *w, uint64_t n)
{
    return prng_below(&w->prng, n);
}

static call_entry *entry_of(world *w, uint64_t id)
{
    assert_true(id >= 1 && id <= w->made);
    return &w->calls[id - 1];
}

static size_t cast_size(size_t number)
{
    return number * 977 % 30000;
}

/* ---- the callers ---- */

static gr_submit submitter(world *w, uint64_t id)
{
    gr_submit who = submit_of(id);
    who.deadline = entry_of(w, id)->deadline;
    return who;
}

/* Tries to get a call on its way; also after it was woken. */
static void try_call(world *w, uint64_t id)
{
    call_entry *c = entry_of(w, id);
    gr_submit who = submitter(w, id);
    int rc = gr_session_admit(w->pair.client.s, &who, c->ask);
    c->state = rc == GR_EBUSY ? WAITING : ENDED;
    seen[BUSY] += rc == GR_EBUSY;
    seen[REFUSED] += rc == GR_ECLOSING;
    if (rc == GR_ETOOBIG)
        assert_true(c->ask > MAX_MESSAGE);
    else if (rc == GR_ECLOSING)
        assert_true(w->closing);
    else
        assert_true(rc == GR_OK || rc == GR_EBUSY);
    if (rc != GR_OK)
        return;
    gr_session_stats st = end_stats(&w->pair.client);
    gr_blob b = mem_blob(&w->pair.mem, c->ask, id);
    size_t half = c->ask / 2;
    gr_piece p[] = {{b.data, half, NULL}, {b.data + half, c->ask - half, b.owner}};
    c->start = st.bytes_out + st.output;
    c->state = OPEN;
    assert_rc(gr_session_call(w->pair.client.s, &who, p, 2), GR_OK);
    mem_unref(&w->pair.mem, &b);
}

static void new_call(world *w)
{
    if (w->made == CALLS_MAX || w->pair.client.rc != GR_OK || !w->pair.client.up)
        return;
    call_entry *c = &w->calls[w->made++];
    memset(c, 0, sizeof *c);
    c->ask = prng_size(&w->prng, SIZE_TRIED);
    c->answer = prng_size(&w->prng, SIZE_TRIED);
    c->deadline = dice(w, 3) ? GR_FOREVER : w->pair.now + dice(w, 3000);
    try_call(w, w->made);
}

static void new_cast(world *w)
{
    if (w->pair.client.rc != GR_OK || !w->pair.client.up)
        return;
    int rc = end_cast(&w->pair.client, w->casts_sent, cast_size(w->casts_sent));
    if (rc == GR_OK)
        w->casts_sent++;
    else
        assert_true(rc == GR_ECLOSING && w->closing);
}

/* What has not ended can be cancelled, and what has cannot. */
static void cancel(world *w, uint64_t id)
{
    call_entry *c = entry_of(w, id);
    int rc = gr_session_cancel(w->pair.client.s, id);
    assert_rc(rc, c->state == ENDED ? GR_ENOENT : GR_OK);
    c->state = ENDED;
    seen[CANCELLED] += rc == GR_OK;
}

static void cancel_overdue(world *w)
{
    for (uint64_t id = 1; id <= w->made && w->pair.client.rc == GR_OK; id++)
        if (w->calls[id - 1].state != ENDED && w->calls[id - 1].deadline <= w->pair.now)
            cancel(w, id);
}

static void on_client_event(void *ctx, test_end *e, gr_event *ev)
{
    world *w = ctx;
    (void)e;
    seen[IDLE] += ev->type == GR_EV_IDLE;
    if (!ev->call)
        return;
    uint64_t id = ev->call->id;
    call_entry *c = entry_of(w, id);
    gr_submit who = submitter(w, id);
    assert_int_equal(ev->call->caller, who.caller);
    assert_int_equal(ev->call->tag_size, who.tag_size);
    assert_memory_equal(ev->call->tag, who.tag, who.tag_size);
    if (ev->type == GR_EV_READY) {
        assert_int_equal(c->state, WAITING);
        try_call(w, id);
        return;
    }
    assert_int_equal(c->state, OPEN);
    assert_true(c->replied);
    c->state = ENDED;
    seen[ev->type == GR_EV_TOOBIG ? TOO_BIG : REPLIES]++;
    if (ev->type == GR_EV_TOOBIG) {
        assert_int_equal(ev->too_big_size, c->answer);
        assert_int_equal(ev->too_big_limit, MAX_MESSAGE);
        return;
    }
    assert_int_equal(ev->type, GR_EV_REPLY);
    assert_int_equal(ev->size, c->answer);
    assert_true(pattern_matches(ev->data, ev->size, id + 7));
}

/* ---- the workers ---- */

static void try_reply(world *w, uint64_t id)
{
    call_entry *c = entry_of(w, id);
    gr_submit who = submit_of(id);
    int rc = gr_session_admit(w->pair.server.s, &who, c->answer);
    if (rc == GR_EBUSY)
        return;
    assert_rc(rc, GR_OK);
    c->replied = 1;
    rc = end_reply(&w->pair.server, id, c->answer);
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

static void on_server_event(void *ctx, test_end *e, gr_event *ev)
{
    world *w = ctx;
    (void)e;
    if (ev->type == GR_EV_READY) {
        try_reply(w, ev->call->id);
    } else if (ev->type == GR_EV_CAST) {
        assert_int_equal(ev->size, cast_size(w->casts_seen));
        assert_true(pattern_matches(ev->data, ev->size, w->casts_seen));
        w->casts_seen++;
    } else if (ev->type == GR_EV_REQUEST) {
        call_entry *c = entry_of(w, ev->id);
        assert_false(c->arrived);
        assert_int_equal(ev->size, c->ask);
        assert_true(pattern_matches(ev->data, ev->size, ev->id));
        c->arrived = 1;
        w->serving[w->serving_count++] = ev->id;
    }
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
    end_feed(&p->server, p->up.bytes.data, p->up.bytes.size);
    end_feed(&p->client, p->down.bytes.data, p->down.bytes.size);
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

static void step(world *w)
{
    uint64_t d = dice(w, 100);
    if (d < 20)
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
    else
        move_some(w);
}

/* ---- a life ---- */

static void open_world(world *w)
{
    gr_session_config c = end_config(GR_CLIENT);
    gr_session_config s = end_config(GR_SERVER);
    memset(w, 0, sizeof *w);
    w->prng = seed;
    c.auth.max_message = MAX_MESSAGE;
    s.auth.max_message = MAX_MESSAGE + dice(w, 2) * 100000;
    c.auth_timeout = s.auth_timeout = GR_FOREVER;
    c.output_limit = s.output_limit = 1000 + dice(w, 50000);
    if (dice(w, 2))
        c.keepalive_interval = s.keepalive_interval = c.send_timeout = s.send_timeout = 4000;
    w->can_idle = dice(w, 2) != 0;
    if (w->can_idle)
        c.idle_timeout = s.idle_timeout = IDLE_TIMEOUT;
    pair_open(&w->pair, &c, &s);
    w->pair.prng = seed + 1;
    w->pair.chunk = 1 + prng_size(&w->prng, 60000);
    w->pair.client.hook = on_client_event;
    w->pair.server.hook = on_server_event;
    w->pair.client.ctx = w->pair.server.ctx = w;
}

static int dead(const world *w)
{
    return w->pair.client.rc != GR_OK || w->pair.server.rc != GR_OK || w->cut;
}

/* Lets all that is under way finish, and closes. */
static void finish_in_peace(world *w)
{
    test_pair *p = &w->pair;
    p->chunk = 0;
    pair_pump(p);
    while (w->serving_count) {
        finish_one(w);
        pair_pump(p);
    }
    pair_pump(p);
    /* Nothing is under way now: whoever can get idle does. */
    size_t idle = seen[IDLE];
    pair_advance(p, IDLE_TIMEOUT);
    assert_int_equal(seen[IDLE] > idle, w->can_idle && !w->closing);
    w->closing = 1;
    assert_rc(gr_session_close(dice(w, 2) ? p->client.s : p->server.s, 1000, 0), GR_OK);
    pair_pump(p);
    assert_true(p->server.ended);
    end_eof(&p->client);
    assert_true(p->client.ended);
    assert_int_equal(w->casts_seen, w->casts_sent);
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

/* What is handed back must be what had not ended; the rest must have. */
static void settle(world *w)
{
    gr_session *s = w->pair.client.s;
    gr_call *taken;
    while ((taken = gr_session_take(s)) != NULL) {
        call_entry *c = entry_of(w, taken->id);
        assert_true(c->state == WAITING || c->state == OPEN);
        int sent = c->state == OPEN && end_stats(&w->pair.client).bytes_out > c->start;
        assert_int_equal(gr_session_was_sent(s, taken), sent);
        assert_true(sent || !c->arrived);
        c->state = ENDED;
        seen[sent ? LOST : UNSENT]++;
        gr_session_free_call(s, taken);
    }
    for (size_t i = 0; i < w->made; i++)
        assert_int_equal(w->calls[i].state, ENDED);
    seen[LATE] += end_stats(&w->pair.client).late;
    seen[PEACE] += w->pair.client.ended != 0;
    seen[CUT] += w->cut != 0;
}

static void live(world *w)
{
    open_world(w);
    size_t cut_at = dice(w, 3) ? SIZE_MAX : (size_t)dice(w, STEPS);
    for (size_t i = 0; i < STEPS && !dead(w); i++)
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

/* Every call ends once, and in many lives in every way in which one can. */
static void every_call_ends_exactly_once(void **state)
{
    (void)state;
    static world w;
    const char *only = getenv("GR_SEED");
    for (seed = only ? strtoull(only, NULL, 10) : 1; seed <= SEEDS; seed++) {
        live(&w);
        if (only)
            return;
    }
    for (size_t i = 0; i < KINDS; i++)
        assert_true(seen[i] >= 20);
    seed = 0;
}

static int name_seed(void **state)
{
    (void)state;
    if (seed)
        print_error("run it alone: GR_SEED=%llu\n", (unsigned long long)seed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_call_ends_exactly_once, name_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
