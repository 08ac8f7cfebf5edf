/* SPDX-License-Identifier: Apache-2.0 */
/* Leases on a real redis-server, asked for by two processes: two loops that stand still when they are not turned.
 * Include behind "support.h". */
#ifndef TL_TESTS_LOCK_FIXTURE_H
#define TL_TESTS_LOCK_FIXTURE_H

#include "lock/locks.h"
#include "redis_server.h"

struct side { /* a process */
    uv_loop_t loop;
    struct tl_locks *locks;
    bool closed;
};

struct held { /* one lease of a side */
    struct side *side;
    struct tl_lease lease;
    unsigned ended, lost, released;
    enum tl_status status, release_status, lost_status;
    uint64_t at_ns; /* when acquire's cb came */
    bool progress;
};

static inline void side_open(struct side *s, const char *url)
{
    struct tl_err err;
    struct tl_locks_options o = {.redis_url = url, .prefix = "t*:", .log_level = -1};
    *s = (struct side){.closed = false};
    assert_int_equal(uv_loop_init(&s->loop), 0);
    enum tl_status st = tl_locks_open(&s->loop, &o, &s->locks, &err);
    if (st != TL_OK) print_message("%s\n", err.text);
    assert_int_equal(st, TL_OK);
}

static inline void turn(struct side *s, uint64_t ms)
{
    uint64_t end = uv_hrtime() + ms * 1000000;
    do {
        uv_run(&s->loop, UV_RUN_NOWAIT);
        usleep(50);
    } while (uv_hrtime() < end);
}

#define UNTIL(side, ms, condition)                                                                                     \
    do {                                                                                                               \
        uint64_t until_ns = uv_hrtime() + (ms)*UINT64_C(1000000);                                                      \
        while (!(condition) && uv_hrtime() < until_ns) turn(side, 0);                                                  \
        assert_true(condition);                                                                                        \
    } while (0)

static inline void on_closed(void *ctx)
{
    ((struct side *)ctx)->closed = true;
}

static inline void side_close(struct side *s)
{
    tl_locks_close(s->locks, on_closed, s);
    UNTIL(s, 5000, s->closed);
    assert_int_equal(uv_run(&s->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&s->loop), 0);
}

static inline void on_acquired(struct tl_lease *lease, enum tl_status status)
{
    struct held *h = lease->user;
    h->ended++;
    h->status = status;
    h->at_ns = uv_hrtime();
    assert_int_equal(h->lost, 0);
}

static inline void on_released(struct tl_lease *lease, enum tl_status status)
{
    struct held *h = lease->user;
    h->released++;
    h->release_status = status;
}

static inline void on_lost(struct tl_lease *lease, const struct tl_err *why)
{
    struct held *h = lease->user;
    h->lost++;
    h->lost_status = why->status;
    assert_int_equal(tl_lease_left_ms(lease), 0);
}

static inline bool in_progress(struct tl_lease *lease)
{
    return ((struct held *)lease->user)->progress;
}

static inline void ask_for(struct held *h, struct side *s, const char *name, uint32_t ttl_ms, uint64_t wait_ms)
{
    struct tl_err err;
    *h = (struct held){.side = s, .progress = true};
    h->lease = (struct tl_lease){
        .ttl_ms = ttl_ms, .wait_ms = wait_ms, .in_progress = in_progress, .on_lost = on_lost, .user = h};
    enum tl_status st = tl_lease_acquire(s->locks, &h->lease, name, on_acquired, &err);
    if (st != TL_OK) print_message("%s\n", err.text);
    assert_int_equal(st, TL_OK);
    assert_int_equal(h->ended, 0);
}

static inline enum tl_status get(struct held *h, struct side *s, const char *name, uint32_t ttl_ms, uint64_t wait_ms)
{
    ask_for(h, s, name, ttl_ms, wait_ms);
    UNTIL(s, wait_ms + 3000, h->ended == 1);
    return h->status;
}

static inline enum tl_status give_back(struct held *h)
{
    enum tl_status st = tl_lease_release(&h->lease, on_released, NULL);
    if (st != TL_OK) return st;
    assert_int_equal(h->released, 0);
    UNTIL(h->side, 3000, h->released == 1);
    assert_int_equal(tl_lease_left_ms(&h->lease), 0);
    return h->release_status;
}

struct world {
    struct redis_server s;
    struct side a, b;
};

static inline int setup(void **state)
{
    static struct world w;
    redis_server_start(&w.s, NULL);
    side_open(&w.a, w.s.url);
    side_open(&w.b, w.s.url);
    *state = &w;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *w = *state;
    side_close(&w->a);
    side_close(&w->b);
    redis_server_stop(&w->s);
    return 0;
}

#endif
