/* SPDX-License-Identifier: Apache-2.0 */
/* A process with jobs, as far as others can tell: a node on a loop of its own, that stands still when it is not turned,
 * and what it heard of one task. Include behind "support.h" and "market_fixture.h". */
#ifndef TL_TESTS_JOB_NODE_H
#define TL_TESTS_JOB_NODE_H

#include "server/node.h"

#include <jansson.h>

struct heard { /* of a topic */
    struct tl_subscription sub;
    bool ended_in_snapshot; /* the last one says that the task is completed */
    unsigned snapshots, started, completed_items, failed_items, progress, over;
    unsigned queued; /* said in states or snapshots that it waits */
    char last[48];   /* type of the last lifecycle event that was none of an item */
    json_t *end;     /* [own] its data */
    void (*on_item)(void *ctx);
    void *ctx;
};

struct proc {
    uv_loop_t loop;
    struct tl_config *cfg;
    struct tl_node node;
    bool closed;
    int64_t wall_offset_ms;
    struct tl_clock clock;
    struct tl_log log;
};

static inline int64_t proc_wall(void *ctx)
{
    return tl_clock_wall_ms(&tl_clock_system) + ((struct proc *)ctx)->wall_offset_ms;
}

static inline uint64_t proc_mono(void *ctx)
{
    (void)ctx;
    return tl_clock_mono_ns(&tl_clock_system);
}

static inline struct tl_config *proc_config(const char *store, const char *redis, const char *ini)
{
    struct tl_config *cfg = tl_config_new();
    struct tl_err err = {.text = ""};
    char *text = NULL;
    assert_non_null(cfg);
    assert_true(asprintf(&text, "store = %s\nredis = %s\nlog.level = off\n[calc]\nworkers = 1\nlease_ms = 500\n%s",
                         store, redis ? redis : "none", ini ? ini : "") > 0);
    if (tl_config_parse(cfg, tl_str(text), "t.ini", &err) != TL_OK) fail_msg("%s", err.text);
    free(text);
    return cfg;
}

static inline enum tl_status proc_try(struct proc *p, const char *store, const char *redis, const char *ini, bool take,
                                      int64_t wall_offset_ms, struct tl_err *err)
{
    *p = (struct proc){.cfg = proc_config(store, redis, ini), .wall_offset_ms = wall_offset_ms};
    p->clock = (struct tl_clock){.wall_ms = proc_wall, .mono_ns = proc_mono, .ctx = p};
    assert_int_equal(uv_loop_init(&p->loop), 0);
    p->log = (struct tl_log){.fd = 2, .level = getenv("TL_TEST_LOG") ? TL_LOG_DEBUG : TL_LOG_OFF};
    const struct tl_node_options o = {.config = p->cfg, .clock = &p->clock, .log = &p->log, .take = take};
    enum tl_status st = tl_node_open(&p->loop, &o, &p->node, NULL, err);
    if (st != TL_OK) {
        assert_int_equal(uv_run(&p->loop, UV_RUN_DEFAULT), 0);
        assert_int_equal(uv_loop_close(&p->loop), 0);
        tl_config_free(p->cfg);
    }
    return st;
}

static inline void proc_open(struct proc *p, const char *store, const char *redis, const char *ini, bool take)
{
    struct tl_err err;
    if (proc_try(p, store, redis, ini, take, 0, &err) != TL_OK) fail_msg("%s", err.text);
}

static inline void proc_turn(struct proc *p)
{
    uv_run(&p->loop, UV_RUN_NOWAIT);
    usleep(100);
}

/* Turns p, and q where there is one, until the condition holds. */
#define PROC_UNTIL2(p, q, ms, condition)                                                                               \
    do {                                                                                                               \
        uint64_t until_ns_ = uv_hrtime() + (ms)*UINT64_C(1000000);                                                     \
        struct proc *second_ = (q);                                                                                    \
        while (!(condition) && uv_hrtime() < until_ns_) {                                                              \
            proc_turn(p);                                                                                              \
            if (second_) proc_turn(second_);                                                                           \
        }                                                                                                              \
        if (!(condition)) fail_msg("not within %d ms: %s", (int)(ms), #condition);                                     \
    } while (0)
#define PROC_UNTIL(p, ms, condition) PROC_UNTIL2(p, (struct proc *)NULL, ms, condition)

static inline void proc_on_closed(void *ctx)
{
    ((struct proc *)ctx)->closed = true;
}

static inline void proc_close(struct proc *p)
{
    tl_node_close(&p->node, 8000, proc_on_closed, p);
    PROC_UNTIL(p, 12000, p->closed);
    assert_int_equal(uv_run(&p->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&p->loop), 0);
    tl_config_free(p->cfg);
}

/* ---- hearing ---- */

static inline bool heard_queued(struct tl_str data)
{
    static const char queued[] = "\"state\":\"queued\"";
    return memmem(data.p, data.n, queued, sizeof queued - 1) != NULL;
}

static inline void heard_snapshot(struct tl_subscription *s, struct tl_str data, struct tl_position at, bool recovered)
{
    struct heard *h = s->user;
    static const char completed[] = "\"state\":\"completed\"";
    (void)at;
    h->snapshots++;
    h->queued += heard_queued(data);
    if (!recovered) h->ended_in_snapshot = memmem(data.p, data.n, completed, sizeof completed - 1) != NULL;
}

static inline void heard_event(struct tl_subscription *s, struct tl_event *e)
{
    struct heard *h = s->user;
    if (strcmp(e->type, "task.progress.v1") == 0) {
        h->progress++;
        h->queued += heard_queued(tl_event_data(e));
    } else if (strcmp(e->type, "task.item.completed.v1") == 0) {
        h->completed_items++;
        if (h->on_item) h->on_item(h->ctx);
    } else if (strcmp(e->type, "task.item.failed.v1") == 0) {
        h->failed_items++;
    } else {
        h->started += strcmp(e->type, "task.started.v1") == 0;
        h->over += e->last;
        snprintf(h->last, sizeof h->last, "%s", e->type);
        json_decref(h->end);
        struct tl_str data = tl_event_data(e);
        h->end = json_loadb(data.p, data.n, 0, NULL);
        assert_non_null(h->end);
    }
}

static inline void hear(struct proc *p, struct heard *h, const char *id)
{
    struct tl_err err;
    *h = (struct heard){.sub = {.on_snapshot = heard_snapshot, .on_event = heard_event}};
    h->sub.user = h;
    if (strcmp(id, "tasks") == 0)
        snprintf(h->sub.topic, sizeof h->sub.topic, "tasks");
    else
        snprintf(h->sub.topic, sizeof h->sub.topic, "task/%s", id);
    if (tl_bus_subscribe(p->node.bus, &h->sub, &err) != TL_OK) fail_msg("%s", err.text);
}

static inline void hear_no_more(struct heard *h)
{
    tl_bus_unsubscribe(&h->sub);
    json_decref(h->end);
    h->end = NULL;
}

/* ---- asking ---- */

struct asked {
    struct tl_job_op op;
    bool done;
    enum tl_status status;
};

static inline void on_asked(struct tl_job_op *op, enum tl_status status)
{
    struct asked *a = op->user;
    a->done = true;
    a->status = status;
}

static inline void asked_init(struct asked *a)
{
    *a = (struct asked){.op = {.cb = on_asked}};
    a->op.user = a;
}

static const struct tl_job_request proc_request = {.symbols = "all", .freq = TL_FREQ_1D, .day_ms = INT64_MIN};

/* q: turned, too; may be NULL. */
static inline enum tl_status proc_post(struct proc *p, struct proc *q, const struct tl_job_request *r, char id[101])
{
    struct asked a;
    struct tl_err err = {.text = ""};
    asked_init(&a);
    enum tl_status st = tl_jobs_post(p->node.jobs, &a.op, r, &err);
    if (st != TL_OK) {
        assert_true(err.text[0] != '\0');
        return st;
    }
    assert_false(a.done);
    PROC_UNTIL2(p, q, 15000, a.done);
    if (a.status != TL_OK) print_message("post: %s\n", a.op.err.text);
    if (id) memcpy(id, a.op.id, 101);
    return a.status;
}

typedef enum tl_status proc_fn(struct tl_jobs *, struct tl_job_op *, const char *, struct tl_err *);

static inline enum tl_status proc_call(struct proc *p, struct proc *q, proc_fn *fn, const char *id, char out[101])
{
    struct asked a;
    struct tl_err err = {.text = ""};
    asked_init(&a);
    enum tl_status st = fn(p->node.jobs, &a.op, id, &err);
    if (st != TL_OK) {
        assert_true(err.text[0] != '\0');
        return st;
    }
    assert_false(a.done);
    PROC_UNTIL2(p, q, 15000, a.done);
    if (a.status != TL_OK) assert_true(a.op.err.text[0] != '\0');
    if (out) memcpy(out, a.op.id, 101);
    return a.status;
}

/* A field of the job's record as p knows it from the tiers; [own] the text. "": not known. */
struct shown {
    struct tl_job_show op;
    bool done;
    enum tl_status status;
};

static inline void on_shown_job(struct tl_job_show *op, enum tl_status status)
{
    struct shown *s = op->user;
    s->done = true;
    s->status = status;
}

static inline json_t *proc_show(struct proc *p, struct proc *q, const char *id)
{
    struct shown s = {.op = {.cb = on_shown_job}};
    struct tl_err err = {.text = ""};
    s.op.user = &s;
    if (tl_jobs_show(p->node.jobs, &s.op, id, &err) != TL_OK) return NULL;
    PROC_UNTIL2(p, q, 10000, s.done);
    if (s.status != TL_OK) return NULL;
    json_t *root = json_loadb(s.op.record.p, s.op.record.n, 0, NULL);
    tl_buf_release(&s.op.record);
    assert_non_null(root);
    return root;
}

static inline bool proc_state_is(struct proc *p, struct proc *q, const char *id, const char *state)
{
    json_t *root = proc_show(p, q, id);
    const char *have = root ? json_string_value(json_object_get(root, "state")) : "";
    bool is = strcmp(have ? have : "", state) == 0;
    json_decref(root);
    return is;
}

static inline long long proc_number(struct proc *p, struct proc *q, const char *id, const char *field)
{
    json_t *root = proc_show(p, q, id);
    assert_non_null(root);
    assert_true(json_is_integer(json_object_get(root, field)));
    long long n = json_integer_value(json_object_get(root, field));
    json_decref(root);
    return n;
}

struct paged {
    struct tl_job_errors op;
    bool done;
    enum tl_status status;
};

static inline void on_paged(struct tl_job_errors *op, enum tl_status status)
{
    struct paged *p = op->user;
    p->done = true;
    p->status = status;
}

/* [own] op.items */
static inline struct paged proc_errors(struct proc *p, struct proc *q, const char *id, size_t from, size_t max)
{
    struct paged e = {.op = {.cb = on_paged, .from = from, .max = max}};
    struct tl_err err = {.text = ""};
    e.op.user = &e;
    e.status = tl_jobs_errors(p->node.jobs, &e.op, id, &err);
    if (e.status == TL_OK) PROC_UNTIL2(p, q, 10000, e.done);
    return e;
}

#endif
