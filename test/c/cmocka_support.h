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

/* Compares result codes by name, so that a failure can be read. Their names are all different. */
#define assert_rc(rc, expected) assert_string_equal(gr_error_name(rc), gr_error_name(expected))

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

#endif
