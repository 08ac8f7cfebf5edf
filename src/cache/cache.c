/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the cache, its clock, and the policy of how long what is kept.
 *
 *   open --close--> draining (the queue is written, ops go on ending) --> closing (ops end, tiers close) --> freed
 */
#include "cache/cache.h"

#include "base/err.h"
#include "base/util.h"
#include "cache/report.h"

#include <stdio.h>
#include <sys/random.h>

const char *tl_tier_name(enum tl_tier_id tier)
{
    static const char *const names[] = {"none", "memory", "redis", "store", "source"};
    return (unsigned)tier < TL_COUNT(names) ? names[tier] : "unknown";
}

const char *tl_freshness_name(enum tl_freshness f)
{
    static const char *const names[] = {"missing", "fresh", "stale", "partial"};
    return (unsigned)f < TL_COUNT(names) ? names[f] : "unknown";
}

const void *tl_value_bytes(const struct tl_value *v, size_t *n)
{
    struct tl_str s = tl_entry_payload((const struct tl_entry *)(const void *)v);
    *n = s.n;
    return s.p;
}

struct tl_value *tl_value_ref(struct tl_value *v)
{
    tl_entry_ref((struct tl_entry *)(void *)v);
    return v;
}

void tl_value_unref(struct tl_value *v)
{
    tl_entry_unref((struct tl_entry *)(void *)v);
}

uint64_t tl_cache_now_ns(const struct tl_cache *c)
{
    return tl_clock_mono_ns(c->clock);
}

int64_t tl_cache_now_ms(const struct tl_cache *c)
{
    return tl_clock_wall_ms(c->clock);
}

/* ---- policy ---- */

static const struct {
    const char *data_type;
    uint32_t fresh_ms;
} usual[] = {{"tick_data", 30000},  {"realtime_quote", 60000}, {"minute_kline", 300000},
             {"fund_flow", 600000}, {"etf", 1800000},          {"daily_kline", 7200000}};
enum { USUAL_FRESH_MS = 300000, USUAL_REDIS_MS = 7 * 86400000, USUAL_STORE_MS = 30 * 86400000u };

struct tl_ttl tl_cache_ttl(const struct tl_cache *c, struct tl_str data_type, const struct tl_ttl *given)
{
    struct tl_ttl ttl = given ? *given : (struct tl_ttl){.fresh_ms = 0};
    for (int pass = 0; pass < 2; pass++) { /* the type's own rule, then the one for all */
        for (size_t i = 0; i < c->n_rules; i++) {
            const struct tl_ttl_rule *r = &c->rules[i];
            if (pass == 0 ? !r->data_type || !tl_str_eq(tl_str(r->data_type), data_type) : r->data_type != NULL)
                continue;
            if (!ttl.fresh_ms) ttl.fresh_ms = r->ttl.fresh_ms;
            if (!ttl.redis_ms) ttl.redis_ms = r->ttl.redis_ms;
            if (!ttl.store_ms) ttl.store_ms = r->ttl.store_ms;
        }
    }
    for (size_t i = 0; !ttl.fresh_ms && i < TL_COUNT(usual); i++)
        if (tl_str_eq(tl_str(usual[i].data_type), data_type)) ttl.fresh_ms = usual[i].fresh_ms;
    if (!ttl.fresh_ms) ttl.fresh_ms = USUAL_FRESH_MS;
    /* A tier never lets go of what is still fresh. */
    if (!ttl.redis_ms) ttl.redis_ms = TL_MAX((uint32_t)USUAL_REDIS_MS, ttl.fresh_ms);
    if (!ttl.store_ms) ttl.store_ms = TL_MAX((uint32_t)USUAL_STORE_MS, ttl.fresh_ms);
    return ttl;
}

uint32_t tl_cache_jitter(struct tl_cache *c, uint32_t ms)
{
    return ms == TL_FOREVER ? ms : ms - (uint32_t)tl_rng_below(&c->rng, (uint64_t)ms / 10 + 1);
}

struct tl_stamp tl_cache_stamp(struct tl_cache *c)
{
    c->last_ms = TL_MAX(c->last_ms, tl_cache_now_ms(c));
    return (struct tl_stamp){.ms = c->last_ms, .instance = c->instance, .seq = ++c->seq};
}

int64_t tl_cache_residency(const struct tl_entry *e)
{
    int64_t soft = tl_entry_soft_ms(e), hard = tl_entry_hard_ms(e), until;
    if (soft == INT64_MAX) return hard;
    /* As long again as it was fresh: there is something to hand out while it is renewed. */
    if (__builtin_add_overflow(soft, soft - e->general.ms, &until)) until = INT64_MAX;
    return TL_MIN(until, hard);
}

/* ---- statistics ---- */

/* Bucket i ends at 2^(i/2 + 6) ns: two a power of two, from 64 ns to 2^37.5 ns. */
static uint64_t bucket_end(unsigned i)
{
    uint64_t whole = UINT64_C(1) << (i / 2 + 6);
    return i % 2 ? whole + (uint64_t)((double)whole * 0.41421356) : whole;
}

void tl_cache_note_latency(struct tl_tier_stats *s, uint64_t began_ns, uint64_t now_ns)
{
    uint64_t took = now_ns > began_ns ? now_ns - began_ns : 0;
    unsigned i = 0;
    while (i + 1 < TL_LATENCY_BUCKETS && took >= bucket_end(i)) i++;
    s->latency[i]++;
}

uint64_t tl_latency_quantile(const uint64_t latency[TL_LATENCY_BUCKETS], double share)
{
    uint64_t all = 0, seen = 0;
    for (unsigned i = 0; i < TL_LATENCY_BUCKETS; i++) all += latency[i];
    for (unsigned i = 0; all > 0 && i < TL_LATENCY_BUCKETS; i++) {
        seen += latency[i];
        if ((double)seen >= share * (double)all) return bucket_end(i);
    }
    return 0;
}

static void take_counts(struct tl_tier_stats *s, const struct tl_behind_counts *c)
{
    s->written = c->written;
    s->coalesced = c->coalesced;
    s->retried = c->retried;
    s->skipped = c->skipped;
    s->refused = c->refused;
    s->lost = c->lost;
}

void tl_cache_stats(struct tl_cache *c, struct tl_cache_stats *out)
{
    struct tl_memory_stats m;
    struct tl_behind_counts redis, store;
    tl_memory_stats(c->memory, &m);
    tl_behind_counts(c->behind, &redis, &store);
    *out = c->stats;
    out->memory.written = m.puts;
    out->memory.refused = m.refused;
    out->memory.configured = out->memory.up = true;
    out->memory_entries = m.entries;
    out->memory_bytes = m.bytes;
    out->memory_cap_bytes = m.cap_bytes;
    out->evictions = m.evicted;
    out->expirations = m.expired;
    take_counts(&out->redis, &redis);
    take_counts(&out->store, &store);
    out->queue_entries = tl_behind_entries(c->behind);
    out->queue_bytes = tl_behind_bytes(c->behind);
    out->redis.configured = c->redis != NULL;
    out->store.configured = c->t_store != NULL;
    out->store.up = c->t_store && tl_tier_up(c->t_store);
    if (!c->t_redis) return;
    out->redis.up = tl_tier_up(c->t_redis);
    out->redis.breaker_open = tl_tier_redis_breaker(c->t_redis)->state != TL_BREAKER_CLOSED;
    out->redis.breaker_opened = tl_tier_redis_breaker(c->t_redis)->opened;
    if (!out->redis.up)
        snprintf(out->redis.why, sizeof out->redis.why, "%.150s",
                 c->redis_state == TL_REDIS_REFUSED || !tl_redis_why(c->redis)[0] ? c->redis_why.text
                                                                                  : tl_redis_why(c->redis));
}

size_t tl_cache_top(struct tl_cache *c, struct tl_top_key *out, size_t n)
{
    return tl_top_list(c->top, tl_cache_now_ms(c), out, n);
}

/* ---- opening ---- */

static enum tl_status copy_rules(struct tl_cache *c, const struct tl_cache_options *opt, struct tl_err *err)
{
    c->rules = tl_calloc(opt->n_rules, sizeof *c->rules);
    if (!c->rules) return tl_fail(err, TL_NOMEM, "no memory for the rules");
    for (size_t i = 0; i < opt->n_rules; i++) {
        c->rules[i] = opt->rules[i];
        if (!opt->rules[i].data_type) continue;
        c->rules[i].data_type = strdup(opt->rules[i].data_type);
        if (!c->rules[i].data_type) return tl_fail(err, TL_NOMEM, "no memory for the rules");
        c->n_rules = i + 1;
    }
    c->n_rules = opt->n_rules;
    return TL_OK;
}

static enum tl_status check_prefix(struct tl_cache *c, const char *prefix, struct tl_err *err)
{
    if (!prefix) prefix = "tierline:";
    for (const char *p = prefix; *p; p++)
        if (*p == '{' || *p == '}' || (unsigned char)*p <= 0x20)
            return tl_fail(err, TL_INVALID, "prefix %s: no braces, blanks or control bytes", prefix);
    if (!prefix[0] || strlen(prefix) >= sizeof c->prefix)
        return tl_fail(err, TL_INVALID, "prefix \"%s\": 1 to %zu bytes", prefix, sizeof c->prefix - 1);
    snprintf(c->prefix, sizeof c->prefix, "%s", prefix);
    return TL_OK;
}

static enum tl_status open_store(struct tl_cache *c, const struct tl_cache_options *opt, struct tl_err *err)
{
    if (!c->store && opt->store_url && strcmp(opt->store_url, "none") != 0) {
        struct tl_store_options so = {.read_only = opt->read_only, .clock = c->clock, .log = c->log};
        enum tl_status st = tl_store_open(opt->store_url, &so, &c->store, err);
        if (st != TL_OK) return st;
        c->store_is_own = true;
    }
    if (!c->store) return TL_OK;
    struct tl_tier_store_options to = {.store = c->store,
                                       .threads = opt->store_threads ? opt->store_threads : 2,
                                       .clock = c->clock,
                                       .alarms = c->alarms,
                                       .read_only = opt->read_only};
    return tl_tier_store_new(c->loop, &to, &c->t_store, err);
}

static bool still_valid(void *ctx, struct tl_entry *e)
{
    struct tl_cache *c = ctx;
    return tl_generations_valid(c->generations, e, false);
}

static void redis_distrusted(void *ctx, uint64_t generation)
{
    struct tl_cache *c = ctx;
    tl_generations_raise(c->generations, TL_STR("r"), generation);
}

static enum tl_status open_behind(struct tl_cache *c, const struct tl_cache_options *opt, struct tl_err *err)
{
    struct tl_behind_options bo = {.alarms = c->alarms,
                                   .clock = c->clock,
                                   .log = c->log,
                                   .redis = c->t_redis,
                                   .store = opt->read_only ? NULL : c->t_store,
                                   .cap_bytes = opt->queue_bytes ? opt->queue_bytes : (size_t)64 << 20,
                                   .redis_timeout_ms = c->redis_timeout_ms,
                                   .store_timeout_ms = c->store_timeout_ms,
                                   .seed = c->instance,
                                   .valid = still_valid,
                                   .raised = redis_distrusted,
                                   .ctx = c};
    c->stats.queue_cap_bytes = bo.cap_bytes;
    return tl_behind_new(&bo, &c->behind, err);
}

static enum tl_status open_memory(struct tl_cache *c, const struct tl_cache_options *opt, struct tl_err *err)
{
    struct tl_memory_options mo = {.cap_bytes = opt->memory_bytes ? opt->memory_bytes : (size_t)256 << 20,
                                   .clock = c->clock};
    enum tl_status st = tl_memory_new(&mo, &c->memory, err);
    if (st != TL_OK) return st;
    c->t_memory = tl_tier_memory_new(c->memory);
    c->generations = tl_generations_new();
    c->flights = tl_map_new();
    c->top = tl_top_new();
    return c->t_memory && c->generations && c->flights && c->top ? TL_OK
                                                                 : tl_fail(err, TL_NOMEM, "no memory for the cache");
}

static void free_cache(struct tl_cache *c)
{
    tl_follow_free(c);
    tl_versions_free(c);
    tl_peers_free(c);
    tl_behind_free(c->behind);
    tl_map_free(c->flights);
    tl_top_free(c->top);
    tl_report_free(c);
    tl_generations_free(c->generations);
    tl_memory_free(c->memory);
    if (c->store_is_own) tl_store_close(c->store);
    for (size_t i = 0; c->rules && i < c->n_rules; i++) free((char *)(uintptr_t)c->rules[i].data_type);
    free(c->rules);
    free(c);
}

enum tl_status tl_cache_open_inside(uv_loop_t *loop, const struct tl_cache_options *opt,
                                    const struct tl_cache_options_inside *inside, struct tl_cache **out,
                                    struct tl_err *err)
{
    struct tl_err local;
    if (!err) err = &local;
    struct tl_cache *c = tl_calloc(1, sizeof *c);
    if (!c) return tl_fail(err, TL_NOMEM, "no memory for the cache");
    c->loop = loop;
    c->clock = inside && inside->clock ? inside->clock : &tl_clock_system;
    c->own_log = (struct tl_log){.level = opt->log_level < 0 ? TL_LOG_OFF : (enum tl_log_level)opt->log_level, .fd = 2};
    c->log = inside && inside->log ? inside->log : &c->own_log;
    c->store = inside ? inside->store : NULL;
    c->adopt_store = inside && inside->adopt_store;
    c->silent = inside && inside->silent;
    c->read_only = opt->read_only;
    c->hot_keys = TL_MIN(opt->hot_keys, (uint32_t)TL_FLIGHT_KEYS_MAX);
    c->redis_timeout_ms = opt->redis_timeout_ms ? opt->redis_timeout_ms : 500;
    c->store_timeout_ms = opt->store_timeout_ms ? opt->store_timeout_ms : 5000;
    c->drain_ms = opt->drain_ms ? opt->drain_ms : 5000;
    if (getrandom(&c->instance, sizeof c->instance, 0) != sizeof c->instance) c->instance = tl_cache_now_ns(c);
    tl_rng_seed(&c->rng, c->instance);
    enum tl_status st = copy_rules(c, opt, err);
    if (st == TL_OK) st = check_prefix(c, opt->prefix, err);
    if (st == TL_OK) st = tl_alarms_start(loop, c->clock, &c->alarms, err);
    if (st == TL_OK) st = open_memory(c, opt, err);
    if (st == TL_OK) st = tl_peers_open_redis(c, opt, err);
    if (st == TL_OK) st = tl_report_begin(c, err);
    if (st == TL_OK) st = open_store(c, opt, err);
    if (st == TL_OK) st = open_behind(c, opt, err);
    if (st != TL_OK) {
        /* What began on the loop ends on it: the memory goes with the last of it. */
        tl_cache_close(c, NULL, NULL);
        return st;
    }
    tl_peers_begin(c);
    tl_follow_begin(c);
    tl_hot_begin(c);
    *out = c;
    return TL_OK;
}

enum tl_status tl_cache_open(struct uv_loop_s *loop, const struct tl_cache_options *opt, struct tl_cache **out,
                             struct tl_err *err)
{
    return tl_cache_open_inside(loop, opt, NULL, out, err);
}

/* ---- closing ---- */

static void on_alarms_closed(void *ctx)
{
    struct tl_cache *c = ctx;
    void (*cb)(void *) = c->closed;
    void *cb_ctx = c->closed_ctx;
    free_cache(c);
    if (cb) cb(cb_ctx);
}

void tl_cache_part_closed(void *ctx)
{
    struct tl_cache *c = ctx;
    if (--c->open_parts > 0) return;
    if (c->alarms)
        tl_alarms_close(c->alarms, on_alarms_closed, c);
    else
        on_alarms_closed(c);
}

/* The connections go after the tier whose commands they carry. */
static void redis_tier_closed(void *ctx)
{
    struct tl_cache *c = ctx;
    c->t_redis = NULL;
    if (c->redis) {
        c->open_parts++;
        tl_redis_close(c->redis, tl_cache_part_closed, c);
    }
    if (c->sub) {
        c->open_parts++;
        tl_redis_sub_close(c->sub, tl_cache_part_closed, c);
    }
    tl_cache_part_closed(c);
}

static void close_parts(struct tl_cache *c)
{
    c->phase = TL_CACHE_CLOSING;
    if (c->alarms) tl_soon_cancel(c->alarms, &c->closing);
    if (c->alarms) tl_alarm_clear(c->alarms, &c->hot_alarm);
    tl_report_end(c);
    tl_follow_end(c);
    tl_peers_end(c);
    tl_gets_end(c);
    tl_puts_end(c);
    tl_invalidates_end(c);
    c->open_parts = 1 + (c->loads_under_way > 0);
    if (c->t_memory) {
        c->open_parts++;
        c->t_memory->ops->close(c->t_memory, tl_cache_part_closed, c);
    }
    if (c->t_store) {
        c->open_parts++;
        c->t_store->ops->close(c->t_store, tl_cache_part_closed, c);
    }
    c->open_parts++;
    if (c->t_redis)
        c->t_redis->ops->close(c->t_redis, redis_tier_closed, c);
    else
        redis_tier_closed(c);
    tl_cache_part_closed(c);
}

static void on_drained(void *ctx)
{
    struct tl_cache *c = ctx;
    c->drained = true;
    if (c->tellings == 0) close_parts(c);
}

void tl_cache_told(struct tl_cache *c)
{
    if (--c->tellings == 0 && c->phase == TL_CACHE_DRAINING && c->drained) close_parts(c);
}

static void on_closing(struct tl_soon *s)
{
    struct tl_cache *c = (struct tl_cache *)(void *)((char *)s - offsetof(struct tl_cache, closing));
    tl_report_take_back(c);
    if (c->behind)
        tl_behind_drain(c->behind, tl_cache_now_ns(c) + c->drain_ms * UINT64_C(1000000), on_drained, c);
    else
        close_parts(c);
}

void tl_cache_close(struct tl_cache *c, void (*cb)(void *ctx), void *ctx)
{
    if (c->phase != TL_CACHE_OPEN) return;
    if (c->behind) tl_hot_save(c);
    c->phase = TL_CACHE_DRAINING;
    c->closed = cb;
    c->closed_ctx = ctx;
    c->closing.call = on_closing;
    if (c->alarms)
        tl_soon_call(c->alarms, &c->closing); /* from the loop: a callback may be what closes */
    else
        close_parts(c);
}
