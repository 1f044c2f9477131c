/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pace, after BBR, but by a window alone. Rounds of at least a round trip each give a rate and an
 * average round trip; the limit is their product (largest rate, least round trip) and some more.
 * Averages, because a limit from the one luckiest report of many would starve a path whose ends are
 * woken late at random; by Little's law rate times average round trip is what was under way.
 */
#include "gr_pace.h"

#include <string.h>

/*
 * Before anything is known. 100 ms at 1 Gbit/s need 12.5 MB: five rounds of doubling from here.
 * More would only delay the small messages of slow paths.
 */
#define INITIAL ((uint64_t)512 * 1024)

/* Four reports: one held back, one on its way, and two while a process waits for its turn. */
#define LIMIT_MIN(Pace) (4 * (Pace)->ack)

/* 10 Gbit/s times 50 ms. The buffers of most kernels allow far less. */
#define LIMIT_MAX ((uint64_t)64 * 1024 * 1024)

/* A fragment that is being sent, and a report's worth of bytes consumed but not yet reported. */
#define HEADROOM(Pace) (2 * (Pace)->ack)

/* A probe goes no lower: twice what a report is for, or the reports would stop. */
#define TARGET_MIN(Pace) (2 * (Pace)->ack)

/* A round is no shorter: reports that a scheduler held back for 5 ms must not look like speed. */
#define ROUND_MIN UINT64_C(20000)

/* A round has no fewer samples, which on a slow path are reports of 64 KiB. */
#define ROUND_SAMPLES 4u

/*
 * One in which the lane ran short needs more to count for the round trip: of hundreds with a few
 * samples each the least would be luck.
 */
#define SHORT_SAMPLES 32u

/* So many rounds without growth, and the path is full. One may be bad luck. */
#define FLAT 2u

/*
 * A round trip is measured anew after that time, and after so many of itself: a probe costs about
 * one round trip's worth of bytes, so that is at most 1/64 of the time.
 */
#define PROBE_TIME UINT64_C(10000000)
#define PROBE_RTTS 64u

/* Sooner, when the rate has halved or growth has ended; but no sooner than that after another. */
#define PROBE_EARLY UINT64_C(2000000)

/* What is beyond is no path but a clock or a peer that stopped. They keep products in 64 bits. */
#define RTT_MAX UINT64_C(10000000)
#define RATE_MAX (UINT64_C(1) << 38)
#define BYTES_MAX (UINT64_C(1) << 40)

#define SECOND UINT64_C(1000000)

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t elapsed(uint64_t now, uint64_t since)
{
    return now > since ? now - since : 0;
}

static uint64_t under_way(const gr_pace *p)
{
    return p->sent - p->acked;
}

/* Bytes that fill the path; 0: not known. */
static uint64_t path_bytes(const gr_pace *p)
{
    return p->rtt == UINT64_MAX ? 0 : p->rate * p->rtt / SECOND;
}

static int growing(const gr_pace *p)
{
    return p->flat < FLAT;
}

static void set_limit(gr_pace *p)
{
    uint64_t path = path_bytes(p);
    if (p->phase != GR_PACE_RUN)
        p->limit = p->target;
    else if (p->rate == 0 || p->rtt == UINT64_MAX)
        p->limit = INITIAL;
    else if (growing(p))
        p->limit = least(most(path * 2, LIMIT_MIN(p)), LIMIT_MAX);
    else
        p->limit = least(most(path + most(path / 4, HEADROOM(p)), LIMIT_MIN(p)), LIMIT_MAX);
}

static void begin_round(gr_pace *p, uint64_t now)
{
    p->round_time = now;
    p->round_acked = p->acked;
    p->round_from = 0;
    p->round_end = UINT64_MAX;
    p->round_mark = p->newest;
    p->rtt_sum = 0;
    p->rtt_count = 0;
    p->full = 0;
}

/* ---- marks: when what left ---- */

/* A full ring takes no more: that happens when the limit has fallen, and leaves samples enough. */
static void put_mark(gr_pace *p, uint64_t now)
{
    if (p->marks_count == GR_PACE_MARKS)
        return;
    if (p->marks_count > 0) {
        size_t newest = (p->marks_at + p->marks_count - 1) % GR_PACE_MARKS;
        if (p->sent - p->marks[newest].position < p->limit / (GR_PACE_MARKS / 2))
            return;
    }
    gr_pace_mark *m = &p->marks[(p->marks_at + p->marks_count++) % GR_PACE_MARKS];
    m->position = p->sent;
    m->time = now;
}

/* The newest that is consumed is a sample; older ones have waited for the report. */
static void take_marks(gr_pace *p, uint64_t now)
{
    size_t before = p->marks_count;
    while (p->marks_count > 0 && p->marks[p->marks_at].position <= p->acked) {
        p->newest = p->marks[p->marks_at];
        p->marks_at = (p->marks_at + 1) % GR_PACE_MARKS;
        p->marks_count--;
    }
    if (p->marks_count < before && p->newest.position > p->round_from) {
        p->rtt_sum += least(elapsed(now, p->newest.time), RTT_MAX);
        p->rtt_count++;
    }
}

static uint64_t shortest_round(const gr_pace *p)
{
    return p->rtt == UINT64_MAX ? ROUND_MIN : most(ROUND_MIN, p->rtt);
}

/* ---- rate ---- */

/*
 * A round made long by a queue of ours counts as the rounds that there were without it, or a rate
 * that has fallen would be noticed late; but one alone must not displace all others.
 */
static void put_rate(gr_pace *p, uint64_t rate, uint64_t rounds)
{
    for (uint64_t i = least(most(rounds, 1), GR_PACE_RATES / 2); i > 0; i--) {
        p->rates[p->rates_at] = rate;
        p->rates_at = (p->rates_at + 1) % GR_PACE_RATES;
    }
    p->rate = 0;
    for (size_t i = 0; i < GR_PACE_RATES; i++)
        p->rate = most(p->rate, p->rates[i]);
    p->rate_ref = most(p->rate_ref, p->rate);
}

/*
 * Reports that were held back come in a bunch, faster than the path is. What they are about did not
 * leave faster than the path took it, so the slower of the two rates is nearer to the truth.
 */
static uint64_t round_rate(const gr_pace *p, uint64_t time)
{
    uint64_t acked = least(p->acked - p->round_acked, BYTES_MAX);
    uint64_t left = least(p->newest.position - p->round_mark.position, BYTES_MAX);
    uint64_t left_time = elapsed(p->newest.time, p->round_mark.time);
    uint64_t rate = acked * SECOND / time;
    if (left_time > 0)
        rate = least(rate, left * SECOND / left_time);
    return least(rate, RATE_MAX);
}

/*
 * A round in which the lane was ever empty, or a probe ran, shows what the path can do at least: it
 * can raise the rate, and displaces none. Growth ended when the limit was used and did not help.
 */
static void note_rate(gr_pace *p, uint64_t now)
{
    int was_growing = growing(p);
    int partial = p->gap >= p->round_acked || p->phase != GR_PACE_RUN;
    uint64_t time = elapsed(now, p->round_time);
    uint64_t rate = round_rate(p, time);
    if (!partial || rate > p->rate) {
        p->rate_last = rate;
        put_rate(p, rate, time / shortest_round(p));
    }
    if (p->rate > p->rate_base + p->rate_base / 4) {
        p->rate_base = p->rate;
        p->flat = 0;
        return;
    }
    p->rate_base = least(p->rate_base, p->rate);
    if (growing(p) && p->phase == GR_PACE_RUN && (!partial || p->full))
        p->flat++;
    if (!growing(p) && was_growing)
        p->rate_base = p->rate;
}

/* ---- round trip ---- */

static void begin_probe(gr_pace *p, uint64_t target)
{
    p->target = most(target, TARGET_MIN(p));
    p->phase = GR_PACE_DRAIN;
}

static int probe_is_due(const gr_pace *p, int was_growing, uint64_t now)
{
    if (elapsed(now, p->rtt_time) >= most(PROBE_TIME, PROBE_RTTS * p->rtt))
        return 1;
    if (p->probe_time != 0 && elapsed(now, p->probe_time) < PROBE_EARLY)
        return 0;
    return p->rate < p->rate_ref / 2 || (was_growing && !growing(p));
}

/* Whether the round may lower the round trip. */
static int rtt_is_sound(const gr_pace *p)
{
    return p->gap < p->round_acked || p->full || p->rtt == UINT64_MAX ||
           p->rtt_count >= SHORT_SAMPLES;
}

static void note_rtt(gr_pace *p, uint64_t rtt, int was_growing, uint64_t now)
{
    if (rtt <= p->rtt && rtt_is_sound(p)) {
        p->rtt = rtt;
        p->rtt_time = now;
    }
    if (probe_is_due(p, was_growing, now))
        begin_probe(p, p->rate_last * p->rtt / SECOND / 2);
}

/*
 * What a probe finds replaces what was known: the path may have become longer. When it is much
 * less, then what was known contained a queue of ours, and the rest may contain one still.
 */
static void note_probe(gr_pace *p, uint64_t rtt, uint64_t now)
{
    int again = rtt < p->rtt - p->rtt / 4 && p->target > TARGET_MIN(p);
    p->rtt = rtt;
    p->rtt_time = now;
    p->probe_time = now;
    p->rate_ref = p->rate;
    p->phase = GR_PACE_RUN;
    if (again)
        begin_probe(p, p->target / 2);
}

/* ---- rounds ---- */

static int round_is_over(const gr_pace *p, uint64_t now)
{
    return p->acked >= p->round_end && p->rtt_count >= ROUND_SAMPLES &&
           elapsed(now, p->round_time) >= shortest_round(p);
}

static void end_round(gr_pace *p, uint64_t now)
{
    uint64_t rtt = p->rtt_sum / p->rtt_count;
    int was_growing = growing(p);
    note_rate(p, now);
    if (p->phase == GR_PACE_MEASURE)
        note_probe(p, rtt, now);
    else
        note_rtt(p, rtt, was_growing, now);
    begin_round(p, now);
    set_limit(p);
}

/* Whether all that left has long arrived, so that a round would measure nothing but the pause. */
static int after_pause(const gr_pace *p, uint64_t now)
{
    if (p->sent == 0)
        return 1;
    return p->gap == p->sent && elapsed(now, p->last) > ROUND_MIN &&
           (p->rtt == UINT64_MAX || elapsed(now, p->last) > p->rtt);
}

/* A probe is put off for a while: it would drain a path that is empty. */
static void restart(gr_pace *p, uint64_t now)
{
    uint64_t expires = p->rtt == UINT64_MAX ? PROBE_TIME : most(PROBE_TIME, PROBE_RTTS * p->rtt);
    if (elapsed(now, p->rtt_time) + PROBE_EARLY > expires)
        p->rtt_time = elapsed(now, expires - PROBE_EARLY);
    p->phase = GR_PACE_RUN;
    p->newest.position = p->sent;
    p->newest.time = now;
    begin_round(p, now);
    set_limit(p);
}

static void note_gap(gr_pace *p)
{
    if (p->empty && under_way(p) < p->limit)
        p->gap = p->sent;
}

/* ---- public ---- */

void gr_pace_init(gr_pace *p, uint64_t ack)
{
    memset(p, 0, sizeof *p);
    p->ack = ack;
    p->rtt = UINT64_MAX;
    begin_round(p, 0);
    set_limit(p);
}

void gr_pace_sent(gr_pace *p, uint64_t bytes, uint64_t now_us)
{
    if (after_pause(p, now_us))
        restart(p, now_us);
    p->sent += bytes;
    p->last = now_us;
    p->empty = 0;
    if (under_way(p) >= p->limit)
        p->full = 1;
    put_mark(p, now_us);
}

int gr_pace_acked(gr_pace *p, uint64_t total, uint64_t now_us)
{
    if (total > p->sent || total < p->acked)
        return GR_EPROTO;
    p->acked = total;
    p->last = now_us;
    take_marks(p, now_us);
    note_gap(p);
    if (p->phase == GR_PACE_DRAIN) {
        if (under_way(p) <= p->target) {
            p->phase = GR_PACE_MEASURE;
            begin_round(p, now_us);
            p->round_from = p->sent;
        }
        return GR_OK;
    }
    if (p->round_end == UINT64_MAX)
        p->round_end = p->sent;
    if (round_is_over(p, now_us))
        end_round(p, now_us);
    return GR_OK;
}

void gr_pace_idle(gr_pace *p)
{
    p->empty = 1;
    note_gap(p);
}

size_t gr_pace_room(const gr_pace *p)
{
    uint64_t used = under_way(p);
    return used < p->limit ? (size_t)(p->limit - used) : 0;
}

uint64_t gr_pace_limit(const gr_pace *p)
{
    return p->limit;
}
