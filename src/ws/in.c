/* SPDX-License-Identifier: Apache-2.0 */
/* Receiving: wslay takes frames apart and unmasks them, everything behind that is here: what a frame may be where it
 * comes, limits, UTF-8, controls. wslay tells of a frame with its first byte of payload (with its header, if it has
 * none), so that is when a frame is refused.
 *
 * wslay's context has a buffer of 4 KiB, too much for a socket that is idle. So a socket owns a receive state only
 * while a frame or message of its is incomplete; whoever reads otherwise borrows the loop's spare one, which is blank:
 * wslay is at the beginning of a frame and holds no byte (held == 0), and no message is under way.
 *
 * Invariant: held is what wslay was given less the frames that it gave back whole. */
#include "ws/ws_i.h"

#include "base/buf.h"
#include "base/util.h"
#include "ws/utf8.h"

#include <wslay/wslay.h>

struct tl_ws_in {
    wslay_frame_context_ptr wslay;
    const unsigned char *p; /* being fed */
    size_t n;
    uint64_t held;
    uint64_t since_ns; /* the oldest part of what is incomplete came; 0: nothing is */
    uint64_t seen;     /* payload of the frame under way */
    bool in_frame;
    uint8_t n_control;
    uint8_t message_opcode; /* of the message under way; 0: none */
    struct tl_ws_utf8 utf8; /* of a text; between messages it is between characters */
    size_t fragments;
    struct tl_buf message; /* but for what is delivered from wslay's buffer */
    unsigned char control[TL_WS_CONTROL_MAX];
};

static ssize_t on_recv(uint8_t *out, size_t n, int flags, void *ctx)
{
    struct tl_ws_in *in = ctx;
    (void)flags;
    n = TL_MIN(n, in->n);
    if (n == 0) return -1;
    memcpy(out, in->p, n);
    in->p += n;
    in->n -= n;
    in->held += n;
    return (ssize_t)n;
}

struct tl_ws_in *tl_ws_in_new(void)
{
    const struct wslay_frame_callbacks callbacks = {.recv_callback = on_recv};
    struct tl_ws_in *in = tl_calloc(1, sizeof *in);
    if (in && wslay_frame_context_init(&in->wslay, &callbacks, in) == 0) {
        tl_buf_init(&in->message, 0);
        return in;
    }
    free(in);
    return NULL;
}

void tl_ws_in_free(struct tl_ws_in *in)
{
    if (!in) return;
    wslay_frame_context_free(in->wslay);
    tl_buf_release(&in->message);
    free(in);
}

uint64_t tl_ws_in_since_ns(const struct tl_ws_in *in)
{
    return in->since_ns;
}

static bool is_control(unsigned opcode)
{
    return opcode >= TL_WS_CLOSE;
}

/* ---- controls ---- */

static bool too_many_controls(struct tl_ws *s)
{
    uint64_t now = s->loop->now_ns;
    if (now - s->control_ns >= UINT64_C(1000000000)) {
        s->control_ns = now;
        s->controls = 0;
    }
    return ++s->controls > s->loop->opt.control_burst;
}

static void on_close(struct tl_ws *s, const struct tl_ws_in *in)
{
    struct tl_ws_utf8 utf8 = {0};
    unsigned code = TL_WS_NO_CODE;
    if (in->n_control == 1) {
        tl_ws_fault(s, 1002, "a close frame of one byte");
        return;
    }
    if (in->n_control >= 2) code = (unsigned)in->control[0] << 8 | in->control[1];
    if (in->n_control >= 2 && !tl_ws_code_valid(code))
        tl_ws_fault(s, 1002, "a close frame with a code that none may have");
    else if (in->n_control > 2 &&
             (!tl_ws_utf8_feed(&utf8, in->control + 2, in->n_control - 2u) || !tl_ws_utf8_complete(&utf8)))
        tl_ws_fault(s, 1007, "a close frame whose reason is not UTF-8");
    else
        tl_ws_peer_closes(s, code);
}

static void on_control(struct tl_ws *s, struct tl_ws_in *in, unsigned opcode)
{
    if (opcode == TL_WS_CLOSE) {
        on_close(s, in);
    } else if (too_many_controls(s)) {
        tl_ws_fault(s, 1008, "too many pings and pongs");
    } else if (opcode == TL_WS_PING && s->state == TL_WS_OPEN) {
        struct tl_str payload = {(const char *)in->control, in->n_control};
        tl_ws_out_control(s, tl_ws_frame_make(TL_WS_PONG, &payload, 1));
    }
}

/* ---- messages ---- */

static void deliver(struct tl_ws *s, struct tl_ws_in *in, struct tl_str message)
{
    enum tl_ws_opcode opcode = in->message_opcode == TL_WS_TEXT ? TL_WS_TEXT : TL_WS_BINARY;
    struct tl_buf bytes = in->message; /* borrowed by the handler */
    tl_buf_init(&in->message, 0);
    in->message_opcode = 0;
    in->since_ns = 0;
    s->controls = 0;
    if (s->state == TL_WS_OPEN) {
        s->loop->stats.messages_in++;
        if (s->handler.on_message) s->handler.on_message(s->handler.ctx, opcode, message);
    }
    tl_buf_release(&bytes);
}

static void on_payload(struct tl_ws *s, struct tl_ws_in *in, const struct wslay_frame_iocb *io, bool frame_ends)
{
    bool message_ends = io->fin && frame_ends;
    if (in->message_opcode == TL_WS_TEXT) {
        bool good = tl_ws_utf8_feed(&in->utf8, io->data, io->data_length);
        if (!good || (message_ends && !tl_ws_utf8_complete(&in->utf8))) {
            tl_ws_fault(s, 1007, "a text that is not UTF-8");
            return;
        }
    }
    if (message_ends && in->message.n == 0) {
        deliver(s, in, (struct tl_str){(const char *)io->data, io->data_length});
        return;
    }
    tl_buf_put(&in->message, io->data, io->data_length);
    if (in->message.failed)
        tl_ws_fault(s, 1011, "no memory for a message");
    else if (message_ends)
        deliver(s, in, tl_buf_str(&in->message));
}

/* ---- frames ---- */

/* What is wrong with a frame that begins here; NULL: nothing. */
static const char *misplaced(const struct tl_ws_in *in, const struct wslay_frame_iocb *io)
{
    if (io->rsv) return "a reserved bit is set";
    if (!io->mask) return "a frame without a mask";
    if ((io->opcode > TL_WS_BINARY && io->opcode < TL_WS_CLOSE) || io->opcode > TL_WS_PONG) return "a reserved opcode";
    if (is_control(io->opcode)) return NULL;
    if (io->opcode == TL_WS_CONTINUATION && !in->message_opcode) return "a continuation of nothing";
    if (io->opcode != TL_WS_CONTINUATION && in->message_opcode) return "a message within a message";
    return NULL;
}

static bool begin_frame(struct tl_ws *s, struct tl_ws_in *in, const struct wslay_frame_iocb *io)
{
    const struct tl_ws_loop_options *o = &s->loop->opt;
    const char *wrong = misplaced(in, io);
    if (wrong) {
        tl_ws_fault(s, 1002, wrong);
        return false;
    }
    in->in_frame = true;
    in->seen = 0;
    in->n_control = 0;
    if (is_control(io->opcode)) return true;
    if (io->opcode != TL_WS_CONTINUATION) {
        in->message_opcode = io->opcode;
        in->fragments = 0;
    }
    if (io->payload_length > o->message_bytes - in->message.n)
        tl_ws_fault(s, 1009, "a message larger than the limit");
    else if (++in->fragments > o->fragments)
        tl_ws_fault(s, 1008, "a message of too many fragments");
    else
        return true;
    return false;
}

static uint64_t frame_bytes(const struct wslay_frame_iocb *io)
{
    uint64_t n = io->payload_length;
    return n + 6 + (n < 126 ? 0 : n <= UINT16_MAX ? 2 : 8); /* with its mask; wslay refuses longer forms */
}

static void on_chunk(struct tl_ws *s, struct tl_ws_in *in, const struct wslay_frame_iocb *io)
{
    if (!in->in_frame && !begin_frame(s, in, io)) return;
    in->seen += io->data_length;
    bool ends = in->seen == io->payload_length;
    if (ends) {
        TL_ASSERT(in->held >= frame_bytes(io));
        in->held -= frame_bytes(io);
        in->in_frame = false;
    }
    if (!is_control(io->opcode)) {
        on_payload(s, in, io, ends);
        return;
    }
    TL_ASSERT(in->n_control + io->data_length <= TL_WS_CONTROL_MAX);
    if (io->data_length) memcpy(in->control + in->n_control, io->data, io->data_length);
    in->n_control = (uint8_t)(in->n_control + io->data_length);
    if (!ends) return;
    if (!in->message_opcode) in->since_ns = 0;
    on_control(s, in, io->opcode);
}

/* ---- whose state it is ---- */

static struct tl_ws_in *take(struct tl_ws *s)
{
    if (!s->in) {
        s->in = s->loop->spare;
        s->loop->spare = NULL;
    }
    if (!s->in) s->in = tl_ws_in_new();
    return s->in;
}

static void give_back(struct tl_ws *s)
{
    struct tl_ws_in *in = s->in;
    if (!s->deaf && (in->held > 0 || in->message_opcode)) {
        if (in->since_ns == 0) in->since_ns = s->loop->now_ns;
        tl_ws_plan(s, tl_ws_due(s));
        return;
    }
    s->in = NULL;
    if (s->deaf || s->loop->spare)
        tl_ws_in_free(in); /* wslay may be in the midst of a frame */
    else
        s->loop->spare = in;
}

void tl_ws_in_feed(struct tl_ws *s, const void *p, size_t n)
{
    if (s->deaf) return;
    struct tl_ws_in *in = take(s);
    if (!in) {
        tl_ws_fault(s, 1011, "no memory to receive");
        return;
    }
    in->p = p;
    in->n = n;
    while (!s->deaf) {
        struct wslay_frame_iocb io = {0};
        ssize_t rc = wslay_frame_recv(in->wslay, &io);
        if (rc == WSLAY_ERR_WANT_READ) break;
        if (rc < 0)
            tl_ws_fault(s, 1002, "a malformed frame");
        else
            on_chunk(s, in, &io);
    }
    give_back(s);
}
