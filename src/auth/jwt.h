/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Web Tokens of others: JWS in compact form (RFC 7515), HS256 and RS256 (RFC 7518), claims by RFC 7519, checked as
 * RFC 8725 wants it. Inside src/auth only. */
#ifndef TL_AUTH_JWT_H
#define TL_AUTH_JWT_H

#include "auth/auth.h"

#include <openssl/evp.h>

enum {
    TL_JWT_MAX = 8192,         /* characters of a token */
    TL_JWT_LEEWAY_MS = 60000,  /* how far clocks may differ */
    TL_JWT_SECRET_MIN = 32,    /* bytes, RFC 7518 3.2 */
    TL_JWT_SECRET_MAX = 4096,  /* bytes */
    TL_JWT_RSA_MIN = 2048,     /* bits, RFC 7518 3.3 */
    TL_JWT_PEM_MAX = 64 << 10, /* bytes */
};

struct tl_jwt_keys { /* what is NULL is not configured, and its algorithm is refused */
    unsigned char *secret;
    size_t secret_n;
    EVP_PKEY *rsa;
};

struct tl_jwt_rules {
    const char *issuer, *audience; /* NULL: not configured */
    const char *scope_claim;
};

/* hs256_file, rs256_file: NULL: none. On failure nothing is held. Errors name the file. */
TL_MUSTCHECK enum tl_status tl_jwt_load(const char *hs256_file, const char *rs256_file, struct tl_jwt_keys *,
                                        struct tl_err *err);
void tl_jwt_release(struct tl_jwt_keys *); /* overwrites the secret */

/* Two dots: it is meant as a JWT. */
bool tl_jwt_looks_like(struct tl_str token);
/* DENIED with the reason; NOMEM. expires_ms of the identity has the leeway counted in. */
TL_MUSTCHECK enum tl_status tl_jwt_check(const struct tl_jwt_keys *, const struct tl_jwt_rules *, struct tl_str token,
                                         int64_t now_ms, struct tl_identity *out, struct tl_err *err);

#endif
