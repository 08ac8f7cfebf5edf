/* SPDX-License-Identifier: Apache-2.0 */
/* Memory runs out at each allocation of a WebSocket's life in turn: what began ends, is told once, and nothing is left
 * behind; a peer that is told anything is told whole frames. */
#include "support.h"

#include "alloc.h"

#include "protocol/ws_end.h"

static char last[32]; /* message */

/* The fixture's own would need memory. */
static void on_message(void *ctx, enum tl_ws_opcode opcode, struct tl_str text)
{
    struct ws_end *e = ctx;
    e->messages++;
    e->opcode = opcode;
    snprintf(last, sizeof last, "%.*s", TL_STR_ARG(text));
}

static void on_closed(void *ctx, unsigned code, const char *why)
{
    struct ws_end *e = ctx;
    e->closes++;
    e->code = code;
    e->ws = NULL;
    assert_non_null(why);
}

/* Early bytes, a message in two fragments cut in the midst, pings, sends beyond the small queue, a close. */
static void talk(struct ws_world *w, struct ws_end *e)
{
    static const char early[] = "\x81\x81\0\0\0\0x";
    const struct tl_ws_handler h = {on_message, NULL, on_closed, e};
    int fds[2];
    unsigned char bytes[64];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    *e = (struct ws_end){.w = w, .fd = fds[1]};
    assert_int_equal(fcntl(e->fd, F_SETFL, O_NONBLOCK), 0);
    enum tl_status st = tl_ws_start(w->ws, fds[0], (struct tl_str){early, sizeof early - 1}, &h, &e->ws, NULL);
    if (st != TL_OK) {
        assert_int_equal(st, TL_NOMEM);
        assert_int_equal(recv(e->fd, bytes, 1, 0), 0); /* fd was taken */
        return;
    }
    size_t n = ws_put(bytes, TL_WS_TEXT, TL_STR("fragment"), true, 0);
    n += ws_put(bytes + n, WS_FIN | WS_PING, TL_STR("p"), true, 0);
    n += ws_put(bytes + n, WS_FIN | WS_CONT, TL_STR("ed"), true, 0);
    ws_put_bytes(e, bytes, 10, 0);
    for (int i = 0; i < 3; i++) ws_turn(w);
    ws_put_bytes(e, bytes + 10, n - 10, 0);
    for (int i = 0; i < 12 && e->ws; i++) {
        struct tl_ws_frame *f = tl_ws_frame_new(TL_WS_TEXT, &(struct tl_str){"sent", 4}, 1);
        if (!f) continue;
        st = tl_ws_send(e->ws, f);
        assert_true(st == TL_OK || st == TL_NOMEM || st == TL_CANCELLED);
        tl_ws_frame_unref(f);
    }
    for (int i = 0; i < 3; i++) ws_turn(w);
    if (e->ws) tl_ws_close(e->ws, 1000, "done");
    for (int i = 0; i < 3; i++) ws_turn(w);
    ws_put_bytes(e, bytes, ws_put(bytes, WS_FIN | WS_CLOSE, TL_STR("\x03\xE8"), true, 0), 0);
    shutdown(e->fd, SHUT_WR);
    WS_UNTIL(w, e->closes == 1);
}

/* Everything that the peer got are whole frames. */
static void check_heard(struct ws_end *e)
{
    unsigned first;
    struct tl_str payload;
    ws_take(e);
    while (ws_parse(e, &first, &payload)) assert_true(first & WS_FIN);
    assert_int_equal(e->at, e->n);
}

static void out_of_memory(void **state)
{
    (void)state;
    unsigned failures = 0;
    for (long n = 0;; n++) {
        struct ws_world w = {.now_ns = 1000000000};
        struct ws_end e = {.fd = -1};
        w.clock = (struct tl_clock){.wall_ms = ws_wall, .mono_ns = ws_mono, .ctx = &w};
        assert_int_equal(uv_loop_init(&w.loop), 0);
        fault_alloc_arm(n);
        struct tl_ws_loop_options o = {.clock = &w.clock};
        enum tl_status st = tl_ws_loop_start(&w.loop, &o, &w.ws, NULL);
        if (st == TL_OK) {
            talk(&w, &e);
        } else {
            assert_int_equal(st, TL_NOMEM);
            w.closed = true;
        }
        bool failed = fault_alloc_disarm();
        if (st == TL_OK) check_heard(&e);
        if (w.ws) assert_int_equal(ws_stats(&w).queued_bytes, 0);
        ws_world_end(&w);
        if (!failed) assert_string_equal(last, "fragmented");
        ws_release(&e);
        if (!failed) break;
        failures++;
    }
    print_message("%u allocations failed in turn\n", failures);
    assert_true(failures >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(out_of_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
