/* SPDX-License-Identifier: Apache-2.0 */
/* Ten processes of 24 threads, each thread with a loop and connections of its own, hammer one name. A register in
 * shared memory is written under the lease and checks every token: two holders at once, a token that does not rise, or
 * a waiter that is never woken would show. */
#include "support.h"

#include "lock/locks.h"
#include "redis_server.h"

#include <stdatomic.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { PROCESSES = SANITIZED ? 4 : 10, THREADS = SANITIZED ? 6 : 24, SECONDS = SANITIZED ? 5 : 30, STUCK_MS = 60000 };

struct shared {
    atomic_int inside;
    atomic_ulong token; /* of the last holder */
    atomic_ulong holds[PROCESSES * THREADS];
    atomic_ulong two_inside, not_rising, lost, failed, longest_wait_us;
    char url[128];
};

struct hammer {
    struct shared *shared;
    unsigned number;
    pthread_t thread;
    uv_loop_t loop;
    struct tl_locks *locks;
    struct tl_lease lease;
    uv_timer_t work;
    uint64_t stop_ns, asked_ns;
    uint64_t random;
};

static void ask(struct hammer *);

static void finish(struct hammer *h)
{
    uv_close((uv_handle_t *)&h->work, NULL);
    tl_locks_close(h->locks, NULL, NULL);
}

static void on_released(struct tl_lease *lease, enum tl_status status)
{
    struct hammer *h = lease->user;
    if (status != TL_OK) atomic_fetch_add(&h->shared->failed, 1);
    if (uv_hrtime() < h->stop_ns)
        ask(h);
    else
        finish(h);
}

static void leave(struct hammer *h)
{
    atomic_fetch_sub(&h->shared->inside, 1);
    if (tl_lease_release(&h->lease, on_released, NULL) == TL_OK) return;
    atomic_fetch_add(&h->shared->lost, 1);
    finish(h);
}

static void on_worked(uv_timer_t *t)
{
    leave(t->data);
}

static void on_acquired(struct tl_lease *lease, enum tl_status status)
{
    struct hammer *h = lease->user;
    struct shared *s = h->shared;
    if (status != TL_OK) {
        atomic_fetch_add(&s->failed, 1);
        finish(h);
        return;
    }
    uint64_t us = (uv_hrtime() - h->asked_ns) / 1000;
    if (us > atomic_load(&s->longest_wait_us)) atomic_store(&s->longest_wait_us, us);
    if (atomic_fetch_add(&s->inside, 1) != 0) atomic_fetch_add(&s->two_inside, 1);
    if (atomic_exchange(&s->token, lease->token) >= lease->token) atomic_fetch_add(&s->not_rising, 1);
    atomic_fetch_add(&s->holds[h->number], 1);
    h->random = h->random * 6364136223846793005u + 1442695040888963407u;
    if (h->random >> 62) /* now and then it holds it for a while */
        leave(h);
    else
        uv_timer_start(&h->work, on_worked, 1, 0);
}

static void on_lost(struct tl_lease *lease, const struct tl_err *why)
{
    struct hammer *h = lease->user;
    (void)why;
    atomic_fetch_add(&h->shared->lost, 1);
}

static void ask(struct hammer *h)
{
    h->asked_ns = uv_hrtime();
    h->lease = (struct tl_lease){.ttl_ms = 20000, .wait_ms = STUCK_MS, .on_lost = on_lost, .user = h};
    if (tl_lease_acquire(h->locks, &h->lease, "one", on_acquired, NULL) == TL_OK) return;
    atomic_fetch_add(&h->shared->failed, 1);
    finish(h);
}

static void *hammer(void *arg)
{
    struct hammer *h = arg;
    struct tl_locks_options o = {.redis_url = h->shared->url, .redis_timeout_ms = 20000, .log_level = -1};
    uv_loop_init(&h->loop);
    uv_timer_init(&h->loop, &h->work);
    h->work.data = h;
    if (tl_locks_open(&h->loop, &o, &h->locks, NULL) != TL_OK) {
        atomic_fetch_add(&h->shared->failed, 1);
        return NULL;
    }
    ask(h);
    uv_run(&h->loop, UV_RUN_DEFAULT);
    uv_loop_close(&h->loop);
    return NULL;
}

static void process(struct shared *s, unsigned number, uint64_t stop_ns)
{
    static struct hammer hammers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        hammers[i] = (struct hammer){
            .shared = s, .number = number * THREADS + i, .stop_ns = stop_ns, .random = number * 1000u + i};
        if (pthread_create(&hammers[i].thread, NULL, hammer, &hammers[i]) != 0) _exit(1);
    }
    for (unsigned i = 0; i < THREADS; i++) pthread_join(hammers[i].thread, NULL);
    _exit(0);
}

static void one_at_a_time(void **state)
{
    (void)state;
    struct redis_server r;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    redis_server_start(&r, NULL);
    struct shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(s != MAP_FAILED);
    memcpy(s->url, r.url, sizeof s->url);
    pid_t pids[PROCESSES];
    uint64_t stop_ns = uv_hrtime() + SECONDS * UINT64_C(1000000000);
    for (unsigned i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) process(s, i, stop_ns);
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status;
        while (waitpid(pids[i], &status, 0) < 0) assert_int_equal(errno, EINTR);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    uint64_t all = 0, idle = 0;
    for (unsigned i = 0; i < PROCESSES * THREADS; i++) {
        all += atomic_load(&s->holds[i]);
        idle += atomic_load(&s->holds[i]) == 0;
    }
    print_message("%lu holds in %d s, longest wait %lu ms, %lu threads never had it\n", (unsigned long)all, SECONDS,
                  atomic_load(&s->longest_wait_us) / 1000, (unsigned long)idle);
    assert_int_equal(atomic_load(&s->two_inside), 0);
    assert_int_equal(atomic_load(&s->not_rising), 0);
    assert_int_equal(atomic_load(&s->lost), 0);
    assert_int_equal(atomic_load(&s->failed), 0);
    assert_int_equal(atomic_load(&s->inside), 0);
    assert_true(all > PROCESSES * THREADS);
    char out[64];
    assert_true(redis_do(&r, out, "EXISTS", "tierline:lock:{one}") && out[1] == '0');
    munmap(s, sizeof *s);
    redis_server_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_at_a_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
