/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline doctor`: each component on its own, what is wrong with it, and how to mend it. Writes nothing but a key of
 * its own in Redis, which it deletes again, and (with --adopt-store) the owner of the prefix. */
#include "base/err.h"
#include "base/json.h"
#include "base/util.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "cli/tiers.h"

enum { ASK_MS = 2000, REPLY_MAX = 8192 };

struct doctor {
    struct tl_cli *cli;
    struct tl_table table;
    struct tl_buf json_text;
    struct tl_json json;
    unsigned problems;
    struct tl_store *store;
    struct tl_blocking *cache;
};

enum verdict { GOOD, ADVICE, PROBLEM };

static void say(struct doctor *d, enum verdict v, const char *what, const char *mend, const char *fmt, ...)
    TL_PRINTF(5, 6);
static void say(struct doctor *d, enum verdict v, const char *what, const char *mend, const char *fmt, ...)
{
    static const char *const words[] = {"ok", "advice", "problem"};
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    d->problems += v == PROBLEM;
    tl_table_cell(&d->table, words[v]);
    tl_table_cell(&d->table, what);
    tl_table_cell(&d->table, text);
    tl_json_object(&d->json);
    tl_json_key(&d->json, "verdict");
    tl_json_cstr(&d->json, words[v]);
    tl_json_key(&d->json, "check");
    tl_json_cstr(&d->json, what);
    tl_json_key(&d->json, "finding");
    tl_json_cstr(&d->json, text);
    tl_json_key(&d->json, "mend");
    tl_json_cstr(&d->json, v == GOOD ? NULL : mend);
    tl_json_object_end(&d->json);
    if (v == GOOD || !mend) return;
    tl_table_cell(&d->table, "");
    tl_table_cell(&d->table, "");
    tl_table_cellf(&d->table, "-> %s", mend);
}

/* ---- the store ---- */

static void check_store(struct doctor *d)
{
    struct tl_cli *cli = d->cli;
    struct tl_err err;
    char url[512];
    tl_url_redact(tl_config_str(cli->cfg, "store"), url, sizeof url);
    if (tl_cli_no_store(cli)) {
        say(d, ADVICE, "store", "set `store` to keep bars and results, and to compute", "none is configured");
        return;
    }
    enum tl_status st = tl_cli_open_store(cli, false, &d->store, &err);
    if (st == TL_DENIED) {
        st = tl_cli_open_store(cli, true, &d->store, &err);
        if (st == TL_OK)
            say(d, PROBLEM, "store", "give this user the right to write the file and its folder", "%s can only be read",
                url);
    } else if (st == TL_OK) {
        say(d, GOOD, "store", NULL, "%s, id %s", url, tl_store_id(d->store));
    }
    if (st == TL_OK) return;
    say(d, PROBLEM, "store",
        st == TL_CORRUPT   ? "restore a backup, or move the file away and import again"
        : st == TL_BUSY    ? "wait for that process, or end it; raise store.busy_ms"
        : st == TL_TOO_NEW ? "use the newer tierline that wrote it"
        : st == TL_FULL    ? "free some space"
                           : "check the path and the rights of the file and its folder",
        "%s", err.text);
}

static void check_counts(struct doctor *d)
{
    struct tl_store_reader *r = NULL;
    struct tl_store_counts n;
    struct tl_err err;
    if (!d->store) return;
    enum tl_status st = tl_store_reader_new(d->store, &r, &err);
    if (st == TL_OK) st = tl_store_counts(r, &n, &err);
    tl_store_reader_free(r);
    if (st != TL_OK) {
        say(d, PROBLEM, "store", "restore a backup", "%s", err.text);
    } else if (n.symbols == 0) {
        say(d, ADVICE, "bars", "tierline import FILE", "the store has none yet");
    } else {
        say(d, GOOD, "bars", NULL, "%llu series of bars, %llu of indicators, %llu cached values",
            (unsigned long long)n.symbols, (unsigned long long)n.series, (unsigned long long)n.entries);
    }
}

/* ---- Redis ---- */

struct question {
    struct tl_blocking_call call;
    struct tl_redis_cmd cmd;
    char *out;
};

static void on_answer(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                      const struct tl_err *err)
{
    struct question *q = cmd->user;
    const struct tl_reply *r = reply;
    if (status == TL_OK && r->type == TL_REPLY_ARRAY && r->n > 0) r = r->items[r->n - 1]; /* CONFIG GET: the value */
    if (status != TL_OK)
        snprintf(q->out, REPLY_MAX, "%s", err->text);
    else if (r->type == TL_REPLY_INTEGER)
        snprintf(q->out, REPLY_MAX, "%lld", (long long)r->integer);
    else
        snprintf(q->out, REPLY_MAX, "%.*s", (int)TL_MIN(r->str.n, (size_t)REPLY_MAX - 1), r->str.p ? r->str.p : "");
    tl_blocking_end(&q->call, status);
}

static void begin_question(struct tl_blocking_call *call, struct tl_cache *c)
{
    struct question *q = (struct question *)(void *)call;
    struct tl_err err;
    q->cmd.cb = on_answer;
    q->cmd.user = q;
    enum tl_status st = tl_redis_submit(c->redis, &q->cmd, ASK_MS, &err);
    if (st == TL_OK) return;
    snprintf(q->out, REPLY_MAX, "%s", err.text);
    tl_blocking_end(call, st);
}

static enum tl_status ask(struct doctor *d, char out[REPLY_MAX], const struct tl_str *argv, size_t argc)
{
    struct question q = {.call.begin = begin_question, .cmd = {.argv = argv, .argc = argc}, .out = out};
    out[0] = '\0';
    return tl_blocking_run(d->cache, &q.call);
}
#define ASK(d, out, ...)                                                                                               \
    ask(d, out, (const struct tl_str[]){__VA_ARGS__},                                                                  \
        sizeof((const struct tl_str[]){__VA_ARGS__}) / sizeof(struct tl_str))

static void check_memory_policy(struct doctor *d)
{
    char policy[REPLY_MAX], limit[REPLY_MAX];
    if (ASK(d, policy, TL_STR("CONFIG"), TL_STR("GET"), TL_STR("maxmemory-policy")) != TL_OK ||
        ASK(d, limit, TL_STR("CONFIG"), TL_STR("GET"), TL_STR("maxmemory")) != TL_OK) {
        say(d, ADVICE, "redis memory", "see that maxmemory-policy is noeviction", "not allowed to look: %.200s",
            policy);
        return;
    }
    bool unlimited = strcmp(limit, "0") == 0;
    if (unlimited || strcmp(policy, "noeviction") == 0)
        say(d, GOOD, "redis memory", NULL, "policy %.40s, limit %.40s", policy, unlimited ? "none" : limit);
    else
        say(d, PROBLEM, "redis memory",
            "CONFIG SET maxmemory-policy noeviction: any other evicts leases, versions and generations when memory is "
            "short",
            "policy %.40s with a limit of %.40s bytes", policy, limit);
}

static void check_rights(struct doctor *d)
{
    const char *prefix = tl_config_str(d->cli->cfg, "redis.prefix");
    char key[128], channel[128], out[REPLY_MAX];
    snprintf(key, sizeof key, "%.64sdoctor", prefix);
    snprintf(channel, sizeof channel, "%.64schannel:market:update", prefix);
    static const char mend[] =
        "give the Redis user what it needs: ACL SETUSER NAME on >PASSWORD ~PREFIX* &PREFIX* +@all "
        "-@dangerous +config|get +info";
    struct tl_str k = tl_str(key);
    enum tl_status set = ASK(d, out, TL_STR("SET"), k, TL_STR("1"), TL_STR("PX"), TL_STR("10000"));
    if (set != TL_OK) {
        say(d, PROBLEM, "redis writes", set == TL_FULL ? "raise maxmemory" : mend, "%.300s", out);
        return;
    }
    if (ASK(d, out, TL_STR("EVAL"), TL_STR("return redis.call('DEL', KEYS[1])"), TL_STR("1"), k) != TL_OK)
        say(d, PROBLEM, "redis scripts", mend, "%.300s", out);
    else if (ASK(d, out, TL_STR("PUBLISH"), tl_str(channel), TL_STR("")) != TL_OK)
        say(d, PROBLEM, "redis channels", mend, "%.300s", out);
    else
        say(d, GOOD, "redis rights", NULL, "keys, scripts and channels under %.64s", prefix);
}

static void check_redis(struct doctor *d)
{
    struct tl_cli *cli = d->cli;
    struct tl_err redis, err;
    char url[512], out[REPLY_MAX];
    if (tl_cli_no_redis(cli)) {
        say(d, GOOD, "redis", NULL, "none is configured: this process works alone with its store");
        return;
    }
    tl_url_redact(tl_config_str(cli->cfg, "redis"), url, sizeof url);
    const struct tl_cache_options_inside how = {.adopt_store = tl_cli_flag(cli, "adopt-store"), .silent = true};
    enum tl_status st = tl_cli_open_cache(cli, d->store, d->store != NULL, &how, &d->cache, &redis, &err);
    if (st == TL_CONFLICT) {
        say(d, PROBLEM, "redis prefix",
            "use the store that owns the prefix, or another --prefix; after restoring a store: tierline doctor "
            "--adopt-store",
            "%s", err.text);
        return;
    }
    if (st != TL_OK) {
        say(d, PROBLEM, "redis", "correct the setting `redis`", "%s", err.text);
        return;
    }
    if (redis.status != TL_OK) {
        say(d, PROBLEM, "redis",
            redis.status == TL_DENIED ? "correct user and password in the setting `redis`"
                                      : "start the server, or correct host and port in the setting `redis`",
            "%s: %.300s", url, redis.text);
        return;
    }
    uint64_t began = tl_clock_mono_ns(cli->clock);
    st = ASK(d, out, TL_STR("PING"));
    double ms = (double)(tl_clock_mono_ns(cli->clock) - began) / 1e6;
    if (st != TL_OK)
        say(d, PROBLEM, "redis", "see the server's log", "%.300s", out);
    else
        say(d, ms < 10 ? GOOD : ADVICE, "redis", "put the server nearer: every miss in memory costs this",
            "%s answers in %.2f ms", url, ms);
    check_memory_policy(d);
    check_rights(d);
}

enum tl_status tl_cmd_doctor(struct tl_cli *cli, struct tl_err *err)
{
    static const char *const heads[] = {"<verdict", "<check", "<finding"};
    struct doctor d = {.cli = cli};
    bool json = tl_cli_flag(cli, "json");
    if (tl_cli_flag(cli, "adopt-store") && (tl_cli_no_store(cli) || tl_cli_no_redis(cli)))
        return tl_fail(err, TL_INVALID, "--adopt-store needs both a store and a Redis");
    tl_table_init(&d.table, 3, heads);
    tl_buf_init(&d.json_text, 0);
    tl_json_init(&d.json, &d.json_text);
    tl_json_array(&d.json);
    check_store(&d);
    check_counts(&d);
    check_redis(&d);
    tl_json_array_end(&d.json);
    tl_blocking_close(d.cache);
    tl_store_close(d.store);
    enum tl_status st = json ? tl_out_json(cli, &d.json_text, err) : tl_table_print(&d.table, cli, err);
    tl_table_release(&d.table);
    tl_buf_release(&d.json_text);
    if (st != TL_OK || d.problems == 0) return st;
    if (err) err->text[0] = '\0'; /* all was said */
    return TL_SOME_FAILED;
}
