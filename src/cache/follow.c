/* SPDX-License-Identifier: Apache-2.0 */
/* Following the store: every TL_FOLLOW_MS a reader looks whether any connection has written, and what was invalidated
 * or replaced is taken out of memory. So without Redis, too, the others are heard. The same turn expires memory and,
 * now and then, the store. */
#include "cache/cache.h"

#include "base/err.h"
#include "base/util.h"

#include <inttypes.h>
#include <stdio.h>

enum { EXPIRE_EACH = 600, EXPIRE_MAX = 2000 };

struct follow {
    struct tl_cache *cache;
    struct tl_store_job job;
    struct tl_store_reader *reader; /* one connection: its data version is compared with its own */
    int64_t data_version;
    uint64_t generation, notice_at, change_at, ticks;
    bool under_way, fell_behind, failed, more_expired;
    struct tl_buf found; /* records "g<generation> <scope>\0", "n<order, 64 hex digits><key>\0" */
    struct tl_buf bars;  /* struct tl_store_change, one behind the other */
    bool bars_missed;
};

static bool found_generation(void *ctx, struct tl_str scope, uint64_t generation)
{
    struct follow *f = ctx;
    tl_buf_putc(&f->found, 'g');
    tl_buf_printf(&f->found, "%" PRIu64 " ", generation);
    tl_buf_put(&f->found, scope.p, scope.n);
    tl_buf_putc(&f->found, '\0');
    return true;
}

static bool found_notice(void *ctx, struct tl_str key, const unsigned char order[TL_STORE_ORDER])
{
    struct follow *f = ctx;
    tl_buf_putc(&f->found, 'n');
    for (int i = 0; i < TL_STORE_ORDER; i++) tl_buf_printf(&f->found, "%02x", order[i]);
    tl_buf_put(&f->found, key.p, key.n);
    tl_buf_putc(&f->found, '\0');
    return true;
}

static bool found_bars(void *ctx, const struct tl_store_change *change)
{
    struct follow *f = ctx;
    tl_buf_put(&f->bars, change, sizeof *change);
    return true;
}

static void read_bars(struct follow *f)
{
    tl_buf_clear(&f->bars);
    enum tl_status st = tl_store_changes(f->reader, &f->change_at, found_bars, f, NULL);
    f->bars_missed = st != TL_OK || f->bars.failed;
}

/* On a thread of the store tier; touches the follow alone, which the loop leaves alone meanwhile. */
static bool read_changes(struct follow *f)
{
    int64_t version = 0;
    tl_buf_clear(&f->found);
    f->fell_behind = f->failed = false;
    enum tl_status st = tl_store_data_version(f->reader, &version, NULL);
    f->bars_missed = false;
    tl_buf_clear(&f->bars);
    if (st == TL_OK && version == f->data_version) return false;
    read_bars(f);
    if (st == TL_OK) st = tl_store_generations(f->reader, f->generation, found_generation, f, &f->generation, NULL);
    if (st == TL_OK) st = tl_store_notices(f->reader, &f->notice_at, found_notice, f, NULL);
    if (st == TL_CONFLICT || f->found.failed) {
        f->fell_behind = true;
        st = TL_OK;
    }
    f->failed = st != TL_OK;
    if (st == TL_OK) f->data_version = version;
    return true;
}

static void run_follow(struct tl_store_job *job, struct tl_store_reader *reader)
{
    struct follow *f = job->state;
    size_t n = 0;
    (void)reader;
    bool changed = read_changes(f);
    tl_versions_read(f->cache, f->reader, changed);
    if (f->cache->read_only || (++f->ticks % EXPIRE_EACH != 0 && !f->more_expired)) return;
    enum tl_status st = tl_store_entries_expire(f->cache->store, tl_cache_now_ms(f->cache), EXPIRE_MAX, &n, NULL);
    f->more_expired = st == TL_OK && n == EXPIRE_MAX; /* goes on in the next turn: others write meanwhile */
}

/* Is what memory holds older than what the store got? Our own writes come back as well, and stay. */
static bool is_older(const struct tl_entry *e, const char *order_hex)
{
    unsigned char header[TL_ENTRY_HEADER];
    char hex[2 * TL_ENTRY_ORDER + 1];
    tl_entry_encode_header(e, header);
    for (int i = 0; i < TL_ENTRY_ORDER; i++) snprintf(hex + 2 * i, 3, "%02x", header[TL_ENTRY_ORDER_AT + i]);
    return memcmp(hex, order_hex, 2 * TL_ENTRY_ORDER) < 0;
}

static void apply_record(struct tl_cache *c, const char *record)
{
    if (record[0] == 'g') {
        char *scope = NULL;
        uint64_t generation = strtoull(record + 1, &scope, 10);
        tl_generations_raise(c->generations, tl_str(scope + 1), generation);
        return;
    }
    struct tl_str key = tl_str(record + 1 + 2 * TL_ENTRY_ORDER);
    struct tl_entry *e = tl_memory_get(c->memory, key);
    if (e && is_older(e, record + 1)) tl_memory_del(c->memory, key, NULL);
    tl_entry_unref(e);
    tl_flights_taint(c, key, &(struct tl_stamp){.ms = INT64_MAX});
}

static void tell_bars(struct follow *f)
{
    const struct tl_cache *c = f->cache;
    if (!c->on_bars) return;
    if (f->bars_missed) c->on_bars(c->on_bars_ctx, NULL);
    for (size_t at = 0; at + sizeof(struct tl_store_change) <= f->bars.n; at += sizeof(struct tl_store_change)) {
        struct tl_store_change change;
        memcpy(&change, f->bars.p + at, sizeof change);
        if (c->on_bars) c->on_bars(c->on_bars_ctx, &change);
    }
}

static void apply_changes(struct follow *f)
{
    struct tl_cache *c = f->cache;
    for (size_t at = 0; at < f->found.n; at += strlen(f->found.p + at) + 1) apply_record(c, f->found.p + at);
    if (!f->failed) tl_generations_seen(c->generations, f->generation);
    if (f->fell_behind) tl_memory_clear(c->memory);
    if (f->failed && c->following) tl_log(c->log, TL_LOG_WARN, "cache", "the store cannot be followed", "%s", "");
    c->following = !f->failed;
    tell_bars(f);
}

static void set_follow_alarm(struct tl_cache *c)
{
    if (tl_alarm_set(c->alarms, &c->follow_alarm, tl_cache_now_ns(c) + TL_FOLLOW_MS * UINT64_C(1000000)) != TL_OK)
        c->following = false;
}

static void on_followed(struct tl_store_job *job)
{
    struct follow *f = job->state;
    f->under_way = false;
    if (job->cancelled || f->cache->phase == TL_CACHE_CLOSING) return;
    apply_changes(f);
    tl_versions_tell(f->cache);
}

static void on_follow(struct tl_alarm *a)
{
    struct tl_cache *c = (struct tl_cache *)(void *)((char *)a - offsetof(struct tl_cache, follow_alarm));
    struct follow *f = c->follow;
    set_follow_alarm(c);
    tl_peers_again(c);
    if (!f || f->under_way) return;
    tl_versions_prepare(c);
    f->job = (struct tl_store_job){.run = run_follow, .done = on_followed, .state = f};
    f->under_way = tl_tier_store_run(c->t_store, &f->job) == TL_OK;
}

static void on_expire(struct tl_alarm *a)
{
    struct tl_cache *c = (struct tl_cache *)(void *)((char *)a - offsetof(struct tl_cache, expire_alarm));
    tl_memory_expire(c->memory, 16384);
    (void)!tl_alarm_set(c->alarms, &c->expire_alarm, tl_cache_now_ns(c) + TL_EXPIRE_MS * UINT64_C(1000000));
}

void tl_follow_begin(struct tl_cache *c)
{
    struct follow *f = c->store ? tl_calloc(1, sizeof *f) : NULL;
    c->follow_alarm.ring = on_follow;
    c->expire_alarm.ring = on_expire;
    if (f) {
        f->cache = c;
        f->notice_at = f->change_at = TL_FOLLOW_FROM_NOW;
        f->data_version = INT64_MIN;
        tl_buf_init(&f->found, (size_t)64 << 20);
        tl_buf_init(&f->bars, (size_t)64 << 20);
        c->follow = f;
        if (tl_store_reader_new(c->store, &f->reader, NULL) == TL_OK) {
            (void)read_changes(f); /* before the first read is answered: what was invalidated so far */
            apply_changes(f);
        } else {
            tl_buf_release(&f->found);
            free(f);
            c->follow = NULL;
        }
    }
    set_follow_alarm(c);
    on_expire(&c->expire_alarm);
}

void tl_follow_end(struct tl_cache *c)
{
    if (!c->alarms) return;
    tl_alarm_clear(c->alarms, &c->follow_alarm);
    tl_alarm_clear(c->alarms, &c->expire_alarm);
}

void tl_follow_free(struct tl_cache *c)
{
    if (!c->follow) return;
    tl_store_reader_free(c->follow->reader);
    tl_buf_release(&c->follow->found);
    tl_buf_release(&c->follow->bars);
    free(c->follow);
}
