/* SPDX-License-Identifier: Apache-2.0 */
/* Greatest and least value of every window by doubling: two windows of w make one of 2w, and two that overlap make the
 * rest. log2(period) passes over plain arrays, which vectorise; for the short windows of oscillators faster than the
 * constant-time way of extremum.h. */
#ifndef TL_INDICATOR_WINDOW_H
#define TL_INDICATOR_WINDOW_H

#include <stddef.h>
#include <string.h>

/* out[r] = extremum of x[r .. r + period - 1], n - period + 1 of them; 1 <= period <= n. Room for n in out. */
static inline void tl_window_extremum(const double *restrict x, size_t n, size_t period, int greatest,
                                      double *restrict out)
{
    size_t width = 1, rows = n;
    if (period == 1) memcpy(out, x, n * sizeof *out);
    while (width < period) {
        size_t by = 2 * width <= period ? width : period - width;
        const double *from = width == 1 ? x : out;
        rows -= by;
        /* Reads stay ahead of what is written: row r takes r and r + by only. */
#if !defined(__clang__)
#pragma GCC ivdep
#endif
        for (size_t r = 0; r < rows; r++) {
            double a = from[r], b = from[r + by];
            out[r] = (greatest ? b > a : b < a) ? b : a;
        }
        width += by;
    }
}

#endif
