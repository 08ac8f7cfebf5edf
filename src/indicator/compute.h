/* SPDX-License-Identifier: Apache-2.0 */
/* Running kernels: for callers that keep intermediates and scratch themselves. Never allocates. */
#ifndef TL_INDICATOR_COMPUTE_H
#define TL_INDICATOR_COMPUTE_H

#include "indicator/kernel.h"

/* Whether the spec can be computed at all: parameters within their ranges. INVALID. */
TL_MUSTCHECK enum tl_status tl_spec_check(const struct tl_spec *, struct tl_err *err);
/* Whether it can be computed from this: the columns it reads, enough bars, a place for every output.
 * INVALID, TOO_FEW_BARS, NOMEM when no memory could hold n. The spec itself must have passed tl_spec_check. */
TL_MUSTCHECK enum tl_status tl_indicator_ready(const struct tl_spec *, const struct tl_input *, size_t n,
                                               double *const out[], struct tl_err *err);
size_t tl_indicator_deps(const struct tl_spec *, struct tl_spec dep[TL_DEPS_MAX]);
/* Doubles of scratch for tl_indicator_run. */
size_t tl_indicator_scratch(const struct tl_spec *, size_t n);
/* Runs one kernel that is ready. dep[d][k]: output k of dependency d (tl_indicator_deps), from its own lookback on. */
void tl_indicator_run(const struct tl_spec *, const struct tl_input *, size_t n, const double *const *const dep[],
                      double *scratch, double *const out[]);

#endif
