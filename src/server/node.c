/* SPDX-License-Identifier: Apache-2.0 */
/* Opens and closes the parts of a process in order. Each part outlives those that are opened after it: jobs use the
 * bus, the leases and the scheduler until they are closed, and all of them the cache. Closing passes from callback to
 * callback: jobs, bus, leases, scheduler, cache, store. */
#include "server/node.h"

#include "base/err.h"
#include "base/util.h"

enum { READY_MS = 3000, MEMORY_ALONE = 1 << 24, BUS_DRAIN_MS = 2000, CACHE_DRAIN_MS = 4000 };

/* ---- closing ---- */

static void on_all_closed(uv_handle_t *handle)
{
    struct tl_node *n = handle->data;
    void (*cb)(void *) = n->closed;
    void *ctx = n->closed_ctx;
    n->deadline_open = false;
    if (cb) cb(ctx);
}

static void on_cache_closed(void *ctx)
{
    struct tl_node *n = ctx;
    n->cache = NULL;
    tl_store_close(n->store);
    n->store = NULL;
    uv_close((uv_handle_t *)&n->deadline, on_all_closed);
}

static void on_parts_closed(void *ctx)
{
    struct tl_node *n = ctx;
    if (n->cache)
        tl_cache_close(n->cache, on_cache_closed, n);
    else
        on_cache_closed(n);
}

static void on_scheduler_closed(void *ctx)
{
    struct tl_node *n = ctx;
    n->scheduler = NULL;
    if (n->close_parts)
        n->close_parts(n->parts_ctx, on_parts_closed, n);
    else
        on_parts_closed(n);
}

static void on_locks_closed(void *ctx)
{
    struct tl_node *n = ctx;
    n->locks = NULL;
    if (n->scheduler)
        tl_scheduler_close(n->scheduler, on_scheduler_closed, n);
    else
        on_scheduler_closed(n);
}

static void on_bus_closed(void *ctx)
{
    struct tl_node *n = ctx;
    n->bus = NULL;
    if (n->locks)
        tl_locks_close(n->locks, on_locks_closed, n);
    else
        on_locks_closed(n);
}

static uint64_t left_ms(const struct tl_node *n, uint64_t most)
{
    uint64_t now = tl_clock_mono_ns(n->clock);
    uint64_t left = now < n->until_ns ? (n->until_ns - now) / 1000000 : 0;
    return TL_MAX(TL_MIN(left, most), 1);
}

static void on_jobs_closed(void *ctx)
{
    struct tl_node *n = ctx;
    n->jobs = NULL;
    if (n->bus)
        tl_bus_close(n->bus, left_ms(n, BUS_DRAIN_MS), on_bus_closed, n);
    else
        on_bus_closed(n);
}

static void close_jobs(struct tl_node *n)
{
    if (n->drained) return;
    n->drained = true;
    uv_timer_stop(&n->deadline);
    if (n->jobs)
        tl_jobs_close(n->jobs, on_jobs_closed, n);
    else
        on_jobs_closed(n);
}

static void on_drained(void *ctx)
{
    close_jobs(ctx);
}

static void on_deadline(uv_timer_t *timer)
{
    struct tl_node *n = timer->data;
    tl_log(n->log, TL_LOG_WARN, "node", "a job did not hand over in time", "jobs=1");
    close_jobs(n);
}

void tl_node_close(struct tl_node *n, uint64_t drain_ms, void (*cb)(void *ctx), void *ctx)
{
    if (n->closing) return;
    n->closing = true;
    n->closed = cb;
    n->closed_ctx = ctx;
    n->until_ns = tl_clock_mono_ns(n->clock) + drain_ms * 1000000;
    uint64_t for_jobs = drain_ms > 2 * (uint64_t)BUS_DRAIN_MS ? drain_ms - 2 * (uint64_t)BUS_DRAIN_MS : drain_ms / 2;
    if (!n->jobs) {
        close_jobs(n);
        return;
    }
    uv_timer_start(&n->deadline, on_deadline, for_jobs, 0);
    tl_jobs_drain(n->jobs, on_drained, n);
}

/* ---- opening ---- */

struct ready {
    bool over;
    struct tl_err err;
};

static void on_ready(void *ctx, enum tl_status status, const struct tl_err *err)
{
    struct ready *r = ctx;
    r->over = true;
    r->err.status = status;
    if (err) r->err = *err;
}

static enum tl_status open_cache(struct tl_node *n, const struct tl_node_options *o, struct tl_err *redis,
                                 struct tl_err *err)
{
    struct tl_cache_options co;
    struct ready r = {.over = false};
    const struct tl_cache_options_inside inside = {.clock = n->clock, .log = n->log, .store = n->store};
    enum tl_status st = tl_cache_options_read(n->config, &co, err);
    if (st != TL_OK) return st;
    co.hot_keys = o->hot_keys;
    co.store_threads = o->store_threads;
    co.drain_ms = CACHE_DRAIN_MS;
    st = tl_cache_open_inside(n->loop, &co, &inside, &n->cache, err);
    tl_cache_options_release(&co);
    if (st == TL_OK) st = tl_cache_ready(n->cache, READY_MS, on_ready, &r);
    while (st == TL_OK && !r.over) uv_run(n->loop, UV_RUN_ONCE);
    if (redis) *redis = r.err;
    if (st == TL_OK && r.err.status == TL_CONFLICT) st = tl_fail(err, TL_CONFLICT, "%s", r.err.text);
    return st;
}

static enum tl_status open_shared(struct tl_node *n, struct tl_err *err)
{
    const char *url = tl_config_str(n->config, "redis"), *prefix = tl_config_str(n->config, "redis.prefix");
    bool none = tl_config_no_redis(n->config);
    uint32_t timeout_ms = (uint32_t)tl_config_int(n->config, "redis.timeout_ms");
    const struct tl_locks_options lo = {
        .redis_url = url, .prefix = prefix, .redis_timeout_ms = timeout_ms, .log_level = -1};
    const struct tl_bus_options bo = {.redis_url = none ? NULL : url, .prefix = prefix, .redis_timeout_ms = timeout_ms};
    enum tl_status st = none ? TL_OK : tl_locks_open(n->loop, &lo, &n->locks, err);
    return st == TL_OK ? tl_bus_open(n->cache, &bo, &n->bus, err) : st;
}

static enum tl_status open_jobs(struct tl_node *n, const struct tl_node_options *o, struct tl_err *err)
{
    const struct tl_jobs_options jo = {.cache = n->cache,
                                       .scheduler = n->scheduler,
                                       .bus = n->bus,
                                       .locks = n->locks,
                                       .redis_url =
                                           tl_config_no_redis(n->config) ? NULL : tl_config_str(n->config, "redis"),
                                       .prefix = tl_config_str(n->config, "redis.prefix"),
                                       .config = n->config,
                                       .sessions = n->hours.view,
                                       .clock = n->clock,
                                       .log = n->log,
                                       .take = o->take && n->store};
    return tl_jobs_open(n->loop, &jo, &n->jobs, err);
}

static unsigned worker_count(const struct tl_config *cfg)
{
    int64_t n = tl_config_int(cfg, "calc.workers");
    if (n <= 0) n = (int64_t)uv_available_parallelism();
    return n < 1 ? 1 : n > 256 ? 256 : (unsigned)n;
}

static void on_undone(void *ctx)
{
    *(bool *)ctx = true;
}

enum tl_status tl_node_open(uv_loop_t *loop, const struct tl_node_options *o, struct tl_node *n, struct tl_err *redis,
                            struct tl_err *err)
{
    static const struct tl_log silent = {.level = TL_LOG_OFF, .fd = 2};
    *n = (struct tl_node){.loop = loop,
                          .config = o->config,
                          .clock = o->clock ? o->clock : &tl_clock_system,
                          .log = o->log ? o->log : &silent};
    if (redis) *redis = (struct tl_err){.status = TL_OK};
    int rc = uv_timer_init(loop, &n->deadline);
    if (rc != 0) return tl_fail(err, TL_IO, "cannot start a timer: %s", uv_strerror(rc));
    n->deadline.data = n;
    n->deadline_open = true;
    const struct tl_scheduler_options so = {.workers = worker_count(o->config),
                                            .lease_ms = (uint32_t)tl_config_int(o->config, "calc.lease_ms")};
    enum tl_status st = tl_hours_read(o->config, &n->hours, err);
    if (st == TL_OK && !tl_config_no_store(o->config))
        st = tl_config_open_store(o->config, false, n->clock, n->log, &n->store, err);
    if (st == TL_OK) st = open_cache(n, o, redis, err);
    if (st == TL_OK) st = tl_scheduler_open(n->cache, &so, &n->scheduler, err);
    if (st == TL_OK) st = open_shared(n, err);
    if (st == TL_OK) st = open_jobs(n, o, err);
    if (st == TL_OK) {
        n->close_parts = o->close_parts;
        n->parts_ctx = o->parts_ctx;
        return TL_OK;
    }
    bool undone = false;
    tl_node_close(n, 1000, on_undone, &undone);
    while (!undone) uv_run(loop, UV_RUN_ONCE);
    return st;
}

/* ---- new settings ---- */

static const char *text_or_none(const char *text)
{
    return text ? text : "none";
}

static void name_what_stays(const struct tl_node *n, const struct tl_config *fresh)
{
    static const char *const by_job[] = {"calc.set", "calc.freq", "calc.adjust", "calc.suspended"};
    static const char *const markets[] = {"CN", "HK", "US", "FUTURES"};
    for (size_t i = 0; tl_setting_at(i); i++) {
        const char *name = tl_setting_at(i)->name;
        bool changed = strcmp(tl_config_text(n->config, name), tl_config_text(fresh, name)) != 0;
        for (size_t k = 0; k < TL_COUNT(by_job); k++) changed &= strcmp(name, by_job[k]) != 0;
        if (changed) tl_log(n->log, TL_LOG_WARN, "node", "needs a restart to change", "setting=%s", name);
    }
    for (size_t i = 0; i < TL_COUNT(markets); i++) {
        const char *was = text_or_none(tl_config_sessions(n->config, markets[i]));
        if (strcmp(was, text_or_none(tl_config_sessions(fresh, markets[i]))) != 0)
            tl_log(n->log, TL_LOG_WARN, "node", "needs a restart to change", "setting=sessions.%s", markets[i]);
    }
}

enum tl_status tl_node_configure(struct tl_node *n, const struct tl_config *fresh, struct tl_err *err)
{
    enum tl_status st = tl_jobs_configure(n->jobs, fresh, err);
    if (st != TL_OK) return st;
    name_what_stays(n, fresh);
    n->config = fresh;
    return TL_OK;
}
