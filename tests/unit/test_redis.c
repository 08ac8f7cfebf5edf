/* SPDX-License-Identifier: Apache-2.0 */
/* The Redis client without a server: the reply reader, and connections to a peer in the same loop that
 * answers the n-th arrival of bytes with the n-th step of its script. Real servers are in tests/protocol. */
#include "support.h"

#include "redis/link.h"
#include "redis/redis.h"
#include "redis/reply.h"

#include <stdbool.h>

/* ---- the reply reader ---- */

static void replies_split_anywhere(void **state)
{
    (void)state;
    static const char bytes[] = "*5\r\n$3\r\na\r\n\r\n:-7\r\n$-1\r\n*2\r\n+OK\r\n-ERR x\r\n*0\r\n$0\r\n\r\n";
    size_t n = sizeof bytes - 1;
    for (size_t cut = 0; cut <= n; cut++) {
        struct tl_reply_reader *r = tl_reply_reader_new(4096);
        const struct tl_reply *p = NULL;
        assert_int_equal(tl_reply_reader_feed(r, bytes, cut, NULL), TL_OK);
        assert_int_equal(tl_reply_reader_next(r, &p, NULL), TL_OK);
        if (!p) {
            assert_int_equal(tl_reply_reader_feed(r, bytes + cut, n - cut, NULL), TL_OK);
            assert_int_equal(tl_reply_reader_next(r, &p, NULL), TL_OK);
        } else {
            assert_int_equal(tl_reply_reader_feed(r, bytes + cut, n - cut, NULL), TL_OK);
        }
        assert_non_null(p);
        assert_int_equal(p->type, TL_REPLY_ARRAY);
        assert_int_equal(p->n, 5);
        assert_true(tl_str_eq(p->items[0]->str, TL_STR("a\r\n")));
        assert_int_equal(p->items[1]->integer, -7);
        assert_int_equal(p->items[2]->type, TL_REPLY_NIL);
        assert_true(tl_str_eq(p->items[3]->items[0]->str, TL_STR("OK")));
        assert_int_equal(p->items[3]->items[1]->type, TL_REPLY_ERROR);
        assert_int_equal(p->items[4]->n, 0);
        assert_int_equal(tl_reply_reader_next(r, &p, NULL), TL_OK);
        assert_non_null(p);
        assert_int_equal(p->str.n, 0);
        assert_int_equal(tl_reply_reader_next(r, &p, NULL), TL_OK);
        assert_null(p);
        tl_reply_reader_free(r);
    }
}

static enum tl_status read_all(const char *bytes, size_t n, size_t max, size_t *replies)
{
    struct tl_reply_reader *r = tl_reply_reader_new(max);
    const struct tl_reply *p = NULL;
    enum tl_status st = tl_reply_reader_feed(r, bytes, n, NULL);
    *replies = 0;
    while (st == TL_OK && (st = tl_reply_reader_next(r, &p, NULL)) == TL_OK && p) ++*replies;
    tl_reply_reader_free(r);
    return st;
}

static void replies_bounded(void **state)
{
    (void)state;
    char bytes[4000];
    size_t replies, n = (size_t)snprintf(bytes, sizeof bytes, "$2000\r\n");
    memset(bytes + n, 'x', 2000);
    memcpy(bytes + n + 2000, "\r\n", 2);
    n += 2002;
    assert_int_equal(read_all(bytes, n, n, &replies), TL_OK);
    assert_int_equal(replies, 1);
    assert_int_equal(read_all(bytes, n, n - 1, &replies), TL_TOO_LARGE); /* though it came in one piece */
    assert_int_equal(replies, 0);
    assert_int_equal(read_all(bytes, n - 500, 1000, &replies), TL_TOO_LARGE);
    /* Many small ones together are larger than one may be. */
    n = 0;
    for (; n + 5 <= sizeof bytes; n += 5) memcpy(bytes + n, "+ab\r\n", 5);
    assert_int_equal(read_all(bytes, n, 100, &replies), TL_OK);
    assert_int_equal(replies, n / 5);
}

static void replies_that_are_none(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "\x16\x03\x01\x02",
        "$abc\r\n",
        ",1.5\r\n",
        "#t\r\n",
        "*3\r\n,1\r\n",
        "*2000000\r\n",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t replies;
        assert_true(read_all(rows[i], strlen(rows[i]), 4096, &replies) != TL_OK);
        assert_int_equal(replies, 0);
    }
    /* How deep arrays may lie in each other is the parser's own limit, from 7 on: read or refused. */
    static const char deep[] = "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n";
    size_t replies;
    bool read = read_all(deep, sizeof deep - 1, 4096, &replies) == TL_OK;
    assert_int_equal(replies, read ? 1 : 0);
}

/* ---- a scripted peer ---- */

struct step {
    unsigned delay_ms;
    const char *bytes; /* NULL: nothing */
};

struct peer {
    uv_loop_t loop;
    uv_pipe_t listener, client;
    uv_timer_t timer, guard;
    bool connected, guarded;
    const struct step *steps;
    size_t n_steps, at, arrived;
    char dir[40], path[64];
    struct tl_redis *redis;
    struct tl_redis_sub *sub;
    unsigned closed, ended, ups, downs;
    enum tl_status last;
    char text[512], why[512];
};

static void send_bytes(struct peer *p, const char *bytes)
{
    uv_buf_t b = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)strlen(bytes));
    if (p->connected) assert_int_equal(uv_try_write((uv_stream_t *)&p->client, &b, 1), (int)b.len);
}

static void on_delay(uv_timer_t *t)
{
    struct peer *p = t->data;
    send_bytes(p, p->steps[p->at++].bytes);
}

static void on_alloc(uv_handle_t *h, size_t n, uv_buf_t *b)
{
    static char bytes[65536];
    (void)h, (void)n;
    *b = uv_buf_init(bytes, sizeof bytes);
}

static void on_bytes(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct peer *p = s->data;
    (void)b;
    if (n < 0) {
        p->connected = false;
        if (!uv_is_closing((uv_handle_t *)s)) uv_close((uv_handle_t *)s, NULL);
        return;
    }
    p->arrived += (size_t)n;
    if (p->at >= p->n_steps || !p->steps[p->at].bytes) return;
    uv_timer_start(&p->timer, on_delay, p->steps[p->at].delay_ms, 0);
}

static void on_client(uv_stream_t *s, int status)
{
    struct peer *p = s->data;
    assert_int_equal(status, 0);
    if (p->connected || (p->client.data && uv_is_closing((uv_handle_t *)&p->client))) return;
    uv_pipe_init(&p->loop, &p->client, 0);
    p->client.data = p;
    assert_int_equal(uv_accept(s, (uv_stream_t *)&p->client), 0);
    p->connected = true;
    uv_read_start((uv_stream_t *)&p->client, on_alloc, on_bytes);
}

static void on_guard(uv_timer_t *t)
{
    ((struct peer *)t->data)->guarded = true;
}

static void peer_start(struct peer *p, const struct step *steps, size_t n)
{
    *p = (struct peer){.steps = steps, .n_steps = n};
    strcpy(p->dir, "/tmp/tl-redis-unit-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->path, sizeof p->path, "%s/s", p->dir);
    uv_loop_init(&p->loop);
    uv_pipe_init(&p->loop, &p->listener, 0);
    uv_timer_init(&p->loop, &p->timer);
    uv_timer_init(&p->loop, &p->guard);
    p->listener.data = p->timer.data = p->guard.data = p;
    assert_int_equal(uv_pipe_bind(&p->listener, p->path), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&p->listener, 4, on_client), 0);
    uv_timer_start(&p->guard, on_guard, 20000, 0);
}

static void on_closed(void *ctx)
{
    ((struct peer *)ctx)->closed++;
}

/* Turns of the loop until cond. */
#define RUN_UNTIL(p, cond)                                                                                             \
    do {                                                                                                               \
        while (!(cond) && !(p)->guarded) uv_run(&(p)->loop, UV_RUN_ONCE);                                              \
        assert_false((p)->guarded);                                                                                    \
    } while (0)

static void peer_stop(struct peer *p)
{
    if (p->redis) tl_redis_close(p->redis, on_closed, p);
    if (p->sub) tl_redis_sub_close(p->sub, on_closed, p);
    p->redis = NULL;
    p->sub = NULL;
    RUN_UNTIL(p, p->closed == 1);
    uv_close((uv_handle_t *)&p->listener, NULL);
    uv_close((uv_handle_t *)&p->timer, NULL);
    uv_close((uv_handle_t *)&p->guard, NULL);
    if (p->client.data && !uv_is_closing((uv_handle_t *)&p->client)) uv_close((uv_handle_t *)&p->client, NULL);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&p->loop), 0);
    unlink(p->path);
    rmdir(p->dir);
}

static void on_state(void *ctx, bool up, const struct tl_err *why)
{
    struct peer *p = ctx;
    if (up)
        p->ups++;
    else
        p->downs++;
    if (!up) snprintf(p->why, sizeof p->why, "%s", why->text);
}

static struct tl_redis_options options_of(struct peer *p)
{
    struct tl_redis_options o = {.seed = 1, .on_state = on_state, .ctx = p, .backoff_min_ms = 5000};
    strcpy(o.address.host, p->path);
    return o;
}

static void start(struct peer *p, const struct tl_redis_options *o)
{
    assert_int_equal(tl_redis_start(&p->loop, o, &p->redis, NULL), TL_OK);
}

static void on_end(struct tl_redis_cmd *c, enum tl_status st, const struct tl_reply *reply, const struct tl_err *err)
{
    struct peer *p = c->user;
    (void)reply;
    p->ended++;
    p->last = st;
    snprintf(p->text, sizeof p->text, "%s", err ? err->text : "");
}

static void wait_ms(struct peer *p, uint64_t ms)
{
    uint64_t until = uv_hrtime() + ms * 1000000;
    while (uv_hrtime() < until) {
        uv_run(&p->loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
}

static const struct tl_str ping[] = {{"PING", 4}};

/* The time without an answer counts from when one is awaited, not from the last answer to something earlier. */
static void silence_counts_from_the_question(void **state)
{
    (void)state;
    static const struct step steps[] = {{0, "+PONG\r\n"}, {0, "+A\r\n"}, {150, "+B\r\n"}, {0, NULL}};
    struct peer p;
    peer_start(&p, steps, 4);
    struct tl_redis_options o = options_of(&p);
    o.silent_ms = 300;
    start(&p, &o);
    RUN_UNTIL(&p, p.ups == 1);
    struct tl_redis_cmd c = {.argv = ping, .argc = 1, .cb = on_end, .user = &p};
    assert_int_equal(tl_redis_submit(p.redis, &c, 10000, NULL), TL_OK);
    RUN_UNTIL(&p, p.ended == 1);
    wait_ms(&p, 250);
    assert_int_equal(tl_redis_submit(p.redis, &c, 10000, NULL), TL_OK);
    RUN_UNTIL(&p, p.ended == 2);
    assert_int_equal(p.last, TL_OK);
    assert_int_equal(p.downs, 0);
    assert_int_equal(tl_redis_submit(p.redis, &c, 10000, NULL), TL_OK);
    RUN_UNTIL(&p, p.ended == 3); /* never answered */
    assert_int_equal(p.last, TL_IO);
    assert_int_equal(p.downs, 1);
    peer_stop(&p);
}

static void no_message(void *ctx, struct tl_str channel, struct tl_str payload)
{
    (void)ctx, (void)channel, (void)payload;
    fail();
}

/* Servers quote the arguments of what they do not know. */
static void password_echoed_by_the_server(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "-ERR unknown command 'AUTH', with args beginning with: 's3cret'\r\n+PONG\r\n"}};
    for (int sub = 0; sub < 2; sub++) {
        struct peer p;
        peer_start(&p, steps, 1);
        struct tl_redis_options o = options_of(&p);
        strcpy(o.address.password, "s3cret");
        const char *const channels[] = {"x"};
        struct tl_redis_sub_options so = {.base = o, .channels = channels, .n_channels = 1};
        so.on_message = no_message;
        if (sub)
            assert_int_equal(tl_redis_sub_start(&p.loop, &so, &p.sub, NULL), TL_OK);
        else
            start(&p, &o);
        RUN_UNTIL(&p, p.downs == 1);
        assert_true(p.why[0] != '\0');
        assert_null(strstr(p.why, "s3cret"));
        if (!sub) assert_null(strstr(tl_redis_why(p.redis), "s3cret"));
        peer_stop(&p);
    }
}

static void error_replies(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        enum tl_status status;
    } rows[] = {
        {"-OOM command not allowed when used memory > 'maxmemory'.\r\n", TL_FULL},
        {"-NOAUTH Authentication required.\r\n", TL_DENIED},
        {"-NOPERM this user has no permissions\r\n", TL_DENIED},
        {"-LOADING Redis is loading\r\n", TL_BUSY},
        {"-BUSY Redis is busy running a script\r\n", TL_BUSY},
        {"-TRYAGAIN x\r\n", TL_BUSY},
        {"-MASTERDOWN x\r\n", TL_BUSY},
        {"-CLUSTERDOWN x\r\n", TL_BUSY},
        {"-WRONGTYPE Operation against a key\r\n", TL_CONFLICT},
        {"-ERR unknown command\r\n", TL_INVALID},
        {"-OOMPH\r\n", TL_INVALID},
        /* Up to Redis 6 what a command inside a script said is inside the script's own error. */
        {"-ERR Error running script (call to f_0): @user_script:1: -OOM command not allowed\r\n", TL_FULL},
        {"+OK\r\n", TL_OK},
        {"-ERR Error running script (call to f_0): @user_script:1: -READONLY You can't write\r\n", TL_BUSY},
    };
    enum { N = sizeof rows / sizeof rows[0] };
    struct step steps[N + 1] = {{0, "+PONG\r\n"}};
    for (size_t i = 0; i < N; i++) steps[i + 1] = (struct step){0, rows[i].reply};
    struct peer p;
    peer_start(&p, steps, N + 1);
    struct tl_redis_options o = options_of(&p);
    start(&p, &o);
    RUN_UNTIL(&p, p.ups == 1);
    for (unsigned i = 0; i < N; i++) {
        struct tl_redis_cmd c = {.argv = ping, .argc = 1, .cb = on_end, .user = &p};
        print_message("%s", rows[i].reply);
        assert_int_equal(tl_redis_submit(p.redis, &c, 5000, NULL), TL_OK);
        RUN_UNTIL(&p, p.ended == i + 1);
        assert_int_equal(p.last, rows[i].status);
    }
    RUN_UNTIL(&p, p.downs == 1); /* after READONLY another server may be the master */
    assert_int_equal(p.ups, 1);
    peer_stop(&p);
}

/* What waits for the handshake counts against queue_bytes, too, and is cancelled by close. */
static void queue_bounded_while_connecting(void **state)
{
    (void)state;
    enum { N = 100, SIZE = 16384 };
    static char value[SIZE];
    static struct tl_redis_cmd cmds[N];
    struct peer p;
    peer_start(&p, NULL, 0);
    struct tl_redis_options o = options_of(&p);
    o.queue_bytes = 10 * SIZE;
    start(&p, &o);
    const struct tl_str argv[] = {{"SET", 3}, {"k", 1}, {value, SIZE}};
    unsigned taken = 0;
    enum tl_status st = TL_OK;
    while (taken < N && st == TL_OK) {
        cmds[taken] = (struct tl_redis_cmd){.argv = argv, .argc = 3, .cb = on_end, .user = &p};
        st = tl_redis_submit(p.redis, &cmds[taken], 5000, NULL);
        if (st == TL_OK) taken++;
    }
    assert_int_equal(st, TL_FULL);
    assert_true(taken >= 8 && taken <= 10);
    struct tl_redis_stats stats;
    tl_redis_stats(p.redis, &stats);
    assert_int_equal(stats.pending, taken);
    assert_true(stats.queued_bytes >= (size_t)taken * SIZE && stats.queued_bytes <= o.queue_bytes);
    /* A place given back is taken again. */
    tl_redis_cancel(&cmds[0]);
    RUN_UNTIL(&p, p.ended == 1);
    assert_int_equal(p.last, TL_CANCELLED);
    assert_int_equal(tl_redis_submit(p.redis, &cmds[0], 5000, NULL), TL_OK);
    peer_stop(&p);
    assert_int_equal(p.ended, taken + 1);
}

/* A queue that is never empty takes no more memory than its bound asks for. */
static void backlog_takes_bounded_memory(void **state)
{
    (void)state;
    enum { N = 1600, SIZE = 32768, QUEUE = 2 << 20 };
    static char value[SIZE];
    static struct tl_redis_cmd cmds[N];
    static const struct step steps[] = {{0, "+PONG\r\n"}, {0, NULL}};
    struct peer p;
    peer_start(&p, steps, 2);
    struct tl_redis_options o = options_of(&p);
    o.queue_bytes = QUEUE;
    o.silent_ms = 60000;
    start(&p, &o);
    RUN_UNTIL(&p, p.ups == 1);
    const struct tl_str argv[] = {{"SET", 3}, {"k", 1}, {value, SIZE}};
    const struct tl_link *link = (const struct tl_link *)(const void *)p.redis;
    size_t most = 0;
    for (unsigned sent = 0; sent < N && !p.guarded;) {
        cmds[sent] = (struct tl_redis_cmd){.argv = argv, .argc = 3, .cb = on_end, .user = &p};
        if (tl_redis_submit(p.redis, &cmds[sent], 60000, NULL) == TL_OK)
            sent++;
        else
            uv_run(&p.loop, UV_RUN_NOWAIT);
        if (link->out.cap > most) most = link->out.cap;
    }
    RUN_UNTIL(&p, p.arrived >= (size_t)N * SIZE);
    print_message("buffer at most %zu bytes\n", most);
    assert_true(most <= 4 * (size_t)QUEUE);
    peer_stop(&p);
    assert_int_equal(p.ended, N);
}

static void close_twice_then_end(struct tl_redis_cmd *c, enum tl_status st, const struct tl_reply *reply,
                                 const struct tl_err *err)
{
    struct peer *p = c->user;
    on_end(c, st, reply, err);
    if (!p->redis) return;
    struct tl_redis *r = p->redis;
    p->redis = NULL;
    tl_redis_close(r, on_closed, p);
    tl_redis_close(r, on_closed, p);
    assert_int_equal(tl_redis_submit(r, c, 1000, NULL), TL_CANCELLED);
}

static void close_inside_a_callback(void **state)
{
    (void)state;
    static const struct step steps[] = {{0, "+PONG\r\n"}, {0, "+A\r\n+B\r\n+C\r\n"}};
    struct peer p;
    peer_start(&p, steps, 2);
    struct tl_redis_options o = options_of(&p);
    start(&p, &o);
    struct tl_redis_cmd c[3];
    for (int i = 0; i < 3; i++) {
        c[i] = (struct tl_redis_cmd){.argv = ping, .argc = 1, .cb = close_twice_then_end, .user = &p};
        assert_int_equal(tl_redis_submit(p.redis, &c[i], 5000, NULL), TL_OK);
    }
    RUN_UNTIL(&p, p.closed == 1);
    assert_int_equal(p.ended, 3);
    assert_int_equal(p.last, TL_CANCELLED);
    peer_stop(&p);
}

/* The late answer belongs to the command that gave up, not to the next one. */
static void late_answers_are_swallowed(void **state)
{
    (void)state;
    static const struct step steps[] = {{0, "+PONG\r\n"}, {120, "-ERR late\r\n"}, {0, "+B\r\n"}};
    struct peer p;
    peer_start(&p, steps, 3);
    struct tl_redis_options o = options_of(&p);
    start(&p, &o);
    RUN_UNTIL(&p, p.ups == 1);
    struct tl_redis_cmd c = {.argv = ping, .argc = 1, .cb = on_end, .user = &p}, d = c;
    assert_int_equal(tl_redis_submit(p.redis, &c, 20, NULL), TL_OK);
    RUN_UNTIL(&p, p.ended == 1);
    assert_int_equal(p.last, TL_TIMEOUT);
    RUN_UNTIL(&p, p.at == 2);
    assert_int_equal(tl_redis_submit(p.redis, &d, 5000, NULL), TL_OK);
    RUN_UNTIL(&p, p.ended == 2);
    assert_int_equal(p.last, TL_OK);
    struct tl_redis_stats stats;
    tl_redis_stats(p.redis, &stats);
    assert_int_equal(stats.timeouts, 1);
    assert_int_equal(stats.pending, 0);
    peer_stop(&p);
}

static void on_message(void *ctx, struct tl_str channel, struct tl_str payload)
{
    struct peer *p = ctx;
    p->ended++;
    snprintf(p->text, sizeof p->text, "%.*s=%.*s", TL_STR_ARG(channel), TL_STR_ARG(payload));
}

/* Up after the last confirmation; a PING without an answer ends it, messages or not. */
static void subscription_up_message_and_silence(void **state)
{
    (void)state;
    static const struct step steps[] = {{0, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
                                            "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nearly\r\n"
                                            "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"
                                            "*3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$2\r\nhi\r\n"},
                                        {0, "*2\r\n$4\r\npong\r\n$0\r\n\r\n"},
                                        {0, NULL}};
    static const char *const channels[] = {"a", "b"};
    struct peer p;
    peer_start(&p, steps, 3);
    struct tl_redis_sub_options o = {
        .base = options_of(&p), .channels = channels, .n_channels = 2, .ping_ms = 60, .on_message = on_message};
    assert_int_equal(tl_redis_sub_start(&p.loop, &o, &p.sub, NULL), TL_OK);
    RUN_UNTIL(&p, p.ended == 1);
    assert_true(tl_redis_sub_up(p.sub));
    assert_string_equal(p.text, "b=hi");
    RUN_UNTIL(&p, p.at == 2); /* the first PING was answered */
    assert_int_equal(p.downs, 0);
    RUN_UNTIL(&p, p.downs == 1);
    assert_false(tl_redis_sub_up(p.sub));
    assert_int_equal(p.ups, 1);
    peer_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_split_anywhere),
        cmocka_unit_test(replies_bounded),
        cmocka_unit_test(replies_that_are_none),
        cmocka_unit_test(silence_counts_from_the_question),
        cmocka_unit_test(password_echoed_by_the_server),
        cmocka_unit_test(error_replies),
        cmocka_unit_test(queue_bounded_while_connecting),
        cmocka_unit_test(backlog_takes_bounded_memory),
        cmocka_unit_test(close_inside_a_callback),
        cmocka_unit_test(late_answers_are_swallowed),
        cmocka_unit_test(subscription_up_message_and_silence),
    };
    return cmocka_run_group_tests_name("redis", tests, NULL, NULL);
}
