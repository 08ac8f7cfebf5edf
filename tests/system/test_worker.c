/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline worker`, the real binary on a real Redis: one is killed in the middle of a job and the other finishes it, a
 * job is cancelled from elsewhere, handed over at SIGTERM, a schedule runs once, and `calc` can be watched and
 * cancelled. The test itself is a process on the same Redis that runs no jobs. */
#include "support.h"

#include "market/civil.h"
#include "redis_server.h"
#include "run.h"
#include "unit/market_fixture.h"
#include "unit/job_node.h"

#include <time.h>

enum { SYMBOLS = 400 };

struct world {
    struct run r;
    struct redis_server s;
    char redis[160], store[128];
    char specs[4096]; /* enough to be at it for a while */
    size_t n_specs;
};

static int setup(void **state)
{
    static struct world w;
    redis_server_start(&w.s, NULL);
    run_init(&w.r);
    snprintf(w.redis, sizeof w.redis, "TIERLINE_REDIS=%s", w.s.url);
    snprintf(w.store, sizeof w.store, "%s/a.db", w.r.dir);
    w.r.extra_env[0] = w.redis;
    w.r.extra_env[1] = "TIERLINE_STORE=a.db";
    w.r.extra_env[2] = "TIERLINE_CALC_LEASE_MS=600";
    w.r.extra_env[3] = "TIERLINE_CALC_WORKERS=1";
    run(&w.r, "sample", "m", "--symbols", "400", "--years", "8");
    run(&w.r, "import", "m/bars", "--quiet");
    expect(&w.r, 0, NULL, NULL);
    size_t n = 0;
    for (int i = 2; i < 32; i++, w.n_specs++)
        n += (size_t)snprintf(w.specs + n, sizeof w.specs - n, "%sSMA(%d)", i == 2 ? "" : ";", i);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    run_release(&w->r);
    redis_server_stop(&w->s);
    return 0;
}

/* The market as if nothing had been computed. */
static void forget(struct world *w)
{
    char out[64];
    run_shell(&w->r, "rm -f a.db-wal a.db-shm a.db && $TIER import m/bars --quiet --redis none");
    expect(&w->r, 0, NULL, NULL);
    assert_true(redis_do(&w->s, out, "FLUSHALL"));
}

struct child {
    pid_t pid;
    int out, err;
    char instance[17];
};

static char *said(const struct child *c)
{
    return run_text_of(dup(c->err));
}

static void wait_for_text(const struct child *c, const char *text, int limit_ms)
{
    for (int ms = 0; ms < limit_ms; ms += 20) {
        char *all = said(c);
        bool there = strstr(all, text) != NULL;
        free(all);
        if (there) return;
        redis_sleep_ms(20);
    }
    char *all = said(c);
    fail_msg("'%s' was not said:\n%s", text, all);
}

static void worker_start(struct world *w, struct child *c)
{
    const char *const argv[] = {getenv("TL_TEST_BINARY"), "worker", NULL};
    *c = (struct child){.out = -1, .err = -1};
    c->pid = run_start(&w->r, argv, &c->out, &c->err);
    wait_for_text(c, "worker ready", 10000);
    char *all = said(c), *at = strstr(all, "instance=");
    assert_non_null(at);
    snprintf(c->instance, sizeof c->instance, "%.16s", at + 9);
    free(all);
}

/* The exit code; how long it took. */
static int worker_end(struct world *w, struct child *c, int number, long *ms)
{
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    assert_int_equal(kill(c->pid, number), 0);
    run_finish(&w->r, c->pid, c->out, c->err);
    clock_gettime(CLOCK_MONOTONIC, &to);
    if (ms) *ms = (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
    return w->r.code;
}

static struct tl_job_request request(const struct world *w)
{
    struct tl_job_request r = proc_request;
    r.specs = w->specs;
    return r;
}

static void count_item(void *ctx)
{
    ++*(unsigned *)ctx;
}

/* Posts the job and comes back when some of its symbols are over: *at_it is the child that runs it. */
static void begin_job(struct world *w, struct proc *p, struct child *children, size_t n, struct heard *h, char id[101],
                      struct child **at_it)
{
    static unsigned items;
    const struct tl_job_request r = request(w);
    items = 0;
    assert_int_equal(proc_post(p, NULL, &r, id), TL_OK);
    hear(p, h, id);
    h->on_item = count_item;
    h->ctx = &items;
    PROC_UNTIL(p, 30000, items > 20);
    assert_int_equal(h->over, 0);
    char out[256];
    assert_true(redis_do(&w->s, out, "HGET", "tierline:{jobs}:running", id));
    *at_it = NULL;
    for (size_t i = 0; i < n; i++)
        if (strstr(out, children[i].instance)) *at_it = &children[i];
    if (!*at_it) fail_msg("nobody runs it: %s", out);
}

static void the_killed_is_taken_over(void **state)
{
    struct world *w = *state;
    struct child c[2], *at_it;
    struct proc p;
    struct heard h;
    char id[101];
    forget(w);
    for (int i = 0; i < 2; i++) worker_start(w, &c[i]);
    proc_open(&p, w->store, w->s.url, NULL, false);
    begin_job(w, &p, c, 2, &h, id, &at_it);
    assert_int_equal(worker_end(w, at_it, SIGKILL, NULL), 128 + SIGKILL);
    PROC_UNTIL(&p, 60000, h.over || h.ended_in_snapshot);
    PROC_UNTIL(&p, 5000, proc_state_is(&p, NULL, id, "completed"));
    long long computed = proc_number(&p, NULL, id, "computed"), cached = proc_number(&p, NULL, id, "from_cache");
    long long failed = proc_number(&p, NULL, id, "failed");
    print_message("%lld computed by the second, %lld by the first, %lld failed\n", computed, cached, failed);
    assert_true(cached >= 20); /* what the first had computed */
    assert_true(computed > 0);
    assert_int_equal(computed + cached + failed, (long long)(SYMBOLS * w->n_specs));
    hear_no_more(&h);
    proc_close(&p);
    struct child *other = at_it == &c[0] ? &c[1] : &c[0];
    assert_int_equal(worker_end(w, other, SIGTERM, NULL), 0);
    assert_non_null(strstr(w->r.err, "taken over"));
}

static void cancelled_from_elsewhere(void **state)
{
    struct world *w = *state;
    struct child c, *at_it;
    struct proc p;
    struct heard h;
    char id[101];
    forget(w);
    worker_start(w, &c);
    proc_open(&p, w->store, w->s.url, NULL, false);
    begin_job(w, &p, &c, 1, &h, id, &at_it);
    assert_int_equal(proc_call(&p, NULL, tl_jobs_cancel, id, NULL), TL_OK);
    PROC_UNTIL(&p, 10000, h.over);
    assert_string_equal(h.last, "task.cancelled.v1");
    assert_true(json_integer_value(json_object_get(h.end, "skipped")) > 0);
    hear_no_more(&h);
    proc_close(&p);
    assert_int_equal(worker_end(w, &c, SIGINT, NULL), 0);
}

static void drain_hands_over(void **state)
{
    struct world *w = *state;
    struct child c[2], *at_it;
    struct proc p;
    struct heard h;
    char id[101];
    long ms;
    forget(w);
    for (int i = 0; i < 2; i++) worker_start(w, &c[i]);
    proc_open(&p, w->store, w->s.url, NULL, false);
    begin_job(w, &p, c, 2, &h, id, &at_it);
    assert_int_equal(worker_end(w, at_it, SIGTERM, &ms), 0);
    assert_true(ms < 10000);
    assert_non_null(strstr(w->r.err, "handed over"));
    uint64_t from = uv_hrtime();
    PROC_UNTIL(&p, 60000, h.over || h.ended_in_snapshot);
    print_message("ended in %ld ms, finished by the other after %llu ms\n", ms,
                  (unsigned long long)(uv_hrtime() - from) / 1000000);
    PROC_UNTIL(&p, 5000, proc_state_is(&p, NULL, id, "completed"));
    assert_true(proc_number(&p, NULL, id, "from_cache") >= 20);
    assert_int_equal(proc_number(&p, NULL, id, "skipped"), 0);
    hear_no_more(&h);
    proc_close(&p);
    struct child *other = at_it == &c[0] ? &c[1] : &c[0];
    assert_int_equal(worker_end(w, other, SIGTERM, NULL), 0);
    assert_non_null(strstr(w->r.err, id));
}

static void two_workers_run_a_schedule_once(void **state)
{
    struct world *w = *state;
    struct child c[2];
    struct proc p;
    struct heard h;
    forget(w);
    /* the next minute, or the one after it when that is near */
    time_t now = time(NULL), at = now - now % 60 + (now % 60 > 50 ? 120 : 60);
    struct tm tm;
    gmtime_r(&at, &tm);
    char ini[160];
    snprintf(ini, sizeof ini,
             "[schedules]\nonce = %d %d * * * UTC ; symbols=600000.SH,000001.SZ; wait=1%%; wait_max=1s\n", tm.tm_min,
             tm.tm_hour);
    run_put(&w->r, "tierline.ini", ini);
    for (int i = 0; i < 2; i++) worker_start(w, &c[i]);
    proc_open(&p, w->store, w->s.url, NULL, false);
    hear(&p, &h, "tasks");
    PROC_UNTIL(&p, 90000, h.over);
    uint64_t end = uv_hrtime() + UINT64_C(4000000000);
    while (uv_hrtime() < end) proc_turn(&p);
    assert_int_equal(h.started, 1);
    assert_int_equal(h.over, 1);
    hear_no_more(&h);
    proc_close(&p);
    unsigned made = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(worker_end(w, &c[i], SIGTERM, NULL), 0);
        made += strstr(w->r.err, "job scheduled schedule=once") != NULL;
    }
    assert_int_equal(made, 1);
    run_put(&w->r, "tierline.ini", "");
}

static void settings_are_read_anew(void **state)
{
    struct world *w = *state;
    struct child c;
    run_put(&w->r, "tierline.ini", "[schedules]\nnightly = 0 3 * * *\n");
    worker_start(w, &c);
    wait_for_text(&c, "schedules=1", 100);
    run_put(&w->r, "tierline.ini", "[schedules]\nnightly = 0 3 * * *\n\nweekly = 0 25 * * sat\n");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    wait_for_text(&c, "settings refused; the old ones stay", 5000);
    wait_for_text(&c, "tierline.ini:4: schedule weekly: hour: '25' is out of range", 100);
    run_put(&w->r, "tierline.ini", "[schedules]\nweekly = 0 4 * * sat\n[redis]\ntimeout_ms = 700\n");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    wait_for_text(&c, "settings read anew", 5000);
    wait_for_text(&c, "needs a restart to change setting=redis.timeout_ms", 100);
    assert_int_equal(worker_end(w, &c, SIGTERM, NULL), 0);
    /* what is wrong at the start ends it, with the place */
    run_put(&w->r, "tierline.ini", "[schedules]\nnightly = 0 3 * * someday\n");
    run(&w->r, "worker");
    expect(&w->r, 2, NULL, "tierline.ini:2: schedule nightly: day of week: 'someday'");
    run_put(&w->r, "tierline.ini", "");
    run(&w->r, "worker", "--store", "none");
    expect(&w->r, 2, NULL, "a worker needs a store");
}

static void calc_is_watched_and_cancelled(void **state)
{
    struct world *w = *state;
    struct proc p;
    struct heard all, h;
    unsigned items = 0;
    forget(w);
    proc_open(&p, w->store, w->s.url, NULL, false);
    hear(&p, &all, "tasks");
    struct child c = {.out = -1, .err = -1};
    const char *const argv[] = {getenv("TL_TEST_BINARY"), "calc", "--json", "--indicators", w->specs, NULL};
    c.pid = run_start(&w->r, argv, &c.out, &c.err);
    PROC_UNTIL(&p, 10000, all.started == 1);
    char id[101];
    snprintf(id, sizeof id, "%s", json_string_value(json_object_get(all.end, "task")));
    assert_memory_equal(id, "calc-", 5);
    assert_int_equal(json_integer_value(json_object_get(all.end, "total")), SYMBOLS);
    hear(&p, &h, id);
    h.on_item = count_item;
    h.ctx = &items;
    PROC_UNTIL(&p, 20000, items > 5);
    assert_int_equal(proc_call(&p, NULL, tl_jobs_cancel, id, NULL), TL_OK);
    PROC_UNTIL(&p, 20000, h.over);
    assert_string_equal(h.last, "task.cancelled.v1");
    run_finish(&w->r, c.pid, c.out, c.err);
    assert_int_equal(w->r.code, 130);
    assert_non_null(strstr(w->r.out, id));
    assert_int_equal(proc_call(&p, NULL, tl_jobs_cancel, id, NULL), TL_CONFLICT);
    hear_no_more(&h);

    c.pid = run_start(&w->r, (const char *const[]){getenv("TL_TEST_BINARY"), "calc", "--json", NULL}, &c.out, &c.err);
    PROC_UNTIL(&p, 30000, all.over == 2);
    assert_string_equal(all.last, "task.completed.v1");
    run_finish(&w->r, c.pid, c.out, c.err);
    assert_true(w->r.code == 0 || w->r.code == 1);
    assert_non_null(strstr(w->r.out, "\"task\":\"calc-"));
    hear_no_more(&all);
    proc_close(&p);
    run(&w->r, "calc", "--json", "--redis", "none");
    assert_non_null(strstr(w->r.out, "\"task\":null"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_killed_is_taken_over),
        cmocka_unit_test(cancelled_from_elsewhere),
        cmocka_unit_test(drain_hands_over),
        cmocka_unit_test(settings_are_read_anew),
        cmocka_unit_test(calc_is_watched_and_cancelled),
        cmocka_unit_test(two_workers_run_a_schedule_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
