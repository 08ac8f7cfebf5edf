/* SPDX-License-Identifier: Apache-2.0 */
/* A WebSocket client for tests: handshake, masked frames, reads with deadlines, pings answered. One thread may keep
 * thousands of them (ws_pump). Include behind "serve.h". */
#ifndef TL_TESTS_SYSTEM_WS_CLIENT_H
#define TL_TESTS_SYSTEM_WS_CLIENT_H

enum { WS_FIN = 0x80, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10, WS_WAIT_MS = 15000 };

struct ws {
    int fd;     /* -1: gone */
    int status; /* of the handshake's answer; 0: none came */
    uint8_t *in;
    size_t n, cap, at;                                        /* at: how much of `in` is done with */
    unsigned close_code;                                      /* of the close frame that came; 0: none */
    void (*on_text)(struct ws *, const char *text, size_t n); /* NUL behind it */
    void *user;
};

static inline void ws_free(struct ws *w)
{
    if (w->fd >= 0) close(w->fd);
    free(w->in);
    w->fd = -1;
    w->in = NULL;
    w->n = w->cap = w->at = 0;
}

/* ---- sending ---- */

/* One frame, masked as a client must; first: FIN and opcode. */
static inline bool ws_send_frame(struct ws *w, uint8_t first, const void *payload, size_t n)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint8_t *frame = malloc(n + 14);
    size_t at = 2;
    assert_non_null(frame);
    frame[0] = first;
    if (n < 126) {
        frame[1] = (uint8_t)(0x80 | n);
    } else if (n < 65536) {
        frame[1] = 0x80 | 126;
        frame[at++] = (uint8_t)(n >> 8);
        frame[at++] = (uint8_t)n;
    } else {
        frame[1] = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8) frame[at++] = (uint8_t)((uint64_t)n >> shift);
    }
    memcpy(frame + at, mask, 4);
    at += 4;
    for (size_t i = 0; i < n; i++) frame[at + i] = ((const uint8_t *)payload)[i] ^ mask[i & 3];
    bool ok = send_all(w->fd, frame, at + n);
    free(frame);
    return ok;
}

static inline bool ws_send(struct ws *w, const char *text)
{
    return ws_send_frame(w, WS_FIN | WS_TEXT, text, strlen(text));
}

/* ---- receiving ---- */

/* The payload of the first whole frame in `in`; false: more must come. */
static inline bool ws_frame(struct ws *w, uint8_t *opcode, uint8_t **payload, size_t *n)
{
    const uint8_t *p = w->in + w->at;
    size_t have = w->n - w->at, head = 2;
    if (have < 2) return false;
    assert_int_equal(p[0] & 0xf0, WS_FIN); /* whole, and no reserved bit */
    assert_int_equal(p[1] & 0x80, 0);      /* a server does not mask */
    uint64_t len = p[1];
    if (len == 126) {
        if (have < 4) return false;
        len = (uint64_t)p[2] << 8 | p[3];
        head = 4;
    } else if (len == 127) {
        if (have < 10) return false;
        len = 0;
        for (int i = 2; i < 10; i++) len = len << 8 | p[i];
        head = 10;
    }
    if (have - head < len) return false;
    *opcode = p[0] & 15;
    *payload = w->in + w->at + head;
    *n = (size_t)len;
    w->at += head + (size_t)len;
    return true;
}

static inline void ws_text_frame(struct ws *w, uint8_t *p, size_t n)
{
    uint8_t behind = p[n]; /* `in` has a byte to spare */
    p[n] = '\0';
    if (w->on_text) w->on_text(w, (const char *)p, n);
    if (w->in) p[n] = behind;
}

/* Every whole frame that is there. */
static inline void ws_take(struct ws *w)
{
    uint8_t opcode, *p;
    size_t n;
    while (w->fd >= 0 && ws_frame(w, &opcode, &p, &n)) {
        if (opcode == WS_TEXT) {
            ws_text_frame(w, p, n);
        } else if (opcode == WS_PING) {
            (void)ws_send_frame(w, WS_FIN | WS_PONG, p, n);
        } else if (opcode == WS_CLOSE) {
            w->close_code = n >= 2 ? (unsigned)p[0] << 8 | p[1] : 1005;
            (void)ws_send_frame(w, WS_FIN | WS_CLOSE, p, n >= 2 ? 2 : 0);
        }
    }
    if (w->at == 0) return;
    memmove(w->in, w->in + w->at, w->n - w->at);
    w->n -= w->at;
    w->at = 0;
}

/* What can be read now; the socket is closed when the peer has. */
static inline void ws_read(struct ws *w)
{
    while (w->fd >= 0) {
        if (w->cap - w->n < 16385) {
            w->cap = w->cap ? w->cap * 2 : 32768;
            w->in = realloc(w->in, w->cap);
            assert_non_null(w->in);
        }
        ssize_t got = recv(w->fd, w->in + w->n, w->cap - w->n - 1, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            close(w->fd);
            w->fd = -1;
            return;
        }
        w->n += (size_t)got;
        ws_take(w);
    }
}

/* Lets messages of all of them come for ms. */
static inline void ws_pump(struct ws *const *all, size_t n, uint64_t ms)
{
    struct pollfd *fds = calloc(n ? n : 1, sizeof *fds);
    uint64_t until = now_ms() + ms;
    assert_non_null(fds);
    do {
        for (size_t i = 0; i < n; i++) fds[i] = (struct pollfd){.fd = all[i]->fd, .events = POLLIN};
        uint64_t now = now_ms();
        if (poll(fds, n, now < until ? (int)(until - now) : 0) <= 0) continue;
        for (size_t i = 0; i < n; i++)
            if (fds[i].revents) ws_read(all[i]);
    } while (now_ms() < until);
    free(fds);
}

/* ---- opening ---- */

/* headers: lines with their \r\n, beside what every handshake has. w->status: what was answered. */
static inline void ws_open_with(struct ws *w, const struct server *s, const char *target, const char *headers)
{
    char head[2048];
    *w = (struct ws){.fd = server_connect(s)};
    if (w->fd < 0) return;
    int n = snprintf(head, sizeof head,
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                     "Sec-WebSocket-Protocol: tierline.v1\r\n%s\r\n",
                     target, s->port, headers);
    assert_true(n > 0 && (size_t)n < sizeof head);
    (void)send_all(w->fd, head, (size_t)n);
    w->cap = 32768;
    w->in = calloc(1, w->cap);
    assert_non_null(w->in);
    char *end = NULL;
    for (uint64_t until = now_ms() + WS_WAIT_MS; !end && now_ms() < until;) {
        ssize_t got = recv(w->fd, w->in + w->n, w->cap - w->n - 1, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        w->n += (size_t)got;
        end = memmem(w->in, w->n, "\r\n\r\n", 4);
    }
    if (end && strncmp((char *)w->in, "HTTP/1.1 ", 9) == 0) w->status = atoi((char *)w->in + 9);
    if (w->status != 101) {
        close(w->fd);
        w->fd = -1;
        return;
    }
    assert_non_null(strcasestr((char *)w->in, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    w->at = (size_t)((uint8_t *)end + 4 - w->in); /* frames may have come behind it */
    memmove(w->in, w->in + w->at, w->n - w->at);
    w->n -= w->at;
    w->at = 0;
}

/* Fails unless it is let in. */
static inline void ws_open(struct ws *w, const struct server *s)
{
    ws_open_with(w, s, "/ws", "");
    if (w->status != 101) fail_msg("no WebSocket: %d", w->status);
}

/* ---- one message at a time ---- */

static inline void ws_keep_text(struct ws *w, const char *text, size_t n)
{
    json_t *list = w->user, *doc = json_loadb(text, n, 0, NULL);
    if (!doc) fail_msg("no JSON: %s", text);
    json_array_append_new(list, doc);
}

/* [own] the next message, as JSON; NULL: none came in time, or the socket is closed. */
static inline json_t *ws_next(struct ws *w, uint64_t ms)
{
    if (!w->user) {
        w->user = json_array();
        w->on_text = ws_keep_text;
        ws_take(w);
    }
    json_t *list = w->user;
    for (uint64_t until = now_ms() + ms; json_array_size(list) == 0 && w->fd >= 0 && now_ms() < until;)
        ws_pump((struct ws *const[]){w}, 1, json_array_size(list) ? 0 : 5);
    json_t *doc = json_array_get(list, 0);
    if (!doc) return NULL;
    json_incref(doc);
    json_array_remove(list, 0);
    return doc;
}

/* [own] the next message whose member is this text; those before it are dropped. Fails when none comes. */
static inline json_t *ws_until(struct ws *w, const char *key, const char *value)
{
    for (uint64_t until = now_ms() + WS_WAIT_MS; now_ms() < until && (w->fd >= 0 || json_array_size(w->user));) {
        json_t *doc = ws_next(w, 200);
        if (doc && strcmp(text_at(doc, key), value) == 0) return doc;
        json_decref(doc);
    }
    fail_msg("no message with %s %s", key, value);
    return NULL;
}

/* Waits until the peer has closed it; false: it has not. */
static inline bool ws_ends(struct ws *w, uint64_t ms)
{
    for (uint64_t until = now_ms() + ms; w->fd >= 0 && now_ms() < until;) ws_pump((struct ws *const[]){w}, 1, 5);
    return w->fd < 0;
}

/* With ws_next. */
static inline void ws_done(struct ws *w)
{
    json_decref(w->user);
    w->user = NULL;
    ws_free(w);
}

#endif
