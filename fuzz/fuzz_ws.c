/* SPDX-License-Identifier: Apache-2.0 */
/* A peer that sends anything, cut anywhere: the bytes as they are, or frames built of them (any header, any order, a
 * mask and a length that fit), into a socket with small limits. What is delivered is within the limits, a text is valid
 * UTF-8 (by another decoder), and what the peer gets back are whole, unmasked frames with at most one close frame, the
 * last; in the end every socket is told that it is closed, once. */
#include "base/util.h"
#include "ws/ws.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MESSAGE_BYTES = 300, FRAGMENTS = 4, BURST = 8, BACK_BYTES = 1 << 20 };

struct fuzzed {
    struct tl_ws *ws;
    int peer;
    unsigned closed;
    unsigned char act; /* what the handler does with the next messages, two bits each */
    unsigned char back[BACK_BYTES];
    size_t n_back;
};

static bool is_utf8(struct tl_str s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    for (size_t i = 0; i < s.n;) {
        size_t more = p[i] < 0x80 ? 0 : p[i] >> 5 == 6 ? 1 : p[i] >> 4 == 14 ? 2 : p[i] >> 3 == 30 ? 3 : 9;
        uint32_t c = more == 0 ? p[i] : p[i] & (0x3Fu >> more);
        if (more == 9 || i + more >= s.n) return false;
        for (size_t k = 1; k <= more; k++) {
            if (p[i + k] >> 6 != 2) return false;
            c = c << 6 | (p[i + k] & 0x3F);
        }
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        if (c < least[more] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return false;
        i += more + 1;
    }
    return true;
}

static void on_message(void *ctx, enum tl_ws_opcode opcode, struct tl_str s)
{
    struct fuzzed *f = ctx;
    TL_ASSERT(f->closed == 0 && s.n <= MESSAGE_BYTES);
    TL_ASSERT(opcode == TL_WS_BINARY || (opcode == TL_WS_TEXT && is_utf8(s)));
    unsigned act = f->act & 3;
    f->act >>= 2;
    if (act == 3) {
        tl_ws_close(f->ws, 1001, "enough");
    } else if (act == 2) {
        tl_ws_cut(f->ws);
    } else {
        struct tl_ws_frame *echo = tl_ws_frame_new(opcode, &s, 1);
        TL_ASSERT(echo);
        (void)!tl_ws_send(f->ws, echo);
        tl_ws_frame_unref(echo);
    }
}

static void on_closed(void *ctx, unsigned code, const char *why)
{
    struct fuzzed *f = ctx;
    TL_ASSERT(f->closed++ == 0 && why && code >= 1000 && code <= 4999);
}

static void on_all_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static void take_back(struct fuzzed *f)
{
    ssize_t n;
    while ((n = recv(f->peer, f->back + f->n_back, sizeof f->back - f->n_back, MSG_DONTWAIT)) > 0)
        f->n_back += (size_t)n;
}

static void check_back(const struct fuzzed *f, bool cut)
{
    bool closed = false;
    for (size_t at = 0; at < f->n_back;) {
        const unsigned char *p = f->back + at;
        size_t left = f->n_back - at, head = 2, n;
        TL_ASSERT(!closed);
        if (left < 2) {
            TL_ASSERT(cut);
            return;
        }
        unsigned opcode = p[0] & 0x0F;
        n = p[1];
        TL_ASSERT((p[0] & 0xF0) == 0x80 && n != 127 && n < 128);
        TL_ASSERT(opcode == TL_WS_TEXT || opcode == TL_WS_BINARY || (opcode >= 8 && opcode <= 10 && n <= 125));
        if (n == 126) {
            n = left >= 4 ? (size_t)p[2] << 8 | p[3] : MESSAGE_BYTES;
            head = 4;
        }
        TL_ASSERT(n <= MESSAGE_BYTES);
        if (left < head + n) {
            TL_ASSERT(cut);
            return;
        }
        closed = opcode == 8;
        at += head + n;
    }
}

/* Each four bytes say a frame: its first byte, its length, how long a piece of it comes at once; its payload follows.
 */
static size_t build(unsigned char *to, size_t cap, const uint8_t *data, size_t size)
{
    size_t n = 0;
    while (size >= 3 && n + 14 + 512 < cap) {
        size_t length = data[1] < 250 ? data[1] : (size_t)(data[1] - 249) * 80, have;
        to[n++] = data[0] & 0x70 && data[2] & 0x0F ? data[0] & 0x8F : data[0]; /* reserved bits are rare */
        to[n++] = (unsigned char)(0x80 | (length < 126 ? length : 126));
        if (length >= 126) {
            to[n++] = (unsigned char)(length >> 8);
            to[n++] = (unsigned char)length;
        }
        const uint8_t mask = data[2];
        for (int i = 0; i < 4; i++) to[n++] = mask;
        data += 3;
        size -= 3;
        have = TL_MIN(length, size);
        for (size_t i = 0; i < length; i++) to[n++] = (i < have ? data[i] : 'a') ^ mask;
        data += have;
        size -= have;
    }
    return n;
}

/* Pieces of the lengths that cuts says, in turn; a turn of the loop behind each. */
static void send_all(uv_loop_t *loop, struct fuzzed *f, const unsigned char *p, size_t n, const uint8_t cuts[4])
{
    for (size_t at = 0, i = 0; at < n && f->closed == 0; i++) {
        size_t want = cuts[i % 4] % 16 == 0 ? n - at : TL_MIN((size_t)(cuts[i % 4] % 16), n - at);
        ssize_t sent = send(f->peer, p + at, want, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) at += (size_t)sent;
        if (sent < 0 && errno != EAGAIN) return;
        uv_run(loop, UV_RUN_NOWAIT);
        take_back(f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzzed f;
    static unsigned char bytes[1 << 17];
    uv_loop_t loop;
    struct tl_ws_loop *l;
    const struct tl_ws_loop_options o = {
        .message_bytes = MESSAGE_BYTES, .fragments = FRAGMENTS, .control_burst = BURST, .queue_bytes = 2048};
    const struct tl_ws_handler h = {on_message, NULL, on_closed, &f};
    int fds[2];
    bool all_closed = false;
    if (size < 6 || size > 65536) return 0;
    f.closed = 0;
    f.n_back = 0;
    f.act = data[1];
    bool cut = false;
    for (unsigned a = data[1]; a; a >>= 2) cut |= (a & 3) == 2;
    size_t n = size - 6, early;
    if (data[0] & 1)
        n = build(bytes, sizeof bytes, data + 6, n);
    else
        memcpy(bytes, data + 6, n);
    early = data[0] & 2 ? TL_MIN(n, (size_t)(data[0] >> 2)) : 0;
    TL_ASSERT(uv_loop_init(&loop) == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    TL_ASSERT(tl_ws_loop_start(&loop, &o, &l, NULL) == TL_OK);
    f.peer = fds[1];
    TL_ASSERT(tl_ws_start(l, fds[0], (struct tl_str){(const char *)bytes, early}, &h, &f.ws, NULL) == TL_OK);
    send_all(&loop, &f, bytes + early, n - early, data + 2);
    shutdown(f.peer, SHUT_WR);
    for (int i = 0; i < 50 && f.closed == 0; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        take_back(&f);
    }
    TL_ASSERT(f.closed == 1);
    take_back(&f);
    check_back(&f, cut);
    close(f.peer);
    tl_ws_loop_close(l, on_all_closed, &all_closed);
    uv_run(&loop, UV_RUN_DEFAULT);
    TL_ASSERT(all_closed && uv_loop_close(&loop) == 0);
    return 0;
}
