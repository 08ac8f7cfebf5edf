/* SPDX-License-Identifier: Apache-2.0 */
/* Sending an answer: head and body in one call where the socket takes them, else the rest when it is writable. What is
 * left of the head is copied, the body is kept by reference; so an answer that fits costs no allocation. */
#include "http/http_i.h"

#include "base/util.h"

#include <errno.h>
#include <sys/socket.h>

/* Bytes taken, 0 when the socket is full, -1 when it broke. */
static ssize_t send_parts(struct tl_http_request *r, struct tl_str head, struct tl_str body)
{
    struct iovec iov[2] = {{(void *)(uintptr_t)head.p, head.n}, {(void *)(uintptr_t)body.p, body.n}};
    struct msghdr m = {.msg_iov = head.n ? iov : iov + 1, .msg_iovlen = head.n && body.n ? 2 : 1};
    ssize_t n;
    do n = sendmsg(r->fd, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0) return errno == EAGAIN ? 0 : -1;
    r->out_bytes += (uint64_t)n;
    r->http->stats.bytes_out += (uint64_t)n;
    return n;
}

static void wait_writable(struct tl_http_request *r)
{
    r->state = TL_HTTP_SENDING;
    tl_http_wait_set(r, TL_WAIT_SEND);
    tl_http_conn_watch(r, UV_WRITABLE);
}

void tl_http_send(struct tl_http_request *r, struct tl_str head, struct tl_http_body *body)
{
    struct tl_str b = {body ? body->p : NULL, body ? body->n : 0};
    r->state = TL_HTTP_SENDING;
    ssize_t n = r->out.n > 0 ? 0 : send_parts(r, head, b);
    if (n == (ssize_t)(head.n + b.n)) {
        tl_http_body_unref(body);
        tl_http_conn_answered(r);
        return;
    }
    if (n >= 0) {
        size_t of_head = TL_MIN((size_t)n, head.n);
        tl_buf_put(&r->out, head.p + of_head, head.n - of_head);
        r->out_body = body;
        r->body_at = (size_t)n - of_head;
        if (!r->out.failed) {
            wait_writable(r);
            return;
        }
    } else {
        tl_http_body_unref(body);
    }
    tl_http_conn_cut(r);
}

bool tl_http_send_rest(struct tl_http_request *r)
{
    struct tl_http_body *body = r->out_body;
    struct tl_str head = {r->out.p + r->out_at, r->out.n - r->out_at};
    struct tl_str b = {body ? body->p + r->body_at : NULL, body ? body->n - r->body_at : 0};
    ssize_t n = send_parts(r, head, b);
    if (n < 0) {
        tl_http_conn_cut(r);
        return false;
    }
    size_t of_head = TL_MIN((size_t)n, head.n);
    r->out_at += of_head;
    r->body_at += (size_t)n - of_head;
    if ((size_t)n < head.n + b.n) {
        if (n > 0) tl_http_wait_set(r, TL_WAIT_SEND);
        return false;
    }
    tl_buf_release(&r->out);
    r->out_at = r->body_at = 0;
    r->out_body = NULL;
    tl_http_body_unref(body);
    tl_http_conn_answered(r);
    return true;
}

void tl_http_send_aside(struct tl_http_request *r, struct tl_str words)
{
    ssize_t n = send_parts(r, words, TL_STR(""));
    r->out_bytes = 0;
    if (n < 0) {
        tl_http_conn_cut(r);
    } else if ((size_t)n < words.n) { /* goes out before the answer */
        tl_buf_put(&r->out, words.p + n, words.n - (size_t)n);
        if (r->out.failed) tl_http_conn_cut(r);
    }
}
