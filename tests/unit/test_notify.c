/* SPDX-License-Identifier: Apache-2.0 */
/* What a service manager gets to read on a real datagram socket, by path and abstract; and the sockets that it hands
 * over, in a child in which they have the numbers that they must have. */
#include "support.h"

#include "server/notify.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#define VAR(z) ((char[]){z})

struct manager {
    int fd;
    char dir[64], variable[160]; /* NOTIFY_SOCKET=... */
    char *envp[8];
    struct tl_notify n;
    struct tl_err err;
    int log_fd;
    struct tl_log log;
};

static void listen_at(struct manager *m, const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    m->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(m->fd >= 0);
    memcpy(a.sun_path, name, length);
    if (name[0] == '@') a.sun_path[0] = '\0';
    socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (name[0] != '@'));
    assert_int_equal(bind(m->fd, (struct sockaddr *)&a, n), 0);
    snprintf(m->variable, sizeof m->variable, "NOTIFY_SOCKET=%s", name);
    m->envp[0] = m->variable;
}

static int setup(void **state)
{
    struct manager *m = calloc(1, sizeof *m);
    assert_non_null(m);
    snprintf(m->dir, sizeof m->dir, "/tmp/tl-notify-XXXXXX");
    assert_non_null(mkdtemp(m->dir));
    m->fd = -1;
    m->log_fd = memfd_create("log", MFD_CLOEXEC);
    m->log = (struct tl_log){.level = TL_LOG_DEBUG, .fd = m->log_fd};
    *state = m;
    return 0;
}

static int teardown(void **state)
{
    struct manager *m = *state;
    char path[96];
    tl_notify_close(&m->n);
    if (m->fd >= 0) close(m->fd);
    close(m->log_fd);
    snprintf(path, sizeof path, "%s/notify", m->dir);
    (void)unlink(path);
    assert_int_equal(rmdir(m->dir), 0);
    free(m);
    return 0;
}

static void open_ok(struct manager *m)
{
    enum tl_status st = tl_notify_open(&m->n, m->envp, &m->log, &m->err);
    if (st != TL_OK) print_message("%s\n", m->err.text);
    assert_int_equal(st, TL_OK);
}

/* The next datagram; "" when there is none. Static storage. */
static const char *heard(struct manager *m)
{
    static char text[1024];
    ssize_t n = recv(m->fd, text, sizeof text - 1, 0);
    assert_true(n >= 0 || errno == EAGAIN);
    text[n < 0 ? 0 : n] = '\0';
    return text;
}

static void tell_everything(struct manager *m)
{
    open_ok(m);
    assert_int_equal(m->n.watchdog_ms, 0);
    tl_notify_ready(&m->n);
    assert_string_equal(heard(m), "READY=1");
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    tl_notify_reloading(&m->n);
    unsigned long long usec = 0, now = (unsigned long long)ts.tv_sec * 1000000 + (unsigned long long)ts.tv_nsec / 1000;
    int end = 0;
    const char *text = heard(m);
    assert_int_equal(sscanf(text, "RELOADING=1\nMONOTONIC_USEC=%llu%n", &usec, &end), 1);
    assert_int_equal(end, strlen(text));
    assert_true(usec >= now && usec < now + 60000000);
    tl_notify_watchdog(&m->n); /* nobody asked for it */
    assert_string_equal(heard(m), "");
    tl_notify_status(&m->n, "%d sockets, %s", 7, "a\nREADY=0\tb\x7f");
    assert_string_equal(heard(m), "STATUS=7 sockets, a?READY=0?b?");
    tl_notify_stopping(&m->n);
    assert_string_equal(heard(m), "STOPPING=1");
    assert_int_equal(lseek(m->log_fd, 0, SEEK_END), 0);
}

static void test_path(void **state)
{
    struct manager *m = *state;
    char path[96];
    snprintf(path, sizeof path, "%s/notify", m->dir);
    listen_at(m, path);
    tell_everything(m);
}

static void test_abstract(void **state)
{
    struct manager *m = *state;
    char name[64];
    snprintf(name, sizeof name, "@tierline-test-%d", (int)getpid());
    listen_at(m, name);
    tell_everything(m);
}

static void test_long_status(void **state)
{
    struct manager *m = *state;
    char name[64], text[600];
    snprintf(name, sizeof name, "@tierline-status-%d", (int)getpid());
    listen_at(m, name);
    open_ok(m);
    for (size_t n = 240; n < 270; n++) { /* three bytes a character, from n on */
        memset(text, 'x', n);
        snprintf(text + n, sizeof text - n, "%s", "\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad");
        tl_notify_status(&m->n, "%s", text);
        const char *got = heard(m);
        size_t length = strlen(got) - 7;
        assert_true(length < TL_NOTIFY_STATUS_MAX && length >= TL_NOTIFY_STATUS_MAX - 3);
        assert_memory_equal(got, "STATUS=", 7);
        assert_memory_equal(got + 7, text, length);
        assert_true(length <= n || (length - n) % 3 == 0);
    }
}

/* No manager; one that has gone; one that does not read. */
static void test_nobody(void **state)
{
    struct manager *m = *state;
    char name[64], log[2048] = "";
    char *none[] = {VAR("NOTIFY_SOCKETS=/x"), VAR("WATCHDOG_USEC=rubbish"), NULL},
         *empty[] = {VAR("NOTIFY_SOCKET="), NULL};
    char *const *envps[] = {none, empty, NULL};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(tl_notify_open(&m->n, envps[i], &m->log, &m->err), TL_OK);
        assert_int_equal(m->n.fd, -1);
        tl_notify_ready(&m->n);
        tl_notify_status(&m->n, "x");
        tl_notify_close(&m->n);
    }
    snprintf(name, sizeof name, "@tierline-gone-%d", (int)getpid());
    listen_at(m, name);
    open_ok(m);
    int sent = 0;
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    while (!m->n.failing && sent < 100000) { /* until its queue is full: dropped at once */
        tl_notify_status(&m->n, "%d", sent);
        sent++;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    assert_true(m->n.failing && sent > 1);
    tl_notify_status(&m->n, "again");
    heard(m); /* room for one: the manager goes on */
    tl_notify_ready(&m->n);
    assert_false(m->n.failing);
    close(m->fd);
    m->fd = -1;
    tl_notify_stopping(&m->n);
    tl_notify_stopping(&m->n);
    assert_true(m->n.failing);
    assert_true(pread(m->log_fd, log, sizeof log - 1, 0) > 0);
    unsigned lines = 0;
    for (const char *p = log; (p = strchr(p, '\n')); p++) lines++;
    assert_int_equal(lines, 2); /* one for each row of failures */
    assert_non_null(strstr(log, "service manager was not told"));
}

static void test_bad_address(void **state)
{
    struct manager *m = *state;
    char longest[160] = "NOTIFY_SOCKET=/", *bad[] = {VAR("NOTIFY_SOCKET=notify"), VAR("NOTIFY_SOCKET=@"),
                                                     VAR("NOTIFY_SOCKET=/"), VAR("NOTIFY_SOCKET=vsock:2:1"), longest};
    memset(longest + 15, 'x', 107);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        m->envp[0] = bad[i];
        m->err = (struct tl_err){0};
        assert_int_equal(tl_notify_open(&m->n, m->envp, &m->log, &m->err), TL_INVALID);
        assert_non_null(strstr(m->err.text, "NOTIFY_SOCKET"));
        assert_int_equal(m->n.fd, -1);
    }
    longest[14 + 107] = '\0';
    open_ok(m); /* 107 bytes are the most */
}

static void test_watchdog(void **state)
{
    struct manager *m = *state;
    char name[64], mine[40], other[40];
    snprintf(name, sizeof name, "@tierline-dog-%d", (int)getpid());
    snprintf(mine, sizeof mine, "WATCHDOG_PID=%d", (int)getpid());
    snprintf(other, sizeof other, "WATCHDOG_PID=%d", (int)getpid() + 1);
    listen_at(m, name);
    const struct {
        char *usec, *pid;
        enum tl_status status;
        uint32_t ms;
    } rows[] = {
        {VAR("WATCHDOG_USEC=30000000"), mine, TL_OK, 15000},
        {VAR("WATCHDOG_USEC=30000000"), NULL, TL_OK, 15000},
        {VAR("WATCHDOG_USEC=30000000"), other, TL_OK, 0},
        {VAR("WATCHDOG_USEC=1"), NULL, TL_OK, 1},
        {VAR("WATCHDOG_USEC=9000000000000000000"), NULL, TL_OK, INT32_MAX},
        {VAR("WATCHDOG_USEC=0"), NULL, TL_INVALID, 0},
        {VAR("WATCHDOG_USEC=-5"), NULL, TL_INVALID, 0},
        {VAR("WATCHDOG_USEC=soon"), NULL, TL_INVALID, 0},
        {VAR("WATCHDOG_USEC=30000000"), VAR("WATCHDOG_PID=me"), TL_INVALID, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        m->envp[1] = rows[i].usec;
        m->envp[2] = rows[i].pid;
        assert_int_equal(tl_notify_open(&m->n, m->envp, &m->log, &m->err), rows[i].status);
        if (rows[i].status != TL_OK) continue;
        assert_int_equal(m->n.watchdog_ms, rows[i].ms);
        tl_notify_watchdog(&m->n);
        assert_string_equal(heard(m), rows[i].ms ? "WATCHDOG=1" : "");
        tl_notify_close(&m->n);
    }
}

/* ---- socket activation ---- */

static int tcp_listener(int family)
{
    int fd = socket(family, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 4) != 0) return -1;
    return fd;
}

static int unix_socket(bool listening)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    /* Only a family: the kernel gives it an abstract name. */
    if (bind(fd, (struct sockaddr *)&a, sizeof(sa_family_t)) != 0 || (listening && listen(fd, 4) != 0)) return -1;
    return fd;
}

/* What stands at 3, 4, ...: t TCP listener, u Unix listener, s Unix that does not listen, d datagram, f a file, -
 * closed. */
static bool put_fds(const char *kinds)
{
    int from[8], n = 0;
    for (; kinds[n]; n++) {
        int fd = kinds[n] == 't'   ? tcp_listener(AF_INET)
                 : kinds[n] == 'u' ? unix_socket(true)
                 : kinds[n] == 's' ? unix_socket(false)
                 : kinds[n] == 'd' ? socket(AF_INET, SOCK_DGRAM, 0)
                                   : open("/dev/null", O_RDONLY);
        from[n] = fcntl(fd, F_DUPFD, 100);
        close(fd);
        if (from[n] < 0) return false;
    }
    for (int i = 0; i < n; i++) {
        if (dup2(from[i], 3 + i) < 0) return false;
        close(from[i]);
        if (kinds[i] == '-') close(3 + i);
    }
    return true;
}

/* In a child: OK and as expected, or failing with the text. Exit code 0: so it was. */
static int child(const char *kinds, const char *fds, const char *names, size_t expected, const char *has)
{
    char pid[40], count[64], named[400];
    struct tl_listen_fd l[TL_LISTEN_FDS_MAX];
    struct tl_err err = {0};
    size_t n = 99;
    if (!put_fds(kinds)) return 2;
    snprintf(pid, sizeof pid, "LISTEN_PID=%d", (int)getpid());
    snprintf(count, sizeof count, "LISTEN_FDS=%s", fds);
    snprintf(named, sizeof named, "LISTEN_FDNAMES=%s", names ? names : "");
    char *envp[] = {pid, count, names ? named : NULL, NULL};
    enum tl_status st = tl_listen_fds(envp, l, &n, &err);
    if (has) return st == TL_INVALID && n == 0 && strstr(err.text, has) ? 0 : 3;
    if (st != TL_OK || n != expected) return 4;
    for (size_t i = 0; i < n; i++) {
        int family = kinds[i] == 't' ? AF_INET : AF_UNIX;
        if (l[i].fd != 3 + (int)i || l[i].family != family) return 5;
        if (!(fcntl(l[i].fd, F_GETFD) & FD_CLOEXEC) || !(fcntl(l[i].fd, F_GETFL) & O_NONBLOCK)) return 6;
        static const char *const usual[] = {"http", "", "admin"};
        if (strcmp(l[i].name, names ? usual[i] : "unknown") != 0) return 7;
        if (accept(l[i].fd, NULL, NULL) != -1 || errno != EAGAIN) return 8;
    }
    return 0;
}

static void test_listen(void **state)
{
    (void)state;
    static const struct {
        const char *kinds, *fds, *names;
        size_t n;
        const char *has; /* NULL: OK */
    } rows[] = {
        {"t", "1", NULL, 1, NULL},
        {"tu", "2", "http:", 2, NULL},
        {"tut", "3", "http::admin", 3, NULL},
        {"tut", "2", NULL, 2, NULL},
        {"", "0", NULL, 0, NULL},
        {"t", "x", NULL, 0, "LISTEN_FDS: 'x'"},
        {"t", "", NULL, 0, "LISTEN_FDS: ''"},
        {"t", "-1", NULL, 0, "LISTEN_FDS: '-1'"},
        {"t", "33", NULL, 0, "LISTEN_FDS: '33'"},
        {"t", "99999999999999999999", NULL, 0, "LISTEN_FDS"},
        {"tu", "2", "http", 0, "LISTEN_FDNAMES"},
        {"tu", "2", "http:a:b", 0, "LISTEN_FDNAMES"},
        {"t", "1", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, "64 bytes"},
        {"ts", "2", "http:other", 0, "descriptor 4 (other) is no stream socket that listens"},
        {"d", "1", NULL, 0, "descriptor 3 (unknown) is no stream"},
        {"tf", "2", NULL, 0, "descriptor 4 (unknown) is no stream"},
        {"t-", "2", NULL, 0, "descriptor 4 (unknown) is not open"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int status;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) _exit(child(rows[i].kinds, rows[i].fds, rows[i].names, rows[i].n, rows[i].has));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (status != 0) print_message("row %zu: status %d\n", i, status >> 8);
        assert_int_equal(status, 0);
    }
}

static void test_not_ours(void **state)
{
    struct manager *m = *state;
    struct tl_listen_fd l[TL_LISTEN_FDS_MAX];
    char other[40];
    size_t n = 9;
    snprintf(other, sizeof other, "LISTEN_PID=%d", (int)getppid());
    char *const envps[][4] = {
        {NULL},
        {VAR("LISTEN_FDS=1"), NULL},
        {VAR("LISTEN_PID=1"), NULL},
        {other, VAR("LISTEN_FDS=1"), NULL},
    };
    for (size_t i = 0; i < sizeof envps / sizeof envps[0]; i++) {
        n = 9;
        assert_int_equal(tl_listen_fds(envps[i], l, &n, &m->err), TL_OK);
        assert_int_equal(n, 0);
    }
    char *const bad[] = {VAR("LISTEN_PID=self"), VAR("LISTEN_FDS=1"), NULL};
    assert_int_equal(tl_listen_fds(bad, l, &n, &m->err), TL_INVALID);
    assert_non_null(strstr(m->err.text, "LISTEN_PID: 'self'"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_path),        T(test_abstract), T(test_long_status), T(test_nobody),
        T(test_bad_address), T(test_watchdog), T(test_listen),      T(test_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
