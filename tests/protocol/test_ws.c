/* SPDX-License-Identifier: Apache-2.0 */
/* What a WebSocket receives, in the manner of the Autobahn cases: frames as raw bytes into an echo server, whole, byte
 * by byte and in odd pieces; what comes back is compared byte for byte. Queues are in test_ws_queue.c, deadlines and
 * ends in test_ws_life.c. */
#include "support.h"

#include "ws/ws_i.h"
#include "ws_end.h"

static const size_t steps[] = {0, 1, 3};

/* ---- frames in, frames out ---- */

struct frame {
    unsigned first; /* byte: FIN, reserved bits, opcode. 0 with no text: the end of the list */
    const char *text;
    size_t n;
    int form; /* 0: as it should be; < 0: no mask; 2, 8: the length in that many bytes */
};
#define F(first, literal)                                                                                              \
    {                                                                                                                  \
        (first), (literal), sizeof(literal) - 1, 0                                                                     \
    }
#define END                                                                                                            \
    {                                                                                                                  \
        0, NULL, 0, 0                                                                                                  \
    }
#define TEXT(literal) F(WS_FIN | TL_WS_TEXT, literal)
#define SAID(code)                                                                                                     \
    {                                                                                                                  \
        WS_FIN | WS_CLOSE, code, 2, 0                                                                                  \
    }
#define C1000 "\x03\xE8"
#define C1001 "\x03\xE9"
#define C1002 "\x03\xEA"
#define C1007 "\x03\xEF"
#define X125                                                                                                           \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
    "xxxxx"                                                                                                            \
    "xxxxxxxx"

struct row {
    const char *name;
    struct frame in[10], out[10]; /* of close frames the code is compared */
    unsigned code;                /* what on_closed says; 0: still open, closed by the test then */
};

static const struct row rows[] = {
    {"a text", {TEXT("Hello"), END}, {TEXT("Hello"), END}, 0},
    {"nothing", {TEXT(""), F(WS_FIN | TL_WS_BINARY, ""), END}, {TEXT(""), F(WS_FIN | TL_WS_BINARY, ""), END}, 0},
    {"bytes", {F(WS_FIN | TL_WS_BINARY, "\0\xFF\xFE"), END}, {F(WS_FIN | TL_WS_BINARY, "\0\xFF\xFE"), END}, 0},
    {"ping", {F(WS_FIN | WS_PING, ""), END}, {F(WS_FIN | WS_PONG, ""), END}, 0},
    {"ping with bytes", {F(WS_FIN | WS_PING, "\0\xFF\xFE\xFD"), END}, {F(WS_FIN | WS_PONG, "\0\xFF\xFE\xFD"), END}, 0},
    {"ping of 125", {F(WS_FIN | WS_PING, X125), END}, {F(WS_FIN | WS_PONG, X125), END}, 0},
    {"ping of 126", {F(WS_FIN | WS_PING, X125 "x"), END}, {SAID(C1002), END}, 1002},
    {"pongs nobody asked for", {F(WS_FIN | WS_PONG, "x"), F(WS_FIN | WS_PONG, ""), END}, {END}, 0},
    {"pings in order",
     {F(WS_FIN | WS_PING, "1"), F(WS_FIN | WS_PING, "2"), F(WS_FIN | WS_PING, "3"), F(WS_FIN | WS_PING, "4"), END},
     {F(WS_FIN | WS_PONG, "1"), F(WS_FIN | WS_PONG, "2"), F(WS_FIN | WS_PONG, "3"), F(WS_FIN | WS_PONG, "4"), END},
     0},
    {"RSV1", {F(WS_FIN | 0x40 | TL_WS_TEXT, "x"), TEXT("y"), END}, {SAID(C1002), END}, 1002},
    {"RSV2", {F(WS_FIN | 0x20 | TL_WS_TEXT, ""), END}, {SAID(C1002), END}, 1002},
    {"RSV3", {F(WS_FIN | 0x10 | WS_PING, "x"), END}, {SAID(C1002), END}, 1002},
    {"RSV of a close", {F(WS_FIN | 0x70 | WS_CLOSE, C1000), END}, {SAID(C1002), END}, 1002},
    {"RSV of a continuation", {F(TL_WS_TEXT, "a"), F(WS_FIN | 0x40 | WS_CONT, "b"), END}, {SAID(C1002), END}, 1002},
    {"not masked", {{WS_FIN | TL_WS_TEXT, "x", 1, -1}, END}, {SAID(C1002), END}, 1002},
    {"not masked and empty", {{WS_FIN | WS_PING, "", 0, -1}, END}, {SAID(C1002), END}, 1002},
    {"a text before an unmasked one",
     {TEXT("good"), {WS_FIN | TL_WS_TEXT, "x", 1, -1}, END},
     {TEXT("good"), SAID(C1002), END},
     1002},
    {"length in two bytes too many", {{WS_FIN | TL_WS_TEXT, "x", 1, 2}, END}, {SAID(C1002), END}, 1002},
    {"length in eight bytes too many", {{WS_FIN | TL_WS_TEXT, "x", 1, 8}, END}, {SAID(C1002), END}, 1002},
    {"a control's length in two bytes", {{WS_FIN | WS_PING, "x", 1, 2}, END}, {SAID(C1002), END}, 1002},
    {"a fragmented ping", {F(WS_PING, "x"), F(WS_FIN | WS_CONT, "y"), END}, {SAID(C1002), END}, 1002},
    {"a fragmented pong", {F(WS_PONG, "x"), END}, {SAID(C1002), END}, 1002},
    {"a fragmented close", {F(WS_CLOSE, C1000), END}, {SAID(C1002), END}, 1002},
    {"two fragments", {F(TL_WS_TEXT, "fra"), F(WS_FIN | WS_CONT, "ment"), END}, {TEXT("frament"), END}, 0},
    {"fragments of nothing", {F(TL_WS_TEXT, ""), F(WS_CONT, ""), F(WS_FIN | WS_CONT, ""), END}, {TEXT(""), END}, 0},
    {"empty fragments at both ends",
     {F(TL_WS_BINARY, ""), F(WS_CONT, "middle"), F(WS_FIN | WS_CONT, ""), END},
     {F(WS_FIN | TL_WS_BINARY, "middle"), END},
     0},
    {"pings between fragments",
     {F(TL_WS_TEXT, "a"), F(WS_FIN | WS_PING, "p1"), F(WS_CONT, "b"), F(WS_FIN | WS_PING, "p2"),
      F(WS_FIN | WS_CONT, "c"), TEXT("d"), END},
     {F(WS_FIN | WS_PONG, "p1"), F(WS_FIN | WS_PONG, "p2"), TEXT("abc"), TEXT("d"), END},
     0},
    {"a close between fragments",
     {F(TL_WS_TEXT, "a"), F(WS_FIN | WS_CLOSE, C1000), F(WS_FIN | WS_CONT, "b"), END},
     {SAID(C1000), END},
     1000},
    {"a continuation of nothing", {F(WS_FIN | WS_CONT, "x"), END}, {SAID(C1002), END}, 1002},
    {"an unfinished continuation of nothing", {F(WS_CONT, "x"), END}, {SAID(C1002), END}, 1002},
    {"a continuation behind a whole message",
     {TEXT("x"), F(WS_FIN | WS_CONT, "y"), END},
     {TEXT("x"), SAID(C1002), END},
     1002},
    {"a text within a text", {F(TL_WS_TEXT, "a"), TEXT("b"), END}, {SAID(C1002), END}, 1002},
    {"bytes within a text", {F(TL_WS_TEXT, "a"), F(WS_FIN | TL_WS_BINARY, "b"), END}, {SAID(C1002), END}, 1002},
    {"several messages at once",
     {TEXT("1"), TEXT("22"), F(WS_FIN | TL_WS_BINARY, "333"), TEXT("4444"), END},
     {TEXT("1"), TEXT("22"), F(WS_FIN | TL_WS_BINARY, "333"), TEXT("4444"), END},
     0},
    {"characters across fragments",
     {F(TL_WS_TEXT, "\xCE\xBA\xE1"), F(WS_CONT, "\xBD"), F(WS_CONT, ""), F(WS_FIN | WS_PING, "\xFF"),
      F(WS_FIN | WS_CONT, "\xB9\xF0\x9F\x98\x80"), END},
     {F(WS_FIN | WS_PONG, "\xFF"), TEXT("\xCE\xBA\xE1\xBD\xB9\xF0\x9F\x98\x80"), END},
     0},
    {"a text that ends in a character", {TEXT("\xCE\xBA\xE1\xBD"), END}, {SAID(C1007), END}, 1007},
    {"fragments that end in a character",
     {F(TL_WS_TEXT, "\xCE"), F(WS_FIN | WS_CONT, ""), END},
     {SAID(C1007), END},
     1007},
    {"a character is not carried into the next text",
     {TEXT("ok"), F(TL_WS_TEXT, "a"), F(WS_FIN | WS_CONT, "\xBA"), END},
     {TEXT("ok"), SAID(C1007), END},
     1007},
    {"bytes need not be UTF-8",
     {F(TL_WS_BINARY, "\xCE"), F(WS_FIN | WS_CONT, "\xC0\xFF"), TEXT("x"), END},
     {F(WS_FIN | TL_WS_BINARY, "\xCE\xC0\xFF"), TEXT("x"), END},
     0},
    {"closed without a code", {F(WS_FIN | WS_CLOSE, ""), END}, {F(WS_FIN | WS_CLOSE, ""), END}, 1005},
    {"closed with half a code", {F(WS_FIN | WS_CLOSE, "\x03"), END}, {SAID(C1002), END}, 1002},
    {"closed with a reason", {F(WS_FIN | WS_CLOSE, C1001 "b\xC3\xBC"), END}, {SAID(C1001), END}, 1001},
    {"closed with a long reason", {{WS_FIN | WS_CLOSE, C1000 X125, 125, 0}, END}, {SAID(C1000), END}, 1000},
    {"closed with too long a reason", {{WS_FIN | WS_CLOSE, C1000 X125, 126, 0}, END}, {SAID(C1002), END}, 1002},
    {"closed with a bad reason", {F(WS_FIN | WS_CLOSE, C1000 "\xCE\xBA\xED\xA0\x80"), END}, {SAID(C1007), END}, 1007},
    {"closed with a cut reason", {F(WS_FIN | WS_CLOSE, C1000 "\xCE"), END}, {SAID(C1007), END}, 1007},
    {"a message, then closed", {TEXT("x"), F(WS_FIN | WS_CLOSE, C1000), END}, {TEXT("x"), SAID(C1000), END}, 1000},
    {"what comes behind a close",
     {F(WS_FIN | WS_CLOSE, C1000), TEXT("x"), F(WS_FIN | WS_PING, "x"), F(WS_FIN | WS_CLOSE, C1001), END},
     {SAID(C1000), END},
     1000},
    {"what comes behind a fault",
     {F(WS_FIN | 0x40 | TL_WS_TEXT, "x"), TEXT("y"), F(WS_FIN | WS_PING, ""), F(WS_FIN | WS_CLOSE, C1000), END},
     {SAID(C1002), END},
     1002},
};

static size_t encode(unsigned char *to, const struct frame *f)
{
    size_t n = 0;
    for (; f->text; f++)
        n +=
            ws_put(to + n, f->first, (struct tl_str){f->text, f->n}, f->form >= 0, f->form > 0 ? (unsigned)f->form : 0);
    return n;
}

static void expect_frames(struct ws_end *e, const struct frame *f)
{
    for (; f->text; f++) {
        struct tl_str got = ws_expect(e, f->first);
        if (f->first == (WS_FIN | WS_CLOSE)) got.n = TL_MIN(got.n, (size_t)2);
        assert_int_equal(got.n, f->n);
        assert_memory_equal(got.p, f->text, f->n);
    }
}

/* Open still: it answers, and closes as one should. */
static void close_well(struct ws_end *e)
{
    ws_put_frame(e, WS_FIN | WS_PING, TL_STR("still?"));
    ws_expect_text(e, WS_FIN | WS_PONG, TL_STR("still?"));
    ws_put_frame(e, WS_FIN | WS_CLOSE, (struct tl_str){"\x0F\xA0", 2});
    ws_expect_close(e, 4000);
    ws_expect_end(e, 4000);
}

static void run_row(struct ws_world *w, const struct row *row, size_t step, bool tcp)
{
    unsigned char bytes[4096];
    struct ws_end e;
    size_t n = encode(bytes, row->in);
    uint64_t errors = ws_stats(w).protocol_errors;
    if (tcp)
        ws_begin_tcp(&e, w, WS_ECHO);
    else
        ws_begin(&e, w, WS_ECHO);
    ws_put_bytes(&e, bytes, n, step);
    expect_frames(&e, row->out);
    if (row->code)
        ws_expect_end(&e, row->code);
    else
        close_well(&e);
    bool fault = row->code == 1002 || row->code == 1007;
    assert_int_equal(ws_stats(w).protocol_errors - errors, fault ? 1 : 0);
    ws_release(&e);
}

static void conformance(void **state)
{
    (void)state;
    struct ws_world w;
    ws_world_start(&w, (struct tl_ws_loop_options){0});
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        print_message("%s\n", rows[i].name);
        for (size_t k = 0; k < TL_COUNT(steps); k++) run_row(&w, &rows[i], steps[k], i % 2 == k % 2);
    }
    assert_int_equal(ws_stats(&w).sockets, 0);
    assert_int_equal(ws_stats(&w).queued_bytes, 0);
    ws_world_end(&w);
}

/* What came behind the upgrade is the first of the stream, wherever it is cut. */
static void early_bytes(void **state)
{
    (void)state;
    struct ws_world w;
    unsigned char bytes[64];
    const struct frame frames[] = {TEXT("one"), F(WS_FIN | WS_PING, "two"), TEXT("three"), END};
    const struct frame answers[] = {F(WS_FIN | WS_PONG, "two"), TEXT("one"), TEXT("three"), END};
    size_t n = encode(bytes, frames);
    ws_world_start(&w, (struct tl_ws_loop_options){0});
    for (size_t cut = 0; cut <= n; cut++) {
        struct ws_end e;
        int fds[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        if (cut < n) assert_int_equal(write(fds[1], bytes + cut, n - cut), (ssize_t)(n - cut));
        ws_begin_on(&e, &w, fds, (struct tl_str){(const char *)bytes, cut});
        e.act = WS_ECHO;
        assert_int_equal(e.messages, 0);
        WS_UNTIL(&w, e.messages == 2);
        /* The pong is in front of what is not written yet: of all, if all came at once. */
        struct tl_str first = {NULL, 0};
        unsigned op = 0;
        WS_UNTIL(&w, (ws_take(&e), ws_parse(&e, &op, &first)));
        e.at = 0;
        const struct frame in_order[] = {TEXT("one"), F(WS_FIN | WS_PONG, "two"), TEXT("three"), END};
        expect_frames(&e, op == (WS_FIN | WS_PONG) ? answers : in_order);
        close_well(&e);
        ws_release(&e);
    }
    ws_world_end(&w);
}

static void start_when_prepared(uv_prepare_t *prepare)
{
    struct ws_end *e = prepare->data;
    unsigned char bytes[64];
    int fds[2];
    size_t n = ws_put(bytes, WS_FIN | TL_WS_TEXT, TL_STR("early"), true, 0), cut = n - 2;
    n += ws_put(bytes + n, WS_FIN | TL_WS_TEXT, TL_STR("late"), true, 0);
    uv_prepare_stop(prepare);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(write(fds[1], bytes + cut, n - cut), (ssize_t)(n - cut));
    ws_begin_on(e, e->w, fds, (struct tl_str){(const char *)bytes, cut});
    e->act = WS_ECHO;
}

/* It stays the first also when the socket is looked at before the turn ends. */
static void early_bytes_first(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end e = {.w = &w};
    uv_prepare_t prepare;
    ws_world_start(&w, (struct tl_ws_loop_options){0});
    uv_prepare_init(&w.loop, &prepare);
    prepare.data = &e;
    uv_prepare_start(&prepare, start_when_prepared);
    ws_turn(&w);
    WS_UNTIL(&w, e.messages == 2);
    ws_expect_text(&e, WS_FIN | TL_WS_TEXT, TL_STR("early"));
    ws_expect_text(&e, WS_FIN | TL_WS_TEXT, TL_STR("late"));
    close_well(&e);
    ws_release(&e);
    uv_close((uv_handle_t *)&prepare, NULL);
    ws_world_end(&w);
}

/* ---- lengths ---- */

static char *letters(size_t n)
{
    char *p = malloc(n + 1);
    for (size_t i = 0; i <= n; i++) p[i] = (char)('a' + i * 31 % 26);
    return p;
}

static void send_cut(struct ws_end *e, struct tl_str text, size_t fragments, size_t step)
{
    unsigned char *bytes = malloc(text.n + 14 * fragments);
    size_t n = 0, at = 0;
    for (size_t i = 0; i < fragments; i++) {
        size_t to = text.n * (i + 1) / fragments;
        unsigned first = (i == 0 ? (unsigned)TL_WS_BINARY : WS_CONT) | (i + 1 == fragments ? WS_FIN : 0);
        n += ws_put(bytes + n, first, (struct tl_str){text.p + at, to - at}, true, 0);
        at = to;
    }
    ws_put_bytes(e, bytes, n, step);
    free(bytes);
}

static void lengths(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 124, 125, 126, 127, 128, 4080, 4096, 4097, 65534, 65535, 65536};
    static const size_t pieces[] = {0, 1021, 1};
    struct ws_world w;
    ws_world_start(&w, (struct tl_ws_loop_options){.message_bytes = 65536});
    for (size_t i = 0; i < TL_COUNT(sizes); i++)
        for (size_t k = 0; k < TL_COUNT(pieces); k++)
            for (size_t fragments = 1; fragments <= 128; fragments += 127) {
                struct ws_end e;
                char *text = letters(sizes[i]);
                if (pieces[k] == 1 && sizes[i] > 5000) fragments = 128; /* once is enough */
                ws_begin_tcp(&e, &w, WS_ECHO);
                send_cut(&e, (struct tl_str){text, sizes[i]}, fragments, pieces[k]);
                ws_expect_text(&e, WS_FIN | TL_WS_BINARY, (struct tl_str){text, sizes[i]});
                close_well(&e);
                ws_release(&e);
                free(text);
            }
    ws_world_end(&w);
}

/* ---- limits ---- */

static void message_limit(void **state)
{
    (void)state;
    struct ws_world w;
    ws_world_start(&w, (struct tl_ws_loop_options){.message_bytes = 1000, .fragments = 4});
    static const struct {
        size_t n, fragments;
        unsigned code;
    } limits[] = {{1000, 1, 0},    {1001, 1, 1009}, {1000, 4, 0}, {1001, 4, 1009},
                  {1000, 5, 1008}, {0, 5, 1008},    {0, 4, 0}};
    for (size_t i = 0; i < TL_COUNT(limits); i++)
        for (size_t k = 0; k < TL_COUNT(steps); k++) {
            struct ws_end e;
            char *text = letters(limits[i].n);
            struct tl_str message = {text, limits[i].n};
            ws_begin(&e, &w, WS_ECHO);
            send_cut(&e, message, limits[i].fragments, steps[k]);
            if (limits[i].code) {
                ws_expect_close(&e, limits[i].code);
                ws_expect_end(&e, limits[i].code);
                assert_int_equal(e.messages, 0);
            } else {
                ws_expect_text(&e, WS_FIN | TL_WS_BINARY, message);
                close_well(&e);
            }
            ws_release(&e);
            free(text);
        }
    ws_world_end(&w);
}

/* A frame that says that it is huge is refused with its first byte, and takes no memory. */
static void announced_too_large(void **state)
{
    (void)state;
    static const unsigned char huge[][15] = {
        {0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4, 'x'},
        {0x82, 0xFF, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x01, 1, 2, 3, 4, 'x'},
        {0x82, 0xFF, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 1, 2, 3, 4, 'x'}, /* no length at all */
    };
    static const unsigned codes[] = {1009, 1009, 1002};
    struct ws_world w;
    ws_world_start(&w, (struct tl_ws_loop_options){0});
    for (size_t i = 0; i < TL_COUNT(huge); i++)
        for (size_t k = 0; k < TL_COUNT(steps); k++) {
            struct ws_end e;
            ws_begin(&e, &w, WS_ECHO);
            ws_put_bytes(&e, huge[i], sizeof huge[i], steps[k]);
            ws_expect_close(&e, codes[i]);
            ws_expect_end(&e, codes[i]);
            ws_release(&e);
        }
    ws_world_end(&w);
}

static void reserved_opcodes(void **state)
{
    (void)state;
    struct ws_world w;
    ws_world_start(&w, (struct tl_ws_loop_options){0});
    for (unsigned opcode = 0; opcode < 16; opcode++) {
        if (opcode <= 2 || (opcode >= 8 && opcode <= 10)) continue;
        for (unsigned n = 0; n <= 1; n++)
            for (unsigned fin = n; fin <= 1; fin++) {
                struct ws_end e;
                ws_begin(&e, &w, WS_ECHO);
                ws_put_frame(&e, WS_FIN | TL_WS_TEXT, TL_STR("before"));
                ws_expect_text(&e, WS_FIN | TL_WS_TEXT, TL_STR("before"));
                ws_put_frame(&e, (fin ? WS_FIN : 0) | opcode, (struct tl_str){"x", n});
                ws_expect_close(&e, 1002);
                ws_expect_end(&e, 1002);
                ws_release(&e);
            }
    }
    ws_world_end(&w);
}

/* Every code there is: it comes back, or it is refused. */
static void close_codes(void **state)
{
    (void)state;
    struct ws_world w;
    ws_world_start(&w, (struct tl_ws_loop_options){0});
    static const unsigned edges[] = {0,    1,    999,  1000, 1001, 1002, 1003, 1004, 1005, 1006,
                                     1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015, 1016,
                                     1100, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 65535};
    for (size_t i = 0; i < TL_COUNT(edges); i++) {
        unsigned c = edges[i];
        bool valid = (c >= 1000 && c <= 1003) || (c >= 1007 && c <= 1014) || (c >= 3000 && c <= 4999);
        char payload[2] = {(char)(c >> 8), (char)c};
        struct ws_end e;
        ws_begin(&e, &w, WS_ECHO);
        ws_put_frame(&e, WS_FIN | WS_CLOSE, (struct tl_str){payload, 2});
        ws_expect_close(&e, valid ? c : 1002);
        ws_expect_end(&e, valid ? c : 1002);
        ws_release(&e);
    }
    ws_world_end(&w);
}

/* ---- UTF-8 ---- */

/* The frame announces more than is sent: what is wrong must be found without the rest. */
static void utf8_at_once(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80",
                                      "\xBF",
                                      "\xC0\x80",
                                      "\xC1\xBF",
                                      "\xE0\x80",
                                      "\xE0\x9F",
                                      "\xED\xA0",
                                      "\xED\xBF",
                                      "\xF0\x80",
                                      "\xF0\x8F",
                                      "\xF4\x90",
                                      "\xF5",
                                      "\xF8\x88",
                                      "\xFC",
                                      "\xFE",
                                      "\xFF",
                                      "\xC3\x28",
                                      "\xE2\x28",
                                      "\xE2\x82\x28",
                                      "\xF0\x28",
                                      "\xF0\x90\x28",
                                      "\xF0\x90\x8C\x28",
                                      "a\xCE\xBA\xF4\x90"};
    struct ws_world w;
    ws_world_start(&w, (struct tl_ws_loop_options){0});
    for (size_t i = 0; i < TL_COUNT(bad); i++)
        for (unsigned fragmented = 0; fragmented <= 1; fragmented++) {
            unsigned char bytes[256];
            char text[100];
            struct ws_end e;
            size_t n = 0, said = strlen(bad[i]);
            memset(text, 'x', sizeof text);
            memcpy(text, bad[i], said);
            ws_begin(&e, &w, WS_ECHO);
            if (fragmented) n = ws_put(bytes, TL_WS_TEXT, TL_STR("\xCE\xBA"), true, 0);
            n += ws_put(bytes + n, fragmented ? WS_CONT : WS_FIN | TL_WS_TEXT, (struct tl_str){text, 100}, true, 0);
            ws_put_bytes(&e, bytes, n - 100 + said, 0);
            ws_expect_close(&e, 1007);
            ws_expect_end(&e, 1007);
            assert_int_equal(e.messages, 0);
            ws_release(&e);
        }
    ws_world_end(&w);
}

static void utf8_good(void **state)
{
    (void)state;
    static const char good[] = "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80"
                               "\xF4\x8F\xBF\xBF \xEF\xBB\xBF\xE4\xB8\xAD\xE6\x96\x87";
    struct ws_world w;
    struct ws_end e;
    ws_world_start(&w, (struct tl_ws_loop_options){0});
    ws_begin(&e, &w, WS_ECHO);
    for (size_t cut = 0; cut < sizeof good; cut++) {
        unsigned char bytes[128];
        size_t n = ws_put(bytes, TL_WS_TEXT, (struct tl_str){good, cut}, true, 0);
        n += ws_put(bytes + n, WS_FIN | WS_CONT, (struct tl_str){good + cut, sizeof good - 1 - cut}, true, 0);
        ws_put_bytes(&e, bytes, n, cut % 3);
        ws_expect_text(&e, WS_FIN | TL_WS_TEXT, (struct tl_str){good, sizeof good - 1});
    }
    close_well(&e);
    ws_release(&e);
    ws_world_end(&w);
}

/* A stream of messages of all sizes, cut anywhere; each comes back, whatever is under way in wslay's buffer. */
static void streams(void **state)
{
    (void)state;
    enum { MESSAGES = 300 };
    struct ws_world w;
    unsigned char *bytes = malloc(MESSAGES * 6000);
    char *text = letters(6000);
    ws_world_start(&w, (struct tl_ws_loop_options){.queue_bytes = 4 << 20});
    for (size_t step = 0; step < 9000; step = step * 2 + 1021) {
        struct ws_end e;
        size_t n = 0;
        for (size_t i = 0; i < MESSAGES; i++)
            n += ws_put(bytes + n, WS_FIN | TL_WS_TEXT, (struct tl_str){text, i * i * 7 % 5987}, true, 0);
        ws_begin(&e, &w, WS_ECHO);
        for (size_t at = 0, i = 0; at < n || i < MESSAGES;) {
            size_t want = TL_MIN(step ? step : 40000, n - at);
            ws_put_bytes(&e, bytes + at, want, 0);
            at += want;
            for (struct tl_str got; ws_turn(&w), ws_take(&e), i < MESSAGES && (e.n > e.at || at == n); i++) {
                unsigned first = 0;
                if (!ws_parse(&e, &first, &got)) break;
                assert_int_equal(got.n, i * i * 7 % 5987);
                assert_memory_equal(got.p, text, got.n);
            }
        }
        close_well(&e);
        ws_release(&e);
    }
    free(bytes);
    free(text);
    ws_world_end(&w);
}

/* A socket has a receive state only while something is incomplete. */
static void state_only_while_incomplete(void **state)
{
    (void)state;
    struct ws_world w;
    struct ws_end e[2];
    unsigned char bytes[64];
    ws_world_start(&w, (struct tl_ws_loop_options){0});
    for (int i = 0; i < 2; i++) ws_begin(&e[i], &w, WS_RECORD);
    size_t n = ws_put(bytes, TL_WS_TEXT, TL_STR("one"), true, 0), half = n;
    n += ws_put(bytes + n, WS_FIN | WS_PING, TL_STR(""), true, 0);
    n += ws_put(bytes + n, WS_FIN | WS_CONT, TL_STR("two"), true, 0);
    for (unsigned round = 1; round <= 3; round++) {
        for (size_t at = 0; at < n; at++)
            for (int i = 0; i < 2; i++) {
                ws_put_bytes(&e[i], bytes + at, 1, 1);
                ws_turn(&w);
                assert_true((e[i].ws->in != NULL) == (at + 1 < n));
            }
        for (int i = 0; i < 2; i++) assert_int_equal(e[i].messages, round);
        assert_non_null(w.ws->spare);
    }
    ws_put_bytes(&e[0], bytes, half, 0);
    WS_UNTIL(&w, e[0].ws->in);
    ws_put_frame(&e[0], WS_FIN | 0x70 | WS_CONT, TL_STR("bad"));
    WS_UNTIL(&w, e[0].ws->deaf);
    assert_null(e[0].ws->in); /* nor when nothing is heard any more */
    for (int i = 0; i < 2; i++) ws_release(&e[i]);
    WS_UNTIL(&w, e[0].closes + e[1].closes == 2);
    ws_world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conformance),       cmocka_unit_test(early_bytes),
        cmocka_unit_test(early_bytes_first), cmocka_unit_test(lengths),
        cmocka_unit_test(message_limit),     cmocka_unit_test(reserved_opcodes),
        cmocka_unit_test(close_codes),       cmocka_unit_test(announced_too_large),
        cmocka_unit_test(utf8_at_once),      cmocka_unit_test(utf8_good),
        cmocka_unit_test(streams),           cmocka_unit_test(state_only_while_incomplete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
