/* SPDX-License-Identifier: Apache-2.0 */
/* The order of computing: depth first through the dependencies, each spec once, written down when everything below it
 * is. A spec met again while it is still open closes a cycle, which is refused by name. The walk keeps its own stack,
 * so its depth is bounded by memory alone. Pure: computes nothing itself. */
#include "schedule/plan.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "base/util.h"
#include "indicator/compute.h"

#include <stdio.h>

enum { SPEC_TEXT_MAX = 128, CYCLE_SHOWN_MAX = 6 };

enum mark { MARK_NEW, MARK_OPEN, MARK_DONE };

/* A spec on its way into the plan. Open ones form the stack, linked from the top down by `user`. */
struct node {
    struct tl_spec spec;
    enum mark mark;
    bool wanted;
    unsigned n_deps, next_dep;
    size_t user;              /* whose dependency it was when it was opened */
    size_t deps[TL_DEPS_MAX]; /* nodes */
    size_t step;              /* when done */
};

static const size_t nobody = SIZE_MAX;

struct builder {
    tl_plan_deps_fn *deps;
    void *ctx;
    struct tl_map *index; /* spec -> node number + 1 */
    struct node *nodes;
    size_t n, cap;
    size_t done;
};

size_t tl_plan_registry_deps(void *ctx, const struct tl_spec *spec, struct tl_spec dep[TL_DEPS_MAX])
{
    (void)ctx;
    return tl_indicator_deps(spec, dep);
}

static enum tl_status no_memory(struct tl_err *err)
{
    return tl_fail(err, TL_NOMEM, "no memory for the plan of a calculation");
}

/* The node of a spec, made when it is not there; nobody when memory is out. */
static size_t node_of(struct builder *b, const struct tl_spec *spec)
{
    struct {
        const struct tl_indicator_info *info;
        double params[TL_PARAMS_MAX];
    } key = {spec->info, {0}};
    _Static_assert(sizeof key == sizeof(void *) + sizeof(double) * TL_PARAMS_MAX, "the key has no padding");
    for (unsigned i = 0; i < spec->info->n_params; i++) key.params[i] = spec->params[i] + 0.0;
    bool fresh;
    void **slot = tl_map_put(b->index, (struct tl_str){(const char *)&key, sizeof key}, &fresh);
    if (!slot) return nobody;
    if (!fresh) return (size_t)(uintptr_t)*slot - 1;
    if (b->n == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 16;
        struct node *nodes = tl_realloc(b->nodes, cap, sizeof *nodes);
        if (!nodes) return nobody;
        b->nodes = nodes;
        b->cap = cap;
    }
    b->nodes[b->n] = (struct node){.spec = *spec};
    *slot = (void *)(uintptr_t)(b->n + 1);
    return b->n++;
}

static void name_of(const struct node *node, char out[SPEC_TEXT_MAX])
{
    if (tl_spec_format(&node->spec, out, SPEC_TEXT_MAX) == 0)
        snprintf(out, SPEC_TEXT_MAX, "%s(...)", node->spec.info->name);
}

/* `top` depends on `bottom`, which is below it on the stack. Long cycles are cut in the middle. */
static enum tl_status cycle(struct builder *b, size_t bottom, size_t top, struct tl_err *err)
{
    size_t length = 1, shown = 0;
    for (size_t i = top; i != bottom; i = b->nodes[i].user) length++;
    struct tl_buf text;
    tl_buf_init(&text, 0);
    char name[SPEC_TEXT_MAX];
    for (size_t at = 0; at < length; at++) {
        if (length > CYCLE_SHOWN_MAX && at >= CYCLE_SHOWN_MAX / 2 && at + CYCLE_SHOWN_MAX / 2 < length) {
            if (shown++ == 0) tl_buf_puts(&text, "... -> ");
            continue;
        }
        size_t node = top;
        for (size_t up = length - 1; up > at; up--) node = b->nodes[node].user;
        name_of(&b->nodes[node], name);
        tl_buf_puts(&text, name);
        tl_buf_puts(&text, " -> ");
    }
    name_of(&b->nodes[bottom], name);
    tl_buf_puts(&text, name);
    enum tl_status st =
        text.failed ? no_memory(err) : tl_fail(err, TL_INVALID, "indicators depend on each other: %s", text.p);
    tl_buf_release(&text);
    return st;
}

static enum tl_status open_node(struct builder *b, size_t at, size_t user, struct tl_err *err)
{
    struct tl_spec dep[TL_DEPS_MAX];
    size_t n = b->deps(b->ctx, &b->nodes[at].spec, dep);
    TL_ASSERT(n <= TL_DEPS_MAX);
    b->nodes[at].mark = MARK_OPEN;
    b->nodes[at].user = user;
    for (size_t d = 0; d < n; d++) {
        size_t node = node_of(b, &dep[d]);
        if (node == nobody) return no_memory(err);
        b->nodes[at].deps[d] = node;
        b->nodes[at].n_deps++;
    }
    return TL_OK;
}

/* Opens `root` and all that it needs, and closes them in order. */
static enum tl_status walk(struct builder *b, size_t root, struct tl_err *err)
{
    if (b->nodes[root].mark == MARK_DONE) return TL_OK;
    enum tl_status st = open_node(b, root, nobody, err);
    size_t top = root;
    while (st == TL_OK && top != nobody) {
        struct node *node = &b->nodes[top];
        if (node->next_dep == node->n_deps) {
            node->mark = MARK_DONE;
            node->step = b->done++;
            top = node->user;
            continue;
        }
        size_t dep = node->deps[node->next_dep++];
        if (b->nodes[dep].mark == MARK_OPEN) return cycle(b, dep, top, err);
        if (b->nodes[dep].mark == MARK_DONE) continue;
        st = open_node(b, dep, top, err);
        top = dep;
    }
    return st;
}

/* Every node is done: nodes in the order of their steps. */
static void write_steps(const struct builder *b, size_t count, struct tl_plan *out)
{
    out->n = b->n;
    for (size_t i = 0; i < count; i++) out->step_of[i] = b->nodes[out->step_of[i]].step;
    for (size_t i = 0; i < b->n; i++) {
        const struct node *node = &b->nodes[i];
        struct tl_plan_step *step = &out->steps[node->step];
        step->spec = node->spec;
        step->wanted = node->wanted;
        step->n_deps = node->n_deps;
        for (unsigned d = 0; d < node->n_deps; d++) step->deps[d] = b->nodes[node->deps[d]].step;
    }
    for (size_t s = 0; s < out->n; s++) {
        out->steps[s].last_use = s;
        for (unsigned d = 0; d < out->steps[s].n_deps; d++) out->steps[out->steps[s].deps[d]].last_use = s;
    }
}

enum tl_status tl_plan_build(const struct tl_spec *wanted, size_t count, tl_plan_deps_fn *deps, void *ctx,
                             struct tl_plan *out, struct tl_err *err)
{
    *out = (struct tl_plan){.step_of = tl_calloc(count, sizeof *out->step_of)};
    struct builder b = {.deps = deps, .ctx = ctx, .index = tl_map_new()};
    enum tl_status st = b.index && out->step_of ? TL_OK : no_memory(err);
    for (size_t i = 0; st == TL_OK && i < count; i++) {
        size_t node = out->step_of[i] = node_of(&b, &wanted[i]);
        if (node == nobody) {
            st = no_memory(err);
        } else {
            b.nodes[node].wanted = true;
            st = walk(&b, node, err);
        }
    }
    if (st == TL_OK && !(out->steps = tl_calloc(b.n, sizeof *out->steps))) st = no_memory(err);
    if (st == TL_OK)
        write_steps(&b, count, out);
    else
        tl_plan_release(out);
    tl_map_free(b.index);
    free(b.nodes);
    return st;
}

void tl_plan_release(struct tl_plan *plan)
{
    free(plan->steps);
    free(plan->step_of);
    *plan = (struct tl_plan){0};
}
