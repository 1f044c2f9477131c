/* SPDX-License-Identifier: Apache-2.0 */
/* A second implementation of the wire format; shares nothing with c_src on purpose. */
#include "forge_support.h"

#include <mbedtls/md.h>
#include <stdlib.h>
#include <string.h>

static void put_int(test_bytes *out, uint64_t v, unsigned size)
{
    while (size--) {
        uint8_t byte = (uint8_t)(v >> (8 * size));
        bytes_append(out, &byte, 1);
    }
}

static void put_name(test_bytes *out, const char *name)
{
    put_int(out, strlen(name), 2);
    bytes_append(out, name, strlen(name));
}

void forge_head(test_bytes *out, uint8_t version, uint8_t kind, size_t body_size)
{
    bytes_append(out, "\x8eGR", 3);
    put_int(out, version, 1);
    put_int(out, kind, 1);
    put_int(out, 0, 1);
    put_int(out, body_size, 2);
}

void forge_hello_put(test_bytes *out, uint8_t kind, const forge_hello *h)
{
    test_bytes body = {0};
    put_int(&body, h->features, 4);
    put_int(&body, h->max_message, 8);
    for (uint64_t i = 0; i < 4; i++)
        put_int(&body, 0x0102030405060708 * (i + 1), 8);
    if (h->name)
        put_name(&body, h->name);
    if (h->target)
        put_name(&body, h->target);
    for (size_t i = 0; i < h->extra; i++)
        put_int(&body, i, 1);
    forge_head(out, h->version, kind, body.size);
    bytes_append(out, body.data, body.size);
    bytes_free(&body);
}

void forge_mac(uint8_t out[32], const char *role, const char *cookie, const test_bytes *seen)
{
    test_bytes all = {0};
    char label[24] = "gen_rpc ";
    strncat(label, role, 6);
    strcat(label, " proof v1");
    bytes_append(&all, label, sizeof label);
    bytes_append(&all, seen->data, seen->size);
    if (mbedtls_md_hmac(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), (const uint8_t *)cookie,
                        strlen(cookie), all.data, all.size, out) != 0)
        abort();
    bytes_free(&all);
}

void forge_proof(test_bytes *out, const char *cookie, const test_bytes *seen)
{
    uint8_t mac[32];
    forge_mac(mac, "client", cookie, seen);
    forge_head(out, 1, FORGE_PROOF, sizeof mac);
    bytes_append(out, mac, sizeof mac);
}

void forge_result(test_bytes *out, const char *cookie, const char *name, const test_bytes *seen)
{
    uint8_t mac[32];
    test_bytes msg = {0};
    test_bytes all = {0};
    forge_head(&msg, 1, FORGE_RESULT, 1 + 2 + strlen(name) + sizeof mac);
    put_int(&msg, 0, 1);
    put_name(&msg, name);
    bytes_append(&all, seen->data, seen->size);
    bytes_append(&all, msg.data, msg.size);
    forge_mac(mac, "server", cookie, &all);
    bytes_append(out, msg.data, msg.size);
    bytes_append(out, mac, sizeof mac);
    bytes_free(&msg);
    bytes_free(&all);
}

void forge_start_put(test_bytes *out, const forge_start *f, uint32_t size)
{
    int timed = f->flags & FORGE_TIMED;
    int sized = f->flags & (FORGE_LARGE | FORGE_DEFLATED);
    put_int(out, f->type, 1);
    put_int(out, f->flags, 1);
    put_int(out, f->slot, 2);
    put_int(out, (uint64_t)size + (timed ? 8 : 0) + (sized ? 4 : 0), 4);
    put_int(out, f->id, 8);
    if (timed) {
        put_int(out, f->left, 4);
        put_int(out, f->stamp, 4);
    }
    if (sized)
        put_int(out, f->whole, 4);
}

void forge_frame_head(test_bytes *out, uint8_t type, uint64_t id, uint32_t size)
{
    forge_start f = {.type = type, .id = id};
    forge_start_put(out, &f, size);
}

static void put_pattern(test_bytes *out, uint64_t seed, uint32_t at, uint32_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = pattern_at(seed, at + i);
        bytes_append(out, &byte, 1);
    }
}

void forge_frame(test_bytes *out, uint8_t type, uint64_t id, uint32_t size)
{
    forge_frame_head(out, type, id, size);
    put_pattern(out, id, 0, size);
}

void forge_fragment(test_bytes *out, const forge_start *f, uint32_t at, uint32_t size)
{
    const forge_start next = {.type = 8, .slot = f->slot};
    forge_start start = at ? next : *f;
    if (!at)
        start.flags |= FORGE_LARGE;
    if (at + size == f->whole)
        start.flags |= FORGE_END;
    forge_start_put(out, &start, size);
    put_pattern(out, f->id, at, size);
}

void forge_message(test_bytes *out, uint8_t type, uint64_t id, uint32_t size)
{
    forge_start f = {.type = type, .id = id, .whole = size};
    if (size <= FORGE_SMALL) {
        forge_frame(out, type, id, size);
        return;
    }
    for (uint32_t at = 0; at < size; at += FORGE_FRAGMENT)
        forge_fragment(out, &f, at, size - at < FORGE_FRAGMENT ? size - at : FORGE_FRAGMENT);
}
