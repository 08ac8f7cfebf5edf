/* SPDX-License-Identifier: Apache-2.0 */
/* A WebSocket (RFC 6455), the server's end, on a socket whose HTTP upgrade has been answered. Receiving is wslay's;
 * sending is ours: a message is framed once into refcounted bytes for all who get it, and all frames of one turn of the
 * loop for one socket go out in one write. Loop thread.
 *
 * Pings, pongs and the closing handshake are answered here; messages come whole. */
#ifndef TL_WS_WS_H
#define TL_WS_WS_H

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include <tierline/status.h>
#include <uv.h>

/* ---- handshake ---- */
enum { TL_WS_ACCEPT_MAX = 29 };
/* Sec-WebSocket-Accept for a Sec-WebSocket-Key. INVALID: not 16 bytes in base64. */
TL_MUSTCHECK enum tl_status tl_ws_accept(struct tl_str key, char out[TL_WS_ACCEPT_MAX], struct tl_err *err);

/* ---- frames ---- */
struct tl_ws_frame; /* immutable, refcounted */
enum tl_ws_opcode { TL_WS_TEXT = 1, TL_WS_BINARY = 2 };
/* [own] The parts one behind the other as one message. NULL: memory is out. */
struct tl_ws_frame *tl_ws_frame_new(enum tl_ws_opcode, const struct tl_str *parts, size_t n);
struct tl_ws_frame *tl_ws_frame_ref(struct tl_ws_frame *);
void tl_ws_frame_unref(struct tl_ws_frame *); /* NULL is fine */
size_t tl_ws_frame_bytes(const struct tl_ws_frame *);

/* ---- all sockets of a loop ---- */
struct tl_ws_loop; /* writes what its sockets have queued, once a turn */
struct tl_ws_loop_options {
    const struct tl_clock *clock;
    const struct tl_log *log;
    size_t message_bytes; /* largest message received; 0: 64 KiB. Larger: closed with 1009 */
    size_t fragments;     /* of one message; 0: 128. More: 1008 */
    size_t queue_bytes;   /* queued for one socket in user space; 0: 256 KiB. So many messages, too, as 64 bytes fit */
    int sndbuf_bytes;     /* SO_SNDBUF; 0: 131072 */
    uint32_t ping_ms;     /* a ping when nothing came for that long; 0: 20000 */
    uint32_t pong_ms;     /* closed when nothing comes for that long after it; 0: 20000. A message that takes longer
                           * than ping_ms + pong_ms from its first byte to its last: 1008 */
    uint32_t stall_ms;    /* closed when the peer takes nothing of what is queued for that long; 0: 30000 */
    uint32_t close_ms;    /* for each: our close frame to go out, the peer's to come, its end to be shut; 0: 5000 */
    size_t control_burst; /* pings answered without a message in between; 0: 100 in a second, more: 1008 */
};
TL_MUSTCHECK enum tl_status tl_ws_loop_start(uv_loop_t *, const struct tl_ws_loop_options *, struct tl_ws_loop **out,
                                             struct tl_err *err);
/* Every socket is gone by then or is cut; cb from the loop, then freed. */
void tl_ws_loop_close(struct tl_ws_loop *, void (*cb)(void *ctx), void *ctx);

/* ---- a socket ---- */
struct tl_ws;
struct tl_ws_handler {
    /* A whole message; a text is valid UTF-8 [borrow: during the call]. May send, close. */
    void (*on_message)(void *ctx, enum tl_ws_opcode, struct tl_str);
    /* What was queued went below half of queue_bytes after a send had said FULL, or after `tl_ws_tell_drained`: now
     * empty. */
    void (*on_drained)(void *ctx);
    /* Once, from the loop, last: the socket is freed after it. code: of the close frame that came first, ours or the
     * peer's (1005: without a code); 1006: neither. why: for the log; never NULL. */
    void (*on_closed)(void *ctx, unsigned code, const char *why);
    void *ctx;
};
/* fd [take], also on failure: a connected, upgraded socket. early [borrow]: bytes that came behind the upgrade.
 * Handlers may be NULL. */
TL_MUSTCHECK enum tl_status tl_ws_start(struct tl_ws_loop *, int fd, struct tl_str early, const struct tl_ws_handler *,
                                        struct tl_ws **out, struct tl_err *err);
/* Queues (a reference is taken); written at the end of this turn of the loop. An empty queue takes a message of any
 * size. FULL: it is not queued, on_drained will come. CANCELLED: it is being closed. NOMEM: not queued. */
TL_MUSTCHECK enum tl_status tl_ws_send(struct tl_ws *, struct tl_ws_frame *);
/* on_drained comes (once) when nothing is queued any more; at once from the loop when nothing is. */
void tl_ws_tell_drained(struct tl_ws *);
size_t tl_ws_queued_bytes(const struct tl_ws *);
/* Sends what is queued, then a close frame, and waits for the peer's. code: 1000 to 1003, 1007 to 1014, 3000 to 4999.
 * reason: UTF-8, at most 123 bytes (of a longer one what fits); NULL: none. Idempotent. */
void tl_ws_close(struct tl_ws *, unsigned code, const char *reason);
/* At once, without a word. on_closed comes from the loop. */
void tl_ws_cut(struct tl_ws *);

struct tl_ws_stats {
    size_t sockets, queued_bytes;
    uint64_t opened, closed, messages_in, frames_out, bytes_out, writes, full, stalled, protocol_errors;
};
void tl_ws_stats(const struct tl_ws_loop *, struct tl_ws_stats *);

#endif
