/* SPDX-License-Identifier: Apache-2.0 */
/* The memory tier behind the tier interface: every op ends before submit returns. Does not own the memory. */
#include "cache/tiers.h"

#include "base/util.h"

struct memory_tier {
    struct tl_tier tier;
    struct tl_memory *memory;
};

static void run_item(struct tl_memory *memory, enum tl_tier_verb verb, struct tl_tier_item *item)
{
    item->status = TL_OK;
    item->superseded = false;
    switch (verb) {
    case TL_TIER_GET:
        item->entry = tl_memory_get(memory, item->key);
        if (!item->entry) item->status = TL_NOT_FOUND;
        break;
    case TL_TIER_PUT:
        /* Not kept: too large for the tier, or older than what is there. The latter is found out by asking. */
        if (!tl_memory_put(memory, item->entry, item->expires_ms)) {
            struct tl_entry *have = tl_memory_get(memory, item->key);
            item->superseded = have && tl_entry_cmp(have, item->entry) > 0;
            if (!item->superseded) item->status = TL_TOO_LARGE;
            tl_entry_unref(have);
        }
        break;
    case TL_TIER_DEL: {
        struct tl_entry *have = tl_memory_get(memory, item->key);
        if (have && (!item->entry || tl_entry_cmp(have, item->entry) <= 0)) tl_memory_del(memory, item->key, NULL);
        tl_entry_unref(have);
        break;
    }
    }
}

static bool submit(struct tl_tier *tier, struct tl_tier_op *op)
{
    struct memory_tier *m = (struct memory_tier *)(void *)tier;
    for (size_t i = 0; i < op->n; i++) run_item(m->memory, op->verb, &op->items[i]);
    return true;
}

static bool up(const struct tl_tier *tier)
{
    (void)tier;
    return true;
}

static void close_tier(struct tl_tier *tier, void (*cb)(void *ctx), void *ctx)
{
    free(tier);
    if (cb) cb(ctx);
}

struct tl_tier *tl_tier_memory_new(struct tl_memory *memory)
{
    static const struct tl_tier_ops ops = {.name = "memory", .submit = submit, .up = up, .close = close_tier};
    struct memory_tier *m = tl_calloc(1, sizeof *m);
    if (!m) return NULL;
    m->tier.ops = &ops;
    m->memory = memory;
    return &m->tier;
}
