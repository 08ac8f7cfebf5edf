/* SPDX-License-Identifier: Apache-2.0 */
/* General cache entries and the generations of invalidations. The bytes are opaque here: what is compared is their
 * order alone, in the writer's transaction, so that of two writers the newer value stays whoever comes first. A batch
 * is one op: all of it or nothing. Replacing or removing leaves a notice for those who follow (sqlite_follow.c). */
#include "store/sqlite.h"

#include "base/err.h"
#include "base/util.h"

enum { PRUNE_EACH = 1000 };

/* ---- reading ---- */

enum tl_status tl_store_entry_read(struct tl_store_reader *r, struct tl_str key, int64_t now_ms, struct tl_buf *out,
                                   struct tl_err *err)
{
    sqlite3_stmt *s = tl_db_stmt(&r->db, TL_SQL_ENTRY_GET, err);
    if (!s) return err ? err->status : TL_IO;
    sqlite3_bind_text(s, 1, key.p, (int)key.n, SQLITE_STATIC);
    int rc = sqlite3_step(s);
    enum tl_status st = TL_OK;
    if (rc == SQLITE_DONE || (rc == SQLITE_ROW && sqlite3_column_int64(s, 0) <= now_ms)) {
        st = tl_fail(err, TL_NOT_FOUND, "%.*s is not in the store", TL_STR_ARG(key));
    } else if (rc == SQLITE_ROW) {
        const void *p = sqlite3_column_blob(s, 1);
        tl_buf_put(out, p ? p : "", (size_t)sqlite3_column_bytes(s, 1));
        st = tl_buf_status(out, err);
    } else {
        st = tl_db_fail(&r->db, rc, err, "reading an entry");
    }
    sqlite3_reset(s);
    return st;
}

enum tl_status tl_store_counts(struct tl_store_reader *r, struct tl_store_counts *out, struct tl_err *err)
{
    sqlite3_stmt *s = tl_db_stmt(&r->db, TL_SQL_COUNTS, err);
    if (!s) return err ? err->status : TL_IO;
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW)
        *out = (struct tl_store_counts){.entries = (uint64_t)sqlite3_column_int64(s, 0),
                                        .entry_bytes = (uint64_t)sqlite3_column_int64(s, 1),
                                        .series = (uint64_t)sqlite3_column_int64(s, 2),
                                        .symbols = (uint64_t)sqlite3_column_int64(s, 3),
                                        .generations = (uint64_t)sqlite3_column_int64(s, 4)};
    enum tl_status st = rc == SQLITE_ROW ? TL_OK : tl_db_fail(&r->db, rc, err, "counting entries");
    sqlite3_reset(s);
    return st;
}

/* ---- generations, in the writer's transaction ---- */

static enum tl_status generation_of(struct tl_db *db, struct tl_str scope, int64_t *out, struct tl_err *err)
{
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_GENERATION_GET, err);
    if (!s) return TL_IO;
    sqlite3_bind_text(s, 1, scope.p, (int)scope.n, SQLITE_STATIC);
    int rc = sqlite3_step(s);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    enum tl_status st = rc == SQLITE_ROW || rc == SQLITE_DONE ? TL_OK : tl_db_fail(db, rc, err, "reading a generation");
    sqlite3_reset(s);
    return st;
}

static enum tl_status set_generation(struct tl_db *db, struct tl_str scope, int64_t generation, struct tl_err *err)
{
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_GENERATION_PUT, err);
    if (!s) return TL_IO;
    sqlite3_bind_text(s, 1, scope.p, (int)scope.n, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, generation);
    return tl_db_run(db, s, err, "writing a generation");
}

static enum tl_status one_number(struct tl_db *db, enum tl_sql sql, int64_t arg, int64_t *out, struct tl_err *err)
{
    sqlite3_stmt *s = tl_db_stmt(db, sql, err);
    if (!s) return TL_IO;
    if (sqlite3_bind_parameter_count(s) > 0) sqlite3_bind_int64(s, 1, arg);
    int rc = sqlite3_step(s);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    enum tl_status st = rc == SQLITE_ROW || rc == SQLITE_DONE ? TL_OK : tl_db_fail(db, rc, err, "reading generations");
    sqlite3_reset(s);
    return st;
}

/* Too many scopes: the lower half goes, and everything that is as old as it counts as invalidated. Counting costs as
 * much as there are scopes, so it is done now and then. */
static enum tl_status prune_generations(struct tl_store *store, uint64_t generation, struct tl_err *err)
{
    struct tl_db *db = &store->writer;
    int64_t count = 0, middle = 0, all = 0;
    if (generation % TL_MIN(store->opt.generations_max / 8 + 1, (uint64_t)PRUNE_EACH) != 0) return TL_OK;
    enum tl_status st = one_number(db, TL_SQL_GENERATION_COUNT, 0, &count, err);
    if (st != TL_OK || (uint64_t)count <= store->opt.generations_max) return st;
    st = one_number(db, TL_SQL_GENERATION_MIDDLE, count / 2, &middle, err);
    if (st == TL_OK) st = generation_of(db, TL_STR("a"), &all, err);
    sqlite3_stmt *s = st == TL_OK ? tl_db_stmt(db, TL_SQL_GENERATION_PRUNE, err) : NULL;
    if (!s) return st == TL_OK ? TL_IO : st;
    sqlite3_bind_int64(s, 1, middle);
    st = tl_db_run(db, s, err, "pruning generations");
    return st == TL_OK && middle > all ? set_generation(db, TL_STR("a"), middle, err) : st;
}

static enum tl_status raise_scope(struct tl_store *store, struct tl_store_entries *b, struct tl_err *err)
{
    struct tl_db *db = &store->writer;
    int64_t last = 0, have = 0;
    enum tl_status st = tl_meta_get_i64(db, "last_generation", &last, err);
    if (st == TL_OK) st = generation_of(db, b->scope, &have, err);
    if (st != TL_OK) return st;
    int64_t at_least = (int64_t)b->at_least;
    int64_t next = b->exactly ? at_least : TL_MAX(last + 1, at_least);
    b->before = (uint64_t)last;
    b->generation = (uint64_t)TL_MAX(next, have);
    if (next > have) st = set_generation(db, b->scope, next, err);
    if (st == TL_OK && next > last) st = tl_meta_put_i64(db, "last_generation", next, err);
    return st == TL_OK ? prune_generations(store, b->generation, err) : st;
}

/* ---- writing entries ---- */

static enum tl_status notice(struct tl_store *store, const struct tl_store_entry *e, struct tl_err *err)
{
    struct tl_db *db = &store->writer;
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_NOTICE_PUT, err);
    if (!s) return TL_IO;
    sqlite3_bind_text(s, 1, e->key.p, (int)e->key.n, SQLITE_STATIC);
    sqlite3_bind_blob(s, 2, e->order, TL_STORE_ORDER, SQLITE_STATIC);
    enum tl_status st = tl_db_run(db, s, err, "writing a notice");
    if (st != TL_OK || sqlite3_last_insert_rowid(db->handle) % PRUNE_EACH != 0) return st;
    s = tl_db_stmt(db, TL_SQL_NOTICE_PRUNE, err);
    if (!s) return TL_IO;
    sqlite3_bind_int64(s, 1, (int64_t)store->opt.notices_max);
    return tl_db_run(db, s, err, "pruning notices");
}

/* *have: 0 nothing (or expired) is there, 1 an older one, 2 an equal one, 3 a newer one. */
static enum tl_status compare(struct tl_store *store, const struct tl_store_entry *e, int *have, struct tl_err *err)
{
    struct tl_db *db = &store->writer;
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_ENTRY_ORDER, err);
    if (!s) return TL_IO;
    sqlite3_bind_text(s, 1, e->key.p, (int)e->key.n, SQLITE_STATIC);
    int rc = sqlite3_step(s);
    *have = 0;
    if (rc == SQLITE_ROW && sqlite3_column_int64(s, 1) > tl_clock_wall_ms(store->opt.clock)) {
        const void *ord = sqlite3_column_blob(s, 0);
        int c = ord && sqlite3_column_bytes(s, 0) == TL_STORE_ORDER ? memcmp(ord, e->order, TL_STORE_ORDER) : -1;
        *have = c < 0 ? 1 : c == 0 ? 2 : 3;
    } else if (rc == SQLITE_ROW) {
        *have = 1;
    }
    enum tl_status st = rc == SQLITE_ROW || rc == SQLITE_DONE ? TL_OK : tl_db_fail(db, rc, err, "reading an entry");
    sqlite3_reset(s);
    return st;
}

static enum tl_status write_entry(struct tl_store *store, const struct tl_store_entry *e, struct tl_err *err)
{
    struct tl_db *db = &store->writer;
    size_t n = e->head.n + e->body.n;
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_ENTRY_PUT, err);
    if (!s) return TL_IO;
    char *both = malloc(n ? n : 1);
    if (!both) return tl_fail(err, TL_NOMEM, "no memory for an entry of %zu bytes", n);
    if (e->head.n) memcpy(both, e->head.p, e->head.n);
    if (e->body.n) memcpy(both + e->head.n, e->body.p, e->body.n);
    sqlite3_bind_text(s, 1, e->key.p, (int)e->key.n, SQLITE_STATIC);
    sqlite3_bind_text(s, 2, e->data_type.n ? e->data_type.p : "", (int)e->data_type.n, SQLITE_STATIC);
    sqlite3_bind_text(s, 3, e->symbol.n ? e->symbol.p : "", (int)e->symbol.n, SQLITE_STATIC);
    sqlite3_bind_text(s, 4, e->timeframe.n ? e->timeframe.p : "", (int)e->timeframe.n, SQLITE_STATIC);
    sqlite3_bind_blob(s, 5, e->order, TL_STORE_ORDER, SQLITE_STATIC);
    sqlite3_bind_int64(s, 6, e->expires_ms);
    sqlite3_bind_blob(s, 7, both, (int)n, free);
    enum tl_status st = tl_db_run(db, s, err, "writing an entry");
    sqlite3_clear_bindings(s); /* frees it */
    return st;
}

static enum tl_status remove_entry(struct tl_store *store, struct tl_str key, struct tl_err *err)
{
    sqlite3_stmt *s = tl_db_stmt(&store->writer, TL_SQL_ENTRY_DELETE, err);
    if (!s) return TL_IO;
    sqlite3_bind_text(s, 1, key.p, (int)key.n, SQLITE_STATIC);
    return tl_db_run(&store->writer, s, err, "removing an entry");
}

static enum tl_status run_item(struct tl_store *store, struct tl_store_entry *e, struct tl_err *err)
{
    int have;
    enum tl_status st = compare(store, e, &have, err);
    if (st != TL_OK) return st;
    e->superseded = e->remove ? have == 3 : have >= 2;
    if (e->superseded || (e->remove && have == 0)) return TL_OK;
    st = e->remove ? remove_entry(store, e->key, err) : write_entry(store, e, err);
    return st == TL_OK && have > 0 ? notice(store, e, err) : st;
}

static enum tl_status run_batch(struct tl_op *op, struct tl_store *store, struct tl_err *err)
{
    struct tl_store_entries *b = op->ctx;
    enum tl_status st = b->scope.n > 0 ? raise_scope(store, b, err) : TL_OK;
    for (size_t i = 0; st == TL_OK && i < b->count; i++) st = run_item(store, &b->items[i], err);
    return st;
}

static void batch_ended(struct tl_op *op)
{
    struct tl_store_entries *b = op->ctx;
    b->status = op->status;
    b->err = op->err;
    free(op);
    b->cb(b);
}

enum tl_status tl_store_entries_submit(struct tl_store *store, struct tl_store_entries *b, struct tl_err *err)
{
    size_t bytes = 256;
    for (size_t i = 0; i < b->count; i++) {
        TL_ASSERT(b->items[i].key.n > 0 && b->items[i].key.n <= TL_STORE_KEY_MAX);
        bytes += b->items[i].head.n + b->items[i].body.n + 512;
    }
    TL_ASSERT(b->scope.n <= TL_STORE_SCOPE_MAX);
    struct tl_op *op = tl_calloc(1, sizeof *op);
    if (!op) return tl_fail(err, TL_NOMEM, "no memory for a write");
    *op = (struct tl_op){.run = run_batch, .ended = batch_ended, .ctx = b, .bytes = bytes};
    enum tl_status st = tl_writer_try_submit(store, op, err);
    if (st != TL_OK) free(op);
    return st;
}

struct expire {
    int64_t now_ms;
    size_t max, n;
};

static enum tl_status run_expire(struct tl_op *op, struct tl_store *store, struct tl_err *err)
{
    struct expire *x = op->ctx;
    sqlite3_stmt *s = tl_db_stmt(&store->writer, TL_SQL_ENTRY_EXPIRE, err);
    if (!s) return TL_IO;
    sqlite3_bind_int64(s, 1, x->now_ms);
    sqlite3_bind_int64(s, 2, (int64_t)x->max);
    enum tl_status st = tl_db_run(&store->writer, s, err, "removing expired entries");
    x->n = st == TL_OK ? (size_t)sqlite3_changes(store->writer.handle) : 0;
    return st;
}

enum tl_status tl_store_entries_expire(struct tl_store *store, int64_t now_ms, size_t max, size_t *n,
                                       struct tl_err *err)
{
    struct expire x = {.now_ms = now_ms, .max = max};
    enum tl_status st = tl_writer_do(store, run_expire, &x, 0, err);
    *n = x.n;
    return st;
}
