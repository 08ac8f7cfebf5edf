/* SPDX-License-Identifier: Apache-2.0 */
/* Sending: the queue of one socket and the write of all that is in it. Control frames go in front of messages, never
 * into the midst of one; the close frame is last. Bounded: messages by bytes and by number (a first one always finds
 * place), controls by CONTROLS. A queue that is empty keeps SMALL places at most. */
#include "ws/ws_i.h"

#include "base/util.h"

#include <errno.h>
#include <sys/socket.h>

enum { CONTROLS = 16, SMALL = 8, WRITE_FRAMES = 64 };

static void count(struct tl_ws *s, size_t n)
{
    s->out.bytes += n;
    s->loop->stats.queued_bytes += n;
    if (!s->blocked) tl_ws_mark_dirty(s);
}

/* ---- queueing ---- */

static bool grow(struct tl_ws_out *o)
{
    uint32_t cap = o->cap ? o->cap * 2 : SMALL;
    struct tl_ws_frame **ring = tl_calloc(cap, sizeof(struct tl_ws_frame *));
    if (!ring) return false;
    for (uint32_t i = 0; i < o->n; i++) ring[i] = o->ring[(o->head + i) & (o->cap - 1)];
    free(o->ring);
    o->ring = ring;
    o->cap = cap;
    o->head = 0;
    return true;
}

enum tl_status tl_ws_out_push(struct tl_ws *s, struct tl_ws_frame *f)
{
    struct tl_ws_out *o = &s->out;
    size_t most = s->loop->opt.queue_bytes;
    bool fits = o->bytes == 0 || (o->bytes < most && f->n <= most - o->bytes);
    if (!fits || o->n >= s->loop->queue_frames) return TL_FULL;
    if (o->n == o->cap && !grow(o)) return TL_NOMEM;
    o->ring[(o->head + o->n++) & (o->cap - 1)] = tl_ws_frame_ref(f);
    count(s, f->n);
    return TL_OK;
}

void tl_ws_out_control(struct tl_ws *s, struct tl_ws_frame *f)
{
    struct tl_ws_out *o = &s->out;
    if (!f) return;
    if (!o->control) o->control = tl_calloc(CONTROLS, sizeof(struct tl_ws_frame *));
    if (!o->control || o->n_control == CONTROLS) {
        /* Of pings that are not answered yet the newest may stand for all (RFC 6455, 5.5.3). */
        tl_ws_frame_unref(o->control ? o->late_pong : f);
        if (o->control) o->late_pong = f;
        return;
    }
    o->control[o->n_control++] = f;
    count(s, f->n);
}

void tl_ws_out_goodbye(struct tl_ws *s, struct tl_ws_frame *f)
{
    TL_ASSERT(!s->out.goodbye);
    tl_ws_frame_unref(TL_TAKE(s->out.late_pong));
    s->out.goodbye = f;
    count(s, f->n);
}

void tl_ws_out_release(struct tl_ws *s)
{
    struct tl_ws_out *o = &s->out;
    for (uint32_t i = 0; i < o->n; i++) tl_ws_frame_unref(o->ring[(o->head + i) & (o->cap - 1)]);
    for (uint32_t i = 0; i < o->n_control; i++) tl_ws_frame_unref(o->control[i]);
    tl_ws_frame_unref(o->current);
    tl_ws_frame_unref(o->late_pong);
    tl_ws_frame_unref(o->goodbye);
    free(o->ring);
    free(o->control);
    s->loop->stats.queued_bytes -= o->bytes;
    *o = (struct tl_ws_out){0};
}

/* ---- writing ---- */

static size_t gather(struct tl_ws_out *o, struct iovec *iov)
{
    size_t n = 0;
    if (o->current) iov[n++] = (struct iovec){o->current->bytes + o->current_at, o->current->n - o->current_at};
    for (uint32_t i = 0; i < o->n_control && n < WRITE_FRAMES; i++)
        iov[n++] = (struct iovec){o->control[i]->bytes, o->control[i]->n};
    for (uint32_t i = 0; i < o->n && n < WRITE_FRAMES; i++) {
        struct tl_ws_frame *f = o->ring[(o->head + i) & (o->cap - 1)];
        iov[n++] = (struct iovec){f->bytes, f->n};
    }
    if (o->goodbye && n < WRITE_FRAMES) iov[n++] = (struct iovec){o->goodbye->bytes, o->goodbye->n};
    return n;
}

/* The next in order becomes current. */
static void advance(struct tl_ws_out *o)
{
    if (o->n_control > 0) {
        o->current = o->control[0];
        o->n_control--;
        memmove(o->control, o->control + 1, o->n_control * sizeof(struct tl_ws_frame *));
    } else if (o->n > 0) {
        o->current = o->ring[o->head];
        o->head = (o->head + 1) & (o->cap - 1);
        o->n--;
    } else {
        o->current = TL_TAKE(o->goodbye);
    }
    o->current_at = 0;
}

static void shrink(struct tl_ws_out *o)
{
    if (o->n == 0 && o->cap > SMALL) {
        free(o->ring);
        o->ring = NULL;
        o->cap = o->head = 0;
    }
    if (o->n_control == 0 && o->control) {
        free(o->control);
        o->control = NULL;
    }
}

static void consume(struct tl_ws *s, size_t n)
{
    struct tl_ws_out *o = &s->out;
    o->bytes -= n;
    s->loop->stats.queued_bytes -= n;
    s->loop->stats.bytes_out += n;
    s->loop->stats.writes++;
    while (n > 0) {
        if (!o->current) advance(o);
        size_t left = o->current->n - o->current_at;
        if (n < left) {
            o->current_at += n;
            break;
        }
        n -= left;
        s->loop->stats.frames_out++;
        tl_ws_frame_unref(TL_TAKE(o->current));
    }
    if (o->late_pong && o->n_control == 0) tl_ws_out_control(s, TL_TAKE(o->late_pong));
    if (o->bytes == 0) shrink(o);
}

enum tl_ws_wrote tl_ws_out_write(struct tl_ws *s)
{
    struct tl_ws_out *o = &s->out;
    while (o->bytes > 0) {
        struct iovec iov[WRITE_FRAMES];
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = gather(o, iov)};
        size_t asked = 0;
        for (size_t i = 0; i < message.msg_iovlen; i++) asked += iov[i].iov_len;
        ssize_t n = sendmsg(s->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno == EAGAIN || errno == ENOBUFS ? TL_WS_WROTE_SOME : TL_WS_WROTE_NEVER;
        s->progress_ns = s->loop->now_ns;
        consume(s, (size_t)n);
        if ((size_t)n < asked) return TL_WS_WROTE_SOME;
    }
    return TL_WS_WROTE_ALL;
}
