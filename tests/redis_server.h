/* SPDX-License-Identifier: Apache-2.0 */
/* A real redis-server of the test's own, on a free loopback port, with its files in a temporary folder; it dies with
 * the test. Include behind "support.h". */
#ifndef TL_TESTS_REDIS_SERVER_H
#define TL_TESTS_REDIS_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

enum { REDIS_EXTRA_MAX = 24 };

struct redis_server {
    pid_t pid; /* 0: not running */
    int port;
    char dir[64], url[128];
    const char *extra[REDIS_EXTRA_MAX + 1];
    const char *password; /* for the fixture's own commands; NULL: none */
};

static inline void redis_sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static inline bool redis_server_installed(void)
{
    return access("/usr/bin/redis-server", X_OK) == 0 || access("/usr/local/bin/redis-server", X_OK) == 0;
}

static inline int redis_free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    close(fd);
    return ntohs(a.sin_port);
}

/* Connects; -1: nobody listens. */
static inline int redis_connect(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 15};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
    close(fd);
    return -1;
}

/* One command and the raw bytes of its reply, as far as one read brings them; false: no server. */
static inline bool redis_command(struct redis_server *s, char *out, size_t cap, const char *const argv[])
{
    int fd = redis_connect(s->port);
    if (fd < 0) return false;
    char text[4096];
    size_t n = 0, argc = 0;
    if (s->password)
        n +=
            (size_t)snprintf(text, sizeof text, "*2\r\n$4\r\nAUTH\r\n$%zu\r\n%s\r\n", strlen(s->password), s->password);
    while (argv[argc]) argc++;
    n += (size_t)snprintf(text + n, sizeof text - n, "*%zu\r\n", argc);
    for (size_t i = 0; i < argc; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "$%zu\r\n%s\r\n", strlen(argv[i]), argv[i]);
    bool ok = write(fd, text, n) == (ssize_t)n;
    size_t got = 0, skip = s->password ? 5 : 0; /* +OK\r\n of AUTH */
    while (ok && got < cap - 1) {
        ssize_t r = read(fd, out + got, cap - 1 - got);
        if (r <= 0) break;
        got += (size_t)r;
        if (got > skip && out[got - 1] == '\n') break;
    }
    close(fd);
    ok = ok && got > skip;
    if (ok) memmove(out, out + skip, got - skip);
    out[ok ? got - skip : 0] = '\0';
    return ok;
}
#define redis_do(s, out, ...) redis_command(s, out, sizeof(out), (const char *const[]){__VA_ARGS__, NULL})

static inline void redis_spawn(struct redis_server *s)
{
    char port[8];
    const char *argv[REDIS_EXTRA_MAX + 24] = {"redis-server", "--port",      port,     "--bind",    "127.0.0.1",
                                              "--dir",        s->dir,        "--save", "",          "--appendonly",
                                              "no",           "--daemonize", "no",     "--logfile", "log"};
    size_t n = 15;
    snprintf(port, sizeof port, "%d", s->port);
    for (size_t i = 0; s->extra[i]; i++) argv[n++] = s->extra[i];
    argv[n] = NULL;
    pid_t parent = getpid();
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
}

/* true once it answers; false when it died. */
static inline bool redis_wait(struct redis_server *s)
{
    char out[256];
    for (int i = 0; i < 1000; i++) {
        int status;
        if (redis_do(s, out, "PING") && (strncmp(out, "+PONG", 5) == 0 || strncmp(out, "-NOAUTH", 7) == 0)) return true;
        if (waitpid(s->pid, &status, WNOHANG) == s->pid) return false;
        redis_sleep_ms(10);
    }
    print_message("redis-server on port %d did not answer in 10 s\n", s->port);
    fail();
    return false;
}

/* extra: further arguments, NULL-terminated; NULL: none. Skips the test when there is no redis-server. */
static inline void redis_server_start(struct redis_server *s, const char *const extra[])
{
    if (!redis_server_installed()) {
        print_message("redis-server is not installed\n");
        skip();
    }
    *s = (struct redis_server){.pid = 0};
    for (size_t i = 0; extra && extra[i]; i++) {
        s->extra[i] = extra[i];
        if (strcmp(extra[i], "--requirepass") == 0) s->password = extra[i + 1];
    }
    snprintf(s->dir, sizeof s->dir, "/tmp/tl-redis-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    for (int tries = 0; tries < 20; tries++) { /* another process may take the port first */
        s->port = redis_free_port();
        redis_spawn(s);
        if (redis_wait(s)) break;
        s->pid = 0;
    }
    assert_true(s->pid > 0);
    snprintf(s->url, sizeof s->url, "redis://127.0.0.1:%d/0", s->port);
}

static inline void redis_server_kill(struct redis_server *s)
{
    if (s->pid <= 0) return;
    kill(s->pid, SIGKILL);
    while (waitpid(s->pid, NULL, 0) < 0) assert_int_equal(errno, EINTR);
    s->pid = 0;
}

/* After a kill: the same port, empty. */
static inline void redis_server_restart(struct redis_server *s)
{
    redis_server_kill(s);
    redis_spawn(s);
    assert_true(redis_wait(s));
}

static inline int redis_remove_one(const char *path, const struct stat *sb, int flag, struct FTW *ftw)
{
    (void)sb, (void)flag, (void)ftw;
    return remove(path);
}

static inline void redis_server_stop(struct redis_server *s)
{
    redis_server_kill(s);
    if (s->dir[0]) (void)nftw(s->dir, redis_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    s->dir[0] = '\0';
}

#endif
