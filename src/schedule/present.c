/* SPDX-License-Identifier: Apache-2.0 */
/* The heads of answers: what it is, of which version, from where. */
#include "schedule/present.h"

#include "base/err.h"
#include "base/util.h"

static double bar_at(const void *ctx, size_t row, unsigned column)
{
    const struct tl_bars_shown *b = ctx;
    return b->view->bars.col[column][row];
}

static void what(struct tl_json *j, const struct tl_symbol *symbol, enum tl_freq freq, enum tl_adjust adjust)
{
    tl_json_key(j, "symbol");
    tl_json_cstr(j, symbol->text);
    tl_json_key(j, "freq");
    tl_json_cstr(j, tl_freq_name(freq));
    tl_json_key(j, "adjust");
    tl_json_cstr(j, tl_adjust_name(adjust));
}

static void bars_head(const void *ctx, struct tl_json *j)
{
    const struct tl_bars_shown *b = ctx;
    what(j, &b->symbol, b->freq, b->adjust);
    tl_json_key(j, "source_freq");
    tl_json_cstr(j, tl_freq_name(b->view->source_freq));
    tl_json_key(j, "zone");
    tl_json_cstr(j, b->view->zone[0] ? b->view->zone : NULL);
    tl_json_key(j, "provisional");
    tl_json_bool(j, b->view->provisional);
    tl_json_version(j, b->view->version);
}

void tl_present_bars(const struct tl_bars_shown *shown, struct tl_grid *g)
{
    static const char *const names[TL_BAR_COLUMNS] = {"open", "high", "low", "close", "volume", "amount"};
    *g = (struct tl_grid){.ts_ms = shown->view->bars.ts_ms,
                          .n = shown->view->bars.n,
                          .columns = TL_BAR_COLUMNS,
                          .names = names,
                          .at = bar_at,
                          .json_head = bars_head,
                          .ctx = shown};
}

static double value_at(const void *ctx, size_t row, unsigned column)
{
    const struct tl_series *s = ((const struct tl_series_shown *)ctx)->series;
    return s->rows[row * s->columns + column];
}

static void series_head(const void *ctx, struct tl_json *j)
{
    const struct tl_series_shown *s = ctx;
    char spec[TL_SPEC_MAX] = "";
    tl_spec_format(&s->spec, spec, sizeof spec);
    what(j, &s->symbol, s->freq, s->adjust);
    tl_json_key(j, "spec");
    tl_json_cstr(j, spec);
    tl_json_version(j, s->series->version);
    tl_json_key(j, "source");
    tl_json_cstr(j, tl_source_name(s->source));
    tl_json_key(j, "freshness");
    tl_json_cstr(j, tl_freshness_name(s->freshness));
    tl_json_key(j, "age_ms");
    tl_json_i64(j, s->age_ms > 0 ? s->age_ms : 0);
}

enum tl_status tl_present_series(const struct tl_series_shown *shown, struct tl_grid *g, struct tl_err *err)
{
    const struct tl_series *s = shown->series;
    const struct tl_bars *bars = &shown->view->bars;
    if (s->first_bar > bars->n || s->n != bars->n - s->first_bar || s->columns != shown->spec.info->n_outputs)
        return tl_fail(err, TL_CORRUPT, "%s: the stored series has %zu rows from bar %llu on, the bars are %zu",
                       shown->symbol.text, s->n, (unsigned long long)s->first_bar, bars->n);
    *g = (struct tl_grid){.ts_ms = bars->ts_ms + s->first_bar,
                          .n = s->n,
                          .columns = shown->spec.info->n_outputs,
                          .names = shown->spec.info->outputs,
                          .at = value_at,
                          .json_head = series_head,
                          .ctx = shown};
    return TL_OK;
}

enum tl_status tl_present_view(const struct tl_series *s, struct tl_store_reader *reader,
                               const struct tl_symbol *symbol, enum tl_freq freq, enum tl_adjust adjust,
                               bool provisional, const struct tl_view_sessions *sessions, struct tl_view *view,
                               struct tl_err *err)
{
    enum tl_status st = tl_view_load(reader, symbol, freq, adjust, provisional, sessions, view, err);
    if (st != TL_OK) return st;
    if (view->version.revision != s->version.revision)
        return tl_fail(err, TL_CONFLICT, "%s: its history was changed just now: ask again", symbol->text);
    view->bars.n = TL_MIN(view->bars.n, s->first_bar + s->n);
    return TL_OK;
}
