/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. A socket:
 *
 *            tl_ws_close, a fault, the peer's close       written, the peer's is still to come
 *   OPEN ------------------------------------------> CLOSING --------------------------------> AWAITING
 *                                                        | written, the peer's came              | it came
 *                                                        '----------------> LINGERING <----------'
 *   each of them --- the peer went away, error, deadline, cut ---> GONE (freed by the close callback of its handle)
 *
 * LINGERING: our side of the connection is shut and what still comes is thrown away until the peer shuts its own, so
 * that a reset cannot overtake the close frame. Each of the closing states lasts close_ms at most.
 * deaf: nothing that comes is looked at any more. GONE and LINGERING imply it. */
#ifndef TL_WS_WS_I_H
#define TL_WS_WS_I_H

#include "ws/frame.h"

enum tl_ws_state { TL_WS_OPEN, TL_WS_CLOSING, TL_WS_AWAITING, TL_WS_LINGERING, TL_WS_GONE };
enum { TL_WS_NO_CODE = 1005, TL_WS_NO_FRAME = 1006 };
enum { TL_WS_READ_BYTES = 32 * 1024, TL_WS_WHEEL = 128 };

struct tl_ws_in; /* what of a frame or message came already: see in.c */

struct tl_ws_link { /* in a ring with a head; alone: points at itself */
    struct tl_ws_link *prev, *next;
};

/* In the order in which it goes out. bytes: of all of it, less what is written. */
struct tl_ws_out {
    struct tl_ws_frame *current;  /* being written: nothing gets in front of it */
    size_t current_at;            /* 0 .. current_at: written */
    struct tl_ws_frame **control; /* [own] the pings and pongs; NULL when there is none */
    struct tl_ws_frame **ring;    /* [own] the messages: n from head on, modulo cap, a power of two */
    uint32_t head, n, cap;
    uint32_t n_control;
    struct tl_ws_frame *late_pong; /* the newest of those that found control full */
    struct tl_ws_frame *goodbye;   /* the close frame: nothing is queued behind it */
    size_t bytes;
};

struct tl_ws {
    uv_poll_t poll;
    struct tl_ws_loop *loop;
    struct tl_ws_handler handler;
    struct tl_ws_link in_wheel; /* always in a slot until it is GONE */
    struct tl_ws_link in_dirty; /* to be looked at at the end of the turn */
    struct tl_ws_out out;
    struct tl_ws_in *in; /* [own] NULL: what came were whole messages */
    char *early;         /* [own] not looked at yet */
    size_t n_early;
    const char *why;
    uint64_t slot_tick;   /* of the wheel */
    uint64_t heard_ns;    /* bytes came */
    uint64_t ping_ns;     /* our ping went out, or could at last */
    uint64_t progress_ns; /* blocked: the socket last took bytes */
    uint64_t phase_ns;    /* the closing state began */
    uint64_t control_ns;  /* the second in which controls are counted began */
    size_t controls;
    int fd;
    enum tl_ws_state state;
    uint16_t code; /* told by on_closed, once it is not OPEN */
    bool deaf, peer_closed;
    bool blocked; /* the kernel takes no more: writable is waited for */
    bool dirty, was_full, tell_drained, ping_out;
};

struct tl_ws_loop {
    uv_loop_t *loop;
    struct tl_ws_loop_options opt; /* with its defaults filled in */
    size_t queue_frames;           /* of one socket: what bounds the ring */
    uv_prepare_t flush;            /* active while any socket is dirty */
    uv_idle_t again;               /* active with it: the loop must not wait before flush has run */
    uv_timer_t timer;              /* active while there are sockets */
    unsigned handles;
    struct tl_ws_link dirty;
    struct tl_ws_link wheel[TL_WS_WHEEL]; /* by the tick at which a socket's deadlines are looked at */
    uint64_t tick, tick_ns;               /* ticks up to tick are done */
    uint64_t now_ns;                      /* of this wake-up */
    struct tl_ws_in *spare;               /* [own] a blank one, for whoever reads next */
    struct tl_ws_stats stats;
    bool closing;
    void (*closed)(void *ctx);
    void *closed_ctx;
    unsigned char bytes[TL_WS_READ_BYTES]; /* what is being read */
};

#define TL_WS_OF(link, member) ((struct tl_ws *)(void *)((char *)(link)-offsetof(struct tl_ws, member)))

static inline void tl_ws_link_init(struct tl_ws_link *l)
{
    l->prev = l->next = l;
}
static inline void tl_ws_link_out(struct tl_ws_link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    tl_ws_link_init(l);
}
static inline void tl_ws_link_put(struct tl_ws_link *head, struct tl_ws_link *l)
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}
/* All of `from` into the empty `to`. */
static inline void tl_ws_link_move(struct tl_ws_link *to, struct tl_ws_link *from)
{
    tl_ws_link_init(to);
    if (from->next == from) return;
    *to = *from;
    to->next->prev = to->prev->next = to;
    tl_ws_link_init(from);
}

/* ---- loop.c ---- */
void tl_ws_mark_dirty(struct tl_ws *);
/* Puts a socket into the wheel, or nearer if a deadline came nearer. Later ones are found when it is looked at. */
void tl_ws_plan(struct tl_ws *, uint64_t due_ns);
void tl_ws_wheel_start(struct tl_ws_loop *); /* for the first socket */
void tl_ws_forget(struct tl_ws *);           /* it is freed next; may free the loop */

/* ---- socket.c ---- */
uint64_t tl_ws_due(const struct tl_ws *);
/* A deadline has passed, or not. */
void tl_ws_check(struct tl_ws *);
/* The end of a turn: reads what came early, writes what is queued, tells the handler. */
void tl_ws_flush(struct tl_ws *);
/* The peer broke the protocol or a limit: it is told why, and heard no more. */
void tl_ws_fault(struct tl_ws *, unsigned code, const char *why);
/* A valid close frame came. code: TL_WS_NO_CODE for none. */
void tl_ws_peer_closes(struct tl_ws *, unsigned code);
/* Without a word. code and why count if it was OPEN. */
void tl_ws_end(struct tl_ws *, unsigned code, const char *why);
/* out is empty now. */
void tl_ws_written(struct tl_ws *);

/* ---- out.c ---- */
enum tl_ws_wrote { TL_WS_WROTE_ALL, TL_WS_WROTE_SOME, TL_WS_WROTE_NEVER };
TL_MUSTCHECK enum tl_status tl_ws_out_push(struct tl_ws *, struct tl_ws_frame *);
/* [take] A ping or pong; dropped when memory is out, pongs but the newest when too many wait. */
void tl_ws_out_control(struct tl_ws *, struct tl_ws_frame *);
/* [take] */
void tl_ws_out_goodbye(struct tl_ws *, struct tl_ws_frame *);
/* NEVER: errno says why. */
enum tl_ws_wrote tl_ws_out_write(struct tl_ws *);
void tl_ws_out_release(struct tl_ws *);

/* ---- in.c ---- */
/* [own] NULL: memory is out. */
struct tl_ws_in *tl_ws_in_new(void);
void tl_ws_in_free(struct tl_ws_in *);
uint64_t tl_ws_in_since_ns(const struct tl_ws_in *);
/* Hands bytes of the peer on: messages to the handler, controls to their answers. The handler may do anything to any
 * socket; this one keeps its memory until the loop's next turn. */
void tl_ws_in_feed(struct tl_ws *, const void *p, size_t n);

#endif
