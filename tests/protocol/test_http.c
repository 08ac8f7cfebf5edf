/* SPDX-License-Identifier: Apache-2.0 */
/* Requests over raw sockets and what comes back: every row of the table is sent whole, in two halves at several places,
 * and byte by byte, and must be answered the same each time. */
#include "../support.h"

#include "http_fixture.h"

#define HOST "Host: a\r\n"

struct row {
    const char *request;
    const char *says[4];
    unsigned answers; /* 0: the server closes behind its answer */
    bool head;
};

static const struct row rows[] = {
    /* ---- what is served ---- */
    {"GET /hello HTTP/1.1\r\n" HOST "\r\n",
     {"HTTP/1.1 200 OK\r\n", "Content-Length: 5\r\n", "\r\n\r\nhello", "X-Content-Type-Options: nosniff\r\n"},
     .answers = 1},
    {"GET /hello HTTP/1.1\r\n" HOST "\r\n", {"Date: ", "ETag: \"h1\"\r\n", "Cache-Control: no-cache"}, .answers = 1},
    {"GET /x?a=1&b=%20 HTTP/1.1\r\n" HOST "X-TEST:  some value \t\r\n\r\n",
     {"GET /x ?a=1&b=%20 [some value] "},
     .answers = 1},
    {"\r\n\r\nGET /crlf HTTP/1.1\r\n" HOST "\r\n", {"GET /crlf ? [] "}, .answers = 1},
    {"GET http://example.org/abs?q HTTP/1.1\r\n" HOST "\r\n", {"GET /abs ?q [] "}, .answers = 1},
    {"GET http://example.org HTTP/1.1\r\n" HOST "\r\n", {"GET / ? [] "}, .answers = 1},
    {"GET http://example.org?q HTTP/1.1\r\n" HOST "\r\n", {"GET / ?q [] "}, .answers = 1},
    {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", {"OPTIONS * ? [] "}, .answers = 1},
    {"DELETE /d HTTP/1.1\r\n" HOST "\r\n", {"DELETE /d "}, .answers = 1},
    {"PATCH /d HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab", {"PATCH /d ? [] ab"}, .answers = 1},
    {"GET /body HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", {"GET /body ? [] abc"}, .answers = 1},
    {"GET /new HTTP/1.9\r\n" HOST "\r\n", {"GET /new "}, .answers = 1},
    {"GET /none HTTP/1.1\r\n" HOST "\r\n", {"HTTP/1.1 204 No Content\r\n"}, .answers = 1},
    {"HEAD /hello HTTP/1.1\r\n" HOST "\r\n",
     {"HTTP/1.1 200 OK\r\n", "Content-Length: 5\r\n"},
     .answers = 1,
     .head = true},
    {"HEAD /x HTTP/1.1\r\n" HOST "\r\n", {"Content-Length: 12\r\n"}, .answers = 1, .head = true},
    {"GET /fail HTTP/1.1\r\n" HOST "\r\n",
     {"HTTP/1.1 404 Not Found\r\n", "Content-Type: application/problem+json\r\n",
      "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\"detail\":\"no symbol "
      "\\\"X\\\"\",\"instance\":"
      "\"/fail\",\"parameter\":\"symbol\",\"code\":\"NOT_FOUND\"}\n"},
     .answers = 1},
    /* ---- several ---- */
    {"GET /a HTTP/1.1\r\n" HOST "\r\nGET /b HTTP/1.1\r\n" HOST "\r\nPOST /c HTTP/1.1\r\n" HOST
     "Content-Length: 1\r\n\r\nxGET /d HTTP/1.1\r\n" HOST "\r\n",
     {"GET /a ", "GET /b ", "POST /c ? [] x", "GET /d "},
     .answers = 4},
    {"POST /c HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nGET /d HTTP/1.1\r\n" HOST
     "\r\n",
     {"POST /c ? [] ab", "GET /d "},
     .answers = 2},
    {"GET /a HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", {"GET /a ", "Connection: close\r\n"}, .answers = 0},
    {"GET /a HTTP/1.1\r\n" HOST "Connection: x, Close\r\n\r\nGET /b HTTP/1.1\r\n" HOST "\r\n",
     {"GET /a "},
     .answers = 0},
    {"GET /a HTTP/1.0\r\n\r\n", {"HTTP/1.1 200 OK\r\n", "GET /a ", "Connection: close\r\n"}, .answers = 0},
    {"GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", {"GET /a ", "Connection: keep-alive\r\n"}, .answers = 1},
    {"POST /a HTTP/1.0\r\nContent-Length: 2\r\n\r\nok", {"POST /a ? [] ok"}, .answers = 0},
    /* ---- bodies ---- */
    {"POST /c HTTP/1.1\r\n" HOST
     "Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n00B;x=\"y\"\r\n0123456789\n\r\n0\r\nT: x\r\n\r\n",
     {"POST /c ? [] a0123456789\n"},
     .answers = 1},
    {"POST /c HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {"POST /c ? [] "}, .answers = 1},
    {"PUT /c HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", {"PUT /c ? [] "}, .answers = 1},
    {"POST /small HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n0123456789", {"[] 0123456789"}, .answers = 1},
    {"POST /small HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\n01234567890",
     {"HTTP/1.1 413 Content Too Large\r\n"},
     .answers = 0},
    {"POST /small HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n6\r\n012345\r\n0\r\n\r\n",
     {"HTTP/1.1 413 ", "\"code\":\"TOO_LARGE\"", "\"instance\":\"/small\""},
     .answers = 0},
    {"POST /a HTTP/1.1\r\n" HOST "Content-Length: 99999999999\r\n\r\nx", {"HTTP/1.1 413 "}, .answers = 0},
    {"POST /a HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999\r\n\r\nx", {"HTTP/1.1 413 "}, .answers = 0},
    {"POST /refused HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\n",
     {"HTTP/1.1 401 Unauthorized\r\n", "WWW-Authenticate: Bearer\r\n", "Connection: close\r\n"},
     .answers = 0},
    {"GET /refused HTTP/1.1\r\n" HOST "\r\nGET /b HTTP/1.1\r\n" HOST "\r\n",
     {"HTTP/1.1 401 ", "GET /b "},
     .answers = 2},
    {"POST /refused HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
     {"HTTP/1.1 401 "},
     .answers = 0},
    {"POST /e HTTP/1.1\r\n" HOST "Expect: something\r\nContent-Length: 9\r\n\r\n", {"HTTP/1.1 417 "}, .answers = 0},
    {"POST /e HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx", {"HTTP/1.1 200 "}, .answers = 0},
    /* ---- what two parsers could read in two ways ---- */
    {"POST /s HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
     {"HTTP/1.1 400 ", "more than once"},
     .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Content-Length: 1\r\ncontent-length: 1\r\n\r\na", {"HTTP/1.1 400 "}, .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\na", {"HTTP/1.1 400 "}, .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\na", {"HTTP/1.1 400 "}, .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\na", {"HTTP/1.1 400 "}, .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\na", {"HTTP/1.1 400 "}, .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Content-Length: 1\r\n 2\r\n\r\na",
     {"HTTP/1.1 400 ", "goes on in the next line"},
     .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Content-Length : 1\r\n\r\na", {"HTTP/1.1 400 "}, .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
     {"HTTP/1.1 400 ", "exclude each other"},
     .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     {"HTTP/1.1 400 "},
     .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     {"HTTP/1.1 400 "},
     .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", {"HTTP/1.1 501 "}, .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", {"HTTP/1.1 501 "}, .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Transfer-Encoding: \x0b"
     "chunked\r\n\r\n0\r\n\r\n",
     {"HTTP/1.1 400 "},
     .answers = 0},
    {"POST /s HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n",
     {"HTTP/1.1 400 ", "chunked body"},
     .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
     {"HTTP/1.1 400 "},
     .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
     {"HTTP/1.1 400 "},
     .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
     {"HTTP/1.1 400 "},
     .answers = 0},
    {"POST /s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n-1\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET /s HTTP/1.1\r\n" HOST "Host: b\r\n\r\n", {"HTTP/1.1 400 ", "exactly one Host"}, .answers = 0},
    {"GET /s HTTP/1.1\r\n\r\n", {"HTTP/1.1 400 ", "exactly one Host"}, .answers = 0},
    {"GET /s HTTP/1.1\n"
     "Host: a\n\n",
     {"HTTP/1.1 400 ", "CR LF"},
     .answers = 0},
    {"GET /s HTTP/1.1\r\nHost: a\n\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET /s HTTP/1.1\r\nHost: a\r\n\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET /s HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET /s HTTP/1.1\r\n folded: x\r\n" HOST "\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    /* ---- what is no request ---- */
    {"GET /s HTTP/1.1\r\n" HOST "nocolon\r\n\r\n", {"HTTP/1.1 400 ", "without a colon"}, .answers = 0},
    {"GET /s HTTP/1.1\r\n" HOST ": x\r\n\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET /s HTTP/1.1\r\n" HOST "a(b): x\r\n\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET /s HTTP/1.1\r\n" HOST "a: \x01\r\n\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET  /s HTTP/1.1\r\n" HOST "\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET /s  HTTP/1.1\r\n" HOST "\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET /s HTTP/1.1 \r\n" HOST "\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET /s t HTTP/1.1\r\n" HOST "\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET s HTTP/1.1\r\n" HOST "\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET * HTTP/1.1\r\n" HOST "\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET /#x HTTP/1.1\r\n" HOST "\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET /s\r\n\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET /s http/1.1\r\n" HOST "\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET /s HTTP/11\r\n" HOST "\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"GET /s HTTP/2.0\r\n" HOST "\r\n", {"HTTP/1.1 505 "}, .answers = 0},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {"HTTP/1.1 505 "}, .answers = 0},
    {"get /s HTTP/1.1\r\n" HOST "\r\n", {"HTTP/1.1 501 "}, .answers = 0},
    {"TRACE /s HTTP/1.1\r\n" HOST "\r\n",
     {"HTTP/1.1 501 ", "application/problem+json", "\"code\":\"UNSUPPORTED\""},
     .answers = 0},
    {"CONNECT a:1 HTTP/1.1\r\n" HOST "\r\n", {"HTTP/1.1 400 "}, .answers = 0},
    {"\x16\x03\x01\x02", {"HTTP/1.1 400 ", "no HTTP request"}, .answers = 0},
    {"\rGET / HTTP/1.1\r\n" HOST "\r\n", {"HTTP/1.1 400 "}, .answers = 0},
};

static void send_in_pieces(struct app *a, int fd, const char *p, size_t n, size_t cut)
{
    if (cut == 0) { /* byte by byte */
        for (size_t i = 0; i < n; i++) http_put(a, fd, p + i, 1);
        return;
    }
    size_t first = cut < n ? cut : n;
    http_put(a, fd, p, first);
    uv_run(&a->loop, UV_RUN_NOWAIT);
    http_put(a, fd, p + first, n - first);
}

static void one_row(struct app *a, const struct row *row, size_t cut)
{
    struct reply r = {.n = 0};
    int fd = http_connect(a);
    send_in_pieces(a, fd, row->request, strlen(row->request), cut);
    http_get(a, fd, &r, row->answers, row->head);
    for (size_t i = 0; i < 4 && row->says[i]; i++)
        if (!http_find(r.p, r.n, row->says[i]))
            fail_msg("%.120s (cut %zu): \"%s\" is not in %.600s", row->request, cut, row->says[i], r.p);
    if (row->answers == 0) assert_true(r.closed);
    if (row->answers > 0) {
        size_t at;
        assert_int_equal(http_count(&r, row->head, &at), row->answers);
        assert_int_equal(at, r.n); /* and nothing behind them */
        assert_false(r.closed);
    }
    must_not_say(&r, "\r\nSet-Cookie");
    reply_free(&r);
    close(fd);
}

static void table(void **state)
{
    (void)state;
    struct app a;
    app_init(&a);
    app_start(&a);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t n = strlen(rows[i].request);
        one_row(&a, &rows[i], n);
        one_row(&a, &rows[i], 0);
        for (size_t k = 1; k < 8; k++) one_row(&a, &rows[i], 1 + n * k / 8);
    }
    struct tl_http_stats s;
    HTTP_WAIT(&a, (tl_http_stats(a.http, &s), s.connections == 0));
    assert_int_equal(s.requests_open, 0);
    assert_int_equal(s.requests, a.records);
    assert_int_equal(s.by_class[2] + s.by_class[4] + s.by_class[5], s.requests);
    app_end(&a);
}

/* ---- limits ---- */

static void long_heads(void **state)
{
    (void)state;
    static const struct {
        size_t target, field, fields;
        const char *says;
    } cases[] = {
        {3000, 10, 1, "HTTP/1.1 200 "}, {5000, 10, 1, "HTTP/1.1 414 "}, {100000, 10, 1, "HTTP/1.1 414 "},
        {10, 3000, 1, "HTTP/1.1 200 "}, {10, 5000, 1, "HTTP/1.1 431 "}, {10, 100000, 1, "HTTP/1.1 431 "},
        {10, 10, 99, "HTTP/1.1 200 "},  {10, 10, 100, "HTTP/1.1 431 "}, {10, 10, 2000, "HTTP/1.1 431 "},
        {10, 4044, 1, "HTTP/1.1 200 "}, {10, 4045, 1, "HTTP/1.1 431 "}, /* 4096 bytes, 4097 */
    };
    struct app a;
    app_init(&a);
    app_start(&a);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tl_buf b;
        struct reply r = {.n = 0};
        tl_buf_init(&b, 0);
        tl_buf_puts(&b, "GET /");
        for (size_t k = 1; k < cases[i].target; k++) tl_buf_putc(&b, 'a');
        tl_buf_puts(&b, " HTTP/1.1\r\n" HOST);
        for (size_t f = 0; f < cases[i].fields; f++) {
            tl_buf_puts(&b, "X-Long-Field: ");
            for (size_t k = 0; k < cases[i].field; k++) tl_buf_putc(&b, 'b');
            tl_buf_puts(&b, "\r\n");
        }
        tl_buf_puts(&b, "\r\n");
        int fd = http_connect(&a);
        http_put(&a, fd, b.p, b.n);
        http_get(&a, fd, &r, 1, false);
        must_say(&r, cases[i].says);
        close(fd);
        reply_free(&r);
        tl_buf_release(&b);
    }
    app_end(&a);
}

/* Nothing, part of a head, of a length, of a chunk: each has its end, and bytes that trickle do not put it off. */
static void slow_clients(void **state)
{
    (void)state;
    static const struct {
        const char *begin, *trickle, *says; /* says "": closed without a word */
    } cases[] = {
        {"", "", ""},
        {"G", "", "HTTP/1.1 408 "},
        {"GET /s HTTP/1.1\r\nX: ", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "HTTP/1.1 408 "},
        {"POST /s HTTP/1.1\r\n" HOST "Content-Length: 9000\r\n\r\nab", "", "HTTP/1.1 408 "},
        {"POST /s HTTP/1.1\r\n" HOST "Content-Length: 9000\r\n\r\nab",
         "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", "HTTP/1.1 408 "},
        {"POST /s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n",
         "HTTP/1.1 408 "},
        {"GET /s HTTP/1.1\r\n" HOST "\r\n", "", "HTTP/1.1 200 "}, /* served, then idle */
    };
    struct app a;
    app_init(&a);
    a.options.request_ms = 150;
    a.options.idle_ms = 200;
    app_start(&a);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reply r = {.n = 0};
        uint64_t begin = http_now_ms();
        int fd = http_connect(&a);
        http_put(&a, fd, cases[i].begin, strlen(cases[i].begin));
        const char *t = cases[i].trickle;
        for (; *t && !r.closed; t++) {
            app_run_ms(&a, 10);
            http_put(&a, fd, t, 1);
            http_take(fd, &r);
        }
        http_get(&a, fd, &r, 0, false);
        if (cases[i].trickle[0]) assert_true(*t != '\0'); /* the end did not wait for the last byte */
        assert_true(http_now_ms() - begin < 5000);
        if (cases[i].says[0])
            must_say(&r, cases[i].says);
        else
            assert_int_equal(r.n, 0);
        close(fd);
        reply_free(&r);
    }
    app_end(&a);
}

/* What is refused unread has nothing of the request before it on the connection. */
static void refused_after_served(void **state)
{
    (void)state;
    static const char *const first[] = {"GET /some/long/path?with=query HTTP/1.1\r\n" HOST "\r\n",
                                        "HEAD /some/long/path?with=query HTTP/1.1\r\n" HOST "\r\n"};
    for (size_t i = 0; i < 4; i++) {
        char second[6000];
        struct reply r = {.n = 0};
        struct app a;
        app_init(&a);
        a.options.request_ms = 100;
        app_start(&a);
        int fd = http_connect(&a);
        http_put(&a, fd, first[i % 2], strlen(first[i % 2]));
        http_get(&a, fd, &r, 1, i % 2 == 1);
        reply_free(&r);
        memset(second, 'G', sizeof second);
        http_put(&a, fd, second, i < 2 ? 3 : sizeof second);
        http_get(&a, fd, &r, 0, false);
        must_say(&r, i < 2 ? "HTTP/1.1 408 " : "HTTP/1.1 414 ");
        must_say(&r, "\"status\":4");
        must_not_say(&r, "/some");
        close(fd);
        reply_free(&r);
        app_end(&a);
        assert_non_null(strstr(a.log, i < 2 ? "127.0.0.1  - -  408\n" : "127.0.0.1  - -  414\n"));
    }
}

/* A large body in pieces is not slow as long as it comes. */
static void steady_body(void **state)
{
    (void)state;
    char piece[2000], head[100];
    struct reply r = {.n = 0};
    struct app a;
    memset(piece, 'z', sizeof piece);
    app_init(&a);
    a.options.request_ms = 1000;
    app_start(&a);
    int fd = http_connect(&a);
    snprintf(head, sizeof head, "POST /s HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n", 10 * sizeof piece);
    http_put(&a, fd, head, strlen(head));
    for (unsigned i = 0; i < 10; i++) {
        app_run_ms(&a, 150);
        http_put(&a, fd, piece, sizeof piece);
    }
    http_get(&a, fd, &r, 1, false);
    must_say(&r, "HTTP/1.1 200 ");
    must_say(&r, "Content-Length: 20013\r\n");
    close(fd);
    reply_free(&r);
    app_end(&a);
}

static void body_limit(void **state)
{
    (void)state;
    struct app a;
    app_init(&a);
    app_start(&a);
    for (size_t n = 99999; n <= 100001; n++) {
        struct reply r = {.n = 0};
        char head[100], *body = malloc(n);
        memset(body, 'q', n);
        int fd = http_connect(&a);
        snprintf(head, sizeof head, "POST /s HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n", n);
        http_put(&a, fd, head, strlen(head));
        http_put(&a, fd, body, n);
        http_get(&a, fd, &r, 1, false);
        must_say(&r, n <= 100000 ? "HTTP/1.1 200 " : "HTTP/1.1 413 ");
        close(fd);
        free(body);
        reply_free(&r);
    }
    app_end(&a);
}

static void continue_100(void **state)
{
    (void)state;
    struct reply r = {.n = 0};
    struct app a;
    app_init(&a);
    app_start(&a);
    int fd = http_connect(&a);
    const char *head = "POST /s HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 4\r\n\r\n";
    http_put(&a, fd, head, strlen(head));
    HTTP_WAIT(&a, (http_take(fd, &r), r.n >= 25));
    assert_int_equal(r.n, 25);
    assert_memory_equal(r.p, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    http_put(&a, fd, "body", 4);
    http_get(&a, fd, &r, 1, false);
    must_say(&r, "POST /s ? [] body");
    close(fd);
    reply_free(&r);
    /* The body is there already: nobody waits for the word. */
    exchange(&a, "POST /s HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody", &r, 1);
    must_not_say(&r, "100 Continue");
    reply_free(&r);
    app_end(&a);
}

static void per_address(void **state)
{
    (void)state;
    struct reply r = {.n = 0};
    struct tl_http_stats s;
    struct app a;
    int fds[3];
    app_init(&a);
    a.options.per_address = 3;
    app_start(&a);
    for (int i = 0; i < 3; i++) fds[i] = http_connect(&a);
    exchange(&a, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 0);
    must_say(&r, "HTTP/1.1 503 ");
    must_say(&r, "too many connections of this address");
    reply_free(&r);
    close(fds[0]);
    HTTP_WAIT(&a, (tl_http_stats(a.http, &s), s.connections == 2));
    exchange(&a, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 1);
    must_say(&r, "HTTP/1.1 200 ");
    reply_free(&r);
    HTTP_WAIT(&a, (tl_http_stats(a.http, &s), s.connections == 2));
    /* An upgraded one counts until its owner closes it. */
    int fd = http_connect(&a);
    const char *up = "GET /upgrade HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    http_put(&a, fd, up, strlen(up));
    HTTP_WAIT(&a, a.upgrades == 1);
    exchange(&a, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 0);
    must_say(&r, "HTTP/1.1 503 ");
    reply_free(&r);
    close(a.upgraded_fd);
    exchange(&a, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 1);
    must_say(&r, "HTTP/1.1 200 ");
    reply_free(&r);
    close(fd);
    close(fds[1]);
    close(fds[2]);
    app_end(&a);
}

/* Over the limit of all connections they wait in the backlog. */
static void all_connections(void **state)
{
    (void)state;
    struct reply r = {.n = 0};
    struct tl_http_stats s;
    struct app a;
    app_init(&a);
    a.options.connections = 2;
    app_start(&a);
    int one = http_connect(&a), two = http_connect(&a), three = http_connect(&a);
    const char *get = "GET /hello HTTP/1.1\r\n" HOST "\r\n";
    http_put(&a, three, get, strlen(get));
    app_run_ms(&a, 50);
    tl_http_stats(a.http, &s);
    assert_int_equal(s.connections, 2);
    assert_int_equal(a.handled, 0);
    close(one);
    http_get(&a, three, &r, 1, false);
    must_say(&r, "hello");
    reply_free(&r);
    close(two);
    close(three);
    app_end(&a);
}

/* ---- representations ---- */

static const struct {
    const char *target, *fields, *says[4], *not ;
} representations[] = {
    {"/hello",
     "If-None-Match: \"h1\"\r\n",
     {"HTTP/1.1 304 Not Modified\r\n", "ETag: \"h1\"\r\n", "Cache-Control"},
     "Content-"
     "Length"},
    {"/hello", "If-None-Match: W/\"h1\", \"x\"\r\n", {"HTTP/1.1 304 "}, "hello"},
    {"/hello", "If-None-Match: *\r\n", {"HTTP/1.1 304 "}, "hello"},
    {"/hello", "If-None-Match: \"h2\"\r\n", {"HTTP/1.1 200 "}, "304"},
    {"/zip?5000", "", {"HTTP/1.1 200 ", "ETag: \"v1\"\r\n", "Vary: Accept-Encoding", "Content-Length: 5000"}, "gzip"},
    {"/zip?5000",
     "Accept-Encoding: gzip\r\n",
     {"ETag: \"v1-gzip\"\r\n", "Content-Encoding: gzip\r\n", "Vary: "},
     "5000"},
    {"/zip?200000",
     "Accept-Encoding: br, gzip;q=0.5\r\n",
     {"ETag: \"v1-gzip\"\r\n", "Content-Encoding: gzip"},
     "200000"},
    {"/zip?5000", "Accept-Encoding: gzip;q=0\r\n", {"Content-Length: 5000"}, "gzip"},
    {"/zip?5000", "Accept-Encoding: br\r\n", {"Content-Length: 5000"}, "gzip"},
    {"/zip?1023", "Accept-Encoding: gzip\r\n", {"Content-Length: 1023", "Vary: Accept-Encoding"}, "gzip"},
    {"/big?5000", "Accept-Encoding: gzip\r\n", {"Content-Length: 5000"}, "Vary"},
    {"/noise?5000", "Accept-Encoding: gzip\r\n", {"Content-Length: 5000", "ETag: \"v1\"\r\n"}, "Content-Encoding"},
    {"/noise?200000", "Accept-Encoding: gzip\r\n", {"Content-Length: 200000", "ETag: \"v1\"\r\n"}, "Content-Encoding"},
    {"/zip?5000",
     "Accept-Encoding: gzip\r\nIf-None-Match: \"v1-gzip\"\r\n",
     {"HTTP/1.1 304 ", "ETag: \"v1-gzip\""},
     "200"},
    {"/zip?5000", "Accept-Encoding: gzip\r\nIf-None-Match: \"v1\"\r\n", {"HTTP/1.1 304 ", "ETag: \"v1\""}, "200"},
    {"/zip?5000", "If-None-Match: \"v1-gzip\"\r\n", {"HTTP/1.1 200 "}, "304"},
    {"/packed",
     "Accept-Encoding: gzip\r\n",
     {"ETag: \"v1-gzip\"\r\n", "Content-Encoding: gzip\r\n", "Vary: ", "Content-Length: 10\r\n"},
     "5000"},
    {"/packed", "", {"ETag: \"v1\"\r\n", "Vary: Accept-Encoding", "Content-Length: 5000"}, "gzip"},
    {"/packed", "Accept-Encoding: gzip\r\nIf-None-Match: \"v1-gzip\"\r\n", {"HTTP/1.1 304 "}, "200"},
};

static void etags_and_gzip(void **state)
{
    (void)state;
    struct app a;
    app_init(&a);
    app_start(&a);
    for (size_t i = 0; i < sizeof representations / sizeof representations[0]; i++) {
        char request[300];
        struct reply r = {.n = 0};
        size_t at;
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" HOST "%s\r\nGET /next HTTP/1.1\r\n" HOST "\r\n",
                 representations[i].target, representations[i].fields);
        exchange(&a, request, &r, 2);
        assert_int_equal(http_count(&r, false, &at), 2); /* what follows begins where it should */
        assert_int_equal(at, r.n);
        must_say(&r, "GET /next ");
        char *end = http_find(r.p, r.n, "\r\n\r\n");
        r.n = end ? (size_t)(end + 2 - r.p) : 0; /* the fields alone */
        r.p[r.n] = '\0';
        for (size_t k = 0; k < 4 && representations[i].says[k]; k++) must_say(&r, representations[i].says[k]);
        must_not_say(&r, representations[i].not );
        reply_free(&r);
    }
    app_end(&a);
}

/* A client that reads nothing for a while gets everything, one that never reads is cut. */
static void large_answers(void **state)
{
    (void)state;
    struct reply r = {.n = 0};
    struct tl_http_stats s;
    struct app a;
    size_t at;
    app_init(&a);
    app_start(&a);
    int fd = http_connect(&a);
    const char *get = "GET /big?6000000 HTTP/1.1\r\n" HOST "\r\nGET /next HTTP/1.1\r\n" HOST "\r\n";
    http_put(&a, fd, get, strlen(get));
    app_run_ms(&a, 100);
    http_get(&a, fd, &r, 2, false);
    assert_int_equal(http_count(&r, false, &at), 2);
    must_say(&r, "Content-Length: 6000000\r\n");
    must_say(&r, "GET /next ");
    reply_free(&r);
    close(fd);
    app_end(&a);
    app_init(&a);
    a.options.idle_ms = 300;
    app_start(&a);
    fd = http_connect(&a);
    get = "GET /big?60000000 HTTP/1.1\r\n" HOST "\r\n";
    http_put(&a, fd, get, strlen(get));
    HTTP_WAIT(&a, a.handled == 1);
    HTTP_WAIT(&a, (tl_http_stats(a.http, &s), s.connections == 0));
    close(fd);
    app_end(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),           cmocka_unit_test(long_heads),
        cmocka_unit_test(slow_clients),    cmocka_unit_test(refused_after_served),
        cmocka_unit_test(steady_body),     cmocka_unit_test(body_limit),
        cmocka_unit_test(continue_100),    cmocka_unit_test(per_address),
        cmocka_unit_test(all_connections), cmocka_unit_test(etags_and_gzip),
        cmocka_unit_test(large_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
