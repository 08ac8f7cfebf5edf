/* SPDX-License-Identifier: Apache-2.0 */
/* What calc, get and bars have in common: symbols, frequency, adjustment and rows from arguments and settings. */
#ifndef TL_CLI_REQUEST_H
#define TL_CLI_REQUEST_H

#include "cli/cli.h"
#include "job/wanted.h"
#include "series/grid.h"

#include <tierline/indicator.h>

/* Of the settings calc.freq and calc.adjust (which --freq and --adjust override). */
TL_MUSTCHECK enum tl_status tl_cli_freq(const struct tl_cli *, enum tl_freq *out, struct tl_err *err);
TL_MUSTCHECK enum tl_status tl_cli_adjust(const struct tl_cli *, enum tl_adjust *out, struct tl_err *err);

/* "A,B,…", "@file" (one a line, '#' comments) or "all": every symbol of the store that can serve `freq`. Without
 * duplicates, in order. [own] *symbols: free() */
TL_MUSTCHECK enum tl_status tl_cli_symbols(const char *text, struct tl_store *, enum tl_freq freq,
                                           struct tl_symbol **symbols, size_t *count, struct tl_err *err);

/* The store for reading and, if it can be written, for keeping results: read-only when the file may not be written. */
TL_MUSTCHECK enum tl_status tl_cli_open_store_for_results(const struct tl_cli *, struct tl_store **out, bool *writable,
                                                          struct tl_err *err);

/* What --last, --from and --to say. default_last is used when none of the three was given; 0: all. */
TL_MUSTCHECK enum tl_status tl_cli_range(const struct tl_cli *, size_t default_last, struct tl_grid_range *out,
                                         struct tl_err *err);
/* The zone of a view: NULL for daily and above. [own] */
TL_MUSTCHECK enum tl_status tl_cli_zone(const struct tl_view *, struct tl_tz **out, struct tl_err *err);

#endif
