/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: heads, bars, factors, calendars, series. Every public read is one snapshot; between snapshot_begin and _end
 * all of them are the same one. Blobs are decoded where SQLite holds them. */
#include "store/sqlite.h"

#include "base/err.h"
#include "base/util.h"

#include <endian.h>
#include <stdio.h>

enum { FACTOR_BYTES = 56 };

void tl_bind_symbol(sqlite3_stmt *s, int at, const struct tl_symbol *symbol)
{
    sqlite3_bind_text(s, at, symbol->text, -1, SQLITE_STATIC);
}

enum tl_status tl_store_reader_new(struct tl_store *store, struct tl_store_reader **out, struct tl_err *err)
{
    struct tl_store_reader *r = tl_calloc(1, sizeof *r);
    if (!r) return tl_fail(err, TL_NOMEM, "no memory for a reader");
    enum tl_status st = tl_db_open(&r->db, store->path, true, store->opt.busy_ms, err);
    if (st != TL_OK) {
        free(r);
        return st;
    }
    *out = r;
    return TL_OK;
}

void tl_store_reader_free(struct tl_store_reader *r)
{
    if (!r) return;
    tl_db_close(&r->db);
    free(r);
}

static enum tl_status begin(struct tl_store_reader *r, struct tl_err *err)
{
    sqlite3_stmt *s = tl_db_stmt(&r->db, TL_SQL_BEGIN_READ, err);
    return s ? tl_db_run(&r->db, s, err, "reading") : TL_IO;
}

static void end(struct tl_store_reader *r)
{
    /* Statements that still stand on a row would keep the snapshot. */
    for (size_t i = 0; i < TL_SQL_COUNT; i++)
        if (r->db.stmt[i]) sqlite3_reset(r->db.stmt[i]);
    sqlite3_stmt *s = tl_db_stmt(&r->db, TL_SQL_END_READ, NULL);
    if (s) {
        sqlite3_step(s);
        sqlite3_reset(s);
    }
}

enum tl_status tl_store_snapshot_begin(struct tl_store_reader *r, struct tl_err *err)
{
    TL_ASSERT(!r->in_snapshot);
    enum tl_status st = begin(r, err);
    r->in_snapshot = st == TL_OK;
    return st;
}

void tl_store_snapshot_end(struct tl_store_reader *r)
{
    TL_ASSERT(r->in_snapshot);
    end(r);
    r->in_snapshot = false;
}

/* A snapshot of one read, unless the caller has one open. */
static enum tl_status own_begin(struct tl_store_reader *r, struct tl_err *err)
{
    return r->in_snapshot ? TL_OK : begin(r, err);
}

static void own_end(struct tl_store_reader *r)
{
    if (!r->in_snapshot) end(r);
}

/* ---- bars ---- */

static void head_from_row(sqlite3_stmt *s, struct tl_bars_head *h)
{
    *h = (struct tl_bars_head){
        .raw = {sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1), sqlite3_column_int64(s, 2)},
        .first_ts = sqlite3_column_int64(s, 3),
        .provisional = sqlite3_column_int(s, 4) != 0,
        .forward_revision = sqlite3_column_int64(s, 5),
        .backward_revision = sqlite3_column_int64(s, 6)};
    snprintf(h->zone, sizeof h->zone, "%s", (const char *)sqlite3_column_text(s, 7));
}

enum tl_status tl_bars_row_read(struct tl_db *db, const struct tl_symbol *symbol, enum tl_freq freq,
                                struct tl_bars_row *row, struct tl_err *err)
{
    *row = (struct tl_bars_row){.stamp = 0};
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_BARS_HEAD, err);
    if (!s) return TL_IO;
    tl_bind_symbol(s, 1, symbol);
    sqlite3_bind_int(s, 2, (int)freq);
    int rc = sqlite3_step(s);
    enum tl_status st = TL_OK;
    if (rc == SQLITE_ROW) {
        head_from_row(s, &row->head);
        row->stamp = sqlite3_column_int64(s, 8);
        struct tl_str list = {sqlite3_column_blob(s, 9), (size_t)sqlite3_column_bytes(s, 9)};
        st = tl_chunk_list_decode(list, &row->chunks, err);
    } else if (rc == SQLITE_DONE) {
        st = tl_fail(err, TL_NOT_FOUND, "%s has no %s bars", symbol->text, tl_freq_name(freq));
    } else {
        st = tl_db_fail(db, rc, err, "reading bars");
    }
    sqlite3_reset(s);
    return st;
}

enum tl_status tl_bars_chunks_read(struct tl_db *db, const struct tl_symbol *symbol, const struct tl_chunk_list *chunks,
                                   size_t from, size_t to, struct tl_bars *out, struct tl_err *err)
{
    size_t rows = out->n;
    for (size_t i = from; i < to; i++) rows += chunks->v[i].rows;
    if (tl_bars_reserve(out, rows) != TL_OK) return tl_fail(err, TL_NOMEM, "no memory for %zu bars", rows);
    for (size_t i = from; i < to; i++) {
        struct tl_str bytes;
        struct tl_err detail;
        size_t before = out->n;
        enum tl_status st = tl_chunk_get(db, chunks->v[i].id, &bytes, &detail);
        if (st == TL_OK) st = tl_codec_get_bars(bytes, out, &detail);
        if (st == TL_OK && out->n - before != chunks->v[i].rows)
            st = tl_fail(&detail, TL_CORRUPT, "%zu rows where the head says %u", out->n - before,
                         (unsigned)chunks->v[i].rows);
        if (st != TL_OK)
            return tl_fail(err, st, "%s, chunk %lld: %s", symbol->text, (long long)chunks->v[i].id, detail.text);
    }
    return TL_OK;
}

struct tl_version tl_bars_head_version(const struct tl_bars_head *h, enum tl_adjust adjust)
{
    struct tl_version v = h->raw;
    if (adjust == TL_ADJUST_FORWARD) v.revision = TL_MAX(v.revision, h->forward_revision);
    if (adjust == TL_ADJUST_BACKWARD) v.revision = TL_MAX(v.revision, h->backward_revision);
    return v;
}

enum tl_status tl_store_bars_head(struct tl_store_reader *r, const struct tl_symbol *symbol, enum tl_freq freq,
                                  struct tl_bars_head *head, struct tl_err *err)
{
    struct tl_bars_row row;
    enum tl_status st = tl_bars_row_read(&r->db, symbol, freq, &row, err);
    if (st == TL_OK) *head = row.head;
    tl_chunk_list_release(&row.chunks);
    return st;
}

/* Only the chunks that can hold a bar of the range, then only its rows. */
static enum tl_status read_range(struct tl_store_reader *r, const struct tl_symbol *symbol,
                                 const struct tl_bars_row *row, int64_t from_ms, int64_t to_ms, struct tl_bars *out,
                                 struct tl_err *err)
{
    const struct tl_chunk_list *c = &row->chunks;
    size_t from = 0, to = c->n;
    while (from + 1 < to && c->v[from + 1].first_ts <= from_ms) from++;
    while (to > from && c->v[to - 1].first_ts >= to_ms) to--;
    if (from_ms == INT64_MIN && to_ms == INT64_MAX) return tl_bars_chunks_read(&r->db, symbol, c, from, to, out, err);
    struct tl_bars all;
    tl_bars_init(&all);
    enum tl_status st = tl_bars_chunks_read(&r->db, symbol, c, from, to, &all, err);
    for (size_t i = tl_bars_lower_bound(&all, from_ms); st == TL_OK && i < all.n && all.ts_ms[i] < to_ms; i++) {
        struct tl_bar bar = tl_bars_at(&all, i);
        if (tl_bars_append(out, &bar) != TL_OK) st = tl_fail(err, TL_NOMEM, "no memory for %zu bars", all.n);
    }
    tl_bars_release(&all);
    return st;
}

enum tl_status tl_store_bars_read(struct tl_store_reader *r, const struct tl_symbol *symbol, enum tl_freq freq,
                                  int64_t from_ms, int64_t to_ms, struct tl_bars *out, struct tl_bars_head *head,
                                  struct tl_err *err)
{
    struct tl_bars_row row;
    enum tl_status st = own_begin(r, err);
    if (st != TL_OK) return st;
    st = tl_bars_row_read(&r->db, symbol, freq, &row, err);
    if (st == TL_OK) st = read_range(r, symbol, &row, from_ms, to_ms, out, err);
    if (st == TL_OK && head) *head = row.head;
    tl_chunk_list_release(&row.chunks);
    own_end(r);
    return st;
}

enum tl_status tl_store_symbols(struct tl_store_reader *r, bool (*cb)(void *ctx, const struct tl_store_symbol *),
                                void *ctx, struct tl_err *err)
{
    enum tl_status st = own_begin(r, err);
    if (st != TL_OK) return st;
    sqlite3_stmt *s = tl_db_stmt(&r->db, TL_SQL_BARS_ALL, err);
    int rc = SQLITE_DONE;
    bool go_on = s != NULL;
    while (go_on && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct tl_store_symbol out = {.freq = (enum tl_freq)sqlite3_column_int(s, 11)};
        snprintf(out.symbol.text, sizeof out.symbol.text, "%s", (const char *)sqlite3_column_text(s, 10));
        head_from_row(s, &out.head);
        if (out.freq >= TL_FREQ_COUNT) continue;
        go_on = cb(ctx, &out);
    }
    if (!s)
        st = TL_IO;
    else if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        st = tl_db_fail(&r->db, rc, err, "reading the symbols");
    own_end(r);
    return st;
}

/* ---- factors, calendar ---- */

void tl_factors_encode(const struct tl_factors *f, struct tl_buf *out)
{
    for (size_t i = 0; i < f->n; i++) {
        const struct tl_factor *v = &f->v[i];
        const double numbers[5] = {v->cash, v->gift, v->rights, v->rights_price, v->factor};
        uint64_t word = htole64((uint64_t)v->ex_date_ms);
        tl_buf_put(out, &word, 8);
        word = htole64((uint64_t)v->kind);
        tl_buf_put(out, &word, 8);
        for (size_t k = 0; k < 5; k++) {
            memcpy(&word, &numbers[k], 8);
            word = htole64(word);
            tl_buf_put(out, &word, 8);
        }
    }
}

static enum tl_status factors_decode(struct tl_str bytes, struct tl_factors *out)
{
    if (bytes.n % FACTOR_BYTES) return TL_CORRUPT;
    out->n = 0;
    out->v = tl_calloc(bytes.n / FACTOR_BYTES, sizeof *out->v);
    if (!out->v) return TL_NOMEM;
    for (size_t at = 0; at < bytes.n; at += FACTOR_BYTES) {
        uint64_t word[7];
        double numbers[5];
        memcpy(word, bytes.p + at, sizeof word);
        for (size_t k = 0; k < 7; k++) word[k] = le64toh(word[k]);
        memcpy(numbers, word + 2, sizeof numbers);
        out->v[out->n++] = (struct tl_factor){
            (int64_t)word[0], (enum tl_factor_kind)word[1], numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]};
    }
    return TL_OK;
}

enum tl_status tl_factors_row_read(struct tl_db *db, const struct tl_symbol *symbol, struct tl_factors *out,
                                   struct tl_err *err)
{
    *out = (struct tl_factors){0, NULL};
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_FACTORS_GET, err);
    if (!s) return TL_IO;
    tl_bind_symbol(s, 1, symbol);
    int rc = sqlite3_step(s);
    enum tl_status st = TL_OK;
    if (rc == SQLITE_ROW) {
        st = factors_decode((struct tl_str){sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0)}, out);
        if (st == TL_OK) st = tl_factors_check(out, NULL);
        if (st != TL_OK) {
            tl_factors_release(out);
            st = tl_fail(err, st == TL_NOMEM ? st : TL_CORRUPT, "the factors of %s are damaged", symbol->text);
        }
    } else if (rc != SQLITE_DONE) {
        st = tl_db_fail(db, rc, err, "reading factors");
    }
    sqlite3_reset(s);
    return st;
}

enum tl_status tl_store_factors_read(struct tl_store_reader *r, const struct tl_symbol *symbol, struct tl_factors *out,
                                     struct tl_err *err)
{
    return tl_factors_row_read(&r->db, symbol, out, err);
}

enum tl_status tl_store_calendar_read(struct tl_store_reader *r, const char *calendar, int64_t **days_ms, size_t *n,
                                      struct tl_err *err)
{
    *days_ms = NULL;
    *n = 0;
    sqlite3_stmt *s = tl_db_stmt(&r->db, TL_SQL_CALENDAR_GET, err);
    if (!s) return TL_IO;
    sqlite3_bind_text(s, 1, calendar, -1, SQLITE_STATIC);
    size_t cap = 0;
    int rc;
    enum tl_status st = TL_OK;
    while (st == TL_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        if (*n == cap) {
            cap = cap ? cap * 2 : 256;
            int64_t *grown = tl_realloc(*days_ms, cap, sizeof *grown);
            if (!grown) {
                st = tl_fail(err, TL_NOMEM, "no memory for the calendar %s", calendar);
                break;
            }
            *days_ms = grown;
        }
        (*days_ms)[(*n)++] = sqlite3_column_int64(s, 0);
    }
    if (st == TL_OK && rc != SQLITE_DONE) st = tl_db_fail(&r->db, rc, err, "reading the calendar");
    sqlite3_reset(s);
    if (st != TL_OK) {
        free(*days_ms);
        *days_ms = NULL;
        *n = 0;
    }
    return st;
}

/* ---- series ---- */

enum tl_status tl_series_row_read(struct tl_db *db, const struct tl_series_key *key, struct tl_series_row *row,
                                  struct tl_err *err)
{
    *row = (struct tl_series_row){.series = {.n = 0}};
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_SERIES_HEAD, err);
    if (!s) return TL_IO;
    tl_bind_symbol(s, 1, &key->symbol);
    sqlite3_bind_int(s, 2, (int)key->freq);
    sqlite3_bind_int(s, 3, (int)key->adjust);
    sqlite3_bind_text(s, 4, key->spec, -1, SQLITE_STATIC);
    int rc = sqlite3_step(s);
    enum tl_status st = TL_OK;
    if (rc == SQLITE_ROW) {
        row->series = (struct tl_series){
            .version = {sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1), sqlite3_column_int64(s, 2)},
            .kernel_version = (uint32_t)sqlite3_column_int64(s, 3),
            .token = (uint64_t)sqlite3_column_int64(s, 4),
            .computed_ms = sqlite3_column_int64(s, 5),
            .columns = (uint32_t)sqlite3_column_int64(s, 6),
            .first_bar = (uint64_t)sqlite3_column_int64(s, 7),
            .n = (size_t)sqlite3_column_int64(s, 8)};
        struct tl_str list = {sqlite3_column_blob(s, 9), (size_t)sqlite3_column_bytes(s, 9)};
        st = tl_chunk_list_decode(list, &row->chunks, err);
    } else if (rc == SQLITE_DONE) {
        st = tl_fail(err, TL_NOT_FOUND, "%s %s is not stored", key->symbol.text, key->spec);
    } else {
        st = tl_db_fail(db, rc, err, "reading a series");
    }
    sqlite3_reset(s);
    return st;
}

enum tl_status tl_store_series_head(struct tl_store_reader *r, const struct tl_series_key *key, struct tl_series *out,
                                    struct tl_err *err)
{
    struct tl_series_row row;
    enum tl_status st = tl_series_row_read(&r->db, key, &row, err);
    if (st == TL_OK) *out = row.series;
    tl_chunk_list_release(&row.chunks);
    return st;
}

static enum tl_status read_rows(struct tl_store_reader *r, const struct tl_series_key *key, struct tl_series_row *row,
                                struct tl_err *err)
{
    struct tl_series *s = &row->series;
    size_t total = 0, at = 0;
    for (size_t i = 0; i < row->chunks.n; i++) total += row->chunks.v[i].rows;
    if (total != s->n || s->columns == 0 || s->columns > TL_OUTPUTS_MAX)
        return tl_fail(err, TL_CORRUPT, "%s %s: chunks of %zu rows where the head says %zu x %u", key->symbol.text,
                       key->spec, total, s->n, s->columns);
    s->rows = tl_calloc(total, s->columns * sizeof *s->rows);
    if (!s->rows) return tl_fail(err, TL_NOMEM, "no memory for %zu rows", total);
    for (size_t i = 0; i < row->chunks.n; i++) {
        struct tl_str bytes;
        struct tl_err detail;
        size_t n = 0;
        enum tl_status st = tl_chunk_get(&r->db, row->chunks.v[i].id, &bytes, &detail);
        if (st == TL_OK) st = tl_codec_get_rows(bytes, s->rows + at * s->columns, total - at, s->columns, &n, &detail);
        if (st == TL_OK && n != row->chunks.v[i].rows)
            st = tl_fail(&detail, TL_CORRUPT, "%zu rows where the head says %u", n, (unsigned)row->chunks.v[i].rows);
        if (st != TL_OK)
            return tl_fail(err, st, "%s %s, chunk %lld: %s", key->symbol.text, key->spec,
                           (long long)row->chunks.v[i].id, detail.text);
        at += n;
    }
    return TL_OK;
}

enum tl_status tl_store_series_read(struct tl_store_reader *r, const struct tl_series_key *key, struct tl_series *out,
                                    struct tl_err *err)
{
    struct tl_series_row row;
    enum tl_status st = own_begin(r, err);
    if (st != TL_OK) return st;
    st = tl_series_row_read(&r->db, key, &row, err);
    if (st == TL_OK) st = read_rows(r, key, &row, err);
    own_end(r);
    if (st == TL_OK)
        *out = row.series;
    else
        tl_series_release(&row.series);
    tl_chunk_list_release(&row.chunks);
    return st;
}
