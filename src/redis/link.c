/* SPDX-License-Identifier: Apache-2.0 */
/* A link: our own socket under uv_poll, because a refused or broken connection must always be noticed. Every wake-up
 * reads a bounded amount, so that one busy server does not starve the loop; bytes to be sent are collected and written
 * in one call before the loop waits. A socket is closed by its own handle's close callback and nowhere else. */
#include "redis/link.h"

#include "base/err.h"
#include "base/util.h"
#include "redis/tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { READ_BYTES = 32 * 1024, READS_A_WAKEUP = 16 };

struct tl_link_socket {
    uv_poll_t poll;
    struct tl_link *link; /* NULL: given up */
    struct tl_link *owner;
    int fd;
    struct tl_tls *tls; /* [own] NULL: none */
};

static uint64_t now_ns(const struct tl_link *l)
{
    return tl_clock_mono_ns(l->opt.clock);
}

static void begin_try(struct tl_link *l);
static void connect_next(struct tl_link *l);
static void on_poll(uv_poll_t *poll, int status, int events);

static void release_one(struct tl_link *l)
{
    if (--l->open > 0 || l->state != TL_LINK_CLOSED) return;
    tl_reply_reader_free(l->reader);
    tl_buf_release(&l->out);
    l->closed(l);
}

/* ---- sockets ---- */

static void on_socket_closed(uv_handle_t *handle)
{
    struct tl_link_socket *s = handle->data;
    struct tl_link *l = s->owner;
    tl_tls_free(s->tls);
    close(s->fd);
    free(s);
    release_one(l);
}

static void drop_socket(struct tl_link *l)
{
    if (!l->socket) return;
    struct tl_link_socket *s = l->socket;
    l->socket = NULL;
    s->link = NULL;
    uv_poll_stop(&s->poll);
    uv_close((uv_handle_t *)&s->poll, on_socket_closed);
}

static void free_addresses(struct tl_link *l)
{
    if (l->addresses) uv_freeaddrinfo(l->addresses);
    l->addresses = l->address = NULL;
}

static void watch(struct tl_link *l)
{
    int events = UV_READABLE | (l->writable_wanted ? UV_WRITABLE : 0);
    if (l->socket) uv_poll_start(&l->socket->poll, events, on_poll);
}

/* ---- trying again ---- */

static void on_timer(uv_timer_t *timer)
{
    struct tl_link *l = timer->data;
    struct tl_err err;
    if (l->state == TL_LINK_WAITING) {
        begin_try(l);
        return;
    }
    (void)tl_fail(&err, TL_TIMEOUT, "no answer within %u ms", l->opt.connect_ms);
    tl_link_give_up(l, &err);
}

static uint64_t backoff_ms(struct tl_link *l)
{
    uint64_t most = l->opt.backoff_min_ms;
    for (unsigned i = 0; i < l->tries && most < l->opt.backoff_max_ms; i++) most *= 2;
    most = TL_MIN(most, (uint64_t)l->opt.backoff_max_ms);
    if (l->tries < 32) l->tries++;
    return 1 + tl_rng_below(&l->rng, TL_MAX(most, (uint64_t)1));
}

/* Into the quotes of a log line. */
static void keep_why(struct tl_link *l, const char *text)
{
    snprintf(l->why, sizeof l->why, "%.190s", text);
    for (char *c = l->why; *c; c++)
        if (*c == '"') *c = '\'';
}

static void log_down(struct tl_link *l, bool was_up)
{
    char place[TL_REDIS_HOST_MAX + 16];
    if (l->warned) return;
    l->warned = true;
    tl_redis_address_format(&l->opt.address, place, sizeof place);
    tl_log(l->opt.log, TL_LOG_WARN, "redis", was_up ? "connection lost" : "cannot connect", "server=%s reason=\"%s\"",
           place, l->why);
}

void tl_link_give_up(struct tl_link *l, const struct tl_err *why)
{
    if (l->state == TL_LINK_CLOSED || l->state == TL_LINK_WAITING) return;
    bool was_up = l->state == TL_LINK_UP;
    if (was_up)
        l->losses++;
    else
        l->failed_connects++;
    keep_why(l, why->text);
    log_down(l, was_up);
    drop_socket(l);
    free_addresses(l);
    tl_buf_clear(&l->out);
    l->out_at = 0;
    l->writable_wanted = false;
    uv_prepare_stop(&l->flush);
    l->state = TL_LINK_WAITING;
    if (was_up) l->tries = 0;
    uv_timer_start(&l->timer, on_timer, backoff_ms(l), 0);
    struct tl_err copy = *why; /* why may be of what lost releases */
    l->lost(l, &copy, was_up);
}

static void fail_try(struct tl_link *l, int errnum, const char *what)
{
    struct tl_err err;
    (void)tl_fail(&err, TL_IO, "%s: %s", what, strerror(errnum));
    tl_link_give_up(l, &err);
}

/* ---- connecting ---- */

static void shake(struct tl_link *l)
{
    l->state = TL_LINK_SHAKING;
    l->connects++;
    l->last_read_ns = now_ns(l);
    free_addresses(l);
    watch(l);
    l->connected(l);
}

static int open_socket(struct tl_link *l, int family, const struct sockaddr *address, socklen_t n)
{
    int one = 1;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    if (family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    }
    int rc = connect(fd, address, n) == 0 ? 0 : errno;
    struct tl_link_socket *s = rc == 0 || rc == EINPROGRESS ? tl_calloc(1, sizeof *s) : NULL;
    if (s) {
        s->fd = fd;
        s->link = s->owner = l;
        s->poll.data = s;
        if (uv_poll_init_socket(l->loop, &s->poll, fd) == 0) {
            l->socket = s;
            l->open++;
            return rc;
        }
        free(s);
        rc = ENOMEM;
    }
    close(fd);
    return rc == 0 || rc == EINPROGRESS ? ENOMEM : rc;
}

/* Until TLS is agreed on the link is connecting still. */
static void tls_step(struct tl_link *l)
{
    struct tl_err err;
    struct tl_link_socket *s = l->socket;
    enum tl_status st = tl_tls_handshake(s->tls, &err);
    if (st == TL_OK)
        shake(l);
    else if (st == TL_BUSY)
        uv_poll_start(&s->poll, tl_tls_wants_write(s->tls) ? UV_WRITABLE : UV_READABLE, on_poll);
    else
        tl_link_give_up(l, &err);
}

/* Goes on with the result of connect(2). */
static void after_connect(struct tl_link *l, int rc)
{
    if (rc == 0 && l->opt.address.tls) {
        struct tl_err err;
        enum tl_status st = tl_tls_new(&l->opt.address, l->socket->fd, &l->socket->tls, &err);
        if (st == TL_OK)
            tls_step(l);
        else
            tl_link_give_up(l, &err);
    } else if (rc == 0) {
        shake(l);
    } else if (rc == EINPROGRESS) {
        uv_poll_start(&l->socket->poll, UV_WRITABLE, on_poll);
    } else {
        drop_socket(l);
        if (l->address) l->address = l->address->ai_next;
        if (l->address)
            connect_next(l);
        else
            fail_try(l, rc, "cannot connect");
    }
}

static void connect_next(struct tl_link *l)
{
    l->state = TL_LINK_CONNECTING;
    after_connect(l, open_socket(l, l->address->ai_family, l->address->ai_addr, l->address->ai_addrlen));
}

static void connect_unix(struct tl_link *l)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", l->opt.address.host);
    l->state = TL_LINK_CONNECTING;
    after_connect(l, open_socket(l, AF_UNIX, (const struct sockaddr *)&address, sizeof address));
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct tl_link *l = req->data;
    struct tl_err err;
    l->resolving = false;
    if (l->state != TL_LINK_RESOLVING) {
        if (res) uv_freeaddrinfo(res); /* the deadline came first */
    } else if (status != 0 || !res) {
        if (res) uv_freeaddrinfo(res);
        (void)tl_fail(&err, TL_IO, "cannot find %s: %s", l->opt.address.host,
                      status ? uv_strerror(status) : "no address");
        tl_link_give_up(l, &err);
    } else {
        l->addresses = l->address = res;
        connect_next(l);
    }
    release_one(l);
}

static void begin_try(struct tl_link *l)
{
    struct tl_err err;
    l->state = TL_LINK_RESOLVING;
    uv_timer_start(&l->timer, on_timer, l->opt.connect_ms, 0);
    tl_reply_reader_free(l->reader);
    l->reader = tl_reply_reader_new(l->opt.reply_bytes);
    if (!l->reader) {
        fail_try(l, ENOMEM, "cannot connect");
        return;
    }
    if (l->opt.address.port == 0) {
        connect_unix(l);
        return;
    }
    if (l->resolving) { /* the answer to an earlier try is still out */
        (void)tl_fail(&err, TL_TIMEOUT, "finding %s takes too long", l->opt.address.host);
        tl_link_give_up(l, &err);
        return;
    }
    char port[8];
    snprintf(port, sizeof port, "%u", l->opt.address.port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    l->resolve.data = l;
    int rc = uv_getaddrinfo(l->loop, &l->resolve, on_resolved, l->opt.address.host, port, &hints);
    if (rc != 0) {
        (void)tl_fail(&err, TL_IO, "cannot find %s: %s", l->opt.address.host, uv_strerror(rc));
        tl_link_give_up(l, &err);
        return;
    }
    l->resolving = true;
    l->open++;
}

/* ---- reading and writing ---- */

/* false: the link was given up or closed. */
static bool hand_over_replies(struct tl_link *l, struct tl_link_socket *s)
{
    struct tl_err err;
    for (;;) {
        const struct tl_reply *reply = NULL;
        enum tl_status st = tl_reply_reader_next(l->reader, &reply, &err);
        if (st != TL_OK) {
            tl_link_give_up(l, &err);
            return false;
        }
        if (!reply) return true;
        l->reply(l, reply);
        if (s->link != l) return false;
    }
}

static void on_readable(struct tl_link *l, struct tl_link_socket *s)
{
    char bytes[READ_BYTES];
    struct tl_err err;
    for (unsigned i = 0; i < READS_A_WAKEUP; i++) {
        ssize_t n = s->tls ? tl_tls_read(s->tls, bytes, sizeof bytes) : read(s->fd, bytes, sizeof bytes);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n <= 0) {
            fail_try(l, n < 0 ? errno : ECONNRESET, "the server ended the connection");
            return;
        }
        l->bytes_in += (uint64_t)n;
        l->last_read_ns = now_ns(l);
        if (tl_reply_reader_feed(l->reader, bytes, (size_t)n, &err) != TL_OK) {
            tl_link_give_up(l, &err);
            return;
        }
        if (!hand_over_replies(l, s)) return;
        if ((size_t)n < sizeof bytes && !s->tls) return; /* TLS hands out a record at a time */
    }
}

static void write_some(struct tl_link *l)
{
    struct tl_err err;
    if (l->out.failed) { /* it may end within a command: nothing of it is sent */
        (void)tl_fail(&err, TL_NOMEM, "no memory for commands");
        tl_link_give_up(l, &err);
        return;
    }
    while (l->socket && l->out_at < l->out.n) {
        struct tl_link_socket *s = l->socket;
        const char *p = l->out.p + l->out_at;
        size_t left = l->out.n - l->out_at;
        ssize_t n = s->tls ? tl_tls_write(s->tls, p, left) : send(s->fd, p, left, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) {
            fail_try(l, errno, "the server ended the connection");
            return;
        }
        l->out_at += (size_t)n;
        l->bytes_out += (uint64_t)n;
    }
    if (l->out_at == l->out.n) {
        /* What one burst needed is not kept for ever. */
        if (l->out.cap > (size_t)1 << 20) tl_buf_release(&l->out), tl_buf_init(&l->out, 0);
        tl_buf_clear(&l->out);
        l->out_at = 0;
    }
    bool wanted = l->out.n > 0 || (l->socket && l->socket->tls && tl_tls_wants_write(l->socket->tls));
    if (wanted == l->writable_wanted) return;
    l->writable_wanted = wanted;
    watch(l);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct tl_link_socket *s = poll->data;
    struct tl_link *l = s->link;
    if (!l) return;
    if (l->state == TL_LINK_CONNECTING && s->tls) {
        tls_step(l);
        return;
    }
    if (l->state == TL_LINK_CONNECTING) {
        int rc = 0;
        socklen_t n = sizeof rc;
        if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &rc, &n) != 0) rc = errno;
        if (rc == 0 && status < 0) rc = -status;
        after_connect(l, rc);
        return;
    }
    if (status < 0) {
        /* UV_EBADF and its like: the socket's own error says more. */
        int rc = 0;
        socklen_t n = sizeof rc;
        if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &rc, &n) != 0 || rc == 0) rc = ECONNRESET;
        fail_try(l, rc, "the connection broke");
        return;
    }
    /* With TLS either direction may have waited for the other one's bytes. */
    if (s->tls || (events & UV_READABLE)) on_readable(l, s);
    if (s->link == l && (s->tls || (events & UV_WRITABLE))) write_some(l);
}

static void on_flush(uv_prepare_t *flush)
{
    struct tl_link *l = flush->data;
    uv_prepare_stop(flush);
    if (!l->writable_wanted) write_some(l);
}

static void put_number(struct tl_buf *out, char mark, size_t n)
{
    char text[24];
    size_t at = sizeof text;
    text[--at] = '\n';
    text[--at] = '\r';
    do text[--at] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    text[--at] = mark;
    tl_buf_put(out, text + at, sizeof text - at);
}

static void put_args(struct tl_buf *out, const struct tl_str *argv, size_t argc)
{
    for (size_t i = 0; i < argc; i++) {
        put_number(out, '$', argv[i].n);
        tl_buf_put(out, argv[i].p, argv[i].n);
        tl_buf_put(out, "\r\n", 2);
    }
}

/* Under a steady backlog the buffer is never empty: what was written leaves it once it is half of it. */
static void drop_written(struct tl_link *l)
{
    if (l->out_at == 0 || l->out_at < l->out.n / 2) return;
    l->out.n -= l->out_at;
    memmove(l->out.p, l->out.p + l->out_at, l->out.n);
    l->out_at = 0;
}

void tl_link_encode(struct tl_link *l, const struct tl_str *head, size_t n_head, const struct tl_str *argv, size_t argc)
{
    drop_written(l);
    put_number(&l->out, '*', n_head + argc);
    put_args(&l->out, head, n_head);
    put_args(&l->out, argv, argc);
    uv_prepare_start(&l->flush, on_flush);
}

enum tl_status tl_link_refused(const struct tl_link *l, bool auth, struct tl_str text, struct tl_err *err)
{
    enum tl_status status = tl_reply_error_status(text);
    const char *password = l->opt.address.password;
    /* Of long arguments servers quote the beginning alone. */
    bool quoted =
        memmem(text.p, text.n, "args beginning with", 19) || memmem(text.p, text.n, password, strnlen(password, 16));
    if (auth && quoted) return tl_fail(err, status, "the server refused AUTH");
    return tl_fail(err, status, "%.*s", TL_STR_ARG(text));
}

/* ---- life ---- */

void tl_link_start(struct tl_link *l)
{
    uint64_t seed = l->opt.seed;
    if (seed == 0 && getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = now_ns(l);
    tl_rng_seed(&l->rng, seed);
    tl_buf_init(&l->out, 0);
    l->state = TL_LINK_WAITING;
    uv_prepare_init(l->loop, &l->flush);
    uv_timer_init(l->loop, &l->timer);
    l->flush.data = l->timer.data = l;
    l->open = 2;
    uv_timer_start(&l->timer, on_timer, 0, 0);
}

void tl_link_up(struct tl_link *l)
{
    TL_ASSERT(l->state == TL_LINK_SHAKING);
    l->state = TL_LINK_UP;
    l->why[0] = '\0';
    uv_timer_stop(&l->timer);
    if (!l->warned) return;
    char place[TL_REDIS_HOST_MAX + 16];
    tl_redis_address_format(&l->opt.address, place, sizeof place);
    tl_log(l->opt.log, TL_LOG_INFO, "redis", "connected again", "server=%s", place);
    l->warned = false;
}

static void on_handle_closed(uv_handle_t *handle)
{
    release_one(handle->data);
}

void tl_link_close(struct tl_link *l, void (*closed)(struct tl_link *))
{
    if (l->state == TL_LINK_CLOSED) return;
    l->state = TL_LINK_CLOSED;
    l->closed = closed;
    if (l->resolving) uv_cancel((uv_req_t *)&l->resolve);
    drop_socket(l);
    free_addresses(l);
    uv_close((uv_handle_t *)&l->flush, on_handle_closed);
    uv_close((uv_handle_t *)&l->timer, on_handle_closed);
}
