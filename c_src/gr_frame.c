/* SPDX-License-Identifier: Apache-2.0 */
/* Frame headers. Everything that a header alone can get wrong is refused here. */
#include "gr_frame.h"

#include "gr_wire.h"

void gr_frame_write(uint8_t out[GR_FRAME_HEAD], const gr_frame *f)
{
    out[0] = (uint8_t)f->type;
    out[1] = 0;
    gr_put16(out + 2, 0);
    gr_put32(out + 4, f->size);
    gr_put64(out + 8, f->id);
}

int gr_frame_read(const uint8_t in[GR_FRAME_HEAD], int from_server, gr_frame *f)
{
    if (in[1] != 0 || gr_get16(in + 2) != 0)
        return GR_EPROTO;
    f->size = gr_get32(in + 4);
    f->id = gr_get64(in + 8);
    int ok;
    switch (in[0]) {
    case GR_FRAME_REQUEST:
        ok = !from_server && f->id != 0;
        break;
    case GR_FRAME_CAST:
        ok = !from_server && f->id == 0;
        break;
    case GR_FRAME_REPLY:
        ok = from_server && f->id != 0;
        break;
    case GR_FRAME_TOOBIG:
        ok = from_server && f->id != 0 && f->size == GR_TOOBIG_BODY;
        break;
    case GR_FRAME_PING:
    case GR_FRAME_PONG:
    case GR_FRAME_BYE:
        ok = f->id == 0 && f->size == 0;
        break;
    default:
        ok = 0;
    }
    if (!ok)
        return GR_EPROTO;
    f->type = (gr_frame_type)in[0];
    return GR_OK;
}
