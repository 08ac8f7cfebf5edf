/* SPDX-License-Identifier: Apache-2.0 */
/* The data versions that Redis shows to those without a store: ver:{SYMBOL}, a hash of "freq:adjust" to
 * "revision:bars:last_ts", with the id of the store that gave them out. They are raised, never lowered, and the raising
 * is announced. The store stays their authority: whoever has one does not ask here. */
#include "cache/cache.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

struct telling {
    struct tl_redis_cmd cmd;
    struct tl_cache *cache;
    struct tl_str argv[10];
    char key[128], field[32], numbers[3][24];
    struct tl_buf message;
};

static void version_key(const struct tl_cache *c, const struct tl_symbol *symbol, char out[128])
{
    snprintf(out, 128, "%sver:{%s}", c->prefix, symbol->text); /* symbols have no byte that would need encoding */
}

static void version_field(enum tl_freq freq, enum tl_adjust adjust, char out[32])
{
    snprintf(out, 32, "%s:%s", tl_freq_name(freq), tl_adjust_name(adjust));
}

static void on_told(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                    const struct tl_err *err)
{
    struct telling *t = cmd->user;
    struct tl_cache *c = t->cache;
    (void)reply;
    if (status != TL_OK && status != TL_CANCELLED)
        tl_log(c->log, TL_LOG_WARN, "cache", "a version was not told to redis", "reason=\"%s\"", err->text);
    tl_buf_release(&t->message);
    free(t);
    tl_cache_told(c);
}

void tl_cache_tell_version(struct tl_cache *c, const struct tl_symbol *symbol, enum tl_freq freq, enum tl_adjust adjust,
                           struct tl_version v)
{
    if (c->redis_state != TL_REDIS_JOINED || !c->store || c->phase != TL_CACHE_OPEN) return;
    struct telling *t = tl_calloc(1, sizeof *t);
    if (!t) return;
    t->cache = c;
    tl_buf_init(&t->message, 4096);
    tl_announce_market(&t->message, c->instance, tl_cache_now_ms(c), symbol, freq, adjust, v);
    version_key(c, symbol, t->key);
    version_field(freq, adjust, t->field);
    snprintf(t->numbers[0], 24, "%lld", (long long)v.revision);
    snprintf(t->numbers[1], 24, "%lld", (long long)v.bars);
    snprintf(t->numbers[2], 24, "%lld", (long long)v.last_ts);
    struct tl_str args[] = {TL_STR("1"),           tl_str(t->key),         tl_str(tl_store_id(c->store)),
                            tl_str(t->field),      tl_str(t->numbers[0]),  tl_str(t->numbers[1]),
                            tl_str(t->numbers[2]), tl_str(c->channels[0]), tl_buf_str(&t->message)};
    memcpy(t->argv, args, sizeof args);
    t->cmd.argv = t->argv;
    t->cmd.argc = TL_COUNT(args);
    t->cmd.cb = on_told;
    t->cmd.user = t;
    if (!t->message.failed &&
        tl_redis_eval(c->redis, &t->cmd, TL_SCRIPT_VERSION, 10ull * c->redis_timeout_ms, NULL) == TL_OK) {
        c->tellings++;
        return;
    }
    tl_buf_release(&t->message);
    free(t);
}

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
