/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mbedTLS does on one core when nothing else is done: no sockets, no other thread.
 *   tls_limit records CERTIFICATE KEY AUTHORITY SUITE CURVE MILLISECONDS BYTES
 * prints MB a second of payload written and, apart from that, read, in records of so many bytes;
 *   tls_limit full|resumed CERTIFICATE KEY AUTHORITY SUITE CURVE MILLISECONDS
 * prints what a handshake costs the client and the server, us.
 */
#include "tls_pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t payload[RECORD_MAX];

static void write_batch(tls_end *end, size_t size)
{
    uint64_t begin = tls_clock();
    for (int i = 0; i < BATCH; i++) {
        int rc = mbedtls_ssl_write(&end->ssl, payload, size);
        if (rc != (int)size)
            tls_die("write", rc);
    }
    end->spent += tls_clock() - begin;
}

static void read_batch(tls_end *end, size_t size)
{
    static uint8_t data[RECORD_MAX];
    uint64_t begin = tls_clock();
    for (int i = 0; i < BATCH; i++) {
        int rc = mbedtls_ssl_read(&end->ssl, data, sizeof data);
        if (rc != (int)size)
            tls_die("read", rc);
    }
    end->spent += tls_clock() - begin;
}

static double rate(uint64_t batches, size_t size, const tls_end *end)
{
    return (double)batches * BATCH * (double)size * 1000.0 / (double)end->spent;
}

static void measure_records(tls_pair *p, uint64_t ns, size_t size)
{
    uint64_t batches = 0;
    tls_pair_open(p, NULL);
    /* The first batch does not count: buffers become resident. */
    write_batch(&p->client, size);
    read_batch(&p->server, size);
    p->client.spent = p->server.spent = 0;
    do {
        write_batch(&p->client, size);
        read_batch(&p->server, size);
        batches++;
    } while (p->client.spent + p->server.spent < ns);
    printf("%.2f %.2f\n", rate(batches, size, &p->client), rate(batches, size, &p->server));
    tls_pair_close(p);
}

static void measure_handshakes(tls_pair *p, uint64_t ns, int resumed)
{
    mbedtls_ssl_session session;
    unsigned count = 0;
    mbedtls_ssl_session_init(&session);
    tls_pair_open(p, NULL);
    int rc = mbedtls_ssl_get_session(&p->client.ssl, &session);
    if (rc)
        tls_die("session", rc);
    tls_pair_close(p);
    p->client.spent = p->server.spent = 0;
    p->client_config.verified = p->server_config.verified = 0;
    do {
        tls_pair_open(p, resumed ? &session : NULL);
        tls_pair_close(p);
        count++;
    } while (p->client.spent + p->server.spent < ns);
    unsigned least = resumed ? 0 : count;
    if ((resumed && (p->client_config.verified || p->server_config.verified)) ||
        p->client_config.verified < least || p->server_config.verified < least)
        tls_die("not the kind of handshake that was asked for", 0);
    printf("%.2f %.2f\n", (double)p->client.spent / 1000.0 / count,
           (double)p->server.spent / 1000.0 / count);
    mbedtls_ssl_session_free(&session);
}

int main(int argc, char **argv)
{
    static tls_pair p;
    if (argc < 8)
        return 2;
    const char *what = argv[1];
    const tls_names names = {argv[2], argv[3], argv[4], argv[5], argv[6]};
    uint64_t ns = strtoul(argv[7], NULL, 10) * 1000000u;
    tls_pair_configure(&p, &names);
    if (strcmp(what, "records") == 0 && argc == 9) {
        size_t size = strtoul(argv[8], NULL, 10);
        if (size < 1 || size > RECORD_MAX)
            return 2;
        measure_records(&p, ns, size);
    } else if ((strcmp(what, "full") == 0 || strcmp(what, "resumed") == 0) && argc == 8) {
        measure_handshakes(&p, ns, strcmp(what, "resumed") == 0);
    } else {
        return 2;
    }
    return 0;
}
