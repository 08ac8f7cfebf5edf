/* SPDX-License-Identifier: Apache-2.0 */
/* A small market in a temporary store, for the tests above the store. */
#ifndef TL_TESTS_MARKET_FIXTURE_H
#define TL_TESTS_MARKET_FIXTURE_H

#include "base/rng.h"
#include "market/civil.h"
#include "store/store.h"
#include "support.h"

struct market {
    char dir[64], path[128];
    struct tl_store *store;
};

static inline void market_open(struct market *m)
{
    snprintf(m->dir, sizeof m->dir, "/tmp/tl-market-XXXXXX");
    assert_non_null(mkdtemp(m->dir));
    snprintf(m->path, sizeof m->path, "%s/store.db", m->dir);
    struct tl_err err;
    if (tl_store_open(m->path, NULL, &m->store, &err) != TL_OK) fail_msg("%s", err.text);
}

static inline void market_close(struct market *m)
{
    tl_store_close(m->store);
    char file[192];
    static const char *const tails[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(file, sizeof file, "%s%s", m->path, tails[i]);
        unlink(file);
    }
    assert_int_equal(rmdir(m->dir), 0);
}

static inline struct tl_symbol market_symbol(const char *text)
{
    struct tl_symbol s;
    struct tl_err err;
    if (tl_symbol_parse(tl_str(text), TL_MARKET_NONE, &s, &err) != TL_OK) fail_msg("%s: %s", text, err.text);
    return s;
}

/* n daily bars (Mon-Fri) from 2020-01-06 on, a random walk by seed; every flat_every-th (0: none) is flat without
 * volume. */
static inline void market_walk(struct tl_bars *out, size_t n, uint64_t seed, size_t flat_every)
{
    struct tl_rng rng;
    tl_rng_seed(&rng, seed);
    double close = 20;
    int64_t day = tl_civil_days(2020, 1, 6);
    for (size_t i = 0; i < n; i++, day++) {
        while (tl_civil_weekday(day * TL_DAY_MS) > 4) day++;
        bool flat = flat_every && i % flat_every == flat_every - 1;
        double open = close, high = close, low = close;
        if (!flat) {
            close = close * (0.95 + 0.1 * tl_rng_unit(&rng));
            high = (open > close ? open : close) * 1.01;
            low = (open < close ? open : close) * 0.99;
        }
        struct tl_bar bar = {.ts_ms = day * TL_DAY_MS,
                             .v = {open, high, low, close, flat ? 0 : 1000 + (double)tl_rng_below(&rng, 9000), 0}};
        assert_int_equal(tl_bars_append(out, &bar), TL_OK);
    }
}

static inline void market_import(struct market *m, const char *symbol, enum tl_freq freq, const char *zone,
                                 const struct tl_bars *bars, bool last_provisional)
{
    struct tl_symbol s = market_symbol(symbol);
    struct tl_store_import *import;
    struct tl_import_totals totals;
    struct tl_err err = {.text = ""};
    enum tl_status st = tl_store_import_begin(m->store, &import, &err);
    if (st == TL_OK) st = tl_store_import_bars(import, &s, freq, zone, bars, last_provisional, &err);
    if (st == TL_OK) st = tl_store_import_commit(import, &totals, &err);
    if (st != TL_OK) fail_msg("import of %s: %s", symbol, err.text);
}

/* The first n bars of a walk, imported. */
static inline void market_import_walk(struct market *m, const char *symbol, size_t n, uint64_t seed, size_t flat_every)
{
    struct tl_bars bars;
    tl_bars_init(&bars);
    market_walk(&bars, n, seed, flat_every);
    market_import(m, symbol, TL_FREQ_1D, "", &bars, false);
    tl_bars_release(&bars);
}

#endif
