/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline calc`: the daily calculation with a progress bar, a summary, and an exit code that tells whether every
 * item succeeded. Ctrl-C lets the symbols under way finish and says how far it came. */
#include "base/err.h"
#include "base/json.h"
#include "base/util.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "cli/request.h"
#include "cli/tiers.h"
#include "job/daily.h"

enum { FAILURES_SHOWN = 20 };

struct calc {
    struct tl_cli *cli;
    struct tl_daily *job;
    struct tl_cache *cache; /* NULL: none */
    struct tl_progress bar;
    struct tl_table failures; /* the first FAILURES_SHOWN, or all with --errors */
    size_t failures_kept;
    bool json, all_failures;
    enum tl_status status;
    struct tl_daily_progress last;
};

static void on_progress(void *ctx, const struct tl_daily_progress *p)
{
    struct calc *c = ctx;
    if (tl_cli_interrupted()) tl_daily_cancel(c->job);
    if (!c->json) tl_progress_update(&c->bar, p->symbols_done, p->symbols_total, p->failed, NULL);
}

static void print_failure_json(struct calc *c, const struct tl_daily_failure *f)
{
    struct tl_buf b;
    struct tl_json j;
    tl_buf_init(&b, 0);
    tl_json_init(&j, &b);
    tl_json_object(&j);
    tl_json_key(&j, "symbol");
    tl_json_cstr(&j, f->symbol);
    tl_json_key(&j, "spec");
    tl_json_cstr(&j, f->spec[0] ? f->spec : NULL);
    tl_json_key(&j, "status");
    tl_json_cstr(&j, tl_status_name(f->err->status));
    tl_json_key(&j, "error");
    tl_json_cstr(&j, f->err->text);
    tl_json_object_end(&j);
    if (tl_out_json(c->cli, &b, NULL) == TL_OK) c->failures_kept++;
    tl_buf_release(&b);
}

static void on_failure(void *ctx, const struct tl_daily_failure *f)
{
    struct calc *c = ctx;
    if (c->json) {
        print_failure_json(c, f);
        return;
    }
    if (!c->all_failures && c->failures_kept >= FAILURES_SHOWN) return;
    c->failures_kept++;
    tl_table_cell(&c->failures, f->symbol);
    tl_table_cell(&c->failures, f->spec[0] ? f->spec : "(all)");
    tl_table_cell(&c->failures, f->err->text);
}

static void on_done(void *ctx, enum tl_status status, const struct tl_daily_progress *p)
{
    struct calc *c = ctx;
    c->status = status;
    c->last = *p;
    c->job = NULL;
}

/* ---- summary ---- */

static void json_count(struct tl_json *j, const char *key, uint64_t n)
{
    tl_json_key(j, key);
    tl_json_u64(j, n);
}

static enum tl_status print_json(struct calc *c, const struct tl_daily_options *o, struct tl_err *err)
{
    const struct tl_daily_progress *p = &c->last;
    struct tl_buf b;
    struct tl_json j;
    tl_buf_init(&b, 0);
    tl_json_init(&j, &b);
    tl_json_object(&j);
    json_count(&j, "computed", p->computed);
    json_count(&j, "from_cache", p->from_cache);
    json_count(&j, "skipped", p->skipped);
    json_count(&j, "failed", p->failed);
    tl_json_key(&j, "seconds");
    tl_json_num(&j, p->seconds);
    json_count(&j, "symbols", p->symbols_total);
    json_count(&j, "indicators", o->n_specs);
    tl_json_key(&j, "failed_by");
    tl_json_object(&j);
    json_count(&j, "too_few_bars", p->failed_too_few_bars);
    json_count(&j, "no_data", p->failed_no_data);
    json_count(&j, "no_factors", p->failed_no_factors);
    json_count(&j, "other", p->failed_other);
    tl_json_object_end(&j);
    tl_json_key(&j, "cancelled");
    tl_json_bool(&j, p->cancelled);
    tl_json_object_end(&j);
    enum tl_status st = tl_out_json(c->cli, &b, err);
    tl_buf_release(&b);
    return st;
}

static enum tl_status print_summary(struct calc *c, const struct tl_daily_options *o, struct tl_err *err)
{
    const struct tl_daily_progress *p = &c->last;
    const struct {
        const char *name;
        uint64_t n;
        bool always;
    } rows[] = {{"symbols", p->symbols_total, true},
                {"indicators", o->n_specs, true},
                {"computed", p->computed, true},
                {"from cache", p->from_cache, true},
                {"skipped", p->skipped, true},
                {"failed", p->failed, true},
                {"  too few bars", p->failed_too_few_bars, false},
                {"  no data", p->failed_no_data, false},
                {"  no factors", p->failed_no_factors, false},
                {"  other", p->failed_other, false}};
    static const char *const heads[] = {"<calc", ">count"};
    struct tl_table t;
    tl_table_init(&t, 2, heads);
    char text[TL_HUMAN_MAX];
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        if (!rows[i].always && rows[i].n == 0) continue;
        tl_table_cell(&t, rows[i].name);
        tl_table_cell(&t, tl_human_count(text, rows[i].n));
    }
    tl_table_cell(&t, "time");
    tl_table_cell(&t, tl_human_seconds(text, p->seconds));
    enum tl_status st = tl_table_print(&t, c->cli, err);
    tl_table_release(&t);
    return st;
}

static enum tl_status print_result(struct calc *c, const struct tl_daily_options *o, struct tl_err *err)
{
    const struct tl_daily_progress *p = &c->last;
    if (c->json) return print_json(c, o, err);
    tl_progress_clear(&c->bar);
    enum tl_status st = TL_OK;
    if (c->failures_kept) {
        st = tl_table_print(&c->failures, c->cli, err);
        fputc('\n', c->cli->out);
    }
    if (st == TL_OK) st = print_summary(c, o, err);
    if (p->failed > c->failures_kept && !c->all_failures && c->failures_kept >= FAILURES_SHOWN)
        tl_cli_hint(c->cli, "the first %d failures are shown; --errors lists all", FAILURES_SHOWN);
    if (p->not_shared)
        tl_cli_warn(c->cli,
                    "%llu symbols were not shared through Redis in full: its queue was full (cache.queue_bytes)",
                    (unsigned long long)p->not_shared);
    if (p->cancelled)
        tl_cli_warn(c->cli, "stopped after %llu of %llu symbols; run it again to continue",
                    (unsigned long long)p->symbols_done - p->skipped / TL_MAX(o->n_specs, 1),
                    (unsigned long long)p->symbols_total);
    return st;
}

/* ---- set-up ---- */

static enum tl_status wanted_specs(struct tl_cli *cli, struct tl_spec **specs, size_t *n, struct tl_err *err)
{
    const char *list = tl_cli_opt(cli, "indicators");
    if (list && tl_cli_opt(cli, "set")) return tl_fail(err, TL_INVALID, "--indicators and --set exclude each other");
    if (list) return tl_cli_specs(list, "--indicators", specs, n, err);
    const char *name = tl_config_str(cli->cfg, "calc.set");
    enum tl_status st = tl_config_set(cli->cfg, name, &list, err);
    if (st != TL_OK) return st;
    char what[96];
    snprintf(what, sizeof what, "set %s", name);
    return tl_cli_specs(list, what, specs, n, err);
}

static unsigned worker_count(const struct tl_cli *cli, size_t symbols)
{
    int64_t n = tl_config_int(cli->cfg, "calc.workers");
    if (n <= 0) n = (int64_t)uv_available_parallelism();
    if ((uint64_t)n > symbols) n = (int64_t)symbols;
    return n < 1 ? 1 : n > 256 ? 256 : (unsigned)n;
}

/* ---- the cache that results go to, besides the store ---- */

enum { READY_MS = 3000 };

struct ready {
    bool over;
    enum tl_status status;
    struct tl_err err;
};

static void on_ready(void *ctx, enum tl_status status, const struct tl_err *err)
{
    struct ready *r = ctx;
    r->over = true;
    r->status = status;
    if (err) r->err = *err;
}

/* Without a Redis there is none: one process and its store need no tier in between. A Redis that cannot be used is said
 * once, and the job runs without it. */
static enum tl_status open_cache(struct tl_cli *cli, uv_loop_t *loop, struct tl_daily_options *o, struct tl_err *err)
{
    struct tl_cache_options co;
    struct tl_cache_options_inside inside = {.clock = cli->clock, .log = &cli->log, .store = o->store};
    struct ready r = {.over = false};
    if (tl_cli_no_redis(cli)) return TL_OK;
    enum tl_status st = tl_cli_cache_options(cli, &co, err);
    if (st != TL_OK) return st;
    st = tl_cache_open_inside(loop, &co, &inside, &o->cache, err);
    tl_cli_cache_options_release(&co);
    if (st == TL_OK) st = tl_cache_ready(o->cache, READY_MS, on_ready, &r);
    while (st == TL_OK && !r.over) uv_run(loop, UV_RUN_ONCE);
    if (r.status == TL_CONFLICT) {
        if (err) *err = r.err;
        return TL_CONFLICT;
    }
    return st;
}

static void on_job_done(void *ctx, enum tl_status status, const struct tl_daily_progress *p)
{
    struct calc *c = ctx;
    on_done(ctx, status, p);
    if (c->cache) tl_cache_close(c->cache, NULL, NULL);
}

static enum tl_status run_job(struct calc *c, struct tl_daily_options *o, struct tl_err *err)
{
    uv_loop_t loop;
    if (uv_loop_init(&loop) != 0) return tl_fail(err, TL_IO, "cannot start the event loop");
    enum tl_status st = open_cache(c->cli, &loop, o, err);
    c->cache = o->cache;
    o->ctx = c;
    o->on_progress = on_progress;
    o->on_failure = on_failure;
    o->on_done = on_job_done;
    tl_cli_catch_interrupt();
    tl_progress_init(&c->bar, c->cli, "calc", "symbols");
    if (st == TL_OK) st = tl_daily_start(&loop, o, &c->job, err);
    if (st != TL_OK && o->cache) tl_cache_close(o->cache, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&loop);
    TL_ASSERT(rc == 0);
    if (st == TL_OK) st = print_result(c, o, err);
    if (st == TL_OK) st = c->status;
    return st;
}

static enum tl_status calc(struct calc *c, struct tl_daily_options *o, struct tl_err *err)
{
    struct tl_cli *cli = c->cli;
    static const char *const heads[] = {"<symbol", "<indicator", "<failure"};
    const char *which = tl_cli_opt(cli, "symbols");
    struct tl_symbol *symbols = NULL;
    enum tl_status st = tl_cli_symbols(which ? which : "all", o->store, o->freq, &symbols, &o->n_symbols, err);
    if (st == TL_OK) {
        o->symbols = symbols;
        o->workers = worker_count(cli, o->n_symbols);
        tl_table_init(&c->failures, 3, heads);
        st = run_job(c, o, err);
        tl_table_release(&c->failures);
    }
    free(symbols);
    return st;
}

enum tl_status tl_cmd_calc(struct tl_cli *cli, struct tl_err *err)
{
    struct calc c = {.cli = cli, .json = tl_cli_flag(cli, "json"), .all_failures = tl_cli_flag(cli, "errors")};
    struct tl_daily_options o = {.day_ms = INT64_MIN, .clock = cli->clock};
    struct tl_spec *specs = NULL;
    struct tl_cli_hours hours;
    enum tl_status st = wanted_specs(cli, &specs, &o.n_specs, err);
    if (st == TL_OK) st = tl_cli_freq(cli, &o.freq, err);
    if (st == TL_OK) st = tl_cli_adjust(cli, &o.adjust, err);
    if (st == TL_OK) st = tl_cli_sessions(cli, &hours, err);
    if (st == TL_OK) {
        o.specs = specs;
        o.sessions = hours.view;
        o.drop_suspended = strcmp(tl_config_str(cli->cfg, "calc.suspended"), "drop") == 0;
        o.recompute = tl_cli_flag(cli, "recompute");
        (void)tl_cli_date(cli, "date", &o.day_ms);
        st = tl_cli_open_store(cli, false, &o.store, err);
    }
    if (st == TL_OK) {
        st = calc(&c, &o, err);
        tl_store_close(o.store);
    }
    free(specs);
    return st;
}
