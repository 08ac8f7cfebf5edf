/* SPDX-License-Identifier: Apache-2.0 */
/* The question: what Redis has, what others are at, what may be computed here; and what others announce meanwhile. */
#include "schedule/exchange.h"

#include "base/err.h"
#include "base/failpoint.h"
#include "base/util.h"
#include "cache/series_entry.h"
#include "indicator/kernel.h"

#include <jansson.h>
#include <stdio.h>

enum { OLDER_MAX = 50, OLDER_WAIT_MS = 20 };

/* The lowest order that will do, and the lowest generation. */
static void arg_least(struct once_exchange *x, const struct once_group *g, const struct once_key *k)
{
    unsigned char header[TL_ENTRY_HEADER];
    struct tl_entry probe = {.kind = g->versioned ? TL_ENTRY_SERIES : TL_ENTRY_GENERAL};
    size_t n = 8;
    if (g->versioned) {
        probe.series.revision = g->version.revision;
        probe.series.bars = (uint32_t)g->version.bars;
        probe.series.last_ts = g->version.last_ts;
        probe.series.kernel_version = TL_KERNEL_VERSION;
        n = 22; /* all but the token */
    } else {
        probe.general.ms = k->min_ms;
    }
    tl_entry_encode_header(&probe, header);
    if (g->source->anew) memset(header + TL_ENTRY_ORDER_AT, 0xff, n);
    tl_exchange_arg(x, (struct tl_str){(const char *)header + TL_ENTRY_ORDER_AT, n});
    tl_exchange_i64(x, (int64_t)tl_generations_needed(g->s->cache->generations, tl_cache_key_str(&k->key), true));
}

static void busy(struct once_key *k, const struct tl_reply *left)
{
    k->state = ONCE_BUSY;
    k->waited = true;
    k->told = k->woken;
    k->left_ms = left->type == TL_REPLY_INTEGER ? TL_MAX(left->integer, INT64_C(0)) : 0;
}

void tl_once_land_value(struct once_key *k, struct tl_entry *e, enum tl_freshness freshness, enum tl_tier_id source)
{
    struct once_result r = {.status = TL_OK,
                            .entry = e,
                            .freshness = freshness,
                            .source = source,
                            .waited = k->waited,
                            .taken_over = k->taken_over,
                            .duplicated = k->duplicated,
                            .token = source == TL_TIER_SOURCE ? k->token : 0,
                            .why = ""};
    tl_once_land(k, &r);
}

/* A value of another process: its own work, if there is any, was for nothing. */
static void take_value(struct once_key *k, struct tl_entry *e)
{
    struct once_group *g = k->group;
    if (k->made && !k->found) k->duplicated = true;
    g->source->ops->keep(g->source, k, e, TL_TIER_REDIS, false);
    tl_cache_to_memory(g->s->cache, e);
    tl_once_land_value(k, e, TL_FRESH, TL_TIER_REDIS);
}

/* Is it what the group wants? It was judged when it was asked for; things may have changed since. */
static bool is_good(const struct once_key *k, struct tl_entry *e)
{
    const struct once_group *g = k->group;
    struct tl_cache *c = g->s->cache;
    if (!tl_generations_valid(c->generations, e, true)) return false;
    if (g->versioned)
        return e->kind == TL_ENTRY_SERIES && e->series.kernel_version >= TL_KERNEL_VERSION &&
               tl_version_cmp(tl_series_entry_version(e), g->version) >= 0;
    return e->kind == TL_ENTRY_GENERAL && e->general.ms >= k->min_ms && tl_cache_now_ms(c) < tl_entry_soft_ms(e);
}

/* Redis holds what cannot be read: it is taken away, and asked for again. */
static void poisoned(struct once_key *k)
{
    struct once_group *g = k->group;
    struct tl_scheduler *s = g->s;
    k->state = ONCE_WANTED;
    s->cache->stats.redis.poisoned++;
    if (++k->tries >= ONCE_TRIES_MAX) {
        struct once_result r = {.status = TL_CORRUPT,
                                .why = "Redis holds something else under this key, again and again"};
        tl_once_land(k, &r);
        return;
    }
    struct once_exchange *x = tl_exchange_new(g, 3);
    if (!x) return;
    x->group = NULL;
    tl_exchange_arg(x, TL_STR("1"));
    tl_exchange_key(x, "", tl_cache_key_str(&k->key));
    tl_exchange_arg(x, TL_STR(""));
    if (tl_exchange_submit(x, TL_SCRIPT_DEL, NULL) == TL_OK)
        s->partings++;
    else
        tl_exchange_free(x);
}

static void on_fetched(struct tl_tier_op *op)
{
    struct once_key *k = op->user;
    struct once_group *g = k->group;
    struct tl_entry *e = k->fetch_item.status == TL_OK ? k->fetch_item.entry : NULL;
    g->fetches--;
    k->state = ONCE_WANTED;
    if (e && is_good(k, e))
        take_value(k, e);
    else if (k->fetch_item.status == TL_CORRUPT)
        poisoned(k);
    else if (++k->tries >= ONCE_TRIES_MAX)
        g->without_redis = true;
    tl_entry_unref(e);
    tl_once_step_soon(g);
}

static void hit(struct once_key *k, const struct tl_reply *bytes)
{
    struct once_group *g = k->group;
    struct tl_cache *c = g->s->cache;
    struct tl_entry *e;
    k->state = ONCE_WANTED;
    if (bytes->type == TL_REPLY_STRING && bytes->str.n == 0) {
        k->fetch_item = (struct tl_tier_item){.key = tl_cache_key_str(&k->key)};
        k->fetch = (struct tl_tier_op){.verb = TL_TIER_GET,
                                       .items = &k->fetch_item,
                                       .n = 1,
                                       .timeout_ms = ONCE_EXCHANGE_MS,
                                       .cb = on_fetched,
                                       .user = k};
        k->state = ONCE_FETCHED;
        if (!tl_tier_submit(c->t_redis, &k->fetch)) {
            g->fetches++;
            return;
        }
        g->fetches++;
        on_fetched(&k->fetch);
        return;
    }
    if (bytes->type != TL_REPLY_STRING || tl_entry_decode(tl_cache_key_str(&k->key), bytes->str, &e, NULL) != TL_OK) {
        poisoned(k);
        return;
    }
    c->stats.redis.hits++;
    if (is_good(k, e)) take_value(k, e);
    tl_entry_unref(e);
}

/* "status|attempts|until|version|generation|text" */
static void failed(struct once_key *k, const struct tl_reply *record)
{
    struct tl_str rest = record->str, part;
    int64_t status = TL_INTERNAL, number;
    char why[200];
    for (int i = 0; i < 5; i++)
        if (tl_str_split(&rest, '|', &part) && i == 0 && tl_str_to_i64(part, &number) && number < 0) status = number;
    if (!rest.p) rest = TL_STR("it failed elsewhere");
    snprintf(why, sizeof why, "%.*s", TL_STR_ARG(rest));
    struct once_result r = {.status = (enum tl_status)status, .why = why, .waited = k->waited};
    tl_once_land(k, &r);
}

static void granted(struct once_key *k, const struct tl_reply *token)
{
    int64_t number = 0;
    (void)(token->type == TL_REPLY_STRING && tl_str_to_i64(token->str, &number));
    k->token = (uint64_t)number;
    k->leased = true;
    k->degraded = false;
    if (k->waited && !k->told) k->taken_over = true;
    /* What was made under a lease that was lost is as good as ever, if it is of this version. */
    bool usable = k->made && is_good(k, k->made);
    if (k->made && !usable) {
        tl_entry_unref(k->made);
        k->made = NULL;
        k->duplicated = true;
    }
    k->state = usable ? ONCE_MADE : ONCE_GRANTED;
}

/* Out of date, but better than nothing for who cannot wait. */
static void take_old(struct once_key *k, const struct tl_reply *bytes)
{
    struct tl_cache *c = k->group->s->cache;
    struct tl_entry *e;
    if (bytes->type != TL_REPLY_STRING || bytes->str.n == 0 ||
        tl_entry_decode(tl_cache_key_str(&k->key), bytes->str, &e, NULL) != TL_OK)
        return;
    if (e->failure || !tl_generations_valid(c->generations, e, true) || tl_cache_now_ms(c) >= tl_entry_hard_ms(e)) {
        tl_entry_unref(e);
        return;
    }
    tl_entry_unref(k->old);
    k->old = e;
    for (struct once_waiter *w = k->waiters; w; w = w->next)
        if (w->old) w->old(w, e);
}

static void take_answer(struct once_key *k, const struct tl_reply *r)
{
    k->state = ONCE_WANTED;
    bool understood = r->type == TL_REPLY_ARRAY && r->n >= 2 && r->items[0]->type == TL_REPLY_INTEGER;
    if (understood && r->n > 2) take_old(k, r->items[2]);
    switch (understood ? r->items[0]->integer : 0) {
    case 1:
        hit(k, r->items[1]);
        break;
    case 2:
        granted(k, r->items[1]);
        break;
    case 3:
        failed(k, r->items[1]);
        break;
    case 4:
        busy(k, r->items[1]);
        break;
    default: {
        struct once_result bad = {.status = TL_CORRUPT, .why = "Redis' answer cannot be understood"};
        tl_once_land(k, &bad);
    }
    }
    if (k->state == ONCE_BUSY && k->woken) { /* its end was announced while the answer was on its way */
        struct tl_entry *e = k->early;
        k->early = NULL;
        k->state = ONCE_WANTED;
        if (e && is_good(k, e)) take_value(k, e);
        tl_entry_unref(e);
    }
    k->woken = false;
}

static void refuse_all(struct once_group *g, const char *why)
{
    for (size_t i = 0; i < g->n; i++) {
        struct once_result r = {.status = TL_CONFLICT, .why = why};
        if (g->keys[i].state == ONCE_ASKED) tl_once_land(&g->keys[i], &r);
    }
}

/* The store that this process reads is behind what Redis was told: it is read again. */
static void older(struct once_group *g)
{
    g->recheck = true;
    for (size_t i = 0; i < g->n; i++)
        if (g->keys[i].state == ONCE_ASKED) g->keys[i].state = ONCE_WANTED;
    if (++g->rounds <= 2) {
        tl_once_step(g);
    } else if (g->rounds > OLDER_MAX) {
        for (size_t i = 0; i < g->n; i++) {
            struct once_result r = {.status = TL_CONFLICT, .why = "Redis knows newer bars than the store has"};
            if (g->keys[i].state == ONCE_WANTED) tl_once_land(&g->keys[i], &r);
        }
        tl_once_step(g);
    } else {
        (void)!tl_alarm_set(g->s->alarms, &g->again, tl_once_now_ns(g->s) + OLDER_WAIT_MS * UINT64_C(1000000));
    }
}

static void on_acquired(struct once_group *g, enum tl_status status, const struct tl_reply *reply,
                        const struct tl_err *err, struct once_exchange *x)
{
    const struct tl_reply *first =
        status == TL_OK && reply->type == TL_REPLY_ARRAY && reply->n ? reply->items[0] : NULL;
    struct tl_err local;
    g->phase = ONCE_READY;
    TL_FAILPOINT("acquire.after");
    if (!first || first->type != TL_REPLY_STRING) {
        if (status == TL_OK) status = tl_fail(&local, TL_CORRUPT, "Redis' answer cannot be understood");
        for (size_t i = 0; i < g->n; i++)
            if (g->keys[i].state == ONCE_ASKED) g->keys[i].state = ONCE_WANTED;
        if (status == TL_CANCELLED || !tl_once_has_redis(g->s)) {
            tl_once_step(g);
        } else if (!tl_exchange_again(g, status, err ? err->text : local.text)) {
            g->without_redis = true;
            tl_once_step(g);
        }
        return;
    }
    g->trouble = 0;
    if (tl_str_eq(first->str, TL_STR("STORE"))) {
        refuse_all(g, "the Redis prefix belongs to another store");
        tl_once_step(g);
        return;
    }
    if (tl_str_eq(first->str, TL_STR("OLDER"))) {
        older(g);
        return;
    }
    g->rounds = 0;
    g->until_ns = x->asked_ns + g->lease_ms * UINT64_C(1000000);
    bool leased = false;
    for (size_t i = 0, at = 1; i < g->n; i++) {
        if (g->keys[i].state != ONCE_ASKED) continue;
        if (at < reply->n)
            take_answer(&g->keys[i], reply->items[at++]);
        else
            g->keys[i].state = ONCE_WANTED;
        leased = leased || g->keys[i].leased;
    }
    if (leased)
        (void)!tl_alarm_set(g->s->alarms, &g->renewal, tl_once_now_ns(g->s) + g->lease_ms * UINT64_C(1000000) / 3);
    tl_once_step(g);
}

void tl_once_acquire(struct once_group *g)
{
    struct tl_scheduler *s = g->s;
    size_t n = 0;
    struct tl_err err;
    for (size_t i = 0; i < g->n; i++) n += g->keys[i].state == ONCE_WANTED;
    struct once_exchange *x = tl_exchange_new(g, 3 + 4 * n + 8 + 2 * n);
    enum tl_status st = x ? TL_OK : tl_fail(&err, TL_NOMEM, "no memory for a question to Redis");
    if (x) {
        tl_exchange_i64(x, (int64_t)(2 + 4 * n));
        tl_exchange_key(x, "fence:", tl_str(g->tag));
        tl_exchange_key(x, "ver:", tl_str(g->tag));
        for (size_t i = 0; i < g->n; i++)
            if (g->keys[i].state == ONCE_WANTED) tl_exchange_keys(x, tl_cache_key_str(&g->keys[i].key));
        tl_exchange_arg(x, tl_str(g->versioned ? s->cache->owner : ""));
        tl_exchange_arg(x, tl_str(g->field));
        tl_exchange_version(x, g);
        tl_exchange_arg(x, tl_str(g->owner));
        tl_exchange_i64(x, g->lease_ms);
        tl_exchange_i64(x, tl_cache_now_ms(s->cache));
        tl_exchange_i64(x, ONCE_INLINE_MAX);
        tl_exchange_arg(x, g->source->wants_old ? TL_STR("1") : TL_STR(""));
        for (size_t i = 0; i < g->n; i++) {
            if (g->keys[i].state != ONCE_WANTED) continue;
            arg_least(x, g, &g->keys[i]);
            g->keys[i].state = ONCE_ASKED;
        }
        x->answered = on_acquired;
        TL_FAILPOINT("acquire.before");
        st = tl_exchange_submit(x, TL_SCRIPT_ACQUIRE, &err);
    }
    if (st == TL_OK) {
        g->exchange = x;
        s->stats.acquires++;
        return;
    }
    if (x) tl_exchange_free(x);
    on_acquired(g, st, NULL, &err, NULL);
}

/* ---- what others announce ---- */

static void announced_value(struct once_key *k, struct tl_str bytes)
{
    struct tl_entry *e = NULL;
    if (bytes.n > 0) (void)!tl_entry_decode(tl_cache_key_str(&k->key), bytes, &e, NULL);
    if (k->state == ONCE_ASKED) {
        tl_entry_unref(k->early);
        k->early = e;
        k->woken = true;
        return;
    }
    k->state = ONCE_WANTED;
    if (e && is_good(k, e)) take_value(k, e);
    tl_entry_unref(e);
}

void tl_once_came_back(struct tl_scheduler *s, const struct tl_cache_key *key, struct tl_entry *made)
{
    void **slot = tl_map_get(s->keys, tl_cache_key_str(key));
    struct once_key *k = slot ? *slot : NULL;
    if (!k || k->state != ONCE_BUSY) return;
    struct once_group *g = k->group;
    k->told = true;
    k->state = ONCE_WANTED;
    if (made && is_good(k, made)) tl_once_land_value(k, made, TL_FRESH, TL_TIER_MEMORY);
    tl_once_step_soon(g);
}

static void announced_failure(struct once_key *k, const json_t *data)
{
    struct once_group *g = k->group;
    const char *reason = json_string_value(json_object_get(data, "reason"));
    int64_t status = json_integer_value(json_object_get(data, "number"));
    const char *version = json_string_value(json_object_get(data, "version"));
    char mine[72] = "";
    if (g->versioned) tl_exchange_version_text(g, mine);
    bool ours = version && strcmp(version, mine) == 0;
    k->state = ONCE_WANTED;
    if (!ours || status >= 0 || !reason) return;
    struct once_result r = {.status = (enum tl_status)status, .why = reason, .waited = true};
    tl_once_land(k, &r);
}

void tl_once_message(struct tl_scheduler *s, struct tl_str payload)
{
    const char *line = memchr(payload.p, '\n', payload.n);
    size_t n = line ? (size_t)(line - payload.p) : payload.n;
    if (tl_map_count(s->keys) == 0) return;
    json_t *event = json_loadb(payload.p, n, JSON_REJECT_DUPLICATES, NULL);
    const char *type = json_string_value(json_object_get(event, "type"));
    const json_t *data = json_object_get(event, "data");
    const char *name = json_string_value(json_object_get(data, "key"));
    void **slot = type && name ? tl_map_get(s->keys, tl_str(name)) : NULL;
    struct once_key *k = slot ? *slot : NULL;
    if (k && (k->state == ONCE_BUSY || k->state == ONCE_ASKED)) {
        struct once_group *g = k->group;
        k->told = true;
        if (strcmp(type, "calc.done.v1") == 0)
            announced_value(k, line ? (struct tl_str){line + 1, payload.n - n - 1} : TL_STR(""));
        else if (k->state == ONCE_BUSY && strcmp(type, "calc.failed.v1") == 0)
            announced_failure(k, data);
        else if (k->state == ONCE_BUSY)
            k->state = ONCE_WANTED;
        else
            k->woken = true;
        if (k->state != ONCE_ASKED && g->phase == ONCE_WAITING) tl_once_step_soon(g);
    }
    json_decref(event);
}
