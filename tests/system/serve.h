/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline serve` as a process of the test's own, on a free loopback port, and requests to it over HTTP. It dies with
 * the test. Every wait has a deadline. Include behind "run.h". */
#ifndef TL_TESTS_SYSTEM_SERVE_H
#define TL_TESTS_SYSTEM_SERVE_H

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { SERVE_START_MS = 20000, SERVE_ANSWER_MS = 15000, SERVE_MAX = 4 };

struct server {
    pid_t pid; /* 0: not running */
    int port, err_fd;
    const struct run *r;
    int listen_fd; /* handed over as LISTEN_FDS; 0: it listens by itself, on `port` where that is not 0 */
};

static inline uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static inline void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* ---- the process ---- */

/* [own] what it has written to standard error so far. */
static inline char *server_log(const struct server *s)
{
    return run_text_of(dup(s->err_fd));
}

static inline bool server_log_has(const struct server *s, const char *text)
{
    char *log = server_log(s);
    bool has = strstr(log, text) != NULL;
    free(log);
    return has;
}

static inline bool server_log_comes(const struct server *s, const char *text, uint64_t ms)
{
    for (uint64_t until = now_ms() + ms; now_ms() < until; sleep_ms(5))
        if (server_log_has(s, text)) return true;
    return false;
}

static inline void server_exec(struct server *s, char **argv, char **env)
{
    char pid[32];
    size_t n = 0;
    while (env[n]) n++;
    if (s->listen_fd > 0) {
        snprintf(pid, sizeof pid, "LISTEN_PID=%d", (int)getpid());
        env[n++] = pid;
        env[n++] = (char *)(uintptr_t) "LISTEN_FDS=1";
        env[n] = NULL;
    }
    if (chdir(s->r->dir) != 0 || dup2(s->err_fd, 2) != 2 || dup2(s->err_fd, 1) != 1) _exit(126);
    if (s->listen_fd > 0 && (dup2(s->listen_fd, 3) != 3 || fcntl(3, F_SETFD, 0) != 0)) _exit(126); /* err_fd may be 3 */
    execve(argv[0], argv, env);
    _exit(127);
}

/* Begins it; the caller waits for what it is to say. r [borrow: until it is stopped]. */
static inline void server_spawn(struct server *s, const struct run *r)
{
    char listen[40], *env[RUN_ENV_ALL + 4] = {NULL};
    char *argv[] = {getenv("TL_TEST_BINARY"), (char *)(uintptr_t) "serve", (char *)(uintptr_t) "--listen", listen,
                    NULL};
    snprintf(listen, sizeof listen, "127.0.0.1:%d", s->port);
    s->r = r;
    s->err_fd = memfd_create("err", MFD_CLOEXEC);
    assert_true(s->err_fd >= 0);
    run_env(r, env);
    pid_t parent = getpid();
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        server_exec(s, argv, env);
    }
    run_env_free(env);
}

/* Fails unless it listens in time. */
static inline void server_start(struct server *s, const struct run *r)
{
    static const char mark[] = "address=127.0.0.1:";
    server_spawn(s, r);
    for (uint64_t until = now_ms() + SERVE_START_MS;; sleep_ms(5)) {
        char *log = server_log(s);
        const char *at = strstr(log, mark);
        if (at && strchr(at, '\n')) s->port = atoi(at + strlen(mark));
        bool up = at && s->port > 0;
        if (!up && (waitpid(s->pid, NULL, WNOHANG) == s->pid || now_ms() > until))
            fail_msg("the server does not listen: %s", log);
        free(log);
        if (up) return;
    }
}

/* Its exit code; -1: it did not end in time, and was killed. */
static inline int server_wait(struct server *s, uint64_t ms)
{
    int status = 0, code = -1;
    pid_t ended = 0;
    for (uint64_t until = now_ms() + ms; ended == 0 && now_ms() < until; sleep_ms(5))
        ended = waitpid(s->pid, &status, WNOHANG);
    if (ended == s->pid) {
        code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    } else {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, &status, 0);
    }
    s->pid = 0;
    return code;
}

static inline void server_forget(struct server *s)
{
    if (s->err_fd > 0) close(s->err_fd);
    s->err_fd = 0;
}

/* SIGTERM; what a sanitizer or an assertion said fails the test. */
static inline void server_stop(struct server *s)
{
    if (s->pid <= 0) return;
    kill(s->pid, SIGTERM);
    int code = server_wait(s, 20000);
    char *log = server_log(s);
    if (code != 0) print_message("server ended with %d:\n%s\n", code, log);
    free(log);
    server_forget(s);
    assert_int_equal(code, 0);
}

/* For teardowns: also when a test has failed. */
static inline void server_end(struct server *s)
{
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
        s->pid = 0;
    }
    server_forget(s);
}

/* Resident memory, in bytes. */
static inline uint64_t server_rss(const struct server *s)
{
    char path[64];
    unsigned long long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)s->pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*u %llu", &pages), 1);
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- HTTP ---- */

struct reply {
    int status;       /* 0: none came */
    char *all, *body; /* [own] all; body lies in it */
    size_t body_n;
};

static inline void reply_release(struct reply *a)
{
    free(a->all);
    *a = (struct reply){.status = 0};
}

/* -1: refused. */
static inline int server_connect(const struct server *s)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)s->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = SERVE_ANSWER_MS / 1000};
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
    close(fd);
    return -1;
}

/* false: the peer has gone, or takes nothing. */
static inline bool send_all(int fd, const void *p, size_t n)
{
    for (const char *at = p; n > 0;) {
        ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        at += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* Everything until the peer closes, or until_ms. closed: it did. */
static inline char *receive_all(int fd, uint64_t ms, size_t *n, bool *closed)
{
    char *all = NULL;
    size_t cap = 0;
    uint64_t until = now_ms() + ms;
    *n = 0;
    *closed = false;
    for (uint64_t now; (now = now_ms()) < until;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, (int)(until - now)) <= 0) continue;
        if (cap - *n < 65536) all = realloc(all, (cap = cap * 2 + 131072));
        assert_non_null(all);
        ssize_t got = recv(fd, all + *n, cap - *n - 1, 0);
        if (got < 0 && errno == EINTR) continue;
        *closed = got <= 0;
        if (*closed) break;
        *n += (size_t)got;
    }
    if (!all) all = calloc(1, 1);
    assert_non_null(all);
    all[*n] = '\0';
    return all;
}

static inline struct reply reply_parse(char *all, size_t n)
{
    struct reply a = {.all = all};
    char *body = strstr(all, "\r\n\r\n");
    if (strncmp(all, "HTTP/1.1 ", 9) == 0) a.status = atoi(all + 9);
    a.body = body ? body + 4 : all + n;
    a.body_n = n - (size_t)(a.body - all);
    return a;
}

/* headers: lines with their \r\n, or "". body NULL: none. */
static inline struct reply ask_full(const struct server *s, const char *method, const char *target, const char *headers,
                                    const void *body, size_t n)
{
    char head[4096];
    size_t got;
    bool closed;
    int fd = server_connect(s);
    if (fd < 0) return (struct reply){.status = 0, .all = calloc(1, 1)};
    int len = snprintf(head, sizeof head,
                       "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n",
                       method, target, s->port, headers, n);
    assert_true(len > 0 && (size_t)len < sizeof head);
    if (send_all(fd, head, (size_t)len) && n > 0) (void)send_all(fd, body, n);
    char *all = receive_all(fd, SERVE_ANSWER_MS, &got, &closed);
    close(fd);
    return reply_parse(all, got);
}

static inline struct reply ask(const struct server *s, const char *method, const char *target, const char *json)
{
    return ask_full(s, method, target, json ? "Content-Type: application/json\r\n" : "", json, json ? strlen(json) : 0);
}

/* The status alone. */
static inline int ask_status(const struct server *s, const char *method, const char *target, const char *json)
{
    struct reply a = ask(s, method, target, json);
    int status = a.status;
    reply_release(&a);
    return status;
}

/* [own] json_decref; fails unless the status is this one. */
static inline json_t *ask_json(const struct server *s, const char *method, const char *target, const char *json,
                               int status)
{
    struct reply a = ask(s, method, target, json);
    json_t *doc = json_loadb(a.body ? a.body : "", a.body_n, 0, NULL);
    if (a.status != status || !doc)
        fail_msg("%s %s: %d, expected %d: %s", method, target, a.status, status, a.all ? a.all : "");
    reply_release(&a);
    return doc;
}

static inline const char *text_at(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));
    return text ? text : "";
}

/* The value of a metric without labels; fails where there is none. */
static inline double metric(const struct server *s, const char *name)
{
    char line[96];
    struct reply a = ask(s, "GET", "/metrics", NULL);
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = a.status == 200 ? strstr(a.body, line) : NULL;
    if (!at) fail_msg("no metric %s: %d", name, a.status);
    double value = strtod(at + strlen(line), NULL);
    reply_release(&a);
    return value;
}

#endif
