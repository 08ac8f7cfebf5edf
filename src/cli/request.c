/* SPDX-License-Identifier: Apache-2.0 */
/* Turns arguments and settings into symbols, specs, frequency, adjustment and row ranges. Every error names the
 * option and the value. Does not print. */
#include "cli/request.h"

#include "base/err.h"
#include "base/util.h"

#include <errno.h>

enum tl_status tl_cli_freq(const struct tl_cli *cli, enum tl_freq *out, struct tl_err *err)
{
    const char *text = tl_config_text(cli->cfg, "calc.freq");
    if (tl_freq_parse(tl_str(text), out)) return TL_OK;
    return tl_fail(err, TL_INVALID, "no frequency: %s (1m 5m 15m 30m 60m 1d 1w 1mo)", text);
}

enum tl_status tl_cli_adjust(const struct tl_cli *cli, enum tl_adjust *out, struct tl_err *err)
{
    const char *text = tl_config_text(cli->cfg, "calc.adjust");
    if (tl_adjust_parse(tl_str(text), out)) return TL_OK;
    return tl_fail(err, TL_INVALID, "no adjustment: %s (raw forward backward)", text);
}

/* ---- symbols ---- */

static enum tl_status add_file(struct tl_symbol_list *l, const char *path, struct tl_err *err)
{
    FILE *f = fopen(path, "re");
    if (!f) return tl_fail_errno(err, errno, "cannot read the symbols in %s", path);
    char *line = NULL;
    size_t cap = 0;
    uint64_t number = 0;
    enum tl_status st = TL_OK;
    ssize_t n;
    while (st == TL_OK && (n = getline(&line, &cap, f)) >= 0) {
        number++;
        struct tl_str text = {line, (size_t)n};
        const char *hash = memchr(line, '#', (size_t)n);
        if (hash) text.n = (size_t)(hash - line);
        text = tl_str_trim(text);
        struct tl_err detail;
        if (text.n && (st = tl_symbol_list_add(l, text, &detail)) != TL_OK)
            (void)tl_fail_at(err, st, path, number, 0, "%s", detail.text);
    }
    if (st == TL_OK && ferror(f)) st = tl_fail_errno(err, errno, "cannot read the symbols in %s", path);
    free(line);
    fclose(f);
    return st;
}

static enum tl_status add_all(struct tl_symbol_list *l, struct tl_store *store, enum tl_freq freq, struct tl_err *err)
{
    struct tl_store_reader *reader = NULL;
    enum tl_status st = tl_store_reader_new(store, &reader, err);
    if (st == TL_OK) st = tl_symbol_list_add_all(l, reader, freq, err);
    tl_store_reader_free(reader);
    return st;
}

enum tl_status tl_cli_symbols(const char *text, struct tl_store *store, enum tl_freq freq, struct tl_symbol **symbols,
                              size_t *count, struct tl_err *err)
{
    struct tl_symbol_list l;
    enum tl_status st = tl_symbol_list_init(&l, err);
    if (st != TL_OK) return st;
    if (strcmp(text, "all") == 0)
        st = add_all(&l, store, freq, err);
    else if (text[0] == '@')
        st = add_file(&l, text + 1, err);
    else
        st = tl_symbol_list_add_many(&l, tl_str(text), err);
    if (st == TL_OK && l.n == 0) st = tl_fail(err, TL_INVALID, "--symbols %s names no symbol", text);
    if (st == TL_OK)
        *symbols = tl_symbol_list_take(&l, count);
    else
        tl_symbol_list_release(&l);
    return st;
}

enum tl_status tl_cli_open_store_for_results(const struct tl_cli *cli, struct tl_store **out, bool *writable,
                                             struct tl_err *err)
{
    enum tl_status st = tl_cli_open_store(cli, false, out, err);
    *writable = st == TL_OK;
    if (st != TL_DENIED) return st;
    return tl_cli_open_store(cli, true, out, err);
}

/* ---- rows and times ---- */

enum tl_status tl_cli_range(const struct tl_cli *cli, size_t default_last, struct tl_grid_range *out,
                            struct tl_err *err)
{
    *out = (struct tl_grid_range){.last = 0};
    out->has_from = tl_cli_date(cli, "from", &out->from_day_ms);
    out->has_to = tl_cli_date(cli, "to", &out->to_day_ms);
    if (out->has_from && out->has_to && out->from_day_ms > out->to_day_ms)
        return tl_fail(err, TL_INVALID, "--from %s is after --to %s", tl_cli_opt(cli, "from"), tl_cli_opt(cli, "to"));
    out->last = (size_t)tl_cli_count(cli, "last", out->has_from || out->has_to ? 0 : (int64_t)default_last);
    return TL_OK;
}

enum tl_status tl_cli_zone(const struct tl_view *view, struct tl_tz **out, struct tl_err *err)
{
    *out = NULL;
    return view->zone[0] ? tl_tz_open(view->zone, out, err) : TL_OK;
}
