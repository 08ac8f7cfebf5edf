/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of our own and the file they are in, tickets, and the Authorization header. Time stands still but where a test
 * moves it. */
#include "support.h"

#include "auth/text.h"
#include "auth/tickets.h"
#include "auth/tokens.h"
#include "auth_fixture.h"

#include <sys/file.h>
#include <sys/wait.h>

#define DAY_MS INT64_C(86400000)

static struct tl_auth *opened(struct auth_world *w, unsigned anonymous)
{
    struct tl_auth_options o = {.tokens_file = w->tokens, .anonymous = anonymous, .clock = &w->clock};
    struct tl_auth *a = NULL;
    auth_expect(w, tl_auth_open(&o, &a, &w->err), TL_OK, NULL);
    return a;
}

static void created(struct auth_world *w, const char *name, unsigned may, int64_t expires_ms, char out[TL_TOKEN_MAX])
{
    auth_expect(w, tl_tokens_create(w->tokens, name, may, expires_ms, w->wall_ms, out, &w->err), TL_OK, NULL);
}

static enum tl_status bearer(struct auth_world *w, struct tl_auth *a, const char *token, struct tl_identity *id)
{
    char header[256];
    snprintf(header, sizeof header, "Bearer %s", token);
    return tl_auth_check(a, tl_str(header), id, &w->err);
}

/* ---- text forms ---- */

static void test_text(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *text;
    } good[] = {{"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
                {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbf", "-_-_"}};
    char text[64];
    unsigned char raw[8];
    size_t n;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        tl_base64url(good[i].plain, strlen(good[i].plain), text);
        assert_string_equal(text, good[i].text);
        assert_true(tl_base64url_decode(tl_str(text), raw, sizeof raw, &n));
        assert_int_equal(n, strlen(good[i].plain));
        assert_memory_equal(raw, good[i].plain, n);
    }
    static const char *const bad[] = {"Z",    "Zh",   "Zm9",   "Zg==",       "Zm9v\n",
                                      "Zm+v", "Zm/v", " Zm9v", "Zm9vYmFyZg", "Zm9vZ"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(tl_base64url_decode(tl_str(bad[i]), raw, 6, &n));

    int64_t ms;
    assert_true(tl_rfc3339_parse(TL_STR("2024-02-29T23:59:59Z"), &ms));
    assert_int_equal(ms, INT64_C(1709251199000));
    tl_rfc3339(ms + 999, text);
    assert_string_equal(text, "2024-02-29T23:59:59Z");
    static const char *const times[] = {"2023-02-29T00:00:00Z", "2024-01-01T24:00:00Z",
                                        "2024-01-01T00:00:60Z", "2024-01-01 00:00:00Z",
                                        "2024-01-01T00:00:00z", "2024-13-01T00:00:00Z",
                                        "1969-12-31T23:59:59Z", "2024-01-01T00:00:0 Z",
                                        "2024-1-01T000:00:00Z", ""};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) assert_false(tl_rfc3339_parse(tl_str(times[i]), &ms));
    /* FIPS 180-2, B.1. */
    assert_true(tl_sha256(TL_STR("a"), TL_STR("bc"), (unsigned char *)text));
    char hex[65];
    tl_hex((unsigned char *)text, 32, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_scopes(void **state)
{
    (void)state;
    assert_int_equal(tl_may_parse(TL_STR("read")), TL_MAY_READ);
    assert_int_equal(tl_may_parse(TL_STR("write")), TL_MAY_READ | TL_MAY_WRITE);
    assert_int_equal(tl_may_parse(TL_STR("admin")), TL_MAY_READ | TL_MAY_WRITE | TL_MAY_ADMIN);
    static const char *const none[] = {"", "none", "Read", "admin ", "reader", "tierline:read"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) assert_int_equal(tl_may_parse(tl_str(none[i])), 0);
    assert_string_equal(tl_may_name(TL_MAY_READ | TL_MAY_WRITE), "write");
    assert_string_equal(tl_may_name(TL_MAY_ADMIN), "admin");
    assert_string_equal(tl_may_name(0), "none");
}

/* ---- tokens ---- */

static void test_create_and_check(void **state)
{
    struct auth_world *w = *state;
    struct tl_auth *a = opened(w, 0);
    struct tl_identity id;
    char reader[TL_TOKEN_MAX], admin[TL_TOKEN_MAX];
    assert_false(tl_auth_configured(a));
    created(w, "reader", TL_MAY_READ, INT64_MAX, reader);
    created(w, "boss@example.com", TL_MAY_ADMIN, w->wall_ms + DAY_MS, admin);
    assert_int_equal(strlen(reader), TL_TOKEN_CHARS);
    assert_memory_equal(reader, "tl_", 3);
    assert_string_not_equal(reader, admin);

    struct stat sb;
    assert_int_equal(stat(w->tokens, &sb), 0);
    assert_int_equal(sb.st_mode & 07777, 0600);
    char *text = auth_get(w->tokens);
    assert_null(strstr(text, reader));
    assert_null(strstr(text, reader + 20)); /* nor its end: only 12 characters of it are known */
    free(text);

    assert_int_equal(bearer(w, a, reader, &id), TL_DENIED); /* looked at a moment ago */
    w->mono_ns += UINT64_C(1000000000);
    assert_int_equal(bearer(w, a, reader, &id), TL_OK);
    assert_int_equal(id.may, TL_MAY_READ);
    assert_string_equal(id.name, "reader");
    assert_true(id.expires_ms == INT64_MAX);
    assert_true(tl_auth_configured(a));
    assert_int_equal(tl_auth_token(a, tl_str(admin), &id, &w->err), TL_OK);
    assert_int_equal(id.may, TL_MAY_READ | TL_MAY_WRITE | TL_MAY_ADMIN);
    assert_string_equal(id.name, "boss@example.com");
    assert_int_equal(id.expires_ms, w->wall_ms + DAY_MS);

    w->wall_ms += DAY_MS - 1;
    assert_int_equal(bearer(w, a, admin, &id), TL_OK);
    w->wall_ms++;
    auth_expect(w, bearer(w, a, admin, &id), TL_DENIED, "'boss@example.com' expired at 2027-01-16T08:00:00Z");
    assert_int_equal(id.may, 0);
    assert_string_equal(id.name, "");
    assert_int_equal(bearer(w, a, reader, &id), TL_OK);
    tl_auth_free(a);
}

/* Every character counts, also the last, of which four spell the same bytes; and no error quotes a token. */
static void test_wrong_tokens(void **state)
{
    struct auth_world *w = *state;
    char token[TL_TOKEN_MAX], wrong[TL_TOKEN_MAX + 8];
    struct tl_identity id;
    created(w, "x", TL_MAY_WRITE, INT64_MAX, token);
    struct tl_auth *a = opened(w, 0);
    assert_int_equal(bearer(w, a, token, &id), TL_OK);
    for (size_t i = 0; i < TL_TOKEN_CHARS; i++) {
        memcpy(wrong, token, sizeof token);
        for (unsigned char c = 0x21; c < 0x7f; c++) {
            if (c == (unsigned char)token[i] || c == '.') continue;
            wrong[i] = (char)c;
            assert_int_equal(bearer(w, a, wrong, &id), TL_DENIED);
            assert_int_equal(id.may, 0);
            assert_null(strstr(w->err.text, wrong + 4));
        }
    }
    for (size_t n = 0; n < TL_TOKEN_CHARS; n++) {
        snprintf(wrong, sizeof wrong, "%.*s", (int)n, token);
        assert_int_equal(bearer(w, a, wrong, &id), TL_DENIED);
    }
    snprintf(wrong, sizeof wrong, "%sA", token);
    assert_int_equal(bearer(w, a, wrong, &id), TL_DENIED);
    tl_auth_free(a);
}

static void test_header(void **state)
{
    struct auth_world *w = *state;
    char token[TL_TOKEN_MAX], header[128];
    struct tl_identity id;
    created(w, "x", TL_MAY_READ, INT64_MAX, token);
    struct tl_auth *a = opened(w, TL_MAY_WRITE);
    static const struct {
        const char *before, *behind;
        bool good;
    } rows[] = {{"Bearer ", "", true},     {"bearer ", "", true},   {"BEARER    ", "", true}, {"  Bearer ", "  ", true},
                {"", "", false},           {"Bearer", "", false},   {"Basic ", "", false},    {"Bearer ", " x", false},
                {"Bearer x ", "", false},  {"Bearer, ", "", false}, {"Bearer\t", "", false},  {"Token ", "", false},
                {"Bearer \"", "\"", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(header, sizeof header, "%s%s%s", rows[i].before, token, rows[i].behind);
        auth_expect(w, tl_auth_check(a, tl_str(header), &id, &w->err), rows[i].good ? TL_OK : TL_DENIED, NULL);
        assert_int_equal(id.may, rows[i].good ? TL_MAY_READ : 0); /* of the token, though anybody may more */
        assert_null(strstr(w->err.text, token));
    }
    static const char *const empty[] = {"Bearer", "Bearer ", "Bearer tl_", "Bearer .."};
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++)
        assert_int_equal(tl_auth_check(a, tl_str(empty[i]), &id, &w->err), TL_DENIED);
    assert_int_equal(tl_auth_check(a, TL_STR(""), &id, &w->err), TL_OK);
    assert_int_equal(id.may, TL_MAY_READ | TL_MAY_WRITE);
    assert_string_equal(id.name, "anonymous");
    assert_true(id.expires_ms == INT64_MAX);
    char *huge = malloc(20000);
    memset(huge, 'a', 20000);
    memcpy(huge, "Bearer ", 7);
    auth_expect(w, tl_auth_check(a, (struct tl_str){huge, 20000}, &id, &w->err), TL_DENIED, "more than");
    free(huge);
    tl_auth_free(a);
}

static void test_create_refused(void **state)
{
    struct auth_world *w = *state;
    char token[TL_TOKEN_MAX], name[80];
    const unsigned r = TL_MAY_READ;
    const int64_t now = w->wall_ms;
    static const char *const names[] = {"", "a b", "#a", ".a", "-a", "a\n", "a:b", "\xc3\xa4", "0123456789ab"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        auth_expect(w, tl_tokens_create(w->tokens, names[i], r, INT64_MAX, now, token, &w->err), TL_INVALID, "name");
    memset(name, 'a', 72);
    name[72] = '\0';
    auth_expect(w, tl_tokens_create(w->tokens, name, r, INT64_MAX, now, token, &w->err), TL_INVALID, "name");
    name[71] = '\0';
    created(w, name, r, INT64_MAX, token);
    auth_expect(w, tl_tokens_create(w->tokens, name, r, INT64_MAX, now, token, &w->err), TL_CONFLICT, "already");
    assert_string_equal(token, "");
    auth_expect(w, tl_tokens_create(w->tokens, "b", 0, INT64_MAX, now, token, &w->err), TL_INVALID, "scope");
    auth_expect(w, tl_tokens_create(w->tokens, "b", r, now, now, token, &w->err), TL_INVALID, "expired already");
    auth_expect(w, tl_tokens_create(w->tokens, "b", r, INT64_MAX - 1, now, token, &w->err), TL_INVALID, "9999");
    auth_expect(w, tl_tokens_create("/no/such/folder/t", "b", r, INT64_MAX, now, token, &w->err), TL_NOT_FOUND, "open");
    assert_string_equal(w->err.file, "/no/such/folder/t");
}

/* ---- listing, revoking ---- */

struct listed {
    unsigned n, max;
    struct tl_token_row rows[8];
};

static bool keep_row(void *ctx, const struct tl_token_row *row)
{
    struct listed *l = ctx;
    if (l->n < 8) l->rows[l->n] = *row;
    return ++l->n < l->max;
}

static void list(struct auth_world *w, struct listed *l, unsigned max)
{
    *l = (struct listed){.max = max};
    auth_expect(w, tl_tokens_list(w->tokens, keep_row, l, &w->err), TL_OK, NULL);
}

static void test_list_and_revoke(void **state)
{
    struct auth_world *w = *state;
    struct listed l;
    struct tl_identity id;
    char a_token[TL_TOKEN_MAX], b_token[TL_TOKEN_MAX], c_token[TL_TOKEN_MAX];
    list(w, &l, 8);
    assert_int_equal(l.n, 0);
    auth_expect(w, tl_tokens_revoke(w->tokens, "a", &w->err), TL_NOT_FOUND, "open");
    created(w, "a", TL_MAY_READ, INT64_MAX, a_token);
    created(w, "b", TL_MAY_WRITE, w->wall_ms + DAY_MS, b_token);
    created(w, "c", TL_MAY_ADMIN, INT64_MAX, c_token);
    list(w, &l, 8);
    assert_int_equal(l.n, 3);
    assert_string_equal(l.rows[1].name, "b");
    assert_int_equal(l.rows[1].may, TL_MAY_READ | TL_MAY_WRITE);
    assert_int_equal(l.rows[1].expires_ms, w->wall_ms + DAY_MS);
    assert_int_equal(l.rows[1].created_ms, w->wall_ms);
    assert_int_equal(strlen(l.rows[1].id), 12);
    char c_id[13];
    memcpy(c_id, l.rows[2].id, sizeof c_id);
    list(w, &l, 2);
    assert_int_equal(l.n, 2);

    struct tl_auth *a = opened(w, 0);
    auth_expect(w, tl_tokens_revoke(w->tokens, "nobody", &w->err), TL_NOT_FOUND, "'nobody'");
    auth_expect(w, tl_tokens_revoke(w->tokens, "b", &w->err), TL_OK, NULL);
    auth_expect(w, tl_tokens_revoke(w->tokens, "b", &w->err), TL_NOT_FOUND, NULL);
    w->mono_ns += UINT64_C(1000000000);
    assert_int_equal(bearer(w, a, b_token, &id), TL_DENIED);
    assert_int_equal(bearer(w, a, a_token, &id), TL_OK);
    assert_int_equal(bearer(w, a, c_token, &id), TL_OK);
    auth_expect(w, tl_tokens_revoke(w->tokens, c_id, &w->err), TL_OK, NULL);
    auth_expect(w, tl_auth_reload(a, &w->err), TL_OK, NULL);
    assert_int_equal(bearer(w, a, c_token, &id), TL_DENIED);
    auth_expect(w, tl_tokens_revoke(w->tokens, "a", &w->err), TL_OK, NULL);
    w->mono_ns += UINT64_C(1000000000);
    assert_int_equal(bearer(w, a, a_token, &id), TL_DENIED);
    assert_true(tl_auth_configured(a)); /* the last one is gone, and nobody gets in */
    tl_auth_free(a);
    list(w, &l, 8);
    assert_int_equal(l.n, 0);
}

/* What a token opened, and the tickets for it, end with it; those of others stay. */
static void test_ended(void **state)
{
    struct auth_world *w = *state;
    struct tl_identity kept, cut, moved, foreign = {.may = TL_MAY_READ, .name = "cut", .expires_ms = w->wall_ms + 1};
    char token[TL_TOKEN_MAX], second[TL_TOKEN_MAX], ticket[TL_TICKET_MAX];
    struct tl_auth *a = opened(w, 0);
    created(w, "kept", TL_MAY_READ, w->wall_ms + DAY_MS, token);
    w->mono_ns += UINT64_C(1000000000);
    assert_int_equal(bearer(w, a, token, &kept), TL_OK);
    created(w, "cut", TL_MAY_READ, INT64_MAX, token);
    created(w, "moved", TL_MAY_WRITE, INT64_MAX, second);
    w->mono_ns += UINT64_C(1000000000);
    assert_int_equal(bearer(w, a, token, &cut), TL_OK);
    assert_int_equal(bearer(w, a, second, &moved), TL_OK);
    assert_null(tl_auth_ended(a, &cut));
    assert_int_equal(tl_auth_ticket(a, &cut, ticket, &w->err), TL_OK);

    auth_expect(w, tl_tokens_revoke(w->tokens, "cut", &w->err), TL_OK, NULL);
    assert_null(tl_auth_ended(a, &cut));              /* within the second */
    created(w, "cut", TL_MAY_READ, INT64_MAX, token); /* another of the same name is another */
    char *text = auth_get(w->tokens), *scope = strstr(text, "moved write ");
    assert_non_null(scope);
    memcpy(scope, "moved  read ", 12);
    auth_put(w->tokens, text, strlen(text), 0600);
    free(text);
    w->mono_ns += UINT64_C(1000000000);
    assert_string_equal(tl_auth_ended(a, &cut), "the token was revoked");
    assert_string_equal(tl_auth_ended(a, &moved), "the token was revoked");
    assert_null(tl_auth_ended(a, &kept));
    assert_null(tl_auth_ended(a, &foreign)); /* of a JWT: no row, and none asked for */
    auth_expect(w, tl_auth_redeem(a, tl_str(ticket), &cut, &w->err), TL_DENIED, "was revoked");
    assert_int_equal(cut.may, 0);
    w->wall_ms += DAY_MS;
    assert_string_equal(tl_auth_ended(a, &kept), "the token has run out");
    assert_string_equal(tl_auth_ended(a, &foreign), "the token has run out");
    tl_auth_free(a);
}

/* What is not a token stays where it was; owner, mode and a link stay, too. */
static void test_file_is_kept(void **state)
{
    struct auth_world *w = *state;
    char token[TL_TOKEN_MAX], link[128];
    struct stat sb;
    auth_put(w->tokens, "# ours\n\n  # more", 16, 0640);
    snprintf(link, sizeof link, "%s/link", w->dir);
    assert_int_equal(symlink("tokens", link), 0);
    auth_expect(w, tl_tokens_create(link, "a", TL_MAY_READ, INT64_MAX, w->wall_ms, token, &w->err), TL_OK, NULL);
    auth_expect(w, tl_tokens_create(link, "b", TL_MAY_READ, INT64_MAX, w->wall_ms, token, &w->err), TL_OK, NULL);
    auth_expect(w, tl_tokens_revoke(link, "a", &w->err), TL_OK, NULL);
    assert_int_equal(lstat(link, &sb), 0);
    assert_true(S_ISLNK(sb.st_mode));
    assert_int_equal(lstat(w->tokens, &sb), 0);
    assert_true(S_ISREG(sb.st_mode));
    assert_int_equal(sb.st_mode & 07777, 0640);
    char *text = auth_get(w->tokens);
    assert_memory_equal(text, "# ours\n\n  # more\nb read never sha256:", 37);
    free(text);
    snprintf(link, sizeof link, "%s.new", w->tokens);
    assert_int_equal(access(link, F_OK), -1);
}

static void test_locked(void **state)
{
    struct auth_world *w = *state;
    char token[TL_TOKEN_MAX];
    created(w, "a", TL_MAY_READ, INT64_MAX, token);
    int fd = open(w->tokens, O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    auth_expect(w, tl_tokens_revoke(w->tokens, "a", &w->err), TL_BUSY, "another process");
    struct listed l;
    list(w, &l, 8); /* readers do not wait */
    assert_int_equal(l.n, 1);
    close(fd);
    auth_expect(w, tl_tokens_revoke(w->tokens, "a", &w->err), TL_OK, NULL);
}

enum { PROCESSES = 6, EACH = 12 };

/* Creates and revokes of six processes at once: none is lost, none comes back, and a reader never sees half a file. */
static void test_processes(void **state)
{
    struct auth_world *w = *state;
    pid_t pids[PROCESSES];
    for (int p = 0; p < PROCESSES; p++) {
        pids[p] = fork();
        assert_true(pids[p] >= 0);
        if (pids[p] != 0) continue;
        bool ok = true;
        for (int i = 0; i < EACH && ok; i++) {
            char token[TL_TOKEN_MAX], name[32];
            snprintf(name, sizeof name, "p%d.%d", p, i);
            ok = tl_tokens_create(w->tokens, name, TL_MAY_READ, INT64_MAX, w->wall_ms, token, NULL) == TL_OK;
            if (i % 2) ok = ok && tl_tokens_revoke(w->tokens, name, NULL) == TL_OK;
        }
        _exit(ok ? 0 : 1);
    }
    unsigned running = PROCESSES;
    struct listed l;
    while (running > 0) {
        int status;
        list(w, &l, UINT32_MAX);
        assert_true(l.n <= PROCESSES * (EACH / 2 + 1));
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0) continue;
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        running--;
    }
    list(w, &l, UINT32_MAX);
    assert_int_equal(l.n, PROCESSES * EACH / 2);
}

/* ---- bad files ---- */

#define SALT  "000102030405060708"
#define HASH  "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define GOOD  "a read never sha256:" SALT ":" HASH
#define OTHER "b read never sha256:ff0102030405060708:" HASH

static void test_bad_files(void **state)
{
    struct auth_world *w = *state;
    static const struct {
        const char *text, *has;
        enum tl_status status;
        unsigned line;
    } rows[] = {
        {GOOD "\n" OTHER, NULL, TL_OK, 0},
        {"\r\n# x\r\n" GOOD " 2026-01-01T00:00:00Z\r\n", NULL, TL_OK, 0},
        {"\t" GOOD "\t2026-01-01T00:00:00Z ", NULL, TL_OK, 0},
        {GOOD "\n\n#\na read never\n", "is not 'name", TL_PARSE, 4},
        {"a\n", "is not 'name", TL_PARSE, 1},
        {GOOD " 2026-01-01T00:00:00Z more\n", "is not 'name", TL_PARSE, 1},
        {OTHER "\n" GOOD " yesterday\n", "creation", TL_PARSE, 2},
        {"a*b read never sha256:" SALT ":" HASH, "name is none", TL_PARSE, 1},
        {"0123456789ab read never sha256:" SALT ":" HASH, "name is none", TL_PARSE, 1},
        {"a root never sha256:" SALT ":" HASH, "scope", TL_PARSE, 1},
        {"a read 2026-02-30T00:00:00Z sha256:" SALT ":" HASH, "the end", TL_PARSE, 1},
        {"a read soon sha256:" SALT ":" HASH, "the end", TL_PARSE, 1},
        {"a read never md5:" SALT ":" HASH, "begin with", TL_PARSE, 1},
        {"a read never sha256:" SALT, "hex digits", TL_PARSE, 1},
        {"a read never sha256:00:" HASH, "hex digits", TL_PARSE, 1},
        {"a read never sha256:" SALT ":" HASH "00", "hex digits", TL_PARSE, 1},
        {"a read never sha256:" SALT ":zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", "hex digits",
         TL_PARSE, 1},
        {GOOD "\n" OTHER "\n" GOOD "\n", "'a' is there twice", TL_INVALID, 3},
        {GOOD "\nb read never sha256:" SALT ":" HASH, "'b' is there twice", TL_INVALID, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tl_auth_options o = {.tokens_file = w->tokens, .clock = &w->clock};
        struct tl_auth *a = NULL;
        auth_put(w->tokens, rows[i].text, strlen(rows[i].text), 0600);
        auth_expect(w, tl_auth_open(&o, &a, &w->err), rows[i].status, rows[i].has);
        assert_int_equal(w->err.line, rows[i].line);
        if (rows[i].status != TL_OK) {
            char token[TL_TOKEN_MAX];
            assert_null(a);
            assert_string_equal(w->err.file, w->tokens);
            assert_null(strstr(w->err.text, HASH));
            /* Who cannot read it does not write it. */
            auth_expect(w, tl_tokens_create(w->tokens, "n", TL_MAY_READ, INT64_MAX, w->wall_ms, token, &w->err),
                        rows[i].status, rows[i].has);
            char *text = auth_get(w->tokens);
            assert_string_equal(text, rows[i].text);
            free(text);
        }
        tl_auth_free(a);
    }
}

static void test_sizes(void **state)
{
    struct auth_world *w = *state;
    struct listed l;
    char token[TL_TOKEN_MAX];
    size_t n = 0;
    char *text = malloc(2 << 20);
    for (unsigned i = 0; i < TL_TOKENS_MAX; i++)
        n += (size_t)sprintf(text + n, "t%u read never sha256:%018x:" HASH "\n", i, i);
    auth_put(w->tokens, text, n, 0600);
    list(w, &l, UINT32_MAX);
    assert_int_equal(l.n, TL_TOKENS_MAX);
    auth_expect(w, tl_tokens_create(w->tokens, "n", TL_MAY_READ, INT64_MAX, w->wall_ms, token, &w->err), TL_TOO_LARGE,
                "10000 tokens");
    n += (size_t)sprintf(text + n, "more read never sha256:" SALT ":" HASH "\n");
    auth_put(w->tokens, text, n, 0600);
    auth_expect(w, tl_tokens_list(w->tokens, keep_row, &l, &w->err), TL_TOO_LARGE, "more than 10000");
    assert_int_equal(w->err.line, TL_TOKENS_MAX + 1);
    assert_int_equal(truncate(w->tokens, TL_TOKENS_FILE_MAX + 1), 0);
    auth_expect(w, tl_tokens_list(w->tokens, keep_row, &l, &w->err), TL_TOO_LARGE, "bytes");
    free(text);
}

static void test_permissions(void **state)
{
    struct auth_world *w = *state;
    static const struct {
        mode_t mode;
        enum tl_status status;
        const char *has;
    } rows[] = {{0600, TL_OK, NULL},           {0640, TL_OK, NULL},           {0400, TL_OK, NULL},
                {0604, TL_DENIED, "read it"},  {0644, TL_DENIED, "read it"},  {0660, TL_DENIED, "write it"},
                {0602, TL_DENIED, "write it"}, {0666, TL_DENIED, "write it"}, {0601, TL_DENIED, "read it"}};
    struct listed l = {.max = 1};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        auth_put(w->tokens, GOOD, strlen(GOOD), rows[i].mode);
        auth_expect(w, tl_tokens_list(w->tokens, keep_row, &l, &w->err), rows[i].status, rows[i].has);
        if (rows[i].status != TL_OK) assert_non_null(strstr(w->err.text, "chmod 600"));
        assert_int_equal(unlink(w->tokens), 0);
    }
    auth_expect(w, tl_tokens_list(w->dir, keep_row, &l, &w->err), TL_INVALID, "regular file");
    assert_int_equal(mkfifo(w->tokens, 0600), 0);
    auth_expect(w, tl_tokens_list(w->tokens, keep_row, &l, &w->err), TL_INVALID, "regular file");
}

/* ---- following the file ---- */

static void test_follow(void **state)
{
    struct auth_world *w = *state;
    const uint64_t second = UINT64_C(1000000000);
    char old[TL_TOKEN_MAX], new[TL_TOKEN_MAX], spare[96];
    struct tl_identity id;
    created(w, "a", TL_MAY_READ, INT64_MAX, old);
    snprintf(spare, sizeof spare, "%s/spare", w->dir);
    auth_expect(w, tl_tokens_create(spare, "a", TL_MAY_READ, INT64_MAX, w->wall_ms, new, &w->err), TL_OK, NULL);
    char *text = auth_get(spare), *before = auth_get(w->tokens);
    assert_int_equal(strlen(text), strlen(before));
    struct tl_auth *a = opened(w, 0);
    /* As many bytes, in place, within one tick of the file system's clock. */
    for (int i = 0; i < 20; i++) {
        auth_put(w->tokens, i % 2 ? before : text, strlen(text), 0600);
        w->mono_ns += second;
        assert_int_equal(bearer(w, a, i % 2 ? old : new, &id), TL_OK);
        assert_int_equal(bearer(w, a, i % 2 ? new : old, &id), TL_DENIED);
    }
    /* Bad, then forbidden: what was there goes on; reload says so. */
    auth_put(w->tokens, "rubbish\n", 8, 0600);
    w->mono_ns += second;
    assert_int_equal(bearer(w, a, old, &id), TL_OK);
    auth_expect(w, tl_auth_reload(a, &w->err), TL_PARSE, "is not 'name");
    assert_int_equal(bearer(w, a, old, &id), TL_OK);
    auth_put(w->tokens, text, strlen(text), 0644);
    w->mono_ns += second;
    assert_int_equal(bearer(w, a, old, &id), TL_OK);
    auth_expect(w, tl_auth_reload(a, &w->err), TL_DENIED, "read it");
    /* Mended, gone, and there again. */
    assert_int_equal(chmod(w->tokens, 0600), 0);
    w->mono_ns += second;
    assert_int_equal(bearer(w, a, new, &id), TL_OK);
    assert_int_equal(unlink(w->tokens), 0);
    assert_int_equal(bearer(w, a, new, &id), TL_OK); /* within the second */
    w->mono_ns += second;
    assert_int_equal(bearer(w, a, new, &id), TL_DENIED);
    assert_true(tl_auth_configured(a));
    auth_put(w->tokens, text, strlen(text), 0600);
    w->mono_ns += second;
    assert_int_equal(tl_auth_check(a, TL_STR(""), &id, &w->err), TL_OK); /* anonymous ones make it look, too */
    assert_int_equal(bearer(w, a, new, &id), TL_OK);
    tl_auth_free(a);
    free(text);
    free(before);
}

/* ---- tickets ---- */

static void test_tickets(void **state)
{
    struct auth_world *w = *state;
    struct tl_auth *a = opened(w, 0);
    struct tl_identity id = {.may = TL_MAY_READ, .name = "x", .expires_ms = w->wall_ms + 20000}, got;
    char t[TL_TICKET_MAX], u[TL_TICKET_MAX];
    assert_int_equal(tl_auth_ticket(a, &id, t, &w->err), TL_OK);
    assert_int_equal(tl_auth_ticket(a, &id, u, &w->err), TL_OK);
    assert_int_equal(strlen(t), TL_TICKET_MAX - 1);
    assert_string_not_equal(t, u);
    /* Once. */
    assert_int_equal(tl_auth_redeem(a, tl_str(t), &got, &w->err), TL_OK);
    assert_int_equal(got.may, TL_MAY_READ);
    assert_string_equal(got.name, "x");
    assert_int_equal(got.expires_ms, id.expires_ms);
    auth_expect(w, tl_auth_redeem(a, tl_str(t), &got, &w->err), TL_DENIED, "used");
    assert_int_equal(got.may, 0);
    /* A wrong one uses up nothing. */
    u[5] = u[5] == 'A' ? 'B' : 'A';
    assert_int_equal(tl_auth_ticket(a, &id, t, &w->err), TL_OK);
    assert_int_equal(tl_auth_redeem(a, tl_str(u), &got, &w->err), TL_DENIED);
    assert_int_equal(tl_auth_redeem(a, (struct tl_str){t, TL_TICKET_MAX - 2}, &got, &w->err), TL_DENIED);
    assert_int_equal(tl_auth_redeem(a, TL_STR(""), &got, &w->err), TL_DENIED);
    assert_int_equal(tl_auth_redeem(a, tl_str(t), &got, &w->err), TL_OK);
    /* Its time, to the nanosecond. */
    assert_int_equal(tl_auth_ticket(a, &id, t, &w->err), TL_OK);
    assert_int_equal(tl_auth_ticket(a, &id, u, &w->err), TL_OK);
    w->mono_ns += UINT64_C(30000000000) - 1;
    assert_int_equal(tl_auth_redeem(a, tl_str(t), &got, &w->err), TL_OK);
    w->mono_ns += 1;
    auth_expect(w, tl_auth_redeem(a, tl_str(u), &got, &w->err), TL_DENIED, "ticket has expired");
    auth_expect(w, tl_auth_redeem(a, tl_str(u), &got, &w->err), TL_DENIED, "used");
    /* And the time of what it stands for. */
    assert_int_equal(tl_auth_ticket(a, &id, t, &w->err), TL_OK);
    w->wall_ms += 20000;
    auth_expect(w, tl_auth_redeem(a, tl_str(t), &got, &w->err), TL_DENIED, "stands for has expired");
    /* A ticket is no token, nor the other way round. */
    assert_int_equal(tl_auth_ticket(a, &id, t, &w->err), TL_OK);
    assert_int_equal(bearer(w, a, t, &got), TL_DENIED);
    tl_auth_free(a);
}

static void test_tickets_bound(void **state)
{
    struct auth_world *w = *state;
    struct tl_auth *a = opened(w, 0);
    struct tl_identity id = {.may = TL_MAY_READ, .name = "x", .expires_ms = INT64_MAX}, got;
    enum { EXTRA = 3 };
    char(*t)[TL_TICKET_MAX] = calloc(TL_TICKETS_MAX + EXTRA, TL_TICKET_MAX);
    assert_non_null(t);
    for (size_t i = 0; i < TL_TICKETS_MAX + EXTRA; i++) assert_int_equal(tl_auth_ticket(a, &id, t[i], &w->err), TL_OK);
    for (size_t i = 0; i < EXTRA; i++) assert_int_equal(tl_auth_redeem(a, tl_str(t[i]), &got, &w->err), TL_DENIED);
    for (size_t i = EXTRA; i < TL_TICKETS_MAX + EXTRA; i += 2)
        assert_int_equal(tl_auth_redeem(a, tl_str(t[i]), &got, &w->err), TL_OK);
    /* There is room again: nobody has to go. */
    for (size_t i = EXTRA; i < TL_TICKETS_MAX + EXTRA; i += 2)
        assert_int_equal(tl_auth_ticket(a, &id, t[i], &w->err), TL_OK);
    for (size_t i = EXTRA; i < TL_TICKETS_MAX + EXTRA; i++)
        assert_int_equal(tl_auth_redeem(a, tl_str(t[i]), &got, &w->err), TL_OK);
    tl_auth_free(a);
    free(t);
}

#define T(name) cmocka_unit_test_setup_teardown(name, auth_setup, auth_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_text),          T(test_scopes),         T(test_create_and_check), T(test_wrong_tokens),
        T(test_header),        T(test_create_refused), T(test_list_and_revoke),  T(test_ended),
        T(test_file_is_kept),  T(test_locked),         T(test_processes),        T(test_bad_files),
        T(test_sizes),         T(test_permissions),    T(test_follow),           T(test_tickets),
        T(test_tickets_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
