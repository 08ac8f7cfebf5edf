/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/top.h"

#include "base/map.h"
#include "base/util.h"
#include "cache/entry.h"

struct slot {
    uint64_t error;
    uint8_t key_n;
    char key[TL_KEY_MAX + 1];
};

struct tl_top {
    struct tl_map *slots_by_key; /* key -> struct slot */
    size_t n;
    int64_t halve_at_ms;          /* 0: nothing was noted yet */
    uint64_t reads[TL_TOP_SLOTS]; /* by slot, apart: the least is looked for */
    struct slot slots[TL_TOP_SLOTS];
};
_Static_assert((int)TL_TOP_KEY_MAX == (int)TL_KEY_MAX, "a key fits into struct tl_top_key");

struct tl_top *tl_top_new(void)
{
    struct tl_top *t = tl_calloc(1, sizeof *t);
    if (t) t->slots_by_key = tl_map_new();
    if (t && t->slots_by_key) return t;
    free(t);
    return NULL;
}

void tl_top_free(struct tl_top *t)
{
    if (!t) return;
    tl_map_free(t->slots_by_key);
    free(t);
}

static void halve(struct tl_top *t, int64_t now_ms)
{
    int64_t minutes = t->halve_at_ms ? (now_ms - t->halve_at_ms) / TL_TOP_HALVE_MS + 1 : 0;
    t->halve_at_ms = now_ms + TL_TOP_HALVE_MS;
    for (size_t i = 0; i < t->n; i++) {
        t->reads[i] >>= TL_MIN(minutes, INT64_C(63));
        t->slots[i].error >>= TL_MIN(minutes, INT64_C(63));
    }
}

static size_t slot_to_use(struct tl_top *t)
{
    if (t->n < TL_TOP_SLOTS) return t->n++;
    size_t least = 0;
    for (size_t i = 1; i < TL_TOP_SLOTS; i++) least = t->reads[i] < t->reads[least] ? i : least;
    tl_map_remove(t->slots_by_key, (struct tl_str){t->slots[least].key, t->slots[least].key_n});
    return least;
}

void tl_top_note(struct tl_top *t, struct tl_str key, int64_t now_ms)
{
    if (now_ms >= t->halve_at_ms) halve(t, now_ms);
    void **found = tl_map_get(t->slots_by_key, key);
    if (found) {
        t->reads[(const struct slot *)*found - t->slots]++;
        return;
    }
    size_t i = slot_to_use(t);
    struct slot *s = &t->slots[i];
    s->error = t->reads[i]++;
    s->key_n = (uint8_t)key.n;
    memcpy(s->key, key.p, key.n);
    s->key[key.n] = '\0';
    void **at = tl_map_put(t->slots_by_key, key, NULL);
    if (at)
        *at = s;
    else
        t->reads[i] = 0; /* cannot be found: the first to give way */
}

static int by_reads(const void *a, const void *b)
{
    const struct tl_top_key *x = a, *y = b;
    if (x->reads != y->reads) return x->reads > y->reads ? -1 : 1;
    return strcmp(x->key, y->key);
}

size_t tl_top_list(struct tl_top *t, int64_t now_ms, struct tl_top_key *out, size_t max)
{
    struct tl_top_key all[TL_TOP_SLOTS];
    size_t n = 0;
    if (t->halve_at_ms && now_ms >= t->halve_at_ms) halve(t, now_ms);
    for (size_t i = 0; i < t->n; i++) {
        if (t->reads[i] == 0) continue;
        all[n].reads = t->reads[i];
        all[n].error = t->slots[i].error;
        memcpy(all[n++].key, t->slots[i].key, t->slots[i].key_n + 1u);
    }
    qsort(all, n, sizeof all[0], by_reads);
    n = TL_MIN(n, max);
    memcpy(out, all, n * sizeof all[0]);
    return n;
}
