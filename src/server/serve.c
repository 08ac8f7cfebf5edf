/* SPDX-License-Identifier: Apache-2.0 */
/* Opens: node, API workers with their readers, authentication, topics, sockets, HTTP. Closes: nobody new is let in and
 * everybody is told (drain), WebSockets end, then the node in its order (API workers between scheduler and cache: what
 * was asked for ends with the scheduler, and readers go before the store), and HTTP last, so that every call can be
 * answered.
 *
 *   OPEN --close--> DRAINING --nothing under way, or 3 s--> SOCKETS --all gone--> NODE --> HTTP --> freed */
#include "server/serve.h"

#include "base/err.h"
#include "base/util.h"
#include "server/foreign.h"
#include "server/local_locks.h"
#include "server/render.h"
#include "server/session.h"
#include "server/topics.h"

#include <stdio.h>

enum {
    LISTEN_MAX = 16,
    RENDERED_BYTES = 64 << 20,
    DRAIN_EACH_MS = 50,
    DRAIN_MS = 3000,
    NODE_MS = 6000,
    RETRY_MS = 1000,
    HOT_KEYS = 10000
};

struct tl_serve {
    struct api api;
    struct tl_node node;
    uv_timer_t tick;
    uint64_t drain_until_ns;
    bool node_open, tick_open, draining;
    void (*parts_closed)(void *ctx); /* the node goes on */
    void *parts_ctx;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

/* ---- settings ---- */

static enum tl_status read_origins(struct api *api, const struct tl_config *cfg, struct tl_err *err)
{
    struct tl_str rest = tl_str(tl_config_str(cfg, "server.cors")), one;
    size_t n = 0;
    while (tl_str_split(&rest, ',', &one)) {
        one = tl_str_trim(one);
        if (one.n == 0 || tl_str_eq(one, TL_STR("none"))) continue;
        bool good = tl_str_eq(one, TL_STR("*")) || (memmem(one.p, one.n, "://", 3) && one.p[one.n - 1] != '/');
        if (!good || one.n >= sizeof api->origins[0] || n == API_ORIGINS_MAX)
            return tl_fail(err, TL_INVALID,
                           "server.cors: '%.*s' is no origin like https://app.example.org (at most %d of them)",
                           TL_STR_ARG(one), API_ORIGINS_MAX);
        snprintf(api->origins[n++], sizeof api->origins[0], "%.*s", TL_STR_ARG(one));
    }
    api->n_origins = n;
    return TL_OK;
}

static void read_rights(struct api *api, const struct tl_config *cfg)
{
    api->anonymous_auto = strcmp(tl_config_str(cfg, "auth.anonymous"), "auto") == 0;
    api->access_log = tl_config_bool(cfg, "server.access_log");
}

static enum tl_status open_auth(struct api *api, struct tl_err *err)
{
    const struct tl_config *cfg = api->config;
    const char *anonymous = tl_config_str(cfg, "auth.anonymous");
    const struct tl_auth_options o = {.tokens_file = tl_config_str(cfg, "auth.tokens"),
                                      .jwt_hs256_file = tl_config_str(cfg, "auth.jwt_hs256"),
                                      .jwt_rs256_file = tl_config_str(cfg, "auth.jwt_rs256"),
                                      .jwt_issuer = tl_config_str(cfg, "auth.jwt_issuer"),
                                      .jwt_audience = tl_config_str(cfg, "auth.jwt_audience"),
                                      .jwt_scope_claim = tl_config_str(cfg, "auth.jwt_scope_claim"),
                                      .anonymous = tl_may_parse(tl_str(anonymous)),
                                      .clock = api->clock,
                                      .log = api->log};
    read_rights(api, cfg);
    return tl_auth_open(&o, &api->auth, err);
}

/* ---- listening ---- */

static bool is_this_machine(struct tl_str address)
{
    static const char *const local[] = {"127.", "[::1]:", "localhost:", "unix:", "fd:"};
    for (size_t i = 0; i < TL_COUNT(local); i++) {
        size_t n = strlen(local[i]);
        if (address.n >= n && memcmp(address.p, local[i], n) == 0) return true;
    }
    return false;
}

struct listening {
    char text[LISTEN_MAX][160];
    const char *list[LISTEN_MAX];
    size_t n;
};

static enum tl_status read_listen(const struct tl_serve *s, const struct tl_serve_options *o, struct listening *out,
                                  struct tl_err *err)
{
    struct tl_str rest = tl_str(tl_config_str(o->config, "server.listen")), one;
    out->n = 0;
    for (size_t i = 0; i < o->n_fds && out->n < LISTEN_MAX; i++)
        snprintf(out->text[out->n++], sizeof out->text[0], "fd:%d", o->fds[i]);
    while (o->n_fds == 0 && tl_str_split(&rest, ',', &one)) {
        one = tl_str_trim(one);
        if (one.n == 0) continue;
        if (one.n >= sizeof out->text[0] || out->n == LISTEN_MAX)
            return tl_fail(err, TL_INVALID, "server.listen: '%.*s': at most %d addresses", TL_STR_ARG(one), LISTEN_MAX);
        if (!is_this_machine(one) && !tl_auth_configured(s->api.auth))
            return tl_fail(
                err, TL_DENIED,
                "server.listen: %.*s can be reached from other machines, and nothing to authenticate with is "
                "configured: tierline token create, or auth.jwt_*",
                TL_STR_ARG(one));
        snprintf(out->text[out->n++], sizeof out->text[0], "%.*s", TL_STR_ARG(one));
    }
    if (out->n == 0) return tl_fail(err, TL_INVALID, "server.listen names no address");
    for (size_t i = 0; i < out->n; i++) out->list[i] = out->text[i];
    return TL_OK;
}

static enum tl_status open_http(struct tl_serve *s, const struct tl_serve_options *o, struct tl_err *err)
{
    struct listening l;
    struct api *api = &s->api;
    const struct tl_config *cfg = o->config;
    const struct tl_ws_loop_options wo = {
        .clock = api->clock, .log = api->log, .stall_ms = (uint32_t)tl_config_int(cfg, "server.stall_ms")};
    enum tl_status st = read_listen(s, o, &l, err);
    if (st == TL_OK) st = tl_ws_loop_start(api->loop, &wo, &api->ws, err);
    const struct tl_http_options ho = {.listen = l.list,
                                       .n_listen = l.n,
                                       .connections = (unsigned)tl_config_int(cfg, "server.connections"),
                                       .per_address = (unsigned)tl_config_int(cfg, "server.per_address"),
                                       .request_ms = (uint32_t)tl_config_int(cfg, "server.request_ms"),
                                       .idle_ms = (uint32_t)tl_config_int(cfg, "server.idle_ms"),
                                       .clock = api->clock,
                                       .log = api->log,
                                       .begin = api_begin,
                                       .handle = api_handle,
                                       .record = api_record,
                                       .ctx = api};
    return st == TL_OK ? tl_http_start(api->loop, &ho, &api->http, err) : st;
}

/* ---- closing ---- */

static void free_serve(struct tl_serve *s)
{
    void (*cb)(void *) = s->closed;
    void *ctx = s->closed_ctx;
    struct api *api = &s->api;
    api_rendered_free(api->rendered);
    topics_free(api->topics);
    tl_auth_free(api->auth);
    tl_buf_release(&api->scratch);
    free(s);
    if (cb) cb(ctx);
}

static void on_tick_closed(uv_handle_t *handle)
{
    free_serve(handle->data);
}

static void on_http_closed(void *ctx)
{
    struct tl_serve *s = ctx;
    s->api.http = NULL;
    uv_close((uv_handle_t *)&s->tick, on_tick_closed);
}

static void on_node_closed(void *ctx)
{
    struct tl_serve *s = ctx;
    s->api.cache = NULL;
    if (s->api.http)
        tl_http_close(s->api.http, on_http_closed, s);
    else
        on_http_closed(s);
}

static void on_workers_closed(void *ctx)
{
    struct tl_serve *s = ctx;
    s->api.workers = NULL;
    for (size_t i = 0; i < API_WORKERS; i++) tl_store_reader_free(s->api.readers[i]);
    local_locks_free(s->api.held);
    s->api.held = NULL;
    s->parts_closed(s->parts_ctx);
}

/* Between scheduler and cache. */
static void close_parts(void *ctx, void (*done)(void *ctx), void *done_ctx)
{
    struct tl_serve *s = ctx;
    s->api.scheduler = NULL;
    s->parts_closed = done;
    s->parts_ctx = done_ctx;
    if (s->api.workers)
        tl_workers_close(s->api.workers, on_workers_closed, s);
    else
        on_workers_closed(s);
}

static void close_node(struct tl_serve *s)
{
    struct api *api = &s->api;
    api->closing = true;
    topics_end(api->topics);
    foreign_free(api->foreign);
    api->foreign = NULL;
    sessions_free(api->sockets);
    api->sockets = NULL;
    if (s->node_open)
        tl_node_close(&s->node, NODE_MS, on_node_closed, s);
    else
        on_node_closed(s);
}

static void on_ws_closed(void *ctx)
{
    struct tl_serve *s = ctx;
    s->api.ws = NULL;
    close_node(s);
}

static void close_sockets(struct tl_serve *s)
{
    uv_timer_stop(&s->tick);
    if (s->api.ws)
        tl_ws_loop_close(s->api.ws, on_ws_closed, s);
    else
        on_ws_closed(s);
}

static void on_tick(uv_timer_t *timer)
{
    struct tl_serve *s = timer->data;
    struct tl_http_stats stats = {.requests_open = 0};
    if (s->api.http) tl_http_stats(s->api.http, &stats);
    bool quiet = stats.requests_open == 0 && (!s->api.sockets || sessions_count(s->api.sockets) == 0);
    if (quiet || tl_clock_mono_ns(s->api.clock) >= s->drain_until_ns) close_sockets(s);
}

void tl_serve_close(struct tl_serve *s, void (*cb)(void *ctx), void *ctx)
{
    if (s->draining) return;
    s->draining = s->api.draining = true;
    s->closed = cb;
    s->closed_ctx = ctx;
    s->drain_until_ns = tl_clock_mono_ns(s->api.clock) + DRAIN_MS * UINT64_C(1000000);
    if (s->api.http) tl_http_drain(s->api.http);
    if (s->api.sockets) sessions_bye(s->api.sockets, RETRY_MS);
    sse_bye(&s->api);
    uv_timer_start(&s->tick, on_tick, 0, DRAIN_EACH_MS);
}

/* ---- opening ---- */

static enum tl_status open_node(struct tl_serve *s, const struct tl_serve_options *o, struct tl_err *redis,
                                struct tl_err *err)
{
    struct api *api = &s->api;
    const struct tl_node_options no = {.config = o->config,
                                       .clock = api->clock,
                                       .log = o->log,
                                       .take = tl_config_bool(o->config, "server.jobs"),
                                       .hot_keys = HOT_KEYS,
                                       .close_parts = close_parts,
                                       .parts_ctx = s};
    enum tl_status st = tl_node_open(api->loop, &no, &s->node, redis, err);
    if (st != TL_OK) return st;
    s->node_open = true;
    api->cache = s->node.cache;
    api->store = s->node.store;
    api->scheduler = s->node.scheduler;
    api->locks = s->node.locks;
    api->bus = s->node.bus;
    api->jobs = s->node.store ? s->node.jobs : NULL;
    api->sessions = s->node.hours.view;
    return TL_OK;
}

static enum tl_status open_parts(struct tl_serve *s, struct tl_err *err)
{
    struct api *api = &s->api;
    enum tl_status st = TL_OK;
    for (size_t i = 0; st == TL_OK && api->store && i < API_WORKERS; i++)
        st = tl_store_reader_new(api->store, &api->readers[i], err);
    if (st == TL_OK) st = tl_workers_start(api->loop, API_WORKERS, &api->workers, err);
    if (st != TL_OK) return st;
    api->foreign = foreign_new(api);
    api->sockets = sessions_new(api);
    if (!api->locks) api->held = local_locks_new(api->clock, api->cache->alarms);
    if (!api->foreign || !api->sockets || (!api->locks && !api->held) ||
        api_rendered_new(RENDERED_BYTES, &api->rendered) != TL_OK || topics_open(api, &api->topics) != TL_OK)
        return tl_fail(err, TL_NOMEM, "no memory for the server");
    return TL_OK;
}

static void on_undone(void *ctx)
{
    *(bool *)ctx = true;
}

enum tl_status tl_serve_open(uv_loop_t *loop, const struct tl_serve_options *o, struct tl_serve **out,
                             struct tl_err *redis, struct tl_err *err)
{
    struct tl_serve *s = tl_calloc(1, sizeof *s);
    if (!s) return tl_fail(err, TL_NOMEM, "no memory for the server");
    struct api *api = &s->api;
    api->loop = loop;
    api->clock = o->clock ? o->clock : &tl_clock_system;
    api->log = o->log;
    api->config = o->config;
    api->started_ms = tl_clock_wall_ms(api->clock);
    tl_buf_init(&api->scratch, API_TEXT_MAX - 1);
    api_routes_prepare(api);
    *redis = (struct tl_err){.status = TL_OK};
    int rc = uv_timer_init(loop, &s->tick);
    if (rc != 0) {
        free(s);
        return tl_fail(err, TL_IO, "cannot start a timer: %s", uv_strerror(rc));
    }
    s->tick.data = s;
    enum tl_status st = read_origins(api, o->config, err);
    if (st == TL_OK) st = open_auth(api, err);
    if (st == TL_OK) st = open_node(s, o, redis, err);
    if (st == TL_OK) st = open_parts(s, err);
    if (st == TL_OK) st = open_http(s, o, err);
    if (st == TL_OK) {
        *out = s;
        return TL_OK;
    }
    bool undone = false;
    tl_serve_close(s, on_undone, &undone);
    while (!undone) uv_run(loop, UV_RUN_ONCE);
    return st;
}

const char *tl_serve_address(const struct tl_serve *s, size_t i)
{
    return tl_http_address(s->api.http, i);
}

enum tl_status tl_serve_configure(struct tl_serve *s, const struct tl_config *fresh, struct tl_err *err)
{
    struct api *api = &s->api;
    struct api before = *api;
    enum tl_status st = s->draining ? tl_fail(err, TL_CANCELLED, "the server is going away") : TL_OK;
    if (st == TL_OK) st = read_origins(api, fresh, err);
    if (st == TL_OK) st = tl_auth_reload(api->auth, err);
    if (st == TL_OK) st = tl_node_configure(&s->node, fresh, err);
    if (st != TL_OK) {
        memcpy(api->origins, before.origins, sizeof api->origins);
        api->n_origins = before.n_origins;
        return st;
    }
    api->config = fresh;
    read_rights(api, fresh);
    api_rendered_changed(api, NULL); /* calc.freq and the like may be others now */
    return TL_OK;
}
