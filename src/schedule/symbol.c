/* SPDX-License-Identifier: Apache-2.0 */
/* Where indicators come from. A source serves the keys of one group; its works run on the scheduler's workers one after
 * the other (check, make, keep) and touch nothing but the source, which the loop leaves alone meanwhile. It outlives
 * its group until the store has what the group made. */
#include "schedule/symbol.h"

#include "base/err.h"
#include "base/failpoint.h"
#include "base/util.h"
#include "cache/series_entry.h"
#include "indicator/kernel.h"

#include <stdio.h>

/* What another process made is on its way to the store by that process: it is looked for there after this time. */
enum { TAKEN_MS = 120 };

struct wanted {
    struct tl_cache_key key;
    struct tl_spec spec;
};

struct source {
    struct once_source source;
    struct tl_scheduler *s;
    struct tl_indicators *op; /* NULL: it does not wait for what is kept */
    struct tl_work work;
    struct once_group *group;
    struct tl_run run;
    struct tl_run_item *items; /* of the run; item i is group key keys[i] */
    struct once_key **keys;
    struct tl_entry **entries, *times; /* [own] made by the worker: entries as the items */
    const struct tl_view_sessions *sessions;
    enum tl_status status;
    struct tl_err err;
    /* what is to be kept */
    struct tl_entry **made, **taken; /* [own] */
    size_t n_made, n_taken;
    struct tl_alarm later;
    struct tl_store_put put;
    double **rows; /* [own] of put's items */
    struct tl_mail mail;
    bool worked, mailed;
    bool patient; /* what was taken was made just now */
    bool read_only;
    bool redis_first; /* rows are wanted: Redis is asked for them before the store */
    size_t n;
    struct wanted wanted[];
};

static struct source *of(void *member, size_t offset)
{
    return (struct source *)(void *)((char *)member - offset);
}
#define SOURCE_OF(pointer, member) of(pointer, offsetof(struct source, member))

/* ---- the run of the keys in one state ---- */

static const struct tl_spec *spec_of(const struct source *src, const struct once_key *k)
{
    for (size_t i = 0; i < src->n; i++)
        if (tl_str_eq(tl_cache_key_str(&src->wanted[i].key), tl_cache_key_str(&k->key))) return &src->wanted[i].spec;
    tl_assert_failed("a key of this source", __FILE__, __LINE__);
}

static void choose(struct source *src, struct once_group *g, enum once_state state)
{
    src->group = g;
    src->run.count = 0;
    for (size_t i = 0; i < g->n; i++) {
        if (g->keys[i].state != state) continue;
        src->keys[src->run.count] = &g->keys[i];
        src->items[src->run.count++] = (struct tl_run_item){.spec = *spec_of(src, &g->keys[i])};
    }
    src->run.items = src->items;
}

static struct tl_entry *entry_of(const struct source *src, size_t i, const struct tl_series *series)
{
    return tl_series_entry_new(tl_cache_key_str(&src->keys[i]->key), series);
}

static void make_entries(struct source *src)
{
    for (size_t i = 0; i < src->run.count; i++) {
        const struct tl_run_item *item = &src->items[i];
        if (item->status == TL_OK && item->source != TL_SOURCE_NONE && item->series.rows)
            src->entries[i] = entry_of(src, i, &item->series);
    }
}

/* ---- check ---- */

static void run_check(struct tl_work *work, unsigned worker)
{
    struct source *src = SOURCE_OF(work, work);
    src->run.only_check = true;
    src->run.want_stored = !src->redis_first && !src->source.anew;
    src->status = tl_run_symbol(&src->run, src->s->readers[worker], src->sessions, src->s->clock, &src->err);
    make_entries(src);
}

static void look_into_memory(const struct source *src, struct once_key *k)
{
    struct tl_cache *c = src->s->cache;
    struct tl_entry *e = src->source.anew ? NULL : tl_memory_get(c->memory, tl_cache_key_str(&k->key));
    if (e && e->kind == TL_ENTRY_SERIES && !e->failure && e->series.kernel_version >= TL_KERNEL_VERSION &&
        tl_generations_valid(c->generations, e, false) &&
        tl_version_cmp(tl_series_entry_version(e), src->run.version) == 0)
        tl_once_found(k, e, TL_TIER_MEMORY);
    tl_entry_unref(e);
}

static void checked(struct tl_work *work)
{
    struct source *src = SOURCE_OF(work, work);
    struct once_group *g = src->group;
    bool rows = src->run.want_rows;
    if (work->cancelled) {
        tl_once_checked(g, TL_CANCELLED, "the scheduler is being closed");
        return;
    }
    g->version = src->run.version;
    snprintf(g->field, sizeof g->field, "%s:%s", tl_freq_name(src->run.freq), tl_adjust_name(src->run.adjust));
    for (size_t i = 0; i < src->run.count; i++) {
        bool there = src->status == TL_OK && !src->run.no_bar_on_day && src->items[i].source == TL_SOURCE_STORE &&
                     (!rows || src->entries[i]);
        if (there) {
            if (src->entries[i])
                atomic_store_explicit(&src->entries[i]->generation, tl_generations_newest(src->s->cache->generations),
                                      memory_order_relaxed);
            tl_once_found(src->keys[i], src->entries[i], TL_TIER_STORE);
        } else if (src->status == TL_OK && !src->run.no_bar_on_day) {
            look_into_memory(src, src->keys[i]);
        }
        tl_entry_unref(src->entries[i]);
        src->entries[i] = NULL;
    }
    tl_run_release(&src->run);
    if (src->status != TL_OK)
        tl_once_checked(g, src->status, src->err.text);
    else if (src->run.no_bar_on_day)
        tl_once_checked(g, TL_NOT_FOUND, "no bar on the date");
    else
        tl_once_checked(g, TL_OK, "");
}

static void check(struct once_source *source, struct once_group *g)
{
    struct source *src = (struct source *)(void *)source;
    choose(src, g, ONCE_WANTED);
    src->redis_first = src->run.want_rows && tl_once_has_redis(src->s);
    src->work = (struct tl_work){.run = run_check, .done = checked};
    tl_workers_submit(src->s->workers, &src->work);
}

/* ---- make ---- */

static void run_make(struct tl_work *work, unsigned worker)
{
    struct source *src = SOURCE_OF(work, work);
    bool rows = src->run.want_rows;
    src->run.only_check = false;
    src->run.want_stored = !src->source.anew;
    src->run.want_rows = true; /* what is in the store goes to Redis, too */
    src->status = tl_run_symbol(&src->run, src->s->readers[worker], src->sessions, src->s->clock, &src->err);
    src->run.want_rows = rows;
    make_entries(src);
    src->times = src->status == TL_OK ? tl_run_times(&src->run, tl_clock_wall_ms(src->s->clock)) : NULL;
}

static void made(struct tl_work *work)
{
    struct source *src = SOURCE_OF(work, work);
    struct once_group *g = src->group;
    bool none = src->run.no_bar_on_day;
    if (!work->cancelled && src->run.version.bars > 0) g->version = src->run.version;
    for (size_t i = 0; i < src->run.count; i++) {
        const struct tl_run_item *item = &src->items[i];
        if (work->cancelled)
            tl_once_failed(src->keys[i], TL_CANCELLED, "the scheduler is being closed");
        else if (none)
            tl_once_failed(src->keys[i], TL_NO_DATA, "no bar on the date any more");
        else if (item->status != TL_OK)
            tl_once_failed(src->keys[i], item->status, item->err.text);
        else if (!src->entries[i])
            tl_once_failed(src->keys[i], TL_NOMEM, "no memory for the series, or it is larger than 48 MiB");
        else
            tl_once_value(src->keys[i], src->entries[i], item->source == TL_SOURCE_STORE);
        src->entries[i] = NULL;
    }
    tl_entry_unref(g->extra);
    g->extra = src->times;
    if (g->extra) atomic_store_explicit(&g->extra->generation, g->generation, memory_order_relaxed);
    src->times = NULL;
    tl_run_release(&src->run);
    tl_once_made(g);
}

static void make(struct once_source *source, struct once_group *g)
{
    struct source *src = (struct source *)(void *)source;
    choose(src, g, ONCE_GRANTED);
    src->work = (struct tl_work){.run = run_make, .done = made};
    tl_workers_submit(src->s->workers, &src->work);
}

/* ---- keep ---- */

static void keep(struct once_source *source, const struct once_key *k, struct tl_entry *e, enum tl_tier_id from,
                 bool degraded)
{
    struct source *src = (struct source *)(void *)source;
    if (degraded) (void)!tl_cache_put_series(src->s->cache, e); /* a full queue: counted as refused */
    if (src->read_only || from == TL_TIER_STORE) return;
    if (from == TL_TIER_SOURCE)
        src->made[src->n_made++] = tl_entry_ref(e);
    else
        src->taken[src->n_taken++] = tl_entry_ref(e);
    src->patient = src->patient || (from == TL_TIER_REDIS && k->waited);
}

static void release_kept(struct source *src)
{
    for (size_t i = 0; i < src->n_made; i++) tl_entry_unref(src->made[i]);
    for (size_t i = 0; i < src->n_taken; i++) tl_entry_unref(src->taken[i]);
    src->n_made = src->n_taken = 0;
}

static void source_free(struct source *src)
{
    release_kept(src);
    free(src->put.items);
    free(src->rows);
    free(src->items);
    free(src->keys);
    free(src->entries);
    free(src->made);
    free(src->taken);
    free(src);
}

static void op_part_over(struct tl_indicators *op)
{
    TL_ASSERT(op->open > 0);
    op->open--;
    if (op->open == 0 && op->begun) tl_soon_call(op->s->alarms, &op->soon);
}

/* Nothing of the source is left to do. */
static void source_over(struct source *src, enum tl_status status, const struct tl_err *err)
{
    struct tl_indicators *op = src->op;
    struct tl_scheduler *s = src->s;
    if (status != TL_OK && !op)
        tl_log(s->cache->log, TL_LOG_WARN, "schedule", "a result was not kept in the store", "symbol=%s reason=\"%s\"",
               src->run.symbol.text, err->text);
    if (op && status != TL_OK && op->kept == TL_OK) {
        op->kept = status;
        op->kept_err = *err;
    }
    source_free(src);
    if (op) op_part_over(op);
    tl_once_work_ended(s);
}

static void on_kept(struct tl_mail *mail)
{
    struct source *src = SOURCE_OF(mail, mail);
    TL_FAILPOINT("store.after");
    src->mailed = true;
    if (src->worked) source_over(src, src->put.status, &src->put.err);
}

/* On the store's writer thread. */
static void on_written(struct tl_store_put *put)
{
    struct source *src = put->user;
    tl_mailbox_post(src->s->mailbox, &src->mail);
}

static bool add_to_put(struct source *src, const struct tl_entry *e, struct tl_store_reader *missing_in)
{
    struct tl_series_key key;
    struct tl_series head;
    struct tl_store_put_item *item = &src->put.items[src->put.count];
    if (!tl_cache_key_to_series(tl_entry_key(e), &key)) return true;
    if (missing_in) {
        tl_series_init(&head);
        enum tl_status st = tl_store_series_head(missing_in, &key, &head, NULL);
        bool there = st == TL_OK && tl_version_cmp(head.version, tl_series_entry_version(e)) >= 0;
        tl_series_release(&head);
        if (there) return true;
    }
    *item = (struct tl_store_put_item){.superseded = false};
    memcpy(item->spec, key.spec, sizeof item->spec);
    if (tl_series_entry_read(e, &item->series, &src->put.err) != TL_OK) return false;
    src->rows[src->put.count++] = item->series.rows;
    return true;
}

static void run_keep(struct tl_work *work, unsigned worker)
{
    struct source *src = SOURCE_OF(work, work);
    struct tl_store_put *put = &src->put;
    bool ok = true;
    put->key = (struct tl_series_key){.symbol = src->run.symbol, .freq = src->run.freq, .adjust = src->run.adjust};
    for (size_t i = 0; ok && i < src->n_made; i++) ok = add_to_put(src, src->made[i], NULL);
    for (size_t i = 0; ok && i < src->n_taken; i++) ok = add_to_put(src, src->taken[i], src->s->readers[worker]);
    put->cb = on_written;
    put->user = src;
    src->mail.deliver = on_kept;
    enum tl_status st = ok ? TL_OK : put->err.status;
    bool any = put->count > 0;
    if (st == TL_OK && any) st = tl_store_put_prepare(put, &put->err);
    for (size_t i = 0; i < put->count; i++) free(src->rows[i]); /* borrowed until it was prepared */
    TL_FAILPOINT("store.before");
    if (st == TL_OK && any) st = tl_store_submit(src->s->cache->store, put, &put->err);
    if (st == TL_OK && any) return; /* the writer's now */
    put->status = st;
    tl_mailbox_post(src->s->mailbox, &src->mail);
}

/* The source comes back by mail, too, before or after this. */
static void keeping(struct tl_work *work)
{
    struct source *src = SOURCE_OF(work, work);
    src->worked = true;
    if (work->cancelled) src->put.status = tl_fail(&src->put.err, TL_CANCELLED, "the scheduler is being closed");
    if (work->cancelled || src->mailed) source_over(src, src->put.status, &src->put.err);
}

static void submit_keep(struct source *src)
{
    src->work = (struct tl_work){.run = run_keep, .done = keeping};
    tl_workers_submit(src->s->workers, &src->work);
}

static void on_later(struct tl_alarm *a)
{
    submit_keep(SOURCE_OF(a, later));
}

static void end(struct once_source *source)
{
    struct source *src = (struct source *)(void *)source;
    struct tl_scheduler *s = src->s;
    size_t n = src->n_made + src->n_taken;
    tl_once_work_begins(s);
    if (n > 0) {
        src->put.items = tl_calloc(n, sizeof *src->put.items);
        src->rows = tl_calloc(n, sizeof(double *));
        src->later.ring = on_later;
        bool later = src->n_made == 0 && src->patient;
        if (!src->put.items || !src->rows) {
            (void)tl_fail(&src->put.err, TL_NOMEM, "no memory to keep %zu series", n);
            source_over(src, TL_NOMEM, &src->put.err);
        } else if (!later ||
                   tl_alarm_set(s->alarms, &src->later, tl_once_now_ns(s) + TAKEN_MS * UINT64_C(1000000)) != TL_OK) {
            submit_keep(src);
        }
        return;
    }
    source_over(src, TL_OK, NULL);
}

static const struct once_source_ops source_ops = {
    .versioned = true, .check = check, .make = make, .keep = keep, .end = end};

static struct source *source_new(struct tl_indicators *op, size_t from, size_t n)
{
    struct tl_scheduler *s = op->s;
    struct source *src = tl_calloc(1, sizeof *src + n * sizeof src->wanted[0]);
    if (!src) return NULL;
    src->source = (struct once_source){.ops = &source_ops, .anew = op->recompute};
    src->s = s;
    src->op = op->want_kept ? op : NULL;
    src->sessions = op->sessions;
    src->read_only = s->cache->read_only;
    src->run = (struct tl_run){.symbol = op->symbol,
                               .freq = op->freq,
                               .adjust = op->adjust,
                               .drop_suspended = op->drop_suspended,
                               .want_rows = op->want_rows,
                               .day_ms = op->day_ms};
    src->items = tl_calloc(n, sizeof *src->items);
    src->keys = tl_calloc(n, sizeof(struct once_key *));
    src->entries = tl_calloc(n, sizeof(struct tl_entry *));
    src->made = tl_calloc(n, sizeof(struct tl_entry *));
    src->taken = tl_calloc(n, sizeof(struct tl_entry *));
    src->n = n;
    for (size_t i = 0; i < n; i++) {
        struct tl_series_key key;
        src->wanted[i].spec = op->items[from + i].spec;
        tl_run_key(&src->run, &src->wanted[i].spec, &key);
        tl_cache_key_series(&key, &src->wanted[i].key);
    }
    if (src->items && src->keys && src->entries && src->made && src->taken) return src;
    source_free(src);
    return NULL;
}

/* ---- the op ---- */

static void on_soon(struct tl_soon *soon)
{
    struct tl_indicators *op = (struct tl_indicators *)(void *)((char *)soon - offsetof(struct tl_indicators, soon));
    tl_alarm_clear(op->s->alarms, &op->deadline);
    op->cb(op);
}

static enum tl_source source_of(enum tl_tier_id tier)
{
    static const enum tl_source sources[] = {[TL_TIER_NONE] = TL_SOURCE_NONE,
                                             [TL_TIER_MEMORY] = TL_SOURCE_MEMORY,
                                             [TL_TIER_REDIS] = TL_SOURCE_REDIS,
                                             [TL_TIER_STORE] = TL_SOURCE_STORE,
                                             [TL_TIER_SOURCE] = TL_SOURCE_COMPUTED};
    return sources[tier];
}

static void fail_item(struct tl_indicator_item *item, enum tl_status status, const char *why)
{
    item->status = tl_fail(&item->err, status, "%s", why);
}

static void on_over(struct once_waiter *w, const struct once_result *r)
{
    struct tl_indicator_item *item =
        (struct tl_indicator_item *)(void *)((char *)w - offsetof(struct tl_indicator_item, waiter));
    struct tl_indicators *op = item->op;
    item->waited = r->waited;
    item->taken_over = r->taken_over;
    item->duplicated = r->duplicated;
    item->status = TL_OK;
    if (r->status == TL_OK) {
        item->source = source_of(r->source);
        item->freshness = r->freshness;
        if (op->want_rows && r->entry) item->status = tl_series_entry_read(r->entry, &item->series, &item->err);
        if (op->want_rows && !r->entry) fail_item(item, TL_INTERNAL, "the rows are missing");
    } else {
        fail_item(item, r->status, r->why);
    }
    if (r->all && r->status == TL_NOT_FOUND) {
        op->no_bar_on_day = true;
    } else if (r->all && op->status == TL_OK) {
        op->status = r->status;
        op->err = item->err;
    }
    op_part_over(op);
}

static void end_waits(struct tl_indicators *op, enum tl_status status, const char *why)
{
    for (size_t i = 0; i < op->count; i++) {
        struct tl_indicator_item *item = &op->items[i];
        if (!item->waiter.key) continue;
        tl_once_leave(&item->waiter);
        fail_item(item, status, why);
        op_part_over(op);
    }
}

static void on_deadline(struct tl_alarm *a)
{
    struct tl_indicators *op = (struct tl_indicators *)(void *)((char *)a - offsetof(struct tl_indicators, deadline));
    end_waits(op, TL_TIMEOUT, "it was not computed in time");
}

void tl_indicators_cancel(struct tl_indicators *op)
{
    end_waits(op, TL_CANCELLED, "it was cancelled");
}

static void begin_group(struct tl_indicators *op, size_t from, size_t n)
{
    struct source *src = source_new(op, from, n);
    TL_AUTOFREE struct tl_cache_key *keys = tl_calloc(n, sizeof *keys);
    TL_AUTOFREE struct once_waiter **waiters = tl_calloc(n, sizeof(struct once_waiter *));
    enum tl_status st = src && keys && waiters ? TL_OK : TL_NOMEM;
    for (size_t i = 0; i < n; i++) {
        struct tl_indicator_item *item = &op->items[from + i];
        item->waiter = (struct once_waiter){.over = on_over};
        if (st != TL_OK) continue;
        keys[i] = src->wanted[i].key;
        waiters[i] = &item->waiter;
    }
    op->open += n;
    if (st == TL_OK) {
        op->open += op->want_kept;
        st = tl_once_begin(op->s, &src->source, keys, NULL, n, waiters);
    } else if (src) {
        source_free(src);
    }
    for (size_t i = 0; st != TL_OK && i < n; i++) {
        fail_item(&op->items[from + i], st, st == TL_NOMEM ? "no memory to compute" : "the scheduler is being closed");
        op->open--;
    }
}

void tl_indicators_get(struct tl_scheduler *s, struct tl_indicators *op)
{
    TL_ASSERT(s->readers && op->cb && op->sessions);
    op->s = s;
    op->open = 0;
    op->begun = op->no_bar_on_day = false;
    op->status = op->kept = TL_OK;
    op->deadline = (struct tl_alarm){.ring = on_deadline};
    op->soon = (struct tl_soon){.call = on_soon};
    for (size_t i = 0; i < op->count; i++) {
        struct tl_indicator_item *item = &op->items[i];
        *item = (struct tl_indicator_item){.spec = item->spec, .op = op};
        tl_series_init(&item->series);
    }
    if (op->deadline_ms && !op->want_kept)
        (void)!tl_alarm_set(s->alarms, &op->deadline, tl_once_now_ns(s) + op->deadline_ms * 1000000);
    for (size_t at = 0; at < op->count; at += ONCE_GROUP_MAX)
        begin_group(op, at, TL_MIN(op->count - at, (size_t)ONCE_GROUP_MAX));
    op->begun = true;
    if (op->open == 0) tl_soon_call(s->alarms, &op->soon);
}
