/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of settings. Parser, environment, `tierline config`, the man page and docs/configuration.md follow it.
 * Choices: parted by "|"; further spellings of one follow it after ",".
 *
 *  name                    type      default              min max                  choices
 *     what it does */
/* clang-format off */
S("store",                  STRING,   "sqlite:tierline.db", 0, 0,                    NULL,
  "Where bars and results are kept: sqlite:///absolute/path, sqlite:relative/path or a plain path; relative ones "
  "start at the working directory")
S("store.busy_ms",          DURATION, "5000",               1, INT64_C(3600000),     NULL,
  "How long a write waits for another process that is writing to the store, before it fails and names that process")
S("store.queue_bytes",      BYTES,    "64MiB",              INT64_C(1) << 20, INT64_C(1) << 36, NULL,
  "Results that may wait in memory to be written to the store; computing pauses above it")
S("redis",                  STRING,   "none",               0, 0,                    NULL,
  "Redis shared by all processes: redis://[user:password@]host[:port][/db], redis+unix:///path, or none")
S("redis.prefix",           STRING,   "tierline:",          0, 0,                    NULL,
  "What every key and channel in Redis begins with: installations with different prefixes never see each other")
S("redis.timeout_ms",       DURATION, "500",                1, INT64_C(60000),       NULL,
  "How long one exchange with Redis may take before the next tier is asked instead")
S("cache.memory_bytes",     BYTES,    "256MiB",             INT64_C(1) << 16, INT64_C(1) << 44, NULL,
  "Memory of the cache's first tier, everything counted")
S("cache.queue_bytes",      BYTES,    "64MiB",              INT64_C(1) << 16, INT64_C(1) << 40, NULL,
  "Writes that may wait for Redis and the store; above it they are refused")
S("cache.ttl",              STRING,
  "tick_data=30s; realtime_quote=60s; minute_kline=5m; fund_flow=10m; etf=30m; daily_kline=2h; *=5m/7d/30d",
                                                              0, 0,                    NULL,
  "How long values stay fresh, and after it / how long Redis and the store keep them, by data type (* for all others)")
S("calc.workers",           INT,      "0",                  0, 1024,                 NULL,
  "Threads that compute; 0: one per core")
S("calc.suspended",         ENUM,     "keep",               0, 0,                    "keep|drop",
  "Bars of suspended days (volume 0): keep them as they were imported, or drop them before computing")
S("calc.freq",              ENUM,     "1d",                 0, 0,                    "1m|5m|15m|30m|60m|1d|1w|1mo",
  "Frequency of the bars that indicators are computed on")
S("calc.adjust",            ENUM,     "raw",                0, 0,                    "raw,none|forward,qfq|backward,hfq",
  "Price adjustment of the bars that indicators are computed on")
S("calc.set",               STRING,   "daily",              0, 0,                    NULL,
  "Set of indicators that calc computes when neither --set nor --indicators is given")
S("import.rejects_shown",   INT,      "5",                  0, 1000000,              NULL,
  "Rejected rows that import lists without --errors; all are counted")
S("log.level",              ENUM,     "info",               0, 0,                    "debug|info|warn,warning|error|off",
  "Least important log lines that are written to standard error")
/* clang-format on */
