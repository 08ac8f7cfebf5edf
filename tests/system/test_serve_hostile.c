/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that mean no good, over HTTP and WebSocket, against the running server: each is answered as documented, and
 * the server goes on serving others. Who may not, may not. */
#include "support.h"

#include "run.h"
#include "serve.h"
#include "ws_client.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

enum { PER_ADDRESS = 60, REQUEST_MS = 700, SLOW = 30, TOPICS_MAX = 200, FRAGMENTS_MAX = 128, MESSAGE_MAX = 65536 };

static struct hostile {
    struct run r, guarded_r;
    struct server open, guarded; /* guarded: with tokens */
    struct ws bystander;         /* of open: it must never be harmed */
    char read[96], write[96], expired[96];
} h;

/* [own] the token that the command prints. */
static void make_token(const char *name, const char *scope, const char *expires, char out[96])
{
    run(&h.guarded_r, "token", "create", name, "--scope", scope, "--expires", expires, "--json");
    expect(&h.guarded_r, 0, "tl_", NULL);
    json_t *doc = json_loads(h.guarded_r.out, 0, NULL);
    snprintf(out, 96, "%s", text_at(doc, "token"));
    assert_true(strncmp(out, "tl_", 3) == 0);
    json_decref(doc);
}

static int setup(void **state)
{
    run_init(&h.r);
    h.r.extra_env[0] = "TIERLINE_STORE=a.db";
    h.r.extra_env[1] = "TIERLINE_SERVER_PER_ADDRESS=60";
    h.r.extra_env[2] = "TIERLINE_SERVER_REQUEST_MS=700ms";
    h.r.extra_env[3] = "TIERLINE_SERVER_CORS=https://app.example.org";
    server_start(&h.open, &h.r);
    ws_open(&h.bystander, &h.open);
    json_decref(ws_until(&h.bystander, "op", "hello"));
    run_init(&h.guarded_r);
    h.guarded_r.extra_env[0] = "TIERLINE_STORE=a.db";
    make_token("reader", "read", "never", h.read);
    make_token("writer", "write", "never", h.write);
    make_token("gone", "read", "1s", h.expired);
    server_start(&h.guarded, &h.guarded_r);
    *state = &h;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ws_done(&h.bystander);
    server_end(&h.open);
    server_end(&h.guarded);
    run_release(&h.r);
    run_release(&h.guarded_r);
    return 0;
}

/* Others are served. */
static void it_goes_on(const char *after)
{
    uint64_t began = now_ms();
    assert_int_equal(ask_status(&h.open, "GET", "/livez", NULL), 200);
    assert_true(ws_send(&h.bystander, "{\"op\":\"ping\"}"));
    json_decref(ws_until(&h.bystander, "op", "pong"));
    if (now_ms() - began > 2000) fail_msg("after %s others wait: %d ms", after, (int)(now_ms() - began));
}

/* ---- HTTP ---- */

/* The answer to these bytes; the connection is closed behind it. */
static int status_of(const char *text, size_t n)
{
    size_t got;
    bool closed;
    int fd = server_connect(&h.open);
    assert_true(fd >= 0);
    (void)send_all(fd, text, n); /* it may be refused before all of it is sent */
    char *all = receive_all(fd, 5000, &got, &closed);
    close(fd);
    int status = strncmp(all, "HTTP/1.1 ", 9) == 0 ? atoi(all + 9) : 0;
    if (!closed) fail_msg("the connection stays open behind %d: %.80s", status, text);
    if (status >= 400) assert_non_null(strstr(all, "application/problem+json"));
    free(all);
    return status;
}

static void bad_requests(void **state)
{
#define HOST "Host: 127.0.0.1\r\nConnection: close\r\n"
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        {"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
        {"GET /livez HTTP/1.1\r\n\r\n", 400}, /* no Host */
        {"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        {"GET /livez\r\n\r\n", 400},
        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n", 400},
        {"BREW /livez HTTP/1.1\r\n" HOST "\r\n", 501},
        {"DELETE /livez HTTP/1.1\r\n" HOST "\r\n", 405},
        {"GET /nothing HTTP/1.1\r\n" HOST "\r\n", 404},
        {"GET /../../etc/passwd HTTP/1.1\r\n" HOST "\r\n", 404},
        {"GET /api/v1/bars/%00 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /api/v1/bars/%ff%fe HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /api/v1/symbols?limit=99999999999999999999 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /api/v1/symbols?nothing=1 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"POST /api/v1/jobs HTTP/1.1\r\n" HOST "Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n",
         413},
        {"POST /api/v1/jobs HTTP/1.1\r\n" HOST "Content-Type: application/json\r\nContent-Length: 2000000\r\n\r\n",
         413},
        {"POST /api/v1/jobs HTTP/1.1\r\n" HOST "Content-Type: application/json\r\nContent-Length: -1\r\n\r\n", 400},
        {"POST /api/v1/jobs HTTP/1.1\r\n" HOST "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"POST /api/v1/jobs HTTP/1.1\r\n" HOST
         "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
         400},
        {"POST /api/v1/jobs HTTP/1.1\r\n" HOST "Content-Type: text/html\r\nContent-Length: 2\r\n\r\n{}", 415},
        {"POST /api/v1/tasks/a/events HTTP/1.1\r\n" HOST
         "Content-Type: application/json\r\nContent-Length: 5\r\n\r\n[[[[[",
         400},
        {"GET /ws HTTP/1.1\r\n" HOST "\r\n", 426},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        int status = status_of(rows[i].text, strlen(rows[i].text));
        if (status != rows[i].status) fail_msg("%d, expected %d: %s", status, rows[i].status, rows[i].text);
    }
    it_goes_on("bad requests");
}

/* What a job is asked with is read to the letter: nothing that is wrong makes it one of everything. */
static void bad_jobs(void **state)
{
    static const char *const rows[] = {"[]",
                                       "7",
                                       "{",
                                       "{\"symbols\":7}",
                                       "{\"symbols\":[]}",
                                       "{\"symbols\":[7]}",
                                       "{\"symbols\":\"no symbol\"}",
                                       "{\"specs\":[\"SMA(0)\"]}",
                                       "{\"freq\":5}",
                                       "{\"freq\":\"2d\"}",
                                       "{\"name\":5}",
                                       "{\"recompute\":\"yes\"}",
                                       "{\"date\":\"yesterday\"}",
                                       "{\"nothing\":1}",
                                       "{\"set\":\"none such\"}"};
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        int status = ask_status(&h.open, "POST", "/api/v1/jobs", rows[i]);
        if (status != 400 && status != 404) fail_msg("%d: %s", status, rows[i]);
    }
    json_t *jobs = ask_json(&h.open, "GET", "/api/v1/jobs", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(jobs, "jobs")), 0);
    json_decref(jobs);
    it_goes_on("bad jobs");
}

/* A request with a field, or a target, of so many bytes. */
static int status_of_long(size_t target, size_t field, size_t fields)
{
    struct {
        char *text;
        size_t n;
    } b = {calloc(1, target + (field + 16) * fields + 256), 0};
    assert_non_null(b.text);
    b.n += (size_t)sprintf(b.text, "GET /livez?");
    memset(b.text + b.n, 'a', target);
    b.n += target;
    b.n += (size_t)sprintf(b.text + b.n, " HTTP/1.1\r\n" HOST);
    for (size_t i = 0; i < fields; i++) {
        b.n += (size_t)sprintf(b.text + b.n, "X-%zu: ", i);
        memset(b.text + b.n, 'b', field);
        b.n += field;
        b.n += (size_t)sprintf(b.text + b.n, "\r\n");
    }
    b.n += (size_t)sprintf(b.text + b.n, "\r\n");
    int status = status_of(b.text, b.n);
    free(b.text);
    return status;
}

static void too_large(void **state)
{
    (void)state;
    assert_int_equal(status_of_long(20000, 0, 0), 414);
    assert_int_equal(status_of_long(1, 20000, 1), 431);
    assert_int_equal(status_of_long(1, 1000000, 1), 431);
    assert_int_equal(status_of_long(1, 10, 200), 431);
    /* A body that says nothing of its length goes on for ever. */
    static char piece[6 + 4096 + 2];
    int fd = server_connect(&h.open);
    static const char head[] =
        "POST /api/v1/jobs HTTP/1.1\r\n" HOST "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    size_t sent = 0, got;
    bool closed;
    memset(piece, ' ', sizeof piece);
    memcpy(piece, "1000\r\n", 6);
    memcpy(piece + sizeof piece - 2, "\r\n", 2);
    assert_true(send_all(fd, head, strlen(head)));
    while (sent < 4 << 20 && send_all(fd, piece, sizeof piece)) sent += 4096;
    char *all = receive_all(fd, 5000, &got, &closed);
    close(fd);
    assert_true(closed);
    if (got) assert_true(strncmp(all, "HTTP/1.1 413", 12) == 0); /* or the reset came first */
    free(all);
    it_goes_on("what is too large");
}

/* Many who send a byte now and then. */
static void slowloris(void **state)
{
    static const char head[] = "GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const char post[] = "POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                               "Content-Length: 1000\r\n\r\n";
    int fds[SLOW];
    size_t refused = 0;
    (void)state;
    for (int i = 0; i < SLOW; i++) {
        fds[i] = server_connect(&h.open);
        assert_true(fds[i] >= 0);
        if (i % 2) assert_true(send_all(fds[i], post, strlen(post)));
    }
    uint64_t began = now_ms();
    for (size_t at = 0; now_ms() - began < 2 * REQUEST_MS; at++, sleep_ms(40)) {
        for (int i = 0; i < SLOW; i++) (void)send_all(fds[i], i % 2 ? " " : head + at % (sizeof head - 1), 1);
        if (at % 8 == 0) it_goes_on("slow clients");
    }
    for (int i = 0; i < SLOW; i++) {
        size_t n;
        bool closed;
        char *all = receive_all(fds[i], 1000, &n, &closed);
        if (!closed) fail_msg("slow client %d is still let be", i);
        refused += n >= 12 && strncmp(all, "HTTP/1.1 408", 12) == 0;
        free(all);
        close(fds[i]);
    }
    print_message("%zu of %d slow clients were told 408, the others cut\n", refused, SLOW);
    assert_true(refused > 0);
    it_goes_on("slow clients");
}

static void too_many_of_one_address(void **state)
{
    struct ws w[PER_ADDRESS + 20];
    size_t in = 0, out = 0;
    (void)state;
    sleep_ms(100); /* what was closed before is gone */
    double before = metric(&h.open, "tierline_http_refused_total");
    for (size_t i = 0; i < COUNT(w); i++) {
        ws_open_with(&w[i], &h.open, "/ws", "");
        in += w[i].status == 101;
        out += w[i].status == 503 || w[i].status == 0;
    }
    assert_true(in >= PER_ADDRESS - 5 && in < PER_ADDRESS); /* the bystander is one */
    assert_int_equal(in + out, COUNT(w));
    assert_true(ws_send(&h.bystander, "{\"op\":\"ping\"}"));
    json_decref(ws_until(&h.bystander, "op", "pong"));
    for (size_t i = 0; i < COUNT(w); i++) ws_free(&w[i]);
    for (int i = 0; ask_status(&h.open, "GET", "/livez", NULL) != 200; i++, sleep_ms(10)) assert_true(i < 300);
    assert_true(metric(&h.open, "tierline_http_refused_total") - before >= (double)out);
    it_goes_on("too many connections");
}

/* ---- WebSocket ---- */

/* These frames, and the code that the server closes with. */
static void closes_with(unsigned code, const void *bytes, size_t n, const char *what)
{
    struct ws w;
    ws_open(&w, &h.open);
    (void)send_all(w.fd, bytes, n);
    if (!ws_ends(&w, 8000)) fail_msg("%s: the socket stays open", what);
    if (w.close_code != code) fail_msg("%s: %u, expected %u", what, w.close_code, code);
    ws_free(&w);
}
#define CLOSES(code, what, bytes) closes_with(code, bytes, sizeof bytes - 1, what)

static void bad_frames(void **state)
{
    (void)state;
    double before = metric(&h.open, "tierline_ws_protocol_errors_total");
    CLOSES(1002, "a frame without a mask", "\x81\x02{}");
    CLOSES(1002, "a reserved bit", "\xc1\x80\x01\x02\x03\x04");
    CLOSES(1002, "a reserved opcode", "\x83\x80\x01\x02\x03\x04");
    CLOSES(1002, "a ping in pieces", "\x09\x80\x01\x02\x03\x04");
    CLOSES(1002, "a continuation of nothing", "\x80\x80\x01\x02\x03\x04");
    CLOSES(1002, "a message in a message", "\x01\x80\x01\x02\x03\x04\x01\x80\x01\x02\x03\x04");
    CLOSES(1002, "a close of one byte", "\x88\x81\x00\x00\x00\x00\x03");
    CLOSES(1002, "a close with 1005", "\x88\x82\x00\x00\x00\x00\x03\xed");
    CLOSES(1007, "invalid UTF-8", "\x81\x82\x00\x00\x00\x00\xc3\x28");
    CLOSES(1007, "a surrogate", "\x81\x83\x00\x00\x00\x00\xed\xa0\x80");
    CLOSES(1007, "half a character at the end", "\x81\x81\x00\x00\x00\x00\xe2");
    CLOSES(1003, "binary", "\x82\x81\x00\x00\x00\x00x");
    CLOSES(1009, "a frame of 2^40 bytes", "\x81\xff\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00x");
    CLOSES(1002, "a length with its highest bit", "\x81\xff\x80\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00");
    double errors = metric(&h.open, "tierline_ws_protocol_errors_total") - before;
    assert_int_equal((int)errors, 13); /* binary is well-formed */
    it_goes_on("bad frames");
}

static void too_much_of_a_message(void **state)
{
    struct ws w;
    char *large = calloc(1, MESSAGE_MAX + 1);
    (void)state;
    assert_non_null(large);
    memset(large, ' ', MESSAGE_MAX);
    memcpy(large, "{\"op\":\"ping\"}", 13);
    ws_open(&w, &h.open);
    assert_true(ws_send_frame(&w, WS_FIN | WS_TEXT, large, MESSAGE_MAX)); /* just so */
    json_decref(ws_until(&w, "op", "pong"));
    (void)ws_send_frame(&w, WS_TEXT, large, MESSAGE_MAX);
    (void)ws_send_frame(&w, WS_FIN, " ", 1);
    assert_true(ws_ends(&w, 8000));
    assert_int_equal(w.close_code, 1009);
    ws_done(&w);
    ws_open(&w, &h.open);
    for (int i = 0; i <= FRAGMENTS_MAX; i++) (void)ws_send_frame(&w, i ? 0 : WS_TEXT, " ", 1);
    assert_true(ws_ends(&w, 8000));
    assert_int_equal(w.close_code, 1008);
    ws_done(&w);
    ws_open(&w, &h.open);
    for (int i = 0; i < 1000; i++) (void)ws_send_frame(&w, WS_FIN | WS_PING, "x", 1);
    assert_true(ws_ends(&w, 8000));
    assert_int_equal(w.close_code, 1008);
    ws_done(&w);
    free(large);
    it_goes_on("too much of a message");
}

/* The code of the error that this message is answered with. */
static void is_answered(struct ws *w, const char *text, const char *code)
{
    assert_true(ws_send(w, text));
    json_t *doc = ws_until(w, "op", "error");
    if (strcmp(text_at(doc, "code"), code) != 0)
        fail_msg("%s: %s (%s), expected %s", text, text_at(doc, "code"), text_at(doc, "detail"), code);
    json_decref(doc);
}

static void bad_documents(void **state)
{
    static char deep[8192], many[4096];
    struct ws w;
    (void)state;
    ws_open(&w, &h.open);
    is_answered(&w, "no JSON", "PARSE");
    is_answered(&w, "[1]", "PARSE");
    is_answered(&w, "{\"op\":\"ping\",\"op\":\"ping\"}", "PARSE");
    is_answered(&w, "{}", "INVALID");
    is_answered(&w, "{\"op\":7}", "INVALID");
    is_answered(&w, "{\"op\":\"shutdown\"}", "INVALID");
    is_answered(&w, "{\"op\":\"subscribe\"}", "INVALID");
    is_answered(&w, "{\"op\":\"subscribe\",\"topics\":[7]}", "INVALID");
    is_answered(&w, "{\"op\":\"subscribe\",\"topics\":[\"nothing\"]}", "INVALID");
    is_answered(&w, "{\"op\":\"subscribe\",\"topics\":[\"task/a b\"]}", "INVALID");
    is_answered(&w, "{\"op\":\"subscribe\",\"topics\":[\"task/a\"],\"since\":\"x\"}", "INVALID");
    is_answered(&w, "{\"op\":\"subscribe\",\"topics\":[\"task/a\"],\"mode\":\"x\"}", "INVALID");
    is_answered(&w, "{\"op\":\"unsubscribe\",\"topics\":[\"task/never\"]}", "NOT_FOUND");
    is_answered(&w, "{\"op\":\"history\"}", "INVALID");
    is_answered(&w, "{\"op\":\"cancel\",\"task\":\"never\"}", "NOT_FOUND");
    is_answered(&w, "{\"op\":\"auth\",\"token\":\"tl_wrong\"}", "UNAUTHENTICATED"); /* it stays who it was */
    memset(deep, '[', sizeof deep - 1);
    is_answered(&w, deep, "PARSE");
    for (int i = 0; i < 101; i++) strcat(many, "{\"op\":\"ping\"}\n");
    is_answered(&w, many, "TOO_LARGE");
    assert_true(ws_send(&w, "{\"op\":\"ping\",\"id\":\"alive\"}"));
    json_t *pong = ws_until(&w, "id", "alive");
    assert_string_equal(text_at(pong, "op"), "pong");
    json_decref(pong);
    ws_done(&w);
    it_goes_on("bad documents");
}

static void topics_over_the_limit(void **state)
{
    struct ws w;
    char text[100];
    bool over;
    (void)state;
    ws_open(&w, &h.open);
    for (int i = 0; i < TOPICS_MAX; i++) {
        snprintf(text, sizeof text, "{\"op\":\"subscribe\",\"topics\":[\"task/t%d\"]}", i);
        assert_true(ws_send(&w, text));
    }
    is_answered(&w, "{\"op\":\"subscribe\",\"topics\":[\"task/over\"]}", "FULL");
    assert_true(ws_send(&w, "{\"op\":\"unsubscribe\",\"topics\":[\"task/t7\"]}"));
    json_decref(ws_until(&w, "op", "unsubscribed"));
    assert_true(ws_send(&w, "{\"op\":\"subscribe\",\"topics\":[\"task/over\"]}"));
    json_t *doc;
    do { /* of the others there are some yet */
        doc = ws_until(&w, "op", "snapshot");
        over = strcmp(text_at(doc, "topic"), "task/over") == 0;
        json_decref(doc);
    } while (!over);
    ws_done(&w);
    it_goes_on("topics over the limit");
}

static int handshake(const struct server *s, const char *target, const char *headers)
{
    struct ws w;
    ws_open_with(&w, s, target, headers);
    int status = w.status;
    ws_free(&w);
    return status;
}

static void origins(void **state)
{
    char own[80];
    (void)state;
    assert_int_equal(handshake(&h.open, "/ws", "Origin: https://evil.example\r\n"), 403);
    assert_int_equal(handshake(&h.open, "/ws", "Origin: null\r\n"), 403);
    assert_int_equal(handshake(&h.open, "/ws", "Origin: https://app.example.org.evil.example\r\n"), 403);
    assert_int_equal(handshake(&h.open, "/ws", "Origin: https://app.example.org\r\n"), 101);
    snprintf(own, sizeof own, "Origin: http://127.0.0.1:%d\r\n", h.open.port);
    assert_int_equal(handshake(&h.open, "/ws", own), 101);
    static const char foreign[] = "Origin: https://evil.example\r\nContent-Type: application/json\r\n";
    struct reply a = ask_full(&h.open, "POST", "/api/v1/locks/x", foreign, NULL, 0);
    assert_int_equal(a.status, 403);
    reply_release(&a);
    it_goes_on("foreign pages");
}

/* ---- who may ---- */

/* token: NULL: none. */
static int as(const char *token, const char *method, const char *target)
{
    char headers[200] = "Content-Type: application/json\r\n";
    if (token)
        snprintf(headers, sizeof headers, "Content-Type: application/json\r\nAuthorization: Bearer %s\r\n", token);
    struct reply a = ask_full(&h.guarded, method, target, headers, "{}", strcmp(method, "GET") == 0 ? 0 : 2);
    int status = a.status;
    if (status == 401) assert_non_null(strcasestr(a.all, "WWW-Authenticate: Bearer"));
    reply_release(&a);
    return status;
}

static void tokens_and_scopes(void **state)
{
    char target[200];
    (void)state;
    assert_int_equal(as(NULL, "GET", "/livez"), 200);
    assert_int_equal(as(NULL, "GET", "/api/v1/symbols"), 401);
    assert_int_equal(as(NULL, "GET", "/metrics"), 401);
    assert_int_equal(as("tl_wrong", "GET", "/api/v1/symbols"), 401);
    assert_int_equal(as("tl_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "GET", "/api/v1/symbols"), 401);
    assert_int_equal(as(h.read, "GET", "/api/v1/symbols"), 200);
    assert_int_equal(as(h.read, "POST", "/api/v1/locks/x"), 403);
    assert_int_equal(as(h.read, "POST", "/api/v1/jobs"), 403);
    assert_int_equal(as(h.read, "DELETE", "/api/v1/cache/fund_flow/600519.SH"), 403);
    assert_int_equal(as(h.read, "GET", "/api/v1/config"), 403);
    assert_int_equal(as(h.write, "GET", "/api/v1/config"), 403);
    assert_int_equal(as(h.write, "POST", "/api/v1/locks/x"), 200);
    snprintf(target, sizeof target, "/api/v1/symbols?token=%s", h.read); /* never in a URL */
    assert_int_equal(as(NULL, "GET", target), 401);
    for (int i = 0; as(h.expired, "GET", "/api/v1/symbols") != 401; i++, sleep_ms(50)) assert_true(i < 60);
    /* Revoked while it runs: refused within a second or two. */
    char token[96] = "";
    make_token("passing", "read", "never", token);
    for (int i = 0; as(token, "GET", "/api/v1/symbols") != 200; i++, sleep_ms(50)) assert_true(i < 60);
    run(&h.guarded_r, "token", "revoke", "passing");
    expect(&h.guarded_r, 0, NULL, NULL);
    for (int i = 0; as(token, "GET", "/api/v1/symbols") != 401; i++, sleep_ms(50)) assert_true(i < 60);
    char *log = server_log(&h.guarded);
    const char *const secrets[] = {h.read, h.write, h.expired, token};
    for (size_t i = 0; i < COUNT(secrets); i++) assert_null(strstr(log, secrets[i]));
    free(log);
}

static json_t *ticket_of(const char *token, char target[160])
{
    char headers[200];
    snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", token);
    struct reply a = ask_full(&h.guarded, "POST", "/api/v1/tickets", headers, NULL, 0);
    json_t *doc = json_loadb(a.body, a.body_n, 0, NULL);
    assert_int_equal(a.status, 201);
    snprintf(target, 160, "/ws?ticket=%s", text_at(doc, "ticket"));
    reply_release(&a);
    return doc;
}

static void sockets_and_tickets(void **state)
{
    char target[160], headers[200], text[200];
    struct ws w;
    (void)state;
    json_decref(ticket_of(h.read, target));
    ws_open_with(&w, &h.guarded, target, "Origin: https://evil.example\r\n"); /* refused before it is used up */
    assert_int_equal(w.status, 403);
    ws_free(&w);
    ws_open_with(&w, &h.guarded, target, "");
    assert_int_equal(w.status, 101);
    json_t *hello = ws_until(&w, "op", "hello");
    assert_string_equal(text_at(hello, "name"), "reader");
    assert_string_equal(text_at(hello, "scope"), "read");
    json_decref(hello);
    is_answered(&w, "{\"op\":\"cancel\",\"task\":\"x\"}", "DENIED");
    is_answered(&w, "{\"op\":\"retry\",\"task\":\"x\"}", "DENIED");
    assert_int_equal(handshake(&h.guarded, target, ""), 401); /* twice */
    assert_int_equal(handshake(&h.guarded, "/ws?ticket=made-up", ""), 401);
    snprintf(text, sizeof text, "{\"op\":\"auth\",\"token\":\"%s\"}", h.write); /* refreshed: it may more now */
    assert_true(ws_send(&w, text));
    json_decref(ws_until(&w, "op", "hello"));
    is_answered(&w, "{\"op\":\"cancel\",\"task\":\"x\"}", "NOT_FOUND");
    ws_done(&w);
    snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", h.read);
    assert_int_equal(handshake(&h.guarded, "/ws", headers), 101);
    assert_int_equal(handshake(&h.guarded, "/ws", "Authorization: Bearer tl_wrong\r\n"), 401);
    /* The first message says who it is; before it, nothing is told. */
    ws_open(&w, &h.guarded);
    is_answered(&w, "{\"op\":\"subscribe\",\"topics\":[\"tasks\"]}", "UNAUTHENTICATED");
    assert_true(ws_send(&w, "{\"op\":\"auth\",\"token\":\"tl_wrong\"}"));
    assert_true(ws_ends(&w, 8000));
    assert_int_equal(w.close_code, 4401);
    ws_done(&w);
}

/* A token that runs out takes its socket with it. */
static void a_token_runs_out(void **state)
{
    char token[96], headers[200];
    struct ws w;
    (void)state;
    make_token("brief", "read", "3s", token);
    snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", token);
    for (int i = 0;; i++, sleep_ms(50)) { /* the server looks at the file once a second */
        ws_open_with(&w, &h.guarded, "/ws", headers);
        if (w.status == 101) break;
        ws_free(&w);
        assert_true(i < 50);
    }
    json_decref(ws_until(&w, "op", "hello"));
    json_decref(ws_until(&w, "code", "UNAUTHENTICATED"));
    assert_true(ws_ends(&w, 8000));
    assert_int_equal(w.close_code, 4401);
    ws_done(&w);
}

/* One that is revoked takes its socket and its event stream with it, and nobody else's. */
static void a_token_is_revoked(void **state)
{
    char token[96], headers[200], text[300];
    struct ws w, other;
    (void)state;
    make_token("cut", "read", "never", token);
    for (int i = 0; as(token, "GET", "/api/v1/symbols") != 200; i++, sleep_ms(50)) assert_true(i < 60);
    snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", h.read);
    ws_open_with(&other, &h.guarded, "/ws", headers);
    snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", token);
    ws_open_with(&w, &h.guarded, "/ws", headers);
    assert_int_equal(w.status, 101);
    int stream = server_connect(&h.guarded);
    int n = snprintf(text, sizeof text, "GET /events?topic=tasks HTTP/1.1\r\nHost: localhost\r\n%s\r\n", headers);
    assert_true(send_all(stream, text, (size_t)n));
    json_decref(ws_until(&w, "op", "hello"));
    run(&h.guarded_r, "token", "revoke", "cut");
    expect(&h.guarded_r, 0, NULL, NULL);
    json_decref(ws_until(&w, "code", "UNAUTHENTICATED"));
    assert_true(ws_ends(&w, 8000));
    assert_int_equal(w.close_code, 4401);
    ws_done(&w);
    size_t got;
    bool closed = false;
    char *answer = receive_all(stream, 8000, &got, &closed);
    assert_non_null(strstr(answer, "event: snapshot"));
    assert_non_null(strstr(answer, "the token was revoked"));
    free(answer);
    close(stream);
    assert_true(ws_send(&other, "{\"op\":\"ping\",\"id\":\"alive\"}"));
    json_decref(ws_until(&other, "id", "alive"));
    ws_done(&other);
}

static void it_ends_well(void **state)
{
    (void)state;
    ws_done(&h.bystander);
    h.bystander.fd = -1;
    server_stop(&h.open);
    server_stop(&h.guarded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_requests),
        cmocka_unit_test(bad_jobs),
        cmocka_unit_test(too_large),
        cmocka_unit_test(slowloris),
        cmocka_unit_test(too_many_of_one_address),
        cmocka_unit_test(bad_frames),
        cmocka_unit_test(too_much_of_a_message),
        cmocka_unit_test(bad_documents),
        cmocka_unit_test(topics_over_the_limit),
        cmocka_unit_test(origins),
        cmocka_unit_test(tokens_and_scopes),
        cmocka_unit_test(sockets_and_tickets),
        cmocka_unit_test(a_token_runs_out),
        cmocka_unit_test(a_token_is_revoked),
        cmocka_unit_test(it_ends_well),
    };
    cmocka_set_test_filter(getenv("TEST_ONLY"));
    return cmocka_run_group_tests(tests, setup, teardown);
}
