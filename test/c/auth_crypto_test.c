/* SPDX-License-Identifier: Apache-2.0 */
/* Handshakes in which the crypto library fails; it has its own memory, so it is replaced here. */
#include <dlfcn.h>
#include <mbedtls/md.h>

#include "cmocka_support.h"
#include "pair_support.h"

static int countdown; /* the call that fails, from 1; 0: none */
static int failure;   /* and what it returns */

typedef int (*hmac_fun)(const mbedtls_md_info_t *, const unsigned char *, size_t,
                        const unsigned char *, size_t, unsigned char *);

/* Stands before the library's own. */
int mbedtls_md_hmac(const mbedtls_md_info_t *md, const unsigned char *key, size_t key_size,
                    const unsigned char *in, size_t size, unsigned char *out)
{
    if (countdown && --countdown == 0)
        return failure;
    hmac_fun real;
    *(void **)&real = dlsym(RTLD_NEXT, "mbedtls_md_hmac");
    return real(md, key, key_size, in, size, out);
}

/* Four proofs are computed: made and checked, each role's. Whoever's fails, nobody is deceived. */
static void run_all(int code, int expected)
{
    static const int fails_at_client[] = {1, 0, 0, 1};
    for (int i = 1; i <= 4; i++) {
        test_pair pair;
        countdown = i;
        failure = code;
        pair_open(&pair, NULL, NULL);
        pair_pump(&pair);
        assert_int_equal(countdown, 0);
        int at_client = fails_at_client[i - 1];
        assert_rc(at_client ? pair.client.rc : pair.server.rc, expected);
        assert_false(pair.client.up);
        pair_close(&pair);
    }
}

/* The library says no: that is its own kind of end. */
static void failing_library_ends_the_handshake(void **state)
{
    (void)state;
    run_all(MBEDTLS_ERR_MD_BAD_INPUT_DATA, GR_ECRYPTO);
    run_all(MBEDTLS_ERR_MD_FEATURE_UNAVAILABLE, GR_ECRYPTO);
}

/* The library runs out of memory: the same end as when we do. */
static void library_out_of_memory_ends_the_handshake(void **state)
{
    (void)state;
    run_all(MBEDTLS_ERR_MD_ALLOC_FAILED, GR_ENOMEM);
}

/* Without a failure all four are computed, so the tests above have reached every one. */
static void handshake_computes_four_proofs(void **state)
{
    (void)state;
    test_pair pair;
    countdown = 100;
    pair_open_up(&pair, NULL, NULL);
    assert_int_equal(countdown, 100 - 4);
    countdown = 0;
    pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failing_library_ends_the_handshake),
        cmocka_unit_test(library_out_of_memory_ends_the_handshake),
        cmocka_unit_test(handshake_computes_four_proofs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
