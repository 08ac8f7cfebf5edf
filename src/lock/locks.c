/* SPDX-License-Identifier: Apache-2.0 */
/* The connections of the leases, their keys, and the messages that wake who waits. */
#include "lock/locks.h"

#include "base/err.h"
#include "base/util.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/random.h>

uint64_t tl_locks_now_ns(const struct tl_locks *c)
{
    return tl_clock_mono_ns(c->clock);
}

void tl_locks_key(const struct tl_locks *c, const char *kind, const char *name, char out[TL_LOCK_KEY_MAX])
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = (size_t)snprintf(out, TL_LOCK_KEY_MAX, "%s%s{", c->prefix, kind);
    for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
        bool plain = *p > 0x20 && *p < 0x7f && *p != '{' && *p != '}' && *p != '%' && *p != '"' && *p != '\\';
        if (plain) {
            out[n++] = (char)*p;
        } else {
            out[n++] = '%';
            out[n++] = hex[*p >> 4];
            out[n++] = hex[*p & 15];
        }
    }
    out[n++] = '}';
    out[n] = '\0';
}

/* ---- messages ---- */

static void wake_all(struct tl_locks *c)
{
    struct tl_str name;
    void *queue;
    for (size_t i = 0; tl_map_next(c->queues, &i, &name, &queue);) tl_lease_wake(((struct lease_queue *)queue)->first);
}

/* The queue whose encoded name this is. */
static struct lease_queue *queue_of(const struct tl_locks *c, const char *encoded)
{
    char name[TL_LEASE_NAME_MAX + 1];
    size_t n = 0;
    for (const char *p = encoded; *p && n < TL_LEASE_NAME_MAX; n++) {
        unsigned byte = (unsigned char)*p;
        if (*p == '%' && sscanf(p + 1, "%2x", &byte) == 1)
            p += 3;
        else
            p++;
        name[n] = (char)byte;
    }
    name[n] = '\0';
    void **slot = tl_map_get(c->queues, tl_str(name));
    return slot ? *slot : NULL;
}

static void on_message(void *ctx, struct tl_str channel, struct tl_str payload)
{
    struct tl_locks *c = ctx;
    (void)channel;
    /* Most are for others: an owner of this process begins with its instance. */
    if (!tl_map_count(c->queues) || !memmem(payload.p, payload.n, c->instance_text, strlen(c->instance_text))) return;
    json_t *event = json_loadb(payload.p, payload.n, JSON_REJECT_DUPLICATES, NULL);
    const char *type = json_string_value(json_object_get(event, "type"));
    const char *name = json_string_value(json_object_get(json_object_get(event, "data"), "name"));
    struct lease_queue *q = type && name && strcmp(type, "lease.released.v1") == 0 ? queue_of(c, name) : NULL;
    const json_t *owner, *next = json_object_get(json_object_get(event, "data"), "next");
    size_t i;
    json_array_foreach(next, i, owner)
    {
        const char *text = json_string_value(owner);
        if (q && text && strcmp(text, q->first->owner) == 0) tl_lease_wake(q->first);
    }
    json_decref(event);
}

/* ---- connections ---- */

static void on_redis_state(void *ctx, bool up, const struct tl_err *why)
{
    struct tl_locks *c = ctx;
    c->redis_up = up;
    c->told = true;
    if (c->closing) return;
    if (up)
        wake_all(c);
    else
        tl_lease_redis_failed(c, why);
}

/* What was announced while nobody listened is asked for. */
static void on_sub_state(void *ctx, bool up, const struct tl_err *why)
{
    struct tl_locks *c = ctx;
    (void)why;
    if (up && !c->closing) wake_all(c);
}

static enum tl_status connect_redis(uv_loop_t *loop, struct tl_locks *c, const char *url, struct tl_err *err)
{
    struct tl_redis_options ro = {.client_name = "tierline",
                                  .scripts = tl_lock_scripts,
                                  .n_scripts = TL_LOCK_SCRIPTS,
                                  .clock = c->clock,
                                  .log = &c->log,
                                  .on_state = on_redis_state,
                                  .ctx = c};
    enum tl_status st = tl_redis_address_parse(url, &ro.address, err);
    if (st == TL_OK) st = tl_redis_start(loop, &ro, &c->redis, err);
    if (st != TL_OK) return st;
    struct tl_redis_sub_options so = {.base = ro, .channels = c->channels, .n_channels = 1, .on_message = on_message};
    so.base.on_state = on_sub_state;
    so.base.log = NULL; /* the command connection says it */
    return tl_redis_sub_start(loop, &so, &c->sub, err);
}

static enum tl_status check_prefix(struct tl_locks *c, const char *prefix, struct tl_err *err)
{
    if (!prefix) prefix = "tierline:";
    if (!prefix[0] || strlen(prefix) >= sizeof c->prefix || strpbrk(prefix, "{} \t\r\n\"\\"))
        return tl_fail(err, TL_INVALID, "prefix \"%.80s\": 1 to %zu bytes without braces, blanks, quotes or \\", prefix,
                       sizeof c->prefix - 1);
    snprintf(c->prefix, sizeof c->prefix, "%s", prefix);
    snprintf(c->channel, sizeof c->channel, "%schannel:calc:done", c->prefix);
    c->channels[0] = c->channel;
    return TL_OK;
}

enum tl_status tl_locks_open(struct uv_loop_s *loop, const struct tl_locks_options *opt, struct tl_locks **out,
                             struct tl_err *err)
{
    if (!opt->redis_url || !opt->redis_url[0] || strcmp(opt->redis_url, "none") == 0)
        return tl_fail(err, TL_INVALID, "leases need a Redis: none is configured");
    struct tl_locks *c = tl_calloc(1, sizeof *c);
    if (!c) return tl_fail(err, TL_NOMEM, "no memory for leases");
    c->clock = &tl_clock_system;
    c->log = (struct tl_log){.level = opt->log_level < 0 ? TL_LOG_OFF : (enum tl_log_level)opt->log_level, .fd = 2};
    c->timeout_ms = opt->redis_timeout_ms ? opt->redis_timeout_ms : 500;
    if (getrandom(&c->instance, sizeof c->instance, 0) != sizeof c->instance) c->instance = tl_locks_now_ns(c);
    tl_rng_seed(&c->rng, c->instance);
    snprintf(c->instance_text, sizeof c->instance_text, "%016" PRIx64 ":", c->instance);
    c->queues = tl_map_new();
    enum tl_status st = c->queues ? TL_OK : tl_fail(err, TL_NOMEM, "no memory for leases");
    if (st == TL_OK) st = check_prefix(c, opt->prefix, err);
    if (st == TL_OK) st = tl_alarms_start(loop, c->clock, &c->alarms, err);
    if (st == TL_OK) st = connect_redis(loop, c, opt->redis_url, err);
    if (st == TL_OK)
        *out = c;
    else
        tl_locks_close(c, NULL, NULL); /* what began on the loop ends on it */
    return st;
}

/* ---- closing: leases are given back, then the connections go, then the alarms ---- */

static void on_alarms_closed(void *ctx)
{
    struct tl_locks *c = ctx;
    void (*cb)(void *) = c->closed;
    void *cb_ctx = c->closed_ctx;
    TL_ASSERT(!c->leases);
    tl_map_free(c->queues);
    free(c);
    if (cb) cb(cb_ctx);
}

static void part_closed(void *ctx)
{
    struct tl_locks *c = ctx;
    if (--c->open_parts > 0) return;
    if (c->alarms)
        tl_alarms_close(c->alarms, on_alarms_closed, c);
    else
        on_alarms_closed(c);
}

static void close_parts(struct tl_locks *c)
{
    if (c->parts_closed) return;
    c->parts_closed = true;
    c->open_parts = 1;
    if (c->sub) {
        c->open_parts++;
        tl_redis_sub_close(c->sub, part_closed, c);
    }
    if (c->redis) {
        c->open_parts++;
        tl_redis_close(c->redis, part_closed, c);
    }
    part_closed(c);
}

void tl_locks_ended(struct tl_locks *c)
{
    if (c->closing && c->ending && c->partings == 0 && c->n_ops == 0) close_parts(c);
}

void tl_locks_parted(struct tl_locks *c)
{
    c->partings--;
    tl_locks_ended(c);
}

static void on_close(struct tl_soon *s)
{
    struct tl_locks *c = (struct tl_locks *)(void *)((char *)s - offsetof(struct tl_locks, close_soon));
    c->ending = true;
    tl_lease_end_all(c);
    tl_locks_ended(c);
}

void tl_locks_close(struct tl_locks *c, void (*cb)(void *ctx), void *ctx)
{
    if (c->closing) return;
    c->closing = true;
    c->closed = cb;
    c->closed_ctx = ctx;
    c->close_soon.call = on_close;
    if (c->alarms)
        tl_soon_call(c->alarms, &c->close_soon); /* from the loop: a callback may be what closes */
    else
        close_parts(c);
}
