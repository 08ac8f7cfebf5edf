/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline get`: an indicator of one symbol, through the tiers: Redis, where one is configured, then the store;
 * computed and kept when none has it fresh. Without a store only Redis is asked, which knows the version that is fresh.
 */
#include "base/err.h"
#include "cli/commands.h"
#include "cli/request.h"
#include "cache/series_entry.h"
#include "cli/rows.h"
#include "cli/tiers.h"
#include "schedule/run.h"

enum { DEADLINE_MS = 10000 };

struct got {
    struct tl_cli *cli;
    enum tl_freshness freshness;
    const struct tl_run *run;
    const struct tl_run_item *item;
};

static double value_at(const void *ctx, size_t row, unsigned column)
{
    const struct tl_series *s = &((const struct got *)ctx)->item->series;
    return s->rows[row * s->columns + column];
}

static void json_head(const void *ctx, struct tl_json *j)
{
    const struct got *g = ctx;
    const struct tl_series *s = &g->item->series;
    char spec[TL_SPEC_MAX] = "";
    tl_spec_format(&g->item->spec, spec, sizeof spec);
    int64_t age_ms = tl_clock_wall_ms(g->cli->clock) - s->computed_ms;
    tl_json_key(j, "symbol");
    tl_json_cstr(j, g->run->symbol.text);
    tl_json_key(j, "freq");
    tl_json_cstr(j, tl_freq_name(g->run->freq));
    tl_json_key(j, "adjust");
    tl_json_cstr(j, tl_adjust_name(g->run->adjust));
    tl_json_key(j, "spec");
    tl_json_cstr(j, spec);
    tl_rows_json_version(j, s->version);
    tl_json_key(j, "source");
    tl_json_cstr(j, tl_source_name(g->item->source));
    tl_json_key(j, "freshness");
    tl_json_cstr(j, tl_freshness_name(g->freshness));
    tl_json_key(j, "age_ms");
    tl_json_i64(j, age_ms > 0 ? age_ms : 0);
}

static enum tl_status print_item(struct tl_cli *cli, const struct tl_run *run, enum tl_freshness freshness,
                                 struct tl_err *err)
{
    const struct tl_run_item *item = &run->items[0];
    const struct tl_series *s = &item->series;
    if (s->first_bar > run->view.bars.n || s->n != run->view.bars.n - s->first_bar)
        return tl_fail(err, TL_CORRUPT, "%s: the stored series has %zu rows from bar %llu on, the bars are %zu",
                       run->symbol.text, s->n, (unsigned long long)s->first_bar, run->view.bars.n);
    struct got g = {.cli = cli, .freshness = freshness, .run = run, .item = item};
    struct tl_rows rows = {.view = &run->view,
                           .ts = run->view.bars.ts_ms + s->first_bar,
                           .n = s->n,
                           .columns = item->spec.info->n_outputs,
                           .names = item->spec.info->outputs,
                           .at = value_at,
                           .json_head = json_head,
                           .ctx = &g};
    return tl_rows_print(cli, &rows, err);
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

/* What a tier has of this very version is offered to the run; nothing else is. */
static void offer_cached(struct tl_blocking *cache, struct tl_run *run, struct tl_store_reader *reader)
{
    struct tiers_get g = {.call.begin = begin_get, .n = 1};
    struct tl_bars_head head;
    enum tl_freq source;
    struct tl_series_key key;
    if (run->provisional || tl_view_source(reader, &run->symbol, run->freq, &source, &head, NULL) != TL_OK) return;
    tl_run_key(run, &run->items[0].spec, &key);
    tl_cache_key_series(&key, &g.keys[0]);
    g.min[0] = tl_bars_head_version(&head, run->adjust);
    if (tl_blocking_run(cache, &g.call) != TL_OK && !g.items[0].value) return;
    if (g.items[0].freshness != TL_FRESH) {
        tl_value_unref(g.items[0].value);
        return;
    }
    if (read_entry(&g.items[0], &run->items[0].offered, NULL) == TL_OK)
        run->items[0].offered_from = source_of(g.items[0].source);
}

static void begin_newest(struct tl_blocking_call *call, struct tl_cache *c)
{
    *(uint64_t *)call->ctx = tl_generations_newest(c->generations);
    tl_blocking_end(call, TL_OK);
}

static uint64_t newest_generation(struct tl_blocking *cache)
{
    uint64_t newest = 0;
    struct tl_blocking_call call = {.begin = begin_newest, .ctx = &newest};
    return tl_blocking_run(cache, &call) == TL_OK ? newest : 0;
}

struct tiers_put {
    struct tl_blocking_call call;
    const struct tl_run *run;
};

static void begin_put(struct tl_blocking_call *call, struct tl_cache *c)
{
    const struct tl_run *run = ((struct tiers_put *)(void *)call)->run;
    tl_blocking_end(call, tl_run_share(run, c));
}

/* A result that cannot be kept is still a result: the user is told, the answer stands. */
static void keep_result(struct tl_cli *cli, struct tl_store *store, struct tl_blocking *cache, bool writable,
                        const struct tl_run *run)
{
    struct tl_store_put_item item;
    struct tl_store_put put = {.items = &item};
    struct tl_err err;
    if (tl_run_collect(run, &put) == 0) return;
    if (!writable) {
        tl_cli_warn(cli, "the store cannot be written: the result was not kept");
        return;
    }
    if (tl_store_write(store, &put, &err) != TL_OK) {
        tl_cli_warn(cli, "the result was not kept: %s", err.text);
        return;
    }
    struct tiers_put share = {.call.begin = begin_put, .run = run};
    if (cache && tl_blocking_run(cache, &share.call) != TL_OK)
        tl_cli_warn(cli, "the result was not shared through Redis");
}

static enum tl_status get(struct tl_cli *cli, struct tl_run *run, struct tl_err *err)
{
    struct tl_cli_hours hours;
    enum tl_status st = tl_cli_sessions(cli, &hours, err);
    struct tl_store *store = NULL;
    struct tl_store_reader *reader = NULL;
    struct tl_blocking *cache = NULL;
    bool writable = false;
    if (st == TL_OK) st = tl_cli_open_store_for_results(cli, &store, &writable, err);
    if (st == TL_OK) st = tl_store_reader_new(store, &reader, err);
    if (st == TL_OK && !tl_cli_no_redis(cli)) {
        struct tl_err redis;
        st = tl_cli_open_cache(cli, store, writable, NULL, &cache, &redis, err);
        if (st == TL_OK && redis.status != TL_OK) tl_cli_warn(cli, "going on without Redis: %s", redis.text);
        if (st == TL_OK) offer_cached(cache, run, reader);
    }
    if (st == TL_OK) {
        if (cache) run->generation = newest_generation(cache);
        st = tl_run_symbol(run, reader, &hours.view, cli->clock, err);
        if (st == TL_OK && run->items[0].status != TL_OK) {
            st = run->items[0].status;
            (void)tl_fail(err, st, "%s %s: %s", run->symbol.text, tl_cli_arg(cli, 1), run->items[0].err.text);
        }
        if (st == TL_OK) keep_result(cli, store, cache, writable, run);
        if (st == TL_OK) st = print_item(cli, run, TL_FRESH, err);
        tl_run_release(run);
    }
    tl_blocking_close(cache);
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
