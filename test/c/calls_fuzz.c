/* SPDX-License-Identifier: Apache-2.0 */
/* The call table beside a plain list: after every step both have the same calls in the same order. */
#include <string.h>

#include "cmocka_support.h"
#include "fuzz_support.h"
#include "gr_calls.h"

/* Calls at a time: enough for the table to grow and split its buckets some times. */
#define CALLS_MAX 300u
#define TAG_MAX 40u

/* What a call of this size may take, the table's own share included. */
#define MEMORY_EACH (sizeof(gr_call) + TAG_MAX + 4 * sizeof(void *))
#define MEMORY_BASE ((size_t)1024)

typedef struct entry {
    uint64_t id;
    uintptr_t caller;
    uint8_t tag[TAG_MAX];
    size_t tag_size;
} entry;

typedef struct table {
    test_mem mem;
    gr_calls calls;
    entry list[CALLS_MAX]; /* oldest first */
    size_t count;
    size_t most;
    size_t walked; /* of the list, by the walk that goes on */
} table;

static size_t find(const table *t, uint64_t id)
{
    size_t i = 0;
    while (i < t->count && t->list[i].id != id)
        i++;
    return i;
}

static void check_same(const entry *e, const gr_call *c)
{
    assert_true(c->id == e->id && c->caller == e->caller);
    assert_int_equal(c->tag_size, e->tag_size);
    assert_memory_equal(c->tag, e->tag, e->tag_size);
}

static void forget(table *t, size_t i)
{
    t->count--;
    t->walked -= i < t->walked;
    if (t->walked == t->count)
        t->walked = 0;
    memmove(t->list + i, t->list + i + 1, (t->count - i) * sizeof *t->list);
}

/* Ids that fall into one bucket, or go on by one, or are anything. */
static uint64_t some_id(fuzz_in *in)
{
    uint8_t kind = fuzz_byte(in);
    if (kind < 100)
        return fuzz_byte(in);
    return kind < 180 ? (uint64_t)fuzz_byte(in) << 32 : fuzz_int(in, 8);
}

static void put(table *t, fuzz_in *in)
{
    entry e = {.id = some_id(in), .caller = (uintptr_t)fuzz_byte(in)};
    gr_str tag = fuzz_take(in, fuzz_byte(in) % (TAG_MAX + 1));
    gr_call *c = NULL;
    if (t->count == CALLS_MAX)
        return;
    if (tag.size)
        memcpy(e.tag, tag.data, tag.size);
    e.tag_size = tag.size;
    int rc = gr_calls_put(&t->calls, e.id, e.caller, e.tag, e.tag_size, &c);
    if (rc == GR_ENOMEM && t->mem.failed)
        return;
    if (find(t, e.id) < t->count) {
        assert_rc(rc, GR_EEXIST);
        return;
    }
    assert_rc(rc, GR_OK);
    check_same(&e, c);
    t->list[t->count++] = e;
    t->most = t->count > t->most ? t->count : t->most;
}

static void take(table *t, uint64_t id)
{
    size_t i = find(t, id);
    gr_call *c = gr_calls_take(&t->calls, id);
    assert_int_equal(c != NULL, i < t->count);
    if (!c)
        return;
    check_same(&t->list[i], c);
    gr_call_free(&t->calls, c);
    forget(t, i);
}

static void take_oldest(table *t)
{
    gr_call *c = gr_calls_take_oldest(&t->calls);
    assert_int_equal(c != NULL, t->count != 0);
    if (!c)
        return;
    check_same(&t->list[0], c);
    gr_call_free(&t->calls, c);
    forget(t, 0);
}

/* It sees every call that stays, once. The end of the table is the end of a walk, too. */
static void walk(table *t, size_t budget)
{
    const gr_call *c;
    while ((c = gr_calls_walk(&t->calls, &budget)) != NULL) {
        check_same(&t->list[t->walked++], c);
        if (t->walked == t->count) {
            assert_int_equal(budget, 0);
            t->walked = 0;
        }
    }
    assert_true(budget == 0 || t->count == 0);
}

static void check(const table *t)
{
    size_t i = 0;
    assert_int_equal(t->calls.count, t->count);
    for (const gr_call *c = t->calls.oldest; c; c = c->newer)
        check_same(&t->list[i++], c);
    assert_int_equal(i, t->count);
    for (i = 0; i < t->count; i++)
        assert_ptr_equal(gr_calls_find(&t->calls, t->list[i].id)->caller, t->list[i].caller);
    assert_true(t->mem.peak <= MEMORY_BASE + t->most * MEMORY_EACH);
}

static void step(table *t, fuzz_in *in)
{
    uint8_t what = fuzz_byte(in);
    if (what < 120)
        put(t, in);
    else if (what < 160)
        take(t, some_id(in));
    else if (what < 180 && t->count)
        take(t, t->list[fuzz_byte(in) % t->count].id);
    else if (what < 200)
        take_oldest(t);
    else if (what < 240)
        walk(t, fuzz_byte(in));
    else
        fuzz_fail_alloc(in, &t->mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    table t;
    memset(&t, 0, sizeof t);
    mem_init(&t.mem);
    gr_calls_init(&t.calls, &t.mem.vt);
    while (in.size) {
        step(&t, &in);
        check(&t);
    }
    gr_calls_clear(&t.calls);
    mem_check_empty(&t.mem);
    return 0;
}
