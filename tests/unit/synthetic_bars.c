/* SPDX-License-Identifier: Apache-2.0 */
/* The made-up market. The walk is in whole cents; a day's kind is drawn first, so that runs of suspensions and limits
 * are as long as in the real A-share files and longer than the usual windows. */
#include "support.h"
#include "synthetic_bars.h"

#include "base/rng.h"

#include <math.h>

static double cents(double v)
{
    return floor(v * 100.0 + 0.5) / 100.0;
}

static double at_least_a_cent(double v)
{
    return v < 0.01 ? 0.01 : v;
}

struct columns {
    double *open, *high, *low, *close, *volume;
};

static void flat_day(const struct columns *c, size_t i, double price, double volume)
{
    c->open[i] = c->high[i] = c->low[i] = c->close[i] = price;
    c->volume[i] = volume;
}

static void usual_day(const struct columns *c, size_t i, double before, struct tl_rng *rng)
{
    double open = at_least_a_cent(cents(before * (1.0 + 0.006 * tl_rng_normal(rng))));
    double close = at_least_a_cent(cents(open * (1.0 + 0.018 * tl_rng_normal(rng))));
    double top = open > close ? open : close, bottom = open > close ? close : open;
    c->open[i] = open;
    c->close[i] = close;
    c->high[i] = cents(top * (1.0 + 0.01 * tl_rng_unit(rng)));
    c->low[i] = at_least_a_cent(cents(bottom * (1.0 - 0.01 * tl_rng_unit(rng))));
    c->volume[i] = (double)(100 * (1000 + tl_rng_below(rng, 90000)));
}

void synthetic_bars_make(struct synthetic_bars *bars, size_t n, uint64_t seed)
{
    double *v = calloc(5 * n + 1, sizeof *v);
    assert_non_null(v);
    struct columns c = {v, v + n, v + 2 * n, v + 3 * n, v + 4 * n};
    struct tl_rng rng;
    tl_rng_seed(&rng, seed);
    double before = 20.0;
    size_t suspended = 0, limit = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t kind = tl_rng_below(&rng, 100);
        if (suspended == 0 && limit == 0 && i > 3) {
            if (kind == 0)
                suspended = 1 + tl_rng_below(&rng, 40);
            else if (kind == 1)
                limit = 1 + tl_rng_below(&rng, 12);
        }
        if (suspended > 0) {
            suspended--;
            flat_day(&c, i, before, 0);
        } else if (limit > 0) {
            limit--;
            flat_day(&c, i, at_least_a_cent(cents(before * (kind % 2 ? 1.1 : 0.9))), 300 * (double)(1 + kind));
        } else if (kind < 5) {
            flat_day(&c, i, before, 100);
        } else {
            usual_day(&c, i, before, &rng);
        }
        before = c.close[i];
    }
    *bars = (struct synthetic_bars){n, {c.open, c.high, c.low, c.close, c.volume}};
}

void synthetic_bars_release(struct synthetic_bars *bars)
{
    free((void *)(uintptr_t)bars->in.open);
    *bars = (struct synthetic_bars){0};
}

size_t synthetic_specs(const struct tl_indicator_info *info, struct tl_spec specs[SYNTHETIC_SPECS_MAX])
{
    struct tl_spec usual = {.info = info}, changed = {.info = info}, least = {.info = info};
    size_t n = 0, types = 0;
    for (unsigned k = 0; k < info->n_params; k++) {
        const struct tl_param *p = &info->params[k];
        usual.params[k] = changed.params[k] = least.params[k] = p->def;
        if (p->kind == TL_PARAM_INT) {
            changed.params[k] = p->def + 3 + k;
            least.params[k] = p->min;
        }
        if (p->kind == TL_PARAM_REAL) changed.params[k] = p->def * 1.5;
        if (p->kind == TL_PARAM_MA_TYPE) types++;
    }
    specs[n++] = usual;
    if (info->n_params == 0) return n;
    specs[n++] = changed;
    specs[n++] = least;
    for (int type = 1; types > 0 && type <= 4; type++) {
        struct tl_spec typed = usual;
        for (unsigned k = 0; k < info->n_params; k++)
            if (info->params[k].kind == TL_PARAM_MA_TYPE) typed.params[k] = type;
        specs[n++] = typed;
    }
    assert_true(n <= SYNTHETIC_SPECS_MAX);
    return n;
}

struct synthetic_result synthetic_compute(const struct tl_spec *spec, const struct tl_input *in, size_t n)
{
    struct synthetic_result r = {.lookback = tl_spec_lookback(spec)};
    assert_true(n > r.lookback);
    r.rows = n - r.lookback;
    double *v = malloc(spec->info->n_outputs * r.rows * sizeof *v);
    assert_non_null(v);
    for (unsigned k = 0; k < spec->info->n_outputs; k++) r.out[k] = v + k * r.rows;
    struct tl_err err = {0};
    if (tl_indicator_compute(spec, in, n, r.out, &err) != TL_OK) fail_msg("%s: %s", spec->info->name, err.text);
    return r;
}
