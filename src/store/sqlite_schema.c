/* SPDX-License-Identifier: Apache-2.0 */
/* Making, checking and migrating a store's schema, its identity and revisions, and the sweeping of chunks that nobody
 * refers to. A file that is not a store is never written to. Migrations are a list: the schema of version n is made by
 * steps 1..n. */
#include "store/sqlite.h"

#include "base/err.h"
#include "base/util.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const migrations[TL_SCHEMA_VERSION] = {
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE chunk(id INTEGER PRIMARY KEY, data BLOB NOT NULL);"
    "CREATE TABLE bars(symbol TEXT NOT NULL, freq INTEGER NOT NULL, revision INTEGER NOT NULL, bars INTEGER NOT NULL,"
    " last_ts INTEGER NOT NULL, first_ts INTEGER NOT NULL, provisional INTEGER NOT NULL,"
    " forward_revision INTEGER NOT NULL, backward_revision INTEGER NOT NULL, zone TEXT NOT NULL, stamp INTEGER NOT "
    "NULL,"
    " chunks BLOB NOT NULL, PRIMARY KEY(symbol, freq)) WITHOUT ROWID;"
    "CREATE TABLE series(symbol TEXT NOT NULL, freq INTEGER NOT NULL, adjust INTEGER NOT NULL, spec TEXT NOT NULL,"
    " revision INTEGER NOT NULL, bars INTEGER NOT NULL, last_ts INTEGER NOT NULL, kernel INTEGER NOT NULL,"
    " token INTEGER NOT NULL, computed_ms INTEGER NOT NULL, columns INTEGER NOT NULL, first_bar INTEGER NOT NULL,"
    " n INTEGER NOT NULL, chunks BLOB NOT NULL, PRIMARY KEY(symbol, freq, adjust, spec)) WITHOUT ROWID;"
    "CREATE TABLE factors(symbol TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE calendar(name TEXT NOT NULL, day_ms INTEGER NOT NULL, PRIMARY KEY(name, day_ms)) WITHOUT ROWID;"
    /* Import 0 stands for chunks that were replaced. */
    "CREATE TABLE import(id INTEGER PRIMARY KEY AUTOINCREMENT, process TEXT NOT NULL);"
    "CREATE TABLE staged(import INTEGER NOT NULL, chunk INTEGER NOT NULL, PRIMARY KEY(import, chunk)) WITHOUT ROWID;"
    "CREATE TABLE change_log(seq INTEGER PRIMARY KEY AUTOINCREMENT, symbol TEXT NOT NULL, freq INTEGER NOT NULL,"
    " revision INTEGER NOT NULL, bars INTEGER NOT NULL, last_ts INTEGER NOT NULL, forward_revision INTEGER NOT NULL,"
    " backward_revision INTEGER NOT NULL)",
    /* data: the entry as it is on the wire; ord: 32 bytes of it by which entries of one key are ordered. */
    "CREATE TABLE entry(key TEXT NOT NULL UNIQUE, data_type TEXT NOT NULL, symbol TEXT NOT NULL, timeframe TEXT NOT "
    "NULL,"
    " ord BLOB NOT NULL, expires_ms INTEGER NOT NULL, data BLOB NOT NULL);"
    "CREATE INDEX entry_expires ON entry(expires_ms);"
    "CREATE TABLE notice(seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, ord BLOB NOT NULL);"
    "CREATE TABLE generation(scope TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX generation_order ON generation(generation)",
};

static enum tl_status pragma_i64(struct tl_db *db, const char *text, int64_t *out, struct tl_err *err)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db->handle, text, -1, &s, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) *out = sqlite3_column_int64(s, 0);
    enum tl_status st = rc == SQLITE_ROW ? TL_OK : tl_db_fail(db, rc, err, "opening the store");
    sqlite3_finalize(s);
    return st;
}

/* *version: 0 for an empty database that may become a store. All three numbers are of one moment: another process may
 * be making the store just now. */
static enum tl_status check_owner(struct tl_db *db, int64_t *version, struct tl_err *err)
{
    int64_t application = 0, objects = 0;
    bool alone = sqlite3_get_autocommit(db->handle);
    enum tl_status st = alone ? tl_db_exec(db, "BEGIN", err) : TL_OK;
    if (st == TL_OK) st = pragma_i64(db, "SELECT count(*) FROM sqlite_schema", &objects, err);
    if (st == TL_OK) st = pragma_i64(db, "PRAGMA application_id", &application, err);
    if (st == TL_OK) st = pragma_i64(db, "PRAGMA user_version", version, err);
    if (alone && !sqlite3_get_autocommit(db->handle)) sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    if (st != TL_OK) return st;
    if (application == 0 && objects == 0 && *version == 0) return TL_OK;
    if (application != TL_APPLICATION_ID)
        return tl_fail(err, TL_CORRUPT, "%s is not a Tierline store: it is a database of another program", db->path);
    if (*version > TL_SCHEMA_VERSION)
        return tl_fail(err, TL_TOO_NEW, "%s has schema %lld, this program knows up to %d: use a newer tierline",
                       db->path, (long long)*version, TL_SCHEMA_VERSION);
    return TL_OK;
}

static enum tl_status random_id(char out[33], struct tl_err *err)
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return tl_fail_errno(err, errno, "no random numbers");
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return TL_OK;
}

static enum tl_status migrate(struct tl_db *db, struct tl_err *err)
{
    /* Another process may have done it while this one waited for its turn. */
    int64_t version = 0;
    enum tl_status st = check_owner(db, &version, err);
    for (int64_t v = version; st == TL_OK && v < TL_SCHEMA_VERSION; v++) st = tl_db_exec(db, migrations[v], err);
    if (st != TL_OK || version == TL_SCHEMA_VERSION) return st;
    char text[128];
    snprintf(text, sizeof text, "PRAGMA application_id = %d; PRAGMA user_version = %d", TL_APPLICATION_ID,
             TL_SCHEMA_VERSION);
    st = tl_db_exec(db, text, err);
    if (st != TL_OK || version > 0) return st;
    char id[33] = "";
    st = random_id(id, err);
    sqlite3_stmt *s = st == TL_OK ? tl_db_stmt(db, TL_SQL_META_PUT, err) : NULL;
    if (!s) return st == TL_OK ? TL_IO : st;
    sqlite3_bind_text(s, 1, "store_id", -1, SQLITE_STATIC);
    sqlite3_bind_text(s, 2, id, -1, SQLITE_STATIC);
    return tl_db_run(db, s, err, "making the store");
}

static enum tl_status make_schema(struct tl_db *db, int64_t version, struct tl_err *err)
{
    enum tl_status st = TL_OK;
    if (version == 0) st = tl_db_exec(db, "PRAGMA page_size = 16384", err);
    if (st == TL_OK)
        st = tl_db_exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4000",
                        err);
    if (st != TL_OK || version == TL_SCHEMA_VERSION) return st;
    st = tl_db_exec(db, "BEGIN IMMEDIATE", err);
    if (st != TL_OK) return st;
    st = migrate(db, err);
    if (st == TL_OK) st = tl_db_exec(db, "COMMIT", err);
    if (st != TL_OK) sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    return st;
}

static enum tl_status read_id(struct tl_db *db, char out[33], struct tl_err *err)
{
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_META_GET, err);
    if (!s) return TL_IO;
    sqlite3_bind_text(s, 1, "store_id", -1, SQLITE_STATIC);
    int rc = sqlite3_step(s);
    enum tl_status st = rc == SQLITE_ROW    ? TL_OK
                        : rc == SQLITE_DONE ? tl_fail(err, TL_CORRUPT, "%s has no store id", db->path)
                                            : tl_db_fail(db, rc, err, "opening the store");
    if (st == TL_OK) snprintf(out, 33, "%s", (const char *)sqlite3_column_text(s, 0));
    sqlite3_reset(s);
    return st;
}

static enum tl_status check_path(struct tl_store *store, struct tl_err *err)
{
    struct stat st;
    if (stat(store->path, &st) == 0) {
        if (S_ISDIR(st.st_mode)) return tl_fail(err, TL_INVALID, "%s is a directory, not a store", store->path);
        if (access(store->path, store->opt.read_only ? R_OK : R_OK | W_OK) != 0)
            return tl_fail_errno(err, errno, "cannot open the store %s", store->path);
        return TL_OK;
    }
    if (errno != ENOENT) return tl_fail_errno(err, errno, "cannot open the store %s", store->path);
    if (store->opt.read_only)
        return tl_fail(err, TL_NOT_FOUND, "there is no store %s: `tierline import` makes one", store->path);
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", store->path);
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder) return TL_OK;
    *slash = '\0';
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return tl_fail_errno(err, errno, "cannot make the folder %s of the store", folder);
    return TL_OK;
}

static enum tl_status check_and_make(struct tl_store *store, struct tl_err *err)
{
    int64_t version = 0;
    enum tl_status st = check_owner(&store->writer, &version, err);
    if (st == TL_OK && version == 0 && store->opt.read_only)
        return tl_fail(err, TL_CORRUPT, "%s is empty, not a store", store->path);
    if (st == TL_OK && version < TL_SCHEMA_VERSION && store->opt.read_only)
        return tl_fail(err, TL_UNSUPPORTED,
                       "%s has schema %lld, this program reads %d: run a command that writes once "
                       "(tierline calc), it brings the store up to date",
                       store->path, (long long)version, TL_SCHEMA_VERSION);
    if (st == TL_OK && !store->opt.read_only) st = make_schema(&store->writer, version, err);
    return st;
}

enum tl_status tl_schema_open(struct tl_store *store, struct tl_err *err)
{
    enum tl_status st = check_path(store, err);
    if (st == TL_OK) st = tl_db_open(&store->writer, store->path, store->opt.read_only, store->opt.busy_ms, err);
    if (st != TL_OK) return st;
    /* SQLite does not wait for its turn when several processes switch a new file to WAL, so the waiting is done here.
     */
    uint64_t deadline = tl_clock_mono_ns(&tl_clock_system) + store->opt.busy_ms * UINT64_C(1000000);
    useconds_t pause_us = 1000;
    while ((st = check_and_make(store, err)) == TL_BUSY && tl_clock_mono_ns(&tl_clock_system) < deadline) {
        usleep(pause_us);
        pause_us = TL_MIN(pause_us * 2, (useconds_t)50000);
    }
    if (st == TL_OK) st = read_id(&store->writer, store->id, err);
    if (st != TL_OK) tl_db_close(&store->writer);
    return st;
}

enum tl_status tl_meta_get_i64(struct tl_db *db, const char *key, int64_t *out, struct tl_err *err)
{
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_META_GET, err);
    if (!s) return TL_IO;
    sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
    int rc = sqlite3_step(s);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    enum tl_status st = rc == SQLITE_ROW || rc == SQLITE_DONE ? TL_OK : tl_db_fail(db, rc, err, "reading a counter");
    sqlite3_reset(s);
    return st;
}

enum tl_status tl_meta_put_i64(struct tl_db *db, const char *key, int64_t value, struct tl_err *err)
{
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_META_PUT, err);
    if (!s) return TL_IO;
    sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, value);
    return tl_db_run(db, s, err, "writing a counter");
}

enum tl_status tl_schema_next_revision(struct tl_store *store, int64_t *revision, struct tl_err *err)
{
    int64_t last = 0;
    enum tl_status st = tl_meta_get_i64(&store->writer, "last_revision", &last, err);
    if (st != TL_OK) return st;
    *revision = TL_MAX(last + 1, tl_clock_wall_ms(store->opt.clock));
    return tl_meta_put_i64(&store->writer, "last_revision", *revision, err);
}

/* ---- sweeping ---- */

/* Field 22 of /proc/PID/stat: when the process began. The name in field 2 may hold anything, so count from its end. */
static unsigned long long process_start(int pid)
{
    char path[32], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    if (!f) return 0;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *p = strrchr(text, ')');
    unsigned long long start = 0;
    if (p) sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &start);
    return start;
}

void tl_process_name(char out[48])
{
    snprintf(out, 48, "%d:%llu", (int)getpid(), process_start((int)getpid()));
}

static bool process_lives(const char *name)
{
    int pid = 0;
    unsigned long long start = 0;
    if (sscanf(name, "%d:%llu", &pid, &start) != 2 || pid <= 0) return false;
    unsigned long long now = process_start(pid);
    return now != 0 && now == start;
}

/* Up to 256 chunks of one import; *n how many there were. */
static enum tl_status sweep_import(struct tl_db *db, int64_t import, size_t *n, struct tl_err *err)
{
    int64_t ids[256];
    *n = 0;
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_STAGED_SOME, err);
    if (!s) return TL_IO;
    sqlite3_bind_int64(s, 1, import);
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW && *n < TL_COUNT(ids)) ids[(*n)++] = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW) return tl_db_fail(db, rc, err, "sweeping");
    enum tl_status st = TL_OK;
    for (size_t i = 0; st == TL_OK && i < *n; i++) {
        s = tl_db_stmt(db, TL_SQL_CHUNK_DELETE, err);
        if (!s) return TL_IO;
        sqlite3_bind_int64(s, 1, ids[i]);
        st = tl_db_run(db, s, err, "sweeping");
        if (st != TL_OK) return st;
        s = tl_db_stmt(db, TL_SQL_STAGED_DELETE, err);
        if (!s) return TL_IO;
        sqlite3_bind_int64(s, 1, import);
        sqlite3_bind_int64(s, 2, ids[i]);
        st = tl_db_run(db, s, err, "sweeping");
    }
    return st;
}

/* An import whose process is gone; 0 when there is none. */
static enum tl_status dead_import(struct tl_db *db, int64_t *id, struct tl_err *err)
{
    *id = 0;
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_IMPORT_ALL, err);
    if (!s) return TL_IO;
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        const char *process = (const char *)sqlite3_column_text(s, 1);
        if (process && process_lives(process)) continue;
        *id = sqlite3_column_int64(s, 0);
        break;
    }
    sqlite3_reset(s);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? TL_OK : tl_db_fail(db, rc, err, "sweeping");
}

enum tl_status tl_staged_put(struct tl_db *db, int64_t import, int64_t chunk, struct tl_err *err)
{
    sqlite3_stmt *s = tl_db_stmt(db, TL_SQL_STAGED_PUT, err);
    if (!s) return TL_IO;
    sqlite3_bind_int64(s, 1, import);
    sqlite3_bind_int64(s, 2, chunk);
    return tl_db_run(db, s, err, "staging a chunk");
}

enum tl_status tl_schema_drop_import(struct tl_store *store, int64_t import, bool *more, struct tl_err *err)
{
    size_t n;
    enum tl_status st = sweep_import(&store->writer, import, &n, err);
    *more = n > 0;
    if (st != TL_OK || n > 0) return st;
    sqlite3_stmt *s = tl_db_stmt(&store->writer, TL_SQL_IMPORT_DELETE, err);
    if (!s) return TL_IO;
    sqlite3_bind_int64(s, 1, import);
    return tl_db_run(&store->writer, s, err, "dropping an import");
}

enum tl_status tl_schema_sweep(struct tl_store *store, bool *more, struct tl_err *err)
{
    size_t n;
    int64_t dead = 0;
    enum tl_status st = sweep_import(&store->writer, 0, &n, err);
    *more = n > 0;
    if (st != TL_OK || n > 0) return st;
    st = dead_import(&store->writer, &dead, err);
    if (st != TL_OK || dead == 0) return st;
    st = tl_schema_drop_import(store, dead, more, err);
    *more = true; /* there may be another one */
    return st;
}
