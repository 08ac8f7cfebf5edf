/* SPDX-License-Identifier: Apache-2.0 */
/* Indicators computed once by several processes on one store and one real Redis: the right values under every key, data
 * that changes while it is computed on, versions that travel, replies that are lost. */
#include "support.h"

#include "base/util.h"

#include "market_fixture.h"
#include "node.h"
#include "proxy.h"
#include "schedule/symbol.h"

struct world {
    struct redis_server r;
    struct market m;
    struct tl_view_sessions sessions;
    bool hasty; /* requests do not wait for the store */
};

static void world_open(struct world *w, const char *const extra[])
{
    w->hasty = false;
    redis_server_start(&w->r, extra);
    market_open(&w->m);
    w->sessions = tl_view_sessions_default();
}

static void world_close(struct world *w)
{
    market_close(&w->m);
    redis_server_stop(&w->r);
}

enum { ITEMS = 4 };

struct request {
    struct tl_indicators op;
    struct tl_indicator_item items[ITEMS];
    bool done;
};

static void on_indicators(struct tl_indicators *op)
{
    struct request *q = op->user;
    assert_false(q->done);
    q->done = true;
}

static void ask(struct world *w, struct node *n, struct request *q, const char *symbol, enum tl_freq freq,
                const char *const specs[], size_t count)
{
    *q = (struct request){.done = false};
    q->op = (struct tl_indicators){.symbol = market_symbol(symbol),
                                   .freq = freq,
                                   .want_rows = true,
                                   .want_kept = !w->hasty,
                                   .day_ms = INT64_MIN,
                                   .sessions = &w->sessions,
                                   .count = count,
                                   .items = q->items,
                                   .cb = on_indicators,
                                   .user = q};
    for (size_t i = 0; i < count; i++) assert_int_equal(tl_spec_parse(specs[i], &q->items[i].spec, NULL), TL_OK);
    tl_indicators_get(n->s, &q->op);
    assert_false(q->done);
}

static void spin(struct node *nodes, size_t count, struct request *q, size_t n)
{
    uint64_t end = uv_hrtime() + UINT64_C(20000000000);
    for (size_t open = n; open > 0;) {
        assert_true(uv_hrtime() < end);
        for (size_t i = 0; i < count; i++) uv_run(&nodes[i].box.loop, UV_RUN_NOWAIT);
        open = 0;
        for (size_t i = 0; i < n; i++) open += !q[i].done;
        if (open) usleep(100);
    }
}

static void release(struct request *q)
{
    for (size_t i = 0; i < q->op.count; i++) tl_series_release(&q->items[i].series);
}

/* Bit for bit what one process alone computes from the store as it is. */
static void is_cold(struct world *w, struct request *q)
{
    struct tl_store_reader *reader;
    struct tl_run_item items[ITEMS];
    struct tl_run run = {
        .symbol = q->op.symbol, .freq = q->op.freq, .day_ms = INT64_MIN, .count = q->op.count, .items = items};
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < run.count; i++) items[i].spec = q->items[i].spec;
    assert_int_equal(tl_store_reader_new(w->m.store, &reader, NULL), TL_OK);
    assert_int_equal(tl_run_symbol(&run, reader, &w->sessions, &tl_clock_system, NULL), TL_OK);
    for (size_t i = 0; i < run.count; i++) {
        const struct tl_series *have = &q->items[i].series, *want = &items[i].series;
        if (q->items[i].status != TL_OK) print_message("%s\n", q->items[i].err.text);
        assert_int_equal(q->items[i].status, TL_OK);
        assert_int_equal(tl_version_cmp(have->version, want->version), 0);
        assert_true(have->n == want->n && have->first_bar == want->first_bar && have->columns == want->columns);
        assert_memory_equal(have->rows, want->rows, want->n * want->columns * sizeof(double));
    }
    tl_run_release(&run);
    tl_store_reader_free(reader);
}

static const char *const four[] = {"SMA(5)", "SMA(20)", "MACD(12,26,9)", "MACD(5,10,3)"};

static void no_key_is_taken_for_another(void **state)
{
    (void)state;
    static const char *const symbols[] = {"600519.SH", "AAPL"};
    static const enum tl_freq freqs[] = {TL_FREQ_1D, TL_FREQ_1W};
    struct world w;
    struct node n[2];
    struct request q[8];
    world_open(&w, NULL);
    for (size_t i = 0; i < 2; i++) market_import_walk(&w.m, symbols[i], 900, 7 + i, 0);
    for (size_t i = 0; i < 2; i++) node_open(&n[i], w.r.url, w.m.path);
    for (size_t i = 0; i < 8; i++) ask(&w, &n[i / 4], &q[i], symbols[i % 2], freqs[i / 2 % 2], four, 4);
    spin(n, 2, q, 8);
    size_t computed = 0;
    for (size_t i = 0; i < 8; i++) {
        is_cold(&w, &q[i]);
        for (size_t k = 0; k < 4; k++) computed += q[i].items[k].source == TL_SOURCE_COMPUTED;
        release(&q[i]);
    }
    assert_int_equal(computed, 16); /* 2 symbols x 2 frequencies x 4 indicators, each once */
    assert_int_equal(node_stats(&n[0]).computed + node_stats(&n[1]).computed, 16);
    /* Again: from memory, by one who has nothing from Redis, and from the store once Redis is empty. */
    for (size_t i = 0; i < 2; i++) {
        ask(&w, &n[0], &q[i], symbols[i], TL_FREQ_1D, four, 4);
        spin(n, 2, &q[i], 1);
        is_cold(&w, &q[i]);
        assert_int_equal(q[i].items[0].source, TL_SOURCE_MEMORY);
        release(&q[i]);
    }
    struct node late;
    node_open(&late, w.r.url, w.m.path);
    ask(&w, &late, q, "AAPL", TL_FREQ_1D, four, 4);
    spin(&late, 1, q, 1);
    is_cold(&w, q);
    assert_int_equal(q->items[0].source, TL_SOURCE_REDIS);
    release(q);
    char out[64];
    assert_true(redis_do(&w.r, out, "FLUSHALL"));
    node_close(&late);
    node_open(&late, w.r.url, w.m.path);
    ask(&w, &late, q, "AAPL", TL_FREQ_1D, four, 4);
    spin(&late, 1, q, 1);
    is_cold(&w, q);
    assert_int_equal(q->items[0].source, TL_SOURCE_STORE);
    release(q);
    node_close(&late);
    for (size_t i = 0; i < 2; i++) node_close(&n[i]);
    world_close(&w);
}

static long calls(struct world *w, const char *command)
{
    char out[16384], name[64];
    snprintf(name, sizeof name, "cmdstat_%s:calls=", command);
    assert_true(redis_command(&w->r, out, sizeof out, (const char *const[]){"INFO", "commandstats", NULL}));
    const char *p = strstr(out, name);
    return p ? strtol(p + strlen(name), NULL, 10) : 0;
}

/* Nine indicators of a cold symbol: one ACQUIRE, one COMMIT; for who finds them one ACQUIRE. */
static void round_trips(void **state)
{
    (void)state;
    struct world w;
    struct node n[2];
    struct request q[3];
    world_open(&w, NULL);
    market_import_walk(&w.m, "AAPL", 300, 1, 0);
    for (size_t i = 0; i < 2; i++) node_open(&n[i], w.r.url, w.m.path);
    for (size_t i = 0; i < 2; i++) box_spin(&n[i].box, 300); /* versions were told */
    long before = calls(&w, "evalsha");
    ask(&w, &n[0], &q[0], "AAPL", TL_FREQ_1D, four, 4);
    spin(n, 1, q, 1);
    struct tl_scheduler_stats s = node_stats(&n[0]);
    assert_true(s.acquires == 1 && s.commits == 1 && s.computed == 4);
    ask(&w, &n[1], &q[1], "AAPL", TL_FREQ_1D, four, 4);
    spin(&n[1], 1, &q[1], 1);
    assert_int_equal(node_stats(&n[1]).acquires, 1);
    assert_int_equal(node_stats(&n[1]).commits, 0);
    assert_true(calls(&w, "evalsha") - before <= 3 + 4); /* and reports, each second */
    for (size_t i = 0; i < 2; i++) {
        is_cold(&w, &q[i]);
        release(&q[i]);
        node_close(&n[i]);
    }
    world_close(&w);
}

static void until_making(struct node *n)
{
    for (int i = 0; i < 20000; i++) {
        uv_run(&n->box.loop, UV_RUN_NOWAIT);
        if (n->s->groups && n->s->groups->phase == ONCE_MAKING) {
            usleep(200000); /* the worker is done, and waits for the loop */
            return;
        }
        usleep(50);
    }
    fail();
}

static void until_version(struct world *w, struct node *n, const char *symbol, struct tl_version v)
{
    char out[128], key[64], want[128];
    snprintf(key, sizeof key, "tierline:ver:{%s}", symbol);
    snprintf(want, sizeof want, "%lld:%lld:%lld", (long long)v.revision, (long long)v.bars, (long long)v.last_ts);
    for (int i = 0; i < 50; i++) { /* a second */
        box_spin(&n->box, 20);
        assert_true(redis_command(&w->r, out, sizeof out, (const char *const[]){"HGET", key, "1d:raw", NULL}));
        if (strstr(out, want)) return;
    }
    print_message("Redis says %s, not %s\n", out, want);
    fail();
}

static struct tl_version version_of(struct world *w, const char *symbol)
{
    struct tl_store_reader *reader;
    struct tl_bars_head head;
    struct tl_symbol s = market_symbol(symbol);
    assert_int_equal(tl_store_reader_new(w->m.store, &reader, NULL), TL_OK);
    assert_int_equal(tl_store_bars_head(reader, &s, TL_FREQ_1D, &head, NULL), TL_OK);
    tl_store_reader_free(reader);
    return head.raw;
}

/* A correction while it is computed on: what was computed is thrown away. Appended bars: it is PARTIAL. */
static void changed_meanwhile(void **state)
{
    (void)state;
    struct world w;
    struct node n[2];
    struct request q;
    world_open(&w, NULL);
    market_import_walk(&w.m, "AAPL", 300, 1, 0);
    for (size_t i = 0; i < 2; i++) node_open(&n[i], w.r.url, w.m.path);
    ask(&w, &n[0], &q, "AAPL", TL_FREQ_1D, four, 4);
    until_making(&n[0]);
    struct tl_version before = version_of(&w, "AAPL");
    market_import_walk(&w.m, "AAPL", 300, 2, 0); /* another history */
    struct tl_version after = version_of(&w, "AAPL");
    assert_true(after.revision > before.revision);
    until_version(&w, &n[1], "AAPL", after);
    spin(n, 2, &q, 1);
    assert_int_equal(node_stats(&n[0]).superseded, 4);
    assert_int_equal(q.items[0].freshness, TL_FRESH);
    is_cold(&w, &q);
    release(&q);

    market_import_walk(&w.m, "MSFT", 300, 3, 0);
    ask(&w, &n[0], &q, "MSFT", TL_FREQ_1D, four, 4);
    until_making(&n[0]);
    before = version_of(&w, "MSFT");
    market_import_walk(&w.m, "MSFT", 320, 3, 0); /* more of the same */
    after = version_of(&w, "MSFT");
    assert_true(after.revision == before.revision && after.bars == 320);
    until_version(&w, &n[1], "MSFT", after);
    spin(n, 2, &q, 1);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(q.items[i].freshness, TL_PARTIAL);
        assert_int_equal(q.items[i].series.version.bars, 300);
    }
    release(&q);
    ask(&w, &n[1], &q, "MSFT", TL_FREQ_1D, four, 4);
    spin(n, 2, &q, 1);
    assert_int_equal(q.items[0].freshness, TL_FRESH);
    is_cold(&w, &q);
    release(&q);
    for (size_t i = 0; i < 2; i++) node_close(&n[i]);
    world_close(&w);
}

struct feed {
    struct world *w;
    atomic_bool stop;
    size_t bars;
};

static void *feed(void *arg)
{
    struct feed *f = arg;
    while (!atomic_load(&f->stop)) {
        market_import_walk(&f->w->m, "AAPL", ++f->bars, 5, 0);
        usleep(3000);
    }
    return NULL;
}

/* Bars arrive all the time: every reader gets an answer of data that was there when it asked, or newer. */
static void a_steady_feed(void **state)
{
    (void)state;
    struct world w;
    struct node n[2];
    struct request q[2];
    struct feed f = {.w = &w, .bars = 500};
    pthread_t thread;
    world_open(&w, NULL);
    w.hasty = true;
    market_import_walk(&w.m, "AAPL", 500, 5, 0);
    for (size_t i = 0; i < 2; i++) node_open(&n[i], w.r.url, w.m.path);
    assert_int_equal(pthread_create(&thread, NULL, feed, &f), 0);
    uint64_t longest = 0, end = uv_hrtime() + UINT64_C(3000000000);
    size_t answers = 0, looks = 0;
    char order[32] = {0}, out[128];
    while (uv_hrtime() < end) {
        int64_t bars = version_of(&w, "AAPL").bars;
        uint64_t began = uv_hrtime();
        for (size_t i = 0; i < 2; i++) ask(&w, &n[i], &q[i], "AAPL", TL_FREQ_1D, four, 4);
        spin(n, 2, q, 2);
        longest = TL_MAX(longest, uv_hrtime() - began);
        for (size_t i = 0; i < 2; i++) {
            for (size_t k = 0; k < 4; k++) {
                const struct tl_indicator_item *item = &q[i].items[k];
                assert_int_equal(item->status, TL_OK);
                if (item->freshness == TL_FRESH) assert_true(item->series.version.bars >= bars);
                assert_int_equal(item->series.first_bar + item->series.n, item->series.version.bars);
            }
            release(&q[i]);
        }
        /* What Redis shows has revision, bars and token in its order, which only rises. */
        const char *const get[] = {"GETRANGE", "tierline:calc:{AAPL}:1d:raw:SMA(5)", "24", "55", NULL};
        if (answers % 10 == 0 && redis_command(&w.r, out, sizeof out, get) && strncmp(out, "$32", 3) == 0) {
            assert_true(memcmp(out + 5, order, 32) >= 0);
            memcpy(order, out + 5, 32);
            looks++;
        }
        answers++;
    }
    atomic_store(&f.stop, true);
    pthread_join(thread, NULL);
    print_message("%zu answers beside %zu imports, the longest took %llu ms\n", answers, f.bars - 500,
                  (unsigned long long)(longest / 1000000));
    assert_true(answers > 20 && looks > 2);
    assert_true(longest < UINT64_C(3000000000));
    for (size_t i = 0; i < 2; i++) node_close(&n[i]);
    world_close(&w);
}

/* Redis hears of an import that never spoke to it; and again after it came back older, or empty. */
static void versions_travel(void **state)
{
    (void)state;
    struct world w;
    struct node n;
    char out[64];
    world_open(&w, NULL);
    market_import_walk(&w.m, "AAPL", 300, 1, 0);
    node_open(&n, w.r.url, w.m.path);
    until_version(&w, &n, "AAPL", version_of(&w, "AAPL"));
    assert_true(redis_do(&w.r, out, "SAVE"));
    market_import_walk(&w.m, "AAPL", 300, 2, 0);
    until_version(&w, &n, "AAPL", version_of(&w, "AAPL"));
    struct request q;
    ask(&w, &n, &q, "AAPL", TL_FREQ_1D, four, 4);
    spin(&n, 1, &q, 1);
    release(&q);
    redis_server_kill(&w.r);
    box_spin(&n.box, 50);
    redis_server_restart(&w.r); /* with what was saved */
    assert_true(redis_command(&w.r, out, sizeof out, (const char *const[]){"EXISTS", "tierline:ver:{AAPL}", NULL}));
    assert_string_equal(out, ":1\r\n");
    for (int i = 0; i < 1000 && n.box.cache->redis_state != TL_REDIS_JOINED; i++) box_spin(&n.box, 10);
    until_version(&w, &n, "AAPL", version_of(&w, "AAPL"));
    assert_true(redis_do(&w.r, out, "FLUSHALL"));
    market_import_walk(&w.m, "MSFT", 300, 2, 0);
    until_version(&w, &n, "MSFT", version_of(&w, "MSFT"));
    node_close(&n);
    world_close(&w);
}

static void too_few_bars_until_there_are_more(void **state)
{
    (void)state;
    static const char *const two[] = {"SMA(100)", "SMA(5)"};
    struct world w;
    struct node n[2];
    struct request q[2];
    world_open(&w, NULL);
    market_import_walk(&w.m, "AAPL", 50, 1, 0);
    for (size_t i = 0; i < 2; i++) node_open(&n[i], w.r.url, w.m.path);
    for (size_t i = 0; i < 2; i++) {
        ask(&w, &n[i], &q[i], "AAPL", TL_FREQ_1D, two, 2);
        spin(n, 2, &q[i], 1);
        assert_int_equal(q[i].items[0].status, TL_TOO_FEW_BARS);
        assert_string_equal(q[i].items[0].err.text, "50 bars, 100 needed");
        assert_int_equal(q[i].items[1].status, TL_OK);
        release(&q[i]);
    }
    assert_int_equal(node_stats(&n[1]).commits, 0); /* it was told by the record */
    market_import_walk(&w.m, "AAPL", 150, 1, 0);
    ask(&w, &n[1], &q[1], "AAPL", TL_FREQ_1D, two, 2);
    spin(n, 2, &q[1], 1);
    assert_int_equal(q[1].items[0].status, TL_OK);
    is_cold(&w, &q[1]);
    release(&q[1]);
    ask(&w, &n[0], &q[0], "GOOG", TL_FREQ_1D, two, 2);
    spin(n, 2, q, 1);
    assert_int_equal(q[0].op.status, TL_NO_DATA);
    for (size_t i = 0; i < 2; i++) node_close(&n[i]);
    world_close(&w);
}

/* The connection is cut after every so many bytes of reply: nothing is computed twice, no lease stays behind. */
static void lost_replies(void **state)
{
    (void)state;
    struct world w;
    struct proxy p;
    struct node n;
    struct request q;
    char url[64], symbol[16], out[64];
    world_open(&w, NULL);
    proxy_start(&p, w.r.port);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/0", p.port);
    unsigned cut = 0;
    for (int i = 0; i < 24; i++) {
        snprintf(symbol, sizeof symbol, "%06d.SH", 600000 + i);
        market_import_walk(&w.m, symbol, 100, (uint64_t)i, 0);
    }
    node_open(&n, url, w.m.path);
    box_spin(&n.box, 300);
    for (int i = 0; i < 24; i++) {
        for (int k = 0; k < 1000 && n.box.cache->redis_state != TL_REDIS_JOINED; k++) box_spin(&n.box, 5);
        assert_int_equal(n.box.cache->redis_state, TL_REDIS_JOINED);
        snprintf(symbol, sizeof symbol, "%06d.SH", 600000 + i);
        struct tl_scheduler_stats before = node_stats(&n);
        ask(&w, &n, &q, symbol, TL_FREQ_1D, four, 4);
        for (int k = 0; k < 20000 && node_stats(&n).acquires == before.acquires; k++) {
            uv_run(&n.box.loop, UV_RUN_NOWAIT);
            if (node_stats(&n).acquires == before.acquires) usleep(50);
        }
        atomic_store(&p.cut_after, (long)i * 7); /* ACQUIRE answers about 110 bytes, COMMIT 24 */
        spin(&n, 1, &q, 1);
        cut += atomic_load(&p.cut_after) == -2;
        atomic_store(&p.cut_after, -1);
        is_cold(&w, &q);
        release(&q);
        struct tl_scheduler_stats after = node_stats(&n);
        assert_int_equal(after.computed - before.computed, 4);
        assert_int_equal(after.duplicated, 0);
        assert_int_equal(after.degraded, 0);
        assert_true(redis_do(&w.r, out, "EVAL", "return #redis.call('KEYS', 'tierline:lock:*')", "0"));
        assert_string_equal(out, ":0\r\n");
    }
    print_message("%u connections were cut\n", cut);
    assert_true(cut > 15);
    node_close(&n);
    proxy_stop(&p);
    world_close(&w);
}

/* Years of minutes: a series that is too large for a message, for an answer, and for a general value. */
static void a_large_series(void **state)
{
    (void)state;
    static const char *const macd[] = {"MACD(12,26,9)"};
    struct world w;
    struct node n[2];
    struct request q[2];
    struct tl_bars bars;
    world_open(&w, NULL);
    tl_bars_init(&bars);
    for (int64_t i = 0; i < 380000; i++) {
        double close = 20 + (double)(i % 977) / 100;
        struct tl_bar bar = {.ts_ms = 1577836800000 + i * 60000, .v = {close, close + 1, close - 1, close, 100, 0}};
        assert_int_equal(tl_bars_append(&bars, &bar), TL_OK);
    }
    market_import(&w.m, "AAPL", TL_FREQ_1M, "UTC", &bars, false);
    tl_bars_release(&bars);
    for (size_t i = 0; i < 2; i++) node_open(&n[i], w.r.url, w.m.path);
    for (size_t i = 0; i < 2; i++) ask(&w, &n[i], &q[i], "AAPL", TL_FREQ_1M, macd, 1);
    spin(n, 2, q, 2);
    for (size_t i = 0; i < 2; i++) {
        is_cold(&w, &q[i]);
        assert_true(q[i].items[0].series.n * 24 > TL_VALUE_MAX);
        release(&q[i]);
    }
    assert_int_equal(node_stats(&n[0]).computed + node_stats(&n[1]).computed, 1);
    assert_int_equal(node_stats(&n[0]).degraded + node_stats(&n[1]).degraded, 0);
    for (size_t i = 0; i < 2; i++) node_close(&n[i]);
    world_close(&w);
}

/* All that one call touches lies in one slot: a server that checks it, and owns all slots, takes everything. */
static void on_a_cluster(void **state)
{
    (void)state;
    char bus[8], out[1024] = "";
    snprintf(bus, sizeof bus, "%d", redis_free_port());
    const char *const extra[] = {"--cluster-enabled", "yes", "--cluster-port", bus, NULL};
    struct world w;
    struct node n[2];
    struct request q[4];
    world_open(&w, extra);
    assert_true(redis_do(&w.r, out, "CLUSTER", "ADDSLOTSRANGE", "0", "16383"));
    for (int i = 0; i < 600 && !strstr(out, "cluster_state:ok"); i++) {
        redis_sleep_ms(10);
        assert_true(redis_command(&w.r, out, sizeof out, (const char *const[]){"CLUSTER", "INFO", NULL}));
    }
    static const char *const symbols[] = {"600519.SH", "AAPL"};
    for (size_t i = 0; i < 2; i++) market_import_walk(&w.m, symbols[i], 300, i, 0);
    for (size_t i = 0; i < 2; i++) node_open(&n[i], w.r.url, w.m.path);
    for (size_t i = 0; i < 2; i++) assert_int_equal(n[i].box.cache->redis_state, TL_REDIS_JOINED);
    for (size_t i = 0; i < 4; i++) ask(&w, &n[i / 2], &q[i], symbols[i % 2], TL_FREQ_1D, four, 4);
    spin(n, 2, q, 4);
    for (size_t i = 0; i < 4; i++) {
        is_cold(&w, &q[i]);
        release(&q[i]);
    }
    assert_int_equal(node_stats(&n[0]).computed + node_stats(&n[1]).computed, 8);
    assert_int_equal(node_stats(&n[0]).degraded + node_stats(&n[1]).degraded, 0);
    until_version(&w, &n[0], "AAPL", version_of(&w, "AAPL"));
    assert_int_equal(box_invalidate(&n[0].box, TL_SCOPE_SYMBOL, NULL, "AAPL"), TL_OK);
    assert_int_equal(box_put(&n[0].box, "etf", "AAPL", "x", TL_TIER_REDIS), TL_OK);
    for (size_t i = 0; i < 2; i++) node_close(&n[i]);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_key_is_taken_for_another),
        cmocka_unit_test(round_trips),
        cmocka_unit_test(changed_meanwhile),
        cmocka_unit_test(a_steady_feed),
        cmocka_unit_test(versions_travel),
        cmocka_unit_test(too_few_bars_until_there_are_more),
        cmocka_unit_test(lost_replies),
        cmocka_unit_test(a_large_series),
        cmocka_unit_test(on_a_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
