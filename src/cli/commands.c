/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands. A row is all that parser, --help, completion and man page know of a command. */

#include "cli/commands.h"

#include <limits.h>

static const struct tl_option global_options[] = {
    {"store", 0, TL_VALUE_TEXT, "URL", "Store to use: sqlite:PATH, a path, or none", "store", NULL, 0, 0},
    {"redis", 0, TL_VALUE_TEXT, "URL", "Redis to share results through: redis://HOST:PORT/DB, or none", "redis", NULL,
     0, 0},
    {"prefix", 0, TL_VALUE_TEXT, "TEXT", "What keys and channels in Redis begin with", "redis.prefix", NULL, 0, 0},
    {"config", 0, TL_VALUE_FILE, "FILE", "Read settings from FILE instead of the usual places", NULL, NULL, 0, 0},
    {"log-level", 0, TL_VALUE_CHOICE, "LEVEL", "Least important log lines to write to standard error", "log.level",
     "debug|info|warn|error|off", 0, 0},
    {"no-color", 0, TL_VALUE_FLAG, NULL, "No colors, also on a terminal (as NO_COLOR does)", NULL, NULL, 0, 0},
    {"help", 'h', TL_VALUE_FLAG, NULL, "Show help and exit", NULL, NULL, 0, 0},
    {"version", 0, TL_VALUE_FLAG, NULL, "Show the version and exit", NULL, NULL, 0, 0},
    {0},
};

#define OPT_JSON                                                                                                       \
    {                                                                                                                  \
        "json", 0, TL_VALUE_FLAG, NULL, "Print JSON", NULL, NULL, 0, 0                                                 \
    }
#define OPT_QUIET                                                                                                      \
    {                                                                                                                  \
        "quiet", 'q', TL_VALUE_FLAG, NULL, "No progress", NULL, NULL, 0, 0                                             \
    }
#define OPT_FREQ                                                                                                       \
    {                                                                                                                  \
        "freq", 'f', TL_VALUE_CHOICE, "FREQ", "Frequency of the bars", "calc.freq", "1m|5m|15m|30m|60m|1d|1w|1mo", 0,  \
            0                                                                                                          \
    }
#define OPT_ADJUST                                                                                                     \
    {                                                                                                                  \
        "adjust", 0, TL_VALUE_TEXT, "HOW", "Price adjustment: raw, forward (qfq) or backward (hfq)", "calc.adjust",    \
            "raw|forward|backward", 0, 0                                                                               \
    }
#define OPT_LAST                                                                                                       \
    {                                                                                                                  \
        "last", 'n', TL_VALUE_COUNT, "N", "Only the last N rows", NULL, NULL, 1, 0                                     \
    }
#define OPT_FROM                                                                                                       \
    {                                                                                                                  \
        "from", 0, TL_VALUE_DATE, "DATE", "Only rows of DATE and later", NULL, NULL, 0, 0                              \
    }
#define OPT_TO                                                                                                         \
    {                                                                                                                  \
        "to", 0, TL_VALUE_DATE, "DATE", "Only rows of DATE and earlier", NULL, NULL, 0, 0                              \
    }
#define OPT_FORMAT                                                                                                     \
    {                                                                                                                  \
        "format", 0, TL_VALUE_CHOICE, "FORM", "How to print", NULL, "table|csv|json", 0, 0                             \
    }
#define OPT_END                                                                                                        \
    {                                                                                                                  \
        0                                                                                                              \
    }

static const struct tl_option sample_options[] = {
    {"symbols", 's', TL_VALUE_COUNT, "N", "Symbols to make (300)", NULL, NULL, 1, 20000},
    {"years", 'y', TL_VALUE_COUNT, "N", "Years of trading days (5)", NULL, NULL, 1, 50},
    {"seed", 0, TL_VALUE_COUNT, "N", "Another seed makes another market (1)", NULL, NULL, 0, 0},
    {"end", 0, TL_VALUE_DATE, "DATE", "Last trading date (2024-12-31)", NULL, NULL, 0, 0},
    OPT_JSON,
    OPT_QUIET,
    OPT_END,
};

static const struct tl_option import_options[] = {
    {"symbol", 's', TL_VALUE_TEXT, "SYMBOL", "The symbol of all rows, instead of a column or the file name", NULL, NULL,
     0, 0},
    {"market", 'm', TL_VALUE_TEXT, "MARKET", "Market of bare codes: SH, SZ, BJ, HK, US or FUTURES", NULL,
     "SH|SZ|BJ|HK|US|FUTURES", 0, 0},
    {"freq", 'f', TL_VALUE_CHOICE, "FREQ", "Frequency of the bars, instead of what the times say", NULL,
     "1m|5m|15m|30m|60m|1d|1w|1mo", 0, 0},
    {"tz", 0, TL_VALUE_TEXT, "ZONE", "Time zone of the times, like Asia/Shanghai or +08:00, instead of the market's",
     NULL, NULL, 0, 0},
    {"bar-time", 0, TL_VALUE_CHOICE, "END", "Whether a time is the bar's start or its end", NULL, "start|end", 0, 0},
    {"profile", 'p', TL_VALUE_CHOICE, "VENDOR", "Headers, encoding and units of a vendor", NULL,
     "baostock|akshare|tushare|tdx|yahoo", 0, 0},
    {"kind", 'k', TL_VALUE_CHOICE, "KIND", "What the rows are (bars)", NULL, "bars|factors|calendar", 0, 0},
    {"calendar", 0, TL_VALUE_TEXT, "NAME", "The calendar that trading days belong to, like CN or US", NULL, NULL, 0, 0},
    {"provisional", 0, TL_VALUE_FLAG, NULL, "The last bar of each symbol is not final yet", NULL, NULL, 0, 0},
    {"errors", 'e', TL_VALUE_FLAG, NULL, "List every rejected row, not only the first", NULL, NULL, 0, 0},
    OPT_JSON,
    OPT_QUIET,
    OPT_END,
};

static const struct tl_option calc_options[] = {
    {"date", 'd', TL_VALUE_DATE, "DATE", "Only symbols that have a bar on DATE (else the others are skipped)", NULL,
     NULL, 0, 0},
    {"symbols", 's', TL_VALUE_TEXT, "LIST", "A,B,...; @FILE with one a line; or all (the default)", NULL, NULL, 0, 0},
    {"indicators", 'i', TL_VALUE_TEXT, "SPECS", "Indicators, parted by ';'", NULL, NULL, 0, 0},
    {"set", 0, TL_VALUE_TEXT, "NAME", "A set of indicators of the configuration", "calc.set", NULL, 0, 0},
    OPT_FREQ,
    OPT_ADJUST,
    {"workers", 'w', TL_VALUE_TEXT, "N", "Threads that compute; 0: one per core", "calc.workers", NULL, 0, 0},
    {"recompute", 0, TL_VALUE_FLAG, NULL, "Compute also what is fresh in the store", NULL, NULL, 0, 0},
    {"errors", 'e', TL_VALUE_FLAG, NULL, "List every failed item, not only the first", NULL, NULL, 0, 0},
    OPT_JSON,
    OPT_QUIET,
    OPT_END,
};

static const struct tl_option get_options[] = {
    OPT_LAST,   OPT_FROM,
    OPT_TO,     OPT_FORMAT,
    OPT_JSON,   OPT_FREQ,
    OPT_ADJUST, {"provisional", 0, TL_VALUE_FLAG, NULL, "Also the bar that is not final yet", NULL, NULL, 0, 0},
    OPT_END,
};

static const struct tl_option bars_options[] = {
    OPT_LAST, OPT_FROM, OPT_TO, OPT_FORMAT, OPT_JSON, OPT_FREQ, OPT_ADJUST, OPT_END,
};

static const struct tl_option json_options[] = {OPT_JSON, OPT_END};

static const struct tl_option help_options[] = {
    {"man", 0, TL_VALUE_FLAG, NULL, "Print the manual page (mdoc)", NULL, NULL, 0, 0},
    OPT_END,
};

static const struct tl_example sample_examples[] = {
    {"tierline sample sample", "Writes 300 symbols and 5 years into the folder sample."},
    {0},
};
static const struct tl_example import_examples[] = {
    {"tierline import sample/bars", "Imports every file of a folder; each file's name is its symbol."},
    {"tierline import --kind factors sample/factors.csv", "Imports adjustment factors."},
    {"tierline import --profile tdx SH#600519.txt", "Imports an export of TDX: GBK, volume in hands."},
    {0},
};
static const struct tl_example calc_examples[] = {
    {"tierline calc", "Computes the set daily for every symbol."},
    {"tierline calc --symbols 600519.SH,000001.SZ --indicators 'MACD;RSI(6)' --adjust forward",
     "Computes two indicators of two symbols on forward-adjusted prices."},
    {0},
};
static const struct tl_example get_examples[] = {
    {"tierline get 600519.SH 'MACD(12,26,9)' --last 5", "Shows the last five rows."},
    {"tierline get 600519.SH KDJ --format csv", "Prints all rows as CSV."},
    {0},
};
static const struct tl_example bars_examples[] = {
    {"tierline bars 600519.SH --freq 1w --last 10", "Shows the last ten weeks, made from days."},
    {0},
};
static const struct tl_example completion_examples[] = {
    {"source <(tierline completion bash)", "Completes commands and options in this shell."},
    {0},
};

static const struct tl_option cache_options[] = {
    {"timeframe", 't', TL_VALUE_TEXT, "TIMEFRAME", "Third part of the key, like 1d or 5m", NULL, NULL, 0, 0},
    {"ttl", 0, TL_VALUE_TEXT, "FRESH[/REDIS[/STORE]]", "put: how long it is fresh, and kept: 30s, 5m/1d/7d, forever",
     NULL, NULL, 0, 0},
    {"wait", 0, TL_VALUE_CHOICE, "TIER", "put: return when this tier has it (the lowest that is configured)", NULL,
     "memory|redis|store", 0, 0},
    {"max-age", 0, TL_VALUE_TEXT, "TIME", "get: not older than this; 0: as new as the lowest tier has it", NULL, NULL,
     0, 0},
    {"file", 0, TL_VALUE_FILE, "FILE", "put: the value is the content of FILE (- for standard input)", NULL, NULL, 0,
     0},
    {"batch", 0, TL_VALUE_FILE, "FILE",
     "put: one value a line (- for standard input), as get --json prints them: {\"type\", \"symbol\", \"timeframe\", "
     "\"value\", \"ttl\"}",
     NULL, NULL, 0, 0},
    {"watch", 'w', TL_VALUE_FLAG, NULL, "stats: again every second, until Ctrl-C", NULL, NULL, 0, 0},
    {"count", 0, TL_VALUE_COUNT, "N", "stats --watch: end after N times", NULL, NULL, 1, 0},
    {"by", 0, TL_VALUE_CHOICE, "SCOPE",
     "del: drop everything of a symbol, a type, a symbol's type and timeframe, or all", NULL,
     "key|symbol|type|group|all", 0, 0},
    OPT_JSON,
    OPT_END,
};
static const struct tl_example cache_examples[] = {
    {"tierline cache put fund_flow 600519.SH '{\"net\": 12.5}' --ttl 10m", "Keeps a value in every tier."},
    {"tierline cache get fund_flow 600519.SH", "Prints it as it was put."},
    {"tierline cache del fund_flow --by type", "Nothing of that type is served any more, by any process."},
    {"tierline cache stats --watch --redis redis://127.0.0.1", "Hits and latencies of all processes, live."},
    {0},
};
static const struct tl_option lock_options[] = {
    {"ttl", 0, TL_VALUE_TEXT, "TIME", "run: how long the lease outlives a holder that dies (5s)", NULL, NULL, 0, 0},
    {"wait", 0, TL_VALUE_TEXT, "TIME", "run: wait so long for the lease, 0: not at all (for ever)", NULL, NULL, 0, 0},
    OPT_JSON,
    OPT_END,
};
static const struct tl_example lock_examples[] = {
    {"tierline lock run nightly --wait 0 -- ./nightly.sh", "Runs the script unless it runs already, on any machine."},
    {"tierline lock list", "Shows every lease that is held now."},
    {0},
};
static const struct tl_option token_options[] = {
    {"scope", 0, TL_VALUE_CHOICE, "SCOPE", "create: what it may: read; write, which has read; admin, which has both",
     NULL, "read|write|admin", 0, 0},
    {"expires", 0, TL_VALUE_TEXT, "WHEN", "create: 90d, 12h, a date (its beginning, UTC), or never (the default)", NULL,
     NULL, 0, 0},
    OPT_JSON,
    OPT_END,
};
static const struct tl_example token_examples[] = {
    {"tierline token create dashboard --scope read --expires 90d",
     "Prints a new token; its hash goes into auth.tokens."},
    {"tierline token revoke dashboard", "Running servers refuse it within a second."},
    {0},
};
static const struct tl_option doctor_options[] = {
    {"adopt-store", 0, TL_VALUE_FLAG, NULL, "Let this store take over the Redis prefix (after a restore)", NULL, NULL,
     0, 0},
    OPT_JSON,
    OPT_END,
};

static const struct tl_option serve_options[] = {
    {"listen", 'l', TL_VALUE_TEXT, "ADDRESS", "Where to listen: HOST:PORT, unix:/path; several parted by commas",
     "server.listen", NULL, 0, 0},
    OPT_END,
};
static const struct tl_example serve_examples[] = {
    {"tierline serve --listen 127.0.0.1:8080", "on this machine alone"},
    {"tierline serve --listen unix:/run/tierline.sock --redis redis://127.0.0.1", "behind a proxy, one of several"},
    {0},
};
static const struct tl_option watch_options[] = {
    {"since", 0, TL_VALUE_TEXT, "POSITION", "Everything after this position, instead of how it stands", NULL, NULL, 0,
     0},
    OPT_JSON,
    OPT_QUIET,
    OPT_END,
};
static const struct tl_example watch_examples[] = {
    {"tierline watch --redis redis://127.0.0.1", "every job"},
    {"tierline watch task/daily-1700000000000-1a2b --json", "one, to its end"},
    {0},
};

static const struct tl_option worker_options[] = {
    {"workers", 'w', TL_VALUE_TEXT, "N", "Threads that compute; 0: one per core", "calc.workers", NULL, 0, 0},
    OPT_END,
};
static const struct tl_example worker_examples[] = {
    {"tierline worker --redis redis://127.0.0.1", "Runs the jobs that any process hands in, and the schedules."},
    {0},
};

static const struct tl_command commands[] = {
    {"sample", "Write a deterministic sample market as CSV", "DIR", 1, 1,
     "Writes bars/<SYMBOL>.csv, factors.csv and calendar.csv into DIR: daily bars with suspensions, splits, short "
     "histories and blank rows. The same options write the same bytes on every machine.",
     sample_options, sample_examples, tl_cmd_sample, false},
    {"import", "Import bars, adjustment factors or trading days from CSV", "FILE|DIR|-", 1, 1,
     "Reads a CSV file with a header in any column order, every *.csv and *.txt of a folder, or standard input (-). "
     "Files appear in the store whole or not at all. Importing again changes nothing; new bars are appended; changed "
     "history raises the data revision, so that results computed before are not fresh any more.\n\n"
     "Rows that cannot be used are rejected one by one, named with line and column, and counted. The symbol comes "
     "from --symbol, a column, or the file name. A bare code that is a share in one market and an index in another "
     "(000001) needs --market or a profile that says which.",
     import_options, import_examples, tl_cmd_import, false},
    {"calc", "Run the daily calculation", "", 0, 0,
     "Computes indicators of many symbols in parallel, each over its whole history, and keeps them in the store. What "
     "is fresh there is not computed again, so a calculation that was stopped goes on where it was. Items that fail "
     "(too few bars, no factors for an adjustment) do not stop the others; they are listed at the end and make the "
     "exit code 1. With a Redis, calculations that run at once on one store share the work: each indicator is computed "
     "by one of them, and what a killed one was at is taken over after calc.lease_ms.",
     calc_options, calc_examples, tl_cmd_calc, false},
    {"get", "Show an indicator of a symbol, computing what is missing", "SYMBOL SPEC", 2, 2,
     "Prints the rows of an indicator, from the store when it is fresh there, computed otherwise. SPEC is a name with "
     "parameters, like MACD(12,26,9); those left out take their defaults. See tierline indicators.",
     get_options, get_examples, tl_cmd_get, false},
    {"bars", "Show the bars of a symbol", "SYMBOL", 1, 1,
     "Prints bars as they are in the store, adjusted by its factors if asked, and resampled where the store holds a "
     "lower frequency only.",
     bars_options, bars_examples, tl_cmd_bars, false},
    {"symbols", "List the symbols in the store", "", 0, 0,
     "One row for each symbol and frequency: bars, first and last date, data revision.", json_options, NULL,
     tl_cmd_symbols, false},
    {"indicators", "List the indicators with parameters and ranges", "[NAME]", 0, 1,
     "One row for each indicator: parameters with their defaults, and outputs; with NAME the ranges of one.",
     json_options, NULL, tl_cmd_indicators, true},
    {"cache", "Put, get and drop values in the tiers", "put|get|del|stats|top [TYPE [SYMBOL [VALUE]]]", 1, 4,
     "A general cache for the other payloads of a platform: JSON or any bytes up to 8 MiB, found by data type, symbol "
     "and timeframe, kept in memory, Redis and the store. get prints the bytes as they were put; exit code 3 when "
     "there "
     "are none. SYMBOL may be a list parted by commas for get.\n\n"
     "del invalidates: nothing that was put or computed before is served again, by this or any other process. It costs "
     "the same for one value and for all.\n\n"
     "stats shows what each tier holds, whether it is in use, and the counters of all running processes that share "
     "this Redis prefix; top [N] shows the keys that they read most.",
     cache_options, cache_examples, tl_cmd_cache, false},
    {"lock", "Run a command under a lease, on one machine at a time", "run NAME -- COMMAND... | list", 1, UINT_MAX,
     "A lock across machines, kept in Redis. It ends by itself when its holder dies (--ttl), and is renewed as long as "
     "the command runs. The command finds its fencing token, which only ever rises, in TIERLINE_LOCK_TOKEN, and the "
     "name in TIERLINE_LOCK_NAME. When the lease is lost the command gets SIGTERM, and after 5 seconds SIGKILL.\n\n"
     "The exit code is the command's (128 and the signal's number when one ended it, 127 when it is not found), 5 when "
     "another holds the lease, 4 when it was lost, 6 when Redis cannot be reached.",
     lock_options, lock_examples, tl_cmd_lock, false},
    {"serve", "Serve HTTP, WebSocket and events", "", 0, 0,
     "The process that a web platform talks to: reads and computes indicators, runs jobs, lends its leases and its "
     "computing once to programs in any language, and pushes everything that happens. /api/v1/openapi.json describes "
     "the "
     "API, docs/protocol.md the WebSocket.\n\n"
     "It listens on server.listen, this machine alone unless told otherwise; beyond it only with tokens (tierline "
     "token) "
     "or keys for JWTs. SIGTERM and SIGINT say goodbye to clients, hand a job over and end within ten seconds; SIGHUP "
     "reads the settings anew. Sockets of systemd are taken instead of server.listen.",
     serve_options, serve_examples, tl_cmd_serve, false},
    {"watch", "Show events as they happen", "[TOPIC...]", 0, 32,
     "Topics are tasks (every job, without its items), task/ID, and market/SYMBOL; tasks unless told otherwise. "
     "Progress "
     "is a bar, everything else a line; --json prints the envelopes, one a line. One task alone is watched to its end. "
     "Events of all processes come through the Redis that they share.",
     watch_options, watch_examples, tl_cmd_watch, false},
    {"worker", "Run jobs and schedules, without listening", "", 0, 0,
     "Stays and runs jobs one after the other: those of the section [schedules] of the settings, and with a Redis "
     "those "
     "that other processes hand in. Several workers on one Redis share the jobs: each runs in one of them, and goes on "
     "in another when that one is killed; a schedule is run by one. Everything is published as tasks.\n\n"
     "SIGTERM and SIGINT hand the job under way over and end the process within ten seconds; SIGHUP reads the settings "
     "anew.",
     worker_options, worker_examples, tl_cmd_worker, false},
    {"token", "Create, list and revoke the tokens of the server", "create NAME | list | revoke NAME", 1, 2,
     "Bearer tokens for HTTP and WebSocket, in the file that auth.tokens names. The file has their hashes alone: a "
     "token "
     "is shown once, when it is created. Running servers follow the file within a second.\n\n"
     "revoke takes the name or the id that list shows. Exit code 5 when the name is taken, 3 when there is none, 6 "
     "when "
     "others may read or write the file.",
     token_options, token_examples, tl_cmd_token, false},
    {"doctor", "Check each configured component and say how to mend it", "", 0, 0,
     "Checks the settings, the store and Redis: reachable, writable, the right version, memory policy, permissions for "
     "scripts and channels, and whether the Redis prefix belongs to this store. Each problem comes with what to do "
     "about "
     "it. The exit code is 0 when everything that is configured works.",
     doctor_options, NULL, tl_cmd_doctor, false},
    {"config", "Show every setting, its value and where it came from", "", 0, 0,
     "Settings come from, later ones winning: the defaults, the configuration file, TIERLINE_* environment variables, "
     "flags. Credentials in URLs are not shown.",
     json_options, NULL, tl_cmd_config, false},
    {"completion", "Print a shell completion script", "bash", 1, 1,
     "Prints a script for bash that completes commands, options and their values.", NULL, completion_examples,
     tl_cmd_completion, true},
    {"help", "Show help for a command, or the manual page", "[COMMAND]", 0, 1, "", help_options, NULL, tl_cmd_help,
     true},
    {"version", "Show the version", "", 0, 0, "", NULL, NULL, tl_cmd_version, true},
    {0},
};

const struct tl_command *tl_cli_commands(void)
{
    return commands;
}

const struct tl_option *tl_cli_global_options(void)
{
    return global_options;
}
