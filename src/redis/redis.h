/* SPDX-License-Identifier: Apache-2.0 */
/* A client of one Redis server on a libuv loop: a pipelined command connection and a Pub/Sub connection, each with its
 * own reconnect. The only code that sees hiredis (its reply parser).
 *
 * A connection keeps itself up: after a loss it tries again with full-jitter backoff, and hands over AUTH, SELECT,
 * CLIENT SETNAME and its scripts before anything else. While it is being set up, commands queue; while it waits for the
 * next try they fail at once with IO. A command that was sent when the connection broke fails with IO: whether it
 * was carried out is not known, and repeating it is the caller's decision.
 * Everything here belongs to the loop thread. */
#ifndef TL_REDIS_REDIS_H
#define TL_REDIS_REDIS_H

#include "aio/alarms.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include <uv.h>

enum { TL_REDIS_HOST_MAX = 256, TL_REDIS_WORD_MAX = 256, TL_REDIS_SCRIPTS_MAX = 16 };

struct tl_redis_address {
    char host[TL_REDIS_HOST_MAX];                              /* name, address, or the path of a unix socket */
    uint16_t port;                                             /* 0: host is a path */
    char user[TL_REDIS_WORD_MAX], password[TL_REDIS_WORD_MAX]; /* "": none */
    uint32_t db;
    bool tls;
    char ca[TL_REDIS_WORD_MAX];   /* PEM files for TLS. "": the CAs of the system */
    char cert[TL_REDIS_WORD_MAX]; /* "": we show no certificate */
    char key[TL_REDIS_WORD_MAX];  /* "": it is in cert */
};
/* redis://[[user]:password@]host[:port][/db], rediss:// (TLS, with [?ca=FILE&cert=FILE&key=FILE]),
 * redis+unix://[[user]:password@]/path[?db=N]. User and password are percent-decoded. INVALID (never with the password
 * in its text); UNSUPPORTED: rediss:// where the library was built without TLS, and the known but unbuilt schemes
 * redis+sentinel, redis+cluster. */
TL_MUSTCHECK enum tl_status tl_redis_address_parse(const char *url, struct tl_redis_address *out, struct tl_err *err);
/* "127.0.0.1:6379/0", "/run/redis.sock/0": without credentials, for messages. */
void tl_redis_address_format(const struct tl_redis_address *, char *out, size_t cap);

enum tl_reply_type { TL_REPLY_NIL, TL_REPLY_STRING, TL_REPLY_STATUS, TL_REPLY_ERROR, TL_REPLY_INTEGER, TL_REPLY_ARRAY };

struct tl_reply {
    enum tl_reply_type type;
    struct tl_str str; /* STRING, STATUS, ERROR */
    int64_t integer;   /* INTEGER */
    size_t n;          /* ARRAY */
    const struct tl_reply *const *items;
};

/* Text of a Lua script; sha is learnt from SCRIPT LOAD at each connect. Immutable but for sha. */
struct tl_redis_script {
    const char *name, *text;
};

struct tl_redis;
struct tl_redis_options {
    struct tl_redis_address address;
    const char *client_name;               /* CLIENT SETNAME; NULL: none */
    const struct tl_redis_script *scripts; /* [borrow: until close's cb] loaded at every connect */
    size_t n_scripts;                      /* <= TL_REDIS_SCRIPTS_MAX */
    uint32_t connect_ms;                   /* for connecting and the handshake; 0: 2000 */
    uint32_t backoff_min_ms;               /* 0: 50. The n-th wait is random in [0, min(max, min * 2^n)], at least 1 */
    uint32_t backoff_max_ms;               /* 0: 5000 */
    uint32_t silent_ms; /* commands are waiting and nothing arrives for that long: the connection is given up;
                         * 0: 5000 */
    size_t queue_bytes; /* encoded commands not yet written; above it a command is refused with FULL; 0: 64 MiB */
    size_t reply_bytes; /* largest reply; a larger one ends the connection; 0: 64 MiB */
    uint64_t seed;      /* of the jitter; 0: from the system */
    const struct tl_clock *clock; /* NULL: system */
    const struct tl_log *log;
    /* Every change: up true once commands can flow, false when they no longer can (why says it). May close. */
    void (*on_state)(void *ctx, bool up, const struct tl_err *why);
    void *ctx;
};

/* Begins connecting. Errors: NOMEM, IO (no descriptors), INVALID. A server that is not there is no error here. */
TL_MUSTCHECK enum tl_status tl_redis_start(uv_loop_t *, const struct tl_redis_options *, struct tl_redis **out,
                                           struct tl_err *err);
/* Ends every command with CANCELLED (each cb runs from the loop), closes, calls cb, frees. Idempotent. */
void tl_redis_close(struct tl_redis *, void (*cb)(void *ctx), void *ctx);
bool tl_redis_up(const struct tl_redis *);
/* Why the last try failed or the connection was lost; "" before the first. */
const char *tl_redis_why(const struct tl_redis *);

/* [pinned] with its arguments until cb. */
struct tl_redis_cmd {
    /* in */
    const struct tl_str *argv;
    size_t argc;
    /* An error reply (and a failure) comes as a status, its text in err: OOM -> FULL; NOAUTH WRONGPASS NOPERM ->
     * DENIED; LOADING READONLY BUSY TRYAGAIN MASTERDOWN CLUSTERDOWN -> BUSY; WRONGTYPE -> CONFLICT; any other ->
     * INVALID. Deadline -> TIMEOUT (the reply is swallowed when it comes), lost connection -> IO, close and cancel ->
     * CANCELLED. reply: of OK alone [borrow: until cb returns]. cb may submit, cancel, close. */
    void (*cb)(struct tl_redis_cmd *, enum tl_status, const struct tl_reply *reply, const struct tl_err *err);
    void *user;
    /* the client's */
    struct tl_alarm deadline;
    struct tl_redis *redis; /* NULL: not under way */
    int script;             /* index, -1: none */
    bool reloaded;          /* was sent as EVAL after NOSCRIPT */
    bool sent, cancelled;
    uint64_t number;                  /* of its place among what was sent */
    struct tl_redis_cmd *prev, *next; /* among those that wait to be sent, or have ended */
};

/* timeout_ms >= 1. OK: cb runs exactly once, from the loop, after this returns. FULL, IO (not connected), CANCELLED
 * (closing): cb never runs. Commands of one tick go out in one write. */
TL_MUSTCHECK enum tl_status tl_redis_submit(struct tl_redis *, struct tl_redis_cmd *, uint64_t timeout_ms,
                                            struct tl_err *err);
/* argv = keys and arguments behind "EVALSHA sha": { numkeys, key..., arg... }. After NOSCRIPT it is sent once more as
 * EVAL within the same deadline. */
TL_MUSTCHECK enum tl_status tl_redis_eval(struct tl_redis *, struct tl_redis_cmd *, size_t script, uint64_t timeout_ms,
                                          struct tl_err *err);
/* cb comes with CANCELLED, from the loop. No-op when it has already ended. */
void tl_redis_cancel(struct tl_redis_cmd *);

struct tl_redis_stats {
    uint64_t commands, errors, timeouts, connects, losses, failed_connects, bytes_out, bytes_in, reloads /* NOSCRIPT */;
    size_t pending, queued_bytes;
};
void tl_redis_stats(const struct tl_redis *, struct tl_redis_stats *);

/* ---- Pub/Sub: a connection of its own, always subscribed to a fixed list of channels ---- */

struct tl_redis_sub;
struct tl_redis_sub_options {
    struct tl_redis_options base; /* scripts, queue_bytes are not used; on_state: up = subscribed to all channels */
    const char *const *channels;  /* [borrow: until close's cb] */
    size_t n_channels;
    uint32_t ping_ms; /* 0: 1000; no answer within that time: the connection is given up */
    /* [borrow: during the call] */
    void (*on_message)(void *ctx, struct tl_str channel, struct tl_str payload);
};
TL_MUSTCHECK enum tl_status tl_redis_sub_start(uv_loop_t *, const struct tl_redis_sub_options *,
                                               struct tl_redis_sub **out, struct tl_err *err);
void tl_redis_sub_close(struct tl_redis_sub *, void (*cb)(void *ctx), void *ctx);
bool tl_redis_sub_up(const struct tl_redis_sub *);

#endif
