/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes: matching, checks, scopes and the OpenAPI document follow it. Rows whose path is literal stand
 * before those with names at the same place. */
#include "server/api.h"

#include "base/util.h"
#include "schedule/lend.h"

#define P_END                                                                                                          \
    {                                                                                                                  \
        0                                                                                                              \
    }
#define P_TEXT(n, h, ex)                                                                                               \
    {                                                                                                                  \
        .name = n, .kind = API_TEXT, .help = h, .example = ex                                                          \
    }
#define P_CHOICE(n, h, c)                                                                                              \
    {                                                                                                                  \
        .name = n, .kind = API_CHOICE, .help = h, .choices = c                                                         \
    }
#define P_INT(n, h, lo, hi)                                                                                            \
    {                                                                                                                  \
        .name = n, .kind = API_INT, .help = h, .min = lo, .max = hi                                                    \
    }
#define P_BOOL(n, h)                                                                                                   \
    {                                                                                                                  \
        .name = n, .kind = API_BOOL, .help = h                                                                         \
    }
#define P_DATE(n, h)                                                                                                   \
    {                                                                                                                  \
        .name = n, .kind = API_DATE, .help = h, .example = "2024-12-31"                                                \
    }
#define P_DURATION(n, h, lo, hi)                                                                                       \
    {                                                                                                                  \
        .name = n, .kind = API_DURATION, .help = h, .min = lo, .max = hi, .example = "30s"                             \
    }
#define P_FREQ                                                                                                         \
    {                                                                                                                  \
        .name = "freq", .kind = API_FREQ, .help = "Frequency of the bars; the setting calc.freq unless given",         \
        .choices = "1m|5m|15m|30m|60m|1d|1w|1mo"                                                                       \
    }
#define P_ADJUST                                                                                                       \
    {                                                                                                                  \
        .name = "adjust", .kind = API_ADJUST, .help = "Price adjustment; the setting calc.adjust unless given",        \
        .choices = "raw|forward|backward"                                                                              \
    }
#define P_RANGE                                                                                                        \
    P_DATE("from", "Only rows of this date and later"), P_DATE("to", "Only rows of this date and earlier"),            \
        P_INT("last", "Only the last so many rows", 1, 100000000),                                                     \
        P_CHOICE("format", "Form of the answer, instead of Accept", "json|csv|f64")
#define P_TTL                                                                                                          \
    {                                                                                                                  \
        .name = "ttl", .kind = API_TTL,                                                                                \
        .help = "FRESH, FRESH/REDIS or FRESH/REDIS/STORE: how long it is fresh, and "                                  \
                "how long Redis and the store keep it; that of its type unless given",                                 \
        .example = "5m/1d/30d"                                                                                         \
    }
#define P_LEASE(req)                                                                                                   \
    {                                                                                                                  \
        .name = "lease", .kind = API_TEXT, .help = "What was given out with the lease", .required = req,               \
        .example = "9f86d081884c7d65:1:1700000000000000:0"                                                             \
    }
#define P_BIND P_CHOICE("bind", "connection: the lease ends when this connection is closed", "connection")

static const struct api_param p_symbol[] = {P_TEXT("symbol", "Any accepted spelling", "600519.SH"), P_END};
static const struct api_param p_series[] = {P_TEXT("symbol", "Any accepted spelling", "600519.SH"),
                                            P_TEXT("spec", "An indicator with its parameters", "MACD(12,26,9)"), P_END};
static const struct api_param p_id[] = {P_TEXT("id", "Of the job", "daily-1700000000000-1a2b"), P_END};
static const struct api_param p_name[] = {P_TEXT("name", "Of the lease, 1 to 200 bytes", "nightly"), P_END};
static const struct api_param p_key[] = {P_TEXT("key", "What is to be computed, at most 64 bytes", "factor:600519"),
                                         P_END};
static const struct api_param p_cache2[] = {P_TEXT("data_type", "At most 64 bytes", "fund_flow"),
                                            P_TEXT("symbol", "Any accepted spelling; - for none", "600519.SH"), P_END};
static const struct api_param p_cache3[] = {P_TEXT("data_type", "At most 64 bytes", "minute_kline"),
                                            P_TEXT("symbol", "Any accepted spelling; - for none", "600519.SH"),
                                            P_TEXT("timeframe", "At most 32 bytes; - for none", "1m"), P_END};

static const struct api_param q_symbols[] = {P_FREQ, P_TEXT("prefix", "Only symbols that begin so", "60"),
                                             P_TEXT("after", "next of the page before", "600519.SH"),
                                             P_INT("limit", "At most so many (1000)", 1, 100000), P_END};
static const struct api_param q_bars[] = {P_FREQ, P_ADJUST, P_RANGE,
                                          P_BOOL("provisional", "Also the bar that is not final (true)"), P_END};
static const struct api_param q_import[] = {
    P_FREQ,
    P_TEXT("tz", "Time zone of the times, instead of the market's", "Asia/Shanghai"),
    P_CHOICE("bar_time", "Whether a time is the bar's start or its end", "start|end"),
    P_BOOL("provisional", "The last bar of each symbol is not final"),
    P_CHOICE("profile", "A vendor's habits", "baostock|akshare|tushare|tdx|yahoo"),
    P_CHOICE("market", "Market of bare codes", "SH|SZ|BJ|HK|US|FUTURES"),
    P_END};
static const struct api_param q_series[] = {
    P_FREQ,
    P_ADJUST,
    P_RANGE,
    P_BOOL("provisional", "With the bar that is not final: computed for this answer alone"),
    P_DURATION("max_age", "0: by the version that the store has now; otherwise at most 0.1 s behind", 0, 86400000),
    P_END};
static const struct api_param q_jobs[] = {
    P_CHOICE("state", "Only jobs in this state", "queued|running|stalled|cancelling|completed|failed|cancelled"),
    P_INT("limit", "At most so many, the newest first (100)", 1, 1000), P_END};
static const struct api_param q_page[] = {P_INT("from", "The first one's number (0)", 0, 100000000),
                                          P_INT("limit", "At most so many (100)", 1, 1000), P_END};
static const struct api_param q_task_events[] = {
    P_TEXT("term", "What the first request answered; none: a new term begins, and the one before it is over", NULL),
    P_TEXT("name", "What the task is, for people", "factors"), P_END};
static const struct api_param q_history[] = {P_TEXT("since", "Only events after this position", "1700000000000-12"),
                                             P_INT("limit", "At most so many (1000)", 1, 10000), P_END};
static const struct api_param q_get[] = {
    P_DURATION("max_age", "No older than that; 0: what the lowest tier has now", 0, INT64_C(31536000000)), P_END};
static const struct api_param q_put[] = {
    P_TTL, P_CHOICE("wait", "Which tier must have it before the answer (memory)", "memory|redis|store"), P_END};
static const struct api_param q_invalidate[] = {
    {.name = "by", .kind = API_CHOICE, .help = "Which form", .choices = "key|symbol|type|group|all", .required = true},
    P_TEXT("type", "Data type", "fund_flow"),
    P_TEXT("symbol", "Symbol", "600519.SH"),
    P_TEXT("timeframe", "Timeframe", "1d"),
    P_END};
static const struct api_param q_top[] = {P_INT("limit", "At most so many (20)", 1, 256), P_END};
static const struct api_param q_acquire[] = {
    P_DURATION("ttl", "How long it outlives its last renewal (30 s)", TL_LEASE_TTL_MIN_MS, TL_LEASE_TTL_MAX_MS),
    P_DURATION("wait", "How long to wait while another holds it (0)", 0, 600000), P_BIND, P_END};
static const struct api_param q_renew[] = {
    P_LEASE(true), P_DURATION("ttl", "From now (30 s)", TL_LEASE_TTL_MIN_MS, TL_LEASE_TTL_MAX_MS), P_END};
static const struct api_param q_release[] = {P_LEASE(true), P_END};
static const struct api_param q_compute[] = {
    P_TEXT("type", "Data type that the value is kept as (compute)", "factor"),
    P_DURATION("lease_ms", "How long others wait for the caller (30 s)", TL_LEND_MIN_MS, TL_LEND_MAX_MS),
    P_DURATION("wait_ms", "How long to wait while another makes it (0)", 0, 600000),
    P_DURATION("max_age", "A value put longer ago is made anew", 0, INT64_C(31536000000)),
    P_BIND,
    P_END};
static const struct api_param q_hand_in[] = {P_LEASE(true), P_TEXT("type", "As it was asked for", "factor"), P_TTL,
                                             P_CHOICE("error", "There is none: the body is the reason, which is shared",
                                                      "invalid|no_data|io|timeout|unsupported|not_found|internal"),
                                             P_END};
static const struct api_param q_give_back[] = {P_LEASE(true), P_TEXT("type", "As it was asked for", "factor"), P_END};
static const struct api_param q_renew_compute[] = {
    P_LEASE(true), P_TEXT("type", "As it was asked for", "factor"),
    P_DURATION("lease_ms", "From now (30 s)", TL_LEND_MIN_MS, TL_LEND_MAX_MS), P_END};
static const struct api_param q_ws[] = {P_TEXT("ticket", "Of POST /api/v1/tickets, for browsers", NULL), P_END};
static const struct api_param q_events[] = {
    {.name = "topic", .kind = API_TEXT, .help = "Topics, parted by commas", .required = true, .example = "tasks"},
    P_TEXT("since", "TOPIC=POSITION,...: what Last-Event-ID says", "task/x=1700000000000-12"),
    P_INT("max_hz", "States of a task at most so often", 1, 1000),
    P_END};

#define CSV_JSON_F64 "application/json text/csv application/vnd.tierline.f64"

static const struct api_route routes[] = {
    /* clang-format off */
    {TL_HTTP_GET, "/livez", 0, api_get_livez, "livez", "operation", "The process is alive", .answer = "Text", .types = "text/plain"},
    {TL_HTTP_GET, "/readyz", 0, api_get_readyz, "readyz", "operation", "It may be sent work; degraded: a tier is out, the others go on", .answer = "Ready"},
    {TL_HTTP_GET, "/metrics", TL_MAY_READ, api_get_metrics, "metrics", "operation", "Counters and gauges for Prometheus", .answer = "Text", .types = "text/plain"},
    {TL_HTTP_GET, "/ws", 0, api_get_ws, "ws", "events", "WebSocket, sub-protocol tierline.v1", .query = q_ws, .status = 101},
    {TL_HTTP_GET, "/events", TL_MAY_READ, api_get_events, "events", "events", "The same as server-sent events", .query = q_events, .answer = "Text", .types = "text/event-stream"},

    {TL_HTTP_GET, "/api/v1/openapi.json", 0, api_get_openapi, "openapi", "operation", "This document", .answer = "Any"},
    {TL_HTTP_GET, "/api/v1/info", TL_MAY_READ, api_get_info, "info", "operation", "Which server this is", .answer = "Info"},
    {TL_HTTP_GET, "/api/v1/config", TL_MAY_ADMIN, api_get_config, "config", "operation", "Every setting, its value without credentials, and where it came from", .answer = "Config"},
    {TL_HTTP_GET, "/api/v1/whoami", TL_MAY_READ, api_get_whoami, "whoami", "access", "Whom the token stands for", .answer = "Identity"},
    {TL_HTTP_POST, "/api/v1/tickets", TL_MAY_READ, api_post_ticket, "createTicket", "access", "A ticket for one WebSocket, good once, for half a minute", .answer = "Ticket", .status = 201},

    {TL_HTTP_GET, "/api/v1/symbols", TL_MAY_READ, api_get_symbols, "listSymbols", "market", "What the store has", .query = q_symbols, .answer = "Symbols"},
    {TL_HTTP_POST, "/api/v1/bars", TL_MAY_WRITE, api_post_bars, "importBars", "market", "Bars of many symbols, with a column symbol: merged; the same again changes nothing", .query = q_import, .body = "text/csv", .body_bytes = (size_t)256 << 20, .answer = "Imported"},
    {TL_HTTP_GET, "/api/v1/bars/{symbol}", TL_MAY_READ, api_get_bars, "getBars", "market", "Bars, raw or adjusted, also resampled", .path = p_symbol, .query = q_bars, .answer = "Bars", .types = CSV_JSON_F64},
    {TL_HTTP_PUT, "/api/v1/bars/{symbol}", TL_MAY_WRITE, api_put_bars, "putBars", "market", "Bars of one symbol: merged; the same again changes nothing", .path = p_symbol, .query = q_import, .body = "text/csv application/json application/vnd.tierline.f64", .body_bytes = (size_t)64 << 20, .answer = "Imported"},

    {TL_HTTP_GET, "/api/v1/indicators", TL_MAY_READ, api_get_indicators, "listIndicators", "indicators", "The registry: parameters, ranges, defaults, outputs", .answer = "Registry"},
    {TL_HTTP_GET, "/api/v1/indicators/{symbol}/{spec}", TL_MAY_READ, api_get_series, "getIndicator", "indicators", "An indicator of a symbol, computed once for all who ask", .path = p_series, .query = q_series, .answer = "Series", .types = CSV_JSON_F64},
    {TL_HTTP_POST, "/api/v1/calculate", TL_MAY_WRITE, api_post_calculate, "calculate", "indicators", "Indicators of one symbol", .body = "application/json", .answer = "Results"},
    {TL_HTTP_POST, "/api/v1/calculate/batch", TL_MAY_WRITE, api_post_calculate_batch, "calculateBatch", "indicators", "Indicators of many symbols, each item with its own result", .body = "application/json", .body_bytes = (size_t)16 << 20, .answer = "Results"},

    {TL_HTTP_GET, "/api/v1/jobs", TL_MAY_READ, api_get_jobs, "listJobs", "jobs", "Jobs and other tasks, the newest first", .query = q_jobs, .answer = "Jobs"},
    {TL_HTTP_POST, "/api/v1/jobs", TL_MAY_WRITE, api_post_job, "postJob", "jobs", "A calculation over many symbols; watch task/ID", .body = "application/json", .answer = "Job", .status = 202},
    {TL_HTTP_GET, "/api/v1/jobs/{id}", TL_MAY_READ, api_get_job, "getJob", "jobs", "How far it is", .path = p_id, .answer = "Job"},
    {TL_HTTP_GET, "/api/v1/jobs/{id}/errors", TL_MAY_READ, api_get_job_errors, "listJobErrors", "jobs", "Which items failed, and why", .path = p_id, .query = q_page, .answer = "JobErrors"},
    {TL_HTTP_POST, "/api/v1/jobs/{id}/cancel", TL_MAY_WRITE, api_cancel_job, "cancelJob", "jobs", "Begins no further symbol", .path = p_id},
    {TL_HTTP_POST, "/api/v1/jobs/{id}/retry", TL_MAY_WRITE, api_retry_job, "retryJob", "jobs", "A new job of the items that failed", .path = p_id, .answer = "Job", .status = 202},
    {TL_HTTP_GET, "/api/v1/schedules", TL_MAY_READ, api_get_schedules, "listSchedules", "jobs", "Jobs by the clock, and when each comes next", .answer = "Schedules"},
    {TL_HTTP_POST, "/api/v1/tasks/{id}/events", TL_MAY_WRITE, api_post_task_events, "postTaskEvents", "jobs", "A task of a program of your own publishes its events", .path = p_id, .query = q_task_events, .body = "application/json", .answer = "Term"},
    {TL_HTTP_GET, "/api/v1/tasks/{id}/events", TL_MAY_READ, api_get_task_events, "listTaskEvents", "jobs", "Events of a task after a position", .path = p_id, .query = q_history, .answer = "History"},

    {TL_HTTP_GET, "/api/v1/cache/stats", TL_MAY_READ, api_get_cache_stats, "cacheStats", "cache", "Counters of every process on the prefix", .answer = "Any"},
    {TL_HTTP_GET, "/api/v1/cache/top", TL_MAY_READ, api_get_cache_top, "cacheTop", "cache", "What is read most through this server", .query = q_top, .answer = "Any"},
    {TL_HTTP_POST, "/api/v1/cache/get", TL_MAY_READ, api_post_cache_get, "cacheGetMany", "cache", "Many values in one exchange a tier", .body = "application/json", .answer = "CacheItems"},
    {TL_HTTP_POST, "/api/v1/cache/put", TL_MAY_WRITE, api_post_cache_put, "cachePutMany", "cache", "Many values at once", .query = q_put, .body = "application/json", .body_bytes = (size_t)64 << 20, .answer = "CacheItems"},
    {TL_HTTP_POST, "/api/v1/cache/invalidate", TL_MAY_WRITE, api_invalidate, "cacheInvalidate", "cache", "What was put until now is not served any more, by any process", .query = q_invalidate},
    {TL_HTTP_GET, "/api/v1/cache/{data_type}/{symbol}", TL_MAY_READ, api_get_cache, "getCache", "cache", "A value as it was put", .path = p_cache2, .query = q_get, .answer = "Bytes", .types = "application/json application/octet-stream"},
    {TL_HTTP_PUT, "/api/v1/cache/{data_type}/{symbol}", TL_MAY_WRITE, api_put_cache, "putCache", "cache", "Any bytes, at most 8 MiB", .path = p_cache2, .query = q_put, .body = "*/*", .body_bytes = (size_t)8 << 20},
    {TL_HTTP_DELETE, "/api/v1/cache/{data_type}/{symbol}", TL_MAY_WRITE, api_delete_cache, "deleteCache", "cache", "Invalidates one key", .path = p_cache2},
    {TL_HTTP_GET, "/api/v1/cache/{data_type}/{symbol}/{timeframe}", TL_MAY_READ, api_get_cache, "getCacheTimeframe", "cache", "A value as it was put", .path = p_cache3, .query = q_get, .answer = "Bytes", .types = "application/json application/octet-stream"},
    {TL_HTTP_PUT, "/api/v1/cache/{data_type}/{symbol}/{timeframe}", TL_MAY_WRITE, api_put_cache, "putCacheTimeframe", "cache", "Any bytes, at most 8 MiB", .path = p_cache3, .query = q_put, .body = "*/*", .body_bytes = (size_t)8 << 20},
    {TL_HTTP_DELETE, "/api/v1/cache/{data_type}/{symbol}/{timeframe}", TL_MAY_WRITE, api_delete_cache, "deleteCacheTimeframe", "cache", "Invalidates one key", .path = p_cache3},

    {TL_HTTP_GET, "/api/v1/locks", TL_MAY_READ, api_get_locks, "listLocks", "once", "Leases held now", .answer = "Locks"},
    {TL_HTTP_POST, "/api/v1/locks/{name}", TL_MAY_WRITE, api_acquire_lock, "acquireLock", "once", "Holds a lease, or 409 BUSY", .path = p_name, .query = q_acquire, .answer = "Lease"},
    {TL_HTTP_PUT, "/api/v1/locks/{name}", TL_MAY_WRITE, api_renew_lock, "renewLock", "once", "Renews a lease, or 409 LOCK_LOST", .path = p_name, .query = q_renew, .answer = "Lease"},
    {TL_HTTP_DELETE, "/api/v1/locks/{name}", TL_MAY_WRITE, api_release_lock, "releaseLock", "once", "Gives a lease back", .path = p_name, .query = q_release},
    {TL_HTTP_POST, "/api/v1/compute/{key}", TL_MAY_WRITE, api_post_compute, "compute", "once", "200 with the value; 201 with a lease: make it; 409 BUSY: another is making it; 424: it failed", .path = p_key, .query = q_compute, .answer = "Bytes", .types = "application/octet-stream", .also_status = 201, .also_answer = "Grant"},
    {TL_HTTP_PUT, "/api/v1/compute/{key}", TL_MAY_WRITE, api_put_compute, "commit", "once", "Hands the value in, or why there is none; 409 LOCK_LOST: nothing was written", .path = p_key, .query = q_hand_in, .body = "*/*", .body_bytes = (size_t)8 << 20},
    {TL_HTTP_DELETE, "/api/v1/compute/{key}", TL_MAY_WRITE, api_delete_compute, "giveBack", "once", "Gives the key back: another may make it", .path = p_key, .query = q_give_back},
    {TL_HTTP_POST, "/api/v1/compute/{key}/renew", TL_MAY_WRITE, api_renew_compute, "renewCompute", "once", "The computation goes on", .path = p_key, .query = q_renew_compute},
    /* clang-format on */
};

const struct api_route *api_route_at(size_t i)
{
    return i < TL_COUNT(routes) ? &routes[i] : NULL;
}
