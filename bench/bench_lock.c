/* SPDX-License-Identifier: Apache-2.0 */
/* Leases: 64 under way on one connection, each acquired and given back, beside SET NX PX and DEL of redis-benchmark on
 * the same server; and how long it takes from giving back to the waiter's callback, with connections of its own. */
#include "bench.h"

#include "server.h"
#include <tierline/lock.h>

#include <uv.h>

enum { ROUNDS = 5, DEPTH = 64, LEASES = 64000, HAND_OVERS = 3000 };

struct bench {
    uv_loop_t *loop;
    struct tl_locks *a, *b;
    unsigned under_way;
};

struct one {
    struct bench *bench;
    struct tl_lease lease;
    char name[16];
};

/* ---- uncontended ---- */

static void on_ended(struct tl_lease *lease, enum tl_status status)
{
    struct one *o = lease->user;
    must(status == TL_OK, lease->err.text);
    o->bench->under_way--;
}

static void wait_for_all(struct bench *b)
{
    while (b->under_way > 0) uv_run(b->loop, UV_RUN_ONCE);
}

/* Leases a second, got and given back; like the peer, all of a depth are waited for before the next are sent. */
static double leases(struct bench *b, unsigned depth, unsigned n)
{
    static struct one ones[DEPTH];
    for (unsigned i = 0; i < depth; i++) snprintf(ones[i].name, sizeof ones[i].name, "name %u", i);
    uint64_t start = bench_now_ns();
    for (unsigned done = 0; done < n; done += depth) {
        for (unsigned i = 0; i < depth; i++, b->under_way++) {
            ones[i].bench = b;
            ones[i].lease = (struct tl_lease){.ttl_ms = 60000, .user = &ones[i]};
            must(tl_lease_acquire(b->a, &ones[i].lease, ones[i].name, on_ended, NULL) == TL_OK, "acquire");
        }
        wait_for_all(b);
        for (unsigned i = 0; i < depth; i++, b->under_way++)
            must(tl_lease_release(&ones[i].lease, on_ended, NULL) == TL_OK, "release");
        wait_for_all(b);
    }
    return n * 1e9 / (double)(bench_now_ns() - start);
}

/* ---- contended ---- */

struct hand {
    struct one one;
    bool held;
    uint64_t at_ns;
};

static void on_hand(struct tl_lease *lease, enum tl_status status)
{
    struct hand *h = (struct hand *)(void *)((char *)lease->user);
    must(status == TL_OK, lease->err.text);
    h->held = true;
    h->at_ns = bench_now_ns();
}

static void on_given(struct tl_lease *lease, enum tl_status status)
{
    must(status == TL_OK, lease->err.text);
}

static void reach_out(struct hand *h, struct tl_locks *locks)
{
    h->held = false;
    h->one.lease = (struct tl_lease){.ttl_ms = 60000, .wait_ms = 60000, .user = h};
    must(tl_lease_acquire(locks, &h->one.lease, "contended", on_hand, NULL) == TL_OK, "acquire");
}

static void turn_for(struct bench *b, uint64_t ns)
{
    for (uint64_t end = bench_now_ns() + ns; bench_now_ns() < end;) uv_run(b->loop, UV_RUN_NOWAIT);
}

static void hand_over(struct bench *b)
{
    static struct hand hands[2];
    static double us[HAND_OVERS];
    struct tl_locks *const sides[] = {b->a, b->b};
    reach_out(&hands[0], sides[0]);
    while (!hands[0].held) uv_run(b->loop, UV_RUN_ONCE);
    for (int i = 0; i < HAND_OVERS; i++) {
        struct hand *from = &hands[i % 2], *to = &hands[(i + 1) % 2];
        reach_out(to, sides[(i + 1) % 2]);
        turn_for(b, 300000); /* until it is known to wait */
        uint64_t start = bench_now_ns();
        must(tl_lease_release(&from->one.lease, on_given, NULL) == TL_OK, "release");
        while (!to->held) uv_run(b->loop, UV_RUN_ONCE);
        us[i] = (double)(to->at_ns - start) / 1e3;
        turn_for(b, 100000); /* the release has ended, too */
    }
    double median = bench_median(us, HAND_OVERS), p99 = us[HAND_OVERS * 99 / 100];
    bench_row("lease_hand_over_p50_us", median, "us", NULL, 0, 0, NULL, true);
    bench_row("lease_hand_over_p99_us", p99, "us", NULL, 0, 0, "<= 1000", p99 <= 1000);
}

static struct tl_locks *open_locks(struct bench *b, int port)
{
    char url[64];
    struct tl_locks *locks;
    struct tl_err err;
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", port);
    struct tl_locks_options o = {.redis_url = url, .redis_timeout_ms = 10000, .log_level = -1};
    must(tl_locks_open(b->loop, &o, &locks, &err) == TL_OK, err.text);
    turn_for(b, 200000000);
    return locks;
}

int main(void)
{
    struct bench b = {.loop = uv_default_loop()};
    struct server server = {.pid = 0};
    double one[ROUNDS], many[ROUNDS], their_one[ROUNDS], their_many[ROUNDS];
    start_server(&server);
    b.a = open_locks(&b, server.port);
    b.b = open_locks(&b, server.port);
    for (int r = 0; r < ROUNDS; r++) {
        one[r] = leases(&b, 1, LEASES / 20);
        their_one[r] = bench_set_and_del(server.port, 1, LEASES / 10);
        many[r] = leases(&b, DEPTH, LEASES);
        their_many[r] = bench_set_and_del(server.port, DEPTH, 2 * LEASES);
    }
    double o = bench_median(one, ROUNDS), to = bench_median(their_one, ROUNDS);
    double m = bench_median(many, ROUNDS), tm = bench_median(their_many, ROUNDS);
    bench_row("lease_one_at_a_time", o, "leases/s", "SET NX PX + DEL by redis-benchmark", to, o / to, NULL, true);
    bench_row("lease_pipelined", m, "leases/s", "SET NX PX + DEL by redis-benchmark", tm, m / tm, ">= 0.4 x peer",
              m >= 0.4 * tm);
    hand_over(&b);
    tl_locks_close(b.a, NULL, NULL);
    tl_locks_close(b.b, NULL, NULL);
    uv_run(b.loop, UV_RUN_DEFAULT);
    stop_server(&server);
    return 0;
}
