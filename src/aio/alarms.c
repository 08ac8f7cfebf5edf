/* SPDX-License-Identifier: Apache-2.0 */
/* A binary heap of alarms behind one uv_timer, and a list of calls behind one uv_idle. Loop thread only. Invariants:
 * heap[i - 1]->at == i; the timer is armed for the earliest alarm whenever there is one; the idle handle runs exactly
 * while the list is not empty, so an empty list costs nothing and a queued call never waits for I/O. */
#include "aio/alarms.h"

#include "base/err.h"
#include "base/util.h"

struct tl_alarms {
    uv_timer_t timer;
    uv_idle_t idle;
    uv_loop_t *loop;
    const struct tl_clock *clock;
    struct tl_alarm **heap;
    size_t n, cap;
    struct tl_soon *head, *tail;
    size_t n_soon;
    bool ringing;
    unsigned handles;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

static void place(struct tl_alarms *as, size_t i, struct tl_alarm *a)
{
    as->heap[i - 1] = a;
    a->at = i;
}

static void sift_up(struct tl_alarms *as, size_t i, struct tl_alarm *a)
{
    while (i > 1 && as->heap[i / 2 - 1]->due_ns > a->due_ns) {
        place(as, i, as->heap[i / 2 - 1]);
        i /= 2;
    }
    place(as, i, a);
}

static void sift_down(struct tl_alarms *as, size_t i, struct tl_alarm *a)
{
    while (2 * i <= as->n) {
        size_t child = 2 * i;
        if (child < as->n && as->heap[child]->due_ns < as->heap[child - 1]->due_ns) child++;
        if (as->heap[child - 1]->due_ns >= a->due_ns) break;
        place(as, i, as->heap[child - 1]);
        i = child;
    }
    place(as, i, a);
}

static void on_timer(uv_timer_t *timer);

static void arm(struct tl_alarms *as)
{
    if (as->ringing) return; /* armed once all that is due has rung */
    if (as->n == 0) {
        uv_timer_stop(&as->timer);
        return;
    }
    uint64_t now = tl_clock_mono_ns(as->clock);
    uint64_t due = as->heap[0]->due_ns;
    uint64_t ms = due > now ? (due - now + 999999) / 1000000 : 0;
    uv_update_time(as->loop);
    uv_timer_start(&as->timer, on_timer, ms, 0);
}

static void take_out(struct tl_alarms *as, struct tl_alarm *a)
{
    size_t i = a->at;
    a->at = 0;
    struct tl_alarm *last = as->heap[--as->n];
    if (last == a) return;
    if (i > 1 && as->heap[i / 2 - 1]->due_ns > last->due_ns)
        sift_up(as, i, last);
    else
        sift_down(as, i, last);
}

static void on_timer(uv_timer_t *timer)
{
    struct tl_alarms *as = timer->data;
    uint64_t now = tl_clock_mono_ns(as->clock);
    as->ringing = true;
    while (as->n > 0 && as->heap[0]->due_ns <= now) {
        struct tl_alarm *a = as->heap[0];
        take_out(as, a);
        a->ring(a);
    }
    as->ringing = false;
    arm(as);
}

static void on_idle(uv_idle_t *idle)
{
    struct tl_alarms *as = idle->data;
    /* Calls queued from now on belong to the next turn: sockets are looked at in between. */
    for (size_t left = as->n_soon; left > 0 && as->head; left--) {
        struct tl_soon *s = as->head;
        tl_soon_cancel(as, s);
        s->call(s);
    }
    if (!as->head) uv_idle_stop(&as->idle);
}

enum tl_status tl_alarms_start(uv_loop_t *loop, const struct tl_clock *clock, struct tl_alarms **out,
                               struct tl_err *err)
{
    struct tl_alarms *as = tl_calloc(1, sizeof *as);
    if (!as) return tl_fail(err, TL_NOMEM, "no memory for the alarms");
    as->loop = loop;
    as->clock = clock;
    uv_timer_init(loop, &as->timer);
    uv_idle_init(loop, &as->idle);
    as->timer.data = as->idle.data = as;
    as->handles = 2;
    *out = as;
    return TL_OK;
}

static void on_closed(uv_handle_t *handle)
{
    struct tl_alarms *as = handle->data;
    if (--as->handles > 0) return;
    void (*cb)(void *) = as->closed;
    void *ctx = as->closed_ctx;
    free(as->heap);
    free(as);
    if (cb) cb(ctx);
}

void tl_alarms_close(struct tl_alarms *as, void (*cb)(void *ctx), void *ctx)
{
    TL_ASSERT(as->n == 0 && !as->head);
    as->closed = cb;
    as->closed_ctx = ctx;
    uv_close((uv_handle_t *)&as->timer, on_closed);
    uv_close((uv_handle_t *)&as->idle, on_closed);
}

enum tl_status tl_alarm_set(struct tl_alarms *as, struct tl_alarm *a, uint64_t due_ns)
{
    if (a->at) take_out(as, a);
    if (as->n == as->cap) {
        size_t cap = as->cap ? as->cap * 2 : 64;
        struct tl_alarm **heap = tl_realloc(as->heap, cap, sizeof(struct tl_alarm *));
        if (!heap) return TL_NOMEM;
        as->heap = heap;
        as->cap = cap;
    }
    a->due_ns = due_ns;
    as->n++;
    sift_up(as, as->n, a);
    if (a->at == 1) arm(as);
    return TL_OK;
}

void tl_alarm_clear(struct tl_alarms *as, struct tl_alarm *a)
{
    if (!a->at) return;
    take_out(as, a);
    if (as->n == 0) arm(as); /* otherwise the timer at worst fires once for nothing */
}

void tl_soon_call(struct tl_alarms *as, struct tl_soon *s)
{
    if (s->queued) return;
    s->queued = true;
    as->n_soon++;
    s->next = NULL;
    s->prev = as->tail;
    if (as->tail)
        as->tail->next = s;
    else
        as->head = s;
    as->tail = s;
    uv_idle_start(&as->idle, on_idle);
}

void tl_soon_cancel(struct tl_alarms *as, struct tl_soon *s)
{
    if (!s->queued) return;
    s->queued = false;
    as->n_soon--;
    if (s->prev)
        s->prev->next = s->next;
    else
        as->head = s->next;
    if (s->next)
        s->next->prev = s->prev;
    else
        as->tail = s->prev;
}
