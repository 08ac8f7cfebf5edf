/* SPDX-License-Identifier: Apache-2.0 */
/* What a WebSocket sends: one write a turn, queues that are bounded and who is told when they empty, pongs in front of
 * messages, and that a reader who stands still costs the others nothing. */
#include "support.h"

#include "ws_end.h"

static void one_write_a_turn(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end e[3];
    ws_world_start(&w, (struct tl_ws_loop_options){0});
    for (int i = 0; i < 3; i++) ws_begin(&e[i], &w, WS_RECORD);
    ws_turn(&w);
    struct tl_ws_stats before = ws_stats(&w);
    struct tl_ws_frame *f = ws_filled(200, 'x');
    for (int k = 0; k < 40; k++)
        for (int i = 0; i < 3; i++) assert_int_equal(tl_ws_send(e[i].ws, f), TL_OK);
    assert_int_equal(ws_stats(&w).queued_bytes, 3 * 40 * tl_ws_frame_bytes(f));
    assert_int_equal(ws_stats(&w).writes, before.writes);
    ws_turn(&w);
    assert_int_equal(ws_stats(&w).writes, before.writes + 3);
    assert_int_equal(ws_stats(&w).frames_out, before.frames_out + 120);
    assert_int_equal(ws_stats(&w).bytes_out, before.bytes_out + 120 * tl_ws_frame_bytes(f));
    assert_int_equal(ws_stats(&w).queued_bytes, 0);
    tl_ws_frame_unref(f);
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 40; k++) assert_int_equal(ws_expect(&e[i], WS_FIN | TL_WS_BINARY).n, 200);
        tl_ws_cut(e[i].ws);
        ws_expect_end(&e[i], 1006);
        ws_release(&e[i]);
    }
    ws_world_end(&w);
}

/* FULL holds, is told of when half is gone, and nothing that was accepted is lost. */
static void full_and_drained(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end e;
    ws_world_start(&w, ws_short_options);
    ws_begin_tcp(&e, &w, WS_RECORD);
    unsigned sent = ws_fill_up(&e, 1000);
    assert_true(tl_ws_queued_bytes(e.ws) > 200000 - 2 * 1004 && tl_ws_queued_bytes(e.ws) <= 200000);
    assert_true(ws_stats(&w).full > 0);
    assert_int_equal(e.drained, 0);
    size_t least = SIZE_MAX;
    for (unsigned got = 0; got < sent; got++) {
        if (e.drained == 0) least = TL_MIN(least, tl_ws_queued_bytes(e.ws));
        assert_int_equal(ws_expect(&e, WS_FIN | TL_WS_BINARY).n, 1000);
    }
    assert_true(least >= 100000);
    assert_int_equal(e.drained, 1);
    /* Nothing is queued any more: told from the loop, once. */
    tl_ws_tell_drained(e.ws);
    assert_int_equal(e.drained, 1);
    WS_UNTIL(&w, e.drained == 2);
    ws_turn(&w);
    ws_turn(&w);
    assert_int_equal(e.drained, 2);
    /* Something is: told when it is not. */
    sent = ws_fill_up(&e, 1000);
    tl_ws_tell_drained(e.ws);
    for (unsigned got = 0; got < sent; got++) ws_expect(&e, WS_FIN | TL_WS_BINARY);
    WS_UNTIL(&w, e.drained == 4);
    assert_int_equal(tl_ws_queued_bytes(e.ws), 0);
    ws_send(&e, TL_WS_TEXT, TL_STR("nobody asked to be told of this"));
    ws_expect(&e, WS_FIN | TL_WS_TEXT);
    assert_int_equal(e.drained, 4);
    ws_release(&e);
    WS_UNTIL(&w, e.closes == 1);
    ws_world_end(&w);
}

/* One message finds place in an empty queue whatever its size; small ones are bounded by number. */
static void queue_bounds(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end e;
    ws_world_start(&w, ws_short_options);
    ws_begin_tcp(&e, &w, WS_RECORD);
    struct tl_ws_frame *huge = ws_filled(3000000, 'h'), *tiny = ws_filled(1, 't');
    assert_int_equal(tl_ws_send(e.ws, huge), TL_OK);
    assert_int_equal(tl_ws_send(e.ws, tiny), TL_FULL);
    assert_int_equal(ws_expect(&e, WS_FIN | TL_WS_BINARY).n, 3000000);
    WS_UNTIL(&w, e.drained == 1);
    unsigned n = 0;
    while (tl_ws_send(e.ws, tiny) == TL_OK) n++;
    assert_int_equal(n, 200000 / 64);
    for (; n > 0; n--) assert_int_equal(ws_expect(&e, WS_FIN | TL_WS_BINARY).n, 1);
    tl_ws_frame_unref(huge);
    tl_ws_frame_unref(tiny);
    ws_release(&e);
    WS_UNTIL(&w, e.closes == 1);
    ws_world_end(&w);
}

/* A pong goes in front of the messages that wait, never into one; of many the newest is answered. */
static void pongs_overtake(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end e;
    char last[3] = "";
    ws_world_start(&w, ws_short_options);
    ws_begin_tcp(&e, &w, WS_RECORD);
    unsigned sent = ws_fill_up(&e, 5000), before = 0, pongs = 0, got = 0;
    unsigned char pings[50 * 8];
    for (int i = 10; i < 60; i++) {
        const char text[] = {(char)('0' + i / 10), (char)('0' + i % 10)};
        ws_put(pings + (i - 10) * 8, WS_FIN | WS_PING, (struct tl_str){text, 2}, true, 0);
    }
    ws_put_bytes(&e, pings, sizeof pings, 0); /* one read */
    for (int i = 0; i < 200; i++) ws_turn(&w);
    while (got < sent || strcmp(last, "59") != 0) {
        unsigned first = 0;
        struct tl_str p;
        WS_UNTIL(&w, (ws_take(&e), ws_parse(&e, &first, &p)));
        if (first == (WS_FIN | WS_PONG)) {
            assert_int_equal(p.n, 2);
            assert_true(memcmp(p.p, last, 2) > 0);
            memcpy(last, p.p, 2);
            if (pongs++ == 0) before = got;
        } else {
            assert_int_equal(p.n, 5000);
            got++;
        }
    }
    assert_int_equal(pongs, 17); /* sixteen, and the newest */
    assert_true(before < sent);
    ws_release(&e);
    WS_UNTIL(&w, e.closes == 1);
    ws_world_end(&w);
}

/* Those who do not read cost a queue each and no more; who reads gets everything. */
static void stalled_among_healthy(void **state)
{
    (void)state;
    enum { STALLED = 30, MESSAGES = 2000 };
    struct ws_world w;
    struct ws_end stalled[STALLED], healthy;
    ws_world_start(&w, ws_short_options);
    for (int i = 0; i < STALLED; i++) ws_begin_tcp(&stalled[i], &w, WS_RECORD);
    ws_begin_tcp(&healthy, &w, WS_RECORD);
    struct tl_ws_frame *f = ws_filled(1000, 's');
    for (int k = 0; k < MESSAGES; k++) {
        for (int i = 0; i < STALLED; i++) (void)!tl_ws_send(stalled[i].ws, f);
        assert_int_equal(tl_ws_send(healthy.ws, f), TL_OK);
        assert_int_equal(ws_expect(&healthy, WS_FIN | TL_WS_BINARY).n, 1000);
        assert_true(ws_stats(&w).queued_bytes <= STALLED * ws_short_options.queue_bytes + 1004);
    }
    for (int i = 0; i < STALLED; i++) assert_true(tl_ws_queued_bytes(stalled[i].ws) > 190000);
    tl_ws_frame_unref(f);
    for (int i = 0; i < STALLED; i++) ws_release(&stalled[i]);
    ws_release(&healthy);
    WS_UNTIL(&w, ws_stats(&w).sockets == 0);
    assert_int_equal(ws_stats(&w).queued_bytes, 0);
    ws_world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_write_a_turn), cmocka_unit_test(full_and_drained),      cmocka_unit_test(queue_bounds),
        cmocka_unit_test(pongs_overtake),   cmocka_unit_test(stalled_among_healthy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
