/* SPDX-License-Identifier: Apache-2.0 */
/* The times of the bars, kept once for all series of a symbol, so that a reader without a store can tell which bar a
 * row belongs to. */
#include "schedule/run.h"

#include "base/util.h"
#include "cache/series_entry.h"
#include "indicator/kernel.h"

struct tl_entry *tl_run_times(const struct tl_run *run, int64_t now_ms)
{
    struct tl_series_key key = {.symbol = run->symbol, .freq = run->freq, .adjust = run->adjust};
    const struct tl_bars *bars = &run->view.bars;
    struct tl_series s = {.version = run->version,
                          .kernel_version = TL_KERNEL_VERSION,
                          .computed_ms = now_ms,
                          .columns = 1,
                          .n = bars->n,
                          .rows = tl_calloc(bars->n, sizeof *s.rows)};
    struct tl_cache_key k;
    if (!s.rows) return NULL;
    for (size_t i = 0; i < bars->n; i++) s.rows[i] = (double)bars->ts_ms[i];
    tl_cache_key_times(&key, &k);
    struct tl_entry *e = tl_series_entry_new(tl_cache_key_str(&k), &s);
    free(s.rows);
    return e;
}
