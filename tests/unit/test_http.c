/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of HTTP: percent-encoding, parameters, Accept, entity tags, heads and chunked bodies. */
#include "../support.h"

#include "base/err.h"
#include "base/util.h"
#include "http/http.h"
#include "http/parse.h"

#define S(literal) TL_STR(literal)

static void decode(void **state)
{
    (void)state;
    static const struct {
        const char *in, *plain, *form; /* NULL: INVALID */
    } rows[] = {
        {"", "", ""},
        {"abc", "abc", "abc"},
        {"a+b", "a+b", "a b"},
        {"a%2Bb%2b", "a+b+", "a+b+"},
        {"%E8%B4%B5%e5%b7%9e", "贵州", "贵州"},
        {"MACD(12,26,9)", "MACD(12,26,9)", "MACD(12,26,9)"},
        {"%F0%9F%98%80", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"%", NULL, NULL},
        {"%1", NULL, NULL},
        {"ab%4", NULL, NULL},
        {"%zz", NULL, NULL},
        {"%4g", NULL, NULL},
        {"a%00b", NULL, NULL},
        {"%80", NULL, NULL},
        {"%c0%af", NULL, NULL},       /* an overlong "/" */
        {"%ed%a0%80", NULL, NULL},    /* half of a surrogate pair */
        {"%f4%90%80%80", NULL, NULL}, /* behind U+10FFFF */
        {"%e8%b4", NULL, NULL},       /* cut */
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        for (int form = 0; form < 2; form++) {
            const char *want = form ? rows[i].form : rows[i].plain;
            struct tl_buf out;
            struct tl_err err;
            tl_buf_init(&out, 100);
            enum tl_status st = tl_http_decode(tl_str(rows[i].in), form, &out, &err);
            assert_int_equal(st, want ? TL_OK : TL_INVALID);
            if (want) assert_string_equal(tl_buf_str(&out).p, want);
            tl_buf_release(&out);
        }
    }
    struct tl_buf small;
    tl_buf_init(&small, 3);
    assert_int_equal(tl_http_decode(S("abcd"), false, &small, NULL), TL_TOO_LARGE);
    tl_buf_release(&small);
}

static void params(void **state)
{
    (void)state;
    static const struct {
        const char *query, *want;
    } rows[] = {
        {"", ""},
        {"a=1", "a=1;"},
        {"a=1&b=2", "a=1;b=2;"},
        {"a", "a=;"},
        {"=x", "=x;"},
        {"a=1=2", "a=1=2;"},
        {"&&a=1&", "a=1;"},
        {"a=%26&b", "a=%26;b=;"},
        {"a=&b=", "a=;b=;"},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        char text[100] = "";
        struct tl_str rest = tl_str(rows[i].query), name, value;
        while (tl_http_next_param(&rest, &name, &value))
            snprintf(text + strlen(text), sizeof text - strlen(text), "%.*s=%.*s;", TL_STR_ARG(name),
                     TL_STR_ARG(value));
        assert_string_equal(text, rows[i].want);
    }
    struct tl_str none = {NULL, 0}, name, value;
    assert_false(tl_http_next_param(&none, &name, &value));
}

static void accepts(void **state)
{
    (void)state;
    static const struct {
        const char *header, *offer;
        unsigned q;
    } rows[] = {
        {NULL, "application/json", 1000},
        {"", "application/json", 0},
        {"application/json", "application/json", 1000},
        {"Application/JSON", "application/json", 1000},
        {"text/csv", "application/json", 0},
        {"*/*", "application/json", 1000},
        {"*/*;q=0.1", "application/json", 100},
        {"application/*;q=0.25, */*;q=0.1", "application/json", 250},
        {"application/*;q=0.25, application/json;q=0.5", "application/json", 500},
        {"application/json;q=0, */*", "application/json", 0},
        {"application/json ; charset=utf-8 ; q=0.7", "application/json", 700},
        {"text/html;x=\"a,application/json\"", "application/json", 0},
        {"text/csv;q=1.000, application/json;q=0.999", "application/json", 999},
        {"application/json;q=1.001", "application/json", 0},
        {"application/json;q=x", "application/json", 0},
        {"application/json;q=2", "application/json", 0},
        {"application/json;q=0.1234", "application/json", 0},
        {"app/*", "application/json", 0},
        {",, ,application/json,", "application/json", 1000},
        {"gzip", "gzip", 1000},
        {"x-gzip", "gzip", 1000},
        {"br, gzip;q=0.5", "gzip", 500},
        {"*", "gzip", 1000},
        {"*;q=0", "gzip", 0},
        {"gzip;q=0, *", "gzip", 0},
        {"", "identity", 1000},
        {"gzip", "identity", 1000},
        {"*;q=0", "identity", 0},
        {"identity;q=0", "identity", 0},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        unsigned q = tl_http_accepts(tl_str(rows[i].header), rows[i].offer);
        if (q != rows[i].q) fail_msg("%s for %s: %u, not %u", rows[i].header, rows[i].offer, q, rows[i].q);
    }
}

static void etags(void **state)
{
    (void)state;
    static const struct {
        const char *header, *etag;
        bool matches;
    } rows[] = {
        {NULL, "\"a\"", false},           {"", "\"a\"", false},        {"\"a\"", "\"a\"", true},
        {"\"b\"", "\"a\"", false},        {"*", "\"a\"", true},        {" * ", "\"a\"", true},
        {"W/\"a\"", "\"a\"", true},       {"\"a\"", "W/\"a\"", true},  {"\"b\", W/\"a\"", "\"a\"", true},
        {"\"a,b\",\"c\"", "\"c\"", true}, {"\"a,b\"", "\"b\"", false}, {"a", "\"a\"", false},
        {"\"a", "\"a\"", false},          {"\"A\"", "\"a\"", false},   {"\"a\\\"", "\"a\\\"", true},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++)
        assert_int_equal(tl_http_etag_matches(tl_str(rows[i].header), rows[i].etag), rows[i].matches);
}

/* Wherever it is cut, the head is found at the same place, and its fields are what they are. */
static void heads(void **state)
{
    (void)state;
    static const char text[] = "PUT /a/b?c=d HTTP/1.1\r\nHost: h\r\nX-One:1\r\nx-two: \t two words \t\r\nX-Empty:\r\n"
                               "X-One: again\r\nContent-Length: 12\r\n\r\nrest of it";
    const size_t whole = sizeof text - 1 - 10;
    for (size_t step = 1; step < sizeof text; step++) {
        size_t scanned = 0, found = 0;
        for (size_t n = step; !found && n <= sizeof text - 1 + step; n += step)
            found = tl_http_head_find(text, TL_MIN(n, sizeof text - 1), &scanned);
        assert_int_equal(found, whole);
    }
    struct tl_http_head h;
    tl_http_head_parse(text, whole, &h);
    assert_int_equal(h.refuse, 0);
    assert_int_equal(h.method, TL_HTTP_PUT);
    assert_int_equal(h.length, 12);
    assert_true(h.keep_alive && !h.chunked && !h.minor_0 && !h.expects_continue);
    assert_memory_equal(text + h.path.at, "/a/b", h.path.n);
    assert_memory_equal(text + h.query.at, "c=d", h.query.n);
    assert_int_equal(h.path.n, 4);
    assert_int_equal(h.query.n, 3);
    assert_true(tl_str_eq(tl_http_head_field(text, &h, S("X-ONE")), S("1")));
    assert_true(tl_str_eq(tl_http_head_field(text, &h, S("X-Two")), S("two words")));
    assert_true(tl_str_eq(tl_http_head_field(text, &h, S("X-Empty")), S("")));
    assert_non_null(tl_http_head_field(text, &h, S("X-Empty")).p);
    assert_null(tl_http_head_field(text, &h, S("X-On")).p);
    assert_null(tl_http_head_field(text, &h, S("X-Three")).p);
}

static void chunks(void **state)
{
    (void)state;
    static const char text[] = "3\r\nabc\r\n00a ;x\r\n"; /* a blank before the extension: refused */
    static const char good[] = "3\r\nabc\r\n00a;x=\"1\"\r\n0123456789\r\n0\r\nTrailer: y\r\n\r\nnext";
    for (size_t step = 1; step < sizeof good; step++) {
        struct tl_http_chunks k = {0};
        char got[64] = "";
        enum tl_http_chunk c = TL_HTTP_CHUNK_MORE;
        size_t used = 0;
        while (c != TL_HTTP_CHUNK_OVER) {
            size_t n = TL_MIN(step, sizeof good - 1 - used);
            struct tl_str rest = {good + used, n}, data;
            while ((c = tl_http_chunks_next(&k, &rest, &data)) == TL_HTTP_CHUNK_DATA)
                snprintf(got + strlen(got), sizeof got - strlen(got), "%.*s", TL_STR_ARG(data));
            assert_int_not_equal(c, TL_HTTP_CHUNK_BAD);
            used = (size_t)(rest.p - good);
        }
        assert_string_equal(got, "abc0123456789");
        assert_string_equal(good + used, "next");
    }
    struct tl_http_chunks k = {0};
    struct tl_str rest = {text, sizeof text - 1}, data;
    assert_int_equal(tl_http_chunks_next(&k, &rest, &data), TL_HTTP_CHUNK_DATA);
    assert_int_equal(tl_http_chunks_next(&k, &rest, &data), TL_HTTP_CHUNK_BAD);
}

/* Endless lines and trailers end. */
static void endless_chunks(void **state)
{
    (void)state;
    static const char *const begins[] = {"1;", "0\r\nA: ", "0\r\n", "0000000000000000"};
    static const char *const more[] = {"x", "y", "A:b\r\n", "0"};
    for (size_t i = 0; i < TL_COUNT(begins); i++) {
        struct tl_http_chunks k = {0};
        struct tl_str rest = tl_str(begins[i]), data;
        enum tl_http_chunk c = tl_http_chunks_next(&k, &rest, &data);
        for (unsigned n = 0; c == TL_HTTP_CHUNK_MORE && n < 20000; n++) {
            rest = tl_str(more[i]);
            c = tl_http_chunks_next(&k, &rest, &data);
        }
        assert_int_equal(c, TL_HTTP_CHUNK_BAD);
    }
}

static void methods(void **state)
{
    (void)state;
    assert_string_equal(tl_http_method_name(TL_HTTP_DELETE), "DELETE");
    assert_string_equal(tl_http_method_name((enum tl_http_method)0), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode), cmocka_unit_test(params), cmocka_unit_test(accepts),        cmocka_unit_test(etags),
        cmocka_unit_test(heads),  cmocka_unit_test(chunks), cmocka_unit_test(endless_chunks), cmocka_unit_test(methods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
