/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the SQLite store. Owners: the writer thread owns `writer` (the one connection that writes) and runs
 * every op; a reader belongs to one thread; `lock` guards the queue and the counters. */
#ifndef TL_STORE_SQLITE_H
#define TL_STORE_SQLITE_H

#include "base/buf.h"
#include "series/codec.h"
#include "store/store.h"

#include <pthread.h>
#include <sqlite3.h>

enum { TL_SCHEMA_VERSION = 2, TL_APPLICATION_ID = 0x544C494E, TL_TRANSACTION_MS = 100 };

/* One piece of writing. run is called on the writer thread inside a transaction and inside a savepoint of its own: when
 * it fails, only what it did is undone. ended is called once, after the commit (status OK) or the failure. */
struct tl_op {
    enum tl_status (*run)(struct tl_op *, struct tl_store *, struct tl_err *err);
    void (*ended)(struct tl_op *);
    void *ctx;
    size_t bytes;
    enum tl_status status;
    struct tl_err err;
    struct tl_op *next;
};

/* Prepared statements of a connection, by their fixed number. */
enum tl_sql {
    TL_SQL_BARS_HEAD,
    TL_SQL_BARS_UPSERT,
    TL_SQL_BARS_ALL,
    TL_SQL_CHUNK_GET,
    TL_SQL_CHUNK_PUT,
    TL_SQL_CHUNK_DELETE,
    TL_SQL_SERIES_HEAD,
    TL_SQL_SERIES_UPSERT,
    TL_SQL_FACTORS_GET,
    TL_SQL_FACTORS_UPSERT,
    TL_SQL_CALENDAR_GET,
    TL_SQL_CALENDAR_PUT,
    TL_SQL_IMPORT_PUT,
    TL_SQL_IMPORT_ALL,
    TL_SQL_IMPORT_DELETE,
    TL_SQL_STAGED_PUT,
    TL_SQL_STAGED_SOME,
    TL_SQL_STAGED_DELETE,
    TL_SQL_LOG_PUT,
    TL_SQL_LOG_PRUNE,
    TL_SQL_ENTRY_GET,
    TL_SQL_ENTRY_ORDER,
    TL_SQL_ENTRY_PUT,
    TL_SQL_ENTRY_DELETE,
    TL_SQL_ENTRY_EXPIRE,
    TL_SQL_NOTICE_PUT,
    TL_SQL_NOTICE_PRUNE,
    TL_SQL_NOTICE_RANGE,
    TL_SQL_NOTICE_SOME,
    TL_SQL_GENERATION_GET,
    TL_SQL_GENERATION_PUT,
    TL_SQL_GENERATION_COUNT,
    TL_SQL_GENERATION_MIDDLE,
    TL_SQL_GENERATION_PRUNE,
    TL_SQL_GENERATION_SOME,
    TL_SQL_CHANGE_RANGE,
    TL_SQL_CHANGE_SOME,
    TL_SQL_COUNTS,
    TL_SQL_DATA_VERSION,
    TL_SQL_META_GET,
    TL_SQL_META_PUT,
    TL_SQL_BEGIN_READ,
    TL_SQL_END_READ,
    TL_SQL_COUNT
};

struct tl_db {
    sqlite3 *handle;
    sqlite3_stmt *stmt[TL_SQL_COUNT];
    const char *path; /* [borrow: the store's] */
};

struct tl_store {
    char *path;
    char id[33];
    struct tl_store_options opt;
    struct tl_db writer;
    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t lock;
    pthread_cond_t more, room;
    struct tl_op *head, **tail;
    size_t queued_bytes;
    bool stopping;
    struct tl_store_stats stats;
};

struct tl_store_reader {
    struct tl_db db;
    bool in_snapshot;
};

/* ---- connection (sqlite_db.c) ---- */
/* Opens a connection with our pragmas; the file must be a Tierline store already. */
TL_MUSTCHECK enum tl_status tl_db_open(struct tl_db *, const char *path, bool read_only, uint32_t busy_ms,
                                       struct tl_err *err);
void tl_db_close(struct tl_db *);
/* The reset statement, NULL after filling err. */
sqlite3_stmt *tl_db_stmt(struct tl_db *, enum tl_sql, struct tl_err *err);
/* Statuses of a failed call: BUSY with the holder, FULL, CORRUPT, DENIED, NOMEM, else IO. what: "reading bars of X". */
enum tl_status tl_db_fail(const struct tl_db *, int rc, struct tl_err *err, const char *what);
TL_MUSTCHECK enum tl_status tl_db_exec(struct tl_db *, const char *sql, struct tl_err *err);
/* One step of a statement that returns no row. */
TL_MUSTCHECK enum tl_status tl_db_run(struct tl_db *, sqlite3_stmt *, struct tl_err *err, const char *what);

/* ---- opening (sqlite_schema.c) ---- */
/* Checks that path is a store or can become one, makes or migrates its schema, reads the id. */
TL_MUSTCHECK enum tl_status tl_schema_open(struct tl_store *, struct tl_err *err);
/* Next revision, never given out before: max(last + 1, now). Writer thread, in a transaction. */
TL_MUSTCHECK enum tl_status tl_schema_next_revision(struct tl_store *, int64_t *revision, struct tl_err *err);
/* Deletes some chunks that nobody refers to: replaced ones, and those staged by processes that are gone. *more says
 * whether there is still work. Writer thread, in a transaction. */
TL_MUSTCHECK enum tl_status tl_schema_sweep(struct tl_store *, bool *more, struct tl_err *err);
/* The same for one import: some of its staged chunks, and at last its row. */
TL_MUSTCHECK enum tl_status tl_schema_drop_import(struct tl_store *, int64_t import, bool *more, struct tl_err *err);
/* Notes a chunk as staged by an import (0: as replaced). Writer thread. */
TL_MUSTCHECK enum tl_status tl_staged_put(struct tl_db *, int64_t import, int64_t chunk, struct tl_err *err);
/* Text that names this process for as long as it lives: "<pid>:<start time>". */
void tl_process_name(char out[48]);

/* Sweeps until nothing is left (store.c). Not getting a turn for it is no failure: the next opening sweeps again. */
void tl_store_sweep(struct tl_store *);

/* ---- meta numbers (sqlite_schema.c) ---- */
/* 0 when the key is not there. */
TL_MUSTCHECK enum tl_status tl_meta_get_i64(struct tl_db *, const char *key, int64_t *out, struct tl_err *err);
/* Writer thread, in a transaction. */
TL_MUSTCHECK enum tl_status tl_meta_put_i64(struct tl_db *, const char *key, int64_t value, struct tl_err *err);

/* ---- writer thread (writer.c) ---- */
TL_MUSTCHECK enum tl_status tl_writer_start(struct tl_store *, struct tl_err *err);
void tl_writer_stop(struct tl_store *);
/* Blocks while the queue is over its bound. INVALID when the store is read-only. */
TL_MUSTCHECK enum tl_status tl_writer_submit(struct tl_store *, struct tl_op *, struct tl_err *err);
/* The same without blocking: BUSY while the queue is over its bound. */
TL_MUSTCHECK enum tl_status tl_writer_try_submit(struct tl_store *, struct tl_op *, struct tl_err *err);
/* Submits run with ctx and waits for its end. */
TL_MUSTCHECK enum tl_status tl_writer_do(struct tl_store *,
                                         enum tl_status (*run)(struct tl_op *, struct tl_store *, struct tl_err *),
                                         void *ctx, size_t bytes, struct tl_err *err);

/* ---- chunk lists: what a head row refers to ---- */
struct tl_chunk_ref {
    int64_t id;
    int64_t first_ts; /* of its first row; 0 for indicator series */
    uint32_t rows;
};
struct tl_chunk_list {
    size_t n, cap;
    struct tl_chunk_ref *v;
};
void tl_chunk_list_release(struct tl_chunk_list *);
TL_MUSTCHECK enum tl_status tl_chunk_list_push(struct tl_chunk_list *, struct tl_chunk_ref);
/* 20 bytes a reference, little-endian. */
void tl_chunk_list_encode(const struct tl_chunk_list *, struct tl_buf *out);
TL_MUSTCHECK enum tl_status tl_chunk_list_decode(struct tl_str bytes, struct tl_chunk_list *out, struct tl_err *err);
/* Inserts a chunk; its id. Writer thread. */
TL_MUSTCHECK enum tl_status tl_chunk_put(struct tl_db *, struct tl_str bytes, int64_t *id, struct tl_err *err);
/* Bytes of a chunk, NULL-terminated nothing; valid until the next use of the statement. */
TL_MUSTCHECK enum tl_status tl_chunk_get(struct tl_db *, int64_t id, struct tl_str *bytes, struct tl_err *err);

/* ---- heads (sqlite_read.c) ---- */
struct tl_bars_row {
    struct tl_bars_head head;
    int64_t stamp; /* raised by every change of the row; 0: the row is not there */
    struct tl_chunk_list chunks;
};
/* NOT_FOUND leaves *row empty. */
TL_MUSTCHECK enum tl_status tl_bars_row_read(struct tl_db *, const struct tl_symbol *, enum tl_freq,
                                             struct tl_bars_row *, struct tl_err *err);
/* Appends the rows of chunk references [from, to) to out. */
TL_MUSTCHECK enum tl_status tl_bars_chunks_read(struct tl_db *, const struct tl_symbol *, const struct tl_chunk_list *,
                                                size_t from, size_t to, struct tl_bars *out, struct tl_err *err);
struct tl_series_row {
    struct tl_series series; /* without rows */
    struct tl_chunk_list chunks;
};
TL_MUSTCHECK enum tl_status tl_series_row_read(struct tl_db *, const struct tl_series_key *, struct tl_series_row *,
                                               struct tl_err *err);
TL_MUSTCHECK enum tl_status tl_factors_row_read(struct tl_db *, const struct tl_symbol *, struct tl_factors *,
                                                struct tl_err *err);
void tl_factors_encode(const struct tl_factors *, struct tl_buf *out);
void tl_bind_symbol(sqlite3_stmt *, int at, const struct tl_symbol *);

#endif
