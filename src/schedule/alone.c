/* SPDX-License-Identifier: Apache-2.0 */
/* Computing once without a Redis: within this process alone. Keys are granted at once, with token 0, unless memory has
 * them by now, they failed a moment ago, or they are lent to somebody outside, by Redis, too, before it went away. What
 * was made goes to the tiers that are there; what was made under a lease of Redis is kept only by who held it in this
 * process. */
#include "schedule/lend.h"

#include "base/util.h"

static void land_failure(struct once_key *k, enum tl_status status, const char *why)
{
    struct once_result r = {.status = status, .why = why, .waited = k->waited, .duplicated = k->duplicated};
    tl_once_land(k, &r);
}

/* What was lent here without a Redis is waited for, also when there is one again. */
void tl_once_wait_for_lent(struct once_group *g)
{
    for (size_t i = 0; i < g->n; i++) {
        struct once_key *k = &g->keys[i];
        int64_t left = k->state == ONCE_WANTED && !k->made ? tl_lent_left_ms(g->s, &k->key) : 0;
        if (left == 0) continue;
        k->state = ONCE_BUSY;
        k->waited = k->lent_here = true;
        k->told = false;
        k->left_ms = left;
    }
}

static void grant_one(struct once_key *k)
{
    struct once_group *g = k->group;
    struct tl_entry *e = g->versioned || g->source->anew ? NULL : tl_once_in_memory(g->s, &k->key, k->min_ms);
    int64_t left;
    k->token = 0;
    k->degraded = true;
    if (k->made) {
        k->state = ONCE_MADE;
    } else if (e) { /* made here while the group waited for its turn */
        struct once_result r = {.status = TL_OK,
                                .entry = e,
                                .freshness = TL_FRESH,
                                .source = TL_TIER_MEMORY,
                                .waited = k->waited,
                                .why = ""};
        tl_once_land(k, &r);
    } else if (tl_once_known_failure(g->s, k)) {
        land_failure(k, k->failure, k->why);
    } else if ((left = tl_lent_shared_left_ms(g->s, &k->key)) > 0) { /* Redis would say so, too */
        k->state = ONCE_BUSY;
        k->waited = true;
        k->told = false;
        k->left_ms = left;
    } else {
        k->taken_over = k->taken_over || (k->lent_here && !k->told);
        k->state = ONCE_GRANTED;
    }
    tl_entry_unref(e);
}

void tl_once_grant_alone(struct once_group *g)
{
    for (size_t i = 0; i < g->n; i++) {
        if (g->keys[i].state == ONCE_WANTED) grant_one(&g->keys[i]);
    }
}

/* Whether a lease that was granted elsewhere, or long ago, is the caller's still: only Redis knows. It stays as it is.
 */
static void land_unknown(struct once_key *k)
{
    k->leased = false;
    land_failure(k, TL_IO, "Redis cannot be reached: whether the lease is held still is not known");
}

/* Made, and nobody to hand it in to: it is this process' own. */
void tl_once_land_made_alone(struct once_group *g)
{
    for (size_t i = 0; i < g->n; i++) {
        struct once_key *k = &g->keys[i];
        if (k->state != ONCE_MADE) continue;
        if (g->source->strict && k->leased) {
            land_unknown(k);
            continue;
        }
        if (k->made || tl_once_is_shared_failure(k->failure))
            tl_once_note_failure(g->s, k, k->made ? TL_OK : k->failure, k->why);
        if (!k->made) {
            struct once_result bad = {.status = k->failure, .why = k->why, .waited = k->waited, .handed_in = true};
            tl_once_land(k, &bad);
            continue;
        }
        struct once_result r = {.status = TL_OK,
                                .entry = k->made,
                                .freshness = TL_FRESH,
                                .source = k->found ? TL_TIER_STORE : TL_TIER_SOURCE,
                                .waited = k->waited,
                                .taken_over = k->taken_over,
                                .why = ""};
        k->degraded = true;
        g->source->ops->keep(g->source, k, k->made, r.source, true);
        tl_once_land(k, &r);
    }
}
