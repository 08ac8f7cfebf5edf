/* SPDX-License-Identifier: Apache-2.0 */
/* What a process that stays is made of: store, cache, scheduler, leases, bus and jobs, opened in this order from the
 * settings and closed in the reverse, on the caller's loop. `tierline worker` is a node and nothing else; a server adds
 * its transports. Loop thread. */
#ifndef TL_SERVER_NODE_H
#define TL_SERVER_NODE_H

#include "event/bus.h"
#include "job/jobs.h"
#include "job/wanted.h"
#include "server/options.h"

struct tl_node_options {
    const struct tl_config *config; /* [borrow: until close's cb, or tl_node_configure] */
    const struct tl_clock *clock;   /* NULL: system */
    const struct tl_log *log;       /* [borrow: until close's cb] NULL: silent */
    bool take;                      /* runs jobs and schedules */
    uint32_t hot_keys;              /* as in struct tl_cache_options */
    unsigned store_threads;         /* as there */
    /* Called when scheduler, bus and leases are closed and the cache is not: what uses them is to end now, then
     * done(node) is to be called. NULL: nothing. */
    void (*close_parts)(void *ctx, void (*done)(void *node), void *node);
    void *parts_ctx;
};

/* The parts are there to be used between open and close. */
struct tl_node {
    uv_loop_t *loop;
    struct tl_store *store; /* NULL: none */
    struct tl_cache *cache;
    struct tl_scheduler *scheduler;
    struct tl_locks *locks; /* NULL: no Redis */
    struct tl_bus *bus;
    struct tl_jobs *jobs;
    struct tl_hours hours;
    const struct tl_config *config;
    const struct tl_clock *clock;
    const struct tl_log *log;
    /* its own */
    uint64_t until_ns; /* of closing */
    bool closing, drained;
    uv_timer_t deadline;
    bool deadline_open;
    void (*close_parts)(void *ctx, void (*done)(void *node), void *node);
    void *parts_ctx;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

/* Opens everything. Runs the loop until Redis is in use or known not to be, at most 3 s: redis (may be NULL) says what
 * is wrong with it, which is no failure. node [pinned] until close's cb. Errors: those of the settings, of opening the
 * store, CONFLICT (the Redis prefix belongs to another store), NOMEM, IO. On failure nothing is open. */
TL_MUSTCHECK enum tl_status tl_node_open(uv_loop_t *, const struct tl_node_options *, struct tl_node *,
                                         struct tl_err *redis, struct tl_err *err);
/* New settings (SIGHUP): schedules, sets, and what jobs compute by default. Everything else stays as it is, and is
 * named in the log. On failure everything stays as it was, and the old settings are still used. */
TL_MUSTCHECK enum tl_status tl_node_configure(struct tl_node *, const struct tl_config *, struct tl_err *err);
/* Hands a job under way over, keeps what is on its way, ends everything, calls cb; what is not over after drain_ms is
 * given up. Idempotent. */
void tl_node_close(struct tl_node *, uint64_t drain_ms, void (*cb)(void *ctx), void *ctx);

#endif
