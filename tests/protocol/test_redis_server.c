/* SPDX-License-Identifier: Apache-2.0 */
/* The command connection against real servers of the test's own: every refusal that a server knows, servers that die,
 * sleep and forget, and 100,000 commands at once. */
#include "support.h"

#include "client.h"
#include "redis_server.h"

enum { MANY = 100000 };

static const struct tl_redis_script scripts[] = {{"answer", "return {KEYS[1], ARGV[1]}"},
                                                 {"set", "return redis.call('SET', KEYS[1], ARGV[1])"}};

static void begin(struct redis_server *s, struct client *c, const char *const *extra)
{
    redis_server_start(s, extra);
    client_init(c, (uint16_t)s->port);
    c->options.client_name = "test";
    c->options.scripts = scripts;
    c->options.n_scripts = 2;
    client_start(c);
    client_up(c);
}

static void finish(struct redis_server *s, struct client *c)
{
    client_end(c);
    redis_server_stop(s);
}

static void wait_call(struct client *c, enum tl_status status, const char *text, const char *const *words)
{
    struct call a = {.ended = 0};
    assert_int_equal(call_try(&a, c, 10000, words), TL_OK);
    call_wait(&a, status, text);
}
#define DO(c, status, text, ...) wait_call(c, status, text, WORDS(__VA_ARGS__))

static void plain_commands(void **state)
{
    (void)state;
    struct redis_server s;
    struct client c;
    begin(&s, &c, NULL);
    DO(&c, TL_OK, "+OK", "SET", "k", "v");
    DO(&c, TL_OK, "$v", "GET", "k");
    DO(&c, TL_OK, "nil", "GET", "none");
    DO(&c, TL_OK, "1", "INCR", "n");
    DO(&c, TL_OK, "[$v nil]", "MGET", "k", "none");
    DO(&c, TL_OK, "$test", "CLIENT", "GETNAME");
    DO(&c, TL_CONFLICT, NULL, "LPUSH", "k", "x");
    DO(&c, TL_INVALID, NULL, "NOSUCHCOMMAND");
    DO(&c, TL_INVALID, NULL, "INCR", "k");
    /* A value with every byte in it. */
    char bytes[1024];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)i;
    struct call a = {.ended = 0};
    call_words(&a, &c, WORDS("SET", "bytes", ""));
    a.argv[2] = (struct tl_str){bytes, sizeof bytes};
    assert_int_equal(tl_redis_submit(c.redis, &a.cmd, 5000, NULL), TL_OK);
    call_wait(&a, TL_OK, "+OK");
    call_words(&a, &c, WORDS("EVAL", "return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0", "1", "bytes", ""));
    a.argv[4] = (struct tl_str){bytes, sizeof bytes};
    assert_int_equal(tl_redis_submit(c.redis, &a.cmd, 5000, NULL), TL_OK);
    call_wait(&a, TL_OK, "1");
    finish(&s, &c);
}

static void eval_call(struct client *c, size_t script, enum tl_status status, const char *text)
{
    struct call a = {.ended = 0};
    call_words(&a, c, WORDS("1", "k", "v"));
    assert_int_equal(tl_redis_eval(c->redis, &a.cmd, script, 10000, NULL), TL_OK);
    call_wait(&a, status, text);
}

static void scripts_reloaded(void **state)
{
    (void)state;
    struct redis_server s;
    struct client c;
    struct tl_redis_stats stats;
    begin(&s, &c, NULL);
    eval_call(&c, 0, TL_OK, "[$k $v]");
    tl_redis_stats(c.redis, &stats);
    assert_int_equal(stats.reloads, 0);
    DO(&c, TL_OK, "+OK", "SCRIPT", "FLUSH");
    eval_call(&c, 0, TL_OK, "[$k $v]");
    eval_call(&c, 0, TL_OK, "[$k $v]");
    eval_call(&c, 1, TL_OK, "+OK");
    tl_redis_stats(c.redis, &stats);
    assert_int_equal(stats.reloads, 2); /* EVAL has taught the server again */
    assert_int_equal(stats.losses, 0);
    finish(&s, &c);
}

static void count_end(struct tl_redis_cmd *cmd, enum tl_status st, const struct tl_reply *reply,
                      const struct tl_err *err)
{
    uint64_t *next = cmd->user;
    assert_int_equal(st, TL_OK);
    assert_null(err);
    assert_int_equal(reply->integer, ++*next);
}

static void many_at_once(void **state)
{
    (void)state;
    static const struct tl_str argv[] = {{"INCR", 4}, {"n", 1}};
    struct redis_server s;
    struct client c;
    uint64_t answered = 0;
    struct tl_redis_cmd *cmds = calloc(MANY, sizeof *cmds);
    assert_non_null(cmds);
    begin(&s, &c, NULL);
    for (size_t i = 0; i < MANY; i++) {
        cmds[i] = (struct tl_redis_cmd){.argv = argv, .argc = 2, .cb = count_end, .user = &answered};
        assert_int_equal(tl_redis_submit(c.redis, &cmds[i], 60000, NULL), TL_OK);
    }
    WAIT(&c, answered == MANY);
    assert_int_equal(c.downs, 0);
    finish(&s, &c);
    free(cmds);
}

static void killed_and_restarted(void **state)
{
    (void)state;
    struct redis_server s;
    struct client c;
    struct call a = {.ended = 0}, b = {.ended = 0};
    begin(&s, &c, NULL);
    CALL(&a, &c, 60000, "BLPOP", "none", "0");
    CALL(&b, &c, 60000, "PING");
    client_run_ms(&c, 20);
    redis_server_kill(&s);
    call_wait(&a, TL_IO, NULL);
    call_wait(&b, TL_IO, NULL);
    assert_int_equal(call_try(&b, &c, 1000, WORDS("PING")), TL_IO);
    redis_spawn(&s);
    assert_true(redis_wait(&s));
    client_up(&c);
    DO(&c, TL_OK, "+PONG", "PING");
    eval_call(&c, 0, TL_OK, "[$k $v]"); /* the scripts were loaded again */
    assert_int_equal(a.ended, 1);
    /* The server closes the connection alone. */
    char out[64];
    unsigned ups = c.ups;
    CALL(&a, &c, 60000, "BLPOP", "none", "0");
    client_run_ms(&c, 20);
    assert_true(redis_do(&s, out, "CLIENT", "KILL", "TYPE", "normal"));
    call_wait(&a, TL_IO, NULL);
    WAIT(&c, c.ups == ups + 1);
    DO(&c, TL_OK, "$test", "CLIENT", "GETNAME");
    finish(&s, &c);
}

static void sleeping_server(void **state)
{
    (void)state;
    struct redis_server s;
    struct client c;
    struct call nap = {.ended = 0}, a = {.ended = 0};
    begin(&s, &c, WORDS("--enable-debug-command", "yes"));
    CALL(&nap, &c, 10000, "DEBUG", "SLEEP", "1");
    CALL(&a, &c, 100, "INCR", "n");
    uint64_t start = client_now_ms();
    call_wait(&a, TL_TIMEOUT, NULL);
    assert_in_range(client_now_ms() - start, 90, 800);
    call_wait(&nap, TL_OK, "+OK");
    DO(&c, TL_OK, "$1", "GET", "n"); /* carried out though late; its answer went to nobody */
    assert_int_equal(a.ended, 1);
    assert_int_equal(c.downs, 0);
    finish(&s, &c);
}

static void out_of_memory(void **state)
{
    (void)state;
    static char value[64 * 1024];
    struct redis_server s;
    struct client c;
    enum tl_status last = TL_OK;
    begin(&s, &c, WORDS("--maxmemory", "2mb", "--maxmemory-policy", "noeviction"));
    for (unsigned i = 0; i < 64 && last == TL_OK; i++) {
        char key[16];
        struct call a = {.ended = 0};
        snprintf(key, sizeof key, "k%u", i);
        call_words(&a, &c, WORDS("SET", key, ""));
        a.argv[2] = (struct tl_str){value, sizeof value};
        assert_int_equal(tl_redis_submit(c.redis, &a.cmd, 5000, NULL), TL_OK);
        WAIT(&c, a.ended == 1);
        last = a.status;
    }
    assert_int_equal(last, TL_FULL);
    DO(&c, TL_OK, "+OK", "CONFIG", "SET", "maxmemory", "1"); /* what little a small value needs is not there either */
    eval_call(&c, 1, TL_FULL, NULL);                         /* the same from within a script */
    assert_int_equal(c.downs, 0);
    DO(&c, TL_OK, "+PONG", "PING");
    finish(&s, &c);
}

static void read_only_replica(void **state)
{
    (void)state;
    struct redis_server master, s;
    struct client c;
    char port[8];
    redis_server_start(&master, NULL);
    snprintf(port, sizeof port, "%d", master.port);
    begin(&s, &c, WORDS("--replicaof", "127.0.0.1", port));
    unsigned ups = c.ups;
    DO(&c, TL_BUSY, NULL, "SET", "k", "v");
    WAIT(&c, c.ups == ups + 1); /* asks again who is there */
    ups = c.ups;
    eval_call(&c, 1, TL_BUSY, NULL);
    WAIT(&c, c.ups == ups + 1);
    finish(&s, &c);
    redis_server_stop(&master);
}

static void permissions(void **state)
{
    (void)state;
    struct redis_server s;
    struct client c;
    struct call a = {.ended = 0};
    char out[64];
    redis_server_start(&s, WORDS("--requirepass", "s3cret"));
    assert_true(redis_do(&s, out, "ACL", "SETUSER", "reader", "on", ">p@ss", "~*", "+get", "+ping"));
    assert_string_equal(out, "+OK\r\n");
    static const struct {
        const char *user, *password;
        enum tl_status get, set;
    } rows[] = {{"", "", TL_DENIED, TL_DENIED},
                {"", "s3cret", TL_OK, TL_OK},
                {"", "wr0ng", TL_DENIED, TL_DENIED},
                {"reader", "p@ss", TL_OK, TL_DENIED},
                {"reader", "wr0ng", TL_DENIED, TL_DENIED},
                {"nobody", "wr0ng", TL_DENIED, TL_DENIED}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        client_init(&c, (uint16_t)s.port);
        c.options.client_name = "test";
        c.options.scripts = scripts;
        c.options.n_scripts = 2;
        snprintf(c.options.address.user, sizeof c.options.address.user, "%s", rows[i].user);
        snprintf(c.options.address.password, sizeof c.options.address.password, "%s", rows[i].password);
        client_start(&c);
        CALL(&a, &c, 10000, "GET", "k");
        call_wait(&a, rows[i].get, NULL);
        if (rows[i].get == TL_OK) DO(&c, rows[i].set, NULL, "SET", "k", "v");
        assert_int_equal(tl_redis_up(c.redis), rows[i].get == TL_OK);
        assert_null(strstr(a.text, "wr0ng"));
        assert_null(strstr(c.why, "wr0ng"));
        client_end(&c);
    }
    redis_server_stop(&s);
}

/* By the URL, and over a unix socket. */
static void unix_socket(void **state)
{
    (void)state;
    struct redis_server s;
    struct client c;
    char url[128];
    redis_server_start(&s, WORDS("--unixsocket", "sock", "--requirepass", "a/b"));
    client_init(&c, 0);
    snprintf(url, sizeof url, "redis+unix://:a%%2Fb@%s/sock?db=5", s.dir);
    assert_int_equal(tl_redis_address_parse(url, &c.options.address, NULL), TL_OK);
    client_start(&c);
    DO(&c, TL_OK, "+OK", "SET", "k", "five");
    client_end(&c);
    char out[64];
    assert_true(redis_do(&s, out, "GET", "k"));
    assert_string_equal(out, "$-1\r\n"); /* it is in database 5 */
    redis_server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_commands),  cmocka_unit_test(scripts_reloaded),     cmocka_unit_test(many_at_once),
        cmocka_unit_test(sleeping_server), cmocka_unit_test(killed_and_restarted), cmocka_unit_test(out_of_memory),
        cmocka_unit_test(permissions),     cmocka_unit_test(read_only_replica),    cmocka_unit_test(unix_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
