/* SPDX-License-Identifier: Apache-2.0 */
/* One symbol's run: what is fresh, what is computed, and that it is what a cold computation gives. */
#include "support.h"

#include "market_fixture.h"
#include "schedule/run.h"

static const char *const spec_texts[] = {"SMA(5)", "MACD(12,26,9)", "RSI(14)", "BBANDS(20,2,2,SMA)", "KDJ(9,3,3)"};
enum { SPECS = sizeof spec_texts / sizeof *spec_texts };

struct fixture {
    struct market market;
    struct tl_store_reader *reader;
    struct tl_run run;
    struct tl_run_item items[SPECS];
    struct tl_view_sessions sessions;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    market_open(&f->market);
    assert_int_equal(tl_store_reader_new(f->market.store, &f->reader, NULL), TL_OK);
    f->sessions = tl_view_sessions_default();
    for (size_t i = 0; i < SPECS; i++) assert_int_equal(tl_spec_parse(spec_texts[i], &f->items[i].spec, NULL), TL_OK);
    f->run = (struct tl_run){.symbol = market_symbol("600519.SH"),
                             .want_stored = true,
                             .freq = TL_FREQ_1D,
                             .want_rows = true,
                             .day_ms = INT64_MIN,
                             .count = SPECS,
                             .items = f->items};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    tl_store_reader_free(f->reader);
    market_close(&f->market);
    free(f);
    return 0;
}

static enum tl_status go(struct fixture *f)
{
    return tl_run_symbol(&f->run, f->reader, &f->sessions, &tl_clock_system, NULL);
}

static void keep(struct fixture *f)
{
    struct tl_store_put_item items[SPECS];
    struct tl_store_put put = {.items = items};
    struct tl_err err;
    if (tl_run_collect(&f->run, &put) && tl_store_write(f->market.store, &put, &err) != TL_OK) fail_msg("%s", err.text);
}

/* Item i holds exactly what computing over `bars` alone gives. */
static void assert_cold(const struct fixture *f, size_t i, const struct tl_bars *bars)
{
    const struct tl_series *s = &f->items[i].series;
    size_t begin = tl_spec_lookback(&f->items[i].spec), n = bars->n - begin;
    unsigned columns = f->items[i].spec.info->n_outputs;
    assert_int_equal(s->first_bar, begin);
    assert_int_equal(s->n, n);
    assert_int_equal(s->columns, columns);
    double *out[TL_INDICATOR_OUTPUTS_MAX] = {NULL};
    for (unsigned c = 0; c < columns; c++) out[c] = malloc(n * sizeof(double));
    struct tl_input in = {bars->col[TL_BAR_OPEN], bars->col[TL_BAR_HIGH], bars->col[TL_BAR_LOW],
                          bars->col[TL_BAR_CLOSE], bars->col[TL_BAR_VOLUME]};
    assert_int_equal(tl_indicator_compute(&f->items[i].spec, &in, bars->n, out, NULL), TL_OK);
    for (size_t r = 0; r < n; r++)
        for (unsigned c = 0; c < columns; c++)
            assert_memory_equal(&s->rows[r * columns + c], &out[c][r], sizeof(double));
    for (unsigned c = 0; c < columns; c++) free(out[c]);
}

static void assert_all(struct fixture *f, enum tl_source source)
{
    for (size_t i = 0; i < SPECS; i++) {
        assert_int_equal(f->items[i].status, TL_OK);
        assert_int_equal(f->items[i].source, source);
    }
}

static void computes_once_and_serves_what_is_fresh(void **state)
{
    struct fixture *f = *state;
    struct tl_bars bars;
    tl_bars_init(&bars);
    market_walk(&bars, 1300, 1, 0);
    market_import_walk(&f->market, "600519.SH", 1300, 1, 0);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(go(f), TL_OK);
        assert_all(f, round == 0 ? TL_SOURCE_COMPUTED : TL_SOURCE_STORE);
        for (size_t i = 0; i < SPECS; i++) assert_cold(f, i, &bars);
        keep(f);
        tl_run_release(&f->run);
    }
    tl_bars_release(&bars);
}

static void computes_anew_after_bars_were_appended_or_corrected(void **state)
{
    struct fixture *f = *state;
    static const size_t lengths[] = {100, 512, 513, 1024, 1030};
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        struct tl_bars bars;
        tl_bars_init(&bars);
        market_walk(&bars, lengths[k], 7, 0);
        market_import(&f->market, "600519.SH", TL_FREQ_1D, "", &bars, false);
        for (int round = 0; round < 2; round++) {
            assert_int_equal(go(f), TL_OK);
            assert_all(f, round == 0 ? TL_SOURCE_COMPUTED : TL_SOURCE_STORE);
            for (size_t i = 0; i < SPECS; i++) assert_cold(f, i, &bars);
            keep(f);
            tl_run_release(&f->run);
        }
        bars.col[TL_BAR_CLOSE][50] += 0.25; /* a correction */
        market_import(&f->market, "600519.SH", TL_FREQ_1D, "", &bars, false);
        assert_int_equal(go(f), TL_OK);
        assert_all(f, TL_SOURCE_COMPUTED);
        for (size_t i = 0; i < SPECS; i++) assert_cold(f, i, &bars);
        keep(f);
        tl_run_release(&f->run);
        tl_bars_release(&bars);
    }
}

static void failures_are_per_item(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(go(f), TL_NO_DATA);
    for (size_t i = 0; i < SPECS; i++) assert_int_equal(f->items[i].status, TL_NO_DATA);
    tl_run_release(&f->run);
    market_import_walk(&f->market, "600519.SH", 20, 1, 0);
    assert_int_equal(go(f), TL_OK);
    assert_int_equal(f->items[0].status, TL_OK);
    assert_int_equal(f->items[1].status, TL_TOO_FEW_BARS);
    assert_string_equal(f->items[1].err.text, "20 bars, 34 needed");
    assert_int_equal(f->items[3].status, TL_OK); /* exactly enough */
    assert_int_equal(f->items[3].series.n, 1);
    tl_run_release(&f->run);
}

static void adjusted_prices_need_factors(void **state)
{
    struct fixture *f = *state;
    market_import_walk(&f->market, "600519.SH", 100, 1, 0);
    f->run.adjust = TL_ADJUST_FORWARD;
    struct tl_err err;
    assert_int_equal(tl_run_symbol(&f->run, f->reader, &f->sessions, &tl_clock_system, &err), TL_NO_FACTORS);
    assert_non_null(strstr(err.text, "600519.SH has no adjustment factors"));
    tl_run_release(&f->run);
}

static void a_factor_raises_the_forward_series_alone(void **state)
{
    struct fixture *f = *state;
    struct tl_bars bars;
    tl_bars_init(&bars);
    market_walk(&bars, 200, 3, 0);
    market_import(&f->market, "600519.SH", TL_FREQ_1D, "", &bars, false);
    assert_int_equal(go(f), TL_OK);
    keep(f);
    struct tl_version raw = f->run.version;
    tl_run_release(&f->run);
    struct tl_factor event = {.ex_date_ms = bars.ts_ms[100], .kind = TL_FACTOR_EVENT, .gift = 1};
    struct tl_factors factors = {1, &event};
    struct tl_store_import *import;
    struct tl_import_totals totals;
    assert_int_equal(tl_store_import_begin(f->market.store, &import, NULL), TL_OK);
    assert_int_equal(tl_store_import_factors(import, &f->run.symbol, &factors, NULL), TL_OK);
    assert_int_equal(tl_store_import_commit(import, &totals, NULL), TL_OK);
    assert_int_equal(go(f), TL_OK);
    assert_all(f, TL_SOURCE_STORE);
    assert_int_equal(tl_version_cmp(f->run.version, raw), 0);
    tl_run_release(&f->run);
    f->run.adjust = TL_ADJUST_FORWARD;
    assert_int_equal(go(f), TL_OK);
    assert_all(f, TL_SOURCE_COMPUTED);
    assert_true(f->run.version.revision > raw.revision);
    assert_int_equal(tl_bars_adjust(&bars, TL_ADJUST_FORWARD, &factors, 0, NULL), TL_OK);
    for (size_t i = 0; i < SPECS; i++) assert_cold(f, i, &bars);
    tl_run_release(&f->run);
    tl_bars_release(&bars);
}

static void suspended_days_repeat_the_row_before(void **state)
{
    struct fixture *f = *state;
    struct tl_bars all, traded;
    tl_bars_init(&all);
    tl_bars_init(&traded);
    market_walk(&all, 300, 5, 4);
    market_import(&f->market, "600519.SH", TL_FREQ_1D, "", &all, false);
    for (size_t i = 0; i < all.n; i++) {
        struct tl_bar bar = tl_bars_at(&all, i);
        if (bar.v[TL_BAR_VOLUME] > 0) assert_int_equal(tl_bars_append(&traded, &bar), TL_OK);
    }
    f->run.drop_suspended = true;
    assert_int_equal(go(f), TL_OK);
    assert_all(f, TL_SOURCE_COMPUTED);
    const struct tl_series *s = &f->items[0].series; /* SMA(5) */
    double *sma = malloc(traded.n * sizeof *sma), *out[3] = {sma};
    struct tl_input in = {.close = traded.col[TL_BAR_CLOSE]};
    assert_int_equal(tl_indicator_compute(&f->items[0].spec, &in, traded.n, out, NULL), TL_OK);
    assert_int_equal(s->first_bar + s->n, all.n);
    assert_int_equal(all.ts_ms[s->first_bar], traded.ts_ms[4]);
    size_t k = 0;
    for (size_t r = 0; r < s->n; r++) {
        if (r > 0 && all.col[TL_BAR_VOLUME][s->first_bar + r] > 0) k++;
        assert_memory_equal(&s->rows[r], &sma[k], sizeof(double));
    }
    keep(f);
    tl_run_release(&f->run);
    f->run.drop_suspended = false; /* another key: not served from the other setting */
    assert_int_equal(go(f), TL_OK);
    assert_all(f, TL_SOURCE_COMPUTED);
    for (size_t i = 0; i < SPECS; i++) assert_cold(f, i, &all);
    tl_run_release(&f->run);
    free(sma);
    tl_bars_release(&all);
    tl_bars_release(&traded);
}

static void weeks_come_from_days_and_follow_them(void **state)
{
    struct fixture *f = *state;
    f->run.freq = TL_FREQ_1W;
    for (size_t n = 2560; n < 2568; n++) { /* 512 weeks and on: the week under way is the last row of a full chunk */
        struct tl_bars days, weeks;
        tl_bars_init(&days);
        tl_bars_init(&weeks);
        market_walk(&days, n, 11, 0);
        market_import(&f->market, "600519.SH", TL_FREQ_1D, "", &days, false);
        assert_int_equal(tl_bars_resample(&days, TL_FREQ_1D, TL_FREQ_1W, NULL, NULL, &weeks, NULL), TL_OK);
        for (int round = 0; round < 2; round++) {
            assert_int_equal(go(f), TL_OK);
            assert_all(f, round == 0 ? TL_SOURCE_COMPUTED : TL_SOURCE_STORE);
            for (size_t i = 0; i < SPECS; i++) assert_cold(f, i, &weeks);
            keep(f);
            tl_run_release(&f->run);
        }
        tl_bars_release(&days);
        tl_bars_release(&weeks);
    }
}

static void a_provisional_bar_stays_out_unless_asked_for(void **state)
{
    struct fixture *f = *state;
    struct tl_bars bars;
    tl_bars_init(&bars);
    market_walk(&bars, 100, 13, 0);
    market_import(&f->market, "600519.SH", TL_FREQ_1D, "", &bars, true);
    f->run.provisional = true;
    assert_int_equal(go(f), TL_OK);
    for (size_t i = 0; i < SPECS; i++) assert_cold(f, i, &bars);
    struct tl_store_put_item items[SPECS];
    struct tl_store_put put = {.items = items};
    assert_int_equal(tl_run_collect(&f->run, &put), 0);
    tl_run_release(&f->run);
    f->run.provisional = false;
    assert_int_equal(go(f), TL_OK);
    assert_int_equal(f->run.version.bars, 99);
    bars.n--;
    for (size_t i = 0; i < SPECS; i++) assert_cold(f, i, &bars);
    tl_run_release(&f->run);
    tl_bars_release(&bars);
}

static void a_date_without_a_bar_skips_the_symbol(void **state)
{
    struct fixture *f = *state;
    market_import_walk(&f->market, "600519.SH", 100, 17, 0);
    static const struct {
        int year, month, day;
        enum tl_freq freq;
        bool there;
    } rows[] = {{2020, 1, 6, TL_FREQ_1D, true},  {2020, 1, 11, TL_FREQ_1D, false}, {2019, 1, 7, TL_FREQ_1D, false},
                {2030, 1, 7, TL_FREQ_1D, false}, {2020, 1, 8, TL_FREQ_1W, true},   {2030, 1, 9, TL_FREQ_1W, false},
                {2020, 1, 31, TL_FREQ_1MO, true}};
    f->run.count = 1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        f->run.freq = rows[i].freq;
        f->run.day_ms = tl_civil_days(rows[i].year, rows[i].month, rows[i].day) * TL_DAY_MS;
        assert_int_equal(go(f), TL_OK);
        assert_int_equal(f->run.no_bar_on_day, !rows[i].there);
        tl_run_release(&f->run);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(computes_once_and_serves_what_is_fresh),
        TEST(computes_anew_after_bars_were_appended_or_corrected),
        TEST(failures_are_per_item),
        TEST(adjusted_prices_need_factors),
        TEST(a_factor_raises_the_forward_series_alone),
        TEST(suspended_days_repeat_the_row_before),
        TEST(weeks_come_from_days_and_follow_them),
        TEST(a_provisional_bar_stays_out_unless_asked_for),
        TEST(a_date_without_a_bar_skips_the_symbol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
