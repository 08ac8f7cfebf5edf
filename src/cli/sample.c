/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline sample`: options to tl_sample_write, and what it made. The last date is fixed unless given, so that the
 * same command gives the same market on every day. */

#include "cli/commands.h"
#include "cli/out.h"

#include "base/err.h"
#include "base/json.h"
#include "base/util.h"
#include "market/civil.h"
#include "sample/sample.h"

enum tl_status tl_cmd_sample(struct tl_cli *cli, struct tl_err *err)
{
    struct tl_sample_options options = {
        .symbols = (uint32_t)tl_cli_count(cli, "symbols", 300),
        .years = (uint32_t)tl_cli_count(cli, "years", 5),
        .seed = (uint64_t)tl_cli_count(cli, "seed", 1),
        .end_date_ms = tl_civil_days(2024, 12, 31) * TL_DAY_MS,
    };
    (void)tl_cli_date(cli, "end", &options.end_date_ms);
    struct tl_sample_summary sum = {0};
    enum tl_status st = tl_sample_write(tl_cli_arg(cli, 0), &options, &sum, err);
    if (st != TL_OK) return st;
    const struct {
        const char *name, *key;
        uint64_t n;
    } rows[] = {
        {"symbols", "symbols", sum.symbols},
        {"rows", "rows", sum.rows},
        {"blank rows", "blank_rows", sum.blank_rows},
        {"suspended days", "suspended_rows", sum.suspended_rows},
        {"splits and dividends", "splits", sum.splits},
        {"short histories", "short_histories", sum.short_histories},
        {"bytes", "bytes", sum.bytes},
    };
    if (tl_cli_flag(cli, "json")) {
        struct tl_buf b;
        struct tl_json j;
        tl_buf_init(&b, 0);
        tl_json_init(&j, &b);
        tl_json_object(&j);
        for (size_t i = 0; i < TL_COUNT(rows); i++) {
            tl_json_key(&j, rows[i].key);
            tl_json_u64(&j, rows[i].n);
        }
        tl_json_object_end(&j);
        st = tl_out_json(cli, &b, err);
        tl_buf_release(&b);
        return st;
    }
    static const char *const heads[] = {"<sample market", ">"};
    struct tl_table t;
    char text[TL_HUMAN_MAX];
    tl_table_init(&t, 2, heads);
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        tl_table_cell(&t, rows[i].name);
        tl_table_cell(&t, tl_human_count(text, rows[i].n));
    }
    st = tl_table_print(&t, cli, err);
    tl_table_release(&t);
    return st;
}
