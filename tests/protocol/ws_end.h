/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of a WebSocket in one thread: the server's is the library's, on a loop that is turned by hand; the client's
 * is a raw socket. Time is a number. Include behind "support.h". */
#ifndef TL_TESTS_WS_END_H
#define TL_TESTS_WS_END_H

#include "base/util.h"
#include "ws/ws.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

enum { WS_FIN = 0x80, WS_CONT = 0, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };
enum ws_act { WS_RECORD, WS_ECHO, WS_DO_CLOSE, WS_DO_CUT, WS_DO_CUT_OTHER, WS_DO_END_ALL, WS_DO_SEND_CLOSE_CUT };

struct ws_world {
    uv_loop_t loop;
    struct tl_ws_loop *ws;
    struct tl_clock clock;
    uint64_t now_ns;
    bool closed;
};

struct ws_end {
    struct ws_world *w;
    struct tl_ws *ws;
    int fd; /* the client's */
    enum ws_act act;
    bool end_all_when_closed;
    struct ws_end *other;
    unsigned messages, drained, closes;
    enum tl_ws_opcode opcode; /* of the last message */
    char *last;
    size_t n_last;
    unsigned code;
    char why[80];
    unsigned char *in; /* what came to the client: at .. n */
    size_t at, n, cap;
    bool eof;
};

static inline int64_t ws_wall(void *ctx)
{
    (void)ctx;
    return 0;
}
static inline uint64_t ws_mono(void *ctx)
{
    return ((struct ws_world *)ctx)->now_ns;
}

static inline void ws_world_start(struct ws_world *w, struct tl_ws_loop_options o)
{
    memset(w, 0, sizeof *w);
    w->now_ns = UINT64_C(5000000000);
    w->clock = (struct tl_clock){.wall_ms = ws_wall, .mono_ns = ws_mono, .ctx = w};
    o.clock = &w->clock;
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(tl_ws_loop_start(&w->loop, &o, &w->ws, NULL), TL_OK);
}

static inline void ws_turn(struct ws_world *w)
{
    uv_run(&w->loop, UV_RUN_NOWAIT);
}

/* The condition may have effects: once it held it is not looked at again. */
#define WS_UNTIL(w, condition)                                                                                         \
    do {                                                                                                               \
        uint64_t until_ = uv_hrtime() + UINT64_C(10000000000);                                                         \
        bool held_ = false;                                                                                            \
        while (!(held_ = (condition)) && uv_hrtime() < until_) {                                                       \
            ws_turn(w);                                                                                                \
            usleep(20);                                                                                                \
        }                                                                                                              \
        if (!held_) fail_msg("did not come: %s", #condition);                                                          \
    } while (0)

static inline void ws_on_world_closed(void *ctx)
{
    ((struct ws_world *)ctx)->closed = true;
}

static inline void ws_world_end(struct ws_world *w)
{
    if (w->ws) tl_ws_loop_close(w->ws, ws_on_world_closed, w);
    WS_UNTIL(w, w->closed);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&w->loop), 0);
}

static inline struct tl_ws_stats ws_stats(const struct ws_world *w)
{
    struct tl_ws_stats s;
    tl_ws_stats(w->ws, &s);
    return s;
}

/* Time goes on; what is due then happens. Two ticks of the shortest deadline of 160 ms are 20 ms of real time: turns
 * are counted, not the clock watched, so a process that waits for its processor misses none. */
static inline void ws_pass(struct ws_world *w, uint64_t ms)
{
    w->now_ns += ms * 1000000;
    for (int i = 0; i < 80; i++, usleep(500)) ws_turn(w);
}

/* ---- the server's end ---- */

static inline void ws_send(struct ws_end *e, enum tl_ws_opcode opcode, struct tl_str text)
{
    struct tl_ws_frame *f = tl_ws_frame_new(opcode, &text, 1);
    assert_non_null(f);
    assert_int_equal(tl_ws_send(e->ws, f), TL_OK);
    tl_ws_frame_unref(f);
}

static inline void ws_on_message(void *ctx, enum tl_ws_opcode opcode, struct tl_str text)
{
    struct ws_end *e = ctx;
    e->messages++;
    e->opcode = opcode;
    e->last = realloc(e->last, text.n + 1);
    memcpy(e->last, text.p, text.n);
    e->last[text.n] = '\0';
    e->n_last = text.n;
    switch (e->act) {
    case WS_RECORD:
        break;
    case WS_ECHO:
        ws_send(e, opcode, text);
        break;
    case WS_DO_CLOSE:
        tl_ws_close(e->ws, 1001, "enough");
        break;
    case WS_DO_CUT:
        tl_ws_cut(e->ws);
        break;
    case WS_DO_CUT_OTHER:
        tl_ws_cut(e->other->ws);
        break;
    case WS_DO_END_ALL:
        tl_ws_loop_close(e->w->ws, ws_on_world_closed, e->w);
        break;
    case WS_DO_SEND_CLOSE_CUT:
        ws_send(e, TL_WS_TEXT, TL_STR("last"));
        tl_ws_close(e->ws, 1000, NULL);
        tl_ws_cut(e->ws);
        break;
    }
}

static inline void ws_on_drained(void *ctx)
{
    struct ws_end *e = ctx;
    assert_int_equal(e->closes, 0);
    e->drained++;
    if (e->act == WS_DO_CUT) tl_ws_cut(e->ws);
}

static inline void ws_on_closed(void *ctx, unsigned code, const char *why)
{
    struct ws_end *e = ctx;
    struct tl_ws_frame *f = tl_ws_frame_new(TL_WS_TEXT, NULL, 0);
    assert_int_equal(tl_ws_send(e->ws, f), TL_CANCELLED); /* it is there still */
    tl_ws_frame_unref(f);
    assert_int_equal(e->closes++, 0);
    e->code = code;
    snprintf(e->why, sizeof e->why, "%s", why);
    e->ws = NULL;
    if (e->end_all_when_closed) tl_ws_loop_close(e->w->ws, ws_on_world_closed, e->w);
}

static inline void ws_begin_on(struct ws_end *e, struct ws_world *w, const int fds[2], struct tl_str early)
{
    const struct tl_ws_handler h = {ws_on_message, ws_on_drained, ws_on_closed, e};
    *e = (struct ws_end){.w = w, .fd = fds[1]};
    assert_int_equal(fcntl(e->fd, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(tl_ws_start(w->ws, fds[0], early, &h, &e->ws, NULL), TL_OK);
}

static inline void ws_begin(struct ws_end *e, struct ws_world *w, enum ws_act act)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ws_begin_on(e, w, fds, (struct tl_str){NULL, 0});
    e->act = act;
}

/* The same on TCP: a real send buffer, resets. */
static inline void ws_begin_tcp(struct ws_end *e, struct ws_world *w, enum ws_act act)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fds[2], small = 16384, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fds[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_int_equal(connect(fds[1], (struct sockaddr *)&a, sizeof a), 0);
    fds[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fds[0] >= 0);
    close(listener);
    ws_begin_on(e, w, fds, (struct tl_str){NULL, 0});
    e->act = act;
}

static inline void ws_release(struct ws_end *e)
{
    if (e->fd >= 0) close(e->fd);
    free(e->in);
    free(e->last);
    e->fd = -1;
    e->in = NULL;
    e->last = NULL;
}

/* ---- the client's end ---- */

/* Puts a frame there; unmasked and with a length in any form (0: the shortest) when asked. */
static inline size_t ws_put(unsigned char *to, unsigned first, struct tl_str payload, bool masked, unsigned form)
{
    static const unsigned char mask[4] = {0x37, 0xFA, 0x21, 0x3D};
    size_t at = 2, n = payload.n;
    if (!form) form = n < 126 ? 1 : n <= UINT16_MAX ? 2 : 8;
    to[0] = (unsigned char)first;
    to[1] = (unsigned char)((masked ? 0x80 : 0) | (form == 1 ? n : form == 2 ? 126 : 127));
    if (form > 1)
        for (unsigned i = 0; i < form; i++) to[at++] = (unsigned char)((uint64_t)n >> 8 * (form - 1 - i));
    if (masked) memcpy(to + at, mask, 4), at += 4;
    for (size_t i = 0; i < n; i++)
        to[at + i] = (unsigned char)((unsigned char)payload.p[i] ^ (masked ? mask[i % 4] : 0));
    return at + n;
}

static inline void ws_take(struct ws_end *e)
{
    for (;;) {
        if (e->cap - e->n < 65536) {
            e->cap = e->cap * 2 + 131072;
            e->in = realloc(e->in, e->cap);
        }
        ssize_t n = recv(e->fd, e->in + e->n, 65536, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) e->eof = true;
        if (n <= 0) return;
        e->n += (size_t)n;
    }
}

/* What the server does not take any more (it closes) is lost. step 0: all at once. */
static inline void ws_put_bytes(struct ws_end *e, const void *p, size_t n, size_t step)
{
    uint64_t until = uv_hrtime() + UINT64_C(20000000000);
    for (size_t at = 0; at < n && uv_hrtime() < until;) {
        size_t want = TL_MIN(step ? step : n, n - at);
        ssize_t done = send(e->fd, (const char *)p + at, want, MSG_NOSIGNAL);
        if (done < 0 && errno != EAGAIN) return;
        if (done > 0) at += (size_t)done;
        if (step || done < 0) ws_turn(e->w);
    }
}

static inline void ws_put_frame(struct ws_end *e, unsigned first, struct tl_str payload)
{
    unsigned char *p = malloc(payload.n + 14);
    ws_put_bytes(e, p, ws_put(p, first, payload, true, 0), 0);
    free(p);
}

/* The next whole frame at the client; its payload stays in e->in until the next call. false: there is none. */
static inline bool ws_parse(struct ws_end *e, unsigned *first, struct tl_str *payload)
{
    const unsigned char *p = e->in + e->at;
    size_t have = e->n - e->at, n, at = 2;
    if (have < 2) return false;
    assert_int_equal(p[1] & 0x80, 0); /* a server does not mask */
    n = p[1];
    if (n > 125) {
        size_t more = n == 126 ? 2 : 8, least = n == 126 ? 126 : 65536;
        if (have < at + more) return false;
        n = 0;
        for (size_t i = 0; i < more; i++) n = n << 8 | p[at++];
        assert_true(n >= least);
    }
    if (have < at + n) return false;
    *first = p[0];
    *payload = (struct tl_str){(const char *)p + at, n};
    e->at += at + n;
    return true;
}

static inline struct tl_str ws_expect(struct ws_end *e, unsigned first)
{
    unsigned got = 0;
    struct tl_str payload = {NULL, 0};
    bool there = false;
    WS_UNTIL(e->w, (ws_take(e), (there = ws_parse(e, &got, &payload)) || e->eof));
    if (!there) print_message("the connection ended; frame %02x expected\n", first);
    assert_true(there);
    assert_int_equal(got, first);
    return payload;
}

static inline void ws_expect_text(struct ws_end *e, unsigned first, struct tl_str text)
{
    struct tl_str got = ws_expect(e, first);
    assert_int_equal(got.n, text.n);
    if (text.n) assert_memory_equal(got.p, text.p, text.n);
}

/* code 0: a close frame without one. */
static inline void ws_expect_close(struct ws_end *e, unsigned code)
{
    struct tl_str got = ws_expect(e, WS_FIN | WS_CLOSE);
    assert_int_equal(got.n >= 2 ? (unsigned char)got.p[0] << 8 | (unsigned char)got.p[1] : 0, code);
    if (code == 0) assert_int_equal(got.n, 0);
}

/* Nothing but the end comes, and the server's end is told. */
static inline void ws_expect_end(struct ws_end *e, unsigned code)
{
    WS_UNTIL(e->w, (ws_take(e), e->eof));
    assert_int_equal(e->n, e->at);
    close(e->fd);
    e->fd = -1;
    WS_UNTIL(e->w, e->closes == 1);
    assert_int_equal(e->code, code);
}

/* ---- both ---- */

enum { WS_MS = 160 }; /* every deadline, but for stalling */
static const struct tl_ws_loop_options ws_short_options = {.ping_ms = WS_MS,
                                                           .pong_ms = WS_MS,
                                                           .stall_ms = 2 * WS_MS,
                                                           .close_ms = WS_MS,
                                                           .queue_bytes = 200000,
                                                           .sndbuf_bytes = 8192};

static inline struct tl_ws_frame *ws_filled(size_t n, char c)
{
    char *p = malloc(n);
    memset(p, c, n);
    struct tl_ws_frame *f = tl_ws_frame_new(TL_WS_BINARY, &(struct tl_str){p, n}, 1);
    free(p);
    assert_non_null(f);
    return f;
}

/* Until the kernel takes no more and the queue is full. */
static inline unsigned ws_fill_up(struct ws_end *e, size_t bytes)
{
    struct tl_ws_frame *f = ws_filled(bytes, 'f');
    unsigned sent = 0;
    enum tl_status st = TL_OK;
    for (unsigned idle = 0; idle < 20;) {
        size_t before = tl_ws_queued_bytes(e->ws);
        while ((st = tl_ws_send(e->ws, f)) == TL_OK) sent++;
        assert_int_equal(st, TL_FULL);
        ws_turn(e->w);
        idle = tl_ws_queued_bytes(e->ws) < before ? 0 : idle + 1;
        usleep(100);
    }
    tl_ws_frame_unref(f);
    return sent;
}

#endif
