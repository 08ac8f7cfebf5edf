/* SPDX-License-Identifier: Apache-2.0 */
/* Prints rows of numbers. Numbers are the shortest that read back to the same double; dates are local to the
 * exchange for intraday bars. Knows nothing of where rows come from. */
#include "cli/rows.h"

#include "base/num.h"
#include "cli/out.h"
#include "cli/request.h"

enum { TABLE_ROWS = 20, COLUMNS_MAX = 8 };

enum format { FORMAT_TABLE, FORMAT_CSV, FORMAT_JSON };

struct range {
    const struct tl_tz *tz;
    size_t from, to;
};

static enum format format_of(const struct tl_cli *cli)
{
    const char *name = tl_cli_opt(cli, "format");
    if (tl_cli_flag(cli, "json") || (name && strcmp(name, "json") == 0)) return FORMAT_JSON;
    return name && strcmp(name, "csv") == 0 ? FORMAT_CSV : FORMAT_TABLE;
}

static enum tl_status print_table(struct tl_cli *cli, const struct tl_rows *r, struct range range, struct tl_err *err)
{
    char names[COLUMNS_MAX][40];
    const char *heads[1 + COLUMNS_MAX] = {"<date"};
    for (unsigned c = 0; c < r->columns; c++) {
        snprintf(names[c], sizeof names[c], ">%s", r->names[c]);
        heads[1 + c] = names[c];
    }
    struct tl_table t;
    tl_table_init(&t, 1 + r->columns, heads);
    char when[TL_CLI_TIME_MAX];
    for (size_t i = range.from; i < range.to; i++) {
        tl_table_cell(&t, tl_cli_time(when, range.tz, r->ts[i]));
        for (unsigned c = 0; c < r->columns; c++) {
            double v = r->at(r->ctx, i, c);
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

static enum tl_status print_csv(struct tl_cli *cli, const struct tl_rows *r, struct range range, struct tl_err *err)
{
    struct tl_buf b;
    tl_buf_init(&b, 0);
    tl_buf_puts(&b, "date");
    for (unsigned c = 0; c < r->columns; c++) tl_buf_printf(&b, ",%s", r->names[c]);
    tl_buf_putc(&b, '\n');
    char when[TL_CLI_TIME_MAX], number[TL_NUM_MAX];
    for (size_t i = range.from; i < range.to; i++) {
        tl_buf_puts(&b, tl_cli_time(when, range.tz, r->ts[i]));
        for (unsigned c = 0; c < r->columns; c++) {
            double v = r->at(r->ctx, i, c);
            tl_buf_putc(&b, ',');
            if (v == v) tl_buf_put(&b, number, tl_num_format(number, v));
        }
        tl_buf_putc(&b, '\n');
    }
    enum tl_status st = tl_buf_status(&b, err);
    if (st == TL_OK) fwrite(b.p, 1, b.n, cli->out);
    tl_buf_release(&b);
    return st;
}

static enum tl_status print_json(struct tl_cli *cli, const struct tl_rows *r, struct range range, struct tl_err *err)
{
    struct tl_buf b;
    struct tl_json j;
    tl_buf_init(&b, 0);
    tl_json_init(&j, &b);
    tl_json_object(&j);
    r->json_head(r->ctx, &j);
    tl_json_key(&j, "columns");
    tl_json_array(&j);
    for (unsigned c = 0; c < r->columns; c++) tl_json_cstr(&j, r->names[c]);
    tl_json_array_end(&j);
    tl_json_key(&j, "ts");
    tl_json_array(&j);
    for (size_t i = range.from; i < range.to; i++) tl_json_i64(&j, r->ts[i]);
    tl_json_array_end(&j);
    tl_json_key(&j, "values");
    tl_json_array(&j);
    for (size_t i = range.from; i < range.to; i++) {
        tl_json_array(&j);
        for (unsigned c = 0; c < r->columns; c++) tl_json_num(&j, r->at(r->ctx, i, c));
        tl_json_array_end(&j);
    }
    tl_json_array_end(&j);
    tl_json_object_end(&j);
    enum tl_status st = tl_out_json(cli, &b, err);
    tl_buf_release(&b);
    return st;
}

enum tl_status tl_rows_print(struct tl_cli *cli, const struct tl_rows *r, struct tl_err *err)
{
    enum format format = format_of(cli);
    struct tl_tz *tz = NULL;
    struct range range;
    enum tl_status st = tl_cli_zone(r->view, &tz, err);
    range.tz = tz;
    if (st == TL_OK)
        st = tl_cli_rows(cli, tz, r->ts, r->n, format == FORMAT_TABLE ? TABLE_ROWS : 0, &range.from, &range.to, err);
    if (st == TL_OK) {
        st = format == FORMAT_JSON  ? print_json(cli, r, range, err)
             : format == FORMAT_CSV ? print_csv(cli, r, range, err)
                                    : print_table(cli, r, range, err);
    }
    tl_tz_free(tz);
    return st;
}

void tl_rows_json_version(struct tl_json *j, struct tl_version v)
{
    tl_json_key(j, "version");
    tl_json_object(j);
    tl_json_key(j, "revision");
    tl_json_i64(j, v.revision);
    tl_json_key(j, "bars");
    tl_json_i64(j, v.bars);
    tl_json_key(j, "last_ts");
    tl_json_i64(j, v.last_ts);
    tl_json_object_end(j);
}
