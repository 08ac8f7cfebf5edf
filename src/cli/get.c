/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline get`: an indicator of one symbol; computed and stored on demand when the store has it not, or not fresh. */
#include "base/err.h"
#include "cli/commands.h"
#include "cli/request.h"
#include "cli/rows.h"
#include "schedule/run.h"

struct got {
    struct tl_cli *cli;
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
    tl_json_cstr(j, "fresh"); /* what is not is computed first */
    tl_json_key(j, "age_ms");
    tl_json_i64(j, age_ms > 0 ? age_ms : 0);
}

static enum tl_status print_item(struct tl_cli *cli, const struct tl_run *run, struct tl_err *err)
{
    const struct tl_run_item *item = &run->items[0];
    const struct tl_series *s = &item->series;
    if (s->first_bar > run->view.bars.n || s->n != run->view.bars.n - s->first_bar)
        return tl_fail(err, TL_CORRUPT, "%s: the stored series has %zu rows from bar %llu on, the bars are %zu",
                       run->symbol.text, s->n, (unsigned long long)s->first_bar, run->view.bars.n);
    struct got g = {.cli = cli, .run = run, .item = item};
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

/* A result that cannot be kept is still a result: the user is told, the answer stands. */
static void keep_result(struct tl_cli *cli, struct tl_store *store, bool writable, const struct tl_run *run)
{
    struct tl_store_put_item item;
    struct tl_store_put put = {.items = &item};
    struct tl_err err;
    if (tl_run_collect(run, &put) == 0) return;
    if (!writable) {
        tl_cli_warn(cli, "the store cannot be written: the result was not kept");
        return;
    }
    if (tl_store_write(store, &put, &err) != TL_OK) tl_cli_warn(cli, "the result was not kept: %s", err.text);
}

static enum tl_status get(struct tl_cli *cli, struct tl_run *run, struct tl_err *err)
{
    struct tl_cli_hours hours;
    enum tl_status st = tl_cli_sessions(cli, &hours, err);
    struct tl_store *store = NULL;
    struct tl_store_reader *reader = NULL;
    bool writable = false;
    if (st == TL_OK) st = tl_cli_open_store_for_results(cli, &store, &writable, err);
    if (st == TL_OK) st = tl_store_reader_new(store, &reader, err);
    if (st == TL_OK) {
        st = tl_run_symbol(run, reader, &hours.view, cli->clock, err);
        if (st == TL_OK && run->items[0].status != TL_OK) {
            st = run->items[0].status;
            (void)tl_fail(err, st, "%s %s: %s", run->symbol.text, tl_cli_arg(cli, 1), run->items[0].err.text);
        }
        if (st == TL_OK) keep_result(cli, store, writable, run);
        if (st == TL_OK) st = print_item(cli, run, err);
        tl_run_release(run);
    }
    tl_store_reader_free(reader);
    tl_store_close(store);
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
    return get(cli, &run, err);
}
