/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of requests: by their length or chunked, gathered whole up to their maximum. What came behind a body is the
 * next request and goes back to the connection. The deadline moves on with every KiB, so that trickling bytes do not
 * hold a connection. Also the bodies of answers: immutable, shared, refcounted. */
#include "http/http_i.h"

#include "base/util.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/* ---- of requests ---- */

static bool keep(struct tl_http_request *r, struct tl_str data)
{
    tl_buf_put(&r->body, data.p, data.n);
    if (r->body.failed) {
        if (r->body.too_large)
            tl_http_refuse(r, 413, "TOO_LARGE", "the body is larger than what is taken here");
        else
            tl_http_refuse(r, 503, "NOMEM", "no memory for the body");
        return false;
    }
    r->piece += data.n;
    if (r->piece >= TL_HTTP_PIECE) {
        r->piece = 0;
        tl_http_wait_set(r, TL_WAIT_REQUEST);
    }
    return true;
}

/* true: the body is whole; *rest is what stands behind it. Else *rest is used up, or the body was refused. */
static bool feed(struct tl_http_request *r, struct tl_str *rest)
{
    struct tl_str data;
    if (!r->head.chunked) {
        size_t n = (size_t)TL_MIN(r->body_left, (uint64_t)rest->n);
        data = (struct tl_str){rest->p, n};
        *rest = (struct tl_str){rest->p + n, rest->n - n};
        r->body_left -= n;
        return keep(r, data) && r->body_left == 0;
    }
    for (;;) {
        switch (tl_http_chunks_next(&r->chunks, rest, &data)) {
        case TL_HTTP_CHUNK_DATA:
            if (!keep(r, data)) return false;
            break;
        case TL_HTTP_CHUNK_MORE:
            return false;
        case TL_HTTP_CHUNK_OVER:
            return true;
        case TL_HTTP_CHUNK_BAD:
            tl_http_refuse(r, 400, "INVALID", "the chunked body is malformed");
            return false;
        }
    }
}

bool tl_http_body_pump(struct tl_http_request *r)
{
    if (r->in_n == r->head_n) return false;
    struct tl_str rest = {r->in + r->head_n, r->in_n - r->head_n};
    bool whole = feed(r, &rest);
    if (r->state != TL_HTTP_BODY_STATE) return false; /* refused; `in` may be gone */
    if (rest.n > 0) memmove(r->in + r->head_n, rest.p, rest.n);
    r->in_n = r->head_n + rest.n;
    return whole;
}

bool tl_http_body_read(struct tl_http_request *r, bool *whole)
{
    struct tl_http *h = r->http;
    size_t most = r->head.chunked ? TL_HTTP_SCRATCH : (size_t)TL_MIN(r->body_left, (uint64_t)TL_HTTP_SCRATCH);
    ssize_t n = recv(r->fd, h->scratch, most, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n <= 0) {
        tl_http_conn_cut(r);
        return false;
    }
    h->stats.bytes_in += (uint64_t)n;
    struct tl_str rest = {h->scratch, (size_t)n};
    *whole = feed(r, &rest);
    if (r->state != TL_HTTP_BODY_STATE) return false;
    if (tl_http_in_append(r, rest)) return true;
    tl_http_conn_cut(r);
    return false;
}

/* ---- of answers ---- */

struct tl_http_body *tl_http_body_wrap(const void *p, size_t n, void (*release)(void *ctx), void *ctx)
{
    struct tl_http_body *b = malloc(sizeof *b);
    if (!b) return NULL;
    atomic_init(&b->refs, 1);
    atomic_init(&b->gzip, NULL);
    b->p = p;
    b->n = n;
    b->release = release;
    b->ctx = ctx;
    return b;
}

struct tl_http_body *tl_http_body_take(void *p, size_t n)
{
    struct tl_http_body *b = tl_http_body_wrap(p, n, free, p);
    if (!b) free(p);
    return b;
}

struct tl_http_body *tl_http_body_copy(const void *p, size_t n)
{
    void *copy = malloc(n ? n : 1);
    if (!copy) return NULL;
    if (n) memcpy(copy, p, n);
    return tl_http_body_take(copy, n);
}

void tl_http_body_set_gzip(struct tl_http_body *b, struct tl_http_body *gzip)
{
    TL_ASSERT(gzip && gzip != b && !tl_http_gzip_known(b));
    atomic_store_explicit(&b->gzip, gzip, memory_order_release);
}

size_t tl_http_body_bytes(const struct tl_http_body *b)
{
    return b->n;
}

struct tl_http_body *tl_http_body_ref(struct tl_http_body *b)
{
    if (b) atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void tl_http_body_unref(struct tl_http_body *b)
{
    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) > 1) return;
    struct tl_http_body *gzip = atomic_load_explicit(&b->gzip, memory_order_acquire);
    if (gzip && gzip != b) tl_http_body_unref(gzip);
    if (b->release) b->release(b->ctx);
    free(b);
}
