/* SPDX-License-Identifier: Apache-2.0 */
/* Frame heads and fields: what they look like, and that nothing but the allowed ones are read. */
#include <string.h>

#include "cmocka_support.h"
#include "forge_support.h"
#include "gr_frame.h"

/* As the protocol's description has it. */
#define MESSAGE (FORGE_LARGE | FORGE_END | FORGE_DEFLATED | FORGE_CONTEXT)
#define ORDER (FORGE_ORDERED | FORGE_BROADCAST)
#define SLOTS 64u
#define LANES 3u

typedef struct rule {
    gr_frame_type type;
    int to_server; /* whether a client may send it */
    int to_client;
    unsigned flags;               /* allowed ones */
    enum { NO, YES, ANY } id;     /* whether it has one */
    unsigned slots;               /* it is below that; 0: only with LARGE, below SLOTS */
    enum { MSG, DATA, FIX } kind; /* of its size */
    uint32_t size;                /* FIX: the only one */
} rule;

static const rule rules[] = {
    {GR_FRAME_REQUEST, 1, 0, MESSAGE | ORDER | FORGE_TIMED, YES, 0, MSG, 0},
    {GR_FRAME_CAST, 1, 0, MESSAGE | ORDER, NO, 0, MSG, 0},
    {GR_FRAME_REPLY, 0, 1, MESSAGE, YES, 0, MSG, 0},
    {GR_FRAME_TOOBIG, 0, 1, 0, YES, 1, FIX, 16},
    {GR_FRAME_PING, 1, 1, 0, NO, 1, FIX, 0},
    {GR_FRAME_PONG, 1, 1, 0, NO, 1, FIX, 0},
    {GR_FRAME_BYE, 1, 1, 0, NO, 1, FIX, 0},
    {GR_FRAME_DATA, 1, 1, FORGE_END, NO, SLOTS, DATA, 0},
    {GR_FRAME_ABORT, 1, 1, 0, NO, SLOTS, FIX, 0},
    {GR_FRAME_DONE, 1, 1, 0, NO, SLOTS, FIX, 0},
    {GR_FRAME_WINDOW, 1, 1, 0, ANY, LANES, FIX, 0},
    {GR_FRAME_CANCEL, 1, 0, 0, YES, 1, FIX, 0},
};

static const uint64_t ids[] = {0, 1, 0x100000000, UINT64_MAX};
static const uint16_t slots[] = {0, 1, 2, 3, 63, 64, UINT16_MAX};

/* Around each size that means something, of fields and content together. */
static const uint32_t sizes[] = {0,     1,     3,     4,     7,     8,         11,    12,
                                 13,    15,    16,    17,    16384, 16385,     16388, 16389,
                                 16392, 16393, 16396, 16397, 65535, 65536,     65537, 65540,
                                 65541, 65544, 65545, 65548, 65549, UINT32_MAX};

static uint32_t fields_of(unsigned flags)
{
    return (flags & FORGE_TIMED ? 8 : 0) + (flags & (FORGE_LARGE | FORGE_DEFLATED) ? 4 : 0);
}

static int flags_allowed(const rule *r, unsigned flags)
{
    if (flags & ~r->flags)
        return 0;
    if (r->type == GR_FRAME_DATA)
        return 1;
    /* Compression in a context is for small messages of the unordered lane. */
    if (flags & FORGE_CONTEXT &&
        (flags & (FORGE_DEFLATED | FORGE_LARGE | FORGE_ORDERED)) != FORGE_DEFLATED)
        return 0;
    if ((flags & ORDER) == FORGE_BROADCAST)
        return 0;
    /* Only casts are run in order; a request on that lane is for a registered process. */
    if (r->type == GR_FRAME_REQUEST && (flags & ORDER) == FORGE_ORDERED)
        return 0;
    return (flags & (FORGE_END | FORGE_LARGE)) != FORGE_END;
}

static int size_allowed(const rule *r, unsigned flags, uint32_t size)
{
    uint32_t most = flags & FORGE_LARGE ? FORGE_FRAGMENT : FORGE_SMALL;
    switch (r->kind) {
    case MSG:
        return size >= fields_of(flags) && size - fields_of(flags) <= most;
    case DATA:
        /* An empty one makes no sense, except to say that nothing follows. */
        return size <= FORGE_FRAGMENT && (size || flags & FORGE_END);
    default:
        return size == r->size;
    }
}

static int allowed(unsigned type, int from_server, unsigned flags, unsigned slot, uint64_t id,
                   uint32_t size)
{
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        const rule *r = &rules[i];
        unsigned below = r->slots ? r->slots : flags & FORGE_LARGE ? SLOTS : 1;
        if (r->type == type)
            return (from_server ? r->to_client : r->to_server) && flags_allowed(r, flags) &&
                   slot < below && (r->id == ANY || (id != 0) == (r->id == YES)) &&
                   size_allowed(r, flags, size);
    }
    return 0;
}

/* The bytes are those of the protocol's description. */
static void head_is_as_described(void **state)
{
    (void)state;
    gr_frame f = {.type = GR_FRAME_REPLY, .size = 0x01020304, .id = UINT64_C(0x1112131415161718)};
    uint8_t b[GR_FRAME_START_MAX];
    memset(b, 0xff, sizeof b);
    assert_int_equal(gr_frame_write(b, &f), 16);
    assert_memory_equal(b, "\x03\x00\x00\x00\x01\x02\x03\x04\x11\x12\x13\x14\x15\x16\x17\x18", 16);
    assert_int_equal(b[16], 0xff);
}

/* Likewise with all the fields that there are; they count in the size. */
static void fields_are_as_described(void **state)
{
    (void)state;
    gr_frame f = {.type = GR_FRAME_REQUEST,
                  .flags = GR_FLAG_LARGE | GR_FLAG_END | GR_FLAG_TIMED | GR_FLAG_DEFLATED,
                  .slot = 0x3e,
                  .size = 0x100,
                  .id = 5,
                  .left = 0x21222324,
                  .stamp = 0x31323334,
                  .whole = 0x41424344};
    uint8_t b[GR_FRAME_START_MAX];
    assert_int_equal(gr_frame_write(b, &f), sizeof b);
    assert_memory_equal(b,
                        "\x01\x0f\x00\x3e\x00\x00\x01\x0c\x00\x00\x00\x00\x00\x00\x00\x05"
                        "\x21\x22\x23\x24\x31\x32\x33\x34\x41\x42\x43\x44",
                        sizeof b);
}

static void put_head(uint8_t b[GR_FRAME_HEAD], unsigned type, unsigned flags, unsigned slot,
                     uint64_t id, uint32_t size)
{
    b[0] = (uint8_t)type;
    b[1] = (uint8_t)flags;
    for (unsigned i = 0; i < 2; i++)
        b[2 + i] = (uint8_t)(slot >> (8 * (1 - i)));
    for (unsigned i = 0; i < 4; i++)
        b[4 + i] = (uint8_t)(size >> (8 * (3 - i)));
    for (unsigned i = 0; i < 8; i++)
        b[8 + i] = (uint8_t)(id >> (8 * (7 - i)));
}

/* cmocka's assertions are too slow for millions. */
static void check_read(unsigned type, int from_server, unsigned flags, unsigned slot, uint64_t id,
                       uint32_t size)
{
    uint8_t b[GR_FRAME_HEAD];
    gr_frame f;
    memset(&f, 0xa5, sizeof f);
    put_head(b, type, flags, slot, id, size);
    int want = allowed(type, from_server, flags, slot, id, size) ? GR_OK : GR_EPROTO;
    int rc = gr_frame_read(b, from_server, &f);
    int same =
        rc != GR_OK || (f.type == type && f.flags == flags && f.slot == slot && f.id == id &&
                        f.size == size - fields_of(flags) && f.left + f.stamp + f.whole == 0);
    if (rc != want || !same)
        fail_msg("type %u from %s, flags %02x, slot %u, id %llu, size %u: %s", type,
                 from_server ? "server" : "client", flags, slot, (unsigned long long)id, size,
                 gr_error_name(rc));
}

/* Each type, direction, flags, slot, id and size is read exactly when its rule allows it. */
static void only_allowed_heads_are_read(void **state)
{
    (void)state;
    static const unsigned types[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 127, 255};
    for (size_t t = 0; t < COUNT_OF(types); t++)
        for (int from_server = 0; from_server < 2; from_server++)
            for (unsigned flags = 0; flags < 256; flags++)
                for (size_t s = 0; s < COUNT_OF(slots); s++)
                    for (size_t i = 0; i < COUNT_OF(ids); i++)
                        for (size_t j = 0; j < COUNT_OF(sizes); j++)
                            check_read(types[t], from_server, flags, slots[s], ids[i], sizes[j]);
}

/* No other type is read, whatever else is in the head. */
static void unknown_types_are_refused(void **state)
{
    (void)state;
    uint64_t prng = 1;
    for (unsigned type = 13; type < 256; type++)
        for (int i = 0; i < 1000; i++) {
            uint64_t r = prng_next(&prng);
            check_read(type, (int)(r & 1), (unsigned)(r >> 8 & 0xff), slots[(r >> 16) % 7],
                       ids[r >> 24 & 3], sizes[(r >> 32) % COUNT_OF(sizes)]);
        }
}

/* What is written is read again, head and fields, and nothing that the flags do not announce. */
static void written_frames_are_read(void **state)
{
    (void)state;
    uint64_t prng = 7;
    size_t read = 0;
    for (int i = 0; i < 200000; i++) {
        const rule *r = &rules[prng_below(&prng, COUNT_OF(rules))];
        uint64_t x = prng_next(&prng);
        gr_frame in = {.type = r->type,
                       .flags = (uint8_t)(x & r->flags),
                       .slot = r->slots == 1 ? 0 : (uint16_t)(x >> 8 & 63),
                       .size = r->kind == FIX ? r->size : (uint32_t)(x >> 16 & 0x3fff),
                       .id = r->id == NO ? 0 : x >> 40,
                       .left = (uint32_t)prng_next(&prng),
                       .stamp = (uint32_t)prng_next(&prng),
                       .whole = (uint32_t)prng_next(&prng)};
        if (!r->slots && !(in.flags & GR_FLAG_LARGE))
            in.slot = 0;
        uint8_t b[GR_FRAME_START_MAX];
        gr_frame out;
        size_t n = gr_frame_write(b, &in);
        assert_int_equal(n, GR_FRAME_HEAD + gr_frame_fields(in.flags));
        if (gr_frame_read(b, r->to_client, &out) != GR_OK)
            continue;
        gr_frame_read_fields(b + GR_FRAME_HEAD, &out);
        int timed = in.flags & GR_FLAG_TIMED;
        int sized = in.flags & (GR_FLAG_LARGE | GR_FLAG_DEFLATED);
        assert_int_equal(out.type, in.type);
        assert_int_equal(out.flags, in.flags);
        assert_int_equal(out.slot, in.slot);
        assert_int_equal(out.size, in.size);
        assert_true(out.id == in.id);
        assert_int_equal(out.left, timed ? in.left : 0);
        assert_int_equal(out.stamp, timed ? in.stamp : 0);
        assert_int_equal(out.whole, sized ? in.whole : 0);
        read++;
    }
    assert_true(read > 50000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_is_as_described),        cmocka_unit_test(fields_are_as_described),
        cmocka_unit_test(only_allowed_heads_are_read), cmocka_unit_test(unknown_types_are_refused),
        cmocka_unit_test(written_frames_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
