/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline import`: options to tl_import_path; rejected rows and progress while it runs; the summary at the end.
 * Rejected rows are listed on standard error as "file:line:column: reason", all of them only with --errors. */

#include "cli/commands.h"
#include "cli/out.h"
#include "cli/tiers.h"

#include "base/err.h"
#include "base/json.h"
#include "base/util.h"
#include "import/import.h"
#include "market/tz.h"

#include <inttypes.h>

enum { TELL_MS = 3000 };

struct import {
    struct tl_cli *cli;
    struct tl_progress bar;
    uint64_t shown, shown_max, hidden;
    struct tl_err first_failure; /* of a file of a folder */
};

static void on_reject(void *ctx, const struct tl_err *e)
{
    struct import *im = ctx;
    bool whole_file = e->line == 0;
    if (!whole_file && im->shown >= im->shown_max) {
        im->hidden++;
        return;
    }
    if (!whole_file) im->shown++;
    tl_progress_clear(&im->bar);
    tl_cli_error(im->cli, e);
}

static void on_progress(void *ctx, const char *file, uint64_t done, uint64_t total)
{
    struct import *im = ctx;
    const char *slash = strrchr(file, '/');
    tl_progress_update(&im->bar, done, total, 0, slash ? slash + 1 : file);
}

static bool cancelled(void *ctx)
{
    (void)ctx;
    return tl_cli_interrupted();
}

static enum tl_status read_options(const struct tl_cli *cli, struct tl_import_options *o, struct tl_err *err)
{
    const char *text = tl_cli_opt(cli, "kind");
    o->kind = !text || strcmp(text, "bars") == 0 ? TL_IMPORT_BARS
              : strcmp(text, "factors") == 0     ? TL_IMPORT_FACTORS
                                                 : TL_IMPORT_CALENDAR;
    o->profile = tl_cli_opt(cli, "profile");
    o->symbol = tl_cli_opt(cli, "symbol");
    text = tl_cli_opt(cli, "market");
    if (text && !tl_market_parse(tl_str(text), &o->market))
        return tl_fail(err, TL_INVALID, "--market: '%.40s' is none of SH, SZ, BJ, HK, US, FUTURES", text);
    text = tl_cli_opt(cli, "freq");
    o->freq_set = text && tl_freq_parse(tl_str(text), &o->freq);
    o->zone = tl_cli_opt(cli, "tz");
    text = tl_cli_opt(cli, "bar-time");
    o->bar_time_end = !text ? -1 : strcmp(text, "end") == 0;
    o->last_provisional = tl_cli_flag(cli, "provisional");
    o->calendar = tl_cli_opt(cli, "calendar");
    if (o->calendar && o->kind != TL_IMPORT_CALENDAR)
        return tl_fail(err, TL_INVALID, "--calendar goes with --kind calendar only");
    if (o->zone) {
        struct tl_tz *tz = NULL;
        enum tl_status st = tl_tz_open(o->zone, &tz, err);
        tl_tz_free(tz);
        if (st != TL_OK) return st;
    }
    return TL_OK;
}

struct row {
    const char *name, *key;
    uint64_t n;
    enum { IF_ANY, IF_BARS, ALWAYS } when; /* shown when not 0, when bars were imported, always */
};

static enum tl_status print_json(const struct tl_cli *cli, const struct row *rows, size_t n, double seconds,
                                 struct tl_err *err)
{
    struct tl_buf b;
    struct tl_json j;
    tl_buf_init(&b, 0);
    tl_json_init(&j, &b);
    tl_json_object(&j);
    for (size_t i = 0; i < n; i++) {
        tl_json_key(&j, rows[i].key);
        tl_json_u64(&j, rows[i].n);
    }
    tl_json_key(&j, "seconds");
    tl_json_num(&j, seconds);
    tl_json_object_end(&j);
    enum tl_status st = tl_out_json(cli, &b, err);
    tl_buf_release(&b);
    return st;
}

static enum tl_status print_summary(const struct tl_cli *cli, bool bars, const struct tl_import_summary *s,
                                    struct tl_err *err)
{
    const struct row rows[] = {
        {"files", "files", s->files, ALWAYS},
        {"files failed", "files_failed", s->files_failed, IF_ANY},
        {"bytes", "bytes", s->bytes, ALWAYS},
        {"rows", "rows", s->rows, ALWAYS},
        {"rejected", "rejected", s->rejected, ALWAYS},
        {"high or low inconsistent (kept)", "inconsistent", s->inconsistent, IF_ANY},
        {"duplicates (merged)", "duplicates", s->duplicates, IF_ANY},
        {"symbols", "symbols", s->stored.symbols, IF_BARS},
        {"appended", "appended", s->stored.appended, IF_BARS},
        {"inserted", "inserted", s->stored.inserted, IF_ANY},
        {"changed", "changed", s->stored.changed, IF_ANY},
        {"unchanged", "unchanged", s->stored.unchanged, IF_ANY},
        {"provisional", "provisional", s->stored.provisional, IF_ANY},
    };
    if (tl_cli_flag(cli, "json")) return print_json(cli, rows, TL_COUNT(rows), s->seconds, err);
    static const char *const heads[] = {"<import", ">"};
    struct tl_table t;
    char text[TL_HUMAN_MAX];
    tl_table_init(&t, 2, heads);
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        if (rows[i].n == 0 && rows[i].when != ALWAYS && (rows[i].when != IF_BARS || !bars)) continue;
        tl_table_cell(&t, rows[i].name);
        bool bytes = strcmp(rows[i].key, "bytes") == 0;
        tl_table_cell(&t, bytes ? tl_human_bytes(text, rows[i].n) : tl_human_count(text, rows[i].n));
    }
    tl_table_cell(&t, "time");
    tl_table_cell(&t, tl_human_seconds(text, s->seconds));
    enum tl_status st = tl_table_print(&t, cli, err);
    tl_table_release(&t);
    return st;
}

/* Tells Redis, and through it everybody (market.update.v1), what is new in the store. Without a Redis, or while it is
 * away, others learn it by following the store. */
static void tell_others(struct tl_cli *cli, struct tl_store *store)
{
    struct tl_cli_session session;
    struct tl_err redis, err;
    if (tl_cli_no_redis(cli)) return;
    if (tl_cli_session_open(cli, store, true, 1, NULL, &session, &redis, &err) != TL_OK) {
        tl_cli_warn(cli, "Redis was not told: %s", err.text);
        return;
    }
    uint64_t until = tl_clock_mono_ns(cli->clock) + TELL_MS * UINT64_C(1000000);
    while (redis.status == TL_OK && !tl_versions_told(session.cache) && tl_clock_mono_ns(cli->clock) < until)
        uv_run(&session.loop, UV_RUN_ONCE);
    if (redis.status != TL_OK) tl_cli_warn(cli, "Redis was not told: %s", redis.text);
    tl_cli_session_close(&session);
}

enum tl_status tl_cmd_import(struct tl_cli *cli, struct tl_err *err)
{
    struct import im = {.cli = cli, .shown_max = (uint64_t)tl_config_int(cli->cfg, "import.rejects_shown")};
    if (tl_cli_flag(cli, "errors")) im.shown_max = UINT64_MAX;
    struct tl_import_options o = {
        .on_reject = on_reject, .on_progress = on_progress, .cancelled = cancelled, .ctx = &im};
    struct tl_import_summary sum = {0};
    struct tl_store *store = NULL;
    enum tl_status st = read_options(cli, &o, err);
    if (st == TL_OK) st = tl_cli_open_store(cli, false, &store, err);
    if (st != TL_OK) return st;
    tl_cli_catch_interrupt();
    tl_progress_init(&im.bar, cli, "import", "B");
    st = tl_import_path(store, tl_cli_arg(cli, 0), &o, &sum, err);
    tl_progress_clear(&im.bar);
    if (sum.stored.appended + sum.stored.changed + sum.stored.inserted + sum.stored.provisional > 0 ||
        o.kind == TL_IMPORT_FACTORS)
        tell_others(cli, store);
    tl_store_close(store);
    if (im.hidden > 0) tl_cli_hint(cli, "%" PRIu64 " more rejected rows; --errors lists all", im.hidden);
    if (st != TL_OK && st != TL_SOME_FAILED && sum.files == sum.files_failed) return st;
    if (st == TL_CANCELLED) tl_cli_warn(cli, "stopped; the files before are in the store");
    if (st == TL_SOME_FAILED) err->text[0] = '\0'; /* each was reported */
    struct tl_err print_err = {0};
    enum tl_status printed = print_summary(cli, o.kind == TL_IMPORT_BARS, &sum, &print_err);
    if (st != TL_OK || printed == TL_OK) return st;
    *err = print_err;
    return printed;
}
