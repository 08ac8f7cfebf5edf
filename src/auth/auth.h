/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what: bearer tokens of our own (hashed at rest in a file), JWTs of others, single-use tickets for
 * browsers. Loop thread. Nothing here logs or returns a token, but for the one that creates it. */
#ifndef TL_AUTH_AUTH_H
#define TL_AUTH_AUTH_H

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include <tierline/status.h>

enum tl_scope_bits { TL_MAY_READ = 1, TL_MAY_WRITE = 2, TL_MAY_ADMIN = 4 }; /* admin has write, write has read */
/* "read", "write", "admin" -> every bit that it includes; 0: it is none of them. */
unsigned tl_may_parse(struct tl_str);
const char *tl_may_name(unsigned bits); /* of the highest */

struct tl_identity {
    unsigned may;
    char name[72];      /* of the token, subject of the JWT; "anonymous" */
    char token[13];     /* id of the token of our own; "": it is none */
    bool unasked;       /* may it only as long as no way to authenticate is configured */
    int64_t expires_ms; /* INT64_MAX: never; of a JWT with the leeway of 60 s counted in */
};

struct tl_auth;
/* A text that is NULL, "" or "none" (as settings say it) is not given. */
struct tl_auth_options {
    const char *tokens_file;    /* NULL or "": none. It need not exist */
    const char *jwt_hs256_file; /* the shared key (raw bytes, at least 32; a trailing newline is dropped); NULL or "" */
    const char *jwt_rs256_file; /* public key, PEM; NULL or "" */
    const char *jwt_issuer, *jwt_audience; /* must match where given */
    const char *jwt_scope_claim; /* NULL: "scope"; blank-separated text or an array; "tierline:write", "write" */
    unsigned anonymous;          /* what may be done without a token; bits */
    uint32_t ticket_ms;          /* 0: 30000 */
    const struct tl_clock *clock;
    const struct tl_log *log;
};
/* Errors name file and line: INVALID, PARSE, NOT_FOUND (keys), DENIED (a file that others may write or read). */
TL_MUSTCHECK enum tl_status tl_auth_open(const struct tl_auth_options *, struct tl_auth **out, struct tl_err *err);
void tl_auth_free(struct tl_auth *);
/* Reads the files again; on failure everything stays as it was. */
TL_MUSTCHECK enum tl_status tl_auth_reload(struct tl_auth *, struct tl_err *err);
/* Some way to authenticate is configured (tokens or keys), as of the last check. Once true it stays so: taking the last
 * token away must not open a server to everybody. */
bool tl_auth_configured(const struct tl_auth *);

/* The value of an Authorization header ("Bearer ..."), or empty: anonymous. OK: *out, whose may can be 0.
 * DENIED: wrong, expired, revoked, malformed (text says which, for the log; never the token). The tokens file is read
 * again when it has changed (looked at once a second at most): one that is bad leaves what was there and is logged, one
 * that is gone has no tokens. Comparisons take the same time. JWTs: exp is required; iss and aud must be what is
 * configured, and an aud where none is configured is refused; claims of a wrong type, duplicates and "crit", too. */
TL_MUSTCHECK enum tl_status tl_auth_check(struct tl_auth *, struct tl_str authorization, struct tl_identity *out,
                                          struct tl_err *err);
/* The bare token, as in a WebSocket's first message. */
TL_MUSTCHECK enum tl_status tl_auth_token(struct tl_auth *, struct tl_str token, struct tl_identity *out,
                                          struct tl_err *err);

/* What was opened by this identity may stay open: NULL, or why not ("the token has run out", "... was revoked", also by
 * a change of its scope). For those who stay: to be asked once a second. [borrow: static] */
const char *tl_auth_ended(struct tl_auth *, const struct tl_identity *);

/* A ticket stands for an identity, once, for ticket_ms: what a browser may put into a URL. At most 10,000 at a time,
 * the oldest go first. NOMEM. */
enum { TL_TICKET_MAX = 44 };
TL_MUSTCHECK enum tl_status tl_auth_ticket(struct tl_auth *, const struct tl_identity *, char out[TL_TICKET_MAX],
                                           struct tl_err *err);
/* DENIED: unknown, used or expired; or what it stands for has ended. */
TL_MUSTCHECK enum tl_status tl_auth_redeem(struct tl_auth *, struct tl_str ticket, struct tl_identity *out,
                                           struct tl_err *err);

/* ---- the tokens file: one token a line: `name scope expires sha256:<hex of salt>:<hex> created` ----
 * expires: RFC 3339 in UTC and whole seconds, or never; created: the same, may be left out. Blank lines and those that
 * begin with # are kept. The salt is the beginning of the token and finds its row. Whoever changes the file holds a
 * lock on it and replaces it whole; owner and mode stay. Names: up to 71 of [A-Za-z0-9._@-], no 12 hex digits. */
enum { TL_TOKEN_MAX = 64 };
struct tl_token_row {
    char id[13]; /* first 12 hex digits of the hash: to revoke by */
    char name[72];
    unsigned may;
    int64_t created_ms; /* 0: not known */
    int64_t expires_ms; /* INT64_MAX: never */
};
/* Adds a line to the file (made with mode 0600). out: the token ("tl_" and 43 characters), shown once.
 * INVALID, CONFLICT (the name is taken), BUSY (another process has been changing the file for 5 s). */
TL_MUSTCHECK enum tl_status tl_tokens_create(const char *file, const char *name, unsigned may, int64_t expires_ms,
                                             int64_t now_ms, char out[TL_TOKEN_MAX], struct tl_err *err);
/* In the order of the file; no file: none. cb returns false to end. [borrow: the row, until cb returns] */
TL_MUSTCHECK enum tl_status tl_tokens_list(const char *file, bool (*cb)(void *ctx, const struct tl_token_row *),
                                           void *ctx, struct tl_err *err);
/* By name, else by id. NOT_FOUND, BUSY. */
TL_MUSTCHECK enum tl_status tl_tokens_revoke(const char *file, const char *name, struct tl_err *err);

#endif
