/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline symbols`: what the store holds, from its heads alone. */

#include "cli/commands.h"
#include "cli/out.h"

#include "base/err.h"
#include "base/json.h"
#include "market/civil.h"

struct listing {
    struct tl_table *table; /* NULL: JSON */
    struct tl_json *json;
};

/* "2024-12-31", intraday with the time in UTC ("2024-12-31T07:00Z"). */
static void format_ts(int64_t ts_ms, enum tl_freq freq, char out[32])
{
    tl_civil_format_date(ts_ms, out);
    struct tl_civil c;
    tl_civil_from_ms(ts_ms, &c);
    if (tl_freq_intraday(freq)) snprintf(out + 10, 22, "T%02d:%02dZ", (int)c.hour, (int)c.minute);
}

static bool on_symbol(void *ctx, const struct tl_store_symbol *s)
{
    struct listing *l = ctx;
    char first[32], last[32], bars[TL_HUMAN_MAX];
    format_ts(s->head.first_ts, s->freq, first);
    format_ts(s->head.raw.last_ts, s->freq, last);
    if (l->table) {
        tl_table_cell(l->table, s->symbol.text);
        tl_table_cell(l->table, tl_freq_name(s->freq));
        tl_table_cell(l->table, tl_human_count(bars, (uint64_t)s->head.raw.bars));
        tl_table_cell(l->table, first);
        tl_table_cell(l->table, last);
        tl_table_cellf(l->table, "%lld", (long long)s->head.raw.revision);
        return true;
    }
    tl_json_object(l->json);
    tl_json_key(l->json, "symbol");
    tl_json_cstr(l->json, s->symbol.text);
    tl_json_key(l->json, "freq");
    tl_json_cstr(l->json, tl_freq_name(s->freq));
    tl_json_key(l->json, "bars");
    tl_json_i64(l->json, s->head.raw.bars);
    tl_json_key(l->json, "first");
    tl_json_cstr(l->json, first);
    tl_json_key(l->json, "last");
    tl_json_cstr(l->json, last);
    tl_json_key(l->json, "first_ts");
    tl_json_i64(l->json, s->head.first_ts);
    tl_json_key(l->json, "last_ts");
    tl_json_i64(l->json, s->head.raw.last_ts);
    tl_json_key(l->json, "revision");
    tl_json_i64(l->json, s->head.raw.revision);
    tl_json_key(l->json, "provisional");
    tl_json_bool(l->json, s->head.provisional);
    tl_json_object_end(l->json);
    return true;
}

static enum tl_status list(struct tl_cli *cli, struct tl_store_reader *reader, struct tl_err *err)
{
    static const char *const heads[] = {"<symbol", "<freq", ">bars", "<first", "<last", ">revision"};
    enum tl_status st;
    if (tl_cli_flag(cli, "json")) {
        struct tl_buf b;
        struct tl_json j;
        struct listing l = {.json = &j};
        tl_buf_init(&b, 0);
        tl_json_init(&j, &b);
        tl_json_array(&j);
        st = tl_store_symbols(reader, on_symbol, &l, err);
        tl_json_array_end(&j);
        if (st == TL_OK) st = tl_out_json(cli, &b, err);
        tl_buf_release(&b);
        return st;
    }
    struct tl_table t;
    struct listing l = {.table = &t};
    tl_table_init(&t, 6, heads);
    st = tl_store_symbols(reader, on_symbol, &l, err);
    if (st == TL_OK) st = tl_table_print(&t, cli, err);
    if (st == TL_OK && t.cells == t.columns) tl_cli_hint(cli, "the store is empty: tierline import FILE");
    tl_table_release(&t);
    return st;
}

enum tl_status tl_cmd_symbols(struct tl_cli *cli, struct tl_err *err)
{
    struct tl_store *store = NULL;
    struct tl_store_reader *reader = NULL;
    enum tl_status st = tl_cli_open_store(cli, true, &store, err);
    if (st == TL_OK) st = tl_store_reader_new(store, &reader, err);
    if (st == TL_OK) st = list(cli, reader, err);
    tl_store_reader_free(reader);
    tl_store_close(store);
    return st;
}
