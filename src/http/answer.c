/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: their head is written into one buffer of the server's and handed to the socket together with the body. Which
 * representation the client gets (as it is, gzip, or none because it has it) is decided here; the gzip of a body has an
 * entity tag of its own. Values of callers' fields cannot begin a new line. Content-Length, Date, Connection and
 * X-Content-Type-Options are written here; callers do not. */
#include "http/http_i.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>
#include <time.h>

enum { ETAG_MAX = 200 };

const char *tl_http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } rows[] = {
        {200, "OK"},
        {304, "Not Modified"},
        {404, "Not Found"},
        {101, "Switching Protocols"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {207, "Multi-Status"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {423, "Locked"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++)
        if (rows[i].status == status) return rows[i].reason;
    return status >= 500 ? "Server Error" : status >= 400 ? "Client Error" : "Answer";
}

/* ---- the head ---- */

static void put_number(struct tl_buf *b, uint64_t v)
{
    char text[24];
    size_t at = sizeof text;
    do text[--at] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    tl_buf_put(b, text + at, sizeof text - at);
}

static void put_field(struct tl_buf *b, const char *name, const char *value)
{
    tl_buf_puts(b, name);
    tl_buf_put(b, ": ", 2);
    size_t from = b->n;
    tl_buf_puts(b, value);
    for (size_t i = from; i < b->n && !b->failed; i++)
        if ((unsigned char)b->p[i] < ' ') b->p[i] = ' ';
    tl_buf_put(b, "\r\n", 2);
}

static const char *date_line(struct tl_http *h)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int64_t now = tl_clock_wall_ms(h->opt.clock) / 1000;
    if (now == h->date_s) return h->date;
    time_t t = (time_t)now;
    struct tm tm;
    if (!gmtime_r(&t, &tm)) return "";
    snprintf(h->date, sizeof h->date, "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n", days + 3 * tm.tm_wday,
             tm.tm_mday, months + 3 * tm.tm_mon, (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min, tm.tm_sec);
    h->date_s = now;
    return h->date;
}

void tl_http_head_begin(struct tl_http_request *r, int status, const char *type, const struct tl_http_header_row *rows,
                        size_t n, bool vary)
{
    struct tl_http *h = r->http;
    struct tl_buf *b = &h->head;
    TL_ASSERT(status >= 100 && status < 600);
    r->status = status;
    tl_buf_clear(b);
    tl_buf_put(b, "HTTP/1.1 ", 9);
    put_number(b, (uint64_t)status);
    tl_buf_putc(b, ' ');
    tl_buf_puts(b, tl_http_reason(status));
    tl_buf_put(b, "\r\n", 2);
    tl_buf_puts(b, date_line(h));
    if (type && status != 304 && status != 204) put_field(b, "Content-Type", type);
    if (status >= 200) tl_buf_puts(b, "X-Content-Type-Options: nosniff\r\n");
    if (vary) tl_buf_puts(b, "Vary: Accept-Encoding\r\n");
    for (size_t i = 0; i < n; i++) put_field(b, rows[i].name, rows[i].value);
}

/* The caller owes nothing any more. */
static void settle(struct tl_http_request *r)
{
    r->open = false;
    r->http->stats.requests_open--;
    r->http->stats.by_class[r->status / 100]++;
}

/* body [take]. http->head has the first part of the answer. */
void tl_http_answer_end(struct tl_http_request *r, const char *etag, bool gzip, struct tl_http_body *body)
{
    struct tl_buf *b = &r->http->head;
    bool close = r->close_after || r->unread || r->http->draining;
    if (etag) put_field(b, "ETag", etag);
    if (gzip) tl_buf_puts(b, "Content-Encoding: gzip\r\n");
    if (r->status >= 200 && r->status != 204 && r->status != 304) {
        tl_buf_puts(b, "Content-Length: ");
        put_number(b, body ? body->n : 0);
        tl_buf_put(b, "\r\n", 2);
    }
    if (close)
        tl_buf_puts(b, "Connection: close\r\n");
    else if (r->head.minor_0)
        tl_buf_puts(b, "Connection: keep-alive\r\n");
    tl_buf_put(b, "\r\n", 2);
    r->close_after = close;
    if (r->status == 304 || r->status == 204 || r->head.method == TL_HTTP_HEAD) {
        tl_http_body_unref(body);
        body = NULL;
    }
    if (!b->failed) {
        tl_http_send(r, tl_buf_str(b), body);
        return;
    }
    tl_log(r->http->opt.log, TL_LOG_ERROR, "http", "the head of an answer is too large", "status=%d", r->status);
    tl_http_body_unref(body);
    tl_http_conn_cut(r);
}

/* The connection was cut, or the request refused, while it was with the caller. */
static void drop_answer(struct tl_http_request *r)
{
    r->open = false;
    r->http->stats.requests_open--;
    if (r->begun) {
        r->status = 499;
        r->http->stats.by_class[4]++;
        tl_http_record_answer(r);
    }
    tl_http_conn_maybe_free(r);
}

/* ---- representations ---- */

/* "abc" -> "abc-gzip"; false: it is none, or too long. */
static bool gzip_etag(const char *etag, char out[ETAG_MAX])
{
    size_t n = strlen(etag);
    if (n < 2 || n + 6 > ETAG_MAX || etag[n - 1] != '"') return false;
    memcpy(out, etag, n - 1);
    memcpy(out + n - 1, "-gzip\"", 7);
    return true;
}

static bool takes_gzip(struct tl_http_request *r, const struct tl_http_answer *a)
{
    if (!a->compress || !a->body || a->body->n < TL_HTTP_GZIP_MIN) return false;
    struct tl_str accepted = tl_http_header(r, "Accept-Encoding");
    return accepted.p && tl_http_accepts(accepted, "gzip") > 0;
}

/* What the client has already, as its tag; NULL: nothing that is still right. */
static const char *known_etag(struct tl_http_request *r, const struct tl_http_answer *a, const char *zipped)
{
    if (!a->etag || a->status != 200 || (r->head.method != TL_HTTP_GET && r->head.method != TL_HTTP_HEAD)) return NULL;
    struct tl_str known = tl_http_header(r, "If-None-Match");
    if (!known.p) return NULL;
    if (zipped && tl_http_etag_matches(known, zipped)) return zipped;
    return tl_http_etag_matches(known, a->etag) ? a->etag : NULL;
}

static void reply_zipped(struct tl_http_request *r, const struct tl_http_answer *a, const char *etag)
{
    if (a->body->n > TL_HTTP_GZIP_HERE && !tl_http_gzip_known(a->body)) {
        if (tl_http_gzip_later(r, a->etag, etag, a->body)) return;
        tl_http_answer_end(r, a->etag, false, a->body);
        return;
    }
    struct tl_http_body *gzip = tl_http_gzip(a->body);
    if (!gzip) {
        tl_http_answer_end(r, a->etag, false, a->body);
        return;
    }
    tl_http_body_unref(a->body);
    tl_http_answer_end(r, etag, true, gzip);
}

void tl_http_reply(struct tl_http_request *r, const struct tl_http_answer *a)
{
    char zipped[ETAG_MAX];
    TL_ASSERT(r->open);
    if (r->dead) {
        tl_http_body_unref(a->body);
        drop_answer(r);
        return;
    }
    bool gzip = takes_gzip(r, a);
    bool tagged = gzip && a->etag && gzip_etag(a->etag, zipped);
    const char *known = known_etag(r, a, tagged ? zipped : NULL);
    tl_http_head_begin(r, known ? 304 : a->status, a->type, a->headers, a->n_headers, a->compress);
    settle(r);
    if (known) {
        tl_http_body_unref(a->body);
        tl_http_answer_end(r, known, false, NULL);
    } else if (gzip && (tagged || !a->etag)) {
        reply_zipped(r, a, tagged ? zipped : NULL);
    } else {
        tl_http_answer_end(r, a->etag, false, a->body);
    }
}

/* ---- problems ---- */

static void send_problem(struct tl_http_request *r, int status, struct tl_http_body *body,
                         const struct tl_http_header_row *rows, size_t n)
{
    tl_http_head_begin(r, status, body ? "application/problem+json" : NULL, rows, n, false);
    settle(r);
    tl_http_answer_end(r, NULL, false, body); /* without memory for a body the status says it */
}

void tl_http_problem(struct tl_http_request *r, int status, const char *code, const char *param, const char *detail,
                     const struct tl_http_header_row *rows, size_t n)
{
    TL_ASSERT(r->open);
    if (r->dead) {
        drop_answer(r);
        return;
    }
    send_problem(r, status, tl_http_problem_body(status, code, param, detail, tl_http_path(r)), rows, n);
}

void tl_http_fail(struct tl_http_request *r, enum tl_status status, const char *param, const struct tl_err *err)
{
    const char *detail = err && err->text[0] ? err->text : tl_status_text(status);
    tl_http_problem(r, tl_status_http(status), tl_status_name(status), param, detail, NULL, 0);
}

/* Who may have begun with the request (begin) and wants to know of its end is told, and its own answer is dropped. */
void tl_http_refuse(struct tl_http_request *r, int status, const char *code, const char *detail)
{
    struct tl_http *h = r->http;
    bool told = r->on_gone != NULL;
    h->stats.refused++;
    r->close_after = r->unread = r->dead = true;
    r->open = told;
    tl_http_head_begin(r, status, "application/problem+json", NULL, 0, false);
    h->stats.by_class[status / 100]++;
    if (!told) h->stats.requests_open--;
    tl_http_answer_end(r, NULL, false,
                       tl_http_problem_body(status, code, NULL, detail, r->head.refuse ? TL_STR("") : tl_http_path(r)));
    if (!told || r->told_gone) return;
    r->told_gone = true;
    r->on_gone(r->gone_ctx);
}

/* ---- upgrades ---- */

void tl_http_upgrade(struct tl_http_request *r, const char *protocol, const struct tl_http_header_row *rows, size_t n,
                     void (*cb)(void *ctx, int fd, struct tl_str early), void *ctx)
{
    TL_ASSERT(r->open);
    r->on_upgrade = cb;
    r->upgrade_ctx = ctx;
    if (r->dead || r->head.minor_0 || r->unread) {
        /* cb comes with -1 when the connection is cut, which it is or will be. */
        r->close_after = true;
        tl_http_soon(r);
        if (r->dead)
            drop_answer(r);
        else
            tl_http_problem(r, 400, "INVALID", NULL, "this request cannot change the protocol", NULL, 0);
        return;
    }
    tl_http_head_begin(r, 101, NULL, rows, n, false);
    tl_buf_puts(&r->http->head, "Connection: Upgrade\r\n");
    put_field(&r->http->head, "Upgrade", protocol);
    settle(r);
    r->upgrading = true;
    r->close_after = false;
    tl_buf_put(&r->http->head, "\r\n", 2);
    if (r->http->head.failed)
        tl_http_conn_cut(r);
    else
        tl_http_send(r, tl_buf_str(&r->http->head), NULL);
}

/* ---- the access log ---- */

static void put_target(struct tl_buf *b, struct tl_http_request *r)
{
    struct tl_str rest = tl_http_query(r), name, value, path = tl_http_path(r);
    char mark = '?';
    tl_buf_put(b, path.p, path.n);
    while (rest.n > 0 && tl_http_next_param(&rest, &name, &value)) {
        tl_buf_putc(b, mark);
        tl_buf_put(b, name.p, name.n);
        mark = '&';
    }
    tl_buf_putc(b, '\0');
}

void tl_http_record_answer(struct tl_http_request *r)
{
    struct tl_http *h = r->http;
    if (!r->begun) return;
    r->begun = false;
    if (!h->opt.record) return;
    tl_buf_clear(&h->target);
    if (!r->head.refuse) put_target(&h->target, r);
    if (h->target.n == 0) tl_buf_put(&h->target, "-", 2);
    size_t agent_at = h->target.n;
    struct tl_str agent = r->head.refuse ? TL_STR("") : tl_http_header(r, "User-Agent");
    if (agent.p) tl_buf_put(&h->target, agent.p, agent.n);
    struct tl_http_record record = {
        .method = r->head.method ? tl_http_method_name((enum tl_http_method)r->head.method) : "-",
        .target = h->target.failed ? "-" : h->target.p,
        .peer = r->peer_text,
        .user = r->user ? r->user : "",
        .agent = h->target.failed ? "" : h->target.p + agent_at,
        .status = r->status,
        .bytes = r->out_bytes,
        .took_ns = tl_http_mono_ns(h) - r->began_ns,
    };
    h->opt.record(h->opt.ctx, &record);
}
