/* SPDX-License-Identifier: Apache-2.0 */
/* Results of port commands. Without PORT_CONTROL_FLAG_BINARY the VM makes them a list of bytes. */
#include <string.h>

#include "drv_port.h"

ErlDrvSSizeT drv_result_none(void)
{
    return 0;
}

ErlDrvSSizeT drv_result_bytes(drv_result *r, const void *data, size_t size)
{
    if (size > r->room) {
        *r->buf = driver_alloc(size); /* the VM frees it */
        if (!*r->buf)
            return -1;
    }
    memcpy(*r->buf, data, size);
    return (ErlDrvSSizeT)size;
}

ErlDrvSSizeT drv_result_status(drv_result *r, int status)
{
    (*r->buf)[0] = (char)status;
    return 1;
}

ErlDrvSSizeT drv_result_name(drv_result *r, const char *name)
{
    size_t size = strlen(name);
    if (size + 1 > r->room)
        size = r->room - 1;
    (*r->buf)[0] = DRV_ST_ERROR;
    memcpy(*r->buf + 1, name, size);
    return (ErlDrvSSizeT)size + 1;
}
