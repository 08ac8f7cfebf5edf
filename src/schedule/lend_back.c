/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a lease: a value, a failure, nothing, or more time. An end is a group of its own that begins where
 * others have made something (ONCE_MADE), under the owner that the lease names; only COMMIT knows whether the lease is
 * the caller's still. A lease without a Redis ends when its value can be found, not before. */
#include "schedule/lend_i.h"

#include "base/err.h"
#include "base/util.h"

#include <inttypes.h>
#include <stdio.h>

enum { END_EXCHANGE_MS = 5000 };

struct returning { /* one tl_lend_end under way: a group of its own, or a renewal */
    struct once_source source;
    struct once_waiter waiter;
    struct tl_scheduler *s;
    struct tl_lend_end *op;
    struct tl_cache_key key;
    struct tl_soon soon;
    enum tl_status status;
    bool gives_back, invalidated, in_group;
    bool local; /* of a lease without a Redis, which ends with it */
    uint64_t nonce;
    /* renewal */
    uint32_t lease_ms;
    struct tl_redis_cmd cmd;
    struct tl_str argv[4];
    char lock[TL_KEY_MAX + 96], owner[80], ttl[16];
};

struct lease_text {
    char owner[48]; /* instance:nonce: */
    uint64_t nonce, token, generation;
    bool ours; /* of this process */
};

static enum tl_status read_lease(const struct tl_scheduler *s, const char *text, struct lease_text *out,
                                 struct tl_err *err)
{
    char instance[17], more;
    int n = 0;
    if (sscanf(text, "%16[0-9a-f]:%" SCNu64 ":%n%" SCNu64 ":%" SCNu64 "%c", instance, &out->nonce, &n, &out->token,
               &out->generation, &more) != 4 ||
        n <= 0 || (size_t)n >= sizeof out->owner)
        return tl_fail(err, TL_INVALID, "this is no lease of ours");
    snprintf(out->owner, sizeof out->owner, "%.*s", n, text);
    out->ours = strncmp(text, s->instance, strlen(s->instance)) == 0;
    return TL_OK;
}

static void end_return(struct tl_soon *soon)
{
    struct returning *r = (struct returning *)(void *)((char *)soon - offsetof(struct returning, soon));
    struct tl_lend_end *op = r->op;
    struct tl_scheduler *s = r->s;
    enum tl_status st = r->status;
    op->state = NULL;
    if (!r->in_group)
        free(r);
    else
        r->op = NULL; /* its group's to free */
    op->cb(op, st);
    tl_once_work_ended(s);
}

static void return_soon(struct returning *r, enum tl_status status, const char *why)
{
    r->status = status;
    if (status != TL_OK) (void)tl_fail(&r->op->err, status, "%s", why);
    tl_soon_call(r->s->alarms, &r->soon);
}

/* Off the list, unless it has run out and is another's by now. */
static void end_local(struct returning *r, struct tl_entry *made)
{
    struct tl_scheduler *s = r->s;
    struct local *o = tl_lend_local_of(s, tl_cache_key_str(&r->key));
    if (!o || o->nonce != r->nonce) return;
    tl_map_remove(s->lent, tl_cache_key_str(&r->key));
    free(o);
    tl_once_came_back(s, &r->key, made);
}

static void on_returned(struct once_waiter *w, const struct once_result *res)
{
    struct returning *r = (struct returning *)(void *)((char *)w - offsetof(struct returning, waiter));
    if (r->local) end_local(r, res->status == TL_OK ? res->entry : NULL);
    bool known = res->status != TL_IO && res->status != TL_TIMEOUT; /* whether the lease is over */
    if (!r->local && known) tl_lend_note_shared(r->s, &r->key, 0);
    bool given_back = r->gives_back && res->status == TL_CANCELLED && !r->s->closing;
    if (r->invalidated && res->status == TL_CANCELLED)
        return_soon(r, TL_CONFLICT, "the key was invalidated meanwhile: the value was not kept");
    else if (given_back || res->status == TL_OK || (res->handed_in && res->status != TL_LOCK_LOST))
        return_soon(r, TL_OK, "");
    else
        return_soon(r, res->status, res->why);
}

/* What was handed in was invalidated: the lease is given back. */
static void make_again(struct once_source *source, struct once_group *g)
{
    struct returning *r = (struct returning *)(void *)source;
    r->invalidated = true;
    tl_once_failed(&g->keys[0], TL_CANCELLED, "invalidated");
    tl_once_made(g);
}

static void keep_returned(struct once_source *source, const struct once_key *k, struct tl_entry *e,
                          enum tl_tier_id from, bool degraded)
{
    struct tl_cache *c = ((struct returning *)(void *)source)->s->cache;
    tl_once_keep_general(c, k, e, from, degraded);
}

static void return_group_ended(struct once_source *source)
{
    struct returning *r = (struct returning *)(void *)source;
    r->in_group = false;
    if (!r->op) free(r);
}

static const struct once_source_ops return_ops = {.make = make_again, .keep = keep_returned, .end = return_group_ended};

static enum tl_status returning_new(struct tl_scheduler *s, struct tl_lend_end *op, const struct tl_key *key,
                                    const char *lease, struct lease_text *text, struct returning **out,
                                    struct tl_err *err)
{
    if (s->closing) return tl_fail(err, TL_CANCELLED, "the scheduler is being closed");
    struct returning *r = tl_calloc(1, sizeof *r);
    if (!r) return tl_fail(err, TL_NOMEM, "no memory for the end of a lease");
    r->source = (struct once_source){.ops = &return_ops, .strict = true, .lends = true};
    r->s = s;
    r->op = op;
    r->soon.call = end_return;
    r->waiter.over = on_returned;
    enum tl_status st = tl_cache_key_general(key, &r->key, err);
    if (st == TL_OK) st = read_lease(s, lease, text, err);
    if (st != TL_OK) {
        free(r);
        return st;
    }
    r->nonce = text->nonce;
    op->err = (struct tl_err){.status = TL_OK};
    op->state = r;
    *out = r;
    return TL_OK;
}

/* Is the lease without a Redis the caller's? It stays on the list until what is handed in can be found. */
static bool holds_local(const struct returning *r, const struct lease_text *text)
{
    const struct local *o = text->ours ? tl_lend_local_of(r->s, tl_cache_key_str(&r->key)) : NULL;
    return o && o->nonce == text->nonce;
}

static enum tl_status hand_in(struct returning *r, const struct lease_text *text, struct once_hand_in *in,
                              struct tl_err *err)
{
    struct tl_scheduler *s = r->s;
    in->source = &r->source;
    in->waiter = &r->waiter;
    in->key = &r->key;
    in->owner = text->owner;
    in->token = text->token;
    in->generation = text->generation;
    tl_once_work_begins(s);
    r->local = text->token == 0;
    if (r->local && !holds_local(r, text)) {
        r->local = false;
        tl_entry_unref(in->made);
        return_soon(r, TL_LOCK_LOST, "the lease is not held any more");
        return TL_OK;
    }
    r->in_group = true;
    enum tl_status st = tl_once_hand_in(s, in);
    if (st == TL_OK) return TL_OK;
    r->op->state = NULL;
    free(r);
    tl_once_work_ended(s);
    return tl_fail(err, st, "no memory to hand the value in");
}

enum tl_status tl_lend_value(struct tl_scheduler *s, struct tl_lend_end *op, const struct tl_key *key,
                             const char *lease, const void *bytes, size_t n, const struct tl_ttl *ttl,
                             struct tl_err *err)
{
    struct lease_text text;
    struct tl_ttl filled = ttl ? *ttl : (struct tl_ttl){.fresh_ms = 0};
    if (n > TL_VALUE_MAX) return tl_fail(err, TL_TOO_LARGE, "a value has at most 8 MiB");
    struct returning *r = NULL;
    enum tl_status st = returning_new(s, op, key, lease, &text, &r, err);
    if (st != TL_OK) return st;
    struct tl_entry *e = tl_cache_entry_new(s->cache, tl_cache_key_str(&r->key), bytes, n, &filled, text.generation);
    if (!e) {
        op->state = NULL;
        free(r);
        return tl_fail(err, TL_NOMEM, "no memory for the value");
    }
    return hand_in(r, &text, &(struct once_hand_in){.made = e}, err);
}

enum tl_status tl_lend_fail(struct tl_scheduler *s, struct tl_lend_end *op, const struct tl_key *key, const char *lease,
                            enum tl_status status, const char *why, struct tl_err *err)
{
    struct lease_text text;
    struct returning *r = NULL;
    enum tl_status st = returning_new(s, op, key, lease, &text, &r, err);
    if (st != TL_OK) return st;
    r->gives_back = status == TL_CANCELLED;
    return hand_in(r, &text, &(struct once_hand_in){.failure = status, .why = why}, err);
}

/* ---- renewal ---- */

static void on_renewed(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                       const struct tl_err *err)
{
    struct returning *r = cmd->user;
    bool held = status == TL_OK && reply->type == TL_REPLY_ARRAY && reply->n == 1 &&
                reply->items[0]->type == TL_REPLY_INTEGER && reply->items[0]->integer == 1;
    if (held) tl_lend_note_shared(r->s, &r->key, r->lease_ms);
    if (status != TL_OK)
        return_soon(r, status, err->text);
    else
        return_soon(r, held ? TL_OK : TL_LOCK_LOST, "the lease is not held any more");
}

enum tl_status tl_lend_renew(struct tl_scheduler *s, struct tl_lend_end *op, const struct tl_key *key,
                             const char *lease, uint32_t lease_ms, struct tl_err *err)
{
    struct lease_text text;
    struct returning *r = NULL;
    enum tl_status st = tl_lend_check_ms(&lease_ms, err);
    if (st == TL_OK) st = returning_new(s, op, key, lease, &text, &r, err);
    if (st != TL_OK) return st;
    tl_once_work_begins(s);
    struct local *o = text.token == 0 && text.ours ? tl_lend_local_of(s, tl_cache_key_str(&r->key)) : NULL;
    if (text.token == 0) {
        bool held = o && o->nonce == text.nonce;
        if (held) o->until_ns = tl_once_now_ns(s) + lease_ms * UINT64_C(1000000);
        return_soon(r, held ? TL_OK : TL_LOCK_LOST, "the lease is not held any more");
        return TL_OK;
    }
    snprintf(r->lock, sizeof r->lock, "%slock:%s", s->cache->prefix, r->key.text);
    snprintf(r->owner, sizeof r->owner, "%s%" PRIu64, text.owner, text.token);
    snprintf(r->ttl, sizeof r->ttl, "%" PRIu32, lease_ms);
    r->argv[0] = TL_STR("1");
    r->argv[1] = tl_str(r->lock);
    r->argv[2] = tl_str(r->owner);
    r->argv[3] = tl_str(r->ttl);
    r->lease_ms = lease_ms;
    r->cmd = (struct tl_redis_cmd){.argv = r->argv, .argc = 4, .cb = on_renewed, .user = r};
    st = tl_once_has_redis(s) ? tl_redis_eval(s->cache->redis, &r->cmd, TL_SCRIPT_HOLD, END_EXCHANGE_MS, err)
                              : tl_fail(err, TL_IO, "Redis is not in use");
    if (st == TL_OK) return TL_OK;
    op->state = NULL;
    free(r);
    tl_once_work_ended(s);
    return st;
}
