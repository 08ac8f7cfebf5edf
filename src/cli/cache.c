/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline cache put|get|del`: the general cache by hand, for scripts and for looking. */
#include "base/err.h"
#include "base/json.h"
#include "base/util.h"
#include "cache/entry.h"
#include "cli/cache.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "cli/tiers.h"

#include <errno.h>
#include <jansson.h>

enum { KEYS_MAX = 10000, BATCH = 500, LINE_MAX_BYTES = 2 * TL_VALUE_MAX, FAILURES_SHOWN = 20 };

void tl_cache_session_end(struct tl_cache_session *s)
{
    tl_blocking_close(s->cache);
    tl_store_close(s->store);
    s->cache = NULL;
    s->store = NULL;
}

enum tl_status tl_cache_session_begin(struct tl_cache_session *s, struct tl_cli *cli, bool writes, bool silent,
                                      struct tl_err *err)
{
    struct tl_err redis;
    enum tl_status st = TL_OK;
    *s = (struct tl_cache_session){.cli = cli};
    if (tl_cli_no_store(cli) && tl_cli_no_redis(cli))
        return tl_fail(err, TL_INVALID, "with neither a store nor a Redis there is nothing to keep values in");
    const struct tl_cache_options_inside how = {.silent = silent};
    if (!tl_cli_no_store(cli)) st = tl_cli_open_store(cli, !writes, &s->store, err);
    if (st == TL_OK) st = tl_cli_open_cache(cli, s->store, writes, &how, &s->cache, &redis, err);
    if (st == TL_OK && redis.status != TL_OK) tl_cli_warn(cli, "going on without Redis: %s", redis.text);
    if (st != TL_OK) tl_cache_session_end(s);
    return st;
}

/* ---- put ---- */

static enum tl_status read_all(const char *path, struct tl_buf *out, struct tl_err *err)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rbe");
    if (!f) return tl_fail_errno(err, errno, "cannot read %s", path);
    char bytes[65536];
    size_t n;
    while ((n = fread(bytes, 1, sizeof bytes, f)) > 0) tl_buf_put(out, bytes, n);
    bool broken = ferror(f) != 0;
    if (f != stdin) fclose(f);
    if (broken) return tl_fail(err, TL_IO, "cannot read %s", path);
    if (out->too_large) return tl_fail(err, TL_TOO_LARGE, "%s: a value has at most %d bytes", path, TL_VALUE_MAX);
    return tl_buf_status(out, err);
}

static enum tl_tier_id wait_tier(const struct tl_cache_session *s)
{
    const char *wait = tl_cli_opt(s->cli, "wait");
    if (!wait) return s->store ? TL_TIER_STORE : TL_TIER_REDIS;
    return strcmp(wait, "memory") == 0 ? TL_TIER_MEMORY : strcmp(wait, "redis") == 0 ? TL_TIER_REDIS : TL_TIER_STORE;
}

static enum tl_status put_one(struct tl_cli *cli, struct tl_err *err)
{
    struct tl_cache_session s;
    const char *file = tl_cli_opt(cli, "file"), *value = tl_cli_arg(cli, 3), *ttl = tl_cli_opt(cli, "ttl");
    struct tl_put_item item = {.key = {tl_cli_arg(cli, 1), tl_cli_arg(cli, 2), tl_cli_opt(cli, "timeframe")}};
    struct tl_buf bytes;
    if (!item.key.data_type || (!file && !value) || (file && value))
        return tl_fail(err, TL_INVALID,
                       "put takes TYPE SYMBOL VALUE, or TYPE SYMBOL --file FILE (- for standard input)");
    tl_buf_init(&bytes, TL_VALUE_MAX);
    enum tl_status st = ttl ? tl_ttl_read("--ttl", tl_str(ttl), &item.ttl, err) : TL_OK;
    if (st == TL_OK && file) st = read_all(file, &bytes, err);
    if (st == TL_OK) st = tl_cache_session_begin(&s, cli, true, false, err);
    if (st == TL_OK) {
        item.bytes = file ? tl_buf_str(&bytes).p : value;
        item.n = file ? bytes.n : strlen(value);
        st = tl_blocking_put(s.cache, &item, 1, wait_tier(&s), TL_CACHE_DEADLINE_MS, err);
        if (st == TL_SOME_FAILED) {
            st = item.status;
            (void)tl_fail(err, st, "%s was not kept in the %s: %s", item.key.data_type, tl_tier_name(wait_tier(&s)),
                          tl_status_text(st));
        }
        tl_cache_session_end(&s);
    }
    tl_buf_release(&bytes);
    return st;
}

/* One line: {"type", "symbol", "timeframe", "value", "ttl"}, as `get --json` prints them. A value that is a string is
 * kept as its bytes, any other as JSON. item borrows from *line and *text. */
static enum tl_status parse_line(const char *p, size_t n, json_t **line, char **text, struct tl_put_item *item,
                                 struct tl_err *err)
{
    json_error_t bad;
    *item = (struct tl_put_item){.n = 0};
    *line = json_loadb(p, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &bad);
    if (!*line) return tl_fail(err, TL_INVALID, "column %d: %s", bad.column, bad.text);
    const char *ttl = json_string_value(json_object_get(*line, "ttl"));
    const json_t *value = json_object_get(*line, "value");
    item->key.data_type = json_string_value(json_object_get(*line, "type"));
    item->key.symbol = json_string_value(json_object_get(*line, "symbol"));
    item->key.timeframe = json_string_value(json_object_get(*line, "timeframe"));
    if (!item->key.data_type || !value)
        return tl_fail(err, TL_INVALID, "an object with \"type\" (a string) and \"value\" is needed");
    if (json_is_string(value)) {
        item->bytes = json_string_value(value);
        item->n = json_string_length(value);
    } else {
        *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        if (!*text) return tl_fail(err, TL_NOMEM, "no memory for a value");
        item->bytes = *text;
        item->n = strlen(*text);
    }
    return ttl ? tl_ttl_read("ttl", tl_str(ttl), &item->ttl, err) : TL_OK;
}

struct batch {
    struct tl_cache_session s;
    const char *path;
    struct tl_ttl ttl; /* of lines that name none */
    size_t line, n, kept, failed;
    struct tl_put_item items[BATCH];
    size_t lines[BATCH]; /* numbers */
    json_t *parsed[BATCH];
    char *texts[BATCH];
    enum tl_status first; /* failure */
};

static void batch_failed(struct batch *b, size_t line, enum tl_status status, const char *why)
{
    const char *from = strcmp(b->path, "-") == 0 ? "standard input" : b->path;
    if (b->failed++ == 0) b->first = status;
    if (b->failed <= FAILURES_SHOWN) tl_cli_warn(b->s.cli, "%s, line %zu: %s", from, line, why);
}

static enum tl_status flush_batch(struct batch *b, struct tl_err *err)
{
    enum tl_status st = TL_OK;
    if (b->n > 0) st = tl_blocking_put(b->s.cache, b->items, b->n, wait_tier(&b->s), TL_CACHE_DEADLINE_MS, err);
    for (size_t i = 0; i < b->n; i++) {
        if (st == TL_OK || st == TL_SOME_FAILED) {
            if (b->items[i].status == TL_OK)
                b->kept++;
            else
                batch_failed(b, b->lines[i], b->items[i].status, tl_status_text(b->items[i].status));
        }
        json_decref(b->parsed[i]);
        free(b->texts[i]);
    }
    b->n = 0;
    return st == TL_SOME_FAILED ? TL_OK : st;
}

static enum tl_status batch_line(struct batch *b, const char *p, size_t n, struct tl_err *err)
{
    struct tl_err bad;
    size_t i = b->n;
    b->line++;
    if (tl_str_trim((struct tl_str){p, n}).n == 0) return TL_OK;
    b->texts[i] = NULL;
    enum tl_status st = parse_line(p, n, &b->parsed[i], &b->texts[i], &b->items[i], &bad);
    struct tl_cache_key key; /* one bad key would refuse its whole batch */
    if (st == TL_OK) st = tl_cache_key_general(&b->items[i].key, &key, &bad);
    if (st != TL_OK) {
        batch_failed(b, b->line, st, bad.text);
        json_decref(b->parsed[i]);
        free(b->texts[i]);
        return TL_OK;
    }
    struct tl_ttl *ttl = &b->items[i].ttl;
    if (!ttl->fresh_ms) ttl->fresh_ms = b->ttl.fresh_ms;
    if (!ttl->redis_ms) ttl->redis_ms = b->ttl.redis_ms;
    if (!ttl->store_ms) ttl->store_ms = b->ttl.store_ms;
    b->lines[b->n++] = b->line;
    return b->n == BATCH ? flush_batch(b, err) : TL_OK;
}

static enum tl_status batch_lines(struct batch *b, FILE *f, struct tl_err *err)
{
    struct tl_buf line;
    enum tl_status st = TL_OK;
    int c = 0;
    tl_buf_init(&line, LINE_MAX_BYTES);
    while (st == TL_OK && c != EOF) {
        c = getc_unlocked(f);
        if (c != EOF && c != '\n') {
            tl_buf_putc(&line, (char)c);
            continue;
        }
        if (line.failed)
            st = tl_fail(err, TL_TOO_LARGE, "%s, line %zu: at most %d bytes", b->path, b->line + 1, LINE_MAX_BYTES);
        else if (c != EOF || line.n > 0)
            st = batch_line(b, tl_buf_str(&line).p, line.n, err);
        tl_buf_clear(&line);
    }
    if (st == TL_OK && ferror(f)) st = tl_fail(err, TL_IO, "cannot read %s", b->path);
    tl_buf_release(&line);
    enum tl_status flushed = flush_batch(b, st == TL_OK ? err : NULL);
    return st == TL_OK ? flushed : st;
}

static enum tl_status put_batch(struct tl_cli *cli, const char *path, struct tl_err *err)
{
    const char *ttl = tl_cli_opt(cli, "ttl");
    if (tl_cli_arg(cli, 1)) return tl_fail(err, TL_INVALID, "with --batch the keys and values stand in its lines");
    TL_AUTOFREE struct batch *b = tl_calloc(1, sizeof *b);
    if (!b) return tl_fail(err, TL_NOMEM, "no memory for a batch");
    b->path = path;
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rbe");
    if (!f) return tl_fail_errno(err, errno, "cannot read %s", path);
    enum tl_status st = ttl ? tl_ttl_read("--ttl", tl_str(ttl), &b->ttl, err) : TL_OK;
    if (st == TL_OK) st = tl_cache_session_begin(&b->s, cli, true, false, err);
    if (st == TL_OK) {
        st = batch_lines(b, f, err);
        const char *tier = tl_tier_name(wait_tier(&b->s));
        if (!cli->quiet) fprintf(cli->err, "%zu values kept (%s), %zu failed\n", b->kept, tier, b->failed);
        tl_cache_session_end(&b->s);
    }
    if (f != stdin) fclose(f);
    if (st != TL_OK || b->failed == 0) return st;
    if (err) err->text[0] = '\0'; /* each was reported */
    return b->kept > 0 ? TL_SOME_FAILED : b->first;
}

static enum tl_status put(struct tl_cli *cli, struct tl_err *err)
{
    const char *batch = tl_cli_opt(cli, "batch");
    return batch ? put_batch(cli, batch, err) : put_one(cli, err);
}

/* ---- get ---- */

static bool is_text(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0x20 && p[i] != '\n' && p[i] != '\t' && p[i] != '\r') return false;
    return true;
}

static enum tl_status print_json(struct tl_cache_session *s, const struct tl_get_item *item, struct tl_err *err)
{
    struct tl_buf b;
    struct tl_json j;
    tl_buf_init(&b, 0);
    tl_json_init(&j, &b);
    tl_json_object(&j);
    tl_json_key(&j, "type");
    tl_json_cstr(&j, item->key.data_type);
    tl_json_key(&j, "symbol");
    tl_json_cstr(&j, item->key.symbol);
    tl_json_key(&j, "timeframe");
    tl_json_cstr(&j, item->key.timeframe);
    tl_json_key(&j, "status");
    tl_json_cstr(&j, tl_status_name(item->status));
    if (item->status == TL_OK) {
        size_t n;
        const char *p = tl_value_bytes(item->value, &n);
        tl_json_key(&j, "source");
        tl_json_cstr(&j, tl_tier_name(item->source));
        tl_json_key(&j, "freshness");
        tl_json_cstr(&j, tl_freshness_name(item->freshness));
        tl_json_key(&j, "age_ms");
        tl_json_i64(&j, item->age_ms);
        tl_json_key(&j, "bytes");
        tl_json_u64(&j, n);
        tl_json_key(&j, "value");
        if (is_text(p, n))
            tl_json_str(&j, (struct tl_str){p, n});
        else
            tl_json_null(&j); /* bytes: without --json they are printed as they are */
    }
    tl_json_object_end(&j);
    enum tl_status st = tl_out_json(s->cli, &b, err);
    tl_buf_release(&b);
    return st;
}

static enum tl_status print_item(struct tl_cache_session *s, const struct tl_get_item *item, bool alone,
                                 struct tl_err *err)
{
    if (tl_cli_flag(s->cli, "json")) return print_json(s, item, err);
    if (item->status != TL_OK) return TL_OK;
    size_t n;
    const char *p = tl_value_bytes(item->value, &n);
    if (item->freshness == TL_STALE)
        tl_cli_warn(s->cli, "%s is %.1f s old, past its time",
                    item->key.symbol ? item->key.symbol : item->key.data_type, (double)item->age_ms / 1e3);
    fwrite(p, 1, n, s->cli->out);
    if (!alone || (s->cli->out_tty && (n == 0 || p[n - 1] != '\n'))) fputc('\n', s->cli->out);
    return TL_OK;
}

static enum tl_status get_items(struct tl_cache_session *s, struct tl_get_item *items, size_t n, int64_t max_age,
                                struct tl_err *err)
{
    enum tl_status st = tl_blocking_get(s->cache, items, n, max_age, TL_CACHE_DEADLINE_MS, err), failed = TL_OK;
    if (st != TL_OK && st != TL_SOME_FAILED) return st;
    st = TL_OK;
    for (size_t i = 0; i < n; i++) {
        if (st == TL_OK) st = print_item(s, &items[i], n == 1, err);
        if (items[i].status != TL_OK && failed == TL_OK)
            failed = tl_fail(err, items[i].status, "%s %s: %s", items[i].key.data_type,
                             items[i].key.symbol ? items[i].key.symbol : "-", tl_status_text(items[i].status));
        tl_value_unref(items[i].value);
    }
    return st == TL_OK ? failed : st;
}

static enum tl_status get(struct tl_cli *cli, struct tl_err *err)
{
    struct tl_cache_session s;
    const char *age = tl_cli_opt(cli, "max-age"), *type = tl_cli_arg(cli, 1);
    int64_t max_age = 0;
    size_t n = 0;
    if (!type || tl_cli_arg(cli, 3)) return tl_fail(err, TL_INVALID, "get takes TYPE [SYMBOL[,SYMBOL...]]");
    if (age && !tl_duration_parse(tl_str(age), &max_age))
        return tl_fail(err, TL_INVALID, "--max-age: '%s' is not a time like 500ms, 30s or 5m", age);
    if (age && max_age == 0) max_age = TL_AGE_NOW;
    const char *symbols = tl_cli_arg(cli, 2) ? tl_cli_arg(cli, 2) : "";
    TL_AUTOFREE char *list = tl_calloc(strlen(symbols) + 1, 1);
    TL_AUTOFREE struct tl_get_item *items = tl_calloc(KEYS_MAX, sizeof *items);
    if (!list || !items) return tl_fail(err, TL_NOMEM, "no memory for the keys");
    memcpy(list, symbols, strlen(symbols));
    for (char *at = list; at;) {
        if (n == KEYS_MAX) return tl_fail(err, TL_TOO_LARGE, "at most %d symbols at once", KEYS_MAX);
        char *comma = strchr(at, ',');
        if (comma) *comma = '\0';
        items[n++].key = (struct tl_key){type, at[0] ? at : NULL, tl_cli_opt(cli, "timeframe")};
        at = comma ? comma + 1 : NULL;
    }
    enum tl_status st = tl_cache_session_begin(&s, cli, false, false, err);
    if (st != TL_OK) return st;
    st = get_items(&s, items, n, max_age, err);
    tl_cache_session_end(&s);
    return st;
}

/* ---- del ---- */

static enum tl_status del(struct tl_cli *cli, struct tl_err *err)
{
    struct tl_cache_session s;
    static const struct {
        const char *name;
        enum tl_scope scope;
    } scopes[] = {{"key", TL_SCOPE_KEY},
                  {"symbol", TL_SCOPE_SYMBOL},
                  {"type", TL_SCOPE_TYPE},
                  {"group", TL_SCOPE_GROUP},
                  {"all", TL_SCOPE_ALL}};
    const char *by = tl_cli_opt(cli, "by");
    enum tl_scope scope = TL_SCOPE_KEY;
    for (size_t i = 0; by && i < TL_COUNT(scopes); i++)
        if (strcmp(by, scopes[i].name) == 0) scope = scopes[i].scope;
    struct tl_key key = {tl_cli_arg(cli, 1), tl_cli_arg(cli, 2), tl_cli_opt(cli, "timeframe")};
    if (scope == TL_SCOPE_SYMBOL && !key.symbol) key = (struct tl_key){NULL, key.data_type, NULL};
    if (scope != TL_SCOPE_ALL && scope != TL_SCOPE_SYMBOL && !key.data_type)
        return tl_fail(err, TL_INVALID, "del takes TYPE [SYMBOL], --by symbol SYMBOL, --by type TYPE, or --by all");
    enum tl_status st = tl_cache_session_begin(&s, cli, true, false, err);
    if (st != TL_OK) return st;
    st = tl_blocking_invalidate(s.cache, scope, &key, TL_CACHE_DEADLINE_MS, err);
    tl_cache_session_end(&s);
    return st;
}

enum tl_status tl_cmd_cache(struct tl_cli *cli, struct tl_err *err)
{
    static const struct {
        const char *name;
        enum tl_status (*run)(struct tl_cli *, struct tl_err *);
    } verbs[] = {{"put", put}, {"get", get}, {"del", del}, {"stats", tl_cache_stats_cmd}, {"top", tl_cache_top_cmd}};
    const char *verb = tl_cli_arg(cli, 0);
    for (size_t i = 0; i < TL_COUNT(verbs); i++)
        if (strcmp(verb, verbs[i].name) == 0) return verbs[i].run(cli, err);
    return tl_fail(err, TL_INVALID, "cache %s: only put, get, del, stats and top are known", verb);
}
