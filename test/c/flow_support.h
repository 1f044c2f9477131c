/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traffic between the two ends of a pair whose messages may pass each other: bodies say themselves which
 * they are, and events are kept as a list of what came, in order, with each body checked.
 */
#ifndef FLOW_SUPPORT_H
#define FLOW_SUPPORT_H

#include "frames_support.h"
#include "pair_support.h"

typedef struct flow_item {
    gr_event_type type;
    uint64_t id; /* of the request, the cancel or the call; of a cast: its seed */
    gr_order order;
    size_t size;
} flow_item;

/* What came to one end. All zero is a new one. */
typedef struct flow {
    flow_item *items;
    size_t count;
    size_t room;
    int replies;                                /* requests are answered at once... */
    size_t reply_size;                          /* ...with so many bytes */
    int hold;                                   /* requests and casts are held back */
    int hold_congested;                         /* they are while the session is congested */
    int take_ordered;                           /* ordered messages are taken up at once */
    uint64_t came;                              /* bytes of requests, casts and replies, ever */
    int (*keep)(void *ctx, const flow_item *i); /* whether to keep it; NULL: yes */
    void *ctx;
} flow;

/* A pair with its handshake done, whose events go to these two. The server's takes up what is ordered. */
void flow_open(test_pair *p, flow *client, flow *server, const gr_session_config *c,
               const gr_session_config *s);
void flow_close(test_pair *p, flow *client, flow *server);

/* Sets whether requests are held back, and takes what can be delivered now. */
void flow_hold(flow *f, test_end *e, int on);

/* How many items of that type there are. */
size_t flow_count(const flow *f, gr_event_type type);

/* Where the first of that type and id is; f->count if there is none. */
size_t flow_find(const flow *f, gr_event_type type, uint64_t id);

/* Fails the test unless all items of that type have ids of their own. */
void flow_check_unique(const flow *f, gr_event_type type);

/* A deadline as ms from now; GR_FOREVER: none. */
int flow_call(test_end *e, gr_order order, uint64_t id, size_t size, uint64_t deadline);
int flow_cast(test_end *e, gr_order order, uint64_t seed, size_t size);
int flow_reply(test_end *e, uint64_t id, size_t size);

/* The same with a body that no compression makes smaller. */
int flow_cast_noise(test_end *e, gr_order order, uint64_t seed, size_t size);

/* A link whose socket buffers hold so many bytes: moves what fits, once each way. Whether any moved. */
int flow_move(test_pair *p, size_t buffer);

/* Puts a frame as if the other end had sent it, and takes the events. Returns e->rc. */
int flow_forge(test_end *e, const frame_seen *f);

#endif
