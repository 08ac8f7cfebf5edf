/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server with the n-th allocation failing, for every n: a request is answered or its connection ends, nothing
 * crashes, nothing hangs, no leak (under a sanitizer), and the next request is served. */
#include "support.h"

#include "protocol/http_fixture.h"

#include "alloc.h"

enum { ALLOCATIONS_MAX = 500 };

#define HOST "Host: a\r\n"

static const char *const requests[] = {
    "GET /hello HTTP/1.1\r\n" HOST "User-Agent: x\r\n\r\nGET /hello HTTP/1.1\r\n" HOST "\r\n",
    "GET /x?a=b HTTP/1.1\r\n" HOST "\r\n",
    "GARBAGE\r\n\r\n",
    "POST /s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /n HTTP/1.1\r\n" HOST
    "\r\n",
    "POST /s HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    "GET /zip?5000 HTTP/1.1\r\n" HOST "Accept-Encoding: gzip\r\n\r\n",
    "GET /zip?100000 HTTP/1.1\r\n" HOST "Accept-Encoding: gzip\r\n\r\n",
    "GET /big?7000000 HTTP/1.1\r\n" HOST "\r\n",
    "GET /fail HTTP/1.1\r\n" HOST "\r\n",
    "GET /later HTTP/1.1\r\n" HOST "\r\n",
    "GET /stream HTTP/1.1\r\n" HOST "\r\n",
    "GET /upgrade HTTP/1.1\r\n" HOST "\r\n",
};

static bool ended(struct app *a, int fd, struct reply *r)
{
    size_t at;
    http_take(fd, r);
    return r->closed || http_count(r, false, &at) > 0 || a->upgrades > 0;
}

static void use(struct app *a, const char *request, struct reply *r, long n, bool *failed)
{
    int fd = http_connect(a);
    fault_alloc_arm(n);
    http_put(a, fd, request, strlen(request));
    HTTP_WAIT(a, ended(a, fd, r) || a->n_pending > 0 || a->stream);
    if (a->n_pending > 0) app_echo(a->pending[--a->n_pending]);
    if (a->stream) {
        enum tl_status st = tl_http_stream_write(a->stream, TL_STR("data: x\n\n"));
        assert_true(st == TL_OK || st == TL_NOMEM);
        if (a->stream) tl_http_stream_end(a->stream);
        a->stream = NULL;
    }
    HTTP_WAIT(a, ended(a, fd, r));
    *failed = fault_alloc_disarm();
    close(fd);
    if (a->upgrades > 0 && a->upgraded_fd >= 0) close(a->upgraded_fd);
    a->upgrades = 0;
}

static void every_allocation(void **state)
{
    (void)state;
    struct reply r = {.p = calloc(1, 8 << 20), .cap = 8 << 20}; /* none is made while one is to fail */
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct tl_http_stats s;
        struct app a;
        bool failed = true;
        long n = 0;
        app_init(&a);
        app_start(&a);
        for (; failed; n++) {
            assert_true(n < ALLOCATIONS_MAX);
            memset(r.p, 0, r.n);
            r.n = 0, r.closed = false;
            use(&a, requests[i], &r, n, &failed);
            HTTP_WAIT(&a, (tl_http_stats(a.http, &s), s.connections == 0));
            assert_int_equal(s.requests_open, 0);
            assert_int_equal(s.streams, 0);
        }
        assert_true(n > 1); /* some did fail */
        r.n = 0, r.closed = false;
        exchange(&a, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 1);
        must_say(&r, "hello");
        app_end(&a);
    }
    reply_free(&r);
}

static void start(void **state)
{
    (void)state;
    bool failed = true;
    for (long n = 0; failed; n++) {
        struct tl_err err;
        struct app a;
        assert_true(n < ALLOCATIONS_MAX);
        app_init(&a);
        a.listen[1] = "unix:/tmp/tl-http-fault.s";
        a.options.n_listen = 2;
        fault_alloc_arm(n);
        enum tl_status st = tl_http_start(&a.loop, &a.options, &a.http, &err);
        failed = fault_alloc_disarm();
        assert_int_equal(st, failed ? TL_NOMEM : TL_OK);
        app_end(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation), cmocka_unit_test(start)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
