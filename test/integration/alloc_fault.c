/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linked into a test's own build of the driver by -Wl,--wrap: makes one in so many of its
 * allocations fail, those of mbedTLS and zlib included. The VM's own are not touched, because it
 * ends when one of them fails. The file that GEN_RPC_TEST_ALLOC names is shared with the test: the
 * first word says how many succeed until one fails, 0 for all; the second counts those that failed.
 */
#include <erl_driver.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct {
    _Atomic uint32_t one_in;
    _Atomic uint32_t failed;
} control;

static control nobody; /* when there is no such file nothing fails */
static control *shared = &nobody;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic uint32_t allocations;

void *__real_driver_alloc(ErlDrvSizeT size);
void *__real_driver_realloc(void *ptr, ErlDrvSizeT size);
ErlDrvBinary *__real_driver_alloc_binary(ErlDrvSizeT size);
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);

void *__wrap_driver_alloc(ErlDrvSizeT size);
void *__wrap_driver_realloc(void *ptr, ErlDrvSizeT size);
ErlDrvBinary *__wrap_driver_alloc_binary(ErlDrvSizeT size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static void find_control(void)
{
    const char *name = getenv("GEN_RPC_TEST_ALLOC");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *p = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED)
        shared = p;
    close(fd);
}

/* Scattered, since what allocates in turn would else always lose the same of its allocations. */
static int fails(void)
{
    pthread_once(&once, find_control);
    uint32_t one_in = atomic_load(&shared->one_in);
    if (one_in == 0)
        return 0;
    uint32_t x = atomic_fetch_add(&allocations, 1) * 2654435761u;
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    if (x % one_in != 0)
        return 0;
    atomic_fetch_add(&shared->failed, 1);
    return 1;
}

void *__wrap_driver_alloc(ErlDrvSizeT size)
{
    return fails() ? NULL : __real_driver_alloc(size);
}

void *__wrap_driver_realloc(void *ptr, ErlDrvSizeT size)
{
    return fails() ? NULL : __real_driver_realloc(ptr, size);
}

ErlDrvBinary *__wrap_driver_alloc_binary(ErlDrvSizeT size)
{
    return fails() ? NULL : __real_driver_alloc_binary(size);
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}
