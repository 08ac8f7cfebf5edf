/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/report.h"

#include "base/err.h"
#include "base/json.h"
#include "base/util.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { REPORT_MAX = 256 * 1024, FOUND_MAX = 64 << 20 };

struct sending {
    struct tl_redis_cmd cmd;
    struct tl_str argv[6];
};

struct report {
    struct tl_cache *cache;
    struct sending report, take_back; /* each its own: the first may be under way when the second goes */
    char keys[2][96], instance[24], ttl[16], host[65];
    int64_t started_ms;
    struct tl_buf json;
    bool under_way, ever;
};

/* ---- writing ---- */

static void put_u64(struct tl_json *j, const char *name, uint64_t n)
{
    tl_json_key(j, name);
    tl_json_u64(j, n);
}

static void put_tier(struct tl_json *j, const char *name, const struct tl_tier_stats *s)
{
    tl_json_key(j, name);
    tl_json_object(j);
    tl_json_key(j, "configured");
    tl_json_bool(j, s->configured);
    tl_json_key(j, "up");
    tl_json_bool(j, s->up);
    tl_json_key(j, "breaker_open");
    tl_json_bool(j, s->breaker_open);
    const struct {
        const char *name;
        uint64_t n;
    } counts[] = {{"breaker_opened", s->breaker_opened},
                  {"hits", s->hits},
                  {"misses", s->misses},
                  {"errors", s->errors},
                  {"poisoned", s->poisoned},
                  {"read_bytes", s->read_bytes},
                  {"written", s->written},
                  {"coalesced", s->coalesced},
                  {"retried", s->retried},
                  {"skipped", s->skipped},
                  {"refused", s->refused},
                  {"lost", s->lost}};
    for (size_t i = 0; i < TL_COUNT(counts); i++) put_u64(j, counts[i].name, counts[i].n);
    tl_json_key(j, "latency");
    tl_json_array(j);
    for (unsigned i = 0; i < TL_LATENCY_BUCKETS; i++) {
        if (s->latency[i] == 0) continue;
        tl_json_array(j);
        tl_json_u64(j, i);
        tl_json_u64(j, s->latency[i]);
        tl_json_array_end(j);
    }
    tl_json_array_end(j);
    tl_json_object_end(j);
}

static void put_top(struct tl_json *j, struct tl_cache *c)
{
    struct tl_top_key top[TL_REPORT_TOP];
    size_t n = tl_cache_top(c, top, TL_REPORT_TOP);
    tl_json_key(j, "top");
    tl_json_array(j);
    for (size_t i = 0; i < n; i++) {
        tl_json_object(j);
        tl_json_key(j, "key");
        tl_json_cstr(j, top[i].key);
        put_u64(j, "reads", top[i].reads);
        put_u64(j, "error", top[i].error);
        tl_json_object_end(j);
    }
    tl_json_array_end(j);
}

void tl_report_write(struct tl_cache *c, struct tl_buf *out)
{
    const struct report *r = c->report;
    struct tl_cache_stats s;
    struct tl_json j;
    tl_cache_stats(c, &s);
    tl_json_init(&j, out);
    tl_json_object(&j);
    put_u64(&j, "format", 1);
    tl_json_key(&j, "instance");
    tl_json_cstr(&j, r->instance);
    put_u64(&j, "pid", (uint64_t)getpid());
    tl_json_key(&j, "host");
    tl_json_cstr(&j, r->host);
    tl_json_key(&j, "program");
    tl_json_cstr(&j, program_invocation_short_name);
    tl_json_key(&j, "started_ms");
    tl_json_i64(&j, r->started_ms);
    tl_json_key(&j, "now_ms");
    tl_json_i64(&j, tl_cache_now_ms(c));
    put_tier(&j, "memory", &s.memory);
    put_tier(&j, "redis", &s.redis);
    put_tier(&j, "store", &s.store);
    const struct {
        const char *name;
        uint64_t n;
    } counts[] = {{"entries", s.memory_entries},
                  {"bytes", s.memory_bytes},
                  {"cap_bytes", s.memory_cap_bytes},
                  {"evictions", s.evictions},
                  {"expirations", s.expirations},
                  {"queue_entries", s.queue_entries},
                  {"queue_bytes", s.queue_bytes},
                  {"queue_cap_bytes", s.queue_cap_bytes},
                  {"gets", s.gets},
                  {"puts", s.puts},
                  {"flights", s.flights},
                  {"joined", s.joined},
                  {"loads", s.loads},
                  {"stale_served", s.stale_served},
                  {"invalidations", s.invalidations},
                  {"announcements", s.announcements}};
    for (size_t i = 0; i < TL_COUNT(counts); i++) put_u64(&j, counts[i].name, counts[i].n);
    put_top(&j, c);
    tl_json_object_end(&j);
}

/* ---- sending ---- */

static void on_sent(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                    const struct tl_err *err)
{
    struct report *r = cmd->user;
    (void)status, (void)reply, (void)err; /* the next one comes in a second */
    r->under_way = false;
}

/* "" takes it back. */
static enum tl_status send_report(struct report *r, struct sending *s, struct tl_str json,
                                  void (*cb)(struct tl_redis_cmd *, enum tl_status, const struct tl_reply *,
                                             const struct tl_err *))
{
    struct tl_cache *c = r->cache;
    struct tl_str args[] = {TL_STR("2"), tl_str(r->keys[0]), tl_str(r->keys[1]), tl_str(r->instance),
                            json,        tl_str(r->ttl)};
    memcpy(s->argv, args, sizeof args);
    s->cmd = (struct tl_redis_cmd){.argv = s->argv, .argc = TL_COUNT(args), .cb = cb, .user = r};
    return tl_redis_eval(c->redis, &s->cmd, TL_SCRIPT_REPORT, 2ull * c->redis_timeout_ms, NULL);
}

static void on_report(struct tl_alarm *a)
{
    struct tl_cache *c = (struct tl_cache *)(void *)((char *)a - offsetof(struct tl_cache, report_alarm));
    struct report *r = c->report;
    (void)!tl_alarm_set(c->alarms, a, tl_cache_now_ns(c) + TL_REPORT_EACH_MS * UINT64_C(1000000));
    if (r->under_way || c->redis_state != TL_REDIS_JOINED || c->phase != TL_CACHE_OPEN) return;
    tl_buf_clear(&r->json);
    tl_report_write(c, &r->json);
    r->under_way = !r->json.failed && send_report(r, &r->report, tl_buf_str(&r->json), on_sent) == TL_OK;
    r->ever = r->ever || r->under_way;
}

enum tl_status tl_report_begin(struct tl_cache *c, struct tl_err *err)
{
    struct report *r = c->report = tl_calloc(1, sizeof *r);
    if (!r) return tl_fail(err, TL_NOMEM, "no memory for reports");
    r->cache = c;
    r->started_ms = tl_cache_now_ms(c);
    tl_buf_init(&r->json, REPORT_MAX);
    snprintf(r->keys[0], sizeof r->keys[0], "%s{stats}", c->prefix);
    snprintf(r->keys[1], sizeof r->keys[1], "%s{stats}:seen", c->prefix);
    snprintf(r->instance, sizeof r->instance, "%016" PRIx64, c->instance);
    snprintf(r->ttl, sizeof r->ttl, "%d", TL_REPORT_TTL_MS);
    if (gethostname(r->host, sizeof r->host - 1) != 0) snprintf(r->host, sizeof r->host, "unknown");
    if (!c->redis || c->silent) return TL_OK;
    c->report_alarm.ring = on_report;
    return tl_alarm_set(c->alarms, &c->report_alarm, tl_cache_now_ns(c) + TL_REPORT_EACH_MS * UINT64_C(1000000));
}

static void on_taken_back(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                          const struct tl_err *err)
{
    struct report *r = cmd->user;
    (void)status, (void)reply, (void)err;
    tl_cache_told(r->cache);
}

void tl_report_take_back(struct tl_cache *c)
{
    struct report *r = c->report;
    if (!r || !r->ever || c->redis_state != TL_REDIS_JOINED) return;
    if (send_report(r, &r->take_back, TL_STR(""), on_taken_back) == TL_OK) c->tellings++;
}

void tl_report_end(struct tl_cache *c)
{
    if (c->alarms) tl_alarm_clear(c->alarms, &c->report_alarm);
}

void tl_report_free(struct tl_cache *c)
{
    if (c->report) tl_buf_release(&c->report->json);
    free(c->report);
}

/* ---- reading ---- */

static void on_reports(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                       const struct tl_err *err)
{
    struct tl_reports_op *op = cmd->user;
    if (status != TL_OK) op->err = *err;
    if (status == TL_OK && reply->type != TL_REPLY_ARRAY)
        status = tl_fail(&op->err, TL_CORRUPT, "Redis holds something else under {stats}");
    for (size_t i = 1; status == TL_OK && i < reply->n; i += 2) {
        const struct tl_reply *report = reply->items[i];
        if (report->type != TL_REPLY_STRING || memchr(report->str.p, '\0', report->str.n)) continue;
        tl_buf_put(&op->found, report->str.p, report->str.n);
        tl_buf_putc(&op->found, '\0');
    }
    if (status == TL_OK) status = tl_buf_status(&op->found, &op->err);
    op->cb(op, status);
}

enum tl_status tl_reports(struct tl_cache *c, struct tl_reports_op *op, uint64_t deadline_ms, struct tl_err *err)
{
    if (c->redis_state != TL_REDIS_JOINED)
        return tl_fail(err, TL_IO, "Redis is not in use: %s", c->redis ? c->redis_why.text : "none is configured");
    tl_buf_init(&op->found, FOUND_MAX);
    snprintf(op->key, sizeof op->key, "%s{stats}", c->prefix);
    op->argv[0] = TL_STR("HGETALL");
    op->argv[1] = tl_str(op->key);
    op->cmd = (struct tl_redis_cmd){.argv = op->argv, .argc = 2, .cb = on_reports, .user = op};
    return tl_redis_submit(c->redis, &op->cmd, deadline_ms, err);
}
