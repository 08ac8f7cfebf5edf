/* SPDX-License-Identifier: Apache-2.0 */
/* Results on their way from a run to the cache: entries are made where the rows are (a worker), and put where the cache
 * is (its loop). The times of the bars go with them, once for all series of a symbol, so that a reader without a store
 * can tell which bar a row belongs to. */
#include "schedule/run.h"

#include "base/util.h"
#include "cache/series_entry.h"
#include "indicator/kernel.h"

static struct tl_entry *times_entry(const struct tl_run *run, const struct tl_run_item *like)
{
    struct tl_series_key key = {.symbol = run->symbol, .freq = run->freq, .adjust = run->adjust};
    struct tl_cache_key k;
    struct tl_series s = like->series;
    const struct tl_bars *bars = &run->view.bars;
    s.columns = 1;
    s.first_bar = 0;
    s.n = bars->n;
    s.rows = tl_calloc(bars->n, sizeof *s.rows);
    if (!s.rows) return NULL;
    for (size_t i = 0; i < bars->n; i++) s.rows[i] = (double)bars->ts_ms[i];
    tl_cache_key_times(&key, &k);
    struct tl_entry *e = tl_series_entry_new(tl_cache_key_str(&k), &s);
    free(s.rows);
    return e;
}

void tl_run_entries(const struct tl_run *run, struct tl_shared *out)
{
    *out = (struct tl_shared){.n = 0};
    if (run->provisional) return;
    out->entries = tl_calloc(run->count + 1, sizeof(struct tl_entry *));
    for (size_t i = 0; out->entries && i < run->count; i++) {
        const struct tl_run_item *item = &run->items[i];
        struct tl_series_key key;
        struct tl_cache_key k;
        if (item->status != TL_OK || item->source != TL_SOURCE_COMPUTED) continue;
        struct tl_entry *e = out->n == 0 ? times_entry(run, item) : NULL;
        if (e) out->entries[out->n++] = e;
        tl_run_key(run, &item->spec, &key);
        tl_cache_key_series(&key, &k);
        e = tl_series_entry_new(tl_cache_key_str(&k), &item->series);
        if (e) out->entries[out->n++] = e;
    }
}

enum tl_status tl_shared_put(struct tl_shared *shared, const struct tl_run *run, struct tl_cache *c)
{
    enum tl_status st = TL_OK;
    for (size_t i = 0; i < shared->n; i++) {
        atomic_store_explicit(&shared->entries[i]->generation, run->generation, memory_order_relaxed);
        enum tl_status one = tl_cache_put_series(c, shared->entries[i]);
        if (st == TL_OK) st = one;
    }
    if (shared->n > 0) tl_cache_tell_version(c, &run->symbol, run->freq, run->adjust, run->version);
    return st;
}

void tl_shared_release(struct tl_shared *shared)
{
    for (size_t i = 0; i < shared->n; i++) tl_entry_unref(shared->entries[i]);
    free(shared->entries);
    *shared = (struct tl_shared){.n = 0};
}

enum tl_status tl_run_share(const struct tl_run *run, struct tl_cache *c)
{
    struct tl_shared shared;
    tl_run_entries(run, &shared);
    enum tl_status st = tl_shared_put(&shared, run, c);
    tl_shared_release(&shared);
    return st;
}
