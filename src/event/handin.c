/* SPDX-License-Identifier: Apache-2.0 */
/* A task's queue to Redis. The lifecycle events of the term are kept, in order, also when Redis has them:
 *
 *   kept:  0 .. acked -- Redis has them | acked .. sent -- handed in, not answered | sent .. n -- to be handed in
 *
 * and of the states the newest. Hand-ins go out in the order of positions, up to IN_FLIGHT at once; the script takes
 * each only behind the one before it. When one fails, the attempt is over (`round`): what was not answered goes out
 * again, and what Redis has already it says so. When Redis does not have what it should (it was emptied, or is an older
 * one), the term is claimed anew, which tells what it has, and everything after that is handed in again. Who is fenced
 * hands in nothing any more. */
#include "event/bus_i.h"

#include "base/err.h"
#include "base/failpoint.h"
#include "base/util.h"

#include <inttypes.h>
#include <stdio.h>

enum { AGAIN_MIN_MS = 20, AGAIN_MAX_MS = 1000, TURN_MS = 20 };

struct claim { /* TERM and INDEX, one of each at a time */
    struct tl_redis_cmd term, index;
    struct tl_str term_argv[8], index_argv[6];
    char epoch[24], started[24], ttl[16], max[16];
};

struct handin {
    struct tl_task *task;
    struct tl_redis_cmd cmd;
    struct tl_str argv[14];
    char epoch[24], seq[24], after[TL_POSITION_MAX], expected[TL_POSITION_MAX], entries[24], ttl[16];
    struct tl_event *event; /* [ref] */
    unsigned round;
};

/* ---- the books ---- */

static void set_acked(struct tl_task *k, size_t acked)
{
    struct tl_bus *b = k->bus;
    for (size_t i = k->acked; i < acked; i++) b->queued_bytes -= event_bytes(ring_at(&k->kept, i));
    for (size_t i = acked; i < k->acked; i++) b->queued_bytes += event_bytes(ring_at(&k->kept, i));
    b->queued += k->acked;
    b->queued -= acked;
    k->acked = acked;
}

/* Anew: a ring that was cleared has taken its own sum with it. */
static void count_queued_bytes(struct tl_bus *b)
{
    b->queued_bytes = 0;
    for (struct tl_task *k = b->terms; k; k = k->next)
        for (size_t i = k->acked; i < k->kept.n; i++) b->queued_bytes += event_bytes(ring_at(&k->kept, i));
}

static void rewind_to_acked(struct tl_task *k)
{
    k->round++;
    k->sent = k->acked;
    k->sent_life = k->acked_life;
}

/* Everything kept is given up. */
static void drop_kept(struct tl_task *k)
{
    if (k->kept.n) set_acked(k, k->kept.n);
    ring_clear(&k->kept);
    k->acked = k->sent = 0;
    k->round++;
}

void handin_release(struct tl_task *k)
{
    struct tl_bus *b = k->bus;
    drop_kept(k);
    tl_event_unref(k->state);
    k->state = NULL;
    tl_alarm_clear(b->alarms, &k->again);
    tl_alarm_clear(b->alarms, &k->claim_deadline);
    if (!k->claim_open && !k->index_open) {
        free(k->claim);
        k->claim = NULL;
    }
}

bool handin_done(const struct tl_task *k)
{
    return k->acked == k->kept.n && !k->state && k->open == 0;
}

/* An earlier term of this process that has something left to hand in goes first. */
static bool older_pending(const struct tl_task *k)
{
    for (const struct tl_task *o = k->next; o; o = o->next)
        if (o->topic == k->topic && o->phase != TASK_FENCED && (o->n_early || o->ending || !handin_done(o)))
            return true;
    return false;
}

static void later(struct tl_task *k)
{
    uint64_t ms = TL_MIN((uint64_t)AGAIN_MIN_MS << TL_MIN(k->failures, 6u), (uint64_t)AGAIN_MAX_MS);
    k->failures++;
    bus_alarm(k->bus, &k->again, ms);
}

static void on_again(struct tl_alarm *a)
{
    struct tl_task *k = CONTAINER(a, struct tl_task, again);
    if (k->claimed)
        handin_pump(k);
    else
        handin_claim(k);
}

/* ---- claiming the term ---- */

/* Events of an earlier term were not seen here. */
static void missed(struct tl_task *k)
{
    k->bus->stats.lost++;
    deliver_snapshot(k->topic);
}

static void on_claim_deadline(struct tl_alarm *a)
{
    struct tl_task *k = CONTAINER(a, struct tl_task, claim_deadline);
    if (k->phase == TASK_CATCHING) missed(k);
    if (k->phase == TASK_CLAIMING) k->epoch_ms = TL_MAX(k->epoch_ms, k->topic->last.epoch_ms + 1);
    if (k->phase == TASK_CLAIMING || k->phase == TASK_CATCHING) task_opened(k); /* CLAIMING: our own epoch */
}

static void on_indexed(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                       const struct tl_err *err)
{
    struct tl_task *k = cmd->user;
    (void)status; /* a lost one: the task is found by its events, and the next claim puts it in again */
    (void)reply;
    (void)err;
    k->bus->commands--;
    k->index_open = false;
    task_check(k);
}

/* The index has another slot: a call of its own. */
static void put_in_index(struct tl_task *k)
{
    struct claim *c = k->claim;
    struct tl_bus *b = k->bus;
    if (!c || k->index_open) return;
    snprintf(c->max, sizeof c->max, "%u", b->tasks_max);
    struct tl_str argv[] = {TL_STR("1"),        tl_str(b->index_key), tl_str(k->id),
                            tl_str(c->started), tl_str(c->max),       tl_str(c->ttl)};
    memcpy(c->index_argv, argv, sizeof argv);
    c->index = (struct tl_redis_cmd){.argv = c->index_argv, .argc = TL_COUNT(argv), .cb = on_indexed, .user = k};
    if (tl_redis_eval(b->redis, &c->index, SCRIPT_INDEX, b->timeout_ms, NULL) != TL_OK) return;
    b->commands++;
    k->index_open = true;
}

/* Redis has nothing of this term beyond `life`. */
static void resume_after(struct tl_task *k, struct tl_position life)
{
    bool ours = life.epoch_ms == k->epoch_ms;
    size_t acked = ours ? ring_after(&k->kept, life) : 0;
    if (!ours && tl_position_cmp(life, k->kept_after) > 0 && life.epoch_ms < k->epoch_ms) k->kept_after = life;
    if (acked < k->acked) {
        k->bus->stats.replayed += k->acked - acked;
        tl_log(k->bus->log, TL_LOG_INFO, "event", "redis has lost events, handing in again", "task=%s events=%zu",
               k->id, k->acked - acked);
    }
    set_acked(k, acked);
    k->acked_life = life;
    rewind_to_acked(k);
    k->claimed = true;
    k->failures = 0;
}

/* The first claim: the epoch, and what was before it. Subscribers here get what they miss of it first. */
static void begin_term(struct tl_task *k, int64_t epoch_ms, struct tl_position life, struct tl_position position)
{
    struct topic *t = k->topic;
    k->epoch_ms = epoch_ms;
    if (tl_position_cmp(life, k->before) > 0) k->before = life;
    k->kept_after = k->before;
    resume_after(k, life);
    bool behind = tl_position_cmp(position, t->last) > 0;
    if (behind && deliver_anybody_live(t)) {
        k->phase = TASK_CATCHING;
        read_begin(t);
        return;
    }
    if (behind) {
        topic_learn(t, NULL, position, life);
        topic_restart_ring(t, position);
    }
    tl_alarm_clear(k->bus->alarms, &k->claim_deadline);
    task_opened(k);
}

static bool claim_reply(const struct tl_reply *r, int64_t *epoch, struct tl_position *life,
                        struct tl_position *position)
{
    for (size_t i = 1; i < 4; i++)
        if (r->n != 4 || r->items[i]->type != TL_REPLY_STRING) return false;
    return tl_str_to_i64(r->items[1]->str, epoch) && tl_position_parse(r->items[2]->str, life) &&
           tl_position_parse(r->items[3]->str, position);
}

/* What a failed claim was for is asked for again, if there is anything left: who lingers is claimed by handin_watch. */
static void claim_later(struct tl_task *k)
{
    if (k->gone && !k->n_early && !k->ending && handin_done(k))
        task_check(k);
    else
        later(k);
}

static void on_claimed(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                       const struct tl_err *err)
{
    struct tl_task *k = cmd->user;
    struct tl_bus *b = k->bus;
    struct tl_position life, position;
    int64_t epoch;
    b->commands--;
    k->claim_open = false;
    TL_FAILPOINT("event.claimed");
    if (b->ending || k->phase == TASK_FENCED) {
        task_check(k);
    } else if (status != TL_OK || reply->type != TL_REPLY_ARRAY || reply->n == 0) {
        tl_log(b->log, TL_LOG_DEBUG, "event", "term not claimed", "task=%s why=\"%s\"", k->id, err ? err->text : "");
        claim_later(k);
    } else if (reply->items[0]->integer == 0) {
        task_fence(k);
    } else if (!claim_reply(reply, &epoch, &life, &position)) {
        claim_later(k);
    } else {
        if (!k->claimed) put_in_index(k);
        if (k->phase == TASK_CLAIMING && epoch <= k->topic->last.epoch_ms) {
            k->floor_ms = k->topic->last.epoch_ms + 1; /* Redis was emptied, and its clock is behind */
            handin_claim(k);
        } else if (k->phase == TASK_CLAIMING) {
            begin_term(k, epoch, life, position);
        } else if (epoch != k->epoch_ms) { /* the answer to the first one came late: ours stands */
            claim_later(k);
        } else {
            if (life.epoch_ms < k->epoch_ms && tl_position_cmp(life, k->before) > 0) {
                k->before = life;
                missed(k);
            }
            resume_after(k, life);
            handin_pump(k);
            if (handin_done(k)) task_check(k);
        }
    }
}

void handin_claim(struct tl_task *k)
{
    struct tl_bus *b = k->bus;
    if (k->claim_open || k->phase == TASK_FENCED || b->ending) return;
    if (!k->claim) {
        k->claim = tl_calloc(1, sizeof *k->claim);
        k->again.ring = on_again;
        k->claim_deadline.ring = on_claim_deadline;
        snprintf(k->owner, sizeof k->owner, "%016" PRIx64 ":%" PRIx64, b->instance, ++b->nonce);
        remote_keys(b, k->topic->name, k->keys[0], k->keys[1]);
        bus_alarm(b, &k->claim_deadline, b->timeout_ms);
    }
    if (!k->claim || older_pending(k)) {
        bus_alarm(b, &k->again, TURN_MS);
        return;
    }
    struct claim *c = k->claim;
    snprintf(c->epoch, sizeof c->epoch, "%" PRId64, k->phase == TASK_CLAIMING ? k->floor_ms : k->epoch_ms);
    snprintf(c->started, sizeof c->started, "%" PRId64, k->started_ms);
    snprintf(c->ttl, sizeof c->ttl, "%d", KEYS_MS);
    struct tl_str argv[] = {TL_STR("2"),      tl_str(k->keys[0]), tl_str(k->keys[1]), tl_str(k->owner),
                            tl_str(c->epoch), tl_str(k->name),    tl_str(c->started), tl_str(c->ttl)};
    memcpy(c->term_argv, argv, sizeof argv);
    c->term = (struct tl_redis_cmd){.argv = c->term_argv, .argc = TL_COUNT(argv), .cb = on_claimed, .user = k};
    if (tl_redis_eval(b->redis, &c->term, SCRIPT_TERM, b->timeout_ms, NULL) != TL_OK) {
        later(k);
        return;
    }
    b->commands++;
    k->claim_open = true;
}

/* ---- handing in ---- */

/* A state that did not arrive is still the newest, if no newer one has come. */
static void put_back(struct tl_task *k, struct tl_event *e)
{
    if (k->state && tl_position_cmp(k->state->position, e->position) > 0) return;
    tl_event_unref(k->state);
    k->state = tl_event_ref(e);
}

static void failed(struct tl_task *k, const struct handin *h)
{
    if (h->event->kind == TL_EVENT_STATE) put_back(k, h->event);
    if (h->round == k->round) rewind_to_acked(k);
}

static void on_answer(struct tl_task *k, struct handin *h, int64_t code)
{
    bool lifecycle = h->event->kind == TL_EVENT_LIFECYCLE;
    if (code > 0) {
        k->failures = 0;
        if (lifecycle && h->round == k->round) {
            k->acked_life = h->event->position;
            set_acked(k, k->acked + 1);
        }
        return;
    }
    if (code < 0) {
        task_fence(k);
        return;
    }
    failed(k, h);
    k->claimed = false;
    handin_claim(k);
}

static void on_handed(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                      const struct tl_err *err)
{
    struct handin *h = cmd->user;
    struct tl_task *k = h->task;
    struct tl_bus *b = k->bus;
    TL_FAILPOINT("event.handed");
    b->commands--;
    bool understood =
        status == TL_OK && reply->type == TL_REPLY_ARRAY && reply->n >= 1 && reply->items[0]->type == TL_REPLY_INTEGER;
    if (b->ending || k->phase == TASK_FENCED) {
        /* nothing counts any more */
    } else if (understood) {
        on_answer(k, h, reply->items[0]->integer);
    } else {
        failed(k, h);
        later(k);
        if (k->failures == 5)
            tl_log(b->log, TL_LOG_WARN, "event", "redis takes no events", "task=%s why=\"%s\"", k->id,
                   err ? err->text : "");
    }
    k->open--; /* only now: a callback may have let go of it */
    tl_event_unref(h->event);
    free(h);
    if (k->phase != TASK_FENCED && !b->ending) handin_pump(k);
    task_check(k);
}

static bool hand_in(struct tl_task *k, struct tl_event *e, struct tl_position after)
{
    struct tl_bus *b = k->bus;
    bool lifecycle = e->kind == TL_EVENT_LIFECYCLE;
    struct handin *h = tl_calloc(1, sizeof *h);
    if (!h) return false;
    TL_FAILPOINT("event.hand");
    h->task = k;
    h->round = k->round;
    h->event = tl_event_ref(e);
    snprintf(h->epoch, sizeof h->epoch, "%" PRId64, e->position.epoch_ms);
    snprintf(h->seq, sizeof h->seq, "%" PRIu64, e->position.seq);
    snprintf(h->entries, sizeof h->entries, "%zu", b->stream_events);
    snprintf(h->ttl, sizeof h->ttl, "%d", KEYS_MS);
    tl_position_format(after, h->after);
    tl_position_format(k->sent_life, h->expected);
    struct tl_str argv[] = {TL_STR("2"),
                            tl_str(k->keys[0]),
                            tl_str(k->keys[1]),
                            tl_str(k->owner),
                            tl_str(h->epoch),
                            tl_str(h->seq),
                            tl_str(h->after),
                            lifecycle ? TL_STR("L") : TL_STR("S"),
                            tl_event_type_bears_state(e->type) ? TL_STR("1") : TL_STR("0"),
                            {e->json, e->n},
                            tl_str(b->channels[lifecycle ? 1 : 0]),
                            tl_str(h->entries),
                            tl_str(h->ttl),
                            tl_str(h->expected)};
    memcpy(h->argv, argv, sizeof argv);
    h->cmd = (struct tl_redis_cmd){.argv = h->argv, .argc = TL_COUNT(argv), .cb = on_handed, .user = h};
    if (tl_redis_eval(b->redis, &h->cmd, SCRIPT_EVENT, b->timeout_ms, NULL) != TL_OK) {
        tl_event_unref(h->event);
        free(h);
        return false;
    }
    b->commands++;
    k->open++;
    return true;
}

void handin_pump(struct tl_task *k)
{
    struct tl_bus *b = k->bus;
    if (!k->claimed || k->phase == TASK_FENCED || k->again.at || !b->redis_up) return;
    while (k->open < IN_FLIGHT && (k->sent < k->kept.n || k->state)) {
        struct tl_event *life = k->sent < k->kept.n ? ring_at(&k->kept, k->sent) : NULL;
        bool state_first = k->state && (!life || tl_position_cmp(k->state->position, life->position) < 0);
        struct tl_event *e = state_first ? k->state : life;
        struct tl_position after = k->sent ? ring_at(&k->kept, k->sent - 1)->position : k->kept_after;
        if (!hand_in(k, e, after)) {
            later(k);
            return;
        }
        if (state_first) {
            tl_event_unref(k->state);
            k->state = NULL;
        } else {
            k->sent++;
            k->sent_life = life->position;
        }
    }
}

void handin_event(struct tl_task *k, struct tl_event *e)
{
    struct tl_bus *b = k->bus;
    if (e->kind == TL_EVENT_STATE) {
        tl_event_unref(k->state);
        k->state = tl_event_ref(e);
        handin_pump(k);
        return;
    }
    size_t n = k->kept.n;
    if (n == 0 && position_none(k->kept_after)) k->kept_after = k->before;
    size_t unacked = n - k->acked;
    ring_push(&k->kept, e);
    if (k->kept.n != n + 1) { /* out of memory: readers see by the chain that events are missing */
        b->stats.lost += unacked + 1;
        b->queued -= unacked;
        count_queued_bytes(b);
        k->acked = k->sent = 0;
        k->round++;
        k->kept_after = e->position;
        return;
    }
    b->queued++;
    b->queued_bytes += event_bytes(e);
    while ((k->kept.n > b->stream_events || k->kept.bytes > KEPT_BYTES) && k->acked > 0) {
        k->kept_after = ring_at(&k->kept, 0)->position;
        ring_pop(&k->kept);
        k->acked--;
        k->sent--;
    }
    handin_pump(k);
}

/* ---- Redis comes back, or was emptied without a word ---- */

void handin_up(struct tl_bus *b)
{
    for (struct tl_task *k = b->terms; k; k = k->next) {
        k->claimed = false;
        k->failures = 0;
        tl_alarm_clear(b->alarms, &k->again);
        handin_claim(k);
    }
}

void handin_watch(struct tl_bus *b)
{
    int64_t now = bus_now_ms(b);
    size_t lingering = 0;
    for (struct tl_task *k = b->terms, *next; k; k = next) {
        next = k->next;
        if (!k->gone || !k->ended || !handin_done(k) || k->claim_open || k->phase == TASK_FENCED) continue;
        if (++lingering > LINGER_MAX) k->gone_ms = now - LINGER_MS - 1; /* the newest come first */
        if (now - k->gone_ms > LINGER_MS)
            task_check(k);
        else if (b->redis_up && now - k->gone_ms < LINGER_WATCH_MS)
            handin_claim(k);
    }
}
