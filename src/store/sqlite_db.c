/* SPDX-License-Identifier: Apache-2.0 */
/* A SQLite connection: pragmas, prepared statements, and the translation of its errors. The only place that knows
 * result codes. */
#include "store/sqlite.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const char *const sql[TL_SQL_COUNT] = {
    [TL_SQL_BARS_HEAD] =
        "SELECT revision, bars, last_ts, first_ts, provisional, forward_revision, backward_revision, zone, "
        "stamp, chunks FROM bars WHERE symbol = ? AND freq = ?",
    [TL_SQL_BARS_UPSERT] =
        "INSERT INTO bars(symbol, freq, revision, bars, last_ts, first_ts, provisional, forward_revision, "
        "backward_revision, zone, stamp, chunks) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT(symbol, freq) DO UPDATE SET revision = excluded.revision, bars = excluded.bars, "
        "last_ts = excluded.last_ts, first_ts = excluded.first_ts, provisional = excluded.provisional, "
        "forward_revision = excluded.forward_revision, backward_revision = excluded.backward_revision, "
        "zone = excluded.zone, stamp = excluded.stamp, chunks = excluded.chunks",
    [TL_SQL_BARS_ALL] =
        "SELECT revision, bars, last_ts, first_ts, provisional, forward_revision, backward_revision, zone, "
        "stamp, NULL, symbol, freq FROM bars ORDER BY symbol, freq",
    [TL_SQL_CHUNK_GET] = "SELECT data FROM chunk WHERE id = ?",
    [TL_SQL_CHUNK_PUT] = "INSERT INTO chunk(data) VALUES(?)",
    [TL_SQL_CHUNK_DELETE] = "DELETE FROM chunk WHERE id = ?",
    [TL_SQL_SERIES_HEAD] = "SELECT revision, bars, last_ts, kernel, token, computed_ms, columns, first_bar, n, chunks "
                           "FROM series WHERE symbol = ? AND freq = ? AND adjust = ? AND spec = ?",
    [TL_SQL_SERIES_UPSERT] =
        "INSERT INTO series(symbol, freq, adjust, spec, revision, bars, last_ts, kernel, token, computed_ms, columns, "
        "first_bar, n, chunks) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT(symbol, freq, adjust, spec) DO UPDATE SET revision = excluded.revision, bars = excluded.bars, "
        "last_ts = excluded.last_ts, kernel = excluded.kernel, token = excluded.token, "
        "computed_ms = excluded.computed_ms, columns = excluded.columns, first_bar = excluded.first_bar, n = "
        "excluded.n, "
        "chunks = excluded.chunks",
    [TL_SQL_FACTORS_GET] = "SELECT data FROM factors WHERE symbol = ?",
    [TL_SQL_FACTORS_UPSERT] = "INSERT INTO factors(symbol, data) VALUES(?, ?) "
                              "ON CONFLICT(symbol) DO UPDATE SET data = excluded.data",
    [TL_SQL_CALENDAR_GET] = "SELECT day_ms FROM calendar WHERE name = ? ORDER BY day_ms",
    [TL_SQL_CALENDAR_PUT] = "INSERT OR IGNORE INTO calendar(name, day_ms) VALUES(?, ?)",
    [TL_SQL_IMPORT_PUT] = "INSERT INTO import(process) VALUES(?)",
    [TL_SQL_IMPORT_ALL] = "SELECT id, process FROM import",
    [TL_SQL_IMPORT_DELETE] = "DELETE FROM import WHERE id = ?",
    [TL_SQL_STAGED_PUT] = "INSERT INTO staged(import, chunk) VALUES(?, ?)",
    [TL_SQL_STAGED_SOME] = "SELECT chunk FROM staged WHERE import = ? LIMIT 256",
    [TL_SQL_STAGED_DELETE] = "DELETE FROM staged WHERE import = ? AND chunk = ?",
    [TL_SQL_LOG_PUT] = "INSERT INTO change_log(symbol, freq, revision, bars, last_ts, forward_revision, "
                       "backward_revision) VALUES(?, ?, ?, ?, ?, ?, ?)",
    [TL_SQL_LOG_PRUNE] = "DELETE FROM change_log WHERE seq <= (SELECT max(seq) FROM change_log) - 100000",
    [TL_SQL_ENTRY_GET] = "SELECT expires_ms, data FROM entry WHERE key = ?",
    [TL_SQL_ENTRY_ORDER] = "SELECT ord, expires_ms FROM entry WHERE key = ?",
    [TL_SQL_ENTRY_PUT] =
        "INSERT INTO entry(key, data_type, symbol, timeframe, ord, expires_ms, data) VALUES(?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT(key) DO UPDATE SET ord = excluded.ord, expires_ms = excluded.expires_ms, data = excluded.data",
    [TL_SQL_ENTRY_DELETE] = "DELETE FROM entry WHERE key = ?",
    [TL_SQL_ENTRY_EXPIRE] =
        "DELETE FROM entry WHERE rowid IN (SELECT rowid FROM entry WHERE expires_ms <= ? ORDER BY expires_ms LIMIT ?)",
    [TL_SQL_NOTICE_PUT] = "INSERT INTO notice(key, ord) VALUES(?, ?)",
    [TL_SQL_NOTICE_PRUNE] = "DELETE FROM notice WHERE seq <= (SELECT max(seq) FROM notice) - ?",
    [TL_SQL_NOTICE_RANGE] = "SELECT coalesce(min(seq), 0), coalesce((SELECT seq FROM sqlite_sequence WHERE "
                            "name = 'notice'), 0) FROM notice",
    [TL_SQL_NOTICE_SOME] = "SELECT seq, key, ord FROM notice WHERE seq > ? ORDER BY seq",
    [TL_SQL_GENERATION_GET] = "SELECT generation FROM generation WHERE scope = ?",
    [TL_SQL_GENERATION_PUT] = "INSERT INTO generation(scope, generation) VALUES(?, ?) "
                              "ON CONFLICT(scope) DO UPDATE SET generation = excluded.generation",
    [TL_SQL_GENERATION_COUNT] = "SELECT count(*) FROM generation",
    [TL_SQL_GENERATION_MIDDLE] = "SELECT generation FROM generation ORDER BY generation LIMIT 1 OFFSET ?",
    [TL_SQL_GENERATION_PRUNE] = "DELETE FROM generation WHERE generation <= ? AND scope <> 'a'",
    [TL_SQL_GENERATION_SOME] = "SELECT scope, generation FROM generation WHERE generation > ? ORDER BY generation",
    [TL_SQL_CHANGE_RANGE] = "SELECT coalesce(min(seq), 0), coalesce((SELECT seq FROM sqlite_sequence WHERE "
                            "name = 'change_log'), 0) FROM change_log",
    [TL_SQL_CHANGE_SOME] = "SELECT seq, symbol, freq, revision, bars, last_ts, forward_revision, backward_revision "
                           "FROM change_log WHERE seq > ? ORDER BY seq",
    [TL_SQL_COUNTS] = "SELECT (SELECT count(*) FROM entry), (SELECT coalesce(sum(length(data)), 0) FROM entry), "
                      "(SELECT count(*) FROM series), (SELECT count(*) FROM bars), (SELECT count(*) FROM generation)",
    [TL_SQL_DATA_VERSION] = "PRAGMA data_version",
    [TL_SQL_META_GET] = "SELECT value FROM meta WHERE key = ?",
    [TL_SQL_META_PUT] =
        "INSERT INTO meta(key, value) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
    [TL_SQL_BEGIN_READ] = "BEGIN",
    [TL_SQL_END_READ] = "COMMIT",
};

/* "pid 123, pid 456": who holds locks on the store. /proc/locks names them by inode, so the -shm file is only looked
 * at, never opened: closing a descriptor of it would drop this process' own locks. */
static void lock_holders(const char *path, char *out, size_t cap)
{
    char shm[4096];
    struct stat st;
    out[0] = '\0';
    if ((size_t)snprintf(shm, sizeof shm, "%s-shm", path) >= sizeof shm || stat(shm, &st) != 0) return;
    FILE *f = fopen("/proc/locks", "re");
    if (!f) return;
    char line[256];
    int last = 0;
    size_t n = 0;
    while (fgets(line, sizeof line, f)) {
        int pid;
        unsigned major_no, minor_no;
        unsigned long long inode, from;
        char type[16];
        if (sscanf(line, "%*d: POSIX %*s %15s %d %x:%x:%llu %llu", type, &pid, &major_no, &minor_no, &inode, &from) !=
            6)
            continue;
        /* Byte 120 of the -shm file is the lock of the one writer (SQLite's WAL-index format). */
        if (inode != st.st_ino || strcmp(type, "WRITE") != 0 || from > 120 || pid <= 0 || pid == last) continue;
        int w = snprintf(out + n, cap - n, "%spid %d", n ? ", " : "", pid);
        if (w < 0 || (size_t)w >= cap - n) break;
        n += (size_t)w;
        last = pid;
    }
    fclose(f);
}

enum tl_status tl_db_fail(const struct tl_db *db, int rc, struct tl_err *err, const char *what)
{
    const char *said = db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc);
    char holders[128];
    enum tl_status st;
    switch (rc & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        lock_holders(db->path, holders, sizeof holders);
        st = tl_fail(err, TL_BUSY, "%s: another writer holds %s%s%s%s", what, db->path, holders[0] ? " (" : "", holders,
                     holders[0] ? ")" : "");
        break;
    case SQLITE_FULL:
        st = tl_fail(err, TL_FULL, "%s: no space left for %s", what, db->path);
        break;
    case SQLITE_NOTADB:
        st = tl_fail(err, TL_CORRUPT, "%s is not a Tierline store: it is not a SQLite database", db->path);
        break;
    case SQLITE_CORRUPT:
        st = tl_fail(err, TL_CORRUPT, "%s: %s is damaged: %s", what, db->path, said);
        break;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        st = tl_fail(err, TL_DENIED, "%s: %s may not be written: %s", what, db->path, said);
        break;
    case SQLITE_CANTOPEN:
        st = tl_fail(err, TL_DENIED, "%s: cannot open %s: %s", what, db->path, said);
        break;
    case SQLITE_NOMEM:
        st = tl_fail(err, TL_NOMEM, "%s: out of memory", what);
        break;
    default:
        st = tl_fail(err, TL_IO, "%s: %s: %s", what, db->path, said);
        break;
    }
    if (err) err->native = rc;
    return st;
}

enum tl_status tl_db_exec(struct tl_db *db, const char *text, struct tl_err *err)
{
    int rc = sqlite3_exec(db->handle, text, NULL, NULL, NULL);
    return rc == SQLITE_OK ? TL_OK : tl_db_fail(db, rc, err, "store");
}

enum tl_status tl_db_open(struct tl_db *db, const char *path, bool read_only, uint32_t busy_ms, struct tl_err *err)
{
    *db = (struct tl_db){.path = path};
    int flags = (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) | SQLITE_OPEN_NOMUTEX;
    int rc = sqlite3_open_v2(path, &db->handle, flags, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_extended_result_codes(db->handle, 1);
        sqlite3_busy_timeout(db->handle, (int)TL_MIN(busy_ms, (uint32_t)INT32_MAX));
        rc = sqlite3_exec(db->handle, "PRAGMA mmap_size = 1073741824; PRAGMA foreign_keys = OFF", NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK) return TL_OK;
    enum tl_status st = tl_db_fail(db, rc, err, "opening the store");
    tl_db_close(db);
    return st;
}

void tl_db_close(struct tl_db *db)
{
    for (size_t i = 0; i < TL_SQL_COUNT; i++) sqlite3_finalize(db->stmt[i]);
    sqlite3_close(db->handle);
    *db = (struct tl_db){.path = db->path};
}

sqlite3_stmt *tl_db_stmt(struct tl_db *db, enum tl_sql which, struct tl_err *err)
{
    if (!db->stmt[which]) {
        int rc = sqlite3_prepare_v3(db->handle, sql[which], -1, SQLITE_PREPARE_PERSISTENT, &db->stmt[which], NULL);
        if (rc != SQLITE_OK) {
            (void)tl_db_fail(db, rc, err, "preparing a statement");
            return NULL;
        }
    }
    sqlite3_reset(db->stmt[which]);
    return db->stmt[which];
}

enum tl_status tl_db_run(struct tl_db *db, sqlite3_stmt *s, struct tl_err *err, const char *what)
{
    int rc = sqlite3_step(s);
    enum tl_status st = rc == SQLITE_DONE ? TL_OK : tl_db_fail(db, rc, err, what);
    sqlite3_reset(s);
    return st;
}
