/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline lock`: commands of several processes under one lease. */
#include "support.h"

#include "redis_server.h"
#include "run.h"

struct world {
    struct run r;
    struct redis_server s;
    char redis[160]; /* TIERLINE_REDIS=... */
};

static int setup(void **state)
{
    static struct world w;
    redis_server_start(&w.s, NULL);
    run_init(&w.r);
    snprintf(w.redis, sizeof w.redis, "TIERLINE_REDIS=%s", w.s.url);
    w.r.extra_env[0] = w.redis;
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

static void exit_codes(void **state)
{
    struct world *w = *state;
    struct run *r = &w->r;
    run(r, "lock", "run", "a b", "--", "sh", "-c", "echo \"$TIERLINE_LOCK_NAME $1\"; exit 7", "x", "--ttl");
    expect(r, 7, "a b --ttl", NULL);
    run(r, "lock", "run", "job", "--", "sh", "-c", "kill -9 $$");
    expect(r, 137, NULL, NULL);
    run(r, "lock", "run", "job", "--", "/no/such/command");
    expect(r, 127, NULL, "cannot run /no/such/command");
    run(r, "lock", "run", "job", "--", "/");
    expect(r, 126, NULL, "cannot run /");
    run(r, "lock", "list", "--json");
    expect(r, 0, "[]", NULL); /* each gave it back */
    run(r, "lock", "run", "job");
    expect(r, 2, NULL, "NAME -- COMMAND");
    run(r, "lock", "run", "job", "--ttl", "1ms", "--", "true");
    expect(r, 2, NULL, "100ms to 10m");
    run(r, "lock", "run", "job", "--wait", "soon", "--", "true");
    expect(r, 2, NULL, "'soon'");
    run(r, "lock", "run", "job", "--redis", "none", "--", "true");
    expect(r, 2, NULL, "none is configured");
    run(r, "lock", "run", "job", "--redis", "redis://127.0.0.1:1", "--wait", "0", "--", "true");
    expect(r, 6, NULL, "cannot connect");
    run(r, "lock", "burn");
    expect(r, 2, NULL, "only run and list");
    /* Tokens rise. */
    run_shell(r,
              "a=$($TIER lock run t -- sh -c 'echo $TIERLINE_LOCK_TOKEN'); "
              "b=$($TIER lock run t -- sh -c 'echo $TIERLINE_LOCK_TOKEN'); [ \"$a\" -gt 0 ] && [ \"$b\" -gt \"$a\" ]");
    expect(r, 0, NULL, NULL);
}

static void one_at_a_time(void **state)
{
    struct world *w = *state;
    struct run *r = &w->r;
    run_shell(r, "$TIER lock run job -- sh -c 'touch began; while [ ! -e go ]; do sleep 0.02; done' & holder=$!; "
                 "while [ ! -e began ]; do sleep 0.02; done; $TIER lock list; "
                 "$TIER lock run job --wait 0 -- touch wrong; echo busy $?; "
                 "$TIER lock run job --wait 200ms -- touch wrong; echo late $?; "
                 "$TIER lock run job -- sh -c 'test -e go && touch right' & waiter=$!; sleep 0.3; touch go; "
                 "wait $holder && wait $waiter && test -e right && test ! -e wrong && echo well");
    expect(r, 0, "job   ", NULL);
    assert_non_null(strstr(r->out, "busy 5"));
    assert_non_null(strstr(r->out, "late 5"));
    assert_non_null(strstr(r->out, "well"));
    /* Forty counters in a file, each read and written under the lease. */
    run_shell(r, "echo 0 >n; for i in 1 2 3 4 5 6 7 8; do (for k in 1 2 3 4 5; do "
                 "$TIER lock run n -- sh -c 'read x <n; sleep 0.005; echo $((x + 1)) >n'; done) & done; wait; cat n");
    expect(r, 0, "40", NULL);
}

/* kill -9 of the holder: the next one gets it after the ttl, no sooner and not much later. */
static void dead_holder(void **state)
{
    struct world *w = *state;
    struct run *r = &w->r;
    run_shell(r, "$TIER lock run job --ttl 1s -- sh -c 'echo $$ >pid; touch held; exec sleep 30' & holder=$!; "
                 "while [ ! -e held ]; do sleep 0.02; done; kill -9 $holder; from=$(date +%s%N); "
                 "$TIER lock run job --wait 10s -- true; code=$?; echo took $((($(date +%s%N) - from) / 1000000)); "
                 "kill -9 $(cat pid); exit $code");
    expect(r, 0, "took ", NULL);
    int took = atoi(strstr(r->out, "took ") + 5);
    assert_true(took > 300 && took < 2500);
}

static void lost_lease(void **state)
{
    struct world *w = *state;
    struct run *r = &w->r;
    char out[64];
    pid_t pid;
    int out_fd, err_fd;
    const char *const argv[] = {getenv("TL_TEST_BINARY"),
                                "lock",
                                "run",
                                "job",
                                "--ttl",
                                "600ms",
                                "--",
                                "sh",
                                "-c",
                                "trap 'echo ended by TERM; exit 3' TERM; while :; do sleep 0.05; done",
                                NULL};
    pid = run_start(r, argv, &out_fd, &err_fd);
    for (int i = 0; i < 500 && !(redis_do(&w->s, out, "EXISTS", "tierline:lock:{job}") && out[1] == '1'); i++)
        redis_sleep_ms(10);
    redis_sleep_ms(100);
    assert_true(redis_do(&w->s, out, "SET", "tierline:lock:{job}", "somebody:else:1", "PX", "5000"));
    run_finish(r, pid, out_fd, err_fd);
    expect(r, 4, "ended by TERM", "not held any more");
    assert_true(redis_do(&w->s, out, "EXISTS", "tierline:lock:{job}") && out[1] == '1');
    assert_true(redis_do(&w->s, out, "DEL", "tierline:lock:{job}"));
    /* A signal goes on to the command, and its lease is given back. */
    pid = run_start(r, argv, &out_fd, &err_fd);
    for (int i = 0; i < 500 && !(redis_do(&w->s, out, "EXISTS", "tierline:lock:{job}") && out[1] == '1'); i++)
        redis_sleep_ms(10);
    redis_sleep_ms(200);
    kill(pid, SIGTERM);
    run_finish(r, pid, out_fd, err_fd);
    expect(r, 3, "ended by TERM", NULL);
    assert_true(redis_do(&w->s, out, "EXISTS", "tierline:lock:{job}") && out[1] == '0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(exit_codes, setup, teardown),
        cmocka_unit_test_setup_teardown(one_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(dead_holder, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_lease, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
