/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka with the headers that it wants before it, and what all tests of the core share. */
#ifndef CMOCKA_SUPPORT_H
#define CMOCKA_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gr_base.h"

/*
 * Compares result codes, by name first, so that a failure can be read. A session, TLS, and an alert of
 * TLS may have codes of the same name.
 */
#define assert_rc(rc, expected)                                                             \
    do {                                                                                    \
        int assert_rc_ = (rc);                                                              \
        int assert_rc_expected_ = (expected);                                               \
        assert_string_equal(gr_error_name(assert_rc_), gr_error_name(assert_rc_expected_)); \
        assert_int_equal(assert_rc_, assert_rc_expected_);                                  \
    } while (0)

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

#endif
