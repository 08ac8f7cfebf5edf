/* SPDX-License-Identifier: Apache-2.0 */
/* Writing indicator series. Workers encode (prepare), the writer thread decides under the transaction whether the new
 * series may replace the stored one, inserts chunks and swings the head. */
#include "store/sqlite.h"

#include "base/err.h"
#include "base/util.h"

/* An item's chunks, encoded: chunk i is bytes [end[i-1], end[i]) of data. */
struct encoded {
    struct tl_buf data;
    size_t n;
    size_t *end;
};

static void encoded_free(struct encoded *e)
{
    if (!e) return;
    tl_buf_release(&e->data);
    free(e->end);
    free(e);
}

static struct encoded *encode(const struct tl_series *s)
{
    struct encoded *e = tl_calloc(1, sizeof *e);
    if (!e) return NULL;
    tl_buf_init(&e->data, 0);
    e->n = (s->n + TL_CHUNK_ROWS - 1) / TL_CHUNK_ROWS;
    e->end = tl_calloc(e->n, sizeof *e->end);
    if (!e->end) {
        encoded_free(e);
        return NULL;
    }
    (void)tl_buf_reserve(&e->data, s->n * s->columns * 8 + e->n * 128);
    for (size_t i = 0; i < e->n; i++) {
        size_t from = i * TL_CHUNK_ROWS, n = TL_MIN((size_t)TL_CHUNK_ROWS, s->n - from);
        tl_codec_put_rows(&e->data, s->rows + from * s->columns, n, s->columns);
        e->end[i] = e->data.n;
    }
    if (e->data.failed) {
        encoded_free(e);
        return NULL;
    }
    return e;
}

static void free_encoded(struct tl_store_put *put)
{
    for (size_t i = 0; i < put->count; i++) {
        encoded_free(put->items[i].encoded);
        put->items[i].encoded = NULL;
    }
}

enum tl_status tl_store_put_prepare(struct tl_store_put *put, struct tl_err *err)
{
    put->bytes = sizeof *put;
    for (size_t i = 0; i < put->count; i++) put->items[i].encoded = NULL;
    for (size_t i = 0; i < put->count; i++) {
        struct tl_store_put_item *item = &put->items[i];
        item->superseded = false;
        if (item->series.n == 0 || item->series.columns == 0 || item->series.columns > TL_OUTPUTS_MAX) {
            free_encoded(put);
            return tl_fail(err, TL_INVALID, "%s %s: a series of %zu rows x %u columns cannot be stored",
                           put->key.symbol.text, item->spec, item->series.n, item->series.columns);
        }
        struct encoded *e = encode(&item->series);
        if (!e) {
            free_encoded(put);
            return tl_fail(err, TL_NOMEM, "%s %s: no memory for %zu rows", put->key.symbol.text, item->spec,
                           item->series.n);
        }
        item->encoded = e;
        item->series.rows = NULL; /* was borrowed until now */
        put->bytes += e->data.n;
    }
    return TL_OK;
}

/* Higher wins: version, then kernel, then token. */
static int compare(const struct tl_series *a, const struct tl_series *b)
{
    int c = tl_version_cmp(a->version, b->version);
    if (c) return c;
    if (a->kernel_version != b->kernel_version) return a->kernel_version < b->kernel_version ? -1 : 1;
    return a->token < b->token ? -1 : a->token > b->token;
}

/* How many of the stored chunks stay: those before the one that holds the last stored row, which may differ. */
static size_t chunks_that_stay(const struct tl_series_row *old, const struct tl_series *new)
{
    const struct tl_series *o = &old->series;
    if (o->n == 0 || o->version.revision != new->version.revision || o->version.bars >= new->version.bars ||
        o->kernel_version != new->kernel_version || o->columns != new->columns || o->first_bar != new->first_bar ||
        o->n > new->n)
        return 0;
    return TL_MIN((o->n - 1) / TL_CHUNK_ROWS, old->chunks.n);
}

static enum tl_status write_head(struct tl_db *db, const struct tl_series_key *key, const struct tl_series *s,
                                 const struct tl_chunk_list *chunks, struct tl_err *err)
{
    struct tl_buf list;
    tl_buf_init(&list, 0);
    tl_chunk_list_encode(chunks, &list);
    enum tl_status st = tl_buf_status(&list, err);
    sqlite3_stmt *q = st == TL_OK ? tl_db_stmt(db, TL_SQL_SERIES_UPSERT, err) : NULL;
    if (q) {
        const int64_t numbers[] = {s->version.revision, s->version.bars,       s->version.last_ts,
                                   s->kernel_version,   (int64_t)s->token,     s->computed_ms,
                                   s->columns,          (int64_t)s->first_bar, (int64_t)s->n};
        tl_bind_symbol(q, 1, &key->symbol);
        sqlite3_bind_int(q, 2, (int)key->freq);
        sqlite3_bind_int(q, 3, (int)key->adjust);
        sqlite3_bind_text(q, 4, key->spec, -1, SQLITE_STATIC);
        for (size_t i = 0; i < TL_COUNT(numbers); i++) sqlite3_bind_int64(q, 5 + (int)i, numbers[i]);
        sqlite3_bind_blob64(q, 14, list.p, list.n, SQLITE_STATIC);
        st = tl_db_run(db, q, err, "writing a series");
    } else if (st == TL_OK) {
        st = TL_IO;
    }
    tl_buf_release(&list);
    return st;
}

static enum tl_status delete_chunks(struct tl_db *db, const struct tl_chunk_list *l, size_t from, struct tl_err *err)
{
    enum tl_status st = TL_OK;
    for (size_t i = from; st == TL_OK && i < l->n; i++) {
        sqlite3_stmt *q = tl_db_stmt(db, TL_SQL_CHUNK_DELETE, err);
        if (!q) return TL_IO;
        sqlite3_bind_int64(q, 1, l->v[i].id);
        st = tl_db_run(db, q, err, "deleting a chunk");
    }
    return st;
}

struct written {
    uint64_t chunks, bytes;
};

static enum tl_status write_item(struct tl_db *db, const struct tl_series_key *key, struct tl_store_put_item *item,
                                 struct written *w, struct tl_err *err)
{
    struct tl_series_row old;
    struct tl_chunk_list chunks = {0};
    const struct encoded *e = item->encoded;
    enum tl_status st = tl_series_row_read(db, key, &old, err);
    if (st == TL_NOT_FOUND) st = TL_OK;
    item->superseded = st == TL_OK && old.series.n > 0 && compare(&item->series, &old.series) < 0;
    if (st == TL_OK && !item->superseded) {
        size_t stay = chunks_that_stay(&old, &item->series);
        for (size_t i = 0; st == TL_OK && i < e->n; i++) {
            struct tl_chunk_ref ref = {.rows =
                                           (uint32_t)TL_MIN((size_t)TL_CHUNK_ROWS, item->series.n - i * TL_CHUNK_ROWS)};
            size_t from = i ? e->end[i - 1] : 0;
            if (i < stay) {
                ref = old.chunks.v[i];
            } else {
                st = tl_chunk_put(db, (struct tl_str){e->data.p + from, e->end[i] - from}, &ref.id, err);
                w->chunks++;
                w->bytes += e->end[i] - from;
            }
            if (st == TL_OK && tl_chunk_list_push(&chunks, ref) != TL_OK)
                st = tl_fail(err, TL_NOMEM, "no memory for a chunk list");
        }
        if (st == TL_OK) st = write_head(db, key, &item->series, &chunks, err);
        if (st == TL_OK) st = delete_chunks(db, &old.chunks, stay, err);
    }
    tl_chunk_list_release(&chunks);
    tl_chunk_list_release(&old.chunks);
    return st;
}

static enum tl_status run_put(struct tl_op *op, struct tl_store *store, struct tl_err *err)
{
    struct tl_store_put *put = op->ctx;
    struct written w = {0};
    uint64_t superseded = 0;
    enum tl_status st = TL_OK;
    for (size_t i = 0; st == TL_OK && i < put->count; i++) {
        struct tl_series_key key = put->key;
        memcpy(key.spec, put->items[i].spec, sizeof key.spec);
        st = write_item(&store->writer, &key, &put->items[i], &w, err);
        superseded += put->items[i].superseded;
    }
    if (st != TL_OK) return st;
    pthread_mutex_lock(&store->lock);
    store->stats.series_written += put->count - superseded;
    store->stats.series_superseded += superseded;
    store->stats.chunks_written += w.chunks;
    store->stats.bytes_written += w.bytes;
    pthread_mutex_unlock(&store->lock);
    return TL_OK;
}

static void end_put(struct tl_op *op)
{
    struct tl_store_put *put = op->ctx;
    free_encoded(put);
    put->status = op->status;
    if (op->status != TL_OK) put->err = op->err;
    free(op);
    put->cb(put);
}

enum tl_status tl_store_submit(struct tl_store *store, struct tl_store_put *put, struct tl_err *err)
{
    struct tl_op *op = tl_calloc(1, sizeof *op);
    enum tl_status st = op ? TL_OK : tl_fail(err, TL_NOMEM, "no memory for a write");
    if (st == TL_OK) {
        *op = (struct tl_op){.run = run_put, .ended = end_put, .ctx = put, .bytes = put->bytes};
        st = tl_writer_submit(store, op, err);
    }
    if (st != TL_OK) {
        free_encoded(put);
        free(op);
    }
    return st;
}

enum tl_status tl_store_write(struct tl_store *store, struct tl_store_put *put, struct tl_err *err)
{
    enum tl_status st = tl_store_put_prepare(put, err);
    if (st != TL_OK) return st;
    st = tl_writer_do(store, run_put, put, put->bytes, err);
    free_encoded(put);
    return st;
}
