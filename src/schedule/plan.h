/* SPDX-License-Identifier: Apache-2.0 */
/* What to compute, in what order. Pure: no I/O, no clock, no threads.
 * Takes the wanted specs of one symbol, adds the intermediates they share, and orders all so that every
 * dependency stands before its users. The same spec asked for twice is one step. */
#ifndef TL_SCHEDULE_PLAN_H
#define TL_SCHEDULE_PLAN_H

#include "indicator/kernel.h"

struct tl_plan_step {
    struct tl_spec spec;
    size_t deps[TL_DEPS_MAX]; /* indices of earlier steps */
    unsigned n_deps;
    bool wanted;     /* asked for, not merely an intermediate */
    size_t last_use; /* index of the last step that reads it (itself when none does) */
};

struct tl_plan {
    size_t n;
    struct tl_plan_step *steps;
    size_t *step_of; /* [own] wanted spec i is step step_of[i] */
};

/* How a spec's dependencies are found: the registry's own, or a test's. Returns how many. */
typedef size_t tl_plan_deps_fn(void *ctx, const struct tl_spec *, struct tl_spec dep[TL_DEPS_MAX]);
size_t tl_plan_registry_deps(void *ctx, const struct tl_spec *, struct tl_spec dep[TL_DEPS_MAX]);

/* INVALID with the cycle by name ("A(1) -> B(2) -> A(1)"; "... ->" stands for the middle of a long one), NOMEM.
 * Steps come in the order of `wanted`, each with its dependencies right before it where they are new. On failure
 * `out` is empty; releasing an empty plan is allowed. */
TL_MUSTCHECK enum tl_status tl_plan_build(const struct tl_spec *wanted, size_t count, tl_plan_deps_fn *deps, void *ctx,
                                          struct tl_plan *out, struct tl_err *err);
void tl_plan_release(struct tl_plan *);

#endif
