/* SPDX-License-Identifier: Apache-2.0 */
/* One session under test: bytes put in, bytes taken out, its events kept until a test looks. */
#ifndef END_SUPPORT_H
#define END_SUPPORT_H

#include "bytes_support.h"
#include "gr_session.h"
#include "mem_support.h"

/* A copy of an event; what the session lent or gave is freed at once. */
typedef struct end_event {
    gr_event_type type;
    uint64_t id; /* the event's, or its call's */
    gr_order order;
    uintptr_t caller;
    uint64_t deadline;
    test_bytes tag;
    test_bytes body;
    int in_blob; /* whether the body came in a blob */
    uint64_t too_big_size;
    uint64_t too_big_limit;
} end_event;

typedef struct test_end test_end;
struct test_end {
    test_mem *mem;
    gr_session *s;
    int rc;            /* the fatal code that ended it; GR_OK: none */
    int up;            /* whether it has ever been up */
    int ended;         /* whether it has had GR_EV_END */
    uint64_t us;       /* of its turns; goes on by some us with each */
    end_event *events; /* taken from the session, not yet by the test */
    size_t count;
    size_t room;
    void (*hook)(void *ctx, test_end *e, gr_event *ev); /* gets events instead of the list */
    void *ctx;
};

/*
 * A configuration that works: no times but auth_timeout (5 s), 1 MiB messages, the largest fragments, no
 * compression, a new nonce.
 */
gr_session_config end_config(gr_role role);

gr_str str_of(const char *z);

/* Borrows mem. Keeps what gr_session_new returns in e->rc, and returns it. */
int end_open(test_end *e, test_mem *mem, const gr_session_config *cfg);
void end_close(test_end *e);

/* Takes all events there are, in as many turns as it takes. */
void end_take(test_end *e);

/* Puts bytes in and takes the events. Returns e->rc. A dead session takes and ignores all. */
int end_feed(test_end *e, const void *data, size_t size);

/* The same as long as it looks at what comes. Returns how many bytes it took. */
size_t end_offer(test_end *e, const void *data, size_t size);

int end_feed_bytewise(test_end *e, const void *data, size_t size);

/* Moves output, all that may leave now, but at most max bytes, to the end of *to. Returns how much. */
size_t end_drain(test_end *e, test_bytes *to, size_t max);

/* The peer has closed. Returns e->rc. */
int end_eof(test_end *e);

/* Sets the clock and does what is due; fails the test if more is due at once. Returns e->rc. */
int end_tick(test_end *e, uint64_t now);

/* Removes the oldest event and fails the test unless it is of this type. Free with event_free. */
end_event end_expect(test_end *e, gr_event_type type);
void event_free(end_event *ev);

/* Removes the oldest event of this type and id, wherever it is: messages may pass each other. */
end_event end_find(test_end *e, gr_event_type type, uint64_t id);

/* end_expect for an event that needs no closer look. */
void end_expect_only(test_end *e, gr_event_type type);
void end_expect_none(const test_end *e);

gr_session_stats end_stats(const test_end *e);

/* Submit with id, tag and caller made from the id and a body with the pattern of the id. */
gr_submit submit_of(uint64_t id);
int end_call(test_end *e, uint64_t id, size_t size);
int end_cast(test_end *e, uint64_t seed, size_t size);
int end_cast_as(test_end *e, gr_order order, uint64_t seed, size_t size);
int end_reply(test_end *e, uint64_t id, size_t size);

/* Expects GR_EV_REPLY to that call, with what submit_of and end_reply made of the id. */
void end_expect_reply(test_end *e, uint64_t id, size_t size);
void end_expect_request(test_end *e, uint64_t id, size_t size);

/* The same, wherever it is. */
void end_find_reply(test_end *e, uint64_t id, size_t size);
void end_find_request(test_end *e, uint64_t id, size_t size);

void end_expect_cast(test_end *e, gr_order order, uint64_t seed, size_t size);
void end_expect_cancel(test_end *e, uint64_t id);

#endif
