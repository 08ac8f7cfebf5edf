/* SPDX-License-Identifier: Apache-2.0 */
/* Imports. Chunks are staged in short transactions while no head refers to them; commit swings every head in one
 * transaction.
 *
 *   bars() --merge on the caller's thread--> chunks staged --> pending head        (invisible)
 *   commit() --all stamps as they were?--> heads, factors, calendars in one transaction (visible)
 *            \--some changed--> those are merged again from what came in, staged, and tried again
 *
 * Staged chunk ids stand in `staged` under the import's row, which names the process: whoever finds that process gone
 * deletes them. So neither kill -9 nor a full disk leaves half an import. */
#include "store/sqlite_import.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

enum { STAGE_CHUNKS = 64 };

/* ---- begin, abort ---- */

static enum tl_status run_register(struct tl_op *op, struct tl_store *store, struct tl_err *err)
{
    struct tl_store_import *im = op->ctx;
    char process[48];
    tl_process_name(process);
    sqlite3_stmt *s = tl_db_stmt(&store->writer, TL_SQL_IMPORT_PUT, err);
    if (!s) return TL_IO;
    sqlite3_bind_text(s, 1, process, -1, SQLITE_STATIC);
    enum tl_status st = tl_db_run(&store->writer, s, err, "beginning an import");
    if (st == TL_OK) im->id = sqlite3_last_insert_rowid(store->writer.handle);
    return st;
}

static void pending_free(struct pending *p)
{
    tl_bars_release(&p->incoming);
    tl_chunk_list_release(&p->base.chunks);
    tl_chunk_list_release(&p->chunks);
    free(p);
}

static void import_free(struct tl_store_import *im)
{
    for (size_t i = 0; i < im->n_series; i++) pending_free(im->series[i]);
    for (size_t i = 0; i < im->n_factors; i++) tl_factors_release(&im->factors[i].incoming);
    for (size_t i = 0; i < im->n_calendars; i++) free(im->calendars[i].days);
    free(im->series);
    free(im->factors);
    free(im->calendars);
    tl_map_free(im->by_series);
    tl_store_reader_free(im->reader);
    pthread_cond_destroy(&im->idle);
    pthread_mutex_destroy(&im->lock);
    free(im);
}

enum tl_status tl_store_import_begin(struct tl_store *store, struct tl_store_import **out, struct tl_err *err)
{
    struct tl_store_import *im = tl_calloc(1, sizeof *im);
    if (!im) return tl_fail(err, TL_NOMEM, "no memory for an import");
    im->store = store;
    pthread_mutex_init(&im->lock, NULL);
    pthread_cond_init(&im->idle, NULL);
    im->by_series = tl_map_new();
    enum tl_status st = im->by_series ? tl_store_reader_new(store, &im->reader, err)
                                      : tl_fail(err, TL_NOMEM, "no memory for an import");
    if (st == TL_OK) st = tl_writer_do(store, run_register, im, 0, err);
    if (st != TL_OK) {
        import_free(im);
        return st;
    }
    *out = im;
    return TL_OK;
}

static void wait_idle(struct tl_store_import *im)
{
    pthread_mutex_lock(&im->lock);
    while (im->staging > 0) pthread_cond_wait(&im->idle, &im->lock);
    pthread_mutex_unlock(&im->lock);
}

struct unstage {
    struct tl_store_import *im;
    bool more;
};

static enum tl_status run_unstage(struct tl_op *op, struct tl_store *store, struct tl_err *err)
{
    struct unstage *u = op->ctx;
    return tl_schema_drop_import(store, u->im->id, &u->more, err);
}

void tl_store_import_abort(struct tl_store_import *im)
{
    if (!im) return;
    struct unstage u = {.im = im, .more = true};
    wait_idle(im);
    /* What cannot be dropped now is swept once this process is gone. */
    while (u.more)
        if (tl_writer_do(im->store, run_unstage, &u, 0, NULL) != TL_OK) break;
    import_free(im);
}

/* ---- merging and staging ---- */

/* Encoded chunks on their way into the store, while the caller goes on with the next series. */
struct stage {
    struct tl_op op;
    struct tl_store_import *im;
    struct pending *p;
    size_t first; /* where they stand in p->chunks */
    size_t n;
    struct tl_buf data;
    size_t end[STAGE_CHUNKS];
    int64_t ids[STAGE_CHUNKS];
};

static enum tl_status run_stage(struct tl_op *op, struct tl_store *store, struct tl_err *err)
{
    struct stage *stage = op->ctx;
    struct tl_db *db = &store->writer;
    for (size_t i = 0; i < stage->n; i++) {
        size_t from = i ? stage->end[i - 1] : 0;
        struct tl_str bytes = {stage->data.p + from, stage->end[i] - from};
        enum tl_status st = tl_chunk_put(db, bytes, &stage->ids[i], err);
        if (st == TL_OK) st = tl_staged_put(db, stage->im->id, stage->ids[i], err);
        if (st != TL_OK) return st;
    }
    return TL_OK;
}

static void stage_free(struct stage *stage)
{
    tl_buf_release(&stage->data);
    free(stage);
}

static void end_stage(struct tl_op *op)
{
    struct stage *stage = op->ctx;
    struct tl_store_import *im = stage->im;
    pthread_mutex_lock(&im->lock);
    for (size_t i = 0; op->status == TL_OK && i < stage->n; i++)
        stage->p->chunks.v[stage->first + i].id = stage->ids[i];
    if (op->status != TL_OK && im->failed == TL_OK) {
        im->failed = op->status;
        im->failure = op->err;
    }
    stage_free(stage);
    /* Under the lock to its end: whoever waits for idle may free the import. */
    if (--im->staging == 0) pthread_cond_signal(&im->idle);
    pthread_mutex_unlock(&im->lock);
}

enum tl_status tl_import_drain(struct tl_store_import *im, struct tl_err *err)
{
    wait_idle(im);
    if (im->failed != TL_OK && err) *err = im->failure;
    return im->failed;
}

/* The next chunks of bars, at most STAGE_CHUNKS, as one stage; their references stand in p->chunks without ids from now
 * on. */
static struct stage *encode_stage(struct tl_store_import *im, struct pending *p, const struct tl_bars *bars,
                                  size_t *from)
{
    struct stage *stage = tl_calloc(1, sizeof *stage);
    if (!stage) return NULL;
    stage->im = im;
    stage->p = p;
    tl_buf_init(&stage->data, 0);
    enum tl_status st = TL_OK;
    pthread_mutex_lock(&im->lock);
    stage->first = p->chunks.n;
    while (st == TL_OK && *from < bars->n && stage->n < STAGE_CHUNKS) {
        size_t n = TL_MIN((size_t)TL_CHUNK_ROWS, bars->n - *from);
        tl_codec_put_bars(&stage->data, bars, *from, n);
        st = tl_chunk_list_push(&p->chunks, (struct tl_chunk_ref){0, bars->ts_ms[*from], (uint32_t)n});
        stage->end[stage->n++] = stage->data.n;
        *from += n;
    }
    pthread_mutex_unlock(&im->lock);
    if (st == TL_OK && !stage->data.failed) return stage;
    stage_free(stage);
    return NULL;
}

static enum tl_status stage_bars(struct tl_store_import *im, struct pending *p, const struct tl_bars *bars, size_t from,
                                 struct tl_err *err)
{
    while (from < bars->n) {
        struct stage *stage = encode_stage(im, p, bars, &from);
        if (!stage) return tl_fail(err, TL_NOMEM, "no memory for %zu bars of %s", bars->n, p->symbol.text);
        stage->op = (struct tl_op){.run = run_stage, .ended = end_stage, .ctx = stage, .bytes = stage->data.n};
        pthread_mutex_lock(&im->lock);
        im->staging++;
        pthread_mutex_unlock(&im->lock);
        enum tl_status st = tl_writer_submit(im->store, &stage->op, err);
        if (st != TL_OK) {
            pthread_mutex_lock(&im->lock);
            im->staging--;
            pthread_mutex_unlock(&im->lock);
            stage_free(stage);
            return st;
        }
    }
    return TL_OK;
}

/* The head after the merge, revisions aside. tail: the merged rows from chunk `kept` on. */
static void describe_head(struct pending *p, const struct tl_bars *tail, size_t rows_before)
{
    size_t total = rows_before + tail->n;
    const struct tl_bars_head *old = &p->base.head;
    p->head = *old;
    memcpy(p->head.zone, p->zone, sizeof p->head.zone);
    p->head.first_ts = rows_before ? old->first_ts : tail->ts_ms[0];
    bool last_is_ours = p->incoming.ts_ms[p->incoming.n - 1] == tail->ts_ms[tail->n - 1];
    p->head.provisional = last_is_ours ? p->last_provisional : old->provisional;
    p->head.raw.bars = (int64_t)total - p->head.provisional;
    if (!p->head.provisional)
        p->head.raw.last_ts = tail->ts_ms[tail->n - 1];
    else
        p->head.raw.last_ts = tail->n > 1 ? tail->ts_ms[tail->n - 2] : rows_before ? p->head.raw.last_ts : 0;
}

static size_t rows_of(const struct tl_chunk_list *l, size_t n)
{
    size_t rows = 0;
    for (size_t i = 0; i < n; i++) rows += l->v[i].rows;
    return rows;
}

/* Merges `incoming` over the stored chunks from the one that can hold its first bar on; earlier ones stay as they are.
 * A provisional last bar needs its predecessor at hand, so one more chunk is read when the last chunk is that bar
 * alone. */
static enum tl_status merge_over(struct tl_store_import *im, struct pending *p, const struct tl_bars_row *row,
                                 struct tl_bars *merged, size_t *kept, struct tl_err *err)
{
    const struct tl_chunk_list *c = &row->chunks;
    struct tl_bars have;
    tl_bars_init(&have);
    *kept = 0;
    while (*kept + 1 < c->n && c->v[*kept + 1].first_ts <= p->incoming.ts_ms[0]) (*kept)++;
    if (*kept > 0 && *kept + 1 == c->n && c->v[*kept].rows == 1) (*kept)--;
    enum tl_status st = tl_bars_chunks_read(&im->reader->db, &p->symbol, c, *kept, c->n, &have, err);
    if (st == TL_OK) {
        st = tl_bars_merge(&have, row->head.provisional, &p->incoming, merged, &p->merge);
        if (st != TL_OK) (void)tl_fail(err, st, "no memory for the bars of %s", p->symbol.text);
    }
    tl_bars_release(&have);
    return st;
}

/* References to the stored chunks that stay, then the merged rows behind them. */
static enum tl_status keep_and_stage(struct tl_store_import *im, struct pending *p, const struct tl_bars *merged,
                                     size_t kept, struct tl_err *err)
{
    describe_head(p, merged, rows_of(&p->base.chunks, kept));
    p->rewrites = p->base.stamp != 0 && tl_merge_rewrites_history(&p->merge);
    bool same_rows = p->base.stamp != 0 && p->merge.first_touched == merged->n;
    p->changes = !same_rows || p->head.provisional != p->base.head.provisional;
    /* Whole chunks before the first touched row stay, too. */
    size_t from = 0;
    while (kept < p->base.chunks.n && p->base.chunks.v[kept].rows == TL_CHUNK_ROWS &&
           from + TL_CHUNK_ROWS <= p->merge.first_touched)
        from += p->base.chunks.v[kept++].rows;
    for (size_t i = 0; i < kept; i++)
        if (tl_chunk_list_push(&p->chunks, p->base.chunks.v[i]) != TL_OK)
            return tl_fail(err, TL_NOMEM, "no memory for a chunk list");
    return p->changes ? stage_bars(im, p, merged, from, err) : TL_OK;
}

enum tl_status tl_import_merge(struct tl_store_import *im, struct pending *p, struct tl_err *err)
{
    struct tl_bars merged;
    size_t kept = 0;
    enum tl_status st = TL_OK;
    if (p->chunks.n > 0) st = tl_import_drain(im, err); /* stages under way point into the list */
    if (st != TL_OK) return st;
    tl_chunk_list_release(&p->base.chunks);
    tl_chunk_list_release(&p->chunks); /* staged for nothing, if merged before: dropped with the import */
    st = tl_store_snapshot_begin(im->reader, err);
    if (st != TL_OK) return st;
    tl_bars_init(&merged);
    st = tl_bars_row_read(&im->reader->db, &p->symbol, p->freq, &p->base, err);
    bool new_series = st == TL_NOT_FOUND;
    if (st == TL_OK) st = merge_over(im, p, &p->base, &merged, &kept, err);
    tl_store_snapshot_end(im->reader);
    if (new_series) {
        p->merge = (struct tl_merge){.appended = p->incoming.n};
        st = keep_and_stage(im, p, &p->incoming, 0, err);
    } else if (st == TL_OK) {
        st = keep_and_stage(im, p, &merged, kept, err);
    }
    tl_bars_release(&merged);
    p->stale = false;
    return st;
}

static struct pending *pending_of(struct tl_store_import *im, const struct tl_symbol *symbol, enum tl_freq freq)
{
    char key[TL_SYMBOL_MAX + 8];
    snprintf(key, sizeof key, "%s %d", symbol->text, (int)freq);
    bool fresh;
    void **slot = tl_map_put(im->by_series, tl_str(key), &fresh);
    if (!slot) return NULL;
    if (!fresh) return *slot;
    if (im->n_series == im->cap_series) {
        size_t cap = im->cap_series ? im->cap_series * 2 : 64;
        struct pending **v = tl_realloc(im->series, cap, sizeof *v);
        if (v) {
            im->series = v;
            im->cap_series = cap;
        }
    }
    struct pending *p = im->n_series < im->cap_series ? tl_calloc(1, sizeof *p) : NULL;
    if (!p) {
        tl_map_remove(im->by_series, tl_str(key));
        return NULL;
    }
    p->symbol = *symbol;
    p->freq = freq;
    tl_bars_init(&p->incoming);
    *slot = p;
    im->series[im->n_series++] = p;
    return p;
}

/* Adds to what came in for the series; later calls win. */
static enum tl_status add_incoming(struct pending *p, const struct tl_bars *bars)
{
    struct tl_bars both;
    struct tl_merge ignored;
    if (p->incoming.n == 0) return tl_bars_copy(&p->incoming, bars);
    tl_bars_init(&both);
    enum tl_status st = tl_bars_merge(&p->incoming, false, bars, &both, &ignored);
    if (st != TL_OK) {
        tl_bars_release(&both);
        return st;
    }
    tl_bars_release(&p->incoming);
    p->incoming = both;
    return TL_OK;
}

enum tl_status tl_store_import_bars(struct tl_store_import *im, const struct tl_symbol *symbol, enum tl_freq freq,
                                    const char *zone, const struct tl_bars *bars, bool last_provisional,
                                    struct tl_err *err)
{
    if (bars->n == 0) return TL_OK;
    struct pending *p = pending_of(im, symbol, freq);
    bool ours_is_last = p && (p->incoming.n == 0 || bars->ts_ms[bars->n - 1] >= p->incoming.ts_ms[p->incoming.n - 1]);
    if (!p || add_incoming(p, bars) != TL_OK)
        return tl_fail(err, TL_NOMEM, "no memory for the bars of %s", symbol->text);
    if (ours_is_last) p->last_provisional = last_provisional;
    snprintf(p->zone, sizeof p->zone, "%s", zone);
    return tl_import_merge(im, p, err);
}

enum tl_status tl_store_import_factors(struct tl_store_import *im, const struct tl_symbol *symbol,
                                       const struct tl_factors *factors, struct tl_err *err)
{
    enum tl_status st = tl_factors_check(factors, err);
    if (st != TL_OK) return st;
    if (im->n_factors == im->cap_factors) {
        size_t cap = im->cap_factors ? im->cap_factors * 2 : 16;
        struct pending_factors *v = tl_realloc(im->factors, cap, sizeof *v);
        if (!v) return tl_fail(err, TL_NOMEM, "no memory for the factors of %s", symbol->text);
        im->factors = v;
        im->cap_factors = cap;
    }
    struct pending_factors *p = &im->factors[im->n_factors];
    *p = (struct pending_factors){.symbol = *symbol};
    p->incoming.v = tl_calloc(factors->n, sizeof *factors->v);
    if (!p->incoming.v) return tl_fail(err, TL_NOMEM, "no memory for the factors of %s", symbol->text);
    if (factors->n) memcpy(p->incoming.v, factors->v, factors->n * sizeof *factors->v);
    p->incoming.n = factors->n;
    im->n_factors++;
    return TL_OK;
}

enum tl_status tl_store_import_calendar(struct tl_store_import *im, const char *calendar, const int64_t *days_ms,
                                        size_t n, struct tl_err *err)
{
    if (strlen(calendar) >= sizeof im->calendars->name)
        return tl_fail(err, TL_INVALID, "the calendar's name %s is too long", calendar);
    struct pending_calendar *v = tl_realloc(im->calendars, im->n_calendars + 1, sizeof *v);
    int64_t *days = tl_calloc(n, sizeof *days);
    if (v) im->calendars = v;
    if (!v || !days) {
        free(days);
        return tl_fail(err, TL_NOMEM, "no memory for the calendar %s", calendar);
    }
    if (n) memcpy(days, days_ms, n * sizeof *days);
    struct pending_calendar *c = &im->calendars[im->n_calendars++];
    *c = (struct pending_calendar){.days = days, .n = n};
    snprintf(c->name, sizeof c->name, "%s", calendar);
    return TL_OK;
}
