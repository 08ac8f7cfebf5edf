/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that come later, streams, upgrades, listeners and the end: clients that hang up, read nothing or stay, at
 * every stage. What must hold each time: whoever waits is told once, nothing is answered twice, nothing stays behind.
 */
#include "../support.h"

#include "http_fixture.h"

#define HOST "Host: a\r\n"

/* ---- later answers ---- */

static struct tl_http_request *pending(struct app *a)
{
    HTTP_WAIT(a, a->n_pending > 0);
    return a->pending[--a->n_pending];
}

static void later(void **state)
{
    (void)state;
    struct reply r = {.n = 0};
    struct app a;
    app_init(&a);
    app_start(&a);
    int fd = http_connect(&a);
    const char *two = "GET /later?x=1 HTTP/1.1\r\n" HOST "X-Test: t\r\n\r\nGET /next HTTP/1.1\r\n" HOST "\r\n";
    http_put(&a, fd, two, strlen(two));
    struct tl_http_request *req = pending(&a);
    app_run_ms(&a, 30);
    assert_int_equal(a.handled, 1); /* the pipelined one waits */
    assert_true(tl_str_eq(tl_http_query(req), TL_STR("x=1")));
    assert_true(tl_str_eq(tl_http_header(req, "X-TEST"), TL_STR("t")));
    app_echo(req);
    http_get(&a, fd, &r, 2, false);
    must_say(&r, "GET /later ?x=1 [t] ");
    must_say(&r, "GET /next ");
    assert_int_equal(a.gone, 0);
    reply_free(&r);
    close(fd);
    app_end(&a);
    assert_non_null(strstr(a.log, "127.0.0.1 tester GET /later?x  200\n")); /* without the value */
}

/* The client hangs up while it waits, in every way; the answer comes before, in, or after on_gone. */
static void gone_while_waiting(void **state)
{
    (void)state;
    struct tl_http_stats s;
    struct app a;
    app_init(&a);
    app_start(&a);
    for (unsigned how = 0; how < 6; how++) {
        struct linger none = {.l_onoff = 1, .l_linger = 0};
        int fd = http_connect(&a);
        const char *get = how % 3 == 2 ? "GET /later HTTP/1.1\r\n" HOST "\r\nGET /next HTTP/1.1\r\n" HOST "\r\n"
                                       : "GET /later HTTP/1.1\r\n" HOST "\r\n";
        a.gone = 0;
        a.answer_in_gone = how < 3;
        http_put(&a, fd, get, strlen(get));
        HTTP_WAIT(&a, a.n_pending == 1);
        app_run_ms(&a, 10);
        if (how % 3 == 1) setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
        close(fd);
        HTTP_WAIT(&a, a.gone == 1);
        HTTP_WAIT(&a, (tl_http_stats(a.http, &s), s.connections == 0));
        app_run_ms(&a, 10);
        if (!a.answer_in_gone) {
            tl_http_stats(a.http, &s);
            assert_int_equal(s.requests_open, 1);
            assert_true(tl_str_eq(tl_http_path(a.pending[0]), TL_STR("/later")));
            app_echo(pending(&a));
        }
        tl_http_stats(a.http, &s);
        assert_int_equal(s.requests_open, 0);
        assert_int_equal(a.gone, 1);
    }
    app_end(&a);
    assert_non_null(strstr(a.log, "GET /later  499\n"));
}

/* Who saw the head and not the body: told when the body never comes, and its answer goes nowhere. */
static void gone_in_body(void **state)
{
    (void)state;
    struct reply r = {.n = 0};
    struct app a;
    app_init(&a);
    a.options.request_ms = 100;
    app_start(&a);
    const char *part = "POST /watched HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nab";
    int fd = http_connect(&a);
    http_put(&a, fd, part, strlen(part));
    HTTP_WAIT(&a, a.begun == 1);
    close(fd);
    HTTP_WAIT(&a, a.gone == 1);
    app_send(pending(&a), "text/plain", tl_http_body_copy("x", 1));
    a.answer_in_gone = true;
    exchange(&a, part, &r, 0);
    must_say(&r, "HTTP/1.1 408 ");
    assert_int_equal(a.gone, 2);
    assert_int_equal(a.n_pending, 0);
    assert_int_equal(a.handled, 0);
    reply_free(&r);
    app_end(&a);
}

/* ---- streams ---- */

static void stream_words(void **state)
{
    (void)state;
    struct reply r = {.n = 0};
    struct tl_http_stats s;
    struct app a;
    app_init(&a);
    app_start(&a);
    int fd = http_connect(&a);
    const char *get = "GET /stream HTTP/1.1\r\n" HOST "\r\nGET /next HTTP/1.1\r\n" HOST "\r\n";
    http_put(&a, fd, get, strlen(get));
    HTTP_WAIT(&a, a.stream != NULL);
    tl_http_stats(a.http, &s);
    assert_int_equal(s.streams, 1);
    assert_int_equal(tl_http_stream_write(a.stream, TL_STR("data: 1\n\n")), TL_OK);
    assert_int_equal(tl_http_stream_write(a.stream, TL_STR("data: 2\n\n")), TL_OK);
    HTTP_WAIT(&a, (http_take(fd, &r), http_find(r.p, r.n, "data: 2")));
    must_say(&r, "\r\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n");
    must_say(&r, "Transfer-Encoding: chunked\r\n");
    must_not_say(&r, "Content-Length");
    app_run_ms(&a, 20);
    assert_int_equal(a.gone, 0);
    tl_http_stream_end(a.stream);
    http_get(&a, fd, &r, 2, false);
    must_say(&r, "GET /next ");
    tl_http_stats(a.http, &s);
    assert_int_equal(s.streams, 0);
    reply_free(&r);
    close(fd);
    /* HTTP/1.0 knows no chunks: its end is the end. */
    a.stream = NULL;
    fd = http_connect(&a);
    get = "GET /stream HTTP/1.0\r\n\r\n";
    http_put(&a, fd, get, strlen(get));
    HTTP_WAIT(&a, a.stream != NULL);
    assert_int_equal(tl_http_stream_write(a.stream, TL_STR("data: 3\n\n")), TL_OK);
    tl_http_stream_end(a.stream);
    http_get(&a, fd, &r, 0, false);
    must_say(&r, "Connection: close\r\n\r\ndata: 3\n\n");
    must_not_say(&r, "chunked");
    reply_free(&r);
    close(fd);
    /* HEAD: its fields, and it is over. */
    fd = http_connect(&a);
    get = "HEAD /stream HTTP/1.1\r\n" HOST "\r\n";
    http_put(&a, fd, get, strlen(get));
    http_get(&a, fd, &r, 0, true);
    must_say(&r, "text/event-stream");
    assert_memory_equal(r.p + r.n - 4, "\r\n\r\n", 4);
    HTTP_WAIT(&a, a.gone == 1);
    reply_free(&r);
    close(fd);
    app_end(&a);
}

/* Writes until the queue is full. */
static size_t fill(struct app *a)
{
    static const char block[8192];
    size_t n = 0;
    for (unsigned i = 0; i < 10000; i++) {
        enum tl_status st = tl_http_stream_write(a->stream, (struct tl_str){block, sizeof block});
        if (st == TL_FULL) return n;
        assert_int_equal(st, TL_OK);
        n += sizeof block;
        if (i % 4 == 0) uv_run(&a->loop, UV_RUN_NOWAIT);
    }
    fail_msg("%s", "the queue has no end");
    return 0;
}

static void stream_backlog(void **state)
{
    (void)state;
    struct reply r = {.n = 0};
    struct app a;
    app_init(&a);
    app_start(&a);
    int fd = http_connect(&a);
    const char *get = "GET /stream HTTP/1.0\r\n\r\n";
    http_put(&a, fd, get, strlen(get));
    HTTP_WAIT(&a, a.stream != NULL);
    static const char huge[70000];
    assert_int_equal(tl_http_stream_write(a.stream, (struct tl_str){huge, sizeof huge}), TL_TOO_LARGE);
    size_t n = fill(&a);
    assert_int_equal(a.drained, 0);
    HTTP_WAIT(&a, (http_take(fd, &r), a.drained == 1));
    n += fill(&a);
    HTTP_WAIT(&a, (http_take(fd, &r), a.drained == 2));
    tl_http_stream_end(a.stream);
    http_get(&a, fd, &r, 0, false);
    char *body = http_find(r.p, r.n, "\r\n\r\n");
    assert_int_equal(r.n - (size_t)(body + 4 - r.p), n);
    assert_int_equal(a.gone, 0);
    reply_free(&r);
    close(fd);
    /* A reader that takes nothing is cut. */
    app_end(&a);
    app_init(&a);
    a.options.idle_ms = 400;
    app_start(&a);
    fd = http_connect(&a);
    http_put(&a, fd, get, strlen(get));
    HTTP_WAIT(&a, a.stream != NULL);
    (void)fill(&a);
    HTTP_WAIT(&a, a.gone == 1);
    close(fd);
    app_end(&a);
}

static void stream_gone(void **state)
{
    (void)state;
    struct app a;
    app_init(&a);
    app_start(&a);
    const char *get = "GET /stream HTTP/1.1\r\n" HOST "\r\n";
    for (unsigned i = 0; i < 3; i++) {
        int fd = http_connect(&a);
        struct linger none = {.l_onoff = 1, .l_linger = 0};
        a.gone = 0;
        http_put(&a, fd, get, strlen(get));
        HTTP_WAIT(&a, a.stream != NULL);
        app_run_ms(&a, 10);
        if (i == 1) setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
        if (i == 2) (void)fill(&a);
        close(fd);
        HTTP_WAIT(&a, a.gone == 1);
        assert_null(a.stream);
    }
    app_end(&a);
}

/* ---- upgrades ---- */

static void upgrade(void **state)
{
    (void)state;
    struct reply r = {.n = 0};
    struct tl_http_stats s;
    struct app a;
    app_init(&a);
    app_start(&a);
    int fd = http_connect(&a);
    const char *up = "GET /upgrade HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly bytes";
    http_put(&a, fd, up, strlen(up));
    HTTP_WAIT(&a, a.upgrades == 1);
    assert_true(a.upgraded_fd >= 0);
    assert_string_equal(a.early, "early bytes");
    tl_http_stats(a.http, &s);
    assert_int_equal(s.connections, 0);
    assert_int_equal(s.upgraded, 1);
    HTTP_WAIT(&a, (http_take(fd, &r), r.n > 4 && memcmp(r.p + r.n - 4, "\r\n\r\n", 4) == 0));
    must_say(&r, "HTTP/1.1 101 Switching Protocols\r\n");
    must_say(&r, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    must_say(&r, "Sec-WebSocket-Accept: abc\r\n");
    must_not_say(&r, "Content-Length");
    /* The socket is whole in both directions, and outlives the server. */
    tl_http_close(a.http, app_closed, &a);
    HTTP_WAIT(&a, a.closed == 1);
    char got[8] = "";
    assert_int_equal(send(a.upgraded_fd, "there", 5, 0), 5);
    assert_int_equal(recv(fd, got, sizeof got, 0), 5);
    assert_int_equal(send(fd, "back", 4, 0), 4);
    assert_int_equal(recv(a.upgraded_fd, got, sizeof got, 0), 4);
    close(a.upgraded_fd);
    close(fd);
    reply_free(&r);
    a.http = NULL;
    app_end(&a);
}

static void upgrade_refused(void **state)
{
    (void)state;
    static const char *const requests[] = {"GET /upgrade HTTP/1.0\r\nConnection: upgrade\r\n\r\n",
                                           "GET /upgrade HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"};
    struct app a;
    app_init(&a);
    app_start(&a);
    for (size_t i = 0; i < 2; i++) {
        struct reply r = {.n = 0};
        a.upgraded_fd = -2;
        exchange(&a, requests[i], &r, 0);
        must_say(&r, "HTTP/1.1 400 ");
        HTTP_WAIT(&a, a.upgrades == i + 1);
        assert_int_equal(a.upgraded_fd, -1);
        reply_free(&r);
    }
    app_end(&a);
}

/* ---- listeners ---- */

static void listeners(void **state)
{
    (void)state;
    char dir[] = "/tmp/tl-http-XXXXXX", path[64], fd_text[16];
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct reply r = {.n = 0};
    struct app a;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "unix:%s/s", dir);
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path + 5);
    int stale = socket(AF_UNIX, SOCK_STREAM, 0), inherited = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(stale, (struct sockaddr *)&un, sizeof un), 0);
    close(stale); /* its file stays */
    assert_int_equal(listen(inherited, 8), 0);
    snprintf(fd_text, sizeof fd_text, "fd:%d", inherited);
    app_init(&a);
    a.listen[1] = path;
    a.listen[2] = fd_text;
    a.listen[3] = "[::1]:0";
    int six = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool has_six = six >= 0 && bind(six, (struct sockaddr *)&in6, sizeof in6) == 0;
    if (six >= 0) close(six);
    a.options.n_listen = has_six ? 4 : 3;
    app_start(&a);
    assert_string_equal(tl_http_address(a.http, 1), path);
    assert_null(tl_http_address(a.http, a.options.n_listen));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof un), 0);
    http_put(&a, fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n", 32);
    http_get(&a, fd, &r, 1, false);
    must_say(&r, "hello");
    reply_free(&r);
    close(fd);
    assert_non_null(strstr(a.log, "unix tester GET /hello"));
    /* A second one finds the first alive. */
    struct tl_http *second = NULL;
    struct tl_err err;
    struct tl_http_options o = a.options;
    const char *one[] = {path};
    o.listen = one;
    o.n_listen = 1;
    assert_int_equal(tl_http_start(&a.loop, &o, &second, &err), TL_BUSY);
    const char *two[] = {tl_http_address(a.http, 0)};
    o.listen = two;
    assert_int_equal(tl_http_start(&a.loop, &o, &second, &err), TL_BUSY);
    assert_non_null(strstr(err.text, two[0]));
    const char *third = strrchr(tl_http_address(a.http, 2), ':');
    a.port = atoi(third + 1);
    exchange(&a, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 1);
    must_say(&r, "hello");
    reply_free(&r);
    app_end(&a);
    assert_int_not_equal(access(path + 5, F_OK), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void bad_addresses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           "127.0.0.1", "127.0.0.1:",      "127.0.0.1:65536", "127.0.0.1:+1",  ":80",  "localhost:80",
        "[::1]",      "[::1:80",   "::1:80",          "unix:",           "fd:",           "fd:x", "fd:-1",
        "fd:1000000", "1.2.3:80",  "198.51.100.1:80", "127.0.0.1:8x",    "[127.0.0.1]:80"};
    struct app a;
    app_init(&a);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tl_err err = {.text = ""};
        a.listen[0] = bad[i];
        assert_int_equal(tl_http_start(&a.loop, &a.options, &a.http, &err), TL_INVALID);
        assert_null(a.http);
        assert_non_null(strstr(err.text, bad[i]));
    }
    app_end(&a);
}

/* ---- the end ---- */

static void drain(void **state)
{
    (void)state;
    struct reply r = {.n = 0};
    struct app a;
    app_init(&a);
    app_start(&a);
    int fd = http_connect(&a);
    const char *get = "GET /hello HTTP/1.1\r\n" HOST "\r\n", *wait = "GET /later HTTP/1.1\r\n" HOST "\r\n";
    http_put(&a, fd, get, strlen(get));
    http_get(&a, fd, &r, 1, false);
    must_not_say(&r, "Connection: close");
    reply_free(&r);
    http_put(&a, fd, wait, strlen(wait));
    HTTP_WAIT(&a, a.n_pending == 1);
    tl_http_drain(a.http);
    tl_http_drain(a.http);
    app_echo(pending(&a));
    http_get(&a, fd, &r, 0, false);
    must_say(&r, "Connection: close\r\n");
    must_say(&r, "GET /later ");
    reply_free(&r);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)a.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), -1);
    close(fd);
    app_end(&a);
}

/* Closed while a connection is in each of its states; also by the handler itself. */
static void close_in_every_state(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "",
        "GET /hel",
        "POST /s HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nab",
        "POST /watched HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nab",
        "GET /later HTTP/1.1\r\n" HOST "\r\n",
        "GET /big?30000000 HTTP/1.1\r\n" HOST "\r\n",
        "GET /stream HTTP/1.1\r\n" HOST "\r\n",
        "GET /zip?3000000 HTTP/1.1\r\n" HOST "Accept-Encoding: gzip\r\n\r\n",
        "GARBAGE\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" HOST "\r\n",
        "GET /upgrade HTTP/1.1\r\n" HOST "\r\n",
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        for (unsigned turns = 1; turns < 8; turns += 2) {
            struct app a;
            app_init(&a);
            app_start(&a);
            a.answer_in_gone = true;
            int fd = http_connect(&a);
            http_put(&a, fd, requests[i], strlen(requests[i]));
            for (unsigned t = 0; t < turns; t++) uv_run(&a.loop, UV_RUN_NOWAIT);
            tl_http_drain(a.http);
            app_end(&a);
            assert_int_equal(a.n_pending, 0);
            if (a.upgrades > 0 && a.upgraded_fd >= 0) close(a.upgraded_fd);
            close(fd);
        }
    }
}

/* 200 clients at a time, some of which hang up. */
static void crowd(void **state)
{
    (void)state;
    enum { CLIENTS = 200 };
    static int fds[CLIENTS];
    struct tl_http_stats s;
    struct app a;
    app_init(&a);
    a.answer_in_gone = true;
    app_start(&a);
    const char *get = "GET /hello HTTP/1.1\r\n" HOST "\r\n";
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = http_connect(&a);
        http_put(&a, fds[i], get, i % 3 == 0 ? strlen(get) - 2 : strlen(get));
        if (i % 4 == 0) close(fds[i]), fds[i] = -1;
    }
    for (int i = 0; i < CLIENTS; i++) {
        if (fds[i] < 0 || i % 3 == 0) continue;
        struct reply r = {.n = 0};
        http_get(&a, fds[i], &r, 1, false);
        must_say(&r, "hello");
        reply_free(&r);
    }
    for (int i = 0; i < CLIENTS; i++)
        if (fds[i] >= 0) close(fds[i]);
    HTTP_WAIT(&a, (tl_http_stats(a.http, &s), s.connections == 0));
    assert_int_equal(s.accepted, CLIENTS);
    app_end(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later),          cmocka_unit_test(gone_while_waiting),
        cmocka_unit_test(gone_in_body),   cmocka_unit_test(stream_words),
        cmocka_unit_test(stream_backlog), cmocka_unit_test(stream_gone),
        cmocka_unit_test(upgrade),        cmocka_unit_test(upgrade_refused),
        cmocka_unit_test(listeners),      cmocka_unit_test(bad_addresses),
        cmocka_unit_test(drain),          cmocka_unit_test(close_in_every_state),
        cmocka_unit_test(crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
