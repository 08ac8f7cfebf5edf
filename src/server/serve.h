/* SPDX-License-Identifier: Apache-2.0 */
/* The server: a node with HTTP, WebSockets and events. The composition root of `tierline serve`: it owns every part,
 * opens them in order, and closes them in the reverse. Loop thread. */
#ifndef TL_SERVER_SERVE_H
#define TL_SERVER_SERVE_H

#include "server/api.h"
#include "server/node.h"

struct tl_serve;
struct tl_serve_options {
    const struct tl_config *config; /* [borrow: until closed] */
    const struct tl_clock *clock;   /* NULL: system */
    const struct tl_log *log;       /* [borrow: until closed] */
    const int *fds;                 /* sockets that were handed over (systemd), instead of server.listen */
    size_t n_fds;
};
/* Opens everything; runs the loop while Redis is met. redis says what is wrong with it, which is no failure. Errors:
 * those of the node, of listening; DENIED: an address beyond this machine without a way to authenticate. On failure
 * nothing is open. */
TL_MUSTCHECK enum tl_status tl_serve_open(uv_loop_t *, const struct tl_serve_options *, struct tl_serve **out,
                                          struct tl_err *redis, struct tl_err *err);
/* Where it listens, as "127.0.0.1:8080"; NULL past the end. */
const char *tl_serve_address(const struct tl_serve *, size_t i);
/* New settings (SIGHUP): schedules, sets, tokens and keys, CORS, the access log. On failure everything stays as it was,
 * and the old settings are still used. */
TL_MUSTCHECK enum tl_status tl_serve_configure(struct tl_serve *, const struct tl_config *, struct tl_err *err);
/* Says bye, lets requests under way end, hands a job over, keeps what is queued; at most ten seconds. cb, then it is
 * freed. Idempotent. */
void tl_serve_close(struct tl_serve *, void (*cb)(void *ctx), void *ctx);

#endif
