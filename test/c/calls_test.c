/* SPDX-License-Identifier: Apache-2.0 */
/* Call table: against a naive model, with ids of every kind, and at size. */
#include <stdlib.h>
#include <string.h>

#include "bytes_support.h"
#include "cmocka_support.h"
#include "gr_calls.h"
#include "mem_support.h"

#define MANY ((size_t)200000)
#define MODEL_N 600u

static test_mem mem;
static gr_calls t;

static int setup(void **state)
{
    (void)state;
    mem_init(&mem);
    memset(&t, 0xa5, sizeof t);
    gr_calls_init(&t, &mem.vt);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gr_calls_clear(&t);
    mem_check_empty(&mem);
    return 0;
}

static uint64_t sequential(uint64_t i)
{
    return i + 1;
}

static uint64_t same_low_bits(uint64_t i)
{
    return i << 20 | 0x12345;
}

static uint64_t multiples_of_2_32(uint64_t i)
{
    return i << 32;
}

static uint64_t scattered(uint64_t i)
{
    return prng_next(&i);
}

static uint64_t from_the_top(uint64_t i)
{
    return UINT64_MAX - i;
}

/* Halves that cancel out where a hash only folds one onto the other. */
static uint64_t equal_halves(uint64_t i)
{
    return i << 32 | i;
}

static uint64_t (*const families[])(uint64_t) = {sequential, same_low_bits, multiples_of_2_32,
                                                 scattered,  from_the_top,  equal_halves};

static gr_call *put(uint64_t id)
{
    gr_call *c = NULL;
    assert_rc(gr_calls_put(&t, id, 0, NULL, 0, &c), GR_OK);
    assert_non_null(c);
    return c;
}

/* Whether a call was there, which is then gone. */
static int drop(gr_call *c, uint64_t id)
{
    if (!c)
        return 0;
    assert_true(c->id == id);
    gr_call_free(&t, c);
    return 1;
}

/* What is put comes back, with a tag of its own. */
static void entry_holds_what_was_put(void **state)
{
    (void)state;
    uint8_t tag[5] = "abcde";
    gr_call *c;
    assert_rc(gr_calls_put(&t, 9, 77, tag, sizeof tag, &c), GR_OK);
    memset(tag, 0, sizeof tag);
    assert_int_equal(t.count, 1);
    assert_ptr_equal(gr_calls_take(&t, 9), c);
    assert_int_equal(c->id, 9);
    assert_int_equal(c->caller, 77);
    assert_true(c->deadline == GR_FOREVER);
    assert_int_equal(c->position, 0);
    assert_int_equal(c->tag_size, 5);
    assert_memory_equal(c->tag, "abcde", 5);
    assert_int_equal(t.count, 0);
    gr_call_free(&t, c);
}

/* One id, one call; the second is refused and the first is as it was. */
static void duplicate_id_is_refused(void **state)
{
    (void)state;
    for (uint64_t id = 0; id < 100; id++)
        put(id);
    size_t live = mem.live;
    for (uint64_t id = 0; id < 100; id++) {
        gr_call *c;
        assert_rc(gr_calls_put(&t, id, 1, NULL, 0, &c), GR_EEXIST);
    }
    assert_int_equal(t.count, 100);
    assert_int_equal(mem.live, live);
    assert_true(drop(gr_calls_take(&t, 50), 50));
    put(50);
}

/* A reply to a call that nobody made, or that is over, finds nothing. */
static void unknown_id_takes_nothing(void **state)
{
    (void)state;
    size_t budget = 10;
    assert_null(gr_calls_take(&t, 1));
    assert_null(gr_calls_take_oldest(&t));
    assert_null(gr_calls_find(&t, 1));
    assert_null(gr_calls_walk(&t, &budget));
    put(1);
    assert_null(gr_calls_take(&t, 2));
    assert_true(drop(gr_calls_take(&t, 1), 1));
    assert_null(gr_calls_take(&t, 1));
}

/* Waiting submitters are woken in the order in which they came, whatever their ids. */
static void oldest_is_in_order_of_insertion(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1000; i++)
        put(scattered(i));
    for (uint64_t i = 0; i < 1000; i += 3)
        assert_true(drop(gr_calls_take(&t, scattered(i)), scattered(i)));
    for (uint64_t i = 0; i < 1000; i++)
        if (i % 3)
            assert_true(drop(gr_calls_take_oldest(&t), scattered(i)));
    assert_null(gr_calls_take_oldest(&t));
}

/* Expects that the next calls of the walk are these, and takes as many from the budget. */
static void expect_walk(size_t *budget, uint64_t from, uint64_t to)
{
    for (uint64_t id = from; id <= to; id++) {
        size_t before = *budget;
        const gr_call *c = gr_calls_walk(&t, budget);
        assert_non_null(c);
        assert_true(c->id == id);
        assert_true(*budget < before);
    }
}

/* What is found stays where it is, and what is not there is not found. */
static void found_call_stays(void **state)
{
    (void)state;
    assert_null(gr_calls_find(&t, 1));
    for (uint64_t id = 1; id <= 100; id++)
        put(id);
    for (uint64_t id = 1; id <= 100; id++)
        assert_true(gr_calls_find(&t, id)->id == id);
    assert_null(gr_calls_find(&t, 0));
    assert_null(gr_calls_find(&t, 101));
    assert_int_equal(t.count, 100);
    assert_true(drop(gr_calls_take(&t, 50), 50));
    assert_null(gr_calls_find(&t, 50));
}

/* A walk sees all calls, oldest first, and they stay. */
static void walk_sees_all_in_order(void **state)
{
    (void)state;
    size_t budget = 1000;
    assert_null(gr_calls_walk(&t, &budget));
    for (uint64_t id = 1; id <= 10; id++)
        put(id);
    expect_walk(&budget, 1, 10);
    assert_int_equal(t.count, 10);
}

/* It looks at no more calls than it may, and the next one goes on where it stopped. */
static void walk_stops_at_its_budget_and_goes_on(void **state)
{
    (void)state;
    for (uint64_t id = 0; id < 100; id++)
        put(id);
    for (uint64_t i = 0; i < 9; i++) {
        size_t budget = 11;
        expect_walk(&budget, i * 11, i * 11 + 10);
        assert_int_equal(budget, 0);
        assert_null(gr_calls_walk(&t, &budget));
    }
    size_t budget = 1;
    expect_walk(&budget, 99, 99);
    assert_null(gr_calls_walk(&t, &budget));
}

/* It goes round once at most, even with budget left over; the next one begins at the oldest. */
static void walk_ends_at_the_newest(void **state)
{
    (void)state;
    for (uint64_t id = 0; id < 10; id++)
        put(id);
    for (int i = 0; i < 3; i++) {
        size_t budget = 1000;
        expect_walk(&budget, 0, 9);
        assert_null(gr_calls_walk(&t, &budget));
        assert_int_equal(budget, 0);
    }
}

/* Whoever walks may take what he was shown. */
static void walk_survives_the_removal_of_what_it_showed(void **state)
{
    (void)state;
    for (uint64_t id = 0; id < 10; id++)
        put(id);
    for (uint64_t id = 0; id < 10; id++) {
        size_t budget = 1;
        assert_true(drop(gr_calls_take(&t, gr_calls_walk(&t, &budget)->id), id));
    }
    size_t budget = 1;
    assert_null(gr_calls_walk(&t, &budget));
}

/* The call where the next walk begins may be answered before that. */
static void walk_survives_the_removal_of_its_place(void **state)
{
    (void)state;
    for (uint64_t id = 0; id < 10; id++)
        put(id);
    size_t budget = 4;
    expect_walk(&budget, 0, 3);
    assert_true(drop(gr_calls_take(&t, 4), 4));
    assert_true(drop(gr_calls_take(&t, 5), 5));
    budget = 1;
    expect_walk(&budget, 6, 6);
    for (uint64_t id = 7; id < 10; id++)
        assert_true(drop(gr_calls_take(&t, id), id));
    assert_null(t.cursor);
    budget = 100;
    expect_walk(&budget, 0, 3);
    expect_walk(&budget, 6, 6);
}

/* Calls that end elsewhere do not move it. */
static void walk_keeps_its_place_when_others_end(void **state)
{
    (void)state;
    for (uint64_t id = 0; id < 10; id++)
        put(id);
    size_t budget = 4;
    expect_walk(&budget, 0, 3);
    assert_true(drop(gr_calls_take(&t, 0), 0));
    assert_true(drop(gr_calls_take(&t, 8), 8));
    budget = 1;
    expect_walk(&budget, 4, 4);
}

/* ---- against a model ---- */

/* The same as a list in order of insertion. */
typedef struct model {
    uint64_t list[MODEL_N];
    size_t count;
    size_t cursor; /* where the next walk begins; count: at the oldest */
} model;

static size_t model_find(const model *m, uint64_t id)
{
    size_t i = 0;
    while (i < m->count && m->list[i] != id)
        i++;
    return i;
}

static void model_remove(model *m, size_t i)
{
    m->count--;
    memmove(&m->list[i], &m->list[i + 1], (m->count - i) * sizeof m->list[0]);
    m->cursor -= i < m->cursor;
}

static void model_put(model *m, uint64_t id)
{
    gr_call *c;
    if (m->count == MODEL_N)
        return;
    int known = model_find(m, id) < m->count;
    assert_rc(gr_calls_put(&t, id, 0, NULL, 0, &c), known ? GR_EEXIST : GR_OK);
    if (known)
        return;
    m->cursor += m->cursor == m->count;
    m->list[m->count++] = id;
}

/* Shows what the model says, in its order; some of that is taken. */
static void model_walk(model *m, uint64_t *prng, size_t budget)
{
    const gr_call *c;
    size_t at = m->cursor == m->count ? 0 : m->cursor;
    size_t left = budget;
    for (; left && at < m->count; left--) {
        c = gr_calls_walk(&t, &budget);
        assert_non_null(c);
        assert_true(c->id == m->list[at]);
        m->cursor = ++at;
        if (prng_below(prng, 4))
            continue;
        assert_true(drop(gr_calls_take(&t, c->id), m->list[at - 1]));
        model_remove(m, --at);
    }
    assert_null(gr_calls_walk(&t, &budget));
}

static void model_check(const model *m)
{
    size_t i = 0;
    assert_int_equal(t.count, m->count);
    for (const gr_call *c = t.oldest; c; c = c->newer, i++) {
        assert_true(i < m->count && c->id == m->list[i]);
        assert_true(c->older ? c->older->newer == c : t.oldest == c);
    }
    assert_int_equal(i, m->count);
    if (m->cursor == m->count)
        assert_true(!t.cursor || t.cursor == t.oldest);
    else
        assert_true(t.cursor && t.cursor->id == m->list[m->cursor]);
    assert_true(!t.count || (t.used > t.room / 2 && t.used <= t.room));
}

static void model_step(model *m, uint64_t *prng, uint64_t (*id_of)(uint64_t))
{
    uint64_t id = id_of(prng_below(prng, 2 * MODEL_N));
    size_t i = model_find(m, id);
    switch (prng_below(prng, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        assert_int_equal(drop(gr_calls_take(&t, id), id), i < m->count);
        if (i < m->count)
            model_remove(m, i);
        break;
    case 4:
        if (m->count) {
            assert_true(drop(gr_calls_take_oldest(&t), m->list[0]));
            model_remove(m, 0);
        }
        break;
    case 5:
        model_walk(m, prng, (size_t)prng_below(prng, 30));
        break;
    case 6:
        assert_int_equal(gr_calls_find(&t, id) != NULL, i < m->count);
        break;
    default:
        model_put(m, id);
    }
}

/* Random use does what a plain list would do, with every family of ids. */
static void random_use_does_what_a_list_does(void **state)
{
    (void)state;
    static model m;
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        uint64_t prng = f;
        memset(&m, 0, sizeof m);
        for (int i = 0; i < 20000; i++) {
            model_step(&m, &prng, families[f]);
            if (i % 64 == 0)
                model_check(&m);
        }
        model_check(&m);
        gr_calls_clear(&t);
        mem_check_empty(&mem);
    }
}

/* ---- at size ---- */

static size_t longest_chain(void)
{
    size_t longest = 0;
    for (size_t i = 0; i < t.used; i++) {
        size_t n = 0;
        for (const gr_call *c = t.buckets[i]; c; c = c->chain)
            n++;
        longest = n > longest ? n : longest;
    }
    return longest;
}

/* 200,000 calls at once: all are found, in any order, and no bucket is crowded. */
static void many_calls_are_all_found(void **state)
{
    (void)state;
    uint64_t *order = malloc(MANY * sizeof *order);
    assert_non_null(order);
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        uint64_t prng = f;
        for (uint64_t i = 0; i < MANY; i++) {
            uint64_t j = prng_below(&prng, i + 1);
            order[i] = order[j];
            order[j] = i;
            put(families[f](i));
        }
        assert_int_equal(t.count, MANY);
        assert_true(longest_chain() < 16);
        for (size_t i = 0; i < MANY; i++)
            if (!drop(gr_calls_take(&t, families[f](order[i])), families[f](order[i])))
                fail();
        assert_int_equal(t.count, 0);
        gr_calls_clear(&t);
    }
    free(order);
}

/* A failed allocation changes nothing: not the calls that wait, and not what can be done next. */
static void failed_put_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t id = 0; id < 300; id++) {
        gr_call *c;
        mem.fail_at = mem.tries + 1;
        int rc = gr_calls_put(&t, id, 0, NULL, 0, &c);
        assert_rc(rc, GR_ENOMEM);
        mem.fail_at = mem.tries + 2;
        rc = gr_calls_put(&t, id, 0, NULL, 0, &c);
        mem.fail_at = 0;
        if (rc != GR_OK)
            put(id);
        assert_int_equal(t.count, id + 1);
    }
    for (uint64_t id = 0; id < 300; id++)
        assert_true(drop(gr_calls_take(&t, id), id));
}

/* An empty table holds no memory, and clearing one twice does no harm. */
static void unused_table_holds_nothing(void **state)
{
    (void)state;
    assert_int_equal(mem.tries, 0);
    put(1);
    gr_calls_clear(&t);
    gr_calls_clear(&t);
    mem_check_empty(&mem);
    put(1);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(entry_holds_what_was_put),
        test_of(duplicate_id_is_refused),
        test_of(unknown_id_takes_nothing),
        test_of(oldest_is_in_order_of_insertion),
        test_of(found_call_stays),
        test_of(walk_sees_all_in_order),
        test_of(walk_stops_at_its_budget_and_goes_on),
        test_of(walk_ends_at_the_newest),
        test_of(walk_survives_the_removal_of_what_it_showed),
        test_of(walk_survives_the_removal_of_its_place),
        test_of(walk_keeps_its_place_when_others_end),
        test_of(random_use_does_what_a_list_does),
        test_of(many_calls_are_all_found),
        test_of(failed_put_changes_nothing),
        test_of(unused_table_holds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
