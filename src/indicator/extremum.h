/* SPDX-License-Identifier: Apache-2.0 */
/* Greatest and least value of every window, in time that does not depend on the window. */
#ifndef TL_INDICATOR_EXTREMUM_H
#define TL_INDICATOR_EXTREMUM_H

#include <stddef.h>

/* out[k] = extremum of x[k .. k + period - 1], n - period + 1 of them; 1 <= period <= n.
 * tail: `period` doubles of scratch. out may not overlap x or tail. */
void tl_sliding_max(const double *x, size_t n, size_t period, double *tail, double *out);
void tl_sliding_min(const double *x, size_t n, size_t period, double *tail, double *out);

/* The same, but of which bar it is (an index into x); of several equal ones the latest. tail: 2 * period doubles. */
void tl_sliding_max_index(const double *x, size_t n, size_t period, double *tail, double *out);
void tl_sliding_min_index(const double *x, size_t n, size_t period, double *tail, double *out);

#endif
