/* SPDX-License-Identifier: Apache-2.0 */
/* The VM's allocators as the core wants them. A blob is an Erlang binary. */
#ifndef DRV_MEM_H
#define DRV_MEM_H

#include "gr_base.h"

extern const gr_mem drv_mem;
extern const gr_blob_ops drv_blobs;

#endif
