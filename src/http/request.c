/* SPDX-License-Identifier: Apache-2.0 */
/* What a handler may ask a request, and the problem documents of RFC 9457. Everything handed out points into the
 * connection's own buffers, which stay as they are until the request is answered. */
#include "base/json.h"
#include "base/util.h"
#include "http/http_i.h"

enum { PROBLEM_BYTES = 16 * 1024, DETAIL_BYTES = 2048 };

static struct tl_str span(const struct tl_http_request *r, struct tl_http_span s)
{
    return (struct tl_str){r->in ? r->in + s.at : "", s.n};
}

enum tl_http_method tl_http_method(const struct tl_http_request *r)
{
    return r->head.method == TL_HTTP_HEAD ? TL_HTTP_GET : (enum tl_http_method)r->head.method;
}

struct tl_str tl_http_path(const struct tl_http_request *r)
{
    /* "http://host" without a path asks for "/" */
    return r->head.path.n ? span(r, r->head.path) : TL_STR("/");
}

struct tl_str tl_http_query(const struct tl_http_request *r)
{
    return span(r, r->head.query);
}

struct tl_str tl_http_header(const struct tl_http_request *r, const char *name)
{
    if (r->head.fields.n == 0) return (struct tl_str){NULL, 0};
    return tl_http_head_field(r->in, &r->head, tl_str(name));
}

struct tl_str tl_http_body(const struct tl_http_request *r)
{
    return tl_buf_str(&r->body);
}

const char *tl_http_peer(const struct tl_http_request *r)
{
    return r->peer_text;
}

bool tl_http_is_local(const struct tl_http_request *r)
{
    return r->local;
}

void tl_http_set_user(struct tl_http_request *r, const char *name)
{
    free(r->user);
    r->user = strdup(name); /* without memory the log has no name */
}

void tl_http_set_data(struct tl_http_request *r, void *data)
{
    r->data = data;
}

void *tl_http_data(const struct tl_http_request *r)
{
    return r->data;
}

void tl_http_on_gone(struct tl_http_request *r, void (*cb)(void *ctx), void *ctx)
{
    r->on_gone = cb;
    r->gone_ctx = ctx;
    /* It was cut already: the caller learns it as if it had asked in time. */
    if (r->dead && !r->told_gone && r->state == TL_HTTP_CUT) tl_http_soon(r);
}

enum tl_status tl_http_on_closed(struct tl_http_request *r, void (*cb)(void *ctx), void *ctx)
{
    if (r->state == TL_HTTP_CUT) return TL_CANCELLED;
    if (r->n_closers == TL_HTTP_CLOSERS_MAX) return TL_FULL;
    struct tl_http_closer *c = tl_calloc(1, sizeof *c);
    if (!c) return TL_NOMEM;
    *c = (struct tl_http_closer){.next = r->closers, .cb = cb, .ctx = ctx};
    r->closers = c;
    r->n_closers++;
    return TL_OK;
}

void *tl_http_off_closed(struct tl_http_request *r, void (*cb)(void *ctx),
                         bool (*is)(const void *ctx, const void *what), const void *what)
{
    for (struct tl_http_closer **at = &r->closers, *c; (c = *at); at = &c->next) {
        if (c->cb != cb || !is(c->ctx, what)) continue;
        void *ctx = c->ctx;
        *at = c->next;
        r->n_closers--;
        free(c);
        return ctx;
    }
    return NULL;
}

/* ---- problem documents ---- */

static void member(struct tl_json *j, const char *key, struct tl_str value)
{
    tl_json_key(j, key);
    tl_json_str(j, value);
}

struct tl_http_body *tl_http_problem_body(int status, const char *code, const char *param, const char *detail,
                                          struct tl_str instance)
{
    struct tl_buf b;
    struct tl_json j;
    size_t n;
    tl_buf_init(&b, PROBLEM_BYTES);
    tl_json_init(&j, &b);
    tl_json_object(&j);
    member(&j, "type", TL_STR("about:blank"));
    member(&j, "title", tl_str(tl_http_reason(status)));
    tl_json_key(&j, "status");
    tl_json_i64(&j, status);
    if (detail) member(&j, "detail", (struct tl_str){detail, strnlen(detail, DETAIL_BYTES)});
    if (instance.n) member(&j, "instance", (struct tl_str){instance.p, TL_MIN(instance.n, (size_t)DETAIL_BYTES)});
    if (param) member(&j, "parameter", tl_str(param));
    if (code) member(&j, "code", tl_str(code));
    tl_json_object_end(&j);
    tl_buf_putc(&b, '\n');
    char *p = tl_buf_take(&b, &n);
    if (p) return tl_http_body_take(p, n);
    tl_buf_release(&b);
    return NULL;
}
