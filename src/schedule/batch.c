/* SPDX-License-Identifier: Apache-2.0 */
/* Several indicators of one input: the plan's steps one after the other. A wanted step writes straight to its item;
 * an intermediate nobody asked for gets a place in one block, which is free again behind its last reader. Items fail
 * alone: what cannot be computed is left out of the plan. */
#include "schedule/plan.h"

#include "base/err.h"
#include "base/util.h"
#include "indicator/compute.h"

#include <string.h>

struct columns {
    double *out[TL_INDICATOR_OUTPUTS_MAX];
    size_t place[TL_INDICATOR_OUTPUTS_MAX]; /* in the block, for intermediates */
};

struct batch {
    struct tl_batch_item *items;
    size_t n_items;
    const struct tl_input *in;
    size_t n;
    struct tl_spec *specs; /* of the items that can be computed */
    size_t *item_of;       /* spec i is item item_of[i] */
    size_t n_specs;
    struct tl_plan plan;
    struct columns *columns; /* of each step */
    bool *taken;             /* places of the block */
    size_t n_places;
    double *block; /* places of n doubles, scratch behind them */
};

/* Gives every item its status, and collects those that can go. */
static enum tl_status sort_out(struct batch *b, struct tl_err *err)
{
    b->specs = tl_calloc(b->n_items, sizeof *b->specs);
    b->item_of = tl_calloc(b->n_items, sizeof *b->item_of);
    if (!b->specs || !b->item_of) return TL_NOMEM;
    enum tl_status first = TL_OK;
    for (size_t i = 0; i < b->n_items; i++) {
        struct tl_batch_item *item = &b->items[i];
        struct tl_err *detail = first == TL_OK ? err : NULL;
        item->status = tl_spec_check(&item->spec, detail);
        if (item->status == TL_OK) item->status = tl_indicator_ready(&item->spec, b->in, b->n, item->out, detail);
        if (item->status == TL_OK) {
            b->item_of[b->n_specs] = i;
            b->specs[b->n_specs++] = item->spec;
        } else if (first == TL_OK) {
            first = item->status;
        }
    }
    return first == TL_OK ? TL_OK : tl_fail(err, TL_SOME_FAILED, "%s", err ? err->text : "");
}

static size_t take_place(struct batch *b)
{
    size_t i = 0;
    while (i < b->n_places && b->taken[i]) i++;
    if (i == b->n_places) b->n_places++;
    b->taken[i] = true;
    return i;
}

/* Each intermediate's places in the block: taken when it is computed, free again after its last reader. */
static enum tl_status lay_out(struct batch *b)
{
    size_t steps = b->plan.n, scratch = 0;
    b->columns = tl_calloc(steps, sizeof *b->columns);
    b->taken = tl_calloc(steps, TL_INDICATOR_OUTPUTS_MAX * sizeof *b->taken);
    if (!b->columns || !b->taken) return TL_NOMEM;
    for (size_t i = b->n_specs; i-- > 0;) /* of equal ones the first */
        memcpy(b->columns[b->plan.step_of[i]].out, b->items[b->item_of[i]].out, sizeof b->columns->out);
    for (size_t s = 0; s < steps; s++) {
        const struct tl_plan_step *step = &b->plan.steps[s];
        TL_ASSERT(b->n > tl_spec_lookback(&step->spec));
        scratch = TL_MAX(scratch, tl_indicator_scratch(&step->spec, b->n));
        for (unsigned k = 0; !step->wanted && k < step->spec.info->n_outputs; k++)
            b->columns[s].place[k] = take_place(b);
        for (unsigned d = 0; d < step->n_deps; d++) {
            const struct tl_plan_step *dep = &b->plan.steps[step->deps[d]];
            for (unsigned k = 0; !dep->wanted && dep->last_use == s && k < dep->spec.info->n_outputs; k++)
                b->taken[b->columns[step->deps[d]].place[k]] = false;
        }
    }
    size_t doubles;
    if (__builtin_mul_overflow(b->n_places, b->n, &doubles) || __builtin_add_overflow(doubles, scratch, &doubles))
        return TL_NOMEM;
    b->block = tl_realloc(NULL, TL_MAX(doubles, (size_t)1), sizeof *b->block);
    return b->block ? TL_OK : TL_NOMEM;
}

static void run_steps(struct batch *b)
{
    double *scratch = b->block + b->n_places * b->n;
    for (size_t s = 0; s < b->plan.n; s++) {
        const struct tl_plan_step *step = &b->plan.steps[s];
        const double *const *dep[TL_DEPS_MAX] = {NULL};
        for (unsigned k = 0; !step->wanted && k < step->spec.info->n_outputs; k++)
            b->columns[s].out[k] = b->block + b->columns[s].place[k] * b->n;
        for (unsigned d = 0; d < step->n_deps; d++) dep[d] = (const double *const *)b->columns[step->deps[d]].out;
        tl_indicator_run(&step->spec, b->in, b->n, dep, scratch, b->columns[s].out);
    }
    for (size_t i = 0; i < b->n_specs; i++) {
        const struct tl_batch_item *item = &b->items[b->item_of[i]];
        double *const *from = b->columns[b->plan.step_of[i]].out;
        size_t bytes = (b->n - tl_spec_lookback(&item->spec)) * sizeof **from;
        for (unsigned k = 0; k < item->spec.info->n_outputs; k++)
            if (item->out[k] != from[k]) memcpy(item->out[k], from[k], bytes);
    }
}

enum tl_status tl_indicator_batch(struct tl_batch_item *items, size_t count, const struct tl_input *in, size_t n,
                                  struct tl_err *err)
{
    if (count > 0 && !items) return tl_fail(err, TL_INVALID, "no items given");
    struct batch b = {.items = items, .n_items = count, .in = in, .n = n};
    enum tl_status sorted = sort_out(&b, err), st = sorted == TL_SOME_FAILED ? TL_OK : sorted;
    if (st == TL_OK) st = tl_plan_build(b.specs, b.n_specs, tl_plan_registry_deps, NULL, &b.plan, err);
    if (st == TL_OK) st = lay_out(&b);
    if (st == TL_OK)
        run_steps(&b);
    else if (st == TL_NOMEM)
        st = tl_fail(err, TL_NOMEM, "no memory for %zu indicators of %zu bars", count, n);
    for (size_t i = 0; st != TL_OK && i < count; i++)
        if (items[i].status == TL_OK || sorted == TL_NOMEM) items[i].status = st;
    tl_plan_release(&b.plan);
    free(b.block);
    free(b.taken);
    free(b.columns);
    free(b.item_of);
    free(b.specs);
    return st == TL_OK ? sorted : st;
}
