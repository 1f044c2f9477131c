/* SPDX-License-Identifier: Apache-2.0 */
/* Names of result codes. */
#include <ctype.h>
#include <string.h>

#include "cmocka_support.h"

/* The first eight leave a session usable. */
#define USABLE 8u

static const int codes[] = {
    GR_OK,
    GR_NONE,
    GR_EBUSY,
    GR_ETOOBIG,
    GR_ECLOSING,
    GR_ENOENT,
    GR_EEXIST,
    GR_ESTATE,
    GR_ENOMEM,
    GR_EMAGIC,
    GR_EVERSION,
    GR_EPROTO,
    GR_ECOOKIE,
    GR_EEOF,
    GR_EWRONGNODE,
    GR_EAUTHTIME,
    GR_EKEEPALIVE,
    GR_ESENDTIME,
    GR_EEOFFRAME,
    GR_ECRYPTO,
    GR_ECLOSETIME,
    GR_EREFUSED,
    GR_ETLS_NOT_TLS,
    GR_ETLS_VERSION,
    GR_ETLS_CIPHER,
    GR_ETLS_NO_CERT,
    GR_ETLS_UNKNOWN_CA,
    GR_ETLS_EXPIRED,
    GR_ETLS_FUTURE,
    GR_ETLS_REVOKED,
    GR_ETLS_CRL_EXPIRED,
    GR_ETLS_CRL,
    GR_ETLS_BAD_CERT,
    GR_ETLS_DEPTH,
    GR_ETLS_NAME,
    GR_ETLS_NAME_REFUSED,
    GR_ETLS_RECORD,
    GR_ETLS_TRUNCATED,
    GR_ETLS_RENEGOTIATION,
    GR_ETLS_CLOSED,
    GR_ETLS_HANDSHAKE,
};

/* Of RFC 8446, section 6. */
static const struct {
    int description;
    const char *name;
} alerts[] = {
    {0, "close_notify"},
    {10, "unexpected_message"},
    {20, "bad_record_mac"},
    {22, "record_overflow"},
    {40, "handshake_failure"},
    {42, "bad_certificate"},
    {43, "unsupported_certificate"},
    {44, "certificate_revoked"},
    {45, "certificate_expired"},
    {46, "certificate_unknown"},
    {47, "illegal_parameter"},
    {48, "unknown_ca"},
    {49, "access_denied"},
    {50, "decode_error"},
    {51, "decrypt_error"},
    {70, "protocol_version"},
    {71, "insufficient_security"},
    {80, "internal_error"},
    {86, "inappropriate_fallback"},
    {90, "user_canceled"},
    {109, "missing_extension"},
    {110, "unsupported_extension"},
    {112, "unrecognized_name"},
    {113, "bad_certificate_status_response"},
    {115, "unknown_psk_identity"},
    {116, "certificate_required"},
    {120, "no_application_protocol"},
};

static void check_identifier(const char *name)
{
    for (const char *p = name; *p; p++)
        assert_true(islower((unsigned char)*p) || *p == '_');
}

/*
 * The glue makes atoms of the names and a reader must be able to tell them apart: those of sessions
 * from each other, and those of TLS, which are told to be of TLS.
 */
static void every_code_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        const char *name = gr_error_name(codes[i]);
        assert_string_not_equal(name, "unknown_error");
        check_identifier(name);
        for (size_t j = 0; j < i; j++)
            if (GR_IS_TLS(codes[i]) == GR_IS_TLS(codes[j]))
                assert_string_not_equal(name, gr_error_name(codes[j]));
    }
}

/* An alert has the name by which everybody knows it; one that nobody knows has one, too. */
static void alerts_have_their_usual_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(alerts); i++)
        assert_string_equal(gr_error_name(GR_ETLS_ALERT - alerts[i].description), alerts[i].name);
    assert_string_equal(gr_error_name(GR_ETLS_ALERT - 1), "unknown_alert");
    for (int d = 0; d <= 255; d++)
        check_identifier(gr_error_name(GR_ETLS_ALERT - d));
    assert_string_equal(gr_error_name(GR_ETLS_ALERT_MAX), "unknown_alert");
}

/* A code from a later version or a bug still prints. */
static void unknown_codes_have_a_name_too(void **state)
{
    (void)state;
    static const int unknown[] = {1,    -8,   -99,   -114,   -199,
                                  -219, -999, -1256, -10000, GR_ETLS_ALERT_MAX - 1};
    for (size_t i = 0; i < COUNT_OF(unknown); i++)
        assert_string_equal(gr_error_name(unknown[i]), "unknown_error");
}

/* Callers decide by the range alone whether the session can be used any longer. */
static void fatal_codes_form_a_range(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(codes); i++)
        assert_int_equal(GR_IS_FATAL(codes[i]), i >= USABLE);
}

/* And whether it is TLS that has ended it, and whether the peer said so. */
static void codes_of_tls_form_a_range(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        assert_int_equal(GR_IS_TLS(codes[i]), codes[i] <= GR_ETLS_NOT_TLS);
        assert_false(GR_IS_ALERT(codes[i]));
    }
    for (int d = 0; d <= 255; d++) {
        assert_true(GR_IS_FATAL(GR_ETLS_ALERT - d));
        assert_true(GR_IS_TLS(GR_ETLS_ALERT - d));
        assert_true(GR_IS_ALERT(GR_ETLS_ALERT - d));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_of_its_own),
        cmocka_unit_test(alerts_have_their_usual_names),
        cmocka_unit_test(unknown_codes_have_a_name_too),
        cmocka_unit_test(fatal_codes_form_a_range),
        cmocka_unit_test(codes_of_tls_form_a_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
