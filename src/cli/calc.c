/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline calc`: the daily calculation with a progress bar, a summary, and an exit code that tells whether every
 * item succeeded. Ctrl-C lets the symbols under way finish and says how far it came. With a Redis it is a task that
 * others may watch and cancel; what cannot be published changes nothing here. */
#include "base/err.h"
#include "base/json.h"
#include "base/util.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "cli/request.h"
#include "cli/tiers.h"
#include "job/jobs_record.h"
#include "job/publish.h"

enum { FAILURES_SHOWN = 20, BUS_DRAIN_MS = 1000 };

struct calc {
    struct tl_cli *cli;
    struct tl_daily *job;
    struct tl_store *store;
    struct tl_progress bar;
    struct tl_table failures; /* the first FAILURES_SHOWN, or all with --errors */
    size_t failures_kept;
    bool json, all_failures;
    bool shared; /* with other processes, through Redis */
    unsigned workers;
    enum tl_status status;
    struct tl_daily_progress last;
    struct tl_bus *bus; /* NULL: it is not published */
    struct tl_publisher pub;
    char task[TL_JOB_ID_MAX + 1]; /* "": none */
};

static void on_progress(void *ctx, const struct tl_daily_progress *p)
{
    struct calc *c = ctx;
    if (tl_cli_interrupted()) tl_daily_cancel(c->job);
    if (!c->json) tl_progress_update(&c->bar, p->symbols_done, p->symbols_total, p->failed, NULL);
    if (c->bus) tl_publisher_progress(&c->pub, p);
}

static void on_symbol(void *ctx, const struct tl_daily_symbol *s)
{
    struct calc *c = ctx;
    if (c->bus) tl_publisher_symbol(&c->pub, s);
}

static void print_failure_json(struct calc *c, const struct tl_daily_failure *f)
{
    struct tl_buf b;
    tl_buf_init(&b, 0);
    tl_daily_failure_json(&b, f);
    if (tl_out_json(c->cli, &b, NULL) == TL_OK) c->failures_kept++;
    tl_buf_release(&b);
}

static void on_failure(void *ctx, const struct tl_daily_failure *f)
{
    struct calc *c = ctx;
    if (c->bus) tl_publisher_failure(&c->pub, f);
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
    if (!c->bus) return;
    tl_publisher_progress(&c->pub, p);
    tl_publisher_end(&c->pub, p->cancelled ? TL_TASK_CANCELLED : TL_TASK_COMPLETED, NULL);
}

/* ---- publishing ---- */

static void on_cancel(void *ctx)
{
    struct calc *c = ctx;
    if (c->job) tl_daily_cancel(c->job);
}

/* Without a Redis nobody else could watch. */
static void publish(struct calc *c, const struct tl_cli_session *s, const struct tl_daily_options *o)
{
    const struct tl_bus_options bo = {
        .redis_url = tl_config_str(c->cli->cfg, "redis"),
        .prefix = tl_config_str(c->cli->cfg, "redis.prefix"),
        .redis_timeout_ms = (uint32_t)tl_config_int(c->cli->cfg, "redis.timeout_ms"),
    };
    if (s->cache->redis_state != TL_REDIS_JOINED) return;
    struct tl_err err;
    if (tl_bus_open(s->cache, &bo, &c->bus, &err) != TL_OK) {
        tl_log(&c->cli->log, TL_LOG_WARN, "calc", "not published", "error=\"%s\"", err.text);
        c->bus = NULL;
        return;
    }
    tl_job_id_make("calc", tl_clock_wall_ms(c->cli->clock), &s->cache->rng, c->task);
    const struct tl_publisher_options po = {
        .bus = c->bus, .id = c->task, .name = "calc", .clock = c->cli->clock, .on_cancel = on_cancel, .ctx = c};
    tl_publisher_open(&c->pub, &po, NULL);
    if (!c->pub.task) c->task[0] = '\0';
    tl_publisher_started(&c->pub, o->n_symbols);
}

static void on_bus_closed(void *ctx)
{
    *(struct tl_bus **)ctx = NULL;
}

static void end_publishing(struct calc *c, struct tl_cli_session *s, enum tl_status st, const struct tl_err *err)
{
    if (!c->bus) return;
    if (st != TL_OK) tl_publisher_end(&c->pub, TL_TASK_FAILED, err ? err->text : tl_status_text(st));
    tl_bus_close(c->bus, BUS_DRAIN_MS, on_bus_closed, &c->bus);
    while (c->bus) uv_run(&s->loop, UV_RUN_ONCE);
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
    json_count(&j, "waited", p->waited);
    json_count(&j, "taken_over", p->taken_over);
    json_count(&j, "duplicated", p->duplicated);
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
    tl_json_key(&j, "task");
    tl_json_cstr(&j, c->task[0] ? c->task : NULL);
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
                {"  taken over", p->taken_over, false},
                {"from cache", p->from_cache, true},
                {"waited for", p->waited, c->shared},
                {"duplicated", p->duplicated, c->shared},
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
    if (list) return tl_wanted_specs(list, "--indicators", specs, n, err);
    const char *name = tl_config_str(cli->cfg, "calc.set");
    enum tl_status st = tl_config_set(cli->cfg, name, &list, err);
    if (st != TL_OK) return st;
    char what[96];
    snprintf(what, sizeof what, "set %s", name);
    return tl_wanted_specs(list, what, specs, n, err);
}

static unsigned worker_count(const struct tl_cli *cli, size_t symbols)
{
    int64_t n = tl_config_int(cli->cfg, "calc.workers");
    if (n <= 0) n = (int64_t)uv_available_parallelism();
    if ((uint64_t)n > symbols) n = (int64_t)symbols;
    return n < 1 ? 1 : n > 256 ? 256 : (unsigned)n;
}

static enum tl_status run_job(struct calc *c, struct tl_daily_options *o, struct tl_err *err)
{
    struct tl_cli_session session;
    struct tl_err redis; /* a Redis that cannot be used is said in the log, and the job runs without it */
    enum tl_status st = tl_cli_session_open(c->cli, c->store, true, c->workers, &c->cli->log, &session, &redis, err);
    if (st != TL_OK) return st;
    c->shared = !tl_cli_no_redis(c->cli);
    o->scheduler = session.scheduler;
    o->ctx = c;
    o->on_progress = on_progress;
    o->on_failure = on_failure;
    o->on_symbol = on_symbol;
    o->on_done = on_done;
    publish(c, &session, o);
    tl_cli_catch_interrupt();
    tl_progress_init(&c->bar, c->cli, "calc", "symbols");
    st = tl_daily_start(&session.loop, o, &c->job, err);
    while (st == TL_OK && c->job) uv_run(&session.loop, UV_RUN_ONCE);
    end_publishing(c, &session, st, err);
    tl_cli_session_close(&session);
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
    enum tl_status st = tl_cli_symbols(which ? which : "all", c->store, o->freq, &symbols, &o->n_symbols, err);
    if (st == TL_OK) {
        o->symbols = symbols;
        c->workers = worker_count(cli, o->n_symbols);
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
    struct tl_hours hours;
    enum tl_status st = wanted_specs(cli, &specs, &o.n_specs, err);
    if (st == TL_OK) st = tl_cli_freq(cli, &o.freq, err);
    if (st == TL_OK) st = tl_cli_adjust(cli, &o.adjust, err);
    if (st == TL_OK) st = tl_hours_read(cli->cfg, &hours, err);
    if (st == TL_OK) {
        o.specs = specs;
        o.sessions = hours.view;
        o.drop_suspended = strcmp(tl_config_str(cli->cfg, "calc.suspended"), "drop") == 0;
        o.recompute = tl_cli_flag(cli, "recompute");
        (void)tl_cli_date(cli, "date", &o.day_ms);
        st = tl_cli_open_store(cli, false, &c.store, err);
    }
    if (st == TL_OK) {
        st = calc(&c, &o, err);
        tl_store_close(c.store);
    }
    free(specs);
    return st;
}
