/* SPDX-License-Identifier: Apache-2.0 */
/* The Pub/Sub connection: subscribes to a fixed list of channels at every connect, is up once all are confirmed, and
 * asks for a sign of life at a fixed pace, because a silent connection cannot be told from a quiet channel. */
#include "redis/link.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

struct tl_redis_sub {
    struct tl_link link;
    struct tl_redis_sub_options opt;
    uv_timer_t ping;
    bool asked;   /* a PING is out */
    bool overdue; /* its answer is, and the socket is looked at once more: the loop itself may have been held up */
    bool authenticating; /* AUTH's answer is the next to come */
    size_t words;        /* answers to AUTH and SETNAME still to come */
    size_t subscribed;
    bool closing;
    unsigned open; /* link, timer */
    void (*closed)(void *ctx);
    void *closed_ctx;
};

static void send_word(struct tl_redis_sub *s, const struct tl_str *argv, size_t argc)
{
    tl_link_encode(&s->link, NULL, 0, argv, argc);
    s->words++;
}

static void on_connected(struct tl_link *l)
{
    struct tl_redis_sub *s = (struct tl_redis_sub *)(void *)l;
    const struct tl_redis_address *a = &l->opt.address;
    s->words = s->subscribed = 0;
    s->asked = s->overdue = false;
    s->authenticating = a->password[0] != '\0';
    if (a->password[0]) {
        struct tl_str with_user[] = {TL_STR("AUTH"), tl_str(a->user), tl_str(a->password)};
        struct tl_str alone[] = {TL_STR("AUTH"), tl_str(a->password)};
        send_word(s, a->user[0] ? with_user : alone, a->user[0] ? 3 : 2);
    }
    if (l->opt.client_name)
        send_word(s, (struct tl_str[]){TL_STR("CLIENT"), TL_STR("SETNAME"), tl_str(l->opt.client_name)}, 3);
    for (size_t i = 0; i < s->opt.n_channels; i++)
        tl_link_encode(l, (struct tl_str[]){TL_STR("SUBSCRIBE"), tl_str(s->opt.channels[i])}, 2, NULL, 0);
}

static bool is_kind(const struct tl_reply *reply, const char *kind, size_t n)
{
    return reply->type == TL_REPLY_ARRAY && reply->n == n && reply->items[0]->type == TL_REPLY_STRING &&
           tl_str_eq(reply->items[0]->str, tl_str(kind));
}

static bool is_message(const struct tl_reply *reply)
{
    return is_kind(reply, "message", 3) && reply->items[1]->type == TL_REPLY_STRING &&
           reply->items[2]->type == TL_REPLY_STRING;
}

static void on_reply(struct tl_link *l, const struct tl_reply *reply)
{
    struct tl_redis_sub *s = (struct tl_redis_sub *)(void *)l;
    struct tl_err err;
    if (reply->type == TL_REPLY_ERROR) {
        (void)tl_link_refused(l, s->authenticating, reply->str, &err);
        tl_link_give_up(l, &err);
    } else if (s->words > 0) {
        s->words--;
        s->authenticating = false;
    } else if (is_message(reply)) {
        if (l->state == TL_LINK_UP) s->opt.on_message(l->opt.ctx, reply->items[1]->str, reply->items[2]->str);
    } else if (is_kind(reply, "subscribe", 3)) {
        if (++s->subscribed != s->opt.n_channels || l->state != TL_LINK_SHAKING) return;
        tl_link_up(l);
        if (l->opt.on_state) l->opt.on_state(l->opt.ctx, true, NULL);
    } else if (is_kind(reply, "pong", 2)) {
        s->asked = s->overdue = false;
    } else {
        (void)tl_fail(&err, TL_PARSE, "the server answers what was not asked");
        tl_link_give_up(l, &err);
    }
}

static void on_lost(struct tl_link *l, const struct tl_err *why, bool was_up)
{
    (void)was_up;
    if (l->opt.on_state) l->opt.on_state(l->opt.ctx, false, why);
}

static void on_ping(uv_timer_t *timer)
{
    struct tl_redis_sub *s = timer->data;
    struct tl_err err;
    if (s->link.state != TL_LINK_UP) return;
    if (s->asked && !s->overdue) {
        s->overdue = true;
        uv_timer_start(timer, on_ping, 1, s->opt.ping_ms);
        return;
    }
    if (s->asked) {
        (void)tl_fail(&err, TL_TIMEOUT, "no sign of life for %u ms", s->opt.ping_ms);
        tl_link_give_up(&s->link, &err);
        return;
    }
    s->asked = true;
    tl_link_encode(&s->link, (struct tl_str[]){TL_STR("PING")}, 1, NULL, 0);
}

enum tl_status tl_redis_sub_start(uv_loop_t *loop, const struct tl_redis_sub_options *opt, struct tl_redis_sub **out,
                                  struct tl_err *err)
{
    TL_ASSERT(opt->n_channels > 0 && opt->on_message);
    struct tl_redis_sub *s = tl_calloc(1, sizeof *s);
    if (!s) return tl_fail(err, TL_NOMEM, "no memory for Redis");
    s->opt = *opt;
    if (!s->opt.ping_ms) s->opt.ping_ms = 1000;
    s->link.loop = loop;
    s->link.opt = opt->base;
    tl_redis_options_fill(&s->link.opt);
    s->link.connected = on_connected;
    s->link.reply = on_reply;
    s->link.lost = on_lost;
    s->open = 2;
    uv_timer_init(loop, &s->ping);
    s->ping.data = s;
    uv_timer_start(&s->ping, on_ping, s->opt.ping_ms, s->opt.ping_ms);
    tl_link_start(&s->link);
    *out = s;
    return TL_OK;
}

static void closed_one(struct tl_redis_sub *s)
{
    if (--s->open > 0) return;
    void (*cb)(void *) = s->closed;
    void *ctx = s->closed_ctx;
    free(s);
    if (cb) cb(ctx);
}

static void on_link_closed(struct tl_link *l)
{
    closed_one((struct tl_redis_sub *)(void *)l);
}

static void on_timer_closed(uv_handle_t *handle)
{
    closed_one(handle->data);
}

void tl_redis_sub_close(struct tl_redis_sub *s, void (*cb)(void *ctx), void *ctx)
{
    if (s->closing) return;
    s->closing = true;
    s->closed = cb;
    s->closed_ctx = ctx;
    uv_close((uv_handle_t *)&s->ping, on_timer_closed);
    tl_link_close(&s->link, on_link_closed);
}

bool tl_redis_sub_up(const struct tl_redis_sub *s)
{
    return s->link.state == TL_LINK_UP && !s->closing;
}
