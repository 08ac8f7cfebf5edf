/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks and the lists by which heads refer to them. A chunk is never changed: a new one takes its place in a list, and
 * the old one is deleted. */
#include "store/sqlite.h"

#include "base/err.h"
#include "base/util.h"

#include <endian.h>

enum { REF_BYTES = 20 };

void tl_chunk_list_release(struct tl_chunk_list *l)
{
    free(l->v);
    *l = (struct tl_chunk_list){0};
}

enum tl_status tl_chunk_list_push(struct tl_chunk_list *l, struct tl_chunk_ref ref)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4;
        struct tl_chunk_ref *v = tl_realloc(l->v, cap, sizeof *v);
        if (!v) return TL_NOMEM;
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = ref;
    return TL_OK;
}

void tl_chunk_list_encode(const struct tl_chunk_list *l, struct tl_buf *out)
{
    for (size_t i = 0; i < l->n; i++) {
        char bytes[REF_BYTES];
        uint64_t id = htole64((uint64_t)l->v[i].id), ts = htole64((uint64_t)l->v[i].first_ts);
        uint32_t rows = htole32(l->v[i].rows);
        memcpy(bytes, &id, 8);
        memcpy(bytes + 8, &ts, 8);
        memcpy(bytes + 16, &rows, 4);
        tl_buf_put(out, bytes, sizeof bytes);
    }
}

enum tl_status tl_chunk_list_decode(struct tl_str bytes, struct tl_chunk_list *out, struct tl_err *err)
{
    if (bytes.n % REF_BYTES) return tl_fail(err, TL_CORRUPT, "a chunk list of %zu bytes", bytes.n);
    for (size_t at = 0; at < bytes.n; at += REF_BYTES) {
        uint64_t id, ts;
        uint32_t rows;
        memcpy(&id, bytes.p + at, 8);
        memcpy(&ts, bytes.p + at + 8, 8);
        memcpy(&rows, bytes.p + at + 16, 4);
        struct tl_chunk_ref ref = {(int64_t)le64toh(id), (int64_t)le64toh(ts), le32toh(rows)};
        if (ref.rows == 0 || ref.rows > TL_CHUNK_ROWS)
            return tl_fail(err, TL_CORRUPT, "a chunk of %u rows", (unsigned)ref.rows);
        if (tl_chunk_list_push(out, ref) != TL_OK) return tl_fail(err, TL_NOMEM, "no memory for a chunk list");
    }
    return TL_OK;
}

enum tl_status tl_chunk_put(struct tl_db *db, struct tl_str bytes, int64_t *id, struct tl_err *err)
{
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_CHUNK_PUT, err);
    if (!s) return TL_IO;
    sqlite3_bind_blob64(s, 1, bytes.p, bytes.n, SQLITE_STATIC);
    enum tl_status st = tl_db_run(db, s, err, "writing a chunk");
    if (st == TL_OK) *id = sqlite3_last_insert_rowid(db->handle);
    sqlite3_clear_bindings(s);
    return st;
}

enum tl_status tl_chunk_get(struct tl_db *db, int64_t id, struct tl_str *bytes, struct tl_err *err)
{
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_CHUNK_GET, err);
    if (!s) return TL_IO;
    sqlite3_bind_int64(s, 1, id);
    int rc = sqlite3_step(s);
    if (rc == SQLITE_DONE) return tl_fail(err, TL_CORRUPT, "chunk %lld is missing", (long long)id);
    if (rc != SQLITE_ROW) return tl_db_fail(db, rc, err, "reading a chunk");
    bytes->p = sqlite3_column_blob(s, 0);
    bytes->n = (size_t)sqlite3_column_bytes(s, 0);
    return TL_OK;
}
