/* SPDX-License-Identifier: Apache-2.0 */
/* Short handshakes: when there is one, when there must not be, and that they check no less. */
#include <string.h>

#include "clock_support.h"
#include "cmocka_support.h"
#include "raw_support.h"
#include "tls_support.h"

/* Alerts of RFC 5246. */
enum { BAD_CERTIFICATE = 42, CERTIFICATE_EXPIRED = 45 };

/* How long a ticket is good, s. */
#define LIFETIME 3600

static tls_pair pair;
static raw_pair raw;

static int setup(void **state)
{
    (void)state;
    tls_pair_open_up(&pair, NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_stop_at(0);
    tls_pair_close(&pair);
    return 0;
}

/* Makes new sessions; whether their handshake was a short one. All is checked as for a whole one. */
static int resumes(void)
{
    tls_pair_join(&pair);
    tls_pair_pump(&pair);
    tls_pair_check_up(&pair);
    assert_true(gr_tls_is_for(pair.server.t, str_of("caller@here")));
    assert_false(gr_tls_is_for(pair.server.t, str_of("other@here")));
    assert_true(gr_tls_is_for(pair.client.t, str_of("callee@there")));
    return tls_end_info(&pair.client).resumed;
}

static void renew(gr_tlsconf **conf, const gr_tlsconf_options *o)
{
    gr_tlsconf_unref(*conf);
    *conf = tls_conf(&pair.mem, o);
}

/* ---- when ---- */

/* The first is a whole one, and all behind it are short; what was agreed is the same. */
static void second_handshake_is_short(void **state)
{
    (void)state;
    assert_false(tls_end_info(&pair.client).resumed);
    assert_false(tls_end_info(&pair.server).resumed);
    const char *suite = tls_end_info(&pair.client).suite;
    size_t size = (size_t)pair.down.moved;
    for (int i = 0; i < 5; i++) {
        assert_true(resumes());
        assert_string_equal(tls_end_info(&pair.server).suite, suite);
        assert_int_equal(tls_end_info(&pair.server).version, 12);
    }
    tls_pair_join_up(&pair);
    assert_true(pair.down.moved < size / 2);
}

/* The binding is the hash of the server's certificate, however the handshake was. */
static void binding_is_the_servers_certificate(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        uint8_t binding[2][32];
        assert_rc(gr_tls_binding(pair.client.t, binding[0]), GR_OK);
        assert_rc(gr_tls_binding(pair.server.t, binding[1]), GR_OK);
        for (int j = 0; j < 2; j++)
            assert_memory_equal(binding[j], gr_tlsconf_own_hash(pair.server_conf), 32);
        assert_int_equal(resumes(), 1);
    }
}

/* Where either side keeps no sessions, every handshake is a whole one. */
static void nothing_is_kept_where_tickets_are_off(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
        gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
        c.tickets = i == 1;
        s.tickets = i == 2;
        renew(&pair.client_conf, &c);
        renew(&pair.server_conf, &s);
        for (int j = 0; j < 3; j++)
            assert_false(resumes());
    }
}

/* A server that was told to keep none any more takes none of those that it gave away before. */
static void tickets_are_refused_after_they_were_turned_off(void **state)
{
    (void)state;
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    assert_true(resumes());
    s.tickets = 0;
    renew(&pair.server_conf, &s);
    assert_false(resumes());
    assert_false(resumes());
}

/* A server that was made anew knows none of its earlier tickets; its new ones are good. */
static void tickets_of_an_earlier_server_are_refused(void **state)
{
    (void)state;
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    for (int i = 0; i < 3; i++) {
        assert_true(resumes());
        renew(&pair.server_conf, &s);
        assert_false(resumes());
        assert_true(resumes());
    }
}

/* Its certificate may have been renewed meanwhile: then the binding is that of the new one. */
static void renewed_certificate_is_seen_at_once(void **state)
{
    (void)state;
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee2");
    uint8_t binding[32];
    assert_true(resumes());
    renew(&pair.server_conf, &s);
    assert_false(resumes());
    assert_rc(gr_tls_binding(pair.client.t, binding), GR_OK);
    assert_memory_equal(binding, gr_tlsconf_own_hash(pair.server_conf), 32);
    assert_true(resumes());
}

/* What is kept belongs to the client's configuration; another one of the same kind has nothing. */
static void sessions_end_with_the_clients_configuration(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
    assert_true(resumes());
    renew(&pair.client_conf, &c);
    assert_false(resumes());
    assert_true(resumes());
}

/* Sessions are kept by the node's name: another one has its own, although the server is the same. */
static void sessions_are_kept_by_name(void **state)
{
    (void)state;
    gr_tlsconf_options s = tls_options(GR_SERVER, "full");
    renew(&pair.server_conf, &s);
    static const struct {
        const char *peer;
        int resumed;
    } joins[] = {{"callee@there", 0}, {"caller@here", 0}, {"callee@there", 1}, {"caller@here", 1}};
    for (size_t i = 0; i < COUNT_OF(joins); i++) {
        tls_pair_join_as(&pair, joins[i].peer, NULL);
        tls_pair_pump(&pair);
        tls_pair_check_up(&pair);
        assert_int_equal(tls_end_info(&pair.client).resumed, joins[i].resumed);
    }
}

/* A ticket is good for an hour, whoever has used it meanwhile. */
static void tickets_have_an_end(void **state)
{
    (void)state;
    long long start = clock_date(2040, 1, 1);
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    clock_stop_at(start);
    renew(&pair.server_conf, &s);
    assert_false(resumes());
    clock_stop_at(start + LIFETIME / 2);
    assert_true(resumes());
    clock_stop_at(start + LIFETIME - 1);
    assert_true(resumes());
    clock_stop_at(start + LIFETIME + 1);
    assert_false(resumes());
    /* Now with the server's next key; and again, for as many keys as there may be. */
    for (int i = 1; i < 5; i++) {
        assert_true(resumes());
        clock_stop_at(start + LIFETIME + 2 + i * (LIFETIME + 1));
        assert_false(resumes());
    }
}

/* A clock that goes back makes no ticket good that is not. */
static void ticket_of_the_future_is_refused(void **state)
{
    (void)state;
    long long start = clock_date(2040, 1, 1);
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    clock_stop_at(start);
    renew(&pair.server_conf, &s);
    assert_false(resumes());
    clock_stop_at(start - 10);
    assert_false(resumes());
}

/* Cut into single bytes, a short handshake is the same. */
static void short_handshake_works_in_small_pieces(void **state)
{
    (void)state;
    for (pair.chunk = 1; pair.chunk < 8; pair.chunk++)
        assert_true(resumes());
}

/* A handshake that failed for another reason leaves what was kept before as it was. */
static void closed_handshake_forgets_nothing(void **state)
{
    (void)state;
    tls_pair_join(&pair);
    assert_rc(tls_end_eof(&pair.client), GR_ETLS_CLOSED);
    assert_true(resumes());
}

/* ---- that they check no less ---- */

/* The certificate of a kept session is for the name that is looked for, or it is refused. */
static void name_is_checked_in_a_short_handshake(void **state)
{
    (void)state;
    mbedtls_ssl_context ssl;
    gr_tlscache *cache = gr_tlsconf_cache(pair.client_conf);
    raw_session(&ssl, pair.client_conf, pair.server_conf);
    gr_tlscache_keep(cache, str_of("other@there"), &ssl);
    mbedtls_ssl_free(&ssl);
    for (int i = 0; i < 2; i++) {
        tls_pair_join_as(&pair, "other@there", NULL);
        tls_pair_pump(&pair);
        assert_rc(pair.client.rc, GR_ETLS_NAME);
        assert_false(pair.client.up);
        /* In a short one the server is up first; the session that was wrong is not used again. */
        assert_int_equal(pair.server.up, i == 0);
        assert_rc(pair.server.rc, GR_ETLS_ALERT - BAD_CERTIFICATE);
    }
    assert_true(resumes());
}

/* From an hour before a certificate's end to an hour behind it. */
static void let_it_expire(const gr_tlsconf_options *c, const gr_tlsconf_options *s)
{
    long long end = clock_date(2060, 1, 1);
    clock_stop_at(end - LIFETIME / 2);
    renew(&pair.client_conf, c);
    renew(&pair.server_conf, s);
    assert_false(resumes());
    clock_stop_at(end - 1);
    assert_true(resumes());
    clock_stop_at(end + 1);
    tls_pair_join(&pair);
    tls_pair_pump(&pair);
}

/* A server's certificate that has expired since is refused, and the session is forgotten. */
static void expired_server_is_refused_in_a_short_handshake(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "full");
    gr_tlsconf_options s = tls_options(GR_SERVER, "until-middle");
    gr_tlsconf_options other = tls_options(GR_SERVER, "full");
    let_it_expire(&c, &s);
    assert_rc(pair.client.rc, GR_ETLS_EXPIRED);
    assert_false(pair.client.up);
    assert_rc(pair.server.rc, GR_ETLS_ALERT - CERTIFICATE_EXPIRED);
    tls_pair_join(&pair);
    tls_pair_pump(&pair);
    assert_rc(pair.client.rc, GR_ETLS_EXPIRED);
    assert_false(pair.server.up);
    renew(&pair.server_conf, &other);
    tls_pair_join_up(&pair);
    assert_false(tls_end_info(&pair.client).resumed);
}

/* A client's, too. It learns that when it reads: its own part of the handshake was done. */
static void expired_client_is_refused_in_a_short_handshake(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "until-middle");
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    let_it_expire(&c, &s);
    assert_rc(pair.server.rc, GR_ETLS_EXPIRED);
    assert_false(pair.server.up);
    assert_rc(pair.client.rc, GR_ETLS_ALERT - CERTIFICATE_EXPIRED);
}

/* Who does not verify does not begin to in a short handshake. */
static void nothing_is_verified_when_told_so(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "until-middle");
    gr_tlsconf_options s = tls_options(GR_SERVER, "until-middle");
    c.verify = s.verify = 0;
    long long end = clock_date(2060, 1, 1);
    clock_stop_at(end - 10);
    renew(&pair.client_conf, &c);
    renew(&pair.server_conf, &s);
    tls_pair_join_up(&pair);
    clock_stop_at(end + 10);
    tls_pair_join_up(&pair);
    assert_true(tls_end_info(&pair.client).resumed);
    tls_pair_check_up(&pair);
}

/* ---- a client with its own ideas ---- */

/* The raw client comes again with what it was given the first time. */
static void come_again(void)
{
    mbedtls_ssl_session session;
    mbedtls_ssl_session_init(&session);
    assert_int_equal(raw.raw.rc, 0);
    assert_int_equal(mbedtls_ssl_get_session(&raw.raw.ssl, &session), 0);
    raw_pair_begin(&raw);
    assert_int_equal(mbedtls_ssl_set_session(&raw.raw.ssl, &session), 0);
    mbedtls_ssl_session_free(&session);
    raw_pair_pump(&raw);
}

/* A client with a bad certificate gets a ticket before it is refused: the ticket is no better. */
static void ticket_of_a_bad_client_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int rc;
    } bad[] = {{"other", GR_ETLS_UNKNOWN_CA},
               {"expired", GR_ETLS_EXPIRED},
               {"chain-2", GR_ETLS_DEPTH},
               {"only-server", GR_ETLS_BAD_CERT},
               {"rsa1024", GR_ETLS_BAD_CERT}};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
        s.need_cert = 0;
        raw_pair_configure(&raw, GR_CLIENT, bad[i].name, &s);
        raw.raw.cert.ext_types = 0;
        raw_pair_begin(&raw);
        raw_pair_pump(&raw);
        for (int j = 0; j < 3; j++) {
            assert_rc(raw.end.rc, bad[i].rc);
            assert_false(raw.end.up);
            come_again();
        }
        raw_pair_close(&raw);
    }
}

/* Who had no certificate and needed none comes again as the same nobody. */
static void client_without_a_certificate_may_come_again(void **state)
{
    (void)state;
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    s.need_cert = 0;
    raw_pair_open_up(&raw, GR_CLIENT, NULL, &s);
    come_again();
    assert_rc(raw.end.rc, GR_OK);
    assert_int_equal(raw.raw.rc, 0);
    assert_true(tls_end_info(&raw.end).resumed);
    assert_true(gr_tls_is_for(raw.end.t, str_of("anybody@here")));
    raw_pair_close(&raw);
}

/* The ticket of a server that needed no certificate does not open one that does. */
static void ticket_of_another_server_is_refused(void **state)
{
    (void)state;
    mbedtls_ssl_session session;
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    s.need_cert = 0;
    raw_pair_open_up(&raw, GR_CLIENT, NULL, &s);
    mbedtls_ssl_session_init(&session);
    assert_int_equal(mbedtls_ssl_get_session(&raw.raw.ssl, &session), 0);
    s.need_cert = 1;
    gr_tlsconf_unref(raw.conf);
    raw.conf = tls_conf(&raw.mem, &s);
    raw_pair_begin(&raw);
    assert_int_equal(mbedtls_ssl_set_session(&raw.raw.ssl, &session), 0);
    mbedtls_ssl_session_free(&session);
    raw_pair_pump(&raw);
    assert_rc(raw.end.rc, GR_ETLS_NO_CERT);
    raw_pair_close(&raw);
}

/* A ticket that is changed in any way is none; the handshake goes on as a whole one. */
static void changed_ticket_is_none(void **state)
{
    (void)state;
    raw_pair_open_up(&raw, GR_CLIENT, "full", NULL);
    for (int i = 0; i < 40; i++) {
        mbedtls_ssl_session session;
        mbedtls_ssl_session_init(&session);
        assert_int_equal(mbedtls_ssl_get_session(&raw.raw.ssl, &session), 0);
        assert_true(session.ticket_len > 40);
        session.ticket[(size_t)i * 7 % session.ticket_len] ^= 0x10;
        raw_pair_begin(&raw);
        assert_int_equal(mbedtls_ssl_set_session(&raw.raw.ssl, &session), 0);
        mbedtls_ssl_session_free(&session);
        raw_pair_pump(&raw);
        assert_rc(raw.end.rc, GR_OK);
        assert_false(tls_end_info(&raw.end).resumed);
    }
    raw_pair_close(&raw);
}

/* A ticket alone is worth nothing without the secret that belongs to it. */
static void ticket_without_its_secret_is_refused(void **state)
{
    (void)state;
    mbedtls_ssl_session session;
    raw_pair_open_up(&raw, GR_CLIENT, "full", NULL);
    mbedtls_ssl_session_init(&session);
    assert_int_equal(mbedtls_ssl_get_session(&raw.raw.ssl, &session), 0);
    session.master[7] ^= 1;
    raw_pair_begin(&raw);
    assert_int_equal(mbedtls_ssl_set_session(&raw.raw.ssl, &session), 0);
    mbedtls_ssl_session_free(&session);
    raw_pair_pump(&raw);
    assert_false(raw.end.up);
    raw_pair_close(&raw);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_of(second_handshake_is_short),
        test_of(binding_is_the_servers_certificate),
        test_of(nothing_is_kept_where_tickets_are_off),
        test_of(tickets_are_refused_after_they_were_turned_off),
        test_of(tickets_of_an_earlier_server_are_refused),
        test_of(renewed_certificate_is_seen_at_once),
        test_of(sessions_end_with_the_clients_configuration),
        test_of(sessions_are_kept_by_name),
        test_of(tickets_have_an_end),
        test_of(ticket_of_the_future_is_refused),
        test_of(short_handshake_works_in_small_pieces),
        test_of(closed_handshake_forgets_nothing),
        test_of(name_is_checked_in_a_short_handshake),
        test_of(expired_server_is_refused_in_a_short_handshake),
        test_of(expired_client_is_refused_in_a_short_handshake),
        test_of(nothing_is_verified_when_told_so),
        cmocka_unit_test(ticket_of_a_bad_client_is_refused),
        cmocka_unit_test(client_without_a_certificate_may_come_again),
        cmocka_unit_test(ticket_of_another_server_is_refused),
        cmocka_unit_test(changed_ticket_is_none),
        cmocka_unit_test(ticket_without_its_secret_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
