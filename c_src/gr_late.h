/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a message was under way, by the sender's and the receiver's clock, which have nothing in
 * common: beside the fastest one of late.
 */
#ifndef GR_LATE_H
#define GR_LATE_H

#include "gr_base.h"

/* All zero: nothing has come yet. */
typedef struct gr_late {
    int any;
    uint32_t best;  /* least difference of the clocks in the window before this one and in it, ms */
    uint32_t next;  /* in this one */
    uint32_t spent; /* ms of it, pauses in the traffic shortened */
    uint64_t last;  /* when the last message came, ms */
} gr_late;

/*
 * A message arrives that was stamped so by its sender's clock, ms, low 32 bits. Returns by how many
 * ms it took longer than the fastest one of the last 10 to 20 s of traffic.
 */
uint32_t gr_late_of(gr_late *l, uint32_t stamp, uint64_t now);

#endif
