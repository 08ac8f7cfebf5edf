/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/1.1 server on a libuv loop. Loop thread. Requests come with their whole body and are answered now or later;
 * answers may be streams, and a request may become a WebSocket. What it refuses by itself (limits, malformed requests)
 * it answers with a problem document. */
#ifndef TL_HTTP_HTTP_H
#define TL_HTTP_HTTP_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include <tierline/status.h>
#include <uv.h>

struct tl_http;
struct tl_http_request;

enum tl_http_method {
    TL_HTTP_GET = 1,
    TL_HTTP_HEAD = 2, /* comes to handlers as GET; the body is left out below them */
    TL_HTTP_PUT = 4,
    TL_HTTP_POST = 8,
    TL_HTTP_DELETE = 16,
    TL_HTTP_OPTIONS = 32,
    TL_HTTP_PATCH = 64
};
const char *tl_http_method_name(enum tl_http_method);

struct tl_http_record {                                /* one line of the access log */
    const char *method, *target, *peer, *user, *agent; /* target without its query's values; "-": it was not read */
    int status;                                        /* 499: the client hung up before its answer */
    uint64_t bytes, took_ns;
};

struct tl_http_options {
    /* "127.0.0.1:8080", "[::1]:8080", "unix:/path" (made with mode 0660; a stale one is replaced), "fd:3" (systemd).
     * Port 0: any free one, see tl_http_address. */
    const char *const *listen;
    size_t n_listen;
    unsigned connections; /* at a time, upgraded ones not counted; 0: 10000. More wait in the backlog */
    unsigned per_address; /* of one peer address, upgraded ones counted; 0: 1000; more get 503 or are cut */
    size_t header_bytes;  /* request line and headers; 0: 16 KiB; more: 431 or 414 */
    size_t body_bytes;    /* 0: 64 MiB; more: 413. See also tl_http_route's own limit */
    uint32_t request_ms;  /* from the first byte to the end of the headers, and for each further KiB of the body; 0:
                           * 10 s: 408 */
    uint32_t idle_ms;     /* keep-alive; 0: 75 s. A client that takes nothing of its answer for that long, at most 30 s,
                           * is cut */
    const struct tl_clock *clock;
    const struct tl_log *log;
    /* The headers are there and the body is not: what is refused here costs no body. Comes for every request. Returns
     * the largest body for this request (0: the options'), or answers (tl_http_reply) and returns anything. Who set
     * on_gone here is told when the body never comes whole, and then answers into the void. NULL: none. */
    size_t (*begin)(void *ctx, struct tl_http_request *);
    /* Must lead to exactly one reply, stream or upgrade, now or later. */
    void (*handle)(void *ctx, struct tl_http_request *);
    void (*record)(void *ctx, const struct tl_http_record *); /* NULL: none */
    void *ctx;
};
/* Errors: INVALID (an address; text names it), BUSY (address in use), DENIED, IO, NOMEM. */
TL_MUSTCHECK enum tl_status tl_http_start(uv_loop_t *, const struct tl_http_options *, struct tl_http **out,
                                          struct tl_err *err);
/* Of the i-th listener, with the port it has: "127.0.0.1:43211". NULL past the end. */
const char *tl_http_address(const struct tl_http *, size_t i);
/* No new connections; keep-alive ends with the next answer. */
void tl_http_drain(struct tl_http *);
/* Cuts what is left (their on_gone come), calls cb, frees. Every request must have been answered, or be answered in its
 * on_gone. Upgraded sockets are not its business any more. */
void tl_http_close(struct tl_http *, void (*cb)(void *ctx), void *ctx);

/* ---- a request; everything [borrow: until it is answered] ---- */
enum tl_http_method tl_http_method(const struct tl_http_request *);
struct tl_str tl_http_path(const struct tl_http_request *);                     /* as sent, before the "?" */
struct tl_str tl_http_query(const struct tl_http_request *);                    /* as sent, after the "?" */
struct tl_str tl_http_header(const struct tl_http_request *, const char *name); /* p NULL: not there */
struct tl_str tl_http_body(const struct tl_http_request *);
const char *tl_http_peer(const struct tl_http_request *);          /* "127.0.0.1", "unix" */
bool tl_http_is_local(const struct tl_http_request *);             /* loopback or a unix socket */
void tl_http_set_user(struct tl_http_request *, const char *name); /* for the access log; copied */
void tl_http_set_data(struct tl_http_request *, void *);           /* the handler's own */
void *tl_http_data(const struct tl_http_request *);
/* Called at most once, from the loop, when the connection is cut before the answer: the request must still be answered
 * (nobody gets it). Also ends a stream, which is freed behind it. A client that closes its sending side while it waits
 * counts as gone. */
void tl_http_on_gone(struct tl_http_request *, void (*cb)(void *ctx), void *ctx);

/* Called once, from the loop, when the request's connection is closed, or becomes a WebSocket's: also long after the
 * answer. NOMEM; FULL: TL_HTTP_CLOSERS_MAX are asked for on this connection; CANCELLED: it is closed already. */
enum { TL_HTTP_CLOSERS_MAX = 1000 };
TL_MUSTCHECK enum tl_status tl_http_on_closed(struct tl_http_request *, void (*cb)(void *ctx), void *ctx);
/* Takes one back, also from a later request on the connection: the newest with this cb for which is(ctx, what) holds.
 * Its ctx; NULL: there is none, or it was called. */
void *tl_http_off_closed(struct tl_http_request *, void (*cb)(void *ctx), bool (*is)(const void *ctx, const void *what),
                         const void *what);

/* ---- parameters (pure) ---- */
/* Percent-decoded; INVALID: a broken escape, a NUL, invalid UTF-8. */
TL_MUSTCHECK enum tl_status tl_http_decode(struct tl_str, bool plus_is_blank, struct tl_buf *out, struct tl_err *err);
/* The next name=value of a query. false: the end. Raw; *rest moves on. */
bool tl_http_next_param(struct tl_str *rest, struct tl_str *name, struct tl_str *value);
/* Does the Accept (or Accept-Encoding) header take `offer`, and how gladly? q in thousandths; 0: no. An absent header
 * takes everything. */
unsigned tl_http_accepts(struct tl_str header, const char *offer);
/* If-None-Match against our ETag (with its quotes). */
bool tl_http_etag_matches(struct tl_str if_none_match, const char *etag);

/* ---- answers ---- */
/* Immutable bytes that several answers may share. */
struct tl_http_body;
/* [own] bytes are copied / taken (free()d at the end). NULL: memory is out (and taken bytes are freed). */
struct tl_http_body *tl_http_body_copy(const void *, size_t n);
struct tl_http_body *tl_http_body_take(void *, size_t n);
/* Bytes that somebody else keeps until release is called. */
struct tl_http_body *tl_http_body_wrap(const void *, size_t n, void (*release)(void *ctx), void *ctx);
/* The gzip of a new body that has been made elsewhere: it is sent to who takes it (compress), and nothing is compressed
 * here. [take] gzip. */
void tl_http_body_set_gzip(struct tl_http_body *, struct tl_http_body *gzip);
struct tl_http_body *tl_http_body_ref(struct tl_http_body *);
void tl_http_body_unref(struct tl_http_body *);
size_t tl_http_body_bytes(const struct tl_http_body *);

struct tl_http_header_row {
    const char *name, *value; /* copied */
};
struct tl_http_answer {
    int status;
    const char *type;          /* Content-Type; NULL: none */
    struct tl_http_body *body; /* [take] NULL: empty */
    const char *etag;          /* with quotes; If-None-Match makes it 304. NULL: none */
    const struct tl_http_header_row *headers;
    size_t n_headers;
    bool compress; /* gzip where the client takes it and it pays (1 KiB and more); made once for a body, so keep it */
};
void tl_http_reply(struct tl_http_request *, const struct tl_http_answer *);
/* RFC 9457: {"type","title","status","detail","instance", "parameter" (where there is one), "code": the status' name}.
 * param, detail: may be NULL. extra headers as above (WWW-Authenticate, Retry-After, Allow). */
void tl_http_problem(struct tl_http_request *, int status, const char *code, const char *param, const char *detail,
                     const struct tl_http_header_row *, size_t n_headers);
/* From a status and its detail. */
void tl_http_fail(struct tl_http_request *, enum tl_status, const char *param, const struct tl_err *);

/* A body without an end yet (SSE). HEAD: its fields are sent, then it is gone. */
struct tl_http_stream; /* freed after on_gone where one is set, or by tl_http_stream_end */
/* CANCELLED (the client is gone), NOMEM: the request still wants its answer. The answer's body is not used. */
TL_MUSTCHECK enum tl_status tl_http_stream(struct tl_http_request *, const struct tl_http_answer *, size_t queue_bytes,
                                           struct tl_http_stream **out);
/* FULL: not queued; on_drained comes when the queue is half empty. TOO_LARGE: more than queue_bytes at once. CANCELLED:
 * the client is gone, on_gone comes or came; or it was ended. */
TL_MUSTCHECK enum tl_status tl_http_stream_write(struct tl_http_stream *, struct tl_str);
void tl_http_stream_on_drained(struct tl_http_stream *, void (*cb)(void *ctx), void *ctx);
/* on_drained comes once, too, when nothing is queued any more; from the loop. */
void tl_http_stream_tell_drained(struct tl_http_stream *);
size_t tl_http_stream_queued(const struct tl_http_stream *); /* bytes */
void tl_http_stream_end(struct tl_http_stream *);

/* 101, then the socket is the caller's: cb once, from the loop; fd [own], connected, non-blocking, watched by nobody;
 * early: what came behind [borrow: during the call]. fd -1: the connection was cut, or an HTTP/1.0 request was told
 * that it cannot. headers: Sec-WebSocket-Accept and the like. The socket counts for its address while that descriptor
 * is open; it must not be moved to another number before it is closed. */
void tl_http_upgrade(struct tl_http_request *, const char *protocol, const struct tl_http_header_row *,
                     size_t n_headers, void (*cb)(void *ctx, int fd, struct tl_str early), void *ctx);

struct tl_http_stats {
    size_t connections, upgraded, streams, requests_open;
    uint64_t accepted, requests, refused, bytes_out, bytes_in;
    uint64_t by_class[6]; /* answers: [2] 2xx ... */
};
void tl_http_stats(const struct tl_http *, struct tl_http_stats *);

#endif
