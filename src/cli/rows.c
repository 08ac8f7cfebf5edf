/* SPDX-License-Identifier: Apache-2.0 */
/* Prints rows of numbers in the form that was asked for. */
#include "cli/rows.h"

#include "cli/out.h"
#include "cli/request.h"

enum { TABLE_ROWS = 20 };

enum format { FORMAT_TABLE, FORMAT_CSV, FORMAT_JSON };

static enum format format_of(const struct tl_cli *cli)
{
    const char *name = tl_cli_opt(cli, "format");
    if (tl_cli_flag(cli, "json") || (name && strcmp(name, "json") == 0)) return FORMAT_JSON;
    return name && strcmp(name, "csv") == 0 ? FORMAT_CSV : FORMAT_TABLE;
}

static enum tl_status print_table(struct tl_cli *cli, const struct tl_grid *g, size_t from, size_t to,
                                  struct tl_err *err)
{
    char names[TL_GRID_COLUMNS_MAX][40];
    const char *heads[1 + TL_GRID_COLUMNS_MAX] = {"<date"};
    for (unsigned c = 0; c < g->columns; c++) {
        snprintf(names[c], sizeof names[c], ">%s", g->names[c]);
        heads[1 + c] = names[c];
    }
    struct tl_table t;
    tl_table_init(&t, 1 + g->columns, heads);
    char when[TL_GRID_TIME_MAX];
    for (size_t i = from; i < to; i++) {
        tl_table_cell(&t, tl_grid_time(when, g->tz, g->ts_ms[i]));
        for (unsigned c = 0; c < g->columns; c++) {
            double v = g->at(g->ctx, i, c);
            if (v == v)
                tl_table_cell_num(&t, v);
            else
                tl_table_cell(&t, NULL);
        }
    }
    enum tl_status st = tl_table_print(&t, cli, err);
    tl_table_release(&t);
    return st;
}

static enum tl_status print_text(struct tl_cli *cli, enum format format, const struct tl_grid *g, size_t from,
                                 size_t to, struct tl_err *err)
{
    struct tl_buf b;
    tl_buf_init(&b, 0);
    if (format == FORMAT_JSON)
        tl_grid_json(g, from, to, &b);
    else
        tl_grid_csv(g, from, to, &b);
    enum tl_status st = format == FORMAT_JSON ? tl_out_json(cli, &b, err) : tl_buf_status(&b, err);
    if (st == TL_OK && format == FORMAT_CSV) fwrite(b.p, 1, b.n, cli->out);
    tl_buf_release(&b);
    return st;
}

enum tl_status tl_cli_grid(struct tl_cli *cli, struct tl_grid *g, const struct tl_view *view, struct tl_err *err)
{
    enum format format = format_of(cli);
    struct tl_tz *tz = NULL;
    struct tl_grid_range range;
    size_t from, to;
    enum tl_status st = tl_cli_zone(view, &tz, err);
    if (st == TL_OK) st = tl_cli_range(cli, format == FORMAT_TABLE ? TABLE_ROWS : 0, &range, err);
    if (st == TL_OK) {
        g->tz = tz;
        tl_grid_cut(g, &range, &from, &to);
        st = format == FORMAT_TABLE ? print_table(cli, g, from, to, err) : print_text(cli, format, g, from, to, err);
        g->tz = NULL;
    }
    tl_tz_free(tz);
    return st;
}
