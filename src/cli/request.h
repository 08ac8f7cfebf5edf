/* SPDX-License-Identifier: Apache-2.0 */
/* What calc, get and bars have in common: symbols, specs, frequency, adjustment and trading hours from arguments and
 * settings. */
#ifndef TL_CLI_REQUEST_H
#define TL_CLI_REQUEST_H

#include "cli/cli.h"
#include "schedule/view.h"

#include <tierline/indicator.h>

/* Of the settings calc.freq and calc.adjust (which --freq and --adjust override). */
TL_MUSTCHECK enum tl_status tl_cli_freq(const struct tl_cli *, enum tl_freq *out, struct tl_err *err);
TL_MUSTCHECK enum tl_status tl_cli_adjust(const struct tl_cli *, enum tl_adjust *out, struct tl_err *err);

/* Trading hours of the settings; `storage` is what the result points into. */
struct tl_cli_hours {
    struct tl_sessions cn, us, hk, futures;
    struct tl_view_sessions view;
};
TL_MUSTCHECK enum tl_status tl_cli_sessions(const struct tl_cli *, struct tl_cli_hours *out, struct tl_err *err);

/* "SMA(5);MACD;…": parted by ';' (or ',' outside parentheses), without duplicates, in the order given.
 * what: "--indicators" or the set's name, for errors. [own] *specs: free() */
TL_MUSTCHECK enum tl_status tl_cli_specs(const char *text, const char *what, struct tl_spec **specs, size_t *count,
                                         struct tl_err *err);

/* "A,B,…", "@file" (one a line, '#' comments) or "all": every symbol of the store that can serve `freq`. Without
 * duplicates, in order. [own] *symbols: free() */
TL_MUSTCHECK enum tl_status tl_cli_symbols(const char *text, struct tl_store *, enum tl_freq freq,
                                           struct tl_symbol **symbols, size_t *count, struct tl_err *err);

/* The store for reading and, if it can be written, for keeping results: read-only when the file may not be written. */
TL_MUSTCHECK enum tl_status tl_cli_open_store_for_results(const struct tl_cli *, struct tl_store **out, bool *writable,
                                                          struct tl_err *err);

/* The rows [*from, *to) of ts[n] that --last, --from and --to leave; dates are those of the zone. default_last is used
 * when none of the three was given; 0: all. */
TL_MUSTCHECK enum tl_status tl_cli_rows(const struct tl_cli *, const struct tl_tz *tz, const int64_t *ts, size_t n,
                                        size_t default_last, size_t *from, size_t *to, struct tl_err *err);
/* "2024-01-02", with a zone (not NULL) "2024-01-02 09:31" in local time. */
enum { TL_CLI_TIME_MAX = 24 };
const char *tl_cli_time(char out[TL_CLI_TIME_MAX], const struct tl_tz *tz, int64_t ts_ms);
/* The zone of a view: NULL for daily and above. [own] */
TL_MUSTCHECK enum tl_status tl_cli_zone(const struct tl_view *, struct tl_tz **out, struct tl_err *err);

#endif
