/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of src/http share; nobody else includes it.
 *
 * A connection carries one request at a time and is its memory:
 *
 *            ,-------------- keep-alive ----------------------------.
 *            v                                                      |
 *   HEAD ------> BODY ------> HANDLING ----> SENDING ---------------+--> LINGERING --> CUT
 *     `------------------------^   `-------> STREAMING -------------'
 *
 * Every state may go to CUT. HANDLING: the request is with the caller, whose answer may come at any time; also while
 * large answers are compressed. LINGERING: everything was said and the client may not be done yet, so what still comes
 * is read and dropped for a moment, because closing at once would make its kernel drop our answer.
 *
 * A connection is freed when its handle is closed, its request is answered, no stream has it and nobody pins it. */
#ifndef TL_HTTP_HTTP_I_H
#define TL_HTTP_HTTP_I_H

#include "base/map.h"
#include "http/http.h"
#include "http/parse.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/uio.h>

struct tl_http_node {
    struct tl_http_node *prev, *next; /* NULL: in no list */
};

enum tl_http_wait { TL_WAIT_REQUEST, TL_WAIT_IDLE, TL_WAIT_SEND, TL_WAIT_LINGER, TL_WAITS, TL_WAIT_NONE = TL_WAITS };

enum tl_http_state {
    TL_HTTP_HEAD_STATE,
    TL_HTTP_BODY_STATE,
    TL_HTTP_HANDLING,
    TL_HTTP_SENDING,
    TL_HTTP_STREAMING,
    TL_HTTP_LINGERING,
    TL_HTTP_CUT
};

enum {
    TL_HTTP_SCRATCH = 64 * 1024,
    TL_HTTP_IN_FIRST = 2048,         /* kept by an idle connection */
    TL_HTTP_ANSWER_HEAD = 64 * 1024, /* largest head of an answer */
    TL_HTTP_GZIP_MIN = 1024,
    TL_HTTP_GZIP_HERE = 64 * 1024, /* what is larger is compressed by libuv's pool */
    TL_HTTP_PIECE = 1024           /* of a body: so much must come within request_ms */
};

/* One peer address, while it has connections. */
struct tl_http_peer {
    unsigned char key[17]; /* family, then the address */
    unsigned count;        /* upgraded ones too */
};

struct tl_http_upgraded {
    struct tl_http_node node;
    struct tl_http_peer *peer; /* NULL: a unix socket */
    int fd;                    /* the caller's: it is closed once another inode has this number, or none */
    uint64_t inode;
};

struct tl_http_closer { /* who is told that a connection is closed */
    struct tl_http_closer *next;
    void (*cb)(void *ctx);
    void *ctx;
};

struct tl_http_stream {
    struct tl_http_request *r;
    struct tl_buf queue; /* framed; what is not sent yet begins at `at` */
    size_t at, queue_bytes;
    bool full, ended, gone;
    bool empty_wanted; /* drained is to be called when nothing is queued */
    void (*drained)(void *ctx);
    void *drained_ctx;
};

struct tl_http_request { /* a connection, and the request on it */
    struct tl_http *http;
    uv_poll_t poll;
    struct tl_http_node all, wait, soon;
    uint64_t due_ms; /* of the list `wait` is in */
    enum tl_http_wait waits;
    enum tl_http_state state;
    int fd, watched; /* events */
    unsigned pins;
    bool handle_closed, processing;

    char *in; /* the head, and what came behind it */
    size_t in_n, in_cap, scanned, head_n;
    struct tl_http_head head;
    struct tl_http_chunks chunks;
    struct tl_buf body;
    uint64_t body_left;
    size_t piece; /* bytes of the body since its deadline was moved */

    bool open;        /* somebody owes an answer */
    bool dead;        /* nobody gets it: the connection was cut, or the request refused meanwhile */
    bool begun;       /* from its head to its line in the access log */
    bool told_gone;   /* on_gone was called */
    bool close_after; /* no keep-alive */
    bool unread;      /* of the body something is out still */
    bool upgrading;   /* 101 is its answer */
    uint64_t began_ns, out_bytes;
    int status;
    void *data;
    char *user; /* [own] */
    void (*on_gone)(void *ctx);
    void *gone_ctx;

    struct tl_buf out; /* what could not be sent at once; before the body */
    size_t out_at, body_at;
    struct tl_http_body *out_body; /* [ref] */
    struct tl_http_stream *stream;
    struct tl_http_gzip_work *work;
    struct tl_http_closer *closers; /* [own] */
    unsigned n_closers;
    void (*on_upgrade)(void *ctx, int fd, struct tl_str early);
    void *upgrade_ctx;

    struct tl_http_peer *peer; /* NULL: a unix socket */
    bool local;
    char peer_text[INET6_ADDRSTRLEN];
};

struct tl_http_listener {
    struct tl_http *http;
    uv_poll_t poll;
    int fd; /* -1: closed */
    bool is_unix, accepting, made_path;
    char *path; /* [own] of a unix socket */
    uint64_t inode, device;
    char address[160];
};

struct tl_http {
    uv_loop_t *loop;
    struct tl_http_options opt; /* defaults put in; listen is not kept */
    uint64_t wait_ms[TL_WAITS];
    struct tl_http_listener *listeners;
    size_t n_listeners;
    uv_timer_t timer;
    uv_idle_t soon;
    uint64_t timer_due_ms;    /* UINT64_MAX: not set */
    uint64_t accept_again_ms; /* descriptors are out: 0 no */
    struct tl_http_node all, waits[TL_WAITS], soon_list, upgraded;
    struct tl_map *peers;
    struct tl_buf head, target; /* scratch of one call */
    char *scratch;
    char date[64];
    int64_t date_s;
    unsigned open_handles;
    bool draining, closing, freed;
    void (*closed)(void *ctx);
    void *closed_ctx;
    struct tl_http_stats stats;
};

struct tl_http_body {
    atomic_size_t refs;
    const char *p;
    size_t n;
    void (*release)(void *ctx);
    void *ctx;
    _Atomic(struct tl_http_body *) gzip; /* [own] made once; itself: does not pay */
};

/* ---- lists ---- */
static inline void tl_http_list_init(struct tl_http_node *l)
{
    l->prev = l->next = l;
}
static inline bool tl_http_list_empty(const struct tl_http_node *l)
{
    return l->next == l;
}
static inline void tl_http_list_remove(struct tl_http_node *n)
{
    if (!n->next) return;
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->prev = n->next = NULL;
}
static inline void tl_http_list_append(struct tl_http_node *l, struct tl_http_node *n)
{
    tl_http_list_remove(n);
    n->prev = l->prev;
    n->next = l;
    l->prev->next = n;
    l->prev = n;
}
#define TL_HTTP_OF(type, member, node) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* ---- http.c ---- */
void tl_http_handle_closed(struct tl_http *);
/* The deadline of the connection begins now; TL_WAIT_NONE: it has none. */
void tl_http_wait_set(struct tl_http_request *, enum tl_http_wait);
/* tl_http_soon_turn comes for it in the next turn of the loop. */
void tl_http_soon(struct tl_http_request *);
/* Another timer than a connection's. */
void tl_http_timer_at(struct tl_http *, uint64_t due_ms);
uint64_t tl_http_mono_ns(const struct tl_http *);

/* ---- listen.c ---- */
TL_MUSTCHECK enum tl_status tl_http_listen(struct tl_http *, struct tl_http_listener *, const char *address,
                                           struct tl_err *err);
void tl_http_listen_close(struct tl_http_listener *);
/* Starts or stops accepting, as limits and time allow. */
void tl_http_accept_update(struct tl_http *);
void tl_http_peer_leave(struct tl_http *, struct tl_http_peer *);
/* Forgets upgraded sockets that were closed, of one peer or (NULL) of all. */
void tl_http_upgraded_sweep(struct tl_http *, const struct tl_http_peer *of);

/* ---- conn.c ---- */
void tl_http_conn_start(struct tl_http *, int fd, struct tl_http_peer *, const char *peer_text, bool local);
void tl_http_conn_watch(struct tl_http_request *, int events);
void tl_http_conn_overdue(struct tl_http_request *);
void tl_http_soon_turn(struct tl_http_request *);
/* No more words: the socket is closed, whoever waits is told (from the loop). */
void tl_http_conn_cut(struct tl_http_request *);
/* The answer is sent whole: the next request, or the end. */
void tl_http_conn_answered(struct tl_http_request *);
void tl_http_conn_maybe_free(struct tl_http_request *);
void tl_http_conn_handed_over(struct tl_http_request *);
/* Behind what was read and not looked at. false: no memory. */
bool tl_http_in_append(struct tl_http_request *, struct tl_str);

/* ---- body.c ---- */
/* Takes what stands in `in` behind the head as the body of the request. true: the body is whole. It may be refused. */
bool tl_http_body_pump(struct tl_http_request *);
/* Reads once. false: nothing more for now (or it was cut). */
bool tl_http_body_read(struct tl_http_request *, bool *whole);

/* ---- send.c ---- */
/* Sends head and body (a reference is taken over), now as far as the socket takes it. */
void tl_http_send(struct tl_http_request *, struct tl_str head, struct tl_http_body *body);
/* Goes on where the socket took no more. false: the socket is full still, or it was cut. */
bool tl_http_send_rest(struct tl_http_request *);
/* Words outside of an answer (100 Continue). */
void tl_http_send_aside(struct tl_http_request *, struct tl_str);

/* ---- answer.c ---- */
void tl_http_head_begin(struct tl_http_request *, int status, const char *type, const struct tl_http_header_row *,
                        size_t n, bool vary);
void tl_http_answer_end(struct tl_http_request *, const char *etag, bool gzip, struct tl_http_body *);
void tl_http_refuse(struct tl_http_request *, int status, const char *code, const char *detail);
void tl_http_record_answer(struct tl_http_request *);
const char *tl_http_reason(int status);

/* ---- request.c ---- */
/* [own] The document; NULL: memory is out. */
struct tl_http_body *tl_http_problem_body(int status, const char *code, const char *param, const char *detail,
                                          struct tl_str instance);

/* ---- stream.c ---- */
void tl_http_stream_flush(struct tl_http_request *);
void tl_http_stream_cut(struct tl_http_request *);
void tl_http_stream_free(struct tl_http_request *);

/* ---- compress.c ---- */
/* [ref] The gzip of a body, made at most once; NULL: it does not pay, or memory is out. */
struct tl_http_body *tl_http_gzip(struct tl_http_body *);
/* Known already? */
bool tl_http_gzip_known(const struct tl_http_body *);
/* Makes it in libuv's pool, then calls tl_http_answer_end. http->head has the answer's first part. etag, zipped: of the
 * body and of its gzip; NULL: none. false: it could not begin, and the body is the caller's still. */
bool tl_http_gzip_later(struct tl_http_request *, const char *etag, const char *zipped, struct tl_http_body *);

#endif
