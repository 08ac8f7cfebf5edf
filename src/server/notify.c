/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify and sd_listen_fds without libsystemd. A notification is one datagram of "NAME=value" lines to the socket
 * that NOTIFY_SOCKET names. Invariants: one datagram is one state, whole or not sent; a manager that is slow or gone
 * costs at most READY_WAIT_MS, and never an error of the service. Variables that are meant for another process
 * (LISTEN_PID, WATCHDOG_PID) mean nothing here. The environment is read, not changed: children must be given another
 * one. */
#include "server/notify.h"

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_FD = 3, READY_WAIT_MS = 1000 };

/* NULL: it is not there. */
static const char *variable(char *const *envp, const char *name)
{
    size_t n = strlen(name);
    for (; envp && *envp; envp++)
        if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=') return *envp + n + 1;
    return NULL;
}

/* A variable that is a number of at least `min`. */
static enum tl_status number(char *const *envp, const char *name, int64_t min, int64_t max, int64_t *out,
                             struct tl_err *err)
{
    const char *text = variable(envp, name);
    if (text && tl_str_to_i64(tl_str(text), out) && *out >= min && *out <= max) return TL_OK;
    return tl_fail(err, TL_INVALID, "%s: '%.40s' is no number from %lld to %lld", name, text ? text : "",
                   (long long)min, (long long)max);
}

/* ---- the manager's address ---- */

static enum tl_status parse_address(struct tl_notify *n, const char *text, struct tl_err *err)
{
    size_t length = strlen(text);
    if (text[0] != '/' && text[0] != '@')
        return tl_fail(err, TL_INVALID, "NOTIFY_SOCKET: '%.80s' is neither a path nor @ and a name", text);
    if (length < 2 || length >= sizeof n->to.sun_path)
        return tl_fail(err, TL_INVALID, "NOTIFY_SOCKET: a name of %zu bytes does not fit a socket", length);
    n->to.sun_family = AF_UNIX;
    memcpy(n->to.sun_path, text, length + 1);
    n->to_n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    if (text[0] == '@') { /* abstract: a NUL in front, none behind */
        n->to.sun_path[0] = '\0';
        n->to_n--;
    }
    return TL_OK;
}

static enum tl_status read_watchdog(struct tl_notify *n, char *const *envp, struct tl_err *err)
{
    int64_t pid, usec;
    if (!variable(envp, "WATCHDOG_USEC")) return TL_OK;
    if (variable(envp, "WATCHDOG_PID")) {
        enum tl_status st = number(envp, "WATCHDOG_PID", 1, INT32_MAX, &pid, err);
        if (st != TL_OK) return st;
        if (pid != getpid()) return TL_OK;
    }
    enum tl_status st = number(envp, "WATCHDOG_USEC", 1, INT64_MAX, &usec, err);
    if (st != TL_OK) return st;
    int64_t ms = usec / 2000; /* twice in its time */
    n->watchdog_ms = (uint32_t)TL_MIN(TL_MAX(ms, 1), INT32_MAX);
    return TL_OK;
}

enum tl_status tl_notify_open(struct tl_notify *n, char *const *envp, const struct tl_log *log, struct tl_err *err)
{
    *n = (struct tl_notify){.fd = -1, .log = log};
    const char *text = variable(envp, "NOTIFY_SOCKET");
    if (!text || !text[0]) return TL_OK;
    enum tl_status st = parse_address(n, text, err);
    if (st == TL_OK) st = read_watchdog(n, envp, err);
    if (st != TL_OK) return st;
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return n->fd >= 0 ? TL_OK : tl_fail_errno(err, errno, "NOTIFY_SOCKET: no socket to write to it");
}

void tl_notify_close(struct tl_notify *n)
{
    if (n->fd >= 0) close(n->fd);
    n->fd = -1;
    n->watchdog_ms = 0;
}

/* ---- sending ---- */

static uint64_t mono_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * UINT64_C(1000000) + (uint64_t)ts.tv_nsec / 1000;
}

/* 0, or an errno. A full queue is tried again until wait_ms are over: an unconnected socket cannot be polled for it. */
static int send_within(const struct tl_notify *n, const char *text, size_t length, unsigned wait_ms)
{
    uint64_t until = mono_us() + wait_ms * UINT64_C(1000);
    for (;;) {
        if (sendto(n->fd, text, length, MSG_NOSIGNAL, (const struct sockaddr *)&n->to, n->to_n) >= 0) return 0;
        if (errno == EINTR) continue;
        int why = errno;
        if ((why != EAGAIN && why != ENOBUFS) || mono_us() >= until) return why;
        (void)poll(NULL, 0, 2);
    }
}

static void say(struct tl_notify *n, unsigned wait_ms, const char *text)
{
    if (n->fd < 0) return;
    int why = send_within(n, text, strlen(text), wait_ms);
    if (why && !n->failing)
        tl_log(n->log, TL_LOG_WARN, "notify", "service manager was not told", "reason=\"%s\" what=\"%.40s\"",
               strerror(why), text);
    n->failing = why != 0;
}

void tl_notify_ready(struct tl_notify *n)
{
    say(n, READY_WAIT_MS, "READY=1");
}

void tl_notify_reloading(struct tl_notify *n)
{
    char text[64];
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)mono_us());
    say(n, READY_WAIT_MS, text);
}

void tl_notify_stopping(struct tl_notify *n)
{
    say(n, READY_WAIT_MS, "STOPPING=1");
}

void tl_notify_watchdog(struct tl_notify *n)
{
    if (n->watchdog_ms) say(n, 0, "WATCHDOG=1");
}

/* `length` less what of a UTF-8 sequence was cut off at the end: systemd drops a line that is not UTF-8. */
static size_t whole_characters(const char *text, size_t length)
{
    size_t first = length;
    while (first > 0 && ((unsigned char)text[first - 1] & 0xc0) == 0x80) first--;
    if (first == 0) return length;
    unsigned char lead = (unsigned char)text[first - 1];
    size_t whole = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    return length - first + 1 < whole ? first - 1 : length;
}

void tl_notify_status(struct tl_notify *n, const char *fmt, ...)
{
    char line[TL_NOTIFY_STATUS_MAX] = "", text[TL_NOTIFY_STATUS_MAX + 8];
    if (n->fd < 0) return;
    va_list ap;
    va_start(ap, fmt);
    int made = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (made < 0) return;
    if ((size_t)made >= sizeof line) line[whole_characters(line, sizeof line - 1)] = '\0';
    for (char *p = line; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f) *p = '?'; /* a newline would begin another variable */
    snprintf(text, sizeof text, "STATUS=%s", line);
    say(n, 0, text);
}

/* ---- socket activation ---- */

static enum tl_status check_fd(struct tl_listen_fd *l, struct tl_err *err)
{
    int type = 0, listening = 0;
    socklen_t n = sizeof type;
    struct sockaddr_storage address = {0};
    socklen_t address_n = sizeof address;
    if (fcntl(l->fd, F_GETFD) < 0)
        return tl_fail(err, TL_INVALID, "LISTEN_FDS: descriptor %d (%s) is not open", l->fd, l->name);
    bool ok = getsockopt(l->fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM;
    n = sizeof listening;
    ok = ok && getsockopt(l->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) == 0 && listening;
    ok = ok && getsockname(l->fd, (struct sockaddr *)&address, &address_n) == 0;
    if (!ok)
        return tl_fail(err, TL_INVALID, "LISTEN_FDS: descriptor %d (%s) is no stream socket that listens", l->fd,
                       l->name);
    l->family = address.ss_family;
    if (l->family == AF_INET || l->family == AF_INET6 || l->family == AF_UNIX) return TL_OK;
    return tl_fail(err, TL_INVALID, "LISTEN_FDS: descriptor %d (%s) is of address family %d", l->fd, l->name,
                   l->family);
}

/* The names, one for each descriptor, parted by ':'. */
static enum tl_status read_names(const char *text, struct tl_listen_fd *out, size_t n, struct tl_err *err)
{
    struct tl_str rest = tl_str(text), name;
    size_t i = 0;
    for (; tl_str_split(&rest, ':', &name); i++) {
        if (i == n) return tl_fail(err, TL_INVALID, "LISTEN_FDNAMES: more names than the %zu descriptors", n);
        if (name.n >= sizeof out[i].name)
            return tl_fail(err, TL_INVALID, "LISTEN_FDNAMES: a name has %zu bytes", name.n);
        memcpy(out[i].name, name.p, name.n);
        out[i].name[name.n] = '\0';
    }
    return i == n ? TL_OK : tl_fail(err, TL_INVALID, "LISTEN_FDNAMES: %zu names for %zu descriptors", i, n);
}

enum tl_status tl_listen_fds(char *const *envp, struct tl_listen_fd out[TL_LISTEN_FDS_MAX], size_t *n,
                             struct tl_err *err)
{
    int64_t pid, count;
    *n = 0;
    if (!variable(envp, "LISTEN_PID") || !variable(envp, "LISTEN_FDS")) return TL_OK;
    enum tl_status st = number(envp, "LISTEN_PID", 1, INT32_MAX, &pid, err);
    if (st != TL_OK || pid != getpid()) return st;
    st = number(envp, "LISTEN_FDS", 0, TL_LISTEN_FDS_MAX, &count, err);
    if (st != TL_OK || count == 0) return st;
    for (int i = 0; i < (int)count; i++) out[i] = (struct tl_listen_fd){.fd = FIRST_FD + i, .name = "unknown"};
    const char *names = variable(envp, "LISTEN_FDNAMES");
    if (names) st = read_names(names, out, (size_t)count, err);
    for (int i = 0; i < (int)count && st == TL_OK; i++) st = check_fd(&out[i], err);
    for (int i = 0; i < (int)count && st == TL_OK; i++) {
        int flags = fcntl(out[i].fd, F_GETFL);
        if (flags < 0 || fcntl(out[i].fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(out[i].fd, F_SETFL, flags | O_NONBLOCK) < 0)
            st = tl_fail_errno(err, errno, "LISTEN_FDS: cannot set up descriptor %d", out[i].fd);
    }
    if (st == TL_OK) *n = (size_t)count;
    return st;
}
