/* SPDX-License-Identifier: Apache-2.0 */
/* What the command and the Pub/Sub connection share: resolving, connecting, reading, writing, and trying again. A link
 * knows nothing of commands: its owner gets every reply in order and says what to send.
 *
 *   waiting --backoff over--> resolving --> connecting --> shaking --tl_link_up--> up
 *      ^                          |             |             |                     |
 *      '------- error, deadline, tl_link_give_up -------------'---------------------'
 */
#ifndef TL_REDIS_LINK_H
#define TL_REDIS_LINK_H

#include "base/buf.h"
#include "base/rng.h"
#include "redis/reply.h"

enum tl_link_state {
    TL_LINK_WAITING,
    TL_LINK_RESOLVING,
    TL_LINK_CONNECTING,
    TL_LINK_SHAKING,
    TL_LINK_UP,
    TL_LINK_CLOSED
};

struct tl_link_socket;

struct tl_link {
    /* the owner's, before start */
    uv_loop_t *loop;
    struct tl_redis_options opt;                                           /* with its defaults filled in */
    void (*connected)(struct tl_link *);                                   /* send the handshake */
    void (*reply)(struct tl_link *, const struct tl_reply *);              /* may give up and close */
    void (*lost)(struct tl_link *, const struct tl_err *why, bool was_up); /* what was sent is void; may close */
    /* the link's */
    enum tl_link_state state;
    struct tl_link_socket *socket;
    struct tl_reply_reader *reader;
    struct tl_buf out;
    size_t out_at; /* 0 .. out_at: written */
    bool writable_wanted, in_read;
    uv_prepare_t flush;
    uv_getaddrinfo_t resolve;
    bool resolving;
    struct addrinfo *addresses, *address;
    uv_timer_t timer; /* backoff, or the deadline of connecting and shaking */
    unsigned tries;
    struct tl_rng rng;
    uint64_t last_read_ns;
    bool warned;
    char why[200];
    uint64_t connects, losses, failed_connects, bytes_in, bytes_out;
    unsigned open; /* handles and requests that keep the memory */
    void (*closed)(struct tl_link *);
};

/* Sets what is 0 to its default. */
void tl_redis_options_fill(struct tl_redis_options *);

/* The first try begins in the next turn of the loop. */
void tl_link_start(struct tl_link *);
/* The handshake is done. */
void tl_link_up(struct tl_link *);
/* Ends the connection (or this try); the next try comes after the backoff. lost is called before it returns. */
void tl_link_give_up(struct tl_link *, const struct tl_err *why);
/* Bytes to send go into out (tl_link_encode), which is written before the loop waits. */
void tl_link_encode(struct tl_link *, const struct tl_str *head, size_t n_head, const struct tl_str *argv, size_t argc);
/* An error reply of the handshake into err, without the password if the server quotes it. auth: it answers AUTH. */
enum tl_status tl_link_refused(const struct tl_link *, bool auth, struct tl_str text, struct tl_err *err);
/* lost is not called; closed is, from the loop. */
void tl_link_close(struct tl_link *, void (*closed)(struct tl_link *));

#endif
