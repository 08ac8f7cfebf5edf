/* SPDX-License-Identifier: Apache-2.0 */
/* What processes with one Redis prefix tell each other of themselves: each keeps a JSON report of its counters and its
 * most read keys in Redis, renewed every second, and takes it back when it is closed. That of a process that died is
 * gone after TL_REPORT_TTL_MS.
 *
 *   {stats}        hash: instance (16 hex digits) -> report
 *   {stats}:seen   sorted set: instance -> Redis' time of the last report, in ms
 *
 * A report, all counters since started_ms: { "format": 1, "instance", "pid", "host", "program", "started_ms", "now_ms",
 * "memory" | "redis" | "store": { "configured", "up", "breaker_open", "breaker_opened", "hits", "misses", "errors",
 * "poisoned", "read_bytes", "written", "coalesced", "retried", "skipped", "refused", "lost", "latency": [[bucket,
 * reads], ...] }, "entries", "bytes", "cap_bytes", "evictions", "expirations", "queue_entries", "queue_bytes",
 * "queue_cap_bytes", "gets", "puts", "flights", "joined", "loads", "stale_served", "invalidations", "announcements",
 * "top": [{ "key", "reads", "error" }, ...] } */
#ifndef TL_CACHE_REPORT_H
#define TL_CACHE_REPORT_H

#include "base/buf.h"
#include "cache/cache.h"

enum { TL_REPORT_EACH_MS = 1000, TL_REPORT_TTL_MS = 5000, TL_REPORT_TOP = 64 };

/* This process' report, now. */
void tl_report_write(struct tl_cache *, struct tl_buf *out);

/* Loop of the reports, on c->report_alarm. */
TL_MUSTCHECK enum tl_status tl_report_begin(struct tl_cache *, struct tl_err *err);
void tl_report_take_back(struct tl_cache *); /* while draining */
void tl_report_end(struct tl_cache *);
void tl_report_free(struct tl_cache *);

/* [pinned] until cb. */
struct tl_reports_op {
    void (*cb)(struct tl_reports_op *, enum tl_status);
    void *user;
    struct tl_buf found; /* out, the caller's to release: reports, each with its NUL */
    struct tl_err err;
    struct tl_redis_cmd cmd;
    struct tl_str argv[2];
    char key[96];
};
/* The reports of every process that runs, also this one's. IO: there is no Redis, or it is not in use. */
TL_MUSTCHECK enum tl_status tl_reports(struct tl_cache *, struct tl_reports_op *, uint64_t deadline_ms,
                                       struct tl_err *err);

#endif
