/* SPDX-License-Identifier: Apache-2.0 */
/* Asking for the events of a task: from memory where it reaches back that far, else from Redis (lifecycle events), else
 * from the archive. An op is in exactly one of these places, and ends once, from the loop.
 *
 *   soon --memory has it--> end
 *    '--> Redis, page by page --> end
 *           '--> archive --> end, with what memory has when the archive has nothing
 */
#include "event/bus_i.h"

#include "base/err.h"
#include "base/util.h"

#include <inttypes.h>
#include <stdio.h>

struct tl_history_op {
    struct tl_bus *bus;
    struct tl_history *op;
    char topic[TL_TOPIC_MAX + 1], keys[2][TASK_KEY_MAX], since_text[TL_POSITION_MAX + 1], count_text[24];
    struct tl_position since, at; /* at: read up to there */
    size_t max, cap;
    bool gap; /* something between was missing */
    struct tl_alarm deadline;
    struct tl_soon soon;
    struct tl_redis_cmd cmd;
    struct tl_str argv[5];
    struct archive_ask archive;
    bool cmd_open, over; /* over: it has ended, a command is still under way */
    struct tl_history_op *prev, *next;
};

static void release(struct tl_history_op *h)
{
    struct tl_bus *b = h->bus;
    if (h->prev)
        h->prev->next = h->next;
    else
        b->histories = h->next;
    if (h->next) h->next->prev = h->prev;
    tl_alarm_clear(b->alarms, &h->deadline);
    tl_soon_cancel(b->alarms, &h->soon);
    free(h);
    bus_check_closed(b);
}

static void drop_events(struct tl_history *op)
{
    for (size_t i = 0; i < op->n; i++) tl_event_unref(op->events[i]);
    free(op->events);
    op->events = NULL;
    op->n = 0;
}

static void end(struct tl_history_op *h, enum tl_status status)
{
    struct tl_history *op = h->op;
    h->over = true;
    op->state = NULL;
    op->complete = status == TL_OK && !h->gap;
    if (status != TL_OK) drop_events(op);
    tl_alarm_clear(h->bus->alarms, &h->deadline);
    if (!h->cmd_open && !h->archive.state) release(h);
    op->cb(op, status);
}

/* Takes a ref. false: memory is out. */
static bool add(struct tl_history_op *h, struct tl_event *e)
{
    if (h->op->n == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : 64;
        struct tl_event **events = tl_realloc(h->op->events, cap, sizeof(struct tl_event *));
        if (!events) return false;
        h->op->events = events;
        h->cap = cap;
    }
    h->op->events[h->op->n++] = tl_event_ref(e);
    return true;
}

static void from_memory(struct tl_history_op *h)
{
    struct topic *t = topic_find(h->bus, h->topic);
    if (!t || !t->known) {
        end(h, TL_NOT_FOUND);
        return;
    }
    h->gap = tl_position_cmp(h->since, t->ring_from) < 0;
    for (size_t i = ring_after(&t->ring, h->since); i < t->ring.n && h->op->n < h->max; i++) {
        if (add(h, ring_at(&t->ring, i))) continue;
        end(h, TL_NOMEM);
        return;
    }
    end(h, TL_OK);
}

static void on_archive(struct archive_ask *ask, enum tl_status status, struct tl_event **events, size_t n,
                       bool complete)
{
    struct tl_history_op *h = CONTAINER(ask, struct tl_history_op, archive);
    bool enough = true;
    for (size_t i = 0; i < n; i++) {
        bool wanted = !h->over && tl_position_cmp(events[i]->position, h->since) > 0 && h->op->n < h->max;
        if (wanted) enough = enough && add(h, events[i]);
    }
    /* Without a beginning, what comes first may not be the next one. */
    h->gap = !complete && (n == 0 || tl_position_cmp(events[0]->position, h->since) > 0);
    for (size_t i = 0; i < n; i++) tl_event_unref(events[i]);
    free(events);
    if (h->over)
        release(h);
    else if (!enough)
        end(h, TL_NOMEM);
    else if (status == TL_OK)
        end(h, TL_OK);
    else
        from_memory(h);
}

static void ask_archive(struct tl_history_op *h)
{
    struct topic *t = topic_find(h->bus, h->topic);
    bool covered = t && t->known && tl_position_cmp(h->since, t->ring_from) >= 0;
    h->archive.cb = on_archive;
    if (covered || archive_events(h->bus, &h->archive, h->topic) != TL_OK) from_memory(h);
}

/* ---- Redis ---- */

static void ask_redis(struct tl_history_op *h);

/* true: there is more to ask for. */
static bool take_page(struct tl_history_op *h, const struct page *p)
{
    if (p->damaged) h->gap = true;
    for (size_t i = 0; i < p->n && h->op->n < h->max; i++) {
        if (h->op->n == 0 && tl_position_cmp(p->after[i], h->since) > 0) h->gap = true;
        if (!add(h, p->events[i])) {
            h->gap = true;
            return false;
        }
    }
    bool none = p->n == 0 && h->op->n == 0;
    if (none && tl_position_cmp(p->life, h->since) > 0) h->gap = true;
    h->at = p->end;
    return p->more && h->op->n < h->max;
}

static void on_page(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                    const struct tl_err *err)
{
    struct tl_history_op *h = cmd->user;
    struct tl_bus *b = h->bus;
    struct page p = {.there = false};
    (void)err;
    b->commands--;
    h->cmd_open = false;
    if (h->over) {
        release(h);
        return;
    }
    if (status == TL_OK) status = page_parse(reply, h->topic, &p, strtoul(h->count_text, NULL, 10));
    if (status == TL_OK && p.there) {
        if (take_page(h, &p))
            ask_redis(h);
        else
            end(h, TL_OK);
    } else if (h->op->n) {
        end(h, status == TL_OK ? TL_IO : status); /* lost in the middle */
    } else {
        ask_archive(h);
    }
    page_release(&p);
    bus_check_closed(b);
}

static void ask_redis(struct tl_history_op *h)
{
    char position[TL_POSITION_MAX];
    tl_position_format(h->at, position);
    snprintf(h->since_text, sizeof h->since_text, "(%s", position);
    snprintf(h->count_text, sizeof h->count_text, "%zu", TL_MIN(h->max - h->op->n, (size_t)READ_PAGE));
    struct tl_str argv[] = {TL_STR("2"), tl_str(h->keys[0]), tl_str(h->keys[1]), tl_str(h->since_text),
                            tl_str(h->count_text)};
    memcpy(h->argv, argv, sizeof argv);
    h->cmd = (struct tl_redis_cmd){.argv = h->argv, .argc = TL_COUNT(argv), .cb = on_page, .user = h};
    if (tl_redis_eval(h->bus->redis, &h->cmd, SCRIPT_READ, h->bus->timeout_ms, NULL) != TL_OK) {
        if (h->op->n)
            end(h, TL_IO);
        else
            ask_archive(h);
        return;
    }
    h->bus->stats.stream_reads++;
    h->bus->commands++;
    h->cmd_open = true;
}

static void on_soon(struct tl_soon *s)
{
    struct tl_history_op *h = CONTAINER(s, struct tl_history_op, soon);
    struct tl_bus *b = h->bus;
    struct topic *t = topic_find(b, h->topic);
    bool in_step = t && t->known && (t->task || t->synced || !b->redis);
    if (in_step && tl_position_cmp(h->since, t->ring_from) >= 0)
        from_memory(h);
    else if (b->redis)
        ask_redis(h);
    else
        ask_archive(h);
}

static void on_deadline(struct tl_alarm *a)
{
    end(CONTAINER(a, struct tl_history_op, deadline), TL_TIMEOUT);
}

enum tl_status tl_bus_history(struct tl_bus *b, struct tl_history *op, const char *topic, struct tl_position since,
                              size_t max, uint64_t deadline_ms, struct tl_err *err)
{
    if (b->closing) return tl_fail(err, TL_CANCELLED, "the bus is being closed");
    if (strncmp(topic, "task/", 5) != 0 || !task_id_ok(topic + 5))
        return tl_fail(err, TL_INVALID, "topic \"%.120s\" keeps no events", topic);
    if (max == 0 || deadline_ms == 0) return tl_fail(err, TL_INVALID, "a history of no events, or no time");
    struct tl_history_op *h = tl_calloc(1, sizeof *h);
    if (!h) return tl_fail(err, TL_NOMEM, "no memory for a history");
    *h = (struct tl_history_op){.bus = b,
                                .op = op,
                                .since = since,
                                .at = since,
                                .max = max,
                                .deadline.ring = on_deadline,
                                .soon.call = on_soon};
    snprintf(h->topic, sizeof h->topic, "%s", topic);
    remote_keys(b, topic, h->keys[0], h->keys[1]);
    if (tl_alarm_set(b->alarms, &h->deadline, bus_now_ns(b) + deadline_ms * UINT64_C(1000000)) != TL_OK) {
        free(h);
        return tl_fail(err, TL_NOMEM, "no memory for a history");
    }
    op->events = NULL;
    op->n = 0;
    op->complete = false;
    op->state = h;
    h->next = b->histories;
    if (b->histories) b->histories->prev = h;
    b->histories = h;
    tl_soon_call(b->alarms, &h->soon);
    return TL_OK;
}

void histories_end(struct tl_bus *b)
{
    for (struct tl_history_op *h = b->histories, *next; h; h = next) {
        next = h->next;
        tl_soon_cancel(b->alarms, &h->soon);
        if (!h->over) end(h, TL_CANCELLED);
    }
}

/* Those whose archive never answered: their owners were told before. */
void histories_free(struct tl_bus *b)
{
    while (b->histories) {
        struct tl_history_op *h = b->histories;
        TL_ASSERT(h->over && !h->cmd_open);
        b->histories = h->next;
        free(h);
    }
}
