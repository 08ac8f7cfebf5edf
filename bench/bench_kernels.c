/* SPDX-License-Identifier: Apache-2.0 */
/* Nanoseconds a bar of every indicator with its default parameters, over five years of days (1,259 bars), called as a
 * user calls it. TA-Lib's figures were measured on the kind of machine that this project is built on; on another one
 * the ratios say little. Rounds are interleaved, and the median of them is the figure, so that a neighbour's burst of
 * work hits all alike. */
#include "bench.h"

#include "base/rng.h"

#include <tierline/indicator.h>

#include <string.h>

enum { BARS = 1259, ROUNDS = 41, CALLS = 20, INDICATORS_MAX = 128 };

static const struct {
    const char *name;
    double ta_lib_ns;
} peers[] = {
    {"SMA", 1.3}, {"EMA", 2.8},  {"RSI", 7.0},   {"MACD", 9.7}, {"BBANDS", 5.3},
    {"ATR", 7.3}, {"ADX", 10.4}, {"STOCH", 9.7}, {"CCI", 16.6}, {"LINEARREG", 17.0},
};

struct kernels_bench {
    double open[BARS], high[BARS], low[BARS], close[BARS], volume[BARS];
    double results[TL_INDICATOR_OUTPUTS_MAX][BARS];
    double ns[INDICATORS_MAX][ROUNDS];
    struct tl_spec specs[INDICATORS_MAX];
};

static void make_bars(struct kernels_bench *b)
{
    struct tl_rng rng;
    tl_rng_seed(&rng, 1259);
    double price = 100;
    for (size_t i = 0; i < BARS; i++) {
        b->open[i] = price * (1 + 0.004 * tl_rng_normal(&rng));
        b->close[i] = b->open[i] * (1 + 0.012 * tl_rng_normal(&rng));
        double top = b->open[i] > b->close[i] ? b->open[i] : b->close[i],
               bottom = b->open[i] > b->close[i] ? b->close[i] : b->open[i];
        b->high[i] = top * (1 + 0.008 * tl_rng_unit(&rng));
        b->low[i] = bottom * (1 - 0.008 * tl_rng_unit(&rng));
        b->volume[i] = (double)(1000000 + tl_rng_below(&rng, 90000000));
        price = b->close[i];
    }
}

static double measure(struct kernels_bench *b, const struct tl_spec *spec)
{
    const struct tl_input in = {b->open, b->high, b->low, b->close, b->volume};
    double *out[TL_INDICATOR_OUTPUTS_MAX] = {b->results[0], b->results[1], b->results[2]};
    uint64_t start = bench_now_ns();
    for (int c = 0; c < CALLS; c++)
        if (tl_indicator_compute(spec, &in, BARS, out, NULL) != TL_OK) abort();
    return (double)(bench_now_ns() - start) / CALLS / BARS;
}

static void print_row(const char *indicator, double value)
{
    char name[64], bound[64];
    snprintf(name, sizeof name, "kernel %s", indicator);
    for (size_t p = 0; p < sizeof peers / sizeof peers[0]; p++) {
        if (strcmp(peers[p].name, indicator) != 0) continue;
        snprintf(bound, sizeof bound, "<= %g", peers[p].ta_lib_ns);
        bench_row(name, value, "ns/bar", "TA-Lib 0.6.4", peers[p].ta_lib_ns, value / peers[p].ta_lib_ns, bound,
                  value <= peers[p].ta_lib_ns);
        return;
    }
    bench_row(name, value, "ns/bar", NULL, 0, 0, NULL, true);
}

int main(void)
{
    struct kernels_bench *b = calloc(1, sizeof *b);
    size_t count = tl_indicator_count();
    if (!b || count > INDICATORS_MAX) abort();
    make_bars(b);
    for (size_t i = 0; i < count; i++)
        if (tl_spec_parse(tl_indicator_at(i)->name, &b->specs[i], NULL) != TL_OK) abort();
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < count; i++) b->ns[i][round] = measure(b, &b->specs[i]);
    for (size_t i = 0; i < count; i++) print_row(b->specs[i].info->name, bench_median(b->ns[i], ROUNDS));
    free(b);
    return 0;
}
