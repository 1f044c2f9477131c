/* SPDX-License-Identifier: Apache-2.0 */
/* Cipher suites: which are allowed, what they are called, and in which order they are preferred. */
#ifndef GR_TLSSUITE_H
#define GR_TLSSUITE_H

#include "gr_auth.h"

#define GR_TLSSUITE_MAX 24

/* Fills ids (ended by 0) with what is used when nothing is asked for. with_dhe: DHE suites, too. */
void gr_tlssuite_default(int with_dhe, int ids[GR_TLSSUITE_MAX]);

/*
 * Fills ids with the suites of a list of names between colons, each as OpenSSL or as IANA call it.
 * GR_ENOENT: *bad is a name that is none of an allowed suite, or the list is empty.
 */
int gr_tlssuite_parse(gr_str names, int ids[GR_TLSSUITE_MAX], gr_str *bad);

/* Whether one of them is of that version of TLS: 12 or 13. */
int gr_tlssuite_serves(const int *ids, int version);

/* Name of a suite as IANA calls it; NULL for one that is not allowed. */
const char *gr_tlssuite_name(int id);

#endif
