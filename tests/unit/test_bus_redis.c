/* SPDX-License-Identifier: Apache-2.0 */
/* The bus of several processes on a real redis-server: whatever happens to connections, to what Redis has and to
 * publishers, a subscriber has every lifecycle event once and in order, or is told that it has not. */
#include "support.h"

#include "bus_fixture.h"
#include "cache/announce.h"
#include "proxy.h"

static size_t number_after(const char *reply)
{
    return (size_t)strtoul(reply + 1, NULL, 10);
}

/* ---- plain ---- */

static void across(void **state)
{
    (void)state;
    struct redis_server s;
    struct bus_node n[2];
    struct watch here, there, tasks, late;
    char out[256];
    begin(&s, n, 2);
    watch_begin(&here, &n[0], "task/a");
    watch_begin(&there, &n[1], "task/a");
    watch_begin(&tasks, &n[1], "tasks");
    SPIN_NODES_UNTIL(n, 2, here.snapshots && there.snapshots && tasks.snapshots, 3000);
    struct tl_task *t = task_begin(&n[0], "a");
    task_say(t, "task.started.v1", "{\"state\":\"running\",\"name\":\"daily\"}");
    struct tl_task_progress p = {.state = TL_TASK_RUNNING, .done = 7, .eta_ms = -1};
    tl_task_progress(t, &p);
    for (int i = 0; i < 200; i++) task_item(t, i);
    SPIN_NODES_UNTIL(n, 2, there.n_life == 201 && here.n_life == 201, 5000);
    struct tl_position mid = there.life[100];
    watch_begin(&late, &n[1], "task/a");
    SPIN_NODES_UNTIL(n, 2, late.snapshots == 1, 3000);
    assert_non_null(strstr(late.snapshot, "\"done\":7,"));
    watch_end(&late);
    task_complete(t);
    SPIN_NODES_UNTIL(n, 2, there.ended && here.ended && tasks.ended, 5000);
    for (size_t i = 0; i < 2; i++) box_spin(&n[i].box, 30); /* nothing more comes */
    expect_all(&here, 202, 0);
    expect_all(&there, 202, 0);
    assert_int_equal(tasks.n_items, 0);
    assert_int_equal(tasks.n_life, 2);
    assert_non_null(strstr(there.state, "\"state\":\"completed\""));
    /* A third process resumes from Redis. */
    struct bus_node third;
    bus_node_open(&third, s.url, NULL);
    watch_begin_since(&late, &third, "task/a", mid);
    SPIN_UNTIL(&third, late.ended, 3000);
    assert_int_equal(late.recovered, 1);
    expect_all(&late, 202 - 101, 0);
    watch_end(&late);
    watch_begin(&late, &third, "tasks");
    SPIN_UNTIL(&third, late.snapshots == 1, 3000);
    assert_non_null(strstr(late.snapshot, "\"task\":\"a\",\"name\":\"daily\",\"state\":\"completed\""));
    watch_end(&late);
    bus_node_close(&third);
    /* Every key of it expires. */
    static const char *const keys[] = {"tierline:ev:{task/a}", "tierline:snap:{task/a}", "tierline:{tasks}:index"};
    for (size_t i = 0; i < TL_COUNT(keys); i++) {
        assert_true(redis_do(&s, out, "PTTL", keys[i]));
        size_t ms = number_after(out);
        if (ms > 604800000 || ms < 604700000) fail_msg("%s: %s", keys[i], out);
    }
    watch_end(&here);
    watch_end(&there);
    watch_end(&tasks);
    end(&s, n, 2);
}

/* A server that checks that all keys of one call share a slot. */
static void one_slot(void **state)
{
    (void)state;
    struct redis_server s;
    struct bus_node n[2];
    struct watch w, tasks;
    char bus[8], out[64];
    snprintf(bus, sizeof bus, "%d", redis_free_port());
    const char *const extra[] = {"--cluster-enabled", "yes", "--cluster-port", bus, NULL};
    redis_server_start(&s, extra);
    assert_true(redis_do(&s, out, "CLUSTER", "ADDSLOTSRANGE", "0", "16383"));
    for (int i = 0; i < 500; i++) {
        char info[2048];
        if (redis_do(&s, info, "CLUSTER", "INFO") && strstr(info, "cluster_state:ok")) break;
        redis_sleep_ms(10);
    }
    for (size_t i = 0; i < 2; i++) bus_node_open(&n[i], s.url, NULL);
    watch_begin(&w, &n[1], "task/a");
    SPIN_NODES_UNTIL(n, 2, w.snapshots == 1, 3000);
    struct tl_task *t = task_begin(&n[0], "a");
    for (int i = 0; i < 50; i++) task_item(t, i);
    task_complete(t);
    SPIN_NODES_UNTIL(n, 2, w.ended, 5000);
    expect_all(&w, 51, 0);
    watch_end(&w);
    bus_close_only(&n[1], 1000);
    n[1].ready = false;
    bus_open_on(&n[1], &(struct tl_bus_options){.redis_url = s.url});
    assert_int_equal(tl_bus_ready(n[1].bus, bus_on_ready, &n[1]), TL_OK);
    SPIN_NODES_UNTIL(n, 2, n[1].ready, 5000);
    watch_begin(&tasks, &n[1], "tasks");
    SPIN_NODES_UNTIL(n, 2, tasks.snapshots == 1, 3000);
    assert_non_null(strstr(tasks.snapshot, "\"task\":\"a\"")); /* from the index and the hash */
    watch_end(&tasks);
    end(&s, n, 2);
}

/* ---- publishers that die ---- */

static void publish_and_die(const char *url, const char *failpoint, int items)
{
    struct bus_node n;
    if (failpoint) setenv("TL_FAILPOINT", failpoint, 1);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bus_node_open(&n, url, NULL);
    struct tl_task *t = task_begin(&n, "a");
    for (int i = 0; i < items; i++) {
        task_item(t, i);
        box_spin(&n.box, 2);
    }
    box_spin(&n.box, 300);
    raise(SIGKILL); /* without a word */
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

/* What Redis has is what the watcher saw. */
static void expect_history(struct bus_node *n, const struct watch *w)
{
    struct asked a = {.op.cb = on_history};
    struct bus_node other;
    bus_node_open(&other, n->box.cache ? ((struct redis_server *)n->box.loop.data)->url : NULL, NULL);
    a.op.user = &a;
    assert_int_equal(tl_bus_history(other.bus, &a.op, "task/a", (struct tl_position){0, 0}, 100000, 5000, NULL), TL_OK);
    SPIN_UNTIL(&other, a.done, 6000);
    assert_int_equal(a.status, TL_OK);
    assert_true(a.op.complete);
    assert_int_equal(a.op.n, w->n_life);
    for (size_t i = 0; i < a.op.n; i++) {
        assert_int_equal(tl_position_cmp(a.op.events[i]->position, w->life[i]), 0);
        tl_event_unref(a.op.events[i]);
    }
    free(a.op.events);
    bus_node_close(&other);
}

static void dying_publishers(void **state)
{
    (void)state;
    static const char *const points[] = {
        "event.claimed=kill",   "event.hand=kill@1",    "event.hand=kill@20",   "event.handed=kill@1",
        "event.handed=kill@20", "event.handed=kill@21", "event.hand=stop@1000", NULL};
    struct redis_server s;
    struct bus_node n;
    struct watch w;
    char out[64];
    begin(&s, &n, 1);
    n.box.loop.data = &s;
    for (size_t i = 0; points[i]; i++) {
        (void)redis_do(&s, out, "FLUSHALL");
        watch_begin(&w, &n, "task/a");
        SPIN_UNTIL(&n, w.snapshots == 1, 3000);
        bool fresh = strcmp(w.snapshot, "null") == 0;
        pid_t pid = fork();
        if (pid == 0) {
            publish_and_die(s.url, points[i], 30);
            _exit(1);
        }
        int status = 0;
        SPIN_UNTIL(&n, waitpid(pid, &status, WNOHANG) == pid, 20000);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        size_t of_the_dead = w.n_life;
        /* Somebody takes over; its positions come behind. */
        struct tl_task *t = task_begin(&n, "a");
        for (int k = 0; k < 10; k++) task_item(t, k);
        task_complete(t);
        SPIN_UNTIL(&n, w.ended, 5000);
        print_message("%-22s %zu of the dead, then %zu\n", points[i], of_the_dead, w.n_life - of_the_dead);
        assert_true(w.n_life >= of_the_dead + 11);
        assert_false(w.disordered);
        SPIN_UNTIL(&n, bus_stats(&n).queued == 0, 3000);
        if (fresh) expect_history(&n, &w);
        watch_end(&w);
        bus_close_only(&n, 1000);
        n.ready = false;
        bus_open_on(&n, &(struct tl_bus_options){.redis_url = s.url});
        assert_int_equal(tl_bus_ready(n.bus, bus_on_ready, &n), TL_OK);
        box_spin_until(&n.box, &n.ready, 5000);
    }
    end(&s, &n, 1);
}

/* ---- fencing ---- */

static void on_fenced(void *ctx)
{
    ++*(int *)ctx;
}

static void zombies(void **state)
{
    (void)state;
    struct redis_server s;
    struct bus_node n[3];
    struct watch old, other;
    int fenced = 0, fenced_b = 0;
    begin(&s, n, 3);
    watch_begin(&old, &n[0], "task/a");
    watch_begin(&other, &n[2], "task/a");
    SPIN_NODES_UNTIL(n, 3, old.snapshots && other.snapshots, 3000);
    struct tl_task *a =
        task_begin_with(&n[0], &(struct tl_task_options){.id = "a", .on_fenced = on_fenced, .ctx = &fenced});
    for (int i = 0; i < 10; i++) task_item(a, i);
    SPIN_NODES_UNTIL(n, 3, other.n_life == 10, 3000);
    /* The zombie's loop stands still while another takes over. */
    struct tl_task *b =
        task_begin_with(&n[1], &(struct tl_task_options){.id = "a", .on_fenced = on_fenced, .ctx = &fenced_b});
    for (int i = 0; i < 5; i++) task_item(b, i);
    SPIN_NODES_UNTIL(n + 1, 2, other.n_life == 15, 3000);
    for (int i = 0; i < 7; i++) task_item(a, 100 + i); /* told to those here, and no one else */
    SPIN_NODES_UNTIL(n, 3, fenced == 1 && old.resyncs == 1, 5000);
    task_item(a, 200); /* no longer counts, and is no error */
    task_complete(b);
    SPIN_NODES_UNTIL(n, 3, other.ended && old.ended, 5000);
    expect_all(&other, 16, 0);
    assert_false(old.disordered);
    assert_int_equal(tl_position_cmp(old.last, other.last), 0);
    assert_true(fenced == 1 && fenced_b == 0);
    assert_int_equal(bus_stats(&n[0]).fenced, 1);
    tl_task_abandon(a);
    char out[64];
    assert_true(redis_do(&s, out, "XLEN", "tierline:ev:{task/a}"));
    assert_int_equal(number_after(out), 16);
    watch_end(&old);
    watch_end(&other);
    end(&s, n, 3);
}

/* ---- many resume ---- */

static void herd(void **state)
{
    (void)state;
    enum { HERD = 2000 };
    struct redis_server s;
    struct bus_node n[2];
    struct watch probe;
    size_t got = 0;
    begin(&s, n, 1);
    struct tl_task *t = task_begin(&n[0], "a");
    for (int i = 0; i < 300; i++) task_item(t, i);
    SPIN_UNTIL(&n[0], bus_stats(&n[0]).queued == 0, 3000);
    int64_t epoch = tl_task_position(t).epoch_ms;
    bus_node_open(&n[1], s.url, NULL);
    uint64_t reads = bus_stats(&n[1]).stream_reads;
    static struct watch w[HERD];
    for (size_t i = 0; i < HERD; i++)
        watch_begin_since(&w[i], &n[1], "task/a", (struct tl_position){epoch, 100 + i % 200});
    SPIN_NODES_UNTIL(n, 2, w[HERD - 1].snapshots == 1, 10000);
    for (size_t i = 0; i < HERD; i++) {
        if (w[i].recovered != 1 || w[i].n_life != 300 - (100 + i % 200))
            fail_msg("%zu: recovered %zu, %zu events", i, w[i].recovered, w[i].n_life);
        assert_false(w[i].disordered);
        got += w[i].n_life;
    }
    assert_int_equal(bus_stats(&n[1]).stream_reads - reads, 1);
    print_message("%d resumed, %zu events, one read\n", HERD, got);
    /* Those who come a little later are served from memory. */
    watch_begin_since(&probe, &n[1], "task/a", (struct tl_position){epoch, 150});
    SPIN_NODES_UNTIL(n, 2, probe.recovered == 1, 3000);
    assert_int_equal(probe.n_life, 150);
    assert_int_equal(bus_stats(&n[1]).stream_reads - reads, 1);
    /* After the Pub/Sub connection was away: one more, for all. */
    char out[64];
    for (size_t i = 0; i < HERD; i++) w[i].n_life = w[i].n_all = 0;
    (void)redis_do(&s, out, "CLIENT", "KILL", "TYPE", "pubsub");
    for (int i = 0; i < 5; i++) task_item(t, i);
    SPIN_NODES_UNTIL(n, 2, w[HERD - 1].n_life == 5 && bus_stats(&n[1]).redis_up, 5000);
    for (size_t i = 0; i < HERD; i++) assert_int_equal(w[i].n_life, 5);
    assert_true(bus_stats(&n[1]).stream_reads - reads <= 3);
    for (size_t i = 0; i < HERD; i++) watch_end(&w[i]);
    watch_end(&probe);
    tl_task_abandon(t);
    end(&s, n, 2);
}

/* ---- what is truly lost ---- */

static void lost(void **state)
{
    (void)state;
    struct redis_server s;
    struct bus_node n[2];
    struct watch w;
    char out[64];
    begin(&s, n, 2);
    watch_begin(&w, &n[1], "task/a");
    SPIN_NODES_UNTIL(n, 2, w.snapshots == 1, 3000);
    struct tl_task *t = task_begin(&n[0], "a");
    for (int i = 0; i < 10; i++) task_item(t, i);
    SPIN_NODES_UNTIL(n, 2, w.n_life == 10, 3000);
    tl_task_abandon(t);
    bus_close_only(&n[0], 1000); /* the publisher is gone */
    (void)redis_do(&s, out, "FLUSHALL");
    (void)redis_do(&s, out, "CLIENT", "KILL", "TYPE", "pubsub");
    SPIN_UNTIL(&n[1], w.resyncs == 1, 10000);
    assert_int_equal(w.n_life, 10);
    watch_end(&w);
    /* Who resumes finds what is known here, and nothing after it. */
    bus_open_on(&n[0], &(struct tl_bus_options){.redis_url = s.url, .stream_events = 10});
    t = task_begin(&n[0], "b");
    for (int i = 0; i < 500; i++) task_item(t, i);
    SPIN_NODES_UNTIL(n, 2, bus_stats(&n[0]).queued == 0, 5000);
    struct tl_position p = tl_task_position(t);
    watch_begin_since(&w, &n[1], "task/b", (struct tl_position){p.epoch_ms, 50}); /* trimmed */
    SPIN_NODES_UNTIL(n, 2, w.snapshots == 1, 5000);
    assert_int_equal(w.recovered, 0);
    assert_int_equal(tl_position_cmp(w.last, p), 0);
    task_item(t, 1);
    SPIN_NODES_UNTIL(n, 2, w.n_life == 1, 3000);
    watch_end(&w);
    watch_begin_since(&w, &n[1], "task/b", (struct tl_position){p.epoch_ms, p.seq - 3});
    SPIN_NODES_UNTIL(n, 2, w.n_life == 4, 3000);
    assert_int_equal(w.recovered, 1);
    watch_end(&w);
    tl_task_abandon(t);
    end(&s, n, 2);
}

/* ---- Redis is away ---- */

static void away(void **state)
{
    (void)state;
    struct redis_server s;
    struct bus_node n, other;
    struct watch w, far;
    struct tl_err err;
    char out[64];
    redis_server_start(&s, NULL);
    redis_server_kill(&s);
    bus_node_open(&n, s.url, NULL);
    watch_begin(&w, &n, "task/a");
    struct tl_task *t = task_begin(&n, "a");
    SPIN_UNTIL(&n, w.snapshots == 1, 3000);
    char *big = tl_calloc(61000, 1);
    memset(big, 'x', 60002);
    big[0] = big[60001] = '"';
    size_t taken = 0;
    enum tl_status st;
    while ((st = tl_task_event(t, "task.item.failed.v1", tl_str(big), &err)) == TL_OK && taken < 5000) {
        taken++;
        if (taken % 50 == 0) box_spin(&n.box, 30);
    }
    assert_int_equal(st, TL_FULL);
    assert_true(taken > 200 && taken < 300);
    SPIN_UNTIL(&n, w.n_life == taken, 5000); /* nobody here waits for Redis */
    struct tl_bus_stats stats = bus_stats(&n);
    assert_true(stats.queued == taken && stats.queued_bytes <= 17u << 20 && !stats.redis_up);
    task_complete(t); /* the end is taken in any case */
    SPIN_UNTIL(&n, w.ended, 3000);
    redis_spawn(&s);
    assert_true(redis_wait(&s));
    SPIN_UNTIL(&n, bus_stats(&n).queued == 0, 10000);
    assert_true(redis_do(&s, out, "XLEN", "tierline:ev:{task/a}"));
    assert_int_equal(number_after(out), taken + 1);
    bus_node_open(&other, s.url, NULL);
    watch_begin_since(&far, &other, "task/a", (struct tl_position){w.life[0].epoch_ms, 1});
    SPIN_UNTIL(&other, far.ended, 10000);
    expect_all(&far, taken, 0);
    watch_end(&far);
    bus_node_close(&other);
    free(big);
    watch_end(&w);
    end(&s, &n, 1);
}

/* What is queued when the bus is closed goes out. */
static void drained(void **state)
{
    (void)state;
    struct redis_server s;
    struct bus_node n;
    char out[64];
    begin(&s, &n, 1);
    struct tl_task *t = task_begin(&n, "a");
    for (int i = 0; i < 999; i++) task_item(t, i);
    task_complete(t);
    bus_close_only(&n, 5000);
    assert_true(redis_do(&s, out, "XLEN", "tierline:ev:{task/a}"));
    assert_int_equal(number_after(out), 1000);
    box_close(&n.box);
    redis_server_stop(&s);
}

/* Replies that are lost cost nothing. */
static void lost_replies(void **state)
{
    (void)state;
    struct redis_server s;
    struct proxy p;
    struct bus_node n[2];
    struct watch w;
    char out[64], url[64];
    redis_server_start(&s, NULL);
    proxy_start(&p, s.port);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/0", p.port);
    bus_node_open(&n[0], url, NULL);
    bus_node_open(&n[1], s.url, NULL);
    watch_begin(&w, &n[1], "task/a");
    SPIN_NODES_UNTIL(n, 2, w.snapshots == 1, 3000);
    struct tl_task *t = task_begin(&n[0], "a");
    int said = 0;
    for (int round = 0; round < 30; round++) {
        atomic_store(&p.cut_after, round * 7);
        for (int i = 0; i < 20; i++) {
            task_item(t, said++);
            for (int k = 0; k < 2; k++) uv_run(&n[k].box.loop, UV_RUN_NOWAIT);
            usleep(1000);
        }
        atomic_store(&p.cut_after, -1);
        SPIN_NODES_UNTIL(n, 2, bus_stats(&n[0]).queued == 0, 10000);
    }
    task_complete(t);
    SPIN_NODES_UNTIL(n, 2, w.ended, 10000);
    expect_all(&w, (size_t)said + 1, 0);
    assert_true(redis_do(&s, out, "XLEN", "tierline:ev:{task/a}"));
    assert_int_equal(number_after(out), said + 1);
    watch_end(&w);
    bus_node_close(&n[0]);
    bus_node_close(&n[1]);
    proxy_stop(&p);
    redis_server_stop(&s);
}

/* ---- control, market ---- */

struct told {
    struct tl_control op;
    bool done;
    enum tl_status status;
    char what[40], market[512];
    int calls, markets;
};

static void on_control(void *ctx, const char *op)
{
    struct told *t = ctx;
    snprintf(t->what, sizeof t->what, "%s", op);
    t->calls++;
}

static void on_told(struct tl_control *op, enum tl_status status)
{
    struct told *t = op->user;
    t->done = true;
    t->status = status;
}

static void on_market(void *ctx, struct tl_str envelope)
{
    struct told *t = ctx;
    snprintf(t->market, sizeof t->market, "%.*s", TL_STR_ARG(envelope));
    t->markets++;
}

static void control(void **state)
{
    (void)state;
    struct redis_server s;
    struct bus_node n[2];
    struct told told = {.op.cb = on_told};
    char out[64];
    told.op.user = &told;
    begin(&s, n, 2);
    tl_bus_on_market(n[1].bus, on_market, &told);
    struct tl_task *t =
        task_begin_with(&n[0], &(struct tl_task_options){.id = "a", .on_control = on_control, .ctx = &told});
    assert_int_equal(tl_bus_control(n[1].bus, &told.op, "a", "cancel", NULL), TL_OK);
    SPIN_NODES_UNTIL(n, 2, told.done && told.calls == 1, 3000);
    assert_int_equal(told.status, TL_OK);
    assert_string_equal(told.what, "cancel");
    told.done = false;
    assert_int_equal(tl_bus_control(n[0].bus, &told.op, "a", "retry", NULL), TL_OK);
    SPIN_NODES_UNTIL(n, 2, told.done, 3000);
    for (int i = 0; i < 2; i++) box_spin(&n[i].box, 50);
    assert_int_equal(told.calls, 2); /* once, although it comes back */
    struct tl_buf text;
    struct tl_symbol symbol = {.text = "600519.SH"};
    tl_buf_init(&text, 0);
    tl_announce_market(&text, n[1].box.cache->instance, 1, &symbol, TL_FREQ_1D, TL_ADJUST_RAW,
                       (struct tl_version){1, 2, 3});
    assert_true(redis_do(&s, out, "PUBLISH", "tierline:channel:market:update", text.p)); /* its own */
    tl_buf_clear(&text);
    tl_announce_market(&text, 7, 1, &symbol, TL_FREQ_1D, TL_ADJUST_RAW, (struct tl_version){1, 2, 3});
    assert_true(redis_do(&s, out, "PUBLISH", "tierline:channel:market:update", text.p));
    assert_true(redis_do(&s, out, "PUBLISH", "tierline:channel:task:lifecycle", "garbage"));
    SPIN_NODES_UNTIL(n, 2, told.markets == 1, 3000);
    assert_string_equal(told.market, text.p);
    tl_buf_release(&text);
    tl_task_abandon(t);
    end(&s, n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(across),   cmocka_unit_test(control),      cmocka_unit_test(zombies),
        cmocka_unit_test(herd),     cmocka_unit_test(lost),         cmocka_unit_test(away),
        cmocka_unit_test(drained),  cmocka_unit_test(lost_replies), cmocka_unit_test(dying_publishers),
        cmocka_unit_test(one_slot),
    };
    return cmocka_run_group_tests_name("bus_redis", tests, NULL, NULL);
}
