/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server under test on a loop of its own, an application behind it whose paths do one thing each, and clients
 * over raw sockets in the same thread: whenever a client waits, the loop runs. Every wait has a deadline. Include
 * behind "support.h". */
#ifndef TL_TESTS_HTTP_FIXTURE_H
#define TL_TESTS_HTTP_FIXTURE_H

#include "base/err.h"
#include "http/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

enum { HTTP_WAIT_MS = 15000, PENDING_MAX = 64, REPLY_MAX = 48 << 20 };

struct app {
    uv_loop_t loop;
    uv_timer_t tick;
    struct tl_http *http;
    struct tl_http_options options;
    const char *listen[4];
    int port;
    char path[108]; /* of the unix socket, "" none */
    struct tl_http_body *hello;
    struct tl_http_request *pending[PENDING_MAX];
    size_t n_pending;
    struct tl_http_stream *stream;
    unsigned handled, begun, gone, drained, closed, upgrades, records;
    bool answer_in_gone, close_in_handle, close_in_gone, close_in_record, close_in_upgrade, end_in_drained;
    int upgraded_fd;
    char early[256], log[4096];
};

/* ---- the application ---- */

static inline void app_send(struct tl_http_request *r, const char *type, struct tl_http_body *body)
{
    struct tl_http_answer a = {.status = 200, .type = type, .body = body};
    tl_http_reply(r, &a);
}

static inline void app_closed(void *ctx)
{
    ((struct app *)ctx)->closed++;
}

static inline void app_gone(void *ctx)
{
    struct app *a = ctx;
    a->gone++;
    if (a->close_in_gone) tl_http_close(a->http, app_closed, a);
    if (!a->answer_in_gone) return;
    for (size_t i = 0; i < a->n_pending; i++) app_send(a->pending[i], "text/plain", NULL);
    a->n_pending = 0;
}

static inline void app_stream_gone(void *ctx)
{
    struct app *a = ctx;
    a->gone++;
    a->stream = NULL;
    if (a->close_in_gone) tl_http_close(a->http, app_closed, a);
}

static inline void app_drained(void *ctx)
{
    struct app *a = ctx;
    a->drained++;
    if (a->end_in_drained) tl_http_stream_end(a->stream);
}

static inline void app_upgraded(void *ctx, int fd, struct tl_str early)
{
    struct app *a = ctx;
    a->upgrades++;
    a->upgraded_fd = fd;
    snprintf(a->early, sizeof a->early, "%.*s", TL_STR_ARG(early));
    if (a->close_in_upgrade) tl_http_close(a->http, app_closed, a);
}

static inline void app_echo(struct tl_http_request *r)
{
    struct tl_buf b;
    struct tl_str p = tl_http_path(r), q = tl_http_query(r), body = tl_http_body(r), x = tl_http_header(r, "x-test");
    tl_buf_init(&b, 0);
    tl_buf_printf(&b, "%s %.*s ?%.*s [%.*s] ", tl_http_method_name(tl_http_method(r)), TL_STR_ARG(p), TL_STR_ARG(q),
                  TL_STR_ARG(x));
    tl_buf_put(&b, body.p, body.n);
    size_t n;
    char *text = tl_buf_take(&b, &n);
    app_send(r, "text/plain", tl_http_body_take(text, n));
}

/* n bytes that compress well, or not at all. */
static inline struct tl_http_body *app_bytes(size_t n, bool random)
{
    char *p = malloc(n);
    uint32_t x = 12345;
    if (!p) return NULL;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        p[i] = random ? (char)(x >> 24) : "0123456789abcdef"[i / 7 % 16];
    }
    return tl_http_body_take(p, n);
}

static inline void app_big(struct tl_http_request *r, bool compress, bool random)
{
    int64_t n = 0;
    assert_true(tl_str_to_i64(tl_http_query(r), &n));
    struct tl_http_answer a = {.status = 200,
                               .type = "text/plain",
                               .body = app_bytes((size_t)n, random),
                               .etag = "\"v1\"",
                               .compress = compress};
    tl_http_reply(r, &a);
}

/* Its gzip was made elsewhere: ten bytes. */
static inline void app_packed(struct tl_http_request *r)
{
    struct tl_http_body *body = app_bytes(5000, false), *gzip = tl_http_body_wrap("ready-made", 10, NULL, NULL);
    assert_true(body && gzip);
    tl_http_body_set_gzip(body, gzip);
    struct tl_http_answer a = {.status = 200, .type = "text/plain", .body = body, .etag = "\"v1\"", .compress = true};
    tl_http_reply(r, &a);
}

static inline void app_stream(struct app *a, struct tl_http_request *r, size_t queue_bytes)
{
    struct tl_http_header_row rows[] = {{"Cache-Control", "no-store"}};
    struct tl_http_answer answer = {.status = 200, .type = "text/event-stream", .headers = rows, .n_headers = 1};
    tl_http_on_gone(r, app_stream_gone, a);
    enum tl_status st = tl_http_stream(r, &answer, queue_bytes, &a->stream);
    if (st == TL_OK)
        tl_http_stream_on_drained(a->stream, app_drained, a);
    else
        tl_http_fail(r, st, NULL, NULL);
}

static inline void app_upgrade(struct app *a, struct tl_http_request *r)
{
    struct tl_http_header_row rows[] = {{"Sec-WebSocket-Accept", "abc"}};
    tl_http_upgrade(r, "websocket", rows, 1, app_upgraded, a);
}

static inline bool app_is(struct tl_http_request *r, const char *path)
{
    return tl_str_eq(tl_http_path(r), tl_str(path));
}

static inline void app_keep(struct app *a, struct tl_http_request *r)
{
    assert_true(a->n_pending < PENDING_MAX);
    a->pending[a->n_pending++] = r;
    tl_http_on_gone(r, app_gone, a);
}

static inline void app_handle(void *ctx, struct tl_http_request *r)
{
    struct app *a = ctx;
    struct tl_err err;
    a->handled++;
    if (a->close_in_handle) tl_http_close(a->http, app_closed, a);
    if (app_is(r, "/hello")) {
        struct tl_http_header_row rows[] = {{"Cache-Control", "no-cache"}, {"X-Split", "a\r\nSet-Cookie: b"}};
        struct tl_http_answer answer = {.status = 200,
                                        .type = "text/plain",
                                        .body = tl_http_body_ref(a->hello),
                                        .etag = "\"h1\"",
                                        .headers = rows,
                                        .n_headers = 2};
        tl_http_reply(r, &answer);
    } else if (app_is(r, "/later")) {
        app_keep(a, r);
    } else if (app_is(r, "/big") || app_is(r, "/zip") || app_is(r, "/noise")) {
        app_big(r, !app_is(r, "/big"), app_is(r, "/noise"));
    } else if (app_is(r, "/packed")) {
        app_packed(r);
    } else if (app_is(r, "/stream")) {
        app_stream(a, r, 64 * 1024);
    } else if (app_is(r, "/upgrade")) {
        app_upgrade(a, r);
    } else if (app_is(r, "/all")) { /* whoever waits, and itself last */
        while (a->n_pending > 0) app_echo(a->pending[--a->n_pending]);
        app_echo(r);
    } else if (app_is(r, "/none")) {
        struct tl_http_answer answer = {.status = 204};
        tl_http_reply(r, &answer);
    } else if (app_is(r, "/fail")) {
        (void)tl_fail(&err, TL_NOT_FOUND, "no symbol \"X\"");
        tl_http_fail(r, TL_NOT_FOUND, "symbol", &err);
    } else {
        app_echo(r);
    }
}

static inline size_t app_begin(void *ctx, struct tl_http_request *r)
{
    struct app *a = ctx;
    struct tl_http_header_row rows[] = {{"WWW-Authenticate", "Bearer"}};
    a->begun++;
    tl_http_set_user(r, "tester");
    if (app_is(r, "/refused")) tl_http_problem(r, 401, "DENIED", NULL, "who are you?", rows, 1);
    if (app_is(r, "/watched")) tl_http_on_gone(r, app_gone, a), a->pending[a->n_pending++] = r;
    return app_is(r, "/small") ? 10 : 0;
}

static inline void app_record(void *ctx, const struct tl_http_record *rec)
{
    struct app *a = ctx;
    size_t n = strlen(a->log);
    a->records++;
    if (a->close_in_record) tl_http_close(a->http, app_closed, a);
    snprintf(a->log + n, sizeof a->log - n, "%s %s %s %s %s %d\n", rec->peer, rec->user, rec->method, rec->target,
             rec->agent, rec->status);
}

static inline void app_tick(uv_timer_t *t)
{
    (void)t;
}

/* ---- life ---- */

static inline void app_init(struct app *a)
{
    *a = (struct app){.upgraded_fd = -2};
    assert_int_equal(uv_loop_init(&a->loop), 0);
    uv_timer_init(&a->loop, &a->tick);
    uv_timer_start(&a->tick, app_tick, 2, 2);
    a->hello = tl_http_body_copy("hello", 5);
    a->listen[0] = "127.0.0.1:0";
    a->options = (struct tl_http_options){.listen = a->listen,
                                          .n_listen = 1,
                                          .header_bytes = 4096,
                                          .body_bytes = 100000,
                                          .begin = app_begin,
                                          .handle = app_handle,
                                          .record = app_record,
                                          .ctx = a};
}

static inline void app_start(struct app *a)
{
    struct tl_err err = {.text = ""};
    if (a->options.n_listen == 0) a->options.n_listen = 1;
    if (tl_http_start(&a->loop, &a->options, &a->http, &err) != TL_OK) fail_msg("%s", err.text);
    const char *address = tl_http_address(a->http, 0);
    a->port = strrchr(address, ':') ? atoi(strrchr(address, ':') + 1) : 0;
}

static inline uint64_t http_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

#define HTTP_WAIT(a, condition)                                                                                        \
    do {                                                                                                               \
        uint64_t wait_until = http_now_ms() + HTTP_WAIT_MS;                                                            \
        while (!(condition) && http_now_ms() < wait_until) uv_run(&(a)->loop, UV_RUN_ONCE);                            \
        assert_true(condition);                                                                                        \
    } while (0)

static inline void app_run_ms(struct app *a, uint64_t ms)
{
    for (uint64_t until = http_now_ms() + ms; http_now_ms() < until;) uv_run(&a->loop, UV_RUN_ONCE);
}

/* The loop must be empty behind it. */
static inline void app_end(struct app *a)
{
    bool closing = a->close_in_handle || a->close_in_gone || a->close_in_record || a->close_in_upgrade;
    if (a->http && !closing) tl_http_close(a->http, app_closed, a);
    if (a->http) HTTP_WAIT(a, a->closed == 1);
    tl_http_body_unref(a->hello);
    uv_close((uv_handle_t *)&a->tick, NULL);
    uv_run(&a->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&a->loop), 0);
}

/* ---- clients ---- */

struct reply {
    char *p; /* [own] */
    size_t n, cap;
    bool closed; /* the server ended the connection */
};

static inline int http_connect(struct app *a)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)a->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
    return fd;
}

static inline void http_put(struct app *a, int fd, const char *p, size_t n)
{
    uint64_t until = http_now_ms() + HTTP_WAIT_MS;
    while (n > 0 && http_now_ms() < until) {
        ssize_t w = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (w < 0 && errno != EAGAIN) return; /* the server has refused: its answer says so */
        if (w > 0) p += w, n -= (size_t)w;
        uv_run(&a->loop, UV_RUN_NOWAIT);
    }
    assert_true(n == 0);
}

static inline void reply_free(struct reply *r)
{
    free(r->p);
    *r = (struct reply){.p = NULL};
}

/* Reads what is there. The bytes are followed by a NUL. */
static inline void http_take(int fd, struct reply *r)
{
    while (!r->closed) {
        if (r->cap - r->n < 2) {
            assert_true(r->n < REPLY_MAX);
            r->cap = r->cap ? 4 * r->cap : 16384;
            r->p = realloc(r->p, r->cap);
            assert_non_null(r->p);
        }
        ssize_t n = recv(fd, r->p + r->n, r->cap - r->n - 1, MSG_DONTWAIT);
        int why = errno;
        if (n > 0) r->n += (size_t)n;
        r->p[r->n] = '\0';
        if (n < 0 && (why == EAGAIN || why == EINTR)) return;
        r->closed = n <= 0;
    }
}

static inline char *http_find(char *p, size_t n, const char *text)
{
    return p && n > 0 ? memmem(p, n, text, strlen(text)) : NULL;
}

/* How many whole answers of known length have come; *at: where the last one ends. */
static inline unsigned http_count(const struct reply *r, bool head, size_t *at)
{
    unsigned n = 0;
    *at = 0;
    while (*at < r->n) {
        char *p = r->p + *at, *end = http_find(p, r->n - *at, "\r\n\r\n");
        if (!end) return n;
        *end = '\0';
        const char *length = strcasestr(p, "\r\nContent-Length: ");
        size_t body = length && !head ? (size_t)atoll(length + 18) : 0;
        bool chunked = strcasestr(p, "\r\nTransfer-Encoding: chunked") != NULL;
        *end = '\r';
        if (chunked) {
            char *last = http_find(end, r->n - (size_t)(end - r->p), "\r\n0\r\n\r\n");
            if (!last) return n;
            body = (size_t)(last + 7 - end) - 4;
        }
        if (r->n - (size_t)(end + 4 - r->p) < body) return n;
        *at = (size_t)(end + 4 - r->p) + body;
        if (strncmp(p, "HTTP/1.1 100", 12) != 0) n++;
    }
    return n;
}

/* Until `answers` of them came, or the server closed; answers 0: until it closes. */
static inline void http_get(struct app *a, int fd, struct reply *r, unsigned answers, bool head)
{
    size_t at;
    uint64_t until = http_now_ms() + HTTP_WAIT_MS;
    for (;;) {
        http_take(fd, r);
        if (r->closed || (answers && http_count(r, head, &at) >= answers)) return;
        if (http_now_ms() > until) fail_msg("no answer; so far: %.200s", r->p);
        uv_run(&a->loop, UV_RUN_ONCE);
    }
}

static inline void must_say(const struct reply *r, const char *text)
{
    if (http_find(r->p, r->n, text)) return;
    fail_msg("\"%s\" is not in: %.900s", text, r->p);
}

static inline void must_not_say(const struct reply *r, const char *text)
{
    if (!http_find(r->p, r->n, text)) return;
    fail_msg("\"%s\" is in: %.900s", text, r->p);
}

static inline void exchange(struct app *a, const char *request, struct reply *r, unsigned answers)
{
    int fd = http_connect(a);
    http_put(a, fd, request, strlen(request));
    http_get(a, fd, r, answers, false);
    close(fd);
}

#endif
