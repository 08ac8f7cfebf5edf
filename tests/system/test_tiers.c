/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that share a real Redis: what one computed the others read, with and without a store of their own. */
#include "support.h"

#include "redis_server.h"
#include "run.h"

#include <jansson.h>

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
    expect(r, 2, NULL, "only put, get, del and stats");
    run(r, "cache", "stats", "--store", "a.db", "--json");
    expect(r, 0, "\"state\":\"in use\"", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(computed_here_read_there, setup, teardown),
        cmocka_unit_test_setup_teardown(new_bars_end_freshness, setup, teardown),
        cmocka_unit_test_setup_teardown(another_store, setup, teardown),
        cmocka_unit_test_setup_teardown(without_redis, setup, teardown),
        cmocka_unit_test_setup_teardown(general_cache, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
