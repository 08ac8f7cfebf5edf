/* SPDX-License-Identifier: Apache-2.0 */
/* Plans over made-up dependencies: every dependency before its users, each spec once, cycles refused by name; and the
 * registry's own dependencies. */
#include "support.h"
#include "synthetic_bars.h"

#include "base/util.h"
#include "schedule/plan.h"

enum { NODES = 1500 };

/* A made-up indicator is X(i), a node of a graph. */
static const struct tl_indicator_info node_info = {
    .name = "X", .n_params = 1, .params = {{"Node", TL_PARAM_INT, 0, 1e6, 0}}, .n_outputs = 1, .outputs = {"x"}};

static struct tl_spec node(size_t i)
{
    return (struct tl_spec){.info = &node_info, .params = {(double)i}};
}

/* edges[i]: what node i depends on, ended by -1. */
struct graph {
    const int (*edges)[TL_DEPS_MAX + 1];
    size_t asked;
};

static size_t graph_deps(void *ctx, const struct tl_spec *spec, struct tl_spec dep[TL_DEPS_MAX])
{
    struct graph *g = ctx;
    const int *edges = g->edges[(size_t)spec->params[0]];
    size_t n = 0;
    g->asked++;
    for (; edges[n] >= 0; n++) dep[n] = node((size_t)edges[n]);
    return n;
}

static size_t step_at(const struct tl_plan *plan, size_t i)
{
    for (size_t s = 0; s < plan->n; s++)
        if (plan->steps[s].spec.params[0] == (double)i) return s;
    fail_msg("no step X(%zu)", i);
    return 0;
}

/* What holds for every plan. */
static void check_plan(const struct tl_plan *plan, const struct tl_spec *wanted, size_t count)
{
    for (size_t s = 0; s < plan->n; s++) {
        const struct tl_plan_step *step = &plan->steps[s];
        assert_true(step->last_use >= s && step->last_use < plan->n);
        bool used = false;
        for (size_t t = s + 1; t < plan->n; t++) {
            const struct tl_plan_step *later = &plan->steps[t];
            bool same = later->spec.info == step->spec.info;
            for (unsigned i = 0; same && i < step->spec.info->n_params; i++)
                same = later->spec.params[i] == step->spec.params[i];
            assert_false(same);
            for (unsigned d = 0; d < later->n_deps; d++) {
                if (later->deps[d] != s) continue;
                used = true;
                assert_true(step->last_use >= t);
            }
        }
        assert_true(used || step->last_use == s);
        assert_true(used || step->wanted);
        for (unsigned d = 0; d < step->n_deps; d++) assert_true(step->deps[d] < s);
    }
    for (size_t i = 0; i < count; i++) {
        assert_true(plan->step_of[i] < plan->n);
        const struct tl_plan_step *step = &plan->steps[plan->step_of[i]];
        assert_true(step->wanted);
        assert_ptr_equal(step->spec.info, wanted[i].info);
        assert_true(step->spec.params[0] == wanted[i].params[0]);
    }
}

static void test_nothing(void **state)
{
    (void)state;
    struct tl_plan plan;
    assert_int_equal(tl_plan_build(NULL, 0, tl_plan_registry_deps, NULL, &plan, NULL), TL_OK);
    assert_int_equal(plan.n, 0);
    tl_plan_release(&plan);
    tl_plan_release(&plan);
}

static void test_diamond(void **state)
{
    (void)state;
    static const int edges[][TL_DEPS_MAX + 1] = {{1, 2, -1}, {3, -1}, {3, -1}, {-1}};
    struct graph g = {edges, 0};
    struct tl_spec wanted[] = {node(0)};
    struct tl_plan plan;
    assert_int_equal(tl_plan_build(wanted, 1, graph_deps, &g, &plan, NULL), TL_OK);
    assert_int_equal(plan.n, 4);
    assert_int_equal(g.asked, 4);
    check_plan(&plan, wanted, 1);
    assert_int_equal(step_at(&plan, 3), 0);
    assert_int_equal(step_at(&plan, 0), 3);
    assert_true(plan.steps[3].wanted);
    for (size_t s = 0; s < 3; s++) assert_false(plan.steps[s].wanted);
    assert_int_equal(plan.steps[0].last_use, 2);
    assert_int_equal(plan.steps[1].last_use, 3);
    /* Dependencies keep the order in which the kernel reads them. */
    assert_int_equal(plan.steps[3].deps[0], step_at(&plan, 1));
    assert_int_equal(plan.steps[3].deps[1], step_at(&plan, 2));
    tl_plan_release(&plan);
}

static void test_duplicates(void **state)
{
    (void)state;
    static const int edges[][TL_DEPS_MAX + 1] = {{1, 1, -1}, {-1}};
    struct graph g = {edges, 0};
    struct tl_spec wanted[] = {node(0), node(1), node(0), node(1)};
    wanted[2].params[0] = -0.0; /* the same number */
    wanted[0].params[3] = 42;   /* not a parameter of X */
    struct tl_plan plan;
    assert_int_equal(tl_plan_build(wanted, 4, graph_deps, &g, &plan, NULL), TL_OK);
    assert_int_equal(plan.n, 2);
    check_plan(&plan, wanted, 4);
    assert_int_equal(plan.step_of[0], plan.step_of[2]);
    assert_int_equal(plan.step_of[1], plan.step_of[3]);
    assert_int_equal(plan.steps[1].n_deps, 2);
    assert_int_equal(plan.steps[1].deps[0], 0);
    assert_int_equal(plan.steps[1].deps[1], 0);
    assert_true(plan.steps[0].wanted && plan.steps[1].wanted);
    tl_plan_release(&plan);
}

static void test_wanted_order_is_kept(void **state)
{
    (void)state;
    static const int edges[][TL_DEPS_MAX + 1] = {{-1}, {-1}, {-1}};
    struct graph g = {edges, 0};
    struct tl_spec wanted[] = {node(2), node(0), node(1)};
    struct tl_plan plan;
    assert_int_equal(tl_plan_build(wanted, 3, graph_deps, &g, &plan, NULL), TL_OK);
    for (size_t i = 0; i < 3; i++) assert_int_equal(plan.step_of[i], i);
    tl_plan_release(&plan);
}

static void assert_cycle(const int (*edges)[TL_DEPS_MAX + 1], size_t from, const char *text)
{
    struct graph g = {edges, 0};
    struct tl_spec wanted[] = {node(from)};
    struct tl_plan plan;
    struct tl_err err;
    assert_int_equal(tl_plan_build(wanted, 1, graph_deps, &g, &plan, &err), TL_INVALID);
    assert_int_equal(err.status, TL_INVALID);
    assert_string_equal(err.text, text);
    assert_int_equal(plan.n, 0);
    assert_null(plan.steps);
    tl_plan_release(&plan);
    assert_int_equal(tl_plan_build(wanted, 1, graph_deps, &g, &plan, NULL), TL_INVALID);
}

static void test_cycles(void **state)
{
    (void)state;
    static const int self[][TL_DEPS_MAX + 1] = {{0, -1}};
    assert_cycle(self, 0, "indicators depend on each other: X(0) -> X(0)");
    static const int two[][TL_DEPS_MAX + 1] = {{1, -1}, {0, -1}};
    assert_cycle(two, 0, "indicators depend on each other: X(0) -> X(1) -> X(0)");
    /* The way to the cycle is not part of it, nor is what was done before. */
    static const int tail[][TL_DEPS_MAX + 1] = {{4, 1, -1}, {2, -1}, {4, 3, -1}, {1, -1}, {-1}};
    assert_cycle(tail, 0, "indicators depend on each other: X(1) -> X(2) -> X(3) -> X(1)");
}

static void test_long_cycle(void **state)
{
    (void)state;
    static int ring[NODES][TL_DEPS_MAX + 1];
    for (int i = 0; i < NODES; i++) {
        ring[i][0] = (i + 1) % NODES;
        ring[i][1] = -1;
    }
    assert_cycle((const int(*)[TL_DEPS_MAX + 1]) ring, 7,
                 "indicators depend on each other: X(7) -> X(8) -> X(9) -> ... -> X(4) -> X(5) -> X(6) -> X(7)");
}

static void test_long_chain(void **state)
{
    (void)state;
    static int chain[NODES][TL_DEPS_MAX + 1];
    static struct tl_spec wanted[NODES];
    for (int i = 0; i < NODES; i++) {
        chain[i][0] = i + 1 < NODES ? i + 1 : -1;
        chain[i][1] = -1;
        wanted[i] = node((size_t)i);
    }
    struct graph g = {(const int(*)[TL_DEPS_MAX + 1]) chain, 0};
    struct tl_plan plan;
    assert_int_equal(tl_plan_build(wanted, NODES, graph_deps, &g, &plan, NULL), TL_OK);
    assert_int_equal(plan.n, NODES);
    assert_int_equal(g.asked, NODES);
    check_plan(&plan, wanted, NODES);
    for (size_t i = 0; i < NODES; i++) assert_int_equal(plan.step_of[i], NODES - 1 - i);
    tl_plan_release(&plan);
}

/* Every spec three times over a graph in which i depends on i/2, i/3 and i-1. */
static void test_many(void **state)
{
    (void)state;
    static int edges[NODES][TL_DEPS_MAX + 1];
    static struct tl_spec wanted[3 * NODES];
    for (int i = 0; i < NODES; i++) {
        int n = 0;
        if (i > 2) {
            edges[i][n++] = i / 2;
            edges[i][n++] = i / 3;
            edges[i][n++] = i - 1;
        }
        edges[i][n] = -1;
        for (int r = 0; r < 3; r++) wanted[r * NODES + i] = node((size_t)((i * 7 + r) % NODES));
    }
    struct graph g = {(const int(*)[TL_DEPS_MAX + 1]) edges, 0};
    struct tl_plan plan;
    assert_int_equal(tl_plan_build(wanted, 3 * NODES, graph_deps, &g, &plan, NULL), TL_OK);
    assert_int_equal(plan.n, NODES);
    check_plan(&plan, wanted, 3 * NODES);
    tl_plan_release(&plan);
}

static void test_registry_shares(void **state)
{
    (void)state;
    static const char *const texts[] = {"BBANDS(20)", "SMA(20)", "MA(20,SMA)", "APO(10,20)"};
    struct tl_spec wanted[4];
    for (size_t i = 0; i < 4; i++) assert_int_equal(tl_spec_parse(texts[i], &wanted[i], NULL), TL_OK);
    struct tl_plan plan;
    assert_int_equal(tl_plan_build(wanted, 4, tl_plan_registry_deps, NULL, &plan, NULL), TL_OK);
    check_plan(&plan, wanted, 4);
    assert_int_equal(plan.n, 5); /* the four, and SMA(10) */
    assert_int_equal(plan.step_of[1], 0);
    for (size_t i = 0; i < 3; i += 2) assert_int_equal(plan.steps[plan.step_of[i]].deps[0], 0);
    assert_int_equal(plan.steps[plan.step_of[3]].deps[1], 0);
    tl_plan_release(&plan);
}

/* No row of the registry closes a cycle, and none needs fewer bars than what it reads. */
static void test_registry_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < tl_indicator_count(); i++) {
        struct tl_spec specs[SYNTHETIC_SPECS_MAX];
        size_t count = synthetic_specs(tl_indicator_at(i), specs);
        for (size_t s = 0; s < count; s++) {
            struct tl_plan plan;
            assert_int_equal(tl_plan_build(&specs[s], 1, tl_plan_registry_deps, NULL, &plan, NULL), TL_OK);
            check_plan(&plan, &specs[s], 1);
            for (size_t d = 0; d < plan.n; d++)
                assert_true(tl_spec_lookback(&plan.steps[d].spec) <= tl_spec_lookback(&specs[s]));
            tl_plan_release(&plan);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),         cmocka_unit_test(test_diamond),
        cmocka_unit_test(test_duplicates),      cmocka_unit_test(test_wanted_order_is_kept),
        cmocka_unit_test(test_cycles),          cmocka_unit_test(test_long_cycle),
        cmocka_unit_test(test_long_chain),      cmocka_unit_test(test_many),
        cmocka_unit_test(test_registry_shares), cmocka_unit_test(test_registry_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
