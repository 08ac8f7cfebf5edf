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
S("calc.lease_ms",          DURATION, "5000",               100, INT64_C(600000),    NULL,
  "How long other processes wait for one that computes and no longer shows that it lives")
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
S("server.listen",          STRING,   "127.0.0.1:8080",     0, 0,                    NULL,
  "Where the server listens: HOST:PORT, [IPV6]:PORT or unix:/path, parted by commas; beyond this machine only with tokens "
  "or keys for JWTs")
S("server.cors",            STRING,   "none",               0, 0,                    NULL,
  "Origins of web pages that may use the API: https://app.example.org, parted by commas; * for all; or none")
S("server.jobs",            BOOL,     "true",               0, 0,                    NULL,
  "Whether the server runs jobs and schedules itself; otherwise it leaves them to workers")
S("server.access_log",      BOOL,     "true",               0, 0,                    NULL,
  "A log line for each request")
S("server.connections",     INT,      "10000",              1, 1000000,              NULL,
  "Connections at a time, WebSockets not counted; more wait")
S("server.per_address",     INT,      "1000",               1, 1000000,              NULL,
  "Connections of one address at a time, WebSockets counted; more are refused")
S("server.request_ms",      DURATION, "10s",                100, INT64_C(600000),    NULL,
  "How long the head of a request, and each piece of its body, may take to arrive")
S("server.idle_ms",         DURATION, "75s",                100, INT64_C(86400000),  NULL,
  "How long a connection is kept open without a request")
S("server.stall_ms",        DURATION, "30s",                100, INT64_C(600000),    NULL,
  "How long a WebSocket may take nothing of what waits for it before it is cut")
S("auth.tokens",            STRING,   "tierline.tokens",    0, 0,                    NULL,
  "File of the server's tokens, made by tierline token create; relative ones start at the working directory; or none")
S("auth.jwt_hs256",         STRING,   "none",               0, 0,                    NULL,
  "File with the shared secret that JWTs are signed with by HS256: 32 bytes or more; or none")
S("auth.jwt_rs256",         STRING,   "none",               0, 0,                    NULL,
  "PEM file with the RSA public key that JWTs are signed for by RS256; or none")
S("auth.jwt_issuer",        STRING,   "none",               0, 0,                    NULL,
  "What the claim iss of a JWT must be; none: anything")
S("auth.jwt_audience",      STRING,   "none",               0, 0,                    NULL,
  "What the claim aud of a JWT must be or have; none: JWTs that are for an audience are refused")
S("auth.jwt_scope_claim",   STRING,   "scope",              0, 0,                    NULL,
  "Claim of a JWT in which read, write or admin (or tierline:read ...) stands, as words or a list")
S("auth.anonymous",         ENUM,     "auto",               0, 0,                    "auto|none|read|write|admin",
  "What may be done without a token; auto: everything from this machine as long as there are neither tokens nor keys "
  "for JWTs, nothing otherwise")
S("log.level",              ENUM,     "info",               0, 0,                    "debug|info|warn,warning|error|off",
  "Least important log lines that are written to standard error")
/* clang-format on */
