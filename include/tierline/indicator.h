/* SPDX-License-Identifier: Apache-2.0 */
/* Technical indicators on arrays. Bit for bit what TA-Lib 0.6.4 gives (KDJ: see docs/indicators.md).
 *
 *     struct tl_spec spec;
 *     if (tl_spec_parse("MACD(12,26,9)", &spec, &err) != TL_OK) ...
 *     size_t begin = tl_spec_lookback(&spec);              // first bar with a value
 *     double *out[3] = {macd, signal, hist};               // each n - begin doubles
 *     st = tl_indicator_compute(&spec, &in, n, out, &err);
 */
#ifndef TIERLINE_INDICATOR_H
#define TIERLINE_INDICATOR_H

#include <tierline/status.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { TL_PARAMS_MAX = 6, TL_INDICATOR_OUTPUTS_MAX = 3 };

enum tl_param_kind { TL_PARAM_INT, TL_PARAM_REAL, TL_PARAM_MA_TYPE };

struct tl_param {
    const char *name; /* TA-Lib's: "TimePeriod", "FastPeriod", "NbDevUp" */
    enum tl_param_kind kind;
    double min, max, def; /* MA types: 0 SMA 1 EMA 2 WMA 3 DEMA 4 TEMA */
};

/* Which columns of the bars an indicator reads. */
enum { TL_IN_OPEN = 1, TL_IN_HIGH = 2, TL_IN_LOW = 4, TL_IN_CLOSE = 8, TL_IN_VOLUME = 16 };

/* One row of the registry, as the outside sees it. Lives as long as the library. */
struct tl_indicator_info {
    const char *name;  /* "MACD" */
    const char *group; /* "Momentum" */
    const char *title; /* "Moving Average Convergence/Divergence" */
    unsigned inputs;   /* TL_IN_* */
    unsigned n_params;
    struct tl_param params[TL_PARAMS_MAX];
    unsigned n_outputs;
    const char *outputs[TL_INDICATOR_OUTPUTS_MAX]; /* "macd" "signal" "hist" */
    bool integer;                                  /* outputs are whole numbers (-100, 0, 100) */
};

TL_API size_t tl_indicator_count(void);
TL_API const struct tl_indicator_info *tl_indicator_at(size_t i); /* in the order of names; NULL past the end */
TL_API const struct tl_indicator_info *tl_indicator_find(const char *name); /* any case; NULL when unknown */

struct tl_spec {
    const struct tl_indicator_info *info;
    double params[TL_PARAMS_MAX];
};

/* "NAME" or "NAME(p1,p2,...)": any case, blanks allowed, missing trailing parameters take their defaults, MA types by
 * name or number. Errors: PARSE (syntax; column set), NOT_FOUND (unknown name; text has the nearest),
 * INVALID (too many parameters, not an integer, out of range: text has parameter, value and range). */
TL_API TL_MUSTCHECK enum tl_status tl_spec_parse(const char *text, struct tl_spec *out, struct tl_err *err);
/* Canonical text ("BBANDS(20,2,2,SMA)", "OBV"), NUL-terminated. Returns the length; 0 when cap is too small
 * (96 is always enough). Parsing it again gives the same spec. */
TL_API size_t tl_spec_format(const struct tl_spec *, char *out, size_t cap);
/* Bars needed before the first value: the first valid bar's index. */
TL_API size_t tl_spec_lookback(const struct tl_spec *);

/* Columns of n doubles each, oldest first. Those that the indicator does not read may be NULL. */
struct tl_input {
    const double *open, *high, *low, *close, *volume;
};

/* Computes over the whole arrays. out[k]: room for n - lookback doubles, k < n_outputs; must not overlap inputs.
 * TOO_FEW_BARS when n <= lookback, INVALID when a needed input is NULL, NOMEM. Thread-safe. */
TL_API TL_MUSTCHECK enum tl_status tl_indicator_compute(const struct tl_spec *, const struct tl_input *, size_t n,
                                                        double *const out[], struct tl_err *err);

/* Several indicators of one input in one call: intermediates that they share (the SMA inside BBANDS, the ATR
 * inside NATR ...) are computed once. status[i] is spec i's own; returns OK, or SOME_FAILED when any is not OK. */
struct tl_batch_item {
    struct tl_spec spec;
    double *out[TL_INDICATOR_OUTPUTS_MAX];
    enum tl_status status;
};
TL_API TL_MUSTCHECK enum tl_status tl_indicator_batch(struct tl_batch_item *items, size_t count,
                                                      const struct tl_input *, size_t n, struct tl_err *err);

#ifdef __cplusplus
}
#endif
#endif
