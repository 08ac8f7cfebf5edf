/* SPDX-License-Identifier: Apache-2.0 */
/* Committing an import: every head, factor and calendar of it in one transaction of the writer thread. A series whose
 * head changed since it was merged stops the transaction; it is merged again, a bounded number of times. Chunks that no
 * head refers to any longer stand under import 0 in `staged` from the same transaction on, and are deleted behind it.
 */
#include "store/sqlite_import.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

enum { ATTEMPTS = 8 };

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
    for (size_t i = 0; st == TL_OK && i < old->n; i++)
        if (i >= new->n || new->v[i].id != old->v[i].id) st = tl_staged_put(db, 0, old->v[i].id, err);
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
    if (st != TL_OK) return st;
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_LOG_PRUNE, err);
    return s ? tl_db_run(db, s, err, "pruning the change log") : TL_IO;
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

enum tl_status tl_store_import_commit(struct tl_store_import *im, struct tl_import_totals *totals, struct tl_err *err)
{
    struct tl_store *store = im->store;
    struct commit c = {.im = im};
    enum tl_status again_failed;
    enum tl_status st = tl_import_drain(im, err);
    if (st == TL_OK) st = TL_CONFLICT;
    for (int attempt = 0; st == TL_CONFLICT && attempt < ATTEMPTS; attempt++) {
        st = tl_writer_do(store, run_commit, &c, 0, err);
        for (size_t i = 0; st == TL_CONFLICT && i < im->n_series; i++) {
            if (!im->series[i]->stale) continue;
            enum tl_status again = tl_import_merge(im, im->series[i], err);
            if (again != TL_OK) st = again;
        }
        if (st == TL_CONFLICT && (again_failed = tl_import_drain(im, err)) != TL_OK) st = again_failed;
    }
    if (st == TL_OK && totals) count_totals(im, totals);
    tl_store_import_abort(im); /* drops the import's row and whatever is still staged */
    if (st == TL_OK) tl_store_sweep(store);
    return st;
}
