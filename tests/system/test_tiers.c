/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that share a real Redis: what one computed the others read, with and without a store of their own. */
#include "support.h"

#include "redis_server.h"
#include "run.h"

#include <jansson.h>
#include <sys/stat.h>

struct market {
    struct run r;
    struct redis_server s;
    char redis[160]; /* TIERLINE_REDIS=... */
};

static int setup(void **state)
{
    static struct market m;
    redis_server_start(&m.s, NULL);
    run_init(&m.r);
    snprintf(m.redis, sizeof m.redis, "TIERLINE_REDIS=%s", m.s.url);
    m.r.extra_env[0] = m.redis;
    run(&m.r, "sample", "m", "--symbols", "12", "--years", "2");
    expect(&m.r, 0, NULL, NULL);
    run(&m.r, "import", "m/bars", "--store", "a.db", "--quiet");
    expect(&m.r, 0, NULL, NULL);
    *state = &m;
    return 0;
}

static int teardown(void **state)
{
    struct market *m = *state;
    run_release(&m->r);
    redis_server_stop(&m->s);
    return 0;
}

static char *value_of(const char *text, const char *name)
{
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    char *out = json_dumps(json_object_get(root, name), JSON_ENCODE_ANY | JSON_COMPACT);
    assert_non_null(out);
    json_decref(root);
    return out;
}

static void expect_member(const char *text, const char *name, const char *value)
{
    char *have = value_of(text, name);
    assert_string_equal(have, value);
    free(have);
}

static void computed_here_read_there(void **state)
{
    struct market *m = *state;
    struct run *r = &m->r;
    run(r, "calc", "--store", "a.db", "--quiet", "--json");
    expect(r, 0, "\"computed\":108", NULL);
    run(r, "get", "000001.SZ", "MACD", "--store", "a.db", "--redis", "none", "--json");
    expect(r, 0, NULL, NULL);
    expect_member(r->out, "source", "\"store\"");
    char *values = value_of(r->out, "values"), *ts = value_of(r->out, "ts");
    run(r, "get", "000001.SZ", "MACD", "--store", "none", "--json");
    expect(r, 0, NULL, NULL);
    expect_member(r->out, "source", "\"redis\"");
    expect_member(r->out, "freshness", "\"fresh\"");
    expect_member(r->out, "values", values);
    expect_member(r->out, "ts", ts);
    run(r, "get", "000001.SZ", "MACD", "--store", "a.db", "--json");
    expect(r, 0, NULL, NULL);
    expect_member(r->out, "source", "\"redis\"");
    free(values);
    free(ts);
    run(r, "get", "000001.SZ", "SMA(7)", "--store", "none");
    expect(r, 3, NULL, "not in Redis");
    /* get on demand is shared, too */
    run(r, "get", "000001.SZ", "SMA(7)", "--store", "a.db", "--json");
    expect(r, 0, NULL, NULL);
    expect_member(r->out, "source", "\"computed\"");
    run(r, "get", "000001.SZ", "SMA(7)", "--store", "none", "--json");
    expect(r, 0, NULL, NULL);
    expect_member(r->out, "source", "\"redis\"");
    /* another prefix is another world */
    run(r, "get", "000001.SZ", "SMA(7)", "--store", "none", "--prefix", "other:");
    expect(r, 3, NULL, NULL);
}

static void new_bars_end_freshness(void **state)
{
    struct market *m = *state;
    struct run *r = &m->r;
    run(r, "calc", "--store", "a.db", "--quiet", "--symbols", "000001.SZ");
    expect(r, 0, NULL, NULL);
    run_put(r, "more.csv", "date,open,high,low,close,volume\n2030-01-02,10,11,9,10.5,1000\n");
    run(r, "import", "more.csv", "--symbol", "000001.SZ", "--store", "a.db", "--quiet");
    expect(r, 0, NULL, NULL);
    run(r, "get", "000001.SZ", "RSI", "--store", "a.db", "--json", "--last", "1");
    expect(r, 0, NULL, NULL);
    expect_member(r->out, "source", "\"computed\""); /* Redis has it, but of bars that were */
    expect_member(r->out, "ts", "[1893542400000]");
    run(r, "get", "000001.SZ", "RSI", "--store", "none", "--json", "--last", "1");
    expect(r, 0, NULL, NULL);
    expect_member(r->out, "ts", "[1893542400000]");
    expect_member(r->out, "freshness", "\"fresh\"");
}

static void another_store(void **state)
{
    struct market *m = *state;
    struct run *r = &m->r;
    run(r, "calc", "--store", "a.db", "--quiet");
    expect(r, 0, NULL, NULL);
    run(r, "import", "m/bars", "--store", "b.db", "--quiet");
    expect(r, 0, NULL, NULL);
    run(r, "calc", "--store", "b.db", "--quiet");
    expect(r, 5, NULL, "belongs to the store");
    run(r, "get", "000001.SZ", "RSI", "--store", "b.db");
    expect(r, 5, NULL, "belongs to the store");
    run(r, "doctor", "--store", "b.db");
    expect(r, 1, "belongs to the store", NULL);
    run(r, "doctor", "--store", "b.db", "--adopt-store");
    expect(r, 0, NULL, NULL);
    run(r, "calc", "--store", "b.db", "--quiet");
    expect(r, 0, NULL, NULL);
    run(r, "calc", "--store", "a.db", "--quiet");
    expect(r, 5, NULL, "belongs to the store");
}

static void without_redis(void **state)
{
    struct market *m = *state;
    struct run *r = &m->r;
    redis_server_kill(&m->s);
    run(r, "calc", "--store", "a.db", "--quiet", "--json");
    expect(r, 0, "\"failed\":0", "cannot connect");
    const char *first = strstr(r->err, "cannot connect server");
    assert_non_null(first);
    assert_null(strstr(first + 1, "cannot connect server")); /* once */
    run(r, "get", "000001.SZ", "RSI", "--store", "a.db");
    expect(r, 0, NULL, "going on without Redis");
    run(r, "get", "000001.SZ", "RSI", "--store", "none");
    assert_int_not_equal(r->code, 0);
    run(r, "doctor", "--store", "a.db");
    expect(r, 1, "start the server", NULL);
}

static void general_cache(void **state)
{
    struct market *m = *state;
    struct run *r = &m->r;
    run(r, "cache", "put", "fund_flow", "sh600519", "{\"net\":1}", "--store", "a.db");
    expect(r, 0, "", NULL);
    run(r, "cache", "get", "fund_flow", "600519.SH", "--store", "none");
    expect(r, 0, "{\"net\":1}", NULL);
    run_shell(r,
              "head -c 3000000 /dev/urandom >blob && $TIER cache put blob X --file blob --store a.db && "
              "$TIER cache get blob X --store a.db --redis none | cmp - blob && $TIER cache get blob X --store none | "
              "cmp - blob");
    expect(r, 0, NULL, NULL);
    run_shell(r, "head -c 9000000 /dev/zero | $TIER cache put blob Y --file - --store a.db");
    expect(r, 2, NULL, "at most 8388608 bytes");
    run(r, "cache", "put", "tick", "A", "v", "--ttl", "1ms", "--store", "a.db");
    expect(r, 0, NULL, NULL);
    run(r, "cache", "get", "tick", "A,B", "--store", "a.db", "--json");
    expect(r, 3, "\"freshness\":\"stale\"", "tick B: not found");
    run(r, "cache", "del", "--by", "all", "--store", "a.db");
    expect(r, 0, NULL, NULL);
    run(r, "cache", "get", "fund_flow", "600519.SH", "--store", "none");
    expect(r, 3, NULL, "not found");
    run(r, "cache", "get", "blob", "X", "--store", "a.db", "--redis", "none");
    expect(r, 3, NULL, "not found");
    run(r, "cache", "put", "tick", "A", "v", "--ttl", "soon", "--store", "a.db");
    expect(r, 2, NULL, "--ttl: 'soon'");
    run(r, "cache", "burn", "--store", "a.db");
    expect(r, 2, NULL, "only put, get, del, stats and top");
    run(r, "cache", "stats", "--store", "a.db", "--json");
    expect(r, 0, "\"state\":\"in use\"", NULL);
}

static void batches(void **state)
{
    struct market *m = *state;
    struct run *r = &m->r;
    run_shell(r, "i=0; while [ $i -lt 1201 ]; do echo "
                 "\"{\\\"type\\\":\\\"etf\\\",\\\"symbol\\\":\\\"S$i\\\",\\\"value\\\":$i}\"; "
                 "i=$((i+1)); done >lines && $TIER cache put --batch lines --store a.db");
    expect(r, 0, NULL, "1201 values kept (store), 0 failed");
    run(r, "cache", "get", "etf", "S0,S777,S1200", "--store", "none");
    expect(r, 0, "0\n777\n1200\n", NULL);
    run_shell(r,
              "$TIER cache get etf S1,S2 --store a.db --json | $TIER cache put --batch - --store b.db --redis none && "
              "$TIER cache get etf S1,S2 --store b.db --redis none");
    expect(r, 0, "1\n2\n", NULL);
    run_shell(r, "printf '%s\\n' '{\"type\":\"a\",\"value\":{\"b\": [1]}}' '' '{\"type\"' '{\"type\":\"a\"}' "
                 "'{\"type\":\"a\",\"value\":1,\"ttl\":\"soon\"}' '{\"type\":\"\",\"value\":1}' | "
                 "$TIER cache put --batch - --store a.db; s=$?; $TIER cache get a --store a.db; exit $s");
    expect(r, 1, "{\"b\":[1]}", "standard input, line 3:");
    assert_non_null(strstr(r->err, "line 4: an object with \"type\""));
    assert_non_null(strstr(r->err, "line 5: ttl: 'soon'"));
    assert_non_null(strstr(r->err, "line 6:"));
    assert_non_null(strstr(r->err, "1 values kept (store), 4 failed"));
    run(r, "cache", "put", "--batch", "missing", "--store", "a.db");
    expect(r, 3, NULL, "cannot read missing");
    run(r, "cache", "put", "x", "--batch", "lines", "--store", "a.db");
    expect(r, 2, NULL, "stand in its lines");
}

static long member(const char *text, const char *tier, const char *name)
{
    json_t *root = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(root);
    long n = (long)json_integer_value(json_object_get(tier ? json_object_get(root, tier) : root, name));
    json_decref(root);
    return n;
}

/* A process that goes on reading its batch, seen by others while it runs. */
static void running_processes(void **state)
{
    struct market *m = *state;
    struct run *r = &m->r, other = *r;
    char path[128], line[96];
    int out, err;
    snprintf(path, sizeof path, "%s/lines", r->dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    other.in_path = path;
    other.out = other.err = NULL;
    const char *const argv[] = {getenv("TL_TEST_BINARY"), "cache", "put", "--batch", "-", "--store", "a.db", NULL};
    pid_t pid = run_start(&other, argv, &out, &err);
    for (int i = 0; i < 501; i++) {
        int n = snprintf(line, sizeof line, "{\"type\":\"etf\",\"symbol\":\"S%d\",\"value\":%d}\n", i, i);
        assert_int_equal(write(fd, line, (size_t)n), n);
    }
    for (int i = 0; i < 100; i++) {
        run(r, "cache", "stats", "--store", "a.db", "--json");
        expect(r, 0, NULL, NULL);
        if (member(r->out, NULL, "processes") == 1 && member(r->out, "store", "written") == 500) break;
        redis_sleep_ms(100);
    }
    assert_int_equal(member(r->out, NULL, "processes"), 1);
    assert_int_equal(member(r->out, "redis", "written"), 500);
    assert_int_equal(member(r->out, NULL, "puts"), 500);
    assert_int_equal(member(r->out, "memory", "written"), 500);
    run(r, "cache", "stats", "--store", "none");
    expect(r, 0, "1 process; queue 0 writes", NULL);
    run(r, "cache", "stats", "--store", "none", "--watch", "--count", "2", "--json");
    expect(r, 0, "\"processes\":1", NULL);
    assert_non_null(strstr(strchr(r->out, '\n') + 1, "\"processes\":1"));
    run(r, "cache", "stats", "--store", "a.db", "--redis", "none");
    expect(r, 0, "are shared through Redis", NULL);
    close(fd);
    run_finish(&other, pid, out, err);
    assert_int_equal(other.code, 0);
    assert_non_null(strstr(other.err, "501 values kept (store), 0 failed"));
    free(other.out);
    free(other.err);
    run(r, "cache", "stats", "--store", "a.db", "--json");
    assert_int_equal(member(r->out, NULL, "processes"), 0);
}

static void most_read(void **state)
{
    struct market *m = *state;
    struct run *r = &m->r;
    char reply[256];
    run(r, "cache", "top", "--store", "a.db");
    expect(r, 0, "reads", NULL);
    assert_true(redis_do(&m->s, reply, "HSET", "tierline:{stats}", "1",
                         "{\"format\":1,\"top\":[{\"key\":\"a\",\"reads\":5,\"error\":0},"
                         "{\"key\":\"b\",\"reads\":4,\"error\":1}]}"));
    assert_true(redis_do(&m->s, reply, "HSET", "tierline:{stats}", "2",
                         "{\"format\":1,\"top\":[{\"key\":\"b\",\"reads\":3,\"error\":2}]}"));
    assert_true(redis_do(&m->s, reply, "HSET", "tierline:{stats}", "3", "no json"));
    assert_true(redis_do(&m->s, reply, "HSET", "tierline:{stats}", "4", "{\"format\":2,\"top\":7}"));
    run(r, "cache", "top", "--store", "a.db", "--json");
    expect(r, 0, "[{\"key\":\"b\",\"reads\":7,\"error\":3},{\"key\":\"a\",\"reads\":5,\"error\":0}]", NULL);
    run(r, "cache", "top", "1", "--store", "none", "--json");
    expect(r, 0, "[{\"key\":\"b\",\"reads\":7,\"error\":3}]", NULL);
    run(r, "cache", "top", "0", "--store", "a.db");
    expect(r, 2, NULL, "1 to 10000");
    run(r, "cache", "top", "--store", "a.db", "--redis", "none");
    expect(r, 2, NULL, "none is configured");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(computed_here_read_there, setup, teardown),
        cmocka_unit_test_setup_teardown(new_bars_end_freshness, setup, teardown),
        cmocka_unit_test_setup_teardown(another_store, setup, teardown),
        cmocka_unit_test_setup_teardown(without_redis, setup, teardown),
        cmocka_unit_test_setup_teardown(general_cache, setup, teardown),
        cmocka_unit_test_setup_teardown(batches, setup, teardown),
        cmocka_unit_test_setup_teardown(running_processes, setup, teardown),
        cmocka_unit_test_setup_teardown(most_read, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
