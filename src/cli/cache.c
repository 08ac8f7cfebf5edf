/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline cache put|get|del|stats`: the general cache by hand, for scripts and for looking. */
#include "base/err.h"
#include "base/json.h"
#include "base/util.h"
#include "cache/entry.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "cli/tiers.h"

#include <errno.h>

enum { DEADLINE_MS = 10000, KEYS_MAX = 10000 };

struct session {
    struct tl_cli *cli;
    struct tl_store *store;
    struct tl_blocking *cache;
    bool writable;
};

static void end(struct session *s)
{
    tl_blocking_close(s->cache);
    tl_store_close(s->store);
}

static enum tl_status begin(struct session *s, bool writes, struct tl_err *err)
{
    struct tl_cli *cli = s->cli;
    struct tl_err redis;
    enum tl_status st = TL_OK;
    if (tl_cli_no_store(cli) && tl_cli_no_redis(cli))
        return tl_fail(err, TL_INVALID, "with neither a store nor a Redis there is nothing to keep values in");
    s->writable = writes;
    if (!tl_cli_no_store(cli)) st = tl_cli_open_store(cli, !writes, &s->store, err);
    if (st == TL_OK) st = tl_cli_open_cache(cli, s->store, writes, false, &s->cache, &redis, err);
    if (st == TL_OK && redis.status != TL_OK) tl_cli_warn(cli, "going on without Redis: %s", redis.text);
    if (st != TL_OK) end(s);
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
    if (out->too_large) return tl_fail(err, TL_TOO_LARGE, "%s: a value has at most %d bytes", path, TL_ENTRY_MAX);
    return tl_buf_status(out, err);
}

static enum tl_tier_id wait_tier(const struct session *s)
{
    const char *wait = tl_cli_opt(s->cli, "wait");
    if (!wait) return s->store ? TL_TIER_STORE : TL_TIER_REDIS;
    return strcmp(wait, "memory") == 0 ? TL_TIER_MEMORY : strcmp(wait, "redis") == 0 ? TL_TIER_REDIS : TL_TIER_STORE;
}

static enum tl_status put(struct session *s, struct tl_err *err)
{
    struct tl_cli *cli = s->cli;
    const char *file = tl_cli_opt(cli, "file"), *value = tl_cli_arg(cli, 3), *ttl = tl_cli_opt(cli, "ttl");
    struct tl_put_item item = {.key = {tl_cli_arg(cli, 1), tl_cli_arg(cli, 2), tl_cli_opt(cli, "timeframe")}};
    struct tl_buf bytes;
    if (!item.key.data_type || (!file && !value) || (file && value))
        return tl_fail(err, TL_INVALID,
                       "put takes TYPE SYMBOL VALUE, or TYPE SYMBOL --file FILE (- for standard input)");
    tl_buf_init(&bytes, TL_ENTRY_MAX);
    enum tl_status st = ttl ? tl_cli_ttl("--ttl", tl_str(ttl), &item.ttl, err) : TL_OK;
    if (st == TL_OK && file) st = read_all(file, &bytes, err);
    if (st == TL_OK) st = begin(s, true, err);
    if (st == TL_OK) {
        item.bytes = file ? tl_buf_str(&bytes).p : value;
        item.n = file ? bytes.n : strlen(value);
        st = tl_blocking_put(s->cache, &item, 1, wait_tier(s), DEADLINE_MS, err);
        if (st == TL_SOME_FAILED) {
            st = item.status;
            (void)tl_fail(err, st, "%s was not kept in the %s: %s", item.key.data_type, tl_tier_name(wait_tier(s)),
                          tl_status_text(st));
        }
        end(s);
    }
    tl_buf_release(&bytes);
    return st;
}

/* ---- get ---- */

static bool is_text(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0x20 && p[i] != '\n' && p[i] != '\t' && p[i] != '\r') return false;
    return true;
}

static enum tl_status print_json(struct session *s, const struct tl_get_item *item, struct tl_err *err)
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

static enum tl_status print_item(struct session *s, const struct tl_get_item *item, bool alone, struct tl_err *err)
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

static enum tl_status get_items(struct session *s, struct tl_get_item *items, size_t n, int64_t max_age,
                                struct tl_err *err)
{
    enum tl_status st = tl_blocking_get(s->cache, items, n, max_age, DEADLINE_MS, err), failed = TL_OK;
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

static enum tl_status get(struct session *s, struct tl_err *err)
{
    struct tl_cli *cli = s->cli;
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
    enum tl_status st = begin(s, false, err);
    if (st != TL_OK) return st;
    st = get_items(s, items, n, max_age, err);
    end(s);
    return st;
}

/* ---- del ---- */

static enum tl_status del(struct session *s, struct tl_err *err)
{
    static const struct {
        const char *name;
        enum tl_scope scope;
    } scopes[] = {{"key", TL_SCOPE_KEY},
                  {"symbol", TL_SCOPE_SYMBOL},
                  {"type", TL_SCOPE_TYPE},
                  {"group", TL_SCOPE_GROUP},
                  {"all", TL_SCOPE_ALL}};
    struct tl_cli *cli = s->cli;
    const char *by = tl_cli_opt(cli, "by");
    enum tl_scope scope = TL_SCOPE_KEY;
    for (size_t i = 0; by && i < TL_COUNT(scopes); i++)
        if (strcmp(by, scopes[i].name) == 0) scope = scopes[i].scope;
    struct tl_key key = {tl_cli_arg(cli, 1), tl_cli_arg(cli, 2), tl_cli_opt(cli, "timeframe")};
    if (scope == TL_SCOPE_SYMBOL && !key.symbol) key = (struct tl_key){NULL, key.data_type, NULL};
    if (scope != TL_SCOPE_ALL && scope != TL_SCOPE_SYMBOL && !key.data_type)
        return tl_fail(err, TL_INVALID, "del takes TYPE [SYMBOL], --by symbol SYMBOL, --by type TYPE, or --by all");
    enum tl_status st = begin(s, true, err);
    if (st != TL_OK) return st;
    st = tl_blocking_invalidate(s->cache, scope, &key, DEADLINE_MS, err);
    end(s);
    return st;
}

/* ---- stats ---- */

static enum tl_status counts_of(struct session *s, struct tl_store_counts *out, struct tl_err *err)
{
    struct tl_store_reader *r = NULL;
    *out = (struct tl_store_counts){.entries = 0};
    if (!s->store) return TL_OK;
    enum tl_status st = tl_store_reader_new(s->store, &r, err);
    if (st == TL_OK) st = tl_store_counts(r, out, err);
    tl_store_reader_free(r);
    return st;
}

static const char *state_of(const struct tl_tier_stats *t)
{
    return !t->configured ? "none" : t->breaker_open ? "breaker open" : t->up ? "in use" : "not in use";
}

static enum tl_status stats_json(struct session *s, const struct tl_cache_stats *c, const struct tl_store_counts *n,
                                 struct tl_err *err)
{
    struct tl_buf b;
    struct tl_json j;
    tl_buf_init(&b, 0);
    tl_json_init(&j, &b);
    tl_json_object(&j);
    const struct {
        const char *name;
        const struct tl_tier_stats *t;
    } tiers[] = {{"memory", &c->memory}, {"redis", &c->redis}, {"store", &c->store}};
    for (size_t i = 0; i < TL_COUNT(tiers); i++) {
        tl_json_key(&j, tiers[i].name);
        tl_json_object(&j);
        tl_json_key(&j, "state");
        tl_json_cstr(&j, state_of(tiers[i].t));
        if (tiers[i].t->why[0]) {
            tl_json_key(&j, "why");
            tl_json_cstr(&j, tiers[i].t->why);
        }
        tl_json_object_end(&j);
    }
    const struct {
        const char *name;
        uint64_t n;
    } numbers[] = {
        {"entries", n->entries}, {"entry_bytes", n->entry_bytes},         {"series", n->series},
        {"symbols", n->symbols}, {"invalidation_scopes", n->generations}, {"memory_cap_bytes", c->memory_cap_bytes}};
    for (size_t i = 0; i < TL_COUNT(numbers); i++) {
        tl_json_key(&j, numbers[i].name);
        tl_json_u64(&j, numbers[i].n);
    }
    tl_json_object_end(&j);
    enum tl_status st = tl_out_json(s->cli, &b, err);
    tl_buf_release(&b);
    return st;
}

static enum tl_status stats_table(struct session *s, const struct tl_cache_stats *c, const struct tl_store_counts *n,
                                  struct tl_err *err)
{
    static const char *const heads[] = {"<tier", "<state", "<holds"};
    char a[TL_HUMAN_MAX], b[TL_HUMAN_MAX], d[TL_HUMAN_MAX];
    struct tl_table t;
    tl_table_init(&t, 3, heads);
    tl_table_cell(&t, "memory");
    tl_table_cell(&t, "in use");
    tl_table_cellf(&t, "up to %s in each process", tl_human_bytes(a, c->memory_cap_bytes));
    tl_table_cell(&t, "redis");
    tl_table_cell(&t, state_of(&c->redis));
    tl_table_cell(&t, c->redis.why);
    tl_table_cell(&t, "store");
    tl_table_cell(&t, state_of(&c->store));
    if (s->store)
        tl_table_cellf(&t, "%s values (%s), %s series", tl_human_count(a, n->entries),
                       tl_human_bytes(b, n->entry_bytes), tl_human_count(d, n->series));
    else
        tl_table_cell(&t, "");
    enum tl_status st = tl_table_print(&t, s->cli, err);
    tl_table_release(&t);
    return st;
}

static enum tl_status stats(struct session *s, struct tl_err *err)
{
    struct tl_cache_stats c;
    struct tl_store_counts n;
    enum tl_status st = begin(s, false, err);
    if (st != TL_OK) return st;
    tl_blocking_stats(s->cache, &c);
    st = counts_of(s, &n, err);
    if (st == TL_OK) st = tl_cli_flag(s->cli, "json") ? stats_json(s, &c, &n, err) : stats_table(s, &c, &n, err);
    end(s);
    return st;
}

enum tl_status tl_cmd_cache(struct tl_cli *cli, struct tl_err *err)
{
    static const struct {
        const char *name;
        enum tl_status (*run)(struct session *, struct tl_err *);
    } verbs[] = {{"put", put}, {"get", get}, {"del", del}, {"stats", stats}};
    struct session s = {.cli = cli};
    const char *verb = tl_cli_arg(cli, 0);
    for (size_t i = 0; i < TL_COUNT(verbs); i++)
        if (strcmp(verb, verbs[i].name) == 0) return verbs[i].run(&s, err);
    return tl_fail(err, TL_INVALID, "cache %s: only put, get, del and stats are known", verb);
}
