/* SPDX-License-Identifier: Apache-2.0 */
/* Several processes ask for one cold value at once. However they die, stop or lose Redis, it is computed once and once
 * more for each lease that was lost, everybody gets the same answer in time, and nothing stays behind in Redis. */
#include "support.h"

#include "redis_server.h"
#include "schedule/once.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <uv.h>

enum { PROCESSES = 8, EVENTS = 64, DEADLINE_MS = 20000 };

struct event {
    uint64_t ns, token;
    int process;
    char what;
};

struct shared {
    char url[128];
    uint32_t lease_ms, work_ms;
    atomic_int ready, go; /* processes that are joined; they may ask */
    atomic_int computations, answers, unequal, failed;
    atomic_int answered_by[PROCESSES];
    atomic_ulong value; /* the first answer */
    atomic_ulong longest_ms;
    atomic_uint n_events;
    struct event events[EVENTS];
};

struct child {
    struct shared *s;
    int number, requests, open;
    uv_loop_t loop;
    struct tl_cache *cache;
    struct tl_scheduler *scheduler;
    bool ready, asked;
    uint64_t asked_ns;
    struct tl_compute *ops;
};

static void note(struct shared *s, int process, char what, uint64_t token)
{
    unsigned i = atomic_fetch_add(&s->n_events, 1);
    if (i < EVENTS) s->events[i] = (struct event){uv_hrtime(), token, process, what};
}

static enum tl_status make(void *ctx, const struct tl_key *key, struct tl_making *m)
{
    struct child *c = ctx;
    uint64_t token = tl_making_token(m);
    (void)key;
    atomic_fetch_add(&c->s->computations, 1);
    note(c->s, c->number, 'm', token);
    for (unsigned ms = 0; ms < c->s->work_ms; ms += 10) {
        (void)tl_making_progress(m);
        usleep(10000);
    }
    char text[64];
    uint64_t random = uv_hrtime();
    int n = snprintf(text, sizeof text, "%" PRIu64, random);
    return tl_making_value(m, text, (size_t)n, NULL);
}

static void on_computed(struct tl_compute *op, enum tl_status status)
{
    struct child *c = op->user;
    struct shared *s = c->s;
    uint64_t ms = (uv_hrtime() - c->asked_ns) / 1000000;
    if (ms > atomic_load(&s->longest_ms)) atomic_store(&s->longest_ms, ms);
    if (status != TL_OK) {
        atomic_fetch_add(&s->failed, 1);
        fprintf(stderr, "process %d: %s: %s\n", c->number, tl_status_name(status), op->err.text);
    } else {
        size_t n;
        char text[64] = "";
        const char *p = tl_value_bytes(op->value, &n);
        memcpy(text, p, n < 63 ? n : 63);
        unsigned long value = strtoul(text, NULL, 10), expected = 0;
        if (!atomic_compare_exchange_strong(&s->value, &expected, value) && expected != value)
            atomic_fetch_add(&s->unequal, 1);
        tl_value_unref(op->value);
        atomic_fetch_add(&s->answers, 1);
        if (atomic_fetch_add(&s->answered_by[c->number], 1) == 0) note(s, c->number, 'a', op->token);
    }
    c->open--;
}

static void on_ready(void *ctx, enum tl_status status, const struct tl_err *err)
{
    struct child *c = ctx;
    (void)err;
    c->ready = status == TL_OK;
    if (!c->ready) _exit(3);
}

static void ask_all(struct child *c)
{
    struct tl_key key = {.data_type = "factor", .symbol = "AAPL"};
    c->asked = true;
    c->asked_ns = uv_hrtime();
    for (int i = 0; i < c->requests; i++) {
        c->ops[i] = (struct tl_compute){.make = make, .ctx = c, .user = c};
        if (tl_compute(c->scheduler, &c->ops[i], &key, DEADLINE_MS, on_computed, NULL) != TL_OK) _exit(4);
        c->open++;
    }
}

static void close_cache(void *cache)
{
    tl_cache_close(cache, NULL, NULL);
}

static void process(struct shared *s, int number, int requests, const char *failpoint)
{
    struct child c = {.s = s, .number = number, .requests = requests};
    struct tl_cache_options o = {.redis_url = s->url, .log_level = -1, .memory_bytes = 4u << 20};
    struct tl_scheduler_options so = {.workers = 1, .lease_ms = s->lease_ms};
    if (failpoint) setenv("TL_FAILPOINT", failpoint, 1);
    c.ops = calloc((size_t)requests, sizeof *c.ops);
    uv_loop_init(&c.loop);
    if (!c.ops || tl_cache_open(&c.loop, &o, &c.cache, NULL) != TL_OK ||
        tl_scheduler_open(c.cache, &so, &c.scheduler, NULL) != TL_OK ||
        tl_cache_ready(c.cache, 10000, on_ready, &c) != TL_OK)
        _exit(2);
    while (!c.ready) uv_run(&c.loop, UV_RUN_ONCE);
    atomic_fetch_add(&s->ready, 1);
    while (!c.asked || c.open > 0) {
        if (!c.asked && atomic_load(&s->go) > number) ask_all(&c);
        uv_run(&c.loop, UV_RUN_NOWAIT);
        usleep(100);
    }
    tl_scheduler_close(c.scheduler, close_cache, c.cache);
    uv_run(&c.loop, UV_RUN_DEFAULT);
    uv_loop_close(&c.loop);
    free(c.ops);
    _exit(0);
}

struct scene {
    struct redis_server r;
    struct shared *s;
    pthread_t watcher; /* sees whether what Redis shows is ever older than it was */
    atomic_bool watch_over;
    unsigned seen, fell;
    pid_t pids[PROCESSES];
    int n;
};

static void scene_open(struct scene *x, uint32_t lease_ms, uint32_t work_ms)
{
    redis_server_start(&x->r, NULL);
    x->s = mmap(NULL, sizeof *x->s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(x->s != MAP_FAILED);
    memcpy(x->s->url, x->r.url, sizeof x->s->url);
    x->s->lease_ms = lease_ms;
    x->s->work_ms = work_ms;
}

static void *watch(void *scene)
{
    struct scene *x = scene;
    unsigned char order[32] = {0};
    char out[256];
    while (!atomic_load(&x->watch_over)) {
        bool there =
            redis_command(&x->r, out, sizeof out,
                          (const char *const[]){"GETRANGE", "tierline:cache:{AAPL}:factor:-", "24", "55", NULL});
        if (there && strncmp(out, "$32\r\n", 5) == 0) {
            x->fell += memcmp(out + 5, order, 32) < 0;
            x->seen++;
            memcpy(order, out + 5, 32);
        }
        redis_sleep_ms(2);
    }
    return NULL;
}

/* The first one carries the failpoint. */
static void start(struct scene *x, int n, int requests, const char *failpoint)
{
    x->n = n;
    fflush(NULL);
    for (int i = 0; i < n; i++) {
        x->pids[i] = fork();
        assert_true(x->pids[i] >= 0);
        if (x->pids[i] == 0) process(x->s, i, requests, i == 0 ? failpoint : NULL);
    }
    while (atomic_load(&x->s->ready) < n) redis_sleep_ms(1);
    x->seen = x->fell = 0;
    atomic_store(&x->watch_over, false);
    assert_int_equal(pthread_create(&x->watcher, NULL, watch, x), 0);
}

static void show(const struct scene *x)
{
    unsigned n = atomic_load(&x->s->n_events);
    for (unsigned i = 0; i < n && i < EVENTS; i++) {
        const struct event *e = &x->s->events[i];
        print_message("%8llu us process %d %s, token %llu\n", (unsigned long long)(e->ns - x->s->events[0].ns) / 1000,
                      e->process, e->what == 'm' ? "computes" : "has its answer", (unsigned long long)e->token);
    }
}

/* Every process but a killed first one ends well. */
static void finish(struct scene *x, int requests, bool first_killed, int most)
{
    for (int i = 0; i < x->n; i++) {
        int status;
        while (waitpid(x->pids[i], &status, 0) < 0) assert_int_equal(errno, EINTR);
        bool ended = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (i == 0 && first_killed) assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        if (!(i == 0 && first_killed) && !ended) fail_msg("process %d ended with %d", i, status);
    }
    struct shared *s = x->s;
    int answers = atomic_load(&s->answers), all = requests * (x->n - first_killed),
        computed = atomic_load(&s->computations);
    bool good = answers >= all && atomic_load(&s->unequal) == 0 && atomic_load(&s->failed) == 0 && computed >= 1 &&
                computed <= most;
    if (!good)
        print_message("%d of %d answers, %d unequal, %d failed, computed %d times (at most %d)\n", answers, all,
                      atomic_load(&s->unequal), atomic_load(&s->failed), computed, most);
    if (!good) show(x);
    assert_true(good);
    for (unsigned i = 0; i < atomic_load(&s->n_events) && i < EVENTS; i++)
        for (unsigned k = 0; k < i; k++) /* no token is given out twice */
            assert_false(s->events[i].what == 'm' && s->events[k].what == 'm' && s->events[i].token != 0 &&
                         s->events[i].token == s->events[k].token);
    atomic_store(&x->watch_over, true);
    pthread_join(x->watcher, NULL);
    assert_int_equal(x->fell, 0);
}

/* What is there for ever, and what of leases and waits is there still. */
static void nothing_stays_behind(struct scene *x)
{
    char out[256];
    static const char script[] =
        "local left = {} for _, k in ipairs(redis.call('KEYS', '*')) do "
        "local for_ever = redis.call('PTTL', k) == -1 and not string.match(k, '^tierline:fence:') "
        "and not string.match(k, '^tierline:ver:') and not string.match(k, '^tierline:{all}:') "
        "if for_ever or string.match(k, '^tierline:lock:') then left[#left + 1] = k end end "
        "return table.concat(left, ' ')";
    redis_sleep_ms((long)x->s->lease_ms + 50);
    assert_true(redis_command(&x->r, out, sizeof out, (const char *const[]){"EVAL", script, "0", NULL}));
    if (strncmp(out, "$0", 2) != 0) print_message("left behind: %s\n", out);
    assert_true(strncmp(out, "$0", 2) == 0);
}

static void scene_close(struct scene *x)
{
    munmap(x->s, sizeof *x->s);
    redis_server_stop(&x->r);
}

static void a_thousand_requests(void **state)
{
    (void)state;
    struct scene x;
    scene_open(&x, 5000, 50);
    start(&x, 8, 125, NULL);
    atomic_store(&x.s->go, 8);
    finish(&x, 125, false, 1);
    assert_int_equal(atomic_load(&x.s->answers), 1000);
    nothing_stays_behind(&x);
    scene_close(&x);
}

#ifdef TL_FAILPOINTS
static const char *const points[] = {"acquire.before", "acquire.after", "make.before",
                                     "make.after",     "commit.before", "commit.after"};

static void killed_at_every_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        struct scene x;
        char failpoint[64];
        snprintf(failpoint, sizeof failpoint, "%s=kill", points[i]);
        scene_open(&x, 400, 60);
        start(&x, 4, 10, failpoint);
        atomic_store(&x.s->go, 1); /* it asks first */
        redis_sleep_ms(20);
        atomic_store(&x.s->go, 4);
        finish(&x, 10, true, 2);
        unsigned long longest = atomic_load(&x.s->longest_ms);
        print_message("%-16s computed %d times, the longest wait was %lu ms\n", failpoint,
                      atomic_load(&x.s->computations), longest);
        assert_true(longest < 400 + 1000);
        nothing_stays_behind(&x);
        scene_close(&x);
    }
}

static void stopped_at_every_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        struct scene x;
        char failpoint[64];
        int status;
        snprintf(failpoint, sizeof failpoint, "%s=stop", points[i]);
        scene_open(&x, 400, 60);
        start(&x, 4, 10, failpoint);
        atomic_store(&x.s->go, 1);
        redis_sleep_ms(20);
        atomic_store(&x.s->go, 4);
        assert_int_equal(waitpid(x.pids[0], &status, WUNTRACED), x.pids[0]);
        assert_true(WIFSTOPPED(status));
        for (int k = 0; k < 300 && atomic_load(&x.s->answers) < 30; k++) redis_sleep_ms(10);
        assert_int_equal(atomic_load(&x.s->answers), 30); /* the others did not wait for it */
        assert_true(atomic_load(&x.s->longest_ms) < 400 + 1000);
        redis_sleep_ms(450);
        assert_int_equal(kill(x.pids[0], SIGCONT), 0);
        finish(&x, 10, false, 2);
        print_message("%-16s computed %d times\n", failpoint, atomic_load(&x.s->computations));
        nothing_stays_behind(&x);
        scene_close(&x);
    }
}

/* It hands its result in after it was taken over, twice as slow as its lease. */
static void slow_at_every_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        struct scene x;
        char failpoint[64];
        snprintf(failpoint, sizeof failpoint, "%s=sleep800", points[i]);
        scene_open(&x, 400, 60);
        start(&x, 4, 10, failpoint);
        atomic_store(&x.s->go, 1);
        redis_sleep_ms(20);
        atomic_store(&x.s->go, 4);
        finish(&x, 10, false, 2);
        nothing_stays_behind(&x);
        scene_close(&x);
    }
}
#endif

struct trouble {
    const char *name, *command[6];
    bool restart;
    uint32_t lease_ms; /* 0: 1000 */
    int most;
};

static void redis_in_trouble(void **state)
{
    (void)state;
    static const struct trouble troubles[] = {
        {.name = "flushed", .command = {"FLUSHALL"}, .most = 2},
        {.name = "scripts flushed", .command = {"SCRIPT", "FLUSH"}, .most = 1},
        {.name = "subscriptions cut", .command = {"CLIENT", "KILL", "TYPE", "pubsub"}, .most = 1},
        {.name = "connections cut", .command = {"CLIENT", "KILL", "TYPE", "normal"}, .most = 1},
        {.name = "replies delayed", .command = {"CLIENT", "PAUSE", "2000"}, .lease_ms = 5000, .most = 1},
        {.name = "clock stepped back", .command = {"SET", "tierline:fence:{AAPL}", "8999999999999999"}, .most = 1},
        {.name = "restarted empty", .restart = true, .most = 2},
    };
    for (size_t i = 0; i < sizeof troubles / sizeof *troubles; i++) {
        const struct trouble *t = &troubles[i];
        struct scene x;
        char out[256];
        scene_open(&x, t->lease_ms ? t->lease_ms : 1000, 300);
        start(&x, 4, 25, NULL);
        bool before = strcmp(t->name, "clock stepped back") == 0;
        if (before) assert_true(redis_command(&x.r, out, sizeof out, t->command));
        atomic_store(&x.s->go, 4);
        redis_sleep_ms(100);
        if (t->restart) {
            redis_server_kill(&x.r);
            redis_sleep_ms(100);
            redis_server_restart(&x.r);
        } else if (!before) {
            assert_true(redis_command(&x.r, out, sizeof out, t->command));
        }
        finish(&x, 25, false, t->most);
        print_message("%-18s computed %d times, the longest wait was %lu ms\n", t->name,
                      atomic_load(&x.s->computations), atomic_load(&x.s->longest_ms));
        assert_true(atomic_load(&x.s->longest_ms) < 6000);
        if (!t->restart) nothing_stays_behind(&x);
        scene_close(&x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_requests),  cmocka_unit_test(redis_in_trouble),
#ifdef TL_FAILPOINTS
        cmocka_unit_test(killed_at_every_step), cmocka_unit_test(stopped_at_every_step),
        cmocka_unit_test(slow_at_every_step),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
