/* SPDX-License-Identifier: Apache-2.0 */
/* Session: what is due when. */
#include <string.h>

#include "gr_session_impl.h"

/*
 * How often open calls are searched for dead callers, ms, how many are looked at each time, and how old
 * a call must be for that, ms: most are answered before. A look takes some 1 us.
 */
#define SWEEP_INTERVAL 1000u
#define SWEEP_BUDGET ((size_t)500)
#define SWEEP_AGE 1000u

/*
 * A ping is due after an interval without a word, and its answer an interval after it has left: it
 * may wait behind a large message, and the time for that is send_timeout's.
 */
static uint64_t keepalive_due(const gr_session *s)
{
    return gr_later(s->pinging ? s->pinged : s->heard, s->keepalive_interval);
}

/* Whether output waits that the peer has not allowed to be sent yet. */
static int is_waiting_for_peer(const gr_session *s)
{
    return !s->lanes.out.size && !s->below && !gr_lanes_empty(&s->lanes);
}

/*
 * What the socket does not take is a stall; what the peer does not allow is none as long as the peer
 * lives, and it is asked whether it does.
 */
static uint64_t stall_due(const gr_session *s)
{
    if (gr_session_is_written(s))
        return GR_FOREVER;
    if (is_waiting_for_peer(s))
        return gr_later(gr_max64(s->heard, s->moved), s->send_timeout);
    return gr_later(s->progress, s->send_timeout);
}

static uint64_t poke_due(const gr_session *s)
{
    if (s->pinging || s->send_timeout == GR_FOREVER || !is_waiting_for_peer(s))
        return GR_FOREVER;
    return gr_later(gr_max64(s->heard, s->moved), s->send_timeout / 2);
}

static uint64_t idle_due(const gr_session *s)
{
    if (s->idle_told || s->bye_wanted || s->hold == GR_HOLD_ALL || !gr_session_is_idle(s))
        return GR_FOREVER;
    return gr_later(s->active, s->idle_timeout);
}

static uint64_t sweep_due(const gr_session *s)
{
    int any = (s->role == GR_CLIENT && s->calls.count) || gr_session_waiting(s);
    return any ? gr_later(s->swept, SWEEP_INTERVAL) : GR_FOREVER;
}

static uint64_t pause_due(const gr_session *s)
{
    return gr_session_is_paused(s) ? gr_session_pause_end(s) : GR_FOREVER;
}

uint64_t gr_session_due(const gr_session *s)
{
    if (s->failed != GR_OK)
        return GR_FOREVER;
    if (s->auth)
        return s->auth_deadline;
    uint64_t t = gr_min64(s->close_deadline, keepalive_due(s));
    t = gr_min64(t, gr_min64(stall_due(s), poke_due(s)));
    t = gr_min64(t, pause_due(s));
    return gr_min64(t, gr_min64(idle_due(s), sweep_due(s)));
}

static int is_orphan(const gr_session *s, const gr_call *c)
{
    return c->since + SWEEP_AGE <= s->now && s->alive && !s->alive(s->alive_ctx, c->caller);
}

static int sweep(gr_session *s, gr_calls *t, int cancel)
{
    size_t budget = SWEEP_BUDGET;
    int rc = GR_OK;
    gr_call *c;
    while (rc == GR_OK && (c = gr_calls_walk(t, &budget)) != NULL) {
        if (!is_orphan(s, c))
            continue;
        c = gr_calls_take(t, c->id);
        rc = cancel ? gr_session_tell_cancel(s, c) : GR_OK;
        gr_call_free(t, c);
    }
    return rc;
}

/* Those who were woken and are dead leave room to be given to others. */
static int sweep_all(gr_session *s)
{
    int rc = s->role == GR_CLIENT ? sweep(s, &s->calls, 1) : GR_OK;
    for (int i = 0; i < GR_ROOMS && rc == GR_OK; i++)
        rc = sweep(s, &s->waiters[i], 0);
    memset(s->woken, 0, sizeof s->woken);
    s->swept = s->now;
    return rc;
}

static int ping(gr_session *s)
{
    int rc = gr_session_put_control(s, GR_FRAME_PING, 0, 0);
    s->pinging = 1;
    s->ping_end = s->lanes.out.in;
    s->pinged = GR_FOREVER;
    return rc;
}

static int do_due(gr_session *s)
{
    uint64_t now = s->now;
    int rc = GR_OK;
    if (s->auth)
        return s->auth_deadline <= now ? GR_EAUTHTIME : GR_OK;
    if (s->close_deadline <= now)
        return GR_ECLOSETIME;
    if (stall_due(s) <= now)
        return GR_ESENDTIME;
    if (sweep_due(s) <= now)
        rc = sweep_all(s);
    if (rc != GR_OK)
        return rc;
    if (idle_due(s) <= now)
        s->idle_due = s->idle_told = 1;
    if (keepalive_due(s) <= now)
        return s->pinging ? GR_EKEEPALIVE : ping(s);
    return poke_due(s) <= now ? ping(s) : GR_OK;
}

int gr_session_tick(gr_session *s)
{
    return s->failed != GR_OK ? s->failed : gr_session_fail(s, do_due(s));
}
