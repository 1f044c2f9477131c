/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads of frames and their fields: what is taken is what the tables of docs/PROTOCOL.md allow, and
 * written again it gives the same bytes.
 */
#include <string.h>

#include "cmocka_support.h"
#include "frames_support.h"
#include "fuzz_support.h"
#include "gr_frame.h"

static void check(const uint8_t *p, int from_server)
{
    uint8_t again[GR_FRAME_START_MAX];
    gr_frame f;
    int rc = gr_frame_read(p, from_server, &f);
    assert_rc(rc, frames_head_allowed(p, from_server) ? GR_OK : GR_EPROTO);
    if (rc != GR_OK)
        return;
    gr_frame_read_fields(p + GR_FRAME_HEAD, &f);
    size_t size = gr_frame_write(again, &f);
    assert_int_equal(size, GR_FRAME_HEAD + gr_frame_fields(f.flags));
    assert_memory_equal(again, p, size);
    size_t charge = gr_frame_charge(&f);
    assert_true(charge >= GR_FRAME_CHARGE + size + f.size);
    assert_true(charge <= GR_FRAME_CHARGE + size + (f.whole > f.size ? f.whole : f.size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (; size >= GR_FRAME_START_MAX; data += GR_FRAME_START_MAX, size -= GR_FRAME_START_MAX) {
        check(data, 0);
        check(data, 1);
    }
    return 0;
}
