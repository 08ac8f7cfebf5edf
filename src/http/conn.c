/* SPDX-License-Identifier: Apache-2.0 */
/* A connection, from its acceptance to its end (the states are in http_i.h). One wake-up reads once and works off a
 * bounded number of pipelined requests, so no client keeps the loop from the others. While a request is with the caller
 * nothing is read; the socket stays watched for its peer hanging up. A peer that closes its sending side while its
 * request is with the caller counts as gone. */
#include "http/http_i.h"

#include "base/err.h"
#include "base/util.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REQUESTS_A_TURN = 16, BODY_READS_A_TURN = 4, LINGER_READS = 8 };
enum { ATTENTIVE = UV_READABLE | UV_DISCONNECT };

static void on_poll(uv_poll_t *poll, int status, int events);
static void process(struct tl_http_request *r, bool may_read);

void tl_http_conn_watch(struct tl_http_request *r, int events)
{
    if (r->watched == events || r->state == TL_HTTP_CUT) return;
    r->watched = events;
    uv_poll_start(&r->poll, events, on_poll);
}

/* ---- the end ---- */

static void free_request_data(struct tl_http_request *r)
{
    free(r->user);
    r->user = NULL;
    if (r->body.p) tl_buf_release(&r->body);
    r->on_gone = NULL;
    r->data = NULL;
}

void tl_http_conn_maybe_free(struct tl_http_request *r)
{
    struct tl_http *h = r->http;
    if (!r->handle_closed || r->open || r->stream || r->work || r->pins > 0 || r->soon.next) return;
    free_request_data(r);
    tl_http_list_remove(&r->all);
    tl_buf_release(&r->out);
    tl_http_body_unref(r->out_body);
    free(r->in);
    free(r);
    tl_http_handle_closed(h);
}

static void on_closed(uv_handle_t *handle)
{
    struct tl_http_request *r = handle->data;
    r->handle_closed = true;
    tl_http_conn_maybe_free(r);
}

/* The connection is no longer the server's; the descriptor may be somebody else's by now. */
static void leave(struct tl_http_request *r)
{
    r->state = TL_HTTP_CUT;
    tl_http_wait_set(r, TL_WAIT_NONE);
    uv_poll_stop(&r->poll);
    uv_close((uv_handle_t *)&r->poll, on_closed);
    r->http->stats.connections--;
    if (!r->http->closing) tl_http_accept_update(r->http);
}

void tl_http_conn_cut(struct tl_http_request *r)
{
    if (r->state == TL_HTTP_CUT) return;
    bool with_caller = r->state != TL_HTTP_BODY_STATE;
    leave(r);
    close(r->fd);
    r->fd = -1;
    r->dead = true;
    tl_http_peer_leave(r->http, r->peer);
    r->peer = NULL;
    if (r->open && !r->on_gone && !with_caller) { /* nobody has seen it, or cares */
        r->open = false;
        r->http->stats.requests_open--;
        r->http->stats.by_class[4]++;
    }
    if (!r->open) {
        if (r->out_bytes == 0) r->status = 499;
        tl_http_record_answer(r);
    }
    if (r->stream) tl_http_stream_cut(r);
    if (r->open || r->stream || r->on_upgrade || r->closers) tl_http_soon(r);
}

static void linger(struct tl_http_request *r)
{
    if (shutdown(r->fd, SHUT_WR) != 0) {
        tl_http_conn_cut(r);
        return;
    }
    r->state = TL_HTTP_LINGERING;
    tl_http_wait_set(r, TL_WAIT_LINGER);
    tl_http_conn_watch(r, UV_READABLE);
}

static void read_and_drop(struct tl_http_request *r)
{
    for (unsigned i = 0; i < LINGER_READS; i++) {
        ssize_t n = recv(r->fd, r->http->scratch, TL_HTTP_SCRATCH, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n <= 0) {
            tl_http_conn_cut(r);
            return;
        }
        r->http->stats.bytes_in += (uint64_t)n;
    }
}

static void tell_closers(struct tl_http_request *r)
{
    while (r->closers) {
        struct tl_http_closer *c = r->closers;
        r->closers = c->next;
        r->n_closers--;
        c->cb(c->ctx);
        free(c);
    }
}

/* The socket becomes the caller's. */
void tl_http_conn_handed_over(struct tl_http_request *r)
{
    struct tl_http *h = r->http;
    void (*cb)(void *, int, struct tl_str) = r->on_upgrade;
    int fd = r->fd;
    struct stat s = {.st_ino = 0};
    struct tl_http_upgraded *u = fstat(fd, &s) == 0 ? tl_calloc(1, sizeof *u) : NULL;
    r->on_upgrade = NULL;
    r->fd = -1;
    leave(r);
    if (u) {
        *u = (struct tl_http_upgraded){.peer = r->peer, .fd = fd, .inode = s.st_ino};
        tl_http_list_append(&h->upgraded, &u->node);
        h->stats.upgraded++;
        tl_http_timer_at(h, uv_now(h->loop) + 5000);
    } else {
        tl_http_peer_leave(h, r->peer);
    }
    r->peer = NULL;
    cb(r->upgrade_ctx, fd, (struct tl_str){r->in, r->in_n});
    tell_closers(r);
}

/* ---- the next request ---- */

static void drop_front(struct tl_http_request *r, size_t n)
{
    r->in_n -= n;
    if (r->in_n > 0) memmove(r->in, r->in + n, r->in_n);
    r->scanned = 0;
    if (r->in_n > 0 || r->in_cap <= TL_HTTP_IN_FIRST) return;
    free(r->in); /* what one large request needed is not kept */
    r->in = NULL;
    r->in_cap = 0;
}

void tl_http_conn_answered(struct tl_http_request *r)
{
    tl_http_record_answer(r);
    if (!r->open) { /* else it was refused, and who has it may look at it still */
        free_request_data(r);
        drop_front(r, r->head_n);
        r->head_n = 0;
    }
    if (r->upgrading) {
        tl_http_soon(r);
        return;
    }
    if (r->close_after) {
        if (r->unread || r->in_n > 0)
            linger(r);
        else
            tl_http_conn_cut(r);
        return;
    }
    r->state = TL_HTTP_HEAD_STATE;
    tl_http_wait_set(r, TL_WAIT_IDLE);
    tl_http_conn_watch(r, ATTENTIVE);
    if (!r->processing && r->in_n > 0) tl_http_soon(r);
}

static void handle(struct tl_http_request *r)
{
    struct tl_http *h = r->http;
    tl_http_wait_set(r, TL_WAIT_NONE);
    r->unread = false;
    r->state = TL_HTTP_HANDLING;
    h->opt.handle(h->opt.ctx, r);
}

static void expect_body(struct tl_http_request *r, size_t most)
{
    if (r->head.length > most) {
        tl_http_refuse(r, 413, "TOO_LARGE", "the body is larger than what is taken here");
        return;
    }
    r->state = TL_HTTP_BODY_STATE;
    r->chunks = (struct tl_http_chunks){0};
    r->body_left = r->head.length;
    r->piece = 0;
    tl_buf_init(&r->body, most);
    tl_http_wait_set(r, TL_WAIT_REQUEST);
    if (r->head.expects_continue && r->in_n == r->head_n)
        tl_http_send_aside(r, TL_STR("HTTP/1.1 100 Continue\r\n\r\n"));
}

static void begin_request(struct tl_http_request *r, size_t head_n)
{
    struct tl_http *h = r->http;
    r->head_n = head_n;
    r->begun = r->open = true;
    r->dead = r->told_gone = false;
    r->status = 0;
    r->out_bytes = 0;
    r->began_ns = tl_http_mono_ns(h);
    h->stats.requests++;
    h->stats.requests_open++;
}

/* What came is no head that could be read: all of it is the request's. */
static void refuse_unread(struct tl_http_request *r, int status, const char *code, const char *why)
{
    r->head = (struct tl_http_head){.refuse = status, .why = why};
    begin_request(r, r->in_n);
    tl_http_refuse(r, status, code, why);
}

static void take_head(struct tl_http_request *r, size_t n)
{
    struct tl_http *h = r->http;
    tl_http_head_parse(r->in, n, &r->head);
    if (r->head.refuse) {
        int status = r->head.refuse;
        begin_request(r, n);
        tl_http_refuse(r, status, status >= 500 ? "UNSUPPORTED" : status == 413 ? "TOO_LARGE" : "INVALID", r->head.why);
        return;
    }
    begin_request(r, n);
    bool has_body = r->head.chunked || r->head.length > 0;
    r->close_after = !r->head.keep_alive;
    r->unread = has_body;
    r->state = TL_HTTP_HANDLING;
    tl_http_wait_set(r, TL_WAIT_NONE);
    size_t most = h->opt.begin ? h->opt.begin(h->opt.ctx, r) : 0;
    if (!r->open || r->state == TL_HTTP_CUT) return;
    if (has_body)
        expect_body(r, most ? most : h->opt.body_bytes);
    else
        handle(r);
}

/* ---- reading ---- */

static bool reserve_in(struct tl_http_request *r, size_t more)
{
    if (r->in_cap - r->in_n >= more) return true;
    size_t cap = TL_MAX(TL_MAX(r->in_cap * 2, r->in_n + more), (size_t)TL_HTTP_IN_FIRST);
    char *p = realloc(r->in, cap);
    if (!p) return false;
    r->in = p;
    r->in_cap = cap;
    return true;
}

bool tl_http_in_append(struct tl_http_request *r, struct tl_str s)
{
    if (s.n == 0) return true;
    if (!reserve_in(r, s.n)) return false;
    memcpy(r->in + r->in_n, s.p, s.n);
    r->in_n += s.n;
    return true;
}

/* false: nothing came, or it is cut. */
static bool read_head(struct tl_http_request *r)
{
    struct tl_http *h = r->http;
    if (!reserve_in(r, r->in_n < TL_HTTP_IN_FIRST ? TL_HTTP_IN_FIRST - r->in_n : r->in_n)) {
        tl_http_conn_cut(r);
        return false;
    }
    size_t room = r->in_cap - r->in_n;
    size_t most = h->opt.header_bytes + 1 > r->in_n ? h->opt.header_bytes + 1 - r->in_n : 1;
    ssize_t n = recv(r->fd, r->in + r->in_n, TL_MIN(room, most), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n <= 0) {
        tl_http_conn_cut(r);
        return false;
    }
    r->in_n += (size_t)n;
    h->stats.bytes_in += (uint64_t)n;
    return true;
}

static void skip_empty_lines(struct tl_http_request *r)
{
    size_t n = 0;
    while (r->in_n - n >= 2 && r->in[n] == '\r' && r->in[n + 1] == '\n') n += 2;
    if (n > 0) drop_front(r, n);
}

static void refuse_long_head(struct tl_http_request *r)
{
    if (memchr(r->in, '\n', TL_MIN(r->in_n, r->http->opt.header_bytes)))
        refuse_unread(r, 431, "TOO_LARGE", "the fields are longer than what is taken here");
    else
        refuse_unread(r, 414, "TOO_LARGE", "the request line is longer than what is taken here");
}

/* false: no whole head is there. */
static bool head_step(struct tl_http_request *r, bool *may_read)
{
    for (;;) {
        if (r->scanned == 0) skip_empty_lines(r);
        bool lone_cr = r->in_n == 1 && r->in[0] == '\r';
        size_t n = lone_cr ? 0 : tl_http_head_find(r->in, r->in_n, &r->scanned);
        if (n > r->http->opt.header_bytes || (n == 0 && r->in_n > r->http->opt.header_bytes)) {
            refuse_long_head(r);
            return true;
        }
        if (n > 0) {
            take_head(r, n);
            return true;
        }
        if (!*may_read) break;
        *may_read = false;
        if (!read_head(r)) break;
    }
    if (r->state == TL_HTTP_HEAD_STATE && r->in_n > 0 && r->waits != TL_WAIT_REQUEST)
        tl_http_wait_set(r, TL_WAIT_REQUEST);
    return false;
}

/* false: it is not whole. */
static bool body_step(struct tl_http_request *r, bool *may_read)
{
    bool whole = tl_http_body_pump(r);
    for (unsigned i = 0; i < BODY_READS_A_TURN && !whole && *may_read && r->state == TL_HTTP_BODY_STATE; i++)
        if (!tl_http_body_read(r, &whole)) *may_read = false;
    if (!whole || r->state != TL_HTTP_BODY_STATE) return whole;
    handle(r);
    return true;
}

static void process(struct tl_http_request *r, bool may_read)
{
    r->processing = true;
    for (unsigned i = 0; i < REQUESTS_A_TURN; i++) {
        bool more = r->state == TL_HTTP_HEAD_STATE   ? head_step(r, &may_read)
                    : r->state == TL_HTTP_BODY_STATE ? body_step(r, &may_read)
                                                     : false;
        if (more) continue;
        r->processing = false;
        return;
    }
    r->processing = false;
    if (r->state == TL_HTTP_HEAD_STATE || r->state == TL_HTTP_BODY_STATE) tl_http_soon(r);
}

/* ---- wake-ups ---- */

static void on_event(struct tl_http_request *r, int events)
{
    switch (r->state) {
    case TL_HTTP_HEAD_STATE:
    case TL_HTTP_BODY_STATE:
        process(r, true);
        break;
    case TL_HTTP_HANDLING:
        if (events & UV_DISCONNECT)
            tl_http_conn_cut(r);
        else
            tl_http_conn_watch(r, UV_DISCONNECT); /* a pipelined request waits its turn */
        break;
    case TL_HTTP_SENDING:
        if (events & UV_WRITABLE)
            (void)tl_http_send_rest(r);
        else if (events & UV_DISCONNECT && r->upgrading)
            tl_http_conn_cut(r);
        break;
    case TL_HTTP_STREAMING:
        if (events & UV_DISCONNECT) {
            tl_http_conn_cut(r);
            break;
        }
        if (events & UV_WRITABLE) tl_http_stream_flush(r);
        if (events & UV_READABLE && r->state == TL_HTTP_STREAMING) tl_http_conn_watch(r, r->watched & ~UV_READABLE);
        break;
    case TL_HTTP_LINGERING:
        read_and_drop(r);
        break;
    case TL_HTTP_CUT:
        break;
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct tl_http_request *r = poll->data;
    r->pins++;
    if (status < 0) {
        r->watched = 0;
        tl_http_conn_cut(r);
    } else {
        on_event(r, events);
    }
    r->pins--;
    tl_http_conn_maybe_free(r);
}

static void turn_of_cut(struct tl_http_request *r)
{
    if (r->on_upgrade) {
        void (*cb)(void *, int, struct tl_str) = r->on_upgrade;
        r->on_upgrade = NULL;
        cb(r->upgrade_ctx, -1, TL_STR(""));
    }
    if (r->on_gone && !r->told_gone && (r->open || r->stream)) {
        r->told_gone = true;
        r->on_gone(r->gone_ctx);
        if (r->stream) tl_http_stream_free(r);
    }
    tell_closers(r);
}

void tl_http_soon_turn(struct tl_http_request *r)
{
    if (r->state == TL_HTTP_CUT)
        turn_of_cut(r);
    else if (r->state == TL_HTTP_STREAMING)
        tl_http_stream_flush(r);
    else if (r->upgrading && r->state == TL_HTTP_SENDING && r->out.n == 0)
        tl_http_conn_handed_over(r);
    else
        process(r, false);
}

/* What came in time may lie in the socket still, when the loop itself was late. */
static void overdue_request(struct tl_http_request *r)
{
    uint64_t requests = r->http->stats.requests;
    bool begun = r->in_n > 0;
    process(r, true);
    if (r->http->stats.requests != requests) return; /* it came */
    if (r->state == TL_HTTP_HEAD_STATE && begun)
        refuse_unread(r, 408, "TIMEOUT", "the head of the request took too long");
    else if (r->state == TL_HTTP_BODY_STATE && r->waits == TL_WAIT_NONE)
        tl_http_refuse(r, 408, "TIMEOUT", "the body of the request took too long");
    else if (r->state == TL_HTTP_HEAD_STATE && r->waits == TL_WAIT_NONE)
        tl_http_conn_cut(r);
}

void tl_http_conn_overdue(struct tl_http_request *r)
{
    r->pins++;
    if (r->state == TL_HTTP_HEAD_STATE || r->state == TL_HTTP_BODY_STATE)
        overdue_request(r);
    else
        tl_http_conn_cut(r);
    r->pins--;
    tl_http_conn_maybe_free(r);
}

void tl_http_conn_start(struct tl_http *h, int fd, struct tl_http_peer *peer, const char *peer_text, bool local)
{
    struct tl_http_request *r = tl_calloc(1, sizeof *r);
    if (!r || uv_poll_init_socket(h->loop, &r->poll, fd) != 0) {
        free(r);
        tl_http_peer_leave(h, peer);
        close(fd);
        return;
    }
    r->http = h;
    r->poll.data = r;
    r->fd = fd;
    r->peer = peer;
    r->local = local;
    memcpy(r->peer_text, peer_text, strnlen(peer_text, sizeof r->peer_text - 1));
    tl_buf_init(&r->out, 0);
    tl_http_list_append(&h->all, &r->all);
    h->open_handles++;
    h->stats.connections++;
    tl_http_wait_set(r, TL_WAIT_IDLE);
    tl_http_conn_watch(r, ATTENTIVE);
}
