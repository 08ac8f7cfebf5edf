/* SPDX-License-Identifier: Apache-2.0 */
/* The tokens file in memory: parsing it, and finding a token in it. Invariants: a text is taken whole or not at all;
 * names and salts are unique in it; ids cannot be names (12 hex digits are refused as a name). A token costs one table
 * look-up by its salt, which is no secret, and one hash, compared in constant time, whether there is a row or not.
 * Reads and writes no files. */
#include "auth/tokens.h"

#include "base/err.h"
#include "base/util.h"

#include <openssl/crypto.h>

enum { ID_DIGITS = 12, FIELDS_MIN = 4, FIELDS_MAX = 5, NAME_MAX_BYTES = sizeof((struct tl_token_row *)0)->name - 1 };

static const char hash_prefix[] = "sha256:";

/* ---- scopes ---- */

unsigned tl_may_parse(struct tl_str name)
{
    if (tl_str_eq(name, TL_STR("read"))) return TL_MAY_READ;
    if (tl_str_eq(name, TL_STR("write"))) return TL_MAY_READ | TL_MAY_WRITE;
    if (tl_str_eq(name, TL_STR("admin"))) return TL_MAY_READ | TL_MAY_WRITE | TL_MAY_ADMIN;
    return 0;
}

const char *tl_may_name(unsigned bits)
{
    if (bits & TL_MAY_ADMIN) return "admin";
    if (bits & TL_MAY_WRITE) return "write";
    return bits & TL_MAY_READ ? "read" : "none";
}

/* ---- one line ---- */

bool tl_token_name_valid(struct tl_str name)
{
    unsigned char id[ID_DIGITS / 2];
    if (name.n == 0 || name.n > NAME_MAX_BYTES || tl_hex_decode(name, id, sizeof id)) return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && (i == 0 || !memchr("._@-", c, 4))) return false;
    }
    return true;
}

/* Blank-separated fields; more than cap count, but are not kept. */
static size_t fields_of(struct tl_str line, struct tl_str *fields, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < line.n;) {
        size_t from = i;
        while (i < line.n && line.p[i] != ' ' && line.p[i] != '\t') i++;
        if (i > from && n++ < cap) fields[n - 1] = (struct tl_str){line.p + from, i - from};
        while (i < line.n && (line.p[i] == ' ' || line.p[i] == '\t')) i++;
    }
    return n;
}

/* NULL, or what is wrong with the line. */
static const char *parse_line(struct tl_str line, struct tl_token_entry *e)
{
    struct tl_str f[FIELDS_MAX], salt, hash;
    size_t n = fields_of(line, f, FIELDS_MAX);
    if (n < FIELDS_MIN || n > FIELDS_MAX) return "is not 'name scope expires sha256:salt:hash created'";
    if (!tl_token_name_valid(f[0])) return "the name is none: up to 71 letters, digits, '.', '_', '@' and '-'";
    memcpy(e->row.name, f[0].p, f[0].n);
    e->row.may = tl_may_parse(f[1]);
    if (!e->row.may) return "the scope is none of read, write, admin";
    if (tl_str_eq(f[2], TL_STR("never")))
        e->row.expires_ms = INT64_MAX;
    else if (!tl_rfc3339_parse(f[2], &e->row.expires_ms))
        return "the end is neither 'never' nor a time like 2026-12-31T00:00:00Z";
    size_t prefix = sizeof hash_prefix - 1;
    if (f[3].n < prefix || memcmp(f[3].p, hash_prefix, prefix) != 0) return "the hash does not begin with 'sha256:'";
    hash = (struct tl_str){f[3].p + prefix, f[3].n - prefix};
    (void)tl_str_split(&hash, ':', &salt);
    if (!hash.p || !tl_hex_decode(salt, e->salt, sizeof e->salt) || !tl_hex_decode(hash, e->hash, sizeof e->hash))
        return "the hash is not 'sha256:', 18 hex digits, ':' and 64 hex digits";
    if (n == FIELDS_MAX && !tl_rfc3339_parse(f[4], &e->row.created_ms))
        return "the time of its creation is not one like 2026-12-31T00:00:00Z";
    tl_hex(e->hash, ID_DIGITS / 2, e->row.id);
    return NULL;
}

/* ---- the whole ---- */

void tl_tokens_free(struct tl_tokens *t)
{
    if (!t) return;
    tl_map_free(t->by_salt);
    tl_map_free(t->by_name);
    free(t->entries);
    free(t);
}

static struct tl_str salt_of(const struct tl_token_entry *e)
{
    return (struct tl_str){(const char *)e->salt, sizeof e->salt};
}

/* Room for one more, zeroed, not counted yet. */
static struct tl_token_entry *next_entry(struct tl_tokens *t)
{
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 16;
        struct tl_token_entry *more = tl_realloc(t->entries, cap, sizeof *more);
        if (!more) return NULL;
        t->entries = more;
        t->cap = cap;
    }
    memset(&t->entries[t->n], 0, sizeof t->entries[0]);
    return &t->entries[t->n];
}

static enum tl_status add(struct tl_tokens *t, struct tl_str line, const char *file, uint64_t number,
                          struct tl_err *err)
{
    if (t->n == TL_TOKENS_MAX)
        return tl_fail_at(err, TL_TOO_LARGE, file, number, 0, "more than %d tokens", TL_TOKENS_MAX);
    struct tl_token_entry *e = next_entry(t);
    if (!e) return tl_fail_at(err, TL_NOMEM, file, number, 0, "no memory for the tokens");
    const char *wrong = parse_line(line, e);
    if (wrong) return tl_fail_at(err, TL_PARSE, file, number, 0, "%s", wrong);
    bool new_name = false, new_salt = false;
    void **name = tl_map_put(t->by_name, tl_str(e->row.name), &new_name);
    void **salt = name ? tl_map_put(t->by_salt, salt_of(e), &new_salt) : NULL;
    if (!salt) return tl_fail_at(err, TL_NOMEM, file, number, 0, "no memory for the tokens");
    if (!new_name) return tl_fail_at(err, TL_INVALID, file, number, 0, "the name '%s' is there twice", e->row.name);
    if (!new_salt) return tl_fail_at(err, TL_INVALID, file, number, 0, "the token of '%s' is there twice", e->row.name);
    *name = *salt = (void *)(uintptr_t)++t->n;
    return TL_OK;
}

static enum tl_status add_all(struct tl_tokens *t, struct tl_str text, const char *file, struct tl_err *err)
{
    uint64_t number = 1;
    for (size_t at = 0; at < text.n; number++) {
        const char *end = memchr(text.p + at, '\n', text.n - at);
        size_t next = end ? (size_t)(end - text.p) + 1 : text.n;
        struct tl_str line = tl_str_trim((struct tl_str){text.p + at, next - at});
        if (line.n > 0 && line.p[0] != '#') {
            enum tl_status st = add(t, line, file, number, err);
            if (st != TL_OK) return st;
            t->entries[t->n - 1].from = at;
            t->entries[t->n - 1].to = next;
        }
        at = next;
    }
    return TL_OK;
}

enum tl_status tl_tokens_parse(struct tl_str text, const char *file, struct tl_tokens **out, struct tl_err *err)
{
    *out = NULL;
    struct tl_tokens *t = tl_calloc(1, sizeof *t);
    if (t) t->by_salt = tl_map_new();
    if (t) t->by_name = tl_map_new();
    enum tl_status st = t && t->by_salt && t->by_name
                            ? add_all(t, text, file, err)
                            : tl_fail_at(err, TL_NOMEM, file, 0, 0, "no memory for the tokens");
    if (st == TL_OK)
        *out = t;
    else
        tl_tokens_free(t);
    return st;
}

const struct tl_token_row *tl_tokens_find(const struct tl_tokens *t, struct tl_str token)
{
    static const struct tl_token_entry nobody;
    unsigned char raw[TL_TOKEN_BYTES], hash[TL_SHA256];
    size_t n;
    if (token.n != TL_TOKEN_CHARS || memcmp(token.p, "tl_", 3) != 0 ||
        !tl_base64url_decode((struct tl_str){token.p + 3, token.n - 3}, raw, sizeof raw, &n) || n != sizeof raw)
        return NULL;
    struct tl_str salt = {(const char *)raw, TL_TOKEN_SALT};
    void **slot = tl_map_get(t->by_salt, salt);
    const struct tl_token_entry *e = slot ? &t->entries[(uintptr_t)*slot - 1] : &nobody;
    bool hashed = tl_sha256(salt, token, hash);
    bool same = hashed && CRYPTO_memcmp(hash, e->hash, sizeof hash) == 0;
    OPENSSL_cleanse(raw, sizeof raw);
    return same && slot ? &e->row : NULL;
}

const struct tl_token_entry *tl_tokens_named(const struct tl_tokens *t, const char *name)
{
    void **slot = tl_map_get(t->by_name, tl_str(name));
    if (slot) return &t->entries[(uintptr_t)*slot - 1];
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->entries[i].row.id, name) == 0) return &t->entries[i];
    return NULL;
}
