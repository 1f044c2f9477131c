/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pace: on simulated paths, from loopback to satellite. Each must be filled, soon, and without a
 * queue much longer than the path; whatever routes, competitors, schedulers, clocks and pauses do.
 */
#include <string.h>

#include "bytes_support.h"
#include "cmocka_support.h"
#include "gr_pace.h"

#define KB UINT64_C(1024)
#define MB (1024 * KB)
#define MS UINT64_C(1000000) /* in ns */
#define SECONDS (1000 * MS)
#define ENDLESS UINT64_MAX

/* What the core promises to start with, and to keep to. */
#define ACK (64 * KB)
#define INITIAL (512 * KB)
#define LIMIT_MIN (256 * KB)
#define LIMIT_MAX (64 * MB)

#define REPORTS ((size_t)65536)
#define RANDOM_LINKS 300u
#define RANDOM_LIVES 300u
#define RANDOM_STEPS 3000u

/* Where the sender's clock begins: it is not the simulation's. */
#define CLOCK_START UINT64_C(5000000)

typedef struct path {
    const char *name;
    uint64_t rate;     /* bytes a second */
    uint64_t delay;    /* us, one way */
    uint64_t jitter;   /* us, most that a report is held back, evenly distributed */
    uint64_t fragment; /* bytes */
    uint64_t warm;     /* ms until it is filled */
} path;

static const path paths[] = {
    {"loopback", 4000000000, 10, 30, 64 * KB, 500},
    {"loopback of a busy machine", 4000000000, 10, 1000, 64 * KB, 500},
    {"loopback of a very busy machine", 4000000000, 10, 5000, 64 * KB, 1000},
    {"TLS loopback", 400000000, 25, 50, 16 * KB, 500},
    {"TLS loopback of a busy machine", 400000000, 25, 1000, 16 * KB, 500},
    {"TLS loopback of a very busy machine", 400000000, 25, 5000, 16 * KB, 1000},
    {"LAN 1 Gbit/s", 125000000, 100, 30, 64 * KB, 500},
    {"LAN 10 Gbit/s", 1250000000, 250, 30, 64 * KB, 500},
    {"WAN 1 Gbit/s", 125000000, 25000, 300, 64 * KB, 1000},
    {"WAN 1 Gbit/s, long", 125000000, 50000, 5000, 64 * KB, 1500},
    {"WAN 100 Mbit/s", 12500000, 50000, 300, 64 * KB, 1500},
    {"WAN 10 Mbit/s", 1250000, 15000, 300, 16 * KB, 2000},
    {"satellite", 2500000, 300000, 300, 64 * KB, 10000},
};

typedef struct report {
    uint64_t time; /* ns, when the sender has it */
    uint64_t total;
} report;

/* A sender, a bottleneck with a queue in front of it, and a receiver. Times in ns. */
typedef struct sim {
    path way;
    uint64_t threshold;  /* bytes that the receiver reports after */
    int reports_ends;    /* whether it reports the end of a message at once */
    uint64_t resolution; /* us, of the sender's clock */
    uint64_t slow_start; /* bytes that TCP carries in the first round trip; 0: any number */
    uint64_t prng;
    uint64_t now;
    uint64_t busy_until; /* when the bottleneck has carried all */
    uint64_t arrived;    /* when the last byte is there */
    uint64_t owed;       /* bytes that the sender has still to send */
    uint64_t got;        /* bytes that the receiver has, or will when they arrive */
    uint64_t reported;
    uint64_t frozen_until; /* the sender's process does not run before */
    report reports[REPORTS];
    size_t reports_first; /* both count on; modulo REPORTS is the place */
    size_t reports_end;
    uint64_t queue_worst; /* bytes in front of a small message, since the last sim_measure */
    uint64_t queue_sum;
    uint64_t queue_count;
    uint64_t acked_from;
    uint64_t time_from;
    gr_pace pace;
} sim;

static sim s;

static void sim_init(const path *way)
{
    memset(&s, 0, sizeof s);
    s.way = *way;
    s.threshold = ACK;
    s.resolution = 1;
    s.prng = 42;
    memset(&s.pace, 0xa5, sizeof s.pace);
    gr_pace_init(&s.pace, ACK);
}

static uint64_t sim_clock(void)
{
    uint64_t us = CLOCK_START + s.now / 1000;
    return us - us % s.resolution;
}

/* Bytes that fill the path, with a report that is held back as long as it can be. */
static uint64_t path_bytes(void)
{
    return s.way.rate * (2 * s.way.delay + s.way.jitter) / 1000000;
}

/* As TCP in slow start, which doubles its window each round trip. */
static uint64_t carry_slowly(uint64_t start, uint64_t size)
{
    uint64_t rtt = 2 * s.way.delay * 1000;
    uint64_t piece;
    for (; size > 0; size -= piece) {
        uint64_t round = start / rtt < 30 ? start / rtt : 30;
        uint64_t rate = (s.slow_start << round) * SECONDS / rtt;
        rate = rate < s.way.rate ? rate : s.way.rate;
        piece = size < 1448 ? size : 1448;
        start += piece * SECONDS / rate;
    }
    return start;
}

static void put_report(void)
{
    uint64_t held = s.way.jitter ? prng_below(&s.prng, s.way.jitter * 1000) : 0;
    uint64_t time = s.arrived + s.way.delay * 1000 + held;
    assert_true(s.reports_end - s.reports_first < REPORTS);
    if (s.reports_end > s.reports_first) {
        uint64_t before = s.reports[(s.reports_end - 1) % REPORTS].time;
        time = time > before ? time : before;
    }
    s.reports[s.reports_end % REPORTS].time = time;
    s.reports[s.reports_end % REPORTS].total = s.got;
    s.reports_end++;
    s.reported = s.got;
}

static void transmit(uint64_t size)
{
    uint64_t start = s.busy_until > s.now ? s.busy_until : s.now;
    s.busy_until = s.slow_start ? carry_slowly(start, size) : start + size * SECONDS / s.way.rate;
    uint64_t there = s.busy_until + s.way.delay * 1000;
    s.arrived = there > s.arrived ? there : s.arrived;
    s.got += size;
    if (s.got - s.reported >= s.threshold || (s.reports_ends && s.owed == 0))
        put_report();
}

static void note_queue(void)
{
    uint64_t wait = s.busy_until > s.now ? s.busy_until - s.now : 0;
    uint64_t queue = wait / 1000 * s.way.rate / 1000000;
    s.queue_worst = queue > s.queue_worst ? queue : s.queue_worst;
    s.queue_sum += queue;
    s.queue_count++;
}

static void send_all(void)
{
    while (s.owed > 0 && gr_pace_room(&s.pace) > 0) {
        uint64_t size = s.owed < s.way.fragment ? s.owed : s.way.fragment;
        if (s.owed != ENDLESS)
            s.owed -= size;
        gr_pace_sent(&s.pace, size, sim_clock());
        transmit(size);
        note_queue();
        if (s.owed == 0)
            gr_pace_idle(&s.pace);
    }
}

/* Goes on until then, with so many bytes more to send. */
static void sim_run(uint64_t until, uint64_t bytes)
{
    s.owed = bytes == ENDLESS ? ENDLESS : s.owed + bytes;
    send_all();
    while (s.reports_first < s.reports_end) {
        const report *r = &s.reports[s.reports_first % REPORTS];
        uint64_t time = r->time > s.frozen_until ? r->time : s.frozen_until;
        if (time > until)
            break;
        s.now = time > s.now ? time : s.now;
        s.reports_first++;
        assert_rc(gr_pace_acked(&s.pace, r->total, sim_clock()), GR_OK);
        send_all();
    }
    s.now = until;
}

static void sim_for(uint64_t time, uint64_t bytes)
{
    sim_run(s.now + time, bytes);
}

static void sim_measure(void)
{
    s.queue_worst = 0;
    s.queue_sum = 0;
    s.queue_count = 0;
    s.acked_from = s.pace.acked;
    s.time_from = s.now;
}

/* Percent of what the path could have carried since sim_measure. */
static uint64_t percent(void)
{
    uint64_t could = s.way.rate / 1000 * ((s.now - s.time_from) / MS);
    return (s.pace.acked - s.acked_from) * 100 / could;
}

/* A failure names the path. */
static void check(int holds, const char *what)
{
    if (!holds)
        fail_msg("%s, clock %llu us: %s: %llu%%, limit %llu, queue at most %llu", s.way.name,
                 (unsigned long long)s.resolution, what, (unsigned long long)percent(),
                 (unsigned long long)gr_pace_limit(&s.pace), (unsigned long long)s.queue_worst);
}

/* In front of a small message there is at worst one path's worth and the least limit. */
static void check_queue(void)
{
    uint64_t mean = s.queue_sum / s.queue_count;
    check(s.queue_worst <= path_bytes() + LIMIT_MIN + s.way.fragment, "worst queue");
    check(mean <= path_bytes() / 2 + LIMIT_MIN + s.way.fragment, "mean queue");
}

/* What is filled is filled for long: with several probes. */
static uint64_t long_enough(void)
{
    uint64_t rtts = 200 * 2 * s.way.delay * 1000;
    return rtts > 12 * SECONDS ? rtts : 12 * SECONDS;
}

/* ---- on paths of every kind ---- */

/* Nine tenths of every path are used, and what waits in front of it is bounded. */
static void every_path_is_filled_and_no_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        sim_init(&paths[i]);
        sim_run(paths[i].warm * MS, ENDLESS);
        sim_measure();
        sim_for(long_enough(), ENDLESS);
        check(percent() >= 90, "throughput");
        check_queue();
    }
}

/* A clock of 1 ms is as good as one of 1 us; one of 4 ms may cost throughput, and stops nothing. */
static void clocks_of_any_resolution_will_do(void **state)
{
    (void)state;
    static const uint64_t resolutions[] = {10, 100, 1000, 4000};
    for (size_t r = 0; r < COUNT_OF(resolutions); r++)
        for (size_t i = 0; i < COUNT_OF(paths); i++) {
            sim_init(&paths[i]);
            s.resolution = resolutions[r];
            sim_run(paths[i].warm * MS, ENDLESS);
            sim_measure();
            sim_for(long_enough() / 2, ENDLESS);
            check(percent() >= (s.resolution > 1000 ? 50 : 90), "throughput");
            check(s.queue_worst <= path_bytes() + 2 * LIMIT_MIN + s.way.rate / 1000, "queue");
        }
}

/* A clock that stands still tells nothing: it goes on as it began. */
static void clock_that_stands_still_changes_nothing(void **state)
{
    (void)state;
    sim_init(&paths[0]);
    s.resolution = UINT64_MAX;
    sim_run(SECONDS, ENDLESS);
    assert_true(s.pace.acked > 1000 * MB);
    assert_int_equal(gr_pace_limit(&s.pace), INITIAL);
}

/* Reports twice as coarse as agreed are slower to use, and stop nothing. */
static void reports_up_to_the_largest_allowed_never_stop_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        sim_init(&paths[i]);
        s.threshold = (2 * ACK);
        sim_run(paths[i].warm * MS, ENDLESS);
        sim_measure();
        sim_for(long_enough(), ENDLESS);
        check(percent() >= 90, "throughput");
    }
}

/* ---- how soon ---- */

/* From nothing, the limit doubles each round trip: ten are enough to fill any of these paths. */
static void first_message_does_not_crawl(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        if (paths[i].delay < 10000)
            continue;
        uint64_t rtt = 2 * paths[i].delay * 1000;
        sim_init(&paths[i]);
        sim_run(8 * rtt, ENDLESS);
        sim_measure();
        sim_for(2 * rtt, ENDLESS);
        check(percent() >= 80, "throughput of the ninth and tenth round");
    }
    sim_init(&paths[9]);
    sim_run(900 * MS, 20 * MB);
    check(s.pace.acked >= 19 * MB, "20 MB at 1 Gbit/s and 100 ms");
}

/* TCP itself begins slowly; what it makes of the first round trips is no measure of the path. */
static void slow_start_of_tcp_is_followed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        if (paths[i].delay < 10000)
            continue;
        sim_init(&paths[i]);
        s.slow_start = 10 * 1448;
        sim_run(25 * 2 * paths[i].delay * 1000, ENDLESS);
        sim_measure();
        sim_for(50 * 2 * paths[i].delay * 1000, ENDLESS);
        check(percent() >= 90, "throughput");
    }
}

/* Bytes under way never exceed twice the path while it is not known. */
static void growth_ends_when_the_path_is_full(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        sim_init(&paths[i]);
        sim_measure();
        sim_run(10 * SECONDS, ENDLESS);
        check(s.queue_worst <= 2 * path_bytes() + 2 * INITIAL, "queue while it grows");
    }
}

/* ---- what changes ---- */

/* The way becomes 50 times longer: what was the least round trip is soon forgotten. */
static void longer_route_is_filled_within_seconds(void **state)
{
    (void)state;
    path way = {"route", 125000000, 500, 30, 64 * KB, 0};
    sim_init(&way);
    sim_run(33 * SECONDS, ENDLESS);
    s.way.delay = 25000;
    sim_for(4 * SECONDS, ENDLESS);
    sim_measure();
    sim_for(30 * SECONDS, ENDLESS);
    check(percent() >= 95, "throughput");
    check_queue();
}

/* The way becomes 50 times shorter: what fitted into it is a queue, which the next probe finds. */
static void shorter_route_has_a_short_queue_within_seconds(void **state)
{
    (void)state;
    path way = {"route", 125000000, 25000, 30, 64 * KB, 0};
    sim_init(&way);
    sim_run(30 * SECONDS, ENDLESS);
    s.way.delay = 500;
    sim_for(12 * SECONDS, ENDLESS);
    sim_measure();
    sim_for(30 * SECONDS, ENDLESS);
    check(percent() >= 95, "throughput");
    check_queue();
}

/* Small messages go first and leave a tenth: the limit follows, there and back. */
static void limit_follows_the_rate(void **state)
{
    (void)state;
    path way = {"shared", 125000000, 25000, 300, 64 * KB, 0};
    sim_init(&way);
    sim_run(SECONDS, MB);
    for (int i = 0; i < 10; i++) {
        s.way.rate = 125000000;
        sim_for(3 * SECONDS, ENDLESS);
        sim_measure();
        sim_for(5 * SECONDS, ENDLESS);
        check(percent() >= 90, "throughput alone");
        s.way.rate = 12500000;
        sim_for(2 * SECONDS, ENDLESS);
        sim_measure();
        sim_for(5 * SECONDS, ENDLESS);
        check(percent() >= 90, "throughput beside others");
        check_queue();
    }
}

/* Reports that come in bunches, after 200 ms of silence, are not taken for speed. */
static void silence_of_a_scheduler_does_not_raise_the_limit(void **state)
{
    (void)state;
    static const size_t chosen[] = {3, 6, 7, 8, 10};
    for (size_t i = 0; i < COUNT_OF(chosen); i++) {
        sim_init(&paths[chosen[i]]);
        sim_run(5 * SECONDS, ENDLESS);
        uint64_t before = gr_pace_limit(&s.pace);
        for (int n = 0; n < 30; n++) {
            s.frozen_until = s.now + 200 * MS;
            sim_for(500 * MS, ENDLESS);
            check(gr_pace_limit(&s.pace) <= before * 5 / 2, "limit");
        }
        sim_for(2 * SECONDS, ENDLESS);
        sim_measure();
        sim_for(5 * SECONDS, ENDLESS);
        check(percent() >= 90, "throughput");
        check_queue();
    }
}

/* One silence is an accident: what is known of the path survives it. */
static void one_long_silence_does_not_lower_the_limit(void **state)
{
    (void)state;
    sim_init(&paths[8]);
    sim_run(5 * SECONDS, ENDLESS);
    uint64_t before = gr_pace_limit(&s.pace);
    s.frozen_until = s.now + SECONDS;
    for (int n = 0; n < 200; n++) {
        sim_for(10 * MS, ENDLESS);
        check(gr_pace_limit(&s.pace) >= before * 3 / 4, "limit");
    }
}

/* ---- pauses ---- */

/* An hour of silence is not slowness: the limit is as before, and serves at once. */
static void hour_of_silence_is_not_counted(void **state)
{
    (void)state;
    for (int ends = 0; ends < 2; ends++) {
        sim_init(&paths[8]);
        s.reports_ends = ends;
        sim_run(5 * SECONDS, 500 * MB);
        assert_int_equal(s.owed, 0);
        uint64_t before = gr_pace_limit(&s.pace);
        for (int i = 0; i < 5; i++) {
            sim_for(3600 * SECONDS, 0);
            assert_true(gr_pace_limit(&s.pace) >= before * 3 / 4);
            sim_for(230 * MS, 20 * MB);
            check(s.pace.acked + 2 * ACK >= s.pace.sent, "20 MB after an hour");
            assert_true(gr_pace_limit(&s.pace) >= before * 3 / 4);
            assert_true(gr_pace_limit(&s.pace) <= before * 3 / 2);
        }
    }
}

/* A lane that has little to send shows nothing of the path, and what is known of it stays. */
static void lack_of_messages_does_not_lower_the_limit(void **state)
{
    (void)state;
    for (int ends = 0; ends < 2; ends++) {
        sim_init(&paths[8]);
        s.reports_ends = ends;
        sim_run(5 * SECONDS, 500 * MB);
        uint64_t before = gr_pace_limit(&s.pace);
        for (int i = 0; i < 400; i++)
            sim_for(100 * MS + prng_below(&s.prng, 100) * MS, MB / 2);
        assert_true(gr_pace_limit(&s.pace) >= before * 3 / 4);
        sim_measure();
        sim_for(5 * SECONDS, ENDLESS);
        check(percent() >= 90, "throughput");
    }
}

/* The luckiest of many single messages is not the round trip of a machine that is busy. */
static void sparse_messages_do_not_spoil_the_round_trip(void **state)
{
    (void)state;
    static const size_t chosen[] = {1, 4};
    for (size_t i = 0; i < COUNT_OF(chosen); i++) {
        sim_init(&paths[chosen[i]]);
        s.reports_ends = 1;
        sim_run(3 * SECONDS, 3 * s.way.rate / 2);
        for (int n = 0; n < 1100; n++)
            sim_for(8 * MS, 64 * KB);
        sim_measure();
        sim_for(2 * SECONDS, ENDLESS);
        check(percent() >= 60, "throughput at once");
        sim_for(12 * SECONDS, ENDLESS);
        sim_measure();
        sim_for(5 * SECONDS, ENDLESS);
        check(percent() >= 90, "throughput after a probe");
    }
}

/* Messages one after the other, each once the last has arrived, grow the limit as one long does. */
static void messages_one_by_one_fill_the_path_too(void **state)
{
    (void)state;
    sim_init(&paths[8]);
    s.reports_ends = 1;
    for (int i = 0; i < 8; i++)
        sim_for(SECONDS, 20 * MB);
    uint64_t acked = s.pace.acked;
    sim_for(280 * MS, 20 * MB);
    assert_int_equal(s.pace.acked - acked, 20 * MB);
}

/* Each is larger than what the path needs, but none lasts: the limit comes down all the same. */
static void short_messages_end_the_growth_too(void **state)
{
    (void)state;
    sim_init(&paths[6]);
    s.reports_ends = 1;
    for (int i = 0; i < 200; i++)
        sim_for(12 * MS, MB);
    assert_true(gr_pace_limit(&s.pace) <= LIMIT_MIN * 5 / 4);
}

/* ---- for long ---- */

/* Neither the least round trip nor the limit drifts; probes cost less than a fiftieth. */
static void nothing_drifts(void **state)
{
    (void)state;
    static const size_t chosen[] = {6, 8, 9, 10, 12};
    for (size_t i = 0; i < COUNT_OF(chosen); i++) {
        sim_init(&paths[chosen[i]]);
        sim_run(20 * SECONDS, ENDLESS);
        for (int n = 0; n < 4; n++) {
            sim_measure();
            sim_for(200 * SECONDS, ENDLESS);
            check(percent() >= 98, "throughput");
            check_queue();
            check(gr_pace_limit(&s.pace) <= path_bytes() * 3 / 2 + LIMIT_MIN, "limit");
        }
    }
}

/* ---- what a peer may report ---- */

/* More than was sent or less than before cannot be, and changes nothing. */
static void impossible_reports_are_refused(void **state)
{
    (void)state;
    gr_pace p;
    gr_pace before;
    memset(&p, 0, sizeof p);
    gr_pace_init(&p, ACK);
    assert_rc(gr_pace_acked(&p, 1, 10), GR_EPROTO);
    assert_rc(gr_pace_acked(&p, 0, 10), GR_OK);
    gr_pace_sent(&p, 1000, 20);
    memcpy(&before, &p, sizeof p);
    assert_rc(gr_pace_acked(&p, 1001, 30), GR_EPROTO);
    assert_rc(gr_pace_acked(&p, UINT64_MAX, 30), GR_EPROTO);
    assert_memory_equal(&p, &before, sizeof p);
    assert_rc(gr_pace_acked(&p, 600, 30), GR_OK);
    assert_rc(gr_pace_acked(&p, 600, 30), GR_OK);
    memcpy(&before, &p, sizeof p);
    assert_rc(gr_pace_acked(&p, 599, 40), GR_EPROTO);
    assert_rc(gr_pace_acked(&p, 1001, 40), GR_EPROTO);
    assert_memory_equal(&p, &before, sizeof p);
    assert_rc(gr_pace_acked(&p, 1000, 40), GR_OK);
}

/* Room is what the limit leaves; a fragment may go beyond it, and then there is none. */
static void room_is_what_the_limit_leaves(void **state)
{
    (void)state;
    gr_pace p;
    gr_pace_init(&p, ACK);
    assert_int_equal(gr_pace_limit(&p), INITIAL);
    assert_int_equal(gr_pace_room(&p), INITIAL);
    gr_pace_sent(&p, INITIAL - 1, 0);
    assert_int_equal(gr_pace_room(&p), 1);
    gr_pace_sent(&p, 64 * KB, 0);
    assert_int_equal(gr_pace_room(&p), 0);
    assert_rc(gr_pace_acked(&p, 64 * KB, 100), GR_OK);
    assert_int_equal(gr_pace_room(&p), 1);
    for (int i = 0; i < 100; i++)
        gr_pace_sent(&p, 64 * KB, 200);
    assert_int_equal(gr_pace_room(&p), 0);
    assert_rc(gr_pace_acked(&p, p.sent, 300), GR_OK);
    assert_int_equal(gr_pace_room(&p), INITIAL);
}

/* ---- at random ---- */

static void random_link(uint64_t seed)
{
    path way = {"random", 0, 0, 0, 0, 0};
    uint64_t dice = seed;
    way.rate = 200000 + prng_size(&dice, 4000000000);
    way.delay = 1 + prng_size(&dice, 300000);
    way.jitter = prng_size(&dice, 5000);
    way.fragment = 1024 + prng_below(&dice, 63 * KB);
    sim_init(&way);
    s.prng = seed;
    s.threshold = 16 * KB + prng_below(&dice, 48 * KB + 1);
    s.reports_ends = (int)prng_below(&dice, 2);
    s.resolution = 1 + prng_size(&dice, 4000);
    uint64_t budget = way.rate > 100000000 ? SECONDS / 2 : 5 * SECONDS;
    for (int i = 0; i < 10; i++) {
        sim_for(prng_size(&dice, budget), prng_size(&dice, way.rate));
        if (prng_below(&dice, 3) == 0)
            s.way.delay = 1 + prng_size(&dice, 300000);
        check(gr_pace_limit(&s.pace) >= (2 * ACK), "least limit");
        check(gr_pace_limit(&s.pace) <= LIMIT_MAX, "largest limit");
    }
    sim_for(3600 * SECONDS, 0);
    check(s.owed == 0, "all is sent in the end");
    check(s.got - s.pace.acked < s.threshold, "and reported");
}

static void random_links_never_stop(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= RANDOM_LINKS; seed++)
        random_link(seed);
}

/* Any order of any values: the limit stays in its bounds, and a full report makes room. */
static void random_lives_stay_in_bounds(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= RANDOM_LIVES; seed++) {
        gr_pace p;
        uint64_t dice = seed;
        uint64_t now = prng_below(&dice, 2) ? prng_next(&dice) : 0;
        int wild = prng_below(&dice, 4) == 0;
        gr_pace_init(&p, ACK);
        for (unsigned i = 0; i < RANDOM_STEPS; i++) {
            size_t most = (size_t)1 << (wild ? 50 : 17);
            uint64_t total = p.acked + prng_below(&dice, p.sent - p.acked + 2);
            now = wild ? prng_next(&dice) : now + prng_size(&dice, 100000);
            if (prng_below(&dice, 8) == 0)
                gr_pace_idle(&p);
            if (wild || gr_pace_room(&p) > 0)
                gr_pace_sent(&p, prng_size(&dice, most), now);
            int rc = total > p.sent || total < p.acked ? GR_EPROTO : GR_OK;
            assert_rc(gr_pace_acked(&p, total, now), rc);
            assert_true(gr_pace_limit(&p) >= (2 * ACK));
            assert_true(gr_pace_limit(&p) <= LIMIT_MAX);
        }
        assert_rc(gr_pace_acked(&p, p.sent, now), GR_OK);
        assert_int_equal(gr_pace_room(&p), gr_pace_limit(&p));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_path_is_filled_and_no_more),
        cmocka_unit_test(clocks_of_any_resolution_will_do),
        cmocka_unit_test(clock_that_stands_still_changes_nothing),
        cmocka_unit_test(reports_up_to_the_largest_allowed_never_stop_it),
        cmocka_unit_test(first_message_does_not_crawl),
        cmocka_unit_test(slow_start_of_tcp_is_followed),
        cmocka_unit_test(growth_ends_when_the_path_is_full),
        cmocka_unit_test(longer_route_is_filled_within_seconds),
        cmocka_unit_test(shorter_route_has_a_short_queue_within_seconds),
        cmocka_unit_test(limit_follows_the_rate),
        cmocka_unit_test(silence_of_a_scheduler_does_not_raise_the_limit),
        cmocka_unit_test(one_long_silence_does_not_lower_the_limit),
        cmocka_unit_test(hour_of_silence_is_not_counted),
        cmocka_unit_test(lack_of_messages_does_not_lower_the_limit),
        cmocka_unit_test(sparse_messages_do_not_spoil_the_round_trip),
        cmocka_unit_test(messages_one_by_one_fill_the_path_too),
        cmocka_unit_test(short_messages_end_the_growth_too),
        cmocka_unit_test(nothing_drifts),
        cmocka_unit_test(impossible_reports_are_refused),
        cmocka_unit_test(room_is_what_the_limit_leaves),
        cmocka_unit_test(random_links_never_stop),
        cmocka_unit_test(random_lives_stay_in_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
