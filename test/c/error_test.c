/* SPDX-License-Identifier: Apache-2.0 */
/* Names of result codes. */
#include <ctype.h>
#include <string.h>

#include "cmocka_support.h"

static const int codes[] = {GR_OK,         GR_NONE,       GR_EBUSY,     GR_ETOOBIG,   GR_ECLOSING,
                            GR_ENOENT,     GR_EEXIST,     GR_ESTATE,    GR_ENOMEM,    GR_EMAGIC,
                            GR_EVERSION,   GR_EPROTO,     GR_ECOOKIE,   GR_EEOF,      GR_EWRONGNODE,
                            GR_EAUTHTIME,  GR_EKEEPALIVE, GR_ESENDTIME, GR_EEOFFRAME, GR_ECRYPTO,
                            GR_ECLOSETIME, GR_EREFUSED};

/* The glue makes atoms of the names and a reader must be able to tell them apart. */
static void every_code_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        const char *name = gr_error_name(codes[i]);
        assert_string_not_equal(name, "unknown_error");
        for (const char *p = name; *p; p++)
            assert_true(islower((unsigned char)*p) || *p == '_');
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(name, gr_error_name(codes[j]));
    }
}

/* A code from a later version or a bug still prints. */
static void unknown_codes_have_a_name_too(void **state)
{
    (void)state;
    assert_string_equal(gr_error_name(1), "unknown_error");
    assert_string_equal(gr_error_name(-99), "unknown_error");
    assert_string_equal(gr_error_name(-10000), "unknown_error");
}

/* Callers decide by the range alone whether the session can be used any longer. */
static void fatal_codes_form_a_range(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(codes); i++)
        assert_int_equal(GR_IS_FATAL(codes[i]), i >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_of_its_own),
        cmocka_unit_test(unknown_codes_have_a_name_too),
        cmocka_unit_test(fatal_codes_form_a_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
