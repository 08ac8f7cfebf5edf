/* SPDX-License-Identifier: Apache-2.0 */
/* All sockets of a loop: the one write a turn for each that has something to say, and the wheel of their deadlines.
 * A socket becomes dirty and is looked at when the loop is about to wait; what becomes dirty meanwhile is looked at in
 * the next turn, so that no chain of callbacks holds the loop. A slot of the wheel holds the sockets whose deadlines
 * are looked at in one tick: a tick late at most, never early. */
#include "ws/ws_i.h"

#include "base/err.h"
#include "base/util.h"

enum { TICKS_A_DEADLINE = 16, TICK_MAX_MS = 250, QUEUED_BYTES_A_FRAME = 64, QUEUED_FRAMES_MIN = 64 };

/* ---- once a turn ---- */

static void on_again(uv_idle_t *again)
{
    (void)again; /* that it is active is what it is for */
}

static void on_flush(uv_prepare_t *flush)
{
    struct tl_ws_loop *l = flush->data;
    struct tl_ws_link now;
    l->now_ns = tl_clock_mono_ns(l->opt.clock);
    tl_ws_link_move(&now, &l->dirty);
    while (now.next != &now) {
        struct tl_ws *s = TL_WS_OF(now.next, in_dirty);
        tl_ws_link_out(&s->in_dirty);
        s->dirty = false;
        tl_ws_flush(s);
    }
    if (l->dirty.next != &l->dirty) return;
    uv_idle_stop(&l->again);
    uv_prepare_stop(&l->flush);
}

void tl_ws_mark_dirty(struct tl_ws *s)
{
    if (s->dirty || s->state == TL_WS_GONE || s->loop->closing) return;
    s->dirty = true;
    tl_ws_link_put(&s->loop->dirty, &s->in_dirty);
    uv_prepare_start(&s->loop->flush, on_flush);
    uv_idle_start(&s->loop->again, on_again);
}

/* ---- deadlines ---- */

void tl_ws_plan(struct tl_ws *s, uint64_t due_ns)
{
    struct tl_ws_loop *l = s->loop;
    if (s->state == TL_WS_GONE) return;
    uint64_t tick = due_ns / l->tick_ns + 1; /* rounded up: never early */
    tick = TL_MIN(TL_MAX(tick, l->tick + 1), l->tick + TL_WS_WHEEL - 1);
    bool planned = s->in_wheel.next != &s->in_wheel;
    if (planned && s->slot_tick <= tick) return;
    if (planned) tl_ws_link_out(&s->in_wheel);
    s->slot_tick = tick;
    tl_ws_link_put(&l->wheel[tick % TL_WS_WHEEL], &s->in_wheel);
}

static void on_tick(uv_timer_t *timer)
{
    struct tl_ws_loop *l = timer->data;
    l->now_ns = tl_clock_mono_ns(l->opt.clock);
    uint64_t to = l->now_ns / l->tick_ns;
    /* After a jump each slot is looked at once. */
    uint64_t from = to - l->tick > TL_WS_WHEEL ? to - TL_WS_WHEEL : l->tick;
    for (uint64_t t = from + 1; t <= to; t++) {
        struct tl_ws_link slot;
        l->tick = t;
        tl_ws_link_move(&slot, &l->wheel[t % TL_WS_WHEEL]);
        while (slot.next != &slot) {
            struct tl_ws *s = TL_WS_OF(slot.next, in_wheel);
            tl_ws_link_out(&s->in_wheel);
            tl_ws_check(s);
        }
    }
}

void tl_ws_wheel_start(struct tl_ws_loop *l)
{
    uint64_t ms = TL_MAX(l->tick_ns / 1000000, (uint64_t)1);
    l->tick = l->now_ns / l->tick_ns;
    uv_timer_start(&l->timer, on_tick, ms, ms);
}

/* ---- life ---- */

static void release_one(struct tl_ws_loop *l)
{
    if (!l->closing || l->stats.sockets > 0 || l->handles > 0) return;
    void (*cb)(void *) = l->closed;
    void *ctx = l->closed_ctx;
    tl_ws_in_free(l->spare);
    free(l);
    if (cb) cb(ctx);
}

void tl_ws_forget(struct tl_ws *s)
{
    struct tl_ws_loop *l = s->loop;
    l->stats.closed++;
    if (--l->stats.sockets == 0 && !l->closing) uv_timer_stop(&l->timer);
    release_one(l);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct tl_ws_loop *l = handle->data;
    l->handles--;
    release_one(l);
}

static void fill(struct tl_ws_loop_options *o)
{
    if (!o->clock) o->clock = &tl_clock_system;
    if (!o->message_bytes) o->message_bytes = 64 * 1024;
    if (!o->fragments) o->fragments = 128;
    if (!o->queue_bytes) o->queue_bytes = 256 * 1024;
    if (!o->sndbuf_bytes) o->sndbuf_bytes = 131072;
    if (!o->ping_ms) o->ping_ms = 20000;
    if (!o->pong_ms) o->pong_ms = 20000;
    if (!o->stall_ms) o->stall_ms = 30000;
    if (!o->close_ms) o->close_ms = 5000;
    if (!o->control_burst) o->control_burst = 100;
}

enum tl_status tl_ws_loop_start(uv_loop_t *loop, const struct tl_ws_loop_options *o, struct tl_ws_loop **out,
                                struct tl_err *err)
{
    struct tl_ws_loop *l = tl_calloc(1, sizeof *l);
    if (!l) return tl_fail(err, TL_NOMEM, "no memory for WebSockets");
    l->loop = loop;
    l->opt = *o;
    fill(&l->opt);
    l->queue_frames = TL_MAX(l->opt.queue_bytes / QUEUED_BYTES_A_FRAME, (size_t)QUEUED_FRAMES_MIN);
    uint32_t least = TL_MIN(TL_MIN(l->opt.ping_ms, l->opt.pong_ms), TL_MIN(l->opt.stall_ms, l->opt.close_ms));
    l->tick_ns = TL_MAX(TL_MIN(least / TICKS_A_DEADLINE, (uint32_t)TICK_MAX_MS), 1u) * UINT64_C(1000000);
    tl_ws_link_init(&l->dirty);
    for (size_t i = 0; i < TL_WS_WHEEL; i++) tl_ws_link_init(&l->wheel[i]);
    uv_prepare_init(loop, &l->flush);
    uv_idle_init(loop, &l->again);
    uv_timer_init(loop, &l->timer);
    l->flush.data = l->again.data = l->timer.data = l;
    l->handles = 3;
    *out = l;
    return TL_OK;
}

void tl_ws_loop_close(struct tl_ws_loop *l, void (*cb)(void *ctx), void *ctx)
{
    if (l->closing) return;
    l->closing = true;
    l->closed = cb;
    l->closed_ctx = ctx;
    for (size_t i = 0; i < TL_WS_WHEEL; i++)
        while (l->wheel[i].next != &l->wheel[i])
            tl_ws_end(TL_WS_OF(l->wheel[i].next, in_wheel), TL_WS_NO_FRAME, "the server ends");
    uv_close((uv_handle_t *)&l->flush, on_handle_closed);
    uv_close((uv_handle_t *)&l->again, on_handle_closed);
    uv_close((uv_handle_t *)&l->timer, on_handle_closed);
}

void tl_ws_stats(const struct tl_ws_loop *l, struct tl_ws_stats *out)
{
    *out = l->stats;
}
