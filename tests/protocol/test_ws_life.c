/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a WebSocket: peers that stall, vanish, flood or trickle, closing from either side, handlers that close
 * and cut from within, and the end of the loop with sockets in every state. Time is a number that the tests move. */
#include "support.h"

#include "ws_end.h"

/* ---- deadlines ---- */

static void stalled_peer(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end slow, dead;
    ws_world_start(&w, ws_short_options);
    ws_begin_tcp(&slow, &w, WS_RECORD);
    ws_begin_tcp(&dead, &w, WS_RECORD);
    ws_fill_up(&slow, 5000);
    ws_fill_up(&dead, 5000);
    for (int i = 0; i < 3; i++) { /* takes a little, late each time: no pong is asked of it meanwhile */
        ws_pass(&w, 2 * WS_MS - 20);
        assert_int_equal(slow.closes, 0);
        size_t queued = tl_ws_queued_bytes(slow.ws);
        WS_UNTIL(&w, (ws_take(&slow), tl_ws_queued_bytes(slow.ws) < queued));
    }
    assert_int_equal(dead.closes, 1);
    assert_int_equal(dead.code, 1006);
    assert_string_equal(dead.why, "the peer takes nothing");
    assert_int_equal(ws_stats(&w).stalled, 1);
    ws_release(&dead);
    ws_release(&slow);
    WS_UNTIL(&w, slow.closes == 1);
    ws_world_end(&w);
}

static void silent_peer(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end e;
    ws_world_start(&w, ws_short_options);
    ws_begin(&e, &w, WS_RECORD);
    for (int i = 0; i < 3; i++) { /* who answers lives on */
        ws_pass(&w, WS_MS - 15);
        ws_take(&e);
        assert_int_equal(e.n, e.at);
        ws_pass(&w, 30);
        assert_int_equal(ws_expect(&e, WS_FIN | WS_PING).n, 0);
        ws_pass(&w, WS_MS - 20);
        assert_int_equal(e.closes, 0);
        ws_put_frame(&e, WS_FIN | WS_PONG, TL_STR(""));
        for (int k = 0; k < 5; k++) ws_turn(&w);
    }
    ws_pass(&w, WS_MS + 15);
    ws_expect(&e, WS_FIN | WS_PING);
    assert_int_equal(e.closes, 0);
    ws_pass(&w, WS_MS + 15);
    assert_int_equal(e.closes, 1);
    assert_int_equal(e.code, 1006);
    assert_string_equal(e.why, "the peer is silent");
    ws_release(&e);
    ws_world_end(&w);
}

/* Bytes that trickle in keep a connection alive, but a message must end some time. */
static void trickling_message(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end e;
    unsigned char bytes[128];
    ws_world_start(&w, ws_short_options);
    ws_begin(&e, &w, WS_RECORD);
    size_t n = ws_put(bytes, WS_FIN | TL_WS_TEXT, TL_STR("a message that comes very, very slowly"), true, 0), at = 0;
    for (unsigned passed = 0; passed < 2 * WS_MS; passed += WS_MS / 4, at++) {
        assert_int_equal(e.closes, 0);
        ws_take(&e);
        assert_int_equal(e.n, 0);
        ws_put_bytes(&e, bytes + at, 1, 0);
        ws_turn(&w);
        ws_pass(&w, WS_MS / 4);
    }
    assert_true(at < n);
    ws_pass(&w, 15);
    ws_expect_close(&e, 1008);
    ws_expect_end(&e, 1008);
    ws_release(&e);
    ws_world_end(&w);
}

/* Pipelined so that a frame is always under way: each ends in time, so nothing is wrong. */
static void always_in_a_frame(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end e;
    unsigned char bytes[64];
    ws_world_start(&w, ws_short_options);
    ws_begin(&e, &w, WS_RECORD);
    size_t n = ws_put(bytes, WS_FIN | TL_WS_TEXT, TL_STR("0123456789"), true, 0);
    ws_put_bytes(&e, bytes, 5, 0);
    for (unsigned i = 0; i < 20; i++) {
        ws_put_bytes(&e, bytes + 5, n - 5, 0);
        ws_put_bytes(&e, bytes, 5, 0);
        ws_pass(&w, WS_MS / 2);
    }
    assert_int_equal(e.messages, 20);
    assert_int_equal(e.closes, 0);
    ws_release(&e);
    WS_UNTIL(&w, e.closes == 1);
    ws_world_end(&w);
}

static void floods(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end e;
    struct tl_ws_loop_options o = {.control_burst = 10};
    ws_world_start(&w, o);
    for (int kind = 0; kind < 2; kind++) {
        unsigned first = WS_FIN | (kind ? WS_PONG : WS_PING);
        ws_begin(&e, &w, WS_RECORD);
        for (int round = 0; round < 3; round++) { /* messages in between, or a second */
            for (int i = 0; i < 10; i++) ws_put_frame(&e, first, TL_STR("x"));
            WS_UNTIL(&w, (ws_turn(&w), true));
            for (int i = 0; i < 20; i++) ws_turn(&w);
            if (round == 0) ws_put_frame(&e, WS_FIN | TL_WS_TEXT, TL_STR("m"));
            if (round == 1) w.now_ns += UINT64_C(1000000000);
        }
        assert_int_equal(e.closes, 0);
        ws_put_frame(&e, first, TL_STR("x"));
        if (!kind)
            for (int i = 0; i < 30; i++) ws_expect(&e, WS_FIN | WS_PONG);
        ws_expect_close(&e, 1008);
        ws_expect_end(&e, 1008);
        ws_release(&e);
    }
    ws_world_end(&w);
}

/* ---- closing ---- */

static void closing_from_here(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end e;
    ws_world_start(&w, ws_short_options);
    ws_begin(&e, &w, WS_RECORD);
    ws_send(&e, TL_WS_TEXT, TL_STR("queued"));
    tl_ws_close(e.ws, 4321,
                "gr\xC3\xBC\xC3\x9F"
                "e");
    tl_ws_close(e.ws, 1000, "again"); /* idempotent */
    struct tl_ws_frame *f = ws_filled(1, 'x');
    assert_int_equal(tl_ws_send(e.ws, f), TL_CANCELLED);
    tl_ws_frame_unref(f);
    ws_expect_text(&e, WS_FIN | TL_WS_TEXT, TL_STR("queued"));
    ws_expect_text(&e, WS_FIN | WS_CLOSE,
                   TL_STR("\x10\xE1gr\xC3\xBC\xC3\x9F"
                          "e"));
    ws_put_frame(&e, WS_FIN | TL_WS_TEXT, TL_STR("crossed it")); /* nobody is told */
    ws_put_frame(&e, WS_FIN | WS_PING, TL_STR("so did this"));
    for (int i = 0; i < 10; i++) ws_turn(&w);
    assert_false(e.eof);
    ws_put_frame(&e, WS_FIN | WS_CLOSE, TL_STR("\x10\xE1"));
    ws_expect_end(&e, 4321);
    assert_int_equal(e.messages, 0);
    ws_release(&e);
    ws_world_end(&w);
}

/* The deadline of each state of closing. */
static void closing_deadlines(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end stuck, mute, clinging;
    ws_world_start(&w, ws_short_options);
    ws_begin_tcp(&stuck, &w, WS_RECORD); /* the close frame does not go out */
    ws_fill_up(&stuck, 5000);
    ws_begin(&mute, &w, WS_RECORD);     /* it is not answered */
    ws_begin(&clinging, &w, WS_RECORD); /* it is, but the connection is not ended */
    tl_ws_close(stuck.ws, 1001, NULL);
    tl_ws_close(mute.ws, 1001, NULL);
    ws_put_frame(&clinging, WS_FIN | WS_CLOSE, TL_STR("\x03\xE8"));
    ws_expect_close(&mute, 1001);
    ws_expect_close(&clinging, 1000);
    WS_UNTIL(&w, (ws_take(&clinging), clinging.eof));
    ws_pass(&w, WS_MS - 20);
    assert_int_equal(stuck.closes + mute.closes + clinging.closes, 0);
    for (int i = 0; i < 3; i++) ws_put_frame(&clinging, WS_FIN | WS_PING, TL_STR("")); /* does not help */
    ws_pass(&w, 40);
    assert_int_equal(stuck.closes, 1);
    assert_int_equal(mute.closes, 1);
    assert_int_equal(clinging.closes, 1);
    assert_int_equal(stuck.code, 1001);
    assert_int_equal(mute.code, 1001);
    assert_string_equal(mute.why, "the peer does not end the connection");
    assert_int_equal(clinging.code, 1000);
    assert_string_equal(clinging.why, "closed by the peer");
    ws_release(&stuck);
    ws_release(&mute);
    ws_release(&clinging);
    assert_int_equal(ws_stats(&w).queued_bytes, 0);
    ws_world_end(&w);
}

/* Both at once; a fault while the answer is awaited. */
static void closing_crossed(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end e;
    ws_world_start(&w, ws_short_options);
    ws_begin(&e, &w, WS_RECORD);
    tl_ws_close(e.ws, 1001, NULL);
    ws_put_frame(&e, WS_FIN | WS_CLOSE, TL_STR("\x03\xE8"));
    ws_expect_close(&e, 1001);
    ws_expect_end(&e, 1001);
    ws_release(&e);
    ws_begin(&e, &w, WS_RECORD);
    tl_ws_close(e.ws, 1001, NULL);
    ws_expect_close(&e, 1001);
    ws_put_frame(&e, WS_FIN | 0x40 | TL_WS_TEXT, TL_STR("x"));
    ws_expect_end(&e, 1001);
    assert_int_equal(ws_stats(&w).protocol_errors, 1);
    ws_release(&e);
    ws_world_end(&w);
}

/* The close frame arrives although the peer has sent what nobody reads. */
static void no_reset_overtakes(void **state)
{
    (void)state;
    struct ws_world w;
    ws_world_start(&w, ws_short_options);
    for (int i = 0; i < 20; i++) {
        struct ws_end e;
        ws_begin_tcp(&e, &w, WS_RECORD);
        ws_put_frame(&e, WS_FIN | 0x10 | TL_WS_TEXT, TL_STR("bad"));
        for (int k = 0; k < 300; k++) ws_put_frame(&e, WS_FIN | TL_WS_TEXT, TL_STR("behind it"));
        ws_expect_close(&e, 1002);
        ws_expect_end(&e, 1002);
        ws_release(&e);
    }
    ws_world_end(&w);
}

static void vanished(void **state)
{
    (void)state;
    struct ws_world w;
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    ws_world_start(&w, ws_short_options);
    for (int how = 0; how < 4; how++) {
        struct ws_end e;
        ws_begin_tcp(&e, &w, WS_RECORD);
        if (how & 1) ws_fill_up(&e, 5000);
        if (how & 2) assert_int_equal(setsockopt(e.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
        close(e.fd);
        e.fd = -1;
        WS_UNTIL(&w, e.closes == 1);
        assert_int_equal(e.code, 1006);
        ws_release(&e);
    }
    ws_world_end(&w);
}

/* A close frame is heard although a reset came right behind it. */
static void reset_behind_a_close(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end e;
    ws_world_start(&w, ws_short_options);
    ws_begin_tcp(&e, &w, WS_RECORD);
    ws_send(&e, TL_WS_TEXT, TL_STR("not read: so there is a reset"));
    for (int i = 0; i < 5; i++) ws_turn(&w);
    ws_put_frame(&e, WS_FIN | WS_CLOSE, TL_STR("\x0F\xA0"));
    close(e.fd);
    e.fd = -1;
    WS_UNTIL(&w, e.closes == 1);
    assert_int_equal(e.code, 4000);
    ws_release(&e);
    ws_world_end(&w);
}

/* ---- from within ---- */

static void from_within(void **state)
{
    (void)state;
    static const enum ws_act acts[] = {WS_DO_CLOSE, WS_DO_CUT, WS_DO_CUT_OTHER, WS_DO_SEND_CLOSE_CUT, WS_DO_END_ALL};
    for (size_t i = 0; i < TL_COUNT(acts); i++) {
        struct ws_world w;
        struct ws_end e, other;
        ws_world_start(&w, ws_short_options);
        ws_begin(&e, &w, acts[i]);
        ws_begin(&other, &w, WS_ECHO);
        e.other = &other;
        unsigned char bytes[256];
        size_t n = ws_put(bytes, TL_WS_TEXT, TL_STR("from"), true, 0);
        n += ws_put(bytes + n, WS_FIN | WS_CONT, TL_STR(" within"), true, 0);
        if (acts[i] != WS_DO_CUT_OTHER) n += ws_put(bytes + n, WS_FIN | TL_WS_TEXT, TL_STR("never"), true, 0);
        n += ws_put(bytes + n, WS_FIN | TL_WS_TEXT, TL_STR("cut in the midst"), true, 0) - 4;
        ws_put_frame(&other, WS_FIN | TL_WS_TEXT, TL_STR("to both"));
        ws_put_bytes(&e, bytes, n, 0);
        WS_UNTIL(&w, e.messages == 1);
        if (acts[i] == WS_DO_CLOSE) {
            ws_expect_close(&e, 1001);
            assert_int_equal(e.closes, 0);
        } else if (acts[i] == WS_DO_CUT_OTHER) {
            WS_UNTIL(&w, other.closes == 1);
            assert_int_equal(e.closes, 0);
        } else if (acts[i] == WS_DO_END_ALL) {
            WS_UNTIL(&w, w.closed);
            assert_int_equal(other.closes, 1);
            assert_int_equal(e.closes, 1);
            w.ws = NULL;
        } else {
            WS_UNTIL(&w, e.closes == 1);
        }
        assert_string_equal(e.last, "from within");
        ws_world_end(&w);
        assert_int_equal(e.closes, 1);
        assert_int_equal(other.closes, 1);
        ws_release(&e);
        ws_release(&other);
    }
}

static void end_all_when_closed(void **state)
{
    (void)state;
    for (int alone = 0; alone <= 1; alone++) {
        struct ws_world w;
        struct ws_end e, other;
        ws_world_start(&w, ws_short_options);
        ws_begin(&e, &w, WS_RECORD);
        if (!alone) ws_begin(&other, &w, WS_RECORD);
        e.end_all_when_closed = true;
        tl_ws_cut(e.ws);
        WS_UNTIL(&w, w.closed);
        w.ws = NULL;
        ws_world_end(&w);
        assert_int_equal(e.closes, 1);
        ws_release(&e);
        if (alone) continue;
        assert_int_equal(other.closes, 1);
        ws_release(&other);
    }
}

/* What is sent where the loop is about to wait already does not wait for the next event. */
static void send_when_prepared(uv_prepare_t *prepare)
{
    struct ws_end *e = prepare->data;
    ws_send(e, TL_WS_TEXT, TL_STR("late in the turn"));
    uv_prepare_stop(prepare);
}

static void on_late(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void sent_while_preparing(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end e;
    uv_prepare_t prepare;
    uv_timer_t timer;
    bool late = false;
    /* No tick wakes the loop by chance. */
    ws_world_start(&w, (struct tl_ws_loop_options){0});
    ws_begin(&e, &w, WS_RECORD);
    uv_prepare_init(&w.loop, &prepare);
    uv_timer_init(&w.loop, &timer);
    prepare.data = &e;
    timer.data = &late;
    uv_prepare_start(&prepare, send_when_prepared);
    uv_update_time(&w.loop);
    uv_timer_start(&timer, on_late, 200, 0);
    uint64_t writes = ws_stats(&w).writes;
    for (int i = 0; i < 3 && ws_stats(&w).writes == writes; i++) uv_run(&w.loop, UV_RUN_ONCE);
    assert_false(late);
    ws_expect_text(&e, WS_FIN | TL_WS_TEXT, TL_STR("late in the turn"));
    uv_close((uv_handle_t *)&prepare, NULL);
    uv_close((uv_handle_t *)&timer, NULL);
    ws_release(&e);
    WS_UNTIL(&w, e.closes == 1);
    ws_world_end(&w);
}

static void cut_when_drained(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end e;
    ws_world_start(&w, ws_short_options);
    ws_begin(&e, &w, WS_DO_CUT);
    ws_send(&e, TL_WS_TEXT, TL_STR("x"));
    tl_ws_tell_drained(e.ws);
    ws_expect_text(&e, WS_FIN | TL_WS_TEXT, TL_STR("x"));
    ws_expect_end(&e, 1006);
    assert_int_equal(e.drained, 1);
    ws_release(&e);
    ws_world_end(&w);
}

/* ---- the end of all ---- */

static void all_states_end(void **state)
{
    (void)state;
    enum { OPEN, FRESH, BLOCKED, DIRTY, MID_FRAME, EARLY, CLOSING, AWAITING, LINGERING, CUT, STATES };
    struct ws_world w;
    struct ws_end e[STATES];
    int fds[2];
    ws_world_start(&w, ws_short_options);
    for (int i = 0; i < STATES; i++)
        if (i != EARLY) ws_begin_tcp(&e[i], &w, WS_RECORD);
    ws_turn(&w);
    ws_fill_up(&e[BLOCKED], 5000);
    ws_fill_up(&e[CLOSING], 5000);
    tl_ws_close(e[CLOSING].ws, 1001, NULL);
    tl_ws_close(e[AWAITING].ws, 1001, NULL);
    ws_expect_close(&e[AWAITING], 1001);
    ws_put_frame(&e[LINGERING], WS_FIN | WS_CLOSE, TL_STR("\x03\xE8"));
    ws_expect_close(&e[LINGERING], 1000);
    ws_put_bytes(&e[MID_FRAME], "\x81\x85xxxxh", 7, 0);
    for (int i = 0; i < 5; i++) ws_turn(&w);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ws_begin_on(&e[EARLY], &w, fds, TL_STR("\x81\x81xxxx\x10"));
    ws_send(&e[DIRTY], TL_WS_TEXT, TL_STR("x"));
    tl_ws_cut(e[CUT].ws);
    tl_ws_cut(e[CUT].ws);
    assert_int_equal(ws_stats(&w).sockets, STATES);
    tl_ws_loop_close(w.ws, ws_on_world_closed, &w);
    tl_ws_loop_close(w.ws, NULL, NULL);
    struct tl_ws *late;
    assert_int_equal(
        tl_ws_start(w.ws, dup(e[OPEN].fd), (struct tl_str){NULL, 0}, &(struct tl_ws_handler){0}, &late, NULL),
        TL_CANCELLED);
    for (int i = 0; i < STATES; i++) assert_int_equal(e[i].closes, 0);
    ws_world_end(&w);
    for (int i = 0; i < STATES; i++) {
        static const unsigned codes[STATES] = {[CLOSING] = 1001, [AWAITING] = 1001, [LINGERING] = 1000};
        assert_int_equal(e[i].closes, 1);
        assert_int_equal(e[i].messages, 0);
        assert_int_equal(e[i].code, codes[i] ? codes[i] : 1006);
        ws_release(&e[i]);
    }
}

static void bad_sockets(void **state)
{
    (void)state;
    struct ws_world w;
    struct tl_ws *s;
    struct tl_err err;
    const struct tl_ws_handler none = {0};
    ws_world_start(&w, ws_short_options);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC); /* what epoll refuses */
    assert_int_equal(tl_ws_start(w.ws, file, (struct tl_str){NULL, 0}, &none, &s, &err), TL_IO);
    assert_int_equal(fcntl(file, F_GETFD), -1); /* taken all the same */
    assert_int_equal(ws_stats(&w).sockets, 0);
    ws_world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stalled_peer),
        cmocka_unit_test(silent_peer),
        cmocka_unit_test(trickling_message),
        cmocka_unit_test(always_in_a_frame),
        cmocka_unit_test(floods),
        cmocka_unit_test(closing_from_here),
        cmocka_unit_test(closing_deadlines),
        cmocka_unit_test(closing_crossed),
        cmocka_unit_test(no_reset_overtakes),
        cmocka_unit_test(vanished),
        cmocka_unit_test(reset_behind_a_close),
        cmocka_unit_test(from_within),
        cmocka_unit_test(end_all_when_closed),
        cmocka_unit_test(sent_while_preparing),
        cmocka_unit_test(cut_when_drained),
        cmocka_unit_test(all_states_end),
        cmocka_unit_test(bad_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
