/* SPDX-License-Identifier: Apache-2.0 */
/* What memory does not have fresh becomes a flight, at most one a key; whoever asks meanwhile joins it. Flights that
 * start together go down the tiers together, as one op a tier.
 *
 *   flight: REDIS --not there--> STORE --not there--> LOAD --tl_load_end--> landed
 *              '------ found, fresh -----'-------------------------------------^
 *
 * Every value is looked at against the generations when it arrives, not when it was asked for: what was invalidated
 * meanwhile counts as not there. A load whose result was invalidated while it was made is begun again, a few times. */
#include "cache/flight.h"

#include "base/err.h"
#include "base/util.h"
#include "cache/series_entry.h"

enum { LOADS_MAX = 3 };

/* Flights on their way through one tier together. */
struct group {
    struct tl_cache *cache;
    enum tl_tier_id tier;
    uint64_t began_ns;
    struct tl_tier_op op;
    size_t n;
    struct flight **flights;
    struct tl_tier_item items[];
};

static void ask_tier(struct tl_cache *, enum tl_tier_id, struct flight **flights, size_t n);

/* ---- judging ---- */

enum tl_freshness tl_flight_judge(struct tl_cache *c, struct tl_entry *e, enum tl_tier_id from, int64_t max_age_ms,
                                  const struct tl_version *min)
{
    /* The store's series are what their version says, whatever was invalidated above it. */
    if (e->kind == TL_ENTRY_SERIES && from == TL_TIER_STORE)
        atomic_store_explicit(&e->generation, tl_generations_newest(c->generations), memory_order_relaxed);
    if (!tl_generations_valid(c->generations, e, from == TL_TIER_REDIS)) return TL_MISSING;
    int64_t now = tl_cache_now_ms(c);
    if (now >= tl_entry_hard_ms(e)) return TL_MISSING;
    if (e->kind == TL_ENTRY_SERIES) {
        if (!min) return TL_FRESH;
        struct tl_version have = tl_series_entry_version(e);
        if (tl_version_cmp(have, *min) >= 0) return TL_FRESH;
        return have.revision == min->revision ? TL_PARTIAL : TL_STALE;
    }
    bool young = max_age_ms == 0 || (max_age_ms > 0 && now - e->general.ms <= max_age_ms);
    return now < tl_entry_soft_ms(e) && young ? TL_FRESH : TL_STALE;
}

/* ---- landing ---- */

static void free_flight(struct flight *f)
{
    TL_ASSERT(!f->waiters);
    tl_entry_unref(f->stale);
    free(f);
}

/* Nobody can join any more; the waiters are answered. */
static void land(struct flight *f, enum tl_status status, struct tl_entry *e, enum tl_freshness freshness,
                 enum tl_tier_id source)
{
    struct tl_cache *c = f->cache;
    if (f->shared) tl_map_remove(c->flights, tl_cache_key_str(&f->key));
    f->shared = false;
    while (f->waiters) {
        struct waiter *w = f->waiters;
        struct tl_get_state *st = w->state;
        if (!e && w->stale && status != TL_CANCELLED &&
            tl_flight_judge(c, w->stale, w->stale_from, 0, NULL) != TL_MISSING)
            tl_get_answer(w, TL_OK, w->stale, TL_STALE, w->stale_from); /* better than nothing, and named so */
        else
            tl_get_answer(w, status, e, freshness, source);
        tl_get_check(st);
    }
    free_flight(f);
}

/* Short-lived: it only keeps the next askers from all going down the same way. */
static void remember_failure(struct tl_cache *c, struct flight *f, enum tl_status status, const char *why,
                             uint64_t generation)
{
    struct tl_str key = tl_cache_key_str(&f->key);
    for (const struct waiter *w = f->waiters; w; w = w->next)
        if (w->stale) return; /* which is worth more */
    if (f->tainted || f->only_store || tl_cache_key_kind(key) != TL_ENTRY_GENERAL) return;
    struct tl_entry *e = tl_entry_new(key, why, strlen(why));
    if (!e) return;
    /* Older than any put from now on, also one in this very millisecond. */
    e->general.ms = tl_cache_now_ms(c) - 1;
    e->general.soft_ttl_ms = e->general.hard_ttl_ms =
        tl_cache_jitter(c, status == TL_NOT_FOUND ? TL_NOT_FOUND_MS : TL_FAILURE_MS) + 1;
    e->failure = (uint8_t)-status;
    atomic_store_explicit(&e->generation, generation, memory_order_relaxed);
    (void)!tl_memory_put(c->memory, e, tl_entry_hard_ms(e));
    tl_entry_unref(e);
}

static void start_load(struct flight *f);

/* Every tier was asked. */
static void nothing_found(struct flight *f)
{
    struct tl_cache *c = f->cache;
    if (c->phase == TL_CACHE_CLOSING) {
        land(f, TL_CANCELLED, NULL, TL_MISSING, TL_TIER_NONE);
    } else if (f->load_fn) {
        start_load(f);
    } else if (f->stale) {
        struct tl_entry *e = tl_entry_ref(f->stale);
        enum tl_freshness freshness = tl_flight_judge(c, e, f->stale_from, 0, f->has_min ? &f->min : NULL);
        if (freshness == TL_MISSING)
            land(f, TL_NOT_FOUND, NULL, TL_MISSING, TL_TIER_NONE);
        else
            land(f, TL_OK, e, freshness == TL_FRESH ? TL_STALE : freshness, f->stale_from);
        tl_entry_unref(e);
    } else if (f->trouble) {
        land(f, TL_IO, NULL, TL_MISSING, TL_TIER_NONE);
    } else {
        remember_failure(c, f, TL_NOT_FOUND, "", f->generation);
        land(f, TL_NOT_FOUND, NULL, TL_MISSING, TL_TIER_NONE);
    }
}

/* ---- through the tiers ---- */

static struct tl_tier_stats *stats_of(struct tl_cache *c, enum tl_tier_id tier)
{
    return tier == TL_TIER_MEMORY ? &c->stats.memory : tier == TL_TIER_REDIS ? &c->stats.redis : &c->stats.store;
}

static bool is_before(const struct tl_entry *e, const struct tl_stamp *s)
{
    if (e->kind != TL_ENTRY_GENERAL) return true;
    if (e->general.ms != s->ms) return e->general.ms < s->ms;
    if (e->general.instance != s->instance) return e->general.instance < s->instance;
    return e->general.seq < s->seq;
}

/* true: the flight has landed. Takes the item's entry. */
static bool tier_answered(struct flight *f, enum tl_tier_id tier, struct tl_tier_item *item)
{
    struct tl_cache *c = f->cache;
    struct tl_tier_stats *s = stats_of(c, tier);
    struct tl_entry *e = item->status == TL_OK ? item->entry : NULL;
    enum tl_freshness freshness =
        e ? tl_flight_judge(c, e, tier, f->max_age_ms, f->has_min ? &f->min : NULL) : TL_MISSING;
    s->hits += freshness != TL_MISSING;
    s->read_bytes += freshness != TL_MISSING ? e->n : 0;
    s->misses += freshness == TL_MISSING;
    s->poisoned += item->status == TL_CORRUPT;
    bool trouble = item->status != TL_OK && item->status != TL_NOT_FOUND && item->status != TL_CORRUPT;
    s->errors += trouble;
    /* The store knows what there is: that Redis could not be asked is no trouble then. */
    f->trouble = tier == TL_TIER_STORE ? trouble : f->trouble || trouble;
    if (freshness == TL_FRESH) {
        if (!f->tainted || !is_before(e, &f->taint)) tl_cache_fill(c, e, tier);
        land(f, TL_OK, e, TL_FRESH, tier);
    } else if (freshness != TL_MISSING && (!f->stale || tl_entry_cmp(e, f->stale) > 0)) {
        tl_entry_unref(f->stale);
        f->stale = tl_entry_ref(e);
        f->stale_from = tier;
    }
    tl_entry_unref(e);
    return freshness == TL_FRESH;
}

static void on_group(struct tl_tier_op *op)
{
    struct group *g = op->user;
    struct tl_cache *c = g->cache;
    size_t left = 0;
    tl_cache_note_latency(stats_of(c, g->tier), g->began_ns, tl_cache_now_ns(c));
    for (size_t i = 0; i < g->n; i++) {
        struct flight *f = g->flights[i];
        if (!tier_answered(f, g->tier, &g->items[i])) g->flights[left++] = f;
    }
    if (g->tier == TL_TIER_REDIS && left > 0 && c->t_store && c->phase != TL_CACHE_CLOSING)
        ask_tier(c, TL_TIER_STORE, g->flights, left);
    else
        for (size_t i = 0; i < left; i++) nothing_found(g->flights[i]);
    free(g->flights);
    free(g);
}

static void ask_tier(struct tl_cache *c, enum tl_tier_id tier, struct flight **flights, size_t n)
{
    struct tl_tier *t = tier == TL_TIER_REDIS ? c->t_redis : c->t_store;
    struct group *g = tl_calloc(1, sizeof *g + n * sizeof g->items[0]);
    struct flight **copy = g ? tl_calloc(n, sizeof(struct flight *)) : NULL;
    if (!copy) {
        free(g);
        for (size_t i = 0; i < n; i++) land(flights[i], TL_NOMEM, NULL, TL_MISSING, TL_TIER_NONE);
        return;
    }
    memcpy(copy, flights, n * sizeof(struct flight *));
    *g = (struct group){.cache = c, .tier = tier, .began_ns = tl_cache_now_ns(c), .n = n, .flights = copy};
    for (size_t i = 0; i < n; i++) g->items[i].key = tl_cache_key_str(&flights[i]->key);
    g->op = (struct tl_tier_op){.verb = TL_TIER_GET,
                                .items = g->items,
                                .n = n,
                                .timeout_ms = tier == TL_TIER_REDIS ? c->redis_timeout_ms : c->store_timeout_ms,
                                .cb = on_group,
                                .user = g};
    if (tl_tier_submit(t, &g->op)) on_group(&g->op);
}

void tl_flights_start(struct tl_cache *c, struct flight **flights, size_t n)
{
    size_t deep = 0; /* those for the store alone come first */
    for (size_t i = 0; i < n; i++) {
        if (!flights[i]->only_store || !c->t_store) continue;
        struct flight *f = flights[i];
        flights[i] = flights[deep];
        flights[deep++] = f;
    }
    bool redis = c->t_redis && tl_tier_up(c->t_redis);
    if (deep > 0) ask_tier(c, TL_TIER_STORE, flights, deep);
    flights += deep;
    n -= deep;
    if (n == 0) return;
    for (size_t i = 0; c->t_redis && !redis && i < n; i++) flights[i]->trouble = true;
    if (redis) {
        ask_tier(c, TL_TIER_REDIS, flights, n);
    } else if (c->t_store) {
        ask_tier(c, TL_TIER_STORE, flights, n);
    } else {
        for (size_t i = 0; i < n; i++) nothing_found(flights[i]);
    }
}

void tl_flights_taint(struct tl_cache *c, struct tl_str key, const struct tl_stamp *stamp)
{
    void **found = tl_map_get(c->flights, key);
    if (!found) return;
    struct flight *f = *found;
    struct tl_entry earlier = {.kind = TL_ENTRY_GENERAL};
    earlier.general.ms = f->taint.ms;
    earlier.general.instance = f->taint.instance;
    earlier.general.seq = f->taint.seq;
    if (!f->tainted || is_before(&earlier, stamp)) f->taint = *stamp;
    f->tainted = true;
}

/* ---- loading ---- */

static void start_load(struct flight *f)
{
    struct tl_cache *c = f->cache;
    struct tl_key_parts parts;
    char type[72], symbol[72], timeframe[40];
    bool ours = tl_cache_key_split(tl_cache_key_str(&f->key), &parts);
    TL_ASSERT(ours);
    tl_cache_key_decode(parts.data_type, type, sizeof type);
    tl_cache_key_decode(parts.symbol, symbol, sizeof symbol);
    tl_cache_key_decode(parts.timeframe, timeframe, sizeof timeframe);
    struct tl_key key = {.data_type = type, .symbol = symbol, .timeframe = timeframe};
    f->generation = tl_generations_newest(c->generations);
    f->load.flight = f;
    f->loads++;
    c->loads_under_way++;
    c->stats.loads++;
    f->load_fn(f->load_ctx, &key, &f->load);
}

void tl_load_end(struct tl_load *load, enum tl_status status, const void *bytes, size_t n, const struct tl_ttl *ttl,
                 const char *why)
{
    struct flight *f = load->flight;
    struct tl_cache *c = f->cache;
    struct tl_entry *e = NULL;
    struct tl_ttl used = ttl ? *ttl : (struct tl_ttl){.fresh_ms = 0};
    c->loads_under_way--;
    if (status == TL_OK && n > TL_VALUE_MAX) status = TL_TOO_LARGE;
    if (status == TL_OK) {
        e = tl_cache_entry_new(c, tl_cache_key_str(&f->key), bytes, n, &used, f->generation);
        if (!e) status = TL_NOMEM;
    }
    if (e && !tl_generations_valid(c->generations, e, false)) {
        tl_entry_unref(e);
        if (f->loads < LOADS_MAX && c->phase == TL_CACHE_OPEN) {
            start_load(f);
            return;
        }
        e = NULL;
        status = TL_CONFLICT; /* invalidated faster than it can be made */
    }
    if (e) {
        if (c->phase != TL_CACHE_CLOSING) tl_cache_fill(c, e, TL_TIER_SOURCE);
        land(f, TL_OK, e, TL_FRESH, TL_TIER_SOURCE);
        tl_entry_unref(e);
    } else {
        if (c->phase != TL_CACHE_CLOSING) remember_failure(c, f, status, why ? why : "", f->generation);
        land(f, status, NULL, TL_MISSING, TL_TIER_SOURCE);
    }
    if (c->phase == TL_CACHE_CLOSING && c->loads_under_way == 0) tl_cache_part_closed(c);
}

/* ---- joining ---- */

static struct flight *flight_new(struct tl_cache *c, const struct tl_cache_key *key, const struct tl_get *op,
                                 const struct tl_version *min, bool only_store)
{
    struct flight *f = tl_calloc(1, sizeof *f);
    if (!f) return NULL;
    f->cache = c;
    f->key = *key;
    f->has_min = min != NULL;
    if (min) f->min = *min;
    f->only_store = only_store;
    f->load_fn = op->load;
    f->load_ctx = op->load_ctx;
    f->max_age_ms = TL_MAX(op->max_age_ms, INT64_C(0));
    f->generation = tl_generations_newest(c->generations);
    void **slot = only_store ? NULL : tl_map_put(c->flights, tl_cache_key_str(key), NULL);
    if (slot) {
        *slot = f;
        f->shared = true;
    }
    c->stats.flights++;
    return f;
}

static void wait_for(struct waiter *w, struct flight *f)
{
    w->flight = f;
    w->prev = NULL;
    w->next = f->waiters;
    if (f->waiters) f->waiters->prev = w;
    f->waiters = w;
    w->state->waiting++;
}

void tl_flight_leave(struct waiter *w)
{
    if (!w->flight) return;
    if (w->prev)
        w->prev->next = w->next;
    else
        w->flight->waiters = w->next;
    if (w->next) w->next->prev = w->prev;
    w->flight = NULL;
    w->state->waiting--;
}

void tl_flight_need(struct waiter *w, const struct tl_cache_key *key, const struct tl_version *min, bool waits,
                    struct flight **starting, size_t *n)
{
    struct tl_get_state *st = w->state;
    struct tl_cache *c = st->cache;
    bool deep = st->op->max_age_ms == TL_AGE_NOW;
    void **found = deep ? NULL : tl_map_get(c->flights, tl_cache_key_str(key));
    struct flight *f = found ? *found : NULL;
    if (f) {
        c->stats.joined++;
        if (!f->load_fn) {
            f->load_fn = st->op->load;
            f->load_ctx = st->op->load_ctx;
        }
        if (st->op->max_age_ms > 0 && (f->max_age_ms == 0 || st->op->max_age_ms < f->max_age_ms))
            f->max_age_ms = st->op->max_age_ms;
        /* The newest version that anybody of them asks for. */
        if (min && (!f->has_min || tl_version_cmp(*min, f->min) > 0)) {
            f->has_min = true;
            f->min = *min;
        }
    } else {
        f = flight_new(c, key, st->op, min, deep);
        if (f) starting[(*n)++] = f;
    }
    if (!waits) return;
    if (f)
        wait_for(w, f);
    else
        tl_get_answer(w, TL_NOMEM, NULL, TL_MISSING, TL_TIER_NONE);
}
