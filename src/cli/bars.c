/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline bars`: bars of one symbol, raw or adjusted, also resampled. Only reads. */
#include "cli/commands.h"
#include "cli/request.h"
#include "cli/rows.h"
#include "schedule/present.h"

enum tl_status tl_cmd_bars(struct tl_cli *cli, struct tl_err *err)
{
    struct tl_bars_shown b;
    struct tl_view view;
    struct tl_grid grid;
    struct tl_hours hours;
    struct tl_store *store = NULL;
    struct tl_store_reader *reader = NULL;
    tl_view_init(&view);
    b.view = &view;
    enum tl_status st = tl_symbol_parse(tl_str(tl_cli_arg(cli, 0)), TL_MARKET_NONE, &b.symbol, err);
    if (st == TL_OK) st = tl_cli_freq(cli, &b.freq, err);
    if (st == TL_OK) st = tl_cli_adjust(cli, &b.adjust, err);
    if (st == TL_OK) st = tl_hours_read(cli->cfg, &hours, err);
    if (st == TL_OK) st = tl_cli_open_store(cli, true, &store, err);
    if (st == TL_OK) st = tl_store_reader_new(store, &reader, err);
    if (st == TL_OK) st = tl_view_load(reader, &b.symbol, b.freq, b.adjust, true, &hours.view, &view, err);
    if (st == TL_OK) {
        tl_present_bars(&b, &grid);
        st = tl_cli_grid(cli, &grid, &view, err);
    }
    tl_view_release(&view);
    tl_store_reader_free(reader);
    tl_store_close(store);
    return st;
}
