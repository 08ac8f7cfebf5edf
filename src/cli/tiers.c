/* SPDX-License-Identifier: Apache-2.0 */
/* From settings to a cache. A Redis that cannot be used is said once and is no failure: the other tiers go on. */
#include "cli/tiers.h"

#include "base/err.h"
#include "base/util.h"

enum { READY_MS = 3000 };

bool tl_cli_no_store(const struct tl_cli *cli)
{
    return tl_config_no_store(cli->cfg);
}

bool tl_cli_no_redis(const struct tl_cli *cli)
{
    return tl_config_no_redis(cli->cfg);
}

enum tl_status tl_cli_open_cache(const struct tl_cli *cli, struct tl_store *store, bool writable,
                                 const struct tl_cache_options_inside *how, struct tl_blocking **out,
                                 struct tl_err *redis, struct tl_err *err)
{
    struct tl_cache_options o;
    static const struct tl_log silent = {.level = TL_LOG_OFF, .fd = 2};
    struct tl_cache_options_inside inside = {.clock = cli->clock, .log = &silent, .store = store};
    if (how) {
        inside.adopt_store = how->adopt_store;
        inside.silent = how->silent;
    }
    enum tl_status st = tl_cache_options_read(cli->cfg, &o, err);
    if (st != TL_OK) return st;
    o.read_only = !writable;
    st = tl_blocking_open_inside(&o, &inside, READY_MS, out, redis, err);
    tl_cache_options_release(&o);
    return st;
}

/* ---- sessions ---- */

enum { MEMORY_ALONE = 1 << 20 };

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

static void close_cache(void *cache)
{
    tl_cache_close(cache, NULL, NULL);
}

void tl_cli_session_close(struct tl_cli_session *s)
{
    if (s->scheduler)
        tl_scheduler_close(s->scheduler, close_cache, s->cache);
    else if (s->cache)
        close_cache(s->cache);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&s->loop);
    TL_ASSERT(rc == 0);
}

enum tl_status tl_cli_session_open(const struct tl_cli *cli, struct tl_store *store, bool writable, unsigned workers,
                                   const struct tl_log *log, struct tl_cli_session *out, struct tl_err *redis,
                                   struct tl_err *err)
{
    static const struct tl_log silent = {.level = TL_LOG_OFF, .fd = 2};
    struct tl_cache_options co;
    struct tl_cache_options_inside inside = {.clock = cli->clock, .log = log ? log : &silent, .store = store};
    struct ready r = {.over = false};
    *out = (struct tl_cli_session){.cache = NULL};
    enum tl_status st = tl_cache_options_read(cli->cfg, &co, err);
    if (st != TL_OK) return st;
    co.read_only = !writable;
    if (tl_cli_no_redis(cli)) co.memory_bytes = MEMORY_ALONE; /* nobody reads from it */
    int rc = uv_loop_init(&out->loop);
    if (rc != 0) st = tl_fail(err, TL_IO, "cannot start the event loop: %s", uv_strerror(rc));
    if (rc == 0) st = tl_cache_open_inside(&out->loop, &co, &inside, &out->cache, err);
    tl_cache_options_release(&co);
    if (rc != 0) return st;
    if (st == TL_OK) st = tl_cache_ready(out->cache, READY_MS, on_ready, &r);
    while (st == TL_OK && !r.over) uv_run(&out->loop, UV_RUN_ONCE);
    *redis = r.err;
    if (st == TL_OK && r.err.status == TL_CONFLICT) st = tl_fail(err, TL_CONFLICT, "%s", r.err.text);
    struct tl_scheduler_options so = {.workers = workers,
                                      .lease_ms = (uint32_t)tl_config_int(cli->cfg, "calc.lease_ms")};
    if (st == TL_OK) st = tl_scheduler_open(out->cache, &so, &out->scheduler, err);
    if (st != TL_OK) tl_cli_session_close(out);
    return st;
}
