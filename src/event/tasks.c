/* SPDX-License-Identifier: Apache-2.0 */
/* The tasks that are known: listing them, learning them at the beginning (from Redis' index, then from the archive) and
 * again after Redis was away, and noticing those that say nothing any more. A task that Redis and the archive know is
 * taken from Redis. */
#include "event/bus_i.h"

#include "base/err.h"
#include "base/json.h"
#include "base/util.h"

#include <stdio.h>

enum { INDEX_TIMEOUT_MS = 3000, SNAPSHOT_BYTES = 65536 };

/* ---- listing ---- */

static bool is_silent(const struct tl_bus *b, const struct topic *t, int64_t now)
{
    return t->info.progress.state == TL_TASK_RUNNING && !t->over && now - t->heard_ms > b->stalled_ms;
}

static int newest_first(const void *a, const void *b)
{
    const struct topic *x = *(struct topic *const *)a, *y = *(struct topic *const *)b;
    if (x->info.started_ms != y->info.started_ms) return x->info.started_ms > y->info.started_ms ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* [own] the known ones, sorted. */
static struct topic **sorted(struct tl_bus *b, size_t *n)
{
    struct topic **list = tl_calloc(b->n_known, sizeof(struct topic *));
    *n = 0;
    if (!list) return NULL;
    for (struct topic *t = b->all; t; t = t->next)
        if (t->known && t->kind == TOPIC_TASK) list[(*n)++] = t;
    qsort(list, *n, sizeof(struct topic *), newest_first);
    return list;
}

static struct tl_task_info info_of(const struct tl_bus *b, const struct topic *t)
{
    struct tl_task_info info = t->info;
    if (is_silent(b, t, bus_now_ms(b))) info.progress.state = TL_TASK_STALLED;
    return info;
}

void tl_bus_tasks(struct tl_bus *b, bool (*cb)(void *ctx, const struct tl_task_info *), void *ctx)
{
    size_t n;
    struct topic **list = sorted(b, &n);
    for (size_t i = 0; list && i < n; i++) list[i]->holds++;
    bool go_on = true;
    for (size_t i = 0; list && i < n; i++) {
        struct tl_task_info info = info_of(b, list[i]);
        go_on = go_on && cb(ctx, &info);
        list[i]->holds--;
        topic_check(list[i]);
    }
    free(list);
}

static void put_task(struct tl_buf *out, const struct tl_task_info *info)
{
    char position[TL_POSITION_MAX];
    size_t before = out->n;
    tl_task_progress_json(out, info->id, info->name, &info->progress);
    if (out->failed || out->n == before) return;
    out->n--; /* the brace: more follows */
    tl_position_format(info->position, position);
    tl_buf_printf(out, ",\"position\":\"%s\",\"started_ms\":%lld,\"updated_ms\":%lld}", position,
                  (long long)info->started_ms, (long long)info->updated_ms);
}

/* The newest, as far as a reader with a bounded queue can take them in one document. */
void tasks_snapshot(struct tl_bus *b, struct tl_buf *out)
{
    size_t n, i = 0;
    struct topic **list = sorted(b, &n);
    tl_buf_puts(out, "{\"tasks\":[");
    for (; list && i < n && out->n < SNAPSHOT_BYTES; i++) {
        struct tl_task_info info = info_of(b, list[i]);
        if (i) tl_buf_putc(out, ',');
        put_task(out, &info);
    }
    tl_buf_printf(out, "],\"more\":%s}", i < n ? "true" : "false");
    free(list);
}

/* ---- ready ---- */

static void answer_readies(struct tl_bus *b, enum tl_status status)
{
    while (b->readies) {
        struct ready *r = b->readies;
        b->readies = r->next;
        r->cb(r->ctx, status);
        free(r);
    }
}

static void on_ready_soon(struct tl_soon *s)
{
    struct tl_bus *b = CONTAINER(s, struct tl_bus, ready_soon);
    answer_readies(b, b->load_status);
}

enum tl_status tl_bus_ready(struct tl_bus *b, void (*cb)(void *ctx, enum tl_status), void *ctx)
{
    struct ready *r = b->closing ? NULL : tl_calloc(1, sizeof *r);
    if (!r) return b->closing ? TL_CANCELLED : TL_NOMEM;
    *r = (struct ready){.cb = cb, .ctx = ctx, .next = b->readies};
    b->readies = r;
    b->ready_soon.call = on_ready_soon;
    if (b->loaded) tl_soon_call(b->alarms, &b->ready_soon);
    return TL_OK;
}

void tasks_end_readies(struct tl_bus *b)
{
    tl_soon_cancel(b->alarms, &b->ready_soon);
    answer_readies(b, TL_CANCELLED);
}

/* ---- loading ---- */

static void loaded(struct tl_bus *b)
{
    b->loaded = true;
    deliver_requeue(b->tasks, true);
    b->ready_soon.call = on_ready_soon;
    tl_soon_call(b->alarms, &b->ready_soon);
}

/* Redis' part or the archive's. */
void tasks_loaded_one(struct tl_bus *b)
{
    TL_ASSERT(b->loading > 0);
    if (--b->loading == 0 && !b->loaded && !b->closing) loaded(b);
}

struct index_read {
    struct tl_bus *bus;
    struct tl_redis_cmd cmd;
    struct tl_str argv[4];
    char max[12];
    bool open, again, first; /* first: loading waits for it */
};

/* A task whose beginning is the one that is known, and which is over, has nothing new. */
static bool worth_reading(const struct topic *t, int64_t started_ms)
{
    return !t->known || !t->over || t->info.started_ms < started_ms;
}

static void on_index_row(struct tl_bus *b, struct tl_str id, int64_t started_ms, bool first)
{
    char name[TL_TOPIC_MAX + 1];
    char text[TASK_ID_MAX + 1];
    if (id.n == 0 || id.n > TASK_ID_MAX) return;
    memcpy(text, id.p, id.n);
    text[id.n] = '\0';
    if (!task_id_ok(text)) return;
    snprintf(name, sizeof name, "task/%s", text);
    struct topic *t = topic_make(b, TOPIC_TASK, name);
    if (!t) return;
    if (!t->known && !first) b->tasks_stale = true;
    if (!t->task && !t->synced && worth_reading(t, started_ms)) read_begin(t);
    if (first) read_count(t);
    topic_check(t);
}

static void on_index(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                     const struct tl_err *err)
{
    struct index_read *x = cmd->user;
    struct tl_bus *b = x->bus;
    (void)err;
    x->open = false;
    b->commands--;
    bool first = x->first;
    x->first = false;
    if (status == TL_OK && reply->type == TL_REPLY_ARRAY && !b->closing) {
        for (size_t i = 0; i + 1 < reply->n; i += 2) {
            double started =
                strtod(reply->items[i + 1]->type == TL_REPLY_STRING ? reply->items[i + 1]->str.p : "0", NULL);
            if (reply->items[i]->type == TL_REPLY_STRING)
                on_index_row(b, reply->items[i]->str, started > 0 && started < 9e15 ? (int64_t)started : 0, first);
        }
    } else if (status != TL_CANCELLED) {
        b->load_status = TL_IO;
    }
    if (first) archive_load(b); /* for those that Redis does not know */
    if (first) tasks_loaded_one(b);
    if (x->again && !b->closing) tasks_reload(b);
    bus_check_closed(b);
}

static bool ask_index(struct tl_bus *b, bool first)
{
    struct index_read *x = b->index ? b->index : tl_calloc(1, sizeof *x);
    if (!x) return false;
    b->index = x;
    if (x->open) {
        x->again = true;
        return true;
    }
    x->bus = b;
    x->again = false;
    snprintf(x->max, sizeof x->max, "%u", b->tasks_max - 1);
    struct tl_str argv[] = {TL_STR("1"), tl_str(b->index_key), tl_str(x->max)};
    memcpy(x->argv, argv, sizeof argv);
    x->cmd = (struct tl_redis_cmd){.argv = x->argv, .argc = TL_COUNT(argv), .cb = on_index, .user = x};
    if (tl_redis_eval(b->redis, &x->cmd, SCRIPT_TASKS, INDEX_TIMEOUT_MS, NULL) != TL_OK) return false;
    x->first = x->first || first;
    x->open = true;
    b->commands++;
    return true;
}

void tasks_load(struct tl_bus *b)
{
    b->loading = b->redis ? 2 : 1; /* the archive, and Redis */
    if (b->redis && b->redis_up && ask_index(b, true)) return;
    if (b->redis) b->load_status = TL_IO;
    archive_load(b);
    if (b->redis) tasks_loaded_one(b);
}

void tasks_reload(struct tl_bus *b)
{
    (void)ask_index(b, false);
}

void tasks_release(struct tl_bus *b)
{
    free(b->index);
    b->index = NULL;
}

/* ---- once a second ---- */

/* Its subscribers learn that nothing is to be expected. Not an event of the publisher: it has no position. */
static void tell_stalled(struct topic *t)
{
    struct tl_bus *b = t->bus;
    struct tl_buf data;
    struct tl_task_progress p = t->info.progress;
    p.state = TL_TASK_STALLED;
    tl_buf_init(&data, TL_EVENT_BYTES_MAX);
    tl_task_progress_json(&data, t->info.id, t->info.name, &p);
    struct tl_event *e = data.failed ? NULL
                                     : tl_event_new(t->name, TL_TYPE_PROGRESS, (struct tl_position){0, 0}, b->instance,
                                                    bus_now_ms(b), tl_buf_str(&data));
    tl_buf_release(&data);
    if (!e) return; /* no memory: in a second */
    t->stalled = true;
    t->info.progress.state = TL_TASK_STALLED;
    tl_event_unref(t->state);
    t->state = tl_event_ref(e);
    deliver_event(t, e);
    tl_event_unref(e);
}

void tasks_second(struct tl_alarm *a)
{
    struct tl_bus *b = CONTAINER(a, struct tl_bus, second);
    int64_t now = bus_now_ms(b);
    for (struct topic *t = b->all; t; t = t->next)
        if (t->kind == TOPIC_TASK && t->known && !t->stalled && is_silent(b, t, now)) tell_stalled(t);
    if (b->redis) handin_watch(b);
    topic_trim_known(b);
    bus_alarm(b, &b->second, 1000);
}
