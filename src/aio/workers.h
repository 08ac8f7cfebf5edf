/* SPDX-License-Identifier: Apache-2.0 */
/* A pool of threads for computing, tied to one libuv loop: works run on the threads, their ends are delivered on the
 * loop. Works are the caller's memory and are taken in the order of submission. */
#ifndef TL_AIO_WORKERS_H
#define TL_AIO_WORKERS_H

#include <tierline/status.h>
#include <uv.h>

struct tl_workers;

/* [pinned] from submit until done returns. */
struct tl_work {
    void (*run)(struct tl_work *, unsigned worker); /* on thread `worker` of 0..n-1; touches only its own work */
    void (*done)(struct tl_work *);                 /* on the loop, exactly once; may submit, cancel and close */
    void *result;                                   /* run's to fill, done's to read */
    bool cancelled;                                 /* set before done: run was never called */
    struct tl_work *next;                           /* the pool's */
};

/* n: 1..256. Errors: INVALID, NOMEM, IO (threads or file descriptors are out). */
TL_MUSTCHECK enum tl_status tl_workers_start(uv_loop_t *loop, unsigned n, struct tl_workers **out, struct tl_err *err);
/* Loop thread. After close: the work is cancelled at once, its done still comes from the loop. */
void tl_workers_submit(struct tl_workers *, struct tl_work *);
/* Loop thread. Every work that no thread has taken yet ends as cancelled. */
void tl_workers_cancel_pending(struct tl_workers *);
/* Loop thread. Cancels what is pending, lets what runs finish, delivers every done, joins the threads, calls cb and
 * frees the pool. Idempotent: only the first cb is called. */
void tl_workers_close(struct tl_workers *, void (*cb)(void *ctx), void *ctx);

#endif
