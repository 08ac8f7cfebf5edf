/* SPDX-License-Identifier: Apache-2.0 */
/* The load of bench_ws: a process of its own that holds subscribers on one port, takes all that they get, and keeps how
 * many messages came and how late each was, by the time (16 hexadecimal digits of CLOCK_MONOTONIC) in its first bytes.
 */
#ifndef TL_BENCH_WS_LOAD_H
#define TL_BENCH_WS_LOAD_H

#include "server.h"

#include <netinet/tcp.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/mman.h>

enum { WS_BYTES = 200, WS_LATE_STEP_NS = 10000, WS_LATE_STEPS = 200000, WS_READ = 64 * 1024 };

/* In memory that both processes see. */
struct ws_figures {
    atomic_uint ready; /* subscribers */
    atomic_bool stop;
    atomic_uint_fast64_t messages;
    atomic_uint late[WS_LATE_STEPS]; /* how many came so many steps late; the last one: that or more */
};

struct ws_load {
    pid_t pid;
    struct ws_figures *figures;
};

struct ws_subscriber {
    int fd;
    size_t n; /* of a message that is not whole yet */
    char part[WS_BYTES + 16];
};

static inline uint64_t ws_time_in(const char *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 16; i++) v = v << 4 | (uint64_t)(p[i] <= '9' ? p[i] - '0' : p[i] - 'a' + 10);
    return v;
}

/* A text frame of WS_BYTES has a header of four bytes. */
static inline size_t ws_take_frames(struct ws_figures *f, const char *p, size_t n, uint64_t now)
{
    size_t at = 0;
    uint_fast64_t messages = 0;
    for (; n - at >= WS_BYTES + 4; at += WS_BYTES + 4, messages++) {
        must((unsigned char)p[at] == 0x81 && p[at + 1] == 126, "a frame is not what was sent");
        uint64_t late = (now - ws_time_in(p + at + 4)) / WS_LATE_STEP_NS;
        atomic_fetch_add_explicit(&f->late[late < WS_LATE_STEPS ? late : WS_LATE_STEPS - 1], 1, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&f->messages, messages, memory_order_relaxed);
    return at;
}

static inline bool ws_hear(struct ws_figures *f, struct ws_subscriber *s)
{
    static char bytes[WS_READ + sizeof s->part];
    memcpy(bytes, s->part, s->n);
    ssize_t n = recv(s->fd, bytes + s->n, WS_READ, MSG_DONTWAIT);
    if (n <= 0) return n < 0 && errno == EAGAIN;
    size_t have = s->n + (size_t)n, taken = ws_take_frames(f, bytes, have, bench_now_ns());
    s->n = have - taken;
    memcpy(s->part, bytes + taken, s->n);
    return true;
}

static inline int ws_connect(int port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0, "cannot connect");
    return fd;
}

/* path NULL: the socket is a WebSocket as it is. */
static inline int ws_subscribe(int port, const char *path)
{
    char text[512];
    int fd = ws_connect(port);
    if (!path) return fd;
    int n = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                     path);
    must(send(fd, text, (size_t)n, MSG_NOSIGNAL) == n, "cannot send");
    size_t have = 0;
    while (have < 4 || memcmp(text + have - 4, "\r\n\r\n", 4) != 0) {
        must(have < sizeof text && recv(fd, text + have, 1, 0) == 1, "no answer to the upgrade");
        have++;
    }
    must(memcmp(text, "HTTP/1.1 101", 12) == 0, "the upgrade was refused");
    return fd;
}

/* The server and its load have a core each, where there are two: they would take turns on one otherwise. */
static inline void ws_pin(unsigned core)
{
    cpu_set_t set;
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) return;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

static inline void ws_load_run(struct ws_figures *f, unsigned n, int port, const char *path)
{
    struct ws_subscriber *all = calloc(n, sizeof *all);
    struct epoll_event events[256];
    int ep = epoll_create1(EPOLL_CLOEXEC);
    must(all && ep >= 0, "no memory");
    ws_pin(1);
    for (unsigned i = 0; i < n; i++) {
        all[i].fd = ws_subscribe(port, path);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &all[i]};
        must(epoll_ctl(ep, EPOLL_CTL_ADD, all[i].fd, &e) == 0, "epoll");
        atomic_fetch_add(&f->ready, 1);
    }
    while (!atomic_load(&f->stop)) {
        int k = epoll_wait(ep, events, 256, 100);
        for (int i = 0; i < k; i++)
            if (!ws_hear(f, events[i].data.ptr)) _exit(0); /* the server has ended */
    }
    _exit(0);
}

/* Before it the bytes of stdout are out: a fork must not have them twice. */
static inline void ws_load_start(struct ws_load *l, unsigned n, int port, const char *path)
{
    l->figures = mmap(NULL, sizeof *l->figures, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(l->figures != MAP_FAILED, "no memory");
    pid_t parent = getpid();
    l->pid = fork();
    must(l->pid >= 0, "cannot fork");
    if (l->pid > 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    ws_load_run(l->figures, n, port, path);
}

static inline void ws_load_stop(struct ws_load *l)
{
    int status = 0;
    atomic_store(&l->figures->stop, true);
    must(waitpid(l->pid, &status, 0) == l->pid && status == 0, "the load ended with an error");
    munmap(l->figures, sizeof *l->figures);
}

static inline void ws_forget(struct ws_figures *f)
{
    for (size_t i = 0; i < WS_LATE_STEPS; i++) atomic_store_explicit(&f->late[i], 0, memory_order_relaxed);
    atomic_store(&f->messages, 0);
}

/* Milliseconds within which the share of messages came. */
static inline double ws_late_ms(struct ws_figures *f, double share)
{
    double all = 0, sum = 0;
    for (size_t i = 0; i < WS_LATE_STEPS; i++) all += f->late[i];
    for (size_t i = 0; i < WS_LATE_STEPS; i++)
        if ((sum += f->late[i]) >= share * all) return (double)(i + 1) * WS_LATE_STEP_NS / 1e6;
    return WS_LATE_STEPS * (double)WS_LATE_STEP_NS / 1e6;
}

static inline void ws_message(char text[WS_BYTES + 1])
{
    memset(text, 'x', WS_BYTES);
    char time[17];
    snprintf(time, sizeof time, "%016llx", (unsigned long long)bench_now_ns());
    memcpy(text, time, 16);
    text[WS_BYTES] = '\0';
}

#endif
