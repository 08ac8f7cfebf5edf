/* SPDX-License-Identifier: Apache-2.0 */
/* The server as a whole: its life, its deadlines and what is to happen in the next turn of the loop. Deadlines of one
 * kind last equally long, so each kind is a list in the order of its ends and one timer looks at the heads: setting one
 * costs no allocation and no call of libuv. What a caller must not be told from inside its own call is told by the idle
 * handle, in the next turn. Everything happens on the loop thread; the memory goes when the last handle is closed. */
#include "http/http_i.h"

#include "base/err.h"
#include "base/util.h"

#include <stdlib.h>

enum { REQUEST_MS = 10000, IDLE_MS = 75000, SEND_MS = 30000, LINGER_MS = 2000, SWEEP_MS = 5000 };

uint64_t tl_http_mono_ns(const struct tl_http *h)
{
    return tl_clock_mono_ns(h->opt.clock);
}

/* ---- deadlines ---- */

static void on_timer(uv_timer_t *timer);

void tl_http_timer_at(struct tl_http *h, uint64_t due_ms)
{
    if (due_ms >= h->timer_due_ms || h->closing) return;
    uint64_t now = uv_now(h->loop);
    h->timer_due_ms = due_ms;
    uv_timer_start(&h->timer, on_timer, due_ms > now ? due_ms - now : 0, 0);
}

void tl_http_wait_set(struct tl_http_request *r, enum tl_http_wait wait)
{
    struct tl_http *h = r->http;
    r->waits = wait;
    if (wait == TL_WAIT_NONE) {
        tl_http_list_remove(&r->wait);
        return;
    }
    r->due_ms = uv_now(h->loop) + h->wait_ms[wait];
    tl_http_list_append(&h->waits[wait], &r->wait);
    tl_http_timer_at(h, r->due_ms);
}

static void ring_overdue(struct tl_http *h, uint64_t now)
{
    for (size_t i = 0; i < TL_WAITS; i++) {
        while (!tl_http_list_empty(&h->waits[i])) {
            struct tl_http_request *r = TL_HTTP_OF(struct tl_http_request, wait, h->waits[i].next);
            if (r->due_ms > now) break;
            tl_http_wait_set(r, TL_WAIT_NONE);
            tl_http_conn_overdue(r);
        }
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct tl_http *h = timer->data;
    uint64_t now = uv_now(h->loop);
    h->timer_due_ms = UINT64_MAX;
    ring_overdue(h, now);
    if (h->closing) return;
    for (size_t i = 0; i < TL_WAITS; i++)
        if (!tl_http_list_empty(&h->waits[i]))
            tl_http_timer_at(h, TL_HTTP_OF(struct tl_http_request, wait, h->waits[i].next)->due_ms);
    if (h->accept_again_ms && h->accept_again_ms <= now) {
        h->accept_again_ms = 0;
        tl_http_accept_update(h);
    }
    if (h->accept_again_ms) tl_http_timer_at(h, h->accept_again_ms);
    tl_http_upgraded_sweep(h, NULL);
    if (!tl_http_list_empty(&h->upgraded)) tl_http_timer_at(h, now + SWEEP_MS);
}

/* ---- the next turn ---- */

static void on_soon(uv_idle_t *idle)
{
    struct tl_http *h = idle->data;
    struct tl_http_node turn;
    uv_idle_stop(idle); /* what is queued from here on comes in the turn after this one */
    tl_http_list_init(&turn);
    while (!tl_http_list_empty(&h->soon_list)) tl_http_list_append(&turn, h->soon_list.next);
    while (!tl_http_list_empty(&turn)) {
        struct tl_http_request *r = TL_HTTP_OF(struct tl_http_request, soon, turn.next);
        tl_http_list_remove(&r->soon);
        r->pins++;
        tl_http_soon_turn(r);
        r->pins--;
        tl_http_conn_maybe_free(r);
    }
}

void tl_http_soon(struct tl_http_request *r)
{
    if (r->soon.next) return;
    tl_http_list_append(&r->http->soon_list, &r->soon);
    uv_idle_start(&r->http->soon, on_soon);
}

/* ---- life ---- */

static void free_server(struct tl_http *h)
{
    for (size_t i = 0; i < h->n_listeners; i++) free(h->listeners[i].path);
    while (!tl_http_list_empty(&h->upgraded)) {
        struct tl_http_upgraded *u = TL_HTTP_OF(struct tl_http_upgraded, node, h->upgraded.next);
        tl_http_list_remove(&u->node);
        tl_http_peer_leave(h, u->peer);
        free(u);
    }
    free(h->listeners);
    free(h->scratch);
    tl_map_free(h->peers);
    tl_buf_release(&h->head);
    tl_buf_release(&h->target);
    free(h);
}

static void on_own_closed(uv_handle_t *handle)
{
    tl_http_handle_closed(handle->data);
}

/* The timer and the idle handle go last: connections need them until they are freed. */
void tl_http_handle_closed(struct tl_http *h)
{
    h->open_handles--;
    if (!h->closing || !tl_http_list_empty(&h->all)) return;
    if (!h->freed && h->open_handles == 2) {
        h->freed = true;
        uv_close((uv_handle_t *)&h->timer, on_own_closed);
        uv_close((uv_handle_t *)&h->soon, on_own_closed);
    } else if (h->open_handles == 0) {
        void (*closed)(void *ctx) = h->closed;
        void *ctx = h->closed_ctx;
        free_server(h);
        if (closed) closed(ctx);
    }
}

static void put_defaults(struct tl_http *h, const struct tl_http_options *o)
{
    h->opt = *o;
    h->opt.listen = NULL;
    if (!o->connections) h->opt.connections = 10000;
    if (!o->per_address) h->opt.per_address = 1000;
    if (!o->header_bytes) h->opt.header_bytes = 16 * 1024;
    h->opt.header_bytes = TL_MIN(h->opt.header_bytes, (size_t)1 << 20);
    if (!o->body_bytes) h->opt.body_bytes = (size_t)64 << 20;
    if (!o->request_ms) h->opt.request_ms = REQUEST_MS;
    if (!o->idle_ms) h->opt.idle_ms = IDLE_MS;
    if (!o->clock) h->opt.clock = &tl_clock_system;
    h->wait_ms[TL_WAIT_REQUEST] = h->opt.request_ms;
    h->wait_ms[TL_WAIT_IDLE] = h->opt.idle_ms;
    h->wait_ms[TL_WAIT_SEND] = TL_MIN(h->opt.idle_ms, (uint32_t)SEND_MS);
    h->wait_ms[TL_WAIT_LINGER] = TL_MIN(h->opt.request_ms, (uint32_t)LINGER_MS);
}

static struct tl_http *new_server(uv_loop_t *loop, const struct tl_http_options *o)
{
    struct tl_http *h = tl_calloc(1, sizeof *h);
    if (!h) return NULL;
    h->loop = loop;
    h->timer_due_ms = UINT64_MAX;
    h->date_s = -1;
    put_defaults(h, o);
    tl_http_list_init(&h->all);
    tl_http_list_init(&h->soon_list);
    tl_http_list_init(&h->upgraded);
    for (size_t i = 0; i < TL_WAITS; i++) tl_http_list_init(&h->waits[i]);
    tl_buf_init(&h->head, TL_HTTP_ANSWER_HEAD);
    tl_buf_init(&h->target, 2 * h->opt.header_bytes + 16);
    h->scratch = malloc(TL_HTTP_SCRATCH);
    h->peers = tl_map_new();
    h->listeners = tl_calloc(o->n_listen, sizeof *h->listeners);
    if (h->scratch && h->peers && h->listeners) return h;
    free_server(h);
    return NULL;
}

enum tl_status tl_http_start(uv_loop_t *loop, const struct tl_http_options *o, struct tl_http **out, struct tl_err *err)
{
    *out = NULL;
    if (o->n_listen == 0) return tl_fail(err, TL_INVALID, "no address to listen on");
    struct tl_http *h = new_server(loop, o);
    if (!h) return tl_fail(err, TL_NOMEM, "no memory for the HTTP server");
    uv_timer_init(loop, &h->timer);
    uv_idle_init(loop, &h->soon);
    h->timer.data = h->soon.data = h;
    h->open_handles = 2;
    enum tl_status st = TL_OK;
    for (size_t i = 0; i < o->n_listen && st == TL_OK; i++) {
        h->listeners[i].http = h;
        h->listeners[i].fd = -1;
        st = tl_http_listen(h, &h->listeners[i], o->listen[i], err);
        if (st == TL_OK) h->n_listeners++;
    }
    if (st != TL_OK) {
        tl_http_close(h, NULL, NULL);
        return st;
    }
    tl_http_accept_update(h);
    *out = h;
    return TL_OK;
}

const char *tl_http_address(const struct tl_http *h, size_t i)
{
    return i < h->n_listeners ? h->listeners[i].address : NULL;
}

void tl_http_drain(struct tl_http *h)
{
    h->draining = true;
    for (size_t i = 0; i < h->n_listeners; i++) tl_http_listen_close(&h->listeners[i]);
}

void tl_http_close(struct tl_http *h, void (*cb)(void *ctx), void *ctx)
{
    if (h->closing) return;
    tl_http_drain(h);
    h->closing = true;
    h->closed = cb;
    h->closed_ctx = ctx;
    uv_timer_stop(&h->timer);
    struct tl_http_node *next;
    for (struct tl_http_node *n = h->all.next; n != &h->all; n = next) {
        next = n->next; /* cutting frees nothing: the handle is closed later */
        tl_http_conn_cut(TL_HTTP_OF(struct tl_http_request, all, n));
    }
    h->open_handles++; /* the step of tl_http_handle_closed that may come at once */
    tl_http_handle_closed(h);
}

void tl_http_stats(const struct tl_http *h, struct tl_http_stats *out)
{
    *out = h->stats;
}
