/* SPDX-License-Identifier: Apache-2.0 */
/* A tier in plain memory with an injected clock: what the conformance suite holds the real ones against. Every op ends
 * from the loop, one turn later. */
#ifndef TL_TESTS_FAKE_TIER_H
#define TL_TESTS_FAKE_TIER_H

#include "base/map.h"
#include "base/util.h"
#include "cache/tiers.h"

struct fake_kept {
    struct tl_entry *entry;
    int64_t expires_ms;
};

struct fake_tier {
    struct tl_tier tier;
    struct tl_map *kept;
    struct tl_alarms *alarms;
    const struct tl_clock *clock;
};

struct fake_call {
    struct tl_soon soon;
    struct tl_tier_op *op;
};

static inline void fake_answer(struct tl_soon *s)
{
    struct fake_call *c = (struct fake_call *)(void *)s;
    struct tl_tier_op *op = c->op;
    free(c);
    op->cb(op);
}

static inline void fake_drop(struct fake_tier *t, struct tl_str key)
{
    void **slot = tl_map_get(t->kept, key);
    if (!slot) return;
    struct fake_kept *k = *slot;
    tl_entry_unref(k->entry);
    free(k);
    tl_map_remove(t->kept, key);
}

static inline void fake_item(struct fake_tier *t, enum tl_tier_verb verb, struct tl_tier_item *item)
{
    void **slot = tl_map_get(t->kept, item->key);
    struct fake_kept *k = slot ? *slot : NULL;
    if (k && tl_clock_wall_ms(t->clock) >= k->expires_ms) {
        fake_drop(t, item->key);
        k = NULL;
    }
    item->status = TL_OK;
    item->superseded = false;
    if (verb == TL_TIER_GET) {
        item->entry = k ? tl_entry_ref(k->entry) : NULL;
        if (!k) item->status = TL_NOT_FOUND;
    } else if (verb == TL_TIER_DEL) {
        if (k && (!item->entry || tl_entry_cmp(k->entry, item->entry) <= 0)) fake_drop(t, item->key);
    } else if (k && tl_entry_cmp(k->entry, item->entry) > 0) {
        item->superseded = true;
    } else {
        fake_drop(t, item->key);
        k = tl_calloc(1, sizeof *k);
        *k = (struct fake_kept){.entry = tl_entry_ref(item->entry), .expires_ms = item->expires_ms};
        *tl_map_put(t->kept, item->key, NULL) = k;
    }
}

static inline bool fake_submit(struct tl_tier *tier, struct tl_tier_op *op)
{
    struct fake_tier *t = (struct fake_tier *)(void *)tier;
    struct fake_call *c = tl_calloc(1, sizeof *c);
    for (size_t i = 0; i < op->n; i++) fake_item(t, op->verb, &op->items[i]);
    c->op = op;
    c->soon.call = fake_answer;
    tl_soon_call(t->alarms, &c->soon);
    return false;
}

static inline bool fake_up(const struct tl_tier *tier)
{
    (void)tier;
    return true;
}

static inline void fake_close(struct tl_tier *tier, void (*cb)(void *ctx), void *ctx)
{
    struct fake_tier *t = (struct fake_tier *)(void *)tier;
    struct tl_str key;
    void *value;
    for (size_t i = 0; tl_map_next(t->kept, &i, &key, &value);) {
        struct fake_kept *k = value;
        tl_entry_unref(k->entry);
        free(k);
    }
    tl_map_free(t->kept);
    free(t);
    cb(ctx);
}

static inline struct tl_tier *fake_tier_new(struct tl_alarms *alarms, const struct tl_clock *clock)
{
    static const struct tl_tier_ops ops = {.name = "fake", .submit = fake_submit, .up = fake_up, .close = fake_close};
    struct fake_tier *t = tl_calloc(1, sizeof *t);
    t->tier.ops = &ops;
    t->kept = tl_map_new();
    t->alarms = alarms;
    t->clock = clock;
    return &t->tier;
}

#endif
