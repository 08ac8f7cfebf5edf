/* SPDX-License-Identifier: Apache-2.0 */
/* Redis and its connections are killed a hundred times while two servers, a calculation and a foreign program publish,
 * and fifty WebSockets watch: each of them has every lifecycle event once and in order, and ends on the final state. */
#include "support.h"

#include "redis_server.h"
#include "run.h"
#include "serve.h"
#include "ws_client.h"

#include "watcher.h"

enum {
    KILLS = SANITIZED ? 40 : 100, /* under sanitizers reconnecting takes several times as long */
    WATCHERS = 50,
    STEP_MS = 120,
    SYMBOLS = 150,
    AT_ONCE = 7 /* events of a request */
};

static struct storm {
    struct run r;
    struct redis_server redis;
    struct server servers[2];
    char redis_env[160], calc_id[64];
    pid_t calc;
    int out, err;
    bool stopped; /* the calculation stands still */
    struct foreign foreign;
    struct watcher w[WATCHERS]; /* even: of the foreign task; odd: of the calculation */
    struct ws *sockets[WATCHERS];
    size_t restarts, emptied, came_back;
} st;

static int setup(void **state)
{
    static const char *const kept[] = {"--appendonly", "yes", NULL};
    redis_server_start(&st.redis, kept);
    run_init(&st.r);
    snprintf(st.redis_env, sizeof st.redis_env, "TIERLINE_REDIS=%s", st.redis.url);
    st.r.extra_env[0] = st.redis_env;
    st.r.extra_env[1] = "TIERLINE_STORE=a.db";
    st.r.extra_env[2] = "TIERLINE_SERVER_ACCESS_LOG=false";
    st.r.extra_env[3] = "TIERLINE_LOG_LEVEL=error";
    run_shell(&st.r, "$TIER sample m --symbols 150 --years 2 >/dev/null && $TIER import m/bars --quiet 2>/dev/null");
    expect(&st.r, 0, NULL, NULL);
    st.r.extra_env[3] = NULL;
    for (int i = 0; i < 2; i++) server_start(&st.servers[i], &st.r);
    *state = &st;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (st.calc > 0) {
        kill(st.calc, SIGKILL);
        waitpid(st.calc, NULL, 0);
    }
    for (int i = 0; i < 2; i++) server_end(&st.servers[i]);
    run_release(&st.r);
    redis_server_stop(&st.redis);
    return 0;
}

/* ---- disturbances ---- */

static void restart(bool keep)
{
    char command[160];
    redis_server_kill(&st.redis);
    if (!keep) {
        snprintf(command, sizeof command, "rm -rf %s/appendonly*", st.redis.dir);
        run_shell(&st.r, command);
        st.emptied++;
    }
    st.restarts++;
    redis_spawn(&st.redis);
    assert_true(redis_wait(&st.redis));
}

static void disturb(int i)
{
    char out[64];
    if (i % 25 == 12 || i % 25 == 24)
        restart(i % 25 == 12);
    else
        assert_true(redis_do(&st.redis, out, "CLIENT", "KILL", "TYPE", i % 2 ? "pubsub" : "normal"));
}

/* As a browser whose network failed: another socket, perhaps of the other server, from the last position on. */
static void come_back(size_t i)
{
    struct watcher *w = &st.w[i];
    if (!w->position[0] || w->over) return;
    watcher_connect(w, &st.servers[(i / 2 + st.came_back) % 2]);
    st.came_back++;
}

/* ---- the calculation ---- */

/* It is let run for moments only, so that it lasts as long as the storm. */
static void calc_moment(uint64_t ms)
{
    if (!st.stopped) return;
    kill(st.calc, SIGCONT);
    ws_pump(st.sockets, WATCHERS, ms);
    kill(st.calc, SIGSTOP);
}

static void calc_begins(void)
{
    struct ws tasks;
    ws_open(&tasks, &st.servers[0]);
    assert_true(ws_send(&tasks, "{\"op\":\"subscribe\",\"topics\":[\"tasks\"]}"));
    json_decref(ws_until(&tasks, "op", "snapshot"));
    st.calc = run_start(
        &st.r, (const char *const[]){getenv("TL_TEST_BINARY"), "calc", "--quiet", "--json", "--workers", "1", NULL},
        &st.out, &st.err);
    json_t *doc = ws_until(&tasks, "type", "task.started.v1");
    kill(st.calc, SIGSTOP);
    st.stopped = true;
    snprintf(st.calc_id, sizeof st.calc_id, "%s", text_at(doc, "subject") + strlen("task/"));
    json_decref(doc);
    ws_done(&tasks);
}

/* ---- what must have been seen ---- */

static void foreign_is_whole(const struct watcher *w, size_t number)
{
    watcher_whole(w, number);
    if (w->n != st.foreign.sent + 2)
        fail_msg("watcher %zu of the foreign task: %zu events of %zu; %zu snapshots in place of events", number, w->n,
                 st.foreign.sent + 2, w->unrecovered);
    assert_string_equal(w->seen[0], "task.started.v1:");
    for (size_t k = 0; k < st.foreign.sent; k++) {
        char want[WATCHER_KEY];
        snprintf(want, sizeof want, "task.item.completed.v1:%zu", k);
        assert_string_equal(w->seen[k + 1], want);
    }
    assert_string_equal(w->seen[w->n - 1], "task.completed.v1:");
    assert_string_equal(w->state, "completed");
}

static void calc_is_whole(const struct watcher *w, size_t number, const struct watcher *first)
{
    watcher_whole(w, number);
    if (w->n != first->n)
        fail_msg("watcher %zu of the calculation: %zu events of %zu; %zu snapshots in place of events", number, w->n,
                 first->n, w->unrecovered);
    for (size_t k = 0; k < w->n; k++) assert_string_equal(w->seen[k], first->seen[k]);
    assert_string_equal(w->state, "completed");
}

/* Every symbol once: completed, or (too young) failed alone. */
static void calc_has_every_symbol(const struct watcher *w)
{
    static char symbols[4096][WATCHER_KEY];
    size_t n = 0;
    assert_string_equal(w->seen[0], "task.started.v1:");
    assert_string_equal(w->seen[w->n - 1], "task.completed.v1:");
    for (size_t i = 1; i + 1 < w->n; i++) {
        const char *symbol = strchr(w->seen[i], ':');
        bool completed = strstr(w->seen[i], ".completed.") != NULL, known = false;
        for (size_t k = 1; k < i; k++)
            if (completed && strcmp(w->seen[k], w->seen[i]) == 0) fail_msg("twice: %s", w->seen[i]);
        for (size_t k = 0; k < n; k++) known = known || strcmp(symbols[k], symbol) == 0;
        if (!known) snprintf(symbols[n++], WATCHER_KEY, "%s", symbol);
    }
    assert_int_equal(n, SYMBOLS);
}

/* ---- the storm ---- */

static void everybody_watches(void)
{
    for (size_t i = 0; i < WATCHERS; i++) {
        struct watcher *w = &st.w[i];
        *w = (struct watcher){.ws = {.fd = -1}};
        st.sockets[i] = &w->ws;
        if (i % 2) {
            snprintf(w->topic, sizeof w->topic, "task/%s", st.calc_id);
            snprintf(w->position, sizeof w->position, "1-1"); /* from its beginning */
        } else {
            snprintf(w->topic, sizeof w->topic, "task/storm");
        }
        watcher_connect(w, &st.servers[i / 2 % 2]);
    }
    watchers_wait(st.w, WATCHERS, watcher_has_snapshot, 15000);
}

static void a_hundred_kills(void **state)
{
    (void)state;
    uint64_t began = now_ms();
    calc_begins();
    everybody_watches();
    foreign_begin(&st.foreign, &st.servers[0], "storm");
    for (int i = 0; i < KILLS; i++) {
        foreign_items(&st.foreign, AT_ONCE);
        disturb(i);
        foreign_items(&st.foreign, AT_ONCE);
        calc_moment(10);
        if (i % 5 == 3) come_back((size_t)i * 7 % WATCHERS);
        ws_pump(st.sockets, WATCHERS, STEP_MS);
    }
    foreign_end(&st.foreign);
    kill(st.calc, SIGCONT);
    st.stopped = false;
    uint64_t ended = now_ms();
    watchers_wait(st.w, WATCHERS, watcher_is_over, 60000);
    run_finish(&st.r, st.calc, st.out, st.err);
    st.calc = 0;
    print_message(
        "%d kills (%zu restarts, %zu of them empty) in %.1f s, %zu clients came back; %zu events of the foreign "
        "task, %zu of the calculation; all there %.1f s after the last\n",
        KILLS, st.restarts, st.emptied, (double)(ended - began) / 1e3, st.came_back, st.w[0].n, st.w[1].n,
        (double)(now_ms() - ended) / 1e3);
    ws_pump(st.sockets, WATCHERS, 300); /* nothing comes behind the end */
    for (size_t i = 0; i < WATCHERS; i += 2) foreign_is_whole(&st.w[i], i);
    for (size_t i = 1; i < WATCHERS; i += 2) calc_is_whole(&st.w[i], i, &st.w[1]);
    calc_has_every_symbol(&st.w[1]);
    for (size_t i = 0; i < WATCHERS; i++) watcher_release(&st.w[i]);
    for (int i = 0; i < 2; i++) server_stop(&st.servers[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_hundred_kills)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
