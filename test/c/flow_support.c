/* SPDX-License-Identifier: Apache-2.0 */
/* Traffic and what came of it. */
#include "flow_support.h"

#include <stdlib.h>
#include <string.h>

#include "cmocka_support.h"

/* Bodies that begin with this are noise behind it. */
#define NOISE (UINT64_C(1) << 63)

static void noise_fill(uint8_t *data, size_t size, uint64_t seed)
{
    uint64_t prng = seed;
    body_fill(data, size, seed | NOISE);
    for (size_t i = 8; i < size; i++)
        data[i] = (uint8_t)prng_next(&prng);
}

static uint64_t seed_of(const uint8_t *data, size_t size)
{
    if (size < 8 || !(data[0] & 0x80))
        return body_seed(data, size);
    uint64_t seed = 0;
    for (size_t i = 0; i < 8; i++)
        seed = seed << 8 | data[i];
    uint64_t prng = seed & ~NOISE;
    for (size_t i = 8; i < size; i++)
        assert_int_equal(data[i], (uint8_t)prng_next(&prng));
    return seed & ~NOISE;
}

static void keep(flow *f, const flow_item *i)
{
    if (f->keep && !f->keep(f->ctx, i))
        return;
    if (f->count == f->room) {
        f->room = f->room ? f->room * 2 : 64;
        f->items = realloc(f->items, f->room * sizeof *f->items);
        assert_non_null(f->items);
    }
    f->items[f->count++] = *i;
}

static void on_body(flow *f, test_end *e, const gr_event *ev, flow_item *i)
{
    uint64_t seed = seed_of(ev->data, ev->size);
    i->size = ev->size;
    i->order = ev->type == GR_EV_REPLY ? GR_UNORDERED : ev->order;
    f->came += ev->size;
    if (ev->type == GR_EV_CAST)
        i->id = seed;
    else
        assert_int_equal(seed, ev->size < 8 ? ev->size : i->id);
    if (f->take_ordered && i->order != GR_UNORDERED)
        gr_session_taken(e->s, 1, ev->size);
}

static void set_hold(const flow *f, test_end *e)
{
    int all = f->hold || (f->hold_congested && gr_session_is_congested(e->s));
    gr_session_hold(e->s, all ? GR_HOLD_ALL : GR_HOLD_NONE);
}

static void on_event(void *ctx, test_end *e, gr_event *ev)
{
    flow *f = ctx;
    flow_item i = {.type = ev->type, .id = ev->call ? ev->call->id : ev->id};
    if (ev->type == GR_EV_REQUEST || ev->type == GR_EV_CAST || ev->type == GR_EV_REPLY)
        on_body(f, e, ev, &i);
    keep(f, &i);
    if (ev->type == GR_EV_REQUEST && f->replies)
        assert_rc(flow_reply(e, ev->id, f->reply_size), GR_OK);
    set_hold(f, e);
}

static void attach(flow *f, test_end *e)
{
    memset(f, 0, sizeof *f);
    e->hook = on_event;
    e->ctx = f;
}

void flow_open(test_pair *p, flow *client, flow *server, const gr_session_config *c,
               const gr_session_config *s)
{
    pair_open_up(p, c, s);
    attach(client, &p->client);
    attach(server, &p->server);
    server->take_ordered = 1;
}

void flow_close(test_pair *p, flow *client, flow *server)
{
    free(client->items);
    free(server->items);
    memset(client, 0, sizeof *client);
    memset(server, 0, sizeof *server);
    pair_close(p);
}

void flow_hold(flow *f, test_end *e, int on)
{
    f->hold = on;
    set_hold(f, e);
    end_take(e);
}

size_t flow_count(const flow *f, gr_event_type type)
{
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++)
        n += f->items[i].type == type;
    return n;
}

size_t flow_find(const flow *f, gr_event_type type, uint64_t id)
{
    size_t i = 0;
    while (i < f->count && !(f->items[i].type == type && f->items[i].id == id))
        i++;
    return i;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void flow_check_unique(const flow *f, gr_event_type type)
{
    size_t n = 0;
    uint64_t *ids = malloc((f->count + 1) * sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < f->count; i++)
        if (f->items[i].type == type)
            ids[n++] = f->items[i].id;
    qsort(ids, n, sizeof *ids, compare);
    for (size_t i = 1; i < n; i++)
        assert_true(ids[i] != ids[i - 1]);
    free(ids);
}

static gr_blob blob_of(test_end *e, size_t size, uint64_t seed, int noise)
{
    gr_blob b = mem_blob(e->mem, size, 0);
    if (noise)
        noise_fill(b.data, size, seed);
    else
        body_fill(b.data, size, seed);
    return b;
}

int flow_call(test_end *e, gr_order order, uint64_t id, size_t size, uint64_t deadline)
{
    gr_submit who = submit_of(id);
    gr_blob b = blob_of(e, size, id, 0);
    gr_piece p = {b.data, b.size, b.owner};
    who.order = order;
    who.deadline = deadline;
    int rc = gr_session_call(e->s, &who, &p, 1);
    mem_unref(e->mem, &b);
    return rc;
}

static int cast(test_end *e, gr_order order, uint64_t seed, size_t size, int noise)
{
    gr_blob b = blob_of(e, size, seed, noise);
    gr_piece p = {b.data, b.size, b.owner};
    int rc = gr_session_cast(e->s, order, &p, 1);
    mem_unref(e->mem, &b);
    return rc;
}

int flow_cast(test_end *e, gr_order order, uint64_t seed, size_t size)
{
    return cast(e, order, seed, size, 0);
}

int flow_cast_noise(test_end *e, gr_order order, uint64_t seed, size_t size)
{
    assert_true(size >= 8);
    return cast(e, order, seed, size, 1);
}

int flow_reply(test_end *e, uint64_t id, size_t size)
{
    gr_blob b = blob_of(e, size, id, 0);
    gr_piece p = {b.data, b.size, b.owner};
    int rc = gr_session_reply(e->s, id, &p, 1);
    mem_unref(e->mem, &b);
    return rc;
}

static int move_one_way(test_pair *p, test_end *from, test_link *l, test_end *to, size_t buffer)
{
    int moved = 0;
    size_t chunk = p->chunk;
    if (l->bytes.size < buffer) {
        p->chunk = buffer - l->bytes.size;
        moved = link_send(p, from, l);
    }
    p->chunk = chunk;
    return link_deliver(p, l, to) | moved;
}

int flow_move(test_pair *p, size_t buffer)
{
    int moved = move_one_way(p, &p->client, &p->up, &p->server, buffer);
    return move_one_way(p, &p->server, &p->down, &p->client, buffer) | moved;
}

int flow_forge(test_end *e, const frame_seen *f)
{
    test_bytes b = {0};
    frames_put(&b, f);
    int rc = end_feed(e, b.data, b.size);
    bytes_free(&b);
    return rc;
}
