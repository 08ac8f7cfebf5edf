/* SPDX-License-Identifier: Apache-2.0 */
/* The bus of one process: order, snapshots, resuming, subscribers that come and go in callbacks, rates, the archive. */
#include "support.h"

#include "bus_fixture.h"

static const char *const odd_topics[] = {"", "task/", "task/a b", "task/{x}", "nothing", "tasks/1", "market"};

static void order(void **state)
{
    (void)state;
    struct bus_node n;
    struct watch w[3], tasks;
    bus_node_open(&n, NULL, NULL);
    for (int i = 0; i < 3; i++) watch_begin(&w[i], &n, "task/a");
    watch_begin(&tasks, &n, "tasks");
    SPIN_UNTIL(&n, w[2].snapshots == 1 && tasks.snapshots == 1, 2000);
    assert_string_equal(w[0].snapshot, "null");
    assert_string_equal(tasks.snapshot, "{\"tasks\":[],\"more\":false}");
    struct tl_task *t = task_begin(&n, "a");
    struct tl_task_progress p = {.state = TL_TASK_RUNNING, .total = 10, .eta_ms = -1};
    task_say(t, "task.started.v1", "{\"task\":\"a\",\"name\":\"daily\",\"state\":\"running\",\"total\":10}");
    tl_task_progress(t, &p);
    for (int i = 0; i < 100; i++) task_item(t, i);
    assert_int_equal(w[0].n_all, 0); /* never from within */
    assert_true(tl_task_position(t).seq >= 101);
    task_complete(t);
    SPIN_UNTIL(&n, w[0].ended && w[1].ended && w[2].ended && tasks.ended, 2000);
    for (int i = 0; i < 3; i++) {
        assert_false(w[i].disordered);
        assert_int_equal(w[i].n_life, 102);
        for (size_t k = 1; k < w[i].n_all; k++) assert_true(w[i].all[k].seq == w[i].all[k - 1].seq + 1);
        assert_non_null(strstr(w[i].state, "\"state\":\"completed\""));
    }
    assert_int_equal(tasks.n_items, 0);
    assert_int_equal(tasks.n_life, 2);
    for (int i = 0; i < 3; i++) watch_end(&w[i]);
    watch_end(&tasks);
    watch_begin(&tasks, &n, "tasks");
    SPIN_UNTIL(&n, tasks.snapshots == 1, 2000);
    assert_non_null(strstr(tasks.snapshot, "\"task\":\"a\",\"name\":\"daily\",\"state\":\"completed\""));
    assert_non_null(strstr(tasks.snapshot, "\"position\":\""));
    watch_end(&tasks);
    bus_node_close(&n);
}

static void resume(void **state)
{
    (void)state;
    struct bus_node n;
    struct watch w, all, late;
    struct tl_position since;
    bus_node_open(&n, NULL, NULL);
    watch_begin(&all, &n, "task/a");
    SPIN_UNTIL(&n, all.snapshots == 1, 2000);
    struct tl_task *t = task_begin(&n, "a");
    for (int i = 0; i < 10; i++) task_item(t, i);
    since = tl_task_position(t);
    for (int i = 0; i < 7; i++) task_item(t, i);
    watch_begin_since(&w, &n, "task/a", since);
    task_item(t, 99); /* is neither lost nor told twice */
    SPIN_UNTIL(&n, w.n_all >= 8 && all.n_all == 18, 2000);
    box_spin(&n.box, 20);
    assert_int_equal(w.n_all, 8);
    assert_int_equal(w.recovered, 1);
    assert_true(w.all[0].seq == since.seq + 1 && !w.disordered);
    /* A position that nobody gave out. */
    watch_begin_since(&late, &n, "task/a", (struct tl_position){5, 5});
    SPIN_UNTIL(&n, late.snapshots == 1, 2000);
    assert_int_equal(late.recovered, 1); /* before everything there is: everything is there */
    assert_int_equal(late.n_all, 18);
    watch_end(&late);
    watch_begin_since(&late, &n, "task/a", (struct tl_position){since.epoch_ms + 5, 5});
    SPIN_UNTIL(&n, late.snapshots == 1, 2000);
    assert_int_equal(late.recovered, 0);
    task_complete(t);
    SPIN_UNTIL(&n, late.ended && all.ended && w.ended, 2000);
    watch_end(&late);
    watch_end(&w);
    watch_end(&all);
    bus_node_close(&n);
}

/* What no longer is in memory is not passed over in silence. */
static void resume_too_late(void **state)
{
    (void)state;
    struct bus_node n = {.closed = false};
    struct watch w;
    box_open(&n.box, NULL, NULL, NULL);
    bus_open_on(&n, &(struct tl_bus_options){.ring_events = 5});
    struct tl_task *t = task_begin(&n, "a");
    for (int i = 0; i < 10; i++) task_item(t, i);
    struct tl_position p = tl_task_position(t);
    watch_begin_since(&w, &n, "task/a", (struct tl_position){p.epoch_ms, 5});
    SPIN_UNTIL(&n, w.snapshots == 1, 2000);
    assert_int_equal(w.recovered, 1);
    assert_int_equal(w.n_all, 5);
    watch_end(&w);
    watch_begin_since(&w, &n, "task/a", (struct tl_position){p.epoch_ms, 4});
    SPIN_UNTIL(&n, w.snapshots == 1, 2000);
    assert_int_equal(w.recovered, 0);
    assert_int_equal(tl_position_cmp(w.last, p), 0);
    assert_int_equal(w.n_all, 0);
    watch_end(&w);
    tl_task_abandon(t);
    bus_node_close(&n);
}

/* ---- callbacks that change everything ---- */

struct chaos {
    struct watch w[8];
    struct bus_node *n;
    struct tl_task *task;
    size_t calls;
};

static void chaos_event(struct tl_subscription *s, struct tl_event *e)
{
    struct watch *w = s->user;
    struct chaos *c = (struct chaos *)(void *)((char *)s - offsetof(struct watch, sub)); /* only of the first */
    watch_on_event(s, e);
    if (w != &c->w[0]) return;
    c->calls++;
    size_t i = 1 + c->calls % 7;
    if (c->w[i].sub.state)
        tl_bus_unsubscribe(&c->w[i].sub);
    else
        assert_int_equal(tl_bus_subscribe(c->n->bus, &c->w[i].sub, NULL), TL_OK);
    if (c->calls == 40) tl_bus_unsubscribe(s); /* itself */
    if (c->calls < 30 && c->calls % 3 == 0) task_item(c->task, (int)c->calls);
}

static void reentrance(void **state)
{
    (void)state;
    struct bus_node n;
    struct chaos c = {.n = &n};
    bus_node_open(&n, NULL, NULL);
    for (int i = 0; i < 8; i++) watch_begin(&c.w[i], &n, "task/a");
    c.w[0].sub.on_event = chaos_event;
    c.w[5].stop_after = 3;
    SPIN_UNTIL(&n, c.w[7].snapshots == 1, 2000);
    c.task = task_begin(&n, "a");
    for (int i = 0; i < 100; i++) task_item(c.task, i);
    SPIN_UNTIL(&n, c.calls == 40, 2000);
    box_spin(&n.box, 20);
    assert_int_equal(c.calls, 40);
    assert_int_equal(c.w[0].n_all, 40);
    assert_false(c.w[0].disordered);
    task_complete(c.task);
    box_spin(&n.box, 20);
    for (int i = 0; i < 8; i++) watch_end(&c.w[i]);
    assert_int_equal(bus_stats(&n).subscriptions, 0);
    bus_node_close(&n);
}

struct closer {
    struct watch w[2];
    struct bus_node *n;
};

static void closing_event(struct tl_subscription *s, struct tl_event *e)
{
    struct closer *c = (struct closer *)(void *)((char *)s - offsetof(struct watch, sub));
    (void)e;
    c->w[0].n_all++;
    tl_bus_close(c->n->bus, 100, bus_on_closed, c->n);
}

static void closed_in_a_callback(void **state)
{
    (void)state;
    struct bus_node n;
    struct closer c = {.n = &n};
    bus_node_open(&n, NULL, NULL);
    for (int i = 0; i < 2; i++) watch_begin(&c.w[i], &n, "task/a");
    c.w[0].sub.on_event = closing_event;
    SPIN_UNTIL(&n, c.w[1].snapshots == 1, 2000);
    struct tl_task *t = task_begin(&n, "a");
    task_item(t, 1);
    task_item(t, 2);
    tl_task_abandon(t);
    box_spin_until(&n.box, &n.closed, 5000);
    assert_int_equal(c.w[0].n_all, 1);
    assert_int_equal(c.w[1].n_all, 0);
    for (int i = 0; i < 2; i++) watch_end(&c.w[i]); /* a no-op by now */
    box_close(&n.box);
}

/* ---- rates, by a clock of the test's own ---- */

static uint64_t fake_ns = UINT64_C(1000000000);
static int64_t fake_wall(void *ctx)
{
    (void)ctx;
    return 1700000000000 + (int64_t)(fake_ns / 1000000);
}
static uint64_t fake_mono(void *ctx)
{
    (void)ctx;
    return fake_ns;
}

static void pass(struct bus_node *n, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i += 10) {
        fake_ns += 10 * 1000000;
        box_spin(&n->box, 11); /* the loop's own timers follow real time */
    }
}

static void rates(void **state)
{
    (void)state;
    static const struct tl_clock clock = {fake_wall, fake_mono, NULL};
    struct bus_node n = {.closed = false};
    struct watch w;
    assert_int_equal(uv_loop_init(&n.box.loop), 0);
    struct tl_cache_options o = {.log_level = -1};
    struct tl_cache_options_inside inside = {.clock = &clock};
    assert_int_equal(tl_cache_open_inside(&n.box.loop, &o, &inside, &n.box.cache, NULL), TL_OK);
    bus_open_on(&n, &(struct tl_bus_options){.stalled_ms = 3000});
    watch_begin(&w, &n, "task/a");
    struct tl_task *t = task_begin(&n, "a");
    struct tl_task_progress p = {.state = TL_TASK_RUNNING, .total = 1000, .eta_ms = -1};
    for (int i = 0; i < 100; i++) { /* 1 s, 100 calls */
        p.done = (uint64_t)i;
        tl_task_progress(t, &p);
        pass(&n, 10);
    }
    pass(&n, 100);
    if (w.n_all < 10 || w.n_all > 11) fail_msg("%zu states in a second", w.n_all);
    assert_non_null(strstr(w.state, "\"done\":99,")); /* the newest wins */
    size_t before = w.n_all;
    pass(&n, 1700);
    assert_int_equal(w.n_all, before);
    pass(&n, 400);
    assert_int_equal(w.n_all, before + 1); /* alive */
    assert_non_null(strstr(w.state, "\"done\":99,"));
    assert_null(strstr(w.state, "\"elapsed_ms\":0}"));
    tl_task_abandon(t);
    before = w.n_all;
    pass(&n, 4200);
    assert_int_equal(w.n_all, before + 1);
    assert_non_null(strstr(w.state, "\"state\":\"stalled\""));
    watch_end(&w);
    bus_close_only(&n, 1000);
    box_close(&n.box);
}

/* ---- refusals ---- */

static void refusals(void **state)
{
    (void)state;
    struct bus_node n;
    struct tl_err err;
    struct tl_task *t, *u;
    struct tl_subscription s = {.topic = ""};
    bus_node_open(&n, NULL, NULL);
    for (size_t i = 0; i < TL_COUNT(odd_topics); i++) {
        snprintf(s.topic, sizeof s.topic, "%s", odd_topics[i]);
        if (tl_bus_subscribe(n.bus, &s, &err) != TL_INVALID) fail_msg("\"%s\"", odd_topics[i]);
        assert_null(s.state);
    }
    tl_bus_unsubscribe(&s);
    static const char *const ids[] = {"", "a/b", "a b", "\xe4\xb8\xad", "{a}", NULL};
    for (size_t i = 0; i < TL_COUNT(ids); i++)
        assert_int_equal(tl_task_open(n.bus, &(struct tl_task_options){.id = ids[i]}, &t, &err), TL_INVALID);
    t = task_begin(&n, "a");
    assert_int_equal(tl_task_open(n.bus, &(struct tl_task_options){.id = "a"}, &u, &err), TL_CONFLICT);
    assert_int_equal(tl_task_event(t, "task.progress.v1", TL_STR("{}"), &err), TL_INVALID);
    assert_int_equal(tl_task_event(t, "task.completed.v1", TL_STR("{}"), &err), TL_INVALID);
    assert_int_equal(tl_task_event(t, "market.update.v1", TL_STR("{}"), &err), TL_INVALID);
    assert_int_equal(tl_task_event(t, "task.x.v1", TL_STR("{"), &err), TL_INVALID);
    assert_int_equal(tl_task_event(t, "task.x.v1", TL_STR("{}\n"), &err), TL_INVALID);
    assert_int_equal(tl_task_event(t, "task.x.v1", TL_STR(""), &err), TL_OK);
    char *big = tl_calloc(70000, 1);
    memset(big, '1', 66000);
    assert_int_equal(tl_task_event(t, "task.x.v1", tl_str(big), &err), TL_TOO_LARGE);
    free(big);
    struct tl_history h = {.cb = NULL};
    assert_int_equal(tl_bus_history(n.bus, &h, "tasks", (struct tl_position){0, 0}, 1, 1, &err), TL_INVALID);
    task_complete(t);
    t = task_begin(&n, "a"); /* another term */
    tl_task_abandon(t);
    bus_node_close(&n);
    struct box b;
    box_open(&b, NULL, NULL, NULL);
    assert_int_equal(tl_bus_open(b.cache, &(struct tl_bus_options){.prefix = "a{b"}, &n.bus, &err), TL_INVALID);
    box_close(&b);
}

/* ---- topics of sources ---- */

struct source {
    struct tl_bus *bus;
    int wanted, unwanted;
};

static enum tl_status source_check(void *ctx, const char *topic, char out[TL_TOPIC_MAX + 1], struct tl_err *err)
{
    (void)ctx;
    (void)err;
    if (strcmp(topic, "market/none") == 0) return TL_NOT_FOUND;
    snprintf(out, TL_TOPIC_MAX + 1, "%s", strcmp(topic, "market/sh600519") == 0 ? "market/600519.SH" : topic);
    return TL_OK;
}

static void source_wanted(void *ctx, const char *topic, bool wanted)
{
    struct source *s = ctx;
    s->wanted += wanted;
    s->unwanted += !wanted;
    if (wanted) tl_bus_publish(s->bus, topic, "market.update.v1", TL_STR("{\"n\":1}"));
}

static void sources(void **state)
{
    (void)state;
    struct bus_node n;
    struct watch a, b;
    bus_node_open(&n, NULL, NULL);
    struct source s = {.bus = n.bus};
    struct tl_topic_source market = {"market/", source_check, source_wanted, &s}, locks = {"locks", NULL, NULL, NULL};
    assert_int_equal(tl_bus_source(n.bus, &market), TL_OK);
    assert_int_equal(tl_bus_source(n.bus, &locks), TL_OK);
    struct tl_subscription odd = {.topic = "market/none"};
    assert_int_equal(tl_bus_subscribe(n.bus, &odd, NULL), TL_NOT_FOUND);
    tl_bus_publish(n.bus, "locks", "locks.v1", TL_STR("{}")); /* nobody wants it */
    watch_begin(&a, &n, "market/600519.SH");
    watch_begin(&b, &n, "market/sh600519");
    assert_string_equal(b.sub.topic, "market/600519.SH");
    SPIN_UNTIL(&n, a.snapshots == 1 && b.snapshots == 1, 2000);
    assert_string_equal(a.snapshot, "{\"n\":1}");
    tl_bus_publish(n.bus, "market/600519.SH", "market.update.v1", TL_STR("{\"n\":2}"));
    SPIN_UNTIL(&n, a.n_all == 1 && b.n_all == 1, 2000);
    assert_string_equal(b.state, "{\"n\":2}");
    assert_true(s.wanted == 1 && s.unwanted == 0);
    watch_end(&a);
    watch_end(&b);
    assert_true(s.wanted == 1 && s.unwanted == 1);
    box_spin(&n.box, 10);
    assert_int_equal(bus_stats(&n).topics, 1);
    bus_node_close(&n);
}

/* ---- control, history, archive ---- */

struct told {
    struct tl_control op;
    enum tl_status status;
    bool done;
    char what[40];
};

static void on_control(void *ctx, const char *op)
{
    snprintf(((struct told *)ctx)->what, 40, "%s", op);
}

static void on_told(struct tl_control *op, enum tl_status status)
{
    struct told *t = op->user;
    t->status = status;
    t->done = true;
}

static void control(void **state)
{
    (void)state;
    struct bus_node n;
    struct told told = {.op.cb = on_told};
    told.op.user = &told;
    bus_node_open(&n, NULL, NULL);
    struct tl_task *t =
        task_begin_with(&n, &(struct tl_task_options){.id = "a", .on_control = on_control, .ctx = &told});
    assert_int_equal(tl_bus_control(n.bus, &told.op, "a", "cancel", NULL), TL_OK);
    SPIN_UNTIL(&n, told.done, 2000);
    assert_int_equal(told.status, TL_OK);
    assert_string_equal(told.what, "cancel");
    told.done = false;
    assert_int_equal(tl_bus_control(n.bus, &told.op, "b", "cancel", NULL), TL_OK);
    SPIN_UNTIL(&n, told.done, 2000);
    assert_int_equal(told.status, TL_NOT_FOUND);
    assert_int_equal(tl_bus_control(n.bus, &told.op, "a", "no \"op\"", NULL), TL_INVALID);
    tl_task_abandon(t);
    bus_node_close(&n);
}

struct asked {
    struct tl_history op;
    enum tl_status status;
    bool done;
};

static void on_history(struct tl_history *op, enum tl_status status)
{
    struct asked *a = op->user;
    a->status = status;
    a->done = true;
}

static void ask(struct asked *a, struct bus_node *n, const char *topic, struct tl_position since, size_t max)
{
    *a = (struct asked){.op.cb = on_history};
    a->op.user = a;
    assert_int_equal(tl_bus_history(n->bus, &a->op, topic, since, max, 3000, NULL), TL_OK);
    SPIN_UNTIL(n, a->done, 5000);
}

static void asked_free(struct asked *a)
{
    for (size_t i = 0; i < a->op.n; i++) tl_event_unref(a->op.events[i]);
    free(a->op.events);
}

static bool on_task(void *ctx, const struct tl_task_info *info)
{
    struct tl_task_info *out = ctx;
    *out = *info;
    return false;
}

static void archive(void **state)
{
    (void)state;
    struct bus_node n;
    struct asked a;
    struct watch w;
    char store[128];
    box_make_store(store);
    bus_node_open(&n, NULL, store);
    ask(&a, &n, "task/a", (struct tl_position){0, 0}, 10);
    assert_int_equal(a.status, TL_NOT_FOUND);
    struct tl_task *t = task_begin(&n, "a");
    task_say(t, "task.started.v1", "{\"state\":\"running\",\"name\":\"daily\"}");
    for (int i = 0; i < 50; i++) task_item(t, i);
    struct tl_position mid = tl_task_position(t);
    for (int i = 0; i < 50; i++) task_item(t, i);
    task_complete(t);
    ask(&a, &n, "task/a", mid, 1000);
    assert_int_equal(a.status, TL_OK);
    assert_int_equal(a.op.n, 51);
    assert_true(a.op.complete);
    asked_free(&a);
    bus_node_close(&n);
    /* Another process, later. */
    bus_node_open(&n, NULL, store);
    struct tl_task_info info = {.id = ""};
    tl_bus_tasks(n.bus, on_task, &info);
    assert_string_equal(info.id, "a");
    assert_string_equal(info.name, "daily");
    assert_int_equal(info.progress.state, TL_TASK_COMPLETED);
    assert_true(info.position.seq == 102);
    watch_begin(&w, &n, "task/a");
    SPIN_UNTIL(&n, w.snapshots == 1, 2000);
    assert_non_null(strstr(w.snapshot, "\"state\":\"completed\""));
    watch_end(&w);
    ask(&a, &n, "task/a", (struct tl_position){0, 0}, 1000);
    assert_int_equal(a.status, TL_OK);
    assert_int_equal(a.op.n, 102);
    assert_true(a.op.complete);
    assert_string_equal(a.op.events[101]->type, "task.completed.v1");
    asked_free(&a);
    /* Positions go on rising. */
    t = task_begin(&n, "a");
    task_item(t, 1);
    assert_true(tl_position_cmp(tl_task_position(t), info.position) > 0);
    tl_task_abandon(t);
    bus_node_close(&n);
    box_remove_store(store);
}

static void many_tasks(void **state)
{
    (void)state;
    struct bus_node n = {.closed = false};
    box_open(&n.box, NULL, NULL, NULL);
    bus_open_on(&n, &(struct tl_bus_options){.tasks_max = 10});
    struct tl_task *running = task_begin(&n, "running");
    task_item(running, 1);
    for (int i = 0; i < 100; i++) {
        char id[16];
        snprintf(id, sizeof id, "t%d", i);
        struct tl_task *t = task_begin(&n, id);
        task_item(t, 1);
        task_complete(t);
        box_spin(&n.box, 2);
    }
    SPIN_UNTIL(&n, bus_stats(&n).topics <= 12, 2000); /* ten, the list, and one that was let go of last */
    struct watch w;
    watch_begin(&w, &n, "tasks");
    SPIN_UNTIL(&n, w.snapshots == 1, 2000);
    assert_non_null(strstr(w.snapshot, "\"task\":\"running\""));
    assert_non_null(strstr(w.snapshot, "{\"tasks\":[{\"task\":\"t99\""));
    assert_null(strstr(w.snapshot, "\"task\":\"t5\""));
    watch_end(&w);
    tl_task_abandon(running);
    bus_node_close(&n);
}

static void take_list(struct tl_subscription *s, struct tl_str data, struct tl_position at, bool recovered)
{
    char **text = s->user;
    (void)at;
    assert_false(recovered);
    free(*text);
    *text = strndup(data.p, data.n);
}

static void ignore_event(struct tl_subscription *s, struct tl_event *e)
{
    (void)s, (void)e;
}

/* A list that no reader could take in one document is cut, and says so. */
static void long_list(void **state)
{
    (void)state;
    enum { MANY = 400 };
    struct bus_node n = {.closed = false};
    struct tl_task *tasks[MANY];
    char *text = NULL;
    bus_node_open(&n, NULL, NULL);
    for (int i = 0; i < MANY; i++) {
        char id[16];
        snprintf(id, sizeof id, "many%d", i);
        tasks[i] = task_begin(&n, id);
        task_item(tasks[i], 1);
    }
    SPIN_UNTIL(&n, bus_stats(&n).topics >= MANY, 2000);
    struct tl_subscription sub = {.topic = "tasks", .on_snapshot = take_list, .on_event = ignore_event, .user = &text};
    assert_int_equal(tl_bus_subscribe(n.bus, &sub, NULL), TL_OK);
    SPIN_UNTIL(&n, text, 2000);
    assert_in_range(strlen(text), 65536, 67000);
    assert_string_equal(text + strlen(text) - strlen("}],\"more\":true}"), "}],\"more\":true}");
    tl_bus_unsubscribe(&sub);
    free(text);
    for (int i = 0; i < MANY; i++) tl_task_abandon(tasks[i]);
    bus_node_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),
        cmocka_unit_test(resume),
        cmocka_unit_test(resume_too_late),
        cmocka_unit_test(reentrance),
        cmocka_unit_test(closed_in_a_callback),
        cmocka_unit_test(rates),
        cmocka_unit_test(refusals),
        cmocka_unit_test(sources),
        cmocka_unit_test(control),
        cmocka_unit_test(archive),
        cmocka_unit_test(many_tasks),
        cmocka_unit_test(long_list),
    };
    return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
