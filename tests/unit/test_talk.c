/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations of tierline.v1 over a transport that takes as much as the test lets it: readers that are slow, too
 * slow, or gone; what is merged and what never; tokens that run out. */
#include "support.h"

#include "bus_fixture.h"

#include "base/err.h"
#include "server/talk.h"

struct wire {
    struct talk talk;
    struct api api;
    struct bus_node node;
    size_t room, queued; /* bytes */
    bool tell;           /* talk_drained is wanted */
    char log[1 << 20];   /* documents that were taken, a line each */
    size_t n;
    unsigned code; /* 0: open */
};

static enum tl_status take(struct wire *w, struct tl_str text)
{
    assert_int_equal(w->code, 0); /* nothing behind the close */
    if (w->queued && w->queued + text.n > w->room) {
        w->tell = true;
        return TL_FULL;
    }
    assert_true(w->n + text.n + 2 < sizeof w->log);
    w->queued += text.n;
    w->n += (size_t)snprintf(w->log + w->n, sizeof w->log - w->n, "%.*s\n", TL_STR_ARG(text));
    return TL_OK;
}

static enum tl_status wire_text(void *ctx, struct tl_str text)
{
    return take(ctx, text);
}

static enum tl_status wire_event(void *ctx, struct tl_event *e, const char *via)
{
    struct tl_buf b;
    tl_buf_init(&b, 0);
    if (via) protocol_put_via(&b, (struct tl_str){e->json, e->n}, via);
    enum tl_status st = take(ctx, via ? tl_buf_str(&b) : (struct tl_str){e->json, e->n});
    tl_buf_release(&b);
    return st;
}

static size_t wire_backlog(void *ctx)
{
    return ((struct wire *)ctx)->queued;
}

static void wire_tell_drained(void *ctx)
{
    ((struct wire *)ctx)->tell = true;
}

static void wire_close(void *ctx, unsigned code, const char *why)
{
    struct wire *w = ctx;
    (void)why;
    assert_int_equal(w->code, 0);
    w->code = code;
}

/* The reader takes all that waits, and again what comes then. */
static void drain(struct wire *w)
{
    for (int i = 0; i < 50; i++) {
        w->queued = 0;
        bool tell = w->tell;
        w->tell = false;
        if (tell && !w->code) talk_drained(&w->talk);
        box_spin(&w->node.box, 1);
    }
}

static struct wire *talk_open(const struct tl_identity *who)
{
    struct wire *w = tl_calloc(1, sizeof *w);
    assert_non_null(w);
    const struct talk_transport to = {.text = wire_text,
                                      .event = wire_event,
                                      .backlog = wire_backlog,
                                      .tell_drained = wire_tell_drained,
                                      .close = wire_close,
                                      .ctx = w};
    const struct tl_auth_options ao = {.clock = &tl_clock_system};
    struct tl_err err;
    bus_node_open(&w->node, NULL, NULL);
    w->api.clock = &tl_clock_system;
    w->api.cache = w->node.box.cache;
    w->api.bus = w->node.bus;
    assert_int_equal(tl_auth_open(&ao, &w->api.auth, &err), TL_OK);
    w->room = 256 * 1024;
    talk_begin(&w->talk, &w->api, &to, who);
    return w;
}

static struct wire *open_reader(void)
{
    const struct tl_identity who = {.may = TL_MAY_READ, .name = "reader", .expires_ms = INT64_MAX};
    return talk_open(&who);
}

static void close_talk(struct wire *w)
{
    talk_end(&w->talk);
    box_spin(&w->node.box, 5);
    assert_int_equal(bus_stats(&w->node).subscriptions, 0);
    tl_auth_free(w->api.auth);
    bus_node_close(&w->node);
    free(w);
}

static void say(struct wire *w, const char *text)
{
    talk_message(&w->talk, tl_str(text));
    box_spin(&w->node.box, 2);
}

static size_t count(const struct wire *w, const char *what)
{
    size_t n = 0;
    for (const char *p = w->log; (p = strstr(p, what)); p += strlen(what)) n++;
    return n;
}

/* Where a line with it begins; fails without one. */
static size_t place(const struct wire *w, const char *what)
{
    const char *p = strstr(w->log, what);
    if (!p) fail_msg("no %s in %s", what, w->log);
    return (size_t)(p - w->log);
}

static void hello(void **state)
{
    (void)state;
    struct wire *w = open_reader();
    assert_int_equal(count(w, "{\"op\":\"hello\",\"protocol\":\"tierline.v1\""), 1);
    say(w, "{\"op\":\"ping\",\"id\":\"a\"}\n\n {\"op\":\"ping\",\"id\":2}\r\n");
    assert_true(place(w, "{\"op\":\"pong\",\"id\":\"a\"") < place(w, "{\"op\":\"pong\",\"id\":2"));
    say(w, "{\"op\":\"cancel\",\"task\":\"x\"}");
    assert_int_equal(count(w, "\"DENIED\""), 1);
    talk_bye(&w->talk, 700);
    assert_int_equal(count(w, "{\"op\":\"bye\",\"reason\":\"the server is going away\",\"retry_ms\":700}"), 1);
    assert_int_equal(w->code, 1001);
    say(w, "{\"op\":\"ping\"}");
    assert_int_equal(count(w, "pong"), 2);
    close_talk(w);
}

static void strangers(void **state)
{
    (void)state;
    struct wire *w = talk_open(NULL);
    assert_int_equal(w->n, 0);
    say(w, "{\"op\":\"subscribe\",\"topics\":[\"tasks\"]}");
    assert_int_equal(count(w, "\"UNAUTHENTICATED\""), 1);
    assert_int_equal(w->code, 0);
    say(w, "{\"op\":\"auth\",\"token\":\"tl_no\"}\n{\"op\":\"ping\"}");
    assert_int_equal(count(w, "\"UNAUTHENTICATED\""), 2);
    assert_int_equal(count(w, "pong"), 0);
    assert_int_equal(w->code, 4401);
    close_talk(w);
}

static void runs_out(void **state)
{
    (void)state;
    const struct tl_identity who = {
        .may = TL_MAY_READ, .name = "brief", .expires_ms = tl_clock_wall_ms(&tl_clock_system) + 500};
    struct wire *w = talk_open(&who);
    say(w, "{\"op\":\"token\",\"token\":\"tl_no\"}"); /* refused: the old one goes on */
    assert_int_equal(w->code, 0);
    SPIN_UNTIL(&w->node, w->code, 4000);
    assert_int_equal(w->code, 4401);
    assert_int_equal(count(w, "the token has run out"), 1);
    close_talk(w);
}

/* An event comes for each subscription that it is of, and says which. */
static void via(void **state)
{
    (void)state;
    struct wire *w = open_reader();
    say(w, "{\"op\":\"subscribe\",\"id\":1,\"topics\":[\"tasks\",\"task/a\"]}");
    assert_true(place(w, "{\"op\":\"subscribed\",\"id\":1,\"topic\":\"task/a\"") < place(w, "\"op\":\"snapshot\""));
    struct tl_task *t = task_begin(&w->node, "a");
    task_say(t, "task.started.v1", "{\"state\":\"running\"}");
    task_item(t, 1);
    box_spin(&w->node.box, 10);
    assert_int_equal(count(w, "\"type\":\"task.started.v1\""), 2);
    assert_int_equal(count(w, ",\"via\":\"tasks\"}"), 1);
    assert_int_equal(count(w, "task.item.completed.v1"), 1);
    say(w, "{\"op\":\"unsubscribe\",\"topics\":[\"task/a\"]}");
    task_item(t, 2);
    task_complete(t);
    box_spin(&w->node.box, 10);
    assert_int_equal(count(w, "task.item.completed.v1"), 1);
    assert_int_equal(count(w, "\"type\":\"task.completed.v1\""), 1);
    assert_int_equal(count(w, ",\"via\":\"tasks\"}"), 2);
    close_talk(w);
}

/* A reader who stands still: states are merged, lifecycle events come all, once, in order, after a resync. */
static void slow(void **state)
{
    (void)state;
    enum { ITEMS = 300 };
    struct wire *w = open_reader();
    w->room = 40000;
    struct tl_task *t = task_begin(&w->node, "a");
    say(w, "{\"op\":\"subscribe\",\"topics\":[\"task/a\"]}");
    drain(w);
    for (int i = 0; i < ITEMS; i++) {
        task_item(t, i);
        box_spin(&w->node.box, 1);
    }
    assert_int_equal(bus_stats(&w->node).subscriptions, 0); /* out of step: it costs the bus nothing */
    size_t before = count(w, "task.item.completed.v1");
    assert_in_range(before, 20, ITEMS - 20);
    struct tl_task_progress p = {.state = TL_TASK_RUNNING, .total = ITEMS, .eta_ms = -1};
    tl_task_progress(t, &p);
    task_complete(t);
    for (int i = 0; i < 20; i++) drain(w);
    assert_true(count(w, "{\"op\":\"resync\",\"topic\":\"task/a\"}") >= 1);
    assert_true(count(w, "\"recovered\":true") >= 1);
    assert_int_equal(count(w, "task.item.completed.v1"), ITEMS);
    size_t last = 0;
    for (int i = 0; i < ITEMS; i++) {
        char item[32];
        snprintf(item, sizeof item, "{\"item\":\"S%d\"}", i);
        assert_int_equal(count(w, item), 1);
        assert_true(place(w, item) > last);
        last = place(w, item);
    }
    assert_true(place(w, "task.completed.v1") > last);
    close_talk(w);
}

static void merged(void **state)
{
    (void)state;
    struct wire *w = open_reader();
    const struct tl_topic_source numbers = {.prefix = "numbers"};
    assert_int_equal(tl_bus_source(w->node.bus, &numbers), TL_OK);
    say(w, "{\"op\":\"subscribe\",\"topics\":[\"numbers\"]}");
    w->queued = 20000; /* behind */
    for (int i = 0; i < 50; i++) {
        char data[16];
        snprintf(data, sizeof data, "%d", i);
        tl_bus_publish(w->node.bus, "numbers", "numbers.v1", tl_str(data));
        box_spin(&w->node.box, 1);
    }
    assert_int_equal(count(w, "numbers.v1"), 0);
    drain(w);
    assert_int_equal(count(w, "{\"op\":\"conflated\",\"topic\":\"numbers\",\"count\":50}\n{\"specversion\""), 1);
    assert_int_equal(count(w, "numbers.v1"), 1);
    assert_int_equal(count(w, "\"data\":49}"), 1);
    say(w, "{\"op\":\"subscribe\",\"topics\":[\"numbers\"],\"max_hz\":20}");
    for (int i = 0; i < 30; i++) {
        tl_bus_publish(w->node.bus, "numbers", "numbers.v1", TL_STR("0"));
        box_spin(&w->node.box, 10);
    }
    box_spin(&w->node.box, 60);
    assert_in_range(count(w, "numbers.v1"), 4, 11); /* 300 ms and a bit at 20 a second, and the one before */
    close_talk(w);
}

/* Answers that find no room wait, in order, before events; to a bound. */
static void waiting(void **state)
{
    (void)state;
    struct wire *w = open_reader();
    w->room = w->queued = 400;
    say(w, "{\"op\":\"ping\",\"id\":1}\n{\"op\":\"ping\",\"id\":2}\n{\"op\":\"subscribe\",\"topics\":[\"task/a\"]}");
    assert_int_equal(count(w, "pong"), 0); /* behind the hello */
    drain(w);
    assert_int_equal(count(w, "pong"), 2);
    assert_true(place(w, "\"id\":1") < place(w, "\"id\":2"));
    assert_true(place(w, "\"subscribed\"") < place(w, "\"snapshot\""));
    assert_true(place(w, "\"id\":2") < place(w, "\"subscribed\""));
    w->queued = 1;
    for (int i = 0; i < 2000 && !w->code; i++) talk_message(&w->talk, TL_STR("{\"op\":\"ping\"}"));
    assert_int_equal(w->code, 1008);
    close_talk(w);
}

static enum tl_status check_upper(void *ctx, const char *topic, char out[TL_TOPIC_MAX + 1], struct tl_err *err)
{
    const bool *shut = ctx;
    if (*shut) return tl_fail(err, TL_FULL, "no more of them");
    snprintf(out, TL_TOPIC_MAX + 1, "x/%c", topic[2] & ~0x20);
    return TL_OK;
}

/* One topic, however it is spelled; one that cannot be begun anew is over, and that is said. */
static void spellings(void **state)
{
    (void)state;
    struct wire *w = open_reader();
    bool shut = false;
    const struct tl_topic_source x = {.prefix = "x/", .check = check_upper, .ctx = &shut};
    assert_int_equal(tl_bus_source(w->node.bus, &x), TL_OK);
    say(w, "{\"op\":\"subscribe\",\"topics\":[\"x/a\"]}\n{\"op\":\"subscribe\",\"topics\":[\"x/A\",\"x/a\"]}");
    assert_int_equal(count(w, "{\"op\":\"subscribed\",\"topic\":\"x/A\",\"asked\":\"x/a\"}"), 2);
    assert_int_equal(w->talk.feed.n_subs, 1);
    tl_bus_publish(w->node.bus, "x/A", "x.v1", TL_STR("1"));
    box_spin(&w->node.box, 5);
    assert_int_equal(count(w, "\"x.v1\""), 1);
    shut = true;
    say(w, "{\"op\":\"subscribe\",\"topics\":[\"x/a\"]}"); /* refused: what was there stays */
    assert_int_equal(count(w, "\"code\":\"FULL\""), 1);
    assert_int_equal(w->talk.feed.n_subs, 1);
    w->queued = w->room;
    for (int i = 0; i < 3; i++) say(w, "{\"op\":\"ping\"}"); /* answers wait: the next state waits behind them */
    tl_bus_publish(w->node.bus, "x/A", "x.v1", TL_STR("2"));
    box_spin(&w->node.box, 5);
    w->queued = 1; /* the backlog looks small, yet nothing fits */
    w->room = 1;
    tl_bus_publish(w->node.bus, "x/A", "x.v1", TL_STR("3"));
    box_spin(&w->node.box, 5);
    w->room = 256 * 1024;
    drain(w);
    assert_int_equal(count(w, "\"code\":\"FULL\",\"topic\":\"x/A\",\"detail\":\"the subscription is over\""), 1);
    assert_int_equal(w->talk.feed.n_subs, 0);
    say(w, "{\"op\":\"unsubscribe\",\"id\":9,\"topics\":[\"x/A\"]}");
    assert_int_equal(count(w, "{\"op\":\"error\",\"id\":9,\"code\":\"NOT_FOUND\""), 1);
    close_talk(w);
}

/* A history comes in pages of a size that a reader can take; no more are under way than may be. */
static void history(void **state)
{
    (void)state;
    struct wire *w = open_reader();
    struct tl_task *t = task_begin(&w->node, "a");
    static char data[20100];
    snprintf(data, sizeof data, "{\"item\":\"%020000d\"}", 7);
    for (int i = 0; i < 10; i++) task_say(t, "task.item.completed.v1", data);
    box_spin(&w->node.box, 10);
    say(w, "{\"op\":\"history\",\"id\":1,\"topic\":\"task/a\"}");
    assert_int_equal(count(w, "task.item.completed.v1"), 4);
    assert_int_equal(count(w, "\"complete\":true,\"more\":true"), 1);
    struct tl_position at = tl_task_position(t);
    char ask[160], position[TL_POSITION_MAX];
    at.seq = 8;
    tl_position_format(at, position);
    snprintf(ask, sizeof ask, "{\"op\":\"history\",\"id\":2,\"topic\":\"task/a\",\"since\":\"%s\",\"limit\":3}",
             position);
    say(w, ask);
    assert_int_equal(count(w, "task.item.completed.v1"), 6);
    assert_int_equal(count(w, "\"complete\":true,\"more\":false"), 1);
    w->queued = 0;
    talk_message(
        &w->talk,
        TL_STR(
            "{\"op\":\"history\",\"id\":3,\"topic\":\"task/a\"}\n{\"op\":\"history\",\"id\":3,\"topic\":\"task/a\"}\n"
            "{\"op\":\"history\",\"id\":3,\"topic\":\"task/a\"}\n{\"op\":\"history\",\"id\":3,\"topic\":\"task/a\"}\n"
            "{\"op\":\"history\",\"id\":4,\"topic\":\"task/a\"}"));
    assert_int_equal(count(w, "{\"op\":\"error\",\"id\":4,\"code\":\"FULL\""), 1);
    box_spin(&w->node.box, 10);
    assert_int_equal(count(w, "\"id\":3"), 4);
    talk_message(&w->talk, TL_STR("{\"op\":\"history\",\"topic\":\"task/a\"}")); /* it goes before the answer comes */
    task_complete(t);
    close_talk(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello),   cmocka_unit_test(strangers), cmocka_unit_test(runs_out),
        cmocka_unit_test(via),     cmocka_unit_test(slow),      cmocka_unit_test(merged),
        cmocka_unit_test(waiting), cmocka_unit_test(spellings), cmocka_unit_test(history),
    };
    cmocka_set_test_filter(getenv("TEST_ONLY"));
    return cmocka_run_group_tests_name("talk", tests, NULL, NULL);
}
