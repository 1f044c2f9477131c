/* SPDX-License-Identifier: Apache-2.0 */
/* The link between two sessions and their common clock. */
#include "pair_support.h"

#include <string.h>

#include "cmocka_support.h"

void pair_open(test_pair *p, const gr_session_config *client, const gr_session_config *server)
{
    gr_session_config c = client ? *client : end_config(GR_CLIENT);
    gr_session_config s = server ? *server : end_config(GR_SERVER);
    memset(p, 0, sizeof *p);
    mem_init(&p->mem);
    p->now = c.now;
    assert_rc(end_open(&p->client, &p->mem, &c), GR_OK);
    assert_rc(end_open(&p->server, &p->mem, &s), GR_OK);
}

void pair_open_up(test_pair *p, const gr_session_config *client, const gr_session_config *server)
{
    pair_open(p, client, server);
    pair_pump(p);
    end_expect_only(&p->client, GR_EV_UP);
    end_expect_only(&p->server, GR_EV_UP);
}

void pair_close(test_pair *p)
{
    end_close(&p->client);
    end_close(&p->server);
    bytes_free(&p->up.bytes);
    bytes_free(&p->down.bytes);
    mem_check_empty(&p->mem);
}

static size_t portion(test_pair *p, size_t have)
{
    size_t n = p->chunk && p->chunk < have ? p->chunk : have;
    return p->prng && n ? 1 + (size_t)prng_below(&p->prng, n) : n;
}

int link_send(test_pair *p, test_end *from, test_link *l)
{
    size_t have = from->s ? gr_session_output(from->s) : 0;
    size_t before = l->bytes.size;
    if (!have || !end_drain(from, &l->bytes, portion(p, have)))
        return 0;
    if (l->tap)
        bytes_append(l->tap, l->bytes.data + before, l->bytes.size - before);
    return 1;
}

int link_deliver(test_pair *p, test_link *l, test_end *to)
{
    size_t n = portion(p, l->bytes.size);
    if (l->moved < l->stop && n > l->stop - l->moved)
        n = (size_t)(l->stop - l->moved);
    if (!n)
        return 0;
    n = end_offer(to, l->bytes.data, n);
    bytes_drop(&l->bytes, n);
    l->moved += n;
    return n > 0;
}

void pair_pump(test_pair *p)
{
    int busy = 1;
    end_take(&p->client);
    end_take(&p->server);
    while (busy) {
        busy = link_send(p, &p->client, &p->up);
        busy |= link_deliver(p, &p->up, &p->server);
        busy |= link_send(p, &p->server, &p->down);
        busy |= link_deliver(p, &p->down, &p->client);
    }
}

void pair_clock(test_pair *p, uint64_t now)
{
    p->now = now;
    gr_session_clock(p->client.s, now);
    gr_session_clock(p->server.s, now);
}

void pair_advance(test_pair *p, uint64_t ms)
{
    uint64_t until = p->now + ms;
    for (;;) {
        uint64_t c = gr_session_due(p->client.s);
        uint64_t s = gr_session_due(p->server.s);
        uint64_t due = c < s ? c : s;
        if (due > until)
            break;
        pair_clock(p, due > p->now ? due : p->now);
        end_tick(&p->client, p->now);
        end_tick(&p->server, p->now);
        pair_pump(p);
    }
    pair_clock(p, until);
}
