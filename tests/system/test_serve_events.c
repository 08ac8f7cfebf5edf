/* SPDX-License-Identifier: Apache-2.0 */
/* Events from one end to the other: `tierline calc` in a process of its own, a real Redis, `tierline serve`, and those
 * who watch over WebSocket and by `tierline watch`. Publishers that die or were overtaken, a Redis that was emptied,
 * thousands who come back at once. */
#include "support.h"

#include "redis_server.h"
#include "run.h"
#include "serve.h"
#include "ws_client.h"

#include "watcher.h"

enum {
    SYMBOLS = 150,
    RETURNING = SANITIZED ? 300 : 2000, /* a handshake costs ten times as much there */
    RETURNING_EVENTS = 300
};

static struct fixture {
    struct run r;
    struct redis_server redis;
    struct server a, b;
    char redis_env[160];
} fx;

static int setup(void **state)
{
    redis_server_start(&fx.redis, NULL);
    run_init(&fx.r);
    snprintf(fx.redis_env, sizeof fx.redis_env, "TIERLINE_REDIS=%s", fx.redis.url);
    fx.r.extra_env[0] = fx.redis_env;
    fx.r.extra_env[1] = "TIERLINE_STORE=a.db";
    fx.r.extra_env[2] = "TIERLINE_SERVER_PER_ADDRESS=5000";
    fx.r.extra_env[3] = "TIERLINE_SERVER_ACCESS_LOG=false";
    run(&fx.r, "sample", "m", "--symbols", "150", "--years", "2");
    run_put(&fx.r, "688999.SH.csv",
            "date,open,high,low,close,volume,amount\n2024-01-02,1,1,1,1,1,1\n2024-01-03,1,1,1,1,1,1\n");
    run_shell(&fx.r, "$TIER import m/bars --quiet && $TIER import 688999.SH.csv --quiet");
    expect(&fx.r, 0, NULL, NULL);
    *state = &fx;
    return 0;
}

static int start_both(void **state)
{
    (void)state;
    server_start(&fx.a, &fx.r);
    server_start(&fx.b, &fx.r);
    return 0;
}

static int end_both(void **state)
{
    (void)state;
    server_end(&fx.a);
    server_end(&fx.b);
    fx.a = fx.b = (struct server){.pid = 0};
    return 0;
}

static int teardown(void **state)
{
    end_both(state);
    run_release(&fx.r);
    redis_server_stop(&fx.redis);
    return 0;
}

static void stop_both(void)
{
    server_stop(&fx.a);
    server_stop(&fx.b);
}

/* ---- the whole path ---- */

/* Every line of `text` that has this topic, in order: its sequence and type. */
static size_t envelopes_of(const char *text, const char *topic, char (*out)[96], size_t cap)
{
    size_t n = 0;
    for (const char *line = text, *end; *line && n < cap; line = *end ? end + 1 : end) {
        end = strchrnul(line, '\n');
        json_t *doc = json_loadb(line, (size_t)(end - line), 0, NULL);
        if (!doc) fail_msg("no JSON: %.*s", (int)(end - line), line);
        if (strcmp(text_at(doc, "subject"), topic) == 0)
            snprintf(out[n++], sizeof *out, "%s %s", text_at(doc, "sequence"), text_at(doc, "type"));
        json_decref(doc);
    }
    return n;
}

struct path {
    pid_t calc, watch;
    int calc_out, calc_err, watch_out, watch_err;
    char topic[128], since[WATCHER_POSITION], target[200];
};

static pid_t begin(const char *const argv[], int *out, int *err)
{
    return run_start(&fx.r, argv, out, err);
}

/* The command has connected to Redis and listens for tasks. */
static void wait_for_watcher(struct path *p)
{
    char *text = NULL;
    for (int i = 0; i < 1000; i++, sleep_ms(10)) {
        free(text);
        text = run_text_of(dup(p->watch_out));
        if (strstr(text, "snapshot")) break;
    }
    assert_non_null(strstr(text, "snapshot"));
    free(text);
}

static void started_is_seen(struct ws *tasks, struct path *p)
{
    json_t *doc = ws_until(tasks, "type", "task.started.v1");
    const json_t *data = json_object_get(doc, "data");
    assert_string_equal(text_at(data, "state"), "running");
    assert_string_equal(text_at(data, "name"), "calc");
    assert_int_equal(json_integer_value(json_object_get(data, "total")), SYMBOLS + 1);
    snprintf(p->topic, sizeof p->topic, "%s", text_at(doc, "subject"));
    snprintf(p->since, sizeof p->since, "%s", text_at(doc, "sequence"));
    assert_true(strncmp(p->topic, "task/calc-", 10) == 0);
    assert_string_equal(text_at(doc, "specversion"), "1.0");
    json_decref(doc);
}

static void items_are_seen(const struct watcher *w)
{
    char error[200] = "";
    size_t broken = 0;
    watcher_whole(w, 0);
    assert_int_equal(w->unrecovered, 0);
    assert_int_equal(watcher_count(w, "task.item.completed.v1:"), SYMBOLS); /* nothing of the broken one */
    for (size_t i = 0; i < w->n; i++) {
        for (size_t k = 0; k < i; k++)
            if (strstr(w->seen[i], ".completed.") && strcmp(w->seen[i], w->seen[k]) == 0)
                fail_msg("twice: %s", w->seen[i]);
        broken += strcmp(w->seen[i], "task.item.failed.v1:688999.SH") == 0;
    }
    assert_true(broken > 0);
    assert_string_equal(w->seen[w->n - 1], "task.completed.v1:");
    /* Its reasons, as the history has them. */
    char target[200];
    snprintf(target, sizeof target, "/api/v1/tasks/%s/events?limit=10000", w->topic + strlen("task/"));
    json_t *history = ask_json(&fx.a, "GET", target, NULL, 200), *one;
    size_t i;
    json_array_foreach(json_object_get(history, "events"), i, one)
    {
        const json_t *data = json_object_get(one, "data");
        if (strcmp(text_at(one, "type"), "task.item.failed.v1") != 0) continue;
        if (strcmp(text_at(data, "symbol"), "688999.SH") == 0)
            snprintf(error, sizeof error, "%s: %s", text_at(data, "status"), text_at(data, "error"));
    }
    print_message("688999.SH failed %zu times, at last %s\n", broken, error);
    assert_true(strncmp(error, "TOO_FEW_BARS: 2 bars", 20) == 0);
    json_decref(history);
}

/* The same envelopes, in the same order, from the command. */
static void watch_sees_the_same(struct path *p, const struct watcher *w)
{
    static char live[4096][96], again[4096][96];
    kill(p->watch, SIGINT);
    run_finish(&fx.r, p->watch, p->watch_out, p->watch_err);
    expect(&fx.r, 0, "task.started.v1", NULL);
    size_t n_live = envelopes_of(fx.r.out, p->topic, live, 4096), items = 0;
    assert_true(n_live >= 2);
    assert_string_equal(strchr(live[0], ' ') + 1, "task.started.v1");
    assert_string_equal(strchr(live[n_live - 1], ' ') + 1, "task.completed.v1");
    run(&fx.r, "watch", p->topic, "--json", "--since", p->since); /* ends with the task */
    expect(&fx.r, 0, "\"recovered\":true", NULL);
    size_t n_again = envelopes_of(fx.r.out, p->topic, again, 4096);
    for (size_t i = 0; i < n_again; i++) items += strstr(again[i], ".progress.") == NULL;
    assert_int_equal(items, w->n);
    assert_string_equal(again[n_again - 1], live[n_live - 1]);
}

static void the_whole_path(void **state)
{
    struct path p = {.calc = 0};
    struct ws tasks;
    struct watcher w;
    (void)state;
    const char *binary = getenv("TL_TEST_BINARY");
    p.watch = begin((const char *const[]){binary, "watch", "--json", NULL}, &p.watch_out, &p.watch_err);
    wait_for_watcher(&p);
    ws_open(&tasks, &fx.a);
    json_decref(ws_until(&tasks, "op", "hello"));
    assert_true(ws_send(&tasks, "{\"op\":\"subscribe\",\"topics\":[\"tasks\"]}\n{\"op\":\"ping\",\"id\":7}"));
    json_decref(ws_until(&tasks, "op", "snapshot"));
    p.calc = begin((const char *const[]){binary, "calc", "--quiet", "--json", "--workers", "1", NULL}, &p.calc_out,
                   &p.calc_err);
    started_is_seen(&tasks, &p);
    kill(p.calc, SIGSTOP); /* until somebody watches it */
    memset(&w, 0, sizeof w);
    w.ws.fd = -1;
    snprintf(w.topic, sizeof w.topic, "%s", p.topic);
    snprintf(w.position, sizeof w.position, "%s", p.since);
    watcher_connect(&w, &fx.b); /* the other server */
    watchers_wait(&w, 1, watcher_has_snapshot, 10000);
    kill(p.calc, SIGCONT);
    watchers_wait(&w, 1, watcher_is_over, 60000);
    run_finish(&fx.r, p.calc, p.calc_out, p.calc_err);
    expect(&fx.r, 1, "\"task\":\"calc-", NULL); /* an item failed */
    json_t *end = ws_until(&tasks, "type", "task.completed.v1");
    assert_string_equal(text_at(json_object_get(end, "data"), "state"), "completed");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(end, "data"), "done")), SYMBOLS + 1);
    assert_true(json_integer_value(json_object_get(json_object_get(end, "data"), "failed")) > 0);
    json_decref(end);
    items_are_seen(&w);
    assert_true(w.states > 0);
    watch_sees_the_same(&p, &w);
    watcher_release(&w);
    ws_done(&tasks);
    stop_both();
}

/* ---- publishers that die, or were overtaken ---- */

#ifdef TL_FAILPOINTS
static bool is_stalled(const struct watcher *w)
{
    return strcmp(w->state, "stalled") == 0;
}
#endif

/* Killed with an event in the stream whose answer it never saw. */
static void a_publisher_dies(void **state)
{
    (void)state;
#ifndef TL_FAILPOINTS
    print_message("needs a build with -Dfailpoints=true\n");
    skip();
#else
    struct ws tasks;
    struct path p = {.calc = 0};
    struct watcher w[2] = {{.ws = {.fd = -1}}, {.ws = {.fd = -1}}};
    ws_open(&tasks, &fx.a);
    assert_true(ws_send(&tasks, "{\"op\":\"subscribe\",\"topics\":[\"tasks\"]}"));
    json_decref(ws_until(&tasks, "op", "snapshot"));
    fx.r.extra_env[4] = "TL_FAILPOINT=event.handed=kill@9";
    p.calc = begin((const char *const[]){getenv("TL_TEST_BINARY"), "calc", "--quiet", "--recompute", NULL}, &p.calc_out,
                   &p.calc_err);
    fx.r.extra_env[4] = NULL;
    started_is_seen(&tasks, &p);
    for (int i = 0; i < 2; i++) {
        snprintf(w[i].topic, sizeof w[i].topic, "%s", p.topic);
        snprintf(w[i].position, sizeof w[i].position, "%s", p.since);
        watcher_connect(&w[i], i ? &fx.b : &fx.a);
    }
    run_finish(&fx.r, p.calc, p.calc_out, p.calc_err);
    assert_int_equal(fx.r.code, 128 + SIGKILL);
    watchers_wait(w, 2, is_stalled, 20000); /* not silence */
    assert_int_equal(w[0].n, w[1].n);
    for (size_t i = 0; i < w[0].n; i++) assert_string_equal(w[0].seen[i], w[1].seen[i]);
    for (int i = 0; i < 2; i++) watcher_whole(&w[i], (size_t)i);
    snprintf(p.target, sizeof p.target, "/api/v1/jobs/%s", p.topic + strlen("task/"));
    json_t *job = ask_json(&fx.b, "GET", p.target, NULL, 200);
    assert_string_equal(text_at(json_object_get(job, "progress"), "state"), "stalled");
    json_decref(job);
    for (int i = 0; i < 2; i++) watcher_release(&w[i]);
    ws_done(&tasks);
    stop_both();
#endif
}

static bool has_five(const struct watcher *w)
{
    return w->n >= 5;
}

static bool has_six(const struct watcher *w)
{
    return w->n >= 6;
}

/* Waits until Redis knows a term of task/unheard above `before`; its epoch. */
static long long epoch_above(long long before)
{
    char reply[64]; /* "$13\r\n1790000000000\r\n", "$-1\r\n" */
    for (int i = 0;; i++, sleep_ms(10)) {
        assert_true(i < 1000);
        assert_true(redis_do(&fx.redis, reply, "HGET", "tierline:snap:{task/unheard}", "epoch"));
        const char *line = strchr(reply, '\n');
        long long epoch = line ? atoll(line + 1) : 0;
        if (epoch > before) return epoch;
    }
}

/* Two servers publish one task; only the later term counts. */
static void a_zombie_is_fenced(void **state)
{
    struct foreign old, new;
    struct watcher w[2];
    (void)state;
    watcher_init(&w[0], &fx.a, "factors");
    watcher_init(&w[1], &fx.b, "factors");
    watchers_wait(w, 2, watcher_has_snapshot, 10000);
    foreign_begin(&old, &fx.a, "factors");
    foreign_items(&old, 4);
    watchers_wait(w, 2, has_five, 10000);
    foreign_begin(&new, &fx.b, "factors");
    assert_true(strcmp(old.term, new.term) != 0);
    watchers_wait(w, 2, has_six, 10000); /* both starts, four items: A knows of the new term */
    assert_int_equal(foreign_post(&old, "task.item.completed.v1", 3), 409);
    assert_int_equal(foreign_post(&old, "task.completed.v1", 0), 409);
    new.sent = 100;
    foreign_items(&new, 2);
    foreign_end(&new);
    watchers_wait(w, 2, watcher_is_over, 10000);
    static const char *const want[] = {
        "started.v1:", "item.completed.v1:0",   "item.completed.v1:1",   "item.completed.v1:2", "item.completed.v1:3",
        "started.v1:", "item.completed.v1:100", "item.completed.v1:101", "completed.v1:"};
    for (int k = 0; k < 2; k++) {
        watcher_whole(&w[k], (size_t)k);
        assert_int_equal(w[k].n, 9);
        for (size_t i = 0; i < 9; i++) assert_string_equal(w[k].seen[i] + strlen("task."), want[i]);
        watcher_release(&w[k]);
    }
    /* One that has not noticed yet is refused by Redis: what it says is seen by nobody, and then it is told. */
    struct foreign third;
    foreign_begin(&old, &fx.a, "unheard");
    char out[64];
    long long first = epoch_above(0);
    assert_true(redis_do(&fx.redis, out, "CLIENT", "KILL", "TYPE", "pubsub"));
    foreign_begin(&third, &fx.b, "unheard");
    (void)epoch_above(first); /* a term begins when Redis has it; the answer does not wait for that */
    for (int i = 0, status = 200; status == 200; i++, sleep_ms(20)) {
        assert_true(i < 250);
        status = foreign_post(&old, "task.item.completed.v1", 1);
        assert_true(status == 200 || status == 409);
    }
    foreign_end(&third);
    watcher_init(&w[0], &fx.b, "unheard");
    watchers_wait(w, 1, watcher_is_over, 10000);
    watcher_release(&w[0]);
    json_t *history = ask_json(&fx.b, "GET", "/api/v1/tasks/unheard/events", NULL, 200);
    const json_t *events = json_object_get(history, "events");
    for (size_t i = 0; i < json_array_size(events); i++)
        assert_null(strstr(text_at(json_array_get(events, i), "type"), ".item."));
    json_decref(history);
    stop_both();
}

/* ---- FLUSHALL ---- */

static bool has_ten(const struct watcher *w)
{
    return w->n >= 11;
}

static bool is_told_anew(const struct watcher *w)
{
    return w->unrecovered > 0;
}

static void redis_is_emptied(void **state)
{
    struct watcher w, late = {.ws = {.fd = -1}};
    struct foreign f;
    char out[64];
    (void)state;
    watcher_init(&w, &fx.b, "emptied");
    watchers_wait(&w, 1, watcher_has_snapshot, 10000);
    foreign_begin(&f, &fx.a, "emptied");
    foreign_items(&f, 10);
    watchers_wait(&w, 1, has_ten, 10000);
    snprintf(late.topic, sizeof late.topic, "%s", w.topic);
    snprintf(late.position, sizeof late.position, "%s", w.position);
    /* The publisher dies with Redis' memory: what they knew is gone. */
    server_end(&fx.a);
    assert_true(redis_do(&fx.redis, out, "FLUSHALL"));
    server_stop(&fx.b);
    server_start(&fx.b, &fx.r);
    server_start(&fx.a, &fx.r);
    watcher_connect(&late, &fx.b);
    watchers_wait(&late, 1, is_told_anew, 10000); /* recovered: false */
    assert_int_equal(late.n, 0);
    /* With the publisher alive nothing is lost: it hands everything in again. */
    watcher_release(&w);
    watcher_init(&w, &fx.b, "refilled");
    watchers_wait(&w, 1, watcher_has_snapshot, 10000);
    foreign_begin(&f, &fx.a, "refilled");
    foreign_items(&f, 10);
    watchers_wait(&w, 1, has_ten, 10000);
    assert_true(redis_do(&fx.redis, out, "FLUSHALL"));
    foreign_items(&f, 10);
    foreign_end(&f);
    watchers_wait(&w, 1, watcher_is_over, 30000);
    watcher_whole(&w, 0);
    size_t missing = 22 - w.n;
    print_message("after FLUSHALL: %zu of 22 events seen, %zu snapshots in place of events\n", w.n, w.unrecovered);
    assert_true(missing == 0 || w.unrecovered > 1); /* never silence */
    assert_string_equal(w.state, "completed");
    watcher_release(&w);
    watcher_release(&late);
    stop_both();
}

/* ---- thousands who come back at once ---- */

static long long xranges(void)
{
    char out[16384];
    assert_true(redis_do(&fx.redis, out, "INFO", "commandstats"));
    const char *at = strstr(out, "cmdstat_xrange:calls=");
    return at ? atoll(at + strlen("cmdstat_xrange:calls=")) : 0;
}

static void thousands_return(void **state)
{
    struct foreign f;
    struct watcher *w = calloc(RETURNING, sizeof *w), first;
    char since[5][WATCHER_POSITION], text[400];
    (void)state;
    assert_non_null(w);
    foreign_begin(&f, &fx.a, "popular");
    watcher_init(&first, &fx.a, "popular");
    watchers_wait(&first, 1, watcher_has_snapshot, 10000);
    for (int i = 0; i < 5; i++) {
        foreign_items(&f, RETURNING_EVENTS / 5);
        for (uint64_t until = now_ms() + 10000; first.n < (size_t)((i + 1) * RETURNING_EVENTS / 5);) {
            assert_true(now_ms() < until);
            ws_pump((struct ws *const[]){&first.ws}, 1, 5);
        }
        snprintf(since[i], sizeof since[i], "%s", first.position);
    }
    foreign_end(&f);
    watchers_wait(&first, 1, watcher_is_over, 10000);
    /* A server that has just begun: it knows nothing of the task but what Redis tells it. */
    server_stop(&fx.b);
    server_start(&fx.b, &fx.r);
    for (size_t i = 0; i < RETURNING; i++) {
        snprintf(w[i].topic, sizeof w[i].topic, "task/popular");
        ws_open(&w[i].ws, &fx.b);
        w[i].ws.on_text = watcher_text;
        snprintf(w[i].position, sizeof w[i].position, "%s", since[i % 5]);
    }
    double reads = metric(&fx.b, "tierline_events_stream_reads_total");
    long long before = xranges();
    uint64_t began = now_ms();
    for (size_t i = 0; i < RETURNING; i++) {
        snprintf(text, sizeof text, "{\"op\":\"subscribe\",\"topics\":[\"task/popular\"],\"since\":\"%s\"}",
                 since[i % 5]);
        assert_true(ws_send(&w[i].ws, text));
    }
    watchers_wait(w, RETURNING, watcher_is_over, 30000);
    reads = metric(&fx.b, "tierline_events_stream_reads_total") - reads;
    long long ranges = xranges() - before;
    print_message("%d came back in %llu ms: %.0f reads of the stream, %lld XRANGE\n", RETURNING,
                  (unsigned long long)(now_ms() - began), reads, ranges);
    assert_true(reads <= 2); /* of the topic, not of each; one more for those who came during the first */
    assert_true(ranges <= 4);
    for (size_t i = 0; i < RETURNING; i++) {
        watcher_whole(&w[i], i);
        assert_int_equal(w[i].unrecovered, 0);
        assert_int_equal(w[i].n, RETURNING_EVENTS / 5 * (4 - i % 5) + 1);
        watcher_release(&w[i]);
    }
    watcher_release(&first);
    free(w);
    stop_both();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_whole_path, start_both, end_both),
        cmocka_unit_test_setup_teardown(a_publisher_dies, start_both, end_both),
        cmocka_unit_test_setup_teardown(a_zombie_is_fenced, start_both, end_both),
        cmocka_unit_test_setup_teardown(redis_is_emptied, start_both, end_both),
        cmocka_unit_test_setup_teardown(thousands_return, start_both, end_both),
    };
    cmocka_set_test_filter(getenv("TEST_ONLY"));
    return cmocka_run_group_tests(tests, setup, teardown);
}
