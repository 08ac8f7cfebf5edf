/* SPDX-License-Identifier: Apache-2.0 */
/* The command connection. A command is in exactly one place: waiting (the connection is being set up), sent (its number
 * is its place among the answers to come), or ended (its cb comes in this or the next turn of the loop).
 *
 *   submit --up--> sent --answer--> cb
 *     |             | \--NOSCRIPT--> sent again as EVAL
 *     |             '--deadline, cancel, lost--> cb; its place stays and swallows the answer
 *     '--setting up--> waiting --up--> sent
 */
#include "redis/link.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

struct list {
    struct tl_redis_cmd *head, *tail;
};

struct tl_redis {
    struct tl_link link;
    struct tl_alarms *alarms;
    struct list waiting, ended;
    size_t waiting_bytes;
    struct tl_soon deliver; /* ended ones */
    /* What was sent: number n is at sent[n % cap]; NULL: nobody waits for that answer any more. */
    struct tl_redis_cmd **sent;
    size_t sent_cap;
    uint64_t first, next; /* numbers of the oldest unanswered and of the next to be sent */
    uint64_t shaking;     /* answers of the handshake still to come */
    uint64_t shaken;      /* answers of the handshake that came */
    struct tl_alarm silence;
    char sha[TL_REDIS_SCRIPTS_MAX][41];
    struct tl_redis_stats stats;
    bool closing;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

static uint64_t now_ns(const struct tl_redis *r)
{
    return tl_clock_mono_ns(r->link.opt.clock);
}

static void push(struct list *l, struct tl_redis_cmd *c)
{
    c->next = NULL;
    c->prev = l->tail;
    if (l->tail)
        l->tail->next = c;
    else
        l->head = c;
    l->tail = c;
}

static void take(struct list *l, struct tl_redis_cmd *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        l->head = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        l->tail = c->prev;
}

/* At most, encoded. */
static size_t bytes_of(const struct tl_redis *r, const struct tl_redis_cmd *c)
{
    size_t n = 64 + (c->script < 0 ? 0 : strlen(r->link.opt.scripts[c->script].text));
    for (size_t i = 0; i < c->argc; i++) n += c->argv[i].n + 16;
    return n;
}

static void take_waiting(struct tl_redis *r, struct tl_redis_cmd *c)
{
    take(&r->waiting, c);
    r->waiting_bytes -= bytes_of(r, c);
}

/* The command is nowhere from here on; cb may free it. */
static void end(struct tl_redis_cmd *c, enum tl_status status, const struct tl_reply *reply, const struct tl_err *err)
{
    struct tl_redis *r = c->redis;
    tl_alarm_clear(r->alarms, &c->deadline);
    c->redis = NULL;
    r->stats.pending--;
    if (status == TL_TIMEOUT) r->stats.timeouts++;
    if (status != TL_OK && status != TL_CANCELLED) r->stats.errors++;
    c->cb(c, status, reply, err);
}

static void end_with(struct tl_redis_cmd *c, enum tl_status status, const char *text)
{
    struct tl_err err;
    (void)tl_fail(&err, status, "%s", text);
    end(c, status, NULL, &err);
}

/* ---- what was sent ---- */

static struct tl_redis_cmd **place_of(struct tl_redis *r, uint64_t number)
{
    return &r->sent[number & (r->sent_cap - 1)];
}

static bool make_room(struct tl_redis *r)
{
    if (r->next - r->first < r->sent_cap) return true;
    size_t cap = r->sent_cap ? r->sent_cap * 2 : 256;
    struct tl_redis_cmd **sent = tl_calloc(cap, sizeof(struct tl_redis_cmd *));
    if (!sent) return false;
    for (uint64_t n = r->first; n < r->next; n++) sent[n & (cap - 1)] = *place_of(r, n);
    free(r->sent);
    r->sent = sent;
    r->sent_cap = cap;
    return true;
}

static void on_silence(struct tl_alarm *a)
{
    struct tl_redis *r = (struct tl_redis *)(void *)((char *)a - offsetof(struct tl_redis, silence));
    uint64_t due = r->link.last_read_ns + r->link.opt.silent_ms * UINT64_C(1000000);
    struct tl_err err;
    if (r->first == r->next || r->link.state != TL_LINK_UP) return;
    if (now_ns(r) < due) {
        (void)!tl_alarm_set(r->alarms, &r->silence, due); /* missed at worst: the next command sets it */
        return;
    }
    (void)tl_fail(&err, TL_TIMEOUT, "no answer for %u ms", r->link.opt.silent_ms);
    tl_link_give_up(&r->link, &err);
}

static void watch_silence(struct tl_redis *r)
{
    if (r->silence.at) return;
    (void)!tl_alarm_set(r->alarms, &r->silence, r->link.last_read_ns + r->link.opt.silent_ms * UINT64_C(1000000));
}

/* Room was made. */
static void send_command(struct tl_redis *r, struct tl_redis_cmd *c)
{
    if (r->first == r->next) r->link.last_read_ns = now_ns(r); /* silence begins where an answer is awaited */
    c->sent = true;
    c->number = r->next++;
    *place_of(r, c->number) = c;
    r->stats.commands++;
    if (c->script < 0) {
        tl_link_encode(&r->link, NULL, 0, c->argv, c->argc);
    } else if (c->reloaded || !r->sha[c->script][0]) {
        struct tl_str head[] = {TL_STR("EVAL"), tl_str(r->link.opt.scripts[c->script].text)};
        tl_link_encode(&r->link, head, 2, c->argv, c->argc);
    } else {
        struct tl_str head[] = {TL_STR("EVALSHA"), {r->sha[c->script], 40}};
        tl_link_encode(&r->link, head, 2, c->argv, c->argc);
    }
    watch_silence(r);
}

/* ---- handshake ---- */

static void send_word(struct tl_redis *r, const struct tl_str *argv, size_t argc)
{
    tl_link_encode(&r->link, NULL, 0, argv, argc);
    r->shaking++;
}

static void on_connected(struct tl_link *l)
{
    struct tl_redis *r = (struct tl_redis *)(void *)l;
    const struct tl_redis_address *a = &l->opt.address;
    char db[12];
    r->shaking = r->shaken = 0;
    if (a->password[0]) {
        struct tl_str with_user[] = {TL_STR("AUTH"), tl_str(a->user), tl_str(a->password)};
        struct tl_str alone[] = {TL_STR("AUTH"), tl_str(a->password)};
        send_word(r, a->user[0] ? with_user : alone, a->user[0] ? 3 : 2);
    }
    if (a->db) {
        snprintf(db, sizeof db, "%u", a->db);
        send_word(r, (struct tl_str[]){TL_STR("SELECT"), tl_str(db)}, 2);
    }
    if (l->opt.client_name)
        send_word(r, (struct tl_str[]){TL_STR("CLIENT"), TL_STR("SETNAME"), tl_str(l->opt.client_name)}, 3);
    for (size_t i = 0; i < l->opt.n_scripts; i++)
        send_word(r, (struct tl_str[]){TL_STR("SCRIPT"), TL_STR("LOAD"), tl_str(l->opt.scripts[i].text)}, 3);
    send_word(r, (struct tl_str[]){TL_STR("PING")}, 1); /* LOADING, NOAUTH show here at the latest */
}

/* A failing SETNAME or SCRIPT LOAD (the ACL may forbid them) is no reason to stay away: EVAL needs neither. */
static bool may_fail(const struct tl_redis *r)
{
    uint64_t sure = (r->link.opt.address.password[0] ? 1u : 0u) + (r->link.opt.address.db ? 1u : 0u);
    return r->shaken >= sure && r->shaken + 1 < r->shaking;
}

static void on_handshake_reply(struct tl_redis *r, const struct tl_reply *reply)
{
    struct tl_err err;
    uint64_t scripts_begin = r->shaking - 1 - r->link.opt.n_scripts;
    if (reply->type == TL_REPLY_ERROR && !may_fail(r)) {
        (void)tl_link_refused(&r->link, r->shaken == 0 && r->link.opt.address.password[0], reply->str, &err);
        tl_link_give_up(&r->link, &err);
        return;
    }
    if (r->shaken >= scripts_begin && r->shaken + 1 < r->shaking) {
        char *sha = r->sha[r->shaken - scripts_begin];
        bool is_sha = reply->type == TL_REPLY_STRING && reply->str.n == 40;
        memcpy(sha, is_sha ? reply->str.p : "", is_sha ? 40 : 1);
        sha[is_sha ? 40 : 0] = '\0';
    }
    if (++r->shaken < r->shaking) return;
    tl_link_up(&r->link);
    while (r->waiting.head && r->link.state == TL_LINK_UP) {
        struct tl_redis_cmd *c = r->waiting.head;
        take_waiting(r, c);
        if (make_room(r))
            send_command(r, c);
        else
            end_with(c, TL_NOMEM, "no memory for a command");
    }
    if (r->link.opt.on_state && r->link.state == TL_LINK_UP) r->link.opt.on_state(r->link.opt.ctx, true, NULL);
}

/* ---- answers ---- */

static void on_error_reply(struct tl_redis *r, struct tl_redis_cmd *c, const struct tl_reply *reply)
{
    struct tl_err err;
    bool no_script = reply->str.n >= 8 && memcmp(reply->str.p, "NOSCRIPT", 8) == 0;
    if (no_script && c->script >= 0 && !c->reloaded && make_room(r)) {
        r->stats.reloads++;
        c->reloaded = true;
        send_command(r, c);
        return;
    }
    struct tl_str inner = tl_reply_error_inner(reply->str);
    bool readonly = inner.n >= 9 && memcmp(inner.p, "READONLY ", 9) == 0;
    enum tl_status status = tl_fail(&err, tl_reply_error_status(reply->str), "%.*s", TL_STR_ARG(reply->str));
    end(c, status, NULL, &err);
    if (readonly && r->link.state == TL_LINK_UP)
        tl_link_give_up(&r->link, &err); /* another server may be the master now */
}

static void on_reply(struct tl_link *l, const struct tl_reply *reply)
{
    struct tl_redis *r = (struct tl_redis *)(void *)l;
    struct tl_err err;
    if (l->state == TL_LINK_SHAKING) {
        on_handshake_reply(r, reply);
        return;
    }
    if (r->first == r->next) {
        (void)tl_fail(&err, TL_PARSE, "the server answers what was not asked");
        tl_link_give_up(l, &err);
        return;
    }
    struct tl_redis_cmd *c = *place_of(r, r->first);
    *place_of(r, r->first++) = NULL;
    if (!c) return;
    if (reply->type == TL_REPLY_ERROR)
        on_error_reply(r, c, reply);
    else
        end(c, TL_OK, reply, NULL);
}

static void on_lost(struct tl_link *l, const struct tl_err *why, bool was_up)
{
    struct tl_redis *r = (struct tl_redis *)(void *)l;
    char text[sizeof why->text];
    snprintf(text, sizeof text, "%s: %.250s", was_up ? "connection lost" : "not connected", why->text);
    tl_alarm_clear(r->alarms, &r->silence);
    r->shaking = r->shaken = 0;
    /* Commands that callbacks submit from now on fail: only those that are here already end here. */
    uint64_t last = r->next;
    while (r->first < last) {
        struct tl_redis_cmd *c = *place_of(r, r->first);
        *place_of(r, r->first++) = NULL;
        if (c) end_with(c, TL_IO, text);
    }
    while (r->waiting.head) {
        struct tl_redis_cmd *c = r->waiting.head;
        take_waiting(r, c);
        end_with(c, was_up ? TL_IO : why->status == TL_DENIED ? TL_DENIED : TL_IO, text);
    }
    if (l->opt.on_state && !r->closing) l->opt.on_state(l->opt.ctx, false, why);
}

/* ---- ending from outside ---- */

static void deliver(struct tl_soon *soon)
{
    struct tl_redis *r = (struct tl_redis *)(void *)((char *)soon - offsetof(struct tl_redis, deliver));
    while (r->ended.head) {
        struct tl_redis_cmd *c = r->ended.head;
        take(&r->ended, c);
        end_with(c, TL_CANCELLED, "cancelled");
    }
}

/* Out of where it is, into `ended`; its place among the answers stays, empty. */
static void withdraw(struct tl_redis *r, struct tl_redis_cmd *c)
{
    if (c->sent)
        *place_of(r, c->number) = NULL;
    else
        take_waiting(r, c);
}

void tl_redis_cancel(struct tl_redis_cmd *c)
{
    struct tl_redis *r = c->redis;
    if (!r || c->cancelled) return;
    withdraw(r, c);
    c->cancelled = true;
    tl_alarm_clear(r->alarms, &c->deadline);
    push(&r->ended, c);
    tl_soon_call(r->alarms, &r->deliver);
}

static void on_deadline(struct tl_alarm *a)
{
    struct tl_redis_cmd *c = (struct tl_redis_cmd *)(void *)((char *)a - offsetof(struct tl_redis_cmd, deadline));
    withdraw(c->redis, c);
    end_with(c, TL_TIMEOUT, "no answer in time");
}

/* ---- submitting ---- */

static size_t queued_bytes(const struct tl_redis *r)
{
    return r->waiting_bytes + r->link.out.n - r->link.out_at;
}

static enum tl_status submit(struct tl_redis *r, struct tl_redis_cmd *c, uint64_t timeout_ms, struct tl_err *err)
{
    TL_ASSERT(timeout_ms >= 1 && c->argc >= 1);
    if (r->closing) return tl_fail(err, TL_CANCELLED, "the connection is being closed");
    if (r->link.state == TL_LINK_WAITING && r->link.tries > 0)
        return tl_fail(err, TL_IO, "not connected: %s", r->link.why);
    size_t bytes = bytes_of(r, c);
    if (bytes + queued_bytes(r) > r->link.opt.queue_bytes)
        return tl_fail(err, TL_FULL, "more than %zu bytes wait to be sent", r->link.opt.queue_bytes);
    if (!make_room(r)) return tl_fail(err, TL_NOMEM, "no memory for a command");
    c->deadline = (struct tl_alarm){.ring = on_deadline};
    c->sent = c->cancelled = c->reloaded = false;
    if (tl_alarm_set(r->alarms, &c->deadline, now_ns(r) + timeout_ms * 1000000) != TL_OK)
        return tl_fail(err, TL_NOMEM, "no memory for a command");
    c->redis = r;
    r->stats.pending++;
    if (r->link.state == TL_LINK_UP) {
        send_command(r, c);
        return TL_OK;
    }
    push(&r->waiting, c);
    r->waiting_bytes += bytes;
    return TL_OK;
}

enum tl_status tl_redis_submit(struct tl_redis *r, struct tl_redis_cmd *c, uint64_t timeout_ms, struct tl_err *err)
{
    c->script = -1;
    return submit(r, c, timeout_ms, err);
}

enum tl_status tl_redis_eval(struct tl_redis *r, struct tl_redis_cmd *c, size_t script, uint64_t timeout_ms,
                             struct tl_err *err)
{
    TL_ASSERT(script < r->link.opt.n_scripts);
    c->script = (int)script;
    return submit(r, c, timeout_ms, err);
}

/* ---- life ---- */

void tl_redis_options_fill(struct tl_redis_options *o)
{
    if (!o->connect_ms) o->connect_ms = 2000;
    if (!o->backoff_min_ms) o->backoff_min_ms = 50;
    if (!o->backoff_max_ms) o->backoff_max_ms = 5000;
    if (!o->silent_ms) o->silent_ms = 5000;
    if (!o->queue_bytes) o->queue_bytes = (size_t)64 << 20;
    if (!o->reply_bytes) o->reply_bytes = (size_t)64 << 20;
    if (!o->clock) o->clock = &tl_clock_system;
}

enum tl_status tl_redis_start(uv_loop_t *loop, const struct tl_redis_options *opt, struct tl_redis **out,
                              struct tl_err *err)
{
    TL_ASSERT(opt->n_scripts <= TL_REDIS_SCRIPTS_MAX);
    struct tl_redis *r = tl_calloc(1, sizeof *r);
    if (!r) return tl_fail(err, TL_NOMEM, "no memory for Redis");
    r->link.loop = loop;
    r->link.opt = *opt;
    tl_redis_options_fill(&r->link.opt);
    enum tl_status st = tl_alarms_start(loop, r->link.opt.clock, &r->alarms, err);
    if (st != TL_OK) {
        free(r);
        return st;
    }
    r->link.connected = on_connected;
    r->link.reply = on_reply;
    r->link.lost = on_lost;
    r->deliver.call = deliver;
    r->silence.ring = on_silence;
    tl_link_start(&r->link);
    *out = r;
    return TL_OK;
}

static void on_all_closed(void *ctx)
{
    struct tl_redis *r = ctx;
    void (*cb)(void *) = r->closed;
    void *cb_ctx = r->closed_ctx;
    free(r->sent);
    free(r);
    if (cb) cb(cb_ctx);
}

static void on_link_closed(struct tl_link *l)
{
    struct tl_redis *r = (struct tl_redis *)(void *)l;
    tl_soon_cancel(r->alarms, &r->deliver);
    deliver(&r->deliver);
    tl_alarm_clear(r->alarms, &r->silence);
    tl_alarms_close(r->alarms, on_all_closed, r);
}

void tl_redis_close(struct tl_redis *r, void (*cb)(void *ctx), void *ctx)
{
    if (r->closing) return;
    r->closing = true;
    r->closed = cb;
    r->closed_ctx = ctx;
    for (uint64_t n = r->first; n < r->next; n++) {
        struct tl_redis_cmd *c = *place_of(r, n);
        if (c) tl_redis_cancel(c);
    }
    while (r->waiting.head) tl_redis_cancel(r->waiting.head);
    tl_link_close(&r->link, on_link_closed);
}

bool tl_redis_up(const struct tl_redis *r)
{
    return r->link.state == TL_LINK_UP && !r->closing;
}

const char *tl_redis_why(const struct tl_redis *r)
{
    return r->link.why;
}

void tl_redis_stats(const struct tl_redis *r, struct tl_redis_stats *out)
{
    *out = r->stats;
    out->connects = r->link.connects;
    out->losses = r->link.losses;
    out->failed_connects = r->link.failed_connects;
    out->bytes_in = r->link.bytes_in;
    out->bytes_out = r->link.bytes_out;
    out->queued_bytes = queued_bytes(r);
}
