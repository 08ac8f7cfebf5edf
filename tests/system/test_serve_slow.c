/* SPDX-License-Identifier: Apache-2.0 */
/* A thousand WebSockets subscribe and never read. The server's memory stays within a bound, the ten who do read have
 * every event at once, and who takes nothing for server.stall_ms is cut, which the counters say. */
#include "support.h"

#include "run.h"
#include "serve.h"
#include "ws_client.h"

#include "watcher.h"

enum {
    STALLED = SANITIZED ? 150 : 1000, /* a delivery costs ten times as much under sanitizers */
    HEALTHY = 10,
    STALL_MS = 3000,
    DELAY_MS = SANITIZED ? 1000 : 100,  /* that the stalled may cost a healthy reader */
    WORST_MS = SANITIZED ? 5000 : 1000, /* once in a hundred times, when the machine has something else to do */
    ROUNDS_BEFORE = 60,
    LARGE_BYTES = 8192,
    LARGE =
        130, /* 1 MiB: more than the kernel takes for a socket (2 x SO_SNDBUF of 128 KiB, and the reader's buffer) */
    SMALL = 300,
    /* What a stalled socket may cost in user space: the ring of what is queued (at most 4096 pointers, since it has
     * queue_bytes / 64 places), the socket, its session and its subscription. The frames are shared by all. */
    SOCKET_BYTES = 32768 + 16384,
    SHARED_BYTES = 24 << 20 /* frames, the ring of the topic (4 MiB), what the allocator keeps, an answer or two */
};

static struct slow {
    struct run r;
    struct server s;
    struct watcher healthy[HEALTHY];
    struct ws *sockets[HEALTHY];
    struct ws *stalled;
    struct foreign f;
    uint64_t rss_most, slowest;
    size_t rounds, late;
    int subscriptions; /* of the server itself */
} sl;

static int setup(void **state)
{
    run_init(&sl.r);
    sl.r.extra_env[0] = "TIERLINE_STORE=a.db";
    sl.r.extra_env[1] = "TIERLINE_SERVER_ACCESS_LOG=false";
    sl.r.extra_env[2] = "TIERLINE_SERVER_PER_ADDRESS=5000";
    sl.r.extra_env[3] = "TIERLINE_SERVER_STALL_MS=3s";
    server_start(&sl.s, &sl.r);
    *state = &sl;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; sl.stalled && i < STALLED; i++) ws_free(&sl.stalled[i]);
    free(sl.stalled);
    server_end(&sl.s);
    run_release(&sl.r);
    return 0;
}

/* One event of so many bytes. */
static void publish(size_t bytes)
{
    char target[200];
    char *pad = calloc(1, bytes + 1);
    assert_non_null(pad);
    memset(pad, 'x', bytes);
    json_t *e = json_pack("{s:s, s:{s:I, s:s}}", "type", "task.item.completed.v1", "data", "i", (json_int_t)sl.f.sent++,
                          "pad", pad);
    char *text = json_dumps(e, JSON_COMPACT);
    snprintf(target, sizeof target, "/api/v1/tasks/%s/events?term=%s", sl.f.id, sl.f.term);
    assert_int_equal(ask_status(&sl.s, "POST", target, text), 200);
    free(text);
    free(pad);
    json_decref(e);
}

/* Publishes one and waits until everybody who reads has it. alone_ms: how long that took without the stalled. */
static void publish_and_wait(size_t bytes, uint64_t alone_ms)
{
    uint64_t began = now_ms();
    size_t want = sl.f.sent + 2, behind = HEALTHY; /* with the start */
    publish(bytes);
    while (behind > 0) {
        ws_pump(sl.sockets, HEALTHY, 1);
        behind = 0;
        for (size_t i = 0; i < HEALTHY; i++) behind += sl.healthy[i].n < want;
        if (now_ms() - began > 10000) fail_msg("%zu healthy readers wait for event %zu", behind, want);
    }
    uint64_t rss = server_rss(&sl.s);
    if (rss > sl.rss_most) sl.rss_most = rss;
    uint64_t took = now_ms() - began;
    if (took > sl.slowest) sl.slowest = took;
    sl.late += took > alone_ms + DELAY_MS;
    sl.rounds++;
}

static void publish_many(size_t n, size_t bytes, uint64_t alone_ms)
{
    for (size_t i = 0; i < n; i++) publish_and_wait(bytes, alone_ms);
}

static void the_stalled_come(void)
{
    int small = 4096;
    sl.stalled = calloc(STALLED, sizeof *sl.stalled);
    assert_non_null(sl.stalled);
    for (size_t i = 0; i < STALLED; i++) {
        ws_open(&sl.stalled[i], &sl.s);
        setsockopt(sl.stalled[i].fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        assert_true(ws_send(&sl.stalled[i], "{\"op\":\"subscribe\",\"topics\":[\"task/heavy\"]}"));
    }
    for (uint64_t until = now_ms() + 15000;
         metric(&sl.s, "tierline_events_subscriptions") < STALLED + HEALTHY + sl.subscriptions;)
        assert_true(now_ms() < until);
}

static void a_thousand_stand_still(void **state)
{
    (void)state;
    sl.subscriptions = (int)metric(&sl.s, "tierline_events_subscriptions");
    for (size_t i = 0; i < HEALTHY; i++) {
        watcher_init(&sl.healthy[i], &sl.s, "heavy");
        sl.sockets[i] = &sl.healthy[i].ws;
    }
    watchers_wait(sl.healthy, HEALTHY, watcher_has_snapshot, 10000);
    foreign_begin(&sl.f, &sl.s, "heavy");
    publish_many(ROUNDS_BEFORE, LARGE_BYTES, 0);
    uint64_t alone = sl.slowest, before = server_rss(&sl.s);
    sl.slowest = sl.late = sl.rounds = 0;
    the_stalled_come();
    publish_many(LARGE, LARGE_BYTES, alone);
    uint64_t full_ms = now_ms();
    publish_many(SMALL, 100, alone);
    double queued = metric(&sl.s, "tierline_ws_queued_bytes"), cut = 0;
    while (cut < STALLED) { /* the others go on meanwhile */
        publish_and_wait(100, alone);
        cut = metric(&sl.s, "tierline_ws_stalled_total");
        if (now_ms() - full_ms > STALL_MS + 10000) fail_msg("%.0f of %d were cut", cut, STALLED);
    }
    uint64_t grown = sl.rss_most > before ? sl.rss_most - before : 0,
             most = STALLED * (uint64_t)SOCKET_BYTES + SHARED_BYTES;
    print_message("%d stalled: slowest delivery to the others %llu ms (%llu ms without them); %.1f MiB were queued; "
                  "memory grew by %.1f MiB of at most %.1f; all cut after %.1f s\n",
                  STALLED, (unsigned long long)sl.slowest, (unsigned long long)alone, queued / 1048576,
                  (double)grown / 1048576, (double)most / 1048576, (double)(now_ms() - full_ms) / 1e3);
    if (!SANITIZED) assert_true(grown <= most); /* a sanitizer's allocator keeps what was freed */
    if (sl.late * 100 > sl.rounds || sl.slowest > WORST_MS)
        fail_msg("%zu of %zu deliveries were late", sl.late, sl.rounds);
    assert_true(now_ms() - full_ms >= STALL_MS - 1500);
    assert_int_equal((int)cut, STALLED);
    assert_true(metric(&sl.s, "tierline_ws_full_total") >= STALLED);
    assert_true(metric(&sl.s, "tierline_feed_resyncs_total") >= STALLED);
    assert_int_equal((int)metric(&sl.s, "tierline_ws_sockets"), HEALTHY);
    assert_int_equal((int)metric(&sl.s, "tierline_events_subscriptions"), HEALTHY + sl.subscriptions);
    foreign_end(&sl.f);
    watchers_wait(sl.healthy, HEALTHY, watcher_is_over, 10000);
    for (size_t i = 0; i < HEALTHY; i++) {
        watcher_whole(&sl.healthy[i], i);
        assert_int_equal(sl.healthy[i].n, sl.f.sent + 2);
        assert_int_equal(sl.healthy[i].resyncs, 0);
        watcher_release(&sl.healthy[i]);
    }
    server_stop(&sl.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_thousand_stand_still)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
