/* SPDX-License-Identifier: Apache-2.0 */
/* The Redis tier: one command an entry, all of an op in one pipeline. Reads are GETRANGE with the largest size an entry
 * may have, so that whatever lies under a key never floods the process. Writes go through scripts that keep the newer
 * of two values and announce the new one. Nothing is retried here. Failures that say the server is in trouble count
 * against the breaker; an op that its breaker refuses ends at once. */
#include "cache/tiers.h"

#include "base/err.h"
#include "base/util.h"
#include "cache/announce.h"

enum { ARGS = 8, NAME_MAX_BYTES = TL_KEY_MAX + 128 };

struct redis_tier {
    struct tl_tier tier;
    struct tl_tier_redis_options opt;
    struct tl_breaker breaker;
    char ends[2][16]; /* of GETRANGE, by kind: one byte too many tells too long ones */
    char generations[128], channel[128];
    bool usable, closing;
    struct call *calls;
    unsigned in_callbacks; /* that may close the tier: it is freed after the last of them */
    void (*closed)(void *ctx);
    void *closed_ctx;
};

struct call_item {
    struct tl_redis_cmd cmd;
    struct call *call;
    struct tl_tier_item *item; /* NULL: the question for the newest generation */
    struct tl_str argv[ARGS];
    char name[NAME_MAX_BYTES];
    char ttl[24];
    char *wire; /* [own] */
    struct tl_buf message;
    unsigned char header[TL_ENTRY_HEADER];
};

struct call {
    struct redis_tier *tier;
    struct tl_tier_op *op;
    struct call *prev, *next;
    size_t open; /* commands without an answer, + 1 while they are being sent */
    bool sent, failed, answered;
    size_t n;
    struct call_item items[];
};

static uint64_t now_ns(const struct redis_tier *t)
{
    return tl_clock_mono_ns(t->opt.clock);
}

/* What says that the server, rather than this one entry, is in trouble. */
static bool is_trouble(enum tl_status status)
{
    return status == TL_IO || status == TL_TIMEOUT || status == TL_BUSY;
}

static void note_outcome(struct redis_tier *t, const struct call *c)
{
    if (c->failed) {
        if (tl_breaker_fail(&t->breaker, now_ns(t)))
            tl_log(t->opt.log, TL_LOG_WARN, "cache", "redis is not answering, going on without it", "failures=%u",
                   t->breaker.failures);
    } else if (c->answered) {
        if (t->breaker.state != TL_BREAKER_CLOSED)
            tl_log(t->opt.log, TL_LOG_INFO, "cache", "redis answers again", "%s", "");
        tl_breaker_ok(&t->breaker);
    } else {
        tl_breaker_unknown(&t->breaker, now_ns(t));
    }
}

static void free_call(struct call *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free(c->items[i].wire);
        tl_buf_release(&c->items[i].message);
    }
    free(c);
}

static void end_close(struct redis_tier *t)
{
    if (!t->closing || t->calls || t->in_callbacks > 0) return;
    void (*cb)(void *) = t->closed;
    void *ctx = t->closed_ctx;
    free(t);
    if (cb) cb(ctx);
}

/* One command less; the last one ends the op. */
static bool settle(struct call *c)
{
    if (--c->open > 0) return false;
    struct redis_tier *t = c->tier;
    if (c->prev)
        c->prev->next = c->next;
    else
        t->calls = c->next;
    if (c->next) c->next->prev = c->prev;
    note_outcome(t, c);
    struct tl_tier_op *op = c->op;
    bool sent = c->sent;
    free_call(c);
    if (!sent) return true;
    t->in_callbacks++;
    op->cb(op);
    t->in_callbacks--;
    end_close(t);
    return true;
}

/* ---- answers ---- */

static void take_entry(struct call_item *ci, const struct tl_reply *reply)
{
    struct tl_tier_item *item = ci->item;
    if (reply->type != TL_REPLY_STRING) {
        item->status = TL_CORRUPT;
    } else if (reply->str.n == 0) {
        item->status = TL_NOT_FOUND; /* GETRANGE of nothing */
    } else {
        item->status = tl_entry_decode(item->key, reply->str, &item->entry, NULL);
        if (item->status == TL_TOO_NEW) item->status = TL_CORRUPT;
    }
}

static void on_reply(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                     const struct tl_err *err)
{
    struct call_item *ci = cmd->user;
    struct call *c = ci->call;
    (void)err;
    c->failed = c->failed || is_trouble(status);
    c->answered = c->answered || (status != TL_CANCELLED && !is_trouble(status));
    if (!ci->item) {
        int64_t newest = 0;
        if (status == TL_OK && reply->type == TL_REPLY_STRING && tl_str_to_i64(reply->str, &newest) && newest > 0)
            c->op->generation = (uint64_t)newest;
    } else if (status != TL_OK) {
        /* Another type under the key: nothing of ours. */
        ci->item->status = status == TL_CONFLICT ? TL_CORRUPT : status;
    } else if (c->op->verb == TL_TIER_GET) {
        take_entry(ci, reply);
    } else {
        ci->item->status = TL_OK;
        ci->item->superseded = c->op->verb == TL_TIER_PUT && reply->type == TL_REPLY_INTEGER && reply->integer == 0;
    }
    settle(c);
}

/* ---- commands ---- */

static enum tl_status prepare_put(struct redis_tier *t, struct call_item *ci)
{
    struct tl_tier_item *item = ci->item;
    struct tl_str payload = tl_entry_payload(item->entry);
    size_t n = TL_ENTRY_HEADER + payload.n;
    ci->wire = tl_calloc(n, 1);
    if (!ci->wire) return TL_NOMEM;
    tl_entry_encode_header(item->entry, (unsigned char *)ci->wire);
    if (payload.n) memcpy(ci->wire + TL_ENTRY_HEADER, payload.p, payload.n);
    int64_t left = 0; /* 0: for ever */
    if (item->expires_ms != INT64_MAX) {
        left = item->expires_ms - tl_clock_wall_ms(t->opt.clock);
        if (left < 1) left = 1;
    }
    snprintf(ci->ttl, sizeof ci->ttl, "%lld", (long long)left);
    if (item->entry->kind == TL_ENTRY_GENERAL) {
        tl_announce_put(&ci->message, t->opt.instance, tl_clock_wall_ms(t->opt.clock), item->key, item->entry);
        if (ci->message.failed) return TL_NOMEM;
    }
    struct tl_str args[] = {TL_STR("1"),     tl_str(ci->name),   {ci->wire, n},
                            tl_str(ci->ttl), tl_str(t->channel), tl_buf_str(&ci->message)};
    memcpy(ci->argv, args, sizeof args);
    ci->cmd.argc = TL_COUNT(args);
    return TL_OK;
}

static void prepare_del(struct call_item *ci)
{
    struct tl_str order = {"", 0};
    if (ci->item->entry) {
        tl_entry_encode_header(ci->item->entry, ci->header);
        order = (struct tl_str){(const char *)ci->header + TL_ENTRY_ORDER_AT, TL_ENTRY_ORDER};
    }
    struct tl_str args[] = {TL_STR("1"), tl_str(ci->name), order};
    memcpy(ci->argv, args, sizeof args);
    ci->cmd.argc = TL_COUNT(args);
}

static enum tl_status send_item(struct redis_tier *t, struct call_item *ci)
{
    struct tl_tier_op *op = ci->call->op;
    ci->cmd.argv = ci->argv;
    ci->cmd.cb = on_reply;
    ci->cmd.user = ci;
    if (!ci->item) {
        struct tl_str args[] = {TL_STR("HGET"), tl_str(t->generations), TL_STR("newest")};
        memcpy(ci->argv, args, sizeof args);
        ci->cmd.argc = TL_COUNT(args);
        return tl_redis_submit(t->opt.redis, &ci->cmd, op->timeout_ms, NULL);
    }
    snprintf(ci->name, sizeof ci->name, "%s%.*s", t->opt.prefix, TL_STR_ARG(ci->item->key));
    if (op->verb == TL_TIER_GET) {
        struct tl_str args[] = {TL_STR("GETRANGE"), tl_str(ci->name), TL_STR("0"),
                                tl_str(t->ends[tl_cache_key_kind(ci->item->key)])};
        memcpy(ci->argv, args, sizeof args);
        ci->cmd.argc = TL_COUNT(args);
        return tl_redis_submit(t->opt.redis, &ci->cmd, op->timeout_ms, NULL);
    }
    if (op->verb == TL_TIER_DEL) {
        prepare_del(ci);
        return tl_redis_eval(t->opt.redis, &ci->cmd, TL_SCRIPT_DEL, op->timeout_ms, NULL);
    }
    enum tl_status st = prepare_put(t, ci);
    if (st != TL_OK) return st;
    return tl_redis_eval(t->opt.redis, &ci->cmd, TL_SCRIPT_PUT, op->timeout_ms, NULL);
}

/* ---- the interface ---- */

static bool fail_all(struct tl_tier_op *op, enum tl_status status)
{
    for (size_t i = 0; i < op->n; i++) op->items[i].status = status;
    return true;
}

static bool submit(struct tl_tier *tier, struct tl_tier_op *op)
{
    struct redis_tier *t = (struct redis_tier *)(void *)tier;
    op->generation = 0;
    if (t->closing) return fail_all(op, TL_CANCELLED);
    if (!t->usable || !tl_redis_up(t->opt.redis) || !tl_breaker_allows(&t->breaker, now_ns(t)))
        return fail_all(op, TL_IO);
    size_t n = op->n + (op->verb == TL_TIER_PUT);
    struct call *c = tl_calloc(1, sizeof *c + n * sizeof c->items[0]);
    if (!c) {
        tl_breaker_unknown(&t->breaker, now_ns(t));
        return fail_all(op, TL_NOMEM);
    }
    c->tier = t;
    c->op = op;
    c->n = n;
    c->open = 1;
    c->next = t->calls;
    if (t->calls) t->calls->prev = c;
    t->calls = c;
    for (size_t i = 0; i < n; i++) {
        struct call_item *ci = &c->items[i];
        ci->call = c;
        ci->item = i < op->n ? &op->items[i] : NULL;
        tl_buf_init(&ci->message, 4096);
        enum tl_status st = send_item(t, ci);
        if (st == TL_OK) {
            c->open++;
            continue;
        }
        c->failed = c->failed || is_trouble(st);
        if (ci->item) ci->item->status = st;
    }
    bool any = c->open > 1;
    c->sent = any;
    if (any)
        c->open--; /* cannot end here: commands answer from the loop */
    else
        settle(c);
    return !any;
}

static bool up(const struct tl_tier *tier)
{
    const struct redis_tier *t = (const struct redis_tier *)(const void *)tier;
    return t->usable && !t->closing && tl_redis_up(t->opt.redis) &&
           (t->breaker.state == TL_BREAKER_CLOSED ||
            (t->breaker.state == TL_BREAKER_OPEN && tl_clock_mono_ns(t->opt.clock) >= t->breaker.retry_ns));
}

static void close_tier(struct tl_tier *tier, void (*cb)(void *ctx), void *ctx)
{
    struct redis_tier *t = (struct redis_tier *)(void *)tier;
    TL_ASSERT(!t->closing);
    t->closing = true;
    t->closed = cb;
    t->closed_ctx = ctx;
    for (struct call *c = t->calls; c; c = c->next)
        for (size_t i = 0; i < c->n; i++) tl_redis_cancel(&c->items[i].cmd);
    end_close(t);
}

void tl_tier_redis_usable(struct tl_tier *tier, bool usable)
{
    ((struct redis_tier *)(void *)tier)->usable = usable;
}

const struct tl_breaker *tl_tier_redis_breaker(const struct tl_tier *tier)
{
    return &((const struct redis_tier *)(const void *)tier)->breaker;
}

enum tl_status tl_tier_redis_new(const struct tl_tier_redis_options *opt, struct tl_tier **out, struct tl_err *err)
{
    static const struct tl_tier_ops ops = {.name = "redis", .submit = submit, .up = up, .close = close_tier};
    TL_ASSERT(strlen(opt->prefix) <= 64);
    struct redis_tier *t = tl_calloc(1, sizeof *t);
    if (!t) return tl_fail(err, TL_NOMEM, "no memory for the Redis tier");
    t->tier.ops = &ops;
    t->opt = *opt;
    snprintf(t->ends[TL_ENTRY_GENERAL], sizeof t->ends[0], "%d", TL_VALUE_MAX + TL_ENTRY_HEADER);
    snprintf(t->ends[TL_ENTRY_SERIES], sizeof t->ends[0], "%d", TL_ENTRY_MAX + TL_ENTRY_HEADER);
    snprintf(t->generations, sizeof t->generations, "%s{all}:gen", opt->prefix);
    snprintf(t->channel, sizeof t->channel, "%schannel:market:update", opt->prefix);
    *out = &t->tier;
    return TL_OK;
}
