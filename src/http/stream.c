/* SPDX-License-Identifier: Apache-2.0 */
/* Answers without an end yet. What is written in one turn of the loop goes out in one call in the next; what the socket
 * does not take stays queued up to the maximum, and its owner is told when there is room again. A reader that takes
 * nothing for long is cut. Owners are told (gone, drained) from the loop only, never from inside their own call. */
#include "http/http_i.h"

#include "base/err.h"
#include "base/util.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { FRAMING = 24, QUEUE_KEPT = 16 * 1024 };

static size_t pending(const struct tl_http_stream *s)
{
    return s->queue.n - s->at;
}

static bool is_chunked(const struct tl_http_request *r)
{
    return !r->head.minor_0;
}

void tl_http_stream_free(struct tl_http_request *r)
{
    struct tl_http_stream *s = r->stream;
    r->stream = NULL;
    tl_buf_release(&s->queue);
    free(s);
    r->http->stats.streams--;
}

void tl_http_stream_cut(struct tl_http_request *r)
{
    r->stream->gone = true;
    if (r->stream->ended) tl_http_stream_free(r);
}

static struct tl_http_stream *new_stream(struct tl_http_request *r, size_t queue_bytes)
{
    struct tl_http_stream *s = tl_calloc(1, sizeof *s);
    if (!s) return NULL;
    s->r = r;
    s->queue_bytes = queue_bytes;
    tl_buf_init(&s->queue, 2 * queue_bytes + TL_HTTP_ANSWER_HEAD + FRAMING);
    tl_buf_put(&s->queue, r->out.p, r->out.n); /* a 100 Continue that found no room */
    tl_buf_put(&s->queue, r->http->head.p, r->http->head.n);
    if (!s->queue.failed) {
        tl_buf_clear(&r->out);
        return s;
    }
    tl_buf_release(&s->queue);
    free(s);
    return NULL;
}

enum tl_status tl_http_stream(struct tl_http_request *r, const struct tl_http_answer *a, size_t queue_bytes,
                              struct tl_http_stream **out)
{
    struct tl_http *h = r->http;
    TL_ASSERT(r->open && queue_bytes > 0);
    tl_http_body_unref(a->body);
    *out = NULL;
    if (r->dead) return TL_CANCELLED; /* the request still wants its answer */
    bool close = r->close_after || r->unread || h->draining || !is_chunked(r) || r->head.method == TL_HTTP_HEAD;
    tl_http_head_begin(r, a->status, a->type, a->headers, a->n_headers, false);
    if (is_chunked(r)) tl_buf_puts(&h->head, "Transfer-Encoding: chunked\r\n");
    tl_buf_puts(&h->head, close ? "Connection: close\r\n\r\n" : "\r\n");
    struct tl_http_stream *s = h->head.failed ? NULL : new_stream(r, queue_bytes);
    if (!s) return TL_NOMEM;
    r->close_after = close;
    r->open = false;
    r->status = a->status;
    r->stream = s;
    r->state = TL_HTTP_STREAMING;
    h->stats.requests_open--;
    h->stats.streams++;
    h->stats.by_class[a->status / 100]++;
    tl_http_wait_set(r, TL_WAIT_NONE);
    tl_http_soon(r);
    *out = s;
    return TL_OK;
}

/* What was sent leaves the queue once it is half of it. */
static void drop_sent(struct tl_http_stream *s)
{
    if (s->at == s->queue.n) {
        if (s->queue.cap > QUEUE_KEPT) tl_buf_release(&s->queue);
        tl_buf_clear(&s->queue);
        s->at = 0;
    } else if (s->at >= s->queue.n / 2) {
        s->queue.n -= s->at;
        memmove(s->queue.p, s->queue.p + s->at, s->queue.n);
        s->at = 0;
    }
}

enum tl_status tl_http_stream_write(struct tl_http_stream *s, struct tl_str bytes)
{
    if (s->gone || s->ended) return TL_CANCELLED;
    if (bytes.n == 0 || s->r->head.method == TL_HTTP_HEAD) return TL_OK;
    if (bytes.n > s->queue_bytes) return TL_TOO_LARGE;
    if (s->full || (pending(s) > 0 && pending(s) + bytes.n > s->queue_bytes)) {
        s->full = true;
        return TL_FULL;
    }
    drop_sent(s);
    size_t before = s->queue.n;
    bool chunked = is_chunked(s->r);
    if (chunked) tl_buf_printf(&s->queue, "%zx\r\n", bytes.n);
    tl_buf_put(&s->queue, bytes.p, bytes.n);
    if (chunked) tl_buf_put(&s->queue, "\r\n", 2);
    if (s->queue.failed) { /* nothing of it is sent; what was queued stays */
        s->queue.n = before;
        s->queue.failed = s->queue.too_large = false;
        return TL_NOMEM;
    }
    tl_http_soon(s->r);
    return TL_OK;
}

void tl_http_stream_on_drained(struct tl_http_stream *s, void (*cb)(void *ctx), void *ctx)
{
    s->drained = cb;
    s->drained_ctx = ctx;
}

void tl_http_stream_tell_drained(struct tl_http_stream *s)
{
    s->empty_wanted = true;
    if (!s->gone && !s->ended && pending(s) == 0) tl_http_soon(s->r);
}

size_t tl_http_stream_queued(const struct tl_http_stream *s)
{
    return pending(s);
}

void tl_http_stream_end(struct tl_http_stream *s)
{
    struct tl_http_request *r = s->r;
    if (s->ended) return;
    if (s->gone) {
        if (r->told_gone && r->pins > 0) return; /* from inside on_gone, which frees it */
        tl_http_stream_free(r);
        tl_http_conn_maybe_free(r);
        return;
    }
    s->ended = true;
    if (is_chunked(r) && r->head.method != TL_HTTP_HEAD) tl_buf_puts(&s->queue, "0\r\n\r\n");
    if (s->queue.failed) { /* without its end the body must not look whole */
        tl_http_conn_cut(r);
        return;
    }
    tl_http_soon(r);
}

/* Everything is sent. */
static void after_last(struct tl_http_request *r)
{
    struct tl_http_stream *s = r->stream;
    tl_http_wait_set(r, TL_WAIT_NONE);
    if (s->ended) {
        tl_http_stream_free(r);
        r->state = TL_HTTP_SENDING;
        tl_http_conn_answered(r);
    } else if (r->head.method == TL_HTTP_HEAD) {
        tl_http_conn_cut(r); /* no body will follow: its owner is told that it is over */
    } else if (r->watched & UV_WRITABLE) {
        tl_http_conn_watch(r, UV_DISCONNECT);
    }
}

static void tell_drained(struct tl_http_stream *s)
{
    bool room = s->full && pending(s) <= s->queue_bytes / 2, empty = s->empty_wanted && pending(s) == 0;
    if (s->ended || (!room && !empty)) return;
    s->full = false;
    s->empty_wanted = s->empty_wanted && !empty;
    if (s->drained) s->drained(s->drained_ctx); /* may write, or end it */
}

void tl_http_stream_flush(struct tl_http_request *r)
{
    struct tl_http_stream *s = r->stream;
    while (pending(s) > 0) {
        ssize_t n = send(r->fd, s->queue.p + s->at, pending(s), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno != EAGAIN) {
            tl_http_conn_cut(r);
            return;
        }
        if (n < 0) {
            if (r->waits != TL_WAIT_SEND) tl_http_wait_set(r, TL_WAIT_SEND);
            tl_http_conn_watch(r, UV_WRITABLE | UV_DISCONNECT);
            tell_drained(s);
            return;
        }
        s->at += (size_t)n;
        r->out_bytes += (uint64_t)n;
        r->http->stats.bytes_out += (uint64_t)n;
        if (r->waits == TL_WAIT_SEND) tl_http_wait_set(r, TL_WAIT_SEND);
    }
    drop_sent(s);
    if (s->full || s->empty_wanted) tell_drained(s); /* what it writes comes in the next turn */
    if (r->state == TL_HTTP_STREAMING && pending(s) == 0) after_last(r);
}
