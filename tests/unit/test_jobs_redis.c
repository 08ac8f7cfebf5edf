/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs of several processes on one Redis: handed in here and run there, seen, cancelled and tried again from anywhere,
 * handed over, taken over, and what happens when Redis is away or has lost everything. Processes are nodes on loops of
 * their own in one test; one that is not turned stands still. */
#include "support.h"

#include "market_fixture.h"
#include "redis_server.h"

#include "base/util.h"
#include "job/jobs_i.h"
#include "job_node.h"

enum { SYMBOLS = 60, SHORT = 10, SPECS = 4 };
#define SPECS_TEXT "SMA(5);MACD(12,26,9);KDJ(9,3,3);BBANDS(20,2,2,SMA)"

static struct market market;
static struct redis_server server;

static int set_up(void **state)
{
    (void)state;
    redis_server_start(&server, NULL);
    market_open(&market);
    for (size_t i = 0; i < SYMBOLS; i++) {
        char text[16];
        snprintf(text, sizeof text, "%06zu.SH", 600000 + i);
        market_import_walk(&market, text, i % SHORT == 0 ? 15 : 1500 + i, i, 0);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    market_close(&market);
    redis_server_stop(&server);
    return 0;
}

static struct tl_job_request request(void)
{
    struct tl_job_request r = proc_request;
    r.specs = SPECS_TEXT;
    return r;
}

static long long redis_number(const char *command, const char *key)
{
    char out[256];
    assert_true(redis_do(&server, out, command, key));
    if (out[0] != ':') fail_msg("%s %s: %s", command, key, out);
    return atoll(out + 1);
}

/* Nothing of any job is left in the queue's keys. */
static bool queue_is_empty(void)
{
    static const char *const keys[] = {"tierline:{jobs}:queue", "tierline:{jobs}:requests", "tierline:{jobs}:running",
                                       "tierline:{jobs}:cancel"};
    long long n = 0;
    for (size_t i = 0; i < TL_COUNT(keys); i++) n += redis_number("EXISTS", keys[i]);
    return n == 0;
}

static void handed_in_here_run_there(void **state)
{
    (void)state;
    struct proc a, b;
    struct heard h, all;
    char id[101], again[101];
    const struct tl_job_request r = request();
    const size_t few = 2 * SYMBOLS / SHORT;
    proc_open(&a, market.path, server.url, NULL, false);
    hear(&a, &all, "tasks");
    assert_int_equal(proc_post(&a, NULL, &r, id), TL_OK);
    assert_true(proc_state_is(&a, NULL, id, "queued"));
    PROC_UNTIL(&a, 5000, all.queued > 0); /* who watches sees that it waits */
    hear(&a, &h, id);
    PROC_UNTIL(&a, 5000, h.snapshots > 0);
    assert_true(h.queued > 0);
    assert_int_equal(redis_number("LLEN", "tierline:{jobs}:queue"), 1);
    assert_int_equal(h.started, 0);
    proc_open(&b, market.path, server.url, NULL, true);
    PROC_UNTIL2(&a, &b, 30000, h.over);
    assert_string_equal(h.last, "task.completed.v1");
    assert_int_equal(h.started, 1);
    assert_int_equal(h.completed_items, SYMBOLS);
    assert_int_equal(h.failed_items, few);
    assert_int_equal(all.over, 1);
    /* the one that did not run it can show it, page its failures and try it again */
    PROC_UNTIL2(&a, &b, 5000, proc_state_is(&a, &b, id, "completed"));
    struct paged e = proc_errors(&a, &b, id, 1, 1000);
    assert_int_equal(e.status, TL_OK);
    assert_int_equal(e.op.total, few);
    assert_int_equal(e.op.n, few - 1);
    free(e.op.items);
    assert_int_equal(proc_call(&a, &b, tl_jobs_retry, id, again), TL_OK);
    PROC_UNTIL2(&a, &b, 20000, proc_state_is(&a, &b, again, "completed"));
    assert_int_equal(proc_number(&a, &b, again, "failed"), few);
    assert_int_equal(proc_number(&a, &b, again, "total"), SYMBOLS / SHORT);
    PROC_UNTIL2(&a, &b, 5000, queue_is_empty());
    hear_no_more(&h);
    hear_no_more(&all);
    proc_close(&a);
    proc_close(&b);
}

static void two_share_the_queue(void **state)
{
    (void)state;
    enum { N = 8 };
    struct proc a, b;
    char ids[N][101];
    const struct tl_job_request r = request();
    proc_open(&a, market.path, server.url, NULL, true);
    proc_open(&b, market.path, server.url, NULL, true);
    for (size_t i = 0; i < N; i++) assert_int_equal(proc_post(i % 2 ? &a : &b, i % 2 ? &b : &a, &r, ids[i]), TL_OK);
    long long computed = 0;
    for (size_t i = 0; i < N; i++) {
        PROC_UNTIL2(&a, &b, 30000, proc_state_is(&a, &b, ids[i], "completed"));
        computed += proc_number(&a, &b, ids[i], "computed");
    }
    assert_int_equal(computed, SYMBOLS * SPECS - 2 * SYMBOLS / SHORT); /* each indicator once, whoever made it */
    PROC_UNTIL2(&a, &b, 5000, queue_is_empty());
    proc_close(&a);
    proc_close(&b);
}

static void count_item(void *ctx)
{
    ++*(unsigned *)ctx;
}

static void cancelled_from_elsewhere(void **state)
{
    (void)state;
    struct proc a, b;
    struct heard h;
    char id[101], waiting[101];
    unsigned items = 0;
    const struct tl_job_request r = request();
    proc_open(&a, market.path, server.url, NULL, false);
    proc_open(&b, market.path, server.url, NULL, true);
    assert_int_equal(proc_post(&a, &b, &r, id), TL_OK);
    hear(&a, &h, id);
    h.on_item = count_item;
    h.ctx = &items;
    PROC_UNTIL2(&a, &b, 20000, items > 0 || h.over);
    assert_int_equal(proc_post(&a, NULL, &r, waiting), TL_OK); /* b stands still */
    assert_int_equal(proc_call(&a, NULL, tl_jobs_cancel, waiting, NULL), TL_OK);
    assert_int_equal(proc_call(&a, NULL, tl_jobs_cancel, id, NULL), TL_OK);
    PROC_UNTIL2(&a, &b, 20000, h.over);
    assert_string_equal(h.last, "task.cancelled.v1");
    assert_true(h.completed_items < SYMBOLS);
    PROC_UNTIL2(&a, &b, 5000, proc_state_is(&a, &b, id, "cancelled") && proc_state_is(&a, &b, waiting, "cancelled"));
    assert_int_equal(proc_call(&a, &b, tl_jobs_cancel, id, NULL), TL_CONFLICT);
    assert_int_equal(proc_call(&a, &b, tl_jobs_cancel, "daily-1-1", NULL), TL_NOT_FOUND);
    PROC_UNTIL2(&a, &b, 5000, queue_is_empty());
    hear_no_more(&h);
    proc_close(&a);
    proc_close(&b);
}

static void drained_goes_on_elsewhere(void **state)
{
    (void)state;
    struct proc a, b;
    struct heard h;
    char id[101];
    unsigned items = 0;
    const struct tl_job_request r = request();
    proc_open(&a, market.path, server.url, NULL, true);
    proc_open(&b, market.path, server.url, NULL, false);
    hear(&b, &h, "tasks");
    assert_int_equal(proc_post(&a, &b, &r, id), TL_OK);
    struct heard own;
    hear(&a, &own, id);
    own.on_item = count_item;
    own.ctx = &items;
    PROC_UNTIL2(&a, &b, 20000, items > 0);
    hear_no_more(&own);
    proc_close(&a);
    assert_int_equal(redis_number("LLEN", "tierline:{jobs}:queue"), 1);
    assert_int_equal(redis_number("EXISTS", "tierline:{jobs}:running"), 0);
    assert_true(items < SYMBOLS);
    proc_open(&a, market.path, server.url, NULL, true);
    PROC_UNTIL2(&a, &b, 20000, h.over);
    assert_string_equal(h.last, "task.completed.v1");
    assert_int_equal(h.over, 1);
    assert_true(json_integer_value(json_object_get(h.end, "from_cache")) > 0);
    assert_true(json_integer_value(json_object_get(h.end, "computed")) < SYMBOLS * SPECS);
    PROC_UNTIL2(&a, &b, 5000, queue_is_empty());
    hear_no_more(&h);
    proc_close(&a);
    proc_close(&b);
}

/* The one that runs it stands still beyond its lease; when it moves again it finds that it is not its job any more. */
static void who_stands_still_is_taken_over(void **state)
{
    (void)state;
    struct proc a, b;
    struct heard h;
    char id[101];
    unsigned items = 0;
    const struct tl_job_request r = request();
    proc_open(&a, market.path, server.url, NULL, true);
    assert_int_equal(proc_post(&a, NULL, &r, id), TL_OK);
    struct heard own;
    hear(&a, &own, id);
    own.on_item = count_item;
    own.ctx = &items;
    PROC_UNTIL(&a, 20000, items > 0 && own.failed_items > 0); /* a has something that its record does not say yet */
    proc_open(&b, market.path, server.url, NULL, true);
    hear(&b, &h, id);
    PROC_UNTIL(&b, 30000, h.over);
    assert_string_equal(h.last, "task.completed.v1");
    PROC_UNTIL2(&b, &a, 20000, own.over || own.ended_in_snapshot);
    for (int i = 0; i < 500; i++) { /* a has nothing to say about it any more */
        proc_turn(&a);
        proc_turn(&b);
    }
    assert_int_equal(h.over, 1);
    assert_int_equal(own.over + own.ended_in_snapshot, 1);
    assert_true(proc_state_is(&b, &a, id, "completed"));
    PROC_UNTIL2(&a, &b, 5000, queue_is_empty());
    hear_no_more(&h);
    hear_no_more(&own);
    proc_close(&a);
    proc_close(&b);
}

static void redis_loses_everything(void **state)
{
    (void)state;
    struct proc a;
    struct heard h;
    char id[101], out[64];
    unsigned items = 0;
    const struct tl_job_request r = request();
    proc_open(&a, market.path, server.url, NULL, true);
    assert_int_equal(proc_post(&a, NULL, &r, id), TL_OK);
    hear(&a, &h, id);
    h.on_item = count_item;
    h.ctx = &items;
    PROC_UNTIL(&a, 20000, items > 0);
    assert_true(redis_do(&server, out, "FLUSHALL"));
    PROC_UNTIL(&a, 30000, h.over);
    assert_string_equal(h.last, "task.completed.v1");
    assert_int_equal(h.completed_items, SYMBOLS);
    PROC_UNTIL(&a, 10000, queue_is_empty());
    hear_no_more(&h);
    proc_close(&a);
}

static void without_redis_it_runs_here(void **state)
{
    (void)state;
    struct proc a, b;
    char id[101], later[101];
    const struct tl_job_request r = request();
    proc_open(&a, market.path, server.url, NULL, true);
    proc_open(&b, market.path, server.url, NULL, false);
    redis_server_kill(&server);
    PROC_UNTIL2(&a, &b, 10000,
                a.node.cache->redis_state == TL_REDIS_AWAY && b.node.cache->redis_state == TL_REDIS_AWAY);
    assert_int_equal(proc_post(&b, &a, &r, NULL), TL_IO); /* and it runs none itself */
    assert_int_equal(proc_post(&a, &b, &r, id), TL_OK);
    PROC_UNTIL2(&a, &b, 60000, proc_state_is(&a, &b, id, "completed"));
    redis_server_restart(&server);
    PROC_UNTIL2(&a, &b, 20000,
                a.node.cache->redis_state == TL_REDIS_JOINED && b.node.cache->redis_state == TL_REDIS_JOINED);
    enum tl_status st = TL_IO; /* the connection of the jobs comes back by itself, too */
    for (int i = 0; i < 100 && st != TL_OK; i++) {
        for (int k = 0; k < 500; k++) proc_turn(&a), proc_turn(&b);
        st = proc_post(&b, &a, &r, later);
    }
    assert_int_equal(st, TL_OK);
    PROC_UNTIL2(&a, &b, 30000, proc_state_is(&b, &a, later, "completed"));
    proc_close(&a);
    proc_close(&b);
}

/* What was taken while Redis was away is not lost with the process: the next one on the store has it. */
static void what_was_taken_alone_is_handed_in_again(void **state)
{
    (void)state;
    struct proc a, b;
    char ids[2][101];
    const struct tl_job_request r = request();
    proc_open(&a, market.path, server.url, NULL, true);
    redis_server_kill(&server);
    PROC_UNTIL(&a, 10000, a.node.cache->redis_state == TL_REDIS_AWAY);
    for (int i = 0; i < 2; i++) assert_int_equal(proc_post(&a, NULL, &r, ids[i]), TL_OK);
    PROC_UNTIL(&a, 20000, proc_state_is(&a, NULL, ids[0], "running"));
    proc_close(&a);
    redis_server_restart(&server);
    proc_open(&b, market.path, server.url, NULL, true);
    for (int i = 0; i < 2; i++) PROC_UNTIL(&b, 30000, proc_state_is(&b, NULL, ids[i], "completed"));
    PROC_UNTIL(&b, 5000, queue_is_empty());
    proc_close(&b);
    proc_open(&b, market.path, server.url, NULL, true); /* and not once more */
    for (int i = 0; i < 500; i++) proc_turn(&b);
    for (int i = 0; i < 2; i++) assert_true(proc_state_is(&b, NULL, ids[i], "completed"));
    assert_true(queue_is_empty());
    proc_close(&b);
}

/* Redis comes back while some of them still wait: who is about to end gives them to all. */
static void what_was_taken_alone_is_handed_over(void **state)
{
    (void)state;
    enum { N = 6 };
    struct proc a, b;
    char ids[N][101];
    const struct tl_job_request r = request();
    proc_open(&a, market.path, server.url, NULL, true);
    redis_server_kill(&server);
    PROC_UNTIL(&a, 10000, a.node.cache->redis_state == TL_REDIS_AWAY);
    for (int i = 0; i < N; i++) assert_int_equal(proc_post(&a, NULL, &r, ids[i]), TL_OK);
    redis_server_restart(&server);
    PROC_UNTIL(&a, 20000, tl_jobs_redis_up(a.node.jobs) || proc_state_is(&a, NULL, ids[N - 1], "completed"));
    proc_close(&a);
    proc_open(&b, market.path, server.url, NULL, true);
    for (int i = 0; i < N; i++) PROC_UNTIL(&b, 30000, proc_state_is(&b, NULL, ids[i], "completed"));
    PROC_UNTIL(&b, 5000, queue_is_empty());
    proc_close(&b);
}

static void a_schedule_runs_once(void **state)
{
    (void)state;
    struct proc p[3];
    struct heard h;
    struct tl_err err;
    static const char ini[] = "[schedules]\nnightly = 30 3 * * *; symbols=600001.SH; wait=1%; wait_max=1s\n";
    int64_t day = tl_civil_days(2031, 5, 7) * TL_DAY_MS;
    for (int i = 0; i < 3; i++) {
        int64_t offset = day + (3 * 60 + 30) * INT64_C(60000) - 2000 - tl_clock_wall_ms(&tl_clock_system);
        if (proc_try(&p[i], market.path, server.url, ini, true, offset, &err) != TL_OK) fail_msg("%s", err.text);
    }
    hear(&p[0], &h, "tasks");
    uint64_t end = uv_hrtime() + UINT64_C(8000000000);
    while (uv_hrtime() < end)
        for (int i = 0; i < 3; i++) proc_turn(&p[i]);
    assert_int_equal(h.started, 1);
    assert_int_equal(h.over, 1);
    struct tl_schedule_info s[3];
    for (int i = 0; i < 3; i++) {
        assert_true(tl_jobs_schedule(p[i].node.jobs, 0, &s[i]));
        assert_int_equal(s[i].last_ms, day + (3 * 60 + 30) * INT64_C(60000));
        assert_string_equal(s[i].last_job, s[0].last_job); /* all know what became of it */
    }
    assert_memory_equal(s[0].last_job, "nightly-", 8);
    hear_no_more(&h);
    for (int i = 0; i < 3; i++) proc_close(&p[i]);
}

static void on_flag(void *ctx)
{
    *(bool *)ctx = true;
}

static void too_many_wait(void **state)
{
    (void)state;
    struct proc a;
    struct tl_jobs *few;
    struct tl_err err;
    const struct tl_job_request r = request();
    proc_open(&a, market.path, server.url, NULL, false);
    const struct tl_jobs_options o = {.cache = a.node.cache,
                                      .scheduler = a.node.scheduler,
                                      .bus = a.node.bus,
                                      .locks = a.node.locks,
                                      .redis_url = server.url,
                                      .config = a.cfg,
                                      .sessions = a.node.hours.view,
                                      .queue_max = 2};
    assert_int_equal(tl_jobs_open(&a.loop, &o, &few, &err), TL_OK);
    struct tl_jobs *usual = a.node.jobs;
    a.node.jobs = few;
    for (int i = 0; i < 200; i++) proc_turn(&a);
    assert_int_equal(proc_post(&a, NULL, &r, NULL), TL_OK);
    assert_int_equal(proc_post(&a, NULL, &r, NULL), TL_OK);
    assert_int_equal(proc_post(&a, NULL, &r, NULL), TL_FULL);
    assert_int_equal(redis_number("LLEN", "tierline:{jobs}:queue"), 2);
    a.node.jobs = usual;
    bool closed = false;
    tl_jobs_close(few, on_flag, &closed);
    PROC_UNTIL(&a, 5000, closed);
    proc_close(&a);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(handed_in_here_run_there),
        TEST(two_share_the_queue),
        TEST(cancelled_from_elsewhere),
        TEST(drained_goes_on_elsewhere),
        TEST(who_stands_still_is_taken_over),
        TEST(redis_loses_everything),
        TEST(without_redis_it_runs_here),
        TEST(what_was_taken_alone_is_handed_in_again),
        TEST(what_was_taken_alone_is_handed_over),
        TEST(a_schedule_runs_once),
        TEST(too_many_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
