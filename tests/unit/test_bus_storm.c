/* SPDX-License-Identifier: Apache-2.0 */
/* 50 subscribers in five buses watch a task while Redis and its connections are killed 100 times, and while Redis
 * stands still: every one has every lifecycle event once and in order. */
#include "support.h"

#include "base/rng.h"
#include "bus_fixture.h"
#include "event/bus_i.h"

enum { KILLS = 100, WATCHERS = 50, BUSES = 5 };

static void disturb(struct redis_server *s, uint64_t kind)
{
    char out[256];
    switch (kind) {
    case 0:
        (void)redis_do(s, out, "CLIENT", "KILL", "TYPE", "normal");
        break;
    case 1:
        (void)redis_do(s, out, "CLIENT", "KILL", "TYPE", "pubsub");
        break;
    case 2:
        (void)redis_do(s, out, "FLUSHALL");
        break;
    case 3:
        redis_server_restart(s);
        break;
    default:
        (void)redis_do(s, out, "CLIENT", "KILL", "TYPE", "pubsub");
        (void)redis_do(s, out, "FLUSHALL");
        (void)redis_do(s, out, "CLIENT", "KILL", "TYPE", "normal");
    }
}

/* As a browser whose connection broke: comes back with what it had last. */
static void come_back(struct watch *w, struct bus_node *n)
{
    if (position_none(w->last)) return;
    tl_bus_unsubscribe(&w->sub);
    w->sub.since = w->last;
    assert_int_equal(tl_bus_subscribe(n->bus, &w->sub, NULL), TL_OK);
}

static void storm(void **state)
{
    (void)state;
    struct redis_server s;
    struct bus_node n[BUSES];
    static struct watch w[WATCHERS];
    size_t published = 0;
    struct tl_rng rng;
    const char *seed = getenv("STORM_SEED"); /* another storm */
    tl_rng_seed(&rng, seed ? strtoull(seed, NULL, 10) : 1);
    begin(&s, n, BUSES);
    for (int i = 0; i < WATCHERS; i++) watch_begin(&w[i], &n[i % BUSES], "task/a");
    SPIN_NODES_UNTIL(n, BUSES,
                     w[WATCHERS - 1].snapshots && w[WATCHERS - 2].snapshots && w[WATCHERS - 3].snapshots &&
                         w[WATCHERS - 4].snapshots && w[WATCHERS - 5].snapshots,
                     5000);
    struct tl_task *t = task_begin(&n[0], "a");
    struct tl_task_progress p = {.state = TL_TASK_RUNNING, .eta_ms = -1};
    for (int kill = 0; kill < KILLS; kill++) {
        int turns = 4 + (int)tl_rng_below(&rng, 60), at = (int)tl_rng_below(&rng, (uint64_t)turns);
        for (int turn = 0; turn < turns; turn++) {
            size_t back = tl_rng_below(&rng, WATCHERS * 4);
            if (turn == at) disturb(&s, kill < 5 ? (uint64_t)kill : tl_rng_below(&rng, 5));
            if (back < WATCHERS) come_back(&w[back], &n[back % BUSES]);
            if (turn % 2) task_item(t, (int)published++);
            p.done = published;
            tl_task_progress(t, &p);
            for (size_t k = 0; k < BUSES; k++) uv_run(&n[k].box.loop, UV_RUN_NOWAIT);
            usleep(1000);
        }
    }
    task_complete(t);
    published++;
    size_t ended = 0;
    uint64_t limit = uv_hrtime() + UINT64_C(30000000000);
    while (ended < WATCHERS && uv_hrtime() < limit) {
        for (size_t k = 0; k < BUSES; k++) uv_run(&n[k].box.loop, UV_RUN_NOWAIT);
        ended = 0;
        for (int i = 0; i < WATCHERS; i++) ended += w[i].ended;
        usleep(200);
    }
    struct tl_bus_stats a = bus_stats(&n[0]), b = bus_stats(&n[1]);
    print_message("%d disturbances, %zu events; handed in again %lu, repaired %lu, reads %lu, resyncs %lu\n", KILLS,
                  published, (unsigned long)a.replayed, (unsigned long)b.repaired, (unsigned long)b.stream_reads,
                  (unsigned long)b.resyncs);
    for (int i = 0; i < WATCHERS; i++) {
        if (w[i].snapshots != w[i].recovered + 1)
            print_message("watcher %d of bus %d: %zu snapshots, %zu recovered\n", i, i % BUSES, w[i].snapshots,
                          w[i].recovered);
        if (!w[i].ended) print_message("watcher %d of bus %d has not ended\n", i, i % BUSES);
        expect_all(&w[i], published, 0);
        assert_non_null(strstr(w[i].state, "\"state\":\"completed\""));
    }
    assert_int_equal(ended, WATCHERS);
    for (int i = 0; i < WATCHERS; i++) watch_end(&w[i]);
    end(&s, n, BUSES);
}

/* A server that stands still: nothing is answered, nothing is refused. */
static void standing_still(void **state)
{
    (void)state;
    struct redis_server s;
    struct bus_node n[2];
    struct watch here, there;
    size_t published = 0;
    begin(&s, n, 2);
    watch_begin(&here, &n[0], "task/a");
    watch_begin(&there, &n[1], "task/a");
    SPIN_NODES_UNTIL(n, 2, here.snapshots && there.snapshots, 3000);
    struct tl_task *t = task_begin(&n[0], "a");
    for (int round = 0; round < 4; round++) {
        static const int still_ms[] = {300, 700, 1500,
                                       2500}; /* within and beyond what an exchange may take, and PING */
        for (int i = 0; i < 20; i++) task_item(t, (int)published++);
        SPIN_NODES_UNTIL(n, 2, there.n_life == published, 10000);
        kill(s.pid, SIGSTOP);
        uint64_t until = uv_hrtime() + (uint64_t)still_ms[round] * 1000000;
        while (uv_hrtime() < until) {
            if (published % 200 != 199) task_item(t, (int)published++);
            for (size_t k = 0; k < 2; k++) uv_run(&n[k].box.loop, UV_RUN_NOWAIT);
            usleep(5000);
        }
        published % 200 == 199 ? task_item(t, (int)published++) : (void)0;
        SPIN_UNTIL(n, here.n_life == published, 1000);
        kill(s.pid, SIGCONT);
    }
    task_complete(t);
    SPIN_NODES_UNTIL(n, 2, there.ended && here.ended, 15000);
    expect_all(&here, published + 1, 0);
    expect_all(&there, published + 1, 0);
    watch_end(&here);
    watch_end(&there);
    end(&s, n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(storm), cmocka_unit_test(standing_still)};
    return cmocka_run_group_tests_name("bus_storm", tests, NULL, NULL);
}
