/* SPDX-License-Identifier: Apache-2.0 */
/* Everything of src/auth that strangers write: Authorization headers, JWTs as they are and rightly signed (so that the
 * claims behind the signature are reached), tickets, and tokens files, which are refused with a line or read back the
 * same. The first byte chooses. Nobody gets in who has no token. */
#include "auth/jwt.h"
#include "auth/text.h"
#include "auth/tokens.h"
#include "base/buf.h"
#include "base/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char secret[] = "0123456789abcdef0123456789abcdef";
static const int64_t now_ms = INT64_C(1800000000000);

static void check_err(enum tl_status st, const struct tl_err *err)
{
    TL_ASSERT(st == TL_OK || st == TL_NOMEM || err->text[0] != '\0');
}

static void check_identity(const struct tl_identity *id)
{
    TL_ASSERT((id->may & ~7U) == 0 && id->name[0] && memchr(id->name, '\0', sizeof id->name));
    TL_ASSERT(id->expires_ms > now_ms);
    TL_ASSERT(!(id->may & TL_MAY_ADMIN) || (id->may & TL_MAY_WRITE));
    TL_ASSERT(!(id->may & TL_MAY_WRITE) || (id->may & TL_MAY_READ));
}

/* Without tokens and keys: nothing but anonymous. */
static void header(struct tl_str text)
{
    static struct tl_auth *auth;
    struct tl_identity id;
    struct tl_err err = {0};
    if (!auth) {
        static const struct tl_auth_options o = {.tokens_file = "none"};
        enum tl_status opened = tl_auth_open(&o, &auth, NULL);
        TL_ASSERT(opened == TL_OK);
    }
    enum tl_status st = tl_auth_check(auth, text, &id, &err);
    TL_ASSERT(st == TL_OK ? tl_str_trim(text).n == 0 && id.may == 0 : id.may == 0);
    check_err(st, &err);
    st = tl_auth_token(auth, text, &id, &err);
    TL_ASSERT(st == TL_DENIED);
    st = tl_auth_redeem(auth, text, &id, &err);
    TL_ASSERT(st == TL_DENIED);
}

static void jwt(const struct tl_jwt_rules *rules, struct tl_str token, bool may_fit)
{
    const struct tl_jwt_keys keys = {.secret = (unsigned char *)(uintptr_t)secret, .secret_n = sizeof secret - 1};
    struct tl_identity id = {0};
    struct tl_err err = {0};
    enum tl_status st = tl_jwt_check(&keys, rules, token, now_ms, &id, &err);
    TL_ASSERT(st == TL_OK || st == TL_DENIED || st == TL_NOMEM);
    TL_ASSERT(may_fit || st != TL_OK);
    check_err(st, &err);
    if (st == TL_OK) check_identity(&id);
}

/* "header NUL claims", signed. */
static void signed_jwt(const struct tl_jwt_rules *rules, struct tl_str text)
{
    const char *end = memchr(text.p, '\0', text.n);
    size_t header_n = end ? (size_t)(end - text.p) : 0;
    static const char usual[] = "{\"alg\":\"HS256\"}";
    struct tl_str head = header_n ? (struct tl_str){text.p, header_n} : TL_STR(usual);
    struct tl_str claims = end ? (struct tl_str){end + 1, text.n - header_n - 1} : text;
    char *token = malloc((head.n + claims.n) * 4 / 3 + 64);
    if (!token) return;
    unsigned char mac[TL_SHA256];
    size_t mac_n = 0;
    tl_base64url(head.p, head.n, token);
    strcat(token, ".");
    tl_base64url(claims.p, claims.n, token + strlen(token));
    unsigned char *made = EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, secret, sizeof secret - 1,
                                    (unsigned char *)token, strlen(token), mac, sizeof mac, &mac_n);
    TL_ASSERT(made);
    strcat(token, ".");
    tl_base64url(mac, mac_n, token + strlen(token));
    jwt(rules, tl_str(token), true);
    free(token);
}

static void tokens(struct tl_str text)
{
    struct tl_tokens *t = NULL, *again = NULL;
    struct tl_err err = {0};
    enum tl_status st = tl_tokens_parse(text, "f", &t, &err);
    check_err(st, &err);
    TL_ASSERT((st == TL_OK) == (t != NULL));
    TL_ASSERT(st == TL_OK || st == TL_NOMEM || err.line > 0);
    if (!t) return;
    TL_ASSERT(!tl_tokens_find(t, text));
    for (size_t i = 0; i < t->n; i++) {
        const struct tl_token_entry *e = &t->entries[i];
        TL_ASSERT(e->from < e->to && e->to <= text.n && (i == 0 || t->entries[i - 1].to <= e->from));
        TL_ASSERT(tl_tokens_named(t, e->row.name) == e && tl_tokens_named(t, e->row.id)); /* two may have one id */
        st = tl_tokens_parse((struct tl_str){text.p + e->from, e->to - e->from}, "f", &again, NULL);
        TL_ASSERT(st == TL_OK || st == TL_NOMEM);
        TL_ASSERT(!again || (again->n == 1 && memcmp(&again->entries[0].row, &e->row, sizeof e->row) == 0));
        tl_tokens_free(again);
    }
    tl_tokens_free(t);
}

/* "%x" becomes a hash whose salt begins with x, so that whole lines come about. */
static void expanded_tokens(struct tl_str text)
{
    static const char digits[] = "0123456789abcdef";
    struct tl_buf b;
    tl_buf_init(&b, 1 << 20);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '%' || i + 1 == text.n) {
            tl_buf_putc(&b, text.p[i]);
            continue;
        }
        unsigned char x = (unsigned char)text.p[++i];
        tl_buf_printf(&b, "sha256:%c%c0102030405060708:%064x", digits[x >> 4], digits[x & 15], x);
    }
    if (!b.failed) tokens(tl_buf_str(&b));
    tl_buf_release(&b);
}

static void texts(struct tl_str text)
{
    size_t n;
    int64_t ms;
    char again[TL_RFC3339_MAX];
    char *raw = malloc(text.n + 1), *back = malloc(text.n + 8);
    if (raw && back && tl_base64url_decode(text, raw, text.n + 1, &n)) {
        tl_base64url(raw, n, back);
        TL_ASSERT(tl_str_eq(tl_str(back), text)); /* one value, one text */
    }
    if (tl_rfc3339_parse(text, &ms)) {
        tl_rfc3339(ms, again);
        TL_ASSERT(tl_str_eq(tl_str(again), text));
    }
    free(raw);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tl_jwt_rules open = {.scope_claim = "scope"};
    static const struct tl_jwt_rules closed = {.issuer = "i", .audience = "a", .scope_claim = "roles"};
    if (size == 0) return 0;
    /* A block of exactly that size, so that a sanitizer sees any read behind it. */
    char *copy = malloc(size - 1 ? size - 1 : 1);
    if (!copy) return 0;
    memcpy(copy, data + 1, size - 1);
    struct tl_str text = {copy, size - 1};
    switch (data[0] % 7) {
    case 0:
        header(text);
        break;
    case 1:
        jwt(&open, text, false);
        break;
    case 2:
        signed_jwt(&open, text);
        break;
    case 3:
        signed_jwt(&closed, text);
        break;
    case 4:
        tokens(text);
        break;
    case 5:
        expanded_tokens(text);
        break;
    default:
        texts(text);
        break;
    }
    free(copy);
    return 0;
}
