/* SPDX-License-Identifier: Apache-2.0 */
/* One socket: its states (ws_i.h), its deadlines, and what its handler is told. The handler is called from the loop
 * only, never from within a call of its own; it may do anything to any socket, so after it state is looked at again.
 * A socket is freed by the close callback of its handle and nowhere else. */
#include "ws/ws_i.h"

#include "base/err.h"
#include "base/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READS_A_WAKEUP = 4 };

static uint64_t ns(uint32_t ms)
{
    return (uint64_t)ms * 1000000;
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct tl_ws *s)
{
    uv_poll_start(&s->poll, UV_READABLE | (s->blocked ? UV_WRITABLE : 0), on_poll);
}

/* ---- the end ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct tl_ws *s = handle->data;
    close(s->fd);
    if (s->handler.on_closed) s->handler.on_closed(s->handler.ctx, s->code, s->why);
    tl_ws_in_free(s->in);
    free(s->early);
    tl_ws_forget(s);
    free(s);
}

void tl_ws_end(struct tl_ws *s, unsigned code, const char *why)
{
    if (s->state == TL_WS_GONE) return;
    if (s->state == TL_WS_OPEN) {
        s->code = (uint16_t)code;
        s->why = why;
    }
    s->state = TL_WS_GONE;
    s->deaf = true;
    tl_ws_out_release(s);
    tl_ws_link_out(&s->in_wheel);
    tl_ws_link_out(&s->in_dirty);
    s->dirty = false;
    tl_log(s->loop->opt.log, TL_LOG_DEBUG, "ws", "closed", "code=%u reason=\"%s\"", s->code, s->why);
    uv_poll_stop(&s->poll);
    uv_close((uv_handle_t *)&s->poll, on_handle_closed);
}

void tl_ws_cut(struct tl_ws *s)
{
    tl_ws_end(s, TL_WS_NO_FRAME, "cut");
}

/* ---- closing ---- */

static void enter(struct tl_ws *s, enum tl_ws_state state)
{
    s->state = state;
    s->phase_ns = s->loop->now_ns;
    tl_ws_plan(s, tl_ws_due(s));
}

static void linger(struct tl_ws *s)
{
    s->deaf = true;
    shutdown(s->fd, SHUT_WR);
    enter(s, TL_WS_LINGERING);
}

/* on_wire 0: a close frame without a code. */
static void say_goodbye(struct tl_ws *s, unsigned code, const char *why, unsigned on_wire, struct tl_str reason)
{
    struct tl_ws_frame *f = tl_ws_frame_close(on_wire, reason);
    if (!f) {
        tl_ws_end(s, code, why);
        return;
    }
    s->code = (uint16_t)code;
    s->why = why;
    enter(s, TL_WS_CLOSING);
    tl_ws_out_goodbye(s, f);
}

void tl_ws_written(struct tl_ws *s)
{
    if (s->state != TL_WS_CLOSING) return;
    if (s->deaf || s->peer_closed)
        linger(s);
    else
        enter(s, TL_WS_AWAITING);
}

void tl_ws_close(struct tl_ws *s, unsigned code, const char *reason)
{
    TL_ASSERT(tl_ws_code_valid(code));
    if (s->state != TL_WS_OPEN) return;
    s->loop->now_ns = tl_clock_mono_ns(s->loop->opt.clock);
    say_goodbye(s, code, "closed from this end", code, tl_str(reason ? reason : ""));
}

void tl_ws_fault(struct tl_ws *s, unsigned code, const char *why)
{
    if (s->deaf) return;
    s->deaf = true;
    s->loop->stats.protocol_errors++;
    if (s->state == TL_WS_OPEN)
        say_goodbye(s, code, why, code, tl_str(why));
    else if (s->state == TL_WS_AWAITING)
        linger(s);
}

void tl_ws_peer_closes(struct tl_ws *s, unsigned code)
{
    s->deaf = s->peer_closed = true;
    if (s->state == TL_WS_OPEN)
        say_goodbye(s, code, "closed by the peer", code == TL_WS_NO_CODE ? 0 : code, TL_STR(""));
    else if (s->state == TL_WS_AWAITING)
        linger(s);
}

/* ---- deadlines ---- */

enum deadline { PING, PONG, STALL, MESSAGE, CLOSE };

/* While a peer is slow to take what is queued, STALL alone judges it: its pong may be behind that. */
static enum deadline nearest(const struct tl_ws *s, uint64_t *due)
{
    const struct tl_ws_loop_options *o = &s->loop->opt;
    enum deadline which = s->blocked ? STALL : s->ping_out ? PONG : PING;
    if (s->state != TL_WS_OPEN) {
        *due = s->phase_ns + ns(o->close_ms);
        return CLOSE;
    }
    *due = which == STALL  ? s->progress_ns + ns(o->stall_ms)
           : which == PONG ? s->ping_ns + ns(o->pong_ms)
                           : s->heard_ns + ns(o->ping_ms);
    if (s->in) {
        uint64_t message = tl_ws_in_since_ns(s->in) + ns(o->ping_ms) + ns(o->pong_ms);
        if (message < *due) {
            *due = message;
            which = MESSAGE;
        }
    }
    return which;
}

uint64_t tl_ws_due(const struct tl_ws *s)
{
    uint64_t due;
    (void)nearest(s, &due);
    return due;
}

static void ping(struct tl_ws *s)
{
    s->ping_out = true;
    s->ping_ns = s->loop->now_ns;
    tl_ws_out_control(s, tl_ws_frame_make(TL_WS_PING, NULL, 0));
    tl_ws_plan(s, tl_ws_due(s));
}

void tl_ws_check(struct tl_ws *s)
{
    uint64_t due;
    enum deadline which = nearest(s, &due);
    if (due > s->loop->now_ns) {
        tl_ws_plan(s, due);
        return;
    }
    switch (which) {
    case PING:
        ping(s);
        break;
    case PONG:
        tl_ws_end(s, TL_WS_NO_FRAME, "the peer is silent");
        break;
    case MESSAGE:
        tl_ws_fault(s, 1008, "a message that takes too long");
        tl_ws_plan(s, tl_ws_due(s));
        break;
    case STALL:
        s->loop->stats.stalled++;
        tl_ws_end(s, TL_WS_NO_FRAME, "the peer takes nothing");
        break;
    case CLOSE:
        if (s->state != TL_WS_LINGERING) s->why = "the peer does not end the connection";
        tl_ws_end(s, TL_WS_NO_FRAME, "");
        break;
    }
}

/* ---- writing ---- */

/* After the handler, anything may be. */
static void tell(struct tl_ws *s)
{
    size_t queued = s->out.bytes;
    bool half = s->was_full && (queued == 0 || queued < s->loop->opt.queue_bytes / 2);
    bool empty = s->tell_drained && queued == 0;
    if (s->state != TL_WS_OPEN || !(half || empty)) return;
    s->was_full = s->was_full && !half;
    s->tell_drained = s->tell_drained && !empty;
    if (s->handler.on_drained) s->handler.on_drained(s->handler.ctx);
}

static void write_out(struct tl_ws *s)
{
    bool was = s->blocked;
    enum tl_ws_wrote wrote = tl_ws_out_write(s);
    if (wrote == TL_WS_WROTE_NEVER) {
        tl_ws_end(s, TL_WS_NO_FRAME, "the connection broke");
        return;
    }
    s->blocked = wrote == TL_WS_WROTE_SOME;
    if (s->blocked != was) {
        if (s->blocked)
            s->progress_ns = s->loop->now_ns;
        else
            s->ping_ns = s->heard_ns = s->loop->now_ns; /* it was alive just now */
        watch(s);
        tl_ws_plan(s, tl_ws_due(s));
    }
    if (s->out.bytes == 0) tl_ws_written(s);
    tell(s);
}

void tl_ws_flush(struct tl_ws *s)
{
    if (s->early) {
        char *early = TL_TAKE(s->early);
        tl_ws_in_feed(s, early, s->n_early);
        free(early);
    }
    if (s->state != TL_WS_GONE && !s->blocked) write_out(s);
}

/* ---- reading ---- */

static void hear(struct tl_ws *s, size_t n)
{
    s->heard_ns = s->loop->now_ns;
    s->ping_out = false;
    tl_ws_in_feed(s, s->loop->bytes, n);
}

static void read_in(struct tl_ws *s)
{
    struct tl_ws_loop *l = s->loop;
    for (unsigned i = 0; i < READS_A_WAKEUP && s->state != TL_WS_GONE; i++) {
        ssize_t n = recv(s->fd, l->bytes, sizeof l->bytes, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n <= 0) {
            tl_ws_end(s, TL_WS_NO_FRAME, n < 0 ? "the connection broke" : "the peer went away without a word");
            return;
        }
        hear(s, (size_t)n);
        if ((size_t)n < sizeof l->bytes) return;
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct tl_ws *s = poll->data;
    s->loop->now_ns = tl_clock_mono_ns(s->loop->opt.clock);
    if (s->early) tl_ws_flush(s); /* what came first */
    /* A broken connection may have a close frame to be read. */
    if (status < 0 || (events & UV_READABLE)) read_in(s);
    if (status < 0)
        tl_ws_end(s, TL_WS_NO_FRAME, "the connection broke");
    else if (s->state != TL_WS_GONE && (events & UV_WRITABLE) && s->blocked)
        write_out(s);
}

/* ---- life ---- */

/* What cannot be set on this kind of socket does not matter. */
static void tune(const struct tl_ws *s)
{
    int one = 1;
    (void)setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &s->loop->opt.sndbuf_bytes, sizeof(int));
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static struct tl_ws *make(struct tl_ws_loop *l, int fd, struct tl_str early, struct tl_err *err)
{
    struct tl_ws *s = tl_calloc(1, sizeof *s);
    char *copy = early.n ? malloc(early.n) : NULL;
    int rc = s && (copy || !early.n) ? uv_poll_init_socket(l->loop, &s->poll, fd) : UV_ENOMEM;
    if (!s || rc != 0) {
        free(s);
        free(copy);
        (void)tl_fail(err, rc == UV_ENOMEM ? TL_NOMEM : TL_IO, "a WebSocket cannot begin: %s", uv_strerror(rc));
        return NULL;
    }
    if (copy) memcpy(copy, early.p, early.n);
    s->early = copy;
    s->n_early = early.n;
    s->loop = l;
    s->fd = fd;
    s->poll.data = s;
    s->why = "";
    tl_ws_link_init(&s->in_wheel);
    tl_ws_link_init(&s->in_dirty);
    return s;
}

enum tl_status tl_ws_start(struct tl_ws_loop *l, int fd, struct tl_str early, const struct tl_ws_handler *handler,
                           struct tl_ws **out, struct tl_err *err)
{
    struct tl_err why = {.status = TL_CANCELLED, .text = "the WebSockets are being closed"};
    struct tl_ws *s = l->closing ? NULL : make(l, fd, early, &why);
    if (!s) {
        close(fd);
        if (err) *err = why;
        return why.status;
    }
    s->handler = *handler;
    tune(s);
    l->now_ns = tl_clock_mono_ns(l->opt.clock);
    s->heard_ns = s->control_ns = l->now_ns;
    if (l->stats.sockets++ == 0) tl_ws_wheel_start(l);
    l->stats.opened++;
    tl_ws_plan(s, tl_ws_due(s));
    watch(s);
    if (s->early) tl_ws_mark_dirty(s);
    *out = s;
    return TL_OK;
}

enum tl_status tl_ws_send(struct tl_ws *s, struct tl_ws_frame *f)
{
    if (s->state != TL_WS_OPEN) return TL_CANCELLED;
    enum tl_status st = tl_ws_out_push(s, f);
    if (st == TL_FULL) {
        s->was_full = true;
        s->loop->stats.full++;
    }
    return st;
}

void tl_ws_tell_drained(struct tl_ws *s)
{
    if (s->state != TL_WS_OPEN) return;
    s->tell_drained = true;
    if (!s->blocked) tl_ws_mark_dirty(s);
}

size_t tl_ws_queued_bytes(const struct tl_ws *s)
{
    return s->out.bytes;
}
