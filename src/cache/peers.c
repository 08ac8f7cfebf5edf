/* SPDX-License-Identifier: Apache-2.0 */
/* What joins this process to the others. Redis is used only after a meeting: the owner of the prefix was checked, and
 * each side has the other's generations. From then on announcements keep them equal; one that was missed (its `before`
 * is not known here), or a lost connection, leads to another meeting.
 *
 *   AWAY --both connections up--> MEETING --HELLO, HGETALL, MIRROR--> JOINED
 *     ^------------------ lost, failed --------------------------------'      HELLO says "another store": REFUSED
 */
#include "cache/cache.h"

#include "base/err.h"
#include "base/util.h"

#include <inttypes.h>
#include <stdio.h>

enum { MEETING_TIMEOUT_MS = 2000, ROWS_A_MIRROR = 500 };

struct tl_ready {
    struct tl_cache *cache;
    struct tl_alarm deadline;
    struct tl_soon soon;
    void (*cb)(void *ctx, enum tl_status, const struct tl_err *);
    void *ctx;
    struct tl_ready *prev, *next;
};

struct row {
    char scope[TL_SCOPE_MAX + 1];
    char generation[24];
};

struct meeting {
    struct tl_cache *cache;
    struct tl_redis_cmd cmd;
    struct tl_str argv[8];
    char store_key[96], gen_key[96], me[160], numbers[2][24];
    bool under_way, again;
    /* pushing what Redis has not */
    uint64_t redis_newest;
    struct row *rows;
    struct tl_str *args;
    size_t n_rows, cap_rows, sent;
    struct tl_mirror *mirrors; /* are sent once the meeting is over */
};

/* ---- ready ---- */

static void answer_ready(struct tl_cache *c, struct tl_ready *r, enum tl_status status, const struct tl_err *err)
{
    if (c->readies == r)
        c->readies = r->next;
    else
        r->prev->next = r->next;
    if (r->next) r->next->prev = r->prev;
    tl_alarm_clear(c->alarms, &r->deadline);
    tl_soon_cancel(c->alarms, &r->soon);
    r->cb(r->ctx, status, status == TL_OK ? NULL : err);
    free(r);
}

static void answer_readies(struct tl_cache *c)
{
    enum tl_status st = c->redis_state == TL_REDIS_NONE || c->redis_state == TL_REDIS_JOINED ? TL_OK
                        : c->redis_state == TL_REDIS_REFUSED                                 ? TL_CONFLICT
                                                                                             : TL_IO;
    while (c->readies && c->decided) answer_ready(c, c->readies, st, &c->redis_why);
}

static void on_ready_soon(struct tl_soon *s)
{
    struct tl_ready *r = (struct tl_ready *)(void *)((char *)s - offsetof(struct tl_ready, soon));
    answer_readies(r->cache);
}

static void on_ready_deadline(struct tl_alarm *a)
{
    struct tl_ready *r = (struct tl_ready *)(void *)((char *)a - offsetof(struct tl_ready, deadline));
    struct tl_err err;
    (void)tl_fail(&err, TL_TIMEOUT, "Redis did not answer in time");
    answer_ready(r->cache, r, TL_TIMEOUT, &err);
}

enum tl_status tl_cache_ready(struct tl_cache *c, uint64_t deadline_ms,
                              void (*cb)(void *ctx, enum tl_status, const struct tl_err *), void *ctx)
{
    struct tl_ready *r = c->phase == TL_CACHE_OPEN ? tl_calloc(1, sizeof *r) : NULL;
    if (!r) return c->phase == TL_CACHE_OPEN ? TL_NOMEM : TL_CANCELLED;
    *r = (struct tl_ready){
        .cache = c, .deadline.ring = on_ready_deadline, .soon.call = on_ready_soon, .cb = cb, .ctx = ctx};
    if (tl_alarm_set(c->alarms, &r->deadline, tl_cache_now_ns(c) + deadline_ms * 1000000) != TL_OK) {
        free(r);
        return TL_NOMEM;
    }
    r->next = c->readies;
    if (c->readies) c->readies->prev = r;
    c->readies = r;
    if (c->decided) tl_soon_call(c->alarms, &r->soon);
    return TL_OK;
}

bool tl_peers_trusts_memory(const struct tl_cache *c)
{
    if (c->redis_state == TL_REDIS_NONE && !c->t_store) return true; /* nobody else */
    return c->redis_state == TL_REDIS_JOINED || c->following;
}

/* ---- meeting ---- */

static void meet(struct tl_cache *c);

static void set_state(struct tl_cache *c, enum tl_redis_state state)
{
    bool was = c->redis_state == TL_REDIS_JOINED, is = state == TL_REDIS_JOINED;
    c->redis_state = state;
    tl_tier_redis_usable(c->t_redis, is);
    if (was != is && c->listener.joined) c->listener.joined(c->listener.ctx, is);
}

/* What waited for the meeting. On a failure the others learn it from the store. */
static void release_mirrors(struct meeting *m, enum tl_status status)
{
    struct tl_mirror *mirror = m->mirrors;
    m->mirrors = NULL;
    while (mirror) {
        struct tl_mirror *next = mirror->next;
        if (status == TL_OK)
            tl_peers_mirror(m->cache, mirror, mirror->timeout_ms);
        else
            mirror->cb(mirror, status);
        mirror = next;
    }
}

static void meeting_failed(struct meeting *m, enum tl_status status, const struct tl_err *err)
{
    struct tl_cache *c = m->cache;
    m->under_way = false;
    release_mirrors(m, status);
    if (status == TL_CANCELLED || c->phase == TL_CACHE_CLOSING) return;
    c->redis_why = *err;
    c->decided = true;
    if (tl_redis_up(c->redis) && c->sub_up && status != TL_IO) {
        /* The connection stands, the server is in trouble: once more in a while, by the alarm of the follower. */
        m->again = true;
    }
    set_state(c, TL_REDIS_AWAY);
    answer_readies(c);
}

static void joined(struct meeting *m)
{
    struct tl_cache *c = m->cache;
    m->under_way = false;
    if (!tl_redis_up(c->redis) || !c->sub_up) {
        release_mirrors(m, TL_IO);
        return;
    }
    if (m->again) {
        meet(c);
        return;
    }
    /* What others put while nothing was heard of them may lie in memory in an older form. */
    if (c->decided) tl_memory_clear(c->memory);
    m->redis_newest = TL_MAX(m->redis_newest, tl_generations_newest(c->generations));
    c->joins++;
    set_state(c, TL_REDIS_JOINED);
    c->decided = true;
    answer_readies(c);
    release_mirrors(m, TL_OK);
}

static void collect_row(void *ctx, struct tl_str scope, uint64_t generation)
{
    struct meeting *m = ctx;
    if (m->n_rows == m->cap_rows || scope.n > TL_SCOPE_MAX) return;
    struct row *r = &m->rows[m->n_rows++];
    memcpy(r->scope, scope.p, scope.n);
    r->scope[scope.n] = '\0';
    snprintf(r->generation, sizeof r->generation, "%" PRIu64, generation);
}

static void count_row(void *ctx, struct tl_str scope, uint64_t generation)
{
    (void)scope, (void)generation;
    ++*(size_t *)ctx;
}

static void drop_rows(struct meeting *m)
{
    free(m->rows);
    free(m->args);
    m->rows = NULL;
    m->args = NULL;
    m->n_rows = m->cap_rows = m->sent = 0;
}

static void on_pushed(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                      const struct tl_err *err);

/* Sends the next rows; the newest is raised with the last of them. */
static void push_rows(struct meeting *m)
{
    struct tl_cache *c = m->cache;
    size_t n = TL_MIN(m->n_rows - m->sent, (size_t)ROWS_A_MIRROR), at = 0;
    bool last = m->sent + n == m->n_rows;
    uint64_t newest = last ? TL_MAX(tl_generations_newest(c->generations), m->redis_newest) : m->redis_newest;
    struct tl_err err;
    snprintf(m->numbers[0], sizeof m->numbers[0], "%" PRIu64, m->redis_newest);
    snprintf(m->numbers[1], sizeof m->numbers[1], "%" PRIu64, newest);
    struct tl_str head[] = {TL_STR("1"),           tl_str(m->gen_key),     tl_str(m->numbers[0]),
                            tl_str(m->numbers[1]), tl_str(c->channels[0]), TL_STR("")};
    memcpy(m->args, head, sizeof head);
    at = TL_COUNT(head);
    for (size_t i = 0; i < n; i++) {
        m->args[at++] = tl_str(m->rows[m->sent + i].scope);
        m->args[at++] = tl_str(m->rows[m->sent + i].generation);
    }
    m->sent += n;
    m->cmd.argv = m->args;
    m->cmd.argc = at;
    m->cmd.cb = on_pushed;
    enum tl_status st = tl_redis_eval(c->redis, &m->cmd, TL_SCRIPT_MIRROR, MEETING_TIMEOUT_MS, &err);
    if (st != TL_OK) meeting_failed(m, st, &err);
}

static void on_pushed(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                      const struct tl_err *err)
{
    struct meeting *m = cmd->user;
    int64_t newest = 0;
    if (status != TL_OK) {
        drop_rows(m);
        meeting_failed(m, status, err);
        return;
    }
    bool taken = reply->type == TL_REPLY_STRING && tl_str_eq(reply->str, tl_str(m->numbers[1]));
    (void)(reply->type == TL_REPLY_STRING && tl_str_to_i64(reply->str, &newest));
    if (taken && m->sent < m->n_rows) {
        push_rows(m);
        return;
    }
    drop_rows(m);
    if (!taken) { /* somebody raised it meanwhile: from the beginning */
        m->under_way = false;
        meet(m->cache);
        return;
    }
    joined(m);
}

static void push(struct meeting *m)
{
    struct tl_cache *c = m->cache;
    size_t n = 0;
    struct tl_err err;
    drop_rows(m);
    if (tl_generations_newest(c->generations) <= m->redis_newest) {
        joined(m);
        return;
    }
    tl_generations_each(c->generations, m->redis_newest, count_row, &n);
    m->rows = tl_calloc(n, sizeof *m->rows);
    m->args = tl_calloc(6 + 2 * TL_MIN(n, (size_t)ROWS_A_MIRROR), sizeof *m->args);
    if (!m->rows || !m->args) {
        drop_rows(m);
        meeting_failed(m, TL_NOMEM, (tl_fail(&err, TL_NOMEM, "no memory for %zu scopes", n), &err));
        return;
    }
    m->cap_rows = n;
    tl_generations_each(c->generations, m->redis_newest, collect_row, m);
    push_rows(m);
}

static void on_generations(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                           const struct tl_err *err)
{
    struct meeting *m = cmd->user;
    struct tl_cache *c = m->cache;
    if (status != TL_OK) {
        meeting_failed(m, status, err);
        return;
    }
    for (size_t i = 0; reply->type == TL_REPLY_ARRAY && i + 1 < reply->n; i += 2) {
        int64_t generation = 0;
        if (reply->items[i]->type != TL_REPLY_STRING || reply->items[i + 1]->type != TL_REPLY_STRING ||
            !tl_str_to_i64(reply->items[i + 1]->str, &generation) || generation <= 0)
            continue;
        if (tl_str_eq(reply->items[i]->str, TL_STR("newest")))
            m->redis_newest = TL_MAX(m->redis_newest, (uint64_t)generation);
        else
            tl_generations_raise(c->generations, reply->items[i]->str, (uint64_t)generation);
    }
    tl_generations_seen(c->generations, m->redis_newest);
    push(m);
}

static bool is_wrong_store(struct meeting *m, struct tl_str owner)
{
    struct tl_cache *c = m->cache;
    if (!c->store || owner.n == 0) return false;
    size_t id = strlen(tl_store_id(c->store));
    if (owner.n >= id && memcmp(owner.p, tl_store_id(c->store), id) == 0) return false;
    (void)tl_fail(
        &c->redis_why, TL_CONFLICT,
        "the Redis prefix %s belongs to the store %.*s, this process has %s: use another prefix, that store, or "
        "(after a restore) tierline doctor --adopt-store",
        c->prefix, (int)TL_MIN(owner.n, (size_t)80), owner.p, m->me);
    return true;
}

static void on_hello(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                     const struct tl_err *err)
{
    struct meeting *m = cmd->user;
    struct tl_cache *c = m->cache;
    struct tl_err local;
    int64_t newest = 0;
    bool understood = status == TL_OK && reply->type == TL_REPLY_ARRAY && reply->n == 2 &&
                      reply->items[0]->type == TL_REPLY_STRING && reply->items[1]->type == TL_REPLY_STRING &&
                      tl_str_to_i64(reply->items[1]->str, &newest) && newest >= 0;
    if (!understood) {
        if (status == TL_OK) status = tl_fail(&local, TL_CORRUPT, "Redis holds something else under this prefix");
        meeting_failed(m, status, err ? err : &local);
        return;
    }
    if (is_wrong_store(m, reply->items[0]->str)) {
        tl_log(c->log, TL_LOG_ERROR, "cache", "redis belongs to another store", "prefix=%s", c->prefix);
        m->under_way = false;
        set_state(c, TL_REDIS_REFUSED);
        c->decided = true;
        answer_readies(c);
        return;
    }
    struct tl_str owner = reply->items[0]->str.n ? reply->items[0]->str : tl_str(m->me);
    snprintf(c->owner, sizeof c->owner, "%.*s", (int)TL_MIN(owner.n, sizeof c->owner - 1), owner.p);
    m->redis_newest = (uint64_t)newest;
    if (m->redis_newest == 0) {
        push(m);
        return;
    }
    struct tl_str args[] = {TL_STR("HGETALL"), tl_str(m->gen_key)};
    memcpy(m->argv, args, sizeof args);
    m->cmd.argv = m->argv;
    m->cmd.argc = TL_COUNT(args);
    m->cmd.cb = on_generations;
    status = tl_redis_submit(c->redis, &m->cmd, MEETING_TIMEOUT_MS, &local);
    if (status != TL_OK) meeting_failed(m, status, &local);
}

static void meet(struct tl_cache *c)
{
    struct meeting *m = c->meeting;
    struct tl_err err;
    if (c->phase == TL_CACHE_CLOSING || c->redis_state == TL_REDIS_REFUSED) return;
    if (m->under_way) {
        m->again = true;
        return;
    }
    if (!tl_redis_up(c->redis) || !c->sub_up) return;
    m->under_way = true;
    m->again = false;
    set_state(c, TL_REDIS_MEETING);
    struct tl_str args[] = {TL_STR("2"), tl_str(m->store_key), tl_str(m->gen_key), tl_str(c->read_only ? "" : m->me),
                            c->adopt_store ? TL_STR("1") : TL_STR("")};
    memcpy(m->argv, args, sizeof args);
    m->cmd.argv = m->argv;
    m->cmd.argc = TL_COUNT(args);
    m->cmd.cb = on_hello;
    m->cmd.user = m;
    enum tl_status st = tl_redis_eval(c->redis, &m->cmd, TL_SCRIPT_HELLO, MEETING_TIMEOUT_MS, &err);
    if (st != TL_OK) meeting_failed(m, st, &err);
}

/* ---- connections ---- */

static void lost(struct tl_cache *c, const struct tl_err *why)
{
    if (c->redis_state == TL_REDIS_REFUSED || c->phase == TL_CACHE_CLOSING) return;
    c->redis_why = *why;
    c->decided = true;
    set_state(c, TL_REDIS_AWAY);
    answer_readies(c);
}

static void on_redis_state(void *ctx, bool up, const struct tl_err *why)
{
    struct tl_cache *c = ctx;
    if (up)
        meet(c);
    else
        lost(c, why);
}

static void on_sub_state(void *ctx, bool up, const struct tl_err *why)
{
    struct tl_cache *c = ctx;
    c->sub_up = up;
    if (up)
        meet(c);
    else
        lost(c, why);
}

struct keep {
    struct tl_store_entries batch;
    char scope[TL_SCOPE_MAX + 1];
};

static void on_kept(struct tl_store_entries *batch)
{
    free(batch->user);
}

/* A process without a store gave the number out: whoever has one keeps it there, or it would be forgotten with Redis.
 */
static void keep_in_store(struct tl_cache *c, const struct tl_announcement *a)
{
    if (a->stored || !c->store || c->read_only) return;
    struct keep *k = tl_calloc(1, sizeof *k);
    if (!k) return; /* another process keeps it, or a meeting brings it back */
    snprintf(k->scope, sizeof k->scope, "%s", a->key);
    k->batch = (struct tl_store_entries){
        .scope = tl_str(k->scope), .at_least = a->generation, .exactly = true, .cb = on_kept, .user = k};
    if (tl_store_entries_submit(c->store, &k->batch, NULL) != TL_OK) free(k);
}

static void on_message(void *ctx, struct tl_str channel, struct tl_str payload)
{
    struct tl_cache *c = ctx;
    struct tl_announcement a;
    if (tl_str_eq(channel, tl_str(c->channels[1]))) {
        if (c->listener.message) c->listener.message(c->listener.ctx, payload);
        return;
    }
    if (!tl_announcement_parse(payload, &a) || a.source == c->instance) return;
    c->stats.announcements++;
    struct tl_str key = tl_str(a.key);
    if (a.type == TL_ANNOUNCE_PUT) {
        struct tl_entry probe = {.kind = TL_ENTRY_GENERAL, .key_n = 0};
        probe.general.ms = a.stamp.ms;
        probe.general.instance = a.stamp.instance;
        probe.general.seq = a.stamp.seq;
        tl_memory_del(c->memory, key, &probe);
        tl_flights_taint(c, key, &a.stamp);
    } else if (a.type == TL_ANNOUNCE_INVALIDATE) {
        bool missed = a.before > tl_generations_newest(c->generations);
        tl_generations_raise(c->generations, key, a.generation);
        c->meeting->redis_newest = TL_MAX(c->meeting->redis_newest, a.generation);
        keep_in_store(c, &a);
        if (missed) meet(c);
    }
}

enum tl_status tl_peers_open_redis(struct tl_cache *c, const struct tl_cache_options *opt, struct tl_err *err)
{
    if (!opt->redis_url || !opt->redis_url[0] || strcmp(opt->redis_url, "none") == 0) return TL_OK;
    struct tl_redis_options ro = {.client_name = "tierline",
                                  .scripts = tl_cache_scripts,
                                  .n_scripts = TL_CACHE_SCRIPTS,
                                  .clock = c->clock,
                                  .log = c->log,
                                  .on_state = on_redis_state,
                                  .ctx = c};
    enum tl_status st = tl_redis_address_parse(opt->redis_url, &ro.address, err);
    if (st != TL_OK) return st;
    c->meeting = tl_calloc(1, sizeof *c->meeting);
    if (!c->meeting) return tl_fail(err, TL_NOMEM, "no memory for Redis");
    c->meeting->cache = c;
    snprintf(c->meeting->store_key, sizeof c->meeting->store_key, "%s{all}:store", c->prefix);
    snprintf(c->meeting->gen_key, sizeof c->meeting->gen_key, "%s{all}:gen", c->prefix);
    snprintf(c->channels[0], sizeof c->channels[0], "%schannel:market:update", c->prefix);
    snprintf(c->channels[1], sizeof c->channels[1], "%schannel:calc:done", c->prefix);
    for (size_t i = 0; i < TL_COUNT(c->channels); i++) c->channel_list[i] = c->channels[i];
    st = tl_redis_start(c->loop, &ro, &c->redis, err);
    if (st != TL_OK) return st;
    struct tl_tier_redis_options to = {
        .redis = c->redis, .prefix = c->prefix, .instance = c->instance, .clock = c->clock, .log = c->log};
    st = tl_tier_redis_new(&to, &c->t_redis, err);
    if (st != TL_OK) return st;
    set_state(c, TL_REDIS_AWAY);
    struct tl_redis_sub_options so = {
        .base = ro, .channels = c->channel_list, .n_channels = TL_COUNT(c->channels), .on_message = on_message};
    so.base.on_state = on_sub_state;
    so.base.log = NULL; /* the command connection says it */
    return tl_redis_sub_start(c->loop, &so, &c->sub, err);
}

/* A meeting that failed, or was asked for in the middle of one, is begun again. */
void tl_peers_again(struct tl_cache *c)
{
    if (c->meeting && c->meeting->again && !c->meeting->under_way) meet(c);
}

void tl_peers_begin(struct tl_cache *c)
{
    if (c->meeting && c->store) snprintf(c->meeting->me, sizeof c->meeting->me, "%s", tl_store_id(c->store));
    c->decided = !c->redis;
}

void tl_peers_end(struct tl_cache *c)
{
    struct tl_err err;
    if (c->meeting) release_mirrors(c->meeting, TL_CANCELLED);
    (void)tl_fail(&err, TL_CANCELLED, "the cache is being closed");
    while (c->readies) answer_ready(c, c->readies, TL_CANCELLED, &err);
}

void tl_peers_free(struct tl_cache *c)
{
    if (c->meeting) drop_rows(c->meeting);
    free(c->meeting);
}

/* ---- telling Redis ---- */

static void on_mirrored(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                        const struct tl_err *err)
{
    struct tl_mirror *m = cmd->user;
    struct tl_cache *c = m->cache;
    int64_t newest = 0;
    (void)err;
    tl_buf_release(&m->head);
    tl_buf_release(&m->tail);
    bool understood =
        status == TL_OK && reply->type == TL_REPLY_STRING && tl_str_to_i64(reply->str, &newest) && newest >= 0;
    if (!understood) {
        m->cb(m, status == TL_OK ? TL_CORRUPT : status);
    } else if ((uint64_t)newest == m->generation) {
        c->meeting->redis_newest = TL_MAX(c->meeting->redis_newest, m->generation);
        m->cb(m, TL_OK);
    } else if ((uint64_t)newest > m->generation) {
        c->meeting->redis_newest = (uint64_t)newest;
        m->generation = (uint64_t)newest;
        m->cb(m, TL_CONFLICT);
    } else if (c->phase == TL_CACHE_CLOSING) {
        m->cb(m, TL_CANCELLED);
    } else { /* Redis knows less than was thought: a meeting brings it all over, then this one is announced */
        m->next = c->meeting->mirrors;
        c->meeting->mirrors = m;
        meet(c);
    }
}

static enum tl_status send_mirror(struct tl_cache *c, struct tl_mirror *m, size_t argc, enum tl_cache_script script,
                                  uint64_t timeout_ms)
{
    m->cmd.argv = m->argv;
    m->cmd.argc = argc;
    m->cmd.user = m;
    enum tl_status st = m->head.failed || m->tail.failed ? TL_NOMEM : TL_OK;
    if (st == TL_OK) st = tl_redis_eval(c->redis, &m->cmd, script, timeout_ms, NULL);
    if (st == TL_OK) return TL_OK;
    tl_buf_release(&m->head);
    tl_buf_release(&m->tail);
    return st;
}

void tl_peers_mirror(struct tl_cache *c, struct tl_mirror *m, uint64_t timeout_ms)
{
    m->cache = c;
    m->timeout_ms = timeout_ms;
    if (c->redis_state != TL_REDIS_JOINED) {
        m->cb(m, c->redis_state == TL_REDIS_NONE ? TL_OK : TL_IO);
        return;
    }
    /* What Redis had when this process last heard of it; the number that was given out just now is above it. */
    uint64_t before = c->meeting->redis_newest;
    tl_buf_init(&m->head, 4096);
    tl_buf_init(&m->tail, 64);
    tl_announce_invalidate(&m->head, &m->tail, c->instance, tl_cache_now_ms(c), tl_str(m->scope), before, m->generation,
                           true);
    snprintf(m->key, sizeof m->key, "%s", c->meeting->gen_key);
    snprintf(m->numbers[0], sizeof m->numbers[0], "%" PRIu64, before);
    snprintf(m->numbers[1], sizeof m->numbers[1], "%" PRIu64, m->generation);
    struct tl_str args[] = {TL_STR("1"),           tl_str(m->key),         tl_str(m->numbers[0]),
                            tl_str(m->numbers[1]), tl_str(c->channels[0]), tl_buf_str(&m->head),
                            tl_str(m->scope),      tl_str(m->numbers[1])};
    memcpy(m->argv, args, sizeof args);
    m->cmd.cb = on_mirrored;
    enum tl_status st = send_mirror(c, m, TL_COUNT(args), TL_SCRIPT_MIRROR, timeout_ms);
    if (st != TL_OK) m->cb(m, st);
}

static void on_allocated(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                         const struct tl_err *err)
{
    struct tl_mirror *m = cmd->user;
    int64_t generation = 0;
    (void)err;
    tl_buf_release(&m->head);
    tl_buf_release(&m->tail);
    if (status == TL_OK &&
        (reply->type != TL_REPLY_STRING || !tl_str_to_i64(reply->str, &generation) || generation <= 0))
        status = TL_CORRUPT;
    m->generation = (uint64_t)generation;
    if (status == TL_OK) m->cache->meeting->redis_newest = TL_MAX(m->cache->meeting->redis_newest, m->generation);
    m->cb(m, status);
}

void tl_peers_allocate(struct tl_cache *c, struct tl_mirror *m, uint64_t timeout_ms)
{
    m->cache = c;
    if (c->redis_state != TL_REDIS_JOINED) {
        m->cb(m, TL_IO);
        return;
    }
    tl_buf_init(&m->head, 4096);
    tl_buf_init(&m->tail, 64);
    tl_announce_invalidate(&m->head, &m->tail, c->instance, tl_cache_now_ms(c), tl_str(m->scope), m->before, 0, false);
    /* The writer leaves the place of the number open: its separator stands already. */
    snprintf(m->key, sizeof m->key, "%s", c->meeting->gen_key);
    snprintf(m->numbers[0], sizeof m->numbers[0], "%" PRIu64, m->before + 1);
    struct tl_str args[] = {TL_STR("1"),           tl_str(m->key),         tl_str(m->scope),
                            tl_str(m->numbers[0]), tl_str(c->channels[0]), tl_buf_str(&m->head),
                            tl_buf_str(&m->tail)};
    memcpy(m->argv, args, sizeof args);
    m->cmd.cb = on_allocated;
    enum tl_status st = send_mirror(c, m, TL_COUNT(args), TL_SCRIPT_ALLOCATE, timeout_ms);
    if (st != TL_OK) m->cb(m, st);
}
