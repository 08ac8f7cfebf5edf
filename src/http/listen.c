/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets, accepting, and who may have how many connections. At the limit of all connections nothing is
 * accepted, so the rest waits in the kernel's backlog; who is over the limit of one address gets a 503 and is cut. A
 * socket that was upgraded belongs to somebody else, but still counts for its address: it is gone once its descriptor
 * has another inode or none, which is looked at every few seconds and when an address is at its limit. */
#include "http/http_i.h"

#include "base/err.h"
#include "base/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024, ACCEPTS_A_WAKEUP = 64, ACCEPT_PAUSE_MS = 100, KEEPALIVE_S = 60 };

/* ---- peers ---- */

void tl_http_peer_leave(struct tl_http *h, struct tl_http_peer *p)
{
    if (!p || --p->count > 0) return;
    (void)tl_map_remove(h->peers, (struct tl_str){(const char *)p->key, sizeof p->key});
    free(p);
}

static bool still_open(const struct tl_http_upgraded *u)
{
    struct stat s;
    return fstat(u->fd, &s) == 0 && S_ISSOCK(s.st_mode) && s.st_ino == u->inode;
}

void tl_http_upgraded_sweep(struct tl_http *h, const struct tl_http_peer *of)
{
    struct tl_http_node *next;
    for (struct tl_http_node *n = h->upgraded.next; n != &h->upgraded; n = next) {
        struct tl_http_upgraded *u = TL_HTTP_OF(struct tl_http_upgraded, node, n);
        next = n->next;
        if ((of && u->peer != of) || still_open(u)) continue;
        tl_http_list_remove(n);
        tl_http_peer_leave(h, u->peer);
        h->stats.upgraded--;
        free(u);
    }
}

/* A connection more of that address. NULL: over the limit, or no memory. */
static struct tl_http_peer *peer_enter(struct tl_http *h, const unsigned char key[17])
{
    struct tl_str k = {(const char *)key, 17};
    void **slot = tl_map_put(h->peers, k, NULL);
    if (!slot) return NULL;
    struct tl_http_peer *p = *slot;
    if (!p) {
        *slot = p = tl_calloc(1, sizeof *p);
        if (!p) {
            (void)tl_map_remove(h->peers, k);
            return NULL;
        }
        memcpy(p->key, key, sizeof p->key);
    }
    p->count++;
    if (p->count <= h->opt.per_address) return p;
    tl_http_upgraded_sweep(h, p); /* p has this connection: it stays */
    if (p->count <= h->opt.per_address) return p;
    tl_http_peer_leave(h, p);
    return NULL;
}

static bool is_loopback4(const unsigned char *a)
{
    return a[0] == 127;
}

/* false: not an internet address. */
static bool name_peer(const struct sockaddr_storage *a, unsigned char key[17], char *text, bool *local)
{
    memset(key, 0, 17);
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)a;
        key[0] = 4;
        memcpy(key + 1, &in->sin_addr, 4);
    } else if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)a;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
        key[0] = mapped ? 4 : 6;
        memcpy(key + 1, in6->sin6_addr.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
    } else {
        return false;
    }
    inet_ntop(key[0] == 4 ? AF_INET : AF_INET6, key + 1, text, INET6_ADDRSTRLEN);
    *local = key[0] == 4 ? is_loopback4(key + 1) : strcmp(text, "::1") == 0;
    return true;
}

/* ---- accepting ---- */

static void turn_away(struct tl_http *h, int fd)
{
    char head[256];
    struct tl_http_body *b =
        tl_http_problem_body(503, "BUSY", NULL, "too many connections of this address", TL_STR(""));
    h->stats.refused++;
    if (b) {
        int n = snprintf(head, sizeof head,
                         "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
                         "Retry-After: 5\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
                         b->n);
        struct iovec iov[2] = {{head, (size_t)n}, {(void *)(uintptr_t)b->p, b->n}};
        struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
        (void)sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        tl_http_body_unref(b);
    }
    /* Unread bytes would make the kernel take the words back. */
    (void)recv(fd, h->scratch, TL_HTTP_SCRATCH, MSG_DONTWAIT);
    shutdown(fd, SHUT_WR);
    close(fd);
}

static void welcome(struct tl_http_listener *l, int fd, const struct sockaddr_storage *a)
{
    struct tl_http *h = l->http;
    unsigned char key[17];
    char text[INET6_ADDRSTRLEN] = "unix";
    bool local = true;
    struct tl_http_peer *peer = NULL;
    h->stats.accepted++;
    if (!l->is_unix && name_peer(a, key, text, &local)) {
        peer = peer_enter(h, key);
        if (!peer) {
            turn_away(h, fd);
            return;
        }
    }
    tl_http_conn_start(h, fd, peer, text, local);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
    struct tl_http_listener *l = poll->data;
    struct tl_http *h = l->http;
    (void)status, (void)events;
    for (unsigned i = 0; i < ACCEPTS_A_WAKEUP && l->accepting; i++) {
        struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
        socklen_t n = sizeof a;
        int fd = accept4(l->fd, (struct sockaddr *)&a, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            welcome(l, fd, &a);
            tl_http_accept_update(h);
            continue;
        }
        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
        /* Descriptors or memory are out: who connected waits. */
        tl_log(h->opt.log, TL_LOG_WARN, "http", "cannot accept", "listen=%s reason=\"%s\"", l->address,
               strerror(errno));
        h->accept_again_ms = uv_now(h->loop) + ACCEPT_PAUSE_MS;
        tl_http_timer_at(h, h->accept_again_ms);
        tl_http_accept_update(h);
        return;
    }
}

void tl_http_accept_update(struct tl_http *h)
{
    bool wanted = !h->draining && h->accept_again_ms == 0 && h->stats.connections < h->opt.connections;
    for (size_t i = 0; i < h->n_listeners; i++) {
        struct tl_http_listener *l = &h->listeners[i];
        if (l->fd < 0 || l->accepting == wanted) continue;
        l->accepting = wanted;
        if (wanted)
            uv_poll_start(&l->poll, UV_READABLE, on_listener);
        else
            uv_poll_stop(&l->poll);
    }
}

/* ---- addresses ---- */

static enum tl_status bad_address(const char *address, struct tl_err *err)
{
    return tl_fail(err, TL_INVALID, "listen address \"%.100s\": not IPV4:PORT, [IPV6]:PORT, unix:PATH or fd:NUMBER",
                   address);
}

static enum tl_status fail_bind(const char *address, int errnum, struct tl_err *err)
{
    if (errnum == EADDRINUSE) return tl_fail(err, TL_BUSY, "cannot listen on %.100s: the address is in use", address);
    if (errnum == EADDRNOTAVAIL)
        return tl_fail(err, TL_INVALID, "cannot listen on %.100s: not an address of this machine", address);
    return tl_fail_errno(err, errnum, "cannot listen on %.100s", address);
}

static bool parse_inet(const char *text, struct sockaddr_storage *a, socklen_t *n)
{
    char host[INET6_ADDRSTRLEN + 2];
    const char *colon = strrchr(text, ':');
    int64_t port;
    memset(a, 0, sizeof *a);
    if (!colon || !tl_str_to_i64(tl_str(colon + 1), &port) || port < 0 || port > 65535 || colon[1] == '+' ||
        (size_t)(colon - text) >= sizeof host)
        return false;
    size_t host_n = (size_t)(colon - text);
    memcpy(host, text, host_n);
    host[host_n] = '\0';
    if (host_n > 2 && host[0] == '[' && host[host_n - 1] == ']') {
        struct sockaddr_in6 *in6 = (void *)a;
        host[host_n - 1] = '\0';
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        *n = sizeof *in6;
        return inet_pton(AF_INET6, host + 1, &in6->sin6_addr) == 1;
    }
    struct sockaddr_in *in = (void *)a;
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    *n = sizeof *in;
    return inet_pton(AF_INET, host, &in->sin_addr) == 1;
}

/* Of accepted sockets, too: they inherit it. */
static void tune(int fd)
{
    int one = 1, idle = KEEPALIVE_S;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
}

static enum tl_status listen_inet(struct tl_http_listener *l, const char *address, struct tl_err *err)
{
    struct sockaddr_storage a;
    socklen_t n = 0;
    int one = 1;
    if (!parse_inet(address, &a, &n)) return bad_address(address, err);
    l->fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0) return fail_bind(address, errno, err);
    setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (a.ss_family == AF_INET6) setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(l->fd, (struct sockaddr *)&a, n) != 0 || listen(l->fd, BACKLOG) != 0)
        return fail_bind(address, errno, err);
    return TL_OK;
}

/* A socket file that nobody listens on any more is removed; anything else stays. */
static enum tl_status clear_path(const char *address, const struct sockaddr_un *a, struct tl_err *err)
{
    struct stat s;
    if (lstat(a->sun_path, &s) != 0) return TL_OK;
    if (!S_ISSOCK(s.st_mode)) return tl_fail(err, TL_BUSY, "cannot listen on %.100s: it is no socket", address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int rc = fd < 0 ? errno : connect(fd, (const struct sockaddr *)a, sizeof *a) == 0 ? 0 : errno;
    if (fd >= 0) close(fd);
    if (rc != ECONNREFUSED) return fail_bind(address, rc == 0 || rc == EAGAIN ? EADDRINUSE : rc, err);
    if (unlink(a->sun_path) != 0 && errno != ENOENT) return fail_bind(address, errno, err);
    return TL_OK;
}

static enum tl_status listen_unix(struct tl_http_listener *l, const char *address, struct tl_err *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const char *path = address + 5;
    struct stat s;
    if (*path == '\0') return bad_address(address, err);
    if (strlen(path) >= sizeof a.sun_path)
        return tl_fail(err, TL_INVALID, "listen address \"%.120s\": the path has more than %zu bytes", address,
                       sizeof a.sun_path - 1);
    strcpy(a.sun_path, path);
    l->is_unix = true;
    l->path = strdup(path);
    if (!l->path) return tl_fail(err, TL_NOMEM, "no memory for %.100s", address);
    enum tl_status st = clear_path(address, &a, err);
    if (st != TL_OK) return st;
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0 || bind(l->fd, (struct sockaddr *)&a, sizeof a) != 0) return fail_bind(address, errno, err);
    l->made_path = lstat(path, &s) == 0;
    l->inode = s.st_ino;
    l->device = s.st_dev;
    /* Nobody can connect before listen(). */
    if (chmod(path, 0660) != 0 || listen(l->fd, BACKLOG) != 0) return fail_bind(address, errno, err);
    return TL_OK;
}

static enum tl_status listen_fd(struct tl_http_listener *l, const char *address, struct tl_err *err)
{
    int64_t number;
    int listening = 0, flags;
    struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
    socklen_t n = sizeof listening, a_n = sizeof a;
    if (!tl_str_to_i64(tl_str(address + 3), &number) || number < 0 || number > INT32_MAX)
        return bad_address(address, err);
    int fd = (int)number;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) != 0 || !listening ||
        getsockname(fd, (struct sockaddr *)&a, &a_n) != 0)
        return tl_fail(err, TL_INVALID, "listen address \"%.100s\": descriptor %d is no listening socket", address, fd);
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return fail_bind(address, errno, err);
    l->fd = fd;
    l->is_unix = a.ss_family == AF_UNIX;
    return TL_OK;
}

static void tell_address(struct tl_http_listener *l, const char *address)
{
    struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
    socklen_t n = sizeof a;
    char host[INET6_ADDRSTRLEN];
    snprintf(l->address, sizeof l->address, "%.150s", address);
    if (getsockname(l->fd, (struct sockaddr *)&a, &n) != 0) return;
    if (a.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)&a;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(l->address, sizeof l->address, "%s:%u", host, ntohs(in->sin_port));
    } else if (a.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)&a;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        snprintf(l->address, sizeof l->address, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else if (a.ss_family == AF_UNIX && n > offsetof(struct sockaddr_un, sun_path)) {
        const struct sockaddr_un *un = (const void *)&a;
        snprintf(l->address, sizeof l->address, "unix:%.108s", un->sun_path);
    }
}

static void remove_path(struct tl_http_listener *l)
{
    struct stat s; /* somebody else may listen there by now */
    if (l->made_path && lstat(l->path, &s) == 0 && s.st_ino == l->inode && s.st_dev == l->device) unlink(l->path);
    l->made_path = false;
}

enum tl_status tl_http_listen(struct tl_http *h, struct tl_http_listener *l, const char *address, struct tl_err *err)
{
    enum tl_status st = strncmp(address, "unix:", 5) == 0 ? listen_unix(l, address, err)
                        : strncmp(address, "fd:", 3) == 0 ? listen_fd(l, address, err)
                                                          : listen_inet(l, address, err);
    if (st == TL_OK && uv_poll_init_socket(h->loop, &l->poll, l->fd) != 0)
        st = tl_fail(err, TL_IO, "cannot listen on %.100s: the loop does not take it", address);
    if (st != TL_OK) {
        remove_path(l);
        free(l->path);
        l->path = NULL;
        if (l->fd >= 0) close(l->fd);
        l->fd = -1;
        return st;
    }
    if (!l->is_unix) tune(l->fd);
    tell_address(l, address);
    l->poll.data = l;
    h->open_handles++;
    return TL_OK;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct tl_http_listener *l = handle->data;
    tl_http_handle_closed(l->http);
}

void tl_http_listen_close(struct tl_http_listener *l)
{
    if (l->fd < 0) return;
    uv_poll_stop(&l->poll);
    remove_path(l);
    close(l->fd);
    l->fd = -1;
    l->accepting = false;
    uv_close((uv_handle_t *)&l->poll, on_listener_closed);
}
