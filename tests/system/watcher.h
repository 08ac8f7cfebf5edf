/* SPDX-License-Identifier: Apache-2.0 */
/* A WebSocket that watches one task and keeps every lifecycle event of it, as "type:item". Positions must rise from
 * event to event, states included. Include behind "ws_client.h". */
#ifndef TL_TESTS_SYSTEM_WATCHER_H
#define TL_TESTS_SYSTEM_WATCHER_H

enum { WATCHER_KEY = 48, WATCHER_POSITION = 42 };

struct watcher {
    struct ws ws; /* first */
    const struct server *server;
    char topic[128];
    char (*seen)[WATCHER_KEY]; /* lifecycle events, in order */
    size_t n, cap;
    char position[WATCHER_POSITION], state[16]; /* of the last event or snapshot */
    size_t snapshots, unrecovered, resyncs, states;
    bool over;
    const char *broken; /* what must not happen; NULL: nothing */
    json_t *data;       /* of the last snapshot */
};

static inline int position_cmp(const char *a, const char *b)
{
    long long ae = 0, be = 0;
    unsigned long long as = 0, bs = 0;
    (void)sscanf(a, "%lld-%llu", &ae, &as);
    (void)sscanf(b, "%lld-%llu", &be, &bs);
    if (ae != be) return ae < be ? -1 : 1;
    return as < bs ? -1 : as > bs;
}

static inline void watcher_keep(struct watcher *w, const char *type, const json_t *data)
{
    if (w->n == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 256;
        w->seen = realloc(w->seen, w->cap * sizeof *w->seen);
        assert_non_null(w->seen);
    }
    const json_t *i = json_object_get(data, "i");
    char *key = w->seen[w->n++];
    if (json_is_integer(i))
        snprintf(key, WATCHER_KEY, "%s:%lld", type, (long long)json_integer_value(i));
    else
        snprintf(key, WATCHER_KEY, "%s:%s", type, strstr(type, ".item.") ? text_at(data, "symbol") : "");
}

static inline void watcher_event(struct watcher *w, const json_t *doc)
{
    const char *type = text_at(doc, "type"), *at = text_at(doc, "sequence");
    const json_t *data = json_object_get(doc, "data");
    if (text_at(data, "state")[0]) snprintf(w->state, sizeof w->state, "%s", text_at(data, "state"));
    if (!at[0]) return; /* that it is stalled is no event of its publisher's */
    if (position_cmp(at, w->position) <= 0) w->broken = "a position does not rise";
    if (w->over && strncmp(at, w->position, strcspn(at, "-")) == 0) w->broken = "an event behind the last";
    snprintf(w->position, sizeof w->position, "%s", at);
    w->over = strcmp(type, "task.completed.v1") == 0 || strcmp(type, "task.failed.v1") == 0 ||
              strcmp(type, "task.cancelled.v1") == 0;
    if (strcmp(type, "task.progress.v1") == 0)
        w->states++;
    else
        watcher_keep(w, type, data);
}

static inline void watcher_snapshot(struct watcher *w, const json_t *doc)
{
    w->snapshots++;
    if (json_is_true(json_object_get(doc, "recovered"))) return;
    const json_t *data = json_object_get(doc, "data");
    w->unrecovered++;
    json_decref(w->data);
    w->data = json_deep_copy(data);
    snprintf(w->position, sizeof w->position, "%s", text_at(doc, "position"));
    snprintf(w->state, sizeof w->state, "%s", text_at(data, "state"));
    w->over = strcmp(w->state, "completed") == 0;
}

static inline void watcher_text(struct ws *ws, const char *text, size_t n)
{
    struct watcher *w = (struct watcher *)(void *)ws;
    json_t *doc = json_loadb(text, n, 0, NULL);
    const char *op = text_at(doc, "op");
    if (!doc) w->broken = "no JSON";
    if (!op[0])
        watcher_event(w, doc);
    else if (strcmp(op, "snapshot") == 0)
        watcher_snapshot(w, doc);
    else if (strcmp(op, "resync") == 0)
        w->resyncs++;
    else if (strcmp(op, "error") == 0)
        w->broken = "an error";
    json_decref(doc);
}

/* Opens its socket and subscribes, from its last position where it has one. */
static inline void watcher_connect(struct watcher *w, const struct server *s)
{
    char text[400], since[64] = "";
    ws_free(&w->ws);
    ws_open(&w->ws, s);
    w->ws.on_text = watcher_text;
    w->server = s;
    if (w->position[0]) snprintf(since, sizeof since, ",\"since\":\"%s\"", w->position);
    snprintf(text, sizeof text, "{\"op\":\"subscribe\",\"topics\":[\"%s\"]%s}", w->topic, since);
    assert_true(ws_send(&w->ws, text));
}

static inline void watcher_init(struct watcher *w, const struct server *s, const char *task)
{
    *w = (struct watcher){.ws = {.fd = -1}};
    snprintf(w->topic, sizeof w->topic, "task/%s", task);
    watcher_connect(w, s);
}

static inline void watcher_release(struct watcher *w)
{
    ws_free(&w->ws);
    free(w->seen);
    json_decref(w->data);
}

static inline size_t watcher_count(const struct watcher *w, const char *type)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++) n += strncmp(w->seen[i], type, strlen(type)) == 0;
    return n;
}

/* Lets all of them read until `enough` says so for each; fails after ms. */
static inline void watchers_wait(struct watcher *w, size_t n, bool (*enough)(const struct watcher *), uint64_t ms)
{
    struct ws **all = calloc(n, sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < n; i++) all[i] = &w[i].ws;
    size_t left = n;
    for (uint64_t until = now_ms() + ms; left > 0 && now_ms() < until;) {
        ws_pump(all, n, 5);
        left = 0;
        for (size_t i = 0; i < n; i++) left += !enough(&w[i]);
    }
    free(all);
    for (size_t i = 0; left > 0 && i < n; i++)
        if (!enough(&w[i]))
            fail_msg("watcher %zu of %s waits for more: %zu events, at %s, state %s, %s", i, w[i].topic, w[i].n,
                     w[i].position, w[i].state, w[i].ws.fd < 0 ? "cut" : "open");
}

static inline bool watcher_is_over(const struct watcher *w)
{
    return w->over;
}

static inline bool watcher_has_snapshot(const struct watcher *w)
{
    return w->snapshots > 0;
}

static inline void watcher_whole(const struct watcher *w, size_t number)
{
    if (w->broken) fail_msg("watcher %zu of %s: %s, at %s", number, w->topic, w->broken, w->position);
}

/* ---- a foreign task ---- */

struct foreign {
    const struct server *server;
    char id[64], term[64];
    size_t sent;
};

/* n further items, 0: the start, behind them the end. The status that was answered. */
static inline int foreign_post(struct foreign *f, const char *type, size_t n)
{
    char target[200];
    json_t *events = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(events, json_pack("{s:s, s:{s:I}}", "type", type, "data", "i", (json_int_t)f->sent++));
    if (n == 0) json_array_append_new(events, json_pack("{s:s, s:{s:i}}", "type", type, "data", "total", 1));
    char *text = json_dumps(events, JSON_COMPACT);
    snprintf(target, sizeof target, "/api/v1/tasks/%s/events%s%s", f->id, f->term[0] ? "?term=" : "", f->term);
    struct reply a = ask(f->server, "POST", target, text);
    json_t *doc = json_loadb(a.body, a.body_n, 0, NULL);
    int status = a.status;
    if (status == 200) snprintf(f->term, sizeof f->term, "%s", text_at(doc, "term"));
    json_decref(doc);
    json_decref(events);
    free(text);
    reply_release(&a);
    return status;
}

static inline void foreign_begin(struct foreign *f, const struct server *s, const char *id)
{
    *f = (struct foreign){.server = s};
    snprintf(f->id, sizeof f->id, "%s", id);
    assert_int_equal(foreign_post(f, "task.started.v1", 0), 200);
}

static inline void foreign_items(struct foreign *f, size_t n)
{
    assert_int_equal(foreign_post(f, "task.item.completed.v1", n), 200);
}

static inline void foreign_end(struct foreign *f)
{
    assert_int_equal(foreign_post(f, "task.completed.v1", 0), 200);
}

#endif
