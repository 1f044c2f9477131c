/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library's own memory: mbedTLS allocates by calloc, which fails here when a test wants it to.
 * There are far too many allocations to try each: those near the beginning and the end, and some of
 * the others, most of which are numbers in the middle of a calculation.
 */
#include <stdlib.h>
#include <string.h>

#include "cmocka_support.h"
#include "tls_support.h"

static struct {
    int on;
    size_t tries;
    size_t fail_at;   /* counted from 1; 0: none */
    int fail_on;      /* whether all behind it fail, too */
    size_t fail_size; /* all of this size fail, bytes; 0: of any */
    int failed;
} library;

/* Not calloc in disguise, which a compiler could make of malloc and memset. */
static void *(*volatile get)(size_t size) = malloc;

static int refused(size_t bytes)
{
    if (!library.on)
        return 0;
    library.tries++;
    return (library.fail_size && bytes == library.fail_size) ||
           (library.fail_at && (library.fail_on ? library.tries >= library.fail_at
                                                : library.tries == library.fail_at));
}

/* In the place of the C library's, for all that this program is linked with. */
void *calloc(size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return NULL;
    if (refused(count * size)) {
        library.failed = 1;
        return NULL;
    }
    void *p = get(count * size);
    if (p)
        memset(p, 0, count * size);
    return p;
}

static void begin(size_t fail_at, int fail_on)
{
    memset(&library, 0, sizeof library);
    library.fail_at = fail_at;
    library.fail_on = fail_on;
    library.on = 1;
}

/* All near both ends, and some hundred between them. */
static size_t next_after(size_t i, size_t count)
{
    return i + 1 + (i > 100 && i + 60 < count ? count / 97 : 0);
}

/* ---- configurations ---- */

/* Returns how many allocations it takes. */
static size_t make_without(const gr_tlsconf_options *o, size_t fail_at, int fail_on)
{
    test_mem mem;
    gr_tlsconf *c;
    gr_tlsconf_error err;
    mem_init(&mem);
    begin(fail_at, fail_on);
    int rc = gr_tlsconf_new(&c, &mem.vt, o, &err);
    library.on = 0;
    assert_int_equal(rc == GR_OK, c != NULL);
    if (!library.failed)
        assert_rc(rc, GR_OK);
    else
        /* Often the library does not say that it was memory; some of it, it can do without. */
        assert_true(rc == GR_ENOMEM || rc == GR_ECRYPTO || rc == GR_ESTATE || rc == GR_OK);
    gr_tlsconf_unref(c);
    mem_check_empty(&mem);
    return library.tries;
}

/* A configuration for which there is not enough is not made, and nothing of it is left. */
static void configuration_fails_cleanly(void **state)
{
    (void)state;
    static const char *const names[] = {"chain-2", "rsa"};
    for (size_t n = 0; n < COUNT_OF(names); n++) {
        gr_tlsconf_options o = tls_options(GR_SERVER, names[n]);
        o.dh = tls_file("dh2048.pem");
        o.crl = tls_file("crl.pem");
        size_t count = make_without(&o, 0, 0);
        for (size_t i = 1; i <= count; i = next_after(i, count))
            make_without(&o, i, (int)(i % 2));
    }
}

/* The same for a key that is opened here, step by step. */
static void encrypted_key_fails_cleanly(void **state)
{
    (void)state;
    static const char *const names[] = {"callee-aes256-pkcs8.key", "callee-aes256-pkcs8.der",
                                        "callee-aes128-sec1.key", "callee-des3-pkcs8.key"};
    for (size_t n = 0; n < COUNT_OF(names); n++) {
        gr_tlsconf_options o = tls_options(GR_CLIENT, "callee");
        o.key = tls_file(names[n]);
        o.password = str_of("secret");
        size_t count = make_without(&o, 0, 0);
        for (size_t i = 1; i <= count; i = next_after(i, count))
            make_without(&o, i, 0);
    }
}

/* ---- connections ---- */

static tls_pair pair;

/* A connection in which one allocation fails: it fails, or does without. Returns their number. */
static size_t connect_without(size_t fail_at, int fail_on)
{
    begin(fail_at, fail_on);
    tls_pair_join(&pair);
    if (pair.client.t && pair.server.t)
        tls_pair_pump(&pair);
    library.on = 0;
    if (!library.failed) {
        tls_pair_check_up(&pair);
        return library.tries;
    }
    tls_end *const ends[] = {&pair.client, &pair.server};
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        tls_end *e = ends[i];
        assert_true(e->t || e->rc == GR_ENOMEM);
        if (e->t)
            tls_end_eof(e);
        assert_true(GR_IS_FATAL(e->rc));
    }
    return library.tries;
}

/* Whatever fails in a handshake, nothing crashes and nothing is left; the next one is as ever. */
static void handshake_fails_cleanly(void **state)
{
    (void)state;
    for (int tickets = 0; tickets < 2; tickets++) {
        gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
        c.tickets = tickets;
        tls_pair_configure(&pair, &c, NULL);
        size_t count = connect_without(0, 0);
        for (size_t i = 1; i <= count; i = next_after(i, count)) {
            connect_without(i, (int)(i % 2));
            if (i % 16 == 0)
                connect_without(0, 0);
        }
        connect_without(0, 0);
        tls_pair_close(&pair);
    }
}

/* A session whose own buffers cannot be had is not made. */
static void session_needs_memory(void **state)
{
    (void)state;
    tls_pair_configure(&pair, NULL, NULL);
    tls_pair_join_up(&pair);
    for (int role = GR_CLIENT; role <= GR_SERVER; role++) {
        gr_tlsconf *conf = role == GR_CLIENT ? pair.client_conf : pair.server_conf;
        for (size_t i = 1;; i++) {
            gr_tls *t;
            begin(i, 0);
            int rc = gr_tls_new(&t, &pair.mem.vt, &pair.mem.blobs, conf, str_of("callee@there"),
                                str_of("there.example"));
            library.on = 0;
            if (rc == GR_OK)
                gr_tls_free(t);
            if (!library.failed)
                break;
            /* Without the session that was kept, it begins a whole handshake. */
            assert_true(rc == GR_ENOMEM || (rc == GR_OK && role == GR_CLIENT));
        }
    }
    tls_pair_close(&pair);
}

/* A peer's certificate for which there is no room is not a bad one. */
static void certificate_needs_memory(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "callee");
    c.tickets = 0;
    tls_pair_configure(&pair, &c, NULL);
    const size_t sizes[] = {tls_file("callee.der").size, sizeof(mbedtls_x509_crt)};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        begin(0, 0);
        library.fail_size = sizes[i];
        tls_pair_join(&pair);
        tls_pair_pump(&pair);
        library.on = 0;
        assert_true(library.failed);
        assert_rc(pair.client.rc, GR_ENOMEM);
        assert_false(pair.client.up || pair.server.up);
    }
    tls_pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configuration_fails_cleanly),
        cmocka_unit_test(encrypted_key_fails_cleanly),
        cmocka_unit_test(handshake_fails_cleanly),
        cmocka_unit_test(session_needs_memory),
        cmocka_unit_test(certificate_needs_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
