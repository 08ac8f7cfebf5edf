/* SPDX-License-Identifier: Apache-2.0 */
/* Who stands behind a request: the tokens file as it was last good, the keys for JWTs, and the tickets. Invariants:
 * keys and tokens are replaced together or not at all; a tokens file that has become bad or unreadable leaves the
 * tokens that were there, one that is gone leaves none; what once was configured stays so, since taking the last token
 * away must not open a server that was closed. Never logs, returns or keeps a token, and does not decide who may do
 * what: it says what an identity may, routes say what they need. */
#include "auth/file.h"
#include "auth/jwt.h"
#include "auth/tickets.h"
#include "auth/tokens.h"

#include "base/err.h"
#include "base/util.h"

#include <errno.h>
#include <time.h>

#define LOOK_NS   UINT64_C(1000000000)
#define SETTLE_NS INT64_C(2000000000)

enum { HEADER_MAX = TL_JWT_MAX + 64 };

/* What tells one content of a file from another. */
struct mark {
    bool there;
    bool settling; /* it was changed so shortly before that another change may carry the same time */
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec changed;
};

struct tl_auth {
    char *tokens_file, *hs256_file, *rs256_file, *issuer, *audience, *scope_claim; /* NULL: not configured */
    unsigned anonymous;
    const struct tl_clock *clock;
    const struct tl_log *log;
    struct tl_tokens *tokens;
    struct mark mark; /* of the file that was read last, good or bad */
    uint64_t next_ns; /* when the file is looked at again */
    bool configured;
    struct tl_jwt_keys keys;
    struct tl_tickets tickets;
};

/* ---- the tokens file ---- */

static struct mark mark_of(const struct stat *sb)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t age_ns = (int64_t)(now.tv_sec - sb->st_ctim.tv_sec) * 1000000000 + (now.tv_nsec - sb->st_ctim.tv_nsec);
    return (struct mark){true, age_ns < SETTLE_NS, sb->st_dev, sb->st_ino, sb->st_size, sb->st_ctim};
}

static bool same_mark(const struct mark *a, const struct mark *b)
{
    if (!a->there || !b->there) return a->there == b->there;
    return !a->settling && a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* [own] *out: what the file says; no file has no tokens. *mark is set also when it is refused. */
static enum tl_status read_tokens(const char *file, struct tl_tokens **out, struct mark *mark, struct tl_err *err)
{
    struct tl_buf text;
    struct stat sb;
    *mark = (struct mark){.there = false};
    tl_buf_init(&text, TL_TOKENS_FILE_MAX);
    enum tl_status st = TL_NOT_FOUND;
    if (file) st = tl_file_read(file, TL_FILE_SECRET, &text, &sb, err);
    if (st == TL_OK || (file && st != TL_NOT_FOUND && stat(file, &sb) == 0)) *mark = mark_of(&sb);
    if (st == TL_OK || st == TL_NOT_FOUND) st = tl_tokens_parse(tl_buf_str(&text), file ? file : "", out, err);
    tl_buf_release(&text);
    return st;
}

static void take_tokens(struct tl_auth *a, struct tl_tokens *tokens)
{
    tl_tokens_free(a->tokens);
    a->tokens = tokens;
    a->configured = a->configured || tokens->n > 0;
}

/* Looks whether the file is another one than last time, once a second at most. */
static void follow_tokens(struct tl_auth *a)
{
    uint64_t now = tl_clock_mono_ns(a->clock);
    if (!a->tokens_file || now < a->next_ns) return;
    a->next_ns = now + LOOK_NS;
    struct stat sb;
    struct mark seen = {.there = false}, before = a->mark;
    if (stat(a->tokens_file, &sb) == 0)
        seen = mark_of(&sb);
    else if (errno != ENOENT && errno != ENOTDIR)
        return; /* out of reach is not gone */
    if (same_mark(&before, &seen)) return;
    struct tl_tokens *tokens = NULL;
    struct tl_err err;
    before.settling = false;
    if (read_tokens(a->tokens_file, &tokens, &a->mark, &err) == TL_OK) {
        bool known = same_mark(&before, &a->mark); /* read again only because it was fresh */
        take_tokens(a, tokens);
        if (!known)
            tl_log(a->log, TL_LOG_INFO, "auth", "tokens were read again", "file=%s n=%zu", a->tokens_file, tokens->n);
    } else if (!same_mark(&before, &a->mark)) {
        char text[600];
        tl_err_format(&err, text, sizeof text);
        tl_log(a->log, TL_LOG_ERROR, "auth", "tokens file refused: the tokens before go on", "reason=\"%s\"", text);
    }
}

/* ---- open, reload, free ---- */

static bool given(const char *text)
{
    return text && text[0] && strcmp(text, "none") != 0;
}

/* [own] NULL for what is not given; *ok becomes false when memory is out. */
static char *copy(const char *text, bool *ok)
{
    if (!given(text)) return NULL;
    char *p = strdup(text);
    *ok = *ok && p;
    return p;
}

void tl_auth_free(struct tl_auth *a)
{
    if (!a) return;
    tl_tickets_release(&a->tickets);
    tl_jwt_release(&a->keys);
    tl_tokens_free(a->tokens);
    char *texts[] = {a->tokens_file, a->hs256_file, a->rs256_file, a->issuer, a->audience, a->scope_claim};
    for (size_t i = 0; i < TL_COUNT(texts); i++) free(texts[i]);
    free(a);
}

enum tl_status tl_auth_reload(struct tl_auth *a, struct tl_err *err)
{
    struct tl_jwt_keys keys;
    struct tl_tokens *tokens = NULL;
    struct mark mark;
    enum tl_status st = tl_jwt_load(a->hs256_file, a->rs256_file, &keys, err);
    if (st != TL_OK) return st;
    st = read_tokens(a->tokens_file, &tokens, &mark, err);
    if (st != TL_OK) {
        tl_jwt_release(&keys);
        return st;
    }
    tl_jwt_release(&a->keys);
    a->keys = keys;
    a->mark = mark;
    a->next_ns = tl_clock_mono_ns(a->clock) + LOOK_NS;
    take_tokens(a, tokens);
    a->configured = a->configured || a->hs256_file || a->rs256_file;
    return TL_OK;
}

static unsigned with_lower(unsigned bits)
{
    return tl_may_parse(tl_str(tl_may_name(bits)));
}

enum tl_status tl_auth_open(const struct tl_auth_options *o, struct tl_auth **out, struct tl_err *err)
{
    *out = NULL;
    struct tl_auth *a = tl_calloc(1, sizeof *a);
    if (!a) return tl_fail(err, TL_NOMEM, "no memory for authentication");
    bool ok = true;
    a->tokens_file = copy(o->tokens_file, &ok);
    a->hs256_file = copy(o->jwt_hs256_file, &ok);
    a->rs256_file = copy(o->jwt_rs256_file, &ok);
    a->issuer = copy(o->jwt_issuer, &ok);
    a->audience = copy(o->jwt_audience, &ok);
    a->scope_claim = copy(given(o->jwt_scope_claim) ? o->jwt_scope_claim : "scope", &ok);
    a->anonymous = with_lower(o->anonymous);
    a->clock = o->clock ? o->clock : &tl_clock_system;
    a->log = o->log;
    enum tl_status st = ok ? TL_OK : tl_fail(err, TL_NOMEM, "no memory for authentication");
    if (st == TL_OK) st = tl_tickets_init(&a->tickets, o->ticket_ms, err);
    if (st == TL_OK) st = tl_auth_reload(a, err);
    if (st == TL_OK)
        *out = a;
    else
        tl_auth_free(a);
    return st;
}

bool tl_auth_configured(const struct tl_auth *a)
{
    return a->configured;
}

/* ---- asking ---- */

static enum tl_status own_token(struct tl_auth *a, struct tl_str token, int64_t now_ms, struct tl_identity *out,
                                struct tl_err *err)
{
    const struct tl_token_row *row = tl_tokens_find(a->tokens, token);
    if (!row) return tl_fail(err, TL_DENIED, "the token is not known");
    if (row->expires_ms <= now_ms) {
        char text[TL_RFC3339_MAX];
        tl_rfc3339(row->expires_ms, text);
        return tl_fail(err, TL_DENIED, "the token '%s' expired at %s", row->name, text);
    }
    *out = (struct tl_identity){.may = row->may, .expires_ms = row->expires_ms};
    memcpy(out->name, row->name, sizeof out->name);
    memcpy(out->token, row->id, sizeof out->token);
    return TL_OK;
}

enum tl_status tl_auth_token(struct tl_auth *a, struct tl_str token, struct tl_identity *out, struct tl_err *err)
{
    *out = (struct tl_identity){.may = 0};
    follow_tokens(a);
    int64_t now_ms = tl_clock_wall_ms(a->clock);
    if (token.n > 3 && memcmp(token.p, "tl_", 3) == 0 && !tl_jwt_looks_like(token))
        return own_token(a, token, now_ms, out, err);
    if (!tl_jwt_looks_like(token))
        return tl_fail(err, TL_DENIED, "the token is malformed: neither one of tierline's nor a JWT");
    const struct tl_jwt_rules rules = {a->issuer, a->audience, a->scope_claim};
    return tl_jwt_check(&a->keys, &rules, token, now_ms, out, err);
}

enum tl_status tl_auth_check(struct tl_auth *a, struct tl_str header, struct tl_identity *out, struct tl_err *err)
{
    static const char scheme[] = "Bearer";
    const size_t n = sizeof scheme - 1;
    *out = (struct tl_identity){.may = 0};
    header = tl_str_trim(header);
    if (header.n == 0) {
        follow_tokens(a); /* whether anything is configured depends on it */
        *out = (struct tl_identity){.may = a->anonymous, .name = "anonymous", .expires_ms = INT64_MAX};
        return TL_OK;
    }
    if (header.n > HEADER_MAX)
        return tl_fail(err, TL_DENIED, "the Authorization header has more than %d characters", HEADER_MAX);
    if (header.n <= n || !tl_str_ieq((struct tl_str){header.p, n}, tl_str(scheme)) || header.p[n] != ' ')
        return tl_fail(err, TL_DENIED, "the Authorization header is not 'Bearer TOKEN'");
    return tl_auth_token(a, tl_str_trim((struct tl_str){header.p + n, header.n - n}), out, err);
}

const char *tl_auth_ended(struct tl_auth *a, const struct tl_identity *who)
{
    if (tl_clock_wall_ms(a->clock) >= who->expires_ms) return "the token has run out";
    if (!who->token[0] && !who->unasked) return NULL;
    follow_tokens(a);
    if (who->unasked) return a->configured ? "a token is needed now" : NULL;
    const struct tl_token_entry *e = tl_tokens_named(a->tokens, who->name);
    bool same = e && strcmp(e->row.id, who->token) == 0 && e->row.may == who->may;
    return same && e->row.expires_ms > tl_clock_wall_ms(a->clock) ? NULL : "the token was revoked";
}

/* ---- tickets ---- */

enum tl_status tl_auth_ticket(struct tl_auth *a, const struct tl_identity *id, char out[TL_TICKET_MAX],
                              struct tl_err *err)
{
    return tl_tickets_issue(&a->tickets, id, tl_clock_mono_ns(a->clock), out, err);
}

enum tl_status tl_auth_redeem(struct tl_auth *a, struct tl_str ticket, struct tl_identity *out, struct tl_err *err)
{
    *out = (struct tl_identity){.may = 0};
    enum tl_status st =
        tl_tickets_redeem(&a->tickets, ticket, tl_clock_mono_ns(a->clock), tl_clock_wall_ms(a->clock), out, err);
    const char *ended = st == TL_OK ? tl_auth_ended(a, out) : NULL;
    if (!ended) return st;
    *out = (struct tl_identity){.may = 0};
    return tl_fail(err, TL_DENIED, "%s", ended);
}
