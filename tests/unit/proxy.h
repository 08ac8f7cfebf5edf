/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP proxy between a cache and its redis-server, in a thread of its own: replies byte by byte, or cut after so many
 * of them. Include behind "redis_server.h". */
#ifndef TL_TESTS_PROXY_H
#define TL_TESTS_PROXY_H

#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>

enum { PROXY_PAIRS = 32 };

struct proxy {
    int listener, port, upstream_port;
    pthread_t thread;
    atomic_bool stop, split;
    atomic_bool hold;      /* requests wait */
    atomic_long cut_after; /* reply bytes until both sides are closed; -1: never. -2 once it was cut */
    struct {
        int client, server; /* -1: free */
    } pairs[PROXY_PAIRS];
};

static inline void proxy_drop(struct proxy *p, int i)
{
    close(p->pairs[i].client);
    close(p->pairs[i].server);
    p->pairs[i].client = p->pairs[i].server = -1;
}

static inline void proxy_accept(struct proxy *p)
{
    int fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC), one = 1;
    if (fd < 0) return;
    for (int i = 0; i < PROXY_PAIRS; i++) {
        if (p->pairs[i].client >= 0) continue;
        p->pairs[i].client = fd;
        p->pairs[i].server = redis_connect(p->upstream_port);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (p->pairs[i].server < 0) {
            close(fd);
            p->pairs[i].client = -1;
        }
        return;
    }
    close(fd);
}

static inline bool proxy_send(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t r = send(fd, p, n, MSG_NOSIGNAL);
        if (r <= 0) return false;
        p += r;
        n -= (size_t)r;
    }
    return true;
}

/* false: the pair is to be dropped. */
static inline bool proxy_reply(struct proxy *p, int i)
{
    char bytes[16384];
    ssize_t n = read(p->pairs[i].server, bytes, sizeof bytes);
    if (n <= 0) return false;
    long cut = atomic_load(&p->cut_after);
    size_t pass = cut >= 0 && cut < n ? (size_t)cut : (size_t)n, step = atomic_load(&p->split) ? 1 : (pass ? pass : 1);
    for (size_t at = 0; at < pass; at += step)
        if (!proxy_send(p->pairs[i].client, bytes + at, step)) return false;
    if (cut < 0) return true;
    atomic_store(&p->cut_after, pass < (size_t)n ? -2 : cut - (long)pass);
    return pass == (size_t)n;
}

static inline bool proxy_request(struct proxy *p, int i)
{
    char bytes[16384];
    ssize_t n = read(p->pairs[i].client, bytes, sizeof bytes);
    return n > 0 && proxy_send(p->pairs[i].server, bytes, (size_t)n);
}

static inline void *proxy_run(void *arg)
{
    struct proxy *p = arg;
    while (!atomic_load(&p->stop)) {
        struct pollfd fds[1 + 2 * PROXY_PAIRS] = {{.fd = p->listener, .events = POLLIN}};
        for (int i = 0; i < PROXY_PAIRS; i++) {
            short want = atomic_load(&p->hold) ? 0 : POLLIN;
            fds[1 + 2 * i] = (struct pollfd){.fd = p->pairs[i].client, .events = want};
            fds[2 + 2 * i] = (struct pollfd){.fd = p->pairs[i].server, .events = POLLIN};
        }
        if (poll(fds, 1 + 2 * PROXY_PAIRS, 10) <= 0) continue;
        for (int i = 0; i < PROXY_PAIRS; i++) {
            bool ok = p->pairs[i].client < 0 || !fds[1 + 2 * i].revents || proxy_request(p, i);
            if (ok && p->pairs[i].client >= 0 && fds[2 + 2 * i].revents) ok = proxy_reply(p, i);
            if (!ok) proxy_drop(p, i);
        }
        if (fds[0].revents) proxy_accept(p);
    }
    return NULL;
}

static inline void proxy_start(struct proxy *p, int upstream_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    *p = (struct proxy){.upstream_port = upstream_port};
    atomic_store(&p->cut_after, -1);
    for (int i = 0; i < PROXY_PAIRS; i++) p->pairs[i].client = p->pairs[i].server = -1;
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(p->listener, 32), 0);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&a, &len), 0);
    p->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&p->thread, NULL, proxy_run, p), 0);
}

static inline void proxy_stop(struct proxy *p)
{
    atomic_store(&p->stop, true);
    pthread_join(p->thread, NULL);
    for (int i = 0; i < PROXY_PAIRS; i++)
        if (p->pairs[i].client >= 0) proxy_drop(p, i);
    close(p->listener);
}

#endif
