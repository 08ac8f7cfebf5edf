/* SPDX-License-Identifier: Apache-2.0 */
/* The WebSockets that conversations of tierline.v1 go over: the upgrade, and a talk behind each socket. An event is
 * framed once for all sockets that get it, and once more for those that get it by "tasks". */
#include "server/session.h"

#include "base/err.h"
#include "base/util.h"
#include "server/talk.h"

#include <inttypes.h>
#include <unistd.h>

struct session {
    struct tl_ws *ws;
    struct talk talk;
    struct tl_identity who; /* at the upgrade */
    bool known;
    struct api *api;
    struct session *prev, *next;
    uint64_t number;
};

struct api_sessions {
    struct api *api;
    struct session *first;
    size_t n;
    uint64_t numbers, conflated, resyncs; /* of those that have gone */
};

/* ---- sending ---- */

/* Of an event: as it is, and as subscribers of "tasks" get it. Each is made when it is first wanted. */
struct frames {
    struct tl_ws_frame *own, *via;
};

static void frames_free(void *p)
{
    struct frames *f = p;
    tl_ws_frame_unref(f->own);
    tl_ws_frame_unref(f->via);
    free(f);
}

static struct tl_ws_frame *frame_via(const struct tl_event *e, const char *via)
{
    struct tl_buf b;
    tl_buf_init(&b, (size_t)2 * TL_EVENT_BYTES_MAX);
    protocol_put_via(&b, (struct tl_str){e->json, e->n}, via);
    struct tl_str json = tl_buf_str(&b);
    struct tl_ws_frame *f = b.failed ? NULL : tl_ws_frame_new(TL_WS_TEXT, &json, 1);
    tl_buf_release(&b);
    return f;
}

/* [borrow: as long as the event] NULL: memory is out. Only "tasks" is a topic of other topics' events. */
static struct tl_ws_frame *frame_of(struct tl_event *e, const char *via)
{
    struct frames *f = e->frame;
    if (!f) {
        if (!(f = tl_calloc(1, sizeof *f))) return NULL;
        e->frame = f;
        e->free_frame = frames_free;
    }
    struct tl_str json = {e->json, e->n};
    if (via && !f->via) f->via = frame_via(e, via);
    if (!via && !f->own) f->own = tl_ws_frame_new(TL_WS_TEXT, &json, 1);
    return via ? f->via : f->own;
}

static enum tl_status send_event(void *ctx, struct tl_event *e, const char *via)
{
    struct tl_ws_frame *f = frame_of(e, via);
    return f ? tl_ws_send(((struct session *)ctx)->ws, f) : TL_NOMEM;
}

static enum tl_status send_text(void *ctx, struct tl_str json)
{
    struct tl_ws_frame *f = tl_ws_frame_new(TL_WS_TEXT, &json, 1);
    if (!f) return TL_NOMEM;
    enum tl_status st = tl_ws_send(((struct session *)ctx)->ws, f);
    tl_ws_frame_unref(f);
    return st;
}

static size_t backlog(void *ctx)
{
    return tl_ws_queued_bytes(((struct session *)ctx)->ws);
}

static void tell_drained(void *ctx)
{
    tl_ws_tell_drained(((struct session *)ctx)->ws);
}

static void close_socket(void *ctx, unsigned code, const char *why)
{
    tl_ws_close(((struct session *)ctx)->ws, code, why);
}

/* ---- the socket ---- */

static void on_message(void *ctx, enum tl_ws_opcode opcode, struct tl_str text)
{
    struct session *s = ctx;
    if (opcode == TL_WS_TEXT)
        talk_message(&s->talk, text);
    else
        tl_ws_close(s->ws, PROTOCOL_CLOSE_NOT_TEXT, "text is needed");
}

static void on_drained(void *ctx)
{
    talk_drained(&((struct session *)ctx)->talk);
}

static void on_closed(void *ctx, unsigned code, const char *why)
{
    struct session *s = ctx;
    struct api_sessions *all = s->api->sockets;
    tl_log(s->api->log, TL_LOG_DEBUG, "ws", "closed", "session=%" PRIu64 " code=%u why=\"%s\"", s->number, code, why);
    all->conflated += s->talk.feed.conflated;
    all->resyncs += s->talk.feed.resyncs;
    talk_end(&s->talk);
    if (s->prev)
        s->prev->next = s->next;
    else
        all->first = s->next;
    if (s->next) s->next->prev = s->prev;
    all->n--;
    free(s);
}

/* ---- the upgrade ---- */

static void on_upgraded(void *ctx, int fd, struct tl_str early)
{
    struct session *s = ctx;
    struct api *api = s->api;
    struct api_sessions *all = api->sockets;
    const struct tl_ws_handler h = {
        .on_message = on_message, .on_drained = on_drained, .on_closed = on_closed, .ctx = s};
    const struct talk_transport to = {.text = send_text,
                                      .event = send_event,
                                      .backlog = backlog,
                                      .tell_drained = tell_drained,
                                      .close = close_socket,
                                      .ctx = s};
    struct tl_err err;
    if (fd >= 0 && !api->ws) close(fd); /* the sockets are closed before the HTTP server */
    if (fd < 0 || !api->ws || tl_ws_start(api->ws, fd, early, &h, &s->ws, &err) != TL_OK) {
        free(s);
        return;
    }
    s->next = all->first;
    if (all->first) all->first->prev = s;
    all->first = s;
    all->n++;
    talk_begin(&s->talk, api, &to, s->known ? &s->who : NULL);
}

static bool has_token(struct tl_str list, const char *word)
{
    struct tl_str part;
    while (list.p && tl_str_split(&list, ',', &part))
        if (tl_str_ieq(tl_str_trim(part), tl_str(word))) return true;
    return false;
}

/* The identity at the upgrade: a ticket, a token in the header, or (local, nothing configured) anybody. false: it will
 * say who it is in its first message. A wrong one is answered. */
static bool identify(struct api_call *c, struct tl_identity *who, bool *known)
{
    const char *ticket = api_text(c, "ticket");
    struct tl_err err;
    *known = true;
    if (ticket) {
        if (tl_auth_redeem(c->api->auth, tl_str(ticket), who, &err) == TL_OK) return true;
        api_problem(c, 401, "UNAUTHENTICATED", "ticket",
                    "the ticket is not valid: each is good once, for a short while");
        return false;
    }
    if (api_identify(c->api, c->http, who, &err) != TL_OK) {
        api_problem(c, 401, "UNAUTHENTICATED", NULL, "the token is not valid");
        return false;
    }
    *known = (who->may & TL_MAY_READ) != 0;
    return true;
}

void api_get_ws(struct api_call *c)
{
    struct api *api = c->api;
    struct tl_str key = tl_http_header(c->http, "Sec-WebSocket-Key"),
                  version = tl_http_header(c->http, "Sec-WebSocket-Version"),
                  offered = tl_http_header(c->http, "Sec-WebSocket-Protocol");
    char accept[TL_WS_ACCEPT_MAX];
    struct tl_identity who;
    bool known;
    if (!has_token(tl_http_header(c->http, "Upgrade"), "websocket") ||
        !has_token(tl_http_header(c->http, "Connection"), "upgrade")) {
        api_problem(c, 426, "INVALID", NULL, "this is a WebSocket: see docs/protocol.md");
    } else if (!api_origin_allowed(api, c->http)) {
        api_problem(c, 403, "DENIED", NULL, "pages of this Origin may not: see server.cors");
    } else if (!tl_str_eq(tl_str_trim(version), TL_STR("13"))) {
        api_problem(c, 400, "INVALID", "Sec-WebSocket-Version", "13 is needed");
    } else if (!key.p || tl_ws_accept(key, accept, NULL) != TL_OK) {
        api_problem(c, 400, "INVALID", "Sec-WebSocket-Key", "16 bytes in base64 are needed");
    } else if (offered.p && !has_token(offered, PROTOCOL_NAME)) {
        api_problem(c, 400, "INVALID", "Sec-WebSocket-Protocol", "tierline.v1 is spoken here");
    } else if (api->draining) {
        api_problem(c, 503, "CANCELLED", NULL, "the server is going away");
    } else if (identify(c, &who, &known)) {
        struct session *s = tl_calloc(1, sizeof *s);
        if (!s) {
            api_fail(c, TL_NOMEM, NULL, NULL);
            return;
        }
        s->api = api;
        s->who = who;
        s->known = known;
        s->number = ++api->sockets->numbers;
        const struct tl_http_header_row rows[] = {{"Sec-WebSocket-Accept", accept},
                                                  {"Sec-WebSocket-Protocol", PROTOCOL_NAME}};
        api_upgrade(c, "websocket", rows, offered.p ? 2 : 1, on_upgraded, s);
    }
}

/* ---- all of them ---- */

struct api_sessions *sessions_new(struct api *api)
{
    struct api_sessions *all = tl_calloc(1, sizeof *all);
    if (all) all->api = api;
    return all;
}

void sessions_bye(struct api_sessions *all, uint32_t retry_ms)
{
    for (struct session *s = all->first; s; s = s->next) talk_bye(&s->talk, retry_ms);
}

size_t sessions_count(const struct api_sessions *all)
{
    return all->n;
}

void sessions_totals(const struct api_sessions *all, uint64_t *conflated, uint64_t *resyncs)
{
    *conflated = all->conflated;
    *resyncs = all->resyncs;
    for (const struct session *s = all->first; s; s = s->next) {
        *conflated += s->talk.feed.conflated;
        *resyncs += s->talk.feed.resyncs;
    }
}

void sessions_free(struct api_sessions *all)
{
    TL_ASSERT(!all || !all->first);
    free(all);
}
