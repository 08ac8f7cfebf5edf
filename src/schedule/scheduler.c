/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the scheduler; failures that are remembered while no Redis remembers them. */
#include "schedule/lend.h"

#include "base/err.h"
#include "base/util.h"

#include <inttypes.h>
#include <stdio.h>

enum { LEASE_USUAL_MS = 5000, LEASE_MIN_MS = 100, LEASE_MAX_MS = 600000, FAILURES_MAX = 4096 };

uint64_t tl_once_now_ns(const struct tl_scheduler *s)
{
    return tl_clock_mono_ns(s->clock);
}

bool tl_once_has_redis(const struct tl_scheduler *s)
{
    return s->cache->redis_state == TL_REDIS_JOINED;
}

struct tl_entry *tl_once_in_memory(const struct tl_scheduler *s, const struct tl_cache_key *key, int64_t min_ms)
{
    struct tl_cache *c = s->cache;
    struct tl_entry *e = tl_memory_get(c->memory, tl_cache_key_str(key));
    if (!e) e = tl_behind_get(c->behind, tl_cache_key_str(key));
    if (e && e->kind == TL_ENTRY_GENERAL && !e->failure && tl_generations_valid(c->generations, e, false) &&
        e->general.ms >= min_ms && tl_cache_now_ms(c) < tl_entry_soft_ms(e) && tl_peers_trusts_memory(c))
        return e;
    tl_entry_unref(e);
    return NULL;
}

void tl_scheduler_stats(const struct tl_scheduler *s, struct tl_scheduler_stats *out)
{
    *out = s->stats;
}

/* ---- failures ---- */

struct failure {
    enum tl_status status;
    unsigned attempts;
    uint64_t until_ns;
    struct tl_version version;
    char why[200];
};

static void forget_all(struct tl_map *failures)
{
    struct tl_str key;
    void *value;
    for (size_t i = 0; tl_map_next(failures, &i, &key, &value);) free(value);
    tl_map_free(failures);
}

void tl_once_note_failure(struct tl_scheduler *s, const struct once_key *k, enum tl_status status, const char *why)
{
    struct tl_str key = tl_cache_key_str(&k->key);
    void **slot = tl_map_get(s->failures, key);
    struct failure *f = slot ? *slot : NULL;
    if (status == TL_OK) {
        if (f) tl_map_remove(s->failures, key);
        free(f);
        return;
    }
    if (!f && tl_map_count(s->failures) >= FAILURES_MAX) {
        struct tl_map *fresh = tl_map_new();
        if (!fresh) return;
        forget_all(s->failures);
        s->failures = fresh;
    }
    if (!f) {
        f = tl_calloc(1, sizeof *f);
        slot = f ? tl_map_put(s->failures, key, NULL) : NULL;
        if (!slot) {
            free(f);
            return;
        }
        *slot = f;
    }
    uint64_t ms = UINT64_C(86400000);
    if (tl_status_retry(status) || (!k->group->versioned && status != TL_INVALID))
        ms = TL_MIN(UINT64_C(500) << TL_MIN(f->attempts, 10u), UINT64_C(60000));
    f->attempts++;
    f->status = status;
    f->version = k->group->version;
    f->until_ns = tl_once_now_ns(s) + ms * 1000000;
    snprintf(f->why, sizeof f->why, "%s", why);
}

bool tl_once_known_failure(struct tl_scheduler *s, struct once_key *k)
{
    void **slot = tl_map_get(s->failures, tl_cache_key_str(&k->key));
    const struct failure *f = slot ? *slot : NULL;
    if (!f || tl_once_now_ns(s) >= f->until_ns) return false;
    if (f->status != TL_INVALID && tl_version_cmp(f->version, k->group->version) != 0) return false;
    k->failure = f->status;
    snprintf(k->why, sizeof k->why, "%s", f->why);
    return true;
}

/* ---- opening ---- */

static void on_room(struct tl_soon *soon)
{
    struct tl_scheduler *s = (struct tl_scheduler *)(void *)((char *)soon - offsetof(struct tl_scheduler, room_soon));
    if (s->room) s->room(s->room_ctx);
}

static void on_message(void *ctx, struct tl_str payload)
{
    tl_once_message(ctx, payload);
}

static void on_joined(void *ctx, bool joined)
{
    tl_once_joined(ctx, joined);
}

static void free_scheduler(void *scheduler)
{
    struct tl_scheduler *s = scheduler;
    for (unsigned i = 0; s->readers && i < s->n_workers; i++) tl_store_reader_free(s->readers[i]);
    free(s->readers);
    if (s->failures) forget_all(s->failures);
    tl_lends_free(s);
    tl_map_free(s->keys);
    free(s);
}

static enum tl_status open_readers(struct tl_scheduler *s, struct tl_err *err)
{
    if (!s->cache->store) return TL_OK;
    s->readers = tl_calloc(s->n_workers, sizeof(struct tl_store_reader *));
    enum tl_status st = s->readers ? TL_OK : tl_fail(err, TL_NOMEM, "no memory for %u workers", s->n_workers);
    for (unsigned i = 0; st == TL_OK && i < s->n_workers; i++)
        st = tl_store_reader_new(s->cache->store, &s->readers[i], err);
    return st;
}

enum tl_status tl_scheduler_open(struct tl_cache *c, const struct tl_scheduler_options *opt, struct tl_scheduler **out,
                                 struct tl_err *err)
{
    uint32_t lease_ms = opt && opt->lease_ms ? opt->lease_ms : LEASE_USUAL_MS;
    if (c->listener.message) return tl_fail(err, TL_CONFLICT, "the cache has a scheduler already");
    if (lease_ms < LEASE_MIN_MS || lease_ms > LEASE_MAX_MS)
        return tl_fail(err, TL_INVALID, "lease_ms %" PRIu32 ": %d to %d", lease_ms, LEASE_MIN_MS, LEASE_MAX_MS);
    struct tl_scheduler *s = tl_calloc(1, sizeof *s);
    if (!s) return tl_fail(err, TL_NOMEM, "no memory for the scheduler");
    s->cache = c;
    s->clock = c->clock;
    s->alarms = c->alarms;
    s->lease_ms = lease_ms;
    s->prefix_n = strlen(c->prefix);
    s->n_workers = opt && opt->workers ? TL_MIN(opt->workers, 256u) : TL_MIN(uv_available_parallelism(), 256u);
    s->free_workers = s->n_workers;
    s->room_soon.call = on_room;
    snprintf(s->instance, sizeof s->instance, "%016" PRIx64 ":", c->instance);
    tl_rng_seed(&s->rng, c->instance ^ 0x9e3779b97f4a7c15u);
    s->keys = tl_map_new();
    s->failures = tl_map_new();
    s->lent = tl_map_new();
    s->lent_shared = tl_map_new();
    enum tl_status st = s->keys && s->failures && s->lent && s->lent_shared
                            ? TL_OK
                            : tl_fail(err, TL_NOMEM, "no memory for the scheduler");
    if (st == TL_OK) st = open_readers(s, err);
    if (st == TL_OK) st = tl_mailbox_start(c->loop, &s->mailbox, err);
    if (st == TL_OK) st = tl_workers_start(c->loop, s->n_workers, &s->workers, err);
    if (st != TL_OK && s->mailbox)
        tl_mailbox_close(s->mailbox, free_scheduler, s); /* what began on the loop ends on it */
    else if (st != TL_OK)
        free_scheduler(s);
    if (st != TL_OK) return st;
    c->listener = (struct tl_cache_listener){.message = on_message, .joined = on_joined, .ctx = s};
    *out = s;
    return TL_OK;
}

/* ---- closing: groups end, what was leased is given back, then the threads go ---- */

static void on_mailbox_closed(void *ctx)
{
    struct tl_scheduler *s = ctx;
    void (*cb)(void *) = s->closed;
    void *cb_ctx = s->closed_ctx;
    tl_soon_cancel(s->alarms, &s->room_soon);
    s->cache->listener = (struct tl_cache_listener){.message = NULL};
    free_scheduler(s);
    if (cb) cb(cb_ctx);
}

static void on_workers_closed(void *ctx)
{
    struct tl_scheduler *s = ctx;
    tl_mailbox_close(s->mailbox, on_mailbox_closed, s);
}

void tl_once_work_begins(struct tl_scheduler *s)
{
    s->works++;
}

void tl_once_work_ended(struct tl_scheduler *s)
{
    s->works--;
    tl_once_ended(s);
}

void tl_once_ended(struct tl_scheduler *s)
{
    if (!s->closing || s->groups || s->partings > 0 || s->works > 0 || s->workers_closed || s->close_soon.queued)
        return;
    s->workers_closed = true;
    tl_workers_close(s->workers, on_workers_closed, s);
}

static void on_close(struct tl_soon *soon)
{
    struct tl_scheduler *s = (struct tl_scheduler *)(void *)((char *)soon - offsetof(struct tl_scheduler, close_soon));
    tl_computings_end(s);
    tl_lends_end(s);
    tl_once_end_all(s);
    tl_once_ended(s);
}

void tl_scheduler_close(struct tl_scheduler *s, void (*cb)(void *ctx), void *ctx)
{
    if (s->closing) return;
    s->closing = true;
    s->closed = cb;
    s->closed_ctx = ctx;
    s->close_soon.call = on_close;
    tl_soon_call(s->alarms, &s->close_soon);
}
