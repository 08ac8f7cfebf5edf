/* SPDX-License-Identifier: Apache-2.0 */
/* Callers outside: they ask nodes for keys, are lent them, and hand in. Include behind "support.h". */
#ifndef TL_TESTS_LEND_FIXTURE_H
#define TL_TESTS_LEND_FIXTURE_H

#include "node.h"
#include "schedule/lend.h"

struct lent { /* one who asks */
    struct tl_lend op;
    bool done;
    enum tl_status status;
    uint64_t after_ms, began_ns;
};

struct back { /* the end of a lease */
    struct tl_lend_end op;
    bool done;
    enum tl_status status;
};

static inline void on_lent(struct tl_lend *op, enum tl_status status)
{
    struct lent *a = op->user;
    assert_false(a->done);
    a->done = true;
    a->status = status;
    a->after_ms = (uv_hrtime() - a->began_ns) / 1000000;
}

static inline void on_back(struct tl_lend_end *op, enum tl_status status)
{
    struct back *b = op->user;
    assert_false(b->done);
    b->done = true;
    b->status = status;
}

static inline struct tl_key lend_key(const char *symbol)
{
    return (struct tl_key){.data_type = "factor", .symbol = symbol};
}

static inline void lend_with(struct node *n, struct lent *a, const char *symbol, struct tl_lend op)
{
    struct tl_key key = lend_key(symbol);
    struct tl_err err;
    *a = (struct lent){.op = op, .began_ns = uv_hrtime()};
    a->op.cb = on_lent;
    a->op.user = a;
    assert_int_equal(tl_lend(n->s, &a->op, &key, &err), TL_OK);
    assert_false(a->done);
}

static inline void lend_wait(struct node *n, struct lent *a, const char *symbol, uint64_t wait_ms)
{
    lend_with(n, a, symbol, (struct tl_lend){.lease_ms = 5000, .wait_ms = wait_ms});
}

static inline void turn(struct node *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) uv_run(&nodes[i].box.loop, UV_RUN_NOWAIT);
    usleep(100);
}

/* Until all of the flags, which lie `each` bytes apart, are set. */
static inline void spin_flags(struct node *nodes, size_t count, const bool *flag, size_t each, size_t n)
{
    uint64_t end = uv_hrtime() + UINT64_C(15000000000);
    for (size_t open = n; open > 0;) {
        assert_true(uv_hrtime() < end);
        turn(nodes, count);
        open = 0;
        for (size_t i = 0; i < n; i++) open += !*(const bool *)((const char *)flag + i * each);
    }
}
#define spin_lent(nodes, count, a, n) spin_flags(nodes, count, &(a)->done, sizeof *(a), n)

static inline void spin_ms(struct node *nodes, size_t count, uint64_t ms)
{
    uint64_t end = uv_hrtime() + ms * 1000000;
    while (uv_hrtime() < end) turn(nodes, count);
}

static inline void is_granted(const struct lent *a)
{
    if (a->status != TL_OK || a->op.value)
        print_message("not granted: %s %s\n", tl_status_name(a->status), a->op.value ? "has a value" : a->op.err.text);
    assert_true(a->status == TL_OK && !a->op.value && a->op.lease[0]);
}

static inline void is_status(const struct lent *a, enum tl_status status)
{
    assert_string_equal(tl_status_name(a->status), tl_status_name(status));
    assert_null(a->op.value);
    assert_string_equal(a->op.lease, "");
}

static inline void is_value(struct lent *a, const char *text)
{
    size_t n;
    if (a->status != TL_OK || !a->op.value)
        print_message("no value: %s %s %s\n", tl_status_name(a->status), a->op.err.text, a->op.lease);
    assert_true(a->status == TL_OK && a->op.value);
    assert_string_equal(a->op.lease, "");
    const char *p = tl_value_bytes(a->op.value, &n);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(p, text, n);
    tl_value_unref(a->op.value);
    a->op.value = NULL;
}

/* Asks and waits for the answer; spins `count` nodes. */
static inline void lend_now(struct node *nodes, size_t count, size_t by, struct lent *a, const char *symbol)
{
    lend_wait(&nodes[by], a, symbol, 0);
    spin_lent(nodes, count, a, 1);
}

static inline void back_new(struct back *b)
{
    *b = (struct back){.op = {.cb = on_back}};
    b->op.user = b;
}

static inline enum tl_status hand_in(struct node *nodes, size_t count, size_t by, const char *symbol, const char *lease,
                                     const char *text)
{
    struct tl_key key = lend_key(symbol);
    struct tl_err err;
    struct back b;
    back_new(&b);
    enum tl_status st = tl_lend_value(nodes[by].s, &b.op, &key, lease, text, strlen(text), NULL, &err);
    if (st != TL_OK) return st;
    assert_false(b.done);
    spin_lent(nodes, count, &b, 1);
    return b.status;
}

/* CANCELLED: gives it back. */
static inline enum tl_status hand_in_failure(struct node *nodes, size_t count, size_t by, const char *symbol,
                                             const char *lease, enum tl_status status, const char *why)
{
    struct tl_key key = lend_key(symbol);
    struct tl_err err;
    struct back b;
    back_new(&b);
    enum tl_status st = tl_lend_fail(nodes[by].s, &b.op, &key, lease, status, why, &err);
    if (st != TL_OK) return st;
    spin_lent(nodes, count, &b, 1);
    return b.status;
}

static inline enum tl_status renew(struct node *nodes, size_t count, size_t by, const char *symbol, const char *lease,
                                   uint32_t lease_ms)
{
    struct tl_key key = lend_key(symbol);
    struct tl_err err;
    struct back b;
    back_new(&b);
    enum tl_status st = tl_lend_renew(nodes[by].s, &b.op, &key, lease, lease_ms, &err);
    if (st != TL_OK) return st;
    spin_lent(nodes, count, &b, 1);
    return b.status;
}

/* A function of this process, for the same keys. */
struct maker {
    atomic_int calls;
    atomic_bool hold; /* as long as it is set, nothing is made */
    const char *text;
};

static inline enum tl_status make_text(void *ctx, const struct tl_key *key, struct tl_making *m)
{
    struct maker *k = ctx;
    (void)key;
    atomic_fetch_add(&k->calls, 1);
    while (atomic_load(&k->hold)) usleep(500);
    return tl_making_value(m, k->text, strlen(k->text), NULL);
}

struct computed {
    struct tl_compute op;
    bool done;
    enum tl_status status;
};

static inline void on_computed(struct tl_compute *op, enum tl_status status)
{
    struct computed *c = op->user;
    c->done = true;
    c->status = status;
}

static inline void compute(struct node *n, struct computed *c, struct maker *m, const char *symbol)
{
    struct tl_key key = lend_key(symbol);
    struct tl_err err;
    *c = (struct computed){.op = {.make = make_text, .ctx = m}};
    c->op.user = c;
    assert_int_equal(tl_compute(n->s, &c->op, &key, 12000, on_computed, &err), TL_OK);
}

static inline void is_computed(struct computed *c, const char *text)
{
    size_t n;
    if (c->status != TL_OK) print_message("not computed: %s %s\n", tl_status_name(c->status), c->op.err.text);
    assert_int_equal(c->status, TL_OK);
    const char *p = tl_value_bytes(c->op.value, &n);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(p, text, n);
    tl_value_unref(c->op.value);
}

#endif
