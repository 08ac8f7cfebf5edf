/* SPDX-License-Identifier: Apache-2.0 */
/* The store (L3): bars, factors, calendars and indicator series behind one interface.
 * Reads are blocking and go through a reader, one per thread. Writes go through the store's own writer
 * thread: tl_store_submit hands an op over and returns; its cb runs on the writer thread after the op is
 * durable (committed) or has failed. tl_store_write is submit-and-wait. Nothing is reported OK that is
 * not committed. Transactions last at most ~100 ms, writes of several submitters are committed together.
 *
 * Processes share a store: a write that cannot get SQLite's lock within busy_ms fails with BUSY and the holder's pid.
 */
#ifndef TL_STORE_STORE_H
#define TL_STORE_STORE_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "series/adjust.h"
#include "series/bars.h"
#include "series/series.h"

struct tl_store;
struct tl_store_reader;
struct tl_op;

struct tl_store_options {
    uint32_t busy_ms;             /* how long a writer waits for its turn; 0: 5000 */
    size_t queue_bytes;           /* bound on bytes of submitted, uncommitted ops; 0: 64 MiB. submit blocks above it */
    bool read_only;               /* never creates, never writes */
    uint64_t generations_max;     /* scopes that are remembered one by one, and an eighth more; 0: 1,000,000 */
    uint64_t notices_max;         /* notices that are kept, and up to 1,000 more; 0: 100,000 */
    const struct tl_clock *clock; /* NULL: system */
    const struct tl_log *log;     /* NULL: silent */
};

/* url: "sqlite:///abs/path", "sqlite:rel/path" or a plain path. Creates the file and its folder's last
 * component when missing (unless read_only: NOT_FOUND). Migrates an older schema.
 * Errors: INVALID (url), CORRUPT (not a database), TOO_NEW (newer schema; names both), BUSY, DENIED, FULL, IO. */
TL_MUSTCHECK enum tl_status tl_store_open(const char *url, const struct tl_store_options *, struct tl_store **out,
                                          struct tl_err *err);
/* Commits what was submitted, stops the writer, frees. Readers must be gone. NULL is fine. */
void tl_store_close(struct tl_store *);
/* 32 hex digits, random, made once per store. */
const char *tl_store_id(const struct tl_store *);

TL_MUSTCHECK enum tl_status tl_store_reader_new(struct tl_store *, struct tl_store_reader **out, struct tl_err *err);
void tl_store_reader_free(struct tl_store_reader *);
/* Everything between begin and end is read from one snapshot. Reads outside see one snapshot each. */
TL_MUSTCHECK enum tl_status tl_store_snapshot_begin(struct tl_store_reader *, struct tl_err *err);
void tl_store_snapshot_end(struct tl_store_reader *);

/* ---- bars ---- */
struct tl_bars_head {
    struct tl_version raw;    /* version of the raw series */
    int64_t forward_revision; /* version.revision of the forward series is max(raw.revision, this) */
    int64_t backward_revision;
    bool provisional; /* the last stored bar is not final and not counted in raw */
    int64_t first_ts;
    char zone[40]; /* IANA zone of the bars; "" for daily and above */
};
/* The version of an adjusted view. */
struct tl_version tl_bars_head_version(const struct tl_bars_head *, enum tl_adjust);

/* NOT_FOUND when the symbol has no bars at that freq. */
TL_MUSTCHECK enum tl_status tl_store_bars_head(struct tl_store_reader *, const struct tl_symbol *, enum tl_freq,
                                               struct tl_bars_head *, struct tl_err *err);
/* Raw bars with from_ms <= ts < to_ms (INT64_MIN, INT64_MAX: all), appended to out; a provisional bar comes last
 * (head says so). head may be NULL. CORRUPT names symbol and chunk. */
TL_MUSTCHECK enum tl_status tl_store_bars_read(struct tl_store_reader *, const struct tl_symbol *, enum tl_freq,
                                               int64_t from_ms, int64_t to_ms, struct tl_bars *out,
                                               struct tl_bars_head *head, struct tl_err *err);
struct tl_store_symbol {
    struct tl_symbol symbol;
    enum tl_freq freq;
    struct tl_bars_head head;
};
/* Every (symbol, freq), in order; cb returns false to stop. */
TL_MUSTCHECK enum tl_status tl_store_symbols(struct tl_store_reader *,
                                             bool (*cb)(void *ctx, const struct tl_store_symbol *), void *ctx,
                                             struct tl_err *err);

/* One import: everything staged in it becomes visible at once at commit, or never (also after kill -9).
 * Chunks are staged in short transactions; commit only swings the heads. When another process changed a series
 * meanwhile, commit merges that series again. One thread uses an import; several may exist. */
struct tl_store_import;
struct tl_import_totals {
    uint64_t symbols, appended, changed, inserted, unchanged, provisional;
};
TL_MUSTCHECK enum tl_status tl_store_import_begin(struct tl_store *, struct tl_store_import **out, struct tl_err *err);
/* Merges bars (invariant of tl_bars) into the stored series. zone "" for daily and above. last_provisional: the last
 * bar of `bars` is not final. May be called again for a symbol. */
TL_MUSTCHECK enum tl_status tl_store_import_bars(struct tl_store_import *, const struct tl_symbol *, enum tl_freq,
                                                 const char *zone, const struct tl_bars *bars, bool last_provisional,
                                                 struct tl_err *err);
/* Merges factors by ex-date (incoming wins). */
TL_MUSTCHECK enum tl_status tl_store_import_factors(struct tl_store_import *, const struct tl_symbol *,
                                                    const struct tl_factors *, struct tl_err *err);
/* Trading days (00:00 UTC each) of a market's calendar ("CN", "US"), merged. */
TL_MUSTCHECK enum tl_status tl_store_import_calendar(struct tl_store_import *, const char *calendar,
                                                     const int64_t *days_ms, size_t n, struct tl_err *err);
/* Consumes the import, also on failure. Revisions: history rewritten -> max(last + 1, now ms). */
TL_MUSTCHECK enum tl_status tl_store_import_commit(struct tl_store_import *, struct tl_import_totals *,
                                                   struct tl_err *err);
/* Drops what was staged. NULL is fine. */
void tl_store_import_abort(struct tl_store_import *);

/* ---- factors, calendar ---- */
/* out->n == 0 when there are none (OK). [own] release out. */
TL_MUSTCHECK enum tl_status tl_store_factors_read(struct tl_store_reader *, const struct tl_symbol *,
                                                  struct tl_factors *out, struct tl_err *err);
/* [own] *days_ms; *n == 0 when the calendar is not there. */
TL_MUSTCHECK enum tl_status tl_store_calendar_read(struct tl_store_reader *, const char *calendar, int64_t **days_ms,
                                                   size_t *n, struct tl_err *err);

/* ---- indicator series ---- */
/* Version and shape only (rows stays NULL); NOT_FOUND. */
TL_MUSTCHECK enum tl_status tl_store_series_head(struct tl_store_reader *, const struct tl_series_key *,
                                                 struct tl_series *out, struct tl_err *err);
/* All rows. NOT_FOUND, CORRUPT. out must be initialised. */
TL_MUSTCHECK enum tl_status tl_store_series_read(struct tl_store_reader *, const struct tl_series_key *,
                                                 struct tl_series *out, struct tl_err *err);

/* A write of one symbol's series; the caller fills it, it is pinned until cb. Rows are encoded by
 * tl_store_put_prepare on the calling (worker) thread, so the writer thread only copies blobs into SQLite. A series
 * replaces a stored one only if (version, kernel_version, token) is not lower; otherwise it is skipped, counted in
 * `superseded`, status OK. When the stored one has the same revision and kernel version and fewer bars, the chunks
 * before the one that holds its last row stay as they are (the last row itself may differ: a week under way). */
struct tl_store_put {
    struct tl_series_key key; /* .spec is ignored: see items */
    size_t count;
    struct tl_store_put_item {
        char spec[TL_SPEC_MAX];
        struct tl_series series;       /* rows [borrow: until prepare returns] */
        void *encoded;                 /* the store's, freed by it */
        bool superseded;               /* result */
    } * items;                         /* [borrow: until cb] */
    size_t bytes;                      /* the store's */
    enum tl_status status;             /* result, before cb */
    struct tl_err err;                 /* result */
    void (*cb)(struct tl_store_put *); /* on the writer thread; may free the op */
    void *user;
    struct tl_store_put *next; /* the store's */
};
TL_MUSTCHECK enum tl_status tl_store_put_prepare(struct tl_store_put *, struct tl_err *err);
/* Blocks while the queue is over its bound. Otherwise cb runs exactly once. */
TL_MUSTCHECK enum tl_status tl_store_submit(struct tl_store *, struct tl_store_put *, struct tl_err *err);
/* prepare + submit + wait; cb is not used. */
TL_MUSTCHECK enum tl_status tl_store_write(struct tl_store *, struct tl_store_put *, struct tl_err *err);

/* ---- general cache entries: opaque bytes with an order ---- */
enum { TL_STORE_KEY_MAX = 255, TL_STORE_ORDER = 32, TL_STORE_SCOPE_MAX = 300 };

/* The bytes as they were put, appended to out. NOT_FOUND: not there or expired (now_ms >= expires_ms). */
TL_MUSTCHECK enum tl_status tl_store_entry_read(struct tl_store_reader *, struct tl_str key, int64_t now_ms,
                                                struct tl_buf *out, struct tl_err *err);
struct tl_store_entry {
    struct tl_str key;                          /* <= TL_STORE_KEY_MAX bytes */
    struct tl_str data_type, symbol, timeframe; /* parts of the key, in columns of their own for people with SQL */
    struct tl_str head, body;                   /* stored one behind the other */
    unsigned char order[TL_STORE_ORDER];        /* byte order; a stored entry with a higher or equal one stays */
    int64_t expires_ms;                         /* wall clock; INT64_MAX: never */
    bool remove;     /* delete the entry if its order is not higher; the other fields but key are not used */
    bool superseded; /* result: a newer one was there */
};
/* One batch of writes in one transaction: entries, or (scope.n > 0) first the raising of a generation. Pinned with all
 * it borrows until cb, which runs on the writer thread and may free it. */
struct tl_store_entries {
    struct tl_store_entry *items;
    size_t count;
    struct tl_str scope;         /* invalidation scope to raise, <= TL_STORE_SCOPE_MAX bytes; empty: none */
    uint64_t at_least;           /* its generation is max(last + 1, at_least) ... */
    bool exactly;                /* ... or at_least itself: one given out elsewhere; nothing happens when the scope's is
                                  * not lower. The counter is raised to it */
    uint64_t before, generation; /* results: the last generation before, and the scope's now */
    enum tl_status status;
    struct tl_err err;
    void (*cb)(struct tl_store_entries *);
    void *user;
    struct tl_op *op; /* the store's */
};
/* Never blocks: BUSY while the queue is over its bound (cb never runs). Replacing or removing an entry appends its key
 * to the notices. */
TL_MUSTCHECK enum tl_status tl_store_entries_submit(struct tl_store *, struct tl_store_entries *, struct tl_err *err);
/* Deletes up to `max` expired entries in one transaction; blocking; *n: how many there were. */
TL_MUSTCHECK enum tl_status tl_store_entries_expire(struct tl_store *, int64_t now_ms, size_t max, size_t *n,
                                                    struct tl_err *err);
struct tl_store_counts {
    uint64_t entries, entry_bytes, series, symbols /* (symbol, freq) with bars */, generations;
};
TL_MUSTCHECK enum tl_status tl_store_counts(struct tl_store_reader *, struct tl_store_counts *, struct tl_err *err);

/* ---- following what other connections and processes commit ---- */
/* Changes whenever another connection than this reader's committed. Cheap. */
TL_MUSTCHECK enum tl_status tl_store_data_version(struct tl_store_reader *, int64_t *out, struct tl_err *err);
/* Every scope whose generation is above `since`, in rising order; *last: the newest generation given out. `all` of a
 * pruned table comes as the scope "a". cb returns false to stop. */
TL_MUSTCHECK enum tl_status tl_store_generations(struct tl_store_reader *, uint64_t since,
                                                 bool (*cb)(void *ctx, struct tl_str scope, uint64_t generation),
                                                 void *ctx, uint64_t *last, struct tl_err *err);
#define TL_FOLLOW_FROM_NOW UINT64_MAX
/* Keys that were replaced or removed, with the order of what did it, after position *at, in order; *at moves on.
 * TL_FOLLOW_FROM_NOW: nothing is called, *at is set to the newest. CONFLICT: what came after *at was pruned already
 * (the last 100,000 are kept); *at is set to the newest. */
TL_MUSTCHECK enum tl_status tl_store_notices(struct tl_store_reader *, uint64_t *at,
                                             bool (*cb)(void *ctx, struct tl_str key,
                                                        const unsigned char order[TL_STORE_ORDER]),
                                             void *ctx, struct tl_err *err);
struct tl_store_change {
    struct tl_symbol symbol;
    enum tl_freq freq;
    struct tl_bars_head head; /* versions and adjusted revisions only */
};
/* The same for the versions of bars (the change log). */
TL_MUSTCHECK enum tl_status tl_store_changes(struct tl_store_reader *, uint64_t *at,
                                             bool (*cb)(void *ctx, const struct tl_store_change *), void *ctx,
                                             struct tl_err *err);

struct tl_store_stats {
    uint64_t series_written, series_superseded, chunks_written, bytes_written, transactions, busy_waits;
};
void tl_store_stats(const struct tl_store *, struct tl_store_stats *);

#endif
