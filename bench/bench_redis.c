/* SPDX-License-Identifier: Apache-2.0 */
/* GET and SET of 2 KiB values, 64 under way on one connection, against redis-benchmark -c 1 -P 64 on the same server: a
 * redis-server of its own on a loopback port, with its files in a temporary folder. In turns, in one run; medians.
 * redis-benchmark sends 64 and waits for all 64 answers, and so does what is held against it. The rows "sliding" send
 * the next command as soon as any answer comes: client and server then work at the same time, which the peer cannot.
 * Beside them 100,000 commands that are submitted at once. */
#include "bench.h"

#include "redis/redis.h"
#include "server.h"

#include <string.h>

enum { ROUNDS = 7, DEPTH = 64, VALUE = 2048, COMMANDS = 200000, AT_ONCE = 100000 };

struct run {
    uv_loop_t *loop;
    struct tl_redis *redis;
    size_t reply_bytes; /* of the answer: checked */
    struct tl_redis_cmd *cmds;
    unsigned depth, to_send, to_come, under_way;
    bool sliding;
};

/* ---- ours ---- */

static void send_one(struct run *r, struct tl_redis_cmd *c)
{
    must(tl_redis_submit(r->redis, c, 60000, NULL) == TL_OK, "submit");
    r->to_send--;
    r->under_way++;
}

static void send_many(struct run *r)
{
    for (unsigned i = 0; i < r->depth && r->to_send > 0; i++) send_one(r, &r->cmds[i]);
}

static void on_end(struct tl_redis_cmd *c, enum tl_status st, const struct tl_reply *reply, const struct tl_err *err)
{
    struct run *r = c->user;
    must(st == TL_OK, err ? err->text : "a command failed");
    must(reply->str.n == r->reply_bytes, "an answer is not what was stored");
    r->to_come--;
    r->under_way--;
    if (r->sliding) {
        if (r->to_send > 0) send_one(r, c);
    } else if (r->under_way == 0) {
        send_many(r);
    }
}

/* Commands a second. */
static double rate(struct run *r, const struct tl_str *argv, size_t argc, unsigned n)
{
    r->cmds = calloc(r->depth, sizeof *r->cmds);
    must(r->cmds != NULL, "no memory");
    for (unsigned i = 0; i < r->depth; i++)
        r->cmds[i] = (struct tl_redis_cmd){.argv = argv, .argc = argc, .cb = on_end, .user = r};
    r->reply_bytes = argc == 3 ? 2 : VALUE; /* OK, or the value */
    r->to_send = r->to_come = n;
    uint64_t start = bench_now_ns();
    send_many(r);
    while (r->to_come > 0) uv_run(r->loop, UV_RUN_ONCE);
    double per_second = n * 1e9 / (double)(bench_now_ns() - start);
    free(r->cmds);
    return per_second;
}

static void connect_to(struct run *r, int port)
{
    struct tl_redis_options o = {.backoff_min_ms = 10, .backoff_max_ms = 50};
    strcpy(o.address.host, "127.0.0.1");
    o.address.port = (uint16_t)port;
    must(tl_redis_start(r->loop, &o, &r->redis, NULL) == TL_OK, "start");
    uint64_t until = bench_now_ns() + 10000000000u;
    while (!tl_redis_up(r->redis) && bench_now_ns() < until) uv_run(r->loop, UV_RUN_ONCE);
    must(tl_redis_up(r->redis), "redis-server does not answer (is it installed?)");
}

/* ---- redis-benchmark ---- */

static void theirs(int port, double *set, double *get)
{
    char command[160], line[256];
    snprintf(command, sizeof command, "redis-benchmark -p %d -c 1 -P %d -d %d -t get,set -n %d --csv 2>/dev/null", port,
             DEPTH, VALUE, COMMANDS);
    FILE *f = popen(command, "r");
    must(f != NULL, "redis-benchmark cannot run");
    *set = *get = 0;
    while (fgets(line, sizeof line, f)) {
        (void)sscanf(line, "\"SET\",\"%lf\"", set);
        (void)sscanf(line, "\"GET\",\"%lf\"", get);
    }
    must(pclose(f) == 0 && *set > 0 && *get > 0, "redis-benchmark gave no figures");
}

static void row(const char *name, double *ours, double *peer)
{
    double a = bench_median(ours, ROUNDS), b = bench_median(peer, ROUNDS);
    bench_row(name, a, "/s", "redis-benchmark", b, a / b, ">= 0.8 x peer", a >= 0.8 * b);
}

static void alone(const char *name, double *ours)
{
    bench_row(name, bench_median(ours, ROUNDS), "/s", NULL, 0, 0, NULL, false);
}

int main(void)
{
    static char value[VALUE];
    static const char key[] = "key:000000000000";
    double set[ROUNDS], get[ROUNDS], their_set[ROUNDS], their_get[ROUNDS];
    double sliding_set[ROUNDS], sliding_get[ROUNDS], at_once[ROUNDS];
    struct run r = {.loop = uv_default_loop()};
    struct server server = {.pid = 0};
    memset(value, 'x', sizeof value);
    const struct tl_str set_argv[] = {TL_STR("SET"), TL_STR(key), {value, VALUE}};
    const struct tl_str get_argv[] = {TL_STR("GET"), TL_STR(key)};
    start_server(&server);
    connect_to(&r, server.port);
    for (int i = 0; i < ROUNDS; i++) {
        r.depth = DEPTH;
        r.sliding = false;
        set[i] = rate(&r, set_argv, 3, COMMANDS);
        get[i] = rate(&r, get_argv, 2, COMMANDS);
        theirs(server.port, &their_set[i], &their_get[i]);
        r.sliding = true;
        sliding_set[i] = rate(&r, set_argv, 3, COMMANDS);
        sliding_get[i] = rate(&r, get_argv, 2, COMMANDS);
        r.depth = AT_ONCE;
        at_once[i] = rate(&r, get_argv, 2, AT_ONCE);
    }
    row("redis_set_2k", set, their_set);
    row("redis_get_2k", get, their_get);
    alone("redis_set_2k_sliding", sliding_set);
    alone("redis_get_2k_sliding", sliding_get);
    alone("redis_get_2k_100000_at_once", at_once);
    tl_redis_close(r.redis, NULL, NULL);
    uv_run(r.loop, UV_RUN_DEFAULT);
    stop_server(&server);
    return 0;
}
