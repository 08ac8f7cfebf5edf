/* SPDX-License-Identifier: Apache-2.0 */
/* Callbacks that call back into the server, and clients that do anything: pieces of requests in any order, cut
 * anywhere, hung up at any time. The server must end with nothing open and serve the next request. */
#include "../support.h"

#include "http_fixture.h"

#include "base/rng.h"
#include "base/util.h"

#define HOST "Host: a\r\n"

static void close_in_handler(void **state)
{
    (void)state;
    static const char *const requests[] = {"GET /hello HTTP/1.1\r\n" HOST "\r\n", "GET /later HTTP/1.1\r\n" HOST "\r\n",
                                           "GET /upgrade HTTP/1.1\r\n" HOST "\r\n",
                                           "GET /zip?100000 HTTP/1.1\r\n" HOST "Accept-Encoding: gzip\r\n\r\n"};
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct app a;
        app_init(&a);
        app_start(&a);
        a.close_in_handle = a.answer_in_gone = true;
        int fd = http_connect(&a);
        http_put(&a, fd, requests[i], strlen(requests[i]));
        HTTP_WAIT(&a, a.handled == 1);
        app_end(&a); /* which sees an empty loop */
        if (strstr(requests[i], "upgrade")) {
            assert_int_equal(a.upgrades, 1);
            assert_int_equal(a.upgraded_fd, -1);
        }
        close(fd);
    }
}

/* Closed from inside each of the other callbacks. */
static void close_in_callbacks(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "GET /later HTTP/1.1\r\n" HOST "\r\n", "GET /stream HTTP/1.1\r\n" HOST "\r\n",
        "GET /hello HTTP/1.1\r\n" HOST "\r\n", "GET /upgrade HTTP/1.1\r\n" HOST "\r\n",
        "POST /watched HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nab"};
    for (size_t i = 0; i < TL_COUNT(requests); i++) {
        struct app a;
        app_init(&a);
        a.options.request_ms = 100;
        app_start(&a);
        a.answer_in_gone = true;
        a.close_in_gone = i < 2 || i == 4;
        a.close_in_record = i == 2;
        a.close_in_upgrade = i == 3;
        int other = http_connect(&a), fd = http_connect(&a);
        http_put(&a, other, "GET /later HTTP/1.1\r\n" HOST "\r\n", 32);
        HTTP_WAIT(&a, a.n_pending == 1);
        http_put(&a, fd, requests[i], strlen(requests[i]));
        HTTP_WAIT(&a, a.begun == 2);
        if (i < 2) close(fd); /* 4: its body takes too long */
        HTTP_WAIT(&a, a.closed == 1);
        if (a.upgraded_fd >= 0) close(a.upgraded_fd);
        if (i >= 2) close(fd);
        close(other);
        assert_int_equal(a.n_pending, 0);
        app_end(&a);
    }
}

static void end_in_drained(void **state)
{
    (void)state;
    static const char block[8192];
    struct reply r = {.n = 0};
    struct app a;
    app_init(&a);
    app_start(&a);
    a.end_in_drained = true;
    int fd = http_connect(&a);
    http_put(&a, fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n", 33);
    HTTP_WAIT(&a, a.stream != NULL);
    while (tl_http_stream_write(a.stream, (struct tl_str){block, sizeof block}) == TL_OK) continue;
    http_get(&a, fd, &r, 1, false);
    assert_int_equal(a.drained, 1);
    assert_int_equal(a.gone, 0);
    assert_memory_equal(r.p + r.n - 7, "\r\n0\r\n\r\n", 7);
    close(fd);
    reply_free(&r);
    app_end(&a);
}

static void answers_from_a_handler(void **state)
{
    (void)state;
    enum { WAITING = 20 };
    int fds[WAITING];
    struct app a;
    app_init(&a);
    app_start(&a);
    for (int i = 0; i < WAITING; i++) {
        fds[i] = http_connect(&a);
        const char *two = "GET /later HTTP/1.1\r\n" HOST "\r\nGET /behind HTTP/1.1\r\n" HOST "\r\n";
        http_put(&a, fds[i], two, strlen(two));
    }
    HTTP_WAIT(&a, a.n_pending == WAITING);
    struct reply all = {.n = 0};
    exchange(&a, "GET /all HTTP/1.1\r\n" HOST "\r\n", &all, 1);
    reply_free(&all);
    for (int i = 0; i < WAITING; i++) {
        struct reply r = {.n = 0};
        http_get(&a, fds[i], &r, 2, false);
        must_say(&r, "GET /later ");
        must_say(&r, "GET /behind ");
        reply_free(&r);
        close(fds[i]);
    }
    app_end(&a);
}

/* ---- anything ---- */

static const char *const pieces[] = {
    "GET /hello HTTP/1.1\r\n" HOST "\r\n",
    "GET /later HTTP/1.1\r\n" HOST "\r\n",
    "GET /all HTTP/1.1\r\n" HOST "\r\n",
    "GET /zip?70000 HTTP/1.1\r\n" HOST "Accept-Encoding: gzip\r\n\r\n",
    "GET /big?300000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HEAD /hello HTTP/1.1\r\n" HOST "If-None-Match: *\r\n\r\n",
    "POST /small HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
    "POST /refused HTTP/1.1\r\n" HOST "Content-Length: 20\r\n\r\n",
    "PUT /s HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 40\r\n\r\n",
    "5\r\nabcde\r\n",
    "0\r\n\r\n",
    "0123456789012345678901234567890123456789",
    "GET /",
    " HTTP/1.1\r\n",
    "X: y\r\n",
    "\r\n",
    "GARBAGE",
    "\n",
};

struct stormer {
    int fd; /* -1: none */
    char text[2000];
    size_t n, at;
};

static void storm_begin(struct app *a, struct tl_rng *rng, struct stormer *s)
{
    s->fd = http_connect(a);
    s->n = s->at = 0;
    for (uint64_t k = 1 + tl_rng_below(rng, 6); k > 0; k--) {
        const char *piece = pieces[tl_rng_below(rng, TL_COUNT(pieces))];
        size_t n = strlen(piece);
        if (tl_rng_below(rng, 8) == 0) n = tl_rng_below(rng, n + 1);
        memcpy(s->text + s->n, piece, n);
        s->n += n;
    }
}

static void storm_step(struct app *a, struct tl_rng *rng, struct stormer *s)
{
    char sink[4096];
    if (s->fd < 0) {
        storm_begin(a, rng, s);
        return;
    }
    if (s->at < s->n) {
        size_t n = 1 + tl_rng_below(rng, s->n - s->at);
        (void)!send(s->fd, s->text + s->at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        s->at += n;
    }
    if (tl_rng_below(rng, 3) > 0) (void)!recv(s->fd, sink, sizeof sink, MSG_DONTWAIT);
    if (tl_rng_below(rng, s->at < s->n ? 40 : 6) > 0) return;
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    if (tl_rng_below(rng, 2)) setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(s->fd);
    s->fd = -1;
}

static void storm(void **state)
{
    (void)state;
    enum { STORMERS = 24, STEPS = 60000 };
    static struct stormer all[STORMERS];
    struct tl_http_stats s;
    struct tl_rng rng;
    struct app a;
    tl_rng_seed(&rng, 42);
    app_init(&a);
    a.answer_in_gone = true;
    a.options.request_ms = 50;
    a.options.idle_ms = 80;
    app_start(&a);
    for (int i = 0; i < STORMERS; i++) all[i].fd = -1;
    for (int i = 0; i < STEPS; i++) {
        storm_step(&a, &rng, &all[tl_rng_below(&rng, STORMERS)]);
        if (tl_rng_below(&rng, 3) == 0) uv_run(&a.loop, UV_RUN_NOWAIT);
    }
    for (int i = 0; i < STORMERS; i++)
        if (all[i].fd >= 0) close(all[i].fd);
    HTTP_WAIT(&a, (tl_http_stats(a.http, &s), s.connections == 0));
    HTTP_WAIT(&a, a.n_pending == 0);
    tl_http_stats(a.http, &s);
    assert_int_equal(s.requests_open, 0);
    assert_int_equal(s.requests, a.records);
    assert_true(s.requests > 1000 && s.by_class[2] > 100 && s.by_class[4] > 100);
    struct reply r = {.n = 0};
    exchange(&a, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 1);
    must_say(&r, "hello");
    reply_free(&r);
    app_end(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_in_handler),
        cmocka_unit_test(close_in_callbacks),
        cmocka_unit_test(end_in_drained),
        cmocka_unit_test(answers_from_a_handler),
        cmocka_unit_test(storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
