/* SPDX-License-Identifier: Apache-2.0 */
/* Ex-rights adjustment. Every event is an affine map of a price, p -> a p + b; the maps of all events that a bar has to
 * pass are composed once per stretch between ex-dates and then applied to its bars. Pure; rounds nothing to ticks:
 * vendors that do differ by half a tick. */
#include "series/adjust.h"

#include "base/err.h"
#include "base/util.h"
#include "market/civil.h"

#include <math.h>

struct map {
    double a, b; /* price -> a * price + b */
    double v;    /* volume -> v * volume */
};

void tl_factors_release(struct tl_factors *f)
{
    free(f->v);
    *f = (struct tl_factors){0, NULL};
}

enum tl_status tl_factors_check(const struct tl_factors *f, struct tl_err *err)
{
    for (size_t i = 0; i < f->n; i++) {
        const struct tl_factor *v = &f->v[i];
        char day[11];
        tl_civil_format_date(v->ex_date_ms, day);
        if (v->kind != TL_FACTOR_EVENT && v->kind != TL_FACTOR_CUMULATIVE)
            return tl_fail_at(err, TL_INVALID, NULL, i, 0, "factor of %s: unknown kind %d", day, (int)v->kind);
        if (v->kind != f->v[0].kind)
            return tl_fail_at(err, TL_INVALID, NULL, i, 0,
                              "factor of %s: events and cumulative factors cannot be mixed", day);
        if (i > 0 && v->ex_date_ms <= f->v[i - 1].ex_date_ms)
            return tl_fail_at(err, TL_INVALID, NULL, i, 0, "factor of %s: the dates do not rise", day);
        if (v->kind == TL_FACTOR_CUMULATIVE && !(isfinite(v->factor) && v->factor > 0))
            return tl_fail_at(err, TL_INVALID, NULL, i, 0, "factor of %s: %g is not a positive number", day, v->factor);
        if (v->kind == TL_FACTOR_CUMULATIVE) continue;
        bool finite = isfinite(v->cash) && isfinite(v->gift) && isfinite(v->rights) && isfinite(v->rights_price);
        if (!finite || 1 + v->gift + v->rights <= 0)
            return tl_fail_at(err, TL_INVALID, NULL, i, 0, "event of %s: cash %g, gift %g, rights %g at %g", day,
                              v->cash, v->gift, v->rights, v->rights_price);
    }
    return TL_OK;
}

static double shares(const struct tl_factor *f)
{
    return 1 + f->gift + f->rights;
}

/* What the event does to a price before it: (p - cash + rights * rights_price) / (1 + gift + rights). */
static struct map forward_map(const struct tl_factor *f)
{
    double s = shares(f);
    return (struct map){1 / s, (f->rights * f->rights_price - f->cash) / s, s};
}

static struct map backward_map(const struct tl_factor *f)
{
    double s = shares(f);
    return (struct map){s, f->cash - f->rights * f->rights_price, 1 / s};
}

/* First `inner`, then `outer`. */
static struct map compose(struct map outer, struct map inner)
{
    return (struct map){outer.a * inner.a, outer.a * inner.b + outer.b, outer.v * inner.v};
}

static void apply(struct tl_bars *b, size_t from, size_t to, struct map m)
{
    if (m.a == 1 && m.b == 0) return;
    for (int c = TL_BAR_OPEN; c <= TL_BAR_CLOSE; c++)
        for (size_t i = from; i < to; i++) b->col[c][i] = m.a * b->col[c][i] + m.b;
    for (size_t i = from; i < to; i++) b->col[TL_BAR_VOLUME][i] *= m.v;
}

/* Events that count: ex-date not after the last bar. start[k]: first bar on or after event k. */
static size_t starts(const struct tl_bars *b, const struct tl_factors *f, int64_t offset, size_t *start)
{
    size_t n = 0;
    for (; n < f->n; n++) {
        start[n] = tl_bars_lower_bound(b, f->v[n].ex_date_ms - offset);
        if (start[n] == b->n) break;
    }
    return n;
}

/* Bars before event k pass events k, k+1, ...: the nearest event first, the latest outermost. */
static void adjust_forward(struct tl_bars *b, const struct tl_factors *f, size_t n, const size_t *start)
{
    struct map m = {1, 0, 1};
    for (size_t k = n; k-- > 0;) {
        m = compose(m, forward_map(&f->v[k]));
        apply(b, k ? start[k - 1] : 0, start[k], m);
    }
}

/* Bars on and after event k pass events k, k-1, ..., 0 backwards: the latest first, the first event outermost. */
static void adjust_backward(struct tl_bars *b, const struct tl_factors *f, size_t n, const size_t *start)
{
    struct map m = {1, 0, 1};
    for (size_t k = 0; k < n; k++) {
        /* An event before the first bar has nothing to bend: the earliest bars are raw. */
        if (start[k] > 0) m = compose(m, backward_map(&f->v[k]));
        apply(b, start[k], k + 1 < n ? start[k + 1] : b->n, m);
    }
}

/* backward = price * f(date); forward = price * f(date) / f(last bar's date). Before the first row f is 1. */
static void adjust_cumulative(struct tl_bars *b, const struct tl_factors *f, size_t n, const size_t *start,
                              bool forward)
{
    double last = forward && n ? f->v[n - 1].factor : 1;
    for (size_t k = 0; k <= n; k++) {
        double factor = k ? f->v[k - 1].factor : 1;
        struct map m = {factor / last, 0, last / factor};
        apply(b, k ? start[k - 1] : 0, k < n ? start[k] : b->n, m);
    }
}

enum tl_status tl_bars_adjust(struct tl_bars *b, enum tl_adjust adjust, const struct tl_factors *f,
                              int64_t zone_offset_ms, struct tl_err *err)
{
    if (adjust == TL_ADJUST_RAW) return TL_OK;
    if (f->n == 0) return tl_fail(err, TL_NO_FACTORS, "no adjustment factors for %s prices", tl_adjust_name(adjust));
    enum tl_status st = tl_factors_check(f, err);
    if (st != TL_OK) return st;
    size_t *start = tl_calloc(f->n, sizeof *start);
    if (!start) return tl_fail(err, TL_NOMEM, "no memory for %zu factors", f->n);
    size_t n = starts(b, f, zone_offset_ms, start);
    bool forward = adjust == TL_ADJUST_FORWARD;
    if (f->v[0].kind == TL_FACTOR_CUMULATIVE)
        adjust_cumulative(b, f, n, start, forward);
    else if (forward)
        adjust_forward(b, f, n, start);
    else
        adjust_backward(b, f, n, start);
    free(start);
    return TL_OK;
}
