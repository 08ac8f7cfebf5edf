/* SPDX-License-Identifier: Apache-2.0 */
/* The server as a service: told when it is ready, drained when it is to end, its settings read anew, its socket kept by
 * somebody else, its job taken up by another. */
#include "support.h"

#include "redis_server.h"
#include "run.h"
#include "serve.h"
#include "ws_client.h"

#include "watcher.h"

#include <sys/un.h>

enum { END_MS = 10000, VALUES = 200, SYMBOLS = 120 };

static struct life {
    struct run r;
    struct redis_server redis;
    struct server a, b;
    int manager; /* the service manager's socket */
    char notify[160], redis_env[160];
    int fd; /* of a connection; 0: none */
} l;

static int setup(void **state)
{
    (void)state;
    l = (struct life){.manager = -1};
    run_init(&l.r);
    l.r.extra_env[0] = "TIERLINE_STORE=a.db";
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_end(&l.a);
    server_end(&l.b);
    if (l.a.listen_fd > 0) close(l.a.listen_fd);
    if (l.manager >= 0) close(l.manager);
    if (l.fd > 0) close(l.fd);
    run_release(&l.r);
    redis_server_stop(&l.redis);
    return 0;
}

/* ---- the service manager ---- */

static void manager_open(size_t at)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s/notify", l.r.dir);
    snprintf(l.notify, sizeof l.notify, "NOTIFY_SOCKET=%s", a.sun_path);
    l.manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(l.manager >= 0 && bind(l.manager, (struct sockaddr *)&a, sizeof a) == 0);
    l.r.extra_env[at] = l.notify;
}

/* The next datagram with this in it. */
static void manager_is_told(const char *text)
{
    char got[1024];
    for (uint64_t until = now_ms() + SERVE_START_MS; now_ms() < until;) {
        struct pollfd p = {.fd = l.manager, .events = POLLIN};
        if (poll(&p, 1, 100) <= 0) continue;
        ssize_t n = recv(l.manager, got, sizeof got - 1, 0);
        assert_true(n > 0);
        got[n] = '\0';
        if (strstr(got, text)) return;
    }
    fail_msg("the service manager was not told %s", text);
}

/* ---- draining ---- */

/* One request on a connection that stays open. */
static int status_on(int fd, const char *target, char *body, size_t cap)
{
    char request[200];
    ssize_t n;
    size_t got = 0;
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", target);
    if (!send_all(fd, request, strlen(request))) return 0;
    do {
        n = recv(fd, body + got, cap - 1 - got, 0);
        if (n > 0) got += (size_t)n;
        body[got] = '\0';
    } while (n > 0 && got < cap - 1 && !strstr(body, "\r\n\r\n"));
    return strncmp(body, "HTTP/1.1 ", 9) == 0 ? atoi(body + 9) : 0;
}

static void it_drains(void **state)
{
    struct ws polite, mute;
    char body[4096];
    (void)state;
    manager_open(1);
    server_spawn(&l.a, &l.r);
    manager_is_told("STATUS=listening on 127.0.0.1:");
    manager_is_told("READY=1");
    char *log = server_log(&l.a);
    l.a.port = atoi(strstr(log, "address=127.0.0.1:") + strlen("address=127.0.0.1:"));
    free(log);
    l.fd = server_connect(&l.a);
    assert_int_equal(status_on(l.fd, "/readyz", body, sizeof body), 200);
    ws_open(&polite, &l.a);
    ws_open(&mute, &l.a); /* never answers its close: the drain waits for it, but not for long */
    json_decref(ws_until(&polite, "op", "hello"));
    uint64_t began = now_ms();
    kill(l.a.pid, SIGTERM);
    manager_is_told("STOPPING=1");
    json_t *bye = ws_until(&polite, "op", "bye");
    assert_true(json_integer_value(json_object_get(bye, "retry_ms")) > 0);
    json_decref(bye);
    assert_true(ws_ends(&polite, 5000));
    assert_int_equal(polite.close_code, 1001);
    assert_int_equal(status_on(l.fd, "/readyz", body, sizeof body), 503);
    assert_non_null(strstr(body, "draining"));
    int late = server_connect(&l.a); /* nobody new is let in */
    if (late >= 0) {
        assert_int_not_equal(status_on(late, "/livez", body, sizeof body), 200);
        close(late);
    }
    assert_int_equal(server_wait(&l.a, END_MS), 0);
    print_message("drained in %.1f s, with a WebSocket that does not answer\n", (double)(now_ms() - began) / 1e3);
    ws_done(&polite);
    ws_done(&mute);
}

/* ---- what was acknowledged ---- */

static int put(const struct server *s, int i, const char *wait)
{
    char target[160], value[64];
    snprintf(target, sizeof target, "/api/v1/cache/note/-/%s%d?wait=%s", wait, i, wait);
    snprintf(value, sizeof value, "\"%s %d\"", wait, i);
    return ask_status(s, "PUT", target, value);
}

static void is_there(const struct server *s, int i, const char *wait)
{
    char target[160], value[64];
    snprintf(target, sizeof target, "/api/v1/cache/note/-/%s%d", wait, i);
    snprintf(value, sizeof value, "\"%s %d\"", wait, i);
    struct reply a = ask(s, "GET", target, NULL);
    if (a.status != 200 || a.body_n != strlen(value) || memcmp(a.body, value, a.body_n) != 0)
        fail_msg("%s: %d: %s", target, a.status, a.all);
    reply_release(&a);
}

/* Redis stands still, a caller waits for a value that another makes, a stream and a WebSocket are open: it ends in time
 * all the same, and everybody is told. */
static void it_ends_without_its_redis(void **state)
{
    static const char stream[] = "GET /events?topic=tasks HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                      wait[] = "POST /api/v1/compute/slow?wait_ms=60000 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                               "Content-Length: 0\r\n\r\n";
    struct ws w;
    struct foreign f;
    size_t n;
    bool closed;
    (void)state;
    redis_server_start(&l.redis, NULL);
    snprintf(l.redis_env, sizeof l.redis_env, "TIERLINE_REDIS=%s", l.redis.url);
    l.r.extra_env[1] = l.redis_env;
    server_start(&l.a, &l.r);
    assert_int_equal(ask_status(&l.a, "POST", "/api/v1/compute/slow?lease_ms=60000", NULL), 201);
    ws_open(&w, &l.a);
    int waiting = server_connect(&l.a), streaming = server_connect(&l.a);
    assert_true(send_all(waiting, wait, strlen(wait)) && send_all(streaming, stream, strlen(stream)));
    foreign_begin(&f, &l.a, "unfinished");
    kill(l.redis.pid, SIGSTOP);
    foreign_items(&f, 50);
    for (int i = 0; i < 50; i++) assert_int_equal(put(&l.a, i, "memory"), 204);
    uint64_t began = now_ms();
    kill(l.a.pid, SIGTERM);
    json_decref(ws_until(&w, "op", "bye"));
    assert_true(ws_ends(&w, 5000));
    char *text = receive_all(streaming, END_MS, &n, &closed);
    assert_true(closed && strstr(text, "event: bye"));
    free(text);
    text = receive_all(waiting, END_MS, &n, &closed);
    assert_true(closed && strncmp(text, "HTTP/1.1 ", 9) == 0);
    print_message("who waited was told: %.12s\n", text);
    free(text);
    assert_int_equal(server_wait(&l.a, END_MS), 0);
    print_message("ended in %.1f s, with a Redis that stands still\n", (double)(now_ms() - began) / 1e3);
    kill(l.redis.pid, SIGCONT);
    close(waiting);
    close(streaming);
    ws_done(&w);
    l.a.port = 0;
    server_start(&l.a, &l.r);
    for (int i = 0; i < 50; i++) is_there(&l.a, i, "memory"); /* the store has them */
    server_stop(&l.a);
}

static void what_was_acknowledged_is_there(void **state)
{
    (void)state;
    server_start(&l.a, &l.r);
    for (int i = 0; i < VALUES; i++) {
        assert_int_equal(put(&l.a, i, "store"), 204);
        assert_int_equal(put(&l.a, i, "memory"), 204);
    }
    server_stop(&l.a); /* what waits is written */
    l.a.port = 0;
    server_start(&l.a, &l.r);
    for (int i = 0; i < VALUES; i++) {
        is_there(&l.a, i, "store");
        is_there(&l.a, i, "memory");
    }
    for (int i = 0; i < VALUES; i++) assert_int_equal(put(&l.a, VALUES + i, "store"), 204);
    server_end(&l.a); /* kill -9: what was to wait for the store has it all the same */
    l.a.port = 0;
    server_start(&l.a, &l.r);
    for (int i = 0; i < VALUES; i++) is_there(&l.a, VALUES + i, "store");
    server_stop(&l.a);
}

/* ---- a job is handed over ---- */

static bool has_some(const struct watcher *w)
{
    return watcher_count(w, "task.item.completed.v1:") >= 5;
}

/* Every symbol completed or failed, and the order of positions kept across the two terms. */
static void job_is_whole(const struct watcher *w)
{
    size_t symbols = 0;
    watcher_whole(w, 0);
    for (size_t i = 0; i < w->n; i++) {
        bool seen = strstr(w->seen[i], ".item.") == NULL;
        for (size_t k = 0; k < i && !seen; k++) seen = strcmp(strchr(w->seen[k], ':'), strchr(w->seen[i], ':')) == 0;
        symbols += !seen;
    }
    assert_int_equal(symbols, SYMBOLS);
    assert_string_equal(w->seen[w->n - 1], "task.completed.v1:");
    assert_string_equal(w->state, "completed");
}

static void a_job_is_handed_over(void **state)
{
    static char specs[2000], body[2400];
    struct watcher w = {.ws = {.fd = -1}};
    (void)state;
    redis_server_start(&l.redis, NULL);
    snprintf(l.redis_env, sizeof l.redis_env, "TIERLINE_REDIS=%s", l.redis.url);
    run_shell(&l.r, "$TIER sample m --symbols 120 --years 3 >/dev/null && $TIER import m/bars --quiet 2>/dev/null");
    expect(&l.r, 0, NULL, NULL);
    l.r.extra_env[1] = l.redis_env;
    l.r.extra_env[2] = "TIERLINE_CALC_WORKERS=1";
    for (int i = 2; i < 42; i++) sprintf(specs + strlen(specs), "%sSMA(%d)", i > 2 ? ";" : "", i);
    snprintf(body, sizeof body, "{\"name\":\"long\",\"specs\":\"%s\"}", specs);
    server_start(&l.a, &l.r); /* alone: the job is its */
    json_t *job = ask_json(&l.a, "POST", "/api/v1/jobs", body, 202);
    snprintf(w.topic, sizeof w.topic, "%s", text_at(job, "topic"));
    snprintf(w.position, sizeof w.position, "1-1");
    json_decref(job);
    server_start(&l.b, &l.r);
    watcher_connect(&w, &l.b);
    watchers_wait(&w, 1, has_some, 20000);
    assert_false(w.over);
    uint64_t began = now_ms();
    kill(l.a.pid, SIGTERM);
    assert_int_equal(server_wait(&l.a, END_MS), 0);
    bool handed_over = server_log_has(&l.a, "handed over");
    print_message("ended in %.1f s; %s at %zu events\n", (double)(now_ms() - began) / 1e3,
                  handed_over ? "handed over" : "not handed over", w.n);
    assert_true(handed_over);
    watchers_wait(&w, 1, watcher_is_over, 30000);
    job_is_whole(&w);
    watcher_release(&w);
    server_stop(&l.b);
}

/* ---- settings ---- */

static bool allows(const char *origin)
{
    char headers[200];
    snprintf(headers, sizeof headers, "Origin: %s\r\nAccess-Control-Request-Method: POST\r\n", origin);
    struct reply a = ask_full(&l.a, "OPTIONS", "/api/v1/jobs", headers, NULL, 0);
    bool yes = strcasestr(a.all, "Access-Control-Allow-Origin:") != NULL;
    assert_int_equal(a.status, 204);
    reply_release(&a);
    return yes;
}

static bool has_schedule(const char *name)
{
    json_t *doc = ask_json(&l.a, "GET", "/api/v1/schedules", NULL, 200), *one;
    size_t i;
    bool has = false;
    json_array_foreach(json_object_get(doc, "schedules"), i, one) has |= strcmp(text_at(one, "name"), name) == 0;
    json_decref(doc);
    return has;
}

static void settings_are_read_anew(void **state)
{
    (void)state;
    manager_open(1);
    run_put(&l.r, "tierline.ini",
            "[server]\ncors = https://one.example\n[schedules]\nearly = 0 6 * * * UTC; set=daily\n");
    server_start(&l.a, &l.r);
    manager_is_told("READY=1");
    assert_true(allows("https://one.example") && !allows("https://two.example"));
    assert_true(has_schedule("early") && !has_schedule("late"));
    run_put(&l.r, "tierline.ini",
            "[server]\ncors = https://two.example\n[schedules]\nlate = 0 22 * * * UTC; set=daily\n");
    kill(l.a.pid, SIGHUP);
    manager_is_told("RELOADING=1");
    manager_is_told("READY=1");
    assert_true(server_log_comes(&l.a, "settings read anew", 5000));
    assert_true(!allows("https://one.example") && allows("https://two.example"));
    assert_true(!has_schedule("early") && has_schedule("late"));
    /* Each of these is refused whole. */
    static const char *const bad[] = {"[server]\ncors = https://three.example\n[schedules]\nbroken = 99 6 * * * UTC\n",
                                      "[server]\ncors = no-origin\n",
                                      "[server]\ncors = https://three.example\nnothing = 1\n",
                                      "[server\ncors = https://three.example\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        run_put(&l.r, "tierline.ini", bad[i]);
        kill(l.a.pid, SIGHUP);
        manager_is_told("RELOADING=1");
        manager_is_told("READY=1");
        if (!server_log_has(&l.a, "settings refused")) fail_msg("taken: %s", bad[i]);
        assert_true(!allows("https://three.example") && allows("https://two.example"));
        assert_true(!has_schedule("early") && has_schedule("late") && !has_schedule("broken"));
    }
    /* A token: from now on it is needed, here, too. */
    run_put(&l.r, "tierline.ini", "[server]\ncors = https://two.example\n");
    run(&l.r, "token", "create", "first", "--scope", "read");
    expect(&l.r, 0, "tl_", NULL);
    kill(l.a.pid, SIGHUP);
    manager_is_told("READY=1");
    assert_int_equal(ask_status(&l.a, "GET", "/api/v1/symbols", NULL), 401);
    /* A bad file of tokens leaves what was there. */
    run_put(&l.r, "tierline.tokens", "this is no row of tokens\n");
    kill(l.a.pid, SIGHUP);
    manager_is_told("READY=1");
    assert_int_equal(ask_status(&l.a, "GET", "/api/v1/symbols", NULL), 401);
    assert_int_equal(ask_status(&l.a, "GET", "/livez", NULL), 200);
    server_stop(&l.a);
}

/* ---- a socket of somebody else's ---- */

static void its_socket_outlives_it(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    char body[1024];
    (void)state;
    l.a.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(l.a.listen_fd >= 0 && bind(l.a.listen_fd, (struct sockaddr *)&a, sizeof a) == 0 &&
                listen(l.a.listen_fd, 16) == 0 && getsockname(l.a.listen_fd, (struct sockaddr *)&a, &n) == 0);
    int port = l.a.port = ntohs(a.sin_port);
    l.fd = server_connect(&l.a); /* before it has begun: it waits in the socket */
    server_start(&l.a, &l.r);
    assert_int_equal(l.a.port, port);
    assert_int_equal(status_on(l.fd, "/livez", body, sizeof body), 200);
    close(l.fd);
    server_stop(&l.a);
    l.fd = server_connect(&l.a); /* nobody is there, and nobody is refused */
    assert_true(l.fd >= 0);
    server_start(&l.a, &l.r);
    assert_int_equal(status_on(l.fd, "/readyz", body, sizeof body), 200);
    server_stop(&l.a);
    /* One that is no listening socket is refused by name. */
    int listening = l.a.listen_fd;
    l.a.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    server_spawn(&l.a, &l.r);
    assert_int_equal(server_wait(&l.a, 10000), 2);
    assert_true(server_log_has(&l.a, "LISTEN_FDS: descriptor 3"));
    close(l.a.listen_fd);
    l.a.listen_fd = listening;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_drains, setup, teardown),
        cmocka_unit_test_setup_teardown(it_ends_without_its_redis, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_acknowledged_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(a_job_is_handed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(settings_are_read_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(its_socket_outlives_it, setup, teardown),
    };
    cmocka_set_test_filter(getenv("TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
