/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the blocking calls: anything may be done on the loop thread while the caller waits. */
#ifndef TL_CACHE_BLOCKING_H
#define TL_CACHE_BLOCKING_H

#include "aio/mailbox.h"
#include "base/buf.h"
#include "cache/cache.h"
#include <tierline/blocking.h>

/* On the caller's stack. */
struct tl_blocking_call {
    struct tl_mail mail;
    struct tl_blocking *blocking;
    void (*begin)(struct tl_blocking_call *, struct tl_cache *); /* loop thread; leads to one tl_blocking_end */
    void *ctx;
    enum tl_status status;
    struct tl_err *err; /* may be NULL */
    bool ended;
};
enum tl_status tl_blocking_run(struct tl_blocking *, struct tl_blocking_call *);
/* Loop thread. The call is gone afterwards. */
void tl_blocking_end(struct tl_blocking_call *, enum tl_status);

TL_MUSTCHECK enum tl_status tl_blocking_open_inside(const struct tl_cache_options *,
                                                    const struct tl_cache_options_inside *, uint64_t ready_ms,
                                                    struct tl_blocking **out, struct tl_err *redis, struct tl_err *err);

/* The reports of all running processes (cache/report.h) behind each other, each with its NUL. [own] *out. */
TL_MUSTCHECK enum tl_status tl_blocking_reports(struct tl_blocking *, struct tl_buf *out, uint64_t deadline_ms,
                                                struct tl_err *err);

#endif
