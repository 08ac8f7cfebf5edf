/* SPDX-License-Identifier: Apache-2.0 */
/* A call between router and handler: its parameters, its work on another thread, its one answer. The call is freed with
 * the answer; an answer to a client that has gone is made all the same and goes nowhere. */
#include "server/call.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

/* ---- parameters ---- */

static size_t index_of(const struct api_call *c, const char *name)
{
    for (size_t i = 0; i < c->n_query; i++)
        if (strcmp(c->query[i].param->name, name) == 0) return i;
    return SIZE_MAX;
}

bool api_given(const struct api_call *c, const char *name)
{
    return index_of(c, name) != SIZE_MAX;
}

const char *api_text(const struct api_call *c, const char *name)
{
    size_t i = index_of(c, name);
    return i == SIZE_MAX ? NULL : c->query[i].text;
}

int64_t api_number(const struct api_call *c, const char *name, int64_t def)
{
    size_t i = index_of(c, name);
    return i == SIZE_MAX ? def : c->query[i].n;
}

void api_settle_series(struct api_call *c)
{
    c->freq = TL_FREQ_1D;
    c->adjust = TL_ADJUST_RAW;
    (void)tl_freq_parse(tl_str(tl_config_str(c->api->config, "calc.freq")), &c->freq);
    (void)tl_adjust_parse(tl_str(tl_config_str(c->api->config, "calc.adjust")), &c->adjust);
    c->freq = (enum tl_freq)api_number(c, "freq", c->freq);
    c->adjust = (enum tl_adjust)api_number(c, "adjust", c->adjust);
}

bool api_symbol(struct api_call *c, const char *text, struct tl_symbol *out)
{
    struct tl_err err;
    enum tl_status st = tl_symbol_parse(tl_str(text), TL_MARKET_NONE, out, &err);
    if (st == TL_OK) return true;
    api_fail(c, st, "symbol", &err);
    return false;
}

bool api_spec(struct api_call *c, const char *text, struct tl_spec *out)
{
    struct tl_err err;
    enum tl_status st = tl_spec_parse(text, out, &err);
    if (st == TL_OK) return true;
    api_fail(c, st, "spec", &err);
    return false;
}

bool api_needs_store(struct api_call *c)
{
    if (c->api->store) return true;
    api_problem(c, 501, "UNSUPPORTED", NULL, "this server has no store (--store none)");
    return false;
}

bool api_needs_writable(struct api_call *c)
{
    if (!api_needs_store(c)) return false;
    if (!c->api->read_only) return true;
    api_problem(c, 403, "DENIED", NULL, "the store cannot be written");
    return false;
}

/* ---- works ---- */

static void run(struct tl_work *work, unsigned worker)
{
    struct api_call *c = (struct api_call *)(void *)((char *)work - offsetof(struct api_call, work));
    c->run(c, c->api->readers[worker]);
}

static void done(struct tl_work *work)
{
    struct api_call *c = (struct api_call *)(void *)((char *)work - offsetof(struct api_call, work));
    if (work->cancelled) c->status = tl_fail(&c->err, TL_CANCELLED, "the server is being closed");
    c->done(c);
}

void api_work(struct api_call *c, void (*run_fn)(struct api_call *, struct tl_store_reader *),
              void (*done_fn)(struct api_call *))
{
    c->run = run_fn;
    c->done = done_fn;
    c->work = (struct tl_work){.run = run, .done = done};
    tl_workers_submit(c->api->workers, &c->work);
}

/* ---- answers ---- */

void api_call_free(struct api_call *c)
{
    if (c->release)
        c->release(c->state);
    else
        free(c->state);
    tl_buf_release(&c->out);
    free(c);
}

static void end(struct api_call *c)
{
    c->api->calls_open--;
    api_call_free(c);
}

enum { ROWS_MAX = 8, CORS_ROWS = 3 };

/* The rows for pages of other origins behind those of the answer. */
static size_t add_cors(const struct api *api, struct tl_http_request *r, struct tl_http_header_row *rows,
                       char origin[200])
{
    struct tl_str from = tl_http_header(r, "Origin");
    if (!from.p || from.n >= 200 || !api_cors_allows(api, from)) return 0;
    snprintf(origin, 200, "%.*s", TL_STR_ARG(from));
    rows[0] = (struct tl_http_header_row){"Access-Control-Allow-Origin", origin};
    rows[1] = (struct tl_http_header_row){"Vary", "Origin"};
    rows[2] = (struct tl_http_header_row){"Access-Control-Expose-Headers", "ETag, Location, Retry-After"};
    return 3;
}

void api_reply_body(struct api_call *c, const struct tl_http_answer *given)
{
    struct tl_http_header_row rows[ROWS_MAX + CORS_ROWS];
    char origin[200];
    struct tl_http_answer a = *given;
    TL_ASSERT(a.n_headers <= ROWS_MAX);
    if (a.n_headers) memcpy(rows, a.headers, a.n_headers * sizeof rows[0]);
    a.n_headers += add_cors(c->api, c->http, rows + a.n_headers, origin);
    a.headers = rows;
    tl_http_reply(c->http, &a);
    end(c);
}

void api_upgrade(struct api_call *c, const char *protocol, const struct tl_http_header_row *rows, size_t n,
                 void (*cb)(void *ctx, int fd, struct tl_str early), void *ctx)
{
    tl_http_on_gone(c->http, NULL, NULL); /* cb is told */
    tl_http_upgrade(c->http, protocol, rows, n, cb, ctx);
    end(c);
}

enum tl_status api_stream(struct api_call *c, const char *type, size_t queue_bytes, void (*on_gone)(void *ctx),
                          void *ctx, struct tl_http_stream **out)
{
    struct tl_http_header_row rows[1 + CORS_ROWS] = {{"Cache-Control", "no-store"}};
    char origin[200];
    size_t n = 1 + add_cors(c->api, c->http, rows + 1, origin);
    const struct tl_http_answer a = {.status = 200, .type = type, .headers = rows, .n_headers = n};
    tl_http_on_gone(c->http, on_gone, ctx);
    enum tl_status st = tl_http_stream(c->http, &a, queue_bytes, out);
    if (st == TL_OK) {
        end(c);
        return TL_OK;
    }
    tl_http_on_gone(c->http, NULL, NULL);
    api_fail(c, st, NULL, NULL);
    return st;
}

void api_reply_bytes(struct api_call *c, const char *type, const char *etag)
{
    size_t n = 0;
    if (tl_buf_status(&c->out, &c->err) != TL_OK) {
        api_fail(c, c->err.status, NULL, &c->err);
        return;
    }
    char *bytes = tl_buf_take(&c->out, &n);
    struct tl_http_body *body = bytes ? tl_http_body_take(bytes, n) : NULL;
    if (n > 0 && !body) {
        api_fail(c, TL_NOMEM, NULL, NULL);
        return;
    }
    static const struct tl_http_header_row no_store = {"Cache-Control", "no-store"};
    static const struct tl_http_header_row revalidate = {"Cache-Control", "no-cache"};
    api_reply_body(c, &(struct tl_http_answer){.status = c->route->status ? c->route->status : 200,
                                               .type = type,
                                               .body = body,
                                               .etag = etag,
                                               .headers = etag ? &revalidate : &no_store,
                                               .n_headers = 1,
                                               .compress = true});
}

void api_reply_json(struct api_call *c)
{
    tl_buf_putc(&c->out, '\n');
    api_reply_bytes(c, "application/json", NULL);
}

void api_reply_empty(struct api_call *c, int status)
{
    api_reply_body(c, &(struct tl_http_answer){.status = status});
}

void api_problem(struct api_call *c, int status, const char *code, const char *param, const char *detail)
{
    struct tl_http_header_row rows[4];
    char origin[200];
    size_t n = add_cors(c->api, c->http, rows, origin);
    if (status == 503 || status == 429) rows[n++] = (struct tl_http_header_row){"Retry-After", "1"};
    tl_http_problem(c->http, status, code, param, detail, rows, n);
    end(c);
}

void api_fail(struct api_call *c, enum tl_status status, const char *param, const struct tl_err *err)
{
    bool text = err && err->text[0];
    if (status == TL_INTERNAL || status == TL_CORRUPT || status == TL_IO)
        tl_log(c->api->log, TL_LOG_ERROR, "http", "a request failed", "route=%s status=%s reason=\"%s\"", c->route->id,
               tl_status_name(status), text ? err->text : "");
    api_problem(c, tl_status_http(status), tl_status_name(status), param, text ? err->text : tl_status_text(status));
}

void api_reply(struct api_call *c)
{
    if (c->status != TL_OK)
        api_fail(c, c->status, c->at, &c->err);
    else
        api_reply_json(c);
}
