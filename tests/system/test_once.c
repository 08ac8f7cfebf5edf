/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline calc` started several times at once on one store and one real Redis: together each indicator is computed
 * once, and who is killed is taken over. */
#include "support.h"

#include "redis_server.h"
#include "run.h"

#include <jansson.h>
#include <sqlite3.h>

enum { PROCESSES = 3 };

struct market {
    struct run r;
    struct redis_server s;
    char redis[160];
    long long series; /* that the store has when all is computed */
    long long failed; /* in a whole run: symbols that are too young for some indicators */
};

static long long number(const struct run *r, const char *query)
{
    sqlite3 *db;
    sqlite3_stmt *s;
    char path[128];
    snprintf(path, sizeof path, "%s/a.db", r->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    assert_int_equal(sqlite3_prepare_v2(db, query, -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    long long n = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return n;
}

/* Of the last line that is an object. */
static long long count_of(const char *text, const char *key)
{
    const char *line = text, *last = text;
    for (; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (*line == '{') last = line;
    json_t *root = json_loads(last, JSON_DISABLE_EOF_CHECK, NULL);
    if (!root) fail_msg("no JSON: %s", text);
    long long n = json_integer_value(json_object_get(root, key));
    json_decref(root);
    return n;
}

static int setup(void **state)
{
    static struct market m;
    redis_server_start(&m.s, NULL);
    run_init(&m.r);
    snprintf(m.redis, sizeof m.redis, "TIERLINE_REDIS=%s", m.s.url);
    m.r.extra_env[0] = m.redis;
    m.r.extra_env[1] = "TIERLINE_STORE=a.db";
    /* The lease is the usual one: a machine so busy that nobody renews for that long is not what is looked at here. */
    run(&m.r, "sample", "m", "--symbols", "150", "--years", "6");
    run(&m.r, "import", "m/bars", "--quiet");
    expect(&m.r, 0, NULL, NULL);
    run(&m.r, "calc", "--json", "--redis", "none", "--quiet");
    m.series = number(&m.r, "SELECT count(*) FROM series");
    m.failed = count_of(m.r.out, "failed");
    assert_int_equal(count_of(m.r.out, "computed"), m.series);
    assert_true(m.series > 1000);
    *state = &m;
    return 0;
}

static int teardown(void **state)
{
    struct market *m = *state;
    run_release(&m->r);
    redis_server_stop(&m->s);
    return 0;
}

static void forget(struct market *m)
{
    char out[64];
    run_shell(&m->r, "rm -f a.db-wal a.db-shm a.db && $TIER import m/bars --quiet --redis none");
    assert_true(redis_do(&m->s, out, "FLUSHALL"));
    assert_int_equal(number(&m->r, "SELECT count(*) FROM series"), 0);
}

struct process {
    pid_t pid;
    int out, err;
};

static void start(struct market *m, struct process *p)
{
    *p = (struct process){.out = -1, .err = -1};
    p->pid = run_start(&m->r, (const char *const[]){getenv("TL_TEST_BINARY"), "calc", "--json", "--quiet", NULL},
                       &p->out, &p->err);
}

struct sums {
    long long computed, from_cache, waited, taken_over, duplicated, skipped, failed;
};

static void finish(struct market *m, const struct process *p, struct sums *sums)
{
    run_finish(&m->r, p->pid, p->out, p->err);
    const char *out = m->r.out;
    assert_int_equal(m->r.code, m->failed ? 1 : 0);
    long long computed = count_of(out, "computed"), from_cache = count_of(out, "from_cache"),
              waited = count_of(out, "waited"), failed = count_of(out, "failed");
    /* Whoever computed it, each process accounts for all of it. */
    assert_int_equal(computed + from_cache + waited, m->series);
    assert_int_equal(failed, m->failed);
    sums->computed += computed;
    sums->from_cache += from_cache;
    sums->waited += waited;
    sums->taken_over += count_of(out, "taken_over");
    sums->duplicated += count_of(out, "duplicated");
}

static void they_share_the_work(void **state)
{
    struct market *m = *state;
    struct process p[PROCESSES];
    struct sums s = {.computed = 0};
    forget(m);
    for (int i = 0; i < PROCESSES; i++) start(m, &p[i]);
    for (int i = 0; i < PROCESSES; i++) finish(m, &p[i], &s);
    print_message("%lld computed, %lld from cache, %lld waited for\n", s.computed, s.from_cache, s.waited);
    assert_int_equal(s.computed, m->series); /* each once */
    assert_int_equal(s.duplicated, 0);
    assert_int_equal(s.taken_over, 0);
    assert_int_equal(number(&m->r, "SELECT count(*) FROM series"), m->series);
    struct sums again = {.computed = 0};
    start(m, p);
    finish(m, p, &again);
    assert_int_equal(again.from_cache, m->series);
}

static void the_killed_are_taken_over(void **state)
{
    struct market *m = *state;
    for (int attempt = 0; attempt < 4; attempt++) {
        struct process p[PROCESSES];
        struct sums s = {.computed = 0};
        forget(m);
#ifdef TL_FAILPOINTS
        static const char *const points[] = {"TL_FAILPOINT=make.before=kill@5", "TL_FAILPOINT=commit.before=kill@5",
                                             "TL_FAILPOINT=commit.after=kill@5", "TL_FAILPOINT=store.before=kill@20"};
        m->r.extra_env[3] = points[attempt];
#endif
        m->r.extra_env[2] = "TIERLINE_CALC_LEASE_MS=4000"; /* the others meet it while it is still held */
        start(m, &p[0]);
        m->r.extra_env[2] = NULL;
        m->r.extra_env[3] = NULL;
        for (int i = 1; i < PROCESSES; i++) start(m, &p[i]);
#ifndef TL_FAILPOINTS
        redis_sleep_ms(60 + 40 * attempt);
        kill(p[0].pid, SIGKILL);
#endif
        int status;
        assert_int_equal(waitpid(p[0].pid, &status, 0), p[0].pid);
        bool killed = WIFSIGNALED(status);
        uint64_t began = (uint64_t)time(NULL);
        close(p[0].out);
        close(p[0].err);
        for (int i = 1; i < PROCESSES; i++) finish(m, &p[i], &s);
        print_message("killed: %d; %lld computed by the others, %lld taken over, %lld s\n", killed, s.computed,
                      s.taken_over, (long long)((uint64_t)time(NULL) - began));
#ifdef TL_FAILPOINTS
        assert_true(killed);
        if (attempt < 2) assert_true(s.taken_over > 0);
#endif
        assert_int_equal(number(&m->r, "SELECT count(*) FROM series"), m->series);
        assert_int_equal(s.duplicated, 0);
        run(&m->r, "calc", "--json", "--quiet");
        assert_int_equal(count_of(m->r.out, "from_cache"), m->series);
    }
}

/* Many ask for one indicator that nobody has. */
static void gets_at_once(void **state)
{
    struct market *m = *state;
    forget(m);
    run_shell(
        &m->r,
        "s=$($TIER symbols --json | head -1 | sed 's/.*\"symbol\":\"\\([^\"]*\\)\".*/\\1/'); "
        "for i in 1 2 3 4 5 6 7 8; do $TIER get $s 'RSI(14)' --json > o$i & done; wait; "
        "cat o? | grep -c '\"source\":\"computed\"'; cat o? | sed 's/\"source\".*\"columns\"//' | sort -u | wc -l");
    expect(&m->r, 0, NULL, "");
    assert_string_equal(m->r.out, "1\n1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_share_the_work),
        cmocka_unit_test(the_killed_are_taken_over),
        cmocka_unit_test(gets_at_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
