/* SPDX-License-Identifier: Apache-2.0 */
/* Handing in what was made, and giving back what was leased. */
#include "schedule/exchange.h"

#include "base/err.h"
#include "base/failpoint.h"
#include "base/util.h"
#include "cache/announce.h"

#include <inttypes.h>

/* Nobody else need hear of what went wrong in this process alone. */
bool tl_once_is_shared_failure(enum tl_status status)
{
    return status != TL_CANCELLED && status != TL_LOCK_LOST && status != TL_NOMEM;
}

static void arg_failure(struct once_exchange *x, const struct once_group *g, const struct once_key *k)
{
    enum tl_status st = k->failure;
    bool until_bars = st == TL_TOO_FEW_BARS || st == TL_NO_DATA || st == TL_NO_FACTORS;
    bool never = st == TL_INVALID || st == TL_UNSUPPORTED || st == TL_TOO_LARGE || st == TL_PARSE || st == TL_AMBIGUOUS;
    tl_buf_printf(&x->text, "%d|%s|", (int)st, tl_status_name(st));
    if (never)
        tl_buf_puts(&x->text, "fixed");
    else if (until_bars && g->versioned)
        tl_buf_puts(&x->text, "version");
    else
        tl_buf_printf(&x->text, "%u", 450 + (unsigned)tl_rng_below(&g->s->rng, 101));
    tl_buf_printf(&x->text, "|%" PRIu64 "|%s", g->generation, k->why);
    tl_exchange_end_arg(x);
}

static void arg_head(struct once_exchange *x, const struct once_group *g)
{
    const char *instance = g->s->instance;
    tl_buf_printf(&x->text, "{\"specversion\":\"1.0\",\"id\":\"%.*s\",\"source\":\"tierline/%.16s\",\"type\":\"",
                  (int)strlen(g->owner) - 1, g->owner, instance);
    tl_exchange_end_arg(x);
}

static int64_t life_of(struct tl_scheduler *s, const struct tl_entry *e)
{
    int64_t until = tl_cache_redis_until(s->cache, e);
    return until == INT64_MAX ? 0 : TL_MAX(until - tl_cache_now_ms(s->cache), INT64_C(1));
}

static void arg_item(struct once_exchange *x, struct once_group *g, struct once_key *k)
{
    struct tl_scheduler *s = g->s;
    bool failure = !k->made && k->failure != TL_OK && tl_once_is_shared_failure(k->failure);
    tl_exchange_arg(x, k->made ? TL_STR("V") : failure ? TL_STR("F") : TL_STR("R"));
    if (k->made) {
        if (g->versioned) k->made->series.token = k->token;
        tl_exchange_entry(x, k->made);
    } else if (failure) {
        arg_failure(x, g, k);
    } else {
        tl_exchange_arg(x, TL_STR(""));
    }
    tl_exchange_i64(x, k->made ? life_of(s, k->made) : 0);
    if (k->made && !g->versioned)
        tl_announce_put(&x->text, s->cache->instance, tl_cache_now_ms(s->cache), tl_cache_key_str(&k->key), k->made);
    tl_exchange_end_arg(x);
}

/* The COMMIT of the keys in `state`, or of all that are leased. NULL: memory is out. */
static struct once_exchange *commit_of(struct once_group *g, bool parting)
{
    struct tl_scheduler *s = g->s;
    struct tl_entry *extra = parting ? NULL : g->extra;
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++) n += parting ? g->keys[i].leased : g->keys[i].state == ONCE_MADE;
    size_t items = n + (extra != NULL);
    struct once_exchange *x = tl_exchange_new(g, 3 + 4 * items + 9 + 4 * items);
    if (!x) return NULL;
    tl_exchange_i64(x, (int64_t)(2 + 4 * items));
    tl_exchange_key(x, "fence:", tl_str(g->tag));
    tl_exchange_key(x, "ver:", tl_str(g->tag));
    for (size_t i = 0; i < g->n; i++)
        if (parting ? g->keys[i].leased : g->keys[i].state == ONCE_MADE)
            tl_exchange_keys(x, tl_cache_key_str(&g->keys[i].key));
    if (extra) tl_exchange_keys(x, tl_entry_key(extra));
    tl_exchange_arg(x, tl_str(g->versioned ? s->cache->owner : ""));
    tl_exchange_arg(x, tl_str(parting ? "" : g->field));
    tl_exchange_version(x, g);
    tl_exchange_arg(x, tl_str(g->owner));
    tl_exchange_arg(x, tl_str(s->cache->channels[1]));
    tl_exchange_arg(x, tl_str(s->cache->channels[0]));
    tl_exchange_i64(x, ONCE_PUBLISH_MAX);
    arg_head(x, g);
    tl_exchange_i64(x, (int64_t)s->prefix_n);
    for (size_t i = 0; i < g->n; i++) {
        struct once_key *k = &g->keys[i];
        if (parting && k->leased) {
            tl_exchange_arg(x, TL_STR("R"));
            tl_exchange_arg(x, TL_STR(""));
            tl_exchange_arg(x, TL_STR("0"));
            tl_exchange_arg(x, TL_STR(""));
        } else if (!parting && k->state == ONCE_MADE) {
            arg_item(x, g, k);
        }
    }
    if (extra) {
        tl_exchange_arg(x, TL_STR("T"));
        tl_exchange_entry(x, extra);
        tl_exchange_i64(x, life_of(s, extra));
        tl_exchange_arg(x, TL_STR(""));
    }
    return x;
}

static void committed(struct once_key *k, bool partial)
{
    struct once_group *g = k->group;
    if (!k->made) {
        struct once_result r = {.status = k->failure, .why = k->why, .waited = k->waited, .handed_in = true};
        tl_once_land(k, &r);
        return;
    }
    struct tl_entry *e = tl_entry_ref(k->made);
    g->source->ops->keep(g->source, k, e, k->found ? TL_TIER_STORE : TL_TIER_SOURCE, false);
    tl_cache_to_memory(g->s->cache, e);
    tl_once_land_value(k, e, partial ? TL_PARTIAL : TL_FRESH, k->found ? TL_TIER_STORE : TL_TIER_SOURCE);
    tl_entry_unref(e);
}

static void take_verdict(struct once_key *k, int64_t verdict)
{
    struct once_group *g = k->group;
    k->leased = false;
    switch (verdict) {
    case 1:
    case 5:
        committed(k, verdict == 5);
        return;
    case 2: /* FENCED: leased anew, it is handed in again, unless another has made it */
        g->s->stats.fenced++;
        k->state = ONCE_WANTED;
        if (g->source->strict) {
            struct once_result lost = {.status = TL_LOCK_LOST, .why = "the lease is not held any more"};
            tl_once_land(k, &lost);
        }
        return;
    case 3: /* SUPERSEDED */
        g->s->stats.superseded++;
        g->recheck = true;
        break;
    default: /* something higher is there */
        break;
    }
    if (k->made && !k->found) k->duplicated = true;
    tl_entry_unref(k->made);
    k->made = NULL;
    k->failure = TL_OK;
    k->state = ONCE_WANTED;
    if (g->source->strict) { /* it was put by others meanwhile, and newer: nobody is the worse for it */
        struct once_result r = {.status = TL_CONFLICT, .why = "a newer value is there already"};
        tl_once_land(k, &r);
    }
}

static void on_committed(struct once_group *g, enum tl_status status, const struct tl_reply *reply,
                         const struct tl_err *err, struct once_exchange *x)
{
    struct tl_scheduler *s = g->s;
    (void)x;
    g->phase = ONCE_READY;
    TL_FAILPOINT("commit.after");
    if (status != TL_OK || reply->type != TL_REPLY_ARRAY) {
        if (status == TL_CANCELLED || !tl_once_has_redis(s)) {
            tl_once_step(g);
        } else if (!tl_exchange_again(g, status == TL_OK ? TL_CORRUPT : status,
                                      err ? err->text : "the answer cannot be understood")) {
            g->without_redis = true;
            tl_once_step(g);
        }
        return;
    }
    g->trouble = 0;
    bool leased = false;
    for (size_t i = 0, at = 0; i < g->n; i++) {
        if (g->keys[i].state != ONCE_MADE) continue;
        bool there = at < reply->n && reply->items[at]->type == TL_REPLY_INTEGER;
        take_verdict(&g->keys[i], there ? reply->items[at]->integer : 2);
        at++;
    }
    for (size_t i = 0; i < g->n; i++) leased = leased || g->keys[i].leased;
    if (!leased) tl_alarm_clear(s->alarms, &g->renewal);
    if (g->extra) {
        tl_cache_to_memory(s->cache, g->extra);
        tl_entry_unref(g->extra);
        g->extra = NULL;
    }
    tl_once_step(g);
}

void tl_once_commit(struct once_group *g)
{
    struct tl_err err;
    TL_FAILPOINT("commit.before");
    struct once_exchange *x = commit_of(g, false);
    enum tl_status st = x ? TL_OK : tl_fail(&err, TL_NOMEM, "no memory to hand values in");
    if (x) {
        x->answered = on_committed;
        st = tl_exchange_submit(x, TL_SCRIPT_COMMIT, &err);
    }
    if (st == TL_OK) {
        g->exchange = x;
        g->s->stats.commits++;
        return;
    }
    if (x) tl_exchange_free(x);
    on_committed(g, st, NULL, &err, NULL);
}

void tl_once_part(struct once_group *g)
{
    bool leased = false;
    for (size_t i = 0; i < g->n; i++) leased = leased || g->keys[i].leased;
    if (!leased || !tl_once_has_redis(g->s)) return;
    struct once_exchange *x = commit_of(g, true);
    for (size_t i = 0; i < g->n; i++) g->keys[i].leased = false;
    if (!x) return; /* they expire by themselves */
    x->group = NULL;
    if (tl_exchange_submit(x, TL_SCRIPT_COMMIT, NULL) == TL_OK)
        g->s->partings++;
    else
        tl_exchange_free(x);
}
