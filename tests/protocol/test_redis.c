/* SPDX-License-Identifier: Apache-2.0 */
/* The command connection against scripted peers: handshakes, replies in pieces, bytes that are no Redis, silence, and
 * connections that break at every point. Addresses and the reply reader alone are in tests/unit, real servers in
 * test_redis_server.c. */
#include "support.h"

#include "client.h"
#include "peer.h"

#define PING  "*1\r\n$4\r\nPING\r\n"
#define HELLO ACCEPT, EXPECT(PING), SEND("+PONG\r\n")
#define STEPS(...)                                                                                                     \
    ((const struct peer_step[]){__VA_ARGS__}),                                                                         \
        sizeof((const struct peer_step[]){__VA_ARGS__}) / sizeof(struct peer_step)
#define GET_A "*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
#define GET_B "*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"

static const struct tl_redis_script scripts[] = {{"one", "return 1"}};

static void open_both(struct peer *p, struct client *c, const struct peer_step *steps, size_t n)
{
    peer_start(p, steps, n);
    client_init(c, p->port);
}

static void begin(struct peer *p, struct client *c, const struct peer_step *steps, size_t n)
{
    open_both(p, c, steps, n);
    client_start(c);
    client_up(c);
}

static void finish(struct peer *p, struct client *c)
{
    client_end(c);
    peer_stop(p);
}

/* ---- handshakes ---- */

#define AUTH_U  "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$4\r\np@ss\r\n"
#define AUTH_P  "*2\r\n$4\r\nAUTH\r\n$4\r\np@ss\r\n"
#define DB_3    "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
#define NAME    "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$2\r\nme\r\n"
#define LOAD    "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$8\r\nreturn 1\r\n"
#define SHA     "$40\r\n0123456789012345678901234567890123456789\r\n"
#define EVALSHA "*3\r\n$7\r\nEVALSHA\r\n$40\r\n0123456789012345678901234567890123456789\r\n$1\r\n0\r\n"
#define EVAL    "*3\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n0\r\n"

/* What is sent, in which order, and that a command waits for all of it. */
static void handshakes(void **state)
{
    (void)state;
    static const struct {
        const char *user, *password, *name;
        uint32_t db;
        bool script;
        struct peer_step steps[9]; /* up to HANG */
    } rows[] = {
        {"", "", NULL, 0, false, {ACCEPT, EXPECT(PING), SEND_SPLIT("+PONG\r\n"), EXPECT(GET_A), SEND(":1\r\n"), HANG}},
        {"",
         "p@ss",
         NULL,
         0,
         false,
         {ACCEPT, EXPECT(AUTH_P PING), SEND("+OK\r\n+PONG\r\n"), EXPECT(GET_A), SEND(":1\r\n"), HANG}},
        {"u",
         "p@ss",
         "me",
         3,
         false,
         {ACCEPT, EXPECT(AUTH_U DB_3 NAME PING), SEND_SPLIT("+OK\r\n+OK\r\n+OK\r\n+PONG\r\n"), EXPECT(GET_A),
          SEND(":1\r\n"), HANG}},
        {"",
         "",
         NULL,
         3,
         true,
         {ACCEPT, EXPECT(DB_3 LOAD PING), SEND("+OK\r\n" SHA "+PONG\r\n"), EXPECT(EVALSHA), SEND(":1\r\n"), HANG}},
        {"",
         "",
         "me",
         0,
         true, /* neither a name nor a script is allowed */
         {ACCEPT, EXPECT(NAME LOAD PING), SEND("-NOPERM a\r\n-NOPERM b\r\n+PONG\r\n"), EXPECT(EVAL), SEND(":1\r\n"),
          HANG}},
        {"",
         "p@ss",
         NULL,
         0,
         true, /* NOSCRIPT: once more, as text */
         {ACCEPT, EXPECT(AUTH_P LOAD PING), SEND("+OK\r\n" SHA "+PONG\r\n"), EXPECT(EVALSHA),
          SEND_SPLIT("-NOSCRIPT no\r\n"), EXPECT(EVAL), SEND(":1\r\n"), HANG}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct peer p;
        struct client c;
        struct call a = {.ended = 0};
        size_t n = 1;
        while (rows[i].steps[n - 1].kind != PEER_HANG) n++;
        open_both(&p, &c, rows[i].steps, n);
        snprintf(c.options.address.user, sizeof c.options.address.user, "%s", rows[i].user);
        snprintf(c.options.address.password, sizeof c.options.address.password, "%s", rows[i].password);
        c.options.address.db = rows[i].db;
        c.options.client_name = rows[i].name;
        c.options.scripts = scripts;
        c.options.n_scripts = rows[i].script ? 1 : 0;
        client_start(&c);
        call_words(&a, &c, rows[i].script ? WORDS("0") : WORDS("GET", "a"));
        assert_int_equal(rows[i].script ? tl_redis_eval(c.redis, &a.cmd, 0, 5000, NULL)
                                        : tl_redis_submit(c.redis, &a.cmd, 5000, NULL),
                         TL_OK);
        call_wait(&a, TL_OK, "1");
        finish(&p, &c);
    }
}

/* Refused in the handshake: commands that waited end, a later try succeeds. */
static void refused_handshakes(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        enum tl_status status;
    } rows[] = {
        {"-WRONGPASS invalid username-password pair: p@ss\r\n+OK\r\n+PONG\r\n", TL_DENIED},
        {"-ERR AUTH <password> called without any password configured\r\n+OK\r\n+PONG\r\n", TL_IO},
        {"+OK\r\n-ERR DB index is out of range\r\n+PONG\r\n", TL_IO},
        {"+OK\r\n+OK\r\n-LOADING Redis is loading the dataset in memory\r\n", TL_IO},
        {"+OK\r\n+OK\r\n-NOAUTH Authentication required.\r\n", TL_DENIED},
        {"HTTP/1.1 400 Bad Request\r\n\r\n", TL_IO},
        {"*1000000000\r\n", TL_IO},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct peer p;
        struct client c;
        struct call a = {.ended = 0}, b = {.ended = 0};
        const struct peer_step steps[] = {
            ACCEPT,        EXPECT(AUTH_P DB_3 PING), {PEER_SEND, rows[i].reply, strlen(rows[i].reply)},
            ACCEPT,        EXPECT(AUTH_P DB_3 PING), SEND("+OK\r\n+OK\r\n+PONG\r\n"),
            EXPECT(GET_B), SEND("$-1\r\n"),          HANG};
        open_both(&p, &c, steps, sizeof steps / sizeof steps[0]);
        snprintf(c.options.address.password, sizeof c.options.address.password, "p@ss");
        c.options.address.db = 3;
        client_start(&c);
        CALL(&a, &c, 5000, "GET", "a");
        call_wait(&a, rows[i].status, NULL);
        assert_null(strstr(a.text, "p@ss"));
        assert_null(strstr(c.why, "p@ss"));
        assert_null(strstr(tl_redis_why(c.redis), "p@ss"));
        assert_int_equal(c.ups, 0);
        client_up(&c);
        CALL(&b, &c, 5000, "GET", "b");
        call_wait(&b, TL_OK, "nil");
        assert_int_equal(a.ended, 1);
        finish(&p, &c);
    }
}

/* ---- replies ---- */

static void replies_byte_by_byte(void **state)
{
    (void)state;
    static const struct {
        struct peer_step send;
        enum tl_status status;
        const char *text;
    } rows[] = {
        {SEND_SPLIT("$-1\r\n"), TL_OK, "nil"},
        {SEND_SPLIT("*-1\r\n"), TL_OK, "nil"},
        {SEND_SPLIT("+OK\r\n"), TL_OK, "+OK"},
        {SEND_SPLIT("-ERR no\r\n"), TL_INVALID, "ERR no"},
        {SEND_SPLIT("-WRONGTYPE no\r\n"), TL_CONFLICT, "WRONGTYPE no"},
        {SEND_SPLIT("-LOADING no\r\n"), TL_BUSY, "LOADING no"},
        {SEND_SPLIT(":-9223372036854775808\r\n"), TL_OK, "-9223372036854775808"},
        {SEND_SPLIT("$5\r\na\r\nbc\r\n"), TL_OK, "$a\r\nbc"},
        {SEND_SPLIT("$0\r\n\r\n"), TL_OK, "$"},
        {SEND_SPLIT("*0\r\n"), TL_OK, "[]"},
        {SEND_SPLIT("*3\r\n:1\r\n$-1\r\n$1\r\nx\r\n"), TL_OK, "[1 nil $x]"},
        {SEND_SPLIT("*2\r\n*2\r\n:1\r\n*0\r\n*2\r\n+a\r\n-b\r\n"), TL_OK, "[[1 []] [+a -b]]"},
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    struct peer_step steps[3 + 2 * ROWS + 1] = {HELLO};
    struct peer p;
    struct client c;
    for (size_t i = 0; i < ROWS; i++) {
        steps[3 + 2 * i] = (struct peer_step)EXPECT(GET_A);
        steps[4 + 2 * i] = rows[i].send;
    }
    steps[3 + 2 * ROWS] = (struct peer_step)HANG;
    begin(&p, &c, steps, sizeof steps / sizeof steps[0]);
    for (size_t i = 0; i < ROWS; i++) {
        struct call a = {.ended = 0};
        CALL(&a, &c, 5000, "GET", "a");
        call_wait(&a, rows[i].status, rows[i].text);
    }
    assert_int_equal(c.downs, 0);
    finish(&p, &c);
}

/* Whatever comes instead of a reply ends the connection, and with it every command, once; the next one is fine. */
static void broken_connections(void **state)
{
    (void)state;
    static const struct peer_step rows[] = {
        CLOSE,
        RESET,
        SEND("HTTP/1.1 400 Bad Request\r\n"),
        SEND("\x16\x03\x01\x02\r\n"),
        SEND("*1000000000\r\n"),
        SEND("*2147483648\r\n"),
        SEND("*99999999999999999999\r\n"),
        SEND("$99999999999999999999\r\n"),
        SEND("$-2\r\n"),
        SEND("$3\r\nabcd\r\n"),
        SEND(":12a\r\n"),
        SEND("$3\r\nab"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct peer p;
        struct client c;
        struct call a = {.ended = 0}, b = {.ended = 0}, d = {.ended = 0};
        const struct peer_step steps[] = {HELLO,         EXPECT(GET_A GET_B), rows[i], HELLO,
                                          EXPECT(GET_A), SEND(":2\r\n"),      HANG};
        begin(&p, &c, steps, sizeof steps / sizeof steps[0]);
        CALL(&a, &c, 5000, "GET", "a");
        CALL(&b, &c, 5000, "GET", "b");
        call_wait(&a, TL_IO, NULL);
        call_wait(&b, TL_IO, NULL);
        client_up(&c);
        CALL(&d, &c, 5000, "GET", "a");
        call_wait(&d, TL_OK, "2");
        assert_int_equal(a.ended + b.ended, 2);
        assert_int_equal(c.downs, 1);
        finish(&p, &c);
    }
}

/* 512 MB are announced and begin to come: they are not collected. */
static void huge_bulk(void **state)
{
    (void)state;
    struct peer p;
    struct client c;
    struct call a = {.ended = 0};
    struct tl_redis_stats stats;
    const struct peer_step steps[] = {HELLO, EXPECT(GET_A), SEND("$536870912\r\n"), FILL((size_t)512 << 20),
                                      HELLO, HANG};
    open_both(&p, &c, steps, sizeof steps / sizeof steps[0]);
    c.options.reply_bytes = 1 << 20;
    client_start(&c);
    client_up(&c);
    CALL(&a, &c, 10000, "GET", "a");
    call_wait(&a, TL_IO, NULL);
    assert_non_null(strstr(a.text, "larger than"));
    tl_redis_stats(c.redis, &stats);
    assert_true(stats.bytes_in < 3 << 20);
    client_up(&c);
    finish(&p, &c);
}

/* ---- silence ---- */

static void refused(void **state)
{
    (void)state;
    struct peer p;
    struct client c;
    struct call a = {.ended = 0}, b = {.ended = 0};
    peer_start(&p, STEPS(HANG));
    peer_stop(&p);
    client_init(&c, p.port);
    c.options.backoff_min_ms = c.options.backoff_max_ms = 500;
    client_start(&c);
    CALL(&a, &c, 5000, "GET", "a");
    call_wait(&a, TL_IO, NULL);
    assert_int_equal(call_try(&b, &c, 5000, WORDS("GET", "b")), TL_IO);
    assert_true(tl_redis_why(c.redis)[0] != '\0');
    client_end(&c);
    assert_int_equal(b.ended, 0);
}

static void deadlines_hold(void **state)
{
    (void)state;
    struct peer p;
    struct client c;
    struct call a = {.ended = 0}, b = {.ended = 0};
    /* Accepts and never answers the handshake; then answers that alone. */
    open_both(&p, &c, STEPS(ACCEPT, EXPECT(PING), HANG, HELLO, EXPECT(GET_A GET_B), HANG, HELLO, HANG));
    c.options.connect_ms = 400;
    c.options.silent_ms = 600;
    client_start(&c);
    uint64_t start = client_now_ms();
    CALL(&a, &c, 100, "GET", "a");
    call_wait(&a, TL_TIMEOUT, NULL);
    assert_in_range(client_now_ms() - start, 99, 350);
    client_up(&c);
    assert_in_range(client_now_ms() - start, 399, 2000);
    start = client_now_ms();
    CALL(&a, &c, 100, "GET", "a");
    CALL(&b, &c, 5000, "GET", "b");
    call_wait(&a, TL_TIMEOUT, NULL);
    assert_in_range(client_now_ms() - start, 99, 500);
    call_wait(&b, TL_IO, NULL); /* silent for too long */
    assert_in_range(client_now_ms() - start, 599, 2000);
    client_up(&c);
    finish(&p, &c);
}

static void late_reply_is_swallowed(void **state)
{
    (void)state;
    struct peer p;
    struct client c;
    struct call a = {.ended = 0}, b = {.ended = 0};
    begin(&p, &c, STEPS(HELLO, EXPECT(GET_A GET_B), SEND_SPLIT("$4\r\nlate\r\n$1\r\nb\r\n"), HANG));
    CALL(&a, &c, 50, "GET", "a");
    call_wait(&a, TL_TIMEOUT, NULL);
    CALL(&b, &c, 5000, "GET", "b");
    call_wait(&b, TL_OK, "$b");
    assert_int_equal(a.ended, 1);
    assert_int_equal(c.downs, 0);
    finish(&p, &c);
}

/* ---- ending from outside ---- */

static void cancelled(void **state)
{
    (void)state;
    struct peer p;
    struct client c;
    struct call a = {.ended = 0}, b = {.ended = 0}, d = {.ended = 0};
    open_both(&p, &c, STEPS(HELLO, EXPECT(GET_B), SEND(":1\r\n"), EXPECT(GET_A GET_B), SEND(":2\r\n:3\r\n"), HANG));
    client_start(&c);
    CALL(&a, &c, 5000, "GET", "a"); /* never sent */
    CALL(&b, &c, 5000, "GET", "b");
    tl_redis_cancel(&a.cmd);
    tl_redis_cancel(&a.cmd);
    assert_int_equal(a.ended, 0); /* from the loop alone */
    call_wait(&a, TL_CANCELLED, NULL);
    call_wait(&b, TL_OK, "1");
    tl_redis_cancel(&b.cmd);        /* has ended */
    CALL(&a, &c, 5000, "GET", "a"); /* sent: its answer is swallowed */
    uv_run(&c.loop, UV_RUN_NOWAIT);
    tl_redis_cancel(&a.cmd);
    CALL(&d, &c, 5000, "GET", "b");
    call_wait(&a, TL_CANCELLED, NULL);
    call_wait(&d, TL_OK, "3");
    assert_int_equal(a.ended + b.ended + d.ended, 3);
    finish(&p, &c);
}

static void then_cancel_other(struct call *c)
{
    tl_redis_cancel(&c->other->cmd);
}

static void then_submit(struct call *c)
{
    CALL(c->other, c->client, 5000, "GET", "b");
}

static void then_close(struct call *c)
{
    tl_redis_close(c->client->redis, client_closed, c->client);
    tl_redis_close(c->client->redis, client_closed, c->client);
    assert_int_equal(c->client->closed, 0);
    assert_int_equal(call_try(c->other, c->client, 5000, WORDS("GET", "b")), TL_CANCELLED);
}

static void callbacks_may_do_all(void **state)
{
    (void)state;
    struct peer p;
    struct client c;
    struct call a = {.then = then_submit}, b = {.ended = 0}, d = {.ended = 0}, e = {.ended = 0};
    begin(&p, &c,
          STEPS(HELLO, EXPECT(GET_A), SEND(":1\r\n"), EXPECT(GET_B), SEND(":2\r\n"), EXPECT(GET_A GET_B),
                SEND(":3\r\n:4\r\n"), EXPECT(GET_A GET_B), SEND(":5\r\n:6\r\n"), HANG));
    a.other = &b;
    CALL(&a, &c, 5000, "GET", "a");
    call_wait(&a, TL_OK, "1");
    call_wait(&b, TL_OK, "2");
    a.then = then_cancel_other;
    CALL(&a, &c, 5000, "GET", "a");
    CALL(&b, &c, 5000, "GET", "b");
    call_wait(&a, TL_OK, "3");
    call_wait(&b, TL_CANCELLED, NULL);
    a.then = then_close;
    a.other = &e;
    CALL(&a, &c, 5000, "GET", "a");
    CALL(&d, &c, 5000, "GET", "b");
    call_wait(&a, TL_OK, "5");
    call_wait(&d, TL_CANCELLED, NULL);
    WAIT(&c, c.closed == 1);
    client_run_ms(&c, 20);
    assert_int_equal(c.closed, 1);
    assert_int_equal(e.ended, 0);
    finish(&p, &c);
}

/* Close at every stage: before the first try, connecting, shaking, up with commands under way, between two tries. */
static void closed_at_every_stage(void **state)
{
    (void)state;
    static const struct peer_step answers[] = {ACCEPT, HANG}, shut[] = {ACCEPT, CLOSE, HANG};
    for (unsigned turns = 0; turns < 12; turns++) {
        struct peer p;
        struct client c;
        struct call a = {.ended = 0};
        bool hangs = turns % 2 == 0;
        open_both(&p, &c, hangs ? answers : shut, 2);
        client_start(&c);
        CALL(&a, &c, 5000, "GET", "a");
        for (unsigned i = 0; i < turns; i++) uv_run(&c.loop, UV_RUN_NOWAIT);
        tl_redis_close(c.redis, client_closed, &c);
        WAIT(&c, c.closed == 1);
        assert_int_equal(a.ended, 1);
        assert_true(a.status == TL_CANCELLED || (!hangs && a.status == TL_IO));
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* the peer waits for one connection at least */
        struct sockaddr_in to = {
            .sin_family = AF_INET, .sin_port = htons(p.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
        finish(&p, &c);
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshakes),
        cmocka_unit_test(refused_handshakes),
        cmocka_unit_test(replies_byte_by_byte),
        cmocka_unit_test(broken_connections),
        cmocka_unit_test(huge_bulk),
        cmocka_unit_test(refused),
        cmocka_unit_test(deadlines_hold),
        cmocka_unit_test(late_reply_is_swallowed),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(callbacks_may_do_all),
        cmocka_unit_test(closed_at_every_stage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
