/* SPDX-License-Identifier: Apache-2.0 */
/* Computing once, with a redis-server of its own: ACQUIRE and COMMIT, 64 under way on one connection, beside SET NX PX
 * and DEL of redis-benchmark on the same server; from the function's end to the value in another process' hand; taking
 * over from a killed process; exchanges for a symbol; and the daily calculation by several processes on one store.
 * Usage: bench_once TIERLINE */
#include "bench.h"

#include "base/util.h"

#include "cache/series_entry.h"
#include "indicator/kernel.h"
#include "schedule/symbol.h"
#include "server.h"

#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { ROUNDS = 5, DEPTH = 64, KEYS = 32000, HAND_OVERS = 2000, TAKE_OVERS = 9, LEASE_MS = 500, CALC_ROUNDS = 3 };

extern char **environ;

struct node {
    struct tl_cache *cache;
    struct tl_scheduler *s;
};

static uv_loop_t loop;

static void node_open(struct node *n, int port, const char *store, unsigned workers, uint32_t lease_ms)
{
    char url[64];
    struct tl_err err;
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", port);
    struct tl_cache_options o = {
        .redis_url = url, .store_url = store, .redis_timeout_ms = 10000, .log_level = 3, .memory_bytes = 64u << 20};
    struct tl_scheduler_options so = {.workers = workers, .lease_ms = lease_ms};
    *n = (struct node){.cache = NULL};
    must(tl_cache_open(&loop, &o, &n->cache, &err) == TL_OK, err.text);
    must(tl_scheduler_open(n->cache, &so, &n->s, &err) == TL_OK, err.text);
    uint64_t end = bench_now_ns() + 10000000000u;
    while (n->cache->redis_state != TL_REDIS_JOINED) {
        must(bench_now_ns() < end, "Redis cannot be reached");
        uv_run(&loop, UV_RUN_ONCE);
    }
}

static void close_cache(void *cache)
{
    tl_cache_close(cache, NULL, NULL);
}

/* All of them, since the loop runs until nothing is left on it. */
static void nodes_close(struct node *nodes, size_t n)
{
    for (size_t i = 0; i < n; i++) tl_scheduler_close(nodes[i].s, close_cache, nodes[i].cache);
    uv_run(&loop, UV_RUN_DEFAULT);
}

/* ---- ACQUIRE and COMMIT alone: the value is there at once ---- */

enum { NINE = 9 };

struct at_once { /* a group */
    struct once_source source;
    size_t n;
    struct once_waiter waiters[NINE];
    struct tl_cache_key keys[NINE];
};

static unsigned under_way;
static int64_t bars; /* each time there is one more: what Redis has is out of date */

static void checked_at_once(struct once_source *source, struct once_group *g)
{
    (void)source;
    bars++;
    g->version = (struct tl_version){.revision = 1, .bars = bars, .last_ts = bars};
    snprintf(g->field, sizeof g->field, "1d:raw");
    tl_once_checked(g, TL_OK, "");
}

static void make_at_once(struct once_source *source, struct once_group *g)
{
    double row = 1;
    (void)source;
    struct tl_series s = {
        .version = g->version, .kernel_version = TL_KERNEL_VERSION, .columns = 1, .n = 1, .rows = &row};
    for (size_t i = 0; i < g->n; i++) {
        struct tl_entry *e = tl_series_entry_new(tl_cache_key_str(&g->keys[i].key), &s);
        must(e != NULL, "memory");
        tl_once_value(&g->keys[i], e, false);
    }
    tl_once_made(g);
}

static void keep_nowhere(struct once_source *source, const struct once_key *k, struct tl_entry *e, enum tl_tier_id from,
                         bool degraded)
{
    (void)source, (void)k, (void)e, (void)from;
    must(!degraded, "Redis was lost");
}

static void at_once_over(struct once_waiter *w, const struct once_result *r)
{
    (void)w;
    must(r->status == TL_OK && r->source == TL_TIER_SOURCE, r->why);
}

static void at_once_end(struct once_source *source)
{
    (void)source;
    under_way--;
}

static const struct once_source_ops at_once_ops = {
    .versioned = true, .check = checked_at_once, .make = make_at_once, .keep = keep_nowhere, .end = at_once_end};

/* Values a second, leased and committed in groups of `each`. */
static double values(struct node *n, unsigned depth, unsigned each, unsigned count)
{
    static struct at_once groups[DEPTH];
    uint64_t start = bench_now_ns();
    for (unsigned done = 0; done < count; done += depth * each) {
        for (unsigned i = 0; i < depth; i++) {
            struct at_once *a = &groups[i];
            struct once_waiter *waiters[NINE];
            struct tl_series_key key = {.freq = TL_FREQ_1D};
            snprintf(key.symbol.text, sizeof key.symbol.text, "K%u", i);
            *a = (struct at_once){.source.ops = &at_once_ops, .n = each};
            for (unsigned k = 0; k < each; k++) {
                snprintf(key.spec, sizeof key.spec, "SMA(%u)", k + 2);
                tl_cache_key_series(&key, &a->keys[k]);
                a->waiters[k].over = at_once_over;
                waiters[k] = &a->waiters[k];
            }
            under_way++;
            must(tl_once_begin(n->s, &a->source, a->keys, NULL, each, waiters) == TL_OK, "begin");
        }
        while (under_way > 0) uv_run(&loop, UV_RUN_ONCE);
    }
    return count * 1e9 / (double)(bench_now_ns() - start);
}

static void uncontended(struct server *server)
{
    double one[ROUNDS], many[ROUNDS], nine[ROUNDS], their_one[ROUNDS], their_many[ROUNDS];
    struct node n;
    node_open(&n, server->port, NULL, DEPTH, 60000);
    for (int r = 0; r < ROUNDS; r++) {
        one[r] = values(&n, 1, 1, KEYS / 20);
        their_one[r] = bench_set_and_del(server->port, 1, KEYS / 10);
        many[r] = values(&n, DEPTH, 1, KEYS);
        nine[r] = values(&n, DEPTH, NINE, KEYS);
        their_many[r] = bench_set_and_del(server->port, DEPTH, 2 * KEYS);
    }
    nodes_close(&n, 1);
    double o = bench_median(one, ROUNDS), to = bench_median(their_one, ROUNDS), tm = bench_median(their_many, ROUNDS);
    double m = bench_median(many, ROUNDS), p = bench_median(nine, ROUNDS);
    bench_row("once_one_at_a_time", o, "values/s", "SET NX PX + DEL by redis-benchmark", to, o / to, NULL, true);
    bench_row("once_pipelined", m, "values/s", "SET NX PX + DEL by redis-benchmark", tm, m / tm, ">= 0.25 x peer",
              m >= 0.25 * tm);
    bench_row("once_pipelined_nine_a_symbol", p, "values/s", "SET NX PX + DEL by redis-benchmark", tm, p / tm, NULL,
              true);
}

/* ---- from one process to another ---- */

struct hand {
    struct tl_compute op;
    bool done;
    uint64_t at_ns;
};

static _Atomic uint64_t made_ns;

static enum tl_status make_slowly(void *ctx, const struct tl_key *key, struct tl_making *m)
{
    (void)ctx, (void)key;
    usleep(500);
    enum tl_status st = tl_making_value(m, "value", 5, NULL);
    atomic_store(&made_ns, bench_now_ns());
    return st;
}

static void on_hand(struct tl_compute *op, enum tl_status status)
{
    struct hand *h = op->user;
    must(status == TL_OK, op->err.text);
    tl_value_unref(op->value);
    h->at_ns = bench_now_ns();
    h->done = true;
}

static void reach_out(struct node *n, struct hand *h, const char *symbol, tl_make_fn *make)
{
    struct tl_key key = {.data_type = "bench", .symbol = symbol};
    *h = (struct hand){.op = {.make = make, .user = h}};
    must(tl_compute(n->s, &h->op, &key, 20000, on_hand, NULL) == TL_OK, "compute");
}

static void hand_over(struct server *server)
{
    static double us[HAND_OVERS];
    struct node n[2];
    for (int i = 0; i < 2; i++) node_open(&n[i], server->port, NULL, 1, 60000);
    for (int i = 0; i < HAND_OVERS; i++) {
        struct hand h[2];
        char symbol[24];
        snprintf(symbol, sizeof symbol, "H%d", i);
        reach_out(&n[0], &h[0], symbol, make_slowly);
        for (int k = 0; k < 20; k++) uv_run(&loop, UV_RUN_NOWAIT);
        reach_out(&n[1], &h[1], symbol, make_slowly);
        while (!h[0].done || !h[1].done) uv_run(&loop, UV_RUN_ONCE);
        struct hand *other = h[0].op.waited ? &h[0] : &h[1];
        us[i] = (double)(other->at_ns - atomic_load(&made_ns)) / 1e3;
    }
    nodes_close(n, 2);
    double median = bench_median(us, HAND_OVERS), p99 = us[HAND_OVERS * 99 / 100];
    bench_row("once_hand_over_p50_us", median, "us", NULL, 0, 0, NULL, true);
    bench_row("once_hand_over_p99_us", p99, "us", NULL, 0, 0, "<= 1000", p99 <= 1000);
}

/* ---- taking over ---- */

static enum tl_status make_never(void *ctx, const struct tl_key *key, struct tl_making *m)
{
    (void)key, (void)m;
    *(volatile bool *)ctx = true;
    while (*(volatile bool *)ctx) pause();
    return TL_OK;
}

static void hold_for_ever(int port, const char *symbol, volatile bool *held)
{
    struct node n;
    struct hand h;
    uv_loop_init(&loop);
    node_open(&n, port, NULL, 1, LEASE_MS);
    struct tl_key key = {.data_type = "bench", .symbol = symbol};
    h = (struct hand){.op = {.make = make_never, .ctx = (void *)(uintptr_t)held, .user = &h}};
    must(tl_compute(n.s, &h.op, &key, 60000, on_hand, NULL) == TL_OK, "compute");
    for (;;) uv_run(&loop, UV_RUN_ONCE);
}

static void take_over(struct server *server)
{
    double ms[TAKE_OVERS];
    volatile bool *held = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(held != MAP_FAILED, "mmap");
    for (int i = 0; i < TAKE_OVERS; i++) {
        char symbol[24];
        struct node n;
        struct hand h;
        snprintf(symbol, sizeof symbol, "T%d", i);
        *held = false;
        fflush(NULL);
        pid_t pid = fork();
        must(pid >= 0, "fork");
        if (pid == 0) hold_for_ever(server->port, symbol, held);
        for (int waited = 0; !*held; waited++) {
            must(waited < 20000, "the holder does not hold it");
            usleep(1000);
        }
        node_open(&n, server->port, NULL, 1, LEASE_MS);
        reach_out(&n, &h, symbol, make_slowly);
        for (uint64_t end = bench_now_ns() + 200000000; bench_now_ns() < end;) uv_run(&loop, UV_RUN_NOWAIT);
        uint64_t killed = bench_now_ns();
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        while (!h.done) uv_run(&loop, UV_RUN_ONCE);
        must(h.op.taken_over, "it was not taken over");
        ms[i] = (double)(h.at_ns - killed) / 1e6;
        nodes_close(&n, 1);
    }
    munmap((void *)(uintptr_t)held, 4096);
    double median = bench_median(ms, TAKE_OVERS);
    bench_row("once_take_over_of_500ms_lease", median, "ms", NULL, 0, 0, "<= 1500", ms[TAKE_OVERS - 1] <= 1500);
}

/* ---- several processes of tierline ---- */

struct files {
    char dir[32], imported[64], store[64], source[256];
};

static pid_t spawn(const char *const argv[])
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    must(posix_spawn(&pid, argv[0], &actions, NULL, (char **)(uintptr_t)argv, environ) == 0, "cannot run the binary");
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void await(pid_t pid)
{
    int status = 0;
    must(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) <= 1, "the command failed");
}

static void shell(const char *command)
{
    must(system(command) == 0, command);
}

/* As it was imported, and Redis empty. */
static void begin_anew(const struct files *f, const struct server *server)
{
    char command[512];
    snprintf(command, sizeof command, "rm -f '%s'-wal '%s'-shm && cp '%s' '%s' && redis-cli -p %d flushall >/dev/null",
             f->store, f->store, f->imported, f->store, server->port);
    shell(command);
}

/* Seconds until the last of n processes has ended. n 0: one without Redis. */
static double calc(const char *binary, struct files *f, const struct server *server, int n)
{
    char url[64];
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/0", server->port);
    begin_anew(f, server);
    pid_t pids[4];
    int processes = n ? n : 1;
    uint64_t start = bench_now_ns();
    for (int i = 0; i < processes; i++)
        pids[i] = spawn((const char *[]){binary, "calc", "--set", "daily", "--store", f->store, "--redis",
                                         n ? url : "none", "--json", NULL});
    for (int i = 0; i < processes; i++) await(pids[i]);
    return (double)(bench_now_ns() - start) / 1e9;
}

static void calcs(const char *binary, struct files *f, const struct server *server, const char *name,
                  const int *processes, size_t n)
{
    double alone[CALC_ROUNDS], shared[4][CALC_ROUNDS];
    for (int r = 0; r < CALC_ROUNDS; r++) {
        alone[r] = calc(binary, f, server, 0);
        for (size_t i = 0; i < n; i++) shared[i][r] = calc(binary, f, server, processes[i]);
    }
    double peer = bench_median(alone, CALC_ROUNDS);
    for (size_t i = 0; i < n; i++) {
        char row[64];
        double s = bench_median(shared[i], CALC_ROUNDS);
        snprintf(row, sizeof row, "%s_%d_processes", name, processes[i]);
        bench_row(row, s, "s", "one process without Redis", peer, s / peer, NULL, true);
    }
}

static void on_indicators(struct tl_indicators *op)
{
    *(bool *)op->user = true;
}

static void exchanges(const struct server *server, struct files *f)
{
    static const char *const nine[] = {"SMA(5)",  "SMA(10)", "SMA(20)",    "SMA(60)",     "MACD(12,26,9)",
                                       "RSI(14)", "ATR(14)", "KDJ(9,3,3)", "BBANDS(20,2)"};
    struct tl_indicator_item items[TL_COUNT(nine)];
    struct tl_view_sessions sessions = tl_view_sessions_default();
    struct node n;
    bool done = false;
    begin_anew(f, server);
    node_open(&n, server->port, f->store, 1, 5000);
    memset(items, 0, sizeof items);
    struct tl_indicators op = {.freq = TL_FREQ_1D,
                               .day_ms = INT64_MIN,
                               .sessions = &sessions,
                               .count = TL_COUNT(nine),
                               .items = items,
                               .cb = on_indicators,
                               .user = &done};
    must(tl_symbol_parse(tl_str("AAPL"), TL_MARKET_NONE, &op.symbol, NULL) == TL_OK, "symbol");
    for (size_t i = 0; i < TL_COUNT(nine); i++) {
        struct tl_err err;
        must(tl_spec_parse(nine[i], &items[i].spec, &err) == TL_OK, err.text);
    }
    tl_indicators_get(n.s, &op);
    while (!done) uv_run(&loop, UV_RUN_ONCE);
    struct tl_scheduler_stats s;
    tl_scheduler_stats(n.s, &s);
    double n_exchanges = (double)(s.acquires + s.commits);
    if (s.computed == TL_COUNT(nine))
        bench_row("once_exchanges_for_9_indicators", n_exchanges, "exchanges", NULL, 0, 0, "== 2", n_exchanges == 2);
    nodes_close(&n, 1);
}

int main(int argc, char **argv)
{
    must(argc == 2, "usage: bench_once TIERLINE");
    struct server server = {.pid = 0};
    struct files f = {.dir = "/tmp/tl-bench-XXXXXX"};
    must(mkdtemp(f.dir) != NULL, "no temporary folder");
    snprintf(f.imported, sizeof f.imported, "%s/imported.db", f.dir);
    snprintf(f.store, sizeof f.store, "%s/store.db", f.dir);
    start_server(&server);
    uv_loop_init(&loop);
    take_over(&server); /* it forks: first, while there are no threads */
    uncontended(&server);
    hand_over(&server);
    const char *shared = getenv("TIERLINE_SHARED");
    snprintf(f.source, sizeof f.source, "%s/data/sp500_5yr/all_stocks_5yr.csv", shared ? shared : "../shared");
    if (access(f.source, R_OK) == 0) {
        await(spawn((const char *[]){argv[1], "import", f.source, "--store", f.imported, "--quiet", NULL}));
        exchanges(&server, &f);
        calcs(argv[1], &f, &server, "calc_sp500", (const int[]){1, 2, 4}, 3);
        unlink(f.imported);
    }
    snprintf(f.source, sizeof f.source, "%s/market", f.dir);
    await(spawn((const char *[]){argv[1], "sample", f.source, "--symbols", "5000", "--years", "10", "--quiet", NULL}));
    snprintf(f.source, sizeof f.source, "%s/market/bars", f.dir);
    await(spawn((const char *[]){argv[1], "import", f.source, "--store", f.imported, "--quiet", NULL}));
    calcs(argv[1], &f, &server, "calc_5000_symbols", (const int[]){1, 2}, 2);
    uv_loop_close(&loop);
    stop_server(&server);
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", f.dir); /* a name that mkdtemp made */
    shell(command);
    return 0;
}
