/* SPDX-License-Identifier: Apache-2.0 */
/* The check-and-compute steps of the scheduler for one symbol. An item is fresh when the stored series has exactly the
 * version of the bars and this kernel version. Everything missing is computed in one batch, so that shared
 * intermediates are computed once. Does not write: results enter the store through the caller. */
#include "schedule/run.h"

#include "base/err.h"
#include "base/util.h"
#include "indicator/kernel.h"

#include <math.h>
#include <stdio.h>

const char *tl_source_name(enum tl_source s)
{
    static const char *const names[] = {"none", "memory", "redis", "store", "computed"};
    return names[s];
}

void tl_run_key(const struct tl_run *run, const struct tl_spec *spec, struct tl_series_key *key)
{
    *key = (struct tl_series_key){.symbol = run->symbol, .freq = run->freq, .adjust = run->adjust};
    size_t n = tl_spec_format(spec, key->spec, sizeof key->spec);
    TL_ASSERT(n > 0 && n + sizeof ";suspended=drop" <= sizeof key->spec);
    if (run->drop_suspended) memcpy(key->spec + n, ";suspended=drop", sizeof ";suspended=drop");
}

static bool is_fresh(const struct tl_series *s, struct tl_version version)
{
    return s->kernel_version >= TL_KERNEL_VERSION && tl_version_cmp(s->version, version) == 0;
}

/* Marks the items that are fresh already; returns how many are missing. */
static size_t check_store(struct tl_run *run, struct tl_store_reader *reader, struct tl_version version)
{
    size_t missing = 0;
    for (size_t i = 0; i < run->count; i++) {
        struct tl_run_item *item = &run->items[i];
        struct tl_series_key key;
        tl_run_key(run, &item->spec, &key);
        enum tl_status st = !run->want_stored || run->provisional
                                ? TL_NOT_FOUND
                                : tl_store_series_head(reader, &key, &item->series, NULL);
        bool fresh = st == TL_OK && is_fresh(&item->series, version);
        if (fresh && run->want_rows) {
            tl_series_release(&item->series);
            tl_series_init(&item->series);
            /* A damaged entry is a miss: the bars are there to compute it anew. */
            fresh = tl_store_series_read(reader, &key, &item->series, NULL) == TL_OK &&
                    tl_version_cmp(item->series.version, version) == 0;
        }
        if (fresh) {
            item->status = TL_OK;
            item->source = TL_SOURCE_STORE;
        } else {
            tl_series_release(&item->series);
            tl_series_init(&item->series);
            missing++;
        }
    }
    return missing;
}

static bool suspended(const struct tl_bars *b, size_t i)
{
    double c = b->col[TL_BAR_CLOSE][i];
    return b->col[TL_BAR_VOLUME][i] == 0 && b->col[TL_BAR_OPEN][i] == c && b->col[TL_BAR_HIGH][i] == c &&
           b->col[TL_BAR_LOW][i] == c;
}

/* kept[k] = index in `all` of the k-th bar that was traded. */
static enum tl_status traded_only(const struct tl_bars *all, struct tl_bars *out, size_t **kept)
{
    *kept = tl_calloc(all->n, sizeof **kept);
    if (!*kept) return TL_NOMEM;
    enum tl_status st = tl_bars_reserve(out, all->n);
    for (size_t i = 0; st == TL_OK && i < all->n; i++) {
        if (suspended(all, i)) continue;
        struct tl_bar bar = tl_bars_at(all, i);
        (*kept)[out->n] = i;
        st = tl_bars_append(out, &bar);
    }
    return st;
}

/* Columns of one item to rows. kept == NULL: row i is bar begin + i. Otherwise a bar without trade repeats the row
 * before it. */
static enum tl_status rows_from_columns(struct tl_series *s, double *const cols[], size_t begin, size_t n_values,
                                        const size_t *kept, size_t n_bars)
{
    size_t first = kept ? kept[begin] : begin;
    size_t n = n_bars - first;
    s->rows = tl_calloc(n, s->columns * sizeof *s->rows);
    if (!s->rows) return TL_NOMEM;
    size_t v = 0;
    for (size_t r = 0; r < n; r++) {
        if (kept && v + 1 < n_values && kept[begin + v + 1] == first + r) v++;
        size_t at = kept ? v : r;
        for (size_t c = 0; c < s->columns; c++) s->rows[r * s->columns + c] = cols[c][at];
    }
    s->n = n;
    s->first_bar = first;
    return TL_OK;
}

struct compute {
    struct tl_run *run;
    size_t missing;
    struct tl_batch_item *batch; /* the missing items, in order */
    double *memory;              /* all their columns */
    struct tl_bars traded;       /* only with drop_suspended */
    size_t *kept;
};

static enum tl_status lay_out_columns(struct compute *c, size_t n)
{
    c->batch = tl_calloc(c->missing, sizeof *c->batch);
    if (!c->batch) return TL_NOMEM;
    size_t columns = 0, b = 0;
    for (size_t i = 0; i < c->run->count; i++) {
        if (c->run->items[i].source != TL_SOURCE_NONE) continue;
        c->batch[b++].spec = c->run->items[i].spec;
        columns += c->run->items[i].spec.info->n_outputs;
    }
    c->memory = tl_calloc(columns, n * sizeof *c->memory);
    if (!c->memory) return TL_NOMEM;
    double *p = c->memory;
    for (b = 0; b < c->missing; b++)
        for (unsigned k = 0; k < c->batch[b].spec.info->n_outputs; k++, p += n) c->batch[b].out[k] = p;
    return TL_OK;
}

static enum tl_status take_results(struct compute *c, const struct tl_bars *bars, size_t n_bars, int64_t now_ms)
{
    size_t b = 0;
    for (size_t i = 0; i < c->run->count; i++) {
        struct tl_run_item *item = &c->run->items[i];
        if (item->source != TL_SOURCE_NONE) continue;
        const struct tl_batch_item *from = &c->batch[b++];
        size_t begin = tl_spec_lookback(&from->spec);
        item->status = from->status;
        if (from->status == TL_TOO_FEW_BARS) {
            item->status = tl_fail(&item->err, TL_TOO_FEW_BARS, "%zu bars, %zu needed", bars->n, begin + 1);
            continue;
        }
        if (from->status != TL_OK) {
            item->status = tl_fail(&item->err, from->status, "%s", tl_status_text(from->status));
            continue;
        }
        item->series.version = c->run->version;
        item->series.kernel_version = TL_KERNEL_VERSION;
        item->series.computed_ms = now_ms;
        item->series.columns = from->spec.info->n_outputs;
        enum tl_status st = rows_from_columns(&item->series, from->out, begin, bars->n - begin, c->kept, n_bars);
        if (st != TL_OK) return st;
        item->source = TL_SOURCE_COMPUTED;
    }
    return TL_OK;
}

static enum tl_status compute_missing(struct tl_run *run, size_t missing, const struct tl_clock *clock,
                                      struct tl_err *err)
{
    struct compute c = {.run = run, .missing = missing};
    const struct tl_bars *bars = &run->view.bars;
    tl_bars_init(&c.traded);
    enum tl_status st = TL_OK;
    if (run->drop_suspended) {
        st = traded_only(&run->view.bars, &c.traded, &c.kept);
        bars = &c.traded;
    }
    if (st == TL_OK) st = lay_out_columns(&c, TL_MAX(bars->n, 1));
    if (st == TL_OK) {
        struct tl_input in = {.open = bars->col[TL_BAR_OPEN],
                              .high = bars->col[TL_BAR_HIGH],
                              .low = bars->col[TL_BAR_LOW],
                              .close = bars->col[TL_BAR_CLOSE],
                              .volume = bars->col[TL_BAR_VOLUME]};
        st = tl_indicator_batch(c.batch, missing, &in, bars->n, err);
        if (st == TL_OK || st == TL_SOME_FAILED) st = take_results(&c, bars, run->view.bars.n, tl_clock_wall_ms(clock));
    }
    if (st == TL_NOMEM) (void)tl_fail(err, st, "%s: no memory for %zu indicators", run->symbol.text, missing);
    free(c.batch);
    free(c.memory);
    free(c.kept);
    tl_bars_release(&c.traded);
    return st;
}

/* A weekly or monthly bar is stamped with its first trading date, so any day of its period counts as in it. */
static int64_t period_start(enum tl_freq freq, int64_t day_ms)
{
    struct tl_civil c;
    if (freq == TL_FREQ_1W) return day_ms - tl_civil_weekday(day_ms) * TL_DAY_MS;
    if (freq != TL_FREQ_1MO) return day_ms;
    tl_civil_from_ms(day_ms, &c);
    return tl_civil_days(c.year, c.month, 1) * TL_DAY_MS;
}

static bool has_bar_on(const struct tl_bars *b, enum tl_freq freq, int64_t day_ms, int64_t offset_ms)
{
    size_t i = tl_bars_lower_bound(b, period_start(freq, day_ms) - offset_ms);
    return i < b->n && b->ts_ms[i] < day_ms - offset_ms + TL_DAY_MS;
}

/* The day of an intraday bar is its exchange's, so the zone of the bars decides. */
static enum tl_status check_day(struct tl_run *run, struct tl_err *err)
{
    int64_t offset = 0;
    if (run->view.zone[0]) {
        struct tl_tz *tz = NULL;
        enum tl_status st = tl_tz_open(run->view.zone, &tz, err);
        if (st != TL_OK) return st;
        offset = tl_tz_offset_at_utc(tz, run->day_ms);
        tl_tz_free(tz);
    }
    run->no_bar_on_day = !has_bar_on(&run->view.bars, run->freq, run->day_ms, offset);
    return TL_OK;
}

static enum tl_status run_symbol(struct tl_run *run, struct tl_store_reader *reader,
                                 const struct tl_view_sessions *sessions, const struct tl_clock *clock,
                                 struct tl_err *err)
{
    struct tl_bars_head head;
    enum tl_freq source;
    enum tl_status st = tl_view_source(reader, &run->symbol, run->freq, &source, &head, err);
    if (st != TL_OK) return st;
    run->version = tl_bars_head_version(&head, run->adjust);
    bool bars_needed = run->want_view || run->day_ms != INT64_MIN;
    if (bars_needed) {
        st = tl_view_load(reader, &run->symbol, run->freq, run->adjust, run->provisional, sessions, &run->view, err);
        if (st != TL_OK) return st;
        run->version = run->view.version;
    }
    if (run->day_ms != INT64_MIN) {
        st = check_day(run, err);
        if (st != TL_OK || run->no_bar_on_day) return st;
    }
    size_t missing = check_store(run, reader, run->version);
    if (missing == 0 || run->only_check) return TL_OK;
    if (!bars_needed) {
        st = tl_view_load(reader, &run->symbol, run->freq, run->adjust, run->provisional, sessions, &run->view, err);
        if (st != TL_OK) return st;
        run->version = run->view.version;
    }
    return compute_missing(run, missing, clock, err);
}

enum tl_status tl_run_symbol(struct tl_run *run, struct tl_store_reader *reader,
                             const struct tl_view_sessions *sessions, const struct tl_clock *clock, struct tl_err *err)
{
    struct tl_err local;
    if (!err) err = &local;
    tl_view_init(&run->view);
    run->no_bar_on_day = false;
    for (size_t i = 0; i < run->count; i++) {
        tl_series_init(&run->items[i].series);
        run->items[i].status = TL_OK;
        run->items[i].source = TL_SOURCE_NONE;
    }
    enum tl_status st = run_symbol(run, reader, sessions, clock, err);
    for (size_t i = 0; st != TL_OK && i < run->count; i++) {
        if (run->items[i].source != TL_SOURCE_NONE && run->items[i].source != TL_SOURCE_COMPUTED) continue;
        run->items[i].source = TL_SOURCE_NONE;
        run->items[i].status = st;
        run->items[i].err = *err;
    }
    return st;
}

void tl_run_release(struct tl_run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        tl_series_release(&run->items[i].series);
        tl_series_init(&run->items[i].series);
    }
    tl_view_release(&run->view);
    tl_view_init(&run->view);
}

size_t tl_run_collect(const struct tl_run *run, struct tl_store_put *put)
{
    put->key = (struct tl_series_key){.symbol = run->symbol, .freq = run->freq, .adjust = run->adjust};
    put->count = 0;
    if (run->provisional) return 0;
    for (size_t i = 0; i < run->count; i++) {
        const struct tl_run_item *item = &run->items[i];
        if (item->status != TL_OK || item->source != TL_SOURCE_COMPUTED) continue;
        struct tl_store_put_item *to = &put->items[put->count++];
        struct tl_series_key key;
        tl_run_key(run, &item->spec, &key);
        *to = (struct tl_store_put_item){.series = item->series};
        memcpy(to->spec, key.spec, sizeof to->spec);
    }
    return put->count;
}
