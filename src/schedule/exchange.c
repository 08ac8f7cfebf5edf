/* SPDX-License-Identifier: Apache-2.0 */
/* What the calls of a group have in common, trouble, and the renewal of leases. One call of a group is under way at a
 * time, beside it the renewal. A call whose outcome is not known is repeated: the scripts say again what they said. */
#include "schedule/exchange.h"

#include "base/err.h"
#include "base/util.h"

#include <inttypes.h>
#include <stdio.h>

enum { TROUBLE_MAX = 3, TROUBLE_WAIT_MS = 50 };

struct once_exchange *tl_exchange_new(struct once_group *g, size_t cap)
{
    struct once_exchange *x = tl_calloc(1, sizeof *x);
    size_t *ends = x ? tl_calloc(cap, sizeof *ends) : NULL;
    struct tl_str *argv = ends ? tl_calloc(cap, sizeof *argv) : NULL;
    if (!argv) {
        free(ends);
        free(x);
        return NULL;
    }
    x->group = g;
    x->s = g->s;
    x->cap = cap;
    x->ends = ends;
    x->argv = argv;
    tl_buf_init(&x->text, 0);
    return x;
}

void tl_exchange_free(struct once_exchange *x)
{
    tl_buf_release(&x->text);
    free(x->ends);
    free(x->argv);
    free(x);
}

void tl_exchange_end_arg(struct once_exchange *x)
{
    TL_ASSERT(x->n < x->cap);
    x->ends[x->n++] = x->text.n;
}

void tl_exchange_arg(struct once_exchange *x, struct tl_str s)
{
    tl_buf_put(&x->text, s.p, s.n);
    tl_exchange_end_arg(x);
}

void tl_exchange_i64(struct once_exchange *x, int64_t v)
{
    tl_buf_printf(&x->text, "%" PRId64, v);
    tl_exchange_end_arg(x);
}

void tl_exchange_key(struct once_exchange *x, const char *kind, struct tl_str key)
{
    tl_buf_puts(&x->text, x->s->cache->prefix);
    tl_buf_puts(&x->text, kind);
    tl_exchange_arg(x, key);
}

void tl_exchange_keys(struct once_exchange *x, struct tl_str key)
{
    static const char *const kinds[] = {"", "lock:", "fail:", "wait:"};
    for (size_t i = 0; i < TL_COUNT(kinds); i++) tl_exchange_key(x, kinds[i], key);
}

void tl_exchange_version_text(const struct once_group *g, char out[72])
{
    struct tl_version v = g->version;
    snprintf(out, 72, "%" PRId64 ":%" PRId64 ":%" PRId64, v.revision, v.bars, v.last_ts);
}

void tl_exchange_version(struct once_exchange *x, const struct once_group *g)
{
    char text[72] = "";
    if (g->versioned) tl_exchange_version_text(g, text);
    tl_exchange_arg(x, tl_str(text));
}

void tl_exchange_entry(struct once_exchange *x, const struct tl_entry *e)
{
    struct tl_str payload = tl_entry_payload(e);
    char *p = tl_buf_reserve(&x->text, TL_ENTRY_HEADER + payload.n);
    if (p) {
        tl_entry_encode_header(e, (unsigned char *)p);
        if (payload.n) memcpy(p + TL_ENTRY_HEADER, payload.p, payload.n);
        x->text.n += TL_ENTRY_HEADER + payload.n;
    }
    tl_exchange_end_arg(x);
}

static void on_answer(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                      const struct tl_err *err)
{
    struct once_exchange *x = cmd->user;
    struct once_group *g = x->group;
    if (g && g->exchange == x) g->exchange = NULL;
    if (g && g->hold == x) g->hold = NULL;
    if (g) {
        x->answered(g, status, reply, err, x);
    } else {
        x->s->partings--;
        tl_once_ended(x->s);
    }
    tl_exchange_free(x);
}

enum tl_status tl_exchange_submit(struct once_exchange *x, enum tl_cache_script script, struct tl_err *err)
{
    if (x->text.failed) return tl_fail(err, TL_NOMEM, "no memory for a question to Redis");
    for (size_t i = 0, at = 0; i < x->n; at = x->ends[i++])
        x->argv[i] = (struct tl_str){x->text.p + at, x->ends[i] - at};
    x->cmd = (struct tl_redis_cmd){.argv = x->argv, .argc = x->n, .cb = on_answer, .user = x};
    x->asked_ns = tl_once_now_ns(x->s);
    return tl_redis_eval(x->s->cache->redis, &x->cmd, script, ONCE_EXCHANGE_MS, err);
}

void tl_once_forget(struct once_group *g)
{
    struct once_exchange *const open[] = {g->exchange, g->hold};
    for (size_t i = 0; i < TL_COUNT(open); i++) {
        if (!open[i]) continue;
        open[i]->group = NULL;
        g->s->partings++;
    }
    g->exchange = g->hold = NULL;
}

/* ---- trouble ---- */

/* Redis did not do it, or may have done it: once more in a while, or, after a few times, without it. true: once more.
 */
bool tl_exchange_again(struct once_group *g, enum tl_status status, const char *why)
{
    struct tl_scheduler *s = g->s;
    bool passes = status == TL_IO || status == TL_TIMEOUT || status == TL_BUSY || status == TL_NOMEM;
    if (!passes || ++g->trouble > TROUBLE_MAX) {
        tl_log(s->cache->log, TL_LOG_WARN, "schedule", "redis cannot be used for computing once",
               "key=%s reason=\"%s\"", g->keys[0].key.text, why);
        return false;
    }
    (void)!tl_alarm_set(s->alarms, &g->again, tl_once_now_ns(s) + g->trouble * TROUBLE_WAIT_MS * UINT64_C(1000000));
    return true;
}

/* ---- renewal ---- */

static void on_held(struct once_group *g, enum tl_status status, const struct tl_reply *reply, const struct tl_err *err,
                    struct once_exchange *x)
{
    bool lost = false;
    (void)err;
    if (status != TL_OK || reply->type != TL_REPLY_ARRAY) return; /* the next third, or COMMIT, tells */
    for (size_t i = 0; i < reply->n; i++)
        lost = lost || reply->items[i]->type != TL_REPLY_INTEGER || reply->items[i]->integer != 1;
    if (lost)
        atomic_store_explicit(&g->lost, true, memory_order_relaxed);
    else
        g->until_ns = x->asked_ns + g->lease_ms * UINT64_C(1000000);
}

void tl_once_hold(struct once_group *g)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++) n += g->keys[i].leased;
    struct once_exchange *x = n > 0 && tl_once_has_redis(g->s) ? tl_exchange_new(g, 3 + n) : NULL;
    if (!x) return;
    tl_exchange_i64(x, (int64_t)n);
    for (size_t i = 0; i < g->n; i++)
        if (g->keys[i].leased) tl_exchange_key(x, "lock:", tl_cache_key_str(&g->keys[i].key));
    tl_exchange_arg(x, tl_str(g->owner));
    tl_exchange_i64(x, g->lease_ms);
    x->answered = on_held;
    if (tl_exchange_submit(x, TL_SCRIPT_HOLD, NULL) == TL_OK) {
        g->hold = x;
        g->s->stats.renewals++;
    } else {
        tl_exchange_free(x);
    }
}
