/* SPDX-License-Identifier: Apache-2.0 */
/* The text forms that tokens, JWTs and the tokens file are written in, and SHA-256. Inside src/auth only. Pure. */
#ifndef TL_AUTH_TEXT_H
#define TL_AUTH_TEXT_H

#include "base/str.h"
#include <tierline/status.h>

enum { TL_SHA256 = 32, TL_RFC3339_MAX = 28 };

/* Base64url without padding (RFC 4648 5). Writes 4 * n / 3 characters, rounded up, and a NUL. */
void tl_base64url(const void *p, size_t n, char *out);
/* The whole of `text`, in its one canonical form: no padding, white space or set bits behind the end. false: it is not,
 * or does not fit into cap. */
bool tl_base64url_decode(struct tl_str text, void *out, size_t cap, size_t *n);

/* Lower case, and a NUL. */
void tl_hex(const unsigned char *p, size_t n, char *out);
/* Exactly n bytes, lower case. */
bool tl_hex_decode(struct tl_str text, unsigned char *out, size_t n);

/* SHA-256 of a, then b. false: libcrypto has none. */
bool tl_sha256(struct tl_str a, struct tl_str b, unsigned char out[TL_SHA256]);

/* "2026-01-31T12:00:00Z" of the second that `ms` is in; years 1970 to 9999. */
void tl_rfc3339(int64_t ms, char out[TL_RFC3339_MAX]);
/* That form alone (upper case, UTC, whole seconds). */
bool tl_rfc3339_parse(struct tl_str, int64_t *ms);

#endif
