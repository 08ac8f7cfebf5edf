/* SPDX-License-Identifier: Apache-2.0 */
/* The worker pool: every work ends exactly once, on the loop, also when callbacks submit, cancel or close. */
#include "support.h"

#include "aio/workers.h"

enum { WORKS = 2000 };

struct fixture {
    uv_loop_t loop;
    struct tl_workers *pool;
    struct item {
        struct tl_work work;
        struct fixture *f;
        unsigned ran, done, worker;
    } items[WORKS];
    unsigned done, cancelled, closed;
    unsigned resubmit, close_at, cancel_at;
};

static void run(struct tl_work *w, unsigned worker)
{
    struct item *i = (struct item *)(void *)w;
    i->ran++;
    i->worker = worker;
    w->result = i;
}

static void on_closed(void *ctx)
{
    ((struct fixture *)ctx)->closed++;
}

static void done(struct tl_work *w)
{
    struct item *i = (struct item *)(void *)w;
    struct fixture *f = i->f;
    i->done++;
    f->done++;
    f->cancelled += w->cancelled;
    assert_int_equal(i->ran, w->cancelled ? i->done - 1 : i->done);
    assert_ptr_equal(w->result, i->ran ? i : NULL);
    if (f->resubmit) {
        f->resubmit--;
        tl_workers_submit(f->pool, w);
    }
    if (f->done == f->cancel_at) tl_workers_cancel_pending(f->pool);
    if (f->done == f->close_at) {
        tl_workers_close(f->pool, on_closed, f);
        tl_workers_close(f->pool, on_closed, f);
    }
}

static struct fixture *start(unsigned workers)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(tl_workers_start(&f->loop, workers, &f->pool, NULL), TL_OK);
    for (unsigned i = 0; i < WORKS; i++) f->items[i] = (struct item){.work = {.run = run, .done = done}, .f = f};
    return f;
}

static void submit_all(struct fixture *f)
{
    for (unsigned i = 0; i < WORKS; i++) tl_workers_submit(f->pool, &f->items[i].work);
}

static void finish(struct fixture *f)
{
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(f->closed, 1);
    free(f);
}

static void every_work_runs_once(void **state)
{
    (void)state;
    static const unsigned counts[] = {1, 2, 7};
    for (unsigned k = 0; k < 3; k++) {
        struct fixture *f = start(counts[k]);
        f->close_at = WORKS;
        submit_all(f);
        uv_run(&f->loop, UV_RUN_DEFAULT);
        assert_int_equal(f->done, WORKS);
        assert_int_equal(f->cancelled, 0);
        for (unsigned i = 0; i < WORKS; i++) {
            assert_int_equal(f->items[i].ran, 1);
            assert_true(f->items[i].worker < counts[k]);
        }
        finish(f);
    }
}

static void a_done_may_submit_again(void **state)
{
    (void)state;
    struct fixture *f = start(3);
    f->resubmit = 500;
    f->close_at = WORKS + 500;
    submit_all(f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->done, WORKS + 500);
    finish(f);
}

static void cancelling_ends_what_no_thread_has_taken(void **state)
{
    (void)state;
    struct fixture *f = start(1);
    f->cancel_at = 1;
    f->close_at = WORKS;
    submit_all(f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->done, WORKS);
    unsigned ran = 0;
    for (unsigned i = 0; i < WORKS; i++) ran += f->items[i].ran;
    assert_int_equal(ran + f->cancelled, WORKS);
    finish(f);
}

static void closing_from_a_done_ends_everything(void **state)
{
    (void)state;
    struct fixture *f = start(2);
    f->close_at = 10;
    f->resubmit = 20; /* some of them after the close: cancelled, but still delivered */
    submit_all(f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->done, WORKS + 20);
    finish(f);
}

static void closing_an_idle_pool(void **state)
{
    (void)state;
    struct fixture *f = start(4);
    tl_workers_close(f->pool, on_closed, f);
    finish(f);
}

/* A handle behind the pool's in the same loop turn: it meets the pool when that is already closing its own handle. */
static void submit_late(uv_check_t *check)
{
    struct fixture *f = check->data;
    if (f->done == 0) return;
    uv_close((uv_handle_t *)check, NULL);
    tl_workers_submit(f->pool, &f->items[1].work);
}

static void a_work_given_to_a_closing_pool_ends_as_cancelled(void **state)
{
    (void)state;
    struct fixture *f = start(1);
    uv_check_t check;
    assert_int_equal(uv_check_init(&f->loop, &check), 0);
    check.data = f;
    assert_int_equal(uv_check_start(&check, submit_late), 0);
    f->close_at = 1;
    tl_workers_submit(f->pool, &f->items[0].work);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->done, 2);
    assert_int_equal(f->cancelled, 1);
    assert_int_equal(f->items[1].ran, 0);
    finish(f);
}

struct endless {
    struct tl_work work;
    struct tl_workers *pool;
    uv_timer_t timer;
    bool stop;
};

static void run_nothing(struct tl_work *w, unsigned worker)
{
    (void)w;
    (void)worker;
}

static void submit_again(struct tl_work *w)
{
    struct endless *e = (struct endless *)(void *)w;
    if (!e->stop) tl_workers_submit(e->pool, w);
}

static void stop_endless(uv_timer_t *timer)
{
    struct endless *e = timer->data;
    e->stop = true;
    uv_close((uv_handle_t *)timer, NULL);
    tl_workers_close(e->pool, NULL, NULL);
}

static void works_without_end_leave_the_loop_its_timers(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct endless e = {.work = {.run = run_nothing, .done = submit_again}};
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_timer_init(&loop, &e.timer), 0);
    e.timer.data = &e;
    assert_int_equal(uv_timer_start(&e.timer, stop_endless, 5, 0), 0);
    assert_int_equal(tl_workers_start(&loop, 2, &e.pool, NULL), TL_OK);
    tl_workers_submit(e.pool, &e.work);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(e.stop);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void refuses_impossible_sizes(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct tl_workers *pool;
    struct tl_err err;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(tl_workers_start(&loop, 0, &pool, &err), TL_INVALID);
    assert_int_equal(tl_workers_start(&loop, 257, &pool, &err), TL_INVALID);
    assert_non_null(strstr(err.text, "257"));
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_work_runs_once),
        cmocka_unit_test(a_done_may_submit_again),
        cmocka_unit_test(cancelling_ends_what_no_thread_has_taken),
        cmocka_unit_test(closing_from_a_done_ends_everything),
        cmocka_unit_test(closing_an_idle_pool),
        cmocka_unit_test(a_work_given_to_a_closing_pool_ends_as_cancelled),
        cmocka_unit_test(works_without_end_leave_the_loop_its_timers),
        cmocka_unit_test(refuses_impossible_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
