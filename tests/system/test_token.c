/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline token`: a token is shown once and kept as a hash, scripts can use what is printed, and several processes at
 * once lose nothing. */
#include "support.h"

#include "run.h"

#include <ctype.h>
#include <jansson.h>
#include <sys/stat.h>

static int setup(void **state)
{
    static struct run r;
    run_init(&r);
    *state = &r;
    return 0;
}

static int teardown(void **state)
{
    run_release(*state);
    return 0;
}

/* [own] of the program's output. */
static json_t *json_out(const struct run *r)
{
    json_t *j = json_loads(r->out, 0, NULL);
    if (!j) print_message("no JSON: %s\n", r->out);
    assert_non_null(j);
    return j;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    assert_non_null(text);
    return text;
}

static void is_token(const char *text)
{
    assert_int_equal(strlen(text), 46);
    assert_memory_equal(text, "tl_", 3);
    for (const char *p = text; *p; p++) assert_true(isalnum((unsigned char)*p) || *p == '_' || *p == '-');
}

static void create_list_revoke(void **state)
{
    struct run *r = *state;
    char path[128], token[64];
    struct stat sb;
    run(r, "token", "list");
    expect(r, 0, "name  scope", NULL);
    run(r, "token", "list", "--json");
    expect(r, 0, "[]", NULL);
    /* The token and nothing else on standard output. */
    run(r, "token", "create", "dashboard", "--scope", "read");
    expect(r, 0, "tl_", NULL);
    assert_string_equal(r->err, "");
    assert_int_equal(strlen(r->out), 47);
    assert_int_equal(r->out[46], '\n');
    snprintf(token, sizeof token, "%.46s", r->out);
    is_token(token);
    run(r, "token", "create", "ops", "--scope", "admin", "--expires", "2099-12-31", "--json");
    expect(r, 0, NULL, NULL);
    json_t *j = json_out(r);
    is_token(text_of(j, "token"));
    assert_string_equal(text_of(j, "name"), "ops");
    assert_string_equal(text_of(j, "scope"), "admin");
    assert_string_equal(text_of(j, "expires"), "2099-12-31T00:00:00Z");
    json_decref(j);

    snprintf(path, sizeof path, "%s/tierline.tokens", r->dir);
    assert_int_equal(stat(path, &sb), 0);
    assert_int_equal(sb.st_mode & 07777, 0600);
    run_shell(r, "cat tierline.tokens");
    expect(r, 0, "dashboard read never sha256:", NULL);
    assert_null(strstr(r->out, token + 15));

    run(r, "token", "list", "--json");
    j = json_out(r);
    assert_int_equal(json_array_size(j), 2);
    assert_true(json_is_null(json_object_get(json_array_get(j, 0), "expires")));
    assert_true(json_is_false(json_object_get(json_array_get(j, 0), "expired")));
    assert_null(json_object_get(json_array_get(j, 0), "token"));
    char id[16];
    snprintf(id, sizeof id, "%s", text_of(json_array_get(j, 1), "id"));
    assert_int_equal(strlen(id), 12);
    json_decref(j);
    run(r, "token", "list");
    expect(r, 0, "2099-12-31 00:00", NULL);
    assert_null(strstr(r->out, "tl_"));

    run(r, "token", "revoke", id);
    expect(r, 0, NULL, NULL);
    run(r, "token", "revoke", "ops");
    expect(r, 3, NULL, "no token 'ops'");
    run(r, "token", "revoke", "dashboard");
    expect(r, 0, NULL, NULL);
    run(r, "token", "list", "--json");
    expect(r, 0, "[]", NULL);
}

/* docs/auth.md says what the hash is of: tools of others come to the same. */
static void hash_as_documented(void **state)
{
    struct run *r = *state;
    run_shell(r,
              "t=$($TIER token create a --scope read) && IFS=': ' read -r n s e k salt hash rest <tierline.tokens && "
              "[ \"$salt\" = \"$(printf '%s' \"$t\" | cut -c4-15 | tr '_-' '/+' | base64 -d | od -An -tx1 | tr -d ' "
              "\\n')\" ] && "
              "[ \"$hash\" = \"$({ printf '%s' \"$t\" | cut -c4-15 | tr '_-' '/+' | base64 -d; printf '%s' \"$t\"; } | "
              "sha256sum | cut -d' ' -f1)\" ] && echo \"$k same\"");
    expect(r, 0, "sha256 same", NULL);
}

static void wrong_usage(void **state)
{
    struct run *r = *state;
    static const struct {
        const char *a, *b, *c, *d, *e, *f; /* arguments */
        int code;
        const char *err;
    } rows[] = {
        {"burn", NULL, NULL, NULL, NULL, NULL, 2, "only create, list and revoke"},
        {"create", NULL, NULL, NULL, NULL, NULL, 2, "takes a NAME"},
        {"create", "x", NULL, NULL, NULL, NULL, 2, "--scope read, write or admin"},
        {"create", "x", "--scope", "root", NULL, NULL, 2, "none of read, write, admin"},
        {"create", "a b", "--scope", "read", NULL, NULL, 2, "'a b' is no name"},
        {"create", "0123456789ab", "--scope", "read", NULL, NULL, 2, "no name"},
        {"create", "x", "--scope", "read", "--expires", "90", 2, "'90' is neither"},
        {"create", "x", "--scope", "read", "--expires", "soon", 2, "'soon' is neither"},
        {"create", "x", "--scope", "read", "--expires", "0d", 2, "'0d' is neither"},
        {"create", "x", "--scope", "read", "--expires", "-1d", 2, "'-1d' is neither"},
        {"create", "x", "--scope", "read", "--expires", "9999999999d", 2, "9999"},
        {"create", "x", "--scope", "read", "--expires", "2020-01-01", 2, "over already"},
        {"create", "x", "y", "--scope", "read", NULL, 2, NULL},
        {"list", "x", NULL, NULL, NULL, NULL, 2, "no arguments"},
        {"list", "--scope", "read", NULL, NULL, NULL, 2, "belong to token create"},
        {"revoke", NULL, NULL, NULL, NULL, NULL, 2, "NAME or id"},
        {"revoke", "x", NULL, NULL, NULL, NULL, 3, "tierline.tokens"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        run(r, "token", rows[i].a, rows[i].b, rows[i].c, rows[i].d, rows[i].e, rows[i].f);
        expect(r, rows[i].code, NULL, rows[i].err);
        assert_string_equal(r->out, "");
    }
    run_shell(r, "test -e tierline.tokens");
    assert_int_equal(r->code, 1); /* none of them has made one */
    run(r, "token", "create", "x", "--scope", "read", "--expires", "never");
    expect(r, 0, "tl_", NULL);
    run(r, "token", "create", "x", "--scope", "read");
    expect(r, 5, NULL, "named 'x' already");
    run_shell(r, "chmod 644 tierline.tokens; $TIER token list");
    expect(r, 6, NULL, "others may read it (mode 0644): chmod 600");
    run_shell(r, "chmod 600 tierline.tokens; echo rubbish >>tierline.tokens; $TIER token create y --scope read");
    expect(r, 2, NULL, "tierline.tokens:2: is not 'name");
}

static void where_it_is(void **state)
{
    struct run *r = *state;
    r->extra_env[0] = "TIERLINE_AUTH_TOKENS=other";
    run(r, "token", "create", "x", "--scope", "write");
    expect(r, 0, "tl_", NULL);
    run_shell(r, "test -e other && test ! -e tierline.tokens && $TIER token list");
    expect(r, 0, "x     write", NULL);
    r->extra_env[0] = "TIERLINE_AUTH_TOKENS=none";
    run(r, "token", "list");
    expect(r, 2, NULL, "auth.tokens is none");
    r->extra_env[0] = "TIERLINE_AUTH_TOKENS=no/such/folder";
    run(r, "token", "create", "x", "--scope", "write");
    expect(r, 3, NULL, "no/such/folder");
    r->extra_env[0] = NULL;
    run_put(r, "tierline.ini", "[auth]\ntokens = mine\nanonymous = AUTO\n");
    run(r, "token", "create", "x", "--scope", "write");
    expect(r, 0, "tl_", NULL);
    run_shell(r, "test -e mine && $TIER config");
    expect(r, 0, "auth.anonymous", NULL);
    run_put(r, "tierline.ini", "[auth]\nanonymous = everybody\n");
    run(r, "token", "list");
    expect(r, 2, NULL, "tierline.ini:2");
}

/* Twenty-four creates and twelve revokes by six shells at once; and one that is killed leaves a whole file. */
static void at_once(void **state)
{
    struct run *r = *state;
    run_shell(r,
              "for p in 1 2 3 4 5 6; do (for i in 1 2 3 4; do $TIER token create p$p.$i --scope read || exit 1; done; "
              "$TIER token revoke p$p.1 && $TIER token revoke p$p.3) >>out.$p & pids=\"$pids $!\"; done; "
              "for p in $pids; do wait $p || exit 1; done; cat out.* | sort -u | wc -l; wc -l <tierline.tokens");
    expect(r, 0, "24\n12\n", NULL);
    run_shell(r, "for i in 1 2 3 4 5 6 7 8 9 10; do $TIER token create k$i --scope read >/dev/null & pid=$!; "
                 "sleep 0.00$i; kill -9 $pid 2>/dev/null; wait $pid; $TIER token list >/dev/null || exit 1; done; "
                 "$TIER token create last --scope read && $TIER token revoke last && ls *.new 2>/dev/null; true");
    expect(r, 0, "tl_", NULL);
    assert_null(strstr(r->out, ".new"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(create_list_revoke), T(hash_as_documented), T(wrong_usage), T(where_it_is), T(at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
