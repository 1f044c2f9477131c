/* SPDX-License-Identifier: Apache-2.0 */
/* Inbox: what is held back comes out as it went in, and costs nothing behind that. */
#include <string.h>

#include "bytes_support.h"
#include "cmocka_support.h"
#include "gr_inbox.h"
#include "mem_support.h"

static test_mem mem;
static gr_inbox box;

static int setup(void **state)
{
    (void)state;
    mem_init(&mem);
    memset(&box, 0xa5, sizeof box);
    gr_inbox_init(&box, &mem.vt, &mem.blobs);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gr_inbox_clear(&box);
    mem_check_empty(&mem);
    return 0;
}

static gr_input input_of(uint64_t id, const uint8_t *data, size_t size)
{
    gr_input in;
    memset(&in, 0, sizeof in);
    in.frame.type = GR_FRAME_REQUEST;
    in.frame.id = id;
    in.frame.size = (uint32_t)size;
    in.data = data;
    in.charge = size + 16;
    return in;
}

/* Puts a message that lies in the read buffer, which is used for something else at once. */
static void put_copied(uint64_t id, size_t size)
{
    uint8_t buf[1000];
    pattern_fill(buf, size, id);
    gr_input in = input_of(id, buf, size);
    assert_rc(gr_inbox_put(&box, &in), GR_OK);
    memset(buf, 0, sizeof buf);
}

static void put_blob(uint64_t id, size_t size)
{
    gr_blob b = mem_blob(&mem, size, id);
    gr_input in = input_of(id, b.data, size);
    in.blob = b;
    in.frame.flags = GR_FLAG_LARGE;
    in.frame.slot = 7;
    assert_rc(gr_inbox_put(&box, &in), GR_OK);
}

static void expect(uint64_t id, size_t size)
{
    gr_input in;
    assert_true(gr_inbox_take(&box, &in));
    assert_int_equal(in.frame.type, GR_FRAME_REQUEST);
    assert_int_equal(in.frame.id, id);
    assert_int_equal(in.frame.size, size);
    assert_int_equal(in.charge, size + 16);
    assert_non_null(in.blob.owner);
    assert_ptr_equal(in.data, in.blob.data);
    assert_true(pattern_matches(in.data, size, id));
    mem_unref(&mem, &in.blob);
}

static void nothing_in_nothing_out(void **state)
{
    (void)state;
    gr_input in;
    assert_false(gr_inbox_take(&box, &in));
    assert_int_equal(box.bytes, 0);
    assert_int_equal(mem.tries, 0);
}

/* The oldest first, whether it was copied or brought its blob; also after it has been empty. */
static void first_in_first_out(void **state)
{
    (void)state;
    for (size_t round = 0; round < 3; round++) {
        for (uint64_t id = 1; id <= 50; id++)
            id % 3 ? put_copied(id, (size_t)id % 5 * 200) : put_blob(id, 50000);
        for (uint64_t id = 1; id <= 50; id++)
            expect(id, id % 3 ? (size_t)id % 5 * 200 : 50000);
        gr_input in;
        assert_false(gr_inbox_take(&box, &in));
        assert_null(box.first);
        assert_null(box.last);
    }
}

/* It knows how many bytes of content it holds. */
static void bytes_are_counted(void **state)
{
    (void)state;
    put_copied(1, 100);
    put_blob(2, 30000);
    put_copied(3, 0);
    assert_int_equal(box.bytes, 30100);
    expect(1, 100);
    assert_int_equal(box.bytes, 30000);
    expect(2, 30000);
    assert_int_equal(box.bytes, 0);
    expect(3, 0);
    assert_int_equal(box.bytes, 0);
}

/* A blob changes hands without another reference; what is left inside is released in the end. */
static void blobs_change_hands(void **state)
{
    (void)state;
    gr_blob b = mem_blob(&mem, 30000, 1);
    gr_input in = input_of(1, b.data, b.size);
    in.blob = b;
    assert_rc(gr_inbox_put(&box, &in), GR_OK);
    assert_int_equal(mem_blob_refs(&b), 1);
    assert_int_equal(mem.created, 1);
    put_copied(2, 10);
    gr_inbox_clear(&box);
    mem_check_empty(&mem);
    assert_null(box.first);
    assert_int_equal(box.bytes, 0);
}

/* Without memory nothing is held, and the blob is still the caller's. */
static void failed_put_changes_nothing(void **state)
{
    (void)state;
    const uint8_t data[10] = {0};
    put_copied(1, 10);
    for (size_t i = 1; i <= 2; i++) {
        gr_input in = input_of(2, data, sizeof data);
        mem.fail_at = mem.tries + i;
        assert_rc(gr_inbox_put(&box, &in), GR_ENOMEM);
        assert_int_equal(box.bytes, 10);
        assert_null(in.blob.owner);
    }
    gr_blob b = mem_blob(&mem, 30000, 1);
    gr_input in = input_of(3, b.data, b.size);
    in.blob = b;
    mem.fail_at = mem.tries + 1;
    assert_rc(gr_inbox_put(&box, &in), GR_ENOMEM);
    mem.fail_at = 0;
    assert_int_equal(mem_blob_refs(&b), 1);
    mem_unref(&mem, &b);
    put_copied(4, 20);
    expect(1, 10);
    expect(4, 20);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(nothing_in_nothing_out),     test_of(first_in_first_out),
        test_of(bytes_are_counted),          test_of(blobs_change_hands),
        test_of(failed_put_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
