/* SPDX-License-Identifier: Apache-2.0 */
/* Remembering what memory's use counters call hot, and reading it back after a restart. The list is a general entry as
 * any other, in every tier: lines of keys, the hottest first. Processes that share a store or prefix share the list;
 * who wrote last is believed. */
#include "cache/cache.h"

#include "base/err.h"
#include "base/util.h"

enum { SAVE_EACH_MS = 60000, BATCH = 500 };
static const struct tl_key list_key = {"tierline.hot", NULL, NULL};

/* ---- remembering ---- */

struct save {
    struct tl_put op;
    struct tl_buf lines;
};

static void on_saved(struct tl_put *op, enum tl_status status)
{
    struct save *s = op->user;
    (void)status; /* the tiers count what they refuse; the next list comes in a minute */
    tl_buf_release(&s->lines);
    free(s);
}

static bool worth_listing(const struct tl_entry *e)
{
    return !e->failure && strncmp(e->bytes, "cache:{-}:tierline", sizeof "cache:{-}:tierline" - 1) != 0;
}

void tl_hot_save(struct tl_cache *c)
{
    if (c->hot_keys == 0) return;
    struct tl_entry **hot = tl_calloc(c->hot_keys, sizeof(struct tl_entry *));
    struct save *s = tl_calloc(1, sizeof *s);
    size_t n = hot ? tl_memory_hottest(c->memory, hot, c->hot_keys) : 0;
    if (s) tl_buf_init(&s->lines, TL_VALUE_MAX);
    for (size_t i = 0; i < n; i++) {
        if (s && worth_listing(hot[i])) {
            struct tl_str key = tl_entry_key(hot[i]);
            tl_buf_put(&s->lines, key.p, key.n);
            tl_buf_put(&s->lines, "\n", 1);
        }
        tl_entry_unref(hot[i]);
    }
    free(hot);
    if (!s) return;
    s->op.user = s;
    const struct tl_ttl ttl = {TL_FOREVER, TL_FOREVER, TL_FOREVER};
    if (s->lines.failed || s->lines.n == 0 ||
        tl_cache_put(c, &s->op, &list_key, s->lines.p, s->lines.n, &ttl, c->drain_ms, on_saved, NULL) != TL_OK)
        on_saved(&s->op, TL_OK);
}

static void on_save_alarm(struct tl_alarm *a)
{
    struct tl_cache *c = (struct tl_cache *)(void *)((char *)a - offsetof(struct tl_cache, hot_alarm));
    tl_hot_save(c);
    tl_hot_begin(c);
}

void tl_hot_begin(struct tl_cache *c)
{
    if (c->hot_keys == 0) return;
    c->hot_alarm.ring = on_save_alarm;
    (void)!tl_alarm_set(c->alarms, &c->hot_alarm, tl_cache_now_ns(c) + SAVE_EACH_MS * UINT64_C(1000000));
}

/* ---- warming ---- */

struct tl_warm_state {
    struct tl_cache *cache;
    struct tl_warm *op;
    tl_warm_cb *cb;
    size_t max;
    uint64_t end_ns;
    struct tl_get get;
    struct tl_value *list;
    size_t at; /* in the list's bytes */
    struct tl_get_item items[BATCH];
    struct tl_cache_key keys[BATCH];
};

static void next_batch(struct tl_warm_state *);

static void end_warm(struct tl_warm_state *s, enum tl_status status)
{
    struct tl_warm *op = s->op;
    tl_warm_cb *cb = s->cb;
    if (status != TL_OK && op->err.status == TL_OK)
        (void)tl_fail(&op->err, status, "%zu of %zu values were warmed: %s", op->warmed, op->listed,
                      tl_status_text(status));
    op->state = NULL;
    tl_value_unref(s->list);
    free(s);
    cb(op, status);
}

static void on_batch(struct tl_get *get, enum tl_status status)
{
    struct tl_warm_state *s = get->user;
    bool cancelled = false, late = false;
    (void)status;
    for (size_t i = 0; i < get->n; i++) {
        s->op->warmed += s->items[i].status == TL_OK;
        cancelled = cancelled || s->items[i].status == TL_CANCELLED;
        late = late || s->items[i].status == TL_TIMEOUT;
        tl_value_unref(s->items[i].value);
    }
    if (cancelled || late)
        end_warm(s, cancelled ? TL_CANCELLED : TL_TIMEOUT);
    else
        next_batch(s);
}

/* Asks for keys, or ends the op when there are none left. */
static void next_batch(struct tl_warm_state *s)
{
    size_t n, batch = 0;
    const char *lines = tl_value_bytes(s->list, &n);
    while (batch < BATCH && s->at < n && s->op->listed < s->max) {
        const char *line = lines + s->at, *nl = memchr(line, '\n', n - s->at);
        size_t length = nl ? (size_t)(nl - line) : n - s->at;
        struct tl_key_parts parts;
        s->at += length + 1;
        if (length > TL_KEY_MAX || !tl_cache_key_split((struct tl_str){line, length}, &parts)) continue;
        struct tl_cache_key *k = &s->keys[batch++];
        memcpy(k->text, line, length);
        k->text[length] = '\0';
        k->n = length;
        s->op->listed++;
    }
    if (batch == 0) {
        end_warm(s, TL_OK);
        return;
    }
    uint64_t now = tl_cache_now_ns(s->cache);
    s->get = (struct tl_get){.user = s};
    memset(s->items, 0, batch * sizeof s->items[0]);
    if (now >= s->end_ns) {
        end_warm(s, TL_TIMEOUT);
        return;
    }
    enum tl_status st = tl_cache_get_keys(s->cache, &s->get, s->keys, NULL, s->items, batch,
                                          (s->end_ns - now) / 1000000 + 1, on_batch, &s->op->err);
    if (st != TL_OK) end_warm(s, st);
}

static void on_list(struct tl_get *get, enum tl_status status)
{
    struct tl_warm_state *s = get->user;
    s->list = get->item.value;
    if (status == TL_OK)
        next_batch(s);
    else
        end_warm(s, status == TL_NOT_FOUND ? TL_OK : status);
}

enum tl_status tl_cache_warm(struct tl_cache *c, struct tl_warm *op, size_t max, uint64_t deadline_ms, tl_warm_cb *cb,
                             struct tl_err *err)
{
    struct tl_warm_state *s = tl_calloc(1, sizeof *s);
    if (!s) return tl_fail(err, TL_NOMEM, "no memory for warming up");
    s->cache = c;
    s->op = op;
    s->cb = cb;
    s->max = max;
    s->end_ns = tl_cache_now_ns(c) + deadline_ms * 1000000;
    s->get.user = s;
    op->listed = op->warmed = 0;
    op->err = (struct tl_err){.status = TL_OK};
    op->state = s;
    enum tl_status st = tl_cache_get(c, &s->get, &list_key, deadline_ms, on_list, err);
    if (st == TL_OK) return TL_OK;
    op->state = NULL;
    free(s);
    return st;
}
