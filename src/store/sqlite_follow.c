/* SPDX-License-Identifier: Apache-2.0 */
/* Following what others commit: cheap to ask whether anything changed, then what, from a position on. A position that
 * lies before what was pruned is reported, never skipped over in silence. */
#include "store/sqlite.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

enum tl_status tl_store_data_version(struct tl_store_reader *r, int64_t *out, struct tl_err *err)
{
    sqlite3_stmt *s = tl_db_stmt(&r->db, TL_SQL_DATA_VERSION, err);
    if (!s) return err ? err->status : TL_IO;
    int rc = sqlite3_step(s);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    enum tl_status st = rc == SQLITE_ROW ? TL_OK : tl_db_fail(&r->db, rc, err, "following the store");
    sqlite3_reset(s);
    return st;
}

enum tl_status tl_store_generations(struct tl_store_reader *r, uint64_t since,
                                    bool (*cb)(void *ctx, struct tl_str scope, uint64_t generation), void *ctx,
                                    uint64_t *last, struct tl_err *err)
{
    int64_t newest = 0;
    bool own = !r->in_snapshot;
    enum tl_status st = own ? tl_store_snapshot_begin(r, err) : TL_OK;
    if (st != TL_OK) return st;
    st = tl_meta_get_i64(&r->db, "last_generation", &newest, err);
    sqlite3_stmt *s = st == TL_OK ? tl_db_stmt(&r->db, TL_SQL_GENERATION_SOME, err) : NULL;
    if (s) {
        sqlite3_bind_int64(s, 1, (int64_t)since);
        int rc;
        while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
            struct tl_str scope = {(const char *)sqlite3_column_text(s, 0), (size_t)sqlite3_column_bytes(s, 0)};
            if (!cb(ctx, scope, (uint64_t)sqlite3_column_int64(s, 1))) break;
        }
        if (rc != SQLITE_ROW && rc != SQLITE_DONE) st = tl_db_fail(&r->db, rc, err, "reading generations");
        sqlite3_reset(s);
    } else if (st == TL_OK) {
        st = TL_IO;
    }
    if (own) tl_store_snapshot_end(r);
    *last = (uint64_t)newest;
    return st;
}

/* Walks the rows of `some` behind *at. Before that: `range` tells the oldest row and the newest number ever given out.
 */
static enum tl_status walk(struct tl_store_reader *r, enum tl_sql range, enum tl_sql some, uint64_t *at,
                           bool (*row)(void *ctx, sqlite3_stmt *), void *ctx, struct tl_err *err)
{
    sqlite3_stmt *s = tl_db_stmt(&r->db, range, err);
    if (!s) return err ? err->status : TL_IO;
    int rc = sqlite3_step(s);
    int64_t oldest = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    int64_t newest = rc == SQLITE_ROW ? sqlite3_column_int64(s, 1) : 0;
    if (rc != SQLITE_ROW) {
        enum tl_status st = tl_db_fail(&r->db, rc, err, "following the store");
        sqlite3_reset(s);
        return st;
    }
    sqlite3_reset(s);
    uint64_t from = *at;
    if (from == TL_FOLLOW_FROM_NOW || (int64_t)from == newest) {
        *at = (uint64_t)TL_MAX(newest, INT64_C(0));
        return TL_OK;
    }
    if (from > (uint64_t)newest || (int64_t)from + 1 < oldest || (oldest == 0 && (int64_t)from < newest)) {
        *at = (uint64_t)newest;
        return tl_fail(err, TL_CONFLICT, "the store no longer has what followed %llu", (unsigned long long)from);
    }
    s = tl_db_stmt(&r->db, some, err);
    if (!s) return err ? err->status : TL_IO;
    sqlite3_bind_int64(s, 1, (int64_t)from);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        bool more = row(ctx, s);
        *at = (uint64_t)sqlite3_column_int64(s, 0);
        if (!more) break;
    }
    enum tl_status st =
        rc == SQLITE_ROW || rc == SQLITE_DONE ? TL_OK : tl_db_fail(&r->db, rc, err, "following the store");
    sqlite3_reset(s);
    return st;
}

static enum tl_status walk_in_snapshot(struct tl_store_reader *r, enum tl_sql range, enum tl_sql some, uint64_t *at,
                                       bool (*row)(void *ctx, sqlite3_stmt *), void *ctx, struct tl_err *err)
{
    bool own = !r->in_snapshot;
    enum tl_status st = own ? tl_store_snapshot_begin(r, err) : TL_OK;
    if (st != TL_OK) return st;
    st = walk(r, range, some, at, row, ctx, err);
    if (own) tl_store_snapshot_end(r);
    return st;
}

struct notices {
    bool (*cb)(void *ctx, struct tl_str key, const unsigned char order[TL_STORE_ORDER]);
    void *ctx;
};

static bool notice_row(void *ctx, sqlite3_stmt *s)
{
    const struct notices *n = ctx;
    struct tl_str key = {(const char *)sqlite3_column_text(s, 1), (size_t)sqlite3_column_bytes(s, 1)};
    const void *order = sqlite3_column_blob(s, 2);
    if (!order || sqlite3_column_bytes(s, 2) != TL_STORE_ORDER) return true;
    return n->cb(n->ctx, key, order);
}

enum tl_status tl_store_notices(struct tl_store_reader *r, uint64_t *at,
                                bool (*cb)(void *ctx, struct tl_str key, const unsigned char order[TL_STORE_ORDER]),
                                void *ctx, struct tl_err *err)
{
    struct notices n = {.cb = cb, .ctx = ctx};
    return walk_in_snapshot(r, TL_SQL_NOTICE_RANGE, TL_SQL_NOTICE_SOME, at, notice_row, &n, err);
}

struct changes {
    bool (*cb)(void *ctx, const struct tl_store_change *);
    void *ctx;
};

static bool change_row(void *ctx, sqlite3_stmt *s)
{
    const struct changes *c = ctx;
    struct tl_store_change change = {
        .freq = (enum tl_freq)sqlite3_column_int(s, 2),
        .head = {.raw = {sqlite3_column_int64(s, 3), sqlite3_column_int64(s, 4), sqlite3_column_int64(s, 5)},
                 .forward_revision = sqlite3_column_int64(s, 6),
                 .backward_revision = sqlite3_column_int64(s, 7)}};
    snprintf(change.symbol.text, sizeof change.symbol.text, "%s", (const char *)sqlite3_column_text(s, 1));
    return c->cb(c->ctx, &change);
}

enum tl_status tl_store_changes(struct tl_store_reader *r, uint64_t *at,
                                bool (*cb)(void *ctx, const struct tl_store_change *), void *ctx, struct tl_err *err)
{
    struct changes c = {.cb = cb, .ctx = ctx};
    return walk_in_snapshot(r, TL_SQL_CHANGE_RANGE, TL_SQL_CHANGE_SOME, at, change_row, &c, err);
}
