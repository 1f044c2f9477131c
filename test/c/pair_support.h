/* SPDX-License-Identifier: Apache-2.0 */
/* Two sessions joined in memory, with a link that cuts their bytes as the test likes. */
#ifndef PAIR_SUPPORT_H
#define PAIR_SUPPORT_H

#include "end_support.h"

/* One direction of the link. */
typedef struct test_link {
    test_bytes bytes; /* have left one side, not yet reached the other */
    uint64_t moved;   /* bytes delivered, ever */
    uint64_t stop;    /* no delivery goes across this offset, to split there; 0: none */
    test_bytes *tap;  /* gets a copy of all that leaves; NULL: nobody listens */
} test_link;

typedef struct test_pair {
    test_mem mem; /* of both sides */
    test_end client;
    test_end server;
    test_link up;   /* to the server */
    test_link down; /* to the client */
    uint64_t now;   /* of both clocks, ms */
    size_t chunk;   /* most that moves at once, bytes; 0: all there is */
    uint64_t prng;  /* state; 0: every move is as large as may be, else of random size */
} test_pair;

/* Makes the two sessions; NULL: end_config. Nothing has moved yet. */
void pair_open(test_pair *p, const gr_session_config *client, const gr_session_config *server);

/* pair_open, then the handshake, which must succeed; its events are taken. */
void pair_open_up(test_pair *p, const gr_session_config *client, const gr_session_config *server);

/* Frees all and fails the test when anything is left. */
void pair_close(test_pair *p);

/* Moves some bytes one way. Returns whether any moved. */
int link_send(test_pair *p, test_end *from, test_link *l);
int link_deliver(test_pair *p, test_link *l, test_end *to);

/* Moves bytes both ways until there are none. */
void pair_pump(test_pair *p);

/* Moves time on; both sides do what is due at its time, and bytes move at once. */
void pair_advance(test_pair *p, uint64_t ms);

/* Sets both clocks without doing anything. */
void pair_clock(test_pair *p, uint64_t now);

#endif
