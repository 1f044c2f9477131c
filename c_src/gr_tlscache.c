/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small table, searched from end to end: that costs microseconds, where the handshake that it
 * saves costs milliseconds. What does not fit pushes out the oldest.
 */
#include "gr_tlscache.h"

#include <string.h>

/* Servers whose sessions are kept, some 3 kB each. */
#define ENTRIES 256u

typedef struct entry {
    size_t name_size; /* 0: free */
    uint64_t age;     /* of entries, the smallest is the oldest */
    mbedtls_ssl_session session;
    uint8_t name[GR_NAME_MAX];
} entry;

struct gr_tlscache {
    const gr_mem *mem;
    mbedtls_threading_mutex_t lock; /* of all below; held for no longer than a copy takes */
    uint64_t age;
    entry *entries[ENTRIES]; /* NULL: never used */
};

int gr_tlscache_new(gr_tlscache **out, const gr_mem *mem)
{
    gr_tlscache *c = gr_alloc(mem, sizeof *c);
    *out = c;
    if (!c)
        return GR_ENOMEM;
    memset(c, 0, sizeof *c);
    c->mem = mem;
    mbedtls_mutex_init(&c->lock);
    return GR_OK;
}

static void clear(entry *e)
{
    mbedtls_ssl_session_free(&e->session);
    mbedtls_ssl_session_init(&e->session);
    e->name_size = 0;
}

void gr_tlscache_free(gr_tlscache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < ENTRIES; i++) {
        if (c->entries[i])
            clear(c->entries[i]);
        gr_free(c->mem, c->entries[i]);
    }
    mbedtls_mutex_free(&c->lock);
    gr_free(c->mem, c);
}

static entry *find(gr_tlscache *c, gr_str name)
{
    for (size_t i = 0; i < ENTRIES && c->entries[i]; i++) {
        entry *e = c->entries[i];
        if (e->name_size && e->name_size == name.size && memcmp(e->name, name.data, name.size) == 0)
            return e;
    }
    return NULL;
}

/* The entry of that name, a free one, a new one, or the oldest. */
static entry *place_for(gr_tlscache *c, gr_str name)
{
    entry *e = find(c, name);
    for (size_t i = 0; !e && i < ENTRIES; i++) {
        if (!c->entries[i]) {
            c->entries[i] = gr_alloc(c->mem, sizeof(entry));
            if (!c->entries[i])
                return NULL;
            memset(c->entries[i], 0, sizeof(entry));
            mbedtls_ssl_session_init(&c->entries[i]->session);
        }
        if (!c->entries[i]->name_size)
            e = c->entries[i];
    }
    if (!e) {
        e = c->entries[0];
        for (size_t i = 1; i < ENTRIES; i++)
            if (c->entries[i]->age < e->age)
                e = c->entries[i];
    }
    clear(e);
    return e;
}

void gr_tlscache_offer(gr_tlscache *c, gr_str name, mbedtls_ssl_context *ssl)
{
    if (mbedtls_mutex_lock(&c->lock) != 0)
        return;
    entry *e = find(c, name);
    /* Without it the handshake is a full one, which is all that a failure costs. */
    if (e)
        (void)mbedtls_ssl_set_session(ssl, &e->session);
    (void)mbedtls_mutex_unlock(&c->lock);
}

void gr_tlscache_keep(gr_tlscache *c, gr_str name, const mbedtls_ssl_context *ssl)
{
    if (!name.size || name.size > GR_NAME_MAX || mbedtls_mutex_lock(&c->lock) != 0)
        return;
    entry *e = place_for(c, name);
    if (e && mbedtls_ssl_get_session(ssl, &e->session) == 0) {
        memcpy(e->name, name.data, name.size);
        e->name_size = name.size;
        e->age = ++c->age;
    }
    (void)mbedtls_mutex_unlock(&c->lock);
}

void gr_tlscache_drop(gr_tlscache *c, gr_str name)
{
    if (mbedtls_mutex_lock(&c->lock) != 0)
        return;
    entry *e = find(c, name);
    if (e)
        clear(e);
    (void)mbedtls_mutex_unlock(&c->lock);
}
