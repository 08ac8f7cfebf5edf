/* SPDX-License-Identifier: Apache-2.0 */
/* An indicator's outputs over the bars of one (symbol, freq, adjust): row-major float64, one row a bar,
 * from its first valid bar to the last. */
#ifndef TL_SERIES_SERIES_H
#define TL_SERIES_SERIES_H

#include "market/symbol.h"
#include "series/bars.h"

enum { TL_SPEC_MAX = 96, TL_OUTPUTS_MAX = 3 };

struct tl_series_key {
    struct tl_symbol symbol;
    enum tl_freq freq;
    enum tl_adjust adjust;
    char spec[TL_SPEC_MAX]; /* canonical text, e.g. "MACD(12,26,9)" */
};

struct tl_series {
    struct tl_version version; /* of the bars it was computed from */
    uint32_t kernel_version;   /* higher wins */
    uint64_t token;            /* fencing token of the writer, 0: computed without a lease */
    int64_t computed_ms;       /* wall clock when it was computed; stored and read back, not part of the order */
    uint32_t columns;
    uint64_t first_bar; /* index of the bar of row 0 */
    size_t n;           /* rows; first_bar + n is the number of bars of this freq (of a resampled series:
                         * not version.bars, which counts the source's bars) */
    double *rows;       /* [own] n * columns */
};

void tl_series_init(struct tl_series *);
void tl_series_release(struct tl_series *);

#endif
