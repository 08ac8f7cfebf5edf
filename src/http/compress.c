/* SPDX-License-Identifier: Apache-2.0 */
/* gzip. A body is compressed once, whoever asks for it, and keeps the result; "it does not pay" is remembered as the
 * body itself. Small bodies are compressed on the loop, which takes less than a millisecond; larger ones in libuv's
 * pool, while the connection stays in HANDLING and the answer's head waits with the work. A work in the pool touches
 * its body's bytes and its own result, nothing else. */
#include "http/http_i.h"

#include "base/util.h"

#include <stdlib.h>
#include <zlib.h>

enum { LEVEL = 4, WINDOW = 15 + 16, MEMORY = 8, ETAG_MAX = 200 }; /* + 16: a gzip header */

struct tl_http_gzip_work {
    uv_work_t work;
    struct tl_http_request *r;
    struct tl_http_body *body; /* [ref] */
    struct tl_http_body *made; /* [ref] NULL: it did not pay */
    char *head;                /* [own] the first part of the answer */
    size_t head_n;
    bool tagged;
    char etag[ETAG_MAX], zipped[ETAG_MAX];
};

/* [own] NULL: it does not pay, or memory is out. Any thread. */
static struct tl_http_body *compress_bytes(const char *p, size_t n)
{
    z_stream z = {.zalloc = Z_NULL};
    if (n > UINT32_MAX / 2 || deflateInit2(&z, LEVEL, Z_DEFLATED, WINDOW, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
        return NULL;
    size_t most = n - n / 8; /* less than an eighth saved is not worth the client's work */
    char *out = malloc(most);
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)most;
    int rc = out ? deflate(&z, Z_FINISH) : Z_MEM_ERROR;
    size_t made = most - z.avail_out;
    deflateEnd(&z);
    if (rc != Z_STREAM_END) {
        free(out);
        return NULL;
    }
    char *fit = realloc(out, made);
    return tl_http_body_take(fit ? fit : out, made);
}

bool tl_http_gzip_known(const struct tl_http_body *b)
{
    return atomic_load_explicit(&b->gzip, memory_order_acquire) != NULL;
}

struct tl_http_body *tl_http_gzip(struct tl_http_body *b)
{
    struct tl_http_body *known = atomic_load_explicit(&b->gzip, memory_order_acquire);
    if (!known) {
        struct tl_http_body *made = compress_bytes(b->p, b->n);
        struct tl_http_body *mine = made ? made : b;
        if (atomic_compare_exchange_strong(&b->gzip, &known, mine))
            known = mine;
        else
            tl_http_body_unref(made); /* another thread was first */
    }
    return known == b ? NULL : tl_http_body_ref(known);
}

/* ---- in libuv's pool ---- */

static void run(uv_work_t *work)
{
    struct tl_http_gzip_work *w = work->data;
    w->made = tl_http_gzip(w->body);
}

static void free_work(struct tl_http_gzip_work *w)
{
    tl_http_body_unref(w->body);
    tl_http_body_unref(w->made);
    free(w->head);
    free(w);
}

static void after(uv_work_t *work, int status)
{
    struct tl_http_gzip_work *w = work->data;
    struct tl_http_request *r = w->r;
    struct tl_buf *head = &r->http->head;
    (void)status; /* nobody cancels it */
    r->work = NULL;
    if (r->state == TL_HTTP_CUT) {
        free_work(w);
        tl_http_conn_maybe_free(r);
        return;
    }
    tl_buf_clear(head);
    tl_buf_put(head, w->head, w->head_n);
    const char *etag = w->made ? w->zipped : w->etag;
    r->pins++;
    tl_http_answer_end(r, w->tagged ? etag : NULL, w->made != NULL, tl_http_body_ref(w->made ? w->made : w->body));
    r->pins--;
    free_work(w);
    tl_http_conn_maybe_free(r);
}

bool tl_http_gzip_later(struct tl_http_request *r, const char *etag, const char *zipped, struct tl_http_body *body)
{
    struct tl_buf *head = &r->http->head;
    struct tl_http_gzip_work *w = tl_calloc(1, sizeof *w);
    if (!w) return false;
    *w = (struct tl_http_gzip_work){.work = {.data = w}, .r = r, .body = body, .tagged = etag != NULL};
    if (etag) {
        memcpy(w->etag, etag, strlen(etag) + 1); /* its zipped form fits, so it does */
        memcpy(w->zipped, zipped, strlen(zipped) + 1);
    }
    w->head_n = head->n;
    w->head = head->failed ? NULL : malloc(head->n);
    if (w->head) memcpy(w->head, head->p, head->n);
    if (!w->head || uv_queue_work(r->http->loop, &w->work, run, after) != 0) {
        free(w->head);
        free(w);
        return false;
    }
    r->work = w;
    return true;
}
