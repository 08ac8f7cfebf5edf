/* SPDX-License-Identifier: Apache-2.0 */
/* One lease from the first question to the last.
 *
 *   QUEUED --first in its queue--> ASKING --granted--> HELD --release--> RELEASING --> over
 *                                    | ^                 '--- expiry, not ours any more ---> on_lost, over
 *                              busy  v |  message, alarm
 *                                   WAITING
 *
 * One command is under way at a time. A grant counts from when it was asked for, so the holder stops before Redis lets
 * go. Whoever stops asking without knowing what became of the question gives back what it may have been granted. */
#include "lock/locks.h"

#include "base/err.h"
#include "base/util.h"

#include <inttypes.h>
#include <stdio.h>

enum { TTL_USUAL_MS = 5000, RENEW_SOON_PART = 10, ASK_SOON_MS = 50 };

static struct lease *of(void *member, size_t offset)
{
    return (struct lease *)(void *)((char *)member - offset);
}
#define LEASE_OF(pointer, member) of(pointer, offsetof(struct lease, member))

static uint64_t ms_later(const struct lease *l, uint64_t ms)
{
    return tl_locks_now_ns(l->locks) + ms * 1000000;
}

static uint64_t ttl_ms(const struct lease *l)
{
    return l->op->ttl_ms ? l->op->ttl_ms : TTL_USUAL_MS;
}

/* Between 0.9 and 1.1 of ms. */
static uint64_t around(struct lease *l, uint64_t ms)
{
    return ms - ms / 10 + tl_rng_below(&l->locks->rng, ms / 5 + 1);
}

/* An alarm whose place is out: what it would do is done by the expiry, or by the next message. */
static void set_alarm(struct lease *l, struct tl_alarm *a, uint64_t due_ns)
{
    (void)!tl_alarm_set(l->locks->alarms, a, due_ns);
}

/* ---- queues ---- */

static void ask(struct lease *l);

static void leave_queue(struct lease *l)
{
    struct lease_queue *q = l->queue;
    if (!q) return;
    bool first = q->first == l;
    if (l->prev)
        l->prev->next = l->next;
    else
        q->first = l->next;
    if (l->next)
        l->next->prev = l->prev;
    else
        q->last = l->prev;
    l->queue = NULL;
    l->prev = l->next = NULL;
    if (!q->first) {
        tl_map_remove(l->locks->queues, tl_str(q->name));
        free(q);
    } else if (first && !l->locks->closing) {
        ask(q->first);
    }
}

static enum tl_status join_queue(struct lease *l, const char *name)
{
    struct tl_locks *c = l->locks;
    void **slot = tl_map_put(c->queues, tl_str(name), NULL);
    if (!slot) return TL_NOMEM;
    struct lease_queue *q = *slot;
    if (!q) {
        q = tl_calloc(1, sizeof *q);
        if (!q) {
            tl_map_remove(c->queues, tl_str(name));
            return TL_NOMEM;
        }
        snprintf(q->name, sizeof q->name, "%s", name);
        *slot = q;
    }
    l->queue = q;
    l->prev = q->last;
    if (q->last)
        q->last->next = l;
    else
        q->first = l;
    q->last = l;
    return TL_OK;
}

/* ---- ends ---- */

static void clear_alarms(struct lease *l)
{
    struct tl_alarms *a = l->locks->alarms;
    tl_alarm_clear(a, &l->deadline);
    tl_alarm_clear(a, &l->again);
    tl_alarm_clear(a, &l->renewal);
    tl_alarm_clear(a, &l->expiry);
    tl_soon_cancel(a, &l->soon);
}

static void unlink_lease(struct tl_locks *c, struct lease *l)
{
    if (c->leases == l)
        c->leases = l->next_all;
    else
        l->prev_all->next_all = l->next_all;
    if (l->next_all) l->next_all->prev_all = l->prev_all;
    l->prev_all = l->next_all = NULL;
}

/* The memory goes once no command works in it any more. */
static void drop(struct tl_locks *c, struct lease *l)
{
    clear_alarms(l);
    leave_queue(l);
    if (l->op) {
        l->op->state = NULL;
        c->n_ops--;
    }
    l->op = NULL;
    if (l->cmd_open) {
        tl_redis_cancel(&l->cmd);
        return;
    }
    unlink_lease(c, l);
    free(l);
}

/* Ends acquire or release. */
static void end(struct tl_locks *c, struct lease *l, enum tl_status status)
{
    struct tl_lease *op = l->op;
    tl_lease_cb *cb = l->cb;
    drop(c, l);
    if (cb) cb(op, status);
    tl_locks_ended(c);
}

static void on_soon(struct tl_soon *s)
{
    struct lease *l = LEASE_OF(s, soon);
    end(l->locks, l, l->soon_status);
}

/* In the next turn of the loop; until then nothing happens to it any more. */
static void end_soon(struct lease *l, enum tl_status status)
{
    clear_alarms(l);
    leave_queue(l);
    l->phase = LEASE_OVER;
    l->soon.call = on_soon;
    l->soon_status = status;
    tl_soon_call(l->locks->alarms, &l->soon);
}

static enum tl_status fail_op(struct lease *l, enum tl_status status, const char *why)
{
    return tl_fail(&l->op->err, status, "%s", why);
}

static void lose(struct lease *l, enum tl_status status, const char *why)
{
    struct tl_locks *c = l->locks;
    struct tl_lease *op = l->op;
    struct tl_err err;
    (void)tl_fail(&err, status, "%s", why);
    op->err = err;
    tl_lease_part(l); /* if it is ours still, others need not wait for it to expire */
    drop(c, l);
    if (op->on_lost) op->on_lost(op, &err);
    tl_locks_ended(c);
}

/* ---- asking ---- */

static enum tl_status send_script(struct lease *l, enum tl_lock_script script, const struct tl_str *args, size_t n,
                                  void (*cb)(struct tl_redis_cmd *, enum tl_status, const struct tl_reply *,
                                             const struct tl_err *),
                                  struct tl_err *err)
{
    struct tl_locks *c = l->locks;
    memcpy(l->argv, args, n * sizeof *args);
    l->cmd = (struct tl_redis_cmd){.argv = l->argv, .argc = n, .cb = cb, .user = l};
    l->asked_ns = tl_locks_now_ns(c);
    enum tl_status st = tl_redis_eval(c->redis, &l->cmd, script, c->timeout_ms, err);
    l->cmd_open = st == TL_OK;
    return st;
}

static void held_until(struct lease *l, uint64_t until_ns)
{
    l->until_ns = until_ns;
    set_alarm(l, &l->expiry, until_ns);
    set_alarm(l, &l->renewal, ms_later(l, around(l, ttl_ms(l) / 3)));
}

static void granted(struct lease *l, uint64_t token)
{
    struct tl_locks *c = l->locks;
    uint64_t until = l->asked_ns + ttl_ms(l) * 1000000;
    if (tl_locks_now_ns(c) >= until) { /* too late to be held */
        l->phase = LEASE_WAITING;
        ask(l);
        return;
    }
    tl_lease_cb *cb = l->cb;
    tl_alarm_clear(c->alarms, &l->deadline);
    tl_alarm_clear(c->alarms, &l->again);
    leave_queue(l);
    l->phase = LEASE_HELD;
    l->op->token = token;
    l->op->err = (struct tl_err){.status = TL_OK};
    held_until(l, until);
    cb(l->op, TL_OK);
}

static void wait_for_it(struct lease *l, uint64_t ms)
{
    l->phase = LEASE_WAITING;
    set_alarm(l, &l->again, ms_later(l, around(l, TL_MAX(ms, UINT64_C(1)))));
    if (l->woken) ask(l); /* the message came while the answer was on its way */
}

static void on_asked(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                     const struct tl_err *err)
{
    struct lease *l = cmd->user;
    int64_t verdict = -1, number = 0;
    l->cmd_open = false;
    if (!l->op) { /* its deadline came */
        drop(l->locks, l);
        return;
    }
    if (l->phase == LEASE_OVER) return;
    if (status == TL_OK && reply->type == TL_REPLY_ARRAY && reply->n == 2 &&
        reply->items[0]->type == TL_REPLY_INTEGER && reply->items[1]->type == TL_REPLY_STRING &&
        tl_str_to_i64(reply->items[1]->str, &number) && number >= 0)
        verdict = reply->items[0]->integer;
    if (verdict == 1) {
        granted(l, (uint64_t)number);
    } else if (verdict == 0 && l->op->wait_ms == 0) {
        end(l->locks, l, fail_op(l, TL_BUSY, "another holds it"));
    } else if (verdict == 0) {
        l->left_ms = (uint64_t)number;
        wait_for_it(l, TL_MIN((uint64_t)number + 1, (uint64_t)TL_LOCK_ASK_AGAIN_MS));
    } else if (status == TL_OK) {
        end(l->locks, l, fail_op(l, TL_CORRUPT, "Redis holds something else under this name"));
    } else if (l->op->wait_ms == 0 || !tl_status_retry(status)) {
        enum tl_status st = status == TL_BUSY ? TL_IO : status; /* Redis is busy: nobody is known to hold it */
        l->op->err = *err;
        l->op->err.status = st;
        tl_lease_part(l);
        end(l->locks, l, st);
    } else { /* it may have been granted: the same question gets the same answer */
        wait_for_it(l, ASK_SOON_MS);
    }
}

static void ask(struct lease *l)
{
    struct tl_locks *c = l->locks;
    struct tl_err err;
    if (l->phase == LEASE_ASKING || (l->queue && l->queue->first != l)) return;
    l->phase = LEASE_ASKING;
    l->woken = false;
    tl_alarm_clear(c->alarms, &l->again);
    struct tl_str args[6];
    size_t n = 0;
    args[n++] = l->op->wait_ms ? TL_STR("3") : TL_STR("2");
    for (size_t i = 0; i < (l->op->wait_ms ? 3 : 2); i++) args[n++] = tl_str(l->keys[i]);
    args[n++] = tl_str(l->owner);
    args[n++] = tl_str(l->ttl);
    enum tl_status st = send_script(l, TL_LOCK_ACQUIRE, args, n, on_asked, &err);
    if (st == TL_OK) return;
    l->phase = LEASE_WAITING;
    bool ends = st != TL_FULL && c->told && l->op->wait_ms == 0;
    if (ends) {
        l->op->err = err;
        end_soon(l, st);
    } else {
        set_alarm(l, &l->again, ms_later(l, around(l, ASK_SOON_MS)));
    }
}

void tl_lease_wake(struct lease *l)
{
    l->woken = true;
    if (l->phase == LEASE_WAITING) ask(l);
}

void tl_lease_redis_failed(struct tl_locks *c, const struct tl_err *why)
{
    for (struct lease *l = c->leases; l; l = l->next_all) {
        if (!l->op || l->op->wait_ms > 0 || (l->phase != LEASE_WAITING && l->phase != LEASE_QUEUED)) continue;
        l->op->err = *why;
        end_soon(l, TL_IO);
    }
}

static void on_again(struct tl_alarm *a)
{
    ask(LEASE_OF(a, again));
}

static void on_deadline(struct tl_alarm *a)
{
    struct lease *l = LEASE_OF(a, deadline);
    char why[64];
    snprintf(why, sizeof why, "still held by another after %" PRIu64 " ms", l->op->wait_ms);
    if (l->phase != LEASE_QUEUED) tl_lease_part(l);
    end(l->locks, l, fail_op(l, TL_TIMEOUT, l->locks->redis_up ? why : "Redis cannot be reached"));
}

/* ---- holding ---- */

static void renew(struct lease *l);

static void on_renewed(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                       const struct tl_err *err)
{
    struct lease *l = cmd->user;
    (void)err;
    l->cmd_open = false;
    if (!l->op) {
        drop(l->locks, l);
    } else if (l->phase == LEASE_OVER) {
        return;
    } else if (l->phase == LEASE_RELEASING) {
        tl_soon_call(l->locks->alarms, &l->soon);
    } else if (status == TL_OK && reply->type == TL_REPLY_INTEGER && reply->integer == 1) {
        held_until(l, l->asked_ns + ttl_ms(l) * 1000000);
        if (l->renew_again) renew(l);
    } else if (status == TL_OK) {
        lose(l, TL_LOCK_LOST, "the lease is not held any more");
    } else { /* until it expires there is time to try again */
        set_alarm(l, &l->renewal, ms_later(l, ttl_ms(l) / RENEW_SOON_PART));
    }
}

static void renew(struct lease *l)
{
    l->renew_again = l->cmd_open;
    if (l->cmd_open) return;
    struct tl_str args[] = {TL_STR("1"), tl_str(l->keys[0]), tl_str(l->owner), tl_str(l->ttl)};
    if (send_script(l, TL_LOCK_RENEW, args, TL_COUNT(args), on_renewed, NULL) != TL_OK)
        set_alarm(l, &l->renewal, ms_later(l, ttl_ms(l) / RENEW_SOON_PART));
}

static void on_renewal(struct tl_alarm *a)
{
    struct lease *l = LEASE_OF(a, renewal);
    bool renews = !l->op->in_progress || l->op->in_progress(l->op);
    if (l->phase != LEASE_HELD) return; /* released by what was asked */
    if (renews)
        renew(l);
    else
        set_alarm(l, &l->renewal, ms_later(l, around(l, ttl_ms(l) / 3)));
}

static void on_expiry(struct tl_alarm *a)
{
    lose(LEASE_OF(a, expiry), TL_LOCK_LOST, "the lease could not be renewed in time");
}

void tl_lease_renew(struct tl_lease *op)
{
    struct lease *l = op->state;
    if (l && l->phase == LEASE_HELD) renew(l);
}

uint64_t tl_lease_left_ms(const struct tl_lease *op)
{
    const struct lease *l = op->state;
    if (!l || l->phase != LEASE_HELD) return 0;
    uint64_t now = tl_locks_now_ns(l->locks);
    return l->until_ns > now ? (l->until_ns - now) / 1000000 : 0;
}

/* ---- releasing ---- */

static void on_released(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                        const struct tl_err *err)
{
    struct lease *l = cmd->user;
    l->cmd_open = false;
    if (!l->op) {
        drop(l->locks, l);
        return;
    }
    if (l->phase == LEASE_OVER) return;
    if (status != TL_OK)
        l->op->err = *err;
    else if (reply->type != TL_REPLY_INTEGER || reply->integer != 1)
        status = fail_op(l, TL_LOCK_LOST, "the lease was not held any more");
    end(l->locks, l, status);
}

/* Once a renewal that was under way has ended. */
static void send_release(struct tl_soon *s)
{
    struct lease *l = LEASE_OF(s, soon);
    struct tl_str args[] = {TL_STR("2"), tl_str(l->keys[0]), tl_str(l->keys[2]), tl_str(l->owner),
                            tl_str(l->locks->channel)};
    struct tl_err err;
    enum tl_status st = send_script(l, TL_LOCK_RELEASE, args, TL_COUNT(args), on_released, &err);
    if (st == TL_OK) return;
    l->op->err = err;
    end(l->locks, l, st);
}

enum tl_status tl_lease_release(struct tl_lease *op, tl_lease_cb *cb, struct tl_err *err)
{
    struct lease *l = op->state;
    if (!l || l->phase != LEASE_HELD) return tl_fail(err, TL_LOCK_LOST, "the lease is not held");
    clear_alarms(l);
    l->phase = LEASE_RELEASING;
    l->cb = cb;
    l->soon.call = send_release;
    if (!l->cmd_open) tl_soon_call(l->locks->alarms, &l->soon);
    return TL_OK;
}

/* ---- beginning, and ending all ---- */

void tl_lease_cancel(struct tl_lease *op)
{
    struct lease *l = op->state;
    if (!l || l->phase > LEASE_WAITING) return;
    if (l->phase != LEASE_QUEUED && !l->resumes) tl_lease_part(l); /* behind the question, in order */
    end_soon(l, fail_op(l, TL_CANCELLED, "cancelled"));
}

void tl_lease_end_all(struct tl_locks *c)
{
    for (struct lease *l = c->leases; l; l = l->next_all) {
        if (!l->op || l->phase == LEASE_OVER) continue;
        bool anothers = l->resumes && l->phase == LEASE_ASKING;
        if (l->phase != LEASE_QUEUED && !anothers) tl_lease_part(l);
        if (l->phase == LEASE_HELD) l->cb = NULL;
        end_soon(l, fail_op(l, TL_CANCELLED, "the locks are being closed"));
    }
}

void tl_lease_owner(const struct tl_lease *op, char out[TL_LEASE_OWNER_MAX])
{
    const struct lease *l = op->state;
    const char *owner = l && l->phase == LEASE_HELD ? l->owner : "";
    const char *nonce = strchr(owner, ':'), *token = nonce ? strchr(nonce + 1, ':') : NULL;
    snprintf(out, TL_LEASE_OWNER_MAX, "%.*s", (int)(token ? token - owner : (ptrdiff_t)strlen(owner)), owner);
}

void tl_lease_forget(struct tl_lease *op)
{
    struct lease *l = op->state;
    if (!l || l->phase != LEASE_HELD) return;
    struct tl_locks *c = l->locks;
    drop(c, l);
    tl_locks_ended(c);
}

static enum tl_status lease_new(struct tl_locks *c, struct tl_lease *op, const char *name, tl_lease_cb *cb,
                                struct lease **out, struct tl_err *err)
{
    size_t n = name ? strlen(name) : 0;
    if (c->closing) return tl_fail(err, TL_CANCELLED, "the locks are being closed");
    if (n == 0 || n > TL_LEASE_NAME_MAX)
        return tl_fail(err, TL_INVALID, "a lease's name has 1 to %d bytes", TL_LEASE_NAME_MAX);
    if (op->ttl_ms && (op->ttl_ms < TL_LEASE_TTL_MIN_MS || op->ttl_ms > TL_LEASE_TTL_MAX_MS))
        return tl_fail(err, TL_INVALID, "a lease lasts %d to %d ms, not %u", TL_LEASE_TTL_MIN_MS, TL_LEASE_TTL_MAX_MS,
                       op->ttl_ms);
    struct lease *l = tl_calloc(1, sizeof *l);
    if (!l) return tl_fail(err, TL_NOMEM, "no memory for a lease");
    l->locks = c;
    l->op = op;
    l->cb = cb;
    tl_locks_key(c, "lock:", name, l->keys[0]);
    tl_locks_key(c, "fence:", name, l->keys[1]);
    tl_locks_key(c, "wait:", name, l->keys[2]);
    snprintf(l->ttl, sizeof l->ttl, "%" PRIu64, ttl_ms(l));
    l->deadline.ring = on_deadline;
    l->again.ring = on_again;
    l->renewal.ring = on_renewal;
    l->expiry.ring = on_expiry;
    *out = l;
    return TL_OK;
}

static void link_lease(struct lease *l)
{
    struct tl_locks *c = l->locks;
    l->next_all = c->leases;
    if (c->leases) c->leases->prev_all = l;
    c->leases = l;
    c->n_ops++;
    l->op->state = l;
    l->op->err = (struct tl_err){.status = TL_OK};
}

enum tl_status tl_lease_acquire(struct tl_locks *c, struct tl_lease *op, const char *name, tl_lease_cb *cb,
                                struct tl_err *err)
{
    struct lease *l;
    enum tl_status st = lease_new(c, op, name, cb, &l, err);
    if (st != TL_OK) return st;
    snprintf(l->owner, sizeof l->owner, "%s%" PRIx64, c->instance_text, ++c->nonce);
    if (op->wait_ms) st = tl_alarm_set(c->alarms, &l->deadline, ms_later(l, op->wait_ms));
    /* The place of the expiry is kept from the beginning: it is what a holder relies on. */
    if (st == TL_OK) st = tl_alarm_set(c->alarms, &l->expiry, UINT64_MAX);
    if (st == TL_OK && op->wait_ms) st = join_queue(l, name); /* who does not wait is behind nobody */
    if (st != TL_OK) {
        clear_alarms(l);
        free(l);
        return tl_fail(err, st, "no memory for a lease");
    }
    link_lease(l);
    op->token = 0;
    ask(l);
    return TL_OK;
}

/* ---- taking one up ---- */

static void on_resumed(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                       const struct tl_err *err)
{
    struct lease *l = cmd->user;
    l->cmd_open = false;
    if (!l->op) {
        drop(l->locks, l);
    } else if (l->phase == LEASE_OVER) {
        return;
    } else if (status != TL_OK) {
        l->op->err = *err;
        end(l->locks, l, status);
    } else if (reply->type != TL_REPLY_INTEGER || reply->integer != 1) {
        end(l->locks, l, fail_op(l, TL_LOCK_LOST, "the lease is not held any more"));
    } else {
        l->phase = LEASE_HELD;
        held_until(l, l->asked_ns + ttl_ms(l) * 1000000);
        l->cb(l->op, TL_OK);
    }
}

/* instance:nonce, and not a part of it: the beginning of an owner is the beginning of others, too. */
static bool is_owner(const char *text)
{
    static const char hex[] = "0123456789abcdef";
    size_t instance = strspn(text, hex);
    if (instance != 16 || text[instance] != ':') return false;
    size_t nonce = strspn(text + instance + 1, hex);
    return nonce > 0 && nonce <= 16 && text[instance + 1 + nonce] == '\0';
}

enum tl_status tl_lease_resume(struct tl_locks *c, struct tl_lease *op, const char *name, const char *owner,
                               tl_lease_cb *cb, struct tl_err *err)
{
    struct lease *l;
    op->wait_ms = 0;
    enum tl_status st = lease_new(c, op, name, cb, &l, err);
    if (st != TL_OK) return st;
    if (!is_owner(owner)) {
        free(l);
        return tl_fail(err, TL_INVALID, "this is no owner of a lease");
    }
    snprintf(l->owner, sizeof l->owner, "%s:%" PRIu64, owner, op->token);
    l->resumes = true;
    st = tl_alarm_set(c->alarms, &l->expiry, UINT64_MAX);
    if (st != TL_OK) {
        free(l);
        return tl_fail(err, st, "no memory for a lease");
    }
    link_lease(l);
    l->phase = LEASE_ASKING;
    struct tl_str args[] = {TL_STR("1"), tl_str(l->keys[0]), tl_str(l->owner), tl_str(l->ttl)};
    st = send_script(l, TL_LOCK_RENEW, args, TL_COUNT(args), on_resumed, &op->err);
    if (st != TL_OK) end_soon(l, st);
    return TL_OK;
}
