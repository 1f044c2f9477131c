/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the arguments of port commands, with bounds. */
#include "drv_args.h"

#include <string.h>

#include "gr_base.h"
#include "gr_wire.h"

static const uint8_t *take(drv_args *a, size_t n)
{
    static const uint8_t zeros[16];
    if ((size_t)(a->end - a->at) < n) {
        a->short_of = 1;
        a->at = a->end;
        return zeros;
    }
    const uint8_t *p = a->at;
    a->at += n;
    return p;
}

uint8_t drv_args_u8(drv_args *a)
{
    return *take(a, 1);
}

uint16_t drv_args_u16(drv_args *a)
{
    return gr_get16(take(a, 2));
}

uint32_t drv_args_u32(drv_args *a)
{
    return gr_get32(take(a, 4));
}

uint64_t drv_args_u64(drv_args *a)
{
    return gr_get64(take(a, 8));
}

uint64_t drv_args_time(drv_args *a)
{
    uint32_t t = drv_args_u32(a);
    return t == UINT32_MAX ? GR_FOREVER : t;
}

static gr_str take_bytes(drv_args *a, size_t size)
{
    gr_str s = {a->at, size};
    if ((size_t)(a->end - a->at) < size) {
        a->short_of = 1;
        s.size = 0;
    }
    a->at += s.size;
    return s;
}

gr_str drv_args_str(drv_args *a)
{
    size_t size = drv_args_u16(a);
    return take_bytes(a, size);
}

gr_str drv_args_blob(drv_args *a)
{
    size_t size = drv_args_u32(a);
    return take_bytes(a, size);
}

socklen_t drv_args_addr(drv_args *a, drv_addr *addr)
{
    memset(addr, 0, sizeof *addr);
    uint8_t family = drv_args_u8(a);
    uint16_t port = drv_args_u16(a);
    if (family == 4) {
        addr->in4.sin_family = AF_INET;
        addr->in4.sin_port = htons(port);
        memcpy(&addr->in4.sin_addr, take(a, 4), 4);
        return sizeof addr->in4;
    }
    if (family == 6) {
        addr->in6.sin6_family = AF_INET6;
        addr->in6.sin6_port = htons(port);
        memcpy(&addr->in6.sin6_addr, take(a, 16), 16);
        return sizeof addr->in6;
    }
    return 0;
}

drv_sockopts drv_args_sockopts(drv_args *a)
{
    drv_sockopts o;
    o.v6only = drv_args_u8(a) != 0;
    o.sndbuf = drv_args_u32(a);
    o.recbuf = drv_args_u32(a);
    return o;
}

int drv_args_done(const drv_args *a)
{
    return !a->short_of && a->at == a->end;
}
