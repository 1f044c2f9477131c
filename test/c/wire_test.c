/* SPDX-License-Identifier: Apache-2.0 */
/* Integers on the wire. */
#include "cmocka_support.h"
#include "gr_wire.h"

/* Network order, whatever the machine's own is. */
static void integers_are_big_endian(void **state)
{
    (void)state;
    uint8_t b[8];
    gr_put16(b, 0x0102);
    assert_memory_equal(b, "\x01\x02", 2);
    gr_put32(b, 0x01020304);
    assert_memory_equal(b, "\x01\x02\x03\x04", 4);
    gr_put64(b, UINT64_C(0x0102030405060708));
    assert_memory_equal(b, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
}

/* Each single bit survives, the sign bits of narrower types among them. */
static void every_bit_comes_back(void **state)
{
    (void)state;
    uint8_t b[8];
    for (unsigned i = 0; i < 64; i++) {
        uint64_t v = UINT64_C(1) << i;
        gr_put64(b, v);
        assert_true(gr_get64(b) == v);
        gr_put32(b, (uint32_t)v);
        assert_true(gr_get32(b) == (uint32_t)v);
        gr_put16(b, (uint16_t)v);
        assert_true(gr_get16(b) == (uint16_t)v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_big_endian),
        cmocka_unit_test(every_bit_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
