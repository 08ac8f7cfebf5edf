/* SPDX-License-Identifier: Apache-2.0 */
/* Two buses on one Redis of which one knows more than the other: tasks that are new, terms that were overtaken before
 * anything of them was handed in, subscribers who come back from the publisher's own process. */
#include "support.h"

#include "bus_fixture.h"
#include "event/bus_i.h"
#include "proxy.h"

/* Who watches all tasks sees the start of one that nobody here has heard of, also when its end is in Redis already. */
static void a_task_that_is_new(void **state)
{
    (void)state;
    struct redis_server s;
    struct bus_node n[2];
    struct watch tasks;
    begin(&s, n, 2);
    watch_begin(&tasks, &n[1], "tasks");
    SPIN_NODES_UNTIL(n, 2, tasks.snapshots, 3000);
    struct tl_task *t = task_begin(&n[0], "quick");
    task_say(t, "task.started.v1", "{\"state\":\"running\",\"name\":\"daily\"}");
    for (int i = 0; i < 20; i++) task_item(t, i);
    task_complete(t);
    SPIN_UNTIL(n, bus_stats(n).published == 22 && bus_stats(n).queued == 0, 3000); /* the other one sleeps */
    SPIN_NODES_UNTIL(n, 2, tasks.ended, 3000);
    assert_int_equal(tasks.n_life, 2);
    assert_int_equal(bus_stats(&n[1]).stream_reads, 0);
    watch_end(&tasks);
    end(&s, n, 2);
}

static void on_fenced(void *ctx)
{
    ++*(int *)ctx;
}

/* Nothing of the first term ever reached Redis: what its own subscribers heard counts for nothing. */
static void overtaken_at_once(void **state)
{
    (void)state;
    struct redis_server s;
    struct bus_node n[2];
    struct watch old;
    int fenced = 0;
    begin(&s, n, 2);
    watch_begin(&old, &n[0], "task/a");
    SPIN_NODES_UNTIL(n, 2, old.snapshots, 3000);
    struct tl_task *a =
        task_begin_with(&n[0], &(struct tl_task_options){.id = "a", .on_fenced = on_fenced, .ctx = &fenced});
    SPIN_UNTIL(n, a->phase == TASK_OPEN, 3000);
    struct tl_task *b = task_begin(&n[1], "a");
    SPIN_UNTIL(n + 1, b->phase == TASK_OPEN, 3000);
    task_say(a, "task.started.v1", "{\"state\":\"running\",\"name\":\"daily\"}");
    SPIN_NODES_UNTIL(n, 2, fenced == 1 && old.resyncs == 1, 5000);
    assert_string_equal(old.snapshot, "null");
    task_item(b, 1);
    task_complete(b);
    SPIN_NODES_UNTIL(n, 2, old.ended, 3000);
    assert_int_equal(old.n_life, 3); /* the one that counts for nothing, and two */
    tl_task_abandon(a);
    watch_end(&old);
    end(&s, n, 2);
}

/* Who comes back to another process has more than that one can know yet: it waits for it, and gets nothing twice. */
static void ahead(void **state)
{
    (void)state;
    struct redis_server s;
    struct proxy p;
    struct bus_node n[2];
    struct watch here, moved, lost_one;
    char url[64];
    redis_server_start(&s, NULL);
    proxy_start(&p, s.port);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/0", p.port);
    bus_node_open(&n[0], url, NULL);
    bus_node_open(&n[1], s.url, NULL);
    watch_begin(&here, &n[0], "task/a");
    SPIN_NODES_UNTIL(n, 2, here.snapshots, 3000);
    struct tl_task *t = task_begin(&n[0], "a");
    for (int i = 0; i < 10; i++) task_item(t, i);
    SPIN_NODES_UNTIL(n, 2, here.n_life == 10 && bus_stats(n).queued == 0, 3000);
    atomic_store(&p.hold, true);
    usleep(30000); /* the proxy has seen it */
    for (int i = 0; i < 5; i++) task_item(t, i);
    SPIN_UNTIL(n, here.n_life == 15, 3000);
    watch_begin_since(&moved, &n[1], "task/a", here.last);
    watch_begin_since(&lost_one, &n[1], "task/a", (struct tl_position){here.last.epoch_ms + 1000, 1});
    box_spin(&n[1].box, 200);
    assert_int_equal(moved.snapshots + lost_one.snapshots, 0);
    atomic_store(&p.hold, false);
    for (int i = 0; i < 5; i++) task_item(t, i);
    SPIN_NODES_UNTIL(n, 2, moved.n_life == 5, 3000);
    assert_int_equal(moved.recovered, 1);
    SPIN_NODES_UNTIL(n, 2, lost_one.snapshots == 1, 5000); /* what nobody has does not come: it is told the state */
    assert_int_equal(lost_one.recovered, 0);
    task_complete(t);
    SPIN_NODES_UNTIL(n, 2, moved.ended && lost_one.ended, 3000);
    assert_false(moved.disordered);
    assert_true(moved.n_life == 6 && moved.resyncs == 0);
    watch_end(&here);
    watch_end(&moved);
    watch_end(&lost_one);
    end(&s, n, 2);
    proxy_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_that_is_new),
        cmocka_unit_test(overtaken_at_once),
        cmocka_unit_test(ahead),
    };
    return cmocka_run_group_tests_name("bus_ahead", tests, NULL, NULL);
}
