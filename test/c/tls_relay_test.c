/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A man in the middle: he ends the client's TLS, begins one of his own with the server, and passes
 * all that is said inside from one to the other. He does not know the cookie, but both ends do.
 */
#include <string.h>

#include "cmocka_support.h"
#include "secure_support.h"

static secure_pair pair; /* the honest ends */
static gr_tlsconf *front_conf;
static gr_tlsconf *back_conf;
static tls_end front; /* to the client, as a server */
static tls_end back;  /* to the server, as a client */

/* The relay shows these certificates to the client and to the server. */
static void prepare(const gr_tlsconf_options *client, const gr_tlsconf_options *server,
                    const gr_tlsconf_options *to_client, const gr_tlsconf_options *to_server)
{
    secure_pair_configure(&pair, client, server);
    front_conf = tls_conf(&pair.mem, to_client);
    back_conf = tls_conf(&pair.mem, to_server);
}

/* A relay that verifies nothing, with these certificates of the CA that both ends trust. */
static void prepare_with(const char *to_client, const char *to_server)
{
    gr_tlsconf_options f = tls_options(GR_SERVER, to_client);
    gr_tlsconf_options b = tls_options(GR_CLIENT, to_server);
    b.verify = 0;
    prepare(NULL, NULL, &f, &b);
}

static void clean_up(void)
{
    tls_end_close(&front);
    tls_end_close(&back);
    gr_tlsconf_unref(front_conf);
    gr_tlsconf_unref(back_conf);
    secure_pair_close(&pair);
}

static int pass_plaintext(tls_end *from, tls_end *to)
{
    size_t size = from->in.size;
    if (!size || !to->up || to->rc != GR_OK)
        return 0;
    tls_end_write(to, from->in.data, size);
    bytes_drop(&from->in, size);
    return 1;
}

/* Moves ciphertext between an honest end and the relay's end at its side. */
static int pass_ciphertext(secure_end *honest, tls_end *relay)
{
    test_bytes b = {0};
    secure_end_drain(honest, &b, SIZE_MAX);
    tls_end_feed(relay, b.data, b.size);
    int moved = b.size != 0;
    b.size = 0;
    tls_end_drain(relay, &b, SIZE_MAX);
    secure_end_feed(honest, b.data, b.size);
    moved |= b.size != 0;
    bytes_free(&b);
    return moved;
}

/* The client connects, and everything moves through the relay until nothing does. */
static void connect_through(void)
{
    int busy = 1;
    tls_end_close(&front);
    tls_end_close(&back);
    secure_pair_join(&pair);
    tls_end_open(&front, &pair.mem, front_conf, NULL, NULL);
    tls_end_open(&back, &pair.mem, back_conf, "callee@there", NULL);
    while (busy) {
        busy = pass_ciphertext(&pair.client, &front);
        busy |= pass_ciphertext(&pair.server, &back);
        busy |= pass_plaintext(&front, &back);
        busy |= pass_plaintext(&back, &front);
    }
}

/* Both ends of TLS came up, all of our handshake went through, and still neither end is up. */
static void expect_refused(void)
{
    connect_through();
    assert_true(front.up && back.up);
    assert_rc(pair.server.rc, GR_ECOOKIE);
    assert_rc(pair.client.rc, GR_ECOOKIE);
    assert_false(pair.client.session.up || pair.server.session.up);
}

/*
 * His certificate is for the very node that is meant, of the same CA: it was the node's before, or
 * the CA was careless. The hashes of the certificates differ on both sides, and so do the proofs.
 */
static void relay_with_a_certificate_for_the_node_is_refused(void **state)
{
    (void)state;
    prepare_with("callee2", "caller");
    expect_refused();
    /* Once more: what TLS kept of the first time is no help. */
    expect_refused();
    clean_up();
}

/* A certificate for both nodes is no better. */
static void relay_with_one_certificate_for_all_is_refused(void **state)
{
    (void)state;
    prepare_with("full", "full");
    expect_refused();
    clean_up();
}

/* Nor does it help him that nobody looks at certificates. */
static void relay_is_refused_without_verification(void **state)
{
    (void)state;
    gr_tlsconf_options c = tls_options(GR_CLIENT, "caller");
    gr_tlsconf_options s = tls_options(GR_SERVER, "callee");
    gr_tlsconf_options f = tls_options(GR_SERVER, "self");
    gr_tlsconf_options b = tls_options(GR_CLIENT, "other");
    c.verify = s.verify = f.verify = b.verify = 0;
    prepare(&c, &s, &f, &b);
    expect_refused();
    expect_refused();
    clean_up();
}

/* A certificate for another node does not get him past the client. */
static void relay_with_another_nodes_certificate_hears_nothing(void **state)
{
    (void)state;
    prepare_with("stranger", "caller");
    connect_through();
    assert_rc(pair.client.rc, GR_ETLS_NAME);
    assert_int_equal(front.in.size, 0);
    clean_up();
}

/*
 * What he kept from the client to himself is of no use for him, and none of what he said is kept
 * against the node: the next honest connection is up.
 */
static void relay_leaves_nothing_behind(void **state)
{
    (void)state;
    prepare_with("callee2", "caller");
    expect_refused();
    for (int i = 0; i < 2; i++) {
        gr_tls_info info;
        secure_pair_join(&pair);
        secure_pair_pump(&pair);
        assert_true(pair.client.session.up && pair.server.session.up);
        gr_tls_info_get(pair.client.tls, &info);
        /* His ticket is none of the server's. */
        assert_int_equal(info.resumed, i);
    }
    expect_refused();
    clean_up();
}

/* A client that was connected before does not resume with him: he lacks the ticket's key. */
static void relay_cannot_resume_what_was_honest(void **state)
{
    (void)state;
    prepare_with("callee2", "caller");
    secure_pair_join(&pair);
    secure_pair_pump(&pair);
    assert_true(pair.client.session.up);
    connect_through();
    assert_false(tls_end_info(&front).resumed);
    assert_rc(pair.client.rc, GR_ECOOKIE);
    assert_rc(pair.server.rc, GR_ECOOKIE);
    clean_up();
}

/*
 * Who has the server's own key is the server for everybody. That he gets through shows that it is
 * the binding, and nothing else in this test, that keeps the others out.
 */
static void only_the_servers_own_key_gets_through(void **state)
{
    (void)state;
    prepare_with("callee", "caller");
    connect_through();
    assert_true(pair.client.session.up && pair.server.session.up);
    assert_rc(pair.client.rc, GR_OK);
    assert_rc(pair.server.rc, GR_OK);
    clean_up();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relay_with_a_certificate_for_the_node_is_refused),
        cmocka_unit_test(relay_with_one_certificate_for_all_is_refused),
        cmocka_unit_test(relay_is_refused_without_verification),
        cmocka_unit_test(relay_with_another_nodes_certificate_hears_nothing),
        cmocka_unit_test(relay_leaves_nothing_behind),
        cmocka_unit_test(relay_cannot_resume_what_was_honest),
        cmocka_unit_test(only_the_servers_own_key_gets_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
