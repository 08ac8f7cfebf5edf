/* SPDX-License-Identifier: Apache-2.0 */
/* The data versions that Redis shows: ver:{SYMBOL}, a hash of "freq:adjust" to "revision:bars:last_ts", with the store
 * that gave them out. They are raised, never lowered, and the raising is announced. The store stays their authority:
 * whoever has one does not ask here.
 *
 * Every process with a store tells Redis what its change log says, from where Redis was told last ("told": store and
 * position). So an importer that died before it could, one without a Redis, or a Redis that came back older leaves no
 * version behind for longer than a turn of the follower. */
#include "cache/cache.h"

#include "base/err.h"
#include "base/util.h"

#include <inttypes.h>
#include <stdio.h>

enum { TELL_TIMEOUT_MS = 5000 };

/* Reading belongs to the follower's job while it is under way, the rest to the loop. */
struct versions {
    struct tl_cache *cache;
    uint64_t joins;     /* of the cache, when `known` was asked for */
    bool known, asking; /* where Redis was told last */
    bool told;          /* since it is known, all that a read found was handed to Redis */
    bool read;          /* the job is to read */
    bool all, first;    /* every symbol, not the log; nothing was read yet */
    bool failed;
    uint64_t at, told_at;
    struct tl_buf found; /* struct tl_store_change, one behind the other */
    struct tl_redis_cmd cmd;
    struct tl_str argv[3];
    char key[96], value[128];
};

static void version_key(const struct tl_cache *c, const struct tl_symbol *symbol, char out[128])
{
    snprintf(out, 128, "%sver:{%s}", c->prefix, symbol->text); /* symbols have no byte that would need encoding */
}

static void version_field(enum tl_freq freq, enum tl_adjust adjust, char out[32])
{
    snprintf(out, 32, "%s:%s", tl_freq_name(freq), tl_adjust_name(adjust));
}

/* ---- telling ---- */

enum { ADJUSTS = 3 };

struct telling {
    struct tl_redis_cmd cmd;
    struct tl_cache *cache;
    struct tl_str argv[5 + 2 * ADJUSTS];
    char key[128], fields[ADJUSTS][32], texts[ADJUSTS][72];
    struct tl_buf message;
};

static void on_told(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                    const struct tl_err *err)
{
    struct telling *t = cmd->user;
    struct tl_cache *c = t->cache;
    (void)reply;
    if (status != TL_OK && status != TL_CANCELLED)
        tl_log(c->log, TL_LOG_WARN, "cache", "a version was not told to redis", "reason=\"%s\"", err->text);
    if (status != TL_OK) c->versions->known = false; /* all over from what Redis was told last */
    tl_buf_release(&t->message);
    free(t);
    tl_cache_told(c);
}

static bool tell(struct tl_cache *c, const struct tl_store_change *change)
{
    static const enum tl_adjust adjusts[ADJUSTS] = {TL_ADJUST_RAW, TL_ADJUST_FORWARD, TL_ADJUST_BACKWARD};
    struct telling *t = tl_calloc(1, sizeof *t);
    if (!t) return false;
    t->cache = c;
    tl_buf_init(&t->message, 4096);
    tl_announce_market(&t->message, c->instance, tl_cache_now_ms(c), &change->symbol, change->freq, TL_ADJUST_RAW,
                       change->head.raw);
    version_key(c, &change->symbol, t->key);
    size_t n = 0;
    t->argv[n++] = TL_STR("1");
    t->argv[n++] = tl_str(t->key);
    t->argv[n++] = tl_str(c->owner);
    t->argv[n++] = tl_str(c->channels[0]);
    t->argv[n++] = tl_buf_str(&t->message);
    for (size_t i = 0; i < ADJUSTS; i++) {
        struct tl_version v = tl_bars_head_version(&change->head, adjusts[i]);
        version_field(change->freq, adjusts[i], t->fields[i]);
        snprintf(t->texts[i], sizeof t->texts[i], "%" PRId64 ":%" PRId64 ":%" PRId64, v.revision, v.bars, v.last_ts);
        t->argv[n++] = tl_str(t->fields[i]);
        t->argv[n++] = tl_str(t->texts[i]);
    }
    t->cmd = (struct tl_redis_cmd){.argv = t->argv, .argc = n, .cb = on_told, .user = t};
    if (!t->message.failed && tl_redis_eval(c->redis, &t->cmd, TL_SCRIPT_VERSION, TELL_TIMEOUT_MS, NULL) == TL_OK) {
        c->tellings++;
        return true;
    }
    tl_buf_release(&t->message);
    free(t);
    return false;
}

static void on_noted(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                     const struct tl_err *err)
{
    struct versions *v = cmd->user;
    (void)reply, (void)err;
    v->asking = false;
    if (status != TL_OK) v->known = false;
    tl_cache_told(v->cache);
}

/* Behind what was told, on the same connection: Redis has it all when it has this. */
static void note_position(struct versions *v)
{
    struct tl_cache *c = v->cache;
    snprintf(v->value, sizeof v->value, "%s %" PRIu64, c->owner, v->at);
    struct tl_str args[] = {TL_STR("SET"), tl_str(v->key), tl_str(v->value)};
    memcpy(v->argv, args, sizeof args);
    v->cmd = (struct tl_redis_cmd){.argv = v->argv, .argc = TL_COUNT(args), .cb = on_noted, .user = v};
    v->asking = tl_redis_submit(c->redis, &v->cmd, TELL_TIMEOUT_MS, NULL) == TL_OK;
    if (v->asking)
        c->tellings++;
    else
        v->known = false;
}

void tl_versions_tell(struct tl_cache *c)
{
    struct versions *v = c->versions;
    if (!v || !v->read || v->failed || c->redis_state != TL_REDIS_JOINED || v->joins != c->joins || v->asking) return;
    v->told = v->at == v->told_at && v->found.n == 0;
    if (v->told) return;
    bool ok = true;
    for (size_t at = 0; ok && at + sizeof(struct tl_store_change) <= v->found.n; at += sizeof(struct tl_store_change)) {
        struct tl_store_change change;
        memcpy(&change, v->found.p + at, sizeof change);
        ok = tell(c, &change);
    }
    tl_buf_clear(&v->found);
    v->told_at = v->at;
    v->told = ok;
    if (ok)
        note_position(v);
    else
        v->known = false;
}

bool tl_versions_told(const struct tl_cache *c)
{
    const struct versions *v = c->versions;
    return v && v->known && v->told && !v->asking && v->joins == c->joins && c->tellings == 0;
}

/* ---- reading the store, on its thread ---- */

static bool found_change(void *ctx, const struct tl_store_change *change)
{
    struct versions *v = ctx;
    tl_buf_put(&v->found, change, sizeof *change);
    return true;
}

static bool found_symbol(void *ctx, const struct tl_store_symbol *s)
{
    struct tl_store_change change = {.symbol = s->symbol, .freq = s->freq, .head = s->head};
    return found_change(ctx, &change);
}

void tl_versions_read(struct tl_cache *c, struct tl_store_reader *reader, bool changed)
{
    struct versions *v = c->versions;
    if (!v || !v->read || (!changed && !v->first)) return;
    tl_buf_clear(&v->found);
    enum tl_status st = v->all ? TL_CONFLICT : tl_store_changes(reader, &v->at, found_change, v, NULL);
    if (st == TL_CONFLICT) {
        v->at = TL_FOLLOW_FROM_NOW; /* the position first: what comes meanwhile is read twice */
        tl_buf_clear(&v->found);
        st = tl_store_changes(reader, &v->at, found_change, v, NULL);
        if (st == TL_OK) st = tl_store_symbols(reader, found_symbol, v, NULL);
    }
    v->failed = st != TL_OK || v->found.failed;
    v->first = v->all = v->failed;
}

/* ---- where Redis was told last ---- */

static void on_position(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                        const struct tl_err *err)
{
    struct versions *v = cmd->user;
    struct tl_cache *c = v->cache;
    size_t owner = strlen(c->owner);
    int64_t at = 0;
    (void)err;
    v->asking = false;
    if (status == TL_OK && v->joins == c->joins) {
        bool ours = reply->type == TL_REPLY_STRING && reply->str.n > owner + 1 &&
                    memcmp(reply->str.p, c->owner, owner) == 0 && reply->str.p[owner] == ' ' &&
                    tl_str_to_i64((struct tl_str){reply->str.p + owner + 1, reply->str.n - owner - 1}, &at) && at >= 0;
        v->all = !ours;
        v->at = v->told_at = (uint64_t)at;
        v->known = v->first = true;
        v->told = false;
    }
    tl_cache_told(c);
}

void tl_versions_prepare(struct tl_cache *c)
{
    struct versions *v = c->versions;
    if (!v && c->store && c->redis && !c->read_only && (v = tl_calloc(1, sizeof *v))) {
        c->versions = v;
        v->cache = c;
        tl_buf_init(&v->found, (size_t)256 << 20);
        snprintf(v->key, sizeof v->key, "%s{all}:told", c->prefix);
    }
    if (!v) return;
    v->read = false;
    if (c->redis_state != TL_REDIS_JOINED || c->phase != TL_CACHE_OPEN || v->asking) return;
    if (v->joins != c->joins) v->known = false;
    v->read = v->known;
    if (v->known) return;
    v->joins = c->joins;
    v->argv[0] = TL_STR("GET");
    v->argv[1] = tl_str(v->key);
    v->cmd = (struct tl_redis_cmd){.argv = v->argv, .argc = 2, .cb = on_position, .user = v};
    v->asking = tl_redis_submit(c->redis, &v->cmd, TELL_TIMEOUT_MS, NULL) == TL_OK;
    if (v->asking) c->tellings++;
}

void tl_versions_free(struct tl_cache *c)
{
    if (c->versions) tl_buf_release(&c->versions->found);
    free(c->versions);
}

/* ---- asking ---- */

static bool parse_version(struct tl_str text, struct tl_version *out)
{
    struct tl_str part;
    int64_t *const to[] = {&out->revision, &out->bars, &out->last_ts};
    for (size_t i = 0; i < TL_COUNT(to); i++)
        if (!tl_str_split(&text, ':', &part) || !tl_str_to_i64(part, to[i])) return false;
    return text.p == NULL;
}

static void on_version(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                       const struct tl_err *err)
{
    struct tl_version_op *op = cmd->user;
    (void)err;
    if (status == TL_OK && reply->type == TL_REPLY_NIL) status = TL_NOT_FOUND;
    if (status == TL_OK && (reply->type != TL_REPLY_STRING || !parse_version(reply->str, &op->version)))
        status = TL_CORRUPT;
    op->cb(op, status);
}

enum tl_status tl_cache_version(struct tl_cache *c, struct tl_version_op *op, const struct tl_series_key *key,
                                uint64_t deadline_ms, struct tl_err *err)
{
    if (c->redis_state != TL_REDIS_JOINED)
        return tl_fail(err, TL_IO, "Redis is not in use: %s", c->redis ? c->redis_why.text : "none is configured");
    version_key(c, &key->symbol, op->key);
    version_field(key->freq, key->adjust, op->field);
    op->argv[0] = TL_STR("HGET");
    op->argv[1] = tl_str(op->key);
    op->argv[2] = tl_str(op->field);
    op->cmd = (struct tl_redis_cmd){.argv = op->argv, .argc = 3, .cb = on_version, .user = op};
    return tl_redis_submit(c->redis, &op->cmd, deadline_ms, err);
}
