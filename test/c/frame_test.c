/* SPDX-License-Identifier: Apache-2.0 */
/* Frame headers: what they look like, and that nothing but the allowed ones are read. */
#include <string.h>

#include "cmocka_support.h"
#include "gr_frame.h"

typedef struct rule {
    gr_frame_type type;
    int to_server; /* whether a client may send it */
    int to_client;
    int has_id;
    int64_t size; /* the only one allowed; -1: any */
} rule;

static const rule rules[] = {
    {GR_FRAME_REQUEST, 1, 0, 1, -1}, {GR_FRAME_CAST, 1, 0, 0, -1}, {GR_FRAME_REPLY, 0, 1, 1, -1},
    {GR_FRAME_TOOBIG, 0, 1, 1, 16},  {GR_FRAME_PING, 1, 1, 0, 0},  {GR_FRAME_PONG, 1, 1, 0, 0},
    {GR_FRAME_BYE, 1, 1, 0, 0},
};

static const uint64_t ids[] = {0, 1, 0x100000000, UINT64_MAX};
static const uint32_t sizes[] = {0, 1, 15, 16, 17, 0x10000, UINT32_MAX};

static int allowed(unsigned type, int from_server, uint64_t id, uint32_t size)
{
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        const rule *r = &rules[i];
        if (r->type == type)
            return (from_server ? r->to_client : r->to_server) && (id != 0) == r->has_id &&
                   (r->size < 0 || r->size == size);
    }
    return 0;
}

/* The bytes are those of the protocol's description. */
static void header_is_as_described(void **state)
{
    (void)state;
    gr_frame f = {GR_FRAME_REPLY, 0x01020304, UINT64_C(0x1112131415161718)};
    uint8_t b[GR_FRAME_HEAD];
    memset(b, 0xff, sizeof b);
    gr_frame_write(b, &f);
    assert_memory_equal(b, "\x03\x00\x00\x00\x01\x02\x03\x04\x11\x12\x13\x14\x15\x16\x17\x18", 16);
}

/* Each type, direction, id and size is read exactly when its rule allows it, and then unchanged. */
static void only_allowed_headers_are_read(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 256; type++)
        for (int from_server = 0; from_server < 2; from_server++)
            for (size_t i = 0; i < COUNT_OF(ids); i++)
                for (size_t j = 0; j < COUNT_OF(sizes); j++) {
                    gr_frame in = {(gr_frame_type)type, sizes[j], ids[i]};
                    gr_frame out;
                    uint8_t b[GR_FRAME_HEAD];
                    gr_frame_write(b, &in);
                    int rc = gr_frame_read(b, from_server, &out);
                    if (!allowed(type, from_server, ids[i], sizes[j])) {
                        assert_rc(rc, GR_EPROTO);
                        continue;
                    }
                    assert_rc(rc, GR_OK);
                    assert_int_equal(out.type, type);
                    assert_int_equal(out.size, sizes[j]);
                    assert_true(out.id == ids[i]);
                }
}

/* Flags and reserved bytes mean nothing yet, so a peer that sets them means something unknown. */
static void flags_and_reserved_bits_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        const rule *r = &rules[i];
        gr_frame f = {r->type, r->size < 0 ? 100 : (uint32_t)r->size, r->has_id ? 5 : 0};
        uint8_t b[GR_FRAME_HEAD];
        gr_frame_write(b, &f);
        assert_rc(gr_frame_read(b, r->to_client, &f), GR_OK);
        for (unsigned bit = 0; bit < 24; bit++) {
            b[1 + bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_rc(gr_frame_read(b, r->to_client, &f), GR_EPROTO);
            b[1 + bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_is_as_described),
        cmocka_unit_test(only_allowed_headers_are_read),
        cmocka_unit_test(flags_and_reserved_bits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
