/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens, JWTs and tickets with the n-th allocation failing, for every n: it fails or does without; nobody gets in who
 * may not, the file stays whole, and nothing leaks (under a sanitizer). */
#include "../support.h"

#include "../unit/auth_fixture.h"
#include "alloc.h"
#include "auth/text.h"

#include <openssl/evp.h>

static const char secret[] = "0123456789abcdef0123456789abcdef";

struct story {
    struct auth_world *w;
    char jwt[512], token[TL_TOKEN_MAX];
};

static void make_jwt(char *out)
{
    static const char head[] = "{\"alg\":\"HS256\"}",
                      claims[] = "{\"exp\":1800000100,\"scope\":[\"write\"],\"sub\":\"s\"}";
    unsigned char mac[32];
    size_t n;
    tl_base64url(head, sizeof head - 1, out);
    strcat(out, ".");
    tl_base64url(claims, sizeof claims - 1, out + strlen(out));
    assert_non_null(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, secret, 32, (unsigned char *)out, strlen(out), mac,
                              sizeof mac, &n));
    strcat(out, ".");
    tl_base64url(mac, n, out + strlen(out));
}

static bool count_row(void *ctx, const struct tl_token_row *row)
{
    (void)row;
    ++*(unsigned *)ctx;
    return true;
}

/* OK: all of it went well. */
static enum tl_status asked(struct story *s)
{
    struct auth_world *w = s->w;
    const struct tl_auth_options o = {.tokens_file = w->tokens, .jwt_hs256_file = w->secret, .clock = &w->clock};
    struct tl_auth *a = NULL;
    struct tl_identity id;
    char ticket[TL_TICKET_MAX];
    enum tl_status st = tl_auth_open(&o, &a, &w->err), one;
    if (st != TL_OK) return st;
    /* The first failure counts; everything is tried nevertheless. */
    if ((one = tl_auth_token(a, tl_str(s->token), &id, &w->err)) != TL_OK) st = one;
    if ((one = tl_auth_token(a, tl_str(s->jwt), &id, &w->err)) != TL_OK) st = st ? st : one;
    if ((one = tl_auth_reload(a, &w->err)) != TL_OK) st = st ? st : one;
    one = tl_auth_ticket(a, &id, ticket, &w->err);
    if (one == TL_OK) one = tl_auth_redeem(a, tl_str(ticket), &id, &w->err);
    if (one != TL_OK) st = st ? st : one;
    assert_int_equal(tl_auth_token(a, TL_STR("tl_nobody"), &id, &w->err), TL_DENIED);
    assert_int_equal(tl_auth_token(a, TL_STR("e30.e30.AAAA"), &id, &w->err) != TL_OK, 1);
    tl_auth_free(a);
    return st;
}

static void test_asking(void **state)
{
    struct story s = {.w = *state};
    auth_put(s.w->secret, secret, 32, 0600);
    make_jwt(s.jwt);
    assert_int_equal(tl_tokens_create(s.w->tokens, "t", TL_MAY_READ, INT64_MAX, s.w->wall_ms, s.token, NULL), TL_OK);
    assert_int_equal(asked(&s), TL_OK);
    long n = 0, failed = 0;
    for (bool armed = true; armed; n++) {
        fault_alloc_arm(n);
        enum tl_status st = asked(&s);
        armed = fault_alloc_disarm();
        assert_true(st == TL_OK || st == TL_NOMEM);
        assert_true(armed || st == TL_OK);
        failed += st == TL_NOMEM;
    }
    print_message("%ld allocations, %ld failures\n", n - 1, failed);
    assert_true(failed > 10);
}

static void test_changing(void **state)
{
    struct auth_world *w = *state;
    char token[TL_TOKEN_MAX];
    long n = 0, failed = 0;
    assert_int_equal(tl_tokens_create(w->tokens, "old", TL_MAY_READ, INT64_MAX, w->wall_ms, token, NULL), TL_OK);
    for (bool armed = true; armed; n++) {
        unsigned rows = 0;
        fault_alloc_arm(n);
        enum tl_status st = tl_tokens_create(w->tokens, "new", TL_MAY_READ, INT64_MAX, w->wall_ms, token, &w->err);
        enum tl_status gone = tl_tokens_revoke(w->tokens, "nobody", &w->err);
        armed = fault_alloc_disarm();
        assert_true(st == TL_OK || st == TL_NOMEM);
        assert_true(gone == TL_NOT_FOUND || gone == TL_NOMEM);
        assert_true(st == TL_OK || token[0] == '\0');
        failed += st == TL_NOMEM || gone == TL_NOMEM;
        assert_int_equal(tl_tokens_list(w->tokens, count_row, &rows, &w->err), TL_OK);
        assert_int_equal(rows, st == TL_OK ? 2 : 1);
        if (st == TL_OK) assert_int_equal(tl_tokens_revoke(w->tokens, "new", &w->err), TL_OK);
    }
    print_message("%ld allocations, %ld failures\n", n - 1, failed);
    assert_true(failed > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_asking, auth_setup, auth_teardown),
        cmocka_unit_test_setup_teardown(test_changing, auth_setup, auth_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
