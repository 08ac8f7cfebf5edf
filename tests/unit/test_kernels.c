/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for every indicator in the registry, over a made-up market with suspensions and limit-up runs: no value
 * knows the future, the first value is where the lookback says, nothing is read or written outside the arrays (each
 * array is an allocation of its own, for the sanitizers), the same input gives the same bits. And the sliding extremes
 * against a search of every window. */
#include "support.h"
#include "synthetic_bars.h"

#include "indicator/extremum.h"

#include <math.h>

enum { BARS = 420, SEED = 7 };

typedef void check(const struct tl_spec *, const struct synthetic_bars *);

/* Runs a check for every spec that fits into `bars`. */
static void for_every_spec(check *one, size_t n)
{
    struct synthetic_bars bars;
    size_t done = 0;
    synthetic_bars_make(&bars, n, SEED);
    for (size_t i = 0; i < tl_indicator_count(); i++) {
        struct tl_spec specs[SYNTHETIC_SPECS_MAX];
        size_t count = synthetic_specs(tl_indicator_at(i), specs);
        for (size_t s = 0; s < count; s++) {
            if (tl_spec_lookback(&specs[s]) + 1 > n) continue;
            one(&specs[s], &bars);
            done++;
        }
    }
    synthetic_bars_release(&bars);
    assert_true(done >= tl_indicator_count());
}

static void assert_same_rows(const struct tl_spec *spec, const struct synthetic_result *a,
                             const struct synthetic_result *b, size_t rows)
{
    for (unsigned k = 0; k < spec->info->n_outputs; k++) {
        for (size_t r = 0; r < rows; r++) {
            if (memcmp(&a->out[k][r], &b->out[k][r], sizeof(double)) == 0) continue;
            fail_msg("%s(%g): output %u, row %zu: %a and %a", spec->info->name, spec->params[0], k, r, a->out[k][r],
                     b->out[k][r]);
        }
    }
}

static void knows_no_future(const struct tl_spec *spec, const struct synthetic_bars *bars)
{
    struct synthetic_result whole = synthetic_compute(spec, &bars->in, bars->n);
    static const size_t more[] = {1, 2, 3, 4, 5, 29, 100, 211};
    for (size_t m = 0; m < sizeof more / sizeof more[0]; m++) {
        size_t n = whole.lookback + more[m];
        if (n > bars->n) continue;
        struct synthetic_result part = synthetic_compute(spec, &bars->in, n);
        assert_same_rows(spec, &part, &whole, more[m]);
        free(part.out[0]);
    }
    free(whole.out[0]);
}

static void test_no_value_knows_the_future(void **state)
{
    (void)state;
    for_every_spec(knows_no_future, BARS);
}

static void begins_after_lookback(const struct tl_spec *spec, const struct synthetic_bars *bars)
{
    size_t lookback = tl_spec_lookback(spec);
    double rows[TL_INDICATOR_OUTPUTS_MAX][2], *out[TL_INDICATOR_OUTPUTS_MAX];
    const double mark = -123456789.0;
    for (size_t k = 0; k < TL_INDICATOR_OUTPUTS_MAX; k++) {
        out[k] = rows[k];
        rows[k][0] = rows[k][1] = mark;
    }
    struct tl_err err = {0};
    for (size_t n = 0; n <= lookback; n += lookback ? lookback : 1)
        assert_int_equal(tl_indicator_compute(spec, &bars->in, n, out, &err), TL_TOO_FEW_BARS);
    assert_int_not_equal(err.text[0], '\0');
    for (size_t k = 0; k < TL_INDICATOR_OUTPUTS_MAX; k++) assert_true(rows[k][0] == mark);
    assert_int_equal(tl_indicator_compute(spec, &bars->in, lookback + 1, out, NULL), TL_OK);
    for (size_t k = 0; k < TL_INDICATOR_OUTPUTS_MAX; k++) {
        assert_true((rows[k][0] != mark) == (k < spec->info->n_outputs));
        assert_true(rows[k][1] == mark);
    }
}

static void test_first_value_is_after_lookback(void **state)
{
    (void)state;
    for_every_spec(begins_after_lookback, BARS);
}

/* A copy of a column in an allocation of exactly its size; NULL when the indicator does not read it. */
static double *own_column(const struct tl_spec *spec, unsigned which, const double *from, size_t n)
{
    if (!(spec->info->inputs & which)) return NULL;
    double *v = malloc(n * sizeof *v);
    assert_non_null(v);
    memcpy(v, from, n * sizeof *v);
    return v;
}

static void stays_inside(const struct tl_spec *spec, const struct synthetic_bars *bars)
{
    size_t n = bars->n;
    const struct tl_input *in = &bars->in;
    double *open = own_column(spec, TL_IN_OPEN, in->open, n), *high = own_column(spec, TL_IN_HIGH, in->high, n);
    double *low = own_column(spec, TL_IN_LOW, in->low, n), *close = own_column(spec, TL_IN_CLOSE, in->close, n);
    double *volume = own_column(spec, TL_IN_VOLUME, in->volume, n);
    struct tl_input copy = {open, high, low, close, volume};
    struct synthetic_result a = synthetic_compute(spec, &copy, n), b = synthetic_compute(spec, in, n);
    assert_same_rows(spec, &a, &b, a.rows);
    free(a.out[0]);
    free(b.out[0]);
    free(open);
    free(high);
    free(low);
    free(close);
    free(volume);
}

static void test_nothing_outside_the_columns(void **state)
{
    (void)state;
    static const size_t sizes[] = {95, 128, 255, BARS};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) for_every_spec(stays_inside, sizes[s]);
}

/* Every integer parameter at the greatest value that leaves `n` bars at least one row. */
static void test_long_periods(void **state)
{
    (void)state;
    struct synthetic_bars bars;
    synthetic_bars_make(&bars, 3000, SEED + 1);
    for (size_t i = 0; i < tl_indicator_count(); i++) {
        const struct tl_indicator_info *info = tl_indicator_at(i);
        for (size_t period = 900; period <= 3000; period += 50) {
            struct tl_spec spec = {.info = info};
            bool has_period = false;
            for (unsigned k = 0; k < info->n_params; k++) {
                bool whole = info->params[k].kind == TL_PARAM_INT;
                spec.params[k] = whole ? (double)period : info->params[k].def;
                has_period |= whole;
            }
            if (!has_period || tl_spec_lookback(&spec) >= bars.n) break;
            stays_inside(&spec, &bars);
        }
    }
    synthetic_bars_release(&bars);
}

static void refuses_missing_column(const struct tl_spec *spec, const struct synthetic_bars *bars)
{
    for (unsigned which = TL_IN_OPEN; which <= TL_IN_VOLUME; which *= 2) {
        struct tl_input in = bars->in;
        if (which == TL_IN_OPEN) in.open = NULL;
        if (which == TL_IN_HIGH) in.high = NULL;
        if (which == TL_IN_LOW) in.low = NULL;
        if (which == TL_IN_CLOSE) in.close = NULL;
        if (which == TL_IN_VOLUME) in.volume = NULL;
        double *v = malloc(TL_INDICATOR_OUTPUTS_MAX * bars->n * sizeof *v);
        assert_non_null(v);
        double *out[TL_INDICATOR_OUTPUTS_MAX] = {v, v + bars->n, v + 2 * bars->n};
        enum tl_status want = spec->info->inputs & which ? TL_INVALID : TL_OK;
        assert_int_equal(tl_indicator_compute(spec, &in, bars->n, out, NULL), want);
        free(v);
    }
}

static void test_missing_column_is_invalid(void **state)
{
    (void)state;
    for_every_spec(refuses_missing_column, 200);
}

/* A NaN in the middle of a column: the run ends, twice with the same bits, and rows before it are untouched. */
static void survives_nan(const struct tl_spec *spec, const struct synthetic_bars *bars)
{
    enum { AT = 150 };
    for (unsigned which = TL_IN_OPEN; which <= TL_IN_VOLUME; which *= 2) {
        if (!(spec->info->inputs & which)) continue;
        const double *from = which == TL_IN_OPEN    ? bars->in.open
                             : which == TL_IN_HIGH  ? bars->in.high
                             : which == TL_IN_LOW   ? bars->in.low
                             : which == TL_IN_CLOSE ? bars->in.close
                                                    : bars->in.volume;
        double *column = own_column(spec, which, from, bars->n);
        column[AT] = (double)NAN;
        struct tl_input in = bars->in;
        *(which == TL_IN_OPEN    ? &in.open
          : which == TL_IN_HIGH  ? &in.high
          : which == TL_IN_LOW   ? &in.low
          : which == TL_IN_CLOSE ? &in.close
                                 : &in.volume) = column;
        struct synthetic_result a = synthetic_compute(spec, &in, bars->n), b = synthetic_compute(spec, &in, bars->n);
        assert_same_rows(spec, &a, &b, a.rows);
        struct synthetic_result clean = synthetic_compute(spec, &bars->in, bars->n);
        assert_same_rows(spec, &a, &clean, a.lookback < AT ? AT - a.lookback : 0);
        free(a.out[0]);
        free(b.out[0]);
        free(clean.out[0]);
        free(column);
    }
}

static void test_nan_is_deterministic(void **state)
{
    (void)state;
    for_every_spec(survives_nan, 300);
}

/* The made-up market must hold what the tests above count on. */
static void test_market_has_flat_runs(void **state)
{
    (void)state;
    struct synthetic_bars bars;
    synthetic_bars_make(&bars, BARS, SEED);
    size_t run = 0, longest = 0, limit = 0;
    for (size_t i = 1; i < bars.n; i++) {
        bool flat = bars.in.high[i] == bars.in.low[i] && bars.in.close[i] == bars.in.close[i - 1];
        assert_true(bars.in.high[i] >= bars.in.low[i]);
        run = flat ? run + 1 : 0;
        longest = run > longest ? run : longest;
        limit += bars.in.high[i] == bars.in.low[i] && bars.in.close[i] != bars.in.close[i - 1];
    }
    synthetic_bars_release(&bars);
    assert_true(longest >= 20);
    assert_true(limit >= 3);
}

static void assert_extremes(const double *x, size_t n, size_t period)
{
    double *tail = malloc(2 * period * sizeof *tail), *out = malloc(4 * n * sizeof *out);
    assert_true(tail && out);
    double *max = out, *min = out + n, *max_at = out + 2 * n, *min_at = out + 3 * n;
    tl_sliding_max(x, n, period, tail, max);
    tl_sliding_min(x, n, period, tail, min);
    tl_sliding_max_index(x, n, period, tail, max_at);
    tl_sliding_min_index(x, n, period, tail, min_at);
    for (size_t r = 0; r + period <= n; r++) {
        size_t most = r, least = r;
        for (size_t i = r; i < r + period; i++) {
            if (x[i] >= x[most]) most = i;
            if (x[i] <= x[least]) least = i;
        }
        assert_true(max[r] == x[most] && min[r] == x[least]);
        assert_true(max_at[r] == (double)most && min_at[r] == (double)least);
    }
    free(tail);
    free(out);
}

static void test_sliding_extremes(void **state)
{
    (void)state;
    struct synthetic_bars bars;
    synthetic_bars_make(&bars, 90, SEED + 2);
    double few[90], rising[90], falling[90];
    for (size_t i = 0; i < 90; i++) {
        few[i] = (double)((i * 7 + i / 5) % 3); /* many ties */
        rising[i] = (double)i;
        falling[i] = -(double)i;
    }
    const double *const series[] = {bars.in.high, bars.in.close, few, rising, falling};
    for (size_t s = 0; s < sizeof series / sizeof series[0]; s++)
        for (size_t n = 1; n <= 90; n += n < 40 ? 1 : 7)
            for (size_t period = 1; period <= n; period++) assert_extremes(series[s], n, period);
    synthetic_bars_release(&bars);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_market_has_flat_runs),        cmocka_unit_test(test_sliding_extremes),
        cmocka_unit_test(test_no_value_knows_the_future),   cmocka_unit_test(test_first_value_is_after_lookback),
        cmocka_unit_test(test_nothing_outside_the_columns), cmocka_unit_test(test_long_periods),
        cmocka_unit_test(test_missing_column_is_invalid),   cmocka_unit_test(test_nan_is_deterministic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
