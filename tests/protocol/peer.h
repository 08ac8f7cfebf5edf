/* SPDX-License-Identifier: Apache-2.0 */
/* A server that follows a script, in a thread of its own on a free loopback port. Every step has a deadline; what the
 * script did not find is a text that peer_stop shows, because a thread must not fail a test by itself. Include behind
 * "support.h". */
#ifndef TL_TESTS_PEER_H
#define TL_TESTS_PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

enum { PEER_STEP_MS = 10000, PEER_SPLIT_NS = 200000 };

enum peer_kind {
    PEER_ACCEPT, /* the connection before it, if any, is closed */
    PEER_EXPECT, /* exactly these bytes come next */
    PEER_SEND,
    PEER_SPLIT, /* byte by byte, a pause after each */
    PEER_FILL,  /* n bytes of x, until the client hangs up at most */
    PEER_CLOSE,
    PEER_RESET,
    PEER_HANG, /* says nothing until the client hangs up, or peer_stop */
};

struct peer_step {
    enum peer_kind kind;
    const char *bytes;
    size_t n;
};

#define ACCEPT                                                                                                         \
    {                                                                                                                  \
        PEER_ACCEPT, "", 0                                                                                             \
    }
#define EXPECT(literal)                                                                                                \
    {                                                                                                                  \
        PEER_EXPECT, literal, sizeof(literal) - 1                                                                      \
    }
#define SEND(literal)                                                                                                  \
    {                                                                                                                  \
        PEER_SEND, literal, sizeof(literal) - 1                                                                        \
    }
#define SEND_SPLIT(literal)                                                                                            \
    {                                                                                                                  \
        PEER_SPLIT, literal, sizeof(literal) - 1                                                                       \
    }
#define FILL(count)                                                                                                    \
    {                                                                                                                  \
        PEER_FILL, "", count                                                                                           \
    }
#define CLOSE                                                                                                          \
    {                                                                                                                  \
        PEER_CLOSE, "", 0                                                                                              \
    }
#define RESET                                                                                                          \
    {                                                                                                                  \
        PEER_RESET, "", 0                                                                                              \
    }
#define HANG                                                                                                           \
    {                                                                                                                  \
        PEER_HANG, "", 0                                                                                               \
    }

struct peer {
    int listener, client, stop; /* client -1: none */
    uint16_t port;
    const struct peer_step *steps;
    size_t n;
    pthread_t thread;
    atomic_size_t at; /* steps done */
    atomic_bool over;
    char failure[400];
};

static inline uint64_t peer_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

enum peer_wait { PEER_READY, PEER_LATE, PEER_STOPPED };

static inline enum peer_wait peer_wait(struct peer *p, int fd, short events, uint64_t until)
{
    for (;;) {
        uint64_t now = peer_now_ms();
        struct pollfd fds[] = {{.fd = fd, .events = events}, {.fd = p->stop, .events = POLLIN}};
        int rc = now < until ? poll(fds, 2, (int)(until - now)) : 0;
        if (rc < 0 && errno == EINTR) continue;
        if (rc <= 0) return PEER_LATE;
        return fds[0].revents ? PEER_READY : PEER_STOPPED;
    }
}

static inline void peer_drop(struct peer *p)
{
    if (p->client >= 0) close(p->client);
    p->client = -1;
}

static inline bool peer_failed(struct peer *p, const char *what)
{
    snprintf(p->failure, sizeof p->failure, "step %zu: %s", atomic_load(&p->at), what);
    return false;
}

static inline bool peer_accept(struct peer *p, uint64_t until)
{
    int one = 1;
    peer_drop(p);
    if (peer_wait(p, p->listener, POLLIN, until) != PEER_READY) return peer_failed(p, "nobody connected");
    p->client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (p->client < 0) return peer_failed(p, "accept");
    setsockopt(p->client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return true;
}

static inline bool peer_expect(struct peer *p, const struct peer_step *s, uint64_t until)
{
    char got[4096], text[300];
    size_t n = 0;
    while (n < s->n) {
        enum peer_wait w = peer_wait(p, p->client, POLLIN, until);
        ssize_t r = w == PEER_READY ? read(p->client, got + n, s->n - n) : -1;
        if (r < 0 && w == PEER_READY && (errno == EAGAIN || errno == EINTR)) continue;
        if (r <= 0) {
            snprintf(text, sizeof text, "expected \"%.80s\", there came \"%.*s\"", s->bytes, (int)(n < 80 ? n : 80),
                     got);
            return peer_failed(p, text);
        }
        n += (size_t)r;
        if (memcmp(got, s->bytes, n) == 0) continue;
        snprintf(text, sizeof text, "expected \"%.120s\", there came \"%.*s\"", s->bytes, (int)(n < 120 ? n : 120),
                 got);
        return peer_failed(p, text);
    }
    return true;
}

static inline bool peer_send(struct peer *p, const struct peer_step *s, uint64_t until)
{
    static const char fill[4096] = {'x'};
    for (size_t n = 0; n < s->n;) {
        size_t most = s->kind == PEER_SPLIT ? 1 : s->n - n;
        if (s->kind == PEER_FILL && most > sizeof fill) most = sizeof fill;
        if (peer_wait(p, p->client, POLLOUT, until) != PEER_READY) return peer_failed(p, "cannot send");
        ssize_t r = send(p->client, s->kind == PEER_FILL ? fill : s->bytes + n, most, MSG_NOSIGNAL);
        if (r < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (r < 0 && s->kind == PEER_FILL) return true;
        if (r < 0) return peer_failed(p, "the client hung up");
        n += (size_t)r;
        if (s->kind == PEER_SPLIT) nanosleep(&(struct timespec){0, PEER_SPLIT_NS}, NULL);
    }
    return true;
}

static inline bool peer_hang(struct peer *p, uint64_t until)
{
    char bytes[4096];
    for (;;) {
        enum peer_wait w = peer_wait(p, p->client, POLLIN, until);
        if (w == PEER_STOPPED) return true;
        if (w == PEER_LATE) return peer_failed(p, "the client did not hang up");
        ssize_t r = read(p->client, bytes, sizeof bytes);
        if (r == 0 || (r < 0 && errno != EAGAIN && errno != EINTR)) return true;
    }
}

static inline bool peer_step(struct peer *p, const struct peer_step *s)
{
    uint64_t until = peer_now_ms() + PEER_STEP_MS;
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    switch (s->kind) {
    case PEER_ACCEPT:
        return peer_accept(p, until);
    case PEER_EXPECT:
        return peer_expect(p, s, until);
    case PEER_SEND:
    case PEER_SPLIT:
    case PEER_FILL:
        return peer_send(p, s, until);
    case PEER_HANG:
        return peer_hang(p, until);
    case PEER_RESET:
        setsockopt(p->client, SOL_SOCKET, SO_LINGER, &none, sizeof none);
        break;
    case PEER_CLOSE:
        break;
    }
    peer_drop(p);
    return true;
}

static inline void *peer_main(void *arg)
{
    struct peer *p = arg;
    for (size_t i = 0; i < p->n && peer_step(p, &p->steps[i]); i++) atomic_fetch_add(&p->at, 1);
    atomic_store(&p->over, true);
    return NULL;
}

static inline void peer_start(struct peer *p, const struct peer_step *steps, size_t n)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    *p = (struct peer){.client = -1, .steps = steps, .n = n};
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    p->stop = eventfd(0, EFD_CLOEXEC);
    assert_true(p->listener >= 0 && p->stop >= 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(p->listener, 16), 0);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&a, &len), 0);
    p->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&p->thread, NULL, peer_main, p), 0);
}

/* The script must be at its end, or in a HANG. */
static inline void peer_stop(struct peer *p)
{
    uint64_t one = 1;
    for (uint64_t until = peer_now_ms() + PEER_STEP_MS; peer_now_ms() < until;) {
        size_t at = atomic_load(&p->at);
        if (atomic_load(&p->over) || (at < p->n && p->steps[at].kind == PEER_HANG)) break;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    assert_int_equal(write(p->stop, &one, sizeof one), sizeof one);
    assert_int_equal(pthread_join(p->thread, NULL), 0);
    peer_drop(p);
    close(p->listener);
    close(p->stop);
    if (p->failure[0]) print_message("peer: %s\n", p->failure);
    assert_string_equal(p->failure, "");
    assert_int_equal(atomic_load(&p->at), p->n);
}

#endif
