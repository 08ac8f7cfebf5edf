/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline get`: an indicator of one symbol, through the tiers: Redis, where one is configured, then the store;
 * computed, once for all who ask at the time, and kept when none has it fresh. Without a store only Redis is asked,
 * which knows the version that is fresh.
 */
#include "base/err.h"
#include "base/util.h"
#include "cli/commands.h"
#include "cli/request.h"
#include "cache/series_entry.h"
#include "cli/rows.h"
#include "cli/tiers.h"
#include "schedule/present.h"
#include "schedule/symbol.h"

enum { DEADLINE_MS = 10000, COMPUTE_MS = 60000 };

static enum tl_status print_item(struct tl_cli *cli, const struct tl_run *run, enum tl_freshness freshness,
                                 struct tl_err *err)
{
    const struct tl_run_item *item = &run->items[0];
    struct tl_series_shown shown = {.symbol = run->symbol,
                                    .freq = run->freq,
                                    .adjust = run->adjust,
                                    .spec = item->spec,
                                    .series = &item->series,
                                    .view = &run->view,
                                    .source = item->source,
                                    .freshness = freshness,
                                    .age_ms = tl_clock_wall_ms(cli->clock) - item->series.computed_ms};
    struct tl_grid grid;
    enum tl_status st = tl_present_series(&shown, &grid, err);
    return st == TL_OK ? tl_cli_grid(cli, &grid, &run->view, err) : st;
}

/* ---- the tiers above the store ---- */

struct tiers_get {
    struct tl_blocking_call call;
    struct tl_get op;
    struct tl_get_item items[2]; /* the series; its times */
    struct tl_cache_key keys[2];
    struct tl_version min[2];
    size_t n;
};

static void on_got(struct tl_get *op, enum tl_status status)
{
    tl_blocking_end(op->user, status);
}

static void begin_get(struct tl_blocking_call *call, struct tl_cache *c)
{
    struct tiers_get *g = (struct tiers_get *)(void *)call;
    g->op.user = call;
    enum tl_status st = tl_cache_get_keys(c, &g->op, g->keys, g->min, g->items, g->n, DEADLINE_MS, on_got, call->err);
    if (st != TL_OK) tl_blocking_end(call, st);
}

static enum tl_status read_entry(struct tl_get_item *item, struct tl_series *out, struct tl_err *err)
{
    enum tl_status st = tl_series_entry_read((const struct tl_entry *)(const void *)item->value, out, err);
    tl_value_unref(item->value);
    return st;
}

static enum tl_source source_of(enum tl_tier_id tier)
{
    return tier == TL_TIER_MEMORY ? TL_SOURCE_MEMORY : tier == TL_TIER_REDIS ? TL_SOURCE_REDIS : TL_SOURCE_STORE;
}

/* ---- with a store ---- */

static void on_indicators(struct tl_indicators *op)
{
    *(bool *)op->user = true;
}

static enum tl_status get_shared(struct tl_cli *cli, struct tl_run *run, struct tl_store *store, bool writable,
                                 struct tl_store_reader *reader, const struct tl_hours *hours, struct tl_err *err)
{
    struct tl_cli_session session;
    struct tl_err redis;
    bool done = false;
    struct tl_indicator_item item = {.spec = run->items[0].spec};
    struct tl_indicators op = {.symbol = run->symbol,
                               .freq = run->freq,
                               .adjust = run->adjust,
                               .drop_suspended = run->drop_suspended,
                               .want_rows = true,
                               .day_ms = INT64_MIN,
                               .sessions = &hours->view,
                               .deadline_ms = COMPUTE_MS,
                               .count = 1,
                               .items = &item,
                               .cb = on_indicators,
                               .user = &done};
    op.want_kept = writable;
    enum tl_status st = tl_cli_session_open(cli, store, writable, 1, NULL, &session, &redis, err);
    if (st != TL_OK) return st;
    if (redis.status != TL_OK) tl_cli_warn(cli, "going on without Redis: %s", redis.text);
    tl_indicators_get(session.scheduler, &op);
    while (!done) uv_run(&session.loop, UV_RUN_ONCE);
    tl_cli_session_close(&session);
    /* A result that cannot be kept is still a result: the user is told, the answer stands. */
    if (op.kept != TL_OK) tl_cli_warn(cli, "the result was not kept: %s", op.kept_err.text);
    if (item.source == TL_SOURCE_COMPUTED && !writable)
        tl_cli_warn(cli, "the store cannot be written: the result was not kept");
    run->items[0].source = item.source;
    run->items[0].series = item.series;
    if (op.status != TL_OK) return tl_fail(err, op.status, "%s", op.err.text);
    if (item.status != TL_OK)
        return tl_fail(err, item.status, "%s %s: %s", run->symbol.text, tl_cli_arg(cli, 1), item.err.text);
    tl_view_init(&run->view);
    st = tl_present_view(&run->items[0].series, reader, &run->symbol, run->freq, run->adjust, run->provisional,
                         &hours->view, &run->view, err);
    return st == TL_OK ? print_item(cli, run, item.freshness, err) : st;
}

/* With the bar that is not final: for this answer alone. */
static enum tl_status get_provisional(struct tl_cli *cli, struct tl_run *run, struct tl_store_reader *reader,
                                      const struct tl_hours *hours, struct tl_err *err)
{
    enum tl_status st = tl_run_symbol(run, reader, &hours->view, cli->clock, err);
    if (st == TL_OK && run->items[0].status != TL_OK)
        st = tl_fail(err, run->items[0].status, "%s %s: %s", run->symbol.text, tl_cli_arg(cli, 1),
                     run->items[0].err.text);
    return st == TL_OK ? print_item(cli, run, TL_FRESH, err) : st;
}

static enum tl_status get(struct tl_cli *cli, struct tl_run *run, struct tl_err *err)
{
    struct tl_hours hours;
    enum tl_status st = tl_hours_read(cli->cfg, &hours, err);
    struct tl_store *store = NULL;
    struct tl_store_reader *reader = NULL;
    bool writable = false;
    if (st == TL_OK) st = tl_cli_open_store_for_results(cli, &store, &writable, err);
    if (st == TL_OK) st = tl_store_reader_new(store, &reader, err);
    tl_view_init(&run->view);
    if (st == TL_OK)
        st = run->provisional ? get_provisional(cli, run, reader, &hours, err)
                              : get_shared(cli, run, store, writable, reader, &hours, err);
    tl_run_release(run);
    tl_store_reader_free(reader);
    tl_store_close(store);
    return st;
}

/* ---- without a store ---- */

struct version_get {
    struct tl_blocking_call call;
    struct tl_version_op op;
    struct tl_series_key key;
};

static void on_version(struct tl_version_op *op, enum tl_status status)
{
    tl_blocking_end(op->user, status);
}

static void begin_version(struct tl_blocking_call *call, struct tl_cache *c)
{
    struct version_get *v = (struct version_get *)(void *)call;
    v->op.cb = on_version;
    v->op.user = call;
    enum tl_status st = tl_cache_version(c, &v->op, &v->key, DEADLINE_MS, call->err);
    if (st != TL_OK) tl_blocking_end(call, st);
}

/* The view's bars are the times alone; the rows of both end with the same bar. */
static enum tl_status times_to_view(const struct tl_series *times, struct tl_run *run, struct tl_err *err)
{
    tl_view_init(&run->view);
    for (size_t i = 0; i < times->n; i++) {
        struct tl_bar bar = {.ts_ms = (int64_t)times->rows[i]};
        if (tl_bars_append(&run->view.bars, &bar) != TL_OK)
            return tl_fail(err, TL_NOMEM, "no memory for %zu rows", times->n);
    }
    if (tl_freq_intraday(run->freq))
        snprintf(run->view.zone, sizeof run->view.zone, "%s", tl_market_zone(tl_symbol_market(&run->symbol)));
    return TL_OK;
}

static enum tl_status print_remote(struct tl_cli *cli, struct tl_run *run, struct tiers_get *g,
                                   struct tl_version newest, struct tl_err *err)
{
    struct tl_series times;
    struct tl_run_item *item = &run->items[0];
    tl_series_init(&times);
    enum tl_freshness freshness = g->items[0].freshness;
    enum tl_status st = read_entry(&g->items[0], &item->series, err);
    enum tl_status st2 = read_entry(&g->items[1], &times, st == TL_OK ? err : NULL);
    if (st == TL_OK) st = st2;
    if (st == TL_OK && tl_version_cmp(item->series.version, times.version) != 0)
        st = tl_fail(err, TL_CONFLICT,
                     "%s: the series and its times are of different versions: it is being computed just now",
                     run->symbol.text);
    if (st == TL_OK) st = times_to_view(&times, run, err);
    item->source = source_of(g->items[0].source);
    if (st == TL_OK && freshness != TL_FRESH)
        tl_cli_warn(cli, "the bars have changed since: %lld are there, this is of %lld", (long long)newest.bars,
                    (long long)item->series.version.bars);
    if (st == TL_OK) st = print_item(cli, run, freshness, err);
    tl_series_release(&times);
    tl_run_release(run);
    return st;
}

static enum tl_status get_remote(struct tl_cli *cli, struct tl_run *run, struct tl_err *err)
{
    struct tl_blocking *cache = NULL;
    struct tl_err redis;
    struct tiers_get g = {.call = {.begin = begin_get, .err = err}, .n = 2};
    struct version_get v = {.call = {.begin = begin_version, .err = err}};
    if (tl_cli_no_redis(cli))
        return tl_fail(err, TL_INVALID, "without a store (--store none) a Redis is needed: --redis URL");
    enum tl_status st = tl_cli_open_cache(cli, NULL, false, NULL, &cache, &redis, err);
    if (st != TL_OK) return st;
    if (redis.status != TL_OK) {
        st = tl_fail(err, redis.status, "without a store (--store none) Redis is needed: %.200s", redis.text);
    } else {
        tl_run_key(run, &run->items[0].spec, &v.key);
        st = tl_blocking_run(cache, &v.call);
        g.min[0] = g.min[1] = v.op.version;
        tl_cache_key_series(&v.key, &g.keys[0]);
        tl_cache_key_times(&v.key, &g.keys[1]);
        if (st == TL_OK) st = tl_blocking_run(cache, &g.call);
        if (st == TL_SOME_FAILED || st == TL_NOT_FOUND)
            st = tl_fail(err, TL_NOT_FOUND, "%s %s is not in Redis, and without a store it cannot be computed here",
                         run->symbol.text, v.key.spec);
        if (st == TL_OK)
            st = print_remote(cli, run, &g, v.op.version, err);
        else
            for (size_t i = 0; i < 2; i++) tl_value_unref(g.items[i].value);
    }
    tl_blocking_close(cache);
    return st;
}

enum tl_status tl_cmd_get(struct tl_cli *cli, struct tl_err *err)
{
    struct tl_run_item item = {.status = TL_OK};
    struct tl_run run = {.count = 1, .items = &item, .day_ms = INT64_MIN, .want_rows = true, .want_view = true};
    enum tl_status st = tl_symbol_parse(tl_str(tl_cli_arg(cli, 0)), TL_MARKET_NONE, &run.symbol, err);
    if (st == TL_OK) st = tl_spec_parse(tl_cli_arg(cli, 1), &item.spec, err);
    if (st == TL_OK) st = tl_cli_freq(cli, &run.freq, err);
    if (st == TL_OK) st = tl_cli_adjust(cli, &run.adjust, err);
    if (st != TL_OK) return st;
    run.drop_suspended = strcmp(tl_config_str(cli->cfg, "calc.suspended"), "drop") == 0;
    run.provisional = tl_cli_flag(cli, "provisional");
    return tl_cli_no_store(cli) ? get_remote(cli, &run, err) : get(cli, &run, err);
}
