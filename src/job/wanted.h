/* SPDX-License-Identifier: Apache-2.0 */
/* What a calculation is asked for, from text and settings: indicators, symbols, trading hours. Does not print. */
#ifndef TL_JOB_WANTED_H
#define TL_JOB_WANTED_H

#include "base/map.h"
#include "config/config.h"
#include "schedule/view.h"

#include <tierline/indicator.h>

enum { TL_WANTED_SYMBOLS_MAX = 1000000 };

/* "SMA(5);MACD;...": parted by ';' (or ',' outside parentheses), without duplicates, in the order given.
 * what: "--indicators" or the set's name, for errors. [own] *specs: free() */
TL_MUSTCHECK enum tl_status tl_wanted_specs(const char *text, const char *what, struct tl_spec **specs, size_t *count,
                                            struct tl_err *err);

/* Symbols in the order in which they came, without duplicates. */
struct tl_symbol_list {
    struct tl_symbol *v; /* [own] */
    size_t n, cap;
    struct tl_map *seen;
};
TL_MUSTCHECK enum tl_status tl_symbol_list_init(struct tl_symbol_list *, struct tl_err *err);
void tl_symbol_list_release(struct tl_symbol_list *);
/* [own] the symbols: free(); the list is released. */
struct tl_symbol *tl_symbol_list_take(struct tl_symbol_list *, size_t *n);
TL_MUSTCHECK enum tl_status tl_symbol_list_add(struct tl_symbol_list *, struct tl_str text, struct tl_err *err);
/* "A,B,..." */
TL_MUSTCHECK enum tl_status tl_symbol_list_add_many(struct tl_symbol_list *, struct tl_str text, struct tl_err *err);
/* Every symbol of the store that can serve `freq`. Blocks. */
TL_MUSTCHECK enum tl_status tl_symbol_list_add_all(struct tl_symbol_list *, struct tl_store_reader *, enum tl_freq freq,
                                                   struct tl_err *err);
/* Can bars of `have` serve `want`? */
bool tl_freq_serves(enum tl_freq have, enum tl_freq want);

/* Trading hours of the settings; `view` points into it, so that it must not move. */
struct tl_hours {
    struct tl_sessions cn, us, hk, futures;
    struct tl_view_sessions view;
};
TL_MUSTCHECK enum tl_status tl_hours_read(const struct tl_config *, struct tl_hours *out, struct tl_err *err);

#endif
