/* SPDX-License-Identifier: Apache-2.0 */
/* Leases in a map by name. A lease that runs out is given to the first who waits; tokens are the time in microseconds
 * or one more than the last, so they rise also across restarts. */
#include "server/local_locks.h"

#include "base/util.h"

#include <stdio.h>

enum { NAMES_MAX = 100000 };

struct held {
    struct local_locks *locks;
    uint64_t token, until_ns; /* until_ns 0: free */
    struct tl_alarm expiry;
    struct local_wait *first, *last; /* who waits */
    char name[TL_LEASE_NAME_MAX + 1];
};

struct local_locks {
    const struct tl_clock *clock;
    struct tl_alarms *alarms;
    struct tl_map *names;      /* -> struct held, while it is held or waited for */
    struct local_wait *ending; /* whose cb is to come */
    uint64_t last_token;
};

static uint64_t now_ns(const struct local_locks *k)
{
    return tl_clock_mono_ns(k->clock);
}

struct local_locks *local_locks_new(const struct tl_clock *clock, struct tl_alarms *alarms)
{
    struct local_locks *k = tl_calloc(1, sizeof *k);
    if (!k) return NULL;
    k->clock = clock;
    k->alarms = alarms;
    k->names = tl_map_new();
    if (k->names) return k;
    free(k);
    return NULL;
}

static void end(struct local_wait *w, enum tl_status status)
{
    struct local_locks *k = w->locks;
    if (k->ending == w)
        k->ending = w->next;
    else
        w->prev->next = w->next;
    if (w->next) w->next->prev = w->prev;
    w->locks = NULL;
    w->cb(w, status);
}

static void on_soon(struct tl_soon *s)
{
    struct local_wait *w = (struct local_wait *)(void *)((char *)s - offsetof(struct local_wait, soon));
    end(w, w->status);
}

static void end_soon(struct local_wait *w, enum tl_status status)
{
    struct local_locks *k = w->locks;
    w->status = status;
    w->prev = NULL;
    w->next = k->ending;
    if (k->ending) k->ending->prev = w;
    k->ending = w;
    tl_alarm_clear(k->alarms, &w->deadline);
    tl_soon_call(k->alarms, &w->soon);
}

static void unlink_wait(struct held *h, struct local_wait *w)
{
    if (w->prev)
        w->prev->next = w->next;
    else
        h->first = w->next;
    if (w->next)
        w->next->prev = w->prev;
    else
        h->last = w->prev;
    w->prev = w->next = NULL;
    w->queued = false;
}

static void drop(struct held *h)
{
    struct local_locks *k = h->locks;
    tl_alarm_clear(k->alarms, &h->expiry);
    tl_map_remove(k->names, tl_str(h->name));
    free(h);
}

static void give(struct held *h, struct local_wait *w)
{
    struct local_locks *k = h->locks;
    uint64_t us = (uint64_t)tl_clock_wall_ms(k->clock) * 1000;
    k->last_token = TL_MAX(us, k->last_token + 1);
    h->token = w->token = k->last_token;
    h->until_ns = now_ns(k) + w->ttl_ms * UINT64_C(1000000);
    (void)!tl_alarm_set(k->alarms, &h->expiry, h->until_ns); /* its place was taken when it was made */
    end_soon(w, TL_OK);
}

static void next(struct held *h)
{
    struct local_wait *w = h->first;
    h->until_ns = 0;
    if (!w) {
        drop(h);
        return;
    }
    unlink_wait(h, w);
    give(h, w);
}

static void on_expiry(struct tl_alarm *a)
{
    next((struct held *)(void *)((char *)a - offsetof(struct held, expiry)));
}

static struct held *find(struct local_locks *k, const char *name)
{
    void **slot = tl_map_get(k->names, tl_str(name));
    return slot ? *slot : NULL;
}

static void on_deadline(struct tl_alarm *a)
{
    struct local_wait *w = (struct local_wait *)(void *)((char *)a - offsetof(struct local_wait, deadline));
    struct held *h = find(w->locks, w->name);
    TL_ASSERT(h && w->queued);
    w->left_ms = (h->until_ns - TL_MIN(now_ns(w->locks), h->until_ns)) / 1000000;
    unlink_wait(h, w);
    end_soon(w, TL_TIMEOUT);
}

static struct held *make(struct local_locks *k, const char *name)
{
    struct held *h = tl_calloc(1, sizeof *h);
    void **slot = h ? tl_map_put(k->names, tl_str(name), NULL) : NULL;
    if (h) {
        h->locks = k;
        h->expiry.ring = on_expiry;
        snprintf(h->name, sizeof h->name, "%s", name);
    }
    if (slot && tl_alarm_set(k->alarms, &h->expiry, UINT64_MAX) == TL_OK) return *slot = h;
    if (slot) tl_map_remove(k->names, tl_str(name));
    free(h);
    return NULL;
}

void local_locks_acquire(struct local_locks *k, struct local_wait *w, const char *name)
{
    struct held *h = find(k, name);
    w->locks = k;
    w->soon.call = on_soon;
    w->deadline.ring = on_deadline;
    snprintf(w->name, sizeof w->name, "%s", name);
    if (h && now_ns(k) >= h->until_ns) { /* its alarm is late */
        next(h);
        h = find(k, name);
    }
    if (!h) {
        h = tl_map_count(k->names) < NAMES_MAX ? make(k, name) : NULL;
        if (h)
            give(h, w);
        else
            end_soon(w, TL_FULL);
        return;
    }
    w->left_ms = (h->until_ns - TL_MIN(now_ns(k), h->until_ns)) / 1000000;
    if (w->wait_ms == 0 || tl_alarm_set(k->alarms, &w->deadline, now_ns(k) + w->wait_ms * 1000000) != TL_OK) {
        end_soon(w, TL_BUSY);
        return;
    }
    w->queued = true;
    w->prev = h->last;
    if (h->last)
        h->last->next = w;
    else
        h->first = w;
    h->last = w;
}

void local_locks_cancel(struct local_wait *w)
{
    struct held *h = w->locks && w->queued ? find(w->locks, w->name) : NULL;
    if (!h) return;
    unlink_wait(h, w);
    end_soon(w, TL_CANCELLED);
}

static struct held *held_under(struct local_locks *k, const char *name, uint64_t token)
{
    struct held *h = find(k, name);
    return h && h->token == token && now_ns(k) < h->until_ns ? h : NULL;
}

bool local_locks_renew(struct local_locks *k, const char *name, uint64_t token, uint32_t ttl_ms)
{
    struct held *h = held_under(k, name, token);
    if (!h) return false;
    h->until_ns = now_ns(k) + ttl_ms * UINT64_C(1000000);
    (void)!tl_alarm_set(k->alarms, &h->expiry, h->until_ns); /* moving one cannot fail */
    return true;
}

bool local_locks_release(struct local_locks *k, const char *name, uint64_t token)
{
    struct held *h = held_under(k, name, token);
    if (h) next(h);
    return h != NULL;
}

void local_locks_each(struct local_locks *k, bool (*cb)(void *ctx, const struct tl_lease_info *), void *ctx)
{
    struct tl_str key;
    void *value;
    for (size_t i = 0; tl_map_next(k->names, &i, &key, &value);) {
        const struct held *h = value;
        struct tl_lease_info info = {.token = h->token};
        info.left_ms = (h->until_ns - TL_MIN(now_ns(k), h->until_ns)) / 1000000;
        snprintf(info.name, sizeof info.name, "%s", h->name);
        snprintf(info.holder, sizeof info.holder, "local");
        if (!cb(ctx, &info)) return;
    }
}

void local_locks_free(struct local_locks *k)
{
    struct tl_str key;
    void *value;
    if (!k) return;
    for (size_t i = 0; tl_map_next(k->names, &i, &key, &value);) {
        struct held *h = value;
        tl_alarm_clear(k->alarms, &h->expiry);
        while (h->first) {
            struct local_wait *w = h->first;
            unlink_wait(h, w);
            end_soon(w, TL_CANCELLED);
        }
        free(h);
    }
    while (k->ending) {
        struct local_wait *w = k->ending;
        tl_soon_cancel(k->alarms, &w->soon);
        end(w, TL_CANCELLED);
    }
    tl_map_free(k->names);
    free(k);
}
