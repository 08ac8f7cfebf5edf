/* SPDX-License-Identifier: Apache-2.0 */
/* The Redis client under test, on a loop of its own, and calls whose end is counted. Every wait has a deadline. Include
 * behind "support.h". */
#ifndef TL_TESTS_CLIENT_H
#define TL_TESTS_CLIENT_H

#include "redis/redis.h"

#include <stdbool.h>
#include <time.h>

enum { CLIENT_WAIT_MS = 15000, CALL_ARGS = 8 };

struct client {
    uv_loop_t loop;
    uv_timer_t tick; /* the loop wakes up to look at deadlines */
    struct tl_redis_options options;
    struct tl_redis *redis;
    unsigned ups, downs, closed;
    char why[512];
};

struct call {
    struct tl_redis_cmd cmd; /* first: a command is its call */
    struct tl_str argv[CALL_ARGS];
    struct client *client;
    unsigned ended;
    enum tl_status status;
    char text[512]; /* of the error, or the reply in words */
    void (*then)(struct call *);
    struct call *other;
};

static inline uint64_t client_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static inline void client_tick(uv_timer_t *t)
{
    (void)t;
}

static inline void client_state(void *ctx, bool up, const struct tl_err *why)
{
    struct client *c = ctx;
    if (up)
        c->ups++;
    else
        c->downs++;
    if (why) snprintf(c->why, sizeof c->why, "%s", why->text);
}

static inline void client_closed(void *ctx)
{
    ((struct client *)ctx)->closed++;
}

static inline void client_init(struct client *c, uint16_t port)
{
    *c = (struct client){.closed = 0};
    assert_int_equal(uv_loop_init(&c->loop), 0);
    uv_timer_init(&c->loop, &c->tick);
    uv_timer_start(&c->tick, client_tick, 2, 2);
    c->options = (struct tl_redis_options){
        .backoff_min_ms = 5, .backoff_max_ms = 20, .seed = 1, .on_state = client_state, .ctx = c};
    snprintf(c->options.address.host, sizeof c->options.address.host, "127.0.0.1");
    c->options.address.port = port;
}

static inline void client_start(struct client *c)
{
    struct tl_err err = {.text = ""};
    assert_int_equal(tl_redis_start(&c->loop, &c->options, &c->redis, &err), TL_OK);
}

#define WAIT(c, condition)                                                                                             \
    do {                                                                                                               \
        uint64_t wait_until = client_now_ms() + CLIENT_WAIT_MS;                                                        \
        while (!(condition) && client_now_ms() < wait_until) uv_run(&(c)->loop, UV_RUN_ONCE);                          \
        assert_true(condition);                                                                                        \
    } while (0)

static inline void client_run_ms(struct client *c, uint64_t ms)
{
    for (uint64_t until = client_now_ms() + ms; client_now_ms() < until;) uv_run(&c->loop, UV_RUN_ONCE);
}

static inline void client_up(struct client *c)
{
    WAIT(c, tl_redis_up(c->redis));
}

/* The loop must be empty behind it. */
static inline void client_end(struct client *c)
{
    if (c->redis && !c->closed) {
        tl_redis_close(c->redis, client_closed, c);
        WAIT(c, c->closed == 1);
    }
    uv_close((uv_handle_t *)&c->tick, NULL);
    uv_run(&c->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&c->loop), 0);
}

/* ---- calls ---- */

static inline size_t reply_words(const struct tl_reply *r, char *out, size_t cap)
{
    static const char marks[] = {[TL_REPLY_STRING] = '$', [TL_REPLY_STATUS] = '+', [TL_REPLY_ERROR] = '-'};
    if (r->type == TL_REPLY_NIL) return (size_t)snprintf(out, cap, "nil");
    if (r->type == TL_REPLY_INTEGER) return (size_t)snprintf(out, cap, "%lld", (long long)r->integer);
    if (r->type != TL_REPLY_ARRAY)
        return (size_t)snprintf(out, cap, "%c%.*s", marks[r->type], (int)(r->str.n < 100 ? r->str.n : 100), r->str.p);
    size_t n = (size_t)snprintf(out, cap, "[");
    for (size_t i = 0; i < r->n && n + 200 < cap; i++) {
        if (i > 0) out[n++] = ' ';
        n += reply_words(r->items[i], out + n, cap - n);
    }
    return n + (size_t)snprintf(out + n, cap - n, "]");
}

static inline void call_end(struct tl_redis_cmd *cmd, enum tl_status st, const struct tl_reply *reply,
                            const struct tl_err *err)
{
    struct call *c = (struct call *)(void *)cmd;
    c->ended++;
    c->status = st;
    assert_true((st == TL_OK) == (reply != NULL));
    if (reply)
        reply_words(reply, c->text, sizeof c->text);
    else
        snprintf(c->text, sizeof c->text, "%s", err->text);
    if (c->then) c->then(c);
}

/* Words up to NULL. */
static inline void call_words(struct call *c, struct client *client, const char *const *words)
{
    c->client = client;
    c->ended = 0;
    c->text[0] = '\0';
    c->cmd = (struct tl_redis_cmd){.argv = c->argv, .cb = call_end};
    for (; words[c->cmd.argc]; c->cmd.argc++) {
        assert_true(c->cmd.argc < CALL_ARGS);
        c->argv[c->cmd.argc] = tl_str(words[c->cmd.argc]);
    }
}

static inline enum tl_status call_try(struct call *c, struct client *client, uint64_t ms, const char *const *words)
{
    struct tl_err err = {.text = ""};
    call_words(c, client, words);
    enum tl_status st = tl_redis_submit(client->redis, &c->cmd, ms, &err);
    if (st != TL_OK) snprintf(c->text, sizeof c->text, "%s", err.text);
    return st;
}
#define WORDS(...)               ((const char *const[]){__VA_ARGS__, NULL})
#define CALL(c, client, ms, ...) assert_int_equal(call_try(c, client, ms, WORDS(__VA_ARGS__)), TL_OK)

static inline void call_wait(struct call *c, enum tl_status status, const char *text)
{
    WAIT(c->client, c->ended > 0);
    if (c->status != status) print_message("status %d: %s\n", c->status, c->text);
    assert_int_equal(c->ended, 1);
    assert_int_equal(c->status, status);
    if (text) assert_string_equal(c->text, text);
}

#endif
