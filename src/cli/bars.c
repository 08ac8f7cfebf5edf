/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline bars`: bars of one symbol, raw or adjusted, also resampled. Only reads. */
#include "cli/commands.h"
#include "cli/request.h"
#include "cli/rows.h"

struct bars {
    struct tl_symbol symbol;
    enum tl_freq freq;
    enum tl_adjust adjust;
    struct tl_view view;
};

static double bar_at(const void *ctx, size_t row, unsigned column)
{
    const struct bars *b = ctx;
    return b->view.bars.col[column][row];
}

static void json_head(const void *ctx, struct tl_json *j)
{
    const struct bars *b = ctx;
    tl_json_key(j, "symbol");
    tl_json_cstr(j, b->symbol.text);
    tl_json_key(j, "freq");
    tl_json_cstr(j, tl_freq_name(b->freq));
    tl_json_key(j, "adjust");
    tl_json_cstr(j, tl_adjust_name(b->adjust));
    tl_json_key(j, "source_freq");
    tl_json_cstr(j, tl_freq_name(b->view.source_freq));
    tl_json_key(j, "zone");
    tl_json_cstr(j, b->view.zone[0] ? b->view.zone : NULL);
    tl_json_key(j, "provisional");
    tl_json_bool(j, b->view.provisional);
    tl_rows_json_version(j, b->view.version);
}

static enum tl_status print_bars(struct tl_cli *cli, const struct bars *b, struct tl_err *err)
{
    static const char *const names[TL_BAR_COLUMNS] = {"open", "high", "low", "close", "volume", "amount"};
    struct tl_rows rows = {.view = &b->view,
                           .ts = b->view.bars.ts_ms,
                           .n = b->view.bars.n,
                           .columns = TL_BAR_COLUMNS,
                           .names = names,
                           .at = bar_at,
                           .json_head = json_head,
                           .ctx = b};
    return tl_rows_print(cli, &rows, err);
}

enum tl_status tl_cmd_bars(struct tl_cli *cli, struct tl_err *err)
{
    struct bars b;
    struct tl_cli_hours hours;
    struct tl_store *store = NULL;
    struct tl_store_reader *reader = NULL;
    tl_view_init(&b.view);
    enum tl_status st = tl_symbol_parse(tl_str(tl_cli_arg(cli, 0)), TL_MARKET_NONE, &b.symbol, err);
    if (st == TL_OK) st = tl_cli_freq(cli, &b.freq, err);
    if (st == TL_OK) st = tl_cli_adjust(cli, &b.adjust, err);
    if (st == TL_OK) st = tl_cli_sessions(cli, &hours, err);
    if (st == TL_OK) st = tl_cli_open_store(cli, true, &store, err);
    if (st == TL_OK) st = tl_store_reader_new(store, &reader, err);
    if (st == TL_OK) st = tl_view_load(reader, &b.symbol, b.freq, b.adjust, true, &hours.view, &b.view, err);
    if (st == TL_OK) st = print_bars(cli, &b, err);
    tl_view_release(&b.view);
    tl_store_reader_free(reader);
    tl_store_close(store);
    return st;
}
