/* SPDX-License-Identifier: Apache-2.0 */
/* The tokens file as it is held in memory. Inside src/auth only.
 *
 * A token is "tl_" and 32 random bytes in base64url. The first 9 bytes are its salt: they stand in the file as they
 * are, and find the row; whoever reads the file learns nothing of the other 23. The hash is SHA-256 of the 9 bytes and
 * the token's text. */
#ifndef TL_AUTH_TOKENS_H
#define TL_AUTH_TOKENS_H

#include "auth/auth.h"
#include "auth/text.h"
#include "base/map.h"

enum {
    TL_TOKEN_SALT = 9,
    TL_TOKEN_BYTES = 32,
    TL_TOKEN_CHARS = 46, /* "tl_" and 43 */
    TL_TOKENS_MAX = 10000,
    TL_TOKENS_FILE_MAX = 4 << 20,
};

struct tl_token_entry {
    struct tl_token_row row;
    unsigned char salt[TL_TOKEN_SALT], hash[TL_SHA256];
    size_t from, to; /* its line in the text, with the newline */
};

struct tl_tokens {
    struct tl_token_entry *entries;
    size_t n, cap;
    struct tl_map *by_salt, *by_name; /* position + 1 */
};

/* What a token may be called. */
bool tl_token_name_valid(struct tl_str name);
/* [own] Errors name `file` and the line: PARSE, INVALID (given twice), TOO_LARGE, NOMEM. */
TL_MUSTCHECK enum tl_status tl_tokens_parse(struct tl_str text, const char *file, struct tl_tokens **out,
                                            struct tl_err *err);
void tl_tokens_free(struct tl_tokens *);
/* The row of a token, expired or not; NULL: none. Takes the same time for every text of a token's form.
 * [borrow: until free] */
const struct tl_token_row *tl_tokens_find(const struct tl_tokens *, struct tl_str token);
/* By name, else by id; NULL: none. */
const struct tl_token_entry *tl_tokens_named(const struct tl_tokens *, const char *name);

#endif
