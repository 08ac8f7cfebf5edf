/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks in the cache's tiers, under the data type "tierline.task": an index of the tasks that this process knows, and
 * the lifecycle events of each task that has ended here. Both are lines, so that envelopes stay as they are:
 *   index   for each task, the newest first: {"id","name","started_ms","updated_ms","position","life"}, then the
 *           envelope of its state (an empty line: none)
 *   events  {"task","complete"}, then an envelope a line, the oldest first
 * The key of a task is a hash of its id, because ids are longer than keys may be; the id inside decides. Written soon
 * after a task begins and ends, and while it runs from time to time. What cannot be written is written the next time.
 */
#include "event/bus_i.h"

#include "base/err.h"
#include "base/json.h"
#include "base/util.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#define TASK_TYPE "tierline.task"
enum {
    SOON_MS = 100,
    AGAIN_MS = 10000, /* while a task runs */
    DEADLINE_MS = 3000,
    INDEX_BYTES = 4 << 20,
    EVENTS_BYTES = 2 << 20,
    DUE_MAX = 256
};

struct put { /* frees itself */
    struct tl_put op;
    struct archive *archive; /* NULL: the bus is gone */
    struct put *prev, *next;
};

struct ask {
    struct tl_get op;
    struct archive *archive;      /* NULL: the bus is gone */
    struct archive_ask *for_whom; /* NULL: the index */
    char topic[TL_TOPIC_MAX + 1];
    struct ask *prev, *next;
};

struct archive {
    struct tl_bus *bus;
    struct put *puts;
    struct ask *asks;
    bool index_due, closing;
    struct topic *due[DUE_MAX]; /* held: their events are to be written */
    size_t n_due;
    struct tl_alarm alarm;
};

static void key_of(const char *topic, char out[40])
{
    uint64_t a = UINT64_C(0xcbf29ce484222325), b = UINT64_C(0x84222325cbf29ce4); /* FNV-1a, from two beginnings */
    for (const unsigned char *p = (const unsigned char *)topic; *p; p++) {
        a = (a ^ *p) * UINT64_C(0x100000001b3);
        b = (b ^ *p ^ 0x55) * UINT64_C(0x100000001b3);
    }
    snprintf(out, 40, "task-%016" PRIx64 "%016" PRIx64, a, b);
}

/* ---- writing ---- */

static void on_put(struct tl_put *op, enum tl_status status)
{
    struct put *p = op->user;
    struct archive *a = p->archive;
    (void)status;
    if (!a) {
        free(p);
        return;
    }
    if (p->prev)
        p->prev->next = p->next;
    else
        a->puts = p->next;
    if (p->next) p->next->prev = p->prev;
    free(p);
    bus_check_closed(a->bus);
}

static bool put(struct archive *a, const char *symbol, const char *timeframe, const struct tl_buf *text)
{
    struct tl_key key = {.data_type = TASK_TYPE, .symbol = symbol, .timeframe = timeframe};
    struct put *p = text->failed ? NULL : tl_calloc(1, sizeof *p);
    if (!p) return false;
    p->archive = a;
    p->op.user = p;
    if (tl_cache_put(a->bus->cache, &p->op, &key, text->p, text->n, NULL, DEADLINE_MS, on_put, NULL) != TL_OK) {
        free(p);
        return false;
    }
    p->next = a->puts;
    if (a->puts) a->puts->prev = p;
    a->puts = p;
    return true;
}

static void index_row(struct tl_buf *out, const struct topic *t)
{
    struct tl_json j;
    char position[TL_POSITION_MAX], life[TL_POSITION_MAX];
    tl_position_format(t->last, position);
    tl_position_format(t->life, life);
    tl_json_init(&j, out);
    tl_json_object(&j);
    tl_json_key(&j, "id");
    tl_json_cstr(&j, t->info.id);
    tl_json_key(&j, "name");
    tl_json_cstr(&j, t->info.name);
    tl_json_key(&j, "started_ms");
    tl_json_i64(&j, t->info.started_ms);
    tl_json_key(&j, "updated_ms");
    tl_json_i64(&j, t->info.updated_ms);
    tl_json_key(&j, "position");
    tl_json_cstr(&j, position);
    tl_json_key(&j, "life");
    tl_json_cstr(&j, life);
    tl_json_object_end(&j);
    tl_buf_putc(out, '\n');
    if (t->state && !out->failed) tl_buf_put(out, t->state->json, t->state->n);
    tl_buf_putc(out, '\n');
}

static int newest_first(const void *a, const void *b)
{
    const struct topic *x = *(struct topic *const *)a, *y = *(struct topic *const *)b;
    return x->info.started_ms == y->info.started_ms ? 0 : x->info.started_ms > y->info.started_ms ? -1 : 1;
}

static void write_index(struct archive *a)
{
    struct tl_bus *b = a->bus;
    struct tl_buf text;
    size_t n = 0;
    if (b->n_known == 0) {
        a->index_due = false;
        return;
    }
    TL_AUTOFREE struct topic **list = tl_calloc(b->n_known, sizeof(struct topic *));
    if (!list) return;
    for (struct topic *t = b->all; t; t = t->next)
        if (t->known) list[n++] = t;
    qsort(list, n, sizeof(struct topic *), newest_first);
    tl_buf_init(&text, 0);
    for (size_t i = 0; i < n && text.n < INDEX_BYTES; i++) index_row(&text, list[i]);
    if (text.n && put(a, NULL, "index", &text)) a->index_due = false;
    tl_buf_release(&text);
}

/* The newest EVENTS_BYTES of the lifecycle events in memory. */
static void write_events(struct archive *a, const struct topic *t)
{
    const struct ring *r = t->task && t->task->kept.n ? &t->task->kept : &t->ring;
    struct tl_buf text;
    char key[40];
    size_t from = r->n, bytes = 0;
    while (from > 0 && bytes + ring_at(r, from - 1)->n < EVENTS_BYTES) bytes += ring_at(r, --from)->n + 1;
    bool from_start = r == &t->ring ? position_none(t->ring_from) : position_none(t->task->kept_after);
    tl_buf_init(&text, 0);
    tl_buf_printf(&text, "{\"task\":\"%s\",\"complete\":%s}\n", t->info.id, from == 0 && from_start ? "true" : "false");
    for (; from < r->n; from++) {
        const struct tl_event *e = ring_at(r, from);
        if (e->kind != TL_EVENT_LIFECYCLE) continue;
        tl_buf_put(&text, e->json, e->n);
        tl_buf_putc(&text, '\n');
    }
    key_of(t->name, key);
    (void)put(a, key, "events", &text);
    tl_buf_release(&text);
}

static void write_due(struct archive *a)
{
    for (size_t i = 0; i < a->n_due; i++) {
        write_events(a, a->due[i]);
        a->due[i]->holds--;
        topic_check(a->due[i]);
    }
    a->n_due = 0;
    if (a->index_due) write_index(a);
}

static void on_alarm(struct tl_alarm *alarm)
{
    struct archive *a = CONTAINER(alarm, struct archive, alarm);
    for (const struct tl_task *k = a->bus->terms; k; k = k->next) a->index_due = a->index_due || !k->gone;
    write_due(a);
    bus_alarm(a->bus, &a->alarm, AGAIN_MS);
}

void archive_touch(struct topic *t)
{
    struct archive *a = t->bus->archive;
    a->index_due = true;
    bool listed = !t->over || a->n_due == DUE_MAX;
    for (size_t i = 0; i < a->n_due; i++) listed = listed || a->due[i] == t;
    if (!listed) {
        t->holds++;
        a->due[a->n_due++] = t;
    }
    if (!a->closing) bus_alarm(a->bus, &a->alarm, SOON_MS);
}

/* ---- reading ---- */

static void end_ask(struct ask *k)
{
    struct archive *a = k->archive;
    if (a) {
        if (k->prev)
            k->prev->next = k->next;
        else
            a->asks = k->next;
        if (k->next) k->next->prev = k->prev;
    }
    tl_value_unref(k->op.item.value);
    free(k);
}

static bool position_of(const json_t *root, const char *key, struct tl_position *out)
{
    const char *text = json_string_value(json_object_get(root, key));
    return text && tl_position_parse(tl_str(text), out);
}

/* Only what nothing newer is known of. */
static void learn_row(struct tl_bus *b, const json_t *root, struct tl_str state)
{
    char name[TL_TOPIC_MAX + 1];
    struct tl_position last, life;
    struct tl_event *e = NULL;
    const char *id = json_string_value(json_object_get(root, "id"));
    const char *label = json_string_value(json_object_get(root, "name"));
    if (!task_id_ok(id) || !position_of(root, "position", &last) || !position_of(root, "life", &life)) return;
    snprintf(name, sizeof name, "task/%s", id);
    if (state.n && (tl_event_parse(state, &e, NULL) != TL_OK || strcmp(e->topic, name) != 0)) {
        tl_event_unref(e);
        return;
    }
    struct topic *t = topic_find(b, name);
    bool wanted = t ? !t->known && !t->task : b->n_known < b->tasks_max;
    if (wanted && (t || (t = topic_make(b, TOPIC_TASK, name)))) {
        topic_learn(t, e, last, life);
        t->ring_from = last;
        t->info.started_ms = json_integer_value(json_object_get(root, "started_ms"));
        t->info.updated_ms = json_integer_value(json_object_get(root, "updated_ms"));
        if (label && !t->info.name[0]) snprintf(t->info.name, sizeof t->info.name, "%.71s", label);
        topic_check(t);
    }
    tl_event_unref(e);
}

static void learn_index(struct tl_bus *b, struct tl_str text)
{
    struct tl_str row, state;
    while (tl_str_split(&text, '\n', &row) && row.n && tl_str_split(&text, '\n', &state)) {
        json_t *root = json_loadb(row.p, row.n, 0, NULL);
        learn_row(b, root, state);
        json_decref(root);
    }
}

/* [own] the events of the text. */
static struct tl_event **read_events(struct tl_str text, const char *topic, size_t *n, bool *complete)
{
    struct tl_str row;
    struct tl_event **events = NULL;
    *n = 0;
    if (!tl_str_split(&text, '\n', &row)) return NULL;
    json_t *head = json_loadb(row.p, row.n, 0, NULL);
    const char *id = json_string_value(json_object_get(head, "task"));
    *complete = json_is_true(json_object_get(head, "complete"));
    bool ours = id && strcmp(id, topic + strlen("task/")) == 0;
    json_decref(head);
    while (ours && tl_str_split(&text, '\n', &row) && row.n) {
        struct tl_event *e, **more = tl_realloc(events, *n + 1, sizeof(struct tl_event *));
        if (more) events = more;
        if (!more || tl_event_parse(row, &e, NULL) != TL_OK) {
            *complete = false;
            continue;
        }
        events[(*n)++] = e;
    }
    return events;
}

static void on_get(struct tl_get *op, enum tl_status status)
{
    struct ask *k = op->user;
    struct archive *a = k->archive;
    size_t bytes = 0, n = 0;
    struct tl_str text = {"", 0};
    bool complete = false;
    if (!a) {
        end_ask(k);
        return;
    }
    if (status == TL_OK && op->item.value) {
        text.p = tl_value_bytes(op->item.value, &bytes);
        text.n = bytes;
    }
    if (k->for_whom) {
        struct archive_ask *who = k->for_whom;
        struct tl_event **events = status == TL_OK ? read_events(text, k->topic, &n, &complete) : NULL;
        end_ask(k);
        who->state = NULL;
        who->cb(who, n ? TL_OK : status == TL_OK ? TL_NOT_FOUND : status, events, n, complete);
    } else {
        if (!a->closing) learn_index(a->bus, text);
        end_ask(k);
        tasks_loaded_one(a->bus);
    }
    bus_check_closed(a->bus);
}

static enum tl_status ask(struct archive *a, struct archive_ask *who, const char *topic)
{
    char key[40];
    struct ask *k = tl_calloc(1, sizeof *k);
    if (!k) return TL_NOMEM;
    k->archive = a;
    k->for_whom = who;
    k->op.user = k;
    snprintf(k->topic, sizeof k->topic, "%s", topic);
    key_of(topic, key);
    struct tl_key where = {.data_type = TASK_TYPE, .symbol = who ? key : NULL, .timeframe = who ? "events" : "index"};
    enum tl_status st = tl_cache_get(a->bus->cache, &k->op, &where, DEADLINE_MS, on_get, NULL);
    if (st != TL_OK) {
        free(k);
        return st;
    }
    k->next = a->asks;
    if (a->asks) a->asks->prev = k;
    a->asks = k;
    if (who) who->state = k;
    return TL_OK;
}

void archive_load(struct tl_bus *b)
{
    if (b->closing || ask(b->archive, NULL, "") != TL_OK) tasks_loaded_one(b);
}

enum tl_status archive_events(struct tl_bus *b, struct archive_ask *who, const char *topic)
{
    return ask(b->archive, who, topic);
}

/* ---- life ---- */

enum tl_status archive_open(struct tl_bus *b)
{
    struct archive *a = tl_calloc(1, sizeof *a);
    if (!a) return TL_NOMEM;
    a->bus = b;
    a->alarm.ring = on_alarm;
    b->archive = a;
    bus_alarm(b, &a->alarm, AGAIN_MS);
    return TL_OK;
}

void archive_close(struct tl_bus *b)
{
    struct archive *a = b->archive;
    a->closing = true;
    tl_alarm_clear(b->alarms, &a->alarm);
    write_due(a);
}

void archive_flush(struct tl_bus *b)
{
    write_due(b->archive);
}

bool archive_idle(const struct tl_bus *b)
{
    return !b->archive->puts && !b->archive->asks && !b->archive->index_due;
}

void archive_free(struct tl_bus *b)
{
    struct archive *a = b->archive;
    if (!a) return;
    tl_alarm_clear(b->alarms, &a->alarm);
    for (size_t i = 0; i < a->n_due; i++) a->due[i]->holds--;
    for (struct put *p = a->puts; p; p = p->next) p->archive = NULL;
    for (struct ask *k = a->asks; k; k = k->next) k->archive = NULL;
    free(a);
    b->archive = NULL;
}
