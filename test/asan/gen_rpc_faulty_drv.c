/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver that does wrong on purpose, one fault for each command: what test/run_asan must report, or
 * it is blind. It is built and loaded as the real one is, and takes its memory in the same ways.
 */
#include <erl_driver.h>
#include <limits.h>
#include <string.h>

#define BLOCK 100

/* The VM adds up to this many bytes to a binary, in which nobody can see what is written. */
#define BINARY_PAD 8

static char *volatile kept;

/* The compiler must not see what is wrong. */
static void *opaque(void *ptr)
{
    void *volatile hidden = ptr;
    return hidden;
}

static ErlDrvData start(ErlDrvPort port, char *command)
{
    (void)command;
    return (ErlDrvData)port;
}

/* A byte behind a block of driver_alloc: n is the size of the block if all is well. */
static char write_block(size_t n)
{
    char *block = opaque(driver_alloc(BLOCK));
    block[n - 1] = 1;
    char last = block[n - 1];
    driver_free(block);
    return last;
}

static char write_binary(size_t n)
{
    ErlDrvBinary *binary = opaque(driver_alloc_binary(BLOCK));
    binary->orig_bytes[n - 1] = 1;
    char last = binary->orig_bytes[n - 1];
    driver_free_binary(binary);
    return last;
}

/* As a job of the pool does that outlives the connection it is for. */
static void *read_kept(void *arg)
{
    (void)arg;
    return (void *)(ErlDrvSInt)kept[BLOCK / 2];
}

static char read_freed(void)
{
    ErlDrvTid thread;
    kept = driver_alloc(BLOCK);
    memset(kept, 1, BLOCK);
    driver_free(kept);
    if (erl_drv_thread_create("gen_rpc_faulty", &thread, read_kept, NULL, NULL) == 0)
        erl_drv_thread_join(thread, NULL);
    return 1;
}

static char free_twice(void)
{
    char *block = opaque(driver_alloc(BLOCK));
    kept = block;
    driver_free(block);
    driver_free(kept);
    return 1;
}

static char overflow_int(void)
{
    volatile int n = INT_MAX;
    n = n + 1;
    return (char)n;
}

static char lose(void)
{
    char *block = opaque(driver_alloc(BLOCK));
    block[0] = 1;
    return block[0];
}

static ErlDrvSSizeT control(ErlDrvData data, unsigned int fault, char *buf, ErlDrvSizeT size,
                            char **rbuf, ErlDrvSizeT room)
{
    (void)data, (void)buf, (void)size, (void)room;
    switch (fault) {
    case 0:
        **rbuf = (char)(write_block(BLOCK) + write_binary(BLOCK));
        break;
    case 1:
        **rbuf = write_block(BLOCK + 1);
        break;
    case 2:
        **rbuf = write_binary(BLOCK + BINARY_PAD);
        break;
    case 3:
        **rbuf = read_freed();
        break;
    case 4:
        **rbuf = free_twice();
        break;
    case 5:
        **rbuf = overflow_int();
        break;
    case 6:
        **rbuf = lose();
        break;
    default:
        return -1;
    }
    return 1;
}

static ErlDrvEntry entry = {
    .start = start,
    .control = control,
    .driver_name = "gen_rpc_faulty_drv",
    .extended_marker = (int)ERL_DRV_EXTENDED_MARKER,
    .major_version = ERL_DRV_EXTENDED_MAJOR_VERSION,
    .minor_version = ERL_DRV_EXTENDED_MINOR_VERSION,
    .driver_flags = ERL_DRV_FLAG_USE_PORT_LOCKING,
};

DRIVER_INIT(gen_rpc_faulty_drv)
{
    return &entry;
}
