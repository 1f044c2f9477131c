/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seeds of the fuzzers, out of real traffic: two ends talk to each other, and what they say is written
 * to files, with the options in front that each fuzzer reads. Usage: fuzz_seeds <folder>
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmocka_support.h"
#include "pair_support.h"

static const char *folder;

/* A seed of that fuzzer: options, then content. */
static void write_seed(const char *fuzzer, const char *name, const gr_str *options,
                       const test_bytes *content)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, fuzzer);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", folder, fuzzer, name);
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(options->data, 1, options->size, out) != options->size ||
        fwrite(content->data, 1, content->size, out) != content->size || fclose(out) != 0) {
        perror(path);
        exit(1);
    }
}

/* Options of auth_fuzz: what is known and done, the seed of cuts, no allocation that fails. */
static void auth_seeds(void)
{
    static const uint8_t server[] = {0x03, 7, 0}, client[] = {0x02, 7, 0};
    const gr_str to_server = {server, sizeof server}, to_client = {client, sizeof client};
    test_pair p;
    test_bytes up = {0}, down = {0};
    pair_open(&p, NULL, NULL);
    p.up.tap = &up;
    p.down.tap = &down;
    pair_pump(&p);
    write_seed("auth", "client", &to_server, &up);
    write_seed("auth", "server", &to_client, &down);
    pair_close(&p);
    bytes_free(&up);
    bytes_free(&down);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: fuzz_seeds <folder>\n");
        return 1;
    }
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    folder = argv[1];
    mkdir(folder, 0777);
    auth_seeds();
    return 0;
}
