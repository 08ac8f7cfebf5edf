/* SPDX-License-Identifier: Apache-2.0 */
/* A process as far as others can tell: a cache with a scheduler, on a loop of its own. Include behind "support.h". */
#ifndef TL_TESTS_NODE_H
#define TL_TESTS_NODE_H

#include "cache_fixture.h"
#include "schedule/once.h"

struct node {
    struct box box;
    struct tl_scheduler *s;
};

static inline void node_open_with(struct node *n, const struct tl_cache_options *o,
                                  const struct tl_scheduler_options *so)
{
    struct tl_err err;
    box_open_with(&n->box, o);
    assert_int_equal(tl_scheduler_open(n->box.cache, so, &n->s, &err), TL_OK);
    (void)box_ready(&n->box, NULL);
}

static inline void node_open(struct node *n, const char *redis_url, const char *store)
{
    struct tl_cache_options o = {.redis_url = redis_url, .store_url = store, .log_level = -1, .memory_bytes = 8u << 20};
    struct tl_scheduler_options so = {.workers = 2, .lease_ms = 500};
    node_open_with(n, &o, &so);
}

static inline void node_close(struct node *n)
{
    struct box *b = &n->box;
    b->closed = false;
    tl_scheduler_close(n->s, box_on_closed, b);
    box_spin_until(b, &b->closed, 10000);
    b->closed = false;
    box_close(b);
}

static inline struct tl_scheduler_stats node_stats(struct node *n)
{
    struct tl_scheduler_stats s;
    tl_scheduler_stats(n->s, &s);
    return s;
}

#endif
