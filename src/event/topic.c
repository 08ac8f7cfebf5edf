/* SPDX-License-Identifier: Apache-2.0 */
/* Topics: what is known of each, and the events of a task that are kept in memory. Invariants: ring holds every event
 * that was accepted after ring_from, in order; last >= life; a topic in `topics` is in the list `all`; a topic is freed
 * only when nobody subscribes to it, nothing queued names it, no publisher or read has it, and it is not a known task.
 * Delivers nothing itself. */
#include "event/bus_i.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

/* ---- rings ---- */

size_t event_bytes(const struct tl_event *e)
{
    return sizeof *e + e->n + 64;
}

void ring_clear(struct ring *r)
{
    for (size_t i = 0; i < r->n; i++) tl_event_unref(ring_at(r, i));
    free(r->events);
    *r = (struct ring){.events = NULL};
}

void ring_pop(struct ring *r)
{
    struct tl_event *e = ring_at(r, 0);
    r->at = (r->at + 1) & (r->cap - 1);
    r->n--;
    r->bytes -= event_bytes(e);
    tl_event_unref(e);
}

static bool ring_grow(struct ring *r)
{
    size_t cap = r->cap ? r->cap * 2 : 16;
    struct tl_event **events = tl_calloc(cap, sizeof(struct tl_event *));
    if (!events) return false;
    for (size_t i = 0; i < r->n; i++) events[i] = ring_at(r, i);
    free(r->events);
    r->events = events;
    r->cap = cap;
    r->at = 0;
    return true;
}

void ring_push(struct ring *r, struct tl_event *e)
{
    if (r->n == r->cap && !ring_grow(r)) {
        ring_clear(r);
        return;
    }
    r->events[(r->at + r->n++) & (r->cap - 1)] = tl_event_ref(e);
    r->bytes += event_bytes(e);
}

size_t ring_after(const struct ring *r, struct tl_position p)
{
    size_t low = 0, high = r->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (tl_position_cmp(ring_at(r, mid)->position, p) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* ---- life of a topic ---- */

bool task_id_ok(const char *id)
{
    size_t n = id ? strlen(id) : 0;
    for (size_t i = 0; i < n; i++) {
        bool word = (id[i] >= 'a' && id[i] <= 'z') || (id[i] >= 'A' && id[i] <= 'Z') || (id[i] >= '0' && id[i] <= '9');
        if (!word && !strchr("._-", id[i])) return false;
    }
    return n >= 1 && n <= TASK_ID_MAX;
}

struct topic *topic_find(struct tl_bus *b, const char *name)
{
    void **slot = tl_map_get(b->topics, tl_str(name));
    return slot ? *slot : NULL;
}

static void on_retry(struct tl_alarm *a)
{
    read_begin(CONTAINER(a, struct topic, retry));
}

static void on_grace(struct tl_alarm *a)
{
    struct topic *t = CONTAINER(a, struct topic, grace);
    t->grace_over = true;
    read_begin(t);
}

struct topic *topic_make(struct tl_bus *b, enum topic_kind kind, const char *name)
{
    struct topic *t = topic_find(b, name);
    if (t) return t;
    t = tl_calloc(1, sizeof *t);
    void **slot = t ? tl_map_put(b->topics, tl_str(name), NULL) : NULL;
    if (!slot) {
        free(t);
        return NULL;
    }
    *slot = t;
    t->bus = b;
    t->kind = kind;
    snprintf(t->name, sizeof t->name, "%s", name);
    t->synced = !b->redis;
    t->retry.ring = on_retry;
    t->grace.ring = on_grace;
    t->info.progress.eta_ms = -1;
    if (kind == TOPIC_TASK) snprintf(t->info.id, sizeof t->info.id, "%s", name + strlen("task/"));
    t->next = b->all;
    if (b->all) b->all->prev = t;
    b->all = t;
    b->n_topics++;
    return t;
}

static bool in_use(const struct topic *t)
{
    return t->n_subs || t->holds || t->task || t->read;
}

void topic_free(struct topic *t)
{
    struct tl_bus *b = t->bus;
    TL_ASSERT(!in_use(t) && (t->prev ? t->prev->next == t : b->all == t) && t->next != t);
    (void)tl_map_remove(b->topics, tl_str(t->name));
    if (t->prev)
        t->prev->next = t->next;
    else
        b->all = t->next;
    if (t->next) t->next->prev = t->prev;
    b->n_topics--;
    b->n_known -= t->known;
    b->rings_bytes -= t->ring.bytes;
    tl_alarm_clear(b->alarms, &t->retry);
    tl_alarm_clear(b->alarms, &t->grace);
    remote_drop_backlog(t);
    ring_clear(&t->ring);
    tl_event_unref(t->state);
    free(t);
}

void topic_check(struct topic *t)
{
    if (in_use(t) || t == t->bus->tasks) return;
    if (!t->known || t->kind != TOPIC_TASK)
        topic_free(t);
    else if (t->bus->redis) /* whoever comes later reads Redis once */
        topic_restart_ring(t, t->last);
}

/* The one whose going costs least: the longest ended, else the longest unheard of. */
static struct topic *least_wanted(struct tl_bus *b)
{
    struct topic *least = NULL;
    struct tl_str name;
    void *topic;
    for (size_t i = 0; tl_map_next(b->topics, &i, &name, &topic);) {
        struct topic *t = topic;
        if (t->kind != TOPIC_TASK || !t->known || in_use(t)) continue;
        if (!least || (t->over != least->over ? t->over : t->info.updated_ms < least->info.updated_ms)) least = t;
    }
    return least;
}

void topic_trim_known(struct tl_bus *b)
{
    while (b->n_known > b->tasks_max) {
        struct topic *t = least_wanted(b);
        if (!t) return;
        topic_free(t);
    }
}

/* ---- what is known ---- */

bool topic_followed(const struct topic *t)
{
    return t->n_subs || t->task || (t->kind == TOPIC_TASK && t->bus->tasks->n_subs);
}

void topic_restart_ring(struct topic *t, struct tl_position p)
{
    t->bus->rings_bytes -= t->ring.bytes;
    ring_clear(&t->ring);
    t->ring_from = p;
}

static void drop_oldest(struct topic *t)
{
    t->ring_from = ring_at(&t->ring, 0)->position;
    t->bus->rings_bytes -= event_bytes(ring_at(&t->ring, 0));
    ring_pop(&t->ring);
}

/* The rings of tasks that nobody looks at give way. */
static void shed_rings(struct tl_bus *b, const struct topic *but)
{
    while (b->rings_bytes > RINGS_BYTES) {
        struct topic *least = NULL;
        for (struct topic *t = b->all; t; t = t->next) {
            if (t == but || !t->ring.n || t->n_subs || t->task) continue;
            if (!least || t->info.updated_ms < least->info.updated_ms) least = t;
        }
        if (!least) return;
        topic_restart_ring(least, least->last);
    }
}

static void keep(struct topic *t, struct tl_event *e)
{
    struct tl_bus *b = t->bus;
    if (b->redis && !t->n_subs && !t->task) {
        topic_restart_ring(t, e->position);
        return;
    }
    size_t before = t->ring.bytes;
    ring_push(&t->ring, e);
    b->rings_bytes += t->ring.bytes - before;
    if (!t->ring.n) t->ring_from = e->position; /* memory was out */
    while (t->ring.n > b->ring_events || (t->ring.bytes > b->ring_bytes && t->ring.n > 1)) drop_oldest(t);
    shed_rings(b, t);
}

void topic_extend_ring(struct topic *t, struct tl_position from, struct tl_event *const *events, size_t n)
{
    struct ring old = t->ring, merged = {.events = NULL};
    size_t i = 0, j = 0;
    if (tl_position_cmp(from, t->ring_from) >= 0) return;
    while (i < n || j < old.n) {
        struct tl_event *a = i < n ? events[i] : NULL, *b = j < old.n ? ring_at(&old, j) : NULL;
        int order = !a ? 1 : !b ? -1 : tl_position_cmp(a->position, b->position);
        size_t before = merged.n;
        ring_push(&merged, order <= 0 ? a : b);
        i += order <= 0;
        j += order >= 0;
        if (merged.n != before + 1) return; /* no memory: they stay apart */
    }
    t->bus->rings_bytes += merged.bytes - old.bytes;
    ring_clear(&t->ring);
    t->ring = merged;
    t->ring_from = from;
    while (t->ring.n > t->bus->ring_events || (t->ring.bytes > t->bus->ring_bytes && t->ring.n > 1)) drop_oldest(t);
}

static void learn_state(struct topic *t, struct tl_event *e)
{
    char id[TL_TOPIC_MAX + 1], name[72];
    struct tl_task_progress p;
    tl_event_ref(e);
    tl_event_unref(t->state);
    t->state = e;
    if (t->kind != TOPIC_TASK) return;
    if (tl_task_progress_parse(tl_event_data(e), id, name, &p, NULL) != TL_OK) return;
    t->info.progress = p;
    if (name[0]) snprintf(t->info.name, sizeof t->info.name, "%s", name);
}

static void learn_position(struct topic *t, struct tl_position last)
{
    struct tl_bus *b = t->bus;
    t->last = t->info.position = last;
    if (t->known || position_none(last)) return;
    t->known = true;
    b->n_known++;
    t->holds++; /* not this one */
    topic_trim_known(b);
    t->holds--;
}

static void learn_times(struct topic *t, const struct tl_event *e)
{
    if (!t->info.started_ms || strcmp(e->type, TL_TYPE_STARTED) == 0) t->info.started_ms = e->time_ms;
    t->info.updated_ms = TL_MAX(t->info.updated_ms, e->time_ms);
}

void topic_learn(struct topic *t, struct tl_event *state, struct tl_position last, struct tl_position life)
{
    learn_position(t, last);
    t->life = life;
    if (!state) return;
    learn_times(t, state);
    learn_state(t, state);
    t->over = state->last && tl_position_cmp(state->position, last) == 0;
    t->heard_ms = state->time_ms;
}

void topic_accept(struct topic *t, struct tl_event *e)
{
    learn_position(t, e->position);
    if (e->kind == TL_EVENT_LIFECYCLE) t->life = e->position;
    t->over = e->last;
    t->stalled = false;
    t->heard_ms = bus_now_ms(t->bus);
    tl_alarm_clear(t->bus->alarms, &t->grace);
    t->grace_over = false;
    learn_times(t, e);
    if (tl_event_type_bears_state(e->type)) learn_state(t, e);
    keep(t, e);
    deliver_event(t, e);
}
