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
#include "store/sqlite.h"

#include "base/err.h"
#include "base/map.h"
#include "base/util.h"

#include <stdio.h>

enum { ATTEMPTS = 8 };

/* A series of the import: what came in, and the head that it would have. */
struct pending {
    struct tl_symbol symbol;
    enum tl_freq freq;
    char zone[40];
    struct tl_bars incoming;
    bool last_provisional;
    /* of the last merge */
    struct tl_bars_row base;  /* what it was merged over */
    struct tl_bars_head head; /* without revisions: given at commit */
    struct tl_chunk_list chunks;
    struct tl_merge merge;
    bool changes, rewrites; /* something is to be written; history is */
    bool stale;             /* base changed meanwhile: merge again */
};

struct pending_factors {
    struct tl_symbol symbol;
    struct tl_factors incoming;
};

struct pending_calendar {
    char name[32];
    int64_t *days;
    size_t n;
};

struct tl_store_import {
    struct tl_store *store;
    struct tl_store_reader *reader;
    int64_t id;
    struct tl_map *by_series; /* "symbol freq" -> struct pending */
    struct pending **series;
    size_t n_series, cap_series;
    struct pending_factors *factors;
    size_t n_factors, cap_factors;
    struct pending_calendar *calendars;
    size_t n_calendars;
    struct tl_import_totals totals;
};

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
    free(im);
}

enum tl_status tl_store_import_begin(struct tl_store *store, struct tl_store_import **out, struct tl_err *err)
{
    struct tl_store_import *im = tl_calloc(1, sizeof *im);
    if (!im) return tl_fail(err, TL_NOMEM, "no memory for an import");
    im->store = store;
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

/* Up to 256 staged chunks a call, so that no transaction gets long; op->ctx learns whether there is more. */
struct unstage {
    struct tl_store_import *im;
    bool more;
};

static enum tl_status delete_staged(struct tl_db *db, int64_t import, bool *more, struct tl_err *err)
{
    int64_t ids[256];
    size_t n = 0;
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_STAGED_SOME, err);
    if (!s) return TL_IO;
    sqlite3_bind_int64(s, 1, import);
    while (n < TL_COUNT(ids) && sqlite3_step(s) == SQLITE_ROW) ids[n++] = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    *more = n > 0;
    enum tl_status st = TL_OK;
    for (size_t i = 0; st == TL_OK && i < n; i++) {
        s = tl_db_stmt(db, TL_SQL_CHUNK_DELETE, err);
        if (!s) return TL_IO;
        sqlite3_bind_int64(s, 1, ids[i]);
        st = tl_db_run(db, s, err, "dropping a chunk");
        s = st == TL_OK ? tl_db_stmt(db, TL_SQL_STAGED_DELETE, err) : NULL;
        if (!s) return st == TL_OK ? TL_IO : st;
        sqlite3_bind_int64(s, 1, import);
        sqlite3_bind_int64(s, 2, ids[i]);
        st = tl_db_run(db, s, err, "dropping a chunk");
    }
    return st;
}

static enum tl_status run_unstage(struct tl_op *op, struct tl_store *store, struct tl_err *err)
{
    struct unstage *u = op->ctx;
    struct tl_db *db = &store->writer;
    enum tl_status st = delete_staged(db, u->im->id, &u->more, err);
    if (st != TL_OK || u->more) return st;
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_IMPORT_DELETE, err);
    if (!s) return TL_IO;
    sqlite3_bind_int64(s, 1, u->im->id);
    return tl_db_run(db, s, err, "dropping an import");
}

void tl_store_import_abort(struct tl_store_import *im)
{
    if (!im) return;
    struct unstage u = {.im = im, .more = true};
    /* What cannot be dropped now is swept once this process is gone. */
    while (u.more)
        if (tl_writer_do(im->store, run_unstage, &u, 0, NULL) != TL_OK) break;
    import_free(im);
}

/* ---- merging and staging ---- */

/* The encoded chunks of one merge, on their way into the store. */
struct stage {
    struct tl_store_import *im;
    struct tl_buf data;
    struct tl_chunk_list refs; /* rows and first_ts; ids are filled in by the writer */
    size_t *end;
};

static enum tl_status run_stage(struct tl_op *op, struct tl_store *store, struct tl_err *err)
{
    struct stage *stage = op->ctx;
    struct tl_db *db = &store->writer;
    for (size_t i = 0; i < stage->refs.n; i++) {
        size_t from = i ? stage->end[i - 1] : 0;
        enum tl_status st =
            tl_chunk_put(db, (struct tl_str){stage->data.p + from, stage->end[i] - from}, &stage->refs.v[i].id, err);
        sqlite3_stmt *s = st == TL_OK ? tl_db_stmt(db, TL_SQL_STAGED_PUT, err) : NULL;
        if (!s) return st == TL_OK ? TL_IO : st;
        sqlite3_bind_int64(s, 1, stage->im->id);
        sqlite3_bind_int64(s, 2, stage->refs.v[i].id);
        st = tl_db_run(db, s, err, "staging a chunk");
        if (st != TL_OK) return st;
    }
    return TL_OK;
}

/* Encodes bars[from..] and stages them in pieces of at most STAGE_CHUNKS chunks; references are appended to `to`. */
static enum tl_status stage_bars(struct tl_store_import *im, const struct tl_bars *bars, size_t from,
                                 struct tl_chunk_list *to, struct tl_err *err)
{
    enum { STAGE_CHUNKS = 64 };
    size_t end[STAGE_CHUNKS];
    struct stage stage = {.im = im, .end = end};
    tl_buf_init(&stage.data, 0);
    enum tl_status st = TL_OK;
    while (st == TL_OK && from < bars->n) {
        tl_buf_clear(&stage.data);
        stage.refs.n = 0;
        while (st == TL_OK && from < bars->n && stage.refs.n < STAGE_CHUNKS) {
            size_t n = TL_MIN((size_t)TL_CHUNK_ROWS, bars->n - from);
            tl_codec_put_bars(&stage.data, bars, from, n);
            st = tl_chunk_list_push(&stage.refs, (struct tl_chunk_ref){0, bars->ts_ms[from], (uint32_t)n});
            if (st == TL_OK) end[stage.refs.n - 1] = stage.data.n;
            from += n;
        }
        if (st == TL_OK)
            st = tl_buf_status(&stage.data, err);
        else
            (void)tl_fail(err, st, "no memory for %zu bars", bars->n);
        if (st == TL_OK) st = tl_writer_do(im->store, run_stage, &stage, stage.data.n, err);
        for (size_t i = 0; st == TL_OK && i < stage.refs.n; i++)
            if ((st = tl_chunk_list_push(to, stage.refs.v[i])) != TL_OK)
                (void)tl_fail(err, st, "no memory for a chunk list");
    }
    tl_buf_release(&stage.data);
    tl_chunk_list_release(&stage.refs);
    return st;
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

static enum tl_status merge_pending(struct tl_store_import *im, struct pending *p, struct tl_err *err)
{
    struct tl_bars merged;
    size_t kept = 0;
    tl_bars_init(&merged);
    tl_chunk_list_release(&p->base.chunks);
    tl_chunk_list_release(&p->chunks); /* staged for nothing if merged before: swept at commit */
    enum tl_status st = tl_store_snapshot_begin(im->reader, err);
    if (st != TL_OK) return st;
    st = tl_bars_row_read(&im->reader->db, &p->symbol, p->freq, &p->base, err);
    if (st == TL_NOT_FOUND) st = TL_OK;
    if (st == TL_OK) st = merge_over(im, p, &p->base, &merged, &kept, err);
    tl_store_snapshot_end(im->reader);
    if (st == TL_OK) {
        size_t before = rows_of(&p->base.chunks, kept);
        describe_head(p, &merged, before);
        p->rewrites = p->base.stamp != 0 && tl_merge_rewrites_history(&p->merge);
        bool same_rows = p->base.stamp != 0 && p->merge.first_touched == merged.n;
        p->changes = !same_rows || p->head.provisional != p->base.head.provisional;
        /* Whole chunks before the first touched row stay, too. */
        size_t from = 0;
        while (p->base.stamp && kept < p->base.chunks.n && p->base.chunks.v[kept].rows == TL_CHUNK_ROWS &&
               from + TL_CHUNK_ROWS <= p->merge.first_touched)
            from += p->base.chunks.v[kept++].rows;
        for (size_t i = 0; st == TL_OK && i < kept; i++) st = tl_chunk_list_push(&p->chunks, p->base.chunks.v[i]);
        if (st != TL_OK)
            (void)tl_fail(err, st, "no memory for a chunk list");
        else if (p->changes)
            st = stage_bars(im, &merged, from, &p->chunks, err);
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
    return merge_pending(im, p, err);
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

/* ---- commit, on the writer thread ---- */

static enum tl_status write_bars_row(struct tl_db *db, const struct tl_symbol *symbol, enum tl_freq freq,
                                     const struct tl_bars_head *h, int64_t stamp, const struct tl_chunk_list *chunks,
                                     struct tl_err *err)
{
    struct tl_buf list;
    tl_buf_init(&list, 0);
    tl_chunk_list_encode(chunks, &list);
    enum tl_status st = tl_buf_status(&list, err);
    sqlite3_stmt *s = st == TL_OK ? tl_db_stmt(db, TL_SQL_BARS_UPSERT, err) : NULL;
    if (s) {
        const int64_t numbers[] = {h->raw.revision, h->raw.bars,         h->raw.last_ts,      h->first_ts,
                                   h->provisional,  h->forward_revision, h->backward_revision};
        tl_bind_symbol(s, 1, symbol);
        sqlite3_bind_int(s, 2, (int)freq);
        for (size_t i = 0; i < TL_COUNT(numbers); i++) sqlite3_bind_int64(s, 3 + (int)i, numbers[i]);
        sqlite3_bind_text(s, 10, h->zone, -1, SQLITE_STATIC);
        sqlite3_bind_int64(s, 11, stamp);
        sqlite3_bind_blob64(s, 12, list.n ? list.p : "", list.n, SQLITE_STATIC);
        st = tl_db_run(db, s, err, "writing bars");
        s = st == TL_OK ? tl_db_stmt(db, TL_SQL_LOG_PUT, err) : NULL;
    }
    if (s) {
        const int64_t numbers[] = {h->raw.revision, h->raw.bars, h->raw.last_ts, h->forward_revision,
                                   h->backward_revision};
        tl_bind_symbol(s, 1, symbol);
        sqlite3_bind_int(s, 2, (int)freq);
        for (size_t i = 0; i < TL_COUNT(numbers); i++) sqlite3_bind_int64(s, 3 + (int)i, numbers[i]);
        st = tl_db_run(db, s, err, "writing the change log");
    } else if (st == TL_OK) {
        st = TL_IO;
    }
    tl_buf_release(&list);
    return st;
}

/* Chunks of the old list that the new one does not refer to are garbage from this commit on. */
static enum tl_status discard_replaced(struct tl_db *db, const struct tl_chunk_list *old,
                                       const struct tl_chunk_list *new, struct tl_err *err)
{
    enum tl_status st = TL_OK;
    for (size_t i = 0; st == TL_OK && i < old->n; i++) {
        if (i < new->n &&new->v[i].id == old->v[i].id) continue;
        sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_STAGED_PUT, err);
        if (!s) return TL_IO;
        sqlite3_bind_int64(s, 1, 0);
        sqlite3_bind_int64(s, 2, old->v[i].id);
        st = tl_db_run(db, s, err, "discarding a chunk");
    }
    return st;
}

struct commit {
    struct tl_store_import *im;
    int64_t revision; /* 0 until one is needed */
    size_t stale;
};

static enum tl_status revision_of(struct commit *c, struct tl_store *store, struct tl_err *err)
{
    return c->revision ? TL_OK : tl_schema_next_revision(store, &c->revision, err);
}

/* An ex-date that the series grew across bends its forward-adjusted history. */
static enum tl_status crosses_ex_date(struct tl_db *db, const struct pending *p, bool *crosses, struct tl_err *err)
{
    struct tl_factors f;
    *crosses = false;
    enum tl_status st = tl_factors_row_read(db, &p->symbol, &f, err);
    for (size_t i = 0; st == TL_OK && i < f.n; i++)
        *crosses |= f.v[i].ex_date_ms > p->base.head.raw.last_ts && f.v[i].ex_date_ms <= p->head.raw.last_ts;
    tl_factors_release(&f);
    return st;
}

static enum tl_status commit_series(struct commit *c, struct tl_store *store, struct pending *p, struct tl_err *err)
{
    struct tl_db *db = &store->writer;
    struct tl_bars_row now;
    enum tl_status st = tl_bars_row_read(db, &p->symbol, p->freq, &now, err);
    tl_chunk_list_release(&now.chunks);
    if (st == TL_NOT_FOUND) st = TL_OK;
    if (st != TL_OK) return st;
    if (now.stamp != p->base.stamp) {
        p->stale = true;
        c->stale++;
        return TL_OK;
    }
    if (!p->changes) return TL_OK;
    /* Another import of factors may have raised these without touching the bars. */
    p->head.forward_revision = now.head.forward_revision;
    p->head.backward_revision = now.head.backward_revision;
    bool crosses = false;
    if (p->base.stamp) st = crosses_ex_date(db, p, &crosses, err);
    if (st == TL_OK && (p->base.stamp == 0 || p->rewrites || crosses)) st = revision_of(c, store, err);
    if (st != TL_OK) return st;
    if (p->base.stamp == 0 || p->rewrites)
        p->head.raw.revision = c->revision;
    else
        p->head.raw.revision = now.head.raw.revision;
    if (crosses) p->head.forward_revision = c->revision;
    st = write_bars_row(db, &p->symbol, p->freq, &p->head, p->base.stamp + 1, &p->chunks, err);
    if (st == TL_OK) st = discard_replaced(db, &p->base.chunks, &p->chunks, err);
    return st;
}

static bool same_factor(const struct tl_factor *a, const struct tl_factor *b)
{
    return a->ex_date_ms == b->ex_date_ms && a->kind == b->kind && a->cash == b->cash && a->gift == b->gift &&
           a->rights == b->rights && a->rights_price == b->rights_price && a->factor == b->factor;
}

/* Union by ex-date, incoming wins. *earliest: the first ex-date at which they differ from `have`, INT64_MAX when
 * nowhere. */
static enum tl_status merge_factors(const struct tl_factors *have, const struct tl_factors *in, struct tl_factors *out,
                                    int64_t *earliest)
{
    *earliest = INT64_MAX;
    out->n = 0;
    out->v = tl_calloc(have->n + in->n, sizeof *out->v);
    if (!out->v) return TL_NOMEM;
    size_t h = 0, i = 0;
    while (h < have->n || i < in->n) {
        if (i == in->n || (h < have->n && have->v[h].ex_date_ms < in->v[i].ex_date_ms)) {
            out->v[out->n++] = have->v[h++];
            continue;
        }
        bool same = h < have->n && same_factor(&have->v[h], &in->v[i]);
        if (!same && in->v[i].ex_date_ms < *earliest) *earliest = in->v[i].ex_date_ms;
        if (h < have->n && have->v[h].ex_date_ms == in->v[i].ex_date_ms) h++;
        out->v[out->n++] = in->v[i++];
    }
    return TL_OK;
}

/* Adjusted series whose bars reach the first differing ex-date have another history now. */
static enum tl_status raise_adjusted(struct commit *c, struct tl_store *store, const struct tl_symbol *symbol,
                                     int64_t earliest, struct tl_err *err)
{
    for (int f = 0; f < TL_FREQ_COUNT; f++) {
        struct tl_bars_row row;
        enum tl_status st = tl_bars_row_read(&store->writer, symbol, (enum tl_freq)f, &row, err);
        if (st == TL_OK && earliest <= row.head.raw.last_ts) {
            st = revision_of(c, store, err);
            row.head.forward_revision = row.head.backward_revision = c->revision;
            if (st == TL_OK)
                st =
                    write_bars_row(&store->writer, symbol, (enum tl_freq)f, &row.head, row.stamp + 1, &row.chunks, err);
        }
        tl_chunk_list_release(&row.chunks);
        if (st != TL_OK && st != TL_NOT_FOUND) return st;
    }
    return TL_OK;
}

static enum tl_status commit_factors(struct commit *c, struct tl_store *store, const struct pending_factors *p,
                                     struct tl_err *err)
{
    struct tl_factors have, merged = {0, NULL};
    int64_t earliest = INT64_MAX;
    struct tl_buf data;
    tl_buf_init(&data, 0);
    enum tl_status st = tl_factors_row_read(&store->writer, &p->symbol, &have, err);
    if (st == TL_OK) {
        st = merge_factors(&have, &p->incoming, &merged, &earliest);
        if (st != TL_OK) (void)tl_fail(err, st, "no memory for the factors of %s", p->symbol.text);
    }
    if (st == TL_OK && earliest != INT64_MAX) {
        struct tl_err detail;
        st = tl_factors_check(&merged, &detail);
        if (st != TL_OK) (void)tl_fail(err, st, "%s: with the stored factors: %s", p->symbol.text, detail.text);
        tl_factors_encode(&merged, &data);
        if (st == TL_OK) st = tl_buf_status(&data, err);
        sqlite3_stmt *s = st == TL_OK ? tl_db_stmt(&store->writer, TL_SQL_FACTORS_UPSERT, err) : NULL;
        if (s) {
            tl_bind_symbol(s, 1, &p->symbol);
            sqlite3_bind_blob64(s, 2, data.p, data.n, SQLITE_STATIC);
            st = tl_db_run(&store->writer, s, err, "writing factors");
        } else if (st == TL_OK) {
            st = TL_IO;
        }
        if (st == TL_OK) st = raise_adjusted(c, store, &p->symbol, earliest, err);
    }
    tl_buf_release(&data);
    tl_factors_release(&have);
    tl_factors_release(&merged);
    return st;
}

static enum tl_status commit_calendar(struct tl_store *store, const struct pending_calendar *p, struct tl_err *err)
{
    enum tl_status st = TL_OK;
    for (size_t i = 0; st == TL_OK && i < p->n; i++) {
        sqlite3_stmt *s = tl_db_stmt(&store->writer, TL_SQL_CALENDAR_PUT, err);
        if (!s) return TL_IO;
        sqlite3_bind_text(s, 1, p->name, -1, SQLITE_STATIC);
        sqlite3_bind_int64(s, 2, p->days[i]);
        st = tl_db_run(&store->writer, s, err, "writing a calendar");
    }
    return st;
}

/* The staged chunks that a head refers to now are staged no longer; those of merges done over become garbage. */
static enum tl_status settle_staged(struct commit *c, struct tl_store *store, struct tl_err *err)
{
    struct tl_db *db = &store->writer;
    enum tl_status st = TL_OK;
    for (size_t i = 0; st == TL_OK && i < c->im->n_series; i++) {
        const struct pending *p = c->im->series[i];
        for (size_t k = 0; st == TL_OK && p->changes && k < p->chunks.n; k++) {
            sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_STAGED_DELETE, err);
            if (!s) return TL_IO;
            sqlite3_bind_int64(s, 1, c->im->id);
            sqlite3_bind_int64(s, 2, p->chunks.v[k].id);
            st = tl_db_run(db, s, err, "committing an import");
        }
    }
    sqlite3_stmt *s = st == TL_OK ? tl_db_stmt(db, TL_SQL_LOG_PRUNE, err) : NULL;
    if (s) st = tl_db_run(db, s, err, "pruning the change log");
    return st;
}

static enum tl_status run_commit(struct tl_op *op, struct tl_store *store, struct tl_err *err)
{
    struct commit *c = op->ctx;
    struct tl_store_import *im = c->im;
    enum tl_status st = TL_OK;
    c->revision = 0;
    c->stale = 0;
    for (size_t i = 0; st == TL_OK && i < im->n_series; i++) st = commit_series(c, store, im->series[i], err);
    if (st == TL_OK && c->stale) return tl_fail(err, TL_CONFLICT, "%zu series changed meanwhile", c->stale);
    for (size_t i = 0; st == TL_OK && i < im->n_factors; i++) st = commit_factors(c, store, &im->factors[i], err);
    for (size_t i = 0; st == TL_OK && i < im->n_calendars; i++) st = commit_calendar(store, &im->calendars[i], err);
    if (st == TL_OK) st = settle_staged(c, store, err);
    return st;
}

static void count_totals(const struct tl_store_import *im, struct tl_import_totals *t)
{
    *t = (struct tl_import_totals){.symbols = im->n_series};
    for (size_t i = 0; i < im->n_series; i++) {
        const struct pending *p = im->series[i];
        t->appended += p->merge.appended;
        t->changed += p->merge.changed;
        t->inserted += p->merge.inserted;
        t->unchanged += p->merge.unchanged;
        t->provisional += p->head.provisional;
    }
}

static enum tl_status run_sweep(struct tl_op *op, struct tl_store *store, struct tl_err *err)
{
    return tl_schema_sweep(store, op->ctx, err);
}

enum tl_status tl_store_import_commit(struct tl_store_import *im, struct tl_import_totals *totals, struct tl_err *err)
{
    struct tl_store *store = im->store;
    struct commit c = {.im = im};
    enum tl_status st = TL_CONFLICT;
    for (int attempt = 0; st == TL_CONFLICT && attempt < ATTEMPTS; attempt++) {
        st = tl_writer_do(store, run_commit, &c, 0, err);
        for (size_t i = 0; st == TL_CONFLICT && i < im->n_series; i++) {
            if (!im->series[i]->stale) continue;
            enum tl_status again = merge_pending(im, im->series[i], err);
            if (again != TL_OK) st = again;
        }
    }
    if (st == TL_OK && totals) count_totals(im, totals);
    tl_store_import_abort(im); /* drops the import's row and whatever is still staged */
    bool more = true;
    while (st == TL_OK && more)
        if (tl_writer_do(store, run_sweep, &more, 0, NULL) != TL_OK) break;
    return st;
}
